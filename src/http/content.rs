//! What is served: the border between the listener and the agent.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;

use serde::Serialize;

use super::{Format, Query};

/// An answer that may take a moment: a scrape may wait for the next snapshot.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where everything that is served comes from. `/live` does not ask: it says that the process runs.
///
/// A future that is not ready within the request time is dropped, and the client gets 503.
pub trait Content: Send + Sync + 'static {
    /// The formats that [`Content::metrics`] can write.
    fn formats(&self) -> &[Format] {
        &Format::ALL
    }

    /// All metrics, in one of [`Content::formats`].
    fn metrics(&self, format: Format) -> Later<'_, Result<Vec<u8>, Refusal>>;

    /// How the parts are.
    fn health(&self) -> Later<'_, Health>;

    /// Whether it measures what it was told to; else why not.
    fn ready(&self) -> Later<'_, Result<(), String>>;

    /// The calls that the query asks for, as JSON.
    fn calls<'a>(&'a self, query: &'a Query) -> Later<'a, Result<Vec<u8>, Refusal>>;

    /// One call by its identifier, as JSON; `None` when it is not known.
    fn call<'a>(&'a self, id: &'a str) -> Later<'a, Result<Option<Vec<u8>>, Refusal>>;

    /// A file of the packets of a call that is over, pcapng, by its identifier; or why there is none.
    fn evidence<'a>(&'a self, _id: &'a str) -> Later<'a, Result<Result<Download, String>, Refusal>> {
        Box::pin(async { Ok(Err("no evidence is kept here".into())) })
    }

    /// The streams that the query asks for, as JSON.
    fn streams<'a>(&'a self, query: &'a Query) -> Later<'a, Result<Vec<u8>, Refusal>>;

    /// Somebody was given call data, or was refused it.
    fn accessed(&self, _access: &Access<'_>) {}

    /// The configuration without its secrets, as JSON.
    fn config(&self) -> Later<'_, Result<Vec<u8>, Refusal>>;
}

/// A file to be saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// What it is called: letters, digits, `.` and `-`.
    pub name: String,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// A request for call data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access<'a> {
    /// Identifier of the request.
    pub request_id: &'a str,
    /// Who asked.
    pub client: IpAddr,
    /// As whom, if a password was asked for and was right.
    pub user: Option<String>,
    /// What was asked for, as a template.
    pub path: &'static str,
    /// Which call was asked for.
    pub call_id: Option<&'a str>,
    /// What it was answered.
    pub status: u16,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The query asks for something that does not exist: 400.
    #[error("{0}")]
    BadQuery(String),
    /// It cannot be told now: 503.
    #[error("{0}")]
    Unavailable(String),
}

/// How the agent is, at `/health`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Health {
    /// All in all. Only `Down` answers 503: a restart would not mend what is degraded.
    pub status: Condition,
    /// Part by part; shown with `?detailed=true`.
    pub parts: Vec<Part>,
}

/// One part of it: capture, exporters, logs, disk, processes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// How it is called.
    pub name: String,
    /// How it is.
    pub status: Condition,
    /// Whatever explains that.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: BTreeMap<String, serde_json::Value>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It does all it should.
    Up,
    /// It does most of it.
    Degraded,
    /// It does not do what it is for.
    Down,
}

impl Health {
    /// As its worst part is; without parts it is up.
    pub fn of(parts: Vec<Part>) -> Self {
        let status = parts.iter().map(|part| part.status).max().unwrap_or(Condition::Up);
        Self { status, parts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_part_decides() {
        let part = |status| Part { name: "capture".into(), status, detail: BTreeMap::new() };
        assert_eq!(Health::of(Vec::new()).status, Condition::Up);
        assert_eq!(
            Health::of(vec![part(Condition::Degraded), part(Condition::Up)]).status,
            Condition::Degraded
        );
        assert_eq!(
            Health::of(vec![part(Condition::Down), part(Condition::Degraded)]).status,
            Condition::Down
        );
    }
}
