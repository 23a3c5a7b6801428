//! What the tests of the program share.
#![allow(dead_code, reason = "each test uses its own part")]

#[cfg(target_os = "linux")]
pub mod mosquitto;
pub mod pulse;

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use kws_live::enrol::Enroller;
use kws_live::model::Bundle;
use kws_live::spotter::{Spotter, SpotterConfig};
use kws_live::text::parse_keywords;
use serde_json::Value;

/// A bound on hanging, not on speed.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Low enough for any model that knows the word at all: these tests are about the program, not about accuracy.
pub const LOW: &str = "0.05";

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_kws-live");

/// A synthetic sentence with `hello` and `stop`; see fixtures/README.md.
pub fn recording() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hello-stop.wav")
}

/// The program with arguments, without a log level from outside.
pub fn program(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args).env_remove("KWS_LOG").stdin(Stdio::null());
    command
}

/// A spotter with a list of keywords.
pub fn spotter(bundle: &Bundle, config: SpotterConfig, keywords: &str) -> Spotter {
    let mut enroller = Enroller::new(bundle, config.choice).expect("the model");
    let mut spotter = Spotter::new(bundle, config).expect("the model");
    for spec in parse_keywords(keywords).expect("a list") {
        spotter.add(enroller.text(&spec).expect("sayable words"));
    }
    spotter
}

/// Runs the program to its end.
pub fn run(args: &[&str]) -> Output {
    output(&mut program(args))
}

/// Runs any program to its end; it is given nothing to read.
pub fn output(command: &mut Command) -> Output {
    let what = format!("{command:?}");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    finish(child.unwrap_or_else(|e| panic!("{what} does not start: {e}")), &what)
}

/// What a process prints from now on, to its end; `what` says which it is.
pub fn finish(mut child: Child, what: &str) -> Output {
    drop(child.stdin.take());
    let (stdout, stderr) = (child.stdout.take().map(whole), child.stderr.take().map(whole));
    let status = ended(&mut child, what);
    let all = |pipe: Option<Receiver<Vec<u8>>>| {
        let bytes = pipe.map(|pipe| pipe.recv_timeout(PATIENCE));
        bytes.map_or_else(Vec::new, |b| b.unwrap_or_else(|_| panic!("{what} has ended, and its output has not")))
    };
    Output { status, stdout: all(stdout), stderr: all(stderr) }
}

/// All bytes of a pipe, read on a thread of its own.
fn whole(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (give, all) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("it can be read");
        give.send(bytes)
    });
    all
}

/// Waits until a process has ended. One that does not is killed, and `what` says which it was.
pub fn ended(child: &mut Child, what: &str) -> ExitStatus {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().expect("it is a child") {
            return status;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    panic!("{what} does not end");
}

/// What a run printed, as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a program can be called.
pub fn installed(name: &str) -> bool {
    let found = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    // tmux knows no --version but starts; what is missing does not.
    found.is_ok()
}

/// Results of `--json`, a line each.
pub fn records(stdout: &[u8]) -> Vec<Value> {
    text(stdout).lines().map(|line| serde_json::from_str(line).expect("a line is an object")).collect()
}

/// Samples as a pipe gives them: s16le.
pub fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|s| s.to_le_bytes()).collect()
}

/// A file system of 16 kB; unmounted at the end.
pub struct Tiny(pub tempfile::TempDir);

impl Tiny {
    /// None, and a line that says why, where nothing can be mounted.
    pub fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let out = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"]).arg(folder.path()).output();
        let reason = match out {
            Ok(out) if out.status.success() => return Some(Self(folder)),
            Ok(out) => text(&out.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        skip(&format!("no small file system can be mounted: {reason}"));
        None
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// Says why a test did not run: a skipped test must be seen in the log, and in the file that `KWS_SKIPPED` names.
#[allow(clippy::print_stderr, reason = "the test harness shows stderr")]
pub fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}");
    if let Some(list) = std::env::var_os("KWS_SKIPPED") {
        let mut list = OpenOptions::new().create(true).append(true).open(list).expect("the list of skipped tests");
        list.write_all(format!("{reason}\n").as_bytes()).expect("room for a line");
    }
}

/// Waits until `ready`, at most a minute: a bound on hanging, not on speed.
pub fn wait_until(mut ready: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if ready() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

/// 16-bit samples of the recording.
pub fn samples() -> Vec<i16> {
    let samples = kws_live::audio::decode_16k(&recording()).expect("the fixture");
    samples.iter().map(|s| (s * 32_768.0) as i16).collect()
}

/// Sends a signal to a process.
pub fn signal(child: &Child, name: &str) {
    assert!(kill(&child.id().to_string(), name));
}

/// Sends a signal, `0` for none, to the process `id`; says whether there is one. By the shell: small systems have no program for it.
pub fn kill(id: &str, signal: &str) -> bool {
    let sent = Command::new("sh").args(["-c", "kill -s \"$1\" \"$2\"", "sh", signal, id]).output();
    sent.expect("a shell").status.success()
}

/// Lines of a pipe, on a thread of their own.
pub fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (give, lines) = channel();
    std::thread::spawn(move || BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|l| give.send(l)));
    lines
}

/// The number before a word in the line of `--stats`.
pub fn before(notes: &str, word: &str) -> usize {
    beside(notes, word, -1).parse().expect("a number")
}

/// The number after it.
pub fn after(notes: &str, word: &str) -> f64 {
    beside(notes, word, 1).parse().expect("a number")
}

fn beside<'a>(notes: &'a str, word: &str, step: isize) -> &'a str {
    let stats = notes.lines().find(|l| l.contains("first_audio")).expect("--stats");
    let words: Vec<&str> = stats.split([' ', ',']).filter(|w| !w.is_empty()).collect();
    let at = words.iter().position(|w| *w == word).unwrap_or_else(|| panic!("`{word}` is not in {stats}"));
    at.checked_add_signed(step).and_then(|at| words.get(at).copied()).expect("a word beside it")
}

/// The address at the end of a note.
pub fn address(note: &str) -> String {
    note.rsplit('/').next().expect("an address").to_owned()
}

/// Sends a request over HTTP; the whole answer.
pub fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a number");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

/// Asks for a page.
pub fn get(address: &str, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

/// A client of /events.
pub struct Events(pub BufReader<TcpStream>);

impl Events {
    /// Once it is listened to.
    pub fn open(address: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a number");
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
        let mut events = Self(BufReader::new(stream));
        assert!(events.until("Content-Type").contains("text/event-stream"));
        events.until(": listening");
        events
    }

    /// The next line that begins so.
    pub fn until(&mut self, part: &str) -> String {
        let mut line = String::new();
        while !line.starts_with(part) {
            line.clear();
            assert!(self.0.read_line(&mut line).expect("text") > 0, "`{part}` does not come");
        }
        line
    }
}

/// The program while it runs; killed when it is dropped.
pub struct Running {
    /// The process.
    pub child: Child,
    notes: Receiver<String>,
    /// Lines on stdout; none if it is no pipe.
    pub results: Receiver<String>,
    /// Notes that were read.
    pub seen: Vec<String>,
}

impl Running {
    /// Starts it with its notes in a pipe.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let notes = lines(child.stderr.take().expect("a pipe"));
        let results = child.stdout.take().map_or_else(|| channel().1, lines);
        Self { child, notes, results, seen: Vec::new() }
    }

    /// The next note that contains `part`.
    pub fn note(&mut self, part: &str) -> String {
        loop {
            let next = self.notes.recv_timeout(PATIENCE);
            let line = next.unwrap_or_else(|_| panic!("`{part}` is not said: {:?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The note that contains `part`, also if it has been read already: what threads say has no order.
    pub fn said(&mut self, part: &str) -> String {
        match self.seen.iter().find(|n| n.contains(part)) {
            Some(seen) => seen.clone(),
            None => self.note(part),
        }
    }

    /// The next line on stdout.
    pub fn result(&self) -> Value {
        let line = self.results.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no detection; {:?}", self.seen));
        serde_json::from_str(&line).expect("a line is an object")
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Ends it with a signal; its status.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        ended(&mut self.child, "the program, asked to end,")
    }

    /// All notes, once it has ended.
    pub fn all_notes(&mut self) -> Vec<String> {
        loop {
            match self.notes.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => return std::mem::take(&mut self.seen),
                Err(RecvTimeoutError::Timeout) => panic!("its stderr does not end: {:?}", self.seen),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
