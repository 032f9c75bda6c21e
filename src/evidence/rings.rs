//! What was recorded of late, within its bound: the oldest goes first.
//!
//! SIP and RTP have a ring each, so that the media of all calls do not push out the signalling of one.

use std::collections::{HashMap, VecDeque};

use super::page::{Ended, Header, Message, Page, name};
use crate::Stamp;
use crate::event::MirrorKind;
use crate::sip;

/// Both rings, and the names of streams.
#[derive(Debug)]
pub(super) struct Rings {
    pub(super) sip: Ring<Messages>,
    pub(super) rtp: Ring<Box<[Header]>>,
    streams: HashMap<u32, Ended>,
    /// Their numbers, as they came.
    ended: VecDeque<u32>,
}

/// Messages and their bytes.
#[derive(Debug, Default)]
pub(super) struct Messages {
    messages: Box<[Message]>,
    bytes: Box<[u8]>,
}

/// A ring of what pages held.
#[derive(Debug)]
pub(super) struct Ring<T> {
    segments: VecDeque<Segment<T>>,
    bound: usize,
    pub(super) held: usize,
    /// Records that others took the place of.
    pub(super) overwritten: u64,
    /// The latest of them.
    overwritten_until: Stamp,
}

/// What one page held.
#[derive(Debug)]
struct Segment<T> {
    content: T,
    bytes: usize,
    records: u64,
    first: Stamp,
    last: Stamp,
    /// Found no page before this one.
    missed: u32,
}

impl Rings {
    pub(super) fn new(sip_bytes: usize, rtp_bytes: usize) -> Self {
        Self {
            sip: Ring::new(sip_bytes),
            rtp: Ring::new(rtp_bytes),
            streams: HashMap::new(),
            ended: VecDeque::new(),
        }
    }

    /// Takes what a page holds; calls that are over stay in it.
    pub(super) fn take(&mut self, page: &Page) {
        if !page.messages.is_empty() {
            let mut messages: Box<[Message]> = page.messages.as_slice().into();
            for message in messages.iter_mut().filter(|message| message.kind == MirrorKind::Sip) {
                let call_id = sip::scan(text(&page.bytes, message)).map(|sip| sip.call_id);
                message.name = name(call_id.unwrap_or_default());
            }
            let stamps = messages.iter().map(|message| message.stamp);
            let bytes = size_of_val(&*messages) + page.bytes.len();
            let (records, span) = (messages.len(), span(stamps));
            let content = Messages { messages, bytes: page.bytes.as_slice().into() };
            self.sip.push(content, bytes, records, span, page.missed);
        }
        if !page.headers.is_empty() {
            let headers: Box<[Header]> = page.headers.as_slice().into();
            let stamps = headers.iter().map(|header| header.stamp);
            let (bytes, records, span) = (size_of_val(&*headers), headers.len(), span(stamps));
            self.rtp.push(headers, bytes, records, span, page.missed);
        }
        for ended in &page.streams {
            if self.ended.len() >= STREAMS
                && let Some(oldest) = self.ended.pop_front()
            {
                self.streams.remove(&oldest);
            }
            self.ended.push_back(ended.serial);
            self.streams.insert(ended.serial, *ended);
        }
    }

    /// A stream that is over, by its number.
    pub(super) fn stream(&self, serial: u32) -> Option<&Ended> {
        self.streams.get(&serial)
    }
}

impl Messages {
    /// Each message with its bytes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Message, &[u8])> {
        self.messages.iter().map(|message| (message, text(&self.bytes, message)))
    }
}

impl<T> Ring<T> {
    fn new(bound: usize) -> Self {
        Self { segments: VecDeque::new(), bound, held: 0, overwritten: 0, overwritten_until: Stamp(0) }
    }

    fn push(&mut self, content: T, bytes: usize, records: usize, (first, last): (Stamp, Stamp), missed: u32) {
        // What one page holds and its place in the ring.
        let bytes = bytes + size_of::<Segment<T>>();
        while self.held + bytes > self.bound {
            let Some(oldest) = self.segments.pop_front() else { break };
            self.held -= oldest.bytes;
            self.overwritten += oldest.records;
            self.overwritten_until = self.overwritten_until.max(oldest.last);
        }
        self.held += bytes;
        self.segments.push_back(Segment { content, bytes, records: records as u64, first, last, missed });
    }

    /// Something is recorded in it.
    pub(super) fn is_on(&self) -> bool {
        self.bound > 0
    }

    /// What may hold something since then.
    pub(super) fn since(&self, start: Stamp) -> impl Iterator<Item = &T> {
        self.segments.iter().filter(move |segment| segment.last >= start).map(|segment| &segment.content)
    }

    /// Up to when it was overwritten, if that is later than `start`.
    pub(super) fn begins_after(&self, start: Stamp) -> Option<Stamp> {
        Some(self.overwritten_until).filter(|until| *until >= start)
    }

    /// What found no page between the two.
    pub(super) fn missed(&self, start: Stamp, end: Stamp) -> u64 {
        let during = self.segments.iter().filter(|segment| segment.last >= start && segment.first <= end);
        during.map(|segment| u64::from(segment.missed)).sum()
    }
}

fn text<'a>(bytes: &'a [u8], message: &Message) -> &'a [u8] {
    let at = message.at as usize;
    bytes.get(at..at + message.length as usize).unwrap_or_default()
}

fn span(stamps: impl Iterator<Item = Stamp>) -> (Stamp, Stamp) {
    stamps.fold((Stamp(u64::MAX), Stamp(0)), |(first, last), stamp| (first.min(stamp), last.max(stamp)))
}

/// Streams that are over and whose calls may not be: a minute of four hundred calls a second.
const STREAMS: usize = 16_384;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// forall pages: the bound holds, the newest page is there, and what went is known.
        #[test]
        fn the_oldest_go_first_and_the_bound_holds(pages in prop::collection::vec(1_usize..5000, 1..60)) {
            let mut ring = Ring::new(20_000);
            let mut records = 0;
            for (second, &bytes) in pages.iter().enumerate() {
                let at = Stamp(second as u64 + 1);
                ring.push(vec![second], bytes, 1, (at, at), 0);
                records += 1;
                prop_assert!(ring.held <= 20_000);
            }
            let left: Vec<_> = ring.since(Stamp(0)).map(|content| content[0]).collect();
            prop_assert_eq!(left.last(), Some(&(pages.len() - 1)));
            prop_assert_eq!(ring.overwritten + left.len() as u64, records);
            prop_assert!(left.windows(2).all(|pair| pair[0] + 1 == pair[1]));
            let first = Stamp(left[0] as u64 + 1);
            prop_assert_eq!(ring.begins_after(first), None);
            prop_assert_eq!(ring.begins_after(Stamp(1)).is_some(), left[0] > 0);
        }
    }
}
