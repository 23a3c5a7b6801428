//! New keywords for a stream that goes on: by SIGHUP, or because a file has changed.

use std::collections::BTreeMap;
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

/// The files that are watched, and what they were like before they were read: a change from then on is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files(BTreeMap<PathBuf, Stamp>);

/// What changes with a file; `None` while there is none.
type Stamp = Option<(u64, Option<SystemTime>)>;

impl Files {
    /// Those that `args` names, as they are now. To be asked before they are read.
    pub fn of(args: &LiveArgs) -> Self {
        Self(files(args).into_iter().map(|file| (file.clone(), stamp(&file))).collect())
    }

    /// The same files as they are now.
    fn again(&self) -> Self {
        Self(self.0.keys().map(|file| (file.clone(), stamp(file))).collect())
    }

    /// Watches the files of `args` and no others, new ones from now on.
    fn follow(&mut self, args: &LiveArgs) {
        let wanted = files(args);
        self.0.retain(|file, _| wanted.contains(file));
        for file in wanted {
            self.0.entry(file).or_insert_with_key(|file| stamp(file));
        }
    }
}

/// Reads the keywords again, all or none: whatever is wrong with a file, the old ones stay.
pub struct Reload {
    /// The command line, which still overrides the file.
    line: Vec<OsString>,
    /// What is in force.
    args: LiveArgs,
    /// As they were before they were read last.
    known: Files,
    replace: Replace,
    notifier: Notifier,
}

/// Listens for exactly these keywords from now on.
pub type Replace = Box<dyn Fn(Vec<Keyword>) -> anyhow::Result<()> + Send>;

impl Reload {
    /// Changes keywords through `replace` and tells it through `notifier`; `args` is what the program was started with, `known`
    /// what its files were like then.
    pub fn new(line: Vec<OsString>, args: &LiveArgs, known: Files, replace: Replace, notifier: Notifier) -> Self {
        Self { line, args: args.clone(), known, replace, notifier }
    }

    /// Whether there is anything that could be read again.
    pub fn possible(args: &LiveArgs) -> bool {
        !files(args).is_empty()
    }

    /// Waits for signals and changes as long as the program runs.
    pub fn start(mut self, asked: Receiver<()>) -> anyhow::Result<()> {
        let work = move || {
            let mut before = self.known.clone();
            loop {
                let wanted = match asked.recv_timeout(LOOK) {
                    Ok(()) => true,
                    Err(RecvTimeoutError::Timeout) => false,
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                let now = self.known.again();
                let changed = now != self.known && now == before;
                before.clone_from(&now);
                if wanted || changed {
                    self.notifier.reloading();
                    // What changes while they are read is read once more.
                    self.known = now;
                    self.read();
                    before.clone_from(&self.known);
                    self.notifier.reloaded();
                }
            }
        };
        std::thread::Builder::new().name("kws-reload".into()).spawn(work).context("cannot watch the files")?;
        Ok(())
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
        // It may name others now, which are watched also if they are broken: the next change may mend them.
        self.known.follow(&new);
        let wanted = Wanted::read(&new.keywords).and_then(Wanted::some);
        let listening = wanted.and_then(|wanted| Listening::load(&self.args.model, &wanted));
        let keywords = listening.map_err(|error| config::placed(error, &new, true))?.keywords;
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

fn stamp(file: &Path) -> Stamp {
    let meta = fs::metadata(file).ok()?;
    Some((meta.len(), meta.modified().ok()))
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{bounded, unbounded};

    use super::*;

    /// A program that was started with `hello`.
    struct Begun {
        config: PathBuf,
        /// A keyword file that the configuration may name later.
        words: PathBuf,
        line: Vec<OsString>,
        args: LiveArgs,
    }

    fn write(file: &Path, text: &str) {
        fs::write(file, text).expect("room on the disk");
    }

    fn begin(folder: &Path) -> Begun {
        let (config, words) = (folder.join("kws.toml"), folder.join("words.txt"));
        write(&config, "keywords = \"hello\"\n");
        let line = vec!["kws-live".into(), "--config".into(), config.clone().into()];
        let args = config::load(&line).expect("a good file").live;
        Begun { config, words, line, args }
    }

    #[test]
    fn a_change_before_it_watches_or_while_it_reads_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let Begun { config, words, line, args } = begin(folder.path());
        let known = Files::of(&args);
        // As if it were changed while the model is loaded.
        write(&words, "stop\n");
        write(&config, &format!("keywords-file = {words:?}\n"));
        let (give, got) = unbounded();
        let listed = words.clone();
        let replace: Replace = Box::new(move |keywords| {
            let names: Vec<String> = keywords.into_iter().map(|k| k.name).collect();
            if names == ["stop"] {
                // It was read and is not in force yet.
                fs::write(&listed, "go on\n")?;
            }
            Ok(give.send(names)?)
        });
        let (ask, asked) = bounded(1);
        Reload::new(line, &args, known, replace, Notifier::default()).start(asked).expect("a thread");
        let next = || got.recv_timeout(Duration::from_mins(1)).expect("they are read again");
        assert_eq!([next(), next()], [["stop"], ["go on"]]);
        // And then no more.
        assert!(got.recv_timeout(3 * LOOK).is_err());
        drop(ask);
    }

    #[test]
    fn a_file_that_is_named_while_it_is_broken_is_read_once_it_is_mended() {
        let folder = tempfile::tempdir().expect("a folder");
        let Begun { config, words, line, args } = begin(folder.path());
        let (give, got) = unbounded();
        let replace: Replace = Box::new(move |new| Ok(give.send(new.into_iter().map(|k| k.name).collect::<Vec<_>>())?));
        let known = Files::of(&args);
        write(&words, "stop,,\n");
        write(&config, &format!("keywords-file = {words:?}\n"));
        let (_ask, asked) = bounded(1);
        Reload::new(line, &args, known, replace, Notifier::default()).start(asked).expect("a thread");
        assert!(got.recv_timeout(5 * LOOK).is_err(), "it is broken");
        write(&words, "stop\n");
        assert_eq!(got.recv_timeout(Duration::from_mins(1)).expect("it is read again"), ["stop"]);
    }
}
