//! CMUdict as training data: spellings with all their pronunciations, a fixed share held out.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kws_live::model::sha256;
use kws_live::text::{Phone, letter_ids, read_cmudict};

/// One held-out headword in this many.
const HOLD_OUT: u32 = 50;

/// A headword.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headword {
    /// Spelling in lower case.
    pub word: String,
    /// Letter ids with a border at each end.
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

/// Reads a dictionary in CMUdict's format, sorted by spelling; stress and comments are dropped, and so are words with
/// digits, dots or hyphens, whose letters do not say how they sound.
///
/// # Errors
/// If the file cannot be read or holds no entry.
pub fn read(path: &Path) -> Result<Vec<Headword>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let words = read_cmudict(&text).with_context(|| path.display().to_string())?;
    let entry = |(word, phones): (String, Vec<Vec<Phone>>)| {
        let letters = letter_ids(&word)?;
        (!phones.is_empty()).then_some(Headword { word, letters, phones })
    };
    let words: Vec<Headword> = words.into_iter().filter_map(entry).collect();
    ensure!(!words.is_empty(), "{} holds no entry", path.display());
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kws_live::text::parse_phones;

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
