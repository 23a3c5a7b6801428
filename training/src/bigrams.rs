//! Which words follow which, out of counts of words and of pairs of words (`kws_live::words::Bigrams`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kws_live::text::Phone;
use kws_live::words::{Bigrams, Row, WordId};

/// Words that are counted less often than this are taken to be.
const LEAST_COUNT: f64 = 1_000.0;
/// The most of what follows a word that its listed followers may be: lists end somewhere.
const MOST_LISTED: f64 = 0.9;
/// Commonest words whose followers are taken to be listed whole.
const COMMONEST: usize = 100;

/// Counts of words, and of pairs of words.
pub struct Counts {
    words: HashMap<String, f64>,
    total: f64,
    pairs: BTreeMap<String, Vec<(String, f64)>>,
    /// How many pairs a counted word stands for: both may come from different collections.
    scale: f64,
}

fn read(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim_start_matches('\u{feff}').to_lowercase())
}

impl Counts {
    /// Reads lines of a word and its count, and of two words and their count.
    ///
    /// # Errors
    /// Names the file, and the line that is none.
    pub fn read(words: &Path, pairs: &Path) -> Result<Self> {
        Self::parse(&read(words)?, &read(pairs)?)
            .with_context(|| format!("{} and {}", words.display(), pairs.display()))
    }

    fn parse(words: &str, pairs: &str) -> Result<Self> {
        let count = |count: &str| count.parse::<f64>().ok().filter(|c| *c > 0.0);
        let mut of = HashMap::new();
        for line in words.lines() {
            let word = line.split_once(' ').and_then(|(word, n)| Some((word, count(n.trim())?)));
            let (word, n) = word.with_context(|| format!("`{line}` is no word and its count"))?;
            *of.entry(word.to_owned()).or_default() += n;
        }
        let mut rows: BTreeMap<String, Vec<(String, f64)>> = BTreeMap::new();
        for line in pairs.lines() {
            let mut fields = line.split(' ');
            let pair = (fields.next(), fields.next(), fields.next().and_then(count));
            let (Some(first), Some(second), Some(n)) = pair else {
                anyhow::bail!("`{line}` is no pair of words and its count")
            };
            rows.entry(first.to_owned()).or_default().push((second.to_owned(), n));
        }
        ensure!(!of.is_empty() && !rows.is_empty(), "there is nothing in them");
        let mut common: Vec<(f64, f64)> = rows
            .iter()
            .filter_map(|(word, row)| Some((*of.get(word)?, row.iter().map(|r| r.1).sum::<f64>())))
            .collect();
        ensure!(!common.is_empty(), "no word of the pairs is counted");
        common.sort_by(|a, b| b.0.total_cmp(&a.0));
        common.truncate(COMMONEST);
        let mut scales: Vec<f64> = common.into_iter().map(|(word, row)| row / word).collect();
        scales.sort_by(f64::total_cmp);
        let total = of.values().sum();
        Ok(Self { words: of, total, pairs: rows, scale: scales[scales.len() / 2] })
    }

    /// The count of a word.
    pub fn of(&self, word: &str) -> f64 {
        self.words.get(word).copied().unwrap_or(LEAST_COUNT).max(LEAST_COUNT)
    }

    /// The lifts of all pairs; `rivals` are pronunciations with the words that people said so.
    ///
    /// `p(b | a)` is the listed count, with what the list leaves of `a` spread over all words by `p(b)`.
    ///
    /// # Errors
    /// If there are too many words.
    pub fn bigrams(&self, rivals: &BTreeMap<Vec<Phone>, BTreeSet<String>>) -> Result<Bigrams> {
        let commonest =
            |words: &BTreeSet<String>| words.iter().max_by(|a, b| self.of(a).total_cmp(&self.of(b))).cloned();
        let spelt: Vec<Option<String>> = rivals.values().map(commonest).collect();
        let followers = self.pairs.iter().flat_map(|(a, row)| std::iter::once(a).chain(row.iter().map(|r| &r.0)));
        let words: BTreeSet<&String> = followers.collect();
        let ids: HashMap<&str, WordId> = words.iter().enumerate().map(|(i, w)| (w.as_str(), i as WordId)).collect();
        let rows: Vec<Row> = words.iter().map(|word| self.row(word, &ids)).collect();
        let known = spelt.iter().map(|w| w.as_ref().and_then(|w| ids.get(w.as_str()).copied())).collect();
        let words: Vec<String> = words.into_iter().cloned().collect();
        let count = words.len();
        Bigrams::new(words, &rows, known).with_context(|| format!("{count} words are more than 65,535"))
    }

    fn row(&self, word: &str, ids: &HashMap<&str, WordId>) -> Row {
        let Some(row) = self.pairs.get(word) else { return Row { rest: 0.0, next: Vec::new() } };
        let listed: f64 = row.iter().map(|r| r.1).sum();
        let all = (self.of(word) * self.scale).max(listed / MOST_LISTED);
        let left = 1.0 - listed / all;
        let lift = |next: &str, pairs: f64| {
            let alone = self.of(next) / self.total;
            (((pairs / all) + left * alone) / alone).ln() as f32
        };
        let mut next: Vec<(WordId, f32)> = row.iter().map(|(w, n)| (ids[w.as_str()], lift(w, *n))).collect();
        next.sort_by_key(|n| n.0);
        Row { rest: left.ln() as f32, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifts_by_hand() {
        // Every word is counted once in ten thousand pairs' worth; the scale is 1: `the` is followed 6,000 times by a listed word.
        let counts = Counts::parse("the 6000\nanswer 2000\nof 2000\n", "the answer 3000\nthe of 3000\nof the 1000\n");
        let counts = counts.expect("counts");
        let said = |word: &str| BTreeSet::from([word.to_owned()]);
        let rivals = BTreeMap::from([(vec![Phone::from_id(1).expect("a phone")], said("answer"))]);
        let bigrams = counts.bigrams(&rivals).expect("few words");
        let id = |w: &str| bigrams.id(w);
        assert_eq!(bigrams.rivals(), [id("answer")]);
        let near = |got: f32, want: f64| assert!((f64::from(got) - want).abs() < 0.051, "{got}, by hand {want}");
        // Scales 1 and 0.5: the greater of the two. A tenth is left: p(answer | the) = 0.45 + 0.1 * 0.2, p(answer) = 0.2.
        near(bigrams.lift(id("the"), id("answer")), (0.47_f64 / 0.2).ln());
        near(bigrams.lift(id("the"), None), 0.1_f64.ln());
        // Half of what follows `of` is listed: p(the | of) = 0.5 + 0.5 * 0.6.
        near(bigrams.lift(id("of"), id("the")), (0.8_f64 / 0.6).ln());
        near(bigrams.lift(id("of"), id("of")), 0.5_f64.ln());
        near(bigrams.lift(id("answer"), id("of")), 0.0);
    }

    #[test]
    fn what_is_no_count_is_refused_by_its_line() {
        let error = Counts::parse("the 1\n", "the answer\n").err().expect("no count").to_string();
        assert!(error.contains("the answer"), "{error}");
        assert!(Counts::parse("the\n", "the answer 1\n").is_err());
        assert!(Counts::parse("", "").is_err());
    }
}
