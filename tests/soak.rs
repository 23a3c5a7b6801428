//! Hours of sound through the program: its memory does not grow, every word is heard at its time, and its counters agree.
//!
//! Half an hour of it by default; a day of it takes some minutes:
//! `KWS_SOAK_HOURS=24 cargo test --test soak -- --nocapture`
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::io::Write;
use std::process::Stdio;

use common::{LOW, Running, after, bytes, ended, program, samples};
use serde_json::Value;

const RATE: f64 = 16_000.0;
/// Clips that may lie in the folder.
const CLIPS: usize = 20;
/// What the allocator may take more in the second half than in the first, kB.
const SLACK: u64 = 1_024;

/// Numbers that are the same in every run (Numerical Recipes' generator).
struct Draw(u32);

impl Draw {
    /// 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(self.0 >> 8) / f64::from(1_u32 << 24)
    }

    /// So many samples of a quiet room.
    fn room(&mut self, count: usize) -> Vec<i16> {
        (0..count).map(|_| (self.next() * 40.0 - 20.0) as i16).collect()
    }
}

/// Resident memory of a process, kB.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("kB")
}

#[test]
fn hours_of_sound_leave_no_trace_in_memory_and_every_word_is_heard_in_time() {
    let hours: f64 = std::env::var("KWS_SOAK_HOURS").map_or(0.5, |h| h.parse().expect("KWS_SOAK_HOURS is a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let clips = folder.path().join("clips");
    let (clips_arg, most) = (clips.display().to_string(), CLIPS.to_string());
    let args = ["--keywords", "hello,station,umbrella", "--input", "-", "--json", "--stats", "--threshold", LOW];
    let save = ["--save", &clips_arg, "--save-max-files", &most];
    let mut running =
        Running::start(program(&[&args[..], &save].concat()).stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut sound = running.child.stdin.take().expect("a pipe");
    let speech = samples();
    let mut draw = Draw(1);
    let (mut fed, mut said, mut memory) = (0_usize, Vec::new(), Vec::new());
    while (fed as f64) < hours * 3_600.0 * RATE {
        let level = 0.2 + 0.8 * draw.next();
        let mut piece: Vec<i16> = speech.iter().map(|&s| (f64::from(s) * level) as i16).collect();
        said.push(fed as f64 / RATE);
        // Long enough now and then for the model to rest.
        let pause = if draw.next() < 0.1 { 20.0 } else { 1.0 + 2.0 * draw.next() };
        piece.extend(draw.room((pause * RATE) as usize));
        // The program takes what it can: what is in the pipe is two seconds.
        sound.write_all(&bytes(&piece)).expect("it reads");
        fed += piece.len();
        memory.push(resident(running.child.id()));
    }
    drop(sound);
    assert!(ended(&mut running.child, "what has heard it all").success());
    let results: Vec<Value> = running.results.iter().map(|l| serde_json::from_str(&l).expect("an object")).collect();
    let stats = running.all_notes().into_iter().find(|l| l.contains("first_audio")).expect("--stats");

    let seconds = fed as f64 / RATE;
    let highest = |part: std::ops::Range<usize>| memory[part].iter().copied().max().expect("pieces");
    let (first, second) = (highest(memory.len() / 10..memory.len() / 2), highest(memory.len() / 2..memory.len()));
    tell(&format!(
        "{:.2} h, {} words said, {} detections; resident memory {first} kB in the first half, {second} kB in the second",
        seconds / 3_600.0,
        said.len(),
        results.len()
    ));
    assert!(second <= first + SLACK, "memory grows: {first} kB, then {second} kB");
    assert!((after(&stats, "heard") - seconds).abs() < 0.1, "{stats}");
    assert_eq!((after(&stats, "lost"), after(&stats, "dropped")), (0.0, 0.0), "{stats}");
    assert_eq!(after(&stats, "detections"), results.len() as f64, "{stats}");
    let starts = |word: &str| -> Vec<f64> {
        let hits = results.iter().filter(|r| r["keyword"] == word);
        hits.map(|r| r["start"].as_f64().expect("seconds")).collect()
    };
    let hello = starts("hello");
    // 0.6 s into the recording.
    let missed = said.iter().filter(|&&at| !hello.iter().any(|start| (start - at - 0.6).abs() < 0.25)).count();
    assert_eq!(missed, 0, "of {}", said.len());
    assert_eq!(after(&stats, "saved") + after(&stats, "clips"), results.len() as f64, "{stats}");
    let kept = fs::read_dir(&clips).expect("the folder").filter_map(Result::ok);
    let kept = kept.filter(|f| f.path().extension().is_some_and(|e| e == "wav")).count();
    assert!(kept <= CLIPS && kept > 0, "{kept} clips kept");
}

/// What was measured, for the log.
#[allow(clippy::print_stderr, reason = "the test harness shows stderr")]
fn tell(line: &str) {
    eprintln!("{line}");
}
