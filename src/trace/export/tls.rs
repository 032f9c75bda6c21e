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
    use std::sync::Arc;

    use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
    use hyper_util::client::legacy::connect::HttpConnector;
    use rustls::crypto::ring;
    use rustls::{ClientConfig, RootCertStore};

    use super::{Error, Settings, plain};
    use crate::client::trust;
    use crate::trace::export::endpoint::Endpoint;

    pub(in super::super) type Connector = HttpsConnector<HttpConnector>;

    /// What was read from files, while they could still be read.
    #[derive(Clone, Debug)]
    pub(in super::super) struct Trust(Option<ClientConfig>);

    impl Trust {
        pub(in super::super) fn read(settings: &Settings) -> Result<Self, Error> {
            if !settings.endpoint.as_ref().is_some_and(Endpoint::is_tls) {
                return Ok(Self(None));
            }
            let own = settings.client.as_ref().map(|(certificate, key)| (&**certificate, &**key));
            Ok(Self(Some(trust::config(settings.certificate.as_deref(), own)?)))
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
