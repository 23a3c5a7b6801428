//! Raw samples on standard input: signed 16 bit, little-endian, 16 kHz, mono.

use std::io::Read;

use super::{AudioError, AudioSource, Chunk, MODEL_RATE};

/// Any byte stream of raw samples.
pub struct StdinSource<R = std::io::Stdin> {
    reader: R,
    bytes: Vec<u8>,
    /// A sample's first byte whose second has not come yet.
    odd: Option<u8>,
}

impl StdinSource {
    /// The process's standard input.
    pub fn new() -> Self {
        Self::from_reader(std::io::stdin())
    }
}

impl Default for StdinSource {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Read + Send> StdinSource<R> {
    /// Raw samples from any reader.
    pub fn from_reader(reader: R) -> Self {
        Self { reader, bytes: vec![0; 4096], odd: None }
    }
}

impl<R: Read + Send> AudioSource for StdinSource<R> {
    fn rate(&self) -> u32 {
        MODEL_RATE
    }

    fn read(&mut self, out: &mut [f32]) -> Result<Chunk, AudioError> {
        let room = (2 * out.len()).min(self.bytes.len());
        let kept = usize::from(self.odd.is_some());
        if let Some(byte) = self.odd.take() {
            self.bytes[0] = byte;
        }
        let read = match self.reader.read(&mut self.bytes[kept..room]) {
            Ok(0) => return Ok(Chunk::End),
            Ok(n) => n + kept,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => kept,
            Err(e) => return Err(AudioError::Stdin(e)),
        };
        let (pairs, rest) = self.bytes[..read].as_chunks::<2>();
        self.odd = rest.first().copied();
        for (o, pair) in out.iter_mut().zip(pairs) {
            *o = f32::from(i16::from_le_bytes(*pair)) / 32_768.0;
        }
        Ok(if pairs.is_empty() { Chunk::Idle } else { Chunk::Samples(pairs.len()) })
    }

    fn describe(&self) -> String {
        "standard input (s16le, 16000 Hz)".into()
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
    fn samples_split_between_reads_come_out_whole() {
        let samples: Vec<i16> = (0..100).map(|i| i * 300 - 15_000).collect();
        let bytes = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut source = StdinSource::from_reader(Dribble(bytes, 0));
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
