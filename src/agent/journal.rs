//! How the logs are: for metrics and the health page.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::export::prometheus::LogStats;
use crate::http::Condition;
use crate::log::{Health, Logs, Settings, Stream};

/// What is asked about the logs.
#[derive(Debug)]
pub(super) struct Journal {
    health: Arc<Health>,
    directory: Option<PathBuf>,
    has_audit: bool,
}

impl Journal {
    pub(super) fn new(settings: &Settings, health: Arc<Health>) -> Self {
        let directory = settings.directory.clone().filter(|_| settings.has_files());
        Self { health, directory, has_audit: settings.has_audit() }
    }

    pub(super) fn stats(&self, logs: &Logs) -> LogStats {
        LogStats {
            counts: Stream::ALL.map(|stream| logs.counts(stream)),
            waiting: logs.waiting() as u64,
            audit_sequence: self.has_audit.then(|| logs.audit_sequence()),
            free_bytes: self.free().map(|(free, _)| free),
        }
    }

    /// It is degraded while an output does not work.
    pub(super) fn health(&self, logs: &Logs) -> (Condition, BTreeMap<String, Value>) {
        let outputs = self.health.outputs();
        let fails = outputs.values().any(|output| output.get("failed").is_some());
        let mut detail = BTreeMap::from([("outputs".to_owned(), json!(outputs))]);
        for stream in Stream::ALL {
            let counts = logs.counts(stream);
            let told = json!({ "lines": counts.lines, "suppressed": counts.suppressed, "lost": counts.lost,
                "errors": counts.errors });
            detail.insert(stream.name().into(), told);
        }
        (if fails { Condition::Degraded } else { Condition::Up }, detail)
    }

    /// Of the disk that holds the files, if there are any.
    pub(super) fn disk(&self) -> Option<(Condition, BTreeMap<String, Value>)> {
        let (free, total) = self.free()?;
        let detail = BTreeMap::from([
            ("directory".to_owned(), json!(self.directory)),
            ("free_bytes".to_owned(), json!(free)),
            ("total_bytes".to_owned(), json!(total)),
        ]);
        let is_short = free < SHORT_BYTES && free < total / SHORT_SHARE;
        Some((if is_short { Condition::Degraded } else { Condition::Up }, detail))
    }

    fn free(&self) -> Option<(u64, u64)> {
        let told = rustix::fs::statvfs(self.directory.as_deref()?).ok()?;
        Some((told.f_bavail.saturating_mul(told.f_frsize), told.f_blocks.saturating_mul(told.f_frsize)))
    }
}

/// Less is little, unless it is much of a small disk.
const SHORT_BYTES: u64 = 200 << 20;
const SHORT_SHARE: u64 = 20;
