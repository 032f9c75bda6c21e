//! Takes out of a SIP message what nobody needs to judge a call by, and what would be a key in the wrong hands. Lengths
//! stay as they are, so that the message is read as before.
//!
//! ```text
//! Authorization, Proxy-Authorization   response="..." of Digest; of other schemes everything behind the scheme
//! SDP a=crypto: inline:, a=key-mgmt:, k=, a=ice-pwd:                       keys of SRTP, passwords of ICE
//! INFO, MESSAGE                        the body: keys that were pressed, texts
//! ```

use memchr::memchr;

use crate::sip::{self, Method, StartLine};

/// Blanks it in place. What is no SIP message, or only the beginning of one, is blanked as far as its lines can be read.
pub(super) fn secrets(message: &mut [u8]) {
    let typed = sip::scan(message).is_some_and(|sip| is_typed(&sip));
    let body = body(message);
    let (headers, body) = message.split_at_mut(body);
    credentials(headers);
    if typed { blank(body) } else { keys(body) }
}

/// Whether its body is what users typed. A response has the method in CSeq.
fn is_typed(message: &sip::Message<'_>) -> bool {
    let asked = match message.start {
        StartLine::Request { method, .. } => Some(method),
        StartLine::Response { .. } => message.cseq.map(|cseq| cseq.method),
    };
    matches!(asked, Some(Method::Info | Method::Message))
}

/// Where the body begins: behind the first empty line.
fn body(message: &[u8]) -> usize {
    let mut at = 0;
    for line in Lines(message) {
        at += line.len();
        if line == b"\r\n" || line == b"\n" {
            // An empty line before the start line is none.
            if message.get(..at).is_some_and(|before| !before.trim_ascii().is_empty()) {
                break;
            }
        }
    }
    at
}

/// Goes through header lines; a folded line belongs to the one before.
fn credentials(mut headers: &mut [u8]) {
    let mut inside = false;
    while !headers.is_empty() {
        let end = memchr(b'\n', headers).map_or(headers.len(), |at| at + 1);
        let (line, rest) = headers.split_at_mut(end);
        let folded = line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
        let mut from = 0;
        if !folded {
            let colon = memchr(b':', line).unwrap_or(0);
            let name = line.get(..colon).unwrap_or_default().trim_ascii();
            inside = SECRET_HEADERS.iter().any(|secret| name.eq_ignore_ascii_case(secret));
            from = colon + 1;
        }
        if inside && let Some(value) = line.get_mut(from..) {
            credential(value, folded);
        }
        headers = rest;
    }
}

fn credential(value: &mut [u8], folded: bool) {
    let scheme = value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let digest = value.get(scheme..scheme + 6).is_some_and(|word| word.eq_ignore_ascii_case(b"digest"));
    if digest || folded {
        // The value of each parameter that is called so.
        let mut at = 0;
        while let Some(found) = find(value.get(at..).unwrap_or_default(), b"response") {
            let after = at + found + b"response".len();
            at = after;
            let equals =
                value.iter().skip(after).take_while(|byte| matches!(byte, b' ' | b'\t')).count() + after;
            if value.get(equals) != Some(&b'=') {
                continue;
            }
            let rest = value.get_mut(equals + 1..).unwrap_or_default();
            let end = rest.iter().position(|byte| matches!(byte, b',' | b'\r' | b'\n')).unwrap_or(rest.len());
            blank(rest.get_mut(..end).unwrap_or_default());
            at = equals + 1 + end;
        }
    } else {
        let word = value.iter().skip(scheme).take_while(|byte| !byte.is_ascii_whitespace()).count();
        blank(value.get_mut(scheme + word..).unwrap_or_default());
    }
}

/// Keys in a session description, wherever in the body it stands.
fn keys(mut body: &mut [u8]) {
    while !body.is_empty() {
        let end = memchr(b'\n', body).map_or(body.len(), |at| at + 1);
        let (line, rest) = body.split_at_mut(end);
        if line.get(..9).is_some_and(|begin| begin.eq_ignore_ascii_case(b"a=crypto:")) {
            let mut at = 0;
            while let Some(found) = find(line.get(at..).unwrap_or_default(), b"inline:") {
                let from = at + found + b"inline:".len();
                let key = line.get_mut(from..).unwrap_or_default();
                let end = key.iter().position(|byte| b"|; \t\r\n".contains(byte)).unwrap_or(key.len());
                blank(key.get_mut(..end).unwrap_or_default());
                at = from + end;
            }
        } else if let Some(begin) = SECRET_LINES
            .iter()
            .find(|begin| line.get(..begin.len()).is_some_and(|there| there.eq_ignore_ascii_case(begin)))
        {
            blank(line.get_mut(begin.len()..).unwrap_or_default());
        }
        body = rest;
    }
}

/// Letters and digits; what separates them stays, so that the form can still be seen.
fn blank(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|byte| !byte.is_ascii_whitespace() && **byte != b'"') {
        *byte = b'x';
    }
}

fn find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    bytes.windows(word.len()).position(|there| there.eq_ignore_ascii_case(word))
}

/// Lines with their ends.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = memchr(b'\n', self.0).map_or(self.0.len(), |at| at + 1);
        let (line, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(line)
    }
}

const SECRET_HEADERS: [&[u8]; 2] = [b"authorization", b"proxy-authorization"];
const SECRET_LINES: [&[u8]; 3] = [b"a=key-mgmt:", b"a=ice-pwd:", b"k="];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blanked(text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        secrets(&mut bytes);
        assert_eq!(bytes.len(), text.len());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn credentials_are_blanked_and_the_rest_stays() {
        let message = "INVITE sip:b@example.com SIP/2.0\r\nCall-ID: 1\r\nCSeq: 2 INVITE\r\n\
                       Proxy-Authorization: Digest username=\"bob\", nonce=\"n\",\r\n response = \"6629fae4\", uri=\"sip:response=1\"\r\n\
                       authorization:Basic Ym9iOnNlY3JldA==\r\nUser-Agent: response=\"stays\"\r\n\r\n";
        let shown = blanked(message);
        assert!(
            shown.contains("username=\"bob\", nonce=\"n\",\r\n response = \"xxxxxxxx\", uri="),
            "{shown}"
        );
        assert!(shown.contains("authorization:Basic xxxxxxxxxxxxxxxx\r\n"), "{shown}");
        assert!(shown.contains("User-Agent: response=\"stays\""), "{shown}");
    }

    #[test]
    fn keys_in_sdp_are_blanked_and_the_rest_stays() {
        let message = "SIP/2.0 200 OK\r\nCall-ID: 1\r\nCSeq: 2 INVITE\r\n\r\nv=0\r\nk=clear:abc\r\n\
                       a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1c|2^20|1:32;inline:YUJD FEC_ORDER=FEC_SRTP\r\n\
                       a=ice-pwd:asd88fgpdd777uzjYhagZg\r\na=rtpmap:0 PCMU/8000\r\n";
        let shown = blanked(message);
        assert!(
            shown.contains(&format!("inline:{}|2^20|1:32;inline:xxxx FEC_ORDER", "x".repeat(32))),
            "{shown}"
        );
        assert!(shown.contains("k=xxxxxxxxx\r\n") && shown.contains("a=ice-pwd:xxxx"), "{shown}");
        assert!(shown.contains("a=rtpmap:0 PCMU/8000\r\n"), "{shown}");
    }

    #[test]
    fn what_was_typed_is_blanked() {
        let message = "INFO sip:b@example.com SIP/2.0\r\nCSeq: 2 INFO\r\nContent-Type: application/dtmf-relay\r\n\r\nSignal=5\r\nDuration=160\r\n";
        let shown = blanked(message);
        assert!(shown.ends_with("\r\n\r\nxxxxxxxx\r\nxxxxxxxxxxxx\r\n"), "{shown}");
    }

    proptest! {
        /// forall bytes: the length stays, and blanking again changes nothing.
        #[test]
        fn hostile_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300),
                                    words in prop::collection::vec(0_usize..8, 0..12)) {
            let pieces: [&[u8]; 8] = [b"INVITE sip:a SIP/2.0\r\n", b"Authorization: Digest response=", b"\r\n\r\n",
                                      b"a=crypto:1 x inline:", b"\n", b"Authorization: ", b" response", b"=\"a\"|"];
            let mut message = Vec::new();
            for word in words {
                message.extend_from_slice(pieces[word]);
                message.extend_from_slice(&bytes[..bytes.len().min(word * 3)]);
            }
            let length = message.len();
            secrets(&mut message);
            prop_assert_eq!(message.len(), length);
            let once = message.clone();
            secrets(&mut message);
            prop_assert_eq!(message, once);
        }
    }
}
