//! Frames made by hand: calls and media that no plan describes.
//!
//! ```text
//! Scene::sip, ::udp, ::rtp, ::media -> frames, in order of time -> Scene::measured
//! ```

use std::net::{IpAddr, SocketAddr};

use sidetone::observer::{Observer, Settings};
use sidetone::stamp::Stamp;
use sidetone::wire::{Frame, LinkType};

use crate::measured::Measured;

/// A capture in the making. Times are nanoseconds after its beginning.
#[derive(Clone, Default)]
pub(crate) struct Scene {
    pub(crate) frames: Vec<Captured>,
    ip_id: u16,
}

/// One frame and the interface that saw it.
#[derive(Clone)]
pub(crate) struct Captured {
    pub(crate) at: i64,
    pub(crate) interface: u32,
    pub(crate) bytes: Vec<u8>,
}

/// A call between two phones and where each wants its media.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) id: &'static str,
    pub(crate) caller: &'static str,
    pub(crate) callee: &'static str,
    pub(crate) caller_media: &'static str,
    pub(crate) callee_media: &'static str,
    /// Profile and formats of the `m=` line.
    pub(crate) formats: &'static str,
    /// Further lines of the description.
    pub(crate) lines: &'static str,
}

/// A plain stream.
#[derive(Clone, Copy)]
pub(crate) struct Media {
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    /// Time-stamp ticks and bytes a packet of 20 ms.
    pub(crate) ticks: u32,
    pub(crate) bytes: usize,
}

pub(crate) const CALL: Call = Call {
    id: "first",
    caller: "10.1.0.1:5060",
    callee: "198.51.100.2:5060",
    caller_media: "10.1.0.1:16384",
    callee_media: "198.51.100.2:30000",
    formats: "RTP/AVP 0 111 13 101",
    lines: "a=rtpmap:0 PCMU/8000\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n",
};

pub(crate) const TO_CALLEE: Media = Media {
    from: CALL.caller_media,
    to: CALL.callee_media,
    ssrc: 0x1111_0001,
    payload_type: 0,
    sequence: 5_000,
    timestamp: 700_000,
    ticks: 160,
    bytes: 160,
};

pub(crate) const TO_CALLER: Media = Media {
    from: CALL.callee_media,
    to: CALL.caller_media,
    ssrc: 0x2222_0002,
    sequence: 40_000,
    timestamp: 3_000_000,
    ..TO_CALLEE
};

pub(crate) const SECOND: i64 = 1_000_000_000;
pub(crate) const MS: i64 = 1_000_000;

impl Scene {
    pub(crate) fn udp(&mut self, at: i64, from: &str, to: &str, payload: &[u8]) {
        self.ip_id = self.ip_id.wrapping_add(1).max(1);
        let bytes = ethernet(from.parse().unwrap(), to.parse().unwrap(), self.ip_id, payload);
        self.frames.push(Captured { at, interface: 0, bytes });
    }

    pub(crate) fn rtp(&mut self, at: i64, media: &Media, number: u32) {
        let sequence = media.sequence.wrapping_add(number as u16);
        let timestamp = media.timestamp.wrapping_add(number.wrapping_mul(media.ticks));
        let payload: Vec<u8> = (0..media.bytes as u32).map(|i| noise(media.ssrc, number, i)).collect();
        self.udp(at, media.from, media.to, &rtp(media, sequence, timestamp, &payload));
    }

    /// Packets number `from` to `to` of a stream, 20 ms apart, the first one at `at`.
    pub(crate) fn media(&mut self, at: i64, media: &Media, from: u32, to: u32) {
        for number in from..to {
            self.rtp(at + i64::from(number - from) * 20 * MS, media, number);
        }
    }

    /// INVITE at `at`, 200 after 200 ms, ACK 50 ms later.
    pub(crate) fn answered(&mut self, at: i64, call: &Call) {
        self.invite(at, call, 1, "sendrecv");
        self.response(at + 100 * MS, call, "180 Ringing", 1, None);
        self.response(at + 200 * MS, call, "200 OK", 1, Some("sendrecv"));
        self.request(at + 250 * MS, call, "ACK", 1, "");
    }

    /// The description has this direction; a CSeq above 1 makes it a re-INVITE.
    pub(crate) fn invite(&mut self, at: i64, call: &Call, cseq: u32, direction: &str) {
        let body = call.describe(call.caller_media, direction);
        self.request(at, call, "INVITE", cseq, &body);
    }

    pub(crate) fn request(&mut self, at: i64, call: &Call, method: &str, cseq: u32, body: &str) {
        let text =
            format!("{method} sip:b@{} SIP/2.0\r\n{}", call.callee, call.rest(method, cseq, false, body));
        self.udp(at, call.caller, call.callee, text.as_bytes());
    }

    pub(crate) fn response(
        &mut self,
        at: i64,
        call: &Call,
        status: &str,
        cseq: u32,
        direction: Option<&str>,
    ) {
        let body = direction.map_or(String::new(), |direction| call.describe(call.callee_media, direction));
        let text = format!("SIP/2.0 {status}\r\n{}", call.rest("INVITE", cseq, true, &body));
        self.udp(at, call.callee, call.caller, text.as_bytes());
    }

    /// BYE of the caller, answered 20 ms later.
    pub(crate) fn bye(&mut self, at: i64, call: &Call) {
        self.request(at, call, "BYE", 9, "");
        let text = format!("SIP/2.0 200 OK\r\n{}", call.rest("BYE", 9, true, ""));
        self.udp(at + 20 * MS, call.callee, call.caller, text.as_bytes());
    }

    /// Every frame once more, seen `behind` nanoseconds later on `interface`.
    pub(crate) fn twice(&self, behind: i64, interface: u32) -> Self {
        let copies = self.frames.iter().map(|frame| Captured {
            at: frame.at + behind,
            interface,
            bytes: frame.bytes.clone(),
        });
        Self { frames: self.frames.iter().cloned().chain(copies).collect(), ip_id: self.ip_id }
    }

    /// The same frames, each changed.
    pub(crate) fn changed(&self, change: impl Fn(&mut Vec<u8>)) -> Self {
        let mut scene = self.clone();
        scene.frames.iter_mut().for_each(|frame| change(&mut frame.bytes));
        scene
    }

    pub(crate) fn measured(&self) -> Measured {
        self.measured_snapped(usize::MAX)
    }

    /// As a capture with this snap length.
    pub(crate) fn measured_snapped(&self, snap: usize) -> Measured {
        let mut captured: Vec<&Captured> = self.frames.iter().collect();
        captured.sort_by_key(|frame| frame.at);
        let frames: Vec<Frame<'_>> = captured
            .into_iter()
            .map(|frame| Frame {
                stamp: Stamp(BEGINNING.saturating_add_signed(frame.at)),
                link: LinkType::ETHERNET,
                interface: frame.interface,
                wire_len: frame.bytes.len() as u32,
                bytes: &frame.bytes[..frame.bytes.len().min(snap)],
            })
            .collect();
        let mut measured = Measured::default();
        let mut observer = Observer::new(Settings::default());
        observer.packets(&frames, &mut |event| measured.take(event));
        observer.finish(&mut |event| measured.take(event));
        measured.totals = observer.totals();
        measured
    }
}

impl Call {
    pub(crate) fn describe(&self, media: &str, direction: &str) -> String {
        let media: SocketAddr = media.parse().unwrap();
        let (ip, port) = (media.ip(), media.port());
        let version = if ip.is_ipv6() { 6 } else { 4 };
        format!(
            "v=0\r\no=- 1 1 IN IP{version} {ip}\r\ns=-\r\nc=IN IP{version} {ip}\r\nt=0 0\r\n\
             m=audio {port} {}\r\n{}a={direction}\r\n",
            self.formats, self.lines
        )
    }

    pub(crate) fn rest(&self, method: &str, cseq: u32, response: bool, body: &str) -> String {
        let tagged = response || cseq > 1 || method == "ACK";
        format!(
            "Via: SIP/2.0/UDP {};branch=z9hG4bK{}{}{cseq}\r\nFrom: <sip:a@example.com>;tag=a{}\r\n\
             To: <sip:b@example.com>{}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n\
             Contact: <sip:x@{}>\r\n{}Content-Length: {}\r\n\r\n{body}",
            self.caller,
            self.id,
            if method == "ACK" { "ack" } else { method },
            self.id,
            if tagged { format!(";tag=b{}", self.id) } else { String::new() },
            self.id,
            if response { self.callee } else { self.caller },
            if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" },
            body.len(),
        )
    }
}

/// An RTP packet without marker.
pub(crate) fn rtp(media: &Media, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, media.payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(media.ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

/// Puts an 802.1Q tag into an Ethernet frame.
pub(crate) fn tag(frame: &mut Vec<u8>) {
    frame.splice(12..12, [0x81, 0x00, 0x00, 0x2a]);
}

/// Loud in either law of G.711, and different in each packet.
fn noise(ssrc: u32, number: u32, i: u32) -> u8 {
    let mut mixed =
        (ssrc ^ number.wrapping_mul(0x9e37_79b9) ^ i.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0xc2b2_ae35);
    mixed ^= mixed >> 15;
    (mixed as u8 & 0x8f) | 0x10
}

/// Ethernet, IPv4 or IPv6, UDP; no checksums, as behind an offloading card.
fn ethernet(from: SocketAddr, to: SocketAddr, ip_id: u16, payload: &[u8]) -> Vec<u8> {
    let udp_length = 8 + payload.len() as u16;
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            frame.extend([0x08, 0x00, 0x45, 0xb8]);
            frame.extend((20 + udp_length).to_be_bytes());
            frame.extend(ip_id.to_be_bytes());
            frame.extend([0, 0, 64, 17, 0, 0]);
            frame.extend(from.octets());
            frame.extend(to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            frame.extend([0x86, 0xdd, 0x6b, 0x80, 0, 0]);
            frame.extend(udp_length.to_be_bytes());
            frame.extend([17, 64]);
            frame.extend(from.octets());
            frame.extend(to.octets());
        }
        _ => unreachable!("both ends are of one family"),
    }
    frame.extend(from.port().to_be_bytes());
    frame.extend(to.port().to_be_bytes());
    frame.extend(udp_length.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

/// 2026-01-01T00:00:00Z.
const BEGINNING: u64 = 1_767_225_600_000_000_000;
