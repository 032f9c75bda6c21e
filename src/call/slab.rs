//! Calls in slots that are reused, under keys that are not.

use std::num::NonZeroU32;

use super::CallKey;

/// Values in slots. A freed slot takes the next value under a new generation, last freed first.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: NonZeroU32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// Occupied slots.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, value: T) -> CallKey {
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            slot.generation = slot.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
            slot.value = Some(value);
            return CallKey { index, generation: slot.generation };
        }
        let index = self.slots.len() as u32;
        self.slots.push(Slot { generation: NonZeroU32::MIN, value: Some(value) });
        CallKey { index, generation: NonZeroU32::MIN }
    }

    #[inline]
    pub(super) fn get(&self, key: CallKey) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_ref() } else { None }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: CallKey) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    /// Drops a value where it stands, and frees its slot.
    pub(super) fn discard(&mut self, key: CallKey) {
        if let Some(slot) = self.slots.get_mut(key.index as usize)
            && slot.generation == key.generation
            && slot.value.is_some()
        {
            slot.value = None;
            self.free.push(key.index);
        }
    }

    /// Every value, to be changed.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|slot| slot.value.as_mut())
    }

    /// Occupied slots in slot order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (CallKey, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let key = CallKey { index: index as u32, generation: slot.generation };
            slot.value.as_ref().map(|value| (key, value))
        })
    }

    /// Bytes of the slots themselves.
    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<T>>() + self.free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_open_the_slot_for_its_next_tenant() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        slab.discard(first);
        let second = slab.insert("second");
        assert_eq!(first.index, second.index);
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&"second")));
        slab.discard(first);
        assert_eq!(slab.len(), 1);
    }
}
