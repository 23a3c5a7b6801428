//! The sound around a detection, cut out by the worker into buffers that were made before the stream began.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::audio::MODEL_RATE;
use crate::spotter::Detection;

/// Detections whose sound can be waited for at the same time.
const WAITING: usize = 32;
/// How much later than its word a detection may come out and still find all of its sound, samples.
const LATE: usize = 2 * MODEL_RATE as usize;
/// Samples that are taken up at once: a clip is cut before the history has moved on by more.
const STEP: usize = 1_600;
/// Time between two looks for a free buffer.
const NAP: Duration = Duration::from_millis(50);

/// What to keep of the sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipConfig {
    /// Sound before the word.
    pub before: Duration,
    /// Sound behind the word.
    pub after: Duration,
    /// Longest clip; a longer one keeps its end.
    pub longest: Duration,
    /// Clips that can be held by others at the same time; more are lost and counted.
    pub buffers: usize,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self {
            before: Duration::from_secs(1),
            after: Duration::from_millis(500),
            longest: Duration::from_secs(6),
            buffers: 8,
        }
    }
}

/// The sound of one detection, 16 kHz mono. Dropping it gives its buffer back.
#[derive(Debug)]
pub struct Clip {
    /// What was detected.
    pub detection: Detection,
    /// Whether it was none, but came near.
    pub near_miss: bool,
    /// First sample, counted from stream start at 16 kHz.
    pub start: u64,
    samples: Vec<i16>,
    home: Sender<Vec<i16>>,
}

impl Clip {
    /// The samples.
    pub fn samples(&self) -> &[i16] {
        &self.samples
    }
}

impl Drop for Clip {
    fn drop(&mut self) {
        // The channel has room for every buffer there is.
        let _ = self.home.try_send(std::mem::take(&mut self.samples));
    }
}

/// What waits for the sound behind it.
#[derive(Debug)]
struct Waiting {
    detection: Detection,
    near_miss: bool,
}

impl Waiting {
    /// Whether both are of one keyword at one place.
    fn meets(&self, other: &Detection) -> bool {
        let own = &self.detection;
        own.keyword == other.keyword && own.start < other.end && other.start < own.end
    }
}

/// A short history of the stream and the clips that are cut out of it. Allocates nothing once it is made.
///
/// A gap ends the clips that reach over it: a clip is always one unbroken piece of the stream.
#[derive(Debug)]
pub struct ClipRecorder {
    /// The last samples; that of position `p` is at `p % ring.len()`.
    ring: Box<[i16]>,
    /// First position since the start or the last gap.
    origin: u64,
    /// One past the last position.
    position: u64,
    before: u64,
    after: u64,
    longest: u64,
    waiting: Vec<Waiting>,
    spare: Receiver<Vec<i16>>,
    home: Sender<Vec<i16>>,
    out: Sender<Clip>,
    lost: u64,
}

impl ClipRecorder {
    /// Takes all its memory. The clips come out of the receiver.
    pub fn new(config: &ClipConfig) -> (Self, Receiver<Clip>) {
        let samples = |time: Duration| (time.as_secs_f64() * f64::from(MODEL_RATE)) as u64;
        let longest = samples(config.longest).max(1);
        let buffers = config.buffers.max(1);
        let (home, spare) = bounded(buffers);
        for _ in 0..buffers {
            let _ = home.try_send(Vec::with_capacity(longest as usize));
        }
        // A clip has its buffer before it is sent, so that there is always room for it.
        let (out, clips) = bounded(buffers);
        let recorder = Self {
            ring: vec![0; longest as usize + LATE + STEP].into(),
            origin: 0,
            position: 0,
            before: samples(config.before),
            after: samples(config.after),
            longest,
            waiting: Vec::with_capacity(WAITING),
            spare,
            home,
            out,
            lost: 0,
        };
        (recorder, clips)
    }

    /// A keyword was heard: its sound goes out once there is enough of it.
    pub fn hit(&mut self, detection: &Detection) {
        self.waiting.retain(|w| !(w.near_miss && w.meets(detection)));
        self.wait(detection, false);
    }

    /// Nearly: the same, if it is not heard after all.
    pub fn near_miss(&mut self, detection: &Detection) {
        if !self.waiting.iter().any(|w| w.meets(detection)) {
            self.wait(detection, true);
        }
    }

    fn wait(&mut self, detection: &Detection, near_miss: bool) {
        if self.waiting.len() == WAITING {
            self.lost += 1;
        } else {
            self.waiting.push(Waiting { detection: detection.clone(), near_miss });
        }
    }

    /// The stream goes on with these samples. `wait` is asked whether to wait for a buffer where none is free.
    pub fn push(&mut self, samples: &[f32], wait: impl Fn() -> bool) {
        for step in samples.chunks(STEP) {
            let mut at = (self.position % self.ring.len() as u64) as usize;
            for sample in step {
                self.ring[at] = (sample * 32_768.0).round() as i16;
                at = if at + 1 == self.ring.len() { 0 } else { at + 1 };
            }
            self.position += step.len() as u64;
            self.cut(false, &wait);
        }
    }

    /// The stream has ended here: what is waited for goes out as it is.
    pub fn finish(&mut self, wait: impl Fn() -> bool) {
        self.cut(true, &wait);
    }

    /// Samples were lost; the stream goes on at `position`.
    pub fn gap(&mut self, position: u64, wait: impl Fn() -> bool) {
        self.cut(true, &wait);
        self.origin = position;
        self.position = position;
    }

    /// Clips that found no buffer.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn cut(&mut self, all: bool, wait: &impl Fn() -> bool) {
        let mut index = 0;
        while index < self.waiting.len() {
            if all || self.waiting[index].detection.end + self.after <= self.position {
                let waiting = self.waiting.remove(index);
                self.send(waiting, wait);
            } else {
                index += 1;
            }
        }
    }

    fn send(&mut self, Waiting { detection, near_miss }: Waiting, wait: &impl Fn() -> bool) {
        let Some(mut samples) = self.buffer(wait) else {
            self.lost += 1;
            return;
        };
        let to = (detection.end + self.after).min(self.position);
        let oldest = self.origin.max(self.position.saturating_sub(self.ring.len() as u64));
        let from = detection.start.saturating_sub(self.before).max(to.saturating_sub(self.longest));
        let from = from.clamp(oldest.min(to), to);
        samples.clear();
        let length = self.ring.len();
        let (first, count) = ((from % length as u64) as usize, (to - from) as usize);
        let head = count.min(length - first);
        samples.extend_from_slice(&self.ring[first..first + head]);
        samples.extend_from_slice(&self.ring[..count - head]);
        let clip = Clip { detection, near_miss, start: from, samples, home: self.home.clone() };
        // If nobody takes clips any more, the buffer goes home.
        let _ = self.out.try_send(clip);
    }

    fn buffer(&self, wait: &impl Fn() -> bool) -> Option<Vec<i16>> {
        loop {
            if let Ok(buffer) = self.spare.try_recv() {
                return Some(buffer);
            }
            if !wait() {
                return None;
            }
            if let Ok(buffer) = self.spare.recv_timeout(NAP) {
                return Some(buffer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spotter::KeywordId;

    fn hit(start: u64, end: u64) -> Detection {
        Detection { keyword: KeywordId(0), name: "word".into(), score: 0.5, start, end, emitted: end }
    }

    /// The sample of a position says where it is.
    fn sound(from: u64, to: u64) -> Vec<f32> {
        (from..to).map(|p| f32::from((p % 30_000) as i16) / 32_768.0).collect()
    }

    fn check(clip: &Clip, from: u64, to: u64) {
        let want: Vec<i16> = (from..to).map(|p| (p % 30_000) as i16).collect();
        assert_eq!(clip.start, from);
        assert!(clip.samples() == want, "{} samples from {from}", clip.samples().len());
    }

    #[test]
    fn a_clip_is_the_word_with_a_second_before_and_half_a_second_behind() {
        let (mut recorder, clips) = ClipRecorder::new(&ClipConfig::default());
        // Long enough that the history has gone round twice, in pieces that fit nothing.
        let (mut at, mut told) = (0, false);
        while at < 300_000 {
            if at > 205_000 && !told {
                recorder.hit(&hit(200_000, 205_000));
                told = true;
            }
            recorder.push(&sound(at, at + 777), || false);
            at += 777;
        }
        check(&clips.try_recv().expect("a clip"), 184_000, 213_000);
        assert!(clips.try_recv().is_err());
    }

    #[test]
    fn nothing_reaches_over_a_gap_or_the_ends() {
        let (mut recorder, clips) = ClipRecorder::new(&ClipConfig::default());
        recorder.push(&sound(0, 20_000), || false);
        recorder.hit(&hit(10_000, 19_000));
        recorder.gap(50_000, || false);
        check(&clips.try_recv().expect("the part before the gap"), 0, 20_000);
        recorder.push(&sound(50_000, 60_000), || false);
        recorder.hit(&hit(52_000, 58_000));
        recorder.finish(|| false);
        check(&clips.try_recv().expect("the part behind it"), 50_000, 60_000);
    }

    #[test]
    fn a_long_one_keeps_its_end() {
        let config = ClipConfig { longest: Duration::from_secs(2), ..ClipConfig::default() };
        let (mut recorder, clips) = ClipRecorder::new(&config);
        recorder.push(&sound(0, 100_000), || false);
        recorder.hit(&hit(40_000, 90_000));
        recorder.push(&[], || false);
        recorder.finish(|| false);
        check(&clips.try_recv().expect("a clip"), 66_000, 98_000);
    }

    #[test]
    fn buffers_come_home_and_what_finds_none_is_counted() {
        let config = ClipConfig { buffers: 2, ..ClipConfig::default() };
        let (mut recorder, clips) = ClipRecorder::new(&config);
        recorder.push(&sound(0, 40_000), || false);
        for _ in 0..3 {
            recorder.hit(&hit(20_000, 30_000));
        }
        recorder.finish(|| false);
        assert_eq!((clips.len(), recorder.lost()), (2, 1));
        drop(clips.try_recv());
        recorder.hit(&hit(20_000, 30_000));
        recorder.finish(|| false);
        assert_eq!((clips.len(), recorder.lost()), (2, 1));
    }

    #[test]
    fn a_near_miss_that_is_heard_after_all_is_one_clip() {
        let (mut recorder, clips) = ClipRecorder::new(&ClipConfig::default());
        recorder.push(&vec![0.0; 32_000], || false);
        recorder.near_miss(&hit(16_000, 24_000));
        recorder.hit(&hit(17_000, 25_000));
        recorder.near_miss(&hit(18_000, 26_000));
        recorder.near_miss(&hit(27_000, 31_000));
        recorder.finish(|| false);
        let kinds: Vec<(u64, bool)> = clips.try_iter().map(|c| (c.detection.start, c.near_miss)).collect();
        assert_eq!(kinds, [(17_000, false), (27_000, true)]);
    }

    #[test]
    fn a_patient_recorder_waits_for_a_buffer() {
        let (mut recorder, clips) = ClipRecorder::new(&ClipConfig { buffers: 1, ..ClipConfig::default() });
        recorder.push(&sound(0, 40_000), || true);
        let reader = std::thread::spawn(move || clips.iter().map(|clip| clip.samples().len()).sum::<usize>());
        for _ in 0..20 {
            recorder.hit(&hit(20_000, 30_000));
        }
        recorder.finish(|| true);
        assert_eq!(recorder.lost(), 0);
        drop(recorder);
        assert_eq!(reader.join().expect("it counts"), 20 * 34_000);
    }
}
