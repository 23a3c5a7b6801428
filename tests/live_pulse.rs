//! A recording is played into a PulseAudio null sink; the program hears its monitor through cpal and ALSA, as it would hear a
//! microphone. The server is each test's own and ends with it; some end before.
#![cfg(all(target_os = "linux", feature = "mic"))]

mod common;

use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::pulse::{Server, within};
use common::{LOW, PROGRAM, Running, output, skip, text, wait_until};
use serde_json::Value;

/// One after the other: sound in real time and other work at the same time do not go well together on two cores.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn server() -> Option<Server> {
    Server::start().map_err(|reason| skip(&reason)).ok()
}

fn listen(server: &Server, more: &[&str]) -> Running {
    let args = ["--keywords", "hello,stop", "--input", "mic", "--json", "--threshold", LOW, "--stats"];
    let mut command = server.within(PROGRAM);
    Running::start(command.args(args).args(more).stdout(Stdio::piped()))
}

#[test]
fn the_default_device_is_listed_and_can_be_named() {
    let _alone = alone();
    let Some(server) = server() else { return };
    let list = text(&output(server.within(PROGRAM).arg("devices")).stdout);
    let marked: Vec<&str> = list.lines().filter_map(|line| line.strip_prefix("* ")).collect();
    assert_eq!(marked.len(), 1, "{list}");
    let mut running = listen(&server, &["--duration", "0.2"]);
    let told = running.all_notes().join("\n");
    let name = marked[0].split("  ").next().expect("its name").trim();
    assert!(told.contains(&format!("listening to {name}")), "{told} {list}");
    let mut running = listen(&server, &["--duration", "0.2", "--device", name]);
    let told = running.all_notes().join("\n");
    assert!(told.contains(&format!("listening to {name}")), "{told}");
}

fn records(running: &Running, patience: Duration) -> Vec<Value> {
    let mut heard = Vec::new();
    while let Ok(line) = running.results.recv_timeout(patience) {
        heard.push(serde_json::from_str(&line).expect("an object a line"));
    }
    heard
}

/// Plays until `hello` is heard; when it was told, and the second of the stream at which it ended. A machine that is busy may
/// lose a part of one play, not of five.
fn say_hello(server: &Server, running: &Running) -> (Instant, f64) {
    let mut all = Vec::new();
    for _ in 0..5 {
        let told = std::thread::scope(|scope| {
            let player = scope.spawn(|| server.play());
            let mut told = None;
            while !player.is_finished() || told.is_none() {
                match running.results.recv_timeout(Duration::from_secs(3)) {
                    Ok(line) => {
                        let record: Value = serde_json::from_str(&line).expect("an object a line");
                        if told.is_none() && record["keyword"] == "hello" {
                            told = Some((Instant::now(), record["end"].as_f64().expect("seconds")));
                        }
                        all.push(record);
                    }
                    Err(_) if player.is_finished() => break,
                    Err(_) => {}
                }
            }
            told
        });
        // What else is heard of this play.
        all.extend(records(running, Duration::from_secs(1)));
        if let Some(told) = told {
            return told;
        }
    }
    panic!("`hello` was not heard: {all:?} {:?}", running.seen);
}

/// The times of the stream have gone on as the clock on the wall has.
fn check_times((one, first): (Instant, f64), (another, second): (Instant, f64)) {
    let (wall, stream) = (another.duration_since(one).as_secs_f64(), second - first);
    // As loose as a busy machine needs it to hear and tell; a loss that did not count would be seconds.
    assert!((wall - stream).abs() < 2.0, "{wall} s on the wall, {stream} s in the stream");
}

/// The next line on stdout about the device.
fn device_event(running: &Running, state: &str) -> Value {
    let mut seen = Vec::new();
    let found = wait_until(|| {
        seen.extend(running.results.try_iter().map(|l| serde_json::from_str::<Value>(&l).expect("an object a line")));
        seen.iter().any(|r| r["type"] == "device")
    });
    assert!(found, "no event about the device: {seen:?}");
    let event = seen.into_iter().find(|r| r["type"] == "device").expect("it was found");
    assert_eq!(event["state"], state, "{event}");
    event
}

#[test]
fn what_is_played_is_heard_through_the_microphone() {
    let _alone = alone();
    let Some(server) = server() else { return };
    let devices = output(server.within(PROGRAM).arg("devices"));
    assert_eq!(devices.status.code(), Some(0), "{}", text(&devices.stderr));
    assert!(text(&devices.stdout).contains("48000 Hz, 2 channels"), "{}", text(&devices.stdout));

    let mut running = listen(&server, &[]);
    running.note("stop:");
    let mut heard: Vec<Value> = Vec::new();
    // A machine that is busy may lose a part of one play, not of three.
    for _ in 0..3 {
        server.play();
        heard.extend(records(&running, Duration::from_secs(3)));
        if ["hello", "stop"].iter().all(|w| heard.iter().any(|r| r["keyword"] == *w)) {
            break;
        }
    }
    let status = running.terminate();
    let notes = running.all_notes();
    assert_eq!(status.code(), Some(0), "{heard:?} {notes:?}");
    for word in ["hello", "stop"] {
        let hit = heard.iter().find(|r| r["keyword"] == word);
        let hit = hit.unwrap_or_else(|| panic!("`{word}` was not heard: {heard:?} {notes:?}"));
        assert!(hit["file"].is_null() && hit["start"].as_f64() < hit["end"].as_f64(), "{hit}");
    }
    let stats = notes.iter().find(|l| l.contains("first_audio")).expect("--stats");
    assert!(!stats.contains("first_audio never") && stats.contains("device lost 0 times"), "{stats}");
}

#[cfg(feature = "http")]
#[test]
fn a_server_that_is_killed_and_started_again_costs_only_the_time_between() {
    let _alone = alone();
    let Some(mut server) = server() else { return };
    let mut running = listen(&server, &["--listen", "127.0.0.1:0"]);
    let address = common::address(&running.note("answering at"));
    running.note("stop:");
    let first = say_hello(&server, &running);
    let mut events = common::Events::open(&address);
    assert!(common::get(&address, "/health").starts_with("HTTP/1.1 200"));

    server.kill();
    assert!(running.note("lost:").contains("trying again"), "{:?}", running.seen);
    let lost = device_event(&running, "lost");
    assert!(lost["reason"].as_str().is_some_and(|r| !r.is_empty()) && lost["at"].as_f64() > Some(first.1), "{lost}");
    let health = common::get(&address, "/health");
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("\"lost\""), "{health}");
    let metrics = common::get(&address, "/metrics");
    assert!(metrics.contains("\nkws_device_up 0\n") && metrics.contains("\nkws_device_losses_total 1\n"), "{metrics}");

    // Another rate than before, if ALSA's plug-in lets it through.
    server.restart(44_100).expect("it has started before");
    running.note("is back after");
    let back = device_event(&running, "back");
    assert!(back["away"].as_f64() > Some(0.5) && back["at"].as_f64() > lost["at"].as_f64(), "{back}");
    assert!(wait_until(|| common::get(&address, "/health").starts_with("HTTP/1.1 200")));
    assert!(common::get(&address, "/metrics").contains("\nkws_device_up 1\n"));
    for (event, record) in [("event: device", &lost), ("event: device", &back)] {
        events.until(event);
        let data: Value = serde_json::from_str(events.until("data: ").trim_start_matches("data: ")).expect("an object");
        assert_eq!(&data, record, "the same as on stdout");
    }
    check_times(first, say_hello(&server, &running));

    let status = running.terminate();
    let notes = running.all_notes();
    assert_eq!(status.code(), Some(0), "{notes:?}");
    let stats = notes.iter().find(|l| l.contains("first_audio")).expect("--stats");
    assert!(stats.contains("device lost 1 times") && !stats.contains("lost 0 samples"), "{stats}");
    for word in ["lost:", "is back after"] {
        assert_eq!(notes.iter().filter(|l| l.contains(word)).count(), 1, "one line: {notes:?}");
    }
    assert!(!notes.iter().any(|l| l.contains("ALSA lib")), "{notes:?}");
}

#[test]
fn a_source_that_is_unplugged_is_heard_again_once_it_is_back() {
    let _alone = alone();
    let Some(server) = server() else { return };
    let mut running = listen(&server, &[]);
    running.note("stop:");
    let first = say_hello(&server, &running);
    server.unplug();
    running.note("lost:");
    device_event(&running, "lost");
    server.plug_in();
    running.note("is back after");
    device_event(&running, "back");
    check_times(first, say_hello(&server, &running));
    assert_eq!(running.terminate().code(), Some(0));
}

#[test]
fn a_microphone_that_is_not_there_at_the_start_is_waited_for_if_asked() {
    let _alone = alone();
    let home = tempfile::tempdir().expect("a folder");
    let args = ["--keywords", "hello,stop", "--json", "--threshold", LOW];
    let out = output(within(home.path(), PROGRAM).args(args));
    if out.status.code() != Some(2) {
        skip("this machine has a microphone without a sound server");
        return;
    }
    assert_eq!(text(&out.stderr).lines().count(), 1, "{}", text(&out.stderr));
    let mut command = within(home.path(), PROGRAM);
    let mut running = Running::start(command.args(args).arg("--wait-for-device").stdout(Stdio::piped()));
    running.note("waiting for the microphone default");
    let lost = device_event(&running, "lost");
    assert_eq!(lost["at"], 0.0, "{lost}");
    let server = match Server::start_in(home) {
        Ok(server) => server,
        Err(reason) => {
            skip(&reason);
            return;
        }
    };
    running.note("is back after");
    device_event(&running, "back");
    say_hello(&server, &running);
    assert_eq!(running.terminate().code(), Some(0));
}

#[test]
fn a_server_that_hangs_is_noticed_and_listened_to_again_once_it_goes_on() {
    let _alone = alone();
    let Some(server) = server() else { return };
    let mut running = listen(&server, &[]);
    running.note("stop:");
    let first = say_hello(&server, &running);
    server.signal("STOP");
    let lost = running.note("lost:");
    assert!(lost.contains("no sound came for 2 s"), "nobody says it, it is noticed: {lost}");
    device_event(&running, "lost");
    server.signal("CONT");
    running.note("is back after");
    device_event(&running, "back");
    check_times(first, say_hello(&server, &running));
    assert_eq!(running.terminate().code(), Some(0));
}

#[test]
fn a_server_that_hangs_from_the_start_holds_up_nothing() {
    let _alone = alone();
    let Some(server) = server() else { return };
    server.signal("STOP");
    let mut stopped = listen(&server, &["--wait-for-device"]);
    stopped.note("waiting for the microphone default: the sound system does not answer");
    assert_eq!(stopped.terminate().code(), Some(0), "{:?}", stopped.all_notes());
    let mut running = listen(&server, &["--wait-for-device"]);
    running.note("waiting for the microphone default");
    device_event(&running, "lost");
    server.signal("CONT");
    running.note("is back after");
    device_event(&running, "back");
    say_hello(&server, &running);
    assert_eq!(running.terminate().code(), Some(0));
    for args in [&["--keywords", "hello,stop", "--input", "mic", "--json"][..], &["devices"]] {
        server.signal("STOP");
        let out = output(server.within(PROGRAM).args(args));
        // Not for longer: the server's queue of those that wait for it is short.
        server.signal("CONT");
        let error = text(&out.stderr);
        assert_eq!((out.status.code(), error.lines().count()), (Some(2), 1), "{error}");
        assert!(error.contains("does not answer") && error.contains("restart the sound server"), "{error}");
    }
}

#[test]
fn a_stop_while_the_microphone_is_away_ends_it() {
    let _alone = alone();
    let Some(mut server) = server() else { return };
    let mut running = listen(&server, &[]);
    running.note("stop:");
    say_hello(&server, &running);
    server.kill();
    running.note("lost:");
    assert_eq!(running.terminate().code(), Some(0));
}
