//! TLS by rustls, with `ring` for its arithmetic: no C library is needed where the program runs.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::files;

/// Larger files are no certificates.
const LARGEST: u64 = 4 << 20;

/// Trusts the certificates of this file, or those of the system.
pub fn config(ca: Option<&Path>) -> anyhow::Result<Arc<ClientConfig>> {
    let roots = match ca {
        Some(file) => from_file(file).with_context(|| format!("--mqtt-ca {}", file.display()))?,
        None => of_system()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.context("TLS cannot be set up")?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

fn from_file(file: &Path) -> anyhow::Result<RootCertStore> {
    let text = files::bytes(file, LARGEST).context("cannot read it")?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        roots.add(certificate.context("it is no certificate in PEM form")?).context("it holds a broken certificate")?;
    }
    ensure!(!roots.is_empty(), "it holds no certificate; a PEM file with BEGIN CERTIFICATE is needed");
    Ok(roots)
}

fn of_system() -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        bail!(
            "this system has no certificates to check the broker with; install ca-certificates or give --mqtt-ca FILE"
        );
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, part) in [("", "no certificate"), ("hello", "no certificate"), (broken, "broken certificate")] {
            let file = folder.path().join("ca.pem");
            std::fs::write(&file, text).expect("room on the disk");
            let error = format!("{:#}", config(Some(&file)).expect_err("it is broken"));
            assert!(error.contains("--mqtt-ca") && error.contains(part), "{text}: {error}");
        }
        #[cfg(unix)]
        {
            let error = format!("{:#}", config(Some(Path::new("/dev/zero"))).expect_err("it has no end"));
            assert!(error.contains("larger than"), "{error}");
        }
        let error = format!("{:#}", config(Some(Path::new("no-such.pem"))).expect_err("it is not there"));
        assert!(error.contains("no-such.pem"), "{error}");
    }
}
