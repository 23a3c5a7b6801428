//! Written words to speakable ones: accents, numbers, abbreviations, symbols, letters.

use deunicode::deunicode;
use num2words::Num2Words;

/// Abbreviations that CMUdict lacks or reads otherwise.
const ABBREVIATIONS: [(&str, &str); 22] = [
    ("approx", "approximately"),
    ("ave", "avenue"),
    ("blvd", "boulevard"),
    ("cm", "centimeters"),
    ("dept", "department"),
    ("dr", "doctor"),
    ("eg", "for example"),
    ("etc", "et cetera"),
    ("ft", "feet"),
    ("hr", "hour"),
    ("ie", "that is"),
    ("kg", "kilograms"),
    ("km", "kilometers"),
    ("lb", "pounds"),
    ("mm", "millimeters"),
    ("mph", "miles per hour"),
    ("mt", "mount"),
    ("prof", "professor"),
    ("sgt", "sergeant"),
    ("st", "saint"),
    ("vs", "versus"),
    ("yr", "year"),
];

/// Signs that are said.
const SIGNS: [(char, &str); 9] = [
    ('&', "and"),
    ('%', "percent"),
    ('@', "at"),
    ('+', "plus"),
    ('=', "equals"),
    ('#', "number"),
    ('$', "dollar"),
    ('°', "degrees"),
    ('€', "euro"),
];

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
    /// Lower-case letters and apostrophes; a letter's name ends with a full stop (`u.`).
    pub word: String,
    /// Typed in capitals only, two letters or more: said letter by letter unless the lexicon knows it.
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
    let mut out = vec![Vec::new()];
    for typed in text.split_whitespace() {
        append(&mut out, &word(typed));
    }
    out
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

/// Readings of what stands between two spaces.
fn word(typed: &str) -> Vec<Vec<Token>> {
    let mut signed = String::new();
    for c in typed.chars() {
        match SIGNS.iter().find(|(sign, _)| *sign == c) {
            Some((_, said)) => signed.extend([" ", said, " "]),
            None => signed.push(if c == '’' { '\'' } else { c }),
        }
    }
    let mut out = vec![Vec::new()];
    for piece in signed.split_whitespace() {
        let ascii = deunicode(piece);
        for part in split_digits(&ascii) {
            if part.starts_with(|c: char| c.is_ascii_digit()) {
                append(&mut out, &number(&part));
            } else {
                append(&mut out, &[letters(&part)]);
            }
        }
    }
    out
}

/// Cuts between digits and letters; digits keep their commas, points and ordinal endings.
fn split_digits(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let chars: Vec<char> = text.chars().collect();
    let mut digits = None;
    for (i, &c) in chars.iter().enumerate() {
        let inside =
            matches!(c, '.' | ',') && digits == Some(true) && chars.get(i + 1).is_some_and(char::is_ascii_digit);
        let is_digit = c.is_ascii_digit() || inside;
        if digits != Some(is_digit) {
            out.push(String::new());
        }
        digits = Some(is_digit);
        if let Some(last) = out.last_mut() {
            last.push(c);
        }
    }
    // "21st": the ending belongs to the number.
    let mut i = 1;
    while i < out.len() {
        let ordinal = matches!(out[i].to_ascii_lowercase().as_str(), "st" | "nd" | "rd" | "th");
        if ordinal && out[i - 1].starts_with(|c: char| c.is_ascii_digit()) {
            let ending = out.remove(i);
            out[i - 1].push_str(&ending);
        }
        i += 1;
    }
    out
}

/// Readings of a number such as `42`, `3.14`, `1,000`, `21st` or `1984`.
fn number(text: &str) -> Vec<Vec<Token>> {
    let say = |words: String| {
        words.split(|c: char| !c.is_ascii_alphabetic()).filter(|w| !w.is_empty()).map(Token::plain).collect()
    };
    let digits =
        || vec![text.chars().filter(char::is_ascii_digit).flat_map(|d| say(digit(d).into())).collect::<Vec<_>>()];
    let plain = text.replace(',', "");
    if let Some(ordinal) =
        plain.strip_suffix(|c: char| c.is_ascii_alphabetic()).map(|s| s.trim_end_matches(|c: char| !c.is_ascii_digit()))
    {
        let words = ordinal.parse::<i64>().ok().and_then(|n| Num2Words::new(n).ordinal().to_words().ok());
        return words.map_or_else(digits, |w| vec![say(w)]);
    }
    if let Some((whole, fraction)) = plain.split_once('.') {
        let Some(whole) = cardinal(whole) else { return digits() };
        let mut out: Vec<Token> = say(whole);
        out.push(Token::plain("point"));
        out.extend(fraction.chars().filter(char::is_ascii_digit).map(|d| Token::plain(digit(d))));
        return vec![out];
    }
    // A leading zero or a long row of digits is read digit by digit, as in a code.
    if plain.len() > 1 && plain.starts_with('0') || plain.len() > 12 {
        return digits();
    }
    let Some(words) = cardinal(&plain) else { return digits() };
    let mut out: Vec<Vec<Token>> = vec![say(words)];
    if let Some(year) = plain.parse::<i64>().ok().filter(|n| plain.len() == 4 && (1_100..2_100).contains(n)) {
        let year: Option<Vec<Token>> = Num2Words::new(year).year().to_words().ok().map(say);
        out.extend(year.filter(|y| *y != out[0]));
    }
    out
}

fn cardinal(digits: &str) -> Option<String> {
    Num2Words::new(digits.parse::<i64>().ok()?).cardinal().to_words().ok()
}

fn digit(d: char) -> &'static str {
    const NAMES: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    NAMES[d.to_digit(10).unwrap_or(0) as usize]
}

/// Tokens of a piece without digits: hyphens part it, full stops between single letters spell it.
fn letters(text: &str) -> Vec<Token> {
    let dotted: Vec<&str> = text.split('.').filter(|s| !s.is_empty()).collect();
    if dotted.len() > 1 && dotted.iter().all(|s| s.len() == 1) {
        return dotted.iter().filter_map(|s| letter_name(s.chars().next()?)).map(Token::plain).collect();
    }
    let mut out = Vec::new();
    for part in text.split(|c: char| !(c.is_ascii_alphabetic() || c == '\'')) {
        let part = part.trim_matches('\'');
        if part.is_empty() {
            continue;
        }
        let lower = part.to_lowercase();
        if let Some((_, said)) = ABBREVIATIONS.iter().find(|(short, _)| *short == lower) {
            out.extend(said.split(' ').map(Token::plain));
        } else {
            let capitals = part.len() > 1 && part.chars().all(|c| c.is_ascii_uppercase());
            out.push(Token { word: lower, capitals });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(said("99999999999999999999").len(), 1);
        // Two readings each: not two to the power of sixty, between spaces or not.
        assert_eq!(said(&"1984a".repeat(60)).len(), 8);
        assert_eq!(said(&"1984 ".repeat(60)).len(), 8);
    }

    #[test]
    fn signs_accents_and_abbreviations_are_said() {
        assert_eq!(said("R&D"), ["r and d"]);
        assert_eq!(said("Siobhán"), ["siobhan"]);
        assert_eq!(said("Dr. Müller"), ["doctor muller"]);
        assert_eq!(said("50%"), ["fifty percent"]);
        assert_eq!(said("ice-cream!"), ["ice cream"]);
        assert_eq!(said("u.s.a."), ["u. s. a."]);
        assert_eq!(said("don’t"), ["don't"]);
        assert_eq!(said("-- ?"), [""]);
    }

    #[test]
    fn capitals_are_remembered() {
        assert!(readings("HTTP")[0][0].capitals);
        assert!(!readings("Hello")[0][0].capitals);
    }
}
