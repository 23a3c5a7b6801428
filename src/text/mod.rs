//! Keyword text to phones. Off the hot path.

mod phoneme;

pub use phoneme::{BLANK, CLASSES, Phone, SYMBOLS, parse_phones};

/// What can be wrong with a keyword's text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A symbol that is not in the phone set.
    #[error("`{0}` is not an ARPAbet phone; use symbols such as AA, B, CH, IY (39 without stress)")]
    UnknownPhone(String),
}
