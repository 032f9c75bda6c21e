//! One stream, edited packet by packet (MEAS 1 to 4).

use sidetone::event::{CodecSource, LossPattern, Origin, Stream};
use sidetone::rtp::payload::Codec;
use sidetone::simulate::script::{Packet, Script};

use crate::measured::Measured;

fn script(count: u16) -> Script {
    Script::new(Codec::Pcmu, count).unwrap()
}

fn stream(script: &Script) -> Stream {
    let mut measured = Measured::of(script.capture());
    assert_eq!(measured.streams.len(), 1, "{:?}", measured.streams);
    assert_eq!((measured.totals.undecoded, measured.totals.malformed), (0, 0));
    measured.streams.remove(0)
}

/// Loses every tenth packet of `packets[range]`.
fn lose_a_tenth(script: &mut Script, range: std::ops::Range<usize>) -> u64 {
    let before = script.packets.len();
    let mut place = 0;
    script.packets.retain(|_| {
        place += 1;
        !range.contains(&(place - 1)) || place % 10 != 5
    });
    (before - script.packets.len()) as u64
}

fn is_perfect(stream: &Stream) {
    assert_eq!((stream.lost, stream.duplicates, stream.reordered), (0, 0, 0), "{stream:?}");
    assert!(stream.jitter.unwrap().max < 1e-9, "{:?}", stream.jitter);
    assert!(stream.mos.unwrap().lq > 4.4, "{:?}", stream.mos);
    assert_eq!(stream.discarded.unwrap().adaptive, 0);
    assert_eq!(stream.discarded.unwrap().fixed50, 0);
}

#[test]
fn one_stray_packet_far_ahead_is_no_loss() {
    let mut script = script(1_000);
    let mut stray = script.packets[500].clone();
    stray.sequence = stray.sequence.wrapping_add(10_000);
    stray.timestamp = stray.timestamp.wrapping_add(1_600_000);
    stray.at += 3_000_000;
    script.packets.push(stray);
    let stream = stream(&script);
    is_perfect(&stream);
    assert_eq!((stream.expected, stream.rejected, stream.restarts), (1_000, 1, 0));
}

#[test]
fn a_sender_that_restarts_forward_and_then_loses_has_lost_only_that() {
    let mut script = script(1_000);
    script.packets[500..].iter_mut().for_each(|packet| packet.sequence += 20_000);
    let lost = lose_a_tenth(&mut script, 520..1_000);
    let stream = stream(&script);
    assert_eq!((stream.expected, stream.lost, stream.restarts, stream.rejected), (1_000, lost, 1, 0));
    assert!(stream.jitter.unwrap().max < 1e-9);
}

#[test]
fn a_sender_that_restarts_backward_and_then_loses_has_lost_only_that() {
    let mut script = script(1_000);
    script.packets[500..].iter_mut().for_each(|packet| packet.sequence = packet.sequence.wrapping_sub(1_400));
    let lost = lose_a_tenth(&mut script, 520..1_000);
    assert_eq!(lost, 48);
    let stream = stream(&script);
    assert_eq!((stream.expected, stream.lost, stream.restarts, stream.rejected), (1_000, lost, 1, 0));
    assert!(stream.mos.unwrap().lq < 4.2);
}

#[test]
fn a_restart_with_new_sequence_and_new_time_stamps_is_no_jitter() {
    let mut script = script(1_000);
    for packet in &mut script.packets[500..] {
        packet.sequence = packet.sequence.wrapping_add(30_000);
        packet.timestamp = packet.timestamp.wrapping_add(0x9000_0000);
    }
    let stream = stream(&script);
    is_perfect(&stream);
    assert_eq!((stream.restarts, stream.expected), (1, 1_000));
}

#[test]
fn a_new_base_of_time_stamps_is_a_discontinuity_and_no_jitter() {
    let mut script = script(1_000);
    script.packets[400..].iter_mut().for_each(|p| p.timestamp = p.timestamp.wrapping_add(900_000_000));
    let stream = stream(&script);
    is_perfect(&stream);
    assert_eq!((stream.discontinuities, stream.restarts, stream.dtx_gaps), (1, 0, 0));
}

#[test]
fn loss_is_not_halved_by_capturing_everything_twice() {
    let mut once = script(1_500);
    assert_eq!(lose_a_tenth(&mut once, 5..1_495), 149);
    let mut twice = once.clone();
    twice.captured = 2;
    let (once, twice) = (stream(&once), stream(&twice));
    assert_eq!((twice.expected, twice.lost), (1_500, 149));
    assert_eq!((twice.capture_duplicates, twice.duplicates), (twice.packets, 0));
    assert_eq!(twice.mos, once.mos);
    assert_eq!(twice.jitter, once.jitter);
}

#[test]
fn a_restart_captured_twice_is_one_restart() {
    let mut script = script(1_000);
    script.packets[500..].iter_mut().for_each(|packet| packet.sequence += 20_000);
    script.captured = 2;
    let stream = stream(&script);
    is_perfect(&stream);
    assert_eq!((stream.restarts, stream.rejected, stream.capture_duplicates), (1, 0, 1_000));
}

#[test]
fn a_stray_captured_twice_is_one_stray() {
    let mut script = script(1_000);
    let mut stray = script.packets[500].clone();
    stray.sequence += 10_000;
    stray.at += 3_000_000;
    script.packets.push(stray);
    script.captured = 2;
    let stream = stream(&script);
    is_perfect(&stream);
    assert_eq!((stream.rejected, stream.restarts, stream.capture_duplicates), (1, 0, 1_001));
}

#[test]
fn digits_in_perfect_pacing_are_no_jitter() {
    let mut script = script(1_000);
    for (event, from) in [(1, 200_usize), (2, 400), (11, 600)] {
        let first = &script.packets[from];
        let digit = Packet::digit(event, first.at, first.sequence, first.timestamp);
        script.packets.splice(from..from + digit.len(), digit);
    }
    let stream = stream(&script);
    is_perfect(&stream);
    assert_eq!(stream.dtmf, ["1", "2", "#"]);
    assert_eq!((stream.expected, stream.payload_types), (1_000, vec![0, 101]));
    assert_eq!((stream.codec, stream.dtx_gaps, stream.discontinuities), (Codec::Pcmu, 0, 0));
}

#[test]
fn a_burst_is_worse_than_as_many_isolated_losses() {
    let (mut burst, mut isolated) = (script(1_500), script(1_500));
    burst.packets.drain(700..730);
    let mut place = 0;
    isolated.packets.retain(|_| {
        place += 1;
        place % 48 != 20 || place > 1_450
    });
    let (burst, isolated) = (stream(&burst), stream(&isolated));
    assert_eq!((burst.lost, isolated.lost), (30, 30));
    assert_eq!((burst.longest_loss, isolated.longest_loss), (30, 1));
    assert!((isolated.burst_ratio.unwrap() - 1.0).abs() < 1e-9);
    assert!(burst.burst_ratio.unwrap() >= 8.0);
    let (burst_mos, isolated_mos) = (burst.mos.unwrap(), isolated.mos.unwrap());
    assert!(burst_mos.lq < isolated_mos.lq, "{burst_mos:?} {isolated_mos:?}");
    assert!(burst_mos.min_window.unwrap() < isolated_mos.min_window.unwrap() - 0.5);
    assert_eq!(isolated.loss_pattern, Some(LossPattern::Random));
    assert_ne!(burst.loss_pattern, isolated.loss_pattern);
}

#[test]
fn delay_that_alternates_is_discarded_by_a_short_buffer_and_waited_for_by_a_long_one() {
    let mut script = script(1_500);
    script.packets.iter_mut().skip(1).step_by(2).for_each(|packet| packet.at += 60_000_000);
    let stream = stream(&script);
    let discarded = stream.discarded.unwrap();
    assert_eq!((stream.lost, discarded.fixed50, discarded.fixed200), (0, 750, 0));
    assert!(discarded.adaptive < 5);
    assert!(stream.jitter.unwrap().mean > 0.03);
    assert!(stream.pdv_p95.unwrap() > 0.055);
}

#[test]
fn a_few_packets_have_no_score() {
    for count in [1, 3, 49] {
        let stream = stream(&script(count));
        assert_eq!((stream.packets, stream.lost), (u64::from(count), 0));
        assert!(stream.mos.is_none() && stream.r_factor.is_none());
        assert_eq!(stream.why.get("mos"), Some(&"too short"));
        assert_eq!(stream.jitter.is_some(), count > 1);
    }
}

#[test]
fn a_step_of_2999_is_loss_and_one_of_3000_a_restart() {
    for (step, lost, restarts) in [(2_999, 2_998, 0), (3_000, 0, 1)] {
        let mut script = script(400);
        script.packets[200..].iter_mut().for_each(|packet| packet.sequence += step - 1);
        let stream = stream(&script);
        assert_eq!((stream.lost, stream.restarts, stream.rejected), (lost, restarts, 0), "{step}");
        assert_eq!(stream.expected, 400 + lost);
    }
}

#[test]
fn clock_skew_is_found_within_two_parts_in_a_million() {
    for ppm in [-80.0, -15.0, 0.0, 80.0] {
        let mut script = script(6_000);
        let mut delay = 17_u64;
        for packet in &mut script.packets {
            // Up to 3 ms of network delay on top, none of it too seldom.
            delay = delay.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let drift = packet.at as f64 * ppm / 1e6;
            packet.at += drift as i64 + (delay >> 33) as i64 % 3_000_000;
        }
        let stream = stream(&script);
        assert!((stream.clock_skew_ppm.unwrap() - ppm).abs() < 2.0, "{ppm}: {:?}", stream.clock_skew_ppm);
        assert_eq!(stream.discarded.unwrap().adaptive, 0);
    }
}

#[test]
fn sequence_numbers_and_time_stamps_wrap_unseen() {
    let mut script = script(1_000);
    for (i, packet) in (0_u32..).zip(&mut script.packets) {
        packet.sequence = 65_100_u16.wrapping_add(i as u16);
        packet.timestamp = 0xffff_0000_u32.wrapping_add(i * 160);
    }
    script.packets.drain(430..440);
    let stream = stream(&script);
    assert_eq!((stream.expected, stream.lost, stream.longest_loss), (1_000, 10, 10));
    assert_eq!((stream.restarts, stream.discontinuities), (0, 0));
    assert!(stream.jitter.unwrap().max < 1e-9);
}

#[test]
fn silence_suppression_is_no_loss_and_no_jitter() {
    let mut script = script(2_000);
    // Talk for two seconds, be silent for one: sequence numbers go on, time stamps leap.
    let mut sequence = 1_000_u16;
    script.packets.retain_mut(|packet| {
        let talks = packet.at / 20_000_000 % 150 < 100;
        if talks {
            packet.sequence = sequence;
            sequence += 1;
        }
        talks
    });
    let stream = stream(&script);
    is_perfect(&stream);
    assert_eq!((stream.dtx_gaps, stream.stalls, stream.discontinuities), (13, 0, 0));
    assert!((stream.silence_ratio.unwrap() - 0.33).abs() < 0.02, "{:?}", stream.silence_ratio);
}

#[test]
fn comfort_noise_between_talk_is_no_jitter() {
    let mut script = script(2_000);
    let mut sequence = 1_000_u16;
    script.packets.retain_mut(|packet| {
        let place = packet.at / 20_000_000 % 150;
        // A description of the noise where talk ends, and one every 160 ms.
        let kept = place < 100 || place % 8 == 4;
        if kept {
            packet.sequence = sequence;
            sequence += 1;
        }
        if place >= 100 {
            packet.payload_type = 13;
            packet.payload = vec![0x4a];
        }
        kept
    });
    let stream = stream(&script);
    is_perfect(&stream);
    assert_eq!((stream.codec, stream.payload_types), (Codec::Pcmu, vec![0, 13]));
    assert_eq!((stream.discontinuities, stream.rate_changes, stream.stalls), (0, 0, 0));
}

#[test]
fn a_stall_of_the_sender_is_neither_silence_nor_loss() {
    let mut script = script(1_000);
    script.packets[500..].iter_mut().for_each(|packet| packet.at += 800_000_000);
    let stream = stream(&script);
    assert_eq!((stream.lost, stream.stalls, stream.dtx_gaps), (0, 1, 0));
}

#[test]
fn media_without_signalling_is_found_by_its_static_payload_type() {
    for captured in [1, 2] {
        let mut script = script(500);
        script.announced = false;
        script.captured = captured;
        let stream = stream(&script);
        is_perfect(&stream);
        assert_eq!((stream.origin, stream.codec), (Origin::Heuristic, Codec::Pcmu));
        assert_eq!((stream.codec_source, stream.clock_rate), (CodecSource::Static, Some(8_000)));
        assert_eq!((stream.packets, stream.expected), (500, 500));
        assert_eq!(stream.capture_duplicates, 500 * u64::from(captured - 1));
        assert_eq!((stream.call_id, stream.direction), (None, None));
    }
}

#[test]
fn media_without_signalling_on_a_dynamic_payload_type_has_its_clock_inferred() {
    for (codec, clock_rate) in [(Codec::Opus, 48_000), (Codec::AmrWb, 16_000), (Codec::Amr, 8_000)] {
        let mut script = Script::new(codec, 500).unwrap();
        script.announced = false;
        let stream = stream(&script);
        assert_eq!((stream.origin, stream.codec_source), (Origin::Heuristic, CodecSource::Inferred));
        assert_eq!((stream.clock_rate, stream.packets, stream.lost), (Some(clock_rate), 500, 0));
        assert!(stream.jitter.unwrap().max < 1e-9);
        assert!((stream.ptime.unwrap() - 0.02).abs() < 1e-9);
        assert!(stream.estimate || stream.mos.is_none());
    }
}

#[test]
fn an_outage_is_called_one() {
    let mut script = script(1_500);
    script.packets.drain(700..760);
    let stream = stream(&script);
    assert_eq!((stream.lost, stream.longest_loss), (60, 60));
    assert_eq!(stream.loss_pattern, Some(LossPattern::Outage));
}

#[test]
fn loss_stands_in_the_window_in_which_it_happened() {
    let mut script = script(2_250);
    // The second ten seconds of forty-five.
    script.packets.drain(700..740);
    let measured = Measured::of(script.capture());
    let windows: Vec<_> = measured.windows.iter().map(|window| (window.expected, window.lost)).collect();
    assert_eq!(windows, [(500, 0), (500, 40), (500, 0), (500, 0), (250, 0)]);
    let stream = &measured.streams[0];
    let worst = measured.windows.iter().map(|window| window.mos_lq).reduce(f64::min).unwrap();
    assert!((stream.mos.unwrap().min_window.unwrap() - worst).abs() < 1e-6);
    assert!(worst < stream.mos.unwrap().lq);
}

#[test]
fn a_sender_that_restarts_every_second_loses_nothing() {
    let mut script = script(1_000);
    for (i, packet) in script.packets.iter_mut().enumerate() {
        packet.sequence = packet.sequence.wrapping_add((i / 50 * 7_001) as u16);
    }
    let stream = stream(&script);
    assert_eq!((stream.expected, stream.lost, stream.restarts, stream.rejected), (1_000, 0, 19, 0));
    assert!(stream.jitter.unwrap().max < 1e-9 && stream.mos.unwrap().lq > 4.4);
}

#[test]
fn events_alone_are_a_stream_without_score() {
    let mut script = script(8);
    script.packets = Packet::digit(4, 100_000_000, 1_000, 160_000);
    let stream = stream(&script);
    assert_eq!((stream.dtmf.as_slice(), stream.packets, stream.lost), (["4".to_owned()].as_slice(), 8, 0));
    assert!(stream.mos.is_none() && stream.jitter.is_none());
}

#[test]
fn the_end_of_a_digit_that_is_lost_does_not_double_it() {
    let mut script = script(1_000);
    for (event, from) in [(7, 200_usize), (7, 210)] {
        let first = &script.packets[from];
        let digit = Packet::digit(event, first.at, first.sequence, first.timestamp);
        script.packets.splice(from..from + digit.len(), digit);
    }
    // The beginning of the first and the three ends of the second.
    script.packets.drain(215..218);
    script.packets.drain(200..203);
    let stream = stream(&script);
    assert_eq!((stream.dtmf.len(), stream.lost), (2, 6));
}
