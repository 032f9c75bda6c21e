//! What a codec costs: equipment impairment, robustness against loss, delay (MEAS 3.5).
//!
//! ITU-T G.113 Appendix I gives planning values for the older codecs only. For the others the best known figure
//! stands here and says so: a row whose `source` is not plainly G.113 is an `estimate`, and so are the scores that
//! rest on it. Every row can be overridden by name (`opus/fb`) or by codec (`opus`: all its rows).
//!
//! G.729 and G.729A cannot be told apart on the wire; the row has the values of the far commoner Annex A.
//! In Opus the audio band follows the bit rate (RFC 7587 3.1.1), so a negotiated `maxaveragebitrate` picks the row.

use std::fmt;

use crate::event::Band;
use crate::rtp::payload::{Class, Codec, Format};

/// The E-model's view of a codec.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairment {
    /// Equipment impairment factor, on the scale of `band`.
    pub ie: f64,
    /// Packet-loss robustness factor, percent.
    pub bpl: f64,
    /// Frame, ms: 0.125 for codecs that work sample by sample.
    pub frame_ms: f32,
    /// Algorithmic look-ahead beyond the frame, ms.
    pub lookahead_ms: f32,
    /// Scale.
    pub band: Band,
    /// Not a G.113 value, or the codec is unknown.
    pub estimate: bool,
}

/// One codec, or one mode of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Codec.
    pub codec: Codec,
    /// Bit rate in kbit/s, audio band or concealment that tells the rows of a codec apart; may be empty.
    pub mode: &'static str,
    /// Its constants.
    pub impairment: Impairment,
    /// Where they come from.
    pub source: &'static str,
}

impl Row {
    /// Whether the operator has set its constants.
    pub fn is_configured(&self) -> bool {
        self.source == CONFIGURED
    }
}

/// `AMR/12.2`, or `GSM` where there is only one mode.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.codec.name())?;
        if !self.mode.is_empty() {
            write!(f, "/{}", self.mode)?;
        }
        Ok(())
    }
}

/// The rows in force. Its default is the built-in table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    rows: Vec<Row>,
}

impl Default for Table {
    fn default() -> Self {
        let rows = BUILT_IN.iter().map(|&(codec, mode, band, ie, bpl, frame_ms, lookahead_ms, source)| Row {
            codec,
            mode,
            impairment: Impairment { ie, bpl, frame_ms, lookahead_ms, band, estimate: source != G113 },
            source,
        });
        Self { rows: rows.collect() }
    }
}

impl Table {
    /// Constants for a format; `concealment` is whether the receiver conceals loss, which only G.711 leaves open.
    /// `None` for video, events and comfort noise: no opinion score is meant for them.
    /// A codec without rows of its own is rated as G.711 without concealment.
    pub fn impairment(&self, format: &Format, concealment: bool) -> Option<Impairment> {
        if format.codec.class() != Class::Audio {
            return None;
        }
        let mode = mode(format, concealment);
        let row = self.rows.iter().find(|row| row.codec == format.codec && row.mode == mode);
        row.or_else(|| self.rows.iter().find(|row| row.codec == Codec::Unknown)).map(|row| row.impairment)
    }

    /// Every row, in the order of the built-in table.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Replaces constants of the row of this name, or of all rows of the codec of this name, in any case of
    /// letters. They are then the operator's own and no longer an estimate.
    pub fn set(&mut self, name: &str, ie: Option<f64>, bpl: Option<f64>) -> Result<(), OverrideError> {
        if let Some(ie) = ie.filter(|ie| !(0.0..=IE_MAX).contains(ie)) {
            return Err(OverrideError::Ie(ie));
        }
        if let Some(bpl) = bpl.filter(|bpl| !(BPL_MIN..=BPL_MAX).contains(bpl)) {
            return Err(OverrideError::Bpl(bpl));
        }
        let mut known = false;
        for row in &mut self.rows {
            if !row.codec.name().eq_ignore_ascii_case(name) && !row.to_string().eq_ignore_ascii_case(name) {
                continue;
            }
            known = true;
            row.impairment.ie = ie.unwrap_or(row.impairment.ie);
            row.impairment.bpl = bpl.unwrap_or(row.impairment.bpl);
            row.impairment.estimate = false;
            row.source = CONFIGURED;
        }
        if known { Ok(()) } else { Err(OverrideError::Unknown(name.to_owned())) }
    }
}

/// Why a row was not replaced.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OverrideError {
    /// No row and no codec has this name.
    #[error("no codec or codec mode is named {0:?}")]
    Unknown(String),
    /// Ie outside its range.
    #[error("ie {0} is outside 0 to {IE_MAX}")]
    Ie(f64),
    /// Bpl outside its range.
    #[error("bpl {0} is outside {BPL_MIN} to {BPL_MAX} percent")]
    Bpl(f64),
}

/// The row of its codec that a format means; bit rate 0 means the codec's usual one.
fn mode(format: &Format, concealment: bool) -> &'static str {
    match (format.codec, format.bit_rate) {
        (Codec::Pcmu | Codec::Pcma, _) if concealment => "plc",
        (Codec::Pcmu | Codec::Pcma, _) => "no-plc",
        (Codec::G722, 1..=48_000) => "48",
        (Codec::G722, 48_001..=56_000) => "56",
        (Codec::G722, _) => "64",
        (Codec::G7221, 1..=24_000) => "24",
        (Codec::G7221, _) => "32",
        (Codec::G723, 1..=5_300) => "5.3",
        (Codec::G723, _) => "6.3",
        (Codec::G728, 1..=12_800) => "12.8",
        (Codec::G728, _) => "16",
        (Codec::Ilbc, 14_000..) => "15.2",
        (Codec::Ilbc, _) => "13.33",
        (Codec::Amr, 1..=4_750) => "4.75",
        (Codec::Amr, 4_751..=5_150) => "5.15",
        (Codec::Amr, 5_151..=5_900) => "5.9",
        (Codec::Amr, 5_901..=6_700) => "6.7",
        (Codec::Amr, 6_701..=7_400) => "7.4",
        (Codec::Amr, 7_401..=7_950) => "7.95",
        (Codec::Amr, 7_951..=10_200) => "10.2",
        (Codec::Amr, _) => "12.2",
        (Codec::AmrWb, 1..=6_600) => "6.6",
        (Codec::AmrWb, 6_601..=8_850) => "8.85",
        // Unstated: 12.65, the highest mode that mobile networks commonly grant.
        (Codec::AmrWb, 0 | 8_851..=12_650) => "12.65",
        (Codec::AmrWb, 12_651..=14_250) => "14.25",
        (Codec::AmrWb, 14_251..=15_850) => "15.85",
        (Codec::AmrWb, 15_851..=18_250) => "18.25",
        (Codec::AmrWb, 18_251..=19_850) => "19.85",
        (Codec::AmrWb, 19_851..=23_050) => "23.05",
        (Codec::AmrWb, _) => "23.85",
        (Codec::Opus, 1..=12_999) => "nb",
        (Codec::Opus, 13_000..=23_999) => "wb",
        (Codec::Opus, _) if format.fec => "fb-fec",
        (Codec::Opus, _) => "fb",
        (Codec::Speex | Codec::Silk, _) if format.clock_rate > 8_000 => "wb",
        (Codec::Speex | Codec::Silk, _) => "nb",
        _ => "",
    }
}

/// Ie of a codec that nothing can be understood of, on the widest scale.
const IE_MAX: f64 = 132.0;
const BPL_MIN: f64 = 0.1;
const BPL_MAX: f64 = 100.0;

const G113: &str = "G.113";
const G113_IE: &str = "G.113 Ie, estimated Bpl";
const PUBLISHED: &str = "Ie from published delay bounds, estimated Bpl";
const RTPENGINE: &str = "rtpengine";
const ESTIMATE: &str = "estimate";
const CONFIGURED: &str = "configured";

type BuiltIn = (Codec, &'static str, Band, f64, f64, f32, f32, &'static str);

/// Codec, mode, band, Ie, Bpl, frame ms, look-ahead ms, source.
#[rustfmt::skip]
const BUILT_IN: &[BuiltIn] = &[
    (Codec::Pcmu,    "plc",    Band::Nb,  0.0, 25.1, 0.125, 3.75, G113),
    (Codec::Pcmu,    "no-plc", Band::Nb,  0.0,  4.3, 0.125, 0.0,  G113),
    (Codec::Pcma,    "plc",    Band::Nb,  0.0, 25.1, 0.125, 3.75, G113),
    (Codec::Pcma,    "no-plc", Band::Nb,  0.0,  4.3, 0.125, 0.0,  G113),
    (Codec::G722,    "64",     Band::Wb, 13.0,  4.3, 0.125, 1.4,  G113_IE),
    (Codec::G722,    "56",     Band::Wb, 20.0,  4.3, 0.125, 1.4,  G113_IE),
    (Codec::G722,    "48",     Band::Wb, 31.0,  4.3, 0.125, 1.4,  G113_IE),
    (Codec::G7221,   "32",     Band::Wb, 13.0,  4.3, 20.0,  20.0, G113_IE),
    (Codec::G7221,   "24",     Band::Wb, 19.0,  4.3, 20.0,  20.0, G113_IE),
    (Codec::G723,    "6.3",    Band::Nb, 15.0, 16.1, 30.0,  7.5,  G113),
    (Codec::G723,    "5.3",    Band::Nb, 19.0, 16.1, 30.0,  7.5,  G113_IE),
    (Codec::G726_40, "",       Band::Nb,  2.0,  4.3, 0.125, 0.0,  G113_IE),
    (Codec::G726_32, "",       Band::Nb,  7.0,  4.3, 0.125, 0.0,  G113_IE),
    (Codec::G726_24, "",       Band::Nb, 25.0,  4.3, 0.125, 0.0,  G113_IE),
    (Codec::G726_16, "",       Band::Nb, 50.0,  4.3, 0.125, 0.0,  G113_IE),
    (Codec::G728,    "16",     Band::Nb,  7.0, 10.0, 0.625, 0.0,  G113_IE),
    (Codec::G728,    "12.8",   Band::Nb, 20.0, 10.0, 0.625, 0.0,  G113_IE),
    (Codec::G729,    "",       Band::Nb, 11.0, 19.0, 10.0,  5.0,  G113),
    (Codec::Gsm,     "",       Band::Nb, 20.0, 10.0, 20.0,  0.0,  G113_IE),
    (Codec::GsmHr,   "",       Band::Nb, 23.0, 10.0, 20.0,  4.4,  G113_IE),
    (Codec::GsmEfr,  "",       Band::Nb,  5.0, 10.0, 20.0,  0.0,  G113),
    (Codec::Amr,     "12.2",   Band::Nb,  5.0, 10.0, 20.0,  5.0,  PUBLISHED),
    (Codec::Amr,     "10.2",   Band::Nb,  6.0, 10.0, 20.0,  5.0,  PUBLISHED),
    (Codec::Amr,     "7.95",   Band::Nb, 10.0, 10.0, 20.0,  5.0,  PUBLISHED),
    (Codec::Amr,     "7.4",    Band::Nb, 11.6, 10.0, 20.0,  5.0,  PUBLISHED),
    (Codec::Amr,     "6.7",    Band::Nb, 13.7, 10.0, 20.0,  5.0,  PUBLISHED),
    (Codec::Amr,     "5.9",    Band::Nb, 16.5, 10.0, 20.0,  5.0,  PUBLISHED),
    (Codec::Amr,     "5.15",   Band::Nb, 19.5, 10.0, 20.0,  5.0,  PUBLISHED),
    (Codec::Amr,     "4.75",   Band::Nb, 21.4, 10.0, 20.0,  5.0,  PUBLISHED),
    (Codec::AmrWb,   "23.85",  Band::Wb,  8.0,  4.3, 20.0,  5.0,  G113_IE),
    (Codec::AmrWb,   "23.05",  Band::Wb,  1.0,  4.3, 20.0,  5.0,  G113_IE),
    (Codec::AmrWb,   "19.85",  Band::Wb,  4.0,  4.3, 20.0,  5.0,  G113_IE),
    (Codec::AmrWb,   "18.25",  Band::Wb,  5.0,  4.3, 20.0,  5.0,  G113_IE),
    (Codec::AmrWb,   "15.85",  Band::Wb,  7.0,  4.3, 20.0,  5.0,  G113_IE),
    (Codec::AmrWb,   "14.25",  Band::Wb, 10.0,  4.3, 20.0,  5.0,  G113_IE),
    (Codec::AmrWb,   "12.65",  Band::Wb, 13.0,  4.3, 20.0,  5.0,  G113_IE),
    (Codec::AmrWb,   "8.85",   Band::Wb, 26.0,  4.3, 20.0,  5.0,  G113_IE),
    (Codec::AmrWb,   "6.6",    Band::Wb, 41.0,  4.3, 20.0,  5.0,  G113_IE),
    (Codec::Ilbc,    "15.2",   Band::Nb, 10.0, 32.0, 20.0,  5.0,  ESTIMATE),
    (Codec::Ilbc,    "13.33",  Band::Nb, 12.0, 32.0, 30.0,  5.0,  ESTIMATE),
    (Codec::Evrc,    "",       Band::Nb,  6.0, 10.0, 20.0,  10.0, G113_IE),
    (Codec::Evs,     "",       Band::Fb, 12.0, 15.0, 20.0,  12.0, ESTIMATE),
    (Codec::Opus,    "nb",     Band::Nb,  3.0, 20.0, 20.0,  6.5,  ESTIMATE),
    (Codec::Opus,    "wb",     Band::Wb,  8.0, 15.0, 20.0,  6.5,  ESTIMATE),
    (Codec::Opus,    "fb",     Band::Fb, 10.2,  4.3, 20.0,  6.5,  RTPENGINE),
    (Codec::Opus,    "fb-fec", Band::Fb, 10.2, 15.0, 20.0,  6.5,  ESTIMATE),
    (Codec::Speex,   "nb",     Band::Nb, 11.0, 20.0, 20.0,  10.0, ESTIMATE),
    (Codec::Speex,   "wb",     Band::Wb,  8.0, 15.0, 20.0,  10.0, ESTIMATE),
    (Codec::Silk,    "nb",     Band::Nb,  8.0, 20.0, 20.0,  5.0,  ESTIMATE),
    (Codec::Silk,    "wb",     Band::Wb,  8.0, 15.0, 20.0,  5.0,  ESTIMATE),
    (Codec::Unknown, "",       Band::Nb,  0.0,  4.3, 20.0,  0.0,  ESTIMATE),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn format(codec: Codec, bit_rate: u32) -> Format {
        Format { payload_type: 0, codec, clock_rate: 8000, bit_rate, fec: false }
    }

    fn constants(codec: Codec, bit_rate: u32) -> (f64, f64) {
        let impairment = Table::default().impairment(&format(codec, bit_rate), true).unwrap();
        (impairment.ie, impairment.bpl)
    }

    #[test]
    fn concealment_matters_for_g711() {
        let table = Table::default();
        for codec in [Codec::Pcmu, Codec::Pcma] {
            let bpl = |concealment| table.impairment(&format(codec, 0), concealment).unwrap().bpl;
            assert_eq!((bpl(true), bpl(false)), (25.1, 4.3));
        }
        let g729 = table.impairment(&format(Codec::G729, 0), false).unwrap();
        assert_eq!((g729.ie, g729.bpl, g729.estimate), (11.0, 19.0, false));
    }

    #[test]
    fn bit_rate_picks_the_mode() {
        assert_eq!(constants(Codec::G723, 0), (15.0, 16.1));
        assert_eq!(constants(Codec::G723, 5_300), (19.0, 16.1));
        assert_eq!(constants(Codec::Amr, 0), (5.0, 10.0));
        assert_eq!(constants(Codec::Amr, 7_400), (11.6, 10.0));
        assert_eq!(constants(Codec::Amr, 4_750), (21.4, 10.0));
        assert_eq!(constants(Codec::AmrWb, 23_850), (8.0, 4.3));
        assert_eq!(constants(Codec::AmrWb, 23_050), (1.0, 4.3));
        assert_eq!(constants(Codec::AmrWb, 0), (13.0, 4.3));
        assert_eq!(constants(Codec::G722, 0), (13.0, 4.3));
        assert_eq!(constants(Codec::G722, 48_000), (31.0, 4.3));
        assert_eq!(constants(Codec::Ilbc, 15_200), (10.0, 32.0));
        assert_eq!(constants(Codec::Ilbc, 13_330), (12.0, 32.0));
    }

    #[test]
    fn opus_follows_bit_rate_and_error_correction() {
        let table = Table::default();
        let band = |bit_rate| table.impairment(&format(Codec::Opus, bit_rate), true).unwrap().band;
        assert_eq!(
            [band(0), band(12_000), band(20_000), band(24_000)],
            [Band::Fb, Band::Nb, Band::Wb, Band::Fb]
        );
        let corrected = table.impairment(&Format { fec: true, ..format(Codec::Opus, 0) }, true).unwrap();
        assert_eq!((corrected.ie, corrected.bpl), (10.2, 15.0));
    }

    #[test]
    fn an_unknown_codec_is_rated_as_g711_without_concealment_and_marked() {
        let table = Table::default();
        for codec in [Codec::Unknown, Codec::Other, Codec::L16, Codec::Red, Codec::Mpa] {
            let impairment = table.impairment(&format(codec, 0), true).unwrap();
            assert_eq!((impairment.ie, impairment.bpl, impairment.band), (0.0, 4.3, Band::Nb));
            assert!(impairment.estimate);
        }
    }

    #[test]
    fn what_is_not_audio_has_no_score() {
        for codec in [Codec::H264, Codec::Vp8, Codec::TelephoneEvent, Codec::ComfortNoise] {
            assert_eq!(Table::default().impairment(&format(codec, 0), true), None);
        }
    }

    #[test]
    fn every_row_can_be_reached_and_is_named_once() {
        let table = Table::default();
        let rates = [0, 4_000, 5_000, 5_500, 6_000, 7_000, 7_500, 9_000, 12_500, 14_000, 15_500, 16_000];
        let mut reached = BTreeSet::new();
        for row in table.rows() {
            for rate in
                rates.into_iter().chain([18_000, 19_000, 20_000, 23_000, 23_850, 24_000, 56_000, 48_000])
            {
                for (concealment, fec, clock_rate) in [(false, false, 8000), (true, true, 16_000)] {
                    let format = Format { clock_rate, fec, ..format(row.codec, rate) };
                    let found = table
                        .rows()
                        .iter()
                        .find(|row| row.codec == format.codec && row.mode == mode(&format, concealment));
                    reached.insert(found.unwrap().to_string());
                }
            }
        }
        assert_eq!(reached.len(), table.rows().len());
        assert!(table.rows().iter().all(|row| row.impairment.bpl >= BPL_MIN && row.impairment.ie >= 0.0));
    }

    #[test]
    fn rows_are_overridden_by_name_or_by_codec() {
        let mut table = Table::default();
        table.set("OPUS/fb", Some(12.0), None).unwrap();
        table.set("pcma", None, Some(10.0)).unwrap();
        let opus = table.impairment(&format(Codec::Opus, 0), true).unwrap();
        assert_eq!((opus.ie, opus.bpl, opus.estimate), (12.0, 4.3, false));
        let bpl = |codec, concealment| table.impairment(&format(codec, 0), concealment).unwrap().bpl;
        assert_eq!(
            (bpl(Codec::Pcma, true), bpl(Codec::Pcma, false), bpl(Codec::Pcmu, true)),
            (10.0, 10.0, 25.1)
        );
        let sources: Vec<_> =
            table.rows().iter().filter(|row| row.source == CONFIGURED).map(Row::to_string).collect();
        assert_eq!(sources, ["PCMA/plc", "PCMA/no-plc", "opus/fb"]);
    }

    #[test]
    fn a_bad_override_changes_nothing() {
        let mut table = Table::default();
        assert_eq!(table.set("G.711", None, None), Err(OverrideError::Unknown("G.711".into())));
        assert_eq!(table.set("PCMU", Some(-1.0), None), Err(OverrideError::Ie(-1.0)));
        assert_eq!(table.set("PCMU", Some(1.0), Some(0.0)), Err(OverrideError::Bpl(0.0)));
        assert!(table.set("PCMU", Some(f64::NAN), None).is_err());
        assert_eq!(table, Table::default());
    }
}
