//! The end for programs that ask: events, health and metrics over HTTP and WebSockets.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::common::{Events, PATIENCE, address, ask, get, output};
use super::*;

impl Live {
    fn address(&self) -> String {
        address(self.seen.iter().find(|l| l.contains("answering at")).expect("it says where"))
    }
}

#[test]
fn events_health_and_metrics_are_served() {
    let mut live = Live::start(&["--keywords", "hello,stop", "--listen", "127.0.0.1:0"]);
    let address = live.address();
    live.note("stop:");
    let mut events = Events::open(&address);
    live.hear(&samples());
    let first = live.result();
    assert_eq!(events.until("id:").trim(), "id: 1");
    let event: Value = serde_json::from_str(events.until("data: ").trim_start_matches("data: ")).expect("an object");
    assert_eq!(event, first, "the same as on stdout");

    let counted = wait_until(|| {
        let text = get(&address, "/metrics");
        text.contains("kws_detections_total{keyword=\"hello\"} 1") && text.contains("{keyword=\"stop\"} ")
    });
    assert!(counted, "{}", get(&address, "/metrics"));
    let metrics = get(&address, "/metrics");
    for name in
        ["lost_samples_total 0", "dropped_events_total 0", "real_time_factor ", "latency_seconds ", "uptime_seconds "]
    {
        assert!(metrics.contains(&format!("\nkws_{name}")), "{name}: {metrics}");
    }
    let health = get(&address, "/health");
    let body: Value = serde_json::from_str(health.split("\r\n\r\n").nth(1).expect("a body")).expect("an object");
    assert!(health.starts_with("HTTP/1.1 200") && body["status"] == "ok", "{health}");
    assert_eq!(body["keywords"], serde_json::json!(["hello", "stop"]));

    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "404"),
        ("POST /health HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "405"),
        ("GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), "403"),
        (format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(9_000)), "431"),
        ("\u{1}\u{2}\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = ask(&address, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
    }

    // The stream of events ends with the program, after its last event.
    let (status, _, notes) = live.end();
    assert_eq!(status.code(), Some(0), "{notes:?}");
    let mut rest = String::new();
    events.0.read_to_string(&mut rest).expect("it is closed in order");
}

#[test]
fn a_web_socket_brings_the_same_events() {
    use tungstenite::client::IntoClientRequest;
    use tungstenite::handshake::HandshakeError;
    use tungstenite::{Error, Message};

    let mut live = Live::start(&["--keywords", "hello,stop", "--listen", "127.0.0.1:0"]);
    let address = live.address();
    live.note("stop:");
    let open = |origin: Option<&str>| {
        let mut request = format!("ws://{address}/events").into_client_request().expect("an address");
        if let Some(origin) = origin {
            request.headers_mut().insert("Origin", origin.parse().expect("a header"));
        }
        let stream = TcpStream::connect(&address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a number");
        tungstenite::client(request, stream).map(|(socket, _)| socket).map_err(|error| match error {
            HandshakeError::Failure(Error::Http(refused)) => refused.status().as_u16(),
            other => panic!("{other}"),
        })
    };
    assert_eq!(open(Some("http://evil.example")).err(), Some(403), "a page of another site");
    let mut leaves = open(Some("http://localhost")).expect("a page of this machine");
    let mut stays = open(None).expect("a program");

    live.hear(&samples());
    let first = live.result();
    for socket in [&mut leaves, &mut stays] {
        let Message::Text(text) = socket.read().expect("an event") else { panic!("no text") };
        assert_eq!(serde_json::from_str::<Value>(&text).expect("an object"), first, "the same as on stdout");
    }
    // What clients say is taken as the protocol wants it, and else of no interest.
    stays.send(Message::text("who are you?")).expect("it is read");
    stays.send(Message::Ping(b"there?".as_slice().into())).expect("it is read");
    let mut heard = Vec::new();
    while !heard.contains(&Message::Pong(b"there?".as_slice().into())) {
        heard.push(stays.read().expect("an answer"));
    }
    leaves.close(None).expect("it is read");
    while leaves.read().is_ok() {}
    // A message over the limit ends that connection, and only that.
    let mut rude = open(None).expect("a program");
    rude.send(Message::text("x".repeat(1 << 16))).expect("the system takes it");
    while rude.read().is_ok() {}
    assert!(get(&address, "/health").starts_with("HTTP/1.1 200"));

    // It ends with the program, in order.
    let (status, _, notes) = live.end();
    assert_eq!(status.code(), Some(0), "{notes:?}");
    let end = loop {
        match stays.read() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(end, Error::ConnectionClosed), "{end}");
}

#[test]
fn a_token_that_cannot_be_read_is_no_open_door() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let file = recording().display().to_string();
    let token = OsStr::from_bytes(b"secr\xffet");
    let mut command = program(&["--input", &file, "--keywords", "hello", "--listen", "127.0.0.1:0"]);
    let out = output(command.env("KWS_LISTEN_TOKEN", token));
    assert_eq!((out.status.code(), out.stdout.len()), (Some(2), 0), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("KWS_LISTEN_TOKEN"), "{}", text(&out.stderr));
}

#[test]
fn clients_that_hold_on_take_no_more_than_their_places() {
    let mut live = Live::start(&["--keywords", "hello", "--listen", "127.0.0.1:0"]);
    let address = live.address();
    live.note("hello:");
    let idle: Vec<TcpStream> = (0..16).map(|_| TcpStream::connect(&address).expect("it listens")).collect();
    let full = wait_until(|| get(&address, "/health").starts_with("HTTP/1.1 503"));
    assert!(full, "16 connections are the most");
    live.hear(&samples());
    assert_eq!(live.result()["keyword"], "hello", "the sound is not disturbed");
    for stream in &idle {
        let _ = stream.shutdown(Shutdown::Both);
    }
    assert!(wait_until(|| get(&address, "/health").starts_with("HTTP/1.1 200")), "places come back");

    // Readers of /events stay, and leave room for the others.
    let readers: Vec<Events> = (0..12).map(|_| Events::open(&address)).collect();
    let more = || get(&address, "/events");
    assert!(more().contains("503") && more().contains("too many readers"), "{}", more());
    assert!(get(&address, "/health").starts_with("HTTP/1.1 200"));
    drop(readers);
    // Their places come back before the first beat finds nobody, after 15 seconds.
    let gone = Instant::now();
    let free = wait_until(|| {
        let mut stream = TcpStream::connect(&address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a number");
        write!(stream, "GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("it reads");
        let mut status = [0; 12];
        stream.read_exact(&mut status).is_ok_and(|()| status.ends_with(b"200"))
    });
    assert!(free && gone.elapsed() < Duration::from_secs(15), "{:?}", gone.elapsed());
}

#[test]
fn head_is_answered_without_a_body() {
    let live = Live::start(&["--keywords", "hello", "--listen", "127.0.0.1:0"]);
    let address = live.address();
    for path in ["/health", "/metrics", "/events"] {
        let answer = ask(&address, &format!("HEAD {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
        assert!(
            answer.starts_with("HTTP/1.1 ") && !answer.contains(" 405 ") && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
    }
}

#[test]
fn a_token_is_asked_for() {
    let live = Live::start(&["--keywords", "hello", "--listen", "127.0.0.1:0", "--listen-token", "secret"]);
    let address = live.address();
    assert!(get(&address, "/health").starts_with("HTTP/1.1 401"));
    let with = |token: &str| {
        ask(&address, &format!("GET /health HTTP/1.1\r\nHost: any\r\nAuthorization: Bearer {token}\r\n\r\n"))
    };
    assert!(with("wrong").starts_with("HTTP/1.1 401") && with("secret").starts_with("HTTP/1.1 200"));
}

#[test]
fn the_environment_can_hold_it() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"keywords = \"hello\"\nlisten = \"0.0.0.0:0\"\n").expect("room on the disk");
    let mut command = program(&["--check-config", "--config"]);
    command.arg(file.path());
    let error = |command: &mut Command| text(&output(command).stderr);
    let without = error(command.env_remove("KWS_LISTEN_TOKEN"));
    assert!(without.contains("--listen-token"), "{without}");
    assert!(error(command.env("KWS_LISTEN_TOKEN", " ")).contains("is empty"));
    assert_eq!(output(command.env("KWS_LISTEN_TOKEN", "secret")).status.code(), Some(0));
}

#[test]
fn other_machines_are_not_let_in_without_one() {
    let out = on_file(&["--listen", "0.0.0.0:0"]);
    let error = text(&out.stderr);
    assert_eq!((out.status.code(), error.lines().count()), (Some(2), 1), "{error}");
    assert!(error.contains("--listen-token"), "{error}");
}
