//! Decoded audio as 16-bit samples in one file, so that an epoch costs no decoding.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::whole::Partial;

/// Sample rate of every cached recording, Hz.
pub const RATE: f32 = 16_000.0;

/// Number of the sample at a time, in a recording of `length` samples; 0 or `length` outside it.
pub(crate) fn sample_at(seconds: f32, length: usize) -> usize {
    ((seconds.max(0.0) * RATE) as usize).min(length)
}

/// A recording in the cache.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Clip {
    /// Corpus and file, `corpus/file`.
    pub id: String,
    /// First sample in the blob.
    pub offset: usize,
    /// Number of samples.
    pub len: usize,
}

/// All samples of a data set in memory, with an index.
#[derive(Debug, Default)]
pub struct Cache {
    samples: Vec<i16>,
    clips: Vec<Clip>,
    by_id: BTreeMap<String, usize>,
}

impl Cache {
    /// Adds a recording given as mono samples at 16 kHz in [-1, 1].
    pub fn add(&mut self, id: String, audio: &[f32]) -> usize {
        let offset = self.samples.len();
        self.samples.extend(audio.iter().map(|s| (s * 32_767.0).round().clamp(-32_768.0, 32_767.0) as i16));
        self.by_id.insert(id.clone(), self.clips.len());
        self.clips.push(Clip { id, offset, len: audio.len() });
        self.clips.len() - 1
    }

    /// Index of the recording `corpus/file`.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// Samples of recording `clip`.
    pub fn samples(&self, clip: usize) -> &[i16] {
        let Clip { offset, len, .. } = self.clips[clip];
        &self.samples[offset..offset + len]
    }

    /// All recordings.
    pub fn clips(&self) -> &[Clip] {
        &self.clips
    }

    /// Total length, seconds.
    pub fn seconds(&self) -> f32 {
        self.samples.len() as f32 / RATE
    }

    /// Writes `folder/audio.i16` and `folder/audio.json`; what was there stays until both can be replaced.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let index = serde_json::to_vec(&self.clips)?;
        // Both whole before one is replaced.
        let samples = Partial::new(&folder.join("audio.i16"), |path| self.write_samples(path))?;
        let index = Partial::new(&folder.join("audio.json"), |path| fs::write(path, index))?;
        samples.publish()?;
        index.publish()
    }

    fn write_samples(&self, path: &Path) -> std::io::Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        for block in self.samples.chunks(1 << 16) {
            let bytes: Vec<u8> = block.iter().flat_map(|s| s.to_le_bytes()).collect();
            out.write_all(&bytes)?;
        }
        out.flush()
    }

    /// Reads what [`Cache::write`] wrote.
    ///
    /// # Errors
    /// If a file is missing or does not fit the index.
    pub fn read(folder: &Path) -> Result<Self> {
        let hint = || format!("no audio cache in {}; run `kws-train prepare` first", folder.display());
        let clips: Vec<Clip> =
            serde_json::from_slice(&fs::read(folder.join("audio.json")).with_context(hint)?).with_context(hint)?;
        let path = folder.join("audio.i16");
        let total = fs::metadata(&path).with_context(hint)?.len() as usize / 2;
        let end = clips.iter().map(|c| c.offset + c.len).max().unwrap_or(0);
        ensure!(
            end == total,
            "{} holds {total} samples, its index {end}; run `kws-train prepare` again",
            path.display()
        );
        let mut samples = Vec::with_capacity(total);
        let mut file = BufReader::new(File::open(&path)?);
        let mut block = vec![0_u8; 1 << 20];
        loop {
            let want = block.len().min((total - samples.len()) * 2);
            if want == 0 {
                break;
            }
            file.read_exact(&mut block[..want])?;
            samples.extend(block[..want].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])));
        }
        let by_id = clips.iter().enumerate().map(|(i, c)| (c.id.clone(), i)).collect();
        Ok(Self { samples, clips, by_id })
    }
}
