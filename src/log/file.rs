//! A file that is turned over when it is full and when a day (UTC) ends.
//!
//! ```text
//! application.log                     lines are appended
//! application-2026-11-29.1.log        it was full: rotate_bytes
//! application-2026-11-29.log          the day was over
//! application-2026-11-29.1.log.gz     a moment later (keep.rs)
//! ```
//!
//! What the disk does not take waits in memory, a mebibyte at most; when there is room again it goes on where it
//! stopped, in the middle of a line if need be.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::Stream;
use crate::Stamp;

/// When a file is turned over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// When it has so many bytes.
    pub bytes: u64,
    /// When a day ends.
    pub daily: bool,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { bytes: 100 << 20, daily: true }
    }
}

/// Why it is turned over now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It is full.
    Full,
    /// Its day is over.
    Day,
}

/// One log's file.
#[derive(Debug)]
pub struct RotatingFile {
    directory: PathBuf,
    stream: Stream,
    path: PathBuf,
    rotation: Rotation,
    file: File,
    size: u64,
    day: Day,
    pending: Vec<u8>,
}

/// There is no room for another line: the disk takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disk takes nothing and there is no room to wait")]
pub struct Full;

impl RotatingFile {
    /// Opens it, or makes it.
    pub fn open(directory: &Path, stream: Stream, rotation: Rotation, now: Stamp) -> io::Result<Self> {
        Self::open_at(&path(directory, stream), stream, rotation, now)
    }

    /// A file with a name of its own, which somebody else turns over.
    pub fn open_plain(path: &Path, stream: Stream, now: Stamp) -> io::Result<Self> {
        Self::open_at(path, stream, Rotation { bytes: u64::MAX, daily: false }, now)
    }

    fn open_at(path: &Path, stream: Stream, rotation: Rotation, now: Stamp) -> io::Result<Self> {
        let file = append(path)?;
        let (size, day) = standing(&file, now)?;
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { directory, stream, path: path.to_owned(), rotation, file, size, day, pending: Vec::new() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that have been written, and that wait.
    pub fn size(&self) -> u64 {
        self.size + self.pending.len() as u64
    }

    /// Takes a line, with its line end, to be written by [`RotatingFile::drain`].
    pub fn push(&mut self, line: &[u8]) -> Result<(), Full> {
        if !self.has_room(line.len()) {
            return Err(Full);
        }
        self.pending.extend_from_slice(line);
        self.pending.push(b'\n');
        Ok(())
    }

    /// Whether a line of so many bytes can wait.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.pending.len() + bytes < MOST_PENDING
    }

    /// Writes what waits.
    pub fn drain(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match self.file.write(&self.pending) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.size += written as u64;
                    self.pending.drain(..written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends a line that a crash left unfinished.
    pub fn end_line(&mut self) -> io::Result<()> {
        self.pending.push(b'\n');
        self.drain()
    }

    /// Whether enough waits to be written at once.
    pub fn is_loaded(&self) -> bool {
        self.pending.len() >= WORTH_WRITING
    }

    /// What was written is on the disk when this returns.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Whether it is to be turned over before the next line.
    pub fn due(&self, now: Stamp) -> Option<Due> {
        match self.size() {
            0 => None,
            size if size >= self.rotation.bytes => Some(Due::Full),
            _ if self.rotation.daily && Day::of(now) != self.day => Some(Due::Day),
            _ => None,
        }
    }

    /// Turns it over; returns what the full one is called now. After an error it goes on in the old file.
    pub fn rotate(&mut self, due: Due, now: Stamp) -> io::Result<PathBuf> {
        self.drain()?;
        let closed = self.free_name(due);
        fs::rename(&self.path, &closed)?;
        self.reopen(now)?;
        Ok(closed)
    }

    /// Opens what is there under its name now.
    pub fn reopen(&mut self, now: Stamp) -> io::Result<()> {
        // What waits belongs behind what was written of it.
        self.drain()?;
        self.file = append(&self.path)?;
        (self.size, self.day) = standing(&self.file, now)?;
        Ok(())
    }

    /// Whether somebody took the file away, or put another one in its place.
    pub fn is_lost(&self) -> bool {
        let place = |told: fs::Metadata| (told.dev(), told.ino());
        match (fs::metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(ours)) => place(there) != place(ours),
            (Err(error), _) => error.kind() == io::ErrorKind::NotFound,
            (Ok(_), Err(_)) => true,
        }
    }

    /// A full file has a number, so that those can be told apart from the one of each day. Numbers rise although the first
    /// ones were removed.
    fn free_name(&self, due: Due) -> PathBuf {
        let (stream, day) = (self.stream.name(), self.day);
        let whole = self.directory.join(format!("{stream}-{day}.log"));
        if due == Due::Day && !whole.exists() && !compressed(&whole).exists() {
            return whole;
        }
        let begins = format!("{stream}-{day}.");
        let number = |entry: fs::DirEntry| -> Option<u64> {
            let name = entry.file_name();
            name.to_str()?.strip_prefix(&begins)?.split_once(".log")?.0.parse().ok()
        };
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let last = entries.filter_map(number).max().unwrap_or(0);
        self.directory.join(format!("{begins}{}.log", last + 1))
    }
}

/// The file of a log.
pub fn path(directory: &Path, stream: Stream) -> PathBuf {
    directory.join(format!("{}.log", stream.name()))
}

/// What it is called once it is compressed.
pub fn compressed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

fn standing(file: &File, now: Stamp) -> io::Result<(u64, Day)> {
    let told = file.metadata()?;
    let written = told.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let day = match written {
        Some(since) if told.len() > 0 => Day::of(Stamp(since.as_nanos() as u64)),
        _ => Day::of(now),
    };
    Ok((told.len(), day))
}

/// A day in UTC, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub u32);

impl Day {
    /// That of a time.
    pub fn of(at: Stamp) -> Self {
        Self((at.0 / NANOS_PER_DAY) as u32)
    }

    /// Of `2026-11-29`.
    pub fn parse(text: &str) -> Option<Self> {
        // Names are compared with those that are made: there is no other reader of dates.
        let mut numbers = text.split('-').map(str::parse::<u32>);
        let (year, month, day) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        if !(1970..=9999).contains(&year) || month > 12 || day > 31 {
            return None;
        }
        let around = (year - 1970) * 365 + (year - 1969) / 4 + month * 31 + day;
        (around.saturating_sub(62)..=around).map(Self).find(|day| day.to_string() == text)
    }
}

/// `2026-11-29`
impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let midnight = Stamp(u64::from(self.0) * NANOS_PER_DAY).to_string();
        f.write_str(midnight.get(..10).unwrap_or_default())
    }
}

const NANOS_PER_DAY: u64 = 86_400_000_000_000;
/// For the group too: who reads logs need not be the agent's user.
const MODE: u32 = 0o640;
const MOST_PENDING: usize = 1 << 20;
const WORTH_WRITING: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Stamp = Stamp(1_795_953_600_000_000_000);

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_is_turned_over_when_it_is_full_and_when_the_day_ends() {
        let directory = tempfile::tempdir().unwrap();
        let rotation = Rotation { bytes: 10, daily: true };
        let mut file = RotatingFile::open(directory.path(), Stream::Application, rotation, NOON).unwrap();
        assert_eq!(file.due(NOON), None);
        for _ in 0..2 {
            file.push(b"0123456789").unwrap();
            assert_eq!(file.due(NOON), Some(Due::Full));
            file.rotate(Due::Full, NOON).unwrap();
        }
        file.push(b"x").unwrap();
        file.drain().unwrap();
        assert_eq!(file.due(NOON), None);
        let tomorrow = NOON.plus_seconds(86_400);
        assert_eq!(file.due(tomorrow), Some(Due::Day));
        let closed = file.rotate(Due::Day, tomorrow).unwrap();
        assert_eq!(fs::read(closed).unwrap(), b"x\n");
        let day = Day::of(NOON);
        let expected = ["1.log", "2.log", "log"].map(|end| format!("application-{day}.{end}"));
        assert_eq!(names(directory.path()), [&expected[..], &["application.log".into()]].concat());
    }

    #[test]
    fn a_file_that_was_taken_away_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let mut file =
            RotatingFile::open(directory.path(), Stream::Audit, Rotation::default(), NOON).unwrap();
        assert!(!file.is_lost());
        fs::rename(file.path(), directory.path().join("audit.log.1")).unwrap();
        assert!(file.is_lost());
        file.push(b"behind").unwrap();
        file.reopen(NOON).unwrap();
        assert!(!file.is_lost());
        assert_eq!(fs::read(directory.path().join("audit.log.1")).unwrap(), b"behind\n");
    }

    #[test]
    fn days_have_their_names() {
        for day in [0, 58, 59, 60, 789, 20_786, 40_000] {
            assert_eq!(Day::parse(&Day(day).to_string()), Some(Day(day)), "{}", Day(day));
        }
        assert_eq!(Day(20_786).to_string(), "2026-11-29");
        for wrong in ["", "2026-11", "2026-13-01", "2026-02-30", "1969-12-31", "x-1-1", "999999999-1-1"] {
            assert_eq!(Day::parse(wrong), None, "{wrong}");
        }
    }
}
