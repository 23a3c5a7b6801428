//! Detections on their way out of the program: one bounded queue, one thread that shares out, one thread a receiver.
//!
//! ```text
//!                                   ┌─[queue]─▶ lines    stdout
//! live loop ──[queue]──▶ kws-events ┼─[queue]─▶ exec     a program
//!                                   ├─[queue]─▶ http     /events
//!                                   └─[queue]─▶ mqtt     a broker
//! worker ──[clips in a pool of buffers]───────▶ save     wav files
//! ```
//!
//! A receiver that is slow or stuck fills its own queue and nothing else; what happens and finds no room there is dropped and
//! counted. Only where the sound can wait, in a file or a pipe, do the queues wait too. Which keywords there are finds room
//! in any case: it is told once, and there is no more of it than the user changes.

pub mod exec;
mod lines;
#[cfg(feature = "mqtt")]
pub mod mqtt;
mod outputs;
pub mod save;

pub use outputs::{Counts, Feed, Outputs, Plan};

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, unbounded};
use kws_live::engine::Event;
use kws_live::spotter::KeywordId;

use crate::output::{DeviceRecord, Record};
use crate::service::signals::Asked;

/// What can wait to be shared out.
const QUEUE: usize = 256;
/// What can wait for one receiver.
const SINK_QUEUE: usize = 64;

/// Time between two looks whether to go on waiting.
const NAP: Duration = Duration::from_millis(50);
/// Time between two looks whether a receiver has made room.
const BREATH: Duration = Duration::from_millis(2);

/// What a receiver learns. Small enough to be copied for each of them.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A keyword was heard: what a line of `--json` says.
    Detection(Arc<Record>),
    /// A keyword is listened for from now on.
    #[cfg_attr(not(any(feature = "http", feature = "mqtt")), expect(dead_code, reason = "only HTTP and MQTT tell it"))]
    Added(KeywordId, Arc<str>),
    /// And no longer.
    #[cfg_attr(not(any(feature = "http", feature = "mqtt")), expect(dead_code, reason = "only HTTP and MQTT tell it"))]
    Removed(KeywordId),
    /// The device is gone, or back.
    Device(Arc<DeviceRecord>),
}

impl Notice {
    /// What of the engine's news goes out; `file` is where the sound comes from, if it is a file.
    pub fn of(event: &Event, file: Option<&str>) -> Option<Self> {
        match event {
            Event::Detection(hit) => Some(Self::Detection(Arc::new(Record::detection(hit, file)))),
            Event::KeywordAdded(listened) => Some(Self::Added(listened.id, listened.name.clone())),
            Event::KeywordRemoved(id) => Some(Self::Removed(*id)),
            other => DeviceRecord::of(other).map(|record| Self::Device(Arc::new(record))),
        }
    }

    /// Whether it says which keywords there are.
    pub fn is_state(&self) -> bool {
        matches!(self, Self::Added(..) | Self::Removed(_))
    }
}

/// A receiver of news, on a thread of its own.
pub trait Sink: Send {
    /// One word, for messages.
    fn name(&self) -> &'static str;

    /// Takes news until the channel closes, then finishes what is under way.
    fn run(self: Box<Self>, notices: Receiver<Notice>);
}

/// News that found no room, on all ways together.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

/// Whether to wait for slow receivers: where the sound can, and nobody has asked the program to end.
#[derive(Debug, Clone, Default)]
pub struct Patience {
    /// Right for a file, which can wait, and wrong for a microphone.
    pub wait: bool,
    /// Whether a signal came.
    pub asked: Asked,
}

impl Patience {
    fn lasts(&self) -> bool {
        self.wait && !self.asked.to_end()
    }

    /// Waits for a thread of [`spawn`]; once the patience is over at most until `limit` has passed. False if it still runs.
    fn wait_for(&self, done: &Receiver<()>, limit: Duration, until: &mut Option<Instant>) -> bool {
        while done.recv_timeout(NAP) == Err(RecvTimeoutError::Timeout) {
            if !self.lasts() && Instant::now() >= *until.get_or_insert_with(|| Instant::now() + limit) {
                return false;
            }
        }
        true
    }
}

/// A queue with so much room for what happens, and as much as it takes for which keywords there are.
struct Way {
    give: Sender<Notice>,
    room: usize,
    patience: Patience,
    count: Arc<Count>,
    /// Closes with the receiver's thread.
    done: Receiver<()>,
}

impl Way {
    fn is_full(&self) -> bool {
        self.give.len() >= self.room
    }

    /// Whether the receiver has panicked, as its thread has said.
    fn is_dead(&self) -> bool {
        self.done.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// False if it was dropped: there was no room, or nobody takes it any more.
    fn offer(&self, notice: Notice) -> bool {
        while self.is_full() && self.patience.lasts() && !self.is_dead() {
            thread::sleep(BREATH);
        }
        let taken = (notice.is_state() || !self.is_full()) && !self.is_dead() && self.give.send(notice).is_ok();
        if !taken {
            self.count.add(1);
        }
        taken
    }
}

/// A thread with a queue, while it runs.
struct Running {
    name: &'static str,
    done: Receiver<()>,
    /// What it has not taken yet.
    left: Receiver<Notice>,
}

impl Running {
    /// Starts it, with the way to it.
    fn start(
        name: &'static str,
        room: usize,
        (patience, count): (&Patience, &Arc<Count>),
        work: impl FnOnce(Receiver<Notice>) + Send + 'static,
    ) -> io::Result<(Self, Way)> {
        let (give, notices) = unbounded();
        let left = notices.clone();
        let done = spawn(&format!("kws-{name}"), move || work(notices))?;
        let way = Way { give, room, patience: patience.clone(), count: count.clone(), done: done.clone() };
        Ok((Self { name, done, left }, way))
    }
}

/// The queue and its threads. Without receivers it is empty and costs nothing.
pub struct Bus {
    queue: Option<Way>,
    patience: Patience,
    count: Arc<Count>,
    running: Vec<Running>,
}

impl Bus {
    /// Starts a thread for each receiver.
    pub fn start(sinks: Vec<Box<dyn Sink>>, patience: Patience, count: &Arc<Count>) -> io::Result<Self> {
        let mut bus = Self { queue: None, patience, count: count.clone(), running: Vec::new() };
        if sinks.is_empty() {
            return Ok(bus);
        }
        let shared = (&bus.patience, count);
        let mut ways = Vec::new();
        for sink in sinks {
            let name = sink.name();
            let (running, way) = Running::start(name, SINK_QUEUE, shared, move |notices| sink.run(notices))?;
            bus.running.push(running);
            ways.push((name, way));
        }
        let (share, queue) = Running::start("events", QUEUE, shared, move |notices| share_out(&notices, &ways))?;
        bus.running.insert(0, share);
        bus.queue = Some(queue);
        Ok(bus)
    }

    /// Hands out news.
    pub fn publish(&self, notice: Notice) {
        if let Some(queue) = &self.queue {
            queue.offer(notice);
        }
    }

    /// No more news: waits until every receiver has finished, at most so long once the patience is over. What has not been taken
    /// by then is counted as dropped.
    pub fn finish(mut self, limit: Duration) {
        self.queue = None;
        let mut until = None;
        for Running { name, done, left } in &self.running {
            if !self.patience.wait_for(done, limit, &mut until) {
                log::warn!("`{name}` has not finished after {} s and is left behind", limit.as_secs());
            }
            // None if it has ended in order.
            self.count.add(left.try_iter().filter(|notice| !notice.is_state()).count() as u64);
        }
    }
}

impl Count {
    /// News that found no room.
    pub fn dropped(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// So many more found none.
    pub fn add(&self, events: u64) {
        self.0.fetch_add(events, Ordering::Relaxed);
    }
}

/// A thread whose end can be waited for with a time limit: the channel closes, also by a panic.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<Receiver<()>> {
    let (alive, done) = bounded::<()>(0);
    thread::Builder::new().name(name.into()).spawn(move || {
        let _alive = alive;
        work();
    })?;
    Ok(done)
}

fn share_out(notices: &Receiver<Notice>, ways: &[(&'static str, Way)]) {
    for notice in notices {
        for (name, way) in ways {
            if !way.offer(notice.clone()) {
                log::debug!("`{name}` is behind: an event was dropped");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes nothing before it is let, then everything.
    struct Slow(Receiver<()>, Sender<usize>);

    impl Sink for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }

        fn run(self: Box<Self>, notices: Receiver<Notice>) {
            let _ = self.0.recv();
            let _ = self.1.send(notices.iter().count());
        }
    }

    fn slow() -> (Box<dyn Sink>, Sender<()>, Receiver<usize>) {
        let (go, gate) = bounded(1);
        let (give, total) = bounded(1);
        (Box::new(Slow(gate, give)), go, total)
    }

    fn detection() -> Notice {
        Notice::Detection(Arc::new(Record::new("detection", "word", 0.5, (0, 16_000), None)))
    }

    #[test]
    fn a_stuck_receiver_loses_its_own_news_and_they_are_counted() {
        let ((stuck, go, its), (quick, started, all)) = (slow(), slow());
        started.send(()).expect("room");
        let count = Arc::default();
        let bus = Bus::start(vec![stuck, quick], Patience::default(), &count).expect("threads");
        let total = 2 * SINK_QUEUE;
        for _ in 0..total {
            bus.publish(detection());
            // Not faster than the thread that shares out, whose queue is not what is tested here.
            while bus.queue.as_ref().is_some_and(|way| !way.give.is_empty()) {
                thread::yield_now();
            }
        }
        go.send(()).expect("room");
        bus.finish(Duration::from_mins(1));
        let (its, all) = (its.recv().expect("a count"), all.recv().expect("a count"));
        assert!(its < total, "the stuck one cannot have all: {its}");
        assert_eq!(count.dropped() as usize, (total - its) + (total - all), "every loss is counted");
    }

    #[test]
    fn keywords_find_room_however_many_come_at_once() {
        let (stuck, go, its) = slow();
        let count = Arc::default();
        let bus = Bus::start(vec![stuck], Patience::default(), &count).expect("threads");
        let total = 4 * (QUEUE + SINK_QUEUE);
        for id in 0..total {
            bus.publish(Notice::Added(KeywordId(id as u64), "word".into()));
            bus.publish(Notice::Removed(KeywordId(id as u64)));
        }
        go.send(()).expect("room");
        bus.finish(Duration::from_mins(1));
        assert_eq!((its.recv().expect("a count"), count.dropped()), (2 * total, 0));
    }

    #[test]
    fn a_patient_bus_loses_nothing() {
        let (slow, go, its) = slow();
        let count = Arc::default();
        let bus = Bus::start(vec![slow], Patience { wait: true, asked: Asked::default() }, &count).expect("threads");
        let total = 2 * (QUEUE + SINK_QUEUE);
        thread::scope(|scope| {
            scope.spawn(|| (0..total).for_each(|_| bus.publish(detection())));
            go.send(()).expect("room");
        });
        bus.finish(Duration::from_mins(1));
        assert_eq!((its.recv().expect("a count"), count.dropped()), (total, 0));
    }

    #[test]
    fn patience_ends_with_a_signal() {
        let (stuck, go, _its) = slow();
        let patience = Patience { wait: true, asked: Asked::default() };
        let count = Arc::default();
        let bus = Bus::start(vec![stuck], patience.clone(), &count).expect("threads");
        let total = 2 * (QUEUE + SINK_QUEUE);
        thread::scope(|scope| {
            let publisher = scope.spawn(|| (0..total).for_each(|_| bus.publish(detection())));
            thread::sleep(NAP);
            assert!(!publisher.is_finished(), "it waits");
            patience.asked.ask();
        });
        bus.finish(NAP);
        assert!(count.dropped() > 0);
        drop(go);
    }

    #[test]
    fn one_that_never_ends_is_left_behind_with_what_it_has_not_taken() {
        let (stuck, go, _its) = slow();
        let count = Arc::default();
        let bus = Bus::start(vec![stuck], Patience::default(), &count).expect("threads");
        bus.publish(Notice::Added(KeywordId(0), "word".into()));
        for _ in 0..3 {
            bus.publish(detection());
        }
        bus.finish(Duration::from_millis(50));
        assert_eq!(count.dropped(), 3);
        drop(go);
    }

    /// Panics at the first news.
    struct Broken;

    impl Sink for Broken {
        fn name(&self) -> &'static str {
            "broken"
        }

        fn run(self: Box<Self>, notices: Receiver<Notice>) {
            let _ = notices.recv();
            panic!("on purpose");
        }
    }

    #[test]
    fn one_that_has_panicked_holds_up_nobody_and_what_it_would_have_got_is_counted() {
        let count = Arc::default();
        let patience = Patience { wait: true, asked: Asked::default() };
        let bus = Bus::start(vec![Box::new(Broken)], patience, &count).expect("threads");
        let total = 2 * (QUEUE + SINK_QUEUE);
        (0..total).for_each(|_| bus.publish(detection()));
        bus.finish(Duration::from_mins(1));
        assert_eq!(count.dropped() as usize, total - 1);
    }
}
