//! What all clients share: the model, what is listened for, and the ways out.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use kws_live::detect::Keyword;
use kws_live::engine::Meters;
use kws_live::model::Bundle;
use kws_live::spotter::{KeywordId, SpotError, Spotter, SpotterConfig};

use crate::events::{Count, Notice, Outputs};

/// Spotters that are kept for the next clients: Home Assistant makes a connection for every wake word.
const SPARE: usize = 2;

/// What became of the connections.
#[derive(Debug, Default)]
pub struct WyomingCount {
    clients: AtomicU64,
    connections: AtomicU64,
    refused: AtomicU64,
    broken: AtomicU64,
    idle: AtomicU64,
}

impl WyomingCount {
    /// Connected now.
    pub fn clients(&self) -> u64 {
        self.clients.load(Ordering::Relaxed)
    }

    /// Connections that were taken.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections that were not, because there were too many.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Connections closed because of an error.
    pub fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }

    /// Connections closed because nothing came.
    pub fn idle(&self) -> u64 {
        self.idle.load(Ordering::Relaxed)
    }

    /// For `--stats`.
    pub fn line(&self) -> String {
        let (taken, refused, broken, idle) = (self.connections(), self.refused(), self.broken(), self.idle());
        format!("{taken} connections {refused} refused {broken} broken {idle} idle")
    }

    pub(super) fn came(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.clients.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn left(&self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn fail(&self, idle: bool) {
        if idle { &self.idle } else { &self.broken }.fetch_add(1, Ordering::Relaxed);
    }
}

/// A keyword under the handle that it has for the ways out, whatever it has in a client's spotter.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: KeywordId,
    pub name: Arc<str>,
    pub keyword: Keyword,
}

/// What is listened for; never changed, but replaced.
pub type Listing = Arc<[Listed]>;

struct Keywords {
    all: Listing,
    next: u64,
}

impl Keywords {
    /// A keyword that is there already and the same keeps its handle.
    fn replace(&mut self, keywords: Vec<Keyword>) {
        let listed = keywords.into_iter().map(|keyword| {
            if let Some(same) = self.all.iter().find(|l| l.keyword == keyword) {
                return same.clone();
            }
            let id = KeywordId(self.next);
            self.next += 1;
            Listed { id, name: keyword.name.as_str().into(), keyword }
        });
        let listed: Vec<Listed> = listed.collect();
        // The same list is not made anew: streams that go on would begin to match anew for it.
        if !listed.iter().map(|l| l.id).eq(self.all.iter().map(|l| l.id)) {
            self.all = listed.into();
        }
    }
}

/// Shared by all clients.
pub struct Hub {
    bundle: Bundle,
    config: SpotterConfig,
    spare: Mutex<Vec<Spotter>>,
    keywords: Mutex<Keywords>,
    /// `None` once the end has come.
    outputs: RwLock<Option<Outputs>>,
    /// Where detections are counted that come after that.
    late: OnceLock<Arc<Count>>,
    stopping: AtomicBool,
    /// What was heard, of all clients together.
    pub meters: Arc<Meters>,
    /// What became of the connections.
    pub count: Arc<WyomingCount>,
}

impl Hub {
    /// Makes the first spotter at once: if the model does not run, that is said before anybody connects.
    pub fn new(bundle: Bundle, config: SpotterConfig, keywords: Vec<Keyword>) -> Result<Self, SpotError> {
        let first = Spotter::new(&bundle, config.clone())?;
        let mut listed = Keywords { all: Arc::new([]), next: 0 };
        listed.replace(keywords);
        Ok(Self {
            bundle,
            config,
            spare: Mutex::new(vec![first]),
            keywords: Mutex::new(listed),
            outputs: RwLock::new(None),
            late: OnceLock::new(),
            stopping: AtomicBool::new(false),
            meters: Arc::default(),
            count: Arc::default(),
        })
    }

    /// Where detections go from now on.
    pub fn connect(&self, outputs: Outputs) {
        let _ = self.late.set(outputs.count());
        *self.outputs.write().unwrap_or_else(PoisonError::into_inner) = Some(outputs);
    }

    /// Takes the ways out away: what comes now goes nowhere and is counted as dropped.
    pub fn disconnect(&self) -> Option<Outputs> {
        self.outputs.write().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Hands news on to the ways out.
    pub fn publish(&self, notice: Notice) {
        match &*self.outputs.read().unwrap_or_else(PoisonError::into_inner) {
            Some(outputs) => outputs.send(notice),
            None if notice.is_state() => {}
            None => self.late.get().into_iter().for_each(|count| count.add(1)),
        }
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.bundle.manifest.name
    }

    /// What is listened for now.
    pub fn keywords(&self) -> Listing {
        self.listed().all.clone()
    }

    /// Listens for exactly these, from the next chunk of each client on.
    pub fn replace(&self, keywords: Vec<Keyword>) {
        let (old, new) = {
            let mut listed = self.listed();
            let old = listed.all.clone();
            listed.replace(keywords);
            (old, listed.all.clone())
        };
        let lacks = |listing: &Listing, id| !listing.iter().any(|l| l.id == id);
        for gone in old.iter().filter(|l| lacks(&new, l.id)) {
            self.publish(Notice::Removed(gone.id));
        }
        for come in new.iter().filter(|l| lacks(&old, l.id)) {
            self.publish(Notice::Added(come.id, come.name.clone()));
        }
    }

    /// Comes back once everything that the clients share could be had: not at all if a thread hangs with it.
    pub fn touch(&self) {
        drop((self.spare(), self.listed(), self.outputs.read()));
    }

    fn listed(&self) -> MutexGuard<'_, Keywords> {
        self.keywords.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Spotter>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A spotter for one client, with whatever keywords.
    pub fn spotter(&self) -> Result<Spotter, SpotError> {
        let spare = self.spare().pop();
        spare.map_or_else(|| Spotter::new(&self.bundle, self.config.clone()), Ok)
    }

    /// Takes back one that a client needs no more.
    pub fn give_back(&self, mut spotter: Spotter) {
        spotter.reset();
        let mut spare = self.spare();
        if spare.len() < SPARE {
            spare.push(spotter);
        }
    }

    /// The end begins: connections that break now do so because of it.
    pub fn end(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether it has begun.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyword(name: &str) -> Keyword {
        Keyword { name: name.into(), pronunciations: Vec::new(), threshold: None }
    }

    #[test]
    fn a_keyword_that_stays_keeps_its_handle() {
        let mut keywords = Keywords { all: Arc::new([]), next: 0 };
        let mut ids = |names: &[&str]| {
            keywords.replace(names.iter().map(|n| keyword(n)).collect());
            keywords.all.iter().map(|l| l.id.0).collect::<Vec<_>>()
        };
        assert_eq!(ids(&["a", "b"]), [0, 1]);
        assert_eq!(ids(&["b", "c", "a"]), [1, 2, 0]);
        assert_eq!(ids(&["c"]), [2]);
        assert_eq!(ids(&["a"]), [3]);
    }

    #[test]
    fn the_same_keywords_again_are_the_same_listing() {
        let mut keywords = Keywords { all: Arc::new([]), next: 0 };
        let mut listing = |names: &[&str]| {
            keywords.replace(names.iter().map(|n| keyword(n)).collect());
            keywords.all.clone()
        };
        let first = listing(&["a", "b"]);
        assert!(Arc::ptr_eq(&first, &listing(&["a", "b"])));
        assert!(!Arc::ptr_eq(&first, &listing(&["b", "a"])), "places have changed");
    }
}
