//! From peaks of scores to detections: what belongs to one keyword, and which of several keywords a stretch of sound is.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Best, Detection, KeywordId};
use crate::detect::{Keyword, Peak, Trigger};
use crate::search::highest;

/// A keyword that is listened for.
pub(super) struct Slot {
    pub(super) id: KeywordId,
    pub(super) name: Arc<str>,
    pub(super) keyword: Keyword,
    pub(super) threshold: Option<f32>,
    pub(super) trigger: Trigger,
    /// The same at the threshold of near misses.
    pub(super) near: Trigger,
    /// In a search, the frames that may be the keyword and that what is still to come may lie near.
    gathered: Vec<Peak>,
    pub(super) score: f32,
    pub(super) best: Option<Best>,
}

/// Frames after which nothing that is still to be heard lies near a gathered one (6 s): no window is so long.
const SETTLED: u64 = 200;

impl Slot {
    pub(super) fn new(id: KeywordId, keyword: Keyword) -> Self {
        let (trigger, near) = (Trigger::default(), Trigger::default());
        let (name, threshold) = (keyword.name.as_str().into(), keyword.threshold);
        Self { id, name, keyword, threshold, trigger, near, gathered: Vec::new(), score: 0.0, best: None }
    }

    /// Forgets what is open.
    pub(super) fn forget(&mut self) {
        self.trigger.reset();
        self.near.reset();
        self.gathered.clear();
    }

    /// Takes a frame's score in a search.
    pub(super) fn gather(
        &mut self,
        frame: u64,
        now: Peak,
        threshold: f32,
        clock: Clock,
        on_hit: &mut impl FnMut(&Detection),
    ) {
        if self.gathered.last().is_some_and(|last| frame > last.end + SETTLED) {
            self.settle(clock, on_hit);
        }
        if now.score >= threshold {
            self.gathered.push(now);
        }
    }

    /// Hands out the highest of the gathered frames, in their order in time.
    pub(super) fn settle(&mut self, clock: Clock, on_hit: &mut impl FnMut(&Detection)) {
        if self.gathered.is_empty() {
            return;
        }
        let gathered = std::mem::take(&mut self.gathered).into_iter();
        let mut places: Vec<Detection> = gathered.map(|peak| self.detection(peak, clock)).collect();
        places = highest(places, |place| (place.score, place.start, place.end));
        places.sort_by_key(|place| place.start);
        places.iter().for_each(on_hit);
    }

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
    /// What lies before the origin is moved to it, what lies behind the end of the stream to that.
    pub(super) fn samples(self, frame: u64) -> u64 {
        (self.origin + frame.saturating_sub(self.warm) * self.frame).min(self.position)
    }
}

/// Whether `other` lies where `peak` does, and higher.
fn better(other: &Peak, peak: &Peak) -> bool {
    other.plain > peak.plain && other.overlaps(peak)
}

/// Whether another keyword, or one of the last detections, explains better what a keyword's peak lies on. What has reached the threshold
/// only because it stands alone comes late, and gives way to whatever was heard there before.
fn explained(slots: &[Slot], recent: &VecDeque<Peak>, keyword: usize, peak: &Peak) -> bool {
    let mut others = slots.iter().enumerate().filter(|(k, _)| *k != keyword);
    let late = peak.score > peak.plain;
    others.any(|(_, s)| s.trigger.open().is_some_and(|p| better(&p, peak)))
        || recent.iter().any(|p| better(p, peak) || late && p.overlaps(peak))
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

/// Keeps the near misses that ended by frame `settled`, less those that another keyword explains better, or a detection, which may be that of
/// the same keyword, told late: to be called after [`emit`].
pub(super) fn keep_misses(
    slots: &[Slot],
    misses: &mut Vec<(usize, Peak)>,
    settled: u64,
    recent: &VecDeque<Peak>,
    clock: Clock,
    near: &mut VecDeque<Detection>,
) {
    misses.retain(|&(keyword, peak)| {
        let waits = peak.end > settled;
        let heard = || recent.iter().any(|other| other.score > peak.score && other.overlaps(&peak));
        if !(waits || heard() || explained(slots, recent, keyword, &peak)) {
            remember(near, slots[keyword].detection(peak, clock));
        }
        waits
    });
}

/// Detections remembered to judge overlaps, and near misses that wait to be taken.
pub(super) const RECENT: usize = 32;

/// Puts one more at the end; the oldest goes where there is no room.
fn remember<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == RECENT {
        queue.pop_front();
    }
    queue.push_back(item);
}
