//! What is counted about SIP as such: closed sets, plain numbers that never fall.

use crate::sip::{Message, Method, StartLine};

/// Counters of all SIP seen, on every hop (DESIGN 2.1 `sip`).
///
/// `requests` and `responses` count every message, retransmissions included; `*_retransmitted` say how many of
/// them repeated an earlier one (MEAS 5.1), so that the metrics without retransmissions are differences. A
/// message seen both on the wire and by HEP is one message.
#[derive(Clone, Debug)]
pub struct Counters {
    /// Messages by start line.
    messages: Messages,
    /// Without usable Call-ID or CSeq, with a CSeq of another method, or with a status outside 100 to 699.
    /// They are counted among the messages by their start line and are of no transaction, call or registration.
    pub malformed: u64,
    /// Seen by the second of wire and HEP, and ignored.
    pub copies: u64,
    /// 401, 402 and 407 to an INVITE or REGISTER on its primary hop.
    pub challenges: [u64; 3],
    /// Initial INVITEs of a known attempt on a further hop (MEAS 5.9).
    pub hop_invites: u64,
    /// BYE, re-INVITE, UPDATE or PRACK of a dialog whose beginning was not seen (MEAS 5.7).
    pub orphans: u64,
    /// BYEs of calls that had been given up before (MEAS 5.7).
    pub late_byes: u64,
    /// Attempts answered under several To-tags, provisionally or finally (MEAS 5.6).
    pub forked: u64,
    /// 2xx that made a further dialog of an answered attempt.
    pub forked_answers: u64,
    /// Dialogs closed while another one of the same call lived on.
    pub extra_dialogs_closed: u64,
    /// Attempts with SDP in a provisional response.
    pub early_media: u64,
    /// re-INVITEs answered 491 (RFC 3261 14.1).
    pub glare: u64,
    /// Calls absorbed as legs of another one (MEAS 5.9).
    pub joined: u64,
    /// Calls that carried the same media by chance: their signalling shows them to be two.
    pub coincidences: u64,
    /// Legs that were not joined because their call had the most legs it may have.
    pub legs_refused: u64,
    /// Calls given up because the table was full.
    pub calls_evicted: u64,
    /// Attempts not followed because too many ended calls had not been taken.
    pub calls_refused: u64,
    /// Registration attempts given up because the table was full.
    pub registrations_evicted: u64,
    /// Bindings forgotten because the table was full.
    pub bindings_evicted: u64,
    /// Transfers given up because the table was full.
    pub transfers_evicted: u64,
    /// Transactions forgotten because the table was full.
    pub transactions_evicted: u64,
}

/// Methods by [`Method::name`].
pub const METHODS: [&str; 15] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "REGISTER",
    "OPTIONS",
    "PRACK",
    "UPDATE",
    "INFO",
    "SUBSCRIBE",
    "NOTIFY",
    "REFER",
    "MESSAGE",
    "PUBLISH",
    "OTHER",
];

/// How many of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All, retransmissions included.
    pub total: u64,
    /// Those that repeated an earlier one.
    pub retransmitted: u64,
}

/// One request tally a method and one response tally a (method, status code).
#[derive(Clone, Debug)]
struct Messages {
    requests: [Tally; METHODS.len()],
    responses: Vec<Tally>,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self {
            messages: Messages {
                requests: [Tally::default(); METHODS.len()],
                responses: vec![Tally::default(); METHODS.len() * CODES],
            },
            malformed: 0,
            copies: 0,
            challenges: [0; 3],
            hop_invites: 0,
            orphans: 0,
            late_byes: 0,
            forked: 0,
            forked_answers: 0,
            extra_dialogs_closed: 0,
            early_media: 0,
            glare: 0,
            joined: 0,
            coincidences: 0,
            legs_refused: 0,
            calls_evicted: 0,
            calls_refused: 0,
            registrations_evicted: 0,
            bindings_evicted: 0,
            transfers_evicted: 0,
            transactions_evicted: 0,
        }
    }

    /// Requests by method, those that occurred, in the order of [`METHODS`].
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, Tally)> {
        METHODS.into_iter().zip(self.messages.requests).filter(|(_, tally)| tally.total > 0)
    }

    /// Responses by CSeq method and status code, those that occurred.
    pub fn responses(&self) -> impl Iterator<Item = (&'static str, u16, Tally)> {
        self.messages.responses.iter().enumerate().filter(|(_, tally)| tally.total > 0).filter_map(
            |(index, &tally)| {
                let method = METHODS.get(index / CODES)?;
                Some((*method, FIRST_CODE + (index % CODES) as u16, tally))
            },
        )
    }

    /// Retransmitted requests and responses together.
    pub fn retransmissions(&self) -> u64 {
        let requests = self.messages.requests.iter();
        requests.chain(&self.messages.responses).map(|tally| tally.retransmitted).sum()
    }

    #[inline]
    pub(super) fn count(&mut self, m: &Message<'_>, method: Method<'_>, retransmitted: bool) {
        let index = method_index(method);
        let tally = match m.start {
            StartLine::Request { .. } => self.messages.requests.get_mut(index),
            StartLine::Response { status, .. } => {
                self.messages.responses.get_mut(index * CODES + usize::from(status.wrapping_sub(FIRST_CODE)))
            }
        };
        if let Some(tally) = tally {
            tally.total += 1;
            tally.retransmitted += u64::from(retransmitted);
        }
    }

    /// Counts a message that cannot be keyed.
    pub(super) fn unusable(&mut self, m: &Message<'_>) {
        self.malformed += 1;
        let method = match m.start {
            StartLine::Request { method, .. } => method,
            StartLine::Response { status: 100..700, .. } => {
                m.cseq.map_or(Method::Other(b""), |cseq| cseq.method)
            }
            StartLine::Response { .. } => return,
        };
        self.count(m, method, false);
    }

    pub(super) fn challenge(&mut self, status: u16) {
        let place = match status {
            401 => 0,
            402 => 1,
            _ => 2,
        };
        self.challenges[place] += 1;
    }
}

/// Place of a method in [`METHODS`].
pub(super) fn method_index(method: Method<'_>) -> usize {
    match method {
        Method::Invite => 0,
        Method::Ack => 1,
        Method::Bye => 2,
        Method::Cancel => 3,
        Method::Register => 4,
        Method::Options => 5,
        Method::Prack => 6,
        Method::Update => 7,
        Method::Info => 8,
        Method::Subscribe => 9,
        Method::Notify => 10,
        Method::Refer => 11,
        Method::Message => 12,
        Method::Publish => 13,
        Method::Other(_) => 14,
    }
}

const FIRST_CODE: u16 = 100;
const CODES: usize = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_methods_is_in_the_order_of_their_index() {
        use Method as M;
        let all = [
            M::Invite,
            M::Ack,
            M::Bye,
            M::Cancel,
            M::Register,
            M::Options,
            M::Prack,
            M::Update,
            M::Info,
            M::Subscribe,
            M::Notify,
            M::Refer,
            M::Message,
            M::Publish,
            M::Other(b"FOO"),
        ];
        assert!(
            all.iter()
                .enumerate()
                .all(|(index, &method)| { method_index(method) == index && METHODS[index] == method.name() })
        );
    }
}
