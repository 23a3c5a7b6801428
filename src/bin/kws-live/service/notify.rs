//! Tells systemd how it goes, where it was systemd that started the program (`Type=notify`): that it is ready, alive, reading
//! its keywords again, or at its end. Elsewhere all this does nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use sd_notify::NotifyState;

use super::watched::Watched;

/// Longest time between two looks at the program.
const LOOK: Duration = Duration::from_millis(200);
/// A status line is sent at most so often.
const STATUS: Duration = Duration::from_secs(1);
/// A start that takes long is extended so often, and by so much: a microphone may be waited for.
const EXTEND: (Duration, u32) = (Duration::from_secs(5), 30_000_000);

/// Tells systemd; clones tell the same one.
#[derive(Debug, Clone, Default)]
pub struct Notifier(Arc<State>);

#[derive(Debug, Default)]
struct State {
    ready: AtomicBool,
    stopping: AtomicBool,
    status: Mutex<String>,
}

impl Notifier {
    /// Starts to watch, if anybody wants to know.
    pub fn start(watched: Watched, status: &str) -> anyhow::Result<Self> {
        let notifier = Self::default();
        notifier.say(status);
        if std::env::var_os("NOTIFY_SOCKET").is_some() {
            let (own, watchdog) = (notifier.clone(), sd_notify::watchdog_enabled());
            let watch = move || own.watch(watched, watchdog);
            thread::Builder::new().name("kws-notify".into()).spawn(watch).context("cannot start a thread")?;
        }
        Ok(notifier)
    }

    /// What goes on, for `systemctl status`.
    pub fn say(&self, status: &str) {
        status.clone_into(&mut self.0.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The keywords are being read again. Says nothing before it was ready, as what follows is that it is ready again.
    pub fn reloading(&self) {
        if self.0.ready.load(Ordering::Acquire)
            && let Ok(now) = NotifyState::monotonic_usec_now()
        {
            tell(&[NotifyState::Reloading, now]);
        }
    }

    /// They have been read, whatever came of it.
    pub fn reloaded(&self) {
        if self.0.ready.load(Ordering::Acquire) {
            tell(&[NotifyState::Ready]);
        }
    }

    /// The end has begun: what is left is to let everything out.
    pub fn stopping(&self) {
        if !self.0.stopping.swap(true, Ordering::AcqRel) {
            tell(&[NotifyState::Stopping, NotifyState::Status("letting the last words out")]);
        }
    }

    fn watch(&self, mut watched: Watched, watchdog: Option<Duration>) {
        let half = watchdog.map(|limit| limit / 2);
        let look = half.map_or(LOOK, |half| LOOK.min(half / 4)).max(Duration::from_millis(1));
        let (mut beat, mut extended, mut told) = (Instant::now(), Instant::now(), None::<(Instant, String)>);
        // Since the last sign of life.
        let mut alive = false;
        loop {
            thread::sleep(look);
            alive |= (watched.alive)();
            if self.0.stopping.load(Ordering::Acquire) {
                // Receivers may take their time, which is limited elsewhere.
                alive = true;
            } else {
                self.begin(&watched, alive, &mut extended);
                let text = format!("{}; {} detections", self.status(), watched.meters.detections());
                if told.as_ref().is_none_or(|(at, last)| at.elapsed() >= STATUS && *last != text) {
                    tell(&[NotifyState::Status(&text)]);
                    told = Some((Instant::now(), text));
                }
            }
            if alive && half.is_some_and(|half| beat.elapsed() >= half) {
                tell(&[NotifyState::Watchdog]);
                (beat, alive) = (Instant::now(), false);
            }
        }
    }

    /// Says once that it is ready; before that, that it needs more time, as long as it gets on.
    fn begin(&self, watched: &Watched, alive: bool, extended: &mut Instant) {
        if self.0.ready.load(Ordering::Acquire) {
            return;
        }
        if (watched.ready)() {
            tell(&[NotifyState::Ready]);
            self.0.ready.store(true, Ordering::Release);
        } else if alive && extended.elapsed() >= EXTEND.0 {
            tell(&[NotifyState::ExtendTimeoutUsec(EXTEND.1)]);
            *extended = Instant::now();
        }
    }

    fn status(&self) -> String {
        self.0.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("systemd cannot be told: {error}");
    }
}
