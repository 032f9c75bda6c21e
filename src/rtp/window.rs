//! Quality windows of a stream (MEAS 1.14, C.3): ten seconds by the clock, closed when the outcomes of their packets
//! are final, which is up to 192 packets later.

use crate::Stamp;
use crate::quality::burst::{Bursts, Runs};
use crate::rtp::jitter::Jitter;
use crate::rtp::sequence::Outcome;

/// A window that is complete (MEAS 1.14).
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// First packet of the window.
    pub start: Stamp,
    /// Outcomes, with late packets as bad ones.
    pub outcomes: Runs,
    /// Lost on the wire.
    pub lost: u32,
    /// Mean J of the window, seconds.
    pub jitter: Option<f64>,
}

#[derive(Debug)]
pub(super) struct Window {
    pub(super) start: Stamp,
    pub(super) outcomes: Runs,
    pub(super) lost: u32,
    pub(super) jitter_sum: f64,
    pub(super) jitter_updates: u32,
    pub(super) closed: u32,
    /// Windows that are over and wait; none of them most of the time.
    pub(super) pending: Option<Box<[Border; 2]>>,
}

/// A window whose end is known and whose outcomes are not final yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Border {
    /// First number after the window, low 32 bits; 0 = none.
    pub(super) end: u32,
    /// Start of the window, milliseconds after the stream's.
    pub(super) start_ms: u32,
    pub(super) jitter: f32,
}

/// Books outcomes that became final, in sequence order from the extended number `from` on, and closes windows
/// whose end they reach.
#[inline]
#[allow(clippy::too_many_arguments, reason = "parts of a stream whose sequence is borrowed")]
pub(super) fn tell(
    outcome: Outcome,
    mut count: u32,
    mut from: u64,
    wire: &mut Option<Box<Runs>>,
    effective: &mut Bursts,
    window: &mut Window,
    first: Stamp,
    closed: &mut Vec<Closed>,
) {
    if outcome == Outcome::Late {
        wire.get_or_insert_with(|| Box::new(*effective.runs()));
    }
    if let Some(wire) = wire {
        match outcome {
            Outcome::Played | Outcome::Late => wire.good(count.into()),
            Outcome::Lost => wire.bad_run(count.into()),
        }
    }
    match outcome {
        Outcome::Played => effective.good(count.into()),
        Outcome::Late | Outcome::Lost => effective.bad_run(count.into()),
    }
    while let Some(&[border, next]) = window.pending.as_deref() {
        let before = border.end.wrapping_sub(from as u32);
        // A border behind what is told belongs to a segment that was closed before it.
        let before = if before > u32::MAX / 2 { 0 } else { before };
        if before > count {
            break;
        }
        window.tell(outcome, before);
        count -= before;
        from += u64::from(before);
        window.pending = window.pending.take().filter(|_| next.end != 0);
        if let Some(pending) = window.pending.as_deref_mut() {
            *pending = [next, Border::default()];
        }
        let jitter = (!border.jitter.is_nan()).then_some(f64::from(border.jitter));
        closed.push(window.close(first.plus_nanos(i64::from(border.start_ms) * 1_000_000), jitter));
    }
    window.tell(outcome, count);
}

impl Window {
    pub(super) fn tell(&mut self, outcome: Outcome, count: u32) {
        match outcome {
            Outcome::Played => self.outcomes.good(count.into()),
            Outcome::Late => self.outcomes.bad_run(count.into()),
            Outcome::Lost => {
                self.lost += count;
                self.outcomes.bad_run(count.into());
            }
        }
    }

    pub(super) fn close(&mut self, start: Stamp, jitter: Option<f64>) -> Closed {
        self.closed += 1;
        Closed {
            start,
            outcomes: std::mem::take(&mut self.outcomes),
            lost: std::mem::take(&mut self.lost),
            jitter,
        }
    }

    pub(super) fn mean_jitter(&self, jitter: &Jitter) -> Option<f64> {
        let (sum, updates) = jitter.sum();
        let updates = updates - self.jitter_updates;
        (updates > 0).then(|| (sum - self.jitter_sum) / f64::from(updates))
    }
}

/// MEAS 1.14.
pub(super) const WINDOW_SECONDS: u64 = 10;
pub(super) const MIN_WINDOW: u32 = 50;
