//! Phone and word error on held-out words, with the decoder that the runtime uses.

use std::fmt;

use anyhow::Result;
use kws_live::model::{BackendChoice, Tensor as Plain, load_graph};
use kws_live::text::{CLASSES, G2p, Phone, letter_ids};
use serde::Serialize;

use super::lexicon::Headword;

/// Names that no dictionary word resembles: printed for a look by eye.
const ODD: [&str; 8] = ["jarvis", "kubernetes", "siobhan", "alexa", "snowboy", "tensorflow", "zoe", "o'reilly"];

/// Error rates of one way to decode.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Errors {
    /// Substitutions, insertions and deletions a reference phone.
    pub phone: f64,
    /// Share of words with any phone wrong.
    pub word: f64,
}

/// Errors on held-out words; a word's reference is whichever of its pronunciations is nearest.
#[derive(Debug, Clone, Serialize)]
pub struct Scores {
    /// Number of words.
    pub words: usize,
    /// Phones in their references.
    pub phones: usize,
    /// The likeliest class of every frame.
    pub greedy: Errors,
    /// The runtime's beam search.
    pub beam: Errors,
    /// Share of words that neither of the beam's first two guesses has right.
    pub beam_best_of_two: f64,
    /// Some names and what the model makes of them.
    pub examples: Vec<(String, String)>,
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |e: &Errors| format!("phone error {:.2} %, word error {:.2} %", 100.0 * e.phone, 100.0 * e.word);
        write!(f, "{} held-out words: greedy {}; beam {}", self.words, percent(&self.greedy), percent(&self.beam))?;
        write!(f, ", {:.2} % in neither of two guesses", 100.0 * self.beam_best_of_two)?;
        self.examples.iter().try_for_each(|(word, phones)| write!(f, "\n  {word}: {phones}"))
    }
}

/// Levenshtein distance.
pub(crate) fn distance(a: &[Phone], b: &[Phone]) -> usize {
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

/// Sums of errors.
#[derive(Default)]
struct Tally {
    phones: usize,
    errors: usize,
    wrong: usize,
}

impl Tally {
    /// Counts a guess against the nearest of the references; says whether it is one of them.
    fn add(&mut self, said: &[Phone], references: &[Vec<Phone>]) -> bool {
        let (errors, phones) = references.iter().map(|p| (distance(said, p), p.len())).min().unwrap_or_default();
        self.errors += errors;
        self.phones += phones;
        self.wrong += usize::from(errors > 0);
        errors == 0
    }

    fn rates(&self, words: usize) -> Errors {
        let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
        Errors { phone: share(self.errors, self.phones), word: share(self.wrong, words) }
    }
}

/// The likeliest class of every frame of `[40, frames]`, without repeats and blanks.
fn greedy(logits: &[f32]) -> Vec<Phone> {
    let frames = logits.len() / CLASSES;
    let best = |t: usize| (0..CLASSES).max_by(|&a, &b| logits[a * frames + t].total_cmp(&logits[b * frames + t]));
    let mut path: Vec<usize> = (0..frames).filter_map(best).collect();
    path.dedup();
    path.into_iter().filter_map(Phone::from_id).collect()
}

/// Scores a graph on `words`.
///
/// # Errors
/// If the graph does not load or run.
pub fn score(onnx: &[u8], words: &[Headword]) -> Result<Scores> {
    let load = || load_graph(onnx.to_vec().into(), "g2p.onnx", BackendChoice::default());
    let (mut graph, mut runtime) = (load()?, G2p::new(load()?));
    let (mut by_greedy, mut by_beam, mut missed) = (Tally::default(), Tally::default(), 0);
    for word in words {
        let letters = Plain::i64(&[1, word.letters.len()], word.letters.clone());
        let outputs = graph.run(&[("letters", &letters)])?;
        by_greedy.add(&greedy(outputs.first().and_then(Plain::as_f32).unwrap_or_default()), &word.phones);
        let guesses = runtime.pronounce(&word.word, 2)?;
        by_beam.add(guesses.first().map_or(&[], |g| g.0.as_slice()), &word.phones);
        missed += usize::from(!guesses.iter().any(|g| word.phones.contains(&g.0)));
    }
    let mut examples = Vec::new();
    for word in ODD.iter().filter(|w| letter_ids(w).is_some()) {
        let guesses = runtime.pronounce(word, 2)?;
        let show = |(phones, p): &(Vec<Phone>, f32)| {
            format!("{} ({p:.2})", phones.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        examples.push(((*word).to_owned(), guesses.iter().map(show).collect::<Vec<_>>().join(", ")));
    }
    Ok(Scores {
        words: words.len(),
        phones: by_greedy.phones,
        greedy: by_greedy.rates(words.len()),
        beam: by_beam.rates(words.len()),
        beam_best_of_two: missed as f64 / words.len().max(1) as f64,
        examples,
    })
}
