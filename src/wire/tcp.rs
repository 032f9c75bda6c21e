//! TCP: both directions of every connection, read along until their bytes are SIP messages or HEP records
//! (MEAS 5.11).
//!
//! ```text
//! Packet -> Flow (order, holes, copies) -> Content (probe, framing) -> Record
//! ```
//!
//! A direction is followed from its SYN or from wherever the capture joins it. What it carries is told by its
//! bytes, never by its ports: SIP (RFC 3261 section 18.3), SIP over WebSocket (RFC 7118), HEP3; TLS is counted,
//! everything else is remembered as not for us in a few bytes. A message that lies whole in one segment is
//! handed on from there without a copy.
//!
//! Everything is bounded by [`Limits`]: directions (those that never showed SIP or HEP go first, the longest
//! silent one of them before the others), bytes held for one and for all. Holes are accepted as lost after
//! [`HOLE_NANOS`] of packet time or when their bound is reached; then reading goes on at the next border.

mod border;
mod chain;
mod content;
mod flow;
mod pieces;

use std::hash::BuildHasher;

use hashbrown::HashTable;

use self::chain::Chains;
use self::content::{Protocol, Reader};
use self::flow::{Flow, Path, Segment};
use crate::Stamp;
use crate::event::SipTransport;
use crate::limits::Limits;
use crate::wire::{Endpoint, Packet, Transport};

/// One SIP message or HEP record off a stream.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What `bytes` are.
    pub kind: Kind,
    /// `Tcp` or `Ws`; what TLS hides cannot be seen.
    pub transport: SipTransport,
    /// Sender.
    pub source: Endpoint,
    /// Receiver.
    pub destination: Endpoint,
    /// The message from its start line on, or the HEP record from its magic on.
    pub bytes: &'a [u8],
    /// Nothing is missing at the end of `bytes`.
    pub whole: bool,
    /// When the packet was seen that completed it (MEAS 5.11).
    pub stamp: Stamp,
}

/// What a [`Record`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A SIP message.
    Sip,
    /// A HEP3 record.
    Hep,
}

/// What happened to the streams so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Directions followed, from a SYN or joined.
    pub flows: u64,
    /// Directions with SIP or HEP forgotten because the table was full.
    pub evicted: u64,
    /// Directions without either, forgotten because the table was full.
    pub recycled: u64,
    /// Directions forgotten after long silence.
    pub expired: u64,
    /// Connections begun anew on the addresses of an older one.
    pub reused: u64,
    /// Connections with TLS, whatever it hides.
    pub tls_flows: u64,
    /// Those of them with one end on port 5061 (RFC 3261 section 19.1.2).
    pub sips_flows: u64,
    /// SIP messages handed on.
    pub sip_messages: u64,
    /// Those of them whose end is missing.
    pub truncated: u64,
    /// HEP records handed on.
    pub hep_records: u64,
    /// Segments that came before the bytes they follow.
    pub out_of_order: u64,
    /// Bytes seen again.
    pub retransmitted_bytes: u64,
    /// Segments far outside the window.
    pub strays: u64,
    /// Holes accepted as lost, in directions that are read.
    pub gaps: u64,
    /// Bytes in those holes.
    pub missing_bytes: u64,
    /// Records that did not begin where the one before them ended.
    pub out_of_step: u64,
    /// Borders found again after a gap, a wrong length or a join.
    pub resynchronised: u64,
    /// Records too long, or without a usable length.
    pub oversize: u64,
    /// WebSocket frames that an extension compressed.
    pub compressed_frames: u64,
    /// Bytes that belonged to no record, in directions that are read.
    pub dropped_bytes: u64,
    /// Times that bytes held for one direction gave way to those of another.
    pub released: u64,
}

/// All directions of all connections.
#[derive(Debug)]
pub struct Streams {
    max_flows: usize,
    max_flow_bytes: usize,
    max_bytes: usize,
    hasher: foldhash::fast::RandomState,
    table: HashTable<u32>,
    flows: Vec<Flow>,
    free: Vec<u32>,
    /// By silence: [`QUIET`] and [`TALKING`].
    ages: Chains<2>,
    /// By the time they began to hold bytes: [`PARTIAL`] and [`HOLE`].
    holding: Chains<2>,
    bytes: usize,
    scratch: Vec<u8>,
    counters: Counters,
}

impl Streams {
    /// No connections yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            max_flows: limits.tcp_flows.clamp(1, u32::MAX as usize),
            max_flow_bytes: limits.tcp_flow_bytes,
            max_bytes: limits.tcp_bytes,
            hasher: foldhash::fast::RandomState::default(),
            table: HashTable::new(),
            flows: Vec::new(),
            free: Vec::new(),
            ages: Chains::new(),
            holding: Chains::new(),
            bytes: 0,
            scratch: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Takes one TCP segment; any other packet is passed over. Records of other directions may come out too,
    /// when their time has come.
    pub fn segment(&mut self, stamp: Stamp, packet: &Packet<'_>, out: &mut impl FnMut(Record<'_>)) {
        let Transport::Tcp { seq, syn, fin, rst } = packet.transport else { return };
        self.expire(stamp, out);
        let path = Path { source: packet.source, destination: packet.destination };
        let cut = packet.cut.min(u32::from(u16::MAX));
        let segment = Segment { seq, payload: packet.payload, cut, syn, fin, rst };
        let slot = match self.slot_of(&path) {
            Some(slot) => slot,
            // Without bytes there is nothing to join.
            None if !syn && segment.payload.is_empty() || rst => return,
            None => self.open(Flow::new(path, &segment, stamp), out),
        };
        let Some(flow) = self.flows.get_mut(slot as usize) else { return };
        flow.last = stamp;
        let before = flow.protocol();
        self.with(slot, out, |flow, reader| flow.segment(&segment, reader));
        let after = self.flows.get(slot as usize).map_or(before, Flow::protocol);
        if after == Protocol::Tls && before != after {
            self.count_tls(path);
        }
        let talks = matches!(after, Protocol::Sip | Protocol::WebSocket | Protocol::Hep);
        self.ages.append(slot, if talks { TALKING } else { QUIET });
        self.keep_bounds(out);
    }

    /// Accepts holes as lost and forgets silent directions whose time has come at `now`.
    pub fn expire(&mut self, now: Stamp, out: &mut impl FnMut(Record<'_>)) {
        while let Some(slot) = self.holding.oldest(HOLE) {
            let waits = |flow: &Flow| now.nanos_since(flow.hole) < HOLE_NANOS;
            if self.flows.get(slot as usize).is_none_or(waits) {
                break;
            }
            self.with(slot, out, Flow::give_up);
        }
        for (list, patience) in [(QUIET, QUIET_NANOS), (TALKING, TALKING_NANOS)] {
            while let Some(slot) = self.ages.oldest(list) {
                let speaks = |flow: &Flow| now.nanos_since(flow.last) < patience;
                if self.flows.get(slot as usize).is_none_or(speaks) {
                    break;
                }
                self.counters.expired += 1;
                self.forget(slot, out);
            }
        }
    }

    /// Hands on what is held: the capture is over.
    pub fn finish(&mut self, out: &mut impl FnMut(Record<'_>)) {
        for list in [HOLE, PARTIAL] {
            while let Some(slot) = self.holding.oldest(list) {
                self.with(slot, out, Flow::release);
            }
        }
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Directions followed now.
    pub fn open_flows(&self) -> usize {
        self.table.len()
    }

    /// Bytes held now.
    pub fn held_bytes(&self) -> usize {
        self.bytes
    }

    fn slot_of(&self, path: &Path) -> Option<u32> {
        let same = |&slot: &u32| self.flows.get(slot as usize).is_some_and(|flow| flow.path == *path);
        self.table.find(self.hasher.hash_one(path), same).copied()
    }

    /// Puts a new direction into a slot, if need be that of the one that is missed least.
    fn open(&mut self, flow: Flow, out: &mut dyn FnMut(Record<'_>)) -> u32 {
        self.counters.flows += 1;
        if self.table.len() >= self.max_flows {
            if let Some(slot) = self.ages.oldest(QUIET) {
                self.counters.recycled += 1;
                self.forget(slot, out);
            } else if let Some(slot) = self.ages.oldest(TALKING) {
                self.counters.evicted += 1;
                self.forget(slot, out);
            }
        }
        let hash = self.hasher.hash_one(flow.path);
        let free = self.free.pop();
        let slot = free.unwrap_or(self.flows.len() as u32);
        match free.and_then(|slot| self.flows.get_mut(slot as usize)) {
            Some(free) => *free = flow,
            None => self.flows.push(flow),
        }
        let Self { table, flows, hasher, .. } = self;
        table.insert_unique(hash, slot, |&slot| {
            flows.get(slot as usize).map_or(0, |flow| hasher.hash_one(flow.path))
        });
        slot
    }

    /// Hands on what a direction holds and frees its slot.
    fn forget(&mut self, slot: u32, out: &mut dyn FnMut(Record<'_>)) {
        self.with(slot, out, Flow::release);
        self.ages.remove(slot);
        let Some(flow) = self.flows.get(slot as usize) else { return };
        if let Ok(entry) = self.table.find_entry(self.hasher.hash_one(flow.path), |&other| other == slot) {
            entry.remove();
            self.free.push(slot);
        }
    }

    /// Lets `act` work on one direction and keeps account of what it holds afterwards.
    fn with(
        &mut self,
        slot: u32,
        out: &mut dyn FnMut(Record<'_>),
        act: impl FnOnce(&mut Flow, &mut Reader<'_>),
    ) {
        let Some(flow) = self.flows.get_mut(slot as usize) else { return };
        let (held, hole) = (flow.held(), flow.has_hole().then_some(flow.hole));
        let mut reader = Reader {
            stamp: flow.last,
            source: flow.path.source,
            destination: flow.path.destination,
            limit: self.max_flow_bytes,
            scratch: &mut self.scratch,
            counters: &mut self.counters,
            out,
        };
        act(flow, &mut reader);
        self.bytes = self.bytes - held + flow.held();
        let list = match (flow.has_hole(), flow.held()) {
            (true, _) if hole == Some(flow.hole) => return,
            (true, _) => HOLE,
            (false, 0) => return self.holding.remove(slot),
            (false, _) => PARTIAL,
        };
        if list == HOLE || self.holding.list_of(slot) != Some(list) {
            self.holding.append(slot, list);
        }
    }

    /// What is held longest gives way, holes before beginnings.
    fn keep_bounds(&mut self, out: &mut dyn FnMut(Record<'_>)) {
        while self.bytes > self.max_bytes {
            let Some(slot) = self.holding.oldest(HOLE).or_else(|| self.holding.oldest(PARTIAL)) else {
                break;
            };
            self.counters.released += 1;
            self.with(slot, out, Flow::release);
        }
    }

    /// Counts a connection once, though each of its directions shows TLS.
    fn count_tls(&mut self, path: Path) {
        let other = self.slot_of(&path.reversed()).and_then(|slot| self.flows.get(slot as usize));
        if other.is_none_or(|flow| flow.protocol() != Protocol::Tls) {
            self.counters.tls_flows += 1;
            let sips = path.source.port == SIPS_PORT || path.destination.port == SIPS_PORT;
            self.counters.sips_flows += u64::from(sips);
        }
    }
}

const QUIET: usize = 0;
const TALKING: usize = 1;
const PARTIAL: usize = 0;
const HOLE: usize = 1;
/// Twice the first retransmission timeout of a connection without a measured round trip (RFC 6298 section 2):
/// what has not come by then was lost at the tap.
const HOLE_NANOS: i64 = 2_000_000_000;
const QUIET_NANOS: i64 = 300_000_000_000;
/// Trunks may be silent for long; a forgotten one is joined again at its next message.
const TALKING_NANOS: i64 = 3_600_000_000_000;
const SIPS_PORT: u16 = 5061;

#[cfg(test)]
mod tests;
