//! What the worker tells the UI without a queue: plain atomics, read whenever a frame is drawn.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use crate::audio::{DeviceMeter, Levels, MODEL_RATE};

/// One keyword's score, written every hop.
#[derive(Debug, Default)]
pub struct ScoreMeter {
    score: AtomicU32,
    peak: AtomicU32,
    threshold: AtomicU32,
}

impl ScoreMeter {
    /// Score of the last hop, 0 to 1.
    pub fn score(&self) -> f32 {
        f32::from_bits(self.score.load(Ordering::Relaxed))
    }

    /// Highest score since the last call; that of the last hop if none came since.
    pub fn take_peak(&self) -> f32 {
        let peak = f32::from_bits(self.peak.swap(0, Ordering::Relaxed));
        peak.max(self.score())
    }

    /// Threshold in force, 0 to 1.
    pub fn threshold(&self) -> f32 {
        f32::from_bits(self.threshold.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, score: f32, threshold: f32) {
        self.score.store(score.to_bits(), Ordering::Relaxed);
        // The bits of non-negative floats are ordered as the floats are.
        self.peak.fetch_max(score.max(0.0).to_bits(), Ordering::Relaxed);
        self.threshold.store(threshold.to_bits(), Ordering::Relaxed);
    }
}

/// The engine's meters. A program that runs [`Spotter`](crate::spotter::Spotter)s itself can fill its own.
#[derive(Debug)]
pub struct Meters {
    levels: Arc<Levels>,
    device: Option<Arc<DeviceMeter>>,
    turns: AtomicU64,
    position: AtomicU64,
    real_time_factor: AtomicU32,
    latency: AtomicU32,
    detections: AtomicU64,
    lost: AtomicU64,
    dropped_events: AtomicU64,
    lost_clips: AtomicU64,
    ready: OnceLock<Instant>,
    pub(super) stop: AtomicBool,
}

/// Meters that nobody moves, as before the first sound.
impl Default for Meters {
    fn default() -> Self {
        Self::new(Arc::default(), None)
    }
}

impl Meters {
    pub(super) fn new(levels: Arc<Levels>, device: Option<Arc<DeviceMeter>>) -> Self {
        Self {
            levels,
            device,
            turns: AtomicU64::new(0),
            position: AtomicU64::new(0),
            real_time_factor: AtomicU32::new(0),
            latency: AtomicU32::new(f32::NAN.to_bits()),
            detections: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            dropped_events: AtomicU64::new(0),
            lost_clips: AtomicU64::new(0),
            ready: OnceLock::new(),
            stop: AtomicBool::new(false),
        }
    }

    /// Input level; for a microphone as its callback sees it.
    pub fn levels(&self) -> &Levels {
        &self.levels
    }

    /// Whether the device is there; `None` for a source without one.
    pub fn device(&self) -> Option<&DeviceMeter> {
        self.device.as_deref()
    }

    /// Turns of the worker: a number that stands still for seconds is a worker that hangs. A device that is waited for, a
    /// pause and a wait for a slow reader are turns too.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    pub(super) fn turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Audio heard (or lost) so far, samples at 16 kHz.
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// The same in seconds.
    pub fn seconds(&self) -> f64 {
        seconds(self.position())
    }

    /// Time spent on a second of audio, seconds, averaged over the last seconds; below 1 keeps up.
    pub fn real_time_factor(&self) -> f32 {
        f32::from_bits(self.real_time_factor.load(Ordering::Relaxed))
    }

    /// From the end of the last detected word to its detection, seconds; `None` before the first.
    pub fn latency(&self) -> Option<f32> {
        let latency = f32::from_bits(self.latency.load(Ordering::Relaxed));
        (!latency.is_nan()).then_some(latency)
    }

    /// Detections so far, whether or not their events were read.
    pub fn detections(&self) -> u64 {
        self.detections.load(Ordering::Relaxed)
    }

    /// Input samples lost on the way to the worker, at the source's rate.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Events that the UI was too slow to take.
    pub fn dropped_events(&self) -> u64 {
        self.dropped_events.load(Ordering::Relaxed)
    }

    /// Clips that found no free buffer.
    pub fn lost_clips(&self) -> u64 {
        self.lost_clips.load(Ordering::Relaxed)
    }

    /// When the worker began to listen.
    pub fn ready(&self) -> Option<Instant> {
        self.ready.get().copied()
    }

    /// Whether the worker was asked to end.
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// It listens from now on.
    pub fn set_ready(&self) {
        let _ = self.ready.set(Instant::now());
    }

    pub(super) fn set_position(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// So many more samples at 16 kHz were heard.
    pub fn add_heard(&self, samples: u64) {
        self.position.fetch_add(samples, Ordering::Relaxed);
    }

    /// One more detection, so many seconds after its word.
    pub fn detected(&self, latency: f32) {
        self.latency.store(latency.to_bits(), Ordering::Relaxed);
        self.detections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_lost(&self, samples: u64) {
        self.lost.fetch_add(samples, Ordering::Relaxed);
    }

    pub(super) fn set_lost_clips(&self, lost: u64) {
        self.lost_clips.store(lost, Ordering::Relaxed);
    }

    pub(super) fn drop_event(&self) {
        self.dropped_events.fetch_add(1, Ordering::Relaxed);
    }

    /// So many seconds were spent on so many seconds of audio. Read and store need no lock: the worker is alone, and what
    /// several writers can lose is a term of an average.
    pub fn spent(&self, spent: f32, audio: f32) {
        if audio <= 0.0 {
            return;
        }
        let old = self.real_time_factor();
        let weight = (audio / 2.0).min(1.0);
        // From 0 on: the first piece, for which the backend plans its graph, is not what listening costs.
        let new = old + weight * (spent / audio - old);
        self.real_time_factor.store(new.to_bits(), Ordering::Relaxed);
    }
}

/// Samples at 16 kHz as seconds.
pub fn seconds(samples: u64) -> f64 {
    samples as f64 / f64::from(MODEL_RATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_kept_until_it_is_taken() {
        let meter = ScoreMeter::default();
        meter.set(0.9, 0.5);
        meter.set(0.2, 0.5);
        assert_eq!((meter.score(), meter.take_peak(), meter.take_peak()), (0.2, 0.9, 0.2));
    }

    #[test]
    fn the_real_time_factor_follows_the_load() {
        let meters = Meters::default();
        // A dear first piece of 0.1 s is a twentieth of what is looked at.
        meters.spent(0.2, 0.1);
        assert!((meters.real_time_factor() - 0.1).abs() < 1e-6);
        for _ in 0..200 {
            meters.spent(0.03, 0.1);
        }
        assert!((meters.real_time_factor() - 0.3).abs() < 1e-3);
    }
}
