//! Families about RTP streams and what endpoints report (MEAS A.2).

use crate::event::{Band, Direction, Report, ReportKind, Stream, StreamCounts, Window};
use crate::rtp::payload::Codec;

use super::exemplar::{Candidate, Exemplars, Lead};
use super::family::{Counters, Declare, Histograms, Value};

#[derive(Debug)]
pub(super) struct MediaMetrics {
    packets: Counters<2>,
    bytes: Counters<2>,
    expected: Counters<2>,
    lost: Counters<2>,
    duplicates: Counters<2>,
    reordered: Counters<2>,
    rejected: Counters<2>,
    discarded: Counters<3>,
    restarts: Counters<0>,
    discontinuities: Counters<0>,
    stalls: Counters<0>,
    dead_air: Counters<1>,
    short: Counters<0>,
    window_jitter: Histograms<2>,
    window_loss: Histograms<2>,
    window_effective_loss: Histograms<3>,
    window_mos: Histograms<5>,
    mos: Histograms<5>,
    mos_min: Histograms<5>,
    r_factor: Histograms<4>,
    burst_ratio: Histograms<1>,
    clock_skew: Histograms<1>,
    rtt: Histograms<1>,
    rtcp_jitter: Histograms<1>,
    rtcp_loss: Histograms<1>,
    upstream_loss: Histograms<1>,
    downstream_loss: Histograms<1>,
    reported_mos: Histograms<2>,
}

impl MediaMetrics {
    pub(super) fn declare(on: &mut Declare) -> Self {
        Self {
            packets: on.counter(
                "voip_rtp_packets",
                STREAM,
                "RTP packets received, each sequence number once",
            ),
            bytes: on.counter("voip_rtp_bytes", STREAM, "IP payload bytes of those packets"),
            expected: on.counter(
                "voip_rtp_expected",
                STREAM,
                "RTP packets the sequence numbers promise; loss is lost / expected",
            ),
            lost: on.counter("voip_rtp_lost", STREAM, "RTP packets that never arrived at the tap"),
            duplicates: on.counter("voip_rtp_duplicates", STREAM, "RTP packets the network delivered again"),
            reordered: on.counter("voip_rtp_reordered", STREAM, "RTP packets that arrived after a later one"),
            rejected: on.counter(
                "voip_rtp_rejected",
                STREAM,
                "RTP packets far out of sequence that no successor confirmed",
            ),
            discarded: on.counter(
                "voip_rtp_discarded",
                &["codec", "direction", "jb"],
                "RTP packets too late for a simulated de-jitter buffer",
            ),
            restarts: on.counter("voip_rtp_restarts", &[], "Confirmed restarts of an RTP sequence"),
            discontinuities: on.counter(
                "voip_rtp_discontinuities",
                &[],
                "Jumps of the RTP time stamp by 3 s and more",
            ),
            stalls: on.counter(
                "voip_rtp_stalls",
                &[],
                "Gaps in arrival of over 500 ms that no silence explains",
            ),
            dead_air: on.counter(
                "voip_calls_dead_air",
                &["direction"],
                "Streams of calls that flowed without carrying any sound",
            ),
            short: on.counter("voip_rtp_short_streams", &[], "Streams too short for a MOS: under 50 packets"),
            window_jitter: on.histogram(
                "voip_rtp_jitter_seconds",
                STREAM,
                JITTER,
                "Mean interarrival jitter (RFC 3550) of each quality window",
            ),
            window_loss: on.histogram(
                "voip_rtp_loss_ratio",
                STREAM,
                LOSS,
                "Share of packets lost on the wire in each quality window",
            ),
            window_effective_loss: on.histogram(
                "voip_rtp_effective_loss_ratio",
                &["codec", "direction", "jb"],
                LOSS,
                "Share of packets lost or too late for the de-jitter buffer in each quality window",
            ),
            window_mos: on.histogram(
                "voip_rtp_mos_window",
                OPINION,
                MOS,
                "Estimated MOS (E-model) of each quality window",
            ),
            mos: on.histogram("voip_rtp_mos", OPINION, MOS, "Estimated MOS (E-model) of each whole stream"),
            mos_min: on.histogram(
                "voip_rtp_mos_min",
                OPINION,
                MOS,
                "Estimated MOS of the worst window of each stream",
            ),
            r_factor: on.histogram(
                "voip_rtp_r_factor",
                &["codec", "direction", "band", "kind"],
                R,
                "Transmission rating R (E-model) of each whole stream",
            ),
            burst_ratio: on.histogram(
                "voip_rtp_burst_ratio",
                &["codec"],
                BURST,
                "BurstR of each stream: 1 is random loss, more is loss in bursts",
            ),
            clock_skew: on.histogram(
                "voip_rtp_clock_skew_ppm",
                &["codec"],
                SKEW,
                "Size of the sender's clock error in parts per million",
            ),
            rtt: on.histogram(
                "voip_rtcp_rtt_seconds",
                &["segment"],
                RTT,
                "Round trip measured from RTCP reports, end to end or from the tap to one side",
            ),
            rtcp_jitter: on.histogram(
                "voip_rtcp_jitter_seconds",
                &["direction"],
                JITTER,
                "Largest interarrival jitter a receiver reported of each stream",
            ),
            rtcp_loss: on.histogram(
                "voip_rtcp_loss_ratio",
                &["direction"],
                LOSS,
                "Loss a receiver reported of each stream",
            ),
            upstream_loss: on.histogram(
                "voip_rtp_upstream_loss_ratio",
                &["direction"],
                LOSS,
                "Loss between sender and tap, by the sender's own packet count",
            ),
            downstream_loss: on.histogram(
                "voip_rtp_downstream_loss_ratio",
                &["direction"],
                LOSS,
                "Loss between tap and receiver, by the receiver's reports",
            ),
            reported_mos: on.histogram(
                "voip_reported_mos",
                &["source", "kind"],
                MOS,
                "MOS that an endpoint reported itself",
            ),
        }
    }

    /// What a stream has counted since it was last told.
    pub(super) fn counted(&self, of: Codec, way: Option<Direction>, counts: &StreamCounts) {
        let labels = || [codec(of).into(), direction(way).into()];
        for (counter, count) in [
            (&self.packets, counts.packets),
            (&self.bytes, counts.bytes),
            (&self.expected, counts.expected),
            (&self.lost, counts.lost),
            (&self.duplicates, counts.duplicates),
            (&self.reordered, counts.reordered),
            (&self.rejected, counts.rejected),
        ] {
            counter.add(labels(), count);
        }
        for (buffer, count) in
            [("fixed50", counts.late50), ("fixed200", counts.late200), (ADAPTIVE, counts.late_adaptive)]
        {
            let [codec, way] = labels();
            self.discarded.add([codec, way, buffer.into()], count);
        }
        self.restarts.add([], counts.restarts);
        self.discontinuities.add([], counts.discontinuities);
        self.stalls.add([], counts.stalls);
    }

    /// A stream that is over, but for its counters.
    pub(super) fn stream(&self, stream: &Stream) {
        let way = || Value::Borrowed(direction(stream.direction));
        if stream.dead_air == Some(true) {
            self.dead_air.add([way()], 1);
        }
        self.short.add([], u64::from(stream.packets < 50));
        self.burst_ratio.observe([codec(stream.codec).into()], stream.burst_ratio);
        self.clock_skew.observe([codec(stream.codec).into()], stream.clock_skew_ppm.map(f64::abs));
        if let (Some(mos), Some(scale)) = (stream.mos, stream.band) {
            let opinion = |kind| opinion(stream.codec, stream.direction, scale, kind);
            self.mos.observe(opinion("lq"), Some(mos.lq));
            self.mos.observe(opinion("cq"), mos.cq);
            self.mos_min.observe(opinion("lq"), mos.min_window);
            let [codec, way, scale, kind, _] = opinion("lq");
            self.r_factor.observe([codec, way, scale, kind], stream.r_factor);
        }
        self.rtcp(stream);
    }

    fn rtcp(&self, stream: &Stream) {
        let Some(rtcp) = stream.rtcp else { return };
        let way = || Value::Borrowed(direction(stream.direction));
        self.rtt.observe(["e2e".into()], rtcp.rtt);
        let (sender, receiver) = match stream.direction {
            Some(Direction::ToCallee) => ("to_caller", "to_callee"),
            Some(Direction::ToCaller) => ("to_callee", "to_caller"),
            None => ("unknown", "unknown"),
        };
        self.rtt.observe([sender.into()], rtcp.rtt_sender);
        self.rtt.observe([receiver.into()], rtcp.rtt_receiver);
        self.rtcp_jitter.observe([way()], rtcp.reported_jitter);
        self.rtcp_loss.observe([way()], rtcp.reported_loss_ratio);
        self.upstream_loss.observe([way()], rtcp.upstream_loss_ratio);
        self.downstream_loss.observe([way()], rtcp.downstream_loss_ratio);
    }

    pub(super) fn report(&self, report: &Report) {
        let source = match report.kind {
            ReportKind::VqRtcpxr => "vq_rtcpxr",
            ReportKind::RtcpXr => "rtcp_xr",
            ReportKind::Rtcp => "rtcp",
        };
        self.reported_mos.observe([source.into(), "lq".into()], report.mos_lq);
        self.reported_mos.observe([source.into(), "cq".into()], report.mos_cq);
    }

    /// What of a stream whose call is over may stand for its bucket: its worst windows, and the whole of it.
    pub(super) fn exemplify(&self, candidate: &Candidate, lead: Lead, exemplars: &mut Exemplars) {
        let labels = |window: &Window| [codec(window.codec).into(), direction(window.direction).into()];
        if let Some(window) = candidate.loss.as_ref().filter(|_| lead.is_told) {
            let share = f64::from(window.lost) / f64::from(window.expected.max(1));
            let place = self.window_loss.place(labels(window));
            exemplars.observed(&self.window_loss, &place, lead.trace, share, window.start);
        }
        if let Some((window, jitter)) = candidate.jitter.as_ref().and_then(|w| Some((w, w.jitter?)))
            && lead.is_told
        {
            let place = self.window_jitter.place(labels(window));
            exemplars.observed(&self.window_jitter, &place, lead.trace, jitter, window.start);
        }
        if let Some(window) = candidate.mos.as_ref().filter(|w| lead.is_told || w.mos_lq < POOR_MOS) {
            let opinion = opinion(window.codec, window.direction, window.band, "lq");
            let place = self.window_mos.place(opinion);
            exemplars.observed(&self.window_mos, &place, lead.trace, window.mos_lq, window.start);
        }
        if let Some(whole) = &candidate.whole {
            for (histogram, value) in [(&self.mos, Some(whole.mos.lq)), (&self.mos_min, whole.mos.min_window)]
            {
                if let Some(value) = value.filter(|value| lead.is_told || *value < POOR_MOS) {
                    let place = histogram.place(opinion(whole.codec, whole.direction, whole.band, "lq"));
                    exemplars.observed(histogram, &place, lead.trace, value, whole.last);
                }
            }
        }
    }

    /// Takes a closed window; a tainted one tells of the tap, not of the call (MEAS 0.4).
    pub(super) fn window(&self, window: &Window) {
        if window.tainted || window.expected == 0 {
            return;
        }
        let way = || Value::Borrowed(direction(window.direction));
        let of_expected = |count: u32| Some(f64::from(count) / f64::from(window.expected));
        self.window_jitter.observe([codec(window.codec).into(), way()], window.jitter);
        self.window_loss.observe([codec(window.codec).into(), way()], of_expected(window.lost));
        self.window_effective_loss.observe(
            [codec(window.codec).into(), way(), ADAPTIVE.into()],
            of_expected(window.lost.saturating_add(window.late)),
        );
        self.window_mos
            .observe(opinion(window.codec, window.direction, window.band, "lq"), Some(window.mos_lq));
    }
}

pub(super) fn codec(codec: Codec) -> &'static str {
    codec.name()
}

pub(super) fn direction(direction: Option<Direction>) -> &'static str {
    direction.map_or("unknown", Direction::name)
}

fn opinion(of: Codec, way: Option<Direction>, band: Band, kind: &'static str) -> [Value; 5] {
    let band = match band {
        Band::Nb => "nb",
        Band::Wb => "wb",
        Band::Fb => "fb",
    };
    [codec(of).into(), direction(way).into(), band.into(), kind.into(), ADAPTIVE.into()]
}

/// The buffer every MOS is computed with (MEAS 4.3).
const ADAPTIVE: &str = "adaptive";

/// A MOS below this is worth an exemplar (MEAS 8.4).
const POOR_MOS: f64 = 3.6;

const STREAM: &[&str; 2] = &["codec", "direction"];
const OPINION: &[&str; 5] = &["codec", "direction", "band", "kind", "jb"];

/// 2.58, 3.1, 3.6, 4.03 and 4.34 are R 50 to 90: the classes of G.109.
const MOS: &[f64] = &[1.5, 2.0, 2.58, 3.1, 3.6, 4.03, 4.2, 4.34, 4.5];
const R: &[f64] = &[0.0, 50.0, 60.0, 70.0, 80.0, 90.0, 93.2, 100.0, 110.0, 120.0, 129.0, 140.0, 148.0];
/// 0 is a real bucket: the share of loss-free windows.
const LOSS: &[f64] = &[0.0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0];
const JITTER: &[f64] =
    &[0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.5, 1.0];
const RTT: &[f64] = &[0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0, 2.0];
const BURST: &[f64] = &[1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0];
const SKEW: &[f64] = &[10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];
