//! Payload types, codecs and clock rates (RFC 3551, RFC 7587; MEAS 1.7).

use serde::{Serialize, Serializer};

/// One payload type as negotiated, or as assigned by RFC 3551.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// Codec.
    pub codec: Codec,
    /// RTP clock rate in Hz; 0 = unknown.
    pub clock_rate: u32,
    /// Bit rate or mode that `fmtp`/`rtpmap` fixes, in bit/s; 0 = unknown. Opus: `maxaveragebitrate`.
    pub bit_rate: u32,
    /// In-band forward error correction negotiated (`useinbandfec=1`).
    pub fec: bool,
}

/// What a payload type stands for in the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Speech or music: feeds jitter, the de-jitter buffers and the MOS.
    Audio,
    /// telephone-event (RFC 4733): feeds loss only (MEAS 1.10).
    Event,
    /// Comfort noise (RFC 3389): feeds loss only (MEAS 1.8).
    ComfortNoise,
    /// Video: loss only.
    Video,
}

/// A codec, closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Codec {
    Pcmu,
    Pcma,
    G722,
    G7221,
    G723,
    G726_16,
    G726_24,
    G726_32,
    G726_40,
    G728,
    G729,
    Gsm,
    GsmHr,
    GsmEfr,
    Amr,
    AmrWb,
    Evs,
    Evrc,
    Ilbc,
    Opus,
    Speex,
    Silk,
    Dvi4,
    Lpc,
    L16,
    Mpa,
    Red,
    ComfortNoise,
    TelephoneEvent,
    H261,
    H263,
    H264,
    H265,
    Vp8,
    Vp9,
    Av1,
    Jpeg,
    Mpv,
    /// Named by SDP, not in this list.
    Other,
    /// Neither SDP nor RFC 3551 says what it is.
    Unknown,
}

impl Codec {
    /// Name as in `a=rtpmap`, in the registered spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::G7221 => "G7221",
            Self::G723 => "G723",
            Self::G726_16 => "G726-16",
            Self::G726_24 => "G726-24",
            Self::G726_32 => "G726-32",
            Self::G726_40 => "G726-40",
            Self::G728 => "G728",
            Self::G729 => "G729",
            Self::Gsm => "GSM",
            Self::GsmHr => "GSM-HR-08",
            Self::GsmEfr => "GSM-EFR",
            Self::Amr => "AMR",
            Self::AmrWb => "AMR-WB",
            Self::Evs => "EVS",
            Self::Evrc => "EVRC",
            Self::Ilbc => "iLBC",
            Self::Opus => "opus",
            Self::Speex => "speex",
            Self::Silk => "SILK",
            Self::Dvi4 => "DVI4",
            Self::Lpc => "LPC",
            Self::L16 => "L16",
            Self::Mpa => "MPA",
            Self::Red => "red",
            Self::ComfortNoise => "CN",
            Self::TelephoneEvent => "telephone-event",
            Self::H261 => "H261",
            Self::H263 => "H263",
            Self::H264 => "H264",
            Self::H265 => "H265",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Av1 => "AV1",
            Self::Jpeg => "JPEG",
            Self::Mpv => "MPV",
            Self::Other => "other",
            Self::Unknown => "unknown",
        }
    }

    /// What packets of this codec count for.
    pub fn class(self) -> Class {
        match self {
            Self::TelephoneEvent => Class::Event,
            Self::ComfortNoise => Class::ComfortNoise,
            Self::H261
            | Self::H263
            | Self::H264
            | Self::H265
            | Self::Vp8
            | Self::Vp9
            | Self::Av1
            | Self::Jpeg
            | Self::Mpv => Class::Video,
            _ => Class::Audio,
        }
    }
}

impl Serialize for Codec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
