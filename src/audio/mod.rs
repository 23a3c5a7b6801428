//! Samples in: files, standard input, microphone; resampled to the model's rate off the real-time path.

mod container;
mod decode;
mod device;
mod file;
#[cfg(feature = "capture")]
mod mic;
mod opus;
mod pages;
mod resample;
mod ring;
mod stdin;
mod wave;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use decode::{Decoded, Decoder, decode_16k, decode_file, decoder_panics, to_16k};
pub use device::{DeviceMeter, Loss};
pub use file::{FileSource, Pace};
#[cfg(feature = "capture")]
pub use mic::{DeviceInfo, MicSource, list_devices};
pub use resample::Resampler;
pub use ring::{CaptureReader, CaptureWriter, Gap, Levels, capture_ring, capture_ring_with};
pub use stdin::StdinSource;

/// Sample rate of the models, Hz.
pub const MODEL_RATE: u32 = 16_000;

/// What can go wrong between the air and the ring. Its text tells it all, the system's reason included.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// A file that cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// A file that is not audio of a known kind, or is broken.
    #[error("{path}: {reason}; give a wav, flac, ogg, mp3 or opus file")]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Standard input failed.
    #[error("cannot read standard input: {0}")]
    Stdin(std::io::Error),
    /// A sample rate that cannot be resampled.
    #[error("cannot resample {0} Hz to 16000 Hz; use a rate from 4000 to 384000 Hz")]
    Rate(u32),
    /// No such microphone, or none at all.
    #[error("{0}")]
    Device(String),
    /// A device of a source that does not open it again went away.
    #[error("the microphone `{device}` stopped: {reason}; plug it in again and restart")]
    Lost {
        /// The device.
        device: String,
        /// What the system said.
        reason: String,
    },
}

impl AudioError {
    /// [`AudioError::Decode`] of a file.
    pub(crate) fn decode(path: &Path, reason: impl Into<String>) -> Self {
        Self::Decode { path: path.into(), reason: reason.into() }
    }

    /// [`AudioError::Read`] of a file.
    pub(crate) fn read(path: &Path, reason: std::io::Error) -> Self {
        Self::Read { path: path.into(), reason }
    }
}

/// A piece of a stream: samples, or the news that some are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// So many samples were written to the front of the buffer.
    Samples(usize),
    /// So many samples at the source's rate were lost here.
    Lost(u64),
    /// Nothing has arrived for a while; the stream goes on.
    Idle,
    /// The device is gone, for the reason that [`AudioSource::loss`] tells. The stream goes on: without sound, until the device
    /// is back.
    Away,
    /// The device is back after so long without sound. From here on the source may have another rate and description.
    Back(Duration),
    /// The stream has ended.
    End,
}

/// Samples that came in their own time and were not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unread {
    /// That wait.
    pub waiting: u64,
    /// That were lost behind these, and not told yet.
    pub lost: u64,
}

/// Mono samples at some rate.
pub trait AudioSource: Send {
    /// Samples a second. It may change where [`Chunk::Back`] is read, and only there.
    fn rate(&self) -> u32;

    /// Reads the next piece; waits at most about 50 ms.
    ///
    /// # Errors
    /// If the device or file fails; the stream is then over.
    fn read(&mut self, out: &mut [f32]) -> Result<Chunk, AudioError>;

    /// One line about it, for people.
    fn describe(&self) -> String;

    /// Whether samples come in their own time, read or not: a pause must then drain them.
    fn live(&self) -> bool {
        false
    }

    /// Input level, where the source measures it before the ring.
    fn levels(&self) -> Option<std::sync::Arc<Levels>> {
        None
    }

    /// Whether the device is there, for a source that has one and opens it again.
    fn device(&self) -> Option<std::sync::Arc<DeviceMeter>> {
        None
    }

    /// What has come and was not read, for a source that does not wait to be read.
    fn unread(&self) -> Unread {
        Unread::default()
    }

    /// Why the device is away, while it is.
    fn loss(&self) -> Option<Loss> {
        None
    }
}
