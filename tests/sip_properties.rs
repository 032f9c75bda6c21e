//! What holds for any bytes, and where two other parsers must agree with ours: rsip on messages, sdp-types on
//! session descriptions. Both are stricter; only what both sides accept is compared.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may fail like the test itself")]

#[path = "support/skipped.rs"]
mod skipped;

use std::fmt::Write;
use std::path::PathBuf;

use proptest::prelude::*;
use rsip::headers::UntypedHeader;
use rsip::message::HeadersExt;
use rsip::typed::Via as TypedVia;
use sidetone::sip::typed::typed;
use sidetone::sip::uri::Uri;
use sidetone::sip::{Defect, Message, Method, StartLine, body, looks_like, recording, scan, sdp};
use skipped::skipped;

const INVITE: &str = "INVITE sip:bob@biloxi.example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP pc33.atlanta.example.com:5066;branch=z9hG4bK776asdhds;received=192.0.2.1\r\n\
    Max-Forwards: 70\r\n\
    To: Bob <sip:bob@biloxi.example.com>\r\n\
    From: \"Alice\" <sip:alice@atlanta.example.com>;tag=1928301774\r\n\
    Call-ID: a84b4c76e66710@pc33.atlanta.example.com\r\n\
    CSeq: 314159 INVITE\r\n\
    Contact: <sip:alice@pc33.atlanta.example.com>;expires=60\r\n\
    Content-Type: multipart/mixed;boundary=b\r\n\
    Content-Length: 99\r\n\
    \r\n\
    --b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\nm=audio 4 RTP/AVP 0\r\n--b\r\n\r\n<nameID aor=\"x\">\r\n--b--\r\n";

/// forall slices s of the message: s lies inside the input.
fn all_inside(bytes: &[u8], message: &Message<'_>) {
    let range = bytes.as_ptr_range();
    let inside = |slice: &[u8]| {
        let part = slice.as_ptr_range();
        assert!(slice.is_empty() || range.start <= part.start && part.end <= range.end);
    };
    match message.start {
        StartLine::Request { method, uri } => {
            inside(uri);
            if let Some(uri) = Uri::parse(uri) {
                [uri.user, uri.host].into_iter().for_each(inside);
            }
            if let Method::Other(name) = method {
                inside(name);
            }
        }
        StartLine::Response { reason, .. } => inside(reason),
    }
    for address in [message.from, message.to, message.contact] {
        [address.uri, address.tag, address.display].into_iter().for_each(inside);
    }
    if let Some(via) = message.via {
        [via.transport, via.sent_by, via.branch, via.received].into_iter().for_each(inside);
    }
    [
        message.call_id,
        message.refer_to,
        message.referred_by,
        message.replaces,
        message.session_id,
        message.icid,
        message.event,
        message.traceparent,
        message.tracestate,
        message.user_agent,
        message.content_type,
        message.body,
        message.headers,
    ]
    .into_iter()
    .for_each(inside);
    message.header("via").chain(message.header("l")).for_each(inside);
    let parts = body::find(message);
    [parts.sdp, parts.vq_rtcpxr, parts.recording].into_iter().for_each(inside);
    recording::participants(parts.recording).for_each(inside);
}

/// A message put together from pieces that matter to the parser, at random.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::sample::select(vec![
            "\r\n",
            "\n",
            "\r",
            " ",
            "\t",
            ":",
            ";",
            ",",
            "<",
            ">",
            "\"",
            "\\",
            "=",
            "@",
            "/",
            "--b",
            "SIP/2.0",
            "\r\n\r\n",
            "Via:",
            "From:",
            "To:",
            "i:",
            "CSeq: 1 INVITE",
            "l: 4",
            "m:",
            "c: multipart/mixed;boundary=b",
            ";tag=1",
            ";branch=z9",
            "sip:a@b",
            "expires=1",
            "Contact: *",
            "WWW-Authenticate: Digest ",
            "stale=true",
            "v=0",
            "m=audio 4 RTP/AVP 0",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..60)
        .prop_map(|pieces| [b"OPTIONS sip:a SIP/2.0\r\n".to_vec(), pieces.concat()].concat())
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(!looks_like(&bytes) || scan(&bytes).is_some());
        if let Some(message) = scan(&bytes) {
            all_inside(&bytes, &message);
        }
        sdp::parse(&bytes, &mut sdp::Session::default());
        recording::participants(&bytes).for_each(drop);
        Uri::parse(&bytes);
    }

    #[test]
    fn any_headers_are_survived(bytes in soup()) {
        let message = scan(&bytes).unwrap();
        all_inside(&bytes, &message);
    }

    #[test]
    fn an_invite_with_any_bytes_changed_is_survived(
        changes in proptest::collection::vec((0..INVITE.len(), any::<u8>()), 1..8),
        end in 0..=INVITE.len(),
    ) {
        let mut bytes = INVITE.as_bytes().to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(end);
        if let Some(message) = scan(&bytes) {
            all_inside(&bytes, &message);
        }
    }

    /// forall m that rsip reads: its Call-ID, CSeq, tags, branch and body are ours.
    #[test]
    fn rsip_agrees_where_it_can_read(
        method in "(INVITE|BYE|REGISTER|OPTIONS|CANCEL)",
        number in any::<u32>(),
        call_id in "[a-zA-Z0-9.!%*_+'~-]{1,30}(@[a-z0-9.]{1,10})?",
        tags in ("[a-zA-Z0-9.]{1,12}", "[a-zA-Z0-9.]{1,12}"),
        branch in "z9hG4bK[a-zA-Z0-9.-]{1,20}",
        display in "(\"[a-z ,;]{0,10}\" |[a-z]{0,8} ?)",
        parameters in "(;[a-su-z]{2,5}(=[a-z0-9]{1,5})?){0,3}",
        order in Just([0_usize, 1, 2, 3, 4]).prop_shuffle(),
        body in "[ -~\r\n]{0,40}",
    ) {
        let headers = [
            format!("Via: SIP/2.0/UDP 192.0.2.1:5060;branch={branch}{parameters}"),
            format!("From: {display}<sip:a@example.com{parameters}>;tag={}", tags.0),
            format!("To: <sip:b@example.com>{parameters};tag={}", tags.1),
            format!("Call-ID: {call_id}"),
            format!("CSeq: {number} {method}"),
        ];
        let block: String = order.iter().map(|&at| headers[at].clone() + "\r\n").collect();
        let text = format!("{method} sip:b@example.com SIP/2.0\r\n{block}Content-Length: {}\r\n\r\n{body}", body.len());
        let ours = scan(text.as_bytes()).unwrap();
        prop_assert!(ours.defects.is_empty(), "{:?} in {text}", ours.defects);
        prop_assert_eq!(ours.call_id, call_id.as_bytes());
        prop_assert_eq!(ours.from.tag, tags.0.as_bytes());
        prop_assert_eq!(ours.to.tag, tags.1.as_bytes());
        prop_assert!(compare(text.as_bytes()), "{}", text);
    }

    /// forall sessions that we write: sdp-types and we read the same media out of them.
    #[test]
    fn sdp_types_agrees(
        session_address in "(c=IN IP4 192\\.0\\.2\\.[1-9]\r\n)?",
        media in proptest::collection::vec(
            (
                "(audio|video|image|text)",
                any::<u16>(),
                proptest::collection::btree_set(0_u8..128, 1..8),
                "(c=IN IP6 2001:db8::[1-9]\r\n)?",
                "(a=(sendonly|recvonly|inactive|sendrecv)\r\n)?(a=ptime:[1-9]0\r\n)?",
            ),
            0..5,
        ),
    ) {
        let mut text = format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n{session_address}t=0 0\r\n");
        for (kind, port, formats, address, attributes) in &media {
            let formats: Vec<_> = formats.iter().map(ToString::to_string).collect();
            write!(text, "m={kind} {port} RTP/AVP {}\r\n{address}{attributes}", formats.join(" ")).unwrap();
        }
        prop_assert!(compare_sdp(text.as_bytes()));
    }
}

/// Whether rsip and we agree on a message; false when rsip could not read all of the ids.
fn compare(bytes: &[u8]) -> bool {
    let (Some(ours), Ok(theirs)) = (scan(bytes), typed(bytes)) else { return false };
    let (Ok(call_id), Ok(cseq), Ok(from), Ok(to), Ok(via)) = (
        theirs.call_id_header(),
        theirs.cseq_header(),
        theirs.from_header(),
        theirs.to_header(),
        theirs.via_header(),
    ) else {
        return false;
    };
    let name = String::from_utf8_lossy(ours.call_id).into_owned();
    assert_eq!(call_id.value().as_bytes(), ours.call_id, "{name}");
    let (Ok(number), Ok(from), Ok(to), Ok(via)) =
        (cseq.seq(), from.tag(), to.tag(), TypedVia::try_from(via.clone()))
    else {
        return false;
    };
    assert_eq!(Some(number), ours.cseq.map(|cseq| cseq.number), "{name}");
    assert_eq!(from.map(|tag| tag.to_string()).unwrap_or_default().as_bytes(), ours.from.tag, "{name}");
    assert_eq!(to.map(|tag| tag.to_string()).unwrap_or_default().as_bytes(), ours.to.tag, "{name}");
    let branch = via.branch().map(ToString::to_string).unwrap_or_default();
    assert_eq!(branch.as_bytes(), ours.via.unwrap().branch, "{name}");
    if ours.defects.is_empty() {
        assert_eq!(theirs.body(), ours.body, "{name}");
    }
    true
}

/// Whether sdp-types and we read the same media; false when it reads nothing.
fn compare_sdp(bytes: &[u8]) -> bool {
    let Ok(theirs) = sdp_types::Session::parse(bytes) else { return false };
    let mut ours = sdp::Session::default();
    sdp::parse(bytes, &mut ours);
    assert_eq!(ours.media.len(), theirs.medias.len().min(sdp::MEDIA_MAX));
    for (ours, media) in ours.media.iter().zip(&theirs.medias) {
        assert_eq!(ours.port, media.port);
        let numbers: Vec<u8> =
            media.fmt.split(' ').filter_map(|word| word.parse().ok()).filter(|&pt| pt < 128).collect();
        assert_eq!(ours.formats.iter().map(|format| format.payload_type).collect::<Vec<_>>(), numbers);
        let connection = media.connections.last().or(theirs.connection.as_ref());
        let address =
            connection.and_then(|c| c.connection_address.split('/').next()?.parse::<std::net::IpAddr>().ok());
        assert_eq!(ours.address, address.map(|ip| ip.to_canonical()));
        let value =
            |name: &str| media.attributes.iter().rev().find(|a| a.attribute == name).map(|a| a.value.clone());
        let ptime = value("ptime").flatten().and_then(|text| text.trim().parse().ok());
        assert_eq!(ours.ptime_ms, ptime);
        assert_eq!(ours.rtcp_mux, value("rtcp-mux").is_some());
        let rates: Vec<u32> = (media.attributes.iter().filter(|a| a.attribute == "rtpmap"))
            .filter_map(|a| a.value.as_deref()?.split('/').nth(1)?.trim().parse().ok())
            .collect();
        assert!(ours.formats.iter().all(|format| {
            format.clock_rate == 0
                || sidetone::rtp::payload::Format::of_static(format.payload_type).is_some()
                || rates.contains(&format.clock_rate)
                || format.clock_rate == 48_000
        }));
    }
    true
}

#[test]
fn rsip_agrees_on_the_torture_messages_it_can_read() {
    let Some(directory) = captures("public/vectors/rfc4475") else { return };
    let compared = files(&directory, "dat").iter().filter(|bytes| compare(bytes)).count();
    assert!(compared >= 25, "{compared}");
}

#[test]
fn sdp_types_agrees_on_the_descriptions_of_browsers() {
    let Some(directory) = captures("public/vectors/webrtc-fuzz/sdp") else { return };
    let compared = files(&directory, "sdp").iter().filter(|bytes| compare_sdp(bytes)).count();
    assert!(compared >= 30, "{compared}");
}

/// The one-mutation table: what rsip refuses or loses must not be lost here.
#[test]
fn what_strict_parsers_lose_is_kept() {
    let table: &[(&str, &str, &[Defect])] = &[
        ("Call-ID:", "i:", &[]),
        ("To:", "t:", &[]),
        ("From:", "f:", &[]),
        ("Via:", "v:", &[]),
        ("Content-Length:", "l:", &[]),
        (";branch", "\r\n\t;branch", &[]),
        ("Call-ID:", "Call-ID  :", &[]),
        ("\r\n", "\n", &[Defect::LineEnd]),
        ("INVITE sip", "\r\nINVITE sip", &[]),
        ("sip:bob@biloxi.example.com SIP", "tel:+15550123 SIP", &[]),
        ("sip:bob@biloxi.example.com SIP", "urn:service:sos SIP", &[]),
        ("INVITE", "FROB", &[]),
        ("pc33.atlanta.example.com:5066", "[2001:db8::9]:5066", &[]),
        ("SIP/2.0/UDP", "SIP/2.0/WSS", &[]),
        ("INVITE sip:bob@biloxi.example.com SIP/2.0", "SIP/2.0 499", &[]),
        ("Contact: <sip:alice@", "Contact: <sip:al;ice@", &[]),
        ("Max-Forwards: 70", "Via: SIP/2.0/TCP a;branch=1, SIP/2.0/TCP b;branch=2", &[]),
    ];
    for (from, to, defects) in table {
        // The body says 99 and is what it is: only the header block is looked at here.
        let text = INVITE.replace("Content-Length: 99", "Content-Length: 0").replace(from, to);
        let message = scan(text.as_bytes()).unwrap();
        let got: Vec<_> = message.defects.iter().filter(|&defect| defect != Defect::Surplus).collect();
        assert_eq!(got, *defects, "{to}");
        assert_eq!(message.call_id, b"a84b4c76e66710@pc33.atlanta.example.com", "{to}");
        assert_eq!(message.cseq.unwrap().number, 314_159, "{to}");
        assert_eq!(message.from.tag, b"1928301774", "{to}");
        assert_eq!(message.via.unwrap().branch, b"z9hG4bK776asdhds", "{to}");
        assert_eq!(message.via_count, if to.starts_with("Via: ") { 3 } else { 1 }, "{to}");
    }
}

/// The contents of all files there with this extension.
fn files(directory: &std::path::Path, extension: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn captures(under: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SIDETONE_CAPTURES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"), PathBuf::from);
    let directory = root.join(under);
    if directory.is_dir() {
        return Some(directory);
    }
    skipped(format_args!("nothing at {}", directory.display()));
    None
}
