//! Speech synthesisers that are called as programs: flite, SVOX Pico and espeak-ng.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rand::Rng;
use rand::rngs::SmallRng;

/// A synthesiser found on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// `flite` with its built-in voices.
    Flite,
    /// `pico2wave`.
    Pico,
    /// `espeak-ng` with its voice variants.
    Espeak,
}

const FLITE: [&str; 4] = ["slt", "rms", "awb", "kal16"];
const PICO: [&str; 2] = ["en-US", "en-GB"];
const ACCENTS: [&str; 5] = ["en-us", "en-us", "en-us-nyc", "en-gb", "en-gb-scotland"];
const VARIANTS: [&str; 20] = [
    "m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5", "Andy", "Annie", "Gene", "Mike", "linda",
    "steph", "john", "paul",
];

impl Engine {
    /// All that are on PATH, with the share of sentences each is asked for; the more natural, the more.
    pub fn found() -> Vec<(Self, f32)> {
        let all = [(Self::Flite, 0.4), (Self::Pico, 0.3), (Self::Espeak, 0.3)];
        all.into_iter().filter(|(engine, _)| engine.is_there()).collect()
    }

    fn program(self) -> &'static str {
        match self {
            Self::Flite => "flite",
            Self::Pico => "pico2wave",
            Self::Espeak => "espeak-ng",
        }
    }

    fn is_there(self) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(self.program()).is_file())
    }
}

/// A voice with its settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Voice {
    engine: Engine,
    name: String,
    /// Speed relative to the voice's own.
    speed: f32,
    /// Pitch relative to the voice's own.
    pitch: f32,
}

impl Voice {
    /// A random voice of one of `engines`, `(engine, share)`.
    ///
    /// # Panics
    /// If `engines` is empty.
    pub fn draw(rng: &mut SmallRng, engines: &[(Engine, f32)]) -> Self {
        let total: f32 = engines.iter().map(|(_, share)| share).sum();
        let mut at = rng.random::<f32>() * total;
        let chosen = engines.iter().find(|(_, share)| {
            at -= share;
            at <= 0.0
        });
        let engine = chosen.unwrap_or(&engines[engines.len() - 1]).0;
        let mut pick = |names: &[&str]| names[rng.random_range(0..names.len())].to_owned();
        let name = match engine {
            Engine::Flite => pick(&FLITE),
            Engine::Pico => pick(&PICO),
            Engine::Espeak => format!("{}+{}", pick(&ACCENTS), pick(&VARIANTS)),
        };
        Self { engine, name, speed: rng.random_range(0.8..1.25), pitch: rng.random_range(0.75..1.3) }
    }

    /// A name for the manifest's `speaker`: settings that change the speed alone are one speaker.
    pub fn speaker(&self) -> String {
        match self.engine {
            // The pitch of flite's recorded voices is not changed.
            Engine::Flite => format!("flite-{}", self.name),
            Engine::Pico | Engine::Espeak => {
                format!("{}-{}-{:.0}", self.engine.program(), self.name, self.pitch * 10.0)
            }
        }
    }

    /// The program's name.
    pub fn program(&self) -> &'static str {
        self.engine.program()
    }

    /// Speaks `text` into the wav file `out`, at the voice's own sample rate.
    ///
    /// # Errors
    /// If the program cannot be run or fails; its own words are passed on.
    pub fn speak(&self, text: &str, out: &Path) -> Result<()> {
        ensure!(
            text.starts_with(|c: char| c.is_ascii_alphabetic()) && !text.contains(['<', '>', '&']),
            "`{text}` would not be read as plain text"
        );
        let mut command = Command::new(self.engine.program());
        match self.engine {
            Engine::Flite => {
                command.args(["-voice", &self.name, "--setf", &format!("duration_stretch={:.3}", 1.0 / self.speed)]);
                command.args(["-t", text, "-o"]).arg(out);
            }
            Engine::Pico => {
                let (speed, pitch) = (self.speed * 100.0, self.pitch * 100.0);
                let marked = format!("<speed level='{speed:.0}'><pitch level='{pitch:.0}'>{text}</pitch></speed>");
                command.args(["-l", &self.name, "-w"]).arg(out).arg(marked);
            }
            Engine::Espeak => {
                let (speed, pitch) = (155.0 * self.speed, 50.0 + (self.pitch - 1.0) * 80.0);
                command.args(["-v", &self.name, "-s", &format!("{speed:.0}"), "-p", &format!("{pitch:.0}"), "-w"]);
                command.arg(out).arg(text);
            }
        }
        let done = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}; install it or take it off PATH", self.program()))?;
        if !done.status.success() {
            bail!("{} failed: {}", self.program(), String::from_utf8_lossy(&done.stderr).trim());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn every_engine_gets_its_share() {
        let engines = [(Engine::Flite, 0.4), (Engine::Pico, 0.3), (Engine::Espeak, 0.3)];
        let mut rng = SmallRng::seed_from_u64(3);
        let voices: Vec<Voice> = (0..2_000).map(|_| Voice::draw(&mut rng, &engines)).collect();
        for (engine, share) in engines {
            let count = voices.iter().filter(|v| v.engine == engine).count() as f32;
            assert!((count / 2_000.0 - share).abs() < 0.05, "{engine:?}: {count} of 2000");
        }
    }

    #[test]
    fn what_looks_like_an_option_or_markup_is_refused() {
        let voice = Voice { engine: Engine::Espeak, name: "en".into(), speed: 1.0, pitch: 1.0 };
        for text in ["-x", "a <break/>", ""] {
            assert!(voice.speak(text, Path::new("/nowhere")).is_err(), "{text}");
        }
    }
}
