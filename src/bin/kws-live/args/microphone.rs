//! Options about the microphone and the stream that comes from it.

/// Which microphone, and how it is listened to.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub struct MicrophoneArgs {
    /// Microphone by its name or a part of it (see `kws-live devices`)
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// If the microphone is not there at the start, wait for it
    #[arg(long)]
    pub wait_for_device: bool,
    /// Run the model also where nothing happens; it rests there otherwise, and hears the same
    #[arg(long)]
    pub no_gate: bool,
}
