//! `[metrics]` and `[[trunks]]`: what is served beyond the usual families.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use super::Reader;
use super::file::within;
use crate::export::prometheus::{Options, Trunk};

pub(super) fn fill(reader: &mut Reader<'_>, options: &mut Options) {
    reader.section("metrics", |section| {
        let known = |names: &Vec<String>| match names.iter().find(|name| *name != SIPREC) {
            Some(name) => Err(format!("{name:?} is no set of names; there is {SIPREC:?}")),
            None => Ok(()),
        };
        let names = section.checked("aliases", known).unwrap_or_default();
        options.aliases = names.iter().any(|name| name == SIPREC);
        section.number("sessions_max", &mut options.sessions_max, 0..=MAX_SESSIONS);
        section.number("series_max", &mut options.series_max, 2..=MAX_SERIES);
        options.local = section.each("local_addresses");
        let range = |text: &String| match ports(text) {
            Some(_) => Ok(()),
            None => Err("it must be two ports, as in 30000-39999".into()),
        };
        if let Some(ports) = section.checked("rtp_ports", range).and_then(|text| ports(&text)) {
            options.rtp_ports = ports;
        }
    });
    let mut names = HashSet::new();
    reader.list("trunks", |section| {
        let name = section.given::<String>("name").unwrap_or_default();
        if name.is_empty() {
            section.incomplete("entry has no name", "give it name = \"...\", the value of the label trunk");
        } else if !names.insert(name.clone()) {
            section.wrong("name", format!("there is another trunk {name:?}"));
        }
        let peers = section.each("peers");
        if !section.has("peers") {
            section.incomplete(
                "entry has no peers",
                "name who is at its other end: peers = [\"203.0.113.0/24\", \"198.51.100.7:5080\"]",
            );
        }
        let mut capacity = |key| {
            let calls: Option<u64> = section.checked(key, |calls| within(calls, &(0..=MAX_CAPACITY)));
            calls.and_then(|calls| u32::try_from(calls).ok())
        };
        let (capacity_in, capacity_out) = (capacity("capacity_in"), capacity("capacity_out"));
        if options.trunks.len() == MAX_TRUNKS {
            section.incomplete("has too many entries", &format!("there may be {MAX_TRUNKS}"));
        }
        options.trunks.push(Trunk { name, peers, capacity_in, capacity_out });
    });
}

fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-')?;
    let ports = first.trim().parse().ok()?..=last.trim().parse().ok()?;
    (!ports.is_empty()).then_some(ports)
}

const SIPREC: &str = "siprec";
/// Three series each.
const MAX_SESSIONS: u64 = 100_000;
const MAX_SERIES: u64 = 100_000;
const MAX_CAPACITY: u64 = 10_000_000;
/// Trunks are compared one by one with each live call at each scrape.
const MAX_TRUNKS: usize = 200;
