//! How losses cluster: runs, burst ratio, Markov estimates, RFC 3611 bursts and gaps (MEAS 3.6, 3.7).
//!
//! Fed with the outcome of each expected packet in sequence order, good or bad; bad is lost, or lost or late
//! when a de-jitter buffer is taken into account. The sequence itself is not kept:
//!
//! ```text
//! . . . x x . . . x . . . (16 good) . . . x . . .        x bad   . good
//!       [---burst---]                     isolated: part of the gap
//! ```
//!
//! Counters saturate at 2^32 - 1 packets, which at 50 packets a second is 2.7 years.

use crate::event::BurstGap;

/// Runs of bad packets, as a quality window needs them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    expected: u32,
    bad: u32,
    /// Maximal runs, the open one included.
    count: u32,
    longest: u32,
    /// Length of the run that is still open; 0 after a good packet.
    open: u32,
}

impl Runs {
    /// Takes `count` good packets in a row.
    #[inline]
    pub fn good(&mut self, count: u64) {
        let count = saturate(count);
        self.expected = self.expected.saturating_add(count);
        if count > 0 {
            self.open = 0;
        }
    }

    /// Takes one bad packet.
    #[inline]
    pub fn bad(&mut self) {
        self.bad_run(1);
    }

    /// Takes `count` bad packets in a row.
    #[inline]
    pub fn bad_run(&mut self, count: u64) {
        let count = saturate(count);
        if count == 0 {
            return;
        }
        self.expected = self.expected.saturating_add(count);
        self.bad = self.bad.saturating_add(count);
        self.count = self.count.saturating_add(u32::from(self.open == 0));
        self.open = self.open.saturating_add(count);
        self.longest = self.longest.max(self.open);
    }

    /// Packets taken.
    pub fn expected(&self) -> u64 {
        u64::from(self.expected)
    }

    /// Bad ones among them.
    pub fn bad_packets(&self) -> u64 {
        u64::from(self.bad)
    }

    /// Maximal runs of bad packets.
    pub fn runs(&self) -> u64 {
        u64::from(self.count)
    }

    /// Length of the longest run, packets.
    pub fn longest(&self) -> u64 {
        u64::from(self.longest)
    }

    /// Share of bad packets, 0 to 1; 0 when nothing was expected.
    pub fn ratio(&self) -> f64 {
        ratio(self.bad, self.expected)
    }

    /// Share of bad packets in percent: the `Ppl` of the E-model.
    pub fn ppl(&self) -> f64 {
        100.0 * self.ratio()
    }

    /// Mean run over the mean run that random loss of the same rate would show; 1 for no loss and for total loss.
    pub fn burst_ratio_raw(&self) -> f64 {
        if self.bad == 0 || self.bad == self.expected {
            return 1.0;
        }
        f64::from(self.bad) / f64::from(self.count) * (1.0 - self.ratio())
    }

    /// The burst ratio inside the range that G.107 permits, 1 to 8.
    pub fn burst_ratio(&self) -> f64 {
        self.burst_ratio_raw().clamp(1.0, 8.0)
    }
}

/// Runs, and how they group into the bursts and gaps of RFC 3611 4.7.2, for a whole stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bursts {
    runs: Runs,
    /// Good packets since the last bad one, or since the start.
    good: u32,
    /// Bad packets of the open group: bad ones with fewer than `GMIN` good between neighbours.
    group_bad: u32,
    /// Packets from the first to the last bad one of the open group.
    group_span: u32,
    /// Closed bursts (groups of two and more), bad packets and all packets in them.
    closed: u32,
    closed_bad: u32,
    closed_packets: u32,
    /// The very first packet was bad.
    starts_bad: bool,
    /// The very first packet belonged to a closed burst: no gap precedes it.
    starts_in_burst: bool,
}

impl Bursts {
    /// Takes `count` good packets in a row.
    #[inline]
    pub fn good(&mut self, count: u64) {
        self.runs.good(count);
        self.good = self.good.saturating_add(saturate(count));
    }

    /// Takes one bad packet.
    #[inline]
    pub fn bad(&mut self) {
        self.bad_run(1);
    }

    /// Takes `count` bad packets in a row.
    pub fn bad_run(&mut self, count: u64) {
        if count == 0 {
            return;
        }
        self.starts_bad |= self.runs.expected == 0;
        if self.good >= GMIN {
            self.close_group();
        }
        let count_bad = saturate(count);
        // Good packets in front of the first bad one of a group are not part of it.
        let between = if self.group_bad == 0 { 0 } else { self.good };
        self.group_bad = self.group_bad.saturating_add(count_bad);
        self.group_span = self.group_span.saturating_add(between).saturating_add(count_bad);
        self.good = 0;
        self.runs.bad_run(count);
    }

    /// Loss, runs and burst ratio.
    pub fn runs(&self) -> &Runs {
        &self.runs
    }

    /// Transition probabilities of a two-state Markov chain, good to bad and bad to good, from the transitions
    /// seen; without any they are 0 and 1.
    pub fn markov(&self) -> (f64, f64) {
        let Runs { expected, bad, count: runs, .. } = self.runs;
        let ends_bad = u32::from(bad > 0 && self.good == 0);
        let ends_good = u32::from(expected > 0) - ends_bad;
        // A state's last packet in the sequence has no successor: it is no chance to leave the state.
        let from_good = (expected - bad).saturating_sub(ends_good);
        let from_bad = bad.saturating_sub(ends_bad);
        let p = ratio(runs.saturating_sub(u32::from(self.starts_bad)), from_good);
        let q = if from_bad == 0 { 1.0 } else { ratio(runs.saturating_sub(ends_bad), from_bad) };
        (p, q)
    }

    /// Bursts and gaps so far, as if the stream ended here.
    pub fn segments(&self) -> Segments {
        let ends_in_burst = self.group_bad >= 2 && self.good == 0;
        let mut ended = *self;
        ended.close_group();
        let Runs { expected, bad, .. } = self.runs;
        // Bursts have gaps between them always, around them only when there is room.
        let gaps = if ended.closed == 0 {
            u64::from(expected > 0)
        } else {
            u64::from(ended.closed) - 1 + u64::from(!ended.starts_in_burst) + u64::from(!ends_in_burst)
        };
        Segments {
            bursts: u64::from(ended.closed),
            gaps,
            bad_in_bursts: u64::from(ended.closed_bad),
            packets_in_bursts: u64::from(ended.closed_packets),
            bad_in_gaps: u64::from(bad.saturating_sub(ended.closed_bad)),
            packets_in_gaps: u64::from(expected.saturating_sub(ended.closed_packets)),
        }
    }

    fn close_group(&mut self) {
        if self.group_bad >= 2 {
            // All packets so far are the group and the good ones behind it: it is the first thing in the stream.
            self.starts_in_burst |= self.group_span.saturating_add(self.good) == self.runs.expected;
            self.closed = self.closed.saturating_add(1);
            self.closed_bad = self.closed_bad.saturating_add(self.group_bad);
            self.closed_packets = self.closed_packets.saturating_add(self.group_span);
        }
        self.group_bad = 0;
        self.group_span = 0;
    }
}

/// What a stream's bursts and gaps consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// Bursts.
    pub bursts: u64,
    /// Gaps: what lies before, between and after them, where that is not empty.
    pub gaps: u64,
    /// Bad packets inside bursts.
    pub bad_in_bursts: u64,
    /// All packets inside bursts.
    pub packets_in_bursts: u64,
    /// Bad packets inside gaps.
    pub bad_in_gaps: u64,
    /// All packets inside gaps.
    pub packets_in_gaps: u64,
}

impl Segments {
    /// Densities and mean durations, given the time one packet stands for.
    pub fn burst_gap(&self, ptime_seconds: f64) -> BurstGap {
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        BurstGap {
            bursts: self.bursts,
            burst_density: share(self.bad_in_bursts, self.packets_in_bursts),
            gap_density: share(self.bad_in_gaps, self.packets_in_gaps),
            burst_duration: share(self.packets_in_bursts, self.bursts) * ptime_seconds,
            gap_duration: share(self.packets_in_gaps, self.gaps) * ptime_seconds,
        }
    }
}

fn ratio(part: u32, whole: u32) -> f64 {
    if whole == 0 { 0.0 } else { f64::from(part) / f64::from(whole) }
}

fn saturate(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Good packets in a row that end a burst (RFC 3611 4.7.2, recommended value).
const GMIN: u32 = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quality::vectors::{assert_close, number, parse};

    fn fed(bad: &[bool]) -> Bursts {
        let mut bursts = Bursts::default();
        for &bad in bad {
            if bad {
                bursts.bad();
            } else {
                bursts.good(1);
            }
        }
        bursts
    }

    fn outcome(text: &str) -> Vec<bool> {
        text.bytes().map(|symbol| symbol == b'1').collect()
    }

    /// Bursts by looking at the whole sequence: first and last bad packet of each.
    fn exact_bursts(bad: &[bool]) -> Vec<(usize, usize)> {
        let positions: Vec<usize> = (0..bad.len()).filter(|&i| bad[i]).collect();
        positions
            .chunk_by(|&a, &b| b - a - 1 < GMIN as usize)
            .filter(|group| group.len() >= 2)
            .map(|group| (group[0], group[group.len() - 1]))
            .collect()
    }

    fn exact_segments(bad: &[bool]) -> Segments {
        let bursts = exact_bursts(bad);
        let packets_in_bursts = bursts.iter().map(|(from, to)| to - from + 1).sum::<usize>();
        let bad_in_bursts = bursts.iter().flat_map(|&(from, to)| &bad[from..=to]).filter(|&&b| b).count();
        let (mut gaps, mut next) = (0, 0);
        for &(from, to) in &bursts {
            gaps += usize::from(from > next);
            next = to + 1;
        }
        gaps += usize::from(next < bad.len());
        Segments {
            bursts: bursts.len() as u64,
            gaps: gaps as u64,
            bad_in_bursts: bad_in_bursts as u64,
            packets_in_bursts: packets_in_bursts as u64,
            bad_in_gaps: (bad.iter().filter(|&&b| b).count() - bad_in_bursts) as u64,
            packets_in_gaps: (bad.len() - packets_in_bursts) as u64,
        }
    }

    /// The counters c11, c13, c14, c22, c23, c33 of RFC 3611 A.2, for comparison with what endpoints report.
    fn appendix_a2(bad: &[bool]) -> [u64; 6] {
        let [mut c11, mut c13, mut c14, mut c22, mut c23, mut c33] = [0; 6];
        let (mut lost, mut good) = (0_u64, 0_u64);
        for &bad in bad {
            if !bad {
                good += 1;
                continue;
            }
            if good >= u64::from(GMIN) {
                if lost == 1 {
                    c14 += 1;
                } else {
                    c13 += 1;
                }
                lost = 1;
                c11 += good;
            } else {
                lost += 1;
                if good == 0 {
                    c33 += 1;
                } else {
                    c23 += 1;
                    c22 += good - 1;
                }
            }
            good = 0;
        }
        [c11, c13, c14, c22, c23, c33]
    }

    #[test]
    fn statistics_match_the_vectors() {
        let vectors = parse(include_str!("../../fixtures/vectors/burst_gap.json"));
        assert_eq!(vectors.as_object().unwrap().len(), 9);
        for (name, case) in vectors.as_object().unwrap() {
            let bad = outcome(case["bad"].as_str().unwrap());
            let bursts = fed(&bad);
            let runs = bursts.runs();
            let at = |key| number(case, key);
            assert_close(runs.ppl(), at("Ppl"), 1e-6, name);
            assert_close(runs.burst_ratio(), at("BurstR"), 1e-6, name);
            assert_close(runs.burst_ratio_raw(), at("BurstR_raw"), 1e-6, name);
            let (p, q) = bursts.markov();
            assert_close(p, at("markov_p"), 1e-6, name);
            assert_close(q, at("markov_q"), 1e-6, name);

            let expected: Vec<(usize, usize)> = serde_json::from_value(case["segments"].clone()).unwrap();
            assert_eq!(exact_bursts(&bad), expected, "{name}");
            assert_eq!(bursts.segments(), exact_segments(&bad), "{name}");
            let stats = &case["stats"];
            let segments = bursts.segments();
            let measured = segments.burst_gap(number(case, "frame_ms") / 1000.0);
            assert_eq!(measured.bursts, stats["bursts"].as_u64().unwrap(), "{name}");
            assert_eq!(segments.gaps, stats["gaps"].as_u64().unwrap(), "{name}");
            assert_close(measured.burst_density, number(stats, "burst_density_frac"), 1e-6, name);
            assert_close(measured.gap_density, number(stats, "gap_density_frac"), 1e-6, name);
            assert_close(measured.burst_duration * 1e3, number(stats, "burst_duration_ms"), 1e-6, name);
            assert_close(measured.gap_duration * 1e3, number(stats, "gap_duration_ms"), 1e-6, name);
            for (index, key) in ["c11", "c13", "c14", "c22", "c23", "c33"].into_iter().enumerate() {
                assert_eq!(appendix_a2(&bad)[index], case["rfc3611_a2"][key], "{name} {key}");
            }
        }
    }

    #[test]
    fn fifteen_good_packets_join_and_sixteen_part() {
        let between = |good: usize| {
            let mut bad = vec![false; 40];
            bad.push(true);
            bad.extend(vec![false; good]);
            bad.push(true);
            bad.extend(vec![false; 40]);
            fed(&bad).segments().bursts
        };
        assert_eq!((between(15), between(16)), (1, 0));
    }

    #[test]
    fn nothing_expected_is_no_loss() {
        let bursts = Bursts::default();
        assert_eq!(bursts.segments(), exact_segments(&[]));
        assert_close(bursts.runs().ppl(), 0.0, 0.0, "Ppl");
        assert_close(bursts.runs().burst_ratio(), 1.0, 0.0, "BurstR");
    }

    #[test]
    fn counters_saturate_and_ratios_stay_ratios() {
        let mut bursts = Bursts::default();
        for _ in 0..4 {
            bursts.bad_run(u64::MAX);
            bursts.good(u64::MAX);
        }
        assert!((0.0..=1.0).contains(&bursts.runs().ratio()));
        assert!((1.0..=8.0).contains(&bursts.runs().burst_ratio()));
        assert!((0.0..=1.0).contains(&bursts.segments().burst_gap(0.02).burst_density));
        let (p, q) = bursts.markov();
        assert!(p.is_finite() && q.is_finite());
    }

    #[test]
    fn they_are_small() {
        assert!(size_of::<Runs>() <= 24, "{}", size_of::<Runs>());
        assert!(size_of::<Bursts>() <= 48, "{}", size_of::<Bursts>());
    }

    proptest! {
        /// forall sequences: segments() = segmentation of the stored sequence, runs = its maximal runs.
        #[test]
        fn agrees_with_the_stored_sequence(
            pieces in prop::collection::vec((any::<bool>(), 0_usize..40), 0..40),
        ) {
            let bad: Vec<bool> = pieces.iter().flat_map(|&(bad, n)| vec![bad; if bad { n % 4 } else { n }]).collect();
            let bursts = fed(&bad);
            prop_assert_eq!(bursts.segments(), exact_segments(&bad));
            let runs: Vec<usize> = bad.chunk_by(|a, b| a == b).filter(|run| run[0]).map(<[bool]>::len).collect();
            prop_assert_eq!(bursts.runs().runs(), runs.len() as u64);
            prop_assert_eq!(bursts.runs().longest(), runs.iter().copied().max().unwrap_or(0) as u64);
            prop_assert_eq!(bursts.runs().bad_packets(), runs.iter().sum::<usize>() as u64);
            prop_assert_eq!(bursts.runs().expected(), bad.len() as u64);
        }

        /// forall n: good(n) = n times good(1), bad_run(n) = n times bad()
        #[test]
        fn bulk_is_the_same_as_one_by_one(pieces in prop::collection::vec((any::<bool>(), 0_u64..60), 0..40)) {
            let mut bulk = Bursts::default();
            let mut bad = Vec::new();
            for (is_bad, count) in pieces {
                if is_bad {
                    bulk.bad_run(count);
                } else {
                    bulk.good(count);
                }
                bad.extend(vec![is_bad; count as usize]);
            }
            prop_assert_eq!(bulk, fed(&bad));
        }
    }
}
