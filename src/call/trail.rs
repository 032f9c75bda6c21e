//! Keeps the way of a call for its trace, where somebody asked for it ([`Settings::trails`]).
//!
//! A transaction is known by branch, CSeq and the two ends of its hop, as the messages themselves say it; nothing
//! here depends on how hops are told apart elsewhere.
//!
//! [`Settings::trails`]: super::Settings::trails

use std::collections::VecDeque;

use super::text::Text;
use super::transaction::Seen;
use super::{CallKey, Calls, Heard};
use crate::event::trail::{Asked, MAX_RESPONSES, MAX_TRANSACTIONS, Trail, Transaction};
use crate::sip::uri::Uri;
use crate::sip::{Message, Method, StartLine};
use crate::wire::Endpoint;

impl Trail {
    /// Notes a message of the call.
    pub(super) fn note(&mut self, heard: &Heard<'_>) {
        match (heard.cseq.method, heard.m.start) {
            (Method::Invite, StartLine::Request { .. }) if heard.names.to_tag == 0 => {
                self.request(Asked::Invite, heard);
            }
            (Method::Bye, StartLine::Request { .. }) => self.request(Asked::Bye, heard),
            (Method::Invite | Method::Bye, StartLine::Response { status, .. }) => {
                self.response(heard, status);
            }
            (Method::Ack, StartLine::Request { .. }) if heard.seen == Seen::New => self.acknowledge(heard),
            _ => {}
        }
    }

    fn request(&mut self, method: Asked, heard: &Heard<'_>) {
        let (at, m) = (heard.at, heard.m);
        if let Some(known) = self.find(heard, at.source, at.destination) {
            known.retransmissions += u32::from(heard.seen == Seen::Retransmission);
            return;
        }
        if self.transactions.is_empty() {
            self.tracestate = text(m.tracestate, MAX_TRACESTATE);
            self.session_id = text(m.session_id, MAX_TEXT);
            self.user_agent = text(m.user_agent, MAX_TEXT);
        }
        if self.transactions.len() >= MAX_TRANSACTIONS {
            self.dropped += 1;
            return;
        }
        self.transactions.push(Transaction {
            method,
            cseq: heard.cseq.number,
            branch: text(branch(m), MAX_TEXT),
            source: at.source,
            destination: at.destination,
            transport: at.transport,
            start: at.stamp,
            responses: Vec::new(),
            acknowledged: None,
            retransmissions: 0,
            reason: m.header("Reason").next().map(|reason| text(reason, MAX_TEXT)).unwrap_or_default(),
        });
    }

    fn response(&mut self, heard: &Heard<'_>, status: u16) {
        let Some(known) = self.find(heard, heard.at.destination, heard.at.source) else { return };
        if heard.seen == Seen::Retransmission {
            known.retransmissions += 1;
        } else if known.responses.len() < MAX_RESPONSES
            && known.responses.iter().all(|(_, before)| *before != status)
        {
            known.responses.push((heard.at.stamp, status));
        }
    }

    /// Of a 2xx it has a branch of its own (RFC 3261 13.2.2.4), so the hop and the CSeq tell.
    fn acknowledge(&mut self, heard: &Heard<'_>) {
        let at = heard.at;
        let acknowledged = self.transactions.iter_mut().rev().find(|known| {
            known.method == Asked::Invite
                && known.cseq == heard.cseq.number
                && (known.source.ip, known.destination.ip) == (at.source.ip, at.destination.ip)
        });
        if let Some(known) = acknowledged {
            known.acknowledged.get_or_insert(at.stamp);
        }
    }

    /// Responses may come from another address of the server, never with another branch.
    fn find(&mut self, heard: &Heard<'_>, from: Endpoint, to: Endpoint) -> Option<&mut Transaction> {
        let (branch, cseq) = (branch(heard.m), heard.cseq.number);
        self.transactions.iter_mut().rev().find(|known| {
            known.cseq == cseq
                && known.branch.as_bytes() == branch.get(..MAX_TEXT).unwrap_or(branch)
                && (known.source.ip == from.ip || known.destination.ip == to.ip)
        })
    }
}

impl Calls {
    /// A new call: its trail begins with where it comes from.
    pub(super) fn begin_trail(&mut self, key: CallKey, m: &Message<'_>) {
        if !self.settings.trails {
            return;
        }
        let called = match m.start {
            StartLine::Request { uri, .. } if !m.referred_by.is_empty() => self.name_of(uri),
            _ => None,
        };
        let transferred_from = replaced(m).or_else(|| self.referred.by(called?));
        if let Some(call) = self.table.get_mut(key) {
            call.trail = Some(Box::new(Trail { transferred_from, ..Trail::default() }));
        }
    }

    /// A REFER tells which call will come of it.
    pub(super) fn note_refer(&mut self, heard: &Heard<'_>) {
        if self.settings.trails
            && heard.is_request()
            && heard.cseq.method == Method::Refer
            && let Some(who) = self.name_of(heard.m.refer_to)
        {
            self.referred.note(who, heard.m.call_id);
        }
    }

    /// What a leg went through is part of its call.
    pub(super) fn add_trail(&mut self, of: CallKey, trail: Option<Box<Trail>>) {
        if let Some(trail) = trail
            && let Some(call) = self.table.get_mut(of)
        {
            call.trail.get_or_insert_default().append(*trail);
        }
    }

    fn name_of(&self, uri: &[u8]) -> Option<u64> {
        let Uri { user, host, .. } = Uri::parse(uri)?;
        Some(self.fingerprints.pair(self.fingerprints.bytes(user), self.fingerprints.bytes(host)))
    }
}

/// Calls in which a REFER was seen, by whom it named: for the call that then goes there.
#[derive(Debug, Default)]
pub(super) struct Referred(VecDeque<(u64, Text<1>)>);

impl Referred {
    /// Notes a REFER; `who` is the fingerprint of whom it names.
    pub(super) fn note(&mut self, who: u64, call_id: &[u8]) {
        if self.0.len() >= MAX_REFERRED {
            self.0.pop_front();
        }
        self.0.push_back((who, Text::new([call_id])));
    }

    /// The newest call that referred to `who`.
    pub(super) fn by(&self, who: u64) -> Option<String> {
        self.0.iter().rev().find(|(known, _)| *known == who).map(|(_, call_id)| call_id.string(0))
    }
}

/// Call-ID in a Replaces header (RFC 3891).
fn replaced(m: &Message<'_>) -> Option<String> {
    let id = m.replaces.split(|&byte| byte == b';').next()?.trim_ascii();
    (!id.is_empty()).then(|| text(id, MAX_TEXT))
}

fn branch<'a>(m: &Message<'a>) -> &'a [u8] {
    m.via.map(|via| via.branch).unwrap_or_default()
}

fn text(bytes: &[u8], most: usize) -> String {
    String::from_utf8_lossy(bytes.get(..most).unwrap_or(bytes)).into_owned()
}

/// Longest text of a message that is kept.
const MAX_TEXT: usize = 255;
/// W3C Trace Context 3.3.1.1: 512 characters are to be passed on.
const MAX_TRACESTATE: usize = 512;
/// REFERs remembered.
const MAX_REFERRED: usize = 256;
