//! `rivals.bin`: the pronunciations that compete with keywords.

use crate::model::ModelError;
use crate::packed::{deflate, inflate, shared};
use crate::text::Phone;

/// The file of a bundle that holds them.
pub const RIVALS_FILE: &str = "rivals.bin";

/// First bytes of a file of rivals, with the version of the format.
const MAGIC: &[u8; 8] = b"kwsriv1\n";
/// Larger files are none, bytes.
const LARGEST: u64 = 8 << 20;

/// Writes pronunciations: sorted, each as the number of phones it shares with the one before, that of the others, and those.
///
/// # Panics
/// Never: writing into memory does not fail.
pub fn pack_rivals(pronunciations: &[Vec<Phone>]) -> Vec<u8> {
    let mut sorted: Vec<&[Phone]> = pronunciations.iter().map(|p| &p[..p.len().min(255)]).collect();
    sorted.sort();
    sorted.dedup();
    let mut entries = Vec::new();
    let mut last: &[Phone] = &[];
    for phones in sorted {
        let same = shared(phones, last);
        entries.extend([same as u8, (phones.len() - same) as u8]);
        entries.extend(phones[same..].iter().map(|p| p.id() as u8));
        last = phones;
    }
    deflate(MAGIC, &entries)
}

/// Reads what [`pack_rivals`] wrote: pronunciations, sorted.
///
/// # Errors
/// [`ModelError::Damaged`] if the bytes are something else.
pub fn unpack_rivals(packed: &[u8]) -> Result<Vec<Vec<Phone>>, ModelError> {
    let damaged = || ModelError::Damaged { file: RIVALS_FILE.into() };
    let entries = inflate(MAGIC, packed, LARGEST).ok_or_else(damaged)?;
    let (mut rest, mut out): (&[u8], Vec<Vec<Phone>>) = (&entries, Vec::new());
    while let Some((&[shared, others], after)) = rest.split_first_chunk::<2>() {
        let (ids, after) = after.split_at_checked(others.into()).ok_or_else(damaged)?;
        let before = out.last().map_or(&[][..], |p| p);
        let mut phones = before.get(..shared.into()).ok_or_else(damaged)?.to_vec();
        for &id in ids {
            phones.push(Phone::from_id(id.into()).ok_or_else(damaged)?);
        }
        if phones.is_empty() || out.last().is_some_and(|last| *last >= phones) {
            return Err(damaged());
        }
        out.push(phones);
        rest = after;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packed_rivals_come_back_sorted(words in prop::collection::vec(prop::collection::vec(1_usize..40, 1..9), 0..50)) {
            let words: Vec<Vec<Phone>> =
                words.iter().map(|w| w.iter().filter_map(|&id| Phone::from_id(id)).collect()).collect();
            let mut sorted = words.clone();
            sorted.sort();
            sorted.dedup();
            let packed = pack_rivals(&words);
            prop_assert_eq!(unpack_rivals(&packed).expect("whole"), sorted);
            prop_assert!(unpack_rivals(&packed[..packed.len() - 1]).is_err() && unpack_rivals(&packed[1..]).is_err());
        }
    }
}
