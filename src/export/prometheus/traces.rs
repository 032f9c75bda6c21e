//! Families about traces: which calls were told, and what became of their spans.

use super::family::{Counters, Declare, Gauges};
use crate::trace::Counts;
use crate::trace::export::Snapshot;

/// What was decided and what was sent since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceStats {
    /// Which calls and registrations were kept.
    pub decided: Counts,
    /// What became of their spans.
    pub export: Snapshot,
}

#[derive(Debug)]
pub(super) struct TraceMetrics {
    traces: Counters<1>,
    forgotten: Counters<0>,
    sent: Counters<0>,
    lost: Counters<1>,
    waiting: Gauges<0>,
    requests: Counters<1>,
    up: Gauges<0>,
}

impl TraceMetrics {
    pub(super) fn declare(on: &mut Declare) -> Self {
        Self {
            traces: on.counter(
                "sidetone_otlp_traces",
                &["decision"],
                "Calls and registrations that ended: told because something was wrong (bad) or as part of the share \
                 (share), or not told (passed_over)",
            ),
            forgotten: on.counter(
                "sidetone_otlp_forgotten_streams",
                &[],
                "Streams that were forgotten before their call was over, for want of room",
            ),
            sent: on.counter("sidetone_otlp_sent_spans", &[], "Spans that the collector took"),
            lost: on.counter(
                "sidetone_otlp_lost_spans",
                &["reason"],
                "Spans never sent: full (queue), refused (their batch), rejected (they alone), late (tried for long), \
                 end (of the agent)",
            ),
            waiting: on.gauge("sidetone_otlp_queue_spans", &[], "Spans that wait to be sent"),
            requests: on.counter(
                "sidetone_otlp_requests",
                &["result"],
                "Requests to the collector: success, or failure, which may have been repeated",
            ),
            up: on.gauge(
                "sidetone_otlp_up",
                &[],
                "Whether the collector took what was sent last: 1, or 0 since it did not",
            ),
        }
    }

    pub(super) fn set(&self, stats: &TraceStats) {
        let (decided, export) = (&stats.decided, &stats.export);
        for (decision, count) in
            [("bad", decided.bad), ("share", decided.share), ("passed_over", decided.passed_over)]
        {
            self.traces.rise_to([decision.into()], count);
        }
        self.forgotten.rise_to([], decided.forgotten);
        self.sent.rise_to([], export.sent);
        for (reason, count) in [
            ("full", export.dropped_full),
            ("refused", export.dropped_refused),
            ("rejected", export.dropped_rejected),
            ("late", export.dropped_late),
            ("end", export.dropped_at_stop),
        ] {
            self.lost.rise_to([reason.into()], count);
        }
        self.waiting.set([], export.waiting as u64);
        self.requests.rise_to(["success".into()], export.requests.saturating_sub(export.failures));
        self.requests.rise_to(["failure".into()], export.failures);
        self.up.set([], u64::from(export.problem.is_none()));
    }
}
