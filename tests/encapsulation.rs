//! Every link type and tunnel of the design, alone and nested, around one UDP datagram.
//!
//! ```text
//! datagram -> IPv4 or IPv6 -> wraps (tunnels, tags, extension headers, fragments) -> link layer -> Decoder
//! ```
//!
//! Whatever the nest, the decoder must find the inner endpoints and payload; cut anywhere, it must neither
//! panic nor find other endpoints.

#![allow(clippy::unwrap_used, reason = "test helpers stand outside of #[test] functions")]

use std::net::IpAddr;

use proptest::prelude::*;
use sidetone::Stamp;
use sidetone::limits::Limits;
use sidetone::wire::{Decoder, Frame, LinkType, Packet, Skip, Transport};

/// What a wrap begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    V4,
    V6,
    Ethernet,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Bytes {
    kind: Kind,
    bytes: Vec<u8>,
}

/// One layer put around others. Those over IP take the version of the outer header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrap {
    /// Ethernet II with so many tags, of alternating types, and padding behind.
    Tagged(u8),
    Snap,
    Pppoe,
    /// An MPLS stack so deep, between Ethernet and IP.
    Mpls(u8),
    IpInIp(Kind),
    /// GRE with these flags: checksum 8, routing 4, key 2, sequence 1.
    Gre(Kind, u8),
    GrePpp(Kind),
    /// PPTP: with and without an acknowledgment.
    Pptp(Kind, bool),
    GreMpls(Kind),
    /// An Ethernet pseudo-wire over MPLS in GRE, with or without a control word.
    GrePseudowire(Kind, bool),
    Erspan1(Kind),
    Erspan2(Kind),
    /// With or without the platform subheader.
    Erspan3(Kind, bool),
    Vxlan(Kind, u16),
    GenevePort(Kind),
    /// GTP-U flags E, S, PN in the low bits.
    GtpU(Kind, u8),
    /// Extension headers: hop-by-hop, routing, destination, authentication (bits), on IPv6 only.
    Extensions(u8),
    /// Split into fragments that carry so many octets of 8 bytes each.
    Fragments(u8),
}

const UDP: u8 = 17;
const SIP: &[u8] =
    b"OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\r\n";

const INNER_V4: ([u8; 4], [u8; 4]) = ([192, 0, 2, 1], [192, 0, 2, 2]);
const PORTS: (u16, u16) = (5060, 40_002);

fn be(value: usize) -> [u8; 2] {
    u16::try_from(value).unwrap().to_be_bytes()
}

fn v6(last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    address[15] = last;
    address
}

fn udp(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    [&ports.0.to_be_bytes(), &ports.1.to_be_bytes(), &be(payload.len() + 8), &[0, 0], payload].concat()
}

/// An IP packet; `last` tells the hosts of this layer apart from those of others.
fn ip(kind: Kind, protocol: u8, last: u8, payload: &[u8]) -> Bytes {
    let bytes = match kind {
        Kind::V4 => [
            &[0x45, 0xb8][..],
            &be(payload.len() + 20),
            &[0xab, last, 0, 0, 64, protocol, 0, 0],
            &[192, 0, 2, last, 192, 0, 2, last + 1],
            payload,
        ]
        .concat(),
        _ => {
            [&[0x6b, 0x80, 0, 0][..], &be(payload.len()), &[protocol, 64], &v6(last), &v6(last + 1), payload]
                .concat()
        }
    };
    Bytes { kind, bytes }
}

fn datagram(kind: Kind, payload: &[u8]) -> Bytes {
    ip(kind, UDP, 1, &udp(PORTS, payload))
}

fn ether_type(kind: Kind) -> [u8; 2] {
    match kind {
        Kind::V4 => [0x08, 0x00],
        Kind::V6 => [0x86, 0xdd],
        Kind::Ethernet => [0x65, 0x58],
    }
}

const MAC: [u8; 12] = [0, 0x1b, 2, 3, 4, 5, 2, 0, 0, 0, 0, 1];

fn ethernet(inner: &Bytes) -> Bytes {
    wrap_one(inner.clone(), Wrap::Tagged(0), 0)
}

/// IP as it is; Ethernet only where a wrap can carry it.
fn to_ethernet(inner: Bytes) -> Bytes {
    if inner.kind == Kind::Ethernet { inner } else { ethernet(&inner) }
}

fn to_ip(inner: Bytes, last: u8) -> Bytes {
    if inner.kind == Kind::Ethernet { wrap_one(inner, Wrap::Gre(Kind::V4, 0), last) } else { inner }
}

fn ppp_protocol(kind: Kind) -> u8 {
    if kind == Kind::V4 { 0x21 } else { 0x57 }
}

fn wrap(parts: Vec<Bytes>, wrap: Wrap, last: u8) -> Vec<Bytes> {
    match wrap {
        Wrap::Fragments(octets) => parts
            .into_iter()
            .flat_map(|part| fragments(&to_ip(part, last), usize::from(octets) * 8))
            .collect(),
        wrap => parts.into_iter().map(|part| wrap_one(part, wrap, last)).collect(),
    }
}

fn wrap_one(inner: Bytes, wrap: Wrap, last: u8) -> Bytes {
    let gre = |outer: Kind, flags: [u8; 2], protocol: [u8; 2], parts: &[&[u8]]| {
        ip(outer, 47, last, &[&flags[..], &protocol, &parts.concat()].concat())
    };
    match wrap {
        Wrap::Tagged(tags) => {
            let inner = to_ip(inner, last);
            let mut bytes = MAC.to_vec();
            for tag in 0..tags {
                bytes.extend([[0x88, 0xa8], [0x81, 0x00], [0x91, 0x00]][usize::from(tag % 3)]);
                bytes.extend([0x20, tag]);
            }
            bytes.extend(ether_type(inner.kind));
            bytes.extend(inner.bytes);
            bytes.extend([0; 5]);
            Bytes { kind: Kind::Ethernet, bytes }
        }
        Wrap::Snap => {
            let inner = to_ip(inner, last);
            let llc = [&[0xaa, 0xaa, 3, 0, 0, 0], &ether_type(inner.kind)[..], &inner.bytes].concat();
            let bytes = [&MAC[..], &be(llc.len()), &llc, &[0; 7]].concat();
            Bytes { kind: Kind::Ethernet, bytes }
        }
        Wrap::Pppoe => {
            let inner = to_ip(inner, last);
            let length = be(inner.bytes.len() + 2);
            let ppp = [0, ppp_protocol(inner.kind)];
            let bytes =
                [&MAC[..], &[0x88, 0x64, 0x11, 0, 0, 9], &length, &ppp, &inner.bytes, &[0; 3]].concat();
            Bytes { kind: Kind::Ethernet, bytes }
        }
        Wrap::Mpls(labels) => {
            let inner = to_ip(inner, last);
            let bytes = [&MAC[..], &[0x88, 0x47], &label_stack(labels.max(1)), &inner.bytes].concat();
            Bytes { kind: Kind::Ethernet, bytes }
        }
        Wrap::IpInIp(outer) => {
            let inner = to_ip(inner, last);
            ip(outer, if inner.kind == Kind::V4 { 4 } else { 41 }, last, &inner.bytes)
        }
        Wrap::Gre(outer, flags) => {
            let mut options = Vec::new();
            if flags & 0b1100 != 0 {
                options.extend([1; 4]);
            }
            if flags & 2 != 0 {
                options.extend([2; 4]);
            }
            if flags & 1 != 0 {
                options.extend([3; 4]);
            }
            if flags & 4 != 0 {
                options.extend([0x08, 0x00, 0, 4, 192, 0, 2, 9, 0, 0, 0, 0]);
            }
            gre(outer, [flags << 4, 0], ether_type(inner.kind), &[&options, &inner.bytes])
        }
        Wrap::GrePpp(outer) => {
            let inner = to_ip(inner, last);
            gre(outer, [0, 0], [0x88, 0x0b], &[&[0xff, 3, 0, ppp_protocol(inner.kind)], &inner.bytes])
        }
        Wrap::Pptp(outer, acknowledges) => {
            let inner = to_ip(inner, last);
            let ppp = [&[ppp_protocol(inner.kind)], &inner.bytes[..]].concat();
            let acknowledgment: &[u8] = if acknowledges { &[0, 0, 0, 8] } else { &[] };
            let flags = [0x30, if acknowledges { 0x81 } else { 1 }];
            let parts = [&be(ppp.len())[..], &[0, 5, 0, 0, 0, 9], acknowledgment, &ppp];
            gre(outer, flags, [0x88, 0x0b], &parts)
        }
        Wrap::GreMpls(outer) => {
            let inner = to_ip(inner, last);
            gre(outer, [0, 0], [0x88, 0x47], &[&label_stack(2), &inner.bytes])
        }
        Wrap::GrePseudowire(outer, control_word) => {
            let inner = to_ethernet(inner);
            let word: &[u8] = if control_word { &[0; 4] } else { &[] };
            gre(outer, [0, 0], [0x88, 0x47], &[&label_stack(1), word, &inner.bytes])
        }
        Wrap::Erspan1(outer) => gre(outer, [0, 0], [0x88, 0xbe], &[&to_ethernet(inner).bytes]),
        Wrap::Erspan2(outer) => {
            let header = [0, 0, 0, 1, 0x10, 7, 0x18, 5, 0, 0, 0, 1];
            gre(outer, [0x10, 0], [0x88, 0xbe], &[&header, &to_ethernet(inner).bytes])
        }
        Wrap::Erspan3(outer, subheader) => {
            let header = [0, 0, 0, 1, 0x20, 7, 0x18, 5, 0, 0, 0, 1, 0, 0, 0, u8::from(subheader)];
            let platform: &[u8] = if subheader { &[0x55; 8] } else { &[] };
            gre(outer, [0x10, 0], [0x22, 0xeb], &[&header, platform, &to_ethernet(inner).bytes])
        }
        Wrap::Vxlan(outer, port) => {
            let payload = [&[8, 0, 0, 0, 0, 1, 2, 0], &to_ethernet(inner).bytes[..]].concat();
            ip(outer, UDP, last, &udp((50_000, port), &payload))
        }
        Wrap::GenevePort(outer) => {
            let protocol = ether_type(inner.kind);
            let options = [1, 2, 0, 1, 0xde, 0xad, 0xbe, 0xef];
            let payload = [&[2, 0x40], &protocol[..], &[0, 1, 2, 0], &options, &inner.bytes].concat();
            ip(outer, UDP, last, &udp((50_000, 6081), &payload))
        }
        Wrap::GtpU(outer, flags) => {
            let inner = to_ip(inner, last);
            let mut options = Vec::new();
            if flags & 7 != 0 {
                options.extend([0, 1, 0, if flags & 4 != 0 { 0x85 } else { 0 }]);
            }
            if flags & 4 != 0 {
                // A PDU session container, then an empty one of the other sort.
                options.extend([1, 0, 9, 0xc0, 2, 0, 0, 0, 0, 0, 0, 0]);
            }
            let length = be(options.len() + inner.bytes.len());
            let header = [&[0x30 | flags, 255], &length[..], &[0, 0, 0, 1]].concat();
            let payload = [header, options, inner.bytes].concat();
            ip(outer, UDP, last, &udp((2152, 2152), &payload))
        }
        Wrap::Extensions(which) => match inner.kind {
            Kind::V6 => extensions(&inner.bytes, which),
            _ => inner,
        },
        Wrap::Fragments(_) => unreachable!(),
    }
}

fn label_stack(labels: u8) -> Vec<u8> {
    (1..=labels).flat_map(|label| [0, 1, label << 4 | u8::from(label == labels), 64]).collect()
}

fn extensions(packet: &[u8], which: u8) -> Bytes {
    let mut next = packet[6];
    let mut headers = Vec::new();
    for (bit, protocol, len) in [(8, 51, 12), (4, 60, 16), (2, 43, 24), (1, 0, 8)] {
        if which & bit != 0 {
            let words = if protocol == 51 { len / 4 - 2 } else { len / 8 - 1 };
            let mut header = vec![0; len];
            header[..2].copy_from_slice(&[next, words as u8]);
            headers = [header, headers].concat();
            next = protocol;
        }
    }
    with_header(packet, next, &[&headers, &packet[40..]].concat())
}

/// The IPv6 packet with another next header and payload.
fn with_header(packet: &[u8], next: u8, payload: &[u8]) -> Bytes {
    let bytes = [&packet[..4], &be(payload.len()), &[next], &packet[7..40], payload].concat();
    Bytes { kind: Kind::V6, bytes }
}

fn fragments(packet: &Bytes, len: usize) -> Vec<Bytes> {
    let header_len = if packet.kind == Kind::V4 { 20 } else { 40 };
    let (header, payload) = packet.bytes.split_at(header_len);
    if payload.len() <= len || (packet.kind == Kind::V4 && header[6..8] != [0, 0]) {
        return vec![packet.clone()];
    }
    let count = payload.len().div_ceil(len);
    let identification = payload.iter().fold(1_u16, |sum, byte| sum.wrapping_mul(31) + u16::from(*byte) % 7);
    let part = |(index, bytes): (usize, &[u8])| {
        let more = index + 1 < count;
        let offset = index * len;
        if packet.kind == Kind::V4 {
            let flags = be((offset / 8) | if more { 0x2000 } else { 0 });
            let lengths = [&be(bytes.len() + 20)[..], &identification.to_be_bytes(), &flags].concat();
            return Bytes { kind: Kind::V4, bytes: [&header[..2], &lengths, &header[8..], bytes].concat() };
        }
        let fragment = [&[header[6], 0], &be(offset | usize::from(more))[..], &[0, 0]].concat();
        with_header(header, 44, &[&fragment, &identification.to_be_bytes()[..], bytes].concat())
    };
    payload.chunks(len).enumerate().map(part).collect()
}

/// The packet behind every header of a link type that can carry it.
fn links(inner: &Bytes) -> Vec<(LinkType, Vec<u8>)> {
    if inner.kind == Kind::Ethernet {
        return vec![(LinkType::ETHERNET, inner.bytes.clone())];
    }
    let bytes = &inner.bytes[..];
    let kind = ether_type(inner.kind);
    let ppp = ppp_protocol(inner.kind);
    let family = if inner.kind == Kind::V4 { 2 } else { 30 };
    let pppoe_len = be(bytes.len() + 2);
    let of = |link: LinkType, header: &[u8]| (link, [header, bytes].concat());
    let mut links = vec![
        of(LinkType::ETHERNET, &[&MAC[..], &kind].concat()),
        of(LinkType::LINUX_SLL, &[&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0], &kind[..]].concat()),
        of(
            LinkType::LINUX_SLL2,
            &[&kind[..], &[0, 0, 0, 0, 0, 42, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0]].concat(),
        ),
        of(LinkType::RAW, &[]),
        of(LinkType::DLT_RAW, &[]),
        of(LinkType::DLT_RAW_OPENBSD, &[]),
        of(LinkType::NULL, &[family, 0, 0, 0]),
        of(LinkType::NULL, &[0, 0, 0, family]),
        of(LinkType::LOOP, &[0, 0, 0, family]),
        of(LinkType::PPP, &[0xff, 3, 0, ppp]),
        of(LinkType::PPP, &[0, ppp]),
        of(LinkType::PPP, &[ppp]),
        of(LinkType::PPP_HDLC, &[0xff, 3, 0, ppp]),
        of(LinkType::PPP_HDLC, &[&[0x0f, 0], &kind[..]].concat()),
        of(LinkType::PPP_ETHER, &[&[0x11, 0, 0, 1], &pppoe_len[..], &[0, ppp]].concat()),
    ];
    links.push(of(if inner.kind == Kind::V4 { LinkType::IPV4 } else { LinkType::IPV6 }, &[]));
    links
}

fn frame(link: LinkType, bytes: &[u8], wire_len: usize) -> Frame<'_> {
    Frame { stamp: Stamp(1), link, interface: 7, wire_len: wire_len as u32, bytes }
}

/// Panics unless the packet has the inner endpoints, and a payload that with its cut is `payload`.
fn expect_inner(packet: &Packet<'_>, kind: Kind, payload: &[u8], nest: &dyn std::fmt::Debug) {
    let addresses: (IpAddr, IpAddr) = match kind {
        Kind::V4 => (INNER_V4.0.into(), INNER_V4.1.into()),
        _ => (v6(1).into(), v6(2).into()),
    };
    assert_eq!((packet.source.ip, packet.destination.ip), addresses, "{nest:?}");
    assert_eq!((packet.source.port, packet.destination.port), PORTS, "{nest:?}");
    assert!(payload.starts_with(packet.payload), "{nest:?}");
    assert_eq!(packet.payload.len() + packet.cut as usize, payload.len(), "{nest:?}");
    assert_eq!((packet.transport, packet.dscp), (Transport::Udp, 46), "{nest:?}");
}

/// The frames of a nest, inside out.
fn nest(kind: Kind, wraps: &[Wrap]) -> Vec<Bytes> {
    let layers = wraps.iter().zip((10..).step_by(2));
    layers.fold(vec![datagram(kind, SIP)], |parts, (layer, last)| wrap(parts, *layer, last))
}

/// Every frame of the nest through one decoder on each link, in order and in reverse: just the last gives the
/// packet, whole.
fn expect_nest(kind: Kind, wraps: &[Wrap]) {
    let mut parts = nest(kind, wraps);
    for _ in 0..2 {
        parts.reverse();
        for link in 0..links(&parts[0]).len() {
            let mut decoder = Decoder::new(&Limits::default());
            for (index, part) in parts.iter().enumerate() {
                let (link, bytes) = links(part).swap_remove(link);
                match decoder.decode(&frame(link, &bytes, bytes.len())) {
                    Ok(packet) => {
                        assert_eq!(index + 1, parts.len(), "too early: {kind:?} {wraps:?}");
                        expect_inner(&packet, kind, SIP, &(wraps, link));
                        assert_eq!(packet.cut, 0);
                        assert_eq!(packet.interface, if link == LinkType::LINUX_SLL2 { 42 } else { 7 });
                    }
                    Err(skip) => {
                        assert_eq!(skip, Skip::Fragment, "{kind:?} {wraps:?} {link:?} {bytes:02x?}");
                        assert!(index + 1 < parts.len(), "no packet: {kind:?} {wraps:?} {link:?}");
                    }
                }
            }
            assert_eq!(decoder.counters().pending, 0);
        }
    }
}

/// Cut at every byte, with and without the true length: silence, or the inner endpoints.
fn expect_truncations(kind: Kind, wraps: &[Wrap]) {
    for (link, bytes) in links(&nest(kind, wraps)[0]) {
        for keep in 0..bytes.len() {
            for wire_len in [bytes.len(), keep] {
                let mut decoder = Decoder::new(&Limits::default());
                if let Ok(packet) = decoder.decode(&frame(link, &bytes[..keep], wire_len)) {
                    expect_inner(&packet, kind, SIP, &(wraps, link, keep));
                }
            }
        }
    }
}

fn all_wraps() -> Vec<Wrap> {
    let mut wraps = vec![Wrap::Snap, Wrap::Pppoe];
    wraps.extend((0..6).map(Wrap::Tagged));
    wraps.extend((1..5).map(Wrap::Mpls));
    wraps.extend((0..16).map(Wrap::Extensions));
    wraps.extend([1, 2, 3, 7].map(Wrap::Fragments));
    for outer in [Kind::V4, Kind::V6] {
        wraps.extend((0..16).map(|flags| Wrap::Gre(outer, flags)));
        wraps.extend((0..8).map(|flags| Wrap::GtpU(outer, flags)));
        wraps.extend([
            Wrap::IpInIp(outer),
            Wrap::GrePpp(outer),
            Wrap::GreMpls(outer),
            Wrap::GenevePort(outer),
        ]);
        wraps.extend([Wrap::Vxlan(outer, 4789), Wrap::Vxlan(outer, 8472)]);
        wraps.extend([Wrap::Erspan1(outer), Wrap::Erspan2(outer)]);
        for flag in [false, true] {
            wraps.extend([Wrap::Pptp(outer, flag), Wrap::GrePseudowire(outer, flag)]);
            wraps.push(Wrap::Erspan3(outer, flag));
        }
    }
    wraps
}

#[test]
fn each_encapsulation_alone_on_each_link() {
    for kind in [Kind::V4, Kind::V6] {
        expect_nest(kind, &[]);
        for layer in all_wraps() {
            expect_nest(kind, &[layer]);
        }
    }
}

#[test]
fn each_encapsulation_of_bridged_ethernet() {
    for layer in all_wraps() {
        expect_nest(Kind::V4, &[Wrap::Tagged(2), layer]);
        expect_nest(Kind::V6, &[Wrap::Snap, layer, Wrap::Tagged(1)]);
    }
}

/// The nests that occur in networks.
fn known_nests() -> Vec<(Kind, Vec<Wrap>)> {
    use Kind::{V4, V6};
    vec![
        (V4, vec![Wrap::Tagged(1), Wrap::Gre(V6, 2)]),
        (V4, vec![Wrap::Tagged(0), Wrap::Vxlan(V4, 4789), Wrap::Tagged(2)]),
        (V4, vec![Wrap::Fragments(4), Wrap::GtpU(V6, 4)]),
        (V4, vec![Wrap::GtpU(V6, 4), Wrap::Fragments(6), Wrap::Tagged(1)]),
        (V4, vec![Wrap::Fragments(8), Wrap::GtpU(V4, 0), Wrap::Fragments(3)]),
        (V4, vec![Wrap::Tagged(1), Wrap::Erspan3(V4, true), Wrap::Tagged(1)]),
        (V6, vec![Wrap::IpInIp(V4), Wrap::Pppoe]),
        (V6, vec![Wrap::Extensions(15), Wrap::Fragments(5), Wrap::IpInIp(V4), Wrap::Mpls(3)]),
        (V4, vec![Wrap::Tagged(1), Wrap::GrePseudowire(V4, true), Wrap::Tagged(3)]),
        (V6, vec![Wrap::Tagged(1), Wrap::GenevePort(V6), Wrap::Extensions(5), Wrap::Vxlan(V4, 8472)]),
    ]
}

#[test]
fn known_nests_are_opened() {
    for (kind, wraps) in known_nests() {
        expect_nest(kind, &wraps);
    }
}

#[test]
fn a_cut_frame_never_shows_wrong_endpoints() {
    for kind in [Kind::V4, Kind::V6] {
        for layer in all_wraps() {
            expect_truncations(kind, &[layer]);
        }
    }
    for (kind, wraps) in known_nests() {
        expect_truncations(kind, &wraps);
    }
}

#[test]
fn media_on_a_tunnel_port_stays_media() {
    let rtp = |first: u8| [&[first, 0, 0, 1], &[0; 8][..], &[0xd5; 160]].concat();
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42], &[7; 12][..]].concat();
    let gtp_echo = [0x32, 1, 0, 4, 0, 0, 0, 0, 0, 1, 0, 0].to_vec();
    let gtp_not_ip = [&[0x30, 255, 0, 4, 0, 0, 0, 1], &[0x80, 1, 2, 3][..]].concat();
    let contents = [
        SIP.to_vec(),
        rtp(0x80),
        rtp(0x90),
        rtp(0xb0),
        stun,
        gtp_echo,
        gtp_not_ip,
        vec![8],
        vec![0x30],
        vec![],
    ];
    for port in [2152, 4789, 6081, 8472] {
        for content in &contents {
            for kind in [Kind::V4, Kind::V6] {
                let packet = ip(kind, UDP, 1, &udp((5060, port), content));
                let mut decoder = Decoder::new(&Limits::default());
                let found = decoder.decode(&frame(LinkType::RAW, &packet.bytes, packet.bytes.len())).unwrap();
                assert_eq!((found.payload, found.destination.port), (&content[..], port));
            }
        }
    }
}

#[test]
fn tcp_and_sctp_are_found_too() {
    let tcp =
        [0x13, 0xc4, 0x9c, 0x42, 0, 0, 1, 0, 0, 0, 0, 0, 0x60, 0x03, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, b'S'];
    let packet = ip(Kind::V4, 6, 1, &tcp);
    let mut decoder = Decoder::new(&Limits::default());
    let found = decoder.decode(&frame(LinkType::RAW, &packet.bytes, packet.bytes.len())).unwrap();
    assert_eq!(found.transport, Transport::Tcp { seq: 256, syn: true, fin: true, rst: false });
    assert_eq!(found.payload, b"S");

    let sctp = [0x13, 0xc4, 0x9c, 0x42, 0, 0, 0, 1, 0, 0, 0, 0, 0, 3, 0, 4];
    let packet = ip(Kind::V6, 132, 1, &sctp);
    let found = decoder.decode(&frame(LinkType::RAW, &packet.bytes, packet.bytes.len())).unwrap();
    assert_eq!((found.transport, found.payload), (Transport::Sctp, &[0, 3, 0, 4][..]));
    assert_eq!((found.source.port, found.destination.port), PORTS);
}

#[test]
fn what_is_not_ours_has_a_reason() {
    let skip = |link: LinkType, bytes: &[u8]| {
        let mut decoder = Decoder::new(&Limits::default());
        decoder.decode(&frame(link, bytes, bytes.len())).unwrap_err()
    };
    let ethernet = |rest: &[u8]| [&MAC[..], rest].concat();
    let arp = ethernet(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    let stp = ethernet(&[0, 38, 0x42, 0x42, 3, 0, 0, 0, 0, 0, 0x80, 0, 0, 0]);
    assert_eq!(skip(LinkType::ETHERNET, &arp), Skip::NotIp);
    assert_eq!(skip(LinkType::ETHERNET, &stp), Skip::NotIp);
    assert_eq!(skip(LinkType::ETHERNET, &ethernet(&[0x88, 0x63, 0x11, 9, 0, 0, 0, 0])), Skip::NotIp);
    assert_eq!(skip(LinkType::ETHERNET, &arp[..13]), Skip::Truncated);
    assert_eq!(skip(LinkType::PPP, &[0xff, 3, 0xc0, 0x21, 1]), Skip::NotIp);
    assert_eq!(skip(LinkType(147), &arp), Skip::Link);
    assert_eq!(skip(LinkType::RAW, &[0x55; 40]), Skip::BadIp);
    assert_eq!(skip(LinkType::RAW, &[0x41; 40]), Skip::BadIp);
    assert_eq!(skip(LinkType::RAW, &ip(Kind::V4, 1, 1, &[8; 8]).bytes), Skip::Transport);
    assert_eq!(skip(LinkType::RAW, &ip(Kind::V4, 6, 1, &[0; 20]).bytes), Skip::BadTransport);
    assert_eq!(skip(LinkType::RAW, &ip(Kind::V4, 47, 1, &[0, 2, 8, 0]).bytes), Skip::BadTunnel);
    let mut nest = datagram(Kind::V4, SIP);
    for _ in 0..40 {
        nest = wrap_one(nest, Wrap::IpInIp(Kind::V4), 10);
    }
    assert_eq!(skip(LinkType::RAW, &nest.bytes), Skip::Nesting);
    assert!(!Skip::NotIp.undecoded() && !Skip::Transport.undecoded() && !Skip::Fragment.undecoded());
    assert!(Skip::Link.undecoded() && Skip::BadIp.undecoded() && Skip::Truncated.undecoded());
}

#[test]
fn a_cut_first_fragment_is_a_cut_datagram() {
    let parts = fragments(&datagram(Kind::V4, SIP), 48);
    let mut decoder = Decoder::new(&Limits::default());
    let bytes = &parts[0].bytes[..40];
    let packet = decoder.decode(&frame(LinkType::RAW, bytes, parts[0].bytes.len())).unwrap();
    expect_inner(&packet, Kind::V4, SIP, &"cut first fragment");
    assert_eq!(packet.payload.len(), 12);
    let bytes = &parts[1].bytes[..24];
    let skip = decoder.decode(&frame(LinkType::RAW, bytes, parts[1].bytes.len())).unwrap_err();
    assert_eq!(skip, Skip::Truncated);
    assert_eq!(decoder.counters().pending, 0);
}

#[test]
fn an_atomic_ipv6_fragment_is_a_datagram_with_an_id() {
    let plain = datagram(Kind::V6, SIP).bytes;
    let bytes =
        with_header(&plain, 44, &[&[UDP, 0, 0, 0, 0xaa, 0xbb, 0x12, 0x34], &plain[40..]].concat()).bytes;
    let mut decoder = Decoder::new(&Limits::default());
    let packet = decoder.decode(&frame(LinkType::RAW, &bytes, bytes.len())).unwrap();
    expect_inner(&packet, Kind::V6, SIP, &"atomic fragment");
    assert_eq!(packet.ip_id, Some(0x1234));
    assert_eq!(decoder.counters().fragments, 0);
}

fn outer() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::V4), Just(Kind::V6)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_nests_are_opened(
        kind in outer(),
        wraps in proptest::collection::vec(proptest::sample::select(all_wraps()), 0..4)
    ) {
        expect_nest(kind, &wraps);
        expect_truncations(kind, &wraps);
    }

    #[test]
    fn noise_does_not_panic(
        link in proptest::sample::select(vec![0_u16, 1, 9, 12, 50, 51, 101, 108, 113, 228, 229, 276]),
        start in proptest::sample::select(all_wraps()),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        noise in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut decoder = Decoder::new(&Limits { fragments: 4, fragment_bytes: 1_000, ..Limits::default() });
        for part in wrap(vec![datagram(Kind::V4, SIP)], start, 10) {
            let mut bytes = part.bytes;
            for (index, value) in &flips {
                let index = index.index(bytes.len());
                bytes[index] = *value;
            }
            let _ = decoder.decode(&frame(LinkType(link), &bytes, bytes.len()));
            let _ = decoder.decode(&frame(LinkType::ETHERNET, &bytes, bytes.len()));
        }
        let _ = decoder.decode(&frame(LinkType(link), &noise, noise.len()));
    }
}
