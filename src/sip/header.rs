//! Header values (RFC 3261 7.3 and 20): addresses, Via, CSeq, parameters, lists.
//!
//! A value is the raw slice behind the colon; line folds stay in it and count as white space, so CR and LF are
//! white space here. Nothing allocates, nothing fails: what cannot be read is absent, and the caller is told.

#![allow(clippy::inline_always, reason = "on the way of every message; measured in docs/performance.md")]

use super::{Address, CSeq, Method, Via, find};

/// `;name=value` parameters or `name=value,` lists, quoted strings respected, quotes taken off.
#[derive(Clone, Debug)]
pub(super) struct Params<'a> {
    rest: &'a [u8],
    separator: u8,
}

impl<'a> Params<'a> {
    pub(super) fn new(rest: &'a [u8], separator: u8) -> Self {
        Self { rest, separator }
    }

    /// Value of the first parameter called `name`; `Some(b"")` when it stands there without a value.
    #[inline]
    pub(super) fn find(mut self, name: &[u8]) -> Option<&'a [u8]> {
        self.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let separator = self.separator;
        let start = self.rest.iter().position(|&b| !is_lws(b) && b != separator)?;
        let rest = &self.rest[start..];
        let (name, rest) = rest.split_at(find::first_of(b'=', separator, rest).unwrap_or(rest.len()));
        let Some((b'=', rest)) = rest.split_first() else {
            self.rest = rest;
            return Some((trim(name), b""));
        };
        let (name, rest) = (trim(name), trim_start(rest));
        if let Some((b'"', inner)) = rest.split_first() {
            let (value, rest) = inner.split_at(quoted_len(inner).unwrap_or(inner.len()));
            // What follows a quoted string up to the next separator means nothing.
            self.rest = split_where(rest, |b| b == separator).1;
            return Some((name, value));
        }
        let (value, rest) = rest.split_at(find::first(separator, rest).unwrap_or(rest.len()));
        self.rest = rest;
        Some((name, trim(value)))
    }
}

/// The elements of a comma-separated list; commas in quotes and angle brackets do not separate.
#[derive(Clone, Debug)]
pub(super) struct List<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> List<'a> {
    #[inline]
    pub(super) fn new(value: &'a [u8]) -> Self {
        Self { rest: Some(value) }
    }
}

impl<'a> Iterator for List<'a> {
    type Item = &'a [u8];

    #[inline(always)]
    fn next(&mut self) -> Option<&'a [u8]> {
        let value = self.rest.take()?;
        if find::first(b',', value).is_none() {
            return Some(trim(value));
        }
        let end = list_element_len(value);
        self.rest = value.get(end + 1..);
        Some(trim(&value[..end]))
    }
}

/// Length of the first list element, which may be all of it. A quote or bracket that is never closed opens
/// nothing: only what is balanced can hide a comma.
#[cold]
fn list_element_len(value: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        let rest = &value[at + 1..];
        at += 1 + match byte {
            b',' => return at,
            b'"' => quoted_len(rest).map_or(0, |len| len + 1),
            b'<' => find::first(b'>', rest).map_or(0, |len| len + 1),
            _ => 0,
        };
    }
    value.len()
}

/// A From, To, Contact, Refer-To or Referred-By element, trimmed: the address without its tag, the parameters, and
/// whether quotes and brackets were balanced and a URI was there.
///
/// ```text
/// "Display \"x\"" <sip:user@host;uri-parameter> ;tag=1      name-addr
/// sip:user@host;tag=1                                       addr-spec: parameters are the header's
/// ```
#[inline(always)]
pub(super) fn address(value: &[u8]) -> (Address<'_>, &[u8], bool) {
    plain_address(value).unwrap_or_else(|| any_address(value))
}

/// A name-addr whose display name holds nothing that needs care, as nearly all are.
#[inline(always)]
fn plain_address(value: &[u8]) -> Option<(Address<'_>, &[u8], bool)> {
    let (display, inner) = match value {
        [b'<', inner @ ..] => (&b""[..], inner),
        [b'"', quoted @ ..] => {
            let (display, after) = quoted.split_at(find::first_of(b'"', b'\\', quoted)?);
            let inner = trim_start(after.strip_prefix(b"\"")?).strip_prefix(b"<")?;
            (display, inner)
        }
        _ => {
            let (bare, inner) = value.split_at(find::first(b'<', value)?);
            let display = trim(bare);
            (display.iter().all(|&b| is_token(b))).then_some((display, &inner[1..]))?
        }
    };
    let (uri, params) = inner.split_at(find::first(b'>', inner)?);
    let uri = trim(uri);
    Some((Address { uri, tag: b"", display }, &params[1..], !uri.is_empty()))
}

#[cold]
fn any_address(value: &[u8]) -> (Address<'_>, &[u8], bool) {
    let mut sound = true;
    let (quoted, rest) = match value.split_first() {
        Some((b'"', inner)) => {
            if let Some(len) = quoted_len(inner) {
                (Some(&inner[..len]), &inner[len + 1..])
            } else {
                sound = false;
                (None, inner)
            }
        }
        _ => (None, value),
    };
    let bracket = rest.iter().position(|&b| b == b'<').filter(|&at| !is_addr_spec(&rest[..at]));
    let Some(open) = bracket else {
        let (uri, params) = split_where(rest, |b| b == b';');
        let uri = trim(uri);
        let display = quoted.unwrap_or_default();
        return (Address { uri, tag: b"", display }, params, sound && !uri.is_empty());
    };
    let display = quoted.unwrap_or_else(|| trim(&rest[..open]));
    let inner = &rest[open + 1..];
    let (uri, params) = if let Some(close) = find::first(b'>', inner) {
        (trim(&inner[..close]), &inner[close + 1..])
    } else {
        sound = false;
        let (uri, params) = split_where(inner, |b| b == b';' || is_lws(b));
        (uri, params)
    };
    (Address { uri, tag: b"", display }, params, sound && !uri.is_empty())
}

/// Whether `before`, the text in front of a `<`, is already a URI with parameters, so that the bracket stands
/// in a parameter's value. A display name cannot hold a semicolon outside quotes.
fn is_addr_spec(before: &[u8]) -> bool {
    before.contains(&b';')
        && SCHEMES.iter().any(|scheme| {
            before.split_at_checked(scheme.len()).is_some_and(|(start, _)| start.eq_ignore_ascii_case(scheme))
        })
}

const SCHEMES: [&[u8]; 4] = [b"sip:", b"sips:", b"tel:", b"urn:"];

/// The `tag` parameter of From or To, nearly always the only one.
#[inline]
pub(super) fn tag(params: &[u8]) -> &[u8] {
    match params.strip_prefix(b";tag=") {
        Some(rest) if rest.first().is_some_and(|&b| is_token(b)) => {
            trim(&rest[..find::first(b';', rest).unwrap_or(rest.len())])
        }
        _ => Params::new(params, b';').find(b"tag").unwrap_or_default(),
    }
}

/// One Via element, white space allowed around every slash (RFC 3261 25.1 SLASH).
///
/// ```text
/// SIP/2.0/UDP host:5060;branch=z9hG4bK1;received=192.0.2.1
/// ```
pub(super) fn via(element: &[u8]) -> Option<Via<'_>> {
    let rest = if let Some(rest) = element.strip_prefix(b"SIP/2.0/") {
        rest
    } else {
        let version = find::first(b'/', element)? + 1;
        let transport = version + find::first(b'/', &element[version..])? + 1;
        trim_start(&element[transport..])
    };
    let (transport, rest) = match rest {
        // UDP, TCP, TLS, WSS.
        [b'A'..=b'Z', b'A'..=b'Z', b'A'..=b'Z', b' ', ..] => rest.split_at(3),
        _ => split_where(rest, |b| is_lws(b) || b == b';'),
    };
    let (sent_by, params) = rest.split_at(find::first(b';', rest).unwrap_or(rest.len()));
    // The branch nearly always comes first.
    let (branch, params) = match params.strip_prefix(b";branch=") {
        Some(rest) if rest.first().is_some_and(|&b| is_token(b)) => {
            rest.split_at(find::first(b';', rest).unwrap_or(rest.len()))
        }
        _ => (&b""[..], params),
    };
    let mut via = Via { transport, sent_by: trim(sent_by), branch: trim(branch), received: b"" };
    // Nearly every request asks for the port to answer to, and nothing else.
    if params == b";rport" {
        return Some(via);
    }
    for (name, value) in Params::new(params, b';') {
        if via.branch.is_empty() && name.eq_ignore_ascii_case(b"branch") {
            via.branch = value;
        } else if via.received.is_empty() && name.eq_ignore_ascii_case(b"received") {
            via.received = value;
        }
    }
    Some(via)
}

/// `4711 INVITE`.
#[inline]
pub(super) fn cseq(value: &[u8]) -> Option<CSeq<'_>> {
    let (digits, rest) = split_where(value, |b| !b.is_ascii_digit());
    let number = decimal(digits)?;
    let separated = rest.first().is_some_and(|&b| is_lws(b));
    let rest = trim_start(rest);
    let method = match Method::of(rest) {
        Method::Other(_) => Method::of(split_where(rest, is_lws).0),
        known => known,
    };
    (separated && method != Method::Other(b"")).then_some(CSeq { number, method })
}

/// A number that ends at white space, `;` or the end of the value.
#[inline]
pub(super) fn number(value: &[u8]) -> Option<u32> {
    // What most messages say of their bodies.
    if value == b"0" {
        return Some(0);
    }
    let (digits, _) = split_where(value, |b| is_lws(b) || b == b';');
    decimal(digits)
}

/// The long form of a compact header name (RFC 3261 7.3.3 and the IANA registry); any other name as it is.
pub(super) fn long_form(name: &[u8]) -> &[u8] {
    let [letter] = name else { return name };
    match letter.to_ascii_lowercase() {
        b'a' => b"Accept-Contact",
        b'b' => b"Referred-By",
        b'c' => b"Content-Type",
        b'd' => b"Request-Disposition",
        b'e' => b"Content-Encoding",
        b'f' => b"From",
        b'i' => b"Call-ID",
        b'j' => b"Reject-Contact",
        b'k' => b"Supported",
        b'l' => b"Content-Length",
        b'm' => b"Contact",
        b'n' => b"Identity-Info",
        b'o' => b"Event",
        b'r' => b"Refer-To",
        b's' => b"Subject",
        b't' => b"To",
        b'u' => b"Allow-Events",
        b'v' => b"Via",
        b'x' => b"Session-Expires",
        b'y' => b"Identity",
        _ => name,
    }
}

/// Digits only, below 2^32.
#[inline]
pub(super) fn decimal(digits: &[u8]) -> Option<u32> {
    // Nine digits fit without a check; the rest, leading zeros or an overflow, is rare.
    let (first, rest) = digits.split_at_checked(9).unwrap_or((digits, b""));
    let mut sum = 0;
    for &digit in first {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum = sum * 10 + u32::from(digit);
    }
    for &digit in rest {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        sum = sum.checked_mul(10)?.checked_add(u32::from(digit))?;
    }
    (!digits.is_empty()).then_some(sum)
}

/// Length of a quoted string whose opening quote is already behind; `None` when it never closes.
#[inline]
pub(super) fn quoted_len(inner: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match inner.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Splits before the first byte that satisfies `stop`.
#[inline]
pub(super) fn split_where(bytes: &[u8], stop: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(|&b| stop(b)).unwrap_or(bytes.len()))
}

/// Linear white space, folds included (RFC 3261 25.1 LWS).
#[inline]
pub(super) fn is_lws(byte: u8) -> bool {
    byte <= b' ' && matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// White space that does not end a line.
#[inline]
pub(super) fn is_blank(byte: u8) -> bool {
    byte <= b' ' && matches!(byte, b' ' | b'\t')
}

/// Whether at first sight there is no white space around it.
#[inline]
pub(super) fn is_trimmed(bytes: &[u8]) -> bool {
    matches!(bytes, [first, .., last] if *first > b' ' && *last > b' ')
}

/// RFC 3261 25.1 token.
#[inline]
pub(super) fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        byte += 1;
    }
    table
};

#[inline]
pub(super) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_lws(*first)
    {
        bytes = rest;
    }
    bytes
}

#[inline]
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    if is_trimmed(bytes) {
        return bytes;
    }
    let mut bytes = trim_start(bytes);
    while let [rest @ .., last] = bytes
        && is_lws(*last)
    {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(value: &str) -> (String, String, String, bool) {
        let (address, params, sound) = address(value.as_bytes());
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (text(address.display), text(address.uri), text(tag(params)), sound)
    }

    fn same(value: &str, display: &str, uri: &str, tag: &str, sound: bool) {
        assert_eq!(addr(value), (display.into(), uri.into(), tag.into(), sound), "{value:?}");
    }

    #[test]
    fn addresses_in_every_dress() {
        same("sip:bob@b.example;tag=1", "", "sip:bob@b.example", "1", true);
        same("<sip:bob@b.example;tag=uri>;tag=hdr", "", "sip:bob@b.example;tag=uri", "hdr", true);
        same("Bob <sip:b@b>;TAG=x;y", "Bob", "sip:b@b", "x", true);
        same("Bob<sip:b@b>", "Bob", "sip:b@b", "", true);
        same("Bell, Alexander <sip:a@b> ; tag = 43", "Bell, Alexander", "sip:a@b", "43", true);
        same(r#""a \" <x> ;tag=0" <sip:a@b>;tag=7"#, r#"a \" <x> ;tag=0"#, "sip:a@b", "7", true);
        same("< sip:t@b >;tag=\"q;r\"", "", "sip:t@b", "q;r", true);
        same("<sip:a@b>\r\n ;\r\n\ttag\r\n =\r\n z", "", "sip:a@b", "z", true);
        same("sip:a@b;x=\"<\";tag=1", "", "sip:a@b", "1", true);
        same("tel:+1-201-555-0123;tag=t", "", "tel:+1-201-555-0123", "t", true);
        same("\"Mr. J <sip:j@b>;tag=5", "Mr. J", "sip:j@b", "5", false);
        same("<sip:j@b;tag=5", "", "sip:j@b", "5", false);
        same("", "", "", "", false);
        same("\"only\"", "only", "", "", false);
    }

    #[test]
    fn parameters_keep_quotes_and_white_space_apart() {
        let all: Vec<_> = Params::new(b";a;b=1 ; c = \"x;\\\"y\" ;;d=;e=\"open", b';').collect();
        let want: [(&[u8], &[u8]); 5] =
            [(b"a", b""), (b"b", b"1"), (b"c", b"x;\\\"y"), (b"d", b""), (b"e", b"open")];
        assert_eq!(all, want);
        assert_eq!(
            Params::new(b"realm=\"stale=true\", stale=FALSE", b',').find(b"stale"),
            Some(&b"FALSE"[..])
        );
    }

    #[test]
    fn lists_split_at_bare_commas_only() {
        let split = |value: &'static str| List::new(value.as_bytes()).collect::<Vec<_>>();
        assert_eq!(split("a"), [b"a"]);
        assert_eq!(split("\"a,b\" <sip:c,d@e>;x , f"), [&b"\"a,b\" <sip:c,d@e>;x"[..], b"f"]);
        assert_eq!(split("a,,b,"), [&b"a"[..], b"", b"b", b""]);
        assert_eq!(split("\"open, b"), [&b"\"open"[..], b"b"]);
    }

    #[test]
    fn via_tolerates_space_around_slashes_and_reads_ipv6() {
        let got =
            via(b"SIP / 2.0 \r\n / TLS  [2001:db8::9:1]:5061 ; rport;branch = z9hG4bK1 ;received=[::1]")
                .unwrap();
        assert_eq!(got.transport, b"TLS");
        assert_eq!(got.sent_by, b"[2001:db8::9:1]:5061");
        assert_eq!(got.branch, b"z9hG4bK1");
        assert_eq!(got.received, b"[::1]");
        assert!(via(b"UDP host").is_none());
    }

    #[test]
    fn numbers_beyond_32_bits_are_none() {
        assert_eq!(number(b"4294967295 "), Some(u32::MAX));
        assert_eq!(number(b"4294967296"), None);
        assert_eq!(number(b"1800;refresher=uac"), Some(1800));
        assert_eq!(number(b"-1"), None);
        assert_eq!(number(b"12x"), None);
        assert_eq!(number(b""), None);
        assert_eq!(cseq(b"0009\r\n  INVITE").unwrap(), CSeq { number: 9, method: Method::Invite });
        assert!(cseq(b"36893488147419103232 REGISTER").is_none());
        assert!(cseq(b"7").is_none() && cseq(b"7INVITE").is_none() && cseq(b"x INVITE").is_none());
    }
}
