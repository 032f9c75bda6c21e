//! What the two parties of a call could hear: one-way audio and dead air (MEAS 6.1, 6.2).

use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::Stamp;
use crate::event::{Direction, Missing, why};
use crate::rtp::stream::Stream;
use crate::wire::Endpoint;

/// What one direction of a call brought.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    packets: u64,
    last: Option<Stamp>,
    /// It pauses by silence suppression: nothing for 5 s means nothing.
    pauses: bool,
    /// Seconds without sound up to `last`; `None` where that cannot be told.
    silent_seconds: Option<f64>,
    from: Option<Subnet>,
    to: Option<Subnet>,
}

/// Both directions of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hearing {
    to_caller: Heard,
    to_callee: Heard,
    /// The direction found missing, once (MEAS 6.1).
    pub(crate) one_way: Option<Missing>,
    /// A direction is missing where this tap never sees it: nothing can be said.
    pub(crate) blind: bool,
    /// Both directions were without sound for 10 s at a time, or one for 30 s. `None` until it could be told of both.
    pub(crate) dead_air: Option<bool>,
}

/// Subnet pairs on which media was seen, and when last. A direction never seen there bypasses the tap.
#[derive(Debug, Default)]
pub(crate) struct Visibility {
    seen: HashMap<(Subnet, Subnet), Stamp, RandomState>,
}

/// The first 24 bits of an IPv4 address, the first 64 of an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Subnet(u64);

impl Hearing {
    /// Books what a stream of the call has brought so far.
    pub(crate) fn heard(
        &mut self,
        direction: Option<Direction>,
        stream: &Stream,
        source: Endpoint,
        destination: Endpoint,
        visibility: &mut Visibility,
    ) {
        let heard = match direction {
            Some(Direction::ToCaller) => &mut self.to_caller,
            Some(Direction::ToCallee) => &mut self.to_callee,
            None => return,
        };
        let (from, to) = (Subnet::of(source.ip), Subnet::of(destination.ip));
        // Of several streams the one that flows tells what is heard now.
        if heard.last <= Some(stream.last()) {
            heard.silent_seconds = stream.silent_seconds();
        }
        heard.packets = heard.packets.max(stream.packets());
        heard.last = heard.last.max(Some(stream.last()));
        heard.pauses |= stream.pauses();
        (heard.from, heard.to) = (Some(from), Some(to));
        visibility.saw(from, to, stream.last());
        self.listen();
    }

    /// Looks for dead air: packets flow, but no sound (MEAS 6.2).
    fn listen(&mut self) {
        let (one, other) = (&self.to_caller, &self.to_callee);
        let for_long = |heard: &Heard, seconds| heard.silent_seconds.is_some_and(|silent| silent >= seconds);
        let both_flow =
            one.last.zip(other.last).is_some_and(|(a, b)| a.nanos_since(b).abs() < PATIENCE_NANOS);
        let dead = for_long(one, ALONE_SECONDS)
            || for_long(other, ALONE_SECONDS)
            || both_flow && for_long(one, TOGETHER_SECONDS) && for_long(other, TOGETHER_SECONDS);
        if dead {
            self.dead_air = Some(true);
        } else if one.silent_seconds.is_some() && other.silent_seconds.is_some() {
            self.dead_air.get_or_insert(false);
        }
    }

    /// Looks for a direction that is missing, `answered` at that time and not on hold.
    pub(crate) fn judge(&mut self, now: Stamp, answered: Stamp, visibility: &Visibility) {
        if self.one_way.is_some() || now.nanos_since(answered) < PATIENCE_NANOS {
            return;
        }
        let (missing, other) = if self.to_caller.is_missing(now) && self.to_callee.flows(now) {
            (Missing::ToCaller, self.to_callee)
        } else if self.to_callee.is_missing(now) && self.to_caller.flows(now) {
            (Missing::ToCallee, self.to_caller)
        } else {
            return;
        };
        let (Some(from), Some(to)) = (other.from, other.to) else { return };
        if visibility.shows(to, from, now) {
            self.one_way = Some(missing);
            self.blind = false;
        } else {
            self.blind = true;
        }
    }

    /// Why there is no verdict on one-way audio; `None` where there is one, or both directions were heard.
    pub(crate) fn unjudged(&self, on_hold: bool) -> Option<&'static str> {
        let (one, other) = (&self.to_caller, &self.to_callee);
        let enough = |heard: &Heard| heard.packets >= ENOUGH_PACKETS;
        if self.one_way.is_some() || enough(one) && enough(other) {
            None
        } else if self.blind {
            Some(why::BLIND)
        } else if one.last.or(other.last).is_none() {
            Some(why::NO_MEDIA)
        } else if on_hold {
            Some(why::ON_HOLD)
        } else if one.pauses || other.pauses {
            Some(why::PAUSES)
        } else {
            Some(why::TOO_SHORT)
        }
    }

    /// When media was last heard in either direction.
    pub(crate) fn last(&self) -> Option<Stamp> {
        self.to_caller.last.max(self.to_callee.last)
    }

    /// Was the other direction heard after `stamp`, and this one not, by whatever stream?
    pub(crate) fn only_other_after(&self, direction: Direction, stamp: Stamp) -> bool {
        let (this, other) = match direction {
            Direction::ToCaller => (self.to_caller, self.to_callee),
            Direction::ToCallee => (self.to_callee, self.to_caller),
        };
        other.last > Some(stamp) && this.last <= Some(stamp)
    }
}

impl Heard {
    fn flows(&self, now: Stamp) -> bool {
        self.packets >= ENOUGH_PACKETS && !self.is_silent(now)
    }

    /// Nothing comes, and silence suppression does not explain it.
    fn is_missing(&self, now: Stamp) -> bool {
        self.is_silent(now) && !self.pauses
    }

    fn is_silent(&self, now: Stamp) -> bool {
        self.last.is_none_or(|last| now.nanos_since(last) >= PATIENCE_NANOS)
    }
}

impl Visibility {
    fn saw(&mut self, from: Subnet, to: Subnet, at: Stamp) {
        if self.seen.len() >= MAX_PAIRS && !self.seen.contains_key(&(from, to)) {
            // Whoever sends from so many subnets is not one of ours: begin anew.
            self.seen.clear();
        }
        let last = self.seen.entry((from, to)).or_insert(at);
        *last = at.max(*last);
    }

    fn shows(&self, from: Subnet, to: Subnet, now: Stamp) -> bool {
        self.seen.get(&(from, to)).is_some_and(|&last| now.nanos_since(last) < MEMORY_NANOS)
    }
}

impl Subnet {
    fn of(ip: IpAddr) -> Self {
        Self(match ip {
            IpAddr::V4(ip) => u64::from(u32::from(ip) >> 8),
            IpAddr::V6(ip) => (u128::from(ip) >> 64) as u64,
        })
    }
}

/// MEAS 6.1: a direction is missing when nothing came for this long while the other one flows.
const PATIENCE_NANOS: i64 = 5_000_000_000;
const ENOUGH_PACKETS: u64 = 50;
/// MEAS 6.2: dead air of both directions at a time, and of one while the other has sound or cannot be told.
const TOGETHER_SECONDS: f64 = 10.0;
const ALONE_SECONDS: f64 = 30.0;
/// MEAS 6.1: visibility is remembered for an hour.
const MEMORY_NANOS: i64 = 3_600_000_000_000;
const MAX_PAIRS: usize = 16_384;
