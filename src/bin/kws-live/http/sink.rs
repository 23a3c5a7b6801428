//! What the answers are made of: counts of this end's own, and the clients that wait for events.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use kws_live::spotter::KeywordId;

use super::READERS;
use crate::events::{Counts, Notice, Sink};
use crate::net::Place;

/// Events that can wait for one client.
const CLIENT_QUEUE: usize = 64;
/// Silence after which a client is told something: otherwise one that is gone without a word is never noticed.
const BEAT: Duration = Duration::from_secs(15);
/// Longest wait for an event before it is looked what a client does.
const TURN: Duration = Duration::from_millis(500);
/// How often it is looked whether the stream moves.
const LOOK: Duration = Duration::from_secs(1);
/// How long the end waits for clients to take the last events.
const LAST: Duration = Duration::from_secs(1);

/// Everything that can be asked for.
pub struct State {
    pub started: Instant,
    pub counts: Counts,
    shared: Mutex<Shared>,
    /// Clients that have not hung up yet.
    streams: Arc<AtomicUsize>,
}

/// What all clients are told.
pub struct Event {
    /// Counted from 1.
    pub number: u64,
    /// `detection` or `device`.
    pub kind: &'static str,
    /// The object of it, as on stdout, in one line with its end.
    pub line: String,
}

/// One client's events. The channel closes with the stream.
pub struct Client {
    events: Receiver<Arc<Event>>,
    /// When it was last told something.
    said: Instant,
    _place: Place,
}

/// What is to be done for a client. In each case it is looked then what the client does.
pub enum Turn {
    /// Tell it of this.
    Event(Arc<Event>),
    /// Tell it that the connection lives.
    Beat,
    /// Nothing.
    Rest,
    /// Hang up: the stream has ended.
    End,
}

impl Client {
    /// Waits for an event, but for a moment only.
    pub fn turn(&mut self) -> Turn {
        let turn = match self.events.recv_timeout(TURN) {
            Ok(event) => Turn::Event(event),
            Err(RecvTimeoutError::Timeout) if self.said.elapsed() >= BEAT => Turn::Beat,
            Err(RecvTimeoutError::Timeout) => return Turn::Rest,
            Err(RecvTimeoutError::Disconnected) => return Turn::End,
        };
        self.said = Instant::now();
        turn
    }
}

struct Shared {
    /// Where the sound comes from, as it is now.
    source: String,
    /// What is listened for.
    keywords: BTreeMap<KeywordId, Arc<str>>,
    /// By the names that are or were listened for.
    detections: BTreeMap<String, u64>,
    clients: Vec<Sender<Arc<Event>>>,
    /// Number of the last event.
    number: u64,
    /// Position of the stream, and since when it is that.
    moved: (u64, Instant),
}

impl Shared {
    /// Sends an event to all clients; says how many were too slow for it.
    fn tell(&mut self, kind: &'static str, line: String) -> u64 {
        self.number += 1;
        let event = Arc::new(Event { number: self.number, kind, line });
        let mut missed = 0;
        self.clients.retain(|client| match client.try_send(event.clone()) {
            Ok(()) => true,
            Err(error) => {
                missed += u64::from(error.is_full());
                error.is_full()
            }
        });
        missed
    }
}

impl State {
    /// Nothing detected yet.
    pub fn new(source: String, counts: Counts) -> Self {
        let now = Instant::now();
        let shared = Shared {
            source,
            keywords: BTreeMap::new(),
            detections: BTreeMap::new(),
            clients: Vec::new(),
            number: 0,
            moved: (0, now),
        };
        Self { started: now, counts, shared: Mutex::new(shared), streams: Arc::default() }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the sound comes from.
    pub fn source(&self) -> String {
        self.shared().source.clone()
    }

    /// What is listened for now.
    pub fn keywords(&self) -> Vec<String> {
        self.shared().keywords.values().map(ToString::to_string).collect()
    }

    /// Detections by keyword, also by those that are gone: a counter does not go back.
    pub fn detections(&self) -> BTreeMap<String, u64> {
        self.shared().detections.clone()
    }

    /// How long the stream has stood still.
    pub fn still(&self) -> Duration {
        let mut shared = self.shared();
        let position = self.counts.meters.position();
        if position != shared.moved.0 {
            shared.moved = (position, Instant::now());
        }
        shared.moved.1.elapsed()
    }

    /// As if it had stood still for so much longer.
    #[cfg(test)]
    pub fn stood_still(&self, longer: Duration) {
        let mut shared = self.shared();
        shared.moved.1 = shared.moved.1.checked_sub(longer).expect("a clock that has run so long");
    }

    /// One more client of /events; `None` if there are enough.
    pub fn join(&self) -> Option<Client> {
        let place = Place::take(&self.streams, READERS)?;
        let (give, events) = bounded(CLIENT_QUEUE);
        self.shared().clients.push(give);
        Some(Client { events, said: Instant::now(), _place: place })
    }

    pub fn take(&self, notice: Notice) {
        let mut shared = self.shared();
        match notice {
            Notice::Added(id, name) => {
                shared.detections.entry(name.to_string()).or_insert(0);
                shared.keywords.insert(id, name);
            }
            Notice::Removed(id) => {
                shared.keywords.remove(&id);
            }
            Notice::Detection(record) => {
                *shared.detections.entry(record.keyword.clone()).or_insert(0) += 1;
                self.counts.bus.add(shared.tell("detection", record.json()));
            }
            Notice::Device(record) => {
                if let Some(source) = &record.source {
                    shared.source.clone_from(source);
                }
                self.counts.bus.add(shared.tell("device", record.json()));
            }
        }
    }
}

/// Brings the news to [`State`].
pub struct HttpSink(Arc<State>);

impl HttpSink {
    /// For the server that answers from `state`.
    pub fn new(state: Arc<State>) -> Self {
        Self(state)
    }
}

impl Sink for HttpSink {
    fn name(&self) -> &'static str {
        "http"
    }

    fn run(self: Box<Self>, notices: Receiver<Notice>) {
        loop {
            match notices.recv_timeout(LOOK) {
                Ok(notice) => self.0.take(notice),
                Err(RecvTimeoutError::Timeout) => {
                    self.0.still();
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Their channels close; what is in them still goes out.
        self.0.shared().clients.clear();
        let until = Instant::now() + LAST;
        while self.0.streams.load(Ordering::Acquire) > 0 && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Record;

    pub fn state() -> State {
        let counts = Counts::default();
        State::new("a test".into(), counts)
    }

    fn detection() -> Notice {
        Notice::Detection(Arc::new(Record::new("detection", "word", 0.5, (0, 16_000), None)))
    }

    #[test]
    fn a_client_that_does_not_read_misses_events_and_one_that_left_is_forgotten() {
        let state = state();
        let [stuck, gone] = [(); 2].map(|()| state.join().expect("a place"));
        drop(gone);
        for id in [KeywordId(1), KeywordId(2)] {
            state.take(Notice::Added(id, "other".into()));
        }
        state.take(Notice::Removed(KeywordId(1)));
        for _ in 0..CLIENT_QUEUE + 3 {
            state.take(detection());
        }
        assert_eq!((state.counts.dropped(), state.shared().clients.len(), stuck.events.len()), (3, 1, CLIENT_QUEUE));
        // Where all losses are told, too.
        assert_eq!(state.counts.losses().as_deref(), Some("3 events were dropped: a receiver was too slow"));
        assert_eq!(state.detections()["word"], CLIENT_QUEUE as u64 + 3);
        assert_eq!((state.detections()["other"], state.keywords().len()), (0, 1));
        let first = stuck.events.recv().expect("an event");
        assert_eq!((first.number, first.kind), (1, "detection"));
        assert!(first.line.starts_with("{\"type\":\"detection\",\"keyword\":\"word\""), "{}", first.line);
        assert!(first.line.ends_with("}\n"), "{}", first.line);
    }

    #[test]
    fn the_end_closes_the_clients_channels() {
        let state = Arc::new(state());
        let client = state.join().expect("a place");
        let (give, notices) = bounded(4);
        give.send(detection()).expect("room");
        drop(give);
        let sink = Box::new(HttpSink::new(state.clone()));
        let count = thread::scope(|scope| {
            scope.spawn(|| sink.run(notices));
            client.events.iter().count()
        });
        assert_eq!(count, 1);
    }
}
