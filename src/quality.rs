//! From losses and delays to an opinion score (MEAS 1.6, 3, 4, 6.2 to 6.4).
//!
//! ```text
//! outcome of each expected packet ----------------------> burst ---\
//! transit of each audio packet ---> buffer (late packets) -^        +--> score (R, MOS)
//!                                    \-> variation (p95)            |
//!                                     -> skew (ppm)       codec ----/    by emodel
//! sampled G.711 payload -----------------> silence (dead air)
//! ```
//!
//! Everything here is a small value that its stream owns: fixed size (`skew` alone keeps a bounded list), no
//! clock, no allocation per packet. Times inside are milliseconds, ratios 0 to 1; only the E-model speaks percent.

pub mod buffer;
pub mod burst;
pub mod codec;
pub mod emodel;
pub mod score;
pub mod silence;
pub mod skew;
pub mod variation;

use self::codec::Table;

/// What opinion scores rest on beside what is measured (MEAS 3.5, 4.4, 4.5).
#[derive(Clone, Debug, PartialEq)]
pub struct Rating {
    /// Codec constants of the E-model.
    pub impairments: Table,
    /// Receivers that do not report it are taken to conceal loss.
    pub concealment: bool,
    /// One-way network delay of streams for which none was measured, ms.
    pub assumed_delay_ms: Option<f64>,
    /// Delay inside both terminals that no packet shows, ms: sound devices, DSP.
    pub endpoint_delay_ms: f64,
}

impl Default for Rating {
    fn default() -> Self {
        Self {
            impairments: Table::default(),
            concealment: true,
            assumed_delay_ms: None,
            endpoint_delay_ms: 0.0,
        }
    }
}

#[cfg(test)]
mod vectors {
    //! Reading `fixtures/vectors`.

    use serde_json::Value;

    pub(super) fn parse(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    pub(super) fn number(value: &Value, key: &str) -> f64 {
        value[key].as_f64().unwrap_or_else(|| panic!("{key} of {value} is no number"))
    }

    #[track_caller]
    pub(super) fn assert_close(measured: f64, expected: f64, tolerance: f64, what: &str) {
        assert!((measured - expected).abs() <= tolerance, "{what}: {measured}, expected {expected}");
    }
}
