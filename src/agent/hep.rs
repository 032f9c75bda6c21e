//! HEP of the running agent: what proxies send to it, and what it sends on.
//!
//! ```text
//! sockets -> Listener --(capture thread)--> Observer::hep            records sent to us
//! rings ---> Observer -- Sink::message, streams --> Outlet: Spools --> a thread each: Sender -> Homer
//! ```
//!
//! HEP that passes on a captured interface is not looked at, unless `[capture] decode_hep` asks for it. Then the
//! agent's own has to be told apart: what it sends carries its number and name; what it receives on a socket is seen
//! on the interface too, on more than one behind a bridge, and only the first sight of the same bytes counts.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Sender as Queue;
use foldhash::fast::RandomState;
use serde_json::{Value, json};

use super::leave;
use super::shared::{Description, Fact, Shared};
use super::tap::send;
use crate::Stamp;
use crate::capture::hep::{self as incoming, Listen, Listener};
use crate::event::{Described, Event, Heard, Mirrored, Sink};
use crate::evidence::Recorder;
use crate::export::hep::{self as outgoing, Peer, Sender, Spool};
use crate::export::prometheus::HepStats;
use crate::hep::Hep as Record;
use crate::http::Condition;
use crate::log::project;
use crate::observer::{self, Observer};
use crate::process::host;

/// What to receive and what to send.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where to listen, and what to accept.
    pub incoming: incoming::Settings,
    /// Whom to send to.
    pub send: Vec<Peer>,
    /// How to send, to each of them. Without a node, the name of the host is sent.
    pub outgoing: outgoing::Settings,
    /// HEP on the captured interfaces is read too.
    pub decode: bool,
}

/// The capture thread's part of it.
pub(super) struct Hep {
    listener: Option<Listener>,
    pub(super) outlet: Outlet,
}

/// What goes out, and what of it may come back.
pub(super) struct Outlet {
    peers: Vec<Peer>,
    spools: Vec<Spool>,
    /// Where HEP is looked for on interfaces.
    own: Option<Own>,
}

/// How the agent's own records are known.
struct Own {
    agent: u32,
    node: Vec<u8>,
    sends: bool,
    hasher: RandomState,
    /// Records seen last, by their hash.
    seen: Vec<Sighting>,
}

#[derive(Clone, Copy, Default)]
struct Sighting {
    hash: u64,
    at: Stamp,
}

/// Sending threads, and the flag that ends them.
pub(super) struct Senders {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Takes what the observer has to say: events to the facts thread, messages and streams to the spools, all that may
/// become evidence to its recorder.
pub(super) struct Outlets<'a> {
    pub(super) events: &'a Queue<Fact>,
    pub(super) shared: &'a Shared,
    pub(super) evidence: &'a mut Option<Recorder>,
    pub(super) outlet: &'a mut Outlet,
}

impl Settings {
    /// What the observer has to know.
    pub fn observe(&self, observer: &mut observer::Settings) {
        observer.decode_hep = self.decode;
        observer.mirror = !self.send.is_empty();
    }

    /// Binds the sockets, before privileges are dropped; the senders are still to be started.
    pub(super) fn open(self) -> Result<(Hep, Vec<Sender>), incoming::Error> {
        let Self { incoming, send, mut outgoing, decode } = self;
        if outgoing.node.is_empty() {
            outgoing.node = host::name();
        }
        let listener = if incoming.listen.is_empty() { None } else { Some(Listener::bind(incoming)?) };
        let own = decode.then(|| Own {
            agent: outgoing.agent,
            node: outgoing.node.clone().into_bytes(),
            sends: !send.is_empty(),
            hasher: RandomState::default(),
            seen: vec![Sighting::default(); SIGHTINGS],
        });
        let (spools, senders) = send
            .iter()
            .map(|peer| outgoing::open(outgoing::Settings { peer: peer.clone(), ..outgoing.clone() }))
            .unzip();
        Ok((Hep { listener, outlet: Outlet { peers: send, spools, own } }, senders))
    }
}

impl Hep {
    /// For poll(2): readable when a record has come.
    pub(super) fn fd(&self) -> Option<RawFd> {
        self.listener.as_ref().map(Listener::fd)
    }

    /// Takes a share of what has come.
    pub(super) fn take(
        &mut self,
        now: Stamp,
        observer: &mut Observer,
        events: &Queue<Fact>,
        evidence: &mut Option<Recorder>,
        shared: &Shared,
    ) {
        let Self { listener: Some(listener), outlet } = self else { return };
        listener.read_ready(now, &mut |stamp, record| {
            if outlet.own.as_mut().is_some_and(|own| own.is_seen(stamp, record)) {
                return;
            }
            observer.hep(stamp, record, &mut Outlets { events, shared, evidence, outlet });
        });
    }

    /// Where it listens.
    pub(super) fn local(&self) -> Vec<Listen> {
        self.listener.iter().flat_map(Listener::local).collect()
    }

    /// Everything counted so far.
    pub(super) fn counts(&self) -> HepStats {
        HepStats {
            received: self.listener.as_ref().map(Listener::counters),
            connections: self.listener.as_ref().map_or(0, Listener::open) as u64,
            sent: self
                .outlet
                .peers
                .iter()
                .zip(&self.outlet.spools)
                .map(|(peer, spool)| (peer.to_string(), spool.counters()))
                .collect(),
        }
    }
}

impl Sink for Outlets<'_> {
    fn event(&mut self, event: Event) {
        if let Event::Stream(stream) = &event {
            for spool in &mut self.outlet.spools {
                spool.stream(stream);
            }
        }
        if let Some(evidence) = self.evidence {
            match &event {
                Event::Stream(stream) => evidence.stream(stream),
                Event::Call(call) => evidence.call(call),
                _ => {}
            }
        }
        send(self.events, self.shared, Fact::Event(Box::new(event)));
    }

    fn wants_described(&self) -> bool {
        project::wants_described(&self.shared.logs)
    }

    fn described(&mut self, described: &Described<'_>) {
        send(self.events, self.shared, Fact::Described(Box::new(Description::of(described))));
    }

    fn message(&mut self, message: &Mirrored<'_>) {
        for spool in &mut self.outlet.spools {
            spool.message(message);
        }
        if let Some(evidence) = self.evidence {
            evidence.message(message, false);
        }
    }

    fn retold(&mut self, message: &Mirrored<'_>) {
        if let Some(evidence) = self.evidence {
            evidence.message(message, true);
        }
    }

    #[inline]
    fn wants_headers(&self) -> bool {
        self.evidence.as_ref().is_some_and(Recorder::wants_headers)
    }

    #[inline]
    fn header(&mut self, heard: &Heard) {
        if let Some(evidence) = self.evidence {
            evidence.header(heard);
        }
    }

    fn is_own_hep(&mut self, stamp: Stamp, record: &[u8], decoded: &Record<'_>) -> bool {
        let Some(own) = &mut self.outlet.own else { return false };
        own.has_sent(decoded) || own.is_seen(stamp, record)
    }
}

impl Own {
    fn has_sent(&self, record: &Record<'_>) -> bool {
        self.sends && record.agent == self.agent && record.node == self.node
    }

    /// Notes a record, and tells whether it came a moment ago. Either way may be the first, interface or socket: a
    /// frame waits in its ring, a record in its socket. The time in a record keeps two of them apart.
    fn is_seen(&mut self, at: Stamp, record: &[u8]) -> bool {
        let hash = self.hasher.hash_one(record);
        let Some(slot) = self.seen.get_mut(hash as usize % SIGHTINGS) else { return false };
        let seen = slot.hash == hash && at.nanos_since(slot.at).abs() < SEEN_NANOS;
        *slot = Sighting { hash, at };
        seen
    }
}

impl Senders {
    /// One thread for each receiver: none of them holds up another.
    pub(super) fn start(
        senders: Vec<Sender>,
        spawn: impl Fn(Box<dyn FnOnce() + Send>) -> Result<JoinHandle<()>, super::Failure>,
    ) -> Result<Self, super::Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |sender: Sender| {
            let stop = Arc::clone(&stop);
            spawn(Box::new(move || sender.run(&stop)))
        };
        let threads = senders.into_iter().map(start).collect::<Result<_, _>>()?;
        Ok(Self { stop, threads })
    }

    /// Capture is over and everything is spooled: sends what can be sent within the time that is set for it.
    pub(super) fn finish(self) {
        self.stop.store(true, Ordering::Release);
        leave(&self.threads, FINISH);
    }
}

/// For the health page; `None` where HEP is not used.
pub(super) fn health(stats: &HepStats) -> Option<(Condition, BTreeMap<String, Value>)> {
    if stats.received.is_none() && stats.sent.is_empty() {
        return None;
    }
    let mut detail: BTreeMap<String, Value> = BTreeMap::new();
    if let Some(received) = &stats.received {
        detail.insert("received".into(), json!(received.records));
        detail.insert("refused".into(), json!(received.bad + received.truncated + received.refused_auth));
        detail.insert("connections".into(), json!(stats.connections));
    }
    let mut condition = Condition::Up;
    for (peer, counters) in &stats.sent {
        if counters.is_down() {
            condition = Condition::Degraded;
        }
        let told = json!({ "connected": counters.connected, "sent": counters.sent, "lost": counters.lost(),
            "waiting_bytes": counters.waiting_bytes });
        detail.insert(format!("to {peer}"), told);
    }
    Some((condition, detail))
}

/// Records remembered while the other sight of them is awaited.
const SIGHTINGS: usize = 16_384;
const SEEN_NANOS: i64 = 5_000_000_000;
/// How often, and from when to when, the end of the sending is looked for: longer than sending may take.
const FINISH: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hep::Kind;
    use crate::wire::Endpoint;

    fn own() -> Own {
        Own {
            agent: 2001,
            node: b"here".to_vec(),
            sends: true,
            hasher: RandomState::default(),
            seen: vec![Sighting::default(); SIGHTINGS],
        }
    }

    #[test]
    fn a_record_is_taken_once_however_often_it_is_seen() {
        let mut own = own();
        assert!(!own.is_seen(Stamp(1), b"one"));
        assert!(!own.is_seen(Stamp(2), b"two"));
        assert!(own.is_seen(Stamp(3), b"one"));
        assert!(own.is_seen(Stamp(3), b"two"));
        assert!(own.is_seen(Stamp(4), b"one"));
    }

    #[test]
    fn the_same_bytes_later_are_another_record() {
        let mut own = own();
        assert!(!own.is_seen(Stamp(0), b"one"));
        assert!(!own.is_seen(Stamp(SEEN_NANOS as u64), b"one"));
    }

    #[test]
    fn what_it_sent_is_known_by_number_and_name() {
        let at = Endpoint { ip: [192, 0, 2, 1].into(), port: 5060 };
        let record = |agent, node| Record {
            source: at,
            destination: at,
            protocol: 17,
            stamp: None,
            kind: Kind::Sip,
            agent,
            node,
            auth_key: b"",
            correlation: b"",
            payload: b"",
        };
        let own = own();
        assert!(own.has_sent(&record(2001, b"here")));
        assert!(!own.has_sent(&record(2001, b"there")));
        assert!(!own.has_sent(&record(2002, b"here")));
        assert!(!Own { sends: false, ..own }.has_sent(&record(2001, b"here")));
    }
}
