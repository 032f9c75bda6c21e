//! The pools that Kamailio keeps by itself: `pkg`, one in each process, and `shm`, shared by all (MEAS 9.5). To the C
//! library each is one large block, so the walk of the heap says nothing about them.
//!
//! ```text
//! _shm_root, _pkg_root:  mname *char @0   mem_pool @8   mem_block @16      exported to its modules
//! block:                 type i32 @0   size @8   used @16   real_used @24   max_real_used @32   ffrags @40
//! ```
//!
//! The head of the block is the same for its allocators f_malloc and q_malloc, and `kamcmd core.shmmem` and `pkg.stats`
//! read no other. tlsf_malloc keeps another one and is passed over.

use super::elf::{self, word};
use super::maps::Maps;
use super::memory::{Fault, Memory, Residency};
use super::privileged::Pool;

/// Where a process has the roots of its pools; found once, for they stay there. None in a program that is not Kamailio.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots(Vec<(u64, &'static str)>);

impl Roots {
    /// Looks for them in all that the process has loaded.
    pub fn find(memory: &impl Memory) -> Result<Self, Fault> {
        let maps = memory.maps()?;
        let mut found = Vec::new();
        for object in elf::objects(memory, &maps)? {
            for (symbol, source) in ROOTS {
                found.extend(object.symbol(memory, symbol)?.map(|root| (root.address, source)));
            }
            // The program itself has them, and it comes first.
            if !found.is_empty() {
                break;
            }
        }
        Ok(Self(found))
    }

    /// The pools as they are now.
    pub fn pools(&self, memory: &impl Memory) -> Result<Vec<Pool>, Fault> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let maps = memory.maps()?;
        let mut found = Vec::new();
        for &(root, source) in &self.0 {
            match pool(memory, &maps, root, source) {
                Ok(pool) => found.extend(pool),
                // Not made yet, or of another layout.
                Err(Fault::Unmapped) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(found)
    }
}

fn pool(memory: &impl Memory, maps: &Maps, root: u64, source: &'static str) -> Result<Option<Pool>, Fault> {
    let mut api = [0; 24];
    memory.read(root, &mut api)?;
    let (name, block) = (word(&api, 0), word(&api, 16));
    let mut text = [0; NAMES_BYTES];
    memory.read(name, &mut text)?;
    if !NAMES.iter().any(|name| text.starts_with(name)) {
        return Ok(None);
    }
    // What was swapped out is not brought back for this. A worker that never touched the shared pool has it all the same.
    let mut page = [Residency::Present];
    memory.residency(block, &mut page)?;
    let Some(mapping) = maps.at(block).filter(|mapping| mapping.write && page != [Residency::Swapped]) else {
        return Ok(None);
    };
    let mut head = [0; 48];
    memory.read(block, &mut head)?;
    let [size, used, real_used, most, fragments] = [8, 16, 24, 32, 40].map(|at| word(&head, at));
    // `used` and `real_used` are written one after the other.
    let fits =
        (1..=MOST_BYTES).contains(&size) && real_used <= size && used <= real_used.max(most) && most <= size;
    if !fits {
        return Ok(None);
    }
    let shared_by = (source == "kamailio_shm").then_some(mapping.inode);
    Ok(Some(Pool {
        source,
        shared_by,
        size,
        used: used.min(real_used),
        real_used,
        fragments: Some(fragments),
    }))
}

/// Where its parts of memory begin, and what they are called in metrics.
const ROOTS: [(&str, &str); 2] = [("_shm_root", "kamailio_shm"), ("_pkg_root", "kamailio_pkg")];
/// Names of the allocators whose block is known.
const NAMES: [&[u8]; 2] = [b"f_malloc\0", b"q_malloc\0"];
const NAMES_BYTES: usize = 9;
/// No pool is that large.
const MOST_BYTES: u64 = 1 << 44;
