//! One direction of one connection: from segments to contiguous bytes (RFC 9293 section 3.4).

use super::content::{Content, Protocol, Reader};
use super::pieces::Pieces;
use crate::Stamp;
use crate::wire::Endpoint;

/// Addresses of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Path {
    pub(super) source: Endpoint,
    pub(super) destination: Endpoint,
}

impl Path {
    pub(super) fn reversed(self) -> Self {
        Self { source: self.destination, destination: self.source }
    }
}

/// State of one direction.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) path: Path,
    /// Last segment seen.
    pub(super) last: Stamp,
    /// When the oldest hole in front of held segments opened.
    pub(super) hole: Stamp,
    /// The next byte in order.
    next: u32,
    /// Sequence number of the SYN, where one was seen.
    syn: Option<u32>,
    /// End of a segment far outside the window, which a second one has to confirm.
    stray: Option<u32>,
    /// Sequence number of a FIN that has not been reached.
    fin: Option<u32>,
    content: Content,
    pieces: Option<Box<Pieces>>,
}

/// The part of a segment that matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) seq: u32,
    pub(super) payload: &'a [u8],
    pub(super) cut: u32,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
}

impl Flow {
    pub(super) fn new(path: Path, first: &Segment<'_>, stamp: Stamp) -> Self {
        let (next, syn, content) = if first.syn {
            (first.seq.wrapping_add(1), Some(first.seq), Content::begun())
        } else {
            (first.seq, None, Content::joined())
        };
        Self { path, last: stamp, hole: stamp, next, syn, stray: None, fin: None, content, pieces: None }
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.content.protocol()
    }

    /// Bytes held for this direction.
    pub(super) fn held(&self) -> usize {
        self.content.held() + self.pieces.as_ref().map_or(0, |pieces| pieces.cost())
    }

    /// Segments wait behind a hole.
    pub(super) fn has_hole(&self) -> bool {
        self.pieces.is_some()
    }

    /// Takes one segment.
    pub(super) fn segment(&mut self, segment: &Segment<'_>, reader: &mut Reader<'_>) {
        let mut seq = segment.seq;
        if segment.syn {
            if !self.is_same_connection(seq) {
                reader.counters.reused += 1;
                self.restart(segment, reader);
            }
            seq = seq.wrapping_add(1);
        }
        if segment.rst {
            // A reset out of the window ends nothing (RFC 9293 section 3.10.7.4).
            if seq.wrapping_sub(self.next).wrapping_add(WINDOW) < 2 * WINDOW {
                self.give_up(reader);
                self.end(reader);
            }
            return;
        }
        let len = (segment.payload.len() as u32).saturating_add(segment.cut);
        if self.content.is_opaque() && !self.continues_after_close(seq, len) {
            return;
        }
        if len == 0 && !segment.fin {
            return;
        }
        let ahead = seq.wrapping_sub(self.next) as i32;
        if ahead.unsigned_abs() > WINDOW {
            if self.stray != Some(seq) {
                reader.counters.strays += 1;
                self.stray = Some(seq.wrapping_add(len));
                return;
            }
            self.restart(&Segment { seq, syn: false, ..*segment }, reader);
        }
        self.stray = None;
        if segment.fin {
            self.fin = Some(seq.wrapping_add(len));
        }
        self.data(seq, segment.payload, segment.cut, reader);
        if self.fin == Some(self.next) {
            self.end(reader);
        }
    }

    /// Stops waiting: what is held is read with its holes, at the times its segments were seen.
    pub(super) fn give_up(&mut self, reader: &mut Reader<'_>) {
        while self.pass_hole(reader) {}
        if self.fin == Some(self.next) {
            self.end(reader);
        }
    }

    /// Frees what is held, whatever is lost by it.
    pub(super) fn release(&mut self, reader: &mut Reader<'_>) {
        self.give_up(reader);
        if self.content.held() > 0 {
            self.content.lose(reader);
        }
    }

    fn data(&mut self, seq: u32, payload: &[u8], cut: u32, reader: &mut Reader<'_>) {
        let len = (payload.len() as u32).saturating_add(cut);
        let ahead = seq.wrapping_sub(self.next) as i32;
        let (seq, payload, cut) = if ahead < 0 {
            let old = ahead.unsigned_abs();
            reader.counters.retransmitted_bytes += u64::from(old.min(len));
            if old >= len {
                return;
            }
            let dropped = payload.len().min(old as usize);
            let cut = cut - (old - dropped as u32);
            (self.next, payload.get(dropped..).unwrap_or_default(), cut)
        } else {
            (seq, payload, cut)
        };
        if seq == self.next && self.pieces.is_none() {
            self.take(payload, cut, reader);
            return;
        }
        if seq != self.next {
            reader.counters.out_of_order += 1;
        }
        if self.pieces.is_none() {
            self.hole = reader.stamp;
        }
        let pieces = self.pieces.get_or_insert_default();
        pieces.insert(self.next, seq, payload, cut, reader.stamp);
        if self.take_contiguous(reader) {
            self.hole = reader.stamp;
        }
        while self.pieces.as_ref().is_some_and(|held| held.cost() > reader.limit || held.len() > MAX_PIECES) {
            self.pass_hole(reader);
        }
    }

    fn take(&mut self, payload: &[u8], cut: u32, reader: &mut Reader<'_>) {
        self.next = self.next.wrapping_add(payload.len() as u32).wrapping_add(cut);
        self.content.feed(payload, reader);
        self.content.gap(cut, reader);
    }

    /// Reads the held segments up to the next hole; whether there was one to read. A message is complete when
    /// the last of its bytes has come, so none is earlier than `reader.stamp`.
    fn take_contiguous(&mut self, reader: &mut Reader<'_>) -> bool {
        let Some(mut pieces) = self.pieces.take() else { return false };
        let count = pieces.contiguous(self.next);
        for piece in pieces.take(count) {
            reader.stamp = reader.stamp.max(piece.stamp);
            self.take(&piece.bytes, piece.cut, reader);
        }
        if !pieces.is_empty() {
            self.pieces = Some(pieces);
        }
        count > 0
    }

    /// Accepts the first hole as lost and reads on behind it, at the times the held segments were seen.
    fn pass_hole(&mut self, reader: &mut Reader<'_>) -> bool {
        let Some(first) = self.pieces.as_ref().and_then(|pieces| pieces.first_seq()) else { return false };
        let now = std::mem::replace(&mut reader.stamp, self.hole);
        self.content.gap(first.wrapping_sub(self.next), reader);
        self.next = first;
        self.take_contiguous(reader);
        reader.stamp = now;
        true
    }

    fn end(&mut self, reader: &mut Reader<'_>) {
        if !matches!(self.protocol(), Protocol::Tls | Protocol::Foreign) {
            self.content.close(reader);
        }
        self.pieces = None;
    }

    fn restart(&mut self, segment: &Segment<'_>, reader: &mut Reader<'_>) {
        self.give_up(reader);
        self.content.close(reader);
        *self = Self::new(self.path, segment, self.last);
    }

    /// A SYN seen again, or one that was overtaken by its own data.
    fn is_same_connection(&mut self, seq: u32) -> bool {
        if self.syn.is_none() && self.next.wrapping_sub(seq.wrapping_add(1)) < OVERTAKEN {
            self.syn = Some(seq);
        }
        self.syn == Some(seq)
    }

    /// After the end only retransmissions are expected; new bytes are a new connection whose SYN was missed.
    fn continues_after_close(&mut self, seq: u32, len: u32) -> bool {
        let old = self.next.wrapping_sub(seq) < WINDOW;
        if self.protocol() != Protocol::Closed || len == 0 || old {
            return false;
        }
        self.content = Content::joined();
        (self.next, self.syn, self.fin, self.stray) = (seq, None, None, None);
        true
    }
}

/// Farthest that a segment may be from the next byte, either way; beyond it a second one has to confirm.
const WINDOW: u32 = 1 << 20;
/// Bytes by which data may have overtaken its SYN.
const OVERTAKEN: u32 = 64 << 10;
/// Segments that may wait behind a hole.
const MAX_PIECES: usize = 512;
