//! Where spans go: `http://collector:4318`, `https://otlp.example/v1/traces`, `http://collector:4317` for gRPC.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// How OTLP is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP with protobuf bodies.
    #[default]
    HttpProtobuf,
    /// gRPC.
    Grpc,
}

/// An address with scheme, host and, for HTTP, a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Uri);

impl Protocol {
    /// As `OTEL_EXPORTER_OTLP_PROTOCOL` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::HttpProtobuf => "http/protobuf",
            Self::Grpc => "grpc",
        }
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "http/protobuf" => Ok(Self::HttpProtobuf),
            "grpc" => Ok(Self::Grpc),
            _ => Err(format!("{text:?} is none of http/protobuf, grpc")),
        }
    }
}

impl Endpoint {
    /// The same for HTTP with the path that traces go to, as for `OTEL_EXPORTER_OTLP_ENDPOINT`; one that ends in it
    /// already stays.
    #[must_use]
    pub fn for_http(&self) -> Self {
        let path = self.0.path().trim_end_matches('/');
        if path.ends_with(TRACES) {
            return self.clone();
        }
        let mut parts = self.0.clone().into_parts();
        parts.path_and_query = format!("{path}{TRACES}").parse().ok();
        Self(Uri::from_parts(parts).unwrap_or_else(|_| self.0.clone()))
    }

    /// What most probably is spoken there: gRPC on the port that is registered for it.
    pub fn usual_protocol(&self) -> Protocol {
        if self.0.port_u16() == Some(GRPC_PORT) { Protocol::Grpc } else { Protocol::HttpProtobuf }
    }

    /// Whether it wants TLS.
    pub fn is_tls(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no URL such as http://collector:4318");
        let uri: Uri = text.trim().parse().map_err(|_| wrong())?;
        let whole = matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty());
        if !whole {
            return Err(wrong());
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("a password does not belong into the URL: put it into headers".into());
        }
        if uri.scheme_str() == Some("https") && !cfg!(feature = "tls") {
            return Err("this build has no TLS".into());
        }
        Ok(Self(uri))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const TRACES: &str = "/v1/traces";
const GRPC_PORT: u16 = 4317;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_is_put_once() {
        for (given, used) in [
            ("http://c:4318", "http://c:4318/v1/traces"),
            ("http://c:4318/", "http://c:4318/v1/traces"),
            ("https://c/otlp/", "https://c/otlp/v1/traces"),
            ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(given.parse::<Endpoint>().unwrap().for_http().to_string(), used);
        }
        assert_eq!("http://c:4317".parse::<Endpoint>().unwrap().usual_protocol(), Protocol::Grpc);
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for wrong in ["", "collector:4318", "ftp://c", "http://", "/v1/traces", "http://user:secret@c"] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }
}
