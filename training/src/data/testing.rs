//! A tiny spoken corpus for tests: tones for words.

use std::path::Path;

use super::{Cache, Corpus};

/// Six recordings by three speakers, four words of 0.6 s in each, every word a chord of its own; the cache lives for ever.
///
/// # Panics
/// If its manifest line cannot be read.
pub fn tiny_corpus() -> (&'static Cache, Corpus) {
    let words =
        [("cat", "K AE T", 300.0), ("dog", "D AO G", 700.0), ("bird", "B ER D", 1_500.0), ("fish", "F IH SH", 2_900.0)];
    let mut cache = Cache::default();
    let mut lines = Vec::new();
    for clip in 0..6 {
        let mut audio = vec![0.0_f32; 16_000 * 4];
        let mut times = Vec::new();
        for slot in 0..4 {
            let (text, phones, hz) = words[(slot + clip) % 4];
            let start = 0.5 + slot as f32 * 0.8;
            let pitch = hz * (1.0 + 0.03 * (clip % 3) as f32);
            for i in 0..9_600 {
                let t = i as f32 / 16_000.0;
                let sweep = pitch * (1.0 + 0.3 * t);
                audio[(start * 16_000.0) as usize + i] = (std::f32::consts::TAU * sweep * t).sin() * 0.3;
            }
            times.push(format!("[\"{text}\", {start}, {}, \"{phones}\"]", start + 0.6));
        }
        cache.add(format!("tiny/{clip}.wav"), &audio);
        lines.push(format!(
            "{{\"file\": \"{clip}.wav\", \"speaker\": \"s{}\", \"split\": \"train\", \"seconds\": 4.0, \"text\": \"\", \"words\": [{}]}}",
            clip % 3,
            times.join(", ")
        ));
    }
    let entries = lines.iter().map(|l| serde_json::from_str(l).expect("a manifest line")).collect();
    let corpus = Corpus { name: "tiny".into(), folder: Path::new(".").into(), entries };
    (Box::leak(Box::new(cache)), corpus)
}
