//! What the listener counts about itself. Plain numbers: whoever exports metrics reads a [`Snapshot`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::{Method, StatusCode};

use super::rate::ClientType;
use super::route::TEMPLATES;

/// The counters; they never fall, but for the gauge of open connections.
#[derive(Debug, Default)]
pub struct Stats {
    requests: [[[AtomicU64; STATUSES.len() + 1]; METHODS.len()]; TEMPLATES.len()],
    durations: [Durations; TEMPLATES.len()],
    rate_limit_hits: [[AtomicU64; 2]; TEMPLATES.len()],
    pub(crate) connections: AtomicU64,
    pub(crate) connections_open: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    pub(crate) tls_failures: AtomicU64,
    pub(crate) header_timeouts: AtomicU64,
    pub(crate) request_timeouts: AtomicU64,
    pub(crate) send_timeouts: AtomicU64,
    pub(crate) idle_timeouts: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) auth_failures: AtomicU64,
}

#[derive(Debug, Default)]
struct Durations {
    /// One for each bound, and one beyond.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

/// All values at one moment. Series without a value are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Answers by path template, method and status.
    pub requests: Vec<Requests>,
    /// How long they took to make, by path template.
    pub durations: Vec<DurationsOfPath>,
    /// Answers 429, by path template and kind of client.
    pub rate_limit_hits: Vec<RateLimitHits>,
    /// Connections accepted, those refused included.
    pub connections: u64,
    /// Connections up now.
    pub connections_open: u64,
    /// Connections closed at once because there were too many.
    pub connections_refused: u64,
    /// Times the kernel gave no connection, for want of file descriptors for example.
    pub accept_errors: u64,
    /// TLS handshakes that failed or took too long.
    pub tls_failures: u64,
    /// Connections closed because a request did not arrive in time.
    pub header_timeouts: u64,
    /// Requests without an answer in time: 503.
    pub request_timeouts: u64,
    /// Connections closed because an answer was not taken in time.
    pub send_timeouts: u64,
    /// Connections closed because they were idle.
    pub idle_timeouts: u64,
    /// Requests that were no HTTP, or whose header was too large.
    pub malformed: u64,
    /// Requests with missing or wrong credentials.
    pub auth_failures: u64,
}

/// Answers of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests {
    /// Path template.
    pub path: &'static str,
    /// Method; `other` but for GET and HEAD.
    pub method: &'static str,
    /// Status; 0 for one that is not expected here.
    pub status: u16,
    /// How many.
    pub count: u64,
}

/// How long the answers of a path took to make.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationsOfPath {
    /// Path template.
    pub path: &'static str,
    /// Upper bound in seconds and the number of answers up to it; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// All of them together.
    pub sum_seconds: f64,
}

/// Answers 429 of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitHits {
    /// Path template.
    pub endpoint: &'static str,
    /// Who was refused.
    pub client_type: ClientType,
    /// How many.
    pub count: u64,
}

impl Stats {
    pub(crate) fn answered(&self, template: usize, method: &Method, status: StatusCode, took: Duration) {
        let method = match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            _ => 2,
        };
        let status = STATUSES.iter().position(|known| *known == status.as_u16()).unwrap_or(STATUSES.len());
        let count = self.requests.get(template).and_then(|path| path.get(method)?.get(status));
        count.map(add_one);
        if let Some(durations) = self.durations.get(template) {
            let bucket = BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound).unwrap_or(BOUNDS.len());
            durations.buckets.get(bucket).map(add_one);
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            durations.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    pub(crate) fn rate_limited(&self, template: usize, client: ClientType) {
        self.rate_limit_hits.get(template).and_then(|path| path.get(client as usize)).map(add_one);
    }

    /// All values.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            connections: load(&self.connections),
            connections_open: load(&self.connections_open),
            connections_refused: load(&self.connections_refused),
            accept_errors: load(&self.accept_errors),
            tls_failures: load(&self.tls_failures),
            header_timeouts: load(&self.header_timeouts),
            request_timeouts: load(&self.request_timeouts),
            send_timeouts: load(&self.send_timeouts),
            idle_timeouts: load(&self.idle_timeouts),
            malformed: load(&self.malformed),
            auth_failures: load(&self.auth_failures),
            ..Snapshot::default()
        };
        for (path, methods) in TEMPLATES.into_iter().zip(&self.requests) {
            for (method, statuses) in METHODS.into_iter().zip(methods) {
                let known = STATUSES.into_iter().chain([0]).zip(statuses);
                let rows = known.map(|(status, count)| Requests { path, method, status, count: load(count) });
                snapshot.requests.extend(rows.filter(|row| row.count > 0));
            }
        }
        for (endpoint, clients) in TEMPLATES.into_iter().zip(&self.rate_limit_hits) {
            let clients = [ClientType::Local, ClientType::Remote].into_iter().zip(clients);
            let rows = clients.map(|(client_type, count)| RateLimitHits {
                endpoint,
                client_type,
                count: load(count),
            });
            snapshot.rate_limit_hits.extend(rows.filter(|row| row.count > 0));
        }
        for (path, durations) in TEMPLATES.into_iter().zip(&self.durations) {
            let mut total = 0;
            let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
            let buckets = bounds.zip(&durations.buckets).map(|(bound, count)| {
                total += load(count);
                (bound, total)
            });
            let buckets: Vec<_> = buckets.collect();
            if total > 0 {
                let sum_seconds = Duration::from_nanos(load(&durations.sum_nanos)).as_secs_f64();
                snapshot.durations.push(DurationsOfPath { path, buckets, sum_seconds });
            }
        }
        snapshot
    }
}

pub(crate) fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

const METHODS: [&str; 3] = ["GET", "HEAD", "other"];
/// Every status that is ever answered here.
const STATUSES: [u16; 13] = [200, 400, 401, 404, 405, 406, 408, 413, 414, 429, 431, 500, 503];
/// Upper bounds, seconds.
const BOUNDS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_path_method_and_status() {
        let stats = Stats::default();
        stats.answered(1, &Method::GET, StatusCode::OK, Duration::from_millis(3));
        stats.answered(1, &Method::GET, StatusCode::OK, Duration::from_secs(20));
        stats.answered(TEMPLATES.len() - 1, &Method::DELETE, StatusCode::IM_A_TEAPOT, Duration::ZERO);
        let snapshot = stats.snapshot();
        let rows = [
            Requests { path: "/metrics", method: "GET", status: 200, count: 2 },
            Requests { path: "other", method: "other", status: 0, count: 1 },
        ];
        assert_eq!(snapshot.requests, rows);
        let metrics = snapshot.durations.first().unwrap();
        assert_eq!(metrics.buckets.get(2..4), Some(&[(0.0025, 0), (0.005, 1)][..]));
        assert_eq!(metrics.buckets.last(), Some(&(f64::INFINITY, 2)));
        assert!((metrics.sum_seconds - 20.003).abs() < 1e-9);
    }

    #[test]
    fn refusals_tell_who_was_refused() {
        let stats = Stats::default();
        stats.rate_limited(1, ClientType::Remote);
        let hits = stats.snapshot().rate_limit_hits;
        assert_eq!(hits, [RateLimitHits { endpoint: "/metrics", client_type: ClientType::Remote, count: 1 }]);
    }
}
