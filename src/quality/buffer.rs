//! Three de-jitter buffers simulated at once, over one estimate of the base delay (MEAS 4.2, 4.3).
//!
//! A packet that comes after its playout time is lost to the listener though the network delivered it; jitter
//! harms in no other way. `transit` is arrival minus RTP time; its minimum over the last one to two 2 s buckets is
//! the base, and what exceeds the base is compared with the depth of each buffer:
//!
//! ```text
//! transit |      .          x = transit - base
//!         |  .  :.: .  .    fixed50, fixed200: late if x > 50, 200 ms
//!    base |__:__::::_:_:_   adaptive: late if x > depth; jumps to x + 10 ms, sinks 10 ms per quiet 2 s
//! ```
//!
//! The two-bucket minimum follows clock drift, and a route change within 2 to 4 s.

/// The base delay and the buffers of one stream. Feed it unique audio packets in order of arrival.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Buffers {
    /// Least transit of the current and of the previous bucket; infinite where a bucket was empty.
    current_min_ms: f64,
    previous_min_ms: f64,
    /// Adaptive buffer: depth now, largest x of its window, sum of the depths that packets were played at.
    depth_ms: f64,
    peak_ms: f64,
    depth_sum_ms: f64,
    /// End of the current bucket of the base filter; 0 = not anchored.
    bucket_end_ns: u64,
    /// End of the adaptive buffer's observation window.
    window_end_ns: u64,
    pushed: u32,
    late50: u32,
    late200: u32,
    late_adaptive: u32,
}

/// What became of one packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Delay variation: transit above the base delay, ms, never negative (MEAS 1.6).
    pub x_ms: f64,
    /// Too late for a fixed buffer of 50 ms.
    pub late50: bool,
    /// Too late for a fixed buffer of 200 ms.
    pub late200: bool,
    /// Too late for the adaptive buffer.
    pub late_adaptive: bool,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            bucket_end_ns: 0,
            window_end_ns: 0,
            current_min_ms: f64::INFINITY,
            previous_min_ms: f64::INFINITY,
            depth_ms: DEPTH_START_MS,
            peak_ms: 0.0,
            depth_sum_ms: 0.0,
            pushed: 0,
            late50: 0,
            late200: 0,
            late_adaptive: 0,
        }
    }
}

impl Buffers {
    /// Takes one packet: its arrival since the stream's first packet, and its transit time on any fixed offset.
    pub fn push(&mut self, arrival_ns: u64, transit_ms: f64) -> Verdict {
        self.turn(arrival_ns, transit_ms);
        self.play(transit_ms)
    }

    /// Arrival from which on a packet needs [`Self::turn`].
    pub fn due_ns(&self) -> u64 {
        self.bucket_end_ns.min(self.window_end_ns)
    }

    /// What time brings: to be done before [`Self::play`] of a packet that is due.
    pub fn turn(&mut self, arrival_ns: u64, transit_ms: f64) {
        if arrival_ns >= self.bucket_end_ns {
            self.roll(arrival_ns, transit_ms);
        }
        if arrival_ns >= self.window_end_ns {
            self.shrink(arrival_ns);
        }
    }

    /// Takes one packet that is not due, or no longer, by its transit time.
    #[inline]
    pub fn play(&mut self, transit_ms: f64) -> Verdict {
        self.current_min_ms = lower(self.current_min_ms, transit_ms);
        let x_ms = transit_ms - lower(self.current_min_ms, self.previous_min_ms);
        if x_ms > self.peak_ms {
            self.peak_ms = x_ms;
        }
        let late_adaptive = x_ms > self.depth_ms;
        if late_adaptive {
            self.deepen(x_ms);
        } else {
            self.depth_sum_ms += self.depth_ms;
        }
        self.pushed = self.pushed.saturating_add(1);
        let late50 = x_ms > FIXED50_MS;
        if late50 {
            self.late50 = self.late50.saturating_add(1);
            self.late200 = self.late200.saturating_add(u32::from(x_ms > FIXED200_MS));
        }
        Verdict { x_ms, late50, late200: x_ms > FIXED200_MS, late_adaptive }
    }

    /// Forgets the base delay: the transit offset has changed (discontinuity, restart). Counters stay.
    pub fn reset(&mut self) {
        self.bucket_end_ns = 0;
    }

    /// Packets too late for a fixed buffer of 50 ms.
    pub fn late50(&self) -> u64 {
        u64::from(self.late50)
    }

    /// Packets too late for a fixed buffer of 200 ms.
    pub fn late200(&self) -> u64 {
        u64::from(self.late200)
    }

    /// Packets too late for the adaptive buffer.
    pub fn late_adaptive(&self) -> u64 {
        u64::from(self.late_adaptive)
    }

    /// Packets simulated.
    pub fn pushed(&self) -> u64 {
        u64::from(self.pushed)
    }

    /// Mean depth of the adaptive buffer over the packets it played, ms; its depth now if it played none.
    pub fn mean_depth_ms(&self) -> f64 {
        match self.pushed.saturating_sub(self.late_adaptive) {
            0 => self.depth_ms,
            played => self.depth_sum_ms / f64::from(played),
        }
    }

    /// Begins the bucket that `arrival_ns` lies in. The one before it counts only if it was not skipped.
    fn roll(&mut self, arrival_ns: u64, transit_ms: f64) {
        if self.bucket_end_ns == 0 {
            self.previous_min_ms = f64::INFINITY;
            self.bucket_end_ns = arrival_ns.saturating_add(BUCKET_NS);
            if self.pushed == 0 {
                self.window_end_ns = self.bucket_end_ns;
            }
        } else {
            let skipped = (arrival_ns - self.bucket_end_ns) / BUCKET_NS;
            self.previous_min_ms = if skipped == 0 { self.current_min_ms } else { f64::INFINITY };
            self.bucket_end_ns =
                self.bucket_end_ns.saturating_add(skipped.saturating_add(1).saturating_mul(BUCKET_NS));
        }
        self.current_min_ms = transit_ms;
    }

    /// A packet came too late for the adaptive buffer. Part of [`Self::play`], which is to work in registers.
    #[inline]
    fn deepen(&mut self, x_ms: f64) {
        self.late_adaptive = self.late_adaptive.saturating_add(1);
        self.depth_ms = self.depth_ms.max((x_ms + MARGIN_MS).min(DEPTH_MAX_MS));
    }

    /// Ends the adaptive buffer's window: sinks one step towards what the window needed.
    fn shrink(&mut self, arrival_ns: u64) {
        let target = (self.peak_ms + MARGIN_MS).clamp(DEPTH_MIN_MS, DEPTH_MAX_MS);
        if target < self.depth_ms {
            self.depth_ms = target.max(self.depth_ms - STEP_MS);
        }
        self.window_end_ns = arrival_ns.saturating_add(WINDOW_NS);
        self.peak_ms = 0.0;
    }
}

const BUCKET_NS: u64 = 2_000_000_000;
const WINDOW_NS: u64 = BUCKET_NS;
const FIXED50_MS: f64 = 50.0;
const FIXED200_MS: f64 = 200.0;
const DEPTH_MIN_MS: f64 = 20.0;
const DEPTH_MAX_MS: f64 = 200.0;
const DEPTH_START_MS: f64 = 40.0;
const MARGIN_MS: f64 = 10.0;
const STEP_MS: f64 = 10.0;

/// The lower of two numbers that are both numbers, in one instruction.
#[inline]
fn lower(a: f64, b: f64) -> f64 {
    if b < a { b } else { a }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Band;
    use crate::quality::burst::Runs;
    use crate::quality::codec::Impairment;
    use crate::quality::score::score;
    use crate::quality::vectors::{assert_close, number, parse};

    const G711: Impairment = Impairment {
        ie: 0.0,
        bpl: 25.1,
        frame_ms: 0.125,
        lookahead_ms: 3.75,
        band: Band::Nb,
        estimate: false,
    };

    /// Packets (index, arrival since the first, transit) in order of arrival.
    fn arrivals(transit_ms: &[f64], lost: &[usize], period_ms: f64) -> Vec<(usize, u64, f64)> {
        let mut packets: Vec<_> = transit_ms
            .iter()
            .enumerate()
            .filter(|(index, _)| !lost.contains(index))
            .map(|(index, &transit)| {
                (index, ((index as f64 * period_ms + transit) * 1e6).round() as u64, transit)
            })
            .collect();
        packets.sort_by_key(|&(index, arrival, _)| (arrival, index));
        let first = packets[0].1;
        packets.iter().map(|&(index, arrival, transit)| (index, arrival - first, transit)).collect()
    }

    #[test]
    fn three_buffers_match_the_vectors() {
        let vectors = parse(include_str!("../../fixtures/vectors/jitter_buffer.json"));
        assert_eq!(vectors.as_object().unwrap().len(), 6);
        for (name, case) in vectors.as_object().unwrap() {
            let transit: Vec<f64> = serde_json::from_value(case["transit_ms"].clone()).unwrap();
            let lost: Vec<usize> = serde_json::from_value(case["lost"].clone()).unwrap();
            let mut buffers = Buffers::default();
            let verdicts: Vec<(usize, Verdict)> = arrivals(&transit, &lost, number(case, "period_ms"))
                .into_iter()
                .map(|(index, arrival, transit)| (index, buffers.push(arrival, transit)))
                .collect();
            let check = |buffer: &str, late: fn(&Verdict) -> bool, count: u64, depth: f64| {
                let what = format!("{name} {buffer}");
                let expected = &case[buffer];
                let indexes: Vec<usize> = verdicts.iter().filter(|(_, v)| late(v)).map(|&(i, _)| i).collect();
                assert_eq!(serde_json::json!(indexes), expected["late_index"], "{what}");
                assert_eq!(count, expected["late"].as_u64().unwrap(), "{what}");
                assert_eq!(buffers.pushed() - count, expected["played"].as_u64().unwrap(), "{what}");
                assert_close(depth, number(expected, "mean_depth_ms"), 1e-6, &what);

                let mut runs = Runs::default();
                for index in 0..transit.len() {
                    if lost.contains(&index) || indexes.contains(&index) {
                        runs.bad();
                    } else {
                        runs.good(1);
                    }
                }
                assert_close(runs.ppl(), number(expected, "Ppl_eff"), 1e-6, &what);
                assert_close(runs.burst_ratio(), number(expected, "BurstR"), 1e-6, &what);
                let mos = score(&runs, &G711, None).unwrap().mos;
                assert_close(mos, number(expected, "mos_lq_g711plc"), 1e-6, &what);
            };
            check("fixed50", |v| v.late50, buffers.late50(), 50.0);
            check("fixed200", |v| v.late200, buffers.late200(), 200.0);
            check("adaptive", |v| v.late_adaptive, buffers.late_adaptive(), buffers.mean_depth_ms());
        }
    }

    #[test]
    fn a_reset_forgets_the_base_and_keeps_the_counters() {
        let mut buffers = Buffers::default();
        buffers.push(0, 0.0);
        assert!(buffers.push(20_000_000, 60.0).late50);
        buffers.reset();
        assert_close(buffers.push(40_000_000, -500_000.0).x_ms, 0.0, 0.0, "new base");
        assert_close(buffers.push(60_000_000, -499_990.0).x_ms, 10.0, 0.0, "above it");
        assert_eq!((buffers.late50(), buffers.pushed()), (1, 4));
    }

    #[test]
    fn a_skipped_bucket_voids_the_base_before_it() {
        let mut buffers = Buffers::default();
        buffers.push(0, 0.0);
        assert_close(buffers.push(3_000_000_000, 80.0).x_ms, 80.0, 0.0, "next bucket");
        assert_close(buffers.push(9_000_000_000, 80.0).x_ms, 0.0, 0.0, "after a pause");
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Buffers>() <= 72, "{}", size_of::<Buffers>());
    }

    proptest! {
        /// forall traces: x >= 0, late200 implies late50, floor <= depth <= 200, late <= pushed.
        #[test]
        fn verdicts_are_consistent(
            packets in prop::collection::vec((0_u64..3_000_000_000, -1e9_f64..1e9), 1..200),
        ) {
            let mut buffers = Buffers::default();
            let mut now = 0;
            for (step, transit) in packets {
                // Every eighth step or so the capture clock goes backwards.
                now = if step % 8 == 0 { now / 2 } else { now + step };
                let verdict = buffers.push(now, transit);
                prop_assert!(verdict.x_ms >= 0.0);
                prop_assert!(verdict.late50 || !verdict.late200);
                prop_assert!((20.0..=200.0).contains(&buffers.depth_ms));
            }
            prop_assert!(buffers.late200() <= buffers.late50() && buffers.late50() <= buffers.pushed());
            prop_assert!((20.0..=200.0).contains(&buffers.mean_depth_ms()));
        }
    }
}
