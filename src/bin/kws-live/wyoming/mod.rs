//! `--wyoming`: wake words for clients of the [Wyoming protocol](https://github.com/OHF-Voice/wyoming), such as Home Assistant.
//!
//! ```text
//! client ══TCP══▶ a thread: wire ─▶ client ─▶ stream ─▶ a Spotter ─▶ detection, back to it and to the ways out
//! client ══TCP══▶ a thread: ...                                      (stdout, --exec, --listen)
//! ```
//!
//! A thread a connection, at most [`MOST`] of them. A connection that breaks a rule is closed with one line in the log and one
//! to the client; no other notices. The protocol knows no passwords: whoever reaches the port can use it.

mod client;
mod hub;
mod info;
mod stream;
mod wire;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use serde_json::json;

use crate::net::{Place, refused};
use crate::service::config::Of;
use client::Broken;
pub use hub::{Hub, WyomingCount};
use wire::{WireError, encode};

/// Clients at a time; more are turned away.
const MOST: usize = 16;
/// How long the end waits for the clients' threads.
const LAST: Duration = Duration::from_secs(2);

/// An open port that does not answer yet.
pub struct Port(TcpListener);

impl Port {
    /// Opens it: loopback is up to the address.
    pub fn open(address: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).map_err(|error| anyhow!(refused("wyoming", address, &error)));
        Ok(Self(listener.of("wyoming")?))
    }

    /// Where, as a URL, and whether other machines can reach it.
    pub fn place(&self) -> anyhow::Result<(String, bool)> {
        let address = self.0.local_addr().context("--wyoming")?;
        Ok((format!("tcp://{address}"), !address.ip().is_loopback()))
    }

    /// Answers from now on.
    pub fn start(self, hub: Arc<Hub>) -> anyhow::Result<Server> {
        let server = Server { hub, open: Arc::default() };
        let own = server.clone();
        let accept = move || own.accept(&self.0);
        thread::Builder::new().name("kws-wyoming".into()).spawn(accept).context("--wyoming: cannot start a thread")?;
        Ok(server)
    }
}

/// The connections.
#[derive(Clone)]
pub struct Server {
    hub: Arc<Hub>,
    open: Arc<Mutex<BTreeMap<String, TcpStream>>>,
}

impl Server {
    fn accept(&self, listener: &TcpListener) {
        let taken = Arc::new(AtomicUsize::new(0));
        loop {
            let (stream, name) = match listener.accept() {
                Ok((stream, address)) => (stream, address.to_string()),
                Err(error) => {
                    log::debug!("a connection failed: {error}");
                    // Such as no file descriptors left: do not spin.
                    thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            if self.hub.stopping() {
                return;
            }
            let Some(place) = Place::take(&taken, MOST) else {
                self.hub.count.refuse();
                log::warn!("Wyoming client {name} is turned away: {MOST} clients are the most");
                turn_away(&stream);
                continue;
            };
            let (server, shown) = (self.clone(), name.clone());
            let serve = move || {
                let _place = place;
                server.serve(&stream, &name);
            };
            if let Err(error) = thread::Builder::new().name("kws-client".into()).spawn(serve) {
                self.hub.count.refuse();
                log::warn!("Wyoming client {shown} is turned away: {error}");
            }
        }
    }

    fn serve(&self, stream: &TcpStream, name: &str) {
        let _entry = Entry::new(self, name, stream);
        log::info!("Wyoming client {name} is here");
        match client::serve(stream, name, &self.hub) {
            Ok(()) => log::info!("Wyoming client {name} has left"),
            Err(_) if self.hub.stopping() => {}
            Err(broken) => {
                self.hub.count.fail(matches!(broken, Broken::Wire(WireError::Idle)));
                log::warn!("Wyoming client {name}: {broken}; its connection is closed");
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<String, TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes all connections; what they have detected has gone out by then.
    pub fn end(&self) {
        self.hub.end();
        for stream in self.open().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let until = Instant::now() + LAST;
        while self.hub.count.clients() > 0 && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        let late = self.hub.count.clients();
        if late > 0 {
            log::warn!("sound of {late} Wyoming clients is not heard to its end after {} s", LAST.as_secs());
        }
    }
}

/// A connection among the open ones, as long as it is, whatever becomes of its thread.
struct Entry<'a>(&'a Server, &'a str);

impl<'a> Entry<'a> {
    fn new(server: &'a Server, name: &'a str, stream: &TcpStream) -> Self {
        server.hub.count.came();
        let mut open = server.open();
        if server.hub.stopping() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // So that the end can close it.
        if let Ok(own) = stream.try_clone() {
            open.insert(name.to_owned(), own);
        }
        Self(server, name)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.0.open().remove(self.1);
        self.0.hub.count.left();
    }
}

/// Few enough bytes for any socket's buffer: this does not wait.
fn turn_away(mut stream: &TcpStream) {
    let text = format!("too many clients; {MOST} are the most");
    let _ = stream.set_nonblocking(true);
    let _ = stream.write_all(&encode("error", &json!({ "text": text, "code": null })));
    let _ = stream.shutdown(Shutdown::Write);
}
