//! What really passed the proxy, read from tcpdump's file without any code of the program under test.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

/// A UDP datagram.
pub(crate) struct Datagram {
    /// Nanoseconds since 1970.
    pub(crate) at: i64,
    pub(crate) source: (Ipv4Addr, u16),
    pub(crate) destination: (Ipv4Addr, u16),
    pub(crate) payload: Vec<u8>,
}

/// All UDP datagrams of a pcap file of Ethernet frames, in order.
pub(crate) fn datagrams(path: &Path) -> Vec<Datagram> {
    let file = fs::read(path).unwrap();
    let nanos = match file[..4] {
        [0xd4, 0xc3, 0xb2, 0xa1] => 1000,
        [0x4d, 0x3c, 0xb2, 0xa1] => 1,
        _ => panic!("{}: not as tcpdump writes it", path.display()),
    };
    let word = |at: usize| i64::from(u32::from_le_bytes(file[at..at + 4].try_into().unwrap()));
    let (mut at, mut found) = (24, Vec::new());
    while at + 16 <= file.len() {
        let stamp = word(at) * 1_000_000_000 + word(at + 4) * nanos;
        let frame = &file[at + 16..at + 16 + word(at + 8) as usize];
        at += 16 + frame.len();
        found.extend(datagram(stamp, frame));
    }
    found
}

fn datagram(at: i64, frame: &[u8]) -> Option<Datagram> {
    let ip = frame.get(14..).filter(|ip| frame[12..14] == [8, 0] && ip[0] >> 4 == 4 && ip[9] == 17)?;
    let udp = &ip[usize::from(ip[0] & 15) * 4..];
    let address = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
    let number = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
    Some(Datagram {
        at,
        source: (address(12), number(0)),
        destination: (address(16), number(2)),
        payload: udp[8..usize::from(number(4))].to_vec(),
    })
}

/// When the calls of the caller at `phone` were up: answered there, and hung up, in nanoseconds.
pub(crate) fn calls_of(phone: Ipv4Addr, datagrams: &[Datagram]) -> Vec<(i64, i64)> {
    let mut calls: BTreeMap<String, (Option<i64>, Option<i64>)> = BTreeMap::new();
    for datagram in datagrams.iter().filter(|d| d.source.0 == phone || d.destination.0 == phone) {
        let Ok(text) = std::str::from_utf8(&datagram.payload) else { continue };
        let header =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        let (id, cseq) = (header("Call-ID:").to_owned(), header("CSeq:"));
        if text.starts_with("SIP/2.0 200") && cseq.ends_with("INVITE") {
            calls.entry(id).or_default().0.get_or_insert(datagram.at);
        } else if text.starts_with("BYE ") {
            calls.entry(id).or_default().1.get_or_insert(datagram.at);
        }
    }
    calls.into_values().filter_map(|(answered, over)| Some((answered?, over.unwrap_or(i64::MAX)))).collect()
}

/// An RTP stream: its 5-tuple without the protocol, and its SSRC.
pub(crate) type Flow = ((Ipv4Addr, u16), (Ipv4Addr, u16), u32);

/// The sequence numbers of a stream, counted on over 65,535.
#[derive(Debug)]
pub(crate) struct Extent {
    /// Of the packet that came first, the lowest, and the highest.
    pub(crate) came_first: i64,
    pub(crate) lowest: i64,
    pub(crate) highest: i64,
    pub(crate) packets: u64,
    last: i64,
}

/// All RTP streams.
pub(crate) fn streams(datagrams: &[Datagram]) -> BTreeMap<Flow, Extent> {
    let mut streams: BTreeMap<Flow, Extent> = BTreeMap::new();
    for datagram in datagrams {
        let Some(&[first, second, high, low, _, _, _, _, a, b, c, d]) = datagram.payload.first_chunk::<12>()
        else {
            continue;
        };
        if first >> 6 != 2 || (192..=223).contains(&second) {
            continue;
        }
        let sequence = u16::from_be_bytes([high, low]);
        let flow = (datagram.source, datagram.destination, u32::from_be_bytes([a, b, c, d]));
        let begin = i64::from(sequence) + 65_536;
        let fresh = Extent { came_first: begin, lowest: begin, highest: begin, packets: 0, last: begin };
        let extent = streams.entry(flow).or_insert(fresh);
        extent.last += i64::from(sequence.wrapping_sub(extent.last as u16).cast_signed());
        extent.lowest = extent.lowest.min(extent.last);
        extent.highest = extent.highest.max(extent.last);
        extent.packets += 1;
    }
    streams
}

impl Extent {
    /// How many of these sequence numbers lie inside of it: since its first packet, and since its lowest one.
    pub(crate) fn inside(&self, sequences: &[u16]) -> [u64; 2] {
        [self.came_first, self.lowest].map(|begin| {
            let length = (self.highest - begin) as u16;
            sequences.iter().filter(|&&sequence| sequence.wrapping_sub(begin as u16) < length).count() as u64
        })
    }
}
