//! CMUdict as training data: spellings with all their pronunciations, a fixed share held out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kws_live::model::sha256;
use kws_live::text::{Phone, parse_phones};

/// Letter classes: 0 is the word's boundary, 1 to 26 are `a` to `z`, 27 the apostrophe.
pub const LETTERS: usize = 28;

/// One held-out headword in this many.
const HOLD_OUT: u32 = 50;

/// A headword.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headword {
    /// Spelling in lower case.
    pub word: String,
    /// Letter classes with a boundary at each end.
    pub letters: Vec<i64>,
    /// Its pronunciations, different from each other.
    pub phones: Vec<Vec<Phone>>,
}

impl Headword {
    /// Whether the word is never trained on; depends on its spelling alone.
    pub fn held_out(&self) -> bool {
        let hash = sha256(self.word.as_bytes());
        u32::from_str_radix(&hash[..8], 16).is_ok_and(|h| h % HOLD_OUT == 0)
    }
}

/// Letter classes of a word with a boundary at each end; `None` if it has a character other than letters and the
/// apostrophe, or none at all.
pub fn letters(word: &str) -> Option<Vec<i64>> {
    let class = |c: char| match c.to_ascii_lowercase() {
        c @ 'a'..='z' => Some(i64::from(c as u8 - b'a') + 1),
        '\'' => Some(27),
        _ => None,
    };
    let inner = word.chars().map(class).collect::<Option<Vec<i64>>>()?;
    (!inner.is_empty()).then(|| [&[0], inner.as_slice(), &[0]].concat())
}

/// Reads a dictionary in CMUdict's format, sorted by spelling; stress and comments are dropped, and so are words with
/// digits, dots or hyphens, whose letters do not say how they sound.
///
/// # Errors
/// Names the line that is not an entry.
pub fn read(path: &Path) -> Result<Vec<Headword>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut words: BTreeMap<String, Headword> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let Some((spelling, phones)) = line.split_once(' ') else { continue };
        let word = spelling.split('(').next().unwrap_or_default().to_lowercase();
        let phones = parse_phones(phones).with_context(|| format!("{}:{}", path.display(), number + 1))?;
        let Some(letters) = letters(&word) else { continue };
        let entry = words.entry(word.clone()).or_insert_with(|| Headword { word, letters, phones: Vec::new() });
        if !phones.is_empty() && !entry.phones.contains(&phones) {
            entry.phones.push(phones);
        }
    }
    words.retain(|_, w| !w.phones.is_empty());
    ensure!(!words.is_empty(), "{} holds no entry", path.display());
    Ok(words.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_comments_and_stress() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let text = "read R EH1 D\nread(2) R IY1 D\nread(3) R IY0 D\no'hare OW0 HH EH1 R # place\na.m. EY2 EH1 M\n";
        fs::write(file.path(), text).expect("written");
        let words = read(file.path()).expect("a dictionary");
        assert_eq!(words.iter().map(|w| w.word.as_str()).collect::<Vec<_>>(), ["o'hare", "read"]);
        assert_eq!(words[0].letters, [0, 15, 27, 8, 1, 18, 5, 0]);
        assert_eq!(words[1].phones, ["R EH D", "R IY D"].map(|p| parse_phones(p).expect("ARPAbet")));
    }

    #[test]
    fn about_two_in_a_hundred_are_held_out() {
        let of = |i: u32| Headword { word: format!("word{i}"), letters: Vec::new(), phones: Vec::new() };
        let count = (0..5_000).filter(|&i| of(i).held_out()).count();
        assert!((60..140).contains(&count), "{count} of 5000");
    }
}
