//! What the ends for other programs share: a limit on connections, and an end of a connection that lets the last words arrive.

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long [`hang_up`] waits for the other side.
const LAST: Duration = Duration::from_millis(500);

/// One of the places for connections, free again when it is dropped.
pub struct Place(Arc<AtomicUsize>);

impl Place {
    /// `None` if all are taken.
    pub fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let place = Self(taken.clone());
        (taken.fetch_add(1, Ordering::AcqRel) < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether a read with a time limit failed for no other reason than that nothing came, or that a signal did.
#[cfg(feature = "http")]
pub fn is_silence(error: &io::Error) -> bool {
    use io::ErrorKind;

    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Ends a connection so that the answer arrives: what the client still sends is read and thrown away for a moment.
pub fn hang_up(mut stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let until = Instant::now() + LAST;
    let mut piece = [0; 4_096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        if !matches!(stream.read(&mut piece), Ok(1..)) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_few_and_come_back() {
        const MOST: usize = 3;
        let taken = Arc::new(AtomicUsize::new(0));
        let places: Vec<Place> = (0..MOST).filter_map(|_| Place::take(&taken, MOST)).collect();
        assert!(places.len() == MOST && Place::take(&taken, MOST).is_none() && Place::take(&taken, MOST).is_none());
        drop(places);
        assert!(Place::take(&taken, MOST).is_some());
    }
}
