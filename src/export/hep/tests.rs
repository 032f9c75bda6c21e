//! The sender against real sockets: receivers that are there, dead, slow, broken, and back again.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};

use super::*;
use crate::Stamp;
use crate::hep::{self, Carrier, Hep, Kind, Next};
use crate::wire::Endpoint;

/// A spool, and the thread that empties it.
struct Way {
    spool: Spool,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Way {
    fn to(carrier: Carrier, address: SocketAddr, change: impl FnOnce(&mut Settings)) -> Self {
        let peer = Peer { carrier, host: address.ip().to_string(), port: address.port() };
        let mut settings = Settings {
            back_off: Duration::from_millis(200),
            stall: Duration::from_millis(600),
            drain: Duration::from_secs(5),
            ..Settings::to(peer)
        };
        change(&mut settings);
        let (spool, sender) = open(settings);
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        Self { spool, stop, thread: spawn(move || sender.run(&flag)) }
    }

    fn push(&mut self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.spool.push(&hep(&payload(number)));
        }
    }

    fn until(&self, so: impl Fn(&Counters) -> bool) {
        assert!(happens(|| so(&self.spool.counters())), "{:?}", self.spool.counters());
    }

    fn end(self) -> Counters {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap();
        let counters = self.spool.counters();
        assert_eq!(
            counters.accepted,
            counters.sent + counters.lost_too_long + counters.lost_at_end,
            "{counters:?}"
        );
        assert_eq!((counters.waiting_bytes, counters.connected), (0, false));
        counters
    }
}

fn payload(number: u32) -> Vec<u8> {
    format!("OPTIONS sip:{number} SIP/2.0\r\nSubject: {}\r\n\r\n", "x".repeat(400)).into_bytes()
}

/// A record of a SIP message.
pub(super) fn hep(payload: &[u8]) -> Hep<'_> {
    let at = Endpoint { ip: [192, 0, 2, 1].into(), port: 5060 };
    Hep {
        source: at,
        destination: at,
        protocol: 17,
        stamp: Some(Stamp(7_000_000_000)),
        kind: Kind::Sip,
        agent: 0,
        node: &[],
        auth_key: &[],
        correlation: &[],
        payload,
    }
}

/// Tries for twenty seconds.
fn happens(mut so: impl FnMut() -> bool) -> bool {
    (0..4000).any(|_| {
        let so = so();
        if !so {
            sleep(Duration::from_millis(5));
        }
        so
    })
}

/// Reads `count` records of a connection; fewer when it ends.
fn records(stream: &mut TcpStream, count: usize) -> Vec<Vec<u8>> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (mut records, mut held, mut buffer) = (Vec::new(), Vec::new(), vec![0; 65_536]);
    while records.len() < count {
        match hep::next(&held) {
            Next::Record(len) if held.len() >= len => records.push(held.drain(..len).collect()),
            Next::Garbage => panic!("out of step after {} records", records.len()),
            _ => match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => held.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{error} after {} records", records.len()),
            },
        }
    }
    records
}

fn payloads(records: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut scratch = Vec::new();
    records.iter().map(|record| hep::decode(record, &mut scratch).unwrap().payload.to_vec()).collect()
}

fn expected(numbers: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    numbers.map(payload).collect()
}

/// An address on which nobody listens, for a moment.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn over_udp_a_record_is_a_datagram() {
    for compress in [false, true] {
        let homer = UdpSocket::bind("127.0.0.1:0").unwrap();
        homer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut way = Way::to(Carrier::Udp, homer.local_addr().unwrap(), |settings| {
            settings.compress = compress;
            settings.key = "secret".into();
            settings.node = "proxy1".into();
            settings.agent = 7;
        });
        way.push(0..50);
        let (mut buffer, mut scratch) = (vec![0; 65_536], Vec::new());
        for number in 0..50 {
            let len = homer.recv(&mut buffer).unwrap();
            assert_eq!(hep::next(&buffer), Next::Record(len));
            let read = hep::decode(&buffer[..len], &mut scratch).unwrap();
            assert_eq!(read.payload, payload(number));
            assert_eq!(
                (read.auth_key, read.node, read.agent),
                (b"secret".as_slice(), b"proxy1".as_slice(), 7)
            );
            assert_eq!((read.stamp, read.kind), (Some(Stamp(7_000_000_000)), Kind::Sip));
            assert_eq!(len < 300, compress, "{len}");
        }
        let counters = way.end();
        assert_eq!((counters.sent, counters.lost(), counters.connects), (50, 0, 1));
    }
}

#[test]
fn over_tcp_records_come_whole_and_in_order() {
    let homer = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut way = Way::to(Carrier::Tcp, homer.local_addr().unwrap(), |_| {});
    way.push(0..5000);
    let (mut stream, _) = homer.accept().unwrap();
    assert_eq!(payloads(&records(&mut stream, 5000)), expected(0..5000));
    let counters = way.end();
    assert_eq!((counters.sent, counters.lost(), counters.breaks), (5000, 0, 0));
}

#[test]
fn a_receiver_that_is_dead_at_first_gets_everything_that_found_room() {
    let address = free_port();
    let mut way = Way::to(Carrier::Tcp, address, |_| {});
    way.push(0..1000);
    way.until(|counters| counters.connect_failures >= 2);
    assert!(way.spool.counters().is_down());
    assert_eq!(way.spool.counters().sent, 0);
    let homer = TcpListener::bind(address).unwrap();
    let (mut stream, _) = homer.accept().unwrap();
    assert_eq!(payloads(&records(&mut stream, 1000)), expected(0..1000));
    way.until(|counters| counters.connected && !counters.is_down());
    let counters = way.end();
    assert_eq!((counters.sent, counters.lost()), (1000, 0));
}

#[test]
fn a_receiver_that_goes_away_is_connected_to_anew() {
    let homer = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut way = Way::to(Carrier::Tcp, homer.local_addr().unwrap(), |_| {});
    way.push(0..10);
    let (mut stream, _) = homer.accept().unwrap();
    assert_eq!(records(&mut stream, 10).len(), 10);
    drop(stream);
    // It is found out without a record being lost to it.
    way.until(|counters| counters.breaks == 1);
    way.push(10..20);
    let (mut stream, _) = homer.accept().unwrap();
    assert_eq!(payloads(&records(&mut stream, 10)), expected(10..20));
    let counters = way.end();
    assert_eq!((counters.sent, counters.connects, counters.lost()), (20, 2, 0));
}

#[test]
fn a_receiver_that_closes_amid_a_record_gets_that_record_again_from_its_beginning() {
    let homer = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut way = Way::to(Carrier::Tcp, homer.local_addr().unwrap(), |_| {});
    way.push(0..4000);
    let (mut stream, _) = homer.accept().unwrap();
    // Some 100 kB of 2 MB, with no regard to records; what is unread makes the close a reset.
    stream.read_exact(&mut vec![0; 100_001]).unwrap();
    drop(stream);
    let (mut stream, _) = homer.accept().unwrap();
    // `records` holds that it begins with a record and stays in step.
    let rest = payloads(&records(&mut stream, 4000 - way.spool.counters().sent as usize));
    let all = expected(0..4000);
    assert!(all.windows(rest.len()).any(|part| part == rest), "in order, without holes");
    way.end();
}

#[test]
fn a_receiver_that_takes_nothing_delays_nobody_and_costs_no_more_than_the_spool() {
    let homer = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut way =
        Way::to(Carrier::Tcp, homer.local_addr().unwrap(), |settings| settings.spool_bytes = 256 << 10);
    // More and more, until the system's buffers are full too.
    let mut pushed = 0;
    let stalls = happens(|| {
        way.push(0..1000);
        pushed += 1000;
        way.spool.counters().stalls > 0
    });
    let (stuck, _) = homer.accept().unwrap();
    let counters = way.spool.counters();
    assert!(stalls && counters.lost_full > 0, "{counters:?}");
    assert_eq!(counters.accepted + counters.lost_full, pushed);
    assert!(counters.waiting_bytes <= 256 << 10, "{counters:?}");
    // It wakes up: the next connection begins with a whole record, and things go on.
    let (mut stream, _) = homer.accept().unwrap();
    assert_eq!(records(&mut stream, 100).len(), 100);
    let lost = way.spool.counters().lost_full;
    let reader = spawn(move || records(&mut stream, usize::MAX).len());
    way.until(|counters| counters.waiting_bytes == 0);
    way.push(0..10);
    way.until(|counters| counters.waiting_bytes == 0);
    let counters = way.end();
    assert_eq!((counters.lost_full, counters.lost_at_end), (lost, 0));
    assert!(reader.join().unwrap() >= 10);
    drop(stuck);
}

#[test]
fn nobody_on_a_udp_port_is_noticed_and_so_is_his_return() {
    let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut way = Way::to(Carrier::Udp, address, |settings| settings.spool_bytes = 128 << 10);
    way.push(0..2000);
    way.until(|counters| counters.lost_refused >= 3);
    let counters = way.spool.counters();
    assert!(
        counters.is_down() && counters.lost_full > 0 && counters.waiting_bytes <= 128 << 10,
        "{counters:?}"
    );
    let homer = UdpSocket::bind(address).unwrap();
    homer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut buffer = vec![0; 65_536];
    for _ in 0..10 {
        let len = homer.recv(&mut buffer).unwrap();
        assert_eq!(hep::next(&buffer), Next::Record(len));
    }
    assert!(happens(|| {
        way.push(0..1);
        way.spool.counters().connected
    }));
    way.end();
}

#[test]
fn a_record_longer_than_any_datagram_is_counted_and_holds_up_nothing() {
    let homer = UdpSocket::bind("127.0.0.1:0").unwrap();
    homer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut way = Way::to(Carrier::Udp, homer.local_addr().unwrap(), |_| {});
    way.spool.push(&hep(&vec![b'x'; 65_530]));
    way.push(1..2);
    let (mut buffer, mut scratch) = (vec![0; 65_536], Vec::new());
    let len = homer.recv(&mut buffer).unwrap();
    assert_eq!(hep::decode(&buffer[..len], &mut scratch).unwrap().payload, payload(1));
    let counters = way.end();
    assert_eq!((counters.sent, counters.lost_too_long), (1, 1));
}

#[test]
fn the_end_waits_for_nobody_longer_than_it_may() {
    let mut way = Way::to(Carrier::Tcp, free_port(), |settings| settings.drain = Duration::from_millis(100));
    way.push(0..500);
    way.until(|counters| counters.connect_failures >= 1);
    let counters = way.end();
    assert_eq!((counters.sent, counters.lost_at_end), (0, 500));
}

#[test]
fn a_name_that_does_not_resolve_is_a_receiver_that_is_away() {
    let peer = Peer { carrier: Carrier::Udp, host: "homer.invalid".into(), port: 9060 };
    let mut way = Way::to(Carrier::Udp, free_port(), |settings| {
        settings.peer = peer;
        settings.drain = Duration::ZERO;
    });
    way.push(0..3);
    way.until(|counters| counters.connect_failures >= 1);
    assert_eq!(way.end().lost_at_end, 3);
}
