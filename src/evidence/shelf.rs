//! The directory of the files: what is in it, what is looked for, what has to go.
//!
//! ```text
//! 20261129T165136.123Z-6ae1…32 digits….pcapng     start of the call, id of its trace
//! ```
//!
//! A file stands under its name only when it is whole (0600). What is asked for over HTTP is looked up in the list of
//! what is there, by ids of traces: no part of a request ever becomes part of a path.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use super::case::names;
use super::pcapng;
use super::stats::{Stats, add, set};
use crate::Stamp;
use crate::export::trace_id::TraceId;

/// What stays on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Files.
    pub files: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Days since they were written.
    pub days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { files: 1000, bytes: 1 << 30, days: 7 }
    }
}

/// The directory.
#[derive(Debug)]
pub struct Shelf {
    directory: PathBuf,
    retention: Retention,
    kept: Mutex<Vec<Kept>>,
    /// Why the last file could not be written.
    problem: Mutex<Option<String>>,
    stats: Arc<Stats>,
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    name: String,
    bytes: u64,
    written: Stamp,
    /// Ids of traces: its own, and one for each Call-ID.
    ids: Vec<String>,
}

/// A file as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What it is called.
    pub name: String,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// A file that is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    /// Its name.
    pub name: String,
    /// How large it was.
    pub bytes: u64,
    /// Why: `age`, `count` or `bytes`.
    pub why: &'static str,
}

/// A file is larger than all of them may be together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is larger than all files may be together (evidence.keep_bytes)")]
pub(super) struct TooLarge;

impl Shelf {
    /// Makes the directory if need be, and looks what is in it; remains of a write that was broken off are removed.
    pub fn open(directory: &Path, retention: Retention, stats: Arc<Stats>) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut kept = Vec::new();
        for entry in fs::read_dir(directory)? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if name.starts_with(PART) {
                let _ = fs::remove_file(directory.join(&name));
            } else if is_ours(&name) {
                // One that cannot be read is not ours to serve, nor to remove.
                kept.extend(look(directory, name));
            }
        }
        kept.sort_by(|a, b| (a.written, &a.name).cmp(&(b.written, &b.name)));
        let shelf = Self {
            directory: directory.to_owned(),
            retention,
            kept: Mutex::new(kept),
            problem: Mutex::default(),
            stats,
        };
        shelf.count(&shelf.kept());
        Ok(shelf)
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Why the last file could not be written.
    pub fn problem(&self) -> Option<String> {
        whole(&self.problem).clone()
    }

    /// Puts a file there, over one of the same name, and removes what has to go for it.
    pub(super) fn put(
        &self,
        start: Stamp,
        trace: TraceId,
        file: &[u8],
        now: Stamp,
    ) -> Result<(String, Vec<Purged>), PutError> {
        let bytes = file.len() as u64;
        if bytes > self.retention.bytes {
            return Err(TooLarge.into());
        }
        let name = format!("{}-{trace}{SUFFIX}", compact(start));
        let purged = self.purge(now, bytes, 1);
        let written = self.write(&name, file);
        *whole(&self.problem) = written.as_ref().err().map(ToString::to_string);
        written?;
        let ids = pcapng::comment(file).into_iter().flat_map(names).collect();
        let mut kept = self.kept();
        kept.retain(|kept| kept.name != name);
        kept.push(Kept { name: name.clone(), bytes, written: now, ids });
        self.count(&kept);
        Ok((name, purged))
    }

    fn write(&self, name: &str, file: &[u8]) -> io::Result<()> {
        let mut part = tempfile::Builder::new().prefix(PART).tempfile_in(&self.directory)?;
        part.write_all(file)?;
        part.persist(self.directory.join(name)).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes what was kept for its time, and the oldest of what is too much with so many files and bytes more.
    pub(super) fn purge(&self, now: Stamp, more_bytes: u64, more_files: usize) -> Vec<Purged> {
        let mut kept = self.kept();
        let mut bytes = kept.iter().map(|kept| kept.bytes).sum::<u64>() + more_bytes;
        let mut files = kept.len() + more_files;
        let mut purged = Vec::new();
        kept.retain(|file| {
            let days = now.nanos_since(file.written) / NANOS_PER_DAY;
            let why = match () {
                () if days >= i64::from(self.retention.days) => "age",
                () if files > self.retention.files => "count",
                () if bytes > self.retention.bytes => "bytes",
                () => return true,
            };
            match fs::remove_file(self.directory.join(&file.name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    add(&self.stats.keep_errors, 1);
                    return true;
                }
                // Somebody else's removal is not told as ours.
                Err(_) => {}
                Ok(()) => purged.push(Purged { name: file.name.clone(), bytes: file.bytes, why }),
            }
            files -= 1;
            bytes -= file.bytes;
            false
        });
        self.count(&kept);
        for Purged { why, .. } in &purged {
            let counter = match *why {
                "age" => &self.stats.purged_by_age,
                "count" => &self.stats.purged_by_count,
                _ => &self.stats.purged_by_bytes,
            };
            add(counter, 1);
        }
        purged
    }

    /// The last file of a call, by its Call-ID or the id of its trace.
    pub fn find(&self, id: &str) -> Option<String> {
        let of_call_id = TraceId::of_call_id(id).to_string();
        let kept = self.kept();
        let file =
            kept.iter().rev().find(|file| file.ids.iter().any(|known| *known == of_call_id || known == id));
        file.map(|file| file.name.clone())
    }

    /// A file that [`Shelf::find`] has found; `None` when it has gone since.
    pub fn read(&self, name: &str) -> io::Result<Option<File>> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(self.directory.join(name));
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.take(self.retention.bytes).read_to_end(&mut bytes)?;
        Ok(Some(File { name: name.to_owned(), bytes }))
    }

    fn count(&self, kept: &[Kept]) {
        set(&self.stats.files, kept.len() as u64);
        set(&self.stats.file_bytes, kept.iter().map(|file| file.bytes).sum());
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        whole(&self.kept)
    }
}

/// Why a file is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum PutError {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Everything is whole after every step, so a thread that died left nothing half done.
fn whole<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn look(directory: &Path, name: String) -> Option<Kept> {
    let path = directory.join(&name);
    let told = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
    let written = told.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let mut head = Vec::new();
    fs::File::open(&path).ok()?.take(HEAD).read_to_end(&mut head).ok()?;
    let ids = pcapng::comment(&head).into_iter().flat_map(names).collect();
    Some(Kept { name, bytes: told.len(), written: Stamp(written.as_nanos() as u64), ids })
}

/// `20261129T165136.123Z`
fn compact(at: Stamp) -> String {
    let text = at.to_string();
    let mut compact: String = text.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    compact.truncate("20261129T165136.123".len());
    compact.push('Z');
    compact
}

/// Whether a name is one of those that are given here.
fn is_ours(name: &str) -> bool {
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = || {
        let (time, trace) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        let (day, time) = time.strip_suffix('Z')?.split_once('T')?;
        let (seconds, millis) = time.split_once('.')?;
        let is_trace = trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(digits(day, 8) && digits(seconds, 6) && digits(millis, 3) && is_trace)
    };
    parts().unwrap_or(false)
}

const SUFFIX: &str = ".pcapng";
/// How files begin that are not whole yet.
const PART: &str = ".evidence-";
/// The comment is within it.
const HEAD: u64 = 64 << 10;
const NANOS_PER_DAY: i64 = 86_400_000_000_000;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::evidence::pcapng::Pcapng;

    const NOW: Stamp = Stamp(1_795_953_600_123_456_789);

    fn file(call_ids: &[&str], size: usize) -> Vec<u8> {
        let mut file = Pcapng::default();
        let ids: String = call_ids.iter().flat_map(|id| ["call_id: ", id, "\n"]).collect();
        file.section(&ids);
        file.packet(0, NOW, size, &vec![0; size]);
        file.0
    }

    fn shelf(directory: &Path, retention: Retention) -> Shelf {
        Shelf::open(directory, retention, Arc::default()).unwrap()
    }

    fn put(shelf: &Shelf, call_id: &str, second: u64) -> (String, Vec<Purged>) {
        let at = NOW.plus_seconds(second);
        shelf.put(at, TraceId::of_call_id(call_id), &file(&[call_id, "leg"], 1000), at).unwrap()
    }

    #[test]
    fn a_file_is_found_by_each_of_its_names_also_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("a/b");
        let first = shelf(&below, Retention::default());
        let (name, _) = put(&first, "one@host", 0);
        assert_eq!(name, format!("20261129T120000.123Z-{}.pcapng", TraceId::of_call_id("one@host")));
        fs::write(below.join(".evidence-x"), "broken off").unwrap();
        fs::write(below.join("notes.txt"), "of somebody").unwrap();
        for shelf in [first, shelf(&below, Retention::default())] {
            for id in ["one@host", "leg", &TraceId::of_call_id("one@host").to_string()] {
                assert_eq!(shelf.find(id).as_ref(), Some(&name), "{id}");
            }
            let read = shelf.read(&name).unwrap().unwrap();
            assert_eq!(read.bytes, file(&["one@host", "leg"], 1000));
            for id in ["", "..", "../notes.txt", "notes.txt", &name, "/etc/passwd", "two@host"] {
                assert_eq!(shelf.find(id), None, "{id}");
            }
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&below), mode(&below.join(&name))), (0o700, 0o600));
        assert!(!below.join(".evidence-x").exists() && below.join("notes.txt").exists());
    }

    #[test]
    fn the_oldest_go_by_number_bytes_and_age() {
        let directory = tempfile::tempdir().unwrap();
        let size = file(&["0", "leg"], 1000).len() as u64;
        let retention = Retention { files: 3, bytes: 100 * size, days: 2 };
        let by_count = shelf(directory.path(), retention);
        let mut names = Vec::new();
        for n in 0..5 {
            let (name, purged) = put(&by_count, &n.to_string(), n);
            let expected: Vec<_> = names.get((n as usize).wrapping_sub(3)).into_iter().collect();
            assert_eq!(purged.iter().map(|purged| &purged.name).collect::<Vec<_>>(), expected);
            assert!(purged.iter().all(|purged| purged.why == "count"));
            names.push(name);
        }
        assert_eq!((by_count.find("1"), by_count.find("4").as_ref()), (None, names.last()));
        let by_bytes = shelf(directory.path(), Retention { bytes: 2 * size, ..retention });
        let purged = by_bytes.purge(NOW, 0, 0);
        assert_eq!(purged.iter().map(|purged| purged.why).collect::<Vec<_>>(), ["bytes"]);
        let large = file(&["x"], 3000);
        let refused = by_bytes.put(NOW, TraceId::of_call_id("x"), &large, NOW);
        assert!(matches!(refused, Err(PutError::TooLarge(_))));
        assert_eq!(by_bytes.kept().len(), 2);
        let later = Stamp(by_bytes.kept().last().unwrap().written.0).plus_seconds(3 * 86_400);
        assert!(by_bytes.purge(later, 0, 0).iter().all(|purged| purged.why == "age"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = shelf(directory.path(), Retention::default());
        let (name, _) = put(&shelf, "one", 0);
        let path = directory.path().join(&name);
        fs::remove_file(&path).unwrap();
        assert_eq!(shelf.read(&name).unwrap(), None);
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(shelf.read(&name).is_err());
        assert!(look(directory.path(), name).is_none());
    }
}
