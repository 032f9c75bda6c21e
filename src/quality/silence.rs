//! Dead air: a stream that flows but carries no sound (MEAS 6.2). G.711 only: other payloads are not decoded here.
//!
//! The caller hands over a sample of the payloads, say every sixteenth. A sample is silent when the mean of its
//! linear amplitudes is below -60 dBm0, or when it repeats the one before byte for byte: a stuck sender, however
//! loud. While nine of ten samples are such repetitions, a loud one between them does not end the silence.

use crate::rtp::payload::Codec;

/// G.711 companding law.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Law {
    Mu,
    A,
}

impl Law {
    /// The law of a codec; `None` if its payload is not G.711.
    pub fn of(codec: Codec) -> Option<Self> {
        match codec {
            Codec::Pcmu => Some(Self::Mu),
            Codec::Pcma => Some(Self::A),
            _ => None,
        }
    }

    /// Whether the mean linear amplitude is below -60 dBm0. Stops at the first samples of speech.
    fn is_quiet(self, payload: &[u8]) -> bool {
        let amplitude = match self {
            Self::Mu => &MU_AMPLITUDE,
            Self::A => &A_AMPLITUDE,
        };
        let limit = payload.len() as u64 * QUIET_AMPLITUDE;
        let mut sum = 0;
        payload.chunks(16).all(|chunk| {
            sum += chunk.iter().map(|&byte| u64::from(amplitude[usize::from(byte)])).sum::<u64>();
            sum <= limit
        })
    }
}

/// How long a stream has been silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silence {
    /// Digest of the sample that a repetition must equal.
    digest: u32,
    /// Milliseconds since the stream's first packet: start of this silence, last sample.
    since_ms: u32,
    last_ms: u32,
    /// Longest silence, milliseconds.
    longest_ms: u32,
    /// Samples of this silence, and repetitions among them; both halved as they grow, so the recent ones decide.
    samples: u8,
    repeats: u8,
    silent: bool,
    sampled: bool,
}

impl Silence {
    /// Takes the payload of one packet and its arrival since the stream's first packet. Empty ones say nothing.
    pub fn sample(&mut self, law: Law, payload: &[u8], arrival_ns: u64) {
        if payload.is_empty() {
            return;
        }
        let digest = digest(payload);
        let repeated = self.sampled && digest == self.digest;
        let at_ms = u32::try_from(arrival_ns / 1_000_000).unwrap_or(u32::MAX).max(self.last_ms);
        let previous_ms = std::mem::replace(&mut self.last_ms, at_ms);
        self.sampled = true;

        if !repeated && !law.is_quiet(payload) {
            if self.silent && u32::from(self.repeats) * 10 >= u32::from(self.samples) * 9 + 9 {
                self.count(false);
            } else {
                (self.silent, self.samples, self.repeats, self.digest) = (false, 0, 0, digest);
            }
            return;
        }
        if !self.silent {
            self.silent = true;
            // What is repeated now was there at the sample before already.
            self.since_ms = if repeated { previous_ms } else { at_ms };
        }
        self.digest = digest;
        self.count(repeated);
        self.longest_ms = self.longest_ms.max(at_ms - self.since_ms);
    }

    /// No sound for 10 s or more; `None` when nothing was sampled.
    pub fn dead_air(&self) -> Option<bool> {
        self.sampled.then_some(self.longest_ms >= DEAD_AIR_MS)
    }

    /// Seconds of silence up to the last sample; 0 while there is sound.
    pub fn seconds(&self) -> f64 {
        if self.silent { f64::from(self.last_ms - self.since_ms) / 1e3 } else { 0.0 }
    }

    /// Longest silence so far, seconds.
    pub fn longest_seconds(&self) -> f64 {
        f64::from(self.longest_ms) / 1e3
    }

    fn count(&mut self, repeated: bool) {
        if self.samples >= RECENT_SAMPLES {
            self.samples /= 2;
            self.repeats /= 2;
        }
        self.samples += 1;
        self.repeats += u8::from(repeated);
    }
}

/// Tells payloads apart; no defence against those who want two to look the same.
fn digest(payload: &[u8]) -> u32 {
    let (words, rest) = payload.as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let mut hash = payload.len() as u64;
    for word in words.iter().chain([&last]) {
        hash = (hash.rotate_left(29) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    (hash >> 32) as u32
}

/// Amplitude of each code on the 16-bit scale (G.711 tables 2a, 2b: 14 bits times 4).
const MU_AMPLITUDE: [u16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let (segment, step) = ((!code >> 4) & 7, !code & 15);
        table[code] = ((((step << 3) + 0x84) << segment) - 0x84) as u16;
        code += 1;
    }
    table
};

/// Amplitude of each code on the 16-bit scale (G.711 tables 1a, 1b: 13 bits times 8).
const A_AMPLITUDE: [u16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let (segment, step) = (((code ^ 0x55) >> 4) & 7, (code ^ 0x55) & 15);
        table[code] =
            if segment == 0 { (step << 4) + 8 } else { ((step << 4) + 0x108) << (segment - 1) } as u16;
        code += 1;
    }
    table
};

/// Mean amplitude of a sine of -60 dBm0 on the 16-bit scale: full scale, +3.17 dBm0 (mu) or +3.14 dBm0 (A), is
/// 32 636 or 32 768, so the peak is 22.7 and the mean 2/pi of it, 14.4.
const QUIET_AMPLITUDE: u64 = 14;
const DEAD_AIR_MS: u32 = 10_000;
/// At one sample in sixteen packets of 20 ms, 20 s.
const RECENT_SAMPLES: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE_NS: u64 = 16 * 20_000_000;

    /// 20 ms of a 1004 Hz sine of this level, A-law or mu-law by nearest amplitude.
    fn tone(law: Law, dbm0: f64, phase: f64) -> Vec<u8> {
        // Peak of 0 dBm0: the digital milliwatt of G.711 tables 5 and 6 leaves 3.17 (mu) or 3.14 dB (A) to full scale.
        let (table, milliwatt) = match law {
            Law::Mu => (&MU_AMPLITUDE, 22_656.0),
            Law::A => (&A_AMPLITUDE, 22_827.0),
        };
        let peak = milliwatt * 10_f64.powf(dbm0 / 20.0);
        (0..160)
            .map(|i| {
                let value =
                    peak * (phase + f64::from(i) * std::f64::consts::TAU * 1004.0 / 8000.0).sin().abs();
                (0..=255_u8)
                    .min_by(|&a, &b| {
                        let distance = |code: u8| (f64::from(table[usize::from(code)]) - value).abs();
                        distance(a).total_cmp(&distance(b))
                    })
                    .unwrap()
            })
            .collect()
    }

    fn fed(payloads: impl IntoIterator<Item = Vec<u8>>) -> Silence {
        let mut silence = Silence::default();
        for (index, payload) in payloads.into_iter().enumerate() {
            silence.sample(Law::Mu, &payload, index as u64 * SAMPLE_NS);
        }
        silence
    }

    fn speech(index: u32) -> Vec<u8> {
        tone(Law::Mu, -20.0, f64::from(index))
    }

    #[test]
    fn amplitudes_are_those_of_g711() {
        assert_eq!(
            [MU_AMPLITUDE[0xff], MU_AMPLITUDE[0x7f], MU_AMPLITUDE[0x00], MU_AMPLITUDE[0x80]],
            [0, 0, 32_124, 32_124]
        );
        assert_eq!(
            [A_AMPLITUDE[0xd5], A_AMPLITUDE[0x55], A_AMPLITUDE[0x2a], A_AMPLITUDE[0xaa]],
            [8, 8, 32_256, 32_256]
        );
    }

    #[test]
    fn idle_patterns_are_quiet_and_speech_levels_are_not() {
        assert!(Law::Mu.is_quiet(&[0xff; 160]) && Law::Mu.is_quiet(&[0x7f; 160]));
        assert!(Law::A.is_quiet(&[0xd5; 160]) && Law::A.is_quiet(&[0x55; 160]));
        for law in [Law::Mu, Law::A] {
            assert!(law.is_quiet(&tone(law, -63.0, 0.0)), "{law:?}");
            assert!(!law.is_quiet(&tone(law, -55.0, 0.0)), "{law:?}");
            assert!(!law.is_quiet(&tone(law, -20.0, 0.0)), "{law:?}");
        }
    }

    #[test]
    fn ten_seconds_without_sound_are_dead_air() {
        let quiet = |samples| fed(vec![vec![0xff; 160]; samples]);
        assert_eq!(quiet(32).dead_air(), Some(false));
        assert_eq!(quiet(33).dead_air(), Some(true));
        assert!((quiet(33).seconds() - 10.24).abs() < 1e-9);
        assert_eq!(Silence::default().dead_air(), None);
    }

    #[test]
    fn speech_ends_the_silence_and_the_longest_is_kept() {
        let silence =
            fed((0..100).map(|i| if i == 60 { speech(i) } else { vec![0xff - (i % 2) as u8; 160] }));
        assert_eq!(silence.dead_air(), Some(true));
        assert!((silence.longest_seconds() - 59.0 * 0.32).abs() < 1e-9);
        assert!((silence.seconds() - 38.0 * 0.32).abs() < 1e-9);
        let talking = fed((0..100).map(speech));
        assert_eq!((talking.dead_air(), talking.longest_seconds()), (Some(false), 0.0));
    }

    #[test]
    fn a_stuck_payload_is_dead_air_however_loud() {
        assert_eq!(fed(vec![speech(1); 40]).dead_air(), Some(true));
        assert_eq!(fed(vec![vec![0x00; 160]; 40]).dead_air(), Some(true));
    }

    #[test]
    fn one_sample_in_ten_may_differ_from_a_stuck_payload() {
        let stuck = |every: u32| {
            fed((0..200).map(move |i| if i % every == every - 1 { speech(i) } else { speech(0) }))
        };
        assert_eq!(stuck(16).dead_air(), Some(true));
        assert_eq!(stuck(5).dead_air(), Some(false));
    }

    #[test]
    fn speech_after_a_long_stuck_payload_is_heard_at_once() {
        let mut silence = fed(vec![speech(0); 5000]);
        for i in 1..=10 {
            silence.sample(Law::Mu, &speech(i), (5000 + u64::from(i)) * SAMPLE_NS);
        }
        assert!(!silence.silent && silence.longest_seconds() > 1590.0);
    }

    #[test]
    fn empty_payloads_and_times_that_go_back_do_no_harm() {
        let mut silence = Silence::default();
        silence.sample(Law::A, &[], 0);
        assert_eq!(silence.dead_air(), None);
        silence.sample(Law::A, &[0xd5], u64::MAX);
        silence.sample(Law::A, &[0xd5; 2000], 0);
        silence.sample(Law::A, &[0xd5], 1);
        assert_eq!(silence.dead_air(), Some(false));
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Silence>() <= 24, "{}", size_of::<Silence>());
    }
}
