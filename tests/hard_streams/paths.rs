//! Media that takes another way than its description says, and frames of odd shapes.

use sidetone::event::{CallState, Direction, EndReason, Missing, Origin};
use sidetone::rtp::payload::Codec;

use crate::calls::{figures, of, rtcp, sender_report, two_way, up};
use crate::scene::{self, CALL, Call, MS, Media, SECOND, Scene, TO_CALLEE, TO_CALLER};

#[test]
fn an_offer_that_comes_with_the_answer_is_one_too() {
    let mut scene = Scene::default();
    scene.request(0, &CALL, "INVITE", 1, "");
    scene.response(100 * MS, &CALL, "180 Ringing", 1, None);
    scene.response(200 * MS, &CALL, "200 OK", 1, Some("sendrecv"));
    let answer = CALL.describe(CALL.caller_media, "sendrecv");
    scene.request(250 * MS, &CALL, "ACK", 1, &answer);
    scene.media(SECOND, &TO_CALLEE, 0, 300);
    scene.media(SECOND, &TO_CALLER, 0, 300);
    scene.bye(8 * SECOND, &CALL);
    let measured = scene.measured();
    for (media, direction) in [(TO_CALLEE, Direction::ToCallee), (TO_CALLER, Direction::ToCaller)] {
        let stream = of(&measured, media.ssrc)[0];
        assert_eq!((stream.packets, stream.direction, stream.origin), (300, Some(direction), Origin::Sdp));
        assert_eq!(stream.call_id.as_deref(), Some("first"));
    }
}

#[test]
fn media_moved_by_a_new_offer_stays_with_its_call() {
    let moved = Call { caller_media: "10.1.0.1:18000", callee_media: "198.51.100.7:31000", ..CALL };
    let mut scene = Scene::default();
    scene.answered(0, &CALL);
    scene.media(SECOND, &TO_CALLEE, 0, 250);
    scene.media(SECOND, &TO_CALLER, 0, 250);
    scene.invite(6 * SECOND, &moved, 2, "sendrecv");
    scene.response(6 * SECOND + 20 * MS, &moved, "200 OK", 2, Some("sendrecv"));
    let there = Media { from: moved.caller_media, to: moved.callee_media, ..TO_CALLEE };
    let back = Media { from: moved.callee_media, to: moved.caller_media, ssrc: 0x5555_0005, ..TO_CALLER };
    scene.media(6 * SECOND + 30 * MS, &there, 250, 600);
    scene.media(6 * SECOND + 30 * MS, &back, 0, 350);
    scene.bye(14 * SECOND, &CALL);
    let measured = scene.measured();
    assert_eq!((measured.calls.len(), measured.streams.len()), (1, 4));
    assert_eq!((measured.calls[0].streams.len(), measured.calls[0].one_way), (4, None));
    for stream in &measured.streams {
        assert_eq!((stream.lost, stream.call_id.as_deref()), (0, Some("first")));
        assert!(stream.direction.is_some() && !stream.tail_missing, "{stream:?}");
    }
}

#[test]
fn a_phone_behind_a_translator_is_found_by_the_far_side_of_its_media() {
    let home = Call { caller_media: "192.168.1.5:4000", ..CALL };
    let mut scene = Scene::default();
    scene.answered(0, &home);
    let there = Media { from: "203.0.113.5:61000", ..TO_CALLEE };
    let back = Media { to: "203.0.113.5:61000", ..TO_CALLER };
    scene.media(SECOND, &there, 0, 500);
    scene.media(SECOND, &back, 0, 500);
    scene.bye(12 * SECOND, &home);
    let measured = scene.measured();
    assert_eq!((measured.streams.len(), measured.calls[0].streams.len()), (2, 2));
    assert_eq!(of(&measured, there.ssrc)[0].direction, Some(Direction::ToCallee));
    assert_eq!(of(&measured, back.ssrc)[0].direction, Some(Direction::ToCaller));
    assert_eq!(measured.calls[0].one_way, None);
}

#[test]
fn video_that_is_switched_off_does_not_hide_one_way_audio() {
    let mut scene = two_way(20);
    let deaf = Call {
        id: "deaf",
        caller: "10.1.0.3:5060",
        caller_media: "10.1.0.3:17000",
        callee_media: "198.51.100.2:30400",
        lines: "a=sendrecv\r\nm=video 17002 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n",
        ..CALL
    };
    // The direction written last is that of the video.
    scene.invite(SECOND, &deaf, 1, "inactive");
    scene.response(SECOND + 200 * MS, &deaf, "200 OK", 1, Some("inactive"));
    scene.request(SECOND + 250 * MS, &deaf, "ACK", 1, "");
    let there = Media { from: deaf.caller_media, to: deaf.callee_media, ssrc: 0x4444_0004, ..TO_CALLEE };
    scene.media(2 * SECOND, &there, 0, 900);
    scene.bye(20 * SECOND, &deaf);
    let measured = scene.measured();
    let call = measured.calls.iter().find(|call| call.call_id == "deaf").unwrap();
    assert_eq!(call.one_way, Some(Missing::ToCaller));
}

#[test]
fn a_call_whose_media_stops_without_bye_is_ended_by_that() {
    let mut scene = Scene::default();
    scene.answered(0, &CALL);
    scene.media(SECOND, &TO_CALLEE, 0, 500);
    scene.media(SECOND, &TO_CALLER, 0, 500);
    // Something else goes on at this tap.
    for second in 12..200 {
        scene.udp(second * SECOND, "10.9.9.9:2000", "10.9.9.8:2000", b"\r\n\r\n");
    }
    let measured = scene.measured();
    let call = &measured.calls[0];
    assert_eq!((call.end_reason, call.state), (Some(EndReason::RtpTimeout), CallState::Ended));
    assert_eq!(call.duration.map(|seconds| (seconds * 10.0).round()), Some(108.0));
    assert!(measured.streams.iter().all(|stream| stream.packets == 500 && !stream.tail_missing));
}

#[test]
fn a_call_that_outlives_the_capture_is_told_as_it_stands() {
    let mut scene = two_way(10);
    let end = scene.frames.len() - 2;
    scene.frames.truncate(end);
    let measured = scene.measured();
    let call = &measured.calls[0];
    assert_eq!((call.state, call.end_reason, call.duration), (CallState::Confirmed, None, None));
    assert_eq!((call.streams.len(), measured.streams.len()), (2, 2));
    assert!(measured.streams.iter().all(|stream| stream.packets == 500 && stream.mos.is_some()));
}

#[test]
fn extension_padding_and_contributing_sources_change_nothing_but_the_size() {
    let plain = two_way(10);
    let plain = plain.measured();
    let mut scene = Scene::default();
    scene.answered(0, &CALL);
    for (media, at) in [(TO_CALLEE, SECOND / 2), (TO_CALLER, SECOND / 2 + 3 * MS)] {
        for number in 0..500_u32 {
            let mut packet = vec![0xb1, media.payload_type];
            packet.extend(media.sequence.wrapping_add(number as u16).to_be_bytes());
            packet.extend((media.timestamp + number * 160).to_be_bytes());
            packet.extend(media.ssrc.to_be_bytes());
            packet.extend([1, 2, 3, 4]);
            packet.extend([0xbe, 0xde, 0, 1, 0x10, 0x55, 0, 0]);
            packet.extend((0..160_u32).map(|i| (i * 7 + number) as u8 & 0x9f));
            packet.extend([0, 0, 0, 4]);
            scene.udp(at + i64::from(number) * 20 * MS, media.from, media.to, &packet);
        }
    }
    scene.bye(SECOND / 2 + 10 * SECOND, &CALL);
    let measured = scene.measured();
    for media in [TO_CALLEE, TO_CALLER] {
        let (stream, plain) = (of(&measured, media.ssrc)[0], of(&plain, media.ssrc)[0]);
        assert_eq!(stream.bytes, plain.bytes + 500 * 16);
        assert_eq!((stream.packets, stream.lost, stream.mos), (plain.packets, 0, plain.mos));
        assert_eq!((stream.jitter, stream.dead_air), (plain.jitter, plain.dead_air));
    }
}

#[test]
fn frames_cut_behind_the_rtp_header_are_measured_alike() {
    let mut scene = Scene::default();
    scene.media(SECOND / 2, &TO_CALLEE, 0, 300);
    scene.media(SECOND / 2 + 305 * 20 * MS, &TO_CALLEE, 305, 1_000);
    let (whole, cut) = (scene.measured(), scene.measured_snapped(60));
    let (whole, cut) = (&whole.streams[0], &cut.streams[0]);
    assert_eq!((cut.packets, cut.expected, cut.lost, cut.bytes), (995, 1_000, 5, whole.bytes));
    assert_eq!((cut.jitter, cut.mos, cut.codec), (whole.jitter, whole.mos, Codec::Pcmu));
}

#[test]
fn reports_on_the_port_of_the_media_make_the_same_round_trip() {
    let reports = |ports: fn(&str) -> String| {
        let mut scene = two_way(10);
        let asked = sender_report(TO_CALLEE.ssrc, 0x0005_0000_0000, 90, None);
        scene.udp(2 * SECOND, &ports(TO_CALLEE.from), &ports(TO_CALLEE.to), &asked);
        // 60 ms behind the tap, and half a second in the phone.
        let block = Some((TO_CALLEE.ssrc, 0, 5_100, 0x0005_0000, 0x8000));
        let answer = sender_report(TO_CALLER.ssrc, 0x0009_0000_0000, 110, block);
        scene.udp(2 * SECOND + 560 * MS, &ports(TO_CALLER.from), &ports(TO_CALLER.to), &answer);
        let block = Some((TO_CALLER.ssrc, 0, 40_100, 0x0009_0000, 0x4000));
        let closing = sender_report(TO_CALLEE.ssrc, 0x0006_0000_0000, 130, block);
        scene.udp(2 * SECOND + 850 * MS, &ports(TO_CALLEE.from), &ports(TO_CALLEE.to), &closing);
        scene.measured()
    };
    for measured in [reports(up), reports(str::to_owned)] {
        for media in [TO_CALLEE, TO_CALLER] {
            let rtcp = of(&measured, media.ssrc)[0].rtcp.unwrap();
            assert!((rtcp.rtt.unwrap() - 0.1).abs() < 1e-6, "{rtcp:?}");
            assert_eq!((rtcp.reports, measured.streams.len()), (1, 2));
        }
    }
}

#[test]
fn loss_behind_the_tap_is_told_apart_from_loss_before_it() {
    let mut scene = Scene::default();
    scene.answered(0, &CALL);
    scene.media(SECOND, &TO_CALLER, 0, 1_500);
    // Before the tap every 50th packet is lost.
    for number in (0..1_500).filter(|number| number % 50 != 25) {
        scene.rtp(SECOND + i64::from(number) * 20 * MS, &TO_CALLEE, number);
    }
    // Behind it as many again: the receiver counts both.
    for second in (5..30).step_by(5_usize) {
        let sent = second as u32 * 50;
        let report = sender_report(TO_CALLEE.ssrc, (second as u64) << 32, sent, None);
        scene.udp(SECOND + second * SECOND - MS, &up(TO_CALLEE.from), &up(TO_CALLEE.to), &report);
        let highest = u32::from(TO_CALLEE.sequence) + sent - 1;
        let block = Some((TO_CALLEE.ssrc, sent / 25, highest, 0, 0));
        let report = sender_report(TO_CALLER.ssrc, (second as u64) << 32, sent, block);
        scene.udp(SECOND + second * SECOND, &up(TO_CALLER.from), &up(TO_CALLER.to), &report);
    }
    scene.bye(32 * SECOND, &CALL);
    let measured = scene.measured();
    let stream = of(&measured, TO_CALLEE.ssrc)[0];
    assert_eq!((stream.expected, stream.lost), (1_500, 30));
    let rtcp = stream.rtcp.unwrap();
    let near = |found: Option<f64>, told: f64| (found.unwrap() - told).abs() < 0.001;
    assert!(near(rtcp.reported_loss_ratio, 0.04), "{rtcp:?}");
    assert!(near(rtcp.upstream_loss_ratio, 0.02), "{rtcp:?}");
    assert!(near(rtcp.downstream_loss_ratio, 0.02), "{rtcp:?}");
}

#[test]
fn early_media_of_two_forks_are_two_streams_to_the_caller() {
    let mut scene = Scene::default();
    scene.invite(0, &CALL, 1, "sendrecv");
    let other = Call { callee_media: "198.51.100.9:32000", ..CALL };
    scene.response(200 * MS, &CALL, "183 Session Progress", 1, Some("sendrecv"));
    let body = other.describe(other.callee_media, "sendrecv");
    let fork = format!(
        "SIP/2.0 183 Session Progress\r\n{}",
        other.rest("INVITE", 1, true, &body).replace(";tag=bfirst", ";tag=cfirst")
    );
    scene.udp(250 * MS, CALL.callee, CALL.caller, fork.as_bytes());
    let second = Media { from: other.callee_media, ssrc: 0x6666_0006, ..TO_CALLER };
    scene.media(300 * MS, &TO_CALLER, 0, 500);
    scene.media(310 * MS, &second, 0, 200);
    scene.response(5 * SECOND, &CALL, "200 OK", 1, Some("sendrecv"));
    scene.media(5 * SECOND + 50 * MS, &TO_CALLEE, 0, 300);
    scene.bye(12 * SECOND, &CALL);
    let measured = scene.measured();
    assert_eq!((measured.calls.len(), measured.streams.len()), (1, 3));
    assert!(measured.calls[0].forked && measured.calls[0].early_media);
    for media in [TO_CALLER, second] {
        let stream = of(&measured, media.ssrc)[0];
        assert!(stream.early && stream.direction == Some(Direction::ToCaller) && !stream.ssrc_overlap);
        assert_eq!(stream.lost, 0);
    }
}

#[test]
fn a_bond_and_its_two_slaves_see_everything_three_times() {
    let scene = two_way(10);
    let mut thrice = scene.twice(5_000, 1);
    thrice.frames.extend(scene.twice(9_000, 2).frames.split_off(scene.frames.len()));
    let measured = thrice.measured();
    assert_eq!(figures(&measured), figures(&scene.measured()));
    assert_eq!(measured.totals.duplicates, 2 * scene.frames.len() as u64);
}

#[test]
fn a_second_mirror_that_decrements_the_time_to_live_is_a_copy_all_the_same() {
    let scene = two_way(10);
    let behind = scene.changed(|frame| frame[22] -= 1);
    let mut both = scene.clone();
    both.frames.extend(behind.frames.iter().cloned().map(|mut frame| {
        frame.at += 200_000;
        frame
    }));
    assert_eq!(figures(&both.measured()), figures(&scene.measured()));
}

#[test]
fn keep_alives_on_the_media_ports_are_no_packets_of_the_stream() {
    let mut scene = two_way(10);
    for second in 1..9 {
        scene.udp(second * SECOND + MS, TO_CALLEE.from, TO_CALLEE.to, &[0; 4]);
        scene.udp(second * SECOND + 2 * MS, TO_CALLEE.from, TO_CALLEE.to, b"\r\n");
        let mut stun = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        stun.extend([7; 12]);
        scene.udp(second * SECOND + 3 * MS, TO_CALLEE.from, TO_CALLEE.to, &stun);
    }
    let measured = scene.measured();
    assert_eq!(figures(&measured), figures(&two_way(10).measured()));
}

#[test]
fn a_goodbye_without_reports_is_one_too() {
    let mut scene = two_way(10);
    scene.udp(10 * SECOND, &up(TO_CALLEE.from), &up(TO_CALLEE.to), &rtcp(0x81, 203, &[TO_CALLEE.ssrc]));
    assert_eq!(of(&scene.measured(), TO_CALLEE.ssrc)[0].packets, 500);
}

#[test]
fn two_calls_whose_senders_chose_the_same_ssrc_stay_apart() {
    let mut scene = two_way(10);
    let other = Call {
        id: "other",
        caller: "10.1.0.4:5060",
        callee: "198.51.100.3:5060",
        caller_media: "10.1.0.4:16384",
        callee_media: "198.51.100.3:30000",
        ..CALL
    };
    scene.answered(30 * MS, &other);
    let there =
        Media { from: other.caller_media, to: other.callee_media, sequence: 7, timestamp: 99, ..TO_CALLEE };
    scene.media(SECOND / 2 + MS, &there, 0, 400);
    scene.bye(9 * SECOND, &other);
    let measured = scene.measured();
    let mut streams: Vec<_> = of(&measured, TO_CALLEE.ssrc)
        .into_iter()
        .map(|stream| (stream.call_id.as_deref(), stream.packets, stream.lost, stream.hop.is_some()))
        .collect();
    streams.sort_unstable();
    assert_eq!(streams, [(Some("first"), 500, 0, false), (Some("other"), 400, 0, false)]);
    assert_eq!(measured.calls.len(), 2);
}

#[test]
fn silence_of_equal_content_does_not_join_two_calls() {
    // The same sender rings two phones with the same announcement, byte for byte, under two SSRCs.
    let mut scene = Scene::default();
    let other = Call {
        id: "other",
        callee: "198.51.100.3:5060",
        caller_media: "10.1.0.1:16500",
        callee_media: "198.51.100.3:30000",
        ..CALL
    };
    scene.answered(0, &CALL);
    scene.answered(MS, &other);
    let streams = [
        TO_CALLEE,
        Media { from: other.caller_media, to: other.callee_media, ssrc: TO_CALLEE.ssrc + 1, ..TO_CALLEE },
    ];
    for number in 0..300_u32 {
        for media in &streams {
            let timestamp = media.timestamp + number * 160;
            let packet = scene::rtp(media, media.sequence + number as u16, timestamp, &[0xff; 160]);
            scene.udp(SECOND + i64::from(number) * 20 * MS, media.from, media.to, &packet);
        }
    }
    scene.bye(8 * SECOND, &CALL);
    scene.bye(8 * SECOND, &other);
    let measured = scene.measured();
    assert_eq!((measured.calls.len(), measured.streams.len()), (2, 2));
    assert!(measured.streams.iter().all(|stream| stream.hop.is_none()));
}
