//! What was counted, by the capture thread and by the one that writes.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters that both threads raise.
        #[derive(Debug, Default)]
        pub struct Stats { $($(#[$doc])* pub(super) $name: AtomicU64,)* }

        /// The same at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Snapshot { $($(#[$doc])* pub $name: u64,)* }

        impl Stats {
            /// As they stand.
            pub fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Messages and headers that found no page: the evidence thread was behind.
    missed,
    /// Bad calls that found none.
    calls_missed,
    /// Bytes of SIP and RTCP in memory.
    sip_bytes,
    /// Bytes of RTP headers in memory.
    rtp_bytes,
    /// Messages that others took the place of.
    sip_overwritten,
    /// Headers that others took the place of.
    rtp_overwritten,
    /// Files written.
    files_written,
    /// Bytes of those files.
    bytes_written,
    /// Files that lack a part of their call.
    files_incomplete,
    /// Bad calls of which there was nothing in memory.
    calls_unseen,
    /// Bad calls over what is written in a minute.
    calls_over_rate,
    /// Bad calls whose file would not fit into the directory.
    calls_too_large,
    /// Files that could not be written.
    write_errors,
    /// Files that could not be read or removed.
    keep_errors,
    /// Files on disk.
    files,
    /// Bytes of them.
    file_bytes,
    /// Files purged because of their age.
    purged_by_age,
    /// Because there were too many.
    purged_by_count,
    /// Because they took too much.
    purged_by_bytes,
}

/// One more, or several.
pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// What a gauge stands at.
pub(super) fn set(gauge: &AtomicU64, value: u64) {
    gauge.store(value, Ordering::Relaxed);
}
