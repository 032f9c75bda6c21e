//! Which attempts of different Call-ID are legs of one call through a B2BUA (MEAS 5.9).
//!
//! Each initial INVITE is entered under what correlates it, best first: Session-ID (RFC 7989), icid-value
//! (RFC 7315), a configured header, and, where the configuration allows guessing, called user and address of
//! the B2BUA. A later INVITE that finds an earlier one there is a further leg of that call.

use std::net::IpAddr;

use super::fingerprint::{FingerprintMap, Fingerprints, bits};
use super::state::{Call, FROM, TO};
use super::text::Text;
use super::{Arrival, CallKey, Settings};
use crate::sip::uri::Uri;
use crate::sip::{Message, StartLine};

/// Live calls by what correlates them.
pub(super) type Links = FingerprintMap<CallKey>;

/// What correlates one INVITE; 0 = nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Correlation {
    /// Entries under which it is found: Session-ID, icid, value of the header, Call-ID, guess.
    pub(super) entries: [u64; KINDS],
    /// Guess under which it looks for the leg before it.
    pub(super) before: u64,
}

impl Correlation {
    pub(super) fn of(
        names: &Fingerprints,
        settings: &Settings,
        at: &Arrival,
        m: &Message<'_>,
        call_id: u64,
    ) -> Self {
        let mut entries = [0; KINDS];
        entries[0] = session_id(names, m.session_id);
        if !m.icid.is_empty() {
            entries[1] = names.pair(ICID, names.bytes(m.icid));
        }
        if !settings.correlation_headers.is_empty() {
            // The header may name the Call-ID of the other leg, so both share a name space.
            let value = settings.correlation_headers.iter().find_map(|name| header(m.headers, name));
            entries[2] = value.map_or(0, |value| names.pair(HEADER, names.bytes(value)));
            entries[3] = names.pair(HEADER, call_id);
        }
        let mut before = 0;
        if settings.heuristics
            && let Some(user) = called_user(m)
        {
            let user = names.pair(GUESS, names.bytes(user));
            entries[4] = names.pair(user, bits(at.destination.ip) as u64);
            before = names.pair(user, bits(at.source.ip) as u64);
        }
        Self { entries, before }
    }

    /// Places to look for an earlier leg, best first, and whether that place is a guess.
    pub(super) fn places(&self) -> impl Iterator<Item = (u64, bool)> {
        let known = self.entries.into_iter().take(KINDS - 1).map(|place| (place, false));
        known.chain(std::iter::once((self.before, true))).filter(|&(place, _)| place != 0)
    }
}

/// Whether two calls that carry the same media can be two legs of one, by who called whom:
///
/// - into a host and out of it again, whoever relays the media;
/// - both out of the host that also relays the media (RFC 3725);
/// - both ends of both elsewhere: a B2BUA with several addresses, if it left one of the two users as it was.
///
/// Two calls from one host to one host are two calls, and so are those of two callers to one host.
pub(super) fn may_be_of_one_call(a: &Call, b: &Call, relay: Option<IpAddr>) -> bool {
    let ends = |call: &Call| {
        let hop = call.hops.primary();
        (bits(hop.source.ip), bits(hop.destination.ip))
    };
    let reaches = |call: &Call, host: u128| call.hops.all().any(|hop| bits(hop.destination.ip) == host);
    let ((a_from, a_to), (b_from, b_to)) = (ends(a), ends(b));
    match (reaches(a, b_from), reaches(b, a_from)) {
        _ if (a_from, a_to) == (b_from, b_to) => false,
        (true, false) | (false, true) => true,
        // Two hosts that call one another, or two phones behind one address: the B2BUA tells who calls.
        (true, true) => same_user(a, b),
        (false, false) if a_from == b_from => relay.is_some_and(|relay| bits(relay) == a_from),
        (false, false) => a_to != b_to && same_user(a, b),
    }
}

/// Whether both calls have the same user in From, or in To.
fn same_user(a: &Call, b: &Call) -> bool {
    [FROM, TO].into_iter().any(|place| {
        let user = |call| Uri::parse(Text::get(call, place)).map_or(&b""[..], |uri| uri.user);
        !user(&a.text).is_empty() && user(&a.text) == user(&b.text)
    })
}

/// Session-ID by its pair of UUIDs, whichever is the local one; the nil UUID of an INVITE counts as absent.
fn session_id(names: &Fingerprints, value: &[u8]) -> u64 {
    let mut parts = value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let local = uuid(names, parts.next().unwrap_or_default());
    let remote = parts.find_map(|part| match part.split_at_checked(REMOTE.len()) {
        Some((name, uuid)) if name.eq_ignore_ascii_case(REMOTE) => Some(uuid),
        _ => None,
    });
    let remote = remote.map_or(0, |remote| uuid(names, remote));
    if local == 0 && remote == 0 {
        return 0;
    }
    names.pair(SESSION_ID, names.pair(local.min(remote), local.max(remote)))
}

/// 32 hex digits in any case; 0 for anything else and for the nil UUID.
fn uuid(names: &Fingerprints, digits: &[u8]) -> u64 {
    let Ok(digits) = std::str::from_utf8(digits) else { return 0 };
    if digits.len() != 32 || digits.starts_with('+') {
        return 0;
    }
    u128::from_str_radix(digits, 16)
        .map_or(0, |uuid| if uuid == 0 { 0 } else { names.bytes(&uuid.to_be_bytes()) })
}

/// Value of the first header of this name, unfolded ones only.
fn header<'a>(headers: &'a [u8], name: &str) -> Option<&'a [u8]> {
    headers.split(|&byte| byte == b'\n').find_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let (found, value) = line.split_at_checked(colon)?;
        let value = value.get(1..)?.trim_ascii();
        (found.trim_ascii().eq_ignore_ascii_case(name.as_bytes()) && !value.is_empty()).then_some(value)
    })
}

/// User part of the Request-URI.
fn called_user<'a>(m: &Message<'a>) -> Option<&'a [u8]> {
    let StartLine::Request { uri, .. } = m.start else { return None };
    let colon = memchr::memchr(b':', uri)?;
    let at = memchr::memchr(b'@', uri)?;
    uri.get(colon + 1..at).filter(|user| !user.is_empty())
}

/// Entries of one INVITE.
const KINDS: usize = 5;

const REMOTE: &[u8] = b"remote=";

// Name spaces of the entries.
const SESSION_ID: u64 = 1;
const ICID: u64 = 2;
const HEADER: u64 = 3;
const GUESS: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "ab30317f1a784dc48ff824d0d3715d86";
    const NIL: &str = "00000000000000000000000000000000";

    #[test]
    fn a_session_id_is_its_pair_of_uuids() {
        let names = Fingerprints::default();
        let id = |value: String| session_id(&names, value.as_bytes());
        let first = id(format!("{LOCAL};remote={NIL}"));
        assert_ne!(first, 0);
        assert_eq!(first, id(format!("{} ; Remote={NIL}", LOCAL.to_uppercase())));
        assert_eq!(first, id(LOCAL.into()), "the form before RFC 7989 has no remote");
        assert_ne!(first, id(format!("{LOCAL};remote=47755a9de7794ba387653f2099600ef2")));
        assert_eq!((id(String::new()), id(NIL.into()), id("+1".repeat(16))), (0, 0, 0));
    }

    #[test]
    fn a_configured_header_is_found_in_any_case() {
        let headers = b"Via: x\r\nx-cid:  abc@host \r\nX-CID: later\r\n";
        assert_eq!(header(headers, "X-CID"), Some(b"abc@host".as_slice()));
        assert_eq!(header(headers, "CID"), None);
    }
}
