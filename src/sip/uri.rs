//! Pieces of SIP, SIPS and TEL URIs (RFC 3261 19.1, RFC 3966), borrowed and as written: nothing is unescaped.
//!
//! ```text
//! sip:user:password@host:port;parameters?headers      tel:+1-201-555-0123;phone-context=example.com
//! ```

use memchr::memchr;

use super::header::{decimal, split_where, trim};

/// One URI. A piece that is not there is empty or `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// Scheme.
    pub scheme: Scheme,
    /// User without password; the subscriber number of a `tel:` URI.
    pub user: &'a [u8],
    /// Host name or address, an IPv6 one with its brackets; empty for `tel:` and other schemes.
    pub host: &'a [u8],
    /// Port, where one is written.
    pub port: Option<u16>,
}

/// Scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Scheme {
    Sip,
    Sips,
    Tel,
    /// `urn:` and all others: not taken apart.
    Other,
}

impl<'a> Uri<'a> {
    /// Takes a URI apart; `None` where no scheme stands.
    pub fn parse(uri: &'a [u8]) -> Option<Self> {
        let colon = memchr(b':', uri)?;
        let (scheme, rest) = (trim(&uri[..colon]), &uri[colon + 1..]);
        let named = |name: &[u8]| scheme.eq_ignore_ascii_case(name);
        let bare = |scheme, user| Self { scheme, user, host: b"", port: None };
        if named(b"sip") {
            Some(Self::with_host(Scheme::Sip, rest))
        } else if named(b"sips") {
            Some(Self::with_host(Scheme::Sips, rest))
        } else if named(b"tel") {
            Some(bare(Scheme::Tel, trim(split_where(rest, |b| b == b';').0)))
        } else {
            (!scheme.is_empty()).then(|| bare(Scheme::Other, b""))
        }
    }

    /// The first `@` ends the user part: `;` and `?` may stand in a user unescaped, `@` may not.
    fn with_host(scheme: Scheme, rest: &'a [u8]) -> Self {
        let (user, rest) = match memchr(b'@', rest) {
            Some(at) => (split_where(&rest[..at], |b| b == b':').0, &rest[at + 1..]),
            None => (&b""[..], rest),
        };
        let host_len = match rest.first() {
            Some(b'[') => memchr(b']', rest).map(|at| at + 1),
            _ => None,
        };
        let (host, rest) = match host_len {
            Some(len) => rest.split_at(len),
            None => split_where(rest, |b| matches!(b, b':' | b';' | b'?')),
        };
        let port = rest.strip_prefix(b":").and_then(|rest| {
            let (digits, _) = split_where(rest, |b| matches!(b, b';' | b'?'));
            decimal(trim(digits)).and_then(|port| u16::try_from(port).ok())
        });
        Self { scheme, user: trim(user), host: trim(host), port }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(uri: &'static str, scheme: Scheme, user: &str, host: &str, port: Option<u16>) {
        let want = Uri { scheme, user: user.as_bytes(), host: host.as_bytes(), port };
        assert_eq!(Uri::parse(uri.as_bytes()), Some(want), "{uri}");
    }

    #[test]
    fn uris_come_apart() {
        same("sip:alice@example.com", Scheme::Sip, "alice", "example.com", None);
        same("SIPS:alice:secret@example.com:5061;lr", Scheme::Sips, "alice", "example.com", Some(5061));
        same("sip:example.com;transport=tcp", Scheme::Sip, "", "example.com", None);
        same("sip:a@[2001:db8::10]:5070;x", Scheme::Sip, "a", "[2001:db8::10]", Some(5070));
        same("sip:[2001:db8::10]", Scheme::Sip, "", "[2001:db8::10]", None);
        same(
            "sip:user;par=u%40e@example.com?subject=x:1",
            Scheme::Sip,
            "user;par=u%40e",
            "example.com",
            None,
        );
        same("sip:a@b:99999", Scheme::Sip, "a", "b", None);
        same("tel:+1-201-555-0123;phone-context=x", Scheme::Tel, "+1-201-555-0123", "", None);
        same("urn:service:sos", Scheme::Other, "", "", None);
        assert_eq!(Uri::parse(b"no scheme"), None);
        same("sip:", Scheme::Sip, "", "", None);
        same("sip:@[::1", Scheme::Sip, "", "[", None);
    }
}
