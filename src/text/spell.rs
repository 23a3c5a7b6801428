//! Written words to speakable ones: accents, abbreviations, symbols, letters; numbers by [`number`].

use deunicode::deunicode;

use super::number::{self, currency, is_ending, is_large, money};

/// Abbreviations that CMUdict lacks or reads otherwise.
const ABBREVIATIONS: [(&str, &str); 17] = [
    ("approx", "approximately"),
    ("blvd", "boulevard"),
    ("cm", "centimeters"),
    ("dept", "department"),
    ("eg", "for example"),
    ("etc", "et cetera"),
    ("ft", "feet"),
    ("ie", "that is"),
    ("kg", "kilograms"),
    ("km", "kilometers"),
    ("lb", "pounds"),
    ("mm", "millimeters"),
    ("mph", "miles per hour"),
    ("prof", "professor"),
    ("sgt", "sergeant"),
    ("vs", "versus"),
    ("yr", "year"),
];

/// Those that are one thing before a name and another at the end of an address; nothing is the word as it is written.
const TITLES: [(&str, Option<&str>, Option<&str>); 4] = [
    ("ave", None, Some("avenue")),
    ("dr", Some("doctor"), Some("drive")),
    ("mt", Some("mount"), None),
    ("st", Some("saint"), Some("street")),
];

/// Signs that are said.
const SIGNS: [(char, &str); 7] =
    [('&', "and"), ('%', "percent"), ('@', "at"), ('+', "plus"), ('=', "equals"), ('#', "number"), ('°', "degrees")];

/// Names of the letters, as CMUdict spells them.
const LETTERS: [&str; 26] = [
    "a.", "b.", "c.", "d.", "e.", "f.", "g.", "h.", "i.", "j.", "k.", "l.", "m.", "n.", "o.", "p.", "q.", "r.", "s.",
    "t.", "u.", "v.", "w.", "x.", "y.", "z.",
];

/// Readings of a text up to which each further number with two readings doubles them.
const MOST: usize = 4;

/// One word to be looked up, and how it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Lower-case letters, apostrophes and hyphens between them; a letter's name ends with a full stop (`u.`).
    pub word: String,
    /// Typed in capitals only, two letters or more, less the ending `'s`: said letter by letter unless the lexicon knows it.
    pub capitals: bool,
}

impl Token {
    fn plain(word: &str) -> Self {
        Self { word: word.to_lowercase(), capitals: false }
    }
}

/// CMUdict's entry for the name of a letter, such as `u.`.
pub fn letter_name(letter: char) -> Option<&'static str> {
    letter.is_ascii_alphabetic().then(|| LETTERS[usize::from(letter.to_ascii_lowercase() as u8 - b'a')])
}

/// The readings of a text: mostly one, two for what may be a year. Nothing speakable gives no token.
pub fn readings(text: &str) -> Vec<Vec<Token>> {
    let text: String = text.chars().filter_map(speakable).collect();
    let mut out = vec![Vec::new()];
    let mut words = text.split_whitespace().peekable();
    let mut first = true;
    while let Some(typed) = words.next() {
        let large = words.peek().copied().filter(|next| is_large(next));
        if let Some(sum) = money(typed, large) {
            // The word behind it is part of the sum.
            words.next_if(|_| large.is_some());
            append(&mut out, &[tokens(&sum)]);
        } else {
            append(&mut out, &word(typed, !first && words.peek().is_none()));
        }
        first = false;
    }
    out
}

/// What is left of a character: a space of pictures and marks that nobody says, nothing of what is not seen.
fn speakable(c: char) -> Option<char> {
    match c {
        '’' => Some('\''),
        // Soft hyphens, joiners, variation selectors.
        '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}' => None,
        // Accents that follow their letter are deunicode's.
        '\u{300}'..='\u{36f}' => Some(c),
        // Dashes.
        '\u{2010}'..='\u{2015}' => Some('-'),
        _ if c.is_ascii() || c.is_alphanumeric() || sign(c).is_some() => Some(c),
        _ => Some(' '),
    }
}

/// What a sign is called.
fn sign(c: char) -> Option<&'static str> {
    SIGNS.iter().find(|(sign, _)| *sign == c).map(|(_, said)| *said).or_else(|| currency(c))
}

/// Words and letters' names between spaces.
fn tokens(words: &str) -> Vec<Token> {
    words.split_whitespace().map(Token::plain).collect()
}

/// Goes on with each of `ways`, as long as there are few readings, then with the first: a handful is enough for
/// "2010 2011 2012".
fn append(readings: &mut Vec<Vec<Token>>, ways: &[Vec<Token>]) {
    if ways.len() > 1 && readings.len() <= MOST {
        *readings = ways.iter().flat_map(|w| readings.iter().map(move |r| [r.clone(), w.clone()].concat())).collect();
    } else if let Some(first) = ways.first() {
        for reading in readings {
            reading.extend(first.iter().cloned());
        }
    }
}

/// Readings of what stands between two spaces; `ends` a text of several words.
fn word(typed: &str, ends: bool) -> Vec<Vec<Token>> {
    // `AT&T`: a few capitals around the sign are letters.
    let few = |side: &str| side.len() <= 3 && side.chars().all(|c| c.is_ascii_uppercase());
    let company = typed.contains('&') && typed.split('&').all(few);
    let mut signed = String::new();
    for c in typed.chars() {
        match sign(c) {
            Some(said) => signed.extend([" ", said, " "]),
            None if company => signed.extend([' ', c, '.', ' ']),
            None => signed.push(c),
        }
    }
    let mut out = vec![Vec::new()];
    for piece in signed.split_whitespace() {
        let ascii = deunicode(piece);
        for part in split_digits(&ascii) {
            if part.starts_with(|c: char| c.is_ascii_digit()) {
                let ways: Vec<_> = number::readings(&part).iter().map(|way| tokens(way)).collect();
                append(&mut out, &ways);
            } else {
                append(&mut out, &[letters(&part, ends)]);
            }
        }
    }
    out
}

/// Cuts between digits and letters; digits keep their commas, points, colons and endings.
fn split_digits(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let chars: Vec<char> = text.chars().collect();
    let mut digits = None;
    for (i, &c) in chars.iter().enumerate() {
        let inside =
            matches!(c, '.' | ',' | ':') && digits == Some(true) && chars.get(i + 1).is_some_and(char::is_ascii_digit);
        let is_digit = c.is_ascii_digit() || inside;
        if digits != Some(is_digit) {
            out.push(String::new());
        }
        digits = Some(is_digit);
        if let Some(last) = out.last_mut() {
            last.push(c);
        }
    }
    // "21st", "80s", "10am": the ending belongs to the number.
    let mut i = 1;
    while i < out.len() {
        if is_ending(&out[i].to_ascii_lowercase()) && out[i - 1].starts_with(|c: char| c.is_ascii_digit()) {
            let ending = out.remove(i).to_ascii_lowercase();
            out[i - 1].push_str(&ending);
        }
        i += 1;
    }
    out
}

/// Tokens of a piece without digits: full stops between single letters spell it, hyphens stay inside a word.
fn letters(text: &str, ends: bool) -> Vec<Token> {
    let dotted: Vec<&str> = text.split('.').filter(|s| !s.is_empty()).collect();
    if dotted.iter().all(|s| s.len() == 1) && (dotted.len() > 1 || text.len() == 2 && text.ends_with('.')) {
        return dotted.iter().filter_map(|s| letter_name(s.chars().next()?)).map(Token::plain).collect();
    }
    let mut out = Vec::new();
    for part in text.split(|c: char| !(c.is_ascii_alphabetic() || c == '\'' || c == '-')) {
        let part = part.trim_matches(['\'', '-']);
        if part.is_empty() {
            continue;
        }
        let lower = part.to_lowercase();
        let title = TITLES.iter().find(|t| t.0 == lower).and_then(|t| if ends { t.2 } else { t.1 });
        if let Some(said) = title.or_else(|| ABBREVIATIONS.iter().find(|a| a.0 == lower).map(|a| a.1)) {
            out.extend(tokens(said));
        } else {
            out.push(capitals(part).unwrap_or(Token { word: lower, capitals: false }));
        }
    }
    out
}

/// A token of capitals: `GPU`, and `GPUs`, which is `gpu's` to the lexicon's rules.
fn capitals(part: &str) -> Option<Token> {
    let stem = part.strip_suffix('s').map(|s| s.trim_end_matches('\''));
    let all = |s: &str| s.len() > 1 && s.chars().all(|c| c.is_ascii_uppercase() || c == '-');
    match stem.filter(|s| all(s)) {
        Some(stem) => Some(Token { word: format!("{}'s", stem.to_lowercase()), capitals: true }),
        None => all(part).then(|| Token { word: part.to_lowercase(), capitals: true }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_in_few_ways(text in r"\PC{0,40}", numbers in "[0-9:.,$€£¥'smAPaTh&%° -]{0,30}") {
            for text in [text, numbers] {
                let ways = readings(&text);
                prop_assert!((1..=2 * MOST).contains(&ways.len()), "{} ways", ways.len());
                let spelt = |w: &str| !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase() || "'-.".contains(c));
                prop_assert!(ways.iter().flatten().all(|t| spelt(&t.word)), "{ways:?}");
            }
        }
    }

    fn said(text: &str) -> Vec<String> {
        readings(text).iter().map(|r| r.iter().map(|t| t.word.as_str()).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn numbers_are_read_as_people_do() {
        assert_eq!(said("route 66"), ["route sixty six"]);
        assert_eq!(said("3.14"), ["three point one four"]);
        assert_eq!(said("1,000"), ["one thousand"]);
        assert_eq!(said("21st"), ["twenty first"]);
        assert_eq!(said("007"), ["zero zero seven"]);
        assert_eq!(said("1984")[1], "nineteen eighty four");
        assert_eq!(said("mp3"), ["mp three"]);
        assert_eq!(said("80s music"), ["eighties music"]);
        assert_eq!(said("5th avenue"), ["fifth avenue"]);
        assert_eq!(said("10:00"), ["ten o'clock"]);
        assert_eq!(said("10:30am"), ["ten thirty a. m."]);
        assert_eq!(said("7pm news"), ["seven p. m. news"]);
        assert_eq!(said("16:9"), ["sixteen nine"]);
        assert_eq!(said("$5"), ["five dollars"]);
        assert_eq!(said("$5 Million man"), ["five million dollars man"]);
        assert_eq!(said("US$"), ["us dollar"]);
        assert_eq!(said("¥"), ["yen"]);
        assert_eq!(said("99999999999999999999").len(), 1);
        // Two readings each: not two to the power of sixty, between spaces or not.
        assert_eq!(said(&"1984a".repeat(60)).len(), 8);
        assert_eq!(said(&"1984 ".repeat(60)).len(), 8);
    }

    #[test]
    fn signs_accents_and_abbreviations_are_said() {
        assert_eq!(said("R&D"), ["r. and d."]);
        assert_eq!(said("AT&T"), ["a. t. and t."]);
        assert_eq!(said("salt&pepper"), ["salt and pepper"]);
        assert_eq!(said("ROCK&ROLL"), ["rock and roll"]);
        assert_eq!(said("Siobhán"), ["siobhan"]);
        assert_eq!(said("Dr. Müller"), ["doctor muller"]);
        assert_eq!(said("50%"), ["fifty percent"]);
        assert_eq!(said("ice-cream!"), ["ice-cream"]);
        assert_eq!(said("Wi–Fi"), ["wi-fi"]);
        assert_eq!(said("Wall St."), ["wall street"]);
        assert_eq!(said("St John"), ["saint john"]);
        assert_eq!(said("Mulholland Dr"), ["mulholland drive"]);
        assert_eq!(said("Ave Maria"), ["ave maria"]);
        assert_eq!(said("Park Ave"), ["park avenue"]);
        assert_eq!(said("mt"), ["mount"]);
        assert_eq!(said("hr"), ["hr"]);
        assert_eq!(said("u.s.a."), ["u. s. a."]);
        assert_eq!(said("don’t"), ["don't"]);
        assert_eq!(said("-- ?"), [""]);
    }

    #[test]
    fn pictures_and_marks_are_not_said() {
        assert_eq!(said("Alexa™ ®"), ["alexa"]);
        assert_eq!(said("👍"), [""]);
        assert_eq!(said("hello😀world ❤\u{fe0f}"), ["hello world"]);
        assert_eq!(said("key\u{ad}board"), ["keyboard"]);
        assert_eq!(said("Siobha\u{301}n"), ["siobhan"]);
        assert_eq!(said("“quoted”…"), ["quoted"]);
        assert_eq!(said("привет"), ["privet"]);
    }

    #[test]
    fn capitals_are_remembered() {
        assert!(readings("HTTP")[0][0].capitals);
        assert!(!readings("Hello")[0][0].capitals);
        for plural in ["GPUs", "GPU's"] {
            assert_eq!(readings(plural)[0][0], Token { word: "gpu's".into(), capitals: true });
        }
        assert!(!readings("As")[0][0].capitals);
    }
}
