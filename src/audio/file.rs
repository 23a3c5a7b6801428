//! A file as a stream, flat out or at the pace of a microphone.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{AudioError, AudioSource, Chunk, Decoder};

/// How fast a recorded stream comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As a microphone would give it.
    RealTime,
    /// As fast as it can be read.
    FlatOut,
}

/// A reader that comes later than this has paused.
const LATEST: Duration = Duration::from_millis(500);

/// Sleeps so that samples do not come before their time.
#[derive(Debug)]
pub(super) struct Clock {
    pace: Pace,
    rate: u32,
    start: Option<Instant>,
    given: u64,
}

impl Clock {
    pub(super) fn new(pace: Pace, rate: u32) -> Self {
        Self { pace, rate, start: None, given: 0 }
    }

    /// Waits until `count` more samples may be handed out.
    pub(super) fn wait(&mut self, count: usize) {
        if self.pace == Pace::FlatOut {
            return;
        }
        let start = *self.start.get_or_insert_with(Instant::now);
        self.given += count as u64;
        let due = start + Duration::from_secs_f64(self.given as f64 / f64::from(self.rate));
        let now = Instant::now();
        if now.duration_since(due) > LATEST {
            // The reader paused. Do not hurry after it.
            self.start = Some(start + now.duration_since(due));
        }
        std::thread::sleep(due.saturating_duration_since(now));
    }

    /// Samples of one read: 30 ms at real pace, so that no read waits long.
    pub(super) fn block(&self) -> usize {
        match self.pace {
            Pace::RealTime => (self.rate as usize * 30 / 1000).max(1),
            Pace::FlatOut => usize::MAX,
        }
    }
}

/// A decoded file, piece by piece.
pub struct FileSource {
    path: PathBuf,
    decoder: Decoder,
    buffer: Vec<f32>,
    at: usize,
    clock: Clock,
}

impl FileSource {
    /// Opens a file.
    ///
    /// # Errors
    /// As [`Decoder::open`].
    pub fn open(path: &Path, pace: Pace) -> Result<Self, AudioError> {
        let decoder = Decoder::open(path)?;
        let clock = Clock::new(pace, decoder.rate());
        Ok(Self { path: path.into(), decoder, buffer: Vec::new(), at: 0, clock })
    }
}

impl AudioSource for FileSource {
    fn rate(&self) -> u32 {
        self.decoder.rate()
    }

    fn read(&mut self, out: &mut [f32]) -> Result<Chunk, AudioError> {
        while self.at == self.buffer.len() {
            self.buffer.clear();
            self.at = 0;
            if !self.decoder.next(&mut self.buffer)? {
                return Ok(Chunk::End);
            }
        }
        let count = out.len().min(self.buffer.len() - self.at).min(self.clock.block());
        out[..count].copy_from_slice(&self.buffer[self.at..self.at + count]);
        self.at += count;
        self.clock.wait(count);
        Ok(Chunk::Samples(count))
    }

    fn describe(&self) -> String {
        format!("{} ({} Hz)", self.path.display(), self.rate())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_not_made_up_for() {
        let mut clock = Clock::new(Pace::RealTime, 1_000);
        let now = Instant::now();
        clock.start = Some(now.checked_sub(2 * LATEST).expect("the machine runs for longer"));
        clock.wait(1);
        let start = clock.start.expect("set above");
        assert!(start + Duration::from_millis(1) >= now, "the clock was moved to now");
    }
}
