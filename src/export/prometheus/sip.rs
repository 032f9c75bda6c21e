//! Families about calls, registrations and SIP messages (DESIGN 4, MEAS A.1).

use crate::event::{Call, CallResult, CallState, Live, Registration, RegistrationResult, Totals, Transfer};
use crate::rtp::payload::Codec;

use super::exemplar::{self, Exemplars, Lead};
use super::family::{Counters, Declare, Gauges, Histograms, Value};
use super::live::tally;

#[derive(Debug)]
pub(super) struct SipMetrics {
    up: Gauges<3>,
    active: Gauges<1>,
    setup: Histograms<2>,
    post_dial_delay: Histograms<3>,
    ring: Histograms<3>,
    auth: Histograms<3>,
    first_response: Histograms<3>,
    session_request_failed: Histograms<4>,
    disconnect: Histograms<3>,
    duration: Histograms<3>,
    attempts: Counters<3>,
    results: Counters<5>,
    ended: Counters<1>,
    one_way: Counters<1>,
    one_way_active: Gauges<1>,
    forked: Counters<0>,
    early_media: Counters<0>,
    transfers: Counters<2>,
    registration: Counters<1>,
    registrations: Counters<1>,
    registration_delay: Histograms<0>,
    requests: Counters<1>,
    responses: Counters<2>,
    retransmissions: Counters<0>,
    orphans: Counters<0>,
}

impl SipMetrics {
    pub(super) fn declare(on: &mut Declare) -> Self {
        Self {
            up: on.gauge("voip_calls_active_total", &["tenant", "route", "codec"], "Calls up now: confirmed dialogs, one per call however many hops were seen"),
            active: on.gauge("voip_calls_active", &["state"], "Calls that have not ended, by where they stand"),
            setup: on.histogram("voip_call_setup_duration_seconds", &["tenant", "route"], SETUP, "First INVITE to the first 200; contains the time a human let it ring"),
            post_dial_delay: on.histogram("voip_sip_post_dial_delay_seconds", CALL, POST_DIAL, "First INVITE to the first 180, 181, 182 or 183 (RFC 6076 session request delay, successful)"),
            ring: on.histogram("voip_sip_ring_seconds", CALL, SETUP, "First 18x to the first 200"),
            auth: on.histogram("voip_sip_auth_seconds", CALL, POST_DIAL, "First INVITE to the INVITE repeated with credentials"),
            first_response: on.histogram("voip_sip_first_response_seconds", CALL, RESPONSE, "INVITE to the first response of any kind: how responsive the next hop is"),
            session_request_failed: on.histogram("voip_sip_session_request_failed_seconds", &["tenant", "route", "trunk", "class"], POST_DIAL, "First INVITE to the final failure when no 18x came before (RFC 6076 session request delay, failed)"),
            disconnect: on.histogram("voip_sip_session_disconnect_seconds", CALL, RESPONSE, "BYE to its final response (RFC 6076 session disconnect delay)"),
            duration: on.histogram("voip_sip_session_duration_seconds", CALL, DURATION, "First 200 to BYE (RFC 6076 session duration time)"),
            attempts: on.counter("voip_sip_attempts", CALL, "Call attempts, each counted once however many hops were seen and however often it was challenged"),
            results: on.counter("voip_sip_attempt_results", &["tenant", "route", "trunk", "result", "code"], "Call attempts by their one final outcome and its status code"),
            ended: on.counter("voip_calls_ended", &["reason"], "Answered calls that ended, by how they ended"),
            one_way: on.counter("voip_calls_oneway", &["missing"], "Calls in which one direction carried no media, by the direction that was missing"),
            one_way_active: on.gauge("voip_calls_oneway_active", &["missing"], "Calls up now in which one direction carries no media, by the direction that is missing"),
            forked: on.counter("voip_sip_forked_attempts", &[], "Attempts that reached several places at once"),
            early_media: on.counter("voip_sip_early_media", &[], "Attempts with a session description before the answer"),
            transfers: on.counter("voip_sip_transfers", &["type", "result"], "Transfers by kind and outcome"),
            registration: on.counter("voip_registration", &["state"], "Registration attempts that succeeded or failed; a first challenge is no failure"),
            registrations: on.counter("voip_sip_registrations", &["result"], "Registration attempts by outcome"),
            registration_delay: on.histogram("voip_sip_registration_seconds", &[], RESPONSE, "First REGISTER of an attempt to its 200 (RFC 6076 registration request delay)"),
            requests: on.counter("voip_sip_requests", &["method"], "SIP requests on every hop, retransmissions excluded"),
            responses: on.counter("voip_sip_responses", &["class", "code"], "SIP responses on every hop, retransmissions excluded"),
            retransmissions: on.counter("voip_sip_retransmissions", &[], "SIP messages that repeat an earlier one"),
            orphans: on.counter("voip_sip_orphan_messages", &[], "SIP messages of dialogs whose beginning was not seen"),
        }
    }

    /// An attempt whose outcome is known.
    pub(super) fn attempt(&self, call: &Call, trunk: Option<&str>, exemplars: &mut Exemplars) {
        let labels = || [owned(call.tenant.as_deref()), owned(call.route.as_deref()), owned(trunk)];
        self.attempts.add(labels(), 1);
        if let Some(result) = call.result {
            let [tenant, route, trunk] = labels();
            let code = call.status.map_or("none".into(), code);
            let counted = self.results.add([tenant, route, trunk, result.name().into(), code], 1);
            if matches!(result, CallResult::Failed | CallResult::Timeout | CallResult::NoFinal) {
                let at = call.end.unwrap_or(call.start);
                exemplars.counted(&self.results, counted.as_ref(), exemplar::trace(call), at);
            }
        }
        let [tenant, route, _] = labels();
        self.setup.observe([tenant, route], call.setup);
        for (histogram, value) in
            [(&self.ring, call.ring), (&self.auth, call.auth), (&self.first_response, call.first_response)]
        {
            histogram.observe(labels(), value);
        }
        self.post_dial_delay.observe(labels(), call.post_dial_delay);
        let [tenant, route, trunk] = labels();
        let class = call.status.map_or("none", class);
        self.session_request_failed
            .observe([tenant, route, trunk, class.into()], call.session_request_failed);
        self.forked.add([], u64::from(call.forked));
        self.early_media.add([], u64::from(call.early_media));
    }

    /// What of a call that is over may stand for its bucket.
    pub(super) fn exemplify(&self, call: &Call, trunk: Option<&str>, lead: Lead, exemplars: &mut Exemplars) {
        let labels = || [owned(call.tenant.as_deref()), owned(call.route.as_deref()), owned(trunk)];
        let at = |seconds: f64| call.start.plus_nanos((seconds * 1e9) as i64);
        if let Some(delay) = call.post_dial_delay.filter(|delay| lead.is_told || *delay > LONG_POST_DIAL) {
            let place = self.post_dial_delay.place(labels());
            exemplars.observed(&self.post_dial_delay, &place, lead.trace, delay, at(delay));
        }
        if let Some(setup) = call.setup.filter(|_| lead.is_told) {
            let [tenant, route, _] = labels();
            let place = self.setup.place([tenant, route]);
            exemplars.observed(&self.setup, &place, lead.trace, setup, at(setup));
        }
    }

    /// A call that is over, or the capture is.
    pub(super) fn call(&self, call: &Call, trunk: Option<&str>) {
        let labels = || [owned(call.tenant.as_deref()), owned(call.route.as_deref()), owned(trunk)];
        self.disconnect.observe(labels(), call.disconnect);
        self.duration.observe(labels(), call.duration);
        if let Some(missing) = call.one_way {
            self.one_way.add([missing.name().into()], 1);
        }
        if call.state == CallState::Ended {
            if let Some(reason) = call.end_reason {
                self.ended.add([reason.name().into()], 1);
            }
            return;
        }
        self.active.raise([call.state.name().into()]);
        if call.state == CallState::Confirmed {
            self.up.raise(up(call.tenant.as_deref(), call.route.as_deref(), call.codec));
        }
    }

    /// Calls as they stand.
    pub(super) fn set_live(&self, live: &Live) {
        self.active.clear();
        self.up.clear();
        self.one_way_active.clear();
        for (state, calls) in tally(live.calls.iter().map(|call| call.state)) {
            self.active.raise_by([state.name().into()], calls);
        }
        let confirmed = || live.calls.iter().filter(|call| call.state == CallState::Confirmed);
        let labels = confirmed().map(|call| (call.tenant.as_deref(), call.route.as_deref(), call.codec));
        for ((tenant, route, codec), calls) in tally(labels) {
            self.up.raise_by(up(tenant, route, codec), calls);
        }
        for (missing, calls) in tally(confirmed().filter_map(|call| call.one_way)) {
            self.one_way_active.raise_by([missing.name().into()], calls);
        }
    }

    pub(super) fn registration(&self, registration: &Registration) {
        let Some(result) = registration.result else { return };
        self.registrations.add([result.name().into()], 1);
        match result {
            RegistrationResult::Success => {
                self.registration.add(["success".into()], 1);
            }
            RegistrationResult::Failure | RegistrationResult::Timeout => {
                self.registration.add(["failure".into()], 1);
            }
            RegistrationResult::Redirect | RegistrationResult::Unregister | RegistrationResult::Abandoned => {
            }
        }
        self.registration_delay.observe([], registration.delay);
    }

    pub(super) fn transfer(&self, transfer: &Transfer) {
        let kind = if transfer.attended { "attended" } else { "blind" };
        let result = match transfer.status {
            Some(200..=299) => "success",
            Some(_) => "failure",
            None => "unknown",
        };
        self.transfers.add([kind.into(), result.into()], 1);
    }

    pub(super) fn add(&self, totals: &Totals) {
        for (name, count) in &totals.requests {
            self.requests.add([method(name).into()], *count);
        }
        for (status, count) in &totals.responses {
            self.responses.add([class(*status).into(), code(*status)], *count);
        }
        self.retransmissions.add([], totals.retransmissions);
        self.orphans.add([], totals.orphans);
    }
}

/// Labels of a call that is up.
fn up(tenant: Option<&str>, route: Option<&str>, codec: Option<Codec>) -> [Value; 3] {
    [owned(tenant), owned(route), codec.map_or("unknown", super::media::codec).into()]
}

fn owned(name: Option<&str>) -> Value {
    name.map_or(Value::Borrowed(""), |name| Value::Owned(name.to_owned()))
}

/// A registered method, else `other`.
pub(super) fn method(name: &str) -> &'static str {
    METHODS.iter().copied().find(|known| *known == name).unwrap_or("other")
}

pub(super) fn code(status: u16) -> Value {
    if CODES.binary_search(&status).is_ok() { Value::Owned(status.to_string()) } else { "other".into() }
}

fn class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        6 => "6xx",
        _ => "other",
    }
}

const CALL: &[&str; 3] = &["tenant", "route", "trunk"];

const SETUP: &[f64] = &[1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0];
const POST_DIAL: &[f64] = &[0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 11.0, 16.0, 32.0];
pub(super) const DURATION: &[f64] =
    &[1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0];
/// A post-dial delay above this is worth an exemplar (MEAS 8.4).
const LONG_POST_DIAL: f64 = 5.0;
/// One exchange with the next hop: from a LAN's round trip to 64 * T1.
const RESPONSE: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0];

/// IANA register of SIP methods.
const METHODS: &[&str] = &[
    "ACK",
    "BYE",
    "CANCEL",
    "INFO",
    "INVITE",
    "MESSAGE",
    "NOTIFY",
    "OPTIONS",
    "PRACK",
    "PUBLISH",
    "REFER",
    "REGISTER",
    "SUBSCRIBE",
    "UPDATE",
];

/// IANA register of SIP response codes.
const CODES: &[u16] = &[
    100, 180, 181, 182, 183, 199, 200, 202, 204, 300, 301, 302, 305, 380, 400, 401, 402, 403, 404, 405, 406,
    407, 408, 410, 412, 413, 414, 415, 416, 417, 420, 421, 422, 423, 424, 425, 428, 429, 430, 433, 436, 437,
    438, 439, 440, 469, 470, 480, 481, 482, 483, 484, 485, 486, 487, 488, 489, 491, 493, 494, 500, 501, 502,
    503, 504, 505, 513, 555, 580, 600, 603, 604, 606, 607, 608,
];
