//! Written text to speakable words: accents, signs, letters; numbers by [`number`], sums by [`money`], short forms by [`short`].

use super::latin::ascii;
use super::money::{self, currency};
use super::short::{self, Around};
use super::token::{Token, company, letter_name, tokens};
use super::{number, pairs};

/// Signs that are said.
const SIGNS: [(char, &str); 13] = [
    ('&', "and"),
    ('%', "percent"),
    ('@', "at"),
    ('+', "plus"),
    ('=', "equals"),
    ('#', "number"),
    ('°', "degrees"),
    ('−', "minus"),
    ('×', "times"),
    ('÷', "divided by"),
    ('²', "squared"),
    ('³', "cubed"),
    ('µ', "micro"),
];

/// Blocks of Unicode with signs and pictures; what is a letter or digit among them and stands for none of ours is a picture.
const PICTURES: [std::ops::RangeInclusive<char>; 2] = ['\u{2000}'..='\u{2bff}', '\u{1f000}'..='\u{1faff}'];

/// How addresses and programs end.
const ADDRESSES: [&str; 8] = ["ai", "co", "com", "io", "js", "net", "org", "tv"];

/// Readings kept of a text.
const MOST: usize = 8;

/// Whether a text has letters or digits of another script than ours, or such as nobody knows how to say in it.
pub fn is_foreign(text: &str) -> bool {
    text.chars().any(|c| match written(c) {
        Written::Blank => c.is_alphanumeric() && !PICTURES.iter().any(|block| block.contains(&c)),
        _ => false,
    })
}

/// The readings of a text, the likeliest first: mostly one, more where there are numbers. Nothing speakable gives no token.
pub fn readings(text: &str) -> Vec<Vec<Token>> {
    let text = speakable(text);
    let mut words = text.split_whitespace().peekable();
    let mut reader = Reader { out: vec![Vec::new()], before: None, next: None, amount: false, joined: false };
    while let Some(typed) = words.next() {
        reader.next = words.peek().copied();
        reader.word(typed);
        if std::mem::take(&mut reader.joined) {
            words.next();
        }
    }
    reader.out
}

/// What a character is to a reader.
enum Written {
    /// This text.
    As(String),
    /// A number such as `½`, and how it is said.
    Fraction(String),
    /// A picture, a mark, or a letter of another script: it parts words, and nobody says it.
    Blank,
}

fn written(c: char) -> Written {
    match c {
        '’' | '‘' | '´' | '`' | 'ʼ' | 'ʻ' => Written::As("'".into()),
        // Soft hyphens, joiners, accents and strokes that follow their letter, variation selectors.
        '\u{ad}'
        | '\u{200b}'..='\u{200d}'
        | '\u{2b9}'..='\u{2df}'
        | '\u{300}'..='\u{36f}'
        | '\u{fe00}'..='\u{fe0f}' => Written::As(String::new()),
        // Dashes.
        '\u{2010}'..='\u{2015}' => Written::As("-".into()),
        '⁄' => Written::As("/".into()),
        '℃' => Written::As("°C".into()),
        '℉' => Written::As("°F".into()),
        '№' => Written::As("No.".into()),
        _ if c.is_ascii() || sign(c).is_some() => Written::As(c.into()),
        _ => match number::vulgar_fraction(c) {
            Some(said) => Written::Fraction(said),
            None => match ascii(c) {
                plain if c.is_alphanumeric() && !plain.is_empty() => Written::As(plain),
                _ => Written::Blank,
            },
        },
    }
}

/// The text in ASCII and signs that are said.
fn speakable(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match written(c) {
            Written::As(plain) => out.push_str(&plain),
            Written::Fraction(said) if out.ends_with(|c: char| c.is_ascii_digit()) => {
                out.extend([" and ", if said == "one half" { "a half" } else { &said }, " "]);
            }
            Written::Fraction(said) => out.extend([" ", &said, " "]),
            Written::Blank => out.push(' '),
        }
    }
    out
}

/// What a sign is called.
fn sign(c: char) -> Option<&'static str> {
    SIGNS.iter().find(|(sign, _)| *sign == c).map(|(_, said)| *said).or_else(|| currency(c))
}

/// Goes through a text from left to right.
struct Reader<'a> {
    /// What has been read, in each way.
    out: Vec<Vec<Token>>,
    /// What was typed before: a number, a word, `per`.
    before: Option<&'a str>,
    /// The word behind this one.
    next: Option<&'a str>,
    /// Whether the last thing was a sum or an amount with its unit, of which a stroke makes a rate.
    amount: bool,
    /// Whether the word behind this one has been read with it.
    joined: bool,
}

impl<'a> Reader<'a> {
    /// Goes on with each of `ways`, at least one; a handful of readings is enough for "2010 2011 2012".
    fn append(&mut self, ways: &[Vec<Token>]) {
        let both = |(i, j): (usize, usize)| [self.out[i].as_slice(), &ways[j]].concat();
        self.out = pairs(self.out.len(), ways.len(), MOST).into_iter().map(both).collect();
    }

    fn say(&mut self, words: &str) {
        self.append(&[tokens(words)]);
    }

    /// Reads what stands between two spaces.
    fn word(&mut self, typed: &'a str) {
        let opening = |c: char| !c.is_ascii_alphanumeric() && sign(c).is_none() && !matches!(c, '.' | '-' | '/');
        let typed = typed.trim_start_matches(opening);
        if let Some(letters) = company(typed) {
            self.append(&[letters]);
            self.before = Some(typed);
            return;
        }
        let mut rest = typed;
        while let Some(c) = rest.chars().next() {
            let (starts, behind) = (rest.len() == typed.len(), &rest[c.len_utf8()..]);
            let sum = money::read(rest, self.next);
            let amount = sum.is_some();
            let number = sum.or_else(|| number::read(rest, self.next));
            if let Some(read) = number {
                let ways: Vec<_> = read.ways.iter().map(|way| tokens(way)).collect();
                self.append(&ways);
                self.joined = read.joined;
                self.before = Some(&rest[..rest.len() - read.rest.len()]);
                self.amount = amount;
                rest = read.rest;
            } else if starts
                && c == '-'
                && (!number::digits(behind).is_empty() || behind.starts_with(|c| currency(c).is_some()))
            {
                self.say("minus");
                rest = behind;
            } else if c == '/' || sign(c).is_some() {
                rest = self.sign(c, starts, behind);
            } else {
                let is_end = |c: char| c.is_ascii_digit() || c == '/' || sign(c).is_some();
                let end = rest.find(is_end).unwrap_or(rest.len());
                let (run, behind) = rest.split_at(end);
                self.letters(run, behind);
                rest = behind;
            }
        }
    }

    /// Reads a sign with what belongs to it of the text behind it, and gives the rest.
    fn sign(&mut self, c: char, starts: bool, behind: &'a str) -> &'a str {
        let letter = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic());
        let scale = |name: char| behind.strip_prefix(name).filter(|rest| !letter(rest));
        let mut rest = behind;
        match c {
            '/' if self.amount => {
                self.say("per");
                self.before = Some("per");
            }
            '/' => {}
            '#' if !starts && self.before.is_some_and(|word| word.len() == 1 && letter(word)) => self.say("sharp"),
            '#' if letter(behind) => self.say("hashtag"),
            '°' => {
                self.say(if self.before == Some("1") { "degree" } else { "degrees" });
                for (name, said) in [('C', "celsius"), ('F', "fahrenheit")] {
                    if let Some(behind) = scale(name) {
                        self.say(said);
                        rest = behind;
                    }
                }
            }
            _ => self.say(sign(c).unwrap_or_default()),
        }
        self.amount = false;
        rest
    }

    /// Reads a run without digits and signs: full stops between single letters spell it, hyphens stay inside a word.
    fn letters(&mut self, run: &'a str, behind: &'a str) {
        let inside = |c: char| c.is_ascii_alphabetic() || matches!(c, '\'' | '-' | '.');
        for run in run.split(|c| !inside(c)) {
            let dotted: Vec<&str> = run.split('.').filter(|s| !s.is_empty()).collect();
            let letter = |s: &&str| s.len() == 1 && letter_name(s.as_bytes()[0].into()).is_some();
            if dotted.iter().all(letter)
                && (dotted.len() > 1 || dotted.len() == 1 && run.len() == 2 && run.ends_with('.'))
            {
                self.say(&(dotted.join(". ") + "."));
                self.before = Some(run);
                continue;
            }
            let segments: Vec<&str> = run.split('.').collect();
            for (i, segment) in segments.iter().enumerate() {
                if i > 0 && is_said(segments[i - 1], segment, i == 1) {
                    self.say("dot");
                }
                let part = segment.trim_matches(['\'', '-']);
                if !part.is_empty() {
                    let following = segments[i + 1..].iter().copied().chain([behind]);
                    let after =
                        following.chain(self.next).find(|text| text.contains(|c: char| c.is_ascii_alphanumeric()));
                    let rate = behind.strip_prefix('/').is_some_and(|per| short::time(per).is_some());
                    self.part(part, &Around { before: self.before, after, dotted: i + 1 < segments.len(), rate });
                    self.before = Some(part);
                }
            }
        }
    }

    /// Reads letters between points.
    fn part(&mut self, part: &str, around: &Around<'_>) {
        self.amount = false;
        if let Some((said, amount)) = short::in_full(part, around) {
            self.say(said);
            self.amount = amount;
        } else if let Some(number) = numeral(part, around) {
            let number = number.to_string();
            let mut ways = vec![tokens(&number::cardinals(&number).concat())];
            if around.before.is_some() {
                ways.push(tokens(&format!("the {}", number::ordinals(&number).concat())));
            }
            // Two letters may be that, whatever stands before: `Start IV`.
            if around.before.is_none() || part.len() == 2 {
                ways.push(vec![Token::typed(part)]);
            }
            self.append(&ways);
        } else {
            self.append(&[vec![Token::typed(part)]]);
        }
    }
}

/// Whether the point between two texts is said, as in `google.com` and `.NET`; `begins` a run of letters.
fn is_said(left: &str, right: &str, begins: bool) -> bool {
    let two = |letters: &str| letters.len() > 1 && letters.bytes().all(|c| c.is_ascii_alphabetic());
    let word = left.get(left.len().saturating_sub(2)..).is_some_and(two) && !short::is_short(left, right);
    // A sentence begins with one capital: `Stop.Go`, but `Amazon.Com`.
    let sentence = !ADDRESSES.contains(&&*right.to_ascii_lowercase())
        && right.get(1..2).is_some_and(|c| c.bytes().all(|c| c.is_ascii_lowercase()))
        && right.starts_with(|c: char| c.is_ascii_uppercase());
    right.get(..2).is_some_and(two) && (word && !sentence || begins && left.is_empty())
}

/// The value of a Roman numeral in capitals, alone or behind a name.
fn numeral(part: &str, around: &Around<'_>) -> Option<u8> {
    let named = |before: &str| before.starts_with(|c: char| c.is_ascii_uppercase());
    number::roman(part).filter(|_| around.before.map_or(around.after.is_none(), named))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_in_few_ways(text in r"\PC{0,40}", numbers in "[0-9:.,$€£¥'smAPaTh&%°#/½² -]{0,30}") {
            for text in [text, numbers] {
                let ways = readings(&text);
                prop_assert!((1..=MOST).contains(&ways.len()), "{} ways", ways.len());
                let spelt = |w: &str| w.starts_with(|c: char| c.is_ascii_lowercase()) && w.chars().all(|c| c.is_ascii_lowercase() || "'-.".contains(c));
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
        assert_eq!(said("1984")[0], "nineteen eighty four");
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
        assert_eq!(said("May 1st!"), ["may first"]);
        assert_eq!(said("(1st)"), ["first"]);
        assert_eq!(said("9am-5pm"), ["nine a. m. five p. m."]);
        assert_eq!(said("10:00 am news"), ["ten a. m. news"]);
        assert_eq!(said("7:00 P.M."), ["seven p. m."]);
        assert_eq!(said("route 911")[..2], ["route nine eleven", "route nine one one"]);
        assert_eq!(said("World War II"), ["world war two", "world war the second", "world war ii"]);
        assert_eq!(said("Henry VIII")[1], "henry the eighth");
        assert_eq!(said("III"), ["three", "iii"]);
        assert_eq!(said("Start IV")[2], "start iv");
        assert_eq!(said("Porsche 911 1973")[0], "porsche nine eleven nineteen seventy three");
        assert_eq!(said("call 99999999999999999999.5 now").len(), 1);
        assert_eq!(said("1,234,567,890,123,456,789,012").len(), 1);
        assert_eq!(said("I mix civil ix"), ["i mix civil ix"]);
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
        assert_eq!(said("Əliyev Hawaiʻi"), ["eliyev hawai'i"]);
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
    fn signs_belong_to_what_stands_around_them() {
        for (text, way) in [
            ("-5", "minus five"),
            ("−5", "minus five"),
            ("-$5", "minus five dollars"),
            ("-10°C", "minus ten degrees celsius"),
            ("1° F", "one degree f"),
            ("72℉", "seventy two degrees fahrenheit"),
            ("½", "one half"),
            ("1½", "one and a half"),
            ("2¾", "two and three quarters"),
            ("10²", "ten squared"),
            ("5 µm", "five micro m"),
            ("100 km/h", "one hundred kilometers per hour"),
            ("1 km/s", "one kilometer per second"),
            ("5 m/s", "five meters per second"),
            ("$5/day", "five dollars per day"),
            ("and/or", "and or"),
            ("US$5", "us five dollars"),
            ("C#", "c sharp"),
            ("A #1", "a number one"),
            ("#win", "hashtag win"),
            ("M&Ms", "m. and m.'s"),
        ] {
            assert_eq!(said(text)[0], way, "{text}");
        }
        for apostrophe in "'’‘´`ʼ".chars() {
            assert_eq!(said(&format!("don{apostrophe}t")), ["don't"]);
        }
    }

    #[test]
    fn points_inside_words_are_said() {
        assert_eq!(said("www.google.com."), ["www dot google dot com"]);
        assert_eq!(said("user@example.com"), ["user at example dot com"]);
        assert_eq!(said("Node.js"), ["node dot js"]);
        assert_eq!(said("mp3.com"), ["mp three dot com"]);
        assert_eq!(said(".NET"), ["dot net"]);
        assert_eq!(said("v1.2.3"), ["v one point two point three"]);
        assert_eq!(said(".5"), ["point five"]);
        assert_eq!(said("hello...world ...and .."), ["hello world and"]);
        assert_eq!(said("St.John"), ["saint john"]);
        assert_eq!(said("Mr.Robot"), ["mr robot"]);
        assert_eq!(said("Stop.Go"), ["stop go"]);
        assert_eq!(said("sr.ht"), ["sr dot ht"]);
        assert_eq!(said("Amazon.Com"), ["amazon dot com"]);
        assert_eq!(said("call 555-1912"), ["call five five five one nine one two"]);
        assert_eq!(said("ASP.NET"), ["asp dot net"]);
        assert_eq!(said("Ph.D."), ["ph d"]);
    }

    #[test]
    fn short_forms_depend_on_what_stands_around_them() {
        assert_eq!(said("1 kg"), ["one kilogram"]);
        assert_eq!(said("5kg"), ["five kilograms"]);
        assert_eq!(said("2 oz"), ["two ounces"]);
        assert_eq!(said("Ft. Worth"), ["fort worth"]);
        assert_eq!(said("6 ft"), ["six feet"]);
        assert_eq!(said("No. 5"), ["number five"]);
        assert_eq!(said("No.1"), ["number one"]);
        assert_eq!(said("no 5"), ["no five"]);
        assert_eq!(said("IE"), ["ie"]);
    }

    #[test]
    fn other_scripts_are_foreign() {
        for text in [
            "café",
            "über",
            "straße",
            "Ångström",
            "smørrebrød",
            "Ｈｅｌｌｏ",
            "𝐇i",
            "10²",
            "½ µ",
            "👍",
            "① ➊ 🅰",
            "Ɗan Əliyev",
            "Hawaiʻi",
        ] {
            assert!(!is_foreign(text), "{text}");
        }
        for text in ["日本", "привет", "hello мир", "αβγ", "مرحبا", "channel ५", "bɹ"] {
            assert!(is_foreign(text), "{text}");
        }
    }

    #[test]
    fn pictures_and_marks_are_not_said() {
        assert_eq!(said("Alexa™ ®"), ["alexa"]);
        assert_eq!(said("👍"), [""]);
        assert_eq!(said("hello😀world ❤\u{fe0f}"), ["hello world"]);
        assert_eq!(said("key\u{ad}board"), ["keyboard"]);
        assert_eq!(said("Siobha\u{301}n"), ["siobhan"]);
        assert_eq!(said("“quoted”…"), ["quoted"]);
        assert_eq!(said("straße"), ["strasse"]);
    }
}
