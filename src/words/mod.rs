//! Which words of the lexicon a stretch of speech may be: isolated words, judged by both witnesses.
//!
//! Where a word begins and ends is known for a recording that somebody made of it, and for a segment that is compared with
//! another. There all words of the lexicon compete, `p(word) ~ exp(w0 cosine + w1 path)`, and the likeliest ones say more than
//! the one voice that was heard. In running speech nobody knows where words begin and end: there all ways to cut it into words
//! compete ([`Rivals`]).

mod bigrams;
mod chains;
mod lattice;
mod pack;
mod rivals;
mod search;
mod tree;

use std::collections::HashMap;

pub use bigrams::{BIGRAMS_FILE, Bigrams, Factors, Row, WordId};
pub use lattice::Lattice;
pub use pack::{RIVALS_FILE, pack_rivals, unpack_rivals};
pub use rivals::{AHEAD, FEATURES, LEAST_LOGIT, Link, MEMORY, RivalWeights, Rivals, no_share};
pub use search::{Ending, LONGEST, WordSearch};
pub use tree::PhoneTree;

use crate::detect::Embedding;
use crate::model::{ModelError, TextEncoder};
use crate::segment::Segment;
use crate::text::{Lexicon, Phone};

/// Pronunciations with the best paths, whose cosines are worth computing.
const SHORTLIST: usize = 500;
/// Shares below this are nothing.
const LEAST: f32 = 1e-4;

/// A pronunciation that may have been said, with what speaks for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Witnesses {
    /// Its number in the [`Vocabulary`].
    pub index: usize,
    /// Sum over the segments of its cosines.
    pub cosine: f32,
    /// Sum over the segments of its paths; see [`PhoneTree::paths`].
    pub path: f32,
}

/// The words that a stretch of speech may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// Numbers in the [`Vocabulary`], ascending, with their shares.
    shares: Vec<(usize, f32)>,
    /// Logarithm of the sum over all of them.
    sum: f32,
}

impl Heard {
    /// How much of it two stretches of speech have in common: the Bhattacharyya coefficient, 0 to 1.
    pub fn likeness(&self, other: &Self) -> f32 {
        let (mut a, mut b) = (&self.shares[..], &other.shares[..]);
        let mut common = 0.0;
        while let ([(i, p), after_a @ ..], [(j, q), after_b @ ..]) = (a, b) {
            if i == j {
                common += (p * q).sqrt();
            }
            if i <= j {
                a = after_a;
            }
            if j <= i {
                b = after_b;
            }
        }
        common
    }

    /// Logarithm of the odds of some text against the words of the lexicon, by its weighted witnesses; see
    /// [`Vocabulary::weigh`].
    pub fn against(&self, weighed: f32) -> f32 {
        weighed - self.sum
    }
}

/// What may have been said.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// How.
    pub phones: Vec<Phone>,
    /// Embedding of that.
    pub embedding: Embedding,
    /// Its probability.
    pub share: f32,
}

/// All pronunciations of a lexicon.
pub struct Vocabulary {
    tree: PhoneTree,
    text: TextEncoder,
    weights: [f32; 2],
    /// Those that were needed so far.
    embeddings: HashMap<usize, Embedding>,
}

impl Vocabulary {
    /// The pronunciations of two phones or more; `weights` of cosine and path are [`crate::detect::ScorerConfig::words`].
    pub fn new(lexicon: &Lexicon, text: TextEncoder, weights: [f32; 2]) -> Self {
        let mut all: Vec<Vec<Phone>> = lexicon.pronunciations().filter(|phones| phones.len() > 1).collect();
        all.sort();
        all.dedup();
        Self { tree: PhoneTree::new(&all), text, weights, embeddings: HashMap::new() }
    }

    /// Phones of a pronunciation.
    pub fn phones(&self, index: usize) -> Vec<Phone> {
        self.tree.phones(index)
    }

    /// The weighted witnesses: a word's share is the exponential of this over the sum of all.
    pub fn weigh(&self, cosine: f32, path: f32) -> f32 {
        self.weights[0] * cosine + self.weights[1] * path
    }

    /// What speaks for the pronunciations that fit best, if one word was said in all `segments`; nothing where the model has no
    /// phone head.
    ///
    /// # Errors
    /// If the backend fails.
    pub fn witnesses(&mut self, segments: &[&Segment]) -> Result<Vec<Witnesses>, ModelError> {
        let mut paths = vec![0.0; self.tree.len()];
        for segment in segments {
            let Some(posteriors) = &segment.posteriors else { return Ok(Vec::new()) };
            paths.iter_mut().zip(self.tree.paths(posteriors)).for_each(|(sum, path)| *sum += path);
        }
        let mut order: Vec<usize> = (0..paths.len()).filter(|&i| paths[i].is_finite()).collect();
        if order.len() > SHORTLIST {
            order.select_nth_unstable_by(SHORTLIST, |&a, &b| paths[b].total_cmp(&paths[a]));
            order.truncate(SHORTLIST);
        }
        order.sort_unstable();
        let mut out = Vec::with_capacity(order.len());
        for index in order {
            let Some(embedding) = self.embedding(index)? else { continue };
            let cosine = segments.iter().map(|s| s.embedding.cosine(embedding)).sum();
            out.push(Witnesses { index, cosine, path: paths[index] });
        }
        Ok(out)
    }

    /// Which words may have been said, if it was one word in all `segments`; `None` where the model has no phone head, or there
    /// are too few frames for any word.
    ///
    /// # Errors
    /// If the backend fails.
    pub fn hear(&mut self, segments: &[&Segment]) -> Result<Option<Heard>, ModelError> {
        let weighed: Vec<(usize, f32)> =
            self.witnesses(segments)?.iter().map(|w| (w.index, self.weigh(w.cosine, w.path))).collect();
        let Some(best) = weighed.iter().map(|w| w.1).reduce(f32::max) else { return Ok(None) };
        let sum = best + weighed.iter().map(|w| (w.1 - best).exp()).sum::<f32>().ln();
        let shares = weighed.into_iter().map(|(index, z)| (index, (z - sum).exp()));
        Ok(Some(Heard { shares: shares.filter(|s| s.1 >= LEAST).collect(), sum }))
    }

    /// What was most likely said, if it was the same in all `segments`: at most so many ways, the best first and those with less
    /// than `least` left out, but for the best. Beside the words of the lexicon there are the likeliest phones of each segment,
    /// for names and phrases that it does not have. None where the model has no phone head.
    ///
    /// # Errors
    /// If the backend fails.
    pub fn guesses(&mut self, segments: &[&Segment], most: usize, least: f32) -> Result<Vec<Guess>, ModelError> {
        let Some(heard) = self.hear(segments)? else { return Ok(Vec::new()) };
        let mut found = heard.shares.clone();
        found.sort_by(|a, b| b.1.total_cmp(&a.1));
        found.truncate(most);
        let mut guesses = Vec::new();
        for (index, share) in found {
            if let Some(embedding) = self.embedding(index)?.cloned() {
                guesses.push((share.ln(), Guess { phones: self.phones(index), embedding, share }));
            }
        }
        for phones in segments.iter().filter_map(|s| s.phones()).filter(|phones| phones.len() > 1) {
            if guesses.iter().any(|(_, g)| g.phones == phones) {
                continue;
            }
            let Some(embedding) = Embedding::new(self.text.embed(&phones)?) else { continue };
            let mut tree = PhoneTree::new(std::slice::from_ref(&phones));
            let weighed = segments.iter().map(|s| {
                let path = s.posteriors.as_deref().map_or(f32::NEG_INFINITY, |p| tree.paths(p)[0]);
                self.weigh(s.embedding.cosine(&embedding), path)
            });
            guesses.push((heard.against(weighed.sum()), Guess { phones, embedding, share: 0.0 }));
        }
        let best = guesses.iter().map(|(odds, _)| *odds).fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = guesses.iter().map(|(odds, _)| (odds - best).exp()).sum();
        let shared = guesses.into_iter().map(|(odds, guess)| Guess { share: (odds - best).exp() / sum, ..guess });
        let mut guesses: Vec<Guess> = shared.collect();
        guesses.sort_by(|a, b| b.share.total_cmp(&a.share));
        let kept = guesses.iter().take(most).take_while(|g| g.share >= least).count().max(1);
        guesses.truncate(kept);
        Ok(guesses)
    }

    fn embedding(&mut self, index: usize) -> Result<Option<&Embedding>, ModelError> {
        if !self.embeddings.contains_key(&index)
            && let Some(embedding) = Embedding::new(self.text.embed(&self.phones(index))?)
        {
            self.embeddings.insert(index, embedding);
        }
        Ok(self.embeddings.get(&index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likeness_is_the_common_part() {
        let heard = |shares: &[(usize, f32)]| Heard { shares: shares.to_vec(), sum: 0.0 };
        let a = heard(&[(1, 0.64), (5, 0.36)]);
        assert!((a.likeness(&a) - 1.0).abs() < 1e-6);
        let b = heard(&[(0, 0.5), (5, 0.25), (9, 0.25)]);
        assert!((a.likeness(&b) - 0.3).abs() < 1e-6 && a.likeness(&b) == b.likeness(&a));
        assert_eq!(a.likeness(&heard(&[(2, 1.0)])), 0.0);
    }
}
