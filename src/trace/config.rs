//! What `[otlp]` says.

use super::export;
use super::{Sampling, Settings, Users};
use crate::process::host;

/// Whether and how calls are told as traces.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Where to, and how.
    pub export: export::Settings,
    /// Share of the calls with which nothing was wrong; none = the usual one.
    pub sample_ratio: Option<f64>,
    /// A call with a MOS below it is a bad one; none = the usual one.
    pub mos_bound: Option<f64>,
    /// Where this agent stands; none = the name of the host.
    pub vantage: Option<String>,
    /// How users are named.
    pub users: Users,
}

impl Config {
    /// Whether there is somebody to tell.
    pub fn is_on(&self) -> bool {
        self.export.endpoint.is_some()
    }

    /// What is kept by an agent; `otherwise` is the share where none is configured.
    pub fn sampling(&self, otherwise: f64) -> Sampling {
        let usual = Sampling::default();
        Sampling {
            ratio: self.sample_ratio.unwrap_or(otherwise),
            mos_bound: self.mos_bound.unwrap_or(usual.mos_bound),
        }
    }

    /// How facts become spans, and how those are sent; `share` and `place` stand where nothing is configured.
    pub fn split(&self, share: f64, place: Option<String>) -> (Settings, export::Settings) {
        let vantage = self.vantage.clone().or(place).unwrap_or_else(host::name);
        let mut export = self.export.clone();
        // Two agents of one service differ where their spans do.
        export.resource.entry("service.instance.id".into()).or_insert_with(|| vantage.clone());
        (Settings { vantage, sampling: self.sampling(share), users: self.users }, export)
    }
}

/// Share of the good calls that an agent tells, unless configured otherwise.
pub const USUAL_SHARE: f64 = 0.1;
