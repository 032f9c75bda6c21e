//! Extended sequence numbers, loss and duplicates of one segment of a stream (RFC 3550 A.1; MEAS 1.2, 1.3).
//!
//! A bit ring remembers which of the last numbers arrived and which of them came too late to be played.
//! What is over 128 numbers behind the highest is *final*: it leaves the ring as a run of one [`Outcome`].
//!
//! ```text
//! base ........ final_below ..................... max
//! [ outcomes told ][ ring: 3 words of 64 numbers   ]
//! ```

/// What became of one expected packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Arrived, in time for the adaptive buffer.
    Played,
    /// Arrived, but too late to be played (MEAS 4.3).
    Late,
    /// Never arrived.
    Lost,
}

/// Where a packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The successor of the highest number.
    Next(u64),
    /// After a gap of one or more numbers.
    Gap(u64),
    /// Behind the highest number, not seen before.
    Reordered(u64),
    /// Seen before.
    Duplicate,
    /// Outside the window: a stray, or the first packet after a restart.
    Outside,
}

/// Sequence state of the open segment.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Sequence {
    max: u64,
    seen: [u64; RING],
    /// From the first late packet on.
    late: Option<Box<[u64; RING]>>,
    /// Low 32 bits, as a segment is never longer: its first number, and the first one not told yet.
    base: u32,
    final_below: u32,
}

impl Sequence {
    /// Opens a segment with its first packet.
    pub fn open(seq: u16) -> Self {
        // One cycle up, so that a predecessor that arrives late does not underflow (MEAS 1.2).
        let first = 65_536 + u64::from(seq);
        let mut sequence =
            Self { base: first as u32, max: first, final_below: first as u32, seen: [0; RING], late: None };
        sequence.mark(first);
        sequence
    }

    /// Highest extended number.
    #[inline]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Numbers up to the highest that have not been told yet.
    pub fn untold(&self) -> u32 {
        (self.max as u32).wrapping_sub(self.final_below).wrapping_add(1)
    }

    /// Numbers expected so far in this segment.
    pub fn expected(&self) -> u64 {
        u64::from((self.max as u32).wrapping_sub(self.base)) + 1
    }

    /// Marks the successor of the highest number, when this is it and nothing becomes final by it; else nothing
    /// happens. What [`Self::place`] does, for nearly all packets.
    #[inline]
    pub fn next(&mut self, seq: u16) -> Option<u64> {
        let extended = self.max + 1;
        if extended as u16 != seq || extended.is_multiple_of(64) {
            return None;
        }
        self.max = extended;
        self.mark(extended);
        Some(extended)
    }

    /// Marks the next few numbers, of which it is known that they lie in one word with the highest: nothing becomes
    /// final by them.
    #[inline]
    pub(super) fn follow(&mut self, packets: u32) -> u64 {
        let next = self.max + 1;
        self.seen[word(next)] |= ((1 << packets) - 1) << (next & 63);
        self.max += u64::from(packets);
        self.max
    }

    /// Places a packet and marks it as seen. Outcomes that became final on the way go to `tell`: what, how many,
    /// from which extended number on.
    #[inline]
    pub fn place(&mut self, seq: u16, tell: impl FnMut(Outcome, u32, u64)) -> Place {
        let distance = i64::from(seq.wrapping_sub(self.max as u16) as i16);
        if distance == 1 {
            let extended = self.max + 1;
            self.advance(extended, tell);
            Place::Next(extended)
        } else if (1..MAX_DROPOUT).contains(&distance) {
            let extended = self.max + distance as u64;
            self.advance(extended, tell);
            Place::Gap(extended)
        } else if -MAX_MISORDER < distance && distance <= 0 {
            self.behind(self.max.saturating_add_signed(distance))
        } else {
            Place::Outside
        }
    }

    /// Marks a packet of the ring as too late for the adaptive buffer.
    #[inline]
    pub fn mark_late(&mut self, extended: u64) {
        self.late.get_or_insert_default()[word(extended)] |= bit(extended);
    }

    /// Tells all outcomes up to the highest number: the segment is over (MEAS C.2).
    pub fn close(&mut self, mut tell: impl FnMut(Outcome, u32, u64)) {
        self.finalise((self.max as u32).wrapping_add(1), &mut tell);
    }

    #[inline]
    fn advance(&mut self, extended: u64, mut tell: impl FnMut(Outcome, u32, u64)) {
        // Whole words only: `limit` is at most 128 numbers behind, never fewer (MEAS 1.3).
        let limit = ((extended >> 6) as u32).wrapping_sub(2) << 6;
        if before(self.final_below, limit) {
            self.finalise(limit, &mut tell);
        }
        self.max = extended;
        self.mark(extended);
    }

    fn behind(&mut self, extended: u64) -> Place {
        let low = extended as u32;
        if before(low, self.base) {
            // A predecessor of the first packet captured: the segment began earlier (MEAS 1.2).
            self.base = low;
            if before(low, self.final_below) {
                self.final_below = low;
            }
        } else if before(low, self.final_below) || self.seen[word(extended)] & bit(extended) != 0 {
            return Place::Duplicate;
        }
        self.mark(extended);
        Place::Reordered(extended)
    }

    #[inline]
    fn mark(&mut self, extended: u64) {
        self.seen[word(extended)] |= bit(extended);
    }

    /// Once in 64 packets: apart, so that the way of the others is short.
    #[cold]
    #[inline(never)]
    fn finalise(&mut self, limit: u32, tell: &mut impl FnMut(Outcome, u32, u64)) {
        while before(self.final_below, limit) {
            let left = limit.wrapping_sub(self.final_below);
            let from = (self.max + 1).wrapping_sub(u64::from(self.untold()));
            let slot = word(from);
            let offset = self.final_below & 63;
            let count = (64 - offset).min(left);
            let late = self.late.as_ref().map_or(0, |late| late[slot]);
            tell_runs(self.seen[slot] >> offset, late >> offset, count, from, tell);
            self.final_below = self.final_below.wrapping_add(count);
            if self.final_below.is_multiple_of(64) {
                // The slot is used again three words on, which is not before this is final.
                self.seen[slot] = 0;
                if let Some(late) = &mut self.late {
                    late[slot] = 0;
                }
            }
        }
    }
}

/// Tells the lowest `count` bits of a word as runs of equal outcomes; the first bit stands for number `from`.
fn tell_runs(
    mut seen: u64,
    mut late: u64,
    mut count: u32,
    mut from: u64,
    tell: &mut impl FnMut(Outcome, u32, u64),
) {
    while count > 0 {
        let (outcome, run) = if seen & 1 == 0 {
            (Outcome::Lost, seen.trailing_zeros())
        } else if late & 1 != 0 {
            (Outcome::Late, late.trailing_ones())
        } else {
            (Outcome::Played, seen.trailing_ones().min(late.trailing_zeros()))
        };
        let run = run.min(count);
        tell(outcome, run, from);
        from += u64::from(run);
        count -= run;
        seen = seen.checked_shr(run).unwrap_or(0);
        late = late.checked_shr(run).unwrap_or(0);
    }
}

/// Of two low halves of numbers less than 2^31 apart: does the first come earlier?
#[inline]
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

#[inline]
fn word(extended: u64) -> usize {
    (extended >> 6) as usize % RING
}

#[inline]
fn bit(extended: u64) -> u64 {
    1 << (extended & 63)
}

/// Words of 64 numbers: the one being filled and the two before it, 128 numbers at least (MEAS 1.1).
const RING: usize = 3;
/// RFC 3550 A.1: a forward step this large or larger is not loss but a jump.
const MAX_DROPOUT: i64 = 3000;
/// RFC 3550 A.1: this far back or further is not reordering but a jump.
const MAX_MISORDER: i64 = 100;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcomes(seqs: &[u16]) -> (String, u64) {
        let mut text = String::new();
        let mut tell = |outcome, count: u32, _| {
            let letter = match outcome {
                Outcome::Played => "R",
                Outcome::Late => "D",
                Outcome::Lost => "L",
            };
            text.push_str(&letter.repeat(count as usize));
        };
        let mut sequence = Sequence::open(seqs[0]);
        for &seq in &seqs[1..] {
            sequence.place(seq, &mut tell);
        }
        sequence.close(&mut tell);
        (text, sequence.expected())
    }

    #[test]
    fn a_gap_over_the_wrap_is_lost() {
        assert_eq!(outcomes(&[65_534, 65_535, 2, 3]), ("RRLLRR".into(), 6));
    }

    #[test]
    fn a_late_predecessor_of_the_first_packet_extends_the_segment() {
        assert_eq!(outcomes(&[10, 8, 11]), ("RLRR".into(), 4));
    }

    #[test]
    fn a_jump_of_2999_is_loss_and_of_3000_is_outside() {
        assert_eq!(outcomes(&[1, 3000]).1, 3000);
        let mut sequence = Sequence::open(1);
        assert_eq!(sequence.place(3001, |_, _, _| {}), Place::Outside);
        assert_eq!(sequence.place(65_437, |_, _, _| {}), Place::Outside);
    }

    #[test]
    fn late_packets_are_told_as_late() {
        let mut sequence = Sequence::open(5);
        let Place::Next(extended) = sequence.place(6, |_, _, _| {}) else { unreachable!() };
        sequence.mark_late(extended);
        let mut told = vec![];
        sequence.close(|outcome, count, _| told.push((outcome, count)));
        assert_eq!(told, [(Outcome::Played, 1), (Outcome::Late, 1)]);
    }

    proptest! {
        /// forall start, order within 100 places: told outcomes = expected = received + lost,
        /// and the order does not change what is lost.
        #[test]
        fn order_does_not_change_loss(start: u16, lost in proptest::collection::vec(any::<bool>(), 2..600), swaps in proptest::collection::vec((0usize..600, 1usize..40), 0..60)) {
            let mut kept: Vec<u16> = (0..lost.len())
                .filter(|&i| i == 0 || i + 1 == lost.len() || !lost[i])
                .map(|i| start.wrapping_add(i as u16))
                .collect();
            let (in_order, expected) = outcomes(&kept);
            prop_assert_eq!(expected as usize, lost.len());
            prop_assert_eq!(in_order.len(), lost.len());
            prop_assert_eq!(in_order.matches('R').count(), kept.len());
            let mut moved = std::collections::HashSet::new();
            for (at, by) in swaps {
                // Each packet moves once, by fewer than 100 numbers, and never the first.
                let (a, b) = (at.max(1), at.max(1) + by);
                if b < kept.len() && kept[b].wrapping_sub(kept[a]) < 50 && moved.insert(a) && moved.insert(b) {
                    kept.swap(a, b);
                }
            }
            prop_assert_eq!(outcomes(&kept).0, in_order);
        }
    }
}
