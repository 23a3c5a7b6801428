//! `--listen`: /health, /metrics and /events over HTTP/1.1, for a few clients that mean well and any number that do not.
//!
//! A thread a connection, at most [`MOST`] of them; a request has [`request::PATIENCE`] to arrive and so has a client to
//! take an answer; a request is a GET or HEAD without a body. Bound to this machine unless there is a token. The audio path knows
//! nothing of all this: it writes the atomics that are read here.

mod access;
mod metrics;
mod request;
mod sink;
mod socket;
mod stream;

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::args::HttpArgs;
use crate::events::{Counts, Sink};
use crate::net::{Place, hang_up, refused, secret};
use crate::output::note;
use crate::service::config::Of;
use access::Access;
use request::{Refused, Request};
use sink::{HttpSink, State};

/// Connections at a time; more are turned away.
const MOST: usize = 16;
/// Those of them that may stay, at /events: the others are free again after one answer.
const READERS: usize = 12;

/// An open port that does not answer yet.
pub struct Server {
    listener: TcpListener,
    access: Access,
}

impl Server {
    /// Whether the options go together.
    pub fn check(args: &HttpArgs) -> anyhow::Result<()> {
        let Some(address) = args.listen else {
            return match args.listen_token {
                Some(_) => Err(anyhow!("--listen-token guards nothing without --listen")).of("listen-token"),
                None => Ok(()),
            };
        };
        match token(args)? {
            Some(token) if token.trim().is_empty() => {
                Err(anyhow!("--listen-token is empty; give one that nobody guesses")).of("listen-token")
            }
            // Callers' are told without, so that it would never match.
            Some(token) if token.trim() != token => {
                Err(anyhow!("--listen-token begins or ends with a blank; leave that out")).of("listen-token")
            }
            None if !address.ip().is_loopback() => Err(anyhow!(
                "--listen {address} can be reached from other machines; give a --listen-token or use 127.0.0.1"
            ))
            .of("listen"),
            _ => Ok(()),
        }
    }

    /// Opens the port, if one is wanted.
    pub fn open(args: &HttpArgs) -> anyhow::Result<Option<Self>> {
        Self::check(args)?;
        let Some(address) = args.listen else { return Ok(None) };
        let listener =
            TcpListener::bind(address).map_err(|error| anyhow!(refused("listen", address, &error))).of("listen")?;
        Ok(Some(Self { listener, access: Access::new(token(args)?) }))
    }

    /// Answers from now on, about `source`; the sink brings it the news.
    pub fn start(self, source: String, counts: Counts) -> anyhow::Result<Box<dyn Sink>> {
        let Self { listener, access } = self;
        let address = listener.local_addr().context("--listen")?;
        let state = Arc::new(State::new(source, counts));
        let shared = state.clone();
        let accept = move || accept(&listener, &Arc::new(access), &shared);
        thread::Builder::new().name("kws-http".into()).spawn(accept).context("--listen: cannot start a thread")?;
        note(&format!("answering at http://{address}"));
        Ok(Box::new(HttpSink::new(state)))
    }
}

/// What callers must know, if anything.
fn token(args: &HttpArgs) -> anyhow::Result<Option<String>> {
    Ok(match &args.listen_token {
        Some(token) => Some(token.clone()),
        None => secret("KWS_LISTEN_TOKEN")?,
    })
}

fn accept(listener: &TcpListener, access: &Arc<Access>, state: &Arc<State>) {
    let (taken, refused) = (Arc::default(), Arc::default());
    for connection in listener.incoming() {
        let stream = match connection {
            Ok(stream) => stream,
            Err(error) => {
                log::debug!("a connection failed: {error}");
                // Such as no file descriptors left: do not spin.
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        if stream.set_write_timeout(Some(request::PATIENCE)).is_err() {
            continue;
        }
        // As many more are told why they are turned away: that takes a moment, for which the others must not wait.
        let place = Place::take(&taken, MOST);
        let full = place.is_none();
        let Some(place) = place.or_else(|| Place::take(&refused, MOST)) else { continue };
        let (access, state) = (access.clone(), state.clone());
        let serve = move || {
            let _place = place;
            let served = if full {
                answer(&stream, false, BUSY, TEXT, "too many connections\n")
            } else {
                serve(&stream, &access, &state)
            };
            if let Err(error) = served {
                log::debug!("a client was lost: {error}");
            }
        };
        if let Err(error) = thread::Builder::new().name("kws-client".into()).spawn(serve) {
            log::debug!("a connection is turned away: {error}");
        }
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
const BUSY: &str = "503 Service Unavailable";

fn serve(stream: &TcpStream, access: &Access, state: &State) -> io::Result<()> {
    let request = match Request::read(stream)? {
        Ok(request) => request,
        Err(Refused { status, why }) => return answer(stream, false, status, TEXT, why),
    };
    let answer = |status, kind, body: &str| answer(stream, request.head, status, kind, body);
    if let Err(Refused { status, why }) = access.check(&request) {
        return answer(status, TEXT, why);
    }
    match (request.path.as_str(), &request.socket) {
        ("/health", _) => {
            let (good, body) = metrics::health(state);
            answer(if good { "200 OK" } else { BUSY }, "application/json", &body)
        }
        ("/metrics", _) => answer("200 OK", "text/plain; version=0.0.4; charset=utf-8", &metrics::text(state)),
        ("/events", _) if request.head => answer("200 OK", "text/event-stream", ""),
        ("/events", key) => match (state.join(), key) {
            (None, _) => answer(BUSY, TEXT, "too many readers of /events\n"),
            (Some(client), None) => stream::serve(stream, client),
            (Some(client), Some(key)) => socket::serve(stream, key, client),
        },
        _ => answer("404 Not Found", TEXT, "there is /health, /metrics and /events\n"),
    }
}

fn answer(mut stream: &TcpStream, head_alone: bool, status: &str, kind: &str, body: &str) -> io::Result<()> {
    let (more, close) = match status.split(' ').next() {
        Some("401") => ("WWW-Authenticate: Bearer\r\n", "close"),
        Some("426") => ("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", "Upgrade, close"),
        _ => ("", "close"),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{more}\
         X-Content-Type-Options: nosniff\r\nConnection: {close}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + if head_alone { "" } else { body }).as_bytes())?;
    hang_up(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(listen: &str, token: Option<&str>) -> HttpArgs {
        HttpArgs { listen: Some(listen.parse().expect("an address")), listen_token: token.map(str::to_owned) }
    }

    #[test]
    fn other_machines_need_a_token() {
        for (listen, token, good) in [
            ("127.0.0.1:0", None, true),
            ("[::1]:0", None, true),
            ("0.0.0.0:0", None, false),
            ("192.168.1.2:80", None, false),
            ("0.0.0.0:0", Some("secret"), true),
            ("127.0.0.1:0", Some(" "), false),
            ("127.0.0.1:0", Some("secret\n"), false),
        ] {
            assert_eq!(Server::check(&args(listen, token)).is_ok(), good, "{listen} {token:?}");
        }
        assert!(Server::check(&HttpArgs { listen: None, listen_token: Some("secret".into()) }).is_err());
    }
}
