//! `--exec`: a program for every detection, started without a shell, under a time limit.

mod command;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use kws_live::text::same_name;

pub use command::Template;

use super::{Notice, Sink};
use crate::output::Record;

/// How often running programs are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What became of the programs.
#[derive(Debug, Default)]
pub struct ExecCount {
    started: AtomicU64,
    failed: AtomicU64,
    skipped: AtomicU64,
}

impl ExecCount {
    /// Programs that were started.
    pub fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// Those of them that ended with another status than 0 or were killed, and those that could not be started.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Detections that came while the program of the same keyword still ran.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }
}

/// A program that runs.
struct Running {
    /// The keyword: its name stays when its pronunciation changes, its handle does not.
    name: String,
    child: Child,
    began: Instant,
}

/// Starts the program, at most once at a time for a keyword.
pub struct Exec {
    template: Template,
    limit: Duration,
    /// Whether its stderr may be this program's: not while a picture is on the screen.
    screen: bool,
    running: Vec<Running>,
    count: Arc<ExecCount>,
}

impl Exec {
    /// With `quiet` nothing that the program prints is shown.
    pub fn new(template: Template, limit: Duration, quiet: bool) -> Self {
        Self { template, limit, screen: !quiet, running: Vec::new(), count: Arc::default() }
    }

    /// What became of the programs, also while it runs.
    pub fn count(&self) -> Arc<ExecCount> {
        self.count.clone()
    }

    fn start(&mut self, record: &Record) {
        let name = &record.keyword;
        if self.running.iter().any(|r| same_name(&r.name, name)) {
            self.count.skipped.fetch_add(1, Ordering::Relaxed);
            log::info!("exec for `{name}` is skipped: the one before still runs");
            return;
        }
        let mut command = self.template.command(record);
        command.stdin(Stdio::null());
        // Results are alone on stdout: what the program prints goes where notes go.
        if self.screen {
            command.stdout(std::io::stderr());
        } else {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        apart(&mut command);
        match command.spawn() {
            Ok(child) => {
                self.count.started.fetch_add(1, Ordering::Relaxed);
                self.running.push(Running { name: name.clone(), child, began: Instant::now() });
            }
            Err(error) => {
                self.count.failed.fetch_add(1, Ordering::Relaxed);
                log::warn!("exec for `{name}` cannot be started: {error}");
            }
        }
    }

    /// Looks after the programs that run: takes note of those that ended, kills those that are over their time.
    fn look(&mut self) {
        let (limit, count) = (self.limit, &self.count);
        self.running.retain_mut(|running| {
            let (name, spent) = (&running.name, running.began.elapsed());
            let outcome = match running.child.try_wait() {
                Ok(None) if spent < limit => return true,
                Ok(None) => {
                    kill(&mut running.child);
                    let _ = running.child.wait();
                    Err(format!("was killed after {:.1} s; see --exec-timeout", spent.as_secs_f64()))
                }
                Ok(Some(status)) if status.success() => Ok(status),
                Ok(Some(status)) => Err(format!("ended with {status}")),
                Err(error) => Err(format!("cannot be watched: {error}")),
            };
            match outcome {
                Ok(status) => log::info!("exec for `{name}` ended with {status} after {:.1} s", spent.as_secs_f64()),
                Err(reason) => {
                    count.failed.fetch_add(1, Ordering::Relaxed);
                    log::warn!("exec for `{name}` {reason}");
                }
            }
            false
        });
    }
}

impl Sink for Exec {
    fn name(&self) -> &'static str {
        "exec"
    }

    fn run(mut self: Box<Self>, notices: Receiver<Notice>) {
        loop {
            let next = if self.running.is_empty() {
                notices.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                notices.recv_timeout(LOOK)
            };
            self.look();
            match next {
                Ok(Notice::Detection(record)) => self.start(&record),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        while !self.running.is_empty() {
            std::thread::sleep(LOOK);
            self.look();
        }
    }
}

/// In a process group of its own: Ctrl-C is meant for this program, and a time limit also for what the program started.
#[cfg(unix)]
fn apart(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
}

#[cfg(not(unix))]
fn apart(_: &mut Command) {}

#[cfg(unix)]
fn kill(child: &mut Child) {
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;
    if let Ok(group) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let _ = child.kill();
}

#[cfg(not(unix))]
fn kill(child: &mut Child) {
    let _ = child.kill();
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn exec(line: &str, limit: Duration) -> Exec {
        Exec::new(Template::parse(line).expect("a good line"), limit, true)
    }

    /// Runs it for these keywords.
    fn run(exec: Exec, keywords: &[&str]) -> Arc<ExecCount> {
        let count = exec.count();
        let (give, notices) = crossbeam_channel::unbounded();
        for keyword in keywords {
            let record = Arc::new(Record::new("detection", keyword, 0.5, (0, 1), None));
            give.send(Notice::Detection(record)).expect("it is unbounded");
        }
        drop(give);
        Box::new(exec).run(notices);
        count
    }

    #[test]
    fn one_at_a_time_for_a_keyword() {
        let count = run(exec("sleep 2", Duration::from_mins(1)), &["stop", "Stop", "go on", "stop"]);
        assert_eq!((count.started(), count.skipped(), count.failed()), (2, 2, 0));
    }

    #[test]
    fn over_its_time_it_is_killed_with_its_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let late = folder.path().join("late");
        let line = format!("sh -c '(sleep 1; echo late > {}) & wait'", late.display());
        let count = run(exec(&line, Duration::from_millis(100)), &["stop"]);
        assert_eq!((count.started(), count.failed()), (1, 1));
        std::thread::sleep(Duration::from_millis(1_500));
        assert!(!late.exists(), "its child lived on");
    }

    #[test]
    fn a_bad_status_is_a_failure() {
        assert_eq!(run(exec("false", Duration::from_mins(1)), &["stop"]).failed(), 1);
        assert_eq!(run(exec("true", Duration::from_mins(1)), &["stop"]).failed(), 0);
    }
}
