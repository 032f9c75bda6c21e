//! An RTP header of any bytes, then a stream of any packets: what is counted adds up (MEAS 1.3).
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidetone::event::{self, CodecSource};
use sidetone::quality::Rating;
use sidetone::rtp::header::Header;
use sidetone::rtp::payload::{Codec, Format};
use sidetone::rtp::packet::Packet;
use sidetone::rtp::stream::{Formats, Stream};
use sidetone::rtp::window::Closed;
use sidetone::rtp::summary::Context;
use sidetone::wire::Endpoint;
use sidetone_fuzz::Script;

fuzz_target!(|bytes: &[u8]| {
    for cut in [0, 160] {
        if let Some(header) = Header::read(bytes, cut) {
            assert!(header.payload(bytes).len() <= bytes.len());
            assert!(header.payload_len <= bytes.len() as u32 + cut);
            let _ = header.is_sound();
        }
    }
    let mut script = Script::new(bytes);
    let Some(secure) = script.byte().map(|byte| byte & 1 == 1) else { return };
    let (mut seq, mut ticks, mut pushed) = (0_u16, 0_u32, 0_u64);
    let mut stream: Option<Stream> = None;
    let mut closed = Vec::new();
    while let Some(packet) = next_packet(&mut script, &mut seq, &mut ticks) {
        pushed += 1;
        match &mut stream {
            Some(stream) => stream.push(&packet, &Negotiated, &mut closed),
            None => stream = Some(Stream::open(&packet, secure, &Negotiated)),
        }
    }
    let Some(mut stream) = stream else { return };
    stream.finish(&mut closed);
    check(&stream, &closed, pushed);
});

fn next_packet<'a>(script: &mut Script<'a>, seq: &mut u16, ticks: &mut u32) -> Option<Packet<'a>> {
    let (kind, stamp) = (script.byte()?, script.time()?);
    let (seq_step, tick_step, payload_type, len) =
        (script.byte()?, script.byte()?, script.byte()?, script.byte()?);
    *seq = match kind & 3 {
        0 => seq.wrapping_add(u16::from(seq_step & 1) + 1),
        1 => seq.wrapping_add_signed(i16::from(seq_step.cast_signed())),
        2 => seq.wrapping_add(u16::from(seq_step) << 4),
        _ => *seq,
    };
    *ticks = match kind >> 2 & 3 {
        0 => ticks.wrapping_add(160),
        1 => ticks.wrapping_add_signed(i32::from(tick_step.cast_signed()) * 40),
        2 => ticks.wrapping_add(u32::from(tick_step) << 24),
        _ => *ticks,
    };
    let payload = script.bytes(usize::from(kind >> 4 & 7));
    Some(Packet {
        stamp,
        seq: *seq,
        ticks: *ticks,
        payload_type: TYPES[usize::from(payload_type & 7)],
        marker: payload_type & 0x80 != 0,
        payload,
        payload_len: u32::from(len).max(payload.len() as u32),
        length: u32::from(len) + 12,
        ip_id: u16::from(kind & 0x80) * 3,
        interface: u32::from(len & 1),
    })
}

fn check(stream: &Stream, closed: &[Closed], pushed: u64) {
    let nowhere = Endpoint { ip: std::net::Ipv4Addr::UNSPECIFIED.into(), port: 0 };
    let rating = Rating::default();
    let fact = stream.fact(Context {
        identity: event::Stream::blank(nowhere, nowhere),
        rating: &rating,
        delay: Some((0.05, "rtcp")),
        concealment: None,
        receiver_delay: None,
        implausible: false,
        tainted: false,
        worst_window: None,
    });
    assert_eq!(fact.packets + fact.lost, fact.expected, "{fact:?}");
    let all = fact.packets + fact.duplicates + fact.capture_duplicates + fact.rejected;
    assert_eq!(all, pushed, "each packet is one of these: {fact:?}");
    for ratio in [fact.loss_ratio, fact.silence_ratio].into_iter().flatten() {
        assert!(ratio.is_finite() && ratio >= 0.0, "{fact:?}");
    }
    assert!(fact.loss_ratio.is_none_or(|ratio| ratio <= 1.0));
    if let Some(mos) = fact.mos {
        let scores = [Some(mos.lq), mos.cq].into_iter().flatten();
        assert!(scores.into_iter().all(|score| (1.0..=5.0).contains(&score)), "{mos:?}");
    }
    if let Some(jitter) = fact.jitter {
        assert!(
            jitter.mean >= 0.0 && jitter.mean <= jitter.max * (1.0 + 1e-9) && jitter.max.is_finite(),
            "{jitter:?}"
        );
    }
    assert!(fact.pdv_p95.is_none_or(|pdv| pdv.is_finite() && pdv >= 0.0), "{fact:?}");
    assert!(fact.clock_skew_ppm.is_none_or(f64::is_finite), "{fact:?}");
    let windows: u64 = closed.iter().map(|window| window.outcomes.expected()).sum();
    assert!(windows <= fact.expected, "windows hold {windows} of {}", fact.expected);
    for window in closed.iter().filter_map(|window| stream.window_fact(window, &rating, None)) {
        assert!((1.0..=5.0).contains(&window.mos_lq) && window.lost <= window.expected, "{window:?}");
    }
}

struct Negotiated;

impl Formats for Negotiated {
    fn format(&self, payload_type: u8) -> Option<(Format, CodecSource)> {
        let format = match payload_type {
            96 => Format::from_rtpmap(96, b"opus", 48_000),
            97 => Format::from_rtpmap(97, b"H264", 90_000),
            101 => Format { codec: Codec::TelephoneEvent, clock_rate: 8_000, ..Format::unknown(101) },
            _ => return Format::of_static(payload_type).map(|format| (format, CodecSource::Static)),
        };
        Some((format, CodecSource::Sdp))
    }
}

const TYPES: [u8; 8] = [0, 0, 8, 18, 13, 96, 97, 101];
