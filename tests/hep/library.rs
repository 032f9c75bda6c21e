//! The observer fed by wire, by HEP, and by both.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::skipped::skipped;
use sidetone::Stamp;
use sidetone::capture::file::Files;
use sidetone::capture::{Progress, Source};
use sidetone::event::{
    Call, Event, MirrorKind, Mirrored, Registration, Report, ReportKind, Rtcp as RtcpFigures, Sink, Stream,
    Totals,
};
use sidetone::export::hep::{self as out, Peer, Rtcp};
use sidetone::hep::{self, Next};
use sidetone::observer::{Observer, Settings};
use sidetone::simulate::{self, Outcome, Plan};
use sidetone::wire::{Frame, LinkType};

/// A frame of a capture, and the messages in it as HEP.
struct Seen {
    stamp: Stamp,
    link: LinkType,
    bytes: Vec<u8>,
    records: Vec<Vec<u8>>,
    rtcp: bool,
}

/// Everything that was told.
#[derive(Default)]
struct Told {
    calls: Vec<Call>,
    registrations: Vec<Registration>,
    streams: Vec<Stream>,
    reports: Vec<Report>,
    totals: Totals,
}

impl Sink for Told {
    fn event(&mut self, event: Event) {
        match event {
            Event::Call(call) => self.calls.push(call),
            Event::Registration(registration) => self.registrations.push(registration),
            Event::Stream(stream) => self.streams.push(stream),
            Event::Report(report) => self.reports.push(report),
            _ => {}
        }
    }
}

impl Told {
    /// Runs an observer over what `feed` gives it.
    fn of(scene: &[Seen], feed: impl Fn(&mut Observer, &Seen, &mut Self)) -> Self {
        let mut told = Self::default();
        let mut observer = Observer::new(Settings::default());
        for seen in scene {
            feed(&mut observer, seen, &mut told);
        }
        observer.finish(&mut told);
        told.totals = observer.totals();
        told
    }

    /// What of the calls does not depend on the way they were seen.
    fn calls(&self) -> BTreeMap<String, String> {
        let figures = |call: &Call| {
            let delays = [call.post_dial_delay, call.setup, call.duration];
            // HEP tells microseconds.
            let delays = delays.map(|delay| delay.map(|seconds| (seconds * 1e4).round() / 1e4));
            format!("{:?} {:?} {:?} {delays:?} {}", call.result, call.status, call.end_reason, call.hops)
        };
        self.calls.iter().map(|call| (call.call_id.clone(), figures(call))).collect()
    }

    fn rtcp(&self) -> BTreeMap<String, RtcpFigures> {
        self.streams.iter().filter_map(|stream| Some((stream.ssrc.clone(), stream.rtcp?))).collect()
    }
}

/// Collects what the observer passes on, encoded by the spool and sent over a connection as it would be to Homer.
struct Collector {
    spool: out::Spool,
    rtcp: bool,
    count: usize,
}

impl Sink for Collector {
    fn event(&mut self, _: Event) {}

    fn message(&mut self, message: &Mirrored<'_>) {
        let before = self.spool.counters().accepted;
        self.spool.message(message);
        self.rtcp |= message.kind == MirrorKind::Rtcp;
        self.count += (self.spool.counters().accepted - before) as usize;
    }
}

/// A simulated capture; its messages as HEP with these settings.
fn scene(plan: &Plan, change: impl FnOnce(&mut out::Settings)) -> Vec<Seen> {
    let (capture, _) = simulate::write(plan, Vec::new()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer: Peer = format!("tcp:{}", listener.local_addr().unwrap()).parse().unwrap();
    let mut settings =
        out::Settings { spool_bytes: 64 << 20, drain: Duration::from_mins(1), ..out::Settings::to(peer) };
    change(&mut settings);
    let (spool, sender) = out::open(settings);
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
        bytes
    });

    let mut seen: Vec<(Seen, usize)> = Vec::new();
    let mut observer = Observer::new(Settings { mirror: true, ..Settings::default() });
    let mut collector = Collector { spool, rtcp: false, count: 0 };
    let mut files = Files::from_reader("in memory", Cursor::new(capture));
    let mut take = |frames: &[Frame<'_>]| {
        for frame in frames {
            (collector.rtcp, collector.count) = (false, 0);
            observer.packets(std::slice::from_ref(frame), &mut collector);
            let (stamp, link, bytes) = (frame.stamp, frame.link, frame.bytes.to_vec());
            let frame = Seen { stamp, link, bytes, records: Vec::new(), rtcp: collector.rtcp };
            seen.push((frame, collector.count));
        }
    };
    while files.poll(&mut take).unwrap() == Progress::More {}
    sender.run(&AtomicBool::new(true));
    let counters = collector.spool.counters();
    assert_eq!((counters.lost(), counters.sent), (0, counters.accepted));

    let bytes = reader.join().unwrap();
    let mut rest = bytes.as_slice();
    let mut record = || {
        let Next::Record(len) = hep::next(rest) else { panic!("out of step") };
        let (record, behind) = rest.split_at(len);
        rest = behind;
        record.to_vec()
    };
    let fill = |(mut seen, count): (Seen, usize)| {
        seen.records = (0..count).map(|_| record()).collect();
        seen
    };
    let scene = seen.into_iter().map(fill).collect();
    assert!(rest.is_empty());
    scene
}

fn wire(observer: &mut Observer, seen: &Seen, told: &mut Told) {
    let frame = Frame {
        stamp: seen.stamp,
        link: seen.link,
        interface: 0,
        wire_len: seen.bytes.len() as u32,
        bytes: &seen.bytes,
    };
    observer.packets(&[frame], told);
}

/// The records arrive half a millisecond after the packet.
fn mirrored(observer: &mut Observer, seen: &Seen, told: &mut Told) {
    for record in &seen.records {
        observer.hep(seen.stamp.plus_nanos(500_000), record, told);
    }
}

fn varied() -> Plan {
    let outcomes = vec![
        Outcome::Answered,
        Outcome::Challenged,
        Outcome::Busy,
        Outcome::Forked,
        Outcome::Cancelled,
        Outcome::Rejected,
        Outcome::Redirected,
        Outcome::Timeout,
    ];
    Plan { calls: 24, duration: 12.0, registrations: 6, mix: 30.0, loss: 3.0, outcomes, ..Plan::default() }
}

#[test]
fn a_message_seen_on_the_wire_and_by_hep_is_one_message() {
    let scene = scene(&varied(), |settings| settings.rtcp = Rtcp::Binary);
    let alone = Told::of(&scene, wire);
    let wire_first = Told::of(&scene, |observer, seen, told| {
        wire(observer, seen, told);
        mirrored(observer, seen, told);
    });
    let hep_first = Told::of(&scene, |observer, seen, told| {
        mirrored(observer, seen, told);
        wire(observer, seen, told);
    });
    let by_hep = Told::of(&scene, |observer, seen, told| {
        observer.tick(seen.stamp, told);
        mirrored(observer, seen, told);
    });
    assert_eq!(alone.calls.len(), 24);
    assert!(alone.totals.retransmissions > 0, "the scene has messages that are sent again");
    for (name, told) in [("wire first", &wire_first), ("hep first", &hep_first), ("hep alone", &by_hep)] {
        assert_eq!(told.totals.requests, alone.totals.requests, "{name}");
        assert_eq!(told.totals.responses, alone.totals.responses, "{name}");
        assert_eq!(told.totals.retransmissions, alone.totals.retransmissions, "{name}");
        assert_eq!(told.totals.malformed, 0, "{name}");
        assert_eq!(told.registrations.len(), alone.registrations.len(), "{name}");
    }
    assert_eq!(wire_first.calls(), alone.calls());
    assert_eq!(hep_first.calls(), alone.calls());
    let outcomes = |told: &Told| -> BTreeMap<String, String> {
        told.calls
            .iter()
            .map(|call| (call.call_id.clone(), format!("{:?} {:?}", call.result, call.status)))
            .collect()
    };
    assert_eq!(outcomes(&by_hep), outcomes(&alone));
    let delays = |told: &Told| -> BTreeMap<String, [Option<f64>; 4]> {
        let of = |call: &Call| [call.post_dial_delay, call.setup, call.duration, call.auth];
        told.calls.iter().map(|call| (call.call_id.clone(), of(call))).collect()
    };
    for ((call_id, by_hep), on_wire) in delays(&by_hep).iter().zip(delays(&alone).values()) {
        for (by_hep, on_wire) in by_hep.iter().zip(on_wire) {
            let apart = by_hep.unwrap_or(-1.0) - on_wire.unwrap_or(-1.0);
            assert!(apart.abs() < 5e-6, "{call_id}: {by_hep:?} by HEP, {on_wire:?} on the wire");
        }
    }
    assert_eq!(format!("{:?}", wire_first.rtcp()), format!("{:?}", alone.rtcp()), "RTCP is not told twice");
}

#[test]
fn rtcp_told_by_hep_counts_like_that_on_the_wire() {
    let plan = Plan { calls: 4, duration: 20.0, loss: 4.0, jitter: 3.0, ..Plan::default() };
    for rtcp in [Rtcp::Binary, Rtcp::Json] {
        let scene = scene(&plan, |settings| settings.rtcp = rtcp);
        let correlated =
            |record: &Vec<u8>| !hep::decode(record, &mut Vec::new()).unwrap().correlation.is_empty();
        let mut reports = scene.iter().filter(|seen| seen.rtcp).flat_map(|seen| &seen.records).peekable();
        assert!(reports.peek().is_some() && reports.all(correlated), "RTCP goes out under its Call-ID");
        let alone = Told::of(&scene, wire).rtcp();
        let mixed = Told::of(&scene, |observer, seen, told| {
            if seen.rtcp {
                mirrored(observer, seen, told);
            } else {
                wire(observer, seen, told);
            }
        });
        assert_eq!(mixed.totals.skipped, BTreeMap::new());
        assert!(mixed.reports.is_empty(), "reports on captured streams are with their streams");
        let mixed = mixed.rtcp();
        assert_eq!((alone.len(), mixed.len()), (8, 8));
        for (ssrc, on_wire) in &alone {
            let by_hep = &mixed[ssrc];
            let pairs = [
                (on_wire.reported_loss_ratio, by_hep.reported_loss_ratio),
                (on_wire.reported_jitter, by_hep.reported_jitter),
                (on_wire.upstream_loss_ratio, by_hep.upstream_loss_ratio),
                (on_wire.rtt, by_hep.rtt),
            ];
            assert!(pairs[0].0.is_some() && pairs[1].0.is_some() && pairs[3].0.is_some(), "{on_wire:?}");
            for (on_wire, by_hep) in pairs {
                let apart = on_wire.unwrap_or(-1.0) - by_hep.unwrap_or(-1.0);
                assert!(apart.abs() < 1e-5, "{rtcp:?} {ssrc}: {on_wire:?} {by_hep:?}");
            }
        }
    }
}

#[test]
fn rtcp_of_rtpengine_is_understood() {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/captures"));
    let folder = std::env::var_os("SIDETONE_CAPTURES").map_or(beside, PathBuf::from);
    let Ok(capture) = std::fs::read(folder.join("lab/5-hep.pcap")) else {
        return skipped(format_args!("no captures in {}; set SIDETONE_CAPTURES", folder.display()));
    };
    let mut files = Files::from_reader("5-hep.pcap", Cursor::new(capture));
    let mut observer = Observer::new(Settings::default());
    let mut told = Told::default();
    while files.poll(&mut |frames| observer.packets(frames, &mut told)).unwrap() == Progress::More {}
    observer.finish(&mut told);
    let totals = observer.totals();
    assert_eq!((totals.packets, totals.skipped), (114, BTreeMap::new()), "108 messages, 6 times RTCP");
    let messages: u64 = totals.requests.values().chain(totals.responses.values()).sum();
    assert_eq!(messages, 108);
    // The media are not in the capture, so that each block is a fact of its own, under the Call-ID it names.
    assert_eq!(told.reports.len(), 4, "and two that describe their source");
    let calls: Vec<_> = told.calls.iter().map(|call| call.call_id.as_str()).collect();
    for report in &told.reports {
        assert!(report.kind == ReportKind::Rtcp && report.loss_ratio.is_some(), "{report:?}");
        assert!(calls.contains(&report.call_id.as_deref().unwrap()), "{report:?}");
    }
}

#[test]
fn hep_that_is_not_asked_for_is_not_read_on_the_wire() {
    let scene = scene(&Plan { calls: 2, duration: 1.0, ..Plan::default() }, |_| {});
    let mut observer = Observer::new(Settings { decode_hep: false, ..Settings::default() });
    let mut told = Told::default();
    for (number, record) in scene.iter().flat_map(|seen| &seen.records).enumerate() {
        let bytes = datagram(record);
        let frame = Frame {
            stamp: Stamp(number as u64 * 1_000_000),
            link: LinkType::ETHERNET,
            interface: 0,
            wire_len: bytes.len() as u32,
            bytes: &bytes,
        };
        observer.packets(&[frame], &mut told);
    }
    let totals = observer.totals();
    assert!(totals.packets > 0 && totals.requests.is_empty());
    assert_eq!(totals.skipped, BTreeMap::from([("hep", totals.packets)]));
}

/// A record in UDP, IPv4 and Ethernet.
fn datagram(record: &[u8]) -> Vec<u8> {
    let udp = (8 + record.len()) as u16;
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    bytes.extend((20 + udp).to_be_bytes());
    bytes.extend([0, 1, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0x30, 0x39, 0x23, 0x64]);
    bytes.extend(udp.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(record);
    bytes
}
