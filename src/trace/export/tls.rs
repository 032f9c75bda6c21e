//! TLS to the collector: whom to believe, and how to prove who we are.

use hyper_util::client::legacy::connect::HttpConnector;

use super::{Error, Settings};

#[cfg(feature = "tls")]
pub(super) use with_tls::{Connector, Trust};
#[cfg(not(feature = "tls"))]
pub(super) use without_tls::{Connector, Trust};

fn plain(settings: &Settings) -> HttpConnector {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(settings.timeout));
    http
}

#[cfg(feature = "tls")]
mod with_tls {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
    use hyper_util::client::legacy::connect::HttpConnector;
    use rustls::crypto::ring;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ClientConfig, RootCertStore};

    use super::{Error, Settings, plain};

    pub(in super::super) type Connector = HttpsConnector<HttpConnector>;

    /// What was read from files, while they could still be read.
    #[derive(Clone, Debug)]
    pub(in super::super) struct Trust(Option<ClientConfig>);

    impl Trust {
        pub(in super::super) fn read(settings: &Settings) -> Result<Self, Error> {
            if !settings.endpoint.as_ref().is_some_and(super::super::endpoint::Endpoint::is_tls) {
                return Ok(Self(None));
            }
            let failed = |error: rustls::Error| Error::Tls(error.to_string());
            let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(failed)?;
            let builder = match &settings.certificate {
                Some(file) => {
                    let mut roots = RootCertStore::empty();
                    for certificate in certificates(file)? {
                        roots.add(certificate).map_err(|error| wrong(file, error))?;
                    }
                    builder.with_root_certificates(roots)
                }
                None => builder
                    .with_native_roots()
                    .map_err(|error| Error::Tls(format!("certificates of the system: {error}")))?,
            };
            let config = match &settings.client {
                None => builder.with_no_client_auth(),
                Some((certificate, key)) => {
                    let chain = certificates(certificate)?;
                    let bytes = fs::read(key).map_err(|error| wrong(key, error))?;
                    let private = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| wrong(key, error))?;
                    builder.with_client_auth_cert(chain, private).map_err(failed)?
                }
            };
            Ok(Self(Some(config)))
        }

        pub(in super::super) fn connector(&self, settings: &Settings, http2: bool) -> Connector {
            let config = self.0.clone().unwrap_or_else(unused);
            let builder = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
            let http = plain(settings);
            if http2 {
                builder.enable_http2().wrap_connector(http)
            } else {
                builder.enable_http1().wrap_connector(http)
            }
        }
    }

    /// For connections without TLS: it trusts nobody.
    fn unused() -> ClientConfig {
        let provider = Arc::new(ring::default_provider());
        match ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()
        {
            Ok(builder) => builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
            // The provider has all versions of the protocol.
            Err(_) => {
                ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
            }
        }
    }

    fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
        let bytes = fs::read(file).map_err(|error| wrong(file, error))?;
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match read {
            Ok(found) if found.is_empty() => Err(wrong(file, "there is no certificate in it")),
            Ok(found) => Ok(found),
            Err(error) => Err(wrong(file, error)),
        }
    }

    fn wrong(file: &Path, what: impl std::fmt::Display) -> Error {
        Error::Pem { file: file.display().to_string(), what: what.to_string() }
    }
}

#[cfg(not(feature = "tls"))]
mod without_tls {
    use hyper_util::client::legacy::connect::HttpConnector;

    use super::{Error, Settings, plain};

    pub(in super::super) type Connector = HttpConnector;

    #[derive(Clone, Debug)]
    pub(in super::super) struct Trust;

    impl Trust {
        pub(in super::super) fn read(_: &Settings) -> Result<Self, Error> {
            Ok(Self)
        }

        pub(in super::super) fn connector(&self, settings: &Settings, _http2: bool) -> Connector {
            plain(settings)
        }
    }
}
