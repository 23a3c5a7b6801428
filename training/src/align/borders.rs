//! From the frames in which CTC shows its phones to the seconds in which a word is said.

use super::viterbi::Place;
use crate::data::Word;

/// How far a word reaches beyond the frames of its phones. CTC shows a phone in a frame or two near its middle; the
/// defaults were fitted on librispeech-train against the aligned words given there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Borders {
    /// Seconds before the first phone's first frame.
    pub lead: f32,
    /// Seconds after the last phone's last frame.
    pub trail: f32,
    /// Words whose phones are nearer to each other than this have no silence between them, seconds.
    pub join: f32,
    /// Where the border between joined words lies, as a share of the gap between their phones.
    pub split: f32,
}

impl Default for Borders {
    fn default() -> Self {
        Self { lead: 0.06, trail: 0.12, join: 0.25, split: 0.4 }
    }
}

impl Borders {
    /// Start and end of every word, seconds, given frames of `frame` seconds whose first is centred at `offset`.
    ///
    /// Words never overlap and stay within `[0, seconds]`.
    pub fn times(&self, places: &[Place], frame: f32, offset: f32, seconds: f32) -> Vec<(f32, f32)> {
        let centre = |t: usize| t as f32 * frame + offset;
        let mut out: Vec<(f32, f32)> = places
            .iter()
            .map(|p| (centre(p.start) - self.lead, centre(p.end.saturating_sub(1)) + self.trail))
            .map(|(s, e)| (s.clamp(0.0, seconds), e.clamp(0.0, seconds)))
            .collect();
        for i in 1..out.len() {
            let (from, to) = (centre(places[i - 1].end - 1), centre(places[i].start));
            if to - from < self.join.max(self.lead + self.trail) {
                let border = (from + self.split * (to - from)).clamp(0.0, seconds);
                (out[i - 1].1, out[i].0) = (border, border);
            }
        }
        out
    }
}

/// Differences of borders against other word times.
#[derive(Debug, Default)]
pub struct Differences {
    starts: Vec<f32>,
    ends: Vec<f32>,
}

impl Differences {
    /// Adds a recording if both have the same words; says whether they do.
    pub fn add(&mut self, ours: &[Word], theirs: &[Word]) -> bool {
        let same = ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| a.text == b.text);
        if same {
            self.starts.extend(ours.iter().zip(theirs).map(|(a, b)| a.start - b.start));
            self.ends.extend(ours.iter().zip(theirs).map(|(a, b)| a.end - b.end));
        }
        same
    }

    /// One line about starts or ends: count, signed median, and median, 90 % and 99 % of the absolute difference.
    pub fn lines(&self) -> [String; 2] {
        let line = |name: &str, values: &[f32]| {
            let at = |v: &mut Vec<f32>, share: f32| {
                v.sort_by(f32::total_cmp);
                v.get(((v.len() as f32 * share) as usize).min(v.len().saturating_sub(1))).copied().unwrap_or(0.0) * 1e3
            };
            let (mut signed, mut size) = (values.to_vec(), values.iter().map(|d| d.abs()).collect());
            format!(
                "{name}: {} borders, signed median {:+.0} ms; absolute: median {:.0} ms, 90 % within {:.0}, 99 % within {:.0}",
                values.len(),
                at(&mut signed, 0.5),
                at(&mut size, 0.5),
                at(&mut size, 0.9),
                at(&mut size, 0.99)
            )
        };
        [line("starts", &self.starts), line("ends", &self.ends)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_share_a_border_and_far_ones_do_not() {
        let place = |start, end| Place { start, end, variant: 0 };
        let borders = Borders { lead: 0.05, trail: 0.1, join: 0.25, split: 0.5 };
        let times = borders.times(&[place(1, 3), place(6, 8), place(30, 32)], 0.03, 0.01, 1.0);
        let want = [(0.0, 0.13), (0.13, 0.32), (0.86, 1.0)];
        for (got, want) in times.iter().zip(want) {
            assert!((got.0 - want.0).abs() < 1e-5 && (got.1 - want.1).abs() < 1e-5, "{times:?}");
        }
    }
}
