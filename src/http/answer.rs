//! One request: from its head to its answer.
//!
//! ```text
//! request id -> rate of the client -> credentials -> route and method -> representation -> content -> gzip
//! ```
//!
//! Whoever may not come in learns nothing about what is there. The body of a request is not read.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, VARY,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};
use serde::Serialize;
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use super::auth::{self, Verdict};
use super::body::Answer;
use super::content::{Access, Condition, Content, Health, Part};
use super::gzip;
use super::negotiate::{Format, takes_gzip, takes_html, takes_json, takes_pcapng};
use super::pace::Pace;
use super::rate::ClientType;
use super::reply::{Body, HTML, JSON, PCAPNG, Reply, error_json};
use super::request_id::REQUEST_ID;
use super::route::{Astray, OTHER, Route, TEMPLATES};
use super::stats::add_one;
use super::{Query, Server};

/// Answers the requests of one connection.
#[derive(Clone)]
pub(crate) struct Answering {
    pub(crate) server: Arc<Server>,
    pub(crate) content: Arc<dyn Content>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) client: IpAddr,
}

impl Answering {
    /// Answers one of them.
    pub(crate) async fn answer(self, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
        let begun = Instant::now();
        let mut open = Open::begin(Arc::clone(&self.pace), request.version() == Version::HTTP_2);
        let id = self.server.request_ids.of(request.headers());
        let route = Route::of(request.uri().path());
        let template = route.as_ref().map_or(OTHER, Route::index);
        let path = TEMPLATES.get(template).copied().unwrap_or_default();
        let request_id = id.to_str().unwrap_or_default();
        let is_call_data = route.as_ref().is_ok_and(Route::is_call_data);
        let call_id = match &route {
            Ok(Route::Call(call_id) | Route::Evidence(call_id)) => Some(call_id.clone()),
            _ => None,
        };
        // As severe as can be, so that no filter for severe lines loses the identifier that goes with them.
        let span = tracing::error_span!("request", request_id, method = %request.method(), path);
        let (reply, zipped) = async {
            let reply =
                timeout(self.server.settings.request_time, self.reply(&request, route, template)).await;
            let reply = reply.unwrap_or_else(|_| {
                add_one(&self.server.stats.request_timeouts);
                Reply::unavailable("there was no answer in time")
            });
            let (reply, zipped) = finished(reply, request.headers(), request_id).await;
            let (status, took) = (reply.status, begun.elapsed());
            self.server.stats.answered(template, request.method(), status, took);
            let (status, client, seconds) = (status.as_u16(), self.client.to_canonical(), took.as_secs_f64());
            // Whoever was turned away for asking too often, or wrongly, was shown nothing.
            if is_call_data && matches!(status, 200 | 401 | 404) {
                let call_id = call_id.as_deref();
                self.content.accessed(&Access {
                    request_id,
                    client,
                    user: self.user(&request, status),
                    path,
                    call_id,
                    status,
                });
            }
            // A probe that finds something wrong comes every few seconds; /health tells the same.
            if status >= 500 && !matches!(path, "/health" | "/ready") {
                tracing::warn!(status, %client, seconds, "answered");
            } else {
                tracing::debug!(status, %client, seconds, "answered");
            }
            (reply, zipped)
        }
        .instrument(span)
        .await;
        Ok(self.response(reply, zipped, &id, request.method(), open.answered()))
    }

    async fn reply(
        &self,
        request: &Request<Incoming>,
        route: Result<Route, Astray>,
        template: usize,
    ) -> Reply {
        if header_bytes(request) > self.server.settings.header_bytes {
            add_one(&self.server.stats.malformed);
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Reply::error(status, "the header of the request is too large");
        }
        let web = self.server.web.load_full();
        let client_type = ClientType::of(self.client);
        // A process that is asked too much is alive all the same, and saying so costs nothing.
        if route != Ok(Route::Live)
            && let Some(rate) = web.rate_or(self.server.settings.rate)
            && let Err(wait) = self.server.limiter.take(self.client, rate, Instant::now())
        {
            self.server.stats.rate_limited(template, client_type);
            return Reply::too_many_requests(wait, "too many requests from this address");
        }
        if let Some(gate) = &web.gate {
            match gate.check(request.headers().get(AUTHORIZATION)).await {
                Verdict::Accepted => {}
                Verdict::Refused => {
                    add_one(&self.server.stats.auth_failures);
                    return Reply::unauthorized();
                }
                Verdict::Busy => {
                    self.server.stats.rate_limited(template, client_type);
                    return Reply::too_many_requests(A_SECOND, "too many credentials are being checked");
                }
            }
        }
        let route = match route {
            Ok(route) => route,
            Err(Astray::Unknown) => return Reply::error(StatusCode::NOT_FOUND, "there is no such path"),
            Err(Astray::Undecodable) => {
                let what = "the call's identifier is not percent-encoded UTF-8";
                return Reply::error(StatusCode::BAD_REQUEST, what);
            }
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Reply::method_not_allowed();
        }
        let Some(query) = Query::parse(request.uri().query().unwrap_or_default()) else {
            return Reply::error(StatusCode::BAD_REQUEST, "the query cannot be decoded, or is too long");
        };
        self.content(route, &query, request.headers()).await
    }

    /// As whom the client is known, where it has to be.
    fn user(&self, request: &Request<Incoming>, status: u16) -> Option<String> {
        let is_asked = self.server.web.load().gate.is_some() && status != StatusCode::UNAUTHORIZED;
        request.headers().get(AUTHORIZATION).filter(|_| is_asked).and_then(auth::user)
    }

    async fn content(&self, route: Route, query: &Query, headers: &HeaderMap) -> Reply {
        let content = &self.content;
        // Probes are answered in JSON whatever they say they accept: a refusal would read as a failure.
        match route {
            Route::Live => return Reply::json(StatusCode::OK, &Said { status: "alive", reason: None }),
            Route::Ready => return ready(content.ready().await),
            Route::Health => return health(&content.health().await, query.is_set("detailed")),
            Route::Page if takes_html(headers) => {
                return Reply::of(StatusCode::OK, HTML, PAGE.as_bytes().to_vec());
            }
            Route::Page => return not_acceptable("text/html"),
            Route::Metrics => {}
            Route::Evidence(_) if takes_pcapng(headers) => {}
            Route::Evidence(_) => return not_acceptable(PCAPNG),
            _ if takes_json(headers) => {}
            _ => return not_acceptable(JSON),
        }
        let format = Format::negotiated(headers, content.formats());
        if route == Route::Metrics && format.is_none() {
            return not_acceptable("OpenMetrics, Prometheus text or Prometheus protobuf");
        }
        // What is large is made for a few at a time; the others wait, as long as a request may.
        let Ok(room) = Arc::clone(&self.server.answers).acquire_owned().await else {
            return Reply::unavailable("the server is going down");
        };
        if let Route::Evidence(id) = &route {
            let reply = match content.evidence(id).await {
                Ok(Ok(file)) => Reply::file(PCAPNG, &file.name, file.bytes),
                Ok(Err(reason)) => Reply::error(StatusCode::NOT_FOUND, reason),
                Err(refusal) => Reply::refused(refusal),
            };
            return Reply { room: Some(room), ..reply };
        }
        let (content_type, made) = match &route {
            Route::Metrics => {
                let format = format.unwrap_or(Format::Classic);
                (format.content_type(), content.metrics(format).await.map(Some))
            }
            Route::Calls => (JSON, content.calls(query).await.map(Some)),
            Route::Call(id) => (JSON, content.call(id).await),
            Route::Streams => (JSON, content.streams(query).await.map(Some)),
            _ => (JSON, content.config().await.map(Some)),
        };
        let mut reply = match made {
            Ok(Some(bytes)) => Reply::of(StatusCode::OK, content_type, bytes),
            Ok(None) => Reply::error(StatusCode::NOT_FOUND, "no such call is known, or not any more"),
            Err(refusal) => Reply::refused(refusal),
        };
        reply.room = Some(room);
        reply
    }

    fn response(
        &self,
        reply: Finished,
        zipped: bool,
        id: &HeaderValue,
        method: &Method,
        name: u64,
    ) -> Response<Answer> {
        let length = reply.bytes.len();
        // What HEAD does not get it need not wait for.
        let bytes = if *method == Method::HEAD { Bytes::new() } else { Bytes::from(reply.bytes) };
        let mut response = Response::new(Answer::new(bytes, reply.room, Arc::clone(&self.pace), name));
        *response.status_mut() = reply.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        if zipped {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if reply.content_type == HTML {
            let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
            headers.insert("content-security-policy", HeaderValue::from_static(policy));
        }
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        for (name, value) in self.server.web.load().headers.iter().chain(&reply.headers) {
            headers.insert(name, value.clone());
        }
        headers.insert(REQUEST_ID, id.clone());
        response
    }
}

/// Bytes of the header as they would stand in HTTP/1.1, where hyper has looked at them already.
fn header_bytes(request: &Request<Incoming>) -> usize {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    target + fields.sum::<usize>()
}

/// A reply whose bytes are as they go out.
#[derive(Debug)]
struct Finished {
    status: StatusCode,
    content_type: &'static str,
    headers: Vec<(hyper::header::HeaderName, HeaderValue)>,
    bytes: Vec<u8>,
    room: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// Puts the request's identifier to errors, and compresses the rest where that is asked for and worth it.
async fn finished(reply: Reply, asked: &HeaderMap, request_id: &str) -> (Finished, bool) {
    let Reply { status, content_type, headers, body, room } = reply;
    let finished =
        |bytes: Vec<u8>, status, content_type| Finished { status, content_type, headers, bytes, room };
    match body {
        Body::Error(what) => {
            tracing::debug!(status = status.as_u16(), reason = what, "refused");
            (finished(error_json(status, &what, request_id), status, content_type), false)
        }
        Body::Bytes(bytes) if bytes.len() < gzip::WORTH_IT || !takes_gzip(asked) => {
            (finished(bytes, status, content_type), false)
        }
        Body::Bytes(bytes) => match gzip::compressed(bytes).await {
            Ok(bytes) => (finished(bytes, status, content_type), true),
            Err(error) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                (finished(error_json(status, &error.to_string(), request_id), status, JSON), false)
            }
        },
    }
}

/// A request in hand. When the client hangs up its future is dropped, and this tells.
struct Open {
    pace: Option<Arc<Pace>>,
}

impl Open {
    fn begin(pace: Arc<Pace>, is_http2: bool) -> Self {
        pace.begin(is_http2);
        Self { pace: Some(pace) }
    }

    fn answered(&mut self) -> u64 {
        self.pace.take().map_or(0, |pace| pace.answered(Instant::now()))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(pace) = self.pace.take() {
            pace.abandoned(Instant::now());
        }
    }
}

#[derive(Serialize)]
struct Said<'a> {
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

fn ready(ready: Result<(), String>) -> Reply {
    match ready {
        Ok(()) => Reply::json(StatusCode::OK, &Said { status: "ready", reason: None }),
        Err(reason) => {
            let said = Said { status: "not ready", reason: Some(&reason) };
            Reply::json(StatusCode::SERVICE_UNAVAILABLE, &said)
        }
    }
}

fn health(health: &Health, is_detailed: bool) -> Reply {
    #[derive(Serialize)]
    struct Told<'a> {
        status: Condition,
        version: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        parts: Option<&'a [Part]>,
    }
    let status = match health.status {
        Condition::Up | Condition::Degraded => StatusCode::OK,
        Condition::Down => StatusCode::SERVICE_UNAVAILABLE,
    };
    let parts = is_detailed.then_some(health.parts.as_slice());
    Reply::json(status, &Told { status: health.status, version: env!("CARGO_PKG_VERSION"), parts })
}

fn not_acceptable(what: &str) -> Reply {
    Reply::error(StatusCode::NOT_ACCEPTABLE, format!("this path is served as {what} only: change Accept"))
}

const A_SECOND: Duration = Duration::from_secs(1);
const PAGE: &str = include_str!("page.html");
