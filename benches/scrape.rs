//! What a scrape of 100,000 series costs (DESIGN 11): `cargo bench --bench scrape`. Figures only, no verdict: they
//! belong into docs/performance.md.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench that prints figures or fails")]
#![allow(clippy::disallowed_types, reason = "time is what is measured")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use sidetone::Stamp;
use sidetone::event::{CallState, Direction, Live, LiveCall, LiveStream, SipTransport, StreamCounts, Via};
use sidetone::export::prometheus::{Exposition, Metrics, Options};
use sidetone::rtp::payload::Codec;
use sidetone::wire::Endpoint;

fn main() {
    let live = live();
    let options = Options { sessions_max: live.streams.len(), ..Options::default() };
    let mut metrics = Metrics::with(options);
    println!("{} calls, {} streams, medians of {ROUNDS}", live.calls.len(), live.streams.len());
    let first = Instant::now();
    metrics.live(&live);
    println!("{:<34} {:>8.2} ms", "first snapshot taken in", first.elapsed().as_secs_f64() * 1e3);
    figure("a snapshot taken in", || metrics.live(&live));
    for exposition in [Exposition::OpenMetrics, Exposition::Classic, Exposition::Protobuf] {
        let mut body = Vec::new();
        figure(&format!("{exposition:?} written"), || {
            body.clear();
            metrics.write(exposition, &mut body).unwrap();
        });
        let lines = body.split(|&b| b == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#"));
        match exposition {
            Exposition::Protobuf => println!("{:<34} {:>8} bytes", "", body.len()),
            _ => println!("{:<34} {:>8} bytes, {} series", "", body.len(), lines.count()),
        }
    }
}

fn figure(what: &str, mut run: impl FnMut()) {
    let mut took: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    took.sort_by(f64::total_cmp);
    println!("{what:<34} {:>8.2} ms", took.get(ROUNDS / 2).unwrap());
}

/// Two streams a call, three series a stream.
fn live() -> Live {
    let endpoint =
        |number: u32, port| Endpoint { ip: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)), port };
    let mut live = Live::default();
    for number in 0..STREAMS / 2 {
        live.calls.push(LiveCall {
            call_id: format!("{number:08x}-5d2e@pbx.example.net"),
            from: "sip:alice@example.net".into(),
            to: "sip:bob@example.net".into(),
            source: endpoint(number, 5060),
            destination: endpoint(1, 5060),
            transport: SipTransport::Udp,
            via: Via::Wire,
            state: CallState::Confirmed,
            start: Stamp(0),
            answered: Some(Stamp(1)),
            tenant: None,
            route: None,
            codec: Some(Codec::Pcma),
            one_way: None,
        });
        for direction in [Direction::ToCaller, Direction::ToCallee] {
            let serial = live.streams.len() as u32 + 1;
            live.streams.push(LiveStream {
                serial,
                ssrc: serial,
                source: endpoint(number, 40_000),
                destination: endpoint(1, 40_000),
                call: Some(number),
                direction: Some(direction),
                codec: Codec::Pcma,
                early: false,
                hop: 0,
                first: Stamp(0),
                last: Stamp(1),
                counts: StreamCounts {
                    packets: 10_000,
                    expected: 10_000 + u64::from(serial % 977),
                    lost: u64::from(serial % 977),
                    ..StreamCounts::default()
                },
                jitter: Some(f64::from(serial % 8191) * 1.7e-6),
                mos: Some(4.41 - f64::from(serial % 977) * 0.003),
                band: None,
            });
        }
    }
    live
}

/// Three series each: 100,002.
const STREAMS: u32 = 33_334;
const ROUNDS: usize = 21;
