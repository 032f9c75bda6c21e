//! Capture files: pcap and pcapng, plain, `.gz` or `.zst`, directories of them, stdin; in order of packet time.
//!
//! The files are sorted by their first packet. At any time the open file with the earliest next packet is
//! read, up to the time at which another file has one: files that do not overlap are read one after the
//! other at full speed, files that do are merged, ties in the order of the files. Only files whose time has
//! come are open.
//!
//! A capture written by several CPUs is out of order by microseconds, so a file that was cut in two may
//! overlap with itself at the cut. What is left of a file is therefore read to its end first when it reaches
//! less than `CUT_OVERLAP_NANOS` into a file that has not begun. Thus the parts yield the same sequence as
//! the whole.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::fault::{Fault, FaultKind};
use super::input::{Input, STDIN};
use super::reader::Reader;
use super::{Error, Progress, Source, Take};
use crate::Stamp;

/// A set of capture files, read as one.
#[derive(Default)]
pub struct Files {
    /// Not begun, by the time of their first packet.
    waiting: VecDeque<Waiting>,
    active: Vec<Active>,
    captures: Vec<PathBuf>,
    faults: Vec<Fault>,
    bytes_read: Arc<AtomicU64>,
    bytes_total: u64,
    unbounded: bool,
}

impl Files {
    /// Looks at every file, and at every capture in every directory, sub-directories included. `-` is stdin.
    /// Never fails: what cannot be read is in [`Files::faults`] at once.
    pub fn open<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Self {
        let mut files = Self::default();
        for path in paths {
            files.add(path.as_ref());
        }
        files.sort();
        files
    }

    /// A single capture from anywhere; `name` stands in faults.
    pub fn from_reader(name: &str, reader: impl Read + Send + 'static) -> Self {
        let mut files = Self::default();
        let input = Input::new(reader, &files.bytes_read);
        files.add_stream(name, input);
        files.sort();
        files
    }

    /// The captures recognised, in reading order, also those without packets.
    pub fn captures(&self) -> &[PathBuf] {
        &self.captures
    }

    /// What was found wrong so far.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Bytes read from the disk so far, and of all files together unless one is a pipe.
    pub fn progress(&self) -> (u64, Option<u64>) {
        let total = (!self.unbounded).then_some(self.bytes_total);
        (self.bytes_read.load(Ordering::Relaxed), total)
    }

    fn add(&mut self, path: &Path) {
        if path.as_os_str() == STDIN {
            return self.add_stream("stdin", Input::open(path, &self.bytes_read));
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let known = |files: &Self| (files.waiting.len(), files.captures.len(), files.faults.len());
                let before = known(self);
                self.add_directory(path);
                if known(self) == before {
                    self.fault(path, FaultKind::Missing, "a directory without captures".into());
                }
            }
            Ok(metadata) if metadata.is_file() => self.add_file(path, metadata.len(), false),
            Ok(_) => self.add_stream(&path.to_string_lossy(), Input::open(path, &self.bytes_read)),
            Err(error) => self.unopened(path, &error),
        }
    }

    fn add_directory(&mut self, directory: &Path) {
        let entries = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.unopened(directory, &error),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            // A link to a directory could lead back here.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.add_directory(&path);
            } else if let Ok(metadata) = fs::metadata(&path)
                && metadata.is_file()
            {
                self.add_file(&path, metadata.len(), true);
            }
        }
    }

    /// Finds the first packet, then closes the file again: a directory may hold more files than a process may
    /// open.
    fn add_file(&mut self, path: &Path, length: u64, found: bool) {
        let mut reader = match Input::open(path, &Arc::default()) {
            Ok(input) => Reader::new(input),
            Err(error) => return self.unopened(path, &error),
        };
        let first = reader.head();
        let no_capture =
            reader.damage().is_some_and(|(d, _)| matches!(d.kind, FaultKind::Foreign | FaultKind::Empty));
        if no_capture && found && !is_named_capture(path) {
            return;
        }
        self.bytes_total += length;
        self.admit(path.into(), first, reader, false);
    }

    fn add_stream(&mut self, name: &str, input: io::Result<Input>) {
        self.unbounded = true;
        match input {
            Ok(input) => {
                let mut reader = Reader::new(input);
                let first = reader.head();
                self.admit(name.into(), first, reader, true);
            }
            Err(error) => self.unopened(Path::new(name), &error),
        }
    }

    fn admit(&mut self, path: PathBuf, first: Option<Stamp>, reader: Reader, keep_open: bool) {
        if let Some(first) = first {
            self.waiting.push_back(Waiting { path, first, order: 0, reader: keep_open.then_some(reader) });
        } else if self.close(&path, &reader) {
            self.captures.push(path);
        }
    }

    fn sort(&mut self) {
        let waiting = self.waiting.make_contiguous();
        waiting.sort_by_key(|file| file.first);
        for (order, file) in waiting.iter_mut().enumerate() {
            file.order = order;
        }
        self.captures.splice(..0, waiting.iter().map(|file| file.path.clone()));
    }

    /// Opens the files whose first packet is the next of all.
    fn begin_due(&mut self, take: &mut Take<'_>) {
        while let Some(next) = self.waiting.front() {
            let begins = (next.first, next.order);
            if self.active.iter().any(|file| file.next() < begins) {
                return;
            }
            let cut_here = next.first.plus_nanos(CUT_OVERLAP_NANOS);
            if let [only] = self.active.as_mut_slice()
                && only.reader.ends_by(cut_here)
            {
                only.reader.deliver(|_| true, take);
                self.look_at_head(0);
                continue;
            }
            let Some(next) = self.waiting.pop_front() else { return };
            let reader = match next.reader {
                Some(reader) => reader,
                None => match Input::open(&next.path, &self.bytes_read) {
                    Ok(input) => Reader::new(input),
                    Err(error) => {
                        self.unopened(&next.path, &error);
                        continue;
                    }
                },
            };
            self.active.push(Active { path: next.path, order: next.order, head: next.first, reader });
            self.look_at_head(self.active.len() - 1);
        }
    }

    fn look_at_head(&mut self, index: usize) {
        let Some(file) = self.active.get_mut(index) else { return };
        if let Some(head) = file.reader.head() {
            file.head = head;
        } else {
            let Active { path, reader, .. } = self.active.swap_remove(index);
            self.close(&path, &reader);
        }
    }

    /// Keeps the fault that ended a file, if any; true when it was a capture at all.
    fn close(&mut self, path: &Path, reader: &Reader) -> bool {
        let Some((damage, offset)) = reader.damage() else { return true };
        let where_counted =
            if reader.compressed() && offset > 0 { " (bytes after decompression)" } else { "" };
        let message = format!("{}{where_counted}", damage.message);
        self.faults.push(Fault { path: path.into(), offset, kind: damage.kind, message });
        !matches!(damage.kind, FaultKind::Foreign | FaultKind::Empty)
    }

    fn unopened(&mut self, path: &Path, error: &io::Error) {
        let (kind, message) = match error.kind() {
            io::ErrorKind::NotFound => (FaultKind::Missing, "no such file; check the path".into()),
            io::ErrorKind::PermissionDenied => {
                (FaultKind::Unreadable, "permission denied; make it readable for this user".into())
            }
            _ => (FaultKind::Unreadable, format!("cannot be opened: {error}")),
        };
        self.fault(path, kind, message);
    }

    fn fault(&mut self, path: &Path, kind: FaultKind, message: String) {
        self.faults.push(Fault { path: path.into(), offset: 0, kind, message });
    }
}

impl Source for Files {
    fn poll(&mut self, take: &mut Take<'_>) -> Result<Progress, Error> {
        self.begin_due(take);
        let earliest = (0..self.active.len()).min_by_key(|&i| self.active.get(i).map(Active::next));
        let others = self.active.iter().enumerate().filter(|&(i, _)| Some(i) != earliest);
        let limit = others
            .map(|(_, file)| file.next())
            .chain(self.waiting.front().map(|file| (file.first, file.order)))
            .min()
            .unwrap_or((Stamp(u64::MAX), usize::MAX));
        if let Some(index) = earliest
            && let Some(file) = self.active.get_mut(index)
        {
            let order = file.order;
            file.reader.deliver(|stamp| (stamp, order) < limit, take);
            self.look_at_head(index);
        }
        let over = self.active.is_empty() && self.waiting.is_empty();
        Ok(if over { Progress::End } else { Progress::More })
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("captures", &self.captures)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

struct Waiting {
    path: PathBuf,
    first: Stamp,
    /// Place among all files.
    order: usize,
    /// Kept open because it cannot be read twice.
    reader: Option<Reader>,
}

struct Active {
    path: PathBuf,
    order: usize,
    head: Stamp,
    reader: Reader,
}

impl Active {
    fn next(&self) -> (Stamp, usize) {
        (self.head, self.order)
    }
}

/// `a.pcap`, `a.pcap12` (rotated), `a.pcapng.gz`, `a.cap`.
fn is_named_capture(path: &Path) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit());
    [".pcap", ".pcapng", ".cap"].iter().any(|suffix| name.ends_with(suffix))
}

/// How far one file may reach into the next one and still count as cut off there.
const CUT_OVERLAP_NANOS: i64 = 200_000;
