//! What is personal in a line, and what an output makes of it.
//!
//! ```text
//! Personal::uri("sip:+4930123456@192.0.2.1") -> Line: sip:[number]@[address]
//!     keep sip:+4930123456@192.0.2.1     mask sip:+493***@192.0.2.x     hash sip:h-5f0c...@h-91be...     drop sip:@
//! ```
//!
//! A type, and not a habit: text that is not a constant of this program comes into a [`super::Line`] as [`Personal`]
//! only, or as the name of a rule in the configuration. `Personal` cannot be read back, not even for debugging.

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::line::decimal;
use crate::wire::Endpoint;

/// Text that may tell who somebody is.
#[derive(Clone, Copy)]
pub struct Personal<'a>(Shape<'a>);

#[derive(Clone, Copy)]
enum Shape<'a> {
    Uri(&'a str),
    CallId(&'a str),
    User(&'a str),
    Text(&'a str),
    Endpoint(Endpoint),
    Ip(IpAddr),
}

/// Never shown.
impl fmt::Debug for Personal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(personal)")
    }
}

impl<'a> Personal<'a> {
    /// A SIP, SIPS or tel URI. Its parameters and headers are left out; the domain is not personal.
    pub fn uri(uri: &'a str) -> Self {
        Self(Shape::Uri(uri))
    }

    /// A Call-ID: what hosts put their addresses into.
    pub fn call_id(call_id: &'a str) -> Self {
        Self(Shape::CallId(call_id))
    }

    /// The name of a user, whole.
    pub fn user(name: &'a str) -> Self {
        Self(Shape::User(name))
    }

    /// Any text: addresses, numbers and users are looked for in it.
    pub fn text(text: &'a str) -> Self {
        Self(Shape::Text(text))
    }

    /// Address and port.
    pub fn endpoint(endpoint: Endpoint) -> Self {
        Self(Shape::Endpoint(endpoint))
    }

    /// An address.
    pub fn ip(ip: IpAddr) -> Self {
        Self(Shape::Ip(ip))
    }

    /// Its pieces in order: plain ones have no kind.
    pub(super) fn pieces(self, piece: &mut dyn FnMut(Option<Kind>, &str)) {
        match self.0 {
            Shape::Uri(uri) => pieces_of_uri(uri, piece),
            Shape::CallId(call_id) => pieces_of_text(call_id, false, piece),
            Shape::User(name) => piece(Some(Kind::of_user(name)), name),
            Shape::Text(text) => pieces_of_text(text, true, piece),
            Shape::Endpoint(Endpoint { ip, port }) => {
                let (open, close) = if ip.is_ipv6() { ("[", "]") } else { ("", "") };
                piece(None, open);
                piece(Some(Kind::Address), Short::of(ip).text());
                piece(None, close);
                piece(None, ":");
                piece(None, decimal(port.into(), &mut [0; 20]));
            }
            Shape::Ip(ip) => piece(Some(Kind::Address), Short::of(ip).text()),
        }
    }
}

/// The text of an address, without an allocation.
struct Short {
    bytes: [u8; 48],
    length: usize,
}

impl Short {
    fn of(ip: IpAddr) -> Self {
        let mut short = Self { bytes: [0; 48], length: 0 };
        // An IPv6 address has 45 characters at most.
        let _ = match ip {
            IpAddr::V4(ip) => ip.octets().iter().enumerate().try_for_each(|(place, octet)| {
                short.write_str(if place == 0 { "" } else { "." })?;
                short.write_str(decimal((*octet).into(), &mut [0; 20]))
            }),
            IpAddr::V6(ip) => write!(short, "{ip}"),
        };
        short
    }

    fn text(&self) -> &str {
        self.bytes.get(..self.length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// What is personal about a piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// User of a URI that is no telephone number, or of HTTP.
    User,
    /// Telephone number.
    Number,
    /// IP address.
    Address,
}

impl Kind {
    fn of_user(user: &str) -> Self {
        let digits = user.strip_prefix('+').unwrap_or(user);
        let is_number =
            digits.len() >= 3 && digits.bytes().all(|byte| byte.is_ascii_digit() || b"-.()".contains(&byte));
        if is_number { Self::Number } else { Self::User }
    }
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Treatment {
    /// It stays as it is.
    #[default]
    Keep,
    /// Its beginning stays.
    Mask,
    /// A keyed hash takes its place: the same value gives the same hash.
    Hash,
    /// Nothing takes its place.
    Drop,
}

impl Treatment {
    /// `keep`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Mask => "mask",
            Self::Hash => "hash",
            Self::Drop => "drop",
        }
    }
}

impl Treatment {
    /// As [`FromStr`] reads it.
    pub fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Treatments have no such name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is none of keep, mask, hash, drop")]
pub struct NoTreatment;

impl FromStr for Treatment {
    type Err = NoTreatment;

    fn from_str(text: &str) -> Result<Self, NoTreatment> {
        [Self::Keep, Self::Mask, Self::Hash, Self::Drop]
            .into_iter()
            .find(|known| known.name() == text)
            .ok_or(NoTreatment)
    }
}

/// Treatment of each kind of personal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Treatments {
    /// Users of URIs and of HTTP.
    pub users: Treatment,
    /// Telephone numbers.
    pub numbers: Treatment,
    /// IP addresses.
    pub addresses: Treatment,
}

impl Treatments {
    /// For what stays on this host.
    pub const KEPT: Self = Self::all(Treatment::Keep);
    /// For what leaves it.
    pub const SENT: Self =
        Self { users: Treatment::Hash, numbers: Treatment::Hash, addresses: Treatment::Mask };

    /// The same for all.
    pub const fn all(treatment: Treatment) -> Self {
        Self { users: treatment, numbers: treatment, addresses: treatment }
    }

    fn of(self, kind: Kind) -> Treatment {
        match kind {
            Kind::User => self.users,
            Kind::Number => self.numbers,
            Kind::Address => self.addresses,
        }
    }
}

/// What an output makes of what is personal.
#[derive(Clone, Debug)]
pub struct Policy {
    treatments: Treatments,
    key: Arc<HashKey>,
}

impl Policy {
    /// With the key of its hashes.
    pub fn new(treatments: Treatments, key: Arc<HashKey>) -> Self {
        Self { treatments, key }
    }

    /// What it does.
    pub fn treatments(&self) -> Treatments {
        self.treatments
    }

    /// Whether it leaves everything as it is.
    pub fn keeps_all(&self) -> bool {
        self.treatments == Treatments::KEPT
    }

    /// A text of somebody else's, such as a line of another program: what looks personal in it is treated.
    pub fn text(&self, text: &str) -> String {
        self.shown(Personal::text(text), text)
    }

    /// A SIP, SIPS or tel URI.
    pub fn uri(&self, uri: &str) -> String {
        self.shown(Personal::uri(uri), uri)
    }

    fn shown(&self, personal: Personal<'_>, text: &str) -> String {
        if self.keeps_all() {
            return text.to_owned();
        }
        let mut shown = Vec::with_capacity(text.len());
        personal.pieces(&mut |kind, piece| match kind {
            Some(kind) => self.put(kind, piece.as_bytes(), &mut shown),
            None => shown.extend_from_slice(piece.as_bytes()),
        });
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Puts what becomes of a piece.
    pub(super) fn put(&self, kind: Kind, piece: &[u8], to: &mut Vec<u8>) {
        match self.treatments.of(kind) {
            Treatment::Keep => to.extend_from_slice(piece),
            Treatment::Mask => mask(kind, piece, to),
            Treatment::Hash => self.key.put(kind, piece, to),
            Treatment::Drop => {}
        }
    }
}

/// The key of hashes: who does not have it cannot try all numbers there are.
#[derive(Clone)]
pub struct HashKey {
    /// SHA-256 that has taken the key, inside and outside (RFC 2104).
    inner: Sha256,
    outer: Sha256,
}

/// Never shown.
impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(key)")
    }
}

impl HashKey {
    /// From bytes that nobody can guess.
    pub fn new(key: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        let short: [u8; 32];
        let key = if key.len() > BLOCK {
            short = Sha256::digest(key).into();
            short.as_slice()
        } else {
            key
        };
        block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        let padded = |pad: u8| Sha256::new().chain_update(block.map(|byte| byte ^ pad));
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    /// HMAC-SHA-256.
    fn hash(&self, parts: [&[u8]; 2]) -> [u8; 32] {
        let inner = parts.into_iter().fold(self.inner.clone(), Digest::chain_update).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }

    /// `h-` and 16 hexadecimal digits.
    fn put(&self, kind: Kind, piece: &[u8], to: &mut Vec<u8>) {
        let domain: &[u8] = match kind {
            // A number is the same one whatever field it stands in.
            Kind::User | Kind::Number => b"user:",
            Kind::Address => b"address:",
        };
        to.extend_from_slice(b"h-");
        for byte in self.hash([domain, piece]).iter().take(8) {
            to.extend([byte >> 4, byte & 15].map(hex));
        }
    }
}

fn hex(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}

/// So much stays as tells a region or a network, and never all of it. The rest has always the same length.
fn mask(kind: Kind, piece: &[u8], to: &mut Vec<u8>) {
    let text = std::str::from_utf8(piece).unwrap_or_default();
    match kind {
        Kind::User => {
            to.extend(text.chars().next().filter(char::is_ascii_alphanumeric).map(|first| first as u8));
        }
        Kind::Number if text.len() > 8 => to.extend_from_slice(piece.get(..4).unwrap_or_default()),
        Kind::Number => {}
        Kind::Address => {
            let kept = match text.parse() {
                Ok(IpAddr::V4(ip)) => {
                    let [a, b, c, _] = ip.octets();
                    format!("{a}.{b}.{c}.x")
                }
                Ok(IpAddr::V6(ip)) => {
                    let [a, b, c, ..] = ip.segments();
                    format!("{a:x}:{b:x}:{c:x}::x")
                }
                Err(_) => "x".into(),
            };
            return to.extend_from_slice(kept.as_bytes());
        }
    }
    to.extend_from_slice(b"***");
}

/// `sip:USER@HOST:PORT`, `tel:NUMBER`; what has another shape may be anything and counts as a user.
fn pieces_of_uri(uri: &str, piece: &mut dyn FnMut(Option<Kind>, &str)) {
    let Some((scheme, rest)) = uri
        .split_once(':')
        .filter(|(scheme, _)| SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)))
    else {
        return piece(Some(Kind::of_user(uri)), uri);
    };
    piece(None, scheme);
    piece(None, ":");
    if scheme.eq_ignore_ascii_case("tel") {
        return piece(Some(Kind::Number), rest.split([';', '?']).next().unwrap_or_default());
    }
    // A user may contain ';' and '?' (RFC 3261 25.1), so the host is looked for first. What follows the last '@' before
    // a header could only be one itself.
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, rest),
    };
    if let Some(user) = user {
        piece(Some(Kind::of_user(user)), user);
        piece(None, "@");
    }
    pieces_of_host(host.split([';', '?', '>']).next().unwrap_or_default(), piece);
}

/// A domain is kept, an address is one.
fn pieces_of_host(host: &str, piece: &mut dyn FnMut(Option<Kind>, &str)) {
    let (open, inside, rest) = match host.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        Some((inside, rest)) => ("[", inside, rest),
        None => match host.split_once(':') {
            Some((name, _)) => ("", name, host.get(name.len()..).unwrap_or_default()),
            None => ("", host, ""),
        },
    };
    piece(None, open);
    let is_domain = inside.parse::<IpAddr>().is_err()
        && inside.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if is_domain && open.is_empty() {
        pieces_of_text(inside, false, piece);
    } else {
        piece(Some(Kind::Address), inside);
    }
    if !open.is_empty() {
        piece(None, "]");
    }
    // A port, or what nobody knows.
    let is_port = rest.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    if is_port {
        piece(None, rest);
    }
}

/// Addresses; and users before an '@' and numbers, where `all` is looked for.
fn pieces_of_text(text: &str, all: bool, piece: &mut dyn FnMut(Option<Kind>, &str)) {
    // Nearly all that is looked through for addresses alone has none: seen at a glance.
    if !all && !may_have_address(text) {
        return piece(None, text);
    }
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        if word == 0 {
            let gap = rest.find(is_of_word).unwrap_or(rest.len());
            let (plain, behind) = rest.split_at(gap);
            piece(None, plain);
            rest = behind;
            continue;
        }
        let (found, behind) = rest.split_at(word);
        pieces_of_word(found, all, piece);
        rest = behind;
    }
}

/// A digit on both sides of a dot, or two colons.
fn may_have_address(text: &str) -> bool {
    let dotted = |three: &[u8]| matches!(three, [b'0'..=b'9', b'.', b'0'..=b'9']);
    text.as_bytes().windows(3).any(dotted) || text.bytes().filter(|byte| *byte == b':').count() > 1
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | ':' | '+' | '@' | '_' | '-' | '~' | '%' | '!' | '*' | '\'')
}

fn pieces_of_word(word: &str, all: bool, piece: &mut dyn FnMut(Option<Kind>, &str)) {
    if let Some((before, host)) = word.rsplit_once('@') {
        if all {
            let (scheme, user) = match before.split_once(':') {
                Some((scheme, user)) if SCHEMES.contains(&scheme) => {
                    (before.get(..=scheme.len()).unwrap_or_default(), user)
                }
                _ => ("", before),
            };
            piece(None, scheme);
            piece(Some(Kind::of_user(user)), user);
        } else {
            pieces_of_word(before, all, piece);
        }
        piece(None, "@");
        return pieces_of_word(host, all, piece);
    }
    // Behind a name with '=' or in a list it stands alone; a full stop or a colon may follow it.
    let bare = word.trim_end_matches(['.', ':']);
    let tail = word.get(bare.len()..).unwrap_or_default();
    if bare.matches(':').count() > 1 && bare.parse::<IpAddr>().is_ok() {
        piece(Some(Kind::Address), bare);
        return piece(None, tail);
    }
    let number = bare.strip_prefix("tel:").unwrap_or(bare);
    let digits = number.strip_prefix('+').unwrap_or(number);
    if all && digits.len() >= SHORTEST_NUMBER && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        piece(None, bare.get(..bare.len() - number.len()).unwrap_or_default());
        piece(Some(Kind::Number), number);
        return piece(None, tail);
    }
    pieces_with_ipv4(word, piece);
}

/// Each run of digits and dots that is an address.
fn pieces_with_ipv4(word: &str, piece: &mut dyn FnMut(Option<Kind>, &str)) {
    let mut rest = word;
    let is_of_address = |c: char| c.is_ascii_digit() || c == '.';
    while let Some(at) = rest.find(is_of_address) {
        let (plain, run) = rest.split_at(at);
        piece(None, plain);
        let end = run.find(|c| !is_of_address(c)).unwrap_or(run.len());
        let (run, behind) = run.split_at(end);
        let bare = run.trim_matches('.');
        if bare.parse::<std::net::Ipv4Addr>().is_ok() {
            let (before, rest) = run.split_at(run.len() - run.trim_start_matches('.').len());
            piece(None, before);
            piece(Some(Kind::Address), bare);
            piece(None, rest.get(bare.len()..).unwrap_or_default());
        } else {
            piece(None, run);
        }
        rest = behind;
    }
    piece(None, rest);
}

const SCHEMES: [&str; 3] = ["sip", "sips", "tel"];
/// In free text, fewer digits are a port, a status or a count.
const SHORTEST_NUMBER: usize = 7;
/// Of SHA-256, bytes.
const BLOCK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(personal: Personal<'_>, treatment: Treatment) -> String {
        let policy = Policy::new(Treatments::all(treatment), Arc::new(HashKey::new(b"key")));
        let mut to = Vec::new();
        personal.pieces(&mut |kind, text| match kind {
            Some(kind) => policy.put(kind, text.as_bytes(), &mut to),
            None => to.extend_from_slice(text.as_bytes()),
        });
        String::from_utf8(to).unwrap()
    }

    #[test]
    fn what_is_kept_is_as_it_was() {
        for uri in [
            "sip:alice@example.com",
            "sips:+4930123456@[2001:db8::1]:5061",
            "tel:+4930123456",
            "sip:192.0.2.1",
        ] {
            assert_eq!(shown(Personal::uri(uri), Treatment::Keep), uri);
        }
        for text in ["", "a84b4c76@192.0.2.1", "peer 10.0.0.1:9060: refused.", "v=[::1] \u{e9}"] {
            assert_eq!(shown(Personal::text(text), Treatment::Keep), text);
            assert_eq!(shown(Personal::call_id(text), Treatment::Keep), text);
        }
    }

    #[test]
    fn users_numbers_and_addresses_are_masked() {
        let masked = |uri| shown(Personal::uri(uri), Treatment::Mask);
        assert_eq!(masked("sip:alice@example.com;tag=x?Subject=y"), "sip:a***@example.com");
        assert_eq!(masked("sip:+4930123456@192.0.2.17:5060"), "sip:+493***@192.0.2.x:5060");
        assert_eq!(masked("sips:x@[2001:db8:1:2::9]"), "sips:x***@[2001:db8:1::x]");
        assert_eq!(masked("tel:110"), "tel:***");
        assert_eq!(masked("sip:alice:secret@h@example.com"), "sip:a***@example.com");
        assert_eq!(masked("http://alice"), "h***", "what is unknown is hidden whole");
        let endpoint = Endpoint { ip: [192, 0, 2, 17].into(), port: 9 };
        assert_eq!(shown(Personal::endpoint(endpoint), Treatment::Mask), "192.0.2.x:9");
    }

    #[test]
    fn addresses_in_text_and_call_ids_are_found() {
        let dropped = |text| shown(Personal::text(text), Treatment::Drop);
        assert_eq!(dropped("to 192.0.2.1:5060, [2001:db8::1]:5061."), "to :5060, []:5061.");
        assert_eq!(dropped("call sip:bob@h.example and +4930123456"), "call sip:@h.example and ");
        assert_eq!(dropped("version 1.2.3, 4 of 1000.5"), "version 1.2.3, 4 of 1000.5");
        let call_id = |text| shown(Personal::call_id(text), Treatment::Drop);
        assert_eq!(call_id("a84b4c76@192.0.2.1"), "a84b4c76@");
        assert_eq!(call_id("x-10.0.0.7-1@2001:db8::1"), "x--1@");
        assert_eq!(call_id("1234567890@host"), "1234567890@host");
    }

    #[test]
    fn a_hash_is_the_same_for_the_same_and_needs_the_key() {
        let hashed = |text| shown(Personal::uri(text), Treatment::Hash);
        assert_eq!(hashed("sip:bob@a"), hashed("sip:bob@a"));
        assert_ne!(hashed("sip:bob@a"), hashed("sip:bop@a"));
        let other = Policy::new(Treatments::all(Treatment::Hash), Arc::new(HashKey::new(b"other")));
        let mut to = Vec::new();
        other.put(Kind::User, b"bob", &mut to);
        assert_eq!(to.len(), 18);
        assert!(!hashed("sip:bob@a").contains(std::str::from_utf8(&to).unwrap()));
    }

    #[test]
    fn the_hash_is_that_of_rfc_4231() {
        let hash = HashKey::new(b"Jefe").hash([b"what do ya want ", b"for nothing?"]);
        assert_eq!(hash.first_chunk::<4>().unwrap(), &[0x5b, 0xdc, 0xc1, 0x46]);
        let long =
            HashKey::new(&[0xaa; 131]).hash([b"Test Using Larger Than Block-Size Key - Hash Key First", b""]);
        assert_eq!(long.first_chunk::<4>().unwrap(), &[0x60, 0xe4, 0x31, 0x59]);
    }

    #[test]
    fn it_cannot_be_read_back() {
        assert_eq!(format!("{:?}", Personal::user("bob")), "(personal)");
    }
}
