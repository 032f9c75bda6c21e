//! A table of large entries with stable numbers, grown in chunks: growing never copies an entry, and no more
//! than one chunk is unused.

/// Entries of type `T`, named by small numbers that are used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Stores an entry and returns its number.
    pub(crate) fn insert(&mut self, entry: T) -> u32 {
        self.len += 1;
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slot_mut(index)
        {
            *slot = Some(entry);
            return index;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let Some(chunk) = self.chunks.last_mut() else { unreachable!("a chunk was just made sure of") };
        chunk.push(Some(entry));
        (before + chunk.len() - 1) as u32
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let entry = self.slot_mut(index)?.take()?;
        self.len -= 1;
        self.free.push(index);
        Some(entry)
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slot_mut(index)?.as_mut()
    }

    /// All entries by rising number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = self.chunks.iter().flatten().enumerate();
        slots.filter_map(|(index, slot)| Some((index as u32, slot.as_ref()?)))
    }

    /// Of the next `sample` entries from `hand` on, the number of the one with the smallest key.
    pub(crate) fn around<K: Ord>(&self, hand: &mut u32, sample: usize, key: impl Fn(&T) -> K) -> Option<u32> {
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        let slots = (full + self.chunks.last().map_or(0, Vec::len)) as u32;
        let mut best: Option<(K, u32)> = None;
        let mut looked = 0;
        for _ in 0..slots {
            *hand = if *hand + 1 < slots { *hand + 1 } else { 0 };
            let Some(entry) = self.get(*hand) else { continue };
            let key = key(entry);
            if best.as_ref().is_none_or(|(lowest, _)| key < *lowest) {
                best = Some((key, *hand));
            }
            looked += 1;
            if looked == sample {
                break;
            }
        }
        best.map(|(_, index)| index)
    }

    #[inline]
    fn slot_mut(&mut self, index: u32) -> Option<&mut Option<T>> {
        self.chunks.get_mut(index as usize / CHUNK)?.get_mut(index as usize % CHUNK)
    }
}

const CHUNK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_used_again() {
        let mut slab = Slab::new();
        let numbers: Vec<u32> = (0..200).map(|i| slab.insert(i)).collect();
        assert_eq!(slab.remove(numbers[70]), Some(70));
        assert_eq!(slab.remove(numbers[70]), None);
        assert_eq!(slab.len(), 199);
        assert_eq!(slab.insert(1000), numbers[70]);
        assert_eq!(slab.get(numbers[70]), Some(&1000));
        assert_eq!(slab.get(numbers[199]), Some(&199));
        assert_eq!(slab.iter().count(), 200);
    }
}
