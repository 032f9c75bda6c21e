//! The clock of the shell. The core knows packet time only.

use std::time::UNIX_EPOCH;

use crate::Stamp;

/// The clock that the kernel stamps packets with.
#[allow(clippy::disallowed_types, reason = "the shell tells the core the time when the wire is quiet")]
pub(super) fn now() -> Stamp {
    use std::time::SystemTime;
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(Stamp(0), |since| Stamp(since.as_nanos() as u64))
}
