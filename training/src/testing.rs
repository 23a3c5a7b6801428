//! What tests of several modules need.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Random weights and tensors come from libtorch's one generator: tests side by side would share its numbers out between them.
static DRAWING: Mutex<()> = Mutex::new(());

/// Seeds the generator, and keeps other tests from drawing while it lives.
pub fn seeded(seed: i64) -> MutexGuard<'static, ()> {
    let alone = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    alone
}
