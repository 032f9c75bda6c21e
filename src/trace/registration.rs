//! `sip.register`: one a registration attempt, with its challenge below it.

use opentelemetry_sdk::trace::SpanData;

use super::span::Maker;
use crate::event::{Registration, RegistrationResult};
use crate::export::trace_id::TraceId;

/// The trace of all attempts under one Call-ID: a client keeps it for as long as it runs (RFC 3261 10.2.4).
pub(super) fn trace_of(registration: &Registration) -> TraceId {
    TraceId::of_call_id(&registration.call_id)
}

impl Maker {
    pub(super) fn registration(&self, trace: TraceId, registration: &Registration) -> Vec<SpanData> {
        let start = registration.start;
        let waited = match registration.result {
            Some(RegistrationResult::Timeout | RegistrationResult::Abandoned) => {
                start.plus_seconds(NO_RESPONSE)
            }
            _ => registration.sent_back.unwrap_or(start),
        };
        let end = registration.end.unwrap_or(waited);
        let first = start.0.to_string();
        let id = trace.span("register", [first.as_str(), &self.vantage]);
        let mut span = self.span("sip.register", trace, id, None, (start, end));
        span.put_sip(registration.transport, registration.source, registration.destination);
        span.put("sip.method", "REGISTER");
        span.put("sip.call_id", registration.call_id.clone());
        span.put_some("sip.to", self.user(&registration.aor));
        span.put_some("sip.response.status_code", registration.status.map(i64::from));
        span.put("voip.challenged", registration.challenged);
        span.put_some("voip.result", registration.result.map(RegistrationResult::name));
        span.put_some("sip.expires", registration.expires.map(i64::from));
        match (registration.result, registration.status) {
            (Some(RegistrationResult::Failure), Some(status)) => {
                span.fail(status.to_string(), format!("status {status}"));
            }
            (Some(RegistrationResult::Timeout), _) => span.fail("timeout", "no response"),
            _ => {}
        }
        let mut spans = vec![span.done()];
        if let Some(at) = registration.sent_back {
            let id = trace.span("challenge", [first.as_str(), &self.vantage]);
            let parent = trace.span("register", [first.as_str(), &self.vantage]);
            let mut challenge = self.span("sip.challenge", trace, id, Some(parent), (start, at));
            challenge.put_sip(registration.transport, registration.source, registration.destination);
            challenge.put("sip.method", "REGISTER");
            spans.push(challenge.done());
        }
        spans
    }
}

/// Seconds without any response: 64*T1.
const NO_RESPONSE: u64 = 32;
