//! Keywords from typed text and from recordings. Off the hot path, with sessions of its own.

use crate::detect::{Embedding, Keyword, Pronunciation};
use crate::frontend::FrontendError;
use crate::model::{BackendChoice, Bundle, LevelNet, ModelError, TextEncoder};
use crate::segment::{Segment, SegmentEmbedder, segment_embedder};
use crate::spotter::SpotError;
use crate::spotter::room::white_noise;
use crate::text::{G2p, KeywordSpec, Lexicon, Phone, Pronouncer, TextError};
use crate::words::{Guess, Vocabulary};

/// Why a keyword was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// The text cannot be said.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The model cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The front end cannot be built.
    #[error(transparent)]
    Frontend(#[from] FrontendError),
    /// A recording in which nothing is said.
    #[error("example {number} of `{name}`: {reason}; record the word again, close to the microphone, without noise")]
    NoSpeech {
        /// The keyword.
        name: String,
        /// Which recording, from 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A recording of more than can be heard as one.
    #[error(
        "example {number} of `{name}`: in its {seconds:.1} s there are {count} sounds, at most {most} can be heard as one; \
         cut the recording to the word"
    )]
    TooLong {
        /// The keyword.
        name: String,
        /// Which recording, from 1.
        number: usize,
        /// Length of what is said in it.
        seconds: f32,
        /// Phones that are heard in it.
        count: usize,
        /// The limit.
        most: usize,
    },
    /// A keyword from recordings without one.
    #[error("`{0}` has no example recordings; give at least one file")]
    NoExamples(String),
}

impl EnrolError {
    /// Which recording it is about, from 1.
    pub fn example(&self) -> Option<usize> {
        match self {
            Self::NoSpeech { number, .. } | Self::TooLong { number, .. } => Some(*number),
            _ => None,
        }
    }
}

/// A doubt about one of the recordings.
#[derive(Debug, Clone, PartialEq)]
pub struct Doubt {
    /// Which, from 1.
    pub example: usize,
    /// What is so and what to do, one sentence.
    pub text: String,
}

/// A keyword with what its owner should know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Enrolled {
    /// Ready for [`crate::spotter::Spotter::add`].
    pub keyword: Keyword,
    /// Doubts worth showing.
    pub warnings: Vec<Doubt>,
}

/// A word of the wrong text has this cosine with a recording, or less, most of the time.
const MISMATCH: f32 = 0.3;

/// Phones of a recording at most: as many as a typed text may have.
const MOST_PHONES: usize = 40;

/// What a recording may be, at most, and the probability of each of these, but the first, at least.
const GUESSES: usize = 4;
const LEAST_SHARE: f32 = 0.1;

/// Samples before and after a word that are heard with it.
const AROUND: usize = RATE / 2;
/// Level of the noise where there are none, of the word's peak (-46 dB).
const HISS: f32 = 0.005;

/// Sample rate of recordings, Hz.
const RATE: usize = 16_000;
/// Samples of a frame of the search for the loud part (30 ms).
const FRAME: usize = 480;

/// Makes keywords. What only recordings or unknown words need is loaded when the first of them comes.
pub struct Enroller {
    bundle: Bundle,
    choice: BackendChoice,
    pronouncer: Pronouncer,
    text: TextEncoder,
    levels: Option<LevelNet>,
    segments: Option<Box<dyn SegmentEmbedder>>,
    words: Option<Vocabulary>,
}

impl Enroller {
    /// Loads the text tower and the lexicon of `bundle`.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn new(bundle: &Bundle, choice: BackendChoice) -> Result<Self, EnrolError> {
        let lexicon = Lexicon::from_bytes(bundle.file("lexicon.bin")?)?;
        bundle.file("g2p.onnx")?;
        let later = bundle.clone();
        let g2p = G2p::on_demand(move || later.g2p_graph(choice));
        Ok(Self {
            pronouncer: Pronouncer::new(lexicon, Some(g2p)),
            text: bundle.text_encoder(choice)?,
            levels: bundle.level_net(choice)?,
            segments: None,
            words: None,
            bundle: bundle.clone(),
            choice,
        })
    }

    /// The pronunciations that will be listened for.
    pub fn pronouncer(&mut self) -> &mut Pronouncer {
        &mut self.pronouncer
    }

    /// A keyword from its text, or from the phones given with it.
    ///
    /// # Errors
    /// [`EnrolError::Text`] says what is wrong with the text.
    pub fn text(&mut self, spec: &KeywordSpec) -> Result<Keyword, EnrolError> {
        let said = self.pronouncer.resolve(spec)?;
        let pronunciations = said
            .into_iter()
            .map(|phones| {
                let embedding = Embedding::new(self.text.embed(&phones)?).ok_or_else(|| broken_tower(&spec.name))?;
                self.pronunciation(phones, embedding, None)
            })
            .collect::<Result<_, EnrolError>>()?;
        Ok(Keyword { name: spec.name.clone(), pronunciations, threshold: spec.threshold })
    }

    fn pronunciation(
        &mut self,
        phones: Vec<Phone>,
        embedding: Embedding,
        frames: Option<(f32, f32)>,
    ) -> Result<Pronunciation, EnrolError> {
        let level = match &mut self.levels {
            Some(net) => Some(net.level(embedding.values(), phones.len())?),
            None => None,
        };
        Ok(Pronunciation { phones, embedding, frames, level })
    }

    /// A keyword from recordings (mono, 16 kHz), alone or blended with the typed text of the same name.
    ///
    /// Silence at both ends is trimmed. What is listened for are the words of the lexicon that the recordings may be, as if they
    /// had been typed: what one voice sounded like is a poorer guide to how others say it, and scores against it mean something
    /// else, which brings hundreds of false alarms (`kws-train eval queries`). With the typed text the anchor is
    /// `norm(lambda * text + (1 - lambda) * those words)`, `lambda = 2 / (2 + n)` (the prior of text counts as much as two recordings). A model without a phone
    /// head has the mean of the examples in place of the words.
    ///
    /// # Errors
    /// [`EnrolError::NoSpeech`] names the recording in which nothing is said, [`EnrolError::TooLong`] one of more than a word.
    pub fn examples(
        &mut self,
        name: &str,
        recordings: &[Vec<f32>],
        typed: Option<&Keyword>,
    ) -> Result<Enrolled, EnrolError> {
        if recordings.is_empty() {
            return Err(EnrolError::NoExamples(name.into()));
        }
        let mut spoken = Vec::new();
        for (i, samples) in recordings.iter().enumerate() {
            let refuse = |reason: String| EnrolError::NoSpeech { name: name.into(), number: i + 1, reason };
            let (segment, seconds) = self.spoken(samples, refuse)?;
            let count = segment.phones().map_or(0, |phones| phones.len());
            if count > MOST_PHONES {
                let (name, number, most) = (name.into(), i + 1, MOST_PHONES);
                return Err(EnrolError::TooLong { name, number, seconds, count, most });
            }
            spoken.push(segment);
        }
        let mean = Embedding::blend(spoken.iter().map(|s| (1.0, &s.embedding))).ok_or_else(|| broken_tower(name))?;
        let mut warnings = Vec::new();
        let count = spoken.len() as f32;
        let lengths = spoken.iter().map(|s| s.frames);
        let shortest = lengths.clone().fold(f32::INFINITY, f32::min);
        let longest = lengths.fold(0.0, f32::max);
        let frames = Some((shortest * 0.7, longest * 1.45));
        let guesses = self.guesses(&spoken)?;
        let heard = Embedding::blend(guesses.iter().map(|g| (g.share, &g.embedding)));
        let mut pronunciations = Vec::new();
        if let Some(typed) = typed {
            let lambda = 2.0 / (2.0 + count);
            let heard = heard.as_ref().unwrap_or(&mean);
            for p in &typed.pronunciations {
                let parts = [(lambda, &p.embedding), (1.0 - lambda, heard)];
                let embedding = Embedding::blend(parts).ok_or_else(|| broken_tower(name))?;
                pronunciations.push(self.pronunciation(p.phones.clone(), embedding, p.frames)?);
            }
            for (i, s) in spoken.iter().enumerate() {
                let best = typed.pronunciations.iter().map(|p| p.embedding.cosine(&s.embedding)).fold(-1.0, f32::max);
                if best < MISMATCH {
                    let text = format!(
                        "example {} of `{name}` does not sound like the typed text (cosine {best:.2}) and is used all the \
                         same; record it again, or leave it out",
                        i + 1
                    );
                    warnings.push(Doubt { example: i + 1, text });
                }
            }
        } else {
            match heard {
                Some(heard) => {
                    for guess in guesses {
                        pronunciations.push(self.pronunciation(guess.phones, heard.clone(), None)?);
                    }
                }
                None => pronunciations.push(self.pronunciation(Vec::new(), mean, frames)?),
            }
        }
        for (i, s) in spoken.iter().enumerate() {
            let others: Vec<f32> = spoken
                .iter()
                .enumerate()
                .filter(|(j, _)| *j != i)
                .map(|(_, o)| s.embedding.cosine(&o.embedding))
                .collect();
            if !others.is_empty() && others.iter().all(|c| *c < MISMATCH) {
                let text = format!(
                    "example {} of `{name}` does not sound like the other examples and is used all the same; record it \
                     again, or leave it out",
                    i + 1
                );
                warnings.push(Doubt { example: i + 1, text });
            }
        }
        let keyword = Keyword { name: name.into(), pronunciations, threshold: typed.and_then(|t| t.threshold) };
        Ok(Enrolled { keyword, warnings })
    }

    /// What was said in recordings of one word or phrase; nothing where the model has no phone head.
    fn guesses(&mut self, spoken: &[Segment]) -> Result<Vec<Guess>, EnrolError> {
        if spoken.iter().any(|s| s.posteriors.is_none()) {
            return Ok(Vec::new());
        }
        let words = match &mut self.words {
            Some(words) => words,
            none => {
                let text = self.bundle.text_encoder(self.choice)?;
                none.insert(Vocabulary::new(self.pronouncer.lexicon(), text, self.bundle.manifest.scorer.words))
            }
        };
        Ok(words.guesses(&spoken.iter().collect::<Vec<_>>(), GUESSES, LEAST_SHARE)?)
    }

    /// Finds and embeds what is said in a recording; says how long it is, in seconds.
    fn spoken(&mut self, samples: &[f32], refuse: impl Fn(String) -> EnrolError) -> Result<(Segment, f32), EnrolError> {
        if samples.len() < RATE / 5 {
            return Err(refuse(format!("it lasts {:.2} s", samples.len() as f32 / RATE as f32)));
        }
        let (from, to) = trim(samples, FRAME).ok_or_else(|| refuse("nothing in it is louder than the rest".into()))?;
        let (start, end) = (from * FRAME, (to * FRAME).min(samples.len()));
        // With what there is around it, at most `AROUND`. Where it was cut off close to the word, faint noise takes the place
        // of a room: a model that has heard nothing yet does not hear the first phones.
        let before = start.saturating_sub(AROUND);
        let loudest = samples[start..end].iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
        let mut hiss = white_noise(loudest * HISS);
        let mut audio: Vec<f32> = hiss.by_ref().take(AROUND - (start - before)).collect();
        audio.extend_from_slice(&samples[before..(end + AROUND).min(samples.len())]);
        let span = AROUND..AROUND + end - start;
        audio.extend(hiss.take((span.end + AROUND).saturating_sub(audio.len())));
        let segments = match &mut self.segments {
            Some(segments) => segments,
            none => none.insert(segment_embedder(&self.bundle, self.choice)?),
        };
        let found = segments.embed(&audio, std::slice::from_ref(&span))?.pop().flatten();
        let segment = found.ok_or_else(|| refuse("it cannot be embedded".into()))?;
        if segment.phones().is_some_and(|p| p.len() < 2) {
            return Err(refuse("no speech is heard in it".into()));
        }
        Ok((segment, (end - start) as f32 / RATE as f32))
    }
}

impl From<SpotError> for EnrolError {
    fn from(error: SpotError) -> Self {
        match error {
            SpotError::Model(error) => Self::Model(error),
            SpotError::Frontend(error) => Self::Frontend(error),
        }
    }
}

fn broken_tower(name: &str) -> EnrolError {
    EnrolError::Model(ModelError::Mismatch {
        field: "embedding".into(),
        got: format!("no direction for `{name}`"),
        expected: "a unit vector".into(),
    })
}

/// First and one past the last frame that is speech by its energy: within 25 dB of the loud frames, and by a third of the way over the
/// quiet ones, in runs of two frames or more. `None` where nothing stands out.
fn trim(samples: &[f32], frame: usize) -> Option<(usize, usize)> {
    let level: Vec<f32> = samples
        .chunks_exact(frame)
        .map(|f| 10.0 * (f.iter().map(|s| s * s).sum::<f32>() / frame as f32 + 1e-10).log10())
        .collect();
    let mut sorted = level.clone();
    sorted.sort_by(f32::total_cmp);
    let quiet = *sorted.get(sorted.len() / 10)?;
    // Not the three loudest, which may be a click; the word itself may be a small part of a long recording.
    let loud = *sorted.get(sorted.len().saturating_sub(1 + (sorted.len() / 20).min(3)))?;
    if loud < -60.0 {
        return None;
    }
    let limit = (loud - 25.0).max(quiet + (loud - quiet) * 0.35).min(loud);
    let over = |i: usize| {
        level[i] >= limit && (level.get(i + 1).is_some_and(|l| *l >= limit) || i > 0 && level[i - 1] >= limit)
    };
    let first = (0..level.len()).find(|&i| over(i))?;
    let last = (0..level.len()).rev().find(|&i| over(i))?;
    (last + 1 - first >= 4).then_some((first, last + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "tract")]
    #[test]
    fn a_word_that_much_sounds_like_is_expected_to_score_higher() {
        let level = |bundle: &Bundle, word: &str| {
            let mut enroller = Enroller::new(bundle, BackendChoice::default()).expect("a whole bundle");
            enroller.text(&KeywordSpec::new(word)).expect("a word").pronunciations[0].level
        };
        let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        for name in ["default", "small", "search"] {
            let bundle = Bundle::load(&models.join(name)).expect("a shipped model");
            let (often, seldom) = (level(&bundle, "women"), level(&bundle, "voyager"));
            assert!(
                often.zip(seldom).is_some_and(|(often, seldom)| often > seldom + 1.0),
                "{name}: {often:?} {seldom:?}"
            );
        }
        // One that has not learned levels has none.
        let folder = tempfile::tempdir().expect("a folder");
        for file in std::fs::read_dir(models.join("small")).expect("the small model").flatten() {
            std::fs::copy(file.path(), folder.path().join(file.file_name())).expect("room on the disk");
        }
        let path = folder.path().join("manifest.toml");
        let text = std::fs::read_to_string(&path).expect("its manifest");
        let mut manifest: crate::model::Manifest = toml::from_str(&text).expect("its manifest");
        manifest.files.remove(crate::model::LEVEL_FILE).expect("levels");
        std::fs::write(&path, toml::to_string(&manifest).expect("a manifest")).expect("room on the disk");
        assert_eq!(level(&Bundle::load(folder.path()).expect("a bundle"), "women"), None);
    }

    #[cfg(feature = "tract")]
    #[test]
    fn a_recording_of_more_than_a_word_is_refused() {
        let bundle = Bundle::embedded().expect("the built-in model");
        let mut enroller = Enroller::new(&bundle, BackendChoice::default()).expect("a whole bundle");
        let long = KeywordSpec::new(&"hello station ".repeat(8));
        let typed = enroller.text(&long).expect_err("too long");
        assert!(matches!(typed, EnrolError::Text(TextError::TooLong { most: MOST_PHONES, .. })), "{typed}");
        let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hello-stop.wav");
        let whole = crate::audio::decode_16k(&fixture).expect("the fixture");
        let word = whole[10_000..17_500].to_vec();
        let error = enroller.examples("q", &[word.clone(), whole.repeat(2)], None).expect_err("whole sentences");
        assert_eq!(error.example(), Some(2), "{error}");
        assert!(
            error.to_string().contains("example 2 of `q`: in its 1") && error.to_string().contains("cut"),
            "{error}"
        );
        let typed = enroller.text(&KeywordSpec::new("kubernetes")).expect("a word");
        let doubts = enroller.examples("kubernetes", &[word], Some(&typed)).expect("a word").warnings;
        assert!(
            doubts.len() == 1 && doubts[0].example == 1 && doubts[0].text.contains("used all the same"),
            "{doubts:?}"
        );
    }

    #[test]
    fn trim_finds_the_loud_middle() {
        let mut samples = vec![0.001; 480 * 30];
        for (i, s) in samples[480 * 10..480 * 20].iter_mut().enumerate() {
            *s = (i as f32 * 0.2).sin() * 0.3;
        }
        assert_eq!(trim(&samples, 480), Some((10, 20)));
        assert_eq!(trim(&vec![0.0; 480 * 30], 480), None);
        // A short word in ten seconds, with a click.
        let mut samples = vec![0.0005; 480 * 333];
        for (i, s) in samples[480 * 100..480 * 112].iter_mut().enumerate() {
            *s = (i as f32 * 0.2).sin() * 0.3;
        }
        samples[480 * 300] = 1.0;
        assert_eq!(trim(&samples, 480), Some((100, 112)));
    }
}
