//! Files that are whole at any moment.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A file that is whole and stands beside the one that it is to replace; it goes if it does not.
pub struct Partial {
    partial: PathBuf,
    path: PathBuf,
}

impl Partial {
    /// Writes it with `write`, which is given its place.
    ///
    /// # Errors
    /// If that fails.
    pub fn new<E>(path: &Path, write: impl FnOnce(&Path) -> Result<(), E>) -> Result<Self>
    where
        Result<(), E>: Context<(), E>,
    {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let new = Self { partial: path.with_file_name(name), path: path.to_owned() };
        write(&new.partial).with_context(|| format!("cannot write {}", new.partial.display()))?;
        Ok(new)
    }

    /// Puts it in its place.
    ///
    /// # Errors
    /// If the system does not let it.
    pub fn publish(self) -> Result<()> {
        fs::rename(&self.partial, &self.path).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Nothing is there once it is published.
        let _ = fs::remove_file(&self.partial);
    }
}

/// Writes a file, whole or not at all.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    Partial::new(path, |partial| fs::write(partial, bytes))?.publish()
}
