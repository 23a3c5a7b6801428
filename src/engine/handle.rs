//! Handles on a running engine, for other threads than the one that owns it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::Sender;

use super::worker::Order;
use super::{EngineError, Meters, refused};
use crate::detect::Keyword;

/// Ends an engine from anywhere, such as a signal handler's thread.
#[derive(Debug, Clone)]
pub struct StopHandle(pub(super) Arc<Meters>);

impl StopHandle {
    /// As [`super::Command::Stop`]; cannot fail and does not wait.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

/// Changes what an engine listens for, from anywhere.
#[derive(Debug, Clone)]
pub struct KeywordsHandle(pub(super) Sender<Order>);

impl KeywordsHandle {
    /// Listens for exactly these from now on; the stream goes on. A keyword that is there already and the same keeps its
    /// handle, its meter and its best score; the others come as [`super::Event::KeywordRemoved`] and
    /// [`super::Event::KeywordAdded`]. If there are any, the phones heard so far are forgotten for all: a word that is
    /// being said just then may be missed. Does not wait.
    ///
    /// # Errors
    /// [`EngineError::Busy`] or [`EngineError::Over`] if it was not taken.
    pub fn replace(&self, keywords: Vec<Keyword>) -> Result<(), EngineError> {
        self.0.try_send(Order::Replace(keywords)).map_err(|e| refused(&e))
    }
}
