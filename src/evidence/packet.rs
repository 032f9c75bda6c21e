//! Packets as they are written: IP and UDP or TCP headers made anew around what was recorded.
//!
//! Addresses, ports, identification and code point are those of the wire, as far as they are known; the rest of the
//! headers is what any host would send. Lengths are those of the wire, also where the payload is left out.

use std::net::IpAddr;

use crate::wire::Endpoint;
use crate::wire::checksum::{fold, fold_udp, sum};

/// What goes into one packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<'a> {
    pub(super) source: Endpoint,
    pub(super) destination: Endpoint,
    pub(super) ip_id: u16,
    pub(super) dscp: u8,
    /// What is shown of the payload.
    pub(super) payload: &'a [u8],
    /// Bytes of it on the wire.
    pub(super) length: usize,
}

/// Where a byte stream stands, for a segment of TCP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) sequence: u32,
    pub(super) acknowledged: u32,
}

impl Datagram<'_> {
    /// Writes it over what `to` held; its length on the wire.
    pub(super) fn udp(&self, to: &mut Vec<u8>) -> usize {
        let length = (UDP_HEADER + self.length).min(usize::from(u16::MAX)) as u16;
        let mut header = [0; UDP_HEADER];
        header[..2].copy_from_slice(&self.source.port.to_be_bytes());
        header[2..4].copy_from_slice(&self.destination.port.to_be_bytes());
        header[4..6].copy_from_slice(&length.to_be_bytes());
        // Without all of the payload there is none that would be right.
        if self.payload.len() == self.length {
            let checksum = fold_udp(self.sum(UDP, &header));
            header[6..].copy_from_slice(&checksum.to_be_bytes());
        }
        self.ip(to, UDP, &header)
    }

    /// The same as a segment of TCP.
    pub(super) fn tcp(&self, to: &mut Vec<u8>, place: Place) -> usize {
        let mut header = [0; TCP_HEADER];
        header[..2].copy_from_slice(&self.source.port.to_be_bytes());
        header[2..4].copy_from_slice(&self.destination.port.to_be_bytes());
        header[4..8].copy_from_slice(&place.sequence.to_be_bytes());
        header[8..12].copy_from_slice(&place.acknowledged.to_be_bytes());
        header[12..16].copy_from_slice(&[5 << 4, PUSH | ACK, 0xff, 0xff]);
        let checksum = fold(self.sum(TCP, &header));
        header[16..18].copy_from_slice(&checksum.to_be_bytes());
        self.ip(to, TCP, &header)
    }

    fn ip(&self, to: &mut Vec<u8>, protocol: u8, header: &[u8]) -> usize {
        to.clear();
        let above = header.len() + self.length;
        let traffic_class = self.dscp << 2;
        let headers = match (self.source.ip, self.destination.ip) {
            (IpAddr::V4(from), IpAddr::V4(into)) => {
                let total = (IPV4_HEADER + above).min(usize::from(u16::MAX)) as u16;
                let mut ip = [0; IPV4_HEADER];
                ip[..2].copy_from_slice(&[0x45, traffic_class]);
                ip[2..4].copy_from_slice(&total.to_be_bytes());
                ip[4..6].copy_from_slice(&self.ip_id.to_be_bytes());
                ip[8..10].copy_from_slice(&[HOPS, protocol]);
                ip[12..16].copy_from_slice(&from.octets());
                ip[16..].copy_from_slice(&into.octets());
                let checksum = fold(sum(&ip));
                ip[10..12].copy_from_slice(&checksum.to_be_bytes());
                to.extend_from_slice(&ip);
                IPV4_HEADER
            }
            (from, into) => {
                let length = above.min(usize::from(u16::MAX)) as u16;
                let mut ip = [0; IPV6_HEADER];
                ip[..2].copy_from_slice(&[0x60 | traffic_class >> 4, traffic_class << 4]);
                ip[4..6].copy_from_slice(&length.to_be_bytes());
                ip[6..8].copy_from_slice(&[protocol, HOPS]);
                ip[8..24].copy_from_slice(&octets(from));
                ip[24..].copy_from_slice(&octets(into));
                to.extend_from_slice(&ip);
                IPV6_HEADER
            }
        };
        to.extend_from_slice(header);
        to.extend_from_slice(self.payload);
        headers + above
    }

    /// With the pseudo-header: RFC 768, RFC 9293, RFC 8200 8.1.
    fn sum(&self, protocol: u8, header: &[u8]) -> u64 {
        let addresses = match (self.source.ip, self.destination.ip) {
            (IpAddr::V4(from), IpAddr::V4(into)) => sum(&from.octets()) + sum(&into.octets()),
            (from, into) => sum(&octets(from)) + sum(&octets(into)),
        };
        let length = (header.len() + self.payload.len()) as u64;
        addresses + u64::from(protocol) + length + sum(header) + sum(self.payload)
    }
}

/// Of two that are of different families, both are written as IPv6.
fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
    .octets()
}

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
const TCP_HEADER: usize = 20;
const UDP: u8 = 17;
const TCP: u8 = 6;
const HOPS: u8 = 64;
const PUSH: u8 = 0x08;
const ACK: u8 = 0x10;
/// Of a UDP datagram in IPv4.
pub(super) const MOST_UDP: usize = 65_507;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Stamp;
    use crate::limits::Limits;
    use crate::wire::{Decoder, Frame, LinkType, Transport};

    fn is_right(packet: &[u8], header: usize, protocol: u8) -> bool {
        let (ip, above) = packet.split_at(header);
        let addresses = if header == IPV4_HEADER { &ip[12..] } else { &ip[8..] };
        fold(sum(addresses) + u64::from(protocol) + above.len() as u64 + sum(above)) == 0
    }

    proptest! {
        /// forall addresses, ports, payloads: what is written is read back, with the length of the wire.
        #[test]
        fn packets_are_read_back(from in any::<(IpAddr, u16)>(), into in any::<(IpAddr, u16)>(),
                                 payload in prop::collection::vec(any::<u8>(), 0..300), more in 0_usize..2000,
                                 tcp in any::<bool>(), ip_id in any::<u16>(), dscp in 0_u8..64) {
            prop_assume!(from.0.is_ipv4() == into.0.is_ipv4());
            // Never IPv4 in the guise of IPv6.
            let mapped = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
            prop_assume!(!mapped(from.0) && !mapped(into.0));
            let more = if tcp { 0 } else { more };
            let (source, destination) =
                (Endpoint { ip: from.0, port: from.1 }, Endpoint { ip: into.0, port: into.1 });
            let length = payload.len() + more;
            let datagram = Datagram { source, destination, ip_id, dscp, payload: &payload, length };
            let mut bytes = vec![1, 2, 3];
            let wire = if tcp {
                datagram.tcp(&mut bytes, Place { sequence: 7, acknowledged: 9 })
            } else {
                datagram.udp(&mut bytes)
            };
            let header = if from.0.is_ipv4() { IPV4_HEADER } else { IPV6_HEADER };
            if more == 0 {
                let protocol = if tcp { TCP } else { UDP };
                prop_assert!(is_right(&bytes, header, protocol));
            }
            let frame = Frame { stamp: Stamp(1), link: LinkType::RAW, interface: 0, wire_len: wire as u32,
                                bytes: &bytes };
            let mut decoder = Decoder::new(&Limits::default());
            let read = decoder.decode(&frame);
            // Some addresses and ports mean other things: tunnels, for one.
            if let Ok(packet) = read && packet.source == source && packet.destination == destination {
                prop_assert_eq!(packet.payload, &payload[..]);
                prop_assert_eq!(packet.cut as usize, more);
                prop_assert_eq!(packet.dscp, dscp);
                prop_assert_eq!(packet.transport != Transport::Udp, tcp);
                prop_assert!(!from.0.is_ipv4() || packet.ip_id == Some(ip_id));
            }
        }
    }
}
