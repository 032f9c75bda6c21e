//! The same values under the names that dashboards of recording systems know (DESIGN 4), when asked.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use crate::call::classify::Network;
use crate::event::{Call, CallState, Live, StreamCounts, Totals};
use crate::wire::Endpoint;

use super::family::{Counters, Declare, Gauges, Histograms};
use super::sip;

#[derive(Debug)]
pub(super) struct SiprecMetrics {
    active: Gauges<0>,
    sessions: Counters<0>,
    requests: Counters<1>,
    responses: Counters<1>,
    duration: Histograms<0>,
    packets_received: Counters<0>,
    packets_sent: Counters<0>,
    bytes_received: Counters<0>,
    bytes_sent: Counters<0>,
    ports: Gauges<0>,
    ports_max: Gauges<0>,
}

/// Which addresses and media ports are those of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Local {
    pub(super) networks: Vec<Network>,
    pub(super) ports: RangeInclusive<u16>,
}

impl Local {
    fn is(&self, endpoint: Endpoint) -> bool {
        self.networks.iter().any(|network| network.contains(endpoint.ip))
    }
}

impl SiprecMetrics {
    pub(super) fn declare(on: &mut Declare) -> Self {
        Self {
            active: on.gauge("sip_sessions_active", &[], "Alias, when asked for: calls up now"),
            sessions: on.counter("sip_sessions", &[], "Alias, when asked for: calls that were answered"),
            requests: on.counter(
                "sip_requests",
                &["method"],
                "Alias, when asked for, of voip_sip_requests_total",
            ),
            responses: on.counter(
                "sip_responses",
                &["code"],
                "Alias, when asked for, of voip_sip_responses_total",
            ),
            duration: on.histogram(
                "sip_session_duration_seconds",
                &[],
                sip::DURATION,
                "Alias, when asked for, of voip_sip_session_duration_seconds",
            ),
            packets_received: on.counter(
                "rtp_packets_received",
                &[],
                "Alias, when asked for: RTP packets to the local addresses",
            ),
            packets_sent: on.counter(
                "rtp_packets_sent",
                &[],
                "Alias, when asked for: RTP packets from the local addresses",
            ),
            bytes_received: on.counter(
                "rtp_bytes_received",
                &[],
                "Alias, when asked for: IP payload bytes of RTP packets to the local addresses",
            ),
            bytes_sent: on.counter(
                "rtp_bytes_sent",
                &[],
                "Alias, when asked for: IP payload bytes of RTP packets from the local addresses",
            ),
            ports: on.gauge(
                "rtp_ports_allocated",
                &[],
                "Alias, when asked for: local ports of streams of live calls within the configured range, two for each: that of RTP and that of RTCP",
            ),
            ports_max: on.gauge(
                "rtp_ports_configured",
                &[],
                "With the aliases: ports that one local address has for media, the size of the configured range",
            ),
        }
    }

    pub(super) fn answered(&self) {
        self.sessions.add([], 1);
    }

    pub(super) fn call(&self, call: &Call) {
        self.duration.observe([], call.duration);
    }

    pub(super) fn add(&self, totals: &Totals) {
        for (name, count) in &totals.requests {
            self.requests.add([sip::method(name).into()], *count);
        }
        for (status, count) in &totals.responses {
            self.responses.add([sip::code(*status)], *count);
        }
    }

    /// What a stream has counted since it was last told.
    pub(super) fn counted(
        &self,
        local: &Local,
        source: Endpoint,
        destination: Endpoint,
        news: &StreamCounts,
    ) {
        if local.is(destination) {
            self.packets_received.add([], news.packets);
            self.bytes_received.add([], news.bytes);
        }
        if local.is(source) {
            self.packets_sent.add([], news.packets);
            self.bytes_sent.add([], news.bytes);
        }
    }

    pub(super) fn set(&self, local: &Local, live: &Live) {
        let confirmed = live.calls.iter().filter(|call| call.state == CallState::Confirmed);
        self.active.set([], confirmed.count() as u64);
        let of_calls = live.streams.iter().filter(|stream| stream.call.is_some());
        let ends = of_calls.flat_map(|stream| [stream.source, stream.destination]);
        // A relay takes them by pairs, an even one for RTP and the odd one above it for RTCP (RFC 3550 11).
        let pairs: HashSet<_> = ends
            .filter(|end| local.ports.contains(&end.port) && local.is(*end))
            .map(|end| (end.ip, end.port / 2))
            .collect();
        self.ports.set([], 2 * pairs.len() as u64);
        self.ports_max.set([], local.ports.len() as u64);
    }
}
