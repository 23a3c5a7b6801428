//! Raw samples on standard input: signed 16 bit, little-endian, 16 kHz, mono.

use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use super::{AudioError, AudioSource, Chunk, MODEL_RATE};

/// Longest wait of one read.
const PATIENCE: Duration = Duration::from_millis(50);
/// Bytes of one piece, 128 ms.
const PIECE: usize = 4_096;
/// Pieces that are read ahead.
const AHEAD: usize = 8;

/// Any byte stream of raw samples.
///
/// A thread of its own does the blocking reads: a silent pipe must not keep a stop or a command waiting. Nothing can end a
/// read that waits, so that thread may outlive the source, until the next byte or the process's end.
pub struct StdinSource {
    pieces: Receiver<std::io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
    /// A sample's first byte whose second has not come yet.
    odd: Option<u8>,
    /// Whether something has come.
    begun: bool,
}

/// What kind of file begins so.
fn recording(bytes: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 4] = [(b"RIFF", "wav"), (b"fLaC", "flac"), (b"OggS", "ogg"), (b"ID3", "mp3")];
    KINDS.iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, kind)| *kind)
}

impl StdinSource {
    /// The process's standard input.
    ///
    /// # Errors
    /// [`AudioError::Stdin`] if no thread can be started.
    pub fn new() -> Result<Self, AudioError> {
        Self::from_reader(std::io::stdin())
    }

    /// Raw samples from any reader.
    ///
    /// # Errors
    /// [`AudioError::Stdin`] if no thread can be started.
    pub fn from_reader(mut reader: impl Read + Send + 'static) -> Result<Self, AudioError> {
        let (give, pieces) = sync_channel(AHEAD);
        let read = move || {
            loop {
                let mut piece = vec![0; PIECE];
                let outcome = match reader.read(&mut piece) {
                    Ok(0) => return,
                    Ok(n) => {
                        piece.truncate(n);
                        Ok(piece)
                    }
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(e) => Err(e),
                };
                let failed = outcome.is_err();
                if give.send(outcome).is_err() || failed {
                    return;
                }
            }
        };
        thread::Builder::new().name("kws-stdin".into()).spawn(read).map_err(AudioError::Stdin)?;
        Ok(Self { pieces, piece: Vec::new(), at: 0, odd: None, begun: false })
    }
}

impl AudioSource for StdinSource {
    fn rate(&self) -> u32 {
        MODEL_RATE
    }

    fn read(&mut self, out: &mut [f32]) -> Result<Chunk, AudioError> {
        if self.at == self.piece.len() {
            self.piece = match self.pieces.recv_timeout(PATIENCE) {
                Ok(piece) => piece.map_err(AudioError::Stdin)?,
                Err(RecvTimeoutError::Timeout) => return Ok(Chunk::Idle),
                Err(RecvTimeoutError::Disconnected) => return Ok(Chunk::End),
            };
            self.at = 0;
            if !std::mem::replace(&mut self.begun, true)
                && let Some(kind) = recording(&self.piece)
            {
                log::warn!(
                    "standard input begins as a {kind} file and is heard as raw samples: give the file with --input FILE, or \
                     pipe it through `ffmpeg -i FILE -f s16le -ar 16000 -ac 1 -`"
                );
            }
        }
        let mut count = 0;
        while count < out.len() && self.at < self.piece.len() {
            let byte = self.piece[self.at];
            self.at += 1;
            match self.odd.take() {
                None => self.odd = Some(byte),
                Some(low) => {
                    out[count] = f32::from(i16::from_le_bytes([low, byte])) / 32_768.0;
                    count += 1;
                }
            }
        }
        Ok(if count == 0 { Chunk::Idle } else { Chunk::Samples(count) })
    }

    fn describe(&self) -> String {
        "standard input (s16le, 16000 Hz)".into()
    }

    fn live(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of 1, 2, 3, .. bytes.
    struct Dribble(Vec<u8>, usize);

    impl Read for Dribble {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            self.1 += 1;
            let n = self.1.min(self.0.len()).min(out.len());
            out[..n].copy_from_slice(&self.0[..n]);
            self.0.drain(..n);
            Ok(n)
        }
    }

    #[test]
    fn recordings_are_told_from_samples() {
        assert_eq!(recording(b"fLaC\0\0"), Some("flac"));
        assert_eq!((recording(b"ID"), recording(&[0; 64])), (None, None));
    }

    #[test]
    fn samples_split_between_reads_come_out_whole() {
        let samples: Vec<i16> = (0..100).map(|i| i * 300 - 15_000).collect();
        let bytes = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut source = StdinSource::from_reader(Dribble(bytes, 0)).expect("a thread");
        let mut got = Vec::new();
        let mut out = [0.0; 64];
        loop {
            match source.read(&mut out).expect("a vector cannot fail") {
                Chunk::Samples(n) => got.extend_from_slice(&out[..n]),
                Chunk::End => break,
                _ => {}
            }
        }
        let want: Vec<f32> = samples.iter().map(|s| f32::from(*s) / 32_768.0).collect();
        assert_eq!(got, want);
    }
}
