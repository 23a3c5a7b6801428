//! A PulseAudio server of the test's own, with a null sink whose monitor is the microphone.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{installed, output, recording, signal, text, wait_until};

/// The server; ended with the test.
pub struct Server {
    child: Child,
    home: tempfile::TempDir,
}

impl Server {
    /// Starts a server with a null sink `vmic`; says why if it cannot.
    pub fn start() -> Result<Self, String> {
        let home = tempfile::tempdir().map_err(|e| e.to_string())?;
        Self::start_in(home)
    }

    /// In a home that is there already.
    pub fn start_in(home: tempfile::TempDir) -> Result<Self, String> {
        for program in ["pulseaudio", "pactl", "paplay"] {
            if !installed(program) {
                return Err(format!("{program} is not installed (apt-get install pulseaudio pulseaudio-utils)"));
            }
        }
        if !plugin_is_there() {
            return Err("ALSA has no pulse plug-in (apt-get install libasound2-plugins)".into());
        }
        let child = spawn(home.path(), 48_000)?;
        let mut server = Self { child, home };
        server.wait()?;
        Ok(server)
    }

    /// Kills it as a crash would, so that it says goodbye to nobody.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops it or lets it go on: it is there and does not answer.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Starts it again at the same place, with a source of that rate.
    pub fn restart(&mut self, rate: u32) -> Result<(), String> {
        self.child = spawn(self.home.path(), rate)?;
        self.wait()
    }

    /// The microphone is unplugged.
    pub fn unplug(&self) {
        let out = output(self.within("pactl").args(["unload-module", "module-null-sink"]));
        assert!(out.status.success(), "there is a sink: {}", text(&out.stderr));
    }

    /// And plugged in again.
    pub fn plug_in(&self) {
        let load = ["load-module", "module-null-sink", "sink_name=vmic", "rate=48000", "channels=2"];
        for args in [&load[..], &["set-default-source", "vmic.monitor"]] {
            let out = output(self.within("pactl").args(args));
            assert!(out.status.success(), "the server takes it: {}", text(&out.stderr));
        }
    }

    /// Plays the recording into the microphone, to its end.
    pub fn play(&self) {
        let out = output(self.within("paplay").args(["-d", "vmic"]).arg(recording()));
        assert!(out.status.success(), "it plays: {}", text(&out.stderr));
    }

    /// A program that knows no other sound server than this.
    pub fn within(&self, program: &str) -> Command {
        within(self.home.path(), program)
    }

    fn wait(&mut self) -> Result<(), String> {
        let mut ended = false;
        let up = wait_until(|| {
            ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            ended || output(self.within("pactl").arg("info")).status.success()
        });
        if ended || !up {
            return Err("the PulseAudio server does not start here".into());
        }
        let set = output(self.within("pactl").args(["set-default-source", "vmic.monitor"])).status;
        if set.success() { Ok(()) } else { Err("the null sink has no monitor".into()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(home: &Path, rate: u32) -> Result<Child, String> {
    within(home, "pulseaudio")
        .args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disallow-exit"])
        .args(["-L", "module-native-protocol-unix"])
        .args(["-L", &format!("module-null-sink sink_name=vmic rate={rate} channels=2")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| e.to_string())
}

/// A program that knows no sound server but what runs in this home.
pub fn within(home: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("HOME", home).env("XDG_RUNTIME_DIR", home).env_remove("PULSE_SERVER").env_remove("KWS_LOG");
    command.stdin(Stdio::null());
    command
}

fn plugin_is_there() -> bool {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    folders.iter().any(|f| Path::new(f).join("alsa-lib/libasound_module_pcm_pulse.so").exists())
}
