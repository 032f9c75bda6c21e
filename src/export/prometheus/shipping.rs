//! Families about lines on their way out: the spool for Loki, and files of other programs.

use crate::export::loki::Counters as Loki;
use crate::tail::Stats as Tail;

use super::family::{Counters, Declare, Gauges};

#[derive(Debug)]
pub(super) struct ShippingMetrics {
    accepted: Counters<0>,
    sent: Counters<0>,
    bytes: Counters<0>,
    requests: Counters<0>,
    failures: Counters<1>,
    lost: Counters<1>,
    waiting: Gauges<0>,
    spool: Gauges<0>,
    up: Gauges<0>,
    files: Gauges<1>,
    lines: Counters<1>,
    read: Counters<1>,
    behind: Gauges<1>,
    rotations: Counters<1>,
    truncations: Counters<1>,
    troubles: Counters<2>,
    counted: Counters<1>,
    overflow: Counters<0>,
}

impl ShippingMetrics {
    pub(super) fn declare(on: &mut Declare) -> Self {
        Self {
            accepted: on.counter("sidetone_loki_accepted_lines", &[], "Lines put into the spool for Loki"),
            sent: on.counter("sidetone_loki_sent_lines", &[], "Lines that Loki has taken"),
            bytes: on.counter("sidetone_loki_sent_bytes", &[], "Bytes of the requests with them, compressed"),
            requests: on.counter("sidetone_loki_requests", &[], "Requests that Loki has taken"),
            failures: on.counter(
                "sidetone_loki_failed_requests",
                &["reason"],
                "Requests that are made again: connect, broken, timeout, busy (429), login (401, 403), server (5xx, 404)",
            ),
            lost: on.counter(
                "sidetone_loki_lost_lines",
                &["reason"],
                "Lines that Loki will never have: full, disk, damaged (spool); 400, 413, 422, other (its answer)",
            ),
            waiting: on.gauge("sidetone_loki_waiting_lines", &[], "Lines in the spool that Loki has not taken yet"),
            spool: on.gauge("sidetone_loki_spool_bytes", &[], "Bytes of the spool for Loki on disk"),
            up: on.gauge("sidetone_loki_up", &[], "Whether Loki took the last request: 1, or 0"),
            files: on.gauge("sidetone_tail_files", TAIL, "Files that are followed"),
            lines: on.counter("sidetone_tail_lines", TAIL, "Lines read from files that are followed"),
            read: on.counter("sidetone_tail_bytes", TAIL, "Bytes of those lines"),
            behind: on.gauge("sidetone_tail_behind_bytes", TAIL, "Bytes in those files that are not read yet"),
            rotations: on.counter("sidetone_tail_rotations", TAIL, "Files that another one took the name of"),
            truncations: on.counter("sidetone_tail_truncations", TAIL, "Files that were cut and begun anew"),
            troubles: on.counter(
                "sidetone_tail_troubles",
                &["tail", "reason"],
                "Lines cut, no_json where it should be, no_value for a rule; files cut and no_copy found, unreadable; \
                 positions unsaved",
            ),
            counted: on.counter("sidetone_tail_counted_lines", TAIL, "Times that a rule counted a line"),
            overflow: on.counter(
                "sidetone_tail_overflow",
                &[],
                "Values of rules counted under labels that are all \"other\", because their family is full",
            ),
        }
    }

    pub(super) fn set(&self, loki: Option<&Loki>, tails: &[Tail], overflow: Option<u64>) {
        if let Some(loki) = loki {
            self.accepted.rise_to([], loki.accepted);
            self.sent.rise_to([], loki.sent);
            self.bytes.rise_to([], loki.sent_bytes);
            self.requests.rise_to([], loki.requests);
            for (reason, count) in &loki.failures {
                self.failures.rise_to([(*reason).into()], *count);
            }
            for (reason, count) in &loki.lost {
                self.lost.rise_to([(*reason).into()], *count);
            }
            self.waiting.set([], loki.waiting_lines);
            self.spool.set([], loki.waiting_bytes);
            self.up.set([], u64::from(loki.is_up));
        }
        for tail in tails {
            let name = || tail.name.clone().into();
            self.files.set([name()], tail.files);
            self.lines.rise_to([name()], tail.lines);
            self.read.rise_to([name()], tail.bytes);
            self.behind.set([name()], tail.behind);
            self.rotations.rise_to([name()], tail.rotations);
            self.truncations.rise_to([name()], tail.truncations);
            for (reason, count) in tail.troubles {
                self.troubles.rise_to([name(), reason.into()], count);
            }
            self.counted.rise_to([name()], tail.counted);
        }
        if let Some(overflow) = overflow {
            self.overflow.rise_to([], overflow);
        }
    }
}

const TAIL: &[&str; 1] = &["tail"];
