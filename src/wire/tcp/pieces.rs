//! Segments that arrived before the bytes they follow (RFC 9293 section 3.4: all arithmetic modulo 2^32).

use crate::Stamp;

/// Bytes ahead of a hole: ordered, never overlapping. Of two copies of a byte the first one stays.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pieces: Vec<Piece>,
    cost: usize,
}

/// Contiguous bytes that one segment brought.
#[derive(Debug)]
pub(super) struct Piece {
    /// Sequence number of the first byte.
    pub(super) seq: u32,
    /// The captured bytes.
    pub(super) bytes: Vec<u8>,
    /// Bytes after them that the snap length cut.
    pub(super) cut: u32,
    /// When the segment was seen.
    pub(super) stamp: Stamp,
}

impl Pieces {
    /// Memory they take, in bytes; many small pieces cost more than their bytes.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Number of pieces.
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Sequence number of the first one.
    pub(super) fn first_seq(&self) -> Option<u32> {
        self.pieces.first().map(|piece| piece.seq)
    }

    /// Keeps those parts of `bytes` (and of the `cut` bytes after them) that nothing covers yet. `seq` is at or
    /// after `next`, the first byte that is still missing, and less than 2^31 ahead of it.
    pub(super) fn insert(&mut self, next: u32, seq: u32, bytes: &[u8], cut: u32, stamp: Stamp) {
        let start = seq.wrapping_sub(next);
        let end = start.saturating_add(bytes.len() as u32).saturating_add(cut);
        let mut from = start;
        let mut at = self.pieces.partition_point(|piece| piece.end_after(next) <= from);
        while from < end {
            let to = match self.pieces.get(at) {
                Some(piece) if piece.seq.wrapping_sub(next) <= from => {
                    from = piece.end_after(next);
                    at += 1;
                    continue;
                }
                Some(piece) => end.min(piece.seq.wrapping_sub(next)),
                None => end,
            };
            let captured = bytes.len().min((to - start) as usize);
            let kept = bytes.get((from - start) as usize..captured).unwrap_or_default().to_vec();
            self.cost += kept.len() + PIECE_OVERHEAD;
            let cut = to - from - kept.len() as u32;
            self.pieces.insert(at, Piece { seq: next.wrapping_add(from), bytes: kept, cut, stamp });
            at += 1;
            from = to;
        }
    }

    /// Takes the first `count` pieces, in order.
    pub(super) fn take(&mut self, count: usize) -> impl Iterator<Item = Piece> {
        self.pieces.drain(..count.min(self.pieces.len())).inspect(|piece| {
            self.cost -= piece.bytes.len() + PIECE_OVERHEAD;
        })
    }

    /// How many of the first pieces follow each other without a hole, beginning at `next`.
    pub(super) fn contiguous(&self, mut next: u32) -> usize {
        let follows = |piece: &&Piece| {
            let fits = piece.seq == next;
            next = piece.seq.wrapping_add(piece.wire_len());
            fits
        };
        self.pieces.iter().take_while(follows).count()
    }
}

impl Piece {
    /// Length on the wire in bytes.
    pub(super) fn wire_len(&self) -> u32 {
        (self.bytes.len() as u32).saturating_add(self.cut)
    }

    fn end_after(&self, next: u32) -> u32 {
        self.seq.wrapping_sub(next).saturating_add(self.wire_len())
    }
}

/// What a piece costs beside its bytes: itself and the allocator's share, rounded up.
const PIECE_OVERHEAD: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pieces: &mut Pieces) -> Vec<(u32, String)> {
        let all = pieces.len();
        pieces.take(all).map(|piece| (piece.seq, String::from_utf8(piece.bytes).unwrap())).collect()
    }

    #[test]
    fn the_first_copy_of_a_byte_stays() {
        let mut pieces = Pieces::default();
        pieces.insert(100, 104, b"EF", 0, Stamp(1));
        pieces.insert(100, 108, b"IJ", 0, Stamp(2));
        pieces.insert(100, 102, b"cdefghijkl", 0, Stamp(3));
        assert_eq!(pieces.contiguous(102), 5);
        let expected = [(102, "cd"), (104, "EF"), (106, "gh"), (108, "IJ"), (110, "kl")];
        assert_eq!(text(&mut pieces), expected.map(|(seq, bytes)| (seq, bytes.to_owned())));
        assert_eq!(pieces.cost(), 0);
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut pieces = Pieces::default();
        let next = u32::MAX - 3;
        pieces.insert(next, 2, b"g", 0, Stamp(1));
        pieces.insert(next, next.wrapping_add(1), b"bcdef", 0, Stamp(2));
        assert_eq!(pieces.contiguous(next.wrapping_add(1)), 2);
        assert_eq!(pieces.first_seq(), Some(next.wrapping_add(1)));
    }

    #[test]
    fn a_cut_tail_covers_its_place() {
        let mut pieces = Pieces::default();
        pieces.insert(0, 10, b"abc", 7, Stamp(1));
        pieces.insert(0, 12, b"XXXXXXXXXX", 0, Stamp(2));
        let held: Vec<_> = pieces.take(9).map(|piece| (piece.seq, piece.bytes.len(), piece.cut)).collect();
        assert_eq!(held, [(10, 3, 7), (20, 2, 0)]);
    }
}
