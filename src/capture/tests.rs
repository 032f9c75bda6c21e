//! Generated files of every kind, whole, cut at every byte, damaged; and real ones where they are at hand.

use std::fs;
use std::io::{Cursor, Read, Write as _};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::file::Files;
use super::pcap::Writer;
use super::{Fault, FaultKind, Progress, Source};
use crate::Stamp;
use crate::wire::LinkType;

/// A frame, owned: stamp, link type, interface, length on the wire, bytes.
type Owned = (u64, u16, u32, u32, Vec<u8>);

fn drain(mut files: Files) -> (Vec<Owned>, Vec<Fault>) {
    let mut frames = Vec::new();
    loop {
        let progress = files.poll(&mut |batch| {
            assert!((1..=super::BATCH).contains(&batch.len()));
            frames.extend(
                batch.iter().map(|f| (f.stamp.0, f.link.0, f.interface, f.wire_len, f.bytes.to_vec())),
            );
        });
        if progress.unwrap() == Progress::End {
            return (frames, files.faults().to_vec());
        }
    }
}

fn read(bytes: &[u8]) -> (Vec<Owned>, Vec<Fault>) {
    drain(Files::from_reader("test", Cursor::new(bytes.to_vec())))
}

fn stamps(frames: &[Owned]) -> Vec<u64> {
    frames.iter().map(|frame| frame.0).collect()
}

/// A pcap of frames at these times, each with its own number as content.
fn pcap(stamps: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), LinkType(1)).unwrap();
    for (i, stamp) in stamps.into_iter().enumerate() {
        writer.frame(Stamp(stamp), &vec![i as u8; 20 + i % 7]).unwrap();
    }
    writer.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Writes pcapng blocks in one byte order.
#[derive(Clone, Default)]
struct Blocks {
    big: bool,
    bytes: Vec<u8>,
}

impl Blocks {
    fn words(&self, words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|w| if self.big { w.to_be_bytes() } else { w.to_le_bytes() }).collect()
    }

    fn halves(&self, halves: &[u16]) -> Vec<u8> {
        halves.iter().flat_map(|h| if self.big { h.to_be_bytes() } else { h.to_le_bytes() }).collect()
    }

    fn block(mut self, kind: u32, body: &[u8]) -> Self {
        let length = (body.len().next_multiple_of(4) + 12) as u32;
        self.bytes.extend(self.words(&[kind, length]));
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend(self.words(&[length]));
        self
    }

    fn section(mut self, big: bool) -> Self {
        self.big = big;
        let body = [self.words(&[0x1a2b_3c4d]), self.halves(&[1, 0]), vec![0xff; 8]].concat();
        self.block(0x0a0d_0d0a, &body)
    }

    fn interface(self, link: u16, snap_length: u32, options: &[(u16, &[u8])]) -> Self {
        let mut body = [self.halves(&[link, 0]), self.words(&[snap_length])].concat();
        for (code, value) in options {
            body.extend(self.halves(&[*code, value.len() as u16]));
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.block(1, &body)
    }

    fn enhanced(self, interface: u32, ticks: u64, wire_len: u32, data: &[u8]) -> Self {
        let head = self.words(&[interface, (ticks >> 32) as u32, ticks as u32, data.len() as u32, wire_len]);
        self.block(6, &[&head, data].concat())
    }
}

fn every_block(big: bool) -> Vec<u8> {
    let offset = if big { 7_i64.to_be_bytes() } else { 7_i64.to_le_bytes() };
    let blocks = Blocks::default().section(big).block(4, b"name resolution");
    let blocks = blocks
        .interface(1, 0, &[])
        .interface(101, 0, &[(2, b"eth7"), (9, &[9]), (14, &offset), (0, &[])])
        .interface(276, 0, &[(9, &[0x8a])])
        .interface(0, 0, &[(9, &[12])])
        .block(0x0bad, b"custom, unknown");
    let blocks = blocks.enhanced(0, 1_000_001, 60, b"one").enhanced(1, 5_000_000_000, 3, b"two");
    let blocks = blocks.enhanced(2, 13 * 1024 + 512, 5, b"three").enhanced(3, 14_000_000_000_000, 4, b"four");
    let simple = [blocks.words(&[9]), b"simple".to_vec()].concat();
    let old = [blocks.halves(&[1, 0]), blocks.words(&[1, 0, 4, 4]), b"old!".to_vec()].concat();
    blocks.block(3, &simple).block(5, b"statistics..").block(2, &old).bytes
}

#[test]
fn pcap_in_both_byte_orders_and_all_resolutions() {
    for (magic, fraction, long) in [(0xa1b2_c3d4_u32, 5, 0), (0xa1b2_3c4d, 5_000, 0), (0xa1b2_cd34, 5, 8)] {
        for big in [false, true] {
            let order = Blocks { big, bytes: Vec::new() };
            let mut file = order.words(&[magic]);
            file.extend(order.halves(&[2, 4]));
            file.extend(order.words(&[0, 0, 0xffff_ffff, 0x3400_0001]));
            file.extend(order.words(&[7, fraction, 3, 60]));
            file.extend(order.words(&[42, 0]).get(..long).unwrap());
            file.extend(b"abc");
            let interface = if long > 0 { 42 } else { 0 };
            assert_eq!(read(&file), (vec![(7_000_005_000, 1, interface, 60, b"abc".to_vec())], vec![]));
        }
    }
}

#[test]
fn a_captured_length_beyond_reason_is_damage_after_what_came_before() {
    let mut file = pcap([1, 2]);
    let length = file.len() as u64;
    file.extend([0_u32, 3, 0x00ff_ffff, 60].map(u32::to_le_bytes).concat());
    file.extend([0; 100]);
    let (frames, faults) = read(&file);
    assert_eq!(stamps(&frames), [1, 2]);
    assert_eq!((faults[0].kind, faults[0].offset), (FaultKind::Corrupt, length));
    assert!(faults[0].to_string().contains("16777215"), "{}", faults[0]);
}

#[test]
fn pcapng_with_every_kind_of_block_in_both_byte_orders() {
    let expected = vec![
        (1_000_001_000, 1, 0, 60, b"one".to_vec()),
        (12_000_000_000, 101, 1, 3, b"two".to_vec()),
        (13_500_000_000, 276, 2, 5, b"three".to_vec()),
        (14_000_000_000, 0, 3, 4, b"four".to_vec()),
        (14_000_000_000, 1, 0, 9, b"simple\0\0".to_vec()),
        (7_000_000_000 + (1 << 32), 101, 1, 4, b"old!".to_vec()),
    ];
    assert_eq!(read(&every_block(false)), (expected.clone(), vec![]));
    assert_eq!(read(&every_block(true)), (expected.clone(), vec![]));
    let both = [every_block(true), every_block(false)].concat();
    assert_eq!(read(&both), ([expected.clone(), expected].concat(), vec![]));
}

#[test]
fn a_simple_packet_is_cut_by_the_snap_length_of_its_interface() {
    let blocks = Blocks::default().section(false).interface(1, 4, &[]);
    let body = [blocks.words(&[99]), b"data".to_vec()].concat();
    assert_eq!(read(&blocks.block(3, &body).bytes).0, [(0, 1, 0, 99, b"data".to_vec())]);
}

#[test]
fn pcapng_damage_is_named_with_its_place() {
    let good = Blocks::default().section(false).interface(1, 0, &[]).enhanced(0, 1, 3, b"abc");
    let at = good.bytes.len() as u64;
    let mut ends_differ = good.clone().enhanced(0, 2, 3, b"def").bytes;
    *ends_differ.last_mut().unwrap() ^= 1;
    let cases = [
        (ends_differ, "different lengths"),
        (good.clone().enhanced(3, 2, 3, b"def").bytes, "interface 3"),
        (good.clone().block(6, b"short").bytes, "too short"),
        ([good.bytes.clone(), good.words(&[6, 13, 0])].concat(), "length 13"),
        ([good.bytes.clone(), good.words(&[6, 0xffff_fffc, 0])].concat(), "length 4294967292"),
        ([good.bytes.clone(), good.words(&[0x0a0d_0d0a, 28, 0x1111_1111])].concat(), "byte-order"),
    ];
    for (file, what) in cases {
        let (frames, faults) = read(&file);
        assert_eq!(stamps(&frames), [1_000], "{what}");
        assert_eq!((faults[0].kind, faults[0].offset), (FaultKind::Corrupt, at), "{what}");
        assert!(faults[0].message.contains(what), "{}", faults[0]);
    }
}

#[test]
fn records_and_blocks_larger_than_a_read() {
    let big = vec![7; 700_000];
    let blocks = Blocks::default().section(true).interface(1, 0, &[]).block(0x0bad, &big);
    let (frames, faults) = read(&blocks.enhanced(0, 1, 1, &big).enhanced(0, 2, 1, b"x").bytes);
    assert_eq!(frames.iter().map(|f| f.4.len()).collect::<Vec<_>>(), [700_000, 1]);
    assert_eq!(faults, []);
}

#[test]
fn cut_at_every_byte_all_frames_before_the_cut_are_delivered() {
    for whole in [pcap([1, 2, 3, 4]), every_block(false), every_block(true)] {
        let (all, _) = read(&whole);
        let mut delivered = 0;
        for cut in 1..whole.len() {
            let (frames, faults) = read(&whole[..cut]);
            assert!(frames.len() >= delivered);
            assert_eq!(frames, all[..frames.len()]);
            delivered = frames.len();
            assert!(faults.iter().all(|f| matches!(f.kind, FaultKind::Truncated | FaultKind::Foreign)));
            assert!(faults.iter().all(|f| f.kind == FaultKind::Truncated || cut < 4), "{cut} {faults:?}");
            assert!(faults.iter().all(|f| f.offset <= cut as u64));
        }
    }
}

#[test]
fn compressed_files_also_in_several_members_and_cut() {
    let whole = pcap(1..500);
    let (head, tail) = whole.split_at(777);
    let expected = read(&whole).0;
    for packed in [
        gzip(&whole),
        zst(&whole),
        [gzip(head), gzip(tail)].concat(),
        [zst(head), zst(tail)].concat(),
        [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zst(&whole)].concat(),
    ] {
        assert_eq!(read(&packed), (expected.clone(), vec![]));
        for cut in (5..packed.len()).step_by(7) {
            let (frames, faults) = read(&packed[..cut]);
            assert_eq!(frames, expected[..frames.len()]);
            assert!(faults.len() <= 1 && faults.iter().all(|f| f.kind == FaultKind::Truncated), "{faults:?}");
        }
    }
    let mut damaged = gzip(&whole);
    let (frames, faults) = read(&damaged[..damaged.len() - 2]);
    assert_eq!((frames, faults[0].kind), (expected.clone(), FaultKind::Truncated));
    let checksum = damaged.len() - 6;
    damaged[checksum] ^= 0xff;
    let (frames, faults) = read(&damaged);
    assert_eq!((frames, faults[0].kind), (expected, FaultKind::Corrupt));
}

#[test]
fn interfaces_without_end_do_not_fill_the_memory() {
    let mut blocks = Blocks::default().section(false);
    for _ in 0..65_536 {
        blocks = blocks.interface(1, 0, &[]);
    }
    let good = blocks.enhanced(65_535, 1, 4, b"last");
    assert_eq!(read(&good.bytes).1, []);
    let (frames, faults) = read(&good.interface(1, 0, &[]).bytes);
    assert_eq!((frames.len(), faults[0].kind), (1, FaultKind::Corrupt));
    assert!(faults[0].message.contains("more than 65536"), "{faults:?}");
}

/// forall damage in compressed bytes: the same is delivered whether all or a byte at a time can be read, and it
/// is everything in front of the damaged member or frame.
#[test]
fn damage_costs_nothing_that_was_packed_before_it() {
    let whole = pcap(1..20_000);
    let (head, tail) = whole.split_at(400_000);
    let expected = read(&whole).0;
    let before = read(head).0.len();
    for pack in [gzip, zst] {
        let (head, tail) = (pack(head), pack(tail));
        for at in [head.len(), head.len() + 12, head.len() + tail.len() / 3, head.len() + tail.len() * 2 / 3]
        {
            let mut damaged = [&head[..], &tail].concat();
            damaged[at..at + 4].copy_from_slice(&[0xff; 4]);
            let (frames, faults) = read(&damaged);
            assert!(frames.len() >= before && frames.len() < expected.len(), "{} of {before}", frames.len());
            assert_eq!(frames[..before], expected[..before]);
            assert_eq!(faults[0].kind, FaultKind::Corrupt, "{faults:?}");
            let dripping = drain(Files::from_reader("test", Dripping(Cursor::new(damaged))));
            assert_eq!((dripping.0.len(), &dripping.1), (frames.len(), &faults), "at {at}");
            assert!(dripping.0 == frames, "at {at}");
        }
    }
}

/// Yields a byte at a time.
struct Dripping(Cursor<Vec<u8>>);

impl Read for Dripping {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(1);
        self.0.read(&mut buffer[..most])
    }
}

/// Files in a temporary directory.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

#[test]
fn faults_of_some_files_do_not_keep_the_others_from_being_read() {
    let folder = Folder::new();
    let paths = [
        folder.0.path().join("absent.pcap"),
        folder.file("empty.pcap", b""),
        folder.file("netmon.cap", b"GMBU\0\x02whatever follows it"),
        folder.file("text.pcap", b"hello, I am no capture at all"),
        folder.file("cut.pcap", &pcap([5_000_000, 6_000_000])[..70]),
        folder.file("good.pcap", &pcap([1_000_000, 9_000_000])),
        folder.file("packed-text.gz", &gzip(b"hello, I am no capture at all")),
        folder.file("headeronly.pcap", &pcap([])),
    ];
    let files = Files::open(&paths);
    assert_eq!(files.captures(), [5, 4, 7].map(|i| paths[i].clone()));
    let (frames, faults) = drain(files);
    assert_eq!(stamps(&frames), [1_000_000, 5_000_000, 9_000_000]);
    let kinds: Vec<_> = faults.iter().map(|f| (f.kind, f.path.clone())).collect();
    let expected = [
        (FaultKind::Missing, 0),
        (FaultKind::Empty, 1),
        (FaultKind::Foreign, 2),
        (FaultKind::Foreign, 3),
        (FaultKind::Foreign, 6),
        (FaultKind::Truncated, 4),
    ];
    assert_eq!(kinds, expected.map(|(kind, i)| (kind, paths[i].clone())));
    assert!(faults[2].message.contains("NetMon"));
}

#[test]
fn directories_are_searched_and_what_is_no_capture_in_them_is_passed_over() {
    let folder = Folder::new();
    folder.file("b.pcap", &pcap([10, 11]));
    folder.file("a/old.pcap0.gz", &gzip(&pcap([1, 2])));
    folder.file("a/unnamed", &pcap([5]));
    folder.file("b.truth.json", b"{}");
    folder.file("README", b"");
    let (frames, faults) = drain(Files::open([folder.0.path()]));
    assert_eq!((stamps(&frames), faults), (vec![1, 2, 5, 10, 11], vec![]));

    folder.file("broken.pcap", b"no capture");
    assert_eq!(Files::open([folder.0.path()]).faults()[0].kind, FaultKind::Foreign);

    let nothing = Folder::new();
    nothing.file("README", b"text");
    assert_eq!(Files::open([nothing.0.path()]).faults()[0].kind, FaultKind::Missing);
}

#[test]
fn overlapping_files_are_merged_by_time_and_ties_by_the_order_of_the_files() {
    let folder = Folder::new();
    let ms = |v: &[u64]| pcap(v.iter().map(|t| t * 1_000_000));
    let paths = [
        folder.file("1", &ms(&[30, 40, 41, 50, 60])),
        folder.file("2", &ms(&[10, 20, 40, 55, 80])),
        folder.file("3", &ms(&[30, 31, 40, 90])),
    ];
    let (frames, _) = drain(Files::open(&paths));
    let order: Vec<_> = frames.iter().map(|f| (f.0 / 1_000_000, f.4[0])).collect();
    let expected = [
        (10, 0),
        (20, 1),
        (30, 0),
        (30, 0),
        (31, 1),
        (40, 2),
        (40, 1),
        (40, 2),
        (41, 2),
        (50, 3),
        (55, 3),
        (60, 4),
        (80, 4),
        (90, 3),
    ];
    assert_eq!(order, expected);
}

#[test]
fn a_file_cut_in_two_anywhere_yields_the_same_sequence_also_out_of_order() {
    let times =
        [1_000_u64, 2_000, 1_990, 1_995, 3_000, 3_000, 3_000, 2_500, 4_000, 5_000_000, 4_900_000, 6_000_000];
    let whole = pcap(times);
    let expected = read(&whole).0;
    let folder = Folder::new();
    for cut in 1..times.len() {
        let bytes = |range: std::ops::Range<usize>| {
            let mut writer = Writer::new(Vec::new(), LinkType(1)).unwrap();
            for frame in &expected[range] {
                writer.frame(Stamp(frame.0), &frame.4).unwrap();
            }
            writer.finish().unwrap()
        };
        let paths = [folder.file("b", &bytes(cut..times.len())), folder.file("a", &gzip(&bytes(0..cut)))];
        assert_eq!(drain(Files::open(&paths)), (expected.clone(), vec![]), "cut at {cut}");
    }
}

#[test]
fn progress_ends_at_the_total() {
    let folder = Folder::new();
    let paths = [folder.file("a", &pcap(1..9_000)), folder.file("b.gz", &gzip(&pcap(5_000..50_000)))];
    let total = paths.iter().map(|p| fs::metadata(p).unwrap().len()).sum();
    let mut files = Files::open(&paths);
    assert_eq!(files.progress(), (0, Some(total)));
    while files.poll(&mut |_| {}).unwrap() == Progress::More {}
    assert_eq!(files.progress(), (total, Some(total)));
}

proptest! {
    /// forall bytes: reading ends, without a panic.
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), magic in 0_usize..5) {
        let heads: [&[u8]; 5] =
            [b"", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a", b"\x1f\x8b\x08\x00"];
        read(&[heads[magic], &bytes].concat());
    }

    /// forall flips: what was delivered before the flipped byte is what the whole file has there.
    #[test]
    fn a_flipped_byte_spoils_nothing_before_it(at in 24_usize..600, flip in 1_u8.., ng in any::<bool>()) {
        let whole = if ng { every_block(true) } else { pcap(1..20) };
        let at = at % whole.len();
        let mut damaged = whole.clone();
        damaged[at] ^= flip;
        let (intact, _) = read(&whole[..at]);
        let (frames, _) = read(&damaged);
        prop_assert_eq!(&frames[..intact.len().min(frames.len())], &intact[..]);
    }
}

#[test]
fn real_captures_have_as_many_packets_as_their_truth_says() {
    let folder = std::env::var_os("SIDETONE_CAPTURES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"), PathBuf::from);
    let mut truths = Vec::new();
    find_truths(&folder, &mut truths);
    if truths.is_empty() {
        eprintln!("skipped: no captures in {}", folder.display());
    }
    for (capture, packets) in truths {
        let (frames, faults) = drain(Files::open([&capture]));
        assert_eq!(frames.len(), packets, "{} {faults:?}", capture.display());
    }
}

fn find_truths(folder: &Path, truths: &mut Vec<(PathBuf, usize)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find_truths(&path, truths);
        } else if let Some(capture) = path.to_string_lossy().strip_suffix(".truth.txt")
            && let Ok(truth) = fs::read_to_string(&path)
            && let Some(line) = truth.lines().find_map(|line| line.strip_prefix("Number of packets:"))
            && let Ok(packets) = line.trim().parse()
        {
            truths.push((capture.into(), packets));
        }
    }
}
