//! What is refused, and what it survives.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use sidetone::http::{ClientType, Rate, Settings, WebConfig};
use tokio::sync::Notify;

use super::support::{Answer, Running, Shop, read_all, request, unhurried};

const SOON: Duration = Duration::from_millis(200);

#[test]
fn a_slow_loris_is_cut_off_and_nobody_else_notices() {
    let settings = Settings { header_time: Duration::from_secs(1), ..unhurried() };
    let server = Running::start(settings, WebConfig::default(), Shop::default());
    let mut silent: Vec<_> = (0..20).map(|_| server.connect()).collect();
    let mut dribbling = server.connect();
    dribbling.write_all(b"GET /live HTTP/1.1\r\nHost: x\r\nX-").unwrap();
    let mut writer = dribbling.try_clone().unwrap();
    let dribble = std::thread::spawn(move || {
        while writer.write_all(b"a").is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    // On a busy machine this client may be too slow itself.
    while !server.raw(request("GET", "/live", &[]).as_bytes()).starts_with(b"HTTP/1.1 200") {}
    assert!(read_all(&mut dribbling).is_empty());
    for stream in &mut silent {
        assert!(read_all(stream).is_empty());
    }
    dribble.join().unwrap();
    server.until("all are counted", |stats| stats.header_timeouts >= 21 && stats.connections_open == 0);
}

#[test]
fn a_connection_between_requests_has_its_own_time() {
    let settings = Settings { idle_time: SOON, ..unhurried() };
    let server = Running::start(settings, WebConfig::default(), Shop::default());
    let mut stream = server.connect();
    stream.write_all(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(Answer::parse(&read_all(&mut stream)).status, 200);
    server.until("it is counted", |stats| stats.idle_timeouts == 1 && stats.header_timeouts == 0);
}

#[test]
fn an_answer_that_nobody_takes_is_given_up() {
    let settings = Settings { send_time: SOON, answers: 1, ..unhurried() };
    let shop = Shop { size: 50_000_000, ..Shop::default() };
    let server = Running::start(settings, WebConfig::default(), shop);
    let mut greedy = server.connect();
    greedy.write_all(request("GET", "/metrics", &[]).as_bytes()).unwrap();
    server.until("it is counted", |stats| stats.send_timeouts == 1);
    assert_eq!(server.get("/api/config").status, 200, "there is room again");
    drop(greedy);
}

#[test]
fn an_answer_that_is_never_made_is_503() {
    let settings = Settings { request_time: SOON, ..unhurried() };
    let shop = Shop { never: true, ..Shop::default() };
    let server = Running::start(settings, WebConfig::default(), shop);
    let late = server.get("/metrics");
    assert_eq!((late.status, late.json()["error"].as_str()), (503, Some("there was no answer in time")));
    assert!(late.header("x-request-id").is_some());
    assert_eq!(server.stats().request_timeouts, 1);
}

#[test]
fn a_thousand_connections_at_once() {
    if !has_descriptors(3000) {
        return crate::skipped::skipped("fewer than 3000 file descriptors (ulimit -n)");
    }
    let settings = Settings { connections: 100, ..unhurried() };
    let server = Running::start(settings, WebConfig::default(), Shop::default());
    let mut all: Vec<_> = (0..1000).map(|_| server.connect()).collect();
    server.until("all are accepted", |stats| stats.connections == 1000);
    assert_eq!(server.stats().connections_refused, 900);
    let (mut served, mut closed) = (0, 0);
    for stream in &mut all {
        let _ = stream.write_all(request("GET", "/live", &[]).as_bytes());
        if read_all(stream).starts_with(b"HTTP/1.1 200") { served += 1 } else { closed += 1 }
    }
    assert_eq!((served, closed), (100, 900));
    server.until("there is room again", |stats| stats.connections_open == 0);
    assert_eq!(server.get("/live").status, 200);
}

fn has_descriptors(wanted: u64) -> bool {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let soft = line.split_whitespace().nth(3).unwrap_or_default();
    soft == "unlimited" || soft.parse::<u64>().is_ok_and(|soft| soft >= wanted)
}

#[test]
fn a_header_that_is_too_large_is_431() {
    let server = Running::plain();
    let fits = server.ask("GET", "/live", &[&format!("X-Long: {}", "a".repeat(8000))]);
    assert_eq!(fits.status, 200);
    for size in [20_000, 200_000] {
        let answer = server.ask("GET", "/live", &[&format!("X-Long: {}", "a".repeat(size))]);
        assert_eq!(answer.status, 431, "{size}");
        assert_eq!(answer.header("x-request-id").unwrap().len(), 32);
        assert_eq!(answer.json()["error"], "the header of the request is too large");
    }
    let many: Vec<String> = (0..200).map(|number| format!("X-{number}: a")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(server.ask("GET", "/live", &many).status, 431);
    assert_eq!(server.stats().malformed, 3);
}

#[test]
fn a_client_that_asks_too_often_is_told_when_to_return() {
    let rate = Some(Rate { per_second: 0.001, burst: 3.0 });
    let settings = Settings { rate, ..unhurried() };
    let server = Running::start(settings, WebConfig::default(), Shop::default());
    let statuses: Vec<_> = (0..5).map(|_| server.get("/metrics").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    let refused = server.get("/api/calls");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(server.get("/live").status, 200, "a probe of life is always answered");
    let hits = server.stats().rate_limit_hits;
    let hits: Vec<_> = hits.iter().map(|hits| (hits.endpoint, hits.client_type, hits.count)).collect();
    assert_eq!(hits, [("/metrics", ClientType::Local, 2), ("/api/calls", ClientType::Local, 1)]);
}

#[test]
fn few_large_answers_are_made_at_a_time() {
    let (entered, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let shop = Shop { gate: Some((Arc::clone(&entered), Arc::clone(&open))), ..Shop::default() };
    let settings = Settings { answers: 1, request_time: SOON, ..unhurried() };
    let server = Running::start(settings, WebConfig::default(), shop);
    // None is ever let through: each has its time, and none is lost.
    let asking: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(request("GET", "/metrics", &[]).as_bytes()).unwrap();
            stream
        })
        .collect();
    for mut stream in asking {
        assert_eq!(Answer::parse(&read_all(&mut stream)).status, 503);
    }
    assert_eq!(server.stats().request_timeouts, 10);
}

#[test]
fn going_down_finishes_the_request_in_hand() {
    let (entered, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let shop = Shop { gate: Some((Arc::clone(&entered), Arc::clone(&open))), ..Shop::default() };
    let mut server = Running::start(unhurried(), WebConfig::default(), shop);
    let mut idle = server.connect();
    idle.write_all(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut byte = [0];
    idle.read_exact(&mut byte).unwrap();
    let mut busy = server.connect();
    busy.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let waiting = tokio::runtime::Builder::new_current_thread().build().unwrap();
    waiting.block_on(entered.notified());
    server.stop();
    // The idle one is closed, and soon nobody listens any more.
    read_all(&mut idle);
    while std::net::TcpStream::connect(server.address).is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
    open.notify_one();
    let answer = Answer::parse(&read_all(&mut busy));
    assert_eq!((answer.status, answer.text()), (200, "Classic\n"));
    server.join();
}

#[test]
fn what_does_not_finish_is_cut_off() {
    let settings = Settings { drain_time: SOON, ..unhurried() };
    let shop = Shop { never: true, ..Shop::default() };
    let mut server = Running::start(settings, WebConfig::default(), shop);
    let mut stuck = server.connect();
    stuck.write_all(request("GET", "/metrics", &[]).as_bytes()).unwrap();
    server.until("it is there", |stats| stats.connections_open == 1);
    server.stop();
    server.join();
    assert!(read_all(&mut stuck).is_empty());
    assert_eq!(server.stats().connections_open, 0);
}

#[test]
fn a_body_that_nobody_asked_for_is_not_waited_for() {
    let server = Running::plain();
    let answer = server.raw(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nabc");
    assert_eq!(Answer::parse(&answer).status, 405);
}

#[test]
fn noise_harms_nobody() {
    let server = Running::plain();
    for noise in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut stream = server.connect();
        stream.write_all(noise).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        read_all(&mut stream);
    }
    assert_eq!(server.get("/live").status, 200);
}
