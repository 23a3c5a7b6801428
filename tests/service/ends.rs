//! How it begins and ends where somebody is in the way: signals that come early, readers that do not read, a stdout that fails.

use std::sync::mpsc::channel;

use super::common::{PATIENCE, finish, lines, signal};
use super::*;

/// A pipe that will not take a byte: full before the program's first line.
fn full() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&vec![b'\n'; 65_536]).expect("a pipe holds so much");
    (reader, writer)
}

#[cfg(target_os = "linux")]
#[test]
fn a_stderr_that_nobody_reads_holds_up_nothing() {
    let (_reader, writer) = full();
    let args = ["--input", "-", "--json", "--threshold", LOW, "--stats", "--keywords", "hello,stop", "--exec", "false"];
    let mut command = program(&args);
    command.env("KWS_LOG", "debug").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(writer);
    let mut child = command.spawn().expect("the program starts");
    let results = lines(child.stdout.take().expect("a pipe"));
    let mut sound = child.stdin.take().expect("a pipe");
    for _ in 0..3 {
        sound.write_all(&bytes(&samples())).expect("it reads");
        let heard = || results.recv_timeout(PATIENCE).expect("a detection").contains("stop");
        while !heard() {}
    }
    signal(&child, "TERM");
    assert_eq!(ended(&mut child, "what nobody reads").code(), Some(0));
}

/// Opens a pipe of the file system to write, once somebody reads it.
fn reach(pipe: &Path) -> fs::File {
    let (give, opened) = channel();
    let pipe = pipe.to_owned();
    std::thread::spawn(move || give.send(fs::File::options().write(true).open(pipe).expect("a pipe")));
    opened.recv_timeout(PATIENCE).expect("the program reads it")
}

#[test]
fn signals_that_come_while_it_loads_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let words = folder.path().join("words");
    assert!(Command::new("mkfifo").arg(&words).status().is_ok_and(|s| s.success()));
    let start = |name: &str| {
        let args = ["--input", "-", "--json", "--keywords-file", &words.display().to_string()];
        let running = Running::start(program(&args).stdin(Stdio::piped()).stdout(Stdio::piped()));
        // It does not listen yet: it waits for its keywords.
        let mut pipe = reach(&words);
        running.signal(name);
        pipe.write_all(b"hello\n").expect("it reads");
        running
    };
    let mut asked = start("TERM");
    let status = ended(&mut asked.child, "what was asked while it loaded");
    assert_eq!(status.code(), Some(0), "{:?}", asked.all_notes());
    let mut again = start("HUP");
    again.note("hello:");
    reach(&words).write_all(b"stop\n").expect("it reads");
    again.note("keywords reloaded: stop");
    assert_eq!(again.terminate().code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_stdout_that_fails_ends_it_and_all_counts_are_told() {
    let file = recording().display().to_string();
    let args = ["--input", &file, "--json", "--threshold", LOW, "--stats", "--keywords", "hello,stop"];
    let full = fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let child = program(&args).stdout(full).stderr(Stdio::piped()).spawn().expect("the program starts");
    let out = finish(child, "what cannot write");
    let notes = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{notes}");
    assert!(notes.contains("cannot write to standard output") && notes.contains("first_audio"), "{notes}");
}

#[test]
fn a_log_file_keeps_what_was_said_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    fs::write(&log, "an earlier run\n").expect("room on the disk");
    let out = on_file(&["--log", &log.display().to_string(), "--exec", "false"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let said = fs::read_to_string(&log).expect("text");
    assert!(said.starts_with("an earlier run\n") && said.contains("exec for `hello`"), "{said}");
    // What is told on stderr too, each line with its time.
    assert!(said.contains("Z hello: HH"), "{said}");
    let timed = |line: &str| line.len() > 20 && line.as_bytes()[10] == b'T' && line.as_bytes()[19] == b'Z';
    assert!(said.lines().skip(1).all(timed), "{said}");
}
