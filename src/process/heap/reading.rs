//! Reading within a budget: a heap that claims to be endless ends.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use super::Failure;
use crate::process::memory::{Memory, Residency, page_bytes};

/// Memory of the process, and how much of it may still be read in this walk.
#[derive(Debug)]
pub(super) struct Reading<'a, M> {
    memory: &'a M,
    read: Cell<u64>,
    left: Cell<u64>,
    pages: RefCell<HashMap<u64, Box<[u8; PEEK]>>>,
}

impl<'a, M: Memory> Reading<'a, M> {
    pub(super) fn of(memory: &'a M) -> Self {
        Self { memory, read: Cell::new(0), left: Cell::new(MOST_BYTES), pages: RefCell::default() }
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.read.get()
    }

    /// Fills `into`, whether it is in memory or not.
    pub(super) fn bytes(&self, address: u64, into: &mut [u8]) -> Result<(), Failure> {
        self.spend(into.len() as u64)?;
        Ok(self.memory.read(address, into)?)
    }

    /// A structure of `N` bytes in anonymous memory that is known to be in use.
    pub(super) fn block<const N: usize>(&self, address: u64) -> Result<[u8; N], Failure> {
        let mut block = [0; N];
        let pages = address % page_bytes() + N as u64;
        let mut residency = [Residency::Present; 4];
        let pages = usize::try_from(pages.div_ceil(page_bytes())).unwrap_or(usize::MAX);
        self.memory.residency(address, residency.get_mut(..pages).unwrap_or_default())?;
        for page in residency {
            refuse(page)?;
        }
        self.bytes(address, &mut block)?;
        Ok(block)
    }

    pub(super) fn word(&self, address: u64) -> Result<u64, Failure> {
        self.block(address).map(u64::from_le_bytes)
    }

    /// Two words of a page that is kept from the last time, until [`forget`](Self::forget).
    pub(super) fn peek(&self, address: u64) -> Result<[u64; 2], Failure> {
        let mut pages = self.pages.borrow_mut();
        let page = address & !(PEEK as u64 - 1);
        if pages.len() >= MOST_PAGES && !pages.contains_key(&page) {
            pages.clear();
        }
        let bytes = match pages.entry(page) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => new.insert(Box::new(self.block(page)?)),
        };
        let at = (address - page) as usize;
        match bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
            Some(words) => {
                let (words, _) = words.as_chunks::<8>();
                let word = |nth: usize| words.get(nth).map_or(0, |word| u64::from_le_bytes(*word));
                Ok([word(0), word(1)])
            }
            None => Ok([self.word(address)?, self.word(address.wrapping_add(8))?]),
        }
    }

    /// What is peeked from now on is read anew.
    pub(super) fn forget(&self) {
        self.pages.borrow_mut().clear();
    }

    /// The pages from `address` on that are in memory; the others are left 0 and told in `residency`.
    pub(super) fn resident(
        &self,
        address: u64,
        into: &mut [u8],
        residency: &mut Vec<Residency>,
    ) -> Result<(), Failure> {
        self.spend(into.len() as u64)?;
        let page = page_bytes();
        let skew = address % page;
        let count = (skew + into.len() as u64).div_ceil(page) as usize;
        residency.clear();
        residency.resize(count, Residency::Present);
        self.memory.residency(address, residency)?;
        let mut nth = 0;
        while let Some(first) = residency.get(nth).copied() {
            let alike = residency.iter().skip(nth).take_while(|page| **page == first).count();
            // In bytes of `into`; its first page may begin before it.
            let from = (nth as u64 * page).saturating_sub(skew) as usize;
            let to = (((nth + alike) as u64 * page).saturating_sub(skew) as usize).min(into.len());
            let Some(run) = into.get_mut(from..to) else { break };
            if first == Residency::Present {
                self.memory.read(address + from as u64, run)?;
            } else {
                run.fill(0);
            }
            nth += alike;
        }
        Ok(())
    }

    /// How many bytes of a range are in memory.
    pub(super) fn resident_bytes(&self, address: u64, bytes: u64) -> Result<u64, Failure> {
        let page = page_bytes();
        let mut pages = bytes.div_ceil(page);
        let mut at = address;
        let mut count = 0;
        let mut residency = vec![Residency::Present; PAGES_AT_ONCE.min(pages) as usize];
        while pages > 0 {
            let some = pages.min(PAGES_AT_ONCE);
            self.spend(8 * some)?;
            let residency = residency.get_mut(..some as usize).unwrap_or_default();
            self.memory.residency(at, residency)?;
            count += residency.iter().filter(|state| **state == Residency::Present).count() as u64;
            at = at.saturating_add(some * page);
            pages -= some;
        }
        Ok(count * page)
    }

    fn spend(&self, bytes: u64) -> Result<(), Failure> {
        let left = self.left.get().checked_sub(bytes + PER_READ).ok_or(Failure::TooLarge)?;
        self.left.set(left);
        self.read.set(self.read.get() + bytes);
        Ok(())
    }
}

/// What is needed and not in memory.
pub(super) fn refuse(page: Residency) -> Result<(), Failure> {
    match page {
        Residency::Present => Ok(()),
        Residency::Swapped => Err(Failure::Swapped),
        Residency::Absent => Err(Failure::Incoherent("it leads to a page that was never used")),
    }
}

/// A walk reads less than this, or nothing is said of the heap (MEAS 9.4).
const MOST_BYTES: u64 = 8 << 30;
/// What each read costs besides its bytes, so that many small ones end too.
const PER_READ: u64 = 512;
/// Bytes that are kept of a place where lists lead.
const PEEK: usize = 4096;
const MOST_PAGES: usize = 4096;
const PAGES_AT_ONCE: u64 = 4096;
