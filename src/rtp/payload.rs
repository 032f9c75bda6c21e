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
    /// Video named by SDP or RFC 3551, not in this list.
    OtherVideo,
    /// Named by SDP, not in this list.
    Other,
    /// Neither SDP nor RFC 3551 says what it is.
    Unknown,
}

impl Format {
    /// The static assignment of a payload type (RFC 3551 6); `None` for unassigned and dynamic numbers.
    pub fn of_static(payload_type: u8) -> Option<Self> {
        let (codec, clock_rate) = match payload_type {
            0 => (Codec::Pcmu, 8000),
            // Reserved by RFC 3551, but G.721, the same code, in RFC 1890 and still on the wire.
            2 => (Codec::G726_32, 8000),
            3 => (Codec::Gsm, 8000),
            4 => (Codec::G723, 8000),
            5 => (Codec::Dvi4, 8000),
            6 => (Codec::Dvi4, 16_000),
            7 => (Codec::Lpc, 8000),
            8 => (Codec::Pcma, 8000),
            // Sampled at 16 kHz; the RTP clock is a historical error (RFC 3551 4.5.2).
            9 => (Codec::G722, 8000),
            10 | 11 => (Codec::L16, 44_100),
            // QCELP.
            12 => (Codec::Other, 8000),
            // 19 is the number of comfort noise before RFC 3389.
            13 | 19 => (Codec::ComfortNoise, 8000),
            14 => (Codec::Mpa, 90_000),
            15 => (Codec::G728, 8000),
            16 => (Codec::Dvi4, 11_025),
            17 => (Codec::Dvi4, 22_050),
            18 => (Codec::G729, 8000),
            26 => (Codec::Jpeg, 90_000),
            // CelB, nv, MP2T.
            25 | 28 | 33 => (Codec::OtherVideo, 90_000),
            31 => (Codec::H261, 90_000),
            32 => (Codec::Mpv, 90_000),
            34 => (Codec::H263, 90_000),
            _ => return None,
        };
        Some(Self { payload_type, codec, clock_rate, bit_rate: codec.fixed_bit_rate(), fec: false })
    }

    /// A payload type of which nothing is known.
    pub fn unknown(payload_type: u8) -> Self {
        Self { payload_type, codec: Codec::Unknown, clock_rate: 0, bit_rate: 0, fec: false }
    }

    /// `a=rtpmap:payload_type name/clock_rate`.
    pub fn from_rtpmap(payload_type: u8, name: &[u8], clock_rate: u32) -> Self {
        let codec = Codec::from_rtpmap(name);
        let clock_rate = match codec {
            // Whatever SDP says (RFC 7587 4.1, RFC 3551 4.5.2).
            Codec::Opus => 48_000,
            Codec::G722 => 8000,
            _ => clock_rate,
        };
        Self { payload_type, codec, clock_rate, bit_rate: codec.fixed_bit_rate(), fec: false }
    }

    /// `a=fmtp` parameters, `name=value;...`: only those that fix a bit rate or turn on error correction.
    pub fn apply_fmtp(&mut self, parameters: &[u8]) {
        if self.codec == Codec::TelephoneEvent {
            return;
        }
        for parameter in parameters.split(|&b| b == b';') {
            let mut pair = parameter.splitn(2, |&b| b == b'=');
            let (Some(name), Some(value)) = (pair.next(), pair.next()) else { continue };
            let (name, value) = (name.trim_ascii(), value.trim_ascii());
            let named = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
            let bit_rate = match self.codec {
                Codec::Opus if named("useinbandfec") => {
                    self.fec = value == b"1";
                    None
                }
                Codec::Opus if named("maxaveragebitrate") => decimal(value),
                Codec::G7221 if named("bitrate") => decimal(value),
                Codec::G723 if named("bitrate") => match value {
                    b"5.3" => Some(5300),
                    b"6.3" => Some(6300),
                    _ => None,
                },
                Codec::Ilbc if named("mode") => match value {
                    b"20" => Some(15_200),
                    b"30" => Some(13_330),
                    _ => None,
                },
                Codec::Amr if named("mode-set") => highest_mode(value, &AMR_MODES),
                Codec::AmrWb if named("mode-set") => highest_mode(value, &AMR_WB_MODES),
                _ => None,
            };
            self.bit_rate = bit_rate.unwrap_or(self.bit_rate);
        }
    }
}

/// Bit rate of the highest mode that `0,2,7` names.
fn highest_mode(set: &[u8], rates: &[u32]) -> Option<u32> {
    set.split(|&b| b == b',')
        .filter_map(|mode| rates.get(decimal(mode.trim_ascii())? as usize).copied())
        .max()
}

fn decimal(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// bit/s by frame type (3GPP TS 26.101).
const AMR_MODES: [u32; 8] = [4750, 5150, 5900, 6700, 7400, 7950, 10_200, 12_200];

/// bit/s by frame type (3GPP TS 26.201).
const AMR_WB_MODES: [u32; 9] = [6600, 8850, 12_650, 14_250, 15_850, 18_250, 19_850, 23_050, 23_850];

impl Codec {
    /// The codec that an `a=rtpmap` encoding name means, in any case; [`Codec::Other`] if it is none of these.
    pub fn from_rtpmap(name: &[u8]) -> Self {
        NAMES
            .iter()
            .find(|(known, _)| known.as_bytes() == name || known.as_bytes().eq_ignore_ascii_case(name))
            .map_or(Self::Other, |&(_, codec)| codec)
    }

    /// bit/s where the name alone fixes it.
    fn fixed_bit_rate(self) -> u32 {
        match self {
            Self::G726_16 => 16_000,
            Self::G726_24 => 24_000,
            Self::G726_32 => 32_000,
            Self::G726_40 => 40_000,
            // 30 ms frames unless `mode=20` (RFC 3952 5).
            Self::Ilbc => 13_330,
            _ => 0,
        }
    }

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
            Self::OtherVideo => "other-video",
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
            | Self::Mpv
            | Self::OtherVideo => Class::Video,
            _ => Class::Audio,
        }
    }
}

impl Serialize for Codec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Encoding names of the IANA registry, and the spellings that senders use instead.
const NAMES: [(&str, Codec); 53] = [
    ("PCMU", Codec::Pcmu),
    ("PCMA", Codec::Pcma),
    ("telephone-event", Codec::TelephoneEvent),
    ("opus", Codec::Opus),
    ("G722", Codec::G722),
    ("G729", Codec::G729),
    ("CN", Codec::ComfortNoise),
    ("AMR", Codec::Amr),
    ("AMR-WB", Codec::AmrWb),
    ("GSM", Codec::Gsm),
    ("iLBC", Codec::Ilbc),
    ("speex", Codec::Speex),
    ("EVS", Codec::Evs),
    ("G7221", Codec::G7221),
    ("G722.1", Codec::G7221),
    ("G723", Codec::G723),
    ("G723.1", Codec::G723),
    ("G726-16", Codec::G726_16),
    ("G726-24", Codec::G726_24),
    ("G726-32", Codec::G726_32),
    ("G726-40", Codec::G726_40),
    ("AAL2-G726-16", Codec::G726_16),
    ("AAL2-G726-24", Codec::G726_24),
    ("AAL2-G726-32", Codec::G726_32),
    ("AAL2-G726-40", Codec::G726_40),
    ("G721", Codec::G726_32),
    ("G728", Codec::G728),
    ("G729A", Codec::G729),
    ("G729D", Codec::G729),
    ("G729E", Codec::G729),
    ("GSM-HR-08", Codec::GsmHr),
    ("GSM-HR", Codec::GsmHr),
    ("GSM-EFR", Codec::GsmEfr),
    ("EVRC", Codec::Evrc),
    ("EVRC0", Codec::Evrc),
    ("EVRCB", Codec::Evrc),
    ("SILK", Codec::Silk),
    ("DVI4", Codec::Dvi4),
    ("LPC", Codec::Lpc),
    ("L16", Codec::L16),
    ("MPA", Codec::Mpa),
    ("red", Codec::Red),
    ("H261", Codec::H261),
    ("H263", Codec::H263),
    ("H263-1998", Codec::H263),
    ("H263-2000", Codec::H263),
    ("H264", Codec::H264),
    ("H265", Codec::H265),
    ("VP8", Codec::Vp8),
    ("VP9", Codec::Vp9),
    ("AV1", Codec::Av1),
    ("JPEG", Codec::Jpeg),
    ("MPV", Codec::Mpv),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_types_are_those_of_rfc_3551() {
        let of = |pt| Format::of_static(pt).map(|format| (format.codec, format.clock_rate));
        assert_eq!(of(0), Some((Codec::Pcmu, 8000)));
        assert_eq!(of(9), Some((Codec::G722, 8000)));
        assert_eq!(of(16), Some((Codec::Dvi4, 11_025)));
        assert_eq!(of(11), Some((Codec::L16, 44_100)));
        assert_eq!(of(34), Some((Codec::H263, 90_000)));
        for pt in [1, 20, 24, 35, 72, 95, 96, 127, 255] {
            assert_eq!(of(pt), None, "{pt}");
        }
        for pt in [25, 26, 28, 31, 32, 33, 34] {
            assert_eq!(of(pt).map(|(codec, _)| codec.class()), Some(Class::Video), "{pt}");
        }
    }

    #[test]
    fn names_are_read_in_any_case_and_clocks_corrected() {
        let of = |name: &str, clock| {
            let format = Format::from_rtpmap(96, name.as_bytes(), clock);
            (format.codec, format.clock_rate, format.bit_rate)
        };
        assert_eq!(of("OPUS", 16_000), (Codec::Opus, 48_000, 0));
        assert_eq!(of("g722", 16_000), (Codec::G722, 8000, 0));
        assert_eq!(of("G726-24", 8000), (Codec::G726_24, 8000, 24_000));
        assert_eq!(of("Telephone-Event", 48_000), (Codec::TelephoneEvent, 48_000, 0));
        assert_eq!(of("ilbc", 8000), (Codec::Ilbc, 8000, 13_330));
        assert_eq!(of("SILK", 24_000), (Codec::Silk, 24_000, 0));
        assert_eq!(of("x-lost", 12_345), (Codec::Other, 12_345, 0));
        assert_eq!(Codec::from_rtpmap(b""), Codec::Other);
    }

    #[test]
    fn every_codec_is_found_by_its_own_name() {
        for (_, codec) in NAMES {
            assert_eq!(Codec::from_rtpmap(codec.name().as_bytes()), codec);
        }
    }

    #[test]
    fn fmtp_fixes_bit_rates() {
        let of = |name: &str, parameters: &str| {
            let mut format = Format::from_rtpmap(96, name.as_bytes(), 8000);
            format.apply_fmtp(parameters.as_bytes());
            (format.bit_rate, format.fec)
        };
        assert_eq!(of("opus", "maxaveragebitrate=20000; useinbandfec=1;stereo=0"), (20_000, true));
        assert_eq!(of("opus", "useinbandfec=0"), (0, false));
        assert_eq!(of("G7221", "bitrate=24000"), (24_000, false));
        assert_eq!(of("G723", "annexa=no;bitrate=5.3"), (5300, false));
        assert_eq!(of("iLBC", "mode=20"), (15_200, false));
        assert_eq!(of("AMR", "octet-align=1; mode-set=0,2,5"), (7950, false));
        assert_eq!(of("AMR-WB", "Mode-Set=0,1,2"), (12_650, false));
        assert_eq!(of("AMR", "mode-set=9"), (0, false));
        assert_eq!(of("telephone-event", "0-16"), (0, false));
        assert_eq!(of("AMR", "mode-set=;;=;x"), (0, false));
    }
}
