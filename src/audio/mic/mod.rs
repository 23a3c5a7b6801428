//! The microphone, through cpal: any rate, channel count and sample format. If it goes away it is opened again, it and no other.
//!
//! ```text
//!            error callback, or 2 s without a callback          opened again, after 0.5, 1, 2 ... 10 s
//!   runs ─────────────────────────────────────────────▶ away ──────────────────────────────────────────▶ fresh
//!     ▲   the stream is closed on a thread of its own     ▲      each attempt on a thread of its own       │
//!     │                                                   └──────────────── no sound in 5 s ───────────────┤
//!     └─────────────── the first sound: Chunk::Back, with the time that is missing ────────────────────────┘
//! ```

mod device;
mod retry;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use device::{DeviceInfo, list_devices};

use self::device::Chosen;
use self::retry::{Limits, Open, Retry};
use self::stream::Opened;
use super::{AudioError, AudioSource, Chunk, DeviceMeter, Levels, Loss, MODEL_RATE, Unread};

/// Time between two looks at the ring.
const LOOK: Duration = Duration::from_millis(5);
/// If nobody has looked at the ring for so long, its emptiness says nothing about the device.
const UNSEEN: Duration = Duration::from_millis(500);

/// How long the first attempt may take where there is no stream without it.
const ANSWER: Duration = Duration::from_secs(10);
/// And where the stream can begin without sound.
const MOMENT: Duration = Duration::from_secs(2);
/// Why there is no microphone if nothing says it.
const HANGS: &str = "the sound system does not answer";
/// What to do about it.
const RESTART: &str = "restart the sound server (PulseAudio or PipeWire), or use --input FILE";

/// A microphone that runs, or is waited for.
///
/// It survives what happens to microphones: it may be unplugged, its sound server may be restarted, and it may come back with
/// another rate or format. [`AudioSource::read`] then says [`Chunk::Away`], [`Chunk::Idle`] meanwhile, and [`Chunk::Back`] with
/// the time that has passed without sound. It never turns to another device.
pub struct MicSource {
    name: String,
    describe: String,
    rate: u32,
    levels: Arc<Levels>,
    meter: Arc<DeviceMeter>,
    open: Open,
    limits: Limits,
    /// The stream: there if it runs, and if it was just opened again.
    current: Option<Opened>,
    /// The attempts to open it again, until it has given sound.
    retry: Option<Retry>,
    loss: Option<Loss>,
    /// Whether the loss is still to be told.
    untold: bool,
    /// Why the stream is dead, while there is still something of it to be read.
    dying: Option<String>,
    /// Attempts to open it that have not come back.
    running: Arc<AtomicUsize>,
    /// When sound came last, or the start.
    heard: Instant,
    /// Whether any has come from this stream.
    begun: bool,
    silence: Silence,
}

/// How long nothing has come while somebody was looking.
#[derive(Default)]
struct Silence {
    since: Option<Instant>,
    looked: Option<Instant>,
}

impl Silence {
    fn lasts(&mut self) -> Duration {
        let now = Instant::now();
        if self.looked.is_none_or(|looked| now.duration_since(looked) > UNSEEN) {
            self.since = Some(now);
        }
        self.looked = Some(now);
        now.duration_since(*self.since.get_or_insert(now))
    }

    fn broken(&mut self) {
        *self = Self::default();
    }
}

impl MicSource {
    /// Opens and starts a microphone, the default one if none is named.
    ///
    /// # Errors
    /// [`AudioError::Device`] says what is wrong and what to do; also if the sound system does not answer within 10 s.
    pub fn open(wanted: Option<&str>) -> Result<Self, AudioError> {
        let (source, outcome) = Self::start(wanted, ANSWER);
        outcome.map(|()| source)
    }

    /// As [`MicSource::open`], but a microphone that cannot be opened, or not within 2 s, is waited for: the stream begins
    /// without sound, as after a loss.
    pub fn wait_for(wanted: Option<&str>) -> Self {
        Self::start(wanted, MOMENT).0
    }

    fn start(wanted: Option<&str>, wait: Duration) -> (Self, Result<(), AudioError>) {
        let (levels, meter) = (Arc::<Levels>::default(), Arc::<DeviceMeter>::default());
        let (known, shared, own) = (Mutex::new(None::<Chosen>), levels.clone(), meter.clone());
        let asked = wanted.map(str::to_owned);
        let open: Open = Arc::new(move || {
            let chosen = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let (chosen, device) = match chosen {
                Some(chosen) => (chosen.clone(), chosen.again()?),
                None => Chosen::first(asked.as_deref())?,
            };
            let opened = stream::open(&device, asked.is_some(), &shared, &own)?;
            // From now on it is this one; what could not be opened is not chosen yet.
            *known.lock().unwrap_or_else(PoisonError::into_inner) = Some(chosen);
            Ok(opened)
        });
        Self::with(open, wanted.unwrap_or("default"), levels, meter, Limits::default(), wait)
    }

    /// A source of whatever `open` opens within `wait`, and why there is nothing yet.
    fn with(
        open: Open,
        name: &str,
        levels: Arc<Levels>,
        meter: Arc<DeviceMeter>,
        limits: Limits,
        wait: Duration,
    ) -> (Self, Result<(), AudioError>) {
        let mut source = Self {
            name: name.into(),
            describe: format!("{name} (not there yet)"),
            rate: MODEL_RATE,
            levels,
            meter,
            open,
            limits,
            current: None,
            retry: None,
            loss: None,
            untold: false,
            dying: None,
            running: Arc::default(),
            heard: Instant::now(),
            begun: false,
            silence: Silence::default(),
        };
        let mut first = source.attempts();
        let error = match first.first(wait) {
            Some(Ok(opened)) => {
                source.take(opened);
                return (source, Ok(()));
            }
            Some(Err(error)) => {
                source.away(error.to_string());
                error
            }
            // It may still answer.
            None => {
                source.lost(first, HANGS.into());
                AudioError::Device(format!("cannot open the microphone `{name}`: {HANGS}; {RESTART}"))
            }
        };
        (source, Err(error))
    }

    /// This stream is the one that runs now.
    fn take(&mut self, opened: Opened) {
        self.name.clone_from(&opened.name);
        (self.describe, self.rate) = (opened.describe(), opened.rate);
        self.current = Some(opened);
        (self.retry, self.loss, self.untold, self.dying) = (None, None, false, None);
        self.silence.broken();
        self.meter.set_up();
    }

    /// Nothing runs from now on; the attempts begin.
    fn away(&mut self, reason: String) {
        let attempts = self.attempts();
        self.lost(attempts, reason);
    }

    fn attempts(&self) -> Retry {
        Retry::new(self.open.clone(), self.limits, self.meter.clone(), self.running.clone())
    }

    fn lost(&mut self, attempts: Retry, reason: String) {
        self.retry = Some(attempts);
        self.loss = Some(Loss { device: self.name.clone(), reason });
        self.untold = true;
    }

    /// Why the stream is of no use any more, if that is so.
    fn dead(&mut self) -> Option<String> {
        let opened = self.current.as_ref()?;
        if let Ok(reason) = opened.failed.try_recv() {
            return Some(reason);
        }
        let limit = if self.begun { self.limits.silence } else { self.limits.start };
        (self.silence.lasts() > limit).then(|| format!("no sound came for {} s", limit.as_secs_f32()))
    }

    /// One look at a stream that runs.
    fn listen(&mut self, out: &mut [f32]) -> Option<Chunk> {
        let opened = self.current.as_mut()?;
        let chunk = match opened.reader.gap() {
            Some(lost) => Some(Chunk::Lost(lost)),
            None => Some(opened.reader.read(out)).filter(|count| *count > 0).map(Chunk::Samples),
        };
        if chunk.is_some() {
            self.begun = true;
            self.silence.broken();
            return chunk;
        }
        let Some(reason) = self.dying.take() else {
            // Once more, as something may have come before it died.
            self.dying = self.dead();
            return if self.dying.is_some() { self.listen(out) } else { None };
        };
        // All that came is read; what was dropped behind it nobody else tells.
        let opened = self.current.take()?;
        let pending = opened.reader.pending();
        if let Some(last) = opened.reader.last_audio() {
            self.heard = last;
        }
        opened.abandon();
        self.levels.rest();
        self.meter.lose();
        self.away(reason);
        (pending > 0).then_some(Chunk::Lost(pending))
    }

    /// One look at a device that is waited for.
    fn wait(&mut self) -> Option<Chunk> {
        let retry = self.retry.as_mut()?;
        let Some(opened) = &self.current else {
            self.current = retry.poll();
            self.begun = false;
            self.silence.broken();
            return None;
        };
        let waiting = opened.reader.waiting();
        if waiting > 0 {
            let ready = Duration::from_secs_f64(waiting as f64 / f64::from(opened.rate));
            let missing = self.heard.elapsed().saturating_sub(ready);
            let opened = self.current.take()?;
            self.take(opened);
            return Some(Chunk::Back(missing));
        }
        if let Some(reason) = self.dead() {
            log::debug!("the microphone is open but gives nothing: {reason}");
            if let Some(opened) = self.current.take() {
                opened.abandon();
            }
            if let Some(retry) = &mut self.retry {
                retry.again();
            }
        }
        None
    }
}

impl AudioSource for MicSource {
    fn rate(&self) -> u32 {
        self.rate
    }

    fn read(&mut self, out: &mut [f32]) -> Result<Chunk, AudioError> {
        // About 50 ms in all.
        for _ in 0..10 {
            if std::mem::take(&mut self.untold) {
                return Ok(Chunk::Away);
            }
            let chunk = if self.retry.is_some() { self.wait() } else { self.listen(out) };
            if let Some(chunk) = chunk {
                return Ok(chunk);
            }
            if !self.untold {
                std::thread::sleep(LOOK);
            }
        }
        Ok(Chunk::Idle)
    }

    fn describe(&self) -> String {
        self.describe.clone()
    }

    fn live(&self) -> bool {
        true
    }

    fn levels(&self) -> Option<Arc<Levels>> {
        Some(self.levels.clone())
    }

    fn device(&self) -> Option<Arc<DeviceMeter>> {
        Some(self.meter.clone())
    }

    fn unread(&self) -> Unread {
        let running = self.current.as_ref().filter(|_| self.retry.is_none());
        running.map_or_else(Unread::default, |opened| Unread {
            waiting: opened.reader.waiting() as u64,
            lost: opened.reader.pending(),
        })
    }

    fn loss(&self) -> Option<Loss> {
        self.loss.clone()
    }
}
