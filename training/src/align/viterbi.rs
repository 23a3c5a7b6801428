//! CTC forced alignment of a whole transcript: one Viterbi pass that also chooses each word's pronunciation.

use kws_live::text::{BLANK, CLASSES, Phone};

/// A frame's log-likelihood ratio is not allowed below this, as in `kws_live::detect`: one bad frame does not decide.
const WORST: f32 = -8.0;

/// Where a word was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Frame in which its first phone begins.
    pub start: usize,
    /// One past the frame in which its last phone ends.
    pub end: usize,
    /// Index of the pronunciation that fits best.
    pub variant: usize,
}

/// An aligned transcript.
#[derive(Debug, Clone, PartialEq)]
pub struct Alignment {
    /// One place a word.
    pub words: Vec<Place>,
    /// Mean over phones of `sum over their frames of log p(class) - max log p`, at most 0: the ratio to a free path.
    pub score: f32,
}

/// A state of the transcript's graph.
struct State {
    label: usize,
    /// States it can be entered from, besides itself.
    from: Vec<usize>,
    /// Word and pronunciation; `None` for the blanks between words.
    part: Option<(usize, usize)>,
}

/// Graph of a transcript: `(blank) word (blank) word .. (blank)`, every pronunciation of a word side by side, blanks
/// optional except between equal phones.
struct Lattice {
    states: Vec<State>,
    first: Vec<usize>,
    last: Vec<usize>,
}

impl Lattice {
    fn new(words: &[Vec<Vec<Phone>>]) -> Self {
        let blank = |from: Vec<usize>, part| State { label: BLANK, from, part };
        let mut states = vec![blank(Vec::new(), None)];
        let mut first = vec![0];
        // States that the next word can follow; the blank between words is among them.
        let mut before = vec![0];
        for (w, variants) in words.iter().enumerate() {
            let mut ends = Vec::new();
            for (v, phones) in variants.iter().enumerate() {
                let mut previous = usize::MAX;
                for (i, phone) in phones.iter().enumerate() {
                    let from = if i == 0 {
                        before.iter().copied().filter(|&s| states[s].label != phone.id()).collect()
                    } else {
                        states.push(blank(vec![previous], Some((w, v))));
                        let gap = states.len() - 1;
                        if phones[i - 1] == *phone { vec![gap] } else { vec![gap, previous] }
                    };
                    states.push(State { label: phone.id(), from, part: Some((w, v)) });
                    previous = states.len() - 1;
                    if w == 0 && i == 0 {
                        first.push(previous);
                    }
                }
                ends.push(previous);
            }
            states.push(blank(ends.clone(), None));
            ends.push(states.len() - 1);
            before = ends;
        }
        Self { states, first, last: before }
    }
}

/// Aligns `words`, each given by its pronunciations, to log-posteriors.
///
/// `blank_cost` is subtracted from the blank's log-posterior while the path is searched, so that phones reach further
/// into the blanks around their peaks; the score is without it.
///
/// # Shapes
/// `log_posteriors`: `[frames, 40]`. Returns `None` where there are too few frames for the words, no word, or a word
/// without pronunciation.
pub fn align(log_posteriors: &[f32], words: &[Vec<Vec<Phone>>], blank_cost: f32) -> Option<Alignment> {
    let frames = log_posteriors.len() / CLASSES;
    if frames == 0 || words.is_empty() || words.iter().any(|v| v.is_empty() || v.iter().any(Vec::is_empty)) {
        return None;
    }
    let lattice = Lattice::new(words);
    let count = lattice.states.len();
    let mut scores = vec![f32::NEG_INFINITY; count];
    let mut next = scores.clone();
    let mut back = vec![0_u32; frames * count];
    let mut emissions = [0.0; CLASSES];
    for (t, row) in log_posteriors.chunks_exact(CLASSES).enumerate() {
        let best = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        emissions.iter_mut().zip(row).for_each(|(e, p)| *e = (p - best).max(WORST));
        emissions[BLANK] -= blank_cost;
        for (s, state) in lattice.states.iter().enumerate() {
            let (mut score, mut source) = (scores[s], s);
            for &f in &state.from {
                if scores[f] > score {
                    (score, source) = (scores[f], f);
                }
            }
            if t == 0 {
                score = if lattice.first.contains(&s) { 0.0 } else { f32::NEG_INFINITY };
            }
            next[s] = score + emissions[state.label];
            back[t * count + s] = source as u32;
        }
        std::mem::swap(&mut scores, &mut next);
    }
    let last = lattice.last.iter().copied().max_by(|&a, &b| scores[a].total_cmp(&scores[b]))?;
    if scores[last] == f32::NEG_INFINITY {
        return None;
    }
    let mut path = vec![0; frames];
    let mut state = last;
    for t in (0..frames).rev() {
        path[t] = state;
        state = back[t * count + state] as usize;
    }
    Some(read(&lattice, &path, log_posteriors, words))
}

/// Places of the words on a path, and its score.
fn read(lattice: &Lattice, path: &[usize], log_posteriors: &[f32], words: &[Vec<Vec<Phone>>]) -> Alignment {
    let mut places: Vec<Option<Place>> = vec![None; words.len()];
    let mut total = 0.0;
    for (t, (&s, row)) in path.iter().zip(log_posteriors.chunks_exact(CLASSES)).enumerate() {
        let State { label, part, .. } = &lattice.states[s];
        let best = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        total += (row[*label] - best).max(WORST);
        if let Some((w, variant)) = *part
            && *label != BLANK
        {
            places[w].get_or_insert(Place { start: t, end: t, variant }).end = t + 1;
        }
    }
    let places: Vec<Place> = places.into_iter().flatten().collect();
    let phones: usize = places.iter().zip(words).map(|(p, variants)| variants[p.variant].len()).sum();
    Alignment { words: places, score: total / phones.max(1) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kws_live::text::parse_phones;

    /// Log-posteriors in which each frame's class has `0.9` and the others share the rest.
    fn posteriors(classes: &[&str]) -> Vec<f32> {
        let class = |name: &str| if name == "-" { BLANK } else { name.parse::<Phone>().expect("ARPAbet").id() };
        let other = (0.1_f32 / (CLASSES - 1) as f32).ln();
        let row = |c: usize| (0..CLASSES).map(move |i| if i == c { 0.9_f32.ln() } else { other });
        classes.iter().flat_map(|name| row(class(name))).collect()
    }

    fn word(variants: &[&str]) -> Vec<Vec<Phone>> {
        variants.iter().map(|v| parse_phones(v).expect("ARPAbet")).collect()
    }

    #[test]
    fn finds_words_silence_and_the_right_variant() {
        let heard = posteriors(&["-", "-", "DH", "IY", "-", "-", "-", "EH", "N", "-", "D", "D", "-"]);
        let words = [word(&["DH AH", "DH IY"]), word(&["AH N D", "EH N D"])];
        let found = align(&heard, &words, 0.0).expect("enough frames");
        assert_eq!(found.words, [Place { start: 2, end: 4, variant: 1 }, Place { start: 7, end: 12, variant: 1 }]);
        assert!(found.score.abs() < 1e-6, "the best path everywhere: {}", found.score);
    }

    #[test]
    fn score_is_the_mean_ratio_a_phone() {
        let heard = posteriors(&["AE", "-", "T"]);
        let found = align(&heard, &[word(&["AE D"])], 0.0).expect("enough frames");
        let miss = (0.1_f32 / 39.0).ln() - 0.9_f32.ln();
        assert!((found.score - miss / 2.0).abs() < 1e-5, "{} for one of two phones missed", found.score);
    }

    #[test]
    fn equal_phones_need_a_blank_between_them() {
        let words = [word(&["B AH S"]), word(&["S AH B"])];
        let found = align(&posteriors(&["B", "AH", "S", "-", "S", "AH", "B"]), &words, 0.0).expect("enough frames");
        assert_eq!((found.words[0].end, found.words[1].start), (3, 4));
        assert!(align(&posteriors(&["B", "AH", "S", "S", "AH", "B"]), &words, 0.0).is_none(), "six frames are too few");
    }

    #[test]
    fn a_cost_on_blanks_makes_phones_longer() {
        let mut heard = posteriors(&["-", "AE", "-", "T", "-"]);
        // The blank after AE is only just the likelier class.
        let ae = "AE".parse::<Phone>().expect("ARPAbet").id();
        heard[2 * CLASSES + ae] = 0.4_f32.ln();
        let length = |cost| align(&heard, &[word(&["AE"]), word(&["T"])], cost).expect("enough frames").words[0];
        assert_eq!((length(0.0).end, length(2.0).end), (2, 3));
    }
}
