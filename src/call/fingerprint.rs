//! Names of transactions, attempts and dialogs as seeded 64-bit fingerprints.
//!
//! Call-IDs, branches and tags are chosen by whoever sends them, so they are hashed with a seed of this
//! process and never stored for look-up. Of 400,000 open transactions a wrong match has a chance of 2e-14 a
//! message: results do not depend on the seed.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::net::IpAddr;

use foldhash::quality::RandomState;

use super::Arrival;
use super::counters::method_index;
use crate::sip::{CSeq, Message, Method};

/// A table keyed by fingerprints, which need no second hashing.
pub(super) type FingerprintMap<V> = hashbrown::HashMap<u64, V, BuildHasherDefault<AsIs>>;

/// What one message is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    /// Call-ID.
    pub(super) call_id: u64,
    /// From-tag; 0 = absent.
    pub(super) from_tag: u64,
    /// To-tag; 0 = absent.
    pub(super) to_tag: u64,
    /// The transaction on this hop (MEAS 5.1).
    pub(super) transaction: u64,
}

/// Makes fingerprints.
#[derive(Debug, Default)]
pub(super) struct Fingerprints(RandomState);

impl Fingerprints {
    /// Names of a message.
    ///
    /// The transaction is (Call-ID, From-tag, branch, sent-by, CSeq, both addresses of the hop without ports):
    /// a response returns to the port of the Via, which need not be the one the request came from. Call-ID,
    /// From-tag and CSeq are part of it for all, so that branches without the magic cookie (RFC 2543), absent
    /// ones and those reused by broken stacks need no rule of their own.
    pub(super) fn of(&self, at: &Arrival, m: &Message<'_>, cseq: &CSeq<'_>) -> Names {
        let call_id = self.bytes(m.call_id);
        let from_tag = self.tag(m.from.tag);
        let mut hasher = self.0.build_hasher();
        hasher.write_u64(call_id);
        hasher.write_u64(from_tag);
        if let Some(via) = &m.via {
            hasher.write_u64(via.branch.len() as u64);
            hasher.write(via.branch);
            hasher.write(via.sent_by);
        }
        if let (IpAddr::V4(source), IpAddr::V4(destination)) = (at.source.ip, at.destination.ip) {
            let (low, high) = ordered(source.to_bits(), destination.to_bits());
            hasher.write_u64(u64::from(low) << 32 | u64::from(high));
        } else {
            let (low, high) = ordered(bits(at.source.ip), bits(at.destination.ip));
            hasher.write_u128(low);
            hasher.write_u128(high);
        }
        let method = match cseq.method {
            // An ACK to a non-2xx final belongs to the INVITE it acknowledges (RFC 3261 17.1.1.3).
            Method::Ack => method_index(Method::Invite),
            Method::Other(name) => {
                hasher.write(name);
                method_index(cseq.method)
            }
            method => method_index(method),
        };
        hasher.write_u64(u64::from(cseq.number) << 32 | method as u64);
        Names { call_id, from_tag, to_tag: self.tag(m.to.tag), transaction: hasher.finish() }
    }

    /// A tag; 0 when absent.
    pub(super) fn tag(&self, tag: &[u8]) -> u64 {
        if tag.is_empty() { 0 } else { self.bytes(tag).max(1) }
    }

    /// Any string.
    pub(super) fn bytes(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }

    /// (Call-ID, tag of the caller): an attempt, and the call it becomes.
    pub(super) fn attempt(&self, call_id: u64, caller_tag: u64) -> u64 {
        self.pair(call_id, caller_tag)
    }

    /// (Call-ID, both tags), whoever speaks.
    pub(super) fn dialog(&self, names: &Names) -> u64 {
        let (low, high) = ordered(names.from_tag, names.to_tag);
        self.pair(names.call_id, self.pair(low, high))
    }

    /// Two fingerprints as one.
    pub(super) fn pair(&self, first: u64, second: u64) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write_u64(first);
        hasher.write_u64(second);
        hasher.finish()
    }
}

/// Hands a fingerprint to the table as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
}

/// An address as a number.
pub(super) fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn ordered<T: Ord>(a: T, b: T) -> (T, T) {
    if a <= b { (a, b) } else { (b, a) }
}
