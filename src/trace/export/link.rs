//! One request to the collector, by gRPC or HTTP, and what its answer means.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint as GrpcEndpoint};
use tonic::{Code, Status};

use super::endpoint::{Endpoint, Protocol};
use super::tls::{Connector, Trust};
use super::{Settings, retry_info};
use crate::client::retry_after::RetryAfter;
use crate::http::gzip::deflate;

/// A way to the collector; connections are made when they are needed and kept.
#[allow(clippy::large_enum_variant, reason = "there is one")]
pub(super) enum Link {
    Http(Http),
    Grpc(Grpc),
}

pub(super) struct Http {
    client: Client<Connector, Full<Bytes>>,
    endpoint: Endpoint,
    headers: HeaderMap,
    compress: bool,
    timeout: Duration,
}

pub(super) struct Grpc {
    client: TraceServiceClient<Channel>,
    headers: HeaderMap,
    timeout: Duration,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Taken, but for so many spans.
    Taken { rejected: u64, message: String },
    /// To be sent again, not before the given time if one was given.
    Later { wait: Option<Duration>, why: String },
    /// Not to be sent again.
    Never { why: String },
}

impl Link {
    /// To be called in the runtime that drives it.
    pub(super) fn new(settings: &Settings, trust: &Trust, endpoint: &Endpoint) -> Self {
        let mut headers: HeaderMap = settings.headers.iter().cloned().collect();
        let agent = concat!("sidetone/", env!("CARGO_PKG_VERSION"));
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(agent));
        match settings.spoken() {
            Protocol::HttpProtobuf => Self::Http(Http {
                client: Client::builder(TokioExecutor::new()).build(trust.connector(settings, false)),
                endpoint: endpoint.for_http(),
                headers,
                compress: settings.compress,
                timeout: settings.timeout,
            }),
            Protocol::Grpc => {
                let channel = GrpcEndpoint::from(endpoint.uri().clone())
                    .keep_alive_while_idle(false)
                    .connect_with_connector_lazy(trust.connector(settings, true));
                let mut client = TraceServiceClient::new(channel);
                if settings.compress {
                    client = client
                        .send_compressed(CompressionEncoding::Gzip)
                        .accept_compressed(CompressionEncoding::Gzip);
                }
                Self::Grpc(Grpc { client, headers, timeout: settings.timeout })
            }
        }
    }

    pub(super) async fn send(&mut self, request: ExportTraceServiceRequest) -> Answer {
        match self {
            Self::Http(http) => http.send(&request).await,
            Self::Grpc(grpc) => grpc.send(request).await,
        }
    }
}

impl Http {
    async fn send(&self, message: &ExportTraceServiceRequest) -> Answer {
        let later = |why: String| Answer::Later { wait: None, why };
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.uri().clone();
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
        let mut bytes = message.encode_to_vec();
        if self.compress
            && let Ok(packed) = deflate(&bytes)
        {
            bytes = packed;
            request.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        *request.body_mut() = Full::new(bytes.into());
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| whole(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| error.to_string())?;
            Ok::<_, String>((head, body.to_bytes()))
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Err(_) => later(format!("no answer within {:?}", self.timeout)),
            Ok(Err(why)) => later(why),
            Ok(Ok((head, body))) => answer_of_http(head.status, &head.headers, &body),
        }
    }
}

impl Grpc {
    async fn send(&mut self, message: ExportTraceServiceRequest) -> Answer {
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = MetadataMap::from_headers(self.headers.clone());
        // The collector is told how long we wait.
        request.set_timeout(self.timeout);
        match tokio::time::timeout(self.timeout, self.client.export(request)).await {
            Err(_) => Answer::Later { wait: None, why: format!("no answer within {:?}", self.timeout) },
            Ok(Ok(response)) => taken(response.into_inner()),
            Ok(Err(status)) => answer_of_grpc(&status),
        }
    }
}

/// OTLP specification, OTLP/HTTP response: these four are to be tried again, no others.
fn answer_of_http(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Answer {
    if status.is_success() {
        // Whoever answers something else has taken them all the same.
        return taken(ExportTraceServiceResponse::decode(body).unwrap_or_default());
    }
    let why = format!("the collector answers {status}");
    match status.as_u16() {
        429 | 502..=504 => {
            let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Answer::Later { wait: after.map(RetryAfter::from_now), why }
        }
        _ => Answer::Never { why },
    }
}

/// OTLP specification, OTLP/gRPC response.
fn answer_of_grpc(status: &Status) -> Answer {
    let why = format!("the collector answers {:?}: {}", status.code(), status.message());
    let wait = retry_info::wait(status.details());
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss
        // A connection that breaks is told as this one.
        | Code::Unknown => Answer::Later { wait, why },
        // Otherwise it will never have the room.
        Code::ResourceExhausted if wait.is_some() => Answer::Later { wait, why },
        _ => Answer::Never { why },
    }
}

fn taken(response: ExportTraceServiceResponse) -> Answer {
    let part = response.partial_success.unwrap_or_default();
    Answer::Taken { rejected: part.rejected_spans.max(0) as u64, message: part.error_message }
}

/// An error and what caused it: `client error (Connect): tcp connect error: refused`.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

const PROTOBUF: &str = "application/x-protobuf";
/// Nobody has more to say about spans.
const MAX_ANSWER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_http_mean_what_the_specification_says() {
        let of = |status: u16, after: Option<&str>| {
            let mut headers = HeaderMap::new();
            after.map(|after| headers.insert(RETRY_AFTER, after.parse().unwrap()));
            answer_of_http(StatusCode::from_u16(status).unwrap(), &headers, b"")
        };
        assert!(matches!(of(200, None), Answer::Taken { rejected: 0, .. }));
        for status in [429, 502, 503, 504] {
            assert!(matches!(of(status, None), Answer::Later { wait: None, .. }), "{status}");
            let seven = Some(Duration::from_secs(7));
            assert!(matches!(of(status, Some("7")), Answer::Later { wait, .. } if wait == seven), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 413, 500, 501] {
            assert!(matches!(of(status, Some("7")), Answer::Never { .. }), "{status}");
        }
    }

    #[test]
    fn answers_of_grpc_mean_what_the_specification_says() {
        let of = |code| answer_of_grpc(&Status::new(code, "x"));
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Aborted, Code::DataLoss] {
            assert!(matches!(of(code), Answer::Later { .. }), "{code:?}");
        }
        for code in [
            Code::InvalidArgument,
            Code::Unauthenticated,
            Code::PermissionDenied,
            Code::Unimplemented,
            Code::ResourceExhausted,
        ] {
            assert!(matches!(of(code), Answer::Never { .. }), "{code:?}");
        }
    }
}
