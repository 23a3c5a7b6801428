//! `--save`: the sound of every detection as a wav file, with what was detected beside it as JSON.

mod folder;

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use crossbeam_channel::Receiver;
use kws_live::audio::MODEL_RATE;
use kws_live::engine::{Clip, seconds};
use serde::Serialize;

pub use folder::{Folder, Quota};

use crate::output::{Record, note};

/// How long a folder that could not be written is left alone.
const PAUSE: Duration = Duration::from_mins(1);

/// What became of the clips.
#[derive(Debug, Default)]
pub struct SaveCount {
    saved: AtomicU64,
    failed: AtomicU64,
    deleted: AtomicU64,
    /// Whether one is being written.
    writing: AtomicBool,
}

impl SaveCount {
    /// Clips on the disk.
    pub fn saved(&self) -> u64 {
        self.saved.load(Ordering::Relaxed)
    }

    /// Clips that could not be written.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// The thread that saves is left behind: what it has in hand, and what still waits for it, is not on the disk.
    pub fn leave(&self, waiting: &Receiver<Clip>) {
        let left = waiting.try_iter().count() as u64 + u64::from(self.writing.load(Ordering::Acquire));
        self.failed.fetch_add(left, Ordering::Relaxed);
    }

    /// Older clips that were deleted to keep the quota.
    pub fn deleted(&self) -> u64 {
        self.deleted.load(Ordering::Relaxed)
    }
}

/// The JSON file beside a clip.
#[derive(Debug, Serialize)]
struct Beside<'a> {
    keyword: &'a str,
    score: f64,
    /// Seconds since stream start, as in the lines on stdout.
    start: f64,
    end: f64,
    /// Second of the stream at which the wav file begins.
    clip_start: f64,
    /// Set for what was no detection, but came near.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    near_miss: bool,
    /// When it was written, UTC.
    time: String,
    /// Name of the model.
    model: &'a str,
}

/// Writes clips.
pub struct Saver {
    folder: Folder,
    model: String,
    count: Arc<SaveCount>,
    /// Set while the folder cannot be written: when to try again.
    again: Option<Instant>,
}

impl Saver {
    /// Clips go to `folder`; `model` is named beside each.
    pub fn new(folder: Folder, model: String) -> Self {
        Self { folder, model, count: Arc::default(), again: None }
    }

    /// What became of the clips, also while it runs.
    pub fn count(&self) -> Arc<SaveCount> {
        self.count.clone()
    }

    /// Writes clips until the stream has ended.
    pub fn run(mut self, clips: Receiver<Clip>) {
        for clip in clips {
            self.take(&clip);
        }
    }

    /// A folder that cannot be written stops the saving, with one warning; one that can be again is told too.
    fn take(&mut self, clip: &Clip) {
        if self.again.is_some_and(|at| Instant::now() < at) {
            self.count.failed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.count.writing.store(true, Ordering::Release);
        let outcome = self.write(clip);
        self.count.writing.store(false, Ordering::Release);
        match outcome {
            Ok(deleted) => {
                self.count.saved.fetch_add(1, Ordering::Relaxed);
                self.count.deleted.fetch_add(deleted, Ordering::Relaxed);
                if self.again.take().is_some() {
                    note(&format!("kws-live: sound is saved to {} again", self.folder.path().display()));
                }
            }
            Err(error) => {
                self.count.failed.fetch_add(1, Ordering::Relaxed);
                if self.again.is_none() {
                    let folder = self.folder.path().display();
                    note(&format!(
                        "kws-live: sound is no longer saved: {error:#}; make room in {folder} or bring it back, \
                         listening goes on"
                    ));
                }
                self.again = Some(Instant::now() + PAUSE);
            }
        }
    }

    fn write(&mut self, clip: &Clip) -> anyhow::Result<u64> {
        let now = SystemTime::now();
        let hit = &clip.detection;
        let record = Record::detection(hit, None);
        let beside = Beside {
            keyword: &record.keyword,
            score: record.score,
            start: record.start,
            end: record.end,
            clip_start: (seconds(clip.start) * 1e3).round() / 1e3,
            near_miss: clip.near_miss,
            time: humantime::format_rfc3339_millis(now).to_string(),
            model: &self.model,
        };
        let json = serde_json::to_string(&beside)? + "\n";
        let sound = wav(clip.samples()).context("cannot write the wav header")?;
        self.folder.put(now, &hit.name, &sound, json.as_bytes())
    }
}

/// A whole wav file: its size is known before any of it is on the disk.
fn wav(samples: &[i16]) -> hound::Result<Vec<u8>> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: MODEL_RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = Cursor::new(Vec::with_capacity(44 + 2 * samples.len()));
    let mut writer = hound::WavWriter::new(&mut bytes, spec)?;
    for sample in samples {
        writer.write_sample(*sample)?;
    }
    writer.finalize()?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use kws_live::engine::{ClipConfig, ClipRecorder};
    use kws_live::spotter::{Detection, KeywordId};

    use super::*;

    #[test]
    fn a_folder_that_vanishes_is_counted_and_left_alone_for_a_while() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("clips");
        let folder = Folder::open(&path, Quota { files: 10, bytes: 1 << 20 }).expect("it is made");
        let mut saver = Saver::new(folder, "test".into());
        let (mut recorder, clips) = ClipRecorder::new(&ClipConfig::default());
        recorder.push(&vec![0.5; 32_000], || false);
        let mut next = || {
            let name = "smart mirror".into();
            recorder.hit(&Detection {
                keyword: KeywordId(0),
                name,
                score: 0.5,
                start: 100,
                end: 9_000,
                emitted: 9_100,
            });
            recorder.finish(|| false);
            clips.try_recv().expect("a clip")
        };
        saver.take(&next());
        assert_eq!((saver.count.saved(), saver.count.failed()), (1, 0));
        std::fs::remove_dir_all(&path).expect("it is ours");
        saver.take(&next());
        // Back, but it is too early to look.
        std::fs::create_dir(&path).expect("room on the disk");
        saver.take(&next());
        assert_eq!((saver.count.saved(), saver.count.failed()), (1, 2));
        assert!(path.read_dir().expect("a folder").next().is_none());
        saver.again = Some(Instant::now());
        saver.take(&next());
        assert_eq!((saver.count.saved(), saver.count.failed(), saver.again), (2, 2, None));
        assert_eq!(path.read_dir().expect("a folder").count(), 2);
    }

    #[test]
    fn the_wav_file_is_what_it_says() {
        let samples: Vec<i16> = (-500..500).collect();
        let bytes = wav(&samples).expect("memory cannot fail");
        assert_eq!(bytes.len(), 44 + 2 * samples.len());
        let mut reader = hound::WavReader::new(Cursor::new(bytes)).expect("a wav file");
        assert_eq!((reader.spec().sample_rate, reader.spec().channels, reader.spec().bits_per_sample), (16_000, 1, 16));
        let back: Result<Vec<i16>, _> = reader.samples().collect();
        assert_eq!(back.expect("16 bit"), samples);
    }
}
