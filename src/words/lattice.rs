//! Sums over all ways through the lattice of words that the last seconds of speech may be.
//!
//! A way is a row of words and of frames in no word. Its weight is the product of theirs, and of what each word makes of the one
//! after it ([`super::Bigrams`]); that a word is followed through pauses, the sums are kept apart by the last word said. Only the
//! likeliest ones of these are kept.

use std::collections::VecDeque;

use super::bigrams::WordId;
use super::rivals::Link;

/// Last words that are kept apart, the likeliest ones. Half as many change nothing that counts.
const HISTORIES: usize = 60;
/// Sums are scaled once they leave this range.
const RANGE: std::ops::Range<f64> = 1e-60..1e60;

/// A word in the lattice.
#[derive(Debug, Clone, Default)]
struct Edge {
    /// Its number in the vocabulary.
    word: usize,
    /// Its first frame.
    start: u64,
    spelling: Option<WordId>,
    weight: f64,
    /// What each of the last words before its first frame makes of it.
    lifts: Vec<f64>,
    /// Sum over all ways that end with it.
    ways: f64,
    /// Its place among the last words after its end.
    last: Option<usize>,
}

/// A border between two frames.
#[derive(Debug, Clone, Default)]
struct Border {
    /// What may have ended here.
    edges: Vec<Edge>,
    /// Weight of the frame before it, in no word.
    gap: f64,
    /// Sums over all ways up to here by the last word said, in the order of the words.
    histories: Vec<(Option<WordId>, f64)>,
}

/// The lattice of the last frames.
#[derive(Debug, Clone, Default)]
pub struct Lattice {
    borders: VecDeque<Border>,
    /// Frame after the newest border.
    now: u64,
    /// Borders that are kept.
    keep: usize,
    /// Logarithm of what all sums were divided by.
    scale: f64,
    /// Of the newest borders, the oldest one first: sums over all ways from there to the newest, by the last word before.
    onward: Vec<Vec<f64>>,
}

impl Lattice {
    /// A lattice of the last `keep` frames.
    pub fn new(keep: usize) -> Self {
        let mut lattice = Self { keep: keep + 1, ..Self::default() };
        lattice.restart(0);
        lattice
    }

    /// Starts anew before a frame.
    pub fn restart(&mut self, frame: u64) {
        self.borders.clear();
        self.borders.push_back(Border { histories: vec![(None, 1.0)], ..Border::default() });
        self.now = frame;
        self.scale = 0.0;
        self.onward.clear();
    }

    /// Logarithm of the sum over all ways.
    pub fn total(&self) -> f64 {
        self.newest().ln() + self.scale
    }

    fn newest(&self) -> f64 {
        self.borders.back().map_or(0.0, |b| b.histories.iter().map(|h| h.1).sum())
    }

    /// Place of the border before a frame.
    fn at(&self, frame: u64) -> Option<usize> {
        (self.borders.len() - 1).checked_sub((self.now - frame) as usize)
    }

    /// Takes the words that may end with the next frame, each with its spelling and the logarithm of its weight, and that of the frame
    /// in no word. `lift` tells by how much one word multiplies the weight of the next.
    pub fn push(
        &mut self,
        links: impl Iterator<Item = (Link, Option<WordId>, f32)>,
        gap: f32,
        lift: impl Fn(Option<WordId>, Option<WordId>) -> f64,
    ) {
        self.onward.clear();
        let mut border =
            if self.borders.len() == self.keep { self.borders.pop_front() } else { None }.unwrap_or_default();
        let mut spare = std::mem::take(&mut border.edges);
        border.gap = f64::from(gap).exp();
        border.histories.clear();
        if let Some(before) = self.borders.back() {
            border.histories.extend(before.histories.iter().map(|&(word, sum)| (word, sum * border.gap)));
        }
        for (link, spelling, weight) in links {
            let Some(start) = self.at(link.start) else { continue };
            let mut edge = spare.pop().unwrap_or_default();
            let weight = f64::from(weight).exp();
            let histories = &self.borders[start].histories;
            edge.lifts.clear();
            edge.lifts.extend(histories.iter().map(|&(word, _)| lift(word, spelling)));
            let ways = weight * histories.iter().zip(&edge.lifts).map(|((_, sum), lift)| sum * lift).sum::<f64>();
            border.histories.push((spelling, ways));
            border.edges.push(Edge { word: link.word, start: link.start, spelling, weight, ways, last: None, ..edge });
        }
        gather(&mut border.histories);
        for edge in &mut border.edges {
            edge.last = border.histories.binary_search_by_key(&edge.spelling, |h| h.0).ok();
        }
        self.borders.push_back(border);
        self.now += 1;
        let newest = self.newest();
        if !RANGE.contains(&newest) && newest > 0.0 {
            self.scale += newest.ln();
            for border in &mut self.borders {
                border.histories.iter_mut().for_each(|h| h.1 /= newest);
                border.edges.iter_mut().for_each(|e| e.ways /= newest);
            }
        }
    }

    /// Sums over all ways from the last `depth` borders to the newest one.
    fn look_back(&mut self, depth: usize) {
        let first = self.borders.len().saturating_sub(depth + 1);
        if self.onward.len() == self.borders.len() - first {
            return;
        }
        self.onward.clear();
        self.onward.extend(self.borders.range(first..).map(|b| vec![0.0; b.histories.len()]));
        if let Some(newest) = self.onward.last_mut() {
            newest.fill(1.0);
        }
        for i in (1..self.onward.len()).rev() {
            let (before, after) = self.onward.split_at_mut(i);
            let (border, after) = (&self.borders[first + i], &after[0]);
            // In no word: the last word stays the same.
            let mut later = border.histories.iter().zip(after).peekable();
            for (&(word, _), sum) in self.borders[first + i - 1].histories.iter().zip(&mut before[i - 1]) {
                while later.next_if(|(h, _)| h.0 < word).is_some() {}
                if let Some((_, onward)) = later.peek().filter(|(h, _)| h.0 == word) {
                    *sum += border.gap * **onward;
                }
            }
            for edge in &border.edges {
                let back = (self.now - edge.start) as usize;
                let start = (self.borders.len() - 1).checked_sub(back).and_then(|at| at.checked_sub(first));
                if let (Some(start), Some(last)) = (start, edge.last) {
                    let onward = edge.weight * after[last];
                    before[start].iter_mut().zip(&edge.lifts).for_each(|(sum, lift)| *sum += lift * onward);
                }
            }
        }
    }

    /// The share that ways with one of `words`, or one of the `chains` of words with pauses of up to `pause` frames between, have in
    /// the sum over all: ended at one of `recent` borders, the last of which lies `ahead` frames back.
    pub fn share(&mut self, words: &[usize], chains: &[Vec<usize>], pause: u64, recent: usize, ahead: usize) -> f64 {
        self.look_back(ahead + recent);
        let total = self.newest();
        let first = self.borders.len() - self.onward.len();
        let until = self.borders.len().saturating_sub(ahead);
        let mut share = 0.0;
        for at in until.saturating_sub(recent).max(first)..until {
            for edge in &self.borders[at].edges {
                let Some(last) = edge.last else { continue };
                let onward = self.onward[at - first][last];
                if words.contains(&edge.word) {
                    share += edge.ways * onward;
                }
                for chain in chains {
                    if let Some((_, before)) = chain.split_last().filter(|(word, _)| **word == edge.word) {
                        share += self.after(before, edge, pause) * onward;
                    }
                }
            }
        }
        share / total
    }

    /// Sum over all ways that end with the words of `chain`, a pause at most after each, and `edge`.
    fn after(&self, chain: &[usize], edge: &Edge, pause: u64) -> f64 {
        let Some((&word, chain)) = chain.split_last() else { return edge.ways };
        let Some(start) = self.at(edge.start) else { return 0.0 };
        let mut sum = 0.0;
        let mut gaps = 1.0;
        for at in (start.saturating_sub(pause as usize)..=start).rev() {
            for before in self.borders[at].edges.iter().filter(|e| e.word == word) {
                let place = self.borders[start].histories.binary_search_by_key(&before.spelling, |h| h.0);
                let lift = place.map_or(0.0, |i| edge.lifts[i]);
                sum += self.after(chain, before, pause) * gaps * edge.weight * lift;
            }
            gaps *= self.borders[at].gap;
        }
        sum
    }
}

/// Puts the sums of each word together, and keeps the greatest ones, in the order of the words.
fn gather(histories: &mut Vec<(Option<WordId>, f64)>) {
    histories.sort_by_key(|h| h.0);
    histories.dedup_by(|next, first| {
        let same = next.0 == first.0;
        if same {
            first.1 += next.1;
        }
        same
    });
    if histories.len() > HISTORIES {
        histories.select_nth_unstable_by(HISTORIES, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        histories.truncate(HISTORIES);
        histories.sort_unstable_by_key(|h| h.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A word that may be said: its number, its first frame, one past its last one, logarithm of its weight.
    type Said = (usize, u64, u64, f32);

    fn spelling(word: usize) -> Option<WordId> {
        // Word 0 is one that nobody knows the followers of.
        word.checked_sub(1).map(|id| id as WordId)
    }

    fn lift(before: Option<WordId>, word: Option<WordId>) -> f64 {
        before.map_or(1.0, |b| 0.25 + 0.5 * f64::from((b * 3 + word.map_or(7, |w| w * 5)) % 4))
    }

    fn filled(words: &[Said], gaps: &[f32], from: u64) -> Lattice {
        let mut lattice = Lattice::new(40);
        lattice.restart(from);
        for (t, &gap) in gaps.iter().enumerate() {
            let end = from + t as u64 + 1;
            let ending = words.iter().filter(|w| w.2 + from == end).map(|&(word, start, _, weight)| {
                let link = Link { word, start: start + from, end, features: [0.0; super::super::FEATURES] };
                (link, spelling(word), weight)
            });
            lattice.push(ending, gap, lift);
        }
        lattice
    }

    /// Sums over all ways from `frame` on, one by one: all of them, and those in which one of `keyword` ends in `ends`, or one
    /// half and then the other.
    fn ways(
        words: &[Said],
        gaps: &[f32],
        (frame, last, half): (u64, Option<WordId>, Option<u64>),
        keyword: &dyn Fn(&Said, Option<u64>) -> bool,
    ) -> [f64; 2] {
        if frame as usize == gaps.len() {
            return [1.0, 0.0];
        }
        let gap = f64::from(gaps[frame as usize]).exp();
        let mut sums = ways(words, gaps, (frame + 1, last, half), keyword).map(|s| s * gap);
        for word in words.iter().filter(|w| w.1 == frame) {
            let ended = (word.0 == 1).then_some(word.2);
            let [all, hit] = ways(words, gaps, (word.2, spelling(word.0), ended), keyword);
            let weight = f64::from(word.3).exp() * lift(last, spelling(word.0));
            sums[0] += weight * all;
            sums[1] += weight * if keyword(word, half) { all } else { hit };
        }
        sums
    }

    proptest! {
        #[test]
        fn sums_are_those_of_all_ways_one_by_one(
            words in prop::collection::vec((0_usize..5, 0_u64..7, 1_u64..5, -2.0_f32..2.0), 0..9),
            gaps in prop::collection::vec(-1.5_f32..0.5, 9),
            from in 0_u64..1_000,
        ) {
            let mut words: Vec<Said> = words.into_iter().map(|(word, start, length, w)| (word, start, start + length, w)).collect();
            words.retain(|w| w.2 <= 9);
            // A lattice holds a word once at most at an end.
            words.sort_by_key(|w| (w.0, w.2));
            words.dedup_by_key(|w| (w.0, w.2));
            let mut lattice = filled(&words, &gaps, from);
            // Keyword 3 in the frames from the fifth on but the last two; once, as no way holds it twice there.
            let once = words.iter().filter(|w| w.0 == 3 && (5..=7).contains(&w.2)).count() < 2;
            let alone = |word: &Said, _: Option<u64>| word.0 == 3 && (5..=7).contains(&word.2);
            let [all, hit] = ways(&words, &gaps, (0, None, None), &alone);
            prop_assert!((lattice.total() - all.ln()).abs() < 1e-9, "{} {}", lattice.total(), all.ln());
            let share = lattice.share(&[3], &[], 0, 3, 2);
            prop_assert!(!once || (share - hit / all).abs() < 1e-9, "{share} {}", hit / all);
            // Word 1 and then word 4, with a frame between at most.
            let once = words.iter().filter(|w| w.0 == 4 && (5..=7).contains(&w.2)).count() < 2;
            let pair = |word: &Said, half: Option<u64>| {
                word.0 == 4 && (5..=7).contains(&word.2) && half.is_some_and(|end| word.1 - end <= 1)
            };
            let [all, hit] = ways(&words, &gaps, (0, None, None), &pair);
            let share = lattice.share(&[], &[vec![1, 4]], 1, 3, 2);
            prop_assert!(!once || (share - hit / all).abs() < 1e-9, "{share} {}", hit / all);
        }
    }

    #[test]
    fn only_the_likeliest_last_words_are_kept_and_sums_stay_in_range() {
        let words: Vec<Said> = (1..200).map(|w| (w, 0, 2, w as f32 * 0.01)).collect();
        let mut lattice = filled(&words, &[-300.0, -300.0], 0);
        assert_eq!(lattice.borders[2].histories.len(), HISTORIES);
        assert!(RANGE.contains(&lattice.newest()));
        // The last ones are the likeliest; of the others nothing is left.
        assert!(lattice.share(&[199], &[], 0, 1, 0) > 0.01 && lattice.share(&[5], &[], 0, 1, 0) == 0.0);
        let sum = (200 - HISTORIES..200).map(|w| (w as f64 * 0.01).exp()).sum::<f64>().ln();
        assert!((lattice.total() - sum).abs() < 1e-3, "{} {sum}", lattice.total());
    }
}
