//! What holds for all streams, through the whole observer (MEAS 10).

use proptest::prelude::*;

use sidetone::event::Stream;
use sidetone::rtp::payload::Codec;
use sidetone::simulate::script::Script;

use crate::measured::Measured;

/// A script and which of its packets are kept, by a number for each; the outermost ones always are.
fn lossy(count: u16, lost: &[bool]) -> Script {
    let mut script = Script::new(Codec::Pcmu, count).unwrap();
    let mut place = 0;
    script.packets.retain(|_| {
        place += 1;
        place == 1 || place == usize::from(count) || !lost.get(place).copied().unwrap_or(false)
    });
    script
}

fn streams(script: &Script) -> Vec<Stream> {
    Measured::of(script.capture()).streams
}

fn one(script: &Script) -> Stream {
    let mut streams = streams(script);
    assert_eq!(streams.len(), 1);
    streams.remove(0)
}

/// All that is measured, without what names the packets.
fn figures(mut stream: Stream) -> String {
    stream.capture_duplicates = 0;
    format!("{stream:?}")
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(32))]

    /// Whatever the order, and whatever is sent twice: nothing is counted twice or forgotten.
    #[test]
    fn unique_and_lost_are_all_that_was_expected(
        lost in prop::collection::vec(prop::bool::weighted(0.2), 400),
        order in prop::collection::vec(any::<u16>(), 400),
        numbers in prop::collection::vec(prop::option::weighted(0.02, any::<u16>()), 400),
        again in prop::collection::vec(prop::bool::weighted(0.1), 400),
    ) {
        let mut script = lossy(400, &lost);
        let copies: Vec<_> =
            script.packets.iter().zip(&again).filter(|(_, again)| **again).map(|(packet, _)| packet.clone()).collect();
        script.packets.extend(copies);
        for (packet, number) in script.packets.iter_mut().zip(&numbers) {
            packet.sequence = number.unwrap_or(packet.sequence);
        }
        let times: Vec<i64> = script.packets.iter().map(|packet| packet.at).collect();
        for (i, packet) in script.packets.iter_mut().enumerate() {
            let other = usize::from(order[i % order.len()]) % times.len();
            packet.at = times[other] + i as i64;
        }
        let sent = script.packets.len() as u64;
        let streams = streams(&script);
        let sum = |of: fn(&Stream) -> u64| streams.iter().map(of).sum::<u64>();
        prop_assert_eq!(sum(|s| s.packets) + sum(|s| s.lost), sum(|s| s.expected));
        prop_assert_eq!(sum(|s| s.packets) + sum(|s| s.duplicates) + sum(|s| s.rejected) + sum(|s| s.capture_duplicates), sent);
    }

    /// Packets that overtake others by fewer than 100 places and 2 s: as many are lost, in the same runs.
    #[test]
    fn order_does_not_change_what_is_lost(
        lost in prop::collection::vec(prop::bool::weighted(0.1), 600),
        delays in prop::collection::vec(prop_oneof![3 => Just(0_i64), 1 => 0..1_900_000_000_i64], 600),
    ) {
        let mut script = lossy(600, &lost);
        let in_order = one(&script);
        for (packet, delay) in script.packets.iter_mut().zip(&delays) {
            packet.at += delay;
        }
        let stream = one(&script);
        prop_assert_eq!((stream.expected, stream.lost, stream.packets), (600, in_order.lost, in_order.packets));
        prop_assert_eq!(stream.longest_loss, in_order.longest_loss);
        prop_assert_eq!(stream.burst_ratio, in_order.burst_ratio);
        prop_assert_eq!((stream.duplicates, stream.rejected, stream.restarts), (0, 0, 0));
    }

    /// Where numbers and time stamps begin means nothing, wraps included.
    #[test]
    fn a_stream_is_the_same_from_any_number_on(
        lost in prop::collection::vec(prop::bool::weighted(0.1), 300),
        delays in prop::collection::vec(0..30_000_000_i64, 300),
        sequence: u16,
        timestamp: u32,
    ) {
        let mut script = lossy(300, &lost);
        for (packet, delay) in script.packets.iter_mut().zip(&delays) {
            packet.at += delay;
        }
        let from = figures(one(&script));
        for packet in &mut script.packets {
            packet.sequence = packet.sequence.wrapping_add(sequence);
            packet.timestamp = packet.timestamp.wrapping_add(timestamp);
        }
        prop_assert_eq!(figures(one(&script)), from);
    }
}

#[test]
fn a_wrap_at_any_packet_changes_nothing() {
    let lost: Vec<bool> = (0..160).map(|i| i % 13 == 3 || (90..97).contains(&i)).collect();
    let mut script = lossy(160, &lost);
    script.packets.iter_mut().skip(7).step_by(9).for_each(|packet| packet.at += 47_000_000);
    let from = figures(one(&script));
    let base = script.packets[0].sequence;
    for before_wrap in 0..=160_u16 {
        let mut wrapped = script.clone();
        for packet in &mut wrapped.packets {
            packet.sequence = packet.sequence.wrapping_sub(base).wrapping_sub(before_wrap);
        }
        assert_eq!(figures(one(&wrapped)), from, "{before_wrap}");
    }
}

proptest! {
    #![proptest_config(config(64))]

    /// A copy of every frame changes nothing: strays, restarts, loss, reordering and duplicates included.
    #[test]
    fn a_second_copy_of_everything_changes_nothing(
        lost in prop::collection::vec(prop::bool::weighted(0.1), 500),
        delays in prop::collection::vec(0..40_i64, 500),
        strays in prop::collection::vec((1..499_usize, any::<u16>()), 0..4),
        restart in prop::option::of((100..400_usize, any::<u16>())),
        again in prop::collection::vec(prop::bool::weighted(0.05), 500),
    ) {
        let mut script = lossy(500, &lost);
        if let Some((from, by)) = restart {
            script.packets.iter_mut().skip(from).for_each(|p| p.sequence = p.sequence.wrapping_add(by));
        }
        // No two packets come so close together that a copy falls between them.
        for ((packet, delay), i) in script.packets.iter_mut().zip(&delays).zip(0..) {
            packet.at += delay * 1_000_000 + i % 5 * 40_000;
        }
        let mut more: Vec<_> =
            script.packets.iter().zip(&again).filter(|(_, again)| **again).map(|(packet, _)| packet.clone()).collect();
        for packet in &mut more {
            packet.at += 400_000;
        }
        script.packets.extend(more);
        for ((place, sequence), nth) in strays.into_iter().zip(0..) {
            let mut stray = script.packets[place % script.packets.len()].clone();
            stray.sequence = sequence;
            let slot = stray.at % 200_000 / 40_000;
            stray.at += 600_000 + 80_000 * nth + 16_000 * slot - stray.at % 1_000_000;
            script.packets.push(stray);
        }
        let once = figures(one(&script));
        script.captured = 2;
        prop_assert_eq!(figures(one(&script)), once);
    }
}
