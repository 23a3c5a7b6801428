//! What the tests of the program share.
#![allow(dead_code, reason = "each test uses its own part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

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

/// Runs the program to its end.
pub fn run(args: &[&str]) -> Output {
    program(args).output().expect("the program starts")
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

/// Says why a test did not run: a skipped test must be seen in the log.
#[allow(clippy::print_stderr, reason = "the test harness shows stderr")]
pub fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}

/// Waits until `ready`, at most a minute: a bound on hanging, not on speed.
pub fn wait_until(mut ready: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < Duration::from_mins(1) {
        if ready() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}
