//! The heap of another process, walked from outside (MEAS 9.4).
//!
//! ```text
//! main_arena -next-> arena -next-> ... -> main_arena
//!     |                |
//!  [heap]          heap <-prev- heap           a segment: chunk, chunk, chunk, ..., top
//!
//! in use = chunks whose follower says so, less what tcaches and fastbins hold; free = all others
//! ```
//!
//! The process is neither stopped nor told. What is read may be torn: a chunk is split while its neighbour is read. So
//! every step is checked against what malloc itself upholds (sizes, flags, the footer of free chunks, ends of segments),
//! what does not fit is read again, and a walk that does not come out even gives no figure at all.
//!
//! Understood are the 64-bit layouts of glibc since 2.27, recognized by themselves and not by a version.

mod allocator;
mod arena;
mod chunks;
mod fastbins;
mod globals;
mod mmapped;
pub mod picture;
mod reading;
mod tcache;

use serde::{Deserialize, Serialize};

use super::maps::Maps;
use super::memory::{Fault, Memory};
pub(super) use allocator::is_loader;
use arena::Arena;
use chunks::{Sums, Walker};
use globals::Globals;
use reading::Reading;

/// What one walk found, bytes. `uordblks` of mallinfo2 is `in_use + cached - mmapped`, its `fordblks` is `free`, its
/// `hblkhd` is `mmapped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Heap {
    /// Arenas.
    pub arenas: u64,
    /// Obtained from the kernel: all segments and mmapped chunks that were seen.
    pub committed: u64,
    /// Handed out, with what malloc keeps around it; mmapped chunks are among it, what a tcache holds is not.
    pub in_use: u64,
    /// Held by the tcaches of threads.
    pub cached: u64,
    /// In bins, in fastbins, and the tops of arenas.
    pub free: u64,
    /// Of the free bytes, those in the tops of arenas.
    pub top: u64,
    /// Of the free bytes, those in fastbins.
    pub fast: u64,
    /// Chunks with a mapping of their own.
    pub mmapped: u64,
    /// Chunks in arenas that are handed out or in a tcache or fastbin.
    pub chunks: u64,
    /// Free chunks in bins.
    pub free_chunks: u64,
    /// The largest of them.
    pub largest_free: u64,
    /// Of the committed bytes, those in memory; none where not all mappings of chunks were found.
    pub resident: Option<u64>,
    /// Share of what the arenas got from the kernel that was seen.
    pub coverage: f64,
    /// What it took: bytes read from the process.
    pub read: u64,
}

impl Heap {
    /// 1 - in use / committed; none of an empty heap.
    pub fn fragmentation_ratio(&self) -> Option<f64> {
        (self.committed > 0).then(|| 1.0 - self.in_use as f64 / self.committed as f64)
    }
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Not of this process, however often it is tried.
    #[error("{0}")]
    Unsupported(#[from] Unsupported),
    /// What was read did not fit together.
    #[error("it changed while it was read, or is damaged: {0}")]
    Incoherent(&'static str),
    /// A part that is needed is swapped out, and reading would bring it back.
    #[error("part of its heap is swapped out")]
    Swapped,
    /// It would take too long.
    #[error("its heap is larger than 8 GiB")]
    TooLarge,
    /// The process has ended.
    #[error("the process has ended")]
    Gone,
    /// Not allowed.
    #[error("it takes CAP_SYS_PTRACE to read a process of another user")]
    Denied,
    /// Reading failed otherwise.
    #[error("reading the process: {0}")]
    System(std::io::Error),
}

impl Failure {
    /// For counting: one of a few words.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unsupported(_) => "unsupported",
            Self::Incoherent(_) => "incoherent",
            Self::Swapped => "swapped",
            Self::TooLarge => "too_large",
            Self::Gone => "gone",
            Self::Denied => "denied",
            Self::System(_) => "system",
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Gone => Self::Gone,
            Fault::NoMemory => Self::Unsupported(Unsupported::NoMemory),
            Fault::Denied => Self::Denied,
            Fault::Unmapped => Self::Incoherent("an address is not mapped"),
            Fault::System(error) => Self::System(error),
        }
    }
}

/// What cannot be walked, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// A kernel thread, or a zombie.
    #[error("it has no memory of its own: a thread of the kernel, or already ended")]
    NoMemory,
    /// 32 bits, or another byte order.
    #[error("only 64-bit little-endian programs can be walked")]
    Foreign,
    /// No C library is mapped.
    #[error("no C library is mapped: the program is linked statically")]
    Static,
    /// musl or another C library.
    #[error("its allocator is that of musl ({0}), which keeps no list that can be walked from outside")]
    Musl(String),
    /// A C library that is neither.
    #[error("its C library ({0}) is not glibc")]
    OtherLibrary(String),
    /// Something stands before glibc's malloc.
    #[error("its allocator is not that of glibc: malloc comes from {0}")]
    OtherAllocator(String),
    /// glibc without a recognizable main arena.
    #[error("the main arena of glibc was not found: nothing was allocated yet, or this version is not known")]
    NoArena,
    /// Large parts lie where they cannot be found.
    #[error("only {0} % of its heap could be found: something else moves the program break")]
    Partly(u8),
}

/// Walks the heap once; what is torn is read again, up to three times.
pub fn walk(memory: &impl Memory) -> Result<Heap, Failure> {
    let mut outcome = attempt(memory);
    for _ in 1..ATTEMPTS {
        if !matches!(outcome, Err(Failure::Incoherent(_))) {
            break;
        }
        outcome = attempt(memory);
    }
    outcome
}

/// Walks it once, and gives up where something does not fit.
pub fn attempt(memory: &impl Memory) -> Result<Heap, Failure> {
    let reading = Reading::of(memory);
    let maps = memory.maps()?;
    let libc = allocator::find(memory, &maps)?;
    let globals = globals::find(&reading, &maps, &libc)?;
    add_up(&reading, &maps, &globals)
}

fn add_up<M: Memory>(reading: &Reading<'_, M>, maps: &Maps, globals: &Globals) -> Result<Heap, Failure> {
    let arenas = Arena::all(reading, maps, globals.main_arena)?;
    let mut walker = Walker::new(reading, maps);
    let mut heap = Heap { arenas: arenas.len() as u64, ..Heap::default() };
    let (mut walked, mut system) = (0_u64, 0_u64);
    let mut sums = Sums::default();
    for arena in &arenas {
        let before = sums.bytes();
        arena.walk(reading, maps, globals, &mut walker, &mut sums)?;
        heap.fast = heap.fast.saturating_add(fastbins::bytes(reading, maps, arena.address, sums.used)?);
        walked += sums.bytes() - before;
        // What it says of itself: in a heap that lies it is anything.
        system = system.saturating_add(arena.system_bytes);
    }
    heap.coverage = if system == 0 { 1.0 } else { (walked as f64 / system as f64).min(1.0) };
    if heap.coverage < LEAST_COVERAGE {
        return Err(Unsupported::Partly((heap.coverage * 100.0) as u8).into());
    }
    heap.cached = walker.cached(globals.tcache_count)?;
    heap.mmapped = mmapped::bytes(reading, maps, globals)?;
    if heap.fast.saturating_add(heap.cached) > sums.used {
        return Err(Failure::Incoherent("more is cached than was handed out"));
    }
    heap.committed = walked.saturating_add(heap.mmapped);
    heap.in_use = (sums.used - heap.fast - heap.cached + sums.overhead).saturating_add(heap.mmapped);
    heap.free = (sums.free + sums.top).saturating_add(heap.fast);
    heap.top = sums.top;
    heap.chunks = sums.chunks;
    heap.free_chunks = sums.free_chunks;
    heap.largest_free = sums.largest_free;
    heap.resident = mmapped::resident(reading, maps, heap.mmapped)?
        .zip(walker.resident(walked)?)
        .map(|(mmapped, arenas)| mmapped.saturating_add(arenas));
    heap.read = reading.bytes_read();
    Ok(heap)
}

const ATTEMPTS: u32 = 3;
/// Below this the figures would be those of another heap.
const LEAST_COVERAGE: f64 = 0.95;

#[cfg(test)]
mod tests;
