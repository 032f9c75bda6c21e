use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;

use super::*;
use crate::hep::{Hep, Kind};
use crate::wire::Endpoint;

const SECOND: u64 = 1_000_000_000;

/// A listener on free ports of the loopback, and what came in.
struct Site {
    listener: Listener,
    udp: SocketAddr,
    tcp: SocketAddr,
    taken: Vec<Vec<u8>>,
    now: Stamp,
}

impl Site {
    fn new(settings: Settings) -> Self {
        let listen = Listen::parse("127.0.0.1:0").unwrap();
        let listener = Listener::bind(Settings { listen, ..settings }).unwrap();
        let local: Vec<Listen> = listener.local().collect();
        let (udp, tcp) = (local[0].address, local[1].address);
        Self { listener, udp, tcp, taken: Vec::new(), now: Stamp(1000 * SECOND) }
    }

    fn turn(&mut self) {
        self.listener.read_ready(self.now, &mut |_, record| self.taken.push(record.to_vec()));
    }

    /// Turns until it is so, for ten seconds of the real clock at most.
    fn until(&mut self, so: impl Fn(&Self) -> bool) {
        for _ in 0..5000 {
            self.turn();
            if so(self) {
                return;
            }
            sleep(Duration::from_millis(2));
        }
        panic!("{:?} with {} taken", self.counters(), self.taken.len());
    }

    fn counters(&self) -> Counters {
        self.listener.counters()
    }

    fn connect(&mut self) -> TcpStream {
        let before = self.counters();
        let stream = TcpStream::connect(self.tcp).unwrap();
        self.until(|site| {
            let now = site.counters();
            now.connections + now.connections_refused > before.connections + before.connections_refused
        });
        stream
    }

    fn datagram(&self, bytes: &[u8]) {
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(bytes, self.udp).unwrap();
    }
}

fn record(key: &str, payload: &str) -> Vec<u8> {
    let at = Endpoint { ip: [192, 0, 2, 1].into(), port: 5060 };
    let hep = Hep {
        source: at,
        destination: at,
        protocol: 17,
        stamp: Some(Stamp(0)),
        kind: Kind::Sip,
        agent: 1,
        node: b"",
        auth_key: key.as_bytes(),
        correlation: b"",
        payload: payload.as_bytes(),
    };
    let mut out = Vec::new();
    hep::encode(&hep, &mut out);
    out
}

/// The peer has closed it: a read ends, or breaks.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    match stream.read(&mut [0; 1]) {
        Ok(len) => len == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn records_come_by_datagrams_and_by_connections() {
    let mut site = Site::new(Settings::default());
    let records: Vec<_> =
        (0..20).map(|number| record("", &format!("BYE sip:{number} SIP/2.0\r\n"))).collect();
    for record in &records {
        site.datagram(record);
    }
    site.until(|site| site.taken.len() == 20);
    assert_eq!(site.taken, records);

    let mut stream = site.connect();
    // In pieces that end nowhere in particular.
    for piece in records.concat().chunks(77) {
        stream.write_all(piece).unwrap();
        site.turn();
    }
    site.until(|site| site.taken.len() == 40);
    assert_eq!(site.taken[20..], records);
    let counters = site.counters();
    assert_eq!((counters.records, counters.bytes), (40, 2 * records.concat().len() as u64));
    assert_eq!((counters.bad, counters.truncated, counters.refused_auth), (0, 0, 0));
    assert_eq!((site.listener.open(), counters.connections), (1, 1));
    drop(stream);
    site.until(|site| site.listener.open() == 0);
    assert_eq!(site.counters().connections_closed, 0, "it was not we who closed it");
}

#[test]
fn without_the_key_nothing_comes_in() {
    let mut site = Site::new(Settings { key: Key::from("secret"), ..Settings::default() });
    // Version 1 has no key.
    let old =
        b"\x01\x10\x02\x11\x13\xc4\x13\xd8\xc0\x00\x02\x01\xc0\x00\x02\x02BYE sip:a SIP/2.0\r\n".to_vec();
    for wrong in [record("", "a"), record("secreT", "b"), record("secret1", "c"), old] {
        site.datagram(&wrong);
    }
    site.until(|site| site.counters().refused_auth == 4);
    let mut stream = site.connect();
    stream.write_all(&[record("wrong", "d"), record("secret", "e")].concat()).unwrap();
    site.until(|site| !site.taken.is_empty());
    assert_eq!(site.taken, [record("secret", "e")]);
    assert_eq!((site.counters().refused_auth, site.counters().records), (5, 1));
}

#[test]
fn garbage_is_counted_and_ends_its_connection_only() {
    let mut site = Site::new(Settings::default());
    let good = record("", "BYE sip:a SIP/2.0\r\n");
    let mut honest = site.connect();
    honest.write_all(&good[..10]).unwrap();
    let zeros = vec![0; 65_536];
    for garbage in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"\x16\x03\x01\x02\x00", b"HEP3\x00\x00", &zeros] {
        let before = site.counters().bad;
        let mut stream = site.connect();
        let _ = stream.write_all(garbage);
        site.until(|site| site.counters().bad == before + 1);
        assert!(is_closed(&mut stream));
    }
    assert_eq!(site.counters().connections_closed, 4);
    for garbage in [
        b"".as_slice(),
        b"x",
        b"INVITE sip:a SIP/2.0\r\n\r\n",
        b"HEP3",
        b"HEP3\x00\x0c\x00\x00\x00\x01\x00\x05",
    ] {
        site.datagram(garbage);
    }
    site.datagram(&good[..good.len() - 1]);
    site.until(|site| site.counters().bad == 4 + 5 && site.counters().truncated == 1);
    honest.write_all(&good[10..]).unwrap();
    site.until(|site| site.taken.len() == 1);
    honest.write_all(&good[..20]).unwrap();
    site.turn();
    drop(honest);
    site.until(|site| site.listener.open() == 0);
    assert_eq!(site.counters().truncated, 2, "a record that ended with its connection");
    assert_eq!(site.taken, [good]);
}

#[test]
fn a_full_house_lets_in_nobody_until_a_stranger_has_been_silent() {
    let mut site = Site::new(Settings { connections: 3, ..Settings::default() });
    let good = record("", "BYE sip:a SIP/2.0\r\n");
    let mut agent = site.connect();
    agent.write_all(&good).unwrap();
    site.until(|site| site.taken.len() == 1);
    let mut first = site.connect();
    site.now = Stamp(1005 * SECOND);
    let mut second = site.connect();

    // Both strangers are too new to give way.
    let mut late = site.connect();
    assert_eq!((site.counters().connections, site.counters().connections_refused), (3, 1));
    assert!(is_closed(&mut late));

    // Ten seconds after the first: it goes, the other two stay.
    site.now = Stamp(1010 * SECOND);
    let mut heir = site.connect();
    assert_eq!((site.counters().connections, site.counters().connections_refused), (4, 1));
    assert_eq!(site.counters().connections_closed, 1);
    assert!(is_closed(&mut first));
    for stream in [&mut agent, &mut second, &mut heir] {
        stream.write_all(&good).unwrap();
    }
    site.until(|site| site.taken.len() == 4);

    // All are agents now, and however long they are silent, none of them gives way to a stranger.
    site.now = Stamp(2000 * SECOND);
    let mut late = site.connect();
    assert!(is_closed(&mut late));
    assert_eq!((site.listener.open(), site.counters().connections_refused), (3, 2));
}

#[test]
fn a_flood_of_connections_does_not_push_out_an_agent_before_its_first_record() {
    let mut site = Site::new(Settings { connections: 4, ..Settings::default() });
    let mut agent = site.connect();
    let flood: Vec<TcpStream> = (0..50).map(|_| site.connect()).collect();
    assert_eq!((site.listener.open(), site.counters().connections_refused), (4, 47));
    agent.write_all(&record("", "BYE sip:a SIP/2.0\r\n")).unwrap();
    site.until(|site| site.taken.len() == 1);
    drop(flood);
    site.until(|site| site.listener.open() == 1);
}

#[test]
fn who_is_slow_or_silent_is_closed() {
    let mut site = Site::new(Settings { idle_seconds: 60, record_seconds: 20, ..Settings::default() });
    let good = record("", "BYE sip:a SIP/2.0\r\n");
    let mut silent = site.connect();
    let mut slow = site.connect();
    let mut busy = site.connect();
    slow.write_all(&good[..10]).unwrap();
    // A byte every ten seconds holds a connection up, but not a record.
    for tick in 0..7_u64 {
        site.now = Stamp((1000 + 10 * tick) * SECOND);
        if site.listener.open() == 3 {
            slow.write_all(&good[10..11]).unwrap();
        }
        let taken = site.taken.len();
        busy.write_all(&good).unwrap();
        site.until(|site| site.taken.len() > taken);
    }
    assert!(is_closed(&mut slow) && is_closed(&mut silent));
    let counters = site.counters();
    assert_eq!((site.listener.open(), counters.connections_closed, counters.truncated), (1, 2, 1));
}

#[test]
fn a_turn_takes_a_bounded_share_and_says_there_is_more() {
    let mut site = Site::new(Settings::default());
    let good = record("", "BYE sip:a SIP/2.0\r\n");
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..DATAGRAMS_A_TURN + 10 {
        sender.send_to(&good, site.udp).unwrap();
    }
    site.turn();
    assert_eq!(site.taken.len(), DATAGRAMS_A_TURN);
    let mut polled = [rustix::event::PollFd::new(&site.listener.epoll, rustix::event::PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut polled, Some(&now)), Ok(1));
    site.turn();
    assert_eq!(site.taken.len(), DATAGRAMS_A_TURN + 10);
    let mut polled = [rustix::event::PollFd::new(&site.listener.epoll, rustix::event::PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut polled, Some(&now)), Ok(0));
}

#[test]
fn a_clock_set_back_closes_nobody_and_is_survived() {
    let mut site = Site::new(Settings { idle_seconds: 60, ..Settings::default() });
    let mut stream = site.connect();
    site.now = Stamp(10 * SECOND);
    site.turn();
    assert_eq!(site.listener.open(), 1);
    stream.write_all(&record("", "a")).unwrap();
    site.until(|site| site.taken.len() == 1);
    site.now = Stamp(80 * SECOND);
    site.turn();
    assert_eq!(site.listener.open(), 0, "it was silent for a minute of the new time");
}

#[test]
fn a_port_in_use_is_named() {
    let site = Site::new(Settings::default());
    for listen in site.listener.local() {
        let error = Listener::bind(Settings { listen: vec![listen], ..Settings::default() }).unwrap_err();
        assert!(error.to_string().contains(&format!("HEP cannot listen on {listen}")), "{error}");
    }
}
