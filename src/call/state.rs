//! What is known of one call.

use super::attempt::Attempt;
use super::classify::Rule;
use super::dialog::{self, Dialogs, Life};
use super::extras::Extras;
use super::gone::Fate;
use super::hop::Hops;
use super::leg::Correlation;
use super::round_trip::RoundTrips;
use super::text::Text;
use super::{Arrival, CallKey, Heard, Settings, Side, classify};
use crate::Stamp;
use crate::event::trail::Trail;
use crate::event::{CallResult, EndReason};
use crate::sip::Message;

/// One attempt and what became of it.
#[derive(Debug)]
pub(super) struct Call {
    /// Fingerprint of (Call-ID, From-tag).
    pub(super) name: u64,
    /// Fingerprint of the Call-ID.
    pub(super) id: u64,
    pub(super) from_tag: u64,
    /// Call-ID, From, To, traceparent.
    pub(super) text: Text<4>,
    pub(super) class: Classes,
    pub(super) round_trips: RoundTrips,
    pub(super) hops: Hops,
    pub(super) attempt: Attempt,
    pub(super) dialogs: Dialogs,
    pub(super) life: Life,
    pub(super) last_message: Stamp,
    pub(super) retransmissions: u32,
    /// REFER or Replaces made it.
    pub(super) transferred: bool,
    /// The call whose place it takes when it is answered.
    pub(super) replaces: Option<CallKey>,
    /// When another call took its place.
    pub(super) replaced: Option<Stamp>,
    pub(super) end: Option<End>,
    pub(super) links: Correlation,
    pub(super) legs: Legs,
    pub(super) extras: Option<Box<Extras>>,
    /// Its transactions, where they are kept.
    pub(super) trail: Option<Box<Trail>>,
    /// The owner was told that it ended.
    pub(super) told: bool,
    /// The owner has its record as an answered call.
    pub(super) answer_told: bool,
    /// Entry in the timers that counts.
    pub(super) armed: Stamp,
}

/// Places of the rules that name tenant and route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Classes {
    pub(super) tenant: Option<u16>,
    pub(super) route: Option<u16>,
}

/// How signalling ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) at: Stamp,
    pub(super) reason: Option<EndReason>,
    pub(super) disconnect_seconds: Option<f64>,
}

/// A call among the legs of its B2BUA.
#[derive(Debug, Default)]
pub(super) struct Legs {
    /// The call of which this one is a leg.
    pub(super) of: Option<CallKey>,
    /// Number of this leg in it, from 1.
    pub(super) number: u8,
    /// Further legs of this call.
    pub(super) joined: Vec<CallKey>,
    /// Their Call-IDs.
    pub(super) call_ids: Vec<Text<1>>,
    /// Address pairs of legs that are over.
    pub(super) pairs: u32,
}

impl Call {
    /// A look at what each of its messages needs, wherever that lies.
    pub(super) fn touch(&self) -> u64 {
        let hop = self.hops.primary();
        let words = [self.from_tag, self.last_message.0, self.armed.0, self.attempt.start.0];
        let rest = [u32::from(hop.destination.port), self.attempt.cseq, self.retransmissions];
        let seen = words.iter().fold(u64::from(self.told), |sum, word| sum ^ word);
        rest.iter().fold(seen, |sum, &word| sum ^ u64::from(word))
    }

    /// When to look at it again; `None` = all is said.
    pub(super) fn deadline(&self) -> Option<Stamp> {
        if self.told {
            return None;
        }
        if let Some(end) = self.end {
            return Some(end.at.plus_seconds(SETTLE));
        }
        if let Some(deadline) = self.attempt.deadline(self.last_message) {
            return Some(deadline);
        }
        if let Some(deadline) = self.dialogs.bye_deadline() {
            return Some(deadline);
        }
        let (deadline, _) = self.life.deadline(self.attempt.start, self.last_message);
        let replaced = self.replaced.map(|at| at.plus_seconds(dialog::NO_BYE_ANSWER));
        Some(replaced.unwrap_or(deadline))
    }

    /// Not over, and no leg of another one.
    pub(super) fn is_live(&self) -> bool {
        self.end.is_none() && !self.told && self.legs.of.is_none()
    }

    pub(super) fn is_from_caller(&self, heard: &Heard<'_>) -> bool {
        if heard.names.from_tag == heard.names.to_tag {
            // RFC 2543 without tags: only the addresses tell the two sides apart.
            return self.hops.primary().is_from_source(heard.at) == heard.is_request();
        }
        heard.names.from_tag == self.from_tag
    }

    /// What a response tells about the way to the one who sent it (MEAS 4.5.3).
    pub(super) fn time_response(&mut self, heard: &Heard<'_>, status: u16, first_invite: bool) {
        match (heard.waited, status) {
            (Some(micros), 100) if first_invite => self.round_trips.trying(heard.m.via_count, micros),
            (Some(micros), _) => {
                let side = if self.is_from_caller(heard) { Side::Callee } else { Side::Caller };
                self.round_trips.answered(heard.cseq.method, side, micros);
            }
            (None, 200..300) if first_invite => self.round_trips.confirmed(heard.m),
            _ => {}
        }
    }

    pub(super) fn last_activity(&self) -> Stamp {
        self.life.media.map_or(self.last_message, |media| media.max(self.last_message))
    }

    /// Whether messages of the call may still come.
    pub(super) fn fate(&self) -> Fate {
        let by_signalling = match (self.end, self.attempt.result) {
            (Some(End { reason: Some(reason), .. }), _) => matches!(
                reason,
                EndReason::Bye | EndReason::Replaced | EndReason::DoesNotExist | EndReason::ReinviteTimeout
            ),
            (Some(_), Some(result)) => matches!(
                result,
                CallResult::Failed | CallResult::Cancelled | CallResult::Redirected | CallResult::Answered
            ),
            _ => false,
        };
        if by_signalling { Fate::Ended } else { Fate::GivenUp }
    }

    pub(super) fn pairs(&self) -> u32 {
        self.hops.pairs() + self.legs.pairs
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.text.bytes()
            + self.hops.bytes()
            + self.dialogs.bytes()
            + self.extras.as_ref().map_or(0, |extras| extras.bytes())
            + self.legs.joined.capacity() * size_of::<CallKey>()
            + self.legs.call_ids.iter().map(|id| id.bytes() + size_of::<Text<1>>()).sum::<usize>()
    }
}

impl Classes {
    pub(super) fn of(settings: &Settings, at: &Arrival, m: &Message<'_>) -> Self {
        Self {
            tenant: classify::first(&settings.tenants, at, m),
            route: classify::first(&settings.routes, at, m),
        }
    }

    /// The same names among other rules.
    pub(super) fn among(self, old: &Settings, new: &Settings) -> Self {
        let place = |old: &[Rule], new: &[Rule], place: Option<u16>| {
            let name = &old.get(usize::from(place?))?.name;
            new.iter().position(|rule| rule.name == *name).map(|place| place as u16)
        };
        Self {
            tenant: place(&old.tenants, &new.tenants, self.tenant),
            route: place(&old.routes, &new.routes, self.route),
        }
    }
}

/// Places in [`Call::text`].
pub(super) const CALL_ID: usize = 0;
pub(super) const FROM: usize = 1;
pub(super) const TO: usize = 2;
pub(super) const TRACEPARENT: usize = 3;

/// No time at all.
pub(super) const NEVER: Stamp = Stamp(u64::MAX);

/// Seconds for which an attempt without answer is kept.
const SETTLE: u64 = 2;

const _: () = assert!(size_of::<Call>() <= 1000, "a live call is to stay below 1.5 kB with its strings");
