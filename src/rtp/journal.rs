//! The packets of a stream that came exactly as expected, kept until it is worth while to work them off together.
//!
//! ```text
//! packet -> the next number, the same payload type, the usual step, no later than 0.5 s? -> one gap written down
//!        \ anything else, and each sixteenth -> the gaps are worked off, then the packet itself
//! ```
//!
//! With many streams the cost of a packet is that of the cache lines it needs. A stream's measurements are nine of
//! them, the journal with the flow in front is two; the nine are loaded once in sixteen packets.
//!
//! What a packet tells that is not the same for all of them is its arrival. All else that anybody asks for between
//! two packets is kept up to date here: the last arrival, and what recognises a packet that comes again (MEAS 1.11).

use crate::Stamp;
use crate::rtp::packet::{Packet, Recent};

/// What was written down, and what the next packet is expected to be.
#[derive(Clone, Debug)]
#[repr(C)]
pub(super) struct Journal {
    pub(super) last: Stamp,
    pub(super) recent: [Recent; 2],
    /// Time stamp of the last packet, and what it advances by.
    ticks: u32,
    step: u16,
    /// Bytes of the packets written down.
    bytes: u16,
    next: u16,
    /// Payload type that is expected; `CLOSED` = nothing is.
    payload_type: u8,
    len: u8,
    /// Nanoseconds from the packet before to each of the group.
    gaps: [u32; PACKETS],
}

/// What was written down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steady {
    pub(super) bytes: u16,
    pub(super) step: u16,
    gaps: [u32; PACKETS],
    from: usize,
    to: usize,
}

impl Journal {
    pub(super) fn starting(last: Stamp) -> Self {
        Self {
            last,
            recent: [Recent::default(); 2],
            ticks: 0,
            step: 0,
            bytes: 0,
            next: 0,
            payload_type: CLOSED,
            len: 0,
            gaps: [0; PACKETS],
        }
    }

    /// Writes a packet down if it is what was expected.
    #[inline]
    pub(super) fn note(&mut self, packet: &Packet<'_>) -> bool {
        let gap = packet.stamp.0.wrapping_sub(self.last.0);
        let expected = packet.seq == self.next
            && packet.payload_type == self.payload_type
            && packet.ticks == self.ticks.wrapping_add(u32::from(self.step))
            && gap <= LONGEST_GAP
            && packet.length <= LONGEST_PACKET;
        // There is none for the packet that ends a group.
        let place = usize::from(packet.seq % GROUP).wrapping_sub(1);
        let Some(place) = self.gaps.get_mut(place).filter(|_| expected) else { return false };
        *place = gap as u32;
        self.len += 1;
        self.bytes += packet.length as u16;
        self.next = packet.seq.wrapping_add(1);
        self.ticks = packet.ticks;
        self.saw(packet);
        true
    }

    /// A packet counts that is not written down.
    #[inline]
    pub(super) fn saw(&mut self, packet: &Packet<'_>) {
        self.last = packet.stamp;
        self.recent[usize::from(packet.seq & 1)] = Recent::of(packet);
    }

    /// Hands over what was written down; what is expected stays.
    #[inline]
    pub(super) fn take(&mut self) -> Steady {
        let to = usize::from(self.next.wrapping_sub(1) % GROUP);
        let from = to.saturating_sub(usize::from(std::mem::take(&mut self.len)));
        Steady { bytes: std::mem::take(&mut self.bytes), step: self.step, gaps: self.gaps, from, to }
    }

    pub(super) fn len(&self) -> u8 {
        self.len
    }

    /// From now on a packet that advances number and time stamp by one step is to be written down.
    #[inline]
    pub(super) fn open(&mut self, next: u16, payload_type: u8, ticks: u32, step: u16) {
        (self.next, self.payload_type, self.ticks, self.step) = (next, payload_type, ticks, step);
    }

    /// From now on nothing is.
    #[inline]
    pub(super) fn close(&mut self) {
        self.payload_type = CLOSED;
    }

    /// Draws it into the cache; the value means nothing.
    #[inline]
    pub(super) fn touch(&self) -> u64 {
        self.last.0 ^ u64::from(self.gaps[PACKETS - 1])
    }
}

impl Steady {
    /// Nanoseconds from one packet to the next.
    #[inline]
    pub(super) fn gaps(&self) -> &[u32] {
        self.gaps.get(self.from..self.to).unwrap_or_default()
    }
}

/// Whether a packet of that number ends a group: it works off what was written down. Where outcomes become final and
/// where sound is listened to, a group ends too.
#[inline]
pub(super) fn ends_group(seq: u16) -> bool {
    seq.is_multiple_of(GROUP)
}

const GROUP: u16 = 16;
const PACKETS: usize = GROUP as usize - 1;
/// No payload type: those have seven bits.
const CLOSED: u8 = 0xff;
/// A longer one may be a stall (MEAS 6.5) or a jump.
const LONGEST_GAP: u64 = 500_000_000;
/// So that those of a group fit into a number of 16 bits.
const LONGEST_PACKET: u32 = u16::MAX as u32 / GROUP as u32;
