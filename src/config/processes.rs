//! `[poll]` and `[[processes]]`: which processes are looked at, and how often.

use std::collections::HashSet;
use std::path::PathBuf;

use super::Reader;
use super::file::{Section, within};
use crate::call::classify::Pattern;
use crate::process::settings::HeapWalks;
use crate::process::{Allocations, Rule, Settings};

pub(super) fn fill(reader: &mut Reader<'_>, settings: &mut Settings) {
    reader.section("poll", |section| {
        seconds(section, "interval_seconds", &mut settings.interval_seconds);
        seconds(section, "slow_interval_seconds", &mut settings.slow_interval_seconds);
        if let Some(well_known) = section.given("well_known") {
            settings.well_known = well_known;
        }
        if let Some(host) = section.given("host") {
            settings.host = host;
        }
        if let Some(gpu) = section.given("gpu") {
            settings.gpu = gpu;
        }
    });
    let mut names = HashSet::new();
    reader.list("processes", |section| {
        let rule = rule(section);
        if rule.name.is_empty() {
            section.incomplete("entry has no name", "give it name = \"...\", the value of the label process");
        } else if !names.insert(rule.name.clone()) {
            section.wrong("name", format!("there is another entry {:?}", rule.name));
        }
        if settings.rules.len() == MAX_RULES {
            section.incomplete("has too many entries", &format!("there may be {MAX_RULES}"));
        }
        settings.rules.push(rule);
    });
}

fn rule(section: &mut Section<'_, '_>) -> Rule {
    let mut rule = Rule { name: section.given("name").unwrap_or_default(), ..Rule::default() };
    rule.command = section.each("command");
    rule.executable = section.each("exe");
    rule.cgroup = section.each("cgroup");
    rule.unit = section.each::<Pattern>("unit").into_iter().map(unit).collect();
    rule.pid_file = section.given::<String>("pid_file").map(PathBuf::from);
    rule.memory_budget = section.checked("memory_budget", |bytes| within(bytes, &(1..=MAX_BYTES)));
    let known = |word: &String| match word.as_str() {
        "page" | "malloc" => Ok(()),
        other => Err(format!("{other:?} is neither \"page\" nor \"malloc\"")),
    };
    if section.checked("allocations", known).is_some_and(|word| word == "malloc") {
        rule.allocations = Allocations::Malloc;
    }
    let mut heap = HeapWalks::default();
    if let Some(enabled) = section.given("heap") {
        heap.enabled = enabled;
    }
    seconds(section, "heap_interval_seconds", &mut heap.interval_seconds);
    Rule { heap, ..rule }
}

/// What has no ending is a service.
fn unit(pattern: Pattern) -> Pattern {
    match pattern {
        Pattern::Exact(name) if !name.contains('.') => Pattern::Exact(name + ".service"),
        other => other,
    }
}

fn seconds(section: &mut Section<'_, '_>, key: &'static str, to: &mut u64) {
    let given: Option<u64> = section.checked(key, |seconds| within(seconds, &(1..=MAX_SECONDS)));
    *to = given.unwrap_or(*to);
}

/// Each process is compared with all of them.
const MAX_RULES: usize = 200;
const MAX_SECONDS: u64 = 86_400;
const MAX_BYTES: u64 = 1 << 50;
