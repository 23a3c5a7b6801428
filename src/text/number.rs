//! Numbers as people say them: cardinals, ordinals, years, decades, codes, times of day, sums of money.

use num2words::Num2Words;

/// A currency: its sign, one, several, and the hundredth part.
struct Currency {
    sign: char,
    one: &'static str,
    several: &'static str,
    hundredths: &'static str,
}

const CURRENCIES: [Currency; 4] = [
    Currency { sign: '$', one: "dollar", several: "dollars", hundredths: "cents" },
    Currency { sign: '€', one: "euro", several: "euros", hundredths: "cents" },
    Currency { sign: '£', one: "pound", several: "pounds", hundredths: "pence" },
    Currency { sign: '¥', one: "yen", several: "yen", hundredths: "sen" },
];

/// Words that multiply a number, and come before the currency.
const LARGE: [&str; 5] = ["hundred", "thousand", "million", "billion", "trillion"];

/// Halves of the day behind a number, and how they are said.
const HALVES: [(&str, &str); 4] = [("am", "a. m."), ("a.m.", "a. m."), ("pm", "p. m."), ("p.m.", "p. m.")];

/// Whether letters belong to the digits before them: an ordinal, a plural, a half of the day.
pub(super) fn is_ending(letters: &str) -> bool {
    matches!(letters, "st" | "nd" | "rd" | "th" | "s" | "'s") || HALVES.iter().any(|(half, _)| *half == letters)
}

/// What a sign of a currency is called.
pub(super) fn currency(sign: char) -> Option<&'static str> {
    CURRENCIES.iter().find(|c| c.sign == sign).map(|c| c.one)
}

/// Whether a word goes between an amount and its currency, as in `$5 million`.
pub(super) fn is_large(word: &str) -> bool {
    LARGE.contains(&word.to_lowercase().as_str())
}

/// How a sum such as `$5`, `£5.50` or `5€` is said, with the word for [`is_large`] behind it; `None` for anything else.
pub(super) fn money(typed: &str, large: Option<&str>) -> Option<String> {
    let typed = typed.trim_end_matches(['.', ',', '!', '?', ';', ':']);
    let currency = CURRENCIES.iter().find(|c| typed.starts_with(c.sign) || typed.ends_with(c.sign))?;
    let amount = typed.strip_prefix(currency.sign).or_else(|| typed.strip_suffix(currency.sign))?.replace(',', "");
    let (whole, fraction) = amount.split_once('.').unwrap_or((&amount, ""));
    let digits = |s: &str| s.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole_said = cardinal(whole)?;
    if let Some(large) = large {
        let amount = readings(&amount).into_iter().next()?;
        return Some(format!("{amount} {} {}", large.to_lowercase(), currency.several));
    }
    let unit = if whole == "1" { currency.one } else { currency.several };
    Some(match fraction {
        "" | "00" => format!("{whole_said} {unit}"),
        _ if fraction.len() != 2 => format!("{} {}", readings(&amount).first()?, currency.several),
        _ if whole == "0" => format!("{} {}", cardinal(fraction)?, currency.hundredths),
        _ => format!("{whole_said} {unit} {}", cardinal(fraction)?),
    })
}

/// How a time of day such as `10:30` is said; `half` of the day follows, as in `10:00 am`. `None` for anything else.
fn clock(text: &str, half: bool) -> Option<String> {
    let (hours, minutes) = text.split_once(':').filter(|(h, m)| (1..=2).contains(&h.len()) && m.len() == 2)?;
    let (hour, minute): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    if hour > 23 || minute > 59 {
        return None;
    }
    let said = cardinal(hours)?;
    Some(match minute {
        0 if half => said,
        0 if (1..=12).contains(&hour) => format!("{said} o'clock"),
        0 => format!("{said} hundred"),
        1..=9 => format!("{said} oh {}", cardinal(minutes)?),
        _ => format!("{said} {}", cardinal(minutes)?),
    })
}

/// Readings of digits with what belongs to them ([`is_ending`]), such as `42`, `3.14`, `1,000`, `21st`, `1984`, `80s`, `10:30am`:
/// words between spaces, the likeliest first.
pub(super) fn readings(text: &str) -> Vec<String> {
    if let Some((text, half)) = HALVES.iter().find_map(|(half, said)| Some((text.strip_suffix(half)?, said))) {
        let ways = clock(text, true).map_or_else(|| readings(text), |time| vec![time]);
        return ways.iter().map(|way| format!("{way} {half}")).collect();
    }
    if let Some(time) = clock(text, false) {
        return vec![time];
    }
    if text.contains(':') {
        let parts: Vec<String> = text.split(':').filter_map(|n| readings(n).into_iter().next()).collect();
        return vec![parts.join(" ")];
    }
    let plain = text.replace(',', "");
    if let Some(number) = plain.strip_suffix('s').filter(|s| s.ends_with(|c: char| c.is_ascii_digit() || c == '\'')) {
        let number = number.trim_end_matches('\'');
        if let Some(model) = number.chars().next().filter(|_| number.len() == 1).and_then(digit) {
            return vec![format!("{model} s.")];
        }
        // A decade is said as the year is.
        let mut ways = readings(number);
        ways.reverse();
        return ways.iter().map(|way| plural(way)).collect();
    }
    let digits = || vec![text.chars().filter_map(digit).collect::<Vec<_>>().join(" ")];
    if let Some(ordinal) = plain.strip_suffix(|c: char| c.is_ascii_alphabetic()) {
        let ordinal = ordinal.trim_end_matches(|c: char| !c.is_ascii_digit());
        let words = ordinal.parse::<i64>().ok().and_then(|n| Num2Words::new(n).ordinal().to_words().ok());
        return words.map_or_else(digits, |w| vec![spaced(&w)]);
    }
    if let Some((whole, fraction)) = plain.split_once('.') {
        let Some(whole) = cardinal(whole) else { return digits() };
        let fraction: Vec<&str> = fraction.chars().filter_map(digit).collect();
        return vec![format!("{whole} point {}", fraction.join(" "))];
    }
    // A leading zero or a long row of digits is read digit by digit, as in a code.
    if plain.len() > 1 && plain.starts_with('0') || plain.len() > 12 {
        return digits();
    }
    let Some(words) = cardinal(&plain) else { return digits() };
    let mut out = vec![words];
    if let Some(year) = plain.parse::<i64>().ok().filter(|n| plain.len() == 4 && (1_100..2_100).contains(n)) {
        let year = Num2Words::new(year).year().to_words().ok().map(|y| spaced(&y));
        out.extend(year.filter(|y| *y != out[0]));
    }
    out
}

fn cardinal(digits: &str) -> Option<String> {
    Some(spaced(&Num2Words::new(digits.parse::<i64>().ok()?).cardinal().to_words().ok()?))
}

/// Words alone, between single spaces.
fn spaced(words: &str) -> String {
    words.split(|c: char| !c.is_ascii_alphabetic()).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decades_and_years() {
        assert_eq!(readings("80s"), ["eighties"]);
        assert_eq!(readings("80's"), ["eighties"]);
        assert_eq!(readings("1990s")[0], "nineteen nineties");
        assert_eq!(readings("1984")[1], "nineteen eighty four");
        assert_eq!(readings("16s"), ["sixteens"]);
        assert_eq!(readings("66s"), ["sixty sixes"]);
        assert_eq!(readings("5s"), ["five s."]);
    }

    #[test]
    fn times_of_day() {
        assert_eq!(clock("10:00", false).as_deref(), Some("ten o'clock"));
        assert_eq!(clock("10:00", true).as_deref(), Some("ten"));
        assert_eq!(clock("9:05", false).as_deref(), Some("nine oh five"));
        assert_eq!(clock("22:45", false).as_deref(), Some("twenty two forty five"));
        assert_eq!(clock("14:00", false).as_deref(), Some("fourteen hundred"));
        assert_eq!((clock("16:9", false), clock("25:00", false), clock("7:61", false)), (None, None, None));
    }

    #[test]
    fn sums_of_money() {
        let said = |typed| money(typed, None);
        assert_eq!(said("$5").as_deref(), Some("five dollars"));
        assert_eq!(said("£1").as_deref(), Some("one pound"));
        assert_eq!(said("5€").as_deref(), Some("five euros"));
        assert_eq!(said("$1,984.50,").as_deref(), Some("one thousand nine hundred and eighty four dollars fifty"));
        assert_eq!(said("$0.99").as_deref(), Some("ninety nine cents"));
        assert_eq!(money("¥3.5", Some("Million")).as_deref(), Some("three point five million yen"));
        assert_eq!((said("$"), said("$x"), said("5"), said("$5k")), (None, None, None, None));
    }
}
