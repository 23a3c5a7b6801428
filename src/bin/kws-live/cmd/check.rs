//! `--check-config`: everything that can be wrong before the first sound.

use super::listen::{Listening, Wanted};
use crate::args::LiveArgs;
use crate::events::Plan;
use crate::output::print;

/// One line and status 0, or an error.
pub fn run(args: &LiveArgs) -> anyhow::Result<bool> {
    let wanted = Wanted::read(&args.keywords)?.some()?;
    Plan::check(&args.service)?;
    let keywords = Listening::load(&args.model, &wanted)?.keywords;
    let names = keywords.iter().map(|k| k.name.as_str()).collect::<Vec<_>>().join(", ");
    let file = args.service.config.as_deref().map(|f| f.display().to_string()).unwrap_or_default();
    print(&format!("{file}: good, listens for {names}\n"))?;
    Ok(true)
}
