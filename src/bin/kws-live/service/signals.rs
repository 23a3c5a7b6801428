//! Signals: the first one to end lets the last words out, SIGHUP reads the keywords again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use crossbeam_channel::Sender;
use kws_live::engine::StopHandle;

/// Signals that come so soon after the first are the same wish: `timeout` and a service manager signal a program and its group.
const ONE_WISH: Duration = Duration::from_secs(1);

/// What ends the listening, from anywhere; does not wait.
#[derive(Clone)]
pub struct Stop(Arc<dyn Fn() + Send + Sync>);

impl Stop {
    /// By calling this, as often as it is asked.
    pub fn new(how: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(how))
    }

    /// Asks for the end.
    pub fn stop(&self) {
        (self.0)();
    }
}

impl From<StopHandle> for Stop {
    fn from(engine: StopHandle) -> Self {
        Self::new(move || engine.stop())
    }
}

/// Whether a signal has asked the program to end.
#[derive(Debug, Clone, Default)]
pub struct Asked(Arc<AtomicBool>);

impl Asked {
    /// Whether one has.
    pub fn to_end(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Asks it.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What becomes of signals to end.
struct End {
    asked: Asked,
    listening: Stop,
    /// When the first one came.
    first: Option<Instant>,
}

impl End {
    /// The first one stops the listening, a later one ends the program at once. A hangup does that never: a terminal that is
    /// closed sends more than one.
    fn take(&mut self, hangup: bool) {
        let Some(first) = self.first else {
            self.first = Some(Instant::now());
            self.asked.ask();
            self.listening.stop();
            return;
        };
        if !hangup && first.elapsed() >= ONE_WISH {
            std::process::exit(130);
        }
    }
}

/// Waits for signals from now on. Without `reload` SIGHUP ends the program, as it does when a terminal is closed.
#[cfg(unix)]
pub fn listen(asked: Asked, listening: Stop, reload: Option<Sender<()>>) -> anyhow::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    const WHY: &str = "cannot wait for signals";
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).context(WHY)?;
    let mut end = End { asked, listening, first: None };
    let wait = move || {
        for signal in signals.forever() {
            match &reload {
                // One that waits already does for this one too.
                Some(reload) if signal == SIGHUP => drop(reload.try_send(())),
                _ => end.take(signal == SIGHUP),
            }
        }
    };
    std::thread::Builder::new().name("kws-signals".into()).spawn(wait).context(WHY)?;
    Ok(())
}

/// Waits for Ctrl-C from now on.
#[cfg(not(unix))]
pub fn listen(asked: Asked, listening: Stop, reload: Option<Sender<()>>) -> anyhow::Result<()> {
    drop(reload);
    let mut end = End { asked, listening, first: None };
    ctrlc::set_handler(move || end.take(false)).context("cannot wait for Ctrl-C")
}
