//! What adds up: told as far as it has grown since it was last told, every few seconds at most, and at the end.

use std::collections::BTreeMap;

use super::Tell;
use crate::Stamp;
use crate::event::Totals;
use crate::log::{Level, Line, Logs, Stream};

/// What was told last.
#[derive(Debug, Default)]
pub struct Told {
    at: Stamp,
    dropped: BTreeMap<String, u64>,
    defects: BTreeMap<&'static str, u64>,
    malformed: u64,
    lost_events: u64,
}

impl Told {
    /// Whether anybody wants to know.
    pub fn is_wanted(logs: &Logs) -> bool {
        [DROPPED, LOST, DEFECTS]
            .iter()
            .any(|&(stream, level, component)| logs.wants(stream, level, component))
    }

    /// Whether it is time to tell again. A clock that was set back is no reason to wait.
    pub fn is_due(&self, clock: Stamp) -> bool {
        clock.nanos_since(self.at).unsigned_abs() >= PAUSE_NANOS
    }

    /// Tells what has grown. `dropped` is by interface.
    pub fn tell(
        &mut self,
        logs: &Logs,
        clock: Stamp,
        dropped: BTreeMap<String, u64>,
        lost_events: u64,
        totals: &Totals,
    ) {
        self.at = clock;
        let tell = Tell { logs, clock };
        for (interface, count) in &dropped {
            let more = count.saturating_sub(self.dropped.get(interface).copied().unwrap_or(0));
            if more > 0 {
                tell.line(DROPPED, "packets dropped by the kernel", None, |mut line| {
                    line.label("interface", interface).count("packets", more);
                    line.traced(None)
                });
            }
        }
        self.dropped = dropped;
        let more = lost_events.saturating_sub(self.lost_events);
        if more > 0 {
            tell.line(LOST, "events lost", None, |mut line: Line| {
                line.count("events", more);
                line.traced(None)
            });
        }
        self.lost_events = lost_events;
        let grown = |(name, count): (&&'static str, &u64)| {
            let more = count.saturating_sub(self.defects.get(name).copied().unwrap_or(0));
            (more > 0).then_some((*name, more))
        };
        let defects: BTreeMap<_, _> = totals.defects.iter().filter_map(grown).collect();
        let malformed = totals.malformed.saturating_sub(self.malformed);
        if malformed > 0 || !defects.is_empty() {
            tell.line(DEFECTS, "messages with defects", None, |mut line| {
                line.count("unusable", malformed).json("defects", &defects);
                line.traced(None)
            });
        }
        self.defects.clone_from(&totals.defects);
        self.malformed = totals.malformed;
    }
}

const DROPPED: (Stream, Level, &str) = (Stream::Application, Level::Warn, "capture");
const LOST: (Stream, Level, &str) = (Stream::Application, Level::Warn, "agent");
const DEFECTS: (Stream, Level, &str) = (Stream::Diagnostics, Level::Warn, "sip");
const PAUSE_NANOS: u64 = 9_000_000_000;
