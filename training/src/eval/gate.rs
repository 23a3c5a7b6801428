//! `kws-train eval gate`: what the gate costs in detections and what it saves.
//!
//! Each recording is heard between stretches of a room's tone, once with and once without the gate, at the model's own
//! threshold. Detections pair up when their keyword and place are the same to within [`NEAR`] seconds.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use kws_live::detect::Keyword;
use kws_live::enrol::Enroller;
use kws_live::model::{BackendChoice, Bundle};
use kws_live::spotter::{Detection, SpotterConfig};
use kws_live::text::KeywordSpec;

use super::calibrate::draw_words;
use super::disturb::Disturbed;
use super::recordings::{Half, each, hours, read};
use crate::data::RATE;

/// Compares listening with the gate and without it.
#[derive(Debug, clap::Args)]
pub struct GateArgs {
    /// Manifest folders or files.
    #[arg(required = true)]
    pub manifests: Vec<PathBuf>,
    /// Model bundle; the one inside the program if left out.
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Split to hear.
    #[arg(long, default_value = "dev")]
    pub split: String,
    /// Words drawn from the transcripts.
    #[arg(long, default_value_t = 50)]
    pub words: usize,
    /// Quiet before and behind each recording, seconds.
    #[arg(long, default_value_t = 8.0)]
    pub quiet: f32,
    /// Level of the quiet, dBFS.
    #[arg(long, default_value_t = -65.0, allow_hyphen_values = true)]
    pub quiet_db: f32,
    /// Noise over everything, quiet included, at this distance below the speech's mean power, dB.
    #[arg(long, allow_hyphen_values = true)]
    pub snr: Option<f32>,
    /// Data folder with the noise.
    #[arg(long, default_value = "../shared/data")]
    pub data: PathBuf,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
}

/// Detections whose starts and ends differ by less are the same, seconds.
const NEAR: f32 = 0.1;

/// What one recording gave.
#[derive(Debug, Default)]
struct Heard {
    hits: Vec<Detection>,
    samples: u64,
    rested: u64,
    seconds: f64,
}

/// Counts over all recordings.
#[derive(Debug, Default, PartialEq, Eq)]
struct Agreement {
    same: usize,
    only_without: usize,
    only_with: usize,
}

fn compare(without: &[Detection], with: &[Detection]) -> Agreement {
    let near = |a: u64, b: u64| (a as f32 - b as f32).abs() < NEAR * RATE;
    let mut open: Vec<&Detection> = with.iter().collect();
    let mut out = Agreement::default();
    for hit in without {
        let twin = open.iter().position(|o| o.name == hit.name && near(o.start, hit.start) && near(o.end, hit.end));
        match twin {
            Some(index) => {
                open.swap_remove(index);
                out.same += 1;
            }
            None => out.only_without += 1,
        }
    }
    out.only_with = open.len();
    out
}

/// White noise, always the same.
fn tone(length: usize, db: f32) -> impl Iterator<Item = f32> {
    // Uniform noise of peak 1 has a power of a third.
    let peak = 10_f32.powf(db / 20.0) * 3_f32.sqrt();
    let mut state = 7_u32;
    (0..length).map(move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * peak
    })
}

/// Runs the command.
///
/// # Errors
/// If recordings or model cannot be used.
pub fn run(args: &GateArgs) -> Result<()> {
    let bundle = args.model.as_deref().map_or_else(Bundle::embedded, Bundle::load)?;
    let recordings = read(&args.manifests, &args.split, Half::All)?;
    let words = draw_words(&recordings, args.words);
    let mut enroller = Enroller::new(&bundle, BackendChoice::default())?;
    let keywords: Vec<Keyword> =
        words.iter().map(|w| Ok(enroller.text(&KeywordSpec::new(w))?)).collect::<Result<_>>()?;
    let around = args.snr.map_or(Ok(Disturbed::default()), |snr| Disturbed::noise(&args.data, &args.split, snr))?;
    let quiet = (args.quiet * RATE) as usize;
    let hear = |gate: bool| {
        let config = SpotterConfig { gate, ..SpotterConfig::default() };
        each(&bundle, &keywords, &config, &recordings, args.threads, |spotter, samples| {
            // Drawn by the length, the same in both passes.
            let mut sound = around.within(&samples.len().to_string(), samples, quiet);
            sound.iter_mut().zip(tone(samples.len() + 2 * quiet, args.quiet_db)).for_each(|(s, t)| *s += t);
            let (began, before) = (Instant::now(), spotter.rested());
            let mut hits = Vec::new();
            spotter.process(&sound, |hit| hits.push(hit.clone()))?;
            let rested = spotter.rested() - before;
            spotter.flush(|hit| hits.push(hit.clone()))?;
            Ok(Heard { hits, samples: sound.len() as u64, rested, seconds: began.elapsed().as_secs_f64() })
        })
    };
    let (without, with) = (hear(false)?, hear(true)?);
    let mut all = Agreement::default();
    for (a, b) in without.iter().zip(&with) {
        let one = compare(&a.hits, &b.hits);
        all.same += one.same;
        all.only_without += one.only_without;
        all.only_with += one.only_with;
    }
    let sum = |of: fn(&Heard) -> f64| with.iter().map(of).sum::<f64>();
    let cost: f64 = without.iter().map(|h| h.seconds).sum();
    log::info!(
        "{} recordings, {:.2} h and as much quiet as makes {:.2} h; {} words",
        recordings.len(),
        hours(&recordings),
        sum(|h| h.samples as f64) / f64::from(RATE) / 3600.0,
        words.len()
    );
    log::info!(
        "detections the same {}, only without the gate {}, only with it {}; rested {:.1} % of the time, {:.1} % of the cost",
        all.same,
        all.only_without,
        all.only_with,
        100.0 * sum(|h| h.rested as f64) / sum(|h| h.samples as f64),
        100.0 * sum(|h| h.seconds) / cost
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kws_live::spotter::KeywordId;

    #[test]
    fn detections_pair_up_once_each() {
        let hit = |name: &str, start: u64| Detection {
            keyword: KeywordId(0),
            name: name.into(),
            score: 0.9,
            start,
            end: start + 8_000,
            emitted: start + 9_000,
        };
        let without = [hit("a", 16_000), hit("a", 16_100), hit("b", 50_000)];
        let with = [hit("a", 15_500), hit("b", 58_000)];
        let found = compare(&without, &with);
        assert_eq!(found, Agreement { same: 1, only_without: 2, only_with: 1 });
    }
}
