//! Lines on their way out of the running agent: the sender to Loki, and the reader of other programs' files.
//!
//! ```text
//! before rights are given up: spool, positions, certificates, token -> Shipping
//! afterwards: a thread each: "tail" reads files, "loki" sends; at the end the reader stops first
//! ```

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Failure, Settings, leave};
use crate::export::loki::{self, Counters, Outlet, Sender, ToLoki};
use crate::http::Condition;
use crate::log::{self, Output, Stream};
use crate::sandbox::directories_of;
use crate::tail::{self, Reader, Stats};

/// What is open, and not started yet.
pub(super) struct Shipping {
    sender: Option<Sender>,
    reader: Option<Reader>,
    told: Told,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
}

/// What pages and metrics ask for.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    outlet: Option<Outlet>,
    tails: Arc<Mutex<Vec<Stats>>>,
}

/// The threads, and the flags that end them.
pub(super) struct Running {
    reading: Option<JoinHandle<()>>,
    sending: Option<JoinHandle<()>>,
    no_reading: Arc<AtomicBool>,
    no_sending: Arc<AtomicBool>,
}

impl Shipping {
    /// Opens what is configured; the agent's own logs are sent too.
    pub(super) fn open(settings: &Settings, host: &str, logs: &mut log::Opened) -> Result<Self, Failure> {
        let broken = |error: &dyn Display| Failure::broken(error);
        let (loki, state) = (&settings.loki, &settings.state);
        let mut shipping =
            Self { sender: None, reader: None, told: Told::default(), read: Vec::new(), write: Vec::new() };
        let spool = loki.spool.clone().unwrap_or_else(|| state.join("loki"));
        if let Some((outlet, sender)) =
            loki::open(loki.clone(), spool.clone(), host).map_err(|error| broken(&error))?
        {
            let streams = Stream::ALL.map(|stream| outlet.takes(stream.name()));
            let policy = logs.policy(loki.privacy);
            logs.add(Output::new(Box::new(ToLoki::new(outlet.clone())), streams, policy));
            shipping.told.outlet = Some(outlet);
            shipping.sender = Some(sender);
            shipping.write.push(spool);
            shipping.read.extend(loki.files().flat_map(|file| directories_of(file)));
        }
        if !settings.tails.is_empty() {
            let outlet = shipping.told.outlet.clone();
            let policy = logs.policy(loki.privacy);
            let shown = Arc::new(move |line: &str| policy.text(line));
            let positions = state.join("tail.positions");
            let reader = tail::open(settings.tails.clone(), &positions, outlet, shown)
                .map_err(|error| broken(&error))?
                .with_logs(logs.logs().clone());
            shipping.write.push(state.clone());
            shipping.read.extend(reader.directories());
            shipping.told.tails = reader.stats();
            shipping.reader = Some(reader);
        }
        shipping.read.retain(|directory| directory.exists());
        Ok(shipping)
    }

    pub(super) fn told(&self) -> Told {
        self.told.clone()
    }

    /// Metrics that rules make.
    pub(super) fn families(&self) -> Option<Arc<tail::metric::Families>> {
        self.reader.as_ref().map(Reader::families)
    }

    /// Directories that are read, and those that are written.
    pub(super) fn directories(&self) -> (&[PathBuf], &[PathBuf]) {
        (&self.read, &self.write)
    }

    /// Whether connections are made.
    pub(super) fn connects(&self) -> bool {
        self.sender.is_some()
    }

    pub(super) fn start(
        self,
        spawn: impl Fn(&str, Box<dyn FnOnce() + Send>) -> Result<JoinHandle<()>, Failure>,
    ) -> Result<Running, Failure> {
        let (no_reading, no_sending) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let start = |reader: Reader| {
            let stop = Arc::clone(&no_reading);
            spawn("tail", Box::new(move || reader.run(&stop)))
        };
        let reading = self.reader.map(start).transpose()?;
        let start = |sender: Sender| {
            let stop = Arc::clone(&no_sending);
            let run = move || {
                if let Err(error) = sender.run(&stop) {
                    tracing::error!(%error, "nothing is sent to Loki; the spool keeps what it can");
                }
            };
            spawn("loki", Box::new(run))
        };
        let sending = self.sender.map(start).transpose()?;
        Ok(Running { reading, sending, no_reading, no_sending })
    }
}

impl Running {
    /// Reads what is left in files; then no line is added by them.
    pub(super) fn stop_reading(&mut self) {
        self.no_reading.store(true, Ordering::Release);
        leave(&self.reading, FINISH);
    }

    /// Everything is in the spool: sends what can be sent in a moment; the rest is sent after the next start.
    pub(super) fn finish(mut self) {
        self.stop_reading();
        self.no_sending.store(true, Ordering::Release);
        leave(&self.sending, FINISH);
    }
}

/// How a part is, for the health page.
type State = (Condition, BTreeMap<String, Value>);

impl Told {
    pub(super) fn loki(&self) -> Option<Counters> {
        self.outlet.as_ref().map(Outlet::counters)
    }

    pub(super) fn tails(&self) -> Vec<Stats> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For the health page: what is used.
    pub(super) fn health(&self) -> Vec<(&'static str, State)> {
        let mut parts = Vec::new();
        if let Some(counters) = self.loki() {
            let mut detail = BTreeMap::from([
                ("sent".into(), json!(counters.sent)),
                ("lost".into(), json!(counters.lost())),
                ("waiting_lines".into(), json!(counters.waiting_lines)),
                ("waiting_bytes".into(), json!(counters.waiting_bytes)),
            ]);
            if let Some(trouble) = counters.trouble {
                detail.insert("trouble".into(), json!(trouble));
            }
            parts.push(("loki", (if counters.is_up { Condition::Up } else { Condition::Degraded }, detail)));
        }
        let tails = self.tails();
        if !tails.is_empty() {
            let told = |tail: &Stats| {
                let troubles: BTreeMap<_, _> =
                    tail.troubles.iter().filter(|(_, count)| *count > 0).copied().collect();
                (
                    tail.name.clone(),
                    json!({ "files": tail.files, "lines": tail.lines, "behind_bytes": tail.behind,
                    "troubles": troubles }),
                )
            };
            let missing = tails.iter().any(|tail| tail.files == 0);
            let condition = if missing { Condition::Degraded } else { Condition::Up };
            parts.push(("tail", (condition, tails.iter().map(told).collect())));
        }
        parts
    }
}

const FINISH: Duration = Duration::from_secs(5);
