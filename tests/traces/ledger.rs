//! What a capture holds, read without the observer: messages by their text, streams by their headers. And the spans that
//! must come of it.

use std::collections::{BTreeMap, HashSet};
use std::io::Cursor;
use std::net::SocketAddr;

use sidetone::capture::file::Files;
use sidetone::capture::{Progress, Source};
use sidetone::wire::Frame;

use crate::rotel::Span;

/// A SIP message and how often it was seen.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) at: u64,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    /// Method, or status.
    pub(crate) what: String,
    pub(crate) is_request: bool,
    pub(crate) call_id: String,
    pub(crate) cseq: u32,
    /// Of the CSeq.
    pub(crate) method: String,
    pub(crate) branch: String,
    /// Of To.
    pub(crate) tag: String,
    pub(crate) repeats: u32,
}

/// An RTP stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) packets: u64,
}

/// A whole capture.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) messages: Vec<Message>,
    pub(crate) flows: BTreeMap<(SocketAddr, SocketAddr, u32), Flow>,
}

/// One request on one hop.
#[derive(Clone, Debug)]
pub(crate) struct Hop {
    pub(crate) request: Message,
    /// Name and time.
    pub(crate) events: Vec<(String, u64)>,
    pub(crate) end: u64,
    pub(crate) repeats: u32,
}

impl Ledger {
    pub(crate) fn of(capture: Vec<u8>) -> Self {
        let mut ledger = Self::default();
        let mut files = Files::from_reader("in memory", Cursor::new(capture));
        let mut take = |frames: &[Frame<'_>]| frames.iter().for_each(|frame| ledger.take(frame));
        while files.poll(&mut take).unwrap() == Progress::More {}
        ledger
    }

    /// Ethernet, IPv4 without options, UDP.
    fn take(&mut self, frame: &Frame<'_>) {
        let bytes = frame.bytes;
        if bytes.len() < 42 || bytes[12..14] != [8, 0] || bytes[23] != 17 {
            return;
        }
        let end = |ip: usize, port: usize| -> SocketAddr {
            let ip: [u8; 4] = bytes[ip..ip + 4].try_into().unwrap();
            (ip, u16::from_be_bytes([bytes[port], bytes[port + 1]])).into()
        };
        let (from, to, payload) = (end(26, 34), end(30, 36), &bytes[42..]);
        if payload.len() >= 12 && payload[0] >> 6 == 2 && !(64..=95).contains(&(payload[1] & 0x7f)) {
            let ssrc = u32::from_be_bytes(payload[8..12].try_into().unwrap());
            let new = Flow { first: frame.stamp.0, last: 0, packets: 0 };
            let flow = self.flows.entry((from, to, ssrc)).or_insert(new);
            flow.last = frame.stamp.0;
            flow.packets += 1;
        } else if let Some(message) = message(frame.stamp.0, from, to, payload) {
            let same = |known: &&mut Message| {
                (&known.what, &known.branch, known.cseq, &known.method, &known.tag, known.from, known.to)
                    == (&message.what, &message.branch, message.cseq, &message.method, &message.tag, from, to)
            };
            match self.messages.iter_mut().find(same) {
                Some(known) => known.repeats += 1,
                None => self.messages.push(message),
            }
        }
    }

    /// Initial INVITEs, or BYEs.
    pub(crate) fn hops(&self, method: &str) -> Vec<Hop> {
        let initial = |message: &&Message| {
            message.is_request && message.what == method && (method == "BYE" || message.tag.is_empty())
        };
        self.messages.iter().filter(initial).map(|request| self.hop(request)).collect()
    }

    fn hop(&self, request: &Message) -> Hop {
        let of_transaction = |message: &&Message| {
            !message.is_request
                && message.method == request.method
                && (message.cseq, &message.branch) == (request.cseq, &request.branch)
                && message.to == request.from
        };
        let responses: Vec<&Message> = self.messages.iter().filter(of_transaction).collect();
        let is_ack = |message: &&Message| {
            message.is_request
                && message.what == "ACK"
                && (&message.call_id, message.cseq) == (&request.call_id, request.cseq)
                && (message.from.ip(), message.to.ip()) == (request.from.ip(), request.to.ip())
                && request.method == "INVITE"
        };
        let ack = self.messages.iter().find(is_ack);
        let repeats = request.repeats + responses.iter().map(|message| message.repeats).sum::<u32>();
        let events = responses.into_iter().chain(ack).map(|message| (message.what.clone(), message.at));
        let mut events: Vec<_> = events.collect();
        let end = events.iter().map(|(_, at)| *at).fold(request.at, u64::max);
        // A status is told once, though several phones may ring.
        let mut told = HashSet::new();
        events.retain(|(name, _)| told.insert(name.clone()));
        Hop { request: request.clone(), events, end, repeats }
    }
}

impl Hop {
    pub(crate) fn final_status(&self) -> Option<u16> {
        self.events.iter().filter_map(|(name, _)| name.parse().ok()).find(|status| *status >= 200)
    }

    /// Whether the network is to blame.
    pub(crate) fn is_error(&self) -> bool {
        match self.final_status() {
            None => self.events.is_empty(),
            Some(status) => is_error(status),
        }
    }

    /// Compares all that a span of it tells.
    pub(crate) fn assert_told_by(&self, span: &Span) {
        let request = &self.request;
        assert_eq!((span.start, span.end), (request.at, self.end), "{self:#?}\n{span:#?}");
        let events: Vec<_> = span.events.iter().map(|event| (event.name.clone(), event.at)).collect();
        assert_eq!(events, self.events, "{span:#?}");
        for event in span.events.iter().filter(|event| event.name != "ACK") {
            assert_eq!(event.attributes["sip.response.status_code"], format!("Int({})", event.name));
        }
        assert_eq!(span.text("sip.method"), Some(request.what.as_str()));
        assert_eq!(span.number("sip.retransmissions"), Some(self.repeats.into()), "{self:#?}\n{span:#?}");
        assert_eq!(span.number("sip.response.status_code"), self.final_status().map(f64::from));
        let error = match self.final_status() {
            _ if !self.is_error() => None,
            None => Some("timeout".to_owned()),
            Some(status) => Some(status.to_string()),
        };
        assert_eq!(span.text("error.type"), error.as_deref());
        assert_eq!(span.is_error(), error.is_some(), "{span:#?}");
    }
}

/// What the documents say of statuses.
pub(crate) fn is_error(status: u16) -> bool {
    status >= 400 && ![401, 402, 407, 480, 486, 487, 600, 603].contains(&status)
}

fn message(at: u64, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Option<Message> {
    let text = std::str::from_utf8(payload).ok()?;
    let (start, rest) = text.split_once("\r\n")?;
    let header = |name: &str| {
        let line =
            rest.lines().find(|line| line.to_ascii_lowercase().starts_with(&name.to_ascii_lowercase()))?;
        Some(line.split_once(':')?.1.trim())
    };
    let is_request = start.ends_with("SIP/2.0");
    let what = start.split(' ').nth(usize::from(!is_request))?;
    if !is_request && !start.starts_with("SIP/2.0") {
        return None;
    }
    let (number, method) = header("CSeq:")?.split_once(' ')?;
    let via = header("Via:")?;
    let branch = via.split(';').find_map(|part| part.strip_prefix("branch="))?;
    Some(Message {
        at,
        from,
        to,
        what: what.to_owned(),
        is_request,
        call_id: header("Call-ID:")?.to_owned(),
        cseq: number.parse().ok()?,
        method: method.to_owned(),
        branch: branch.split(',').next()?.to_owned(),
        tag: header("To:")?.split_once(";tag=").map(|(_, tag)| tag.to_owned()).unwrap_or_default(),
        repeats: 0,
    })
}
