//! A process that is counted, and all that it starts from then on: one sum.
//!
//! The kernel adds what children count to what their parent's counter shows, from their first instruction to their last, also
//! when nobody ever looked at them. So those are not counted once more, and what is new at a look is told to whichever of
//! them asks first: the sum over all of them is exact, the share of each is not known.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::sync::Arc;

use super::place::Allocator;
use super::{failed, stat};
use crate::process::Process;
use crate::process::files::{Buffer, SMALL};
use crate::process::privileged::Missing;
use crate::process::probe::{Apart, Count};
use crate::process::stat::Stat;

/// The counters of one process, and of all that it starts.
#[derive(Debug)]
pub(super) struct Tree {
    added: Vec<Count>,
    taken_off: Vec<Count>,
    /// Keeps the names of its places.
    allocator: Arc<Allocator>,
    /// Who is started from then on is counted.
    begun_ticks: u64,
    /// Who asks for it.
    members: BTreeMap<Process, Member>,
    /// What all members together were told.
    told: u64,
}

#[derive(Debug)]
struct Member {
    session: u32,
    told: u64,
    /// Of each thread that it had when it was first seen.
    _apart: Vec<Apart>,
}

impl Member {
    fn new(of: Process, stat: &Stat) -> Self {
        // Without it some calls of what it starts are missing; it is not worth to have no figure at all.
        let apart = threads(of)
            .into_iter()
            .flatten()
            .take(MOST_THREADS)
            .filter_map(|thread| Apart::keep(thread).ok());
        Self { session: stat.session, told: 0, _apart: apart.collect() }
    }
}

impl Tree {
    /// Starts to count a process with all the threads that it has.
    pub(super) fn begin(
        of: Process,
        stat: &Stat,
        allocator: &Arc<Allocator>,
        buffer: &mut Buffer,
    ) -> Result<Self, Missing> {
        let member = Member::new(of, stat);
        let mut known = threads(of)?;
        for _ in 0..MOST_TRIES {
            let begun_ticks = uptime_ticks(buffer)?;
            if known.len() > MOST_THREADS {
                return Err(Missing::Failed(format!("it has {} threads: too many to count", known.len())));
            }
            let mut tree = Self {
                added: Vec::new(),
                taken_off: Vec::new(),
                allocator: Arc::clone(allocator),
                begun_ticks,
                members: BTreeMap::new(),
                told: 0,
            };
            for &thread in &known {
                match tree.join(thread) {
                    // It has ended since.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    joined => joined.map_err(|error| failed(&error))?,
                }
            }
            let now = threads(of)?;
            let settled = now.is_subset(&known);
            // Whether one that came in between was counted from its start cannot be known: all anew.
            if settled {
                tree.members.insert(of, member);
                return Ok(tree);
            }
            known = now;
        }
        Err(Missing::Failed("it starts threads faster than they can be counted".into()))
    }

    fn join(&mut self, thread: u32) -> io::Result<()> {
        // What is taken off is counted first, so that nothing is added without it.
        if let Some(places) = &self.allocator.taken_off {
            self.taken_off.push(places.count(thread)?);
        }
        self.added.push(self.allocator.added.count(thread)?);
        Ok(())
    }

    /// Whether this process is told by it.
    pub(super) fn has(&self, of: Process) -> bool {
        self.members.contains_key(&of)
    }

    /// Tells one that a member has started, too.
    pub(super) fn adopt(&mut self, of: Process, stat: &Stat) {
        self.members.insert(of, Member::new(of, stat));
    }

    /// Up to a member, over processes that were all started since; where a parent has ended, its session is the trace of it.
    pub(super) fn has_started(&self, stat: &Stat, buffer: &mut Buffer) -> bool {
        let mut stat = *stat;
        for _ in 0..MOST_PARENTS {
            if stat.started_ticks < self.begun_ticks {
                return false;
            }
            if self.members.keys().any(|member| member.pid == stat.parent) {
                return true;
            }
            if stat.parent <= 1 {
                break;
            }
            let Ok(parent) = self::stat(stat.parent, buffer) else { break };
            if parent.started_ticks < self.begun_ticks {
                break;
            }
            stat = parent;
        }
        self.members.iter().any(|(_, member)| member.session == stat.session)
    }

    /// What a member is told: what it was told before, and what is new in the tree.
    pub(super) fn tell(&mut self, of: Process) -> Result<u64, Missing> {
        let sum = |counts: &[Count]| counts.iter().map(Count::read).sum::<io::Result<u64>>();
        // In this order, so that calls made in between are not taken off before they are added.
        let (taken_off, added) = (sum(&self.taken_off), sum(&self.added));
        let taken_off = taken_off.map_err(|error| failed(&error))?;
        let calls = added.map_err(|error| failed(&error))?.saturating_sub(taken_off);
        let news = calls.saturating_sub(self.told);
        self.told += news;
        let member = self.members.get_mut(&of).ok_or(Missing::Gone)?;
        member.told += news;
        Ok(member.told)
    }

    /// It has ended, or is no longer wanted; false when it was the last one.
    pub(super) fn forget(&mut self, of: Process) -> bool {
        self.members.remove(&of);
        !self.members.is_empty()
    }
}

fn threads(of: Process) -> Result<BTreeSet<u32>, Missing> {
    let entries = fs::read_dir(format!("/proc/{}/task", of.pid)).map_err(|_| Missing::Gone)?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// Since boot, as `/proc/PID/stat` has it.
fn uptime_ticks(buffer: &mut Buffer) -> Result<u64, Missing> {
    let none = || Missing::Failed("/proc/uptime cannot be read".into());
    let text = buffer.read_path("/proc/uptime".as_ref(), SMALL).map_err(|_| none())?;
    let seconds = std::str::from_utf8(text).ok().and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    Ok((seconds.ok_or_else(none)? * ticks) as u64)
}

/// Of one process: each takes three descriptors.
const MOST_THREADS: usize = 4096;
/// Of a process that starts threads all the time.
const MOST_TRIES: u32 = 8;
/// Up to which a member is looked for.
const MOST_PARENTS: u32 = 32;
