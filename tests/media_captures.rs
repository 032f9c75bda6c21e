//! RTCP and probation on real captures, against what other programs say of them.
//!
//! The captures are not part of the repository: they are looked for in `SIDETONE_CAPTURES`, else beside it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of a test fail as the test does, and say why it was skipped"
)]

#[path = "support/skipped.rs"]
mod skipped;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use sidetone::Stamp;
use sidetone::demux::{Kind, classify};
use sidetone::rtp::header::Header;
use sidetone::rtp::probation::{EXCLUDED_PORTS, Probation, Seen, clock_rate};
use sidetone::rtp::report::{Observed, Reported};
use sidetone::rtp::round_trip::RoundTrips;
use sidetone::rtp::rtcp::{Compound, Packet as Rtcp};
use sidetone::wire::{Endpoint, Packet, Transport};
use skipped::skipped;

fn captures() -> Option<PathBuf> {
    let beside = || concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/captures").into();
    let path = std::env::var_os("SIDETONE_CAPTURES").map_or_else(beside, PathBuf::from).join("public");
    if path.is_dir() {
        return Some(path);
    }
    skipped(format_args!("no captures at {}; SIDETONE_CAPTURES names another place", path.display()));
    None
}

/// One UDP datagram, as little decoding as these captures need.
struct Datagram {
    frame: u32,
    stamp: Stamp,
    source: Endpoint,
    destination: Endpoint,
    payload: Vec<u8>,
}

impl Datagram {
    fn packet(&self) -> Packet<'_> {
        Packet {
            source: self.source,
            destination: self.destination,
            transport: Transport::Udp,
            payload: &self.payload,
            cut: 0,
            ip_id: None,
            dscp: 0,
            interface: 0,
        }
    }
}

fn le16(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// All datagrams of a little-endian pcap or pcapng file.
fn datagrams(name: &str) -> Vec<Datagram> {
    let path = captures().unwrap().join(name);
    let file = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut found = Vec::new();
    let mut frame = 0;
    let mut take = |link: u32, nanos: u64, bytes: &[u8]| {
        frame += 1;
        if let Some((source, destination, payload)) = udp(link, bytes) {
            found.push(Datagram {
                frame,
                stamp: Stamp(nanos),
                source,
                destination,
                payload: payload.to_vec(),
            });
        }
    };
    match le32(&file, 0) {
        magic @ (0xa1b2_c3d4 | 0xa1b2_3c4d) => {
            let unit = if magic == 0xa1b2_c3d4 { 1_000 } else { 1 };
            let (link, mut at) = (le32(&file, 20) & 0xffff, 24);
            while at + 16 <= file.len() {
                let (seconds, fraction) = (u64::from(le32(&file, at)), u64::from(le32(&file, at + 4)));
                let end = at + 16 + le32(&file, at + 8) as usize;
                take(link, seconds * 1_000_000_000 + fraction * unit, &file[at + 16..end]);
                at = end;
            }
        }
        0x0a0d_0d0a => {
            let (mut at, mut links) = (0, Vec::new());
            while at + 12 <= file.len() {
                let (kind, length) = (le32(&file, at), le32(&file, at + 4) as usize);
                let block = &file[at..at + length];
                match kind {
                    1 => links.push((le16(block, 8) as u32, nanos_per_tick(&block[16..]))),
                    6 => {
                        let (link, unit) = links[le32(block, 8) as usize];
                        let ticks = u64::from(le32(block, 12)) << 32 | u64::from(le32(block, 16));
                        take(link, ticks * unit, &block[28..28 + le32(block, 20) as usize]);
                    }
                    _ => {}
                }
                at += length;
            }
        }
        magic => panic!("{}: {magic:#x} is no magic number", path.display()),
    }
    found
}

/// Option if_tsresol (9) of an interface block.
fn nanos_per_tick(mut options: &[u8]) -> u64 {
    while options.len() >= 4 {
        let (code, length) = (le16(options, 0), le16(options, 2));
        match code {
            0 => break,
            9 => return 10_u64.pow(9 - u32::from(options[4])),
            _ => options = &options[(4 + length.next_multiple_of(4)).min(options.len())..],
        }
    }
    1_000
}

fn udp(link: u32, frame: &[u8]) -> Option<(Endpoint, Endpoint, &[u8])> {
    let mut ip = match link {
        1 => {
            let mut at = 12;
            while be16(frame, at) == 0x8100 {
                at += 4;
            }
            frame.get(at + 2..)?
        }
        113 => frame.get(16..)?,
        0 => frame.get(4..)?,
        _ => frame,
    };
    let (source, destination): (IpAddr, IpAddr);
    match ip.first()? >> 4 {
        4 if ip.len() >= 20 && ip[9] == 17 && be16(ip, 6).trailing_zeros() >= 14 => {
            source = <[u8; 4]>::try_from(&ip[12..16]).ok()?.into();
            destination = <[u8; 4]>::try_from(&ip[16..20]).ok()?.into();
            ip = ip.get(usize::from(ip[0] & 15) * 4..)?;
        }
        6 if ip.len() >= 40 && ip[6] == 17 => {
            source = <[u8; 16]>::try_from(&ip[8..24]).ok()?.into();
            destination = <[u8; 16]>::try_from(&ip[24..40]).ok()?.into();
            ip = &ip[40..];
        }
        _ => return None,
    }
    if ip.len() < 8 {
        return None;
    }
    let end = usize::from(be16(ip, 4)).clamp(8, ip.len());
    let endpoint = |ip_address, port| Endpoint { ip: ip_address, port };
    Some((endpoint(source, be16(ip, 0)), endpoint(destination, be16(ip, 2)), &ip[8..end]))
}

/// Rows of one table of a truth file, by column name.
fn truth(name: &str, title: &str) -> Vec<BTreeMap<String, String>> {
    let path = captures().unwrap().join(format!("{name}.truth.txt"));
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines().skip_while(|line| !line.starts_with(title)).skip(1);
    let columns: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    lines
        .take_while(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            columns.iter().zip(line.split('\t')).map(|(c, v)| ((*c).to_owned(), v.to_owned())).collect()
        })
        .collect()
}

fn joined<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join("|")
}

#[test]
fn rtcp_tables_agree() {
    if captures().is_none() {
        return;
    }
    let mut rows = 0;
    for name in [
        "rtcp/rtcp-compound-sll.pcap",
        "rtcp/ipv6_rtcp1.pcap",
        "rtcp/ipv6_rtcp2.pcap",
        "calls/SIP_CALL_RTP_G711.pcap",
        "sip/sip-tcp-call.pcap",
        "sip/aaa.pcap",
    ] {
        let datagrams = datagrams(name);
        let table = truth(name, "## RTCP");
        assert!(!table.is_empty(), "{name}");
        for row in table {
            let frame: u32 = row["frame"].parse().unwrap();
            let datagram = datagrams.iter().find(|datagram| datagram.frame == frame).unwrap();
            assert_eq!(classify(&datagram.payload), Kind::Rtcp, "{name} {frame}");
            let (mut types, mut fractions, mut lost, mut jitter) = (vec![], vec![], vec![], vec![]);
            let (mut senders, mut sources) = (vec![], vec![]);
            let hex = |ssrc: u32| format!("{ssrc:#010x}");
            // Some of these end in a few bytes that are no RTCP.
            for packet in Compound::new(&datagram.payload, 0).flatten() {
                match packet {
                    Rtcp::Report(report) => {
                        types.push(if report.sender.is_some() { 200 } else { 201 });
                        senders.push(hex(report.ssrc));
                        for block in report.blocks {
                            sources.push(hex(block.ssrc));
                            fractions.push(block.fraction_lost);
                            lost.push(block.cumulative_lost);
                            jitter.push(block.jitter);
                        }
                    }
                    Rtcp::Description(description) => {
                        types.push(202);
                        sources.extend(description.canonical_names().map(|(ssrc, _)| hex(ssrc)));
                    }
                    Rtcp::Goodbye(goodbye) => {
                        types.push(203);
                        sources.extend(goodbye.sources().map(hex));
                    }
                    other => panic!("{name} {frame}: {other:?}"),
                }
            }
            let got = [joined(&types), joined(&senders), joined(&sources), joined(&fractions)];
            let want = ["pt", "sender_ssrc", "report_ssrc", "fraction"].map(|column| row[column].clone());
            assert_eq!(got, want, "{name} {frame}");
            assert_eq!([joined(&lost), joined(&jitter)], [row["cum_lost"].clone(), row["jitter_ts"].clone()]);
            rows += 1;
        }
    }
    assert!(rows > 30, "{rows}");
}

/// The truth tables read cipher text as reports there; this must not.
#[test]
fn srtcp_is_never_read_as_reports() {
    if captures().is_none() {
        return;
    }
    for (name, expected) in [("stun/google-meet.pcapng", 25), ("stun/ndpi-stun.pcap", 3)] {
        let mut seen = 0;
        for datagram in datagrams(name).iter().filter(|d| classify(&d.payload) == Kind::Rtcp) {
            let compound = Compound::new(&datagram.payload, 0);
            assert!(compound.is_encrypted(), "{name} {}", datagram.frame);
            assert_eq!(compound.count(), 1);
            seen += 1;
        }
        assert!(seen >= expected, "{name}: {seen}");
    }
}

#[test]
fn round_trips_of_a_real_call_are_plausible() {
    if captures().is_none() {
        return;
    }
    let mut trips = RoundTrips::new(16);
    let mut samples = Vec::new();
    let mut reported = Reported::default();
    for datagram in datagrams("rtcp/rtcp-compound-sll.pcap") {
        for packet in Compound::new(&datagram.payload, 0).flatten() {
            let Rtcp::Report(report) = packet else { continue };
            let (stamp, from, to) = (datagram.stamp, datagram.source, datagram.destination);
            if let Some(sender) = report.sender {
                trips.told(stamp, from, to, report.ssrc, sender.ntp);
            }
            for block in report.blocks {
                let (last, delay) = (block.last_sr, block.delay_since_last_sr);
                samples.extend(trips.answered(stamp, from, to, block.ssrc, last, delay));
                if block.ssrc == 0x5d93_1534 {
                    let highest = block.highest_sequence as u16;
                    reported.block(stamp, report.ssrc, block, Observed { highest, expected: 0, lost: 0 });
                }
            }
        }
    }
    assert!(!samples.is_empty());
    for sample in samples {
        assert!((0.0..1.0).contains(&sample.half), "{sample:?}");
    }
    assert_eq!(reported.figures(Some(8_000)).reports, 1);
}

/// (source port, destination port, SSRC) of what probation accepts, with the packets credited and the slope.
fn accepted(name: &str) -> BTreeMap<(u16, u16, u32), (u64, Option<u32>)> {
    let mut probation = Probation::new(1_024, &EXCLUDED_PORTS);
    let mut streams: BTreeMap<_, (u64, Seen, Seen)> = BTreeMap::new();
    for datagram in datagrams(name).iter().filter(|d| classify(&d.payload) == Kind::Rtp) {
        let packet = datagram.packet();
        let header = Header::read(&datagram.payload, 0).unwrap();
        let seen = Seen::new(datagram.stamp, &header, &packet);
        let key = (packet.source.port, packet.destination.port, header.fixed.ssrc);
        if let Some((count, _, last)) = streams.get_mut(&key) {
            *count += 1;
            *last = seen;
        } else if let Some(run) = probation.packet(packet.source, packet.destination, &header, seen) {
            streams.insert(key, (run.len() as u64, run[0], seen));
        }
    }
    streams
        .into_iter()
        .map(|(key, (count, first, last))| {
            let seconds = last.stamp.seconds_since(first.stamp);
            (key, (count, clock_rate(seconds, last.timestamp.wrapping_sub(first.timestamp), count)))
        })
        .collect()
}

#[test]
fn probation_accepts_honest_streams_from_their_first_packet() {
    let Some(root) = captures() else { return };
    let mut names: Vec<String> = fs::read_dir(root.join("rtp"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension != "txt"))
        .map(|path| format!("rtp/{}", path.file_name().unwrap().to_string_lossy()))
        .collect();
    names.push("stun/stun-classic-rtp.pcap".to_owned());
    names.sort();
    let mut streams = 0;
    for name in &names {
        let got = accepted(name);
        for row in truth(name, "## RFC 3550") {
            let port = |column: &str| row[column].parse::<u16>().unwrap();
            let ssrc = u32::from_str_radix(row["ssrc"].trim_start_matches("0x"), 16).unwrap();
            let (count, rate) = got[&(port("sport"), port("dport"), ssrc)];
            // The copies its table counts in this file are quotations inside ICMP errors.
            let column = if name.ends_with("rtpproxy-srtp1.o.pcap") { "unique" } else { "packets" };
            assert_eq!(count.to_string(), row[column], "{name} {ssrc:#x}");
            if let Ok(clock) = row["clock"].parse::<u32>()
                && count >= 50
            {
                assert!(rate.is_none_or(|rate| rate == clock), "{name} {ssrc:#x}: {rate:?}");
            }
            streams += 1;
        }
    }
    assert!(streams > 20, "{streams}");
}

/// Media that is RTP, and nothing that is not: the truth tables list streams their tool invented, too.
#[test]
fn probation_invents_no_streams() {
    if captures().is_none() {
        return;
    }
    for name in [
        "stun/google-meet.pcapng",
        "stun/whatsapp-call.pcap",
        "stun/ndpi-stun.pcap",
        "stun/zeek-webrtc-stun.pcap",
    ] {
        let listed: Vec<u32> = truth(name, "## RFC 3550")
            .iter()
            .map(|row| u32::from_str_radix(row["ssrc"].trim_start_matches("0x"), 16).unwrap())
            .collect();
        for key in accepted(name).into_keys() {
            assert!(listed.contains(&key.2), "{name} {key:?}");
        }
    }
}

/// A corpus made to break parsers: everything in it is read to its end.
#[test]
fn hostile_packets_are_survived() {
    let Some(root) = captures() else { return };
    let mut read = 0;
    for folder in ["rtcp", "rtp"] {
        for entry in fs::read_dir(root.join("vectors/webrtc-fuzz").join(folder)).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            for cut in [0, 40] {
                for packet in Compound::new(&bytes, cut).flatten() {
                    match packet {
                        Rtcp::Report(report) => assert!(report.blocks.count() <= 31),
                        Rtcp::Extended { blocks, .. } => assert!(blocks.count() <= bytes.len() / 4),
                        _ => {}
                    }
                }
                if let Some(header) = Header::read(&bytes, cut) {
                    assert!(header.payload(&bytes).len() <= bytes.len());
                }
            }
            read += 1;
        }
    }
    assert!(read > 70, "{read}");
}
