//! Skew of the sender's clock against the capture clock (MEAS 6.3).
//!
//! Queues only ever add delay, so the lower edge of transit over time shows the clocks alone: the minimum of each
//! bucket of 1 s is a point, point i is paired with point i + n/2, and the median of the slopes (Theil's incomplete
//! method) is the skew. No single outage or route change moves a median.
//!
//! At most 128 points are kept: when they are full, neighbouring buckets merge (the lower stays) and buckets become
//! twice as long. Longer buckets lie closer to the edge, so accuracy does not suffer. The list is allocated with the
//! first point, 1 KiB at its largest.

/// The lower edge of transit over time of one stream.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Skew {
    /// Lowest packet of the current bucket.
    lowest: Point,
    /// From the first packet on.
    edge: Option<Box<Edge>>,
}

/// The points of buckets that are over.
#[derive(Clone, Debug)]
struct Edge {
    /// End of the current bucket.
    bucket_end_ns: u64,
    points: Vec<Point>,
    /// Length of a bucket.
    bucket_seconds: u32,
}

/// Lowest packet of a bucket. Both are small numbers, for which `f32` is exact to under 0.1 ppm of slope.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// Arrival since the stream's first packet.
    seconds: f32,
    /// Transit.
    millis: f32,
}

impl Default for Skew {
    fn default() -> Self {
        Self { lowest: NO_POINT, edge: None }
    }
}

impl Skew {
    /// Takes one audio packet: its arrival since the stream's first packet, and its transit relative to that packet.
    pub fn record(&mut self, arrival_ns: u64, transit_ms: f64) {
        self.turn(arrival_ns);
        self.lower(arrival_ns, transit_ms);
    }

    /// Arrival from which on a packet needs [`Self::turn`].
    pub fn due_ns(&self) -> u64 {
        self.edge.as_ref().map_or(0, |edge| edge.bucket_end_ns)
    }

    /// What time brings: to be done before [`Self::lower`] of a packet that is due.
    pub fn turn(&mut self, arrival_ns: u64) {
        if arrival_ns >= self.due_ns() {
            self.roll(arrival_ns);
        }
    }

    /// Draws what [`Self::turn`] needs into the cache; the value means nothing.
    pub(crate) fn touch(&self) -> u64 {
        self.edge.as_ref().map_or(0, |edge| {
            let last = edge.points.last().map_or(0, |last| last.seconds.to_bits());
            edge.bucket_end_ns ^ u64::from(last)
        })
    }

    /// Takes one packet that is not due, or no longer.
    #[inline]
    pub fn lower(&mut self, arrival_ns: u64, transit_ms: f64) {
        if (transit_ms as f32) < self.lowest.millis {
            self.lowest = Point { seconds: (arrival_ns as f64 / 1e9) as f32, millis: transit_ms as f32 };
        }
    }

    /// Forgets everything: the transit offset has changed (discontinuity, restart).
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Parts per million, positive when the sender's clock is slow. `None` before 60 s, or when fewer than 30
    /// buckets had packets.
    pub fn ppm(&self) -> Option<f64> {
        let open = self.lowest.millis.is_finite().then_some(&self.lowest);
        let edge = self.edge.as_deref()?;
        let points: Vec<&Point> = edge.points.iter().chain(open).collect();
        let bucket_seconds = f64::from(edge.bucket_seconds);
        let start_seconds = (f64::from(points.first()?.seconds) / bucket_seconds).floor() * bucket_seconds;
        let span_seconds = edge.bucket_end_ns as f64 / 1e9 - start_seconds;
        if points.len() < POINTS_MIN || span_seconds < SPAN_MIN_SECONDS {
            return None;
        }
        let mut slopes: Vec<f64> = points
            .iter()
            .zip(points.iter().skip(points.len().div_ceil(2)))
            .filter(|(early, late)| late.seconds > early.seconds)
            .map(|(early, late)| {
                f64::from(late.millis - early.millis) / f64::from(late.seconds - early.seconds)
            })
            .collect();
        slopes.sort_by(f64::total_cmp);
        let upper = slopes.get(slopes.len() / 2)?;
        let lower = slopes.get((slopes.len() - 1) / 2)?;
        Some(PPM_PER_MS_PER_SECOND * f64::midpoint(*lower, *upper))
    }

    /// Ends the current bucket and begins the one that `arrival_ns` lies in.
    fn roll(&mut self, arrival_ns: u64) {
        let edge = self.edge.get_or_insert_with(|| {
            Box::new(Edge { bucket_end_ns: 0, points: Vec::new(), bucket_seconds: 1 })
        });
        if self.lowest.millis.is_finite() {
            edge.points.push(self.lowest);
            self.lowest = NO_POINT;
            while edge.points.len() >= POINTS_MAX {
                edge.merge();
            }
        }
        let bucket_ns = u64::from(edge.bucket_seconds) * 1_000_000_000;
        edge.bucket_end_ns = (arrival_ns / bucket_ns).saturating_add(1).saturating_mul(bucket_ns);
    }
}

impl Edge {
    /// Doubles the bucket. Where buckets are missing, fewer than half of the points may go; the caller repeats.
    fn merge(&mut self) {
        self.bucket_seconds = self.bucket_seconds.saturating_mul(2);
        let bucket = self.bucket_seconds as f32;
        self.points.dedup_by(|next, kept| {
            let same = (next.seconds / bucket).floor() <= (kept.seconds / bucket).floor();
            if same && next.millis < kept.millis {
                *kept = *next;
            }
            same
        });
    }
}

const NO_POINT: Point = Point { seconds: 0.0, millis: f32::INFINITY };
const POINTS_MAX: usize = 128;
const POINTS_MIN: usize = 30;
/// From the start of the first bucket to the end of the last.
const SPAN_MIN_SECONDS: f64 = 60.0;
const PPM_PER_MS_PER_SECOND: f64 = 1e3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::vectors::{assert_close, number, parse};

    /// The generator of Python's `random` module: MT19937 (Matsumoto and Nishimura 1998), seeded by an integer.
    struct Mersenne {
        state: [u32; 624],
        next: usize,
    }

    impl Mersenne {
        fn seeded(seed: u32) -> Self {
            let mut state = [0_u32; 624];
            state[0] = 19_650_218;
            for i in 1..624 {
                let before = state[i - 1] ^ (state[i - 1] >> 30);
                state[i] = before.wrapping_mul(1_812_433_253).wrapping_add(i as u32);
            }
            // init_by_array with the one-word key [seed].
            let mut i = 1;
            for _ in 0..624 {
                let before = state[i - 1] ^ (state[i - 1] >> 30);
                state[i] = (state[i] ^ before.wrapping_mul(1_664_525)).wrapping_add(seed);
                i += 1;
                if i == 624 {
                    state[0] = state[623];
                    i = 1;
                }
            }
            for _ in 0..623 {
                let before = state[i - 1] ^ (state[i - 1] >> 30);
                state[i] = (state[i] ^ before.wrapping_mul(1_566_083_941)).wrapping_sub(i as u32);
                i += 1;
                if i == 624 {
                    state[0] = state[623];
                    i = 1;
                }
            }
            state[0] = 0x8000_0000;
            Self { state, next: 624 }
        }

        fn word(&mut self) -> u32 {
            if self.next == 624 {
                for i in 0..624 {
                    let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % 624] & 0x7fff_ffff);
                    let twist = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                    self.state[i] = self.state[(i + 397) % 624] ^ (y >> 1) ^ twist;
                }
                self.next = 0;
            }
            let mut y = self.state[self.next];
            self.next += 1;
            y ^= y >> 11;
            y ^= (y << 7) & 0x9d2c_5680;
            y ^= (y << 15) & 0xefc6_0000;
            y ^ (y >> 18)
        }

        /// Exponential, from a uniform number of 53 bits.
        fn exponential(&mut self, mean: f64) -> f64 {
            let (high, low) = (self.word() >> 5, self.word() >> 6);
            let uniform = (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0;
            -mean * (1.0 - uniform).ln()
        }
    }

    /// A stream of 20 ms packets with exponential queueing of 4 ms in the mean.
    fn measured(random: &mut Mersenne, ppm: f64, seconds: u64, first_second: u64) -> Skew {
        let mut skew = Skew::default();
        for i in first_second * 50..(first_second + seconds) * 50 {
            let at = i as f64 * 0.02;
            skew.record(i * 20_000_000, at * ppm * 1e-3 + random.exponential(4.0));
        }
        skew
    }

    #[test]
    fn estimates_match_the_vectors_on_the_same_traces() {
        let vectors = parse(include_str!("../../fixtures/vectors/clock_skew.json"));
        let mut random = Mersenne::seeded(5);
        for case in vectors["cases"].as_array().unwrap() {
            let ppm = number(case, "ppm");
            let estimate = measured(&mut random, ppm, 120, 0).ppm().unwrap();
            assert_close(estimate, ppm, 2.0, "true skew");
            assert_close(estimate, number(case, "estimate"), 1e-3, "oracle");
        }
    }

    #[test]
    fn long_calls_stay_bounded_and_exact() {
        let mut random = Mersenne::seeded(1);
        for (ppm, seconds) in [(-80.0, 128), (35.0, 129), (5.0, 1000), (-120.0, 7200)] {
            let skew = measured(&mut random, ppm, seconds, 0);
            let points = &skew.edge.as_ref().unwrap().points;
            assert!(points.len() < POINTS_MAX && points.capacity() <= POINTS_MAX);
            assert!(points.len() >= POINTS_MAX / 4, "{}", points.len());
            assert_close(skew.ppm().unwrap(), ppm, 1.0, "long call");
        }
    }

    #[test]
    fn silence_between_talkspurts_leaves_fewer_points_and_the_same_slope() {
        let mut random = Mersenne::seeded(2);
        let mut skew = Skew::default();
        for second in (0..3600).step_by(3) {
            for i in second * 50..second * 50 + 40 {
                skew.record(i * 20_000_000, i as f64 * 0.02 * 0.05 + random.exponential(4.0));
            }
            assert!(skew.edge.as_ref().is_none_or(|edge| edge.points.len() < POINTS_MAX));
        }
        assert_close(skew.ppm().unwrap(), 50.0, 2.0, "ppm");
    }

    #[test]
    fn a_route_change_does_not_bend_the_slope() {
        let mut random = Mersenne::seeded(3);
        let mut skew = Skew::default();
        for i in 0..30_000_u64 {
            let detour = if (9_000..12_000).contains(&i) { 80.0 } else { 0.0 };
            skew.record(i * 20_000_000, i as f64 * 0.02 * -0.03 + detour + random.exponential(4.0));
        }
        assert_close(skew.ppm().unwrap(), -30.0, 3.0, "ppm");
    }

    #[test]
    fn a_minute_is_needed() {
        let mut random = Mersenne::seeded(4);
        assert_eq!(measured(&mut random, 100.0, 59, 0).ppm(), None);
        assert_eq!(measured(&mut random, 100.0, 59, 10_000).ppm(), None);
        assert_close(measured(&mut random, 100.0, 60, 0).ppm().unwrap(), 100.0, 5.0, "just long enough");
        assert!(measured(&mut random, 100.0, 60, 10_000).ppm().is_some());
        assert_eq!(Skew::default().ppm(), None);
        let mut two_packets = Skew::default();
        two_packets.record(0, 0.0);
        two_packets.record(3_600_000_000_000, 5.0);
        assert_eq!(two_packets.ppm(), None);
    }

    #[test]
    fn a_reset_starts_over() {
        let mut skew = measured(&mut Mersenne::seeded(6), 100.0, 120, 0);
        skew.reset();
        assert_eq!(skew.ppm(), None);
        assert!(skew.edge.is_none());
    }

    #[test]
    fn hostile_times_and_transits_do_no_harm() {
        let mut skew = Skew::default();
        for i in 0..100_000_u64 {
            let arrival = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (i % 40);
            skew.record(arrival, if i % 7 == 0 { f64::NAN } else { arrival as f64 - 1e18 });
            assert!(skew.edge.as_ref().is_none_or(|edge| edge.points.len() < POINTS_MAX));
        }
        skew.ppm();
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Skew>() <= 24, "{}", size_of::<Skew>());
    }
}
