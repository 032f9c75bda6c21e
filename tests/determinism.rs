//! The same frames give the same document: on every run, in batches of any size, and when the capture is cut
//! into files that are named in any order.
//!
//! Captures are simulated, and real ones looked for in `SIDETONE_CAPTURES` or beside the repository.

#![allow(clippy::print_stdout, reason = "tests say what they measured and why they skip")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may fail like the test itself")]

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use sidetone::Stamp;
use sidetone::capture::file::Files;
use sidetone::capture::{Progress, Source};
use sidetone::event::{Event, Sink};
use sidetone::export::json;
use sidetone::limits::Limits;
use sidetone::observer::{Observer, Settings};
use sidetone::rtp::payload::Codec;
use sidetone::simulate::{Plan, write};
use sidetone::wire::{Frame, LinkType};
use tempfile::TempDir;

/// A frame, owned.
#[derive(Clone, Debug, PartialEq)]
struct Owned {
    stamp: Stamp,
    link: LinkType,
    interface: u32,
    wire_len: u32,
    bytes: Vec<u8>,
}

impl Owned {
    fn of(frame: &Frame<'_>) -> Self {
        let Frame { stamp, link, interface, wire_len, bytes } = *frame;
        Self { stamp, link, interface, wire_len, bytes: bytes.to_vec() }
    }

    fn frame(&self) -> Frame<'_> {
        let Self { stamp, link, interface, wire_len, ref bytes } = *self;
        Frame { stamp, link, interface, wire_len, bytes }
    }
}

fn drain(mut files: Files) -> Vec<Owned> {
    let mut frames = Vec::new();
    while files.poll(&mut |batch| frames.extend(batch.iter().map(Owned::of))).unwrap() == Progress::More {}
    frames
}

/// The document about some frames, handed over `batch` at a time; of the files nothing is said.
fn document(frames: &[Owned], batch: usize) -> String {
    document_within(frames, batch, &Limits::default())
}

fn document_within(frames: &[Owned], batch: usize, limits: &Limits) -> String {
    let mut observer = Observer::new(Settings { limits: limits.clone(), ..Settings::default() });
    let mut report = json::Report::new();
    let mut sink = |event: Event| report.event(event);
    for frames in frames.chunks(batch) {
        let frames: Vec<Frame<'_>> = frames.iter().map(Owned::frame).collect();
        observer.packets(&frames, &mut sink);
    }
    observer.finish(&mut sink);
    let mut out = Vec::new();
    report.finish(&observer.totals(), &[], &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// The first lines that differ, since whole documents are too long to be read.
fn assert_same(one: &str, other: &str, what: &str) {
    if one != other {
        let differ = one.lines().zip(other.lines()).find(|(one, other)| one != other);
        let (one, other) = differ.unwrap_or(("a different number of lines", ""));
        let at = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count().saturating_sub(60);
        let show = |line: &str| line.get(at..).map(|rest| rest.chars().take(160).collect::<String>());
        panic!("{what}:\n{:?}\n{:?}", show(one), show(other));
    }
}

/// A pcapng file that says of each frame all that a reader can tell.
fn pcapng(frames: &[Owned]) -> Vec<u8> {
    let block = |out: &mut Vec<u8>, kind: u32, body: &[&[u8]]| {
        let length = body.iter().map(|part| part.len()).sum::<usize>();
        let total = (length.next_multiple_of(4) + 12) as u32;
        out.extend([kind, total].iter().flat_map(|word| word.to_le_bytes()));
        out.extend(body.concat());
        out.resize(out.len() + length.next_multiple_of(4) - length, 0);
        out.extend(total.to_le_bytes());
    };
    let mut out = Vec::new();
    let (mut interfaces, mut links) = (0, Vec::new());
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    block(&mut out, 0x0a0d_0d0a, &[&words(&[0x1a2b_3c4d, 1]), &[0xff; 8]]);
    // Every part describes the same interfaces, those it has no frame of too.
    for frame in frames {
        interfaces = interfaces.max(frame.interface + 1);
        if links.is_empty() {
            links = vec![frame.link; 8];
        }
        links[frame.interface as usize] = frame.link;
    }
    for link in links.iter().take(interfaces as usize) {
        block(&mut out, 1, &[&words(&[u32::from(link.0), 0]), &[9, 0, 1, 0, 9, 0, 0, 0]]);
    }
    for frame in frames {
        let (high, low) = ((frame.stamp.0 >> 32) as u32, frame.stamp.0 as u32);
        let head = words(&[frame.interface, high, low, frame.bytes.len() as u32, frame.wire_len]);
        block(&mut out, 6, &[&head, &frame.bytes]);
    }
    out
}

/// Places to cut, by a seed.
fn places(seed: usize, count: usize, length: usize) -> Vec<usize> {
    let mut state = seed as u64 + 1;
    let mut places: Vec<usize> = (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % length.max(1)
        })
        .collect();
    places.sort_unstable();
    places
}

/// Tables that even a few calls fill: what gives way must not be left to chance either.
fn tight() -> Limits {
    Limits {
        calls: 4,
        transactions: 8,
        registrations: 2,
        streams: 5,
        endpoints: 4,
        candidates: 2,
        fragments: 1,
        tcp_flows: 2,
        tcp_bytes: 2_000,
        ..Limits::default()
    }
}

/// Cuts a capture at these places and reads the parts, named in an order that is not theirs.
fn cut(frames: &[Owned], places: &[usize]) -> Vec<Owned> {
    let folder = TempDir::new().unwrap();
    let ends = places.iter().copied().chain([frames.len()]);
    let mut begin = 0;
    let mut paths: Vec<PathBuf> = Vec::new();
    for (i, end) in ends.enumerate() {
        let path = folder.path().join(format!("{}.pcapng", 9 - i));
        fs::write(&path, pcapng(&frames[begin..end])).unwrap();
        paths.push(path);
        begin = end;
    }
    paths.rotate_left(1);
    drain(Files::open(&paths))
}

/// forall captures: run == run, batch == batch.
fn check_runs(frames: &[Owned], what: &str) -> String {
    let first = document(frames, 64);
    assert_same(&first, &document(frames, 64), &format!("{what}: two runs"));
    for batch in [1, 3, frames.len().max(1)] {
        assert_same(&first, &document(frames, batch), &format!("{what}: in batches of {batch}"));
    }
    let within = |batch| document_within(frames, batch, &tight());
    assert_same(&within(64), &within(5), &format!("{what}: full tables"));
    first
}

/// forall captures and places: whole == parts.
fn check_cuts(frames: &[Owned], whole: &str, what: &str, tries: usize) {
    for seed in 0..tries {
        let places = places(seed, 1 + seed % 2, frames.len());
        let parts = cut(frames, &places);
        assert_same(whole, &document(&parts, 64), &format!("{what}: cut at {places:?}"));
    }
}

fn simulated(plan: &Plan) -> Vec<Owned> {
    let (bytes, _) = write(plan, Vec::new()).unwrap();
    drain(Files::from_reader("simulated", Cursor::new(bytes)))
}

fn evening() -> Plan {
    Plan {
        calls: 40,
        duration: 8.0,
        loss: 3.0,
        burst: 2.0,
        jitter: 10.0,
        reorder: 1.0,
        duplicate: 1.0,
        mix: 40.0,
        registrations: 20,
        ..Plan::default()
    }
}

#[test]
fn simulated_calls_of_all_kinds() {
    for (codec, seed) in [(Codec::Pcmu, 1), (Codec::Opus, 2), (Codec::G729, 3)] {
        let frames = simulated(&Plan { codec, seed, ..evening() });
        assert!(frames.len() > 10_000);
        let whole = check_runs(&frames, codec.name());
        check_cuts(&frames, &whole, codec.name(), 6);
    }
}

/// Two interfaces see the same frames, and the first one also mirrors some.
#[test]
fn frames_captured_twice() {
    let mut frames = Vec::new();
    for (i, frame) in simulated(&Plan { calls: 10, duration: 3.0, ..evening() }).into_iter().enumerate() {
        let copy = Owned { interface: 1, stamp: frame.stamp.plus_nanos(3_000), ..frame.clone() };
        frames.push(frame.clone());
        frames.push(copy);
        if i % 3 == 0 {
            frames.push(Owned { stamp: frame.stamp.plus_nanos(7_000), ..frame });
        }
    }
    frames.sort_by_key(|frame| frame.stamp);
    let whole = check_runs(&frames, "captured twice");
    check_cuts(&frames, &whole, "captured twice", 6);
}

#[test]
fn the_program_prints_the_same_bytes_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("evening.pcap");
    let (bytes, _) = write(&evening(), Vec::new()).unwrap();
    fs::write(&path, &bytes).unwrap();
    for format in ["json", "table", "prometheus"] {
        let run = || {
            let program = Command::new(env!("CARGO_BIN_EXE_sidetone"))
                .args(["analyze", "--format", format])
                .arg(&path)
                .output()
                .unwrap();
            assert!(program.status.success());
            String::from_utf8(program.stdout).unwrap()
        };
        let first = run();
        for _ in 0..3 {
            assert_same(&first, &run(), format);
        }
    }
}

/// Where real captures are, if anywhere.
fn captures() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    let folder = std::env::var_os("SIDETONE_CAPTURES").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: no captures in {}; set SIDETONE_CAPTURES", folder.display());
    None
}

#[test]
fn real_captures() {
    let Some(folder) = captures() else { return };
    let (mut tried, mut out_of_order) = (0, 0);
    for path in Files::open([folder]).captures() {
        if fs::metadata(path).is_ok_and(|metadata| metadata.len() > LARGE) {
            continue;
        }
        let frames = drain(Files::open([path]));
        if frames.is_empty() || frames.iter().any(|frame| frame.interface >= 8) {
            continue;
        }
        tried += 1;
        let name = path.display().to_string();
        let whole = check_runs(&frames, &name);
        // Where time goes back, nobody can know that two files were one.
        let back =
            frames.windows(2).any(|pair| pair[0].stamp.nanos_since(pair[1].stamp) > OUT_OF_ORDER_NANOS);
        if back {
            out_of_order += 1;
        } else {
            check_cuts(&frames, &whole, &name, 3);
        }
    }
    println!("{tried} captures, {out_of_order} of them out of order and not cut");
    assert!(tried > 0);
}

/// What the capture of several CPUs may be out of order.
const OUT_OF_ORDER_NANOS: i64 = 200_000;
/// Larger files take too long in a debug build.
const LARGE: u64 = 8 << 20;
