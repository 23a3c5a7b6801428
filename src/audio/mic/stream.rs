//! One stream of a device, from its opening to its end: the only real-time callback is here.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{BufferSize, Device, Error, ErrorKind, FromSample, SampleFormat, SizedSample, StreamConfig};
use crossbeam_channel::{Receiver, bounded};

use super::device::{NO_MICROPHONE, explain, name};
use crate::audio::ring::{CaptureReader, CaptureWriter, Levels, capture_ring_with};
use crate::audio::{AudioError, DeviceMeter, Resampler};

/// Callback period to ask for, ms: an encoder frame. It is a part of the latency, and the jitter that a busy machine is
/// allowed is as long. (At 20 ms cpal's thread was seen to spin on PulseAudio, at 10, 30, 40 and 60 ms not.)
const PERIOD_MS: u32 = 30;
/// Seconds of audio that the ring holds.
const RING_SECONDS: usize = 2;
/// Largest callback that is mixed down at once, frames; longer ones go in pieces, and the level shown is that of the last. It is more
/// than the 30 ms that are asked for at any rate up to 192 kHz.
const BLOCK: usize = 8_192;
/// How long the end of a healthy stream is waited for.
const LAST: Duration = Duration::from_secs(1);

/// A stream that runs.
pub(super) struct Opened {
    pub name: String,
    pub rate: u32,
    /// Rate, channels and sample format, for people.
    pub format: String,
    pub reader: CaptureReader,
    /// Why it has failed, once it has.
    pub failed: Receiver<String>,
    // Dropping it stops the callback. It is here as anything that can be dropped, so that tests need no sound system.
    pub stream: Option<Box<dyn Send>>,
    pub meter: Arc<DeviceMeter>,
}

impl Opened {
    pub fn describe(&self) -> String {
        format!("{} ({})", self.name, self.format)
    }

    /// Ends it and does not wait: to close a stream of a server that was killed can take for ever (ALSA's pulse plug-in waits
    /// for an answer that nobody sends), and then its thread is all that hangs.
    pub fn abandon(mut self) {
        let _ = self.close();
    }

    /// The channel closes when it is done.
    fn close(&mut self) -> Option<Receiver<()>> {
        let stream = ManuallyDrop::new(self.stream.take()?);
        let (alive, done) = bounded::<()>(0);
        let meter = self.meter.clone();
        meter.begin();
        let close = move || {
            drop(ManuallyDrop::into_inner(stream));
            meter.end();
            drop(alive);
        };
        // Without a thread it is leaked, which is better than to hang here.
        std::thread::Builder::new().name("kws-mic-close".into()).spawn(close).ok()?;
        Some(done)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(done) = self.close() {
            let _ = done.recv_timeout(LAST);
        }
    }
}

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
    let mut mono = vec![0.0_f32; BLOCK].into_boxed_slice();
    // The real-time callback: mixes down into a block of its own, made before, and offers it to the ring; nothing else.
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

/// Opens and starts a device in its usual format.
pub(super) fn open(
    device: &Device,
    named: bool,
    levels: &Arc<Levels>,
    meter: &Arc<DeviceMeter>,
) -> Result<Opened, AudioError> {
    let name = name(device);
    let what = format!("open the microphone `{name}`");
    // A system without a card still names a default device; it just cannot be opened.
    let supported = device.default_input_config().map_err(|e| match (named, e.kind()) {
        (false, ErrorKind::DeviceNotAvailable) => AudioError::Device(NO_MICROPHONE.into()),
        _ => explain(&what, &e),
    })?;
    let format = supported.sample_format();
    let config: StreamConfig = supported.into();
    let (rate, channels) = (config.sample_rate, config.channels);
    // Before it is started, as it would be of no use.
    Resampler::new(rate)?;
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
    let (tell, failed) = bounded(1);
    let start = |config: StreamConfig| {
        let (writer, reader) = capture_ring_with(rate as usize * RING_SECONDS, levels.clone());
        let (tell, levels) = (tell.clone(), levels.clone());
        let on_error = move |error: Error| match error.kind() {
            // An overrun inside the system or a denied priority is no reason to stop.
            ErrorKind::Xrun => levels.count_overrun(),
            ErrorKind::RealtimeDenied | ErrorKind::DeviceChanged => {}
            // The first one says why; a stream that has failed may fail again before it is closed.
            _ => drop(tell.try_send(error.to_string().replace('\n', " "))),
        };
        build(device, config, writer, on_error).map(|stream| (stream, reader))
    };
    // Sound servers hand out seconds at a time unless they are asked for less. What refuses that keeps its own size.
    let short = StreamConfig { buffer_size: BufferSize::Fixed(rate * PERIOD_MS / 1000), ..config };
    let (stream, reader) = start(short).or_else(|_| start(config)).map_err(|e| explain(&what, &e))?;
    stream.play().map_err(|e| explain(&what, &e))?;
    let format = format!("{rate} Hz, {channels} channels, {format}");
    Ok(Opened { name, rate, format, reader, failed, stream: Some(Box::new(stream)), meter: meter.clone() })
}
