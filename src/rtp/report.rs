//! What the ends of a stream report about it (RFC 3550 6.4; MEAS 2.3, 1.12, 1.13).
//!
//! ```text
//! sender ---- SR: packets sent ----> tap <---- RR: packets lost ---- receiver
//!         upstream loss =             |        reported loss = lost / expected, both by difference
//!         1 - seen / sent             |        downstream loss = reported - observed
//! ```
//!
//! Counters are compared by difference between two reports: the first report of each reporter is a baseline.
//! One [`Reported`] belongs to one stream and is made when the first report about it arrives.

use super::round_trip::Sample;
use super::rtcp::ReportBlock;
use super::xr::VoipMetrics;
use crate::Stamp;
use crate::event;

/// Everything reported about one stream.
#[derive(Clone, Debug, Default)]
pub struct Reported {
    reporters: Vec<Reporter>,
    sent: Option<Sent>,
    voip: Option<VoipMetrics>,
    rtt: Option<f64>,
    rtt_sender: Option<f64>,
    rtt_receiver: Option<f64>,
    last_jitter: u32,
    max_jitter: u32,
    reports: u32,
    refused: u32,
}

/// What the tap itself counted of the stream at the moment a report about it passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Highest sequence number seen, low 16 bits.
    pub highest: u16,
    /// Expected packets so far.
    pub expected: u64,
    /// Of these, not seen so far.
    pub lost: u64,
}

/// One reporter's counters.
#[derive(Clone, Copy, Debug)]
struct Reporter {
    ssrc: u32,
    at: Stamp,
    last: ReportBlock,
    observed: Observed,
    /// Sums over the differences between reports.
    expected: u64,
    lost: i64,
    observed_lost: i64,
}

/// The sender's packet count.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Stamp,
    packets: u32,
    unique: u64,
    /// Sums over the differences between reports.
    counted: u64,
    seen: u64,
}

impl Reported {
    /// A report block about this stream; false when it was refused: too far from what was seen to be about it,
    /// or one reporter too many.
    pub fn block(&mut self, at: Stamp, reporter: u32, block: ReportBlock, observed: Observed) -> bool {
        let distance = (block.highest_sequence as u16).wrapping_sub(observed.highest).cast_signed();
        if distance.unsigned_abs() > MAX_DISTANCE {
            self.refused = self.refused.saturating_add(1);
            return false;
        }
        if let Some(known) = self.reporters.iter_mut().find(|known| known.ssrc == reporter) {
            if known.last == block && at.nanos_since(known.at) < COPY_NANOS {
                return true;
            }
            known.advance(at, block, observed);
        } else if self.reporters.len() < MAX_REPORTERS {
            self.reporters.push(Reporter::new(at, reporter, block, observed));
        } else {
            self.refused = self.refused.saturating_add(1);
            return false;
        }
        self.reports = self.reports.saturating_add(1);
        self.last_jitter = block.jitter;
        self.max_jitter = self.max_jitter.max(block.jitter);
        true
    }

    /// A sender report of this stream passed: its packet count, and the unique packets seen until then.
    pub fn sent(&mut self, at: Stamp, packets: u32, unique: u64) {
        let fresh = Sent { at, packets, unique, counted: 0, seen: 0 };
        let sent = self.sent.get_or_insert(fresh);
        let delta = packets.wrapping_sub(sent.packets);
        if u64::from(delta) <= plausible(sent.at, at) {
            sent.counted += u64::from(delta);
            sent.seen += unique.saturating_sub(sent.unique);
        }
        (sent.at, sent.packets, sent.unique) = (at, packets, unique);
    }

    /// A VoIP metrics block about this stream; the last one counts.
    pub fn voip(&mut self, metrics: VoipMetrics) {
        self.voip = Some(metrics);
    }

    /// A round trip measured by a report about this stream: the reporter is its receiver.
    pub fn round_trip_receiver(&mut self, sample: Sample) {
        self.rtt_receiver = Some(sample.half);
        self.rtt = sample.end_to_end.or(self.rtt);
    }

    /// A round trip measured by a report of this stream's sender about another stream.
    pub fn round_trip_sender(&mut self, sample: Sample) {
        self.rtt_sender = Some(sample.half);
        self.rtt = sample.end_to_end.or(self.rtt);
    }

    /// The receiver's own words about concealment and buffer, which replace assumptions (MEAS 2.5).
    pub fn last_voip(&self) -> Option<&VoipMetrics> {
        self.voip.as_ref()
    }

    /// Blocks that were refused.
    pub fn refused(&self) -> u32 {
        self.refused
    }

    /// Jitter of the last report in seconds; `clock_rate` in Hz is the stream's.
    pub fn last_jitter(&self, clock_rate: Option<u32>) -> Option<f64> {
        self.jitter_seconds(self.last_jitter, clock_rate)
    }

    /// The sum of it; `clock_rate` in Hz is the stream's, without it there is no jitter.
    pub fn figures(&self, clock_rate: Option<u32>) -> event::Rtcp {
        event::Rtcp {
            rtt: self.rtt,
            rtt_sender: self.rtt_sender,
            rtt_receiver: self.rtt_receiver,
            reported_loss_ratio: self.reported_loss_ratio(),
            reported_jitter: self.jitter_seconds(self.max_jitter, clock_rate),
            upstream_loss_ratio: self.sent.as_ref().and_then(Sent::loss_ratio),
            downstream_loss_ratio: self.downstream_loss_ratio(),
            xr_mos_lq: self.voip.as_ref().and_then(VoipMetrics::mos_lq),
            xr_mos_cq: self.voip.as_ref().and_then(VoipMetrics::mos_cq),
            reports: self.reports,
        }
    }

    fn reported_loss_ratio(&self) -> Option<f64> {
        let expected: u64 = self.reporters.iter().map(|reporter| reporter.expected).sum();
        if expected > 0 {
            let lost: i64 = self.reporters.iter().map(|reporter| reporter.lost).sum();
            return Some((lost.max(0) as f64 / expected as f64).min(1.0));
        }
        // Without a second report, the reporter's own last interval is all there is.
        self.reporters.last().map(|reporter| f64::from(reporter.last.fraction_lost) / 256.0)
    }

    /// Loss between the tap and the receivers, over the same intervals of each reporter (MEAS 1.13).
    fn downstream_loss_ratio(&self) -> Option<f64> {
        let expected: u64 = self.reporters.iter().map(|reporter| reporter.expected).sum();
        let behind: i64 = self.reporters.iter().map(|reporter| reporter.lost - reporter.observed_lost).sum();
        (expected > 0).then(|| (behind.max(0) as f64 / expected as f64).min(1.0))
    }

    fn jitter_seconds(&self, ticks: u32, clock_rate: Option<u32>) -> Option<f64> {
        let rate = clock_rate.filter(|&rate| rate > 0 && self.reports > 0)?;
        Some(f64::from(ticks) / f64::from(rate))
    }
}

impl Reporter {
    fn new(at: Stamp, ssrc: u32, last: ReportBlock, observed: Observed) -> Self {
        Self { ssrc, at, last, observed, expected: 0, lost: 0, observed_lost: 0 }
    }

    /// Adds the difference to the last report, or takes this one as a new baseline when the counters were
    /// reset in between.
    fn advance(&mut self, at: Stamp, block: ReportBlock, observed: Observed) {
        let expected = block.highest_sequence.wrapping_sub(self.last.highest_sequence);
        let lost = i64::from(block.cumulative_lost) - i64::from(self.last.cumulative_lost);
        // No more can be lost than was expected; late and duplicate packets take some back.
        let possible = -(i64::from(expected) + MAX_MISORDER)..=i64::from(expected);
        if u64::from(expected) <= plausible(self.at, at) && possible.contains(&lost) {
            self.expected += u64::from(expected);
            self.lost += lost;
            self.observed_lost += observed.lost as i64 - self.observed.lost as i64;
        }
        (self.at, self.last, self.observed) = (at, block, observed);
    }
}

impl Sent {
    fn loss_ratio(&self) -> Option<f64> {
        let missing = self.counted.saturating_sub(self.seen);
        // Up to two packets may have passed between the count and the report (MEAS 1.12).
        let missing = if missing <= 2 { 0 } else { missing };
        (self.counted > 0).then(|| missing as f64 / self.counted as f64)
    }
}

/// Most packets there can be between two reports: 3000 a second, and a second at least (MEAS 2.3). A counter
/// that went backwards wraps to more than that.
fn plausible(before: Stamp, now: Stamp) -> u64 {
    (now.seconds_since(before).max(1.0) * 3_000.0) as u64
}

/// MAX_DROPOUT of RFC 3550 A.1.
const MAX_DISTANCE: u16 = 3_000;
const MAX_MISORDER: i64 = 100;
/// Receivers of one stream that are told apart.
const MAX_REPORTERS: usize = 4;
/// The same block again within this time is a copy of the same packet.
const COPY_NANOS: i64 = 200_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Stamp {
        Stamp(seconds * 1_000_000_000)
    }

    fn block(highest: u32, lost: i32) -> ReportBlock {
        ReportBlock {
            ssrc: 10,
            fraction_lost: 0,
            cumulative_lost: lost,
            highest_sequence: highest,
            jitter: 80,
            last_sr: 0,
            delay_since_last_sr: 0,
        }
    }

    fn seen(highest: u32, lost: u64) -> Observed {
        Observed { highest: highest as u16, expected: u64::from(highest), lost }
    }

    fn near(got: Option<f64>, expected: f64) {
        assert!((got.unwrap() - expected).abs() < 1e-12, "{got:?} is not {expected}");
    }

    #[test]
    fn loss_is_the_difference_between_two_reports() {
        let mut reported = Reported::default();
        reported.block(at(0), 1, block(70_000, 50), seen(70_000, 0));
        reported.block(at(5), 1, block(70_250, 60), seen(70_252, 0));
        reported.block(at(10), 1, block(70_500, 60), seen(70_501, 0));
        let figures = reported.figures(Some(8_000));
        near(figures.reported_loss_ratio, 10.0 / 500.0);
        near(figures.downstream_loss_ratio, 10.0 / 500.0);
        near(figures.reported_jitter, 0.01);
        assert_eq!(figures.reports, 3);
    }

    #[test]
    fn a_single_report_has_only_its_fraction() {
        let mut reported = Reported::default();
        reported.block(at(0), 1, ReportBlock { fraction_lost: 64, ..block(100, 7) }, seen(100, 0));
        let figures = reported.figures(None);
        near(figures.reported_loss_ratio, 0.25);
        assert_eq!((figures.downstream_loss_ratio, figures.reported_jitter), (None, None));
    }

    #[test]
    fn loss_seen_at_the_tap_is_not_downstream() {
        let mut reported = Reported::default();
        reported.block(at(0), 1, block(1_000, 0), seen(1_000, 5));
        reported.block(at(10), 1, block(1_500, 30), seen(1_500, 25));
        near(reported.figures(None).reported_loss_ratio, 0.06);
        near(reported.figures(None).downstream_loss_ratio, 0.02);
        // More seen lost than reported is timing, never negative loss.
        reported.block(at(20), 1, block(2_000, 30), seen(2_000, 90));
        near(reported.figures(None).downstream_loss_ratio, 0.0);
    }

    #[test]
    fn negative_cumulative_loss_is_no_loss() {
        let mut reported = Reported::default();
        reported.block(at(0), 1, block(1_000, 0), seen(1_000, 0));
        reported.block(at(10), 1, block(1_500, -3), seen(1_500, 0));
        near(reported.figures(None).reported_loss_ratio, 0.0);
    }

    #[test]
    fn reset_counters_are_a_new_baseline() {
        let mut reported = Reported::default();
        reported.block(at(0), 1, block(70_000, 500), seen(70_000, 0));
        reported.block(at(5), 1, block(70_250, 505), seen(70_250, 0));
        // Extended sequence backwards, as by a receiver that forgot its cycles.
        reported.block(at(10), 1, block(70_500 - 65_536, 0), seen(70_500, 0));
        reported.block(at(15), 1, block(70_750 - 65_536, 20), seen(70_750, 0));
        // The count of losses alone restarts.
        reported.block(at(20), 1, block(71_000 - 65_536, -400), seen(71_000, 0));
        near(reported.figures(None).reported_loss_ratio, 25.0 / 500.0);
    }

    #[test]
    fn a_report_far_from_what_was_seen_is_refused() {
        let mut reported = Reported::default();
        assert!(!reported.block(at(0), 1, block(5_000, 0), seen(1_000, 0)));
        assert!(reported.block(at(0), 1, block(65_536 + 10, 0), seen(65_000, 0)));
        assert_eq!((reported.refused(), reported.figures(None).reports), (1, 1));
    }

    #[test]
    fn a_report_captured_twice_counts_once() {
        let mut reported = Reported::default();
        for _ in 0..2 {
            reported.block(at(0), 1, block(1_000, 0), seen(1_000, 0));
        }
        assert_eq!(reported.figures(None).reports, 1);
    }

    #[test]
    fn reporters_are_bounded_and_kept_apart() {
        let mut reported = Reported::default();
        for ssrc in 0..1_000 {
            reported.block(at(0), ssrc, block(1_000 + ssrc, ssrc as i32), seen(1_000, 0));
        }
        assert_eq!(reported.reporters.len(), MAX_REPORTERS);
        assert_eq!(reported.refused(), 1_000 - MAX_REPORTERS as u32);
        reported.block(at(5), 0, block(1_100, 10), seen(1_100, 0));
        near(reported.figures(None).reported_loss_ratio, 0.1);
    }

    #[test]
    fn upstream_loss_is_what_was_sent_and_never_seen() {
        let mut reported = Reported::default();
        reported.sent(at(0), 1_000, 700);
        assert_eq!(reported.figures(None).upstream_loss_ratio, None);
        reported.sent(at(5), 1_250, 948);
        near(reported.figures(None).upstream_loss_ratio, 0.0);
        reported.sent(at(10), 1_500, 1_150);
        near(reported.figures(None).upstream_loss_ratio, 50.0 / 500.0);
        // The sender restarts its count, then goes on.
        reported.sent(at(15), 10, 1_400);
        reported.sent(at(20), 260, 1_650);
        near(reported.figures(None).upstream_loss_ratio, 50.0 / 750.0);
    }

    #[test]
    fn round_trips_keep_the_latest() {
        let mut reported = Reported::default();
        reported.round_trip_receiver(Sample { half: 0.075, end_to_end: None });
        reported.round_trip_sender(Sample { half: 0.03, end_to_end: Some(0.105) });
        reported.round_trip_receiver(Sample { half: 0.06, end_to_end: None });
        let figures = reported.figures(None);
        assert_eq!(
            (figures.rtt, figures.rtt_sender, figures.rtt_receiver),
            (Some(0.105), Some(0.03), Some(0.06))
        );
    }
}
