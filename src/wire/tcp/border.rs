//! Where records begin and end: each function looks at the bytes from one possible border on and says what
//! stands there, as far as can be told.
//!
//! ```text
//! INVITE sip:bob@example.com SIP/2.0      RFC 3261 section 7.1: Method SP Request-URI SP SIP-Version
//! SIP/2.0 180 Ringing                     section 7.2
//! HEP3 len16 chunks                       HEP version 3
//! 16 03 xx len16                          TLSPlaintext, RFC 8446 section 5.1
//! GET / HTTP/1.1 ... Upgrade: websocket   RFC 6455 section 4
//! ```

use crate::wire::ws;

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict<T> {
    /// It is one.
    Certain(T),
    /// More bytes will tell.
    Unsure,
    /// It is none.
    NotForUs,
}

/// A SIP request or status line; its length with the line end.
pub(super) fn start_line(bytes: &[u8]) -> Verdict<usize> {
    let visible = bytes.get(..MAX_START_LINE).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', visible) else {
        let whole = visible.len() == MAX_START_LINE;
        return if whole || !may_start(visible) { Verdict::NotForUs } else { Verdict::Unsure };
    };
    let line = visible.get(..end).unwrap_or_default().trim_ascii_end();
    if is_status_line(line) || is_request_line(line) { Verdict::Certain(end + 1) } else { Verdict::NotForUs }
}

/// A start line with a header line after it. Between borders this keeps the status line of a message/sipfrag
/// body (RFC 3420), which a blank line or the next message follows, from being taken for a message.
pub(super) fn message_start(bytes: &[u8]) -> Verdict<()> {
    let len = match start_line(bytes) {
        Verdict::Certain(len) => len,
        Verdict::Unsure => return Verdict::Unsure,
        Verdict::NotForUs => return Verdict::NotForUs,
    };
    let line = bytes.get(len..).unwrap_or_default();
    let name = line.iter().take_while(|&&byte| is_token(byte)).count();
    if name > MAX_NAME {
        return Verdict::NotForUs;
    }
    match line.get(name..).unwrap_or_default().trim_ascii_start().first() {
        Some(b':') if name > 0 => Verdict::Certain(()),
        None if line.is_empty() || name > 0 && line.len() <= 2 * MAX_NAME => Verdict::Unsure,
        _ => Verdict::NotForUs,
    }
}

/// How a SIP message that begins at a start line is framed (RFC 3261 section 18.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// The header block has not ended yet.
    Header,
    /// Length of header block and body.
    Message(usize),
    /// The header block has this length; the body length is not a number or beyond every bound.
    BodyUnknown(usize),
}

/// Frames the message at the beginning of `bytes`; no blank line is in the first `scanned` bytes.
pub(super) fn framing(bytes: &[u8], scanned: usize, limit: usize) -> Framing {
    let Some(header) = header_len(bytes, scanned) else { return Framing::Header };
    match content_length(bytes.get(..header).unwrap_or_default()) {
        Ok(body) if body <= limit.saturating_sub(header) => Framing::Message(header + body),
        _ => Framing::BodyUnknown(header),
    }
}

/// The first record of a HEP3 connection or the next one; its length.
pub(super) fn hep(bytes: &[u8]) -> Verdict<usize> {
    let Some((magic, rest)) = bytes.split_first_chunk::<4>() else {
        return if HEP3.starts_with(bytes) { Verdict::Unsure } else { Verdict::NotForUs };
    };
    if magic != HEP3 {
        return Verdict::NotForUs;
    }
    let Some((len, chunk)) = rest.split_first_chunk() else { return Verdict::Unsure };
    let len = usize::from(u16::from_be_bytes(*len));
    // The first chunk has to fit: four letters alone are a weak sign in the middle of a stream.
    let fits = |chunk_len: [u8; 2]| {
        let chunk_len = usize::from(u16::from_be_bytes(chunk_len));
        (HEP_CHUNK..=len.saturating_sub(HEP_HEADER)).contains(&chunk_len)
    };
    match chunk.get(4..6).and_then(|len| len.first_chunk()) {
        Some(&chunk_len) if fits(chunk_len) => Verdict::Certain(len),
        None if len >= HEP_HEADER + HEP_CHUNK => Verdict::Unsure,
        _ => Verdict::NotForUs,
    }
}

/// A TLS record.
pub(super) fn tls(bytes: &[u8]) -> Verdict<()> {
    let likely = |at: usize, allowed: &dyn Fn(u8) -> bool| bytes.get(at).is_none_or(|&byte| allowed(byte));
    let header = likely(0, &|kind| (0x14..=0x17).contains(&kind))
        && likely(1, &|major| major == 3)
        && likely(2, &|minor| minor <= 4);
    let Some(len) = bytes.get(3..5).and_then(|len| len.first_chunk()) else {
        return if header { Verdict::Unsure } else { Verdict::NotForUs };
    };
    let fits = (1..=MAX_TLS_RECORD).contains(&u16::from_be_bytes(*len));
    if header && fits { Verdict::Certain(()) } else { Verdict::NotForUs }
}

/// What an HTTP/1 header block means for the bytes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Http {
    /// WebSocket frames follow after this many bytes.
    WebSocket(usize),
    /// It is HTTP and stays HTTP.
    Other,
}

/// An HTTP/1 request or response.
pub(super) fn http(bytes: &[u8]) -> Verdict<Http> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HTTP_HEADERS];
    let parsed = if b"HTTP/1.".starts_with(bytes) || bytes.starts_with(b"HTTP/1.") {
        let mut response = httparse::Response::new(&mut headers);
        response.parse(bytes).map(|status| (status, response.code == Some(101), response.headers))
    } else if b"GET ".starts_with(bytes) || bytes.starts_with(b"GET ") {
        let mut request = httparse::Request::new(&mut headers);
        request.parse(bytes).map(|status| (status, true, request.headers))
    } else {
        return if is_http_request(bytes) { Verdict::Certain(Http::Other) } else { Verdict::NotForUs };
    };
    match parsed {
        Ok((httparse::Status::Complete(len), true, headers)) if upgrades(headers) => {
            Verdict::Certain(Http::WebSocket(len))
        }
        Ok((httparse::Status::Complete(_), ..)) => Verdict::Certain(Http::Other),
        Ok((httparse::Status::Partial, ..)) if bytes.len() < MAX_HTTP_HEADER => Verdict::Unsure,
        _ if bytes.starts_with(b"HTTP/1.") => Verdict::Certain(Http::Other),
        _ => Verdict::NotForUs,
    }
}

/// A WebSocket text or binary frame with a SIP message in it, perhaps after control frames, on a connection
/// whose upgrade was not seen: the offset of the frame, and what is visible of its payload, unmasked. There is
/// no `Unsure`: a frame whose start line is cut is not recognised.
pub(super) fn sip_frame(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let mut at = 0;
    for _ in 0..MAX_CONTROL_FRAMES {
        let rest = bytes.get(at..)?;
        let header = ws::Header::parse(rest).ok().filter(|header| !header.extended)?;
        let payload = rest.get(header.header_len..)?;
        let visible = payload.get(..usize::try_from(header.payload_len).ok()?).unwrap_or(payload);
        match header.opcode {
            ws::Opcode::Control => at += header.header_len + visible.len(),
            ws::Opcode::Continuation => return None,
            ws::Opcode::Text | ws::Opcode::Binary => {
                let key = header.mask.unwrap_or_default();
                let mut plain = Vec::new();
                let (beginning, rest) = visible.split_at(visible.len().min(METHOD_LEN));
                ws::unmask(beginning, key, &mut plain);
                if start_line(&plain) == Verdict::NotForUs {
                    return None;
                }
                // The first bytes were a multiple of four: the key goes on where it began.
                ws::unmask(rest, key, &mut plain);
                return matches!(start_line(&plain), Verdict::Certain(_)).then_some((at, plain));
            }
        }
    }
    None
}

/// Bytes that may stand before a start line: CRLF (RFC 3261 section 7.5, RFC 5626 section 4.4.1) and the zero
/// octets that some stacks send to keep bindings open.
pub(super) fn keep_alive_len(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n' | 0)).count()
}

/// Whether bytes without a line end may still become a start line.
fn may_start(bytes: &[u8]) -> bool {
    let token = bytes.iter().take(MAX_NAME + 1).take_while(|&&byte| is_token(byte) || byte == b'/').count();
    let rest = bytes.get(token..).unwrap_or_default();
    token <= MAX_NAME
        && (token > 0 || bytes.is_empty())
        && rest.first().is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
        && rest.iter().all(|&byte| byte >= b' ' || matches!(byte, b'\t' | b'\r'))
}

fn is_status_line(line: &[u8]) -> bool {
    let Some((version, rest)) = line.split_at_checked(VERSION_LEN) else { return false };
    is_version(version)
        && rest.first().is_some_and(u8::is_ascii_whitespace)
        && rest.trim_ascii_start().first_chunk::<3>().is_some_and(|code| code.iter().all(u8::is_ascii_digit))
}

fn is_request_line(line: &[u8]) -> bool {
    let Some((rest, version)) = line.split_at_checked(line.len().saturating_sub(VERSION_LEN)) else {
        return false;
    };
    let method = line.iter().take_while(|&&byte| is_token(byte)).count();
    // Method, at least one blank, something, a blank, version; LWS in excess is tolerated (RFC 4475 3.1.2.9).
    is_version(version)
        && (1..=MAX_NAME).contains(&method)
        && rest.get(method).is_some_and(u8::is_ascii_whitespace)
        && rest.last().is_some_and(u8::is_ascii_whitespace)
        && rest.get(method..).is_some_and(|uri| !uri.trim_ascii().is_empty())
}

/// `SIP/2.0`, in any case (RFC 3261 section 7.1), and any other version of one digit each.
fn is_version(word: &[u8]) -> bool {
    matches!(word, [name @ .., major, b'.', minor]
        if name.eq_ignore_ascii_case(b"SIP/") && major.is_ascii_digit() && minor.is_ascii_digit())
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// Bytes up to and with the blank line; line ends are CRLF or LF.
fn header_len(bytes: &[u8], scanned: usize) -> Option<usize> {
    // A line end split over two segments was not recognised at its first byte: step back over it.
    let from = scanned.saturating_sub(2);
    memchr::memchr_iter(b'\n', bytes.get(from..)?).find_map(|at| match bytes.get(from + at + 1..)? {
        [b'\n', ..] => Some(from + at + 2),
        [b'\r', b'\n', ..] => Some(from + at + 3),
        _ => None,
    })
}

/// The first Content-Length (or `l`) of a header block, 0 when there is none: on a stream its absence means an
/// empty body (RFC 3261 section 18.3 makes it mandatory there). Folded values are read (section 7.3.1).
fn content_length(header: &[u8]) -> Result<usize, ()> {
    let mut rest = header;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        rest = rest.get(end + 1..).unwrap_or_default();
        let name = rest.iter().take_while(|&&byte| is_token(byte)).count();
        let (name, after) = rest.split_at(name);
        if !(name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"l")) {
            continue;
        }
        let Some(value) = after.trim_ascii_start().strip_prefix(b":") else { continue };
        let value = value.trim_ascii_start();
        let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, after) = value.split_at(digits);
        if digits.is_empty() || !after.first().is_none_or(|&byte| byte.is_ascii_whitespace() || byte == b';')
        {
            return Err(());
        }
        let number = digits.iter().try_fold(0_usize, |number, digit| {
            number.checked_mul(10)?.checked_add(usize::from(digit - b'0'))
        });
        return number.ok_or(());
    }
    Ok(0)
}

/// Whether a request line of another HTTP method begins here.
fn is_http_request(bytes: &[u8]) -> bool {
    let line = bytes.get(..MAX_START_LINE).unwrap_or(bytes);
    let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0")
}

fn upgrades(headers: &[httparse::Header<'_>]) -> bool {
    headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("upgrade")
            && header
                .value
                .split(|&byte| byte == b',')
                .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    })
}

/// Longest start line; a Request-URI may be long (RFC 4475 section 3.1.1.7).
pub(super) const MAX_START_LINE: usize = 4096;
/// Longest method and header name.
const MAX_NAME: usize = 64;
const VERSION_LEN: usize = "SIP/2.0".len();
pub(super) const HEP3: &[u8; 4] = b"HEP3";
const HEP_HEADER: usize = 6;
const HEP_CHUNK: usize = 6;
/// 2^14 bytes and what protection adds (RFC 5246 section 6.2.3).
const MAX_TLS_RECORD: u16 = 0x4000 + 2048;
const MAX_HTTP_HEADER: usize = 16 << 10;
const MAX_HTTP_HEADERS: usize = 64;
const MAX_CONTROL_FRAMES: usize = 4;
/// Enough to see that it is no start line; a multiple of the masking key.
const METHOD_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_lines_are_told_from_other_lines() {
        for line in [
            "INVITE sip:bob@example.com SIP/2.0\r\n",
            "OPTIONS sip:a SIP/2.0\n",
            "INVITE  sip:a;x=y   SIP/2.0   \r\n",
            "NEW.METH%od tel:+1 sip/2.0\r\n",
            "SIP/2.0 200 OK\r\n",
            "SIP/2.0 200\n",
            "SIP/7.0 100 \r\n",
        ] {
            assert_eq!(start_line(line.as_bytes()), Verdict::Certain(line.len()), "{line}");
            for cut in 1..line.len() {
                assert_eq!(start_line(&line.as_bytes()[..cut]), Verdict::Unsure, "{line} {cut}");
            }
        }
        for line in [
            "Via: SIP/2.0/UDP 10.0.0.1\r\n",
            "SIP/2.0/UDP 10.0.0.1\r\n",
            "GET / HTTP/1.1\r\n",
            "INVITE SIP/2.0\r\n",
            "v=0\r\n",
            "\r\n",
            " INVITE sip:a SIP/2.0\r\n",
            "SIP/2.0 2x0 OK\r\n",
        ] {
            assert_eq!(start_line(line.as_bytes()), Verdict::NotForUs, "{line}");
        }
    }

    #[test]
    fn binary_bytes_are_refused_at_once() {
        assert_eq!(start_line(b"\x81\x7e\x01\x00"), Verdict::NotForUs);
        assert_eq!(start_line(b"ab\x00cd"), Verdict::NotForUs);
        assert_eq!(start_line(&[b'A'; 100]), Verdict::NotForUs);
        assert_eq!(start_line(&[b"A ".as_slice(), &[b'b'; MAX_START_LINE]].concat()), Verdict::NotForUs);
    }

    #[test]
    fn a_status_line_without_a_header_line_is_no_message() {
        assert_eq!(message_start(b"SIP/2.0 200 OK\r\nVia : x"), Verdict::Certain(()));
        assert_eq!(message_start(b"SIP/2.0 200 OK\r\nVi"), Verdict::Unsure);
        assert_eq!(message_start(b"SIP/2.0 200 OK\r\n"), Verdict::Unsure);
        assert_eq!(message_start(b"SIP/2.0 200 OK\r\n\r\n"), Verdict::NotForUs);
        assert_eq!(message_start(b"SIP/2.0 200 OK\r\nBYE sip:a SIP/2.0\r\n"), Verdict::NotForUs);
    }

    #[test]
    fn content_length_is_found_in_every_spelling() {
        let body = |header: &str| {
            let header = format!("BYE sip:a SIP/2.0\r\n{header}\r\n\r\n");
            match framing(header.as_bytes(), 0, 10_000) {
                Framing::Message(len) => Some(len - header.len()),
                Framing::BodyUnknown(len) => {
                    assert_eq!(len, header.len());
                    None
                }
                Framing::Header => panic!("no end"),
            }
        };
        assert_eq!(body("Content-Length: 12"), Some(12));
        assert_eq!(body("CONTENT-length  :12 "), Some(12));
        assert_eq!(body("l:7"), Some(7));
        assert_eq!(body("Content-Length:\r\n 12"), Some(12));
        assert_eq!(body("X-Content-Length: 5\r\nTo: l: 3"), Some(0));
        assert_eq!(body("l: 3\r\nContent-Length: 4"), Some(3));
        assert_eq!(body("Content-Length: -1"), None);
        assert_eq!(body("Content-Length: 1x"), None);
        assert_eq!(body("Content-Length: "), None);
        assert_eq!(body("Content-Length: 99999999999999999999999"), None);
        assert_eq!(body("Content-Length: 18446744073709551615"), None);
        assert_eq!(body("Content-Length: 10000"), None);
    }

    #[test]
    fn a_blank_line_may_be_split_anywhere() {
        let bytes = b"BYE sip:a SIP/2.0\r\nl: 2\r\n\r\nxy";
        for scanned in 0..bytes.len() - 3 {
            assert_eq!(framing(bytes, scanned, 1000), Framing::Message(bytes.len()), "{scanned}");
        }
        assert_eq!(framing(b"BYE sip:a SIP/2.0\nl: 2\n\nxy", 0, 1000), Framing::Message(26));
        assert_eq!(framing(b"BYE sip:a SIP/2.0\nl: 2\n", 0, 1000), Framing::Header);
    }

    #[test]
    fn an_upgrade_to_websocket_is_seen_from_both_sides() {
        let request = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n\x81";
        let response = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n\x81";
        assert_eq!(http(request), Verdict::Certain(Http::WebSocket(request.len() - 1)));
        assert_eq!(http(response), Verdict::Certain(Http::WebSocket(response.len() - 1)));
        for cut in 1..request.len() - 1 {
            assert_eq!(http(&request[..cut]), Verdict::Unsure);
        }
        assert_eq!(http(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Verdict::Certain(Http::Other));
        assert_eq!(http(b"HTTP/1.1 400 No\r\nUpgrade: websocket\r\n\r\n"), Verdict::Certain(Http::Other));
        assert_eq!(http(b"POST / HTTP/1.1\r\n"), Verdict::Certain(Http::Other));
        assert_eq!(http(b"INVITE sip:a SIP/2.0\r\n"), Verdict::NotForUs);
    }

    #[test]
    fn hep_and_tls_records_are_told_by_their_headers() {
        assert_eq!(hep(b"HEP3\x00\x20\x00\x00\x00\x01\x00\x07\x02"), Verdict::Certain(32));
        assert_eq!(hep(b"HEP3\x00\x20\x00\x00\x00\x01\x00\x70"), Verdict::NotForUs);
        assert_eq!(hep(b"HEP3\x00\x06"), Verdict::NotForUs);
        assert_eq!(hep(b"HE"), Verdict::Unsure);
        assert_eq!(hep(b"HELO"), Verdict::NotForUs);
        assert_eq!(tls(b"\x16\x03\x01\x02\x00\x01"), Verdict::Certain(()));
        assert_eq!(tls(b"\x17\x03\x03\x40\x11"), Verdict::Certain(()));
        assert_eq!(tls(b"\x16\x03"), Verdict::Unsure);
        assert_eq!(tls(b"\x16\x03\x01\xff\xff"), Verdict::NotForUs);
        assert_eq!(tls(b"\x16\x04"), Verdict::NotForUs);
    }
}
