//! What becomes of a file that was turned over: it is compressed, kept for its time, and purged.
//!
//! A file goes when its day is longer ago than its log is kept. Of the files that were full before their day was over,
//! which a flood may make many of, only the last few stay; not so in the audit. What went is told in the audit.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Stream;
use super::audit;
use super::file::{Day, compressed};
use crate::Stamp;

/// How long files are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Days of each log, by [`Stream::index`].
    pub days: [u32; 3],
    /// Full files of the same log.
    pub full_files: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self { days: [90, 365, 30], full_files: 10 }
    }
}

/// A file that is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    /// Its log.
    pub stream: Stream,
    /// Its name.
    pub name: String,
    /// Why: `age` or `count`.
    pub why: &'static str,
    /// Of an audit file, the number of its last line.
    pub last_sequence: Option<u64>,
}

/// A file that was turned over.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Closed {
    path: PathBuf,
    stream: Stream,
    day: Day,
    /// `None`: it was closed because its day was over.
    number: Option<u64>,
    is_compressed: bool,
}

/// Compresses a closed file; what is left of an attempt that was broken off is replaced.
pub fn compress(path: &Path) -> io::Result<()> {
    let (whole, mut part) = (compressed(path), path.as_os_str().to_owned());
    part.push(PART);
    let part = PathBuf::from(part);
    let mut from = BufReader::with_capacity(CHUNK, File::open(path)?);
    let to = fs::OpenOptions::new().write(true).create(true).truncate(true).open(&part)?;
    to.set_permissions(from.get_ref().metadata()?.permissions())?;
    let mut encoder = GzEncoder::new(BufWriter::with_capacity(CHUNK, to), Compression::new(LEVEL));
    let copied = io::copy(&mut from, &mut encoder).and_then(|_| {
        let mut buffer = encoder.finish()?;
        buffer.flush()?;
        buffer.get_ref().sync_all()
    });
    if let Err(error) = copied.and_then(|()| fs::rename(&part, &whole)) {
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    fs::remove_file(path)
}

/// Closed files that are not compressed, and what a broken attempt left is removed.
pub fn uncompressed(directory: &Path) -> Vec<PathBuf> {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.ends_with(PART) && is_ours(name)) {
            let _ = fs::remove_file(entry.path());
        }
    }
    closed(directory).into_iter().filter(|file| !file.is_compressed).map(|file| file.path).collect()
}

/// Removes what has been kept for its time.
pub fn purge(directory: &Path, retention: Retention, now: Stamp) -> Vec<Purged> {
    let mut files = closed(directory);
    // The youngest first.
    files.sort_by_key(|file| std::cmp::Reverse((file.day, file.number.unwrap_or(u64::MAX))));
    let mut full = [0; 3];
    let mut purged = Vec::new();
    for file in files {
        let index = file.stream.index();
        let days = retention.days.get(index).copied().unwrap_or(u32::MAX);
        let is_old = Day::of(now).0.saturating_sub(file.day.0) > days;
        let is_counted = file.number.is_some() && file.stream != Stream::Audit;
        if let Some(count) = full.get_mut(index).filter(|_| is_counted) {
            *count += 1;
        }
        let is_too_many = is_counted && full.get(index).is_some_and(|count| *count > retention.full_files);
        let why = match (is_old, is_too_many) {
            (true, _) => "age",
            (_, true) => "count",
            _ => continue,
        };
        let last_sequence = match file.stream {
            Stream::Audit => audit::last_sequence(&file.path),
            _ => None,
        };
        if fs::remove_file(&file.path).is_ok() {
            let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            purged.push(Purged { stream: file.stream, name, why, last_sequence });
        }
    }
    purged
}

/// The audit's closed files, the oldest first.
pub(super) fn closed_audit(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        closed(directory).into_iter().filter(|file| file.stream == Stream::Audit).collect();
    files.sort_by_key(|file| (file.day, file.number.unwrap_or(u64::MAX)));
    files.into_iter().map(|file| file.path).collect()
}

fn closed(directory: &Path) -> Vec<Closed> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| Closed::of(entry.path())).collect()
}

impl Closed {
    /// `None`: the name is not one of those that are given here.
    fn of(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (bare, is_compressed) = match name.strip_suffix(".gz") {
            Some(bare) => (bare, true),
            None => (name, false),
        };
        let stem = bare.strip_suffix(".log")?;
        let stream = Stream::ALL.into_iter().find(|stream| stem.starts_with(stream.name()))?;
        let rest = stem.strip_prefix(stream.name())?.strip_prefix('-')?;
        let (day, number) = match rest.split_once('.') {
            Some((day, number)) => (day, Some(number.parse().ok()?)),
            None => (rest, None),
        };
        let day = Day::parse(day)?;
        Some(Self { path, stream, day, number, is_compressed })
    }
}

fn is_ours(name: &str) -> bool {
    Stream::ALL
        .iter()
        .any(|stream| name.strip_prefix(stream.name()).is_some_and(|rest| rest.starts_with('-')))
}

const PART: &str = ".gz.part";
const CHUNK: usize = 64 << 10;
/// Fast: it shares a host with what it observes.
const LEVEL: u32 = 3;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn today() -> Stamp {
        Stamp(1_795_953_600_000_000_000)
    }

    fn days_ago(days: u32) -> Day {
        Day(Day::of(today()).0 - days)
    }

    #[test]
    fn a_closed_file_is_compressed_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(format!("application-{}.1.log", days_ago(0)));
        let text = "line\n".repeat(100_000);
        fs::write(&path, &text).unwrap();
        fs::write(directory.path().join("application-x.log.gz.part"), "broken off").unwrap();
        assert_eq!(uncompressed(directory.path()), [path.as_path()]);
        compress(&path).unwrap();
        assert!(uncompressed(directory.path()).is_empty());
        let mut back = String::new();
        flate2::read::GzDecoder::new(File::open(compressed(&path)).unwrap())
            .read_to_string(&mut back)
            .unwrap();
        assert!(back == text && !path.exists());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_too_old_or_too_much_goes_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let touch = |name: &str| fs::write(directory.path().join(name), "").unwrap();
        for name in
            ["application.log", "audit.log", "application-old.log", "notes.txt", "application-2020-01-01.txt"]
        {
            touch(name);
        }
        for (stream, days) in [("application", 90), ("audit", 365), ("diagnostics", 30)] {
            touch(&format!("{stream}-{}.log.gz", days_ago(days)));
            touch(&format!("{stream}-{}.log.gz", days_ago(days + 1)));
        }
        for number in 1..=14 {
            touch(&format!("application-{}.{number}.log.gz", days_ago(1)));
            touch(&format!("audit-{}.{number}.log.gz", days_ago(1)));
        }
        let purged = purge(directory.path(), Retention::default(), today());
        let mut told: Vec<_> = purged.iter().map(|purged| (purged.name.clone(), purged.why)).collect();
        told.sort();
        let mut expected = vec![
            (format!("application-{}.log.gz", days_ago(91)), "age"),
            (format!("audit-{}.log.gz", days_ago(366)), "age"),
            (format!("diagnostics-{}.log.gz", days_ago(31)), "age"),
        ];
        expected
            .extend((1..=4).map(|number| (format!("application-{}.{number}.log.gz", days_ago(1)), "count")));
        expected.sort();
        assert_eq!(told, expected);
        assert!(purge(directory.path(), Retention::default(), today()).is_empty());
    }
}
