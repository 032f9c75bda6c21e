//! What waits to be sent: encoded records in chunks, bounded in bytes.
//!
//! The capture thread appends to the last chunk, the sending thread takes the first one whole. The lock is held for
//! the copy of one record or the move of one chunk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Rtcp, Settings, report};
use crate::event::{MirrorKind, Mirrored, Stream};
use crate::hep::{self, Hep, Kind, Packer};

/// The capture thread's end.
#[derive(Debug)]
pub struct Spool {
    store: Arc<Store>,
    packer: Option<Packer>,
    record: Vec<u8>,
    json: Vec<u8>,
    key: Vec<u8>,
    node: Vec<u8>,
    agent: u32,
    rtcp: Rtcp,
    reports: bool,
}

/// What became of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records accepted into the spool.
    pub accepted: u64,
    /// Records given to the system to send; over UDP, and around a broken TCP connection, it may lose them yet.
    pub sent: u64,
    /// Bytes of those records.
    pub sent_bytes: u64,
    /// Records lost because the spool was full.
    pub lost_full: u64,
    /// Records lost because no datagram is so long.
    pub lost_too_long: u64,
    /// Datagrams the peer's host sent back: nobody listens.
    pub lost_refused: u64,
    /// Records left in the spool at the end.
    pub lost_at_end: u64,
    /// Connections made; for UDP, sockets.
    pub connects: u64,
    /// Attempts to connect that failed, unresolvable names included.
    pub connect_failures: u64,
    /// Connections that broke.
    pub breaks: u64,
    /// Connections given up because the peer took nothing any more.
    pub stalls: u64,
    /// Bytes that wait now.
    pub waiting_bytes: u64,
    /// There is a connection, or a UDP socket that was not refused.
    pub connected: bool,
}

impl Counters {
    /// Records that never went out.
    pub fn lost(&self) -> u64 {
        self.lost_full + self.lost_too_long + self.lost_refused + self.lost_at_end
    }

    /// The receiver was tried, and is away now.
    pub fn is_down(&self) -> bool {
        !self.connected && self.connect_failures + self.breaks + self.stalls + self.lost_refused > 0
    }
}

impl Spool {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            store: Arc::new(Store::new(settings.spool_bytes)),
            packer: settings.compress.then(Packer::default),
            record: Vec::new(),
            json: Vec::new(),
            key: settings.key.bytes().to_vec(),
            node: settings.node.clone().into_bytes(),
            agent: settings.agent,
            rtcp: settings.rtcp,
            reports: settings.reports,
        }
    }

    pub(super) fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// Everything counted so far.
    pub fn counters(&self) -> Counters {
        self.store.counters()
    }

    /// A message off the wire.
    pub fn message(&mut self, message: &Mirrored<'_>) {
        let mut json = std::mem::take(&mut self.json);
        let hep = |kind, payload| Hep {
            source: message.source,
            destination: message.destination,
            protocol: message.protocol,
            stamp: Some(message.stamp),
            kind,
            agent: 0,
            node: &[],
            auth_key: &[],
            correlation: message.call_id.as_bytes(),
            payload,
        };
        match (message.kind, self.rtcp) {
            (MirrorKind::Sip, _) => self.push(&hep(Kind::Sip, message.bytes)),
            (MirrorKind::Rtcp, Rtcp::Binary) => self.push(&hep(Kind::Rtcp, message.bytes)),
            (MirrorKind::Rtcp, Rtcp::Json) => {
                if report::rtcp(message.bytes, &mut json) {
                    self.push(&hep(Kind::RtcpJson, &json));
                }
            }
            (MirrorKind::Rtcp, Rtcp::Off) => {}
        }
        self.json = json;
    }

    /// A stream that is over.
    pub fn stream(&mut self, stream: &Stream) {
        if !self.reports {
            return;
        }
        let mut json = std::mem::take(&mut self.json);
        report::stream(stream, &mut json);
        self.push(&Hep {
            source: stream.source,
            destination: stream.destination,
            protocol: 17,
            stamp: Some(stream.last),
            kind: Kind::Other(report::STREAM_KIND),
            agent: 0,
            node: &[],
            auth_key: &[],
            correlation: stream.call_id.as_deref().unwrap_or_default().as_bytes(),
            payload: &json,
        });
        self.json = json;
    }

    /// Any record; agent, node and key are those of the settings. It never waits for the peer.
    pub fn push(&mut self, hep: &Hep<'_>) {
        let hep = Hep { agent: self.agent, node: &self.node, auth_key: &self.key, ..*hep };
        match &mut self.packer {
            Some(packer) => packer.encode(&hep, &mut self.record),
            None => hep::encode(&hep, &mut self.record),
        }
        self.store.push(&self.record);
    }
}

/// What both threads know.
#[derive(Debug)]
pub(super) struct Store {
    queue: Mutex<Queue>,
    filled: Condvar,
    max_chunks: usize,
    pub(super) tally: Tally,
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Vec<u8>>,
    /// Bytes in `chunks`.
    bytes: usize,
    /// The sender holds a chunk, which counts as one of them.
    taken: bool,
    /// A chunk that was sent, to be filled again.
    spare: Option<Vec<u8>>,
    /// The sender waits, and wants to be woken.
    asleep: bool,
}

/// The counters behind [`Counters`].
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) accepted: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) lost_full: AtomicU64,
    pub(super) lost_too_long: AtomicU64,
    pub(super) lost_refused: AtomicU64,
    pub(super) lost_at_end: AtomicU64,
    pub(super) connects: AtomicU64,
    pub(super) connect_failures: AtomicU64,
    pub(super) breaks: AtomicU64,
    pub(super) stalls: AtomicU64,
    pub(super) connected: AtomicBool,
}

impl Store {
    fn new(bytes: usize) -> Self {
        Self {
            queue: Mutex::default(),
            filled: Condvar::new(),
            max_chunks: (bytes / CHUNK_BYTES).max(2),
            tally: Tally::default(),
        }
    }

    fn push(&self, record: &[u8]) {
        let mut queue = self.lock();
        let room = queue.chunks.back().is_some_and(|chunk| chunk.len() + record.len() <= CHUNK_BYTES);
        if !room {
            if queue.chunks.len() + usize::from(queue.taken) >= self.max_chunks {
                drop(queue);
                add(&self.tally.lost_full, 1);
                return;
            }
            let chunk = queue.spare.take().unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES));
            queue.chunks.push_back(chunk);
        }
        if let Some(chunk) = queue.chunks.back_mut() {
            chunk.extend_from_slice(record);
        }
        queue.bytes += record.len();
        let asleep = std::mem::take(&mut queue.asleep);
        drop(queue);
        add(&self.tally.accepted, 1);
        if asleep {
            self.filled.notify_one();
        }
    }

    /// The oldest chunk; what the sender had before is done with. Waits for one at most so long.
    pub(super) fn take(&self, done: Option<Vec<u8>>, timeout: Duration) -> Option<Vec<u8>> {
        let mut queue = self.lock();
        queue.taken = false;
        if let Some(mut chunk) = done {
            chunk.clear();
            queue.spare.get_or_insert(chunk);
        }
        if queue.chunks.is_empty() && !timeout.is_zero() {
            queue.asleep = true;
            let woken = self.filled.wait_timeout(queue, timeout);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
            queue.asleep = false;
        }
        let chunk = queue.chunks.pop_front()?;
        queue.bytes -= chunk.len();
        queue.taken = true;
        Some(chunk)
    }

    pub(super) fn counters(&self) -> Counters {
        let waiting_bytes = self.lock().bytes as u64;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tally = &self.tally;
        Counters {
            accepted: get(&tally.accepted),
            sent: get(&tally.sent),
            sent_bytes: get(&tally.sent_bytes),
            lost_full: get(&tally.lost_full),
            lost_too_long: get(&tally.lost_too_long),
            lost_refused: get(&tally.lost_refused),
            lost_at_end: get(&tally.lost_at_end),
            connects: get(&tally.connects),
            connect_failures: get(&tally.connect_failures),
            breaks: get(&tally.breaks),
            stalls: get(&tally.stalls),
            waiting_bytes,
            connected: tally.connected.load(Ordering::Relaxed),
        }
    }

    /// A thread that died inside left at worst a record half appended: better than to stop capture.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// No record is longer.
const CHUNK_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::super::tests::hep;
    use super::*;

    fn spool(bytes: usize) -> Spool {
        Spool::new(&Settings { spool_bytes: bytes, ..Settings::default() })
    }

    #[test]
    fn a_full_spool_refuses_what_is_new_and_holds_no_more_than_it_may() {
        let mut spool = spool(256 << 10);
        let payload = vec![b'x'; 1000];
        for _ in 0..1000 {
            spool.push(&hep(&payload));
        }
        let counters = spool.counters();
        assert_eq!(counters.accepted + counters.lost_full, 1000);
        assert!(counters.lost_full > 700, "{counters:?}");
        assert!((200 << 10..=256 << 10).contains(&counters.waiting_bytes), "{counters:?}");

        // What the sender holds counts until it is done with it.
        let chunk = spool.store.take(None, Duration::ZERO).unwrap();
        spool.push(&hep(&payload));
        assert_eq!(spool.counters().lost_full, counters.lost_full + 1);
        let next = spool.store.take(Some(chunk), Duration::ZERO).unwrap();
        assert!(next.len() <= CHUNK_BYTES);
        spool.push(&hep(&payload));
        assert_eq!(spool.counters().lost_full, counters.lost_full + 1);
    }

    #[test]
    fn records_come_out_whole_and_in_order() {
        let mut spool = spool(4 << 20);
        for number in 0..3000_u32 {
            spool.push(&hep(&number.to_string().repeat(20).into_bytes()));
        }
        let (mut done, mut number) = (None, 0_u32);
        while let Some(chunk) = spool.store.take(done.take(), Duration::ZERO) {
            let mut rest = chunk.as_slice();
            while let hep::Next::Record(len) = hep::next(rest) {
                let mut scratch = Vec::new();
                let record = hep::decode(&rest[..len], &mut scratch).unwrap();
                assert_eq!(record.payload, number.to_string().repeat(20).as_bytes());
                assert_eq!(record.agent, 2001);
                rest = &rest[len..];
                number += 1;
            }
            assert!(rest.is_empty());
            done = Some(chunk);
        }
        assert_eq!((number, spool.counters().waiting_bytes), (3000, 0));
    }

    #[test]
    fn the_longest_record_fits_into_a_chunk() {
        let mut spool = spool(0);
        spool.push(&hep(&vec![b'x'; 70_000]));
        assert_eq!(spool.counters().accepted, 1);
        assert_eq!(spool.store.take(None, Duration::ZERO).unwrap().len(), 65_535);
    }
}
