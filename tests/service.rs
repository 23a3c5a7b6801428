//! The program as a service: what it does with detections, how it is configured, and what does not stop it.
#![cfg(unix)]

mod common;
#[path = "service/ends.rs"]
mod ends;
#[cfg(feature = "http")]
#[path = "service/http.rs"]
mod http;

use std::fs;
use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};

use common::{LOW, Running, Tiny, before, bytes, ended, program, recording, records, run, samples, text, wait_until};
use serde_json::Value;

/// The program, listening to standard input.
struct Live {
    running: Running,
    sound: Option<ChildStdin>,
}

impl Deref for Live {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl DerefMut for Live {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.running
    }
}

impl Live {
    fn start(args: &[&str]) -> Self {
        Self::onto(Stdio::piped(), args)
    }

    fn onto(stdout: Stdio, args: &[&str]) -> Self {
        let mut command = program(&["--input", "-", "--json", "--threshold", LOW, "--stats"]);
        let mut running = Running::start(command.args(args).stdin(Stdio::piped()).stdout(stdout));
        let sound = running.child.stdin.take();
        running.note("listening to");
        Self { running, sound }
    }

    fn hear(&mut self, samples: &[i16]) {
        self.sound.as_mut().expect("it is open").write_all(&bytes(samples)).expect("it reads");
    }

    /// Ends it with a signal; the status, the results and all notes.
    fn end(mut self) -> (ExitStatus, Vec<Value>, Vec<String>) {
        let status = self.terminate();
        drop(self.sound.take());
        let results = self.results.iter().map(|l| serde_json::from_str(&l).expect("an object")).collect();
        (status, results, self.all_notes())
    }
}

fn on_file(args: &[&str]) -> std::process::Output {
    let file = recording().display().to_string();
    let mut line = vec!["--input", &file, "--json", "--threshold", LOW, "--stats", "--keywords", "hello,stop"];
    line.extend(args);
    run(&line)
}

#[test]
fn exec_is_given_every_detection_and_stdout_stays_clean() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("heard");
    let line = format!(
        r#"sh -c 'echo noise; echo "$KWS_KEYWORD $KWS_SCORE $KWS_START $KWS_END $*" >> {}' sh {{keyword}} {{score}} {{start}} {{end}}"#,
        file.display()
    );
    let out = on_file(&["--exec", &line]);
    let notes = text(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{notes}");
    let want: Vec<String> = records(&out.stdout)
        .iter()
        .map(|r| {
            let keyword = r["keyword"].as_str().expect("a name");
            let values = format!("{keyword} {} {} {}", r["score"], r["start"], r["end"]).replace(".0 ", " ");
            format!("{values} {values}")
        })
        .collect();
    let got = fs::read_to_string(&file).expect("it was written");
    for word in ["hello", "stop"] {
        assert!(got.lines().any(|l| l.starts_with(word)), "{got}");
    }
    assert!(got.lines().all(|l| want.iter().any(|w| w == l)), "{got} {want:?}");
    assert_eq!((before(&notes, "started"), before(&notes, "failed")), (got.lines().count(), 0));
    assert_eq!(before(&notes, "started") + before(&notes, "skipped"), want.len(), "{notes}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_reader_that_is_stuck_holds_up_nobody_else() {
    // Full before the program's first line: its stdout will not take a byte.
    let (_reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&vec![b'\n'; 65_536]).expect("a pipe holds so much");
    let folder = tempfile::tempdir().expect("a folder");
    let (file, dir) = (folder.path().join("heard"), folder.path().join("clips"));
    let line = format!("sh -c 'echo $KWS_KEYWORD >> {}'", file.display());
    let dir = dir.display().to_string();
    let args = ["--keywords", "hello,stop", "--exec", &line, "--exec-timeout", "1", "--save", &dir];
    let mut live = Live::onto(writer.into(), &args);
    live.hear(&samples());
    let heard = || fs::read_to_string(&file).unwrap_or_default();
    assert!(wait_until(|| heard().contains("hello") && heard().contains("stop")), "{:?}", live.seen);
    live.hear(&samples());
    assert!(wait_until(|| heard().matches("stop").count() >= 2), "the sound goes on");
    let (status, _, notes) = live.end();
    assert_eq!(status.code(), Some(0), "{notes:?}");
    assert!(notes.iter().any(|l| l.contains("`stdout` has not finished")), "{notes:?}");
    // All of them, with the one in its hand.
    let stats = notes.iter().find(|l| l.contains("first_audio")).expect("--stats");
    assert_eq!(before(stats, "events") as f64, common::after(stats, "detections"), "{stats}");
    assert!(clips(Path::new(&dir)).len() >= 4);
}

#[test]
fn a_program_over_its_time_is_killed_and_told() {
    let out = on_file(&["--exec", "sleep 100", "--exec-timeout", "0.2"]);
    let notes = text(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{notes}");
    assert!(notes.contains("was killed after 0."), "{notes}");
    assert!(before(&notes, "started") >= 2 && before(&notes, "started") == before(&notes, "failed"), "{notes}");
}

#[test]
fn a_command_that_could_not_run_is_refused_at_the_start() {
    for line in ["", "true 'open", "true {keywrod}", "no-such-program-anywhere", "/etc/passwd x", "{keyword}"] {
        let out = on_file(&["--exec", line]);
        let error = text(&out.stderr);
        assert_eq!((out.status.code(), out.stdout.len(), error.lines().count()), (Some(2), 0, 1), "{line}: {error}");
        assert!(error.starts_with("kws-live: --exec"), "{error}");
    }
}

/// The clips in a folder, oldest first: the sound and what is said about it.
fn clips(folder: &Path) -> Vec<(Vec<i16>, Value)> {
    let entries = folder.read_dir().expect("a folder").map(|e| e.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.filter(|p| p.extension().is_some_and(|e| e == "wav")).collect();
    files.sort();
    let one = |path: &PathBuf| {
        let mut reader = hound::WavReader::open(path).expect("a wav file");
        let spec = reader.spec();
        assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (1, 16_000, 16));
        let sound = reader.samples().collect::<Result<Vec<i16>, _>>().expect("samples");
        let json = fs::read_to_string(path.with_extension("json")).expect("JSON beside it");
        (sound, serde_json::from_str(&json).expect("an object"))
    };
    files.iter().map(one).collect()
}

#[test]
fn a_saved_clip_is_the_sound_around_the_word() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("new");
    let out = on_file(&["--save", &dir.display().to_string()]);
    let notes = text(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{notes}");
    let found = records(&out.stdout);
    let clips = clips(&dir);
    assert!(found.len() >= 2 && clips.len() == found.len(), "{notes}");
    assert_eq!(before(&notes, "clips"), clips.len());
    assert_eq!(dir.read_dir().expect("a folder").count(), 2 * clips.len(), "nothing else is left there");
    let source = samples();
    let second = |value: &Value| value.as_f64().expect("seconds");
    for (sound, said) in &clips {
        let same = found.iter().find(|r| ["keyword", "score", "start", "end"].iter().all(|k| r[*k] == said[*k]));
        assert!(same.is_some(), "{said} is not among {found:?}");
        assert_eq!(said["model"], "default");
        assert!(said["time"].as_str().is_some_and(|t| t.ends_with('Z')), "{said}");
        // Times are rounded to milliseconds, sound is not.
        let near = (second(&said["clip_start"]) * 16_000.0) as usize;
        let from = (near.saturating_sub(16)..near + 17).find(|from| source[*from..].starts_with(sound));
        assert!(from.is_some(), "{said}: these are not the samples of the source at that place");
        let (start, end) = (second(&said["start"]), second(&said["end"]));
        let (begin, length) = (second(&said["clip_start"]), sound.len() as f64 / 16_000.0);
        assert!((begin - (start - 1.0).max(0.0)).abs() < 0.002, "{said}");
        assert!((begin + length - (end + 0.5).min(source.len() as f64 / 16_000.0)).abs() < 0.002, "{said}");
    }
}

#[test]
fn a_near_miss_is_saved_where_it_is_asked_for_and_is_no_detection() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("clips");
    let shown = dir.display().to_string();
    let file = recording().display().to_string();
    let listen = |more: &[&str]| {
        let args = ["--input", &file, "--json", "--keywords", "hello", "--threshold", "1", "--save", &shown];
        run(&[&args[..], more].concat())
    };
    let out = listen(&[]);
    assert_eq!((out.status.code(), fs::read_dir(&dir).map_or(0, Iterator::count)), (Some(1), 0));
    let out = listen(&["--save-near", "0.75"]);
    let notes = text(&out.stderr);
    assert_eq!((out.status.code(), out.stdout.len()), (Some(1), 0), "nothing was detected: {notes}");
    let beside: Vec<Value> = fs::read_dir(&dir)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| serde_json::from_str(&fs::read_to_string(path).expect("text")).expect("an object"))
        .collect();
    let near = beside.iter().find(|b| b["start"].as_f64().is_some_and(|s| (s - 0.6).abs() < 0.25));
    let near = near.unwrap_or_else(|| panic!("`hello` came near: {beside:?}"));
    assert_eq!((&near["keyword"], &near["near_miss"]), (&"hello".into(), &true.into()));
    let out = run(&["--input", &file, "--json", "--keywords", "hello", "--save-near", "0.75"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("--save DIR"), "{}", text(&out.stderr));
}

#[test]
fn the_oldest_clip_goes_when_there_are_too_many() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = on_file(&["--save", &folder.path().display().to_string(), "--save-max-files", "1"]);
    let found = records(&out.stdout);
    let clips = clips(folder.path());
    assert_eq!(clips.len(), 1);
    assert_eq!(clips[0].1["end"], found.last().expect("a detection")["end"], "the newest stays");
    assert_eq!(before(&text(&out.stderr), "deleted"), found.len() - 1);
}

#[test]
fn a_full_disk_stops_the_saving_and_not_the_listening() {
    let Some(disk) = Tiny::mount() else { return };
    let out = on_file(&["--save", &disk.0.path().display().to_string()]);
    let notes = text(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{notes}");
    let found = records(&out.stdout);
    assert!(found.len() >= 2);
    assert_eq!(notes.lines().filter(|l| l.contains("no longer saved")).count(), 1, "{notes}");
    assert!(
        notes.contains("No space left") && notes.contains(&format!("{} clips were not saved", found.len())),
        "{notes}"
    );
    assert_eq!(disk.0.path().read_dir().expect("a folder").count(), 0, "no half files are left");
}

#[test]
fn a_folder_that_vanishes_stops_the_saving_and_not_the_listening() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("clips");
    let mut live = Live::start(&["--keywords", "hello,stop", "--save", &dir.display().to_string()]);
    live.note("stop:");
    fs::remove_dir(&dir).expect("it was made");
    live.hear(&samples());
    live.note("no longer saved");
    let mut found = vec![live.result()];
    live.hear(&samples());
    let heard = wait_until(|| {
        found.extend(live.results.try_iter().map(|l| serde_json::from_str(&l).expect("an object")));
        found.iter().any(|r: &Value| r["start"].as_f64() > Some(5.4))
    });
    assert!(heard, "{found:?}");
    let (status, _, notes) = live.end();
    assert_eq!(status.code(), Some(0), "{notes:?}");
    assert_eq!(notes.iter().filter(|l| l.contains("saved:")).count(), 1, "one warning: {notes:?}");
    assert!(!dir.exists() && notes.iter().any(|l| l.contains("clips were not saved")), "{notes:?}");
}

fn configs(folder: &str) -> Vec<PathBuf> {
    let mut folders = vec![Path::new("tests/fixtures/configs").join(folder)];
    if cfg!(feature = "http") {
        folders.push(folders[0].join("http"));
    }
    if cfg!(feature = "mqtt") {
        folders.push(folders[0].join("mqtt"));
    }
    let files = folders.iter().flat_map(|f| f.read_dir().expect("a folder")).map(|e| e.expect("an entry").path());
    files.filter(|p| p.extension().is_some_and(|e| e == "toml")).collect()
}

#[test]
fn good_configurations_pass_the_check() {
    for file in configs("valid") {
        let file = file.display().to_string();
        let out = run(&["--config", &file, "--check-config"]);
        assert_eq!(out.status.code(), Some(0), "{file}: {}", text(&out.stderr));
        let line = text(&out.stdout);
        assert!(line.lines().count() == 1 && line.contains("listens for") && line.starts_with(&file), "{line}");
        assert!(!Path::new("target/no-folder-is-made-by-a-check").exists());
    }
}

#[test]
fn broken_configurations_name_what_is_wrong_and_where() {
    let files = configs("invalid");
    assert!(files.len() > 15);
    for file in files {
        let written = fs::read_to_string(&file).expect("text");
        let expect = written.lines().next().and_then(|l| l.strip_prefix("# expect: ")).expect("its first line");
        let out = run(&["--config", &file.display().to_string(), "--check-config"]);
        let error = text(&out.stderr);
        assert_eq!((out.status.code(), out.stdout.len(), error.lines().count()), (Some(2), 0, 1), "{file:?}: {error}");
        for part in expect.split(' ') {
            assert!(error.contains(part), "{file:?}: `{part}` is not in {error}");
        }
        // Without the check it does not start to listen either, to a recording where it names nothing: its own would be overridden.
        let (file, recording) = (file.display().to_string(), recording().display().to_string());
        let input: &[&str] = if written.contains("\ninput") { &[] } else { &["--input", &recording] };
        let out = run(&[&["--config", &file], input].concat());
        assert_eq!((out.status.code(), out.stdout.len()), (Some(2), 0), "{file:?}");
    }
}

#[test]
fn what_would_not_start_does_not_pass_the_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, noise) = (folder.path().join("kws.toml"), folder.path().join("noise.wav"));
    fs::write(&noise, "no sound").expect("room on the disk");
    let clips = folder.path().join("clips");
    let here = folder.path().to_owned();
    let near = format!("input = {:?}\nsave = {clips:?}\nsave-near", recording());
    let file_input = format!("input = {:?}", recording());
    for (lines, part) in [
        ("input = \"no-such-file.wav\"".to_owned(), Some("kws.toml: line 3: cannot read")),
        (format!("{file_input}\nsave = \"/proc/x\""), Some("kws.toml: line 4: --save")),
        (format!("{file_input}\nlog = \"no/such/folder/log\""), Some("kws.toml: line 4: ")),
        #[cfg(feature = "http")]
        (
            format!("{file_input}\nlisten = \"192.0.2.1:99\"\nlisten-token = \"a secret\""),
            Some("kws.toml: line 4: --listen: cannot listen at 192.0.2.1:99"),
        ),
        ("wyoming = \"192.0.2.1:99\"".into(), Some("kws.toml: line 3: --wyoming: cannot listen at")),
        (format!("input = {noise:?}"), Some("noise.wav")),
        (format!("input = {here:?}"), Some("folder")),
        (format!("input = {:?}\ndevice = \"x\"", recording()), Some("--device")),
        ("input = \"-\"\nwait-for-device = true".into(), Some("--wait-for-device")),
        (format!("{near} = 0.4"), Some("kws.toml: line 5: --save-near 0.4")),
        (format!("{near} = 0.5"), Some("above --sensitivity 0.5")),
        (format!("{near} = 0.25\nthreshold = 0.01"), Some("--threshold 0.01")),
        (format!("{near} = 0.75"), None),
        (format!("{near} = 0.25\nthreshold = 1"), None),
        (format!("{near} = 0.75\nkeywords = \"hello@0.01\""), Some("the keywords' own thresholds")),
        (format!("{near} = 0.25\nkeywords = \"stop, hello@1.0\""), None),
    ] {
        let keywords = if lines.contains("\nkeywords") { "" } else { "keywords = \"hello\"" };
        fs::write(&file, format!("{keywords}\nno-tui = true\n{lines}\n")).expect("room on the disk");
        let file = file.display().to_string();
        let checked = run(&["--config", &file, "--check-config"]);
        let started = run(&["--config", &file]);
        let (error, same) = (text(&checked.stderr), text(&started.stderr));
        if let Some(part) = part {
            assert_eq!((checked.status.code(), started.status.code()), (Some(2), Some(2)), "{lines}: {error} {same}");
            let told = (error.lines().count(), checked.stdout.len(), started.stdout.len());
            assert_eq!(told, (1, 0, 0), "{lines}: {error}");
            assert!(error.contains(part) && same.contains(part), "{lines}: {error} {same}");
        } else {
            assert_eq!(checked.status.code(), Some(0), "{lines}: {error}");
            assert_ne!(started.status.code(), Some(2), "{lines}: {same}");
        }
    }
}

#[cfg(feature = "http")]
#[test]
fn a_port_that_the_service_itself_has_passes_the_check() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let address = taken.local_addr().expect("an address");
    write!(file, "keywords = \"hello\"\nlisten = \"{address}\"\n").expect("room on the disk");
    let out = run(&["--config", &file.path().display().to_string(), "--check-config"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
}

#[test]
fn a_signal_that_comes_twice_is_one_and_a_late_one_ends_it_at_once() {
    // Those of one wish by one shell, so that no stall makes one of them late; a hangup never is.
    let wish = "kill -TERM $0; kill -INT $0; kill -HUP $0; kill -TERM $0";
    let (hangups, late) = ("kill -HUP $0; sleep 0.1; kill -HUP $0", "kill -TERM $0; sleep 2; kill -TERM $0");
    // What outlives the program holds none of its pipes.
    let long = "sh -c 'exec sleep 20 >/dev/null 2>&1'";
    for (signals, exec, status) in [(wish, "sleep 3", 0), (hangups, "sleep 3", 0), (late, long, 130)] {
        let mut live = Live::start(&["--keywords", "hello", "--exec", exec]);
        live.note("hello:");
        live.hear(&samples());
        assert_eq!(live.result()["keyword"], "hello");
        let sent = Command::new("sh").args(["-c", signals, &live.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|s| s.success()), "{signals}");
        let (end, notes) = (ended(&mut live.child, signals), live.all_notes());
        assert_eq!(end.code(), Some(status), "{notes:?}");
        let told = notes.iter().any(|l| l.contains("exec 1 started 0 failed"));
        assert_eq!(told, status == 0, "{notes:?}");
    }
}

#[test]
fn a_configuration_is_used_and_the_command_line_overrides_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kws.toml");
    let source = recording().display().to_string();
    let words = format!("input = {source:?}\nkeywords = [\"hello\", \"stop\"]\nthreshold = {LOW}\njson = true\n");
    fs::write(&file, words).expect("room on the disk");
    let file = file.display().to_string();
    let out = run(&["--config", &file]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let found = records(&out.stdout);
    assert!(["hello", "stop"].iter().all(|w| found.iter().any(|r| r["keyword"] == *w)), "{found:?}");
    let out = run(&["--config", &file, "--keywords", "stop", "--no-tui"]);
    let found = records(&out.stdout);
    assert!(out.status.success() && !found.is_empty(), "JSON without a screen is JSON: {}", text(&out.stdout));
    assert!(found.iter().all(|r| r["keyword"] == "stop"), "{found:?}");
}

#[test]
fn keywords_are_read_again_while_the_stream_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let words = folder.path().join("words.txt");
    let write = |text: &str| fs::write(&words, text).expect("room on the disk");
    write("hello\n");
    let mut live = Live::start(&["--keywords-file", &words.display().to_string()]);
    live.note("hello:");
    // By a signal.
    write("stop\n");
    live.signal("HUP");
    live.note("keywords reloaded: stop");
    live.hear(&samples());
    assert_eq!(live.result()["keyword"], "stop");
    // A broken file changes nothing and says why.
    write("hello,,stop\n");
    live.signal("HUP");
    let why = live.note("keywords not reloaded, the old ones stay");
    assert!(why.contains("words.txt line 1"), "{why}");
    live.hear(&samples());
    let second = loop {
        let hit = live.result();
        assert_eq!(hit["keyword"], "stop");
        if hit["start"].as_f64() > Some(5.4) {
            break hit;
        }
    };
    // The clock has gone on: the word is where it is in the second play.
    assert!((8.5..10.5).contains(&second["start"].as_f64().expect("seconds")), "{second}");
    // By the change alone.
    write("hello\n");
    live.note("keywords reloaded: hello");
    live.hear(&samples());
    let hello = wait_until(|| live.results.try_iter().any(|l| l.contains("\"hello\"")));
    assert!(hello, "{:?}", live.seen);
    let (status, _, notes) = live.end();
    assert_eq!(status.code(), Some(0), "{notes:?}");
    let stats = notes.iter().find(|l| l.contains("first_audio")).expect("--stats");
    assert!(stats.contains("lost 0 samples") && stats.contains("dropped 0 events"), "{stats}");
}

#[test]
fn the_configuration_is_read_again_and_says_what_needs_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kws.toml");
    let write = |text: &str| fs::write(&file, text).expect("room on the disk");
    write("keywords = \"hello\"\n");
    let mut live = Live::start(&["--config", &file.display().to_string()]);
    live.note("hello:");
    write("keywords = [\"stop\", \"hello\"]\n");
    live.signal("HUP");
    live.note("keywords reloaded: stop, hello");
    write("keywords = \"hello\"\nsensitivity = 0.9\n");
    live.signal("HUP");
    live.note("keywords reloaded: hello; other changes need a restart");
    write("keyword = \"hello\"\n");
    live.signal("HUP");
    live.note("kws.toml: line 1: `keyword`");
    fs::remove_file(&file).expect("it is there");
    live.signal("HUP");
    assert!(live.note("kws.toml: cannot read it").contains("not reloaded, the old ones stay"));
    live.hear(&samples());
    assert_eq!(live.result()["keyword"], "hello");
    assert_eq!(live.end().0.code(), Some(0));
}
