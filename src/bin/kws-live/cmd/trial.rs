//! Whether a start can have what the options name: folders, log and addresses are tried, and left as they were.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::path::Path;

use anyhow::anyhow;

use crate::args::LiveArgs;
use crate::net;
use crate::service::config::about;

/// What cannot be had.
pub struct Trouble {
    pub error: anyhow::Error,
    /// Whether the user that tries is to blame: another may have it.
    pub forbidden: bool,
    /// Whether somebody else has it, such as the service itself that runs already.
    pub in_use: bool,
}

impl Trouble {
    fn new(option: &'static str, kind: ErrorKind, message: String) -> Self {
        let error = about(option, anyhow!(message));
        Self { error, forbidden: kind == ErrorKind::PermissionDenied, in_use: kind == ErrorKind::AddrInUse }
    }
}

/// Everything that cannot be had, in the order of a start.
pub fn run(args: &LiveArgs) -> Vec<Trouble> {
    let mut all = Vec::new();
    let service = &args.service;
    if let Some(path) = &args.log
        && let Err(error) = file(path)
    {
        let text = format!("--log: cannot write {}: {error}; name a file in a folder that is there", path.display());
        all.push(Trouble::new("log", error.kind(), text));
    }
    #[cfg(feature = "mqtt")]
    let spool = service.mqtt.mqtt_spool.as_deref();
    #[cfg(not(feature = "mqtt"))]
    let spool = None;
    for (option, path) in [("save", service.save.as_deref()), ("mqtt-spool", spool)] {
        if let Some((path, Err(error))) = path.map(|path| (path, folder(path))) {
            let text = format!("--{option}: cannot make the folder {}: {error}; name another", path.display());
            all.push(Trouble::new(option, error.kind(), text));
        }
    }
    #[cfg(feature = "http")]
    let listen = service.http.listen.map(|address| address.to_string());
    #[cfg(not(feature = "http"))]
    let listen: Option<String> = None;
    ports(&[("listen", listen.as_deref()), ("wyoming", service.wyoming.as_deref())], &mut all);
    all
}

/// Tries addresses as a start would have them, all at once.
fn ports(wanted: &[(&'static str, Option<&str>)], all: &mut Vec<Trouble>) {
    let mut taken: Vec<(&str, TcpListener)> = Vec::new();
    for &(option, address) in wanted {
        let Some(address) = address else { continue };
        match TcpListener::bind(address) {
            Ok(listener) => taken.push((option, listener)),
            Err(error) => {
                let mut trouble = Trouble::new(option, error.kind(), net::refused(option, address, &error));
                // Whether it can be had once the other one is given back.
                let other = taken.pop().map(|(other, _)| other);
                if let Some(other) = other.filter(|_| trouble.in_use && TcpListener::bind(address).is_ok()) {
                    let text = format!("--{option}: {address} is what --{other} names too; give it another port");
                    trouble = Trouble::new(option, ErrorKind::Other, text);
                }
                all.push(trouble);
            }
        }
    }
}

/// Makes a folder as a start would; what was missing is taken away again.
fn folder(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
    let outcome = fs::create_dir_all(path).and_then(|()| path.read_dir().map(drop));
    for made in missing {
        // Not if somebody has put something into it meanwhile.
        let _ = fs::remove_dir(made);
    }
    outcome
}

/// Opens a file for writing, without a change to what is in it.
fn file(path: &Path) -> io::Result<()> {
    let there = path.metadata();
    // (Of a link: of what it leads to.)
    if there.as_ref().is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        // A pipe would have to be waited for.
        return Ok(());
    }
    File::options().append(true).create(true).open(path)?;
    if let (Err(_), Ok(made)) = (there, path.canonicalize()) {
        let _ = fs::remove_file(made);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_behind() {
        let home = tempfile::tempdir().expect("a folder");
        let at = |name: &str| home.path().join(name);
        assert!(folder(&at("a/b")).is_ok() && file(&at("log")).is_ok());
        assert_eq!(home.path().read_dir().expect("a folder").count(), 0);
        fs::write(at("log"), "old").expect("room on the disk");
        assert!(file(&at("log")).is_ok() && folder(home.path()).is_ok());
        assert!(folder(&at("log")).is_err() && folder(&at("log/a")).is_err() && file(&at("a/log")).is_err());
        assert!(file(home.path()).is_err());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("target"), at("link")).expect("room on the disk");
            assert!(file(&at("link")).is_ok() && at("link").is_symlink() && !at("target").exists());
        }
        assert_eq!(fs::read(at("log")).expect("a file"), b"old");
    }

    #[test]
    fn an_address_is_this_machines_or_not() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address").to_string();
        let troubles = |wanted: &[(&'static str, Option<&str>)]| {
            let mut all = Vec::new();
            ports(wanted, &mut all);
            all
        };
        let all = troubles(&[("listen", Some(&address)), ("wyoming", None)]);
        assert!(all.len() == 1 && all[0].in_use && !all[0].forbidden);
        drop(taken);
        assert!(troubles(&[("listen", Some(&address))]).is_empty());
        for (wanted, told) in [
            ([("listen", Some("192.0.2.1:99")), ("wyoming", None)], "no address of this machine"),
            ([("listen", Some(&*address)), ("wyoming", Some(&*address))], "what --listen names too"),
        ] {
            let all = troubles(&wanted);
            assert!(all.len() == 1 && !all[0].in_use && all[0].error.to_string().contains(told), "{wanted:?}");
        }
    }
}
