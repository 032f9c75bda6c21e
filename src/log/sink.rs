//! Where lines go: one trait, and what is told of each line.

use std::collections::BTreeMap;
use std::io;

use super::{Level, Stream};
use crate::Stamp;

/// One line as this output is to see it: everything in it has passed the output's policy.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Which log it belongs to.
    pub stream: Stream,
    /// How much it matters.
    pub level: Level,
    /// When it was made: strictly later than any line before it.
    pub at: Stamp,
    /// Which part of the agent speaks: a closed set.
    pub component: &'a str,
    /// The line, without its line end.
    pub line: &'a [u8],
    /// Call-ID of the call it is about, escaped as in JSON.
    pub call_id: Option<&'a str>,
    /// Trace of that call: 32 hexadecimal digits.
    pub trace_id: Option<&'a str>,
    /// Request over HTTP that caused it.
    pub request_id: Option<&'a str>,
    /// Last number given in the audit, this line's own if it is one of it; `None` when there is no audit.
    pub audit_sequence: Option<u64>,
}

/// Takes lines, on the logs thread. It may wait for a disk, never for another host.
pub trait Sink: Send {
    /// How it is called in metrics and on the health page.
    fn name(&self) -> &str;

    /// Takes one line; it may be kept back until [`Sink::settle`].
    fn take(&mut self, entry: &Entry<'_>) -> io::Result<()>;

    /// Puts out what was kept back. After each batch of lines, and at least once a second.
    fn settle(&mut self, now: Stamp) -> io::Result<()>;

    /// Opens its file anew (SIGUSR1).
    fn reopen(&mut self, _now: Stamp) -> io::Result<()> {
        Ok(())
    }

    /// The last call: nothing comes after it.
    fn finish(&mut self, now: Stamp) -> io::Result<()> {
        self.settle(now)
    }

    /// For the health page.
    fn detail(&self) -> BTreeMap<String, serde_json::Value> {
        BTreeMap::new()
    }
}
