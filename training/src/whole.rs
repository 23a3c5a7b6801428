//! Files that are whole at any moment.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes a text file, whole or not at all.
pub fn write(path: &Path, text: &str) -> Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, text).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))
}
