//! Whatever comes, in whatever order: no panic, one outcome an attempt, and no dependence on when time is told
//! to pass.

use proptest::prelude::*;

use super::build::{Sip, World, invite, request};
use crate::call::Settings;
use crate::event::{Call, CallResult, EndReason};
use crate::limits::Limits;

fn any_message() -> impl Strategy<Value = Sip> {
    let method = prop_oneof![
        4 => Just("INVITE"),
        2 => Just("BYE"),
        1 => prop::sample::select(vec!["ACK", "CANCEL", "UPDATE", "PRACK", "REFER", "NOTIFY", "REGISTER", "OPTIONS"]),
    ];
    let status = prop::sample::select(vec![
        0, 0, 0, 0, 100, 180, 183, 199, 200, 200, 302, 401, 407, 408, 423, 481, 486, 487, 491, 503, 699, 700,
    ]);
    let names = (0..3_u8, 0..3_u8, 0..3_u8, 1..4_u32, 0..3_u8);
    let path = (prop::sample::select(vec!["U>P", "P>U", "P>G", "G>P", "U>G"]), 1..3_u16, any::<bool>());
    let extras = (0..6_u8, prop::sample::select(vec![0.0, 0.001, 0.3, 1.0, 5.0, 31.0, 33.0, 100.0, 250.0]));
    (method, status, names, path, extras).prop_map(|(method, status, names, path, (extra, gap))| {
        let (call, from, to, cseq, branch) = names;
        let tag = |tag: u8| if tag == 0 { String::new() } else { format!("t{tag}") };
        request(gap, path.0, method, cseq, &format!("b{branch}")).hop(path.0, path.1).with(|sip| {
            sip.call_id = format!("c{call}");
            sip.from_tag = tag(from);
            sip.to_tag = tag(to);
            sip.request = status == 0;
            sip.status = status;
            sip.way = if path.2 { crate::event::Via::Wire } else { crate::event::Via::Hep };
            match extra {
                0 => sip.session_expires = Some(90),
                1 => sip.stale = true,
                2 => sip.replaces = "c0;to-tag=t2;from-tag=t1".into(),
                3 => sip.icid = "icid".into(),
                4 => sip.body = "SIP/2.0 200 OK".into(),
                _ => sip.contact = "sip:x".into(),
            }
        })
    })
}

/// Gaps between messages become times.
fn in_time(mut messages: Vec<Sip>) -> Vec<Sip> {
    let mut now = 0.0;
    for sip in &mut messages {
        now += sip.at;
        sip.at = now;
    }
    messages
}

/// Runs with time told to pass every `step` seconds (never between messages when 0).
fn run(messages: &[Sip], step: f64, limits: &Limits) -> World {
    let mut world = World::with(limits, Settings::default());
    let mut tick = step;
    for sip in messages {
        while step > 0.0 && tick < sip.at {
            world.expire(tick);
            tick += step;
        }
        world.feed(sip);
    }
    world.expire(messages.last().map_or(0.0, |sip| sip.at) + 50.0);
    world.finish()
}

fn facts(world: &World) -> Vec<String> {
    let mut facts: Vec<String> =
        world.records.iter().map(|call| serde_json::to_string(call).unwrap()).collect();
    facts.extend(world.registrations.iter().map(|r| serde_json::to_string(r).unwrap()));
    facts.extend(world.transfers.iter().map(|t| serde_json::to_string(t).unwrap()));
    facts.sort();
    facts
}

fn is_consistent(call: &Call) -> bool {
    let answered = call.result == Some(CallResult::Answered);
    let delays = [call.post_dial_delay, call.setup, call.ring, call.disconnect, call.duration];
    let evicted = call.end_reason == Some(EndReason::Evicted);
    (call.end_reason.is_none() || answered || evicted)
        && (call.setup.is_some() == answered)
        && delays.into_iter().flatten().all(|delay| delay >= 0.0)
        && !(call.session_request_failed.is_some() && call.post_dial_delay.is_some())
        && call.hops >= 1
        && call.call_ids[0] == call.call_id
}

proptest! {
    #[test]
    fn any_messages_end_in_one_outcome_each(messages in prop::collection::vec(any_message(), 0..120)) {
        let world = run(&in_time(messages), 0.0, &Limits::default());
        prop_assert!(world.records.iter().all(is_consistent));
        let answered = world.records.iter().filter(|call| call.result == Some(CallResult::Answered)).count();
        prop_assert!(answered <= world.answered);
        prop_assert_eq!(world.calls.live().count(), 0);
    }

    #[test]
    fn when_time_is_told_to_pass_changes_nothing(
        messages in prop::collection::vec(any_message(), 0..80),
        step in 0.05..7.0_f64,
    ) {
        let messages = in_time(messages);
        let never = run(&messages, 0.0, &Limits::default());
        prop_assert_eq!(facts(&never), facts(&run(&messages, step, &Limits::default())));
    }

    #[test]
    fn small_tables_do_not_panic(messages in prop::collection::vec(any_message(), 0..200)) {
        let limits = Limits { calls: 2, transactions: 3, registrations: 1, ..Limits::default() };
        let world = run(&in_time(messages), 0.0, &limits);
        prop_assert!(world.records.iter().all(is_consistent));
        prop_assert!(world.calls.tables().calls <= 2);
    }

    #[test]
    fn order_and_repetition_do_not_panic(
        messages in prop::collection::vec(any_message(), 0..60).prop_map(in_time).prop_shuffle(),
    ) {
        let world = run(&messages, 0.0, &Limits::default());
        prop_assert!(world.records.iter().all(is_consistent));
    }

    #[test]
    fn the_seed_of_the_fingerprints_changes_nothing(
        messages in prop::collection::vec(any_message(), 0..80).prop_map(in_time),
    ) {
        let (one, other) = (run(&messages, 0.0, &Limits::default()), run(&messages, 0.0, &Limits::default()));
        prop_assert_eq!(facts(&one), facts(&other));
    }
}

#[test]
fn a_first_message_may_be_anything() {
    let world = run(&[invite(0.0, 1, "")], 0.0, &Limits { calls: 0, ..Limits::default() });
    assert_eq!(world.records.len(), 1);
}
