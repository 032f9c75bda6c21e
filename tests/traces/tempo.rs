//! A server with Tempo's API (qryn over chdb) gives each trace back as a collector got it. `tests/tools.sh loki` installs it
//! (1 GB); the test runs when `SIDETONE_TEST_TEMPO` is set.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use sidetone::simulate::{Outcome, Plan};
use sidetone::stamp::Stamp;

use crate::patience::within;
use crate::qryn::Qryn;
use crate::rotel::{Attributes, Event, Rotel, Span};
use crate::skipped::skipped;

/// A trace, as its API tells it.
fn trace(server: &Qryn, id: &str) -> Vec<Span> {
    let bytes = server.get(&format!("/api/traces/{id}"), &[]).unwrap_or_default();
    let data = TracesData::decode(bytes.as_slice()).unwrap();
    let scopes = data.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).map(span).collect()
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

fn attributes(pairs: Vec<KeyValue>) -> Attributes {
    let shown = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => format!("Str({text})"),
        Some(Value::IntValue(number)) => format!("Int({number})"),
        Some(Value::DoubleValue(number)) => format!("Double({number})"),
        Some(Value::BoolValue(set)) => format!("Bool({set})"),
        other => format!("{other:?}"),
    };
    pairs.into_iter().map(|pair| (pair.key, shown(pair.value))).collect()
}

/// In the words of the other collector.
fn span(span: opentelemetry_proto::tonic::trace::v1::Span) -> Span {
    let event = |event: opentelemetry_proto::tonic::trace::v1::span::Event| Event {
        name: event.name,
        at: event.time_unix_nano,
        attributes: attributes(event.attributes),
    };
    let status = span.status.unwrap_or_default();
    Span {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        name: span.name,
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        status: if status.code == 2 { "STATUS_CODE_ERROR" } else { "STATUS_CODE_UNSET" }.into(),
        message: status.message,
        attributes: attributes(span.attributes),
        events: span.events.into_iter().map(event).collect(),
        ..Span::default()
    }
}

#[test]
fn a_server_with_tempos_api_gives_each_trace_back() {
    if std::env::var_os(ASKED).is_none() {
        return skipped(format_args!("{ASKED}=yes asks for the test with a real server of Tempo's API"));
    }
    if !Qryn::is_there() {
        return skipped("no server with Tempo's API: tests/tools.sh loki installs one, of 1 GB");
    }
    let directory = tempfile::tempdir().unwrap();
    let Some(rotel) = Rotel::start(directory.path()) else { return };
    let mut server = Qryn::new(directory.path());
    server.start();
    let url = format!("http://{}", server.api);
    // It keeps what is younger than a week.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let outcomes = vec![Outcome::Answered, Outcome::Challenged, Outcome::Rejected, Outcome::Timeout];
    let start = Stamp(now - 600_000_000_000);
    let plan = Plan { calls: 12, outcomes, registrations: 4, duration: 12.0, start, ..Plan::default() };
    let capture = directory.path().join("now.pcap");
    fs::write(&capture, crate::scenes::planned(plan).0).unwrap();
    crate::analyzed(&capture, &url, "http/protobuf", "tempo");
    let report = crate::analyzed(&capture, &format!("http://{}", rotel.http), "http/protobuf", "tempo");
    let ledger = crate::ledger::Ledger::of(fs::read(&capture).unwrap());
    let sent = rotel.spans_of("tempo", crate::told::count(&ledger, &report));

    let traces: HashSet<&str> = sent.iter().map(|span| span.trace.as_str()).collect();
    for id in traces {
        let expected: Vec<&Span> = sent.iter().filter(|span| span.trace == id).collect();
        let mut told = Vec::new();
        within(30, || {
            told = trace(&server, id);
            told.len() >= expected.len()
        });
        let told: HashMap<&str, &Span> = told.iter().map(|span| (span.id.as_str(), span)).collect();
        assert_eq!(told.len(), expected.len(), "trace {id}");
        for span in expected {
            assert_same(told[span.id.as_str()], span);
        }
    }
}

/// It adds attributes of its own, those of the resource among them.
fn assert_same(told: &Span, sent: &Span) {
    assert_eq!((&told.parent, &told.name), (&sent.parent, &sent.name));
    assert_eq!((told.start, told.end), (sent.start, sent.end), "{told:#?}");
    assert_eq!((&told.status, &told.message), (&sent.status, &sent.message), "{told:#?}");
    // Of an event it tells the time and one text, `sip.response.status_code=180 name=180`.
    let events = |span: &Span| -> Vec<(u64, String)> {
        let name = |event: &Event| event.name.rsplit("name=").next().unwrap_or_default().to_owned();
        span.events.iter().map(|event| (event.at, name(event))).collect()
    };
    assert_eq!(events(told), events(sent), "{told:#?}");
    for (key, value) in sent.attributes.iter().chain(&sent.resource) {
        assert_eq!(told.attributes.get(key), Some(value), "{key}: {told:#?}");
    }
}

const ASKED: &str = "SIDETONE_TEST_TEMPO";
