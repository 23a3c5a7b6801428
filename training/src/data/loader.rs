//! Batches made ahead by threads.

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, bounded};

/// Makes the batch of any step; the same source makes the same batch for the same step.
pub trait BatchSource: Send + 'static {
    /// One step's data.
    type Batch: Send;

    /// The batch of `step`.
    ///
    /// # Errors
    /// If it cannot be made.
    fn batch(&mut self, step: u64) -> Result<Self::Batch>;
}

/// Batches in step order.
pub struct Loader<B> {
    queues: Vec<Receiver<Result<B>>>,
    first: u64,
    next: u64,
}

impl<B: Send + 'static> Loader<B> {
    /// Starts one thread a source, from step `first` on, up to step `last`.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start<S: BatchSource<Batch = B>>(sources: Vec<S>, first: u64, last: u64) -> Result<Self> {
        let count = sources.len() as u64;
        let mut queues = Vec::new();
        for (i, mut source) in sources.into_iter().enumerate() {
            let (send, receive) = bounded(3);
            std::thread::Builder::new().name(format!("loader-{i}")).spawn(move || {
                let mut step = first + i as u64;
                // The trainer going away ends the thread.
                while step < last && send.send(source.batch(step)).is_ok() {
                    step += count;
                }
            })?;
            queues.push(receive);
        }
        Ok(Self { queues, first, next: first })
    }

    /// The next step's batch.
    ///
    /// # Errors
    /// What the source said, or that its thread ended.
    pub fn take(&mut self) -> Result<B> {
        let queue = (self.next - self.first) as usize % self.queues.len();
        self.next += 1;
        self.queues[queue].recv().context("a loader thread ended early")?
    }
}
