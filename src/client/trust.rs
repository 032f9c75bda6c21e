//! Whom the client believes: the authorities in a file, or those of the system.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::Error;

/// TLS 1.2 and 1.3, HTTP/2 preferred.
pub(super) fn connector(ca: Option<&Path>) -> Result<TlsConnector, Error> {
    let file = match ca {
        Some(file) => file.to_owned(),
        None => bundle()?,
    };
    let wrong = |why: String| Error::Trust { place: file.display().to_string(), why };
    let pem = fs::read(&file).map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
    let (taken, _) = roots.add_parsable_certificates(found);
    if taken == 0 {
        return Err(wrong("no certificate in it; it must be PEM".into()));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn bundle() -> Result<PathBuf, Error> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let known = BUNDLES.iter().map(PathBuf::from);
    named.into_iter().chain(known).find(|file| file.is_file()).ok_or_else(|| Error::Trust {
        place: BUNDLES.join(", "),
        why: "none of them is there; install ca-certificates, or name a file as ca".into(),
    })
}

/// Where Debian and Alpine, Fedora and Red Hat, and SUSE keep them.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
