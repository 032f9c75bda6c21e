//! `[quality]`: what opinion scores rest on.

use super::Section;
use super::file::within;
use crate::quality::Rating;

pub(super) fn fill(section: &mut Section<'_, '_>, rating: &mut Rating) {
    let delay = |ms: &f64| within(ms, &(0.0..=MAX_DELAY_MS));
    if let Some(ms) = section.checked("assumed_owd_ms", delay) {
        rating.assumed_delay_ms = Some(ms);
    }
    if let Some(ms) = section.checked("endpoint_delay_ms", delay) {
        rating.endpoint_delay_ms = ms;
    }
    if let Some(concealment) = section.given("plc") {
        rating.concealment = concealment;
    }
    let mut modes = Vec::new();
    let impairments = &mut rating.impairments;
    section.tables("codecs", |name, section| {
        let (ie, bpl) = (section.given("ie"), section.given("bpl"));
        if ie.is_none() && bpl.is_none() {
            return section.incomplete("sets nothing", "give it ie, bpl, or both");
        }
        // Checked now; a mode (`opus/fb`) is set once more when all codecs are, whatever the order of the names.
        if let Err(error) = impairments.set(name, ie, bpl) {
            section.incomplete("is refused", &error.to_string());
        } else if name.contains('/') {
            modes.push((name.to_owned(), ie, bpl));
        }
    });
    for (name, ie, bpl) in modes {
        // It was accepted before.
        let _ = impairments.set(&name, ie, bpl);
    }
}

/// One-way delays at which nobody would call it a conversation.
const MAX_DELAY_MS: f64 = 10_000.0;
