//! Real captures: as many SIP messages come off TCP, WebSocket and HEP as their truth files say. Captures stand
//! beside the repository or where `SIDETONE_CAPTURES` says; without them the tests say so and pass.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's own walker may fail, and says why it skips"
)]

#[path = "support/skipped.rs"]
mod skipped;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use sidetone::event::SipTransport;
use sidetone::hep;
use sidetone::limits::Limits;
use sidetone::stamp::Stamp;
use sidetone::wire::tcp::{Counters, Kind, Record, Streams};
use sidetone::wire::{Endpoint, Packet, Transport};
use skipped::skipped;

/// One datagram or segment of a classic little-endian Ethernet capture.
struct Seen {
    stamp: Stamp,
    source: Endpoint,
    destination: Endpoint,
    transport: Transport,
    payload: Vec<u8>,
    cut: u32,
}

/// A SIP message off a stream.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    stamp: u64,
    source: String,
    first_line: String,
    call_id: String,
    transport: SipTransport,
    whole: bool,
}

fn captures() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    let root = std::env::var_os("SIDETONE_CAPTURES").map_or(beside, PathBuf::from);
    if root.is_dir() {
        return Some(root);
    }
    skipped(format_args!("no captures at {}", root.display()));
    None
}

fn packets(bytes: &[u8]) -> Vec<Seen> {
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let unit = match u32_at(0) {
        0xa1b2_c3d4 => 1000,
        0xa1b2_3c4d => 1,
        magic => panic!("magic {magic:#x}"),
    };
    let link = u32_at(20);
    assert!(link == 1 || link == 113, "link type {link}");
    let mut seen = Vec::new();
    let mut at = 24;
    while at < bytes.len() {
        let stamp = Stamp(u64::from(u32_at(at)) * 1_000_000_000 + u64::from(u32_at(at + 4)) * unit);
        let len = u32_at(at + 8) as usize;
        let frame = &bytes[at + 16..at + 16 + len];
        at += 16 + len;
        seen.extend(decode(stamp, &frame[if link == 1 { 12 } else { 14 }..]));
    }
    seen
}

/// From the Ethernet type on; no fragments, no tunnels.
fn decode(stamp: Stamp, frame: &[u8]) -> Option<Seen> {
    let u16_at = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let ip = &frame[2..];
    let (protocol, source, destination, header, total) = match u16_at(frame, 0) {
        0x8100 => return decode(stamp, &frame[4..]),
        0x0800 => (
            ip[9],
            Ipv4Addr::from(<[u8; 4]>::try_from(&ip[12..16]).unwrap()).into(),
            Ipv4Addr::from(<[u8; 4]>::try_from(&ip[16..20]).unwrap()).into(),
            usize::from(ip[0] & 15) * 4,
            usize::from(u16_at(ip, 2)),
        ),
        0x86dd => (
            ip[6],
            Ipv6Addr::from(<[u8; 16]>::try_from(&ip[8..24]).unwrap()).into(),
            Ipv6Addr::from(<[u8; 16]>::try_from(&ip[24..40]).unwrap()).into(),
            40,
            40 + usize::from(u16_at(ip, 4)),
        ),
        _ => return None,
    };
    let segment = &ip[header..total.min(ip.len())];
    let (transport, offset) = match protocol {
        6 => {
            let seq = u32::from_be_bytes(segment[4..8].try_into().unwrap());
            let flag = |bit: u8| segment[13] & bit != 0;
            (
                Transport::Tcp { seq, syn: flag(2), fin: flag(1), rst: flag(4) },
                usize::from(segment[12] >> 4) * 4,
            )
        }
        17 => (Transport::Udp, 8),
        _ => return None,
    };
    Some(Seen {
        stamp,
        source: Endpoint { ip: source, port: u16_at(segment, 0) },
        destination: Endpoint { ip: destination, port: u16_at(segment, 2) },
        transport,
        payload: segment[offset.min(segment.len())..].to_vec(),
        cut: total.saturating_sub(ip.len()) as u32,
    })
}

fn streams(path: &Path) -> (Vec<Found>, Counters) {
    let mut streams = Streams::new(&Limits::default());
    let mut found = Vec::new();
    let mut out = |record: Record<'_>| {
        assert_eq!(record.kind, Kind::Sip);
        let text = String::from_utf8_lossy(record.bytes);
        let call_id = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            ["call-id", "i"].contains(&name.trim().to_ascii_lowercase().as_str()).then_some(value.trim())
        });
        found.push(Found {
            stamp: record.stamp.0,
            source: record.source.ip.to_string(),
            first_line: text.lines().next().unwrap_or_default().to_owned(),
            call_id: call_id.unwrap_or_default().to_owned(),
            transport: record.transport,
            whole: record.whole,
        });
    };
    for seen in packets(&std::fs::read(path).unwrap()) {
        let Seen { stamp, source, destination, transport, ref payload, cut } = seen;
        let (ip_id, dscp, interface) = (None, 0, 0);
        let packet = Packet { source, destination, transport, payload, cut, ip_id, dscp, interface };
        streams.segment(stamp, &packet, &mut out);
    }
    streams.finish(&mut out);
    assert_eq!(streams.held_bytes(), 0);
    (found, streams.counters())
}

/// (time in ns, source address, Call-ID) of each TCP message in a `.truth.txt`: of the SIP table those rows that
/// stand on one of `ports`.
fn truth(path: &Path, ports: &[&str]) -> Vec<(u64, String, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    let table = text.split("## SIP messages").nth(1).unwrap();
    let mut rows = Vec::new();
    for line in table.lines().skip(2).take_while(|line| !line.is_empty()) {
        let columns: Vec<&str> = line.split('\t').collect();
        let on = |column: &str| ports.iter().any(|port| column.ends_with(&format!(":{port}")));
        if on(columns[2]) || on(columns[3]) {
            for call_id in columns[8].split('|') {
                let source = columns[2].rsplit_once(':').unwrap().0.to_owned();
                rows.push((nanos(columns[1]), source, call_id.to_owned()));
            }
        }
    }
    rows
}

fn nanos(seconds: &str) -> u64 {
    let (whole, fraction) = seconds.split_once('.').unwrap();
    whole.parse::<u64>().unwrap() * 1_000_000_000 + format!("{fraction:0<9}").parse::<u64>().unwrap()
}

fn agrees(name: &str, ports: &[&str], transport: SipTransport) {
    let Some(root) = captures() else { return };
    let path = root.join("public/sip").join(name);
    let (found, counters) = streams(&path);
    let expected = truth(&root.join("public/sip").join(format!("{name}.truth.txt")), ports);
    assert!(!expected.is_empty());
    let seen: Vec<_> =
        found.iter().map(|found| (found.stamp, found.source.clone(), found.call_id.clone())).collect();
    assert_eq!(seen, expected);
    assert!(found.iter().all(|found| found.transport == transport && found.whole), "{found:?}");
    assert_eq!((counters.gaps, counters.out_of_step, counters.dropped_bytes), (0, 0, 0));
}

#[test]
fn sip_over_tcp_agrees_with_its_truth() {
    agrees("sip-tcp-call.pcap", &["5060"], SipTransport::Tcp);
    agrees("suri-sip-tcp-method.pcap", &["5060"], SipTransport::Tcp);
}

#[test]
fn sip_over_websocket_agrees_with_its_truth() {
    agrees("sip-websocket.pcap", &["8080"], SipTransport::Ws);
}

/// The laboratory's own table tells 84 frames with SIP over TCP and 21 with SIP over WebSocket.
#[test]
fn the_laboratory_mix_of_tcp_and_websocket_agrees_with_its_truth() {
    let Some(root) = captures() else { return };
    let (found, counters) = streams(&root.join("lab/4-tcp-ws.pcap"));
    let rows = std::fs::read_to_string(root.join("lab/4-tcp-ws.sip.tsv")).unwrap();
    for found in &found {
        let named = rows.lines().any(|row| {
            let columns: Vec<&str> = row.split('\t').collect();
            columns[8] == found.call_id && columns[2] == found.source && nanos_or_0(columns[1]) == found.stamp
        });
        assert!(named && found.whole, "{found:?}");
    }
    let of = |transport| found.iter().filter(|found| found.transport == transport).count();
    println!("{} over TCP, {} over WebSocket, {counters:?}", of(SipTransport::Tcp), of(SipTransport::Ws));
    let frames = std::fs::read_to_string(root.join("lab/4-tcp-ws.protocols.txt")).unwrap();
    let frames: Vec<usize> = frames
        .lines()
        .filter(|line| line.trim_start().starts_with("sip "))
        .map(|line| line.split("frames:").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!([of(SipTransport::Tcp), of(SipTransport::Ws)], frames[1..]);
    assert_eq!((counters.gaps, counters.out_of_step), (0, 0));
}

fn nanos_or_0(seconds: &str) -> u64 {
    if seconds.contains('.') { nanos(seconds) } else { 0 }
}

#[test]
fn hep_of_the_laboratory_agrees_with_its_listener() {
    let Some(root) = captures() else { return };
    let listener = std::fs::read_to_string(root.join("lab/5-hep.hep.jsonl")).unwrap();
    let rows: Vec<serde_json::Value> =
        listener.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (mut scratch, mut again) = (Vec::new(), Vec::new());
    let seen = packets(&std::fs::read(root.join("lab/5-hep.pcap")).unwrap());
    assert!(seen.len() > 100);
    for seen in &seen {
        let hep = hep::decode(&seen.payload, &mut scratch).unwrap();
        let kind = match hep.kind {
            hep::Kind::Sip => 1,
            hep::Kind::RtcpJson => 5,
            kind => panic!("{kind:?}"),
        };
        let named = rows.iter().any(|row| {
            let ports = row["sport"] == hep.source.port && row["dport"] == hep.destination.port;
            let nanos = row["sec"].as_u64().unwrap() * 1_000_000_000 + row["usec"].as_u64().unwrap() * 1000;
            let payload = String::from_utf8_lossy(hep.payload);
            ports
                && row["src4"] == hep.source.ip.to_string()
                && row["dst4"] == hep.destination.ip.to_string()
                && hep.stamp == Some(Stamp(nanos))
                && (row["type"] == kind && row["agent"] == hep.agent && row["proto"] == hep.protocol)
                && payload.starts_with(row["payload"].as_str().unwrap())
        });
        assert!(named, "{hep:?}");
        hep::encode(&hep, &mut again);
        assert_eq!(hep::decode(&again, &mut Vec::new()), Ok(hep));
    }
}

/// Eight records: six SIP messages, a log line, RTCP as JSON.
#[test]
fn public_hep_agrees_with_its_truth() {
    use hep::Kind::{Log, RtcpJson, Sip};
    let Some(root) = captures() else { return };
    let mut kinds = Vec::new();
    let mut stream = Vec::new();
    for seen in packets(&std::fs::read(root.join("public/hep/hep.pcap")).unwrap()) {
        let mut scratch = Vec::new();
        let hep = hep::decode(&seen.payload, &mut scratch).unwrap();
        assert_eq!((hep.agent, hep.auth_key, hep.protocol), (2001, b"myHep".as_slice(), 17));
        assert_eq!(hep.correlation, b"qgf3dm9rudi@127.0.0.1");
        kinds.push((hep.kind, hep.payload.len()));
        stream.extend(&seen.payload);
    }
    let expected =
        [(Sip, 638), (Sip, 322), (Sip, 432), (Sip, 298), (Log, 83), (Sip, 409), (Sip, 813), (RtcpJson, 333)];
    assert_eq!(kinds, expected);

    // The same records over TCP, in pieces, without the connection's beginning.
    let mut streams = Streams::new(&Limits::default());
    let mut found = Vec::new();
    let end = |last| Endpoint { ip: [127, 0, 0, last].into(), port: 9060 };
    for (place, payload) in stream.chunks(333).enumerate() {
        let packet = Packet {
            source: end(1),
            destination: end(2),
            transport: Transport::Tcp { seq: place as u32 * 333, syn: false, fin: false, rst: false },
            payload,
            cut: 0,
            ip_id: None,
            dscp: 0,
            interface: 0,
        };
        streams.segment(Stamp(place as u64), &packet, &mut |record: Record<'_>| {
            assert_eq!(record.kind, Kind::Hep);
            let mut scratch = Vec::new();
            let hep = hep::decode(record.bytes, &mut scratch).unwrap();
            found.push((hep.kind, hep.payload.len()));
        });
    }
    assert_eq!(found, expected);
}

/// forall captures: read as streams and as HEP they do no harm, whatever they hold.
#[test]
fn every_capture_is_survived() {
    let Some(root) = captures() else { return };
    let mut folders = vec![root];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "pcap") {
                read += usize::from(survives(&path));
            }
        }
    }
    println!("{read} captures");
}

fn survives(path: &Path) -> bool {
    let bytes = std::fs::read(path).unwrap();
    if !bytes.starts_with(&[0xd4, 0xc3, 0xb2, 0xa1])
        || ![1, 113].contains(&bytes[20])
        || bytes.len() > 5 << 20
    {
        return false;
    }
    let Ok(seen) = std::panic::catch_unwind(|| packets(&bytes)) else { return false };
    let mut streams = Streams::new(&Limits::default());
    for seen in &seen {
        let Seen { stamp, source, destination, transport, ref payload, cut } = *seen;
        let (ip_id, dscp, interface) = (None, 0, 0);
        let packet = Packet { source, destination, transport, payload, cut, ip_id, dscp, interface };
        streams.segment(stamp, &packet, &mut |_: Record<'_>| ());
        let _ = hep::decode(payload, &mut Vec::new());
    }
    true
}
