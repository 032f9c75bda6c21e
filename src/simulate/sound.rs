//! What each codec puts into an RTP packet: payload type, clock, sizes, headers (RFC 3551, RFC 4867, ...).

use std::sync::LazyLock;

use crate::random::Random;
use crate::rtp::payload::Codec;

/// A codec at one packetisation time.
#[derive(Clone, Debug)]
pub(crate) struct Sound {
    pub(crate) codec: Codec,
    pub(crate) payload_type: u8,
    pub(crate) clock_rate: u32,
    pub(crate) ptime_ms: u32,
    /// What follows the clock rate in `a=rtpmap`.
    pub(crate) channels: &'static str,
    pub(crate) fmtp: Option<&'static str>,
    /// The part of the payload that says what the rest is; the same in every packet.
    prefix: Vec<u8>,
    body: usize,
}

impl Sound {
    /// `None` when the codec is not simulated, or does not come in packets of so many milliseconds.
    pub(crate) fn new(codec: Codec, ptime_ms: Option<u32>) -> Option<Self> {
        let mut row = ROWS.iter().find(|row| row.codec == codec)?;
        let ptime_ms = ptime_ms.unwrap_or(if row.frame_ms == 30 { 30 } else { 20 });
        if codec == Codec::Ilbc && !ptime_ms.is_multiple_of(row.frame_ms) {
            row = &ILBC_30;
        }
        let frames = (ptime_ms / row.frame_ms) as usize;
        if frames == 0 || !ptime_ms.is_multiple_of(row.frame_ms) {
            return None;
        }
        let prefix = match codec {
            // RFC 4867 4.4, octet-aligned: no mode request, a table of contents, F set in all entries but the last.
            Codec::Amr | Codec::AmrWb => {
                let entry = if codec == Codec::Amr { 7 << 3 | 0x04 } else { 2 << 3 | 0x04 };
                let mut contents = vec![entry | 0x80; frames - 1];
                contents.insert(0, 0xf0);
                contents.push(entry);
                contents
            }
            // RFC 3558 4.1: no interleaving, frame count - 1, four bits of rate for each frame.
            Codec::Evrc => [vec![0, frames as u8 - 1], vec![0x44; frames.div_ceil(2)]].concat(),
            // RFC 5993 5.2.1: a table of contents in front of the frames.
            Codec::GsmHr => [vec![0x80; frames - 1], vec![0]].concat(),
            // RFC 6716 3.1: hybrid, fullband, 20 ms, mono; several frames by code 3.
            Codec::Opus if frames == 1 => vec![15 << 3],
            Codec::Opus => vec![15 << 3 | 3, frames as u8],
            // RFC 3551 4.5.1: predicted value and index.
            Codec::Dvi4 => vec![0; 4],
            _ => Vec::new(),
        };
        let body = frames * row.frame_bytes;
        let whole = frames <= row.most_frames && prefix.len() + body <= LARGEST_PAYLOAD;
        whole.then_some(Self {
            codec,
            payload_type: row.payload_type,
            clock_rate: row.clock_rate,
            ptime_ms,
            channels: if codec == Codec::Opus { "/2" } else { "" },
            fmtp: row.fmtp,
            prefix,
            body,
        })
    }

    /// RTP ticks a packet.
    pub(crate) fn ticks(&self) -> u32 {
        self.clock_rate / 1_000 * self.ptime_ms
    }

    /// Bytes a packet.
    pub(crate) fn payload_length(&self) -> usize {
        self.prefix.len() + self.body
    }

    /// Appends the payload of the packet with this time stamp: a tone with a little noise in G.711, so that it
    /// is neither silent nor equal to another stream's; random bytes in the other codecs.
    pub(crate) fn payload(&self, timestamp: u32, random: &mut Random, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        let from = out.len();
        let tone = match self.codec {
            Codec::Pcmu => Some(&TONES.0),
            Codec::Pcma => Some(&TONES.1),
            _ => None,
        };
        let mask = if let Some(tone) = tone {
            let phase = timestamp as usize % TONE_PERIOD;
            out.extend_from_slice(tone.get(phase..phase + self.body).unwrap_or_default());
            NOISE
        } else {
            out.resize(from + self.body, 0);
            u64::MAX
        };
        for chunk in out.get_mut(from..).unwrap_or_default().chunks_mut(8) {
            let noise = (random.next() & mask).to_le_bytes();
            chunk.iter_mut().zip(noise).for_each(|(byte, noise)| *byte ^= noise);
        }
    }
}

/// The codecs that are simulated.
pub fn codecs() -> impl Iterator<Item = Codec> {
    ROWS.iter().map(|row| row.codec)
}

/// The codec of this name as in `a=rtpmap`, in any case.
pub fn codec_named(name: &str) -> Option<Codec> {
    codecs().find(|codec| codec.name().eq_ignore_ascii_case(name))
}

/// 440 Hz at a quarter of full scale, in mu-law and A-law, long enough for a packet from any phase.
static TONES: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let samples = (0..TONE_PERIOD + LARGEST_PAYLOAD).map(|i| {
        let phase = i as f64 * 11.0 / TONE_PERIOD as f64;
        (8_000.0 * (phase * std::f64::consts::TAU).sin()).round() as i32
    });
    samples.map(|sample| (mu_law(sample), a_law(sample))).unzip()
});

/// ITU-T G.711 mu-law: sign, segment, 4 bits of the magnitude with bias 33 (in 14-bit units), inverted.
fn mu_law(sample: i32) -> u8 {
    let magnitude = (sample.abs() >> 2).min(8_158) + 33;
    let segment = magnitude.ilog2() - 5;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment << 4) as u8 | (magnitude >> (segment + 1)) as u8 & 0x0f)
}

/// ITU-T G.711 A-law: the same without bias and with a linear first segment, even bits inverted.
fn a_law(sample: i32) -> u8 {
    let magnitude = if sample < 0 { !sample } else { sample } >> 4;
    let segment = magnitude.max(1).ilog2().saturating_sub(3);
    let sign = if sample < 0 { 0 } else { 0x80 };
    (sign | (segment << 4) as u8 | (magnitude >> segment.saturating_sub(1)) as u8 & 0x0f) ^ 0x55
}

struct Row {
    codec: Codec,
    payload_type: u8,
    clock_rate: u32,
    frame_ms: u32,
    frame_bytes: usize,
    /// Frames a packet can hold.
    most_frames: usize,
    fmtp: Option<&'static str>,
}

const fn row(codec: Codec, payload_type: u8, clock_rate: u32, frame_ms: u32, frame_bytes: usize) -> Row {
    Row { codec, payload_type, clock_rate, frame_ms, frame_bytes, most_frames: 200, fmtp: None }
}

const ROWS: &[Row] = &[
    row(Codec::Pcmu, 0, 8_000, 10, 80),
    row(Codec::Pcma, 8, 8_000, 10, 80),
    row(Codec::G722, 9, 8_000, 10, 80),
    Row { fmtp: Some("bitrate=32000"), ..row(Codec::G7221, 104, 16_000, 20, 80) },
    row(Codec::G723, 4, 8_000, 30, 24),
    row(Codec::G726_16, 109, 8_000, 10, 20),
    row(Codec::G726_24, 110, 8_000, 10, 30),
    row(Codec::G726_32, 102, 8_000, 10, 40),
    row(Codec::G726_40, 112, 8_000, 10, 50),
    row(Codec::G728, 15, 8_000, 10, 20),
    row(Codec::G729, 18, 8_000, 10, 10),
    row(Codec::Gsm, 3, 8_000, 20, 33),
    row(Codec::GsmHr, 107, 8_000, 20, 14),
    row(Codec::GsmEfr, 106, 8_000, 20, 31),
    Row { fmtp: Some("octet-align=1;mode-set=7"), ..row(Codec::Amr, 96, 8_000, 20, 31) },
    Row { fmtp: Some("octet-align=1;mode-set=2"), ..row(Codec::AmrWb, 97, 16_000, 20, 32) },
    // 3GPP TS 26.445 A.2: 264 bits alone mean 13.2 kbit/s; several frames would need another format.
    Row { most_frames: 1, fmtp: Some("br=13.2"), ..row(Codec::Evs, 98, 16_000, 20, 33) },
    row(Codec::Evrc, 105, 8_000, 20, 22),
    Row { fmtp: Some("mode=20"), ..row(Codec::Ilbc, 99, 8_000, 20, 38) },
    Row { most_frames: 6, fmtp: Some("minptime=20"), ..row(Codec::Opus, 111, 48_000, 20, 60) },
    row(Codec::Speex, 100, 8_000, 20, 38),
    row(Codec::Silk, 103, 8_000, 20, 40),
    row(Codec::Dvi4, 5, 8_000, 10, 40),
    row(Codec::Lpc, 7, 8_000, 20, 14),
    row(Codec::L16, 108, 8_000, 10, 160),
];

const ILBC_30: Row = Row { fmtp: Some("mode=30"), ..row(Codec::Ilbc, 99, 8_000, 30, 50) };

/// Samples after which the tone repeats: 11 waves.
const TONE_PERIOD: usize = 200;
/// The lowest bit of every sample.
const NOISE: u64 = 0x0101_0101_0101_0101;
/// What an Ethernet frame has room for.
const LARGEST_PAYLOAD: usize = 1_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g711_has_its_known_values() {
        // ITU-T G.711 tables 1 and 2: silence, full scale, and the first step above silence.
        assert_eq!([0, 32_767, -32_768].map(mu_law), [0xff, 0x80, 0x00]);
        assert_eq!([0, 32_767, -32_768].map(a_law), [0xd5, 0xaa, 0x2a]);
        assert_eq!((mu_law(8_000), a_law(8_000)), (0xa0, 0x8a));
    }

    #[test]
    fn sizes_follow_the_packetisation_time() {
        let length = |codec, ptime| Sound::new(codec, ptime).map(|sound| sound.payload_length());
        assert_eq!(length(Codec::Pcmu, None), Some(160));
        assert_eq!(length(Codec::G729, Some(40)), Some(40));
        assert_eq!(length(Codec::Amr, Some(40)), Some(1 + 2 + 62));
        assert_eq!((length(Codec::Ilbc, None), length(Codec::Ilbc, Some(30))), (Some(38), Some(50)));
        assert_eq!((length(Codec::G723, None), length(Codec::G723, Some(20))), (Some(24), None));
        assert_eq!((length(Codec::Evs, Some(40)), length(Codec::H264, None)), (None, None));
        assert_eq!(
            Sound::new(Codec::Opus, Some(60)).map(|s| (s.ticks(), s.payload_length())),
            Some((2_880, 182))
        );
    }

    #[test]
    fn every_codec_has_a_payload_type_of_its_own() {
        let mut types: Vec<_> = ROWS.iter().map(|row| row.payload_type).collect();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), ROWS.len());
        assert!(codecs().all(|codec| codec_named(&codec.name().to_lowercase()) == Some(codec)));
    }
}
