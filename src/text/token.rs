//! Words to be looked up, and how they were typed.

/// Names of the letters, as CMUdict spells them.
const LETTERS: [&str; 26] = [
    "a.", "b.", "c.", "d.", "e.", "f.", "g.", "h.", "i.", "j.", "k.", "l.", "m.", "n.", "o.", "p.", "q.", "r.", "s.",
    "t.", "u.", "v.", "w.", "x.", "y.", "z.",
];

/// One word to be looked up, and how it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Lower-case letters, apostrophes and hyphens between them; a letter's name ends with a full stop (`u.`).
    pub word: String,
    /// Typed in capitals only, two letters or more, less the ending `'s`: said letter by letter unless the lexicon knows it.
    pub capitals: bool,
    /// What it is made of, for a lexicon that lacks the whole: between hyphens (`Wi-Fi`), from capital to capital (`ChatGPT`).
    pub parts: Vec<Token>,
}

impl Token {
    /// A word, or a letter's name.
    pub(super) fn plain(word: &str) -> Self {
        Self { word: word.to_lowercase(), capitals: false, parts: Vec::new() }
    }

    /// Letters, hyphens and apostrophes as typed.
    pub(super) fn typed(text: &str) -> Self {
        let capitals = capitals(text);
        let is_capitals = capitals.is_some();
        Self { word: capitals.unwrap_or_else(|| text.to_lowercase()), capitals: is_capitals, parts: parts(text) }
    }
}

/// CMUdict's entry for the name of a letter, such as `u.`.
pub fn letter_name(letter: char) -> Option<&'static str> {
    letter.is_ascii_alphabetic().then(|| LETTERS[usize::from(letter.to_ascii_lowercase() as u8 - b'a')])
}

/// Words and letters' names between spaces.
pub(super) fn tokens(words: &str) -> Vec<Token> {
    words.split_whitespace().map(Token::plain).collect()
}

/// Letters of `AT&T`, `R&D`, `M&Ms`: a few capitals around the sign.
pub(super) fn company(typed: &str) -> Option<Vec<Token>> {
    let typed = typed.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let capitals = typed.strip_suffix('s').map_or(typed, |stem| stem.trim_end_matches('\''));
    let few = |side: &str| (1..=3).contains(&side.len()) && side.bytes().all(|c| c.is_ascii_uppercase());
    if !capitals.contains('&') || !capitals.split('&').all(few) {
        return None;
    }
    let name = |c| letter_name(c).unwrap_or("and");
    let mut letters: Vec<Token> = capitals.chars().map(|c| Token::plain(name(c))).collect();
    if let Some(last) = letters.last_mut().filter(|_| capitals != typed) {
        last.word.push_str("'s");
    }
    Some(letters)
}

/// A word of capitals: `GPU`, and `GPUs`, which is `gpu's` to the lexicon's rules.
fn capitals(text: &str) -> Option<String> {
    let all = |s: &&str| s.len() > 1 && s.chars().all(|c| c.is_ascii_uppercase() || c == '-');
    match text.strip_suffix('s').map(|s| s.trim_end_matches('\'')).filter(all) {
        Some(stem) => Some(format!("{}'s", stem.to_lowercase())),
        None => all(&text).then(|| text.to_lowercase()),
    }
}

/// What is between hyphens and from capital to capital; nothing if that is the whole text.
fn parts(text: &str) -> Vec<Token> {
    let mut pieces = Vec::new();
    for piece in text.split('-').map(|piece| piece.trim_matches('\'')).filter(|piece| !piece.is_empty()) {
        let mut from = 0;
        for (i, pair) in piece.as_bytes().windows(2).enumerate() {
            if pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase() {
                pieces.push(&piece[from..=i]);
                from = i + 1;
            }
        }
        pieces.push(&piece[from..]);
    }
    if pieces == [text] { Vec::new() } else { pieces.into_iter().map(Token::typed).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_made_of_parts() {
        let parts = |text: &str| {
            let whole = Token::typed(text);
            (whole.word, whole.parts.into_iter().map(|p| (p.word, p.capitals)).collect::<Vec<_>>())
        };
        let part = |word: &str, capitals| (word.to_owned(), capitals);
        assert_eq!(parts("ChatGPT"), ("chatgpt".into(), vec![part("chat", false), part("gpt", true)]));
        assert_eq!(parts("DeepMind's"), ("deepmind's".into(), vec![part("deep", false), part("mind's", false)]));
        assert_eq!(parts("X-Ray"), ("x-ray".into(), vec![part("x", false), part("ray", false)]));
        assert_eq!(parts("CD-ROM"), ("cd-rom".into(), vec![part("cd", true), part("rom", true)]));
        assert_eq!(parts("Hello"), ("hello".into(), vec![]));
        assert_eq!(parts("GPUs"), ("gpu's".into(), vec![]));
    }

    #[test]
    fn capitals_are_remembered() {
        assert!(Token::typed("HTTP").capitals);
        assert!(!Token::typed("Hello").capitals);
        for plural in ["GPUs", "GPU's"] {
            assert_eq!(Token::typed(plural), Token { word: "gpu's".into(), capitals: true, parts: Vec::new() });
        }
        assert!(!Token::typed("As").capitals);
    }
}
