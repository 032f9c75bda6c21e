//! `[logs]`: what is logged, where to, and for how long.

use std::path::PathBuf;

use super::Section;
use super::file::within;
use crate::log::privacy::Treatment;
use crate::log::{Format, Level, Place, Settings, Stream};

/// `state` is where the agent keeps what must survive it, if that was said.
pub(super) fn fill(section: &mut Section<'_, '_>, state: Option<PathBuf>, logs: &mut Settings) {
    let directory = section.given::<String>("directory").map(PathBuf::from);
    logs.directory = directory.or_else(|| section.of_unit("LOGS_DIRECTORY"));
    logs.file = section.given::<String>("file").map(PathBuf::from);
    places(section, logs);

    if let Some(level) = word(section, "level", Level::from_text) {
        logs.filter.levels = [level; 3];
    }
    if let Some(level) = word(section, "diagnostics_level", Level::from_text)
        && let Some(own) = logs.filter.levels.get_mut(Stream::Diagnostics.index())
    {
        *own = level;
    }
    let own = |text: &String| {
        component(text).ok_or_else(|| format!("{text:?} is no component and level, as in http=debug"))
    };
    let all = |texts: &Vec<String>| texts.iter().try_for_each(|text| own(text).map(drop));
    if let Some(texts) = section.checked("components", all) {
        logs.filter.components = texts.iter().filter_map(|text| component(text)).collect();
    }
    if let Some(format) = word(section, "format", |text| {
        [Format::Auto, Format::Json, Format::Text].into_iter().find(|format| format.name() == text)
    }) {
        logs.format = format;
    }

    let mut bytes = logs.rotation.bytes as usize;
    section.number("rotate_bytes", &mut bytes, MIN_BYTES..=MAX_BYTES);
    logs.rotation.bytes = bytes as u64;
    logs.rotation.daily = section.given("rotate_daily").unwrap_or(logs.rotation.daily);
    section.number("keep_full_files", &mut logs.retention.full_files, 1..=10_000);
    for (key, days) in
        ["application_days", "audit_days", "diagnostics_days"].into_iter().zip(&mut logs.retention.days)
    {
        if let Some(given) = section.checked(key, |days: &u64| within(days, &(1..=MAX_DAYS))) {
            *days = given as u32;
        }
    }
    let number = |number: &f64| within(number, &(1.0..=1e6));
    logs.rate.per_second = section.checked("lines_per_second", number).unwrap_or(logs.rate.per_second);
    logs.rate.burst = section.checked("burst", number).unwrap_or(logs.rate.burst);
    logs.mos_below =
        section.checked("mos_below", |mos: &f64| within(mos, &(0.0..=5.0))).unwrap_or(logs.mos_below);

    for (key, treatment) in [
        ("users", &mut logs.privacy.users),
        ("numbers", &mut logs.privacy.numbers),
        ("addresses", &mut logs.privacy.addresses),
    ] {
        if let Some(given) = word(section, key, Treatment::from_text) {
            *treatment = given;
        }
    }
    let long = |text: &String| match text.len() {
        16.. => Ok(()),
        _ => Err("it must have 16 bytes at least: who guesses it can try all numbers".into()),
    };
    logs.hash_key = section.checked("hash_key", long);

    let key = section.given::<String>("audit_key").map(PathBuf::from);
    let beside = state.or_else(|| logs.directory.clone());
    logs.audit_key = key.or_else(|| beside.map(|directory| directory.join("audit.key")));
    let mut lines = logs.checkpoints.lines as usize;
    section.number("checkpoint_lines", &mut lines, 1..=1_000_000);
    logs.checkpoints.lines = lines as u64;
    let mut seconds = logs.checkpoints.seconds as usize;
    section.number("checkpoint_seconds", &mut seconds, 1..=86_400);
    logs.checkpoints.seconds = seconds as u64;
}

/// With a directory there are files; without one the application log goes to standard error and the others nowhere.
fn places(section: &mut Section<'_, '_>, logs: &mut Settings) {
    let usual = match (&logs.directory, &logs.file) {
        (Some(_), None) => Stream::ALL.map(|_| vec![Place::File]),
        (Some(_), Some(_)) => [vec![], vec![Place::File], vec![Place::File]],
        (None, Some(_)) => [vec![], vec![], vec![]],
        (None, None) => [vec![Place::Stderr], vec![], vec![]],
    };
    logs.places = usual;
    let has_directory = logs.directory.is_some();
    let known = |texts: &Vec<String>| {
        let all = read(texts)?;
        if all.contains(&Place::File) && !has_directory {
            return Err("name the directory too: directory = \"/var/log/sidetone\"".to_owned());
        }
        Ok(())
    };
    for (key, places) in ["application", "audit", "diagnostics"].into_iter().zip(&mut logs.places) {
        if let Some(texts) = section.checked(key, known) {
            *places = read(&texts).unwrap_or_default();
        }
    }
}

/// `off` is no place.
fn read(texts: &[String]) -> Result<Vec<Place>, String> {
    let mut places = Vec::new();
    for text in texts.iter().filter(|text| *text != "off") {
        let place = Place::ALL.into_iter().find(|place| place.name() == text);
        places.push(place.ok_or_else(|| format!("{text:?} is none of file, stdout, stderr, journald, off"))?);
    }
    places.sort();
    places.dedup();
    Ok(places)
}

fn component(text: &str) -> Option<(String, Level)> {
    let (name, level) = text.split_once('=')?;
    Some((name.trim().to_owned(), level.trim().parse().ok()?))
}

/// A word of a closed set.
fn word<T: Copy>(
    section: &mut Section<'_, '_>,
    key: &'static str,
    known: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let check = |text: &String| match known(text) {
        Some(_) => Ok(()),
        None => Err(format!("{text:?} is not understood; see docs/configuration.md")),
    };
    section.checked(key, check).and_then(|text: String| known(&text))
}

/// systemd separates several by colons.
const MIN_BYTES: u64 = 4096;
const MAX_BYTES: u64 = 1 << 40;
const MAX_DAYS: u64 = 36_500;
