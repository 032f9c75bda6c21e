//! How often a process calls its allocator: counters of the kernel on malloc and its relatives (DESIGN 6).
//!
//! ```text
//! calls = malloc + calloc + realloc + memalign + ...  -  calls that libc makes of its own malloc inside of these
//! ```
//!
//! `realloc(NULL, n)` and `memalign` with a small alignment go on into `malloc`, and would count twice. libc reaches its
//! malloc by a direct jump only from there; everybody else, libc's other parts included, goes through a table. So those
//! jumps are found in its code, counted too, and taken off again.
//!
//! A counter belongs to one thread ([`probe`](super::probe) says why it is not inherited). Threads that were started since
//! are joined at each look; what they called before the first look at them is not counted, and of threads that have ended
//! what they called is kept.

mod image;
mod place;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;

use super::Process;
use super::files::{Buffer, SMALL};
use super::privileged::{Missing, Right};
use super::probe::{Count, Uprobes};
use super::stat::Stat;
use place::Places;

/// Those of all processes that are counted.
#[derive(Debug, Default)]
pub struct Counters {
    /// The kernel's kind of event, once it was asked.
    uprobes: Option<Uprobes>,
    processes: BTreeMap<Process, Counter>,
    places: place::Cache,
    buffer: Buffer,
}

/// That of one process.
#[derive(Debug)]
struct Counter {
    places: Places,
    threads: BTreeMap<u32, Thread>,
    /// Calls of threads that have ended.
    ended: u64,
    told: u64,
}

/// That of one thread.
#[derive(Debug)]
struct Thread {
    added: Vec<Count>,
    taken_off: Vec<Count>,
}

impl Counters {
    /// Calls since the first time that this was asked.
    pub fn calls(&mut self, of: Process) -> Result<u64, Missing> {
        let text = self.buffer.read_path(format!("/proc/{}/stat", of.pid).as_ref(), SMALL);
        let stat = text.ok().and_then(Stat::parse).ok_or(Missing::Gone)?;
        if stat.started_ticks != of.started_ticks {
            return Err(Missing::Gone);
        }
        let uprobes = if let Some(uprobes) = self.uprobes {
            uprobes
        } else {
            let none = |error| Missing::Failed(format!("the kernel has no uprobes: {error}"));
            *self.uprobes.insert(Uprobes::find().map_err(none)?)
        };
        let counter = match self.processes.entry(of) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let places = self.places.of(of)?;
                new.insert(Counter { places, threads: BTreeMap::new(), ended: 0, told: 0 })
            }
        };
        let looked = counter.look(of, uprobes);
        if counter.threads.is_empty() {
            self.processes.remove(&of);
        }
        looked
    }

    /// It has ended, or is no longer wanted.
    pub fn forget(&mut self, of: Process) {
        self.processes.remove(&of);
    }
}

impl Counter {
    /// Joins threads that are new, leaves those that have ended, and adds up.
    fn look(&mut self, of: Process, uprobes: Uprobes) -> Result<u64, Missing> {
        let there = threads(of)?;
        if there.len() * self.places.count() > MOST_COUNTS {
            return Err(Missing::Failed(format!("it has {} threads: too many to count", there.len())));
        }
        for thread in &there {
            if self.threads.contains_key(thread) {
                continue;
            }
            match Thread::join(*thread, &self.places, uprobes) {
                Ok(joined) => drop(self.threads.insert(*thread, joined)),
                // It has ended since.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        let mut running = 0;
        let mut gone = Vec::new();
        for (number, thread) in &self.threads {
            let calls = thread.calls().map_err(|error| failed(&error))?;
            if there.binary_search(number).is_ok() {
                running += calls;
            } else {
                gone.push((*number, calls));
            }
        }
        for (number, calls) in gone {
            self.ended += calls;
            self.threads.remove(&number);
        }
        // Functions and threads are read one after the other.
        self.told = self.told.max(self.ended + running);
        Ok(self.told)
    }
}

impl Thread {
    fn join(thread: u32, places: &Places, uprobes: Uprobes) -> io::Result<Self> {
        let count = |offset: &u64| uprobes.count(thread, &places.file, *offset);
        let all = |offsets: &BTreeSet<u64>| offsets.iter().map(count).collect::<io::Result<_>>();
        // What is taken off is counted first, so that nothing is added without it.
        let taken_off = all(&places.inner)?;
        Ok(Self { added: all(&places.entries)?, taken_off })
    }

    fn calls(&self) -> io::Result<u64> {
        let sum = |counts: &[Count]| counts.iter().map(Count::read).sum::<io::Result<u64>>();
        Ok(sum(&self.added)?.saturating_sub(sum(&self.taken_off)?))
    }
}

impl Places {
    fn count(&self) -> usize {
        self.entries.len() + self.inner.len()
    }
}

fn threads(of: Process) -> Result<Vec<u32>, Missing> {
    let entries = fs::read_dir(format!("/proc/{}/task", of.pid)).map_err(|_| Missing::Gone)?;
    let mut threads: Vec<u32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    threads.sort_unstable();
    Ok(threads)
}

fn failed(error: &io::Error) -> Missing {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => Missing::Right(Right::Perfmon),
        Some(libc::EMFILE) => Missing::Failed("too many counters: raise LimitNOFILE".into()),
        _ => Missing::Failed(format!("counting calls: {error}")),
    }
}

/// What the root of that process calls by this path.
fn below_its_root(of: Process, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{path}", of.pid))
}

/// Descriptors for one process.
const MOST_COUNTS: usize = 8192;
