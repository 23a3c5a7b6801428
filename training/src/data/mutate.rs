//! Phonetic hard negatives: what a keyword is easily mistaken for.

use kws_live::text::Phone;
use rand::Rng;
use rand::rngs::SmallRng;

/// Phones that sound alike; a substitution stays inside its group three times out of four.
const GROUPS: [&[&str]; 10] = [
    &["AA", "AO", "AH", "OW"],
    &["IH", "IY", "EH", "EY"],
    &["AE", "EH", "AH", "AY"],
    &["UH", "UW", "OW", "AW"],
    &["P", "B", "T", "D", "K", "G"],
    &["M", "N", "NG"],
    &["F", "V", "TH", "DH"],
    &["S", "Z", "SH", "ZH", "CH", "JH"],
    &["L", "R", "W", "Y", "ER"],
    &["HH", "K", "T", "OY"],
];

fn any(rng: &mut SmallRng) -> Phone {
    Phone::from_id(rng.random_range(1..kws_live::text::CLASSES)).unwrap_or_else(|| unreachable!("ids 1 to 39"))
}

fn near(rng: &mut SmallRng, phone: Phone) -> Phone {
    if rng.random::<f32>() < 0.75 {
        for group in GROUPS {
            if group.contains(&phone.symbol()) {
                let pick = group[rng.random_range(0..group.len())];
                if let Ok(p) = pick.parse() {
                    return p;
                }
            }
        }
    }
    any(rng)
}

/// A text that is not `phones` but close: substitutions 45 %, cut tail 20 %, cut head 10 %, insertion 13 %,
/// extension 12 %. `None` where the draw gives the text back or leaves nothing.
pub fn mutate(rng: &mut SmallRng, phones: &[Phone]) -> Option<Vec<Phone>> {
    let n = phones.len();
    let mut out = phones.to_vec();
    match rng.random::<f32>() {
        d if d < 0.45 => {
            for _ in 0..rng.random_range(1..=1 + n / 5) {
                let i = rng.random_range(0..n);
                out[i] = near(rng, out[i]);
            }
        }
        d if d < 0.65 => out.truncate(n - rng.random_range(1..=1 + n / 3).min(n)),
        d if d < 0.75 => {
            out.drain(..rng.random_range(1..=1 + n / 3).min(n));
        }
        d if d < 0.88 => out.insert(rng.random_range(0..=n), any(rng)),
        _ => {
            for _ in 0..rng.random_range(1..=1 + n / 3) {
                out.push(any(rng));
            }
        }
    }
    (!out.is_empty() && out != phones).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kws_live::text::parse_phones;
    use rand::SeedableRng;

    #[test]
    fn mutants_differ_and_stay_near() {
        let word = parse_phones("K AH M P Y UW T ER").expect("ARPAbet");
        let mut rng = SmallRng::seed_from_u64(1);
        let mut lengths = std::collections::BTreeSet::new();
        for _ in 0..500 {
            if let Some(m) = mutate(&mut rng, &word) {
                assert_ne!(m, word);
                assert!((4..=12).contains(&m.len()), "{m:?}");
                lengths.insert(m.len());
            }
        }
        assert!(lengths.len() > 5, "cuts and extensions of several sizes: {lengths:?}");
    }
}
