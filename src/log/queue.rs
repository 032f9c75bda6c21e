//! The way in: from any thread, without waiting.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender};

use super::rate::{Rate, Rates, Suppressed};
use super::settings::Filter;
use super::{Level, Line, Stream};
use crate::Stamp;

/// Takes lines. Copies share everything.
#[derive(Clone)]
pub struct Logs(Arc<Inner>);

struct Inner {
    /// Logs that go nowhere are not even made.
    wanted: [AtomicBool; 3],
    on_stderr: bool,
    limits: ArcSwap<Limits>,
    /// Last time that was given.
    clock: AtomicU64,
    rates: Mutex<Rates>,
    queue: Sender<Order>,
    counts: [StreamCounters; 3],
    audit_sequence: AtomicU64,
}

#[derive(Clone, Debug)]
struct Limits {
    filter: Filter,
    rate: Rate,
    mos_below: f64,
}

/// Where lines go, as far as those who make them have to know.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    /// Those that go somewhere at all.
    pub(super) streams: [bool; 3],
    /// The application log goes to standard error.
    pub(super) on_stderr: bool,
}

/// What the logs thread is told.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all are lines")]
pub(super) enum Order {
    /// Write it.
    Line(Line),
    /// Open files anew.
    Reopen,
    /// Look whether another key lies ready.
    Rekey,
    /// Nothing comes any more.
    End,
}

#[derive(Debug, Default)]
struct StreamCounters {
    lines: AtomicU64,
    suppressed: AtomicU64,
    lost: AtomicU64,
    errors: AtomicU64,
}

/// What has become of the lines of one log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines that were put out.
    pub lines: u64,
    /// Lines beyond the rate of their cause.
    pub suppressed: u64,
    /// Lines that found no room, in the queue or before a full disk.
    pub lost: u64,
    /// Times an output failed.
    pub errors: u64,
}

/// Counters are on the health page.
impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").field("waiting", &self.0.queue.len()).finish_non_exhaustive()
    }
}

impl Logs {
    /// The way in, and the other end of the queue.
    pub(super) fn new(filter: Filter, rate: Rate, mos_below: f64, wanted: Wanted) -> (Self, Receiver<Order>) {
        let (queue, orders) = crossbeam_channel::bounded(QUEUE);
        let limits = ArcSwap::from_pointee(Limits { filter, rate, mos_below });
        let inner = Inner {
            wanted: wanted.streams.map(AtomicBool::new),
            on_stderr: wanted.on_stderr,
            limits,
            clock: AtomicU64::new(0),
            rates: Mutex::default(),
            queue,
            counts: <[StreamCounters; 3]>::default(),
            audit_sequence: AtomicU64::new(0),
        };
        (Self(Arc::new(inner)), orders)
    }

    /// Nothing is logged.
    pub fn off() -> Self {
        Self::new(Filter::default(), Rate::default(), 0.0, Wanted::default()).0
    }

    /// Takes other limits.
    pub fn configure(&self, filter: Filter, rate: Rate, mos_below: f64) {
        self.0.limits.store(Arc::new(Limits { filter, rate, mos_below }));
    }

    /// These logs go somewhere, too.
    pub fn want(&self, streams: [bool; 3]) {
        for (wanted, more) in self.0.wanted.iter().zip(streams) {
            wanted.fetch_or(more, Ordering::Relaxed);
        }
    }

    /// The time for a line: later than that of any line before, so that two lines never look the same.
    pub fn now(&self, clock: Stamp) -> Stamp {
        let after = |last: u64| Some(clock.0.max(last + 1));
        let last = self.0.clock.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after).unwrap_or_default();
        Stamp(clock.0.max(last + 1))
    }

    /// Whether a line of this kind would be written: if not, it need not be made.
    pub fn wants(&self, stream: Stream, level: Level, component: &str) -> bool {
        self.0.wanted.get(stream.index()).is_some_and(|wanted| wanted.load(Ordering::Relaxed))
            && self.0.limits.load().filter.admits(stream, level, component)
    }

    /// Whether the application log goes to standard error, so that nobody else need write there.
    pub fn is_on_stderr(&self) -> bool {
        self.0.on_stderr
    }

    /// A call with a lower MOS is told of.
    pub fn mos_below(&self) -> f64 {
        self.0.limits.load().mos_below
    }

    /// Takes a line that is wanted, unless there are too many of its kind, or no room.
    pub fn tell(&self, line: Line) {
        let stream = line.stream;
        let rate = self.0.limits.load().rate;
        if stream != Stream::Audit && !self.rates().admits(line.cause, rate, line.at) {
            self.count(stream, |counts| &counts.suppressed, 1);
            return;
        }
        // The last quarter is for the audit alone.
        let is_full = stream != Stream::Audit && self.0.queue.len() >= QUEUE / 4 * 3;
        if is_full || self.0.queue.try_send(Order::Line(line)).is_err() {
            self.count(stream, |counts| &counts.lost, 1);
        }
    }

    /// Takes a line of another program. Whoever reads its file can wait, so that none is suppressed, and none is lost as
    /// long as lines are written at all.
    pub fn relay(&self, line: Line) {
        for _ in 0..MOST_WAITS {
            if self.0.queue.len() < QUEUE / 2 {
                break;
            }
            thread::sleep(WAIT);
        }
        let stream = line.stream;
        if self.0.queue.len() >= QUEUE / 2 || self.0.queue.try_send(Order::Line(line)).is_err() {
            self.count(stream, |counts| &counts.lost, 1);
        }
    }

    /// Opens files anew, after somebody else has turned them over.
    pub fn reopen(&self) {
        let _ = self.0.queue.try_send(Order::Reopen);
    }

    /// Takes another key for the audit if one lies ready.
    pub fn rekey(&self) {
        let _ = self.0.queue.try_send(Order::Rekey);
    }

    /// Ends the logs thread once it has written what waits. Waits for room in the queue.
    pub fn end(&self) {
        let _ = self.0.queue.send(Order::End);
    }

    /// What has become of the lines of a log.
    pub fn counts(&self, stream: Stream) -> Counts {
        let Some(counters) = self.0.counts.get(stream.index()) else { return Counts::default() };
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            lines: load(&counters.lines),
            suppressed: load(&counters.suppressed),
            lost: load(&counters.lost),
            errors: load(&counters.errors),
        }
    }

    /// Lines that wait.
    pub fn waiting(&self) -> usize {
        self.0.queue.len()
    }

    /// Number of the last line of the audit; 0 = there is none.
    pub fn audit_sequence(&self) -> u64 {
        self.0.audit_sequence.load(Ordering::Relaxed)
    }

    pub(super) fn chained(&self, sequence: u64) {
        self.0.audit_sequence.store(sequence, Ordering::Relaxed);
    }

    pub(super) fn written(&self, stream: Stream) {
        self.count(stream, |counts| &counts.lines, 1);
    }

    pub(super) fn lost(&self, stream: Stream, lines: u64) {
        self.count(stream, |counts| &counts.lost, lines);
    }

    pub(super) fn failed(&self, stream: Stream) {
        self.count(stream, |counts| &counts.errors, 1);
    }

    pub(super) fn suppressed(&self, now: Stamp, is_end: bool) -> Vec<Suppressed> {
        self.rates().due(now, is_end)
    }

    fn count(&self, stream: Stream, which: fn(&StreamCounters) -> &AtomicU64, more: u64) {
        if let Some(counters) = self.0.counts.get(stream.index()) {
            which(counters).fetch_add(more, Ordering::Relaxed);
        }
    }

    fn rates(&self) -> MutexGuard<'_, Rates> {
        self.0.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines that wait to be written: some seconds of a busy host.
const QUEUE: usize = 8192;
/// Two seconds in all.
const MOST_WAITS: u32 = 2000;
const WAIT: Duration = Duration::from_millis(1);
