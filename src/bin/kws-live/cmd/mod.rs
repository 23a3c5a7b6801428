//! The subcommands. Each returns whether something was detected (or its work was done).

pub mod check;
#[cfg(feature = "tui")]
pub mod completions;
pub mod devices;
pub mod doctor;
pub mod listen;
pub mod live;
pub mod phones;
pub mod scan;
mod trial;
pub mod wyoming;

use kws_live::model::{Bundle, ModelError};

use crate::args::ModelArgs;
use crate::service::config::Of;

fn bundle(args: &ModelArgs) -> anyhow::Result<Bundle> {
    bundle_or(args, Bundle::embedded)
}

fn bundle_or(args: &ModelArgs, built_in: fn() -> Result<Bundle, ModelError>) -> anyhow::Result<Bundle> {
    args.check().map_err(anyhow::Error::msg).of("provider")?;
    args.model.as_deref().map_or_else(built_in, Bundle::load).of("model")
}
