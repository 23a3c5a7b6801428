//! Which microphones there are, and which of them is meant.

use cpal::traits::{DeviceTrait, HostTrait};
use cpal::{Device, Error, ErrorKind};
use crossbeam_channel::bounded;

use super::{ANSWER, HANGS, RESTART};
use crate::audio::AudioError;

pub(super) const NO_MICROPHONE: &str =
    "no microphone found; plug one in, or use --input FILE, or `-` for standard input";

/// An input device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Name, for [`super::MicSource::open`].
    pub name: String,
    /// The system's own name for it, such as ALSA's `plughw:CARD=1,DEV=0`; good for [`super::MicSource::open`] too. Empty
    /// where the system has none.
    pub id: String,
    /// Whether it is used when none is named.
    pub default: bool,
    /// Its usual format, such as `48000 Hz, 2 channels, f32`.
    pub format: String,
}

pub(super) fn name(device: &Device) -> String {
    device.description().map_or_else(|_| "unnamed".into(), |d| d.name().to_owned())
}

/// The system's own name; several devices of one sound card can share the name for people.
fn id(device: &Device) -> String {
    device.description().ok().and_then(|d| d.driver().map(str::to_owned)).unwrap_or_default()
}

fn label(device: &Device) -> String {
    let (name, id) = (name(device), id(device));
    if id.is_empty() { name } else { format!("{name} [{id}]") }
}

/// ALSA lists its plug-ins among the devices: what cannot be opened is shown only if it is a card's, which may be in use.
fn is_microphone(device: &Device) -> bool {
    let id = id(device);
    id != "null" && (id.contains("CARD=") || device.default_input_config().is_ok())
}

pub(super) fn explain(what: &str, error: &Error) -> AudioError {
    let advice = match error.kind() {
        ErrorKind::DeviceBusy => "another program holds it; close that program or choose another with --device",
        ErrorKind::PermissionDenied => {
            "allow this program to use the microphone (on Linux: add yourself to the `audio` group)"
        }
        ErrorKind::DeviceNotAvailable => "plug it in, or list the devices with `kws-live devices`",
        ErrorKind::HostUnavailable => "no sound system is running; start PulseAudio or PipeWire, or use --input FILE",
        _ => "list the devices with `kws-live devices`, or use --input FILE",
    };
    let reason = error.to_string().replace('\n', " ");
    AudioError::Device(format!("cannot {what}: {}; {advice}", reason.trim_end_matches('.')))
}

/// All input devices of the default host.
///
/// # Errors
/// [`AudioError::Device`] if the sound system cannot be asked, or does not answer within 10 s.
pub fn list_devices() -> Result<Vec<DeviceInfo>, AudioError> {
    let (give, answer) = bounded(1);
    let ask = move || drop(give.send(list()));
    let asked = std::thread::Builder::new().name("kws-mic-list".into()).spawn(ask);
    let reason = match asked.map(|_| answer.recv_timeout(ANSWER)) {
        Ok(Ok(devices)) => return devices,
        Ok(Err(_)) => HANGS.to_owned(),
        Err(error) => error.to_string(),
    };
    Err(AudioError::Device(format!("cannot list the microphones: {reason}; {RESTART}")))
}

fn list() -> Result<Vec<DeviceInfo>, AudioError> {
    let default = cpal::default_host().default_input_device();
    let describe = |d: Device| {
        let format = d.default_input_config().map_or_else(
            |_| "in use or not ready".into(),
            |c| format!("{} Hz, {} channels, {}", c.sample_rate(), c.channels(), c.sample_format()),
        );
        DeviceInfo {
            default: default.as_ref().is_some_and(|default| one(default, &d)),
            name: name(&d),
            id: id(&d),
            format,
        }
    };
    Ok(all()?.into_iter().filter(is_microphone).map(describe).collect())
}

/// The default one first where the system does not list it among the others, as ALSA does with the way to a sound server.
fn all() -> Result<Vec<Device>, AudioError> {
    let host = cpal::default_host();
    let listed = host.input_devices().map_err(|e| explain("list the microphones", &e))?.collect::<Vec<_>>();
    let unlisted = host.default_input_device().filter(|default| !listed.iter().any(|d| one(default, d)));
    Ok(unlisted.into_iter().chain(listed).collect())
}

/// Whether both are one device.
fn one(a: &Device, b: &Device) -> bool {
    (name(a), id(a)) == (name(b), id(b))
}

/// The device of that name or identifier: exactly, or the only one whose name contains it, in any case.
fn find(wanted: &str, devices: &[Device]) -> Result<Device, AudioError> {
    if let Some(exact) = devices.iter().find(|d| id(d) == wanted || name(d) == wanted) {
        return Ok(exact.clone());
    }
    let lower = wanted.to_lowercase();
    let hits: Vec<&Device> =
        devices.iter().filter(|d| name(d).to_lowercase().contains(&lower) && is_microphone(d)).collect();
    match hits[..] {
        [one] => Ok(one.clone()),
        [] => {
            let labels: Vec<String> = devices.iter().filter(|d| is_microphone(d)).map(label).collect();
            let known = if labels.is_empty() { "none".into() } else { labels.join(", ") };
            Err(AudioError::Device(format!("no microphone is called `{wanted}`; there is: {known}")))
        }
        _ => {
            let labels: Vec<String> = hits.iter().map(|d| label(d)).collect();
            Err(AudioError::Device(format!(
                "`{wanted}` fits several microphones: {}; name one of them",
                labels.join(", ")
            )))
        }
    }
}

/// What was chosen, so that it is found again and nothing else is.
#[derive(Clone)]
pub(super) enum Chosen {
    /// The system's default. The device is kept: as long as one lives, ALSA keeps the configuration that it has read, in which
    /// `default` is the sound server. Read anew while that server is down, `default` can be a sound card.
    Default(Device),
    /// By name: a part of it was enough at first, but from then on it must be all of it, as another device that is plugged
    /// in meanwhile may contain that part too.
    Named {
        name: String,
        id: String,
        /// Identifiers of other devices that had its name at that time, such as a second microphone of its make.
        others: Vec<String>,
    },
}

impl Chosen {
    /// Looks for what is wanted for the first time.
    pub fn first(wanted: Option<&str>) -> Result<(Self, Device), AudioError> {
        let Some(wanted) = wanted else {
            let device = cpal::default_host().default_input_device();
            let device = device.ok_or_else(|| AudioError::Device(NO_MICROPHONE.into()))?;
            return Ok((Self::Default(device.clone()), device));
        };
        let devices = all()?;
        let device = find(wanted, &devices)?;
        if let Some(default) = cpal::default_host().default_input_device().filter(|default| one(default, &device)) {
            return Ok((Self::Default(default.clone()), default));
        }
        let (name, id) = (name(&device), id(&device));
        let others = named(&devices).into_iter().filter(|(n, i)| *n == name && *i != id).map(|(_, i)| i);
        Ok((Self::Named { others: others.collect(), name, id }, device))
    }

    /// Looks for the same again.
    pub fn again(&self) -> Result<Device, AudioError> {
        match self {
            Self::Default(device) => Ok(device.clone()),
            Self::Named { name: wanted, id: known, others } => {
                let mut devices = all()?;
                match same(wanted, known, others, &named(&devices)) {
                    Some(index) => Ok(devices.swap_remove(index)),
                    None => Err(AudioError::Device(format!("the microphone `{wanted}` is not there"))),
                }
            }
        }
    }
}

/// Name and identifier of each.
fn named(devices: &[Device]) -> Vec<(String, String)> {
    devices.iter().map(|d| (name(d), id(d))).collect()
}

/// Which of these pairs of name and identifier is the device of before, and none of the `others`. Cards are numbered as they
/// are plugged in: the number may have changed, and the old one may be another card's now, so that only the name decides; of
/// several ways to one card (ALSA's `hw`, `plughw`, `front`...) it is the same way.
fn same(name: &str, id: &str, others: &[String], devices: &[(String, String)]) -> Option<usize> {
    let way = |id: &str| id.split(':').next().unwrap_or_default().to_owned();
    let exact = devices.iter().position(|(n, i)| n == name && i == id);
    let moved = |(n, i): &(String, String)| n == name && way(i) == way(id) && !others.contains(i);
    exact.or_else(|| devices.iter().position(moved))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_device_is_found_again_and_no_other() {
        let now = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(n, i)| ((*n).to_owned(), (*i).to_owned())).collect()
        };
        let before = ("USB mic", "plughw:CARD=1,DEV=0");
        for (list, want) in [
            (vec![("Webcam", "plughw:CARD=0,DEV=0"), before], Some(1)),
            // Plugged into another place: another number.
            (vec![("USB mic", "hw:CARD=2,DEV=0"), ("USB mic", "plughw:CARD=2,DEV=0")], Some(1)),
            // Another card has its number now.
            (vec![("Webcam", "plughw:CARD=1,DEV=0")], None),
            // Its name contains that of the one that is gone.
            (vec![("USB mic of somebody else", "plughw:CARD=1,DEV=0")], None),
            (vec![], None),
        ] {
            assert_eq!(same(before.0, before.1, &[], &now(&list)), want, "{list:?}");
        }
        // A second one of its make was there from the start.
        let (twin, others) = (("USB mic", "plughw:CARD=2,DEV=0"), ["plughw:CARD=2,DEV=0".to_owned()]);
        assert_eq!(same(before.0, before.1, &others, &now(&[twin])), None);
        assert_eq!(same(before.0, before.1, &others, &now(&[twin, ("USB mic", "plughw:CARD=3,DEV=0")])), Some(1));
    }
}
