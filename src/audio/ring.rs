//! From the real-time callback to the worker: a lock-free ring that loses samples visibly rather than wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringbuf::traits::{Consumer, Observer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

/// Samples that were lost because the ring was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Samples written to the ring before the gap, since the start.
    pub at: u64,
    /// Length, samples.
    pub lost: u64,
}

/// Gaps that can wait to be read.
const GAPS: usize = 64;

/// Input level, published by atomics.
#[derive(Debug)]
pub struct Levels {
    created: Instant,
    /// Nanoseconds from `created` to the first block, plus one; 0 before it.
    first: AtomicU64,
    peak: AtomicU32,
    mean_square: AtomicU32,
    clipped: AtomicU64,
    dropped: AtomicU64,
    overruns: AtomicU64,
}

impl Default for Levels {
    fn default() -> Self {
        Self {
            created: Instant::now(),
            first: AtomicU64::new(0),
            peak: AtomicU32::new(0),
            mean_square: AtomicU32::new(0),
            clipped: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            overruns: AtomicU64::new(0),
        }
    }
}

impl Levels {
    /// When the first block came.
    pub fn first_audio(&self) -> Option<Instant> {
        let after = self.first.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.created + Duration::from_nanos(after))
    }

    /// Largest absolute sample of the last block, 1 is full scale.
    pub fn peak(&self) -> f32 {
        f32::from_bits(self.peak.load(Ordering::Relaxed))
    }

    /// Root mean square of the last block.
    pub fn rms(&self) -> f32 {
        f32::from_bits(self.mean_square.load(Ordering::Relaxed)).sqrt()
    }

    /// Samples at full scale since the start.
    pub fn clipped(&self) -> u64 {
        self.clipped.load(Ordering::Relaxed)
    }

    /// Samples lost to a full ring since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Times that the sound system itself lost samples, before they came here; it does not say how many.
    pub fn overruns(&self) -> u64 {
        self.overruns.load(Ordering::Relaxed)
    }

    /// Counts one of those.
    pub fn count_overrun(&self) {
        self.overruns.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing is heard any more: the level is none, the counts stay.
    pub fn rest(&self) {
        self.peak.store(0, Ordering::Relaxed);
        self.mean_square.store(0, Ordering::Relaxed);
    }

    /// Takes the level of a block.
    pub fn measure(&self, mono: &[f32]) {
        if mono.is_empty() {
            return;
        }
        let (mut peak, mut sum, mut clipped) = (0.0_f32, 0.0_f32, 0_u64);
        for s in mono {
            peak = peak.max(s.abs());
            sum += s * s;
            clipped += u64::from(s.abs() >= 0.999);
        }
        if self.first.load(Ordering::Relaxed) == 0 {
            let after = self.created.elapsed().as_nanos() as u64;
            self.first.store(after + 1, Ordering::Relaxed);
        }
        self.peak.store(peak.to_bits(), Ordering::Relaxed);
        self.mean_square.store((sum / mono.len() as f32).to_bits(), Ordering::Relaxed);
        self.clipped.fetch_add(clipped, Ordering::Relaxed);
    }
}

/// What the reader must know of the end, should the stream die.
#[derive(Debug)]
struct Tail {
    created: Instant,
    /// Samples lost since the last that was written.
    pending: AtomicU64,
    /// Nanoseconds from `created` to the last block, plus one; 0 before it.
    last: AtomicU64,
}

/// The callback's end. No method allocates, locks, waits or logs.
pub struct CaptureWriter {
    samples: HeapProd<f32>,
    gaps: HeapProd<Gap>,
    written: u64,
    tail: Arc<Tail>,
    levels: Arc<Levels>,
}

/// The worker's end.
pub struct CaptureReader {
    samples: HeapCons<f32>,
    gaps: HeapCons<Gap>,
    read: u64,
    tail: Arc<Tail>,
    levels: Arc<Levels>,
}

/// A ring for `capacity` samples.
pub fn capture_ring(capacity: usize) -> (CaptureWriter, CaptureReader) {
    capture_ring_with(capacity, Arc::default())
}

/// A ring whose level goes on in meters that are there already, as when a device is opened again.
pub fn capture_ring_with(capacity: usize, levels: Arc<Levels>) -> (CaptureWriter, CaptureReader) {
    let (samples_in, samples_out) = HeapRb::new(capacity).split();
    let (gaps_in, gaps_out) = HeapRb::new(GAPS).split();
    let tail = Arc::new(Tail { created: Instant::now(), pending: AtomicU64::new(0), last: AtomicU64::new(0) });
    let writer =
        CaptureWriter { samples: samples_in, gaps: gaps_in, written: 0, tail: tail.clone(), levels: levels.clone() };
    (writer, CaptureReader { samples: samples_out, gaps: gaps_out, read: 0, tail, levels })
}

impl CaptureWriter {
    /// Offers a block of mono samples: taken whole or, if the ring has no room, dropped whole and counted.
    pub fn push(&mut self, mono: &[f32]) {
        self.levels.measure(mono);
        self.tail.last.store(self.tail.created.elapsed().as_nanos() as u64 + 1, Ordering::Relaxed);
        let lost = mono.len() as u64;
        // Nobody else changes it.
        let pending = self.tail.pending.load(Ordering::Relaxed);
        let announced = pending == 0
            || (self.samples.vacant_len() >= mono.len()
                && self.gaps.try_push(Gap { at: self.written, lost: pending }).is_ok());
        if !announced || self.samples.vacant_len() < mono.len() {
            self.tail.pending.store(pending + lost, Ordering::Release);
            self.levels.dropped.fetch_add(lost, Ordering::Relaxed);
            return;
        }
        if pending > 0 {
            self.tail.pending.store(0, Ordering::Release);
        }
        self.written += self.samples.push_slice(mono) as u64;
    }

    /// The level meters.
    pub fn levels(&self) -> Arc<Levels> {
        self.levels.clone()
    }
}

impl CaptureReader {
    /// The gap that lies right here, if any. Ask before every read.
    pub fn gap(&mut self) -> Option<u64> {
        let gap = *self.gaps.try_peek()?;
        (gap.at == self.read).then(|| {
            self.gaps.try_pop();
            gap.lost
        })
    }

    /// Samples that were lost behind all that was written. The next block that finds room tells them as a gap; if none comes any
    /// more, nobody does.
    pub fn pending(&self) -> u64 {
        self.tail.pending.load(Ordering::Acquire)
    }

    /// When the last block came, whether there was room for it or not.
    pub fn last_audio(&self) -> Option<Instant> {
        let after = self.tail.last.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.tail.created + Duration::from_nanos(after))
    }

    /// Samples that wait to be read.
    pub fn waiting(&self) -> usize {
        self.samples.occupied_len()
    }

    /// Reads up to the next gap or the end of what has come.
    pub fn read(&mut self, out: &mut [f32]) -> usize {
        // Available first, gap second: a gap announced in between lies behind what is counted here.
        let ready = self.samples.occupied_len().min(out.len());
        let ready = match self.gaps.try_peek() {
            Some(gap) => ready.min((gap.at - self.read) as usize),
            None => ready,
        };
        let count = self.samples.pop_slice(&mut out[..ready]);
        self.read += count as u64;
        count
    }

    /// The level meters.
    pub fn levels(&self) -> Arc<Levels> {
        self.levels.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every sample carries its own number: what is read, and what the gaps say, must add up exactly.
        #[test]
        fn nothing_is_lost_without_a_count(steps in prop::collection::vec((1_usize..40, 0_usize..60), 1..200)) {
            let (mut writer, mut reader) = capture_ring(64);
            let (mut offered, mut position) = (0_u64, 0_u64);
            let mut out = [0.0; 64];
            for (write, read) in steps {
                let block: Vec<f32> = (0..write).map(|i| (offered + i as u64) as f32).collect();
                writer.push(&block);
                offered += write as u64;
                let mut left = read;
                while left > 0 {
                    if let Some(lost) = reader.gap() {
                        position += lost;
                    }
                    let n = reader.read(&mut out[..left.min(64)]);
                    if n == 0 {
                        break;
                    }
                    for s in &out[..n] {
                        prop_assert_eq!(*s as u64, position);
                        position += 1;
                    }
                    left -= n;
                }
            }
            // The stream dies here: the rest adds up too.
            loop {
                position += match reader.gap() {
                    Some(lost) => lost,
                    None => match reader.read(&mut out) {
                        0 => break,
                        count => count as u64,
                    },
                };
            }
            prop_assert_eq!(position + reader.pending(), offered);
            prop_assert!(writer.levels().dropped() <= offered);
        }
    }

    #[test]
    fn the_end_is_known_without_the_writer() {
        let (mut writer, mut reader) = capture_ring(16);
        assert_eq!((reader.pending(), reader.last_audio()), (0, None));
        writer.push(&[0.5; 10]);
        let before = Instant::now();
        writer.push(&[0.5; 10]);
        let after = Instant::now();
        drop(writer);
        assert_eq!((reader.read(&mut [0.0; 16]), reader.gap(), reader.pending()), (10, None, 10));
        assert!(reader.last_audio().is_some_and(|last| before <= last && last <= after));
    }

    #[test]
    fn levels_tell_peak_and_clipping() {
        let (mut writer, reader) = capture_ring(16);
        writer.push(&[0.5, -1.0, 0.0, 0.5]);
        let levels = reader.levels();
        assert!(levels.first_audio().is_some_and(|t| t <= Instant::now()));
        assert_eq!((levels.peak(), levels.clipped()), (1.0, 1));
        assert!((levels.rms() - (1.5_f32 / 4.0).sqrt()).abs() < 1e-6);
    }
}
