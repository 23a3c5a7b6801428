//! A made-up language of tones: enough to see whether the training loop learns.

use std::f32::consts::TAU;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kws_live::text::{Phone, parse_phones};
use kws_train::data::{AugmentConfig, BatchConfig, Cache, Corpus, Entry, RATE, Word};
use kws_train::fit::{FitArgs, FitConfig};
use kws_train::model::LossConfig;
use kws_train::net::{StreamConfig, TextConfig};
use kws_train::optim::OptimConfig;
use tch::Device;

/// Words and their phones; every phone has a tone of its own.
pub const WORDS: [(&str, &str); 6] =
    [("amo", "AA M OW"), ("bis", "B IH S"), ("kel", "K EH L"), ("mob", "M AA B"), ("sik", "S IH K"), ("lem", "L EH M")];

/// Seconds a phone sounds.
const LENGTH: f32 = 0.12;

fn tone(phone: Phone, speaker: usize, out: &mut Vec<f32>) {
    let low = 250.0 + 90.0 * phone.id() as f32 + 15.0 * speaker as f32;
    let samples = (LENGTH * RATE) as usize;
    out.extend((0..samples).map(|i| {
        let t = i as f32 / RATE;
        let edge = (i.min(samples - i) as f32 / 160.0).min(1.0);
        0.2 * edge * ((TAU * low * t).sin() + 0.7 * (TAU * (2.7 * low + 400.0) * t).sin())
    }));
}

/// Recordings of four words each by four speakers, in memory.
pub fn corpus() -> (&'static Cache, Vec<Corpus>) {
    let mut cache = Cache::default();
    let mut entries = Vec::new();
    for number in 0..24_usize {
        let speaker = number % 4;
        let mut audio = vec![0.0; (0.1 * RATE) as usize];
        let mut words = Vec::new();
        for k in 0..4 {
            let (text, phones) = WORDS[(number * 5 + k * (1 + number / 6)) % WORDS.len()];
            let phones = parse_phones(phones).expect("ARPAbet");
            let start = audio.len() as f32 / RATE;
            for phone in &phones {
                tone(*phone, speaker, &mut audio);
            }
            words.push(Word { text: text.into(), start, end: audio.len() as f32 / RATE, phones });
            audio.resize(audio.len() + (0.08 * RATE) as usize, 0.0);
        }
        let text = words.iter().map(|w: &Word| w.text.as_str()).collect::<Vec<_>>().join(" ");
        let mut entry = Entry {
            text,
            file: format!("{number:02}.wav"),
            speaker: format!("s{speaker}"),
            split: "train".into(),
            seconds: audio.len() as f32 / RATE,
            ..Entry::default()
        };
        entry.set_words(&words);
        cache.add(format!("tones/{}", entry.file), &audio);
        entries.push(entry);
    }
    (Box::leak(Box::new(cache)), vec![Corpus { name: "tones".into(), folder: PathBuf::new(), entries }])
}

/// A network that trains in seconds.
pub fn config(steps: u64) -> FitConfig {
    FitConfig {
        steps,
        bf16: false,
        checkpoint_every: 1_000,
        stream: StreamConfig {
            width: 48,
            bottleneck: 24,
            dilations: vec![1, 2],
            ahead: vec![1],
            part_dim: 16,
            dim: 24,
            ..StreamConfig::default()
        },
        text: TextConfig { embed: 16, width: 32, part_dim: 16 },
        batch: BatchConfig { crops: 6, frames: 60, spans: 5, themes: 4, speechless: 0.0, ..BatchConfig::default() },
        augment: AugmentConfig {
            speed: [1.0, 1.0],
            measured_room: 0.0,
            simulated_room: 0.0,
            noise: 0.0,
            band_limit: 0.0,
            gain_db: [-3.0, 0.0],
            clip: 0.0,
            spec_mask: 0.0,
            ..AugmentConfig::default()
        },
        loss: LossConfig { ctc_only_steps: 10, ..LossConfig::default() },
        optim: OptimConfig { rate: 6e-3, ..OptimConfig::default() },
        ..FitConfig::default()
    }
}

/// Weights are drawn from libtorch's one generator: runs side by side would share its numbers out between them.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Keeps others from drawing weights while it lives.
pub fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `fit` up to step `until`, on one thread so that sums have one order.
pub fn fit(config: &FitConfig, out: &Path, until: Option<u64>) {
    let _alone = alone();
    tch::set_num_threads(1);
    let (cache, corpora) = corpus();
    std::fs::create_dir_all(out).expect("a folder");
    let args = FitArgs { config: PathBuf::new(), out: out.into(), init: None, until, device: "cpu".into(), threads: 1 };
    kws_train::fit::fit(config, cache, &corpora, &args, Device::Cpu).expect("training runs");
}

/// Rows of `metrics.csv`, without the speed, as numbers.
pub fn metrics(out: &Path) -> Vec<Vec<f64>> {
    let text = std::fs::read_to_string(out.join("metrics.csv")).expect("metrics");
    let row = |line: &str| {
        let mut row: Vec<f64> = line.split(',').map(|v| v.parse().expect("a number")).collect();
        row.pop();
        row
    };
    text.lines().skip(1).map(row).collect()
}
