//! Bindings of addresses of record to contacts, until they run out (RFC 3261 10.2.1, MEAS 5.8).
//!
//! An address of record whose last binding runs out without a refresh cannot be reached any more: that is told. One that has
//! another contact left, as a telephone that came back from another port has, can.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::hash_map::Entry;

use super::fingerprint::FingerprintMap;
use super::hop::Hop;
use super::text::Text;
use crate::Stamp;
use crate::event::{Binding, SipTransport, Via};
use crate::wire::Endpoint;

/// What a REGISTER binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contact {
    /// Nothing: it asks.
    None,
    /// `*`: all that is bound.
    All,
    One(u64),
}

/// Who has registered, by the last REGISTER that was accepted.
#[derive(Debug)]
pub(super) struct Holder {
    /// Call-ID and address of record.
    text: Text<2>,
    source: Endpoint,
    destination: Endpoint,
    transport: SipTransport,
    via: Via,
    accepted: Stamp,
}

impl Holder {
    pub(super) fn new(text: &Text<2>, hop: &Hop, accepted: Stamp) -> Self {
        let Hop { source, destination, transport, via, .. } = *hop;
        Self { text: text.clone(), source, destination, transport, via, accepted }
    }

    fn expired(self, end: Stamp) -> Binding {
        let [call_id, aor] = self.text.strings();
        let Self { source, destination, transport, via, accepted, .. } = self;
        Binding { call_id, aor, source, destination, transport, via, accepted, end }
    }
}

/// One address of record.
#[derive(Debug)]
struct Bound {
    holder: Holder,
    /// Contact, and when it runs out.
    contacts: Vec<(u64, Stamp)>,
}

/// Bindings by address of record.
#[derive(Debug)]
pub(super) struct Bindings {
    of: FingerprintMap<Bound>,
    /// (end, address of record); an entry may be outdated.
    ends: BinaryHeap<Reverse<(Stamp, u64)>>,
    count: usize,
    limit: usize,
}

impl Bindings {
    pub(super) fn new(limit: usize) -> Self {
        Self { of: FingerprintMap::default(), ends: BinaryHeap::new(), count: 0, limit: limit.max(1) }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// A REGISTER was accepted. Returns how many bindings had to make room.
    pub(super) fn bind(&mut self, aor: u64, contact: Contact, holder: Holder, granted: Option<u32>) -> u64 {
        match (contact, granted) {
            (Contact::None, _) | (Contact::One(_), None) => 0,
            (Contact::All, _) => {
                self.count -= self.of.remove(&aor).map_or(0, |bound| bound.contacts.len());
                0
            }
            (Contact::One(contact), Some(0)) => {
                self.release(aor, |&(bound, _)| bound != contact);
                0
            }
            (Contact::One(contact), Some(seconds)) => {
                let end = holder.accepted.plus_seconds(u64::from(seconds));
                let contacts = match self.of.entry(aor) {
                    Entry::Occupied(entry) => {
                        let bound = entry.into_mut();
                        bound.holder = holder;
                        &mut bound.contacts
                    }
                    Entry::Vacant(entry) => {
                        &mut entry.insert(Bound { holder, contacts: Vec::new() }).contacts
                    }
                };
                if let Some(known) = contacts.iter_mut().find(|known| known.0 == contact) {
                    known.1 = end;
                } else {
                    if contacts.len() >= MAX_CONTACTS {
                        contacts.remove(0);
                        self.count -= 1;
                    }
                    contacts.push((contact, end));
                    self.count += 1;
                }
                self.ends.push(Reverse((end, aor)));
                self.trim()
            }
        }
    }

    /// Forgets what has run out by `now`, and tells of each address of record that has nothing left.
    pub(super) fn expire(&mut self, now: Stamp, mut tell: impl FnMut(Binding)) {
        while let Some(&Reverse((end, aor))) = self.ends.peek()
            && end <= now
        {
            self.ends.pop();
            if let Some(bound) = self.release(aor, |&(_, end)| end > now) {
                tell(bound.holder.expired(end));
            }
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
                of.get(&aor).is_some_and(|bound| bound.contacts.iter().any(|contact| contact.1 == end))
            });
        }
        before.saturating_sub(self.count) as u64
    }

    /// Keeps some contacts; an address of record that has none left goes, and is returned.
    fn release(&mut self, aor: u64, keep: impl Fn(&(u64, Stamp)) -> bool) -> Option<Bound> {
        let contacts = &mut self.of.get_mut(&aor)?.contacts;
        let before = contacts.len();
        contacts.retain(keep);
        self.count -= before - contacts.len();
        if contacts.is_empty() { self.of.remove(&aor) } else { None }
    }

    pub(super) fn bytes(&self) -> usize {
        let texts: usize = self.of.values().map(|bound| bound.holder.text.bytes()).sum();
        self.of.capacity() * (size_of::<(u64, Bound)>() + 1)
            + texts
            + self.count * size_of::<(u64, Stamp)>()
            + self.ends.capacity() * size_of::<(Stamp, u64)>()
    }
}

/// Contacts remembered for one address of record.
const MAX_CONTACTS: usize = 32;

const SLACK: usize = 1024;
