//! What the kernel keeps of each frame: a classic BPF program on the packet socket (Linux socket filters).
//!
//! ```text
//! lo, outgoing .......................................... dropped: it comes back as an arrival
//! Ethernet / IPv4 or IPv6 / UDP / RTP ................... cut behind the headers and 32 bytes of payload
//! everything else: SIP, RTCP, TCP, SCTP, fragments,
//! tunnels, other links, short frames, what is unclear ... whole
//! ```
//!
//! RTP is what begins with version 2 and has no RTCP packet type behind it (RFC 7983, RFC 5761): neither SIP nor HEP
//! begins like that. Kept whole all the same are packets whose payload is looked at to its end: the one in 32 that is
//! listened to (MEAS 6.2), and those with padding, the length of which stands in their last byte. 32 bytes hold the
//! events of RFC 4733, and what copies and relayed packets are known by (MEAS 1.11).

mod assembler;
#[cfg(test)]
mod tests;

use assembler::{Assembler, Label, NEXT};

use crate::rtp::stream::LISTEN_TO_EVERY;
use crate::wire::tunnel;

/// One instruction, as `SO_ATTACH_FILTER` takes it.
pub use libc::sock_filter as Instruction;

/// The program that keeps no frame.
pub const NOTHING: [Instruction; 1] = [Instruction { code: RETURN, jt: 0, jf: 0, k: 0 }];

/// The program for packet sockets of type `SOCK_RAW`, on one interface of any kind or on all.
pub fn program() -> Vec<Instruction> {
    let mut code = Assembler::default();
    code.load_u32(HARDWARE_TYPE);
    code.is(u32::from(libc::ARPHRD_ETHER), LENGTH, NEXT);
    code.is(u32::from(libc::ARPHRD_LOOPBACK), NEXT, WHOLE);
    code.load_u32(PACKET_TYPE);
    code.is(u32::from(libc::PACKET_OUTGOING), DROP, NEXT);

    code.place(LENGTH);
    // A load behind the end would drop the frame: after this all are inside.
    code.load_length();
    code.at_least(LONGEST_HEADERS, NEXT, WHOLE);
    code.load_u16(ETHER_TYPE);
    code.is(IPV4, Label("ipv4", IP), NEXT);
    code.is(IPV6, Label("ipv6", IP), NEXT);
    code.is(VLAN, TAGGED, NEXT);
    code.is(SERVICE_VLAN, TAGGED, WHOLE);
    code.place(TAGGED);
    code.load_u16(ETHER_TYPE + TAG);
    code.is(IPV4, Label("ipv4", IP + TAG), NEXT);
    code.is(IPV6, Label("ipv6", IP + TAG), WHOLE);
    for at in [IP, IP + TAG] {
        ipv4(&mut code, at);
        ipv6(&mut code, at);
    }

    code.place(WHOLE);
    code.keep(ALL);
    code.place(DROP);
    code.keep(0);
    code.assemble()
}

/// The same behind an expression of the user's, compiled for frames with an Ethernet header and for bare IP: what it
/// refuses is dropped.
pub fn behind(ethernet: &[Instruction], raw: &[Instruction]) -> Vec<Instruction> {
    let mut code = Assembler::default();
    let (is_ethernet, expression) = (Label("is ethernet", 0), Label("expression", 0));
    code.load_u32(HARDWARE_TYPE);
    code.is(u32::from(libc::ARPHRD_ETHER), is_ethernet, NEXT);
    code.is(u32::from(libc::ARPHRD_LOOPBACK), NEXT, expression);
    code.place(is_ethernet);
    code.go(raw.len() as u32);
    code.place(expression);
    let mut code = code.assemble();
    code.extend_from_slice(raw);
    let accepts = |instruction: &Instruction| instruction.code == RETURN && instruction.k != 0;
    for (at, instruction) in ethernet.iter().enumerate() {
        code.push(if accepts(instruction) {
            assembler::go((ethernet.len() - 1 - at) as u32)
        } else {
            *instruction
        });
    }
    code.extend(program());
    code
}

/// An IPv4 header at `at`. Behind one with options, the datagram goes whole: nobody sends media like that.
fn ipv4(code: &mut Assembler, at: u32) {
    code.place(Label("ipv4", at));
    code.load_u8(at);
    code.is(IPV4_WITHOUT_OPTIONS, NEXT, WHOLE);
    code.load_u8(at + 9);
    code.is(UDP, NEXT, WHOLE);
    code.load_u16(at + 6);
    code.any_of(MORE_FRAGMENTS_OR_OFFSET, WHOLE, NEXT);
    udp(code, at + 20);
}

/// An IPv6 header at `at`, without extensions.
fn ipv6(code: &mut Assembler, at: u32) {
    code.place(Label("ipv6", at));
    code.load_u8(at);
    code.mask(0xf0);
    code.is(0x60, NEXT, WHOLE);
    code.load_u8(at + 6);
    code.is(UDP, NEXT, WHOLE);
    udp(code, at + 40);
}

/// A datagram at `at`: cut when it is RTP of which the headers are enough. Loads at a fixed place are a few
/// instructions for the kernel, those relative to X a call.
fn udp(code: &mut Assembler, at: u32) {
    code.load_u16(at);
    for port in SIP_PORTS {
        code.is(port, WHOLE, NEXT);
    }
    code.load_u16(at + 2);
    for port in SIP_PORTS.into_iter().chain(tunnel::UDP_PORTS.map(u32::from)) {
        code.is(port, WHOLE, NEXT);
    }
    let rtp = at + 8;
    code.load_u8(rtp);
    code.mask(VERSION | PADDING);
    code.is(VERSION_2, NEXT, WHOLE);
    code.load_u8(rtp + 1);
    code.at_least(RTCP_FIRST, NEXT, Label("number", at));
    code.at_least(RTCP_LAST + 1, NEXT, WHOLE);
    code.place(Label("number", at));
    code.load_u16(rtp + 2);
    code.any_of(LISTEN_TO_EVERY as u32 - 1, NEXT, WHOLE);

    code.load_u8(rtp);
    code.any_of(EXTENSION | CONTRIBUTORS, Label("more", at), NEXT);
    code.keep(rtp + 12 + PAYLOAD_KEPT);

    // X: length of the contributing sources.
    code.place(Label("more", at));
    code.store();
    code.mask(CONTRIBUTORS);
    code.shift_left(2);
    code.accumulator_to_index();
    code.load_stored();
    code.any_of(EXTENSION, Label("extended", at), NEXT);
    code.index_to_accumulator();
    code.add(rtp + 12 + PAYLOAD_KEPT);
    code.keep_accumulator();

    code.place(Label("extended", at));
    code.load_u16_at_index(rtp + 12 + 2);
    code.shift_left(2);
    code.add_index();
    code.add(rtp + 12 + 4 + PAYLOAD_KEPT);
    code.keep_accumulator();
}

/// `ret #k`
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const WHOLE: Label = Label("whole", 0);
const DROP: Label = Label("drop", 0);
const LENGTH: Label = Label("length", 0);
const TAGGED: Label = Label("tagged", 0);

/// linux/filter.h: `SKF_AD_OFF + SKF_AD_PKTTYPE` and `SKF_AD_HATYPE`, of the frame and not in it.
const PACKET_TYPE: u32 = 0xffff_f000 + 4;
const HARDWARE_TYPE: u32 = 0xffff_f000 + 28;

/// More than any frame has.
const ALL: u32 = 0x4_0000;
/// Ethernet with a tag, IPv6, UDP, RTP with all contributors, and the length of its extension. Whatever is shorter has
/// little to be cut.
const LONGEST_HEADERS: u32 = IP + TAG + 40 + 8 + 12 + 60 + 4;
/// Of an RTP payload.
const PAYLOAD_KEPT: u32 = 32;

const ETHER_TYPE: u32 = 12;
const IP: u32 = 14;
const TAG: u32 = 4;
const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;
const VLAN: u32 = 0x8100;
const SERVICE_VLAN: u32 = 0x88a8;
/// Version 4, and a header of five words.
const IPV4_WITHOUT_OPTIONS: u32 = 0x45;
const UDP: u32 = 17;
const MORE_FRAGMENTS_OR_OFFSET: u32 = 0x3fff;
const SIP_PORTS: [u32; 2] = [5060, 5061];

const VERSION: u32 = 0xc0;
const VERSION_2: u32 = 0x80;
const PADDING: u32 = 0x20;
const EXTENSION: u32 = 0x10;
const CONTRIBUTORS: u32 = 0x0f;
/// RFC 5761 section 4.
const RTCP_FIRST: u32 = 192;
const RTCP_LAST: u32 = 223;
