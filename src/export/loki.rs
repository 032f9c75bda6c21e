//! Delivery to Loki that loses nothing a bounded disk can keep.
//!
//! ```text
//! lines -> Outlet::put -> Spool (disk) -> Sender, a thread of its own -> POST /loki/api/v1/push -> Loki
//!              \-> labels: job, host, stream, level, configured ones     204: forgotten   429, 5xx, no answer: once more
//!                  metadata: call_id, trace_id, audit sequence           400, 413, 422: given up, counted
//! ```
//!
//! Every line is delivered at least once and in the order of its stream; one that comes twice is the same line with the
//! same time, which Loki keeps once. One request is under way at a time, so that none can overtake another.
//! The capture thread has nothing to do with any of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::client::{self, Client, Target};
use crate::log::privacy::Treatments;

pub mod push;
pub mod spool;

mod outlet;
mod sender;
mod sink;

pub use outlet::{Counters, Line, Outlet};
pub use sender::Sender;
pub use sink::ToLoki;

/// Where to send, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server; `None` = nothing is sent.
    pub url: Option<Target>,
    /// `X-Scope-OrgID`.
    pub tenant: Option<String>,
    /// Name for basic authentication.
    pub user: Option<String>,
    /// Its password; like a token it is read again when it was refused.
    pub password_file: Option<PathBuf>,
    /// A token, which stands over user and password.
    pub bearer_file: Option<PathBuf>,
    /// Certificates of whom to trust, PEM; `None` = those of the system.
    pub ca: Option<PathBuf>,
    /// Labels beside those that the agent gives.
    pub labels: Vec<(String, String)>,
    /// What becomes of what is personal in a line.
    pub privacy: Treatments,
    /// Streams that are sent; empty = all.
    pub streams: Vec<String>,
    /// Directory of the spool; `None` = `loki` below the agent's own.
    pub spool: Option<PathBuf>,
    /// Bytes on disk at most.
    pub spool_bytes: u64,
    /// Bytes of lines in a request, about.
    pub batch_bytes: usize,
    /// Lines in a request.
    pub batch_lines: usize,
    /// How long a line waits for others.
    pub batch_wait: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// First pause after a failure; each next one may be twice as long.
    pub first_pause: Duration,
    /// Longest pause, but for what the server asks for.
    pub longest_pause: Duration,
    /// How long it goes on sending when the agent ends; the rest stays on disk.
    pub drain: Duration,
    /// Of the chance in the pauses; `None` = another one each time.
    pub seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: None,
            tenant: None,
            user: None,
            password_file: None,
            bearer_file: None,
            ca: None,
            labels: Vec::new(),
            privacy: Treatments::SENT,
            streams: Vec::new(),
            spool: None,
            spool_bytes: 256 << 20,
            batch_bytes: 1 << 20,
            batch_lines: 10_000,
            batch_wait: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_mins(1),
            drain: Duration::from_secs(2),
            seed: None,
        }
    }
}

impl Settings {
    /// Files that are read again while the agent runs.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.password_file.iter().chain(&self.bearer_file)
    }
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server, or whom to trust.
    #[error("loki: {0}")]
    Client(#[from] client::Error),
    /// The disk.
    #[error("loki: {0}")]
    Spool(#[from] spool::Error),
    /// Password or token.
    #[error("loki: {}: {source}; the agent's user must be able to read it", .file.display())]
    Login {
        /// The file.
        file: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
}

/// Opens what is needed, before rights are given up: whoever has lines gets an outlet, a thread the sender. The spool is
/// in `directory` unless the settings name another one.
pub fn open(settings: Settings, directory: PathBuf, host: &str) -> Result<Option<(Outlet, Sender)>, Error> {
    let Some(target) = settings.url.clone() else { return Ok(None) };
    let client = Client::new(target, settings.ca.as_deref(), settings.timeout)?;
    let login = sender::login(&settings)?;
    let directory = settings.spool.clone().unwrap_or(directory);
    let spool = Arc::new(spool::Spool::open(&directory, settings.spool_bytes)?);
    let outlet = Outlet::new(Arc::clone(&spool), &settings, host);
    let sender = Sender::new(settings, client, login, spool, outlet.sent());
    Ok(Some((outlet, sender)))
}
