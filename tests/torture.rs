//! The torture messages of RFC 4475 and the IPv6 ones of RFC 5118. The expected values are read off the RFCs.
//!
//! The files of RFC 4475 are not part of this repository: they are looked for in `SIDETONE_CAPTURES`, or beside it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may fail like the test itself")]

#[path = "support/skipped.rs"]
mod skipped;

use std::path::PathBuf;

use sidetone::sip::{Defect, Message, Method, StartLine, body, looks_like, scan, sdp};
use skipped::skipped;

/// What a valid torture message says of itself.
struct Expected {
    file: &'static str,
    /// Method or status.
    start: &'static str,
    call_id: &'static str,
    cseq: (u32, &'static str),
    from_tag: &'static str,
    to_tag: &'static str,
    branch: &'static str,
    vias: u16,
    content_length: u32,
}

const INTERESTING: &str = "!interesting-Method0123456789_*+`.%indeed'~";

/// RFC 4475 3.1.1: every message that is valid.
fn valid() -> Vec<Expected> {
    let long_tag: &'static str = Box::leak(format!("1{}2424", "298".repeat(50)).into_boxed_str());
    let long_call_id: &'static str =
        Box::leak(format!("longreq.one{}longcallid", "really".repeat(20)).into_boxed_str());
    let row = |file, start, call_id, cseq, (from_tag, to_tag), branch, vias, content_length| Expected {
        file,
        start,
        call_id,
        cseq,
        from_tag,
        to_tag,
        branch,
        vias,
        content_length,
    };
    vec![
        row(
            "wsinv",
            "INVITE",
            "wsinv.ndaksdj@192.0.2.1",
            (9, "INVITE"),
            ("98asjd8", "1918181833n"),
            "390skdjuw",
            3,
            150,
        ),
        row(
            "intmeth",
            INTERESTING,
            "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{",
            (139_122_385, INTERESTING),
            ("_token~1'+`*%!-.", ""),
            "z9hG4bK-.!%66*_+`'~",
            1,
            0,
        ),
        row(
            "esc01",
            "INVITE",
            "esc01.239409asdfakjkn23onasd0-3234",
            (234_234, "INVITE"),
            ("938", ""),
            "z9hG4bKkdjuw",
            1,
            150,
        ),
        row(
            "escnull",
            "REGISTER",
            "escnull.39203ndfvkjdasfkq3w4otrq0adsfdfnavd",
            (14_398_234, "REGISTER"),
            ("839923423", ""),
            "z9hG4bKkdjuw",
            1,
            0,
        ),
        row(
            "esc02",
            "RE%47IST%45R",
            "esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf",
            (29_344, "RE%47IST%45R"),
            ("f232jadfj23", ""),
            "z9hG4bK209%fzsnel234",
            1,
            0,
        ),
        row(
            "lwsdisp",
            "OPTIONS",
            "lwsdisp.1234abcd@funky.example.com",
            (60, "OPTIONS"),
            ("323", ""),
            "z9hG4bKkdjuw",
            1,
            0,
        ),
        row("longreq", "INVITE", long_call_id, (3_882_340, "INVITE"), (long_tag, ""), "", 34, 150),
        row(
            "dblreq",
            "REGISTER",
            "dblreq.0ha0isndaksdj99sdfafnl3lk233412",
            (8, "REGISTER"),
            ("43251j3j324", ""),
            "z9hG4bKkdjuw23492",
            1,
            0,
        ),
        row(
            "semiuri",
            "OPTIONS",
            "semiuri.0ha0isndaksdj",
            (8, "OPTIONS"),
            ("33242", ""),
            "z9hG4bKkdjuw",
            1,
            0,
        ),
        row(
            "transports",
            "OPTIONS",
            "transports.kijh4akdnaqjkwendsasfdj",
            (60, "OPTIONS"),
            ("323", ""),
            "z9hG4bKkdjuw",
            5,
            0,
        ),
        row(
            "mpart01",
            "MESSAGE",
            "3d9485ad0c49859b@Zmx1ZmZ5LW1hYy0xNi5sb2NhbA..",
            (1, "MESSAGE"),
            ("2fb0dcc9", ""),
            "z9hG4bK-d87543-4dade06d0bdb11ee-1--d87543-",
            1,
            553,
        ),
        row(
            "unreason",
            "200",
            "unreason.1234ksdfak3j2erwedfsASdf",
            (35, "INVITE"),
            ("11141343", "2229"),
            "z9hG4bK1324923",
            1,
            154,
        ),
        row(
            "noreason",
            "100",
            "noreason.asndj203insdf99223ndf",
            (35, "INVITE"),
            ("39ansfi3", "902jndnke3"),
            "z9hG4bK2398ndaoe",
            1,
            0,
        ),
    ]
}

#[test]
fn valid_messages_are_understood_whole() {
    let Some(directory) = directory() else { return };
    for expected in valid() {
        let bytes = std::fs::read(directory.join(expected.file).with_extension("dat")).unwrap();
        assert!(looks_like(&bytes), "{}", expected.file);
        let message = scan(&bytes).unwrap();
        let name = expected.file;
        assert_eq!(start(&message), expected.start, "{name}");
        assert_eq!(text(message.call_id), expected.call_id, "{name}");
        let cseq = message.cseq.unwrap();
        assert_eq!(
            (cseq.number, cseq.method),
            (expected.cseq.0, Method::of(expected.cseq.1.as_bytes())),
            "{name}"
        );
        assert_eq!(text(message.from.tag), expected.from_tag, "{name}");
        assert_eq!(text(message.to.tag), expected.to_tag, "{name}");
        assert_eq!(message.via_count, expected.vias, "{name}");
        assert_eq!(text(message.via.unwrap().branch), expected.branch, "{name}");
        assert_eq!(message.content_length, Some(expected.content_length), "{name}");
        assert_eq!(message.body.len(), expected.content_length as usize, "{name}");
        // The second request in the datagram is the only thing about them that is not as it should be.
        let surplus: Vec<_> = (name == "dblreq").then_some(Defect::Surplus).into_iter().collect();
        assert_eq!(message.defects.iter().collect::<Vec<_>>(), surplus, "{name}");
    }
}

#[test]
fn details_that_the_rfc_points_out() {
    let Some(directory) = directory() else { return };
    let read = |name: &str| std::fs::read(directory.join(name).with_extension("dat")).unwrap();

    let bytes = read("wsinv");
    let message = scan(&bytes).unwrap();
    assert_eq!(text(message.from.display), r#"J Rosenberg \\\""#);
    assert_eq!(text(message.to.uri), "sip:vivekg@chair-dnrc.example.com");
    assert_eq!(text(message.contact.uri), "sip:jdrosen@example.com");
    let via = message.via.unwrap();
    assert_eq!((text(via.transport), text(via.sent_by)), ("UDP".into(), "192.0.2.2".into()));
    assert_eq!(message.header("subject").collect::<Vec<_>>(), [b""]);
    let mut session = sdp::Session::default();
    sdp::parse(body::find(&message).sdp, &mut session);
    assert_eq!(session.media.iter().map(|m| m.port).collect::<Vec<_>>(), [49217, 3227]);
    assert_eq!(session.media[0].address, Some("192.0.2.4".parse().unwrap()));

    let bytes = read("longreq");
    assert_eq!(text(scan(&bytes).unwrap().via.unwrap().sent_by), "sip33.example.com");

    // 3.1.1.6: the escaped name is an extension header, not a Contact.
    let bytes = read("esc02");
    let message = scan(&bytes).unwrap();
    assert_eq!(message.header("m").count(), 2);
    assert!(matches!(message.start, StartLine::Request { method: Method::Other(_), .. }));

    let bytes = read("semiuri");
    let StartLine::Request { uri, .. } = scan(&bytes).unwrap().start else { panic!() };
    let uri = sidetone::sip::uri::Uri::parse(uri).unwrap();
    assert_eq!((text(uri.user), text(uri.host)), ("user;par=u%40example.net".into(), "example.com".into()));

    // 3.3.9: several values where one may stand; the first counts.
    let bytes = read("multi01");
    let message = scan(&bytes).unwrap();
    assert_eq!((text(message.call_id), message.cseq.unwrap().number), ("multi01.98asdh@192.0.2.1".into(), 5));
}

/// RFC 4475 3.1.2 and 3.2 to 3.4: kept, with the defect named that the RFC describes.
#[test]
fn invalid_messages_are_kept_and_their_defect_named() {
    let Some(directory) = directory() else { return };
    let table: &[(&str, &[Defect])] = &[
        ("badinv01", &[Defect::Via]),
        ("clerr", &[Defect::ShortBody]),
        ("ncl", &[Defect::ContentLength]),
        ("scalar02", &[Defect::Cseq, Defect::Number]),
        ("scalarlg", &[Defect::Cseq]),
        ("quotbal", &[Defect::Address]),
        ("ltgtruri", &[Defect::RequestUri]),
        ("lwsruri", &[Defect::RequestUri]),
        ("lwsstart", &[Defect::StartLine]),
        ("trws", &[Defect::StartLine]),
        ("escruri", &[]),
        ("baddate", &[]),
        ("regbadct", &[]),
        ("badaspec", &[]),
        // The file ends without the empty line.
        ("baddn", &[Defect::Truncated]),
        ("badvers", &[Defect::Version]),
        ("mismatch01", &[Defect::CseqMethod]),
        ("mismatch02", &[Defect::CseqMethod]),
        ("bigcode", &[Defect::Status]),
        ("badbranch", &[]),
        ("insuf", &[Defect::MissingCallId, Defect::MissingFrom, Defect::MissingTo]),
        ("multi01", &[Defect::Duplicate]),
        ("mcl01", &[Defect::Duplicate, Defect::Surplus]),
        ("unkscm", &[]),
        ("novelsc", &[]),
        ("unksm2", &[]),
        ("bext01", &[]),
        ("invut", &[]),
        ("regaut01", &[]),
        ("bcast", &[]),
        ("zeromf", &[]),
        ("cparam01", &[]),
        ("cparam02", &[]),
        ("regescrt", &[]),
        ("sdp01", &[]),
        ("inv2543", &[]),
    ];
    for (name, defects) in table {
        let bytes = std::fs::read(directory.join(name).with_extension("dat")).unwrap();
        let message = scan(&bytes).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(message.defects.iter().collect::<Vec<_>>(), *defects, "{name}");
        if *name != "insuf" {
            assert!(text(message.call_id).starts_with(&format!("{name}.")), "{name}");
        }
    }
}

#[test]
fn no_torture_message_breaks_anything_cut_anywhere() {
    let Some(directory) = directory() else { return };
    let mut files = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "dat") {
            files += 1;
            let bytes = std::fs::read(path).unwrap();
            let mut session = sdp::Session::default();
            for end in 0..=bytes.len() {
                if let Some(message) = scan(&bytes[..end]) {
                    sdp::parse(body::find(&message).sdp, &mut session);
                }
            }
        }
    }
    assert!(files >= 49, "{files}");
}

/// A message of RFC 5118 4 with the facts of the RFC, in words of our own where they do not matter.
fn ipv6(start: &str, via: &str, rest: &str) -> String {
    format!(
        "{start} SIP/2.0\r\nVia: {via}\r\nTo: sip:user@example.com\r\nFrom: sip:user@example.com;tag=81x2\r\n\
         Call-ID: SSG9559905523997077@hlau_4100\r\nCSeq: 98176 {}\r\n{rest}",
        start.split(' ').next().unwrap()
    )
}

/// Section, message, sent-by, number of Vias, received, media addresses.
type Row = (&'static str, String, &'static str, u16, &'static str, &'static [&'static str]);

/// RFC 5118 4.1 to 4.10, by the Via sent-by, the `received` and the media addresses.
#[test]
fn ipv6_messages_are_understood() {
    let plain = "SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111";
    let none = "Content-Length: 0\r\n\r\n";
    let sdp =
        |body: &str| format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let three = "SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111\r\n\
        Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144\r\n\
        Via: SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200";
    let messages: Vec<Row> = vec![
        ("4.1", ipv6("REGISTER sip:[2001:db8::10]", plain, none), "[2001:db8::9:1]", 1, "", &[]),
        ("4.2", ipv6("REGISTER sip:2001:db8::10", plain, none), "[2001:db8::9:1]", 1, "", &[]),
        ("4.3", ipv6("REGISTER sip:[2001:db8::10:5070]", plain, none), "[2001:db8::9:1]", 1, "", &[]),
        ("4.4", ipv6("REGISTER sip:[2001:db8::10]:5070", plain, none), "[2001:db8::9:1]", 1, "", &[]),
        (
            "4.5 with",
            ipv6(
                "BYE sip:[2001:db8::10]",
                "SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111",
                none,
            ),
            "[2001:db8::9:1]",
            1,
            "[2001:db8::9:255]",
            &[],
        ),
        (
            "4.5 without",
            ipv6(
                "OPTIONS sip:[2001:db8::10]",
                "SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3-111",
                none,
            ),
            "[2001:db8::9:1]",
            1,
            "2001:db8::9:255",
            &[],
        ),
        (
            "4.6",
            ipv6(
                "INVITE sip:user@[2001:db8::10]",
                plain,
                &sdp(
                    "v=0\r\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\r\ns=-\r\nc=IN IP6 2001:db8::20\r\n\
                      t=3338481189 3370017201\r\nm=audio 6000 RTP/AVP 2\r\na=rtpmap:2 G726-32/8000\r\n",
                ),
            ),
            "[2001:db8::9:1]",
            1,
            "",
            &["2001:db8::20"],
        ),
        ("4.7", ipv6("BYE sip:user@host.example.net", three, none), "[2001:db8::9:1]:6050", 3, "", &[]),
        (
            "4.8",
            ipv6(
                "INVITE sip:user@[2001:db8::10]",
                plain,
                &sdp("v=0\r\no=bob 280744730 28977631 IN IP4 host.example.com\r\ns=\r\nt=0 0\r\n\
                      m=audio 22334 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\n\
                      m=video 6024 RTP/AVP 107\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:107 H263-1998/90000\r\n"),
            ),
            "[2001:db8::9:1]",
            1,
            "",
            &["192.0.2.1", "2001:db8::1"],
        ),
        (
            "4.9",
            ipv6(
                "INVITE sip:user@example.com",
                "SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19",
                &sdp(
                    "v=0\r\no=- 1 1 IN IP6 ::ffff:192.0.2.2\r\ns=-\r\nc=IN IP6 ::ffff:192.0.2.2\r\nt=0 0\r\n\
                      m=audio 16386 RTP/AVP 0\r\n",
                ),
            ),
            "[::ffff:192.0.2.10]:19823",
            1,
            "",
            &["192.0.2.2"],
        ),
        ("4.10", ipv6("OPTIONS sip:user@[2001:db8:::192.0.2.1]", plain, none), "[2001:db8::9:1]", 1, "", &[]),
    ];
    for (name, bytes, sent_by, vias, received, addresses) in messages {
        let message = scan(bytes.as_bytes()).unwrap();
        assert!(message.defects.is_empty(), "{name}: {:?}", message.defects);
        let via = message.via.unwrap();
        assert_eq!((text(via.sent_by), text(via.received)), (sent_by.into(), received.into()), "{name}");
        assert_eq!((message.via_count, text(message.from.tag)), (vias, "81x2".into()), "{name}");
        assert_eq!(message.cseq.unwrap().number, 98_176, "{name}");
        let mut session = sdp::Session::default();
        sdp::parse(body::find(&message).sdp, &mut session);
        let found: Vec<_> = session.media.iter().map(|media| media.address.unwrap().to_string()).collect();
        assert_eq!(found, addresses, "{name}");
    }
}

#[test]
fn ipv6_uris_keep_host_and_port_apart() {
    let pieces = |uri: &'static str| {
        let uri = sidetone::sip::uri::Uri::parse(uri.as_bytes()).unwrap();
        (text(uri.host), uri.port)
    };
    assert_eq!(pieces("sip:[2001:db8::10]"), ("[2001:db8::10]".into(), None));
    assert_eq!(pieces("sip:[2001:db8::10:5070]"), ("[2001:db8::10:5070]".into(), None));
    assert_eq!(pieces("sip:[2001:db8::10]:5070"), ("[2001:db8::10]".into(), Some(5070)));
    assert_eq!(pieces("sip:user@[2001:db8:::192.0.2.1]"), ("[2001:db8:::192.0.2.1]".into(), None));
}

fn start(message: &Message<'_>) -> String {
    match message.start {
        StartLine::Response { status, .. } => status.to_string(),
        StartLine::Request { method: Method::Other(name), .. } => text(name),
        StartLine::Request { method, .. } => method.name().into(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where the files of RFC 4475 are, if anywhere.
fn directory() -> Option<PathBuf> {
    let captures = std::env::var_os("SIDETONE_CAPTURES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"), PathBuf::from);
    let directory = captures.join("public/vectors/rfc4475");
    if directory.is_dir() {
        return Some(directory);
    }
    skipped(format_args!("no RFC 4475 messages at {}", directory.display()));
    None
}
