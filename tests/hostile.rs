//! Floods through the whole observer: what an attacker can send without end must fill no table beyond its limit,
//! and what had to give way is counted.
//!
//! ```text
//! template frame, patched -> Observer (small limits) -> facts, dropped
//!                                  \-> heap bytes, counted by the allocator of this binary
//! ```

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its subject has failed")]
#![allow(unsafe_code, reason = "an allocator that counts is a global allocator, whose trait is unsafe")]
#![allow(
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "how long a flood took is printed, never judged"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use sidetone::Stamp;
use sidetone::event::{Event, Totals};
use sidetone::limits::Limits;
use sidetone::observer::{Observer, Settings};
use sidetone::wire::{Frame, LinkType};

/// Counts the bytes that are allocated now, and the most there were.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One flood at a time: the allocator counts for all threads.
static TURN: Mutex<()> = Mutex::new(());

/// An observer under a flood.
struct Flood {
    name: &'static str,
    observer: Observer,
    now: Stamp,
    step_nanos: i64,
    before: usize,
    began: Instant,
    events: BTreeMap<&'static str, u64>,
    turn: MutexGuard<'static, ()>,
}

/// What a flood left behind.
struct After {
    totals: Totals,
    events: BTreeMap<&'static str, u64>,
    /// Most heap bytes at any time.
    peak: usize,
    /// Kept so that the trace of a failed assertion is not counted for the next flood.
    _turn: MutexGuard<'static, ()>,
}

impl Flood {
    /// `step_micros` from one frame to the next.
    fn new(name: &'static str, limits: &Limits, step_micros: i64) -> Self {
        let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = NOW.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let observer = Observer::new(Settings { limits: limits.clone(), ..Settings::default() });
        Self {
            name,
            observer,
            now: Stamp(1_767_225_600_000_000_000),
            step_nanos: step_micros * 1_000,
            before,
            began: Instant::now(),
            events: BTreeMap::new(),
            turn,
        }
    }

    fn frame(&mut self, bytes: &[u8]) {
        self.now = self.now.plus_nanos(self.step_nanos);
        let frame = Frame {
            stamp: self.now,
            link: LinkType::ETHERNET,
            interface: 0,
            wire_len: bytes.len() as u32,
            bytes,
        };
        let events = &mut self.events;
        self.observer.packets(&[frame], &mut |event: Event| count(events, &event));
    }

    /// As many frames as a flood has, each made by `patch` from its number.
    fn pour(&mut self, template: &[u8], mut patch: impl FnMut(u32, &mut [u8])) -> u64 {
        let mut bytes = template.to_vec();
        for number in 0..size() {
            patch(number, &mut bytes);
            self.frame(&bytes);
        }
        size().into()
    }

    /// The end of the capture counts too.
    fn end(mut self) -> After {
        let events = &mut self.events;
        self.observer.finish(&mut |event: Event| count(events, &event));
        let peak = PEAK.load(Ordering::Relaxed) - self.before;
        let totals = self.observer.totals();
        println!(
            "{}: {} frames, {:.1} s, {:.2} MB at most, evicted {:?}, told {:?}",
            self.name,
            totals.packets,
            self.began.elapsed().as_secs_f64(),
            peak as f64 / 1e6,
            totals.evicted,
            self.events
        );
        After { totals, events: self.events, peak, _turn: self.turn }
    }
}

impl After {
    fn evicted(&self, table: &str) -> u64 {
        self.totals.evicted.get(table).copied().unwrap_or(0)
    }

    fn told(&self, kind: &str) -> u64 {
        self.events.get(kind).copied().unwrap_or(0)
    }
}

fn count(events: &mut BTreeMap<&'static str, u64>, event: &Event) {
    let kind = match event {
        Event::Call(_) => "calls",
        Event::Answered(_) => "answers",
        Event::Registration(_) => "registrations",
        Event::Stream(_) => "streams",
        Event::Report(_) => "reports",
        Event::Window(_) => "windows",
        Event::Transfer(_) => "transfers",
        Event::Expired(_) => "expired registrations",
    };
    *events.entry(kind).or_default() += 1;
}

/// Frames of a flood.
fn size() -> u32 {
    2_000_000
}

/// A thousand of everything.
fn small() -> Limits {
    Limits {
        calls: 1_000,
        transactions: 2_000,
        registrations: 1_000,
        streams: 1_000,
        endpoints: 1_000,
        candidates: 1_000,
        fragments: 1_000,
        fragment_bytes: 1 << 20,
        tcp_flows: 1_000,
        tcp_flow_bytes: 16 << 10,
        tcp_bytes: 1 << 20,
    }
}

const MB: usize = 1_000_000;

fn udp(source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16 + 8).to_be_bytes();
    let ports = [source_port.to_be_bytes(), destination_port.to_be_bytes(), length, [0, 0]].concat();
    ipv4(17, &[&ports, payload].concat())
}

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16 + 20).to_be_bytes();
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    bytes.extend([0x45, 0, length[0], length[1], 0, 1, 0, 0, 64, protocol, 0, 0]);
    bytes.extend([192, 0, 2, 1, 198, 51, 100, 2]);
    [&bytes, payload].concat()
}

const IP_ID: usize = 18;
const SOURCE: usize = 26;
const PORT: usize = 34;
const PAYLOAD: usize = 42;

fn put(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
}

/// Writes a number as eight digits in place of the first `########` behind `after`.
struct Digits(Vec<usize>);

impl Digits {
    fn of(template: &[u8]) -> Self {
        Self(memchr::memmem::find_iter(template, b"########").collect())
    }

    fn write(&self, bytes: &mut [u8], number: u32) {
        for &at in &self.0 {
            let mut rest = number;
            for digit in bytes[at..at + 8].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }
}

fn sip(start: &str, call_id: &str, cseq: &str, to_tag: &str, body: &str) -> Vec<u8> {
    let mut text = String::new();
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    write!(
        text,
        "{start}\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK########\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>{to_tag}\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq}\r\nContact: <sip:########@192.0.2.1>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    udp(5060, 5060, text.as_bytes())
}

fn sdp(ports: std::ops::Range<u16>) -> String {
    ports.fold("v=0\r\nc=IN IP4 198.51.100.2\r\n".into(), |mut text, port| {
        write!(text, "m=audio {port} RTP/AVP 0\r\n").unwrap();
        text
    })
}

fn rtp(destination_port: u16) -> Vec<u8> {
    let header = [0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 0];
    udp(4_000, destination_port, &[&header[..], &[0xd5; 160]].concat())
}

/// An answered call, the callee at 198.51.100.2:6000.
fn set_up_call(flood: &mut Flood) {
    flood.frame(&sip("INVITE sip:bob@example.com SIP/2.0", "call", "1 INVITE", "", ""));
    flood.frame(&sip("SIP/2.0 200 OK", "call", "1 INVITE", ";tag=b", &sdp(6_000..6_001)));
    flood.frame(&sip("ACK sip:bob@example.com SIP/2.0", "call", "1 ACK", ";tag=b", ""));
}

#[test]
fn invites_of_unique_call_ids() {
    let mut flood = Flood::new("INVITE", &small(), 50);
    let template = sip("INVITE sip:bob@example.com SIP/2.0", "########", "1 INVITE", "", &sdp(6_000..6_001));
    let digits = Digits::of(&template);
    let sent = flood.pour(&template, |number, bytes| digits.write(bytes, number));
    let after = flood.end();
    assert!(after.peak < 8 * MB, "{}", after.peak);
    assert_eq!(
        after.evicted("calls") + after.evicted("calls_refused") + 1_000,
        sent,
        "none goes without a word"
    );
    assert!(after.evicted("transactions") > 0);
}

/// Timers run at nearly every frame.
#[test]
fn calls_that_never_end_in_slow_motion() {
    let mut flood = Flood::new("calls without end, slowly", &small(), 50_000);
    let invite = sip("INVITE sip:bob@example.com SIP/2.0", "########", "1 INVITE", "", &sdp(6_000..6_001));
    let answer = sip("SIP/2.0 200 OK", "########", "1 INVITE", ";tag=b", &sdp(6_000..6_001));
    let digits = [Digits::of(&invite), Digits::of(&answer)];
    let mut frames = [invite, answer];
    for number in 0..size() {
        let which = number as usize % 2;
        digits[which].write(&mut frames[which], number / 2);
        let bytes = std::mem::take(&mut frames[which]);
        flood.frame(&bytes);
        frames[which] = bytes;
    }
    let after = flood.end();
    assert!(after.peak < 8 * MB, "{}", after.peak);
    assert_eq!(after.told("calls"), u64::from(size() / 2));
}

#[test]
fn invites_within_the_default_limits() {
    let mut flood = Flood::new("INVITE, default limits", &Limits::default(), 50);
    let template = sip("INVITE sip:bob@example.com SIP/2.0", "########", "1 INVITE", "", &sdp(6_000..6_001));
    let digits = Digits::of(&template);
    let sent = flood.pour(&template, |number, bytes| digits.write(bytes, number));
    let after = flood.end();
    assert!(after.peak < 800 * MB, "{}", after.peak);
    assert!(after.told("calls") <= sent);
}

#[test]
fn registers_of_unique_users() {
    let mut flood = Flood::new("REGISTER", &small(), 50);
    let template = sip("REGISTER sip:example.com SIP/2.0", "########", "1 REGISTER", "", "");
    let digits = Digits::of(&template);
    let sent = flood.pour(&template, |number, bytes| digits.write(bytes, number));
    let after = flood.end();
    assert!(after.peak < 4 * MB, "{}", after.peak);
    assert_eq!(after.told("registrations"), sent);
    assert_eq!(after.evicted("registrations") + 1_000, sent);
}

#[test]
fn options_of_unique_transactions() {
    let mut flood = Flood::new("OPTIONS", &small(), 50);
    let template = sip("OPTIONS sip:bob@example.com SIP/2.0", "########", "1 OPTIONS", "", "");
    let digits = Digits::of(&template);
    flood.pour(&template, |number, bytes| digits.write(bytes, number));
    let after = flood.end();
    assert!(after.peak < 4 * MB, "{}", after.peak);
    assert!(after.evicted("transactions") > 0);
}

#[test]
fn ssrcs_on_ports_that_nobody_announced() {
    let mut flood = Flood::new("SSRC, unannounced", &small(), 20);
    let sent = flood.pour(&rtp(7_000), |number, bytes| put(bytes, PAYLOAD + 8, number));
    let after = flood.end();
    assert!(after.peak < 4 * MB, "{}", after.peak);
    assert_eq!(after.evicted("candidates") + 1_000, sent);
    assert_eq!(after.told("streams"), 0);
}

#[test]
fn streams_that_pass_probation_on_one_port() {
    let mut flood = Flood::new("streams, unannounced", &small(), 20);
    let sent = flood.pour(&rtp(7_000), |number, bytes| {
        let step = number % 4;
        put(bytes, PAYLOAD + 8, number / 4);
        put(bytes, PAYLOAD, 0x8000_0000 | step);
        put(bytes, PAYLOAD + 4, step * 160);
    });
    let after = flood.end();
    assert!(after.peak < 8 * MB, "{}", after.peak);
    assert_eq!(after.told("streams"), sent / 4);
    assert_eq!(after.evicted("streams") + 1_000, sent / 4);
}

#[test]
fn ssrcs_on_an_announced_port() {
    let mut flood = Flood::new("SSRC, announced", &small(), 20);
    set_up_call(&mut flood);
    let sent = flood.pour(&rtp(6_000), |number, bytes| put(bytes, PAYLOAD + 8, number));
    let after = flood.end();
    assert!(after.peak < 4 * MB, "{}", after.peak);
    assert_eq!(after.told("streams"), sent);
    assert!(after.evicted("streams") + 1_000 >= sent, "{}", after.evicted("streams"));
    assert_eq!(after.told("calls"), 1);
}

#[test]
fn senders_to_an_announced_port() {
    let mut flood = Flood::new("senders, announced", &small(), 20);
    set_up_call(&mut flood);
    flood.pour(&rtp(6_000), |number, bytes| put(bytes, SOURCE, number));
    let after = flood.end();
    assert!(after.peak < 8 * MB, "{}", after.peak);
    assert!(after.evicted("streams") > 0);
}

#[test]
fn fragments_without_their_rest() {
    let mut flood = Flood::new("fragments", &small(), 20);
    let mut template = udp(5_060, 5_060, &[0x41; 512]);
    template[20] = 0x20;
    let sent = flood.pour(&template, |number, bytes| {
        put(bytes, SOURCE, number >> 16);
        bytes[IP_ID..IP_ID + 2].copy_from_slice(&(number as u16).to_be_bytes());
    });
    let after = flood.end();
    assert!(after.peak < 4 * MB, "{}", after.peak);
    assert_eq!((after.totals.fragments, after.evicted("fragments") + 1_000), (sent, sent));
}

fn tcp(flags: u8, payload: &[u8]) -> Vec<u8> {
    let header = [0x13, 0xc4, 0x13, 0xc4, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
    ipv4(6, &[&header[..], payload].concat())
}

#[test]
fn connections_that_are_half_open() {
    let mut flood = Flood::new("TCP SYN", &small(), 20);
    let sent = flood.pour(&tcp(2, b""), |number, bytes| put(bytes, SOURCE, number));
    let after = flood.end();
    assert!(after.peak < 4 * MB, "{}", after.peak);
    assert_eq!(after.evicted("tcp_flows") + 1_000, sent);
}

#[test]
fn connections_with_half_a_message() {
    let mut flood = Flood::new("TCP, half a message", &small(), 20);
    let half = [&b"INVITE sip:bob@example.com SIP/2.0\r\nSubject: "[..], &[b'x'; 1_000]].concat();
    let sent = flood.pour(&tcp(0x18, &half), |number, bytes| put(bytes, SOURCE, number));
    let after = flood.end();
    assert!(after.peak < 8 * MB, "{}", after.peak);
    assert!(after.evicted("tcp_flows") + 1_000 >= sent);
}

#[test]
fn connections_with_a_hole() {
    let mut flood = Flood::new("TCP, a hole", &small(), 20);
    let sent = flood.pour(&tcp(0x18, &[b'x'; 500]), |number, bytes| {
        put(bytes, SOURCE, number / 2);
        put(bytes, PORT + 4, (number % 2) * 5_000);
    });
    let after = flood.end();
    assert!(after.peak < 8 * MB, "{}", after.peak);
    assert!(after.evicted("tcp_flows") + 1_000 >= sent / 2);
}

#[test]
fn endpoints_of_many_calls() {
    let mut flood = Flood::new("SDP endpoints, many calls", &small(), 100);
    let template =
        sip("INVITE sip:bob@example.com SIP/2.0", "########", "1 INVITE", "", &sdp(10_000..10_016));
    let digits = Digits::of(&template);
    let address = memchr::memmem::find(&template, b"198.51.100.2\r\n").unwrap();
    flood.pour(&template, |number, bytes| {
        digits.write(bytes, number);
        let host = format!("1{:02}.1{:02}.1.10", number / 100 % 100, number % 100);
        bytes[address..address + 12].copy_from_slice(host.as_bytes());
    });
    let after = flood.end();
    assert!(after.peak < 16 * MB, "{}", after.peak);
    assert!(after.evicted("endpoints") > 0);
}

#[test]
fn endpoints_of_one_call() {
    let mut flood = Flood::new("SDP endpoints, one call", &small(), 100);
    set_up_call(&mut flood);
    let template =
        sip("UPDATE sip:bob@example.com SIP/2.0", "call", "2 UPDATE", ";tag=b", &sdp(10_000..10_001));
    let digits = Digits::of(&template);
    let port = memchr::memmem::find(&template, b"m=audio ").unwrap() + 8;
    flood.pour(&template, |number, bytes| {
        digits.write(bytes, number);
        bytes[port..port + 5].copy_from_slice(format!("{:05}", 10_000 + number % 50_000).as_bytes());
    });
    let after = flood.end();
    assert!(after.peak < 4 * MB, "{}", after.peak);
    assert!(after.evicted("endpoints") > 0);
    assert_eq!(after.told("calls"), 1);
}

/// Two calls that name the same endpoint in turns.
#[test]
fn one_endpoint_of_two_calls() {
    let mut flood = Flood::new("one endpoint, two calls", &small(), 100);
    for call in ["call-1", "call-2"] {
        flood.frame(&sip("INVITE sip:bob@example.com SIP/2.0", call, "1 INVITE", "", ""));
        flood.frame(&sip("SIP/2.0 200 OK", call, "1 INVITE", ";tag=b", &sdp(6_000..6_001)));
    }
    let template =
        sip("UPDATE sip:bob@example.com SIP/2.0", "call-1", "2 UPDATE", ";tag=b", &sdp(6_000..6_001));
    let digits = Digits::of(&template);
    let call = memchr::memmem::find(&template, b"call-1").unwrap() + 5;
    flood.pour(&template, |number, bytes| {
        digits.write(bytes, number);
        bytes[call] = b'1' + (number % 2) as u8;
    });
    let after = flood.end();
    assert!(after.peak < 4 * MB, "{}", after.peak);
}

/// Sender reports between ever new pairs of endpoints, each about 31 others.
#[test]
fn sender_reports_of_unique_endpoints() {
    let mut flood = Flood::new("RTCP SR", &small(), 20);
    let report = [0x80, 200, 0, 6, 0, 0, 0, 1, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 9];
    let sent = flood.pour(&udp(4_001, 6_001, &report), |number, bytes| {
        put(bytes, SOURCE, number);
        put(bytes, PAYLOAD + 4, number);
    });
    let after = flood.end();
    assert!(after.peak < 4 * MB, "{}", after.peak);
    assert_eq!(after.evicted("rtcp_legs") + 500, sent);
}

#[test]
fn extended_reports_about_one_stream() {
    let mut flood = Flood::new("RTCP XR", &small(), 20);
    set_up_call(&mut flood);
    flood.frame(&rtp(6_000));
    let mut report = vec![0x80, 207, 0, 10, 0, 0, 0, 9, 7, 0, 0, 8];
    report.extend([0; 32]);
    let mut template = udp(6_001, 4_001, &report);
    let (source, destination) = template[SOURCE..SOURCE + 8].split_at_mut(4);
    source.swap_with_slice(destination);
    // Equal ones would be one report captured many times.
    let sent = flood.pour(&template, |number, bytes| put(bytes, PAYLOAD + 16, number));
    let after = flood.end();
    assert!(after.peak < 4 * MB, "{}", after.peak);
    assert_eq!(after.told("reports"), sent);
}

/// One stream of which every field is noise.
#[test]
fn noise_in_one_stream() {
    let mut flood = Flood::new("noise in one stream", &small(), 200);
    set_up_call(&mut flood);
    let mut state = 1_u64;
    flood.pour(&rtp(6_000), |_, bytes| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let noise = (state >> 33) as u32;
        put(bytes, PAYLOAD, 0x8000_0000 | noise & 0x007f_ffff);
        put(bytes, PAYLOAD + 4, noise.rotate_left(7));
    });
    let after = flood.end();
    assert!(after.peak < 4 * MB, "{}", after.peak);
    assert_eq!(after.told("streams"), 1);
}

#[test]
fn mirrored_calls_of_unique_call_ids() {
    let mut flood = Flood::new("HEP", &small(), 50);
    let frame = sip("INVITE sip:bob@example.com SIP/2.0", "########", "1 INVITE", "", "");
    let end = |host: &str| sidetone::wire::Endpoint { ip: host.parse().unwrap(), port: 5_060 };
    let mut record = Vec::new();
    sidetone::hep::encode(
        &sidetone::hep::Hep {
            source: end("192.0.2.1"),
            destination: end("192.0.2.2"),
            protocol: 17,
            stamp: Some(Stamp(0)),
            kind: sidetone::hep::Kind::Sip,
            agent: 1,
            node: b"",
            auth_key: b"",
            correlation: b"",
            payload: &frame[PAYLOAD..],
        },
        &mut record,
    );
    let template = udp(9_060, 9_060, &record);
    let digits = Digits::of(&template);
    let sent = flood.pour(&template, |number, bytes| digits.write(bytes, number));
    let after = flood.end();
    assert!(after.peak < 8 * MB, "{}", after.peak);
    assert_eq!(after.evicted("calls") + after.evicted("calls_refused") + 1_000, sent);
}
