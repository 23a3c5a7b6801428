//! Options for a program that runs by itself for months.

use std::path::PathBuf;

use super::positive;

/// Where detections go besides stdout, and what configures all that.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub struct ServiceArgs {
    /// Options from a TOML file, under their long names; the command line overrides it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the file of --config and all that it names, then end
    #[arg(long, requires = "config")]
    pub check_config: bool,
    /// Run a program at every detection, without a shell; {keyword}, {score}, {start} and {end} are filled in
    #[arg(long, value_name = "COMMAND")]
    pub exec: Option<String>,
    /// Kill that program after so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = positive)]
    pub exec_timeout: f64,
    /// Save the sound of every detection in this folder: wav, and JSON beside it
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// Clips to keep there; the oldest go first
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..))]
    pub save_max_files: u32,
    /// Megabytes to keep there; the oldest go first
    #[arg(long, value_name = "MB", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    pub save_max_mb: u32,
    /// Save near misses too: what would be a detection at this sensitivity (0 to 1, above --sensitivity)
    #[arg(long, value_name = "SENSITIVITY", value_parser = super::unit)]
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
}

/// Looked up only when the port is opened.
fn host_port(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("expected an address and a port, such as 127.0.0.1:10400".into()),
    }
}

/// The HTTP end.
#[cfg(feature = "http")]
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub struct HttpArgs {
    /// Serve /health, /metrics and /events over HTTP, such as at 127.0.0.1:8380
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<std::net::SocketAddr>,
    /// Answer only requests with `Authorization: Bearer TOKEN`; needed where --listen is no loopback address. KWS_LISTEN_TOKEN in
    /// the environment does it too
    #[arg(long, value_name = "TOKEN")]
    pub listen_token: Option<String>,
}
