//! Transactions, attempts, dialogs, registrations: what SIP says about calls (MEAS 5).
//!
//! ```text
//! message -> transaction -> attempt -> dialog -> Notice::Ended -> record
//!            new, sent      outcome    BYE or
//!            again, copy               silence
//! ```
//!
//! A call is an attempt, (Call-ID, From-tag), and the dialogs it makes, on its primary hop. Its other hops and
//! the legs that a B2BUA made of it are part of it. All tables are bounded by [`Limits`]; when calls or
//! registrations are too many, those idle longest are given up and counted.

use crate::Stamp;
use crate::event::{self, CallResult, EndReason, Registration, SipTransport, Transfer, Via};
use crate::limits::Limits;
use crate::sip::sdp::Session;
use crate::sip::{CSeq, Message, Method, StartLine};
use crate::wire::Endpoint;

mod attempt;
pub mod classify;
mod counters;
mod dialog;
mod fingerprint;
mod gone;
mod hop;
mod leg;
mod pending;
mod record;
mod registration;
mod round_trip;
mod slab;
mod text;
mod timer;
mod transaction;
mod transfer;

#[cfg(test)]
mod tests;

use attempt::{Attempt, Phase, Reply};
use classify::Rule;
pub use counters::{Counters, METHODS, Tally};
use dialog::{Closed, Dialogs, Hangup, Life};
use fingerprint::{FingerprintMap, Fingerprints, Names};
use gone::{Fate, Gone};
use hop::{Hops, MAX_HOPS, Noted};
use leg::{Correlation, Links};
use registration::Registrations;
use round_trip::RoundTrips;
use slab::Slab;
use text::Text;
use timer::{HORIZON, Timers};
use transaction::{Part, Seen, Transactions};
use transfer::Transfers;

/// All calls and registrations under way.
#[derive(Debug)]
pub struct Calls {
    limits: Limits,
    settings: Settings,
    fingerprints: Fingerprints,
    transactions: Transactions,
    calls: Slab<Call>,
    /// Attempts by (Call-ID, From-tag).
    index: FingerprintMap<CallKey>,
    links: Links,
    gone: Gone,
    timers: Timers,
    registrations: Registrations,
    transfers: Transfers,
    /// Calls by their last sign of life, or an earlier one.
    idle: Timers,
    /// Calls and legs whose signalling is not over.
    open: usize,
    counters: Counters,
}

/// What the configuration says about calls.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Headers that carry the same value on all legs of a call, or the Call-ID of another leg, best first
    /// (`X-CID`).
    pub correlation_headers: Vec<String>,
    /// Join legs by called user, time and address where nothing better tells.
    pub heuristics: bool,
    /// Whose call it is, by the first rule that fits.
    pub tenants: Vec<Rule>,
    /// Which way it goes, by the first rule that fits.
    pub routes: Vec<Rule>,
}

/// Names one live call; never reused for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// How a message reached the tap.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When.
    pub stamp: Stamp,
    /// Sender on this hop.
    pub source: Endpoint,
    /// Receiver on this hop.
    pub destination: Endpoint,
    /// What carried it.
    pub transport: SipTransport,
    /// Wire or HEP.
    pub via: Via,
}

/// Which party of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Side {
    Caller,
    Callee,
}

/// What a message meant to the owner of the media: where its SDP belongs.
#[derive(Clone, Copy, Debug)]
pub struct Routed {
    /// The call.
    pub call: CallKey,
    /// Who described its media in this message.
    pub side: Side,
    /// Hop on which it was seen, 0 = primary.
    pub hop: u8,
    /// It repeats an earlier message.
    pub retransmission: bool,
}

/// What calls tell their owner.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Answered: first 2xx of the attempt.
    Answered(CallKey, Stamp),
    /// Signalling is over; the record can be taken as soon as its media are closed.
    Ended(CallKey, Stamp),
    /// The second call turned out to be another leg of the first and was absorbed by it.
    Joined(CallKey, CallKey),
    /// A registration attempt is over.
    Registration(Registration),
    /// A transfer has an outcome.
    Transfer(Transfer),
}

/// A call as it stands.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    call: &'a Call,
}

/// How full the tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Calls and legs whose signalling is not over.
    pub calls: usize,
    /// Transactions remembered.
    pub transactions: usize,
    /// Registration attempts without outcome.
    pub registrations: usize,
    /// Bindings that have not run out: active registrations.
    pub bindings: usize,
}

/// One attempt and what became of it.
#[derive(Debug)]
struct Call {
    /// Fingerprint of (Call-ID, From-tag).
    name: u64,
    call_id: u64,
    from_tag: u64,
    /// Call-ID, From, To, traceparent.
    text: Text<4>,
    class: Classes,
    round_trips: RoundTrips,
    hops: Hops,
    attempt: Attempt,
    dialogs: Dialogs,
    life: Life,
    last_message: Stamp,
    retransmissions: u32,
    /// REFER or Replaces made it.
    transferred: bool,
    /// The call whose place it takes when it is answered.
    replaces: Option<CallKey>,
    /// When another call took its place.
    replaced: Option<Stamp>,
    end: Option<End>,
    links: Correlation,
    legs: Legs,
    /// The owner was told that it ended.
    told: bool,
    /// Entry in the timers that counts.
    armed: Stamp,
}

/// Places of the rules that name tenant and route.
#[derive(Clone, Copy, Debug)]
struct Classes {
    tenant: Option<u16>,
    route: Option<u16>,
}

/// How signalling ended.
#[derive(Clone, Copy, Debug)]
struct End {
    at: Stamp,
    reason: Option<EndReason>,
    disconnect_seconds: Option<f64>,
}

/// A call among the legs of its B2BUA.
#[derive(Debug, Default)]
struct Legs {
    /// The call of which this one is a leg.
    of: Option<CallKey>,
    /// Number of this leg in it, from 1.
    number: u8,
    /// Further legs of this call.
    joined: Vec<CallKey>,
    /// Their Call-IDs.
    call_ids: Vec<Text<1>>,
    /// Address pairs of legs that are over.
    pairs: u32,
}

impl Calls {
    /// No calls yet.
    pub fn new(limits: &Limits, settings: Settings) -> Self {
        Self {
            settings,
            fingerprints: Fingerprints::default(),
            transactions: Transactions::new(limits.transactions),
            calls: Slab::new(),
            index: FingerprintMap::default(),
            links: Links::default(),
            gone: Gone::new(limits.calls),
            timers: Timers::default(),
            registrations: Registrations::new(limits.registrations),
            transfers: Transfers::new(limits.calls.div_ceil(16)),
            idle: Timers::default(),
            open: 0,
            counters: Counters::new(),
            limits: limits.clone(),
        }
    }

    /// Takes one SIP message. `None`: it belongs to no call that is followed, or was seen before by the other
    /// of wire and HEP.
    pub fn message(
        &mut self,
        at: &Arrival,
        m: &Message<'_>,
        sdp: Option<&Session>,
        notices: &mut Vec<Notice>,
    ) -> Option<Routed> {
        let Some(cseq) = usable(m) else {
            self.counters.malformed += 1;
            return None;
        };
        self.expire(at.stamp, notices);
        let names = self.fingerprints.of(at, m, &cseq);
        let part = match m.start {
            StartLine::Request { method: Method::Ack, .. } => Part::Ack,
            StartLine::Request { .. } => Part::Request,
            StartLine::Response { status, .. } => Part::Response(status, names.to_tag),
        };
        let transaction = self.transactions.entry(names.transaction, at.stamp);
        let seen = transaction.see(part, at.via);
        if seen == Seen::Copy {
            self.counters.copies += 1;
            return None;
        }
        let (owner, begun) = (transaction.owner, transaction.has_request());
        let waited = transaction.waited(part, seen, at.stamp, at.via);
        self.counters.count(m, cseq.method, seen == Seen::Retransmission);
        let heard = Heard { at, m, cseq, names, seen, waited, sdp };
        match (cseq.method, m.start) {
            (Method::Register, _) => {
                let names = (&self.fingerprints, &heard.names);
                self.registrations.message(at, m, &cseq, seen, names, &mut self.counters, notices);
                None
            }
            (Method::Invite, StartLine::Request { .. }) if heard.names.to_tag == 0 => {
                let key = self.initial_invite(&heard, notices)?;
                self.follow(key, owner, &heard, notices)
            }
            _ => {
                let key = match owner {
                    Some(owner) if self.calls.get(owner).is_some_and(|call| !call.told) => owner,
                    // The request was seen and is of no call: nor is the response.
                    _ if begun && matches!(m.start, StartLine::Response { .. }) => return None,
                    _ => self.find(&heard, notices)?,
                };
                self.follow(key, owner, &heard, notices)
            }
        }
    }

    /// Ends what has waited too long. To be called as packet time goes by; [`Calls::message`] does it too.
    pub fn expire(&mut self, now: Stamp, notices: &mut Vec<Notice>) {
        while let Some((armed, key)) = self.timers.due(now) {
            let Some(call) = self.calls.get_mut(key) else { continue };
            if call.armed != armed {
                continue;
            }
            call.armed = NEVER;
            if let Some(deadline) = call.deadline()
                && deadline < now
            {
                self.overdue(key, deadline, notices);
            }
            self.arm(key, now);
        }
        self.transfers.expire(now, notices);
        self.registrations.expire(now, notices);
    }

    /// The last media packet of a call, at most once a second a call.
    pub fn media_active(&mut self, call: CallKey, last: Stamp) {
        if let Some(call) = self.calls.get_mut(call) {
            call.life.media = call.life.media.max(Some(last));
        }
        self.arm(call, last);
    }

    /// Media show that two calls are legs of one (MEAS 5.9). The one that began first stays; a
    /// [`Notice::Joined`] says which. Nothing happens to calls that are over or of the same Call-ID.
    pub fn join(&mut self, one: CallKey, other: CallKey, notices: &mut Vec<Notice>) {
        let (one, other) = (self.root(one), self.root(other));
        let (Some(a), Some(b)) = (self.calls.get(one), self.calls.get(other)) else { return };
        if a.told || b.told || a.call_id == b.call_id {
            return;
        }
        let (kept, absorbed) =
            if (a.attempt.start, one) <= (b.attempt.start, other) { (one, other) } else { (other, one) };
        self.absorb(kept, absorbed, notices);
    }

    /// The record of a call that ended, and its slot back. What media tell is for the caller to fill in.
    pub fn take(&mut self, call: CallKey) -> Option<event::Call> {
        if !self.calls.get(call)?.told {
            return None;
        }
        let pairs = self.calls.get(call)?.legs.joined.iter();
        let pairs: u32 = pairs.filter_map(|&leg| self.calls.get(leg)).map(Call::pairs).sum();
        let call = self.free(call)?;
        Some(call.record(pairs, &self.settings))
    }

    /// End of the capture: every call that is not over ends as it stands.
    pub fn finish(&mut self, notices: &mut Vec<Notice>) {
        let rest: Vec<CallKey> = self
            .calls
            .iter()
            .filter(|(_, call)| !call.told && call.legs.of.is_none())
            .map(|(key, _)| key)
            .collect();
        for key in rest {
            self.tell(key, notices);
        }
        self.registrations.finish(notices);
        self.transfers.finish(notices);
    }

    /// One call, whatever its state; of a leg the call it belongs to.
    pub fn get(&self, call: CallKey) -> Option<Live<'_>> {
        self.calls.get(self.root(call)).map(|call| Live { call })
    }

    /// Calls whose signalling is not over, in slot order; legs are part of their call.
    pub fn live(&self) -> impl Iterator<Item = (CallKey, Live<'_>)> {
        let live = |call: &Call| call.end.is_none() && !call.told && call.legs.of.is_none();
        self.calls.iter().filter(move |(_, call)| live(call)).map(|(key, call)| (key, Live { call }))
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        counters.transactions_evicted = self.transactions.evicted;
        counters.transfers_evicted = self.transfers.evicted;
        counters
    }

    /// How full the tables are.
    pub fn tables(&self) -> Tables {
        Tables {
            calls: self.open,
            transactions: self.transactions.len(),
            registrations: self.registrations.open(),
            bindings: self.registrations.bindings(),
        }
    }

    /// Memory held, in bytes: an estimate from the sizes of what is in the tables.
    pub fn bytes(&self) -> usize {
        let heaps: usize = self.calls.iter().map(|(_, call)| call.heap_bytes()).sum();
        let names = self.index.capacity() + self.links.capacity();
        heaps
            + self.calls.bytes()
            + names * (size_of::<(u64, CallKey)>() + 1)
            + self.transactions.bytes()
            + self.gone.bytes()
            + self.timers.bytes()
            + self.registrations.bytes()
            + self.transfers.bytes()
            + self.idle.bytes()
    }

    /// The call an initial INVITE belongs to, begun if need be.
    fn initial_invite(&mut self, heard: &Heard<'_>, notices: &mut Vec<Notice>) -> Option<CallKey> {
        let (stamp, cseq) = (heard.at.stamp, heard.cseq.number);
        let name = self.fingerprints.attempt(heard.names.call_id, heard.names.from_tag);
        let Some(&key) = self.index.get(&name) else {
            // Sent again after its call was over.
            return if heard.seen == Seen::New { self.begin(name, heard, notices) } else { None };
        };
        if heard.seen == Seen::Retransmission {
            return Some(key);
        }
        let call = self.calls.get_mut(key)?;
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
    fn begin(&mut self, name: u64, heard: &Heard<'_>, notices: &mut Vec<Notice>) -> Option<CallKey> {
        let (at, m) = (heard.at, heard.m);
        while self.open >= self.limits.calls.max(1) {
            let oldest = self.idlest()?;
            self.counters.calls_evicted += 1;
            self.give_up(oldest, EndReason::Evicted, notices);
        }
        if self.calls.len() >= self.limits.calls.saturating_mul(2).max(2) {
            self.counters.calls_refused += 1;
            return None;
        }
        let links = Correlation::of(&self.fingerprints, &self.settings, at, m, heard.names.call_id);
        let key = self.calls.insert(Call {
            name,
            call_id: heard.names.call_id,
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
            told: false,
            armed: NEVER,
        });
        self.open += 1;
        self.index.insert(name, key);
        self.idle.arm(at.stamp, key);
        let calls = &self.calls;
        self.idle.sweep(calls.len(), |_, key| calls.get(key).is_some_and(|call| call.end.is_none()));
        // A transfer is a call of its own, though it may carry on the Session-ID of the one before it.
        if m.referred_by.is_empty() && m.replaces.is_empty() {
            self.link(key, &links, notices);
        }
        Some(key)
    }

    /// Joins a new call with an earlier leg, and enters it for later ones.
    fn link(&mut self, key: CallKey, links: &Correlation, notices: &mut Vec<Notice>) {
        let Some(call) = self.calls.get(key) else { return };
        let (call_id, start) = (call.call_id, call.attempt.start);
        let earlier = links.places().find_map(|(place, guess)| {
            let root = self.root(*self.links.get(&place)?);
            let other = self.calls.get(root)?;
            let apart = start.nanos_since(other.attempt.start).abs();
            let fits = other.end.is_none() && !other.told && other.call_id != call_id;
            (fits && (!guess || apart <= GUESS_NANOS)).then_some(root)
        });
        for place in links.entries.into_iter().filter(|&place| place != 0) {
            match self.links.get(&place).and_then(|&other| self.calls.get(other)) {
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

    /// Makes a call, with its legs, a leg of another one.
    fn absorb(&mut self, kept: CallKey, absorbed: CallKey, notices: &mut Vec<Notice>) {
        if kept == absorbed {
            return;
        }
        let Some(leg) = self.calls.get_mut(absorbed) else { return };
        let (joined, call_ids) = (leg.legs.joined.clone(), leg.legs.call_ids.len());
        let Some(call) = self.calls.get(kept) else { return };
        if call.legs.call_ids.len() + call_ids + 1 > MAX_LEGS {
            self.counters.legs_refused += 1;
            return;
        }
        let Some(leg) = self.calls.get_mut(absorbed) else { return };
        let mut moved = vec![Text::new([leg.text.get(CALL_ID)])];
        moved.append(&mut leg.legs.call_ids);
        let pairs = std::mem::take(&mut leg.legs.pairs);
        leg.legs.joined = Vec::new();
        let over = leg.end.is_some();
        let Some(call) = self.calls.get_mut(kept) else { return };
        moved.retain(|id| call.legs.call_ids.iter().all(|known| known.get(0) != id.get(0)));
        call.legs.call_ids.append(&mut moved);
        call.legs.pairs += pairs;
        for key in std::iter::once(absorbed).chain(joined) {
            let Some(call) = self.calls.get_mut(kept) else { return };
            call.legs.joined.push(key);
            let number = call.legs.joined.len() as u8;
            if let Some(leg) = self.calls.get_mut(key) {
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

    /// The call of a message inside a dialog, or of one whose request was not seen.
    fn find(&mut self, heard: &Heard<'_>, notices: &mut Vec<Notice>) -> Option<CallKey> {
        let Names { call_id, from_tag, to_tag, .. } = heard.names;
        let request = matches!(heard.m.start, StartLine::Request { .. });
        if request && to_tag == 0 && !matches!(heard.cseq.method, Method::Cancel | Method::Ack | Method::Bye)
        {
            return None;
        }
        let by_caller = self.fingerprints.attempt(call_id, from_tag);
        let by_callee = self.fingerprints.attempt(call_id, to_tag);
        if let Some(&key) = self.index.get(&by_caller).or_else(|| self.index.get(&by_callee)) {
            return Some(key);
        }
        if request && heard.seen == Seen::New {
            let fate = self.gone.get(by_caller).or_else(|| self.gone.get(by_callee));
            self.stray(heard, fate);
            self.refer(heard, notices);
        }
        None
    }

    /// A request of a call that is not followed, or no longer.
    fn stray(&mut self, heard: &Heard<'_>, fate: Option<Fate>) {
        let in_call =
            matches!(heard.cseq.method, Method::Bye | Method::Invite | Method::Update | Method::Prack);
        match fate {
            None if in_call => self.counters.orphans += 1,
            Some(Fate::GivenUp) if heard.cseq.method == Method::Bye => self.counters.late_byes += 1,
            _ => {}
        }
    }

    /// A message of a known call.
    fn follow(
        &mut self,
        key: CallKey,
        owner: Option<CallKey>,
        heard: &Heard<'_>,
        notices: &mut Vec<Notice>,
    ) -> Option<Routed> {
        let (at, m) = (heard.at, heard.m);
        if owner != Some(key) {
            self.transactions.entry(heard.names.transaction, at.stamp).owner = Some(key);
        }
        let call = self.calls.get_mut(key)?;
        let from_caller = call.is_from_caller(heard);
        let initial = if heard.is_request() { heard.names.to_tag == 0 } else { from_caller };
        let first_invite =
            initial && heard.cseq.method == Method::Invite && heard.cseq.number == call.attempt.cseq;
        let hop = if first_invite || heard.cseq.method == Method::Cancel {
            call.hops.of_invite(at, m.via_count)
        } else {
            call.hops.of_dialog(at)
        };
        // What takes a path of its own is not seen on the primary hop, so it counts where it is seen.
        let primary = if first_invite { hop == Some(0) } else { hop.is_none_or(|hop| hop == 0) };
        call.last_message = call.last_message.max(at.stamp);
        if let StartLine::Response { status, .. } = m.start {
            call.time_response(heard, status, first_invite);
        }
        let side = if from_caller == heard.is_request() { Side::Caller } else { Side::Callee };
        if heard.seen == Seen::Retransmission {
            if primary && !call.told {
                call.retransmissions += 1;
            }
        } else {
            if let Some(sdp) = heard.sdp
                && primary
            {
                call.life.describe(side as usize, sdp);
            }
            match m.start {
                StartLine::Request { method, .. } => self.request(key, heard, method, primary),
                StartLine::Response { status, .. } if first_invite => {
                    if primary {
                        self.invite_answered(key, heard, status, notices);
                    }
                }
                StartLine::Response { status, .. } => self.answered(key, heard, status, primary, notices),
            }
            if heard.names.to_tag != 0 {
                self.refer(heard, notices);
            }
        }
        self.arm(key, at.stamp);
        self.routed(key, side, hop.unwrap_or(0), heard.seen == Seen::Retransmission)
    }

    /// Where a message belongs in the view of the owner, who knows nothing of legs.
    fn routed(&self, key: CallKey, side: Side, hop: u8, retransmission: bool) -> Option<Routed> {
        let call = self.calls.get(key)?;
        let Some(of) = call.legs.of else { return Some(Routed { call: key, side, hop, retransmission }) };
        self.calls.get(of)?;
        let hop = call.legs.number.saturating_mul(MAX_HOPS as u8).saturating_add(hop);
        Some(Routed { call: of, side, hop, retransmission })
    }

    fn request(&mut self, key: CallKey, heard: &Heard<'_>, method: Method<'_>, primary: bool) {
        let Some(call) = self.calls.get_mut(key).filter(|_| method == Method::Bye) else { return };
        let tag = heard.callee_tag(call.from_tag);
        call.dialogs.bye(heard.at.stamp, tag, primary);
    }

    /// A response to the INVITE of the attempt, on the primary hop.
    fn invite_answered(&mut self, key: CallKey, heard: &Heard<'_>, status: u16, notices: &mut Vec<Notice>) {
        let stamp = heard.at.stamp;
        let Some(call) = self.calls.get_mut(key) else { return };
        let tag = heard.names.to_tag;
        let attempt = &mut call.attempt;
        let (forked, early_media) = (attempt.forked, attempt.early_media);
        let was_open = attempt.is_open();
        if was_open {
            let waiting = attempt.phase != Phase::Challenged;
            let has_sdp = heard.sdp.is_some();
            attempt.reply(stamp, &Reply { status, tag, stale: heard.m.stale, has_sdp });
            if waiting && matches!(status, 401 | 402 | 407) {
                self.counters.challenge(status);
            }
        } else if attempt.phase == Phase::Answered && call.end.is_none() && matches!(status, 200..300) {
            attempt.note_tag(tag);
        }
        self.counters.forked += u64::from(attempt.forked && !forked);
        self.counters.early_media += u64::from(attempt.early_media && !early_media);
        if let Some(over) = attempt.over.filter(|_| was_open) {
            self.end(key, End { at: over, reason: None, disconnect_seconds: None }, notices);
        } else if attempt.phase == Phase::Answered && call.end.is_none() && matches!(status, 200..300) {
            if call.dialogs.confirm(tag) && !was_open {
                self.counters.forked_answers += 1;
            }
            if was_open {
                call.life.refresh(stamp, heard.m.session_expires);
                let (replaces, leg) = (call.replaces, call.legs.of.is_some());
                if !leg {
                    notices.push(Notice::Answered(key, stamp));
                }
                if let Some(replaced) = replaces {
                    self.replace(replaced, stamp);
                }
            }
        }
    }

    /// An INVITE with Replaces was answered: the dialog it names ends with its own BYE (RFC 3891 3).
    fn replace(&mut self, key: CallKey, at: Stamp) {
        if let Some(call) = self.calls.get_mut(key)
            && call.attempt.phase == Phase::Answered
            && call.end.is_none()
        {
            call.replaced.get_or_insert(at);
            self.arm(key, at);
        }
    }

    /// A response inside the dialog.
    fn answered(
        &mut self,
        key: CallKey,
        heard: &Heard<'_>,
        status: u16,
        primary: bool,
        notices: &mut Vec<Notice>,
    ) {
        let Some(call) = self.calls.get_mut(key) else { return };
        if call.attempt.phase != Phase::Answered || call.end.is_some() {
            return;
        }
        let (stamp, tag) = (heard.at.stamp, heard.callee_tag(call.from_tag));
        match (heard.cseq.method, status) {
            (Method::Bye, _) => match call.dialogs.bye_answered(stamp, tag, status, primary) {
                Closed::Nothing => {}
                Closed::One => self.counters.extra_dialogs_closed += 1,
                Closed::Last(hangup) => self.hang_up(key, hangup, notices),
            },
            (Method::Invite | Method::Update, 200..300) if primary => {
                call.life.refresh(stamp, heard.m.session_expires);
            }
            // RFC 3261 12.2.1.2: these two end the dialog, every other failure leaves it as it was.
            (Method::Invite | Method::Update, 408 | 481) if primary && call.dialogs.has(tag) => {
                if call.dialogs.drop(tag) {
                    let reason =
                        if status == 408 { EndReason::ReinviteTimeout } else { EndReason::DoesNotExist };
                    let end = End { at: stamp, reason: Some(reason), disconnect_seconds: None };
                    self.end(key, end, notices);
                } else {
                    self.counters.extra_dialogs_closed += 1;
                }
            }
            (Method::Invite, 491) if primary => self.counters.glare += 1,
            _ => {}
        }
    }

    fn refer(&mut self, heard: &Heard<'_>, notices: &mut Vec<Notice>) {
        let names = (&self.fingerprints, &heard.names);
        self.transfers.message(heard.at.stamp, heard.m, &heard.cseq, names, notices);
    }

    fn hang_up(&mut self, key: CallKey, hangup: Hangup, notices: &mut Vec<Notice>) {
        let Some(call) = self.calls.get(key) else { return };
        let reason = if call.replaced.is_some() { EndReason::Replaced } else { EndReason::Bye };
        let disconnect_seconds = Some(hangup.disconnect_seconds);
        self.end(key, End { at: hangup.bye, reason: Some(reason), disconnect_seconds }, notices);
    }

    /// A deadline of the call has passed.
    fn overdue(&mut self, key: CallKey, deadline: Stamp, notices: &mut Vec<Notice>) {
        let Some(call) = self.calls.get_mut(key) else { return };
        if call.end.is_some() {
            return self.tell(key, notices);
        }
        if call.attempt.is_open() {
            call.attempt.expire(deadline);
            self.end(key, End { at: deadline, reason: None, disconnect_seconds: None }, notices);
            return self.tell(key, notices);
        }
        if call.dialogs.bye_deadline().is_some()
            && let Some(hangup) = call.dialogs.hang_up()
        {
            return self.hang_up(key, hangup, notices);
        }
        if let Some(at) = call.replaced {
            let end = End { at, reason: Some(EndReason::Replaced), disconnect_seconds: None };
            return self.end(key, end, notices);
        }
        let (_, reason) = call.life.deadline(call.attempt.start, call.last_message);
        self.give_up(key, reason, notices);
    }

    /// Ends a call of which nothing more was heard, at its last sign of life.
    fn give_up(&mut self, key: CallKey, reason: EndReason, notices: &mut Vec<Notice>) {
        let Some(call) = self.calls.get(key) else { return };
        let at = call.last_activity();
        self.end(key, End { at, reason: Some(reason), disconnect_seconds: None }, notices);
        self.tell(key, notices);
    }

    /// Signalling of a call or leg is over. An attempt without answer is kept for the moment in which its final
    /// response is sent again or its outer hop may still come to light; a leg goes without a word.
    fn end(&mut self, key: CallKey, end: End, notices: &mut Vec<Notice>) {
        let Some(call) = self.calls.get_mut(key) else { return };
        if call.end.is_some() || call.told {
            return;
        }
        call.end = Some(end);
        self.open = self.open.saturating_sub(1);
        if call.legs.of.is_some() {
            self.free_leg(key);
        } else if call.attempt.phase == Phase::Answered {
            self.tell(key, notices);
        }
    }

    fn tell(&mut self, key: CallKey, notices: &mut Vec<Notice>) {
        let Some(call) = self.calls.get_mut(key) else { return };
        if call.told || call.legs.of.is_some() {
            return;
        }
        call.told = true;
        let (name, fate) = (call.name, call.fate());
        let at = call.end.map_or(call.last_activity(), |end| end.at);
        notices.push(Notice::Ended(key, at));
        self.forget(key, name, fate);
    }

    /// What comes under this name from now on finds a call that is gone, whenever its record is taken.
    fn forget(&mut self, key: CallKey, name: u64, fate: Fate) {
        if self.index.get(&name) == Some(&key) {
            self.index.remove(&name);
            self.gone.insert(name, fate);
        }
    }

    fn free_leg(&mut self, key: CallKey) {
        if let Some(leg) = self.free(key)
            && let Some(call) = leg.legs.of.and_then(|of| self.calls.get_mut(of))
        {
            call.legs.pairs += leg.pairs();
        }
    }

    fn free(&mut self, key: CallKey) -> Option<Call> {
        let call = self.calls.remove(key)?;
        self.forget(key, call.name, call.fate());
        for place in call.links.entries {
            if self.links.get(&place) == Some(&key) {
                self.links.remove(&place);
            }
        }
        if call.end.is_none() {
            self.open = self.open.saturating_sub(1);
        }
        Some(call)
    }

    /// The call that was idle longest.
    fn idlest(&mut self) -> Option<CallKey> {
        while let Some((noted, key)) = self.idle.pop() {
            let Some(call) = self.calls.get(key).filter(|call| call.end.is_none() && !call.told) else {
                continue;
            };
            let last = call.last_activity();
            if last <= noted {
                return Some(key);
            }
            self.idle.arm(last, key);
        }
        None
    }

    /// Enters the next look at a call unless there is one soon enough.
    fn arm(&mut self, key: CallKey, now: Stamp) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(deadline) = call.deadline() else { return };
        let at = deadline.min(now.plus_seconds(HORIZON));
        if at < call.armed {
            call.armed = at;
            self.timers.arm(at, key);
            let calls = &self.calls;
            self.timers.sweep(calls.len(), |at, key| calls.get(key).is_some_and(|call| call.armed == at));
        }
    }

    /// The call that an INVITE with Replaces names (RFC 3891): `call-id;to-tag=...;from-tag=...`.
    fn replaced_by(&self, m: &Message<'_>) -> Option<CallKey> {
        let mut parts = m.replaces.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let call_id = self.fingerprints.bytes(parts.next().filter(|id| !id.is_empty())?);
        parts.find_map(|part| {
            let (_, tag) = part.split_at_checked(memchr::memchr(b'=', part)? + 1)?;
            let name = self.fingerprints.attempt(call_id, self.fingerprints.tag(tag.trim_ascii()));
            self.index.get(&name).copied()
        })
    }

    fn root(&self, key: CallKey) -> CallKey {
        self.calls.get(key).and_then(|call| call.legs.of).unwrap_or(key)
    }
}

impl Call {
    /// When to look at it again; `None` = all is said.
    fn deadline(&self) -> Option<Stamp> {
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

    fn is_from_caller(&self, heard: &Heard<'_>) -> bool {
        if heard.names.from_tag == heard.names.to_tag {
            // RFC 2543 without tags: only the addresses tell the two sides apart.
            return self.hops.primary().is_from_source(heard.at) == heard.is_request();
        }
        heard.names.from_tag == self.from_tag
    }

    /// What a response tells about the way to the one who sent it (MEAS 4.5.3).
    fn time_response(&mut self, heard: &Heard<'_>, status: u16, first_invite: bool) {
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

    fn last_activity(&self) -> Stamp {
        self.life.media.map_or(self.last_message, |media| media.max(self.last_message))
    }

    /// Whether messages of the call may still come.
    fn fate(&self) -> Fate {
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

    fn pairs(&self) -> u32 {
        self.hops.pairs() + self.legs.pairs
    }

    fn heap_bytes(&self) -> usize {
        self.text.bytes()
            + self.hops.bytes()
            + self.dialogs.bytes()
            + self.legs.joined.capacity() * size_of::<CallKey>()
            + self.legs.call_ids.iter().map(|id| id.bytes() + size_of::<Text<1>>()).sum::<usize>()
    }
}

impl Classes {
    fn of(settings: &Settings, at: &Arrival, m: &Message<'_>) -> Self {
        Self {
            tenant: classify::first(&settings.tenants, at, m),
            route: classify::first(&settings.routes, at, m),
        }
    }
}

/// A message, what it is called and what it is to its transaction.
#[derive(Debug)]
struct Heard<'a> {
    at: &'a Arrival,
    m: &'a Message<'a>,
    cseq: CSeq<'a>,
    names: Names,
    seen: Seen,
    /// Microseconds since the request, of its first response.
    waited: Option<u32>,
    sdp: Option<&'a Session>,
}

impl Heard<'_> {
    fn is_request(&self) -> bool {
        matches!(self.m.start, StartLine::Request { .. })
    }

    /// The tag of the callee's side of the dialog, whoever sends.
    fn callee_tag(&self, caller_tag: u64) -> u64 {
        if self.names.from_tag == caller_tag { self.names.to_tag } else { self.names.from_tag }
    }
}

/// The CSeq of a message that can be keyed: with a Call-ID, and a CSeq and a status that may be.
fn usable<'a>(m: &Message<'a>) -> Option<CSeq<'a>> {
    let cseq = m.cseq?;
    let sound = match m.start {
        StartLine::Request { method, .. } => method == cseq.method,
        StartLine::Response { status, .. } => (100..700).contains(&status),
    };
    (sound && !m.call_id.is_empty()).then_some(cseq)
}

/// Places in [`Call::text`].
const CALL_ID: usize = 0;
const FROM: usize = 1;
const TO: usize = 2;
const TRACEPARENT: usize = 3;

const NEVER: Stamp = Stamp(u64::MAX);

/// Seconds for which an attempt without answer is kept.
const SETTLE: u64 = 2;

/// Legs of one call, the primary one not counted.
const MAX_LEGS: usize = 14;

/// How far apart the INVITEs of two legs may be where only a guess joins them.
const GUESS_NANOS: i64 = 2_000_000_000;

const _: () = assert!(size_of::<Call>() <= 1000, "a live call is to stay below 1.5 kB with its strings");
