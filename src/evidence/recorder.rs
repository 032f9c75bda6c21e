//! The capture thread's end: it writes down, turns pages, and never waits.
//!
//! There is a fixed number of pages. One that is full goes to the evidence thread and comes back empty; while none is
//! there, what comes is missed and counted.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::page::{Ended, Header, Page};
use super::stats::{Stats, add};
use crate::Stamp;
use crate::event::{Call, Heard, Mirrored, Stream};
use crate::trace::Sampling;

/// Where pages go and where they come from.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) out: Sender<Page>,
    pub(super) back: Receiver<Page>,
}

/// The same for who reads them.
#[derive(Debug)]
pub(super) struct Full {
    pub(super) pages: Receiver<Page>,
    pub(super) back: Sender<Page>,
}

/// All pages there will ever be.
pub(super) fn channels() -> (Pages, Full) {
    let (out, pages) = bounded(PAGES);
    let (back_in, back) = bounded(PAGES);
    for _ in 0..PAGES {
        // There is room for each of them.
        let _ = back_in.try_send(Page::default());
    }
    (Pages { out, back }, Full { pages, back: back_in })
}

/// Writes down what passes.
#[derive(Debug)]
pub struct Recorder {
    pages: Pages,
    page: Option<Page>,
    sampling: Sampling,
    /// Headers of RTP are wanted.
    rtp: bool,
    /// Since the last page.
    missed: u32,
    stats: Arc<Stats>,
    next_turn: Stamp,
}

impl Recorder {
    pub(super) fn new(pages: Pages, sampling: Sampling, rtp: bool, stats: Arc<Stats>) -> Self {
        Self { pages, page: None, sampling, rtp, missed: 0, stats, next_turn: Stamp(0) }
    }

    /// Whether [`Recorder::header`] is of use.
    #[inline]
    pub fn wants_headers(&self) -> bool {
        self.rtp
    }

    /// The header of an RTP packet.
    #[inline]
    pub fn header(&mut self, heard: &Heard) {
        match &mut self.page {
            Some(page) if page.has_room_for_header() => page.headers.push(Header::of(heard)),
            _ => self.header_elsewhere(heard),
        }
    }

    #[cold]
    fn header_elsewhere(&mut self, heard: &Heard) {
        match self.page_with(Page::has_room_for_header) {
            Some(page) => page.headers.push(Header::of(heard)),
            None => self.miss(),
        }
    }

    /// SIP or RTCP; `retold` by HEP.
    pub fn message(&mut self, message: &Mirrored<'_>, retold: bool) {
        match self.page_with(|page| page.has_room(message.bytes.len())) {
            Some(page) => page.put(message, retold),
            None => self.miss(),
        }
    }

    /// A stream is over.
    pub fn stream(&mut self, stream: &Stream) {
        let Some(ended) = Ended::of(stream).filter(|_| self.rtp && stream.call_id.is_some()) else { return };
        match self.page_with(Page::has_room_for_facts) {
            Some(page) => page.streams.push(ended),
            None => self.miss(),
        }
    }

    /// A call is over: its evidence is wanted if it was a bad one.
    pub fn call(&mut self, call: &Call) {
        if !self.sampling.is_bad(call) {
            return;
        }
        match self.page_with(Page::has_room_for_facts) {
            Some(page) => page.bad.push(call.clone()),
            None => add(&self.stats.calls_missed, 1),
        }
    }

    /// Time has come to `now`: what was written down is handed over once a second.
    #[inline]
    pub fn tick(&mut self, now: Stamp) {
        // The second test is for a clock that was set back.
        if now >= self.next_turn || self.next_turn.nanos_since(now) > 2 * TURN_NANOS {
            self.next_turn = now.plus_nanos(TURN_NANOS);
            self.hand_over();
        }
    }

    /// Hands over what was written down.
    pub fn hand_over(&mut self) {
        let Some(mut page) = self.page.take() else { return };
        if page.is_empty() {
            self.page = Some(page);
            return;
        }
        page.missed = std::mem::take(&mut self.missed);
        // There is room for all pages; who reads them may have died, and then there will be no more.
        let _ = self.pages.out.try_send(page);
    }

    /// The page, if it fits, or the next one.
    fn page_with(&mut self, fits: impl Fn(&Page) -> bool) -> Option<&mut Page> {
        if !self.page.as_ref().is_some_and(&fits) {
            self.hand_over();
            if self.page.is_none() {
                self.page = self.pages.back.try_recv().ok();
                let rtp = self.rtp;
                self.page.iter_mut().for_each(|page| page.prepare(rtp));
            }
        }
        self.page.as_mut().filter(|page| fits(page))
    }

    fn miss(&mut self) {
        self.missed = self.missed.saturating_add(1);
        add(&self.stats.missed, 1);
    }
}

/// On their way, and being filled. Of 10,000 headers each: at a million packets a second 80 ms.
pub(super) const PAGES: usize = 8;
const TURN_NANOS: i64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{FlowName, MirrorKind};
    use crate::evidence::page::{BYTES, HEADERS};
    use crate::export::samples;
    use crate::wire::Endpoint;

    fn heard(seq: u16) -> Heard {
        Heard {
            stamp: Stamp(u64::from(seq)),
            flow: FlowName::default(),
            ticks: 0,
            seq,
            length: 172,
            ip_id: 0,
            interface: 0,
            marker_and_type: 0,
        }
    }

    fn message(bytes: &[u8]) -> Mirrored<'_> {
        let at = Endpoint { ip: [192, 0, 2, 1].into(), port: 5060 };
        let kind = MirrorKind::Sip;
        Mirrored { stamp: Stamp(1), source: at, destination: at, protocol: 17, kind, call_id: "", bytes }
    }

    #[test]
    fn when_nobody_reads_it_misses_counts_and_goes_on() {
        let (pages, full) = channels();
        let stats = Arc::new(Stats::default());
        let mut recorder = Recorder::new(pages, Sampling::default(), true, Arc::clone(&stats));
        let room = PAGES * HEADERS;
        for n in 0..room + 100 {
            recorder.header(&heard(n as u16));
        }
        recorder.call(&samples::failed_call(crate::event::CallResult::Failed, Some(503)));
        recorder.message(&message(b"x"), false);
        let told = stats.snapshot();
        assert_eq!((told.missed, told.calls_missed, full.pages.len()), (101, 1, PAGES));
        // Somebody reads again.
        for mut page in full.pages.try_iter() {
            assert_eq!((page.headers.len(), page.missed), (HEADERS, 0));
            page.clear();
            full.back.try_send(page).unwrap();
        }
        recorder.header(&heard(7));
        recorder.hand_over();
        let page = full.pages.try_recv().unwrap();
        assert_eq!((page.headers.len(), page.missed), (1, 101));
    }

    #[test]
    fn what_a_page_has_no_room_for_is_in_the_next_one() {
        let (pages, full) = channels();
        let mut recorder = Recorder::new(pages, Sampling::default(), true, Arc::default());
        let (large, larger) = (vec![b'a'; BYTES], vec![b'a'; BYTES + 1]);
        for bytes in [&b"b"[..], &large, &larger, b"c"] {
            recorder.message(&message(bytes), false);
        }
        recorder.hand_over();
        let sizes: Vec<_> = full.pages.try_iter().map(|page| (page.bytes.len(), page.missed)).collect();
        assert_eq!(sizes, [(1, 0), (BYTES, 0), (1, 1)]);
        recorder.hand_over();
        recorder.tick(Stamp(5));
        assert!(full.pages.is_empty(), "nothing was written down");
    }
}
