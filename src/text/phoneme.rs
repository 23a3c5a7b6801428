//! The phone set: ARPAbet without stress, as in CMUdict.

use std::fmt;
use std::str::FromStr;

use super::TextError;

/// ARPAbet symbols in class order; the class of `SYMBOLS[i]` is `i + 1`, class 0 is the CTC blank.
pub const SYMBOLS: [&str; 39] = [
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH", "K",
    "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
];

/// Class index of the CTC blank.
pub const BLANK: usize = 0;

/// Number of output classes of the phone head: 39 phones and the blank.
pub const CLASSES: usize = SYMBOLS.len() + 1;

/// One ARPAbet phone without stress.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Phone(u8);

impl Phone {
    /// The phone of class `id`, 1 to 39; `None` for the blank and beyond.
    pub fn from_id(id: usize) -> Option<Self> {
        (1..CLASSES).contains(&id).then_some(Self(id as u8))
    }

    /// Class index, 1 to 39.
    pub fn id(self) -> usize {
        usize::from(self.0)
    }

    /// ARPAbet symbol, such as `"AH"`.
    pub fn symbol(self) -> &'static str {
        SYMBOLS[self.id() - 1]
    }

    /// All phones in class order.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..CLASSES).map(|id| Self(id as u8))
    }

    /// Whether the phone is a vowel (it carries a syllable).
    pub fn is_vowel(self) -> bool {
        matches!(self.symbol().as_bytes()[0], b'A' | b'E' | b'I' | b'O' | b'U')
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol())
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol())
    }
}

impl FromStr for Phone {
    type Err = TextError;

    /// Reads a symbol in any case; a stress digit at its end is dropped (`AH0` is `AH`).
    fn from_str(symbol: &str) -> Result<Self, TextError> {
        let bare = symbol.trim_end_matches(['0', '1', '2']);
        SYMBOLS
            .iter()
            .position(|s| s.eq_ignore_ascii_case(bare))
            .map(|i| Self(i as u8 + 1))
            .ok_or_else(|| TextError::UnknownPhone(symbol.to_owned()))
    }
}

/// Symbols with spaces between them, such as `SH AH V AO N`: what [`parse_phones`] reads.
pub fn arpabet(phones: &[Phone]) -> String {
    phones.iter().map(|p| p.symbol()).collect::<Vec<_>>().join(" ")
}

/// Reads phones separated by white space, such as `"SH AH V AO N"`.
///
/// # Errors
/// [`TextError::UnknownPhone`] with the first symbol that is not ARPAbet.
pub fn parse_phones(text: &str) -> Result<Vec<Phone>, TextError> {
    text.split_whitespace().map(str::parse).collect()
}
