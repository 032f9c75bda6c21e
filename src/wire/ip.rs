//! IPv4 (RFC 791), IPv6 and its extension headers (RFC 8200), and the transport headers above.

use std::net::IpAddr;

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice, TcpHeaderSlice, err};

use super::cursor::{Cursor, IpHeader, Layer, Step};
use super::defrag::{DatagramId, Fragment};
use super::{Endpoint, Packet, Skip, Transport, tunnel};

/// An IP header, its version taken from itself: what announced it may be no more than "IP".
pub(super) fn header<'a>(at: &mut Cursor<'a>) -> Result<Step<'a>, Skip> {
    match at.bytes.first().ok_or(Skip::Truncated)? >> 4 {
        4 => ipv4(at),
        6 => ipv6(at),
        _ => Err(Skip::BadIp),
    }
}

/// What the protocol number of an IP header, or of an extension header, announces.
pub(super) fn above<'a>(at: &mut Cursor<'a>, ip: IpHeader) -> Result<Step<'a>, Skip> {
    match ip.protocol {
        UDP => udp(at, ip),
        TCP => tcp(at, ip),
        SCTP => {
            let ports = at.take::<12>()?;
            Ok(packet(at, ip, [ports[0], ports[1], ports[2], ports[3]], Transport::Sctp))
        }
        IPV4_IN_IP | IPV6_IN_IP => Ok(Layer::Ip.into()),
        GRE => Ok(Layer::Gre.into()),
        MPLS_IN_IP => Ok(Layer::Mpls.into()),
        AUTHENTICATION => {
            let [next, words] = *at.take::<2>()?;
            at.skip((usize::from(words) + 2) * 4 - 2)?;
            Ok(Layer::Above(IpHeader { protocol: next, ..ip }).into())
        }
        FRAGMENT if ip.source.is_ipv6() => ipv6_fragment(at, ip),
        HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY | HIP | SHIM6 if ip.source.is_ipv6() => {
            let [next, octets] = *at.take::<2>()?;
            at.skip((usize::from(octets) + 1) * 8 - 2)?;
            Ok(Layer::Above(IpHeader { protocol: next, ..ip }).into())
        }
        _ => Err(Skip::Transport),
    }
}

fn ipv4<'a>(at: &mut Cursor<'a>) -> Result<Step<'a>, Skip> {
    let header = Ipv4HeaderSlice::from_slice(at.bytes).map_err(|error| match error {
        err::ipv4::HeaderSliceError::Len(_) => Skip::Truncated,
        err::ipv4::HeaderSliceError::Content(_) => Skip::BadIp,
    })?;
    at.skip(header.slice().len())?;
    // A total length of 0 is a segment that offload has yet to divide: it reaches to the end of the frame.
    let payload_len = usize::from(header.total_len()).checked_sub(header.slice().len());
    if let Some(payload_len) = payload_len {
        at.narrow(payload_len);
    }
    let ip = IpHeader {
        source: IpAddr::V4(header.source_addr()),
        destination: IpAddr::V4(header.destination_addr()),
        protocol: header.protocol().0,
        ip_id: Some(header.identification()),
        dscp: header.dcp().value(),
    };
    if !header.is_fragmenting_payload() {
        return Ok(Layer::Above(ip).into());
    }
    if payload_len.is_none() {
        return Err(Skip::BadIp);
    }
    let id = DatagramId {
        source: ip.source,
        destination: ip.destination,
        protocol: ip.protocol,
        identification: u32::from(header.identification()),
        interface: at.interface,
    };
    fragment(at, ip, id, header.fragments_offset().byte_offset(), header.more_fragments())
}

fn ipv6<'a>(at: &mut Cursor<'a>) -> Result<Step<'a>, Skip> {
    let header = Ipv6HeaderSlice::from_slice(at.bytes).map_err(|error| match error {
        err::ipv6::HeaderSliceError::Len(_) => Skip::Truncated,
        err::ipv6::HeaderSliceError::Content(_) => Skip::BadIp,
    })?;
    at.skip(header.slice().len())?;
    // Likewise 0; a jumbogram (RFC 2675) reaches to the end of the frame, too.
    if header.payload_length() != 0 {
        at.narrow(usize::from(header.payload_length()));
    }
    let ip = IpHeader {
        source: IpAddr::V6(header.source_addr()),
        destination: IpAddr::V6(header.destination_addr()),
        protocol: header.next_header().0,
        ip_id: None,
        dscp: header.dscp().value(),
    };
    Ok(Layer::Above(ip).into())
}

/// RFC 8200 section 4.5. An atomic fragment (RFC 6946) is a whole datagram.
fn ipv6_fragment<'a>(at: &mut Cursor<'a>, ip: IpHeader) -> Result<Step<'a>, Skip> {
    let [next, _, high, low, identification @ ..] = *at.take::<8>()?;
    let offset_and_more = u16::from_be_bytes([high, low]);
    let (offset, more) = (offset_and_more & !7, offset_and_more & 1 != 0);
    let identification = u32::from_be_bytes(identification);
    let ip = IpHeader { protocol: next, ip_id: Some(identification as u16), ..ip };
    if offset == 0 && !more {
        return Ok(Layer::Above(ip).into());
    }
    // The next header of the first fragment counts; it may differ in others and is no part of the identity.
    let id = DatagramId {
        source: ip.source,
        destination: ip.destination,
        protocol: FRAGMENT,
        identification,
        interface: at.interface,
    };
    fragment(at, ip, id, offset, more)
}

/// A first fragment cut by the snap length can never be whole. It is taken at once for a datagram that was
/// cut, since it holds the ports and the start of the message; the UDP length tells how much is missing.
fn fragment<'a>(
    at: &mut Cursor<'a>,
    ip: IpHeader,
    id: DatagramId,
    offset: u16,
    more: bool,
) -> Result<Step<'a>, Skip> {
    if at.cut == 0 {
        return Ok(Step::Fragment(Fragment { id, ip, offset, more, bytes: at.bytes, layers: at.layers }));
    }
    if offset != 0 {
        return Err(Skip::Truncated);
    }
    at.bounded = false;
    Ok(Layer::Above(ip).into())
}

/// The checksum is not looked at: on the sender's side the interface card has yet to fill it in.
fn udp<'a>(at: &mut Cursor<'a>, ip: IpHeader) -> Result<Step<'a>, Skip> {
    let header = at.take::<8>()?;
    let udp_len = u16::from_be_bytes([header[4], header[5]]);
    if let Some(payload_len) = usize::from(udp_len).checked_sub(header.len()) {
        at.narrow(payload_len);
    }
    if let Some(layer) = tunnel::in_udp(at, u16::from_be_bytes([header[2], header[3]]))? {
        return Ok(layer.into());
    }
    Ok(packet(at, ip, [header[0], header[1], header[2], header[3]], Transport::Udp))
}

fn tcp<'a>(at: &mut Cursor<'a>, ip: IpHeader) -> Result<Step<'a>, Skip> {
    let header = TcpHeaderSlice::from_slice(at.bytes).map_err(|error| match error {
        err::tcp::HeaderSliceError::Len(_) => Skip::Truncated,
        err::tcp::HeaderSliceError::Content(_) => Skip::BadTransport,
    })?;
    let ports = at.bytes.first_chunk::<4>().ok_or(Skip::Truncated)?;
    at.skip(header.slice().len())?;
    let transport = Transport::Tcp {
        seq: header.sequence_number(),
        syn: header.syn(),
        fin: header.fin(),
        rst: header.rst(),
    };
    Ok(packet(at, ip, *ports, transport))
}

fn packet<'a>(at: &Cursor<'a>, ip: IpHeader, ports: [u8; 4], transport: Transport) -> Step<'a> {
    let [source_high, source_low, destination_high, destination_low] = ports;
    Step::Packet(Packet {
        source: Endpoint {
            ip: ip.source.to_canonical(),
            port: u16::from_be_bytes([source_high, source_low]),
        },
        destination: Endpoint {
            ip: ip.destination.to_canonical(),
            port: u16::from_be_bytes([destination_high, destination_low]),
        },
        transport,
        payload: at.bytes,
        cut: u32::try_from(at.cut).unwrap_or(u32::MAX),
        ip_id: ip.ip_id,
        dscp: ip.dscp,
        interface: at.interface,
    })
}

const HOP_BY_HOP: u8 = 0;
const IPV4_IN_IP: u8 = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV6_IN_IP: u8 = 41;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const GRE: u8 = 47;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const SCTP: u8 = 132;
const MOBILITY: u8 = 135;
const MPLS_IN_IP: u8 = 137;
const HIP: u8 = 139;
const SHIM6: u8 = 140;
