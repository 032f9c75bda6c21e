//! Writes a seed for each thing that the parsers know, into `corpus/TARGET/`; run it in `fuzz/`:
//!
//! ```text
//! cargo run --release --example seeds
//! ```
//!
//! All of them are made here or by the simulator: no captured byte is among them.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use sidetone::hep::{self, Hep};
use sidetone::rtp::payload::Codec;
use sidetone::simulate::{Outcome, Plan, Traffic};
use sidetone::stamp::Stamp;
use sidetone::wire::{Endpoint, LinkType, fast};
use sidetone_fuzz::Writer;

fn main() -> std::io::Result<()> {
    let calls = simulated();
    let messages: Vec<&[u8]> =
        calls.iter().flat_map(|call| call.iter()).filter_map(|(_, frame)| sip_of(frame)).collect();
    for (i, message) in messages.iter().enumerate() {
        seed("sip", &format!("call-{i}"), message)?;
    }
    for (name, message) in odd_messages() {
        seed("sip", name, message.as_bytes())?;
    }
    for (name, body) in DESCRIPTIONS {
        seed("sdp", name, body.as_bytes())?;
    }
    for (name, bytes) in rtp() {
        seed("rtp", name, &bytes)?;
    }
    for (name, bytes) in rtcp() {
        seed("rtcp", name, &[&[0], bytes.as_slice()].concat())?;
    }
    let invite = messages.first().copied().unwrap_or_default();
    for (name, bytes) in heps(invite) {
        seed("hep", name, &bytes)?;
    }
    for (name, link, bytes) in frames(invite) {
        let mut script = Writer::new();
        script.frame(link, 0, &bytes);
        seed("wire", name, &script.bytes)?;
        seed("observer", name, &script.bytes)?;
    }
    for (name, bytes) in fragments(invite) {
        seed("wire", name, &bytes)?;
        seed("observer", name, &bytes)?;
    }
    for (name, bytes) in connections(&messages) {
        seed("tcp", name, &bytes)?;
    }
    for (name, bytes) in files(&calls) {
        seed("pcapng", name, &bytes)?;
    }
    for (i, call) in calls.iter().enumerate() {
        let mut script = Writer::new();
        for (at, frame) in call {
            script.frame(LinkType::ETHERNET, *at, frame);
        }
        seed("observer", &format!("call-{i}"), &script.bytes)?;
    }
    for (name, bytes) in conversations(&messages) {
        seed("observer", name, &bytes)?;
    }
    Ok(())
}

fn seed(target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("seed-{name}")), bytes)
}

type Capture = Vec<(u64, Vec<u8>)>;

/// A short capture of every course a call or registration can take.
fn simulated() -> Vec<Capture> {
    let outcomes = [
        Outcome::Answered,
        Outcome::Challenged,
        Outcome::Forked,
        Outcome::Busy,
        Outcome::Redirected,
        Outcome::Cancelled,
        Outcome::WrongPassword,
        Outcome::Timeout,
    ];
    let mut captures: Vec<Capture> = Vec::new();
    for outcome in outcomes {
        let media = if outcome == Outcome::Answered { 0.4 } else { 0.05 };
        captures.push(capture(Plan {
            calls: 1,
            duration: media,
            outcomes: vec![outcome],
            ..Plan::default()
        }));
    }
    captures.push(capture(Plan { calls: 0, registrations: 2, mix: 50.0, ..Plan::default() }));
    let lossy = Plan {
        calls: 1,
        duration: 0.6,
        loss: 10.0,
        jitter: 20.0,
        reorder: 5.0,
        duplicate: 5.0,
        ..Plan::default()
    };
    captures.push(capture(Plan { codec: Codec::G729, ..lossy }));
    captures
}

fn capture(plan: Plan) -> Capture {
    let start = plan.start;
    let mut traffic = Traffic::new(plan).expect("a sound plan");
    let mut frames = Vec::new();
    while let Some(frame) = traffic.next_frame() {
        frames.push((frame.stamp.0 - start.0, frame.bytes.to_vec()));
    }
    frames
}

fn sip_of(frame: &[u8]) -> Option<&[u8]> {
    fast::slice(frame).map(|datagram| datagram.payload).filter(|payload| sidetone::sip::looks_like(payload))
}

fn message(start: &str, headers: &str, body: &str) -> String {
    format!(
        "{start}\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport=5060;received=192.0.2.9\r\n\
         Max-Forwards: 70\r\nFrom: \"A \\\" B\" <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>;tag=2\r\n\
         Call-ID: odd@example.com\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn odd_messages() -> Vec<(&'static str, String)> {
    let report = "VQSessionReport: CallTerm\r\nCallID: 12345@example.com\r\nLocalID: Alice <sip:a@example.com>\r\n\
        RemoteID: Bob <sip:b@example.com>\r\nOrigID: Alice <sip:a@example.com>\r\n\
        LocalAddr: IP=192.0.2.1 PORT=5000 SSRC=2468abcd\r\nRemoteAddr: IP=192.0.2.2 PORT=5002 SSRC=0x1357efff\r\n\
        LocalMetrics:\r\nTimestamps: START=2004-10-10T18:23:43Z STOP=2004-10-01T18:26:02Z\r\n\
        SessionDesc: PT=18 PD=G729 SR=8000 FD=20 FO=20 FPP=2 PPS=50 FMTP=\"annexb=no\" PLC=3 SSUP=on\r\n\
        JitterBuffer: JBA=3 JBR=2 JBN=40 JBM=80 JBX=120\r\nPacketLoss: NLR=5.0 JDR=2.0\r\n\
        BurstGapLoss: BLD=0 BD=0 GLD=2.0 GD=500 GMIN=16\r\nDelay: RTD=200 ESD=140 SOWD=200 IAJ=2 MAJ=10\r\n\
        Signal: SL=-18 NL=-50 RERL=55\r\nQualityEst: RLQ=82 RCQ=75 EXTRI=90 MOSLQ=3.4 MOSCQ=3.2 QoEEstAlg=P.564\r\n\
        RemoteMetrics:\r\nPacketLoss: NLR=1\r\nQualityEst: MOSLQ=4.1\r\nDialogID:1@example.com;to-tag=2;from-tag=3\r\n";
    let metadata = "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP6 2001:db8::1\r\nm=audio 4 RTP/SAVP 0\r\n\
        a=label:1\r\n--b\r\nContent-Type: application/rs-metadata+xml\r\n\r\n<recording>\
        <participant participant_id=\"x\"><nameID aor=\"sip:a@example.com\"/></participant></recording>\r\n--b--\r\n";
    vec![
        ("quality", message("PUBLISH sip:c@example.com SIP/2.0", "CSeq: 1 PUBLISH\r\nEvent: vq-rtcpxr\r\nContent-Type: application/vq-rtcpxr\r\n", report)),
        ("recording", message("INVITE sip:srs@example.com SIP/2.0", "CSeq: 1 INVITE\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\nRequire: siprec\r\n", metadata)),
        ("refer", message("REFER sip:b@example.com SIP/2.0", "CSeq: 2 REFER\r\nRefer-To: <sip:c@example.com?Replaces=1%40h%3Bto-tag%3D2>\r\nReferred-By: <sip:a@example.com>\r\n", "")),
        ("frag", message("NOTIFY sip:b@example.com SIP/2.0", "CSeq: 3 NOTIFY\r\nEvent: refer\r\nSubscription-State: terminated\r\nContent-Type: message/sipfrag\r\n", "SIP/2.0 200 OK\r\n")),
        ("replaces", message("INVITE sip:b@example.com SIP/2.0", "CSeq: 4 INVITE\r\nReplaces: odd@example.com;to-tag=2;from-tag=1\r\nSession-ID: ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2\r\nP-Charging-Vector: icid-value=abc;icid-generated-at=192.0.2.1\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\ntracestate: a=b\r\nX-CID: leg\r\nSession-Expires: 90;refresher=uac\r\n", "")),
        ("register", message("REGISTER sip:example.com SIP/2.0", "CSeq: 5 REGISTER\r\nContact: <sip:a@192.0.2.1;transport=tcp>;q=0.5;expires=60, *\r\nExpires: 3600\r\nAuthorization: Digest username=\"a\"\r\nUser-Agent: x/1\r\n", "")),
        ("stale", message("SIP/2.0 401 Unauthorized", "CSeq: 5 REGISTER\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"y\",\r\n  stale=TRUE\r\n", "")),
        ("compact", "INVITE sip:b@[2001:db8::1]:5060;lr SIP/2.0\nv: SIP/2.0/WSS x;branch=1 , SIP/2.0/TCP [::1]\nf: a <tel:+1>;tag=\"q\"\nt:sip:b@c;tag=1\ni:1\ncseq: 00001 INVITE\nm:*\nc:application/sdp\nl:0\nx:90\nr:sip:c@d\nb:sip:a@b\no: refer\n\n".into()),
        ("folded", "SIP/2.0 200\r\nVIA\r\n : SIP / 2.0 / UDP\r\n\th\r\nFROM:<sip:a@b>;tag=x\r\nTo:\r\n sip:c\r\nCall-ID: 1\r\nCSeq:4294967296 \r\n INVITE\r\nContent-Length: 99999\r\n\r\nshort".into()),
        ("info", message("INFO sip:b@example.com SIP/2.0", "CSeq: 6 INFO\r\nContent-Type: application/dtmf-relay\r\n", "Signal=5\r\nDuration=160\r\n")),
    ]
}

const DESCRIPTIONS: &[(&str, &str)] = &[
    (
        "plain",
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:150\r\na=sendrecv\r\n",
    ),
    (
        "secure",
        "v=0\nc=IN IP6 2001:db8::1\na=fingerprint:sha-256 00\na=sendonly\nm=audio 4000/2 UDP/TLS/RTP/SAVPF 111 63\na=rtpmap:111 opus/48000/2\na=fmtp:111 minptime=10;useinbandfec=1;maxaveragebitrate=20000\na=rtpmap:63 red/48000/2\na=rtcp:4001 IN IP4 192.0.2.9\na=rtcp-mux\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\na=label:7\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=inactive\n",
    ),
    (
        "codecs",
        "m=audio 4 RTP/AVP 97 98 99 100 18 4 9\ra=fmtp:97 mode=20\ra=rtpmap:97 iLBC/8000\ra=rtpmap:98 AMR-WB/16000\ra=fmtp:98 octet-align=1;mode-set=0,2\ra=rtpmap:99 G726-32/8000\ra=rtpmap:100 EVS/16000\ra=fmtp:18 annexb=no\ra=fmtp:4 bitrate=5.3\r",
    ),
    (
        "old",
        "c=IN IP4 0.0.0.0\r\nm=image 5 udptl t38\r\nm=audio 6 RTP/AVP 0\r\nc=IN IP4 host.example.com\r\nm=message 7 TCP/MSRP *\r\nm=audio 70000 RTP/AVP 200 -1\r\na=rtpmap:\r\na=ptime:999999\r\n",
    ),
];

/// Headers with every flag, and scripts of `targets/rtp.rs`.
fn rtp() -> Vec<(&'static str, Vec<u8>)> {
    let header = |first: u8, more: &[u8]| {
        [&[first, 0x80, 0, 1, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef], more, &[0xd5; 20]].concat()
    };
    let packet = |kind: u8, delay: u8, steps: [u8; 2], payload_type: u8| {
        vec![kind, delay, steps[0], steps[1], payload_type, 160]
    };
    let script = |packets: Vec<Vec<u8>>| [vec![7, 0], packets.concat()].concat();
    let even = |count: usize, payload_type| {
        (0..count).map(|_| packet(0, 0x22, [0, 0], payload_type)).collect::<Vec<_>>()
    };
    let mut lossy = even(60, 0);
    for i in (5..60).step_by(9) {
        lossy[i] = packet(1, 0x24, [(i % 7) as u8, 0], 0);
    }
    let mut odd = even(40, 5);
    odd[10] = packet(2, 0x21, [200, 0], 5);
    odd[11] = packet(2, 0x21, [200, 0], 5);
    odd[12] = packet(0, 0x21, [0, 0], 5);
    odd[20] = packet(3, 0x10, [0, 0], 5);
    odd[25] = packet(8, 0x22, [0, 90], 5);
    odd[30] = packet(1, 0xa5, [253, 0], 5);
    odd[33] = packet(0, 0x71, [0, 0], 5);
    let mut digits = even(12, 0);
    for i in 3..9 {
        digits[i] = [packet(0x4c, 0x22, [0, 0], 7), vec![5, (i as u8) << 5, 0, i as u8 * 20]].concat();
    }
    let mut noise = even(30, 2);
    noise[15] = packet(4, 0x38, [0, 127], 2);
    noise[16] = packet(4, 0x22, [0, 4], 4);
    vec![
        ("header", header(0x80, &[])),
        ("sources", header(0x82, &[0; 8])),
        ("extension", header(0x90, &[0xbe, 0xde, 0, 1, 0x10, 1, 0, 0])),
        ("padding", [header(0xa0, &[]), vec![0, 0, 0, 4]].concat()),
        ("even", script(even(80, 0))),
        ("lossy", script(lossy)),
        ("odd", script(odd)),
        ("digits", script(digits)),
        ("noise", script(noise)),
        ("video", script(even(30, 6))),
        ("types", script((0..8).flat_map(|kind| even(4, kind)).collect())),
    ]
}

/// One packet of each type and one block of each XR type.
fn rtcp() -> Vec<(&'static str, Vec<u8>)> {
    let part = |count: u8, kind: u8, words: &[u32]| {
        let mut bytes = vec![0x80 | count, kind, 0, words.len() as u8];
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        bytes
    };
    let block = [0xcafe, 0x1000_0005, 0x0001_0064, 160, 0x1234_5678, 0x0000_8000];
    let sender = [&[0xbabe, 0x9234_1234, 0x5678_9abc, 8_000, 50, 8_000][..], &block].concat();
    let sdes = part(1, 202, &[0xbabe, 0x0105_6140, 0x622e_6300]);
    let xr = |words: &[u32]| part(0, 207, &[&[0xbabe], words].concat());
    let voip = [
        0x0700_0008,
        0xcafe,
        0x0510_2000,
        0x0064_0200,
        0x0014_001e,
        0xec3c_0a10,
        0x5a7f_2823,
        0xb000_0014,
        0x0028_0050,
    ];
    vec![
        ("sender", [part(1, 200, &sender), sdes.clone()].concat()),
        (
            "receiver",
            [part(1, 201, &[&[0xbabe][..], &block].concat()), part(2, 203, &[0xbabe, 0xcafe])].concat(),
        ),
        ("application", part(3, 204, &[0xbabe, 0x6e61_6d65, 1])),
        (
            "feedback",
            [
                part(1, 205, &[0xbabe, 0xcafe, 0x0001_8000]),
                part(15, 206, &[0xbabe, 0, 0x5245_4d42, 0x0103_ffff]),
            ]
            .concat(),
        ),
        ("voip", xr(&voip)),
        ("clocks", xr(&[0x0400_0002, 0x9234_1234, 0x5678_9abc, 0x0500_0003, 0xcafe, 0x1234_5678, 0x8000])),
        (
            "runs",
            xr(&[
                0x0100_0003,
                0xcafe,
                0x0001_0040,
                0x4005_bfff,
                0x0200_0003,
                0xcafe,
                0x0001_0040,
                0x8000_0000,
            ]),
        ),
        ("summary", xr(&[0x06e0_0009, 0xcafe, 0x0001_0040, 3, 1, 10, 200, 90, 12, 0x3f40_0000])),
        (
            "measurement",
            xr(&[
                0x0e00_0007,
                0xcafe,
                1,
                0x0000_0002,
                50,
                0,
                0,
                0x4000_0000,
                0x0f00_0004,
                0xcafe,
                0x1234,
                0x4321,
                0x0101_0202,
            ]),
        ),
        (
            "metrics",
            xr(&[
                0x1080_0004,
                0xcafe,
                10,
                5,
                20,
                0x1480_0002,
                0xcafe,
                7,
                0x1740_0002,
                0xcafe,
                0x0028_0050,
                0x1840_0002,
                0xcafe,
                3,
            ]),
        ),
        (
            "scores",
            xr(&[
                0x1d80_0003,
                0xcafe,
                0x0030_0410,
                0x8031_0420,
                0x1e00_0003,
                0xcafe,
                1,
                2,
                0x1f00_0004,
                0xcafe,
                1,
                2,
                0x0101_0000,
            ]),
        ),
        (
            "encrypted",
            [
                part(0, 200, &[0xbabe, 0x1111, 0x2222, 0x3333, 0x4444, 0x5555]),
                vec![0x80, 0, 0, 1],
                vec![0xaa; 10],
            ]
            .concat(),
        ),
        ("padded", [part(0, 201, &[0xbabe]), vec![0xa0, 201, 0, 2, 0, 0, 0xba, 0xbe, 0, 0, 0, 4]].concat()),
    ]
}

fn heps(sip: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let end = |host: &str, port| Endpoint { ip: host.parse().expect("an address"), port };
    let v4 = Hep {
        source: end("192.0.2.1", 5060),
        destination: end("192.0.2.2", 5060),
        protocol: 17,
        stamp: Some(Stamp(1_700_604_800_000_001_000)),
        kind: hep::Kind::Sip,
        agent: 7,
        node: b"edge",
        auth_key: b"key",
        correlation: b"odd@example.com",
        payload: sip,
    };
    let v6 = Hep {
        source: end("2001:db8::1", 1),
        destination: end("2001:db8::2", 2),
        kind: hep::Kind::Rtcp,
        payload: &[0x80, 201, 0, 1, 0, 0, 0, 1],
        ..v4
    };
    let mut encoded = [Vec::new(), Vec::new()];
    hep::encode(&v4, &mut encoded[0]);
    hep::encode(&v6, &mut encoded[1]);
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(sip).expect("memory does not break");
    let packed = packed.finish().expect("memory does not break");
    let mut compressed = encoded[1].clone();
    compressed.extend_from_slice(&[0, 0, 0, 16]);
    compressed.extend_from_slice(&(packed.len() as u16 + 6).to_be_bytes());
    compressed.extend_from_slice(&packed);
    let len = (compressed.len() as u16).to_be_bytes();
    compressed[4..6].copy_from_slice(&len);
    let old = |version: u8, time: &[u8]| {
        let fixed =
            [version, 16 + time.len() as u8, 2, 17, 0x13, 0xc4, 0x13, 0xc4, 192, 0, 2, 1, 192, 0, 2, 2];
        [&fixed[..], time, sip].concat()
    };
    let [v4, v6] = encoded;
    vec![
        ("v3", v4),
        ("v3-six", v6),
        ("v3-packed", compressed),
        ("v1", old(1, &[])),
        ("v2", old(2, &[0, 0, 0, 1, 0, 0, 0, 2, 0, 7, 0, 0])),
    ]
}

const MAC: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x13, 0xc4];
    bytes.extend_from_slice(&port.to_be_bytes());
    bytes.extend_from_slice(&(payload.len() as u16 + 8).to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    [&bytes[..], payload].concat()
}

/// `place`: flags and offset as they stand in the header.
fn ipv4(protocol: u8, place: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0xb8];
    bytes.extend_from_slice(&(payload.len() as u16 + 20).to_be_bytes());
    bytes.extend_from_slice(&[0x12, 0x34]);
    bytes.extend_from_slice(&place.to_be_bytes());
    bytes.extend_from_slice(&[64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2]);
    [&bytes[..], payload].concat()
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&[next, 64]);
    for last in [1, 2] {
        bytes.extend_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    [&bytes[..], payload].concat()
}

fn ether(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&MAC[..], &kind.to_be_bytes(), payload].concat()
}

fn tcp(seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x13, 0xc4, 0x13, 0xc4];
    bytes.extend_from_slice(&seq.to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    [&bytes[..], payload].concat()
}

fn sctp(chunks: &[(u8, u16, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0x13, 0xc4, 0x13, 0xc4, 0, 0, 0, 1, 0, 0, 0, 0];
    for (i, (flags, stream_seq, data)) in chunks.iter().enumerate() {
        bytes.extend_from_slice(&[0, *flags]);
        bytes.extend_from_slice(&(data.len() as u16 + 16).to_be_bytes());
        bytes.extend_from_slice(&(i as u32 + 1).to_be_bytes());
        bytes.extend_from_slice(&[0, 1]);
        bytes.extend_from_slice(&stream_seq.to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 0]);
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// A frame of every link type and tunnel.
fn frames(sip: &[u8]) -> Vec<(&'static str, LinkType, Vec<u8>)> {
    let rtp = [&[0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 9][..], &[0xd5; 20]].concat();
    let plain = ipv4(17, 0x4000, &udp(5060, sip));
    let media = ipv4(17, 0, &udp(4000, &rtp));
    let six = ipv6(17, &udp(5060, sip));
    let inner = ether(0x0800, &media);
    let gre = |flags: [u8; 2], kind: u16, more: &[u8], payload: &[u8]| {
        ipv4(47, 0, &[&flags[..], &kind.to_be_bytes(), more, payload].concat())
    };
    let (half, rest) = sip.split_at(sip.len() / 2);
    let extended = ipv6(
        0,
        &[&[43, 0, 1, 4, 0, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0][..], &udp(5060, sip)]
            .concat(),
    );
    let cooked =
        |kind: u16| [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &kind.to_be_bytes(), &plain].concat();
    let eth = LinkType::ETHERNET;
    vec![
        ("ether", eth, ether(0x0800, &plain)),
        ("ether-six", eth, ether(0x86dd, &six)),
        ("tags", eth, ether(0x88a8, &[&[0, 5, 0x81, 0, 0, 6, 8, 0][..], &plain].concat())),
        ("snap", eth, [&MAC[..], &[1, 0, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &plain].concat()),
        ("mpls", eth, ether(0x8847, &[&[0, 1, 0, 64, 0, 2, 1, 64][..], &plain].concat())),
        ("pppoe", eth, ether(0x8864, &[&[0x11, 0, 0, 1, 1, 0, 0, 0x21][..], &plain].concat())),
        ("extensions", eth, ether(0x86dd, &extended)),
        ("four-in-six", eth, ether(0x86dd, &ipv6(4, &plain))),
        ("six-in-four", eth, ether(0x0800, &ipv4(41, 0, &six))),
        ("gre", eth, ether(0x0800, &gre([0xb0, 0], 0x0800, &[0; 12], &plain))),
        ("gre-ether", eth, ether(0x0800, &gre([0, 0], 0x6558, &[], &inner))),
        (
            "pptp",
            eth,
            ether(
                0x0800,
                &gre([0x30, 0x81], 0x880b, &[0, 99, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 3, 0, 0x21], &plain),
            ),
        ),
        ("erspan1", eth, ether(0x0800, &gre([0, 0], 0x88be, &[], &inner))),
        (
            "erspan2",
            eth,
            ether(0x0800, &gre([0x10, 0], 0x88be, &[0, 0, 0, 1, 0x10, 1, 0, 0, 0, 0, 0, 0], &inner)),
        ),
        (
            "erspan3",
            eth,
            ether(
                0x0800,
                &gre([0x10, 0], 0x22eb, &[0, 0, 0, 1, 0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &inner),
            ),
        ),
        (
            "vxlan",
            eth,
            ether(0x0800, &ipv4(17, 0, &udp(4789, &[&[8, 0, 0, 0, 0, 0, 9, 0][..], &inner].concat()))),
        ),
        (
            "geneve",
            eth,
            ether(
                0x0800,
                &ipv4(17, 0, &udp(6081, &[&[1, 0, 0x65, 0x58, 0, 0, 9, 0, 0, 1, 2, 0][..], &inner].concat())),
            ),
        ),
        (
            "gtp",
            eth,
            ether(
                0x0800,
                &ipv4(
                    17,
                    0,
                    &udp(
                        2152,
                        &[&[0x34, 0xff, 0, 60, 0, 0, 0, 1, 0, 0, 0, 0x85, 1, 0, 1, 0][..], &media].concat(),
                    ),
                ),
            ),
        ),
        ("tcp", eth, ether(0x0800, &ipv4(6, 0, &tcp(1, 0x18, sip)))),
        ("sctp", eth, ether(0x0800, &ipv4(132, 0, &sctp(&[(3, 0, sip)])))),
        ("sctp-parts", eth, ether(0x0800, &ipv4(132, 0, &sctp(&[(2, 1, half), (1, 1, rest), (7, 0, sip)])))),
        ("raw", LinkType::RAW, plain.clone()),
        ("raw-six", LinkType::IPV6, six),
        ("cooked", LinkType::LINUX_SLL, cooked(0x0800)),
        (
            "cooked2",
            LinkType::LINUX_SLL2,
            [&[8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &plain].concat(),
        ),
        ("null", LinkType::NULL, [&[2, 0, 0, 0][..], &plain].concat()),
        ("loop", LinkType::LOOP, [&[0, 0, 0, 2][..], &plain].concat()),
        ("ppp", LinkType::PPP, [&[0xff, 3, 0, 0x21][..], &plain].concat()),
        ("hdlc", LinkType::PPP_HDLC, [&[0x0f, 0, 8, 0][..], &plain].concat()),
        ("pppoe-link", LinkType::PPP_ETHER, [&[0x11, 0, 0, 1, 1, 0, 0, 0x21][..], &plain].concat()),
    ]
}

/// A datagram in fragments: in order, out of order, overlapping, of both versions.
fn fragments(sip: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let whole = udp(5060, sip);
    let cut = whole.len() / 2 / 8 * 8;
    let place = (cut / 8) as u16;
    let first = ether(0x0800, &ipv4(17, 0x2000, &whole[..cut]));
    let last = ether(0x0800, &ipv4(17, place, &whole[cut..]));
    let overlap = ether(0x0800, &ipv4(17, place - 1, &whole[cut - 8..]));
    let six = |place: u16, more: u8, bytes: &[u8]| {
        let [high, low] = (place << 3 | u16::from(more)).to_be_bytes();
        ether(0x86dd, &ipv6(44, &[&[17, 0, high, low, 0, 0, 0, 9][..], bytes].concat()))
    };
    let (six_first, six_last) = (six(0, 1, &whole[..cut]), six(place, 0, &whole[cut..]));
    let script = |frames: &[&Vec<u8>]| {
        let mut script = Writer::new();
        for (i, frame) in frames.iter().enumerate() {
            script.frame(LinkType::ETHERNET, i as u64 * 100_000, frame);
        }
        script.bytes
    };
    vec![
        ("fragments", script(&[&first, &last, &last])),
        ("fragments-turned", script(&[&last, &first])),
        ("fragments-overlap", script(&[&first, &overlap])),
        ("fragments-six", script(&[&six_last, &six_first])),
    ]
}

/// SIP, HEP and WebSocket over connections, cut into segments.
fn connections(messages: &[&[u8]]) -> Vec<(&'static str, Vec<u8>)> {
    let text: Vec<u8> = messages.iter().take(3).copied().flatten().copied().collect();
    let sip = messages.first().copied().unwrap_or_default();
    let (_, hep) = heps(sip).swap_remove(0);
    let upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: sip\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let accept = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let masked = {
        let mut bytes = vec![0x81, 0xfe];
        bytes.extend_from_slice(&(sip.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&[1, 2, 3, 4]);
        bytes.extend(sip.iter().enumerate().map(|(i, byte)| byte ^ (i as u8 % 4 + 1)));
        bytes
    };
    let clear = [
        &[0x01, 0x7e, 0, 40][..],
        &sip[..40],
        &[0x89, 0, 0x80, 0x7e],
        &(sip.len() as u16 - 40).to_be_bytes(),
        &sip[40..],
        &[0x88, 0],
    ]
    .concat();
    let mut plain = Writer::new();
    plain.segment(0, 1, 0, &[]);
    for piece in text.chunks(300) {
        plain.segment(0, 0, 0, piece);
    }
    plain.segment(0, 2, 0, &[]);
    let mut holes = Writer::new();
    holes.segment(0, 0, 0, &text[..200]);
    holes.segment(0, 0, 200, &text[400..700]);
    holes.segment(0, 0, 0xfe0c, &text[200..500]);
    holes.segment(0, 0, 200, &text[700..]);
    let mut socket = Writer::new();
    socket.segment(0, 1, 0, &[]);
    socket.segment(1, 1, 0, &[]);
    socket.segment(0, 0, 0, upgrade);
    socket.segment(1, 0, 0, accept);
    socket.segment(0, 0, 0, &masked);
    socket.segment(1, 0, 0, &clear);
    let mut records = Writer::new();
    records.segment(2, 0, 0, &[hep.as_slice(), &hep].concat());
    records.segment(2, 0, 0, b"\r\n\r\n");
    records.segment(3, 0, 0, &[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3]);
    records.segment(1, 4, 0, &[]);
    vec![("sip", plain.bytes), ("holes", holes.bytes), ("socket", socket.bytes), ("records", records.bytes)]
}

/// Files of every kind that is read.
fn files(calls: &[Capture]) -> Vec<(&'static str, Vec<u8>)> {
    let frames: Capture = calls.get(3).into_iter().flatten().take(4).cloned().collect();
    let words = |big: bool, words: &[u32]| -> Vec<u8> {
        words.iter().flat_map(|word| if big { word.to_be_bytes() } else { word.to_le_bytes() }).collect()
    };
    let pcap = |big: bool, magic: u32, more: usize| {
        let mut bytes = words(big, &[magic, if big { 0x0002_0004 } else { 0x0004_0002 }, 0, 0, 65_535, 1]);
        for (at, frame) in &frames {
            let len = frame.len() as u32;
            bytes.extend(words(
                big,
                &[(at / 1_000_000_000) as u32, (at % 1_000_000_000 / 1_000) as u32, len, len],
            ));
            bytes.extend(vec![0; more]);
            bytes.extend(frame);
        }
        bytes
    };
    let block = |big: bool, kind: u32, body: &[u8]| {
        let len = (body.len().next_multiple_of(4) + 12) as u32;
        let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
        [words(big, &[kind, len]), body.to_vec(), padding, words(big, &[len])].concat()
    };
    let halves = |big: bool, high: u16, low: u16| -> Vec<u8> {
        [high, low]
            .iter()
            .flat_map(|half| if big { half.to_be_bytes() } else { half.to_le_bytes() })
            .collect()
    };
    let section = |big: bool| {
        block(big, 0x0a0d_0d0a, &[words(big, &[0x1a2b_3c4d]), halves(big, 1, 0), vec![0xff; 8]].concat())
    };
    let pcapng = |big: bool, resolution: u8| {
        let options =
            [halves(big, 9, 1), vec![resolution, 0, 0, 0], halves(big, 14, 8), vec![0; 8], vec![0; 4]]
                .concat();
        let mut bytes =
            [section(big), block(big, 1, &[halves(big, 1, 0), words(big, &[65_535]), options].concat())]
                .concat();
        for (at, frame) in &frames {
            let len = frame.len() as u32;
            let ticks = words(big, &[0, 0, (at / 1_000) as u32, len, len]);
            bytes.extend(block(big, 6, &[ticks, frame.clone()].concat()));
        }
        bytes.extend(block(big, 3, &[words(big, &[20]), vec![0x45; 20]].concat()));
        bytes.extend(block(big, 2, &[halves(big, 0, 0), words(big, &[0, 9, 4, 4]), vec![1; 4]].concat()));
        bytes.extend(block(big, 0x0bad, b"custom"));
        bytes
    };
    let plain = pcap(false, 0xa1b2_c3d4, 0);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&plain).expect("memory does not break");
    vec![
        ("pcap", plain.clone()),
        ("pcap-big", pcap(true, 0xa1b2_3c4d, 0)),
        ("pcap-long", pcap(false, 0xa1b2_cd34, 8)),
        ("pcapng", pcapng(false, 6)),
        ("pcapng-big", pcapng(true, 9)),
        ("pcapng-binary", [pcapng(false, 0x94), pcapng(true, 12)].concat()),
        ("gz", packed.finish().expect("memory does not break")),
        ("zst", zstd::encode_all(plain.as_slice(), 1).expect("memory does not break")),
        ("text", b"INVITE sip:a@b SIP/2.0\r\n".to_vec()),
    ]
}

/// What no simulated call does: RTCP, media without signalling, SIP over TCP, HEP, one call on two hops.
fn conversations(messages: &[&[u8]]) -> Vec<(&'static str, Vec<u8>)> {
    let eth = |payload: &[u8]| ether(0x0800, payload);
    let mut media = Writer::new();
    for i in 0..40_u16 {
        let [high, low] = i.to_be_bytes();
        let ticks = (u32::from(i) * 160).to_be_bytes();
        let rtp = [&[0x80, 0, high, low][..], &ticks, &[0, 0, 0xca, 0xfe], &[0xd5; 16]].concat();
        media.frame(LinkType::ETHERNET, u64::from(i) * 20_000_000, &eth(&ipv4(17, 0, &udp(4_000, &rtp))));
    }
    for (i, (_, bytes)) in rtcp().iter().enumerate() {
        media.frame(
            LinkType::ETHERNET,
            900_000_000 + i as u64 * 1_000_000,
            &eth(&ipv4(17, 0, &udp(4_001, bytes))),
        );
    }
    let mut mirrored = Writer::new();
    for (i, (_, bytes)) in messages.iter().take(4).flat_map(|sip| heps(sip)).enumerate() {
        mirrored.frame(LinkType::ETHERNET, i as u64 * 10_000_000, &eth(&ipv4(17, 0, &udp(9_060, &bytes))));
    }
    let mut stream = Writer::new();
    let mut seq = 1;
    for (i, sip) in messages.iter().take(8).enumerate() {
        stream.frame(LinkType::ETHERNET, i as u64 * 10_000_000, &eth(&ipv4(6, 0, &tcp(seq, 0x18, sip))));
        seq += sip.len() as u32;
    }
    let mut odd = Writer::new();
    for (i, (_, sip)) in odd_messages().iter().enumerate() {
        odd.frame(LinkType::ETHERNET, i as u64 * 10_000_000, &eth(&ipv4(17, 0, &udp(5_060, sip.as_bytes()))));
    }
    vec![("media", media.bytes), ("mirrored", mirrored.bytes), ("stream", stream.bytes), ("odd", odd.bytes)]
}
