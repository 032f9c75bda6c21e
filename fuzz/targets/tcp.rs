//! Segments of a few connections in any order: memory stays bounded, nothing is left behind at the end.
#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::fuzz_target;
use sidetone::wire::tcp::{Record, Streams};
use sidetone::wire::{Endpoint, Packet, Transport};
use sidetone_fuzz::{Script, tiny_limits};

fuzz_target!(|bytes: &[u8]| {
    let limits = tiny_limits();
    let mut streams = Streams::new(&limits);
    let mut script = Script::new(bytes);
    let mut next = [u32::MAX - 100, 0, 1 << 31, 7];
    let mut records = 0;
    let mut out = |record: Record<'_>| {
        assert!(!record.bytes.is_empty());
        records += 1;
    };
    while let Some(kind) = script.byte() {
        let (Some(stamp), Some(step), Some(len)) = (script.time(), script.word(), script.word()) else {
            break;
        };
        let payload = script.bytes(usize::from(len));
        let flow = usize::from(kind & 3);
        let seq = next[flow].wrapping_add_signed(i32::from(step.cast_signed()));
        let syn = kind >> 2 & 1 == 1;
        next[flow] = seq.wrapping_add(payload.len() as u32 + u32::from(syn));
        let (near, far) = (end(2_000 + u16::from(kind >> 1 & 1)), end(5_060));
        let (source, destination) = if flow & 1 == 0 { (near, far) } else { (far, near) };
        let packet = Packet {
            source,
            destination,
            transport: Transport::Tcp { seq, syn, fin: kind >> 3 & 1 == 1, rst: kind >> 4 & 1 == 1 },
            payload,
            cut: u32::from(kind >> 5) * 50,
            ip_id: None,
            dscp: 0,
            interface: 0,
        };
        streams.segment(stamp, &packet, &mut out);
        assert!(streams.open_flows() <= limits.tcp_flows);
        assert!(streams.held_bytes() <= limits.tcp_bytes);
    }
    streams.finish(&mut out);
    assert_eq!(streams.held_bytes(), 0);
    let counters = streams.counters();
    assert_eq!(counters.sip_messages + counters.hep_records, records);
});

fn end(port: u16) -> Endpoint {
    Endpoint { ip: Ipv4Addr::LOCALHOST.into(), port }
}
