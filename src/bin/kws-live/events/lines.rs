//! Lines on stdout, for people or for programs.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Receiver;

use super::{Notice, Sink};
use crate::output::print;
use crate::service::signals::Stop;

/// Prints detections. A reader that leaves ends the stream, which is no error.
pub struct Lines {
    json: bool,
    listening: Stop,
    failed: Failed,
}

/// Why stdout could not be written, once that is so.
#[derive(Debug, Clone, Default)]
pub struct Failed(Arc<Mutex<Option<io::Error>>>);

impl Failed {
    /// The error, if there was one.
    pub fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Lines {
    /// Objects or lines for people; `listening` is stopped when nobody reads any more.
    pub fn new(json: bool, listening: Stop) -> Self {
        Self { json, listening, failed: Failed::default() }
    }

    /// What went wrong, to be asked at the end.
    pub fn failed(&self) -> Failed {
        self.failed.clone()
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
                Notice::Detection { record, .. } if self.json => record.json(),
                Notice::Detection { record, .. } => record.human(),
                // People are told on stderr.
                Notice::Device(record) if self.json => record.json(),
                _ => continue,
            };
            if !read {
                continue;
            }
            let outcome = print(&line);
            read = matches!(outcome, Ok(true));
            if let Err(error) = outcome {
                *self.failed.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            if !read {
                self.listening.stop();
            }
        }
    }
}
