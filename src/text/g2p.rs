//! Letters to phones by a small CTC network, for words that the lexicon lacks.

use std::collections::HashMap;

use super::{BLANK, CLASSES, Phone, TextError};
use crate::detect::log_add;
use crate::model::{Graph, ModelError, Tensor, log_softmax};

/// Output frames a letter of the network.
pub const FRAMES_PER_LETTER: usize = 3;
/// Id of the word border; `a` to `z` are 1 to 26.
pub const BORDER: i64 = 0;
/// Id of the apostrophe.
pub const APOSTROPHE: i64 = 27;
/// Number of letter ids.
pub const LETTERS: usize = 28;

/// Prefixes kept by the beam search.
const BEAM: usize = 12;

/// Ids of a word's letters with a border at each end, `[letters + 2]`; `None` where it holds anything but a-z and `'`.
pub fn letter_ids(word: &str) -> Option<Vec<i64>> {
    let id = |c: char| match c {
        'a'..='z' => Some(i64::from(c as u8 - b'a') + 1),
        '\'' => Some(APOSTROPHE),
        _ => None,
    };
    let letters = word.chars().map(id).collect::<Option<Vec<_>>>().filter(|l| !l.is_empty())?;
    Some([vec![BORDER], letters, vec![BORDER]].concat())
}

/// Loads the graph.
type Load = Box<dyn FnMut() -> Result<Box<dyn Graph>, ModelError> + Send>;

/// The grapheme-to-phoneme model.
pub struct G2p {
    load: Load,
    graph: Option<Box<dyn Graph>>,
}

impl G2p {
    /// Wraps a graph `letters` `[1, L]` to `phones` `[1, 40, 3 L]` (logits, the CTC blank first).
    pub fn new(graph: Box<dyn Graph>) -> Self {
        let load = || unreachable!("the graph is there from the start and stays");
        Self { load: Box::new(load), graph: Some(graph) }
    }

    /// The same with a graph that is loaded for the first word.
    pub fn on_demand(load: impl FnMut() -> Result<Box<dyn Graph>, ModelError> + Send + 'static) -> Self {
        Self { load: Box::new(load), graph: None }
    }

    /// The `most` likeliest pronunciations of a lower-case word with their probabilities, best first.
    ///
    /// # Errors
    /// [`TextError::G2p`] if the backend fails, [`TextError::Unsayable`] if the word holds no letters.
    pub fn pronounce(&mut self, word: &str, most: usize) -> Result<Vec<(Vec<Phone>, f32)>, TextError> {
        let ids = letter_ids(word).ok_or_else(|| TextError::Unsayable(word.into()))?;
        let frames = ids.len() * FRAMES_PER_LETTER;
        let letters = Tensor::i64(&[1, ids.len()], ids);
        let graph = match &mut self.graph {
            Some(graph) => graph,
            none => none.insert((self.load)()?),
        };
        let outputs = graph.run(&[("letters", &letters)])?;
        let logits = outputs.first().and_then(Tensor::as_f32).unwrap_or_default();
        if logits.len() != frames * CLASSES {
            let expected = (frames * CLASSES).to_string();
            return Err(ModelError::Shape { what: "phones", got: logits.len(), expected }.into());
        }
        let mut rows = vec![0.0; logits.len()];
        for (t, row) in rows.chunks_exact_mut(CLASSES).enumerate() {
            row.iter_mut().enumerate().for_each(|(c, v)| *v = logits[c * frames + t]);
        }
        log_softmax(&mut rows, CLASSES);
        Ok(beam_search(&rows, most))
    }
}

/// CTC prefix beam search (Graves 2012) over log-posteriors `[frames, CLASSES]`; empty results are dropped.
fn beam_search(rows: &[f32], most: usize) -> Vec<(Vec<Phone>, f32)> {
    const NONE: f32 = f32::NEG_INFINITY;
    // Prefix -> log probability ending in a blank, and in its last phone.
    let mut beam: Vec<(Vec<u8>, (f32, f32))> = vec![(Vec::new(), (0.0, NONE))];
    for row in rows.chunks_exact(CLASSES) {
        let mut next: HashMap<Vec<u8>, (f32, f32)> = HashMap::new();
        for (prefix, (blank, label)) in &beam {
            let all = log_add(*blank, *label);
            let stay = next.entry(prefix.clone()).or_insert((NONE, NONE));
            stay.0 = log_add(stay.0, all + row[BLANK]);
            if let Some(&last) = prefix.last() {
                stay.1 = log_add(stay.1, label + row[usize::from(last)]);
            }
            for class in 1..CLASSES {
                if row[class] < -9.0 {
                    continue;
                }
                let from = if prefix.last() == Some(&(class as u8)) { *blank } else { all };
                let mut longer = prefix.clone();
                longer.push(class as u8);
                let entry = next.entry(longer).or_insert((NONE, NONE));
                entry.1 = log_add(entry.1, from + row[class]);
            }
        }
        beam = next.into_iter().collect();
        let total = |entry: &(Vec<u8>, (f32, f32))| log_add(entry.1.0, entry.1.1);
        beam.sort_by(|a, b| total(b).total_cmp(&total(a)).then_with(|| a.0.cmp(&b.0)));
        beam.truncate(BEAM);
    }
    beam.into_iter()
        .filter(|(prefix, _)| !prefix.is_empty())
        .take(most)
        .map(|(prefix, (a, b))| {
            (prefix.iter().filter_map(|&id| Phone::from_id(id.into())).collect(), log_add(a, b).exp())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(frames: &[&[(usize, f32)]]) -> Vec<f32> {
        let row = |probabilities: &&[(usize, f32)]| {
            let mut row = vec![-20.0_f32; CLASSES];
            probabilities.iter().for_each(|&(class, p)| row[class] = p.ln());
            row
        };
        frames.iter().flat_map(row).collect()
    }

    #[test]
    fn sums_over_alignments_by_hand() {
        // Two frames, blank 0.6, phone 5 0.4: the empty text has 0.36, and [5] 0.4*0.4 + 2*0.4*0.6 = 0.64.
        let found = beam_search(&rows(&[&[(0, 0.6), (5, 0.4)], &[(0, 0.6), (5, 0.4)]]), 2);
        assert_eq!(found[0].0.iter().map(|p| p.id()).collect::<Vec<_>>(), [5]);
        assert!((found[0].1 - 0.64).abs() < 1e-4, "{found:?}");
    }

    #[test]
    fn a_double_phone_needs_a_blank() {
        let found = beam_search(&rows(&[&[(5, 1.0)], &[(0, 1.0)], &[(5, 1.0)], &[(5, 1.0)]]), 1);
        assert_eq!(found[0].0.len(), 2);
    }

    #[test]
    fn letters_have_borders() {
        assert_eq!(letter_ids("a'z"), Some(vec![0, 1, 27, 26, 0]));
        assert_eq!(letter_ids("é"), None);
        assert_eq!(letter_ids(""), None);
    }
}
