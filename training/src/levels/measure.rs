//! How high the witnesses of thousands of texts rise in speech that does not hold them, in one pass over recordings.

use std::ops::Range;

use anyhow::Result;
use indicatif::ProgressBar;
use kws_live::detect::{PATH_MEMORY, PrefixRing, ScorerConfig, nearest};
use kws_live::model::{BackendChoice, Bundle, WindowHead};
use kws_live::search::APART;
use kws_live::segment::RecordingEncoder;
use kws_live::text::{Lexicon, Phone};
use kws_live::words::WordSearch;

use crate::data::RATE;
use crate::eval::recordings::{Recording, hours, spread};

/// Of a text that nothing sounds like.
const LOWEST: f32 = -12.0;

/// A text and what it reached.
#[derive(Debug, Clone)]
pub struct Measured {
    /// How it is said.
    pub phones: Vec<Phone>,
    /// Its embedding, `[D]`.
    pub embedding: Vec<f32>,
    /// The value that so many false alarms an hour as were asked for reach.
    pub level: f32,
}

/// The greatest values of a text.
#[derive(Debug, Clone)]
struct Top {
    values: Vec<f32>,
    /// What is not greater is not among them.
    floor: f32,
}

impl Top {
    fn push(&mut self, value: f32, most: usize) {
        if value > self.floor {
            self.values.push(value);
            if self.values.len() >= 2 * most {
                self.cut(most);
            }
        }
    }

    fn cut(&mut self, most: usize) {
        self.values.sort_unstable_by(|a, b| b.total_cmp(a));
        self.values.truncate(most);
        if self.values.len() == most {
            self.floor = self.values[most - 1];
        }
    }
}

/// A stretch that may become a false alarm: value, start and end in seconds.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    value: f32,
    start: f32,
    end: f32,
}

impl Stretch {
    fn middle(&self) -> f32 {
        f32::midpoint(self.start, self.end)
    }
}

/// What is being heard of a text.
#[derive(Debug, Clone)]
struct Hearing {
    /// Paths a phone of the last frames, frame `f` at `f % PATH_MEMORY`.
    paths: [f32; PATH_MEMORY],
    /// The last frame in which it may have ended; 0 for none.
    last: u64,
    /// The highest value of the last frames.
    open: Option<Stretch>,
    top: Top,
}

/// What one thread hears with.
struct Ear<'a> {
    texts: &'a [(Measured, Range<usize>)],
    lexicon: &'a Lexicon,
    scorer: &'a ScorerConfig,
    encoder: RecordingEncoder,
    head: WindowHead,
    search: WordSearch,
    hearings: Vec<Hearing>,
    /// Texts that may have ended in the last frames.
    recent: Vec<usize>,
    most: usize,
}

impl Ear<'_> {
    fn hear(&mut self, recording: &Recording) -> Result<()> {
        let out = self.encoder.encode(&recording.samples()?)?;
        let spec = self.encoder.spec().clone();
        let lengths = &self.scorer.window_frames;
        let (width, dim) = (spec.proj_dim(), self.head.dim());
        let seconds = self.encoder.frame_samples() as f32 / RATE;
        // The two witnesses alone.
        let weigh = |cosine, path| self.scorer.fuse(cosine, path, 0.0);
        let mut ring = PrefixRing::new(spec.parts, spec.part_dim, lengths.last().copied().unwrap_or(1));
        let mut pooled = vec![0.0; lengths.len() * width];
        let mut windows = vec![0.0; lengths.len() * dim];
        self.search.reset();
        let mut recent = std::mem::take(&mut self.recent);
        let rows = out.phones.chunks_exact(spec.classes).zip(out.proj.chunks_exact(width));
        for (frame, (row, proj)) in (1_u64..).zip(rows) {
            ring.push(proj);
            for (&length, out) in lengths.iter().zip(pooled.chunks_exact_mut(width)) {
                ring.pool(frame, length, out);
            }
            self.head.embed(&pooled, &mut windows)?;
            self.search.step(frame, row);
            let slot = (frame % PATH_MEMORY as u64) as usize;
            for &text in &recent {
                self.hearings[text].paths[slot] = f32::NEG_INFINITY;
            }
            for ending in self.search.endings() {
                let hearing = &mut self.hearings[ending.word];
                if hearing.last == 0 {
                    recent.push(ending.word);
                    hearing.paths = [f32::NEG_INFINITY; PATH_MEMORY];
                }
                hearing.last = frame;
                hearing.paths[slot] = ending.path / self.texts[ending.word].0.phones.len() as f32;
            }
            recent.retain(|&index| {
                let (text, range) = &self.texts[index];
                let hearing = &mut self.hearings[index];
                if hearing.last + PATH_MEMORY as u64 <= frame {
                    hearing.last = 0;
                    return false;
                }
                let path = hearing.paths.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                if weigh(1.0, path) <= hearing.top.floor {
                    return true;
                }
                let window = |w: usize| windows.get(w * dim..(w + 1) * dim);
                let Some((cosine, w)) = nearest(&text.embedding, range.clone(), window) else { return true };
                let value = weigh(cosine, path);
                if value > hearing.top.floor {
                    let start = frame.saturating_sub(lengths[w] as u64) as f32 * seconds;
                    let now = Stretch { value, start, end: frame as f32 * seconds };
                    match hearing.open {
                        // Frames close to each other are one false alarm, as high as the highest.
                        Some(open) if (open.middle() - now.middle()).abs() < APART as f32 / RATE => {
                            hearing.open = Some(if now.value > open.value { now } else { open });
                        }
                        open => {
                            if let Some(open) = open.filter(|o| !says(recording, o, &text.phones, self.lexicon)) {
                                hearing.top.push(open.value, self.most);
                            }
                            hearing.open = Some(now);
                        }
                    }
                }
                true
            });
        }
        for index in recent.drain(..) {
            self.hearings[index].last = 0;
        }
        self.recent = recent;
        for ((text, _), hearing) in self.texts.iter().zip(&mut self.hearings) {
            if let Some(open) = hearing.open.take().filter(|o| !says(recording, o, &text.phones, self.lexicon)) {
                hearing.top.push(open.value, self.most);
            }
        }
        Ok(())
    }
}

/// Whether some of the words around a stretch, one after another, may be said as `phones`: in any way that the lexicon has for
/// them, or as part of what was said.
fn says(recording: &Recording, stretch: &Stretch, phones: &[Phone], lexicon: &Lexicon) -> bool {
    if recording.holds(stretch.start, stretch.end, phones) {
        return true;
    }
    let ways: Vec<Vec<Vec<Phone>>> =
        recording.around(stretch.start, stretch.end).map(|w| lexicon.get(&w.text)).collect();
    (0..ways.len()).any(|first| {
        // What is left of the phones after some words, for each way to say these.
        let mut left = vec![phones];
        for ways in &ways[first..] {
            left = ways.iter().flat_map(|way| left.iter().filter_map(|l| l.strip_prefix(&way[..]))).collect();
            if left.iter().any(|l| l.is_empty()) {
                return true;
            }
        }
        false
    })
}

/// The level of each pronunciation at `rate` false alarms an hour.
///
/// `pronunciations`: sorted, all different, of up to 255 phones.
///
/// # Errors
/// If recordings or bundle cannot be used.
pub fn measure(
    bundle: &Bundle,
    pronunciations: &[Vec<Phone>],
    recordings: &[Recording],
    rate: f64,
    threads: usize,
) -> Result<Vec<Measured>> {
    let choice = BackendChoice::default();
    let scorer = &bundle.manifest.scorer;
    let lexicon = Lexicon::from_bytes(bundle.file("lexicon.bin")?)?;
    let encoder = || -> Result<RecordingEncoder> {
        Ok(RecordingEncoder::new(&bundle.manifest.frontend, bundle.encoder(choice)?)?)
    };
    let seconds = encoder()?.frame_samples() as f32 / RATE;
    let mut tower = bundle.text_encoder(choice)?;
    let texts = pronunciations
        .iter()
        .map(|phones| {
            let embedding = tower.embed(phones)?;
            let range = scorer.windows_for(phones.len(), None, seconds);
            Ok((Measured { phones: phones.clone(), embedding, level: LOWEST }, range))
        })
        .collect::<Result<Vec<_>>>()?;
    let most = (rate * hours(recordings)).round().max(1.0) as usize;
    let vocabulary: Vec<(&[Phone], bool)> = pronunciations.iter().map(|p| (&p[..], true)).collect();
    let start = || -> Result<Ear<'_>> {
        let top = Top { values: Vec::new(), floor: LOWEST };
        let hearing = Hearing { paths: [f32::NEG_INFINITY; PATH_MEMORY], last: 0, open: None, top };
        Ok(Ear {
            texts: &texts,
            lexicon: &lexicon,
            scorer,
            encoder: encoder()?,
            head: bundle.window_head(choice)?,
            search: WordSearch::new(&vocabulary),
            hearings: vec![hearing; texts.len()],
            recent: Vec::new(),
            most,
        })
    };
    let bar = ProgressBar::new(recordings.len() as u64);
    let (_, ears) = spread(recordings, threads, start, |ear, recording| {
        ear.hear(recording)?;
        bar.inc(1);
        if bar.is_hidden() && bar.position().is_multiple_of(500) {
            log::info!("{} of {} recordings", bar.position(), recordings.len());
        }
        Ok(())
    })?;
    let mut tops: Vec<Vec<f32>> = vec![Vec::new(); texts.len()];
    for ear in ears {
        tops.iter_mut().zip(ear.hearings).for_each(|(all, hearing)| all.extend(hearing.top.values));
    }
    let leveled = texts.into_iter().zip(tops).map(|((text, _), mut values)| {
        values.sort_unstable_by(|a, b| b.total_cmp(a));
        Measured { level: values.get(most - 1).copied().unwrap_or(LOWEST), ..text }
    });
    Ok(leveled.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Word;
    use kws_live::text::{parse_phones, read_cmudict};

    #[test]
    fn the_greatest_values_stay() {
        let mut top = Top { values: Vec::new(), floor: LOWEST };
        for i in 0..100 {
            top.push((i * 37 % 100) as f32, 3);
        }
        top.cut(3);
        assert_eq!((top.values, top.floor), (vec![99.0, 98.0, 97.0], 97.0));
    }

    #[test]
    fn what_was_said_in_any_way_is_no_false_alarm() {
        let phones = |text: &str| parse_phones(text).expect("ARPAbet");
        let lexicon = read_cmudict("the  DH AH\nthe(2)  DH IY\nend  EH N D\n").expect("ARPAbet");
        let lexicon = Lexicon::from_bytes(&Lexicon::pack(&lexicon)).expect("what was packed");
        let word = |text: &str, said: &str, start: f32| Word {
            text: text.into(),
            start,
            end: start + 0.3,
            phones: phones(said),
        };
        let words = vec![word("the", "DH AH", 1.0), word("end", "EH N D", 1.3), word("the", "DH AH", 2.0)];
        let recording = Recording { words, ..Recording::default() };
        let says = |text: &str, start: f32| {
            says(&recording, &Stretch { value: 0.0, start, end: start + 0.5 }, &phones(text), &lexicon)
        };
        assert!(says("DH IY", 1.0) && says("DH IY EH N D", 1.0) && says("AH EH N", 1.0));
        assert!(
            !says("DH IY EH N", 1.0) && !says("EH N D DH", 1.0) && !says("DH IY EH N D", 1.9) && !says("DH IY", 3.0)
        );
    }
}
