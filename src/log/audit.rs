//! The audit: lines that hang together, signed now and then (docs/audit.md).
//!
//! ```text
//! {...,"sequence":7,"previous":"<SHA-256 of line 6>"}
//! {...,"sequence":8,"previous":"<SHA-256 of line 7>"}
//! {...,"message":"audit checkpoint",...,"sequence":9,"previous":"<SHA-256 of line 8>","signature":"<Ed25519>"}
//! ```
//!
//! The hash is of the bytes of the line before, without its line end. A signature is of the bytes of its own line up to
//! `,"signature"`, and stands for everything before by the hash in it. Numbers go on over rotation and restart.

pub mod chain;
pub mod command;
pub mod key;
pub mod verify;

use std::fmt::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::line::{Line, Shown};
use super::privacy::Policy;
use super::{Level, Stream};
use crate::Stamp;
use chain::Recovered;
use key::Key;

pub use chain::last_sequence;

/// When lines are signed, beside at rotation and at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoints {
    /// After so many lines.
    pub lines: u64,
    /// When a line is so old, seconds.
    pub seconds: u64,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self { lines: 100, seconds: 60 }
    }
}

/// The end of the chain, to which lines are put.
#[derive(Debug)]
pub struct Trail {
    key: Key,
    checkpoints: Checkpoints,
    policy: Policy,
    sequence: u64,
    previous: [u8; 32],
    /// Lines since the last signature, and when the first of them was put.
    unsigned: u64,
    since: Stamp,
}

impl Trail {
    /// Goes on where the last run ended. `policy` is that of the bytes that are chained.
    pub fn new(key: Key, checkpoints: Checkpoints, policy: Policy, recovered: &Recovered) -> Self {
        let (sequence, previous) = (recovered.sequence, recovered.previous);
        // How many there are is not known; that there are some is.
        let unsigned = u64::from(recovered.is_unsigned);
        Self { key, checkpoints, policy, sequence, previous, unsigned, since: Stamp(0) }
    }

    /// Number of the last line.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Who signs.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether an output with this policy shows the very bytes that are chained.
    pub fn is_shown_by(&self, policy: &Policy) -> bool {
        self.policy.treatments() == policy.treatments()
    }

    /// How much longer a line becomes by its place in the chain.
    pub const ROOM: usize = 256;

    /// Puts a line to the end: `shown` holds it whole, as it is chained. Returns what was added to it.
    pub fn put(&mut self, line: &Line, shown: &mut Shown) -> String {
        line.show(&self.policy, shown);
        let link = self.link();
        shown.text.extend_from_slice(link.as_bytes());
        self.end(&shown.text, line.at);
        link
    }

    /// The same, signed.
    pub fn put_signed(&mut self, line: &Line, shown: &mut Shown) -> String {
        line.show(&self.policy, shown);
        let mut link = self.link();
        link.pop();
        shown.text.extend_from_slice(link.as_bytes());
        let signature = format!(",\"signature\":\"{}\"}}", Hex(&self.key.sign(&shown.text)));
        shown.text.extend_from_slice(signature.as_bytes());
        link.push_str(&signature);
        self.end(&shown.text, line.at);
        self.unsigned = 0;
        link
    }

    /// A line that has nothing to say but its signature.
    pub fn checkpoint(&self, at: Stamp) -> Line {
        let mut line = Line::new(Stream::Audit, Level::Info, at, COMPONENT, CHECKPOINT, None);
        line.count("lines", self.unsigned)
            .label("key_id", self.key.id())
            .label("public_key", &self.key.public_hex());
        line.traced(None)
    }

    /// The first line of a file.
    pub fn opening(&self, at: Stamp) -> Line {
        let message = if self.sequence == 0 { BEGUN } else { CONTINUED };
        let mut line = Line::new(Stream::Audit, Level::Info, at, COMPONENT, message, None);
        line.label("key_id", self.key.id()).label("public_key", &self.key.public_hex());
        line.traced(None)
    }

    /// What was found at the end of the last run, where it did not end well.
    pub fn recovery(recovered: &Recovered, at: Stamp) -> Option<Line> {
        let unfinished = recovered.unfinished.as_ref()?;
        let mut line = Line::new(Stream::Audit, Level::Warn, at, COMPONENT, RECOVERED, None);
        line.count("unfinished_bytes", unfinished.bytes)
            .label("unfinished_sha256", &Hex(&unfinished.hash).to_string());
        Some(line.traced(None))
    }

    /// Whether it is time for a signature.
    pub fn is_due(&self, now: Stamp) -> bool {
        let age = now.nanos_since(self.since).unsigned_abs() / 1_000_000_000;
        self.unsigned >= self.checkpoints.lines || (self.unsigned > 0 && age >= self.checkpoints.seconds)
    }

    /// Whether there are lines without a signature behind them.
    pub fn is_unsigned(&self) -> bool {
        self.unsigned > 0
    }

    /// Takes another key if one lies ready: the line that says so, which the old one signs. Afterwards [`Trail::take_key`].
    pub fn next_key(&self, path: &Path, at: Stamp) -> Result<Option<(Key, Line)>, key::Error> {
        let Some(next) = Key::next(path)? else { return Ok(None) };
        let mut line = Line::new(Stream::Audit, Level::Warn, at, COMPONENT, KEY_CHANGED, None);
        line.label("key_id", self.key.id()).label("public_key", &self.key.public_hex());
        line.label("new_key_id", next.id()).label("new_public_key", &next.public_hex());
        Ok(Some((next, line.traced(None))))
    }

    /// Signs with another key from now on.
    pub fn take_key(&mut self, key: Key) {
        self.key = key;
    }

    fn link(&self) -> String {
        format!(",\"sequence\":{},\"previous\":\"{}\"}}", self.sequence + 1, Hex(&self.previous))
    }

    fn end(&mut self, text: &[u8], at: Stamp) {
        self.previous = Sha256::digest(text).into();
        self.sequence += 1;
        if self.unsigned == 0 {
            self.since = at;
        }
        self.unsigned += 1;
    }
}

/// Bytes as hexadecimal digits.
struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    let _ = write!(text, "{}", Hex(bytes));
    text
}

/// Of lines about the audit itself.
pub(super) const COMPONENT: &str = "audit";
const BEGUN: &str = "audit begun";
const CONTINUED: &str = "audit continued";
const RECOVERED: &str = "audit recovered";
const CHECKPOINT: &str = "audit checkpoint";
const KEY_CHANGED: &str = "audit key changed";
/// A file that was purged, with the number of its last line.
pub(super) const PURGED: &str = "log files purged";
