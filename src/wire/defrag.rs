//! Reassembly of IPv4 (RFC 791 section 3.2) and IPv6 (RFC 8200 section 4.5) datagrams from their fragments.
//!
//! ```text
//! id -> [0..1480) [2960..4000)   + [1480..2960) -> whole
//! ```
//!
//! Bytes that came first win over later ones that overlap them, so that a datagram cannot be rewritten behind
//! its first fragment. Bounded by `Limits::fragments` datagrams and `Limits::fragment_bytes`; beyond them the
//! oldest is evicted. A datagram incomplete after 30 s of packet time is given up.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use hashbrown::HashMap;

use super::cursor::IpHeader;
use super::{Counters, Skip};
use crate::Stamp;
use crate::limits::Limits;

/// What the fragments of one datagram have in common. The interface is part of it: a datagram seen on two
/// interfaces is whole on each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct DatagramId {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) identification: u32,
    pub(super) interface: u32,
}

/// A fragment as the walk found it.
#[derive(Debug)]
pub(super) struct Fragment<'a> {
    pub(super) id: DatagramId,
    pub(super) ip: IpHeader,
    /// Offset of `bytes` in the datagram, in bytes.
    pub(super) offset: u16,
    /// Whether fragments follow behind it.
    pub(super) more: bool,
    pub(super) bytes: &'a [u8],
    /// Layers passed on the way.
    pub(super) layers: u8,
}

/// A reassembled datagram: the payload of its IP header.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) ip: IpHeader,
    pub(super) interface: u32,
    pub(super) layers: u8,
    pub(super) bytes: Vec<u8>,
}

/// The datagrams being reassembled.
#[derive(Debug)]
pub(super) struct Defrag {
    datagrams: HashMap<DatagramId, Pending, foldhash::fast::RandomState>,
    /// The pending datagrams in the order of their first sight.
    by_age: BTreeMap<u64, DatagramId>,
    next_age: u64,
    /// The last ones completed: their late duplicates begin no new datagram.
    completed: VecDeque<(DatagramId, Stamp)>,
    /// Bytes charged for all pieces.
    bytes: usize,
    max_datagrams: usize,
    max_bytes: usize,
    pub(super) counters: Counters,
}

#[derive(Debug)]
struct Pending {
    age: u64,
    born: Stamp,
    /// Of the first fragment as soon as it is here (RFC 8200: its next header counts).
    ip: IpHeader,
    layers: u8,
    /// In order of offset; they do not overlap.
    pieces: Vec<Piece>,
    /// Length of the datagram, once its last fragment is here.
    end: Option<usize>,
    /// Bytes the pieces hold together.
    held: usize,
}

#[derive(Debug)]
struct Piece {
    offset: usize,
    bytes: Box<[u8]>,
}

impl Defrag {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            datagrams: HashMap::default(),
            by_age: BTreeMap::new(),
            next_age: 0,
            completed: VecDeque::with_capacity(COMPLETED_REMEMBERED),
            bytes: 0,
            max_datagrams: limits.fragments,
            max_bytes: limits.fragment_bytes,
            counters: Counters::default(),
        }
    }

    /// Datagrams waiting for fragments.
    pub(super) fn pending(&self) -> usize {
        self.datagrams.len()
    }

    /// Takes a fragment in; yields the datagram that it completes.
    pub(super) fn add(&mut self, fragment: &Fragment<'_>, now: Stamp) -> Result<Whole, Skip> {
        self.counters.fragments += 1;
        self.expire(now);
        let offset = usize::from(fragment.offset);
        let end = offset + fragment.bytes.len();
        let aligned = !fragment.more || fragment.bytes.len().is_multiple_of(8);
        if end > DATAGRAM_MAX || !aligned || fragment.bytes.is_empty() {
            return Err(Skip::BadFragment);
        }
        let id = fragment.id;
        if !self.datagrams.contains_key(&id) {
            if self.is_late_duplicate(&id, now) {
                return Err(Skip::Fragment);
            }
            self.begin(fragment, now)?;
        }
        let pending = self.datagrams.get_mut(&id).ok_or(Skip::Fragment)?;
        let charged = pending.charged();
        let added = pending.add(fragment, offset, end);
        self.bytes = self.bytes - charged + pending.charged();
        let (is_empty, is_whole) = (pending.pieces.is_empty(), pending.is_whole());
        if let Err(skip) = added {
            if is_empty {
                self.remove(&id);
            }
            return Err(skip);
        }
        if is_whole {
            let pending = self.remove(&id).ok_or(Skip::Fragment)?;
            self.counters.reassembled += 1;
            if self.completed.len() == COMPLETED_REMEMBERED {
                self.completed.pop_front();
            }
            self.completed.push_back((id, now));
            return Ok(pending.into_whole(id.interface));
        }
        while self.bytes > self.max_bytes {
            self.evict_oldest();
        }
        Err(Skip::Fragment)
    }

    /// Gives up what is older than 30 s.
    pub(super) fn expire(&mut self, now: Stamp) {
        while let Some((_, id)) = self.by_age.first_key_value() {
            let id = *id;
            let is_old =
                self.datagrams.get(&id).is_none_or(|pending| now.nanos_since(pending.born) > TIMEOUT_NANOS);
            if !is_old {
                return;
            }
            self.remove(&id);
            self.counters.timed_out += 1;
        }
    }

    fn begin(&mut self, fragment: &Fragment<'_>, now: Stamp) -> Result<(), Skip> {
        if self.max_datagrams == 0 {
            self.counters.evicted += 1;
            return Err(Skip::Fragment);
        }
        while self.datagrams.len() >= self.max_datagrams {
            self.evict_oldest();
        }
        let age = self.next_age;
        self.next_age += 1;
        self.by_age.insert(age, fragment.id);
        let pending = Pending {
            age,
            born: now,
            ip: fragment.ip,
            layers: fragment.layers,
            pieces: Vec::new(),
            end: None,
            held: 0,
        };
        self.datagrams.insert(fragment.id, pending);
        Ok(())
    }

    /// A copy of a fragment that comes just behind the completed datagram, as when both directions of a
    /// mirror are captured. It would wait for the rest, and then spoil a datagram that reuses its id.
    fn is_late_duplicate(&self, id: &DatagramId, now: Stamp) -> bool {
        self.completed
            .iter()
            .any(|(completed, at)| completed == id && now.nanos_since(*at).abs() < DUPLICATE_NANOS)
    }

    fn evict_oldest(&mut self) {
        let Some((_, id)) = self.by_age.first_key_value() else { return };
        let id = *id;
        self.remove(&id);
        self.counters.evicted += 1;
    }

    fn remove(&mut self, id: &DatagramId) -> Option<Pending> {
        let pending = self.datagrams.remove(id)?;
        self.by_age.remove(&pending.age);
        self.bytes -= pending.charged();
        Some(pending)
    }
}

impl Pending {
    fn add(&mut self, fragment: &Fragment<'_>, offset: usize, end: usize) -> Result<(), Skip> {
        let reach = self.pieces.last().map_or(0, Piece::end);
        let is_past_the_end = self.end.is_some_and(|known| end > known || (!fragment.more && end != known));
        if is_past_the_end || (!fragment.more && end < reach) || self.pieces.len() >= PIECES_MAX {
            return Err(Skip::BadFragment);
        }
        if !fragment.more {
            self.end = Some(end);
        }
        if offset == 0 {
            self.ip = fragment.ip;
        }
        self.layers = self.layers.max(fragment.layers);
        self.fill_gaps(fragment.bytes, offset, end);
        Ok(())
    }

    /// Keeps the parts of `offset..end` that no earlier piece holds.
    fn fill_gaps(&mut self, bytes: &[u8], offset: usize, end: usize) {
        let mut index = self.pieces.partition_point(|piece| piece.end() <= offset);
        let mut from = offset;
        while from < end {
            let (gap_end, resume) = self
                .pieces
                .get(index)
                .map_or((end, end), |piece| (piece.offset.clamp(from, end), piece.end()));
            if let Some(gap) = bytes.get(from - offset..gap_end - offset).filter(|gap| !gap.is_empty()) {
                self.held += gap.len();
                self.pieces.insert(index, Piece { offset: from, bytes: gap.into() });
                index += 1;
            }
            from = resume;
            index += 1;
        }
    }

    fn is_whole(&self) -> bool {
        self.end == Some(self.held)
    }

    fn into_whole(self, interface: u32) -> Whole {
        let mut bytes = Vec::with_capacity(self.held);
        for piece in &self.pieces {
            bytes.extend_from_slice(&piece.bytes);
        }
        Whole { ip: self.ip, interface, layers: self.layers, bytes }
    }

    fn charged(&self) -> usize {
        self.held + self.pieces.len() * PIECE_OVERHEAD
    }
}

impl Piece {
    fn end(&self) -> usize {
        self.offset + self.bytes.len()
    }
}

/// The largest payload an IP header can announce.
const DATAGRAM_MAX: usize = 65_535;
/// Pieces of one datagram: 64 KiB in fragments of the smallest IPv4 MTU in use (576) are 119.
const PIECES_MAX: usize = 256;
/// Charged for each piece beside its bytes: list entry and allocator.
const PIECE_OVERHEAD: usize = 48;
/// RFC 791 section 3.2 says 15 s, RFC 8200 section 4.5 says 60 s; Linux keeps 30 s.
const TIMEOUT_NANOS: i64 = 30_000_000_000;
/// Mirrored copies lie closer together; reuse of an IPv4 id within this time needs 650,000 datagrams a second.
const DUPLICATE_NANOS: i64 = 100_000_000;
const COMPLETED_REMEMBERED: usize = 64;

#[cfg(test)]
mod tests;
