//! Evidence of calls that turned out bad: their SIP and RTCP, and the headers of their RTP, as pcapng files (ADR 012).
//!
//! ```text
//! capture thread: Recorder -- a page when it is full, and once a second --> evidence thread: Rings
//!                      \<---------------- empty pages ----------------/        |
//!                                              a bad call in the page: Case -> pcapng -> Shelf <- /api/calls/{id}/pcap
//! ```
//!
//! What is recorded of all calls is in memory, bounded and overwritten, and goes nowhere. Only when a call is over is it
//! known whether it was a bad one; by the judgement that also decides about its trace ([`Sampling`]). Payload is never
//! recorded; credentials, keys and what users typed are blanked in what is written.
//!
//! [`Sampling`]: crate::trace::Sampling

mod blank;
mod case;
mod keeper;
mod packet;
mod page;
mod pcapng;
mod recorder;
mod rings;
mod shelf;
mod stats;

use std::path::PathBuf;
use std::sync::Arc;

use crate::trace::Sampling;
pub use keeper::{Keeper, Told, Written};
pub use recorder::Recorder;
pub use shelf::{File, Purged, Retention, Shelf};
pub use stats::{Snapshot, Stats};

/// What is recorded, and what is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether there is any.
    pub enabled: bool,
    /// Where the files are; `None` = `evidence` below the state directory.
    pub directory: Option<PathBuf>,
    /// Memory for SIP and RTCP.
    pub sip_bytes: usize,
    /// Memory for headers of RTP; 0 = they are not recorded.
    pub rtp_bytes: usize,
    /// Longest file.
    pub file_bytes: usize,
    /// Files a minute at most.
    pub files_per_minute: usize,
    /// What stays on disk.
    pub retention: Retention,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: false,
            directory: None,
            sip_bytes: 16 << 20,
            rtp_bytes: 16 << 20,
            file_bytes: 16 << 20,
            files_per_minute: 60,
            retention: Retention::default(),
        }
    }
}

/// Both ends: the capture thread's, and that of the thread which writes.
pub fn pair(
    settings: &Settings,
    sampling: Sampling,
    shelf: Arc<Shelf>,
    stats: &Arc<Stats>,
) -> (Recorder, Keeper) {
    let (pages, full) = recorder::channels();
    let recorder = Recorder::new(pages, sampling, settings.rtp_bytes > 0, Arc::clone(stats));
    let keeper = Keeper::new(full, settings, sampling, shelf, Arc::clone(stats));
    (recorder, keeper)
}
