//! What the threads of the agent share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::sources::Counted;
use crate::event::{Event, Live, Sink};
use crate::export::prometheus::Metrics;

/// What the capture thread tells.
#[allow(clippy::large_enum_variant, reason = "moved once, into the queue")]
pub(super) enum Fact {
    /// Something became final.
    Event(Event),
    /// What is up, because somebody asked.
    Live(Arc<Live>),
}

/// Flags and counters of the capture, the snapshot it makes, and the metrics fed by its events.
#[derive(Debug)]
pub(super) struct Shared {
    /// The agent goes down.
    pub(super) stop: AtomicBool,
    /// Somebody waits for a snapshot.
    pub(super) wanted: AtomicBool,
    /// The last snapshot.
    pub(super) live: watch::Sender<Arc<Live>>,
    /// Packets the kernel has dropped at the tap.
    pub(super) dropped: AtomicU64,
    /// Events that found the queue full.
    pub(super) lost_events: AtomicU64,
    /// Interfaces that are away.
    pub(super) away: AtomicU64,
    /// What was counted on each interface.
    sources: Mutex<BTreeMap<String, Counted>>,
    metrics: Mutex<Metrics>,
}

impl Shared {
    /// Nothing has happened yet.
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            stop: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            live: watch::Sender::new(Arc::default()),
            dropped: AtomicU64::new(0),
            lost_events: AtomicU64::new(0),
            away: AtomicU64::new(0),
            sources: Mutex::default(),
            metrics: Mutex::new(metrics),
        }
    }

    /// Takes one fact into the metrics; a snapshot is for the pages too.
    pub(super) fn take(&self, fact: Fact) {
        match fact {
            Fact::Event(event) => self.metrics().event(event),
            Fact::Live(live) => {
                self.metrics().live(&live);
                self.live.send_replace(live);
            }
        }
    }

    /// What was counted on each interface, by its name.
    pub(super) fn sources(&self) -> MutexGuard<'_, BTreeMap<String, Counted>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The metrics. Counters are whole after every step, so a thread that died left nothing half done.
    pub(super) fn metrics(&self) -> MutexGuard<'_, Metrics> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
