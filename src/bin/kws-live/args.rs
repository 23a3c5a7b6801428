//! The command line.

mod microphone;
#[cfg(feature = "mqtt")]
mod mqtt;
mod service;

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};
use kws_live::model::{Backend, BackendChoice, Provider};
use kws_live::text::own_threshold;

pub use microphone::MicrophoneArgs;
#[cfg(feature = "mqtt")]
pub use mqtt::{Broker, MqttArgs};
#[cfg(feature = "http")]
pub use service::HttpArgs;
pub use service::{Lines, ServiceArgs};

/// Live keyword spotting: type any word, it listens.
///
/// Without a subcommand it listens live. Results go to stdout, everything else to stderr.
/// Exit status: 0 something was detected (or a signal ended it), 1 nothing, 2 an error.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub live: LiveArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find keywords in recordings: wav, flac, ogg, mp3 or opus, several files at once.
    Scan(ScanArgs),
    /// Show how words will be listened for.
    Phones(PhonesArgs),
    /// List the microphones.
    Devices,
    /// Look whether all is well: configuration, model, backend, keywords, microphone and its level.
    Doctor(DoctorArgs),
    #[cfg(feature = "tui")]
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Which model, and what runs it.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub struct ModelArgs {
    /// Folder of a model bundle; without it the built-in model
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Inference engine: tract (built in) or ort (ONNX Runtime, from ORT_DYLIB_PATH)
    #[arg(long, value_name = "NAME", default_value_t)]
    pub backend: Backend,
    /// Where ONNX Runtime (--backend ort) computes: cpu, which it does without this, or cuda
    #[arg(long, value_name = "NAME")]
    pub provider: Option<Provider>,
}

impl ModelArgs {
    pub fn choice(&self) -> BackendChoice {
        BackendChoice { backend: self.backend, provider: self.provider.unwrap_or_default() }
    }

    /// Whether they go together.
    pub fn check(&self) -> Result<(), String> {
        if self.provider.is_some_and(|provider| provider != Provider::Cpu) && self.backend != Backend::Ort {
            return Err(format!("--provider does nothing with the {} backend; add --backend ort", self.backend));
        }
        Ok(())
    }
}

/// What to listen for, and how sharply.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub struct KeywordArgs {
    /// Words or phrases parted by commas; NAME=[HH AH L OW] gives the phones, a last @0.7 a threshold of its own
    #[arg(long, short, value_name = "LIST")]
    pub keywords: Option<String>,
    /// More of them from a file: a list a line, # at its beginning or after a space begins a comment; live mode reads it again when it changes, but for the terminal UI
    #[arg(long, value_name = "FILE")]
    pub keywords_file: Option<PathBuf>,
    /// A keyword from recordings, alone or with the typed word of that name; NAME@0.7 gives it a threshold of its own; may be given several times
    #[arg(long = "example", short, value_name = "NAME=FILE[,FILE...]")]
    pub examples: Vec<Example>,
    /// 0 (deaf) to 1 (jumpy)
    #[arg(long, value_name = "0..1", default_value = "0.5", value_parser = unit, allow_negative_numbers = true)]
    pub sensitivity: f32,
    /// Score that counts as a detection, 0 to 1, in place of the sensitivity
    #[arg(long, value_name = "0..1", value_parser = unit, allow_negative_numbers = true)]
    pub threshold: Option<f32>,
}

/// Where the sound of live mode comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Input {
    /// A microphone.
    #[default]
    Mic,
    /// Standard input: raw s16le, 16 kHz, mono.
    Stdin,
    /// A recording.
    File(PathBuf),
}

fn input(text: OsString) -> Result<Input, &'static str> {
    match text.to_str() {
        Some("") => Err("it is empty; use mic, a file, or - for standard input"),
        Some("mic") => Ok(Input::Mic),
        Some("-") => Ok(Input::Stdin),
        _ => Ok(Input::File(text.into())),
    }
}

/// Recordings of one keyword.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    pub name: String,
    /// Threshold of its own.
    pub threshold: Option<f32>,
    pub files: Vec<PathBuf>,
}

impl FromStr for Example {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, files) = text.split_once('=').ok_or("expected NAME=FILE[,FILE...]")?;
        let (name, threshold) = own_threshold(name).map_err(|error| error.to_string())?;
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
        let files: Vec<PathBuf> = files.split(',').filter(|f| !f.is_empty()).map(PathBuf::from).collect();
        if name.is_empty() || files.is_empty() {
            return Err("expected NAME=FILE[,FILE...]".into());
        }
        let mut example = Self { name, threshold, files };
        example.start_at(Path::new(""));
        Ok(example)
    }
}

impl Example {
    /// Lets files that are not absolute start at `base`. A comma may stand in a name too: what is a file as a whole is one.
    pub fn start_at(&mut self, base: &Path) {
        let whole = self.files.iter().map(|file| file.as_os_str()).collect::<Vec<_>>().join(OsStr::new(","));
        let whole = base.join(whole);
        if self.files.len() > 1 && whole.is_file() {
            self.files = vec![whole];
        } else {
            self.files.iter_mut().for_each(|file| *file = base.join(&*file));
        }
    }
}

/// Options of the live mode.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub struct LiveArgs {
    #[command(flatten)]
    pub keywords: KeywordArgs,
    /// mic, a recording, or - for raw s16le 16 kHz mono on standard input
    #[arg(long, short, value_name = "mic|FILE|-", default_value = "mic", value_parser = OsStringValueParser::new().try_map(input))]
    pub input: Input,
    #[command(flatten)]
    pub microphone: MicrophoneArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    /// One JSON object a detection, a line each
    #[arg(long)]
    pub json: bool,
    /// One line a detection; what a pipe gets without asking. With --json one JSON object
    #[arg(long)]
    pub no_tui: bool,
    /// Stop after so many seconds of audio; of a microphone or standard input, after so much time
    #[arg(long, value_name = "SECONDS", value_parser = positive, allow_negative_numbers = true)]
    pub duration: Option<f64>,
    /// Tell at the end when the first audio was heard, what it cost and what was lost
    #[arg(long)]
    pub stats: bool,
    /// Log to this file; without it to stderr, under the TUI only warnings, which it shows (level: KWS_LOG=debug)
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// Options of `scan`.
#[derive(Debug, clap::Args)]
pub struct ScanArgs {
    /// Recordings, or folders with recordings in them and below
    #[arg(required = true, value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub keywords: KeywordArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    /// One JSON object a result, a line each
    #[arg(long)]
    pub json: bool,
    /// For each file and keyword the highest score of a single frame and when it was reached, also below the threshold; a detection
    /// takes two frames
    #[arg(long)]
    pub best: bool,
    /// Decide what counts as found for each keyword over all files, and show the most relevant places first; nothing is shown
    /// before the last file. Without --model it hears with another built-in model, which waits half a second longer
    #[arg(long, conflicts_with_all = ["best", "threshold"])]
    pub search: bool,
    /// Files at a time, at most four a core; without it one a core
    #[arg(long, short, value_name = "N", value_parser = jobs, allow_negative_numbers = true)]
    pub jobs: Option<NonZeroUsize>,
}

/// Options of `doctor`.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// The configuration to look at; without it the defaults
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Microphone to look at, in place of the configuration's or the system's default
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// One JSON object a check, a line each
    #[arg(long)]
    pub json: bool,
}

/// Options of `phones`.
#[derive(Debug, clap::Args)]
pub struct PhonesArgs {
    /// Words or phrases
    #[arg(required = true, value_name = "WORD")]
    pub words: Vec<String>,
    #[command(flatten)]
    pub model: ModelArgs,
}

fn unit(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

fn jobs(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "expected a number of files from 1 on".into())
}

fn count(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "expected a number from 1 on".into())
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        // A year: more than a Duration's worth would panic.
        Ok(value) if value > 0.0 && value <= 3.2e7 => Ok(value),
        _ => Err("expected a number of seconds above 0".into()),
    }
}

/// Options whose values are nobody else's business.
const SECRET: [&str; 3] = ["--mqtt", "--mqtt-password", "--listen-token"];

/// clap's message without its usage and hints, and without what the log is no place for.
pub fn one_line(error: &clap::Error) -> String {
    if let Some(reason) = without_value(error) {
        return format!("{reason}; see --help");
    }
    let mut text = error.to_string();
    for (_, value) in error.context() {
        if let ContextValue::String(value) = value {
            text = text.replace(value, &without_login(value));
        }
    }
    let lines = text.lines().map(str::trim).take_while(|l| !l.starts_with("Usage:") && !l.starts_with("For more"));
    let mut line = String::new();
    for part in lines.filter(|l| !l.is_empty()) {
        line += match part {
            _ if line.is_empty() => "",
            _ if part.starts_with("tip:") => "; ",
            _ if part.starts_with('[') || line.ends_with(':') => " ",
            _ => ", ",
        };
        line += part;
    }
    let more = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(arg)) if error.kind() == ErrorKind::ArgumentConflict && doubled(error, arg) => {
            if arg.starts_with("--keywords ") {
                "; several are one list, parted by commas: -k \"hello,stop\""
            } else {
                "; give it once"
            }
        }
        _ => "",
    };
    format!("{}{more}; see --help", line.trim_start_matches("error: "))
}

/// Whether an option stands there twice that can stand there once.
fn doubled(error: &clap::Error, arg: &str) -> bool {
    match error.get(ContextKind::PriorArg) {
        Some(ContextValue::String(prior)) => prior == arg,
        _ => false,
    }
}

/// What is said of a broken value that must not be shown; `None` if it may be.
fn without_value(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg) else { return None };
    let secret = SECRET.contains(&arg.split([' ', '=']).next()?);
    (secret && error.kind() == ErrorKind::ValueValidation).then(|| {
        let reason = error.source().map(|why| format!(": {why}")).unwrap_or_default();
        format!("invalid value for '{arg}'{reason}")
    })
}

/// A URL without what stands before its host.
fn without_login(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn examples_are_a_name_and_files() {
        let example: Example = "smart  mirror=a.wav,b.wav".parse().expect("well formed");
        assert_eq!((example.name.as_str(), example.threshold), ("smart mirror", None));
        assert_eq!(example.files.len(), 2);
        let example: Example = "smart mirror @0.7=a@0.5.wav".parse().expect("well formed");
        assert_eq!((example.name.as_str(), example.threshold), ("smart mirror", Some(0.7)));
        for broken in ["a.wav", "name@2.5=a.wav", "=a.wav", "name=", "name=,"] {
            assert!(broken.parse::<Example>().is_err(), "{broken}");
        }
    }

    #[test]
    fn errors_show_no_password() {
        for (line, part) in [
            #[cfg(feature = "mqtt")]
            (["--keywords=a", "--mqtt", "mqtts://kws:s3@cret@broker.lan:99999"], "65535"),
            #[cfg(feature = "mqtt")]
            (["--keywords=a", "--mqtt", "kws:s3cret@broker.lan"], "--mqtt <URL>"),
            #[cfg(feature = "mqtt")]
            (["--keywords=a", "--mqtt", "mqtt://kws:s3 cret'x@broker.lan:0"], "port"),
            #[cfg(feature = "mqtt")]
            (["--keywords=a", "--mqtt", "mqtt://kws:s3cret:1883"], "no host"),
            (["--json", "--log=a", "mqtt://kws:s3 cret'x@broker.lan"], "mqtt://broker.lan"),
        ] {
            let args = std::iter::once("kws-live").chain(line);
            let told = one_line(&Args::try_parse_from(args).expect_err("broken on purpose"));
            assert!(!told.contains("cret") && !told.contains("kws:") && told.contains(part), "{line:?}: {told}");
        }
        assert_eq!(without_login("mqtt://u:p@h:1"), "mqtt://h:1");
        assert_eq!(without_login("me@home"), "me@home");
    }

    #[test]
    fn errors_take_one_line() {
        for line in [
            vec!["kws-live", "--sensitivity", "2"],
            vec!["kws-live", "--nonsense"],
            vec!["kws-live", "scan"],
            vec!["kws-live", "--wyoming", "a:1", "--duration", "3"],
            vec!["kws-live", "--backend", "torch"],
        ] {
            let error = Args::try_parse_from(&line).expect_err("broken on purpose");
            let text = one_line(&error);
            assert!(!text.contains('\n') && text.ends_with("see --help"), "{line:?}: {text}");
        }
    }
}
