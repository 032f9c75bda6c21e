//! Families about HEP: what proxies sent to the agent, and what it sent on.

use crate::capture::hep::Counters as Received;
use crate::export::hep::Counters as Sent;

use super::family::{Counters, Declare, Gauges};

/// What HEP has done since the agent started, and how things stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HepStats {
    /// What came in; `None` where nothing is listened for.
    pub received: Option<Received>,
    /// TCP connections to the listener that are open.
    pub connections: u64,
    /// What went out, by receiver (`udp:homer:9060`).
    pub sent: Vec<(String, Sent)>,
}

#[derive(Debug)]
pub(super) struct HepMetrics {
    records: Counters<0>,
    bytes: Counters<0>,
    refused: Counters<1>,
    accepted: Counters<0>,
    closed: Counters<1>,
    connections: Gauges<0>,
    sent: Counters<1>,
    sent_bytes: Counters<1>,
    lost: Counters<2>,
    waiting: Gauges<1>,
    connected: Gauges<1>,
    connects: Counters<1>,
    failures: Counters<2>,
}

impl HepMetrics {
    pub(super) fn declare(on: &mut Declare) -> Self {
        Self {
            records: on.counter("sidetone_hep_received_records", &[], "HEP records taken from the sockets"),
            bytes: on.counter("sidetone_hep_received_bytes", &[], "Bytes of the HEP records taken"),
            refused: on.counter(
                "sidetone_hep_refused_records",
                &["reason"],
                "HEP records not taken: bad (no HEP, or damaged), truncated, key (wrong or none)",
            ),
            accepted: on.counter(
                "sidetone_hep_accepted_connections",
                &[],
                "TCP connections to the HEP listener that were accepted",
            ),
            closed: on.counter(
                "sidetone_hep_closed_connections",
                &["reason"],
                "TCP connections that the HEP listener turned away (full) or gave up (broken: out of step, slow, idle)",
            ),
            connections: on.gauge(
                "sidetone_hep_connections",
                &[],
                "TCP connections to the HEP listener that are open",
            ),
            sent: on.counter("sidetone_hep_sent_records", PEER, "HEP records sent"),
            sent_bytes: on.counter("sidetone_hep_sent_bytes", PEER, "Bytes of the HEP records sent"),
            lost: on.counter(
                "sidetone_hep_lost_records",
                PEER_REASON,
                "HEP records never sent: full (spool), too_long (for a datagram), refused (nobody listens), end (of \
                 the agent)",
            ),
            waiting: on.gauge("sidetone_hep_spool_bytes", PEER, "Bytes of HEP records that wait to be sent"),
            connected: on.gauge(
                "sidetone_hep_connected",
                PEER,
                "Whether HEP is being sent: 1, or 0 while the receiver is away",
            ),
            connects: on.counter(
                "sidetone_hep_connects",
                PEER,
                "Connections made to send HEP, or sockets for UDP",
            ),
            failures: on.counter(
                "sidetone_hep_connection_failures",
                PEER_REASON,
                "Failures to send HEP: connect (it could not be reached), broken (it closed), stalled (it took nothing)",
            ),
        }
    }

    pub(super) fn set(&self, stats: &HepStats) {
        if let Some(received) = &stats.received {
            self.records.rise_to([], received.records);
            self.bytes.rise_to([], received.bytes);
            self.refused.rise_to(["bad".into()], received.bad);
            self.refused.rise_to(["truncated".into()], received.truncated);
            self.refused.rise_to(["key".into()], received.refused_auth);
            self.accepted.rise_to([], received.connections);
            self.closed.rise_to(["full".into()], received.connections_refused);
            self.closed.rise_to(["broken".into()], received.connections_closed);
            self.connections.set([], stats.connections);
        }
        for (peer, sent) in &stats.sent {
            let peer = || peer.clone().into();
            self.sent.rise_to([peer()], sent.sent);
            self.sent_bytes.rise_to([peer()], sent.sent_bytes);
            self.waiting.set([peer()], sent.waiting_bytes);
            self.connected.set([peer()], u64::from(sent.connected));
            self.connects.rise_to([peer()], sent.connects);
            for (reason, count) in [
                ("full", sent.lost_full),
                ("too_long", sent.lost_too_long),
                ("refused", sent.lost_refused),
                ("end", sent.lost_at_end),
            ] {
                self.lost.rise_to([peer(), reason.into()], count);
            }
            for (reason, count) in
                [("connect", sent.connect_failures), ("broken", sent.breaks), ("stalled", sent.stalls)]
            {
                self.failures.rise_to([peer(), reason.into()], count);
            }
        }
    }
}

const PEER: &[&str; 1] = &["peer"];
const PEER_REASON: &[&str; 2] = &["peer", "reason"];
