//! The configuration in force, key by key: what `/api/config` shows, and what another one would change.

use std::fmt::{self, Display};

use hyper::header::{HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Config;
use crate::call::classify::{Pattern, Rule};
use crate::export::prometheus::Trunk;
use crate::hep::Key;
use crate::log;
use crate::process;
use crate::trace::export::endpoint::Protocol;
use crate::trace::{USERS, USUAL_SHARE};

/// One key and what it stands at.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// `section.key`, or the name of a list.
    pub key: &'static str,
    /// Its value; null = none.
    pub value: Value,
    /// When another value comes into force.
    pub taken: Taken,
    /// Never shown.
    pub secret: bool,
}

/// When another value of a key comes into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Taken {
    /// With the reload.
    Now,
    /// When the agent is started anew: it needs rights that were given up, or tables of another size.
    Restart,
}

/// A key with another value than before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// `section.key`, or the name of a list.
    pub key: &'static str,
    /// What it was.
    pub old: Value,
    /// What it is now.
    pub new: Value,
    /// When the new value comes into force.
    pub taken: Taken,
}

/// `quality.plc: true -> false`
impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.key, brief(&self.old), brief(&self.new))
    }
}

impl Config {
    /// Every key there is.
    pub fn settings(&self) -> Vec<Setting> {
        let Self { agent, observer, metrics, otlp } = self;
        let (capture, incoming, outgoing) = (&agent.capture, &agent.hep.incoming, &agent.hep.outgoing);
        let processes = &agent.processes;
        let (loki, evidence) = (&agent.loki, &agent.evidence);
        let (limits, rating, calls) = (&observer.limits, &observer.rating, &observer.calls);
        let now = |key, value| Setting { key, value, taken: Taken::Now, secret: false };
        let restart = |key, value| Setting { key, value, taken: Taken::Restart, secret: false };
        let secret = |key, value| Setting { key, value, taken: Taken::Restart, secret: true };
        let local: Vec<_> = metrics.local.iter().map(ToString::to_string).collect();
        let (filter, privacy) = (&agent.logs.filter, &agent.logs.privacy);
        let places = |log: usize| -> Value {
            agent.logs.places.get(log).into_iter().flatten().map(|place| place.name()).collect()
        };
        let level = |log: log::Stream| json!(filter.levels.get(log.index()).copied().unwrap_or_default());
        let days = |log: usize| json!(agent.logs.retention.days.get(log));
        let ports = format!("{}-{}", metrics.rtp_ports.start(), metrics.rtp_ports.end());
        vec![
            now("capture.interfaces", json!(capture.interfaces)),
            restart("capture.source", json!(capture.kind)),
            restart("capture.filter", json!(capture.filter)),
            restart("capture.clock", json!(if capture.adapter_clock { "adapter" } else { "host" })),
            restart("capture.ring_bytes", json!(capture.ring.ring_bytes)),
            restart("capture.decode_hep", json!(agent.hep.decode)),
            restart("hep.listen", texts(&incoming.listen)),
            secret("hep.key", key(&incoming.key)),
            restart("hep.connections", json!(incoming.connections)),
            restart("hep.idle_seconds", json!(incoming.idle_seconds)),
            restart("hep.send", texts(&agent.hep.send)),
            secret("hep.send_key", key(&outgoing.key)),
            restart("hep.agent_id", json!(outgoing.agent)),
            restart("hep.node", json!(outgoing.node)),
            restart("hep.compress", json!(outgoing.compress)),
            restart("hep.rtcp", json!(outgoing.rtcp)),
            restart("hep.reports", json!(outgoing.reports)),
            restart("hep.spool_bytes", json!(outgoing.spool_bytes)),
            restart("state.directory", json!(agent.state)),
            restart("evidence.enabled", json!(evidence.enabled)),
            restart("evidence.directory", json!(agent.evidence_directory())),
            restart("evidence.sip_bytes", json!(evidence.sip_bytes)),
            restart("evidence.rtp_bytes", json!(evidence.rtp_bytes)),
            restart("evidence.file_bytes", json!(evidence.file_bytes)),
            restart("evidence.files_per_minute", json!(evidence.files_per_minute)),
            restart("evidence.keep_files", json!(evidence.retention.files)),
            restart("evidence.keep_bytes", json!(evidence.retention.bytes)),
            restart("evidence.keep_days", json!(evidence.retention.days)),
            restart("loki.url", json!(loki.url.as_ref().map(ToString::to_string))),
            restart("loki.tenant", json!(loki.tenant)),
            restart("loki.user", json!(loki.user)),
            restart("loki.password_file", json!(loki.password_file)),
            restart("loki.bearer_file", json!(loki.bearer_file)),
            restart("loki.ca", json!(loki.ca)),
            restart(
                "loki.labels",
                loki.labels.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            ),
            restart("loki.streams", json!(loki.streams)),
            restart("loki.users", json!(loki.privacy.users.name())),
            restart("loki.numbers", json!(loki.privacy.numbers.name())),
            restart("loki.addresses", json!(loki.privacy.addresses.name())),
            restart("loki.spool", json!(loki.spool)),
            restart("loki.spool_bytes", json!(loki.spool_bytes)),
            restart("loki.batch_bytes", json!(loki.batch_bytes)),
            restart("loki.batch_lines", json!(loki.batch_lines)),
            restart("loki.batch_seconds", json!(loki.batch_wait.as_secs_f64())),
            restart("loki.timeout_seconds", json!(loki.timeout.as_secs_f64())),
            restart("tail", agent.tails.iter().map(super::tail::shown).collect()),
            now("metrics.aliases", json!(if metrics.aliases { &["siprec"][..] } else { &[] })),
            now("metrics.sessions_max", json!(metrics.sessions_max)),
            restart("metrics.series_max", json!(metrics.series_max)),
            now("metrics.local_addresses", json!(local)),
            now("metrics.rtp_ports", json!(ports)),
            now("trunks", metrics.trunks.iter().map(trunk).collect()),
            now("poll.interval_seconds", json!(processes.interval_seconds)),
            now("poll.slow_interval_seconds", json!(processes.slow_interval_seconds)),
            now("poll.well_known", json!(processes.well_known)),
            now("poll.host", json!(processes.host)),
            restart("poll.gpu", json!(processes.gpu)),
            now("processes", processes.rules.iter().map(process).collect()),
            restart("otlp.endpoint", json!(otlp.export.endpoint.as_ref().map(ToString::to_string))),
            restart("otlp.protocol", json!(otlp.export.protocol.map(Protocol::name))),
            secret("otlp.headers", headers(&otlp.export.headers)),
            restart("otlp.compression", json!(if otlp.export.compress { "gzip" } else { "none" })),
            restart("otlp.timeout_seconds", json!(otlp.export.timeout.as_secs_f64())),
            restart("otlp.retry_seconds", json!(otlp.export.retry.as_secs())),
            restart("otlp.delay_ms", json!(otlp.export.delay.as_millis() as u64)),
            restart("otlp.queue_spans", json!(otlp.export.queue_spans)),
            restart("otlp.batch_spans", json!(otlp.export.batch_spans)),
            restart("otlp.certificate", json!(otlp.export.certificate)),
            restart("otlp.client_certificate", json!(otlp.export.client.as_ref().map(|(file, _)| file))),
            restart("otlp.client_key", json!(otlp.export.client.as_ref().map(|(_, file)| file))),
            restart("otlp.sample_ratio", json!(otlp.sampling(USUAL_SHARE).ratio)),
            restart("otlp.mos_bound", json!(otlp.sampling(USUAL_SHARE).mos_bound)),
            restart("otlp.vantage", json!(otlp.vantage)),
            restart(
                "otlp.users",
                json!(USERS.iter().find(|(_, users)| *users == otlp.users).map(|(word, _)| word)),
            ),
            restart("http.listen", json!(agent.listen)),
            now("http.web_config", json!(agent.web_config)),
            restart("logs.directory", json!(agent.logs.directory)),
            restart("logs.file", json!(agent.logs.file)),
            restart("logs.application", places(0)),
            restart("logs.audit", places(1)),
            restart("logs.diagnostics", places(2)),
            now("logs.level", level(log::Stream::Application)),
            now("logs.diagnostics_level", level(log::Stream::Diagnostics)),
            now(
                "logs.components",
                filter.components.iter().map(|(name, level)| format!("{name}={level}")).collect(),
            ),
            restart("logs.format", json!(agent.logs.format.name())),
            restart("logs.rotate_bytes", json!(agent.logs.rotation.bytes)),
            restart("logs.rotate_daily", json!(agent.logs.rotation.daily)),
            restart("logs.keep_full_files", json!(agent.logs.retention.full_files)),
            restart("logs.application_days", days(0)),
            restart("logs.audit_days", days(1)),
            restart("logs.diagnostics_days", days(2)),
            now("logs.lines_per_second", json!(agent.logs.rate.per_second)),
            now("logs.burst", json!(agent.logs.rate.burst)),
            now("logs.mos_below", json!(agent.logs.mos_below)),
            restart("logs.users", json!(privacy.users.name())),
            restart("logs.numbers", json!(privacy.numbers.name())),
            restart("logs.addresses", json!(privacy.addresses.name())),
            secret("logs.hash_key", json!(agent.logs.hash_key)),
            restart("logs.audit_key", json!(agent.logs.audit_key)),
            restart("logs.checkpoint_lines", json!(agent.logs.checkpoints.lines)),
            restart("logs.checkpoint_seconds", json!(agent.logs.checkpoints.seconds)),
            restart("limits.calls", json!(limits.calls)),
            restart("limits.transactions", json!(limits.transactions)),
            restart("limits.registrations", json!(limits.registrations)),
            restart("limits.streams", json!(limits.streams)),
            restart("limits.endpoints", json!(limits.endpoints)),
            restart("limits.candidates", json!(limits.candidates)),
            restart("limits.fragments", json!(limits.fragments)),
            restart("limits.fragment_bytes", json!(limits.fragment_bytes)),
            restart("limits.tcp_flows", json!(limits.tcp_flows)),
            restart("limits.tcp_flow_bytes", json!(limits.tcp_flow_bytes)),
            restart("limits.tcp_bytes", json!(limits.tcp_bytes)),
            now("quality.assumed_owd_ms", json!(rating.assumed_delay_ms)),
            now("quality.endpoint_delay_ms", json!(rating.endpoint_delay_ms)),
            now("quality.plc", json!(rating.concealment)),
            now("quality.codecs", codecs(self)),
            now("sip.correlation_headers", json!(calls.correlation_headers)),
            now("sip.join_heuristics", json!(calls.heuristics)),
            now("tenants", calls.tenants.iter().map(rule).collect()),
            now("routes", calls.routes.iter().map(rule).collect()),
        ]
    }

    /// All of it as one JSON object, section by section. Secrets are not in it.
    pub fn document(&self) -> Value {
        let mut document = Map::new();
        for setting in self.settings() {
            let value = setting.shown();
            match setting.key.split_once('.') {
                None => drop(document.insert(setting.key.into(), value)),
                Some((section, key)) => {
                    let section = document.entry(section).or_insert_with(|| json!({}));
                    if let Value::Object(section) = section {
                        section.insert(key.into(), value);
                    }
                }
            }
        }
        Value::Object(document)
    }
}

impl Setting {
    fn shown(&self) -> Value {
        if self.secret && !self.value.is_null() { json!(HIDDEN) } else { self.value.clone() }
    }
}

/// What changes from `old` to `new`, in the order of the keys. A secret that changed is told without its value.
pub fn difference(old: &Config, new: &Config) -> Vec<Change> {
    let pairs = old.settings().into_iter().zip(new.settings());
    pairs
        .filter(|(old, new)| old.value != new.value)
        .map(|(old, new)| Change { key: old.key, old: old.shown(), new: new.shown(), taken: new.taken })
        .collect()
}

/// The constants that are not the built-in ones.
fn codecs(config: &Config) -> Value {
    let rows = config.observer.rating.impairments.rows().iter().filter(|row| row.is_configured());
    let entry = |row: &crate::quality::codec::Row| {
        (row.to_string(), json!({ "ie": row.impairment.ie, "bpl": row.impairment.bpl }))
    };
    Value::Object(rows.map(entry).collect())
}

fn texts<T: Display>(values: &[T]) -> Value {
    values.iter().map(|value| Value::from(value.to_string())).collect()
}

/// Compared, and never shown.
fn key(key: &Key) -> Value {
    if key.bytes().is_empty() { Value::Null } else { json!(key.bytes()) }
}

/// Compared, and never shown.
fn headers(headers: &[(HeaderName, HeaderValue)]) -> Value {
    let bytes = |(name, value): &(HeaderName, HeaderValue)| (name.to_string(), json!(value.as_bytes()));
    if headers.is_empty() { Value::Null } else { headers.iter().map(bytes).collect() }
}

fn trunk(trunk: &Trunk) -> Value {
    said(json!({
        "name": trunk.name,
        "peers": texts(&trunk.peers),
        "capacity_in": trunk.capacity_in,
        "capacity_out": trunk.capacity_out,
    }))
}

fn process(rule: &process::Rule) -> Value {
    said(json!({
        "name": rule.name,
        "command": texts(&rule.command),
        "exe": texts(&rule.executable),
        "cgroup": texts(&rule.cgroup),
        "unit": texts(&rule.unit),
        "pid_file": rule.pid_file,
        "memory_budget": rule.memory_budget,
        "allocations": rule.allocations,
        "heap": rule.heap.enabled,
        "heap_interval_seconds": rule.heap.interval_seconds,
    }))
}

fn rule(rule: &Rule) -> Value {
    let patterns = |patterns: &[Pattern]| patterns.iter().map(Pattern::to_string).collect::<Vec<_>>();
    said(json!({
        "name": rule.name,
        "domain": patterns(&rule.domain),
        "header": rule.header.as_ref().map(|header| &header.name),
        "header_value": rule.header.as_ref().map_or_else(Vec::new, |header| patterns(&header.values)),
        "from_number": rule.from_number,
        "to_number": rule.to_number,
        "source": rule.source.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "source_port": rule.source_port,
        "destination": rule.destination.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "destination_port": rule.destination_port,
    }))
}

/// Without what is not set.
fn said(all: Value) -> Value {
    let Value::Object(keys) = all else { return all };
    let said = |value: &Value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
    Value::Object(keys.into_iter().filter(|(_, value)| said(value)).collect())
}

/// A value for a line of text.
fn brief(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Array(list) if list.iter().any(Value::is_object) => format!("{} rules", list.len()),
        Value::Array(list) if list.is_empty() => "none".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

const HIDDEN: &str = "(hidden)";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::file::Reader;
    use crate::config::{EVERY_KEY, read};

    fn config(text: &str) -> Config {
        read("s.toml", text, &BTreeMap::new()).unwrap()
    }

    #[test]
    fn a_difference_names_keys_values_and_when() {
        let old = config("[limits]\ncalls = 7\n[[tenants]]\nname = \"a\"");
        let new = config(
            "[limits]\ncalls = 8\n[quality]\nplc = false\nassumed_owd_ms = 40\n[quality.codecs.\"opus/fb\"]\nie = 9",
        );
        let changes = difference(&old, &new);
        let lines: Vec<_> = changes.iter().map(|change| (change.to_string(), change.taken)).collect();
        assert_eq!(
            lines,
            [
                ("limits.calls: 7 -> 8".to_owned(), Taken::Restart),
                ("quality.assumed_owd_ms: none -> 40.0".to_owned(), Taken::Now),
                ("quality.plc: true -> false".to_owned(), Taken::Now),
                ("quality.codecs: {} -> {\"opus/fb\":{\"bpl\":4.3,\"ie\":9.0}}".to_owned(), Taken::Now),
                ("tenants: 1 rules -> none".to_owned(), Taken::Now),
            ]
        );
        assert_eq!(difference(&new, &new), []);
    }

    #[test]
    fn every_key_is_there() {
        let mut asked = Vec::new();
        Reader::read("s.toml", EVERY_KEY, &BTreeMap::new(), |reader| {
            Config::default().fill(reader);
            asked = reader.keys.iter().cloned().collect();
        });
        let conditions = "domain = \"d\"\nheader = \"h\"\nheader_value = \"v\"\nfrom_number = \"1\"\nto_number = \"2\"\n\
                          source = \"10.0.0.1\"\nsource_port = 1\ndestination = \"10.0.0.2\"\ndestination_port = 2\n";
        let rules = ["tenants", "routes"].map(|list| format!("[[{list}]]\nname = \"n\"\n{conditions}"));
        let process = "[[processes]]\nname = \"p\"\ncommand = \"c\"\nexe = \"/e\"\ncgroup = \"/c\"\nunit = \"u\"\n\
                       pid_file = \"/p\"\nmemory_budget = 1\n";
        let trunk = "[[trunks]]\nname = \"t\"\npeers = \"10.0.0.1\"\ncapacity_in = 1\ncapacity_out = 2\n";
        let tail = "[[tail]]\nname = \"t\"\npaths = \"/t\"\n[[tail.rule]]\nmetric = \"g\"\ntype = \"gauge\"\n\
                    help = \"h\"\nvalue = \"v\"\n";
        let document = config(&(rules.concat() + process + trunk + tail)).document();
        // The rules of files are shown with the others.
        for key in asked.iter().filter(|key| *key != "tail.rules") {
            let mut path = key.split('.');
            let section = &document[path.next().unwrap()];
            let key = path.next().unwrap();
            let inside = |part: &Value| part.get(key).is_some();
            let there = inside(section) || section.as_array().is_some_and(|list| list.iter().any(inside));
            assert!(there, "{key} is not shown");
        }
    }

    #[test]
    fn the_documented_restarts_are_these() {
        let page = include_str!("../../docs/configuration.md");
        let (_, after) = page.split_once("These keys need a restart").unwrap();
        let (listed, _) = after.split_once(". A reload").unwrap();
        let documented: Vec<_> = listed.split('`').skip(1).step_by(2).collect();
        let settings = Config::default().settings();
        let restarts = settings.iter().filter(|setting| setting.taken == Taken::Restart);
        assert_eq!(documented, restarts.map(|setting| setting.key).collect::<Vec<_>>());
    }

    #[test]
    fn secrets_are_hidden_and_their_change_is_told() {
        let setting = |value| Setting { key: "hep.key", value, taken: Taken::Now, secret: true };
        assert_eq!(setting(json!("s3cret")).shown(), json!("(hidden)"));
        assert_eq!(setting(Value::Null).shown(), Value::Null);
    }

    #[test]
    fn the_document_shows_rules_as_they_are_written() {
        let shown = config(
            "[[routes]]\nname = \"a\"\ndomain = \"*.x\"\nheader = \"X\"\nheader_value = \"a*\"\nsource = \"10.0.0.0/8\"",
        )
        .document();
        let expected = json!([{ "name": "a", "domain": ["*.x"], "header": "X", "header_value": ["a*"],
                                "source": ["10.0.0.0/8"] }]);
        assert_eq!(shown["routes"], expected);
        assert_eq!(shown["http"]["listen"], json!(["127.0.0.1:9767"]));
        assert_eq!(shown["limits"]["calls"], json!(200_000));
    }
}
