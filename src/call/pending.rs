//! Things that are open under a name until something closes them, or until they were left alone too long.

use std::collections::VecDeque;

use super::fingerprint::FingerprintMap;
use crate::Stamp;

/// Open items, oldest deadline first; all wait equally long.
#[derive(Debug)]
pub(super) struct Pending<T> {
    items: FingerprintMap<Item<T>>,
    /// (deadline, name); an entry whose deadline is not its item's is outdated.
    queue: VecDeque<(Stamp, u64)>,
    limit: usize,
    patience_seconds: u64,
}

#[derive(Debug)]
struct Item<T> {
    deadline: Stamp,
    value: T,
}

impl<T> Pending<T> {
    /// At most `limit` items, each given up `patience_seconds` after it was last touched.
    pub(super) fn new(limit: usize, patience_seconds: u64) -> Self {
        Self {
            items: FingerprintMap::default(),
            queue: VecDeque::new(),
            limit: limit.max(1),
            patience_seconds,
        }
    }

    pub(super) fn get_mut(&mut self, name: u64) -> Option<&mut T> {
        self.items.get_mut(&name).map(|item| &mut item.value)
    }

    /// Opens an item; returns the oldest one if that had to make room.
    pub(super) fn insert(&mut self, name: u64, now: Stamp, value: T) -> Option<T> {
        let evicted = if self.items.len() >= self.limit && !self.items.contains_key(&name) {
            self.pop(None).map(|(_, value)| value)
        } else {
            None
        };
        let deadline = now.plus_seconds(self.patience_seconds);
        self.items.insert(name, Item { deadline, value });
        self.enter(deadline, name);
        evicted
    }

    /// Starts the wait of an item anew.
    pub(super) fn touch(&mut self, name: u64, now: Stamp) {
        let deadline = now.plus_seconds(self.patience_seconds);
        if let Some(item) = self.items.get_mut(&name)
            && item.deadline != deadline
        {
            item.deadline = deadline;
            self.enter(deadline, name);
        }
    }

    pub(super) fn remove(&mut self, name: u64) -> Option<T> {
        self.items.remove(&name).map(|item| item.value)
    }

    /// The next item whose wait ended before `now`.
    #[inline]
    pub(super) fn expired(&mut self, now: Stamp) -> Option<T> {
        if self.queue.front().is_none_or(|&(deadline, _)| deadline >= now) {
            return None;
        }
        self.pop(Some(now)).map(|(_, value)| value)
    }

    /// All that is open, oldest first.
    pub(super) fn drain(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.pop(None)).map(|(_, value)| value).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.items.capacity() * (size_of::<(u64, Item<T>)>() + 1)
            + self.queue.capacity() * size_of::<(Stamp, u64)>()
    }

    fn enter(&mut self, deadline: Stamp, name: u64) {
        if self.queue.len() > 2 * self.items.len() + SLACK {
            let items = &self.items;
            self.queue.retain(|&(at, name)| items.get(&name).is_some_and(|item| item.deadline == at));
        }
        self.queue.push_back((deadline, name));
    }

    /// The oldest item, if its deadline lies before `now`.
    fn pop(&mut self, now: Option<Stamp>) -> Option<(u64, T)> {
        while let Some(&(deadline, name)) = self.queue.front() {
            if now.is_some_and(|now| deadline >= now) {
                return None;
            }
            self.queue.pop_front();
            if self.items.get(&name).is_some_and(|item| item.deadline == deadline) {
                return self.items.remove(&name).map(|item| (name, item.value));
            }
        }
        None
    }
}

const SLACK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn an_item_expires_after_its_last_touch_and_only_once() {
        let mut pending = Pending::new(8, 32);
        pending.insert(1, Stamp(0), "a");
        pending.touch(1, Stamp(10 * SECOND));
        assert_eq!(pending.expired(Stamp(42 * SECOND)), None);
        assert_eq!(pending.expired(Stamp(42 * SECOND + 1)), Some("a"));
        assert_eq!(pending.expired(Stamp(99 * SECOND)), None);
    }

    #[test]
    fn a_full_table_gives_up_its_oldest_item() {
        let mut pending = Pending::new(2, 32);
        assert_eq!(pending.insert(1, Stamp(1), "a"), None);
        assert_eq!(pending.insert(2, Stamp(2), "b"), None);
        pending.touch(1, Stamp(3));
        assert_eq!(pending.insert(3, Stamp(4), "c"), Some("b"));
        assert_eq!(pending.drain(), ["a", "c"]);
    }

    #[test]
    fn touching_without_end_does_not_grow_the_queue() {
        let mut pending = Pending::new(2, 32);
        pending.insert(1, Stamp(0), ());
        for nanos in 1..10_000 {
            pending.touch(1, Stamp(nanos));
        }
        assert!(pending.queue.len() <= 2 + SLACK + 1);
    }
}
