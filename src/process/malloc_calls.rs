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
//! A counter belongs to a thread, and goes on over the threads and processes that it starts. So a worker that is forked
//! by a process which is counted is counted there, and answers 0 for itself ([`Counters::calls`]).

mod image;
mod place;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::Process;
use super::files::{Buffer, SMALL};
use super::memory::Fault;
use super::privileged::{Missing, Right};
use super::probe::{Count, Uprobes};
use super::stat::Stat;
use place::Places;

/// Those of all processes that are counted.
#[derive(Debug, Default)]
pub struct Counters {
    /// The kernel's kind of event, once it was asked.
    uprobes: Option<Uprobes>,
    of: BTreeMap<Process, Counter>,
    /// Processes that were started by one that is counted, and which one.
    heirs: BTreeMap<Process, Process>,
    places: place::Cache,
    buffer: Buffer,
}

#[derive(Debug)]
struct Counter {
    /// When counting began, in clock ticks since boot.
    since: u64,
    added: Vec<Count>,
    taken_off: Vec<Count>,
    /// What an earlier process of which this is an heir was told; it is no call of this one.
    before: u64,
    /// What was told last.
    told: u64,
}

impl Counter {
    fn read(&self) -> io::Result<u64> {
        let sum = |counts: &[Count]| {
            counts.iter().try_fold(0, |sum: u64, count| Ok::<_, io::Error>(sum + count.read()?))
        };
        Ok(sum(&self.added)?.saturating_sub(sum(&self.taken_off)?))
    }
}

impl Counters {
    /// Calls since the first time that this was asked, of all its threads and of processes that it started since. Of one
    /// that is counted with the process that started it: 0, until that one ends.
    pub fn calls(&mut self, of: Process) -> Result<u64, Missing> {
        if let Some(counter) = self.of.get_mut(&of) {
            let calls = counter.read().map_err(failed)?.saturating_sub(counter.before);
            // Counters of threads are read one after the other.
            counter.told = counter.told.max(calls);
            return Ok(counter.told);
        }
        if let Some(owner) = self.heirs.get(&of)
            && self.of.contains_key(owner)
        {
            return Ok(0);
        }
        let stat = self.stat(of.pid).ok_or(Missing::Gone)?;
        if stat.started_ticks != of.started_ticks {
            return Err(Missing::Gone);
        }
        if let Some(owner) = self.ancestor(of) {
            self.heirs.insert(of, owner);
            return Ok(0);
        }
        let counter = self.attach(of)?;
        self.of.insert(of, counter);
        Ok(0)
    }

    /// It has ended, or is no longer wanted. What it started goes on being counted, from then on with one of those.
    pub fn forget(&mut self, of: Process) {
        self.heirs.remove(&of);
        let Some(counter) = self.of.remove(&of) else { return };
        let Some(heir) = self.heirs.iter().find(|(_, owner)| **owner == of).map(|(heir, _)| *heir) else {
            return;
        };
        self.heirs.remove(&heir);
        for owner in self.heirs.values_mut().filter(|owner| **owner == of) {
            *owner = heir;
        }
        let before = counter.before + counter.told;
        self.of.insert(heir, Counter { before, told: 0, ..counter });
    }

    /// The process that is counted and started this one, or one of those that did, since then.
    fn ancestor(&mut self, of: Process) -> Option<Process> {
        let mut parent = self.parent(of.pid)?;
        for _ in 0..MOST_GENERATIONS {
            if parent <= 1 {
                return None;
            }
            let known = self.of.keys().find(|process| process.pid == parent).copied();
            if let Some(owner) = known {
                let since = self.of.get(&owner)?.since;
                return (of.started_ticks > since).then_some(owner);
            }
            let heir = self.heirs.iter().find(|(process, _)| process.pid == parent);
            if let Some((_, owner)) = heir {
                return Some(*owner);
            }
            parent = self.parent(parent)?;
        }
        None
    }

    fn parent(&mut self, pid: u32) -> Option<u32> {
        let text = self.buffer.read_path(format!("/proc/{pid}/stat").as_ref(), SMALL).ok()?;
        // pid (name) state ppid ...; the name may hold anything, brackets too.
        let behind = text.iter().rposition(|byte| *byte == b')')?;
        let mut fields = text.get(behind + 1..)?.split(|byte| *byte == b' ').skip(2);
        str::from_utf8(fields.next()?).ok()?.parse().ok()
    }

    fn stat(&mut self, pid: u32) -> Option<Stat> {
        Stat::parse(self.buffer.read_path(format!("/proc/{pid}/stat").as_ref(), SMALL).ok()?)
    }

    /// Begins to count all its threads. Those that are started meanwhile may be counted or not, so that it is begun anew
    /// until there were none.
    fn attach(&mut self, of: Process) -> Result<Counter, Missing> {
        let uprobes = match self.uprobes {
            Some(uprobes) => uprobes,
            None => Uprobes::find()
                .map_err(|error| Missing::Failed(format!("the kernel has no uprobes: {error}")))?,
        };
        self.uprobes = Some(uprobes);
        let places = self.places.of(of)?;
        for _ in 0..MOST_TRIES {
            let threads = threads(of)?;
            if threads.len() * places.count() > MOST_COUNTS {
                return Err(Missing::Failed(format!("it has {} threads: too many to count", threads.len())));
            }
            let since = now_ticks(&mut self.buffer)
                .ok_or_else(|| Missing::Failed("/proc/uptime cannot be read".into()))?;
            let counted =
                threads.iter().try_fold((Vec::new(), Vec::new()), |(mut added, mut taken_off), thread| {
                    let count = |offset: &u64| uprobes.count(*thread, &places.file, *offset);
                    for offset in &places.entries {
                        added.push(count(offset)?);
                    }
                    for offset in &places.inner {
                        taken_off.push(count(offset)?);
                    }
                    Ok::<_, io::Error>((added, taken_off))
                });
            match counted {
                Ok((added, taken_off)) if self::threads(of)? == threads => {
                    return Ok(Counter { since, added, taken_off, before: 0, told: 0 });
                }
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(Missing::Failed("it starts threads faster than they can be counted".into()))
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

/// On the clock of `started_ticks`.
fn now_ticks(buffer: &mut Buffer) -> Option<u64> {
    let text = str::from_utf8(buffer.read_path("/proc/uptime".as_ref(), SMALL).ok()?).ok()?;
    let seconds: f64 = text.split(' ').next()?.parse().ok()?;
    Some((seconds * rustix::param::clock_ticks_per_second() as f64) as u64)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: io::Error) -> Missing {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => Missing::Right(Right::Perfmon),
        Some(libc::EMFILE) => Missing::Failed("too many counters: raise LimitNOFILE".into()),
        _ => Missing::Failed(format!("counting calls: {error}")),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn of_fault(fault: Fault) -> Missing {
    match fault {
        Fault::Gone => Missing::Gone,
        Fault::Denied => Missing::Right(Right::Ptrace),
        Fault::NoMemory | Fault::Unmapped | Fault::System(_) => Missing::Failed(fault.to_string()),
    }
}

/// What the root of that process calls by this path.
fn below_its_root(of: Process, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{path}", of.pid))
}

const MOST_GENERATIONS: u32 = 16;
const MOST_TRIES: u32 = 5;
/// Descriptors for one process.
const MOST_COUNTS: usize = 8192;
