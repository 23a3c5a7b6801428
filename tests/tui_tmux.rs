//! The real program on a real terminal, inside tmux.

mod common;

use std::process::{Command, Output};

use common::{LOW, PROGRAM, installed, kill, recording, skip, text, wait_until};

/// A private tmux server, ended with the test.
struct Tmux {
    socket: String,
    folder: tempfile::TempDir,
}

impl Tmux {
    /// Runs the program in a window of 90 by 26; its process id and its status go to files.
    fn start(args: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("socket").display().to_string();
        let tmux = Self { socket, folder };
        let script = tmux.folder.path().join("run.sh");
        std::fs::write(&script, format!("echo $$ > pid\nexec '{PROGRAM}' {args}\n")).expect("room on the disk");
        let folder = tmux.folder.path().display();
        let command = format!("cd '{folder}'; sh run.sh; echo $? > status; sleep 600");
        let out = tmux.call(&["-f", "/dev/null", "new-session", "-d", "-s", "t", "-x", "90", "-y", "26", &command]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        tmux
    }

    fn call(&self, args: &[&str]) -> Output {
        Command::new("tmux").args(["-u", "-S", &self.socket]).args(args).output().expect("tmux runs")
    }

    fn screen(&self) -> String {
        text(&self.call(&["capture-pane", "-p", "-t", "t"]).stdout)
    }

    fn keys(&self, keys: &[&str]) {
        let mut args = vec!["send-keys", "-t", "t"];
        args.extend(keys);
        self.call(&args);
    }

    fn shows(&self, part: &str) {
        let seen = wait_until(|| self.screen().contains(part));
        assert!(seen, "`{part}` does not come up:\n{}", self.screen());
    }

    fn number(&self, file: &str) -> Option<i32> {
        std::fs::read_to_string(self.folder.path().join(file)).ok()?.trim().parse().ok()
    }

    fn status(&self) -> Option<i32> {
        self.number("status")
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.call(&["kill-server"]);
    }
}

fn tmux_is_missing() -> bool {
    let missing = !installed("tmux");
    if missing {
        skip("tmux is not installed (apt-get install tmux)");
    }
    missing
}

#[test]
fn a_file_plays_and_keys_work() {
    if tmux_is_missing() {
        return;
    }
    let file = recording().display().to_string();
    let tmux = Tmux::start(&format!("--keywords hello,stop --input '{file}' --threshold {LOW}"));
    tmux.shows("keywords");
    // First of all: the recording is short.
    tmux.keys(&["p"]);
    tmux.shows("paused");
    tmux.shows("real-time factor");
    tmux.shows("HH AH L OW");
    tmux.shows("threshold 0.05");
    tmux.keys(&["Right"]);
    tmux.shows("threshold 0.08");
    tmux.keys(&["?"]);
    tmux.shows("any key closes");
    tmux.keys(&["x"]);
    tmux.keys(&["a"]);
    tmux.shows("Enter adds");
    tmux.keys(&["-l", "people"]);
    tmux.keys(&["Enter"]);
    tmux.shows("▸ people");
    tmux.keys(&["a"]);
    tmux.keys(&["-l", "?!"]);
    tmux.keys(&["Enter"]);
    tmux.shows("can be said");
    // What was refused is still there to be mended; one key leaves it, and not the program.
    tmux.shows("add: ?!");
    tmux.keys(&["Escape"]);
    tmux.shows(" a add ");
    tmux.keys(&["p"]);
    // The low threshold makes sure that any model hears something.
    tmux.shows(" heard");
    for (width, height) in [("30", "6"), ("2", "2"), ("90", "26")] {
        tmux.call(&["resize-window", "-t", "t", "-x", width, "-y", height]);
    }
    tmux.shows("ended");
    tmux.keys(&["d"]);
    tmux.shows("the stream has ended");
    tmux.keys(&["q"]);
    assert!(wait_until(|| tmux.status().is_some()), "it does not end:\n{}", tmux.screen());
    assert_eq!(tmux.status(), Some(0));
    // The screen is the shell's again, and the detections are on it.
    tmux.shows("detection");
    assert!(!tmux.screen().contains("keywords ─"), "{}", tmux.screen());
}

#[test]
fn warnings_are_on_the_screen_and_below_it_at_the_end() {
    if tmux_is_missing() {
        return;
    }
    let file = recording().display().to_string();
    let mqtt = if cfg!(feature = "mqtt") { "--mqtt mqtt://127.0.0.1:1" } else { "" };
    let tmux = Tmux::start(&format!("--keywords hello,stop --input '{file}' --threshold {LOW} --save clips {mqtt}"));
    tmux.shows("keywords ─");
    // Where the clips go, with the first word if that was heard already; another comes later.
    let clips = tmux.folder.path().join("clips");
    assert!(wait_until(|| std::fs::remove_dir_all(&clips).is_ok()), "a clip is not written for ever");
    tmux.shows("sound is no longer saved");
    tmux.shows("ended");
    tmux.keys(&["q"]);
    assert!(wait_until(|| tmux.status().is_some()), "it does not end:\n{}", tmux.screen());
    tmux.shows("kws-live: sound is no longer saved");
    if cfg!(feature = "mqtt") {
        tmux.shows("kws-live: MQTT: mqtt://127.0.0.1:1");
    }
    assert!(!tmux.screen().contains("keywords ─"), "{}", tmux.screen());
}

#[test]
fn control_c_and_a_signal_leave_a_clean_terminal() {
    if tmux_is_missing() {
        return;
    }
    let file = recording().display().to_string();
    for by_key in [true, false] {
        let tmux = Tmux::start(&format!("--keywords hello --input '{file}' --threshold 1"));
        tmux.shows("real-time factor");
        if by_key {
            tmux.keys(&["C-c"]);
        } else {
            let id = tmux.number("pid").expect("it runs").to_string();
            assert!(kill(&id, "TERM"));
        }
        assert!(wait_until(|| tmux.status().is_some()), "it does not end:\n{}", tmux.screen());
        assert_eq!(tmux.status(), Some(1));
        tmux.shows("0 detections");
    }
}

#[test]
fn it_ends_when_its_terminal_is_closed() {
    if tmux_is_missing() {
        return;
    }
    let file = recording().display().to_string();
    let tmux = Tmux::start(&format!("--keywords hello --input '{file}'"));
    tmux.shows("real-time factor");
    let id = tmux.number("pid").expect("it runs").to_string();
    tmux.call(&["kill-server"]);
    let alive = || kill(&id, "0");
    assert!(wait_until(|| !alive()), "process {id} outlives its terminal");
}

#[test]
fn errors_before_the_screen_are_one_line() {
    if tmux_is_missing() {
        return;
    }
    let tmux = Tmux::start("--keywords hello --input /no/such/file.wav");
    tmux.shows("kws-live: cannot read /no/such/file.wav");
    assert!(wait_until(|| tmux.status() == Some(2)));
}
