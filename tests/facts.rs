//! Facts about calls and streams, from frames made by hand.

#![allow(clippy::unwrap_used, reason = "a test that cannot run its subject has failed")]

use sidetone::Stamp;
use sidetone::event::{Call, Event, Stream};
use sidetone::observer::{Observer, Settings};
use sidetone::wire::{Frame, LinkType};

/// An observer, and what it told.
struct World {
    observer: Observer,
    calls: Vec<Call>,
    streams: Vec<Stream>,
    frames: Vec<(f64, Vec<u8>)>,
}

impl World {
    fn new() -> Self {
        let observer = Observer::new(Settings::default());
        Self { observer, calls: Vec::new(), streams: Vec::new(), frames: Vec::new() }
    }

    /// A datagram between `a:port` and `b:port`, where an address is the last byte of 192.0.2.x.
    fn send(&mut self, at: f64, from: (u8, u16), to: (u8, u16), payload: &[u8]) {
        let mut frame = vec![2, 0, 0, 0, 0, to.0, 2, 0, 0, 0, 0, from.0, 8, 0];
        let total = 28 + payload.len() as u16;
        frame.extend([0x45, 0]);
        frame.extend(total.to_be_bytes());
        // Identification: a number of its own for each datagram.
        frame.extend((self.frames.len() as u16 + 1).to_be_bytes());
        frame.extend([0, 0, 64, 17, 0, 0, 192, 0, 2, from.0, 192, 0, 2, to.0]);
        frame.extend(from.1.to_be_bytes());
        frame.extend(to.1.to_be_bytes());
        frame.extend((total - 20).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(payload);
        self.frames.push((at, frame));
    }

    fn sip(&mut self, at: f64, from: u8, to: u8, text: &str) {
        self.send(at, (from, 5060), (to, 5060), text.as_bytes());
    }

    /// All frames in order of time, to the end.
    fn run(mut self) -> Self {
        let Self { observer, calls, streams, frames } = &mut self;
        let mut sink = |event| match event {
            Event::Call(call) => calls.push(call),
            Event::Stream(stream) => streams.push(stream),
            _ => {}
        };
        frames.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        for (at, bytes) in frames.iter() {
            let stamp = Stamp(1_700_000_000_000_000_000 + (at * 1e9).round() as u64);
            let (link, interface, wire_len) = (LinkType::ETHERNET, 0, bytes.len() as u32);
            observer.packets(&[Frame { stamp, link, interface, wire_len, bytes }], &mut sink);
        }
        observer.finish(&mut sink);
        self
    }

    /// An answered call from 1 (media at `caller`) to 2 (media at `callee`), hung up at `end`.
    fn call(&mut self, caller: (u8, u16), callee: (u8, u16), end: f64) {
        self.invite("application/sdp", &sdp(caller));
        let answer = sdp(callee);
        self.sip(0.1, 2, 1, &message("SIP/2.0 200 OK", 1, "INVITE", "b", "application/sdp", &answer));
        self.sip(0.2, 1, 2, &message("ACK sip:b@x SIP/2.0", 1, "ACK", "b", "", ""));
        self.sip(end, 1, 2, &message("BYE sip:b@x SIP/2.0", 9, "BYE", "b", "", ""));
        self.sip(end + 0.03, 2, 1, &message("SIP/2.0 200 OK", 9, "BYE", "b", "", ""));
    }

    fn invite(&mut self, content_type: &str, body: &str) {
        self.sip(0.0, 1, 2, &message("INVITE sip:b@x SIP/2.0", 1, "INVITE", "", content_type, body));
    }
}

fn sdp(at: (u8, u16)) -> String {
    format!("v=0\r\nc=IN IP4 192.0.2.{}\r\nm=audio {} RTP/AVP 0 8\r\n", at.0, at.1)
}

fn message(start: &str, cseq: u32, method: &str, to_tag: &str, content_type: &str, body: &str) -> String {
    let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    format!(
        "{start}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{cseq}\r\nCall-ID: c\r\nCSeq: {cseq} {method}\r\n\
         From: <sip:a@x>;tag=a\r\nTo: <sip:b@x>{to_tag}\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn keys_pressed_by_info_stand_with_the_call() {
    let mut world = World::new();
    world.call((1, 4000), (2, 4000), 9.0);
    for (at, key) in [(1.0, "5"), (2.0, "#")] {
        let cseq = 2 + at as u32;
        let relay = format!("Signal={key}\r\nDuration=160\r\n");
        let info = message("INFO sip:b@x SIP/2.0", cseq, "INFO", "b", "application/dtmf-relay", &relay);
        world.sip(at, 1, 2, &info);
        world.sip(at + 0.5, 1, 2, &info);
        world.sip(
            at + 0.6,
            2,
            1,
            &message("SIP/2.0 200 OK", cseq, "INFO", "b", "application/dtmf-relay", &relay),
        );
    }
    let world = world.run();
    assert_eq!((world.calls.len(), &world.calls[0].dtmf), (1, &vec!["5".to_owned(), "#".to_owned()]));
}

#[test]
fn participants_of_a_recording_stand_with_its_call() {
    let mut world = World::new();
    let body = "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b\r\n\
                Content-Type: application/rs-metadata+xml\r\n\r\n<recording><participant>\
                <nameID aor=\"sip:alice@x\"/></participant><participant><nameID aor=\"sip:bob@x\"/></participant>\
                </recording>\r\n--b--\r\n";
    world.invite("multipart/mixed;boundary=b", body);
    let world = world.run();
    assert_eq!(world.calls[0].participants, ["sip:alice@x", "sip:bob@x"]);
}

fn rtp(seq: u16, ssrc: u32, payload_type: u8, ticks: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(seq.to_be_bytes());
    packet.extend(ticks.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

/// 20 ms of something loud that is never the same, or of mu-law silence.
fn speech(seq: u32) -> Vec<u8> {
    (0..160)
        .map(|i| (seq.wrapping_mul(2_654_435_761).rotate_left(i % 32) as u8 & 0x8f) | (i as u8 & 1))
        .collect()
}

/// 20 ms packets of PCMU from `begin` to `end`, silent where told.
fn talk(
    world: &mut World,
    from: (u8, u16),
    to: (u8, u16),
    begin: f64,
    end: f64,
    silent: impl Fn(f64) -> bool,
) {
    for n in 0..((end - begin) * 50.0) as u32 {
        let at = begin + f64::from(n) * 0.02;
        let payload = if silent(at) { vec![0xff; 160] } else { speech(n) };
        world.send(at, from, to, &rtp(n as u16, u32::from(from.0), 0, n * 160, &payload));
    }
}

fn dead_air(one: impl Fn(f64) -> bool, other: impl Fn(f64) -> bool) -> Option<bool> {
    let (caller, callee) = ((1, 4000), (2, 4000));
    let mut world = World::new();
    world.call(caller, callee, 80.0);
    talk(&mut world, caller, callee, 0.5, 80.0, one);
    talk(&mut world, callee, caller, 0.5, 80.0, other);
    let world = world.run();
    assert_eq!((world.calls.len(), world.streams.len()), (1, 2));
    world.calls[0].dead_air
}

#[test]
fn dead_air_is_both_at_a_time_or_one_for_long() {
    let within = |from: f64, to: f64| move |at: f64| (from..to).contains(&at);
    assert_eq!(dead_air(within(0.0, 0.0), within(0.0, 0.0)), Some(false));
    assert_eq!(dead_air(within(20.0, 34.0), within(19.0, 33.0)), Some(true));
    assert_eq!(dead_air(within(10.0, 25.0), within(40.0, 55.0)), Some(false), "they take turns");
    assert_eq!(dead_air(within(20.0, 53.0), within(0.0, 0.0)), Some(true), "one is deaf or mute");
}

/// Every number of a fact that is null, by its path.
fn absent(fact: &impl serde::Serialize, fields: &[&str]) -> Vec<String> {
    let fact = serde_json::to_value(fact).unwrap();
    let pointer = |field: &str| {
        fact.pointer(&format!("/{}", field.replace('.', "/"))).is_none_or(serde_json::Value::is_null)
    };
    let inside = |field: &str| field.split_once('.').is_none_or(|(outer, _)| !fact[outer].is_null());
    fields.iter().filter(|field| pointer(field) && inside(field)).map(|field| (*field).to_owned()).collect()
}

#[test]
fn every_absent_number_has_its_reason_and_no_other_has_one() {
    let plan = sidetone::simulate::Plan { calls: 40, duration: 3.0, mix: 80.0, ..Default::default() };
    let mut traffic = sidetone::simulate::Traffic::new(plan).unwrap();
    let mut world = World::new();
    let (mut calls, mut streams) = (Vec::new(), Vec::new());
    let mut sink = |event| match event {
        Event::Call(call) => calls.push(call),
        Event::Stream(stream) => streams.push(stream),
        _ => {}
    };
    while let Some(frame) = traffic.next_frame() {
        world.observer.packets(&[frame], &mut sink);
    }
    world.observer.finish(&mut sink);
    let mut media = World::new();
    media.call((1, 4000), (2, 4000), 0.9);
    talk(&mut media, (1, 4000), (2, 4000), 0.3, 0.8, |_| false);
    talk(&mut media, (7, 4000), (8, 4000), 0.3, 0.8, |_| false);
    let media = media.run();
    calls.extend(media.calls);
    streams.extend(media.streams);
    assert!(calls.len() > 30 && streams.len() > 10);
    let numbers = "status first_response post_dial_delay setup ring duration disconnect codec mos dead_air";
    let numbers: Vec<_> = numbers.split(' ').collect();
    for call in &calls {
        let explained: Vec<_> = call.why.keys().copied().filter(|field| *field != "one_way").collect();
        let mut absent = absent(call, &numbers);
        absent.sort();
        assert_eq!(explained, absent, "{call:#?}");
    }
    let numbers = "clock_rate ptime jitter pdv_p95 discarded burst_gap silence_ratio clock_skew_ppm mos r_factor \
                   mos.cq mos.min_window dead_air rtcp rtcp.rtt";
    let numbers: Vec<_> = numbers.split_whitespace().collect();
    for stream in &streams {
        let explained: Vec<_> = stream.why.keys().copied().collect();
        let mut absent = absent(stream, &numbers);
        absent.sort();
        assert_eq!(explained, absent, "{stream:#?}");
    }
}

#[test]
fn reasons_say_what_happened() {
    let mut world = World::new();
    world.call((1, 4000), (2, 4000), 4.0);
    talk(&mut world, (1, 4000), (2, 4000), 0.3, 0.8, |_| false);
    let world = world.run();
    let why = |field: &str| world.calls[0].why.get(field).copied().unwrap_or_default();
    assert_eq!(
        [why("mos"), why("one_way"), why("dead_air")],
        ["too short", "too short", "one direction only"]
    );
    assert_eq!(
        [why("ring"), why("post_dial_delay"), why("duration")],
        ["answered without 180 to 183"; 2].into_iter().chain([""]).collect::<Vec<_>>()[..]
    );
    assert_eq!(world.streams[0].why["rtcp"], "no RTCP");
    let mut silent = World::new();
    silent.call((1, 4000), (2, 4000), 4.0);
    let silent = silent.run();
    assert_eq!(
        (silent.calls[0].why["mos"], silent.calls[0].why["codec"]),
        ("no media seen", "no media seen")
    );
    let mut unanswered = World::new();
    unanswered.invite("application/sdp", &sdp((1, 4000)));
    let call = &unanswered.run().calls[0];
    assert_eq!(
        (call.why["setup"], call.why["disconnect"], call.why["status"]),
        ("not answered", "not answered", "no response")
    );
}

#[test]
fn what_runs_at_no_clock_rate_has_no_score() {
    let mut world = World::new();
    talk(&mut world, (1, 4000), (2, 4000), 0.0, 30.0, |_| false);
    for n in 0..1500_u32 {
        // A counter where RTP has its time stamp.
        world.send(f64::from(n) * 0.02, (3, 4000), (4, 4000), &rtp(n as u16, 3, 0, n, &speech(n)));
    }
    let world = world.run();
    assert_eq!(world.streams.len(), 2);
    for stream in &world.streams {
        let is_rtp = stream.ssrc == "0x00000001";
        assert_eq!(stream.mos.is_some(), is_rtp, "{stream:#?}");
        assert_eq!(stream.why.get("mos").copied(), (!is_rtp).then_some("rate implausible"));
        assert_eq!(stream.lost, 0);
    }
}

#[test]
fn srtp_shows_itself_by_its_tag_and_nothing_is_said_about_its_sound() {
    let mut world = World::new();
    for n in 0..1500_u32 {
        let (at, ticks) = (f64::from(n) * 0.02, n * 160);
        let tagged = [speech(n), vec![n as u8; 10]].concat();
        world.send(at, (1, 4000), (2, 4000), &rtp(n as u16, 1, 8, ticks, &tagged));
        world.send(at, (3, 4000), (4, 4000), &rtp(n as u16, 3, 97, ticks, &tagged[..30]));
        world.send(at, (5, 4000), (6, 4000), &rtp(n as u16, 5, 8, ticks, &speech(n)));
    }
    let world = world.run();
    let told: Vec<_> = world.streams.iter().map(|s| (s.codec.name(), s.srtp, s.dead_air)).collect();
    assert_eq!(told, [("PCMA", true, None), ("G729", true, None), ("PCMA", false, Some(false))]);
    assert_eq!(world.streams[0].why["dead_air"], "encrypted");
}

/// PCMU speech from one endpoint to another for 3 s, `delay` late, under an SSRC of its own.
fn relayed(world: &mut World, from: (u8, u16), to: (u8, u16), ssrc: u32, delay: f64) {
    for n in 0..150_u32 {
        let packet = rtp((n + ssrc) as u16, ssrc, 0, n * 160 + ssrc, &speech(n));
        world.send(0.5 + f64::from(n) * 0.02 + delay, from, to, &packet);
    }
}

#[test]
fn a_relay_that_writes_its_own_ssrc_is_a_hop_of_the_same_call() {
    let (caller, relay_in, relay_out, callee) = ((1, 4000), (9, 6000), (9, 6002), (2, 4000));
    let mut world = World::new();
    world.call(caller, relay_in, 5.0);
    relayed(&mut world, caller, relay_in, 100, 0.0);
    relayed(&mut world, relay_out, callee, 7000, 0.001);
    let world = world.run();
    let hops: Vec<_> =
        world.streams.iter().map(|s| (s.hop.as_ref().map(|hop| hop.place), s.call_id.is_some())).collect();
    assert_eq!(hops, [(None, true), (Some(1), true)], "{:#?}", world.streams);
    assert_eq!(world.calls[0].streams.len(), 2);
}

#[test]
fn a_live_stream_is_in_every_snapshot_until_it_is_told() {
    let mut world = World::new();
    world.call((1, 4000), (2, 4000), 2.0);
    relayed(&mut world, (1, 4000), (2, 4000), 100, 0.0);
    let World { mut observer, mut frames, .. } = world;
    frames.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let told = std::cell::Cell::new(false);
    let mut sink = |event| told.set(told.get() || matches!(event, Event::Stream(_)));
    let mut snapshots = 0;
    for (at, bytes) in &frames {
        let stamp = Stamp(1_700_000_000_000_000_000 + (at * 1e9).round() as u64);
        let wire_len = bytes.len() as u32;
        observer
            .packets(&[Frame { stamp, link: LinkType::ETHERNET, interface: 0, wire_len, bytes }], &mut sink);
        let up = observer.live().streams.len();
        assert!(up == 1 || snapshots == 0 || told.get(), "at {at} after {snapshots} snapshots");
        snapshots += up;
    }
    assert!(snapshots > 100);
}

/// Two calls at once: both callers play the same file under the same SSRC from the same port, as load generators do,
/// by way of one media relay; the second call is announced before the first one's media flow.
fn twins(world: &mut World, hosts: [[u8; 2]; 2]) {
    let calls = [("c1", 6000, 6002), ("c2", 6004, 6006)];
    for (&(id, near, far), [from, to]) in calls.iter().zip(hosts) {
        let named = |text: String| text.replace("Call-ID: c\r\n", &format!("Call-ID: {id}\r\n"));
        let hop = |text: String| text.replace("Via: ", "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKp\r\nVia: ");
        let invite =
            |sdp: &str| named(message("INVITE sip:b@x SIP/2.0", 1, "INVITE", "", "application/sdp", sdp));
        let ok = |sdp: &str| named(message("SIP/2.0 200 OK", 1, "INVITE", "b", "application/sdp", sdp));
        world.sip(0.0, from, 9, &invite(&sdp((from, 4000))));
        world.sip(0.01, 9, to, &hop(invite(&sdp((9, far)))));
        world.sip(0.1, to, 9, &hop(ok(&sdp((to, 4000)))));
        world.sip(0.11, 9, from, &ok(&sdp((9, near))));
        for (delay, source, destination) in [
            (0.0, (from, 4000), (9, near)),
            (0.001, (9, far), (to, 4000)),
            (0.002, (to, 4000), (9, far)),
            (0.003, (9, near), (from, 4000)),
        ] {
            relayed(world, source, destination, 100, delay + f64::from(far - 6002) / 1000.0);
        }
    }
}

#[test]
fn calls_are_not_joined_by_an_endpoint_or_an_ssrc_that_they_share() {
    for hosts in [[[1, 2], [1, 2]], [[1, 2], [2, 1]], [[1, 2], [3, 2]]] {
        let mut world = World::new();
        twins(&mut world, hosts);
        let world = world.run();
        let told: Vec<_> =
            world.calls.iter().map(|call| (call.call_ids.join(" "), call.streams.len(), call.hops)).collect();
        assert_eq!(told, [("c1".to_owned(), 4, 2), ("c2".to_owned(), 4, 2)], "{hosts:?}");
        for stream in &world.streams {
            let of = stream.hop.as_ref().map(|hop| {
                let first = world.streams.iter().find(|other| other.id == hop.of).unwrap();
                (first.call_id == stream.call_id, first.direction == stream.direction)
            });
            assert_eq!(
                of,
                (stream.source.ip.to_string() == "192.0.2.9").then_some((true, true)),
                "{stream:#?}"
            );
        }
    }
}

#[test]
fn media_that_a_b2bua_hands_on_join_its_legs() {
    let mut world = World::new();
    for (at, from, to, id, offer, answer) in
        [(0.0, 1, 9, "c", (1, 4000), (9, 6002)), (0.01, 9, 2, "d", (9, 6004), (2, 4000))]
    {
        let named = |text: String| text.replace("Call-ID: c\r\n", &format!("Call-ID: {id}\r\n"));
        let invite = message("INVITE sip:b@x SIP/2.0", 1, "INVITE", "", "application/sdp", &sdp(offer));
        world.sip(at, from, to, &named(invite));
        let ok = message("SIP/2.0 200 OK", 1, "INVITE", "b", "application/sdp", &sdp(answer));
        world.sip(0.1 - at, to, from, &named(ok));
    }
    relayed(&mut world, (1, 4000), (9, 6002), 100, 0.0);
    relayed(&mut world, (9, 6004), (2, 4000), 100, 0.001);
    let world = world.run();
    let hops: Vec<_> = world.streams.iter().map(|s| s.hop.as_ref().map(|hop| hop.place)).collect();
    assert_eq!((world.calls.len(), hops), (1, vec![None, Some(1)]));
    assert_eq!(world.calls[0].call_ids, ["c", "d"]);
}

#[test]
fn one_source_of_the_same_music_to_two_listeners_is_no_relay() {
    let mut world = World::new();
    relayed(&mut world, (9, 6000), (1, 4000), 100, 0.0);
    relayed(&mut world, (9, 6002), (2, 4000), 7000, 0.001);
    assert!(world.run().streams.iter().all(|stream| stream.hop.is_none()));
}

#[test]
fn two_pairs_that_play_the_same_file_at_once_are_no_relay() {
    let mut world = World::new();
    relayed(&mut world, (1, 4000), (2, 4000), 100, 0.0);
    relayed(&mut world, (3, 4000), (4, 4000), 7000, 0.001);
    assert!(world.run().streams.iter().all(|stream| stream.hop.is_none()));
}
