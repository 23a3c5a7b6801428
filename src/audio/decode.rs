//! Audio files, packet by packet or whole.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use symphonia::core::io::{MediaSource, ReadOnlySource};

use super::container::Container;
use super::opus::OpusReader;
use super::resample::RATES;
use super::wave::{Wave, bytes};
use super::{AudioError, MODEL_RATE, Resampler};

/// Longest part that is missing and becomes silence, seconds. More than that is a mistake of the file.
pub(super) const LONGEST_HOLE: u64 = 60;

/// Tags before an MP3 that are longer than this, with pictures, are left out: symphonia looks no further for what it knows.
const LONG_TAG: u64 = 500_000;

/// A whole recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Mono samples in [-1, 1].
    pub samples: Vec<f32>,
    /// Samples a second.
    pub rate: u32,
}

enum Kind {
    Opus(Box<OpusReader>),
    Other(Box<Container>),
}

/// Decodes a file piece by piece, in constant memory.
pub struct Decoder {
    path: PathBuf,
    kind: Kind,
    rate: u32,
    /// Whether it has given samples.
    begun: bool,
}

thread_local! {
    /// Whether a panic on this thread is caught and told as an error.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread is one of a decoder, which [`Decoder`] catches and tells as an error: a panic hook has nothing
/// to add to it.
pub fn decoder_panics() -> bool {
    GUARDED.get()
}

/// Runs a decoder. Those of others may panic on what is damaged cleverly enough, which must not end the search of an archive.
fn guarded<T>(path: &Path, decode: impl FnOnce() -> Result<T, AudioError>) -> Result<T, AudioError> {
    GUARDED.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(decode));
    GUARDED.set(false);
    outcome.unwrap_or_else(|_| Err(AudioError::decode(path, "it is damaged in a way that its decoder does not expect")))
}

impl Decoder {
    /// Opens a file; its kind is told by its content, not by its name.
    ///
    /// # Errors
    /// If the file cannot be read or holds no audio of a known kind.
    pub fn open(path: &Path) -> Result<Self, AudioError> {
        guarded(path, || Self::open_unguarded(path))
    }

    fn open_unguarded(path: &Path) -> Result<Self, AudioError> {
        let read = |source| AudioError::read(path, source);
        let mut file = File::open(path).map_err(read)?;
        let kind = file.metadata().map_err(read)?.file_type();
        if kind.is_dir() {
            return Err(AudioError::decode(path, "it is a folder"));
        }
        if !kind.is_file() {
            return Err(AudioError::decode(path, "it is no file that can be read twice, such as a pipe"));
        }
        let start = bytes(&mut file, 0, 64).map_err(read)?;
        if start.is_empty() {
            return Err(AudioError::decode(path, "it is empty"));
        }
        if start.starts_with(b"OggS") && start.windows(8).any(|w| w == b"OpusHead") {
            let reader = Box::new(OpusReader::open(path)?);
            return Ok(Self { path: path.into(), kind: Kind::Opus(reader), rate: MODEL_RATE, begun: false });
        }
        let container = if let Some(wave) = Wave::find(&mut file).map_err(read)? {
            if wave.joined {
                log::warn!("{}: another recording follows the first, which is not heard: part them", path.display());
            }
            let endless = wave.endless;
            let mut container = Container::open(path, wave.open(file).map_err(read)?)?;
            if endless {
                container.may_end();
            }
            container
        } else {
            let piece = is_flac_piece(&mut file).map_err(read)?;
            let mut container = Container::open(path, behind_tags(file).map_err(read)?)?;
            if piece {
                container.begins_later();
            }
            container
        };
        let rate = container.rate();
        if !RATES.contains(&rate) {
            return Err(AudioError::decode(path, format!("its rate of {rate} Hz is not between 4 and 384 kHz")));
        }
        Ok(Self { path: path.into(), kind: Kind::Other(Box::new(container)), rate, begun: false })
    }

    /// Samples a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Appends the next piece, mixed down to mono; false at the end. Silence stands for what is damaged, and a warning in
    /// the log says that there was some.
    ///
    /// # Errors
    /// If the file cannot be read, or is broken before its first sample; a rest that is broken ends the stream.
    pub fn next(&mut self, out: &mut Vec<f32>) -> Result<bool, AudioError> {
        let length = out.len();
        let more = match guarded(&self.path, || self.kind.next(&self.path, out)) {
            Err(AudioError::Decode { reason, .. }) if self.begun => {
                log::warn!("{}: the rest is not heard: {reason}", self.path.display());
                false
            }
            outcome => outcome?,
        };
        self.begun |= out.len() > length;
        Ok(more)
    }
}

/// Whether a file is FLAC whose first frame stands in its place and is not number 0 (RFC 9639, sections 8 and 9.1): cut out of a longer
/// one, unlike one that is damaged.
fn is_flac_piece(file: &mut File) -> io::Result<bool> {
    // Zeros behind the end.
    let mut at = |place: u64| -> io::Result<[u8; 5]> {
        let mut five = [0; 5];
        five.iter_mut().zip(bytes(file, place, 5)?).for_each(|(to, from)| *to = from);
        Ok(five)
    };
    if !at(0)?.starts_with(b"fLaC") {
        return Ok(false);
    }
    let mut place = 4;
    loop {
        let [kind, size @ .., _] = at(place)?;
        place += 4 + size.iter().fold(0, |size, byte| size << 8 | u64::from(*byte));
        if kind & 0x80 != 0 {
            break;
        }
        if kind == 0 && size == [0; 3] {
            return Ok(false); // Not even the first block is whole.
        }
    }
    let [sync @ .., _, _, number] = at(place)?;
    Ok(sync[0] == 0xff && sync[1] & 0xfe == 0xf8 && number != 0)
}

/// A file from behind the tags that it begins with, if these are long.
fn behind_tags(mut file: File) -> io::Result<Box<dyn MediaSource>> {
    let mut at = 0;
    loop {
        let head = bytes(&mut file, at, 10)?;
        // ID3v2: seven bits of the size in each of four bytes, and perhaps a footer (id3.org, ID3v2.4, section 3.1).
        let [b'I', b'D', b'3', _, _, flags, size @ ..] = &head[..] else { break };
        let size = size.iter().fold(0, |size, byte| size << 7 | u64::from(byte & 0x7f));
        at += 10 + size + if flags & 0x10 == 0 { 0 } else { 10 };
    }
    // A size that leads behind the end is none.
    if at < LONG_TAG || at >= file.metadata()?.len() {
        file.rewind()?;
        return Ok(Box::new(file));
    }
    file.seek(SeekFrom::Start(at))?;
    Ok(Box::new(ReadOnlySource::new(file)))
}

impl Kind {
    fn next(&mut self, path: &Path, out: &mut Vec<f32>) -> Result<bool, AudioError> {
        match self {
            Self::Opus(reader) => reader.next(path, out),
            Self::Other(container) => container.next(path, out),
        }
    }
}

/// Decodes a whole file at its own rate.
///
/// # Errors
/// As [`Decoder::open`]; a file without a single sample is refused too.
pub fn decode_file(path: &Path) -> Result<Decoded, AudioError> {
    let mut decoder = Decoder::open(path)?;
    let mut samples = Vec::new();
    while decoder.next(&mut samples)? {}
    if samples.is_empty() {
        return Err(AudioError::decode(path, "it holds no samples"));
    }
    Ok(Decoded { samples, rate: decoder.rate() })
}

/// Decodes a whole file and resamples it to 16 kHz.
///
/// # Errors
/// As [`decode_file`], and [`AudioError::Rate`].
pub fn decode_16k(path: &Path) -> Result<Vec<f32>, AudioError> {
    let Decoded { samples, rate } = decode_file(path)?;
    to_16k(&samples, rate)
}

/// Resamples a whole recording to 16 kHz.
///
/// # Errors
/// [`AudioError::Rate`].
pub fn to_16k(samples: &[f32], rate: u32) -> Result<Vec<f32>, AudioError> {
    let mut resampler = Resampler::new(rate)?;
    let mut out = Vec::with_capacity((samples.len() as u64 * u64::from(MODEL_RATE) / u64::from(rate)) as usize + 1);
    resampler.push(samples, &mut out);
    resampler.flush(&mut out);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_panics_is_a_broken_file() {
        let broken = guarded::<()>(Path::new("a.ogg"), || {
            assert!(decoder_panics());
            panic!("on purpose")
        });
        assert!(!decoder_panics());
        assert!(matches!(broken, Err(AudioError::Decode { reason, .. }) if reason.contains("damaged")));
    }
}
