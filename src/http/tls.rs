//! From what `tls_server_config` says to what rustls wants.
//!
//! rustls speaks TLS 1.2 and 1.3 with forward secrecy and authenticated encryption only. What a configuration asks
//! for beyond that is an error and not silently something else; a lower `min_version` is fulfilled as it stands.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::verify_server_name;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, NamedGroup, RootCertStore,
    ServerConfig, SignatureScheme, SupportedProtocolVersion,
};

use super::web_config::{Source, TlsText};
use crate::client::pem::{certificates, key};

/// Takes a line, what is wrong there, and a hint.
type Complain<'a> = &'a mut dyn FnMut(u64, String, String);

/// The configuration; `None` when something was complained about.
pub(crate) fn server_config(text: &TlsText<'_>, complain: Complain<'_>) -> Option<Arc<ServerConfig>> {
    // Each is looked at before any of them ends it, so that all problems are told.
    let chain = pem(&text.certificate, "cert_file", text.line, complain, certificates);
    let key = pem(&text.key, "key_file", text.line, complain, key);
    let provider = Arc::new(provider(text, complain));
    let versions = versions(text, complain);
    let verifier = verifier(text, &provider, complain);
    let (chain, key, versions, verifier) = (chain?, key?, versions?, verifier?);
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| {
            complain(
                text.line,
                format!("versions and cipher suites do not go together: {error}"),
                String::new(),
            );
        })
        .ok()?;
    let builder = match verifier {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| {
            let what = format!("certificate and key do not go together: {error}");
            complain(text.key.line, what, "the key must be the one the certificate was made for".into());
        })
        .ok()?;
    config.ignore_client_order = text.prefers_own_order;
    let protocols: &[&[u8]] = if text.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Some(Arc::new(config))
}

/// Reads PEM from the file or from the configuration itself.
fn pem<T>(
    source: &Source<'_>,
    key: &str,
    line: u64,
    complain: Complain<'_>,
    parse: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Option<T> {
    let (bytes, name) = match (&source.file, source.inline) {
        (Some(file), _) => match std::fs::read(file) {
            Ok(bytes) => (bytes, file.display().to_string()),
            Err(error) => {
                let hint = "the agent's user must be able to read it".into();
                complain(source.line, format!("{}: {error}", file.display()), hint);
                return None;
            }
        },
        (None, Some(text)) => (text.as_bytes().to_vec(), key.trim_end_matches("_file").to_owned()),
        (None, None) => {
            complain(line, format!("tls_server_config has no {key}"), format!("add {key}: FILE"));
            return None;
        }
    };
    let parsed = parse(&bytes);
    parsed.map_err(|error| complain(source.line, format!("{name}: {error}"), "it must be PEM".into())).ok()
}

/// Cipher suites count for TLS 1.2 only, as in Go: those of TLS 1.3 are always on.
fn provider(text: &TlsText<'_>, complain: Complain<'_>) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if !text.cipher_suites.is_empty() {
        let known = provider.cipher_suites.clone();
        let mut wanted: Vec<_> = known.iter().filter(|suite| suite.tls13().is_some()).copied().collect();
        for (name, line) in &text.cipher_suites {
            let name = go_suite(name);
            // rustls calls TLS_AES_128_GCM_SHA256 of TLS 1.3 by another first word.
            let thirteen = name.replacen("TLS_", "TLS13_", 1);
            let found = known.iter().find(|suite| {
                let own = format!("{:?}", suite.suite());
                own == name || own == thirteen
            });
            match found {
                Some(suite) if suite.tls13().is_none() => wanted.push(*suite),
                Some(_) => {}
                None => {
                    let known = known.iter().filter(|suite| suite.tls13().is_none());
                    let known: Vec<_> = known.map(|suite| format!("{:?}", suite.suite())).collect();
                    complain(*line, format!("cipher suite {name} is not spoken"), known.join(", "));
                }
            }
        }
        provider.cipher_suites = wanted;
    }
    if !text.curve_preferences.is_empty() {
        let known = provider.kx_groups.clone();
        let mut wanted = Vec::new();
        for (name, line) in &text.curve_preferences {
            let group = match *name {
                "X25519" => Some(NamedGroup::X25519),
                "CurveP256" => Some(NamedGroup::secp256r1),
                "CurveP384" => Some(NamedGroup::secp384r1),
                _ => None,
            };
            if let Some(group) = known.iter().find(|known| Some(known.name()) == group) {
                wanted.push(*group);
            } else {
                let hint = "X25519, CurveP256, CurveP384".into();
                complain(*line, format!("curve {name} is not spoken"), hint);
            }
        }
        provider.kx_groups = wanted;
    }
    provider
}

/// Go has an old and a new name for these.
fn go_suite(name: &str) -> String {
    let is_short = name.ends_with("_CHACHA20_POLY1305");
    if is_short { format!("{name}_SHA256") } else { name.to_owned() }
}

fn versions(text: &TlsText<'_>, complain: Complain<'_>) -> Option<Vec<&'static SupportedProtocolVersion>> {
    let mut number = |given: Option<(&str, u64)>, otherwise: u8| match given {
        None => Some((otherwise, 0)),
        Some(("TLS10", line)) => Some((10, line)),
        Some(("TLS11", line)) => Some((11, line)),
        Some(("TLS12", line)) => Some((12, line)),
        Some(("TLS13", line)) => Some((13, line)),
        Some((name, line)) => {
            complain(line, format!("{name} is no version of TLS"), "TLS12 or TLS13".into());
            None
        }
    };
    let (least, most) = (number(text.min_version, 12), number(text.max_version, 13));
    let ((least, least_line), (most, most_line)) = (least?, most?);
    let spoken = [(12, &TLS12), (13, &TLS13)];
    let versions = spoken.into_iter().filter(|(version, _)| (least..=most).contains(version));
    let versions: Vec<_> = versions.map(|(_, version)| version).collect();
    if versions.is_empty() {
        let hint = "only TLS 1.2 and 1.3 are spoken".into();
        complain(least_line.max(most_line), "no version of TLS is left".into(), hint);
        return None;
    }
    Some(versions)
}

type Verifier = Arc<dyn ClientCertVerifier>;

/// The inner `None` asks for no certificate.
#[allow(clippy::option_option, reason = "a failure and no verifier are different things here")]
fn verifier(
    text: &TlsText<'_>,
    provider: &Arc<CryptoProvider>,
    complain: Complain<'_>,
) -> Option<Option<Verifier>> {
    let (kind, line) = text.client_auth_type.unwrap_or(("NoClientCert", text.line));
    let (is_asked, is_mandatory, is_verified) = match kind {
        "NoClientCert" => (false, false, false),
        "RequestClientCert" => (true, false, false),
        "RequireAnyClientCert" => (true, true, false),
        "VerifyClientCertIfGiven" => (true, false, true),
        "RequireAndVerifyClientCert" => (true, true, true),
        other => {
            let hint = "NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or \
                RequireAndVerifyClientCert";
            complain(line, format!("{other} is no client_auth_type"), hint.into());
            return None;
        }
    };
    let names = allowed_names(text, is_mandatory, complain);
    let has_authority = text.client_ca.file.is_some() || text.client_ca.inline.is_some();
    // A certificate authority that nobody asks is a lock that was never closed.
    if has_authority && !is_asked {
        let hint = "add client_auth_type: RequireAndVerifyClientCert";
        complain(text.client_ca.line, "client_ca_file is given, but no client is asked".into(), hint.into());
        return None;
    }
    let inner: Option<Verifier> = if !is_asked {
        None
    } else if is_verified {
        let authorities = pem(&text.client_ca, "client_ca_file", line, complain, certificates)?;
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            if let Err(error) = roots.add(authority) {
                complain(text.client_ca.line, format!("no certificate authority: {error}"), String::new());
                return None;
            }
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = if is_mandatory { builder } else { builder.allow_unauthenticated() };
        match builder.build() {
            Ok(verifier) => Some(verifier),
            Err(error) => {
                complain(text.client_ca.line, error.to_string(), String::new());
                return None;
            }
        }
    } else {
        let algorithms = provider.signature_verification_algorithms;
        Some(Arc::new(AnyCertificate { is_mandatory, algorithms }))
    };
    let names = names?;
    Some(match inner {
        Some(inner) if !names.is_empty() => Some(Arc::new(NamedCertificate { inner, names })),
        inner => inner,
    })
}

fn allowed_names(
    text: &TlsText<'_>,
    is_mandatory: bool,
    complain: Complain<'_>,
) -> Option<Vec<ServerName<'static>>> {
    let mut names = Vec::new();
    for (name, line) in &text.client_allowed_sans {
        if let Ok(name) = ServerName::try_from(*name) {
            names.push(name.to_owned());
        } else {
            let hint = "DNS names and IP addresses are compared; mail addresses and URIs are not".into();
            complain(*line, format!("client_allowed_sans: {name} cannot be compared"), hint);
        }
    }
    if let Some((_, line)) = text.client_allowed_sans.first()
        && !is_mandatory
    {
        let hint = "set client_auth_type to RequireAndVerifyClientCert".into();
        complain(*line, "client_allowed_sans needs clients that must show a certificate".into(), hint);
    }
    (names.len() == text.client_allowed_sans.len()).then_some(names)
}

/// Any certificate whose key the client has, whoever signed it.
#[derive(Debug)]
struct AnyCertificate {
    is_mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A certificate that also carries one of the names that are let in.
#[derive(Debug)]
struct NamedCertificate {
    inner: Verifier,
    names: Vec<ServerName<'static>>,
}

impl ClientCertVerifier for NamedCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(certificate, intermediates, now)?;
        let parsed = ParsedCertificate::try_from(certificate)?;
        if self.names.iter().any(|name| verify_server_name(&parsed, name).is_ok()) {
            return Ok(verified);
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidForName))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
