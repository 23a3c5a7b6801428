//! Phones of a phrase as words in a row.

use super::search::LONGEST;
use crate::text::Phone;

/// Ways to cut a pronunciation into words that count, at most.
const CUTS: usize = 8;

/// The first ways to cut phones into `count` of the `common` words, at most [`CUTS`], by their places in a sorted vocabulary that holds
/// them all. What else it holds are other keywords, and whoever asks for these too is to find a phrase as well as before.
pub(super) fn cuts(
    phones: &[Phone],
    count: usize,
    common: &[Vec<Phone>],
    vocabulary: &[(&[Phone], bool)],
) -> Vec<Vec<usize>> {
    let n = phones.len();
    let find = |word: &[Phone]| {
        common.binary_search_by(|p| p[..].cmp(word)).ok()?;
        vocabulary.binary_search_by(|(p, _)| (*p).cmp(word)).ok()
    };
    // One past the end of each word that begins at a place, and its number.
    let words: Vec<Vec<(usize, usize)>> = (0..n)
        .map(|i| (i + 1..=n).take(LONGEST as usize).filter_map(|end| Some((end, find(&phones[i..end])?))).collect())
        .collect();
    // Rows of words from each place to the end, of none at first and then of one more each time.
    let mut rows: Vec<Vec<Vec<usize>>> = vec![Vec::new(); n + 1];
    rows[n].push(Vec::new());
    for _ in 0..count {
        let longer = |words: &Vec<(usize, usize)>| {
            let longer =
                words.iter().flat_map(|&(end, word)| rows[end].iter().map(move |rest| [&[word], &rest[..]].concat()));
            longer.take(CUTS).collect()
        };
        rows = words.iter().map(longer).chain([Vec::new()]).collect();
    }
    rows.swap_remove(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::parse_phones;

    fn phones(text: &str) -> Vec<Phone> {
        parse_phones(text).expect("ARPAbet")
    }

    #[test]
    fn a_long_phrase_is_cut_in_no_time() {
        let words: Vec<Vec<Phone>> = ["AH", "AH AH", "AH AH AH", "T UW"].map(phones).to_vec();
        let vocabulary: Vec<(&[Phone], bool)> = words.iter().map(|w| (&w[..], false)).collect();
        assert_eq!(cuts(&phones("AH AH AH AH T UW"), 3, &words, &vocabulary), [[0, 2, 3], [1, 1, 3], [2, 0, 3]]);
        // Next to endless ways, and none, for the last phone is no word.
        let long = "AH ".repeat(120);
        assert_eq!(cuts(&phones(long.trim()), 60, &words, &vocabulary).len(), CUTS);
        assert!(cuts(&phones(&format!("{long}T")), 60, &words, &vocabulary).is_empty());
        assert!(cuts(&[], 2, &words, &vocabulary).is_empty());
    }
}
