//! Calls as traces, as collectors get them: by gRPC and HTTP, from files and off the wire, and whatever happens to the
//! collector.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]
#![allow(clippy::disallowed_types, reason = "a test of what waits waits by the clock")]

#[path = "traces/double.rs"]
mod double;
#[path = "traces/faults.rs"]
mod faults;
#[path = "traces/ledger.rs"]
mod ledger;
#[path = "traces/live.rs"]
mod live;
#[allow(dead_code, reason = "shared with tests that read more of it")]
#[path = "support/measured.rs"]
mod measured;
#[path = "support/needs.rs"]
mod needs;
#[path = "support/patience.rs"]
mod patience;
#[allow(dead_code, reason = "shared with tests that ask more of it")]
#[path = "support/prometheus.rs"]
mod prometheus;
#[path = "support/qryn.rs"]
mod qryn;
#[path = "traces/rotel.rs"]
mod rotel;
#[allow(dead_code, reason = "shared with tests that use more of it")]
#[path = "support/scene.rs"]
mod scene;
#[path = "traces/scenes.rs"]
mod scenes;
#[path = "support/skipped.rs"]
mod skipped;
#[path = "traces/tempo.rs"]
mod tempo;
#[path = "traces/told.rs"]
mod told;
#[allow(dead_code, reason = "shared with tests that ask more of it")]
#[path = "support/veth.rs"]
mod veth;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use ledger::Ledger;
use rotel::{Rotel, Span};
use serde_json::Value;
use sidetone::event::CallResult;
use sidetone::export::trace_id::TraceId;
use sidetone::simulate::Outcome;
use sidetone::simulate::truth::Truth;
use told::Told;

/// Sends the traces of a capture, as `run`; what is reported of it beside.
fn analyzed(capture: &Path, endpoint: &str, protocol: &str, run: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_sidetone"))
        .args(["analyze", "--format", "json", "--otlp", endpoint])
        .arg(capture)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .env("OTEL_RESOURCE_ATTRIBUTES", format!("test.run={run},deployment.environment.name=test%20bench"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// By both ways, and what is true of any capture; the spans of one of them, which are those of the other.
fn by_both_ways(rotel: &Rotel, capture: &Path) -> Told {
    let ledger = Ledger::of(fs::read(capture).unwrap());
    let [http, grpc] = [("http/protobuf", rotel.http), ("grpc", rotel.grpc)].map(|(protocol, address)| {
        let run = format!("{protocol}-{}", capture.file_stem().unwrap().display());
        let report = analyzed(capture, &format!("http://{address}"), protocol, &run);
        let told = Told::new(rotel.spans_of(&run, told::count(&ledger, &report)));
        told.assert_complete(&ledger);
        told.assert_as_reported(&report);
        for span in &told.spans {
            let of = |key: &str| span.resource.get(key).map(String::as_str);
            assert_eq!(of("service.name"), Some("Str(sidetone)"));
            assert_eq!(of("deployment.environment.name"), Some("Str(test bench)"));
            assert_eq!(of("service.instance.id"), Some(format!("Str({})", capture.display())).as_deref());
            assert!(of("host.name").is_some());
            assert_eq!(span.scope, concat!("sidetone ", env!("CARGO_PKG_VERSION")));
        }
        told
    });
    let bare = |told: &Told| -> Vec<Span> {
        let mut spans = told.spans.clone();
        for span in &mut spans {
            span.resource.clear();
        }
        spans.sort_by(|a, b| (&a.trace, &a.id).cmp(&(&b.trace, &b.id)));
        spans
    };
    assert_eq!(bare(&http), bare(&grpc), "both ways tell the same");
    grpc
}

#[test]
fn a_collector_gets_every_kind_of_call_by_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let Some(rotel) = Rotel::start(directory.path()) else { return };
    let capture = directory.path().join("simulated.pcap");
    let (bytes, truth) = scenes::simulated();
    fs::write(&capture, bytes).unwrap();
    let told = by_both_ways(&rotel, &capture);
    simulated_calls_are_told(&told, &truth);
    simulated_registrations_are_told(&told, &truth);

    let capture = directory.path().join("by-hand.pcap");
    fs::write(&capture, scenes::by_hand()).unwrap();
    let told = by_both_ways(&rotel, &capture);
    a_trace_of_the_caller_is_taken_up(&told);
    legs_are_linked(&told);
    a_transfer_is_linked(&told);
    what_is_one_way_is_told(&told);

    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenes/mixed.pcap");
    by_both_ways(&rotel, &fixture);
}

fn simulated_calls_are_told(told: &Told, truth: &Truth) {
    let mut seen: HashMap<Outcome, usize> = HashMap::new();
    for call in &truth.calls {
        *seen.entry(call.outcome).or_default() += 1;
        let root = told.call(&call.call_id);
        assert_eq!(root.start, call.start.0, "{root:#?}");
        if let Some(end) = call.end {
            assert_eq!(root.end, end.0, "{call:#?}\n{root:#?}");
        }
        assert_eq!(root.text("voip.result"), Some(call.result.name()), "{call:#?}");
        assert_eq!(root.number("sip.response.status_code"), call.status.map(f64::from));
        assert_eq!(root.is("voip.challenged"), Some(call.challenged));
        assert_eq!(root.is("voip.forked"), call.forked.then_some(true));
        let at = |seconds: Option<f64>| {
            seconds.map(|seconds| call.start.plus_nanos((seconds * 1e9).round() as i64).0)
        };
        for (event, seconds) in
            [("ringing", call.post_dial_delay), ("answered", call.setup), ("credentials", call.auth)]
        {
            assert_eq!(root.event(event), at(seconds), "{event}: {call:#?}\n{root:#?}");
        }
        let error = match (call.result, call.status) {
            (CallResult::Timeout, _) => Some("timeout".to_owned()),
            (CallResult::NoFinal, _) => Some("no_final".to_owned()),
            (CallResult::Failed, Some(status)) => ledger::is_error(status).then(|| status.to_string()),
            _ => None,
        };
        assert_eq!(root.text("error.type"), error.as_deref(), "{call:#?}");
        assert_eq!((root.is_error(), root.message.is_empty()), (error.is_some(), error.is_none()));
        let below = |name: &str| told.below(root, name).len();
        let (hops, challenges) = match call.outcome {
            Outcome::Challenged => (2, 1),
            Outcome::WrongPassword => (2, 2),
            _ => (1, 0),
        };
        assert_eq!((below("sip.hop"), below("sip.challenge")), (hops, challenges), "{call:#?}");
        assert_eq!(below("sip.bye"), usize::from(call.setup.is_some()));
        assert_eq!(below("rtp.session"), call.streams.len());
    }
    assert_eq!(seen.len(), 11, "{seen:?}");
    let refusals: std::collections::BTreeSet<_> =
        truth.calls.iter().filter(|call| call.outcome == Outcome::Rejected).map(|call| call.status).collect();
    assert!(refusals.len() > 4, "{refusals:?}");
    for stream in &truth.streams {
        let of_stream = |span: &&&Span| span.text("rtp.ssrc") == Some(&stream.ssrc);
        let sessions = told.named("rtp.session");
        let session = sessions.iter().find(of_stream).unwrap();
        assert_eq!((session.start, session.end), (stream.first.0, stream.last.0));
        assert_eq!(session.number("rtp.packets"), Some(stream.packets as f64));
        assert_eq!(session.number("rtp.lost"), Some(stream.lost as f64));
        assert_eq!(session.text("voip.direction"), Some(stream.direction.name()));
        assert_eq!(session.text("rtp.codec"), Some(stream.codec.name()));
    }
}

fn simulated_registrations_are_told(told: &Told, truth: &Truth) {
    let mut results = std::collections::BTreeSet::new();
    for registration in &truth.registrations {
        let trace = TraceId::of_call_id(&registration.call_id).to_string();
        let spans = told.named("sip.register");
        let span = spans.iter().find(|span| span.trace == trace).unwrap();
        results.insert(registration.status);
        assert_eq!(span.start, registration.start.0);
        if let Some(delay) = registration.delay {
            assert_eq!(span.end, registration.start.plus_nanos((delay * 1e9).round() as i64).0);
        }
        assert_eq!(span.text("voip.result"), Some(registration.result.name()));
        assert_eq!(span.number("sip.response.status_code"), registration.status.map(f64::from));
        assert_eq!(span.number("sip.expires"), registration.expires.map(f64::from));
        let has_failed = registration.result == sidetone::event::RegistrationResult::Failure;
        assert_eq!(span.is_error(), has_failed, "{span:#?}");
        assert_eq!(told.below(span, "sip.challenge").len(), usize::from(registration.challenged));
    }
    assert!(results.len() > 1, "{results:?}");
}

fn a_trace_of_the_caller_is_taken_up(told: &Told) {
    let root = told.call("proxied@x");
    assert_eq!((root.trace.as_str(), root.parent.as_str()), (scenes::TRACE, scenes::SENDER));
    assert_eq!(root.text("user_agent.original"), Some("phone/1"));
    assert_eq!(root.number("voip.hops"), Some(2.0));
    assert_eq!(told.below(root, "sip.hop").len(), 2);
    assert_eq!(told.below(root, "sip.bye").len(), 2);
    assert!(told.below(root, "sip.bye").iter().all(|bye| bye.text("sip.reason") == Some("Q.850;cause=16")));
}

fn legs_are_linked(told: &Told) {
    let root = told.call("leg-a@x");
    assert_eq!(root.number("voip.legs"), Some(2.0));
    assert_eq!(told.below(root, "sip.hop").len(), 2, "both legs' INVITEs");
    let other = TraceId::of_call_id("leg-b@x");
    let [link] = root.links.as_slice() else { panic!("{root:#?}") };
    assert_eq!(
        (link.trace.as_str(), link.id.as_str()),
        (&*other.to_string(), &*other.call_span().to_string())
    );
    assert_eq!(link.attributes["sidetone.link"], "Str(leg)");
}

fn a_transfer_is_linked(told: &Told) {
    let (before, after) = (told.call("before@x"), told.call("after@x"));
    let [link] = after.links.as_slice() else { panic!("{after:#?}") };
    assert_eq!((&link.trace, &link.id), (&before.trace, &before.id));
    assert_eq!(link.attributes["sidetone.link"], "Str(transfer)");
    assert_eq!(after.is("voip.transferred"), Some(true));
    assert_eq!(before.is("voip.transfer.attended"), Some(false));
    assert_eq!(before.number("voip.transfer.status_code"), Some(200.0));
    assert!(before.links.is_empty());
}

fn what_is_one_way_is_told(told: &Told) {
    let call = told.call("one-way");
    assert_eq!(call.text("voip.one_way"), Some("to_caller"));
    assert_eq!(told.below(call, "rtp.session").len(), 1);
    let call = told.call("both-ways");
    assert_eq!(call.text("voip.one_way"), None);
    let ways: Vec<_> =
        told.below(call, "rtp.session").iter().map(|span| span.text("voip.direction").unwrap()).collect();
    assert!(ways.contains(&"to_caller") && ways.contains(&"to_callee"), "{ways:?}");
}
