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

use std::net::IpAddr;
use std::num::NonZeroU32;

use crate::Stamp;
use crate::event::{self, Binding, Registration, SipTransport, Transfer, Via};
use crate::limits::Limits;
use crate::sip::sdp::Session;
use crate::sip::{CSeq, Message, Method, StartLine};
use crate::wire::Endpoint;

mod attempt;
mod begin;
mod binding;
pub mod classify;
mod counters;
mod dialog;
mod end;
mod extras;
mod fingerprint;
mod follow;
mod gone;
mod hop;
mod leg;
mod pending;
mod record;
mod registration;
mod round_trip;
mod slab;
mod state;
mod text;
mod timer;
mod trail;
mod transaction;
mod transfer;

#[cfg(test)]
mod tests;

use classify::Rule;
pub use counters::{Counters, METHODS, Tally};
use fingerprint::{FingerprintMap, Fingerprints, Names};
use gone::Gone;
use leg::Links;
use registration::Registrations;
use slab::Slab;
use state::{Call, NEVER};
use timer::Timers;
use trail::Referred;
use transaction::{Part, Seen, Transactions};
use transfer::Transfers;

/// All calls and registrations under way.
#[derive(Debug)]
pub struct Calls {
    limits: Limits,
    settings: Settings,
    fingerprints: Fingerprints,
    transactions: Transactions,
    table: Slab<Call>,
    /// Attempts by (Call-ID, From-tag).
    index: FingerprintMap<CallKey>,
    links: Links,
    gone: Gone,
    timers: Timers,
    registrations: Registrations,
    transfers: Transfers,
    referred: Referred,
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
    /// Keep the transactions of each call for its trace.
    pub trails: bool,
}

/// Names one live call; never reused for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey {
    pub(crate) index: u32,
    pub(crate) generation: NonZeroU32,
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
    /// The last binding of an address of record ran out.
    Expired(Binding),
    /// A transfer has an outcome.
    Transfer(Transfer),
}

/// A call as it stands.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    call: &'a Call,
    settings: &'a Settings,
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

impl Calls {
    /// No calls yet.
    pub fn new(limits: &Limits, settings: Settings) -> Self {
        Self {
            settings,
            fingerprints: Fingerprints::default(),
            transactions: Transactions::new(limits.transactions),
            table: Slab::new(),
            index: FingerprintMap::default(),
            links: Links::default(),
            gone: Gone::new(limits.calls),
            timers: Timers::default(),
            registrations: Registrations::new(limits.registrations),
            transfers: Transfers::new(limits.calls.div_ceil(16)),
            referred: Referred::default(),
            idle: Timers::default(),
            open: 0,
            counters: Counters::new(),
            limits: limits.clone(),
        }
    }

    /// Other settings from now on. A call that is up keeps its tenant and its route as long as there is a rule of that
    /// name; which one it is was decided by its first INVITE.
    pub fn reconfigure(&mut self, settings: Settings) {
        for call in self.table.values_mut() {
            call.class = call.class.among(&self.settings, &settings);
        }
        self.settings = settings;
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
        self.named_message(at, m, self.name(at, m), sdp, notices)
    }

    /// What a message is called, to be told with it; `None` when it cannot be used.
    pub(crate) fn name<'a>(&self, at: &Arrival, m: &Message<'a>) -> Option<Named<'a>> {
        let cseq = usable(m)?;
        Some(Named { cseq, names: self.fingerprints.of(at, m, &cseq) })
    }

    /// Draws what a message will need into the cache; the value means nothing.
    pub(crate) fn touch(&self, Named { names, .. }: &Named<'_>) -> u64 {
        let attempt = self.fingerprints.attempt(names.call_id, names.from_tag);
        let call = self.index.get(&attempt).and_then(|&key| self.table.get(key));
        self.transactions.touch(names.transaction) ^ call.map_or(0, Call::touch)
    }

    /// Takes one SIP message under the names it has.
    pub(crate) fn named_message(
        &mut self,
        at: &Arrival,
        m: &Message<'_>,
        named: Option<Named<'_>>,
        sdp: Option<&Session>,
        notices: &mut Vec<Notice>,
    ) -> Option<Routed> {
        let Some(Named { cseq, names }) = named else {
            self.counters.unusable(m);
            return None;
        };
        self.expire(at.stamp, notices);
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
        let (owner, begun) = (transaction.owner(), transaction.has_request());
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
                    Some(owner) if self.table.get(owner).is_some_and(|call| !call.told) => owner,
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
            let Some(call) = self.table.get_mut(key) else { continue };
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
        if let Some(call) = self.table.get_mut(call) {
            call.life.media = call.life.media.max(Some(last));
        }
        self.arm(call, last);
    }

    /// A key pressed by INFO, in the message that was routed here.
    pub fn key_pressed(&mut self, at: &Routed, key: char) {
        if let Some(call) = self.table.get_mut(at.call).filter(|_| !at.retransmission) {
            call.extras.get_or_insert_default().key(key, at.hop);
        }
    }

    /// Participants that a recording's metadata name (SIPREC).
    pub fn participants<'a>(&mut self, at: &Routed, addresses: impl Iterator<Item = &'a [u8]>) {
        if let Some(call) = self.table.get_mut(at.call) {
            call.extras.get_or_insert_default().participants(addresses);
        }
    }

    /// Two calls carry the same media, which passed through `relay` where that is one host: they are legs of one,
    /// if their signalling allows it (MEAS 5.9), which is the answer. The one that began first stays; a
    /// [`Notice::Joined`] says which. Nothing happens to calls that are over or of the same Call-ID.
    pub fn join(
        &mut self,
        one: CallKey,
        other: CallKey,
        relay: Option<IpAddr>,
        notices: &mut Vec<Notice>,
    ) -> bool {
        let (one, other) = (self.root(one), self.root(other));
        let (Some(a), Some(b)) = (self.table.get(one), self.table.get(other)) else { return false };
        if a.id == b.id {
            return true;
        }
        if !self.may_be_legs(one, other, relay) {
            self.counters.coincidences += 1;
            return false;
        }
        if a.told || b.told {
            return true;
        }
        let (kept, absorbed) =
            if (a.attempt.start, one) <= (b.attempt.start, other) { (one, other) } else { (other, one) };
        self.absorb(kept, absorbed, notices);
        true
    }

    /// The record of a call that ended, and its slot back. What media tell is for the caller to fill in.
    pub fn take(&mut self, call: CallKey) -> Option<event::Call> {
        let state = self.table.get(call).filter(|call| call.told)?;
        let mut record = state.record(self.leg_pairs(state), &self.settings);
        for leg in state.legs.joined.clone() {
            let trail = self.table.get_mut(leg).and_then(|leg| leg.trail.take());
            self.add_trail(call, trail);
        }
        record.trail = self.table.get_mut(call).and_then(|call| call.trail.take());
        self.free(call);
        Some(record)
    }

    /// The record of an answered call as it stands, once; of a leg none, for it is no call.
    pub fn answered_record(&mut self, call: CallKey) -> Option<event::Call> {
        let state = self.table.get_mut(call)?;
        let first = state.attempt.result == Some(event::CallResult::Answered) && !state.answer_told;
        if !first || state.legs.of.is_some() {
            return None;
        }
        state.answer_told = true;
        let state = self.table.get(call)?;
        Some(state.record(self.leg_pairs(state), &self.settings))
    }

    /// End of the capture: every call that is not over ends as it stands.
    pub fn finish(&mut self, notices: &mut Vec<Notice>) {
        let rest: Vec<CallKey> = self
            .table
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
        self.table.get(self.root(call)).map(|call| Live { call, settings: &self.settings })
    }

    /// Calls whose signalling is not over, in slot order; legs are part of their call.
    pub fn live(&self) -> impl Iterator<Item = (CallKey, Live<'_>)> {
        self.table
            .iter()
            .filter(|(_, call)| call.is_live())
            .map(|(key, call)| (key, Live { call, settings: &self.settings }))
    }

    /// Whether it is one of [`Self::live`].
    pub fn is_live(&self, call: CallKey) -> bool {
        self.table.get(call).is_some_and(Call::is_live)
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
        let heaps: usize = self.table.iter().map(|(_, call)| call.heap_bytes()).sum();
        let names = self.index.capacity() + self.links.capacity();
        heaps
            + self.table.bytes()
            + names * (size_of::<(u64, CallKey)>() + 1)
            + self.transactions.bytes()
            + self.gone.bytes()
            + self.timers.bytes()
            + self.registrations.bytes()
            + self.transfers.bytes()
            + self.idle.bytes()
    }

    /// Address pairs of the legs of a call that are not over.
    fn leg_pairs(&self, call: &Call) -> u32 {
        call.legs.joined.iter().filter_map(|&leg| self.table.get(leg)).map(Call::pairs).sum()
    }

    fn root(&self, key: CallKey) -> CallKey {
        self.table.get(key).and_then(|call| call.legs.of).unwrap_or(key)
    }
}

/// What a message that can be used is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    cseq: CSeq<'a>,
    names: Names,
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
