//! Interarrival jitter (RFC 3550 6.4.1, A.8; MEAS 1.5), in floating-point seconds and on differences, so that
//! a change of the RTP clock does not corrupt it.
//!
//! ```text
//! D = (R_j - R_i) - (S_j - S_i) / rate,   J += (|D| - J) / 16
//! ```

use crate::Stamp;

/// Jitter state of one stream.
#[derive(Clone, Debug, Default)]
pub struct Jitter {
    smoothed: Smoothed,
    arrival: Stamp,
    ticks: u32,
    /// Number of updates, doubled; odd when there is a packet to compare the next one with.
    updates_and_anchor: u32,
}

/// J in seconds: after the last packet, the largest, and the sum of all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Smoothed {
    last: f64,
    max: f64,
    sum: f64,
}

impl Smoothed {
    /// Takes |D| of one packet.
    #[inline]
    pub(super) fn take(&mut self, difference: f64) {
        self.last += (difference - self.last) / 16.0;
        if self.last > self.max {
            self.max = self.last;
        }
        self.sum += self.last;
    }
}

/// What one packet did to the jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// There was nothing to compare it with.
    Anchored,
    /// J was updated.
    Smoothed,
    /// Its time stamp jumped by 3 s or more against its arrival: not jitter (MEAS 1.5).
    Discontinuity,
}

impl Jitter {
    /// No jitter yet, of a stream whose first packet is this one.
    pub fn starting(arrival: Stamp, ticks: u32) -> Self {
        Self { arrival, ticks, ..Self::default() }
    }

    /// Takes an audio packet in arrival order.
    #[inline]
    pub fn update(&mut self, arrival: Stamp, ticks: u32, seconds_per_tick: f64) -> Update {
        let update = if self.updates_and_anchor & ANCHORED != 0 {
            let sent = f64::from(ticks.wrapping_sub(self.ticks) as i32) * seconds_per_tick;
            let difference = (arrival.nanos_since(self.arrival) as f64 * 1e-9 - sent).abs();
            if difference < DISCONTINUITY_SECONDS {
                self.smoothed.take(difference);
                self.updates_and_anchor += UPDATE;
                Update::Smoothed
            } else {
                Update::Discontinuity
            }
        } else {
            Update::Anchored
        };
        self.updates_and_anchor |= ANCHORED;
        self.arrival = arrival;
        self.ticks = ticks;
        update
    }

    /// J as it stands, to be continued and handed back to [`Self::smooth`].
    #[inline]
    pub(super) fn smoothed(&self) -> Smoothed {
        self.smoothed
    }

    /// Several packets were taken that continue the last one without a jump; this is the last of them.
    #[inline]
    pub(super) fn smooth(&mut self, smoothed: Smoothed, packets: u32, arrival: Stamp, ticks: u32) {
        self.smoothed = smoothed;
        self.updates_and_anchor += UPDATE * packets;
        self.arrival = arrival;
        self.ticks = ticks;
    }

    /// Drops the reference: the next packet is compared with nothing. J itself stays.
    #[inline]
    pub fn forget_reference(&mut self) {
        self.updates_and_anchor &= !ANCHORED;
    }

    /// There is a packet to compare the next one with.
    pub fn is_anchored(&self) -> bool {
        self.updates_and_anchor & ANCHORED != 0
    }

    /// Arrival and time stamp of the packet the next one is compared with; of the last audio packet, even when
    /// the reference was dropped.
    #[inline]
    pub fn reference(&self) -> (Stamp, u32) {
        (self.arrival, self.ticks)
    }

    /// Last, mean and largest J in seconds; `None` before the first difference.
    pub fn summary(&self) -> Option<crate::event::Jitter> {
        (self.updates() > 0).then(|| crate::event::Jitter {
            last: self.smoothed.last,
            mean: self.smoothed.sum / f64::from(self.updates()),
            max: self.smoothed.max,
        })
    }

    fn updates(&self) -> u32 {
        self.updates_and_anchor >> 1
    }

    /// Sum of J after each update in seconds, and the number of updates: for means over a part of the stream.
    pub fn sum(&self) -> (f64, u32) {
        (self.smoothed.sum, self.updates())
    }
}

const ANCHORED: u32 = 1;
const UPDATE: u32 = 2;
const DISCONTINUITY_SECONDS: f64 = 3.0;

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn agrees_with_the_float_form_of_rfc_3550_a8() {
        let vector: Value =
            serde_json::from_str(include_str!("../../fixtures/vectors/jitter_units.json")).unwrap();
        let columns: Vec<&str> =
            vector["columns"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
        assert_eq!(columns, ["arrival_rtp_units", "ts", "jitter_int", "jitter_scaled16", "jitter_float"]);
        let mut jitter = Jitter::default();
        for row in vector["rows"].as_array().unwrap() {
            let at = |i: usize| row[i].as_f64().unwrap();
            let arrival = Stamp((at(0) * 125_000.0) as u64);
            jitter.update(arrival, at(1) as u32, 1.0 / 8000.0);
            let units = jitter.smoothed.last * 8000.0;
            assert!((units - at(4)).abs() < 1e-6, "{units} instead of {}", at(4));
        }
    }

    #[test]
    fn a_jump_of_three_seconds_is_no_jitter() {
        let mut jitter = Jitter::default();
        jitter.update(Stamp(0), 0, 1.0 / 8000.0);
        assert_eq!(jitter.update(Stamp(20_000_000), 160 + 24_000, 1.0 / 8000.0), Update::Discontinuity);
        assert_eq!(jitter.update(Stamp(40_000_000), 320 + 24_000, 1.0 / 8000.0), Update::Smoothed);
        assert!(jitter.summary().unwrap().max.abs() < 1e-12);
    }
}
