//! Everything that can happen, in one queue.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use crossterm::event::{self as terminal, KeyEvent, KeyEventKind};
use kws_live::engine;

/// Time between two pictures: 25 a second.
pub const FRAME: Duration = Duration::from_millis(40);
/// How long the keyboard thread sleeps between two looks at whether it should end.
const PATIENCE: Duration = Duration::from_millis(100);

/// One thing that happened.
#[derive(Debug)]
pub enum Event {
    /// News from the engine.
    Engine(engine::Event),
    /// The worker is gone; if it did not say so before, it has panicked.
    Over,
    /// A key went down.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal has another size.
    Resize,
    /// Time for the next picture.
    Tick,
    /// The terminal is gone.
    Hangup,
}

/// Waits for events; a thread reads the keyboard.
pub struct Events {
    keys: Receiver<Event>,
    engine: Receiver<engine::Event>,
    due: Instant,
    over: Arc<AtomicBool>,
    keyboard: JoinHandle<()>,
}

impl Events {
    /// Starts to read the keyboard.
    pub fn new(engine: Receiver<engine::Event>) -> io::Result<Self> {
        let (give, keys) = bounded(64);
        let over = Arc::new(AtomicBool::new(false));
        let flag = over.clone();
        let keyboard = thread::Builder::new().name("kws-keys".into()).spawn(move || read_keys(&give, &flag))?;
        Ok(Self { keys, engine, due: Instant::now(), over, keyboard })
    }

    /// The next event; waits for it, at most until the next tick.
    pub fn next(&mut self) -> Event {
        let now = Instant::now();
        if now >= self.due {
            // From now and not from the last one: a terminal that is too slow must not be given bursts.
            self.due = now + FRAME;
            return Event::Tick;
        }
        select! {
            recv(self.keys) -> event => event.unwrap_or(Event::Hangup),
            recv(self.engine) -> event => if let Ok(event) = event {
                Event::Engine(event)
            } else {
                // Do not spin on an empty channel.
                self.engine = never();
                Event::Over
            },
            default(self.due - now) => self.next(),
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // On a terminal that was closed crossterm's poll never comes back: the thread is then left to the process's end.
        for _ in 0..30 {
            if self.keyboard.is_finished() {
                return;
            }
            thread::sleep(PATIENCE / 10);
        }
    }
}

fn read_keys(give: &Sender<Event>, over: &AtomicBool) {
    while !over.load(Ordering::Acquire) {
        let event = match terminal::poll(PATIENCE) {
            Ok(false) => continue,
            Ok(true) => terminal::read(),
            Err(error) => Err(error),
        };
        let event = match event {
            Ok(terminal::Event::Key(key)) if key.kind != KeyEventKind::Release => Event::Key(key),
            Ok(terminal::Event::Paste(text)) => Event::Paste(text),
            Ok(terminal::Event::Resize(..)) => Event::Resize,
            Ok(_) => continue,
            Err(error) => {
                log::error!("the terminal cannot be read: {error}");
                Event::Hangup
            }
        };
        let last = matches!(event, Event::Hangup);
        // A full queue means that keys come faster than pictures; the rest can wait in the terminal's own buffer.
        if give.send(event).is_err() || last {
            return;
        }
    }
}
