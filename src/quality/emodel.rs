//! The E-model: ITU-T G.107 (06/2015) in full, the part of it a tap can feed, and the opinion scale (MEAS 3.1 to 3.4).
//!
//! ```text
//! R = Ro - Is - Id - Ie_eff + A          what a planner knows: Parameters::rating
//! R = base - Idd(Ta) - Ie_eff            what a tap can know: network
//! MOS = cubic(R / scale of the band)     mos, and back: r_from_mos
//! ```
//!
//! From the wire come loss, burstiness, codec and perhaps the delay. Levels, noise and echo stay at their
//! defaults, so `network` is an upper bound: it supposes perfect echo control. Loss and `Bpl` are in percent.

use crate::event::Band;

/// Inputs of the full algorithm, named as in G.107; the defaults are the recommended ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameters {
    /// Send loudness rating, dB.
    pub slr: f64,
    /// Receive loudness rating, dB.
    pub rlr: f64,
    /// Sidetone masking rating, dB.
    pub stmr: f64,
    /// D-value of the telephone at the send side.
    pub ds: f64,
    /// D-value of the telephone at the receive side; listener sidetone rating is `stmr + dr`.
    pub dr: f64,
    /// Talker echo loudness rating, dB.
    pub telr: f64,
    /// Weighted echo path loss, dB.
    pub wepl: f64,
    /// Mean one-way delay of the echo path, ms.
    pub t: f64,
    /// Round-trip delay in the 4-wire loop, ms.
    pub tr: f64,
    /// Absolute one-way delay, mouth to ear, ms.
    pub ta: f64,
    /// Quantisation distortion units.
    pub qdu: f64,
    /// Equipment impairment factor of the codec.
    pub ie: f64,
    /// Packet-loss robustness factor of the codec, percent.
    pub bpl: f64,
    /// Packet loss, percent.
    pub ppl: f64,
    /// Burst ratio, 1 = random loss.
    pub burst_r: f64,
    /// Circuit noise at the 0 dBr point, dBm0p.
    pub nc: f64,
    /// Noise floor at the receive side, dBmp.
    pub nfor: f64,
    /// Room noise at the send side, dB(A).
    pub ps: f64,
    /// Room noise at the receive side, dB(A).
    pub pr: f64,
    /// Advantage factor.
    pub a: f64,
    /// Delay sensitivity.
    pub s_t: f64,
    /// Smallest perceptible delay, ms.
    pub m_t: f64,
}

/// The transmission rating and the terms it is the sum of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rating {
    /// Transmission rating factor R, not clamped.
    pub r: f64,
    /// Basic signal-to-noise ratio.
    pub ro: f64,
    /// Impairments simultaneous with the voice.
    pub is: f64,
    /// Impairments by delay.
    pub id: f64,
    /// Effective equipment impairment.
    pub ie_eff: f64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            slr: 8.0,
            rlr: 2.0,
            stmr: 15.0,
            ds: 3.0,
            dr: 3.0,
            telr: 65.0,
            wepl: 110.0,
            t: 0.0,
            tr: 0.0,
            ta: 0.0,
            qdu: 1.0,
            ie: 0.0,
            bpl: 4.3,
            ppl: 0.0,
            burst_r: 1.0,
            nc: -70.0,
            nfor: -64.0,
            ps: 35.0,
            pr: 35.0,
            a: 0.0,
            s_t: 1.0,
            m_t: 100.0,
        }
    }
}

impl Parameters {
    /// The full algorithm of G.107 clause 7 (MEAS 3.1).
    pub fn rating(&self) -> Rating {
        let no = self.noise();
        let ro = 15.0 - 1.5 * (self.slr + no);
        let ist = self.sidetone_impairment();
        let is = self.loudness_impairment(no) + ist + self.quantisation_impairment(ro);
        let id = self.talker_echo(no, ist) + self.listener_echo(ro) + idd_of(self.ta, self.s_t, self.m_t);
        let ie_eff = ie_eff(self.ie, self.bpl, self.ppl, self.burst_r, NARROWBAND.worst);
        Rating { r: ro - is - id - ie_eff + self.a, ro, is, id, ie_eff }
    }

    /// No: the power sum of circuit noise, room noises and noise floor, dBm0p.
    fn noise(&self) -> f64 {
        let olr = self.slr + self.rlr;
        let lstr = self.stmr + self.dr;
        let nos = self.ps - self.slr - self.ds - 100.0 + 0.004 * (self.ps - olr - self.ds - 14.0).powi(2);
        let pre = self.pr + 10.0 * (1.0 + power(10.0 - lstr)).log10();
        let nor = self.rlr - 121.0 + pre + 0.008 * (pre - 35.0).powi(2);
        let nfo = self.nfor + self.rlr;
        10.0 * (power(self.nc) + power(nos) + power(nor) + power(nfo)).log10()
    }

    /// Iolr: too loud or too faint.
    fn loudness_impairment(&self, no: f64) -> f64 {
        let x = (self.slr + self.rlr + 0.2 * (64.0 + no - self.rlr)) / 8.0;
        20.0 * ((1.0 + x.powi(8)).powf(1.0 / 8.0) - x)
    }

    /// Ist: sidetone that is not optimal.
    fn sidetone_impairment(&self) -> f64 {
        let stmr_o = -10.0 * (power(-self.stmr) + (-self.t / 4.0).exp() * power(-self.telr)).log10();
        let term = |shift: f64, width: f64, order: i32| {
            (1.0 + ((stmr_o + shift) / width).powi(order)).powf(1.0 / f64::from(order))
        };
        12.0 * term(-13.0, 6.0, 8) - 28.0 * term(1.0, 19.4, 35) - 13.0 * term(-3.0, 33.0, 13) + 29.0
    }

    /// Iq: quantising distortion.
    fn quantisation_impairment(&self, ro: f64) -> f64 {
        let q = 37.0 - 15.0 * self.qdu.log10();
        let g = 1.07 + 0.258 * q + 0.0602 * q * q;
        let y = (ro - 100.0) / 15.0 + 46.0 / 8.4 - g / 9.0;
        let z = 46.0 / 30.0 - g / 40.0;
        15.0 * (1.0 + 10_f64.powf(y) + 10_f64.powf(z)).log10()
    }

    /// Idte: the talker hears his own echo.
    fn talker_echo(&self, no: f64, ist: f64) -> f64 {
        let mut terv = self.telr - 40.0 * ((1.0 + self.t / 10.0) / (1.0 + self.t / 150.0)).log10()
            + 6.0 * (-0.3 * self.t * self.t).exp();
        if self.stmr < 9.0 {
            terv += ist / 2.0;
        }
        let half = (-1.5 * (no - self.rlr) - (80.0 + 2.5 * (terv - 14.0))) / 2.0;
        let mut idte = 0.0;
        if self.t >= 1.0 {
            idte = (half + (half * half + 100.0).sqrt() - 1.0) * (1.0 - (-self.t).exp());
        }
        if self.stmr > 20.0 { idte.hypot(ist) } else { idte }
    }

    /// Idle: the listener hears the talker's echo.
    fn listener_echo(&self, ro: f64) -> f64 {
        let rle = 10.5 * (self.wepl + 7.0) * (self.tr + 1.0).powf(-0.25);
        let half = (ro - rle) / 2.0;
        half + (half * half + 169.0).sqrt()
    }
}

/// R of a connection of which only codec, loss and delay are known (MEAS 3.2, 3.4), on the scale of `band`
/// and clamped to it. `ppl` and `bpl` in percent, `ta_ms` 0 for listening quality.
pub fn network(band: Band, ie: f64, bpl: f64, ppl: f64, burst_r: f64, ta_ms: f64) -> f64 {
    let scale = Scale::of(band);
    let r = scale.base - scale.factor * idd(ta_ms) - ie_eff(ie, bpl, ppl, burst_r, scale.worst);
    r.clamp(0.0, scale.base)
}

/// Impairment by pure delay, mouth to ear, at default sensitivity: 0 up to 100 ms.
pub fn idd(ta_ms: f64) -> f64 {
    idd_of(ta_ms, 1.0, 100.0)
}

/// Mean opinion score, 1 to 4.5, of a rating on the scale of `band` (G.107 Annex B; MEAS 3.3).
pub fn mos(r: f64, band: Band) -> f64 {
    let r = r / Scale::of(band).factor;
    if r <= 0.0 {
        1.0
    } else if r >= 100.0 {
        4.5
    } else {
        // The cubic dips below 1 for 0 < R < 6.5; 1 is the bottom of the scale.
        (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
    }
}

/// Narrowband rating that maps to this score (G.107 Appendix I, closed form): 0 at 1 and below, 100 at 4.5 and above.
pub fn r_from_mos(mos: f64) -> f64 {
    if mos >= 4.5 {
        return 100.0;
    }
    if mos <= 1.0 {
        return 0.0;
    }
    let a = 18_566.0 - 6_750.0 * mos;
    let b = 15.0 * (-903_522.0 + 1_113_960.0 * mos - 202_500.0 * mos * mos).max(0.0).sqrt();
    let h = b.atan2(a) / 3.0;
    20.0 / 3.0 * (8.0 - 226_f64.sqrt() * (h + std::f64::consts::FRAC_PI_3).cos())
}

/// Users who would call the connection good or better, in percent; `r` on the narrowband scale.
pub fn good_or_better(r: f64) -> f64 {
    100.0 * normal_cdf((r - 60.0) / 16.0)
}

/// Users who would call the connection poor or worse, in percent; `r` on the narrowband scale.
pub fn poor_or_worse(r: f64) -> f64 {
    100.0 * normal_cdf((45.0 - r) / 16.0)
}

/// What differs between G.107, G.107.1 and G.107.2 once terminals are at their defaults.
struct Scale {
    /// R without loss, delay and codec impairment.
    base: f64,
    /// Limit of `Ie_eff` under total loss.
    worst: f64,
    /// Stretch against the narrowband scale.
    factor: f64,
}

impl Scale {
    fn of(band: Band) -> &'static Self {
        match band {
            Band::Nb => &NARROWBAND,
            Band::Wb => &WIDEBAND,
            Band::Fb => &FULLBAND,
        }
    }
}

/// Ie,eff of G.107 eq. 7-29. A loss given as a ratio instead of percent would make it vanish.
fn ie_eff(ie: f64, bpl: f64, ppl: f64, burst_r: f64, worst: f64) -> f64 {
    if ppl <= 0.0 {
        return ie;
    }
    ie + (worst - ie) * ppl / (ppl / burst_r + bpl)
}

fn idd_of(ta: f64, s_t: f64, m_t: f64) -> f64 {
    if ta <= m_t {
        return 0.0;
    }
    let x = (ta / m_t).log2();
    let order = 6.0 * s_t;
    let norm = |x: f64| (1.0 + x.powf(order)).powf(1.0 / order);
    25.0 * (norm(x) - 3.0 * norm(x / 3.0) + 2.0)
}

/// Decibels to a power ratio.
fn power(decibels: f64) -> f64 {
    10_f64.powf(decibels / 10.0)
}

/// Normal distribution function: `1/2 + density * (z + z^3/3 + z^5/15 + ...)`, whose terms all have one sign.
fn normal_cdf(z: f64) -> f64 {
    if z.abs() > 9.0 {
        return f64::from(u8::from(z > 0.0));
    }
    let (mut sum, mut term, mut odd) = (0.0, z, 1.0);
    while f64::abs(term) > 1e-17 {
        sum += term;
        odd += 2.0;
        term *= z * z / odd;
    }
    0.5 + sum * (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt()
}

const NARROWBAND: Scale = Scale { base: 93.206_207_723_3, worst: 95.0, factor: 1.0 };
const WIDEBAND: Scale = Scale { base: 129.0, worst: 95.0, factor: 1.29 };
const FULLBAND: Scale = Scale { base: 148.0, worst: 132.0, factor: 1.48 };

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::quality::vectors::{assert_close, number, parse};

    const BANDS: [Band; 3] = [Band::Nb, Band::Wb, Band::Fb];

    fn vectors() -> Value {
        parse(include_str!("../../fixtures/vectors/emodel.json"))
    }

    fn set(parameters: &mut Parameters, name: &str, value: f64) {
        let field = match name {
            "SLR" => &mut parameters.slr,
            "RLR" => &mut parameters.rlr,
            "STMR" => &mut parameters.stmr,
            "Ds" => &mut parameters.ds,
            "Dr" => &mut parameters.dr,
            "TELR" => &mut parameters.telr,
            "WEPL" => &mut parameters.wepl,
            "T" => &mut parameters.t,
            "Tr" => &mut parameters.tr,
            "Ta" => &mut parameters.ta,
            "qdu" => &mut parameters.qdu,
            "Ie" => &mut parameters.ie,
            "Bpl" => &mut parameters.bpl,
            "Ppl" => &mut parameters.ppl,
            "BurstR" => &mut parameters.burst_r,
            "Nc" => &mut parameters.nc,
            "Nfor" => &mut parameters.nfor,
            "Ps" => &mut parameters.ps,
            "Pr" => &mut parameters.pr,
            "A" => &mut parameters.a,
            "sT" => &mut parameters.s_t,
            "mT" => &mut parameters.m_t,
            other => panic!("{other}"),
        };
        *field = value;
    }

    #[test]
    fn defaults_are_those_of_the_vectors() {
        let mut listed = Parameters::default();
        for (name, value) in vectors()["defaults"].as_object().unwrap() {
            if name == "LSTR" {
                assert_close(listed.stmr + listed.dr, value.as_f64().unwrap(), 0.0, name);
            } else {
                set(&mut listed, name, value.as_f64().unwrap());
            }
        }
        assert_eq!(listed, Parameters::default());
        assert_close(Parameters::default().rating().r, NARROWBAND.base, 1e-9, "R0");
    }

    #[test]
    fn full_algorithm_matches_the_vectors() {
        for case in vectors()["full"].as_array().unwrap() {
            let mut parameters = Parameters::default();
            for (name, value) in case["input"].as_object().unwrap() {
                set(&mut parameters, name, value.as_f64().unwrap());
            }
            let rating = parameters.rating();
            let what = case["input"].to_string();
            assert_close(rating.r, number(case, "R"), 1e-6, &what);
            assert_close(rating.ro, number(case, "Ro"), 1e-6, &what);
            assert_close(rating.is, number(case, "Is"), 1e-6, &what);
            assert_close(rating.id, number(case, "Id"), 1e-6, &what);
            assert_close(rating.ie_eff, number(case, "Ie_eff"), 1e-6, &what);
            assert_close(mos(rating.r, Band::Nb), number(case, "mos"), 1e-6, &what);
        }
    }

    #[test]
    fn network_rating_matches_the_vectors() {
        for case in vectors()["network"].as_array().unwrap() {
            let band = match case["band"].as_str().unwrap() {
                "nb" => Band::Nb,
                "wb" => Band::Wb,
                _ => Band::Fb,
            };
            let at = |key| number(case, key);
            let r = network(band, at("Ie"), at("Bpl"), at("Ppl"), at("BurstR"), at("Ta"));
            assert_close(r, at("R"), 1e-6, &case.to_string());
            assert_close(mos(r, band), at("mos"), 1e-6, &case.to_string());
        }
    }

    #[test]
    fn delay_and_opinion_scales_match_the_vectors() {
        let vectors = vectors();
        for case in vectors["idd"].as_array().unwrap() {
            assert_close(idd(number(case, "Ta")), number(case, "Idd"), 1e-6, &case.to_string());
        }
        for case in vectors["mos_from_r"].as_array().unwrap() {
            let r = number(case, "R");
            assert_close(mos(r, Band::Nb), number(case, "mos"), 1e-6, &case.to_string());
            assert_close(good_or_better(r), number(case, "gob"), 1e-6, &case.to_string());
            assert_close(poor_or_worse(r), number(case, "pow"), 1e-6, &case.to_string());
        }
        for case in vectors["r_from_mos"].as_array().unwrap() {
            assert_close(r_from_mos(number(case, "mos")), number(case, "R"), 1e-6, &case.to_string());
        }
    }

    /// One series must not mix bands: the same R is another opinion on another scale.
    #[test]
    fn the_best_narrowband_rating_is_a_mediocre_one_on_wider_scales() {
        assert_close(mos(93.2, Band::Wb), 3.70, 0.005, "wb");
        assert_close(mos(93.2, Band::Fb), 3.25, 0.005, "fb");
    }

    #[test]
    fn normal_distribution_is_bounded_and_symmetric() {
        assert_close(normal_cdf(0.0), 0.5, 0.0, "0");
        assert_close(normal_cdf(1.959_963_985), 0.975, 1e-9, "1.96");
        assert_close(normal_cdf(-40.0), 0.0, 0.0, "far left");
        assert_close(normal_cdf(40.0), 1.0, 0.0, "far right");
        assert_close(normal_cdf(8.9) + normal_cdf(-8.9), 1.0, 1e-12, "symmetry");
    }

    proptest! {
        /// forall R in (6.5, 100): r_from_mos(mos(R)) = R
        #[test]
        fn score_and_rating_round_trip(r in 6.6_f64..99.9) {
            prop_assert!((r_from_mos(mos(r, Band::Nb)) - r).abs() < 1e-6);
        }

        /// MEAS 10.3: MOS never rises with more loss, less robustness, more bursts or more delay.
        #[test]
        fn score_is_monotone(
            band in 0_usize..3, ie in 0.0_f64..60.0, bpl in 1.0_f64..40.0, ppl in 0.0_f64..100.0,
            burst_r in 1.0_f64..8.0, ta in 0.0_f64..1000.0, more in 0.0_f64..50.0,
        ) {
            let band = BANDS[band];
            let score = |bpl, ppl, burst_r, ta| mos(network(band, ie, bpl, ppl, burst_r, ta), band);
            let base = score(bpl, ppl, burst_r, ta);
            prop_assert!((1.0..=4.5).contains(&base));
            let bound = base + 1e-12;
            prop_assert!(score(bpl, (ppl + more).min(100.0), burst_r, ta) <= bound);
            prop_assert!(score((bpl - more).max(0.5), ppl, burst_r, ta) <= bound);
            prop_assert!(score(bpl, ppl, (burst_r + more).min(8.0), ta) <= bound);
            prop_assert!(score(bpl, ppl, burst_r, ta + more) <= bound);
        }
    }
}
