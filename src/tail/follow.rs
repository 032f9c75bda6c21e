//! Following the files of one tail over everything that rotation does to them, so that each line is read once.
//!
//! ```text
//! rename        app.log (A) -> app.log.1 (A), app.log (B)      A is read on to its end, B from its beginning
//! missed        app.log (A) -> .1 (B), .2 (A), app.log (C)     B was never looked at under its own name: it is unknown, and read
//! copytruncate  app.log (A) = app.log.1 (D), then A is cut     D is younger than A and says the same: it is read from where A
//!                                                              was left, once A is cut
//! compressed    app.log.1 (A) -> app.log.1.gz (E)              E says what A said: it is read from where A was left, once A is
//!                                                              gone
//! ```
//!
//! A file is known by its [`Id`], and what was read of it by its [`Print`]. It is opened when it is first seen, and stays
//! open until it is read to its end and nobody writes to it any more; so nothing is lost that is deleted meanwhile. A name
//! that rotation may have given ([`super::names`]) belongs to the log.
//!
//! A rotated file was made before the one that is written to now, a copy after it: that tells them apart where file
//! systems keep the time of birth. Where they do not, or within one tick of their clock, what both say must tell.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::body::Body;
use super::identity::{Id, Print};
use super::lines::split;
use super::names;
use super::positions::Entry;
use crate::Stamp;

mod cut;
mod discover;
mod known;
mod list;

use known::{Fetched, Known, Role};
use list::{Found, real};

/// The files of one tail.
#[derive(Debug)]
pub(super) struct Follower {
    patterns: Vec<PathBuf>,
    longest: usize,
    known: BTreeMap<Id, Known>,
    /// Files that are found now were there before anybody looked: what is in them is not news.
    skips_old: bool,
    /// It is not on disk yet that somebody has looked.
    is_first: bool,
    /// A file was met of which it cannot be said yet what it is.
    unsettled: bool,
    /// For the next file that is met.
    order: u64,
    buffer: Vec<u8>,
    now: Stamp,
    pub(super) tally: Tally,
}

/// What was met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) lines: u64,
    pub(super) bytes: u64,
    /// Lines that were cut.
    pub(super) cut: u64,
    /// Files that had another inode under their name.
    pub(super) rotations: u64,
    /// Files that were cut and begun anew.
    pub(super) truncations: u64,
    /// Of those, without a copy of what was not read yet, if there was any.
    pub(super) without_copy: u64,
    /// Files that could not be read.
    pub(super) errors: u64,
    /// Files that are followed.
    pub(super) files: u64,
    /// Bytes that are there and not read yet.
    pub(super) behind: u64,
}

/// What one batch of lines came from.
pub(super) struct Source<'a> {
    pub(super) id: Id,
    pub(super) offset: u64,
    pub(super) skips: bool,
    pub(super) print: &'a Print,
    pub(super) copy_of: Option<Id>,
    /// It is forgotten.
    pub(super) gone: bool,
}

/// Takes lines, and how far the file is read with them.
pub(super) trait Take {
    /// All lines of a batch, which may be none.
    fn take(&mut self, lines: &[&[u8]], source: &Source<'_>);
}

impl Follower {
    /// Goes on where an earlier one stopped. Without `entries` nobody has ever looked; then what is in files that are there
    /// is read only if `from_start`.
    pub(super) fn new(
        patterns: Vec<PathBuf>,
        mut entries: Vec<Entry>,
        from_start: bool,
        longest: usize,
        now: Stamp,
    ) -> Self {
        let is_first = entries.is_empty();
        entries.retain(|entry| entry.id != Id::default());
        entries.sort_by_key(|entry| (entry.id.born, entry.serial));
        let order = entries.len() as u64;
        let known = entries.into_iter().zip(0..).map(|(entry, order)| Known::again(entry, order, now));
        Self {
            patterns,
            longest,
            known: known.collect(),
            skips_old: is_first && !from_start,
            is_first,
            unsettled: false,
            order,
            buffer: Vec::new(),
            now,
            tally: Tally::default(),
        }
    }

    /// Directories in which something may happen.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let mut directories: Vec<_> = self
            .live()
            .into_iter()
            .flat_map(|path| [path.parent().map(Path::to_owned), real(&path).parent().map(Path::to_owned)])
            .flatten()
            .chain(self.patterns.iter().map(|pattern| names::fixed_directory(pattern)))
            .map(|directory| if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory })
            .collect();
        directories.sort();
        directories.dedup();
        directories
    }

    /// Reads what is new; whether it may be more. `look` for new names too, else only at files that are open.
    pub(super) fn round(&mut self, now: Stamp, look: bool, to: &mut impl Take) -> bool {
        self.now = now;
        let look = look || self.unsettled;
        if look {
            self.look(to);
        }
        let more = self.read_all(to);
        if look {
            self.close();
            self.forget(to);
            if std::mem::take(&mut self.is_first) {
                // What comes while no agent is there is news.
                let print = Print::default();
                let id = Id::default();
                to.take(
                    &[],
                    &Source { id, offset: 0, skips: false, print: &print, copy_of: None, gone: false },
                );
            }
            self.skips_old = false;
        }
        self.tally.files = self.known.values().filter(|known| known.is_live).count() as u64;
        self.tally.behind = self.known.values().map(Known::behind).sum();
        more
    }

    fn look(&mut self, to: &mut impl Take) {
        self.unsettled = false;
        let found = self.list();
        self.take_names(&found);
        self.open_again(&found);
        // Before anything unknown is looked at: a copy is known by what the file was before it was cut.
        let cut: Vec<Id> =
            self.known.iter_mut().filter_map(|(id, known)| known.is_cut().then_some(*id)).collect();
        for id in cut {
            self.cut(id, to);
        }
        self.discover_all(found, to);
    }

    /// Takes note of which file has which name now.
    fn take_names(&mut self, found: &[Found]) {
        let was_live: Vec<Id> =
            self.known.iter().filter(|(_, known)| known.is_live).map(|(id, _)| *id).collect();
        for known in self.known.values_mut() {
            (known.is_live, known.is_listed) = (false, false);
        }
        for file in found {
            let Some(known) = self.known.get_mut(&file.id) else { continue };
            known.is_live |= file.is_live;
            known.is_listed = true;
            known.path.clone_from(&file.path);
            known.log = Arc::clone(&file.log);
        }
        let left = |id: &&Id| self.known.get(id).is_some_and(|known| !known.is_live);
        self.tally.rotations += was_live.iter().filter(left).count() as u64;
    }

    /// Opens what is known from before a restart, or has grown since it was closed. While nobody held it, its number may
    /// have been given to another file within one tick of the clock: what does not begin as it did is not known.
    fn open_again(&mut self, found: &[Found]) {
        for file in found {
            let Some(known) = self.known.get_mut(&file.id) else { continue };
            let has_grown = std::mem::replace(&mut known.size, file.size) != file.size;
            let is_packed = names::is_packed(&file.path);
            let is_read = known.role == Role::Own
                && (file.is_live || is_packed || has_grown || file.size != known.offset);
            if known.body.is_some() || !(is_read || known.is_unproven) {
                continue;
            }
            known.body = file.open().inspect_err(|_| self.tally.errors += 1).ok().flatten();
            known.active = self.now;
            if known.body.is_none() || !std::mem::take(&mut known.is_unproven) {
                continue;
            }
            // One that is written to may have been cut.
            let may_differ = known.role == Role::Own && file.is_live;
            if !may_differ && !known.has_its_head().unwrap_or(false) {
                self.known.remove(&file.id);
            } else if is_packed && known.role != Role::Own {
                known.body = None;
            }
        }
    }

    /// Reads every file, those that were met first before the others. As long as one of a log has more, those that come
    /// after it wait.
    fn read_all(&mut self, to: &mut impl Take) -> bool {
        let mut order: Vec<_> =
            self.known.iter().map(|(id, known)| (known.is_live, known.order, *id)).collect();
        order.sort_unstable();
        let mut unfinished: Vec<Arc<Path>> = Vec::new();
        for (_, _, id) in order {
            let Some(log) = self.known.get(&id).map(|known| Arc::clone(&known.log)) else { continue };
            if !unfinished.contains(&log) && self.read(id, to) {
                unfinished.push(log);
            }
        }
        !unfinished.is_empty()
    }

    /// Reads one file as far as it goes, but not for ever; whether there may be more.
    fn read(&mut self, id: Id, to: &mut impl Take) -> bool {
        for _ in 0..MOST_CHUNKS {
            let Some(known) = self.known.get_mut(&id).filter(|known| known.role == Role::Own) else {
                return false;
            };
            self.buffer.resize(CHUNK, 0);
            let range = match known.fetch(&mut self.buffer) {
                Ok(Fetched::Bytes(range)) => range,
                Ok(Fetched::Nothing) if known.body.as_ref().is_some_and(Body::is_over) => {
                    known.close_packed(id, to);
                    return false;
                }
                Ok(Fetched::Nothing) => return false,
                Ok(Fetched::Cut) => {
                    self.cut(id, to);
                    return true;
                }
                Err(_) => {
                    self.tally.errors += 1;
                    return false;
                }
            };
            let bytes = self.buffer.get(range).unwrap_or_default();
            let is_over = known.body.as_ref().is_some_and(Body::is_over);
            let is_last = is_over || (!known.is_live && known.is_quiet(self.now, QUIET_SECONDS));
            let mut lines: Vec<&[u8]> = Vec::new();
            let split = split(bytes, known.skips, is_last, self.longest, |line| lines.push(line));
            if split.used == 0 {
                return false;
            }
            known.advance(bytes.get(..split.used).unwrap_or_default(), split.skips, self.now);
            self.tally.lines += lines.len() as u64;
            self.tally.bytes += split.used as u64;
            self.tally.cut += split.cut;
            to.take(&lines, &known.source(id));
        }
        true
    }

    /// Closes what has been read and is no longer written. With too many files open, those that were silent longest are.
    fn close(&mut self) {
        let is_idle = |known: &Known| !known.is_live && known.body.is_some() && known.is_done();
        let open = self.known.values().filter(|known| known.body.is_some()).count();
        let mut idle: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| is_idle(known))
            .map(|(id, known)| (known.active, known.order, *id))
            .collect();
        idle.sort_unstable();
        for (at, (_, _, id)) in idle.into_iter().enumerate() {
            let Some(known) = self.known.get_mut(&id) else { continue };
            if at + MANY_OPEN < open || known.is_quiet(self.now, QUIET_SECONDS) {
                known.body = None;
            }
        }
    }

    /// Forgets what has no name any more. A directory that is away for a moment is no reason to read everything again.
    fn forget(&mut self, to: &mut impl Take) {
        let now = self.now;
        let unlisted = if self.known.len() > MOST_FILES / 2 { 0.0 } else { UNLISTED_SECONDS };
        self.known.retain(|id, known| {
            let is_gone = !known.is_listed && known.body.is_none() && known.is_quiet(now, unlisted);
            if is_gone {
                to.take(&[], &Source { gone: true, ..known.source(*id) });
            }
            !is_gone
        });
    }
}

/// Bytes read at once.
const CHUNK: usize = 1 << 20;
/// Chunks of one file before the next log has its turn.
const MOST_CHUNKS: usize = 16;
/// A file that was rotated away and had nothing new for so long is not written any more.
const QUIET_SECONDS: f64 = 5.0;
/// What has no name any more is forgotten after so long.
const UNLISTED_SECONDS: f64 = 600.0;
/// With more files open than this, those that are read are closed at once.
const MANY_OPEN: usize = 128;
const MOST_FILES: usize = 8192;

#[cfg(test)]
mod tests;
