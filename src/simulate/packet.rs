//! Ethernet, IPv4 and UDP around a payload, checksums included.

use std::net::{IpAddr, SocketAddrV4};

use crate::wire::Endpoint;
use crate::wire::checksum::{fold, fold_udp, sum};

/// One direction between two sockets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) source: SocketAddrV4,
    pub(crate) destination: SocketAddrV4,
    pub(crate) dscp: u8,
}

impl Flow {
    /// Both ports moved by `by`: the RTCP flow beside an RTP flow.
    pub(crate) fn ports_up(self, by: u16) -> Self {
        let up = |at: SocketAddrV4| SocketAddrV4::new(*at.ip(), at.port() + by);
        Self { source: up(self.source), destination: up(self.destination), ..self }
    }

    /// Writes the frame that carries `payload` this way.
    pub(crate) fn frame(&self, ip_id: u16, payload: &[u8], frame: &mut Vec<u8>) {
        let (source, destination) = (self.source.ip().octets(), self.destination.ip().octets());
        let udp_length = (UDP_HEADER + payload.len()) as u16;
        let [length_high, length_low] = (IP_HEADER + udp_length).to_be_bytes();
        let [id_high, id_low] = ip_id.to_be_bytes();
        let mut ip = [0; IP_HEADER as usize];
        ip[..10].copy_from_slice(&[
            0x45,
            self.dscp << 2,
            length_high,
            length_low,
            id_high,
            id_low,
            0,
            0,
            63,
            UDP,
        ]);
        ip[12..16].copy_from_slice(&source);
        ip[16..].copy_from_slice(&destination);
        let checksum = fold(sum(&ip));
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());

        let mut udp = [0; UDP_HEADER];
        udp[..2].copy_from_slice(&self.source.port().to_be_bytes());
        udp[2..4].copy_from_slice(&self.destination.port().to_be_bytes());
        udp[4..6].copy_from_slice(&udp_length.to_be_bytes());
        let pseudo = sum(&source) + sum(&destination) + u64::from(UDP) + u64::from(udp_length);
        let checksum = fold_udp(pseudo + sum(&udp) + sum(payload));
        udp[6..].copy_from_slice(&checksum.to_be_bytes());

        frame.clear();
        for address in [destination, source] {
            frame.extend([0x02, 0x00]);
            frame.extend(address);
        }
        frame.extend(ETHERTYPE_IPV4);
        frame.extend(ip);
        frame.extend(udp);
        frame.extend_from_slice(payload);
    }
}

/// The same socket as the rest of the program names it.
pub(crate) fn endpoint(at: SocketAddrV4) -> Endpoint {
    Endpoint { ip: IpAddr::V4(*at.ip()), port: at.port() }
}

const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
const IP_HEADER: u16 = 20;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
