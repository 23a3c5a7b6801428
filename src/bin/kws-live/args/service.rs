//! Options for a program that runs by itself for months.

use std::collections::BTreeMap;
#[cfg(feature = "http")]
use std::net::SocketAddr;
use std::path::PathBuf;

use super::positive;

/// Where detections go besides stdout, and what configures all that.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub struct ServiceArgs {
    /// Options from a TOML file, under their long names; the command line overrides it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the file of --config, then end: options, keywords with their recordings, model, input file, program, folders, log and
    /// addresses; neither microphone nor broker
    #[arg(long, requires = "config")]
    pub check_config: bool,
    /// Run a program at every detection, without a shell; {keyword}, {score}, {start} and {end} are filled in
    #[arg(long, value_name = "COMMAND")]
    pub exec: Option<String>,
    /// Kill that program after so many seconds [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = positive, allow_negative_numbers = true)]
    pub exec_timeout: Option<f64>,
    /// Save the sound of every detection in this folder: wav, and JSON beside it
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// Clips to keep there; the oldest go first [default: 1000]
    #[arg(long, value_name = "N", value_parser = super::count, allow_negative_numbers = true)]
    pub save_max_files: Option<u32>,
    /// Megabytes to keep there; the oldest go first [default: 100]
    #[arg(long, value_name = "MB", value_parser = super::count, allow_negative_numbers = true)]
    pub save_max_mb: Option<u32>,
    /// Save near misses too: what would be a detection at this sensitivity (0 to 1, above --sensitivity)
    #[arg(long, value_name = "SENSITIVITY", value_parser = super::unit, allow_negative_numbers = true)]
    pub save_near: Option<f32>,
    /// Listen to clients of the Wyoming protocol, such as Home Assistant, in place of a microphone: at HOST:PORT
    #[arg(long, value_name = "HOST:PORT", value_parser = host_port)]
    #[arg(conflicts_with_all = ["input", "device", "wait_for_device", "duration", "save", "save_near"])]
    pub wyoming: Option<String>,
    #[cfg(feature = "http")]
    #[command(flatten)]
    pub http: HttpArgs,
    #[cfg(feature = "mqtt")]
    #[command(flatten)]
    pub mqtt: super::MqttArgs,
    #[arg(skip)]
    pub lines: Lines,
}

/// In which line of the configuration an option stands, by its long name. Where it stands makes no difference: all are equal.
#[derive(Debug, Clone, Default)]
pub struct Lines(pub BTreeMap<String, usize>);

impl PartialEq for Lines {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Looked up only when the port is opened.
fn host_port(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("expected an address and a port, such as 127.0.0.1:10400".into()),
    }
}

/// No name: whether a token is needed must be known before anything is looked up.
#[cfg(feature = "http")]
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected an address in figures and a port up to 65535, such as 127.0.0.1:8380 or [::1]:8380".into()
    })
}

/// The HTTP end.
#[cfg(feature = "http")]
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub struct HttpArgs {
    /// Serve /health, /metrics and /events over HTTP, such as at 127.0.0.1:8380
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// Answer only requests with `Authorization: Bearer TOKEN`; needed where --listen is no loopback address. KWS_LISTEN_TOKEN in
    /// the environment does it too
    #[arg(long, value_name = "TOKEN")]
    pub listen_token: Option<String>,
}
