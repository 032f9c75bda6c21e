//! The streams as a whole: segments in, records out.

use proptest::prelude::*;

use super::*;

/// A record that outlives its buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    kind: Kind,
    transport: SipTransport,
    text: String,
    whole: bool,
    stamp: u64,
}

/// One segment, numbered from the first byte of the stream; the SYN has number -1.
#[derive(Clone, Debug)]
struct Sent {
    at: i64,
    bytes: Vec<u8>,
    cut: u32,
    syn: bool,
    fin: bool,
    rst: bool,
}

impl Sent {
    fn data(at: usize, bytes: &[u8]) -> Self {
        Self { at: at as i64, bytes: bytes.to_vec(), cut: 0, syn: false, fin: false, rst: false }
    }

    fn syn() -> Self {
        Self { at: -1, syn: true, ..Self::data(0, b"") }
    }
}

struct Bench {
    streams: Streams,
    found: Vec<Found>,
    isn: u32,
    port: u16,
    clock: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(&Limits::default())
    }

    fn with(limits: &Limits) -> Self {
        Self {
            streams: Streams::new(limits),
            found: Vec::new(),
            isn: u32::MAX - 700,
            port: 40_000,
            clock: SECOND,
        }
    }

    fn send(&mut self, sent: &Sent) {
        let end = |last, port| Endpoint { ip: [192, 0, 2, last].into(), port };
        let packet = Packet {
            source: end(1, self.port),
            destination: end(2, 5060),
            transport: Transport::Tcp {
                seq: self.isn.wrapping_add((sent.at + 1) as u32),
                syn: sent.syn,
                fin: sent.fin,
                rst: sent.rst,
            },
            payload: &sent.bytes,
            cut: sent.cut,
            ip_id: None,
            dscp: 0,
            interface: 0,
        };
        let found = &mut self.found;
        self.streams
            .segment(Stamp(self.clock), &packet, &mut |record: Record<'_>| found.push(owned(&record)));
    }

    fn send_all<'a>(&mut self, all: impl IntoIterator<Item = &'a Sent>) -> &mut Self {
        for sent in all {
            self.clock += 1_000_000;
            self.send(sent);
        }
        self
    }

    /// A connection from its SYN on, in order.
    fn stream(&mut self, segments: &[&[u8]]) -> &mut Self {
        let mut all = vec![Sent::syn()];
        let mut at = 0;
        for bytes in segments {
            all.push(Sent::data(at, bytes));
            at += bytes.len();
        }
        self.send_all(&all)
    }

    fn texts(&self) -> Vec<&str> {
        self.found.iter().map(|found| found.text.as_str()).collect()
    }
}

fn owned(record: &Record<'_>) -> Found {
    Found {
        kind: record.kind,
        transport: record.transport,
        text: String::from_utf8_lossy(record.bytes).into_owned(),
        whole: record.whole,
        stamp: record.stamp.0,
    }
}

fn request(method: &str, number: u32, body: &str) -> String {
    let len = body.len();
    format!(
        "{method} sip:b@example.com SIP/2.0\r\nCall-ID: {number}\r\nCSeq: {number} {method}\r\n\
         Content-Length: {len}\r\n\r\n{body}"
    )
}

fn response(number: u32) -> String {
    format!("SIP/2.0 200 OK\nVia: SIP/2.0/TCP a\ni: {number}\nl:4\n\nv=0\n")
}

/// Several messages with keep-alives between them, and the messages alone.
fn sip_stream() -> (Vec<u8>, Vec<String>) {
    let messages = vec![
        request("INVITE", 1, "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n"),
        response(1),
        request("ACK", 1, ""),
        request("NOTIFY", 2, "SIP/2.0 200 OK\r\n"),
        request("BYE", 3, "\r\n\r\n"),
    ];
    let stream = format!(
        "\r\n\r\n{}{}\r\n\r\n{}{}\0\r\n{}\r\n",
        messages[0], messages[1], messages[2], messages[3], messages[4]
    );
    (stream.into_bytes(), messages)
}

fn frame(first: u8, key: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let masked = u8::from(key.is_some()) << 7;
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(masked | len as u8),
        len @ 126..=0xffff => {
            frame.push(masked | 0x7e);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(masked | 0x7f);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(key.into_iter().flatten());
    crate::wire::ws::unmask(payload, key.unwrap_or_default(), &mut frame);
    frame
}

/// An upgraded connection with whole, fragmented and control frames, masked or not.
fn ws_stream(masked: bool) -> (Vec<u8>, Vec<String>) {
    let key = masked.then_some([0x13, 0x0a, 0xf7, 0x81]);
    let long = request("MESSAGE", 4, &"x".repeat(70_000));
    let messages = vec![request("REGISTER", 1, ""), request("INVITE", 2, "v=0\r\n"), response(3), long];
    let (head, tail) = messages[1].split_at(20);
    let mut stream = if masked {
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".to_vec()
    } else {
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".to_vec()
    };
    stream.extend(frame(0x81, key, messages[0].as_bytes()));
    stream.extend(frame(0x89, key, b"ping"));
    stream.extend(frame(0x82, key, b"\r\n\r\n"));
    stream.extend(frame(0x01, key, head.as_bytes()));
    stream.extend(frame(0x8a, key, b""));
    stream.extend(frame(0x00, key, b""));
    stream.extend(frame(0x80, key, tail.as_bytes()));
    stream.extend(frame(0xc1, key, b"compressed"));
    stream.extend(frame(0x82, key, messages[2].as_bytes()));
    stream.extend(frame(0x81, key, messages[3].as_bytes()));
    stream.extend(frame(0x88, key, b""));
    (stream, messages)
}

fn hep_stream() -> (Vec<u8>, Vec<String>) {
    let record = |body: &str| {
        let len = 6 + 7 + 6 + body.len() as u16;
        let mut record = b"HEP3".to_vec();
        record.extend(len.to_be_bytes());
        record.extend([0, 0, 0, 1, 0, 7, 2, 0, 0, 0, 15]);
        record.extend((6 + body.len() as u16).to_be_bytes());
        record.extend(body.as_bytes());
        String::from_utf8(record).unwrap()
    };
    let messages = vec![record(&request("INVITE", 1, "")), record("{}"), record("\n")];
    (messages.concat().into_bytes(), messages)
}

/// Cuts `stream` at `cuts`, then lets each segment be late by `delays` places and be sent again, with bytes
/// around it, by `copies`.
fn scramble(stream: &[u8], cuts: &[usize], delays: &[usize], copies: &[(usize, usize, usize)]) -> Vec<Sent> {
    let mut borders: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    borders.extend([0, stream.len()]);
    borders.sort_unstable();
    borders.dedup();
    let mut sent: Vec<(usize, Sent)> = borders
        .windows(2)
        .enumerate()
        .map(|(place, pair)| {
            let delay = delays.get(place % delays.len().max(1)).copied().unwrap_or(0);
            (place + delay, Sent::data(pair[0], &stream[pair[0]..pair[1]]))
        })
        .collect();
    for &(place, at, len) in copies {
        let at = at % stream.len();
        let end = stream.len().min(at + len);
        sent.push((place % (borders.len() + 1), Sent::data(at, &stream[at..end])));
    }
    sent.sort_by_key(|(place, _)| *place);
    let mut all = vec![Sent::syn()];
    all.extend(sent.into_iter().map(|(_, sent)| sent));
    all
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(any::<u16>().prop_map(usize::from), 0..60)
}

fn arrivals() -> impl Strategy<Value = (Vec<usize>, Vec<(usize, usize, usize)>)> {
    (
        prop::collection::vec(0_usize..6, 1..20),
        prop::collection::vec((any::<u16>(), any::<u16>(), 0_usize..900), 0..20)
            .prop_map(|all| all.into_iter().map(|(a, b, c)| (usize::from(a), usize::from(b), c)).collect()),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// forall cuts, orders within a window, copies: messages(segments) = messages(stream).
    #[test]
    fn sip_is_the_same_however_its_stream_is_cut_and_ordered(cuts in cuts(), (delays, copies) in arrivals()) {
        let (stream, messages) = sip_stream();
        let mut bench = Bench::new();
        bench.send_all(&scramble(&stream, &cuts, &delays, &copies));
        prop_assert_eq!(bench.texts(), messages);
        prop_assert!(bench.found.iter().all(|found| found.whole && found.transport == SipTransport::Tcp));
        prop_assert_eq!(bench.streams.held_bytes(), 0);
        prop_assert_eq!(bench.streams.counters().gaps, 0);
    }

    /// The same for WebSocket, with and without masks.
    #[test]
    fn websocket_is_the_same_however_its_stream_is_cut_and_ordered(
        masked in any::<bool>(), cuts in cuts(), (delays, copies) in arrivals(),
    ) {
        let (stream, messages) = ws_stream(masked);
        let mut bench = Bench::new();
        bench.send_all(&scramble(&stream, &cuts, &delays, &copies));
        prop_assert_eq!(bench.texts(), messages);
        prop_assert!(bench.found.iter().all(|found| found.whole && found.transport == SipTransport::Ws));
        prop_assert_eq!(bench.streams.held_bytes(), 0);
        prop_assert_eq!(bench.streams.counters().compressed_frames, 1);
    }

    /// The same for HEP.
    #[test]
    fn hep_is_the_same_however_its_stream_is_cut_and_ordered(cuts in cuts(), (delays, copies) in arrivals()) {
        let (stream, messages) = hep_stream();
        let mut bench = Bench::new();
        bench.send_all(&scramble(&stream, &cuts, &delays, &copies));
        prop_assert_eq!(bench.texts(), messages);
        prop_assert!(bench.found.iter().all(|found| found.kind == Kind::Hep));
    }

    /// forall segments of noise and SIP on few ports: no panic, every bound is kept, twice the same result.
    #[test]
    fn noise_stays_within_the_bounds(noise in prop::collection::vec(noise(), 0..200)) {
        let limits = Limits { tcp_flows: 3, tcp_flow_bytes: 4000, tcp_bytes: 6000, ..Limits::default() };
        let run = || {
            let mut bench = Bench::with(&limits);
            for (port, wait, sent) in &noise {
                bench.port = *port;
                bench.clock += wait;
                bench.send(sent);
                assert!(bench.streams.open_flows() <= 3);
                assert!(bench.streams.held_bytes() <= 6000);
            }
            let Bench { streams, found, .. } = &mut bench;
            streams.finish(&mut |record: Record<'_>| found.push(owned(&record)));
            assert_eq!(streams.held_bytes(), 0);
            (bench.streams.counters(), bench.found)
        };
        prop_assert_eq!(run(), run());
    }
}

fn noise() -> impl Strategy<Value = (u16, u64, Sent)> {
    let (sip, ws, hep) = (sip_stream().0, ws_stream(true).0, hep_stream().0);
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        (Just(sip), 0_usize..400, 1_usize..400)
            .prop_map(|(s, at, len)| s[at..s.len().min(at + len)].to_vec()),
        (Just(ws), 0_usize..800, 1_usize..900).prop_map(|(s, at, len)| s[at..s.len().min(at + len)].to_vec()),
        (Just(hep), 0_usize..100, 1_usize..100)
            .prop_map(|(s, at, len)| s[at..s.len().min(at + len)].to_vec()),
    ];
    let flags = prop_oneof![8 => Just((false, false, false)), 1 => Just((true, false, false)),
        1 => Just((false, true, false)), 1 => Just((false, false, true))];
    let at = prop_oneof![6 => 0_i64..2000, 1 => any::<u32>().prop_map(i64::from)];
    let cut = prop_oneof![5 => Just(0), 1 => 0_u32..100, 1 => Just(u32::MAX)];
    (40_000_u16..40_005, 0..SECOND, at, bytes, cut, flags).prop_map(
        |(port, wait, at, bytes, cut, (syn, fin, rst))| (port, wait, Sent { at, bytes, cut, syn, fin, rst }),
    )
}

#[test]
fn a_message_that_is_whole_in_its_segment_is_not_copied() {
    let (stream, messages) = sip_stream();
    let mut streams = Streams::new(&Limits::default());
    let end = |last| Endpoint { ip: [192, 0, 2, last].into(), port: 5060 };
    let packet = Packet {
        source: end(1),
        destination: end(2),
        transport: Transport::Tcp { seq: 1, syn: false, fin: false, rst: false },
        payload: &stream,
        cut: 0,
        ip_id: None,
        dscp: 0,
        interface: 0,
    };
    let mut found = 0;
    streams.segment(Stamp(1), &packet, &mut |record: Record<'_>| {
        found += 1;
        assert!(stream.as_ptr_range().contains(&record.bytes.as_ptr()));
    });
    assert_eq!((found, streams.held_bytes()), (messages.len(), 0));
}

#[test]
fn a_message_bears_the_time_of_the_packet_that_completed_it() {
    let (stream, _) = sip_stream();
    let mut bench = Bench::new();
    bench.send_all(&[Sent::syn(), Sent::data(0, &stream[..50]), Sent::data(60, &stream[60..])]);
    assert!(bench.found.is_empty());
    bench.send_all(&[Sent::data(50, &stream[50..60])]);
    let stamps: Vec<_> = bench.found.iter().map(|found| found.stamp).collect();
    assert_eq!(stamps, [SECOND + 4_000_000; 5]);
}

#[test]
fn the_first_copy_of_overlapping_bytes_wins() {
    let message = request("INVITE", 1, "0123456789");
    let (bytes, tail) = (message.as_bytes(), message.len() - 10);
    let mut bench = Bench::new();
    bench.send_all(&[
        Sent::syn(),
        Sent::data(tail + 4, b"4567"),
        Sent::data(tail, b"abcdefghij"),
        Sent::data(0, &bytes[..tail + 2]),
        Sent::data(0, &vec![b'Z'; tail + 10]),
    ]);
    assert_eq!(bench.texts(), [request("INVITE", 1, "abcd4567ij")]);
}

#[test]
fn a_connection_joined_in_its_middle_is_read_from_the_next_start_line() {
    let (stream, messages) = sip_stream();
    let mut bench = Bench::new();
    bench.send_all(&[Sent::data(30, &stream[30..])]);
    assert_eq!(bench.texts(), messages[1..]);

    // Inside the body of NOTIFY, at a status line that is no message.
    let body = stream.windows(17).position(|bytes| bytes == b"\nSIP/2.0 200 OK\r\n").unwrap() + 1;
    let mut bench = Bench::new();
    bench.send_all(&[Sent::data(body, &stream[body..])]);
    assert_eq!(bench.texts(), messages[4..]);

    let (stream, messages) = hep_stream();
    let mut bench = Bench::new();
    bench.send_all(&[Sent::data(40, &stream[40..])]);
    assert_eq!(bench.texts(), messages[1..]);
}

#[test]
fn a_websocket_connection_is_joined_where_a_segment_begins_with_a_frame() {
    for key in [None, Some([1, 2, 3, 4])] {
        let messages = [request("INVITE", 1, "v=0\r\n"), request("BYE", 2, "")];
        let first = frame(0x81, key, messages[0].as_bytes());
        let second = [frame(0x8a, key, b""), frame(0x82, key, messages[1].as_bytes())].concat();
        let mut bench = Bench::new();
        bench.send_all(&[
            Sent::data(100, &first[30..]),
            Sent::data(70 + first.len(), &second),
            Sent::data(70 + first.len() + second.len(), &first),
        ]);
        assert_eq!(bench.texts(), [messages[1].as_str(), messages[0].as_str()]);
        assert!(bench.found.iter().all(|found| found.transport == SipTransport::Ws));
    }
}

#[test]
fn a_hole_that_is_never_filled_is_given_up_after_its_time() {
    let (stream, messages) = sip_stream();
    let second = 4 + messages[0].len();
    let mut bench = Bench::new();
    bench.send_all(&[Sent::syn(), Sent::data(0, &stream[..60]), Sent::data(second, &stream[second..])]);
    assert!(bench.found.is_empty());
    let (held, now) = (bench.streams.held_bytes(), bench.clock);
    assert!(held > stream.len() - second);
    let mut found = Vec::new();
    bench.streams.expire(Stamp(now + 1_999_999_999), &mut |record: Record<'_>| found.push(owned(&record)));
    assert!(found.is_empty());
    bench.streams.expire(Stamp(now + 2_000_000_000), &mut |record: Record<'_>| found.push(owned(&record)));
    // The beginning of the first message, then the others at the time they were seen.
    assert_eq!(found[0].text, messages[0][..56]);
    assert_eq!(found.iter().map(|found| found.whole).collect::<Vec<_>>(), [false, true, true, true, true]);
    assert!(found.iter().all(|found| found.stamp == now));
    assert_eq!(found[1..].iter().map(|found| found.text.as_str()).collect::<Vec<_>>(), messages[1..]);
    let counters = bench.streams.counters();
    assert_eq!((counters.gaps, counters.resynchronised, counters.truncated), (1, 1, 1));
    assert_eq!(bench.streams.held_bytes(), 0);
}

#[test]
fn a_hole_in_a_body_keeps_the_step() {
    // The bytes after the hole look like a message, but the length says that they are body.
    let message = request("NOTIFY", 1, &format!("{}{}", "x".repeat(100), request("BYE", 9, "")));
    let next = request("BYE", 2, "");
    let stream = [message.as_bytes(), next.as_bytes()].concat();
    let body = message.find("xxx").unwrap();
    let mut cut = Sent::data(0, &stream[..body + 40]);
    cut.cut = 60;
    let mut bench = Bench::new();
    bench.send_all(&[Sent::syn(), cut, Sent::data(body + 100, &stream[body + 100..])]);
    assert_eq!(bench.texts(), [&message[..body + 40], &next]);
    assert_eq!(bench.found.iter().map(|found| found.whole).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn segments_cut_by_the_snap_length_give_what_they_show() {
    let messages: Vec<_> = (1..5).map(|number| request("INVITE", number, &"v".repeat(300))).collect();
    let mut bench = Bench::new();
    let mut at = 0;
    let mut sent = vec![Sent::syn()];
    for message in &messages {
        let mut segment = Sent::data(at, &message.as_bytes()[..200]);
        segment.cut = message.len() as u32 - 200;
        sent.push(segment);
        at += message.len();
    }
    bench.send_all(&sent);
    assert_eq!(bench.texts(), messages.iter().map(|message| &message[..200]).collect::<Vec<_>>());
    assert!(bench.found.iter().all(|found| !found.whole));

    let key = Some([9, 8, 7, 6]);
    let upgrade = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    let whole = frame(0x81, key, messages[0].as_bytes());
    let mut cut = Sent::data(upgrade.len(), &whole[..150]);
    cut.cut = whole.len() as u32 - 150;
    let mut bench = Bench::new();
    bench.send_all(&[
        Sent::syn(),
        Sent::data(0, upgrade),
        cut,
        Sent::data(upgrade.len() + whole.len(), &frame(0x81, key, messages[1].as_bytes())),
    ]);
    assert_eq!(bench.texts(), [&messages[0][..142], &messages[1]]);
}

#[test]
fn a_wrong_content_length_costs_what_it_must_and_no_more() {
    let good = request("BYE", 2, "");
    for (length, delivered) in [("Content-Length: 3", true), ("l: 99999999", false), ("l: twelve", false)] {
        let bad = format!("INVITE sip:a SIP/2.0\r\nCall-ID: 1\r\n{length}\r\n\r\nv=0\r\no=- 1 1\r\n");
        let mut bench = Bench::new();
        bench.stream(&[bad.as_bytes(), good.as_bytes(), good.as_bytes()]);
        assert_eq!(bench.texts()[1..], [&good, &good]);
        assert_eq!(bench.found[0].whole, delivered, "{length}");
        assert_eq!(bench.streams.counters().resynchronised, 1);
    }
}

#[test]
fn junk_before_the_first_request_is_tolerated_to_a_bound() {
    let message = request("OPTIONS", 1, "");
    let mut bench = Bench::new();
    bench.stream(&[b"PROXY TCP4 192.0.2.7 192.0.2.2 4711 5060\r\n", message.as_bytes()]);
    assert_eq!(bench.texts(), [message.as_str()]);

    let mut bench = Bench::new();
    bench.stream(&[&[b"junk\r\n".as_slice(); 500].concat(), message.as_bytes()]);
    assert!(bench.found.is_empty());
    assert_eq!(bench.streams.held_bytes(), 0);
}

#[test]
fn tls_is_counted_once_a_connection_and_not_held() {
    let mut streams = Streams::new(&Limits::default());
    let end = |last, port| Endpoint { ip: [192, 0, 2, last].into(), port };
    let (client, server) = (end(1, 40_000), end(2, 5061));
    for (source, destination) in [(client, server), (server, client), (client, server)] {
        let packet = Packet {
            source,
            destination,
            transport: Transport::Tcp { seq: 7, syn: false, fin: false, rst: false },
            payload: b"\x16\x03\x01\x02\x00\x01\x00",
            cut: 0,
            ip_id: None,
            dscp: 0,
            interface: 0,
        };
        streams.segment(Stamp(1), &packet, &mut |_: Record<'_>| panic!("no record in TLS"));
    }
    let counters = streams.counters();
    assert_eq!((counters.flows, counters.tls_flows, counters.sips_flows), (2, 1, 1));
    assert_eq!(streams.held_bytes(), 0);
}

#[test]
fn http_that_is_not_upgraded_is_followed_until_it_is() {
    let message = request("REGISTER", 1, "");
    let mut bench = Bench::new();
    bench.stream(&[
        b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /b HTTP/1.1\r\nContent-Length: 40\r\n\r\n",
        request("BYE", 9, "").as_bytes(),
        b"GET /ws HTTP/1.1\r\nUpg",
        b"rade: websocket\r\n\r\n",
        &frame(0x81, Some([1, 2, 3, 4]), message.as_bytes()),
    ]);
    assert_eq!(bench.texts(), [message.as_str()]);
}

#[test]
fn websocket_without_sip_is_left_alone_after_a_while() {
    let mut bench = Bench::new();
    let text = frame(0x81, None, b"{\"hello\":1}");
    let mut all: Vec<&[u8]> = vec![b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\n\r\n"];
    all.extend([text.as_slice(); 20]);
    let message = frame(0x81, None, request("BYE", 1, "").as_bytes());
    all.push(&message);
    bench.stream(&all);
    assert!(bench.found.is_empty());
}

#[test]
fn a_new_connection_on_the_same_ports_begins_anew() {
    let message = request("OPTIONS", 1, "");
    let mut bench = Bench::new();
    bench.stream(&[message.as_bytes(), &message.as_bytes()[..40]]);
    bench.isn = 5;
    bench.stream(&[message.as_bytes()]);
    assert_eq!(bench.texts(), [&message, &message[..40], &message]);
    assert_eq!((bench.streams.counters().reused, bench.streams.open_flows()), (1, 1));
}

#[test]
fn the_last_segment_of_a_connection_seen_twice_is_one_message() {
    let message = request("BYE", 1, "");
    let mut last = Sent::data(0, message.as_bytes());
    last.fin = true;
    let mut reset = Sent::data(message.len() + 1, b"");
    reset.rst = true;
    let mut bench = Bench::new();
    bench.send_all(&[Sent::syn(), last.clone(), last.clone(), reset, last]);
    assert_eq!(bench.texts(), [message.as_str()]);
}

#[test]
fn an_end_that_overtakes_its_data_waits_for_it() {
    let (stream, messages) = sip_stream();
    let fin = Sent { fin: true, ..Sent::data(stream.len(), b"") };
    let mut bench = Bench::new();
    bench.send_all(&[Sent::syn(), Sent::data(90, &stream[90..]), fin, Sent::data(0, &stream[..90])]);
    assert_eq!(bench.texts(), messages);
    // It is over: what comes again is old.
    bench.send_all(&[Sent::data(0, &stream)]);
    assert_eq!(bench.texts(), messages);
}

#[test]
fn what_is_held_comes_out_when_the_connection_ends() {
    let message = request("INVITE", 1, "v=0\r\n");
    for (fin, rst) in [(true, false), (false, true)] {
        let end = Sent { fin, rst, ..Sent::data(message.len() - 5, b"") };
        let mut bench = Bench::new();
        bench.send_all(&[Sent::syn(), Sent::data(0, &message.as_bytes()[..message.len() - 5]), end]);
        assert_eq!(bench.texts(), [&message[..message.len() - 5]]);
        assert!(!bench.found[0].whole);
    }
}

#[test]
fn keep_alive_probes_and_resets_from_nowhere_change_nothing() {
    let message = request("OPTIONS", 1, "");
    let (bytes, len) = (message.as_bytes(), message.len());
    let stray = |at: i64, rst: bool| Sent { at, rst, ..Sent::data(0, if rst { b"" } else { b"stray" }) };
    let mut bench = Bench::new();
    bench.send_all(&[
        Sent::syn(),
        Sent::data(0, bytes),
        Sent::data(len - 1, b"\0"),
        stray(0x4000_0000, true),
        stray(0x4000_0000, false),
        stray(0x5000_0000, false),
        Sent::data(len, bytes),
    ]);
    assert_eq!(bench.texts(), [&message, &message]);
    assert_eq!(bench.streams.counters().strays, 2);
}

#[test]
fn a_jump_that_is_confirmed_is_followed() {
    let message = request("OPTIONS", 1, "");
    let (bytes, far) = (message.as_bytes(), 0x3000_0000);
    let mut bench = Bench::new();
    bench.send_all(&[
        Sent::syn(),
        Sent::data(0, bytes),
        Sent::data(far, b"\r\n"),
        Sent::data(far + 2, bytes),
    ]);
    assert_eq!(bench.texts(), [&message, &message]);
}

#[test]
fn two_million_half_open_connections_stay_within_the_bound() {
    let limits = Limits { tcp_flows: 1000, ..Limits::default() };
    let mut bench = Bench::with(&limits);
    let message = request("OPTIONS", 1, "");
    bench.stream(&[message.as_bytes()]);
    let capacity = |streams: &Streams| (streams.flows.len(), streams.free.len(), streams.table.len());
    for number in 0..2_000_000_u32 {
        bench.clock += 10;
        bench.isn = number;
        let end = |ip: u32, port| Endpoint { ip: std::net::IpAddr::V4(ip.into()), port };
        let packet = Packet {
            source: end(number, 1),
            destination: end(1, 5060),
            transport: Transport::Tcp { seq: number, syn: true, fin: false, rst: false },
            payload: b"",
            cut: 0,
            ip_id: None,
            dscp: 0,
            interface: 0,
        };
        bench.streams.segment(Stamp(bench.clock), &packet, &mut |_: Record<'_>| ());
    }
    assert_eq!(capacity(&bench.streams), (1000, 0, 1000));
    assert_eq!(bench.streams.held_bytes(), 0);
    let counters = bench.streams.counters();
    assert_eq!((counters.evicted, counters.recycled), (0, 2_000_000 - 999));
    // The connection that talks SIP was kept.
    bench.isn = u32::MAX - 700;
    bench.send_all(&[Sent::data(message.len(), message.as_bytes())]);
    assert_eq!(bench.texts(), [&message, &message]);
}

#[test]
fn many_holes_give_way_oldest_first() {
    let limits = Limits { tcp_bytes: 20_000, ..Limits::default() };
    let mut bench = Bench::with(&limits);
    let message = request("OPTIONS", 1, &"x".repeat(900));
    for port in 1..200 {
        bench.port = port;
        bench.send_all(&[Sent::syn(), Sent::data(10, message.as_bytes())]);
        assert!(bench.streams.held_bytes() <= 20_000);
    }
    let counters = bench.streams.counters();
    assert_eq!(bench.found.len() as u64, counters.released);
    assert!(counters.released > 170);
    assert!(bench.found.iter().all(|found| found.text == message));
}

#[test]
fn silent_directions_are_forgotten_oldest_first() {
    let message = request("OPTIONS", 1, "");
    let mut bench = Bench::new();
    bench.stream(&[message.as_bytes()]);
    bench.port += 1;
    bench.stream(&[b"binary\x00\x01"]);
    let now = bench.clock;
    bench.streams.expire(Stamp(now + 301 * SECOND), &mut |_: Record<'_>| ());
    assert_eq!(bench.streams.open_flows(), 1);
    bench.streams.expire(Stamp(now + 3601 * SECOND), &mut |_: Record<'_>| ());
    assert_eq!((bench.streams.open_flows(), bench.streams.counters().expired), (0, 2));
}

#[test]
fn a_stream_of_single_bytes_is_read_in_linear_time() {
    let message = request("MESSAGE", 1, &"x".repeat(60_000));
    let header = format!("BYE sip:a SIP/2.0\r\nCall-ID: 1\r\n{}\r\n", "X-Long: y\r\n".repeat(6000));
    for stream in [message, header] {
        let all: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        let mut bench = Bench::new();
        bench.stream(&all);
        assert_eq!(bench.texts(), [stream.as_str()]);
    }
}

const SECOND: u64 = 1_000_000_000;
