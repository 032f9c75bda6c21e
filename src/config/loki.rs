//! `[loki]`: where lines are sent, and what is kept until they are.

use std::time::Duration;

use super::Section;
use super::file::within;
use crate::client::Target;
use crate::export::loki::Settings;
use crate::export::loki::push::is_label_name;
use crate::log::privacy::Treatment;

pub(super) fn fill(section: &mut Section<'_, '_>, loki: &mut Settings) {
    let target = |text: &String| text.parse::<Target>().map(drop).map_err(|error| error.to_string());
    loki.url = section.checked("url", target).and_then(|text| text.parse().ok());
    let sane = |text: &String| {
        if text.len() <= MAX_TENANT && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(())
        } else {
            Err(format!("it may have {MAX_TENANT} visible characters at most"))
        }
    };
    loki.tenant = section.checked("tenant", sane);
    let user = section.checked("user", |user: &String| {
        if user.contains(':') { Err("it cannot contain a colon".into()) } else { Ok(()) }
    });
    let password_file = section.given::<String>("password_file");
    if user.is_some() != password_file.is_some() {
        section.incomplete("has half a login", "user and password_file belong together");
    }
    (loki.user, loki.password_file) = (user, password_file.map(Into::into));
    loki.bearer_file = section.given::<String>("bearer_file").map(Into::into);
    loki.ca = section.given::<String>("ca").map(Into::into);
    let pairs = |texts: &Vec<String>| texts.iter().try_for_each(|text| label(text).map(drop));
    if let Some(texts) = section.checked("labels", pairs) {
        loki.labels = texts.iter().filter_map(|text| label(text).ok()).collect();
    }
    if let Some(streams) = section.given("streams") {
        loki.streams = streams;
    }
    let treatment = |text: &String| text.parse::<Treatment>().map(drop).map_err(|error| error.to_string());
    let privacy = &mut loki.privacy;
    for (key, to) in [
        ("users", &mut privacy.users),
        ("numbers", &mut privacy.numbers),
        ("addresses", &mut privacy.addresses),
    ] {
        if let Some(text) = section.checked(key, treatment) {
            *to = text.parse().unwrap_or_default();
        }
    }
    loki.spool = section.given::<String>("spool").map(Into::into);
    let bytes = |bytes: &u64| within(bytes, &(MIN_SPOOL_BYTES..=MAX_SPOOL_BYTES));
    if let Some(bytes) = section.checked("spool_bytes", bytes) {
        loki.spool_bytes = bytes;
    }
    section.number("batch_bytes", &mut loki.batch_bytes, MIN_BATCH_BYTES..=MAX_BATCH_BYTES);
    section.number("batch_lines", &mut loki.batch_lines, 1..=MAX_BATCH_LINES);
    if let Some(seconds) = section.checked("batch_seconds", |seconds| within(seconds, &(0.0..=60.0))) {
        loki.batch_wait = Duration::from_secs_f64(seconds);
    }
    if let Some(seconds) = section.checked("timeout_seconds", |seconds| within(seconds, &(0.1..=300.0))) {
        loki.timeout = Duration::from_secs_f64(seconds);
    }
}

/// `site=berlin`
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("{text:?} is no label: write name=value"))?;
    let (name, value) = (name.trim(), value.trim());
    match is_label_name(name) {
        _ if OWN_LABELS.contains(&name) => Err(format!("the label {name} is given by the agent")),
        true if !value.is_empty() => Ok((name.into(), value.into())),
        true => Err(format!("the label {name} has no value")),
        false => Err(format!("{name:?} is no name of a label: letters, digits and _")),
    }
}

const OWN_LABELS: [&str; 2] = ["stream", "level"];
const MAX_TENANT: usize = 150;
const MIN_SPOOL_BYTES: u64 = 1 << 20;
const MAX_SPOOL_BYTES: u64 = 1 << 40;
const MIN_BATCH_BYTES: u64 = 1 << 10;
/// Loki takes 4 MiB by default.
const MAX_BATCH_BYTES: u64 = 64 << 20;
const MAX_BATCH_LINES: u64 = 1_000_000;
