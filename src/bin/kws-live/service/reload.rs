//! New keywords for a stream that goes on: by SIGHUP, or because a file has changed.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use kws_live::detect::Keyword;

use super::config;
use super::notify::Notifier;
use crate::args::LiveArgs;
use crate::cmd::listen::{Listening, Wanted};
use crate::output::note;

/// Time between two looks at the files. What is the same in two looks has been written to its end.
const LOOK: Duration = Duration::from_secs(1);

/// Reads the keywords again, all or none: whatever is wrong with a file, the old ones stay.
pub struct Reload {
    /// The command line, which still overrides the file.
    line: Vec<OsString>,
    /// What is in force.
    args: LiveArgs,
    replace: Replace,
    notifier: Notifier,
}

/// Listens for exactly these keywords from now on.
pub type Replace = Box<dyn Fn(Vec<Keyword>) -> anyhow::Result<()> + Send>;

impl Reload {
    /// Changes keywords through `replace` and tells it through `notifier`; `args` is what the program was started with.
    pub fn new(line: Vec<OsString>, args: &LiveArgs, replace: Replace, notifier: Notifier) -> Self {
        Self { line, args: args.clone(), replace, notifier }
    }

    /// Whether there is anything that could be read again.
    pub fn possible(args: &LiveArgs) -> bool {
        !files(args).is_empty()
    }

    /// Waits for signals and changes as long as the program runs.
    pub fn start(mut self, asked: Receiver<()>) -> anyhow::Result<()> {
        let work = move || {
            let mut known = self.stamps();
            let mut before = known.clone();
            loop {
                let wanted = match asked.recv_timeout(LOOK) {
                    Ok(()) => true,
                    Err(RecvTimeoutError::Timeout) => false,
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                let now = self.stamps();
                let changed = now != known && now == before;
                before.clone_from(&now);
                if wanted || changed {
                    self.notifier.reloading();
                    self.read();
                    self.notifier.reloaded();
                    // Those of other files, if the configuration names others now.
                    known = self.stamps();
                    before.clone_from(&known);
                }
            }
        };
        std::thread::Builder::new().name("kws-reload".into()).spawn(work).context("cannot watch the files")?;
        Ok(())
    }

    fn stamps(&self) -> Vec<Option<(u64, Option<SystemTime>)>> {
        files(&self.args).iter().map(|file| stamp(file)).collect()
    }

    fn read(&mut self) {
        match self.replace() {
            Ok(line) => note(&format!("kws-live: {line}")),
            Err(error) => {
                let why = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
                note(&format!("kws-live: keywords not reloaded, the old ones stay: {why}"));
            }
        }
    }

    /// The model is loaded for this once more and dropped: memory that is needed once a month is not held.
    fn replace(&mut self) -> anyhow::Result<String> {
        let new = config::load(&self.line)?.live;
        let wanted = Wanted::read(&new.keywords)?.some()?;
        let keywords = Listening::load(&self.args.model, &wanted)?.keywords;
        let names = keywords.iter().map(|k| k.name.as_str()).collect::<Vec<_>>().join(", ");
        (self.replace)(keywords)?;
        // Everything else is as it was at the start.
        let sharpness = (self.args.keywords.sensitivity, self.args.keywords.threshold);
        let restart = LiveArgs { keywords: new.keywords.clone(), ..self.args.clone() } != new
            || sharpness != (new.keywords.sensitivity, new.keywords.threshold);
        self.args.keywords.keywords_file.clone_from(&new.keywords.keywords_file);
        let rest = if restart { "; other changes need a restart" } else { "" };
        Ok(format!("keywords reloaded: {names}{rest}"))
    }
}

/// The files that are watched.
fn files(args: &LiveArgs) -> Vec<PathBuf> {
    args.service.config.iter().chain(&args.keywords.keywords_file).cloned().collect()
}

/// What changes with a file.
fn stamp(file: &Path) -> Option<(u64, Option<SystemTime>)> {
    let meta = fs::metadata(file).ok()?;
    Some((meta.len(), meta.modified().ok()))
}
