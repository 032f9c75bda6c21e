//! What was already seen of each SIP transaction (RFC 3261 17, MEAS 5.1): retransmissions, and the same
//! message seen both on the wire and by HEP.
//!
//! Two generations of a table: what is touched moves to the young one, and every [`GENERATION`] seconds, or
//! when the young one has half of the limit, the old one is forgotten. So a transaction is known for at least
//! 64 s after its last message: longer than any retransmission (64*T1 = 32 s) and than the minute after which a
//! ringing server repeats its provisional response (RFC 3261 13.3.1.1).

use std::num::NonZeroU32;

use hashbrown::HashTable;

use super::CallKey;
use crate::Stamp;
use crate::event::Via;

/// Recent transactions.
#[derive(Debug)]
pub(super) struct Transactions {
    young: Generation,
    old: Generation,
    began: Stamp,
    half: usize,
    /// Forgotten before their time because the table was full.
    pub(super) evicted: u64,
}

/// Transactions in the order in which they came, so that those of the moment lie together, and where to find each.
#[derive(Debug, Default)]
struct Generation {
    entries: Vec<(u64, Transaction)>,
    places: HashTable<Place>,
}

/// Half of a name, and the place of the entry that bears it.
#[derive(Clone, Copy, Debug)]
struct Place {
    half_name: u32,
    index: u32,
}

/// One transaction on one hop. There are more of them than of anything else, so each, with its name, is as large as a
/// cache line.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    owner: Owner,
    /// First request, microseconds modulo 2^32: a transaction is forgotten long before that comes round.
    sent: u32,
    request: Sightings,
    ack: Sightings,
    next: u8,
    responses: [Response; FEW],
    /// Those of a fork.
    further: Option<Box<[Response; RESPONSES - FEW]>>,
}

/// The call a transaction belongs to. No call has generation 0: that is none.
#[derive(Clone, Copy, Debug, Default)]
struct Owner {
    index: u32,
    generation: u32,
}

/// What a message is to its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Not seen before.
    New,
    /// Sent again.
    Retransmission,
    /// The same message by the other way, wire or HEP.
    Copy,
}

/// What of a message tells it from others of its transaction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Request,
    Ack,
    /// Status code and fingerprint of the To-tag.
    Response(u16, u64),
}

/// How often a message arrived by wire and by HEP. The two ways show the same messages, so the larger number
/// is how often it was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Sightings {
    wire: u8,
    hep: u8,
}

/// A (status, To-tag) pair; of the tag half a fingerprint is enough to tell the few of one transaction apart.
#[derive(Clone, Copy, Debug, Default)]
struct Response {
    tag: u32,
    status: u16,
    sightings: Sightings,
}

impl Transactions {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            young: Generation::default(),
            old: Generation::default(),
            began: Stamp(0),
            half: (limit / 2).max(1),
            evicted: 0,
        }
    }

    /// The transaction of this name, made if need be.
    pub(super) fn entry(&mut self, name: u64, now: Stamp) -> &mut Transaction {
        let age = now.nanos_since(self.began);
        if age > GENERATION || self.young.len() >= self.half {
            if age <= GENERATION {
                self.evicted += self.old.len() as u64;
            }
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            if age > 2 * GENERATION {
                self.old.clear();
            }
            self.began = now;
        }
        let Self { young, old, .. } = self;
        let index =
            young.find(name).unwrap_or_else(|| young.insert(name, old.take(name).unwrap_or_default()));
        &mut young.entries[index].1
    }

    /// A look at the transaction of this name.
    pub(super) fn touch(&self, name: u64) -> u64 {
        self.young
            .find(name)
            .and_then(|index| self.young.entries.get(index))
            .map_or(0, |known| u64::from(known.1.sent))
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.young.bytes() + self.old.bytes()
    }
}

impl Generation {
    fn find(&self, name: u64) -> Option<usize> {
        let is = |place: &Place| {
            place.half_name == name as u32
                && self.entries.get(place.index as usize).is_some_and(|&(known, _)| known == name)
        };
        self.places.find(Place::hash(name as u32), is).map(|place| place.index as usize)
    }

    /// Enters one that is not there, and says where.
    fn insert(&mut self, name: u64, transaction: Transaction) -> usize {
        let index = self.entries.len();
        self.entries.push((name, transaction));
        let (half_name, hash) = (name as u32, |place: &Place| Place::hash(place.half_name));
        self.places.insert_unique(Place::hash(half_name), Place { half_name, index: index as u32 }, hash);
        index
    }

    /// Takes one out. Its entry stays behind, empty and not to be found.
    fn take(&mut self, name: u64) -> Option<Transaction> {
        let index = self.find(name)?;
        let place = self.places.find_entry(Place::hash(name as u32), |place| place.index as usize == index);
        place.ok()?.remove();
        self.entries.get_mut(index).map(|(_, transaction)| std::mem::take(transaction))
    }

    fn len(&self) -> usize {
        self.places.len()
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.places.clear();
    }

    fn bytes(&self) -> usize {
        let forks = self.entries.iter().filter(|(_, known)| known.further.is_some()).count();
        self.entries.capacity() * size_of::<(u64, Transaction)>()
            + self.places.capacity() * (size_of::<Place>() + 1)
            + forks * size_of::<[Response; RESPONSES - FEW]>()
    }
}

impl Place {
    /// A name is a hash, and so is half of it; the table looks at both ends of one.
    fn hash(half_name: u32) -> u64 {
        u64::from(half_name) | u64::from(half_name) << 32
    }
}

impl Transaction {
    /// The call it belongs to.
    pub(super) fn owner(&self) -> Option<CallKey> {
        let Owner { index, generation } = self.owner;
        NonZeroU32::new(generation).map(|generation| CallKey { index, generation })
    }

    pub(super) fn belongs_to(&mut self, call: CallKey) {
        self.owner = Owner { index: call.index, generation: call.generation.get() };
    }

    /// Notes a message and says what it is.
    pub(super) fn see(&mut self, part: Part, via: Via) -> Seen {
        let sightings = match part {
            Part::Request => &mut self.request,
            Part::Ack => &mut self.ack,
            Part::Response(status, tag) => self.response(status, tag),
        };
        sightings.add(via)
    }

    /// Microseconds from the request to its first response, if `part` is that one and neither was sent twice:
    /// it would be unknown which one was answered. Wire and HEP do not share a clock.
    pub(super) fn waited(&mut self, part: Part, seen: Seen, at: Stamp, via: Via) -> Option<u32> {
        if seen != Seen::New {
            return None;
        }
        let micros = (at.0 / 1000) as u32;
        let once = match via {
            Via::Wire => (self.request.wire, self.request.hep) == (1, 0),
            Via::Hep => (self.request.wire, self.request.hep) == (0, 1),
        };
        match part {
            Part::Request => self.sent = micros,
            Part::Response(..) if once && self.next == 1 => {
                return Some(micros.wrapping_sub(self.sent)).filter(|&waited| waited <= LONGEST_WAIT);
            }
            _ => {}
        }
        None
    }

    /// Whether the request itself was seen.
    pub(super) fn has_request(&self) -> bool {
        self.request.wire > 0 || self.request.hep > 0
    }

    fn response(&mut self, status: u16, tag: u64) -> &mut Sightings {
        let tag = (tag >> 32) as u32;
        let is = |known: &Response| known.status == status && known.tag == tag;
        let known = self.responses.iter().position(is).or_else(|| {
            let further = self.further.as_ref()?.iter().position(is)?;
            Some(further + FEW)
        });
        let place = known.unwrap_or_else(|| {
            // A fork with more answers than places forgets the first ones.
            let place = usize::from(self.next) % RESPONSES;
            self.next = self.next.wrapping_add(1);
            *self.place(place) = Response { tag, status, sightings: Sightings::default() };
            place
        });
        &mut self.place(place).sightings
    }

    fn place(&mut self, place: usize) -> &mut Response {
        match place.checked_sub(FEW) {
            None => &mut self.responses[place],
            Some(further) => &mut self.further.get_or_insert_default()[further],
        }
    }
}

impl Sightings {
    fn add(&mut self, via: Via) -> Seen {
        let (here, there) = match via {
            Via::Wire => (&mut self.wire, self.hep),
            Via::Hep => (&mut self.hep, self.wire),
        };
        *here = here.saturating_add(1);
        if *here <= there {
            Seen::Copy
        } else if *here > 1 || there > 0 {
            Seen::Retransmission
        } else {
            Seen::New
        }
    }
}

/// Nanoseconds after which a generation is old.
const GENERATION: i64 = 64_000_000_000;

/// Microseconds beyond which nobody would take it for the way of a packet (MEAS 2.4).
const LONGEST_WAIT: u32 = 10_000_000;

/// (status, To-tag) pairs remembered: 100, 180, 183 and 200 of two branches.
const RESPONSES: usize = 7;

/// As many as nearly all transactions have.
const FEW: usize = 3;

const _: () = assert!(size_of::<(u64, Transaction)>() <= 64, "a transaction is to stay compact");

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn wire_and_hep_show_one_message() {
        let mut transaction = Transaction::default();
        let mut see = |via| transaction.see(Part::Response(180, 7 << 40), via);
        assert_eq!(see(Via::Wire), Seen::New);
        assert_eq!(see(Via::Hep), Seen::Copy);
        assert_eq!(see(Via::Hep), Seen::Retransmission);
        assert_eq!(see(Via::Wire), Seen::Copy);
        assert_eq!(see(Via::Wire), Seen::Retransmission);
    }

    #[test]
    fn only_the_first_response_to_a_request_sent_once_is_timed() {
        let mut transaction = Transaction::default();
        let mut at = |part, micros: u64, via| {
            let seen = transaction.see(part, via);
            // Close to where the count of microseconds comes round.
            transaction.waited(part, seen, Stamp(((1 << 32) - 50 + micros) * 1000), via)
        };
        assert_eq!(at(Part::Request, 0, Via::Wire), None);
        assert_eq!(at(Part::Response(100, 0), 70, Via::Wire), Some(70));
        assert_eq!(at(Part::Response(200, 0), 90, Via::Wire), None);
        let mut again = Transaction::default();
        for (part, via, waited) in
            [(Part::Request, Via::Hep, None), (Part::Response(200, 0), Via::Wire, None)]
        {
            let seen = again.see(part, via);
            assert_eq!(again.waited(part, seen, Stamp(5000), via), waited);
        }
        let mut resent = Transaction::default();
        for part in [Part::Request, Part::Request, Part::Response(200, 0)] {
            let seen = resent.see(part, Via::Wire);
            assert_eq!(resent.waited(part, seen, Stamp(5000), Via::Wire), None);
        }
    }

    #[test]
    fn another_status_or_tag_is_another_response() {
        let mut transaction = Transaction::default();
        let mut see = |status, tag: u64| transaction.see(Part::Response(status, tag << 32), Via::Wire);
        assert_eq!(see(180, 1), Seen::New);
        assert_eq!(see(180, 2), Seen::New);
        assert_eq!(see(200, 1), Seen::New);
        assert_eq!(see(180, 1), Seen::Retransmission);
    }

    #[test]
    fn more_branches_than_places_stay_in_place() {
        let mut transaction = Transaction::default();
        for tag in 0..1000_u64 {
            assert_eq!(transaction.see(Part::Response(200, tag << 32), Via::Wire), Seen::New);
        }
    }

    #[test]
    fn a_transaction_is_known_for_a_generation_and_forgotten_after_two() {
        let mut transactions = Transactions::new(100);
        let mut see = |now: u64| transactions.entry(9, Stamp(now * SECOND)).see(Part::Request, Via::Wire);
        assert_eq!(see(1000), Seen::New);
        assert_eq!(see(1064), Seen::Retransmission);
        assert_eq!(see(1128), Seen::Retransmission);
        assert_eq!(see(1257), Seen::New, "nothing came for two generations");
        transactions.entry(1, Stamp(1330 * SECOND));
        transactions.entry(1, Stamp(1400 * SECOND));
        assert_eq!(transactions.entry(9, Stamp(1401 * SECOND)).see(Part::Request, Via::Wire), Seen::New);
        assert_eq!(transactions.evicted, 0);
    }

    #[test]
    fn a_flood_stays_within_the_limit_and_is_counted() {
        let mut transactions = Transactions::new(1000);
        for name in 0..100_000_u64 {
            transactions.entry(name.wrapping_mul(0x9e37_79b9_7f4a_7c15), Stamp(name));
            assert!(transactions.len() <= 1000);
        }
        assert_eq!(transactions.evicted, 99_000);
    }
}
