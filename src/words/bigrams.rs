//! Which words follow which: how much likelier a word is after another than it is by itself.
//!
//! A keyword is rarely said, so that how often words are said would count against it. What a word before or after it makes of
//! it does not: `lift(a, b) = ln(p(b | a) / p(b))`, the pointwise mutual information (Church and Hanks, 1990).

use crate::model::ModelError;
use crate::packed::{deflate, inflate, shared};

/// The file of a bundle that holds them.
pub const BIGRAMS_FILE: &str = "bigrams.bin";

/// First bytes of the file, with the version of the format.
const MAGIC: &[u8; 8] = b"kwsbig1\n";
/// Larger files are none, bytes.
const LARGEST: u64 = 16 << 20;
/// Nats of a step in which lifts are kept, and the step that is zero.
const STEP: f32 = 0.1;
const ZERO: f32 = 40.0;

/// Number of a word.
pub type WordId = u16;

/// A word's followers.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Lift of every word that is not in the list.
    pub rest: f32,
    /// Words that are known to follow, ascending, with their lifts.
    pub next: Vec<(WordId, f32)>,
}

/// What lifts multiply by, with a weight in the exponent.
#[derive(Debug, Clone)]
pub struct Factors(Box<[f64]>);

impl Factors {
    /// `exp(weight * lift)`.
    pub fn new(weight: f32) -> Self {
        Self((0..=u8::MAX).map(|step| f64::from(weight * lift(step)).exp()).collect())
    }

    /// By how much `before` multiplies the weight of `word`.
    pub fn of(&self, bigrams: &Bigrams, before: Option<WordId>, word: Option<WordId>) -> f64 {
        self.0[usize::from(bigrams.step(before, word))]
    }
}

/// The lifts of pairs of words, and how the rivals of a bundle are spelt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bigrams {
    words: Vec<Box<str>>,
    /// One past the last follower of each word.
    ends: Vec<u32>,
    rest: Vec<u8>,
    next: Vec<WordId>,
    lifts: Vec<u8>,
    rivals: Vec<Option<WordId>>,
}

fn quantised(lift: f32) -> u8 {
    (lift / STEP + ZERO).round().clamp(0.0, 255.0) as u8
}

fn lift(step: u8) -> f32 {
    (f32::from(step) - ZERO) * STEP
}

impl Bigrams {
    /// `words`: sorted, all different, at most 65,535, each with its row; `rivals`: the word of each pronunciation in
    /// [`super::RIVALS_FILE`]. `None` if these do not fit each other.
    pub fn new(words: Vec<String>, rows: &[Row], rivals: Vec<Option<WordId>>) -> Option<Self> {
        let known = |id: &WordId| usize::from(*id) < words.len();
        let sorted = words.is_sorted_by(|a, b| a < b) && rows.iter().all(|r| r.next.is_sorted_by(|a, b| a.0 < b.0));
        let fits = words.len() == rows.len() && words.len() <= usize::from(WordId::MAX);
        let inside = rows.iter().flat_map(|r| &r.next).all(|(id, _)| known(id)) && rivals.iter().flatten().all(known);
        if !(sorted && fits && inside) {
            return None;
        }
        let mut out = Self { rivals, words: words.into_iter().map(Into::into).collect(), ..Self::default() };
        for row in rows {
            out.rest.push(quantised(row.rest));
            out.next.extend(row.next.iter().map(|n| n.0));
            out.lifts.extend(row.next.iter().map(|n| quantised(n.1)));
            out.ends.push(out.next.len() as u32);
        }
        Some(out)
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.next.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.next.is_empty()
    }

    /// Number of a word, in lower case.
    pub fn id(&self, word: &str) -> Option<WordId> {
        self.words.binary_search_by(|w| (**w).cmp(word)).ok().map(|i| i as WordId)
    }

    /// The word of each rival.
    pub fn rivals(&self) -> &[Option<WordId>] {
        &self.rivals
    }

    /// By how much likelier `word` is after `before` than by itself, nats; a word that is not known is `None`.
    pub fn lift(&self, before: Option<WordId>, word: Option<WordId>) -> f32 {
        lift(self.step(before, word))
    }

    fn step(&self, before: Option<WordId>, word: Option<WordId>) -> u8 {
        let Some(before) = before.map(usize::from) else { return ZERO as u8 };
        let start = before.checked_sub(1).map_or(0, |i| self.ends[i] as usize);
        let row = start..self.ends[before] as usize;
        let found = word.and_then(|word| self.next[row].binary_search(&word).ok());
        found.map_or(self.rest[before], |i| self.lifts[start + i])
    }

    /// Writes them: words, each as the number of bytes it shares with the one before, that of the others, and those; rows, each
    /// with its followers as distances; the words of the rivals.
    ///
    /// # Panics
    /// Never: writing into memory does not fail.
    pub fn pack(&self) -> Vec<u8> {
        let mut body = Vec::new();
        number(&mut body, self.words.len());
        let mut last: &[u8] = &[];
        for word in self.words.iter().map(|w| w.as_bytes()) {
            let same = shared(word, last);
            number(&mut body, same);
            number(&mut body, word.len() - same);
            body.extend(&word[same..]);
            last = word;
        }
        let mut start = 0;
        for (&end, &rest) in self.ends.iter().zip(&self.rest) {
            let row = start..end as usize;
            start = row.end;
            body.push(rest);
            number(&mut body, row.len());
            let mut last = 0;
            for &id in &self.next[row.clone()] {
                number(&mut body, usize::from(id) - last);
                last = usize::from(id);
            }
            body.extend(&self.lifts[row]);
        }
        number(&mut body, self.rivals.len());
        for rival in &self.rivals {
            number(&mut body, rival.map_or(0, |id| usize::from(id) + 1));
        }
        deflate(MAGIC, &body)
    }

    /// Reads what [`Self::pack`] wrote.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] if the bytes are something else.
    pub fn unpack(packed: &[u8]) -> Result<Self, ModelError> {
        Self::read(packed).ok_or_else(|| ModelError::Damaged { file: BIGRAMS_FILE.into() })
    }

    fn read(packed: &[u8]) -> Option<Self> {
        let body = inflate(MAGIC, packed, LARGEST)?;
        let rest = &mut &body[..];
        let count = take_number(rest)?;
        let mut words: Vec<String> = Vec::new();
        for _ in 0..count {
            let (shared, others) = (take_number(rest)?, take_number(rest)?);
            let before = words.last().map_or(&[][..], |w| w.as_bytes());
            let mut word = before.get(..shared)?.to_vec();
            word.extend(take(rest, others)?);
            words.push(String::from_utf8(word).ok()?);
        }
        let mut rows = Vec::new();
        for _ in 0..count {
            let unknown = lift(take(rest, 1)?[0]);
            let followers = take_number(rest)?;
            let mut ids: Vec<WordId> = Vec::new();
            for _ in 0..followers {
                let last = ids.last().copied().map_or(0, usize::from);
                ids.push(WordId::try_from(last + take_number(rest)?).ok()?);
            }
            let lifts = take(rest, followers)?.iter().map(|&step| lift(step));
            rows.push(Row { rest: unknown, next: ids.into_iter().zip(lifts).collect() });
        }
        let rivals = take_number(rest)?;
        let mut spelt = Vec::new();
        for _ in 0..rivals {
            let id = take_number(rest)?;
            spelt.push(id.checked_sub(1).map(WordId::try_from).transpose().ok()?);
        }
        if rest.is_empty() { Self::new(words, &rows, spelt) } else { None }
    }
}

/// Seven bits a byte, the lowest first; the highest bit tells that more follow.
fn number(out: &mut Vec<u8>, mut value: usize) {
    while value > 127 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_number(from: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for place in 0..4 {
        let byte = take(from, 1)?[0];
        value |= usize::from(byte & 127) << (7 * place);
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(from: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, tail) = from.split_at_checked(count)?;
    *from = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_listed_is_lifted_and_the_rest_is_the_rest() {
        let words = ["a", "answer", "the"].map(String::from).to_vec();
        let none = || Row { rest: -0.5, next: Vec::new() };
        let rows = [none(), none(), Row { rest: -1.2, next: vec![(1, 3.4)] }];
        let bigrams = Bigrams::new(words, &rows, vec![Some(2), None]).expect("sorted");
        let [the, answer] = ["the", "answer"].map(|w| bigrams.id(w));
        let near = |got: f32, want: f32| assert!((got - want).abs() < 1e-4, "{got}, want {want}");
        near(bigrams.lift(the, answer), 3.4);
        near(bigrams.lift(the, bigrams.id("a")), -1.2);
        near(bigrams.lift(the, bigrams.id("unheard-of")), -1.2);
        near(bigrams.lift(answer, the), -0.5);
        // After something that nobody knows, anything is as likely as by itself.
        near(bigrams.lift(None, the), 0.0);
        assert_eq!(bigrams.rivals(), [Some(2), None]);
        assert!(Bigrams::new(vec!["b".into(), "a".into()], &[none(), none()], Vec::new()).is_none());
        assert!(Bigrams::new(vec!["a".into()], &[Row { rest: 0.0, next: vec![(1, 0.0)] }], Vec::new()).is_none());
    }

    proptest! {
        #[test]
        fn packed_bigrams_come_back(
            words in prop::collection::btree_set("[a-z']{1,6}", 1..40),
            pairs in prop::collection::btree_map((0_u16..40, 0_u16..40), 0_u8..255, 0..200),
            rivals in prop::collection::vec(prop::option::of(0_u16..40), 0..30),
        ) {
            let count = words.len() as u16;
            let row = |word: u16| {
                let of = pairs.iter().filter(|p| p.0.0 == word && p.0.1 < count);
                Row { rest: lift(word as u8), next: of.map(|p| (p.0.1, lift(*p.1))).collect() }
            };
            let rows: Vec<Row> = (0..count).map(row).collect();
            let rivals = rivals.into_iter().map(|r| r.filter(|id| *id < count)).collect();
            let bigrams = Bigrams::new(words.into_iter().collect(), &rows, rivals).expect("sorted");
            let packed = bigrams.pack();
            prop_assert_eq!(&Bigrams::unpack(&packed).expect("whole"), &bigrams);
            prop_assert!(Bigrams::unpack(&packed[..packed.len() - 1]).is_err() && Bigrams::unpack(&packed[1..]).is_err());
        }
    }
}
