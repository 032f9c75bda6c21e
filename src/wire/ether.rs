//! Link layers: Ethernet, VLAN tags, LLC/SNAP, Linux cooked capture, BSD loopback, PPP, PPPoE, MPLS.

use super::Skip;
use super::cursor::{Cursor, Layer, Step};

/// Ethernet II or IEEE 802.3 (IEEE 802.3 clause 3.2.6).
pub(super) fn ethernet<'a>(at: &mut Cursor<'a>) -> Result<Step<'a>, Skip> {
    let header = at.take::<14>()?;
    ether_type(at, u16::from_be_bytes([header[12], header[13]]))
}

/// The rest of a VLAN tag: control information, then the type of what is tagged (IEEE 802.1Q).
pub(super) fn vlan<'a>(at: &mut Cursor<'a>) -> Result<Step<'a>, Skip> {
    let header = at.take::<4>()?;
    ether_type(at, u16::from_be_bytes([header[2], header[3]]))
}

/// What an EtherType field announces; below 0x600 it is the length of an LLC frame.
pub(super) fn ether_type<'a>(at: &mut Cursor<'a>, kind: u16) -> Result<Step<'a>, Skip> {
    let layer = match kind {
        ..0x0600 => {
            at.narrow(usize::from(kind));
            Layer::Llc
        }
        IPV4 | IPV6 => Layer::Ip,
        0x8100 | 0x88a8 | 0x9100 => Layer::Vlan,
        MPLS | MPLS_MULTICAST => Layer::Mpls,
        0x8864 => Layer::Pppoe,
        ETHERNET_BRIDGING => Layer::Ethernet,
        0x880b => Layer::Ppp,
        _ => return Err(Skip::NotIp),
    };
    Ok(layer.into())
}

/// LLC: only SNAP with an EtherType (RFC 1042; OUI 0000f8 is the bridge tunnel encapsulation of 802.1H).
pub(super) fn llc<'a>(at: &mut Cursor<'a>) -> Result<Step<'a>, Skip> {
    let Ok(header) = at.take::<8>() else {
        return Err(if at.cut > 0 { Skip::Truncated } else { Skip::NotIp });
    };
    match header {
        [0xaa, 0xaa, 3, 0, 0, 0 | 0xf8, high, low] => ether_type(at, u16::from_be_bytes([*high, *low])),
        _ => Err(Skip::NotIp),
    }
}

/// Linux cooked capture (LINKTYPE_LINUX_SLL): packet type, ARPHRD, address, protocol.
pub(super) fn sll<'a>(at: &mut Cursor<'a>) -> Result<Step<'a>, Skip> {
    let header = at.take::<16>()?;
    cooked(at, u16::from_be_bytes([header[2], header[3]]), u16::from_be_bytes([header[14], header[15]]))
}

/// Version 2 (LINKTYPE_LINUX_SLL2): protocol first, and the index of the interface.
pub(super) fn sll2<'a>(at: &mut Cursor<'a>) -> Result<Step<'a>, Skip> {
    let header = at.take::<20>()?;
    at.interface = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    cooked(at, u16::from_be_bytes([header[8], header[9]]), u16::from_be_bytes([header[0], header[1]]))
}

/// For netlink, 802.11 and frame relay devices the protocol field is no EtherType; below 0x600 it is one of
/// Linux's ETH_P numbers, of which only 802.2 LLC can lead to IP.
fn cooked<'a>(at: &mut Cursor<'a>, arphrd: u16, protocol: u16) -> Result<Step<'a>, Skip> {
    match (arphrd, protocol) {
        (ARPHRD_FRAD | ARPHRD_RADIOTAP | ARPHRD_NETLINK, _) => Err(Skip::NotIp),
        (_, ETH_P_802_2) => Ok(Layer::Llc.into()),
        (_, ..0x0600) => Err(Skip::NotIp),
        (_, kind) => ether_type(at, kind),
    }
}

/// LINKTYPE_NULL and LINKTYPE_LOOP: an address family in the byte order of the capturing host, which is told
/// by the half that is zero. AF_INET is 2 everywhere, AF_INET6 differs by system.
pub(super) fn loopback<'a>(at: &mut Cursor<'a>) -> Result<Step<'a>, Skip> {
    let family = *at.take::<4>()?;
    match u32::from_be_bytes(family).min(u32::from_le_bytes(family)) {
        2 | 10 | 24 | 28 | 30 => Ok(Layer::Ip.into()),
        _ => Err(Skip::NotIp),
    }
}

/// PPP with or without HDLC-like framing (RFC 1662), the protocol field in two bytes or compressed to one
/// (RFC 1661 section 6.5).
pub(super) fn ppp<'a>(at: &mut Cursor<'a>) -> Result<Step<'a>, Skip> {
    if at.bytes.starts_with(&[0xff, 3]) {
        at.skip(2)?;
    }
    let [mut protocol] = at.take::<1>()?.map(u16::from);
    if protocol & 1 == 0 {
        protocol = protocol << 8 | u16::from(at.take::<1>()?[0]);
    }
    match protocol {
        0x0021 | 0x0057 => Ok(Layer::Ip.into()),
        0x0281 | 0x0283 => Ok(Layer::Mpls.into()),
        _ => Err(Skip::NotIp),
    }
}

/// LINKTYPE_PPP_HDLC: PPP, or Cisco HDLC when the address says unicast or broadcast (RFC 1547 section 4.3.1).
pub(super) fn hdlc<'a>(at: &mut Cursor<'a>) -> Result<Step<'a>, Skip> {
    if !matches!(at.bytes.first(), Some(0x0f | 0x8f)) {
        return ppp(at);
    }
    let header = at.take::<4>()?;
    match u16::from_be_bytes([header[2], header[3]]) {
        ..0x0600 => Err(Skip::NotIp),
        kind => ether_type(at, kind),
    }
}

/// A PPPoE session frame: version and type 1, code 0, session, length (RFC 2516 section 4).
pub(super) fn pppoe<'a>(at: &mut Cursor<'a>) -> Result<Step<'a>, Skip> {
    let header = at.take::<6>()?;
    match header[..2] {
        [0x11, 0] => {
            at.narrow(usize::from(u16::from_be_bytes([header[4], header[5]])));
            Ok(Layer::Ppp.into())
        }
        [0x11, _] => Err(Skip::NotIp),
        _ => Err(Skip::BadTunnel),
    }
}

/// An MPLS label stack (RFC 3032). It does not say what it carries: an IP version shows itself (RFC 4928
/// section 3), zero may begin a pseudo-wire control word (RFC 4448 section 4.6) or a MAC address.
pub(super) fn mpls<'a>(at: &mut Cursor<'a>) -> Result<Step<'a>, Skip> {
    while at.take::<4>()?[2] & BOTTOM_OF_STACK == 0 {}
    let first = *at.bytes.first().ok_or(Skip::Truncated)?;
    if first >> 4 == 6 || (first >> 4 == 4 && first & 0x0f >= 5) {
        return Ok(Layer::Ip.into());
    }
    if looks_like_ethernet(at.bytes)? {
        return Ok(Layer::Ethernet.into());
    }
    if first >> 4 == 0 && looks_like_ethernet(at.bytes.get(CONTROL_WORD..).unwrap_or_default())? {
        at.skip(CONTROL_WORD)?;
        return Ok(Layer::Ethernet.into());
    }
    Err(Skip::NotIp)
}

/// Whether an EtherType that can lead to IP (or is ARP), or a SNAP header stands in its place.
fn looks_like_ethernet(bytes: &[u8]) -> Result<bool, Skip> {
    let (header, rest) = bytes.split_first_chunk::<14>().ok_or(Skip::Truncated)?;
    Ok(match u16::from_be_bytes([header[12], header[13]]) {
        ..0x0600 => rest.starts_with(&[0xaa, 0xaa, 3]),
        kind => matches!(
            kind,
            IPV4 | IPV6 | MPLS | MPLS_MULTICAST | 0x0806 | 0x8100 | 0x88a8 | 0x9100 | 0x8863 | 0x8864
        ),
    })
}

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const MPLS: u16 = 0x8847;
pub(super) const MPLS_MULTICAST: u16 = 0x8848;
/// Transparent Ethernet bridging (RFC 1701).
pub(super) const ETHERNET_BRIDGING: u16 = 0x6558;

const ETH_P_802_2: u16 = 4;
const ARPHRD_FRAD: u16 = 770;
const ARPHRD_RADIOTAP: u16 = 803;
const ARPHRD_NETLINK: u16 = 824;
const BOTTOM_OF_STACK: u8 = 1;
const CONTROL_WORD: usize = 4;
