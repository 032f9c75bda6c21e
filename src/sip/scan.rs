//! The one-pass scanner: start line, header block, body limits (RFC 3261 7, 18.3, 20; MEAS 5.11).
//!
//! ```text
//! [junk] start line -> ( name ":" value [fold]* )* -> empty line -> body
//! ```
//!
//! A header is recognised by first letter and length of its name; those that no one asks for cost one line search.
//! Nothing is copied. A header line whose line end was not captured is not used at all: a Call-ID cut by the
//! snap length must never become a key.

#![allow(clippy::inline_always, reason = "on the way of every message; measured in docs/performance.md")]

use super::find::{self, ONES};
use super::header::{
    self, List, Params, decimal, is_blank, is_lws, is_token, is_trimmed, number, split_where, trim,
    trim_start,
};
use super::{Address, Defect, Defects, Message, Method, StartLine};

/// Reads one message. `None` only when there is no SIP start line within the first bytes.
#[must_use]
pub fn scan(bytes: &[u8]) -> Option<Message<'_>> {
    find_start(bytes).map(Start::message)
}

/// The start line of what begins with one, line ends and spaces before it aside. Cheap enough for every
/// datagram on every port, and strict enough for that: the whole first line must have the form of a request
/// or status line of SIP.
#[inline]
#[must_use]
pub fn start(bytes: &[u8]) -> Option<Start<'_>> {
    start_line(trim_start(bytes))
}

/// Whether `bytes` begin with a SIP start line.
#[inline]
#[must_use]
pub fn looks_like(bytes: &[u8]) -> bool {
    start(bytes).is_some()
}

/// A message of which only the start line has been read.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    line: StartLine<'a>,
    /// What follows the start line.
    rest: &'a [u8],
    /// The byte that ends its lines.
    eol: u8,
    defects: Defects,
}

impl<'a> Start<'a> {
    /// Reads the rest of the message.
    #[must_use]
    pub fn message(self) -> Message<'a> {
        self.with_message(|message| *message)
    }

    /// Reads the rest of the message and hands it over where it stands: it is too large to be moved about.
    #[inline]
    pub fn with_message<R>(self, take: impl FnOnce(&Message<'a>) -> R) -> R {
        let mut message = empty(self.line, self.rest, self.defects);
        read(self.rest, self.eol, &mut message);
        take(&message)
    }
}

/// Reads header block and body.
fn read<'a>(all: &'a [u8], eol: u8, message: &mut Message<'a>) {
    let mut lines = Lines { rest: all, eol };
    let mut scanner = Scanner { message, seen: 0, contact_without_expires: false };
    let end = loop {
        let rest = lines.rest;
        match lines.next() {
            Ok(line) => {
                if !scanner.line(line, rest) {
                    break End::Blank;
                }
            }
            Err(end) => break end,
        }
    };
    scanner.message.headers = &all[..all.len() - lines.rest.len()];
    if end == End::Blank {
        scanner.message.body = lines.rest;
    } else {
        scanner.message.defects.insert(Defect::Truncated);
    }
    scanner.finish();
}

/// Logical lines: folds stay in the line they continue (RFC 3261 7.3.1).
#[derive(Clone, Debug)]
pub(super) struct Lines<'a> {
    pub(super) rest: &'a [u8],
    pub(super) eol: u8,
}

/// Why there is no further line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The empty line; `rest` is the body.
    Blank,
    /// The last line has no line end; it stays in `rest`.
    Cut,
}

impl<'a> Lines<'a> {
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<&'a [u8], End> {
        let rest = self.rest;
        // What begins with a letter is no empty line.
        if rest.first().is_some_and(|&first| first <= b'\r')
            && let Some(body) = self.behind_empty()
        {
            self.rest = body;
            return Err(End::Blank);
        }
        // Said twice, so that it is a constant where it nearly always is the same.
        let first = if self.eol == b'\n' { find::first(b'\n', rest) } else { find::first(self.eol, rest) };
        let mut len = first.ok_or(End::Cut)? + 1;
        while rest.get(len).is_some_and(|&next| is_blank(next)) {
            len += find::first(self.eol, &rest[len..]).ok_or(End::Cut)? + 1;
        }
        let (line, rest) = rest.split_at(len);
        self.rest = rest;
        Ok(line)
    }

    /// What follows the empty line that comes next.
    fn behind_empty(&self) -> Option<&'a [u8]> {
        match self.rest {
            [b'\r', b'\n', body @ ..] => Some(body),
            [first, body @ ..] if *first == self.eol => Some(body),
            _ => None,
        }
    }
}

/// Name and value of a header line, both trimmed; `None` without colon or name.
#[inline]
pub(super) fn split_header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = find::first(b':', line)?;
    let name = trim(&line[..colon]);
    (!name.is_empty()).then(|| (name, trim(&line[colon + 1..])))
}

/// Position of the colon of a header line, and which header it is, if one of those wanted here. Nearly every name is
/// shorter than 16 bytes: they are looked at together, without a loop to mispredict. `text` is the line and all that
/// follows it, for the line itself may be shorter than that.
#[inline(always)]
fn split_name(line: &[u8], text: &[u8]) -> Option<(usize, Option<Field>)> {
    if let Some(block) = text.first_chunk()
        && let Some((colon, field)) = Field::usual(block)
        && colon < line.len()
    {
        return Some((colon, Some(field)));
    }
    if let Some(block) = text.first_chunk()
        && let Some(colon) = find::in_block(b':', block)
        && let Some((low_mask, high_mask)) = BEFORE.get(colon)
        && colon > 0
        && colon < line.len()
        // A short line that begins with white space is for the other way, which takes that off.
        && (line.len() >= block.len() || !is_lws(block[0]))
        && !is_lws(block[colon - 1])
    {
        let name = u128::from_le_bytes(*block);
        let (low, high) = (name as u64 | FOLD, (name >> 64) as u64 | FOLD);
        return Some((colon, Field::of(low & low_mask, high & high_mask)));
    }
    split_any_name(line)
}

#[cold]
fn split_any_name(line: &[u8]) -> Option<(usize, Option<Field>)> {
    let colon = find::first(b':', line)?;
    let name = trim(&line[..colon]);
    (!name.is_empty()).then(|| (colon, Field::named(name)))
}

/// The first n of sixteen bytes, as two masks.
const BEFORE: [(u64, u64); 16] = {
    let mut masks = [(0, 0); 16];
    let mut n = 0;
    while n < masks.len() {
        let mask = (1_u128 << (8 * n)) - 1;
        masks[n] = (mask as u64, (mask >> 64) as u64);
        n += 1;
    }
    masks
};

/// The headers that fill a field of [`Message`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    CallId,
    CSeq,
    From,
    To,
    Via,
    Contact,
    Expires,
    SessionExpires,
    RSeq,
    Challenge,
    Credentials,
    ReferTo,
    ReferredBy,
    Replaces,
    SessionId,
    ChargingVector,
    Event,
    Traceparent,
    Tracestate,
    UserAgent,
    ContentType,
    ContentLength,
}

impl Field {
    /// Those that nearly every message has, with the colon right behind the name; and where that is.
    #[inline(always)]
    fn usual(text: &find::Block) -> Option<(usize, Self)> {
        let text_is = |name: &name::Usual, field| name.begins(text).then_some((name.colon, field));
        match text[0] | 0x20 {
            b'v' => text_is(&name::VIA_COLON, Self::Via),
            b'f' => text_is(&name::FROM_COLON, Self::From),
            b't' => text_is(&name::TO_COLON, Self::To),
            b'c' => text_is(&name::CALL_ID_COLON, Self::CallId)
                .or_else(|| text_is(&name::CSEQ_COLON, Self::CSeq))
                .or_else(|| text_is(&name::CONTACT_COLON, Self::Contact))
                .or_else(|| text_is(&name::CONTENT_LENGTH_COLON, Self::ContentLength)),
            _ => None,
        }
    }

    /// By the folded name: its first eight bytes, and those behind them.
    #[inline(always)]
    fn of(low: u64, high: u64) -> Option<Self> {
        if high == 0 { Self::short(low) } else { Self::long(u128::from(low) | u128::from(high) << 64) }
    }

    #[inline]
    fn short(name: u64) -> Option<Self> {
        Some(match name {
            name::V | name::VIA => Self::Via,
            name::F | name::FROM => Self::From,
            name::T | name::TO => Self::To,
            name::I | name::CALL_ID => Self::CallId,
            name::CSEQ => Self::CSeq,
            name::M | name::CONTACT => Self::Contact,
            name::C => Self::ContentType,
            name::L => Self::ContentLength,
            name::EXPIRES => Self::Expires,
            name::X => Self::SessionExpires,
            name::RSEQ => Self::RSeq,
            name::R | name::REFER_TO => Self::ReferTo,
            name::B => Self::ReferredBy,
            name::REPLACES => Self::Replaces,
            name::O | name::EVENT => Self::Event,
            name::SERVER => Self::UserAgent,
            _ => return None,
        })
    }

    #[inline]
    fn long(name: u128) -> Option<Self> {
        Some(match name {
            name::CONTENT_TYPE => Self::ContentType,
            name::CONTENT_LENGTH => Self::ContentLength,
            name::SESSION_EXPIRES => Self::SessionExpires,
            name::WWW_AUTHENTICATE => Self::Challenge,
            name::AUTHORIZATION => Self::Credentials,
            name::REFERRED_BY => Self::ReferredBy,
            name::SESSION_ID => Self::SessionId,
            name::TRACEPARENT | name::X_TRACEPARENT => Self::Traceparent,
            name::TRACESTATE => Self::Tracestate,
            name::USER_AGENT => Self::UserAgent,
            _ => return None,
        })
    }

    /// By the name as written, of any length.
    #[cold]
    fn named(name: &[u8]) -> Option<Self> {
        const LONG: [(&[u8], Field); 3] = [
            (b"proxy-authenticate", Field::Challenge),
            (b"proxy-authorization", Field::Credentials),
            (b"p-charging-vector", Field::ChargingVector),
        ];
        if name.len() <= 16 {
            let name = folded(name);
            return Self::of(name as u64, (name >> 64) as u64);
        }
        LONG.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, field)| field)
    }

    /// Headers of which a message may carry several.
    fn repeats(self) -> bool {
        matches!(self, Self::Via | Self::Contact | Self::Challenge | Self::Credentials | Self::UserAgent)
    }
}

/// A name of up to 16 bytes as one number, letters in lower case: names are compared in one step. (0x20 also makes
/// a hyphen of a CR, which no header name contains.)
const fn folded(name: &[u8]) -> u128 {
    let mut padded = [0; 16];
    let mut at = 0;
    while at < name.len() && at < padded.len() {
        padded[at] = name[at] | 0x20;
        at += 1;
    }
    u128::from_le_bytes(padded)
}

/// Folded header names, the compact forms (RFC 3261 7.3.3) by their letter.
mod name {
    use super::folded;

    const fn short(name: &[u8]) -> u64 {
        folded(name) as u64
    }

    pub(super) const V: u64 = short(b"v");
    pub(super) const VIA: u64 = short(b"via");
    pub(super) const F: u64 = short(b"f");
    pub(super) const FROM: u64 = short(b"from");
    pub(super) const T: u64 = short(b"t");
    pub(super) const TO: u64 = short(b"to");
    pub(super) const I: u64 = short(b"i");
    pub(super) const CALL_ID: u64 = short(b"call-id");
    pub(super) const CSEQ: u64 = short(b"cseq");
    pub(super) const M: u64 = short(b"m");
    pub(super) const CONTACT: u64 = short(b"contact");
    pub(super) const C: u64 = short(b"c");
    pub(super) const L: u64 = short(b"l");
    pub(super) const EXPIRES: u64 = short(b"expires");
    pub(super) const X: u64 = short(b"x");
    pub(super) const RSEQ: u64 = short(b"rseq");
    pub(super) const R: u64 = short(b"r");
    pub(super) const REFER_TO: u64 = short(b"refer-to");
    pub(super) const B: u64 = short(b"b");
    pub(super) const REPLACES: u64 = short(b"replaces");
    pub(super) const O: u64 = short(b"o");
    pub(super) const EVENT: u64 = short(b"event");
    pub(super) const SERVER: u64 = short(b"server");

    pub(super) const CONTENT_TYPE: u128 = folded(b"content-type");
    pub(super) const CONTENT_LENGTH: u128 = folded(b"content-length");
    pub(super) const SESSION_EXPIRES: u128 = folded(b"session-expires");
    pub(super) const WWW_AUTHENTICATE: u128 = folded(b"www-authenticate");
    pub(super) const AUTHORIZATION: u128 = folded(b"authorization");
    pub(super) const REFERRED_BY: u128 = folded(b"referred-by");
    pub(super) const SESSION_ID: u128 = folded(b"session-id");
    pub(super) const TRACEPARENT: u128 = folded(b"traceparent");
    pub(super) const X_TRACEPARENT: u128 = folded(b"x-traceparent");
    pub(super) const TRACESTATE: u128 = folded(b"tracestate");
    pub(super) const USER_AGENT: u128 = folded(b"user-agent");

    pub(super) const VIA_COLON: Usual = Usual::new(b"via:");
    pub(super) const FROM_COLON: Usual = Usual::new(b"from:");
    pub(super) const TO_COLON: Usual = Usual::new(b"to:");
    pub(super) const CALL_ID_COLON: Usual = Usual::new(b"call-id:");
    pub(super) const CSEQ_COLON: Usual = Usual::new(b"cseq:");
    pub(super) const CONTACT_COLON: Usual = Usual::new(b"contact:");
    pub(super) const CONTENT_LENGTH_COLON: Usual = Usual::new(b"content-length:");

    /// A name and its colon as text begins with it, in two words of eight bytes.
    pub(super) struct Usual {
        pub(super) colon: usize,
        low: Word,
        high: Word,
    }

    /// What eight bytes are once `fold` is set and no more than `mask` left.
    struct Word {
        fold: u64,
        mask: u64,
        is: u64,
    }

    impl Usual {
        const fn new(name: &[u8]) -> Self {
            let colon = name.len() - 1;
            let (is, mask, fold) = (folded(name), u128::MAX >> (128 - 8 * name.len()), folded(&[0; 16]));
            // A colon has no other case.
            let fold = fold & (mask >> 8);
            Self {
                colon,
                low: Word { fold: fold as u64, mask: mask as u64, is: is as u64 },
                high: Word { fold: (fold >> 64) as u64, mask: (mask >> 64) as u64, is: (is >> 64) as u64 },
            }
        }

        #[inline(always)]
        pub(super) fn begins(&self, text: &[u8; 16]) -> bool {
            let text = u128::from_le_bytes(*text);
            self.low.is(text as u64) && (self.high.mask == 0 || self.high.is((text >> 64) as u64))
        }
    }

    impl Word {
        #[inline(always)]
        fn is(&self, text: u64) -> bool {
            (text | self.fold) & self.mask == self.is
        }
    }
}

/// Makes letters lower case.
const FOLD: u64 = ONES * 0x20;

struct Scanner<'m, 'a> {
    message: &'m mut Message<'a>,
    /// Bit set of the [`Field`]s seen.
    seen: u32,
    contact_without_expires: bool,
}

impl<'a> Scanner<'_, 'a> {
    /// Takes one header line, with which `text` begins; false when it is an empty line with stray CRs, which ends
    /// the block too.
    #[inline(always)]
    fn line(&mut self, line: &'a [u8], text: &'a [u8]) -> bool {
        let Some((colon, field)) = split_name(line, text) else {
            if line.first() == Some(&b'\r') && trim(line).is_empty() {
                return false;
            }
            self.message.defects.insert(Defect::HeaderLine);
            return true;
        };
        let Some(field) = field else { return true };
        let bit = 1 << field as u32;
        if self.seen & bit != 0 && !field.repeats() {
            self.message.defects.insert(Defect::Duplicate);
            return true;
        }
        self.seen |= bit;
        let value = &line[colon + 1..];
        // How nearly all lines begin and end.
        let value = match value {
            [b' ', value @ .., b'\r', b'\n'] if is_trimmed(value) => value,
            value => trim(value),
        };
        self.field(field, value);
        true
    }

    #[inline(always)]
    fn field(&mut self, field: Field, value: &'a [u8]) {
        let message = &mut *self.message;
        match field {
            Field::CallId => message.call_id = value,
            Field::CSeq => {
                message.cseq = header::cseq(value);
                if message.cseq.is_none() {
                    message.defects.insert(Defect::Cseq);
                }
            }
            Field::From | Field::To => {
                let party = party(value, &mut message.defects);
                *(if field == Field::From { &mut message.from } else { &mut message.to }) = party;
            }
            Field::Via => self.via(value),
            Field::Contact => self.contact(value),
            Field::Expires => message.expires = checked_number(value, &mut message.defects),
            Field::SessionExpires => message.session_expires = checked_number(value, &mut message.defects),
            Field::RSeq => message.rseq = checked_number(value, &mut message.defects),
            Field::Challenge => {
                message.stale |= is_stale(value);
            }
            Field::Credentials => message.authorized = true,
            Field::ReferTo => message.refer_to = uri(value, &mut message.defects),
            Field::ReferredBy => message.referred_by = uri(value, &mut message.defects),
            Field::Replaces => message.replaces = value,
            Field::SessionId => message.session_id = value,
            Field::ChargingVector => {
                message.icid = Params::new(value, b';').find(b"icid-value").unwrap_or_default();
            }
            Field::Event => message.event = trim(split_where(value, |b| b == b';').0),
            Field::Traceparent => message.traceparent = value,
            Field::Tracestate => message.tracestate = value,
            Field::UserAgent => {
                if message.user_agent.is_empty() {
                    message.user_agent = value;
                }
            }
            Field::ContentType => message.content_type = value,
            Field::ContentLength => {
                message.content_length = number(value);
                if message.content_length.is_none() {
                    message.defects.insert(Defect::ContentLength);
                }
            }
        }
    }

    #[inline]
    fn via(&mut self, value: &'a [u8]) {
        for element in List::new(value) {
            if element.is_empty() {
                self.message.defects.insert(Defect::Via);
                continue;
            }
            if self.message.via_count == 0 {
                self.message.via = header::via(element);
                if self.message.via.is_none_or(|via| via.transport.is_empty() || via.sent_by.is_empty()) {
                    self.message.defects.insert(Defect::Via);
                }
            }
            self.message.via_count = self.message.via_count.saturating_add(1);
        }
    }

    #[inline]
    fn contact(&mut self, value: &'a [u8]) {
        if value == b"*" {
            self.message.contact_star = true;
            return;
        }
        for element in List::new(value) {
            if element.is_empty() {
                continue;
            }
            let defects = &mut self.message.defects;
            let (address, params) = address(element, defects);
            let expires = Params::new(params, b';').find(b"expires");
            let expires = expires.and_then(|text| checked_number(text, defects));
            if self.message.contact.uri.is_empty() {
                self.message.contact = address;
                self.message.contact_expires = expires;
            }
            self.contact_without_expires |= expires.is_none();
            self.message.contact_expires_max = self.message.contact_expires_max.max(expires);
        }
    }

    #[inline]
    fn finish(self) {
        let message = self.message;
        let defects = &mut message.defects;
        let seen = |field| self.seen & 1 << field as u32 != 0;
        for (there, defect) in [
            (!message.call_id.is_empty(), Defect::MissingCallId),
            (seen(Field::CSeq), Defect::MissingCseq),
            (seen(Field::From), Defect::MissingFrom),
            (seen(Field::To), Defect::MissingTo),
            (message.via_count > 0, Defect::MissingVia),
        ] {
            if !there {
                defects.insert(defect);
            }
        }
        if let (StartLine::Request { method, .. }, Some(cseq)) = (message.start, message.cseq)
            && method != cseq.method
        {
            defects.insert(Defect::CseqMethod);
        }
        if let Some(length) = message.content_length {
            match message.body.split_at_checked(length as usize) {
                Some((body, surplus)) => {
                    message.body = body;
                    // Keep-alive line ends behind a message are no part of anything.
                    if !trim_start(surplus).is_empty() {
                        defects.insert(Defect::Surplus);
                    }
                }
                None => defects.insert(Defect::ShortBody),
            }
        }
        if self.contact_without_expires {
            message.contact_expires_max = None;
        }
    }
}

#[inline(always)]
fn address<'a>(value: &'a [u8], defects: &mut Defects) -> (Address<'a>, &'a [u8]) {
    let (address, params, sound) = header::address(value);
    if !sound {
        defects.insert(Defect::Address);
    }
    (address, params)
}

/// Whether a challenge says `stale=true`, as few do.
fn is_stale(challenge: &[u8]) -> bool {
    let mut rest = challenge;
    let may_be = loop {
        let Some(at) = find::first_of(b's', b'S', rest) else { break false };
        rest = &rest[at..];
        if rest.get(..STALE.len()).is_some_and(|word| word.eq_ignore_ascii_case(STALE)) {
            break true;
        }
        rest = &rest[1..];
    };
    let (_scheme, params) = split_where(challenge, is_lws);
    may_be && Params::new(params, b',').find(STALE).is_some_and(|stale| stale.eq_ignore_ascii_case(b"true"))
}

const STALE: &[u8] = b"stale";

/// The URI of a header that few messages have.
#[cold]
fn uri<'a>(value: &'a [u8], defects: &mut Defects) -> &'a [u8] {
    address(value, defects).0.uri
}

/// From or To, with its tag.
#[inline(always)]
fn party<'a>(value: &'a [u8], defects: &mut Defects) -> Address<'a> {
    let (address, params) = address(value, defects);
    Address { tag: header::tag(params), ..address }
}

fn checked_number(value: &[u8], defects: &mut Defects) -> Option<u32> {
    let number = number(value);
    if number.is_none() {
        defects.insert(Defect::Number);
    }
    number
}

fn empty<'a>(start: StartLine<'a>, headers: &'a [u8], defects: Defects) -> Message<'a> {
    Message {
        start,
        call_id: b"",
        cseq: None,
        from: Address::default(),
        to: Address::default(),
        via: None,
        via_count: 0,
        contact: Address::default(),
        contact_expires: None,
        contact_expires_max: None,
        contact_star: false,
        expires: None,
        session_expires: None,
        rseq: None,
        stale: false,
        authorized: false,
        refer_to: b"",
        referred_by: b"",
        replaces: b"",
        session_id: b"",
        icid: b"",
        event: b"",
        traceparent: b"",
        tracestate: b"",
        user_agent: b"",
        content_type: b"",
        content_length: None,
        body: b"",
        headers,
        defects,
    }
}

/// The start line, what follows it, the byte that ends its line. Behind junk it is looked for only where a
/// line begins or text follows binary bytes, never inside printable text.
fn find_start(bytes: &[u8]) -> Option<Start<'_>> {
    start_line(trim_start(bytes)).or_else(|| {
        let window = &bytes[..bytes.len().min(JUNK_MAX)];
        let begins = |&at: &usize| !matches!(window[at], b' '..=b'~');
        let mut start = (0..window.len())
            .filter(begins)
            .filter_map(|at| start_line(&bytes[at + 1..]))
            .find(has_scheme)?;
        start.defects.insert(Defect::LeadingJunk);
        Some(start)
    })
}

/// Whether it is a response, or a request to a URI with a scheme: a header line may end in `SIP/2.0` too.
fn has_scheme(start: &Start<'_>) -> bool {
    let StartLine::Request { uri, .. } = start.line else { return true };
    let (scheme, rest) = split_where(uri, |b| !is_token(b));
    !scheme.is_empty() && rest.first() == Some(&b':')
}

/// Reads a start line at the very beginning. One that was cut counts only when its form proves that method, URI
/// or status are complete.
fn start_line(bytes: &[u8]) -> Option<Start<'_>> {
    // How every response begins, and what may stand before the space of a request.
    let (token, after) = match bytes.first_chunk().and_then(|block| find::in_block(b' ', block)) {
        Some(STATUS_AT) if bytes.starts_with(b"SIP/2.0") => bytes.split_at(b"SIP".len()),
        Some(space) if !matches!(Method::of(&bytes[..space]), Method::Other(_)) => bytes.split_at(space),
        _ => split_where(&bytes[..bytes.len().min(METHOD_MAX + 1)], |b| !is_token(b)),
    };
    if token.is_empty() || !matches!(after.first(), Some(b' ' | b'\t' | b'/')) {
        return None;
    }
    let mut defects = Defects::default();
    let (line, rest, eol) = match find::first_of(b'\r', b'\n', &bytes[..bytes.len().min(START_LINE_MAX)]) {
        Some(at) => match bytes.split_at(at) {
            (line, [b'\r', b'\n', rest @ ..] | [b'\r', b'\r', b'\n', rest @ ..]) => (line, rest, b'\n'),
            // A packet that ends between CR and LF.
            (line, [b'\r']) => (line, &b""[..], b'\n'),
            (line, rest) => {
                defects.insert(Defect::LineEnd);
                (line, &rest[1..], rest[0])
            }
        },
        None if bytes.len() <= START_LINE_MAX => (bytes, &bytes[bytes.len()..], b'\n'),
        None => return None,
    };
    let line = if after.first() == Some(&b'/') {
        status_line(line, line.len() == bytes.len(), &mut defects)?
    } else {
        request_line(token, line, &mut defects)?
    };
    Some(Start { line, rest, eol, defects })
}

/// Where the space behind the version of a status line stands.
const STATUS_AT: usize = b"SIP/2.0".len();

/// `SIP/2.0 180 Ringing`
fn status_line<'a>(line: &'a [u8], cut: bool, defects: &mut Defects) -> Option<StartLine<'a>> {
    if let Some([a @ b'1'..=b'6', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', reason @ ..]) =
        line.strip_prefix(b"SIP/2.0 ")
    {
        let status = [a, b, c].iter().fold(0, |status, &digit| status * 10 + u16::from(digit - b'0'));
        return Some(StartLine::Response { status, reason: trim(reason) });
    }
    let rest = version(line, defects)?;
    let (space, rest) = split_where(rest, |b| !is_lws(b));
    let (digits, reason) = split_where(rest, |b| !b.is_ascii_digit());
    let ended = reason.first().map_or(!cut, |&b| is_lws(b));
    if space.is_empty() || digits.is_empty() || !ended {
        return None;
    }
    if space != b" " {
        defects.insert(Defect::StartLine);
    }
    let status = decimal(digits).and_then(|code| u16::try_from(code).ok()).unwrap_or(u16::MAX);
    if !(100..=699).contains(&status) {
        defects.insert(Defect::Status);
    }
    Some(StartLine::Response { status, reason: trim(reason) })
}

/// `INVITE sip:bob@example.com SIP/2.0`
fn request_line<'a>(method: &'a [u8], line: &'a [u8], defects: &mut Defects) -> Option<StartLine<'a>> {
    if let Some([b' ', uri @ ..]) = line.strip_suffix(b" SIP/2.0").and_then(|line| line.get(method.len()..))
        && uri.first().is_some_and(|&b| b != b'<')
        // There is no line end in a line.
        && find::first_of(b' ', b'\t', uri).is_none()
    {
        return Some(StartLine::Request { method: Method::of(method), uri });
    }
    let trimmed = trim(line);
    let last = trimmed.iter().rposition(|&b| is_lws(b))?;
    if !version(&trimmed[last + 1..], defects)?.is_empty() {
        return None;
    }
    let uri = trim(trimmed.get(method.len()..last)?);
    if uri.is_empty() {
        return None;
    }
    if line.len() != trimmed.len() || method.len() + uri.len() + 1 != last {
        defects.insert(Defect::StartLine);
    }
    let bare = if let [b'<', bare @ .., b'>'] = uri { trim(bare) } else { uri };
    if bare.len() != uri.len() || find::first_of(b' ', b'\t', bare).is_some() {
        defects.insert(Defect::RequestUri);
    }
    Some(StartLine::Request { method: Method::of(method), uri: bare })
}

/// Takes `SIP/2.0` off the front, in any case (RFC 3261 7.1); another version is kept and marked.
fn version<'a>(bytes: &'a [u8], defects: &mut Defects) -> Option<&'a [u8]> {
    let (name, rest) = bytes.split_at_checked(4)?;
    let [major, b'.', minor, rest @ ..] = rest else { return None };
    if !name.eq_ignore_ascii_case(b"SIP/") || !major.is_ascii_digit() || !minor.is_ascii_digit() {
        return None;
    }
    if (*major, *minor) != (b'2', b'0') {
        defects.insert(Defect::Version);
    }
    Some(rest)
}

/// Junk before the start line that is looked through, in bytes.
const JUNK_MAX: usize = 128;

/// Longest method, in bytes.
const METHOD_MAX: usize = 64;

/// Longest start line, in bytes.
const START_LINE_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{CSeq, Via};

    const INVITE: &str = "INVITE sip:bob@biloxi.example.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP pc33.atlanta.example.com:5066;branch=z9hG4bK776asdhds;received=192.0.2.1\r\n\
        Via: SIP/2.0/TCP p1.example.com;branch=z9hG4bK2, SIP/2.0/UDP p2.example.com;branch=z9hG4bK3\r\n\
        Max-Forwards: 70\r\n\
        To: Bob <sip:bob@biloxi.example.com>\r\n\
        From: \"Alice\" <sip:alice@atlanta.example.com>;tag=1928301774\r\n\
        Call-ID: a84b4c76e66710@pc33.atlanta.example.com\r\n\
        CSeq: 314159 INVITE\r\n\
        Contact: <sip:alice@pc33.atlanta.example.com>;expires=60\r\n\
        Session-Expires: 1800;refresher=uac\r\n\
        X-CID: 42\r\n\
        Content-Type: application/sdp\r\n\
        Content-Length: 4\r\n\
        \r\n\
        v=0\n";

    fn of(text: &str) -> Message<'_> {
        scan(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_plain_invite_is_read_whole() {
        let message = of(INVITE);
        assert!(message.defects.is_empty(), "{:?}", message.defects);
        assert_eq!(
            message.start,
            StartLine::Request { method: Method::Invite, uri: b"sip:bob@biloxi.example.com" }
        );
        assert_eq!(message.call_id, b"a84b4c76e66710@pc33.atlanta.example.com");
        assert_eq!(message.cseq, Some(CSeq { number: 314_159, method: Method::Invite }));
        assert_eq!(message.from.tag, b"1928301774");
        assert_eq!(message.from.display, b"Alice");
        assert_eq!((message.to.uri, message.to.tag), (&b"sip:bob@biloxi.example.com"[..], &b""[..]));
        let via = Via {
            transport: b"UDP",
            sent_by: b"pc33.atlanta.example.com:5066",
            branch: b"z9hG4bK776asdhds",
            received: b"192.0.2.1",
        };
        assert_eq!((message.via, message.via_count), (Some(via), 3));
        assert_eq!((message.contact_expires, message.session_expires), (Some(60), Some(1800)));
        assert_eq!((message.content_length, message.body), (Some(4), &b"v=0\n"[..]));
        assert_eq!(message.content_type, b"application/sdp");
        assert_eq!(message.header("x-cid").collect::<Vec<_>>(), [b"42"]);
        assert_eq!(message.header("v").count(), 2);
    }

    /// A one-header change of the plain INVITE must leave the rest as it was.
    #[test]
    fn mutations_change_one_thing_only() {
        let cases: [(&str, &str, &[Defect]); 16] = [
            ("Call-ID:", "i:", &[]),
            ("From:", "f:", &[]),
            ("To:", "t:", &[]),
            ("Via:", "v:", &[]),
            ("Content-Length:", "l:", &[]),
            ("Call-ID:", "Call-ID  \t:", &[]),
            ("Call-ID: ", "CALL-id:\r\n ", &[]),
            (";tag=1928301774", "\r\n ;tag\r\n\t=1928301774", &[]),
            ("\r\n", "\n", &[Defect::LineEnd]),
            ("\r\n", "\r", &[Defect::LineEnd]),
            ("INVITE sip:bob", "\r\n\r\nINVITE sip:bob", &[]),
            ("INVITE sip:bob", "junk\0INVITE sip:bob", &[Defect::LeadingJunk]),
            ("INVITE sip:bob", "HELLO WORLD\r\nINVITE sip:bob", &[Defect::LeadingJunk]),
            ("Max-Forwards: 70", "no colon here", &[Defect::HeaderLine]),
            ("X-CID: 42", "Call-ID: other", &[Defect::Duplicate]),
            ("Expires: 1800", "Expires: soon", &[Defect::Number]),
        ];
        let plain = of(INVITE);
        for (from, to, defects) in cases {
            let text = INVITE.replace(from, to);
            let message = of(&text);
            assert_eq!(message.defects, defects.iter().copied().collect(), "{to:?}");
            assert_eq!(message.start, plain.start, "{to:?}");
            assert_eq!(message.call_id, plain.call_id, "{to:?}");
            assert_eq!(message.cseq, plain.cseq, "{to:?}");
            assert_eq!((message.from.tag, message.to.uri), (plain.from.tag, plain.to.uri), "{to:?}");
            assert_eq!((message.via, message.via_count), (plain.via, plain.via_count), "{to:?}");
            assert_eq!(message.content_length, plain.content_length, "{to:?}");
            assert!(message.body.starts_with(b"v=0"), "{to:?}");
        }
    }

    #[test]
    fn a_latin_1_name_a_tel_uri_and_an_unknown_method_are_kept() {
        let bytes: Vec<u8> = INVITE
            .replace("INVITE", "GREET")
            .replace("sip:bob@biloxi.example.com SIP", "tel:+4930123 SIP")
            .replace("Alice", "J@rg")
            .bytes()
            .map(|b| if b == b'@' { 0xf6 } else { b })
            .collect();
        let message = scan(&bytes).unwrap();
        assert_eq!(
            message.start,
            StartLine::Request { method: Method::Other(b"GREET"), uri: b"tel:+4930123" }
        );
        assert_eq!(message.from.display, b"J\xf6rg");
        assert_eq!(message.from.tag, b"1928301774");
    }

    #[test]
    fn status_lines_with_and_without_reason_and_range() {
        let status =
            |line: &'static str| scan(line.as_bytes()).map(|m| (m.start, m.defects.contains(Defect::Status)));
        let response = |status, reason| StartLine::Response { status, reason };
        assert_eq!(status("SIP/2.0 180 Ringing\r\n"), Some((response(180, b"Ringing"), false)));
        assert_eq!(status("SIP/2.0 100 \r\n"), Some((response(100, b""), false)));
        assert_eq!(status("SIP/2.0 499\r\n"), Some((response(499, b""), false)));
        assert_eq!(status("sip/2.0 700 x\r\n"), Some((response(700, b"x"), true)));
        assert_eq!(status("SIP/2.0 4294967301 x\r\n"), Some((response(u16::MAX, b"x"), true)));
        assert_eq!(status("SIP/2.0 20"), None);
        assert_eq!(status("SIP/2.0 OK\r\n"), None);
    }

    #[test]
    fn body_is_limited_by_content_length() {
        let with = |length: &str| {
            let text = INVITE.replace("Content-Length: 4", &format!("Content-Length: {length}"));
            let message = scan(text.as_bytes()).unwrap();
            (message.body.len(), message.content_length, message.defects)
        };
        let set = |defect| [defect].into_iter().collect();
        assert_eq!(with("2"), (2, Some(2), set(Defect::Surplus)));
        assert_eq!(with("9"), (4, Some(9), set(Defect::ShortBody)));
        assert_eq!(with("-4"), (4, None, set(Defect::ContentLength)));
        assert_eq!(with("4294967296"), (4, None, set(Defect::ContentLength)));
        assert_eq!(with("four"), (4, None, set(Defect::ContentLength)));
    }

    #[test]
    fn rare_headers_fill_their_fields() {
        let message = of("SIP/2.0 401 Unauthorized\r\n\
            WWW-Authenticate: Digest realm=\"stale=false, x\", Stale=\"TRUE\", nonce=\"n\"\r\n\
            Proxy-Authorization: Digest username=\"a\"\r\n\
            P-Charging-Vector: icid-value=\"ab;c\";icid-generated-at=192.0.2.1\r\n\
            Refer-To: <sip:c@d?Replaces=1%3Bto-tag%3D2>\r\nb: sip:e@f;x=1\r\no: refer ;id=93\r\n\
            Replaces: 98@h;to-tag=1;from-tag=2\r\nRSeq: 988789\r\nSession-ID: ab;remote=cd\r\n\
            X-Traceparent: 00-1-2-3\r\ntracestate: k=v\r\nServer: srv/1\r\nUser-Agent: ua/1\r\nExpires: 0\r\n\
            Contact: <sip:a@b>;expires=0, <sip:c@d>;q=1;expires=600\r\nm: <sip:e@f>;expires=30\r\n\r\n");
        assert!(message.stale && message.authorized);
        assert_eq!(message.icid, b"ab;c");
        assert_eq!(message.refer_to, b"sip:c@d?Replaces=1%3Bto-tag%3D2");
        assert_eq!(message.referred_by, b"sip:e@f");
        assert_eq!(message.event, b"refer");
        assert_eq!(message.replaces, b"98@h;to-tag=1;from-tag=2");
        assert_eq!((message.rseq, message.expires), (Some(988_789), Some(0)));
        assert_eq!(message.session_id, b"ab;remote=cd");
        assert_eq!((message.traceparent, message.tracestate), (&b"00-1-2-3"[..], &b"k=v"[..]));
        assert_eq!(message.user_agent, b"srv/1");
        assert_eq!(message.contact.uri, b"sip:a@b");
        assert_eq!((message.contact_expires, message.contact_expires_max), (Some(0), Some(600)));
        let star = of("REGISTER sip:a SIP/2.0\r\nContact: *\r\nExpires: 0\r\n\r\n");
        assert!(star.contact_star && star.contact.uri.is_empty());
        let part = of("REGISTER sip:a SIP/2.0\r\nContact: <sip:a@b>;expires=0,<sip:c@d>\r\n\r\n");
        assert_eq!((part.contact_expires, part.contact_expires_max), (Some(0), None));
    }

    /// For every length n: each id of the first n bytes is that of the whole message, or empty.
    #[test]
    fn a_message_cut_anywhere_has_whole_ids_or_none() {
        for text in [INVITE.to_owned(), INVITE.replace(": ", ":\r\n "), INVITE.replace("\r\n", "\n")] {
            let whole = of(&text);
            for n in 0..text.len() {
                let Some(part) = scan(&text.as_bytes()[..n]) else { continue };
                assert_eq!(part.start, whole.start);
                for (got, full) in [
                    (part.call_id, whole.call_id),
                    (part.from.tag, whole.from.tag),
                    (part.from.uri, whole.from.uri),
                    (part.to.uri, whole.to.uri),
                    (part.contact.uri, whole.contact.uri),
                    (part.content_type, whole.content_type),
                ] {
                    assert!(got.is_empty() || got == full, "at {n}: {got:?}");
                }
                assert!(part.cseq.is_none() || part.cseq == whole.cseq, "at {n}");
                assert!(part.via.is_none() || part.via == whole.via, "at {n}");
                assert!(part.content_length.is_none() || part.content_length == whole.content_length);
                assert!(!part.defects.is_empty(), "at {n}");
            }
        }
    }

    #[test]
    fn other_protocols_do_not_look_like_sip() {
        for text in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n",
            "DESCRIBE rtsp://a/b RTSP/1.0\r\nCSeq: 2\r\n\r\n",
            "MSRP a786hjs2 SEND\r\nTo-Path: msrp://b\r\n",
            "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n",
            "220 mail SIP/2.0 ready\r\n",
            "<34>Oct 11 22:14:15 host app: SIP/2.0 200 OK\r\n",
            "SIP/2.0/UDP 192.0.2.1\r\n",
            "USER anonymous\r\n",
            "INVITE sip:alan@jasomi.com\r\nTO : x SIP/2.0\r\n",
            " SIP/2.0\r\n",
            "INVITE SIP/2.0\r\n",
            "",
            "\r\n\r\n",
            "\0\0\0\0",
        ] {
            assert!(start(text.as_bytes()).is_none(), "{text:?}");
            assert!(scan(text.as_bytes()).is_none(), "{text:?}");
        }
        assert!(start(INVITE.as_bytes()).is_some());
        assert!(start(b"\r\n\r\nSIP/2.0 200 OK\r\n").is_some());
        assert!(start(b"OPTIONS sip:a SIP/2.0").is_some());
        assert!(start(&[0x80, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4]).is_none());
    }
}
