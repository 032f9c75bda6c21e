//! Why a number is absent (DESIGN 2.1): a closed list of reasons, and which one each field has.
//!
//! ```text
//! Call::explain, Stream::explain: every number of the fact that is None gets a reason,
//! unless the one who knows better has given it before
//! ```

use std::ops::Index;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{Call, CallResult, CallState, EndReason, Stream};
use crate::rtp::payload::{Class, Codec};

/// Reason for each absent number, by the name of its field. A few entries in the order of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Why(Vec<(&'static str, &'static str)>);

impl Why {
    /// No number is absent.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Whether no number is absent.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The reason why `field` is absent.
    pub fn get(&self, field: &str) -> Option<&&'static str> {
        self.0.iter().find(|(known, _)| *known == field).map(|(_, reason)| reason)
    }

    /// Whether `field` has a reason.
    pub fn contains_key(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    /// The fields that have a reason, in order.
    pub fn keys(&self) -> impl Iterator<Item = &&'static str> {
        self.0.iter().map(|(field, _)| field)
    }

    /// Fields and reasons, in the order of the fields.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.0.iter().copied()
    }

    /// Gives a reason; returns the one it had before.
    pub fn insert(&mut self, field: &'static str, reason: &'static str) -> Option<&'static str> {
        match self.place(field) {
            Ok(known) => self.0.get_mut(known).map(|entry| std::mem::replace(&mut entry.1, reason)),
            Err(place) => {
                self.add(place, field, reason);
                None
            }
        }
    }

    /// Gives a reason, unless there is one.
    pub fn or_insert(&mut self, field: &'static str, reason: &'static str) {
        if let Err(place) = self.place(field) {
            self.add(place, field, reason);
        }
    }

    /// Takes a reason back.
    pub fn remove(&mut self, field: &str) -> Option<&'static str> {
        let known = self.place(field).ok()?;
        Some(self.0.remove(known).1)
    }

    fn add(&mut self, place: usize, field: &'static str, reason: &'static str) {
        if self.0.is_empty() {
            self.0.reserve(FEW);
        }
        self.0.insert(place, (field, reason));
    }

    /// Where `field` stands, or belongs: mostly at the end, for they are given in order.
    fn place(&self, field: &str) -> Result<usize, usize> {
        match self.0.last() {
            Some(&(last, _)) if last >= field => self.0.binary_search_by(|(known, _)| (*known).cmp(field)),
            _ => Err(self.0.len()),
        }
    }
}

/// Room for the reasons of nearly every fact.
const FEW: usize = 12;

impl Extend<(&'static str, &'static str)> for Why {
    fn extend<I: IntoIterator<Item = (&'static str, &'static str)>>(&mut self, reasons: I) {
        reasons.into_iter().for_each(|(field, reason)| _ = self.insert(field, reason));
    }
}

impl<const N: usize> From<[(&'static str, &'static str); N]> for Why {
    fn from(reasons: [(&'static str, &'static str); N]) -> Self {
        let mut why = Self::new();
        why.extend(reasons);
        why
    }
}

impl Index<&str> for Why {
    type Output = &'static str;

    fn index(&self, field: &str) -> &Self::Output {
        self.get(field).unwrap_or(&"")
    }
}

/// Its keys are names of this program, like those of a struct.
impl Serialize for Why {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Why", self.0.len())?;
        for (field, reason) in &self.0 {
            fields.serialize_field(field, reason)?;
        }
        fields.end()
    }
}

/// Fewer packets or less time than the figure needs.
pub const TOO_SHORT: &str = "too short";
/// Neither SDP nor RFC 3551 tells the clock rate, and it could not be inferred.
pub const CLOCK_UNKNOWN: &str = "clock unknown";
/// Found without SDP, and its time stamps do not run at a clock rate (MEAS 6.7): it may be no RTP.
pub const RATE_IMPLAUSIBLE: &str = "rate implausible";
/// The payload is encrypted.
pub const ENCRYPTED: &str = "encrypted";
/// The payload is of a codec that is not decoded here.
pub const NOT_DECODED: &str = "payload not decoded";
/// No constants for the E-model.
pub const NOT_RATED: &str = "codec not rated";
/// Events, comfort noise or video only.
pub const NO_AUDIO: &str = "no audio";
/// No stream was seen.
pub const NO_MEDIA: &str = "no media seen";
/// Only one direction was seen, or only one of two needed halves.
pub const ONE_DIRECTION: &str = "one direction only";
/// The kernel dropped packets at the tap while the stream lasted: its losses may be ours (MEAS 0.4).
pub const DROPPED_AT_TAP: &str = "drops at the tap";
/// One direction is missing, where this tap never sees it (MEAS 6.1).
pub const BLIND: &str = "one direction never seen at this tap";
/// A direction pauses by silence suppression: nothing heard means nothing.
pub const PAUSES: &str = "silence suppression";
/// A side held the call.
pub const ON_HOLD: &str = "on hold";
/// No round trip was measured, and none is assumed.
pub const NO_DELAY: &str = "no delay measured";
/// No RTCP spoke of the stream.
pub const NO_RTCP: &str = "no RTCP";
/// RTCP spoke of the stream, but nobody answered a sender report.
pub const NO_ANSWER: &str = "no sender report answered";
/// No response to the INVITE came.
pub const NO_RESPONSE: &str = "no response";
/// No final response to the INVITE came.
pub const NO_FINAL: &str = "no final response";
/// The INVITE had no 2xx.
pub const NOT_ANSWERED: &str = "not answered";
/// A 2xx came without one of 180 to 183 before it.
pub const NOT_RUNG: &str = "answered without 180 to 183";
/// It failed without one of 180 to 183 before it.
pub const NO_RINGING: &str = "no 180 to 183";
/// It was up when the capture ended.
pub const STILL_UP: &str = "not over yet";
/// It ended otherwise.
pub const NO_BYE: &str = "no BYE seen";
/// The capture ended before the answer to the BYE.
pub const BYE_NOT_ANSWERED: &str = "BYE not answered yet";

impl Stream {
    /// Gives every absent number its reason.
    pub(crate) fn explain(&mut self) {
        let class = self.codec.class();
        let timing = match (class, self.clock_rate) {
            (Class::Event | Class::ComfortNoise, _) => NO_AUDIO,
            (_, None) => CLOCK_UNKNOWN,
            _ => TOO_SHORT,
        };
        let sound = if class == Class::Audio { timing } else { NO_AUDIO };
        let score = match class {
            Class::Audio if self.expected < crate::quality::score::EXPECTED_MIN => TOO_SHORT,
            Class::Audio => NOT_RATED,
            _ => NO_AUDIO,
        };
        let silence = match (self.srtp, class, self.codec) {
            (true, ..) => ENCRYPTED,
            (_, Class::Audio, Codec::Pcmu | Codec::Pcma) => TOO_SHORT,
            (_, Class::Audio, _) => NOT_DECODED,
            _ => NO_AUDIO,
        };
        let cq = self.mos.is_some_and(|mos| mos.cq.is_none());
        let min_window = self.mos.is_some_and(|mos| mos.min_window.is_none());
        let round_trip = self.rtcp.filter(|rtcp| rtcp.rtt.is_none()).map(|rtcp| {
            let half = rtcp.rtt_sender.or(rtcp.rtt_receiver);
            if half.is_some() { ONE_DIRECTION } else { NO_ANSWER }
        });
        // A score that was refused has its reason already, and R has the same.
        let score = self.why.get("mos").copied().unwrap_or(score);
        let absent = [
            ("burst_gap", self.burst_gap.is_none(), sound),
            ("clock_rate", self.clock_rate.is_none(), CLOCK_UNKNOWN),
            ("clock_skew_ppm", self.clock_skew_ppm.is_none(), sound),
            ("dead_air", self.dead_air.is_none(), silence),
            ("discarded", self.discarded.is_none(), sound),
            ("jitter", self.jitter.is_none(), timing),
            ("mos", self.mos.is_none(), score),
            ("mos.cq", cq, NO_DELAY),
            ("mos.min_window", min_window, TOO_SHORT),
            ("pdv_p95", self.pdv_p95.is_none(), sound),
            ("ptime", self.ptime.is_none(), timing),
            ("r_factor", self.r_factor.is_none(), score),
            ("rtcp", self.rtcp.is_none(), NO_RTCP),
            ("rtcp.rtt", round_trip.is_some(), round_trip.unwrap_or(NO_ANSWER)),
            ("silence_ratio", self.silence_ratio.is_none(), sound),
        ];
        for (field, _, reason) in absent.into_iter().filter(|(_, absent, _)| *absent) {
            self.why.or_insert(field, reason);
        }
    }
}

impl Call {
    /// Gives every absent number its reason.
    pub(crate) fn explain(&mut self) {
        let answered = self.setup.is_some();
        let rung = if answered { NOT_RUNG } else { NO_RINGING };
        let after = |reason| if answered { reason } else { NOT_ANSWERED };
        let up = self.state != CallState::Ended;
        let disconnect = match self.end_reason {
            None if up => STILL_UP,
            Some(EndReason::Bye) => BYE_NOT_ANSWERED,
            _ => NO_BYE,
        };
        // A call that was given up before its outcome has none; a time-out is one without a status.
        let last = if self.first_response.is_none() || self.result == Some(CallResult::Timeout) {
            NO_RESPONSE
        } else {
            NO_FINAL
        };
        let media = if self.streams.is_empty() { NO_MEDIA } else { NO_AUDIO };
        let absent = [
            ("codec", self.codec.is_none(), media),
            ("dead_air", self.dead_air.is_none(), media),
            ("disconnect", self.disconnect.is_none(), after(disconnect)),
            ("duration", self.duration.is_none(), after(STILL_UP)),
            ("first_response", self.first_response.is_none(), NO_RESPONSE),
            ("mos", self.mos.is_none(), media),
            ("post_dial_delay", self.post_dial_delay.is_none(), rung),
            ("ring", self.ring.is_none(), after(NOT_RUNG)),
            ("setup", self.setup.is_none(), NOT_ANSWERED),
            ("status", self.status.is_none(), last),
        ];
        for (field, _, reason) in absent.into_iter().filter(|(_, absent, _)| *absent) {
            self.why.or_insert(field, reason);
        }
    }
}
