//! An answer before it is put on the wire.

use hyper::StatusCode;
use hyper::header::{ALLOW, CONTENT_DISPOSITION, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::content::Refusal;

/// Status, headers and bytes.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Body,
    /// Its place among the large answers.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// The bytes of it.
#[derive(Debug)]
pub(crate) enum Body {
    Bytes(Vec<u8>),
    /// What is wrong: it becomes JSON when the identifier of the request is put to it.
    Error(String),
}

impl Reply {
    pub(crate) fn of(status: StatusCode, content_type: &'static str, bytes: Vec<u8>) -> Self {
        Self { status, content_type, headers: Vec::new(), body: Body::Bytes(bytes), room: None }
    }

    pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => Self::of(status, JSON, bytes),
            Err(error) => Self::error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    pub(crate) fn error(status: StatusCode, what: impl Into<String>) -> Self {
        Self { status, content_type: JSON, headers: Vec::new(), body: Body::Error(what.into()), room: None }
    }

    /// Something to be saved under that name, of letters, digits, `.` and `-`.
    pub(crate) fn file(content_type: &'static str, name: &str, bytes: Vec<u8>) -> Self {
        let reply = Self::of(StatusCode::OK, content_type, bytes);
        match HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
            Ok(disposition) => reply.with(CONTENT_DISPOSITION, disposition),
            Err(_) => reply,
        }
    }

    pub(crate) fn refused(refusal: Refusal) -> Self {
        match refusal {
            Refusal::BadQuery(what) => Self::error(StatusCode::BAD_REQUEST, what),
            Refusal::Unavailable(what) => Self::unavailable(what),
        }
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are understood here")
            .with(ALLOW, HeaderValue::from_static("GET, HEAD"))
    }

    pub(crate) fn too_many_requests(wait: std::time::Duration, what: &str) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self::error(StatusCode::TOO_MANY_REQUESTS, what).with(RETRY_AFTER, seconds.max(1).into())
    }

    pub(crate) fn unauthorized() -> Self {
        let realm = HeaderValue::from_static("Basic realm=\"sidetone\", charset=\"UTF-8\"");
        Self::error(StatusCode::UNAUTHORIZED, "user and password are needed").with(WWW_AUTHENTICATE, realm)
    }

    pub(crate) fn unavailable(what: impl Into<String>) -> Self {
        Self::error(StatusCode::SERVICE_UNAVAILABLE, what).with(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// `{"status":404,"error":"there is no such path","request_id":"6f1c..."}`
pub(crate) fn error_json(status: StatusCode, what: &str, request_id: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Told<'a> {
        status: u16,
        error: &'a str,
        request_id: &'a str,
    }
    serde_json::to_vec(&Told { status: status.as_u16(), error: what, request_id }).unwrap_or_default()
}

pub(crate) const JSON: &str = "application/json";
pub(crate) const PCAPNG: &str = "application/x-pcapng";
pub(crate) const HTML: &str = "text/html; charset=utf-8";
