//! Keyword text to pronunciations: the phones given, the lexicon, the model, letter by letter.

use std::fmt;

use super::spell::{Token, letter_name, readings};
use super::{G2p, KeywordSpec, Lexicon, Phone, TextError};

/// Where a pronunciation comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Given by the user.
    Given,
    /// CMUdict.
    Lexicon,
    /// Said letter by letter.
    Letters,
    /// The grapheme-to-phoneme model: a guess.
    Model,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Given => "given",
            Self::Lexicon => "lexicon",
            Self::Letters => "letter by letter",
            Self::Model => "guessed",
        })
    }
}

/// How a keyword will be listened for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// One way to say it.
    pub phones: Vec<Phone>,
    /// Where it comes from; for several words the least certain of them.
    pub source: Source,
}

/// Pronunciations kept for a keyword.
const MOST: usize = 12;
/// Fewest and most phones of a keyword.
const PHONES: std::ops::RangeInclusive<usize> = 2..=40;
/// A second guess of the model is kept if it is at least so likely, relative to the first.
const SECOND_GUESS: f32 = 0.3;

/// Turns text into phones.
pub struct Pronouncer {
    lexicon: Lexicon,
    g2p: Option<G2p>,
}

impl Pronouncer {
    /// Without a model, words that the lexicon lacks are refused.
    pub fn new(lexicon: Lexicon, g2p: Option<G2p>) -> Self {
        Self { lexicon, g2p }
    }

    /// The lexicon.
    pub fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    /// The pronunciations to listen for, without doubles.
    ///
    /// # Errors
    /// [`TextError`] says what is wrong with the keyword.
    pub fn resolve(&mut self, spec: &KeywordSpec) -> Result<Vec<Vec<Phone>>, TextError> {
        Ok(self.explain(spec)?.into_iter().map(|s| s.phones).collect())
    }

    /// The same with their sources.
    ///
    /// # Errors
    /// As [`Pronouncer::resolve`].
    pub fn explain(&mut self, spec: &KeywordSpec) -> Result<Vec<Said>, TextError> {
        let said = if spec.phones.is_empty() {
            self.text(&spec.name)?
        } else {
            spec.phones.iter().map(|p| Said { phones: p.clone(), source: Source::Given }).collect()
        };
        for way in &said {
            if !PHONES.contains(&way.phones.len()) {
                let phones = way.phones.iter().map(|p| p.symbol()).collect::<Vec<_>>().join(" ");
                let keyword = spec.name.clone();
                let short = way.phones.len() < *PHONES.start();
                return Err(if short {
                    TextError::TooShort { keyword, phones }
                } else {
                    TextError::TooLong { keyword, count: way.phones.len(), most: *PHONES.end() }
                });
            }
        }
        Ok(said)
    }

    fn text(&mut self, text: &str) -> Result<Vec<Said>, TextError> {
        let mut out: Vec<Said> = Vec::new();
        for reading in readings(text) {
            if reading.is_empty() {
                return Err(TextError::Unsayable(text.into()));
            }
            let mut ways = vec![Said { phones: Vec::new(), source: Source::Given }];
            for token in &reading {
                let words = self.token(token)?;
                let join = |a: &Said, b: &Said| Said {
                    phones: [a.phones.as_slice(), &b.phones].concat(),
                    source: a.source.max(b.source),
                };
                // The dictionary's order comes first in every word, so what is cut off is the least usual.
                ways = words.iter().flat_map(|w| ways.iter().map(move |v| join(v, w))).take(MOST).collect();
            }
            for way in ways {
                if out.len() < MOST && !out.iter().any(|o| o.phones == way.phones) {
                    out.push(way);
                }
            }
        }
        Ok(out)
    }

    fn token(&mut self, token: &Token) -> Result<Vec<Said>, TextError> {
        let word = token.word.as_str();
        let known = self.lexicon.get(word);
        if !known.is_empty() {
            return Ok(known.into_iter().map(|phones| Said { phones, source: Source::Lexicon }).collect());
        }
        // A possessive or plural of a known word.
        if let Some(stem) = word.strip_suffix("'s").filter(|s| !s.is_empty()) {
            let ways = self.lexicon.get(stem);
            if !ways.is_empty() {
                let source = Source::Lexicon;
                return Ok(ways.into_iter().map(|p| Said { phones: with_s(p), source }).collect());
            }
        }
        let vowels = word.contains(['a', 'e', 'i', 'o', 'u', 'y']);
        if token.capitals && word.len() <= 5 || !vowels && word.len() <= 6 {
            return self.letters(word);
        }
        let Some(g2p) = &mut self.g2p else { return Err(TextError::NotInLexicon(word.into())) };
        let guesses = g2p.pronounce(word, 2)?;
        let best = guesses.first().map_or(0.0, |g| g.1);
        let kept: Vec<Said> = guesses
            .into_iter()
            .filter(|g| g.1 >= SECOND_GUESS * best)
            .map(|(phones, _)| Said { phones, source: Source::Model })
            .collect();
        if kept.is_empty() { Err(TextError::Unsayable(word.into())) } else { Ok(kept) }
    }

    /// The names of the letters, one after the other.
    fn letters(&self, word: &str) -> Result<Vec<Said>, TextError> {
        let mut phones = Vec::new();
        for letter in word.chars().filter(|c| *c != '\'') {
            let name = letter_name(letter).and_then(|n| self.lexicon.get(n).into_iter().next());
            phones.extend(name.ok_or_else(|| TextError::Unsayable(word.into()))?);
        }
        Ok(vec![Said { phones, source: Source::Letters }])
    }
}

/// Adds the ending `'s`: S, Z or IH Z by the last phone.
fn with_s(mut phones: Vec<Phone>) -> Vec<Phone> {
    let ending = match phones.last().map(|p| p.symbol()) {
        Some("S" | "Z" | "SH" | "ZH" | "CH" | "JH") => "IH Z",
        Some("P" | "T" | "K" | "F" | "TH") => "S",
        _ => "Z",
    };
    phones.extend(super::parse_phones(ending).unwrap_or_default());
    phones
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{parse_phones, read_cmudict};

    fn pronouncer() -> Pronouncer {
        let text = "hello HH AH0 L OW1\nhello(2) HH EH0 L OW1\nworld W ER1 L D\nm. EH1 M\nq. K Y UW1\np. P IY1\na AH0\nsix S IH1 K S\n";
        let words = read_cmudict(text).expect("ARPAbet");
        Pronouncer::new(Lexicon::from_bytes(&Lexicon::pack(&words)).expect("packed"), None)
    }

    fn said(text: &str) -> Result<Vec<String>, TextError> {
        let ways = pronouncer().resolve(&KeywordSpec::new(text))?;
        Ok(ways.iter().map(|w| w.iter().map(|p| p.symbol()).collect::<Vec<_>>().join(" ")).collect())
    }

    #[test]
    fn phrases_take_every_combination() {
        assert_eq!(said("hello world").expect("known"), ["HH AH L OW W ER L D", "HH EH L OW W ER L D"]);
        assert_eq!(said("World's").expect("known"), ["W ER L D Z"]);
        assert_eq!(said("MQP").expect("letters"), ["EH M K Y UW P IY"]);
        assert_eq!(said("6").expect("a number"), ["S IH K S"]);
    }

    #[test]
    fn what_cannot_be_said_or_heard_is_refused() {
        assert!(matches!(said("?!"), Err(TextError::Unsayable(_))));
        assert!(matches!(said("a"), Err(TextError::TooShort { .. })));
        assert!(matches!(said(&"hello ".repeat(12)), Err(TextError::TooLong { .. })));
        assert!(matches!(said("blorp"), Err(TextError::NotInLexicon(_))));
    }

    #[test]
    fn given_phones_win() {
        let given = parse_phones("SH AH V AO N").expect("ARPAbet");
        let spec = KeywordSpec { name: "hello".into(), phones: vec![given.clone()] };
        let said = pronouncer().explain(&spec).expect("given");
        assert_eq!(said, [Said { phones: given, source: Source::Given }]);
    }
}
