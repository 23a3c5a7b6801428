//! The worker: reads, spots, publishes; never waits on the UI unless told to.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded, unbounded};

use super::clip::ClipRecorder;
use super::meters::{Meters, ScoreMeter};
use super::pipeline::{Pipeline, samples_in};
use super::{Delivery, EngineError, Event, Listened};
use crate::audio::{Chunk, Levels, Loss, MODEL_RATE, Unread};
use crate::detect::Keyword;
use crate::spotter::{Detection, KeywordId};
use crate::text::same_name;

/// How long a paused worker sleeps between two looks at its orders.
const NAP: Duration = Duration::from_millis(50);
/// How long a stopping worker still offers an event to a UI that does not read.
const LAST_OFFER: Duration = Duration::from_millis(500);

/// What the worker can be told, drained between hops.
#[derive(Debug)]
pub(super) enum Order {
    Add(Keyword),
    /// Exactly these from now on.
    Replace(Vec<Keyword>),
    Refused {
        text: String,
        reason: String,
    },
    Remove(KeywordId),
    Threshold(KeywordId, f32),
    Sensitivity(f32),
    Pause(bool),
}

/// The way out for events.
pub(super) struct Outbox {
    events: Sender<Event>,
    /// Events that can wait to be read.
    room: usize,
    delivery: Delivery,
    meters: Arc<Meters>,
}

impl Outbox {
    /// The way out, and where its events are read.
    pub fn new(room: usize, delivery: Delivery, meters: Arc<Meters>) -> (Self, Receiver<Event>) {
        let (events, read) = match delivery {
            // Bounded by `send`.
            Delivery::Drop => unbounded(),
            Delivery::Wait => bounded(room),
        };
        (Self { events, room, delivery, meters }, read)
    }

    /// Offers an event; a lost one is counted. What an order has changed is told in any case: there is no second chance to
    /// learn it, and no more of it than was ordered.
    fn send(&self, event: Event) {
        match self.delivery {
            Delivery::Drop if event.answers() || self.events.len() < self.room => drop(self.events.send(event)),
            Delivery::Drop => self.meters.drop_event(),
            Delivery::Wait => self.insist(event),
        }
    }

    /// Waits for room, as long as nobody wants the worker to stop.
    fn insist(&self, mut event: Event) {
        let mut since = None;
        while let Err(SendTimeoutError::Timeout(back)) = self.events.send_timeout(event, NAP) {
            event = back;
            self.meters.turn();
            if self.meters.stop.load(Ordering::Acquire) && since.get_or_insert_with(Instant::now).elapsed() > LAST_OFFER
            {
                self.meters.drop_event();
                return;
            }
        }
    }
}

pub(super) struct Worker {
    pub pipeline: Pipeline,
    pub orders: Receiver<Order>,
    pub outbox: Outbox,
    pub listened: Vec<Listened>,
    /// Level meters to fill here, for a source that does not measure by itself.
    pub levels: Option<Arc<Levels>>,
    /// Cuts out the sound of detections, if somebody wants it.
    pub recorder: Option<ClipRecorder>,
    pub limit: Option<Duration>,
    pub paused: bool,
    /// Name of the device that is away.
    pub lost_device: Option<String>,
}

impl Worker {
    /// Runs to the end of the source, to the limit or to the stop; then says how it ended.
    pub fn run(mut self) -> Result<(), EngineError> {
        self.outbox.meters.set_ready();
        self.publish();
        let outcome = self.listen();
        // The end is told even to a UI that lags behind; if that does not take it, the closed channel says the same.
        let last = match &outcome {
            Ok(()) => Event::Ended,
            Err(error) => Event::Failed(error.to_string().replace('\n', " ")),
        };
        let _ = self.outbox.events.send_timeout(last, LAST_OFFER);
        outcome
    }

    fn listen(&mut self) -> Result<(), EngineError> {
        let started = Instant::now();
        loop {
            self.outbox.meters.turn();
            while let Ok(order) = self.orders.try_recv() {
                self.obey(order);
            }
            let meters = &self.outbox.meters;
            let late = self.limit.is_some_and(|limit| self.pipeline.source().live() && started.elapsed() >= limit);
            let over = late || self.full();
            if over || meters.stop.load(Ordering::Acquire) {
                self.drain()?;
                return self.hop(Chunk::End);
            }
            if self.paused && !self.pipeline.source().live() {
                // A file waits where it is; a microphone goes on and is not listened to.
                if let Ok(order) = self.orders.recv_timeout(NAP) {
                    self.obey(order);
                }
                continue;
            }
            let chunk = match self.pipeline.read() {
                Ok(chunk) => chunk,
                Err(error) => {
                    // What was said before must not go with the source.
                    self.hop(Chunk::End)?;
                    return Err(error.into());
                }
            };
            if let Some(levels) = &self.levels {
                levels.measure(self.pipeline.block(chunk));
            }
            self.hop(chunk)?;
            if chunk == Chunk::End {
                return Ok(());
            }
        }
    }

    /// Whether as much was heard as was asked for.
    fn full(&self) -> bool {
        self.limit.is_some_and(|limit| self.outbox.meters.seconds() >= limit.as_secs_f64())
    }

    /// The stream ends here: hears what has come and was not read yet, as far as there is time, and counts the rest.
    fn drain(&mut self) -> Result<(), EngineError> {
        let Unread { mut waiting, lost } = self.pipeline.source().unread();
        let began = Instant::now();
        while waiting > 0 && !self.full() && began.elapsed() < LAST_OFFER {
            let Ok(chunk) = self.pipeline.read() else { break };
            self.hop(chunk)?;
            match chunk {
                Chunk::Samples(count) => waiting = waiting.saturating_sub(count as u64),
                Chunk::Lost(_) => {}
                _ => break,
            }
        }
        if waiting + lost > 0 && !self.full() {
            self.hop(Chunk::Lost(waiting + lost))?;
        }
        Ok(())
    }

    fn hop(&mut self, chunk: Chunk) -> Result<(), EngineError> {
        let began = Instant::now();
        let before = self.pipeline.spotter().position();
        let resampling = self.pipeline.resampler_latency();
        let outbox = &self.outbox;
        let recorder = &mut self.recorder;
        let on_hit = |hit: &Detection| {
            if let Some(recorder) = recorder {
                recorder.hit(hit);
            }
            let waited = hit.emitted.saturating_sub(hit.end) as f32 / MODEL_RATE as f32;
            outbox.meters.detected(waited + resampling + began.elapsed().as_secs_f32());
            outbox.send(Event::Detection(hit.clone()));
        };
        match chunk {
            Chunk::Samples(count) if self.paused => self.pipeline.lose(count as u64, on_hit)?,
            chunk => self.pipeline.process(chunk, on_hit)?,
        }
        if let Some(recorder) = &mut self.recorder {
            self.pipeline.spotter_mut().near_misses().for_each(|hit| recorder.near_miss(&hit));
        }
        self.record(chunk);
        let outbox = &self.outbox;
        if let Chunk::Lost(lost) = chunk {
            outbox.meters.add_lost(lost);
            outbox.send(Event::Gap { lost });
        }
        let position = self.pipeline.spotter().position();
        outbox.meters.set_position(position);
        self.tell_device(chunk, position);
        let outbox = &self.outbox;
        if matches!(chunk, Chunk::Samples(_)) && !self.paused {
            let audio = (position - before) as f32 / MODEL_RATE as f32;
            outbox.meters.spent(began.elapsed().as_secs_f32(), audio);
        }
        self.publish();
        Ok(())
    }

    /// What happened to the device, if anything did.
    fn tell_device(&mut self, chunk: Chunk, at: u64) {
        let (outbox, source) = (&self.outbox, self.pipeline.source());
        match chunk {
            Chunk::Away => {
                let loss =
                    source.loss().unwrap_or_else(|| Loss { device: source.describe(), reason: "unknown".into() });
                self.lost_device = Some(loss.device.clone());
                outbox.send(Event::DeviceLost { loss, at });
            }
            Chunk::Back(away) => {
                let (source, lost) = (source.describe(), samples_in(away, source.rate()));
                let device = self.lost_device.take().unwrap_or_else(|| source.clone());
                outbox.meters.add_lost(lost);
                outbox.send(Event::DeviceBack { device, source, away, lost, at });
            }
            _ => {}
        }
    }

    /// Lets the recorder follow the stream. In a file there is time to wait for whoever takes the clips.
    fn record(&mut self, chunk: Chunk) {
        let Some(recorder) = &mut self.recorder else { return };
        let Outbox { delivery, meters, .. } = &self.outbox;
        let wait = || {
            meters.turn();
            *delivery == Delivery::Wait && !meters.stop.load(Ordering::Acquire)
        };
        recorder.push(self.pipeline.heard(), wait);
        match chunk {
            Chunk::Samples(_) if !self.paused => {}
            Chunk::Samples(_) | Chunk::Lost(_) | Chunk::Back(_) => {
                recorder.gap(self.pipeline.spotter().position(), wait);
            }
            Chunk::Away | Chunk::End => recorder.finish(wait),
            Chunk::Idle => {}
        }
        meters.set_lost_clips(recorder.lost());
    }

    fn publish(&self) {
        for (status, listened) in self.pipeline.spotter().keywords().zip(&self.listened) {
            listened.meter.set(status.score, status.threshold);
        }
    }

    fn obey(&mut self, order: Order) {
        let spotter = self.pipeline.spotter_mut();
        match order {
            Order::Add(keyword) => {
                if self.listened.iter().any(|l| same_name(&l.name, &keyword.name)) {
                    let reason = format!("`{}` is already listened for", keyword.name);
                    self.outbox.send(Event::KeywordRefused { text: keyword.name, reason });
                    return;
                }
                self.change(&[], vec![keyword]);
            }
            Order::Replace(keywords) => self.replace(keywords),
            Order::Refused { text, reason } => self.outbox.send(Event::KeywordRefused { text, reason }),
            Order::Remove(id) => self.remove(id),
            Order::Threshold(id, threshold) => {
                spotter.set_threshold(id, threshold);
                self.publish();
            }
            Order::Sensitivity(sensitivity) => {
                spotter.set_sensitivity(sensitivity);
                self.publish();
            }
            Order::Pause(paused) => self.paused = paused,
        }
    }

    fn remove(&mut self, id: KeywordId) {
        if self.listened.iter().any(|l| l.id == id) {
            self.change(&[id], Vec::new());
        }
    }

    fn change(&mut self, gone: &[KeywordId], new: Vec<Keyword>) {
        let listened = |keyword| Listened::new(KeywordId(0), keyword, Arc::<ScoreMeter>::default());
        let added: Vec<Listened> = new.iter().map(listened).collect();
        let ids = self.pipeline.spotter_mut().change(gone, new);
        self.listened.retain(|l| !gone.contains(&l.id));
        for id in gone {
            self.outbox.send(Event::KeywordRemoved(*id));
        }
        for (id, listened) in ids.into_iter().zip(added) {
            let listened = Listened { id, ..listened };
            self.listened.push(listened.clone());
            self.outbox.send(Event::KeywordAdded(listened));
        }
        self.publish();
    }

    /// What stays keeps its handle, and if all of it stays nothing is touched: a word that is just being said is not
    /// missed for nothing.
    fn replace(&mut self, mut keywords: Vec<Keyword>) {
        let mut gone = Vec::new();
        for status in self.pipeline.spotter().keywords() {
            match keywords.iter().position(|k| k == status.keyword) {
                Some(index) => drop(keywords.remove(index)),
                None => gone.push(status.id),
            }
        }
        if !gone.is_empty() || !keywords.is_empty() {
            self.change(&gone, keywords);
        }
    }
}
