//! `kws-train eval keywords`: the runtime spotter itself over recordings. What it finds at the model's own threshold, and how late, are its
//! detections; misses at other thresholds are counted by candidates, as `eval wake` does.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use kws_live::detect::Keyword;
use kws_live::enrol::Enroller;
use kws_live::model::{BackendChoice, Bundle};
use kws_live::spotter::{Detection, SpotterConfig, Trace};
use kws_live::text::parse_keywords;
use serde::Serialize;

use super::candidates::{Found, Frames, Judged, judge, settle, take, threshold_over};
use super::recordings::{Half, Recording, each, hits, hours, read};
use super::{plots, stats};

/// Scores text keywords over recordings: EER, accuracy, misses at false alarms an hour.
#[derive(Debug, clap::Args)]
pub struct KeywordsArgs {
    /// Manifest folders or manifest.jsonl files.
    #[arg(required = true)]
    pub manifests: Vec<PathBuf>,
    /// Keywords, as `kws-live --keywords` takes them.
    #[arg(long)]
    pub keywords: String,
    /// Model bundle; the one inside the program if left out.
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Split to score.
    #[arg(long, default_value = "dev")]
    pub split: String,
    /// Which half of the speakers.
    #[arg(long, value_enum, default_value_t = Half::All)]
    pub half: Half,
    /// Folder for keywords.json, det.svg and scores.svg.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
}

/// False alarms an hour at which misses are reported.
const RATES: [f64; 4] = [0.5, 1.0, 2.0, 10.0];
/// More of them are in no picture.
const MOST_ALARMS: f64 = 100.0;

/// What one keyword scored.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Its text.
    pub keyword: String,
    /// Places where it is said.
    pub places: usize,
    /// Recordings that hold the word.
    pub with: usize,
    /// Recordings that do not.
    pub without: usize,
    /// Equal error rate of the highest score of a recording.
    pub eer: f64,
    /// Found at the model's own threshold.
    pub found: usize,
    /// False alarms at the model's own threshold.
    pub alarms: usize,
    /// False alarms an hour at the model's own threshold.
    pub alarms_per_hour: f64,
    /// Miss rate at each of the reported rates.
    pub miss_at: BTreeMap<String, f64>,
}

/// The report.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How it was made.
    pub command: String,
    /// Recordings.
    pub recordings: usize,
    /// Audio, hours.
    pub hours: f64,
    /// Every keyword.
    pub rows: Vec<Row>,
    /// Mean over keywords with a place.
    pub mean_eer: f64,
    /// Mean over keywords with a place, at each of the reported rates.
    pub mean_miss_at: BTreeMap<String, f64>,
    /// Of recordings that are one keyword and nothing else, those whose keyword scores highest.
    pub accuracy: Option<f64>,
    /// Such recordings.
    pub accuracy_clips: usize,
    /// Emission behind the labelled end of the word, of what comes out before the recording ends.
    pub latency_ms_median: Option<f64>,
    /// Its 90th percentile.
    pub latency_ms_p90: Option<f64>,
}

/// Detections: start, end and emission, seconds; nothing is known of how late those would come that the end of the recording let out.
type Events = Vec<(f32, f32, Option<f32>)>;

/// What was heard in one recording.
struct Heard {
    /// Highest score of each keyword.
    best: Vec<f32>,
    /// Detections of each keyword.
    events: Vec<Events>,
}

/// Runs the command.
///
/// # Errors
/// If a keyword, a file or the model cannot be used.
pub fn run(args: &KeywordsArgs) -> Result<()> {
    print(&measure(args)?);
    Ok(())
}

/// Measures, and writes the files where a folder is given.
///
/// # Errors
/// As [`run`].
pub fn measure(args: &KeywordsArgs) -> Result<Report> {
    let bundle = args.model.as_deref().map_or_else(Bundle::embedded, Bundle::load)?;
    let mut enroller = Enroller::new(&bundle, BackendChoice::default())?;
    let specs = parse_keywords(&args.keywords)?;
    let keywords: Vec<Keyword> = specs.iter().map(|s| Ok(enroller.text(s)?)).collect::<Result<_>>()?;
    let recordings = read(&args.manifests, &args.split, args.half)?;
    let names: Vec<String> = specs.iter().map(|s| s.name.to_lowercase()).collect();
    let (heard, found) = listen(&bundle, &keywords, &recordings, args.threads)?;
    let judged = keywords.iter().enumerate().map(|(k, keyword)| judge(k, keyword, &recordings, &found));
    let curves: Vec<_> = judged.map(|judged| curve(&judged, hours(&recordings))).collect();
    let report = report(&names, &recordings, &heard, &curves);
    if let Some(out) = &args.out {
        fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
        fs::write(out.join("keywords.json"), serde_json::to_string_pretty(&report)?)?;
        plots::det(&out.join("det.svg"), &names.iter().cloned().zip(curves).collect::<Vec<_>>())?;
        let of = |said: bool| -> Vec<f32> {
            let pairs = names
                .iter()
                .enumerate()
                .flat_map(|(k, n)| recordings.iter().zip(&heard).map(move |(r, h)| (k, n, r, h)));
            pairs.filter(|(_, n, r, _)| r.places(n).is_empty() != said).map(|(k, _, _, h)| h.best[k]).collect()
        };
        plots::histogram(&out.join("scores.svg"), &of(true), &of(false))?;
    }
    Ok(report)
}

/// One pass in pieces, as a live stream comes: the emission time then means something. With the candidates of each recording.
fn listen(
    bundle: &Bundle,
    keywords: &[Keyword],
    recordings: &[Recording],
    threads: usize,
) -> Result<(Vec<Heard>, Vec<Found>)> {
    let heard = each(bundle, keywords, &SpotterConfig::default(), recordings, threads, |spotter, samples| {
        let ids: BTreeMap<_, _> = spotter.keywords().enumerate().map(|(i, s)| (s.id, i)).collect();
        let mut events = vec![Events::new(); keywords.len()];
        let mut note = |d: &Detection, ended: bool| {
            let seconds = |s: u64| s as f32 / crate::data::RATE;
            events[ids[&d.keyword]].push((seconds(d.start), seconds(d.end), (!ended).then(|| seconds(d.emitted))));
        };
        let mut frames = vec![Frames::new(); keywords.len()];
        let mut trace = |t: &Trace| take(&mut frames[t.keyword], t.heard.score, &t.heard);
        for piece in samples.chunks(480) {
            spotter.process_traced(piece, |d| note(d, false), &mut trace)?;
        }
        spotter.flush_traced(|d| note(d, true), &mut trace)?;
        let best = spotter.keywords().map(|s| s.best.map_or(0.0, |b| b.score)).collect();
        Ok((Heard { best, events }, settle(frames)))
    })?;
    Ok(heard.into_iter().unzip())
}

/// Places that keyword `k` was found at, and false alarms.
fn count(k: usize, name: &str, recordings: &[Recording], heard: &[Heard]) -> (usize, usize) {
    let (mut found, mut alarms) = (0, 0);
    for (recording, heard) in recordings.iter().zip(heard) {
        let events = &heard.events[k];
        let places = recording.places(name);
        found += places.iter().filter(|p| events.iter().any(|e| hits(e.0, e.1, **p))).count();
        alarms += events.iter().filter(|e| !places.iter().any(|p| hits(e.0, e.1, *p))).count();
    }
    (found, alarms)
}

/// Trade-off of a keyword over the thresholds: false alarms an hour, miss rate.
fn curve(judged: &Judged, hours: f64) -> Vec<(f64, f64)> {
    let mut alarms = judged.alarms.clone();
    alarms.sort_by(|a, b| b.total_cmp(a));
    let most = alarms.len().min((MOST_ALARMS * hours) as usize);
    let point = |n: usize| {
        let missed = judged.missed(threshold_over(&alarms, n));
        (n as f64 / hours, missed as f64 / judged.places.len().max(1) as f64)
    };
    (0..=most).map(point).collect()
}

fn report(names: &[String], recordings: &[Recording], heard: &[Heard], curves: &[Vec<(f64, f64)>]) -> Report {
    let hours = hours(recordings);
    let rows: Vec<Row> = names
        .iter()
        .enumerate()
        .map(|(k, name)| {
            let best = |said: bool| -> Vec<f32> {
                let of = recordings.iter().zip(heard).filter(|(r, _)| r.places(name).is_empty() != said);
                of.map(|(_, h)| h.best[k]).collect()
            };
            let (with, without) = (best(true), best(false));
            let places = recordings.iter().map(|r| r.places(name).len()).sum();
            let (found, alarms) = count(k, name, recordings, heard);
            Row {
                keyword: name.clone(),
                places,
                with: with.len(),
                without: without.len(),
                eer: stats::eer(&with, &without),
                found,
                alarms,
                alarms_per_hour: alarms as f64 / hours,
                miss_at: RATES.iter().map(|&r| (r.to_string(), stats::miss_at(&curves[k], r))).collect(),
            }
        })
        .collect();
    let said: Vec<&Row> = rows.iter().filter(|r| r.places > 0).collect();
    let mean = |of: &dyn Fn(&Row) -> f64| said.iter().map(|r| of(r)).sum::<f64>() / said.len().max(1) as f64;
    let mean_miss_at = RATES.iter().map(|r| (r.to_string(), mean(&|row| row.miss_at[&r.to_string()]))).collect();
    let clips: Vec<(usize, &Heard)> = recordings
        .iter()
        .zip(heard)
        .filter_map(|(r, h)| names.iter().position(|n| *n == r.text).map(|k| (k, h)))
        .collect();
    // Equal scores tell nothing apart.
    let wins = |k: usize, h: &Heard| h.best.iter().enumerate().all(|(other, b)| other == k || *b < h.best[k]);
    let right = clips.iter().filter(|(k, h)| wins(*k, h)).count();
    let mut late: Vec<f64> = Vec::new();
    for (k, name) in names.iter().enumerate() {
        for (recording, heard) in recordings.iter().zip(heard) {
            for place in recording.places(name) {
                let event = heard.events[k].iter().find(|e| hits(e.0, e.1, place));
                late.extend(event.and_then(|e| e.2).map(|emitted| f64::from(emitted - place.1) * 1000.0));
            }
        }
    }
    late.sort_by(f64::total_cmp);
    let at = |share: f64| late.get(((late.len() as f64 - 1.0) * share).round().max(0.0) as usize).copied();
    Report {
        command: std::env::args().collect::<Vec<_>>().join(" "),
        recordings: recordings.len(),
        hours,
        mean_eer: mean(&|r| r.eer),
        mean_miss_at,
        accuracy: (!clips.is_empty()).then(|| right as f64 / clips.len() as f64),
        accuracy_clips: clips.len(),
        latency_ms_median: at(0.5),
        latency_ms_p90: at(0.9),
        rows,
    }
}

fn print(report: &Report) {
    log::info!("{} recordings, {:.2} h", report.recordings, report.hours);
    log::info!(
        "{:<16} {:>6} {:>6} {:>7} {:>7} {:>7}  miss % at {RATES:?} FA/h",
        "keyword",
        "places",
        "found",
        "alarms",
        "FA/h",
        "EER %"
    );
    let percent = |m: &BTreeMap<String, f64>| {
        RATES.iter().map(|r| format!("{:5.1}", 100.0 * m[&r.to_string()])).collect::<Vec<_>>().join(" ")
    };
    for r in &report.rows {
        let misses = if r.places > 0 { percent(&r.miss_at) } else { "not said".into() };
        log::info!(
            "{:<16} {:>6} {:>6} {:>7} {:>7.2} {:>7.1}  {misses}",
            r.keyword,
            r.places,
            r.found,
            r.alarms,
            r.alarms_per_hour,
            100.0 * r.eer
        );
    }
    log::info!("mean EER {:.1} %, mean miss % {}", 100.0 * report.mean_eer, percent(&report.mean_miss_at));
    if let Some(accuracy) = report.accuracy {
        log::info!("accuracy {:.1} % of {} one-word recordings", 100.0 * accuracy, report.accuracy_clips);
    }
    if let (Some(median), Some(p90)) = (report.latency_ms_median, report.latency_ms_p90) {
        log::info!("latency behind the word's end: median {median:.0} ms, p90 {p90:.0} ms, in pieces of 30 ms");
    }
}
