//! `Engine`: a [`Spotter`] that listens by itself. Threads and channels live here and nowhere else.
//!
//! | thread | does | may not | talks by |
//! |---|---|---|---|
//! | capture callback (the sound system's) | mixes down, offers blocks to a ring | allocate, lock, log, wait | lock-free ring |
//! | worker | reads, resamples, spots, cuts [`Clip`]s | wait on the UI (see [`Delivery`]) | bounded [`Event`] channel, atomics ([`Meters`]) |
//! | enrolment | turns typed text into a keyword | touch the stream | the worker's orders |
//! | the caller's | shows events, sends commands | touch audio state | [`Command`]s, drained between hops |
//!
//! ```no_run
//! use kws_live::audio::MicSource;
//! use kws_live::engine::{Engine, EngineConfig, Event, seconds};
//! use kws_live::{enrol::Enroller, model::Bundle, spotter::{Spotter, SpotterConfig}, text::parse_keywords};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let microphone = Box::new(MicSource::open(None)?); // first: its ring fills while the model loads
//! let (bundle, config) = (Bundle::embedded()?, SpotterConfig::default());
//! let mut enroller = Enroller::new(&bundle, config.choice)?;
//! let mut spotter = Spotter::new(&bundle, config)?;
//! for spec in parse_keywords("hello, stop")? {
//!     spotter.add(enroller.text(&spec)?);
//! }
//! let engine = Engine::start(microphone, spotter, Some(enroller), &EngineConfig::default())?;
//! for event in engine.events() {
//!     if let Event::Detection(hit) = event {
//!         println!("{} at {:.2} s, score {:.2}", hit.name, seconds(hit.start), hit.score);
//!     }
//! }
//! # Ok(()) }
//! ```

mod clip;
mod handle;
mod meters;
mod pipeline;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

pub use clip::{Clip, ClipConfig, ClipRecorder};
pub use handle::{KeywordsHandle, StopHandle};
pub use meters::{Meters, ScoreMeter, seconds};
pub use pipeline::Pipeline;

use crate::audio::{AudioError, AudioSource, Levels, Loss};
use crate::detect::Keyword;
use crate::enrol::Enroller;
use crate::spotter::{Detection, KeywordId, SpotError, Spotter};
use crate::text::parse_keywords;
use worker::{Order, Outbox, Worker};

/// Commands that can wait for the worker.
const COMMANDS: usize = 64;

/// What stops an [`Engine`], or keeps it from taking a command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The source failed.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// The spotter failed.
    #[error(transparent)]
    Spot(#[from] SpotError),
    /// The system gives no more threads.
    #[error("cannot start a thread: {0}; close other programs")]
    Thread(std::io::Error),
    /// A bug in a thread of the engine.
    #[error("the {0} thread stopped on a bug; please report it with the message that came before")]
    Panicked(&'static str),
    /// Too many commands are waiting.
    #[error("the engine is busy; try again in a moment")]
    Busy,
    /// The worker has ended.
    #[error("the stream has ended")]
    Over,
    /// The engine was started without an [`Enroller`].
    #[error("this engine cannot add keywords; start it with an enroller")]
    NoEnroller,
}

/// What to do with an event when the UI is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// Drop and count it: right for a microphone, which does not wait either. What answers a [`Command`] is never dropped.
    #[default]
    Drop,
    /// Wait: right for a file that is read flat out, so that no detection is lost.
    Wait,
}

/// How to run.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineConfig {
    /// Events that can wait to be read.
    pub event_capacity: usize,
    /// What happens to more.
    pub delivery: Delivery,
    /// Stop after so much audio (live: or so much time).
    pub limit: Option<Duration>,
    /// Whether to cut out the sound of every detection, for [`Engine::clips`].
    pub clips: Option<ClipConfig>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { event_capacity: 256, delivery: Delivery::Drop, limit: None, clips: None }
    }
}

/// A keyword that is listened for.
#[derive(Debug, Clone)]
pub struct Listened {
    /// Its handle.
    pub id: KeywordId,
    /// Its name.
    pub name: Arc<str>,
    /// Its pronunciations on one line, such as `HH AH L OW | HH EH L OW`.
    pub said: Arc<str>,
    /// Its score, live.
    pub meter: Arc<ScoreMeter>,
}

impl Listened {
    fn new(id: KeywordId, keyword: &Keyword, meter: Arc<ScoreMeter>) -> Self {
        Self { id, name: keyword.name.as_str().into(), said: keyword.said().into(), meter }
    }
}

/// News from the worker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A keyword was heard.
    Detection(Detection),
    /// A keyword is listened for from now on.
    KeywordAdded(Listened),
    /// A keyword is no longer listened for.
    KeywordRemoved(KeywordId),
    /// A text that cannot be listened for, and why.
    KeywordRefused {
        /// What was typed.
        text: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// Samples were lost before the worker could read them.
    Gap {
        /// How many, at the source's rate.
        lost: u64,
    },
    /// The device is gone; the stream goes on without sound until it is back.
    DeviceLost {
        /// Its name, and why it is gone.
        loss: Loss,
        /// Position of the stream at 16 kHz; 0 if the device has not been there at all.
        at: u64,
    },
    /// The device is back. The time that has passed counts: it is a gap in the stream.
    DeviceBack {
        /// Its name.
        device: String,
        /// The source in one line, as it is now.
        source: String,
        /// How long no sound came.
        away: Duration,
        /// The same in samples, at the source's rate.
        lost: u64,
        /// Position at which the stream goes on, at 16 kHz.
        at: u64,
    },
    /// The stream has ended; the last event.
    Ended,
    /// The stream has failed, in one line; the last event.
    Failed(String),
}

impl Event {
    /// Whether it tells what has become of an order.
    fn answers(&self) -> bool {
        matches!(self, Self::KeywordAdded(_) | Self::KeywordRemoved(_) | Self::KeywordRefused { .. })
    }
}

/// What an engine can be told.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Listen for these keywords too: text as in `--keywords`. Answered by [`Event::KeywordAdded`] or
    /// [`Event::KeywordRefused`].
    AddKeyword(String),
    /// Stop listening for a keyword.
    Remove(KeywordId),
    /// Give a keyword its own threshold, 0 to 1.
    SetThreshold(KeywordId, f32),
    /// Move the common threshold: 0 (deaf) to 1 (jumpy).
    SetSensitivity(f32),
    /// Hear nothing: a microphone runs on unheard, a file waits.
    Pause,
    /// Listen again.
    Resume,
    /// End the stream: the last words are let out, then comes [`Event::Ended`].
    Stop,
}

/// A running spotter. Dropping it stops and joins its threads.
pub struct Engine {
    events: Receiver<Event>,
    clips: Option<Receiver<Clip>>,
    orders: Sender<Order>,
    enrol: Option<Sender<String>>,
    worker: Option<JoinHandle<Result<(), EngineError>>>,
    enroller: Option<JoinHandle<()>>,
    meters: Arc<Meters>,
    keywords: Vec<Listened>,
    describe: String,
}

impl Engine {
    /// Starts to listen. Keywords that `spotter` holds are listened for at once; `enroller` is what adds more.
    ///
    /// # Errors
    /// If the source's rate cannot be resampled or a thread cannot be started.
    pub fn start(
        source: Box<dyn AudioSource>,
        spotter: Spotter,
        enroller: Option<Enroller>,
        config: &EngineConfig,
    ) -> Result<Self, EngineError> {
        let describe = source.describe();
        let measured = source.levels();
        let own = measured.is_none().then(Arc::<Levels>::default);
        let meters = Meters::new(measured.or_else(|| own.clone()).unwrap_or_default(), source.device());
        let meters = Arc::new(meters);
        let keywords: Vec<Listened> =
            spotter.keywords().map(|status| Listened::new(status.id, status.keyword, Arc::default())).collect();
        let (outbox, events) = Outbox::new(config.event_capacity.max(1), config.delivery, meters.clone());
        let (orders, orders_out) = bounded(COMMANDS);
        let (recorder, clips) = config.clips.as_ref().map(ClipRecorder::new).unzip();
        let worker = Worker {
            pipeline: Pipeline::new(source, spotter).map_err(|(error, _)| error)?,
            orders: orders_out,
            outbox,
            listened: keywords.clone(),
            levels: own,
            recorder,
            limit: config.limit,
            paused: false,
            lost_device: None,
        };
        let spawn = |name: &str| thread::Builder::new().name(name.into());
        let worker = spawn("kws-worker").spawn(move || worker.run()).map_err(EngineError::Thread)?;
        let mut engine = Self {
            events,
            clips,
            orders,
            enrol: None,
            worker: Some(worker),
            enroller: None,
            meters,
            keywords,
            describe,
        };
        if let Some(enroller) = enroller {
            let (texts_in, texts) = bounded(COMMANDS);
            let orders = engine.orders.clone();
            let handle =
                spawn("kws-enrol").spawn(move || enrol(enroller, &texts, &orders)).map_err(EngineError::Thread)?;
            engine.enrol = Some(texts_in);
            engine.enroller = Some(handle);
        }
        Ok(engine)
    }

    /// The keywords it was started with.
    pub fn keywords(&self) -> &[Listened] {
        &self.keywords
    }

    /// The source in one line, as it was at the start.
    pub fn describe(&self) -> &str {
        &self.describe
    }

    /// The meters.
    pub fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    /// News, to wait for or to poll; iterating ends with the stream.
    pub fn events(&self) -> &Receiver<Event> {
        &self.events
    }

    /// The sound of the detections, each some time behind its event; `None` unless [`EngineConfig::clips`] asks for it.
    /// Clips have buffers of their own and do not compete with events for room.
    pub fn clips(&self) -> Option<&Receiver<Clip>> {
        self.clips.as_ref()
    }

    /// A handle that only changes the keywords.
    pub fn keywords_handle(&self) -> KeywordsHandle {
        KeywordsHandle(self.orders.clone())
    }

    /// A handle that only stops.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(self.meters.clone())
    }

    /// Sends a command; never waits.
    ///
    /// # Errors
    /// [`EngineError::Busy`] or [`EngineError::Over`] if it was not taken, [`EngineError::NoEnroller`].
    pub fn send(&self, command: Command) -> Result<(), EngineError> {
        if self.worker.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(EngineError::Over);
        }
        let order = match command {
            Command::AddKeyword(text) => {
                let enrol = self.enrol.as_ref().ok_or(EngineError::NoEnroller)?;
                return enrol.try_send(text).map_err(|e| refused(&e));
            }
            Command::Stop => {
                self.stop_handle().stop();
                return Ok(());
            }
            Command::Remove(id) => Order::Remove(id),
            Command::SetThreshold(id, threshold) => Order::Threshold(id, threshold),
            Command::SetSensitivity(sensitivity) => Order::Sensitivity(sensitivity),
            Command::Pause => Order::Pause(true),
            Command::Resume => Order::Pause(false),
        };
        self.orders.try_send(order).map_err(|e| refused(&e))
    }

    /// Stops, waits for the threads and says how the stream ended. Events not read yet stay in [`Engine::events`] until the
    /// engine is dropped, so read to [`Event::Ended`] first where each one counts.
    ///
    /// # Errors
    /// What ended the stream, if not its end or a stop.
    pub fn stop(&mut self) -> Result<(), EngineError> {
        self.stop_handle().stop();
        self.enrol = None;
        let outcome = match self.worker.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Err(EngineError::Panicked("worker")),
        };
        match self.enroller.take().map(JoinHandle::join) {
            Some(Err(_)) if outcome.is_ok() => Err(EngineError::Panicked("enrolment")),
            _ => outcome,
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            log::debug!("{error}");
        }
    }
}

fn refused<T>(error: &TrySendError<T>) -> EngineError {
    match error {
        TrySendError::Full(_) => EngineError::Busy,
        TrySendError::Disconnected(_) => EngineError::Over,
    }
}

/// The enrolment thread: text in, finished keywords out; ends with either channel.
fn enrol(mut enroller: Enroller, texts: &Receiver<String>, orders: &Sender<Order>) {
    for text in texts {
        let specs = match parse_keywords(&text) {
            Ok(specs) => specs,
            Err(error) => {
                if orders.send(Order::Refused { text, reason: error.to_string() }).is_err() {
                    return;
                }
                continue;
            }
        };
        for spec in specs {
            let order = match enroller.text(&spec) {
                Ok(keyword) => Order::Add(keyword),
                Err(error) => Order::Refused { text: spec.name, reason: error.to_string() },
            };
            if orders.send(order).is_err() {
                return;
            }
        }
    }
}
