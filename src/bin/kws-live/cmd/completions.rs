//! `completions`: a script for the shell.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Args;
use crate::output::print;

pub fn run(shell: Shell) -> anyhow::Result<bool> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "kws-live", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(true)
}
