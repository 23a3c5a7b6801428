//! `scan`: keywords in recordings, several files at once, results in the order of the files.

mod search;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::{bail, ensure};
use kws_live::audio::{FileSource, Pace};
use kws_live::engine::{EngineError, Pipeline};
use kws_live::search::LEAST;
use kws_live::spotter::{Detection, Spotter, SpotterConfig};

use self::search::Search;
use super::listen::{Listening, Wanted};
use crate::args::ScanArgs;
use crate::output::{Record, note, print};

/// Encoder frames a run of the encoder: long runs are cheap ones, and nobody waits for the first.
const CHUNK_FRAMES: usize = 100;

/// What one file gave.
struct Scanned {
    file: String,
    hits: Vec<Detection>,
    /// The highest score of every keyword, if wanted.
    best: Vec<Record>,
    /// Its length, samples at 16 kHz.
    samples: u64,
}

/// Most files at once for each core.
const MOST_JOBS: usize = 4;

/// How the recordings in a folder are told from other files.
const EXTENSIONS: [&str; 7] = ["wav", "flac", "ogg", "oga", "opus", "mp3", "wave"];

/// What is to be scanned.
#[derive(Debug, Default, PartialEq)]
struct Recordings {
    files: Vec<PathBuf>,
    /// Folders that could not be listed or have none, each of which has been told.
    empty: usize,
}

impl Recordings {
    /// The files as given, and for a folder all recordings in it and below it, by name.
    fn find(given: &[PathBuf]) -> anyhow::Result<Self> {
        let mut all = Self::default();
        for path in given {
            if path.is_dir() {
                let before = (all.files.len(), all.empty);
                all.below(path);
                if (all.files.len(), all.empty) == before {
                    let kinds = EXTENSIONS.join(", ");
                    let why =
                        format!("no recording in this folder or below it ({kinds}; links to folders are not followed)");
                    note(&format!("kws-live: {}: {why}", path.display()));
                    all.empty += 1;
                }
            } else {
                ensure!(
                    path.as_os_str() != "-" || path.exists(),
                    "scan reads files; raw sound on standard input is for the live mode: kws-live --input -"
                );
                all.files.push(path.clone());
            }
        }
        ensure!(!all.files.is_empty(), "there is no recording in what was named");
        Ok(all)
    }

    fn below(&mut self, folder: &Path) {
        let mut entries: Vec<fs::DirEntry> = match fs::read_dir(folder).and_then(Iterator::collect) {
            Ok(entries) => entries,
            Err(error) => {
                self.empty += 1;
                note(&format!("kws-live: {}: cannot list it: {error}", folder.display()));
                return;
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let known = |e: &OsStr| EXTENSIONS.iter().any(|k| e.eq_ignore_ascii_case(k));
            let link = entry.file_type().is_ok_and(|t| t.is_symlink());
            // A link to a folder may lead back up: only folders themselves are followed.
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                self.below(&path);
            } else if link && path.is_dir() {
                note(&format!("kws-live: {}: a link to a folder is not followed; name that folder", path.display()));
            } else if path.extension().is_some_and(known) && (path.is_file() || link && !path.exists()) {
                // A link to nothing is told when it cannot be read.
                self.files.push(path);
            }
        }
    }
}

pub fn run(args: &ScanArgs) -> anyhow::Result<bool> {
    // What is damaged in a recording is told on stderr.
    super::live::log_to(None, false)?;
    let wanted = Wanted::read(&args.keywords)?.some()?;
    let Recordings { files, empty } = Recordings::find(&args.files)?;
    let load = if args.search { Listening::for_search } else { Listening::load };
    let listening = load(&args.model, &wanted)?;
    let config = SpotterConfig {
        choice: args.model.choice(),
        sensitivity: args.keywords.sensitivity,
        // A search decides later, over all that it heard.
        threshold: if args.search { Some(LEAST) } else { args.keywords.threshold },
        chunk_frames: CHUNK_FRAMES,
        rivals: args.search,
        ..SpotterConfig::default()
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    // More would only take memory.
    let jobs = args.jobs.map_or(cores, |jobs| usize::from(jobs).min(MOST_JOBS * cores));
    let mut spotters = Vec::new();
    for _ in 0..jobs.min(files.len()) {
        let mut spotter = Spotter::new(&listening.bundle, config.clone())?;
        spotter.set_keywords(listening.keywords.iter().cloned());
        spotters.push(spotter);
    }
    for keyword in &listening.keywords {
        note(&format!("{}: {}", keyword.name, keyword.said()));
    }
    let search = args.search.then(|| {
        let names = listening.keywords.iter().map(|k| k.name.clone()).collect();
        Search::new(names, listening.bundle.manifest.scorer.contested(), args.keywords.sensitivity)
    });
    // What a scan does not need any more: text tower, lexicon, the files of the bundle.
    drop(listening);
    let line = |record: &Record| if args.json { record.json() } else { record.human() };
    let mut found = Found { search, detected: false };
    let outcome =
        scan(args, &files, spotters, |scanned| print(&found.take(scanned).iter().map(line).collect::<String>()));
    let failed = outcome?;
    if let Some(search) = found.search {
        let records = search.found();
        found.detected = !records.is_empty();
        print(&records.iter().map(line).collect::<String>())?;
    }
    // A single one's error has been told already, but the status must tell it too.
    match (failed, empty) {
        (0, 0) => Ok(found.detected),
        (n, 0) => bail!("{n} of {} files could not be scanned", files.len()),
        (0, n) => bail!("folders that gave no recording: {n}"),
        (n, m) => bail!("{n} of {} files could not be scanned; folders that gave no recording: {m}", files.len()),
    }
}

/// What has been found so far.
struct Found {
    search: Option<Search>,
    detected: bool,
}

impl Found {
    /// Takes what a file gave; returns what can be shown at once.
    fn take(&mut self, scanned: Scanned) -> Vec<Record> {
        if let Some(search) = &mut self.search {
            search.add(&scanned.file, scanned.hits, scanned.samples);
            return Vec::new();
        }
        self.detected |= !scanned.hits.is_empty();
        if scanned.best.is_empty() {
            scanned.hits.iter().map(|hit| Record::detection(hit, Some(&scanned.file))).collect()
        } else {
            scanned.best
        }
    }
}

/// Spreads the files over the spotters, one thread each, and hands on what they gave in the order of the files, also before they
/// failed, until `take` says that nobody wants it any more. Returns how many failed.
fn scan(
    args: &ScanArgs,
    files: &[PathBuf],
    spotters: Vec<Spotter>,
    mut take: impl FnMut(Scanned) -> std::io::Result<bool>,
) -> anyhow::Result<usize> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let (give, results) = crossbeam_channel::bounded(2 * spotters.len());
    thread::scope(|scope| {
        for mut spotter in spotters {
            let (next, stop, give) = (&next, &stop, give.clone());
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(file) = files.get(index) else { break };
                    let (scanned, outcome);
                    (spotter, scanned, outcome) = one(spotter, file, args);
                    if give.send((index, (scanned, outcome))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(give);
        let mut waiting = BTreeMap::new();
        let (mut turn, mut failed) = (0, 0);
        for (index, outcome) in results {
            waiting.insert(index, outcome);
            while let Some((scanned, outcome)) = waiting.remove(&turn) {
                turn += 1;
                if let Some(scanned) = scanned
                    && !take(scanned)?
                {
                    // Nobody reads any more. The threads end with the file that they are at.
                    stop.store(true, Ordering::Relaxed);
                    return Ok(failed);
                }
                if let Err(error) = outcome {
                    failed += 1;
                    note(&format!("kws-live: {}", error.to_string().replace('\n', " ")));
                }
            }
        }
        Ok(failed)
    })
}

/// Scans one file; gives the spotter back, also after a failure, and what came before that.
fn one(mut spotter: Spotter, file: &Path, args: &ScanArgs) -> (Spotter, Option<Scanned>, Result<(), EngineError>) {
    spotter.reset();
    let source = match FileSource::open(file, Pace::FlatOut) {
        Ok(source) => Box::new(source),
        Err(error) => return (spotter, None, Err(error.into())),
    };
    let mut pipeline = match Pipeline::new(source, spotter) {
        Ok(pipeline) => pipeline,
        Err((error, spotter)) => return (*spotter, None, Err(error.into())),
    };
    let mut scanned = Scanned { file: file.display().to_string(), hits: Vec::new(), best: Vec::new(), samples: 0 };
    let outcome = pipeline.run(|hit| scanned.hits.push(hit.clone()));
    scanned.samples = pipeline.spotter().position();
    if args.best {
        let best = pipeline.spotter().keywords().map(|status| {
            let (score, span) = status.best.map_or((0.0, (0, 0)), |b| (b.score, (b.start, b.end)));
            Record::new("best", &status.keyword.name, score, span, Some(&scanned.file))
        });
        scanned.best = best.collect();
    }
    (pipeline.into_spotter(), Some(scanned), outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_for_the_recordings_below_it() {
        let home = tempfile::tempdir().expect("a folder");
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at("b/c")).expect("room on the disk");
        for name in ["z.WAV", "a.txt", "b/c/x.opus", "b/y.flac"] {
            fs::write(at(name), b"").expect("room on the disk");
        }
        let given = [at("named.anything"), home.path().to_owned()];
        let want = [at("named.anything"), at("b/c/x.opus"), at("b/y.flac"), at("z.WAV")];
        assert_eq!(Recordings::find(&given).expect("readable"), Recordings { files: want.into(), empty: 0 });
        fs::create_dir(at("b/empty")).expect("room on the disk");
        let error = Recordings::find(&[at("b/empty")]).expect_err("nothing in it").to_string();
        assert!(error.contains("no recording"), "{error}");
    }
}
