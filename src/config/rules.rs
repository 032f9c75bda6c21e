//! `[[tenants]]` and `[[routes]]`: ordered rules that name calls.

use super::file::within;
use super::{Reader, Section};
use crate::call::classify::{HeaderRule, Rule};

/// Reads a list of rules.
pub(super) fn read(reader: &mut Reader<'_>, list: &'static str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut fits_all = false;
    reader.list(list, |section| {
        if fits_all {
            section
                .incomplete("entry is never reached", "one before it has no condition and fits every call");
        }
        fits_all |= section.has_only("name");
        let rule = rule(section);
        if rules.len() == MAX_RULES {
            section.incomplete("has too many entries", &format!("there may be {MAX_RULES}"));
        }
        rules.push(rule);
    });
    rules
}

fn rule(section: &mut Section<'_, '_>) -> Rule {
    let name: Option<String> = section.given("name");
    if name.is_none() {
        section.incomplete("entry has no name", "give it name = \"...\", which is what its calls are called");
    }
    let domain = section.each("domain");
    let header: Option<String> = section.given("header");
    let values = section.each("header_value");
    if header.is_none() && !values.is_empty() {
        section.wrong("header_value", "name the header too: header = \"X-Tenant\"".into());
    }
    let header = header.map(|name| HeaderRule { name, values });
    let mut port = |key| {
        let port: Option<u64> = section.checked(key, |port| within(port, &(1..=65_535)));
        port.and_then(|port| u16::try_from(port).ok())
    };
    let (source_port, destination_port) = (port("source_port"), port("destination_port"));
    Rule {
        name: name.unwrap_or_default(),
        domain,
        header,
        from_number: section.given("from_number").unwrap_or_default(),
        to_number: section.given("to_number").unwrap_or_default(),
        source: section.each("source"),
        source_port,
        destination: section.each("destination"),
        destination_port,
    }
}

/// Rules are compared one by one with each new call, and their names become label values.
const MAX_RULES: usize = 1_000;
