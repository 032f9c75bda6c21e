//! SRTP by the length of its payload: the authentication tag comes on top of what the codec made (MEAS 2.7).
//!
//! ```text
//! 160 ticks, 170 bytes: G.711 (160) + 10 bytes of HMAC-SHA1-80        160 ticks, 30 bytes: G.729 (20) + 10
//! ```

use super::payload::Codec;
use super::probation;

/// The codec behind a payload of that length, as [`probation::codec`] knows them, and whether a tag was on top.
pub fn codec(clock_rate: u32, payload_len: u32, ticks: u32) -> Option<(Codec, bool)> {
    let plain = probation::codec(clock_rate, payload_len, ticks).map(|codec| (codec, false));
    plain.or_else(|| {
        let untagged = TAGS.into_iter().filter_map(|tag| payload_len.checked_sub(tag));
        untagged.filter_map(|len| probation::codec(clock_rate, len, ticks)).map(|codec| (codec, true)).next()
    })
}

/// Whether a payload of G.711, one byte a tick, has a tag on top.
pub fn is_tagged_g711(payload_len: u32, ticks: u32) -> bool {
    ticks > 0 && payload_len.checked_sub(ticks).is_some_and(|rest| TAGS.contains(&rest))
}

/// Bytes of the tag: HMAC-SHA1-80 and -32 (RFC 3711), AES-GCM (RFC 7714).
const TAGS: [u32; 3] = [10, 4, 16];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_taken_off_where_the_whole_fits_no_codec() {
        assert_eq!(codec(8000, 160, 160), Some((Codec::Pcmu, false)));
        assert_eq!(codec(8000, 170, 160), Some((Codec::Pcmu, true)));
        assert_eq!(codec(8000, 164, 160), Some((Codec::Pcmu, true)));
        assert_eq!(codec(8000, 176, 160), Some((Codec::Pcmu, true)));
        assert_eq!(codec(8000, 30, 160), Some((Codec::G729, true)));
        assert_eq!(codec(8000, 20, 160), Some((Codec::G729, false)));
        assert_eq!(codec(8000, 7, 160), None);
    }

    #[test]
    fn g711_shows_its_tag_by_itself() {
        assert!(is_tagged_g711(170, 160) && is_tagged_g711(244, 240));
        assert!(!is_tagged_g711(160, 160) && !is_tagged_g711(150, 160) && !is_tagged_g711(10, 0));
    }
}
