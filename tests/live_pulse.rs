//! A recording is played into a PulseAudio null sink; the program hears its monitor through cpal and ALSA, as it would hear a
//! microphone. The server is this test's own and ends with it.
#![cfg(all(target_os = "linux", feature = "mic"))]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use common::{PROGRAM, installed, recording, skip, text, wait_until};
use serde_json::Value;

struct Server {
    child: Child,
    home: tempfile::TempDir,
}

impl Server {
    /// Starts a server with a null sink `vmic`; says why if it cannot.
    fn start() -> Result<Self, String> {
        for program in ["pulseaudio", "pactl", "paplay"] {
            if !installed(program) {
                return Err(format!("{program} is not installed (apt-get install pulseaudio pulseaudio-utils)"));
            }
        }
        if !plugin_is_there() {
            return Err("ALSA has no pulse plug-in (apt-get install libasound2-plugins)".into());
        }
        let home = tempfile::tempdir().map_err(|e| e.to_string())?;
        let child = within(home.path(), "pulseaudio")
            .args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disallow-exit"])
            .args(["-L", "module-native-protocol-unix"])
            .args(["-L", "module-null-sink sink_name=vmic rate=48000 channels=2"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| e.to_string())?;
        let mut server = Self { child, home };
        let mut ended = false;
        let up = wait_until(|| {
            ended = server.child.try_wait().is_ok_and(|status| status.is_some());
            ended || server.within("pactl").arg("info").output().is_ok_and(|out| out.status.success())
        });
        if ended || !up {
            return Err("the PulseAudio server does not start here".into());
        }
        let set = server.within("pactl").args(["set-default-source", "vmic.monitor"]).status();
        if set.is_ok_and(|s| s.success()) { Ok(server) } else { Err("the null sink has no monitor".into()) }
    }

    fn within(&self, program: &str) -> Command {
        within(self.home.path(), program)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that knows no other sound server than this test's.
fn within(home: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("HOME", home).env("XDG_RUNTIME_DIR", home).env_remove("PULSE_SERVER").env_remove("KWS_LOG");
    command.stdin(Stdio::null());
    command
}

fn plugin_is_there() -> bool {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    folders.iter().any(|f| Path::new(f).join("alsa-lib/libasound_module_pcm_pulse.so").exists())
}

/// Ends the program also if the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_is_played_is_heard_through_the_microphone() {
    let server = match Server::start() {
        Ok(server) => server,
        Err(reason) => {
            skip(&reason);
            return;
        }
    };
    let devices = server.within(PROGRAM).arg("devices").output().expect("the program starts");
    assert_eq!(devices.status.code(), Some(0), "{}", text(&devices.stderr));
    assert!(text(&devices.stdout).contains("48000 Hz, 2 channels"), "{}", text(&devices.stdout));

    let child = server
        .within(PROGRAM)
        .args(["--keywords", "hello,stop", "--input", "mic", "--json", "--threshold", "0.05", "--stats"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut child = Running(child);
    let mut notes = BufReader::new(child.0.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.starts_with("stop:") {
        line.clear();
        assert!(notes.read_line(&mut line).expect("text") > 0, "it does not listen");
    }
    let results = BufReader::new(child.0.stdout.take().expect("a pipe"));
    let (give, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || results.lines().map_while(Result::ok).try_for_each(|l| give.send(l)));
    let mut heard: Vec<Value> = Vec::new();
    // A machine that is busy may lose a part of one play, not of three.
    for _ in 0..3 {
        let played = server.within("paplay").args(["-d", "vmic"]).arg(recording()).status();
        assert!(played.is_ok_and(|s| s.success()));
        while let Ok(line) = lines.recv_timeout(Duration::from_secs(3)) {
            heard.push(serde_json::from_str(&line).expect("an object a line"));
        }
        if ["hello", "stop"].iter().all(|w| heard.iter().any(|r| r["keyword"] == *w)) {
            break;
        }
    }
    let id = child.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().is_ok_and(|s| s.success()));
    let status = child.0.wait().expect("it ends");
    let rest: Vec<String> = notes.lines().map_while(Result::ok).collect();
    let _ = reader.join();
    assert_eq!(status.code(), Some(0), "{heard:?} {rest:?}");
    for word in ["hello", "stop"] {
        let hit = heard.iter().find(|r| r["keyword"] == word);
        let hit = hit.unwrap_or_else(|| panic!("`{word}` was not heard: {heard:?} {rest:?}"));
        assert!(hit["file"].is_null() && hit["start"].as_f64() < hit["end"].as_f64(), "{hit}");
    }
    let stats = rest.iter().find(|l| l.contains("first_audio")).expect("--stats");
    assert!(!stats.contains("first_audio never"), "{stats}");
}
