//! SIP messages, borrowed from the bytes they arrived in (RFC 3261). Lenient: what can be read is kept, what
//! is wrong is named in [`Defects`].

pub mod body;
mod defect;
mod find;
mod header;
pub mod recording;
mod scan;
pub mod sdp;
pub mod typed;
pub mod uri;
pub mod vq;

pub use defect::{Defect, Defects};
pub use scan::{Start, looks_like, scan, start};

/// One SIP message. Every slice points into the input; an absent header is an empty slice or `None`.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Request or status line.
    pub start: StartLine<'a>,
    /// Call-ID; empty when absent or cut by the snap length.
    pub call_id: &'a [u8],
    /// CSeq number and method.
    pub cseq: Option<CSeq<'a>>,
    /// From.
    pub from: Address<'a>,
    /// To.
    pub to: Address<'a>,
    /// Topmost Via.
    pub via: Option<Via<'a>>,
    /// Number of Via values, also of several in one line.
    pub via_count: u16,
    /// First Contact.
    pub contact: Address<'a>,
    /// `expires` parameter of the first Contact, seconds.
    pub contact_expires: Option<u32>,
    /// Largest `expires` parameter of all Contacts, seconds; `None` unless each of them has one. With it, or
    /// else with `expires`, 0 means that nothing stays registered (MEAS 5.8).
    pub contact_expires_max: Option<u32>,
    /// The Contact header is `*`.
    pub contact_star: bool,
    /// Expires, seconds.
    pub expires: Option<u32>,
    /// Session-Expires, seconds (RFC 4028).
    pub session_expires: Option<u32>,
    /// RSeq (RFC 3262).
    pub rseq: Option<u32>,
    /// WWW-Authenticate or Proxy-Authenticate says `stale=true`.
    pub stale: bool,
    /// Authorization or Proxy-Authorization present.
    pub authorized: bool,
    /// Refer-To URI, with its header part (`?Replaces=`).
    pub refer_to: &'a [u8],
    /// Referred-By URI.
    pub referred_by: &'a [u8],
    /// Replaces (RFC 3891): the whole value, `call-id;to-tag=..;from-tag=..`.
    pub replaces: &'a [u8],
    /// Session-ID (RFC 7989), whole value.
    pub session_id: &'a [u8],
    /// icid-value of P-Charging-Vector.
    pub icid: &'a [u8],
    /// Event header, package only.
    pub event: &'a [u8],
    /// `traceparent` or `X-Traceparent`.
    pub traceparent: &'a [u8],
    /// `tracestate` (MEAS 8.1).
    pub tracestate: &'a [u8],
    /// User-Agent or Server.
    pub user_agent: &'a [u8],
    /// Content-Type, whole value.
    pub content_type: &'a [u8],
    /// Content-Length as written.
    pub content_length: Option<u32>,
    /// Body as far as it was captured, limited by Content-Length.
    pub body: &'a [u8],
    /// The header block, for the rare look at a header that has no field here.
    pub headers: &'a [u8],
    /// What was wrong with it.
    pub defects: Defects,
}

/// First line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// `INVITE sip:bob@example.com SIP/2.0`
    Request {
        /// Method.
        method: Method<'a>,
        /// Request-URI.
        uri: &'a [u8],
    },
    /// `SIP/2.0 180 Ringing`
    Response {
        /// Status code, 100 to 699; other numbers are kept and marked defective.
        status: u16,
        /// Reason phrase.
        reason: &'a [u8],
    },
}

/// A SIP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Method<'a> {
    Invite,
    Ack,
    Bye,
    Cancel,
    Register,
    Options,
    Prack,
    Update,
    Info,
    Subscribe,
    Notify,
    Refer,
    Message,
    Publish,
    /// An extension method, as written.
    Other(&'a [u8]),
}

/// CSeq header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// Sequence number.
    pub number: u32,
    /// Method of the transaction.
    pub method: Method<'a>,
}

/// From, To or Contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address<'a> {
    /// URI without angle brackets and header parameters; empty when absent.
    pub uri: &'a [u8],
    /// `tag` parameter of From or To; empty when absent.
    pub tag: &'a [u8],
    /// Display name without quotes.
    pub display: &'a [u8],
}

/// One Via value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS`, `WS`, `WSS`, `SCTP` as written.
    pub transport: &'a [u8],
    /// `host[:port]` of the sender.
    pub sent_by: &'a [u8],
    /// `branch` parameter; empty when absent.
    pub branch: &'a [u8],
    /// `received` parameter; empty when absent.
    pub received: &'a [u8],
}

impl<'a> Message<'a> {
    /// Values of every header called `name`, in any case, in the long or the compact form, in order. A value
    /// with line folds still contains them.
    pub fn header<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let name = header::long_form(name.as_bytes());
        let initial = name.first().map(u8::to_ascii_lowercase);
        // The block consists of whole lines, so its last byte is the one that ends them.
        let eol = self.headers.last().copied().unwrap_or(b'\n');
        let mut lines = scan::Lines { rest: self.headers, eol };
        std::iter::from_fn(move || lines.next().ok())
            // A short look first: most lines are of other headers. The compact form may be another letter.
            .filter(move |line| match line {
                [first, second, ..] if header::is_token(*first) && header::is_token(*second) => {
                    Some(first.to_ascii_lowercase()) == initial
                }
                _ => true,
            })
            .filter_map(scan::split_header)
            .filter(move |(key, _)| header::long_form(key).eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

impl<'a> Method<'a> {
    /// The method as written; methods are case-sensitive (RFC 3261 7.1).
    #[inline]
    pub fn of(token: &'a [u8]) -> Self {
        match token {
            b"INVITE" => Self::Invite,
            b"ACK" => Self::Ack,
            b"BYE" => Self::Bye,
            b"CANCEL" => Self::Cancel,
            b"REGISTER" => Self::Register,
            b"OPTIONS" => Self::Options,
            b"PRACK" => Self::Prack,
            b"UPDATE" => Self::Update,
            b"INFO" => Self::Info,
            b"SUBSCRIBE" => Self::Subscribe,
            b"NOTIFY" => Self::Notify,
            b"REFER" => Self::Refer,
            b"MESSAGE" => Self::Message,
            b"PUBLISH" => Self::Publish,
            other => Self::Other(other),
        }
    }

    /// The name as it stands on the wire; extension methods are `OTHER`, so that the set is closed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Register => "REGISTER",
            Self::Options => "OPTIONS",
            Self::Prack => "PRACK",
            Self::Update => "UPDATE",
            Self::Info => "INFO",
            Self::Subscribe => "SUBSCRIBE",
            Self::Notify => "NOTIFY",
            Self::Refer => "REFER",
            Self::Message => "MESSAGE",
            Self::Publish => "PUBLISH",
            Self::Other(_) => "OTHER",
        }
    }
}
