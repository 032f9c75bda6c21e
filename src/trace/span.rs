//! A span with ids and times of our choosing.

use std::borrow::Cow;
use std::time::Duration;
#[allow(clippy::disallowed_types, reason = "spans carry packet time as the type of the system's clock")]
use std::time::SystemTime;

use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::Stamp;
use crate::event::SipTransport;
use crate::export::trace_id::{self, TraceId as Id};
use crate::log::privacy::{Policy, Treatment};
use crate::wire::Endpoint;

/// What all spans of an agent share.
#[derive(Debug)]
pub(super) struct Maker {
    pub(super) vantage: String,
    users: Policy,
    scope: InstrumentationScope,
}

/// A span in the making.
pub(super) struct Draft {
    data: SpanData,
}

impl Maker {
    pub(super) fn new(vantage: &str, users: Policy) -> Self {
        let scope = InstrumentationScope::builder("sidetone").with_version(env!("CARGO_PKG_VERSION")).build();
        Self { vantage: vantage.into(), users, scope }
    }

    /// A From or To URI as it may be told, if it may.
    pub(super) fn user(&self, uri: &str) -> Option<String> {
        let is_told = !uri.is_empty() && self.users.treatments().users != Treatment::Drop;
        is_told.then(|| self.users.uri(uri))
    }

    /// Begins a span; times that are out of order come from two clocks, and it then has no length.
    pub(super) fn span(
        &self,
        name: &'static str,
        trace: Id,
        id: trace_id::SpanId,
        parent: Option<trace_id::SpanId>,
        (start, end): (Stamp, Stamp),
    ) -> Draft {
        let data = SpanData {
            span_context: context(trace, id, false),
            parent_span_id: parent.map_or(SpanId::INVALID, span_id),
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: Cow::Borrowed(name),
            start_time: time(start),
            end_time: time(end.max(start)),
            attributes: Vec::with_capacity(24),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        };
        let mut draft = Draft { data };
        draft.put("sidetone.vantage", self.vantage.clone());
        draft
    }
}

impl Draft {
    pub(super) fn put(&mut self, key: &'static str, value: impl Into<Value>) {
        self.data.attributes.push(KeyValue::new(key, value));
    }

    /// What was not measured is not told.
    pub(super) fn put_some(&mut self, key: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    /// Who speaks to whom, by the semantic conventions: we are neither of them.
    pub(super) fn put_ends(&mut self, client: Endpoint, server: Endpoint, transport: &'static str) {
        self.put("network.transport", transport);
        self.put("network.type", if client.ip.is_ipv4() { "ipv4" } else { "ipv6" });
        self.put("client.address", client.ip.to_string());
        self.put("client.port", i64::from(client.port));
        self.put("server.address", server.ip.to_string());
        self.put("server.port", i64::from(server.port));
    }

    /// The protocol of a SIP span.
    pub(super) fn put_sip(&mut self, transport: SipTransport, client: Endpoint, server: Endpoint) {
        self.put("network.protocol.name", "sip");
        self.put("network.protocol.version", "2.0");
        self.put_ends(client, server, carrier(transport));
        if matches!(transport, SipTransport::Tls | SipTransport::Ws | SipTransport::Wss) {
            self.put("sip.transport", sip_transport(transport));
        }
    }

    pub(super) fn event(&mut self, name: impl Into<Cow<'static, str>>, at: Stamp, attributes: Vec<KeyValue>) {
        self.data.events.events.push(Event::new(name, time(at), attributes, 0));
    }

    pub(super) fn dropped_events(&mut self, count: u32) {
        self.data.events.dropped_count += count;
    }

    pub(super) fn link(&mut self, trace: Id, span: trace_id::SpanId, relation: &'static str) {
        let attributes = vec![KeyValue::new("sidetone.link", relation)];
        self.data.links.links.push(Link::new(context(trace, span, true), attributes, 0));
    }

    pub(super) fn fail(&mut self, kind: impl Into<Value>, description: impl Into<Cow<'static, str>>) {
        self.put("error.type", kind);
        self.data.status = Status::error(description);
    }

    pub(super) fn remote_parent(&mut self) {
        self.data.parent_span_is_remote = true;
    }

    pub(super) fn trace_state(&mut self, state: TraceState) {
        let context = &self.data.span_context;
        self.data.span_context =
            SpanContext::new(context.trace_id(), context.span_id(), context.trace_flags(), false, state);
    }

    /// The span; its events in order of time.
    pub(super) fn done(mut self) -> SpanData {
        self.data.events.events.sort_by_key(|event| event.timestamp);
        self.data
    }
}

fn context(trace: Id, span: trace_id::SpanId, remote: bool) -> SpanContext {
    let trace = TraceId::from_bytes(trace.bytes());
    SpanContext::new(trace, span_id(span), TraceFlags::SAMPLED, remote, TraceState::NONE)
}

fn span_id(id: trace_id::SpanId) -> SpanId {
    SpanId::from_bytes(id.bytes())
}

#[allow(clippy::disallowed_types, reason = "packet time, in the type that spans have")]
fn time(at: Stamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(at.0)
}

/// What the conventions know under `network.transport`.
fn carrier(transport: SipTransport) -> &'static str {
    match transport {
        SipTransport::Udp => "udp",
        SipTransport::Tcp | SipTransport::Tls | SipTransport::Ws | SipTransport::Wss => "tcp",
        SipTransport::Sctp => "sctp",
    }
}

fn sip_transport(transport: SipTransport) -> &'static str {
    match transport {
        SipTransport::Udp => "udp",
        SipTransport::Tcp => "tcp",
        SipTransport::Tls => "tls",
        SipTransport::Ws => "ws",
        SipTransport::Wss => "wss",
        SipTransport::Sctp => "sctp",
    }
}

/// `after` a moment, in seconds as the record has them, which are exact to less than a microsecond.
pub(super) fn after(start: Stamp, seconds: f64) -> Stamp {
    start.plus_nanos((seconds * 1e9).round() as i64)
}
