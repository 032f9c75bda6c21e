//! From a flow's hash to the number of its stream, with one cache line a look-up.
//!
//! An open-addressed table of entries of 8 bytes, at most three quarters full:
//!
//! ```text
//! home = tag mod size          [ tag 32 bits | number 32 bits ] ...
//! an entry stands at its home or as near behind it as there was room; none is behind a hole
//! ```
//!
//! The tag is nearly always enough to find the right stream, and looking one up need not wait for the stream's
//! own state; the caller makes sure.

/// Numbers of streams by the low half of their flow's hash.
#[derive(Debug)]
pub(crate) struct FlowIndex {
    /// A power of two of them.
    entries: Vec<Entry>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u32,
    /// `NONE` where the entry is a hole.
    number: u32,
}

impl FlowIndex {
    pub(crate) fn new() -> Self {
        Self { entries: vec![HOLE; LEAST], len: 0 }
    }

    /// Draws the home of a hash into the cache; the value means nothing.
    #[inline]
    pub(crate) fn touch(&self, hash: u64) -> u64 {
        let home = hash as u32 as usize & (self.entries.len() - 1);
        self.entries.get(home).map_or(0, |entry| entry.tag.into())
    }

    /// The first number under this hash that `is_it`.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = hash as u32;
        let mask = self.entries.len() - 1;
        let mut at = tag as usize & mask;
        loop {
            let entry = self.entries.get(at)?;
            if entry.number == NONE {
                return None;
            }
            if entry.tag == tag && is_it(entry.number) {
                return Some(entry.number);
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a number that is not there yet.
    pub(crate) fn insert(&mut self, hash: u64, number: u32) {
        if (self.len + 1) * 4 > self.entries.len() * 3 {
            let larger = vec![HOLE; self.entries.len() * 2];
            for entry in std::mem::replace(&mut self.entries, larger) {
                if entry.number != NONE {
                    self.place(entry);
                }
            }
        }
        self.place(Entry { tag: hash as u32, number });
        self.len += 1;
    }

    /// Removes a number, and moves those behind it nearer to their homes.
    pub(crate) fn remove(&mut self, hash: u64, number: u32) {
        let mask = self.entries.len() - 1;
        let mut hole = hash as usize & mask;
        loop {
            match self.entries.get(hole) {
                Some(entry) if entry.number == number => break,
                Some(entry) if entry.number != NONE => hole = (hole + 1) & mask,
                _ => return,
            }
        }
        self.len -= 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let Some(&entry) = self.entries.get(at).filter(|entry| entry.number != NONE) else { break };
            // It may not go before its home.
            let from_home = at.wrapping_sub(entry.tag as usize) & mask;
            if from_home >= at.wrapping_sub(hole) & mask {
                self.set(hole, entry);
                hole = at;
            }
        }
        self.set(hole, HOLE);
    }

    fn place(&mut self, entry: Entry) {
        let mask = self.entries.len() - 1;
        let mut at = entry.tag as usize & mask;
        while self.entries.get(at).is_some_and(|entry| entry.number != NONE) {
            at = (at + 1) & mask;
        }
        self.set(at, entry);
    }

    fn set(&mut self, at: usize, entry: Entry) {
        if let Some(place) = self.entries.get_mut(at) {
            *place = entry;
        }
    }
}

const NONE: u32 = u32::MAX;
const HOLE: Entry = Entry { tag: 0, number: NONE };
const LEAST: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_entry_takes_eight_bytes() {
        assert_eq!(size_of::<Entry>(), 8);
    }

    proptest! {
        /// forall insertions and removals, homes at the end of the table and shared ones included: it knows what a
        /// map knows.
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec((any::<bool>(), 0_u64..40, 0_u32..64), 0..400)) {
            let mut index = FlowIndex::new();
            let mut map = std::collections::BTreeMap::new();
            for (add, hash, number) in steps {
                // Few homes, all around the end of the table.
                let hash = (hash % 5).wrapping_sub(3) ^ hash << 32;
                match map.get(&number).copied() {
                    Some(hash) if !add => {
                        index.remove(hash, number);
                        map.remove(&number);
                    }
                    None if add => {
                        index.insert(hash, number);
                        map.insert(number, hash);
                    }
                    _ => {}
                }
                prop_assert_eq!(index.len, map.len());
                for number in 0..64 {
                    let hash = map.get(&number).copied().unwrap_or(hash);
                    let found = index.find(hash, |found| found == number);
                    prop_assert_eq!(found, map.contains_key(&number).then_some(number));
                }
            }
        }
    }
}
