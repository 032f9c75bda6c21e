//! The truth against the file it speaks of, by a walker that shares nothing with the writer; and by tshark.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::process::Command;

use super::*;
use crate::capture::file::Files;
use crate::capture::{Progress, Source};

fn written(plan: &Plan) -> (Vec<u8>, Truth) {
    write(plan, Vec::new()).unwrap()
}

/// UDP payloads: stamp, source port, destination port, IP identification, payload.
fn datagrams(capture: &[u8]) -> Vec<(Stamp, u16, u16, u16, Vec<u8>)> {
    let mut datagrams = Vec::new();
    let mut files = Files::from_reader("simulated", Cursor::new(capture.to_vec()));
    let mut take = |batch: &[Frame<'_>]| {
        for frame in batch {
            let half = |at: usize| u16::from_be_bytes([frame.bytes[at], frame.bytes[at + 1]]);
            assert_eq!(frame.bytes.len(), 14 + usize::from(half(16)));
            datagrams.push((frame.stamp, half(34), half(36), half(18), frame.bytes[42..].to_vec()));
        }
    };
    while files.poll(&mut take).unwrap() == Progress::More {}
    assert_eq!(files.faults(), []);
    assert!(datagrams.is_sorted_by_key(|datagram| datagram.0));
    datagrams
}

fn impaired() -> Plan {
    Plan {
        calls: 12,
        duration: 20.0,
        loss: 4.0,
        burst: 3.0,
        jitter: 4.0,
        reorder: 2.0,
        duplicate: 3.0,
        seed: 42,
        ..Plan::default()
    }
}

/// What a stream's packets say about themselves, knowing neither gaps nor windows: numbers are unwrapped by
/// their distance from the one before.
#[derive(Default)]
struct Walked {
    seen: BTreeSet<i64>,
    latest: i64,
    highest: i64,
    duplicates: u64,
    reordered: u64,
    jitter: f64,
    previous: Option<(Stamp, u32)>,
}

impl Walked {
    fn packet(&mut self, at: Stamp, sequence: u16, timestamp: u32, clock_rate: f64) {
        let step = i64::from(sequence.wrapping_sub(self.latest as u16) as i16);
        let number = if self.seen.is_empty() { i64::from(sequence) } else { self.latest + step };
        self.latest = number;
        if !self.seen.insert(number) {
            self.duplicates += 1;
            return;
        }
        if self.seen.len() == 1 {
            self.highest = number;
        } else if number < self.highest {
            self.reordered += 1;
        }
        self.highest = self.highest.max(number);
        if let Some((before, before_timestamp)) = self.previous {
            let sent_apart = f64::from(timestamp.wrapping_sub(before_timestamp) as i32) / clock_rate;
            self.jitter += ((at.seconds_since(before) - sent_apart).abs() - self.jitter) / 16.0;
        }
        self.previous = Some((at, timestamp));
    }
}

fn walk(capture: &[u8], truth: &Truth) -> BTreeMap<String, Walked> {
    let rates: BTreeMap<_, _> =
        truth.streams.iter().map(|s| (s.ssrc.clone(), f64::from(s.clock_rate))).collect();
    let mut streams: BTreeMap<String, Walked> = BTreeMap::new();
    for (at, source, _, _, payload) in datagrams(capture) {
        if source == 5060 || source % 2 == 1 {
            continue;
        }
        let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        let ssrc = format!("0x{:08x}", word(8));
        let rate = rates[&ssrc];
        streams.entry(ssrc).or_default().packet(at, word(0) as u16, word(4), rate);
    }
    streams
}

#[test]
fn the_truth_is_what_a_walk_over_the_file_finds() {
    let plans = [
        impaired(),
        Plan { codec: Codec::Opus, burst: 1.0, ptime: Some(60), ..impaired() },
        Plan { jitter: 60.0, duration: 60.0, calls: 3, ..impaired() },
        Plan { duration: 1_400.0, calls: 1, loss: 0.1, rtcp: false, ..impaired() },
    ];
    for plan in plans {
        let (capture, truth) = written(&plan);
        let walked = walk(&capture, &truth);
        assert_eq!(walked.len(), truth.streams.len());
        for stream in &truth.streams {
            let found = &walked[&stream.ssrc];
            let expected = (found.highest - found.seen.first().unwrap() + 1) as u64;
            assert_eq!((stream.sent, stream.packets), (expected, found.seen.len() as u64));
            assert_eq!(stream.lost, expected - found.seen.len() as u64);
            assert_eq!((stream.duplicates, stream.reordered), (found.duplicates, found.reordered));
            assert!((stream.jitter.last - found.jitter).abs() < 1e-9);
            assert_eq!(stream.lost_runs.iter().map(|run| u64::from(run.1)).sum::<u64>(), stream.lost);
            // In a longer stream a number comes round again.
            if stream.sent < 1 << 16 {
                let seen: BTreeSet<u16> = found.seen.iter().map(|number| *number as u16).collect();
                let runs = stream.lost_runs.iter();
                let mut lost = runs.flat_map(|(first, n)| (0..*n).map(|i| first.wrapping_add(i as u16)));
                assert!(lost.all(|sequence| !seen.contains(&sequence)));
            }
        }
        assert!(
            truth.streams.iter().any(|stream| stream.lost > 0 && stream.duplicates + stream.reordered > 0)
        );
    }
}

#[test]
fn impairments_have_the_size_asked_for() {
    let (_, truth) = written(&Plan { calls: 40, duration: 60.0, jitter: 2.0, ..impaired() });
    let sum = |of: fn(&truth::Stream) -> u64| truth.streams.iter().map(of).sum::<u64>() as f64;
    let sent = sum(|s| s.sent);
    let close = |found: f64, asked: f64| assert!((found / asked - 1.0).abs() < 0.08, "{found} for {asked}");
    close(sum(|s| s.lost) / sent, 0.04);
    close(sum(|s| s.lost) / sum(|s| s.lost_runs.len() as u64), 3.0);
    close(sum(|s| s.duplicates) / sent, 0.03 * 0.96 * 0.98);
    let jitter = truth.streams.iter().map(|s| s.jitter.mean).sum::<f64>() / truth.streams.len() as f64;
    assert!(jitter > 0.0018 && jitter < 0.0030, "{jitter}");
    assert!((0.017..0.02).contains(&(sum(|s| s.reordered) / sent)));
}

#[test]
fn without_impairments_pacing_is_perfect() {
    let (capture, truth) = written(&Plan { calls: 8, ..Plan::default() });
    for stream in &truth.streams {
        assert_eq!((stream.lost, stream.duplicates, stream.reordered, stream.longest_loss), (0, 0, 0, 0));
        assert!(stream.jitter.max < 1e-9 && stream.sent > 1_480);
    }
    assert!(walk(&capture, &truth).values().all(|walked| walked.jitter < 1e-9));
}

#[test]
fn the_same_plan_gives_the_same_bytes_and_another_seed_other_ones() {
    let plan = Plan { mix: 50.0, registrations: 6, ..impaired() };
    let (first, truth) = written(&plan);
    let (second, again) = written(&plan);
    assert_eq!(first, second);
    assert_eq!(serde_json::to_string(&truth).unwrap(), serde_json::to_string(&again).unwrap());
    assert_ne!(first, written(&Plan { seed: 43, ..plan }).0);
}

#[test]
fn sequence_numbers_and_time_stamps_wrap_in_some_streams() {
    let (_, truth) = written(&Plan { calls: 20, ..Plan::default() });
    let wraps = |s: &&truth::Stream| u64::from(s.first_sequence) + s.sent > 1 << 16;
    let stamp_wraps = |s: &&truth::Stream| u64::from(s.first_timestamp) + s.sent * 160 > 1 << 32;
    assert!(truth.streams.iter().filter(wraps).count() >= 4);
    assert!(truth.streams.iter().filter(stamp_wraps).count() >= 4);
}

#[test]
fn every_codec_is_written_with_its_sizes_and_offered_by_its_name() {
    for codec in codecs() {
        let plan = Plan { calls: 1, duration: 2.0, codec, ..Plan::default() };
        let (capture, truth) = written(&plan);
        let sound = plan.sound().unwrap();
        let sizes: BTreeSet<_> = datagrams(&capture)
            .into_iter()
            .filter(|d| d.1 != 5060 && d.1 % 2 == 0)
            .map(|d| (d.4[1] & 0x7f, d.4.len()))
            .collect();
        assert_eq!(sizes, BTreeSet::from([(sound.payload_type, 12 + sound.payload_length())]));
        let offer = format!("a=rtpmap:{} {}/{}", sound.payload_type, codec.name(), sound.clock_rate);
        assert!(capture.windows(offer.len()).any(|w| w == offer.as_bytes()), "{offer}");
        assert_eq!(truth.streams.len(), 2);
    }
}

#[test]
fn each_course_of_a_call_is_what_its_truth_says() {
    let outcomes = [MIX.as_slice(), &[Outcome::Answered, Outcome::NoFinal]].concat();
    let plan =
        Plan { calls: outcomes.len() as u32, duration: 3.0, outcomes: outcomes.clone(), ..Plan::default() };
    let (capture, truth) = written(&plan);
    let messages: Vec<_> = datagrams(&capture).into_iter().filter(|d| d.1 == 5060).collect();
    for (call, outcome) in truth.calls.iter().zip(outcomes) {
        assert_eq!((call.outcome, call.result), (outcome, outcome.result()));
        let of_call: Vec<_> = messages
            .iter()
            .map(|message| (message.0, String::from_utf8(message.4.clone()).unwrap()))
            .filter(|(_, text)| text.contains(&call.call_id))
            .collect();
        let since_start = |line: &str| {
            let message = of_call.iter().find(|(_, text)| text.starts_with(line) && text.contains("INVITE"));
            message.map(|(at, _)| at.seconds_since(call.start))
        };
        assert_eq!(since_start("INVITE"), Some(0.0));
        assert_eq!(call.post_dial_delay, since_start("SIP/2.0 180"), "{outcome:?}");
        assert_eq!(call.setup, since_start("SIP/2.0 200"), "{outcome:?}");
        assert_eq!(call.streams.len(), if call.setup.is_some() { 2 } else { 0 });
        if let Some(status) = call.status {
            assert!(since_start(&format!("SIP/2.0 {status}")).is_some());
        }
        for (_, text) in &of_call {
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())) && head.contains("CSeq: "));
        }
    }
    let in_file = messages.iter().filter(|d| d.4.len() > 4).count() as u64;
    assert_eq!(truth.sip.requests.values().sum::<u64>() + truth.sip.responses.values().sum::<u64>(), in_file);
    assert_eq!(truth.sip.retransmissions, 6);
}

#[test]
fn registrations_succeed_or_fail_as_told() {
    let (_, truth) = written(&Plan { calls: 0, registrations: 40, mix: 40.0, ..Plan::default() });
    assert_eq!(truth.registrations.len(), 40);
    let successes = truth.registrations.iter().filter(|r| r.status == Some(200) && r.delay.is_some()).count();
    assert!((12..36).contains(&successes));
    assert!(truth.registrations.iter().all(|r| r.challenged && matches!(r.status, Some(200 | 401 | 403))));
    assert_eq!(truth.sip.requests, BTreeMap::from([("REGISTER", 80)]));
}

#[test]
fn the_last_reports_tell_what_was_lost() {
    let (capture, truth) = written(&impaired());
    let mut cumulative = BTreeMap::new();
    let mut byes = 0;
    for (.., payload) in datagrams(&capture).into_iter().filter(|d| d.1 != 5060 && d.1 % 2 == 1) {
        assert_eq!(payload[..2], [0x81, 200]);
        let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        cumulative.insert(format!("0x{:08x}", word(28)), word(32) & 0x00ff_ffff);
        byes += u64::from(payload[payload.len() - 7] == 203);
    }
    assert_eq!(byes, 24);
    for stream in &truth.streams {
        // RFC 3550 A.3 counts duplicates as received.
        let told = cumulative[&stream.ssrc] << 8;
        assert_eq!(i64::from(told as i32 >> 8), stream.lost as i64 - stream.duplicates as i64);
    }
    assert!(truth.calls.iter().all(|call| call.rtt.is_some_and(|rtt| rtt > 0.004 && rtt < 0.16)));
}

#[test]
fn the_round_trip_of_the_reports_is_the_true_one() {
    let (capture, truth) = written(&Plan { calls: 3, duration: 17.0, ..Plan::default() });
    let mut sent = BTreeMap::new();
    let mut halves = BTreeMap::new();
    for (at, .., payload) in datagrams(&capture).into_iter().filter(|d| d.1 != 5060 && d.1 % 2 == 1) {
        let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        sent.insert((word(4), word(8) << 16 | word(12) >> 16), at);
        // MEAS 2.4: from the sender report at the tap to the answer at the tap, less what the answer waited.
        if let Some(asked) = sent.get(&(word(28), word(44))) {
            let half = at.seconds_since(*asked) - f64::from(word(48)) / 65_536.0;
            halves.insert(format!("0x{:08x}", word(4)), half);
        }
    }
    for call in &truth.calls {
        let told: f64 = call.streams.iter().map(|ssrc| halves[ssrc]).sum();
        assert!((told - call.rtt.unwrap()).abs() < 1e-4, "{told} {:?}", call.rtt);
    }
}

#[test]
fn wire_duplicates_differ_in_their_ip_identification() {
    let (capture, truth) = written(&impaired());
    let mut seen = BTreeMap::new();
    let mut duplicates = 0;
    for (_, source, destination, ip_id, payload) in datagrams(&capture) {
        assert_ne!(ip_id, 0);
        if let Some(before) = seen.insert((source, destination, payload), ip_id) {
            assert_ne!(before, ip_id);
            duplicates += 1;
        }
    }
    assert_eq!(duplicates, truth.streams.iter().map(|s| s.duplicates).sum::<u64>());
}

#[test]
fn impossible_plans_are_refused_with_all_their_problems() {
    let plan = Plan { loss: -1.0, rate: f64::NAN, codec: Codec::H264, calls: 0, ..Plan::default() };
    assert_eq!(plan.problems().len(), 4, "{:?}", plan.problems());
    assert!(Plan { ptime: Some(25), ..Plan::default() }.problems()[0].contains("ptime 25"));
    assert!(Plan { loss: 60.0, burst: 1.2, ..Plan::default() }.problems()[0].contains("burst"));
    assert_eq!(Plan { loss: 100.0, jitter: 500.0, duration: 0.05, ..Plan::default() }.problems().len(), 0);
    written(&Plan { loss: 100.0, jitter: 500.0, duration: 0.05, reorder: 100.0, ..Plan::default() });
    written(&Plan { reorder: 100.0, duplicate: 100.0, ..Plan::default() });
}

#[test]
fn capture_and_truth_stand_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.pcap");
    let truth = write_files(&Plan { calls: 2, duration: 1.0, ..Plan::default() }, &path).unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("calls.pcap.truth.json")).unwrap()).unwrap();
    assert_eq!(json["calls"][0]["call_id"], truth.calls[0].call_id);
    assert_eq!(json["streams"][3]["sent"], truth.streams[3].sent);
    assert_eq!(json["sip"]["responses"]["200"], 4);
    assert!(write_files(&Plan::default(), &folder.path().join("no/such/folder")).is_err());
}

#[test]
fn tshark_counts_the_same_packets_and_messages() {
    let tshark = |arguments: &[&str]| {
        let output = Command::new("tshark").args(arguments).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    if tshark(&["--version"]).is_none() {
        crate::skipped::skipped("there is no tshark");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.pcap");
    let file = path.to_str().unwrap();
    let plan = Plan { duplicate: 0.0, mix: 60.0, calls: 20, registrations: 3, ..impaired() };
    let truth = write_files(&plan, &path).unwrap();

    let fields = tshark(&[
        "-r",
        file,
        "-o",
        "udp.check_checksum:TRUE",
        "-o",
        "ip.check_checksum:TRUE",
        "-T",
        "fields",
        "-e",
        "sip.Method",
        "-e",
        "sip.Status-Code",
        "-e",
        "ip.checksum.status",
        "-e",
        "udp.checksum.status",
        "-e",
        "_ws.malformed",
        "-e",
        "rtcp.pt",
    ])
    .unwrap();
    let mut sip = truth::Sip { retransmissions: truth.sip.retransmissions, ..truth::Sip::default() };
    let mut rtcp = 0;
    for line in fields.lines() {
        let columns: Vec<_> = line.split('\t').collect();
        assert_eq!(columns[2..5], ["1", "1", ""], "{line}");
        if let Some(method) = truth.sip.requests.keys().find(|method| **method == columns[0]) {
            *sip.requests.entry(method).or_default() += 1;
        }
        if let Ok(status) = columns[1].parse() {
            *sip.responses.entry(status).or_default() += 1;
        }
        rtcp += u64::from(!columns[5].is_empty());
    }
    assert_eq!(
        (fields.lines().count() as u64, sip, rtcp),
        (truth.capture.packets, truth.sip, truth.capture.rtcp)
    );

    // Columns: begin, end, source, port, destination, port, SSRC, codec, packets, lost (in percent), deltas and
    // jitters in milliseconds: least, mean, most.
    let streams = tshark(&["-r", file, "-q", "-z", "rtp,streams"]).unwrap();
    let mut counted = 0;
    for line in streams.lines() {
        let columns: Vec<_> = line.split_whitespace().collect();
        let of_line = |s: &&truth::Stream| columns.iter().any(|c| c.eq_ignore_ascii_case(&s.ssrc));
        let Some(stream) = truth.streams.iter().find(of_line) else { continue };
        assert_eq!(
            (columns[8], columns[9]),
            (&*stream.packets.to_string(), &*stream.lost.to_string()),
            "{line}"
        );
        assert!((columns[16].parse::<f64>().unwrap() - stream.jitter.max * 1e3).abs() < 0.001, "{line}");
        counted += 1;
    }
    assert_eq!(counted, truth.streams.len(), "{streams}");
}
