//! Public captures through the decoder, against what tshark saw in them.
//!
//! Each `<capture>.truth.txt` lists the SIP messages as `frame, time, source, destination ...`; the decoder must
//! find those endpoints in those frames. Runs where the captures are: `SIDETONE_CAPTURES`, or
//! `../shared/captures` beside the repository.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test helpers stand outside of #[test] functions"
)]

#[path = "support/skipped.rs"]
mod skipped;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sidetone::Stamp;
use sidetone::limits::Limits;
use sidetone::wire::{Decoder, Frame, LinkType, Skip, Transport, fast};
use skipped::skipped;

struct Recorded {
    stamp: Stamp,
    link: LinkType,
    interface: u32,
    wire_len: u32,
    bytes: Vec<u8>,
}

impl Recorded {
    fn frame(&self) -> Frame<'_> {
        Frame {
            stamp: self.stamp,
            link: self.link,
            interface: self.interface,
            wire_len: self.wire_len,
            bytes: &self.bytes,
        }
    }
}

/// Numbers in the byte order of the file.
struct Reader {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Reader {
    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk::<4>()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn link(&self, at: usize) -> Option<LinkType> {
        self.u32(at).map(|number| LinkType(if self.big_endian { number >> 16 } else { number } as u16))
    }

    fn recorded(
        &self,
        at: usize,
        len: u32,
        wire_len: u32,
        stamp: u64,
        link: LinkType,
        interface: u32,
    ) -> Option<Recorded> {
        let bytes = self.bytes.get(at..at + len as usize)?.to_vec();
        Some(Recorded { stamp: Stamp(stamp), link, interface, wire_len, bytes })
    }
}

/// The frames of a pcap or pcapng file, their times roughly: enough for reassembly.
fn frames(bytes: Vec<u8>) -> Vec<Recorded> {
    let mut frames = Vec::new();
    match bytes.first_chunk::<4>() {
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => {
            let big_endian = bytes.get(8) == Some(&0x1a);
            pcapng(&Reader { bytes, big_endian }, &mut frames)
        }
        Some(magic) => {
            let big_endian = magic[0] == 0xa1;
            pcap(&Reader { bytes, big_endian }, &mut frames)
        }
        None => None,
    };
    frames
}

fn pcap(file: &Reader, frames: &mut Vec<Recorded>) -> Option<()> {
    let link = LinkType(file.u32(20)? as u16);
    let mut at = 24;
    loop {
        let len = file.u32(at + 8)?;
        let stamp = u64::from(file.u32(at)?) * 1_000_000_000;
        frames.push(file.recorded(at + 16, len, file.u32(at + 12)?, stamp, link, 0)?);
        at += 16 + len as usize;
    }
}

/// One section; enhanced and simple packet blocks.
fn pcapng(file: &Reader, frames: &mut Vec<Recorded>) -> Option<()> {
    let (mut at, mut links) = (0, Vec::new());
    loop {
        let len = file.u32(at + 4)? as usize;
        match file.u32(at)? {
            1 => links.push(file.link(at + 8)?),
            3 => {
                let (wire_len, captured) = (file.u32(at + 8)?, len as u32 - 16);
                frames.push(file.recorded(at + 12, captured.min(wire_len), wire_len, 0, links[0], 0)?);
            }
            6 => {
                let interface = file.u32(at + 8)?;
                let stamp = u64::from(file.u32(at + 12)?) << 32 | u64::from(file.u32(at + 16)?);
                let stamp = stamp.saturating_mul(1_000);
                let link = *links.get(interface as usize)?;
                let (captured, wire_len) = (file.u32(at + 20)?, file.u32(at + 24)?);
                frames.push(file.recorded(at + 28, captured, wire_len, stamp, link, interface)?);
            }
            _ => {}
        }
        at += len.max(12);
    }
}

fn captures() -> Option<PathBuf> {
    let directory = std::env::var_os("SIDETONE_CAPTURES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"), PathBuf::from)
        .join("public");
    if directory.is_dir() {
        return Some(directory);
    }
    skipped(format_args!("no captures at {}", directory.display()));
    None
}

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "pcap" || extension == "pcapng") {
            found.push(path);
        }
    }
}

/// Frame number -> "source destination", of the SIP messages tshark found.
fn truth(capture: &Path) -> BTreeMap<usize, String> {
    let mut name = capture.as_os_str().to_owned();
    name.push(".truth.txt");
    let text = fs::read(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    text.lines()
        .skip_while(|line| !line.starts_with("## SIP messages"))
        .skip(2)
        .take_while(|line| !line.starts_with("##"))
        .filter_map(|line| {
            let mut fields = line.split('\t');
            let frame = fields.next()?.parse().ok()?;
            Some((frame, format!("{} {}", fields.nth(1)?, fields.next()?)))
        })
        .collect()
}

/// An endpoint as tshark's list has it, without brackets.
fn plain(endpoint: sidetone::wire::Endpoint) -> String {
    format!("{}:{}", endpoint.ip, endpoint.port)
}

#[test]
fn sip_is_found_where_tshark_found_it() {
    let Some(directory) = captures() else { return };
    let mut files = Vec::new();
    files_below(&directory, &mut files);
    let (mut checked, mut wrong) = (0, Vec::new());
    for file in files {
        let truth = truth(&file);
        let mut decoder = Decoder::new(&Limits::default());
        let mut skipped = BTreeMap::<Skip, usize>::new();
        let frames = frames(fs::read(&file).unwrap());
        for (index, recorded) in frames.iter().enumerate() {
            let found = decoder.decode(&recorded.frame());
            if let Err(skip) = found {
                *skipped.entry(skip).or_default() += 1;
            }
            if recorded.link == LinkType::ETHERNET
                && let Some(datagram) = fast::slice(&recorded.bytes)
            {
                assert_eq!(Ok(datagram.packet(recorded.interface)), found);
            }
            let Some(expected) = truth.get(&(index + 1)) else { continue };
            checked += 1;
            match found {
                Ok(packet)
                    if format!("{} {}", plain(packet.source), plain(packet.destination)) == *expected =>
                {
                    let has_sip = packet.payload.windows(4).any(|window| window == b"SIP/");
                    assert!(has_sip || packet.transport != Transport::Udp, "{}", file.display());
                }
                other => wrong.push(format!("{} frame {}: {expected}: {other:?}", file.display(), index + 1)),
            }
        }
        if !skipped.is_empty() {
            println!("{} frames {} {skipped:?} {:?}", file.display(), frames.len(), decoder.counters());
        }
    }
    assert!(wrong.is_empty(), "{} of {checked}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 0);
    println!("{checked} SIP frames checked");
}
