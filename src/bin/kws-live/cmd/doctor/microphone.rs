//! The microphone: whether there is one, and whether it gives sound.

use super::{Finding, Patient};
use crate::args::Input;

/// Opens it and records for a moment.
pub fn open(patient: &mut Patient) -> Finding {
    if patient.live.service.wyoming.is_some() {
        return Finding::good("not used: the sound comes from Wyoming clients");
    }
    match &patient.live.input {
        Input::Mic => record(patient),
        Input::Stdin => Finding::good("not used: the sound comes through standard input"),
        Input::File(path) if path.is_file() => Finding::good(format!("not used: {} is read", path.display())),
        Input::File(path) => Finding::bad(format!("{} is no file", path.display()), "name a recording with --input"),
    }
}

#[cfg(not(feature = "mic"))]
fn record(_: &mut Patient) -> Finding {
    Finding::bad("this build has no microphone", "use --input FILE, or rebuild with `--features mic`")
}

#[cfg(feature = "mic")]
fn record(patient: &mut Patient) -> Finding {
    use kws_live::audio::{MicSource, list_devices};

    use crate::output::note;
    use crate::quiet::Quiet;

    patient.silent = true;
    let (devices, opened) = {
        let _quiet = Quiet::new();
        (list_devices(), MicSource::open(patient.live.microphone.device.as_deref()))
    };
    if opened.is_ok() && !patient.asked.json {
        note("recording for two seconds: say something");
    }
    let outcome = opened.map_err(Into::into).and_then(|source| {
        let _quiet = Quiet::new();
        listen(source)
    });
    let count = devices.map_or(0, |devices| devices.len());
    match outcome {
        Ok((describe, sound, rate)) => {
            patient.sound = Some((sound, rate));
            patient.silent = false;
            let ending = if count == 1 { "" } else { "s" };
            Finding::good(format!("{describe}, of {count} device{ending}"))
        }
        Err(error) => Finding::error(&error),
    }
}

/// What it is, and about two seconds of it.
#[cfg(feature = "mic")]
fn listen(mut source: kws_live::audio::MicSource) -> anyhow::Result<(String, Vec<f32>, u32)> {
    use std::time::{Duration, Instant};

    use kws_live::audio::{AudioSource, Chunk};

    /// Seconds to record; the beginning is left out later.
    const LENGTH: usize = 2;
    /// A device that has given less by then does not work: one that sleeps needs half a second to wake up.
    const PATIENCE: Duration = Duration::from_secs(8);

    let rate = source.rate();
    let (mut sound, mut block) = (Vec::new(), vec![0.0; rate as usize / 10]);
    let began = Instant::now();
    while sound.len() < LENGTH * rate as usize {
        match source.read(&mut block)? {
            Chunk::Samples(count) => sound.extend_from_slice(&block[..count]),
            Chunk::Away => {
                let reason = source.loss().map(|loss| loss.reason).unwrap_or_default();
                anyhow::bail!("{} stopped: {reason}; look at its plug and at the sound server", source.describe());
            }
            _ => {}
        }
        let late = began.elapsed() > PATIENCE;
        anyhow::ensure!(
            !late,
            "{} is open but gives too little sound; look whether another program holds it, or restart the sound server",
            source.describe()
        );
    }
    Ok((source.describe(), sound, rate))
}
