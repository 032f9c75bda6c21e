//! Families about the logs: what was written, and what was not.

use super::family::{Counters, Declare, Gauges};
use crate::log::{Counts, Stream};

/// What the logs have done since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Of each log, by [`Stream::index`].
    pub counts: [Counts; 3],
    /// Lines that wait to be written.
    pub waiting: u64,
    /// Number of the last line of the audit; `None` = there is no audit.
    pub audit_sequence: Option<u64>,
    /// Bytes that are free where the files are; `None` = there are none.
    pub free_bytes: Option<u64>,
}

#[derive(Debug)]
pub(super) struct LogMetrics {
    lines: Counters<1>,
    suppressed: Counters<1>,
    lost: Counters<1>,
    errors: Counters<1>,
    waiting: Gauges<0>,
    sequence: Gauges<0>,
    free: Gauges<0>,
}

impl LogMetrics {
    pub(super) fn declare(on: &mut Declare) -> Self {
        const LOG: &[&str; 1] = &["stream"];
        Self {
            lines: on.counter("sidetone_log_lines", LOG, "Lines handed to an output, once for each output"),
            suppressed: on.counter(
                "sidetone_log_suppressed_lines",
                LOG,
                "Lines beyond the rate of their cause",
            ),
            lost: on.counter(
                "sidetone_log_lost_lines",
                LOG,
                "Lines that found no room: the queue was full, or an output took nothing",
            ),
            errors: on.counter("sidetone_log_errors", LOG, "Times an output of a log failed"),
            waiting: on.gauge("sidetone_log_waiting_lines", &[], "Lines that wait to be written"),
            sequence: on.gauge(
                "sidetone_audit_sequence",
                &[],
                "Number of the last line of the audit, for sidetone audit verify --expect-seq",
            ),
            free: on.gauge("sidetone_log_disk_free_bytes", &[], "Free bytes where the log files are"),
        }
    }

    pub(super) fn set(&self, stats: &LogStats) {
        for (stream, counts) in Stream::ALL.into_iter().zip(&stats.counts) {
            let labels = || [stream.name().into()];
            self.lines.rise_to(labels(), counts.lines);
            self.suppressed.rise_to(labels(), counts.suppressed);
            self.lost.rise_to(labels(), counts.lost);
            self.errors.rise_to(labels(), counts.errors);
        }
        self.waiting.set([], stats.waiting);
        if let Some(sequence) = stats.audit_sequence {
            self.sequence.set([], sequence);
        }
        if let Some(free) = stats.free_bytes {
            self.free.set([], free);
        }
    }
}
