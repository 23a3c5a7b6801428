//! The way to an MQTT broker: the real program, and a real mosquitto that is stopped, killed and started again.
#![cfg(all(unix, feature = "mqtt", feature = "http"))]

mod common;
#[path = "mqtt/protocol.rs"]
mod protocol;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};

use common::mosquitto::{Broker, Listener, Message, free_port};
use common::{LOW, Running, Tiny, address, bytes, ended, get, installed, program, samples, skip, text, wait_until};
use serde_json::Value;

/// The topic of the program under test.
const BASE: &str = "test/kws";

/// The program, listening to standard input, telling the time of day to a mosquitto.
struct Live {
    running: Running,
    sound: Option<ChildStdin>,
    heard: usize,
    http: String,
}

impl Live {
    fn start(args: &[&str]) -> Self {
        Self::with(args, &[])
    }

    fn with(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = program(&["--input", "-", "--json", "--threshold", LOW, "--stats", "--mqtt-topic", BASE]);
        command.args(["--listen", "127.0.0.1:0"]).args(args).envs(environment.iter().copied());
        let mut running = Running::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let sound = running.child.stdin.take();
        let http = address(&running.note("answering at"));
        running.note("listening to");
        Self { running, sound, heard: 0, http }
    }

    /// Plays the recording, and silence after it, so that all of its words come out.
    fn play(&mut self) {
        let mut sound = samples();
        sound.extend(std::iter::repeat_n(0, 3 * 16_000));
        self.sound.as_mut().expect("it is open").write_all(&bytes(&sound)).expect("it reads");
        self.heard += sound.len();
        let seconds = self.heard as f64 / 16_000.0 - 1.0;
        assert!(wait_until(|| self.metric("heard_seconds") >= seconds), "the sound goes on");
    }

    /// The same, until all of its words are on their way.
    fn hear(&mut self) {
        self.play();
        // No event is between the ears and the queues.
        let all = |live: &Self| {
            live.metric("detections_total{keyword=\"hello\"}") + live.metric("detections_total{keyword=\"stop\"}")
        };
        let settled = || {
            let before = all(self);
            before >= 1.0
                && self.metric("mqtt_waiting") + self.metric("mqtt_delivered_total") + self.metric("mqtt_dropped_total")
                    >= before
        };
        assert!(wait_until(settled), "{}", self.get("/metrics"));
    }

    fn get(&self, path: &str) -> String {
        get(&self.http, path)
    }

    /// One value of /metrics; 0 if there is none.
    fn metric(&self, name: &str) -> f64 {
        let answer = self.get("/metrics");
        let line = answer.lines().find_map(|l| l.strip_prefix(&format!("kws_{name} ")));
        line.map_or(0.0, |value| value.trim().parse().expect("a number"))
    }

    /// Ends it with a signal; the status, the results and all notes.
    fn end(mut self) -> (ExitStatus, Vec<Value>, Vec<String>) {
        let status = self.running.terminate();
        drop(self.sound.take());
        let results = self.running.results.iter().map(|l| serde_json::from_str(&l).expect("an object")).collect();
        (status, results, self.running.all_notes())
    }

    /// Ends it as a power cut would; the results.
    fn kill(mut self) -> Vec<Value> {
        self.running.signal("KILL");
        ended(&mut self.running.child, "what was killed");
        self.running.results.iter().map(|l| serde_json::from_str(&l).expect("an object")).collect()
    }
}

/// The topic of all events.
fn all() -> String {
    format!("{BASE}/detection")
}

/// Events on the topic of all, as many as so many different ones are.
fn events_of(listener: &mut Listener, different: usize) -> Vec<Value> {
    let ids = |seen: &[Message]| {
        seen.iter().filter(|m| m.topic == all()).map(|m| m.json()["id"].to_string()).collect::<BTreeSet<_>>()
    };
    while ids(&listener.seen).len() < different {
        listener.until(|m| m.topic == all());
    }
    listener.seen.iter().filter(|m| m.topic == all()).map(Message::json).collect()
}

fn config(keyword: &str) -> String {
    format!("homeassistant/event/test_kws/{keyword}/config")
}

/// What of an event is the same on stdout.
fn same(event: &Value) -> (String, String, String) {
    (event["keyword"].to_string(), event["start"].to_string(), event["score"].to_string())
}

/// Each event once, where it came first.
fn first_of_each(events: &[Value]) -> Vec<Value> {
    let mut ids = BTreeSet::new();
    events.iter().filter(|e| ids.insert(e["id"].to_string())).cloned().collect()
}

/// None is missing, none is too many, and they are in order.
fn assert_complete(events: &[Value], results: &[Value]) {
    let got: Vec<_> = first_of_each(events).iter().map(same).collect();
    let want: Vec<_> = results.iter().map(same).collect();
    assert_eq!(got, want);
}

#[test]
fn detections_arrive_and_home_assistant_learns_the_keywords() {
    let Some(broker) = Broker::start("") else { return };
    let mut listener = Listener::start(&broker, &["-t", "#"]);
    let mut live = Live::start(&["--keywords", "hello,stop", "--mqtt", &broker.url()]);
    let note = live.running.seen.iter().find(|l| l.contains("publishing to")).expect("it says where").clone();
    assert!(note.contains(&broker.url()) && note.ends_with(BASE), "{note}");
    assert_eq!(listener.on(&format!("{BASE}/availability")).text, "online");
    let entity = listener.on(&config("stop")).json();
    assert_eq!((&entity["name"], &entity["event_types"][0]), (&"stop".into(), &"detected".into()));
    assert_eq!(entity["state_topic"], format!("{BASE}/detection/stop"));
    assert_eq!(entity["availability_topic"], format!("{BASE}/availability"));
    assert_eq!(entity["unique_id"], "test_kws_stop");
    live.hear();
    let event = listener.on(entity["state_topic"].as_str().expect("a topic")).json();
    assert_eq!((&event["event_type"], &event["keyword"]), (&entity["event_types"][0], &"stop".into()));
    assert_eq!((&event["duplicate"], &event["type"]), (&false.into(), &"detection".into()));
    assert!(event["time"].as_str().is_some_and(|t| t.ends_with('Z')), "{event}");
    assert!(live.get("/health").contains("\"mqtt\":{\"connected\":true"), "{}", live.get("/health"));
    let (status, results, notes) = live.end();
    assert_eq!(status.code(), Some(0), "{notes:?}");
    listener.until(|m| m.topic.ends_with("/availability") && m.text == "offline");
    let events = events_of(&mut listener, results.len());
    assert_eq!(events.len(), results.len(), "each once");
    assert_complete(&events, &results);
    // Each is also on the topic of its keyword.
    for event in &events {
        let topic = format!("{BASE}/detection/{}", event["keyword"].as_str().expect("a name"));
        assert!(listener.seen.iter().any(|m| m.topic == topic && m.json() == *event), "{event}");
    }
    let line = format!("mqtt 1 connections {} delivered 0 repeated 0 lost 0 waiting", results.len());
    assert!(notes.iter().any(|n| n.contains(&line)), "{line}: {notes:?}");
    // What outlasts the program is retained.
    let left = broker.retained("#");
    assert!(left.contains(&(format!("{BASE}/availability"), "offline".into())), "{left:?}");
    assert_eq!(left.iter().filter(|(t, _)| t.ends_with("/config")).count(), 2, "{left:?}");
    assert!(!left.iter().any(|(t, _)| t.contains("/detection")), "{left:?}");
}

#[test]
fn the_broker_says_offline_for_a_program_that_was_killed() {
    let Some(broker) = Broker::start("") else { return };
    let mut listener = Listener::start(&broker, &["-t", &format!("{BASE}/availability")]);
    let live = Live::start(&["--keywords", "hello", "--mqtt", &broker.url(), "--mqtt-discovery", "off"]);
    listener.until(|m| m.text == "online");
    assert!(broker.retained("homeassistant/#").is_empty(), "nothing is announced");
    live.kill();
    listener.until(|m| m.text == "offline");
    assert_eq!(broker.retained(&format!("{BASE}/#")), [(format!("{BASE}/availability"), "offline".to_owned())]);
}

#[test]
fn entities_come_and_go_with_the_keywords() {
    let Some(broker) = Broker::start("") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let words = folder.path().join("words.txt");
    let write = |text: &str| fs::write(&words, text).expect("room on the disk");
    let entities = || broker.retained("homeassistant/#").into_iter().map(|(topic, _)| topic).collect::<Vec<_>>();
    write("hello\n");
    let mut listener = Listener::start(&broker, &["-t", "homeassistant/#", "-t", &format!("{BASE}/#")]);
    let args = ["--keywords-file", &words.display().to_string(), "--mqtt", &broker.url()];
    let mut live = Live::start(&args);
    listener.on(&config("hello"));
    write("stop, smart mirror\n");
    live.running.signal("HUP");
    live.running.note("keywords reloaded");
    listener.until(|m| m.topic == config("hello") && m.text.is_empty());
    assert!(listener.seen.iter().any(|m| m.topic == config("smart_mirror") && !m.text.is_empty()));
    assert_eq!(entities(), [config("smart_mirror"), config("stop")]);
    // A keyword that is said in another way keeps its entity.
    let before = listener.seen.len();
    write("stop=[S T AO P], smart mirror\n");
    live.running.signal("HUP");
    live.running.note("keywords reloaded");
    listener.until(|m| m.topic == config("stop"));
    // Home Assistant starts, and is told everything again.
    broker.say(&["-t", "homeassistant/status", "-m", "online"]);
    listener.on("homeassistant/status");
    listener.on(&config("stop"));
    assert!(listener.seen[before..].iter().all(|m| !m.text.is_empty()), "{:?}", &listener.seen[before..]);
    // What goes while the program does not run is taken away by the next one.
    assert_eq!(live.end().0.code(), Some(0));
    write("stop\n");
    let live = Live::start(&args);
    listener.until(|m| m.topic == config("smart_mirror") && m.text.is_empty());
    assert_eq!(live.end().0.code(), Some(0));
    assert_eq!(entities(), [config("stop")]);
}

#[test]
fn a_reload_brings_more_keywords_than_queues_have_room_for() {
    let Some(broker) = Broker::start("") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let words = folder.path().join("words.txt");
    let write = |text: &str| fs::write(&words, text).expect("room on the disk");
    write("hello\n");
    let args = ["--keywords-file", &words.display().to_string(), "--mqtt", &broker.url()];
    let mut live = Live::start(&args);
    let rooms = |numbers: std::ops::Range<u32>| numbers.map(|n| format!("room {n}\n")).collect::<Vec<_>>().concat();
    write(&rooms(0..400));
    live.running.signal("HUP");
    live.running.note("keywords reloaded");
    let entities = || broker.retained("homeassistant/#").len();
    assert!(wait_until(|| entities() == 400), "{} of 400", entities());
    write(&rooms(399..400));
    live.running.signal("HUP");
    live.running.note("keywords reloaded");
    assert!(wait_until(|| entities() == 1), "{} of 1", entities());
    assert!(live.get("/health").contains("\"keywords\":[\"room 399\"]"), "{}", live.get("/health"));
    let (status, _, notes) = live.end();
    assert_eq!(status.code(), Some(0), "{notes:?}");
}

#[test]
fn a_user_needs_the_right_password() {
    let more = "password_file FOLDER/users\nacl_file FOLDER/rights";
    let Some(mut broker) = Broker::absent(more) else { return };
    for (user, password) in [("kws", "right one"), ("listener", "secret"), ("poor", "p")] {
        let file = broker.path("users");
        fs::File::options().append(true).create(true).open(&file).expect("room");
        let made = Command::new("mosquitto_passwd").arg("-b").arg(&file).args([user, password]).status();
        assert!(made.is_ok_and(|s| s.success()));
    }
    let rights =
        "user kws\ntopic readwrite #\nuser listener\ntopic readwrite #\nuser poor\ntopic write test/kws/availability\n";
    fs::write(broker.path("rights"), rights).expect("room");
    broker.run();
    let mut listener = Listener::start(&broker, &["-u", "listener", "-P", "secret", "-t", "#"]);
    let url = |user: &str| format!("mqtt://{user}@127.0.0.1:{}", broker.port);

    let mut live = Live::start(&["--keywords", "hello,stop", "--mqtt", &url("kws"), "--mqtt-password", "wrong"]);
    let why = live.running.said("refuses the user or the password");
    assert!(why.contains("KWS_MQTT_PASSWORD") && !why.contains("wrong"), "{why}");
    live.hear();
    assert_eq!(live.running.result()["type"], "detection", "the sound is not disturbed");
    let (status, _, notes) = live.end();
    assert_eq!(status.code(), Some(0), "{notes:?}");
    assert_eq!(notes.iter().filter(|n| n.contains("refuses")).count(), 1, "said once: {notes:?}");
    assert!(notes.iter().any(|n| n.contains("could not be published before the end")), "{notes:?}");

    let live = Live::with(&["--keywords", "hello", "--mqtt", &url("kws")], &[("KWS_MQTT_PASSWORD", "right one")]);
    listener.until(|m| m.text == "online");
    assert_eq!(live.end().0.code(), Some(0));
    listener.until(|m| m.text == "offline");

    // The doctor tries the door, and nobody hears of it.
    let file = broker.path("kws.toml");
    let doctor = |password: &str| {
        fs::write(&file, format!("mqtt = \"{}\"\nmqtt-password = \"{password}\"\n", url("kws"))).expect("room");
        let out = common::run(&["doctor", "--json", "--config", &file.display().to_string()]);
        let checks = common::text(&out.stdout);
        let line = checks.lines().find(|l| l.contains("\"check\":\"broker\"")).expect("a check").to_owned();
        serde_json::from_str::<Value>(&line).expect("an object")
    };
    assert_eq!(doctor("right one")["status"], "ok");
    let refused = doctor("wrong");
    assert_eq!(refused["status"], "fail");
    assert!(refused["advice"].as_str().is_some_and(|a| a.contains("mqtt-password")), "{refused}");

    // One who may not publish is told, and the events do not wait for ever.
    let mut live = Live::start(&["--keywords", "hello,stop", "--mqtt", &url("poor"), "--mqtt-password", "p"]);
    live.running.said("refuses a message: NotAuthorized");
    live.hear();
    assert!(wait_until(|| live.metric("mqtt_waiting") == 0.0), "{}", live.get("/metrics"));
    let (_, results, notes) = live.end();
    let lost = format!("{} events did not reach the MQTT broker", results.len());
    assert!(notes.iter().any(|n| n.contains(&lost)), "{notes:?}");
}

/// A key and a certificate for this machine, by an authority of the test's own.
fn certificates(folder: &Path) {
    let openssl = |line: &str| {
        let out = Command::new("openssl").args(line.split(' ')).current_dir(folder).output().expect("openssl starts");
        assert!(out.status.success(), "{line}: {}", text(&out.stderr));
    };
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").expect("room");
    for name in ["ca", "other"] {
        openssl(&format!(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {name}.key -out {name}.pem -subj /CN=test-{name}"
        ));
    }
    openssl("req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost");
    openssl("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem");
}

#[test]
fn tls_trusts_the_authority_that_is_named_and_no_other() {
    if !installed("openssl") {
        skip("openssl is not installed");
        return;
    }
    let more = "listener TLS 127.0.0.1\ncertfile FOLDER/server.pem\nkeyfile FOLDER/server.key";
    let port = free_port();
    let Some(mut broker) = Broker::absent(&more.replace("TLS", &port.to_string())) else { return };
    certificates(broker.folder.path());
    broker.run();
    let mut listener = Listener::start(&broker, &["-t", &format!("{BASE}/#")]);
    let file = |name: &str| broker.path(name).display().to_string();
    for place in ["localhost", "127.0.0.1"] {
        let url = format!("mqtts://{place}:{port}");
        let mut live = Live::start(&["--keywords", "hello,stop", "--mqtt", &url, "--mqtt-ca", &file("ca.pem")]);
        listener.until(|m| m.text == "online");
        live.hear();
        let (_, results, notes) = live.end();
        listener.until(|m| m.text == "offline");
        let delivered = format!("mqtt 1 connections {} delivered", results.len());
        assert!(notes.iter().any(|n| n.contains(&delivered)), "{notes:?}");
    }
    let url = format!("mqtts://localhost:{port}");
    let mut live = Live::start(&["--keywords", "hello", "--mqtt", &url, "--mqtt-ca", &file("other.pem")]);
    live.running.said("does --mqtt-ca name the authority");
    assert_eq!(live.metric("mqtt_connections_total"), 0.0);
    assert_eq!(live.end().0.code(), Some(0));
}

#[test]
fn a_broker_that_is_killed_and_comes_back_gets_every_event_in_order() {
    let Some(mut broker) = Broker::start("") else { return };
    let mut listener = Listener::lasting(&broker, &format!("{BASE}/#"));
    let mut live = Live::start(&["--keywords", "hello,stop", "--mqtt", &broker.url()]);
    listener.until(|m| m.text == "online");
    live.hear();
    assert!(wait_until(|| live.metric("mqtt_waiting") == 0.0));
    let quiet = live.metric("mqtt_delivered_total");
    // It hears, and does not answer any more: what it is sent now may have arrived.
    broker.signal("STOP");
    live.hear();
    let doubtful = live.metric("mqtt_waiting");
    assert!(doubtful >= 2.0, "{}", live.get("/metrics"));
    broker.kill();
    live.running.note("events wait");
    live.hear();
    assert!(live.get("/health").contains("\"mqtt\":{\"connected\":false"), "{}", live.get("/health"));
    let waiting = live.metric("mqtt_waiting");
    assert!(waiting > doubtful, "{}", live.get("/metrics"));
    broker.run();
    let back = live.running.note("is there again");
    assert!(back.contains(&format!("{waiting} events have waited")), "{back}");
    assert!(wait_until(|| live.metric("mqtt_waiting") == 0.0));
    live.hear();
    let (status, results, notes) = live.end();
    assert_eq!(status.code(), Some(0), "{notes:?}");
    let events = events_of(&mut listener, results.len());
    assert_complete(&events, &results);
    let marked: BTreeSet<String> =
        events.iter().filter(|e| e["duplicate"] == true).map(|e| e["id"].to_string()).collect();
    let ids: Vec<String> = first_of_each(&events).iter().map(|e| e["id"].to_string()).collect();
    let (from, to) = (quiet as usize, (quiet + doubtful) as usize);
    assert_eq!(marked, ids[from..to].iter().cloned().collect(), "those that may have arrived, and no others");
    let line = format!("mqtt 2 connections {} delivered {doubtful} repeated 0 lost 0 waiting", results.len());
    assert!(notes.iter().any(|n| n.contains(&line)), "{line}: {notes:?}");
    assert_eq!(notes.iter().filter(|n| n.contains("it is tried again")).count(), 1, "said once: {notes:?}");
    assert!(notes.iter().any(|n| n.contains("lost 0 samples")), "{notes:?}");
}

#[test]
fn what_finds_no_room_is_counted_and_told() {
    let Some(mut broker) = Broker::absent("") else { return };
    let mut live = Live::start(&["--keywords", "hello,stop", "--mqtt", &broker.url(), "--mqtt-spool-max-events", "3"]);
    live.running.said("events wait");
    (0..3).for_each(|_| live.hear());
    live.running.note("the oldest are dropped; see --mqtt-spool-max-events");
    assert_eq!(live.metric("mqtt_waiting"), 3.0);
    let dropped = live.metric("mqtt_dropped_total");
    assert!(
        dropped >= 3.0 && live.get("/health").contains(&format!("\"dropped\":{dropped}")),
        "{}",
        live.get("/health")
    );
    // The subscriber is there before the program comes back.
    broker.run();
    drop(Listener::lasting(&broker, &format!("{BASE}/#")));
    assert!(wait_until(|| live.metric("mqtt_waiting") == 0.0), "{}", live.get("/metrics"));
    let (status, results, notes) = live.end();
    assert_eq!(status.code(), Some(0), "{notes:?}");
    assert_eq!(results.len(), dropped as usize + 3);
    let told = format!("{dropped} events did not reach the MQTT broker");
    assert!(notes.iter().any(|n| n.contains(&told)), "{notes:?}");
    assert_eq!(notes.iter().filter(|n| n.contains("the oldest are dropped")).count(), 1, "{notes:?}");
}

#[test]
fn a_spool_on_the_disk_outlives_a_program_that_was_killed() {
    let Some(mut broker) = Broker::absent("") else { return };
    let spool = tempfile::tempdir().expect("a folder");
    let args =
        ["--keywords", "hello,stop", "--mqtt", &broker.url(), "--mqtt-spool", &spool.path().display().to_string()];
    let mut live = Live::start(&args);
    live.hear();
    let mut results = live.kill();
    assert!(results.len() >= 2);
    let never_sent = results.len();
    broker.run();
    let mut listener = Listener::start(&broker, &["-t", &format!("{BASE}/#")]);
    let mut live = Live::start(&args);
    let note = live.running.seen.iter().find(|n| n.contains("publishing to")).expect("it says where");
    assert!(note.contains(&format!("with {never_sent} events of an earlier run")), "{note}");
    let events = events_of(&mut listener, never_sent);
    assert_complete(&events, &results);
    assert!(events.iter().all(|e| e["duplicate"] == false), "none was sent before: {events:?}");
    // The broker takes them while it is stopped, as far as the network goes, and the program dies without knowing.
    assert!(wait_until(|| live.metric("mqtt_waiting") == 0.0), "{}", live.get("/metrics"));
    broker.signal("STOP");
    live.hear();
    assert!(wait_until(|| live.metric("mqtt_waiting") >= 2.0), "{}", live.get("/metrics"));
    let doubtful = live.metric("mqtt_waiting") as usize;
    let more = live.kill();
    assert!(doubtful >= 2 && more.len() >= doubtful, "{more:?}");
    results.extend(more);
    broker.signal("CONT");
    let live = Live::start(&args);
    listener.until(|m| {
        m.topic == all() && m.json()["duplicate"] == true && same(&m.json()) == same(results.last().expect("one"))
    });
    let (status, _, notes) = live.end();
    assert_eq!(status.code(), Some(0), "{notes:?}");
    let events = events_of(&mut listener, results.len());
    assert_complete(&events, &results);
    let twice: Vec<Value> = events.iter().filter(|e| e["duplicate"] == true).cloned().collect();
    assert_eq!(twice.iter().map(same).collect::<Vec<_>>(), results[never_sent..].iter().map(same).collect::<Vec<_>>());
    // Nothing is left for another run, and two programs cannot have one spool.
    let first = Live::start(&args);
    let note = first.running.seen.iter().find(|n| n.contains("publishing to")).expect("it says where");
    assert!(!note.contains("earlier run"), "{note}");
    let out = common::run(&[&["--input", &common::recording().display().to_string()], &args[..]].concat());
    let error = text(&out.stderr);
    assert_eq!((out.status.code(), error.lines().count()), (Some(2), 1), "{error}");
    assert!(error.contains("--mqtt-spool") && error.contains("another kws-live"), "{error}");
}

#[test]
fn a_full_disk_is_one_warning_and_then_memory() {
    let Some(mut broker) = Broker::absent("") else { return };
    let Some(disk) = Tiny::mount() else { return };
    let spool = disk.0.path().join("spool");
    let args = ["--keywords", "hello,stop", "--mqtt", &broker.url(), "--mqtt-spool", &spool.display().to_string()];
    let mut live = Live::start(&args);
    live.hear();
    // Until nothing more goes there.
    let mut hog = fs::File::create(disk.0.path().join("hog")).expect("room for a name");
    while hog.write_all(&[0; 512]).is_ok() {}
    // The journal has the rest of its last page, and no other.
    let size = || fs::metadata(spool.join("spool")).expect("it is there").len();
    while size() < 4_096 - 400 {
        live.hear();
    }
    (0..2).for_each(|_| live.hear());
    let warning = live.running.note("they wait in memory only");
    assert!(warning.contains("No space left"), "{warning}");
    broker.run();
    let (dropped, waiting) = (live.metric("mqtt_dropped_total"), || live.metric("mqtt_waiting"));
    assert!(dropped == 0.0 && wait_until(|| waiting() == 0.0), "{}", live.get("/metrics"));
    let (status, results, notes) = live.end();
    assert_eq!(status.code(), Some(0), "{notes:?}");
    let line = format!("{} delivered 0 repeated 0 lost 0 waiting", results.len());
    assert!(notes.iter().any(|n| n.contains(&line)), "{line}: {notes:?}");
    assert_eq!(notes.iter().filter(|n| n.contains("they wait in memory only")).count(), 1, "{notes:?}");
}

#[test]
fn without_a_broker_the_end_does_not_wait_and_says_what_was_lost() {
    let Some(broker) = Broker::absent("") else { return };
    let mut live = Live::start(&["--keywords", "hello,stop", "--mqtt", &broker.url()]);
    live.running.said("Connection refused");
    live.hear();
    let (status, results, notes) = live.end();
    assert_eq!(status.code(), Some(0), "{notes:?}");
    let told = format!("{} events could not be published before the end", results.len());
    assert!(results.len() >= 2 && notes.iter().any(|n| n.contains(&told)), "{told}: {notes:?}");
    assert!(
        notes.iter().any(|n| n.contains(&format!("{} events did not reach the MQTT broker", results.len()))),
        "{notes:?}"
    );
}

#[test]
fn a_broker_that_hangs_with_a_full_spool_holds_neither_the_end_nor_the_count_up() {
    let Some(broker) = Broker::start("") else { return };
    let mut live = Live::start(&["--keywords", "hello,stop", "--mqtt", &broker.url(), "--mqtt-spool-max-events", "1"]);
    assert!(wait_until(|| live.metric("mqtt_connected") == 1.0), "{}", live.get("/metrics"));
    broker.signal("STOP");
    live.play();
    assert!(wait_until(|| live.metric("mqtt_waiting") == 1.0), "{}", live.get("/metrics"));
    let (status, results, notes) = live.end();
    broker.signal("CONT");
    assert_eq!(status.code(), Some(0), "{notes:?}");
    assert!(!notes.iter().any(|n| n.contains("is left behind")), "{notes:?}");
    let told = format!("{} events did not reach the MQTT broker", results.len());
    assert!(results.len() >= 2 && notes.iter().any(|n| n.contains(&told)), "{told}: {notes:?}");
}
