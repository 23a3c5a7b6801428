//! Pronunciations as a tree of phones, and the best CTC path of each of them in one pass.

use crate::text::{BLANK, CLASSES, Phone};

/// Pronunciations that share their first phones share the work for them.
#[derive(Debug, Clone)]
pub struct PhoneTree {
    /// Of each node its phone and the node before it, which comes earlier; the first one is the root, without a phone.
    nodes: Vec<(u8, u32)>,
    /// Last node and number of phones of each pronunciation.
    ends: Vec<(u32, u8)>,
    /// Scores of the best path that ends in a node's phone, and in the blank after it.
    scores: Vec<[f32; 2]>,
}

impl PhoneTree {
    /// A tree of pronunciations of up to 255 phones, which keep their order; longer ones are cut off there.
    pub fn new(pronunciations: &[Vec<Phone>]) -> Self {
        let mut order: Vec<usize> = (0..pronunciations.len()).collect();
        order.sort_by_key(|&i| &pronunciations[i]);
        let mut nodes = vec![(BLANK as u8, 0)];
        let mut ends = vec![(0, 0); pronunciations.len()];
        // The nodes of the last pronunciation: sorted, one that shares phones with it follows at once.
        let mut way: Vec<u32> = Vec::new();
        for index in order {
            let phones = &pronunciations[index][..pronunciations[index].len().min(255)];
            let shared =
                way.iter().zip(phones).take_while(|(n, p)| usize::from(nodes[**n as usize].0) == p.id()).count();
            way.truncate(shared);
            for phone in &phones[shared..] {
                let before = way.last().copied().unwrap_or_default();
                way.push(nodes.len() as u32);
                nodes.push((phone.id() as u8, before));
            }
            ends[index] = (way.last().copied().unwrap_or_default(), phones.len() as u8);
        }
        let scores = vec![[f32::NEG_INFINITY; 2]; nodes.len()];
        Self { nodes, ends, scores }
    }

    /// Number of pronunciations.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The phones of a pronunciation.
    pub fn phones(&self, index: usize) -> Vec<Phone> {
        let mut node = self.ends[index].0 as usize;
        let mut phones = Vec::with_capacity(self.ends[index].1.into());
        while node > 0 {
            phones.extend(Phone::from_id(self.nodes[node].0.into()));
            node = self.nodes[node].1 as usize;
        }
        phones.reverse();
        phones
    }

    /// Mean over the phones of the logarithm of how much less likely each pronunciation is than the likeliest phones of the
    /// frames: 0 at best, minus infinity where there are too few frames.
    ///
    /// # Shapes
    /// `log_posteriors`: `[frames, classes]`, the whole stretch in which it is said; the result: one for each pronunciation.
    pub fn paths(&mut self, log_posteriors: &[f32]) -> Vec<f32> {
        self.scores.fill([f32::NEG_INFINITY; 2]);
        self.scores[0][1] = 0.0;
        let mut emissions = [0.0; CLASSES];
        for frame in log_posteriors.as_chunks::<CLASSES>().0 {
            let best = frame.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            emissions.iter_mut().zip(frame).for_each(|(e, p)| *e = p - best);
            // From the leaves to the root, so that each node still finds what the one before it was a frame ago.
            for index in (1..self.nodes.len()).rev() {
                let (phone, before) = self.nodes[index];
                let [said, after] = self.scores[index];
                let [last, pause] = self.scores[before as usize];
                // A phone follows its like only after a blank.
                let last = if self.nodes[before as usize].0 == phone { f32::NEG_INFINITY } else { last };
                self.scores[index] =
                    [said.max(last).max(pause) + emissions[usize::from(phone)], said.max(after) + emissions[BLANK]];
            }
            self.scores[0][1] += emissions[BLANK];
        }
        let mean = |&(node, phones): &(u32, u8)| {
            let [said, after] = self.scores[node as usize];
            said.max(after) / f32::from(phones.max(1))
        };
        self.ends.iter().map(mean).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::parse_phones;
    use proptest::prelude::*;

    fn phones(text: &str) -> Vec<Phone> {
        parse_phones(text).expect("ARPAbet")
    }

    /// The definition: every way to write a pronunciation over so many frames.
    fn by_hand(said: &[Phone], rows: &[[f32; CLASSES]]) -> f32 {
        let mut states = vec![BLANK];
        for phone in said {
            states.extend([phone.id(), BLANK]);
        }
        let free: f32 = rows.iter().map(|r| r.iter().copied().fold(f32::NEG_INFINITY, f32::max)).sum();
        let mut scores = vec![f32::NEG_INFINITY; states.len()];
        scores[0] = 0.0;
        for (t, row) in rows.iter().enumerate() {
            let old = scores.clone();
            for (s, &class) in states.iter().enumerate() {
                let mut from = if t > 0 || s == 0 { old[s] } else { f32::NEG_INFINITY };
                if s > 0 {
                    from = from.max(old[s - 1]);
                }
                if s > 1 && class != BLANK && class != states[s - 2] {
                    from = from.max(old[s - 2]);
                }
                scores[s] = from + row[class];
            }
        }
        let last = scores.len() - 1;
        let best = if last > 0 { scores[last].max(scores[last - 1]) } else { scores[0] };
        (best - free) / said.len().max(1) as f32
    }

    proptest! {
        #[test]
        fn every_path_is_the_best_of_its_pronunciation(
            words in prop::collection::vec(prop::collection::vec(1_usize..4, 1..5), 1..12),
            noise in prop::collection::vec(-6.0_f32..0.0, CLASSES * 7),
        ) {
            let list: Vec<Vec<Phone>> =
                words.iter().map(|w| w.iter().filter_map(|&id| Phone::from_id(id)).collect()).collect();
            let rows = noise.as_chunks::<CLASSES>().0;
            let mut tree = PhoneTree::new(&list);
            for _ in 0..2 {
                for ((index, said), got) in list.iter().enumerate().zip(tree.paths(&noise)) {
                    let want = by_hand(said, rows);
                    prop_assert!((got - want).abs() < 1e-4 || got == want, "{said:?}: {got}, by hand {want}");
                    prop_assert_eq!(&tree.phones(index), said);
                }
            }
        }
    }

    #[test]
    fn pronunciations_share_their_beginnings_and_keep_their_order() {
        let list = [phones("S T AA P"), phones("K AE T"), phones("S T AA"), phones("K AE T"), Vec::new()];
        let tree = PhoneTree::new(&list);
        assert_eq!((tree.nodes.len(), tree.len(), tree.is_empty()), (8, 5, false));
        assert!(list.iter().enumerate().all(|(i, said)| &tree.phones(i) == said));
    }
}
