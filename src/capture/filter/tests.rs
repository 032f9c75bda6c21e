//! The program, run as the kernel runs it, beside the slicer of the core; and what the core measures of what it leaves.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::capture::file::Files;
use crate::capture::{Progress, Source};
use crate::demux::{Kind, classify};
use crate::event::Totals;
use crate::observer::{Observer, Settings};
use crate::rtp::header::Header;
use crate::simulate::{Plan, Traffic};
use crate::wire::{Frame, LinkType, fast};

const ETHERNET: u16 = libc::ARPHRD_ETHER;
const ARRIVED: u8 = 0;

/// Runs a program (bpf(4); linux/filter.h) as `___bpf_prog_run` and `sk_run_filter` before it did.
fn run(program: &[Instruction], frame: &[u8], hardware: u16, kind: u8) -> usize {
    let (mut a, mut x, mut cells) = (0_u32, 0_u32, [0_u32; 16]);
    let mut at = 0;
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        let code = u32::from(code);
        at += 1;
        let load = |from: u32, size: u32| {
            let wide = match size {
                libc::BPF_W => 4,
                libc::BPF_H => 2,
                _ => 1,
            };
            let bytes = frame.get(from as usize..)?.get(..wide)?;
            Some(bytes.iter().fold(0, |value, &byte| value << 8 | u32::from(byte)))
        };
        let class = code & 0x07;
        match class {
            libc::BPF_LD => {
                let loaded = match (code & 0xe0, k) {
                    (libc::BPF_ABS, PACKET_TYPE) => Some(u32::from(kind)),
                    (libc::BPF_ABS, HARDWARE_TYPE) => Some(u32::from(hardware)),
                    (libc::BPF_ABS, k) => load(k, code & 0x18),
                    (libc::BPF_IND, k) => load(x.wrapping_add(k), code & 0x18),
                    (libc::BPF_LEN, _) => Some(frame.len() as u32),
                    (libc::BPF_MEM, k) => Some(cells[k as usize]),
                    (libc::BPF_IMM, k) => Some(k),
                    other => panic!("{other:?}"),
                };
                let Some(loaded) = loaded else { return 0 };
                a = loaded;
            }
            libc::BPF_LDX => {
                let loaded = match code & 0xe0 {
                    libc::BPF_MSH => load(k, libc::BPF_B).map(|byte| 4 * (byte & 0x0f)),
                    libc::BPF_MEM => Some(cells[k as usize]),
                    libc::BPF_IMM => Some(k),
                    other => panic!("{other:?}"),
                };
                let Some(loaded) = loaded else { return 0 };
                x = loaded;
            }
            libc::BPF_ST => cells[k as usize] = a,
            libc::BPF_STX => cells[k as usize] = x,
            libc::BPF_ALU => {
                let by = if code & libc::BPF_X != 0 { x } else { k };
                a = match code & 0xf0 {
                    libc::BPF_ADD => a.wrapping_add(by),
                    libc::BPF_AND => a & by,
                    libc::BPF_LSH => a << by,
                    libc::BPF_RSH => a >> by,
                    other => panic!("{other:?}"),
                };
            }
            libc::BPF_JMP => {
                let by = if code & libc::BPF_X != 0 { x } else { k };
                let yes = match code & 0xf0 {
                    libc::BPF_JA => {
                        at += k as usize;
                        continue;
                    }
                    libc::BPF_JEQ => a == by,
                    libc::BPF_JGT => a > by,
                    libc::BPF_JGE => a >= by,
                    libc::BPF_JSET => a & by != 0,
                    other => panic!("{other:?}"),
                };
                at += usize::from(if yes { jt } else { jf });
            }
            libc::BPF_RET => {
                let kept = if code & 0x18 == libc::BPF_A { a } else { k };
                return frame.len().min(kept as usize);
            }
            _ if code & 0xf8 == libc::BPF_TXA => a = x,
            _ => x = a,
        }
    }
}

/// What is to be kept, said in words of the core. Ethernet only.
fn wanted(frame: &[u8]) -> usize {
    let tagged = matches!(frame.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8]));
    let tags = if tagged { 4 } else { 0 };
    let inner = frame.get(12 + tags..14 + tags);
    if frame.len() < 142 || !matches!(inner, Some([0x08, 0x00] | [0x86, 0xdd])) {
        return frame.len();
    }
    let has_options = frame[14 + tags] >> 4 == 4 && frame[14 + tags] & 0x0f > 5;
    if has_options {
        return frame.len();
    }
    let Some(datagram) = fast::slice(frame) else { return frame.len() };
    let is_sip = |port| port == 5060 || port == 5061;
    let payload = datagram.payload;
    if is_sip(datagram.source_port) || is_sip(datagram.destination_port) || classify(payload) != Kind::Rtp {
        return frame.len();
    }
    let listened_to = payload[3] % 32 == 0;
    if listened_to || payload[0] & 0x20 != 0 {
        return frame.len();
    }
    let begin = payload.as_ptr() as usize - frame.as_ptr() as usize;
    let extension = if payload[0] & 0x10 == 0 {
        0
    } else {
        let at = begin + 12 + 4 * usize::from(payload[0] & 0x0f);
        4 + 4 * usize::from(u16::from_be_bytes([frame[at + 2], frame[at + 3]]))
    };
    frame.len().min(begin + 12 + 4 * usize::from(payload[0] & 0x0f) + extension + 32)
}

/// Ethernet / at most two tags / IPv4 or IPv6 / UDP mostly / RTP mostly, of honest lengths.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let tag = prop_oneof![Just(0x8100_u16), Just(0x88a8), Just(0x9100)];
    let port = prop_oneof![
        6 => 10_000_u16..40_000,
        1 => prop_oneof![Just(5060_u16), Just(5061), Just(4789), Just(2152), Just(6081), Just(8472)],
    ];
    let first = prop_oneof![4 => Just(0x80_u8), 2 => 0x80_u8..0xc0, 1 => any::<u8>()];
    let second = prop_oneof![4 => 0_u8..35, 1 => any::<u8>()];
    let number = prop_oneof![3 => any::<u16>(), 1 => (0_u16..2048).prop_map(|number| number * 32)];
    (
        proptest::collection::vec(tag, 0..3),
        (any::<bool>(), 5_u8..=15, any::<[u8; 32]>()),
        prop_oneof![9 => Just(0x4000_u16), 1 => any::<u16>()],
        prop_oneof![9 => Just(17_u8), 1 => prop_oneof![Just(6_u8), Just(132), Just(1), Just(50)]],
        (port.clone(), port),
        (first, second, number),
        prop_oneof![8 => Just(0_u16), 1 => any::<u16>()],
        prop_oneof![1 => 12_usize..60, 3 => 60_usize..1_400],
        any::<u8>(),
    )
        .prop_map(|(tags, (v6, ihl, addresses), fragment, protocol, ports, rtp, words, length, fill)| {
            let mut frame = vec![2; 12];
            for tag in tags {
                frame.extend(tag.to_be_bytes());
                frame.extend([0, 7]);
            }
            let udp_len = length + 8;
            if v6 {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend((udp_len as u16).to_be_bytes());
                frame.extend([protocol, 64]);
                frame.extend(addresses);
            } else {
                let header_len = usize::from(ihl) * 4;
                frame.extend([0x08, 0x00, 0x40 | ihl, 0]);
                frame.extend(((header_len + udp_len) as u16).to_be_bytes());
                frame.extend([0, 1]);
                frame.extend(fragment.to_be_bytes());
                frame.extend([64, protocol, 0, 0]);
                frame.extend(&addresses[..8]);
                frame.extend(std::iter::repeat_n(1, header_len - 20));
            }
            frame.extend(ports.0.to_be_bytes());
            frame.extend(ports.1.to_be_bytes());
            frame.extend((udp_len as u16).to_be_bytes());
            frame.extend([0, 0]);
            let begin = frame.len();
            frame.extend(std::iter::repeat_n(fill, length));
            let (first, second, number) = rtp;
            frame[begin..begin + 2].copy_from_slice(&[first, second]);
            frame[begin + 2..begin + 4].copy_from_slice(&number.to_be_bytes());
            let extension = begin + 12 + 4 * usize::from(first & 0x0f);
            if let Some(at) = frame.get_mut(extension + 2..extension + 4) {
                at.copy_from_slice(&(words % 300).to_be_bytes());
            }
            frame
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn media_is_cut_and_nothing_else(frame in frames()) {
        prop_assert_eq!(run(&program(), &frame, ETHERNET, ARRIVED), wanted(&frame));
    }

    /// The header reads the same: payload type, lengths, where the payload begins.
    #[test]
    fn what_is_cut_reads_like_the_whole(frame in frames()) {
        let kept = run(&program(), &frame, ETHERNET, ARRIVED);
        let header = |frame| {
            let datagram = fast::slice(frame)?;
            Some((datagram.addresses, datagram.ip_id, Header::read(datagram.payload, datagram.cut)))
        };
        prop_assert_eq!(header(&frame[..kept]), header(&frame));
    }

    #[test]
    fn no_load_reads_behind_the_end_of_a_frame(frame in frames(), keep in 0_usize..400) {
        let cut = &frame[..keep.min(frame.len())];
        prop_assert!(run(&program(), cut, ETHERNET, ARRIVED) >= cut.len().min(86));
    }

    #[test]
    fn noise_is_never_dropped(frame in proptest::collection::vec(any::<u8>(), 1..300)) {
        prop_assert!(run(&program(), &frame, ETHERNET, ARRIVED) > 0);
    }
}

/// Ethernet / IPv4 / UDP of these ports / 12 bytes of RTP and 160 of payload.
fn rtp(ports: [u16; 2], head: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0, 0, 200, 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(ports[0].to_be_bytes());
    frame.extend(ports[1].to_be_bytes());
    frame.extend([0, 180, 0, 0]);
    frame.extend(head);
    frame.resize(214, 0xd5);
    frame
}

#[test]
fn a_packet_of_g711_keeps_86_bytes() {
    let program = program();
    let kept = |ports, head| run(&program, &rtp(ports, head), ETHERNET, ARRIVED);
    assert_eq!(kept([10_000, 20_000], [0x80, 8, 0, 1]), 14 + 20 + 8 + 12 + 32);
    assert_eq!(kept([10_000, 20_000], [0x82, 8, 0, 1]), 14 + 20 + 8 + 12 + 8 + 32);
    assert_eq!(kept([10_000, 20_000], [0x80, 8, 1, 0x20]), 214, "listened to");
    assert_eq!(kept([10_000, 20_000], [0xa0, 8, 0, 1]), 214, "padding");
    assert_eq!(kept([10_000, 20_000], [0x80, 200, 0, 1]), 214, "RTCP");
    assert_eq!(kept([10_000, 5060], [0x80, 8, 0, 1]), 214, "a port of SIP");
    assert_eq!(kept([5061, 20_000], [0x80, 8, 0, 1]), 214, "a port of SIP");
    assert_eq!(kept([10_000, 20_000], *b"INVI"), 214, "SIP on any port");
    assert_eq!(kept([10_000, 4789], [0x88, 8, 0, 1]), 214, "VXLAN with a group policy");
}

#[test]
fn what_loopback_sends_is_dropped_and_cut_when_it_arrives() {
    let frame = rtp([10_000, 20_000], [0x80, 8, 0, 1]);
    let kept = |hardware, kind| run(&program(), &frame, hardware, kind);
    assert_eq!(kept(libc::ARPHRD_LOOPBACK, libc::PACKET_OUTGOING), 0);
    assert_eq!(kept(libc::ARPHRD_LOOPBACK, libc::PACKET_HOST), 86);
    assert_eq!(kept(ETHERNET, libc::PACKET_OUTGOING), 86);
    assert_eq!(kept(libc::ARPHRD_NONE, libc::PACKET_HOST), 214, "no Ethernet header");
}

#[test]
fn every_jump_is_short_enough() {
    assert!(program().len() < 256, "{}", program().len());
}

/// All events of frames, in order, and the totals; each frame as `cut` leaves it.
fn measured(frames: &[(Frame<'static>, Vec<u8>)], cut: impl Fn(&[u8]) -> usize) -> (Vec<String>, Totals) {
    let mut events = Vec::new();
    let mut observer = Observer::new(Settings::default());
    for (frame, bytes) in frames {
        let frame = Frame { bytes: &bytes[..cut(bytes)], ..*frame };
        observer.packets(&[frame], &mut |event| events.push(format!("{event:?}")));
    }
    observer.finish(&mut |event| events.push(format!("{event:?}")));
    (events, observer.totals())
}

fn owned(frame: &Frame<'_>) -> (Frame<'static>, Vec<u8>) {
    (Frame { bytes: &[], ..*frame }, frame.bytes.to_vec())
}

/// The core finds the same in what the program leaves; true when it left anything out.
fn nothing_is_missed(frames: &[(Frame<'static>, Vec<u8>)], name: &str) -> bool {
    let program = program();
    let (whole, mut all) = measured(frames, <[u8]>::len);
    let (cut, left) = measured(frames, |frame| run(&program, frame, ETHERNET, ARRIVED));
    assert_eq!(whole.len(), cut.len(), "{name}");
    for (whole, cut) in whole.iter().zip(&cut) {
        assert_eq!(whole, cut, "{name}");
    }
    let some = left.truncated > all.truncated;
    all.truncated = left.truncated;
    assert_eq!(format!("{all:?}"), format!("{left:?}"), "{name}");
    some
}

#[test]
fn simulated_calls_measure_the_same_when_their_media_is_cut() {
    for codec in crate::simulate::codecs() {
        let plan = Plan {
            calls: 6,
            duration: 14.0,
            loss: 3.0,
            jitter: 5.0,
            reorder: 1.0,
            duplicate: 1.0,
            codec,
            mix: 30.0,
            registrations: 2,
            ..Plan::default()
        };
        let mut traffic = Traffic::new(plan).unwrap();
        let mut frames = Vec::new();
        while let Some(frame) = traffic.next_frame() {
            frames.push(owned(&frame));
        }
        nothing_is_missed(&frames, &format!("{codec:?}"));
    }
}

#[test]
fn captures_measure_the_same_when_their_media_is_cut() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    let mut folders = vec![std::env::var_os("SIDETONE_CAPTURES").map_or(beside, PathBuf::from)];
    folders.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenes"));
    let mut cut = 0;
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            println!("skipped: no captures at {}", folder.display());
            continue;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let small = fs::metadata(&path).is_ok_and(|metadata| metadata.len() < 8 << 20);
            if path.is_dir() {
                folders.push(path);
            } else if small && path.extension().is_some_and(|e| e == "pcap" || e == "pcapng") {
                let (mut frames, mut files) = (Vec::new(), Files::open([&path]));
                let mut take = |batch: &[Frame<'_>]| frames.extend(batch.iter().map(owned));
                while files.poll(&mut take).unwrap() == Progress::More {}
                if frames.iter().all(|(frame, _)| frame.link == LinkType::ETHERNET) {
                    cut += usize::from(nothing_is_missed(&frames, &path.display().to_string()));
                }
            }
        }
    }
    assert!(cut > 0, "no capture has media");
}

#[cfg(feature = "pcap")]
#[test]
fn an_expression_stands_before_the_program() {
    use crate::capture::libpcap::compile;

    let frame = |port| rtp([10_000, port], [0x80, 8, 0, 1]);
    // Long enough that no short jump would reach over it.
    let hosts: Vec<String> = (0..200).map(|n| format!("net 10.{n}.0.0/16")).collect();
    for (expression, media) in [
        ("udp port 20000", 86),
        ("not udp port 20000", 0),
        (&format!("udp and ({})", hosts.join(" or ")), 86),
    ] {
        let ethernet = compile(expression, LinkType::ETHERNET).unwrap();
        let raw = compile(expression, LinkType::DLT_RAW).unwrap();
        let program = behind(&ethernet, &raw);
        assert_eq!(run(&program, &frame(20_000), ETHERNET, ARRIVED), media, "{expression}");
        let bare = frame(20_000).split_off(14);
        let whole = if media == 0 { 0 } else { bare.len() };
        assert_eq!(run(&program, &bare, libc::ARPHRD_NONE, ARRIVED), whole, "{expression}");
        assert_eq!(run(&program, &frame(20_000), libc::ARPHRD_LOOPBACK, libc::PACKET_OUTGOING), 0);
        assert_eq!(run(&program, &frame(20_000), libc::ARPHRD_LOOPBACK, libc::PACKET_HOST), media);
    }
}
