//! What one poll found.

use std::collections::{BTreeMap, BTreeSet};

use super::cgroup::Cgroup;
use super::heap::Heap;
use super::host::Host;
use super::privileged::{MemoryMap, Missing, Pool, Right};
use super::udp::Udp;

/// What one poll found: plain figures, as they are exported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Groups in the order of their rules: those that are configured, and those that were ever found.
    pub groups: Vec<Figures>,
    /// The host; absent when it is not looked at.
    pub host: Option<Host>,
    /// What is absent, and why.
    pub lacks: BTreeMap<Lack, BTreeSet<String>>,
    /// Other processes cannot be seen.
    pub is_hidden: bool,
    /// How the poller itself is.
    pub poller: PollerStats,
}

/// Totals of the poller since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PollerStats {
    /// Polls.
    pub polls: u64,
    /// Time they took.
    pub seconds: f64,
    /// Processes that were there at the last one, chosen or not.
    pub processes_seen: u64,
    /// Processes that a rule fits, and that are not followed because there are too many.
    pub refused: u64,
}

/// A figure that is absent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lack {
    /// What it is: `proportional_memory`, `udp_drops`, ...
    pub figure: &'static str,
    /// Why.
    pub reason: String,
    /// What to do about it; may be empty.
    pub hint: &'static str,
}

impl Lack {
    /// `None`: there is nothing to be told of a process that has ended.
    pub(super) fn of(figure: &'static str, missing: &Missing) -> Option<Self> {
        let hint = match missing {
            Missing::Gone => return None,
            Missing::Right(right) => right.hint(),
            Missing::Unsupported(_) | Missing::Failed(_) => "",
        };
        Some(Self { figure, reason: missing.to_string(), hint })
    }

    /// The right that would give it.
    pub fn takes(&self, right: Right) -> bool {
        self.hint == right.hint()
    }
}

/// Figures of all processes of one group together. Counters are sums since the agent was started, those of processes that
/// have ended included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Value of the label `process`.
    pub name: String,
    /// How many there are.
    pub processes: u64,
    /// Processes that have ended since the agent follows the group.
    pub exits: u64,
    /// When the oldest of them started, Unix time.
    pub started_seconds: Option<f64>,
    /// Memory by kind.
    pub memory: Memory,
    /// How much it should take at most.
    pub memory_budget_bytes: Option<u64>,
    /// Processor time in the programs, and in the kernel for them.
    pub cpu_seconds: Option<[f64; 2]>,
    /// Page faults, minor and major ones.
    pub faults: Option<[u64; 2]>,
    /// Context switches, voluntary and involuntary ones.
    pub switches: Option<[u64; 2]>,
    /// Threads.
    pub threads: Option<u64>,
    /// Descriptors of open files.
    pub fds: Fds,
    /// Score of the one that the kernel would kill first.
    pub oom_score: Option<u64>,
    /// Their control groups.
    pub cgroup: Option<Cgroup>,
    /// Their UDP sockets.
    pub udp: Option<Udp>,
    /// Calls into the allocator.
    pub allocations: Option<u64>,
    /// Heaps, by the last walks of all of them.
    pub heap: Option<Heap>,
    /// Walks that came to nothing.
    pub heap_failures: u64,
    /// Why the heap cannot be walked.
    pub heap_unsupported: Option<String>,
    /// Pools that the programs keep by themselves; by source.
    pub pools: Vec<Pool>,
}

/// Memory of a group, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident; what workers share is counted once (DESIGN 6).
    pub resident: Option<u64>,
    /// Sums over all of them, of what takes a right to read.
    pub map: MemoryMap,
    /// Anonymous.
    pub anonymous: Option<u64>,
    /// Pages of files, of the one that has most of them.
    pub file: Option<u64>,
    /// Shared memory, of the one that has most of it.
    pub shared: Option<u64>,
    /// Swapped out.
    pub swap: Option<u64>,
    /// Address space.
    pub address_space: Option<u64>,
}

/// Descriptors of open files of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fds {
    /// All of them.
    pub open: Option<u64>,
    /// The lowest limit.
    pub limit: Option<u64>,
    /// The largest part of its limit that one of them has taken.
    pub worst_ratio: Option<f64>,
}
