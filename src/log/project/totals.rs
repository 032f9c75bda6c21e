//! What adds up: told as far as it has grown since it was last told, every few seconds at most.

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
    /// Tells what has grown. `dropped` is by interface.
    pub fn tell(
        &mut self,
        logs: &Logs,
        clock: Stamp,
        dropped: BTreeMap<String, u64>,
        lost_events: u64,
        totals: &Totals,
    ) {
        // A clock that was set back is no reason to wait.
        if clock.nanos_since(self.at).unsigned_abs() < PAUSE_NANOS {
            return;
        }
        self.at = clock;
        let tell = Tell { logs, clock };
        for (interface, count) in &dropped {
            let more = count.saturating_sub(self.dropped.get(interface).copied().unwrap_or(0));
            if more > 0 {
                let kind = (Stream::Application, Level::Warn, "capture");
                tell.line(kind, "packets dropped by the kernel", None, |mut line| {
                    line.label("interface", interface).count("packets", more);
                    line.traced(None)
                });
            }
        }
        self.dropped = dropped;
        let more = lost_events.saturating_sub(self.lost_events);
        if more > 0 {
            tell.line((Stream::Application, Level::Warn, "agent"), "events lost", None, |mut line: Line| {
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
            tell.line(
                (Stream::Diagnostics, Level::Warn, "sip"),
                "messages with defects",
                None,
                |mut line| {
                    line.count("unusable", malformed).json("defects", &defects);
                    line.traced(None)
                },
            );
        }
        self.defects.clone_from(&totals.defects);
        self.malformed = totals.malformed;
    }
}

const PAUSE_NANOS: u64 = 9_000_000_000;
