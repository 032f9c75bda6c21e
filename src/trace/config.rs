//! What `[otlp]` says.

use super::export;
use super::{Sampling, Settings};
use crate::log::privacy::{Policy, Treatment, Treatments};
use crate::process::host;

/// Whether and how calls are told as traces.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where to, and how.
    pub export: export::Settings,
    /// Share of the calls with which nothing was wrong; none = the usual one.
    pub sample_ratio: Option<f64>,
    /// A call with a MOS below it is a bad one; none = the usual one.
    pub mos_bound: Option<f64>,
    /// Where this agent stands; none = the name of the host.
    pub vantage: Option<String>,
    /// What becomes of the users of URIs.
    pub users: Treatment,
}

impl Default for Config {
    fn default() -> Self {
        let [(_, users), ..] = USERS;
        Self {
            export: export::Settings::default(),
            sample_ratio: None,
            mos_bound: None,
            vantage: None,
            users,
        }
    }
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

    /// How facts become spans, and how those are sent; `share` and `place` stand where nothing is configured. Addresses
    /// are the substance of a trace; of a user the policy is asked.
    pub fn split(
        &self,
        share: f64,
        place: Option<String>,
        policy: impl FnOnce(Treatments) -> Policy,
    ) -> (Settings, export::Settings) {
        let users = Treatments { users: self.users, numbers: self.users, addresses: Treatment::Keep };
        let vantage = self.vantage.clone().or(place).unwrap_or_else(host::name);
        let mut export = self.export.clone();
        // Two agents of one service differ where their spans do.
        export.resource.entry("service.instance.id".into()).or_insert_with(|| vantage.clone());
        (Settings { vantage, sampling: self.sampling(share), users: policy(users) }, export)
    }
}

/// What `otlp.users` calls the treatments that it knows, the usual one first.
pub const USERS: [(&str, Treatment); 3] =
    [("hash", Treatment::Hash), ("clear", Treatment::Keep), ("omit", Treatment::Drop)];
/// Share of the good calls that an agent tells, unless configured otherwise.
pub const USUAL_SHARE: f64 = 0.1;
