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
pub mod wyoming;

use kws_live::model::Bundle;

use crate::args::ModelArgs;

fn bundle(args: &ModelArgs) -> anyhow::Result<Bundle> {
    Ok(args.model.as_deref().map_or_else(Bundle::embedded, Bundle::load)?)
}
