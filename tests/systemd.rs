//! What systemd is told, through a socket as systemd has it; and the unit file, where its tools are installed.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use common::{PATIENCE, Running, bytes, installed, program, samples, skip, text, wait_until};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// The end that systemd has.
struct Manager {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
    /// Everything that was told, a line each.
    told: Vec<String>,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a number");
        Self { folder, socket, told: Vec::new() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// The program as a service; sound comes through its standard input.
    fn start(&self, watchdog: Option<Duration>, args: &[&str]) -> (Running, ChildStdin) {
        let mut command = program(&["--json", "--threshold", "0.05", "--input", "-"]);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::start(self.watched(&mut command, watchdog));
        let sound = running.child.stdin.take().expect("a pipe");
        (running, sound)
    }

    fn watched<'a>(&self, command: &'a mut Command, watchdog: Option<Duration>) -> &'a mut Command {
        command.env("NOTIFY_SOCKET", self.path()).env_remove("WATCHDOG_PID").env_remove("WATCHDOG_USEC");
        if let Some(watchdog) = watchdog {
            command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        }
        command
    }

    /// Takes what has come; how many lines of this kind are among it.
    fn take(&mut self, kind: &str) -> usize {
        let mut datagram = [0; 4_096];
        let known = self.told.len();
        while let Ok(length) = self.socket.recv(&mut datagram) {
            self.told.extend(text(&datagram[..length]).lines().map(str::to_owned));
        }
        self.told[known..].iter().filter(|l| l.starts_with(kind)).count()
    }

    fn until(&mut self, kind: &str) {
        let told = wait_until(|| self.take(kind) > 0);
        assert!(told, "`{kind}` is not told: {:?}", self.told);
    }
}

fn hear(sound: &mut ChildStdin, samples: &[i16]) {
    sound.write_all(&bytes(samples)).expect("it reads");
}

#[test]
fn ready_comes_with_the_sound_and_stopping_with_the_end() {
    let mut systemd = Manager::new();
    let words = systemd.folder.path().join("words.txt");
    fs::write(&words, "hello\n").expect("room on the disk");
    let (mut running, mut sound) = systemd.start(None, &["--keywords-file", &words.display().to_string()]);
    running.note("hello:");
    systemd.until("STATUS=listening to");
    assert!(!systemd.told.iter().any(|l| l == "READY=1"), "there is no sound yet: {:?}", systemd.told);
    // A reload before that says nothing: it would end with READY=1.
    running.signal("HUP");
    running.note("keywords reloaded: hello");
    hear(&mut sound, &samples());
    systemd.until("READY=1");
    assert!(!systemd.told.iter().any(|l| l == "RELOADING=1"), "{:?}", systemd.told);
    systemd.told.clear();

    fs::write(&words, "stop\n").expect("room on the disk");
    running.signal("HUP");
    running.note("keywords reloaded: stop");
    systemd.until("READY=1");
    let at = systemd.told.iter().position(|l| l == "RELOADING=1").expect("it is told before");
    assert!(
        systemd.told[at + 1].strip_prefix("MONOTONIC_USEC=").is_some_and(|n| n.parse::<u64>().is_ok_and(|n| n > 0))
    );
    // What cannot be read is a reload that has ended too.
    systemd.told.clear();
    fs::write(&words, "stop,,\n,").expect("room on the disk");
    running.signal("HUP");
    running.note("not reloaded");
    systemd.until("READY=1");

    let before = systemd.told.len();
    assert_eq!(running.terminate().code(), Some(0));
    systemd.until("STOPPING=1");
    assert!(!systemd.told[before..].iter().any(|l| l == "READY=1"), "{:?}", systemd.told);
    assert!(!systemd.told.iter().any(|l| l.starts_with("WATCHDOG")), "nobody asked for it: {:?}", systemd.told);
    drop(sound);
}

#[test]
fn a_worker_that_hangs_is_not_alive_and_one_that_waits_is() {
    const WATCHDOG: Duration = Duration::from_millis(800);
    let mut systemd = Manager::new();
    let (running, mut sound) = systemd.start(Some(WATCHDOG), &["--keywords", "hello"]);
    hear(&mut sound, &samples());
    systemd.until("READY=1");
    // From here on no sound comes: the worker waits, and lives.
    for _ in 0..3 {
        systemd.until("WATCHDOG=1");
    }

    // Now its thread is stopped, and nothing else of the program.
    let tasks = Path::new("/proc").join(running.child.id().to_string()).join("task");
    let worker = fs::read_dir(tasks)
        .expect("a process")
        .map(|t| t.expect("a thread").path())
        .find(|t| fs::read_to_string(t.join("comm")).is_ok_and(|name| name.trim() == "kws-worker"));
    let worker = worker.expect("the worker has a name");
    let id = worker.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok()).expect("a number");
    let worker = Pid::from_raw(id);
    if let Err(error) = ptrace::seize(worker, ptrace::Options::empty()) {
        skip(&format!("a thread cannot be stopped here: {error}"));
        return;
    }
    ptrace::interrupt(worker).expect("it is ours");
    waitpid(worker, Some(WaitPidFlag::__WALL)).expect("it stops");
    // One may have been on its way, and one is for the time before.
    systemd.take("");
    let since = Instant::now();
    let mut beats = 0;
    while since.elapsed() < WATCHDOG * 4 {
        beats += systemd.take("WATCHDOG=1");
    }
    // Let go before anything can fail: a process with a thread that is held cannot be waited for.
    ptrace::detach(worker, None).expect("it is ours");
    assert!(beats <= 1, "a worker that hangs is not alive: {:?}", systemd.told);
    systemd.until("WATCHDOG=1");
    drop(sound);
}

#[test]
fn a_wyoming_port_is_ready_once_it_listens() {
    let mut systemd = Manager::new();
    let mut command = program(&["--wyoming", "127.0.0.1:0", "--keywords", "hello", "--json"]);
    command.stdout(Stdio::piped());
    let mut running = Running::start(systemd.watched(&mut command, Some(Duration::from_secs(1))));
    for kind in ["READY=1", "STATUS=listening to Wyoming clients at tcp://127.0.0.1:", "WATCHDOG=1"] {
        if !systemd.told.iter().any(|l| l.starts_with(kind)) {
            systemd.until(kind);
        }
    }
    assert_eq!(running.terminate().code(), Some(0));
    if !systemd.told.iter().any(|l| l == "STOPPING=1") {
        systemd.until("STOPPING=1");
    }
}

#[cfg(feature = "mic")]
#[test]
fn a_microphone_that_is_lost_is_told_and_is_no_hang() {
    const WATCHDOG: Duration = Duration::from_millis(800);
    let mut server = match common::pulse::Server::start() {
        Ok(server) => server,
        Err(reason) => {
            skip(&reason);
            return;
        }
    };
    let mut systemd = Manager::new();
    let mut command = server.within(common::PROGRAM);
    command.args(["--keywords", "hello", "--json"]).stdout(Stdio::piped());
    let mut running = Running::start(systemd.watched(&mut command, Some(WATCHDOG)));
    systemd.until("READY=1");
    server.kill();
    systemd.until("STATUS=microphone");
    // Long enough that a hang would have shown.
    for _ in 0..5 {
        systemd.until("WATCHDOG=1");
    }
    server.restart(48_000).expect("it has started before");
    systemd.told.clear();
    systemd.until("STATUS=listening to");
    assert_eq!(running.terminate().code(), Some(0));
}

#[test]
fn a_program_of_exec_is_not_taken_for_the_service() {
    let systemd = Manager::new();
    let (running, mut sound) = systemd
        .start(Some(PATIENCE), &["--keywords", "hello", "--exec", "sh -c 'echo [$NOTIFY_SOCKET$WATCHDOG_USEC] >&2'"]);
    let mut running = running;
    hear(&mut sound, &samples());
    running.note("[]");
    drop(sound);
}

#[test]
fn the_unit_and_the_configuration_of_the_examples_are_good() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let folder = tempfile::tempdir().expect("a folder");
    // With a folder that is there, as StateDirectory= makes it, and that whoever runs this may use.
    let clips = folder.path().display().to_string();
    let config = fs::read_to_string(examples.join("kws-live.toml")).expect("the configuration");
    assert!(config.contains("save = \"/var/lib/kws-live\""));
    let file = folder.path().join("kws-live.toml");
    fs::write(&file, config.replace("/var/lib/kws-live", &clips)).expect("room on the disk");
    let config = file.display().to_string();
    let out = common::run(&["--config", &config, "--check-config"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("listens for hello, smart mirror"), "{}", text(&out.stdout));

    if !installed("systemd-analyze") {
        skip("systemd-analyze is not installed (apt-get install systemd)");
        return;
    }
    let verified = |name: &str, manager: &str| {
        // With a program that is there, as the tool looks for it.
        let unit = fs::read_to_string(examples.join(name)).expect("the unit");
        let unit = unit.replace("/usr/local/bin/kws-live", common::PROGRAM);
        let file = folder.path().join(name);
        fs::write(&file, unit).expect("room on the disk");
        let mut analyze = Command::new("systemd-analyze");
        // A session's manager has a folder of its own.
        let out = analyze.args([manager, "verify"]).arg(&file).env("XDG_RUNTIME_DIR", folder.path()).output();
        let out = out.expect("it starts");
        let said = text(&out.stderr);
        let about = said.lines().filter(|l| l.contains("kws-live")).collect::<Vec<_>>();
        assert!(out.status.success() && about.is_empty(), "{said}");
        file
    };
    verified("kws-live-user.service", "--user");
    let file = verified("kws-live.service", "--system");
    // The measure of its exposure, times ten; 13 when it was written.
    let out =
        Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=15"]).arg(&file).output();
    let out = out.expect("it starts");
    assert!(out.status.success(), "{} {}", text(&out.stdout), text(&out.stderr));
}
