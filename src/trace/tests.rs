//! Spans of simulated calls and of hand-built facts.

use std::sync::Arc;

use opentelemetry::trace::{SpanId, Status};
use opentelemetry_sdk::trace::SpanData;

use super::*;
use crate::export::samples;
use crate::export::trace_id::TraceId;
use crate::log::privacy::{HashKey, Treatment, Treatments};
use crate::observer::{self, Observer};
use crate::simulate::{Outcome, Plan, Traffic};

fn settings(ratio: f64) -> Settings {
    Settings {
        vantage: "here".into(),
        sampling: Sampling { ratio, ..Sampling::default() },
        users: users(Treatment::Hash),
    }
}

fn users(treatment: Treatment) -> Policy {
    let treatments = Treatments { users: treatment, numbers: treatment, addresses: Treatment::Keep };
    Policy::new(treatments, Arc::new(HashKey::new(b"key")))
}

/// Everything that is told of simulated calls.
fn told(outcomes: Vec<Outcome>, registrations: u32) -> Vec<SpanData> {
    let plan =
        Plan { calls: outcomes.len() as u32, outcomes, registrations, duration: 12.0, ..Plan::default() };
    let mut traffic = Traffic::new(plan).unwrap();
    let mut observer = observer::Settings::default();
    observer.calls.trails = true;
    let mut observer = Observer::new(observer);
    let (mut traces, mut spans) = (Traces::new(&settings(1.0)), Vec::new());
    let mut sink = |event: Event| spans.extend(traces.take(&event));
    while let Some(frame) = traffic.next_frame() {
        observer.packets(&[frame], &mut sink);
    }
    observer.finish(&mut sink);
    spans
}

fn value(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string())
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> Vec<&'a SpanData> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[test]
fn an_answered_call_is_one_span_with_its_hops_and_streams_below() {
    let spans = told(vec![Outcome::Answered], 0);
    let invite = named(&spans, "sip.invite")[0];
    let trace = TraceId::of_call_id(&value(invite, "sip.call_id").unwrap());
    assert_eq!(invite.span_context.trace_id().to_string(), trace.to_string());
    assert_eq!(invite.span_context.span_id().to_string(), trace.call_span().to_string());
    assert_eq!(invite.parent_span_id, SpanId::INVALID);
    assert_eq!(invite.status, Status::Unset);
    let events: Vec<_> = invite.events.iter().map(|event| event.name.as_ref()).collect();
    assert_eq!(events, ["trying", "ringing", "answered", "bye"]);
    for (name, count) in [("sip.invite", 1), ("sip.hop", 1), ("sip.bye", 1), ("rtp.session", 2)] {
        assert_eq!(named(&spans, name).len(), count, "{name}");
    }
    for child in spans.iter().filter(|span| span.name != "sip.invite") {
        assert_eq!(child.parent_span_id, invite.span_context.span_id());
        assert_eq!(child.span_context.trace_id(), invite.span_context.trace_id());
        assert!(child.start_time >= invite.start_time, "{}", child.name);
        assert_eq!(value(child, "sidetone.vantage").as_deref(), Some("here"));
    }
    let hop = named(&spans, "sip.hop")[0];
    assert_eq!(hop.start_time, invite.start_time);
    let events: Vec<_> = hop.events.iter().map(|event| event.name.as_ref()).collect();
    assert_eq!(events, ["100", "180", "200", "ACK"]);
    assert!(named(&spans, "rtp.session").iter().all(|span| !span.events.is_empty()), "windows");
}

#[test]
fn failures_have_a_status_and_a_cause_and_refusals_of_the_callee_have_none() {
    let spans = told(vec![Outcome::Timeout, Outcome::Busy, Outcome::Cancelled], 0);
    let invites = named(&spans, "sip.invite");
    let of = |result: &str| {
        *invites.iter().find(|span| value(span, "voip.result").as_deref() == Some(result)).unwrap()
    };
    assert!(matches!(of("timeout").status, Status::Error { .. }));
    assert_eq!(value(of("timeout"), "error.type").as_deref(), Some("timeout"));
    assert_eq!(of("failed").status, Status::Unset);
    assert_eq!(value(of("failed"), "sip.response.status_code").as_deref(), Some("486"));
    assert_eq!(of("cancelled").status, Status::Unset);
}

#[test]
fn a_challenge_is_a_span_up_to_the_credentials() {
    let spans = told(vec![Outcome::Challenged], 1);
    let of_calls = named(&spans, "sip.challenge");
    let challenge =
        of_calls.iter().find(|span| value(span, "sip.method").as_deref() == Some("INVITE")).unwrap();
    let mut hops = named(&spans, "sip.hop");
    hops.sort_by_key(|hop| hop.start_time);
    assert_eq!(hops.len(), 2);
    assert_eq!(challenge.start_time, hops[0].start_time);
    assert_eq!(challenge.end_time, hops[1].start_time);
    let register = named(&spans, "sip.register")[0];
    let below = spans.iter().filter(|span| span.parent_span_id == register.span_context.span_id());
    assert_eq!(below.map(|span| span.name.as_ref()).collect::<Vec<_>>(), ["sip.challenge"]);
}

#[test]
fn two_vantage_points_share_the_call_and_nothing_else() {
    let spans = |vantage: &str| {
        let mut traces = Traces::new(&Settings { vantage: vantage.into(), ..settings(1.0) });
        traces.take(&Event::Stream(samples::stream()));
        traces.take(&Event::Call(samples::call()))
    };
    let (here, there) = (spans("here"), spans("there"));
    let id = |span: &SpanData| span.span_context.span_id();
    assert_eq!(id(&here[0]), id(&there[0]));
    assert_eq!(here[0].span_context.trace_id(), there[1].span_context.trace_id());
    assert_ne!(id(&here[1]), id(&there[1]));
}

#[test]
fn a_call_that_is_passed_over_leaves_nothing_behind() {
    let mut traces = Traces::new(&settings(0.0));
    traces.take(&Event::Window(samples::window()));
    traces.take(&Event::Stream(samples::stream()));
    assert!(traces.take(&Event::Call(samples::call())).is_empty());
    assert_eq!(traces.counts(), Counts { passed_over: 1, ..Counts::default() });
}

#[test]
fn a_user_is_told_as_configured_and_a_host_as_it_is() {
    let told = |treatment| {
        let maker = Maker::new("here", users(treatment));
        ["sip:alice@192.0.2.1", "sip:+4930123456@atlanta.com", "sip:atlanta.com", ""]
            .map(|uri| maker.user(uri))
    };
    let [alice, number, host, none] = told(Treatment::Hash).map(Option::unwrap_or_default);
    assert!(
        alice.starts_with("sip:h-") && alice.ends_with("@192.0.2.1") && !alice.contains("alice"),
        "{alice}"
    );
    assert!(number.starts_with("sip:h-") && number.ends_with("@atlanta.com"), "{number}");
    assert_eq!((host.as_str(), none.as_str()), ("sip:atlanta.com", ""));
    assert_eq!(told(Treatment::Keep)[0].as_deref(), Some("sip:alice@192.0.2.1"));
    assert_eq!(told(Treatment::Drop), [None, None, None, None]);
}

#[test]
fn who_sent_a_traceparent_is_the_parent() {
    let mut call = samples::call();
    call.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
    let spans = Traces::new(&settings(1.0)).take(&Event::Call(call));
    assert_eq!(spans[0].span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(spans[0].parent_span_id.to_string(), "00f067aa0ba902b7");
    assert!(spans[0].parent_span_is_remote);
}
