//! Whether the program works and gets on, as whoever watches over it sees it.

use std::sync::Arc;

use kws_live::audio::DeviceMeter;
use kws_live::engine::Meters;

/// What is looked at.
pub struct Watched {
    /// For the number of detections.
    pub meters: Arc<Meters>,
    /// Whether it has begun to work.
    pub ready: Box<dyn Fn() -> bool + Send>,
    /// Whether it has got on since it was asked last.
    pub alive: Box<dyn FnMut() -> bool + Send>,
}

impl Watched {
    /// An engine: it works once there is sound, and as long as its worker turns.
    pub fn engine(meters: &Arc<Meters>) -> Self {
        let (sound, worker, mut last) = (meters.clone(), meters.clone(), 0);
        Self {
            meters: meters.clone(),
            ready: Box::new(move || sound.position() > 0 && sound.device().is_none_or(DeviceMeter::up)),
            alive: Box::new(move || std::mem::replace(&mut last, worker.turns()) != worker.turns()),
        }
    }
}
