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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::CodecSource;
    use crate::rtp::payload::Format;
    use crate::rtp::stream::{Formats, Stream};

    struct Static;

    impl Formats for Static {
        fn format(&self, payload_type: u8) -> Option<(Format, CodecSource)> {
            Format::of_static(payload_type).map(|format| (format, CodecSource::Static))
        }
    }

    /// What a packet is to the one before it.
    #[derive(Clone, Copy, Debug)]
    enum Next {
        Expected { nanos: u64 },
        AfterLoss { lost: u16 },
        Again,
        Behind { by: u16 },
        Odd { ticks: u32 },
        Other { payload_type: u8 },
        Jump { by: u16 },
        Back { nanos: u64 },
    }

    fn next() -> impl Strategy<Value = Next> {
        prop_oneof![
            40 => (19_000_000_u64..21_000_000).prop_map(|nanos| Next::Expected { nanos }),
            4 => (0_u64..900_000_000).prop_map(|nanos| Next::Expected { nanos }),
            2 => (1_u16..20).prop_map(|lost| Next::AfterLoss { lost }),
            1 => Just(Next::Again),
            1 => (1_u16..9).prop_map(|by| Next::Behind { by }),
            1 => (0_u32..40_000).prop_map(|ticks| Next::Odd { ticks }),
            1 => prop_oneof![Just(8_u8), Just(13), Just(9)].prop_map(|payload_type| Next::Other { payload_type }),
            1 => (3_000_u16..60_000).prop_map(|by| Next::Jump { by }),
            1 => (0_u64..50_000_000).prop_map(|nanos| Next::Back { nanos }),
        ]
    }

    fn packets(first: u16, steps: &[Next]) -> Vec<Packet<'static>> {
        let mut packet = Packet {
            stamp: Stamp(1_000_000_000_000),
            seq: first,
            ticks: 0,
            payload_type: 0,
            marker: false,
            payload: &[0x55; 160],
            payload_len: 160,
            length: 172,
            ip_id: 1,
            interface: 0,
        };
        let mut packets = vec![packet];
        for &step in steps {
            let before = packet;
            packet.stamp = packet.stamp.plus_nanos(20_000_000);
            packet.seq = packet.seq.wrapping_add(1);
            packet.ticks = packet.ticks.wrapping_add(160);
            packet.ip_id = packet.ip_id.wrapping_add(1);
            match step {
                Next::Expected { nanos } => packet.stamp = before.stamp.plus_nanos(nanos as i64),
                Next::AfterLoss { lost } => {
                    packet.seq = packet.seq.wrapping_add(lost);
                    packet.ticks = packet.ticks.wrapping_add(160 * u32::from(lost));
                }
                Next::Again => packet = Packet { stamp: packet.stamp, ..before },
                Next::Behind { by } => {
                    packets.push(Packet { seq: packet.seq.wrapping_sub(by), ..packet });
                    packet = before;
                    continue;
                }
                Next::Odd { ticks } => packet.ticks = packet.ticks.wrapping_add(ticks),
                Next::Other { payload_type } => {
                    packets.push(Packet { payload_type, ..packet });
                    continue;
                }
                Next::Jump { by } => packet.seq = packet.seq.wrapping_add(by),
                Next::Back { nanos } => packet.stamp = before.stamp.plus_nanos(-(nanos as i64)),
            }
            packets.push(packet);
        }
        packets
    }

    /// All that a stream tells, and how many packets were written down.
    fn told(packets: &[Packet<'_>], expects: bool, looks: &[usize]) -> (String, usize) {
        let mut closed = Vec::new();
        let mut noted = 0;
        let mut stream = Stream::open(&packets[0], false, &Static);
        for (place, packet) in packets.iter().enumerate().skip(1) {
            if looks.contains(&place) {
                stream.settle();
            }
            let packets = stream.packets();
            if stream.note(packet) {
                noted += 1;
                assert_eq!((stream.packets(), stream.last()), (packets + 1, packet.stamp));
            } else {
                stream.push(packet, &Static, &mut closed);
                if expects {
                    stream.expect();
                }
            }
        }
        stream.finish(&mut closed);
        let told =
            (stream.counts(), stream.jitter().summary(), stream.payload_types(), stream.ptime(), closed);
        (format!("{} {} {told:?}", stream.packets(), stream.last()), noted)
    }

    proptest! {
        /// forall packets, moments at which somebody looks: a journal changes nothing.
        #[test]
        fn what_is_written_down_is_counted_as_if_taken_at_once(
            first: u16,
            steps in prop::collection::vec(next(), 0..1500),
            looks in prop::collection::vec(0_usize..1500, 0..40),
        ) {
            let packets = packets(first, &steps);
            let (at_once, none) = told(&packets, false, &[]);
            prop_assert_eq!(none, 0);
            prop_assert_eq!(&told(&packets, true, &looks).0, &at_once);
            prop_assert_eq!(&told(&packets, true, &[]).0, &at_once);
        }
    }

    #[test]
    fn all_but_every_sixteenth_packet_of_a_clean_stream_is_written_down() {
        let packets = packets(65_000, &vec![Next::Expected { nanos: 20_000_000 }; 1600]);
        // The second packet alone shows the step.
        assert_eq!(told(&packets, true, &[]).1, 1500 - 1);
    }
}
