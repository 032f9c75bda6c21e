//! Where lines go in: labels and metadata are put on them here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Settings;
use super::push::{Pair, labels};
use super::spool::{Kept, Spool, Waiting};

/// Takes lines for Loki. A clone is another way into the same spool.
#[derive(Clone, Debug)]
pub struct Outlet {
    spool: Arc<Spool>,
    sent: Arc<Sent>,
    labels: Arc<Vec<(String, String)>>,
    streams: Arc<Vec<String>>,
}

/// One line, with what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// `application`, `audit`, `diagnostics`, or the name of a tailed file: the label `stream`.
    pub stream: &'a str,
    /// Nanoseconds since the epoch.
    pub nanos: u64,
    /// Level of it, one of few.
    pub level: Option<&'a str>,
    /// Further labels, each from a closed set.
    pub labels: &'a [(String, String)],
    /// The line without its end.
    pub text: &'a str,
}

/// Everything counted so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Lines put into the spool.
    pub accepted: u64,
    /// Lines that Loki has taken.
    pub sent: u64,
    /// Bytes of the requests with them, as they went over the wire.
    pub sent_bytes: u64,
    /// Requests that Loki has taken.
    pub requests: u64,
    /// Requests that failed and were made again, by what failed.
    pub failures: Vec<(&'static str, u64)>,
    /// Lines lost, by reason.
    pub lost: Vec<(&'static str, u64)>,
    /// Lines that wait.
    pub waiting_lines: u64,
    /// Bytes of the spool.
    pub waiting_bytes: u64,
    /// Whether Loki took the last request.
    pub is_up: bool,
    /// What it said when it did not.
    pub trouble: Option<String>,
}

/// What became of requests.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) lines: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) failures: [AtomicU64; FAILURES.len()],
    pub(super) refused: [AtomicU64; REFUSALS.len()],
    pub(super) is_down: AtomicBool,
    pub(super) trouble: Mutex<Option<String>>,
}

impl Outlet {
    pub(super) fn new(spool: Arc<Spool>, settings: &Settings, host: &str) -> Self {
        let own = [("job".to_owned(), "sidetone".to_owned()), ("host".to_owned(), host.to_owned())];
        // What is configured stands over what is given.
        let mut labels = settings.labels.clone();
        labels.extend(own.into_iter().filter(|(name, _)| settings.labels.iter().all(|(own, _)| own != name)));
        Self {
            spool,
            sent: Arc::default(),
            labels: Arc::new(labels),
            streams: Arc::new(settings.streams.clone()),
        }
    }

    pub(super) fn sent(&self) -> Arc<Sent> {
        Arc::clone(&self.sent)
    }

    #[cfg(test)]
    pub(super) fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Whether lines of this stream are sent.
    pub fn takes(&self, stream: &str) -> bool {
        self.streams.is_empty() || self.streams.iter().any(|named| named == stream)
    }

    /// A line as it will be kept.
    pub fn kept<'a>(&self, line: &Line<'_>, metadata: impl IntoIterator<Item = (&'a str, &'a str)>) -> Kept {
        let fixed = self.labels.iter().chain(line.labels);
        let fixed = fixed.map(|(name, value)| (name.as_str(), value.as_str()));
        let own = [("stream", line.stream), ("level", line.level.unwrap_or_default())];
        Kept {
            stream: labels(fixed.chain(own)),
            nanos: line.nanos,
            line: line.text.to_owned(),
            metadata: metadata
                .into_iter()
                .map(|(name, value)| Pair { name: name.into(), value: value.into() })
                .collect(),
        }
    }

    /// Takes lines, and a mark that is written with them ([`Spool`]). They are on disk when this returns.
    pub fn put(&self, lines: &[Kept], mark: Option<&[u8]>) {
        self.spool.append(lines, mark);
    }

    /// The last mark.
    pub fn mark(&self) -> Option<Vec<u8>> {
        self.spool.mark()
    }

    /// Everything counted so far.
    pub fn counters(&self) -> Counters {
        let (sent, tally) = (&self.sent, &self.spool.tally);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Waiting { lines, bytes } = self.spool.waiting();
        let lost = [("full", &tally.lost_full), ("disk", &tally.lost_disk), ("damaged", &tally.lost_damaged)];
        let refused = REFUSALS.iter().copied().zip(&sent.refused);
        Counters {
            accepted: count(&tally.accepted),
            sent: count(&sent.lines),
            sent_bytes: count(&sent.bytes),
            requests: count(&sent.requests),
            failures: FAILURES
                .iter()
                .zip(&sent.failures)
                .map(|(name, counter)| (*name, count(counter)))
                .collect(),
            lost: lost.into_iter().chain(refused).map(|(name, counter)| (name, count(counter))).collect(),
            waiting_lines: lines,
            waiting_bytes: bytes,
            is_up: !sent.is_down.load(Ordering::Relaxed),
            trouble: sent.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Counters {
    /// Lines that will never arrive.
    pub fn lost(&self) -> u64 {
        self.lost.iter().map(|(_, count)| count).sum()
    }
}

/// What makes a request be repeated.
pub(super) const FAILURES: [&str; 6] = ["connect", "broken", "timeout", "busy", "login", "server"];
/// Status codes after which lines are given up.
pub(super) const REFUSALS: [&str; 4] = ["400", "413", "422", "other"];
