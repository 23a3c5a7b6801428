//! Scores over time to detections: peak picking with hysteresis and refractory time, in encoder frames.

/// A score with the span it was reached on; frames since stream start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// Fused score, 0 to 1.
    pub score: f32,
    /// Live, the same without what standing alone adds: by this, keywords that lie on one another are compared, for one may be told before
    /// it is known whether it stands alone, and the other after.
    pub plain: f32,
    /// First frame of the span.
    pub start: u64,
    /// One past its last frame.
    pub end: u64,
}

impl Peak {
    /// Whether the shorter of two spans lies by more than half in the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        let common = self.end.min(other.end).saturating_sub(self.start.max(other.start));
        let shorter = (self.end - self.start).min(other.end - other.start);
        2 * common > shorter
    }
}

/// Frames after the highest score at which a detection comes out at the latest (30 ms).
const LONGEST_WAIT: u64 = 1;
/// Frames over the threshold that make a peak.
const FEWEST: u32 = 2;
/// A score under this share of the threshold closes the peak.
const HYSTERESIS: f32 = 0.8;
/// Shortest refractory time, frames (0.6 s).
pub(crate) const REFRACTORY: u64 = 20;

/// Peak picker of one keyword.
#[derive(Debug, Clone, Default)]
pub struct Trigger {
    open: Option<Peak>,
    over: u32,
    peak_frame: u64,
    /// Nothing is taken before this frame.
    quiet_until: u64,
    /// The last peak: what lies on it is the same word, however long the window.
    last: Option<Peak>,
}

impl Trigger {
    /// Frames by which a detection lags behind its peak at the most.
    pub fn latency_frames() -> u64 {
        LONGEST_WAIT
    }

    /// The peak that is open, if any.
    pub fn open(&self) -> Option<Peak> {
        self.open.filter(|_| self.over >= FEWEST)
    }

    /// Takes the score of `frame`; returns a peak when it is complete.
    pub fn step(&mut self, frame: u64, now: Peak, threshold: f32) -> Option<Peak> {
        if frame < self.quiet_until {
            return None;
        }
        if self.last.is_some_and(|last| now.overlaps(&last)) {
            return self.close(frame);
        }
        if now.score >= threshold {
            self.over += 1;
            if self.open.is_none_or(|peak| now.score > peak.score) {
                self.open = Some(now);
                self.peak_frame = frame;
            }
        } else if self.over < FEWEST || now.score < HYSTERESIS * threshold {
            return self.close(frame);
        }
        if self.open.is_some() && self.over >= FEWEST && frame >= self.peak_frame + LONGEST_WAIT {
            return self.close(frame);
        }
        None
    }

    /// Ends an open peak, as the end of the stream does.
    pub fn close(&mut self, frame: u64) -> Option<Peak> {
        let enough = self.over >= FEWEST;
        self.over = 0;
        let peak = self.open.take().filter(|_| enough)?;
        let length = peak.end.saturating_sub(peak.start);
        self.quiet_until = frame.max(peak.end + REFRACTORY.max(length * 4 / 5));
        self.last = Some(peak);
        Some(peak)
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(scores: &[f32]) -> Vec<(u64, Peak)> {
        let mut trigger = Trigger::default();
        let mut out = Vec::new();
        for (t, &score) in scores.iter().enumerate() {
            let t = t as u64 + 100;
            let now = Peak { score, plain: score, start: t - 10, end: t };
            out.extend(trigger.step(t, now, 0.5).map(|p| (t, p)));
        }
        out
    }

    #[test]
    fn one_detection_at_the_peak_when_the_score_drops() {
        let hits = run(&[0.1, 0.6, 0.9, 0.7, 0.2, 0.1]);
        assert_eq!(hits.len(), 1);
        let (when, peak) = hits[0];
        assert_eq!((when, peak.score, peak.end), (103, 0.9, 102));
    }

    #[test]
    fn a_single_frame_is_no_detection() {
        assert!(run(&[0.1, 0.9, 0.1, 0.1, 0.9, 0.1]).is_empty());
    }

    #[test]
    fn a_plateau_comes_out_in_time_and_only_once() {
        let hits = run(&[0.9; 20]);
        assert_eq!(hits.len(), 1);
        assert_eq!(hits[0].0, 100 + LONGEST_WAIT);
    }

    #[test]
    fn a_dip_above_the_hysteresis_does_not_split() {
        let hits = run(&[0.6, 0.7, 0.45, 0.8, 0.1]);
        assert_eq!(hits.len(), 1);
        assert_eq!(hits[0].1.score, 0.7);
    }

    #[test]
    fn two_words_apart_are_two_and_close_echoes_are_one() {
        let mut scores = vec![0.9, 0.9, 0.1];
        scores.extend([0.1; 10]);
        scores.extend([0.9, 0.9, 0.1]); // 0.4 s later: refractory
        assert_eq!(run(&scores).len(), 1);
        scores.extend([0.1; 20]);
        scores.extend([0.9, 0.9, 0.1]);
        assert_eq!(run(&scores).len(), 2);
    }

    #[test]
    fn a_longer_window_over_the_same_word_is_no_second_one() {
        let mut trigger = Trigger::default();
        let mut hear =
            |frame: u64, score, start, end| trigger.step(frame, Peak { score, plain: score, start, end }, 0.5);
        assert!(hear(100, 0.9, 73, 100).is_none() && hear(101, 0.8, 73, 100).is_some());
        // Its quiet time is over when the whole phrase stands in a longer window: it lies on the first one.
        assert!((121..130).all(|frame| hear(frame, 1.0, 64, frame).is_none()));
        // What follows lies beside it.
        assert!(hear(140, 0.9, 102, 140).is_none() && hear(141, 0.9, 103, 141).is_some());
    }

    #[test]
    fn overlap_is_by_the_shorter_span() {
        let peak = |start, end| Peak { score: 0.9, plain: 0.9, start, end };
        assert!(peak(0, 10).overlaps(&peak(4, 30)));
        assert!(!peak(0, 10).overlaps(&peak(5, 30)));
        assert!(!peak(0, 10).overlaps(&peak(20, 30)));
    }
}
