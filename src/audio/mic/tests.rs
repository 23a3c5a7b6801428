//! The microphone's ups and downs, with streams that need no sound system.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::*;
use crate::audio::{CaptureWriter, capture_ring_with};

/// A bound on hanging, not on speed.
const PATIENCE: Duration = Duration::from_mins(1);

const QUICK: Limits = Limits {
    first: Duration::from_millis(10),
    longest: Duration::from_millis(40),
    hang: Duration::from_millis(500),
    silence: Duration::from_millis(300),
    start: Duration::from_millis(300),
};

/// What an attempt to open comes to.
enum Attempt {
    /// A stream of that rate, whose closing waits for the channel.
    Opens(u32, Option<Receiver<()>>),
    /// Waits for the channel, then opens.
    Late(Receiver<()>),
    Fails,
    /// Waits for the channel, then fails.
    Hangs(Receiver<()>),
    Panics,
}

/// The other end of an opened stream.
struct Far {
    writer: CaptureWriter,
    tell: Sender<String>,
}

/// Waits for its channel to close when it is dropped.
struct Slow(Option<Receiver<()>>);

impl Drop for Slow {
    fn drop(&mut self) {
        if let Some(gate) = &self.0 {
            let _ = gate.recv();
        }
    }
}

struct System {
    attempts: Arc<AtomicUsize>,
    opened: Receiver<Far>,
}

impl System {
    /// Attempts come to these in turn; later ones fail.
    fn start(plan: Vec<Attempt>) -> (Self, MicSource, Result<(), AudioError>) {
        Self::within(PATIENCE, plan)
    }

    /// The first of them has so much time before the source is there without it.
    fn within(wait: Duration, plan: Vec<Attempt>) -> (Self, MicSource, Result<(), AudioError>) {
        // Where none hangs, one whose thread is late on a busy machine must not be left to itself.
        let hangs = plan.iter().any(|attempt| matches!(attempt, Attempt::Hangs(_)));
        let limits = Limits { hang: if hangs { QUICK.hang } else { PATIENCE }, ..QUICK };
        let (plan, attempts) = (Mutex::new(VecDeque::from(plan)), Arc::new(AtomicUsize::new(0)));
        let (give, opened) = bounded(16);
        let (levels, meter) = (Arc::<Levels>::default(), Arc::<DeviceMeter>::default());
        let (shared, own, counted) = (levels.clone(), meter.clone(), attempts.clone());
        let open: Open = Arc::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let next = plan.lock().expect("no panic").pop_front();
            let (rate, gate) = match next {
                Some(Attempt::Opens(rate, gate)) => (rate, gate),
                Some(Attempt::Late(gate)) => {
                    let _ = gate.recv();
                    (16_000, None)
                }
                Some(Attempt::Hangs(gate)) => {
                    let _ = gate.recv();
                    return Err(AudioError::Device("it hung".into()));
                }
                Some(Attempt::Panics) => panic!("on purpose"),
                Some(Attempt::Fails) | None => return Err(AudioError::Device("it is not there".into())),
            };
            let (writer, reader) = capture_ring_with(rate as usize, shared.clone());
            let (tell, failed) = bounded(1);
            give.send(Far { writer, tell }).expect("room");
            let (name, format) = ("a mic".into(), format!("{rate} Hz"));
            let stream: Option<Box<dyn Send>> = Some(Box::new(Slow(gate)));
            Ok(Opened { name, rate, format, reader, failed, stream, meter: own.clone() })
        });
        let (source, outcome) = MicSource::with(open, "mic", levels, meter, limits, wait);
        (Self { attempts, opened }, source, outcome)
    }

    /// The other end of the stream that is opened next; until then there is nothing to read.
    fn reopened(&self, source: &mut MicSource) -> Far {
        let mut far = None;
        idle_until(source, || {
            far = self.opened.try_recv().ok();
            far.is_some()
        });
        far.expect("it was opened")
    }

    fn far(&self) -> Far {
        self.opened.recv_timeout(PATIENCE).expect("it was opened")
    }
}

/// The next piece that is not idleness.
fn next(source: &mut MicSource) -> Chunk {
    let (started, mut out) = (Instant::now(), [0.0; 4_096]);
    while started.elapsed() < PATIENCE {
        match source.read(&mut out).expect("a microphone never fails for good") {
            Chunk::Idle => {}
            chunk => return chunk,
        }
    }
    panic!("nothing comes");
}

/// There is nothing to read until that has come true.
fn idle_until(source: &mut MicSource, mut ready: impl FnMut() -> bool) {
    let (started, mut out) = (Instant::now(), [0.0; 512]);
    loop {
        assert_eq!(source.read(&mut out).expect("it goes on"), Chunk::Idle);
        if ready() {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "it comes true in the end");
    }
}

/// Waits until no thread is left inside the sound system.
fn all_come_out(meter: &DeviceMeter) {
    let started = Instant::now();
    while meter.unclosed() > 0 {
        assert!(started.elapsed() < PATIENCE, "all come out in the end");
        thread::yield_now();
    }
}

#[test]
fn a_microphone_that_fails_is_opened_again_with_its_new_rate_and_the_missing_time() {
    let plan = vec![Attempt::Opens(48_000, None), Attempt::Fails, Attempt::Fails, Attempt::Opens(44_100, None)];
    let (system, mut source, outcome) = System::start(plan);
    outcome.expect("it opens");
    let meter = source.device().expect("a device");
    let mut far = system.far();
    far.writer.push(&[0.5; 480]);
    assert_eq!((next(&mut source), source.rate(), meter.up()), (Chunk::Samples(480), 48_000, true));
    let last = Instant::now();
    far.writer.push(&[0.5; 48]);
    far.tell.send("unplugged".into()).expect("room");
    assert_eq!(next(&mut source), Chunk::Samples(48), "what has come is heard first");
    assert_eq!(next(&mut source), Chunk::Away);
    assert_eq!(source.loss(), Some(Loss { device: "a mic".into(), reason: "unplugged".into() }));
    assert_eq!((meter.up(), meter.losses(), source.levels().expect("levels").peak()), (false, 1, 0.0));
    // It is opened, but not back before there is sound.
    let mut far = system.reopened(&mut source);
    assert!(!meter.up());
    far.writer.push(&[0.25; 441]);
    let Chunk::Back(missing) = next(&mut source) else { panic!("it is back") };
    // All but the 10 ms that are there.
    assert!(missing > Duration::from_millis(40) && missing <= last.elapsed(), "{missing:?}");
    assert_eq!((source.rate(), source.describe()), (44_100, "a mic (44100 Hz)".into()));
    assert_eq!((next(&mut source), meter.up(), source.loss()), (Chunk::Samples(441), true, None));
    assert_eq!(system.attempts.load(Ordering::SeqCst), 4);
}

#[test]
fn a_stream_that_falls_silent_is_lost_and_one_that_never_begins_is_tried_again() {
    let plan = vec![Attempt::Opens(16_000, None), Attempt::Opens(16_000, None), Attempt::Opens(16_000, None)];
    let (system, mut source, _) = System::start(plan);
    // The far end is kept: no error is told, nothing just comes any more.
    let mut first = system.far();
    first.writer.push(&[0.5; 160]);
    assert_eq!((next(&mut source), next(&mut source)), (Chunk::Samples(160), Chunk::Away));
    assert!(source.loss().is_some_and(|l| l.reason.contains("no sound came for 0.3 s")), "{:?}", source.loss());
    let mut opened = Vec::new();
    idle_until(&mut source, || {
        opened.extend(system.opened.try_iter());
        opened.len() >= 2
    });
    opened[1].writer.push(&[0.5; 160]);
    assert!(matches!(next(&mut source), Chunk::Back(_)));
    assert_eq!(source.device().map(|d| d.losses()), Some(1), "one loss, however often it was tried");
}

#[test]
fn neither_a_stream_that_cannot_be_closed_nor_an_attempt_that_hangs_holds_anything_up() {
    let ((stuck, closing), (hung, opening)) = (bounded::<()>(0), bounded::<()>(0));
    let plan = vec![Attempt::Opens(16_000, Some(closing)), Attempt::Hangs(opening), Attempt::Opens(16_000, None)];
    let (system, mut source, _) = System::start(plan);
    let far = system.far();
    far.tell.send("the server was killed".into()).expect("room");
    assert_eq!(next(&mut source), Chunk::Away);
    let meter = source.device().expect("a device");
    assert_eq!(meter.unclosed(), 1);
    let mut far = system.reopened(&mut source);
    far.writer.push(&[0.5; 160]);
    assert!(matches!(next(&mut source), Chunk::Back(_)));
    assert!(meter.unclosed() >= 2, "both are counted: {}", meter.unclosed());
    drop((stuck, hung));
    all_come_out(&meter);
}

#[test]
fn a_server_that_holds_on_to_every_attempt_is_not_given_more_and_more_of_them() {
    let (held, gate) = bounded::<()>(0);
    let mut plan = vec![Attempt::Opens(16_000, None)];
    plan.extend((0..4).map(|_| Attempt::Hangs(gate.clone())));
    plan.push(Attempt::Opens(16_000, None));
    let (system, mut source, _) = System::start(plan);
    system.far().tell.send("it hangs".into()).expect("room");
    assert_eq!(next(&mut source), Chunk::Away);
    idle_until(&mut source, || system.attempts.load(Ordering::SeqCst) >= 5);
    // Long enough for several more.
    let mut looks = 0;
    idle_until(&mut source, || {
        looks += 1;
        looks == 30
    });
    assert_eq!(system.attempts.load(Ordering::SeqCst), 5);
    drop(held);
    let mut far = system.reopened(&mut source);
    far.writer.push(&[0.5; 160]);
    assert!(matches!(next(&mut source), Chunk::Back(_)));
}

#[test]
fn attempts_that_hang_are_counted_over_all_losses_and_those_that_panic_are_over() {
    let (held, gate) = bounded::<()>(0);
    let hangs = |count: usize| (0..count).map(|_| Attempt::Hangs(gate.clone())).collect::<Vec<_>>();
    let opens = || vec![Attempt::Opens(16_000, None)];
    let panics = (0..5).map(|_| Attempt::Panics).collect();
    let plan = [opens(), panics, hangs(3), opens(), hangs(4)].into_iter().flatten().collect();
    let (system, mut source, _) = System::start(plan);
    system.far().tell.send("it hangs".into()).expect("room");
    assert_eq!(next(&mut source), Chunk::Away);
    let mut far = system.reopened(&mut source);
    far.writer.push(&[0.5; 160]);
    assert!(matches!(next(&mut source), Chunk::Back(_)));
    assert_eq!((next(&mut source), system.attempts.load(Ordering::SeqCst)), (Chunk::Samples(160), 10));
    // Three of them still hang when it is lost again: there is room for one.
    far.tell.send("again".into()).expect("room");
    assert_eq!(next(&mut source), Chunk::Away);
    let (started, mut out) = (Instant::now(), [0.0; 512]);
    while started.elapsed() < Duration::from_secs(2) {
        assert_eq!(source.read(&mut out).expect("it goes on"), Chunk::Idle);
    }
    assert_eq!(system.attempts.load(Ordering::SeqCst), 11);
    let meter = source.device().expect("a device");
    drop((held, source));
    all_come_out(&meter);
}

#[test]
fn what_was_dropped_just_before_a_loss_is_told_and_the_clock_goes_on_from_there() {
    let plan = vec![Attempt::Opens(16_000, None), Attempt::Opens(16_000, None)];
    let (system, mut source, _) = System::start(plan);
    let mut far = system.far();
    far.writer.push(&vec![0.5; 16_000]);
    far.writer.push(&[0.5; 800]);
    let last = Instant::now();
    // The reader comes late.
    thread::sleep(Duration::from_millis(200));
    assert_eq!(source.unread(), Unread { waiting: 16_000, lost: 800 });
    far.tell.send("unplugged".into()).expect("room");
    let (mut heard, mut out) = (0, [0.0; 4_096]);
    let told = loop {
        match source.read(&mut out).expect("it goes on") {
            Chunk::Samples(count) => heard += count,
            chunk => break chunk,
        }
    };
    assert_eq!((heard, told, next(&mut source)), (16_000, Chunk::Lost(800), Chunk::Away));
    assert_eq!(source.unread(), Unread::default());
    let mut far = system.reopened(&mut source);
    far.writer.push(&[0.5; 160]);
    let Chunk::Back(missing) = next(&mut source) else { panic!("it is back") };
    // From the last that came, not from when it was read; less the 10 ms that are there.
    assert!(missing + Duration::from_millis(11) > Duration::from_millis(200), "{missing:?}");
    assert!(missing <= last.elapsed(), "{missing:?}");
}

#[test]
fn a_microphone_that_is_not_there_yet_is_waited_for() {
    let (_, _, outcome) = System::start(vec![Attempt::Fails]);
    assert!(outcome.is_err_and(|e| e.to_string().contains("not there")));
    let (system, mut source, _) = System::start(vec![Attempt::Fails, Attempt::Fails, Attempt::Opens(48_000, None)]);
    assert_eq!(next(&mut source), Chunk::Away);
    let meter = source.device().expect("a device");
    assert_eq!((source.loss().map(|l| l.device), meter.losses()), (Some("mic".into()), 0), "it was never there");
    let mut far = system.reopened(&mut source);
    far.writer.push(&[0.5; 160]);
    assert!(matches!(next(&mut source), Chunk::Back(_)));
    assert_eq!((source.rate(), meter.up()), (48_000, true));
}

#[test]
fn a_first_attempt_that_hangs_or_panics_holds_up_nobody() {
    let (held, gate) = bounded::<()>(0);
    let plan = vec![Attempt::Hangs(gate), Attempt::Opens(16_000, None)];
    let (system, mut source, outcome) = System::within(Duration::from_millis(10), plan);
    let error = outcome.expect_err("it hangs").to_string();
    assert!(error.contains("does not answer") && error.contains("restart the sound server"), "{error}");
    assert_eq!(next(&mut source), Chunk::Away);
    assert!(source.loss().is_some_and(|l| l.reason.contains("does not answer")), "{:?}", source.loss());
    // It is left to itself, and the next one opens it.
    let mut far = system.reopened(&mut source);
    far.writer.push(&[0.5; 160]);
    assert!(matches!(next(&mut source), Chunk::Back(_)));
    let meter = source.device().expect("a device");
    assert_eq!((meter.unclosed(), meter.losses()), (1, 0));
    drop((held, source));
    all_come_out(&meter);
    let (_, _, outcome) = System::start(vec![Attempt::Panics]);
    assert!(outcome.is_err_and(|e| e.to_string().contains("a bug")));
}

#[test]
fn a_first_attempt_that_takes_its_time_is_waited_for_and_not_made_anew() {
    let (held, gate) = bounded::<()>(0);
    let (system, mut source, _) = System::within(Duration::from_millis(10), vec![Attempt::Late(gate)]);
    assert_eq!(next(&mut source), Chunk::Away);
    drop(held);
    let mut far = system.reopened(&mut source);
    far.writer.push(&[0.5; 160]);
    assert!(matches!(next(&mut source), Chunk::Back(_)));
    assert_eq!(system.attempts.load(Ordering::SeqCst), 1);
}

#[test]
fn a_reader_that_was_away_itself_does_not_take_that_for_silence() {
    let (system, mut source, _) = System::start(vec![Attempt::Opens(16_000, None)]);
    let mut far = system.far();
    far.writer.push(&[0.5; 160]);
    assert_eq!(next(&mut source), Chunk::Samples(160));
    let mut out = [0.0; 512];
    assert_eq!(source.read(&mut out).expect("it runs"), Chunk::Idle);
    // Longer than the silence that is allowed.
    thread::sleep(UNSEEN * 2);
    assert_eq!(source.read(&mut out).expect("it runs"), Chunk::Idle, "nobody looked, so nothing is known");
}
