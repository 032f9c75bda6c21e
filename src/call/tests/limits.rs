//! Floods: every table reaches its limit and stays there.

use super::build::{World, answered_call, invite, request, response};
use crate::call::Settings;
use crate::event::EndReason;
use crate::limits::Limits;

fn small() -> Limits {
    Limits { calls: 100, transactions: 200, registrations: 100, ..Limits::default() }
}

#[test]
fn a_flood_of_calls_stays_within_the_limit_and_evicts_the_idlest() {
    let mut world = World::with(&small(), Settings::default());
    world.feed_all(&answered_call());
    let mut largest = 0;
    for number in 0..20_000 {
        let at = 2.0 + f64::from(number) / 1000.0;
        world.feed(&invite(at, 1, "b1").call_id(&format!("flood-{number}")));
        if number % 50 == 0 {
            let again = format!("u{number}");
            world.feed(&request(at, "U>P", "UPDATE", 10 + number, &again));
        }
        let tables = world.calls.tables();
        assert!(tables.calls <= 100 && tables.transactions <= 200);
        largest = largest.max(world.calls.bytes());
    }
    assert!(largest < 600_000, "{largest}");
    let counters = world.calls.counters();
    assert_eq!(counters.calls_evicted, 20_001 - 100);
    assert!(counters.transactions_evicted > 0);
    assert_eq!(world.records.len() as u64, counters.calls_evicted);
    assert!(world.records.iter().all(|call| call.end_reason == Some(EndReason::Evicted)));
    assert!(world.records.iter().all(|call| call.call_id != "c1"), "the busy call stays");
    assert_eq!(world.records[0].call_id, "flood-0", "the idlest goes first");
}

#[test]
fn calls_that_nobody_takes_are_no_way_around_the_limit() {
    let mut world = World::with(&small(), Settings::default());
    let mut notices = Vec::new();
    for number in 0..1000 {
        let sip = invite(f64::from(number) / 1000.0, 1, "b1").call_id(&format!("flood-{number}"));
        world.calls.message(&sip.arrival(), &sip.message(), None, &mut notices);
    }
    assert_eq!(world.calls.counters().calls_refused, 800);
    assert!(world.calls.bytes() < 600_000);
}

#[test]
fn a_flood_of_registrations_stays_within_the_limit() {
    let mut world = World::with(&small(), Settings::default());
    for number in 0..5000_u32 {
        let at = f64::from(number) / 1000.0;
        let name = format!("flood-{number}");
        let register = request(at, "U>P", "REGISTER", 1, "r1").answered_by("").call_id(&name).with(|sip| {
            sip.to_uri = format!("sip:{name}@example.com");
            sip.contact = "sip:here".into();
            sip.expires = Some(3600);
        });
        world.feed(&register);
        if number % 2 == 0 {
            world.feed(&response(at, 200, "REGISTER", 1, "r1").call_id(&name));
        }
        let tables = world.calls.tables();
        assert!(tables.registrations <= 100 && tables.bindings <= 100);
    }
    let counters = world.calls.counters();
    assert_eq!((counters.registrations_evicted, counters.bindings_evicted), (2400, 2400));
    assert_eq!(world.registrations.len(), 4900);
    assert!(world.calls.bytes() < 600_000);
}

#[test]
fn a_flood_of_transfers_stays_within_the_limit() {
    let mut world = World::with(&small(), Settings::default());
    for number in 0..1000 {
        let at = f64::from(number) / 1000.0;
        world.feed(&request(at, "U>P", "REFER", 1, "t1").call_id(&format!("flood-{number}")));
    }
    assert_eq!(world.calls.counters().transfers_evicted, 1000 - 7);
}

#[test]
fn one_hostile_call_stays_small() {
    let mut world = World::with(&small(), Settings::default());
    world.feed(&invite(0.0, 1, "b1").with(|sip| sip.from_uri = "x".repeat(60_000)));
    for number in 0..2000_u32 {
        let at = f64::from(number) / 1000.0;
        let tag = format!("z{number}");
        world.feed(&response(at, 180, "INVITE", 1, "b1").answered_by(&tag));
        world.feed(&response(at, 200, "INVITE", 1, "b1").answered_by(&tag));
        world.feed(&invite(at, 1, &tag).hop_port(number as u16));
    }
    assert!(world.calls.bytes() < 100_000, "{}", world.calls.bytes());
    let world = world.finish();
    assert_eq!((world.records[0].from.len(), world.records[0].hops), (255, 16));
}

#[test]
fn a_live_call_costs_less_than_1500_bytes() {
    let limits = Limits::default();
    let mut world = World::with(&limits, Settings::default());
    let calls = 2000;
    for number in 0..calls {
        for mut sip in answered_call() {
            sip.call_id = format!("a84b4c76e66710-{number}@pc33.atlanta.example.com");
            sip.at += f64::from(number) / 100.0;
            world.feed(&sip);
        }
    }
    assert_eq!(world.calls.tables().calls, calls as usize);
    let each = world.calls.bytes() / calls as usize;
    assert!(each < 1500, "{each} bytes a call");
}

#[test]
fn entries_of_the_timers_do_not_outlive_their_calls_by_much() {
    let mut world = World::with(&small(), Settings::default());
    for number in 0..20_000 {
        let at = f64::from(number) / 100.0;
        let name = format!("c{number}");
        let rest = [request(at, "U>P", "BYE", 2, "b2"), response(at, 200, "BYE", 2, "b2")];
        for mut sip in answered_call().into_iter().chain(rest) {
            sip.at = at;
            world.feed(&sip.call_id(&name));
        }
    }
    world.expire(200.0);
    assert_eq!((world.records.len(), world.calls.tables().calls), (20_000, 0));
    assert!(world.calls.bytes() < 600_000, "{}", world.calls.bytes());
}
