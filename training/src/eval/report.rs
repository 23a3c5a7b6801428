//! `kws-train eval report`: every measure on the development sets, as one page for people and one file for programs.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use kws_live::model::{Backend, Bundle};
use serde::Serialize;

use super::phrases::{self, PhrasesArgs, PhrasesReport};
use super::queries::{self, QueriesReport};
use super::recordings::Half;
use super::terms::{self, Terms, TermsArgs, TermsReport};
use super::wake::{self, Miss, RATES, WakeArgs, WakeReport};
use super::windows::{self, Rate, WindowsArgs, WindowsReport};
use super::{keywords, words};

/// All figures of a model.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// Model bundle; the one inside the program if left out.
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Folder for report.md, report.json and the plots.
    #[arg(long)]
    pub out: PathBuf,
    /// Data folder.
    #[arg(long, default_value = "../shared/data")]
    pub data: PathBuf,
    /// Folders that were trained on besides, as runs/synth: their words are known too.
    #[arg(long)]
    pub extra: Vec<PathBuf>,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
}

/// Signal-to-noise ratios at which wake words are heard again, dB.
const SNR: [f32; 3] = [20.0, 10.0, 0.0];
/// Levels of all recordings at which wake words are measured, dB of full scale.
const LEVELS: [f32; 2] = [-60.0, -70.0];
/// Words that are said alone in clips of short-words/dev.
const SHORT: &str = "happy,open,close,print,bed,cat";

/// Everything, as report.json has it.
#[derive(Debug, Serialize)]
struct Report {
    model: String,
    words: words::Report,
    phrases: PhrasesReport,
    terms: TermsReport,
    /// The same with spoken examples.
    queries: QueriesReport,
    short: keywords::Report,
    wake: WakeReport,
    /// Words drawn from the half of the speakers that calibration did not see, in their speech: other words in part.
    wake_half_b: WakeReport,
    windows: WindowsReport,
    /// Wake words in noise, by signal-to-noise ratio in dB, and in rooms.
    disturbed: Vec<(String, WakeReport)>,
}

/// Runs the command.
///
/// # Errors
/// The first measure that cannot be taken.
pub fn run(args: &ReportArgs) -> Result<()> {
    let name = args.model.as_deref().map_or_else(Bundle::embedded, Bundle::load)?.manifest.name;
    fs::create_dir_all(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    let (model, data, threads) = (args.model.clone(), args.data.clone(), args.threads);
    let corpus = |name: &str| data.join(name);
    let said = |what: &str| log::info!("{what} ...");
    said("words");
    let words = words::measure(&words::WordsArgs {
        model: model.clone(),
        data: data.clone(),
        extra: args.extra.clone(),
        corpus: "librispeech-dev".into(),
        out: args.out.clone(),
        backend: Backend::Tract,
        min_seconds: 0.5,
        max_seconds: 2.0,
        every: 1,
    })?;
    said("phrases");
    let phrases = phrases::measure(&PhrasesArgs {
        manifests: vec![corpus("librispeech-dev")],
        model: model.clone(),
        split: "dev".into(),
        clips: 400,
        threads,
    })?;
    said("terms");
    let term_args = TermsArgs {
        manifests: vec![corpus("librispeech-dev")],
        list: data.join("std/librispeech_dev_keywords.txt"),
        model: model.clone(),
        split: "dev".into(),
        threads,
    };
    let terms = terms::measure(&term_args)?;
    said("queries");
    let queries = queries::measure(&term_args)?;
    said("short words");
    let short = keywords::measure(&keywords::KeywordsArgs {
        manifests: vec![corpus("short-words")],
        keywords: SHORT.into(),
        model: model.clone(),
        split: "dev".into(),
        half: Half::All,
        out: Some(args.out.clone()),
        threads,
    })?;
    said("wake words");
    let wake_args = WakeArgs {
        data: data.clone(),
        model: model.clone(),
        words: 30,
        extra: "operator,onword,wildfire,voyager".into(),
        split: "dev".into(),
        half: Half::All,
        snr: None,
        room: false,
        level: None,
        threads,
    };
    let wake = wake::measure(&wake_args)?;
    let wake_half_b = wake::measure(&WakeArgs { half: Half::B, ..wake_args.clone() })?;
    let mut disturbed = Vec::new();
    for snr in SNR {
        said(&format!("wake words, noise at {snr} dB"));
        let heard = wake::measure(&WakeArgs { snr: Some(snr), ..wake_args.clone() })?;
        disturbed.push((format!("noise at {snr} dB"), heard));
    }
    said("wake words, rooms");
    disturbed.push(("measured rooms".into(), wake::measure(&WakeArgs { room: true, ..wake_args.clone() })?));
    for level in LEVELS {
        said(&format!("wake words, recordings at {level} dB"));
        let heard = wake::measure(&WakeArgs { level: Some(level), ..wake_args.clone() })?;
        disturbed.push((format!("every recording at {level} dB of full scale"), heard));
    }
    said("windows");
    let windows = windows::measure(&WindowsArgs {
        data: data.clone(),
        extra: args.extra.clone(),
        corpus: "librispeech-dev".into(),
        model,
        words: 200,
        every: 1,
        threads,
    })?;
    let report = Report { model: name, words, phrases, terms, queries, short, wake, wake_half_b, windows, disturbed };
    fs::write(args.out.join("report.json"), serde_json::to_string(&report)?)?;
    let page = page(&report);
    fs::write(args.out.join("report.md"), &page)?;
    log::info!("{}", args.out.join("report.md").display());
    Ok(())
}

fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

/// A share with its interval and counts.
fn miss(m: &Miss) -> String {
    format!("{} ({}-{}, {} of {})", percent(m.rate), percent(m.interval.0), percent(m.interval.1), m.missed, m.places)
}

fn rate(rate: Option<&Rate>) -> String {
    rate.map_or_else(|| "-".into(), |r| format!("{} ({} with the word)", percent(r.eer), r.positives))
}

/// Rows of misses at every rate.
fn misses(out: &mut String, name: &str, rates: impl Iterator<Item = String>) {
    let cells: Vec<String> = rates.collect();
    let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
}

/// The table of spoken term detection.
fn term_rows(terms: &TermsReport, queries: &QueriesReport) -> String {
    let mut rows = vec![
        "`kws-train eval terms`; term-weighted value, beta 999.9, a hit within 0.5 s. Live: every score by itself. Search: decided".to_owned(),
        "for each keyword over all recordings, where common words compete with the keywords, as `scan --search` does. By".into(),
        "example (`kws-train eval queries`): each word cut out of".into(),
        "what half A of the speakers say, looked for in what half B says; beside it the same words typed.\n".into(),
        "| list | said, places, hours | MTWV | ATWV at 0.5 | OTWV |\n|---|---|---|---|---|".into(),
    ];
    let row = |name: &str, t: &Terms| {
        let (mtwv, atwv, otwv) = (t.mtwv, t.atwv, t.otwv);
        format!("| {name} | {}, {}, {:.2} | {mtwv:.3} | {atwv:.3} | {otwv:.3} |", t.keywords, t.places, t.hours)
    };
    let lists = [
        ("one word", Some(&terms.one_word)),
        ("phrases", terms.phrases.as_ref()),
        ("by one example", Some(&queries.example)),
        ("by one example and the text", Some(&queries.both)),
        ("those words typed", Some(&queries.typed)),
    ];
    for (name, list) in lists {
        let Some(list) = list else { continue };
        rows.push(row(&format!("{name}, live"), &list.live));
        rows.push(row(&format!("{name}, search"), &list.search));
    }
    rows.join("\n")
}

/// The page.
fn page(report: &Report) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!("# Development figures of `{}`\n", report.model));
    line("`kws-train eval report --model models/NAME --out DIR`. Real recordings of people who are not in the training set;".into());
    line("typed text alone; percentages. Half of the speakers calibrated fusion and threshold, and these words were looked".into());
    line("at while the program was made: development figures, rather too good.\n".into());

    let w = &report.words;
    line(format!("## Word discrimination (librispeech-dev, {} segments of 0.5-2 s)\n", w.segments));
    line("`kws-train eval words`; average precision, positive pairs in brackets. By words: all words of the lexicon compete, and two".into());
    line("segments are as alike as the words that they may be (mean of that and of the cosine).\n".into());
    line("| view | known words | unknown words |\n|---|---|---|".into());
    for (name, v) in w.views() {
        line(format!("| {name} | {:.1} ({}) | {:.1} ({}) |", v.iv.ap, v.iv.positives, v.oov.ap, v.oov.positives));
    }

    line("\n## Phrases against near texts (LibriPhrase-style, librispeech-dev)\n".into());
    line("`kws-train eval phrases`; clips at aligned borders, the spotter's highest score. The official list is not used.\n".into());
    line(
        "| clips | texts | EER | AUC | true positives at 1 % | right, wrong pairs |\n|---|---|---|---|---|---|".into(),
    );
    for (length, kinds) in &report.phrases {
        for (kind, c) in kinds {
            let tpr = percent(c.tpr_at_1_percent);
            let pairs = format!("{}, {}", c.positives, c.negatives);
            line(format!("| {length} | {kind} | {} | {} | {tpr} | {pairs} |", percent(c.eer), percent(c.auc)));
        }
    }

    line("\n## Spoken term detection (librispeech-dev)\n".into());
    line(term_rows(&report.terms, &report.queries));

    let s = &report.short;
    line(format!("\n## One word a clip (short-words/dev, {} clips, {:.2} h)\n", s.recordings, s.hours));
    line("`kws-train eval keywords`; EER against all other clips.\n".into());
    line("| word | clips | found at 0.5 | false alarms | EER |\n|---|---|---|---|---|".into());
    for r in &s.rows {
        line(format!("| {} | {} | {} | {} | {} |", r.keyword, r.places, r.found, r.alarms, percent(r.eer)));
    }
    line(format!("\nMean EER {}.", percent(s.mean_eer)));
    if let Some(accuracy) = s.accuracy {
        line(format!(
            "Of {} clips of one of these words, the right one scores highest in {}.",
            s.accuracy_clips,
            percent(accuracy)
        ));
    }
    if let (Some(median), Some(p90)) = (s.latency_ms_median, s.latency_ms_p90) {
        line(format!("Detections come {median:.0} ms (median) and {p90:.0} ms (p90) behind the word's labelled end."));
    }

    let k = &report.wake;
    line(format!(
        "\n## Wake words ({} words, {} recordings, {:.2} h with music, noise and other languages)\n",
        k.words.len(),
        k.recordings,
        k.hours
    ));
    line("`kws-train eval wake`; misses at so many false alarms an hour and word. Rates under one an hour rest on four hours.\n".into());
    let head: Vec<String> = RATES.iter().map(|r| format!("{r} FA/h")).collect();
    line(format!("| | {} |\n|---|{}", head.join(" | "), "---|".repeat(RATES.len())));
    misses(&mut out, "mean, a threshold a word", k.mean_miss.iter().map(|m| percent(*m)));
    misses(&mut out, "one threshold for all (95 % interval)", k.common_miss.iter().map(miss));
    misses(&mut out, "half B of the speakers, words drawn from them", report.wake_half_b.common_miss.iter().map(miss));
    for (name, heard) in &report.disturbed {
        misses(&mut out, &format!("{name}, one threshold"), heard.common_miss.iter().map(|m| percent(m.rate)));
    }
    out.push_str("\n| word | said | found at 0.5 | false alarms an hour at 0.5 |\n|---|---|---|---|\n");
    for w in &k.words {
        let _ = writeln!(out, "| {} | {} | {} | {:.2} |", w.word, w.miss[0].places, w.found, w.alarms_per_hour);
    }
    out.push_str("\nWho is missed at one false alarm an hour and word:\n\n| speakers | missed |\n|---|---|\n");
    for (group, m) in &k.groups {
        let _ = writeln!(out, "| {group} | {} |", miss(m));
    }

    let v = &report.windows;
    let _ = writeln!(out, "\n## The paper's protocol: fixed windows over running speech (librispeech-dev)\n");
    let _ = writeln!(
        out,
        "`kws-train eval windows`; EER over windows, {} known and {} unknown words.\n",
        v.keywords.0, v.keywords.1
    );
    out.push_str("| windows | known words | unknown words |\n|---|---|---|\n");
    for (length, (known, unknown)) in &v.fixed {
        let _ = writeln!(out, "| {length} s | {} | {} |", rate(known.as_ref()), rate(unknown.as_ref()));
    }
    let _ =
        writeln!(out, "| the live scorer, recordings | {} | {} |", rate(v.live.0.as_ref()), rate(v.live.1.as_ref()));
    out
}
