//! CMUdict, packed: all pronunciations of 126,000 words in a megabyte.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::{Phone, TextError, parse_phones};

/// First bytes of a packed lexicon, with the version of the format.
const MAGIC: &[u8; 8] = b"kwslex1\n";

/// Entries between two words that are written whole, so that a look-up reads one block only.
const BLOCK: usize = 128;

/// Larger lexica are none, bytes; CMUdict has 2 MB.
const LARGEST: u64 = 64 << 20;

/// Words to pronunciations.
///
/// Inflated form: entries sorted by word, each `shared prefix length, suffix length, suffix, phone count, phone ids`, one
/// byte a number; a further pronunciation repeats the word (an empty suffix).
#[derive(Debug, Clone)]
pub struct Lexicon {
    entries: Vec<u8>,
    /// First word of each block and where the block begins.
    blocks: Vec<(Box<[u8]>, usize)>,
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
        let body = packed.strip_prefix(MAGIC).ok_or(TextError::Lexicon("it does not begin as one"))?;
        let mut entries = Vec::new();
        let inflated = ZlibDecoder::new(body).take(LARGEST + 1).read_to_end(&mut entries);
        if inflated.map_err(|_| TextError::Lexicon("it does not inflate"))? as u64 > LARGEST {
            return Err(TextError::Lexicon("it is too large"));
        }
        let mut blocks = Vec::new();
        let mut cursor = Cursor::new(&entries);
        let mut count = 0;
        while !cursor.rest.is_empty() {
            let at = entries.len() - cursor.rest.len();
            let phones = cursor.next().ok_or(TextError::Lexicon("an entry is cut off"))?;
            if phones.iter().any(|&id| Phone::from_id(id.into()).is_none()) {
                return Err(TextError::Lexicon("an entry has an unknown phone"));
            }
            if count % BLOCK == 0 {
                blocks.push((cursor.word.clone().into(), at));
            }
            count += 1;
        }
        Ok(Self { entries, blocks })
    }

    /// Packs pronunciations; words or pronunciations of more than 255 bytes or phones are left out.
    ///
    /// # Panics
    /// Never: writing into memory does not fail.
    pub fn pack(words: &BTreeMap<String, Vec<Vec<Phone>>>) -> Vec<u8> {
        let mut entries = Vec::new();
        let mut last: &[u8] = &[];
        let mut count = 0;
        for (word, pronunciations) in words {
            for phones in pronunciations.iter().filter(|p| p.len() < 256 && !word.is_empty() && word.len() < 256) {
                let bytes = word.as_bytes();
                let fits = |(a, b): &(&u8, &u8)| a == b;
                let shared = if count % BLOCK == 0 { 0 } else { bytes.iter().zip(last).take_while(fits).count() };
                entries.extend([shared as u8, (bytes.len() - shared) as u8]);
                entries.extend_from_slice(&bytes[shared..]);
                entries.push(phones.len() as u8);
                entries.extend(phones.iter().map(|p| p.id() as u8));
                last = bytes;
                count += 1;
            }
        }
        let mut encoder = ZlibEncoder::new(MAGIC.to_vec(), Compression::best());
        encoder
            .write_all(&entries)
            .and_then(|()| encoder.finish())
            .unwrap_or_else(|_| unreachable!("memory takes it all"))
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
