//! Sums of money.

use super::number::{Number, cardinals, digits, one, one_by_one};

/// A currency: its sign, one, several, and the hundredth part.
struct Currency {
    sign: char,
    one: &'static str,
    several: &'static str,
    hundredths: &'static str,
}

const CURRENCIES: [Currency; 7] = [
    Currency { sign: '$', one: "dollar", several: "dollars", hundredths: "cents" },
    Currency { sign: '€', one: "euro", several: "euros", hundredths: "cents" },
    Currency { sign: '£', one: "pound", several: "pounds", hundredths: "pence" },
    Currency { sign: '¥', one: "yen", several: "yen", hundredths: "sen" },
    Currency { sign: '₹', one: "rupee", several: "rupees", hundredths: "paise" },
    Currency { sign: '₩', one: "won", several: "won", hundredths: "jeon" },
    Currency { sign: '¢', one: "cent", several: "cents", hundredths: "hundredths" },
];

/// Words that multiply an amount and come before the currency, and their letters behind the digits.
const LARGE: [(&str, &[&str]); 5] = [
    ("hundred", &[]),
    ("thousand", &["k"]),
    ("million", &["m", "mn"]),
    ("billion", &["b", "bn"]),
    ("trillion", &["t", "tn"]),
];

/// What a sign of a currency is called.
pub(super) fn currency(sign: char) -> Option<&'static str> {
    CURRENCIES.iter().find(|c| c.sign == sign).map(|c| c.one)
}

/// The word of [`LARGE`] that a typed word is, as in `$5 million`.
pub(super) fn large(typed: &str) -> Option<&'static str> {
    let typed = typed.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
    LARGE.iter().map(|(word, _)| *word).find(|word| word.eq_ignore_ascii_case(typed))
}

/// The word of [`LARGE`] that letters at the beginning of a text stand for, as in `$5k`, and what follows.
fn large_letters(text: &str) -> Option<(&'static str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    let stands_for = |(_, short): &&(&str, &[&str])| short.iter().any(|s| s.eq_ignore_ascii_case(&text[..end]));
    Some((LARGE.iter().find(stands_for)?.0, &text[end..]))
}

/// Reads the sum at the beginning of a text, such as `$5`, `£5.50`, `5€` or `$1.5M`; `next` is the word behind the text. `None` where
/// it begins with something else.
pub(super) fn read<'a>(text: &'a str, next: Option<&str>) -> Option<Number<'a>> {
    let of = |text: &str| CURRENCIES.iter().find(|c| text.starts_with(c.sign));
    let (currency, amount, mut rest) = if let Some(currency) = of(text) {
        let behind = &text[currency.sign.len_utf8()..];
        let amount = digits(behind);
        (currency, amount, &behind[amount.len()..])
    } else {
        let amount = digits(text);
        let behind = &text[amount.len()..];
        let currency = of(behind)?;
        (currency, amount, &behind[currency.sign.len_utf8()..])
    };
    let amount = amount.replace(',', "");
    let (whole, fraction) = amount.split_once('.').unwrap_or((&amount, ""));
    if amount.is_empty() || !whole.chars().chain(fraction.chars()).all(|c| c.is_ascii_digit()) {
        return None;
    }
    let mut multiple = None;
    let mut joined = false;
    if let Some((word, behind)) = large_letters(rest) {
        (multiple, rest) = (Some(word), behind);
    } else if !rest.contains(|c: char| c.is_ascii_alphanumeric()) {
        multiple = next.and_then(large);
        joined = multiple.is_some();
    }
    let several = currency.several;
    let wholes = if whole.is_empty() { vec![String::new()] } else { cardinals(whole) };
    let each = |behind: String| wholes.iter().map(|whole| format!("{whole} {behind}").trim().to_owned()).collect();
    let ways: Vec<String> = match (fraction, multiple) {
        ("", Some(multiple)) => each(format!("{multiple} {several}")),
        (_, Some(multiple)) => each(format!("point {} {multiple} {several}", one_by_one(fraction))),
        ("" | "00", None) => each((if whole == "1" { currency.one } else { several }).to_owned()),
        (_, None) if fraction.len() != 2 => each(format!("point {} {several}", one_by_one(fraction))),
        (_, None) if matches!(whole, "" | "0") => vec![format!("{} {}", one(fraction)?, currency.hundredths)],
        (_, None) => each(format!("{} {}", if whole == "1" { currency.one } else { several }, one(fraction)?)),
    };
    (!ways.is_empty()).then_some(Number { ways, rest, joined })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Option<String> {
        Some(read(text, None)?.ways.swap_remove(0))
    }

    #[test]
    fn sums_of_money() {
        assert_eq!(said("$5").as_deref(), Some("five dollars"));
        assert_eq!(said("£1").as_deref(), Some("one pound"));
        assert_eq!(said("5€").as_deref(), Some("five euros"));
        assert_eq!(said("5¢").as_deref(), Some("five cents"));
        assert_eq!(said("₹500").as_deref(), Some("five hundred rupees"));
        assert_eq!(said("₩5").as_deref(), Some("five won"));
        let way = |and| format!("one thousand nine hundred {and}eighty four dollars fifty");
        assert_eq!(read("$1,984.50,", None).expect("a sum").ways, ["", "and "].map(way));
        assert_eq!(said("$0.99").as_deref(), Some("ninety nine cents"));
        assert_eq!(said("$.50").as_deref(), Some("fifty cents"));
        assert_eq!(said("$1.5").as_deref(), Some("one point five dollars"));
        assert_eq!((said("$"), said("$x"), said("5"), said("$1.2.3")), (None, None, None, None));
    }

    #[test]
    fn multiples_come_before_the_currency() {
        let sum = read("¥3.5", Some("Million,")).expect("a sum");
        assert_eq!((sum.ways, sum.joined), (vec!["three point five million yen".to_owned()], true));
        assert_eq!(said("$1.5M").as_deref(), Some("one point five million dollars"));
        assert_eq!(said("$100K").as_deref(), Some("one hundred thousand dollars"));
        assert_eq!(said("£5m").as_deref(), Some("five million pounds"));
        assert_eq!(read("$5/day", Some("million")).expect("a sum").rest, "/day");
        assert_eq!(read("$5man", None).expect("a sum").rest, "man");
    }
}
