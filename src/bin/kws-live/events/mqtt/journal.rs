//! Events that wait, in a file: a line each, whose first letter says how far it is.
//!
//! ```text
//! n {...}    new
//! s {...}    sent, perhaps: the end came before the broker had acknowledged it
//! d {...}    done
//! ```
//!
//! The letter is changed where it stands. That takes no room, so that a full disk cannot make an event that was sent look new.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Lines that are done may take so much of the file, besides as much as those that are not.
const DONE: u64 = 64 * 1024;

/// How far an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    New = b'n' as isize,
    Sent = b's' as isize,
    Done = b'd' as isize,
}

/// What an earlier run has left in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Oldest first, with whether they may have been sent.
    pub events: Vec<(String, bool)>,
    /// Where each of them stands.
    pub places: Vec<u64>,
    /// Lines that are no events: the last one may be cut off.
    pub broken: usize,
}

/// The file.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    file: File,
    /// Where the next line goes.
    end: u64,
    /// Bytes of lines that are done.
    done: u64,
    /// One program a folder; the system takes it back however that program ends.
    _lock: File,
}

impl Journal {
    /// Makes the folder if it is missing.
    pub fn open(folder: &Path) -> anyhow::Result<(Self, Left)> {
        let shown = folder.display();
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {shown}"))?;
        let lock = folder.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&lock);
        let lock = lock.with_context(|| format!("cannot write in the folder {shown}"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("{shown} is used by another kws-live; name another folder"),
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock {shown}")),
        }
        let file = File::options().create(true).truncate(false).read(true).write(true).open(folder.join("spool"));
        let mut file = file.with_context(|| format!("cannot write {}", folder.join("spool").display()))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", folder.join("spool").display()))?;
        Ok((Self { folder: folder.into(), file, end: bytes.len() as u64, done: 0, _lock: lock }, read(&bytes)))
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a new event, to the disk itself; says where it stands. After an error nothing of it is there.
    pub fn add(&mut self, text: &str) -> io::Result<u64> {
        let place = self.end;
        let written = self.put(place, line(text, State::New).as_bytes()).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.end += length(text);
                Ok(place)
            }
            Err(error) => {
                let _ = self.file.set_len(place);
                Err(error)
            }
        }
    }

    /// Takes note of how far an event is.
    pub fn mark(&mut self, place: u64, text: &str, state: State) -> io::Result<()> {
        if state == State::Done {
            self.done += length(text);
        }
        self.put(place, &[state as u8])
    }

    /// Whether somebody has deleted the file: what is written goes nowhere.
    pub fn is_gone(&self) -> bool {
        #[cfg(unix)]
        let links = |m: fs::Metadata| std::os::unix::fs::MetadataExt::nlink(&m);
        #[cfg(not(unix))]
        let links = |_| 1; // The system does not let it be deleted.
        self.file.metadata().is_ok_and(|m| links(m) == 0)
    }

    /// Whether lines that are done take too much room.
    pub fn is_long(&self) -> bool {
        self.done > DONE + (self.end - self.done.min(self.end))
    }

    /// Writes a file with these events alone; says where each stands. After an error the old file is still there.
    pub fn rewrite<'a>(&mut self, events: impl Iterator<Item = (&'a str, bool)>) -> io::Result<Vec<u64>> {
        let (mut text, mut places) = (String::new(), Vec::new());
        for (event, sent) in events {
            places.push(text.len() as u64);
            text += &line(event, if sent { State::Sent } else { State::New });
        }
        let part = self.folder.join("spool.part");
        let written = fresh(&part, text.as_bytes()).and_then(|file| {
            fs::rename(&part, self.folder.join("spool"))?;
            Ok(file)
        });
        match written {
            Ok(file) => {
                (self.file, self.end, self.done) = (file, text.len() as u64, 0);
                Ok(places)
            }
            Err(error) => {
                let _ = fs::remove_file(part);
                Err(error)
            }
        }
    }

    fn put(&mut self, place: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(place))?;
        self.file.write_all(bytes)
    }
}

fn fresh(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    Ok(file)
}

fn line(text: &str, state: State) -> String {
    format!("{} {text}\n", char::from(state as u8))
}

fn length(text: &str) -> u64 {
    text.len() as u64 + 3
}

fn read(bytes: &[u8]) -> Left {
    let mut left = Left::default();
    let mut next = 0;
    for line in bytes.split(|b| *b == b'\n') {
        let place = next;
        next += line.len() as u64 + 1;
        if line.is_empty() {
            continue;
        }
        let text = line.get(2..).and_then(|text| std::str::from_utf8(text).ok());
        let event =
            text.filter(|t| serde_json::from_str::<serde_json::Map<_, _>>(t).is_ok_and(|m| m.contains_key("id")));
        match (line.get(..2), event) {
            (Some(b"d "), _) => {}
            (Some(state @ (b"n " | b"s ")), Some(text)) => {
                left.events.push((text.to_owned(), state == b"s "));
                left.places.push(place);
            }
            _ => left.broken += 1,
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: usize) -> String {
        format!("{{\"id\":\"{id}\"}}")
    }

    #[test]
    fn what_is_not_done_is_there_after_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("new");
        let (mut journal, left) = Journal::open(&dir).expect("a journal");
        assert_eq!(left, Left::default());
        let places: Vec<u64> = (0..4).map(|i| journal.add(&event(i)).expect("room")).collect();
        journal.mark(places[0], &event(0), State::Sent).expect("it is there");
        journal.mark(places[0], &event(0), State::Done).expect("it is there");
        journal.mark(places[1], &event(1), State::Sent).expect("it is there");
        drop(journal);
        // Cut off in the middle of a line.
        let mut file = File::options().append(true).open(dir.join("spool")).expect("it is there");
        file.write_all(b"n {\"id\":\"9").expect("room");
        drop(file);
        let (mut journal, left) = Journal::open(&dir).expect("a journal");
        let events = vec![(event(1), true), (event(2), false), (event(3), false)];
        assert_eq!((&left.events, &left.places[..], left.broken), (&events, &places[1..], 1));
        let places = journal.rewrite(left.events.iter().skip(1).map(|(t, s)| (t.as_str(), *s))).expect("room");
        journal.add(&event(10)).expect("room");
        journal.mark(places[0], &event(2), State::Done).expect("it is there");
        drop(journal);
        let (_, left) = Journal::open(&dir).expect("a journal");
        assert_eq!((left.events, left.broken), (vec![(event(3), false), (event(10), false)], 0));
    }

    #[test]
    fn two_programs_do_not_share_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Journal::open(folder.path()).expect("a journal");
        let error = format!("{:#}", Journal::open(folder.path()).expect_err("it is locked"));
        assert!(error.contains("another kws-live"), "{error}");
        drop(first);
        assert!(Journal::open(folder.path()).is_ok());
    }

    #[test]
    fn any_bytes_can_be_read() {
        let left = read(b"n {\"id\":1}\nx {\"id\":1}\nn [1]\nn {}\n\n\xff\xff\xff\nn\ns \nd \n");
        assert_eq!(left, Left { events: vec![("{\"id\":1}".to_owned(), false)], places: vec![0], broken: 6 });
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut journal, _) = Journal::open(folder.path()).expect("a journal");
        let long = format!("{{\"id\":\"{}\"}}", "x".repeat(1_000));
        let mut most = 0;
        for _ in 0..200 {
            let place = journal.add(&long).expect("room");
            journal.mark(place, &long, State::Done).expect("it is there");
            if journal.is_long() {
                journal.rewrite(std::iter::empty()).expect("room");
            }
            most = most.max(journal.end);
        }
        assert!(most < 2 * DONE, "{most}");
    }
}
