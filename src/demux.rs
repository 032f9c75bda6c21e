//! Which protocol a datagram on a media port carries (RFC 7983, RFC 5761; MEAS 2.1).
//!
//! ```text
//! first byte   0..3      16..19   20..63   64..79         128..191
//!              STUN      ZRTP     DTLS     TURN channel   RTP, RTCP
//!              + cookie                                   second byte 192..223 = RTCP
//! ```
//!
//! Keep-alives (empty, CRLF, zero bytes, one byte) and everything else are [`Kind::Other`].

/// Protocol of a datagram, by its first bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// RTP or SRTP: version 2, at least the fixed header.
    Rtp,
    /// RTCP or SRTCP: version 2, at least the header and sender SSRC.
    Rtcp,
    /// STUN or TURN with the magic cookie (RFC 8489); classic STUN (RFC 3489) is `Other`.
    Stun,
    /// ZRTP (RFC 6189).
    Zrtp,
    /// DTLS.
    Dtls,
    /// TURN ChannelData (RFC 8656 12.4).
    TurnChannel,
    /// None of them.
    Other,
}

impl Kind {
    /// Name of what is not measured, as a reason for passing a datagram over.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rtp => "rtp",
            Self::Rtcp => "rtcp",
            Self::Stun => "stun",
            Self::Zrtp => "zrtp",
            Self::Dtls => "dtls",
            Self::TurnChannel => "turn_channel",
            Self::Other => "other_udp",
        }
    }
}

/// Tells what a UDP payload is. It says nothing about whether RTP really is RTP: any payload that begins with
/// bits 10 passes; a port known from SDP, or [`crate::rtp::probation`], decides.
#[inline]
pub fn classify(payload: &[u8]) -> Kind {
    if let Some([first, second, ..]) = payload.first_chunk::<RTP_HEADER>()
        && first >> 6 == VERSION
    {
        return if is_rtcp_type(*second) { Kind::Rtcp } else { Kind::Rtp };
    }
    classify_rest(payload)
}

/// Whether a second byte names an RTCP packet when RTP shares the port (RFC 5761 4).
#[inline]
pub fn is_rtcp_type(second: u8) -> bool {
    (192..=223).contains(&second)
}

/// Everything that is not RTP-sized with version 2, off the hot path.
#[cold]
fn classify_rest(payload: &[u8]) -> Kind {
    match payload {
        [0..=3, _, _, _, 0x21, 0x12, 0xa4, 0x42, rest @ ..] if rest.len() >= 12 => Kind::Stun,
        [16..=19, ..] => Kind::Zrtp,
        [20..=63, ..] => Kind::Dtls,
        [64..=79, ..] => Kind::TurnChannel,
        [128..=191, second, ..] if payload.len() >= RTCP_HEADER && is_rtcp_type(*second) => Kind::Rtcp,
        _ => Kind::Other,
    }
}

const VERSION: u8 = 2;
const RTP_HEADER: usize = 12;
/// Common header and sender SSRC: the smallest legal RTCP packet that says anything.
const RTCP_HEADER: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;
    use serde_json::Value;

    fn name(kind: Kind) -> &'static str {
        match kind {
            Kind::Rtp => "rtp",
            Kind::Rtcp => "rtcp",
            Kind::Stun => "stun",
            Kind::Zrtp => "zrtp",
            Kind::Dtls => "dtls",
            Kind::TurnChannel => "turn-channel",
            Kind::Other => "other",
        }
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn vectors_agree() {
        let cases: Value = serde_json::from_str(include_str!("../fixtures/vectors/demux.json")).unwrap();
        let cases = cases.as_array().unwrap();
        assert_eq!(cases.len(), 17);
        for case in cases {
            let hex = case["hex"].as_str().unwrap();
            assert_eq!(name(classify(&unhex(hex))), case["kind"].as_str().unwrap(), "{hex}");
        }
    }

    #[test]
    fn keep_alives_are_other() {
        for payload in [&b""[..], b"\0", b"\0\0\0\0", b"\r\n", b"\r\n\r\n", b"\x80", b"jaK"] {
            assert_eq!(classify(payload), Kind::Other, "{payload:?}");
        }
    }

    #[test]
    fn a_bare_bye_without_padding_to_twelve_bytes_is_rtcp() {
        assert_eq!(classify(&[0x81, 203, 0, 1, 0, 0, 0, 7]), Kind::Rtcp);
    }

    proptest! {
        /// For every payload: the kind depends on the first 8 bytes and on whether 8, 12 and 20 bytes are there.
        #[test]
        fn only_the_head_matters(mut payload in prop::collection::vec(any::<u8>(), 20..64)) {
            let kind = classify(&payload);
            payload[8..].fill(0);
            prop_assert_eq!(classify(&payload), kind);
        }
    }
}
