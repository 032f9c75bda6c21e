//! The evidence thread: it owns the rings, makes files of calls that were bad, and removes those that have to go.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

use super::Settings;
use super::case::Case;
use super::page::Page;
use super::recorder::Full;
use super::rings::Rings;
use super::shelf::{Purged, PutError, Shelf};
use super::stats::{Stats, add, set};
use crate::Stamp;
use crate::event::Call;
use crate::export::trace_id::TraceId;
use crate::trace::Sampling;

/// What is worth a line in a log.
#[derive(Debug)]
pub enum Told {
    /// There is a file.
    Written(Written),
    /// There is none.
    Failed {
        /// Of this call.
        call_id: String,
        /// In this trace.
        trace: TraceId,
        /// Why not.
        why: String,
    },
    /// Files that are no more.
    Purged(Vec<Purged>),
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Of this call.
    pub call_id: String,
    /// In this trace.
    pub trace: TraceId,
    /// The name of the file.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Why the call was bad.
    pub why: String,
    /// Messages in it.
    pub sip: u64,
    /// RTCP in it.
    pub rtcp: u64,
    /// RTP in it.
    pub rtp: u64,
    /// Nothing is known to be missing.
    pub is_whole: bool,
}

/// What the thread runs.
#[derive(Debug)]
pub struct Keeper {
    full: Full,
    rings: Rings,
    sampling: Sampling,
    file_bytes: usize,
    shelf: Arc<Shelf>,
    stats: Arc<Stats>,
    budget: Budget,
    next_purge: Stamp,
}

/// Files that may be written now.
#[derive(Debug)]
struct Budget {
    per_minute: f64,
    left: f64,
    at: Stamp,
}

impl Keeper {
    pub(super) fn new(
        full: Full,
        settings: &Settings,
        sampling: Sampling,
        shelf: Arc<Shelf>,
        stats: Arc<Stats>,
    ) -> Self {
        let per_minute = settings.files_per_minute as f64;
        Self {
            full,
            rings: Rings::new(settings.sip_bytes, settings.rtp_bytes),
            sampling,
            file_bytes: settings.file_bytes,
            shelf,
            stats,
            budget: Budget { per_minute, left: per_minute, at: Stamp(0) },
            next_purge: Stamp(0),
        }
    }

    /// Until the recorder is gone and what it wrote down is worked off.
    pub fn run(mut self, now: impl Fn() -> Stamp, tell: impl Fn(Told)) {
        loop {
            match self.full.pages.recv_timeout(LOOK) {
                Ok(mut page) => {
                    self.take(&page, now(), &tell);
                    page.clear();
                    // There is room for all pages.
                    let _ = self.full.back.try_send(page);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = now();
            if now >= self.next_purge || self.next_purge.nanos_since(now) > 2 * PURGE_NANOS {
                self.next_purge = now.plus_nanos(PURGE_NANOS);
                told(self.shelf.purge(now, 0, 0), &tell);
            }
        }
    }

    /// What a page holds, and files of the bad calls in it.
    pub(super) fn take(&mut self, page: &Page, now: Stamp, tell: &impl Fn(Told)) {
        self.rings.take(page);
        let Self { rings, stats, .. } = self;
        set(&stats.sip_bytes, rings.sip.held as u64);
        set(&stats.rtp_bytes, rings.rtp.held as u64);
        set(&stats.sip_overwritten, rings.sip.overwritten);
        set(&stats.rtp_overwritten, rings.rtp.overwritten);
        for call in &page.bad {
            self.judge(call, now, tell);
        }
    }

    fn judge(&mut self, call: &Call, now: Stamp, tell: &impl Fn(Told)) {
        let Self { rings, stats, shelf, .. } = self;
        if !self.budget.take(now) {
            return add(&stats.calls_over_rate, 1);
        }
        let Some(case) = Case::of(rings, call, self.sampling, self.file_bytes) else {
            return add(&stats.calls_unseen, 1);
        };
        let (counts, trace, file) = (case.counts(), case.trace(), case.file());
        let bytes = file.len() as u64;
        match shelf.put(call.start, trace, &file, now) {
            Ok((name, purged)) => {
                add(&stats.files_written, 1);
                add(&stats.bytes_written, bytes);
                add(&stats.files_incomplete, u64::from(!case.is_whole()));
                tell(Told::Written(Written {
                    call_id: call.call_id.clone(),
                    trace,
                    name,
                    bytes,
                    why: case.why().to_owned(),
                    sip: counts.sip,
                    rtcp: counts.rtcp,
                    rtp: counts.rtp,
                    is_whole: case.is_whole(),
                }));
                told(purged, tell);
            }
            Err(error) => {
                let counter = match error {
                    PutError::TooLarge(_) => &stats.calls_too_large,
                    PutError::Io(_) => &stats.write_errors,
                };
                add(counter, 1);
                tell(Told::Failed { call_id: call.call_id.clone(), trace, why: error.to_string() });
            }
        }
    }
}

impl Budget {
    /// Whether one more may be written.
    fn take(&mut self, now: Stamp) -> bool {
        let since = now.seconds_since(self.at).clamp(0.0, 60.0);
        self.at = now;
        self.left = (self.left + since * self.per_minute / 60.0).min(self.per_minute);
        let may = self.left >= 1.0;
        self.left -= f64::from(u8::from(may));
        may
    }
}

fn told(purged: Vec<Purged>, tell: &impl Fn(Told)) {
    if !purged.is_empty() {
        tell(Told::Purged(purged));
    }
}

const LOOK: Duration = Duration::from_secs(5);
const PURGE_NANOS: i64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_bad_calls_is_bounded() {
        let mut budget = Budget { per_minute: 60.0, left: 60.0, at: Stamp(0) };
        let at = |millis: u64| Stamp(1_000_000_000_000).plus_nanos(millis as i64 * 1_000_000);
        let taken = (0..1000).filter(|_| budget.take(at(0))).count();
        assert_eq!(taken, 60);
        let taken = (0..1000).filter(|n| budget.take(at(n * 10))).count();
        assert_eq!(taken, 9, "one a second");
        assert!(!budget.take(at(0)), "a clock set back brings nothing");
    }
}
