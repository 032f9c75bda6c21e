//! Whole calls, frame by frame (MEAS 1.9, 1.11, 2, 5.9, 6).

use sidetone::event::{CodecSource, Direction, EndReason, Missing, Origin, ReportKind, Stream};
use sidetone::rtp::payload::Codec;

use crate::measured::Measured;
use crate::scene::{self, CALL, Call, MS, Media, SECOND, Scene, TO_CALLEE, TO_CALLER};

/// A call of `seconds` with media both ways from half a second on.
pub(crate) fn two_way(seconds: i64) -> Scene {
    let mut scene = Scene::default();
    scene.answered(0, &CALL);
    let packets = (seconds * 50) as u32;
    scene.media(SECOND / 2, &TO_CALLEE, 0, packets);
    scene.media(SECOND / 2 + 3 * MS, &TO_CALLER, 0, packets);
    scene.bye(SECOND / 2 + seconds * SECOND, &CALL);
    scene
}

pub(crate) fn of(measured: &Measured, ssrc: u32) -> Vec<&Stream> {
    let ssrc = format!("0x{ssrc:08x}");
    measured.streams.iter().filter(|stream| stream.ssrc == ssrc).collect()
}

/// The metrics of a stream without what depends on how it was captured.
pub(crate) fn figures(measured: &Measured) -> String {
    let mut streams = measured.streams.clone();
    streams.sort_by(|a, b| (&a.ssrc, a.first).cmp(&(&b.ssrc, b.first)));
    for stream in &mut streams {
        stream.capture_duplicates = 0;
    }
    let mut calls = measured.calls.clone();
    calls.sort_by(|a, b| a.call_id.cmp(&b.call_id));
    format!("{streams:?}{calls:?}{:?}{:?}", measured.reports, measured.totals.requests)
}

/// A sender report, and a report block about another stream: (SSRC, cumulative loss, highest, LSR, DLSR).
pub(crate) fn sender_report(
    ssrc: u32,
    ntp: u64,
    packets: u32,
    block: Option<(u32, u32, u32, u32, u32)>,
) -> Vec<u8> {
    let mut words = vec![ssrc, (ntp >> 32) as u32, ntp as u32, 0, packets, packets * 160];
    if let Some((about, lost, highest, lsr, dlsr)) = block {
        words.extend([about, lost, highest, 0, lsr, dlsr]);
    }
    rtcp(0x80 | u8::from(block.is_some()), 200, &words)
}

pub(crate) fn rtcp(first: u8, kind: u8, words: &[u32]) -> Vec<u8> {
    let mut packet = vec![first, kind];
    packet.extend((words.len() as u16).to_be_bytes());
    packet.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    packet
}

pub(crate) fn up(endpoint: &str) -> String {
    let (ip, port) = endpoint.rsplit_once(':').unwrap();
    format!("{ip}:{}", port.parse::<u16>().unwrap() + 1)
}

#[test]
fn a_plain_call_is_the_measure_of_the_others() {
    let measured = two_way(10).measured();
    assert_eq!((measured.calls.len(), measured.streams.len()), (1, 2));
    let call = &measured.calls[0];
    assert_eq!((call.end_reason, call.one_way, call.hops), (Some(EndReason::Bye), None, 1));
    assert_eq!((call.post_dial_delay, call.setup), (Some(0.1), Some(0.2)));
    assert_eq!(call.streams.len(), 2);
    for stream in &measured.streams {
        assert_eq!((stream.packets, stream.lost, stream.dead_air), (500, 0, Some(false)));
        assert!(stream.jitter.unwrap().max < 1e-9);
        assert!(!stream.early && !stream.tail_missing && !stream.ssrc_overlap);
    }
}

#[test]
fn everything_seen_by_two_interfaces_is_counted_once() {
    let mut scene = two_way(10);
    let report = sender_report(TO_CALLEE.ssrc, 5 << 32, 90, None);
    scene.udp(2 * SECOND, &up(TO_CALLEE.from), &up(TO_CALLEE.to), &report);
    let answer =
        sender_report(TO_CALLER.ssrc, 6 << 32, 140, Some((TO_CALLEE.ssrc, 0, 5_120, 5 << 16, 0x1000)));
    scene.udp(3 * SECOND, &up(TO_CALLER.from), &up(TO_CALLER.to), &answer);
    let once = scene.measured();
    for (behind, interface) in [(15_000, 1), (15_000, 0), (50 * MS, 1)] {
        let twice = scene.twice(behind, interface).measured();
        assert_eq!(figures(&twice), figures(&once), "{behind} {interface}");
        assert_eq!(twice.totals.duplicates, scene.frames.len() as u64);
        assert_eq!(twice.totals.retransmissions, 0);
        assert!(twice.streams.iter().all(|stream| stream.capture_duplicates == 500));
    }
}

#[test]
fn without_ip_identification_a_copy_is_known_by_coming_at_once() {
    let scene = two_way(10).changed(|frame| frame[18..20].copy_from_slice(&[0, 0]));
    let once = scene.measured();
    let copied = scene.twice(60_000, 0).measured();
    assert_eq!(figures(&copied), figures(&once));
    let sent_twice = scene.twice(2 * MS, 0).measured();
    assert!(
        sent_twice.streams.iter().all(|stream| (stream.duplicates, stream.capture_duplicates) == (500, 0))
    );
    assert!(sent_twice.streams.iter().all(|stream| stream.lost == 0 && stream.jitter.unwrap().max < 1e-9));
}

#[test]
fn a_vlan_tag_changes_nothing() {
    let scene = two_way(5);
    assert_eq!(figures(&scene.changed(scene::tag).measured()), figures(&scene.measured()));
    let mixed = scene.twice(10_000, 0);
    let mut half = mixed;
    let frames = half.frames.len();
    half.frames[frames / 2..].iter_mut().for_each(|frame| scene::tag(&mut frame.bytes));
    assert_eq!(figures(&half.measured()), figures(&scene.measured()));
}

#[test]
fn over_ipv6_it_is_the_same_call() {
    let call = Call {
        caller: "[2001:db8::1]:5060",
        callee: "[2001:db8:1::2]:5060",
        caller_media: "[2001:db8::1]:16384",
        callee_media: "[2001:db8:1::2]:30000",
        ..CALL
    };
    let mut scene = Scene::default();
    scene.answered(0, &call);
    let to_callee = Media { from: call.caller_media, to: call.callee_media, ..TO_CALLEE };
    scene.media(SECOND / 2, &to_callee, 0, 200);
    scene.media(SECOND / 2 + 210 * 20 * MS, &to_callee, 210, 500);
    scene.media(SECOND / 2, &Media { from: call.callee_media, to: call.caller_media, ..TO_CALLER }, 0, 500);
    scene.bye(11 * SECOND, &call);
    for copies in [scene.clone(), scene.twice(20_000, 3)] {
        let measured = copies.measured();
        assert_eq!((measured.calls.len(), measured.streams.len()), (1, 2));
        let stream = of(&measured, TO_CALLEE.ssrc)[0];
        assert_eq!((stream.expected, stream.lost, stream.longest_loss), (500, 10, 10));
        assert_eq!(stream.source.to_string(), call.caller_media);
        assert_eq!(stream.direction, Some(Direction::ToCallee));
        assert_eq!(stream.duplicates, 0);
    }
}

#[test]
fn a_switch_of_payload_type_and_clock_is_no_jitter() {
    let mut scene = Scene::default();
    scene.answered(0, &CALL);
    scene.media(SECOND, &TO_CALLEE, 0, 250);
    let opus = Media {
        payload_type: 111,
        ticks: 960,
        bytes: 60,
        timestamp: TO_CALLEE.timestamp + 250 * 160 - 250 * 960,
        ..TO_CALLEE
    };
    scene.media(6 * SECOND, &opus, 250, 600);
    scene.media(SECOND, &TO_CALLER, 0, 600);
    scene.bye(13 * SECOND, &CALL);
    let measured = scene.measured();
    let stream = of(&measured, TO_CALLEE.ssrc)[0];
    assert_eq!((stream.expected, stream.lost, stream.rate_changes, stream.restarts), (600, 0, 1, 0));
    assert_eq!((stream.payload_types.as_slice(), stream.codec), ([0, 111].as_slice(), Codec::Opus));
    assert!(stream.jitter.unwrap().max < 1e-9, "{:?}", stream.jitter);
    assert_eq!((stream.discontinuities, stream.dtx_gaps), (0, 0));
    assert_eq!(stream.discarded.unwrap().adaptive, 0);
    assert!(stream.mos.unwrap().lq > 4.0);
}

#[test]
fn a_new_ssrc_in_the_middle_of_a_call_is_a_second_stream_of_it() {
    let mut scene = Scene::default();
    scene.answered(0, &CALL);
    scene.media(SECOND, &TO_CALLER, 0, 600);
    scene.media(SECOND, &TO_CALLEE, 0, 300);
    let next = Media { ssrc: 0x3333_0003, sequence: 100, timestamp: 9, ..TO_CALLEE };
    scene.media(7 * SECOND, &next, 0, 300);
    scene.bye(13 * SECOND, &CALL);
    let measured = scene.measured();
    assert_eq!((measured.calls[0].streams.len(), measured.streams.len()), (3, 3));
    for ssrc in [TO_CALLEE.ssrc, next.ssrc] {
        let stream = of(&measured, ssrc)[0];
        assert_eq!((stream.packets, stream.lost, stream.call_id.as_deref()), (300, 0, Some("first")));
        assert_eq!((stream.direction, stream.ssrc_overlap), (Some(Direction::ToCallee), false));
    }
    assert!(measured.calls[0].one_way.is_none());
}

#[test]
fn two_ssrcs_that_alternate_on_one_path_overlap_and_stay_two_streams() {
    let mut scene = Scene::default();
    scene.answered(0, &CALL);
    scene.media(SECOND, &TO_CALLER, 0, 1_000);
    let mixed = Media { ssrc: 0x3333_0003, ..TO_CALLEE };
    scene.media(3 * SECOND + 7 * MS, &mixed, 0, 900);
    // The first one pauses for two seconds and goes on.
    scene.media(SECOND, &TO_CALLEE, 0, 400);
    scene.media(11 * SECOND, &TO_CALLEE, 400, 900);
    scene.bye(22 * SECOND, &CALL);
    let measured = scene.measured();
    assert_eq!(measured.streams.len(), 3, "{:?}", measured.streams);
    for ssrc in [TO_CALLEE.ssrc, mixed.ssrc] {
        let stream = of(&measured, ssrc)[0];
        assert_eq!((stream.packets, stream.lost), (900, 0));
        assert!(stream.ssrc_overlap, "{ssrc:x}");
    }
    assert!(!of(&measured, TO_CALLER.ssrc)[0].ssrc_overlap);
}

/// The legs of a call by way of a relay that keeps the SSRC (rtpengine): the proxy stands beside it.
#[test]
fn the_same_media_behind_a_relay_is_a_second_hop_of_one_call() {
    let outer = Call { callee: "192.0.2.10:5060", callee_media: "192.0.2.10:40000", ..CALL };
    let inner = Call { caller: "192.0.2.10:5060", caller_media: "192.0.2.10:41000", ..CALL };
    let mut scene = Scene::default();
    scene.invite(0, &outer, 1, "sendrecv");
    scene.invite(2 * MS, &inner, 1, "sendrecv");
    scene.response(200 * MS, &inner, "200 OK", 1, Some("sendrecv"));
    scene.response(202 * MS, &outer, "200 OK", 1, Some("sendrecv"));
    scene.request(250 * MS, &outer, "ACK", 1, "");
    scene.request(252 * MS, &inner, "ACK", 1, "");
    let relay = |media: Media, hops: [(&'static str, &'static str); 2]| {
        hops.map(|(from, to)| Media { from, to, ..media })
    };
    let there = relay(
        TO_CALLEE,
        [(outer.caller_media, outer.callee_media), (inner.caller_media, inner.callee_media)],
    );
    let back = relay(
        TO_CALLER,
        [(inner.callee_media, inner.caller_media), (outer.callee_media, outer.caller_media)],
    );
    for hops in [there, back] {
        scene.media(SECOND, &hops[0], 0, 600);
        // Between the hops ten packets are lost.
        scene.media(SECOND + 300_000, &hops[1], 0, 200);
        scene.media(SECOND + 210 * 20 * MS + 300_000, &hops[1], 210, 600);
    }
    scene.bye(14 * SECOND, &outer);
    scene.bye(14 * SECOND + 2 * MS, &inner);
    let measured = scene.measured();
    assert_eq!((measured.calls.len(), measured.streams.len()), (1, 4));
    let call = &measured.calls[0];
    assert_eq!((call.hops, call.streams.len(), call.one_way), (2, 4, None));
    for ssrc in [TO_CALLEE.ssrc, TO_CALLER.ssrc] {
        let streams = of(&measured, ssrc);
        let first = streams.iter().find(|stream| stream.hop.is_none()).unwrap();
        let second = streams.iter().find(|stream| stream.hop.is_some()).unwrap();
        let hop = second.hop.clone().unwrap();
        assert_eq!((hop.of, hop.place), (first.id.clone(), 1));
        assert_eq!((first.lost, second.lost, second.expected), (0, 10, 600));
        assert_eq!(first.direction, second.direction);
        assert!(first.call_id.is_some() && second.call_id == first.call_id);
    }
    // The first hop rates the call.
    assert!(call.mos.unwrap() > 4.4);
}

#[test]
fn encrypted_payload_is_measured_as_far_as_its_header_goes() {
    let call = Call { formats: "RTP/SAVP 0 101", ..CALL };
    let mut scene = Scene::default();
    scene.answered(0, &call);
    let secure = Media { bytes: 170, ..TO_CALLEE };
    scene.media(SECOND, &secure, 0, 300);
    scene.media(SECOND + 305 * 20 * MS, &secure, 305, 2_000);
    scene.media(SECOND, &Media { bytes: 170, ..TO_CALLER }, 0, 2_000);
    scene.bye(42 * SECOND, &call);
    let measured = scene.measured();
    let stream = of(&measured, TO_CALLEE.ssrc)[0];
    assert!(stream.srtp && measured.streams.len() == 2);
    assert_eq!((stream.expected, stream.lost, stream.dead_air), (2_000, 5, None));
    assert!(stream.jitter.unwrap().max < 1e-9 && stream.mos.is_some());
    assert_eq!(measured.calls[0].dead_air, None);
}

#[test]
fn media_before_the_answer_that_describes_it_counts_from_its_first_packet() {
    let mut scene = Scene::default();
    scene.invite(0, &CALL, 1, "sendrecv");
    scene.response(100 * MS, &CALL, "180 Ringing", 1, None);
    scene.media(SECOND, &TO_CALLEE, 0, 400);
    scene.media(SECOND, &TO_CALLER, 0, 400);
    scene.response(3 * SECOND, &CALL, "200 OK", 1, Some("sendrecv"));
    scene.request(3 * SECOND + 50 * MS, &CALL, "ACK", 1, "");
    scene.bye(10 * SECOND, &CALL);
    let measured = scene.measured();
    assert_eq!((measured.streams.len(), measured.calls[0].streams.len()), (2, 2));
    for (ssrc, direction) in [(TO_CALLEE.ssrc, Direction::ToCallee), (TO_CALLER.ssrc, Direction::ToCaller)] {
        let stream = of(&measured, ssrc)[0];
        assert_eq!((stream.packets, stream.lost), (400, 0));
        assert_eq!((stream.direction, stream.call_id.as_deref()), (Some(direction), Some("first")));
        assert!(stream.early, "{direction:?}");
        assert_eq!(stream.codec_source, CodecSource::Sdp);
    }
}

#[test]
fn a_dynamic_payload_type_heard_before_its_description_is_learned_from_it() {
    let mut scene = Scene::default();
    scene.invite(0, &CALL, 1, "sendrecv");
    let opus = Media { payload_type: 111, ticks: 960, bytes: 60, ..TO_CALLEE };
    scene.media(SECOND, &opus, 0, 400);
    scene.response(SECOND + 200 * MS, &CALL, "200 OK", 1, Some("sendrecv"));
    scene.bye(10 * SECOND, &CALL);
    let measured = scene.measured();
    let stream = of(&measured, opus.ssrc)[0];
    assert_eq!((stream.codec, stream.codec_source), (Codec::Opus, CodecSource::Sdp));
    assert_eq!((stream.packets, stream.clock_rate), (400, Some(48_000)));
    assert!(stream.jitter.unwrap().max < 1e-9 && stream.mos.is_some());
}

#[test]
fn early_media_is_measured_and_named_so() {
    let mut scene = Scene::default();
    scene.invite(0, &CALL, 1, "sendrecv");
    scene.response(300 * MS, &CALL, "183 Session Progress", 1, Some("sendrecv"));
    scene.media(400 * MS, &TO_CALLER, 0, 600);
    scene.response(5 * SECOND, &CALL, "200 OK", 1, Some("sendrecv"));
    scene.request(5 * SECOND + 50 * MS, &CALL, "ACK", 1, "");
    scene.media(5 * SECOND + 60 * MS, &TO_CALLEE, 0, 360);
    scene.bye(13 * SECOND, &CALL);
    let measured = scene.measured();
    let call = &measured.calls[0];
    assert!(call.early_media);
    assert_eq!((call.post_dial_delay, call.setup), (Some(0.3), Some(5.0)));
    assert!(of(&measured, TO_CALLER.ssrc)[0].early && !of(&measured, TO_CALLEE.ssrc)[0].early);
    assert_eq!(of(&measured, TO_CALLER.ssrc)[0].packets, 600);
}

#[test]
fn hold_and_resume_after_forty_seconds_is_no_loss_and_not_one_way() {
    let mut scene = Scene::default();
    scene.answered(0, &CALL);
    scene.media(SECOND, &TO_CALLEE, 0, 500);
    scene.media(SECOND, &TO_CALLER, 0, 500);
    scene.invite(11 * SECOND, &CALL, 2, "inactive");
    scene.response(11 * SECOND + 30 * MS, &CALL, "200 OK", 2, Some("inactive"));
    scene.request(11 * SECOND + 40 * MS, &CALL, "ACK", 2, "");
    scene.invite(51 * SECOND, &CALL, 3, "sendrecv");
    scene.response(51 * SECOND + 30 * MS, &CALL, "200 OK", 3, Some("sendrecv"));
    scene.request(51 * SECOND + 40 * MS, &CALL, "ACK", 3, "");
    for media in [TO_CALLEE, TO_CALLER] {
        // The clock went on, the numbers did not.
        let resumed = Media { timestamp: media.timestamp + 8_000 * 41, ..media };
        scene.media(52 * SECOND, &resumed, 500, 1_000);
    }
    scene.bye(62 * SECOND, &CALL);
    let measured = scene.measured();
    assert_eq!((measured.calls.len(), measured.streams.len()), (1, 2), "{:?}", measured.streams);
    let call = &measured.calls[0];
    assert_eq!((call.one_way, call.end_reason), (None, Some(EndReason::Bye)));
    assert_eq!((call.setup, call.duration.map(f64::round)), (Some(0.2), Some(62.0)));
    for stream in &measured.streams {
        assert_eq!((stream.expected, stream.lost, stream.restarts, stream.stalls), (1_000, 0, 0, 0));
        assert!(stream.jitter.unwrap().max < 1e-9, "{:?}", stream.jitter);
        assert_eq!(stream.discarded.unwrap().adaptive, 0);
        assert!(stream.mos.unwrap().lq > 4.4);
        assert!(!stream.tail_missing);
    }
}

#[test]
fn a_held_call_whose_music_flows_one_way_is_not_one_way() {
    let mut scene = Scene::default();
    scene.answered(0, &CALL);
    scene.media(SECOND, &TO_CALLEE, 0, 1_500);
    scene.media(SECOND, &TO_CALLER, 0, 500);
    scene.invite(11 * SECOND, &CALL, 2, "sendonly");
    scene.response(11 * SECOND + 30 * MS, &CALL, "200 OK", 2, Some("recvonly"));
    scene.bye(32 * SECOND, &CALL);
    let measured = scene.measured();
    assert_eq!(measured.calls[0].one_way, None);
}

#[test]
fn rtcp_bye_ends_a_stream_and_its_stragglers_are_still_of_it() {
    let mut scene = Scene::default();
    scene.answered(0, &CALL);
    scene.media(SECOND, &TO_CALLER, 0, 1_000);
    scene.media(SECOND, &TO_CALLEE, 0, 300);
    let mut bye = sender_report(TO_CALLEE.ssrc, 5 << 32, 300, None);
    bye.extend(rtcp(0x81, 203, &[TO_CALLEE.ssrc]));
    scene.udp(7 * SECOND - 10 * MS, &up(TO_CALLEE.from), &up(TO_CALLEE.to), &bye);
    scene.media(7 * SECOND, &TO_CALLEE, 300, 320);
    let next = Media { ssrc: 0x3333_0003, sequence: 77, ..TO_CALLEE };
    scene.media(10 * SECOND, &next, 0, 500);
    scene.bye(21 * SECOND, &CALL);
    let measured = scene.measured();
    assert_eq!(measured.streams.len(), 3);
    let ended = of(&measured, TO_CALLEE.ssrc)[0];
    assert_eq!((ended.packets, ended.lost, ended.tail_missing), (320, 0, false));
    assert_eq!(of(&measured, next.ssrc)[0].packets, 500);
    assert_eq!(measured.calls[0].one_way, None);
}

#[test]
fn ports_used_again_by_the_next_call_belong_to_it() {
    for between in [300 * MS, 5 * SECOND] {
        let mut scene = two_way(8);
        let begin = 8 * SECOND + 520 * MS + between;
        let next = Call { id: "second", ..CALL };
        scene.answered(begin, &next);
        let media = [TO_CALLEE, TO_CALLER].map(|media| Media { ssrc: media.ssrc + 1, sequence: 9, ..media });
        for media in &media {
            scene.media(begin + SECOND / 2, media, 0, 300);
        }
        scene.bye(begin + 8 * SECOND, &next);
        let measured = scene.measured();
        assert_eq!((measured.calls.len(), measured.streams.len()), (2, 4));
        for media in &media {
            let stream = of(&measured, media.ssrc)[0];
            assert_eq!((stream.packets, stream.lost, stream.call_id.as_deref()), (300, 0, Some("second")));
        }
        for media in [TO_CALLEE, TO_CALLER] {
            let stream = of(&measured, media.ssrc)[0];
            assert_eq!((stream.packets, stream.lost, stream.call_id.as_deref()), (400, 0, Some("first")));
        }
        assert!(measured.calls.iter().all(|call| call.streams.len() == 2 && call.one_way.is_none()));
    }
}

#[test]
fn a_rebound_source_is_a_second_entry_of_the_same_call() {
    let mut scene = Scene::default();
    scene.answered(0, &CALL);
    scene.media(SECOND, &TO_CALLER, 0, 1_000);
    scene.media(SECOND, &TO_CALLEE, 0, 500);
    let rebound = Media { from: "203.0.113.9:61234", ..TO_CALLEE };
    scene.media(11 * SECOND, &rebound, 500, 1_000);
    scene.bye(22 * SECOND, &CALL);
    let measured = scene.measured();
    let entries = of(&measured, TO_CALLEE.ssrc);
    assert_eq!((entries.len(), measured.calls[0].streams.len()), (2, 3));
    for entry in entries {
        assert_eq!((entry.expected, entry.lost, entry.hop.as_ref()), (500, 0, None));
        assert_eq!((entry.direction, entry.call_id.as_deref()), (Some(Direction::ToCallee), Some("first")));
        assert!(!entry.tail_missing);
    }
    assert_eq!(measured.calls[0].one_way, None);
}

#[test]
fn of_two_way_calls_the_one_without_an_answering_voice_is_one_way() {
    let mut scene = two_way(20);
    let deaf = Call {
        id: "deaf",
        caller: "10.1.0.3:5060",
        caller_media: "10.1.0.3:17000",
        callee_media: "198.51.100.2:30400",
        ..CALL
    };
    scene.answered(SECOND, &deaf);
    let there = Media { from: deaf.caller_media, to: deaf.callee_media, ssrc: 0x4444_0004, ..TO_CALLEE };
    scene.media(2 * SECOND, &there, 0, 900);
    scene.bye(20 * SECOND, &deaf);
    let measured = scene.measured();
    let call = |id: &str| measured.calls.iter().find(|call| call.call_id == id).unwrap();
    assert_eq!((call("deaf").one_way, call("first").one_way), (Some(Missing::ToCaller), None));
}

#[test]
fn where_one_direction_never_passes_the_tap_no_call_is_called_one_way() {
    let mut scene = Scene::default();
    scene.answered(0, &CALL);
    scene.media(SECOND, &TO_CALLEE, 0, 900);
    scene.bye(20 * SECOND, &CALL);
    let call = &scene.measured().calls[0];
    assert_eq!(call.one_way, None);
    assert!(call.why.contains_key("one_way"));
}

#[test]
fn a_call_without_sound_is_dead_air_and_one_with_sound_is_not() {
    let mut scene = Scene::default();
    scene.answered(0, &CALL);
    for media in [TO_CALLEE, TO_CALLER] {
        for number in 0..2_000_u32 {
            let timestamp = media.timestamp + number * 160;
            let packet =
                scene::rtp(&media, media.sequence.wrapping_add(number as u16), timestamp, &[0xff; 160]);
            scene.udp(SECOND + i64::from(number) * 20 * MS, media.from, media.to, &packet);
        }
    }
    scene.bye(42 * SECOND, &CALL);
    let measured = scene.measured();
    assert_eq!(measured.calls[0].dead_air, Some(true));
    assert!(measured.streams.iter().all(|stream| stream.dead_air == Some(true)));
    assert_eq!(two_way(40).measured().calls[0].dead_air, Some(false));
}

#[test]
fn a_published_voice_quality_report_is_told_once() {
    let mut scene = two_way(5);
    let body = "VQSessionReport: CallTerm\r\nCallID: first\r\nLocalMetrics:\r\nPacketLoss:NLR=5.0 JDR=2.0\r\n\
                Delay:RTD=200\r\nQualityEst:MOSLQ=3.8 MOSCQ=3.7\r\n";
    let publish = format!(
        "PUBLISH sip:collector@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKvq\r\n\
         From: <sip:a@example.com>;tag=vq\r\nTo: <sip:collector@example.com>\r\nCall-ID: publish\r\n\
         CSeq: 1 PUBLISH\r\nEvent: vq-rtcpxr\r\nContent-Type: application/vq-rtcpxr\r\n\
         Content-Length: {}\r\n\r\n{body}",
        CALL.caller,
        body.len()
    );
    for again in 0..2 {
        scene.udp(7 * SECOND + again * SECOND / 2, CALL.caller, "198.51.100.9:5060", publish.as_bytes());
    }
    let measured = scene.measured();
    assert_eq!((measured.reports.len(), measured.calls.len()), (1, 1));
    let report = &measured.reports[0];
    assert_eq!((report.kind, report.call_id.as_deref()), (ReportKind::VqRtcpxr, Some("first")));
    assert_eq!((report.mos_lq, report.mos_cq, report.loss_ratio), (Some(3.8), Some(3.7), Some(0.05)));
    assert_eq!((report.discard_ratio, report.rtt), (Some(0.02), Some(0.2)));
}

#[test]
fn what_a_receiver_says_of_its_voice_quality_stands_beside_ours() {
    let mut scene = two_way(10);
    // RFC 3611 4.7: loss 26/256, discard 13/256, round trip 120 ms, MOS-LQ 3.9, MOS-CQ 3.8.
    let voip = [
        TO_CALLER.ssrc,
        0x0700_0008,
        TO_CALLEE.ssrc,
        0x1a0d_0000,
        0,
        0x0078_0028,
        0x7f7f_7f10,
        0x557f_2726,
        0xd000_0028,
        0x0050_0078,
    ];
    let mut report = sender_report(TO_CALLER.ssrc, 9 << 32, 300, None);
    report.extend(rtcp(0x80, 207, &voip));
    scene.udp(6 * SECOND, &up(TO_CALLER.from), &up(TO_CALLER.to), &report);
    let measured = scene.measured();
    assert_eq!(measured.reports.len(), 1);
    let told = &measured.reports[0];
    assert_eq!((told.kind, told.call_id.as_deref()), (ReportKind::RtcpXr, Some("first")));
    assert_eq!((told.mos_lq, told.mos_cq, told.rtt), (Some(3.9), Some(3.8), Some(0.12)));
    assert_eq!((told.loss_ratio, told.discard_ratio), (Some(26.0 / 256.0), Some(13.0 / 256.0)));
    let stream = of(&measured, TO_CALLEE.ssrc)[0];
    let rtcp = stream.rtcp.unwrap();
    assert_eq!((rtcp.xr_mos_lq, rtcp.xr_mos_cq), (Some(3.9), Some(3.8)));
    assert_eq!((stream.plc, stream.delay_source), ("reported", Some("rtcp_xr")));
    assert!(stream.mos.unwrap().lq > 4.4);
    let other = of(&measured, TO_CALLER.ssrc)[0];
    assert!(other.rtcp.is_none_or(|rtcp| rtcp.xr_mos_lq.is_none()));
}

#[test]
fn a_stream_that_rtcp_names_needs_no_probation() {
    let mut scene = Scene::default();
    let report = sender_report(TO_CALLEE.ssrc, 5 << 32, 0, None);
    scene.udp(0, &up(TO_CALLEE.from), &up(TO_CALLEE.to), &report);
    scene.media(SECOND, &TO_CALLEE, 0, 2);
    let measured = scene.measured();
    assert_eq!(measured.streams.len(), 1);
    assert_eq!((measured.streams[0].origin, measured.streams[0].packets), (Origin::Rtcp, 2));
}

#[test]
fn a_direction_that_falls_silent_before_the_end_has_lost_its_tail() {
    let mut scene = Scene::default();
    scene.answered(0, &CALL);
    scene.media(SECOND, &TO_CALLER, 0, 500);
    scene.media(SECOND, &TO_CALLEE, 0, 350);
    scene.bye(11 * SECOND, &CALL);
    let measured = scene.measured();
    let silent = of(&measured, TO_CALLEE.ssrc)[0];
    assert_eq!((silent.tail_missing, silent.lost, silent.packets), (true, 0, 350));
    assert!(!of(&measured, TO_CALLER.ssrc)[0].tail_missing);
}
