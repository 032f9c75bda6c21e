//! `simulate` then `analyze`: what was put in comes out.
//!
//! ```text
//! Plan -> simulate::write -> capture -> Observer -> streams, calls, registrations, totals --\
//!                        \-> truth ---------------------------------------------------------+-- equal?
//!                        \-> a walk over the bytes (sizes, report blocks) ------------------/
//! ```
//!
//! Counts are equal, delays to the nanosecond, jitter within 1 %, round trips within 0.1 ms.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its subject has failed")]

#[path = "support/measured.rs"]
mod measured;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::process::Command;

use measured::Measured;
use proptest::prelude::*;
use serde_json::Value;
use sidetone::capture::file::Files;
use sidetone::capture::{Progress, Source};
use sidetone::event::{Call, CallState, EndReason, LossPattern, Origin, Stream};
use sidetone::rtp::payload::Codec;
use sidetone::simulate::truth::{self, Truth};
use sidetone::simulate::{self, Outcome, Plan};

#[test]
fn loss_that_falls_at_random_comes_back_exactly() {
    let measured = comes_back(&Plan { calls: 6, loss: 5.0, ..impaired() });
    let patterns = measured.streams.iter().filter(|stream| stream.loss_pattern == Some(LossPattern::Random));
    assert!(patterns.count() >= 10);
}

#[test]
fn loss_in_bursts_comes_back_exactly() {
    let measured = comes_back(&Plan { calls: 6, loss: 8.0, burst: 5.0, ..impaired() });
    assert!(measured.streams.iter().all(|stream| stream.burst_ratio.unwrap() > 2.0));
}

#[test]
fn without_impairments_there_are_none() {
    let measured = comes_back(&Plan { calls: 8, ..Plan::default() });
    for stream in &measured.streams {
        assert_eq!((stream.lost, stream.duplicates, stream.reordered), (0, 0, 0));
        assert!(stream.jitter.unwrap().max < 1e-9);
        assert_eq!(stream.discarded.unwrap().adaptive, 0);
    }
}

#[test]
fn every_codec_comes_back() {
    for codec in simulate::codecs() {
        for burst in [1.0, 4.0] {
            comes_back(&Plan { calls: 2, duration: 12.0, loss: 6.0, burst, codec, ..impaired() });
        }
    }
}

#[test]
fn every_packetisation_time_comes_back() {
    for (codec, ptime) in [
        (Codec::Pcmu, 10),
        (Codec::Pcma, 30),
        (Codec::G729, 40),
        (Codec::Opus, 60),
        (Codec::Ilbc, 30),
        (Codec::G723, 60),
        (Codec::AmrWb, 40),
        (Codec::L16, 20),
    ] {
        comes_back(&Plan { calls: 1, duration: 12.0, codec, ptime: Some(ptime), ..impaired() });
    }
}

#[test]
fn sequence_numbers_that_wrap_several_times_come_back() {
    let plan = Plan { calls: 1, duration: 1_500.0, ptime: Some(10), rtcp: false, loss: 0.5, ..impaired() };
    let measured = comes_back(&plan);
    assert!(measured.streams.iter().all(|stream| stream.expected > 2 << 16));
}

#[test]
fn every_course_of_a_call_has_its_outcome_and_its_delays() {
    let outcomes = vec![
        Outcome::Answered,
        Outcome::Challenged,
        Outcome::Forked,
        Outcome::Busy,
        Outcome::Rejected,
        Outcome::Redirected,
        Outcome::NoAnswer,
        Outcome::Cancelled,
        Outcome::WrongPassword,
        Outcome::Timeout,
        Outcome::NoFinal,
    ];
    let calls = 3 * outcomes.len() as u32;
    let measured =
        comes_back(&Plan { calls, duration: 4.0, outcomes, registrations: 12, mix: 40.0, ..impaired() });
    assert_eq!(measured.calls.len() as u32, calls);
    let challenged =
        |status| measured.calls.iter().filter(move |call| call.challenged && call.status == status);
    assert_eq!((challenged(Some(200)).count(), challenged(Some(407)).count()), (3, 3));
    assert_eq!(measured.calls.iter().filter(|call| call.forked).count(), 3);
}

#[test]
fn what_the_receivers_report_comes_back() {
    let plan = Plan { calls: 4, duration: 60.0, loss: 4.0, burst: 2.0, duplicate: 0.0, ..impaired() };
    let measured = comes_back(&plan);
    for stream in &measured.streams {
        let rtcp = stream.rtcp.unwrap();
        assert!(rtcp.rtt.is_some() && rtcp.reports >= 10);
        // All loss is before the tap.
        assert!((rtcp.upstream_loss_ratio.unwrap() - stream.loss_ratio.unwrap()).abs() < 0.01, "{rtcp:?}");
        assert!(rtcp.downstream_loss_ratio.unwrap() < 0.002, "{rtcp:?}");
        assert_eq!(stream.delay_source, Some("rtcp"));
        assert!(stream.mos.unwrap().cq.unwrap() <= stream.mos.unwrap().lq);
    }
}

#[test]
fn the_program_itself_gives_back_what_it_put_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.pcap");
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_sidetone")).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let file = path.to_str().unwrap();
    let arguments = "simulate --calls 4 --duration 15 --loss 6 --burst 3 --jitter 5 --reorder 2 --duplicate 2 \
                     --codec opus --ptime 40 --seed 9 -w";
    let arguments: Vec<&str> = arguments.split_whitespace().chain([file]).collect();
    run(&arguments);
    let report: Value = serde_json::from_slice(&run(&["analyze", "--format", "json", file])).unwrap();
    let truth = std::fs::read(folder.path().join("calls.pcap.truth.json")).unwrap();
    let truth: Value = serde_json::from_slice(&truth).unwrap();
    let named = |document: &Value, list: &str, key: &str| -> BTreeMap<String, Value> {
        let entries = document[list].as_array().unwrap().iter();
        entries.map(|entry| (entry[key].as_str().unwrap().to_owned(), entry.clone())).collect()
    };
    let (streams, found) = (named(&truth, "streams", "ssrc"), named(&report, "streams", "ssrc"));
    assert_eq!((streams.len(), found.len()), (8, 8));
    for (ssrc, stream) in streams {
        let found = &found[&ssrc];
        assert_eq!(found["expected"], stream["sent"]);
        for same in ["packets", "lost", "duplicates", "reordered", "longest_loss", "codec", "clock_rate"]
            .into_iter()
            .chain(["call_id", "direction", "source", "destination", "first"])
        {
            assert_eq!(found[same], stream[same], "{same} of {ssrc}");
        }
        for near in ["last", "mean", "max"] {
            let of = |entry: &Value| entry["jitter"][near].as_f64().unwrap();
            assert!((of(found) / of(&stream) - 1.0).abs() < 0.01, "jitter {near} of {ssrc}");
        }
    }
    let (calls, found) = (named(&truth, "calls", "call_id"), named(&report, "calls", "call_id"));
    assert_eq!((calls.len(), found.len()), (4, 4));
    for (call_id, call) in calls {
        for same in ["result", "status", "source", "destination", "codec", "start", "end"] {
            assert_eq!(found[&call_id][same], call[same], "{same} of {call_id}");
        }
        for near in ["post_dial_delay", "setup", "ring", "duration", "disconnect"] {
            let of = |entry: &Value| entry[near].as_f64().unwrap();
            assert!((of(&found[&call_id]) - of(&call)).abs() < 1e-8, "{near} of {call_id}");
        }
    }
    assert_eq!(report["sip"]["requests"], truth["sip"]["requests"]);
    assert_eq!(report["sip"]["responses"], truth["sip"]["responses"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_plan_comes_back(plan in plans()) {
        prop_assume!(plan.problems().is_empty());
        comes_back(&plan);
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    let codecs: Vec<Codec> = simulate::codecs().collect();
    let network = (
        0.0..40.0,
        prop_oneof![Just(1.0), 1.0..8.0],
        0.0..40.0,
        prop_oneof![Just(0.0), 0.0..30.0],
        0.0..30.0,
    );
    let media = (
        prop::sample::select(codecs),
        prop::sample::select(vec![None, Some(10), Some(20), Some(30), Some(40), Some(60)]),
        1.0..12.0,
    );
    let calls = (1..4_u32, 0.2..20.0, 0.0..100.0, 0..4_u32, any::<bool>(), any::<u64>());
    (network, media, calls).prop_map(|(network, media, calls)| {
        let (loss, burst, jitter, reorder, duplicate) = network;
        let (codec, ptime, duration) = media;
        let (calls, rate, mix, registrations, rtcp, seed) = calls;
        Plan {
            calls,
            duration,
            loss,
            burst,
            jitter,
            reorder,
            duplicate,
            codec,
            seed,
            ptime,
            rate,
            mix,
            registrations,
            rtcp,
            ..Plan::default()
        }
    })
}

fn impaired() -> Plan {
    Plan {
        duration: 30.0,
        loss: 4.0,
        jitter: 4.0,
        reorder: 2.0,
        duplicate: 3.0,
        seed: 4_242,
        ..Plan::default()
    }
}

/// Measures the capture of a plan and compares all of it with the truth.
fn comes_back(plan: &Plan) -> Measured {
    let (capture, truth) = simulate::write(plan, Vec::new()).unwrap();
    let walked = Walked::over(&capture);
    let measured = Measured::of(capture);

    assert_eq!(measured.streams.len(), truth.streams.len(), "{plan:?}");
    for told in &truth.streams {
        let stream = measured.streams.iter().find(|stream| stream.ssrc == told.ssrc).unwrap();
        same_stream(stream, told, &walked.streams[&told.ssrc], plan);
    }
    assert_eq!(measured.calls.len(), truth.calls.len(), "{plan:?}");
    for told in &truth.calls {
        let call = measured.calls.iter().find(|call| call.call_id == told.call_id).unwrap();
        same_call(call, told, &measured.streams);
    }
    same_registrations(&measured, &truth);

    let totals = &measured.totals;
    assert_eq!((totals.packets, totals.bytes), (truth.capture.packets, truth.capture.bytes));
    assert_eq!((totals.first, totals.last), (Some(truth.capture.first), Some(truth.capture.last)));
    let requests: BTreeMap<&str, u64> =
        totals.requests.iter().map(|(method, count)| (method.as_str(), *count)).collect();
    assert_eq!((&requests, &totals.responses), (&truth.sip.requests, &truth.sip.responses));
    assert_eq!(totals.retransmissions, truth.sip.retransmissions);
    assert_eq!((totals.malformed, totals.orphans, totals.undecoded, totals.duplicates), (0, 0, 0, 0));
    assert!(totals.evicted.is_empty() && totals.defects.is_empty(), "{totals:?}");
    measured
}

fn same_stream(stream: &Stream, told: &truth::Stream, walked: &WalkedStream, plan: &Plan) {
    let counts = |expected, packets, lost, duplicates, reordered, longest| {
        BTreeMap::from([
            ("expected", expected),
            ("packets", packets),
            ("lost", lost),
            ("duplicates", duplicates),
            ("reordered", reordered),
            ("longest_loss", longest),
        ])
    };
    assert_eq!(
        counts(
            stream.expected,
            stream.packets,
            stream.lost,
            stream.duplicates,
            stream.reordered,
            stream.longest_loss
        ),
        counts(told.sent, told.packets, told.lost, told.duplicates, told.reordered, told.longest_loss),
        "{plan:?}\n{stream:?}"
    );
    assert_eq!((stream.restarts, stream.rejected, stream.capture_duplicates), (0, 0, 0));
    assert_eq!((stream.discontinuities, stream.rate_changes, stream.dtx_gaps), (0, 0, 0));
    near(stream.loss_ratio, Some(told.loss_ratio), 1e-12, "loss_ratio");
    if told.lost > 0 {
        near(stream.burst_ratio, Some(told.burst_ratio), 1e-9, "burst_ratio");
    }
    assert_eq!((stream.source, stream.destination), (told.source, told.destination));
    assert_eq!((stream.call_id.as_ref(), stream.direction), (Some(&told.call_id), Some(told.direction)));
    assert_eq!(
        (stream.codec, stream.clock_rate, stream.origin),
        (told.codec, Some(told.clock_rate), Origin::Sdp)
    );
    assert_eq!((stream.bytes, &stream.payload_types), (walked.bytes, &walked.payload_types));
    assert_eq!(stream.first, told.first);
    // A duplicate may come behind the last packet.
    assert!(told.last.nanos_since(stream.last) < 2_000_000);
    if told.sent > 60 && told.reordered * 4 < told.sent && told.lost * 2 < told.sent {
        near(stream.ptime, Some(told.ptime), 1e-9, "ptime");
    }
    if let Some(jitter) = stream.jitter {
        for (name, found, told) in [
            ("last", jitter.last, told.jitter.last),
            ("mean", jitter.mean, told.jitter.mean),
            ("max", jitter.max, told.jitter.max),
        ] {
            assert!(
                (found - told).abs() <= told * 0.01 + 1e-9,
                "jitter {name}: {found}, not {told}\n{plan:?}"
            );
        }
    } else {
        assert!(told.packets < 2);
    }
    let reported = stream.rtcp.and_then(|rtcp| rtcp.reported_loss_ratio);
    if let (Some(first), Some(last)) = (walked.blocks.first(), walked.blocks.last())
        && last.1 > first.1
    {
        // MEAS 2.3: the first block is the base; more received than expected is no loss.
        let ratio = f64::from(last.0 - first.0) / f64::from(last.1.wrapping_sub(first.1));
        near(reported, Some(ratio.max(0.0)), 1e-3, "reported_loss_ratio");
    }
}

fn same_call(call: &Call, told: &truth::Call, streams: &[Stream]) {
    assert_eq!((call.result, call.status), (Some(told.result), told.status), "{:?}", told.outcome);
    assert_eq!((&call.from, &call.to), (&told.from, &told.to));
    assert_eq!((call.source, call.destination, call.start), (told.source, told.destination, told.start));
    for (name, found, told) in [
        ("post_dial_delay", call.post_dial_delay, told.post_dial_delay),
        ("setup", call.setup, told.setup),
        ("ring", call.ring, told.ring),
        ("duration", call.duration, told.duration),
        ("disconnect", call.disconnect, told.disconnect),
        ("auth", call.auth, told.auth),
        ("session_request_failed", call.session_request_failed, told.session_request_failed),
    ] {
        near(found, told, 1e-8, name);
    }
    assert_eq!((call.challenged, call.forked), (told.challenged, told.forked), "{:?}", told.outcome);
    let retransmissions = if told.outcome == Outcome::Timeout { 6 } else { 0 };
    assert_eq!((call.retransmissions, call.hops), (retransmissions, 1), "{:?}", told.outcome);
    assert_eq!((call.codec, call.streams.len()), (told.codec, told.streams.len()), "{:?}", told.outcome);
    assert_eq!(call.state, CallState::Ended, "{:?}", told.outcome);
    assert_eq!(call.end_reason, told.duration.map(|_| EndReason::Bye));
    assert!(!call.early_media && call.one_way.is_none());
    if told.end.is_some() {
        assert_eq!(call.end, told.end, "{:?}", told.outcome);
    }
    let own: Vec<_> = streams.iter().filter(|stream| told.streams.contains(&stream.ssrc)).collect();
    assert!(own.iter().all(|stream| call.streams.contains(&stream.id)));
    let worst = own.iter().filter_map(|stream| stream.mos).map(|mos| mos.lq).reduce(f64::min);
    assert_eq!(call.mos, worst);
    if let Some(rtt) = told.rtt {
        for stream in own {
            near(stream.rtcp.and_then(|rtcp| rtcp.rtt), Some(rtt), 1e-4, "rtt");
        }
    }
}

fn same_registrations(measured: &Measured, truth: &Truth) {
    assert_eq!(measured.registrations.len(), truth.registrations.len());
    for told in &truth.registrations {
        let found = measured.registrations.iter().find(|found| found.call_id == told.call_id).unwrap();
        assert_eq!((found.result, found.status), (Some(told.result), told.status));
        assert_eq!((&found.aor, found.challenged), (&told.aor, told.challenged));
        assert_eq!((found.start, found.expires), (told.start, told.expires));
        near(found.delay, told.delay, 1e-8, "delay");
    }
}

fn near(found: Option<f64>, told: Option<f64>, within: f64, name: &str) {
    let same = match (found, told) {
        (Some(found), Some(told)) => (found - told).abs() <= within,
        (found, told) => found.is_none() && told.is_none(),
    };
    assert!(same, "{name}: {found:?}, not {told:?}");
}

/// What the bytes say of themselves and the truth does not tell.
#[derive(Default)]
struct Walked {
    streams: BTreeMap<String, WalkedStream>,
}

#[derive(Default)]
struct WalkedStream {
    /// RTP packets with their headers, without repetitions.
    bytes: u64,
    payload_types: Vec<u8>,
    seen: BTreeSet<[u8; 8]>,
    /// Cumulative loss and highest number of each report block.
    blocks: Vec<(i32, u32)>,
}

impl Walked {
    fn over(capture: &[u8]) -> Self {
        let mut walked = Self::default();
        let mut files = Files::from_reader("simulated", Cursor::new(capture.to_vec()));
        let mut take = |frames: &[sidetone::wire::Frame<'_>]| {
            for frame in frames {
                let source = u16::from_be_bytes([frame.bytes[34], frame.bytes[35]]);
                match source {
                    5060 => {}
                    even if even % 2 == 0 => walked.rtp(&frame.bytes[42..]),
                    _ => walked.rtcp(&frame.bytes[42..]),
                }
            }
        };
        while files.poll(&mut take).unwrap() == Progress::More {}
        walked
    }

    fn stream(&mut self, ssrc: &[u8]) -> &mut WalkedStream {
        let ssrc = u32::from_be_bytes(ssrc.try_into().unwrap());
        self.streams.entry(format!("0x{ssrc:08x}")).or_default()
    }

    fn rtp(&mut self, packet: &[u8]) {
        let stream = self.stream(&packet[8..12]);
        if stream.seen.insert(packet[..8].try_into().unwrap()) {
            stream.bytes += packet.len() as u64;
        }
        let payload_type = packet[1] & 0x7f;
        if !stream.payload_types.contains(&payload_type) {
            stream.payload_types.push(payload_type);
        }
    }

    /// A sender report with at most one block.
    fn rtcp(&mut self, packet: &[u8]) {
        if packet[0] & 0x1f == 1 {
            let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
            let cumulative = (word(32) << 8) as i32 >> 8;
            self.stream(&packet[28..32]).blocks.push((cumulative, word(36)));
        }
    }
}
