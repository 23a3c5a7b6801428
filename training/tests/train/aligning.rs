//! The aligner finds the words of the made-up language with a model that was trained on it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use kws_train::align::{AlignArgs, run};
use kws_train::data::{Cache, Corpus};
use kws_train::export::{self, ExportArgs};

use crate::tones;

fn wav(path: &Path, cache: &Cache, id: &str) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).expect("a file");
    for sample in cache.samples(cache.find(id).expect("in the cache")) {
        writer.write_sample(*sample).expect("written");
    }
    writer.finalize().expect("written");
}

#[test]
fn words_are_found_where_they_were_put() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (run_folder, bundle, corpus) =
        (folder.path().join("run"), folder.path().join("model"), folder.path().join("c"));
    let config = tones::config(240);
    tones::fit(&config, &run_folder, None);
    fs::write(run_folder.join("config.toml"), toml::to_string(&config).expect("TOML")).expect("written");
    {
        // It draws weights before it reads those that were learnt.
        let _alone = tones::alone();
        export::run(&ExportArgs { run: run_folder, out: bundle.clone(), name: "tones".into(), single: false })
            .expect("exported");
    }

    let (cache, corpora) = tones::corpus();
    let truth = &corpora[0].entries;
    fs::create_dir_all(&corpus).expect("a folder");
    // The last recording is said to hold something else.
    let wrong = truth.len() - 1;
    let mut transcripts = String::new();
    for (i, entry) in truth.iter().enumerate() {
        wav(&corpus.join(&entry.file), cache, &format!("tones/{}", entry.file));
        let text = if i == wrong { "lem lem amo bis kel sik" } else { entry.text.as_str() };
        writeln!(transcripts, "{} {}", entry.file, text.to_uppercase()).expect("in memory");
    }
    fs::write(folder.path().join("text"), transcripts).expect("written");
    let mut lexicon = String::new();
    for (word, phones) in tones::WORDS {
        writeln!(lexicon, "{word} {phones}\n{word}(2) ZH UW ZH").expect("in memory");
    }
    fs::write(folder.path().join("dict"), lexicon).expect("written");
    let args = AlignArgs {
        model: bundle,
        corpus: corpus.clone(),
        transcripts: Some(folder.path().join("text")),
        out: None,
        split: "train".into(),
        lexicon: Some(folder.path().join("dict")),
        g2p: None,
        min_score: -2.0,
        blank_cost: 1.0,
        limit: None,
        jobs: 2,
        compare: false,
    };
    run(&args).expect("aligned");

    let found = Corpus::read(&corpus).expect("a manifest").entries;
    assert_eq!(found.len(), truth.len());
    let mut worst = Vec::new();
    for (ours, theirs) in found.iter().zip(truth).take(wrong) {
        let (ours, theirs) = (ours.words().expect("ARPAbet"), theirs.words().expect("ARPAbet"));
        assert_eq!(ours.len(), theirs.len());
        for (a, b) in ours.iter().zip(&theirs) {
            assert_eq!((&a.text, &a.phones), (&b.text, &b.phones));
            worst.push((a.start - b.start).abs().max((a.end - b.end).abs()));
        }
    }
    worst.sort_by(f32::total_cmp);
    // Five frames: the next word lies 0.44 s on. CTC says no closer where a word ends, and the network differs a little from
    // processor to processor.
    assert!(worst[worst.len() * 9 / 10] < 0.15, "90 % of borders within {} s", worst[worst.len() * 9 / 10]);
    assert!(found[wrong].words.is_empty() && found[wrong].align_score.is_some_and(|s| s < -2.0), "{:?}", found[wrong]);
}
