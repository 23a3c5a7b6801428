//! A `jmcl` bundle with random weights, from export to detections.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use kws_live::detect::{Embedding, Keyword, Pronunciation};
use kws_live::enrol::Enroller;
use kws_live::frontend::FrontendConfig;
use kws_live::model::{Backend, BackendChoice, Bundle};
use kws_live::segment::segment_embedder;
use kws_live::spotter::{Detection, Spotter, SpotterConfig};
use kws_live::text::{Lexicon, parse_keywords, parse_phones, read_cmudict};
use kws_train::export::{Dim, GraphBuilder, TOLERANCE, write_jmcl};
use kws_train::fit::{Architecture, FitConfig};
use kws_train::model::JmclModel;
use kws_train::net::JmclConfig;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tch::Device;

static DRAWING: Mutex<()> = Mutex::new(());

fn write_bundle(folder: &Path) {
    let words = read_cmudict("stop S T AA1 P\nhello HH AH0 L OW1\nhello(2) HH EH0 L OW1\n").expect("a dictionary");
    fs::write(folder.join("lexicon.bin"), Lexicon::pack(&words)).expect("written");
    // Never asked: the words are in the lexicon.
    let mut g2p = GraphBuilder::new("g2p");
    let letters = g2p.input("letters", &[Dim::Free("L")]);
    g2p.output(&letters, "phones", &[Dim::Free("L")]);
    fs::write(folder.join("g2p.onnx"), g2p.finish()).expect("written");
    let config = FitConfig {
        architecture: Architecture::Jmcl,
        frontend: FrontendConfig::default(),
        jmcl: JmclConfig { mels: 40, embed: 9, layers: 3, hidden: 16, fc: 24, dim: 8 },
        ..FitConfig::default()
    };
    let model = {
        // The generator is the process's: tests side by side would share its numbers out between them.
        let _alone = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
        tch::manual_seed(3);
        JmclModel::new(Device::Cpu, &config.jmcl)
    };
    let checks = write_jmcl(&model, &config, folder, "random", 0, true).expect("parity");
    assert!(checks.iter().any(|c| c.name.starts_with("tract audio 43 x 60")), "{checks:?}");
    assert!(checks.iter().all(|c| c.difference <= TOLERANCE));
}

/// Chirps between silences.
fn audio() -> Vec<f32> {
    let mut rng = SmallRng::seed_from_u64(5);
    (0..16_000 * 4)
        .map(|i| {
            let t = i as f32 / 16_000.0;
            let loud = if (t * 1.3).fract() < 0.5 { 0.4 } else { 0.002 };
            ((300.0 + 500.0 * (t * 0.7).fract()) * t * 6.3).sin() * loud + (rng.random::<f32>() - 0.5) * 0.01
        })
        .collect()
}

fn backends() -> Vec<BackendChoice> {
    let mut out = vec![BackendChoice { backend: Backend::Tract, ..BackendChoice::default() }];
    if std::env::var_os("ORT_DYLIB_PATH").is_some() {
        out.push(BackendChoice { backend: Backend::Ort, ..BackendChoice::default() });
    }
    out
}

fn text_keyword(bundle: &Bundle, choice: BackendChoice, name: &str, phones: &str) -> Keyword {
    let phones = parse_phones(phones).expect("phones");
    let values = bundle.text_encoder(choice).expect("text tower").embed(&phones).expect("an embedding");
    let embedding = Embedding::new(values).expect("a direction");
    Keyword {
        name: name.into(),
        pronunciations: vec![Pronunciation { phones, embedding, frames: None, level: None }],
        threshold: None,
    }
}

/// A keyword from a stretch of the audio itself, as an enrolled recording is.
fn spoken_keyword(bundle: &Bundle, choice: BackendChoice, samples: &[f32]) -> Keyword {
    let mut segments = segment_embedder(bundle, choice).expect("audio tower");
    let span = 24_000..33_600;
    let segment = segments.embed(samples, std::slice::from_ref(&span)).expect("embedded").remove(0).expect("a segment");
    assert_eq!((segment.posteriors, segment.frames), (None, 12.0));
    let pronunciation =
        Pronunciation { phones: Vec::new(), embedding: segment.embedding, frames: Some((8.4, 17.4)), level: None };
    Keyword { name: "spoken".into(), pronunciations: vec![pronunciation], threshold: None }
}

/// Detections, and the best score of every keyword with its start.
fn listen(
    bundle: &Bundle,
    keywords: &[Keyword],
    config: SpotterConfig,
    samples: &[f32],
    mut size: impl FnMut() -> usize,
) -> (Vec<Detection>, Vec<(f32, u64)>) {
    let mut spotter = Spotter::new(bundle, config).expect("a spotter");
    for keyword in keywords {
        spotter.add(keyword.clone());
    }
    let mut found = Vec::new();
    let mut rest = samples;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(size().min(rest.len()));
        spotter.process(head, |d| found.push(d.clone())).expect("processed");
        rest = tail;
    }
    spotter.flush(|d| found.push(d.clone())).expect("flushed");
    let best = spotter.keywords().map(|k| k.best.map(|b| (b.score, b.start)).expect("a score")).collect();
    (found, best)
}

#[test]
fn both_backends_score_alike_and_any_chunking_is_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    write_bundle(folder.path());
    let bundle = Bundle::load(folder.path()).expect("a bundle");
    assert_eq!(bundle.manifest.kind, "jmcl");
    let samples = audio();
    let mut results = Vec::new();
    for choice in backends() {
        let keywords = [
            text_keyword(&bundle, choice, "stop", "S T AA P"),
            text_keyword(&bundle, choice, "hello", "HH AH L OW"),
            spoken_keyword(&bundle, choice, &samples),
        ];
        let config = SpotterConfig { choice, threshold: Some(0.3), ..SpotterConfig::default() };
        let whole = listen(&bundle, &keywords, config.clone(), &samples, || usize::MAX);
        // The stretch itself is found where it was said: best cosine 1 up to the frames' grid.
        let (score, start) = whole.1[2];
        assert!(score > 0.9 && start.abs_diff(24_000) <= 800, "{score} at {start}");
        let mut rng = SmallRng::seed_from_u64(11);
        for _ in 0..5 {
            let chunked = listen(&bundle, &keywords, config.clone(), &samples, || rng.random_range(1..5_000));
            assert_eq!(chunked.1, whole.1, "{choice:?}");
            let of = |d: &Detection| (d.name.clone(), d.score, d.start, d.end);
            assert_eq!(chunked.0.iter().map(of).collect::<Vec<_>>(), whole.0.iter().map(of).collect::<Vec<_>>());
        }
        // The number of frames a run changes nothing but the order of sums.
        let long = SpotterConfig { chunk_frames: 37, ..config };
        let long = listen(&bundle, &keywords, long, &samples, || 1_600);
        for (i, (a, b)) in long.1.iter().zip(&whole.1).enumerate() {
            assert!((a.0 - b.0).abs() < 1e-4, "keyword {i}: {a:?} {b:?}");
        }
        results.push(whole.1);
    }
    if let [tract, ort] = &results[..] {
        for (a, b) in tract.iter().zip(ort) {
            assert!((a.0 - b.0).abs() < 1e-4, "tract {a:?}, ort {b:?}");
        }
    }
}

#[test]
fn keywords_are_enrolled_from_text_and_from_recordings() {
    let folder = tempfile::tempdir().expect("a folder");
    write_bundle(folder.path());
    let bundle = Bundle::load(folder.path()).expect("a bundle");
    let samples = audio();
    let mut enroller = Enroller::new(&bundle, BackendChoice::default()).expect("an enroller");
    let specs = parse_keywords("hello").expect("a keyword");
    let typed = enroller.text(&specs[0]).expect("a keyword");
    assert_eq!(typed.pronunciations.len(), 2);
    // The second loud stretch, 0.38 s, with silence around it.
    let recording = samples[8_000..20_000].to_vec();
    let alone = enroller.examples("alone", std::slice::from_ref(&recording), None).expect("a keyword").keyword;
    assert!(alone.pronunciations.len() == 1 && alone.pronunciations[0].phones.is_empty());
    let blended = enroller.examples("hello", &[recording], Some(&typed)).expect("a keyword").keyword;
    assert_eq!(blended.pronunciations.len(), 2);
    let refused = enroller.examples("nothing", &[vec![0.0; 16_000]], None).expect_err("silence").to_string();
    assert!(refused.contains("`nothing`"), "{refused}");
    let keywords = [typed, alone, blended];
    let (_, best) = listen(&bundle, &keywords, SpotterConfig::default(), &samples, || 4_000);
    // Random weights find it in many places; here it matters that they find it at all.
    assert!(best[1].0 > 0.9, "{best:?}");
}

#[test]
fn what_does_not_fit_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    write_bundle(folder.path());
    let path = folder.path().join("manifest.toml");
    let manifest = fs::read_to_string(&path).expect("a manifest");
    for (from, to, field) in [
        ("kind = \"jmcl\"", "kind = \"stream\"", "`encoder`"),
        ("kind = \"jmcl\"", "kind = \"magic\"", "`kind`"),
        ("hop_frames = 5", "hop_frames = 0", "`towers.hop_frames`"),
        ("[towers]\nmels = 40", "[towers]\nmels = 64", "`frontend.mels`"),
        ("[towers]", "[tower]", "tower"),
    ] {
        assert!(manifest.contains(from), "{from}");
        fs::write(&path, manifest.replace(from, to)).expect("written");
        let error = Bundle::load(folder.path()).err().expect("a mismatch").to_string();
        assert!(error.contains(field), "{from} -> {to}: {error}");
    }
}
