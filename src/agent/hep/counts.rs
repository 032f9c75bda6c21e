//! What HEP has done since the agent started, and how its numbers are called.

use crate::capture::hep::Counters as Received;
use crate::export::hep::Counters as Sent;

/// Totals since the start, and how things stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// It listens at all.
    pub listening: bool,
    /// What came in.
    pub received: Received,
    /// TCP connections that are open.
    pub connections: u64,
    /// What went out, by receiver (`udp:homer:9060`).
    pub sent: Vec<(String, Sent)>,
}

/// A family of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// Name of the metric; of a counter without `_total`.
    pub name: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// It only rises.
    pub is_counter: bool,
    /// What it counts.
    pub help: &'static str,
}

/// One number of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Which family.
    pub name: &'static str,
    /// Values of its labels.
    pub labels: Vec<String>,
    /// The number.
    pub value: u64,
}

impl Counts {
    /// Every family there is.
    pub const DESCRIBED: [Described; 13] = [
        counter("sidetone_hep_received_records", &[], "HEP records taken from the sockets"),
        counter("sidetone_hep_received_bytes", &[], "Bytes of the HEP records taken"),
        counter(
            "sidetone_hep_refused_records",
            &["reason"],
            "HEP records not taken: bad (no HEP, or damaged), truncated, key (wrong or none)",
        ),
        counter(
            "sidetone_hep_accepted_connections",
            &[],
            "TCP connections to the HEP listener that were accepted",
        ),
        counter(
            "sidetone_hep_closed_connections",
            &["reason"],
            "TCP connections that the HEP listener turned away (full) or gave up (broken: out of step, slow, idle)",
        ),
        gauge("sidetone_hep_connections", &[], "TCP connections to the HEP listener that are open"),
        counter("sidetone_hep_sent_records", &["peer"], "HEP records sent"),
        counter("sidetone_hep_sent_bytes", &["peer"], "Bytes of the HEP records sent"),
        counter(
            "sidetone_hep_lost_records",
            &["peer", "reason"],
            "HEP records never sent: full (spool), too_long (for a datagram), refused (nobody listens), end (of the agent)",
        ),
        gauge("sidetone_hep_spool_bytes", &["peer"], "Bytes of HEP records that wait to be sent"),
        gauge(
            "sidetone_hep_connected",
            &["peer"],
            "Whether HEP is being sent: 1, or 0 while the receiver is away",
        ),
        counter("sidetone_hep_connects", &["peer"], "Connections made to send HEP, or sockets for UDP"),
        counter(
            "sidetone_hep_connection_failures",
            &["peer", "reason"],
            "Failures to send HEP: connect (it could not be reached), broken (it closed), stalled (it took nothing)",
        ),
    ];

    /// The numbers, in the order of the families. None of those that do not apply.
    pub fn samples(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        let mut sample = |name, labels: &[&str], value| {
            samples.push(Sample {
                name,
                labels: labels.iter().map(|&label| label.to_owned()).collect(),
                value,
            });
        };
        if self.listening {
            let received = &self.received;
            sample("sidetone_hep_received_records", &[], received.records);
            sample("sidetone_hep_received_bytes", &[], received.bytes);
            sample("sidetone_hep_refused_records", &["bad"], received.bad);
            sample("sidetone_hep_refused_records", &["truncated"], received.truncated);
            sample("sidetone_hep_refused_records", &["key"], received.refused_auth);
            sample("sidetone_hep_accepted_connections", &[], received.connections);
            sample("sidetone_hep_closed_connections", &["full"], received.connections_refused);
            sample("sidetone_hep_closed_connections", &["broken"], received.connections_closed);
            sample("sidetone_hep_connections", &[], self.connections);
        }
        for (name, reason, value) in SENDING {
            for (peer, sent) in &self.sent {
                let labels = [peer.as_str(), reason];
                sample(name, if reason.is_empty() { &labels[..1] } else { &labels }, value(sent));
            }
        }
        samples
    }
}

/// Name, reason where the family has one, and the number, of what is told of each receiver.
const SENDING: [(&str, &str, fn(&Sent) -> u64); 12] = [
    ("sidetone_hep_sent_records", "", |sent| sent.sent),
    ("sidetone_hep_sent_bytes", "", |sent| sent.sent_bytes),
    ("sidetone_hep_lost_records", "full", |sent| sent.lost_full),
    ("sidetone_hep_lost_records", "too_long", |sent| sent.lost_too_long),
    ("sidetone_hep_lost_records", "refused", |sent| sent.lost_refused),
    ("sidetone_hep_lost_records", "end", |sent| sent.lost_at_end),
    ("sidetone_hep_spool_bytes", "", |sent| sent.waiting_bytes),
    ("sidetone_hep_connected", "", |sent| u64::from(sent.connected)),
    ("sidetone_hep_connects", "", |sent| sent.connects),
    ("sidetone_hep_connection_failures", "connect", |sent| sent.connect_failures),
    ("sidetone_hep_connection_failures", "broken", |sent| sent.breaks),
    ("sidetone_hep_connection_failures", "stalled", |sent| sent.stalls),
];

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Described {
    Described { name, labels, is_counter: true, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Described {
    Described { name, labels, is_counter: false, help }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_samples_in_its_order_and_with_its_labels() {
        let peers = ["udp:a:9060", "tcp:b:9060"].map(|peer| (peer.to_owned(), Sent::default()));
        let counts = Counts { listening: true, sent: peers.to_vec(), ..Counts::default() };
        let samples = counts.samples();
        let mut names: Vec<_> = samples.iter().map(|sample| sample.name).collect();
        names.dedup();
        assert_eq!(names, Counts::DESCRIBED.map(|family| family.name));
        for sample in &samples {
            let family = Counts::DESCRIBED.iter().find(|family| family.name == sample.name).unwrap();
            assert_eq!(sample.labels.len(), family.labels.len(), "{}", sample.name);
        }
        assert!(Counts::default().samples().is_empty(), "what is not used is not told");
    }
}
