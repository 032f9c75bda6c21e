//! The shape of nearly every media packet, sliced by hand in a few nanoseconds.
//!
//! ```text
//! Ethernet, 0-3 VLAN tags / IPv4 with any IHL, or IPv6 without extension headers / UDP, no tunnel port
//! ```
//!
//! Everything else is `None` and belongs to [`Decoder`](super::Decoder), which gives the same answer wherever
//! [`slice`] gives one. Lengths are read laxly: capture sees packets before segmentation offload filled them
//! in, behind a snap length, and with Ethernet padding.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::tunnel;
use super::{Endpoint, Packet, Transport};

/// A UDP datagram as the hot path wants it: plain numbers and one borrow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram<'a> {
    /// Sender and receiver.
    pub addresses: Addresses,
    /// UDP source port.
    pub source_port: u16,
    /// UDP destination port.
    pub destination_port: u16,
    /// UDP payload as far as it was captured.
    pub payload: &'a [u8],
    /// Payload bytes that were on the wire but not captured.
    pub cut: u32,
    /// IPv4 identification; `None` for IPv6.
    pub ip_id: Option<u16>,
    /// Differentiated services code point.
    pub dscp: u8,
}

/// The two addresses of a datagram; the big-endian bytes read as a number for IPv4, as they are for IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Addresses {
    /// IPv4.
    V4 {
        /// Sender.
        source: u32,
        /// Receiver.
        destination: u32,
    },
    /// IPv6; never IPv4-mapped.
    V6 {
        /// Sender.
        source: [u8; 16],
        /// Receiver.
        destination: [u8; 16],
    },
}

/// The commonest frame of all: untagged Ethernet, IPv4 without options or fragments, UDP of a length that agrees
/// with that of IP, and room for an RTP header. What [`slice`] says of it, but for the port of a tunnel, which
/// is for the caller to know.
#[inline]
pub fn plain(frame: &[u8]) -> Option<Datagram<'_>> {
    let head = frame.first_chunk::<54>()?;
    let be16 = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let be32 = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (total_len, udp_len) = (usize::from(be16(16)), usize::from(be16(38)));
    let plain = be32(12) & 0xffff_ff00 == 0x0800_4500
        && be16(20) & MORE_FRAGMENTS_OR_OFFSET == 0
        && head[23] == UDP
        && udp_len >= 20
        && total_len == udp_len + 20;
    if !plain {
        return None;
    }
    let end = 14 + total_len;
    let (payload, cut) = match frame.get(42..end) {
        Some(payload) => (payload, 0),
        None => (frame.get(42..)?, end - frame.len()),
    };
    Some(Datagram {
        addresses: Addresses::V4 { source: be32(26), destination: be32(30) },
        source_port: be16(34),
        destination_port: be16(36),
        payload,
        cut: cut as u32,
        ip_id: Some(be16(18)),
        dscp: head[15] >> 2,
    })
}

/// Slices an Ethernet frame; `None` when it is not of the common shape, or damaged.
#[inline]
pub fn slice(frame: &[u8]) -> Option<Datagram<'_>> {
    let mut rest = frame.get(MAC_ADDRESSES..)?;
    for _ in 0..=VLAN_TAGS {
        let (ether_type, after) = rest.split_first_chunk::<2>()?;
        match u16::from_be_bytes(*ether_type) {
            0x0800 => return ipv4(after),
            0x86dd => return ipv6(after),
            0x8100 | 0x88a8 | 0x9100 => rest = after.get(2..)?,
            _ => return None,
        }
    }
    None
}

impl<'a> Datagram<'a> {
    /// The same as a [`Packet`] of the given capture interface.
    pub fn packet(&self, interface: u32) -> Packet<'a> {
        let (source, destination) = match self.addresses {
            Addresses::V4 { source, destination } => {
                (IpAddr::V4(Ipv4Addr::from(source)), IpAddr::V4(Ipv4Addr::from(destination)))
            }
            Addresses::V6 { source, destination } => {
                (IpAddr::V6(Ipv6Addr::from(source)), IpAddr::V6(Ipv6Addr::from(destination)))
            }
        };
        Packet {
            source: Endpoint { ip: source, port: self.source_port },
            destination: Endpoint { ip: destination, port: self.destination_port },
            transport: Transport::Udp,
            payload: self.payload,
            cut: self.cut,
            ip_id: self.ip_id,
            dscp: self.dscp,
            interface,
        }
    }
}

#[inline]
fn ipv4(bytes: &[u8]) -> Option<Datagram<'_>> {
    let header = bytes.first_chunk::<20>()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let fragment = u16::from_be_bytes([header[6], header[7]]) & MORE_FRAGMENTS_OR_OFFSET;
    if header[0] >> 4 != 4 || header_len < 20 || header[9] != UDP || fragment != 0 {
        return None;
    }
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let addresses = Addresses::V4 {
        source: u32::from_be_bytes([header[12], header[13], header[14], header[15]]),
        destination: u32::from_be_bytes([header[16], header[17], header[18], header[19]]),
    };
    let ip_id = u16::from_be_bytes([header[4], header[5]]);
    udp(bytes.get(header_len..)?, total_len.checked_sub(header_len), addresses, Some(ip_id), header[1] >> 2)
}

#[inline]
fn ipv6(bytes: &[u8]) -> Option<Datagram<'_>> {
    let (header, body) = bytes.split_first_chunk::<40>()?;
    if header[0] >> 4 != 6 || header[6] != UDP {
        return None;
    }
    let (source, destination) = (*header[8..].first_chunk::<16>()?, *header[24..].first_chunk::<16>()?);
    if is_ipv4_mapped(source) || is_ipv4_mapped(destination) {
        return None;
    }
    let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let dscp = (header[0] << 2 | header[1] >> 6) & 0x3f;
    udp(body, (payload_len != 0).then_some(payload_len), Addresses::V6 { source, destination }, None, dscp)
}

/// `ip_len` is the length of the IP payload on the wire, `None` when the header does not tell.
#[inline]
fn udp(
    bytes: &[u8],
    ip_len: Option<usize>,
    addresses: Addresses,
    ip_id: Option<u16>,
    dscp: u8,
) -> Option<Datagram<'_>> {
    let (header, body) = bytes.split_first_chunk::<8>()?;
    let destination_port = u16::from_be_bytes([header[2], header[3]]);
    if tunnel::is_udp_port(destination_port) {
        return None;
    }
    let udp_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let wire_len = match ip_len {
        Some(ip_len) if udp_len < 8 => ip_len,
        Some(ip_len) => udp_len.min(ip_len),
        None => udp_len,
    }
    .checked_sub(8)?;
    let payload = body.get(..wire_len).unwrap_or(body);
    Some(Datagram {
        addresses,
        source_port: u16::from_be_bytes([header[0], header[1]]),
        destination_port,
        payload,
        cut: (wire_len - payload.len()) as u32,
        ip_id,
        dscp,
    })
}

#[inline]
fn is_ipv4_mapped(address: [u8; 16]) -> bool {
    u128::from_be_bytes(address) >> 32 == 0xffff
}

const MAC_ADDRESSES: usize = 12;
const VLAN_TAGS: usize = 3;
const UDP: u8 = 17;
const MORE_FRAGMENTS_OR_OFFSET: u16 = 0x3fff;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::Limits;
    use crate::wire::{Decoder, Frame, LinkType};

    /// Panics where the fast path answers and the decoder does otherwise.
    fn compare(bytes: &[u8]) {
        let Some(fast) = slice(bytes) else { return };
        if let Some(plain) = super::plain(bytes) {
            assert_eq!(plain, fast, "{bytes:02x?}");
        }
        let mut decoder = Decoder::new(&Limits::default());
        let (stamp, link, interface) = (crate::Stamp(0), LinkType::ETHERNET, 3);
        let frame = Frame { stamp, link, interface, wire_len: bytes.len() as u32, bytes };
        assert_eq!(decoder.decode(&frame), Ok(fast.packet(interface)));
    }

    /// Ethernet / tags / IP / UDP with free length fields, options, next protocol and trailing bytes.
    fn frames() -> impl Strategy<Value = Vec<u8>> {
        let tag = prop_oneof![Just(0x8100_u16), Just(0x88a8), Just(0x9100)];
        let length = prop_oneof![6 => Just(None), 1 => Just(Some(0_u16)), 2 => (0_u16..120).prop_map(Some)];
        let port = prop_oneof![
            any::<u16>(),
            Just(5060),
            Just(4789),
            Just(2152),
            Just(6081),
            Just(8472),
            Just(40_000)
        ];
        (
            proptest::collection::vec(tag, 0..5),
            (any::<bool>(), 5_u8..8, any::<u8>(), any::<u16>()),
            prop_oneof![9 => Just(0_u16), 1 => any::<u16>()],
            prop_oneof![9 => Just(17_u8), 1 => any::<u8>()],
            (port.clone(), port),
            (length.clone(), length),
            proptest::collection::vec(any::<u8>(), 0..80),
            proptest::collection::vec(any::<u8>(), 0..24),
            any::<[u8; 32]>(),
        )
            .prop_map(
                |(
                    tags,
                    (v6, ihl, tos, id),
                    fragment,
                    protocol,
                    ports,
                    lengths,
                    payload,
                    trailer,
                    addresses,
                )| {
                    let mut frame = vec![2; 12];
                    for tag in tags {
                        frame.extend(tag.to_be_bytes());
                        frame.extend([0, 7]);
                    }
                    let udp_len = payload.len() + 8;
                    if v6 {
                        frame.extend([0x86, 0xdd, 0x60 | tos >> 4, tos << 4, 0, 0]);
                        frame.extend(lengths.0.unwrap_or(udp_len as u16).to_be_bytes());
                        frame.extend([protocol, 64]);
                        frame.extend(addresses);
                    } else {
                        let header_len = usize::from(ihl) * 4;
                        frame.extend([0x08, 0x00, 0x40 | ihl, tos]);
                        frame.extend(lengths.0.unwrap_or((header_len + udp_len) as u16).to_be_bytes());
                        frame.extend(id.to_be_bytes());
                        frame.extend(fragment.to_be_bytes());
                        frame.extend([64, protocol, 0, 0]);
                        frame.extend(&addresses[..8]);
                        frame.extend(std::iter::repeat_n(1, header_len - 20));
                    }
                    frame.extend(ports.0.to_be_bytes());
                    frame.extend(ports.1.to_be_bytes());
                    frame.extend(lengths.1.unwrap_or(udp_len as u16).to_be_bytes());
                    frame.extend([0, 0]);
                    frame.extend(payload);
                    frame.extend(trailer);
                    frame
                },
            )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_decoder_agrees_wherever_the_fast_path_answers(frame in frames(), keep in 0_usize..220) {
            compare(&frame[..keep.min(frame.len())]);
        }

        #[test]
        fn noise_is_sliced_like_the_decoder_or_not_at_all(frame in proptest::collection::vec(any::<u8>(), 0..80)) {
            compare(&frame);
        }
    }

    /// Ethernet / IPv4 / UDP 10.0.0.1:5000 -> 10.0.0.2:5060 with the given lengths and 4 payload bytes.
    fn plain(total_len: u16, udp_len: u16) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0xb8]);
        frame.extend(total_len.to_be_bytes());
        frame.extend([0x12, 0x34, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x13, 0x88, 0x13, 0xc4]);
        frame.extend(udp_len.to_be_bytes());
        frame.extend([0, 0, 1, 2, 3, 4]);
        frame
    }

    #[test]
    fn reads_every_field() {
        let frame = plain(32, 12);
        let datagram = slice(&frame).unwrap();
        assert_eq!(datagram.addresses, Addresses::V4 { source: 0x0a00_0001, destination: 0x0a00_0002 });
        assert_eq!((datagram.source_port, datagram.destination_port), (5000, 5060));
        assert_eq!((datagram.payload, datagram.cut), (&[1, 2, 3, 4][..], 0));
        assert_eq!((datagram.ip_id, datagram.dscp), (Some(0x1234), 46));
        assert_eq!(datagram.packet(0).source.to_string(), "10.0.0.1:5000");
    }

    #[test]
    fn lengths_are_taken_laxly() {
        let read = |mut frame: Vec<u8>, padding: usize| {
            frame.extend(std::iter::repeat_n(0, padding));
            slice(&frame).map(|datagram| (datagram.payload.len(), datagram.cut))
        };
        assert_eq!(read(plain(32, 12), 18), Some((4, 0)), "Ethernet padding is not payload");
        assert_eq!(read(plain(0, 12), 18), Some((4, 0)), "no total length: the UDP length tells");
        assert_eq!(read(plain(32, 0), 18), Some((4, 0)), "no UDP length: the total length tells");
        assert_eq!(read(plain(0, 0), 0), None, "neither: not here");
        assert_eq!(read(plain(200, 180), 0), Some((4, 168)), "cut by the snap length");
        assert_eq!(read(plain(32, 180), 0), Some((4, 0)), "IP bounds UDP");
        assert_eq!(read(plain(30, 12), 0), Some((2, 0)), "IP bounds UDP");
        assert_eq!(read(plain(27, 12), 0), None, "no room for a UDP header");
    }

    #[test]
    fn an_ipv4_mapped_address_is_left_to_the_decoder_and_becomes_ipv4() {
        let mut bytes = [[0; 12].as_slice(), &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 17, 64]].concat();
        bytes.extend(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets());
        bytes.extend(Ipv6Addr::LOCALHOST.octets());
        bytes.extend([0x13, 0xc4, 0x13, 0xc4, 0, 8, 0, 0]);
        assert_eq!(slice(&bytes), None);
        let (stamp, link) = (crate::Stamp(0), LinkType::ETHERNET);
        let frame = Frame { stamp, link, interface: 0, wire_len: bytes.len() as u32, bytes: &bytes };
        let mut decoder = Decoder::new(&Limits::default());
        assert_eq!(decoder.decode(&frame).unwrap().source.to_string(), "192.0.2.1:5060");
    }

    #[test]
    fn fits_a_cache_line_and_a_half() {
        assert!(size_of::<Datagram<'_>>() <= 72);
    }
}
