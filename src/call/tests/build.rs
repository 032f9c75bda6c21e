//! Messages by hand, and a world that takes records as the observer does.

use std::net::{IpAddr, Ipv4Addr};

use crate::Stamp;
use crate::call::{Arrival, CallKey, Calls, Notice, Routed, Settings};
use crate::event::{self, SipTransport, Via as Way};
use crate::limits::Limits;
use crate::sip::sdp::{Direction, Kind, Media, Session};
use crate::sip::{Address, CSeq, Defects, Message, Method, StartLine, Via};
use crate::wire::Endpoint;

/// One message, owned. `request` or `status` is set.
#[derive(Clone, Debug)]
pub(super) struct Sip {
    pub(super) at: f64,
    pub(super) from: Endpoint,
    pub(super) to: Endpoint,
    pub(super) way: Way,
    pub(super) request: bool,
    pub(super) method: &'static str,
    pub(super) status: u16,
    pub(super) call_id: String,
    pub(super) from_tag: String,
    pub(super) to_tag: String,
    pub(super) cseq: u32,
    pub(super) branch: String,
    pub(super) vias: u16,
    pub(super) from_uri: String,
    pub(super) to_uri: String,
    pub(super) contact: String,
    pub(super) contact_star: bool,
    pub(super) contact_expires: Option<u32>,
    pub(super) expires: Option<u32>,
    pub(super) session_expires: Option<u32>,
    pub(super) stale: bool,
    pub(super) refer_to: String,
    pub(super) referred_by: String,
    pub(super) replaces: String,
    pub(super) session_id: String,
    pub(super) icid: String,
    pub(super) headers: String,
    pub(super) body: String,
    pub(super) sdp: Option<Session>,
}

/// The party at a letter of a hop (`U`, `P`, `G`): an address of its own, port 5060.
pub(super) fn party(letter: char) -> Endpoint {
    Endpoint { ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, letter as u8)), port: 5060 }
}

/// A request on a hop like `"U>P"`, one Via, in the dialog `a`-`z` of Call-ID `c1`.
pub(super) fn request(at: f64, hop: &str, method: &'static str, cseq: u32, branch: &str) -> Sip {
    let mut ends = hop.chars();
    let (from, to) = (party(ends.next().unwrap()), party(ends.next_back().unwrap()));
    Sip {
        at,
        from,
        to,
        way: Way::Wire,
        request: true,
        method,
        status: 0,
        call_id: "c1".into(),
        from_tag: "a".into(),
        to_tag: "z".into(),
        cseq,
        branch: branch.into(),
        vias: 1,
        from_uri: "sip:alice@example.com".into(),
        to_uri: "sip:bob@example.com".into(),
        contact: String::new(),
        contact_star: false,
        contact_expires: None,
        expires: None,
        session_expires: None,
        stale: false,
        refer_to: String::new(),
        referred_by: String::new(),
        replaces: String::new(),
        session_id: String::new(),
        icid: String::new(),
        headers: String::new(),
        body: String::new(),
        sdp: None,
    }
}

/// An initial INVITE of the caller.
pub(super) fn invite(at: f64, cseq: u32, branch: &str) -> Sip {
    request(at, "U>P", "INVITE", cseq, branch).answered_by("")
}

/// A response to the caller.
pub(super) fn response(at: f64, status: u16, method: &'static str, cseq: u32, branch: &str) -> Sip {
    Sip { request: false, status, ..request(at, "P>U", method, cseq, branch) }
}

/// INVITE, 180, 200 at 0, 1 and 2 s.
pub(super) fn answered_call() -> Vec<Sip> {
    vec![invite(0.0, 1, "b1"), response(1.0, 180, "INVITE", 1, "b1"), response(2.0, 200, "INVITE", 1, "b1")]
}

impl Sip {
    pub(super) fn answered_by(self, tag: &str) -> Self {
        Self { to_tag: tag.into(), ..self }
    }

    pub(super) fn tags(self, from: &str, to: &str) -> Self {
        Self { from_tag: from.into(), to_tag: to.into(), ..self }
    }

    pub(super) fn call_id(self, call_id: &str) -> Self {
        Self { call_id: call_id.into(), ..self }
    }

    pub(super) fn hop(self, hop: &str, vias: u16) -> Self {
        let mut ends = hop.chars();
        Self { from: party(ends.next().unwrap()), to: party(ends.next_back().unwrap()), vias, ..self }
    }

    /// Another receiver port on the same hop.
    pub(super) fn hop_port(mut self, port: u16) -> Self {
        self.to.port = port;
        self
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn method(&self) -> Method<'_> {
        match self.method {
            "INVITE" => Method::Invite,
            "ACK" => Method::Ack,
            "BYE" => Method::Bye,
            "CANCEL" => Method::Cancel,
            "REGISTER" => Method::Register,
            "OPTIONS" => Method::Options,
            "PRACK" => Method::Prack,
            "UPDATE" => Method::Update,
            "NOTIFY" => Method::Notify,
            "REFER" => Method::Refer,
            other => Method::Other(other.as_bytes()),
        }
    }

    pub(super) fn arrival(&self) -> Arrival {
        Arrival {
            stamp: stamp(self.at),
            source: self.from,
            destination: self.to,
            transport: SipTransport::Udp,
            via: self.way,
        }
    }

    pub(super) fn message(&self) -> Message<'_> {
        let start = if self.request {
            StartLine::Request { method: self.method(), uri: self.to_uri.as_bytes() }
        } else {
            StartLine::Response { status: self.status, reason: b"" }
        };
        Message {
            start,
            call_id: self.call_id.as_bytes(),
            cseq: Some(CSeq { number: self.cseq, method: self.method() }),
            from: Address { uri: self.from_uri.as_bytes(), tag: self.from_tag.as_bytes(), display: b"" },
            to: Address { uri: self.to_uri.as_bytes(), tag: self.to_tag.as_bytes(), display: b"" },
            via: Some(Via {
                transport: b"UDP",
                sent_by: b"host",
                branch: self.branch.as_bytes(),
                received: b"",
            }),
            via_count: self.vias,
            contact: Address { uri: self.contact.as_bytes(), ..Address::default() },
            contact_expires: self.contact_expires,
            contact_expires_max: self.contact_expires,
            contact_star: self.contact_star,
            expires: self.expires,
            session_expires: self.session_expires,
            rseq: None,
            stale: self.stale,
            authorized: false,
            refer_to: self.refer_to.as_bytes(),
            referred_by: self.referred_by.as_bytes(),
            replaces: self.replaces.as_bytes(),
            session_id: self.session_id.as_bytes(),
            icid: self.icid.as_bytes(),
            event: b"",
            traceparent: b"",
            tracestate: b"",
            user_agent: b"",
            content_type: b"",
            content_length: None,
            body: self.body.as_bytes(),
            headers: self.headers.as_bytes(),
            defects: Defects::default(),
        }
    }
}

/// An SDP with one audio section of this direction.
pub(super) fn audio(direction: Direction) -> Session {
    let media = Media {
        kind: Kind::Audio,
        address: None,
        port: 4000,
        rtcp_port: 4001,
        rtcp_mux: false,
        secure: false,
        direction,
        ptime_ms: None,
        maxptime_ms: None,
        label: String::new(),
        formats: Vec::new(),
    };
    Session { media: vec![media], ..Session::default() }
}

/// Seconds of packet time, from an arbitrary epoch.
pub(super) fn stamp(seconds: f64) -> Stamp {
    Stamp(1_700_000_000_000_000_000 + (seconds * 1e9).round() as u64)
}

/// Calls, and all they told; records are taken as soon as they may be.
pub(super) struct World {
    pub(super) calls: Calls,
    pub(super) records: Vec<event::Call>,
    pub(super) registrations: Vec<event::Registration>,
    pub(super) expired: Vec<event::Binding>,
    pub(super) transfers: Vec<event::Transfer>,
    pub(super) joined: Vec<(CallKey, CallKey)>,
    pub(super) answered: usize,
    notices: Vec<Notice>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(&Limits::default(), Settings::default())
    }

    pub(super) fn with(limits: &Limits, settings: Settings) -> Self {
        Self {
            calls: Calls::new(limits, settings),
            records: Vec::new(),
            registrations: Vec::new(),
            expired: Vec::new(),
            transfers: Vec::new(),
            joined: Vec::new(),
            answered: 0,
            notices: Vec::new(),
        }
    }

    pub(super) fn feed(&mut self, sip: &Sip) -> Option<Routed> {
        let routed = self.calls.message(&sip.arrival(), &sip.message(), sip.sdp.as_ref(), &mut self.notices);
        self.settle();
        routed
    }

    pub(super) fn feed_all<'a>(&mut self, messages: impl IntoIterator<Item = &'a Sip>) {
        for message in messages {
            self.feed(message);
        }
    }

    pub(super) fn expire(&mut self, seconds: f64) {
        self.calls.expire(stamp(seconds), &mut self.notices);
        self.settle();
    }

    pub(super) fn join(&mut self, one: CallKey, other: CallKey) {
        self.calls.join(one, other, None, &mut self.notices);
        self.settle();
    }

    pub(super) fn finish(mut self) -> Self {
        self.calls.finish(&mut self.notices);
        self.settle();
        self
    }

    /// Feeds all, lets time run to `end` and closes the capture.
    pub(super) fn run(messages: &[Sip], end: f64) -> Self {
        let mut world = Self::new();
        world.feed_all(messages);
        world.expire(end);
        world.finish()
    }

    fn settle(&mut self) {
        for notice in std::mem::take(&mut self.notices) {
            match notice {
                Notice::Answered(..) => self.answered += 1,
                Notice::Ended(key, _) => self.records.push(self.calls.take(key).unwrap()),
                Notice::Joined(kept, absorbed) => self.joined.push((kept, absorbed)),
                Notice::Registration(registration) => self.registrations.push(registration),
                Notice::Expired(binding) => self.expired.push(binding),
                Notice::Transfer(transfer) => self.transfers.push(transfer),
            }
        }
    }
}

/// Microseconds, as the vectors have them.
pub(super) fn micros(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}
