//! Lines on stdout, for people or for programs.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Receiver;

use super::{Notice, Sink};
use crate::output::print;
use crate::service::signals::Stop;

/// Prints detections. A reader that leaves ends the stream, which is no error.
pub struct Lines {
    json: bool,
    listening: Stop,
    stdout: Stdout,
}

/// How stdout does, to be asked from outside.
#[derive(Debug, Clone, Default)]
pub struct Stdout(Arc<State>);

#[derive(Debug, Default)]
struct State {
    failed: Mutex<Option<io::Error>>,
    /// Whether a line has begun and its end is not taken.
    writing: AtomicBool,
}

impl Stdout {
    /// Why it could not be written, if that is so.
    pub fn error(&self) -> Option<io::Error> {
        self.failed().take()
    }

    /// Lines that are in the hand of one that is left behind.
    pub fn left(&self) -> u64 {
        u64::from(self.0.writing.load(Ordering::Acquire))
    }

    fn failed(&self) -> MutexGuard<'_, Option<io::Error>> {
        self.0.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False if nobody reads any more.
    fn print(&self, line: &str) -> bool {
        self.0.writing.store(true, Ordering::Release);
        let outcome = print(line);
        self.0.writing.store(false, Ordering::Release);
        let read = matches!(outcome, Ok(true));
        if let Err(error) = outcome {
            *self.failed() = Some(error);
        }
        read
    }
}

impl Lines {
    /// Objects or lines for people; `listening` is stopped when nobody reads any more.
    pub fn new(json: bool, listening: Stop) -> Self {
        Self { json, listening, stdout: Stdout::default() }
    }

    /// How stdout does, to be asked at the end.
    pub fn stdout(&self) -> Stdout {
        self.stdout.clone()
    }
}

impl Sink for Lines {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn run(self: Box<Self>, notices: Receiver<Notice>) {
        let mut read = true;
        // To the end also when nobody reads: what is published must not wait for a queue that nobody empties.
        for notice in notices {
            let line = match notice {
                Notice::Detection(record) if self.json => record.json(),
                Notice::Detection(record) => record.human(),
                // People are told on stderr.
                Notice::Device(record) if self.json => record.json(),
                _ => continue,
            };
            if !read {
                continue;
            }
            read = self.stdout.print(&line);
            if !read {
                self.listening.stop();
            }
        }
    }
}
