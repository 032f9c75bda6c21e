//! Registration attempts and the bindings they make (RFC 3261 10, MEAS 5.8).
//!
//! An attempt runs from the first REGISTER of a (Call-ID, From-tag) to its outcome, over challenges and 423.
//! A refresh of the same name is a new attempt.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Notice;
use super::counters::Counters;
use super::fingerprint::{FingerprintMap, Fingerprints, Names};
use super::hop::{Hop, SWAP_NANOS};
use super::pending::Pending;
use super::text::Text;
use super::{Arrival, Seen};
use crate::Stamp;
use crate::event::{Registration, RegistrationResult};
use crate::sip::{CSeq, Message, StartLine};

/// Open attempts and live bindings.
#[derive(Debug)]
pub(super) struct Registrations {
    open: Pending<Open>,
    bindings: Bindings,
}

/// An attempt without an outcome.
#[derive(Debug)]
struct Open {
    text: Text<2>,
    /// Primary hop: where the REGISTER had the fewest Vias.
    hop: Hop,
    start: Stamp,
    cseq: u32,
    /// Last 401, 407 or 423, while no REGISTER followed.
    waiting: Option<u16>,
    /// When the last of them came.
    sent_back: Option<Stamp>,
    /// 401 and 407 seen.
    challenges: [bool; 2],
    /// A response came on the primary hop.
    answered: bool,
    aor: u64,
    /// Contact to be bound; 0 = none given, `*` unbinds all.
    contact: Contact,
    expires: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contact {
    None,
    All,
    One(u64),
}

impl Registrations {
    pub(super) fn new(limit: usize) -> Self {
        Self { open: Pending::new(limit, NO_FINAL), bindings: Bindings::new(limit) }
    }

    /// A REGISTER or a response to one, not seen before on its hop.
    pub(super) fn message(
        &mut self,
        at: &Arrival,
        m: &Message<'_>,
        cseq: &CSeq<'_>,
        seen: Seen,
        (fingerprints, names): (&Fingerprints, &Names),
        counters: &mut Counters,
        notices: &mut Vec<Notice>,
    ) {
        if seen != Seen::New {
            return;
        }
        let name = fingerprints.attempt(names.call_id, names.from_tag);
        match m.start {
            StartLine::Request { .. } => self.request(at, m, cseq, name, fingerprints, counters, notices),
            StartLine::Response { status, .. } => {
                if let Some(open) = self.open.get_mut(name)
                    && open.cseq == cseq.number
                    && open.hop.fits(at, m.via_count)
                    && status >= 200
                {
                    self.answer(at, m, status, name, counters, notices);
                }
            }
        }
    }

    /// Ends what had no answer for 32 s; forgets bindings that ran out.
    pub(super) fn expire(&mut self, now: Stamp, notices: &mut Vec<Notice>) {
        while let Some(open) = self.open.expired(now) {
            let result = match open.waiting {
                Some(_) => RegistrationResult::Abandoned,
                None => RegistrationResult::Timeout,
            };
            notices.push(open.record(Some(result), open.waiting, None, None, None));
        }
        self.bindings.expire(now);
    }

    /// End of the capture.
    pub(super) fn finish(&mut self, notices: &mut Vec<Notice>) {
        let open = self.open.drain();
        notices.extend(open.iter().map(|open| open.record(None, open.waiting, None, None, None)));
    }

    /// Bindings that have not run out.
    pub(super) fn bindings(&self) -> usize {
        self.bindings.count
    }

    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.open.bytes() + self.bindings.bytes()
    }

    fn request(
        &mut self,
        at: &Arrival,
        m: &Message<'_>,
        cseq: &CSeq<'_>,
        name: u64,
        fingerprints: &Fingerprints,
        counters: &mut Counters,
        notices: &mut Vec<Notice>,
    ) {
        if let Some(open) = self.open.get_mut(name) {
            let outer = m.via_count < open.hop.vias();
            if cseq.number > open.cseq && !outer && m.via_count == open.hop.vias() {
                open.cseq = cseq.number;
                open.waiting = None;
                open.hop = Hop::new(at, m.via_count);
                (open.contact, open.expires) = wish(m, fingerprints);
                self.open.touch(name, at.stamp);
            } else if outer
                && cseq.number == open.cseq
                && !open.answered
                && at.stamp.nanos_since(open.start).abs() <= SWAP_NANOS
            {
                open.hop = Hop::new(at, m.via_count);
                open.start = at.stamp;
                self.open.touch(name, at.stamp);
            }
            return;
        }
        let (contact, expires) = wish(m, fingerprints);
        let open = Open {
            text: Text::new([m.call_id, m.to.uri]),
            hop: Hop::new(at, m.via_count),
            start: at.stamp,
            cseq: cseq.number,
            waiting: None,
            sent_back: None,
            challenges: [false; 2],
            answered: false,
            aor: fingerprints.bytes(m.to.uri),
            contact,
            expires,
        };
        if let Some(oldest) = self.open.insert(name, at.stamp, open) {
            counters.registrations_evicted += 1;
            notices.push(oldest.record(None, None, None, None, None));
        }
    }

    fn answer(
        &mut self,
        at: &Arrival,
        m: &Message<'_>,
        status: u16,
        name: u64,
        counters: &mut Counters,
        notices: &mut Vec<Notice>,
    ) {
        let Some(open) = self.open.get_mut(name) else { return };
        if open.waiting.is_some() {
            return;
        }
        open.answered = true;
        let result = match status {
            200..=299 => RegistrationResult::Success,
            300..=399 => RegistrationResult::Redirect,
            401 | 407 => {
                counters.challenge(status);
                let [server, proxy] = &mut open.challenges;
                let before = std::mem::replace(if status == 401 { server } else { proxy }, true);
                if before && !m.stale {
                    RegistrationResult::Failure
                } else {
                    open.waiting = Some(status);
                    open.sent_back = Some(at.stamp);
                    return self.open.touch(name, at.stamp);
                }
            }
            // RFC 3261 10.2.8: the client asks again for longer.
            423 => {
                open.waiting = Some(status);
                open.sent_back = Some(at.stamp);
                return self.open.touch(name, at.stamp);
            }
            _ => RegistrationResult::Failure,
        };
        let Some(open) = self.open.remove(name) else { return };
        if result != RegistrationResult::Success {
            notices.push(open.record(Some(result), Some(status), Some(at.stamp), None, None));
            return;
        }
        let unregister = open.expires == Some(0);
        let granted = if unregister { Some(0) } else { m.contact_expires.or(m.expires).or(open.expires) };
        counters.bindings_evicted += self.bindings.bind(open.aor, open.contact, at.stamp, granted);
        let result = if unregister { RegistrationResult::Unregister } else { result };
        let delay = at.stamp.seconds_since(open.start).max(0.0);
        notices.push(open.record(Some(result), Some(status), Some(at.stamp), Some(delay), granted));
    }
}

impl Open {
    fn record(
        &self,
        result: Option<RegistrationResult>,
        status: Option<u16>,
        end: Option<Stamp>,
        delay: Option<f64>,
        expires: Option<u32>,
    ) -> Notice {
        let [call_id, aor] = self.text.strings();
        Notice::Registration(Registration {
            call_id,
            aor,
            source: self.hop.source,
            destination: self.hop.destination,
            transport: self.hop.transport,
            via: self.hop.via,
            result,
            status,
            start: self.start,
            delay,
            expires,
            challenged: self.challenges.contains(&true),
            end,
            sent_back: self.sent_back,
        })
    }
}

/// What a REGISTER asks for: contact and lifetime. The parameter of the contact goes before the header
/// (RFC 3261 10.2.1.1).
fn wish(m: &Message<'_>, fingerprints: &Fingerprints) -> (Contact, Option<u32>) {
    if m.contact_star {
        (Contact::All, m.expires)
    } else if m.contact.uri.is_empty() {
        (Contact::None, m.contact_expires.or(m.expires))
    } else {
        (Contact::One(fingerprints.bytes(m.contact.uri)), m.contact_expires.or(m.expires))
    }
}

/// Bindings by address of record, until they run out.
#[derive(Debug)]
struct Bindings {
    of: FingerprintMap<Vec<(u64, Stamp)>>,
    /// (end, address of record); an entry may be outdated.
    ends: BinaryHeap<Reverse<(Stamp, u64)>>,
    count: usize,
    limit: usize,
}

impl Bindings {
    fn new(limit: usize) -> Self {
        Self { of: FingerprintMap::default(), ends: BinaryHeap::new(), count: 0, limit: limit.max(1) }
    }

    /// A REGISTER was accepted. Returns how many bindings had to make room.
    fn bind(&mut self, aor: u64, contact: Contact, now: Stamp, granted: Option<u32>) -> u64 {
        match (contact, granted) {
            (Contact::None, _) | (Contact::One(_), None) => 0,
            (Contact::All, _) => {
                self.count -= self.of.remove(&aor).map_or(0, |bindings| bindings.len());
                0
            }
            (Contact::One(contact), Some(0)) => {
                self.release(aor, |&(bound, _)| bound != contact);
                0
            }
            (Contact::One(contact), Some(seconds)) => {
                let end = now.plus_seconds(u64::from(seconds));
                let bindings = self.of.entry(aor).or_default();
                if let Some(binding) = bindings.iter_mut().find(|binding| binding.0 == contact) {
                    binding.1 = end;
                } else {
                    if bindings.len() >= MAX_CONTACTS {
                        bindings.remove(0);
                        self.count -= 1;
                    }
                    bindings.push((contact, end));
                    self.count += 1;
                }
                self.ends.push(Reverse((end, aor)));
                self.trim()
            }
        }
    }

    fn expire(&mut self, now: Stamp) {
        while let Some(&Reverse((end, aor))) = self.ends.peek()
            && end <= now
        {
            self.ends.pop();
            self.release(aor, |&(_, end)| end > now);
        }
    }

    /// Keeps the table within its limit: what ends first goes first.
    fn trim(&mut self) -> u64 {
        let before = self.count;
        while self.count > self.limit
            && let Some(Reverse((first, aor))) = self.ends.pop()
        {
            self.release(aor, |&(_, end)| end > first);
        }
        if self.ends.len() > 2 * self.count + SLACK {
            let of = &self.of;
            self.ends.retain(|&Reverse((end, aor))| {
                of.get(&aor).is_some_and(|bindings| bindings.iter().any(|binding| binding.1 == end))
            });
        }
        before.saturating_sub(self.count) as u64
    }

    fn release(&mut self, aor: u64, keep: impl Fn(&(u64, Stamp)) -> bool) {
        let Some(bindings) = self.of.get_mut(&aor) else { return };
        let before = bindings.len();
        bindings.retain(keep);
        self.count -= before - bindings.len();
        if bindings.is_empty() {
            self.of.remove(&aor);
        }
    }

    fn bytes(&self) -> usize {
        self.of.capacity() * (size_of::<(u64, Vec<(u64, Stamp)>)>() + 1)
            + self.count * size_of::<(u64, Stamp)>()
            + self.ends.capacity() * size_of::<(Stamp, u64)>()
    }
}

/// Seconds without a final response, or without credentials after a challenge: timer F.
const NO_FINAL: u64 = 32;

/// Contacts remembered for one address of record.
const MAX_CONTACTS: usize = 32;

const SLACK: usize = 1024;
