//! Hand-built facts for the tests of the exporters.

use std::net::IpAddr;

use crate::Stamp;
use crate::event::*;
use crate::process::cgroup::Cgroup;
use crate::process::heap::Heap;
use crate::process::host::{Device, Filesystem, Gpu, Host, Interface, Pressure};
use crate::process::privileged::{MemoryMap, Pool};
use crate::process::snapshot::{Fds, Figures, Memory, PollerStats, Snapshot};
use crate::process::udp::Udp;
use crate::rtp::payload::Codec;
use crate::wire::Endpoint;

pub(crate) const START: Stamp = Stamp(1_795_258_486_000_000_000);

pub(crate) fn endpoint(ip: &str, port: u16) -> Endpoint {
    Endpoint { ip: ip.parse::<IpAddr>().unwrap(), port }
}

/// That call while it was up, its caller not heard, with the stream of [`stream`] on its way.
pub(crate) fn live() -> Live {
    let (call, stream) = (call(), stream());
    Live {
        at: START.plus_seconds(20),
        calls: vec![LiveCall {
            call_id: call.call_id,
            from: call.from,
            to: call.to,
            source: call.source,
            destination: call.destination,
            transport: call.transport,
            via: call.via,
            state: CallState::Confirmed,
            start: START,
            answered: Some(START.plus_seconds(6)),
            tenant: None,
            route: None,
            codec: call.codec,
            one_way: Some(Missing::ToCallee),
        }],
        streams: vec![LiveStream {
            serial: 1,
            ssrc: 0x1a2b_3c4d,
            source: stream.source,
            destination: stream.destination,
            call: Some(0),
            direction: stream.direction,
            codec: stream.codec,
            early: false,
            hop: 0,
            first: stream.first,
            last: START.plus_seconds(20),
            counts: StreamCounts { packets: 1000, expected: 1010, lost: 10, ..StreamCounts::default() },
            jitter: Some(0.002),
            mos: Some(4.1),
            band: stream.band,
        }],
        registrations: 3,
        tables: vec![("calls", 1)],
        ..Live::default()
    }
}

/// An answered, unremarkable call.
pub(crate) fn call() -> Call {
    Call {
        call_id: "a84b4c76e66710@pc33.atlanta.com".into(),
        call_ids: vec!["a84b4c76e66710@pc33.atlanta.com".into()],
        from: "sip:alice@atlanta.com".into(),
        to: "sip:bob@biloxi.com".into(),
        source: endpoint("192.0.2.1", 5060),
        destination: endpoint("192.0.2.4", 5060),
        transport: SipTransport::Udp,
        via: Via::Wire,
        state: CallState::Ended,
        result: Some(CallResult::Answered),
        status: Some(200),
        end_reason: Some(EndReason::Bye),
        start: START,
        end: Some(START.plus_seconds(70)),
        challenged: false,
        post_dial_delay: Some(1.503),
        setup: Some(6.25),
        ring: Some(4.747),
        disconnect: Some(0.02),
        duration: Some(63.5),
        first_response: Some(0.012),
        auth: None,
        session_request_failed: None,
        forked: false,
        early_media: false,
        transferred: false,
        tenant: None,
        route: None,
        dtmf: Vec::new(),
        participants: Vec::new(),
        codec: Some(Codec::Pcmu),
        hops: 1,
        retransmissions: 0,
        one_way: None,
        dead_air: Some(false),
        mos: Some(4.12),
        streams: vec!["s1".into(), "s2".into()],
        traceparent: None,
        trail: None,
        why: Why::new(),
    }
}

/// A call that never was answered.
pub(crate) fn failed_call(result: CallResult, status: Option<u16>) -> Call {
    Call {
        result: Some(result),
        status,
        end_reason: None,
        setup: None,
        ring: None,
        disconnect: None,
        duration: None,
        codec: None,
        mos: None,
        session_request_failed: Some(0.4),
        post_dial_delay: None,
        dead_air: None,
        streams: vec![],
        ..call()
    }
}

pub(crate) fn registration() -> Registration {
    Registration {
        call_id: "reg1@atlanta.com".into(),
        aor: "sip:alice@atlanta.com".into(),
        source: endpoint("192.0.2.1", 5060),
        destination: endpoint("192.0.2.4", 5060),
        transport: SipTransport::Udp,
        via: Via::Wire,
        result: Some(RegistrationResult::Success),
        status: Some(200),
        start: START,
        delay: Some(0.08),
        expires: Some(3600),
        challenged: true,
        end: Some(START.plus_nanos(80_000_000)),
        sent_back: Some(START.plus_nanos(20_000_000)),
    }
}

/// The caller's voice, 1.5 % lost.
pub(crate) fn stream() -> Stream {
    Stream {
        id: "s1".into(),
        ssrc: "0x1a2b3c4d".into(),
        source: endpoint("192.0.2.1", 49_170),
        destination: endpoint("192.0.2.4", 3_456),
        call_id: Some(call().call_id),
        direction: Some(Direction::ToCallee),
        origin: Origin::Sdp,
        payload_types: vec![0, 101],
        codec: Codec::Pcmu,
        codec_source: CodecSource::Sdp,
        clock_rate: Some(8000),
        ptime: Some(0.02),
        first: START,
        last: START.plus_seconds(63),
        packets: 3_128,
        bytes: 625_600,
        expected: 3_175,
        lost: 47,
        duplicates: 1,
        capture_duplicates: 0,
        reordered: 2,
        rejected: 0,
        restarts: 0,
        loss_ratio: Some(47.0 / 3_175.0),
        burst_ratio: Some(1.25),
        longest_loss: 3,
        loss_pattern: Some(LossPattern::Random),
        burst_gap: Some(BurstGap {
            bursts: 2,
            burst_density: 0.25,
            gap_density: 0.01,
            burst_duration: 0.24,
            gap_duration: 12.5,
        }),
        jitter: Some(Jitter { last: 0.0021, mean: 0.0019, max: 0.0153 }),
        pdv_p95: Some(0.006),
        clock_skew_ppm: Some(-15.09),
        discarded: Some(Discarded { fixed50: 1, fixed200: 0, adaptive: 4 }),
        mos: Some(Mos { lq: 4.12, cq: Some(4.1), min_window: Some(3.4) }),
        r_factor: Some(82.6),
        band: Some(Band::Nb),
        estimate: false,
        out_of_range: false,
        plc: "assumed",
        delay_source: Some("rtcp"),
        srtp: false,
        dtmf: vec!["5".into()],
        dtx_gaps: 0,
        silence_ratio: Some(0.0),
        discontinuities: 0,
        rate_changes: 0,
        stalls: 1,
        ssrc_overlap: false,
        tail_missing: false,
        dead_air: Some(false),
        dscp: 46,
        hop: Some(Hop { of: "s1".into(), place: 0 }),
        early: false,
        rtcp: Some(Rtcp {
            rtt: Some(0.105),
            rtt_sender: Some(0.03),
            rtt_receiver: Some(0.075),
            reported_loss_ratio: Some(0.016),
            reported_jitter: Some(0.003),
            upstream_loss_ratio: Some(0.0),
            downstream_loss_ratio: Some(0.001),
            xr_mos_lq: Some(4.0),
            xr_mos_cq: Some(3.9),
            reports: 12,
        }),
        windows: 6,
        flow: FlowName::default(),
        why: Why::new(),
    }
}

pub(crate) fn report() -> Report {
    Report {
        kind: ReportKind::VqRtcpxr,
        stamp: START.plus_seconds(70),
        call_id: Some(call().call_id),
        ssrc: Some("0x1a2b3c4d".into()),
        mos_lq: Some(4.0),
        mos_cq: Some(3.9),
        loss_ratio: Some(0.01),
        discard_ratio: Some(0.002),
        rtt: Some(0.1),
    }
}

pub(crate) fn window() -> Window {
    Window {
        stream: 1,
        start: START,
        codec: Codec::Pcmu,
        direction: Some(Direction::ToCallee),
        band: Band::Nb,
        expected: 500,
        lost: 7,
        late: 1,
        mos_lq: 4.1,
        jitter: Some(0.002),
        tainted: false,
    }
}

pub(crate) fn transfer() -> Transfer {
    Transfer { call_id: call().call_id, attended: true, status: Some(200) }
}

pub(crate) fn totals() -> Totals {
    Totals {
        packets: 6_512,
        bytes: 1_302_400,
        first: Some(START),
        last: Some(START.plus_seconds(71)),
        skipped: [("arp", 12), ("icmp", 3)].into(),
        undecoded: 130,
        busiest_undecoded: vec![("ESP".into(), 100), ("port 4500".into(), 30)],
        fragments: 2,
        duplicates: 1,
        truncated: 4,
        requests: [("INVITE".into(), 1), ("ACK".into(), 1), ("BYE".into(), 1), ("FROBNICATE".into(), 1)]
            .into(),
        responses: [(100, 1), (180, 1), (200, 2), (999, 1)].into(),
        retransmissions: 1,
        malformed: 1,
        orphans: 1,
        defects: [("bad_cseq", 1)].into(),
        evicted: [("calls", 1)].into(),
    }
}

/// Every kind of event at least once.
pub(crate) fn events() -> Vec<Event> {
    vec![
        Event::Window(window()),
        Event::Report(report()),
        Event::Stream(stream()),
        Event::Call(call()),
        Event::Registration(registration()),
        Event::Transfer(transfer()),
    ]
}

/// A poll that has found something of everything.
pub(crate) fn processes() -> Snapshot {
    let memory = Memory {
        resident: Some(1000),
        map: MemoryMap { proportional: Some(900), private: Some(500), ..MemoryMap::default() },
        anonymous: Some(600),
        file: Some(300),
        shared: Some(100),
        swap: Some(50),
        address_space: Some(5000),
    };
    let heap = Heap {
        arenas: 2,
        committed: 400,
        in_use: 300,
        free: 100,
        resident: Some(390),
        coverage: 1.0,
        ..Heap::default()
    };
    let pool = Pool {
        source: "kamailio_shm",
        shared_by: Some(1),
        size: 100,
        used: 40,
        real_used: 50,
        fragments: Some(3),
    };
    let cgroup = Cgroup {
        memory_bytes: Some(2000),
        memory_limit_bytes: Some(4000),
        events: [Some(1), Some(0), Some(0)],
        periods: Some(10),
        throttled_periods: Some(2),
        throttled_seconds: Some(0.5),
    };
    let group = Figures {
        name: "kamailio".into(),
        processes: 8,
        exits: 1,
        started_seconds: Some(1.7e9),
        memory,
        memory_budget_bytes: Some(1 << 31),
        cpu_seconds: Some([1.5, 0.5]),
        faults: Some([70, 2]),
        switches: Some([9, 3]),
        threads: Some(8),
        fds: Fds { open: Some(80), limit: Some(1024), worst_ratio: Some(0.02) },
        oom_score: Some(6),
        cgroup: Some(cgroup),
        udp: Some(Udp { sockets: 2, queued_bytes: 0, drops: 7 }),
        allocations: Some(1234),
        heap: Some(heap),
        heap_failures: 1,
        heap_unsupported: None,
        pools: vec![pool],
    };
    let host = Host {
        cpu_seconds: Some([1.0; 8]),
        cpus: Some(2),
        memory: vec![("total", 1 << 30)],
        swap: vec![("total", 0)],
        load: Some([0.5, 0.25, 0.125]),
        pressure: vec![Pressure { resource: "cpu", kind: "some", seconds: 1.0 }],
        filesystems: vec![Filesystem {
            mount: "/".into(),
            size_bytes: 100,
            available_bytes: 50,
            files: Some(10),
            files_free: Some(5),
        }],
        devices: vec![Device { name: "vda".into(), read_bytes: 1, written_bytes: 2, busy_seconds: 0.5 }],
        interfaces: vec![Interface { name: "eth0".into(), errors: [1, 2], drops: [3, 4] }],
        udp_errors: vec![("receive_buffer", 5)],
        gpus: vec![Gpu {
            index: 0,
            busy_ratio: Some(0.5),
            memory_total_bytes: Some(100),
            memory_used_bytes: Some(50),
            celsius: Some(60.0),
        }],
    };
    let poller = PollerStats { polls: 2, seconds: 0.002, processes_seen: 90, refused: 0 };
    Snapshot { groups: vec![group], host: Some(host), poller, ..Snapshot::default() }
}
