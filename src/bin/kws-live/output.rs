//! Lines on stdout that survive a reader who leaves, and lines on stderr that cannot fail.

use std::io::{self, ErrorKind, Write};

use kws_live::engine::seconds;
use kws_live::spotter::Detection;
use serde::Serialize;

/// Writes a line to stderr; there is nobody to tell if that fails.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes text to stdout at once. False if nobody reads any more, which is no error.
pub fn print(text: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(e),
    }
}

/// A result as `--json` shows it, one object a line; times in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// `detection` or `best`.
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
        // Milliseconds and four digits are more than the model knows.
        let round = |value: f64, unit: f64| (value * unit).round() / unit;
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
