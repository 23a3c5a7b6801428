//! Signals: the first one to end lets the last words out, SIGHUP reads the keywords again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use crossbeam_channel::Sender;
use kws_live::engine::StopHandle;

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

    /// Asks it; says whether that had been done before.
    pub fn ask(&self) -> bool {
        self.0.swap(true, Ordering::AcqRel)
    }

    /// The first time it stops the listening; the second time it ends the program at once.
    fn end(&self, listening: &Stop) {
        if self.ask() {
            std::process::exit(130);
        }
        listening.stop();
    }
}

/// Waits for signals from now on. Without `reload` SIGHUP ends the program, as it does when a terminal is closed.
#[cfg(unix)]
pub fn listen(asked: Asked, listening: Stop, reload: Option<Sender<()>>) -> anyhow::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    const WHY: &str = "cannot wait for signals";
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).context(WHY)?;
    let wait = move || {
        for signal in signals.forever() {
            match &reload {
                // One that waits already does for this one too.
                Some(reload) if signal == SIGHUP => drop(reload.try_send(())),
                _ => asked.end(&listening),
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
    ctrlc::set_handler(move || asked.end(&listening)).context("cannot wait for Ctrl-C")
}
