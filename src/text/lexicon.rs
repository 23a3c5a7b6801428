//! CMUdict, packed: all pronunciations of 126,000 words in 0.6 MB.

use std::collections::BTreeMap;

use super::{Phone, TextError, parse_phones};
use crate::packed::{deflate, inflate, shared};

/// First bytes of a packed lexicon, with the version of the format.
const MAGIC: &[u8; 8] = b"kwslex2\n";

/// Entries between two words that are written whole, so that a look-up reads one block only.
const BLOCK: usize = 128;

/// Larger lexica are none, bytes; CMUdict has 2 MB.
const LARGEST: u64 = 64 << 20;

/// Words to pronunciations.
///
/// Packed, it is two lists, the words and their pronunciations, sorted by word; a further pronunciation repeats the word. In memory
/// the entries follow one another, each `shared prefix length, suffix length, suffix, phone count, phone ids`, one byte a number.
#[derive(Debug, Clone)]
pub struct Lexicon {
    entries: Vec<u8>,
    /// First word of each block and where the block begins.
    blocks: Vec<(Box<[u8]>, usize)>,
}

/// A list of strings of at most 255 bytes, by what each has in common with the one before. Numbers that are alike lie together, and
/// deflate better.
#[derive(Default)]
struct Strings {
    /// How many bytes it begins with of the one before, how many others it has, and those of all strings.
    columns: [Vec<u8>; 3],
    last: Vec<u8>,
}

impl Strings {
    fn push(&mut self, string: &[u8]) {
        let same = shared(string, &self.last);
        let [begins, others, bytes] = &mut self.columns;
        begins.push(same as u8);
        others.push((string.len() - same) as u8);
        bytes.extend(&string[same..]);
        string.clone_into(&mut self.last);
    }

    /// Each column after its length.
    fn write(&self, out: &mut Vec<u8>) {
        for column in &self.columns {
            out.extend((column.len() as u32).to_le_bytes());
            out.extend(column);
        }
    }
}

/// Walks over what [`Strings::write`] wrote.
struct StringsReader<'a> {
    columns: [&'a [u8]; 3],
    last: Vec<u8>,
}

impl<'a> StringsReader<'a> {
    /// Takes three columns off the front of `from`.
    fn take(from: &mut &'a [u8]) -> Option<Self> {
        let mut columns = [&[][..]; 3];
        for column in &mut columns {
            let (&length, rest) = from.split_first_chunk::<4>()?;
            (*column, *from) = rest.split_at_checked(u32::from_le_bytes(length) as usize)?;
        }
        Some(Self { columns, last: Vec::new() })
    }

    fn is_at_end(&self) -> bool {
        self.columns.iter().all(|c| c.is_empty())
    }

    /// The next string after how many bytes it begins with of the one before; `None` at the end or where the data make no sense.
    fn next(&mut self) -> Option<(usize, &[u8])> {
        let [begins, others, bytes] = &mut self.columns;
        let [same, more] = [begins, others].map(|column| column.split_off_first().map(|&n| usize::from(n)));
        let (same, more) = (same?, bytes.split_off(..more?)?);
        if same > self.last.len() || same + more.len() > 255 {
            return None;
        }
        self.last.truncate(same);
        self.last.extend_from_slice(more);
        Some((same, &self.last))
    }
}

/// Walks over packed entries.
struct Cursor<'a> {
    rest: &'a [u8],
    word: Vec<u8>,
}

impl<'a> Cursor<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest, word: Vec::with_capacity(40) }
    }

    /// The next entry's phone ids; its word is left in `self.word`. `None` at the end or where the data make no sense.
    fn next(&mut self) -> Option<&'a [u8]> {
        let (&[shared, suffix], rest) = self.rest.split_first_chunk::<2>()?;
        let (suffix, rest) = rest.split_at_checked(usize::from(suffix))?;
        let (&count, rest) = rest.split_first()?;
        let (phones, rest) = rest.split_at_checked(usize::from(count))?;
        if usize::from(shared) > self.word.len() {
            return None;
        }
        self.word.truncate(usize::from(shared));
        self.word.extend_from_slice(suffix);
        self.rest = rest;
        Some(phones)
    }
}

impl Lexicon {
    /// Unpacks what [`Lexicon::pack`] wrote.
    ///
    /// # Errors
    /// [`TextError::Lexicon`] if the bytes are something else or damaged.
    pub fn from_bytes(packed: &[u8]) -> Result<Self, TextError> {
        let body = inflate(MAGIC, packed, LARGEST).ok_or(TextError::Lexicon("it is no lexicon, or cut short"))?;
        let rest = &mut &body[..];
        let (words, spoken) = (StringsReader::take(rest), StringsReader::take(rest));
        let cut = || TextError::Lexicon("a list is cut off");
        let (Some(mut words), Some(mut spoken), true) = (words, spoken, rest.is_empty()) else { return Err(cut()) };
        let (mut entries, mut blocks) = (Vec::new(), Vec::new());
        for entry in 0_usize.. {
            if words.is_at_end() && spoken.is_at_end() {
                break;
            }
            let ((mut same, word), (_, phones)) = words.next().zip(spoken.next()).ok_or_else(cut)?;
            if phones.iter().any(|&id| Phone::from_id(id.into()).is_none()) {
                return Err(TextError::Lexicon("an entry has an unknown phone"));
            }
            if entry.is_multiple_of(BLOCK) {
                blocks.push((word.into(), entries.len()));
                same = 0;
            }
            entries.extend([same as u8, (word.len() - same) as u8]);
            entries.extend_from_slice(&word[same..]);
            entries.push(phones.len() as u8);
            entries.extend_from_slice(phones);
        }
        entries.shrink_to_fit();
        Ok(Self { entries, blocks })
    }

    /// Packs pronunciations; words or pronunciations of more than 255 bytes or phones are left out.
    ///
    /// # Panics
    /// Never: writing into memory does not fail.
    pub fn pack(words: &BTreeMap<String, Vec<Vec<Phone>>>) -> Vec<u8> {
        let [mut spelt, mut spoken] = [Strings::default(), Strings::default()];
        for (word, pronunciations) in words {
            for phones in pronunciations.iter().filter(|p| p.len() < 256 && !word.is_empty() && word.len() < 256) {
                spelt.push(word.as_bytes());
                spoken.push(&phones.iter().map(|p| p.id() as u8).collect::<Vec<u8>>());
            }
        }
        let mut body = Vec::new();
        spelt.write(&mut body);
        spoken.write(&mut body);
        deflate(MAGIC, &body)
    }

    /// All pronunciations of a lower-case word, in the dictionary's order; none if it is not there.
    pub fn get(&self, word: &str) -> Vec<Vec<Phone>> {
        let wanted = word.as_bytes();
        // A word's pronunciations may begin in the block before the one that begins with it.
        let after = self.blocks.partition_point(|(first, _)| &first[..] < wanted);
        let Some((_, at)) = self.blocks.get(after.saturating_sub(1)) else { return Vec::new() };
        let mut cursor = Cursor::new(&self.entries[*at..]);
        let mut out = Vec::new();
        while let Some(phones) = cursor.next() {
            match cursor.word.as_slice().cmp(wanted) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => {
                    out.push(phones.iter().filter_map(|&id| Phone::from_id(id.into())).collect());
                }
                std::cmp::Ordering::Greater => break,
            }
        }
        out
    }

    /// All pronunciations of all words.
    pub fn pronunciations(&self) -> impl Iterator<Item = Vec<Phone>> + '_ {
        let mut cursor = Cursor::new(&self.entries);
        let phones = move || Some(cursor.next()?.iter().filter_map(|&id| Phone::from_id(id.into())).collect());
        std::iter::from_fn(phones)
    }
}

/// Reads CMUdict's text form (`word(2)  HH AH0 L OW1 # remark`): stress is dropped, equal pronunciations are merged.
///
/// # Errors
/// [`TextError::UnknownPhone`] with the first symbol that is not ARPAbet.
pub fn read_cmudict(text: &str) -> Result<BTreeMap<String, Vec<Vec<Phone>>>, TextError> {
    let mut out: BTreeMap<String, Vec<Vec<Phone>>> = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with(";;;")) {
        let line = line.split(" #").next().unwrap_or_default();
        let Some((head, phones)) = line.split_once(' ') else { continue };
        let word = head.split('(').next().unwrap_or_default().to_lowercase();
        let phones = parse_phones(phones)?;
        let list = out.entry(word).or_default();
        if !phones.is_empty() && !list.contains(&phones) {
            list.push(phones);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many() -> BTreeMap<String, Vec<Vec<Phone>>> {
        let entry = |i: usize| format!("w{i:03} W AH{} N\nw{i:03}(2) T UW1 {} # remark\n", i % 3, ["S", "Z"][i % 2]);
        read_cmudict(&(0..1_000).map(entry).collect::<Vec<_>>().concat()).expect("ARPAbet")
    }

    #[test]
    fn packs_and_finds_every_word_and_no_other() {
        let words = many();
        let lexicon = Lexicon::from_bytes(&Lexicon::pack(&words)).expect("what was packed");
        for (word, pronunciations) in &words {
            assert_eq!(&lexicon.get(word), pronunciations, "{word}");
        }
        assert!(lexicon.pronunciations().eq(words.into_values().flatten()));
        for missing in ["", "a", "w", "w0005", "w1000", "zebra"] {
            assert!(lexicon.get(missing).is_empty(), "{missing}");
        }
    }

    #[test]
    fn damage_is_told() {
        let mut packed = Lexicon::pack(&many());
        assert!(Lexicon::from_bytes(b"something else").is_err());
        packed.truncate(packed.len() / 2);
        assert!(Lexicon::from_bytes(&packed).is_err());
    }
}
