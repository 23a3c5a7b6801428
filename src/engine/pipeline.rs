//! Source -> resampler -> spotter, one piece at a time, on the caller's thread.

use std::time::Duration;

use super::EngineError;
use crate::audio::{AudioError, AudioSource, Chunk, MODEL_RATE, Resampler};
use crate::spotter::{Detection, Spotter};

/// The synchronous path that both the [`super::Engine`]'s worker and a file scan run. Results do not depend on how the
/// source cuts its samples.
pub struct Pipeline {
    source: Box<dyn AudioSource>,
    resampler: Resampler,
    spotter: Spotter,
    /// What the last read brought, at the source's rate.
    block: Vec<f32>,
    /// The same at 16 kHz.
    mono: Vec<f32>,
    /// The rate that the resampler is made for.
    rate: u32,
    /// Position at which the stream had that rate first, at 16 kHz.
    base: u64,
    /// Samples read or lost since then, at the source's rate.
    taken: u64,
    /// Whether anything was processed since the last flush.
    dirty: bool,
}

/// A tenth of a second: commands wait no longer than that between two reads.
fn block_for(rate: u32) -> Vec<f32> {
    vec![0.0; (rate as usize / 10).max(1)]
}

/// Samples that a time holds.
pub(super) fn samples_in(time: Duration, rate: u32) -> u64 {
    (time.as_secs_f64() * f64::from(rate)).round() as u64
}

impl Pipeline {
    /// Joins a source and a spotter.
    ///
    /// # Errors
    /// [`AudioError::Rate`] if the source's rate cannot be resampled; the spotter comes back with it.
    pub fn new(source: Box<dyn AudioSource>, spotter: Spotter) -> Result<Self, (AudioError, Box<Spotter>)> {
        let rate = source.rate();
        let resampler = match Resampler::new(rate) {
            Ok(resampler) => resampler,
            Err(error) => return Err((error, Box::new(spotter))),
        };
        let (block, base) = (block_for(rate), spotter.position());
        Ok(Self { source, resampler, spotter, block, mono: Vec::new(), rate, base, taken: 0, dirty: false })
    }

    /// Reads the next piece; waits at most as long as [`AudioSource::read`].
    ///
    /// # Errors
    /// As the source.
    pub fn read(&mut self) -> Result<Chunk, AudioError> {
        self.source.read(&mut self.block)
    }

    /// The samples that [`Pipeline::read`] brought, at the source's rate.
    pub fn block(&self, chunk: Chunk) -> &[f32] {
        match chunk {
            Chunk::Samples(count) => &self.block[..count],
            _ => &[],
        }
    }

    /// What the last call of [`Pipeline::process`], [`Pipeline::lose`] or [`Pipeline::flush`] let the spotter hear, at
    /// 16 kHz: the stream up to where it stands or, after a loss, up to the gap.
    pub fn heard(&self) -> &[f32] {
        &self.mono
    }

    /// Spots in what was just read. A gap and the end close what is open before they move the clock.
    ///
    /// # Errors
    /// If the backend fails.
    pub fn process(&mut self, chunk: Chunk, on_hit: impl FnMut(&Detection)) -> Result<(), EngineError> {
        self.mono.clear();
        match chunk {
            Chunk::Samples(count) => {
                self.taken += count as u64;
                self.dirty = true;
                self.resampler.push(&self.block[..count], &mut self.mono);
                Ok(self.spotter.process(&self.mono, on_hit)?)
            }
            Chunk::Lost(count) => self.lose(count, on_hit),
            Chunk::Idle => Ok(()),
            Chunk::Back(away) => self.resume(away, on_hit),
            // What was said before the device went must not wait until it is back.
            Chunk::Away | Chunk::End => self.flush(on_hit),
        }
    }

    /// Treats samples as lost: the clock goes on, nothing is spotted in them.
    ///
    /// # Errors
    /// If the backend fails.
    pub fn lose(&mut self, count: u64, on_hit: impl FnMut(&Detection)) -> Result<(), EngineError> {
        self.flush(on_hit)?;
        self.taken += count;
        // From the total, so that rounding never adds up.
        let due = self.base + (self.taken * u64::from(MODEL_RATE)).div_ceil(u64::from(self.rate));
        self.spotter.skip(due.saturating_sub(self.spotter.position()));
        Ok(())
    }

    /// The device is back, maybe with another rate: the clock goes on by the time that has passed.
    fn resume(&mut self, away: Duration, mut on_hit: impl FnMut(&Detection)) -> Result<(), EngineError> {
        let rate = self.source.rate();
        if rate != self.rate {
            self.flush(&mut on_hit)?;
            (self.base, self.taken, self.rate) = (self.spotter.position(), 0, rate);
            self.resampler = Resampler::new(rate)?;
            self.block = block_for(rate);
        }
        self.lose(samples_in(away, rate), on_hit)
    }

    /// Lets the last words out.
    ///
    /// # Errors
    /// If the backend fails.
    pub fn flush(&mut self, mut on_hit: impl FnMut(&Detection)) -> Result<(), EngineError> {
        self.mono.clear();
        if !std::mem::take(&mut self.dirty) {
            return Ok(());
        }
        self.resampler.flush(&mut self.mono);
        self.spotter.process(&self.mono, &mut on_hit)?;
        Ok(self.spotter.flush(on_hit)?)
    }

    /// Runs to the end of the source. If it fails, what was said before comes out first.
    ///
    /// # Errors
    /// If the source or the backend fails.
    pub fn run(&mut self, mut on_hit: impl FnMut(&Detection)) -> Result<(), EngineError> {
        loop {
            let chunk = match self.read() {
                Ok(chunk) => chunk,
                Err(error) => {
                    self.flush(on_hit)?;
                    return Err(error.into());
                }
            };
            self.process(chunk, &mut on_hit)?;
            if chunk == Chunk::End {
                return Ok(());
            }
        }
    }

    /// The source.
    pub fn source(&self) -> &dyn AudioSource {
        &*self.source
    }

    /// The spotter, to read its state.
    pub fn spotter(&self) -> &Spotter {
        &self.spotter
    }

    /// The spotter, to change its keywords between two pieces.
    pub fn spotter_mut(&mut self) -> &mut Spotter {
        &mut self.spotter
    }

    /// Gives the spotter back, for the next source. It is reset.
    pub fn into_spotter(mut self) -> Spotter {
        self.spotter.reset();
        self.spotter
    }

    /// Delay of the resampler, seconds.
    pub fn resampler_latency(&self) -> f32 {
        self.resampler.latency() as f32 / self.rate as f32
    }
}
