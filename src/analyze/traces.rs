//! `--otlp`: the traces of what is replayed, beside its report.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::cli::Analyze;
use crate::event::Event;
use crate::log::privacy::{HashKey, Policy};
use crate::trace::export::{self, Outbox};
use crate::trace::{Config, Traces};

/// Sends the traces of a replay. A replay waits for the collector: nothing is lost for being fast.
#[derive(Debug)]
pub struct Sending {
    traces: Traces,
    outbox: Outbox,
    endpoint: String,
    most: usize,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Sending {
    /// To where the command line says; `None` if it says nothing.
    /// Users have the same pseudonym in each replay, and that of the agents' logs where a key is configured.
    pub fn start(args: &Analyze, config: &Config, hash_key: Option<&str>) -> Result<Option<Self>, String> {
        let Some(endpoint) = &args.otlp else { return Ok(None) };
        let place = args.files.first().map(|file| file.display().to_string());
        let (traces, mut settings) = config.split(1.0, place, |treatments| {
            Policy::new(treatments, Arc::new(HashKey::new(hash_key.unwrap_or(NO_KEY).as_bytes())))
        });
        settings.endpoint = Some(endpoint.clone());
        settings.retry = settings.retry.min(PATIENCE);
        settings.flush = PATIENCE;
        let traces = Traces::new(&traces);
        let most = settings.queue_spans / 2;
        let (outbox, exporter) = export::open(settings).map_err(|error| error.to_string())?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("otlp".into())
            .spawn(move || exporter.run(&told))
            .map_err(|error| format!("starting a thread: {error}"))?;
        Ok(Some(Self { traces, outbox, endpoint: endpoint.to_string(), most, stop, thread }))
    }

    /// Takes a fact on its way to the report.
    pub fn take(&mut self, event: &Event) {
        let spans = self.traces.take(event);
        if spans.is_empty() {
            return;
        }
        while self.outbox.waiting() > self.most && self.is_hopeful() {
            thread::sleep(LOOK);
        }
        self.outbox.put(spans);
    }

    /// Waits until all is sent; or says what was lost.
    pub fn finish(self) -> Result<(), String> {
        while self.outbox.waiting() > 0 && self.is_hopeful() {
            thread::sleep(LOOK);
        }
        self.stop.store(true, Ordering::Release);
        let joined = self.thread.join();
        let counts = self.outbox.counters();
        match (joined, counts.dropped()) {
            (Ok(()), 0) => Ok(()),
            (_, lost) => Err(format!(
                "otlp: {lost} spans did not reach {}: {}; is a collector there, and does it speak what the URL says?",
                self.endpoint,
                counts.problem.unwrap_or_else(|| "the sending broke off".into())
            )),
        }
    }

    /// Nothing was given up yet; and somebody is there to send.
    fn is_hopeful(&self) -> bool {
        let counts = self.outbox.counters();
        counts.dropped_late == 0 && !self.thread.is_finished()
    }
}

/// Known to everybody: it hides a user at first sight only.
const NO_KEY: &str = "sidetone.user.v1";
const LOOK: Duration = Duration::from_millis(5);
/// How long a collector that is away is waited for.
const PATIENCE: Duration = Duration::from_secs(15);
