//! Traces of the running agent: facts become spans on the facts thread, and go out on a thread of their own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::shared::{Fact, Shared};
use super::{Failure, leave};
use crate::config::Config;
use crate::export::prometheus::TraceStats;
use crate::http::Condition;
use crate::log::privacy::{Policy, Treatments};
use crate::trace::export::{self, Exporter, Outbox};
use crate::trace::{Traces, USUAL_SHARE};

/// The facts thread's part of it.
pub(super) struct Teller {
    traces: Traces,
    outbox: Outbox,
    shared: Arc<Shared>,
}

/// The sending thread, and the flag that ends it.
pub(super) struct Sender {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Both ends, if calls are to be told. Certificates are read now, while files can be read.
pub(super) fn open(
    config: &Config,
    shared: &Arc<Shared>,
    policy: impl FnOnce(Treatments) -> Policy,
) -> Result<Option<(Teller, Exporter)>, Failure> {
    if !config.otlp.is_on() {
        return Ok(None);
    }
    let (traces, sending) = config.otlp.split(USUAL_SHARE, None, policy);
    let (outbox, exporter) = export::open(sending).map_err(Failure::broken)?;
    let traces = Traces::new(&traces);
    Ok(Some((Teller { traces, outbox, shared: Arc::clone(shared) }, exporter)))
}

impl Teller {
    /// Looks at a fact before it goes its way.
    pub(super) fn look_at(&mut self, fact: &Fact) {
        match fact {
            Fact::Event(event) => self.outbox.put(self.traces.take(event)),
            Fact::Described(_) => {}
            Fact::Live(_) => {
                let stats = TraceStats { decided: self.traces.counts(), export: self.outbox.counters() };
                self.shared.traces.send_replace(Some(stats));
            }
        }
    }
}

impl Sender {
    pub(super) fn start(
        exporter: Exporter,
        spawn: impl FnOnce(Box<dyn FnOnce() + Send>) -> Result<JoinHandle<()>, Failure>,
    ) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = spawn(Box::new(move || exporter.run(&told)))?;
        Ok(Self { stop, thread })
    }

    /// Nothing more will be told: sends what waits, within the time that is set for it.
    pub(super) fn finish(self) {
        self.stop.store(true, Ordering::Release);
        leave([&self.thread], FINISH);
    }
}

/// For the health page.
pub(super) fn health(stats: &TraceStats) -> (Condition, BTreeMap<String, Value>) {
    let export = &stats.export;
    let mut detail = BTreeMap::from([
        ("sent_spans".into(), json!(export.sent)),
        ("dropped_spans".into(), json!(export.dropped())),
        ("waiting_spans".into(), json!(export.waiting)),
    ]);
    if let Some(problem) = &export.problem {
        detail.insert("problem".into(), json!(problem));
    }
    (if export.problem.is_some() { Condition::Degraded } else { Condition::Up }, detail)
}

/// How often, and from when to when, the end of the sending is looked for: longer than sending may take.
const FINISH: Duration = Duration::from_secs(6);
