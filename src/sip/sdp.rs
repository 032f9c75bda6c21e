//! Session descriptions (RFC 4566, RFC 8866) as far as media measurement needs them.

use std::net::IpAddr;

use crate::rtp::payload::Format;

/// What one SDP body says about media.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// Media sections in order; a rejected one has port 0.
    pub media: Vec<Media>,
}

/// One `m=` section, session-level defaults applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// Kind of media.
    pub kind: Kind,
    /// Where it wants to be sent to; `None` for a host name.
    pub address: Option<IpAddr>,
    /// RTP port; 0 = rejected.
    pub port: u16,
    /// RTCP port: `a=rtcp:` or port + 1, or `port` with `a=rtcp-mux`.
    pub rtcp_port: u16,
    /// `a=rtcp-mux` present.
    pub rtcp_mux: bool,
    /// `RTP/SAVP*` or a DTLS fingerprint: payload is encrypted.
    pub secure: bool,
    /// sendrecv, sendonly, recvonly, inactive; inactive also for `c=0.0.0.0`.
    pub direction: Direction,
    /// `a=ptime`, milliseconds.
    pub ptime_ms: Option<u16>,
    /// Payload formats in order of preference.
    pub formats: Vec<Format>,
}

/// Kind of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Kind {
    Audio,
    Video,
    /// T.38 and the like.
    Image,
    Other,
}

/// Direction attribute, from the view of the describing side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Direction {
    #[default]
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}
