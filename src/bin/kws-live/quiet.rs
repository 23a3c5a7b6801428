//! Sound libraries write to stderr by themselves (ALSA a dozen lines where there is no card): not while this lives.

/// Sends what reaches file descriptor 2 to nowhere until it is dropped. With `KWS_LOG=debug` it does nothing.
pub struct Quiet {
    #[cfg(unix)]
    stderr: Option<std::os::fd::OwnedFd>,
}

#[cfg(unix)]
impl Quiet {
    pub fn new() -> Self {
        if log::log_enabled!(log::Level::Debug) {
            return Self { stderr: None };
        }
        let redirect = || {
            let nowhere = std::fs::File::options().write(true).open("/dev/null")?;
            let stderr = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?;
            rustix::stdio::dup2_stderr(&nowhere)?;
            Ok::<_, std::io::Error>(stderr)
        };
        Self { stderr: redirect().ok() }
    }
}

#[cfg(unix)]
impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(stderr) = self.stderr.take() {
            // If it cannot be put back there is nobody left to tell.
            let _ = rustix::stdio::dup2_stderr(&stderr);
        }
    }
}

#[cfg(not(unix))]
impl Quiet {
    pub fn new() -> Self {
        Self {}
    }
}
