//! Round trips by SIP, for calls without RTCP (MEAS 4.5.3).
//!
//! ```text
//! caller ---BYE--> tap -----> callee       request to first response: tap and callee, an upper bound, for
//! caller <--200--- tap <----- callee       the callee needs time to answer
//! ```
//!
//! Of each side the shortest counts. A 100 tells how far a proxy is, as long as no request that goes from end to
//! end was answered; what is no proxy sends 100 only when it is slow (RFC 3261 17.2.1), which tells nothing.

use super::Side;
use crate::sip::{Message, Method};

/// Shortest round trips between the tap and the two parties of a call. Microseconds; 0 = none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrips {
    to_caller: u32,
    to_callee: u32,
    /// INVITE to 100 on the hop farthest from the caller, and that hop's number of Vias.
    trying: u32,
    vias: u16,
    /// The neighbour that sent it is a proxy.
    proxied: bool,
}

impl RoundTrips {
    /// The first response to a request of `method`, sent by `side`.
    pub(super) fn answered(&mut self, method: Method<'_>, side: Side, micros: u32) {
        if matches!(method, Method::Options | Method::Bye | Method::Update | Method::Prack | Method::Info) {
            let shortest = match side {
                Side::Caller => &mut self.to_caller,
                Side::Callee => &mut self.to_callee,
            };
            *shortest = if *shortest == 0 { micros.max(1) } else { micros.clamp(1, *shortest) };
        }
    }

    /// The first 100 to the initial INVITE on a hop.
    pub(super) fn trying(&mut self, vias: u16, micros: u32) {
        if vias > self.vias {
            *self = Self { trying: micros.max(1), vias, proxied: false, ..*self };
        }
    }

    /// The 2xx to it: more proxies recorded their route than the request had come through before this hop.
    pub(super) fn confirmed(&mut self, m: &Message<'_>) {
        if self.trying == 0 || m.via_count != self.vias {
            return;
        }
        let routes = m.header("Record-Route").map(|value| memchr::memchr_iter(b'<', value).count());
        self.proxied |= routes.sum::<usize>() >= usize::from(self.vias);
    }

    /// One-way delay from end to end in seconds: half of each side's round trip.
    pub(super) fn one_way_seconds(&self) -> Option<f64> {
        let to_callee = match self.to_callee {
            0 if self.proxied => self.trying,
            micros => micros,
        };
        let known = self.to_caller > 0 && to_callee > 0;
        known.then(|| (f64::from(self.to_caller) + f64::from(to_callee)) / 2e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_of_each_side_counts_and_both_are_needed() {
        let mut trips = RoundTrips::default();
        trips.answered(Method::Options, Side::Callee, 50_000);
        trips.answered(Method::Bye, Side::Callee, 30_000);
        trips.answered(Method::Info, Side::Callee, 90_000);
        trips.answered(Method::Invite, Side::Caller, 10_000);
        assert_eq!(trips.one_way_seconds(), None);
        trips.answered(Method::Update, Side::Caller, 10_000);
        assert_eq!(trips.one_way_seconds(), Some(0.02));
    }

    #[test]
    fn a_hundred_counts_on_the_farthest_hop_if_a_proxy_sent_it() {
        let answer = |vias: &str, routes: &str| format!("SIP/2.0 200 OK\r\n{vias}{routes}Call-ID: a\r\n\r\n");
        let via = "Via: SIP/2.0/UDP a;branch=z9hG4bK1\r\n";
        let with = |vias: usize, routes: &str| {
            let mut trips = RoundTrips::default();
            trips.answered(Method::Bye, Side::Caller, 10_000);
            trips.trying(1, 400);
            trips.trying(2, 20_000);
            let text = answer(&via.repeat(vias), routes);
            trips.confirmed(&crate::sip::scan(text.as_bytes()).unwrap());
            trips.one_way_seconds()
        };
        assert_eq!(with(2, "Record-Route: <sip:p2;lr>, <sip:p1;lr>\r\n"), Some(0.015));
        assert_eq!(with(2, "Record-Route: <sip:p1;lr>\r\n"), None, "the route of the proxy before this hop");
        assert_eq!(with(1, "Record-Route: <sip:p2;lr>\r\nRecord-Route: <sip:p1;lr>\r\n"), None);
    }
}
