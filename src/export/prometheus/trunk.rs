//! Trunks: how many calls each carries, and how many it may (DESIGN 4).
//!
//! ```text
//! trunk "carrier" = 203.0.113.0/24 and 198.51.100.7:5080
//!     INVITE 203.0.113.9:5060 -> 192.0.2.1:5060      carrier, direction in
//!     INVITE 192.0.2.1:5060 -> 198.51.100.7:5080     carrier, direction out
//! ```
//!
//! Matched by the address pair on which the call was first seen, its primary hop. A call holds its place on the
//! trunk from its first INVITE to its end.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::call::classify::Network;
use crate::event::Live;
use crate::wire::Endpoint;

use super::family::{Declare, Gauges};
use super::live::tally;

/// A trunk of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trunk {
    /// What it is called; a label value.
    pub name: String,
    /// Who is at its other end.
    pub peers: Vec<Peer>,
    /// Calls it takes at a time from its other end.
    pub capacity_in: Option<u32>,
    /// Calls it takes at a time to its other end.
    pub capacity_out: Option<u32>,
}

/// The other end of a trunk: `203.0.113.0/24`, `203.0.113.9`, `203.0.113.9:5080`, `[2001:db8::1]:5080`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    network: Network,
    port: Option<u16>,
}

impl Peer {
    fn is(&self, endpoint: Endpoint) -> bool {
        self.port.is_none_or(|port| port == endpoint.port) && self.network.contains(endpoint.ip)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", SocketAddr::new(self.network.base(), port)),
            None => write!(f, "{}", self.network),
        }
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { network: address.ip().to_string().parse()?, port: Some(address.port()) });
        }
        Ok(Self { network: text.parse()?, port: None })
    }
}

/// The trunks of a configuration, in order: the first that fits counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Trunks(Vec<Trunk>);

impl Trunks {
    pub(super) fn new(trunks: Vec<Trunk>) -> Self {
        Self(trunks)
    }

    /// The trunk an endpoint is at the other end of.
    fn of(&self, endpoint: Endpoint) -> Option<&str> {
        let trunk = self.0.iter().find(|trunk| trunk.peers.iter().any(|peer| peer.is(endpoint)));
        trunk.map(|trunk| trunk.name.as_str())
    }

    /// The trunk a call came from, else the one it goes to.
    pub(super) fn of_call(&self, source: Endpoint, destination: Endpoint) -> Option<&str> {
        self.of(source).or_else(|| self.of(destination))
    }
}

#[derive(Debug)]
pub(super) struct TrunkMetrics {
    active: Gauges<2>,
    capacity: Gauges<2>,
}

impl TrunkMetrics {
    pub(super) fn declare(on: &mut Declare) -> Self {
        Self {
            active: on.gauge(
                "voip_trunk_calls_active",
                TRUNK,
                "Calls on each configured trunk, from the first INVITE to the end, by whether they come from it",
            ),
            capacity: on.gauge(
                "voip_trunk_capacity_calls",
                TRUNK,
                "Calls that each configured trunk may carry at a time",
            ),
        }
    }

    /// A trunk without calls has 0 of them: that is known.
    pub(super) fn set(&self, trunks: &Trunks, live: &Live) {
        self.active.clear();
        self.capacity.clear();
        let incoming = tally(live.calls.iter().filter_map(|call| trunks.of(call.source)));
        let outgoing = tally(live.calls.iter().filter_map(|call| trunks.of(call.destination)));
        for trunk in &trunks.0 {
            for (direction, calls, capacity) in
                [("in", &incoming, trunk.capacity_in), ("out", &outgoing, trunk.capacity_out)]
            {
                let labels = || [trunk.name.clone().into(), direction.into()];
                self.active.set(labels(), calls.get(trunk.name.as_str()).copied().unwrap_or(0) as u64);
                if let Some(capacity) = capacity {
                    self.capacity.set(labels(), u64::from(capacity));
                }
            }
        }
    }
}

const TRUNK: &[&str; 2] = &["trunk", "direction"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::samples::endpoint;

    #[test]
    fn peers_are_networks_addresses_and_ports() {
        let fits = |peer: &str, ip: &str, port| peer.parse::<Peer>().unwrap().is(endpoint(ip, port));
        assert!(fits("203.0.113.0/24", "203.0.113.9", 1));
        assert!(fits("203.0.113.9", "203.0.113.9", 5060) && !fits("203.0.113.9", "203.0.113.8", 5060));
        assert!(fits("203.0.113.9:5080", "203.0.113.9", 5080));
        assert!(!fits("203.0.113.9:5080", "203.0.113.9", 5060));
        assert!(fits("[2001:db8::1]:5080", "2001:db8::1", 5080) && !fits("2001:db8::/32", "203.0.113.9", 1));
        for wrong in ["", "carrier", "203.0.113.9/33", "203.0.113.9:99999", "203.0.113.9/24"] {
            assert!(wrong.parse::<Peer>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_call_belongs_to_the_trunk_it_came_from() {
        let trunk = |name: &str, peer: &str| Trunk {
            name: name.into(),
            peers: vec![peer.parse().unwrap()],
            ..Trunk::default()
        };
        let trunks = Trunks::new(vec![trunk("a", "192.0.2.0/25"), trunk("b", "192.0.2.0/24")]);
        let of = |source, destination| {
            trunks.of_call(endpoint(source, 5060), endpoint(destination, 5060)).map(str::to_owned)
        };
        assert_eq!(of("192.0.2.200", "192.0.2.1").as_deref(), Some("b"));
        assert_eq!(of("198.51.100.1", "192.0.2.1").as_deref(), Some("a"));
        assert_eq!(of("198.51.100.1", "198.51.100.2"), None);
    }
}
