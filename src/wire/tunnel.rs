//! Tunnels: GRE and ERSPAN above IP; VXLAN, GENEVE and GTP-U above UDP.
//!
//! A UDP tunnel is believed by its destination port and its header together. Media may use the same port, and
//! what is not the tunnel stays a plain datagram.

use super::Skip;
use super::cursor::{Cursor, Layer, Step};
use super::ether::{self, ETHERNET_BRIDGING, IPV4, IPV6, MPLS, MPLS_MULTICAST};

/// Destination ports of UDP behind which a tunnel may be.
pub(crate) const UDP_PORTS: [u16; 4] = [GTP_U, VXLAN, GENEVE, VXLAN_LINUX];

/// Whether a datagram to this port may be a tunnel.
#[inline]
pub(super) fn is_udp_port(destination: u16) -> bool {
    matches!(destination, GTP_U | VXLAN | GENEVE | VXLAN_LINUX)
}

/// Behind a UDP header: strips a tunnel header and names what it carries; `None`, and nothing stripped, when
/// this is plain UDP.
pub(super) fn in_udp(at: &mut Cursor<'_>, destination: u16) -> Result<Option<Layer>, Skip> {
    let mut inner = *at;
    let layer = match destination {
        VXLAN | VXLAN_LINUX => vxlan(&mut inner),
        GENEVE => geneve(&mut inner),
        GTP_U => gtp_u(&mut inner),
        _ => return Ok(None),
    };
    match layer {
        Ok(Some(layer)) => {
            *at = inner;
            Ok(Some(layer))
        }
        // Too short for the header on the wire already: not the tunnel. Cut by the capture: nobody knows.
        Err(_) if at.cut == 0 => Ok(None),
        other => other,
    }
}

/// GRE version 0 with any flags (RFC 1701, 2784, 2890) and version 1 (PPTP, RFC 2637 section 4.1).
pub(super) fn gre<'a>(at: &mut Cursor<'a>) -> Result<Step<'a>, Skip> {
    let [flags, version, protocol @ ..] = *at.take::<4>()?;
    let protocol = u16::from_be_bytes(protocol);
    match version & 7 {
        0 => {
            if flags & (GRE_CHECKSUM | GRE_ROUTING) != 0 {
                at.skip(4)?;
            }
            if flags & GRE_KEY != 0 {
                at.skip(4)?;
            }
            if flags & GRE_SEQUENCE != 0 {
                at.skip(4)?;
            }
            if flags & GRE_ROUTING != 0 {
                source_routes(at)?;
            }
        }
        1 if flags & GRE_KEY != 0 => {
            let [high, low, _, _] = *at.take::<4>()?;
            if flags & GRE_SEQUENCE == 0 {
                return Err(Skip::NotIp);
            }
            at.skip(4)?;
            if version & PPTP_ACKNOWLEDGMENT != 0 {
                at.skip(4)?;
            }
            at.narrow(usize::from(u16::from_be_bytes([high, low])));
        }
        _ => return Err(Skip::BadTunnel),
    }
    match protocol {
        // Type I has no header of its own, and then GRE has no sequence number.
        0x88be if flags & GRE_SEQUENCE == 0 => Ok(Layer::Ethernet.into()),
        0x88be | 0x22eb => erspan(at),
        ..0x0600 => Err(Skip::NotIp),
        kind => ether::ether_type(at, kind),
    }
}

/// Source route entries up to the empty one (RFC 1701).
fn source_routes(at: &mut Cursor<'_>) -> Result<(), Skip> {
    loop {
        let [family_high, family_low, _, len] = *at.take::<4>()?;
        if (family_high, family_low, len) == (0, 0, 0) {
            return Ok(());
        }
        at.skip(usize::from(len))?;
    }
}

/// ERSPAN type II (version 1) and III (version 2), draft-foschiano-erspan-03 sections 4.2 and 4.3.
fn erspan<'a>(at: &mut Cursor<'a>) -> Result<Step<'a>, Skip> {
    let header = at.take::<8>()?;
    match header[0] >> 4 {
        1 => Ok(Layer::Ethernet.into()),
        2 => {
            let [_, _, frame_type, options] = *at.take::<4>()?;
            if options & ERSPAN_SUBHEADER != 0 {
                at.skip(8)?;
            }
            match frame_type >> 2 & 0x1f {
                0 => Ok(Layer::Ethernet.into()),
                2 => Ok(Layer::Ip.into()),
                _ => Err(Skip::NotIp),
            }
        }
        _ => Err(Skip::BadTunnel),
    }
}

/// RFC 7348 section 5, and the group policy bits (draft-smith-vxlan-group-policy-05). Other bits are zero:
/// the letters of SIP and the first byte of RTP have some of them set.
fn vxlan(at: &mut Cursor<'_>) -> Result<Option<Layer>, Skip> {
    let header = at.take::<8>()?;
    let group_policy = match header[0] {
        0x08 => header[1..4] == [0; 3],
        0x88 => header[1] & !0x48 == 0,
        _ => false,
    };
    Ok((group_policy && header[7] == 0 && at.bytes.len() + at.cut >= 14).then_some(Layer::Ethernet))
}

/// RFC 8926 section 3.4.
fn geneve(at: &mut Cursor<'_>) -> Result<Option<Layer>, Skip> {
    let [version_and_words, flags, high, low, _, _, _, reserved] = *at.take::<8>()?;
    if version_and_words >> 6 != 0 || flags & 0x3f != 0 || reserved != 0 {
        return Ok(None);
    }
    let layer = match u16::from_be_bytes([high, low]) {
        ETHERNET_BRIDGING => Layer::Ethernet,
        IPV4 | IPV6 => Layer::Ip,
        MPLS | MPLS_MULTICAST => Layer::Mpls,
        _ => return Ok(None),
    };
    at.skip(usize::from(version_and_words) * 4)?;
    Ok(Some(layer))
}

/// A G-PDU of 3GPP TS 29.281: flags, message type, length, TEID; sequence number, N-PDU number and extension
/// headers (section 5.2). Only user packets that are IP.
fn gtp_u(at: &mut Cursor<'_>) -> Result<Option<Layer>, Skip> {
    let [flags, message_type, length @ ..] = *at.take::<4>()?;
    if flags & 0xf8 != GTP_VERSION_1 || message_type != GTP_G_PDU {
        return Ok(None);
    }
    at.skip(4)?;
    at.narrow(usize::from(u16::from_be_bytes(length)));
    if flags & 0x07 != 0 {
        let [_, _, _, mut next_extension] = *at.take::<4>()?;
        if flags & GTP_EXTENSION == 0 {
            next_extension = 0;
        }
        while next_extension != 0 {
            let [words] = *at.take::<1>()?;
            let Some(content) = (usize::from(words) * 4).checked_sub(2) else { return Ok(None) };
            at.skip(content)?;
            [next_extension] = *at.take::<1>()?;
        }
    }
    let version = *at.bytes.first().ok_or(Skip::Truncated)? >> 4;
    Ok(matches!(version, 4 | 6).then_some(Layer::Ip))
}

const GTP_U: u16 = 2152;
const VXLAN: u16 = 4789;
const GENEVE: u16 = 6081;
/// What Linux used before IANA assigned 4789.
const VXLAN_LINUX: u16 = 8472;

const GRE_CHECKSUM: u8 = 0x80;
const GRE_ROUTING: u8 = 0x40;
const GRE_KEY: u8 = 0x20;
const GRE_SEQUENCE: u8 = 0x10;
const PPTP_ACKNOWLEDGMENT: u8 = 0x80;
const ERSPAN_SUBHEADER: u8 = 1;
/// Version 1, protocol type GTP (not GTP').
const GTP_VERSION_1: u8 = 0x30;
const GTP_EXTENSION: u8 = 0x04;
const GTP_G_PDU: u8 = 255;
