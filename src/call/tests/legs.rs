//! One call on several hops, and in several legs.

use super::build::{Sip, World, answered_call, invite, micros, party, request, response};
use crate::call::classify::Rule;
use crate::call::{Settings, Side};
use crate::event::{CallResult, EndReason};
use crate::limits::Limits;

fn call_with_inner_hop_first() -> Vec<Sip> {
    vec![
        invite(0.0, 1, "p1").hop("P>G", 2),
        invite(0.3, 1, "b1"),
        response(1.3, 180, "INVITE", 1, "p1").hop("G>P", 2),
        response(1.303, 180, "INVITE", 1, "b1"),
        response(4.0, 200, "INVITE", 1, "p1").hop("G>P", 2),
        response(4.003, 200, "INVITE", 1, "b1"),
        request(10.0, "U>P", "BYE", 2, "b2"),
        request(10.003, "P>G", "BYE", 2, "p2").hop("P>G", 2),
        response(10.02, 200, "BYE", 2, "p2").hop("G>P", 2),
        response(10.024, 200, "BYE", 2, "b2"),
    ]
}

#[test]
fn the_outer_hop_counts_though_it_is_captured_second() {
    let world = World::run(&call_with_inner_hop_first(), 60.0);
    let [call] = world.records.as_slice() else { panic!("{:#?}", world.records) };
    assert_eq!(call.source.to_string(), "192.0.2.85:5060");
    assert_eq!((call.post_dial_delay.map(micros), call.setup.map(micros)), (Some(1.003), Some(3.703)));
    assert_eq!((call.disconnect.map(micros), call.duration.map(micros)), (Some(0.024), Some(5.997)));
    assert_eq!((call.hops, world.calls.counters().hop_invites), (2, 1));
}

#[test]
fn the_outer_hop_counts_though_the_inner_one_has_already_failed() {
    let world = World::run(
        &[
            invite(0.0, 1, "p1").hop("P>G", 2),
            response(0.1, 503, "INVITE", 1, "p1").hop("G>P", 2),
            invite(0.2, 1, "b1"),
            response(2.0, 200, "INVITE", 1, "b1"),
        ],
        60.0,
    );
    let [call] = world.records.as_slice() else { panic!("{:#?}", world.records) };
    assert_eq!((call.result, call.setup.map(micros)), (Some(CallResult::Answered), Some(1.8)));
}

#[test]
fn an_outer_hop_that_comes_much_later_does_not() {
    let mut messages = call_with_inner_hop_first();
    messages[1].at = 2.5;
    messages.swap(1, 2);
    let world = World::run(&messages[..3], 3.0);
    let [call] = world.records.as_slice() else { panic!("{:#?}", world.records) };
    assert_eq!((call.source.to_string().as_str(), call.hops), ("192.0.2.80:5060", 2));
}

#[test]
fn a_challenge_on_the_inner_hop_alone_is_no_challenge() {
    let world = World::run(
        &[
            invite(0.0, 1, "b1"),
            invite(0.01, 1, "p1").hop("P>G", 2),
            response(0.02, 401, "INVITE", 1, "p1").hop("G>P", 2),
            invite(0.03, 2, "p2").hop("P>G", 2),
            response(1.0, 200, "INVITE", 1, "b1"),
        ],
        5.0,
    );
    let [call] = world.records.as_slice() else { panic!("{:#?}", world.records) };
    assert_eq!((call.challenged, call.result, call.hops), (false, Some(CallResult::Answered), 2));
}

#[test]
fn hops_on_one_address_are_told_apart_by_port_and_vias() {
    let local = |mut sip: Sip, from: u16, to: u16| {
        (sip.from.ip, sip.to.ip) = (sip.to.ip, sip.to.ip);
        (sip.from.port, sip.to.port) = (from, to);
        sip
    };
    let home = |sip: Sip| {
        let ip = super::build::party('H').ip;
        sip.with(|sip| (sip.from.ip, sip.to.ip) = (ip, ip))
    };
    let call = [
        local(invite(0.0, 1, "b1"), 5070, 5060),
        local(invite(0.01, 1, "p1").hop("P>G", 2), 5060, 5080),
        local(response(1.0, 180, "INVITE", 1, "p1").hop("G>P", 2), 5080, 5060),
        local(response(1.01, 180, "INVITE", 1, "b1"), 5060, 5070),
        local(response(2.0, 200, "INVITE", 1, "p1").hop("G>P", 2), 5080, 5060),
        local(response(2.01, 200, "INVITE", 1, "b1"), 5060, 5070),
        local(request(9.0, "G>P", "BYE", 1, "g1").tags("z", "a"), 5080, 5060),
        local(request(9.01, "P>U", "BYE", 1, "p9").hop("P>U", 2).tags("z", "a"), 5060, 5070),
        local(response(9.02, 200, "BYE", 1, "p9").hop("U>P", 2).tags("z", "a"), 5070, 5060),
        local(response(9.03, 200, "BYE", 1, "g1").hop("P>G", 1).tags("z", "a"), 5060, 5080),
    ]
    .map(home);
    let world = World::run(&call, 60.0);
    let [call] = world.records.as_slice() else { panic!("{:#?}", world.records) };
    assert_eq!((call.hops, call.end_reason), (2, Some(EndReason::Bye)));
    assert_eq!((call.post_dial_delay.map(micros), call.setup.map(micros)), (Some(1.01), Some(2.01)));
    assert_eq!((call.duration.map(micros), call.disconnect.map(micros)), (Some(7.0), Some(0.01)));
}

#[test]
fn a_bye_that_only_another_hop_shows_ends_the_call() {
    let mut messages = call_with_inner_hop_first();
    messages.retain(|sip| sip.method != "BYE" || sip.vias == 2);
    let world = World::run(&messages, 20.0);
    let [call] = world.records.as_slice() else { panic!("{:#?}", world.records) };
    assert_eq!((call.end_reason, call.duration.map(micros)), (Some(EndReason::Bye), Some(6.0)));
    assert_eq!(call.disconnect.map(micros), Some(0.017));
}

#[test]
fn a_bye_past_the_proxy_ends_the_call() {
    let direct = [request(9.0, "U>G", "BYE", 2, "d1"), response(9.1, 200, "BYE", 2, "d1").hop("G>U", 1)];
    let messages: Vec<Sip> = answered_call().into_iter().chain(direct).collect();
    let world = World::run(&messages, 20.0);
    assert_eq!(world.records[0].duration, Some(7.0));
}

const UUID: &str = "ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000";

type Mark<'a> = &'a dyn Fn(&mut Sip);

/// The second leg of the B2BUA at P, half a second behind the first.
fn second_leg() -> Vec<Sip> {
    let leg = |sip: Sip| sip.call_id("c2").with(|sip| sip.from_tag = "x".into());
    vec![
        leg(invite(0.5, 1, "x1").hop("P>G", 1)),
        leg(response(0.9, 180, "INVITE", 1, "x1").hop("G>P", 1)),
        leg(response(1.9, 200, "INVITE", 1, "x1").hop("G>P", 1)),
        leg(request(12.05, "P>G", "BYE", 2, "x2")),
        leg(response(12.08, 200, "BYE", 2, "x2").hop("G>P", 1)),
    ]
}

fn both_legs(mark: impl Fn(&mut Sip)) -> Vec<Sip> {
    let mut messages = answered_call();
    messages.extend([request(12.0, "U>P", "BYE", 2, "b2"), response(12.1, 200, "BYE", 2, "b2")]);
    messages.extend(second_leg());
    messages.sort_by(|a, b| a.at.total_cmp(&b.at));
    messages.iter_mut().filter(|sip| sip.request && sip.to_tag.is_empty()).for_each(mark);
    messages
}

#[test]
fn what_correlates_the_legs_of_a_b2bua_makes_one_record() {
    let header = |sip: &mut Sip| sip.headers = "Via: x\r\nX-CID: one-call\r\n".into();
    let names_the_first = |sip: &mut Sip| {
        if sip.call_id == "c2" {
            sip.headers = "X-CID: c1\r\n".into();
        }
    };
    let marks: [(Mark<'_>, Settings); 5] = [
        (&|sip| sip.session_id = UUID.into(), Settings::default()),
        (&|sip| sip.icid = "icid-4711".into(), Settings::default()),
        (
            &header,
            Settings {
                correlation_headers: vec!["X-Other".into(), "X-CID".into()],
                heuristics: false,
                ..Settings::default()
            },
        ),
        (
            &names_the_first,
            Settings { correlation_headers: vec!["X-CID".into()], heuristics: false, ..Settings::default() },
        ),
        (&|_| {}, Settings { correlation_headers: Vec::new(), heuristics: true, ..Settings::default() }),
    ];
    for (mark, settings) in marks {
        let mut world = World::with(&Limits::default(), settings);
        let routed: Vec<_> =
            both_legs(mark).iter().filter_map(|sip| Some((sip.call_id.clone(), world.feed(sip)?))).collect();
        let world = world.finish();
        let [call] = world.records.as_slice() else { panic!("{:#?}", world.records) };
        assert_eq!((call.call_ids.clone(), call.hops), (vec!["c1".to_owned(), "c2".to_owned()], 2));
        assert_eq!((call.setup, call.duration), (Some(2.0), Some(10.0)));
        assert_eq!((world.joined.len(), world.answered), (1, 1));
        let first = routed[0].1;
        assert!(
            routed.iter().all(|(id, routed)| routed.call == first.call && (id == "c1") == (routed.hop == 0))
        );
        let leg_answer = routed.iter().rfind(|(id, routed)| id == "c2" && routed.side == Side::Callee);
        assert!(leg_answer.is_some());
        assert_eq!(world.calls.counters().joined, 1);
    }
}

#[test]
fn without_a_mark_two_legs_are_two_calls() {
    let world = World::run(&both_legs(|_| {}), 60.0);
    assert_eq!(world.records.len(), 2);
}

#[test]
fn shared_media_join_calls_and_the_first_one_stays() {
    let mut world = World::new();
    let messages = both_legs(|_| {});
    let mut keys = std::collections::BTreeSet::new();
    for sip in messages.iter().filter(|sip| sip.method != "BYE") {
        keys.insert(world.feed(sip).unwrap().call);
    }
    let keys: Vec<_> = keys.into_iter().collect();
    world.join(keys[1], keys[0]);
    world.join(keys[0], keys[1]);
    assert_eq!(world.joined, [(keys[0], keys[1])]);
    assert_eq!(world.calls.live().count(), 1);
    world.feed_all(messages.iter().filter(|sip| sip.method == "BYE"));
    let world = world.finish();
    let [call] = world.records.as_slice() else { panic!("{:#?}", world.records) };
    assert_eq!((call.call_id.as_str(), call.call_ids.len()), ("c1", 2));
}

/// Whether media join two calls on these hops, whose From is the same; `other_user` changes both users.
fn media_join(first: &str, second: &str, other_user: bool, relay: Option<char>) -> bool {
    let mut world = World::new();
    let one = world.feed(&invite(0.0, 1, "b1").hop(first, 1)).unwrap().call;
    let leg = invite(0.5, 1, "x1").hop(second, 1).call_id("c2").with(|sip| {
        if other_user {
            (sip.from_uri, sip.to_uri) = ("sip:7@x.example".into(), "sip:8@x.example".into());
        }
    });
    let other = world.feed(&leg).unwrap().call;
    world.calls.join(one, other, relay.map(|letter| party(letter).ip), &mut Vec::new());
    assert_eq!(world.calls.counters().coincidences, 1 - world.calls.counters().joined);
    world.calls.counters().joined == 1
}

#[test]
fn the_same_media_join_no_calls_that_no_b2bua_can_have_made_of_one_another() {
    for relay in [None, Some('P'), Some('U')] {
        assert!(!media_join("U>P", "U>P", false, relay), "one caller, twice");
        assert!(!media_join("U>P", "G>P", false, relay), "two callers of one host");
        assert!(!media_join("U>P", "P>U", true, relay), "two hosts that call one another");
        assert!(!media_join("U>P", "G>Q", true, relay), "strangers");
        assert!(media_join("U>P", "P>G", true, relay), "into a host and out of it");
        assert!(media_join("P>G", "U>P", true, relay), "the same, captured in the wrong order");
        assert!(media_join("U>P", "P>U", false, relay), "two phones behind one address");
        assert!(media_join("U>P", "Q>G", false, relay), "a B2BUA with two addresses");
        assert_eq!(media_join("U>P", "U>G", true, relay), relay == Some('U'), "third party call control");
    }
}

#[test]
fn a_transfer_that_keeps_its_session_id_is_another_call() {
    let mut messages = both_legs(|sip| sip.session_id = UUID.into());
    messages[2].referred_by = "sip:alice@example.com".into();
    let referred: Vec<Sip> = messages
        .into_iter()
        .map(|mut sip| {
            if sip.call_id == "c2" {
                sip.referred_by = "sip:alice@example.com".into();
            }
            sip
        })
        .collect();
    assert_eq!(World::run(&referred, 60.0).records.len(), 2);
}

#[test]
fn a_call_has_only_so_many_legs() {
    let mut world = World::new();
    for leg in 0..40 {
        world.feed(
            &invite(f64::from(leg) / 10.0, 1, "b1")
                .call_id(&format!("c{leg}"))
                .with(|sip| sip.icid = "one".into()),
        );
    }
    let counters = world.calls.counters();
    assert_eq!((counters.joined, counters.legs_refused), (14, 25));
    let world = world.finish();
    assert_eq!(world.records[0].call_ids.len(), 15);
}

#[test]
fn tenant_and_route_are_those_of_the_outer_hop_though_it_is_captured_second() {
    let rule = |name: &str, source: &str| Rule {
        name: name.into(),
        source: vec![source.parse().unwrap()],
        ..Rule::default()
    };
    let settings = Settings {
        tenants: vec![rule("inner", "192.0.2.80"), rule("outer", "192.0.2.85")],
        routes: vec![Rule { name: "abroad".into(), to_number: vec!["00".into()], ..Rule::default() }],
        ..Settings::default()
    };
    let mut world = World::with(&Limits::default(), settings);
    world.feed_all(&call_with_inner_hop_first());
    let world = world.finish();
    let [call] = world.records.as_slice() else { panic!("{:#?}", world.records) };
    assert_eq!((call.tenant.as_deref(), call.route.as_deref()), (Some("outer"), None));
}
