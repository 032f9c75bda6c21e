//! A finished stream as a fact: counters to ratios, buffers to opinion scores.

use crate::event::{self, Discarded, why};
use crate::quality::Rating;
use crate::quality::score::{Score, absolute_delay_ms, loss_pattern, score};
use crate::rtp::payload::Codec;
use crate::rtp::stream::Stream;
use crate::rtp::window::Closed;

/// Who a stream is, and what others know about it.
#[derive(Debug)]
pub struct Context<'a> {
    /// Identity and everything else the stream itself cannot know; its measured fields are overwritten.
    pub identity: event::Stream,
    /// Codec constants, and what is assumed.
    pub rating: &'a Rating,
    /// One-way network delay in seconds and where it was measured (MEAS 4.5).
    pub delay: Option<(f64, &'static str)>,
    /// The receiver reported that it conceals loss, or does not (RTCP XR receiver configuration).
    pub concealment: Option<bool>,
    /// Delay inside the receiver in seconds, as it reported it: de-jitter buffer and decoder (MEAS 4.4).
    pub receiver_delay: Option<f64>,
    /// Found without SDP, and its pace is that of no clock: not to be rated (MEAS 6.7).
    pub implausible: bool,
    /// Packets were dropped at the tap while it lasted: its losses may be ours (MEAS 0.4).
    pub tainted: bool,
    /// Worst window so far, listening quality.
    pub worst_window: Option<f64>,
}

impl Stream {
    /// The fact a finished stream leaves.
    pub fn fact(&self, context: Context<'_>) -> event::Stream {
        let main = self.main_format();
        let counts = self.counts();
        let expected = counts.wire.expected();
        let ptime = self.ptime();
        let rating = context.rating;
        let concealment = context.concealment.unwrap_or(rating.concealment);
        let impairment = rating.impairments.impairment(&main.format, concealment);
        let rated = impairment.as_ref().filter(|_| !context.implausible && !context.tainted);
        let listening = rated.and_then(|impairment| score(counts.effective, impairment, None));
        let conversational = listening.and_then(|_| {
            let (network, _) = context.delay?;
            let impairment = impairment.as_ref()?;
            let outside_ms = network * 1e3 + rating.endpoint_delay_ms;
            let ptime_ms = ptime.unwrap_or_default() * 1e3;
            let ta = match context.receiver_delay {
                Some(reported) => outside_ms + ptime_ms + reported * 1e3,
                None => absolute_delay_ms(outside_ms, counts.mean_depth_ms, ptime_ms, impairment),
            };
            score(counts.effective, impairment, Some(ta))
        });
        let measured = counts.pushed > 0;
        let seconds = self.last().seconds_since(self.first());
        let mut fact = event::Stream {
            payload_types: self.payload_types(),
            codec: main.format.codec,
            codec_source: main.source,
            clock_rate: (main.format.clock_rate > 0).then_some(main.format.clock_rate),
            ptime,
            first: self.first(),
            last: self.last(),
            packets: self.packets(),
            bytes: counts.bytes,
            expected,
            lost: counts.wire.bad_packets(),
            duplicates: counts.duplicates,
            capture_duplicates: counts.capture_duplicates,
            reordered: counts.reordered,
            rejected: counts.rejected,
            restarts: counts.restarts,
            loss_ratio: (expected > 0).then(|| counts.wire.ratio()),
            burst_ratio: (expected > 0).then(|| counts.wire.burst_ratio()),
            longest_loss: counts.wire.longest(),
            loss_pattern: (expected > 0).then(|| loss_pattern(counts.wire, ptime.unwrap_or(USUAL_PTIME))),
            burst_gap: measured.then(|| counts.segments.burst_gap(ptime.unwrap_or(USUAL_PTIME))),
            jitter: self.jitter().summary(),
            pdv_p95: counts.pdv_p95,
            clock_skew_ppm: counts.clock_skew_ppm,
            discarded: measured.then_some(Discarded {
                fixed50: counts.late50,
                fixed200: counts.late200,
                adaptive: counts.late_adaptive,
            }),
            mos: listening.map(|listening| event::Mos {
                lq: listening.mos,
                cq: conversational.map(|score| score.mos),
                min_window: context.worst_window,
            }),
            r_factor: listening.map(|score| score.r),
            band: listening.and(impairment.map(|impairment| impairment.band)),
            estimate: main.format.codec == Codec::Unknown
                || impairment.is_some_and(|impairment| impairment.estimate),
            out_of_range: listening.is_some_and(|score| score.out_of_range),
            plc: match context.concealment {
                None if rating.concealment => "assumed",
                Some(true) => "reported",
                None | Some(false) => "off",
            },
            delay_source: conversational.and(context.delay.map(|(_, source)| source)),
            dtmf: self.digits(),
            dtx_gaps: counts.dtx_gaps,
            silence_ratio: (seconds > 0.0 && measured)
                .then(|| (counts.dtx_seconds / seconds).clamp(0.0, 1.0)),
            discontinuities: counts.discontinuities,
            rate_changes: counts.rate_changes,
            stalls: counts.stalls,
            dead_air: counts.dead_air,
            windows: counts.windows,
            ..context.identity
        };
        if context.implausible {
            fact.why.insert("mos", why::RATE_IMPLAUSIBLE);
        }
        if context.tainted {
            fact.loss_ratio = None;
            for field in ["mos", "loss_ratio"] {
                fact.why.insert(field, why::DROPPED_AT_TAP);
            }
        }
        fact.explain();
        fact
    }

    /// One closed window as a fact, when its codec can be rated (MEAS 1.14).
    pub fn window_fact(
        &self,
        closed: &Closed,
        rating: &Rating,
        direction: Option<event::Direction>,
    ) -> Option<event::Window> {
        let main = self.main_format();
        let impairment = rating.impairments.impairment(&main.format, rating.concealment)?;
        let Score { mos, .. } = score(&closed.outcomes, &impairment, None)?;
        let bad = closed.outcomes.bad_packets() as u32;
        Some(event::Window {
            stream: 0,
            start: closed.start,
            codec: main.format.codec,
            direction,
            band: impairment.band,
            expected: closed.outcomes.expected() as u32,
            lost: closed.lost,
            late: bad - closed.lost.min(bad),
            mos_lq: mos,
            jitter: closed.jitter,
            tainted: false,
        })
    }
}

/// Most telephony packets carry this much, in seconds; used for durations only when the stream is too short to tell.
const USUAL_PTIME: f64 = 0.02;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stamp;
    use crate::event::CodecSource;
    use crate::rtp::packet::Packet;
    use crate::rtp::payload::Format;
    use crate::rtp::stream::Formats;
    use crate::wire::Endpoint;

    struct Static;

    impl Formats for Static {
        fn format(&self, payload_type: u8) -> Option<(Format, CodecSource)> {
            Format::of_static(payload_type).map(|format| (format, CodecSource::Static))
        }
    }

    fn fact(receiver_delay: Option<f64>) -> event::Stream {
        let packet = |n: u32| Packet {
            stamp: Stamp(1_000_000_000 + u64::from(n) * 20_000_000),
            seq: n as u16,
            ticks: n * 160,
            payload_type: 0,
            marker: false,
            payload: &[],
            payload_len: 160,
            length: 172,
            ip_id: 0,
            interface: 0,
        };
        let mut stream = Stream::open(&packet(0), false, &Static);
        let mut closed = Vec::new();
        (1..100).for_each(|n| stream.push(&packet(n), &Static, &mut closed));
        stream.finish(&mut closed);
        let endpoint = Endpoint { ip: std::net::Ipv4Addr::LOCALHOST.into(), port: 4000 };
        stream.fact(Context {
            identity: event::Stream::blank(endpoint, endpoint),
            rating: &Rating::default(),
            delay: Some((0.1, "rtcp")),
            concealment: None,
            receiver_delay,
            implausible: false,
            tainted: false,
            worst_window: None,
        })
    }

    #[test]
    fn what_the_receiver_reports_of_itself_replaces_the_simulated_buffer() {
        let cq = |delay| fact(delay).mos.unwrap().cq.unwrap();
        assert!(cq(Some(0.3)) < cq(None) - 0.5);
        assert!(cq(Some(0.001)) >= cq(None));
    }
}
