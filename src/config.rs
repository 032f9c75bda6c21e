//! Configuration: a TOML file, `SIDETONE_SECTION_KEY` variables over it, flags over both (DESIGN 9).
//!
//! ```text
//! file -> toml -> tree with positions --\
//! SIDETONE_LIMITS_CALLS=1000 ------------+-> Reader: section by section, key by key -> Config
//!                                                       \-> every problem, with its place and a hint
//! ```
//!
//! A key that nobody asks for is an error, in the file and among the variables. All problems are found at once.
//! What is read here was checked here: a [`Config`] can be used as it is.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::agent;
use crate::export::prometheus;
use crate::observer;
use crate::trace;

mod capture;
pub mod effective;
mod evidence;
mod file;
mod hep;
mod logs;
mod loki;
mod metrics;
mod otlp;
mod processes;
mod quality;
mod rules;
mod tail;
mod value;

use file::{Reader, Section};

/// Everything that can be configured.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What the measuring core is told.
    pub observer: observer::Settings,
    /// What the agent captures and serves.
    pub agent: agent::Settings,
    /// Which metrics there are beside the usual ones.
    pub metrics: prometheus::Options,
    /// Whether and how calls are told as traces.
    pub otlp: trace::Config,
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `FILE:LINE`, or the name of the variable or of the file.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

/// `sidetone.toml:3: limits.cals is no key; did you mean calls?`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "; {}", self.hint) }
    }
}

/// Reads the file, if there is one, and the variables of the environment over it; or returns all that is wrong.
pub fn load(file: Option<&Path>, variables: &BTreeMap<String, String>) -> Result<Config, Vec<Problem>> {
    let Some(path) = file else { return read("", "", variables) };
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => read(&name, &text, variables),
        Err(error) => {
            let hint = "name a readable file with --config or SIDETONE_CONFIG".into();
            Err(vec![Problem { place: name, what: error.to_string(), hint }])
        }
    }
}

/// Names that others gave to what is configured here, and directories that a service manager makes.
pub const COMMON_VARIABLES: [&str; 5] =
    ["LOG_LEVEL", "LOG_FILE", "LOG_FORMAT", "LOGS_DIRECTORY", "STATE_DIRECTORY"];

/// Lets `LOG_LEVEL`, `LOG_FILE` and `LOG_FORMAT` stand for the own variables where those are not set.
pub fn with_common(mut variables: BTreeMap<String, String>) -> BTreeMap<String, String> {
    for (common, own) in [
        ("LOG_LEVEL", "SIDETONE_LOGS_LEVEL"),
        ("LOG_FILE", "SIDETONE_LOGS_FILE"),
        ("LOG_FORMAT", "SIDETONE_LOGS_FORMAT"),
    ] {
        let Some(given) = variables.remove(common).filter(|given| !given.trim().is_empty()) else { continue };
        let (own, given) = match given.as_str() {
            "-" | "/dev/stdout" if common == "LOG_FILE" => ("SIDETONE_LOGS_APPLICATION", "stdout".to_owned()),
            "/dev/stderr" if common == "LOG_FILE" => ("SIDETONE_LOGS_APPLICATION", "stderr".to_owned()),
            _ => (own, given),
        };
        variables.entry(own.to_owned()).or_insert(given);
    }
    variables
}

/// Reads the text of a file called `name`, and variables over it; or returns all that is wrong.
pub fn read(name: &str, text: &str, variables: &BTreeMap<String, String>) -> Result<Config, Vec<Problem>> {
    let mut config = Config::default();
    let problems = Reader::read(name, text, variables, |reader| config.fill(reader));
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

impl Config {
    /// What the observer is told: its own part, and what others need of it.
    pub fn observing(&self) -> observer::Settings {
        let mut settings = self.observer.clone();
        self.agent.hep.observe(&mut settings);
        settings.calls.trails = self.otlp.is_on();
        settings.mirror |= self.agent.evidence.enabled;
        settings
    }

    fn fill(&mut self, reader: &mut Reader<'_>) {
        self.fill_agent(reader);
        metrics::fill(reader, &mut self.metrics);
        processes::fill(reader, &mut self.agent.processes);
        otlp::fill(reader, &mut self.otlp, &self.agent.capture.interfaces);
        self.metrics.sampling = self.otlp.is_on().then(|| self.otlp.sampling(trace::USUAL_SHARE));
        let observer::Settings { limits, rating, calls, .. } = &mut self.observer;
        reader.section("limits", |section| {
            let mut entries = |key, to: &mut usize| section.number(key, to, 1..=MAX_ENTRIES);
            entries("calls", &mut limits.calls);
            entries("transactions", &mut limits.transactions);
            entries("registrations", &mut limits.registrations);
            entries("streams", &mut limits.streams);
            entries("endpoints", &mut limits.endpoints);
            entries("candidates", &mut limits.candidates);
            entries("fragments", &mut limits.fragments);
            entries("tcp_flows", &mut limits.tcp_flows);
            let mut bytes = |key, to: &mut usize| section.number(key, to, MIN_BYTES..=MAX_BYTES);
            bytes("fragment_bytes", &mut limits.fragment_bytes);
            bytes("tcp_flow_bytes", &mut limits.tcp_flow_bytes);
            bytes("tcp_bytes", &mut limits.tcp_bytes);
        });
        reader.section("quality", |section| quality::fill(section, rating));
        reader.section("sip", |section| {
            if let Some(headers) = section.given("correlation_headers") {
                calls.correlation_headers = headers;
            }
            if let Some(join) = section.given("join_heuristics") {
                calls.heuristics = join;
            }
        });
        calls.tenants = rules::read(reader, "tenants");
        calls.routes = rules::read(reader, "routes");
    }
}

impl Config {
    fn fill_agent(&mut self, reader: &mut Reader<'_>) {
        let agent = &mut self.agent;
        reader.section("capture", |section| {
            capture::fill(section, &mut agent.capture);
            if let Some(decode) = section.given("decode_hep") {
                agent.hep.decode = decode;
            }
        });
        reader.section("hep", |section| hep::fill(section, &mut agent.hep));
        let mut state = None;
        reader.section("state", |section| {
            let directory = section.given::<String>("directory").map(PathBuf::from);
            state = directory.or_else(|| section.of_unit("STATE_DIRECTORY"));
        });
        reader.section("evidence", |section| evidence::fill(section, &mut agent.evidence));
        agent.state = state.clone().unwrap_or_else(|| agent.state.clone());
        reader.section("logs", |section| logs::fill(section, state, &mut agent.logs));
        reader.section("loki", |section| loki::fill(section, &mut agent.loki));
        agent.tails = tail::read(reader);
        reader.section("http", |section| {
            let addresses = |listen: &Vec<String>| match listen.iter().find(|at| address(at).is_none()) {
                Some(wrong) => Err(format!("{wrong:?} is no address and port, as in 127.0.0.1:9767")),
                None if listen.is_empty() => Err("name at least one address".into()),
                None => Ok(()),
            };
            if let Some(listen) = section.checked("listen", addresses) {
                agent.listen = listen.iter().filter_map(|at| address(at)).collect();
            }
            if let Some(file) = section.given::<String>("web_config") {
                agent.web_config = Some(file.into());
            }
        });
    }
}

/// Variables that say in which pod we run.
pub const IDENTITY: [&str; 5] =
    ["POD_NAME", "POD_NAMESPACE", "NODE_NAME", "HOSTNAME", "KUBERNETES_SERVICE_HOST"];

fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}

/// Numbers of entries fit 32 bits with room to spare.
const MAX_ENTRIES: u64 = 1_000_000_000;
/// The largest IP datagram and SIP message must fit.
const MIN_BYTES: u64 = 65_536;
const MAX_BYTES: u64 = 1 << 40;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::ALL as EVERY_KEY;
