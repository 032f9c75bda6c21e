use super::*;
use crate::event::{Event, Heard, Mirrored, Sink};
use crate::evidence::page::Page;
use crate::evidence::recorder::{Recorder, channels};
use crate::observer::{self, Observer};
use crate::simulate::{Outcome, Plan, Traffic};
use crate::wire::Frame;

/// What the observer of a plan finds, and what is recorded of it.
struct Played {
    rings: Rings,
    /// Call-IDs of calls that were taken for bad.
    bad: Vec<String>,
    calls: Vec<Call>,
    streams: Vec<crate::event::Stream>,
}

struct ToRecorder {
    recorder: Recorder,
    calls: Vec<Call>,
    streams: Vec<crate::event::Stream>,
}

impl Sink for ToRecorder {
    fn event(&mut self, event: Event) {
        match event {
            Event::Call(call) => {
                self.recorder.call(&call);
                self.calls.push(call);
            }
            Event::Stream(stream) => {
                self.recorder.stream(&stream);
                self.streams.push(stream);
            }
            _ => {}
        }
    }

    fn message(&mut self, message: &Mirrored<'_>) {
        self.recorder.message(message, false);
    }

    fn wants_headers(&self) -> bool {
        self.recorder.wants_headers()
    }

    fn header(&mut self, heard: &Heard) {
        self.recorder.header(heard);
    }
}

fn sampling() -> Sampling {
    Sampling::default()
}

fn settings() -> observer::Settings {
    observer::Settings { mirror: true, ..observer::Settings::default() }
}

/// Plays a plan with rings of that size.
fn play(plan: &Plan, sip_bytes: usize, rtp_bytes: usize) -> Played {
    let (pages, full) = channels();
    let recorder = Recorder::new(pages, sampling(), rtp_bytes > 0, std::sync::Arc::default());
    let mut sink = ToRecorder { recorder, calls: Vec::new(), streams: Vec::new() };
    let mut observer = Observer::new(settings());
    let mut traffic = Traffic::new(plan.clone()).unwrap();
    let mut rings = Rings::new(sip_bytes, rtp_bytes);
    let mut bad = Vec::new();
    let mut take = || {
        for mut page in full.pages.try_iter() {
            bad.extend(page.bad.iter().map(|call| call.call_id.clone()));
            rings.take(&page);
            page.clear();
            full.back.try_send(page).unwrap();
        }
    };
    while let Some(frame) = traffic.next_frame() {
        observer.packets(&[frame], &mut sink);
        sink.recorder.tick(frame.stamp);
        take();
    }
    observer.finish(&mut sink);
    sink.recorder.hand_over();
    take();
    Played { rings, bad, calls: sink.calls, streams: sink.streams }
}

fn plan(outcomes: &[Outcome]) -> Plan {
    Plan {
        calls: outcomes.len() as u32,
        outcomes: outcomes.to_vec(),
        duration: 12.0,
        rate: 1.0,
        ..Plan::default()
    }
}

/// What is measured of a file.
fn measured(file: Vec<u8>) -> (Vec<Call>, Vec<crate::event::Stream>) {
    use crate::capture::{Progress, Source};
    let mut files = crate::capture::file::Files::from_reader("x", std::io::Cursor::new(file));
    let mut observer = Observer::new(settings());
    let (mut calls, mut streams) = (Vec::new(), Vec::new());
    let mut sink = |event| match event {
        Event::Call(call) => calls.push(call),
        Event::Stream(stream) => streams.push(stream),
        _ => {}
    };
    let mut last = Stamp(0);
    let mut take = |frames: &[Frame<'_>]| {
        last = frames.last().map_or(last, |frame| frame.stamp);
        observer.packets(frames, &mut sink);
    };
    while files.poll(&mut take).unwrap() == Progress::More {}
    assert_eq!(files.faults(), []);
    // What never came is known to be missing when time has passed.
    observer.tick(last.plus_seconds(60), &mut sink);
    observer.finish(&mut sink);
    (calls, streams)
}

#[test]
fn the_file_of_a_call_says_of_it_what_the_wire_said() {
    let outcomes = [Outcome::Answered, Outcome::Busy, Outcome::Challenged, Outcome::Timeout];
    let played = play(&Plan { loss: 8.0, jitter: 5.0, ..plan(&outcomes) }, 1 << 24, 1 << 24);
    assert_eq!(played.calls.len(), 4);
    for call in &played.calls {
        let case = Case::of(&played.rings, call, sampling(), 1 << 24).unwrap();
        assert!(case.is_whole(), "{:?}", case.gaps);
        let (calls, streams) = measured(case.file());
        let [again] = &calls[..] else { panic!("{calls:?}") };
        assert_eq!(again.call_id, call.call_id);
        assert_eq!(
            (again.result, again.status, again.end_reason),
            (call.result, call.status, call.end_reason)
        );
        assert_eq!((again.start, again.end, again.setup), (call.start, call.end, call.setup));
        assert_eq!((again.one_way, again.mos), (call.one_way, call.mos));
        let mut of_call: Vec<_> =
            played.streams.iter().filter(|stream| call.streams.contains(&stream.id)).collect();
        let mut streams: Vec<_> = streams.iter().collect();
        for list in [&mut of_call, &mut streams] {
            list.sort_by_key(|stream| (stream.ssrc.clone(), stream.source));
        }
        assert_eq!(streams.len(), of_call.len());
        for (again, stream) in streams.iter().zip(&of_call) {
            let facts = |of: &crate::event::Stream| {
                (
                    of.packets,
                    of.lost,
                    of.duplicates,
                    of.reordered,
                    of.jitter.map(|jitter| jitter.mean.to_bits()),
                )
            };
            assert_eq!(facts(again), facts(stream));
            assert_eq!((again.codec, again.dscp), (stream.codec, stream.dscp));
        }
        let packets: u64 = of_call.iter().map(|stream| stream.packets + stream.duplicates).sum();
        assert_eq!(case.counts().rtp, packets);
    }
}

#[test]
fn only_bad_calls_are_asked_for() {
    let outcomes =
        [Outcome::Answered, Outcome::Cancelled, Outcome::Timeout, Outcome::Redirected, Outcome::Busy];
    let played = play(&plan(&outcomes), 1 << 24, 1 << 24);
    let failed = |call: &&Call| matches!(call.result, Some(CallResult::Failed | CallResult::Timeout));
    let mut failed: Vec<_> = played.calls.iter().filter(failed).map(|call| call.call_id.clone()).collect();
    let mut bad = played.bad;
    failed.sort();
    bad.sort();
    assert_eq!((failed.len(), &bad), (2, &failed));
    assert_eq!(play(&Plan { loss: 20.0, ..plan(&[Outcome::Answered]) }, 1 << 24, 1 << 24).bad.len(), 1);
}

#[test]
fn nothing_of_another_call_is_in_it() {
    let played = play(&plan(&[Outcome::Answered; 6]), 1 << 24, 1 << 24);
    for call in &played.calls {
        let file = Case::of(&played.rings, call, sampling(), 1 << 24).unwrap().file();
        let has = |call_id: &str| memchr::memmem::find(&file, call_id.as_bytes()).is_some();
        for other in &played.calls {
            assert_eq!(has(&other.call_id), other.call_id == call.call_id);
        }
    }
}

#[test]
fn what_is_missing_is_said() {
    let plan = Plan { duration: 120.0, ..plan(&[Outcome::Answered; 2]) };
    let overwritten = play(&plan, 1 << 24, 1 << 17);
    let last = overwritten.calls.last().unwrap();
    let case = Case::of(&overwritten.rings, last, sampling(), 1 << 24).unwrap();
    assert!(!case.is_whole());
    let file = case.file();
    let comment = crate::evidence::pcapng::comment(&file).unwrap();
    assert!(comment.contains("incomplete: RTP up to 2"), "{comment}");
    assert!(comment.contains(&format!("call_id: {}\n", last.call_id)), "{comment}");
    // The whole of it is too long.
    let whole = play(&plan, 1 << 24, 1 << 24);
    let last = whole.calls.last().unwrap();
    let case = Case::of(&whole.rings, last, sampling(), 200_000).unwrap();
    assert!(case.file().len() <= 200_000, "{}", case.file().len());
    assert!(case.gaps.iter().any(|gap| gap.contains("RTP packets are left out")), "{:?}", case.gaps);
    let without = play(&plan, 1 << 24, 0);
    let case = Case::of(&without.rings, &without.calls[0], sampling(), 1 << 24).unwrap();
    assert_eq!((case.counts().rtp, case.is_whole()), (0, false));
    assert!(case.counts().sip > 4);
}

#[test]
fn of_a_call_that_is_gone_there_is_nothing() {
    let played = play(&plan(&[Outcome::Busy]), 1 << 24, 1 << 24);
    let unknown = Call { call_id: "x".into(), call_ids: vec!["x".into()], ..played.calls[0].clone() };
    assert!(Case::of(&played.rings, &unknown, sampling(), 1 << 24).is_none());
}

fn mirrored(bytes: &[u8], second: u64, protocol: u8) -> Mirrored<'_> {
    let at = |ip: [u8; 4], port| Endpoint { ip: ip.into(), port };
    Mirrored {
        stamp: Stamp(1_795_953_600_000_000_000).plus_seconds(second),
        source: at([192, 0, 2, 1], 5060),
        destination: at([192, 0, 2, 2], 5061),
        protocol,
        kind: MirrorKind::Sip,
        call_id: "",
        bytes,
    }
}

fn invite(padding: usize) -> Vec<u8> {
    let mut text = b"INVITE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\n\
        From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: one\r\nCSeq: 1 INVITE\r\n\
        Proxy-Authorization: Digest response=\"5ec4e7\"\r\n"
        .to_vec();
    text.extend_from_slice(format!("X: {}\r\nContent-Length: 0\r\n\r\n", "y".repeat(padding)).as_bytes());
    text
}

fn case_of(messages: &[(Mirrored<'_>, bool)], look: impl FnOnce(&Case<'_>)) {
    let mut page = Page::default();
    for (message, retold) in messages {
        page.put(message, *retold);
    }
    let mut rings = Rings::new(1 << 20, 0);
    rings.take(&page);
    let call = Call {
        call_id: "one".into(),
        call_ids: vec!["one".into()],
        streams: Vec::new(),
        start: messages[0].0.stamp,
        ..crate::export::samples::failed_call(CallResult::Failed, Some(503))
    };
    look(&Case::of(&rings, &call, sampling(), 1 << 20).unwrap());
}

#[test]
fn long_messages_over_tcp_are_segments_that_are_put_together_again() {
    let text = invite(50_000);
    case_of(&[(mirrored(&text, 0, 6), false)], |case| {
        assert_eq!(case.why(), "failed 503");
        let file = case.file();
        let holds = |word: &[u8]| memchr::memmem::find(&file, word).is_some();
        assert!(holds(b"response=\"xxxxxx\"") && !holds(b"5ec4e7"));
        let (calls, _) = measured(file);
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].transport, crate::event::SipTransport::Tcp);
    });
}

#[test]
fn what_came_both_ways_is_there_once() {
    let text = invite(0);
    let (wire, hep) = (mirrored(&text, 0, 17), mirrored(&text, 1, 6));
    case_of(&[(wire, false), (hep, true)], |case| assert_eq!(case.counts().sip, 1));
    case_of(&[(hep, true)], |case| {
        assert_eq!(case.counts().sip, 1);
        assert_eq!(measured(case.file()).0.len(), 1);
    });
}

#[test]
fn hostile_call_ids_stay_in_their_line() {
    let mut call = crate::export::samples::call();
    call.call_ids = vec!["a\ncall_id: b".into(), "c".repeat(100_000)];
    let case = Case {
        call: &call,
        trace: trace_of(&call),
        records: Vec::new(),
        gaps: Vec::new(),
        why: String::new(),
    };
    let comment = case.comment();
    assert!(comment.lines().filter(|line| line.starts_with(CALL_ID)).count() == 2 && comment.len() < 2000);
    let known: Vec<_> = names(&comment).collect();
    assert!(!known.contains(&TraceId::of_call_id("b").to_string()));
}
