//! Calls that are no longer followed: their names alone, so that what still arrives is neither an orphan nor a
//! beginning (MEAS 5.7).

use super::fingerprint::FingerprintMap;

/// The last ended calls, in two generations of half the limit each.
#[derive(Debug)]
pub(super) struct Gone {
    young: FingerprintMap<Fate>,
    old: FingerprintMap<Fate>,
    half: usize,
}

/// How a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// By the messages that end a call.
    Ended,
    /// Given up: a BYE may still come.
    GivenUp,
}

impl Gone {
    pub(super) fn new(limit: usize) -> Self {
        Self { young: FingerprintMap::default(), old: FingerprintMap::default(), half: (limit / 2).max(1) }
    }

    pub(super) fn insert(&mut self, name: u64, fate: Fate) {
        if self.young.len() >= self.half {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(name, fate);
    }

    pub(super) fn get(&self, name: u64) -> Option<Fate> {
        self.young.get(&name).or_else(|| self.old.get(&name)).copied()
    }

    pub(super) fn bytes(&self) -> usize {
        (self.young.capacity() + self.old.capacity()) * (size_of::<(u64, Fate)>() + 1)
    }
}
