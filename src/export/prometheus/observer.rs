//! Families about the observer itself: what it read, and what it could not use (MEAS A.3).

use crate::event::{Totals, Window};

use super::family::{Counters, Declare};

#[derive(Debug)]
pub(super) struct ObserverMetrics {
    packets: Counters<0>,
    bytes: Counters<0>,
    duplicates: Counters<0>,
    truncated: Counters<0>,
    fragments: Counters<0>,
    undecoded: Counters<0>,
    skipped: Counters<1>,
    malformed: Counters<0>,
    defects: Counters<1>,
    evictions: Counters<1>,
    tainted: Counters<0>,
}

impl ObserverMetrics {
    pub(super) fn declare(on: &mut Declare) -> Self {
        Self {
            packets: on.counter("sidetone_capture_packets", &[], "Frames read"),
            bytes: on.counter("sidetone_capture_bytes", &[], "Bytes of those frames on the wire"),
            duplicates: on.counter(
                "sidetone_capture_duplicates",
                &[],
                "Frames captured twice, left out of every other count",
            ),
            truncated: on.counter("sidetone_capture_truncated", &[], "Frames cut by the snap length"),
            fragments: on.counter("sidetone_capture_fragments", &[], "IP fragments"),
            undecoded: on.counter(
                "sidetone_undecoded",
                &[],
                "Frames that could not be decoded although they should",
            ),
            skipped: on.counter(
                "sidetone_skipped",
                &["reason"],
                "Frames that carry nothing this program measures",
            ),
            malformed: on.counter("sidetone_sip_malformed", &[], "SIP messages too broken to be used"),
            defects: on.counter(
                "sidetone_sip_defects",
                &["defect"],
                "Defects in SIP messages that were used all the same",
            ),
            evictions: on.counter(
                "sidetone_table_evictions",
                &["table"],
                "Entries thrown out of a full table",
            ),
            tainted: on.counter(
                "sidetone_windows_tainted",
                &[],
                "Quality windows kept out of the histograms because the tap dropped packets",
            ),
        }
    }

    pub(super) fn add(&self, totals: &Totals) {
        for (counter, count) in [
            (&self.packets, totals.packets),
            (&self.bytes, totals.bytes),
            (&self.duplicates, totals.duplicates),
            (&self.truncated, totals.truncated),
            (&self.fragments, totals.fragments),
            (&self.undecoded, totals.undecoded),
            (&self.malformed, totals.malformed),
        ] {
            counter.add([], count);
        }
        for (counter, counts) in [
            (&self.skipped, &totals.skipped),
            (&self.defects, &totals.defects),
            (&self.evictions, &totals.evicted),
        ] {
            for (&name, &count) in counts {
                counter.add([name.into()], count);
            }
        }
    }

    pub(super) fn window(&self, window: &Window) {
        self.tainted.add([], u64::from(window.tainted));
    }
}
