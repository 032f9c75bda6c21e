//! The processes beside the calls, and the host under them (DESIGN 6, MEAS 9).
//!
//! ```text
//! /proc: all processes -> choose (rules) -> group: workers under one name -> Snapshot -> metrics, health
//!                           stat, status, fds, cgroup  \-> Privileged: smaps_rollup, sockets, heap, pools, malloc
//! /proc, /sys/fs/cgroup, statfs -> host ----------------------------------/
//! ```
//!
//! Nothing here stops, slows or writes to another process. What cannot be read is absent, with the reason
//! ([`Missing`]); what needs a right over another process is asked of whoever has it ([`Privileged`]).

pub mod cgroup;
mod choose;
pub mod direct;
pub mod elf;
mod files;
mod group;
pub mod heap;
pub mod host;
mod lines;
pub mod malloc_calls;
pub mod maps;
pub mod memory;
mod pace;
mod poller;
pub mod pools;
pub mod privileged;
pub mod probe;
pub mod report;
pub mod second;
pub mod settings;
pub mod smaps_rollup;
pub mod snapshot;
pub mod stat;
pub mod status;
mod threads;
pub mod udp;

use serde::{Deserialize, Serialize};

pub use poller::Poller;
pub use privileged::{Missing, Own, Privileged, Right};
pub use settings::{Allocations, Rule, Settings};
pub use snapshot::{Figures, Snapshot};

/// One process for as long as it lives: a pid that was given to another one has another start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Its number in the namespace of the agent.
    pub pid: u32,
    /// When it started, in clock ticks since boot: field 22 of /proc/PID/stat.
    pub started_ticks: u64,
}
