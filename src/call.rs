//! Transactions, attempts, dialogs, registrations: what SIP says about calls (MEAS 5).

use crate::Stamp;
use crate::event::{Registration, SipTransport, Transfer, Via};
use crate::wire::Endpoint;

/// Names one live call; never reused for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// How a message reached the tap.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When.
    pub stamp: Stamp,
    /// Sender on this hop.
    pub source: Endpoint,
    /// Receiver on this hop.
    pub destination: Endpoint,
    /// What carried it.
    pub transport: SipTransport,
    /// Wire or HEP.
    pub via: Via,
}

/// Which party of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Side {
    Caller,
    Callee,
}

/// What a message meant to the owner of the media: where its SDP belongs.
#[derive(Clone, Copy, Debug)]
pub struct Routed {
    /// The call.
    pub call: CallKey,
    /// Who described its media in this message.
    pub side: Side,
    /// Hop on which it was seen, 0 = primary.
    pub hop: u8,
    /// It repeats an earlier message.
    pub retransmission: bool,
}

/// What calls tell their owner.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Answered: first 2xx of the attempt.
    Answered(CallKey, Stamp),
    /// Signalling is over; the record can be taken as soon as its media are closed.
    Ended(CallKey, Stamp),
    /// The second call turned out to be another leg of the first and was absorbed by it.
    Joined(CallKey, CallKey),
    /// A registration attempt is over.
    Registration(Registration),
    /// A transfer has an outcome.
    Transfer(Transfer),
}
