//! `kws-live doctor`: what it says of a machine that is well, and of several that are not.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::pulse::within;
use common::{PROGRAM, output, run, text};
use serde_json::Value;

/// A machine on which no sound server can be reached.
fn without_sound(args: &[&str]) -> (tempfile::TempDir, Command) {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = within(home.path(), PROGRAM);
    command.arg("doctor").args(args);
    (home, command)
}

/// The checks by name, and the status of the program.
fn checks(command: &mut Command) -> (Vec<Value>, Option<i32>, String) {
    let out = output(command);
    let lines = text(&out.stdout).lines().map(|l| serde_json::from_str(l).expect("an object a line")).collect();
    (lines, out.status.code(), text(&out.stderr))
}

fn of<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    checks.iter().find(|c| c["check"] == name).unwrap_or_else(|| panic!("no `{name}` in {checks:?}"))
}

#[test]
fn a_machine_without_a_microphone_fails_in_that_alone_and_says_what_to_do() {
    let (_home, mut command) = without_sound(&["--json"]);
    let (found, status, notes) = checks(&mut command);
    if of(&found, "microphone")["status"] == "ok" {
        common::skip("this machine has a microphone without a sound server");
        return;
    }
    assert_eq!(status, Some(2), "{found:?}");
    assert_eq!(notes, "kws-live: not well: microphone\n");
    let names: Vec<&str> = found.iter().map(|c| c["check"].as_str().expect("a name")).collect();
    assert_eq!(names, ["config", "model", "backend", "keywords", "broker", "microphone", "level"]);
    for check in &found {
        let bad = check["check"] == "microphone";
        assert_eq!((check["status"] == "fail", check["type"] == "check"), (bad, true), "{check}");
        assert_eq!(check["advice"].is_string(), bad, "{check}");
    }
    let microphone = of(&found, "microphone");
    assert!(microphone["advice"].as_str().is_some_and(|a| a.contains("--input FILE")), "{microphone}");
    assert!(of(&found, "model")["text"].as_str().is_some_and(|t| t.contains("sums are right")));
    assert_eq!(of(&found, "level")["status"], "skip");
    let backend = of(&found, "backend")["text"].as_str().expect("text").to_owned();
    assert!(backend.contains("tract hears `hello` (score 0."), "{backend}");

    // The same for people.
    let (_home, mut command) = without_sound(&[]);
    let out = output(&mut command);
    let lines = text(&out.stdout);
    assert_eq!((out.status.code(), lines.lines().count()), (Some(2), 7), "{lines}");
    assert!(!text(&out.stderr).contains("say something"), "nothing is recorded: {}", text(&out.stderr));
    assert!(lines.lines().any(|l| l.starts_with("fail  microphone  ") && l.contains("; ")), "{lines}");
}

#[test]
fn a_configuration_is_looked_at_with_all_that_it_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kws.toml");
    let shown = file.display().to_string();
    let doctor = |config: &str| {
        fs::write(&file, config).expect("room on the disk");
        let (_home, mut command) = without_sound(&["--json", "--config", &shown]);
        checks(&mut command)
    };
    let recording = common::recording().display().to_string();
    let input = format!("input = {recording:?}\n");
    let (found, status, notes) = doctor(&format!("{input}keywords = [\"hello\", \"smart mirror\"]\n"));
    assert_eq!((status, notes.as_str()), (Some(0), ""), "{found:?}");
    assert!(found.iter().all(|c| c["status"] == "ok"), "{found:?}");
    assert!(of(&found, "keywords")["text"].as_str().is_some_and(|t| t.contains("hello, smart mirror")));

    // A short word is a doubt and no failure.
    let (found, status, _) = doctor(&format!("{input}keywords = \"go\"\n"));
    assert_eq!((status, of(&found, "keywords")["status"].as_str()), (Some(0), Some("warn")), "{found:?}");

    // So is a secret that everybody can read.
    #[cfg(all(unix, feature = "http"))]
    for (mode, status, part) in [(0o644, "warn", "KWS_LISTEN_TOKEN"), (0o600, "ok", "is good")] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a file of one's own");
        let (found, _, _) =
            doctor(&format!("{input}keywords = \"hello\"\nlisten = \"127.0.0.1:0\"\nlisten-token = \"a secret\"\n"));
        let check = of(&found, "config");
        assert!(check["status"] == status && check.to_string().contains(part), "{mode:o}: {check}");
        assert!(!check.to_string().contains("a secret"), "{check}");
    }

    // A port that somebody has, perhaps the service itself, is a doubt.
    #[cfg(feature = "http")]
    {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address");
        let (found, status, _) = doctor(&format!("{input}keywords = \"hello\"\nlisten = \"{address}\"\n"));
        let check = of(&found, "config");
        assert!(status == Some(0) && check["status"] == "warn", "{check}");
        assert!(check.to_string().contains("kws.toml: line 3: --listen"), "{check}");
    }

    // Nothing is said of what a broken configuration may hold.
    for config in ["keywords = \"hello\"\nkeywordz = 1\n", "keywords = \"hello"] {
        let (found, status, notes) = doctor(config);
        assert_eq!((status, notes.contains("keywords")), (Some(2), false), "{found:?}");
        for name in ["keywords", "broker"] {
            let check = of(&found, name);
            let skipped =
                check["status"] == "skip" && check["text"].as_str().is_some_and(|t| t.contains("not looked at"));
            assert!(skipped || name == "broker" && !cfg!(feature = "mqtt"), "{check}");
        }
    }

    let damaged = folder.path().join("model");
    fs::create_dir(&damaged).expect("room on the disk");
    for entry in Path::new(env!("CARGO_MANIFEST_DIR")).join("models/default").read_dir().expect("the model") {
        let entry = entry.expect("an entry");
        if entry.path().is_file() {
            fs::copy(entry.path(), damaged.join(entry.file_name())).expect("room on the disk");
        }
    }
    fs::write(damaged.join("window.onnx"), b"half").expect("room on the disk");
    let model = format!("{input}keywords = \"hello\"\nmodel = {:?}\n", damaged.display().to_string());
    for (config, bad, part) in [
        (format!("{input}keyword = \"hello\"\n"), "config", "line 2"),
        (format!("{input}keywords = \"hello\"\nsave = \"/proc/x\"\n"), "config", "kws.toml: line 3: --save"),
        (format!("{input}keywords = \"hello\"\nexec = \"no-such-program-anywhere\"\n"), "config", "no-such-program"),
        (format!("{input}keywords = \"hello, x=[NO]\"\n"), "keywords", "ARPAbet"),
        (model, "model", "window.onnx is damaged"),
        ("input = \"no-such.wav\"\nkeywords = \"hello\"\n".to_owned(), "microphone", "no-such.wav"),
    ] {
        let (found, status, notes) = doctor(&config);
        let check = of(&found, bad);
        assert_eq!((status, check["status"].as_str()), (Some(2), Some("fail")), "{config}: {found:?}");
        assert!(check.to_string().contains(part) && notes.contains(bad), "{config}: {check} {notes}");
    }
}

#[test]
fn a_wrong_option_takes_one_line() {
    let out = run(&["doctor", "--nonsense"]);
    assert_eq!((out.status.code(), text(&out.stderr).lines().count()), (Some(2), 1));
}

#[cfg(all(target_os = "linux", feature = "mic"))]
#[test]
fn a_microphone_is_opened_and_its_level_told() {
    use std::sync::mpsc::{TryRecvError, channel};
    use std::thread;

    let server = match common::pulse::Server::start() {
        Ok(server) => server,
        Err(reason) => {
            common::skip(&reason);
            return;
        }
    };
    // Nothing plays: the monitor gives zeros, as a muted microphone does.
    let (found, status, notes) = checks(server.within(PROGRAM).args(["doctor", "--json"]));
    assert_eq!((status, notes.as_str()), (Some(2), "kws-live: not well: level\n"), "{found:?}");
    let text = |name: &str, found: &[Value]| of(found, name)["text"].as_str().expect("text").to_owned();
    assert!(text("microphone", &found).contains(" Hz, 2 channels"), "{found:?}");
    assert!(text("level", &found).contains("muted"), "{found:?}");

    // Somebody speaks all the time, until the channel is closed: also by a panic, as the scope waits for its threads.
    thread::scope(|scope| {
        let (speaking, over) = channel::<()>();
        let server = &server;
        scope.spawn(move || {
            while over.try_recv() == Err(TryRecvError::Empty) {
                server.play();
            }
        });
        // Not before the first word is on its way, which is no matter of time but of a machine that is busy: a few attempts.
        let well = (0..5).any(|_| {
            let (found, status, _) = checks(server.within(PROGRAM).args(["doctor", "--json"]));
            status == Some(0) && text("level", &found).starts_with("peak -")
        });
        drop(speaking);
        assert!(well, "it hears what is played");
    });
}
