//! Opens a device again and again, each time on a thread of its own, until it is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError, bounded};

use super::stream::Opened;
use crate::audio::{AudioError, DeviceMeter};

/// Attempts that may hang at the same time: a server that is stopped and not dead holds on to each of them.
const MOST: usize = 4;

/// Opens the device, the same one each time.
pub(super) type Open = Arc<dyn Fn() -> Result<Opened, AudioError> + Send + Sync>;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Time before the first attempt; doubled after each.
    pub first: Duration,
    /// And at most this.
    pub longest: Duration,
    /// After so long an attempt is left to itself.
    pub hang: Duration,
    /// A stream in which nothing came for so long is dead, whatever the sound system says.
    pub silence: Duration,
    /// The same for its beginning: a device may have to wake up.
    pub start: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(10),
            hang: Duration::from_secs(20),
            silence: Duration::from_secs(2),
            start: Duration::from_secs(5),
        }
    }
}

enum Turn {
    Rest(Instant),
    Try { since: Instant, answer: Receiver<Result<Opened, AudioError>> },
}

/// The attempts.
pub(super) struct Retry {
    open: Open,
    limits: Limits,
    meter: Arc<DeviceMeter>,
    delay: Duration,
    turn: Turn,
    /// Attempts that have not come back, those of earlier losses among them.
    running: Arc<AtomicUsize>,
}

/// A thread inside the sound system, from its start to its end, whichever way it ends.
struct Running {
    count: Arc<AtomicUsize>,
    meter: Arc<DeviceMeter>,
}

impl Running {
    fn begin(count: Arc<AtomicUsize>, meter: Arc<DeviceMeter>) -> Self {
        meter.begin();
        count.fetch_add(1, Ordering::AcqRel);
        Self { count, meter }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
        self.meter.end();
    }
}

impl Retry {
    /// The first attempt comes after the first delay.
    pub fn new(open: Open, limits: Limits, meter: Arc<DeviceMeter>, running: Arc<AtomicUsize>) -> Self {
        let turn = Turn::Rest(Instant::now() + limits.first);
        Self { open, limits, meter, delay: limits.first, turn, running }
    }

    /// Tries at once; how that went, if it is known after so long. Otherwise [`Retry::poll`] goes on waiting for it.
    pub fn first(&mut self, limit: Duration) -> Option<Result<Opened, AudioError>> {
        self.start();
        let Turn::Try { answer, .. } = &self.turn else { return Some(Err(no_answer("no thread can be started"))) };
        match answer.recv_timeout(limit) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(no_answer("the attempt stopped on a bug"))),
        }
    }

    /// The device, once it is open. Does not wait.
    pub fn poll(&mut self) -> Option<Opened> {
        match &self.turn {
            Turn::Rest(until) => {
                if Instant::now() >= *until {
                    self.start();
                }
            }
            Turn::Try { since, answer } => match answer.try_recv() {
                Ok(Ok(opened)) => return Some(opened),
                Ok(Err(error)) => {
                    log::debug!("not yet: {error}");
                    self.again();
                }
                Err(TryRecvError::Disconnected) => self.again(),
                Err(TryRecvError::Empty) if since.elapsed() > self.limits.hang => {
                    log::debug!("an attempt to open the microphone hangs and is left to itself");
                    self.again();
                }
                Err(TryRecvError::Empty) => {}
            },
        }
        None
    }

    /// It was no use: the next attempt comes after a longer delay.
    pub fn again(&mut self) {
        self.delay = (self.delay * 2).min(self.limits.longest);
        self.turn = Turn::Rest(Instant::now() + self.delay);
    }

    fn start(&mut self) {
        if self.running.load(Ordering::Acquire) >= MOST {
            log::debug!("{MOST} attempts to open the microphone hang: no more before one of them comes back");
            return self.again();
        }
        let (give, answer) = bounded(1);
        let open = self.open.clone();
        let running = Running::begin(self.running.clone(), self.meter.clone());
        let attempt = move || {
            let _running = running;
            // If nobody waits any more it is closed again, here.
            let _ = give.send(quietly(&*open));
        };
        self.turn = Turn::Try { since: Instant::now(), answer };
        if let Err(error) = std::thread::Builder::new().name("kws-mic-open".into()).spawn(attempt) {
            log::debug!("no thread to open the microphone: {error}");
            self.again();
        }
    }
}

fn no_answer(why: &str) -> AudioError {
    AudioError::Device(format!("cannot open the microphone: {why}; try again, or use --input FILE"))
}

/// Without what ALSA prints about each attempt: the reason is in the error.
fn quietly(open: &dyn Fn() -> Result<Opened, AudioError>) -> Result<Opened, AudioError> {
    #[cfg(target_os = "linux")]
    let _said = alsa::Output::local_error_handler();
    open()
}
