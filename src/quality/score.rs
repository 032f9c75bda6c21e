//! The verdict on a window or a whole stream: R, MOS, loss pattern (MEAS 1.14, 3.2, 4.4, 4.6, 6.4).

use super::burst::Runs;
use super::codec::Impairment;
use super::emodel;
use crate::event::LossPattern;

/// Transmission rating and opinion, both on the scale of the codec's band.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// R.
    pub r: f64,
    /// MOS.
    pub mos: f64,
    /// Loss above 20 %: beyond what the E-model was validated for (MEAS 3.6).
    pub out_of_range: bool,
}

/// Rates lost and late packets. With the one-way delay `ta_ms` it is the conversational quality, without the
/// listening quality. `None` below 50 expected packets: too short to be rated, and no default is a measurement.
pub fn score(runs: &Runs, impairment: &Impairment, ta_ms: Option<f64>) -> Option<Score> {
    if runs.expected() < EXPECTED_MIN {
        return None;
    }
    let Impairment { ie, bpl, band, .. } = *impairment;
    let ppl = runs.ppl();
    let r = emodel::network(band, ie, bpl, ppl, runs.burst_ratio(), ta_ms.unwrap_or(0.0));
    Some(Score { r, mos: emodel::mos(r, band), out_of_range: ppl > PPL_VALIDATED })
}

/// Mouth-to-ear delay in ms: network, de-jitter buffer, packet and codec look-ahead (MEAS 4.4).
pub fn absolute_delay_ms(network_ms: f64, depth_ms: f64, ptime_ms: f64, impairment: &Impairment) -> f64 {
    network_ms + depth_ms + ptime_ms + f64::from(impairment.lookahead_ms)
}

/// Names the way packets were lost. An outage is over one second in a row, whatever the share of the whole.
pub fn loss_pattern(runs: &Runs, ptime_seconds: f64) -> LossPattern {
    if runs.longest() as f64 * ptime_seconds > OUTAGE_SECONDS {
        LossPattern::Outage
    } else if runs.ratio() < LOSS_NEGLIGIBLE {
        LossPattern::None
    } else if runs.burst_ratio() < BURST_RATIO_RANDOM {
        LossPattern::Random
    } else {
        LossPattern::Bursty
    }
}

/// Expected packets that a window or a stream needs to be rated (MEAS 1.14).
pub const EXPECTED_MIN: u64 = 50;

const PPL_VALIDATED: f64 = 20.0;
const OUTAGE_SECONDS: f64 = 1.0;
const LOSS_NEGLIGIBLE: f64 = 0.001;
const BURST_RATIO_RANDOM: f64 = 1.5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::codec::Table;
    use crate::quality::vectors::assert_close;
    use crate::rtp::payload::{Codec, Format};

    fn impairment(codec: Codec) -> Impairment {
        let format = Format { payload_type: 0, codec, clock_rate: 8000, bit_rate: 0, fec: false };
        Table::default().impairment(&format, true).unwrap()
    }

    fn runs(pieces: &[(u64, u64)]) -> Runs {
        let mut runs = Runs::default();
        for &(good, bad) in pieces {
            runs.good(good);
            runs.bad_run(bad);
        }
        runs
    }

    /// MEAS appendix B: nine lost in six runs, three late ones apart, of 500.
    #[test]
    fn worked_example_from_packets_to_opinion() {
        let runs =
            runs(&[(50, 1), (50, 1), (50, 1), (50, 1), (50, 1), (50, 4), (50, 1), (50, 1), (50, 1), (38, 0)]);
        assert_eq!((runs.expected(), runs.bad_packets(), runs.runs()), (500, 12, 9));
        let g729 = impairment(Codec::G729);
        let listening = score(&runs, &g729, None).unwrap();
        assert_close(listening.r, 72.5345, 5e-5, "R of MOS-LQ");
        assert_close(listening.mos, 3.7135, 5e-5, "MOS-LQ");
        let ta = absolute_delay_ms(52.5, 58.0, 20.0, &g729);
        assert_close(ta, 135.5, 0.0, "Ta");
        let conversational = score(&runs, &g729, Some(ta)).unwrap();
        assert_close(conversational.r, 72.5052, 5e-5, "R of MOS-CQ");
        assert_close(conversational.mos, 3.7122, 5e-5, "MOS-CQ");
        assert_close(score(&runs, &g729, Some(300.0)).unwrap().r, 57.77, 5e-3, "R at 300 ms");
    }

    #[test]
    fn under_fifty_packets_there_is_no_opinion() {
        let pcmu = impairment(Codec::Pcmu);
        assert_eq!(score(&runs(&[(49, 0)]), &pcmu, None), None);
        assert_close(score(&runs(&[(50, 0)]), &pcmu, None).unwrap().mos, 4.409_406, 1e-6, "clean");
    }

    #[test]
    fn heavy_loss_is_rated_and_marked() {
        let pcmu = impairment(Codec::Pcmu);
        assert!(!score(&runs(&[(80, 20)]), &pcmu, None).unwrap().out_of_range);
        assert!(score(&runs(&[(79, 21)]), &pcmu, None).unwrap().out_of_range);
        let nothing_arrived = score(&runs(&[(0, 100)]), &pcmu, None).unwrap();
        assert!(nothing_arrived.mos < 1.2 && nothing_arrived.out_of_range);
    }

    #[test]
    fn loss_patterns() {
        assert_eq!(loss_pattern(&runs(&[(10_000, 9)]), 0.02), LossPattern::None);
        assert_eq!(loss_pattern(&runs(&[(50, 1), (50, 1), (50, 1)]), 0.02), LossPattern::Random);
        assert_eq!(loss_pattern(&runs(&[(100, 2), (100, 3), (100, 2)]), 0.02), LossPattern::Bursty);
        assert_eq!(loss_pattern(&runs(&[(100, 50)]), 0.02), LossPattern::Bursty);
        assert_eq!(loss_pattern(&runs(&[(100, 51)]), 0.02), LossPattern::Outage);
        assert_eq!(loss_pattern(&runs(&[(1_000_000, 51)]), 0.02), LossPattern::Outage);
        assert_eq!(loss_pattern(&Runs::default(), 0.02), LossPattern::None);
    }
}
