//! Keyword text to phones. Off the hot path.

mod g2p;
mod keyword;
mod latin;
mod lexicon;
mod money;
mod number;
mod phoneme;
mod pronounce;
mod short;
mod spell;
mod token;

pub use g2p::{APOSTROPHE, BORDER, FRAMES_PER_LETTER, G2p, LETTERS, letter_ids};
pub use keyword::{KeywordSpec, keyword_lists, own_threshold, parse_keywords, same_name, without_last_comma};
pub use latin::in_ascii;
pub use lexicon::{Lexicon, read_cmudict};
pub use phoneme::{BLANK, CLASSES, Phone, SYMBOLS, arpabet, parse_phones};
pub use pronounce::{Pronouncer, Said, Source};

use crate::model::ModelError;

/// What can be wrong with a keyword's text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A symbol that is not in the phone set.
    #[error("`{0}` is not an ARPAbet phone; use symbols such as AA, B, CH, IY (39 without stress)")]
    UnknownPhone(String),
    /// No keyword where one is expected.
    #[error("a keyword is empty; give one or more, parted by commas, such as \"hello,stop\"")]
    Empty,
    /// Brackets that do not fit.
    #[error("`{0}`: phones are given as NAME=[HH AH L OW]")]
    Brackets(String),
    /// A threshold that no score is compared with.
    #[error("`{0}`: a keyword's own threshold lies over 0 and is at most 1, as in \"hello@0.7\"")]
    Threshold(String),
    /// Nothing in the text can be said.
    #[error(
        "`{0}` holds nothing that can be said; write it in letters or digits, or give its phones: NAME=[HH AH L OW]"
    )]
    Unsayable(String),
    /// Letters of another script.
    #[error("`{0}` is not in Latin letters; write it as it is said in English, or give its phones: NAME=[HH AH L OW]")]
    Script(String),
    /// A word unknown to a bundle without a grapheme-to-phoneme model.
    #[error("`{0}` is not in the lexicon and this model cannot guess it; give its phones: NAME=[HH AH L OW]")]
    NotInLexicon(String),
    /// One sound only.
    #[error("`{keyword}` is a single sound ({phones}) and would be heard everywhere; use a longer word or a phrase")]
    TooShort {
        /// The keyword.
        keyword: String,
        /// Its phones.
        phones: String,
    },
    /// Longer than any window.
    #[error("`{keyword}` has {count} sounds, at most {most} can be heard as one; use a shorter phrase")]
    TooLong {
        /// The keyword.
        keyword: String,
        /// Its phones' number.
        count: usize,
        /// The limit.
        most: usize,
    },
    /// A packed lexicon that is damaged.
    #[error("lexicon.bin cannot be read: {0}; copy the model again")]
    Lexicon(&'static str),
    /// The grapheme-to-phoneme model failed.
    #[error(transparent)]
    G2p(#[from] ModelError),
}

/// Indices of two lists, paired: those that are early in both first, and `most` at most.
fn pairs(a: usize, b: usize, most: usize) -> Vec<(usize, usize)> {
    let mut out: Vec<_> = (0..b).flat_map(|j| (0..a).map(move |i| (i, j))).collect();
    out.sort_by_key(|(i, j)| i + j);
    out.truncate(most);
    out
}
