//! What a message body holds: SDP, reports, fragments, digits, recording metadata; also inside multiparts.
//!
//! ```text
//! Content-Type: multipart/mixed;boundary=b        --b CRLF headers CRLF CRLF part CRLF --b ... --b--
//! ```
//!
//! Nesting and the number of parts are bounded. Of each kind the first part counts.

use memchr::{memchr, memmem, memrchr};

use super::header::{Params, decimal, long_form, split_where, trim, trim_start};
use super::scan::{End, Lines, split_header};
use super::{Defect, Message};

/// The parts of a body that matter here; an absent one is empty or `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Body<'a> {
    /// `application/sdp`, or a part without Content-Type that begins with `v=0`.
    pub sdp: &'a [u8],
    /// `application/vq-rtcpxr` (RFC 6035).
    pub vq_rtcpxr: &'a [u8],
    /// `application/rs-metadata+xml` (RFC 7866); see [`participants`](super::recording::participants).
    pub recording: &'a [u8],
    /// Status code of a `message/sipfrag` (RFC 3420) that is a response.
    pub fragment_status: Option<u16>,
    /// The key of an `application/dtmf-relay` or `application/dtmf` in an INFO: `0`-`9`, `*`, `#`, `A`-`D`.
    pub dtmf: Option<char>,
}

/// Takes the body of a message apart. Of a body that was cut, the last line is left out.
pub fn find<'a>(message: &Message<'a>) -> Body<'a> {
    let mut found = Body::default();
    if message.body.is_empty() {
        return found;
    }
    let body = if message.defects.contains(Defect::ShortBody) {
        &message.body[..memrchr(b'\n', message.body).map_or(0, |at| at + 1)]
    } else {
        message.body
    };
    let mut budget = PARTS_MAX;
    part(&mut found, message.content_type, body, 0, &mut budget);
    found
}

fn part<'a>(found: &mut Body<'a>, content_type: &'a [u8], body: &'a [u8], depth: usize, budget: &mut usize) {
    let (kind, params) = split_where(content_type, |b| b == b';');
    let kind = trim(kind);
    let is = |name: &str| kind.eq_ignore_ascii_case(name.as_bytes());
    let starts = |name: &str| kind.get(..name.len()).is_some_and(|k| k.eq_ignore_ascii_case(name.as_bytes()));
    if is("application/sdp") || kind.is_empty() && trim_start(body).starts_with(b"v=0") {
        first(&mut found.sdp, body);
    } else if starts("multipart/") {
        if depth < DEPTH_MAX {
            multipart(found, params, body, depth + 1, budget);
        }
    } else if is("application/vq-rtcpxr") {
        first(&mut found.vq_rtcpxr, body);
    } else if starts("application/rs-metadata") {
        first(&mut found.recording, body);
    } else if starts("message/sipfrag") {
        found.fragment_status = found.fragment_status.or_else(|| fragment_status(body));
    } else if is("application/dtmf-relay") {
        found.dtmf = found.dtmf.or_else(|| signal(body));
    } else if is("application/dtmf") {
        found.dtmf = found.dtmf.or_else(|| key(trim(body)));
    }
}

fn first<'a>(slot: &mut &'a [u8], body: &'a [u8]) {
    if slot.is_empty() {
        *slot = body;
    }
}

/// RFC 2046 5.1.1: parts stand between lines that begin with `--boundary`. What precedes the first and follows the
/// last is no part. A part without closing line ends with the body.
fn multipart<'a>(found: &mut Body<'a>, params: &'a [u8], body: &'a [u8], depth: usize, budget: &mut usize) {
    let Some(boundary) = boundary(params, body) else { return };
    let mut rest = delimiter(body, boundary).map(|(_, rest)| rest);
    while let Some(start) = rest
        && *budget > 0
    {
        *budget -= 1;
        let next = delimiter(start, boundary);
        let content = next.map_or(start, |(content, _)| content);
        rest = next.map(|(_, rest)| rest);
        let mut lines = Lines { rest: content, eol: b'\n' };
        let mut content_type = &b""[..];
        let end = loop {
            match lines.next() {
                Ok(line) => {
                    if let Some((name, value)) = split_header(line)
                        && long_form(name).eq_ignore_ascii_case(b"Content-Type")
                    {
                        content_type = value;
                    }
                }
                Err(end) => break end,
            }
        };
        if end == End::Blank {
            part(found, content_type, lines.rest, depth, budget);
        }
    }
}

/// The boundary parameter, or else what the first line shows.
fn boundary<'a>(params: &'a [u8], body: &'a [u8]) -> Option<&'a [u8]> {
    let named = Params::new(params, b';').find(b"boundary").unwrap_or_default();
    if !named.is_empty() {
        return Some(named);
    }
    let line = trim_start(body);
    let line = trim(&line[..memchr(b'\n', line)?]);
    line.strip_prefix(b"--").filter(|boundary| !boundary.is_empty())
}

/// What stands before the next delimiter line, its line end taken off, and what follows that line.
fn delimiter<'a>(body: &'a [u8], boundary: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut from = 0;
    loop {
        let at = from + memmem::find(&body[from..], boundary)?;
        from = at + 1;
        let before = &body[..at];
        let Some(before) = before.strip_suffix(b"--") else { continue };
        if matches!(before.last(), None | Some(b'\n')) {
            let after = &body[at + boundary.len()..];
            let (tail, rest) = split_where(after, |b| b == b'\n');
            if matches!(trim(tail), b"" | b"--") {
                let before = before.strip_suffix(b"\n").unwrap_or(before);
                return Some((
                    before.strip_suffix(b"\r").unwrap_or(before),
                    rest.get(1..).unwrap_or_default(),
                ));
            }
        }
    }
}

/// `SIP/2.0 200 OK` at the start of a fragment.
fn fragment_status(body: &[u8]) -> Option<u16> {
    let (version, rest) = trim_start(body).split_at_checked(b"SIP/2.0".len())?;
    let (digits, _) = split_where(trim_start(rest), |b| !b.is_ascii_digit());
    let status = u16::try_from(decimal(digits)?).ok()?;
    (version.eq_ignore_ascii_case(b"SIP/2.0") && (100..700).contains(&status)).then_some(status)
}

/// `Signal=5` among the lines of an application/dtmf-relay.
fn signal(body: &[u8]) -> Option<char> {
    body.split(|&b| b == b'\n' || b == b'\r').find_map(|line| {
        let (name, value) = split_where(line, |b| b == b'=');
        trim(name).eq_ignore_ascii_case(b"Signal").then(|| key(trim(value.get(1..)?))).flatten()
    })
}

/// A key by its sign, or by its event number (RFC 4733 3.2), as some senders write it.
fn key(text: &[u8]) -> Option<char> {
    match text {
        [sign] => Some(char::from(sign.to_ascii_uppercase())).filter(|sign| KEYS.contains(*sign)),
        [_, _] => KEYS.chars().nth(decimal(text)? as usize),
        _ => None,
    }
}

/// Keys in the order of their event numbers.
const KEYS: &str = "0123456789*#ABCD";

/// Multiparts inside multiparts that are opened.
const DEPTH_MAX: usize = 3;

/// Parts looked at, nested ones included.
const PARTS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::scan;

    fn with(content_type: &str, body: &str, check: impl FnOnce(Body<'_>)) {
        let length = body.len();
        let text = format!("INFO sip:a SIP/2.0\r\n{content_type}Content-Length: {length}\r\n\r\n{body}");
        check(find(&scan(text.as_bytes()).unwrap()));
    }

    #[test]
    fn sdp_alone_typed_or_not() {
        for kind in ["Content-Type: application/sdp\r\n", "c: Application/SDP ; x=1\r\n", ""] {
            with(kind, "v=0\r\n", |body| assert_eq!(body.sdp, b"v=0\r\n"));
        }
        with("c: text/plain\r\n", "v=0\r\n", |body| assert_eq!(body, Body::default()));
        with("c: application/sdp\r\n", "", |body| assert_eq!(body, Body::default()));
    }

    #[test]
    fn multiparts_nested_quoted_and_unclosed() {
        let mixed = "preamble --b\r\n--b\r\nContent-Type: multipart/alternative; boundary=\"in ner\"\r\n\r\n\
            --in ner\r\n\r\nv=0 is here\r\n--in ner\r\nc: application/sdp\r\n\r\nv=0 second\r\n--in ner--\r\n--b \r\n\
            Content-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n<r --b/>\r\n--b--\r\n";
        with("Content-Type: multipart/mixed;boundary=b\r\n", mixed, |body| {
            assert_eq!(body.sdp, b"v=0 is here");
            assert_eq!(body.recording, b"<r --b/>");
        });
        let open = "--x\nContent-Type: application/sdp\n\nv=0\nm=audio 4 RTP/AVP 0\n";
        for kind in ["multipart/mixed;boundary=x", "multipart/related", "Multipart/Mixed ; Boundary = \"x\""]
        {
            with(&format!("c: {kind}\r\n"), open, |body| assert_eq!(body.sdp, b"v=0\nm=audio 4 RTP/AVP 0\n"));
        }
    }

    #[test]
    fn nesting_and_parts_are_bounded() {
        let mut text = "v=0".to_owned();
        for level in 0..=DEPTH_MAX {
            let kind = if level == 0 {
                "application/sdp".into()
            } else {
                format!("multipart/mixed;boundary=b{level}_")
            };
            text = format!("--b{}_\r\nContent-Type: {kind}\r\n\r\n{text}", level + 1);
        }
        let outer = format!("c: multipart/mixed;boundary=b{}_\r\n", DEPTH_MAX + 1);
        with(&outer, &text, |body| assert_eq!(body.sdp, b""));
        let inner = format!("c: multipart/mixed;boundary=b{DEPTH_MAX}_\r\n");
        with(&inner, &text, |body| assert_eq!(body.sdp, b"v=0"));
        let late = |parts| format!("{}--b\r\n\r\nv=0", "--b\r\nX: 1\r\n\r\n\r\n".repeat(parts));
        with("c: multipart/mixed;boundary=b\r\n", &late(PARTS_MAX), |body| assert_eq!(body.sdp, b""));
        with("c: multipart/mixed;boundary=b\r\n", &late(PARTS_MAX - 1), |body| assert_eq!(body.sdp, b"v=0"));
    }

    #[test]
    fn a_cut_body_loses_its_last_line() {
        let text = b"INVITE sip:a SIP/2.0\r\nc: application/sdp\r\nl: 99\r\n\r\nv=0\r\nm=audio 4917";
        assert_eq!(find(&scan(text).unwrap()).sdp, b"v=0\r\n");
    }

    #[test]
    fn reports_fragments_and_digits() {
        with("c: application/vq-rtcpxr\r\n", "VQSessionReport\r\n", |body| {
            assert_eq!(body.vq_rtcpxr, b"VQSessionReport\r\n");
        });
        let frag = |text: &str, want| {
            with("c: message/sipfrag;version=2.0\r\n", text, |body| assert_eq!(body.fragment_status, want));
        };
        frag("SIP/2.0 603 Declined\r\n", Some(603));
        frag("SIP/2.0 100", Some(100));
        frag("INVITE sip:a SIP/2.0\r\n", None);
        frag("SIP/2.0 99999", None);
        let relay = |text: &str, want| {
            with("c: application/dtmf-relay\r\n", text, |body| assert_eq!(body.dtmf, want));
        };
        relay("Signal=5\r\nDuration=160\r\n", Some('5'));
        relay("Duration=100\nsignal = d", Some('D'));
        relay("Signal=11\r\n", Some('#'));
        relay("Signal=16\r\n", None);
        relay("Signal\r\n", None);
        with("c: application/dtmf\r\n", " *\r\n", |body| assert_eq!(body.dtmf, Some('*')));
    }
}
