//! A file that was cut, as `copytruncate` does it: what was not read of it is in a copy, if anywhere.

use std::path::Path;

use super::super::body::Body;
use super::super::identity::{Fit, Id, Print};
use super::super::names;
use super::known::{Known, Role};
use super::list::{Found, MOST_LOOKS};
use super::{Follower, Take};

impl Follower {
    /// Begins a file anew, and reads its copy on from where the file was left.
    pub(super) fn cut(&mut self, id: Id, to: &mut impl Take) {
        self.tally.truncations += 1;
        let Some(known) = self.known.get_mut(&id) else { return };
        let print = std::mem::take(&mut known.print);
        let (offset, skips) = (known.offset, known.skips);
        (known.offset, known.skips, known.active) = (0, false, self.now);
        let log = known.log.clone();
        // The copy was made before the cut: it has a name by now, whatever was seen before. But names may be on the move.
        let is_read = offset > 0 || !print.head.is_empty();
        let mut looks = 0..if is_read { MOST_LOOKS } else { 0 };
        match looks.find_map(|_| self.heir(id, &log, &print, offset)) {
            None => self.tally.without_copy += 1,
            Some((file, body, fit)) => {
                // It may lack lines that were written after it was made, and read before the cut.
                let offset = if fit == Fit::Short { offset.min(file.size) } else { offset };
                let mut known = Known {
                    path: file.path,
                    log,
                    body: Some(body),
                    offset,
                    skips,
                    print,
                    role: Role::Own,
                    is_unproven: false,
                    is_live: false,
                    is_listed: true,
                    active: self.now,
                    order: self.next_order(),
                    size: file.size,
                };
                if fit == Fit::Short && !known.print_anew() {
                    self.tally.errors += 1;
                }
                // First the copy: if the agent dies in between, the file is found cut once more, and the copy known.
                known.tell(file.id, to);
                self.known.insert(file.id, known);
            }
        }
        if let Some(known) = self.known.get(&id) {
            known.tell(id, to);
        }
    }

    /// The oldest file that says what was read of this one, and is read nowhere; else the newest of those that are too
    /// short to say all of it.
    fn heir(&mut self, id: Id, log: &Path, print: &Print, offset: u64) -> Option<(Found, Body, Fit)> {
        let mut short = None;
        for mut file in self.list() {
            let is_free = self
                .known
                .get(&file.id)
                .is_none_or(|known| known.role == Role::CopyOf(id) || matches!(known.role, Role::Unsure(_)));
            if file.id == id || file.is_live || *file.log != *log || file.id.is_older(id) || !is_free {
                continue;
            }
            let kept = self.known.get_mut(&file.id).and_then(|known| known.body.take());
            let opened = file.file.take().map(|opened| Body::new(opened, names::is_packed(&file.path)));
            let Some(mut body) = kept.or(opened).or_else(|| file.open().ok().flatten()) else { continue };
            match print.fits(&mut body, offset) {
                Ok(Fit::Whole) => return Some((file, body, Fit::Whole)),
                Ok(Fit::Short) => short = Some((file, body, Fit::Short)),
                Ok(Fit::No) | Err(_) => {
                    if let Some(known) = self.known.get_mut(&file.id) {
                        known.body = Some(body);
                    }
                }
            }
        }
        short
    }
}
