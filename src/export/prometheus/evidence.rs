//! Families about evidence of bad calls: what is recorded, what was written, what is kept.

use super::family::{Counters, Declare, Gauges};
use crate::evidence::Snapshot;

#[derive(Debug)]
pub(super) struct EvidenceMetrics {
    recorded: Gauges<1>,
    overwritten: Counters<1>,
    missed: Counters<0>,
    files: Counters<0>,
    incomplete: Counters<0>,
    bytes: Counters<0>,
    dropped: Counters<1>,
    errors: Counters<1>,
    kept: Gauges<0>,
    kept_bytes: Gauges<0>,
    purged: Counters<1>,
}

impl EvidenceMetrics {
    pub(super) fn declare(on: &mut Declare) -> Self {
        Self {
            recorded: on.gauge(
                "sidetone_evidence_recorded_bytes",
                &["kind"],
                "Memory that recorded messages (sip) and headers of media (rtp) take",
            ),
            overwritten: on.counter(
                "sidetone_evidence_overwritten_records",
                &["kind"],
                "Recorded messages (sip) and headers of media (rtp) that later ones took the place of",
            ),
            missed: on.counter(
                "sidetone_evidence_missed_records",
                &[],
                "Messages and headers that were not recorded because more came than could be written down",
            ),
            files: on.counter("sidetone_evidence_written_files", &[], "Files of bad calls that were written"),
            incomplete: on.counter(
                "sidetone_evidence_incomplete_files",
                &[],
                "Those of them that lack a part of their call",
            ),
            bytes: on.counter("sidetone_evidence_written_bytes", &[], "Bytes of files that were written"),
            dropped: on.counter(
                "sidetone_evidence_dropped_calls",
                &["reason"],
                "Bad calls without a file: unseen (nothing of them was recorded any more), rate (too many a minute), \
                 large (more than may be kept), error (not written), missed (more came than could be written down)",
            ),
            errors: on.counter(
                "sidetone_evidence_errors",
                &["action"],
                "What the disk refused: a file that was to be written (write) or removed (purge)",
            ),
            kept: on.gauge("sidetone_evidence_kept_files", &[], "Files of bad calls on disk"),
            kept_bytes: on.gauge("sidetone_evidence_kept_bytes", &[], "Bytes of files of bad calls on disk"),
            purged: on.counter(
                "sidetone_evidence_purged_files",
                &["reason"],
                "Files that were removed: of age, or because there were too many (count) or they took too much (bytes)",
            ),
        }
    }

    pub(super) fn set(&self, stats: &Snapshot) {
        self.recorded.set(["sip".into()], stats.sip_bytes);
        self.recorded.set(["rtp".into()], stats.rtp_bytes);
        self.overwritten.rise_to(["sip".into()], stats.sip_overwritten);
        self.overwritten.rise_to(["rtp".into()], stats.rtp_overwritten);
        self.missed.rise_to([], stats.missed);
        self.files.rise_to([], stats.files_written);
        self.incomplete.rise_to([], stats.files_incomplete);
        self.bytes.rise_to([], stats.bytes_written);
        for (reason, count) in [
            ("unseen", stats.calls_unseen),
            ("rate", stats.calls_over_rate),
            ("large", stats.calls_too_large),
            ("error", stats.write_errors),
            ("missed", stats.calls_missed),
        ] {
            self.dropped.rise_to([reason.into()], count);
        }
        self.errors.rise_to(["write".into()], stats.write_errors);
        self.errors.rise_to(["purge".into()], stats.keep_errors);
        self.kept.set([], stats.files);
        self.kept_bytes.set([], stats.file_bytes);
        for (reason, count) in
            [("age", stats.purged_by_age), ("count", stats.purged_by_count), ("bytes", stats.purged_by_bytes)]
        {
            self.purged.rise_to([reason.into()], count);
        }
    }
}
