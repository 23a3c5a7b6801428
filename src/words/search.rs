//! Which words may end in each frame of running speech: the best CTC paths of a whole vocabulary, frame by frame.

use crate::detect::against_best;
use crate::text::{BLANK, CLASSES, Phone};

/// Words lie within so many frames (1.7 s).
pub const LONGEST: u64 = 56;
/// Paths that cost more a phone end no word.
const COSTLIEST: f32 = 3.0;
/// What paths may cost beside that on the way.
const SLACK: f32 = 3.0;
/// Words that may end in a frame, the best ones, beside those that are always told.
const MOST: usize = 30;
/// No word ends in this node.
const NONE: u32 = u32::MAX;

/// A phone in the tree of the vocabulary, whose words share their beginnings.
#[derive(Debug, Clone, Copy)]
struct Node {
    phone: u8,
    /// Number of phones up to here.
    depth: u8,
    /// Whether the phone before is the same, so that a blank must lie between.
    same: bool,
    /// The nodes after it.
    first: u32,
    last: u32,
    /// The word that ends here.
    word: u32,
}

/// A path's logarithm of how much less likely it is than the likeliest phones, and the frame in which it began.
type Path = (f32, u64);

const NOWHERE: Path = (f32::NEG_INFINITY, 0);

/// Best paths that end in a node's phone, and in the blank after it.
type Paths = [Path; 2];

/// A word that may end in a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ending {
    /// Its number in the vocabulary.
    pub word: usize,
    /// Frame of its first phone.
    pub start: u64,
    /// Sum over its frames of the logarithm of how much less likely its phones are than the likeliest ones; at most 0.
    pub path: f32,
}

/// Viterbi search through the tree of a vocabulary (token passing), with what cannot become a word left out.
#[derive(Debug, Default)]
pub struct WordSearch {
    nodes: Vec<Node>,
    /// Phones of each word, and whether it is told wherever it may end.
    words: Vec<(u8, bool)>,
    paths: Vec<Paths>,
    next: Vec<Paths>,
    /// Nodes in which a path ends, in this frame and in the next.
    active: Vec<u32>,
    reached: Vec<u32>,
    endings: Vec<Ending>,
    /// Log-likelihood ratio of the last frame's blank.
    blank: f32,
    ranked: Vec<(f32, Ending)>,
}

impl WordSearch {
    /// A search for words of up to 255 phones, sorted by phones and all different; the second value is whether one is told
    /// however many others fit better.
    pub fn new(vocabulary: &[(&[Phone], bool)]) -> Self {
        debug_assert!(vocabulary.is_sorted_by(|a, b| a.0 < b.0));
        let word = |(phones, always): &(&[Phone], bool)| (phones.len().min(255) as u8, *always);
        let mut nodes = vec![Node { phone: BLANK as u8, depth: 0, same: false, first: 0, last: 0, word: NONE }];
        // Of each node the words that begin so; those after a node follow one another.
        let mut begins: Vec<std::ops::Range<usize>> = std::iter::once(0..vocabulary.len()).collect();
        let mut index = 0;
        while index < nodes.len() {
            let (depth, mut range) = (usize::from(nodes[index].depth), begins[index].clone());
            let phone = |i: usize| vocabulary[i].0[depth].id() as u8;
            if depth > 0 && !range.is_empty() && vocabulary[range.start].0.len() == depth {
                nodes[index].word = range.start as u32;
            }
            // What ends here sorts before what goes on.
            while !range.is_empty() && vocabulary[range.start].0.len() <= depth {
                range.start += 1;
            }
            nodes[index].first = nodes.len() as u32;
            while !range.is_empty() && depth < 255 {
                let id = phone(range.start);
                let end = range.start + range.clone().take_while(|&i| phone(i) == id).count();
                let same = depth > 0 && nodes[index].phone == id;
                nodes.push(Node { phone: id, depth: depth as u8 + 1, same, first: 0, last: 0, word: NONE });
                begins.push(range.start..end);
                range.start = end;
            }
            nodes[index].last = nodes.len() as u32;
            index += 1;
        }
        let paths = vec![[NOWHERE; 2]; nodes.len()];
        Self { next: paths.clone(), paths, words: vocabulary.iter().map(word).collect(), nodes, ..Self::default() }
    }

    /// Number of phones of a word.
    pub fn phones(&self, word: usize) -> f32 {
        f32::from(self.words[word].0)
    }

    /// Forgets the audio.
    pub fn reset(&mut self) {
        for &node in &self.active {
            self.paths[node as usize] = [NOWHERE; 2];
        }
        self.active.clear();
    }

    /// Takes frame number `frame`, the one after the last, with its log-posteriors, `[classes]`: the words that may end with a
    /// phone in it are [`Self::endings`].
    pub fn step(&mut self, frame: u64, log_posteriors: &[f32]) {
        let mut emissions = [0.0; CLASSES];
        emissions.iter_mut().zip(against_best(log_posteriors)).for_each(|(e, ratio)| *e = ratio);
        self.blank = emissions[BLANK];
        let Self { nodes, paths, next, active, reached, .. } = self;
        let mut reach = |node: u32, place: usize, path: Path| {
            let at = &mut next[node as usize];
            if at[0].0 == f32::NEG_INFINITY && at[1].0 == f32::NEG_INFINITY {
                reached.push(node);
            }
            if path.0 > at[place].0 {
                at[place] = path;
            }
        };
        for node in nodes[0].first..nodes[0].last {
            reach(node, 0, (0.0, frame));
        }
        for &index in active.iter() {
            let node = nodes[index as usize];
            let [said, after] = std::mem::replace(&mut paths[index as usize], [NOWHERE; 2]);
            let either = if said.0 > after.0 { said } else { after };
            if said.0 > f32::NEG_INFINITY {
                reach(index, 0, said);
            }
            reach(index, 1, either);
            for child in node.first..node.last {
                let from = if nodes[child as usize].same { after } else { either };
                if from.0 > f32::NEG_INFINITY {
                    reach(child, 0, from);
                }
            }
        }
        active.clear();
        self.ranked.clear();
        for index in reached.drain(..) {
            let node = nodes[index as usize];
            let mut ends = std::mem::replace(&mut next[index as usize], [NOWHERE; 2]);
            ends[0].0 += emissions[usize::from(node.phone)];
            ends[1].0 += emissions[BLANK];
            let least = -SLACK - COSTLIEST * f32::from(node.depth);
            for end in &mut ends {
                if end.0 < least || end.1 + LONGEST <= frame {
                    *end = NOWHERE;
                }
            }
            if ends.iter().all(|e| e.0 == f32::NEG_INFINITY) {
                continue;
            }
            paths[index as usize] = ends;
            active.push(index);
            let (path, start) = ends[0];
            let worth = path + COSTLIEST * f32::from(node.depth);
            if node.word != NONE && worth > 0.0 {
                self.ranked.push((worth, Ending { word: node.word as usize, start, path }));
            }
        }
        // Those that are always told first, then by worth; ties by number, so that the order of the tree decides nothing.
        let words = &self.words;
        let order = |a: &(f32, Ending), b: &(f32, Ending)| {
            let always = |e: &(f32, Ending)| words[e.1.word].1;
            always(b).cmp(&always(a)).then(b.0.total_cmp(&a.0)).then(a.1.word.cmp(&b.1.word))
        };
        let told = MOST + self.ranked.iter().filter(|e| words[e.1.word].1).count();
        if self.ranked.len() > told {
            self.ranked.select_nth_unstable_by(told, order);
            self.ranked.truncate(told);
        }
        self.ranked.sort_unstable_by(order);
        self.endings.clear();
        self.endings.extend(self.ranked.iter().map(|e| e.1));
    }

    /// The last frame's log-likelihood ratio of the blank to the likeliest class.
    pub fn blank(&self) -> f32 {
        self.blank
    }

    /// The words that may end with a phone in the last frame.
    pub fn endings(&self) -> &[Ending] {
        &self.endings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::PhonePaths;
    use crate::text::parse_phones;
    use proptest::prelude::*;

    fn phones(text: &str) -> Vec<Phone> {
        parse_phones(text).expect("ARPAbet")
    }

    #[test]
    fn words_share_their_beginnings() {
        let mut list = [phones("S T AA P"), phones("K AE T"), phones("S T AA"), phones("S T AA P T")];
        list.sort();
        let search = WordSearch::new(&list.iter().map(|p| (&p[..], false)).collect::<Vec<_>>());
        assert_eq!(search.nodes.len(), 9);
        let lengths: Vec<f32> = (0..4).map(|w| search.phones(w)).collect();
        assert_eq!(lengths, list.iter().map(|p| p.len() as f32).collect::<Vec<_>>());
    }

    proptest! {
        /// What is told is what the phone paths of keywords find, one pronunciation at a time.
        #[test]
        fn endings_are_the_best_paths(
            words in prop::collection::btree_set(prop::collection::vec(1_usize..4, 1..5), 1..12),
            noise in prop::collection::vec(-0.5_f32..0.0, CLASSES * 12),
        ) {
            let mut list: Vec<Vec<Phone>> =
                words.iter().map(|w| w.iter().filter_map(|&id| Phone::from_id(id)).collect()).collect();
            list.sort();
            let mut search = WordSearch::new(&list.iter().map(|p| (&p[..], true)).collect::<Vec<_>>());
            let mut alone = PhonePaths::default();
            for word in &list {
                alone.add(word);
            }
            for round in 0..2 {
                search.reset();
                alone.reset();
                for (t, row) in noise.chunks_exact(CLASSES).enumerate() {
                    alone.step(row);
                    search.step(t as u64, row);
                    let endings = search.endings();
                    for (word, said) in list.iter().enumerate() {
                        let mean = alone.score(word);
                        // So little noise leaves nothing out but what has too few frames.
                        match endings.iter().find(|e| e.word == word) {
                            Some(e) => {
                                prop_assert!((e.path - mean * said.len() as f32).abs() < 1e-3, "{round}: {e:?}, {mean}");
                            }
                            None => prop_assert!(mean == f32::NEG_INFINITY),
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn only_the_best_are_told_and_those_that_always_are() {
        // A hundred words of two phones, heard as one of them; the last one is a keyword.
        let mut list: Vec<Vec<Phone>> = (1..11)
            .flat_map(|a| (11..21).map(move |b| [a, b].into_iter().filter_map(Phone::from_id).collect()))
            .collect();
        list.sort();
        let last = list.len() - 1;
        let vocabulary: Vec<(&[Phone], bool)> = list.iter().enumerate().map(|(i, p)| (&p[..], i == last)).collect();
        let mut search = WordSearch::new(&vocabulary);
        let row = |best: usize| {
            let mut row = vec![-2.5; CLASSES];
            row[best] = 0.0;
            row
        };
        search.step(0, &row(1));
        search.step(1, &row(11));
        let endings = search.endings();
        assert_eq!(endings.len(), MOST + 1);
        assert_eq!((endings[0].word, endings[1].word, endings[1].path, endings[1].start), (last, 0, 0.0, 0));
        assert_eq!(endings.iter().filter(|e| e.word == last).count(), 1);
    }
}
