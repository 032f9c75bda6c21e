//! `[capture]`: on what, with what, and how much of it.

use super::Section;
use crate::agent::sources::{Kind, Settings};

pub(super) fn fill(section: &mut Section<'_, '_>, capture: &mut Settings) {
    if let Some(interfaces) = section.given("interfaces") {
        capture.interfaces = interfaces;
    }
    let whole_blocks = |bytes: &u64| {
        let block = capture.ring.block_bytes as u64;
        if *bytes >= 2 * block && bytes.is_multiple_of(block) && *bytes <= MAX_RING_BYTES {
            Ok(())
        } else {
            Err(format!("it must be a multiple of {block}, {} to {MAX_RING_BYTES}", 2 * block))
        }
    };
    if let Some(bytes) = section.checked("ring_bytes", whole_blocks) {
        capture.ring.ring_bytes = usize::try_from(bytes).unwrap_or(capture.ring.ring_bytes);
    }
    let source = |name: &String| match name.as_str() {
        "ring" => Ok(()),
        "pcap" if cfg!(feature = "pcap") => Ok(()),
        "pcap" => Err(WITHOUT_LIBPCAP.to_owned()),
        _ => Err("it must be ring or pcap".to_owned()),
    };
    if let Some(name) = section.checked("source", source) {
        capture.kind = if name == "pcap" { Kind::Pcap } else { Kind::Ring };
    }
    if let Some(expression) = section.checked("filter", |expression: &String| check(expression)) {
        capture.filter = Some(expression);
    }
    let kind = capture.kind;
    let clock = |name: &String| match (name.as_str(), kind) {
        ("host", _) | ("adapter", Kind::Pcap) => Ok(()),
        ("adapter", Kind::Ring) => Err("adapter needs source = \"pcap\"".to_owned()),
        _ => Err("it must be host or adapter".to_owned()),
    };
    if let Some(name) = section.checked("clock", clock) {
        capture.adapter_clock = name == "adapter";
    }
}

/// libpcap says itself what is wrong, and here it needs no right.
#[cfg(feature = "pcap")]
fn check(expression: &str) -> Result<(), String> {
    use crate::capture::live::Error;
    crate::capture::libpcap::compile(expression, crate::wire::LinkType::ETHERNET).map(drop).map_err(|error| {
        match error {
            Error::Filter { reason, .. } => format!("{reason}; see pcap-filter(7)"),
            other => other.to_string(),
        }
    })
}

#[cfg(not(feature = "pcap"))]
fn check(_: &str) -> Result<(), String> {
    Err(WITHOUT_LIBPCAP.to_owned())
}

const WITHOUT_LIBPCAP: &str = "this program was built without libpcap (cargo feature pcap)";
const MAX_RING_BYTES: u64 = 2 << 30;
