//! What the capture thread writes down, a page at a time. Its room is used again: nothing is allocated for a packet.

use foldhash::fast::FixedState;
use std::hash::BuildHasher;

use crate::Stamp;
use crate::event::{Call, FlowName, Heard, MirrorKind, Mirrored, Stream};
use crate::wire::Endpoint;

/// Everything of a short time, in the order in which it came.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// SIP and RTCP.
    pub(super) messages: Vec<Message>,
    /// Their bytes.
    pub(super) bytes: Vec<u8>,
    /// RTP.
    pub(super) headers: Vec<Header>,
    /// Streams that are over.
    pub(super) streams: Vec<Ended>,
    /// Calls that are over and were bad.
    pub(super) bad: Vec<Call>,
    /// What found no page before this one.
    pub(super) missed: u32,
}

/// A message in [`Page::bytes`].
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) stamp: Stamp,
    pub(super) source: Endpoint,
    pub(super) destination: Endpoint,
    pub(super) kind: MirrorKind,
    /// IP protocol that carried it.
    pub(super) protocol: u8,
    /// It came by HEP.
    pub(super) retold: bool,
    /// Of its Call-ID; of SIP it is found when the page is read.
    pub(super) name: u64,
    pub(super) at: u32,
    pub(super) length: u32,
}

/// [`Heard`] without holes: there are millions of them.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(2))]
pub(super) struct Header {
    pub(super) stamp: Stamp,
    pub(super) flow: FlowName,
    pub(super) ticks: u32,
    pub(super) seq: u16,
    pub(super) length: u16,
    pub(super) ip_id: u16,
    pub(super) interface: u16,
    pub(super) marker_and_type: u8,
}

/// A stream that is over, and what its packets are called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// Number behind the `s` of its id.
    pub(super) serial: u32,
    pub(super) flow: FlowName,
    pub(super) ssrc: u32,
    pub(super) source: Endpoint,
    pub(super) destination: Endpoint,
    pub(super) dscp: u8,
}

impl Page {
    /// As large as pages are; the first time that it is used.
    pub(super) fn prepare(&mut self, rtp: bool) {
        self.messages.reserve(MESSAGES);
        self.bytes.reserve(BYTES);
        self.headers.reserve(if rtp { HEADERS } else { 0 });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.headers.is_empty() && self.streams.is_empty() && self.bad.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.bytes.clear();
        self.headers.clear();
        self.streams.clear();
        self.bad.clear();
        self.missed = 0;
    }

    /// Whether a message of so many bytes can be put down.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.messages.len() < MESSAGES && self.bytes.len() + bytes <= BYTES
    }

    #[inline]
    pub(super) fn has_room_for_header(&self) -> bool {
        self.headers.len() < HEADERS
    }

    /// Whether streams and calls that are over can be put down.
    pub(super) fn has_room_for_facts(&self) -> bool {
        self.streams.len() < FACTS && self.bad.len() < FACTS
    }

    pub(super) fn put(&mut self, message: &Mirrored<'_>, retold: bool) {
        self.messages.push(Message {
            stamp: message.stamp,
            source: message.source,
            destination: message.destination,
            kind: message.kind,
            protocol: message.protocol,
            retold,
            name: if message.call_id.is_empty() { 0 } else { name(message.call_id.as_bytes()) },
            at: self.bytes.len() as u32,
            length: message.bytes.len() as u32,
        });
        self.bytes.extend_from_slice(message.bytes);
    }
}

impl Header {
    #[inline]
    pub(super) fn of(heard: &Heard) -> Self {
        let Heard { stamp, flow, ticks, seq, length, ip_id, interface, marker_and_type } = *heard;
        Self { stamp, flow, ticks, seq, length, ip_id, interface, marker_and_type }
    }
}

impl Ended {
    /// `None`: its names are not those that are given here.
    pub(super) fn of(stream: &Stream) -> Option<Self> {
        Some(Self {
            serial: serial(&stream.id)?,
            flow: stream.flow,
            ssrc: u32::from_str_radix(stream.ssrc.strip_prefix("0x")?, 16).ok()?,
            source: stream.source,
            destination: stream.destination,
            dscp: stream.dscp,
        })
    }
}

/// The number of a stream, of its id.
pub(super) fn serial(id: &str) -> Option<u32> {
    id.strip_prefix('s')?.parse().ok()
}

/// Of a Call-ID. Whoever makes two alike has a few messages of a foreign call in his file; it is not a key of a table.
pub(super) fn name(call_id: &[u8]) -> u64 {
    FixedState::with_seed(0).hash_one(call_id)
}

/// Of a page: the largest datagram must fit.
pub(super) const BYTES: usize = 64 << 10;
const MESSAGES: usize = 256;
/// 256 KiB of them.
pub(super) const HEADERS: usize = 10_000;
const FACTS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_takes_no_more_than_it_says() {
        assert_eq!(size_of::<Header>(), 26);
    }
}
