//! Numbers as people say them: cardinals, ordinals, years, decades, codes, times of day, fractions.

use num2words::Num2Words;
use unicode_normalization::UnicodeNormalization;

/// A number that a text begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Number<'a> {
    /// Words between spaces, the likeliest reading first.
    pub ways: Vec<String>,
    /// The text behind it.
    pub rest: &'a str,
    /// Whether the next word belongs to it.
    pub joined: bool,
}

/// Letters that belong to the digits before them.
#[derive(Debug, Clone, Copy)]
enum Ending {
    /// A half of the day, and how it is said.
    Half(&'static str),
    Ordinal,
    Plural,
}

const ENDINGS: [(&str, Ending); 12] = [
    ("a.m.", Ending::Half("a. m.")),
    ("a.m", Ending::Half("a. m.")),
    ("am", Ending::Half("a. m.")),
    ("p.m.", Ending::Half("p. m.")),
    ("p.m", Ending::Half("p. m.")),
    ("pm", Ending::Half("p. m.")),
    ("st", Ending::Ordinal),
    ("nd", Ending::Ordinal),
    ("rd", Ending::Ordinal),
    ("th", Ending::Ordinal),
    ("'s", Ending::Plural),
    ("s", Ending::Plural),
];

/// The ending that a text begins with, and what follows.
fn ending(text: &str) -> Option<(Ending, &str)> {
    ENDINGS.iter().find_map(|&(letters, ending)| {
        let (begins, rest) = text.split_at_checked(letters.len())?;
        let whole = begins.eq_ignore_ascii_case(letters) && !rest.starts_with(|c: char| c.is_ascii_alphabetic());
        whole.then_some((ending, rest))
    })
}

/// Whether a word is a half of the day, and how it is said.
fn half(word: &str) -> Option<&'static str> {
    match ending(word) {
        Some((Ending::Half(said), rest)) if !rest.contains(|c: char| c.is_ascii_alphanumeric()) => Some(said),
        _ => None,
    }
}

/// Reads the number at the beginning of a text, such as `42`, `.5`, `3.14`, `1,000`, `21st`, `1984`, `80s`, `10:30am`, `1/2` or
/// `555-1234`; `next` is the word behind the text. `None` where it begins with something else.
pub(super) fn read<'a>(text: &'a str, next: Option<&str>) -> Option<Number<'a>> {
    let alone = |ways, rest| Some(Number { ways, rest, joined: false });
    if let Some(number) = telephone(text, next) {
        return Some(number);
    }
    let number = digits(text);
    if number.is_empty() {
        return None;
    }
    let rest = &text[number.len()..];
    if let Some((ways, rest)) = fraction(number, rest) {
        return alone(ways, rest);
    }
    match ending(rest) {
        Some((Ending::Half(half), rest)) => return alone(hours(number, half), rest),
        Some((Ending::Ordinal, rest)) => return alone(ordinals(number), rest),
        Some((Ending::Plural, rest)) => return alone(plurals(number), rest),
        None => {}
    }
    let hour = number.contains(':') || number.parse().is_ok_and(|n: u8| (1..=12).contains(&n));
    let behind = next.filter(|_| hour && !rest.contains(|c: char| c.is_ascii_alphanumeric())).and_then(half);
    match behind {
        Some(half) => Some(Number { ways: hours(number, half), rest, joined: true }),
        None => alone(numbers(number), rest),
    }
}

/// The digits that a text begins with, with the points, colons and thousands' commas between them, and a point before them.
pub(super) fn digits(text: &str) -> &str {
    let bytes = text.as_bytes();
    let inside = |i: usize| {
        bytes.get(i + 1).is_some_and(u8::is_ascii_digit)
            && match bytes[i] {
                b'.' => true,
                b':' => i > 0,
                b',' => parts_thousands(&text[..i], &text[i + 1..]),
                _ => false,
            }
    };
    let end = (0..bytes.len()).find(|&i| !bytes[i].is_ascii_digit() && !inside(i));
    &text[..end.unwrap_or(bytes.len())]
}

/// Whether a comma between two texts stands inside a number: one to three digits before it, and exactly three behind.
pub(super) fn parts_thousands(before: &str, after: &str) -> bool {
    let rest = before.trim_end_matches(|c: char| c.is_ascii_digit());
    let group = &before[rest.len()..];
    let first = match rest.chars().next_back() {
        Some(',') => group.len() == 3,
        Some(c) if c.is_alphanumeric() || matches!(c, '.' | ':' | '/') => false,
        _ => !group.starts_with('0'),
    };
    first && (1..=3).contains(&group.len()) && after.bytes().take_while(u8::is_ascii_digit).count() == 3
}

/// Groups of digits, the last two of three and four, are read digit by digit: between hyphens, or two words.
fn telephone<'a>(text: &'a str, next: Option<&str>) -> Option<Number<'a>> {
    let row = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(text.len());
    let mut groups: Vec<&str> = text[..end].split('-').collect();
    let joined = end == text.len() && groups.last()?.len() == 3;
    if joined {
        groups.push(next.filter(|next| !next[row(next)..].contains(|c: char| c.is_ascii_alphanumeric()))?);
    }
    let (last, before) = groups.split_last_mut()?;
    *last = &last[..row(last)];
    let whole = last.len() == 4 && before.last().is_some_and(|group| group.len() == 3);
    if !whole || before.iter().any(|group| !(1..=3).contains(&group.len())) {
        return None;
    }
    // "One eight hundred".
    let said = |group: &&str| match cardinals(group).first() {
        Some(hundreds) if group.len() == 3 && group.ends_with("00") && !group.starts_with('0') => hundreds.clone(),
        _ => one_by_one(group),
    };
    let mut ways = vec![groups.iter().map(said).collect::<Vec<_>>().join(" ")];
    if ways[0].contains("zero") {
        ways.push(ways[0].replace("zero", "oh"));
    }
    // `Porsche 911 1973` is hardly a call.
    if joined
        && let [number, year] = groups[..]
        && ["19", "20"].iter().any(|century| year.starts_with(century))
    {
        let both = [number, year].map(|digits| integers(digits).swap_remove(0));
        ways.insert(0, both.join(" "));
    }
    Some(Number { ways, rest: &text[end..], joined })
}

/// A part of a whole, such as `1/2`, also said otherwise; `rest` follows the digits of `over`.
fn fraction<'a>(over: &str, rest: &'a str) -> Option<(Vec<String>, &'a str)> {
    let behind = rest.strip_prefix('/')?;
    let under = digits(behind);
    let rest = &behind[under.len()..];
    let (n, parts) = (over.parse::<u8>().ok()?, under.parse::<u8>().ok()?);
    if n == 0 || n >= parts || !matches!(parts, 2..=10 | 16) || rest.starts_with('/') {
        return None;
    }
    let part = match parts {
        2 => "half".to_owned(),
        4 => "quarter".to_owned(),
        _ => ordinals(under).swap_remove(0),
    };
    let (n, parts) = (one(over)?, one(under)?);
    let part = if n == "one" { part } else { plural(&part) };
    Some((vec![format!("{n} {part}"), format!("{n} over {parts}"), format!("{n} {parts}")], rest))
}

/// How a character such as `½` is said.
pub(super) fn vulgar_fraction(c: char) -> Option<String> {
    let parts: String = std::iter::once(c).nfkd().collect();
    let (over, under) = parts.split_once('⁄').filter(|_| !c.is_ascii())?;
    Some(fraction(over, &format!("/{under}"))?.0.swap_remove(0))
}

/// How a time of day such as `10:30` is said; `half` of the day follows, as in `10:00 am`. `None` for anything else.
fn clock(text: &str, half: bool) -> Option<String> {
    let (hours, minutes) = text.split_once(':').filter(|(h, m)| (1..=2).contains(&h.len()) && m.len() == 2)?;
    let (hour, minute): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    if hour > 23 || minute > 59 {
        return None;
    }
    let said = one(hours)?;
    Some(match minute {
        0 if half => said,
        0 if (1..=12).contains(&hour) => format!("{said} o'clock"),
        0 => format!("{said} hundred"),
        1..=9 => format!("{said} oh {}", one(minutes)?),
        _ => format!("{said} {}", one(minutes)?),
    })
}

/// Digits before a half of the day.
fn hours(text: &str, half: &str) -> Vec<String> {
    let ways = clock(&text.replace('.', ":"), true).map_or_else(|| numbers(text), |time| vec![time]);
    ways.iter().map(|way| format!("{way} {half}")).collect()
}

/// Readings of what [`digits`] finds.
fn numbers(text: &str) -> Vec<String> {
    let first = |part: &str| numbers(part).into_iter().next();
    if text.contains(':') {
        let parts = || text.split(':').filter_map(first).collect::<Vec<_>>().join(" ");
        return vec![clock(text, false).unwrap_or_else(parts)];
    }
    let plain = text.replace(',', "");
    let parts: Vec<&str> = plain.split('.').collect();
    match parts[..] {
        [whole] if whole.len() < text.len() => cardinals_or_digits(whole),
        [whole] => integers(whole),
        ["", fraction] => vec![format!("point {}", one_by_one(fraction))],
        [whole, fraction] => {
            let ways = if whole.len() < 4 { integers(whole) } else { cardinals_or_digits(whole) };
            ways.iter().map(|way| format!("{way} point {}", one_by_one(fraction))).collect()
        }
        // A version has three parts, an address four.
        _ => {
            let point = if parts.len() < 4 { " point " } else { " dot " };
            vec![parts.iter().copied().filter_map(first).collect::<Vec<_>>().join(point).trim().to_owned()]
        }
    }
}

/// Readings of a row of digits: a cardinal, a year, a pair of numbers, digit by digit.
fn integers(row: &str) -> Vec<String> {
    let by_digits = one_by_one(row);
    let mut cardinals = cardinals(row);
    let Some(main) = cardinals.first().cloned().filter(|_| row.len() == 1 || !row.starts_with('0') && row.len() <= 12)
    else {
        return vec![by_digits];
    };
    let (head, tail) = row.split_at(row.len().saturating_sub(2));
    let pair = pair(head, tail).unwrap_or_default();
    match row.len() {
        3 | 4 if row.ends_with("000") || row.len() == 3 && tail == "00" => cardinals,
        // "Two thousand one" before "twenty oh one".
        4 if head.ends_with('0') && tail.starts_with('0') => {
            cardinals.push(pair);
            cardinals
        }
        3 if row.ends_with('0') || tail.starts_with('0') => [vec![pair], cardinals].concat(),
        3 => [vec![pair, by_digits], cardinals].concat(),
        4 if row.starts_with('1') => vec![pair, main],
        4 if row.starts_with("20") => [vec![pair], cardinals].concat(),
        4 if tail == "00" => vec![main, pair],
        4 => vec![pair, main, by_digits],
        5..=7 if !row.ends_with("000") => {
            cardinals.push(by_digits);
            cardinals
        }
        _ => cardinals,
    }
}

/// Two numbers one after the other, as years are read: nineteen eighty four, nine eleven, four oh four, fifteen hundred.
fn pair(head: &str, tail: &str) -> Option<String> {
    let (head, last) = (one(head)?, one(tail)?);
    Some(match tail.as_bytes() {
        b"00" => format!("{head} hundred"),
        [b'0', _] => format!("{head} oh {last}"),
        _ => format!("{head} {last}"),
    })
}

/// Ordinals, without and with `and`.
pub(super) fn ordinals(text: &str) -> Vec<String> {
    let words = |n: i64| Num2Words::new(n).ordinal().to_words().ok();
    or_digits(without_and_with(&text.replace(',', ""), words), text)
}

/// Numbers in the plural: decades, sixes.
fn plurals(text: &str) -> Vec<String> {
    if let Some(model) = text.chars().next().filter(|_| text.len() == 1).and_then(digit) {
        return vec![format!("{model} s.")];
    }
    let mut ways = numbers(text);
    // A decade is said as the year is.
    if text.len() == 4 && text.ends_with('0') {
        ways.truncate(1);
    }
    ways.iter().map(|way| plural(way)).collect()
}

/// Cardinals, without and with `and`; none of what is no number.
pub(super) fn cardinals(row: &str) -> Vec<String> {
    without_and_with(row, |n| Num2Words::new(n).cardinal().to_words().ok())
}

/// Cardinals, or the names of more digits than a number may have.
fn cardinals_or_digits(row: &str) -> Vec<String> {
    or_digits(cardinals(row), row)
}

fn or_digits(ways: Vec<String>, row: &str) -> Vec<String> {
    if ways.is_empty() { vec![one_by_one(row)] } else { ways }
}

/// The first of [`cardinals`].
pub(super) fn one(row: &str) -> Option<String> {
    cardinals(row).into_iter().next()
}

/// Two ways if something precedes the last two digits: "one hundred one", "one hundred and one".
fn without_and_with(row: &str, words: impl Fn(i64) -> Option<String>) -> Vec<String> {
    let spaced = |words: String| {
        let words = words.split(|c: char| !c.is_ascii_alphabetic()).filter(|w| !w.is_empty() && *w != "and");
        words.collect::<Vec<_>>().join(" ")
    };
    let Ok(n) = row.parse::<i64>() else { return Vec::new() };
    let (head, tail) = (n - n % 100, n % 100);
    if head == 0 || tail == 0 {
        return words(n).map(spaced).into_iter().collect();
    }
    let head = Num2Words::new(head).cardinal().to_words().ok().map(spaced);
    match (head, words(tail).map(spaced)) {
        (Some(head), Some(tail)) => vec![format!("{head} {tail}"), format!("{head} and {tail}")],
        _ => Vec::new(),
    }
}

/// The names of the digits.
pub(super) fn one_by_one(text: &str) -> String {
    text.chars().filter_map(digit).collect::<Vec<_>>().join(" ")
}

fn digit(d: char) -> Option<&'static str> {
    const NAMES: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    Some(NAMES[d.to_digit(10)? as usize])
}

/// The last word of a number in the plural: eighties, sixes, hundreds.
fn plural(words: &str) -> String {
    match words.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if words.ends_with('x') => format!("{words}es"),
        None => format!("{words}s"),
    }
}

/// The value of a Roman numeral of two letters or more, from 2 to 89; `None` for anything else, and for `XL` and its like.
pub(super) fn roman(text: &str) -> Option<u8> {
    let size = text.len() == 2 && text.contains('L');
    (2..90).find(|&n| text.len() > 1 && !size && in_roman(n) == text)
}

/// A number below 90 in Roman numerals.
fn in_roman(mut number: u8) -> String {
    const STEPS: [(u8, &str); 7] = [(50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")];
    let mut out = String::new();
    for (value, letters) in STEPS {
        while number >= value {
            number -= value;
            out.push_str(letters);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        read(text, None).expect("a number").ways
    }

    #[test]
    fn decades_and_years() {
        assert_eq!(said("80s"), ["eighties"]);
        assert_eq!(said("80's"), ["eighties"]);
        assert_eq!(said("1990s"), ["nineteen nineties"]);
        assert_eq!(said("1984"), ["nineteen eighty four", "one thousand nine hundred eighty four"]);
        assert_eq!(said("1066")[0], "ten sixty six");
        assert_eq!(said("1900")[0], "nineteen hundred");
        assert_eq!(said("1905")[0], "nineteen oh five");
        assert_eq!(said("2000"), ["two thousand"]);
        assert_eq!(said("2001"), ["two thousand one", "two thousand and one", "twenty oh one"]);
        assert_eq!(said("2024"), ["twenty twenty four", "two thousand twenty four", "two thousand and twenty four"]);
        assert_eq!(said("16s"), ["sixteens"]);
        assert_eq!(said("66s"), ["sixty sixes"]);
        assert_eq!(said("5s"), ["five s."]);
    }

    #[test]
    fn codes_are_pairs_and_digits() {
        let emergency = ["nine eleven", "nine one one", "nine hundred eleven", "nine hundred and eleven"];
        assert_eq!(said("911"), emergency);
        assert_eq!(said("747")[..2], ["seven forty seven", "seven four seven"]);
        assert_eq!(said("360")[..2], ["three sixty", "three hundred sixty"]);
        assert_eq!(said("404")[..2], ["four oh four", "four hundred four"]);
        assert_eq!(said("500"), ["five hundred"]);
        assert_eq!(said("4711"), ["forty seven eleven", "four thousand seven hundred eleven", "four seven one one"]);
        assert_eq!(said("2500"), ["two thousand five hundred", "twenty five hundred"]);
        assert_eq!(said("90210")[2], "nine zero two one zero");
        assert_eq!(said("1,984")[0], "one thousand nine hundred eighty four");
        assert_eq!(said("555-1234"), ["five five five one two three four"]);
        assert_eq!(said("1-800-555-0100")[1], "one eight hundred five five five oh one oh oh");
        let spaced = read("555", Some("1234.")).expect("a number");
        assert_eq!((&spaced.ways[0][..], spaced.joined), ("five five five one two three four", true));
        for next in ["123", "12345", "1234x", "stop"] {
            assert!(!read("555", Some(next)).expect("a number").joined, "{next}");
        }
        assert_eq!(said("1939-1945")[0], "nineteen thirty nine");
    }

    #[test]
    fn points_and_parts() {
        assert_eq!(said(".5"), ["point five"]);
        assert_eq!(said("1,234.56")[1], "one thousand two hundred and thirty four point five six");
        assert_eq!(said("1.2.3"), ["one point two point three"]);
        assert_eq!(said("192.168.1.1"), ["one ninety two dot one sixty eight dot one dot one"]);
        assert_eq!(said("1/2"), ["one half", "one over two", "one two"]);
        assert_eq!(said("2/3")[0], "two thirds");
        assert_eq!(said("3/4")[0], "three quarters");
        assert_eq!((said("24/7"), read("9/11", None).expect("a number").rest), (vec!["twenty four".into()], "/11"));
        assert_eq!(vulgar_fraction('¾').as_deref(), Some("three quarters"));
        assert_eq!((vulgar_fraction('/'), vulgar_fraction('5'), vulgar_fraction('é')), (None, None, None));
    }

    #[test]
    fn commas_part_thousands_only() {
        for (text, number) in [
            ("1,000,000", "1,000,000"),
            ("12,345th", "12,345"),
            ("1,2,3", "1"),
            ("1,0000", "1"),
            ("1984,200", "1984"),
            ("0,123", "0"),
            ("1.5,100", "1.5"),
        ] {
            assert_eq!(digits(text), number, "{text}");
        }
    }

    #[test]
    fn endings_are_the_first_letters_behind_digits() {
        for (text, way, rest) in [
            ("1st!", "first", "!"),
            ("1,000th", "one thousandth", ""),
            ("101st", "one hundred first", ""),
            ("21st-century", "twenty first", "-century"),
            ("2ND.", "second", "."),
            ("80s.", "eighties", "."),
            ("9am-5pm", "nine a. m.", "-5pm"),
            ("9 a.m.", "nine", " a.m."),
            ("9a.m.,", "nine a. m.", ","),
            ("5star", "five", "star"),
        ] {
            let number = read(text, None).expect("a number");
            assert_eq!((number.ways[0].as_str(), number.rest), (way, rest), "{text}");
        }
    }

    #[test]
    fn times_of_day() {
        assert_eq!(clock("10:00", false).as_deref(), Some("ten o'clock"));
        assert_eq!(clock("10:00", true).as_deref(), Some("ten"));
        assert_eq!(clock("9:05", false).as_deref(), Some("nine oh five"));
        assert_eq!(clock("22:45", false).as_deref(), Some("twenty two forty five"));
        assert_eq!(clock("14:00", false).as_deref(), Some("fourteen hundred"));
        assert_eq!((clock("16:9", false), clock("25:00", false), clock("7:61", false)), (None, None, None));
        for (text, next, way) in [("10:00", "am", "ten a. m."), ("7", "P.M.,", "seven p. m."), ("13", "am", "thirteen")]
        {
            assert_eq!(read(text, Some(next)).expect("a time").ways, [way]);
        }
    }

    #[test]
    fn roman_numerals() {
        let numerals = ["II", "VIII", "XIV", "LVIII", "I", "IIII", "VX", "XL", "MIX", ""].map(roman);
        assert_eq!(numerals, [Some(2), Some(8), Some(14), Some(58), None, None, None, None, None, None]);
    }
}
