//! The general way from a frame to a packet: any layers, then reassembly, then any layers again.

use serde::{Serialize, Serializer};

use super::cursor::{Cursor, Found, Layer, outermost, walk};
use super::defrag::{Defrag, Whole};
use super::{Frame, Packet};
use crate::Stamp;
use crate::limits::Limits;

/// Decodes frames of every kind; its only state are the datagrams being reassembled.
#[derive(Debug)]
pub struct Decoder {
    defrag: Defrag,
    /// The datagram reassembled last, lent out as the payload of its packet.
    whole: Option<Whole>,
}

/// Why a frame gives no packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Skip {
    /// The link type is not known.
    Link,
    /// The captured bytes end inside a header, or inside a fragment.
    Truncated,
    /// Not IP: ARP, spanning tree, PPP control, an EtherType not followed ...
    NotIp,
    /// A fragment that waits for the rest of its datagram.
    Fragment,
    /// A fragment that contradicts itself or those before it.
    BadFragment,
    /// An IP header with a wrong version or length.
    BadIp,
    /// A TCP header with a wrong length.
    BadTransport,
    /// A tunnel or PPPoE header of an unknown version.
    BadTunnel,
    /// IP, but neither UDP, TCP nor SCTP: ICMP, IGMP, ESP, routing protocols ...
    Transport,
    /// More layers than are followed.
    Nesting,
}

/// What reassembly did, counted since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// IP fragments seen.
    pub fragments: u64,
    /// Datagrams put together.
    pub reassembled: u64,
    /// Incomplete datagrams dropped for want of room.
    pub evicted: u64,
    /// Incomplete datagrams given up after 30 s.
    pub timed_out: u64,
    /// Incomplete datagrams held now.
    pub pending: u64,
}

impl Decoder {
    /// An empty decoder, bounded by `fragments` and `fragment_bytes` of the limits.
    pub fn new(limits: &Limits) -> Self {
        Self { defrag: Defrag::new(limits), whole: None }
    }

    /// The packet of a frame, or of the datagram that this fragment completes.
    pub fn decode<'a>(&'a mut self, frame: &Frame<'a>) -> Result<Packet<'a>, Skip> {
        let at = Cursor {
            bytes: frame.bytes,
            cut: (frame.wire_len as usize).saturating_sub(frame.bytes.len()),
            bounded: false,
            layers: 0,
            interface: frame.interface,
        };
        let mut whole = match walk(at, outermost(frame.link)?)? {
            Found::Packet(packet) => return Ok(packet),
            Found::Fragment(fragment) => self.defrag.add(&fragment, frame.stamp)?,
        };
        // A reassembled tunnel packet may itself be a fragment.
        while let Found::Fragment(fragment) = whole.walk()? {
            whole = self.defrag.add(&fragment, frame.stamp)?;
        }
        // Walked once more so that the packet borrows from the decoder and not from this function.
        match self.whole.insert(whole).walk()? {
            Found::Packet(packet) => Ok(packet),
            Found::Fragment(_) => Err(Skip::Fragment),
        }
    }

    /// Gives up incomplete datagrams that are older than 30 s at `now`; [`Self::decode`] does so as well
    /// whenever it meets a fragment.
    pub fn expire(&mut self, now: Stamp) {
        self.defrag.expire(now);
    }

    /// What reassembly did so far.
    pub fn counters(&self) -> Counters {
        Counters { pending: self.defrag.pending() as u64, ..self.defrag.counters }
    }
}

impl Whole {
    fn walk(&self) -> Result<Found<'_>, Skip> {
        let at = Cursor {
            bytes: &self.bytes,
            cut: 0,
            bounded: true,
            layers: self.layers,
            interface: self.interface,
        };
        walk(at, Layer::Above(self.ip))
    }
}

impl Skip {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Link,
        Self::Truncated,
        Self::NotIp,
        Self::Fragment,
        Self::BadFragment,
        Self::BadIp,
        Self::BadTransport,
        Self::BadTunnel,
        Self::Transport,
        Self::Nesting,
    ];

    /// Name as in metrics and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Truncated => "truncated",
            Self::NotIp => "not_ip",
            Self::Fragment => "fragment",
            Self::BadFragment => "bad_fragment",
            Self::BadIp => "bad_ip",
            Self::BadTransport => "bad_transport",
            Self::BadTunnel => "bad_tunnel",
            Self::Transport => "transport",
            Self::Nesting => "nesting",
        }
    }

    /// Whether the frame could not be read; `false` when it was read and is none of ours, or is kept for later.
    pub fn undecoded(self) -> bool {
        !matches!(self, Self::NotIp | Self::Fragment | Self::Transport)
    }
}

impl Serialize for Skip {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_place_and_its_own_name() {
        for (index, skip) in Skip::ALL.iter().enumerate() {
            assert_eq!(*skip as usize, index);
            assert!(Skip::ALL[..index].iter().all(|other| other.name() != skip.name()));
        }
    }
}
