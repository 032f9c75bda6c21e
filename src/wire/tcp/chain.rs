//! Orders over numbered slots: doubly linked lists through one array, so that taking a slot out of the middle
//! and finding the oldest one cost the same however many there are.

/// `LISTS` lists over the same slots; a slot is in at most one of them.
#[derive(Debug)]
pub(super) struct Chains<const LISTS: usize> {
    links: Vec<Link>,
    ends: [Ends; LISTS],
}

impl<const LISTS: usize> Chains<LISTS> {
    pub(super) fn new() -> Self {
        Self { links: Vec::new(), ends: [Ends { oldest: NONE, newest: NONE }; LISTS] }
    }

    /// The list that `slot` is in.
    pub(super) fn list_of(&self, slot: u32) -> Option<usize> {
        let list = usize::from(self.links.get(slot as usize)?.list);
        (list < LISTS).then_some(list)
    }

    /// The slot that came into `list` first.
    pub(super) fn oldest(&self, list: usize) -> Option<u32> {
        self.ends.get(list).map(|ends| ends.oldest).filter(|&slot| slot != NONE)
    }

    /// Puts `slot` at the young end of `list`, out of whatever list it was in.
    pub(super) fn append(&mut self, slot: u32, list: usize) {
        self.remove(slot);
        if self.links.len() <= slot as usize {
            self.links.resize(slot as usize + 1, Link::OUT);
        }
        let Some(ends) = self.ends.get_mut(list) else { return };
        let before = ends.newest;
        ends.newest = slot;
        if before == NONE {
            ends.oldest = slot;
        } else if let Some(link) = self.links.get_mut(before as usize) {
            link.after = slot;
        }
        if let Some(link) = self.links.get_mut(slot as usize) {
            *link = Link { before, after: NONE, list: list as u8 };
        }
    }

    /// Takes `slot` out of its list, if it is in one.
    pub(super) fn remove(&mut self, slot: u32) {
        let Some(list) = self.list_of(slot) else { return };
        let Some(link) = self.links.get_mut(slot as usize) else { return };
        let Link { before, after, .. } = std::mem::replace(link, Link::OUT);
        let Some(ends) = self.ends.get_mut(list) else { return };
        match self.links.get_mut(before as usize) {
            Some(link) => link.after = after,
            None => ends.oldest = after,
        }
        match self.links.get_mut(after as usize) {
            Some(link) => link.before = before,
            None => ends.newest = before,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
    list: u8,
}

impl Link {
    const OUT: Self = Self { before: NONE, after: NONE, list: u8::MAX };
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    oldest: u32,
    newest: u32,
}

const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(chains: &mut Chains<2>, list: usize) -> Vec<u32> {
        std::iter::from_fn(|| {
            let slot = chains.oldest(list)?;
            chains.remove(slot);
            Some(slot)
        })
        .collect()
    }

    #[test]
    fn keeps_the_order_of_arrival_whatever_is_taken_out() {
        let mut chains = Chains::<2>::new();
        for slot in 0..6 {
            chains.append(slot, 0);
        }
        chains.append(2, 0);
        chains.append(4, 1);
        chains.remove(0);
        chains.remove(0);
        assert_eq!(chains.list_of(4), Some(1));
        assert_eq!(chains.list_of(0), None);
        assert_eq!(drained(&mut chains, 0), [1, 3, 5, 2]);
        assert_eq!(drained(&mut chains, 1), [4]);
        assert_eq!(chains.oldest(0), None);
    }
}
