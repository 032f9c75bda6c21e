//! HEP3 to Homer, or to anyone else who reads it: what was seen on the wire, and how streams were.
//!
//! ```text
//! capture thread: message, stream -> Spool (encodes) -> chunks, 4 MiB at most
//!                                                         |
//! sending thread:                       Sender::run <-----+--> UDP: a record a datagram
//!                                                         \--> TCP: records back to back, reconnects
//! ```
//!
//! Capture never waits: a full spool refuses new records and counts them. New ones rather than old ones, because
//! that keeps calls whole whose beginning was accepted, because a flood must not push out what came before it, and
//! because it is the cheaper thing to do in the moment of overload. Every record carries its own time, so that
//! what waited is no less true.
//!
//! What Homer (heplify-server) understands, and what the settings therefore default to: no compressed payloads;
//! RTCP retold as JSON, under the Call-ID; reports on streams as type 34. It takes records of at most 8 KiB.

mod link;
mod peer;
mod report;
mod sender;
mod spool;

use serde::Serialize;
use std::time::Duration;

pub use self::peer::{NotAPeer, Peer};
pub use self::sender::Sender;
pub use self::spool::{Counters, Spool};
use crate::hep::Key;

/// Where to send, what, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The receiver.
    pub peer: Peer,
    /// Authentication key; empty = none is sent.
    pub key: Key,
    /// Number of this capture agent.
    pub agent: u32,
    /// Name of this capture agent's node; empty = none is sent.
    pub node: String,
    /// Payloads are compressed where that makes them shorter: for receivers that can read it (sidetone can, Homer
    /// cannot).
    pub compress: bool,
    /// How RTCP is sent.
    pub rtcp: Rtcp,
    /// A report on every stream that is over.
    pub reports: bool,
    /// Bound of the spool in bytes.
    pub spool_bytes: usize,
    /// A TCP peer that takes nothing for so long is given up and connected to anew.
    pub stall: Duration,
    /// Longest pause between two attempts to connect.
    pub back_off: Duration,
    /// How long the end may be held up by what is still in the spool.
    pub drain: Duration,
}

impl Settings {
    /// What suits Homer.
    pub fn to(peer: Peer) -> Self {
        Self {
            peer,
            key: Key::default(),
            agent: 2001,
            node: String::new(),
            compress: false,
            rtcp: Rtcp::Json,
            reports: true,
            spool_bytes: 4 << 20,
            stall: Duration::from_secs(30),
            back_off: Duration::from_secs(10),
            drain: Duration::from_secs(2),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::to(Peer::default())
    }
}

/// How RTCP is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rtcp {
    /// Retold as JSON, as Homer wants it: the first report of each packet.
    #[default]
    Json,
    /// As it was on the wire: for another sidetone.
    Binary,
    /// Not at all.
    Off,
}

/// A spool for the capture thread and the sender that empties it.
pub fn open(settings: Settings) -> (Spool, Sender) {
    let spool = Spool::new(&settings);
    let sender = Sender::new(settings, spool.store());
    (spool, sender)
}

#[cfg(test)]
mod tests;
