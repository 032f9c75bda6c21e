//! `rtp.session`: one a stream and direction, its quality windows as events.

use opentelemetry::KeyValue;
use opentelemetry_sdk::trace::SpanData;

use super::pending::{Heard, Heat};
use super::span::Maker;
use crate::event::Direction;
use crate::export::trace_id::{SpanId, TraceId};

impl Maker {
    pub(super) fn session(&self, trace: TraceId, root: SpanId, heard: &Heard) -> SpanData {
        let stream = &heard.stream;
        let direction = stream.direction.map_or("unknown", Direction::name);
        let way = format!("{}>{}", stream.source, stream.destination);
        let first = stream.first.0.to_string();
        let ident = [stream.ssrc.as_str(), direction, &self.vantage, &way, &first];
        let id = trace.span("stream", ident);
        let mut span = self.span("rtp.session", trace, id, Some(root), (stream.first, stream.last));
        span.put("network.protocol.name", if stream.srtp { "srtp" } else { "rtp" });
        span.put_ends(stream.source, stream.destination, "udp");
        span.put("rtp.ssrc", stream.ssrc.clone());
        span.put("rtp.codec", stream.codec.name());
        span.put_some("rtp.clock_rate", stream.clock_rate.map(i64::from));
        span.put_some("rtp.ptime", stream.ptime);
        span.put("voip.direction", direction);
        span.put("rtp.packets", stream.packets as i64);
        span.put("rtp.bytes", stream.bytes as i64);
        span.put("rtp.expected", stream.expected as i64);
        span.put("rtp.lost", stream.lost as i64);
        span.put("rtp.duplicates", stream.duplicates as i64);
        span.put("rtp.reordered", stream.reordered as i64);
        span.put_some("rtp.loss_ratio", stream.loss_ratio);
        span.put_some("rtp.burst_ratio", stream.burst_ratio);
        span.put("rtp.longest_loss", stream.longest_loss as i64);
        if let Some(jitter) = stream.jitter {
            span.put("rtp.jitter.mean", jitter.mean);
            span.put("rtp.jitter.max", jitter.max);
        }
        span.put_some("rtp.pdv_p95", stream.pdv_p95);
        if let Some(mos) = stream.mos {
            span.put("voip.mos", mos.lq);
            span.put_some("voip.mos.cq", mos.cq);
            span.put_some("voip.mos.min_window", mos.min_window);
        }
        span.put_some("voip.r_factor", stream.r_factor);
        span.put_some("voip.dead_air", stream.dead_air);
        span.put("rtp.dscp", i64::from(stream.dscp));
        span.put("voip.early", stream.early);
        span.put_some("voip.hop", stream.hop.as_ref().map(|hop| i64::from(hop.place)));
        if let Some(rtcp) = &stream.rtcp {
            span.put_some("rtcp.rtt", rtcp.rtt);
            span.put_some("rtcp.reported_loss_ratio", rtcp.reported_loss_ratio);
            span.put_some("rtcp.reported_jitter", rtcp.reported_jitter);
            span.put_some("rtcp.xr_mos_lq", rtcp.xr_mos_lq);
        }
        for window in &heard.windows.kept {
            span.event("window", window.start, told(window));
        }
        span.dropped_events(heard.windows.dropped);
        span.done()
    }
}

fn told(window: &Heat) -> Vec<KeyValue> {
    let mut told = vec![
        KeyValue::new("voip.mos", f64::from(window.mos)),
        KeyValue::new("rtp.expected", i64::from(window.expected)),
        KeyValue::new("rtp.lost", i64::from(window.lost)),
        KeyValue::new("rtp.late", i64::from(window.late)),
    ];
    if let Some(jitter) = window.jitter {
        told.push(KeyValue::new("rtp.jitter.mean", f64::from(jitter)));
    }
    if window.tainted {
        told.push(KeyValue::new("sidetone.tainted", true));
    }
    told
}
