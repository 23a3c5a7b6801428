//! A mosquitto of the test's own, and those who listen to it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;

use serde_json::Value;

use super::{PATIENCE, installed, lines, output, signal, skip, text, wait_until};

/// Debian puts it where only root looks for programs.
fn mosquitto() -> String {
    let debian = "/usr/sbin/mosquitto";
    if Path::new(debian).exists() { debian.into() } else { "mosquitto".into() }
}

/// A port that nobody has at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// A mosquitto of this test alone.
pub struct Broker {
    /// Its files.
    pub folder: tempfile::TempDir,
    /// Where it listens.
    pub port: u16,
    child: Option<Child>,
}

impl Broker {
    /// Not started yet, on a port that is free. `None`, with a word, if there is no mosquitto here.
    pub fn absent(more: &str) -> Option<Self> {
        if !installed(&mosquitto()) || !installed("mosquitto_sub") {
            skip("mosquitto or mosquitto-clients is not installed");
            return None;
        }
        let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
        let path = folder.path().display();
        let anonymous = if more.contains("password_file") { "" } else { "allow_anonymous true\n" };
        // Kept after every change, so that a subscriber's session outlives a broker that is killed.
        let config = format!(
            "listener {port} 127.0.0.1\n{anonymous}user root\npersistence true\npersistence_location {path}/\n\
             autosave_on_changes true\nautosave_interval 1\n{more}\n"
        );
        fs::write(folder.path().join("mosquitto.conf"), config.replace("FOLDER", &path.to_string())).expect("room");
        Some(Self { folder, port, child: None })
    }

    /// On one of three ports: somebody may take one before it does.
    pub fn start(more: &str) -> Option<Self> {
        let mut why = String::new();
        for _ in 0..3 {
            let mut broker = Self::absent(more)?;
            match broker.attempt() {
                Ok(()) => return Some(broker),
                Err(log) => why = log,
            }
        }
        panic!("mosquitto does not start: {why}");
    }

    /// Starts it, again or for the first time, and waits until it answers.
    pub fn run(&mut self) {
        self.attempt().unwrap_or_else(|log| panic!("mosquitto does not start: {log}"));
    }

    /// The same; its log if it ends instead.
    fn attempt(&mut self) -> Result<(), String> {
        let log = fs::File::create(self.path("log")).expect("room");
        let config = self.path("mosquitto.conf");
        let command = Command::new(mosquitto()).arg("-c").arg(config).stdout(Stdio::null()).stderr(log).spawn();
        let child = self.child.insert(command.expect("mosquitto starts"));
        let mut ended = false;
        let answers = wait_until(|| {
            ended = child.try_wait().is_ok_and(|status| status.is_some());
            ended || TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
        if answers && !ended { Ok(()) } else { Err(fs::read_to_string(self.path("log")).unwrap_or_default()) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.as_ref().expect("it runs"), name);
    }

    /// As a crash would.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }

    /// What mosquitto's programs need to reach it.
    pub fn client(&self, name: &str, more: &[&str]) -> Command {
        // A line at a time also into a pipe.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", name, "-V", "5", "-h", "127.0.0.1", "-p", &self.port.to_string()]).args(more);
        command
    }

    pub fn say(&self, args: &[&str]) {
        let out = output(&mut self.client("mosquitto_pub", args));
        assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
    }

    /// What is retained below a topic now: topics and texts, in the order of the topics.
    pub fn retained(&self, filter: &str) -> Vec<(String, String)> {
        // The one that comes last.
        self.say(&["-r", "-q", "1", "-t", "last/of/all", "-m", "x"]);
        let mut listener = Listener::start(self, &["-t", filter, "-t", "last/of/all"]);
        listener.until(|m| m.topic == "last/of/all");
        let seen = std::mem::take(&mut listener.seen);
        let mut all: Vec<_> = seen.into_iter().map(|m| (m.topic, m.text)).filter(|m| m.0 != "last/of/all").collect();
        all.sort();
        all
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A message that has arrived.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its text.
    pub text: String,
}

impl Message {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no object: {self:?}"))
    }
}

/// A mosquitto_sub, which connects again by itself.
pub struct Listener {
    child: Child,
    lines: Receiver<String>,
    /// What has come so far.
    pub seen: Vec<Message>,
}

impl Listener {
    /// Subscribed already when this returns.
    pub fn start(broker: &Broker, args: &[&str]) -> Self {
        let mut command = broker.client("mosquitto_sub", &["-d", "-q", "1", "-F", "> %t %p"]);
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let lines = lines(child.stdout.take().expect("a pipe"));
        let mut listener = Self { child, lines, seen: Vec::new() };
        while !listener.line().starts_with("Subscribed") {}
        listener
    }

    /// One whose session the broker keeps: it misses nothing.
    pub fn lasting(broker: &Broker, filter: &str) -> Self {
        let listener = Self::start(broker, &["-i", "lasting-listener", "-c", "-x", "3600", "-t", filter]);
        let kept = || fs::read(broker.path("mosquitto.db")).unwrap_or_default();
        let part = b"lasting-listener";
        assert!(wait_until(|| kept().windows(part.len()).any(|w| w == part)), "the session is on the disk");
        listener
    }

    fn line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nothing more comes; so far: {:?}", self.seen))
    }

    /// The next message of this kind.
    pub fn until(&mut self, wanted: impl Fn(&Message) -> bool) -> Message {
        loop {
            let line = self.line();
            let Some(rest) = line.strip_prefix("> ") else { continue };
            let mut parts = rest.splitn(2, ' ').map(str::to_owned);
            let mut part = || parts.next().unwrap_or_default();
            let message = Message { topic: part(), text: part() };
            self.seen.push(message.clone());
            if wanted(&message) {
                return message;
            }
        }
    }

    /// The next message on a topic.
    pub fn on(&mut self, topic: &str) -> Message {
        self.until(|m| m.topic == topic)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
