//! Work spread over threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

/// Hands the numbers below `count` to `threads` workers, each on a thread of its own.
///
/// Returns what came of the numbers, in their order, and the workers.
///
/// # Errors
/// The first failure of a worker.
pub fn over<W: Send, T: Send>(
    count: usize,
    threads: usize,
    start: impl Fn() -> Result<W> + Sync,
    work: impl Fn(&mut W, usize) -> Result<T> + Sync,
) -> Result<(Vec<T>, Vec<W>)> {
    let next = AtomicUsize::new(0);
    let run = || -> Result<(Vec<(usize, T)>, W)> {
        let (mut worker, mut done) = (start()?, Vec::new());
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= count {
                return Ok((done, worker));
            }
            // After a failure nobody begins anything more.
            done.push((i, work(&mut worker, i).inspect_err(|_| next.store(count, Ordering::Relaxed))?));
        }
    };
    let finished = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(run)).collect();
        handles
            .into_iter()
            .map(|h| h.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
            .collect::<Result<Vec<_>>>()
    })?;
    let (done, workers): (Vec<_>, Vec<_>) = finished.into_iter().unzip();
    let mut results: Vec<(usize, T)> = done.into_iter().flatten().collect();
    results.sort_by_key(|(i, _)| *i);
    Ok((results.into_iter().map(|(_, result)| result).collect(), workers))
}
