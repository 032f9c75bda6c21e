//! `[otlp]`: where traces go, and which. Below it stand the standard `OTEL_*` variables.

use std::time::Duration;

use super::Reader;
use super::file::within;
use crate::trace::export::{self, settings};
use crate::trace::{Config, USERS};

pub(super) fn fill(reader: &mut Reader<'_>, otlp: &mut Config, interfaces: &[String]) {
    match export::Settings::of_variables(reader.variables()) {
        Ok(standard) => otlp.export = standard,
        Err((name, why)) => reader.wrong_variable(&name, why),
    }
    reader.section("otlp", |section| {
        let export = &mut otlp.export;
        let parsed = |text: &String| text.parse::<export::endpoint::Endpoint>().map(|_| ());
        if let Some(text) = section.checked("endpoint", parsed) {
            export.endpoint = text.parse().ok();
        }
        let parsed = |text: &String| text.parse::<export::endpoint::Protocol>().map(|_| ());
        if let Some(text) = section.checked("protocol", parsed) {
            export.protocol = text.parse().ok();
        }
        let read = |pairs: &Vec<String>| settings::headers(&pairs.join(",")).map(|_| ());
        if let Some(pairs) = section.checked("headers", read) {
            export.headers = settings::headers(&pairs.join(",")).unwrap_or_default();
        }
        let known = |text: &String| settings::compression(text).map(|_| ());
        if let Some(text) = section.checked("compression", known) {
            export.compress = settings::compression(&text).unwrap_or(true);
        }
        let mut seconds = |key, to: &mut Duration, most| {
            if let Some(seconds) = section.checked(key, |seconds: &u64| within(seconds, &(1..=most))) {
                *to = Duration::from_secs(seconds);
            }
        };
        seconds("timeout_seconds", &mut export.timeout, MAX_TIMEOUT);
        seconds("retry_seconds", &mut export.retry, MAX_RETRY);
        if let Some(millis) = section.checked("delay_ms", |millis: &u64| within(millis, &(1..=MAX_DELAY_MS)))
        {
            export.delay = Duration::from_millis(millis);
        }
        section.number("queue_spans", &mut export.queue_spans, 64..=MAX_QUEUE);
        section.number("batch_spans", &mut export.batch_spans, 1..=MAX_BATCH);
        if let Some(file) = section.given::<String>("certificate") {
            export.certificate = Some(file.into());
        }
        let certificate = section.given::<String>("client_certificate");
        let key = section.given::<String>("client_key");
        match (certificate, key) {
            (Some(certificate), Some(key)) => export.client = Some((certificate.into(), key.into())),
            (Some(_), None) => section.incomplete("has client_certificate without client_key", "name both"),
            (None, Some(_)) => section.incomplete("has client_key without client_certificate", "name both"),
            (None, None) => {}
        }
        if let Some(ratio) = section.checked("sample_ratio", |ratio: &f64| within(ratio, &(0.0..=1.0))) {
            otlp.sample_ratio = Some(ratio);
        }
        if let Some(bound) = section.checked("mos_bound", |bound: &f64| within(bound, &(1.0..=5.0))) {
            otlp.mos_bound = Some(bound);
        }
        let named = |name: &String| match name.len() {
            1..=MAX_VANTAGE => Ok(()),
            _ => Err(format!("it must have 1 to {MAX_VANTAGE} bytes")),
        };
        if let Some(name) = section.checked("vantage", named) {
            otlp.vantage = Some(name);
        }
        let called =
            |text: &str| USERS.iter().find(|(word, _)| *word == text).map(|(_, treatment)| *treatment);
        let known =
            |text: &String| called(text).map(drop).ok_or(format!("{text:?} is none of hash, clear, omit"));
        if let Some(treatment) = section.checked("users", known).as_deref().and_then(called) {
            otlp.users = treatment;
        }
    });
    let variables = reader.variables().clone();
    otlp.export.identify(&variables, interfaces);
}

const MAX_TIMEOUT: u64 = 600;
const MAX_RETRY: u64 = 86_400;
const MAX_DELAY_MS: u64 = 60_000;
/// A span is about a kilobyte.
const MAX_QUEUE: u64 = 1_000_000;
const MAX_BATCH: u64 = 8192;
const MAX_VANTAGE: usize = 128;
