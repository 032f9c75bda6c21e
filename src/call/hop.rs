//! One call on several hops (MEAS 5.9): a tap beside a proxy sees each message before and after it.
//!
//! ```text
//! caller --(1 Via)--> proxy --(2 Via)--> callee      the first is the primary hop
//! ```

use super::Arrival;
use super::fingerprint::bits;
use crate::Stamp;
use crate::event::{SipTransport, Via};
use crate::wire::Endpoint;

/// Hops of a call, the primary one first.
#[derive(Debug)]
pub(super) struct Hops {
    primary: Hop,
    others: Vec<Hop>,
}

/// Where an initial INVITE was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hop {
    pub(super) source: Endpoint,
    pub(super) destination: Endpoint,
    /// Via values of the INVITE, and of every response to it, on this hop.
    vias: u16,
    pub(super) transport: SipTransport,
    pub(super) via: Via,
}

impl Hops {
    pub(super) fn new(at: &Arrival, vias: u16) -> Self {
        Self { primary: Hop::new(at, vias), others: Vec::new() }
    }

    pub(super) fn primary(&self) -> &Hop {
        &self.primary
    }

    /// Notes another initial INVITE of the attempt. A hop with fewer Vias than the primary one is nearer to the
    /// caller; captured not much later, it takes its place where that is still possible.
    pub(super) fn note(&mut self, at: &Arrival, vias: u16, start: Stamp, renewable: bool) -> Noted {
        if let Some(known) = self.all().position(|hop| hop.carries_again(at, vias)) {
            return Noted::Known(known as u8);
        }
        let hop = Hop::new(at, vias);
        let soon = at.stamp.nanos_since(start).abs() <= SWAP_NANOS;
        if renewable && soon && vias < self.primary.vias {
            let inner = std::mem::replace(&mut self.primary, hop);
            self.others.insert(0, inner);
            self.others.truncate(MAX_HOPS - 1);
            return Noted::Outer;
        }
        self.others.truncate(MAX_HOPS - 2);
        self.others.push(hop);
        if vias == self.primary.vias { Noted::Beside } else { Noted::Further }
    }

    /// The hop noted last becomes the primary one.
    pub(super) fn move_to_last(&mut self) {
        if let Some(last) = self.others.last_mut() {
            std::mem::swap(&mut self.primary, last);
        }
    }

    /// Hop of a message of the initial INVITE transaction: its Vias say how far it has come.
    pub(super) fn of_invite(&self, at: &Arrival, vias: u16) -> Option<u8> {
        if self.primary.vias == vias && self.primary.pair_rank(at) == Rank::Same {
            return Some(0);
        }
        let best = self.best(|hop| if hop.vias == vias { hop.pair_rank(at) } else { Rank::Other });
        // A server with several addresses may answer from another one.
        best.or_else(|| (self.primary.vias == vias).then_some(0))
    }

    /// Hop of a message inside the dialog, which may come from either side with any number of Vias; `None` on a
    /// path that the INVITE did not take (no Record-Route).
    pub(super) fn of_dialog(&self, at: &Arrival) -> Option<u8> {
        if self.primary.pair_rank(at) == Rank::Same { Some(0) } else { self.best(|hop| hop.pair_rank(at)) }
    }

    /// Distinct address pairs.
    pub(super) fn pairs(&self) -> u32 {
        let distinct = |(index, hop): &(usize, &Hop)| {
            !self.all().take(*index).any(|earlier| earlier.same_pair(hop.source, hop.destination))
        };
        self.all().enumerate().filter(distinct).count() as u32
    }

    pub(super) fn bytes(&self) -> usize {
        self.others.capacity() * size_of::<Hop>()
    }

    fn best(&self, rank: impl Fn(&Hop) -> Rank) -> Option<u8> {
        let mut best = (Rank::Other, 0);
        for (index, hop) in self.all().enumerate() {
            let rank = rank(hop);
            if rank > best.0 {
                best = (rank, index as u8);
            }
        }
        (best.0 > Rank::Other).then_some(best.1)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Hop> {
        std::iter::once(&self.primary).chain(&self.others)
    }
}

/// What an initial INVITE meant to the hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// A hop known before, by number.
    Known(u8),
    /// The new primary hop, nearer to the caller.
    Outer,
    /// A further hop as far from the caller as the primary one.
    Beside,
    /// A further hop.
    Further,
}

/// How well a message fits the address pair of a hop, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Other,
    /// Both addresses, other ports.
    Addresses,
    /// Both addresses and one of the ports: a new connection.
    OnePort,
    Same,
}

impl Hop {
    pub(super) fn new(at: &Arrival, vias: u16) -> Self {
        Self { source: at.source, destination: at.destination, vias, transport: at.transport, via: at.via }
    }

    /// Whether the message comes from the caller's side of this hop.
    pub(super) fn is_from_source(&self, at: &Arrival) -> bool {
        at.source == self.source || (at.destination != self.source && at.source.ip == self.source.ip)
    }

    /// Whether a message of the transaction that began here fits.
    pub(super) fn fits(&self, at: &Arrival, vias: u16) -> bool {
        self.vias == vias && self.pair_rank(at) > Rank::Other
    }

    pub(super) fn vias(&self) -> u16 {
        self.vias
    }

    /// Whether an initial INVITE travels this hop another time, be it on a new connection.
    fn carries_again(&self, at: &Arrival, vias: u16) -> bool {
        self.vias == vias && self.destination == at.destination && bits(self.source.ip) == bits(at.source.ip)
    }

    fn same_pair(&self, a: Endpoint, b: Endpoint) -> bool {
        (self.source == a && self.destination == b) || (self.source == b && self.destination == a)
    }

    fn pair_rank(&self, at: &Arrival) -> Rank {
        let (a, b) = (at.source, at.destination);
        if self.same_pair(a, b) {
            return Rank::Same;
        }
        let one_way = |x: Endpoint, y: Endpoint| {
            if self.source.ip != x.ip || self.destination.ip != y.ip {
                Rank::Other
            } else if self.source.port == x.port || self.destination.port == y.port {
                Rank::OnePort
            } else {
                Rank::Addresses
            }
        };
        one_way(a, b).max(one_way(b, a))
    }
}

/// Hops of one call that are told apart.
pub(super) const MAX_HOPS: usize = 16;

/// How much later the capture may show the outer hop than the inner one.
pub(super) const SWAP_NANOS: i64 = 2_000_000_000;
