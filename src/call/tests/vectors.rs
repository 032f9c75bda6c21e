//! `fixtures/vectors/sip_scenarios.json`, exactly.

use std::collections::BTreeMap;

use serde_json::Value;

use super::build::{Sip, World, micros, party, request};
use crate::event::{CallResult, CallState, EndReason, RegistrationResult};

#[test]
fn every_scenario_gives_the_expected_figures() {
    let vectors = vectors();
    for (name, scenario) in vectors.as_object().unwrap() {
        if name.starts_with('_') {
            continue;
        }
        let messages = messages(scenario, |sip| sip);
        check(name, &World::run(&messages, scenario["end"].as_f64().unwrap()), &scenario["expected"]);
    }
}

#[test]
fn all_call_scenarios_500_s_apart_give_the_expected_figures() {
    let vectors = vectors();
    let mut all = Vec::new();
    let order = [
        "basic",
        "auth407_then_answer",
        "auth_abandoned",
        "retransmissions",
        "cancel_487",
        "busy",
        "timeout_408_none",
        "fork_two_18x_two_200",
        "reinvite_hold",
        "proxy_two_legs",
        "callee_hangs_up",
        "redirect_302",
        "orphan_session_timer",
        "no_18x",
    ];
    for (place, name) in order.into_iter().enumerate() {
        let shift = |sip: Sip| Sip {
            at: sip.at + 500.0 * place as f64,
            call_id: name.into(),
            branch: format!("{name}{}", sip.branch),
            ..sip
        };
        all.extend(messages(&vectors[name], shift));
    }
    let together = &vectors["_all_calls_500s_apart"];
    check("together", &World::run(&all, together["end"].as_f64().unwrap()), &together["expected"]);
}

fn check(name: &str, world: &World, expected: &Value) {
    let records = &world.records;
    let count = |test: &dyn Fn(&&crate::event::Call) -> bool| records.iter().filter(test).count() as u64;
    let of = |result: CallResult| count(&|call| call.result == Some(result));
    let ended = |reason: EndReason| count(&|call| call.end_reason == Some(reason));
    let status = |codes: &[u16]| {
        count(&|call| {
            call.result != Some(CallResult::Answered) && call.status.is_some_and(|s| codes.contains(&s))
        })
    };
    let failed = of(CallResult::Failed)
        + of(CallResult::Timeout)
        + of(CallResult::NoFinal)
        + of(CallResult::Cancelled);
    let (attempts, answered) = (records.len() as u64, of(CallResult::Answered));
    let (abandoned, redirected) = (of(CallResult::AbandonedAuth), of(CallResult::Redirected));
    let completed = ended(EndReason::Bye);
    let effective = status(&[480, 486, 600, 603]);
    let ineffective = status(&[408, 500, 503, 504]) + of(CallResult::Timeout);
    let rung = |call: &crate::event::Call| call.post_dial_delay.is_some();
    let user = effective + count(&|call| matches!(call.status, Some(487 | 408)) && rung(call));
    let counters = world.calls.counters();

    let mut counts = BTreeMap::from([
        ("attempts", attempts),
        ("answered", answered),
        ("completed", completed),
        ("abandoned_auth", abandoned),
        ("redirected", redirected),
        ("failed", failed),
        ("timeout", of(CallResult::Timeout)),
        ("no_final", of(CallResult::NoFinal)),
        ("orphaned", ended(EndReason::SessionTimer)),
        ("extra_dialog_closed", counters.extra_dialogs_closed),
        ("status_486", status(&[486])),
        ("status_487", status(&[487])),
        ("effective_nonanswer", effective),
        ("ineffective", ineffective),
        ("ner_user", user),
    ]);
    counts.retain(|_, count| *count > 0);
    assert_eq!(serde_json::to_value(counts).unwrap(), expected["counts"], "{name}: counts");

    let requests: u64 = counters.requests().map(|(_, tally)| tally.retransmitted).sum();
    let responses: u64 = counters.responses().map(|(_, _, tally)| tally.retransmitted).sum();
    assert_eq!(requests, expected["retransmissions"]["req"], "{name}: retransmitted requests");
    assert_eq!(responses, expected["retransmissions"]["resp"], "{name}: retransmitted responses");
    assert_eq!(counters.hop_invites, expected["dup_leg_invites"], "{name}: INVITEs on other hops");
    assert_eq!(counters.forked_answers, expected["forked_200"], "{name}: further dialogs");
    assert_eq!(count(&|call| call.state == CallState::Confirmed), expected["active"], "{name}: active");
    assert_eq!(world.answered as u64, answered, "{name}: notices");

    // Records come as calls end, vectors as they begin.
    let mut calls: Vec<_> = records.iter().collect();
    calls.sort_by_key(|call| call.start);
    let list = |field: &dyn Fn(&crate::event::Call) -> Option<f64>| -> Vec<f64> {
        calls.iter().filter_map(|call| field(call)).map(micros).collect()
    };
    let by_bye = |call: &crate::event::Call| call.end_reason == Some(EndReason::Bye);
    for (field, values) in [
        ("pdd_s", list(&|call| call.post_dial_delay)),
        ("answer_s", list(&|call| call.setup)),
        ("ring_s", list(&|call| call.ring)),
        ("srd_success_s", list(&|call| call.post_dial_delay.or(call.setup))),
        ("srd_failed_s", list(&|call| call.session_request_failed)),
        ("sdd_s", list(&|call| call.disconnect)),
        ("sdt_s", list(&|call| call.duration.filter(|_| by_bye(call)))),
        ("rrd_s", world.registrations.iter().filter_map(|r| r.delay).map(micros).collect()),
    ] {
        assert_eq!(serde_json::to_value(values).unwrap(), expected[field], "{name}: {field}");
    }

    let n = attempts - abandoned;
    for (field, part, whole) in [
        ("SER", answered, n - redirected),
        ("SEER", answered + effective, n - redirected),
        ("ISA", ineffective, n),
        ("SCR", completed, n),
        ("ASR", answered, n - redirected),
        ("NER", answered + user, n - redirected),
    ] {
        let ratio = (whole > 0).then(|| (part as f64 / whole as f64 * 1e6).round() / 1e4);
        assert_eq!(serde_json::to_value(ratio).unwrap(), expected[field], "{name}: {field}");
    }

    let registered = |result| world.registrations.iter().filter(|r| r.result == Some(result)).count();
    let is_register = !world.registrations.is_empty();
    let registration = &expected["registration"];
    assert_eq!(world.registrations.len(), registration["attempts"], "{name}: registrations");
    assert_eq!(registered(RegistrationResult::Success), registration["success"], "{name}");
    assert_eq!(registered(RegistrationResult::Failure), registration["failure"], "{name}");
    assert_eq!(registered(RegistrationResult::Timeout), registration["timeout"], "{name}");
    assert_eq!(registered(RegistrationResult::Unregister), registration["unregister"], "{name}");
    if is_register {
        assert_eq!(counters.challenges.iter().sum::<u64>(), registration["challenged"], "{name}");
    }
}

fn messages(scenario: &Value, change: impl Fn(Sip) -> Sip) -> Vec<Sip> {
    scenario["messages"].as_array().unwrap().iter().map(|m| change(message(m))).collect()
}

fn message(m: &Value) -> Sip {
    let text = |field: &str| m[field].as_str().unwrap_or_default().to_owned();
    let hop = text("hop");
    let method =
        ["INVITE", "ACK", "BYE", "CANCEL", "REGISTER"].into_iter().find(|name| m["m"] == *name).unwrap();
    Sip {
        request: !m["req"].is_null(),
        status: m["st"].as_u64().unwrap_or(0) as u16,
        from: party(hop.chars().next().unwrap()),
        to: party(hop.chars().next_back().unwrap()),
        vias: m["via"].as_u64().unwrap() as u16,
        call_id: text("cid"),
        from_tag: text("ft"),
        to_tag: text("tt"),
        session_expires: m["se"].as_u64().map(|seconds| seconds as u32),
        expires: m["exp"].as_u64().map(|seconds| seconds as u32),
        ..request(m["t"].as_f64().unwrap(), &hop, method, m["cseq"].as_u64().unwrap() as u32, &text("branch"))
    }
}

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/vectors/sip_scenarios.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
