//! What the configuration changes in the facts: simulated calls through an observer with settings.

#![allow(clippy::unwrap_used, reason = "a test that cannot run its subject has failed")]

use std::collections::BTreeMap;

use sidetone::config;
use sidetone::event::{Call, EndReason, Event, Stream, Totals};
use sidetone::observer::Observer;
use sidetone::simulate::{Plan, Traffic};

/// Calls and streams of a plan, seen by an observer that was configured like this.
fn observed(plan: Plan, text: &str) -> (Vec<Call>, Vec<Stream>) {
    let (calls, streams, _) = counted(plan, text);
    (calls, streams)
}

/// The same with the totals.
fn counted(plan: Plan, text: &str) -> (Vec<Call>, Vec<Stream>, Totals) {
    let config = config::read("test.toml", text, &BTreeMap::new()).unwrap();
    let mut observer = Observer::new(config.observer);
    let (mut calls, mut streams) = (Vec::new(), Vec::new());
    let mut sink = |event| match event {
        Event::Call(call) => calls.push(call),
        Event::Stream(stream) => streams.push(stream),
        _ => {}
    };
    let mut traffic = Traffic::new(plan).unwrap();
    while let Some(frame) = traffic.next_frame() {
        observer.packets(&[frame], &mut sink);
    }
    observer.finish(&mut sink);
    (calls, streams, observer.totals())
}

fn lossy() -> Plan {
    Plan { calls: 1, duration: 10.0, loss: 3.0, rtcp: false, ..Plan::default() }
}

#[test]
fn an_assumed_delay_gives_conversational_scores_and_says_so() {
    let cq = |text: &str| {
        let (_, streams) = observed(lossy(), text);
        assert_eq!(streams.len(), 2);
        let stream = &streams[0];
        (stream.mos.unwrap().cq, stream.delay_source, stream.why.contains_key("mos.cq"))
    };
    let (near, source, why) = cq("[quality]\nassumed_owd_ms = 20");
    assert_eq!((source, why), (Some("assumed"), false));
    let (far, ..) = cq("[quality]\nassumed_owd_ms = 300");
    let (slow, ..) = cq("[quality]\nassumed_owd_ms = 20\nendpoint_delay_ms = 280");
    assert!(near.unwrap() > far.unwrap() + 0.3, "{near:?} {far:?}");
    assert!((far.unwrap() - slow.unwrap()).abs() < 1e-12);
}

#[test]
fn receivers_that_conceal_nothing_hear_more_of_the_loss() {
    let lq = |text: &str| {
        let (_, streams) = observed(lossy(), text);
        (streams[0].mos.unwrap().lq, streams[0].plc, streams[0].mos.unwrap().min_window)
    };
    let (concealed, assumed, concealed_window) = lq("");
    let (heard, off, heard_window) = lq("[quality]\nplc = false");
    assert_eq!((assumed, off), ("assumed", "off"));
    assert!(concealed > heard + 0.5 && concealed_window > heard_window, "{concealed} {heard}");
    let (own, ..) = lq("[quality.codecs.PCMU]\nie = 30");
    assert!(own < concealed - 0.5);
}

#[test]
fn calls_carry_tenant_and_route() {
    let text = "[[tenants]]\nname = \"none\"\nheader = \"X-None\"\n[[tenants]]\nname = \"all\"\n\
                [[routes]]\nname = \"r\"\nsource_port = 1";
    let (calls, _) = observed(Plan { calls: 2, duration: 1.0, ..Plan::default() }, text);
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| call.tenant.as_deref() == Some("all") && call.route.is_none()));
}

#[test]
fn limits_are_kept_and_what_is_given_up_is_told() {
    let plan = Plan { calls: 20, duration: 30.0, rate: 100.0, ..Plan::default() };
    let (calls, _, totals) = counted(plan, "[limits]\ncalls = 5");
    let evicted = calls.iter().filter(|call| call.end_reason == Some(EndReason::Evicted)).count() as u64;
    // Evicted calls whose media still flow take room until these end.
    let refused = 20 - calls.len() as u64;
    assert!(evicted > 0 && refused > 0, "{evicted} {refused}");
    assert_eq!((totals.evicted["calls"], totals.evicted["calls_refused"]), (evicted, refused));
}
