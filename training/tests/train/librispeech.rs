//! LibriSpeech as published, from a folder to a cache and a manifest.

use std::fs;
use std::path::Path;

use kws_train::data::prepare::{PrepareArgs, run};
use kws_train::data::{Cache, Corpus};

fn wav(path: &Path, samples: usize) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).expect("a file");
    for i in 0..samples {
        writer.write_sample((i % 100) as i16 * 50).expect("written");
    }
    writer.finalize().expect("written");
}

#[test]
fn a_published_folder_is_read_and_gets_a_manifest() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let corpus = folder.path().join("train-clean-100");
    for (split, speaker) in [("train-clean-100", "19"), ("dev-clean", "84")] {
        let chapter = folder.path().join(split).join(speaker).join("198");
        fs::create_dir_all(&chapter).expect("a folder");
        let text = format!("{speaker}-198-0000 NORTHANGER ABBEY\n{speaker}-198-0001 THE REVEREND'S WIFE\n");
        fs::write(chapter.join(format!("{speaker}-198.trans.txt")), text).expect("written");
        // What a file is is told by its content, so a wav file serves.
        wav(&chapter.join(format!("{speaker}-198-0000.flac")), 16_000);
        wav(&chapter.join(format!("{speaker}-198-0001.flac")), 8_000);
    }
    fs::create_dir_all(folder.path().join("data")).expect("a folder");
    let args = PrepareArgs {
        data: folder.path().join("data"),
        extra: vec![corpus.clone(), folder.path().join("dev-clean")],
        out: folder.path().join("cache"),
        split: "train".into(),
        threads: 2,
    };
    run(&args).expect("prepared");

    let cache = Cache::read(&args.out).expect("a cache");
    let ids: Vec<&str> = cache.clips().iter().map(|c| c.id.as_str()).collect();
    let want = ["train-clean-100/19/198/19-198-0000.flac", "train-clean-100/19/198/19-198-0001.flac"];
    assert_eq!(ids, want, "the other folder is dev");

    assert!(corpus.join("manifest.jsonl").exists());
    let entries = Corpus::read(&corpus).expect("a manifest").entries;
    let seen: Vec<_> = entries.iter().map(|e| (e.speaker.as_str(), e.text.as_str(), e.seconds)).collect();
    assert_eq!(seen, [("ls19", "northanger abbey", 1.0), ("ls19", "the reverend's wife", 0.5)]);
}
