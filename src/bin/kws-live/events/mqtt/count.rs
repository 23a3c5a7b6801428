//! What became of the events that go by MQTT.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Written by the sink, read by `--stats`, /metrics and /health.
#[derive(Debug, Default)]
pub struct MqttCount {
    connected: AtomicBool,
    connections: AtomicU64,
    delivered: AtomicU64,
    repeated: AtomicU64,
    dropped: AtomicU64,
    waiting: AtomicU64,
}

impl MqttCount {
    /// Whether the broker is there.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "only the HTTP end tells it"))]
    pub fn connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Times that it has been reached.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Events that it has acknowledged.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Events that were sent again, marked as duplicates.
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Events that will never arrive: no room was left, the broker refused them, or the program ended before.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Events that wait for the broker or for its acknowledgement.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// For `--stats`.
    pub fn line(&self) -> String {
        format!(
            "{} connections {} delivered {} repeated {} lost {} waiting",
            self.connections(),
            self.delivered(),
            self.repeated(),
            self.dropped(),
            self.waiting()
        )
    }

    pub(super) fn up(&self) {
        self.connected.store(true, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn down(&self) {
        self.connected.store(false, Ordering::Relaxed);
    }

    pub(super) fn deliver(&self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn repeat(&self) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn lose(&self, events: u64) {
        self.dropped.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn wait(&self, events: usize) {
        self.waiting.store(events as u64, Ordering::Relaxed);
    }
}
