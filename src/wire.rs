//! Frames to datagrams: link layers, tunnels, IPv4 and IPv6, reassembly (DESIGN 3).
//!
//! ```text
//! Frame (link type, bytes) -> fast::slice  -> Datagram (plain Ethernet / IP / UDP)
//!                          \-> Decoder     -> Packet (everything else: addresses, transport payload)
//! ```

pub mod sctp;
pub mod tcp;
pub mod ws;

use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

use crate::Stamp;

pub(crate) mod checksum;
mod cursor;
mod decoder;
mod defrag;
mod ether;
pub mod fast;
mod ip;
pub(crate) mod tunnel;

pub use decoder::{Counters, Decoder, Skip};

/// One captured frame, borrowed from the source's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When the tap saw it.
    pub stamp: Stamp,
    /// Link type as in pcap files (LINKTYPE_*).
    pub link: LinkType,
    /// Capture interface: number of the pcapng interface, or kernel ifindex; 0 where there is only one.
    pub interface: u32,
    /// Length on the wire in bytes; more than `bytes.len()` when the snap length cut the frame.
    pub wire_len: u32,
    /// The captured bytes.
    pub bytes: &'a [u8],
}

/// A LINKTYPE_ number (`pcap-linktype(7)`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: address family in the byte order of the host.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP, with or without address and control fields.
    pub const PPP: Self = Self(9);
    /// Raw IP, as some systems write their DLT_RAW.
    pub const DLT_RAW: Self = Self(12);
    /// The same of OpenBSD.
    pub const DLT_RAW_OPENBSD: Self = Self(14);
    /// PPP in HDLC-like framing, or Cisco HDLC.
    pub const PPP_HDLC: Self = Self(50);
    /// PPPoE, from its header on.
    pub const PPP_ETHER: Self = Self(51);
    /// Raw IP, either version.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback: address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture.
    pub const LINUX_SLL: Self = Self(113);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);
}

/// An IP address and a port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Endpoint {
    /// IPv4 or IPv6 address; never an IPv4-mapped IPv6 address.
    pub ip: IpAddr,
    /// UDP, TCP or SCTP port.
    pub port: u16,
}

/// `192.0.2.1:5060`, `[2001:db8::1]:5060`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            IpAddr::V4(ip) => write!(f, "{ip}:{}", self.port),
            IpAddr::V6(ip) => write!(f, "[{ip}]:{}", self.port),
        }
    }
}

/// IPv4 digit by digit: each entry of a report has two endpoints, and general formatting would be a sixth of its cost.
impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Aligned and filled up, it is seen to be UTF-8 a word at a time.
        #[repr(align(8))]
        struct Text([u8; 32]);

        let IpAddr::V4(ip) = self.ip else { return serializer.collect_str(self) };
        let (mut text, mut len) = (Text([b' '; 32]), 0);
        for octet in ip.octets() {
            let (digits, count) = OCTETS[usize::from(octet)];
            text.0.get_mut(len..len + digits.len()).into_iter().for_each(|at| at.copy_from_slice(&digits));
            len += count;
        }
        text.0.get_mut(len - 1).into_iter().for_each(|mark| *mark = b':');
        let digits = 1 + self.port.checked_ilog10().unwrap_or(0) as usize;
        let mut rest = self.port;
        for digit in text.0.get_mut(len..len + digits).into_iter().flatten().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        len += digits;
        let text = std::str::from_utf8(&text.0).ok().and_then(|text| text.get(..len));
        serializer.serialize_str(text.unwrap_or_default())
    }
}

/// `0.` to `255.`, and how long that is.
const OCTETS: [([u8; 4], usize); 256] = {
    let mut octets = [([b'.'; 4], 0); 256];
    let mut octet = 0;
    while octet < octets.len() {
        let count = if octet > 99 {
            3
        } else if octet > 9 {
            2
        } else {
            1
        };
        let (mut place, mut rest) = (count, octet);
        while place > 0 {
            place -= 1;
            octets[octet].0[place] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        octets[octet].1 = count + 1;
        octet += 1;
    }
    octets
};

/// What a decoded packet carries above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A UDP datagram.
    Udp,
    /// A TCP segment.
    Tcp {
        /// Sequence number of the first payload byte (of the SYN itself when `syn`).
        seq: u32,
        /// SYN flag.
        syn: bool,
        /// FIN flag.
        fin: bool,
        /// RST flag.
        rst: bool,
    },
    /// An SCTP packet; the payload is its chunks.
    Sctp,
}

/// One packet above IP, after tunnels and reassembly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// Sender.
    pub source: Endpoint,
    /// Receiver.
    pub destination: Endpoint,
    /// Transport and what matters of its header.
    pub transport: Transport,
    /// Transport payload as far as it was captured.
    pub payload: &'a [u8],
    /// Payload bytes that were on the wire but not captured.
    pub cut: u32,
    /// IPv4 identification; `None` for IPv6 without fragment header.
    pub ip_id: Option<u16>,
    /// Differentiated services code point of the innermost IP header.
    pub dscp: u8,
    /// Capture interface, refined by the link layer where it names one (SLL2).
    pub interface: u32,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// forall endpoints: serialised == displayed.
        #[test]
        fn an_endpoint_is_serialised_as_it_is_displayed(ip in any::<IpAddr>(), port in any::<u16>()) {
            let endpoint = Endpoint { ip, port };
            prop_assert_eq!(serde_json::to_string(&endpoint).unwrap(), format!("\"{endpoint}\""));
        }
    }
}
