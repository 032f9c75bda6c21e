//! Messages that others made to break parsers, RFC 4475 and fuzzing corpora: through the whole observer, in every
//! place where such bytes can stand, whole and cut.
//!
//! They are not part of this repository: they are looked for in `SIDETONE_CAPTURES`, or beside it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may fail like the test itself")]
#![allow(clippy::print_stdout, reason = "a test says why it was skipped")]

#[path = "support/skipped.rs"]
mod skipped;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use sidetone::Stamp;
use sidetone::capture::file::Files;
use sidetone::capture::{Progress, Source};
use sidetone::event::Event;
use sidetone::hep;
use sidetone::observer::{Observer, Settings};
use sidetone::sip::{body, scan, sdp, vq};
use sidetone::wire::{Endpoint, Frame, LinkType};
use skipped::skipped;

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// IPv4 packets that carry the bytes as a datagram to each port, and as a segment.
fn packets(bytes: &[u8]) -> Vec<Vec<u8>> {
    let bytes = bytes.get(..60_000).unwrap_or(bytes);
    let ipv4 = |protocol: u8, payload: &[u8]| {
        let [high, low] = (payload.len() as u16 + 20).to_be_bytes();
        let head = [0x45, 0, high, low, 0, 1, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2];
        [&head, payload].concat()
    };
    let [high, low] = (bytes.len() as u16 + 8).to_be_bytes();
    let mut packets: Vec<Vec<u8>> = [5_060_u16, 4_000, 4_001, 4_789, 2_152, 9_060]
        .map(|port| {
            let [first, second] = port.to_be_bytes();
            ipv4(17, &[&[first, second, first, second, high, low, 0, 0], bytes].concat())
        })
        .to_vec();
    let segment = [0x13, 0xc4, 0x13, 0xc4, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0];
    packets.push(ipv4(6, &[&segment, bytes].concat()));
    let chunk = (bytes.len() as u16 + 16).to_be_bytes();
    let head = [
        0x13, 0xc4, 0x13, 0xc4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 3, chunk[0], chunk[1], 0, 0, 0, 1, 0, 0, 0, 0, 0,
        0, 0, 0,
    ];
    packets.push(ipv4(132, &[&head, bytes].concat()));
    packets
}

fn mirrored(bytes: &[u8]) -> Vec<u8> {
    let end = Endpoint { ip: [192, 0, 2, 1].into(), port: 5_060 };
    let record = hep::Hep {
        source: end,
        destination: end,
        protocol: 17,
        stamp: None,
        kind: hep::Kind::Sip,
        agent: 0,
        node: b"",
        auth_key: b"",
        correlation: b"",
        payload: bytes,
    };
    let mut out = Vec::new();
    hep::encode(&record, &mut out);
    out
}

#[test]
fn nothing_in_the_corpora_breaks_the_observer_or_a_reader() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    let captures = std::env::var_os("SIDETONE_CAPTURES").map_or(beside, PathBuf::from);
    let folder = captures.join("public/vectors");
    if !folder.is_dir() {
        skipped(format_args!("no corpora in {}; set SIDETONE_CAPTURES", folder.display()));
        return;
    }
    let mut found = Vec::new();
    files(&folder, &mut found);
    // One observer for all, so that the messages also meet what the others left behind.
    let mut observer = Observer::new(Settings::default());
    let (mut now, mut sent, mut told) = (Stamp(1_767_225_600_000_000_000), 0_u64, 0_u64);
    for path in &found {
        let bytes = fs::read(path).unwrap();
        for eighths in [8, 7, 5, 3, 1] {
            let part = &bytes[..bytes.len() * eighths / 8];
            let mut send = |link, bytes: &[u8]| {
                now = now.plus_nanos(70_000_000);
                sent += 1;
                let frame = Frame { stamp: now, link, interface: 0, wire_len: bytes.len() as u32 + 3, bytes };
                observer.packets(&[frame], &mut |_: Event| told += 1);
            };
            for packet in packets(part).iter().chain(&packets(&mirrored(part))) {
                send(LinkType::RAW, packet);
            }
            for link in [1, 9, 12, 50, 51, 108, 113, 276] {
                send(LinkType(link), part);
            }
            parse(part);
            read(part);
        }
    }
    observer.finish(&mut |_: Event| told += 1);
    assert_eq!(observer.totals().packets, sent);
    println!("{} files, {sent} frames, {told} facts", found.len());
    assert!(told > 0);
}

/// As a whole message, whatever it is.
fn parse(bytes: &[u8]) {
    let mut session = sdp::Session::default();
    sdp::parse(bytes, &mut session);
    let _ = vq::VoiceQuality::read(bytes);
    let _ = hep::decode(bytes, &mut Vec::new());
    if let Some(message) = scan(bytes) {
        sdp::parse(body::find(&message).sdp, &mut session);
    }
}

/// As a file, plain and behind the magic of each format.
fn read(bytes: &[u8]) {
    for magic in [&b""[..], b"\xd4\xc3\xb2\xa1", b"\x0a\x0d\x0d\x0a", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"] {
        let mut files = Files::from_reader("corpus", Cursor::new([magic, bytes].concat()));
        while files.poll(&mut |_| {}).unwrap() == Progress::More {}
    }
}
