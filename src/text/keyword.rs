//! What a person types: a list of keywords, some with their phones.

use super::number::parts_thousands;
use super::{Phone, TextError, parse_phones};

/// A keyword as typed.
#[derive(Debug, Clone, PartialEq)]
pub struct KeywordSpec {
    /// Its text, spaces made single.
    pub name: String,
    /// Pronunciations given with it; none to derive them from the text.
    pub phones: Vec<Vec<Phone>>,
    /// Threshold of its own, over 0 to 1; that of all keywords if not given.
    pub threshold: Option<f32>,
}

impl KeywordSpec {
    /// A keyword to be pronounced as it is written.
    pub fn new(text: &str) -> Self {
        Self { name: text.split_whitespace().collect::<Vec<_>>().join(" "), phones: Vec::new(), threshold: None }
    }
}

/// Whether two names stand for one keyword: case does not count.
pub fn same_name(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

/// Reads a list such as `hello, smart mirror, siobhan=[SH AH V AO N]`.
///
/// Commas part keywords, but not thousands: `1,000` and `100,200` are numbers, `1,2,3` and `100, 200` lists. `NAME=[PHONES]` gives
/// ARPAbet, with `|` between several ways. Either may end with `@0.7`, a threshold of its own. A keyword that is named again is merged
/// into the first of its name: all pronunciations given for it count, and the first threshold.
///
/// # Errors
/// [`TextError::Empty`] for a list without a keyword or with an empty place, [`TextError::Brackets`], [`TextError::Threshold`],
/// [`TextError::UnknownPhone`].
pub fn parse_keywords(list: &str) -> Result<Vec<KeywordSpec>, TextError> {
    let mut out: Vec<KeywordSpec> = Vec::new();
    for item in split(list)? {
        let (item, last) = own_threshold(item)?;
        let (text, phones) = match item.split_once('=') {
            Some((name, given)) if given.trim_start().starts_with('[') => (name, Some(given.trim())),
            _ => (item, None),
        };
        // It may stand behind the name too, as with recordings.
        let (text, first) = if phones.is_some() { own_threshold(text)? } else { (text, None) };
        let threshold = first.or(last);
        let mut spec = KeywordSpec { threshold, ..KeywordSpec::new(text) };
        if spec.name.is_empty() {
            return Err(TextError::Empty);
        }
        let brackets = || TextError::Brackets(item.trim().into());
        if let Some(given) = phones {
            let inner = given.strip_prefix('[').and_then(|g| g.strip_suffix(']')).ok_or_else(brackets)?;
            for way in inner.split('|') {
                spec.phones.push(Some(parse_phones(way)?).filter(|phones| !phones.is_empty()).ok_or_else(brackets)?);
            }
        } else if is_phones(item) {
            return Err(brackets());
        }
        match out.iter_mut().find(|s| same_name(&s.name, &spec.name)) {
            Some(first) => {
                first.phones.extend(spec.phones);
                first.threshold = first.threshold.or(spec.threshold);
            }
            None => out.push(spec),
        }
    }
    for spec in &mut out {
        spec.phones.sort();
        spec.phones.dedup();
    }
    if out.is_empty() { Err(TextError::Empty) } else { Ok(out) }
}

/// Takes the threshold off the end of a keyword: `@` and a number with a point in it, such as `@0.7`. `@7` is read aloud.
///
/// # Errors
/// [`TextError::Threshold`] for a number that is no threshold.
pub fn own_threshold(item: &str) -> Result<(&str, Option<f32>), TextError> {
    let Some((rest, number)) = item.rsplit_once('@') else { return Ok((item, None)) };
    let number = number.trim();
    let decimal = number.contains('.') && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    match number.parse::<f32>() {
        Ok(threshold) if decimal && threshold > 0.0 && threshold <= 1.0 => Ok((rest, Some(threshold))),
        Ok(_) if decimal => Err(TextError::Threshold(item.trim().into())),
        _ => Ok((item, None)),
    }
}

/// Whether a keyword is `NAME=[PHONES]` without the name or the brackets: two phones or more behind `=`, or in brackets.
fn is_phones(item: &str) -> bool {
    let phones = match item.split_once('=') {
        Some((_, phones)) => phones,
        None if item.trim_start().starts_with(['[', '(', '{']) => item,
        None => return false,
    };
    let phones = phones.trim_matches(|c: char| c.is_whitespace() || "[](){}".contains(c));
    parse_phones(phones).is_ok_and(|phones| phones.len() > 1)
}

/// The lists of a keyword file with their lines, from 1; one a line as [`parse_keywords`] takes them, without comments (`#` at the beginning of a line or
/// after a space) and the comma that may stand at the end of a line.
///
/// # Errors
/// The number of the first line that is no list, from 1, and what is wrong with it.
pub fn keyword_lists(text: &str) -> Result<Vec<(usize, &str)>, (usize, TextError)> {
    let mut lists = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let begins = |at: &usize| !line[..*at].ends_with(|c: char| !c.is_whitespace());
        let comment = line.match_indices('#').map(|(at, _)| at).find(begins);
        let list = line[..comment.unwrap_or(line.len())].trim();
        if !list.is_empty() {
            parse_keywords(list).map_err(|error| (index + 1, error))?;
            lists.push((index + 1, without_last_comma(list)));
        }
    }
    Ok(lists)
}

/// A list that others can follow: without the comma that may stand at its end.
pub fn without_last_comma(list: &str) -> &str {
    list.trim_end_matches(|c: char| c == ',' || c.is_whitespace())
}

/// Splits at commas outside brackets and numbers; an empty item behind the last comma is dropped.
fn split(list: &str) -> Result<Vec<&str>, TextError> {
    let mut items = Vec::new();
    let (mut inside, mut from) = (false, 0);
    for (i, c) in list.char_indices() {
        match c {
            '[' if !inside => inside = true,
            ']' if inside => inside = false,
            '[' | ']' => return Err(TextError::Brackets(list.trim().into())),
            ',' if !inside && !parts_thousands(&list[from..i], &list[i + 1..]) => {
                items.push(&list[from..i]);
                from = i + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err(TextError::Brackets(list.trim().into()));
    }
    if items.is_empty() || !list[from..].trim().is_empty() {
        items.push(&list[from..]);
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_with_phones_and_doubles() {
        let specs = parse_keywords(" hello,  smart   mirror ,siobhan=[SH AH V AO N],Hello,").expect("a good list");
        let names: Vec<&str> = specs.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["hello", "smart mirror", "siobhan"]);
        assert_eq!(specs[2].phones, [parse_phones("SH AH V AO N").expect("ARPAbet")]);
        let twice = parse_keywords("tomato=[T AH M EY T OW],tomato=[T AH M AA T OW]").expect("two ways");
        assert_eq!((twice.len(), twice[0].phones.len()), (1, 2));
        let printed = parse_keywords("tomato=[T AH M EY T OW | T AH M AA T OW]").expect("two ways");
        assert_eq!(printed, twice);
    }

    #[test]
    fn a_threshold_follows_the_keyword() {
        let list = "hello@0.7, siobhan=[SH AH V AO N] @ .25,Hello@0.3,stop,stop@1.0,ai@0.4=[EY AY]";
        let specs = parse_keywords(list).expect("a good list");
        let given: Vec<(&str, Option<f32>)> = specs.iter().map(|s| (s.name.as_str(), s.threshold)).collect();
        assert_eq!(given, [("hello", Some(0.7)), ("siobhan", Some(0.25)), ("stop", Some(1.0)), ("ai", Some(0.4))]);
        assert_eq!(specs[1].phones, [parse_phones("SH AH V AO N").expect("ARPAbet")]);
        for text in ["meet me@7", "me@home", "a@b@c", "user@mail.com", "@home"] {
            assert_eq!(parse_keywords(text).expect(text), [KeywordSpec::new(text)]);
        }
        for text in ["hello@1.5", "hello@0.0", "hello@.0"] {
            assert!(matches!(parse_keywords(text), Err(TextError::Threshold(_))), "{text}");
        }
        assert!(matches!(parse_keywords("@0.7"), Err(TextError::Empty)));
    }

    #[test]
    fn commas_of_numbers_part_no_keywords() {
        for (list, names) in [
            ("hello,1,000,stop", &["hello", "1,000", "stop"][..]),
            ("$1,234.56,1,000th", &["$1,234.56", "1,000th"]),
            ("1,2,3", &["1", "2", "3"]),
            ("1984,1999,mp3,100", &["1984", "1999", "mp3", "100"]),
            ("100,200", &["100,200"]),
            ("100, 200", &["100", "200"]),
        ] {
            let specs = parse_keywords(list).expect("a list");
            assert_eq!(specs.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), names, "{list}");
        }
    }

    #[test]
    fn phones_without_name_or_brackets_are_refused() {
        for list in ["[HH AH L OW]", "hello=HH AH L OW", "hello=(HH AH L OW)", "hello, (HH AH0 L OW1)", "a=[HH AH|]"] {
            let error = parse_keywords(list).expect_err(list);
            assert!(matches!(error, TextError::Brackets(_)), "{list}: {error}");
        }
        for list in ["x=y", "a=b c d", "(hello)", "E=mc²"] {
            assert!(parse_keywords(list).is_ok(), "{list}");
        }
    }

    #[test]
    fn comments_begin_lines_or_follow_spaces() {
        let lists = keyword_lists("# words\nC#, hello # both\n\t# none\nstop,").expect("lists");
        assert_eq!(lists, [(2, "C#, hello"), (4, "stop")]);
    }

    #[test]
    fn broken_lists_are_refused() {
        for list in ["", " , ", "hello,,stop", "a=[HH", "a=[]", "a=[XX]", "a]", "=[HH AH]"] {
            assert!(parse_keywords(list).is_err(), "{list}");
        }
    }
}
