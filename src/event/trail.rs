//! The way of a call, transaction by transaction, for who tells it as a trace (DESIGN 8, MEAS 8.3).

use super::SipTransport;
use crate::Stamp;
use crate::wire::Endpoint;

/// What a call's record leaves out because only a trace asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// Initial INVITEs and BYEs, one entry a hop and CSeq, in the order in which they were seen.
    pub transactions: Vec<Transaction>,
    /// Transactions beyond the bound.
    pub dropped: u32,
    /// `tracestate` of the first INVITE, as written.
    pub tracestate: String,
    /// Session-ID of the first INVITE (RFC 7989).
    pub session_id: String,
    /// User-Agent of the first INVITE.
    pub user_agent: String,
    /// Call-ID of the call that this one replaces, or in which a REFER asked for it.
    pub transferred_from: Option<String>,
}

/// A request on one hop, and what came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// What was asked.
    pub method: Asked,
    /// CSeq number.
    pub cseq: u32,
    /// Branch of the topmost Via.
    pub branch: String,
    /// Sender.
    pub source: Endpoint,
    /// Receiver.
    pub destination: Endpoint,
    /// What carried it.
    pub transport: SipTransport,
    /// The request.
    pub start: Stamp,
    /// Responses, each status once, in order.
    pub responses: Vec<(Stamp, u16)>,
    /// ACK on the same hop.
    pub acknowledged: Option<Stamp>,
    /// The request or a response was sent again so often.
    pub retransmissions: u32,
    /// Reason header of the request (RFC 3326).
    pub reason: String,
}

/// Method of a transaction that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Asked {
    Invite,
    Bye,
}

impl Trail {
    /// Adds what another leg of the call went through.
    pub fn append(&mut self, leg: Self) {
        self.dropped += leg.dropped;
        for transaction in leg.transactions {
            if self.transactions.len() < MAX_TRANSACTIONS {
                self.transactions.push(transaction);
            } else {
                self.dropped += 1;
            }
        }
        self.transferred_from = self.transferred_from.take().or(leg.transferred_from);
    }
}

impl Transaction {
    /// The final response.
    pub fn outcome(&self) -> Option<(Stamp, u16)> {
        self.responses.iter().find(|(_, status)| *status >= 200).copied()
    }

    /// When the last message of it was seen.
    pub fn end(&self) -> Stamp {
        let responses = self.responses.iter().map(|(at, _)| *at);
        responses.chain(self.acknowledged).fold(self.start, Stamp::max)
    }
}

/// Transactions kept of one call: several challenged attempts on several hops of several legs.
pub const MAX_TRANSACTIONS: usize = 48;
/// Responses kept of one transaction.
pub const MAX_RESPONSES: usize = 12;
