//! What is known of a device that can go away: why it is gone, and how often that was so.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Why a device gives no sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Its name.
    pub device: String,
    /// What the system said, or what was noticed, in one line.
    pub reason: String,
}

/// Whether a device is there, published by atomics.
#[derive(Debug, Default)]
pub struct DeviceMeter {
    up: AtomicBool,
    losses: AtomicU64,
    unclosed: AtomicU64,
}

impl DeviceMeter {
    /// Whether it is open. Sound may still be on its way.
    pub fn up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Times that it was lost since the start.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// Streams and attempts that the sound system has not let go of yet: their threads are left behind rather than waited
    /// for. One or two just after a loss are usual; a number that grows is a sound system that hangs.
    pub fn unclosed(&self) -> u64 {
        self.unclosed.load(Ordering::Relaxed)
    }

    /// It is open.
    pub fn set_up(&self) {
        self.up.store(true, Ordering::Relaxed);
    }

    /// It is gone.
    pub fn lose(&self) {
        self.up.store(false, Ordering::Relaxed);
        self.losses.fetch_add(1, Ordering::Relaxed);
    }

    /// One more thread is inside the sound system and cannot be waited for.
    #[cfg(feature = "capture")]
    pub(super) fn begin(&self) {
        self.unclosed.fetch_add(1, Ordering::Relaxed);
    }

    /// And has come out.
    #[cfg(feature = "capture")]
    pub(super) fn end(&self) {
        self.unclosed.fetch_sub(1, Ordering::Relaxed);
    }
}
