//! Phone and word error on held-out words, with the decoder that the runtime uses.

use std::fmt;

use anyhow::Result;
use kws_live::model::{BackendChoice, Tensor as Plain, load_graph};
use kws_live::text::{CLASSES, Phone};
use serde::Serialize;

use super::lexicon::{Headword, letters};

/// Names that no dictionary word resembles: printed for a look by eye.
const ODD: [&str; 8] = ["jarvis", "kubernetes", "siobhan", "alexa", "snowboy", "tensorflow", "zoe", "o'reilly"];

/// Errors on held-out words; a word's reference is whichever of its pronunciations is nearest.
#[derive(Debug, Clone, Serialize)]
pub struct Scores {
    /// Number of words.
    pub words: usize,
    /// Phones in their references.
    pub phones: usize,
    /// Substitutions, insertions and deletions a reference phone, best path.
    pub phone_error: f64,
    /// Share of words with any phone wrong, best path.
    pub word_error: f64,
    /// Some names and what the model makes of them.
    pub examples: Vec<(String, String)>,
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phone, word) = (100.0 * self.phone_error, 100.0 * self.word_error);
        write!(f, "{} held-out words: phone error {phone:.2} %, word error {word:.2} %", self.words)?;
        self.examples.iter().try_for_each(|(word, phones)| write!(f, "\n  {word}: {phones}"))
    }
}

/// Levenshtein distance.
fn distance(a: &[Phone], b: &[Phone]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = (corner + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}

/// Scores a graph on `words`.
///
/// # Errors
/// If the graph does not load or run.
pub fn score(onnx: &[u8], words: &[Headword]) -> Result<Scores> {
    let mut graph = load_graph(onnx, "g2p.onnx", BackendChoice::default())?;
    let mut speak = |letters: &[i64]| -> Result<Vec<Phone>> {
        let outputs = graph.run(&[("letters", &Plain::i64(&[1, letters.len()], letters.to_vec()))])?;
        let logits = outputs.first().and_then(Plain::as_f32).unwrap_or_default();
        let frames = logits.len() / CLASSES;
        let best = |t: usize| (0..CLASSES).max_by(|&a, &b| logits[a * frames + t].total_cmp(&logits[b * frames + t]));
        let mut path: Vec<usize> = (0..frames).filter_map(best).collect();
        path.dedup();
        Ok(path.into_iter().filter_map(Phone::from_id).collect())
    };
    let (mut phones, mut errors, mut wrong) = (0, 0, 0);
    for word in words {
        let said = speak(&word.letters)?;
        let nearest = word.phones.iter().map(|p| (distance(&said, p), p.len())).min().unwrap_or_default();
        errors += nearest.0;
        phones += nearest.1;
        wrong += usize::from(nearest.0 > 0);
    }
    let show = |phones: Vec<Phone>| phones.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let examples = ODD
        .iter()
        .filter_map(|w| letters(w).map(|l| (w, l)))
        .map(|(w, l)| Ok(((*w).to_owned(), show(speak(&l)?))))
        .collect::<Result<_>>()?;
    let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
    Ok(Scores {
        words: words.len(),
        phones,
        phone_error: share(errors, phones),
        word_error: share(wrong, words.len()),
        examples,
    })
}
