//! `[evidence]`: what is recorded of calls, and what is kept of bad ones.

use super::Section;
use super::file::within;
use crate::evidence::Settings;

pub(super) fn fill(section: &mut Section<'_, '_>, evidence: &mut Settings) {
    evidence.enabled = section.given("enabled").unwrap_or(evidence.enabled);
    evidence.directory = section.given::<String>("directory").map(Into::into);
    section.number("sip_bytes", &mut evidence.sip_bytes, MIN_RING..=MAX_RING);
    let ring = |bytes: &u64| match bytes {
        0 => Ok(()),
        bytes => within(bytes, &(MIN_RING..=MAX_RING)),
    };
    if let Some(bytes) = section.checked("rtp_bytes", ring) {
        evidence.rtp_bytes = bytes as usize;
    }
    section.number("file_bytes", &mut evidence.file_bytes, MIN_RING..=MAX_FILE);
    section.number("files_per_minute", &mut evidence.files_per_minute, 1..=MAX_RATE);
    let keep = &mut evidence.retention;
    section.number("keep_files", &mut keep.files, 1..=MAX_FILES);
    if let Some(bytes) = section.checked("keep_bytes", |bytes: &u64| within(bytes, &(MIN_RING..=MAX_KEPT))) {
        keep.bytes = bytes;
    }
    if let Some(days) = section.checked("keep_days", |days: &u64| within(days, &(1..=MAX_DAYS))) {
        keep.days = days as u32;
    }
}

/// A few pages of what the capture thread writes down.
const MIN_RING: u64 = 1 << 20;
const MAX_RING: u64 = 1 << 36;
/// A file is made and served in memory.
const MAX_FILE: u64 = 1 << 28;
const MAX_RATE: u64 = 6000;
/// Each has an entry in memory.
const MAX_FILES: u64 = 100_000;
const MAX_KEPT: u64 = 1 << 44;
const MAX_DAYS: u64 = 36_500;
