//! `[[tail]]`: log files of other programs, and rules that make metrics of their lines, here or in files of their own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use regex::RegexBuilder;

use super::file::Reader;
use super::loki::label;
use super::{Problem, Section};
use crate::export::loki::push::is_label_name;
use crate::export::prometheus::Metrics;
use crate::tail::metric::{Declared, Kind, check_name};
use crate::tail::{Format, Rule, Settings};

/// Every tail.
pub(super) fn read(reader: &mut Reader<'_>) -> Vec<Settings> {
    let mut tails: Vec<Settings> = Vec::new();
    let mut families = Families::default();
    reader.list("tail", |section| {
        if tails.len() == MAX_TAILS {
            return section.incomplete("entries are too many", &format!("there may be {MAX_TAILS}"));
        }
        let mut tail = Settings::default();
        fill(section, &mut tail, &mut families);
        let is_double = tails.iter().any(|other| other.name == tail.name);
        if is_double && !tail.name.is_empty() {
            section.wrong("name", format!("another tail is called {} too", tail.name));
        }
        tails.push(tail);
    });
    tails
}

/// Families that were declared so far: the agent's own, and each configured one once.
#[derive(Default)]
struct Families {
    own: Vec<String>,
    declared: BTreeMap<String, Declared>,
}

fn fill(section: &mut Section<'_, '_>, tail: &mut Settings, families: &mut Families) {
    let short = |name: &String| match name.len() {
        0..=MAX_NAME => Ok(()),
        _ => Err(format!("it may have {MAX_NAME} bytes at most")),
    };
    match section.checked("name", short) {
        Some(name) if ["application", "audit", "diagnostics"].contains(&name.as_str()) => {
            section.wrong("name", format!("{name} is one of the agent's own logs"));
        }
        Some(name) => tail.name = name,
        None if !section.has("name") => {
            section.incomplete(
                "entry has no name",
                "give it name = \"...\", which is what its lines are called",
            );
        }
        None => {}
    }
    let absolute = |paths: &Vec<String>| match paths.iter().find(|path| !path.starts_with('/')) {
        Some(path) => Err(format!("{path:?} does not begin at the root")),
        None if paths.is_empty() => Err("name at least one file".into()),
        None => Ok(()),
    };
    match section.checked("paths", absolute) {
        Some(paths) => tail.paths = paths.into_iter().map(Into::into).collect(),
        None if !section.has("paths") => {
            section.incomplete("entry has no paths", "give it paths = [\"/var/log/app/*.log\"]");
        }
        None => {}
    }
    let known = |text: &String| format(text).map(drop);
    if let Some(text) = section.checked("format", known) {
        tail.format = format(&text).unwrap_or_default();
    }
    if let Some(from_start) = section.given("from_start") {
        tail.from_start = from_start;
    }
    if let Some(send) = section.given("send") {
        tail.send = send;
    }
    if let Some(relay) = section.given("relay") {
        tail.relay = relay;
    }
    let pairs = |texts: &Vec<String>| texts.iter().try_for_each(|text| label(text).map(drop));
    if let Some(texts) = section.checked("labels", pairs) {
        tail.labels = texts.iter().filter_map(|text| label(text).ok()).collect();
    }
    tail.timestamp = section.given("timestamp");
    section.number("line_bytes", &mut tail.line_bytes, 256..=MAX_LINE_BYTES);
    for file in section.given::<Vec<String>>("rules").unwrap_or_default() {
        match families.rules(Path::new(&file)) {
            Ok(rules) => tail.rules.extend(rules),
            Err(problems) => section.elsewhere(problems),
        }
    }
    section.list("rule", |section| tail.rules.extend(families.rule(section)));
    let needs_json = |rule: &Rule| !rule.when.is_empty() || rule.field.is_some();
    if tail.format == Format::Text && tail.rules.iter().any(needs_json) {
        section.incomplete(
            "has rules that look at fields of JSON",
            "give it format = \"json\", or rules with a pattern",
        );
    }
}

impl Families {
    fn rules(&mut self, file: &Path) -> Result<Vec<Rule>, Vec<Problem>> {
        let name = file.display().to_string();
        let text = fs::read_to_string(file).map_err(|error| {
            let hint = "rules names files with [[rule]] tables".into();
            vec![Problem { place: name.clone(), what: error.to_string(), hint }]
        })?;
        let mut rules = Vec::new();
        let problems = Reader::read(&name, &text, &BTreeMap::new(), |reader| {
            reader.list("rule", |section| rules.extend(self.rule(section)));
        });
        if problems.is_empty() { Ok(rules) } else { Err(problems) }
    }

    fn rule(&mut self, section: &mut Section<'_, '_>) -> Option<Rule> {
        let name = section.given::<String>("metric");
        let kind = section.checked("type", |text: &String| text.parse::<Kind>().map(drop));
        let mut kind: Option<Kind> = kind.and_then(|text| text.parse().ok());
        let help = section.given::<String>("help");
        for (key, is_there) in
            [("metric", name.is_some()), ("type", kind.is_some()), ("help", help.is_some())]
        {
            if !is_there && !section.has(key) {
                section.incomplete(&format!("entry has no {key}"), "a rule needs metric, type and help");
            }
        }
        let rising = |bounds: &Vec<f64>| {
            if (1..=MAX_BUCKETS).contains(&bounds.len()) && bounds.is_sorted_by(|one, other| one < other) {
                Ok(())
            } else {
                Err(format!("upper bounds must rise, and be {MAX_BUCKETS} at most"))
            }
        };
        let buckets = section.checked("buckets", rising);
        let value = section.given::<String>("value");
        let scale = section.given("scale").unwrap_or(1.0);
        let pattern = section.given::<String>("pattern").and_then(|text| {
            // A pattern that could take long or much memory is refused here; the engine has no other surprises.
            let built = RegexBuilder::new(&text).size_limit(MAX_PATTERN_BYTES).build();
            built.map_err(|error| section.wrong("pattern", error.to_string())).ok()
        });
        let field = section.given::<String>("field");
        let when = section.pairs("when");
        let sources = section.pairs("labels");
        let mut series_max = 100;
        section.number("series_max", &mut series_max, 2..=MAX_SERIES);
        let (name, help) = (name?, help?);
        match (&mut kind, buckets, &value) {
            (Some(Kind::Histogram(bounds)), Some(own), _) => *bounds = own,
            (Some(Kind::Counter { sums }), None, Some(_)) => *sums = true,
            (Some(Kind::Gauge | Kind::Histogram(_)), None, None) => {
                section.incomplete("entry has no value", "name the field that is measured: value = \"...\"");
            }
            (Some(_), Some(_), _) => section.wrong("buckets", "only a histogram has them".into()),
            (Some(Kind::Counter { .. }), None, None)
            | (Some(Kind::Gauge | Kind::Histogram(_)), None, Some(_))
            | (None, _, _) => {}
        }
        let kind = kind?;
        if self.own.is_empty() {
            self.own = Metrics::new().catalogue().iter().map(|entry| entry.name.clone()).collect();
        }
        if let Err(why) = check_name(&name, &kind, &self.own) {
            section.wrong("metric", why);
        }
        for (label, fields) in &sources {
            if !is_label_name(label) || label == "le" || fields.len() != 1 {
                section.wrong(
                    "labels",
                    format!("{label} must be a name of a label with one field: {label} = \"field\""),
                );
            }
        }
        if field.is_some() && pattern.is_none() {
            section.wrong("field", "it is where a pattern is looked for; give a pattern too".into());
        }
        let help = help.trim_end_matches('.').to_owned();
        let labels = sources.iter().map(|(label, _)| label.clone()).collect();
        let family = Declared { name: name.clone(), kind, help, labels, series_max };
        let first = self.declared.entry(name).or_insert_with(|| family.clone());
        if (&first.kind, &first.labels) != (&family.kind, &family.labels) {
            section
                .wrong("metric", "another rule gives it another type, other labels or other buckets".into());
        }
        let labels = sources.into_iter().filter_map(|(_, fields)| fields.into_iter().next()).collect();
        Some(Rule { family: first.clone(), when, pattern, field, labels, value, scale })
    }
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "json" => Ok(Format::Json),
        "text" => Ok(Format::Text),
        _ => Err(format!("{text:?} is none of json, text")),
    }
}

/// For the effective configuration.
pub(super) fn shown(tail: &Settings) -> serde_json::Value {
    let rule = |rule: &Rule| {
        serde_json::json!({ "metric": rule.family.name, "type": rule.family.kind.to_string(), "help": rule.family.help,
            "when": rule.when.iter().cloned().collect::<BTreeMap<_, _>>(),
            "pattern": rule.pattern.as_ref().map(regex::Regex::as_str), "field": rule.field, "value": rule.value,
            "scale": rule.scale, "labels": rule.family.labels.iter().zip(&rule.labels).collect::<BTreeMap<_, _>>(),
            "buckets": match &rule.family.kind { Kind::Histogram(bounds) => bounds.as_slice(), _ => &[] },
            "series_max": rule.family.series_max })
    };
    let labels = tail.labels.iter().map(|(name, value)| format!("{name}={value}"));
    serde_json::json!({ "name": tail.name, "paths": tail.paths,
        "format": if tail.format == Format::Json { "json" } else { "text" },
        "from_start": tail.from_start, "send": tail.send, "relay": tail.relay, "labels": labels.collect::<Vec<_>>(),
        "timestamp": tail.timestamp, "line_bytes": tail.line_bytes,
        "rule": tail.rules.iter().map(rule).collect::<Vec<_>>() })
}

const MAX_TAILS: usize = 50;
const MAX_NAME: usize = 64;
const MAX_LINE_BYTES: u64 = 256 << 10;
const MAX_BUCKETS: usize = 64;
const MAX_SERIES: u64 = 10_000;
const MAX_PATTERN_BYTES: usize = 1 << 20;
