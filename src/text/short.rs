//! Short forms that are said in full: abbreviations, titles, units.

use super::money::large;

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
const TITLES: [(&str, Option<&str>, Option<&str>); 5] = [
    ("ave", None, Some("avenue")),
    ("dr", Some("doctor"), Some("drive")),
    ("ft", Some("fort"), None),
    ("mt", Some("mount"), None),
    ("st", Some("saint"), Some("street")),
];

/// Units behind a number: one and several.
const UNITS: [(&str, &str, &str); 19] = [
    ("cm", "centimeter", "centimeters"),
    ("ft", "foot", "feet"),
    ("hr", "hour", "hours"),
    ("hrs", "hour", "hours"),
    ("kg", "kilogram", "kilograms"),
    ("km", "kilometer", "kilometers"),
    ("lb", "pound", "pounds"),
    ("lbs", "pound", "pounds"),
    ("m", "meter", "meters"),
    ("mg", "milligram", "milligrams"),
    ("mi", "mile", "miles"),
    ("min", "minute", "minutes"),
    ("ml", "milliliter", "milliliters"),
    ("mm", "millimeter", "millimeters"),
    ("mph", "mile per hour", "miles per hour"),
    ("oz", "ounce", "ounces"),
    ("sec", "second", "seconds"),
    ("yr", "year", "years"),
    ("yrs", "year", "years"),
];

/// Units that are words too: `wait a sec`.
const SAID: [&str; 2] = ["min", "sec"];
/// Capitals that are something else where more follows, also behind a number: `5 HR managers`.
const LETTERS: [&str; 5] = ["FT", "HR", "MI", "ML", "YR"];

/// Titles and the like that the lexicon has as they are written, with a full stop behind.
const DOTTED: [&str; 12] = ["capt", "col", "gen", "jr", "lt", "mr", "mrs", "ms", "rev", "sen", "sr", "vol"];

/// Times that a rate is for.
const TIMES: [(&str, &str); 10] = [
    ("d", "day"),
    ("day", "day"),
    ("h", "hour"),
    ("hr", "hour"),
    ("min", "minute"),
    ("mo", "month"),
    ("s", "second"),
    ("sec", "second"),
    ("wk", "week"),
    ("yr", "year"),
];

/// What stands around letters.
pub(super) struct Around<'a> {
    /// What was typed before: a number, a word, `per`; nothing at the beginning.
    pub before: Option<&'a str>,
    /// What follows; nothing at the end.
    pub after: Option<&'a str>,
    /// A full stop follows.
    pub dotted: bool,
    /// A stroke and a time follow, as in `km/h`.
    pub rate: bool,
}

/// The time of a rate that a text is.
pub(super) fn time(text: &str) -> Option<&'static str> {
    let text = text.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    TIMES.iter().find(|(short, _)| *short == text).map(|(_, time)| *time)
}

/// Whether a text is written short, and the full stop between it and the next one says so: `St.John`, `Mr.Robot`, but `sr.ht`.
pub(super) fn is_short(text: &str, next: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let dotted = DOTTED.contains(&&*lower) && next.starts_with(|c: char| c.is_ascii_uppercase());
    dotted || TITLES.iter().any(|t| t.0 == lower) || ABBREVIATIONS.iter().any(|a| a.0 == lower)
}

/// What letters are in full, and whether that is a unit; `None` if they are not short for anything.
pub(super) fn in_full(part: &str, around: &Around<'_>) -> Option<(&'static str, bool)> {
    let capital = |text: &str| text.starts_with(|c: char| c.is_ascii_uppercase());
    let lower = part.to_ascii_lowercase();
    if let Some(time) = time(&lower).filter(|_| around.before == Some("per")) {
        return Some((time, false));
    }
    let numbered = around.after.is_some_and(|after| after.starts_with(|c: char| c.is_ascii_digit()));
    if lower == "no" && numbered && (around.dotted || capital(part)) {
        return Some(("number", false));
    }
    let unit = UNITS.iter().find(|unit| unit.0 == lower);
    let is_one = is_one(around.before);
    // `Ft. Worth` and no feet.
    let named = unit.is_none() || is_one.is_none() && capital(part) && around.after.is_some_and(capital);
    let ends = around.before.is_some() && around.after.is_none();
    let title = TITLES.iter().find(|t| named && t.0 == lower).and_then(|t| if ends { t.2 } else { t.1 });
    if let Some(said) = title {
        return Some((said, false));
    }
    let digits = around.before.is_some_and(begins_with_digits);
    // Two capitals are letters, but `5CM` and `6 FT`.
    let capitals = part.len() == 2 && part.bytes().all(|c| c.is_ascii_uppercase());
    let several = is_one == Some(false);
    if capitals && (!digits && !several || LETTERS.contains(&part) && around.after.is_some()) {
        return None;
    }
    // A single letter is a unit in a rate alone: `5G`, and `5 m/s`.
    let counted = is_one.is_some() && part.len() > 1 && (digits || !SAID.contains(&&*lower));
    if let Some((_, one, several)) = unit.filter(|_| around.rate || counted) {
        return Some((if is_one == Some(true) { one } else { several }, true));
    }
    ABBREVIATIONS.iter().find(|a| a.0 == lower).map(|a| (a.1, unit.is_some()))
}

fn begins_with_digits(text: &str) -> bool {
    text.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit())
}

/// Whether one thing is counted, or several; `None` if there is no number before.
fn is_one(before: Option<&str>) -> Option<bool> {
    let before = before?.to_ascii_lowercase();
    if matches!(before.as_str(), "1" | "one" | "a" | "an" | "per") {
        return Some(true);
    }
    (begins_with_digits(&before) || before == "half" || large(&before).is_some()).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(before: Option<&str>, part: &str, after: Option<&str>) -> Option<&'static str> {
        Some(in_full(part, &Around { before, after, dotted: false, rate: false })?.0)
    }

    #[test]
    fn units_follow_numbers() {
        assert_eq!(said(Some("1"), "kg", None), Some("kilogram"));
        assert_eq!(said(Some("2"), "oz", None), Some("ounces"));
        assert_eq!(said(Some("5"), "CM", None), Some("centimeters"));
        assert_eq!(said(Some("per"), "s", None), Some("second"));
        assert_eq!(said(Some("million"), "km", None), Some("kilometers"));
        assert_eq!(said(None, "kg", None), Some("kilograms"));
        assert_eq!((said(None, "oz", None), said(Some("5"), "m", None)), (None, None));
        assert_eq!(
            (said(Some("6"), "FT", None), said(Some("million"), "KM", None)),
            (Some("feet"), Some("kilometers"))
        );
        assert_eq!((said(Some("one"), "oz", None), said(Some("30"), "sec", None)), (Some("ounce"), Some("seconds")));
        for (before, word) in
            [("a", "sec"), ("one", "sec"), ("a", "min"), ("an", "HR"), ("5", "ML"), ("2", "HR"), ("a", "MM")]
        {
            assert_eq!(said(Some(before), word, Some("more")), None, "{before} {word}");
        }
    }

    #[test]
    fn capitals_and_names_tell_what_is_meant() {
        for letters in ["IE", "EG", "CM", "MM", "LB", "VS"] {
            assert_eq!(said(None, letters, None), None);
        }
        assert_eq!(said(None, "ie", None), Some("that is"));
        assert_eq!(said(None, "Ft", Some("Worth")), Some("fort"));
        assert_eq!(said(Some("6"), "Ft", Some("Tall")), Some("feet"));
        assert_eq!(said(None, "ft", Some("lauderdale")), Some("feet"));
        assert_eq!(said(Some("Chanel"), "No", Some("5")), Some("number"));
        assert_eq!(said(None, "no", Some("5")), None);
        assert_eq!(said(Some("Wall"), "St", None), Some("street"));
    }
}
