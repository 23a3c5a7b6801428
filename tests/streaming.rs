//! The whole runtime path on the built-in model: streamed equals offline, reset equals new, gaps keep the clock.

mod common;

use kws_live::audio::decode_16k;
use kws_live::model::Bundle;
use kws_live::spotter::{Best, Detection, Spotter, SpotterConfig};
use proptest::prelude::*;

fn spotter(chunk_frames: usize) -> Spotter {
    spotter_with(SpotterConfig { chunk_frames, ..SpotterConfig::default() })
}

fn spotter_with(mut config: SpotterConfig) -> Spotter {
    let bundle = Bundle::embedded().expect("the built-in model");
    config.threshold = Some(common::LOW.parse().expect("a number"));
    common::spotter(&bundle, config, "hello, yellow, stop, top, station, nation, train")
}

/// What a stream gives, fed in pieces of the given sizes, over and over.
fn listen(spotter: &mut Spotter, samples: &[f32], pieces: &[usize]) -> (Vec<Detection>, Vec<Option<Best>>) {
    let mut hits = Vec::new();
    let mut rest = samples;
    let mut sizes = pieces.iter().cycle();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at((*sizes.next().expect("a cycle")).min(rest.len()));
        spotter.process(head, |d| hits.push(d.clone())).expect("samples");
        rest = tail;
    }
    spotter.flush(|d| hits.push(d.clone())).expect("the end");
    (hits, spotter.keywords().map(|k| k.best).collect())
}

/// Equal but for rounding and for the time at which a detection comes out, which chunks move.
fn same(a: &(Vec<Detection>, Vec<Option<Best>>), b: &(Vec<Detection>, Vec<Option<Best>>)) -> bool {
    let near = |x: f32, y: f32| (x - y).abs() < 1e-3;
    let hits = a.0.len() == b.0.len()
        && a.0
            .iter()
            .zip(&b.0)
            .all(|(x, y)| x.name == y.name && x.start == y.start && x.end == y.end && near(x.score, y.score));
    hits && a.1.iter().zip(&b.1).all(|(x, y)| match (x, y) {
        (Some(x), Some(y)) => near(x.score, y.score),
        _ => x.is_none() && y.is_none(),
    })
}

#[test]
fn streamed_equals_offline_whatever_the_pieces() {
    let samples = decode_16k(&common::recording()).expect("the fixture");
    let mut whole = spotter(100);
    let want = listen(&mut whole, &samples, &[samples.len()]);
    assert!(!want.0.is_empty(), "something is heard in the fixture");
    whole.reset();
    assert!(same(&listen(&mut whole, &samples, &[480]), &want), "reset equals new");
    let live = std::cell::RefCell::new(spotter(4));
    let config = ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(pieces in prop::collection::vec(1_usize..9_000, 1..8))| {
        let mut live = live.borrow_mut();
        live.reset();
        prop_assert!(same(&listen(&mut live, &samples, &pieces), &want));
    });
}

#[test]
fn a_word_said_alone_is_known_to_stand_alone_also_at_the_end_of_a_stream() {
    let samples = decode_16k(&common::recording()).expect("the fixture");
    // `hello`, cut out.
    let said = [&vec![0.0; 8_000], &samples[10_000..17_500]].concat();
    let heard = |samples: &[f32]| listen(&mut spotter(3), samples, &[480]).1[0].expect("a score");
    let (ended, followed) = (heard(&said), heard(&[&said[..], &vec![0.0; 8_000]].concat()));
    assert!(ended.alone > 0.5 && followed.alone > 0.5, "{ended:?} {followed:?}");
}

#[test]
fn with_rivals_too_chunks_and_pieces_change_nothing() {
    let samples = decode_16k(&common::recording()).expect("the fixture");
    let with = |chunk_frames, rivals| spotter_with(SpotterConfig { chunk_frames, rivals, ..SpotterConfig::default() });
    let mut whole = with(100, true);
    let want = listen(&mut whole, &samples, &[samples.len()]);
    let share = |heard: &(Vec<Detection>, Vec<Option<Best>>), keyword: usize| heard.1[keyword].map(|b| b.share);
    // What is said has the greatest share: hello, not yellow; stop, not top.
    assert!(share(&want, 0) > share(&want, 1) && share(&want, 2) > share(&want, 3), "{want:?}");
    whole.reset();
    assert!(same(&listen(&mut whole, &samples, &[480]), &want), "reset equals new");
    for (chunk, piece) in [(4, 1_000), (7, 4_321), (1, 480)] {
        assert!(same(&listen(&mut with(chunk, true), &samples, &[piece]), &want), "chunks of {chunk}");
    }
    // Without them nobody asks for shares.
    let without = listen(&mut with(100, false), &samples, &[480]);
    assert!((0..7).all(|k| share(&without, k) == share(&without, 0)) && share(&without, 0) < share(&want, 0));
}

#[test]
fn after_a_gap_the_clock_has_gone_on() {
    let samples = decode_16k(&common::recording()).expect("the fixture");
    let mut spotter = spotter(3);
    let plain = listen(&mut spotter, &samples, &[1_440]).0;
    spotter.reset();
    spotter.skip(160_000);
    let late = listen(&mut spotter, &samples, &[1_440]).0;
    assert_eq!(plain.len(), late.len());
    for (a, b) in plain.iter().zip(&late) {
        assert_eq!((a.start + 160_000, a.end + 160_000), (b.start, b.end));
    }
}

#[test]
fn keywords_set_at_once_are_heard_as_if_they_had_been_added() {
    let samples = decode_16k(&common::recording()).expect("the fixture");
    let mut spotter = spotter(3);
    let want = listen(&mut spotter, &samples, &[1_440]);
    let keywords: Vec<_> = spotter.keywords().map(|k| k.keyword.clone()).collect();
    let (first, old) = (keywords[0].clone(), spotter.keywords().map(|k| k.id).max());
    let alone = spotter.set_keywords([first]);
    assert!(alone.len() == 1 && alone.iter().max() > old.iter().max(), "handles are never used twice");
    let ids = spotter.set_keywords(keywords);
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]) && ids.first() > alone.first());
    spotter.reset();
    assert!(same(&listen(&mut spotter, &samples, &[1_440]), &want));
}

#[test]
fn the_gate_changes_no_detection_and_lets_the_model_rest_in_silence() {
    let recording = decode_16k(&common::recording()).expect("the fixture");
    // The recording between long stretches of a quiet room: the gate shuts, and is woken by speech.
    let quiet = |n: usize| (0..n).map(|i| ((i * 7_919) % 251) as f32 / 251.0 * 2e-4 - 1e-4).collect::<Vec<f32>>();
    let mut samples = quiet(16_000 * 8);
    for _ in 0..3 {
        samples.extend(&recording);
        samples.extend(quiet(16_000 * 11));
    }
    let of = |gate: bool, chunk_frames: usize, piece: usize| {
        let mut spotter = spotter_with(SpotterConfig { chunk_frames, gate, ..SpotterConfig::default() });
        let hits = listen(&mut spotter, &samples, &[piece]).0;
        (hits, spotter.rested())
    };
    let (want, never) = of(false, 3, 480);
    assert_eq!(never, 0);
    assert!(want.len() >= 3, "something is heard in the fixture: {want:?}");
    for (chunk_frames, piece) in [(4, 480), (1, 123), (100, 9_001)] {
        let (got, rested) = of(true, chunk_frames, piece);
        assert!(rested > 16_000 * 20, "rested for {rested} samples only");
        assert_eq!(got.len(), want.len(), "{got:?} instead of {want:?}");
        for (a, b) in got.iter().zip(&want) {
            assert!(a.name == b.name && a.start == b.start && a.end == b.end, "{a:?} instead of {b:?}");
            assert!((a.score - b.score).abs() < 1e-3, "{a:?} instead of {b:?}");
        }
    }
}
