//! What the rings hold of one call, and the file that is made of it.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use super::blank;
use super::packet::{Datagram, MOST_UDP, Place};
use super::page::{Ended, Header, Message, name, serial};
use super::pcapng::{Pcapng, packet_bytes};
use super::rings::{Messages, Rings};
use crate::Stamp;
use crate::event::{Call, CallResult, FlowName, MirrorKind, Missing};
use crate::export::trace_id::TraceId;
use crate::trace::Sampling;
use crate::wire::Endpoint;

/// Everything that is known of a call that was bad.
#[derive(Debug)]
pub(super) struct Case<'a> {
    call: &'a Call,
    trace: TraceId,
    records: Vec<(Stamp, Record<'a>)>,
    /// What is missing, in words.
    gaps: Vec<String>,
    /// Why it was bad.
    why: String,
}

#[derive(Clone, Copy, Debug)]
enum Record<'a> {
    Message(&'a Message, &'a [u8]),
    Header(Header, &'a Ended),
}

/// How many of each there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) sip: u64,
    pub(super) rtcp: u64,
    pub(super) rtp: u64,
}

impl<'a> Case<'a> {
    /// `None`: there is nothing of it any more. Of a call that has more than fits into a file of `room` bytes, the last
    /// media are there.
    pub(super) fn of(rings: &'a Rings, call: &'a Call, sampling: Sampling, room: usize) -> Option<Self> {
        // Call-IDs are used again by some; legs may have begun a moment before the one that gave its name.
        let from = call.start.plus_nanos(-BEFORE_NANOS);
        let end = call.end.unwrap_or(Stamp(u64::MAX));
        let streams: Vec<&Ended> = call.streams.iter().filter_map(|id| rings.stream(serial(id)?)).collect();
        let mut records = messages(rings, call, from, &streams);
        let mut gaps = Vec::new();
        if let Some(until) = rings.sip.begins_after(call.start) {
            gaps.push(format!(
                "SIP and RTCP up to {until} may be missing: overwritten before the call was over"
            ));
        }
        if rings.sip.missed(call.start, end) + rings.rtp.missed(call.start, end) > 0 {
            gaps.push("packets are missing: more came than could be written down".into());
        }
        if rings.rtp.is_on() {
            let unknown = call.streams.len() - streams.len();
            if unknown > 0 {
                gaps.push(format!(
                    "{unknown} of {} streams are missing: they ended long ago",
                    call.streams.len()
                ));
            }
            if let Some(until) = rings.rtp.begins_after(call.start).filter(|_| !streams.is_empty()) {
                gaps.push(format!("RTP up to {until} may be missing: overwritten before the call was over"));
            }
            let mut headers = headers(rings, from, &streams);
            let used: usize = records.iter().map(|(_, record)| record.bytes()).sum();
            let fit = room.saturating_sub(used + HEAD_BYTES) / packet_bytes(RTP_BYTES);
            if headers.len() > fit {
                headers.sort_by_key(|(stamp, _)| *stamp);
                let left_out = headers.len() - fit;
                headers.drain(..left_out);
                gaps.push(format!(
                    "the first {left_out} RTP packets are left out: the file would be too large"
                ));
            }
            records.append(&mut headers);
        } else if !call.streams.is_empty() {
            gaps.push("RTP is not recorded: evidence.rtp_bytes is 0".into());
        }
        // Of those of the same moment, SIP comes first.
        records.sort_by_key(|(stamp, _)| *stamp);
        let trace = trace_of(call);
        let why = why(call, sampling);
        (!records.is_empty()).then_some(Self { call, trace, records, gaps, why })
    }

    /// Its trace, by which its file is called.
    pub(super) fn trace(&self) -> TraceId {
        self.trace
    }

    /// Nothing is known to be missing.
    pub(super) fn is_whole(&self) -> bool {
        self.gaps.is_empty()
    }

    /// Why it was bad.
    pub(super) fn why(&self) -> &str {
        &self.why
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (_, record) in &self.records {
            match record {
                Record::Message(Message { kind: MirrorKind::Sip, .. }, _) => counts.sip += 1,
                Record::Message(Message { kind: MirrorKind::Rtcp, .. }, _) => counts.rtcp += 1,
                Record::Header(..) => counts.rtp += 1,
            }
        }
        counts
    }

    /// The file.
    pub(super) fn file(&self) -> Vec<u8> {
        let mut file = Pcapng::default();
        file.section(&self.comment());
        file.interface("sip", "SIP and RTCP, headers made anew by sidetone");
        // Copies of a packet are known by their interfaces.
        let mut interfaces: Vec<u16> = Vec::new();
        for (_, record) in &self.records {
            if let Record::Header(header, _) = record
                && !interfaces.contains(&{ header.interface })
                && interfaces.len() < MOST_INTERFACES
            {
                interfaces.push(header.interface);
                let name = format!("rtp{}", { header.interface });
                file.interface(&name, "RTP without its payload, headers made anew by sidetone");
            }
        }
        let mut bytes = Vec::new();
        let mut text = Vec::new();
        let mut streams = Streams::default();
        for (stamp, record) in &self.records {
            match record {
                Record::Header(header, ended) => {
                    let place = interfaces.iter().position(|known| *known == { header.interface });
                    let wire = rtp(header, ended, &mut bytes);
                    file.packet(place.map_or(0, |place| place as u32 + 1), *stamp, wire, &bytes);
                }
                Record::Message(message, said) => {
                    text.clear();
                    text.extend_from_slice(said);
                    if message.kind == MirrorKind::Sip {
                        blank::secrets(&mut text);
                    }
                    streams.write(message, &text, &mut bytes, &mut |wire, bytes| {
                        file.packet(0, *stamp, wire, bytes);
                    });
                }
            }
        }
        file.0
    }

    /// For people; [`read`] reads its own lines.
    fn comment(&self) -> String {
        let Self { call, trace, gaps, why, .. } = self;
        let mut comment = format!("sidetone: evidence of a bad call\nwhy: {why}\ntrace_id: {trace}\n");
        for call_id in call.call_ids.iter().take(MOST_CALL_IDS) {
            let _ = writeln!(comment, "{CALL_ID}{}", printable(call_id));
        }
        let _ = writeln!(comment, "start: {}", call.start);
        if let Some(end) = call.end {
            let _ = writeln!(comment, "end: {end}");
        }
        comment.push_str("RTP is without payload; credentials, keys and what was typed are blanked\n");
        for gap in gaps {
            let _ = writeln!(comment, "incomplete: {gap}");
        }
        comment
    }
}

impl Record<'_> {
    /// About what it takes in the file.
    fn bytes(&self) -> usize {
        match self {
            Self::Message(_, bytes) => packet_bytes(bytes.len() + 60),
            Self::Header(..) => packet_bytes(RTP_BYTES),
        }
    }
}

/// The names of a file, of its comment: traces and Call-IDs as ids of traces.
pub(super) fn names(comment: &str) -> impl Iterator<Item = String> {
    comment.lines().filter_map(|line| match (line.strip_prefix(CALL_ID), line.strip_prefix(TRACE)) {
        (Some(call_id), _) => Some(TraceId::of_call_id(call_id).to_string()),
        (_, trace) => trace.map(str::to_owned),
    })
}

/// SIP by Call-ID, RTCP by that or by where it went. What was seen both on the wire and by HEP is there once.
fn messages<'a>(rings: &'a Rings, call: &Call, from: Stamp, streams: &[&Ended]) -> Vec<(Stamp, Record<'a>)> {
    let mut names: Vec<u64> = call.call_ids.iter().map(|call_id| name(call_id.as_bytes())).collect();
    names.push(name(call.call_id.as_bytes()));
    let control = |at: Endpoint| Endpoint { port: at.port.wrapping_add(1), ..at };
    let mut media: HashSet<(Endpoint, Endpoint)> = HashSet::new();
    for Ended { source, destination, .. } in streams {
        for (one, other) in [(*source, *destination), (control(*source), control(*destination))] {
            media.extend([(one, other), (other, one)]);
        }
    }
    let all = rings.sip.since(from).flat_map(Messages::iter);
    let mut found: Vec<(&Message, &[u8])> = all
        .filter(|(message, _)| {
            message.stamp >= from
                && (names.contains(&message.name)
                    || message.kind == MirrorKind::Rtcp
                        && media.contains(&(message.source, message.destination)))
        })
        .collect();
    let on_wire: HashSet<_> = found
        .iter()
        .filter(|(message, _)| !message.retold)
        .map(|(message, bytes)| (message.source, message.destination, *bytes))
        .collect();
    found.retain(|(message, bytes)| {
        !message.retold || !on_wire.contains(&(message.source, message.destination, *bytes))
    });
    found.into_iter().map(|(message, bytes)| (message.stamp, Record::Message(message, bytes))).collect()
}

fn headers<'a>(rings: &'a Rings, from: Stamp, streams: &[&'a Ended]) -> Vec<(Stamp, Record<'a>)> {
    let flows: HashMap<FlowName, &Ended> = streams.iter().map(|ended| (ended.flow, *ended)).collect();
    if flows.is_empty() {
        return Vec::new();
    }
    let all = rings.rtp.since(from).flat_map(|headers| headers.iter());
    all.filter(|header| { header.stamp } >= from)
        .filter_map(|header| {
            let ended = flows.get(&{ header.flow })?;
            Some(({ header.stamp }, Record::Header(*header, ended)))
        })
        .collect()
}

/// IP, UDP and the twelve bytes of RTP; its length on the wire. What is not shown is not announced either: extensions
/// and contributing sources.
fn rtp(header: &Header, ended: &Ended, to: &mut Vec<u8>) -> usize {
    let mut bytes = [0; RTP_HEADER];
    bytes[..2].copy_from_slice(&[VERSION_2, header.marker_and_type]);
    bytes[2..4].copy_from_slice(&{ header.seq }.to_be_bytes());
    bytes[4..8].copy_from_slice(&{ header.ticks }.to_be_bytes());
    bytes[8..].copy_from_slice(&ended.ssrc.to_be_bytes());
    let datagram = Datagram {
        source: ended.source,
        destination: ended.destination,
        ip_id: header.ip_id,
        dscp: ended.dscp,
        payload: &bytes,
        length: usize::from(header.length).max(RTP_HEADER),
    };
    datagram.udp(to)
}

/// How far each direction of TCP has come.
#[derive(Default)]
struct Streams(HashMap<(Endpoint, Endpoint), u32>);

impl Streams {
    /// A message as it went: in a datagram, or in segments of TCP. What came by HEP is in a datagram: it went encrypted,
    /// and its port would say so.
    fn write(
        &mut self,
        message: &Message,
        text: &[u8],
        bytes: &mut Vec<u8>,
        put: &mut dyn FnMut(usize, &[u8]),
    ) {
        let Message { source, destination, .. } = *message;
        let datagram = |payload| Datagram {
            source,
            destination,
            ip_id: 0,
            dscp: 0,
            payload,
            length: <[u8]>::len(payload),
        };
        let is_tcp = message.protocol == TCP && !message.retold;
        if !is_tcp && text.len() <= MOST_UDP {
            let wire = datagram(text).udp(bytes);
            return put(wire, bytes);
        }
        for part in text.chunks(SEGMENT) {
            let acknowledged = self.0.get(&(destination, source)).copied().unwrap_or(1);
            let sequence = self.0.entry((source, destination)).or_insert(1);
            let wire = datagram(part).tcp(bytes, Place { sequence: *sequence, acknowledged });
            *sequence = sequence.wrapping_add(part.len() as u32);
            put(wire, bytes);
        }
    }
}

fn trace_of(call: &Call) -> TraceId {
    let brought = call.traceparent.as_deref().and_then(TraceId::of_traceparent);
    brought.unwrap_or_else(|| TraceId::of_call_id(&call.call_id))
}

/// The reasons of [`Sampling::is_bad`], in words.
fn why(call: &Call, sampling: Sampling) -> String {
    let mut why = Vec::new();
    if let Some(result) = call.result
        && matches!(result, CallResult::Failed | CallResult::Timeout | CallResult::NoFinal)
    {
        why.push(match call.status {
            Some(status) => format!("{} {status}", result.name()),
            None => result.name().to_owned(),
        });
    }
    why.extend(call.one_way.map(|missing| match missing {
        Missing::ToCaller => "nothing heard by the caller".to_owned(),
        Missing::ToCallee => "nothing heard by the callee".to_owned(),
    }));
    if call.dead_air == Some(true) {
        why.push("silence both ways".into());
    }
    if let Some(mos) = call.mos.filter(|mos| *mos < sampling.mos_bound) {
        why.push(format!("MOS {mos:.2} below {:.2}", sampling.mos_bound));
    }
    why.join(", ")
}

/// In one line of the comment.
fn printable(text: &str) -> String {
    text.chars().take(LONGEST_CALL_ID).map(|c| if c.is_control() { '?' } else { c }).collect()
}

const CALL_ID: &str = "call_id: ";
const TRACE: &str = "trace_id: ";
const BEFORE_NANOS: i64 = 10_000_000_000;
const RTP_HEADER: usize = 12;
/// With headers of IPv4 and UDP; of IPv6 it is 20 more.
const RTP_BYTES: usize = 20 + 8 + RTP_HEADER;
const VERSION_2: u8 = 0x80;
const TCP: u8 = 6;
const SEGMENT: usize = 32 << 10;
/// The section and its interfaces.
const HEAD_BYTES: usize = 64 << 10;
const MOST_INTERFACES: usize = 64;
const MOST_CALL_IDS: usize = 32;
const LONGEST_CALL_ID: usize = 512;

#[cfg(test)]
mod tests;
