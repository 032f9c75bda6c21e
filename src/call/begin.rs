//! How calls begin: initial INVITEs, their hops, and the legs that belong together (MEAS 5.4, 5.9).

use std::net::IpAddr;

use super::attempt::{Attempt, Phase};
use super::dialog::{Dialogs, Life};
use super::hop::{Hops, Noted};
use super::leg::{self, Correlation};
use super::round_trip::RoundTrips;
use super::state::{CALL_ID, Call, Classes, Legs, NEVER};
use super::text::Text;
use super::transaction::Seen;
use super::{CallKey, Calls, Heard, Notice};
use crate::event::EndReason;
use crate::sip::Message;

impl Calls {
    /// The call an initial INVITE belongs to, begun if need be.
    pub(super) fn initial_invite(&mut self, heard: &Heard<'_>, notices: &mut Vec<Notice>) -> Option<CallKey> {
        let (stamp, cseq) = (heard.at.stamp, heard.cseq.number);
        let name = self.fingerprints.attempt(heard.names.call_id, heard.names.from_tag);
        let Some(&key) = self.index.get(&name) else {
            // Sent again after its call was over.
            return if heard.seen == Seen::New { self.begin(name, heard, notices) } else { None };
        };
        if heard.seen == Seen::Retransmission {
            return Some(key);
        }
        let call = self.table.get_mut(key)?;
        if call.attempt.phase == Phase::Over && cseq > call.attempt.cseq {
            // After a redirect, a refusal or a time-out: another attempt (MEAS 5.4).
            self.tell(key, notices);
            return self.begin(name, heard, notices);
        }
        let (vias, attempt) = (heard.m.via_count, &call.attempt);
        let (open, again) = (attempt.is_open(), cseq > attempt.cseq);
        let renewable = !call.told && cseq == attempt.cseq && attempt.phase != Phase::Answered;
        match call.hops.note(heard.at, vias, attempt.start, renewable) {
            Noted::Outer => {
                // The call is as it is seen on its outer hop, which was captured after the inner one.
                self.open += usize::from(call.end.take().is_some());
                call.attempt = Attempt::new(stamp, cseq);
                call.class = Classes::of(&self.settings, heard.at, heard.m);
                call.retransmissions = 0;
                self.counters.hop_invites += 1;
            }
            Noted::Known(hop) if open && again => {
                if hop == 0 {
                    call.attempt.retry(stamp, cseq);
                }
            }
            // The caller turned to another server, with credentials or without.
            Noted::Beside if open && again => {
                call.hops.move_to_last();
                call.attempt.retry(stamp, cseq);
            }
            _ => self.counters.hop_invites += 1,
        }
        Some(key)
    }

    /// A new attempt.
    pub(super) fn begin(
        &mut self,
        name: u64,
        heard: &Heard<'_>,
        notices: &mut Vec<Notice>,
    ) -> Option<CallKey> {
        let (at, m) = (heard.at, heard.m);
        while self.open >= self.limits.calls.max(1) {
            let oldest = self.idlest()?;
            self.counters.calls_evicted += 1;
            self.give_up(oldest, EndReason::Evicted, notices);
        }
        if self.table.len() >= self.limits.calls.saturating_mul(2).max(2) {
            self.counters.calls_refused += 1;
            return None;
        }
        let links = Correlation::of(&self.fingerprints, &self.settings, at, m, heard.names.call_id);
        let key = self.table.insert(Call {
            name,
            id: heard.names.call_id,
            from_tag: heard.names.from_tag,
            text: Text::new([m.call_id, m.from.uri, m.to.uri, m.traceparent]),
            class: Classes::of(&self.settings, at, m),
            round_trips: RoundTrips::default(),
            hops: Hops::new(at, m.via_count),
            attempt: Attempt::new(at.stamp, heard.cseq.number),
            dialogs: Dialogs::default(),
            life: Life::default(),
            last_message: at.stamp,
            retransmissions: 0,
            transferred: !m.referred_by.is_empty() || !m.replaces.is_empty(),
            replaces: self.replaced_by(m),
            replaced: None,
            end: None,
            links,
            legs: Legs::default(),
            extras: None,
            trail: None,
            told: false,
            answer_told: false,
            armed: NEVER,
        });
        self.begin_trail(key, m);
        self.open += 1;
        self.index.insert(name, key);
        self.idle.arm(at.stamp, key);
        let calls = &self.table;
        self.idle.sweep(calls.len(), |_, key| calls.get(key).is_some_and(|call| call.end.is_none()));
        // A transfer is a call of its own, though it may carry on the Session-ID of the one before it.
        if m.referred_by.is_empty() && m.replaces.is_empty() {
            self.link(key, &links, notices);
        }
        Some(key)
    }

    /// Joins a new call with an earlier leg, and enters it for later ones.
    pub(super) fn link(&mut self, key: CallKey, links: &Correlation, notices: &mut Vec<Notice>) {
        let Some(call) = self.table.get(key) else { return };
        let (id, start) = (call.id, call.attempt.start);
        let earlier = links.places().find_map(|(place, guess)| {
            let root = self.root(*self.links.get(&place)?);
            let other = self.table.get(root)?;
            let apart = start.nanos_since(other.attempt.start).abs();
            let fits = other.end.is_none() && !other.told && other.id != id;
            (fits && (!guess || apart <= GUESS_NANOS)).then_some(root)
        });
        for place in links.entries.into_iter().filter(|&place| place != 0) {
            match self.links.get(&place).and_then(|&other| self.table.get(other)) {
                Some(other) if other.end.is_none() => {}
                _ => {
                    self.links.insert(place, key);
                }
            }
        }
        if let Some(earlier) = earlier {
            self.absorb(earlier, key, notices);
        }
    }

    /// Whether a B2BUA can have made one call of the other. The same media alone prove nothing: who plays the same
    /// file into many calls, under the same SSRC each time, may be heard in all of them at once.
    pub(super) fn may_be_legs(&self, one: CallKey, other: CallKey, relay: Option<IpAddr>) -> bool {
        self.legs(one).any(|a| self.legs(other).any(|b| leg::may_be_of_one_call(a, b, relay)))
    }

    /// A call and its further legs that are up.
    fn legs(&self, key: CallKey) -> impl Iterator<Item = &Call> {
        let call = self.table.get(key);
        let joined = call.into_iter().flat_map(|call| &call.legs.joined);
        call.into_iter().chain(joined.filter_map(|&leg| self.table.get(leg)))
    }

    /// Makes a call, with its legs, a leg of another one.
    pub(super) fn absorb(&mut self, kept: CallKey, absorbed: CallKey, notices: &mut Vec<Notice>) {
        if kept == absorbed {
            return;
        }
        let Some(leg) = self.table.get_mut(absorbed) else { return };
        let (joined, call_ids) = (leg.legs.joined.clone(), leg.legs.call_ids.len());
        let Some(call) = self.table.get(kept) else { return };
        if call.legs.call_ids.len() + call_ids + 1 > MAX_LEGS {
            self.counters.legs_refused += 1;
            return;
        }
        let Some(leg) = self.table.get_mut(absorbed) else { return };
        let mut moved = vec![Text::new([leg.text.get(CALL_ID)])];
        moved.append(&mut leg.legs.call_ids);
        let pairs = std::mem::take(&mut leg.legs.pairs);
        leg.legs.joined = Vec::new();
        let over = leg.end.is_some();
        let Some(call) = self.table.get_mut(kept) else { return };
        moved.retain(|id| call.legs.call_ids.iter().all(|known| known.get(0) != id.get(0)));
        call.legs.call_ids.append(&mut moved);
        call.legs.pairs += pairs;
        for key in std::iter::once(absorbed).chain(joined) {
            let Some(call) = self.table.get_mut(kept) else { return };
            call.legs.joined.push(key);
            let number = call.legs.joined.len() as u8;
            if let Some(leg) = self.table.get_mut(key) {
                leg.legs.of = Some(kept);
                leg.legs.number = number;
            }
        }
        self.counters.joined += 1;
        notices.push(Notice::Joined(kept, absorbed));
        if over {
            self.free_leg(absorbed);
        }
    }

    /// The call that an INVITE with Replaces names (RFC 3891): `call-id;to-tag=...;from-tag=...`.
    pub(super) fn replaced_by(&self, m: &Message<'_>) -> Option<CallKey> {
        let mut parts = m.replaces.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let call_id = self.fingerprints.bytes(parts.next().filter(|id| !id.is_empty())?);
        parts.find_map(|part| {
            let (_, tag) = part.split_at_checked(memchr::memchr(b'=', part)? + 1)?;
            let name = self.fingerprints.attempt(call_id, self.fingerprints.tag(tag.trim_ascii()));
            self.index.get(&name).copied()
        })
    }
}

/// Legs of one call, the primary one not counted.
const MAX_LEGS: usize = 14;

/// How far apart the INVITEs of two legs may be where only a guess joins them.
const GUESS_NANOS: i64 = 2_000_000_000;
