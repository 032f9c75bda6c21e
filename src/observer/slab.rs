//! A table of large entries with stable numbers. It grows by chunks: no entry is ever moved.

/// Entries of type `T`, named by small numbers that are used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    /// All but the last one are full.
    chunks: Vec<Vec<Option<T>>>,
    /// Entries that ever were.
    slots: u32,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new(), slots: 0, free: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots as usize - self.free.len()
    }

    /// Stores an entry and returns its number.
    pub(crate) fn insert(&mut self, entry: T) -> u32 {
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slot(index)
        {
            *slot = Some(entry);
            return index;
        }
        if let Some(chunk) = self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            chunk.push(Some(entry));
        } else {
            let mut chunk = Vec::with_capacity(CHUNK);
            chunk.push(Some(entry));
            self.chunks.push(chunk);
        }
        self.slots += 1;
        self.slots - 1
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let entry = self.slot(index)?.take()?;
        self.free.push(index);
        Some(entry)
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slot(index)?.as_mut()
    }

    /// All entries by rising number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.chunks
            .iter()
            .flatten()
            .enumerate()
            .filter_map(|(index, slot)| Some((index as u32, slot.as_ref()?)))
    }

    /// All entries, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks.iter_mut().flatten().filter_map(Option::as_mut)
    }

    /// Of the next `sample` entries from `hand` on, the number of the one with the smallest key.
    pub(crate) fn around<K: Ord>(&self, hand: &mut u32, sample: usize, key: impl Fn(&T) -> K) -> Option<u32> {
        let slots = self.slots;
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
    fn slot(&mut self, index: u32) -> Option<&mut Option<T>> {
        let index = index as usize;
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
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
