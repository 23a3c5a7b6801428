//! Files that are whole at any moment.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes a file, whole or not at all.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    let partial = path.with_extension("partial");
    if let Err(error) = fs::write(&partial, bytes) {
        let _ = fs::remove_file(&partial);
        return Err(error).with_context(|| format!("cannot write {}", partial.display()));
    }
    fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))
}
