//! What the threads of the agent share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::sync::watch;

use super::account;
use super::clock::now;
use super::processes::Polling;
use super::shipping::Told;
use super::sources::Counted;
use super::tap::is_due;
use super::traces::Teller;
use crate::Stamp;
use crate::event::{Described, Event, Live, Role, Sink};
use crate::export::prometheus::{HepStats, Metrics, TraceStats};
use crate::log::{Level, Logs, project};
use crate::observer;
use crate::sip::sdp::Session;

/// What the capture thread tells. Small, for the queue holds room for thousands.
pub(super) enum Fact {
    /// Something became final.
    Event(Box<Event>),
    /// What is up, because somebody asked.
    Live(Arc<Live>),
    /// A side of a call told of its media.
    Described(Box<Description>),
}

/// What was [`Described`], to be told by another thread.
pub(super) struct Description {
    stamp: Stamp,
    call_id: String,
    by_caller: bool,
    role: Role,
    session: Session,
}

impl Description {
    pub(super) fn of(described: &Described<'_>) -> Self {
        let Described { stamp, call_id, by_caller, role, session } = *described;
        Self { stamp, call_id: call_id.to_owned(), by_caller, role, session: session.clone() }
    }

    fn as_borrowed(&self) -> Described<'_> {
        let Self { stamp, call_id, by_caller, role, session } = self;
        Described { stamp: *stamp, call_id, by_caller: *by_caller, role: *role, session }
    }
}

/// What the capture thread is to do from now on.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    pub(super) observer: observer::Settings,
    pub(super) interfaces: Vec<String>,
}

/// Flags and counters of the capture, the snapshot it makes, and the metrics fed by its events.
#[derive(Debug)]
pub(super) struct Shared {
    /// The agent goes down.
    pub(super) stop: AtomicBool,
    /// Somebody waits for a snapshot.
    pub(super) wanted: AtomicBool,
    /// The last snapshot, for as long as those who asked may need to fetch it.
    pub(super) live: watch::Sender<Option<Arc<Live>>>,
    /// Events that found the queue full.
    pub(super) lost_events: AtomicU64,
    /// Interfaces that are away.
    pub(super) away: AtomicU64,
    /// What HEP has done.
    pub(super) hep: watch::Sender<HepStats>,
    /// The thread that looks at processes.
    pub(super) polling: Polling,
    /// What became of traces; none where there are none.
    pub(super) traces: watch::Sender<Option<TraceStats>>,
    /// Lines on their way out.
    pub(super) shipping: Told,
    /// How often the capture thread came around.
    pub(super) rounds: AtomicU64,
    orders: Mutex<Option<Orders>>,
    /// There are some.
    is_ordered: AtomicBool,
    /// Why the interfaces of the last orders are not captured on.
    interfaces_refused: Mutex<Option<String>>,
    /// What was counted on each interface.
    sources: Mutex<BTreeMap<String, Counted>>,
    metrics: Mutex<Metrics>,
    /// Where lines go.
    pub(super) logs: Logs,
}

impl Shared {
    /// Nothing has happened yet.
    pub(super) fn new(metrics: Metrics, logs: Logs, shipping: Told) -> Self {
        Self {
            stop: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            live: watch::Sender::new(None),
            lost_events: AtomicU64::new(0),
            away: AtomicU64::new(0),
            hep: watch::Sender::new(HepStats::default()),
            polling: Polling::default(),
            traces: watch::Sender::new(None),
            shipping,
            rounds: AtomicU64::new(0),
            orders: Mutex::default(),
            is_ordered: AtomicBool::new(false),
            interfaces_refused: Mutex::default(),
            sources: Mutex::default(),
            metrics: Mutex::new(metrics),
            logs,
        }
    }

    /// Tells the capture thread; what it has not looked at yet is replaced.
    pub(super) fn order(&self, orders: Orders) {
        *whole(&self.orders) = Some(orders);
        self.is_ordered.store(true, Ordering::Release);
    }

    /// What the capture thread was told since it last asked.
    pub(super) fn orders(&self) -> Option<Orders> {
        if !self.is_ordered.load(Ordering::Acquire) {
            return None;
        }
        self.is_ordered.store(false, Ordering::Release);
        whole(&self.orders).take()
    }

    /// What became of the interfaces of the last orders.
    pub(super) fn interfaces_refused(&self, reason: Option<String>) {
        if let Some(reason) = &reason {
            account::say(
                &self.logs,
                Level::Warn,
                &format!("the interfaces captured on stay as they were: {reason}"),
            );
        }
        *whole(&self.interfaces_refused) = reason;
    }

    /// Why the interfaces of the last orders are not captured on.
    pub(super) fn why_refused(&self) -> Option<String> {
        whole(&self.interfaces_refused).clone()
    }

    /// Takes facts until there are no more. Now and then it asks for a snapshot of its own, for the logs.
    pub(super) fn take_all(&self, facts: &Receiver<Fact>, mut teller: Option<Teller>) {
        let mut told = project::Told::default();
        let mut next = now().plus_nanos(LOOK_NANOS);
        loop {
            let fact = facts.recv_timeout(LOOK);
            if let (Some(teller), Ok(fact)) = (&mut teller, &fact) {
                teller.look_at(fact);
            }
            match fact {
                Ok(Fact::Live(live)) => {
                    self.tell_totals(&mut told, &live);
                    self.take(Fact::Live(live));
                }
                Ok(fact) => self.take(fact),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if is_due(&mut next, now(), LOOK_NANOS) && project::Told::is_wanted(&self.logs) {
                self.wanted.store(true, Ordering::Release);
            }
        }
    }

    fn tell_totals(&self, told: &mut project::Told, live: &Live) {
        // The capture thread makes one more when it ends.
        if !told.is_due(now()) && !self.stop.load(Ordering::Acquire) {
            return;
        }
        let dropped = self.sources().iter().map(|(name, counted)| (name.clone(), counted.drops)).collect();
        told.tell(&self.logs, now(), dropped, self.lost_events.load(Ordering::Relaxed), &live.totals);
    }

    /// Takes one fact into the metrics; a snapshot is for the pages too.
    pub(super) fn take(&self, fact: Fact) {
        match fact {
            Fact::Event(event) => {
                project::event(&self.logs, now(), &event);
                self.metrics().event(*event);
            }
            Fact::Described(described) => project::described(&self.logs, now(), &described.as_borrowed()),
            Fact::Live(live) => {
                self.metrics().live(&live);
                self.live.send_replace(Some(live));
            }
        }
    }

    /// Forgets the snapshot: of thousands of calls it takes megabytes. Whoever comes for it later asks again.
    pub(super) fn forget_snapshot(&self) {
        self.live.send_if_modified(|live| {
            *live = None;
            false
        });
    }

    /// What was counted on each interface, by its name.
    pub(super) fn sources(&self) -> MutexGuard<'_, BTreeMap<String, Counted>> {
        whole(&self.sources)
    }

    /// The metrics.
    pub(super) fn metrics(&self) -> MutexGuard<'_, Metrics> {
        whole(&self.metrics)
    }
}

/// Everything is whole after every step, so a thread that died left nothing half done.
fn whole<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From one look at what has added up to the next.
const LOOK: Duration = Duration::from_secs(10);
const LOOK_NANOS: i64 = 10_000_000_000;
