//! JSON in the words of Homer: RTCP (type 5) and streams that are over (type 34).
//!
//! Field names are those that heplify-server and the Homer pages look for. Absent numbers are left out, as 0 would
//! be one. Delays are in milliseconds.

use serde::Serialize;

use crate::event::Stream;
use crate::rtp::rtcp::{Compound, Packet, Report, ReportBlock};

/// Type of a report on a stream: "RTP full report".
pub(super) const STREAM_KIND: u8 = 34;

#[derive(Serialize)]
struct RtcpReport {
    #[serde(rename = "type")]
    packet_type: u8,
    ssrc: u32,
    report_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_information: Option<Sender>,
    report_blocks: Vec<Block>,
}

#[derive(Serialize)]
struct Sender {
    ntp_timestamp_sec: u32,
    ntp_timestamp_usec: u32,
    rtp_timestamp: u32,
    packets: u32,
    octets: u32,
}

#[derive(Serialize)]
struct Block {
    source_ssrc: u32,
    fraction_lost: u8,
    packets_lost: i32,
    highest_seq_no: u32,
    ia_jitter: u32,
    lsr: u32,
    dlsr: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(bound(serialize = ""))]
struct StreamReport<'a> {
    #[serde(rename = "TYPE")]
    kind: &'static str,
    correlation_id: &'a str,
    rtp_sip_call_id: &'a str,
    report_ts: f64,
    src_ip: String,
    src_port: u16,
    dst_ip: String,
    dst_port: u16,
    ssrc: &'a str,
    codec_name: &'static str,
    codec_pt: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ptime: Option<f64>,
    tl_byte: u64,
    total_pk: u64,
    expected_pk: u64,
    packet_loss: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_jitter: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_jitter: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mos: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_mos: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rfactor: Option<f64>,
}

/// The first sender or receiver report of a compound packet; false when there is none to be read.
pub(super) fn rtcp(packet: &[u8], out: &mut Vec<u8>) -> bool {
    let mut reports = Compound::new(packet, 0).map_while(Result::ok).filter_map(|part| match part {
        Packet::Report(report) => Some(report),
        _ => None,
    });
    let Some(report) = reports.next() else { return false };
    write(&RtcpReport::of(&report), out);
    true
}

/// A stream that is over.
pub(super) fn stream(stream: &Stream, out: &mut Vec<u8>) {
    let call_id = stream.call_id.as_deref().unwrap_or_default();
    let millis = |seconds: f64| seconds * 1000.0;
    write(
        &StreamReport {
            kind: "FINAL",
            correlation_id: call_id,
            rtp_sip_call_id: call_id,
            report_ts: stream.last.0 as f64 / 1e9,
            src_ip: stream.source.ip.to_string(),
            src_port: stream.source.port,
            dst_ip: stream.destination.ip.to_string(),
            dst_port: stream.destination.port,
            ssrc: &stream.ssrc,
            codec_name: stream.codec.name(),
            codec_pt: stream.payload_types.first().copied().unwrap_or_default(),
            clock: stream.clock_rate,
            ptime: stream.ptime.map(millis),
            tl_byte: stream.bytes,
            total_pk: stream.packets,
            expected_pk: stream.expected,
            packet_loss: stream.lost,
            jitter: stream.jitter.map(|jitter| millis(jitter.last)),
            mean_jitter: stream.jitter.map(|jitter| millis(jitter.mean)),
            max_jitter: stream.jitter.map(|jitter| millis(jitter.max)),
            mos: stream.mos.map(|mos| mos.lq),
            min_mos: stream.mos.and_then(|mos| mos.min_window),
            rfactor: stream.r_factor,
        },
        out,
    );
}

impl RtcpReport {
    fn of(report: &Report<'_>) -> Self {
        let report_blocks: Vec<Block> = report.blocks.clone().map(|block| Block::of(&block)).collect();
        Self {
            packet_type: if report.sender.is_some() { 200 } else { 201 },
            ssrc: report.ssrc,
            report_count: report_blocks.len(),
            sender_information: report.sender.map(|sender| Sender {
                ntp_timestamp_sec: sender.ntp.seconds,
                // Whatever the name says, agents and rtpengine put the fraction itself here.
                ntp_timestamp_usec: sender.ntp.fraction,
                rtp_timestamp: sender.rtp_timestamp,
                packets: sender.packets,
                octets: sender.octets,
            }),
            report_blocks,
        }
    }
}

impl Block {
    fn of(block: &ReportBlock) -> Self {
        Self {
            source_ssrc: block.ssrc,
            fraction_lost: block.fraction_lost,
            packets_lost: block.cumulative_lost,
            highest_seq_no: block.highest_sequence,
            ia_jitter: block.jitter,
            lsr: block.last_sr,
            dlsr: block.delay_since_last_sr,
        }
    }
}

/// Numbers and strings alone cannot fail to be written.
fn write(report: &impl Serialize, out: &mut Vec<u8>) {
    out.clear();
    if serde_json::to_writer(&mut *out, report).is_err() {
        out.clear();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::event::{Jitter, Mos};
    use crate::wire::Endpoint;

    #[test]
    fn a_sender_report_is_retold() {
        let mut packet = vec![0x81, 200, 0, 12, 0, 0, 0, 7];
        packet.extend([0, 0, 0, 9, 0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 50, 0, 0, 0x1f, 0x40]);
        packet.extend([0, 0, 0, 8, 26, 0xff, 0xff, 0xff, 0, 1, 0, 2, 0, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2]);
        let mut out = Vec::new();
        assert!(rtcp(&packet, &mut out));
        let told: Value = serde_json::from_slice(&out).unwrap();
        let block = json!({"source_ssrc": 8, "fraction_lost": 26, "packets_lost": -1, "highest_seq_no": 65538,
            "ia_jitter": 80, "lsr": 1, "dlsr": 2});
        let sender = json!({"ntp_timestamp_sec": 9, "ntp_timestamp_usec": 0x8000_0000_u32, "rtp_timestamp": 256,
            "packets": 50, "octets": 8000});
        let whole = json!({"type": 200, "ssrc": 7, "report_count": 1, "sender_information": sender,
            "report_blocks": [block]});
        assert_eq!(told, whole);
        assert!(!rtcp(b"\x80\xcb\x00\x01\x00\x00\x00\x07", &mut out), "a BYE reports nothing");
        assert!(!rtcp(b"noise", &mut out));
    }

    #[test]
    fn a_stream_is_told_in_milliseconds_and_without_what_was_not_measured() {
        let at = |port| Endpoint { ip: [192, 0, 2, 1].into(), port };
        let mut over = Stream::blank(at(4000), at(5000));
        over.call_id = Some("a@b".into());
        over.jitter = Some(Jitter { last: 0.001, mean: 0.002, max: 0.5 });
        over.mos = Some(Mos { lq: 4.1, cq: None, min_window: None });
        over.lost = 3;
        let mut out = Vec::new();
        stream(&over, &mut out);
        let told: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&told["MAX_JITTER"], &told["MOS"]), (&json!(500.0), &json!(4.1)));
        assert_eq!((&told["PACKET_LOSS"], &told["CORRELATION_ID"]), (&json!(3), &json!("a@b")));
        assert_eq!((told.get("RFACTOR"), told.get("MIN_MOS")), (None, None));
    }
}
