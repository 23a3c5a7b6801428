//! The engine on a scripted source, with small stand-ins for the networks: no weights, no microphone.

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;
use crate::audio::{Chunk, Unread};
use crate::detect::{Embedding, Pronunciation, ScorerConfig, WindowEmbedder};
use crate::frontend::FrontendConfig;
use crate::model::{Encoder, EncoderOutput, EncoderSpec, ModelError};
use crate::spotter::SpotterConfig;
use crate::text::{CLASSES, Phone};

/// Tells loud frames from quiet ones, the room before the stream among them: the projection points up in the first, sideways in the others.
struct Loudness(EncoderSpec);

impl Encoder for Loudness {
    fn spec(&self) -> &EncoderSpec {
        &self.0
    }

    fn encode(&mut self, features: &[f32], out: &mut EncoderOutput) -> Result<(), ModelError> {
        let frame = self.0.mels * self.0.stride;
        out.frames = features.len() / frame;
        out.phones.clear();
        out.proj.clear();
        for frame in features.chunks_exact(frame) {
            let loud = frame.iter().sum::<f32>() / frame.len() as f32 > -2.0;
            out.proj.extend(if loud { [1.0, 0.0] } else { [0.0, 1.0] });
            out.phones.extend([0.0; CLASSES]);
        }
        Ok(())
    }

    fn reset(&mut self) {}
}

struct Same;

impl WindowEmbedder for Same {
    fn dim(&self) -> usize {
        2
    }

    fn embed(&mut self, pooled: &[f32], out: &mut [f32]) -> Result<(), ModelError> {
        out.copy_from_slice(pooled);
        Ok(())
    }
}

fn keyword(name: &str) -> Keyword {
    let embedding = Embedding::new(vec![1.0, 0.0]).expect("a direction");
    let phones = vec![Phone::from_id(1).expect("a phone"); 3];
    Keyword {
        name: name.into(),
        pronunciations: vec![Pronunciation { phones, embedding, frames: Some((6.0, 6.0)), level: None }],
        threshold: None,
    }
}

fn spotter(keywords: &[&str]) -> Spotter {
    let spec =
        EncoderSpec { mels: 40, stride: 3, delay_frames: 0, memory_frames: 0, classes: CLASSES, parts: 1, part_dim: 2 };
    // Without the running mean, so that a level is a level.
    let frontend = FrontendConfig { norm_seconds: 0.0, ..FrontendConfig::default() };
    let scorer = ScorerConfig { window_frames: vec![6], fusion: [0.0, 1.0, 0.0, 0.0], ..ScorerConfig::default() };
    let mut spotter =
        Spotter::from_parts(&frontend, Box::new(Loudness(spec)), Box::new(Same), scorer, SpotterConfig::default())
            .expect("a good front end");
    for name in keywords {
        spotter.add(keyword(name));
    }
    spotter
}

enum Part {
    /// So many samples, loud or quiet.
    Sound(usize, bool),
    Lost(u64),
    /// The device goes, and comes back after so long with this rate.
    Away,
    Back(Duration, u32),
    Idle,
    Fail,
    /// Waits here until the switch is thrown.
    Gate(Arc<AtomicUsize>, usize),
}

struct Script {
    parts: Mutex<std::vec::IntoIter<Part>>,
    left: Option<(usize, bool)>,
    rate: u32,
    live: bool,
    seed: u32,
    unread: Unread,
}

fn script(parts: Vec<Part>) -> Script {
    Script {
        parts: Mutex::new(parts.into_iter()),
        left: None,
        rate: 16_000,
        live: false,
        seed: 1,
        unread: Unread::default(),
    }
}

impl AudioSource for Script {
    fn rate(&self) -> u32 {
        self.rate
    }

    fn read(&mut self, out: &mut [f32]) -> Result<Chunk, AudioError> {
        if self.left.is_none() {
            let next = self.parts.get_mut().expect("one thread").next();
            match next {
                None => return Ok(Chunk::End),
                Some(Part::Lost(n)) => return Ok(Chunk::Lost(n)),
                Some(Part::Away) => return Ok(Chunk::Away),
                Some(Part::Back(away, rate)) => {
                    self.rate = rate;
                    return Ok(Chunk::Back(away));
                }
                Some(Part::Idle) => return Ok(Chunk::Idle),
                Some(Part::Fail) => {
                    return Err(AudioError::Lost { device: "the script".into(), reason: "it says so\nhere".into() });
                }
                Some(Part::Gate(gate, at)) => {
                    until(|| gate.load(Ordering::Acquire) >= at);
                    return Ok(Chunk::Idle);
                }
                Some(Part::Sound(n, loud)) => self.left = Some((n, loud)),
            }
        }
        let Some((n, loud)) = self.left else { return Ok(Chunk::Idle) };
        let count = n.min(out.len()).min(480);
        for sample in &mut out[..count] {
            self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (self.seed >> 8) as f32 / (1 << 23) as f32 - 1.0;
            *sample = noise * if loud { 0.5 } else { 1e-4 };
        }
        self.left = (n > count).then_some((n - count, loud));
        Ok(Chunk::Samples(count))
    }

    fn describe(&self) -> String {
        "a script".into()
    }

    fn live(&self) -> bool {
        self.live
    }

    fn unread(&self) -> Unread {
        self.unread
    }

    fn loss(&self) -> Option<Loss> {
        Some(Loss { device: "the script".into(), reason: "it says so".into() })
    }
}

const SECOND: usize = 16_000;

fn word_at(second: usize) -> Vec<Part> {
    vec![Part::Sound(second * SECOND, false), Part::Sound(SECOND / 2, true), Part::Sound(SECOND, false)]
}

/// Waits for what has to come true; fails after a minute.
fn until(what: impl Fn() -> bool) {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < Duration::from_mins(1), "it never came true");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs to the end; all events.
fn start(source: Script, keywords: &[&str], config: &EngineConfig) -> Engine {
    Engine::start(Box::new(source), spotter(keywords), None, config).expect("threads")
}

fn run(source: Script, keywords: &[&str], config: &EngineConfig) -> (Vec<Event>, Engine) {
    let engine = start(source, keywords, config);
    let events = engine.events().iter().collect();
    (events, engine)
}

fn hits(events: &[Event]) -> Vec<(f64, f64)> {
    let detections = events.iter().filter_map(|e| match e {
        Event::Detection(hit) => Some((seconds(hit.start), seconds(hit.end))),
        _ => None,
    });
    detections.collect()
}

#[test]
fn a_word_comes_out_once_with_its_time_and_then_the_end() {
    let (events, mut engine) = run(script(word_at(2)), &["word"], &EngineConfig::default());
    let found = hits(&events);
    assert_eq!(found.len(), 1, "{events:?}");
    assert!(found[0].0 > 1.9 && found[0].1 < 2.6, "{found:?}");
    assert!(matches!(events.last(), Some(Event::Ended)));
    assert_eq!((engine.meters().detections(), engine.meters().position()), (1, 56_000));
    assert!(engine.meters().latency().is_some_and(|l| l > 0.0));
    assert!(engine.meters().levels().first_audio().is_some());
    engine.stop().expect("it ended well");
}

#[test]
fn a_word_at_the_very_end_is_let_out() {
    let parts = vec![Part::Sound(SECOND, false), Part::Sound(SECOND / 3, true)];
    assert_eq!(hits(&run(script(parts), &["word"], &EngineConfig::default()).0).len(), 1);
}

#[test]
fn a_gap_moves_the_clock_and_is_told() {
    let mut parts = vec![Part::Sound(SECOND, false), Part::Lost(3 * SECOND as u64), Part::Idle];
    parts.extend(word_at(1));
    let (events, engine) = run(script(parts), &["word"], &EngineConfig::default());
    let found = hits(&events);
    assert!(found.len() == 1 && found[0].0 > 4.9 && found[0].1 < 5.6, "{found:?}");
    assert!(events.iter().any(|e| matches!(e, Event::Gap { lost: 48_000 })));
    assert_eq!(engine.meters().lost(), 48_000);
}

#[test]
fn a_gap_at_another_rate_is_as_long_in_seconds() {
    let mut source = script(vec![
        Part::Sound(48_000, false),
        Part::Lost(144_000),
        Part::Sound(48_000, false),
        Part::Sound(24_000, true),
        Part::Sound(48_000, false),
    ]);
    source.rate = 48_000;
    let (events, engine) = run(source, &["word"], &EngineConfig::default());
    let found = hits(&events);
    assert!(found.len() == 1 && found[0].0 > 4.9 && found[0].1 < 5.6, "{found:?}");
    assert_eq!(engine.meters().position(), 104_000);
}

#[test]
fn a_device_that_was_away_goes_on_at_the_right_time_with_another_rate() {
    let mut parts = word_at(2);
    // A word just before the loss, which must not wait for the device.
    parts.push(Part::Sound(SECOND / 3, true));
    let gate = Arc::new(AtomicUsize::new(0));
    parts.extend([Part::Away, Part::Gate(gate.clone(), 1), Part::Back(Duration::from_millis(2_500), 48_000)]);
    parts.extend([Part::Sound(48_000, false), Part::Sound(24_000, true), Part::Sound(48_000, false)]);
    let config = EngineConfig { clips: Some(ClipConfig::default()), ..EngineConfig::default() };
    let engine = start(script(parts), &["word"], &config);
    let clips = engine.clips().expect("they were asked for").clone();
    let mut events = Vec::new();
    for event in engine.events() {
        let lost = matches!(event, Event::DeviceLost { .. });
        events.push(event);
        if lost {
            assert_eq!(hits(&events).len(), 2, "both words are out: {events:?}");
            gate.store(1, Ordering::Release);
        }
    }
    // 3.5 s and a third were heard, 2.5 s are missing, then comes a second before the word.
    let found = hits(&events);
    assert!(found.len() == 3 && found[2].0 > 7.2 && found[2].1 < 7.95, "{found:?}");
    assert_eq!((engine.meters().position(), engine.meters().lost()), (61_333 + 40_000 + 40_000, 120_000));
    let lost =
        events.iter().find_map(|e| if let Event::DeviceLost { loss, at } = e { Some((loss, *at)) } else { None });
    assert!(lost.is_some_and(|(loss, at)| loss.reason == "it says so" && at == 61_333), "{lost:?}");
    let back = events
        .iter()
        .any(|e| matches!(e, Event::DeviceBack { device, lost: 120_000, at: 101_333, .. } if device == "the script"));
    assert!(back, "{events:?}");
    assert!(!events.iter().any(|e| matches!(e, Event::Gap { .. })), "it is not the machine that was too slow");
    let starts: Vec<u64> = clips.iter().map(|c| c.start).collect();
    assert!(starts.len() == 3 && starts[2] >= 101_333, "no clip reaches over the gap: {starts:?}");
    assert!(engine.meters().turns() > 0);
}

#[test]
fn a_failing_source_fails_in_one_line() {
    let (events, mut engine) =
        run(script(vec![Part::Sound(100, false), Part::Fail]), &["word"], &EngineConfig::default());
    assert!(matches!(events.last(), Some(Event::Failed(reason)) if reason.contains("it says so here")), "{events:?}");
    assert!(matches!(engine.stop(), Err(EngineError::Audio(_))));
}

#[test]
fn a_source_that_fails_takes_no_words_with_it() {
    let parts = || vec![Part::Sound(SECOND, false), Part::Sound(SECOND / 3, true), Part::Fail];
    let config = EngineConfig { clips: Some(ClipConfig::default()), ..EngineConfig::default() };
    let (events, mut engine) = run(script(parts()), &["word"], &config);
    assert_eq!(hits(&events).len(), 1, "{events:?}");
    assert!(matches!(events.last(), Some(Event::Failed(_))));
    let clips = engine.clips().map_or(0, |clips| clips.iter().count());
    assert_eq!(clips, 1, "and its sound comes out too");
    assert!(engine.stop().is_err());
    let mut pipeline = Pipeline::new(Box::new(script(parts())), spotter(&["word"])).map_err(|e| e.0).expect("its rate");
    let mut words = 0;
    assert!(pipeline.run(|_| words += 1).is_err());
    assert_eq!(words, 1);
}

#[test]
fn what_waits_in_the_ring_is_heard_at_the_stop_and_what_was_dropped_is_counted() {
    let gate = Arc::new(AtomicUsize::new(0));
    let parts = vec![Part::Sound(SECOND, false), Part::Gate(gate.clone(), 1), Part::Sound(SECOND / 3, true)];
    let unread = Unread { waiting: SECOND as u64 / 3, lost: 100 };
    let mut engine = start(Script { live: true, unread, ..script(parts) }, &["word"], &EngineConfig::default());
    until(|| engine.meters().position() >= SECOND as u64);
    engine.stop_handle().stop();
    gate.store(1, Ordering::Release);
    let events: Vec<Event> = engine.events().iter().collect();
    assert_eq!(hits(&events).len(), 1, "{events:?}");
    assert!(events.iter().any(|e| matches!(e, Event::Gap { lost: 100 })));
    let meters = engine.meters();
    assert_eq!((meters.lost(), meters.position()), (100, (SECOND + SECOND / 3 + 100) as u64));
    engine.stop().expect("it ended well");
}

#[test]
fn a_ui_that_does_not_read_loses_events_but_not_the_count() {
    let gate = Arc::new(AtomicUsize::new(0));
    let mut parts = Vec::new();
    for _ in 0..5 {
        parts.extend(word_at(2));
    }
    parts.push(Part::Gate(gate.clone(), 1));
    let config = EngineConfig { event_capacity: 2, ..EngineConfig::default() };
    let mut engine = start(script(parts), &["word"], &config);
    // All is heard, the quiet after the last word too: keywords that come sooner may still find that word.
    until(|| engine.meters().dropped_events() >= 3 && engine.meters().position() >= (5 * 7 * SECOND / 2) as u64);
    let new: Vec<_> = (0..8).map(|i| keyword(&format!("other {i}"))).collect();
    engine.keywords_handle().replace(new).expect("there is room");
    gate.store(1, Ordering::Release);
    until(|| engine.worker.as_ref().is_none_or(JoinHandle::is_finished));
    let events: Vec<Event> = engine.events().iter().collect();
    assert_eq!((hits(&events).len(), engine.meters().detections()), (2, 5));
    let told = |what: fn(&Event) -> bool| events.iter().filter(|e| what(e)).count();
    let removed = told(|e| matches!(e, Event::KeywordRemoved(_)));
    assert_eq!((removed, told(|e| matches!(e, Event::KeywordAdded(_)))), (1, 8), "what is listened for is always told");
    assert!(matches!(events.last(), Some(Event::Ended)), "the end comes through: {events:?}");
    engine.stop().expect("it ended well");
}

#[test]
fn a_worker_that_waits_loses_nothing() {
    let mut parts = Vec::new();
    for _ in 0..5 {
        parts.extend(word_at(2));
    }
    let config = EngineConfig { event_capacity: 1, delivery: Delivery::Wait, ..EngineConfig::default() };
    assert_eq!(hits(&run(script(parts), &["word"], &config).0).len(), 5);
}

#[test]
fn an_end_that_nobody_takes_is_no_event_that_was_dropped() {
    let config = EngineConfig { event_capacity: 1, delivery: Delivery::Wait, ..EngineConfig::default() };
    let mut engine = start(script(word_at(2)), &["word"], &config);
    // The one place is taken by the word, and nobody reads before the worker has given up.
    until(|| matches!(engine.send(Command::Resume), Err(EngineError::Over)));
    let events: Vec<Event> = engine.events().iter().collect();
    assert_eq!((hits(&events).len(), engine.meters().dropped_events()), (1, 0));
    engine.stop().expect("it has ended in order");
}

#[test]
fn a_stop_ends_an_endless_stream_also_when_nobody_reads() {
    for delivery in [Delivery::Drop, Delivery::Wait] {
        let mut source = script(vec![Part::Sound(usize::MAX, true)]);
        source.live = true;
        let config = EngineConfig { event_capacity: 1, delivery, ..EngineConfig::default() };
        let engine = start(source, &["word"], &config);
        engine.send(Command::Stop).expect("a stop is always taken");
        drop(engine);
    }
}

#[test]
fn the_limit_ends_it_and_lets_the_last_word_out() {
    let parts = vec![Part::Sound(SECOND, false), Part::Sound(SECOND, true), Part::Sound(usize::MAX, false)];
    let config = EngineConfig { limit: Some(Duration::from_secs_f64(1.5)), ..EngineConfig::default() };
    let (events, engine) = run(script(parts), &["word"], &config);
    assert_eq!(hits(&events).len(), 1);
    assert!((24_000..26_000).contains(&engine.meters().position()));
}

#[test]
fn keywords_come_and_go_while_it_runs() {
    let gate = Arc::new(AtomicUsize::new(0));
    let mut parts = word_at(1);
    parts.push(Part::Gate(gate.clone(), 1));
    parts.extend(word_at(1));
    parts.push(Part::Gate(gate.clone(), 2));
    parts.extend(word_at(1));
    let engine = start(script(parts), &["word"], &EngineConfig::default());
    let first = engine.keywords()[0].clone();
    let hit = engine.events().recv().expect("the first word");
    assert!(matches!(hit, Event::Detection(_)), "{hit:?}");
    engine.send(Command::Remove(first.id)).expect("there is room");
    engine.send(Command::Remove(first.id)).expect("twice is no harm");
    engine.orders.send(Order::Add(keyword("other"))).expect("it runs");
    engine.orders.send(Order::Add(keyword("OTHER"))).expect("it runs");
    gate.store(1, Ordering::Release);
    let (mut told, mut heard) = (Vec::new(), Vec::new());
    while let Ok(event) = engine.events().recv_timeout(Duration::from_mins(1)) {
        match event {
            Event::KeywordRemoved(id) => told.push(format!("- {}", id.0)),
            Event::KeywordAdded(l) => {
                told.push(format!("+ {}", l.name));
                engine.send(Command::SetThreshold(l.id, 1.0)).expect("there is room");
            }
            Event::KeywordRefused { text, .. } => told.push(format!("! {text}")),
            Event::Detection(hit) => heard.push(hit),
            _ => {}
        }
        if told.len() == 3 {
            gate.store(2, Ordering::Release);
        }
    }
    gate.store(2, Ordering::Release);
    assert_eq!(told, ["- 0", "+ other", "! OTHER"]);
    // The second word is heard or not, as the threshold comes before or after it; the third is below it.
    let sounds = word_at(1).into_iter().map(|part| if let Part::Sound(count, _) = part { count as u64 } else { 0 });
    let third = 2 * sounds.sum::<u64>();
    assert!(heard.iter().all(|hit| &*hit.name == "other" && hit.start < third), "{heard:?}");
}

#[test]
fn the_sensitivity_moves_while_it_runs() {
    let gate = Arc::new(AtomicUsize::new(0));
    let engine = start(script(vec![Part::Gate(gate.clone(), 1)]), &["word"], &EngineConfig::default());
    let meter = engine.keywords()[0].meter.clone();
    until(|| meter.threshold() > 0.0);
    assert!(meter.threshold() < 0.6, "{}", meter.threshold());
    engine.send(Command::SetSensitivity(0.0)).expect("there is room");
    gate.store(1, Ordering::Release);
    assert!(matches!(engine.events().iter().last(), Some(Event::Ended)));
    assert!(meter.threshold() > 0.98, "{}", meter.threshold());
}

#[test]
fn a_paused_file_waits_and_a_paused_microphone_goes_unheard() {
    let gate = Arc::new(AtomicUsize::new(0));
    let mut parts = vec![Part::Gate(gate.clone(), 1)];
    parts.extend(word_at(1));
    parts.push(Part::Gate(gate.clone(), 2));
    parts.extend(word_at(1));
    let mut source = script(parts);
    source.live = true;
    let engine = start(source, &["word"], &EngineConfig::default());
    engine.send(Command::Pause).expect("there is room");
    gate.store(1, Ordering::Release);
    until(|| engine.meters().position() >= 40_000);
    engine.send(Command::Resume).expect("there is room");
    gate.store(2, Ordering::Release);
    let found = hits(&engine.events().iter().collect::<Vec<_>>());
    assert!(found.len() == 1 && found[0].0 > 3.4, "only the second word: {found:?}");

    let engine = start(script(vec![Part::Sound(usize::MAX, false)]), &["word"], &EngineConfig::default());
    engine.send(Command::Pause).expect("there is room");
    // It stands still once the order has been read: two equal positions a nap apart.
    let last = Cell::new(u64::MAX);
    until(|| {
        thread::sleep(Duration::from_millis(120));
        last.replace(engine.meters().position()) == engine.meters().position()
    });
    engine.send(Command::Resume).expect("there is room");
    until(|| engine.meters().position() > last.get());
}

#[test]
fn commands_that_cannot_be_taken_say_so() {
    let (_, mut engine) = run(script(vec![]), &["word"], &EngineConfig::default());
    engine.stop().expect("it ended well");
    assert!(matches!(engine.send(Command::AddKeyword("stop".into())), Err(EngineError::Over)));
    let gate = Arc::new(AtomicUsize::new(0));
    let engine = start(script(vec![Part::Gate(gate.clone(), 1)]), &[], &EngineConfig::default());
    assert!(matches!(engine.send(Command::AddKeyword("stop".into())), Err(EngineError::NoEnroller)));
    let full = (0..4 * COMMANDS).find_map(|_| engine.send(Command::Pause).err());
    gate.store(1, Ordering::Release);
    assert!(matches!(full, Some(EngineError::Busy)), "{full:?}");
}

#[test]
fn the_sound_of_a_word_comes_out_as_it_went_in() {
    let config =
        EngineConfig { delivery: Delivery::Wait, clips: Some(ClipConfig::default()), ..EngineConfig::default() };
    let mut parts = word_at(2);
    parts.push(Part::Lost(SECOND as u64));
    parts.extend(word_at(1));
    let mut same =
        script(vec![Part::Sound(2 * SECOND, false), Part::Sound(SECOND / 2, true), Part::Sound(SECOND, false)]);
    let mut sound = vec![0.0; 56_000];
    let mut at = 0;
    while let Ok(Chunk::Samples(count)) = same.read(&mut sound[at..]) {
        at += count;
        if at == sound.len() {
            break;
        }
    }
    let engine = start(script(parts), &["word"], &config);
    let clips = engine.clips().expect("they were asked for").clone();
    let found = hits(&engine.events().iter().collect::<Vec<_>>());
    let clips: Vec<Clip> = clips.iter().collect();
    assert_eq!((found.len(), clips.len()), (2, 2));
    let (first, second) = (&clips[0], &clips[1]);
    assert_eq!(first.start, first.detection.start - SECOND as u64);
    assert_eq!(first.samples().len() as u64, first.detection.end + 8_000 - first.start);
    let from = first.start as usize;
    let exact = first.samples().iter().zip(&sound[from..]).all(|(s, want)| f32::from(*s) == (want * 32_768.0).round());
    assert!(exact, "16 kHz goes through unchanged");
    // The second word came a second after the gap: nothing of the time before is in its clip.
    assert!(second.start >= 72_000 && second.detection.end > 88_000, "{} {}", second.start, second.detection.end);
    assert_eq!(engine.meters().lost_clips(), 0);
}

#[test]
fn clips_that_nobody_takes_do_not_hold_up_the_stream() {
    let clips = Some(ClipConfig { buffers: 1, ..ClipConfig::default() });
    let parts: Vec<Part> = (0..4).flat_map(|_| word_at(2)).collect();
    let engine = start(script(parts), &["word"], &EngineConfig { clips, ..EngineConfig::default() });
    assert_eq!(hits(&engine.events().iter().collect::<Vec<_>>()).len(), 4);
    assert_eq!(engine.meters().lost_clips(), 3);
}

#[test]
fn keywords_are_replaced_in_a_running_stream_and_what_stays_is_untouched() {
    let gate = Arc::new(AtomicUsize::new(0));
    let mut parts = word_at(2);
    parts.push(Part::Gate(gate.clone(), 1));
    parts.extend(word_at(2));
    let engine = start(script(parts), &["stays", "goes"], &EngineConfig::default());
    let handle = engine.keywords_handle();
    handle.replace(vec![keyword("new"), keyword("stays")]).expect("there is room");
    gate.store(1, Ordering::Release);
    let events: Vec<Event> = engine.events().iter().collect();
    let stays = engine.keywords()[0].id;
    let removed: Vec<KeywordId> =
        events.iter().filter_map(|e| if let Event::KeywordRemoved(id) = e { Some(*id) } else { None }).collect();
    let added: Vec<&str> =
        events.iter().filter_map(|e| if let Event::KeywordAdded(l) = e { Some(&*l.name) } else { None }).collect();
    assert_eq!((removed, added), (vec![engine.keywords()[1].id], vec!["new"]));
    let last: Vec<_> = events.iter().filter_map(|e| if let Event::Detection(d) = e { Some(d) } else { None }).collect();
    assert!(last.iter().any(|d| d.keyword == stays && d.start > 80_000), "{last:?}");
    assert!(last.iter().all(|d| &*d.name != "goes" || d.start < 56_000), "{last:?}");
    assert_eq!(engine.meters().position(), 112_000, "no sample was lost");
}
