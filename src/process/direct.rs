//! Figures that take a right, from whoever has it: the second process.

#![allow(clippy::disallowed_types, reason = "it limits its own pace by the clock")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use super::Process;
use super::heap::{self, Failure, Heap};
use super::malloc_calls::Counters;
use super::memory::{Fault, Remote};
use super::pools::Roots;
use super::privileged::{MemoryMap, Missing, Own, Pool, Privileged, Right, enter};

/// Whoever has the rights asks the kernel itself.
#[derive(Debug)]
pub struct Direct {
    /// Reads /proc; what it may see follows from the rights.
    own: Own,
    counters: Counters,
    roots: BTreeMap<Process, Roots>,
    /// Bytes of heaps that may be read at once, and since when.
    credit: (f64, Instant),
}

impl Direct {
    /// With the rights that this process has.
    pub fn new() -> Self {
        Self {
            own: Own::default(),
            counters: Counters::open(),
            roots: BTreeMap::new(),
            credit: (MOST_CREDIT, Instant::now()),
        }
    }

    /// Whether the pace allows another walk.
    fn may_read(&mut self) -> bool {
        let (bytes, since) = self.credit;
        let now = Instant::now();
        let bytes = (bytes + now.duration_since(since).as_secs_f64() * BYTES_A_SECOND).min(MOST_CREDIT);
        self.credit = (bytes, now);
        bytes > 0.0
    }
}

impl Default for Direct {
    fn default() -> Self {
        Self::new()
    }
}

impl Privileged for Direct {
    fn memory_map(&mut self, of: Process) -> Result<MemoryMap, Missing> {
        self.own.memory_map(of)
    }

    fn executable(&mut self, of: Process) -> Result<PathBuf, Missing> {
        self.own.executable(of)
    }

    fn open_fds(&mut self, of: Process) -> Result<u64, Missing> {
        self.own.open_fds(of)
    }

    fn sockets(&mut self, of: Process, inodes: &mut Vec<u64>) -> Result<(), Missing> {
        self.own.sockets(of, inodes)
    }

    fn heap(&mut self, of: Process) -> Result<Heap, Missing> {
        if !self.may_read() {
            return Err(Missing::Failed("heaps are read at no more than 50 MB/s".into()));
        }
        let walked = only(of, || heap::walk(&Remote::open(of.pid)?));
        let heap = walked.map_err(|missing| missing.map_or_else(|gone| gone, Missing::from))?;
        self.credit.0 -= heap.read as f64;
        Ok(heap)
    }

    fn pools(&mut self, of: Process) -> Result<Vec<Pool>, Missing> {
        let known = self.roots.get(&of);
        let looked = only(of, || {
            let memory = Remote::open(of.pid)?;
            let roots = known.map_or_else(|| Roots::find(&memory), |known| Ok(known.clone()))?;
            Ok::<_, Fault>((roots.pools(&memory)?, roots))
        });
        let (pools, roots) = looked.map_err(|missing| missing.map_or_else(|gone| gone, Missing::from))?;
        if self.roots.len() >= MOST_ROOTS {
            self.roots.clear();
        }
        // One that has none may become another program yet.
        if !pools.is_empty() {
            self.roots.insert(of, roots);
        }
        Ok(pools)
    }

    fn allocations(&mut self, of: Process) -> Result<u64, Missing> {
        self.counters.calls(of)
    }

    fn forget(&mut self, of: Process) {
        self.counters.forget(of);
    }
}

/// Does something to that very process: it is the same before and after.
fn only<T, E>(of: Process, look: impl FnOnce() -> Result<T, E>) -> Result<T, Result<E, Missing>> {
    let mut buffer = super::files::Buffer::default();
    enter(of, &mut buffer).map_err(Err)?;
    let seen = look().map_err(Ok)?;
    enter(of, &mut buffer).map_err(Err)?;
    Ok(seen)
}

impl From<Failure> for Missing {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unsupported(reason) => Self::Unsupported(reason.to_string()),
            Failure::TooLarge => Self::Unsupported(failure.to_string()),
            Failure::Gone => Self::Gone,
            Failure::Denied => Self::Right(Right::Ptrace),
            Failure::Incoherent(_) | Failure::Swapped | Failure::System(_) => {
                Self::Failed(failure.to_string())
            }
        }
    }
}

impl From<Fault> for Missing {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Gone => Self::Gone,
            Fault::Denied => Self::Right(Right::Ptrace),
            Fault::NoMemory => Self::Unsupported(fault.to_string()),
            Fault::Unmapped | Fault::System(_) => Self::Failed(fault.to_string()),
        }
    }
}

/// Heaps are read no faster than this, over a minute (MEAS 9.4).
const BYTES_A_SECOND: f64 = 50e6;
/// Processes whose roots are kept; then they are looked for again.
const MOST_ROOTS: usize = 1024;
const MOST_CREDIT: f64 = 60.0 * BYTES_A_SECOND;
