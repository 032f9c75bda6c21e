//! Following the files of one tail over everything that rotation does to them, so that each line is read once.
//!
//! ```text
//! rename        app.log (A) -> app.log.1 (A), app.log (B)      A is read on to its end, B from its beginning
//! missed        app.log (A) -> .1 (B), .2 (A), app.log (C)     B was never looked at under its own name: it is unknown, and read
//! copytruncate  app.log (A) = app.log.1 (D), then A is cut     D begins like A did: it is a copy, read from where A was left
//! ```
//!
//! A file is known by device and inode, and by its first bytes, because an inode is given again and a file is cut and
//! written anew. A name that rotation may have given ([`super::names`]) belongs to the log; what is compressed is passed
//! over.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::lines::split;
use super::names;
use super::positions::{Entry, Id};
use crate::Stamp;

/// The files of one tail.
#[derive(Debug)]
pub(super) struct Follower {
    patterns: Vec<PathBuf>,
    longest: usize,
    known: BTreeMap<Id, Known>,
    /// Files that are found now were there before anybody looked: what is in them is not news.
    skips_old: bool,
    /// A file was met that is known only when it has grown.
    unsettled: bool,
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

/// One file.
#[derive(Debug)]
struct Known {
    path: PathBuf,
    file: Option<File>,
    offset: u64,
    skips: bool,
    head: Vec<u8>,
    copy_of: Option<Id>,
    /// It has the name that is written to.
    is_live: bool,
    /// It has a name at all.
    is_listed: bool,
    /// When it last had something new.
    active: Stamp,
    modified: (i64, i64),
    size: u64,
}

/// A name and what it leads to.
struct Found {
    path: PathBuf,
    id: Id,
    size: u64,
    modified: (i64, i64),
    is_live: bool,
}

/// What one batch of lines came from.
pub(super) struct Source<'a> {
    pub(super) id: Id,
    pub(super) offset: u64,
    pub(super) skips: bool,
    pub(super) head: &'a [u8],
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
    /// Goes on where an earlier one stopped. Without `entries` nothing is known yet; then what is in files that are there
    /// is read only if `from_start`.
    pub(super) fn new(
        patterns: Vec<PathBuf>,
        entries: Vec<Entry>,
        from_start: bool,
        longest: usize,
        now: Stamp,
    ) -> Self {
        let skips_old = entries.is_empty() && !from_start;
        let known = entries.into_iter().map(|entry| {
            let Entry { id, offset, skips, copy_of, head, .. } = entry;
            let known = Known {
                path: PathBuf::new(),
                file: None,
                offset,
                skips,
                head,
                copy_of,
                is_live: false,
                is_listed: false,
                active: now,
                modified: (0, 0),
                size: offset,
            };
            (id, known)
        });
        let known = known.collect();
        Self {
            patterns,
            longest,
            known,
            skips_old,
            unsettled: false,
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
            self.unsettled = false;
            let found = self.list();
            self.open_again(&found);
            // Before anything unknown is looked at: a copy is known by what the file was before it was cut.
            self.look_for_cuts(to);
            self.note(&found, to);
        } else {
            self.look_for_cuts(to);
        }
        let mut more = false;
        // What was rotated away holds the older lines.
        let mut order: Vec<_> =
            self.known.iter().map(|(id, known)| (known.is_live, known.modified, *id)).collect();
        order.sort_unstable();
        for (_, _, id) in order {
            more |= self.read(id, to);
        }
        if look {
            self.forget(to);
            self.skips_old = false;
        }
        self.count();
        more
    }

    /// Names that are written to.
    fn live(&self) -> Vec<PathBuf> {
        let mut live = Vec::new();
        for pattern in &self.patterns {
            let paths = names::expand(pattern);
            let bases: Vec<&str> = paths.iter().filter_map(|path| path.file_name()?.to_str()).collect();
            let is_own = |path: &&PathBuf| {
                let name = path.file_name().and_then(|name| name.to_str());
                paths.len() == 1 || name.is_some_and(|name| !names::looks_rotated(name, &bases))
            };
            live.extend(paths.iter().filter(is_own).cloned());
        }
        live
    }

    /// Every file there is under a name that counts, the oldest first.
    fn list(&mut self) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        for path in self.live() {
            let path = real(&path);
            let Some(base) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let directory = path.parent().map_or(PathBuf::from("."), Path::to_owned);
            let rotated = fs::read_dir(&directory).into_iter().flatten().flatten().filter_map(|entry| {
                let name = entry.file_name();
                names::is_rotated(base, name.to_str()?).then(|| entry.path())
            });
            for (path, is_live) in rotated.map(|path| (path, false)).chain([(path.clone(), true)]) {
                match fs::metadata(&path) {
                    Ok(data) if data.is_file() => found.push(Found::new(path, &data, is_live)),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(_) => self.tally.errors += 1,
                }
            }
        }
        found.sort_by_key(|found| (found.is_live, found.modified));
        found
    }

    /// Opens what is known from before a restart, or has grown since it was closed.
    fn open_again(&mut self, found: &[Found]) {
        for file in found {
            let Some(known) = self.known.get_mut(&file.id) else { continue };
            let is_read = known.copy_of.is_none() && (file.is_live || file.size != known.offset);
            if known.file.is_none() && is_read {
                known.file = File::open(&file.path).inspect_err(|_| self.tally.errors += 1).ok();
                known.active = self.now;
            }
        }
    }

    /// Takes note of names, and of files that nobody knew.
    fn note(&mut self, found: &[Found], to: &mut impl Take) {
        let was_live: Vec<Id> =
            self.known.iter().filter(|(_, known)| known.is_live).map(|(id, _)| *id).collect();
        for known in self.known.values_mut() {
            (known.is_live, known.is_listed) = (false, false);
        }
        for file in found {
            if let Some(known) = self.known.get_mut(&file.id) {
                known.is_live |= file.is_live;
                known.is_listed = true;
            }
        }
        // What is written to comes first: a copy is known by what it is a copy of.
        for file in found.iter().filter(|file| file.is_live).chain(found.iter().filter(|file| !file.is_live))
        {
            if !self.known.contains_key(&file.id) {
                self.discover(file, to);
            }
            let Some(known) = self.known.get_mut(&file.id) else { continue };
            known.path.clone_from(&file.path);
            known.modified = file.modified;
            known.size = known.size.max(file.size);
        }
        let left = |id: &&Id| self.known.get(id).is_some_and(|known| !known.is_live);
        self.tally.rotations += was_live.iter().filter(left).count() as u64;
    }

    /// A file that is not known: a new one, one that was rotated before anybody saw it, or a copy of a known one.
    fn discover(&mut self, file: &Found, to: &mut impl Take) {
        // An empty one is met again when it has something.
        if file.size == 0 {
            self.unsettled |= file.is_live;
            return;
        }
        if self.known.len() >= MOST_FILES {
            self.tally.errors += 1;
            return;
        }
        let Ok(opened) = File::open(&file.path) else {
            self.tally.errors += 1;
            return;
        };
        let head = head_of(&opened, HEAD).unwrap_or_default();
        let is_copy =
            |known: &Known| known.is_live && !known.head.is_empty() && head.starts_with(&known.head);
        let may_become_one =
            |known: &Known| known.is_live && known.head.len() > head.len() && known.head.starts_with(&head);
        let original =
            self.known.iter().find(|(_, known)| !file.is_live && is_copy(known)).map(|(id, _)| *id);
        if original.is_none() && !file.is_live && self.known.values().any(may_become_one) {
            // It is being copied.
            self.unsettled = true;
            return;
        }
        let mut known = Known {
            path: file.path.clone(),
            file: Some(opened),
            offset: 0,
            skips: false,
            head,
            copy_of: original,
            is_live: file.is_live,
            is_listed: true,
            active: self.now,
            modified: file.modified,
            size: file.size,
        };
        if self.skips_old {
            known.offset = whole_lines(&known, file.size);
        } else if original.is_some() {
            known.file = None;
        }
        known.tell(file.id, to);
        self.known.insert(file.id, known);
    }

    /// Files that were cut since they were read: what was not read of them is in a copy, if anywhere.
    fn look_for_cuts(&mut self, to: &mut impl Take) {
        let cut: Vec<Id> = self.known.iter().filter(|(_, known)| known.is_cut()).map(|(id, _)| *id).collect();
        for id in cut {
            self.cut(id, to);
        }
    }

    fn cut(&mut self, id: Id, to: &mut impl Take) {
        self.tally.truncations += 1;
        let found = self.list();
        let Some(known) = self.known.get_mut(&id) else { return };
        // By what it begins with now, a copy of that is known too.
        let begins = known.file.as_ref().and_then(|file| head_of(file, HEAD).ok()).unwrap_or_default();
        let (head, offset, skips) = (std::mem::replace(&mut known.head, begins), known.offset, known.skips);
        (known.offset, known.skips, known.size, known.active) = (0, false, 0, self.now);
        // The newest file that begins as this one did, and is no other log.
        let mut copy = None;
        for file in found.iter().filter(|file| file.id != id && !file.is_live) {
            let is_free = self.known.get(&file.id).is_none_or(|known| known.copy_of == Some(id));
            let begins_so = || {
                let opened = File::open(&file.path).ok()?;
                let begins = head_of(&opened, head.len()).ok()?;
                // A copy that lacks lines may be shorter than what the file is known by.
                (!begins.is_empty() && head.starts_with(&begins)).then_some(opened)
            };
            if is_free
                && !head.is_empty()
                && let Some(opened) = begins_so()
            {
                copy = Some((file, opened));
            }
        }
        match copy {
            None => self.tally.without_copy += 1,
            Some((file, opened)) => {
                let mut head = head;
                head.truncate(file.size as usize);
                let copy = Known {
                    path: file.path.clone(),
                    file: Some(opened),
                    // It may lack lines that were written after it was made, and read before the cut.
                    offset: offset.min(file.size),
                    skips,
                    head,
                    copy_of: None,
                    is_live: false,
                    is_listed: true,
                    active: self.now,
                    modified: file.modified,
                    size: file.size,
                };
                // First the copy: if the agent dies in between, the file is found cut once more, and the copy known.
                copy.tell(file.id, to);
                self.known.insert(file.id, copy);
            }
        }
        if let Some(known) = self.known.get(&id) {
            known.tell(id, to);
        }
    }

    /// Reads one file as far as it goes, but not for ever; whether there may be more.
    fn read(&mut self, id: Id, to: &mut impl Take) -> bool {
        for _ in 0..MOST_CHUNKS {
            let Some(known) = self.known.get_mut(&id) else { return false };
            if known.copy_of.is_some() {
                return false;
            }
            let Some(file) = &known.file else { return false };
            let Ok(size) = file.metadata().map(|data| data.len()) else { return false };
            known.size = size;
            if size <= known.offset {
                return false;
            }
            let is_last = !known.is_live && known.is_quiet(self.now, QUIET_SECONDS);
            self.buffer.resize(CHUNK.min((size - known.offset) as usize), 0);
            let Ok(read) = file.read_at(&mut self.buffer, known.offset) else {
                self.tally.errors += 1;
                return false;
            };
            let bytes = self.buffer.get(..read).unwrap_or_default();
            // Had it been cut meanwhile, these bytes would be of another time.
            if read == 0 || known.is_cut() {
                return true;
            }
            if known.head.is_empty() {
                known.head = bytes.get(..read.min(HEAD)).unwrap_or_default().to_vec();
            } else if known.head.len() < HEAD {
                let head = head_of(file, HEAD).unwrap_or_default();
                if head.starts_with(&known.head) {
                    known.head = head;
                }
            }
            let mut lines: Vec<&[u8]> = Vec::new();
            let split = split(bytes, known.skips, is_last, self.longest, |line| lines.push(line));
            if split.used == 0 {
                return false;
            }
            known.offset += split.used as u64;
            known.skips = split.skips;
            known.active = self.now;
            self.tally.lines += lines.len() as u64;
            self.tally.bytes += split.used as u64;
            self.tally.cut += split.cut;
            to.take(&lines, &known.source(id));
        }
        true
    }

    /// Closes what has been read and is no longer written; forgets what has no name any more.
    fn forget(&mut self, to: &mut impl Take) {
        let now = self.now;
        let open = self.known.values().filter(|known| known.file.is_some()).count();
        let unlisted = if self.known.len() > MOST_FILES / 2 { 0.0 } else { UNLISTED_SECONDS };
        self.known.retain(|id, known| {
            let is_done = !known.is_live && known.offset >= known.size;
            if is_done && (known.is_quiet(now, QUIET_SECONDS) || open > MANY_OPEN) {
                known.file = None;
            }
            // A directory that is away for a moment is no reason to read everything again.
            let is_gone = !known.is_listed && known.file.is_none() && known.is_quiet(now, unlisted);
            if is_gone {
                to.take(&[], &Source { gone: true, ..known.source(*id) });
            }
            !is_gone
        });
    }

    fn count(&mut self) {
        self.tally.files = self.known.values().filter(|known| known.is_live).count() as u64;
        let behind = self.known.values().filter(|known| known.copy_of.is_none());
        self.tally.behind = behind.map(|known| known.size.saturating_sub(known.offset)).sum();
    }
}

impl Known {
    /// Whether it is shorter than what was read of it, or begins in another way.
    fn is_cut(&self) -> bool {
        let Some(file) = self.file.as_ref().filter(|_| self.copy_of.is_none()) else { return false };
        let Ok(data) = file.metadata() else { return false };
        data.len() < self.offset || head_of(file, self.head.len()).is_ok_and(|head| head != self.head)
    }

    fn is_quiet(&self, now: Stamp, seconds: f64) -> bool {
        now.seconds_since(self.active) >= seconds
    }

    fn source(&self, id: Id) -> Source<'_> {
        let Self { offset, skips, head, copy_of, .. } = self;
        Source { id, offset: *offset, skips: *skips, head, copy_of: *copy_of, gone: false }
    }

    fn tell(&self, id: Id, to: &mut impl Take) {
        to.take(&[], &self.source(id));
    }
}

impl Found {
    fn new(path: PathBuf, data: &Metadata, is_live: bool) -> Self {
        let id = Id { dev: data.dev(), ino: data.ino() };
        Self { path, id, size: data.len(), modified: (data.mtime(), data.mtime_nsec()), is_live }
    }
}

/// Up to where it has whole lines.
fn whole_lines(known: &Known, size: u64) -> u64 {
    let mut end = vec![0; size.min(CHUNK as u64) as usize];
    let from = size - end.len() as u64;
    let read = known.file.as_ref().map(|file| file.read_exact_at(&mut end, from));
    match (read, memchr::memrchr(b'\n', &end)) {
        (Some(Ok(())), Some(at)) => from + at as u64 + 1,
        _ => size,
    }
}

fn head_of(file: &File, len: usize) -> io::Result<Vec<u8>> {
    let mut head = vec![0; len];
    let read = file.read_at(&mut head, 0)?;
    head.truncate(read);
    Ok(head)
}

fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// First bytes by which a file is known again.
const HEAD: usize = 256;
/// Bytes read at once.
const CHUNK: usize = 1 << 20;
/// Chunks of one file before the next file has its turn.
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
