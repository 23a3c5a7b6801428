//! Keyword text to pronunciations: the phones given, the lexicon, the model, letter by letter.

use std::fmt;

use super::spell::{is_foreign, readings};
use super::token::{Token, letter_name};
use super::{G2p, KeywordSpec, Lexicon, Phone, TextError, arpabet, pairs};

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
        let fits = |way: &Said| PHONES.contains(&way.phones.len());
        if spec.phones.is_empty() {
            let mut readings = self.text(&spec.name)?;
            if !readings.iter().flatten().any(fits) {
                let main = readings.iter().flatten().next().map_or(&[][..], |way| &way.phones);
                return Err(misfit(&spec.name, main));
            }
            // Of several ways those that can be heard are enough: `AI` is EY AY, and not AY.
            for ways in &mut readings {
                ways.retain(fits);
            }
            return Ok(share(readings));
        }
        let given = spec.phones.iter().map(|p| Said { phones: p.clone(), source: Source::Given });
        let given: Vec<Said> = given.collect();
        match given.iter().find(|way| !fits(way)) {
            Some(unfit) => Err(misfit(&spec.name, &unfit.phones)),
            None => Ok(given),
        }
    }

    /// The ways of each reading of a text.
    fn text(&mut self, text: &str) -> Result<Vec<Vec<Said>>, TextError> {
        if is_foreign(text) {
            return Err(TextError::Script(text.into()));
        }
        let readings = readings(text);
        if readings.iter().any(Vec::is_empty) {
            return Err(TextError::Unsayable(text.into()));
        }
        readings.iter().map(|reading| self.sequence(reading)).collect()
    }

    /// The ways to say tokens one after the other.
    fn sequence(&mut self, tokens: &[Token]) -> Result<Vec<Said>, TextError> {
        let mut ways = vec![Said { phones: Vec::new(), source: Source::Given }];
        for token in tokens {
            let words = self.token(token)?;
            let join = |a: &Said, b: &Said| Said {
                phones: [a.phones.as_slice(), &b.phones].concat(),
                source: a.source.max(b.source),
            };
            // What the dictionary has first comes first, so what is cut off is the least usual.
            let both = pairs(ways.len(), words.len(), MOST);
            ways = both.into_iter().map(|(way, word)| join(&ways[way], &words[word])).collect();
        }
        Ok(ways)
    }

    fn token(&mut self, token: &Token) -> Result<Vec<Said>, TextError> {
        let word = token.word.as_str();
        let known = self.known(word);
        let vowels = word.contains(['a', 'e', 'i', 'o', 'u', 'y']);
        // A single sound, as of `MM`, is not what capitals stand for.
        let is_letters = token.capitals && !vowels && known.iter().all(|way| way.phones.len() == 1);
        if !known.is_empty() && !is_letters {
            return Ok(known);
        }
        // A possessive or plural of a known word, or of letters.
        if let Some(stem) = word.strip_suffix("'s").filter(|s| !s.is_empty()) {
            let known = self.known(stem);
            let stems = if known.is_empty() && token.capitals && token.parts.is_empty() {
                self.token(&Token { word: stem.into(), ..token.clone() })?
            } else {
                known
            };
            if !stems.is_empty() {
                return Ok(stems.into_iter().map(|s| Said { phones: with_s(s.phones), ..s }).collect());
            }
        }
        if !token.parts.is_empty() {
            let joined = self.known(&word.replace('-', ""));
            return if joined.is_empty() { self.sequence(&token.parts) } else { Ok(joined) };
        }
        if token.capitals && word.len() <= 3 || !vowels && word.len() <= 6 {
            return self.letters(word);
        }
        // Four or five capitals may be letters (IEEE) or a word (COVID).
        let spelt = token.capitals && word.len() <= 5;
        let mut ways = if spelt { self.letters(word)? } else { Vec::new() };
        match &mut self.g2p {
            Some(g2p) => {
                let guesses = g2p.pronounce(word, 2)?;
                let best = guesses.first().map_or(0.0, |g| g.1);
                let kept = guesses.into_iter().filter(|g| g.1 >= SECOND_GUESS * best);
                ways.extend(kept.map(|(phones, _)| Said { phones, source: Source::Model }));
            }
            None if spelt => {}
            None => return Err(TextError::NotInLexicon(word.into())),
        }
        if ways.is_empty() { Err(TextError::Unsayable(word.into())) } else { Ok(ways) }
    }

    /// What the lexicon says.
    fn known(&self, word: &str) -> Vec<Said> {
        self.lexicon.get(word).into_iter().map(|phones| Said { phones, source: Source::Lexicon }).collect()
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

/// The ways kept of several readings, without doubles: those of the first, and the main one of each other.
///
/// Each way more costs a keyword a little of its score, so a number is not listened for in all combinations of its words' variants.
fn share(mut readings: Vec<Vec<Said>>) -> Vec<Said> {
    readings.retain(|ways| !ways.is_empty());
    let others = readings.len().saturating_sub(1);
    let mut out: Vec<Said> = Vec::new();
    for (i, ways) in readings.into_iter().enumerate() {
        let most = if i == 0 { MOST - others } else { 1 };
        for way in ways.into_iter().take(most) {
            if !out.iter().any(|o| o.phones == way.phones) {
                out.push(way);
            }
        }
    }
    out
}

/// Why a pronunciation of a keyword cannot be listened for.
fn misfit(keyword: &str, phones: &[Phone]) -> TextError {
    let keyword = keyword.to_owned();
    if phones.len() > *PHONES.end() {
        return TextError::TooLong { keyword, count: phones.len(), most: *PHONES.end() };
    }
    TextError::TooShort { keyword, phones: arpabet(phones) }
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
        let numbers = "nineteen N AY N T IY1 N\neighty EY1 T IY0\nfour F AO1 R\none W AH1 N\nthousand TH AW1 Z AH0 N D\nnine N AY1 N\n\
                       hundred HH AH1 N D R AH0 D\nhundred(2) HH AH1 N D ER0 D\nand AH0 N D\nand(2) AE1 N D\neleven IH0 L EH1 V AH0 N\n\
                       eleven(2) IY0 L EH1 V AH0 N\ntwo T UW1\noh OW1\nchat CH AE1 T\nmm M\n";
        let text = "hello HH AH0 L OW1\nhello(2) HH EH0 L OW1\nworld W ER1 L D\nm. EH1 M\nq. K Y UW1\np. P IY1\na AH0\nsix S IH1 K S\nai AY1\nai(2) EY1 AY1\n\
                    hi-hat HH AY1 HH AE2 T\nwifi W AY1 F AY2\n";
        let words = read_cmudict(&format!("{numbers}{text}")).expect("ARPAbet");
        Pronouncer::new(Lexicon::from_bytes(&Lexicon::pack(&words)).expect("packed"), None)
    }

    fn said(text: &str) -> Result<Vec<String>, TextError> {
        let ways = pronouncer().resolve(&KeywordSpec::new(text))?;
        Ok(ways.iter().map(|w| arpabet(w)).collect())
    }

    #[test]
    fn phrases_take_every_combination() {
        assert_eq!(said("hello world").expect("known"), ["HH AH L OW W ER L D", "HH EH L OW W ER L D"]);
        assert_eq!(said("World's").expect("known"), ["W ER L D Z"]);
        assert_eq!(said("MQP").expect("letters"), ["EH M K Y UW P IY"]);
        assert_eq!(said("MQPs").expect("letters"), ["EH M K Y UW P IY Z"]);
        assert_eq!(said("6").expect("a number"), ["S IH K S"]);
    }

    #[test]
    fn every_reading_has_its_share() {
        let nine = "N AY N";
        let year = "N AY N T IY N EY T IY F AO R";
        assert_eq!(
            said("1984").expect("a year"),
            [year, "W AH N TH AW Z AH N D N AY N HH AH N D R AH D EY T IY F AO R"]
        );
        let hundred = format!("{nine} HH AH N D R AH D");
        let ways = ["IH L EH V AH N", "IY L EH V AH N", "W AH N W AH N"].map(|way| format!("{nine} {way}"));
        let further = ["IH L EH V AH N", "AH N D IH L EH V AH N"].map(|way| format!("{hundred} {way}"));
        assert_eq!(said("911").expect("a code"), [&ways[..], &further].concat());
        // Ways that are too long are left out, and the others are heard.
        let years = said("1984 and 1984").expect("years");
        assert_eq!(years[0], format!("{year} AH N D {year}"));
        assert!(years.len() > 1 && years.iter().all(|way| way.split(' ').count() <= *PHONES.end()), "{years:?}");
    }

    #[test]
    fn what_is_cut_off_is_the_least_usual() {
        let ways = said("hello hello hello hello").expect("known");
        assert_eq!(ways.len(), MOST);
        let main = "HH AH L OW";
        for place in 0..4 {
            let mut words = [main; 4];
            words[place] = "HH EH L OW";
            assert!(ways.contains(&words.join(" ")), "{place}");
        }
    }

    #[test]
    fn capitals_inside_a_word_are_capitals() {
        assert_eq!(said("ChatMQP").expect("two parts"), ["CH AE T EH M K Y UW P IY"]);
        assert_eq!(said("WiFi").expect("known as a whole"), ["W AY F AY"]);
        assert_eq!(said("MM").expect("letters"), ["EH M EH M"]);
    }

    #[test]
    fn hyphens_are_the_lexicons_or_part_words() {
        assert_eq!(said("Hi-Hat").expect("known"), ["HH AY HH AE T"]);
        assert_eq!(said("Wi-Fi").expect("known without it"), ["W AY F AY"]);
        assert_eq!(said("world-six").expect("two words"), ["W ER L D S IH K S"]);
        assert!(matches!(said("-"), Err(TextError::Unsayable(_))));
    }

    #[test]
    fn of_several_ways_those_that_can_be_heard_are_listened_for() {
        assert_eq!(said("AI").expect("one of two"), ["EY AY"]);
        let phones = ["AY", "EY AY"].map(|p| parse_phones(p).expect("ARPAbet")).into();
        let spec = KeywordSpec { phones, ..KeywordSpec::new("ai") };
        assert!(matches!(pronouncer().explain(&spec), Err(TextError::TooShort { .. })), "given, and never heard");
    }

    #[test]
    fn what_cannot_be_said_or_heard_is_refused() {
        assert!(matches!(said("?!"), Err(TextError::Unsayable(_))));
        assert!(matches!(said("a"), Err(TextError::TooShort { .. })));
        assert!(matches!(said(&"hello ".repeat(12)), Err(TextError::TooLong { .. })));
        assert!(matches!(said("日本"), Err(TextError::Script(_))));
        assert!(matches!(said("blorp"), Err(TextError::NotInLexicon(_))));
    }

    #[test]
    fn given_phones_win() {
        let given = parse_phones("SH AH V AO N").expect("ARPAbet");
        let spec = KeywordSpec { phones: vec![given.clone()], ..KeywordSpec::new("hello") };
        let said = pronouncer().explain(&spec).expect("given");
        assert_eq!(said, [Said { phones: given, source: Source::Given }]);
    }
}
