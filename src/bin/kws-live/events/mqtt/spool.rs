//! Events that wait for the broker, oldest first, in so many places and bytes; on the disk too, if that is wanted.
//!
//! An event stays until the broker has answered all copies of it. Those that are on their way are always the first ones.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use super::journal::{Journal, Left, State};

/// How long a disk that took nothing is left alone.
const PAUSE: Duration = Duration::from_mins(1);

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub events: usize,
    pub bytes: usize,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    /// An object, without the mark for duplicates.
    text: String,
    /// Perhaps: it was given to a connection, now or before.
    sent: bool,
    /// Copies that are not answered.
    open: usize,
    /// Whether the broker has taken one.
    taken: bool,
    /// In the journal.
    place: Option<u64>,
}

/// An event to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Due {
    /// By it the acknowledgements are told.
    pub number: u64,
    /// An object, with the mark.
    pub text: String,
    /// What the mark says.
    pub duplicate: bool,
}

/// The queue.
#[derive(Debug)]
pub struct Spool {
    entries: VecDeque<Entry>,
    /// How many of the first ones are on their way.
    flying: usize,
    bytes: usize,
    limit: Limit,
    next: u64,
    journal: Option<Journal>,
    /// Since when the disk takes nothing.
    failed: Option<Instant>,
}

impl Spool {
    /// In memory alone, or with a journal and what that has left; says how many of those are too many.
    pub fn new(limit: Limit, journal: Option<(Journal, Left)>) -> (Self, u64) {
        let (journal, left) = journal.map_or((None, Left::default()), |(journal, left)| (Some(journal), left));
        let mut spool = Self { entries: VecDeque::new(), flying: 0, bytes: 0, limit, next: 0, journal, failed: None };
        // Where they stand is known also if the disk has no room for another file.
        let events = left.events.into_iter().zip(left.places);
        let dropped = events.map(|((text, sent), place)| spool.put(text, sent, Some(place))).sum();
        // Also rid of what is done, and of a line that was cut off.
        spool.rewrite();
        (spool, dropped)
    }

    /// Events that wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether one more would cost one.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.limit.events || self.bytes >= self.limit.bytes
    }

    /// How many of them outlive the program.
    pub fn kept(&self) -> usize {
        self.entries.iter().filter(|e| e.place.is_some()).count()
    }

    /// Tries the disk once more, if it took nothing.
    pub fn keep(&mut self) {
        if self.failed.is_some() {
            self.rewrite();
        }
    }

    /// One more at the end, an object; says how many of the oldest had to go.
    pub fn push(&mut self, text: String) -> u64 {
        let mut place = None;
        let gone = self.failed.is_none() && self.journal.as_ref().is_some_and(Journal::is_gone);
        if gone || self.failed.is_some_and(|at| at.elapsed() >= PAUSE) {
            self.rewrite();
        }
        if self.failed.is_none() {
            let added = self.journal.as_mut().map(|journal| journal.add(&text)).transpose();
            place = self.checked(added).flatten();
        }
        let dropped = self.put(text, false, place);
        self.shorten();
        dropped
    }

    /// The next one to be sent; from now on it is on its way, in so many copies.
    pub fn send(&mut self, copies: usize) -> Option<Due> {
        let entry = self.entries.get_mut(self.flying)?;
        let duplicate = entry.sent;
        (entry.open, entry.taken) = (copies, false);
        entry.sent = true;
        self.flying += 1;
        let due = Due { number: entry.number, text: marked(&entry.text, duplicate), duplicate };
        if !duplicate {
            self.mark(self.flying - 1, State::Sent);
        }
        Some(due)
    }

    /// How many are on their way.
    pub fn flying(&self) -> usize {
        self.flying
    }

    /// The broker has taken one copy, or refused it. With the last one the event is done: says whether any was taken.
    pub fn answered(&mut self, number: u64, taken: bool) -> Option<bool> {
        let at = self.entries.iter().take(self.flying).position(|e| e.number == number)?;
        let entry = &mut self.entries[at];
        entry.open -= 1;
        entry.taken |= taken;
        let (open, taken) = (entry.open, entry.taken);
        if open > 0 {
            return None;
        }
        self.take(at);
        self.shorten();
        Some(taken)
    }

    /// The connection is gone: what was on its way has to be sent again.
    pub fn lost(&mut self) {
        self.flying = 0;
    }

    fn put(&mut self, text: String, sent: bool, place: Option<u64>) -> u64 {
        self.bytes += text.len();
        self.entries.push_back(Entry { number: self.next, text, sent, open: 0, taken: false, place });
        self.next += 1;
        let mut dropped = 0;
        while self.entries.len() > 1 && (self.entries.len() > self.limit.events || self.bytes > self.limit.bytes) {
            // What is on its way may have arrived: the oldest that certainly has not.
            let at = if self.flying < self.entries.len() - 1 { self.flying } else { 0 };
            self.take(at);
            dropped += 1;
        }
        dropped
    }

    /// Rid of what is done, once that takes too much of the disk.
    fn shorten(&mut self) {
        if self.failed.is_none() && self.journal.as_ref().is_some_and(Journal::is_long) {
            self.rewrite();
        }
    }

    fn take(&mut self, at: usize) {
        self.mark(at, State::Done);
        if let Some(entry) = self.entries.remove(at) {
            self.bytes -= entry.text.len();
        }
        self.flying -= usize::from(at < self.flying);
    }

    fn mark(&mut self, at: usize, state: State) {
        let entry = &self.entries[at];
        if let (Some(journal), Some(place)) = (&mut self.journal, entry.place) {
            let marked = journal.mark(place, &entry.text, state);
            self.checked(marked);
        }
    }

    /// Everything that waits in a new file.
    fn rewrite(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        let written = journal.rewrite(self.entries.iter().map(|e| (e.text.as_str(), e.sent)));
        match written {
            Ok(places) => {
                for (entry, place) in self.entries.iter_mut().zip(places) {
                    entry.place = Some(place);
                }
                if self.failed.take().is_some() {
                    log::warn!("MQTT: events that wait are kept on the disk again");
                }
            }
            Err(error) => {
                self.checked::<()>(Err(error));
                self.failed = Some(Instant::now());
            }
        }
    }

    /// One warning when the disk takes nothing any more.
    fn checked<T>(&mut self, outcome: io::Result<T>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                if self.failed.is_none() {
                    let folder = self.journal.as_ref().map(|j| j.folder().display().to_string()).unwrap_or_default();
                    log::warn!(
                        "MQTT: {folder} takes no events, they wait in memory only: {error}; tried again in a minute"
                    );
                }
                // Marks that fail meanwhile do not put the next attempt off.
                self.failed.get_or_insert_with(Instant::now);
                None
            }
        }
    }
}

/// With the mark as its last field.
fn marked(object: &str, duplicate: bool) -> String {
    format!("{},\"duplicate\":{duplicate}}}", object.strip_suffix('}').unwrap_or(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: usize) -> String {
        format!("{{\"id\":\"{id}\"}}")
    }

    fn spool(events: usize, bytes: usize) -> Spool {
        Spool::new(Limit { events, bytes }, None).0
    }

    fn ids(spool: &mut Spool) -> Vec<(usize, bool)> {
        let due = std::iter::from_fn(|| spool.send(1));
        due.map(|due| {
            let value: serde_json::Value = serde_json::from_str(&due.text).expect("an object");
            assert_eq!(value["duplicate"], due.duplicate);
            (value["id"].as_str().and_then(|id| id.parse().ok()).expect("a number"), due.duplicate)
        })
        .collect()
    }

    #[test]
    fn what_was_not_acknowledged_comes_again_in_order_and_marked() {
        let mut spool = spool(10, 1_000);
        (0..4).for_each(|i| assert_eq!(spool.push(event(i)), 0));
        let first = spool.send(2).expect("one waits");
        assert!(!first.duplicate, "it was never sent");
        let answers = [spool.answered(first.number, true), spool.answered(first.number, false)];
        assert_eq!(answers, [None, Some(true)], "two copies, of which one was refused");
        assert_eq!((spool.answered(first.number, true), spool.answered(99, true)), (None, None), "once is enough");
        let second = spool.send(1).expect("one waits");
        let third = spool.send(1).expect("one waits");
        assert_eq!(spool.answered(third.number, false), Some(false), "answers may come in any order");
        assert_eq!((spool.flying(), spool.len()), (1, 2));
        spool.lost();
        assert_eq!(spool.answered(second.number, true), None, "an answer of the old connection means nothing");
        spool.push(event(4));
        assert_eq!(ids(&mut spool), [(1, true), (3, false), (4, false)]);
        spool.lost();
        assert_eq!(ids(&mut spool), [(1, true), (3, true), (4, true)]);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let mut few = spool(3, 1_000);
        assert_eq!((0..5).map(|i| few.push(event(i))).sum::<u64>(), 2);
        assert!(few.is_full());
        // What is on its way stays.
        let first = few.send(1).expect("one waits");
        assert_eq!(few.push(event(5)), 1);
        assert_eq!(few.answered(first.number, true), Some(true));
        assert_eq!(ids(&mut few), [(4, false), (5, false)]);
        let mut small = spool(100, 3 * event(0).len());
        assert_eq!((0..5).map(|i| small.push(event(i))).sum::<u64>(), 2);
        assert_eq!((small.len(), ids(&mut small)), (3, vec![(2, false), (3, false), (4, false)]));
        // One that is larger than the limit is kept: the limit is on what waits behind it.
        small.push(format!("{{\"id\":\"7\",\"x\":\"{}\"}}", "x".repeat(1_000)));
        assert_eq!(small.len(), 1);
    }

    #[test]
    fn a_journal_brings_them_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || {
            let journal = Journal::open(folder.path()).expect("a journal");
            assert_eq!(journal.1.broken, 0);
            Spool::new(Limit { events: 3, bytes: 1_000 }, Some(journal))
        };
        let (mut spool, _) = open();
        (0..3).for_each(|i| assert_eq!(spool.push(event(i)), 0));
        let first = spool.send(1).expect("one waits");
        spool.send(1).expect("one waits");
        spool.answered(first.number, true);
        assert_eq!((spool.kept(), spool.len()), (2, 2));
        drop(spool);
        let (mut spool, dropped) = open();
        assert_eq!((dropped, ids(&mut spool)), (0, vec![(1, true), (2, false)]));
        spool.lost();
        assert_eq!((3..6).map(|i| spool.push(event(i))).sum::<u64>(), 2);
        drop(spool);
        let (mut spool, _) = open();
        assert_eq!(ids(&mut spool), [(3, false), (4, false), (5, false)]);
    }

    #[test]
    fn a_full_spool_without_a_broker_does_not_fill_the_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || {
            let limit = Limit { events: 3, bytes: 10_000 };
            Spool::new(limit, Some(Journal::open(folder.path()).expect("a journal"))).0
        };
        let long = |id: usize| format!("{{\"id\":\"{id}\",\"x\":\"{}\"}}", "x".repeat(1_000));
        let mut spool = open();
        let dropped: u64 = (0..500).map(|id| spool.push(long(id))).sum();
        assert_eq!(dropped, 497);
        let length = std::fs::metadata(folder.path().join("spool")).expect("it is there").len();
        assert!(length < 150_000, "{length}");
        drop(spool);
        assert_eq!(ids(&mut open()), [(497, false), (498, false), (499, false)]);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_was_deleted_is_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Spool::new(Limit { events: 9, bytes: 1_000 }, Some(Journal::open(folder.path()).expect("one"))).0;
        let mut spool = open();
        spool.push(event(0));
        std::fs::remove_file(folder.path().join("spool")).expect("it is there");
        spool.push(event(1));
        assert_eq!(spool.kept(), 2);
        drop(spool);
        assert_eq!(ids(&mut open()), [(0, false), (1, false)]);
    }
}
