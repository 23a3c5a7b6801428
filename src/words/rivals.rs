//! What else may have been said where a keyword was heard.
//!
//! Two witnesses tell how well a stretch of sound fits a keyword; what they cannot tell is whether something else fits it
//! better. Here common words compete with the keywords for every stretch of the last seconds: a lattice of the words that the
//! phones allow, each weighed by both witnesses, all ways through it summed (a semi-Markov conditional random field: Sarawagi
//! and Cohen, NIPS 2004; Zweig and Nguyen, ASRU 2009). A keyword's share of the sum is the third witness. How often words are
//! said is left out on purpose: keywords are rarely said, and are what somebody waits for. What words make of one another is not,
//! where the bundle knows ([`Bigrams`]).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bigrams::{Bigrams, Factors, WordId};
use super::chains::cuts;
use super::lattice::Lattice;
use super::search::{LONGEST, WordSearch};
use crate::detect::{Keyword, PrefixRing, WindowEmbedder, logit};
use crate::model::{ModelError, TextEncoder};
use crate::text::{CLASSES, Phone};

/// Frames after a keyword that are heard before its share is told: what follows tells where words end (300 ms).
pub const AHEAD: usize = 10;
/// Frames that are searched for what was said before a keyword and after it, at least (2.7 s before the end of the keyword).
const CONTEXT: u64 = 90 + AHEAD as u64;
/// Frames that must have been kept when a share is asked for.
pub const MEMORY: usize = (CONTEXT + LONGEST) as usize + 4;
/// Frames in which a keyword that counts may have ended (240 ms).
const RECENT: usize = 8;
/// Frames that are kept for the first words of a keyword that is said as several.
const KEPT: usize = CONTEXT as usize + RECENT;
/// Frames that may lie between such words (90 ms).
const PAUSE: u64 = 3;
/// Words of a phrase that has rivals, at most: each more is looked for at several places, and longer ones nothing sounds like.
const MOST_WORDS: usize = 6;
/// Windows that are embedded at once.
const BATCH: usize = 8;
/// A share is never less than this, nor more than one less a hundredth.
const LEAST_SHARE: f32 = 1e-4;
const GREATEST_SHARE: f32 = 0.99;

/// How the words of a lattice are weighed, and a keyword's share of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RivalWeights {
    /// Of a word: see [`Link::features`].
    pub word: [f32; FEATURES],
    /// Of a frame in no word: the blank's log-likelihood ratio, one.
    pub gap: [f32; 2],
    /// Of what a word makes of the one after it ([`Bigrams::lift`]).
    #[serde(default)]
    pub bigram: f32,
    /// Logit of the probability that a keyword is said: `f0 + f1 * fit + f2 * logit of the share` ([`crate::detect::FrameScore::fit`]).
    pub fusion: [f32; 3],
}

/// Number of values that tell how well a word fits.
pub const FEATURES: usize = 5;

/// Fit from which on rivals are heard; what scores less is no detection with any share.
pub const LEAST_LOGIT: f32 = -4.0;

/// Logit of the share of a keyword that was not looked for, or not found.
pub fn no_share() -> f32 {
    logit(LEAST_SHARE)
}

impl RivalWeights {
    /// Before they are learned.
    pub const UNLEARNED: Self =
        Self { word: [25.0, 0.6, 0.4, -0.1, -15.4], gap: [0.2, 0.05], bigram: 0.0, fusion: [-2.5, 0.6, 0.5] };

    /// Weight of a word with these witnesses.
    pub fn word(&self, features: &[f32; FEATURES]) -> f32 {
        self.word.iter().zip(features).map(|(w, f)| w * f).sum()
    }

    /// Weight of a frame in no word, by the log-likelihood ratio of its blank.
    pub fn gap(&self, blank: f32) -> f32 {
        self.gap[0] * blank + self.gap[1]
    }

    /// All of them.
    pub fn values(&self) -> impl Iterator<Item = f32> {
        self.word.into_iter().chain(self.gap).chain(self.fusion).chain([self.bigram])
    }
}

/// A word that may have been said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Its number in the vocabulary.
    pub word: usize,
    /// Its first frame.
    pub start: u64,
    /// One past the frame of its last phone.
    pub end: u64,
    /// Its cosine, its path a phone, its path, its number of phones, one.
    pub features: [f32; FEATURES],
}

/// Direction of a word's text, in bytes: thousands of them are kept.
#[derive(Debug, Clone)]
struct Direction {
    values: Box<[i8]>,
    scale: f32,
}

impl Direction {
    fn new(embedding: &[f32]) -> Self {
        let greatest = embedding.iter().fold(1e-6_f32, |most, v| most.max(v.abs()));
        let values = embedding.iter().map(|v| (v / greatest * 127.0).round() as i8).collect();
        Self { values, scale: greatest / 127.0 }
    }

    fn cosine(&self, unit: &[f32]) -> f32 {
        self.values.iter().zip(unit).map(|(a, b)| f32::from(*a) * b).sum::<f32>() * self.scale
    }
}

/// Where a word's direction is.
#[derive(Debug, Clone, Copy)]
enum Text {
    Rival(usize),
    Keyword(usize),
}

/// Common words that compete with the keywords.
pub struct Rivals {
    weights: RivalWeights,
    bigrams: Arc<Bigrams>,
    factors: Factors,
    tower: TextEncoder,
    common: Vec<Vec<Phone>>,
    /// Of these, once they were needed.
    directions: Vec<Option<Direction>>,
    /// Of the keywords' pronunciations.
    anchors: Vec<Direction>,
    /// Of each word of the search, and how it is spelt.
    texts: Vec<(Text, Option<WordId>)>,
    /// The word of each pronunciation of each keyword; none for a phrase.
    keywords: Vec<Vec<usize>>,
    /// Of each keyword the rows of words that sound the same: `on word` is no rival of `onword`, and a phrase is such a row.
    chains: Vec<Vec<Vec<usize>>>,
    search: WordSearch,
    /// Log-posteriors of the last frames, `[MEMORY, classes]`, frame `f` at `f % MEMORY`.
    posteriors: Vec<f32>,
    /// Frames heard.
    heard: u64,
    /// The frame that the search takes next.
    next: u64,
    lattice: Lattice,
    links: Vec<Link>,
    starts: Vec<u64>,
    pooled: Vec<f32>,
    embedded: Vec<f32>,
}

impl Rivals {
    /// `rivals`: pronunciations, sorted and all different, as [`super::unpack_rivals`] has them; `bigrams` of their words.
    pub fn new(rivals: Vec<Vec<Phone>>, bigrams: Arc<Bigrams>, tower: TextEncoder, weights: RivalWeights) -> Self {
        Self {
            weights,
            bigrams,
            factors: Factors::new(weights.bigram),
            tower,
            directions: vec![None; rivals.len()],
            common: rivals,
            anchors: Vec::new(),
            texts: Vec::new(),
            keywords: Vec::new(),
            chains: Vec::new(),
            search: WordSearch::default(),
            posteriors: vec![0.0; MEMORY * CLASSES],
            heard: 0,
            next: 0,
            lattice: Lattice::new(KEPT),
            links: Vec::new(),
            starts: Vec::new(),
            pooled: Vec::new(),
            embedded: Vec::new(),
        }
    }

    /// Replaces the keywords. A phrase of words that are not all common ones, or of many, has no rivals.
    pub fn set_keywords<'a>(&mut self, keywords: impl IntoIterator<Item = &'a Keyword>) {
        self.anchors.clear();
        self.keywords.clear();
        let mut wanted: Vec<(&[Phone], usize, usize, Option<WordId>)> = Vec::new();
        let mut rows: Vec<(&[Phone], usize, usize)> = Vec::new();
        for (index, keyword) in keywords.into_iter().enumerate() {
            self.keywords.push(Vec::new());
            let count = keyword.name.split_whitespace().count();
            for p in &keyword.pronunciations {
                // A word may be said as two, a phrase is said as so many as it has.
                rows.push((&p.phones[..], index, count.max(2)));
            }
            let spelling = self.bigrams.id(&keyword.name.to_lowercase());
            for p in keyword.pronunciations.iter().filter(|p| count < 2 && (1..=255).contains(&p.phones.len())) {
                wanted.push((&p.phones, index, self.anchors.len(), spelling));
                self.anchors.push(Direction::new(p.embedding.values()));
            }
        }
        // Of common words that sound alike the first by the alphabet, in whatever order the keywords stand.
        wanted.sort_by_key(|&(phones, index, anchor, spelling)| (phones, spelling.is_none(), spelling, index, anchor));
        let mut vocabulary: Vec<(&[Phone], bool)> = Vec::with_capacity(self.common.len() + wanted.len());
        self.texts.clear();
        let (mut rival, mut rest) = (0, &wanted[..]);
        loop {
            // The next one of two sorted lists; what is in both is the keyword's.
            let theirs = self.common.get(rival).map(|p| &p[..]);
            match (theirs, rest.first()) {
                (None, None) => break,
                (Some(phones), first) if first.is_none_or(|w| phones < w.0) => {
                    let spelling = self.bigrams.rivals().get(rival).copied().flatten();
                    self.texts.push((Text::Rival(rival), spelling));
                    vocabulary.push((phones, false));
                    rival += 1;
                }
                (_, Some(&(phones, index, anchor, spelling))) => {
                    if vocabulary.last().is_none_or(|last| last.0 != phones) {
                        self.texts.push((Text::Keyword(anchor), spelling));
                        vocabulary.push((phones, true));
                    }
                    self.keywords[index].push(vocabulary.len() - 1);
                    rest = &rest[1..];
                    if theirs == Some(phones) {
                        rival += 1;
                    }
                }
                (Some(_), None) => unreachable!("taken above"),
            }
        }
        self.chains = vec![Vec::new(); self.keywords.len()];
        for (phones, index, count) in rows.into_iter().filter(|row| row.2 <= MOST_WORDS) {
            for row in cuts(phones, count, &self.common, &vocabulary) {
                if !self.chains[index].contains(&row) {
                    self.chains[index].push(row);
                }
            }
        }
        // What a phrase consists of is looked for as the keywords are.
        for &word in
            self.chains.iter().zip(&self.keywords).filter(|k| k.1.is_empty()).flat_map(|k| k.0.iter().flatten())
        {
            vocabulary[word].1 = true;
        }
        self.search = WordSearch::new(&vocabulary);
        self.restart(self.heard);
    }

    /// Whether a keyword has rivals.
    pub fn contest(&self, keyword: usize) -> bool {
        !(self.keywords[keyword].is_empty() && self.chains[keyword].is_empty())
    }

    /// Keeps a frame's log-posteriors, `[classes]`, for when they are needed.
    pub fn push(&mut self, log_posteriors: &[f32]) {
        let at = (self.heard % MEMORY as u64) as usize * CLASSES;
        self.posteriors[at..at + CLASSES].copy_from_slice(log_posteriors);
        self.heard += 1;
    }

    /// Logit of the share that a keyword which ended shortly before the last [`AHEAD`] frames has in all that may have been said
    /// up to now.
    ///
    /// `ring` holds the projections of the same frames.
    ///
    /// # Errors
    /// If a backend fails.
    pub fn share(
        &mut self,
        keyword: usize,
        ring: &PrefixRing,
        head: &mut dyn WindowEmbedder,
    ) -> Result<f32, ModelError> {
        // A word's window reaches a frame beyond its last phone.
        let until = self.heard.saturating_sub(1);
        if self.next + CONTEXT < until {
            self.restart(until - CONTEXT);
        }
        while self.next < until {
            self.advance(ring, head)?;
        }
        let (words, chains) = (&self.keywords[keyword], &self.chains[keyword]);
        let share = self.lattice.share(words, chains, PAUSE, RECENT, AHEAD) as f32;
        Ok(logit(share.clamp(LEAST_SHARE, GREATEST_SHARE)))
    }

    /// Starts the search anew at a frame.
    fn restart(&mut self, frame: u64) {
        self.search.reset();
        self.next = frame;
        self.lattice.restart(frame);
    }

    /// The words that may end in the next frame, and the log-likelihood ratio of its blank. The frame after it must have been
    /// heard.
    ///
    /// # Errors
    /// If a backend fails.
    pub fn step(&mut self, ring: &PrefixRing, head: &mut dyn WindowEmbedder) -> Result<(&[Link], f32), ModelError> {
        let frame = self.next;
        let at = (frame % MEMORY as u64) as usize * CLASSES;
        let row = &self.posteriors[at..at + CLASSES];
        self.next += 1;
        self.links.clear();
        self.search.step(frame, row);
        self.starts.clear();
        self.starts.extend(self.search.endings().iter().map(|e| e.start));
        self.starts.sort_unstable();
        self.starts.dedup();
        // A peak of the phones lies inside the word: the window has a frame more at both ends.
        let (end, width, dim) = (frame + 2, ring.channels(), head.dim());
        self.embedded.resize(self.starts.len().next_multiple_of(BATCH) * dim, 0.0);
        self.pooled.resize(BATCH * width, 0.0);
        for (starts, embedded) in self.starts.chunks(BATCH).zip(self.embedded.chunks_exact_mut(BATCH * dim)) {
            for (start, pooled) in starts.iter().zip(self.pooled.chunks_exact_mut(width)) {
                ring.pool(end, (end - start.saturating_sub(1)) as usize, pooled);
            }
            head.embed(&self.pooled, embedded)?;
        }
        for i in 0..self.search.endings().len() {
            let ending = self.search.endings()[i];
            let window = self.starts.binary_search(&ending.start).unwrap_or_else(|i| i);
            let cosine = self.cosine(ending.word, window * dim..(window + 1) * dim)?;
            let phones = self.search.phones(ending.word);
            let features = [cosine, ending.path / phones, ending.path, phones, 1.0];
            self.links.push(Link { word: ending.word, start: ending.start, end: frame + 1, features });
        }
        Ok((&self.links, self.search.blank()))
    }

    /// Cosine of a word's text and a window, whose direction lies in `at`.
    fn cosine(&mut self, word: usize, at: std::ops::Range<usize>) -> Result<f32, ModelError> {
        let unit = &self.embedded[at];
        let rival = match self.texts[word].0 {
            Text::Keyword(anchor) => return Ok(self.anchors[anchor].cosine(unit)),
            Text::Rival(rival) => rival,
        };
        if let Some(direction) = &self.directions[rival] {
            return Ok(direction.cosine(unit));
        }
        let direction = Direction::new(&self.tower.embed(&self.common[rival])?);
        let cosine = direction.cosine(unit);
        self.directions[rival] = Some(direction);
        Ok(cosine)
    }

    /// One frame further.
    fn advance(&mut self, ring: &PrefixRing, head: &mut dyn WindowEmbedder) -> Result<(), ModelError> {
        let blank = self.step(ring, head)?.1;
        self.extend(blank);
        Ok(())
    }

    /// Takes what [`Self::step`] found into the lattice.
    fn extend(&mut self, blank: f32) {
        let Self { weights, bigrams, factors, texts, links, lattice, .. } = self;
        let weighed = links.iter().map(|link| (*link, texts[link.word].1, weights.word(&link.features)));
        lattice.push(weighed, weights.gap(blank), |before, word| factors.of(bigrams, before, word));
    }

    /// Starts anew at frame 0, keywords kept.
    pub fn reset(&mut self) {
        self.heard = 0;
        self.restart(0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::bigrams::Row;
    use super::*;
    use crate::detect::{Embedding, Pronunciation};
    use crate::model::{Graph, State, Tensor};
    use crate::text::{BLANK, parse_phones};

    /// A text tower and a window head that both know one direction only: the cosine is 1.
    struct Same(Vec<String>);

    impl Graph for Same {
        fn run(&mut self, _: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, ModelError> {
            Ok(vec![Tensor::f32(&[1, 2], vec![1.0, 0.0])])
        }

        fn output_names(&self) -> &[String] {
            &self.0
        }

        fn keep(&mut self, _: Vec<State>) -> Result<(), ModelError> {
            Ok(())
        }

        fn reset(&mut self) {}
    }

    impl WindowEmbedder for Same {
        fn dim(&self) -> usize {
            2
        }

        fn embed(&mut self, _: &[f32], out: &mut [f32]) -> Result<(), ModelError> {
            out.chunks_exact_mut(2).for_each(|row| row.copy_from_slice(&[1.0, 0.0]));
            Ok(())
        }
    }

    fn phones(text: &str) -> Vec<Phone> {
        parse_phones(text).expect("ARPAbet")
    }

    fn keyword(name: &str, said: &[&str]) -> Keyword {
        let embedding = Embedding::new(vec![1.0, 0.0]).expect("a direction");
        let pronunciation =
            |p: &&str| Pronunciation { phones: phones(p), embedding: embedding.clone(), frames: None, level: None };
        Keyword { name: name.into(), pronunciations: said.iter().map(pronunciation).collect(), threshold: None }
    }

    /// A word costs 2 in its favour and what its path costs; a gap what its blank costs.
    const WEIGHTS: RivalWeights =
        RivalWeights { word: [2.0, 0.0, 1.0, 0.0, 0.0], gap: [1.0, 0.0], ..RivalWeights::UNLEARNED };

    fn rivals(words: &[&str]) -> Rivals {
        let mut words: Vec<Vec<Phone>> = words.iter().map(|w| phones(w)).collect();
        words.sort();
        let tower = TextEncoder::new(Box::new(Same(vec!["embedding".into()])), None, 2);
        Rivals::new(words, Arc::default(), tower, WEIGHTS)
    }

    /// Log-posteriors in which the phones that are said are the likeliest, one a frame, and all others cost 8.
    fn rows(said: &str) -> Vec<[f32; CLASSES]> {
        let frames = said.split(' ').map(|p| if p == "-" { BLANK } else { phones(p)[0].id() });
        frames
            .map(|best| {
                let mut row = [-8.0; CLASSES];
                row[best] = 0.0;
                row
            })
            .collect()
    }

    /// The share of the first keyword at the last frame, with silence after it.
    fn share(rivals: &mut Rivals, said: &str) -> f32 {
        let mut ring = PrefixRing::new(1, 2, MEMORY);
        rivals.reset();
        for row in rows(&format!("{said}{}", " -".repeat(AHEAD))) {
            ring.push(&[1.0, 0.0]);
            rivals.push(&row);
        }
        rivals.share(0, &ring, &mut Same(Vec::new())).expect("no backend")
    }

    fn odds(p: f32) -> f32 {
        logit(p.clamp(LEAST_SHARE, GREATEST_SHARE))
    }

    #[test]
    fn a_longer_word_takes_its_share_once_it_is_heard() {
        let mut all = rivals(&["S T AA P"]);
        all.set_keywords(&[keyword("top", &["T AA P"])]);
        // Blank, S, T, AA, P, blank; all fit. Ways: the longer word; a gap of 8 and the keyword; gaps only.
        let two = 2.0_f32.exp();
        let keyword = (2.0_f32 - 8.0).exp();
        let got = share(&mut all, "- S T AA P - -");
        // Other ways skip phones of a word at 8 each: less than a hundredth of these.
        assert!((got - odds(keyword / (two + keyword))).abs() < 0.1, "{got}");
        // Without the S before it, the keyword has no rival but the gap that skips its phones.
        let got = share(&mut all, "- - T AA P - -");
        assert!(got > odds(0.98), "{got}");
        // Nothing was said.
        assert_eq!(share(&mut all, "- - - - - - -"), no_share());
    }

    #[test]
    fn two_words_that_sound_like_the_keyword_are_the_keyword() {
        let mut all = rivals(&["AA N", "W ER D", "W ER D Z"]);
        all.set_keywords(&[keyword("onword", &["AA N W ER D"])]);
        assert_eq!(all.chains[0].len(), 1);
        let got = share(&mut all, "- AA N W ER D - -");
        assert!(got > odds(0.98), "{got}");
        let got = share(&mut all, "- AA N - W ER D - -");
        assert!(got > odds(0.98), "{got}");
        // With another ending it is something else.
        assert!(share(&mut all, "- AA N W ER D Z - -") < odds(0.1));
    }

    #[test]
    fn a_phrase_is_its_words_in_a_row() {
        let mut all = rivals(&["G OW", "T UW", "T UW N", "HH OW M"]);
        let phrases = [keyword("go to", &["G OW T UW"]), keyword("to go home", &["T UW G OW HH OW M"])];
        all.set_keywords(&phrases);
        assert!(all.contest(0) && all.contest(1));
        assert_eq!((all.chains[0].len(), all.chains[1].len()), (1, 1));
        assert!(share(&mut all, "- G OW - T UW - -") > odds(0.95));
        // Another word begins so.
        assert!(share(&mut all, "- G OW - T UW N -") < odds(0.2));
        // The second word alone is no phrase.
        assert!(share(&mut all, "- - - - T UW - -") < odds(0.2));
        all.set_keywords(&phrases[1..]);
        assert!(share(&mut all, "- T UW G OW HH OW M - -") > odds(0.95));
        assert_eq!(share(&mut all, "- T UW G OW - - -"), no_share());
    }

    #[test]
    fn a_phrase_is_heard_as_well_when_its_words_are_asked_for_too() {
        let phrase = keyword("go quilter", &["G OW K W IH L T ER"]);
        let mut all = rivals(&["G OW", "T UW"]);
        for keywords in [vec![phrase.clone()], vec![phrase, keyword("quilter", &["K W IH L T ER"])]] {
            all.set_keywords(&keywords);
            assert!(!all.contest(0), "a word of it is no common one");
        }
    }

    #[test]
    fn what_ended_long_ago_does_not_count() {
        let mut all = rivals(&["S T AA P"]);
        all.set_keywords(&[keyword("top", &["T AA P"])]);
        assert!(share(&mut all, "- T AA P - - - -") > 0.0);
        assert_eq!(share(&mut all, "- T AA P - - - - - - - - - - - -"), no_share());
    }

    #[test]
    fn homophones_are_one_word_and_phrases_of_uncommon_words_have_no_rivals() {
        let mut all = rivals(&["F AO R", "T UW"]);
        all.set_keywords(&[
            keyword("four", &["F AO R"]),
            keyword("fore", &["F AO R", "F OW R"]),
            keyword("go to", &["T UW"]),
        ]);
        assert_eq!(all.keywords[0], [0]);
        assert_eq!(all.keywords[1], [0, 1]);
        assert!(all.contest(0) && all.contest(1) && !all.contest(2));
        assert_eq!(all.texts.len(), 3);
        assert!(share(&mut all, "- F AO R - -") > odds(0.9));
    }

    #[test]
    fn homophones_are_spelled_alike_in_whatever_order_they_stand() {
        let spelled = |words: [&str; 2]| {
            let mut all = rivals(&["T UW"]);
            let sorted = ["right", "write"].map(String::from).to_vec();
            let rows = [0.0, 0.0].map(|rest| Row { rest, next: Vec::new() });
            all.bigrams = Arc::new(Bigrams::new(sorted, &rows, vec![None]).expect("sorted"));
            all.set_keywords(&words.map(|word| keyword(word, &["R AY T"])));
            all.texts.iter().map(|text| text.1).collect::<Vec<_>>()
        };
        assert_eq!(spelled(["write", "right"]), spelled(["right", "write"]));
    }

    #[test]
    fn a_share_is_the_same_whether_it_was_asked_for_before() {
        let mut all = rivals(&["S T AA P", "T AA", "P AH"]);
        all.set_keywords(&[keyword("top", &["T AA P"])]);
        let said = rows(&["- S T AA P AH - - T AA P -"; 40].join(" "));
        let run = |all: &mut Rivals, every: usize| -> Vec<f32> {
            let mut ring = PrefixRing::new(1, 2, MEMORY);
            all.reset();
            let mut out = Vec::new();
            for (t, row) in said.iter().enumerate() {
                ring.push(&[1.0, 0.0]);
                all.push(row);
                if t % every == every - 1 {
                    out.push(all.share(0, &ring, &mut Same(Vec::new())).expect("no backend"));
                }
            }
            out
        };
        let often = run(&mut all, 1);
        // Seldom enough that the search starts anew each time.
        let seldom = run(&mut all, 80);
        assert!(often.iter().any(|s| *s > 1.0) && often.iter().any(|s| *s == no_share()));
        for (i, share) in seldom.iter().enumerate() {
            let before = often[80 * (i + 1) - 1];
            assert!((share - before).abs() < 0.05, "{i}: {share}, asked every frame {before}");
        }
    }
}
