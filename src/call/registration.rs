//! Registration attempts and the bindings they make (RFC 3261 10, MEAS 5.8).
//!
//! An attempt runs from the first REGISTER of a (Call-ID, From-tag) to its outcome, over challenges and 423.
//! A refresh of the same name is a new attempt.

use super::Notice;
use super::binding::{Bindings, Contact, Holder};
use super::counters::Counters;
use super::fingerprint::{Fingerprints, Names};
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

    /// Ends what had no answer for 32 s; tells of bindings that ran out.
    pub(super) fn expire(&mut self, now: Stamp, notices: &mut Vec<Notice>) {
        while let Some(open) = self.open.expired(now) {
            let result = match open.waiting {
                Some(_) => RegistrationResult::Abandoned,
                None => RegistrationResult::Timeout,
            };
            notices.push(open.record(Some(result), open.waiting, None, None, None));
        }
        self.bindings.expire(now, |expired| notices.push(Notice::Expired(expired)));
    }

    /// End of the capture.
    pub(super) fn finish(&mut self, notices: &mut Vec<Notice>) {
        let open = self.open.drain();
        notices.extend(open.iter().map(|open| open.record(None, open.waiting, None, None, None)));
    }

    /// Bindings that have not run out.
    pub(super) fn bindings(&self) -> usize {
        self.bindings.len()
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
        let holder = Holder::new(&open.text, &open.hop, at.stamp);
        counters.bindings_evicted += self.bindings.bind(open.aor, open.contact, holder, granted);
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

/// Seconds without a final response, or without credentials after a challenge: timer F.
const NO_FINAL: u64 = 32;
