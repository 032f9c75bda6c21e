//! The way of spans out of the agent: OTLP over gRPC or HTTP (DESIGN 8).
//!
//! ```text
//! Outbox (facts thread) -- bounded queue --> Exporter (own thread): batch -> Link -> collector
//!     full: counted                              \-- refused for now: wait, longer each time, and again
//! ```
//!
//! Nobody who makes spans ever waits: what finds no room in the queue is counted and gone. Messages and the gRPC client
//! are OpenTelemetry's own; its exporter is not used because it hides whether a batch may be sent again.

pub mod endpoint;
pub mod settings;

mod counters;
mod exporter;
mod link;
mod retry_info;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};
use opentelemetry_sdk::trace::SpanData;

pub use counters::{Counters, Snapshot};
pub use exporter::Exporter;
pub use settings::Settings;

/// Takes spans; never waits.
#[derive(Clone, Debug)]
pub struct Outbox {
    queue: Sender<Vec<SpanData>>,
    waiting: Arc<AtomicUsize>,
    most: usize,
    counters: Arc<Counters>,
}

/// The other end of an [`Outbox`].
#[derive(Debug)]
struct Inbox {
    queue: Receiver<Vec<SpanData>>,
    waiting: Arc<AtomicUsize>,
}

/// Why there can be no export.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody is named to send to.
    #[error("otlp: there is no endpoint")]
    Nowhere,
    /// A file of certificates or a key.
    #[error("otlp: {0}")]
    Trust(#[from] crate::client::Error),
}

/// An outbox and its exporter, which is still to be run in a thread. Files are read now.
pub fn open(settings: Settings) -> Result<(Outbox, Exporter), Error> {
    let (sender, receiver) = unbounded();
    let waiting = Arc::new(AtomicUsize::new(0));
    let counters = Arc::new(Counters::default());
    let outbox = Outbox {
        queue: sender,
        waiting: Arc::clone(&waiting),
        most: settings.queue_spans,
        counters: Arc::clone(&counters),
    };
    let exporter = Exporter::new(settings, Inbox { queue: receiver, waiting }, counters)?;
    Ok((outbox, exporter))
}

impl Outbox {
    /// The spans of one call: all of them, or none where there is no room.
    pub fn put(&self, spans: Vec<SpanData>) {
        let count = spans.len();
        if count == 0 {
            return;
        }
        let waiting = self.waiting.fetch_add(count, Ordering::Relaxed);
        // One call may be larger than the queue: it goes through an empty one.
        let fits = waiting == 0 || waiting + count <= self.most;
        if !fits || self.queue.send(spans).is_err() {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
            self.counters.dropped_full.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    /// What has become of spans so far.
    pub fn counters(&self) -> Snapshot {
        self.counters.snapshot(self.waiting.load(Ordering::Relaxed))
    }

    /// Spans that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Inbox {
    fn took(&self, spans: &[SpanData]) {
        self.waiting.fetch_sub(spans.len(), Ordering::Relaxed);
    }
}
