//! What the ends for other programs share: a limit on connections, and an end of a connection that lets the last words arrive.

use std::fmt::Display;
use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Why an address cannot be listened at, and what to do.
pub fn refused(option: &str, address: impl Display, error: &io::Error) -> String {
    let advice = match error.kind() {
        ErrorKind::AddrInUse => "choose a port that is free",
        ErrorKind::AddrNotAvailable => {
            "that is no address of this machine: use 127.0.0.1 for this machine alone, or 0.0.0.0 for others too"
        }
        ErrorKind::PermissionDenied => "choose a port from 1024 on",
        _ => "choose an address of this machine and a free port",
    };
    format!("--{option}: cannot listen at {address}: {error}; {advice}")
}

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

/// What can be read without waiting: nothing yet, an end (0), or something.
#[cfg(feature = "http")]
pub fn peek(stream: &TcpStream) -> io::Result<Option<usize>> {
    // A time limit would be rounded up to milliseconds by the system, which is long between two events.
    stream.set_nonblocking(true)?;
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    match peeked {
        Ok(count) => Ok(Some(count)),
        Err(error) if is_silence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a read with a time limit failed for no other reason than that nothing came, or that a signal did.
#[cfg(feature = "http")]
pub fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// What nobody else should see, from the environment: what is there and cannot be used must not count as nothing.
#[cfg(any(feature = "http", feature = "mqtt"))]
pub fn secret(variable: &str) -> anyhow::Result<Option<String>> {
    use std::env::{VarError, var};

    match var(variable) {
        Ok(secret) => Ok(Some(secret)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => anyhow::bail!("{variable} in the environment is no UTF-8 text; set it anew"),
    }
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
