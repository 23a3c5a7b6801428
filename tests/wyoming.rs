//! The Wyoming end, as a client sees it: the real program, and raw bytes over TCP.
#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::{Deref, DerefMut};
use std::process::{ExitStatus, Stdio};

use common::{LOW, PATIENCE, Running, address, bytes, program, recording, run, samples, text, wait_until};
use kws_live::model::Bundle;
use kws_live::spotter::SpotterConfig;
use serde_json::{Value, json};

/// What the library hears in it: name and end, ms.
fn expected(keywords: &str) -> Vec<(String, i64)> {
    let bundle = Bundle::embedded().expect("the model");
    let config = SpotterConfig { threshold: Some(LOW.parse().expect("a number")), ..SpotterConfig::default() };
    let mut spotter = common::spotter(&bundle, config, keywords);
    let sound: Vec<f32> = samples().iter().map(|s| f32::from(*s) / 32_768.0).collect();
    let mut found = Vec::new();
    spotter.process(&sound, |hit| found.push((hit.name.to_string(), hit.end as i64 / 16))).expect("it runs");
    spotter.flush(|hit| found.push((hit.name.to_string(), hit.end as i64 / 16))).expect("it runs");
    found
}

/// The program, serving clients.
struct Server {
    running: Running,
    address: String,
}

impl Deref for Server {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.running
    }
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let mut command = program(&["--wyoming", "127.0.0.1:0", "--json", "--threshold", LOW, "--stats"]);
        let mut running = Running::start(command.args(args).stdout(Stdio::piped()));
        let address = address(&running.note("listening to Wyoming clients at tcp://"));
        Self { running, address }
    }

    fn end(mut self) -> (ExitStatus, Vec<String>) {
        let status = self.terminate();
        (status, self.all_notes())
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a number");
        Client(BufReader::new(stream))
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("it reads");
    }

    fn send(&mut self, kind: &str, data: &Value) {
        let data = if data.is_null() { String::new() } else { data.to_string() };
        self.write(
            format!("{}\n{data}", json!({ "type": kind, "version": "1", "data_length": data.len() })).as_bytes(),
        );
    }

    /// As the reference library writes it, with the data behind the line.
    fn chunk(&mut self, samples: &[i16], (rate, channels): (u32, u32), timestamp: Option<i64>) {
        let data = json!({ "rate": rate, "width": 2, "channels": channels, "timestamp": timestamp }).to_string();
        let sound = bytes(samples);
        let line = json!({ "type": "audio-chunk", "data_length": data.len(), "payload_length": sound.len() });
        self.write(&[format!("{line}\n{data}").as_bytes(), &sound].concat());
    }

    /// A whole stream of 16 kHz mono in chunks of 1,024 samples, from `start` ms on in the client's time.
    fn stream(&mut self, samples: &[i16], start: i64) {
        self.send("audio-start", &json!({ "rate": 16_000, "width": 2, "channels": 1, "timestamp": start }));
        for (i, chunk) in samples.chunks(1_024).enumerate() {
            self.chunk(chunk, (16_000, 1), Some(start + i as i64 * 64));
        }
        self.send("audio-stop", &json!({ "timestamp": null }));
    }

    /// The next event; `None` if it was the end.
    fn next(&mut self) -> Option<(String, Value)> {
        let mut line = String::new();
        if self.0.read_line(&mut line).expect("an answer") == 0 {
            return None;
        }
        let header: Value = serde_json::from_str(&line).expect("a header");
        let mut data = vec![0; header["data_length"].as_u64().unwrap_or(0) as usize];
        self.0.read_exact(&mut data).expect("as much as was said");
        let data = if data.is_empty() { json!({}) } else { serde_json::from_slice(&data).expect("an object") };
        Some((header["type"].as_str().expect("a type").to_owned(), data))
    }

    /// Its name, where it is a detection, and the time.
    fn detections(&mut self, count: usize) -> Vec<(String, i64)> {
        let mut out = Vec::new();
        while out.len() < count {
            let (kind, data) = self.next().expect("an event");
            assert_eq!(kind, "detection", "{data}");
            let name = data["name"].as_str().expect("a name").to_owned();
            out.push((name, data["timestamp"].as_i64().expect("ms")));
        }
        out
    }

    /// Nothing is left to come.
    fn idle(&mut self) {
        self.send("ping", &json!({ "text": "last" }));
        assert_eq!(self.next(), Some(("pong".into(), json!({ "text": "last" }))));
    }

    fn error(&mut self) -> String {
        let (kind, data) = self.next().expect("an event");
        assert_eq!(kind, "error", "{data}");
        assert_eq!(self.next(), None, "and then it is closed");
        data["text"].as_str().expect("a reason").to_owned()
    }
}

#[test]
fn a_client_hears_of_the_words_in_its_own_time() {
    let mut server = Server::start(&["--keywords", "hello,stop"]);
    let mut client = server.client();
    client.send("describe", &Value::Null);
    let (kind, info) = client.next().expect("an answer");
    let program = &info["wake"][0];
    assert_eq!((kind.as_str(), &program["name"], &program["installed"]), ("info", &json!("kws-live"), &json!(true)));
    assert_eq!(program["version"], env!("CARGO_PKG_VERSION"));
    let models = program["models"].as_array().expect("a list");
    for (model, word) in models.iter().zip(["hello", "stop"]) {
        assert_eq!(
            (&model["name"], &model["phrase"], &model["languages"]),
            (&json!(word), &json!(word), &json!(["en"]))
        );
        assert!(model["installed"] == true && model["attribution"]["name"].is_string(), "{model}");
    }
    assert_eq!(models.len(), 2);

    let want = expected("hello,stop");
    let at = |word: &str| want.iter().find(|w| w.0 == word).map(|w| w.1).expect("it is found");
    assert!((400..1_500).contains(&at("hello")) && (3_500..5_000).contains(&at("stop")), "{want:?}");
    client.send("detect", &json!({ "names": null }));
    client.stream(&samples(), 0);
    assert_eq!(client.detections(want.len()), want);
    client.idle();
    // The same again on the same connection, an hour later, with nothing left over.
    client.stream(&samples(), 3_600_000);
    let later: Vec<_> = want.iter().map(|(name, ms)| (name.clone(), ms + 3_600_000)).collect();
    assert_eq!(client.detections(want.len()), later);
    client.idle();

    // Programs hear of it too.
    let name = client.0.get_ref().local_addr().expect("an address").to_string();
    for (word, ms) in want.iter().chain(&want) {
        let line = server.result();
        assert_eq!((&line["keyword"], &line["client"], &line["file"]), (&json!(word), &json!(name), &Value::Null));
        assert!((line["end"].as_f64().expect("seconds") * 1e3 - *ms as f64).abs() <= 1.0, "{line}");
    }
    drop(client);
    server.note("stop:");
    let (status, notes) = server.end();
    assert_eq!(status.code(), Some(0), "{notes:?}");
    let stats = notes.iter().find(|l| l.contains("first_audio")).expect("--stats");
    let part = format!("detections {}, wyoming 1 connections 0 refused 0 broken 0 idle", 2 * want.len());
    assert!(stats.contains(&part) && stats.contains("dropped 0 events"), "{stats}");
}

#[test]
fn two_clients_at_once_each_with_its_own_choice() {
    let server = Server::start(&["--keywords", "hello,stop"]);
    let sound = samples();
    let wants = [("hello", expected("hello")), ("Stop", expected("stop"))];
    std::thread::scope(|scope| {
        for (name, want) in &wants {
            let (mut client, sound) = (server.client(), &sound);
            scope.spawn(move || {
                client.send("detect", &json!({ "names": [name] }));
                client.stream(sound, 0);
                assert!(!want.is_empty());
                assert_eq!(&client.detections(want.len()), want);
                client.idle();
            });
        }
    });
    assert_eq!(server.end().0.code(), Some(0));
}

#[test]
fn silence_is_told_as_not_detected_and_any_rate_and_channels_do() {
    let server = Server::start(&["--keywords", "hello,stop"]);
    let mut client = server.client();
    client.stream(&vec![0; 32_000], 0);
    assert_eq!(client.next().expect("an answer").0, "not-detected");
    // Nothing at all is silence too.
    client.send("audio-stop", &Value::Null);
    assert_eq!(client.next().expect("an answer").0, "not-detected");

    // Three times the rate and two channels, without timestamps and without audio-start.
    let want = expected("hello,stop");
    let thrice: Vec<i16> = samples()
        .windows(2)
        .flat_map(|s| {
            let (a, b) = (f32::from(s[0]), f32::from(s[1]));
            [0.0, 1.0, 2.0].map(|k| (a + (b - a) * k / 3.0) as i16)
        })
        .flat_map(|s| [s, s])
        .collect();
    for chunk in thrice.chunks(2 * 1_024) {
        client.chunk(chunk, (48_000, 2), None);
    }
    client.send("audio-stop", &Value::Null);
    for (got, want) in client.detections(want.len()).iter().zip(&want) {
        assert!(got.0 == want.0 && (got.1 - want.1).abs() <= 90, "{got:?} {want:?}");
    }
    client.idle();
    assert_eq!(server.end().0.code(), Some(0));
}

#[test]
fn what_is_broken_closes_its_own_connection_with_one_line() {
    let mut server = Server::start(&["--keywords", "hello,stop"]);
    server.note("stop:");
    let mut good = server.client();
    good.idle();
    let format = |width: u32, rate: u32| json!({ "rate": rate, "width": width, "channels": 1 });
    let event = |kind: &str, data: &Value| {
        let data = data.to_string();
        format!("{{\"type\":\"{kind}\",\"data_length\":{}}}\n{data}", data.len())
    };
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "no Wyoming event"),
        ("x".repeat(40_000), "header is larger"),
        ("{\"type\":\"audio-chunk\",\"payload_length\":9999999999}\n".into(), "payload is larger"),
        ("{\"type\":\"detect\",\"data_length\":1000000}\n".into(), "data is larger"),
        (event("audio-start", &format(4, 16_000)), "16 bits"),
        (event("audio-start", &format(2, 100)), "cannot resample 100 Hz"),
        (event("audio-start", &json!({})), "`rate` is missing"),
        (
            event("audio-start", &format(2, 16_000)) + "{\"type\":\"audio-chunk\",\"payload_length\":3}\nabc",
            "cuts a sample",
        ),
        (event("audio-start", &format(2, 16_000)) + &event("audio-chunk", &format(2, 8_000)), "the format changes"),
        (event("detect", &json!({ "names": ["nobody"] })), "none of these names"),
        (event("detect", &json!({ "names": 1 })), "no list"),
    ];
    for (bytes, part) in &cases {
        let mut client = server.client();
        client.write(bytes.as_bytes());
        let error = client.error();
        assert!(error.contains(part), "{bytes:.60}: {error}");
        let line = server.note("its connection is closed");
        assert!(line.contains(part), "{line}");
    }
    // One that leaves in the middle.
    let mut client = server.client();
    client.write(b"{\"type\":\"audio-chunk\",\"payload_length\":100}\nabc");
    client.0.get_ref().shutdown(Shutdown::Write).expect("it is open");
    assert!(client.error().contains("ended inside an event"));
    server.note("its connection is closed");
    // What is not known is passed over, and nobody else has noticed anything.
    good.send("select-program", &json!({ "name": "kws-live" }));
    good.send("detect", &json!({ "names": ["stop", "nobody"] }));
    good.stream(&samples(), 0);
    let want = expected("stop");
    assert_eq!(good.detections(want.len()), want);
    good.idle();
    let (status, notes) = server.end();
    assert_eq!(status.code(), Some(0), "{notes:?}");
    let stats = notes.iter().find(|l| l.contains("first_audio")).expect("--stats");
    assert!(stats.contains(&format!("0 refused {} broken 0 idle", cases.len() + 1)), "{stats}");
    assert!(!notes.iter().any(|l| l.contains("panicked")), "{notes:?}");
}

#[test]
fn clients_over_the_limit_are_turned_away_and_places_come_back() {
    let mut server = Server::start(&["--keywords", "hello"]);
    server.note("hello:");
    let mut held: Vec<Client> = (0..16).map(|_| server.client()).collect();
    held.iter_mut().for_each(Client::idle);
    assert!(server.client().error().contains("too many clients"));
    server.note("is turned away: 16 clients are the most");
    drop(held.pop());
    let back = wait_until(|| {
        let mut client = server.client();
        // It may have been closed already.
        let _ = client.0.get_mut().write_all(b"{\"type\":\"ping\"}\n");
        let mut line = String::new();
        client.0.read_line(&mut line).is_ok() && line.contains("pong")
    });
    assert!(back);
    // The end closes those that are still there.
    assert_eq!(server.end().0.code(), Some(0));
    assert!(held.iter_mut().all(|client| client.next().is_none()));
}

#[test]
fn programs_and_new_keywords_work_as_with_a_microphone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (words, heard, config) =
        (folder.path().join("words.txt"), folder.path().join("heard"), folder.path().join("kws.toml"));
    let write = |file: &std::path::Path, text: &str| std::fs::write(file, text).expect("room on the disk");
    write(&words, "hello\n");
    let exec = format!("sh -c 'echo $KWS_KEYWORD >> {}'", heard.display());
    write(&config, &format!("keywords-file = {words:?}\nexec = {exec:?}\n"));
    let mut server = Server::start(&["--config", &config.display().to_string()]);
    server.note("hello:");
    let mut client = server.client();
    let want = expected("hello");
    client.stream(&samples(), 0);
    assert_eq!(client.detections(want.len()), want);
    // One whose stream goes on meanwhile.
    let mut endless = server.client();
    endless.chunk(&samples(), (16_000, 1), Some(0));
    assert!(endless.detections(1)[0].0 == "hello");
    write(&words, "stop\n");
    server.signal("HUP");
    server.note("keywords reloaded: stop");
    endless.chunk(&samples(), (16_000, 1), Some(60_000));
    let time = loop {
        let (name, time) = endless.detections(1).remove(0);
        if name == "stop" {
            break time;
        }
    };
    assert!((63_500..65_000).contains(&time), "{time}");
    let want = expected("stop");
    client.stream(&samples(), 0);
    assert_eq!(client.detections(want.len()), want);
    let programs = || std::fs::read_to_string(&heard).unwrap_or_default();
    assert!(wait_until(|| programs().contains("hello") && programs().contains("stop")), "{}", programs());
    assert_eq!(server.end().0.code(), Some(0));
}

#[test]
fn the_last_words_go_out_when_a_client_leaves_and_at_a_signal() {
    let mut server = Server::start(&["--keywords", "hello"]);
    server.note("hello:");
    let want = expected("hello");
    // To the end of the word: it has been said and does not count yet.
    let end = want[0].1 as usize * 16;
    let start = json!({ "rate": 16_000, "width": 2, "channels": 1, "timestamp": 0 });
    let said = |server: &Server| {
        let mut client = server.client();
        client.send("audio-start", &start);
        client.chunk(&samples()[..end], (16_000, 1), Some(0));
        client.idle();
        client
    };
    drop(said(&server));
    assert_eq!(server.result()["keyword"], "hello");
    // A stream that another one follows without an end.
    let mut again = said(&server);
    again.send("audio-start", &start);
    assert_eq!(server.result()["keyword"], "hello");
    drop(again);
    let _stays = said(&server);
    server.signal("TERM");
    assert_eq!(server.result()["keyword"], "hello");
    let (status, notes) = server.end();
    assert_eq!(status.code(), Some(0), "{notes:?}");
    assert!(
        notes.iter().any(|l| l.contains("detections 3, wyoming 3 connections 0 refused 0 broken 0 idle")),
        "{notes:?}"
    );
}

#[test]
fn names_that_are_not_there_are_one_line_a_connection() {
    let mut server = Server::start(&["--keywords", "hello"]);
    server.note("hello:");
    let mut client = server.client();
    for i in 0..100 {
        client.send("detect", &json!({ "names": ["hello", format!("word {i}")] }));
    }
    client.idle();
    let (_, notes) = server.end();
    assert_eq!(notes.iter().filter(|l| l.contains("there is no keyword")).count(), 1, "{notes:?}");
}

#[cfg(feature = "http")]
#[test]
fn the_http_end_counts_clients() {
    let mut server = Server::start(&["--keywords", "hello,stop", "--listen", "127.0.0.1:0"]);
    let address = address(server.seen.iter().find(|l| l.contains("answering at")).expect("it says where"));
    let get = |path: &str| common::get(&address, path);
    server.note("stop:");
    let mut client = server.client();
    client.stream(&samples(), 0);
    client.detections(expected("hello,stop").len());
    client.idle();
    assert!(wait_until(|| get("/metrics").contains("kws_detections_total{keyword=\"stop\"} 1")), "{}", get("/metrics"));
    let metrics = get("/metrics");
    for line in ["kws_wyoming_clients 1", "kws_wyoming_connections_total 1", "kws_wyoming_broken_total 0"] {
        assert!(metrics.contains(&format!("\n{line}\n")), "{line}: {metrics}");
    }
    let health = get("/health");
    assert!(health.starts_with("HTTP/1.1 200") && health.contains("\"clients\":1"), "{health}");
    assert_eq!(server.end().0.code(), Some(0));
}

#[test]
fn what_does_not_go_together_is_refused_in_one_line() {
    let file = recording().display().to_string();
    for (args, part) in
        [(vec!["--save", "clips"], "--save"), (vec!["--input", &file], "--input"), (vec!["--device", "x"], "--device")]
    {
        let mut line = vec!["--wyoming", "127.0.0.1:0", "--keywords", "hello"];
        line.extend(args);
        let out = run(&line);
        let error = text(&out.stderr);
        assert_eq!((out.status.code(), error.lines().count()), (Some(2), 1), "{error}");
        assert!(error.contains(part) && error.contains("--wyoming"), "{error}");
    }
    for address in ["localhost", ":10400", "127.0.0.1:x", "192.0.2.1:10400"] {
        let out = run(&["--wyoming", address, "--keywords", "hello"]);
        let error = text(&out.stderr);
        assert_eq!((out.status.code(), error.lines().count()), (Some(2), 1), "{address}: {error}");
        assert!(error.contains("--wyoming"), "{error}");
    }
    let out = run(&["--wyoming", "127.0.0.1:0"]);
    assert!(text(&out.stderr).contains("nothing to listen for"), "{}", text(&out.stderr));
}
