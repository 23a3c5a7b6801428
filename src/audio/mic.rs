//! The microphone, through cpal: any rate, channel count and sample format.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{BufferSize, Device, Error, ErrorKind, FromSample, SampleFormat, SizedSample, StreamConfig};

use super::ring::{CaptureReader, CaptureWriter, Levels, capture_ring};
use super::{AudioError, AudioSource, Chunk};

const NO_MICROPHONE: &str = "no microphone found; plug one in, or use --input FILE, or `-` for standard input";

/// Callback period to ask for, ms: an encoder frame. It is a part of the latency, and the jitter that a busy machine is
/// allowed is as long. (At 20 ms cpal's thread was seen to spin on PulseAudio, at 10, 30, 40 and 60 ms not.)
const PERIOD_MS: u32 = 30;

/// Seconds of audio that the ring holds.
const RING_SECONDS: usize = 2;

/// An input device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Name, for [`MicSource::open`].
    pub name: String,
    /// The system's own name for it, such as ALSA's `plughw:CARD=1,DEV=0`; good for [`MicSource::open`] too. Empty where
    /// the system has none.
    pub id: String,
    /// Whether it is used when none is named.
    pub default: bool,
    /// Its usual format, such as `48000 Hz, 2 channels, f32`.
    pub format: String,
}

/// A running microphone.
pub struct MicSource {
    name: String,
    rate: u32,
    channels: u16,
    format: SampleFormat,
    reader: CaptureReader,
    lost: Arc<AtomicBool>,
    reason: mpsc::Receiver<String>,
    // Dropping it stops the callback.
    _stream: cpal::Stream,
}

fn name(device: &Device) -> String {
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

fn explain(what: &str, error: &Error) -> AudioError {
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
/// [`AudioError::Device`] if the sound system cannot be asked.
pub fn list_devices() -> Result<Vec<DeviceInfo>, AudioError> {
    let host = cpal::default_host();
    let default = host.default_input_device().map(|d| name(&d));
    let devices = host.input_devices().map_err(|e| explain("list the microphones", &e))?;
    Ok(devices
        .filter(is_microphone)
        .map(|d| {
            let format = d.default_input_config().map_or_else(
                |_| "in use or not ready".into(),
                |c| format!("{} Hz, {} channels, {}", c.sample_rate(), c.channels(), c.sample_format()),
            );
            let name = name(&d);
            DeviceInfo { default: Some(&name) == default.as_ref(), name, id: id(&d), format }
        })
        .collect())
}

/// The device of that name or identifier: exactly, or the only one whose name contains it, in any case.
fn find(wanted: Option<&str>) -> Result<Device, AudioError> {
    let host = cpal::default_host();
    let Some(wanted) = wanted else {
        return host.default_input_device().ok_or_else(|| AudioError::Device(NO_MICROPHONE.into()));
    };
    let devices: Vec<Device> = host.input_devices().map_err(|e| explain("list the microphones", &e))?.collect();
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

/// Largest callback that is mixed down at once; longer ones go in pieces of this many frames.
const BLOCK: usize = 1_024;

fn build<T>(
    device: &Device,
    config: StreamConfig,
    mut writer: CaptureWriter,
    on_error: impl FnMut(Error) + Send + 'static,
) -> Result<cpal::Stream, Error>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let channels = usize::from(config.channels.max(1));
    let mut mono = [0.0_f32; BLOCK];
    // The real-time callback: mixes down into a block on its own stack frame and offers it to the ring; nothing else.
    let on_data = move |data: &[T], _: &cpal::InputCallbackInfo| {
        for piece in data.chunks(BLOCK * channels) {
            let frames = piece.len() / channels;
            for (out, frame) in mono.iter_mut().zip(piece.chunks_exact(channels)) {
                let sum: f32 = frame.iter().map(|s| <f32 as FromSample<T>>::from_sample_(*s)).sum();
                *out = sum / channels as f32;
            }
            writer.push(&mono[..frames]);
        }
    };
    device.build_input_stream(config, on_data, on_error, Some(Duration::from_secs(5)))
}

impl MicSource {
    /// Opens and starts a microphone, the default one if none is named.
    ///
    /// # Errors
    /// [`AudioError::Device`] says what is wrong and what to do.
    pub fn open(wanted: Option<&str>) -> Result<Self, AudioError> {
        let device = find(wanted)?;
        let name = name(&device);
        let what = format!("open the microphone `{name}`");
        // A system without a card still names a default device; it just cannot be opened.
        let supported = device.default_input_config().map_err(|e| match (wanted, e.kind()) {
            (None, ErrorKind::DeviceNotAvailable) => AudioError::Device(NO_MICROPHONE.into()),
            _ => explain(&what, &e),
        })?;
        let format = supported.sample_format();
        let config: StreamConfig = supported.into();
        let (rate, channels) = (config.sample_rate, config.channels);
        let lost = Arc::new(AtomicBool::new(false));
        let (tell, reason) = mpsc::sync_channel(1);
        let build = match format {
            SampleFormat::I8 => build::<i8>,
            SampleFormat::I16 => build::<i16>,
            SampleFormat::I24 => build::<cpal::I24>,
            SampleFormat::I32 => build::<i32>,
            SampleFormat::I64 => build::<i64>,
            SampleFormat::U8 => build::<u8>,
            SampleFormat::U16 => build::<u16>,
            SampleFormat::U24 => build::<cpal::U24>,
            SampleFormat::U32 => build::<u32>,
            SampleFormat::U64 => build::<u64>,
            SampleFormat::F32 => build::<f32>,
            SampleFormat::F64 => build::<f64>,
            other => {
                return Err(AudioError::Device(format!(
                    "the microphone `{name}` gives {other} samples, which are not supported; choose another with --device"
                )));
            }
        };
        let start = |config: StreamConfig| {
            let (writer, reader) = capture_ring(rate as usize * RING_SECONDS);
            let (flag, tell, levels) = (lost.clone(), tell.clone(), writer.levels());
            let on_error = move |error: Error| match error.kind() {
                // An overrun inside the system or a denied priority is no reason to stop.
                ErrorKind::Xrun => levels.count_overrun(),
                ErrorKind::RealtimeDenied | ErrorKind::DeviceChanged => {}
                _ => {
                    let _ = tell.try_send(error.to_string().replace('\n', " "));
                    flag.store(true, Ordering::Release);
                }
            };
            build(&device, config, writer, on_error).map(|stream| (stream, reader))
        };
        // Sound servers hand out seconds at a time unless they are asked for less. What refuses that keeps its own size.
        let short = StreamConfig { buffer_size: BufferSize::Fixed(rate * PERIOD_MS / 1000), ..config };
        let (stream, reader) = start(short).or_else(|_| start(config)).map_err(|e| explain(&what, &e))?;
        stream.play().map_err(|e| explain(&what, &e))?;
        Ok(Self { name, rate, channels, format, reader, lost, reason, _stream: stream })
    }
}

impl AudioSource for MicSource {
    fn rate(&self) -> u32 {
        self.rate
    }

    fn read(&mut self, out: &mut [f32]) -> Result<Chunk, AudioError> {
        // About 50 ms in all; a microphone that has gone silent for good is told by its error callback.
        for _ in 0..10 {
            if let Some(lost) = self.reader.gap() {
                return Ok(Chunk::Lost(lost));
            }
            let count = self.reader.read(out);
            if count > 0 {
                return Ok(Chunk::Samples(count));
            }
            if self.lost.load(Ordering::Acquire) {
                let reason = self.reason.try_recv().unwrap_or_else(|_| "no reason given".into());
                return Err(AudioError::Lost { device: self.name.clone(), reason });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Chunk::Idle)
    }

    fn describe(&self) -> String {
        format!("{} ({} Hz, {} channels, {})", self.name, self.rate, self.channels, self.format)
    }

    fn live(&self) -> bool {
        true
    }

    fn levels(&self) -> Option<Arc<Levels>> {
        Some(self.reader.levels())
    }
}
