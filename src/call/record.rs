//! A call as its record, and as it stands.

use super::attempt::Phase;
use super::classify::Rule;
use super::state::{CALL_ID, Call, End, FROM, TO, TRACEPARENT};
use super::text::Text;
use super::{Live, Settings};
use crate::Stamp;
use crate::event::{self, CallState, EndReason, SipTransport, Via, Why};
use crate::wire::Endpoint;

impl Call {
    /// The record; `leg_pairs` are the address pairs of its legs that are not over.
    pub(super) fn record(&self, leg_pairs: u32, settings: &Settings) -> event::Call {
        let attempt = &self.attempt;
        let hop = self.hops.primary();
        let since = |from: Option<Stamp>, to: Option<Stamp>| {
            from.zip(to).map(|(from, to)| to.seconds_since(from).max(0.0))
        };
        let start = Some(attempt.start);
        let end = self.end.or_else(|| self.hung_up());
        let [call_id, from, to, traceparent] = self.text.strings();
        let legs = self.legs.call_ids.iter().map(|leg: &Text<1>| leg.string(0));
        event::Call {
            call_ids: std::iter::once(call_id.clone()).chain(legs).collect(),
            call_id,
            from,
            to,
            source: hop.source,
            destination: hop.destination,
            transport: hop.transport,
            via: hop.via,
            state: self.state(),
            result: attempt.result,
            status: attempt.status,
            end_reason: end.and_then(|end| end.reason),
            start: attempt.start,
            end: end.map(|end| end.at),
            challenged: attempt.challenged(),
            post_dial_delay: since(start, attempt.ringing),
            setup: since(start, attempt.answered),
            ring: since(attempt.ringing, attempt.answered),
            disconnect: end.and_then(|end| end.disconnect_seconds),
            duration: since(attempt.answered, end.map(|end| end.at)),
            first_response: since(start, attempt.first_response),
            auth: since(start, attempt.retried),
            session_request_failed: attempt.request_failed(),
            forked: attempt.forked,
            early_media: attempt.early_media,
            transferred: self.transferred,
            tenant: name(&settings.tenants, self.class.tenant),
            route: name(&settings.routes, self.class.route),
            dtmf: self.extras.as_ref().map(|extras| extras.keys()).unwrap_or_default(),
            participants: self.extras.as_ref().map(|extras| extras.all_participants()).unwrap_or_default(),
            codec: None,
            hops: self.pairs() + leg_pairs,
            retransmissions: self.retransmissions,
            one_way: None,
            dead_air: None,
            mos: None,
            streams: Vec::new(),
            traceparent: (!traceparent.is_empty()).then_some(traceparent),
            trail: None,
            why: Why::new(),
        }
    }

    pub(super) fn state(&self) -> CallState {
        if self.end.is_some() || self.hung_up().is_some() {
            return CallState::Ended;
        }
        match self.attempt.phase {
            Phase::Trying | Phase::Challenged => CallState::Trying,
            Phase::Ringing => CallState::Ringing,
            Phase::Answered => CallState::Confirmed,
            Phase::Over => CallState::Ended,
        }
    }

    /// The end of a call whose BYE waits for its answer: it is over for its user.
    fn hung_up(&self) -> Option<End> {
        self.dialogs.bye_deadline()?;
        let reason = if self.replaced.is_some() { EndReason::Replaced } else { EndReason::Bye };
        let at = self.dialogs.hang_up()?.bye;
        Some(End { at, reason: Some(reason), disconnect_seconds: None })
    }
}

fn name(rules: &[Rule], place: Option<u16>) -> Option<String> {
    rules.get(usize::from(place?)).map(|rule| rule.name.clone())
}

impl Live<'_> {
    /// Call-ID of the primary leg.
    pub fn call_id(&self) -> String {
        self.call.text.string(CALL_ID)
    }

    /// From URI.
    pub fn from(&self) -> String {
        self.call.text.string(FROM)
    }

    /// To URI.
    pub fn to(&self) -> String {
        self.call.text.string(TO)
    }

    /// `traceparent` of the first INVITE; empty when absent.
    pub fn traceparent(&self) -> String {
        self.call.text.string(TRACEPARENT)
    }

    /// Where it stands. A call whose dialogs all have a BYE is ended.
    pub fn state(&self) -> CallState {
        self.call.state()
    }

    /// First INVITE.
    pub fn start(&self) -> Stamp {
        self.call.attempt.start
    }

    /// First 2xx.
    pub fn answered(&self) -> Option<Stamp> {
        self.call.attempt.answered
    }

    /// Sender of the first INVITE.
    pub fn source(&self) -> Endpoint {
        self.call.hops.primary().source
    }

    /// Receiver of the first INVITE.
    pub fn destination(&self) -> Endpoint {
        self.call.hops.primary().destination
    }

    /// One-way delay between the parties in seconds, by the round trips of SIP (MEAS 4.5.3). Of a call in several
    /// legs none: the B2BUA answers for the party behind it.
    pub fn one_way_delay(&self) -> Option<f64> {
        let one_leg = self.call.legs.call_ids.is_empty();
        self.call.round_trips.one_way_seconds().filter(|_| one_leg)
    }

    /// Configured tenant.
    pub fn tenant(&self) -> Option<String> {
        name(&self.settings.tenants, self.call.class.tenant)
    }

    /// Configured route.
    pub fn route(&self) -> Option<String> {
        name(&self.settings.routes, self.call.class.route)
    }

    /// What carried the first INVITE.
    pub fn transport(&self) -> SipTransport {
        self.call.hops.primary().transport
    }

    /// How it reached us.
    pub fn via(&self) -> Via {
        self.call.hops.primary().via
    }
}
