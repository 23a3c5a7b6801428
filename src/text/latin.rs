//! Latin letters and digits in ASCII.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Latin letters that are no others with a mark (Unicode decomposes the rest).
const LETTERS: [(char, &str); 39] = [
    ('ß', "ss"),
    ('ẞ', "SS"),
    ('æ', "ae"),
    ('Æ', "AE"),
    ('œ', "oe"),
    ('Œ', "OE"),
    ('ø', "o"),
    ('Ø', "O"),
    ('đ', "d"),
    ('Đ', "D"),
    ('ð', "d"),
    ('Ð', "D"),
    ('þ', "th"),
    ('Þ', "Th"),
    ('ł', "l"),
    ('Ł', "L"),
    ('ħ', "h"),
    ('Ħ', "H"),
    ('ŧ', "t"),
    ('Ŧ', "T"),
    ('ı', "i"),
    ('ĸ', "k"),
    ('ŋ', "ng"),
    ('Ŋ', "NG"),
    ('ə', "e"),
    ('Ə', "E"),
    ('ɛ', "e"),
    ('Ɛ', "E"),
    ('ɔ', "o"),
    ('Ɔ', "O"),
    ('ɓ', "b"),
    ('Ɓ', "B"),
    ('ɗ', "d"),
    ('Ɗ', "D"),
    ('ƙ', "k"),
    ('Ƙ', "K"),
    ('ƴ', "y"),
    ('Ƴ', "Y"),
    ('ƒ', "f"),
];

/// The ASCII letters and digits that a character stands for, without its marks: `é`, `ß`, `ﬁ`, `４`, `²`. Empty if there are none.
pub fn ascii(c: char) -> String {
    let plain = |c: char| LETTERS.iter().find(|(letter, _)| *letter == c).map(|(_, plain)| *plain);
    let mut out = String::new();
    for c in std::iter::once(c).nfkd().filter(|c| !is_combining_mark(*c)) {
        match plain(c) {
            Some(plain) => out.push_str(plain),
            None if c.is_ascii() => out.push(c),
            None => return String::new(),
        }
    }
    out
}

/// A text in ASCII, such as for the name of a file: Latin letters and digits without their marks, `_` for each other character.
pub fn in_ascii(text: &str) -> String {
    text.chars().map(ascii).map(|plain| if plain.is_empty() { "_".into() } else { plain }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_digits_lose_their_marks_and_others_are_none() {
        for (c, plain) in [
            ('a', "a"),
            ('é', "e"),
            ('Å', "A"),
            ('ß', "ss"),
            ('ø', "o"),
            ('ł', "l"),
            ('ő', "o"),
            ('ﬁ', "fi"),
            ('４', "4"),
            ('²', "2"),
            ('𝐛', "b"),
            ('日', ""),
            ('ж', ""),
            ('α', ""),
        ] {
            assert_eq!(ascii(c), plain, "{c}");
        }
        assert_eq!(in_ascii("Crème-日x"), "Creme-_x");
    }
}
