//! What is known about simulated traffic: `FILE.truth.json`. Fields that the report of `analyze` has too
//! (DESIGN 2.1) bear its names and units.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Outcome, Plan};
use crate::Stamp;
use crate::event::{CallResult, Direction, Jitter, RegistrationResult};
use crate::rtp::payload::Codec;
use crate::wire::Endpoint;

/// The truth about one simulated capture.
#[derive(Clone, Debug, Serialize)]
pub struct Truth {
    /// Version of this format.
    pub version: u32,
    /// What was asked for.
    pub plan: Plan,
    /// What was written.
    pub capture: Capture,
    /// SIP messages written.
    pub sip: Sip,
    /// Calls in the order in which they began.
    pub calls: Vec<Call>,
    /// Registration attempts in the order in which they began.
    pub registrations: Vec<Registration>,
    /// RTP streams, those of a call together, the caller's first.
    pub streams: Vec<Stream>,
}

/// Extent of the capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capture {
    /// Frames.
    pub packets: u64,
    /// Bytes of all frames.
    pub bytes: u64,
    /// RTP packets, duplicates included.
    pub rtp: u64,
    /// RTCP packets.
    pub rtcp: u64,
    /// Time of the first frame.
    pub first: Stamp,
    /// Time of the last frame.
    pub last: Stamp,
}

/// Messages written, retransmissions included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sip {
    /// By method.
    pub requests: BTreeMap<&'static str, u64>,
    /// By status code.
    pub responses: BTreeMap<u16, u64>,
    /// Those of them that repeated an earlier one.
    pub retransmissions: u64,
}

/// One call attempt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Call {
    /// Call-ID.
    pub call_id: String,
    /// From URI.
    pub from: String,
    /// To URI.
    pub to: String,
    /// Caller's SIP socket.
    pub source: Endpoint,
    /// Callee's SIP socket.
    pub destination: Endpoint,
    /// The course it took.
    pub outcome: Outcome,
    /// Outcome as MEAS 5.4 counts it.
    pub result: CallResult,
    /// Final status of the INVITE that counts.
    pub status: Option<u16>,
    /// It was challenged with 407.
    pub challenged: bool,
    /// Two phones rang.
    pub forked: bool,
    /// First INVITE.
    pub start: Stamp,
    /// BYE or final failure.
    pub end: Option<Stamp>,
    /// Seconds from the first INVITE to the first 180.
    pub post_dial_delay: Option<f64>,
    /// Seconds from the first INVITE to the 200.
    pub setup: Option<f64>,
    /// Seconds from the first 180 to the 200.
    pub ring: Option<f64>,
    /// Seconds from the 200 to the BYE.
    pub duration: Option<f64>,
    /// Seconds from the BYE to its 200.
    pub disconnect: Option<f64>,
    /// Seconds from the first INVITE to the INVITE with credentials.
    pub auth: Option<f64>,
    /// Seconds from the first INVITE to the final failure, when nothing rang before.
    pub session_request_failed: Option<f64>,
    /// Round trip between the two parties that their RTCP tells, seconds.
    pub rtt: Option<f64>,
    /// Codec of both directions.
    pub codec: Option<Codec>,
    /// SSRCs of its streams.
    pub streams: Vec<String>,
}

/// One registration attempt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Registration {
    /// Call-ID.
    pub call_id: String,
    /// Address of record.
    pub aor: String,
    /// Outcome as MEAS 5.8 counts it.
    pub result: RegistrationResult,
    /// Final status.
    pub status: Option<u16>,
    /// It was challenged with 401.
    pub challenged: bool,
    /// First REGISTER.
    pub start: Stamp,
    /// Seconds from the first REGISTER to the 200.
    pub delay: Option<f64>,
    /// Granted lifetime, seconds.
    pub expires: Option<u32>,
}

/// One RTP stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stream {
    /// `0x%08x`.
    pub ssrc: String,
    /// Sender.
    pub source: Endpoint,
    /// Receiver.
    pub destination: Endpoint,
    /// Its call.
    pub call_id: String,
    /// Direction in the call.
    pub direction: Direction,
    /// Codec.
    pub codec: Codec,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Packetisation time in seconds.
    pub ptime: f64,
    /// First sequence number.
    pub first_sequence: u16,
    /// First time stamp.
    pub first_timestamp: u32,
    /// Arrival of the first packet.
    pub first: Stamp,
    /// Arrival of the last packet.
    pub last: Stamp,
    /// Packets the sender sent; the first and the last one always arrive, so this is `expected` too.
    pub sent: u64,
    /// Unique packets that arrived.
    pub packets: u64,
    /// Packets that never arrived.
    pub lost: u64,
    /// lost / sent.
    pub loss_ratio: f64,
    /// Packets that arrived twice.
    pub duplicates: u64,
    /// Packets that arrived after a later one (RFC 4737).
    pub reordered: u64,
    /// MEAS 3.6, clamped to 1..8.
    pub burst_ratio: f64,
    /// Before clamping; 0 without loss.
    pub burst_ratio_raw: f64,
    /// Longest run of lost packets.
    pub longest_loss: u64,
    /// Runs of lost packets: first sequence number and length.
    pub lost_runs: Vec<(u16, u32)>,
    /// RFC 3550 6.4.1 over the unique packets in order of arrival, seconds.
    pub jitter: Jitter,
}
