//! The program as a script sees it: exit status, one line of error, JSON lines, a reader that leaves.

mod common;

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use common::{LOW, PROGRAM, bytes, ended, finish, output, program, recording, records, run, samples, text};
use serde_json::Value;

/// Runs and expects an error: status 2, nothing on stdout, one line on stderr that holds `part`.
fn refused(args: &[&str], part: &str) {
    let out = run(args);
    let error = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{args:?}: {error}");
    assert!(out.stdout.is_empty(), "{args:?}: {}", text(&out.stdout));
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 1, "{args:?}: {error}");
    assert!(lines[0].starts_with("kws-live: ") && lines[0].contains(part), "{args:?}: {error}");
    // A reason is told once.
    assert!(lines[0].matches("os error").count() < 2, "{args:?}: {error}");
}

/// Writes a recording of 16 kHz.
fn write_wav(path: &Path, samples: &[i16]) {
    let sample_format = hound::SampleFormat::Int;
    let spec = hound::WavSpec { channels: 1, sample_rate: 16_000, bits_per_sample: 16, sample_format };
    let mut writer = hound::WavWriter::create(path, spec).expect("room on the disk");
    for sample in samples {
        writer.write_sample(*sample).expect("room on the disk");
    }
    writer.finalize().expect("room on the disk");
}

fn check_record(record: &Value, kind: &str, file: Option<&str>) {
    assert_eq!(record["type"], kind);
    let (start, end) = (record["start"].as_f64().expect("seconds"), record["end"].as_f64().expect("seconds"));
    assert!(start >= 0.0 && start < end && end < 6.5, "{record}");
    assert!((0.0..=1.0).contains(&record["score"].as_f64().expect("a number")), "{record}");
    assert_eq!(record["file"].as_str(), file);
}

#[test]
fn bad_inputs_take_one_line_and_status_2() {
    let file = recording().display().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display().to_string();
    let noise = folder.path().join("noise.wav");
    std::fs::write(&noise, b"this is no audio at all, whatever its name says").expect("room on the disk");
    let noise = noise.display().to_string();
    let empty = folder.path().join("empty.wav");
    std::fs::write(&empty, b"").expect("room on the disk");
    let empty = empty.display().to_string();
    let live = |more: &[&'static str]| {
        let mut args = vec!["--input", file.as_str()];
        args.extend(more);
        args.into_iter().map(str::to_owned).collect::<Vec<String>>()
    };
    let owned = |args: &[&str]| args.iter().map(|a| (*a).to_owned()).collect::<Vec<String>>();
    for (args, part) in [
        (live(&[]), "--keywords"),
        (live(&["--keywords", ""]), "empty"),
        (live(&["--keywords", "hello,,stop"]), "empty"),
        (live(&["--keywords", "x=[NO SUCH PHONES]"]), "ARPAbet"),
        (live(&["--keywords", "!!!"]), "!!!"),
        (live(&["--keywords", "hello@1.5"]), "hello@0.7"),
        (live(&["--example", "hello@1.5=a.wav"]), "hello@0.7"),
        (live(&["--keywords", "hello", "--sensitivity", "1.5"]), "from 0 to 1"),
        (live(&["--keywords", "hello", "--threshold", "nan"]), "from 0 to 1"),
        (live(&["--keywords", "hello", "--duration", "0"]), "seconds"),
        (live(&["--keywords", "hello", "--model", "no/such/model"]), "manifest.toml"),
        (live(&["--keywords", "hello", "--backend", "torch"]), "tract"),
        (live(&["--keywords", "hello", "--device", "x"]), "--device"),
        (live(&["--example", "hello"]), "NAME=FILE"),
        (live(&["--example", "hello=no-such-file.wav"]), "no-such-file.wav"),
        (live(&["--wyoming", "localhost:1", "--keywords", "hello"]), "cannot be used with"),
        (live(&["--keywords", "hello", "--keywords", "stop"]), "parted by commas"),
        (live(&["--keywords", "hello", "--threshold", "-1"]), "from 0 to 1"),
        (live(&["--keywords", "hello", "--provider", "cuda"]), "--backend ort"),
        (live(&["--keywords", "hello", "--save-max-files", "3"]), "without --save"),
        (live(&["--keywords", "hello", "--save-max-mb", "3"]), "without --save"),
        (live(&["--keywords", "hello", "--exec-timeout", "3"]), "without --exec"),
        (owned(&["scan", "--jobs", "0", "--keywords", "hello", &file]), "from 1 on"),
        (live(&["--keywords", "hello", "--log", "/no/such/folder/log"]), "/no/such/folder/log"),
        (owned(&["--keywords", "hello", "--input", "no-such-file.wav"]), "no-such-file.wav"),
        (owned(&["--keywords", "hello", "--input", &path]), "folder"),
        (owned(&["--keywords", "hello", "--input", &noise]), "noise.wav"),
        (owned(&["--keywords", "hello", "--input", &empty]), "empty"),
        (owned(&["--keywords", "hello", "--model", &path, "--input", &file]), "manifest.toml"),
        (owned(&["scan", "--keywords", "hello"]), "FILE"),
        (owned(&["scan", &file]), "--keywords"),
        (owned(&["scan", "--search", "--keywords", "stop,hello@0.7", &file]), "`hello@0.7`: a search"),
        (owned(&["scan", "--search", "--example", "hello@0.7=a.wav", &file]), "`hello@0.7`: a search"),
        (owned(&["scan", "--keywords", "hello", "-"]), "kws-live --input -"),
        (owned(&["phones", "?!"]), "?!"),
        (owned(&["completions", "no-shell"]), "no-shell"),
        (owned(&["--no-such-flag"]), "--no-such-flag"),
        (owned(&["--keyword", "hello"]), "found; tip: a similar"),
    ] {
        refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), part);
    }
}

#[test]
fn a_machine_without_sound_is_told_in_one_line() {
    // A private home and run-time folder and no ALSA configuration: no sound server or card can be reached.
    let home = tempfile::tempdir().expect("a folder");
    let mut command = common::pulse::within(home.path(), PROGRAM);
    let out = output(command.args(["--keywords", "hello", "--json", "--device", "no such microphone, surely"]));
    let error = text(&out.stderr);
    assert_eq!((out.status.code(), error.lines().count()), (Some(2), 1), "{error}");
    // Also on a machine with a sound card: it has another name.
    let why = if cfg!(feature = "mic") {
        "no microphone is called `no such microphone, surely`; there is: "
    } else {
        "this build has no microphone"
    };
    assert!(error.starts_with(&format!("kws-live: {why}")), "{error}");
}

#[test]
fn a_file_gives_json_lines_and_status_0() {
    let file = recording().display().to_string();
    let out = run(&["--keywords", "hello,stop", "--input", &file, "--json", "--threshold", LOW, "--stats"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let found = records(&out.stdout);
    for record in &found {
        check_record(record, "detection", Some(&file));
    }
    let at = |word: &str, from: f64, to: f64| {
        found.iter().any(|r| r["keyword"] == word && (from..to).contains(&r["start"].as_f64().expect("seconds")))
    };
    assert!(at("hello", 0.3, 1.2) && at("stop", 3.6, 4.6), "{found:?}");
    let notes = text(&out.stderr);
    for part in ["HH AH L OW", "first_audio", "real_time_factor", "dropped 0 events"] {
        assert!(notes.contains(part), "`{part}` is not in {notes}");
    }
}

#[test]
fn nothing_heard_is_status_1() {
    let file = recording().display().to_string();
    let out = run(&["--keywords", "hello", "--input", &file, "--no-tui", "--threshold", "1"]);
    assert_eq!((out.status.code(), out.stdout.len()), (Some(1), 0), "{}", text(&out.stderr));
}

#[test]
fn a_keyword_goes_by_its_own_threshold() {
    let file = recording().display().to_string();
    let out = run(&["scan", "--json", "--keywords", "hello@1.0,stop", "--threshold", LOW, &file]);
    let found = records(&out.stdout);
    assert!(!found.is_empty() && found.iter().all(|r| r["keyword"] == "stop"), "{found:?}");
    let out = run(&["--json", "--keywords", &format!("hello@{LOW}"), "--threshold", "1", "--input", &file]);
    assert!(records(&out.stdout).iter().any(|r| r["keyword"] == "hello"), "{}", text(&out.stderr));
}

#[test]
fn a_pipe_that_is_no_terminal_gets_lines_for_people() {
    let file = recording().display().to_string();
    let out = run(&["--keywords", "hello", "--input", &file, "--threshold", LOW]);
    assert_eq!(out.status.code(), Some(0));
    assert!(text(&out.stdout).lines().all(|l| l.contains(" s  ") && l.ends_with("hello")), "{}", text(&out.stdout));
}

#[test]
fn standard_input_is_heard_like_the_file() {
    let mut child = program(&["--keywords", "hello,stop", "--input", "-", "--json", "--threshold", LOW])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(&bytes(&samples())).expect("it reads to the end");
    let out = finish(child, "what hears standard input");
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let file = recording().display().to_string();
    let want = run(&["--keywords", "hello,stop", "--input", &file, "--json", "--threshold", LOW]);
    let times = |r: &Value| (r["keyword"].to_string(), r["start"].to_string(), r["end"].to_string());
    let (got, want) = (records(&out.stdout), records(&want.stdout));
    assert_eq!(got.iter().map(times).collect::<Vec<_>>(), want.iter().map(times).collect::<Vec<_>>());
    assert!(got.iter().all(|r| r["file"].is_null()));
}

#[test]
fn a_duration_ends_an_endless_stream() {
    let mut child =
        program(&["--keywords", "hello", "--input", "-", "--json", "--duration", "0.5", "--threshold", "1"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
    // Kept open: a silent pipe must not keep the program.
    let silent = child.stdin.take();
    assert_eq!(ended(&mut child, "what hears for half a second").code(), Some(1));
    drop(silent);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_with_status_0_whatever_was_heard() {
    for (signal, threshold) in [("INT", "1"), ("TERM", LOW)] {
        let args = ["--keywords", "hello,stop", "--input", "-", "--json", "--threshold", threshold];
        let mut running = common::Running::start(program(&args).stdin(Stdio::piped()).stdout(Stdio::piped()));
        let mut pipe = running.child.stdin.take().expect("a pipe");
        // Its handler stands when it tells what it listens for.
        running.note("stop:");
        pipe.write_all(&bytes(&samples())).expect("it reads");
        if threshold == LOW {
            assert_eq!(running.result()["type"], "detection");
        }
        running.signal(signal);
        let status = ended(&mut running.child, &format!("after SIG{signal} it"));
        assert_eq!(status.code(), Some(0), "SIG{signal}");
        drop(pipe);
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let file = recording().display().to_string();
    let many = vec![file.as_str(); 40];
    let mut args = vec!["scan", "--json", "--best", "--keywords", "hello,stop", "--jobs", "1"];
    args.extend(many);
    for args in [args.as_slice(), &["completions", "bash"], &["--help"], &["phones", "hello", "stop"]] {
        let mut child =
            program(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        drop(child.stdout.take());
        let out = finish(child, &format!("{args:?}"));
        let error = text(&out.stderr);
        assert!(out.status.code().is_some_and(|c| c < 2), "{args:?}: {:?} {error}", out.status);
        assert!(!error.contains("kws-live:") && !error.contains("panicked"), "{args:?}: {error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_cannot_be_written_are_told_of() {
    let file = recording().display().to_string();
    let scan = ["scan", "--keywords", "hello", "--threshold", LOW, &file];
    for args in [&scan[..], &["--input", &file, "--keywords", "hello", "--threshold", LOW], &["phones", "hello"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("a device that takes nothing");
        let child = program(args).stdout(full).stderr(Stdio::piped()).spawn().expect("the program starts");
        let out = finish(child, &format!("{args:?}"));
        let error = text(&out.stderr);
        let told =
            error.lines().filter(|l| l.starts_with("kws-live: cannot write to standard output: No space")).count();
        assert_eq!((out.status.code(), told), (Some(2), 1), "{args:?}: {error}");
    }
}

#[test]
fn a_search_decides_over_all_files_and_shows_the_most_relevant_place_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let copies: Vec<String> = (0..2)
        .map(|i| {
            let path = folder.path().join(format!("{i}.wav"));
            std::fs::copy(recording(), &path).expect("room on the disk");
            path.display().to_string()
        })
        .collect();
    let out = run(&["scan", "--search", "--json", "--keywords", "station,hello,kubernetes", &copies[0], &copies[1]]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let found = records(&out.stdout);
    // Keyword by keyword, as they were given; what nobody says is not found.
    let mut order: Vec<&str> = found.iter().map(|r| r["keyword"].as_str().expect("a name")).collect();
    order.dedup();
    assert_eq!(order, ["station", "hello"]);
    for pair in found.windows(2).filter(|p| p[0]["keyword"] == p[1]["keyword"]) {
        assert!(pair[0]["score"].as_f64() >= pair[1]["score"].as_f64(), "{found:?}");
    }
    // The same sound in two files is found in both.
    for file in &copies {
        assert!(found.iter().any(|r| r["keyword"] == "hello" && r["file"] == file.as_str()), "{found:?}");
    }
    assert!(found.iter().all(|r| r["type"] == "found" && r["score"].as_f64() >= Some(0.5)));
    let out = run(&["scan", "--search", "--keywords", "hello", "--best", &copies[0]]);
    assert_eq!(out.status.code(), Some(2));
}

#[cfg(feature = "search")]
#[test]
fn a_search_hears_with_a_model_of_its_own() {
    let by = |model: &str| {
        let folder = format!("{}/models/{model}", env!("CARGO_MANIFEST_DIR"));
        let mut args = vec!["scan", "--search", "--json", "--keywords", "station,hello"];
        args.extend(if model.is_empty() { vec![] } else { vec!["--model", &folder] });
        let sound = recording().display().to_string();
        args.push(&sound);
        records(&run(&args).stdout)
    };
    let built_in = by("");
    assert!(!built_in.is_empty());
    assert_eq!(built_in, by("search"));
    assert_ne!(built_in, by("default"));
}

#[test]
fn scan_keeps_the_order_and_goes_on_after_a_broken_file() {
    let good = recording();
    let folder = tempfile::tempdir().expect("a folder");
    let copies: Vec<String> = (0..4)
        .map(|i| {
            let path = folder.path().join(format!("{i}.wav"));
            std::fs::copy(&good, &path).expect("room on the disk");
            path.display().to_string()
        })
        .collect();
    let broken = folder.path().join("broken.wav").display().to_string();
    std::fs::write(&broken, b"RIFF\x10\0\0\0WAVEnothing more").expect("room on the disk");
    let files = [&copies[3], &copies[0], &broken, &copies[2], &copies[1]];
    let mut args = vec!["scan", "--json", "--keywords", "hello,stop", "--threshold", LOW, "--jobs", "3"];
    args.extend(files.iter().map(|f| f.as_str()));
    let out = run(&args);
    let error = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{error}");
    assert!(error.contains("broken.wav"), "{error}");
    let found = records(&out.stdout);
    let mut order: Vec<&str> = found.iter().map(|r| r["file"].as_str().expect("a file")).collect();
    order.dedup();
    assert_eq!(order, [&copies[3], &copies[0], &copies[2], &copies[1]]);
    let of = |file: &str| {
        let hits = found.iter().filter(|r| r["file"] == file);
        hits.map(|r| (r["keyword"].to_string(), r["start"].to_string(), r["score"].to_string())).collect::<Vec<_>>()
    };
    assert_eq!(of(&copies[0]), of(&copies[3]), "a spotter that is used again is as new");
    assert!(!of(&copies[0]).is_empty());
}

#[cfg(unix)]
#[test]
fn scan_goes_on_after_a_folder_that_cannot_be_listed() {
    let home = tempfile::tempdir().expect("a folder");
    let at = |name: &str| home.path().join(name);
    std::fs::copy(recording(), at("z.wav")).expect("room on the disk");
    // Too deep for any path, for any user: two halves, put together.
    let chain = |name: &str| (0..9).fold(at(name), |path, _| path.join("x".repeat(250)));
    for half in ["a", "half"] {
        std::fs::create_dir_all(chain(half)).expect("room on the disk");
    }
    std::fs::rename(at("half"), chain("a").join("half")).expect("room on the disk");
    let folder = home.path().display().to_string();
    let scan = |more: &[&str]| {
        let args = ["scan", "--json", "--keywords", "hello", "--threshold", LOW, &folder];
        let out = run(&[&args[..], more].concat());
        (out.status.code(), records(&out.stdout), text(&out.stderr))
    };
    let (status, found, notes) = scan(&[]);
    assert!(!found.is_empty() && found.iter().all(|r| r["file"] == at("z.wav").display().to_string()), "{found:?}");
    assert_eq!((status, notes.matches("cannot list it").count()), (Some(2), 1), "{notes}");
    assert!(notes.contains("folders that gave no recording: 1"), "{notes}");
    let (status, again, notes) = scan(&["no-such-file.wav"]);
    assert_eq!((status, again), (Some(2), found));
    assert!(notes.contains("1 of 2 files could not be scanned; folders that gave no recording: 1"), "{notes}");
}

#[cfg(unix)]
#[test]
fn links_in_a_folder_are_not_passed_over_in_silence() {
    use std::os::unix::fs::symlink;

    let home = tempfile::tempdir().expect("a folder");
    let at = |name: &str| home.path().join(name);
    std::fs::create_dir_all(at("real")).expect("room on the disk");
    std::fs::create_dir_all(at("only/links")).expect("room on the disk");
    std::fs::copy(recording(), at("real/z.wav")).expect("room on the disk");
    symlink(at("nowhere"), at("real/dead.wav")).expect("a link");
    symlink(at("nowhere"), at("real/dead.txt")).expect("a link");
    symlink(at("real"), at("only/links/more")).expect("a link");
    symlink(at("only"), at("real/loop")).expect("a link");
    let out = run(&["scan", "--json", "--keywords", "hello", "--threshold", LOW, &at("real").display().to_string()]);
    let notes = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{notes}");
    assert!(notes.contains("dead.wav: No such file") && notes.contains("1 of 2 files"), "{notes}");
    assert!(notes.contains("loop: a link to a folder is not followed") && !notes.contains("dead.txt"), "{notes}");
    assert!(!records(&out.stdout).is_empty(), "the rest is searched");
    let out = run(&["scan", "--keywords", "hello", &at("only").display().to_string()]);
    let notes = text(&out.stderr);
    assert!(notes.contains("more: a link to a folder") && notes.contains("are not followed"), "{notes}");
}

#[test]
fn samples_that_are_no_numbers_are_counted() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/damaged/not-a-number.wav");
    let file = file.display().to_string();
    for args in [["scan", "--keywords", "hello", &file], ["--input", &file, "--keywords", "hello"]] {
        let told = text(&run(&args).stderr);
        assert_eq!(told.matches("samples are no numbers").count(), 1, "{args:?}: {told}");
    }
}

#[test]
fn a_recording_that_is_no_example_is_named() {
    let file = recording().display().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let short = folder.path().join("short.wav");
    write_wav(&short, &[0; 1_600]);
    let example = format!("q={}", short.display());
    refused(&["scan", "--example", &example, &file], "short.wav: example 1 of `q`: it lasts 0.10 s");
}

#[test]
fn damage_in_a_recording_is_told_and_the_rest_is_heard() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tones/440.flac");
    let mut bytes = std::fs::read(whole).expect("the fixture");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40].fill(0);
    let damaged = folder.path().join("damaged.flac");
    std::fs::write(&damaged, bytes).expect("room on the disk");
    let out = run(&["scan", "--keywords", "hello", &damaged.display().to_string()]);
    let told = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "nothing is said in it: {told}");
    assert_eq!(told.matches("damaged.flac: damaged").count(), 1, "{told}");
}

#[test]
fn what_fuzzing_broke_is_told_and_the_search_goes_on() {
    let damaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/damaged");
    let good = recording().display().to_string();
    let files: Vec<_> = std::fs::read_dir(damaged).expect("the folder").collect();
    assert!(!files.is_empty(), "there is something to try");
    for file in files {
        let file = file.expect("a file").path().display().to_string();
        let out = run(&["scan", "--json", "--keywords", "hello", "--threshold", LOW, &file, &good]);
        let error = text(&out.stderr);
        // It is refused, or heard with silence for what is damaged: either is told with its name.
        assert!(error.lines().any(|l| l.contains(&file)), "{file}: {error}");
        let refused = error.contains("1 of 2 files could not be scanned");
        assert_eq!(out.status.code(), Some(if refused { 2 } else { 0 }), "{file}: {error}");
        assert!(records(&out.stdout).iter().any(|r| r["file"] == good.as_str()), "{file}: {error}");
    }
}

#[test]
fn best_tells_every_keyword_also_below_the_threshold() {
    let file = recording().display().to_string();
    let out = run(&["scan", "--json", "--best", "--keywords", "hello,stop", "--threshold", "1", &file]);
    assert_eq!(out.status.code(), Some(1), "nothing reaches 1: {}", text(&out.stderr));
    let found = records(&out.stdout);
    assert_eq!(found.len(), 2);
    for (record, word) in found.iter().zip(["hello", "stop"]) {
        check_record(record, "best", Some(&file));
        assert_eq!(record["keyword"], word);
    }
}

#[test]
fn a_recording_is_found_by_a_piece_of_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let query = folder.path().join("query.wav");
    // `hello`, cut off where it begins and ends.
    write_wav(&query, &samples()[10_000..17_500]);
    let file = recording().display().to_string();
    let example = format!("greeting={}", query.display());
    let out = run(&["scan", "--json", "--best", "--example", &example, &file]);
    assert!(out.status.code().is_some_and(|c| c < 2), "{}", text(&out.stderr));
    let found = records(&out.stdout);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["keyword"], "greeting");
    let start = found[0]["start"].as_f64().expect("seconds");
    assert!((0.3..1.2).contains(&start), "{found:?}");
    // It is heard as a word, and has the threshold that is given with it.
    let own = example.replace("greeting", "greeting@1.0");
    let out = run(&["--json", "--threshold", LOW, "--example", &own, "--input", &file]);
    assert_eq!((out.status.code(), out.stdout.len()), (Some(1), 0), "{}", text(&out.stderr));
    let live = run(&["--json", "--example", &example, "--input", &file]);
    let told = text(&live.stderr);
    assert!(told.contains("greeting: HH AH L OW") || told.contains("greeting: HH EH L OW"), "{told}");
}

#[test]
fn phones_tell_where_they_come_from() {
    let out = run(&["phones", "hello", "siobhan=[SH AH V AO N]"]);
    let lines = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(lines.contains("HH AH L OW  (lexicon)") && lines.contains("SH AH V AO N  (given)"), "{lines}");
}

#[test]
fn completions_and_help_know_the_options() {
    for args in [["completions", "bash"].as_slice(), &["completions", "zsh"], &["--help"], &["help", "--help"]] {
        let out = run(args);
        let script = text(&out.stdout);
        assert_eq!(out.status.code(), Some(0));
        for part in ["--keywords", "--sensitivity", "scan", "devices"] {
            assert!(script.contains(part), "{args:?} lacks {part}");
        }
    }
}
