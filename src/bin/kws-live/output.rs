//! Lines on stdout that survive a reader who leaves, and lines on stderr that cannot fail and hold up nobody.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded};
use kws_live::audio::Loss;
use kws_live::engine::{Event, seconds};
use kws_live::spotter::Detection;
use serde::Serialize;

/// Who gets notes while a picture is on the screen, which a line on stderr would tear.
static PICTURE: Mutex<Option<Sender<String>>> = Mutex::new(None);

/// Lines that can wait for stderr.
const QUEUE: usize = 4_096;
/// How long the end waits for a stderr that nobody reads.
const LAST: Duration = Duration::from_secs(1);

/// The way to stderr of a program that must not wait for it.
static STDERR: OnceLock<Queue> = OnceLock::new();

/// The file of `--log`, which keeps the log and the notes.
static LOG: Mutex<Option<File>> = Mutex::new(None);

/// From now on log and notes are kept in this file.
pub fn keep_in(file: File) {
    *LOG.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
}

/// Writes a line to the log file, if there is one, and shows it.
pub fn note(line: &str) {
    keep(line);
    show_note(line);
}

/// Writes a line to the log file, if there is one, behind the time: a file for months needs that; who reads stderr, such as a
/// journal, has a clock.
pub fn keep(line: &str) {
    if let Some(file) = &mut *LOG.lock().unwrap_or_else(PoisonError::into_inner) {
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        // There is nobody to tell if it fails.
        let _ = file.write_all(format!("{now} {line}\n").as_bytes());
    }
}

/// Writes a line to stderr, or gives it to the picture that is on the screen; there is nobody to tell if that fails.
pub fn show_note(line: &str) {
    let picture = |picture: &Sender<String>| picture.send(line.to_owned()).is_ok();
    let taken = PICTURE.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(picture);
    match STDERR.get() {
        _ if taken => {}
        Some(queue) => queue.note(line),
        None => drop(writeln!(io::stderr().lock(), "{line}")),
    }
}

/// What waits for stderr.
enum Line {
    Text(String),
    /// Closes once all that came before is written.
    Mark(Sender<()>),
}

/// Lines on their way to stderr, on a thread of their own: a parent that does not read its pipe holds up nothing else.
struct Queue {
    give: Sender<Line>,
    /// Lines that found no room since the last one that did.
    dropped: AtomicU64,
    /// Whether the program ends: then each line is waited for, for a moment.
    ending: AtomicBool,
}

impl Queue {
    fn note(&self, line: &str) {
        let missing = self.dropped.swap(0, Ordering::AcqRel);
        let gap = if missing > 0 {
            format!("kws-live: {missing} lines are missing: nobody read them\n")
        } else {
            String::new()
        };
        if self.give.try_send(Line::Text(format!("{gap}{line}\n"))).is_err() {
            self.dropped.fetch_add(missing + 1, Ordering::AcqRel);
        }
        if self.ending.load(Ordering::Acquire) {
            self.flush();
        }
    }

    fn flush(&self) {
        let (mark, written) = bounded(0);
        if self.give.send_timeout(Line::Mark(mark), LAST).is_ok() {
            let _ = written.recv_timeout(LAST);
        }
    }
}

fn write_lines(lines: &Receiver<Line>, mut stderr: impl Write) {
    for line in lines {
        match line {
            Line::Text(text) => drop(stderr.write_all(text.as_bytes())),
            Line::Mark(written) => drop(written),
        }
    }
}

/// From now on no line waits for stderr, until this is dropped. Then what is left is written, as far as somebody reads it.
pub struct Unhurried(());

impl Unhurried {
    /// Starts the thread; without one lines are written as before.
    pub fn start() -> Self {
        let ((give, lines), stderr) = (bounded(QUEUE), stderr());
        let write = move || write_lines(&lines, stderr);
        if thread::Builder::new().name("kws-notes".into()).spawn(write).is_ok() {
            let _ = STDERR.set(Queue { give, dropped: AtomicU64::new(0), ending: AtomicBool::new(false) });
        }
        Self(())
    }

    /// Writes what waits, as far as somebody reads it.
    pub fn flush() {
        if let Some(queue) = STDERR.get() {
            queue.flush();
        }
    }
}

impl Drop for Unhurried {
    fn drop(&mut self) {
        if let Some(queue) = STDERR.get() {
            queue.ending.store(true, Ordering::Release);
            queue.flush();
        }
    }
}

/// A way to stderr of its own: lines that wait are not lost while `quiet` sends what others write to nowhere.
#[cfg(unix)]
fn stderr() -> Box<dyn Write + Send> {
    use std::os::fd::AsFd;

    match io::stderr().as_fd().try_clone_to_owned() {
        Ok(own) => Box::new(File::from(own)),
        Err(_) => Box::new(io::stderr()),
    }
}

#[cfg(not(unix))]
fn stderr() -> Box<dyn Write + Send> {
    Box::new(io::stderr())
}

/// Notes for a picture, as long as it is on the screen.
#[cfg(feature = "tui")]
pub struct Notes(crossbeam_channel::Receiver<String>);

#[cfg(feature = "tui")]
impl Notes {
    /// From now on.
    pub fn take() -> Self {
        let (give, notes) = crossbeam_channel::unbounded();
        *PICTURE.lock().unwrap_or_else(PoisonError::into_inner) = Some(give);
        Self(notes)
    }

    /// The next one, if there is one.
    pub fn next(&self) -> Option<String> {
        self.0.try_recv().ok()
    }

    /// No more; those that were not asked for.
    pub fn end(self) -> Vec<String> {
        *PICTURE.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.0.iter().collect()
    }
}

/// Where the log goes that nobody has given a file: it is made of notes, a line each.
pub struct Noted;

impl Write for Noted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        String::from_utf8_lossy(bytes).lines().for_each(note);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where the log goes that has a file: a record at a time.
pub struct Kept;

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        keep(text.strip_suffix('\n').unwrap_or(&text));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes text to stdout at once. False if nobody reads any more, which is no error.
pub fn print(text: &str) -> io::Result<bool> {
    printed(write(text))
}

fn printed(outcome: io::Result<()>) -> io::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(io::Error::new(e.kind(), format!("cannot write to standard output: {e}"))),
    }
}

/// The same on a terminal: that one that was closed shows nothing is no error either.
#[cfg(feature = "tui")]
pub fn print_on_terminal(text: &str) -> io::Result<bool> {
    let outcome = write(text);
    #[cfg(unix)]
    if outcome.as_ref().is_err_and(|e| e.raw_os_error() == Some(nix::errno::Errno::EIO as i32)) {
        return Ok(false);
    }
    printed(outcome)
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Milliseconds and four digits are more than the model knows.
fn round(value: f64, unit: f64) -> f64 {
    (value * unit).round() / unit
}

/// What happened to the device, as `--json` shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceRecord {
    /// `device`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `lost` or `back`.
    pub state: &'static str,
    /// Its name.
    pub device: String,
    /// Second of the stream at which sound stopped, or goes on.
    pub at: f64,
    /// Why it is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long no sound came, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub away: Option<f64>,
    /// The device with its format, which may be another one now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl DeviceRecord {
    /// What of the engine's news is about the device.
    pub fn of(event: &Event) -> Option<Self> {
        match event {
            Event::DeviceLost { loss: Loss { device, reason }, at } => Some(Self {
                kind: "device",
                state: "lost",
                device: device.clone(),
                at: round(seconds(*at), 1e3),
                reason: Some(reason.clone()),
                away: None,
                source: None,
            }),
            Event::DeviceBack { device, source, away, at, .. } => Some(Self {
                kind: "device",
                state: "back",
                device: device.clone(),
                at: round(seconds(*at), 1e3),
                reason: None,
                away: Some(round(away.as_secs_f64(), 1e3)),
                source: Some(source.clone()),
            }),
            _ => None,
        }
    }

    /// The line for programs.
    pub fn json(&self) -> String {
        // Strings and finite numbers cannot fail.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// The line for people.
    pub fn human(&self) -> String {
        match (&self.reason, &self.source) {
            (Some(reason), _) if self.at == 0.0 => format!("waiting for the microphone {}: {reason}", self.device),
            (Some(reason), _) => format!("microphone {} lost: {reason}; trying again", self.device),
            (None, source) => {
                let source = source.as_ref().unwrap_or(&self.device);
                format!("microphone {source} is back after {:.1} s", self.away.unwrap_or(0.0))
            }
        }
    }
}

/// A result as `--json` shows it, one object a line; times in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// `detection`; `found` or `best` in a search.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Name of the keyword.
    pub keyword: String,
    /// 0 to 1.
    pub score: f64,
    /// First second of the word.
    pub start: f64,
    /// Last second of the word.
    pub end: f64,
    /// The file, as it was given.
    pub file: Option<String>,
    /// The client that sent the sound, its address and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

impl Record {
    /// From samples at 16 kHz.
    pub fn new(kind: &'static str, keyword: &str, score: f32, (start, end): (u64, u64), file: Option<&str>) -> Self {
        Self {
            kind,
            keyword: keyword.into(),
            score: round(f64::from(score), 1e4),
            start: round(seconds(start), 1e3),
            end: round(seconds(end), 1e3),
            file: file.map(str::to_owned),
            client: None,
        }
    }

    /// A detection of the live mode.
    pub fn detection(hit: &Detection, file: Option<&str>) -> Self {
        Self::new("detection", &hit.name, hit.score, (hit.start, hit.end), file)
    }

    /// The line for programs.
    pub fn json(&self) -> String {
        // Strings and finite numbers cannot fail.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// The line for people.
    pub fn human(&self) -> String {
        let file = self.file.as_ref().map(|f| format!("{f}: ")).unwrap_or_default();
        format!("{file}{:7.2} - {:.2} s  {:.2}  {}\n", self.start, self.end, self.score, self.keyword)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_found_no_room_are_counted_before_the_next_one_that_does() {
        let (give, lines) = bounded(2);
        let queue = Queue { give, dropped: AtomicU64::new(0), ending: AtomicBool::new(false) };
        let text = |line: Line| match line {
            Line::Text(text) => Some(text),
            Line::Mark(_) => None,
        };
        let read = || lines.try_iter().filter_map(text).collect::<Vec<String>>();
        for line in ["one", "two", "three", "four", "five"] {
            queue.note(line);
        }
        assert_eq!(read(), ["one\n", "two\n"]);
        queue.note("six");
        queue.note("seven");
        assert_eq!(read(), ["kws-live: 3 lines are missing: nobody read them\nsix\n", "seven\n"]);
        queue.note("eight");
        assert_eq!(read(), ["eight\n"]);
    }
}
