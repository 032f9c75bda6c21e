//! `sip.invite`, one a call, and below it what the call went through: `sip.hop`, `sip.challenge`, `sip.bye`.
//!
//! ```text
//! sip.invite  t0 ------------------------------------------- end     events: trying, ringing, answered, bye
//!   sip.challenge  t0 -- 407 -- t0'                                  from the INVITE to the one with credentials
//!   sip.hop           t0' - 100 - 180 ---- 200 - ACK                 one a hop of each INVITE
//!   rtp.session                     early ----------------           one a stream
//!   sip.bye                                             BYE - 200
//! ```

use opentelemetry::KeyValue;
use opentelemetry::trace::TraceState;
use opentelemetry_sdk::trace::SpanData;
use std::str::FromStr;

use super::Remains;
use super::span::{Draft, Maker, after};
use crate::Stamp;
use crate::event::trail::{Asked, Trail, Transaction};
use crate::event::{Call, CallResult, EndReason, Missing};
use crate::export::trace_id::{SpanId, TraceId, TraceParent};
use crate::rtp::payload::Codec;

/// Where the spans of a call go.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) id: TraceId,
    /// Span of whoever sent the INVITE.
    parent: Option<SpanId>,
}

/// The trace of a call (MEAS 8.1): the one its INVITE brought, else the one made of its Call-ID.
pub(super) fn trace_of(call: &Call) -> Trace {
    match call.traceparent.as_deref().and_then(TraceParent::read) {
        Some(brought) => Trace { id: brought.trace, parent: Some(brought.span) },
        None => Trace { id: TraceId::of_call_id(&call.call_id), parent: None },
    }
}

impl Maker {
    /// All spans of a call that is over.
    pub(super) fn call(&self, trace: &Trace, call: &Call, remains: &Remains) -> Vec<SpanData> {
        let mut spans = vec![self.invite(trace, call, remains)];
        let root = trace.id.call_span();
        let trail = call.trail.as_deref();
        for transaction in trail.into_iter().flat_map(|trail| &trail.transactions) {
            spans.push(self.transaction(trace.id, root, transaction));
        }
        spans.extend(trail.into_iter().flat_map(|trail| self.challenges(trace.id, root, call, trail)));
        spans.extend(remains.streams.iter().map(|heard| self.session(trace.id, root, heard)));
        spans
    }

    fn invite(&self, trace: &Trace, call: &Call, remains: &Remains) -> SpanData {
        let end = call.end.unwrap_or_else(|| last_sign(call, remains));
        let mut span =
            self.span("sip.invite", trace.id, trace.id.call_span(), trace.parent, (call.start, end));
        if trace.parent.is_some() {
            span.remote_parent();
        }
        span.put_sip(call.transport, call.source, call.destination);
        span.put("sip.method", "INVITE");
        span.put("sip.call_id", call.call_id.clone());
        span.put_some("sip.from", self.user(&call.from));
        span.put_some("sip.to", self.user(&call.to));
        span.put_some("sip.response.status_code", call.status.map(i64::from));
        span.put("sip.retransmissions", i64::from(call.retransmissions));
        span.put("voip.hops", i64::from(call.hops));
        span.put("voip.legs", call.call_ids.len() as i64);
        span.put("voip.challenged", call.challenged);
        span.put_some("voip.result", call.result.map(CallResult::name));
        span.put_some("voip.end_reason", call.end_reason.map(EndReason::name));
        span.put_some("voip.post_dial_delay", call.post_dial_delay);
        span.put_some("voip.setup", call.setup);
        span.put_some("voip.ring", call.ring);
        span.put_some("voip.duration", call.duration);
        span.put_some("voip.disconnect", call.disconnect);
        span.put_some("voip.codec", call.codec.map(Codec::name));
        span.put_some("voip.mos", call.mos);
        span.put_some("voip.one_way", call.one_way.map(Missing::name));
        span.put_some("voip.dead_air", call.dead_air);
        span.put_some("voip.tenant", call.tenant.clone());
        span.put_some("voip.route", call.route.clone());
        for (set, key) in [
            (call.forked, "voip.forked"),
            (call.early_media, "voip.early_media"),
            (call.transferred, "voip.transferred"),
        ] {
            if set {
                span.put(key, true);
            }
        }
        if let Some(trail) = call.trail.as_deref() {
            Self::put_trail(&mut span, trace, call, trail);
        }
        milestones(&mut span, call);
        if let Some(transfer) = &remains.transfer {
            span.put("voip.transfer.attended", transfer.attended);
            span.put_some("voip.transfer.status_code", transfer.status.map(i64::from));
        }
        // The other legs' Call-IDs name traces of their own, where only they are seen.
        for leg in call.call_ids.iter().filter(|leg| **leg != call.call_id) {
            let other = TraceId::of_call_id(leg);
            span.link(other, other.call_span(), "leg");
        }
        blame(&mut span, call);
        span.done()
    }

    fn put_trail(span: &mut Draft, trace: &Trace, call: &Call, trail: &Trail) {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        span.put_some("user_agent.original", some(&trail.user_agent));
        span.put_some("sip.session_id", some(&trail.session_id));
        let first = trail.transactions.iter().find(|transaction| transaction.method == Asked::Invite);
        span.put_some("sip.cseq", first.map(|transaction| i64::from(transaction.cseq)));
        let reason = trail.transactions.iter().find_map(|transaction| some(&transaction.reason));
        span.put_some("sip.reason", reason);
        if trail.dropped > 0 {
            span.put("sidetone.transactions_dropped", i64::from(trail.dropped));
        }
        if let Some(from) = trail.transferred_from.as_ref().filter(|from| **from != call.call_id) {
            let other = TraceId::of_call_id(from);
            span.link(other, other.call_span(), "transfer");
        }
        // Only together with the traceparent (W3C Trace Context 3.3).
        if trace.parent.is_some()
            && let Ok(state) = TraceState::from_str(&trail.tracestate)
        {
            span.trace_state(state);
        }
    }

    /// One request on one hop.
    fn transaction(&self, trace: TraceId, root: SpanId, transaction: &Transaction) -> SpanData {
        let cseq = transaction.cseq.to_string();
        let hop = format!("{}>{}", transaction.source, transaction.destination);
        let ident = [cseq.as_str(), &transaction.branch, &self.vantage, &hop];
        let (name, kind, method) = match transaction.method {
            Asked::Invite => ("sip.hop", "invite", "INVITE"),
            Asked::Bye => ("sip.bye", "bye", "BYE"),
        };
        let mut span = self.span(
            name,
            trace,
            trace.span(kind, ident),
            Some(root),
            (transaction.start, transaction.end()),
        );
        span.put_sip(transaction.transport, transaction.source, transaction.destination);
        span.put("sip.method", method);
        span.put("sip.cseq", i64::from(transaction.cseq));
        span.put("sip.branch", transaction.branch.clone());
        span.put("sip.retransmissions", i64::from(transaction.retransmissions));
        if !transaction.reason.is_empty() {
            span.put("sip.reason", transaction.reason.clone());
        }
        let status = transaction.outcome().map(|(_, status)| status);
        span.put_some("sip.response.status_code", status.map(i64::from));
        for (at, status) in &transaction.responses {
            span.event(
                status.to_string(),
                *at,
                vec![KeyValue::new("sip.response.status_code", i64::from(*status))],
            );
        }
        if let Some(at) = transaction.acknowledged {
            span.event("ACK", at, Vec::new());
        }
        match status {
            Some(status) if is_failure(status) => span.fail(status.to_string(), format!("status {status}")),
            None if transaction.responses.is_empty() => span.fail("timeout", "no response"),
            _ => {}
        }
        span.done()
    }

    /// From an INVITE that was challenged to the one with credentials, or to the ACK where none came; on the hop that
    /// the call is measured at.
    fn challenges<'a>(
        &'a self,
        trace: TraceId,
        root: SpanId,
        call: &'a Call,
        trail: &'a Trail,
    ) -> impl Iterator<Item = SpanData> + 'a {
        let outer = |transaction: &&Transaction| {
            transaction.method == Asked::Invite
                && transaction.source.ip == call.source.ip
                && transaction.destination.ip == call.destination.ip
        };
        trail.transactions.iter().filter(outer).filter_map(move |transaction| {
            let (at, status) =
                transaction.outcome().filter(|(_, status)| matches!(status, 401 | 402 | 407))?;
            let next = trail.transactions.iter().filter(outer).find(|next| next.cseq > transaction.cseq);
            let end = next.map_or(transaction.end(), |next| next.start);
            let cseq = transaction.cseq.to_string();
            let ident = [cseq.as_str(), &transaction.branch, &self.vantage];
            let times = (transaction.start, end);
            let mut span =
                self.span("sip.challenge", trace, trace.span("challenge", ident), Some(root), times);
            span.put_sip(transaction.transport, transaction.source, transaction.destination);
            span.put("sip.method", "INVITE");
            span.put("sip.cseq", i64::from(transaction.cseq));
            span.put("sip.response.status_code", i64::from(status));
            span.put("sip.challenge.answered", next.is_some());
            span.event(status.to_string(), at, Vec::new());
            Some(span.done())
        })
    }
}

/// The moments of a call as events.
fn milestones(span: &mut Draft, call: &Call) {
    let moments = [
        ("trying", call.first_response),
        ("credentials", call.auth),
        ("ringing", call.post_dial_delay),
        ("answered", call.setup),
    ];
    for (name, seconds) in moments {
        if let Some(seconds) = seconds {
            span.event(name, after(call.start, seconds), Vec::new());
        }
    }
    if let (Some(EndReason::Bye | EndReason::Replaced), Some(end)) = (call.end_reason, call.end) {
        span.event("bye", end, Vec::new());
    }
}

/// Status by the outcome (MEAS 8.3).
fn blame(span: &mut Draft, call: &Call) {
    match (call.result, call.status) {
        (Some(CallResult::Timeout), _) => span.fail("timeout", "no response"),
        (Some(CallResult::NoFinal), _) => span.fail("no_final", "no final response"),
        (Some(CallResult::Failed), Some(status)) if is_failure(status) => {
            span.fail(status.to_string(), format!("status {status}"));
        }
        _ => {}
    }
}

/// What the network did wrong; a callee that is busy, away or declines did not (RFC 6076 4.8).
fn is_failure(status: u16) -> bool {
    status >= 400 && !matches!(status, 401 | 402 | 407 | 480 | 486 | 487 | 600 | 603)
}

fn last_sign(call: &Call, remains: &Remains) -> Stamp {
    let media = remains.streams.iter().map(|heard| heard.stream.last);
    let sip = call.trail.iter().flat_map(|trail| trail.transactions.iter().map(Transaction::end));
    media.chain(sip).fold(call.start, Stamp::max)
}
