//! From peaks of scores to detections: what belongs to one keyword, and which of several keywords a stretch of sound is.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Best, Detection, KeywordId};
use crate::detect::{Keyword, Peak, Trigger};

/// A keyword that is listened for.
pub(super) struct Slot {
    pub(super) id: KeywordId,
    pub(super) name: Arc<str>,
    pub(super) keyword: Keyword,
    pub(super) threshold: Option<f32>,
    pub(super) trigger: Trigger,
    /// The same at the threshold of near misses.
    pub(super) near: Trigger,
    pub(super) score: f32,
    pub(super) best: Option<Best>,
}

impl Slot {
    pub(super) fn detection(&self, peak: Peak, clock: Clock) -> Detection {
        Detection {
            keyword: self.id,
            name: self.name.clone(),
            score: peak.score,
            start: clock.samples(peak.start),
            end: clock.samples(peak.end),
            emitted: clock.position,
        }
    }

    /// Takes a frame's score for near misses: a peak over `least` that stays under the keyword's own `threshold`.
    pub(super) fn near_miss(&mut self, frame: u64, now: Peak, least: f32, threshold: f32) -> Option<Peak> {
        self.near.step(frame, now, least.min(threshold)).filter(|peak| peak.score < threshold)
    }
}

/// From scored frames to samples since stream start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// Sample of the stream at which the first frame after the warm-up begins.
    pub(super) origin: u64,
    pub(super) frame: u64,
    pub(super) warm: u64,
    pub(super) position: u64,
}

impl Clock {
    /// What lies before the origin is moved to it.
    pub(super) fn samples(self, frame: u64) -> u64 {
        self.origin + frame.saturating_sub(self.warm) * self.frame
    }
}

/// Whether `other` lies where `peak` does, and higher.
fn better(other: &Peak, peak: &Peak) -> bool {
    other.score > peak.score && other.overlaps(peak)
}

/// Whether another keyword, or one of the last detections, explains better what a keyword's peak lies on.
pub(super) fn explained(slots: &[Slot], recent: &VecDeque<Peak>, keyword: usize, peak: &Peak) -> bool {
    let mut others = slots.iter().enumerate().filter(|(k, _)| *k != keyword);
    others.any(|(_, s)| s.trigger.open().is_some_and(|p| better(&p, peak))) || recent.iter().any(|p| better(p, peak))
}

/// Hands out a frame's completed peaks, less those that another keyword explains better.
pub(super) fn emit(
    slots: &[Slot],
    hits: &mut Vec<(usize, Peak)>,
    recent: &mut VecDeque<Peak>,
    clock: Clock,
    on_hit: &mut impl FnMut(&Detection),
) {
    for &(keyword, peak) in hits.iter() {
        let together = hits.iter().any(|(k, p)| *k != keyword && better(p, &peak));
        if together || explained(slots, recent, keyword, &peak) {
            continue;
        }
        remember(recent, peak);
        on_hit(&slots[keyword].detection(peak, clock));
    }
    hits.clear();
}

/// Detections remembered to judge overlaps, and near misses that wait to be taken.
pub(super) const RECENT: usize = 32;

/// Puts one more at the end; the oldest goes where there is no room.
pub(super) fn remember<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == RECENT {
        queue.pop_front();
    }
    queue.push_back(item);
}
