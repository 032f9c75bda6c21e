//! The thread that empties the spool. A dead or slow peer delays it and nobody else.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
#[allow(clippy::disallowed_types, reason = "how long a peer has been silent is no packet time")]
use std::time::Instant;

use super::link::Link;
use super::spool::{Counters, Store, add};
use super::{Peer, Settings};
use crate::hep::{self, Carrier, Next};

/// Sends what is spooled.
#[derive(Debug)]
pub struct Sender {
    store: Arc<Store>,
    peer: Peer,
    stall: Duration,
    longest_pause: Duration,
    drain: Duration,
    link: Option<Link>,
    /// When the link was made.
    since: Moment,
    pause: Duration,
    /// The trouble was told to the log already.
    told: bool,
    /// When everything has to be over; `None` until it is told to stop.
    end: Option<Moment>,
}

#[allow(clippy::disallowed_types, reason = "see the import")]
type Moment = Instant;

/// Where in a chunk the sending is.
struct Progress {
    /// Beginning of the first record that is not wholly sent.
    record: usize,
    /// First byte that is not sent.
    byte: usize,
}

impl Sender {
    pub(super) fn new(settings: Settings, store: Arc<Store>) -> Self {
        let Settings { peer, stall, back_off, drain, .. } = settings;
        Self {
            store,
            peer,
            stall,
            longest_pause: back_off,
            drain,
            link: None,
            since: now(),
            pause: FIRST_PAUSE,
            told: false,
            end: None,
        }
    }

    /// Everything counted so far.
    pub fn counters(&self) -> Counters {
        self.store.counters()
    }

    /// Sends until it is told to stop, and then what is left, as long as the settings allow.
    pub fn run(mut self, stop: &AtomicBool) {
        let mut done = None;
        while !self.is_over(stop) {
            let timeout = if self.end.is_some() { Duration::ZERO } else { IDLE };
            match self.store.take(done.take(), timeout) {
                Some(chunk) => {
                    let left = self.deliver(&chunk, stop);
                    add(&self.store.tally.lost_at_end, left);
                    done = Some(chunk);
                    // Let some records come together: one wake and one write for them all.
                    if self.end.is_none() {
                        thread::sleep(GATHER);
                    }
                }
                None if self.end.is_some() => break,
                // A peer that went away is found out before the next record is lost to it.
                None => self.check(),
            }
        }
        while let Some(chunk) = self.store.take(done.take(), Duration::ZERO) {
            add(&self.store.tally.lost_at_end, records(&chunk));
            done = Some(chunk);
        }
        self.store.tally.connected.store(false, Ordering::Relaxed);
    }

    /// Sends a chunk; returns how many records were left when the end came.
    fn deliver(&mut self, chunk: &[u8], stop: &AtomicBool) -> u64 {
        self.check();
        let mut at = Progress { record: 0, byte: 0 };
        let mut moved = now();
        while at.byte < chunk.len() {
            if self.is_over(stop) {
                return records(chunk.get(at.record..).unwrap_or_default());
            }
            let Some(link) = &mut self.link else {
                self.connect(stop);
                moved = now();
                continue;
            };
            let rest = chunk.get(at.byte..).unwrap_or_default();
            let part = match (&link, hep::next(rest)) {
                (Link::Udp(_), Next::Record(len)) => rest.get(..len).unwrap_or(rest),
                _ => rest,
            };
            match link.write(part) {
                Ok(0) => {
                    self.broken(&mut at, "it takes nothing");
                    self.rest(stop);
                }
                Ok(len) => {
                    at.byte += len;
                    self.passed(chunk, &mut at);
                    moved = now();
                }
                Err(error) => match (error.kind(), self.peer.carrier) {
                    (ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted, _) => {
                        if moved.elapsed() >= self.stall {
                            add(&self.store.tally.stalls, 1);
                            self.drop_link(&mut at, "it takes nothing any more");
                            self.rest(stop);
                        }
                    }
                    // The host answered to an earlier datagram; this one was not sent.
                    (ErrorKind::ConnectionRefused, Carrier::Udp) => {
                        add(&self.store.tally.lost_refused, 1);
                        // The name may have moved to another address.
                        self.drop_link(&mut at, "nobody listens there");
                        self.rest(stop);
                    }
                    (_, Carrier::Udp) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                        add(&self.store.tally.lost_too_long, 1);
                        at.byte += part.len();
                        at.record = at.byte;
                    }
                    _ => {
                        self.broken(&mut at, &error.to_string());
                        self.rest(stop);
                    }
                },
            }
        }
        0
    }

    /// Counts the records that are wholly sent by now.
    fn passed(&mut self, chunk: &[u8], at: &mut Progress) {
        while let Next::Record(len) = hep::next(chunk.get(at.record..).unwrap_or_default()) {
            if at.record + len > at.byte {
                break;
            }
            at.record += len;
            add(&self.store.tally.sent, 1);
            add(&self.store.tally.sent_bytes, len as u64);
        }
        if self.since.elapsed() >= SETTLED {
            self.pause = FIRST_PAUSE;
            if self.told {
                self.told = false;
                tracing::info!(peer = %self.peer, "HEP is sent again");
            }
            self.store.tally.connected.store(true, Ordering::Relaxed);
        }
    }

    fn connect(&mut self, stop: &AtomicBool) {
        match Link::open(&self.peer) {
            Ok(link) => {
                self.link = Some(link);
                self.since = now();
                add(&self.store.tally.connects, 1);
                // A socket says nothing about who is behind it: after trouble, `passed` waits a while.
                if self.peer.carrier == Carrier::Tcp || !self.told {
                    self.store.tally.connected.store(true, Ordering::Relaxed);
                }
            }
            Err(error) => {
                add(&self.store.tally.connect_failures, 1);
                self.trouble(&error.to_string());
                self.rest(stop);
            }
        }
    }

    /// Is the connection still there?
    fn check(&mut self) {
        if self.link.as_ref().is_some_and(Link::is_closed) {
            self.broken(&mut Progress { record: 0, byte: 0 }, "it closed the connection");
        }
    }

    fn broken(&mut self, at: &mut Progress, why: &str) {
        add(&self.store.tally.breaks, 1);
        self.drop_link(at, why);
    }

    /// The peer has half a record at most: on the next connection it begins anew.
    fn drop_link(&mut self, at: &mut Progress, why: &str) {
        self.link = None;
        at.byte = at.record;
        self.trouble(why);
    }

    /// Told once, until it is over.
    fn trouble(&mut self, why: &str) {
        self.since = now();
        self.store.tally.connected.store(false, Ordering::Relaxed);
        if !self.told {
            self.told = true;
            tracing::warn!(peer = %self.peer, why, "HEP cannot be sent; it is kept as far as the spool goes");
        }
    }

    /// A pause that grows from one to the next.
    fn rest(&mut self, stop: &AtomicBool) {
        let until = now() + self.pause;
        self.pause = (self.pause * 2).min(self.longest_pause);
        while now() < until && !self.is_over(stop) {
            thread::sleep(LOOK_UP.min(until.saturating_duration_since(now())));
        }
    }

    fn is_over(&mut self, stop: &AtomicBool) -> bool {
        if self.end.is_none() && stop.load(Ordering::Acquire) {
            self.end = Some(now() + self.drain);
        }
        self.end.is_some_and(|end| now() >= end)
    }
}

fn records(mut chunk: &[u8]) -> u64 {
    let mut count = 0;
    while let Next::Record(len) = hep::next(chunk) {
        count += 1;
        chunk = chunk.get(len..).unwrap_or_default();
    }
    count
}

#[allow(clippy::disallowed_types, reason = "see the import")]
fn now() -> Moment {
    Instant::now()
}

/// Longest wait on an empty spool before the thread looks whether it shall stop.
const IDLE: Duration = Duration::from_millis(500);
const GATHER: Duration = Duration::from_millis(5);
const LOOK_UP: Duration = Duration::from_millis(50);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A connection that held so long is a good one.
const SETTLED: Duration = Duration::from_secs(2);
