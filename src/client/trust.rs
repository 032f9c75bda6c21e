//! Whom a client believes, and how it proves who it is: the authorities in a file, or those of the system; a certificate of
//! its own, if it has one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::{Error, pem};

/// HTTP/2 preferred.
pub(super) fn connector(ca: Option<&Path>) -> Result<TlsConnector, Error> {
    let mut config = config(ca, None)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// TLS 1.2 and 1.3; `own` is a certificate and its key. What is spoken inside is for the caller to say.
pub(crate) fn config(ca: Option<&Path>, own: Option<(&Path, &Path)>) -> Result<ClientConfig, Error> {
    let authorities = match ca {
        Some(file) => file.to_owned(),
        None => bundle()?,
    };
    let mut roots = RootCertStore::empty();
    // A bundle may have some that are too old to be understood.
    let (taken, _) = roots.add_parsable_certificates(read(&authorities, pem::certificates)?);
    if taken == 0 {
        return Err(wrong(&authorities, "no certificate of an authority in it"));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&authorities, error))?
        .with_root_certificates(roots);
    match own {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = read(certificate, pem::certificates)?;
            let private = read(key, pem::key)?;
            builder.with_client_auth_cert(chain, private).map_err(|error| wrong(certificate, error))
        }
    }
}

fn read<T>(file: &Path, parse: impl FnOnce(&[u8]) -> Result<T, String>) -> Result<T, Error> {
    let bytes = fs::read(file).map_err(|error| wrong(file, error))?;
    parse(&bytes).map_err(|why| wrong(file, format_args!("{why}; it must be PEM")))
}

fn wrong(file: &Path, why: impl std::fmt::Display) -> Error {
    Error::Trust { place: file.display().to_string(), why: why.to_string() }
}

fn bundle() -> Result<PathBuf, Error> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let known = BUNDLES.iter().map(PathBuf::from);
    named.into_iter().chain(known).find(|file| file.is_file()).ok_or_else(|| Error::Trust {
        place: BUNDLES.join(", "),
        why: "none of them is there; install ca-certificates, or name a file".into(),
    })
}

/// Where Debian and Alpine, Fedora and Red Hat, and SUSE keep them.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
