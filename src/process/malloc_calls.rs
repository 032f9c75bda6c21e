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
//! Threads and processes that are started later count from their first instruction on, with who started them ([`tree`]).

mod image;
mod place;
mod tree;

use std::io;
use std::path::PathBuf;

use super::Process;
use super::files::{Buffer, SMALL};
use super::privileged::{Missing, Right};
use super::probe::Uprobes;
use super::stat::Stat;
use tree::Tree;

/// Those of all processes that are counted.
#[derive(Debug)]
pub struct Counters {
    /// Or why there are none.
    uprobes: Result<Uprobes, String>,
    trees: Vec<Tree>,
    allocators: place::Cache,
    buffer: Buffer,
}

impl Counters {
    /// Opens the kernel's list of places, for which it takes rights that may be given up after it.
    pub fn open() -> Self {
        Self {
            uprobes: Uprobes::open().map_err(|error| error.to_string()),
            trees: Vec::new(),
            allocators: place::Cache::default(),
            buffer: Buffer::default(),
        }
    }

    /// Calls since the first time that this was asked. What it starts from then on is in it, until that is asked for too:
    /// then whoever is asked first is told what is new of all of them.
    pub fn calls(&mut self, of: Process) -> Result<u64, Missing> {
        let stat = stat(of.pid, &mut self.buffer)?;
        if stat.started_ticks != of.started_ticks {
            return Err(Missing::Gone);
        }
        let uprobes = self.uprobes.as_ref().map_err(|reason| Missing::Failed(reason.clone()))?;
        if let Some(tree) = self.trees.iter_mut().find(|tree| tree.has(of)) {
            return tree.tell(of);
        }
        if let Some(tree) = self.trees.iter_mut().find(|tree| tree.has_started(&stat, &mut self.buffer)) {
            tree.adopt(of, &stat);
            return tree.tell(of);
        }
        let allocator = self.allocators.of(of, uprobes)?;
        let mut tree = Tree::begin(of, &stat, &allocator, &mut self.buffer)?;
        let told = tree.tell(of);
        self.trees.push(tree);
        told
    }

    /// It has ended, or is no longer wanted.
    pub fn forget(&mut self, of: Process) {
        self.trees.retain_mut(|tree| tree.forget(of));
    }
}

fn stat(pid: u32, buffer: &mut Buffer) -> Result<Stat, Missing> {
    let text = buffer.read_path(format!("/proc/{pid}/stat").as_ref(), SMALL);
    text.ok().and_then(Stat::parse).ok_or(Missing::Gone)
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
