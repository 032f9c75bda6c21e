//! HEP as a live source: what proxies and their agents send to us over UDP and TCP.
//!
//! ```text
//! UDP sockets ------------------- datagram = record --\
//! TCP sockets --> connections --> cut by length -------+-> key? --> take(arrival, record)
//!        \----------- one epoll: fd() ----------------/
//! ```
//!
//! One file descriptor stands for all sockets, so that the capture thread waits for it and for its rings in one
//! poll(2); nothing here waits unless asked to. A turn reads a bounded share and leaves the rest for the next one:
//! a flood of records cannot starve the rings. Versions 1 and 2 tell no length and no key: they are taken over UDP
//! only, and not where a key is configured.
//!
//! A record arrives when it is read; the core prefers the time inside it, within 2 s.

mod connection;
mod listen;

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use self::connection::{Connection, OutOfStep};
pub use self::listen::{Listen, NotAnAddress};
use crate::Stamp;
use crate::hep::{self, Carrier, Key};

/// Receives records with the time of their arrival.
pub type Take<'t> = dyn FnMut(Stamp, &[u8]) + 't;

/// What to listen on, and what to accept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses; none = no sockets.
    pub listen: Vec<Listen>,
    /// Authentication key that every record has to carry; empty = none is asked for.
    pub key: Key,
    /// Open TCP connections.
    pub connections: usize,
    /// A connection that says nothing for so many seconds is closed. Agents are silent as long as their proxy is.
    pub idle_seconds: u64,
    /// Seconds in which a record that has begun must be complete.
    pub record_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            key: Key::default(),
            connections: 256,
            idle_seconds: 3600,
            record_seconds: 30,
        }
    }
}

/// What came, and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records handed over.
    pub records: u64,
    /// Bytes of those records.
    pub bytes: u64,
    /// No HEP, or with a chunk that does not fit; on TCP also what is out of step, once a connection.
    pub bad: u64,
    /// Datagrams shorter than their record, and records that ended with their connection.
    pub truncated: u64,
    /// Records without the configured key.
    pub refused_auth: u64,
    /// TCP connections accepted.
    pub connections: u64,
    /// TCP connections turned away because there were too many, or no file descriptors.
    pub connections_refused: u64,
    /// TCP connections closed by us: out of step, idle, too slow, or to make room for others.
    pub connections_closed: u64,
}

/// A socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("HEP cannot listen on {place}: {cause}; is the address this host's, and the port free?")]
pub struct Error {
    /// Which one.
    pub place: String,
    /// What the system answered.
    #[source]
    pub cause: io::Error,
}

/// The sockets.
pub struct Listener {
    epoll: OwnedFd,
    doors: Vec<Door>,
    /// By place; their number in epoll is the place behind the doors.
    connections: Vec<Option<Connection>>,
    settings: Settings,
    counters: Counters,
    buffer: Vec<u8>,
    /// Out of file descriptors: nobody is let in before this moment.
    shut_until: Option<Stamp>,
    next_sweep: Stamp,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("doors", &self.doors)
            .field("open", &self.open())
            .finish_non_exhaustive()
    }
}

/// A socket to which anyone may send.
#[derive(Debug)]
enum Door {
    Udp(UdpSocket),
    Tcp(TcpListener),
}

impl Listener {
    /// Binds every address: before privileges are dropped.
    pub fn bind(settings: Settings) -> Result<Self, Error> {
        let places = || settings.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|errno| Error { place: places(), cause: errno.into() })?;
        let mut doors = Vec::new();
        for listen in &settings.listen {
            let door = Door::open(listen)
                .and_then(|door| watch(&epoll, door.fd(), doors.len()).map(|()| door))
                .map_err(|cause| Error { place: listen.to_string(), cause })?;
            doors.push(door);
        }
        Ok(Self {
            epoll,
            doors,
            connections: (0..settings.connections).map(|_| None).collect(),
            settings,
            counters: Counters::default(),
            buffer: vec![0; BUFFER_BYTES],
            shut_until: None,
            next_sweep: Stamp(0),
        })
    }

    /// For poll(2): readable when anything has come.
    pub fn fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }

    /// Addresses bound to, in the order of the configuration: those that left the port open have got one.
    pub fn local(&self) -> impl Iterator<Item = Listen> {
        self.doors.iter().filter_map(|door| {
            let (carrier, address) = match door {
                Door::Udp(socket) => (Carrier::Udp, socket.local_addr()),
                Door::Tcp(socket) => (Carrier::Tcp, socket.local_addr()),
            };
            Some(Listen { carrier, address: address.ok()? })
        })
    }

    /// Everything counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Open TCP connections.
    pub fn open(&self) -> usize {
        self.connections.iter().flatten().count()
    }

    /// Takes a share of what has come, and closes connections that are due. It never waits; what is left keeps the
    /// file descriptor readable. To be called now and then on a quiet wire too.
    pub fn read_ready(&mut self, now: Stamp, take: &mut Take<'_>) {
        let mut events = [const { MaybeUninit::uninit() }; EVENTS];
        // Interrupted by a signal is as good as quiet.
        let now_or_never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ready = epoll::wait(&self.epoll, events.as_mut_slice(), Some(&now_or_never));
        for event in ready.map(|(ready, _)| ready).unwrap_or_default() {
            let number = event.data.u64() as usize;
            match number.checked_sub(self.doors.len()) {
                None => self.door(number, now, take),
                Some(place) => self.connection(place, now, take),
            }
        }
        // The second test is for a clock that was set back.
        if now >= self.next_sweep || self.next_sweep.nanos_since(now) > 2 * SWEEP_NANOS {
            self.next_sweep = now.plus_nanos(SWEEP_NANOS);
            self.sweep(now);
        }
    }

    fn door(&mut self, number: usize, now: Stamp, take: &mut Take<'_>) {
        let Self { doors, settings, counters, buffer, .. } = self;
        match doors.get(number) {
            Some(Door::Udp(socket)) => {
                for _ in 0..DATAGRAMS_A_TURN {
                    // No error of a socket that sends nothing is for good: the next turn tries again.
                    let Ok((len, _)) = socket.recv_from(buffer) else { break };
                    let record = buffer.get(..len).unwrap_or_default();
                    accept(record, now, &settings.key, counters, take);
                }
            }
            Some(Door::Tcp(_)) => self.let_in(number, now),
            None => {}
        }
    }

    fn let_in(&mut self, number: usize, now: Stamp) {
        for _ in 0..ACCEPTS_A_TURN {
            let Some(Door::Tcp(socket)) = self.doors.get(number) else { return };
            match socket.accept() {
                Ok((stream, _)) => {
                    let Some(place) = self.room(now) else {
                        self.counters.connections_refused += 1;
                        continue;
                    };
                    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
                    let kept = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
                    let ready = kept.and_then(|()| stream.set_nonblocking(true));
                    let number = self.doors.len() + place;
                    match (
                        ready.and_then(|()| watch(&self.epoll, &stream, number)),
                        self.connections.get_mut(place),
                    ) {
                        (Ok(()), Some(slot)) => {
                            *slot = Some(Connection::new(stream, now));
                            self.counters.connections += 1;
                        }
                        _ => self.counters.connections_refused += 1,
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The peer was gone before we came.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                // Out of file descriptors or memory: the socket stays readable, and we would come back at once.
                Err(_) => {
                    self.counters.connections_refused += 1;
                    self.shut(now);
                    return;
                }
            }
        }
    }

    /// A free place; if there is none, that of the longest silent connection which never was an agent's. One that
    /// was only just let in has its chance first: else a flood of connections would push out every agent before
    /// its first record.
    fn room(&mut self, now: Stamp) -> Option<usize> {
        if let Some(place) = self.connections.iter().position(Option::is_none) {
            return Some(place);
        }
        let strangers = self.connections.iter().enumerate().filter_map(|(place, connection)| {
            let connection = connection.as_ref()?;
            let silent = now.nanos_since(connection.heard) >= STRANGER_NANOS;
            (silent && !connection.proven).then_some((connection.heard, place))
        });
        let (_, place) = strangers.min()?;
        self.close(place);
        Some(place)
    }

    fn connection(&mut self, place: usize, now: Stamp, take: &mut Take<'_>) {
        let Self { connections, settings, counters, buffer, .. } = self;
        let Some(slot) = connections.get_mut(place) else { return };
        // It may have been closed earlier in this turn.
        let Some(connection) = slot else { return };
        match connection.stream.read(buffer) {
            Ok(len @ 1..) => {
                let mut proven = connection.proven;
                let bytes = buffer.get(..len).unwrap_or_default();
                let fed = connection.feed(now, bytes, &mut |record| {
                    proven |= accept(record, now, &settings.key, counters, take);
                });
                connection.proven = proven;
                if fed == Err(OutOfStep) {
                    counters.bad += 1;
                    self.close(place);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Ok(_) | Err(_) => {
                counters.truncated += u64::from(connection.is_within_record());
                *slot = None;
            }
        }
    }

    /// Closing its only descriptor takes a socket out of the epoll.
    fn close(&mut self, place: usize) {
        if let Some(slot) = self.connections.get_mut(place) {
            *slot = None;
            self.counters.connections_closed += 1;
        }
    }

    fn sweep(&mut self, now: Stamp) {
        let seconds = |since: Stamp| now.nanos_since(since).max(0) as u64 / 1_000_000_000;
        let Settings { idle_seconds, record_seconds, .. } = self.settings;
        for slot in &mut self.connections {
            let Some(connection) = slot else { continue };
            let slow = connection.is_within_record() && seconds(connection.begun) >= record_seconds;
            if slow || seconds(connection.heard) >= idle_seconds {
                self.counters.truncated += u64::from(connection.is_within_record());
                self.counters.connections_closed += 1;
                *slot = None;
            }
        }
        let set_back = |until: Stamp| until.nanos_since(now) > 2 * SHUT_NANOS;
        if self.shut_until.is_some_and(|until| now >= until || set_back(until)) {
            self.shut_until = None;
            self.set_doors(EventFlags::IN);
        }
    }

    fn shut(&mut self, now: Stamp) {
        self.shut_until = Some(now.plus_nanos(SHUT_NANOS));
        self.set_doors(EventFlags::empty());
    }

    fn set_doors(&self, flags: EventFlags) {
        for (number, door) in self.doors.iter().enumerate() {
            if let Door::Tcp(socket) = door {
                // It was added, so it can be changed; were it not so, it would only be tried again sooner.
                let _ = epoll::modify(&self.epoll, socket, EventData::new_u64(number as u64), flags);
            }
        }
    }
}

impl Door {
    fn open(listen: &Listen) -> io::Result<Self> {
        let domain = Domain::for_address(listen.address);
        let (kind, protocol) = match listen.carrier {
            Carrier::Udp => (Type::DGRAM, Protocol::UDP),
            Carrier::Tcp => (Type::STREAM, Protocol::TCP),
        };
        let socket = Socket::new(domain, kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        match listen.carrier {
            Carrier::Udp => {
                // As much as the system grants: the thread may be with its rings for a while.
                let _ = socket.set_recv_buffer_size(RECEIVE_BYTES);
                socket.bind(&listen.address.into())?;
                Ok(Self::Udp(socket.into()))
            }
            Carrier::Tcp => {
                socket.set_reuse_address(true)?;
                socket.bind(&listen.address.into())?;
                socket.listen(BACKLOG)?;
                Ok(Self::Tcp(socket.into()))
            }
        }
    }

    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Udp(socket) => socket.as_fd(),
            Self::Tcp(socket) => socket.as_fd(),
        }
    }
}

fn watch(epoll: &OwnedFd, socket: impl AsFd, number: usize) -> io::Result<()> {
    Ok(epoll::add(epoll, socket, EventData::new_u64(number as u64), EventFlags::IN)?)
}

/// Hands over a record that is one, from someone who knows the key.
fn accept(record: &[u8], now: Stamp, key: &Key, counters: &mut Counters, take: &mut Take<'_>) -> bool {
    match hep::auth_key(record) {
        Ok(told) if key.admits(told) => {
            counters.records += 1;
            counters.bytes += record.len() as u64;
            take(now, record);
            return true;
        }
        Ok(_) => counters.refused_auth += 1,
        Err(hep::Error::Truncated { .. }) => counters.truncated += 1,
        Err(_) => counters.bad += 1,
    }
    false
}

/// Longer than any record and any datagram.
const BUFFER_BYTES: usize = 64 << 10;
/// Sockets looked at in a turn.
const EVENTS: usize = 32;
/// Datagrams read from one socket in a turn: some 0.1 ms.
const DATAGRAMS_A_TURN: usize = 64;
const ACCEPTS_A_TURN: usize = 16;
/// Asked of the system for each UDP socket.
const RECEIVE_BYTES: usize = 4 << 20;
const BACKLOG: i32 = 128;
/// A peer that vanished is found out after some such times.
const KEEPALIVE: Duration = Duration::from_mins(1);
/// A connection that never brought a record and was silent for so long gives way to a new one.
const STRANGER_NANOS: i64 = 10_000_000_000;
/// From one look at idle connections to the next.
const SWEEP_NANOS: i64 = 1_000_000_000;
/// Nobody is let in for so long when there are no file descriptors.
const SHUT_NANOS: i64 = 1_000_000_000;

#[cfg(test)]
mod tests;
