//! Media streams, and what endpoints told of them.

use super::Tell;
use crate::event::{CodecSource, LossPattern, Origin, Report, ReportKind, Stream as Media};
use crate::export::trace_id::TraceId;
use crate::log::privacy::Personal;
use crate::log::{Level, Line, Stream};

/// One line a stream: what is odd about it makes it a warning.
pub(super) fn over(tell: Tell<'_>, stream: &Media) {
    let odd = anomalies(stream);
    let (level, message) =
        if odd.is_empty() { (Level::Info, "stream ended") } else { (Level::Warn, "stream anomalies") };
    tell.line((Stream::Diagnostics, level, "rtp"), message, stream.call_id.as_deref(), |mut line| {
        identity(&mut line, stream);
        for (key, count) in odd {
            line.count(key, count);
        }
        line.count("packets", stream.packets).number("loss_ratio", stream.loss_ratio);
        if let Some(pattern) = stream.loss_pattern {
            line.word(
                "loss_pattern",
                match pattern {
                    LossPattern::None => "none",
                    LossPattern::Random => "random",
                    LossPattern::Bursty => "bursty",
                    LossPattern::Outage => "outage",
                },
            );
        }
        line.number("jitter_max", stream.jitter.map(|jitter| jitter.max));
        line.number("mos", stream.mos.map(|mos| mos.lq));
        line.traced(stream.call_id.as_deref().map(TraceId::of_call_id))
    });
}

pub(super) fn report(tell: Tell<'_>, report: &Report) {
    let kind = (Stream::Diagnostics, Level::Info, "rtcp");
    tell.line(kind, "quality report", report.call_id.as_deref(), |mut line| {
        line.word(
            "kind",
            match report.kind {
                ReportKind::VqRtcpxr => "vq_rtcpxr",
                ReportKind::RtcpXr => "rtcp_xr",
                ReportKind::Rtcp => "rtcp",
            },
        );
        if let Some(ssrc) = &report.ssrc {
            line.label("ssrc", ssrc);
        }
        line.number("mos_lq", report.mos_lq).number("mos_cq", report.mos_cq);
        line.number("loss_ratio", report.loss_ratio).number("discard_ratio", report.discard_ratio);
        line.number("rtt", report.rtt);
        line.traced(report.call_id.as_deref().map(TraceId::of_call_id))
    });
}

fn identity(line: &mut Line, stream: &Media) {
    line.label("stream", &stream.id).label("ssrc", &stream.ssrc);
    line.personal("source", Personal::endpoint(stream.source));
    line.personal("destination", Personal::endpoint(stream.destination));
    if let Some(direction) = stream.direction {
        line.word("direction", direction.name());
    }
    line.word(
        "origin",
        match stream.origin {
            Origin::Sdp => "sdp",
            Origin::Rtcp => "rtcp",
            Origin::Heuristic => "heuristic",
        },
    );
    line.word("codec", stream.codec.name());
    line.word(
        "codec_source",
        match stream.codec_source {
            CodecSource::Sdp => "sdp",
            CodecSource::Static => "static",
            CodecSource::Inferred => "inferred",
            CodecSource::Unknown => "unknown",
        },
    );
    line.time("first", stream.first).time("last", stream.last);
}

/// What no well-behaved sender and no healthy network does, with how often it was so.
fn anomalies(stream: &Media) -> Vec<(&'static str, u64)> {
    let counts = [
        ("lost", stream.lost),
        ("duplicates", stream.duplicates),
        ("reordered", stream.reordered),
        ("rejected", stream.rejected),
        ("restarts", stream.restarts),
        ("discontinuities", stream.discontinuities),
        ("rate_changes", stream.rate_changes),
        ("stalls", stream.stalls),
        ("ssrc_overlaps", u64::from(stream.ssrc_overlap)),
        ("tails_missing", u64::from(stream.tail_missing)),
    ];
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}
