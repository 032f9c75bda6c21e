//! The facts. Each is one struct; JSON, table, metric, log line and span are projections of it.
//! Durations are seconds, ratios 0 to 1, times [`Stamp`]s. `None` = not measured, and [`Why`] says why.

pub mod live;
mod names;
pub mod trail;
pub mod why;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Stamp;
use crate::hep::Hep;
use crate::rtp::packet::Packet;
use crate::rtp::payload::Codec;
use crate::sip::sdp::Session;
use crate::wire::Endpoint;

pub use live::{Live, LiveCall, LiveStream, StreamCounts};
pub use why::Why;

/// Receives facts as they become final.
pub trait Sink {
    /// Takes one fact.
    fn event(&mut self, event: Event);

    /// Whether [`Event::Answered`] is of use. Where it is not, its records are not even made.
    fn wants_answered(&self) -> bool {
        true
    }

    /// Takes a message as it passed on the wire, if the observer was told to mirror.
    fn message(&mut self, _message: &Mirrored<'_>) {}

    /// Takes a SIP message that came by HEP, if the observer was told to mirror.
    fn retold(&mut self, _message: &Mirrored<'_>) {}

    /// Whether [`Sink::header`] is of use.
    fn wants_headers(&self) -> bool {
        false
    }

    /// Takes the header of each packet of a stream, in order of arrival; those of the first moments of a stream when it
    /// is known to be one.
    fn header(&mut self, _heard: &Heard) {}

    /// Whether [`Sink::described`] is of use.
    fn wants_described(&self) -> bool {
        false
    }

    /// Takes what a side of a call said about its media, as it was seen on the first hop.
    fn described(&mut self, _described: &Described<'_>) {}

    /// Whether a HEP record found in the captured traffic is one that this very agent has sent, or takes from its
    /// own socket: then it is not looked at. `decoded` is what the record says, `stamp` when
    /// it passed.
    fn is_own_hep(&mut self, _stamp: Stamp, _record: &[u8], _decoded: &Hep<'_>) -> bool {
        false
    }
}

/// A message off the wire, whole, to be sent on. What came by HEP is none: it would go round in circles.
#[derive(Clone, Copy, Debug)]
pub struct Mirrored<'a> {
    /// When it passed.
    pub stamp: Stamp,
    /// Sender.
    pub source: Endpoint,
    /// Receiver.
    pub destination: Endpoint,
    /// IP protocol that carried it: 17 UDP, 6 TCP, 132 SCTP.
    pub protocol: u8,
    /// What it is.
    pub kind: MirrorKind,
    /// Call-ID of the call that RTCP belongs to; empty when unknown, and for SIP, which has it in itself.
    pub call_id: &'a str,
    /// The message.
    pub bytes: &'a [u8],
}

/// Header of an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When it passed.
    pub stamp: Stamp,
    /// The flow it belongs to: [`Stream::flow`].
    pub flow: FlowName,
    /// RTP time stamp.
    pub ticks: u32,
    /// Sequence number.
    pub seq: u16,
    /// Bytes of the RTP packet on the wire.
    pub length: u16,
    /// IPv4 identification; 0 where there is none.
    pub ip_id: u16,
    /// Capture interface.
    pub interface: u16,
    /// Marker bit and payload type, as in the packet.
    pub marker_and_type: u8,
}

/// Names a flow within one observer: a hash, with a key that is another one each time. It means nothing elsewhere and
/// is not shown, for the same input gives the same output.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FlowName(u32);

impl FlowName {
    /// Of a flow that has this hash.
    #[inline]
    pub(crate) fn of(hash: u64) -> Self {
        Self(hash as u32)
    }
}

impl std::fmt::Debug for FlowName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FlowName")
    }
}

impl Heard {
    /// Of a packet whose flow has this hash.
    #[inline]
    pub(crate) fn of(hash: u64, packet: &Packet<'_>) -> Self {
        Self {
            stamp: packet.stamp,
            flow: FlowName::of(hash),
            ticks: packet.ticks,
            seq: packet.seq,
            length: packet.length as u16,
            ip_id: packet.ip_id,
            interface: packet.interface as u16,
            marker_and_type: u8::from(packet.marker) << 7 | packet.payload_type,
        }
    }
}

/// A session description (RFC 8866) within a call.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    /// When it passed.
    pub stamp: Stamp,
    /// Call-ID of the call.
    pub call_id: &'a str,
    /// The caller's, or the callee's.
    pub by_caller: bool,
    /// What it is in the exchange, as far as the message tells.
    pub role: Role,
    /// What it says.
    pub session: &'a Session,
}

/// Part of a description in the exchange (RFC 3264). Where an INVITE had none, the response brings the offer and ACK the
/// answer; from the response alone that cannot be told, and it counts as an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// In a request.
    Offer,
    /// In a response, an ACK or a PRACK.
    Answer,
}

/// What a mirrored message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MirrorKind {
    /// A SIP message.
    Sip,
    /// A compound RTCP packet.
    Rtcp,
}

impl<F: FnMut(Event)> Sink for F {
    fn event(&mut self, event: Event) {
        self(event);
    }
}

/// A fact worth telling an operator.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "moved once, right after it is made")]
pub enum Event {
    /// A call was answered, told 2 s later, when its outer hop and its other legs have come to light (MEAS 5.9), or
    /// right before its [`Event::Call`]. The record is that of the call as it stands.
    Answered(Call),
    /// A call is over, or the capture is.
    Call(Call),
    /// A registration attempt is over.
    Registration(Registration),
    /// The last binding of an address of record ran out, and nobody had renewed it (MEAS 5.8).
    Expired(Binding),
    /// A media stream is over, or the capture is.
    Stream(Stream),
    /// An endpoint told its own view.
    Report(Report),
    /// One quality window of a stream closed (MEAS 1.14).
    Window(Window),
    /// A transfer has an outcome (MEAS 5.10).
    Transfer(Transfer),
}

/// One call, however many hops and legs the tap saw (DESIGN 2.1, MEAS 5).
#[derive(Clone, Debug, Serialize)]
#[allow(clippy::struct_excessive_bools, reason = "a record of independent facts")]
pub struct Call {
    /// Call-ID of the primary leg.
    pub call_id: String,
    /// All Call-IDs of joined legs, the primary one first.
    pub call_ids: Vec<String>,
    /// From URI.
    pub from: String,
    /// To URI.
    pub to: String,
    /// Sender of the first INVITE.
    pub source: Endpoint,
    /// Receiver of the first INVITE.
    pub destination: Endpoint,
    /// What carried the first INVITE.
    pub transport: SipTransport,
    /// How it reached us.
    pub via: Via,
    /// Where it stood at the end of the capture.
    pub state: CallState,
    /// Outcome of the attempt; `None` while there is none.
    pub result: Option<CallResult>,
    /// Final status code of the INVITE.
    pub status: Option<u16>,
    /// How the call ended (MEAS 5.7).
    pub end_reason: Option<EndReason>,
    /// First INVITE (t0).
    pub start: Stamp,
    /// End of the call: BYE, final failure or time-out.
    pub end: Option<Stamp>,
    /// A 401 or 407 was part of the attempt.
    pub challenged: bool,
    /// t0 to the first of 180, 181, 182, 183.
    pub post_dial_delay: Option<f64>,
    /// t0 to the first 2xx.
    pub setup: Option<f64>,
    /// First 18x to 2xx.
    pub ring: Option<f64>,
    /// BYE to its final response.
    pub disconnect: Option<f64>,
    /// 2xx to BYE.
    pub duration: Option<f64>,
    /// Transaction start to the first response of any kind.
    pub first_response: Option<f64>,
    /// t0 to the INVITE retried with credentials.
    pub auth: Option<f64>,
    /// t0 to the final failure, when no 18x came before (RFC 6076 failed SRD).
    pub session_request_failed: Option<f64>,
    /// Several dialogs were created by one INVITE.
    pub forked: bool,
    /// SDP in a provisional response.
    pub early_media: bool,
    /// Started by a REFER or with Replaces.
    pub transferred: bool,
    /// Configured tenant.
    pub tenant: Option<String>,
    /// Configured route.
    pub route: Option<String>,
    /// Keys pressed by INFO, in order; those of RFC 4733 stand with their stream.
    pub dtmf: Vec<String>,
    /// Who takes part in the call that this one records (SIPREC, RFC 7866): addresses of record.
    pub participants: Vec<String>,
    /// Codec that carried most audio.
    pub codec: Option<Codec>,
    /// Address pairs on which the tap saw the call.
    pub hops: u32,
    /// Retransmitted requests and responses of the call's own transactions on the primary hop.
    pub retransmissions: u32,
    /// Direction without media (MEAS 6.1); `None` when both were heard or it could not be told.
    pub one_way: Option<Missing>,
    /// Both sides connected but silent (MEAS 6.2).
    pub dead_air: Option<bool>,
    /// Worst whole-stream MOS-LQ of the call's streams at the primary hop.
    pub mos: Option<f64>,
    /// Ids of the streams.
    pub streams: Vec<String>,
    /// W3C traceparent of the first INVITE, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Its transactions hop by hop; only of a call that is over, and only where traces are made.
    #[serde(skip)]
    pub trail: Option<Box<trail::Trail>>,
    /// Why a number is absent.
    #[serde(skip_serializing_if = "Why::is_empty")]
    pub why: Why,
}

/// What carried a SIP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum SipTransport {
    Udp,
    Tcp,
    Tls,
    Ws,
    Wss,
    Sctp,
}

/// How a message reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// Off the wire.
    Wire,
    /// Mirrored by a proxy (HEP).
    Hep,
}

/// Life of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum CallState {
    Trying,
    Ringing,
    Confirmed,
    Ended,
}

/// Final outcome of an attempt, exactly one each (MEAS 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "MEAS 5.4 defines them")]
pub enum CallResult {
    Answered,
    Redirected,
    Failed,
    Timeout,
    NoFinal,
    AbandonedAuth,
    Cancelled,
}

/// How an answered call ended (MEAS 5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "MEAS 5.7 defines them")]
pub enum EndReason {
    Bye,
    SessionTimer,
    RtpTimeout,
    Idle,
    MaxAge,
    Evicted,
    Replaced,
    #[serde(rename = "481")]
    DoesNotExist,
    #[serde(rename = "408")]
    ReinviteTimeout,
}

/// The direction in which nothing was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Missing {
    ToCaller,
    ToCallee,
}

/// One registration attempt (MEAS 5.8).
#[derive(Clone, Debug, Serialize)]
pub struct Registration {
    /// Call-ID.
    pub call_id: String,
    /// Address of record: the To URI.
    pub aor: String,
    /// Sender of the first REGISTER.
    pub source: Endpoint,
    /// Receiver of the first REGISTER.
    pub destination: Endpoint,
    /// What carried it.
    pub transport: SipTransport,
    /// How it reached us.
    pub via: Via,
    /// Outcome; `None` when the capture ended first.
    pub result: Option<RegistrationResult>,
    /// Final status code.
    pub status: Option<u16>,
    /// First REGISTER.
    pub start: Stamp,
    /// First REGISTER to the 200; successes only.
    pub delay: Option<f64>,
    /// Granted lifetime in seconds.
    pub expires: Option<u32>,
    /// A 401 or 407 was part of the attempt.
    pub challenged: bool,
    /// Final response; `None` when there was none.
    #[serde(skip)]
    pub end: Option<Stamp>,
    /// Last 401, 407 or 423 that the client was to answer.
    #[serde(skip)]
    pub sent_back: Option<Stamp>,
}

/// A registration that ran out.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Call-ID of the last REGISTER that was accepted.
    pub call_id: String,
    /// Address of record: the To URI.
    pub aor: String,
    /// Who sent it.
    pub source: Endpoint,
    /// Who took it.
    pub destination: Endpoint,
    /// What carried it.
    pub transport: SipTransport,
    /// How it reached us.
    pub via: Via,
    /// When it was accepted.
    pub accepted: Stamp,
    /// When it ran out.
    pub end: Stamp,
}

/// Outcome of a registration attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "MEAS 5.8 defines them")]
pub enum RegistrationResult {
    Success,
    Failure,
    Timeout,
    Redirect,
    Unregister,
    Abandoned,
}

/// One RTP stream: a 5-tuple and an SSRC (DESIGN 2.1).
#[derive(Clone, Debug, Serialize)]
#[allow(clippy::struct_excessive_bools, reason = "a record of independent facts")]
pub struct Stream {
    /// Stable name inside one report.
    pub id: String,
    /// `0x%08x`.
    pub ssrc: String,
    /// Sender.
    pub source: Endpoint,
    /// Receiver.
    pub destination: Endpoint,
    /// Call-ID of its call.
    pub call_id: Option<String>,
    /// `to_caller` or `to_callee`.
    pub direction: Option<Direction>,
    /// How it was recognised.
    pub origin: Origin,
    /// Payload types seen, in order of appearance.
    pub payload_types: Vec<u8>,
    /// Codec that carried most audio.
    pub codec: Codec,
    /// Where the codec was learned.
    pub codec_source: CodecSource,
    /// Clock rate of that codec in Hz.
    pub clock_rate: Option<u32>,
    /// Packetisation time in seconds.
    pub ptime: Option<f64>,
    /// First packet.
    pub first: Stamp,
    /// Last packet.
    pub last: Stamp,
    /// Unique packets.
    pub packets: u64,
    /// IP payload bytes of the unique packets.
    pub bytes: u64,
    /// Expected packets.
    pub expected: u64,
    /// expected - packets.
    pub lost: u64,
    /// Sent twice or more by the network.
    pub duplicates: u64,
    /// The same packet captured twice: not in any other count.
    pub capture_duplicates: u64,
    /// Arrived after a later one.
    pub reordered: u64,
    /// Far out of sequence and not confirmed by a successor.
    pub rejected: u64,
    /// Confirmed restarts of the sequence.
    pub restarts: u64,
    /// lost / expected.
    pub loss_ratio: Option<f64>,
    /// MEAS 3.6, of wire loss, clamped to 1..8.
    pub burst_ratio: Option<f64>,
    /// Longest run of lost packets.
    pub longest_loss: u64,
    /// MEAS 6.4.
    pub loss_pattern: Option<LossPattern>,
    /// RFC 3611 burst and gap statistics (Gmin 16) of wire loss and late packets.
    pub burst_gap: Option<BurstGap>,
    /// Interarrival jitter, seconds.
    pub jitter: Option<Jitter>,
    /// 95th percentile of the delay variation, seconds (MEAS 1.6).
    pub pdv_p95: Option<f64>,
    /// MEAS 6.3.
    pub clock_skew_ppm: Option<f64>,
    /// Packets each simulated buffer threw away (MEAS 4.3).
    pub discarded: Option<Discarded>,
    /// Opinion scores.
    pub mos: Option<Mos>,
    /// Transmission rating behind `mos.lq`.
    pub r_factor: Option<f64>,
    /// Scale of `mos` and `r_factor`.
    pub band: Option<Band>,
    /// The codec's constants are estimates, or the codec is unknown (MEAS 3.5).
    pub estimate: bool,
    /// Loss above 20 %: outside what the E-model was validated for (MEAS 3.6).
    pub out_of_range: bool,
    /// Receiver assumed to conceal loss: `assumed`, `reported` or `off` (MEAS 3.5).
    pub plc: &'static str,
    /// What the delay in `mos.cq` rests on (MEAS 4.5).
    pub delay_source: Option<&'static str>,
    /// Encrypted payload.
    pub srtp: bool,
    /// Digits in order of appearance.
    pub dtmf: Vec<String>,
    /// Silence periods: time-stamp gap with contiguous sequence.
    pub dtx_gaps: u64,
    /// DTX time over stream time.
    pub silence_ratio: Option<f64>,
    /// Time-stamp jumps of 3 s and more.
    pub discontinuities: u64,
    /// Changes of the RTP clock inside the stream.
    pub rate_changes: u64,
    /// Arrival gaps over 500 ms that no silence explains.
    pub stalls: u64,
    /// Another SSRC was interleaved on the same 5-tuple for over 2 s.
    pub ssrc_overlap: bool,
    /// Ended by BYE while silent for over 1 s and the other direction flowed.
    pub tail_missing: bool,
    /// No energy for 10 s and more (MEAS 6.2); `None` = could not be told.
    pub dead_air: Option<bool>,
    /// Differentiated services code point of the first packet.
    pub dscp: u8,
    /// Number of the hop group in which the same media was seen, and the place in it (0 = first).
    pub hop: Option<Hop>,
    /// First packet before the 200.
    pub early: bool,
    /// What receivers reported about it.
    pub rtcp: Option<Rtcp>,
    /// Windows measured, and how many were tainted by drops at the tap.
    pub windows: u64,
    /// What its packets are called in [`Heard`].
    #[serde(skip)]
    pub flow: FlowName,
    /// Why a number is absent.
    #[serde(skip_serializing_if = "Why::is_empty")]
    pub why: Why,
}

impl Stream {
    /// A stream of which nothing was measured.
    pub fn blank(source: Endpoint, destination: Endpoint) -> Self {
        Self {
            id: String::new(),
            ssrc: String::new(),
            source,
            destination,
            call_id: None,
            direction: None,
            origin: Origin::Heuristic,
            payload_types: Vec::new(),
            codec: Codec::Unknown,
            codec_source: CodecSource::Unknown,
            clock_rate: None,
            ptime: None,
            first: Stamp(0),
            last: Stamp(0),
            packets: 0,
            bytes: 0,
            expected: 0,
            lost: 0,
            duplicates: 0,
            capture_duplicates: 0,
            reordered: 0,
            rejected: 0,
            restarts: 0,
            loss_ratio: None,
            burst_ratio: None,
            longest_loss: 0,
            loss_pattern: None,
            burst_gap: None,
            jitter: None,
            pdv_p95: None,
            clock_skew_ppm: None,
            discarded: None,
            mos: None,
            r_factor: None,
            band: None,
            estimate: false,
            out_of_range: false,
            plc: "assumed",
            delay_source: None,
            srtp: false,
            dtmf: Vec::new(),
            dtx_gaps: 0,
            silence_ratio: None,
            discontinuities: 0,
            rate_changes: 0,
            stalls: 0,
            ssrc_overlap: false,
            tail_missing: false,
            dead_air: None,
            dscp: 0,
            hop: None,
            early: false,
            rtcp: None,
            windows: 0,
            flow: FlowName::default(),
            why: Why::new(),
        }
    }
}

/// Where in the path of the same media a stream was seen (MEAS 1.11.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// Id of the first stream of the group.
    pub of: String,
    /// 0 = nearest to the sender.
    pub place: u32,
}

/// Direction of a stream in its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Direction {
    ToCaller,
    ToCallee,
}

/// How a stream was recognised as RTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Its endpoint stood in SDP.
    Sdp,
    /// RTCP named its SSRC.
    Rtcp,
    /// Probation (MEAS 6.7).
    Heuristic,
}

/// Where the codec of a stream was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum CodecSource {
    Sdp,
    Static,
    Inferred,
    Unknown,
}

/// MEAS 6.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "MEAS 6.4 defines them")]
pub enum LossPattern {
    None,
    Random,
    Bursty,
    Outage,
}

/// RFC 3611 4.7.2 with Gmin 16: densities 0 to 1, mean durations in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "RFC 3611 4.7.2 defines them")]
pub struct BurstGap {
    pub bursts: u64,
    pub burst_density: f64,
    pub gap_density: f64,
    pub burst_duration: f64,
    pub gap_duration: f64,
}

/// Interarrival jitter (RFC 3550 6.4.1), seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Jitter {
    /// At the end of the stream.
    pub last: f64,
    /// Arithmetic mean of the value after each update.
    pub mean: f64,
    /// Largest value.
    pub max: f64,
}

/// Late packets by simulated buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "MEAS 4.3 defines them")]
pub struct Discarded {
    pub fixed50: u64,
    pub fixed200: u64,
    pub adaptive: u64,
}

/// Opinion scores of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mos {
    /// Listening quality.
    pub lq: f64,
    /// Conversational quality; only with a measured delay.
    pub cq: Option<f64>,
    /// Worst window, listening quality.
    pub min_window: Option<f64>,
}

/// Scale of an opinion score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Band {
    Nb,
    Wb,
    Fb,
}

/// What RTCP about a stream said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rtcp {
    /// End-to-end round trip, seconds (MEAS 2.4).
    pub rtt: Option<f64>,
    /// Round trip between tap and sender, seconds.
    pub rtt_sender: Option<f64>,
    /// Round trip between tap and receiver, seconds.
    pub rtt_receiver: Option<f64>,
    /// Loss by the receiver's cumulative counters (MEAS 2.3).
    pub reported_loss_ratio: Option<f64>,
    /// Largest interarrival jitter reported, seconds.
    pub reported_jitter: Option<f64>,
    /// Loss before the tap by the sender's packet counts (MEAS 1.12).
    pub upstream_loss_ratio: Option<f64>,
    /// Loss behind the tap (MEAS 1.13).
    pub downstream_loss_ratio: Option<f64>,
    /// MOS-LQ of the last RTCP XR VoIP metrics block.
    pub xr_mos_lq: Option<f64>,
    /// MOS-CQ of the last RTCP XR VoIP metrics block.
    pub xr_mos_cq: Option<f64>,
    /// Receiver reports about this stream.
    pub reports: u32,
}

/// An endpoint's own view of quality (MEAS 2.5, 2.6).
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which report.
    pub kind: ReportKind,
    /// When it passed the tap.
    pub stamp: Stamp,
    /// Call-ID it speaks of.
    pub call_id: Option<String>,
    /// SSRC it speaks of.
    pub ssrc: Option<String>,
    /// MOS-LQ.
    pub mos_lq: Option<f64>,
    /// MOS-CQ.
    pub mos_cq: Option<f64>,
    /// Network loss ratio.
    pub loss_ratio: Option<f64>,
    /// Discard ratio of its de-jitter buffer.
    pub discard_ratio: Option<f64>,
    /// Round trip, seconds.
    pub rtt: Option<f64>,
}

/// Which report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportKind {
    /// RFC 6035.
    VqRtcpxr,
    /// RFC 3611.
    RtcpXr,
    /// RFC 3550: a report block that came by HEP, about a stream that was not captured. Of a captured one, it is in
    /// that stream's [`Rtcp`].
    Rtcp,
}

/// One closed quality window (MEAS 1.14).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Number behind the `s` of its stream's id.
    pub stream: u32,
    /// Start of the window.
    pub start: Stamp,
    /// Codec of most of its audio packets.
    pub codec: Codec,
    /// Direction in the call.
    pub direction: Option<Direction>,
    /// Scale of the MOS.
    pub band: Band,
    /// Expected packets.
    pub expected: u32,
    /// Lost packets.
    pub lost: u32,
    /// Packets the adaptive buffer threw away.
    pub late: u32,
    /// MOS-LQ with loss and late packets.
    pub mos_lq: f64,
    /// Mean interarrival jitter in the window, seconds.
    pub jitter: Option<f64>,
    /// Drops at the tap while it lasted: not to be trusted (MEAS 0.4).
    pub tainted: bool,
}

/// A transfer (MEAS 5.10).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// Call in which the REFER was sent.
    pub call_id: String,
    /// Refer-To carried Replaces.
    pub attended: bool,
    /// Final status of the triggered request, or of the REFER itself when refused.
    pub status: Option<u16>,
}

/// What the whole input added up to: the counters behind `capture` and `sip` of the report (DESIGN 2.1).
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Frames read.
    pub packets: u64,
    /// Bytes of those frames on the wire.
    pub bytes: u64,
    /// Earliest frame.
    pub first: Option<Stamp>,
    /// Latest frame.
    pub last: Option<Stamp>,
    /// Frames that carry nothing this program measures, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Frames that could not be decoded although they should.
    pub undecoded: u64,
    /// Reasons or ports of the undecoded frames, the busiest first.
    pub busiest_undecoded: Vec<(String, u64)>,
    /// IP fragments.
    pub fragments: u64,
    /// Frames captured twice.
    pub duplicates: u64,
    /// Frames cut by the snap length.
    pub truncated: u64,
    /// SIP requests by method, every hop.
    pub requests: BTreeMap<String, u64>,
    /// SIP responses by status code, every hop.
    pub responses: BTreeMap<u16, u64>,
    /// Repeated SIP messages.
    pub retransmissions: u64,
    /// SIP messages that could not be used.
    pub malformed: u64,
    /// SIP messages of dialogs the capture did not see begin (MEAS 5.7).
    pub orphans: u64,
    /// Defects in messages that were used all the same, by name.
    pub defects: BTreeMap<&'static str, u64>,
    /// Entries thrown out of full tables, by table.
    pub evicted: BTreeMap<&'static str, u64>,
}
