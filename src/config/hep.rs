//! `[hep]`: what to receive from proxies, and what to send to Homer.

use super::Section;
use super::file::within;
use crate::agent::HepSettings;
use crate::capture::hep::Listen;
use crate::export::hep::{Peer, Rtcp};
use crate::hep::Key;

pub(super) fn fill(section: &mut Section<'_, '_>, hep: &mut HepSettings) {
    let incoming = &mut hep.incoming;
    let places = |texts: &Vec<String>| -> Result<Vec<Listen>, String> {
        let read = |text: &String| Listen::parse(text).map_err(|error| error.to_string());
        Ok(texts.iter().map(read).collect::<Result<Vec<_>, _>>()?.concat())
    };
    if let Some(texts) = section.checked("listen", |texts| places(texts).map(|_| ())) {
        incoming.listen = places(&texts).unwrap_or_default();
    }
    incoming.key = key(section, "key");
    section.number("connections", &mut incoming.connections, 1..=MAX_CONNECTIONS);
    let seconds = |seconds: &u64| within(seconds, &(MIN_IDLE_SECONDS..=MAX_IDLE_SECONDS));
    if let Some(seconds) = section.checked("idle_seconds", seconds) {
        incoming.idle_seconds = seconds;
    }

    let peers = |texts: &Vec<String>| -> Result<Vec<Peer>, String> {
        if texts.len() > MAX_PEERS {
            return Err(format!("it may name {MAX_PEERS} receivers at most"));
        }
        texts.iter().map(|text| text.parse().map_err(|error| format!("{error}"))).collect()
    };
    if let Some(texts) = section.checked("send", |texts| peers(texts).map(|_| ())) {
        hep.send = peers(&texts).unwrap_or_default();
    }
    let outgoing = &mut hep.outgoing;
    outgoing.key = key(section, "send_key");
    let number = |number: &u64| within(number, &(0..=u64::from(u32::MAX)));
    if let Some(agent) = section.checked("agent_id", number) {
        outgoing.agent = agent as u32;
    }
    if let Some(node) = section.checked("node", |text: &String| short(text)) {
        outgoing.node = node;
    }
    if let Some(compress) = section.given("compress") {
        outgoing.compress = compress;
    }
    let known = |text: &String| match rtcp(text) {
        Some(_) => Ok(()),
        None => Err(format!("{text:?} is none of json, binary, off")),
    };
    if let Some(text) = section.checked("rtcp", known) {
        outgoing.rtcp = rtcp(&text).unwrap_or_default();
    }
    if let Some(reports) = section.given("reports") {
        outgoing.reports = reports;
    }
    section.number("spool_bytes", &mut outgoing.spool_bytes, MIN_SPOOL_BYTES..=MAX_SPOOL_BYTES);
}

fn key(section: &mut Section<'_, '_>, name: &'static str) -> Key {
    section
        .checked(name, |text: &String| short(text))
        .map(|text| Key::from(text.as_str()))
        .unwrap_or_default()
}

fn rtcp(text: &str) -> Option<Rtcp> {
    match text {
        "json" => Some(Rtcp::Json),
        "binary" => Some(Rtcp::Binary),
        "off" => Some(Rtcp::Off),
        _ => None,
    }
}

/// It goes with every record.
fn short(text: &str) -> Result<(), String> {
    if text.len() <= MAX_TEXT { Ok(()) } else { Err(format!("it may have {MAX_TEXT} bytes at most")) }
}

const MAX_TEXT: usize = 256;
/// Each is a file descriptor.
const MAX_CONNECTIONS: u64 = 65_536;
const MIN_IDLE_SECONDS: u64 = 10;
const MAX_IDLE_SECONDS: u64 = 30 * 86_400;
/// Each has a thread and a spool.
const MAX_PEERS: usize = 8;
/// Room for a record of any length, and for the one that is being sent.
const MIN_SPOOL_BYTES: u64 = 128 << 10;
const MAX_SPOOL_BYTES: u64 = 1 << 30;
