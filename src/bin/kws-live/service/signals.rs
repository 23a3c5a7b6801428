//! Signals: the first one to end lets the last words out, SIGHUP reads the keywords again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use crossbeam_channel::Sender;
use kws_live::engine::StopHandle;

use crate::output::{Unhurried, note};

/// Signals that come so soon after the first are the same wish: `timeout` and a service manager signal a program and its group.
const ONE_WISH: Duration = Duration::from_secs(1);
/// How long a program that was asked to end may go on to load before it does.
const LOADING: Duration = Duration::from_secs(14);

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

/// What signals do, from before anything is loaded.
pub struct Signals {
    asked: Asked,
    listening: Listening,
}

/// What the first signal to end stops: nothing yet while the program loads.
type Listening = Arc<Mutex<Option<Stop>>>;

impl Signals {
    /// Takes signals from now on. Without `reload` SIGHUP ends the program, as it does when a terminal is closed.
    pub fn take(reload: Option<Sender<()>>) -> anyhow::Result<Self> {
        let (asked, listening) = (Asked::default(), Listening::default());
        wait(End { asked: asked.clone(), listening: listening.clone(), first: None }, reload)?;
        Ok(Self { asked, listening })
    }

    /// Whether one has asked the program to end.
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// This is what they stop: at once if one has come while the program loaded.
    pub fn stop(&self, stop: Stop) {
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        if self.asked.to_end() {
            stop.stop();
        }
        *listening = Some(stop);
    }
}

/// What becomes of signals to end.
struct End {
    asked: Asked,
    listening: Listening,
    /// When the first one came.
    first: Option<Instant>,
}

impl End {
    /// The first one stops the listening, a later one ends the program at once. A hangup does that never: a terminal that is
    /// closed sends more than one.
    fn take(&mut self, hangup: bool) {
        let Some(first) = self.first else {
            self.first = Some(Instant::now());
            let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
            self.asked.ask();
            if let Some(listening) = &*listening {
                listening.stop();
            } else {
                drop(listening);
                self.give_up_later();
            }
            return;
        };
        if !hangup && first.elapsed() >= ONE_WISH {
            end_now();
        }
    }

    /// What is still loaded then hangs: with a pipe that nobody writes, for example.
    fn give_up_later(&self) {
        let listening = self.listening.clone();
        let watch = move || {
            let loads = || listening.lock().unwrap_or_else(PoisonError::into_inner).is_none();
            thread::sleep(ONE_WISH);
            if loads() {
                note("kws-live: ends once it has loaded; the same again ends it at once");
                thread::sleep(LOADING);
            }
            if loads() {
                end_now();
            }
        };
        if thread::Builder::new().name("kws-end".into()).spawn(watch).is_err() {
            end_now();
        }
    }
}

fn end_now() -> ! {
    Unhurried::flush();
    std::process::exit(130)
}

#[cfg(unix)]
fn wait(mut end: End, reload: Option<Sender<()>>) -> anyhow::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    const WHY: &str = "cannot wait for signals";
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).context(WHY)?;
    let wait = move || {
        for signal in signals.forever() {
            match &reload {
                // One that waits already does for this one too.
                Some(reload) if signal == SIGHUP => drop(reload.try_send(())),
                _ => end.take(signal == SIGHUP),
            }
        }
    };
    thread::Builder::new().name("kws-signals".into()).spawn(wait).context(WHY)?;
    Ok(())
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
fn wait(mut end: End, reload: Option<Sender<()>>) -> anyhow::Result<()> {
    drop(reload);
    ctrlc::set_handler(move || end.take(false)).context("cannot wait for Ctrl-C")
}
