//! What the spotter keeps and forgets, on scripted scores.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::detect::{Embedding, Pronunciation};

/// All keywords score together, once, each by `less` lower than the one before; between the first two it fails in a frame.
struct Scripted {
    /// Score of the first one.
    most: f32,
    less: f32,
    /// What is added to it when it is told again after [`SETTLE`] frames.
    late: f32,
    scorer: ScorerConfig,
    frame: u64,
    fails: Option<u64>,
    keywords: usize,
    changes: Arc<AtomicUsize>,
}

/// Frames in which they score.
const PEAK: std::ops::Range<u64> = 40..44;
/// Frames after which they are told again.
const SETTLE: u64 = 4;

impl Core for Scripted {
    fn stride(&self) -> usize {
        3
    }

    fn mels(&self) -> usize {
        40
    }

    fn delay_frames(&self) -> usize {
        0
    }

    fn settle_frames(&self) -> usize {
        if self.late > 0.0 { SETTLE as usize } else { 0 }
    }

    fn memory_frames(&self) -> usize {
        0
    }

    fn scorer(&self) -> &ScorerConfig {
        &self.scorer
    }

    fn set_keywords(&mut self, keywords: &[&Keyword]) {
        self.keywords = keywords.len();
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    fn process(
        &mut self,
        features: &[f32],
        on_score: &mut dyn FnMut(u64, usize, FrameScore),
    ) -> Result<(), ModelError> {
        for _ in features.chunks_exact(120) {
            for keyword in 0..self.keywords {
                if keyword == 1 && self.fails == Some(self.frame) {
                    return Err(ModelError::Runtime("on purpose".into()));
                }
                let high = self.most - self.less * keyword as f32;
                let before = self.frame.saturating_sub(SETTLE);
                let peak = if self.late > 0.0 && PEAK.contains(&before) {
                    Peak { score: high + self.late, plain: high, start: before, end: before + 1 }
                } else {
                    let score = if PEAK.contains(&self.frame) { high } else { 0.0 };
                    Peak { score, plain: score, start: self.frame, end: self.frame + 1 }
                };
                on_score(self.frame, keyword, FrameScore { peak, ..FrameScore::nothing(self.frame, 0.0) });
            }
            self.frame += 1;
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.frame = 0;
    }
}

fn keyword(name: &str) -> Keyword {
    let embedding = Embedding::new(vec![1.0, 0.0]).expect("a direction");
    let pronunciations = vec![Pronunciation { phones: Vec::new(), embedding, frames: None, level: None }];
    Keyword { name: name.into(), pronunciations, threshold: None }
}

fn spotter(fails: Option<u64>, config: SpotterConfig) -> (Spotter, Arc<AtomicUsize>) {
    spotter_of(fails, 0.0, config)
}

fn spotter_of(fails: Option<u64>, less: f32, config: SpotterConfig) -> (Spotter, Arc<AtomicUsize>) {
    let changes = Arc::new(AtomicUsize::new(0));
    let scorer = ScorerConfig::default();
    let core = Scripted { most: 0.95, less, late: 0.0, scorer, frame: 0, fails, keywords: 0, changes: changes.clone() };
    (over(core, config), changes)
}

fn over(core: Scripted, config: SpotterConfig) -> Spotter {
    let mut spotter = Spotter::over(&FrontendConfig::default(), Box::new(core), config).expect("a good front end");
    spotter.set_keywords(["a", "b"].map(keyword));
    spotter
}

#[test]
fn a_backend_that_fails_in_the_middle_of_a_frame_leaves_nothing_for_later() {
    let silence = vec![0.0; 32_000];
    let (mut whole, _) = spotter(None, SpotterConfig::default());
    let mut heard = 0;
    whole.process(&silence, |_| heard += 1).expect("it runs");
    assert_eq!(heard, 2);
    // In each frame in which the first one may come out.
    for fails in PEAK.start..PEAK.end + 30 {
        let (mut broken, _) = spotter(Some(fails), SpotterConfig::default());
        assert!(broken.process(&silence, |_| ()).is_err());
        broken.reset();
        broken.set_keywords([keyword("c")]);
        broken.process(&silence[..8_000], |hit| panic!("{} comes from before", hit.name)).expect("before it fails");
    }
}

#[test]
fn a_reset_forgets_near_misses_and_the_end_of_a_stream_does_not() {
    let config = SpotterConfig { threshold: Some(0.99), near: Some(0.5), ..SpotterConfig::default() };
    let (mut spotter, _) = spotter(None, config);
    let hear = |spotter: &mut Spotter| {
        spotter.process(&vec![0.0; 32_000], |hit| panic!("{} is over the threshold", hit.name)).expect("it runs");
        spotter.flush(|hit| panic!("{} is over the threshold", hit.name)).expect("it runs");
    };
    hear(&mut spotter);
    assert!(spotter.near_misses().count() > 0);
    hear(&mut spotter);
    spotter.reset();
    assert_eq!(spotter.near_misses().count(), 0);
}

#[test]
fn what_is_told_late_is_heard_once_at_its_place_and_is_no_near_miss() {
    let hear = |most: f32, less: f32, chunk_frames: usize| {
        let (scorer, changes) = (ScorerConfig::default(), Arc::default());
        let core = Scripted { most, less, late: 0.4, scorer, frame: 0, fails: None, keywords: 0, changes };
        let config = SpotterConfig { threshold: Some(0.5), near: Some(0.75), chunk_frames, ..SpotterConfig::default() };
        let mut spotter = over(core, config);
        let mut heard = Vec::new();
        let mut note = |hit: &Detection| heard.push((hit.name.to_string(), hit.score, hit.start));
        spotter.process(&vec![0.0; 32_000], &mut note).expect("it runs");
        spotter.flush(&mut note).expect("it runs");
        let near: Vec<String> = spotter.near_misses().map(|hit| hit.name.to_string()).collect();
        (heard, near)
    };
    let heard = |score| (vec![("a".to_owned(), score, 11_040)], Vec::<String>::new());
    for chunk in [1, 4, 100] {
        // Too low at first; the other, lower still, lies on it.
        assert_eq!(hear(0.45, 0.1, chunk), heard(0.85));
        // Told at once, and not again; the other is over the threshold only when it is told late, and then higher.
        assert_eq!(hear(0.6, 0.15, chunk), heard(0.6));
        // Never high enough.
        assert_eq!(hear(0.09, 0.0, chunk), (Vec::new(), vec!["a".to_owned(), "b".to_owned()]));
    }
}

#[test]
fn several_keywords_change_at_once() {
    let (mut spotter, changes) = spotter(None, SpotterConfig::default());
    let before = changes.load(Ordering::Relaxed);
    let ids: Vec<KeywordId> = spotter.keywords().map(|k| k.id).collect();
    let new = spotter.change(&ids[..1], ["c", "d"].map(keyword));
    assert_eq!(changes.load(Ordering::Relaxed), before + 1);
    let now: Vec<(KeywordId, String)> = spotter.keywords().map(|k| (k.id, k.keyword.name.clone())).collect();
    assert_eq!(now, [(ids[1], "b".into()), (new[0], "c".into()), (new[1], "d".into())]);
    // One that is gone already changes nothing for the others.
    assert!(!spotter.remove(ids[0]) && spotter.change(&ids[..1], []).is_empty());
    assert_eq!(changes.load(Ordering::Relaxed), before + 1);
    assert!(spotter.remove(new[1]));
    assert_eq!(changes.load(Ordering::Relaxed), before + 2);
}

#[test]
fn live_the_best_keyword_explains_a_sound_and_a_search_hides_none() {
    let hear = |rivals: bool, chunk_frames: usize| {
        let config = SpotterConfig { threshold: Some(0.1), rivals, chunk_frames, ..SpotterConfig::default() };
        let (mut spotter, _) = spotter_of(None, 0.2, config);
        let mut heard = Vec::new();
        let mut note = |hit: &Detection| heard.push((hit.name.to_string(), hit.score, hit.start));
        spotter.process(&vec![0.0; 32_000], &mut note).expect("it runs");
        spotter.flush(&mut note).expect("it runs");
        heard
    };
    let place = |name: &str, score, start| (name.to_owned(), score, start);
    assert_eq!(hear(false, 4), [place("a", 0.95, 11_040)]);
    for chunk in [4, 100] {
        assert_eq!(hear(true, chunk), [place("a", 0.95, 11_040), place("b", 0.75, 11_040)]);
    }
}

#[test]
fn a_search_keeps_nothing_over_a_reset_and_nothing_for_ever() {
    let config = SpotterConfig { threshold: Some(0.1), rivals: true, ..SpotterConfig::default() };
    let (mut spotter, _) = spotter(None, config);
    let mut heard = 0;
    spotter.process(&vec![0.0; 16_000 * 4], |_| heard += 1).expect("it runs");
    assert_eq!(heard, 0, "something higher might still come");
    spotter.process(&vec![0.0; 16_000 * 4], |_| heard += 1).expect("it runs");
    assert_eq!(heard, 2);
    spotter.reset();
    spotter.process(&vec![0.0; 16_000 * 4], |_| heard += 1).expect("it runs");
    spotter.reset();
    spotter.flush(|hit| panic!("{} was forgotten", hit.name)).expect("it runs");
    assert_eq!(heard, 2);
}

#[test]
fn no_word_ends_behind_the_end_of_the_stream() {
    for samples in (11_100..13_500).step_by(100) {
        let (mut spotter, _) = spotter(None, SpotterConfig::default());
        let mut heard = 0;
        let mut check = |hit: &Detection| {
            heard += 1;
            assert!(hit.end <= hit.emitted && hit.emitted <= samples, "{hit:?} in {samples} samples");
        };
        spotter.process(&vec![0.0; samples as usize], &mut check).expect("it runs");
        spotter.flush(&mut check).expect("it runs");
        assert!(heard == 2 || samples < 12_000, "{heard} in {samples}");
    }
}

#[test]
fn the_sensitivity_moves_all_thresholds_but_a_keyword_s_own() {
    let (mut spotter, _) = spotter(None, SpotterConfig { threshold: Some(0.6), ..SpotterConfig::default() });
    let a = spotter.keywords().next().expect("a keyword").id;
    spotter.set_threshold(a, 0.3);
    let thresholds = |spotter: &Spotter| spotter.keywords().map(|k| k.threshold).collect::<Vec<f32>>();
    assert_eq!(thresholds(&spotter), [0.3, 0.6]);
    spotter.set_sensitivity(0.75);
    spotter.add(keyword("c"));
    spotter.add(Keyword { threshold: Some(0.7), ..keyword("d") });
    // A quarter over the model's own point, 0.5: odds of one to ten.
    let want = [0.3, 1.0 / 11.0, 1.0 / 11.0, 0.7];
    let near = |(got, want): (&f32, &f32)| (got - want).abs() < 1e-6;
    assert!(thresholds(&spotter).iter().zip(&want).all(near), "{:?}", thresholds(&spotter));
    // All score 0.95. Deaf is 100 to one.
    spotter.set_sensitivity(0.0);
    let mut heard = Vec::new();
    spotter.process(&vec![0.0; 32_000], |hit| heard.push(hit.name.to_string())).expect("it runs");
    assert_eq!(heard, ["a", "d"]);
}
