//! `devices`: the microphones.

#[cfg(feature = "mic")]
pub fn run() -> anyhow::Result<bool> {
    use crate::output::print;
    use crate::quiet::Quiet;

    let devices = {
        let _quiet = Quiet::new();
        kws_live::audio::list_devices()?
    };
    anyhow::ensure!(!devices.is_empty(), "no microphone found; plug one in, or use --input FILE");
    let width = devices.iter().map(|d| d.name.chars().count()).max().unwrap_or(0);
    for device in devices {
        let mark = if device.default { '*' } else { ' ' };
        if !print(&format!("{mark} {:width$}  {}  {}\n", device.name, device.id, device.format))? {
            break;
        }
    }
    Ok(true)
}

#[cfg(not(feature = "mic"))]
pub fn run() -> anyhow::Result<bool> {
    anyhow::bail!("this build has no microphone; rebuild with `--features mic`")
}
