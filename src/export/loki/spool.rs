//! Lines that wait for Loki, on disk: they survive the agent, and a server that is away.
//!
//! ```text
//! append(lines, mark) -> 0000000000000001.spool, ...2.spool, ... -> take: a batch of one segment -> done: forgotten
//!                        record: length u32, CRC-32 u32, kind u8, content (little-endian; CRC of kind and content)
//!                        position: segment u64, offset u64, CRC-32 u32: up to where everything was delivered
//! ```
//!
//! A line is on its way to the disk when `append` returns: the death of the agent loses none; the loss of power may
//! lose what the kernel has not written yet. When the spool is full its oldest segment goes. What is torn at the end of
//! the last segment was never acknowledged to whoever appended it, and is cut off.
//!
//! A mark is what an appender wants to find again after a crash, written with the lines in one write: how far a file
//! was read. Only the last one is kept. Lines whose mark did not get to the disk are torn too: whoever wrote them will
//! write them again.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flate2::Crc;
use prost::Message;

use super::push::Pair;

/// One line as it is kept, and as it will be sent.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Kept {
    /// Labels of its stream, as Loki writes them: `{job="sidetone",stream="audit"}`.
    #[prost(string, tag = "1")]
    pub stream: String,
    /// Nanoseconds since the epoch.
    #[prost(fixed64, tag = "2")]
    pub nanos: u64,
    /// The line without its end.
    #[prost(string, tag = "3")]
    pub line: String,
    /// Structured metadata.
    #[prost(message, repeated, tag = "4")]
    pub metadata: Vec<Pair>,
}

/// Lines on disk, in the order they came.
#[derive(Debug)]
pub struct Spool {
    inner: Mutex<Inner>,
    more: Condvar,
    /// Everything counted so far.
    pub tally: Tally,
}

/// What became of lines in the spool.
#[derive(Debug, Default)]
pub struct Tally {
    /// Appended.
    pub accepted: AtomicU64,
    /// The oldest, given up because the spool was full.
    pub lost_full: AtomicU64,
    /// Not written, because the disk refused.
    pub lost_disk: AtomicU64,
    /// Found damaged.
    pub lost_damaged: AtomicU64,
}

/// Lines to be sent together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// In order.
    pub lines: Vec<Kept>,
    /// Where they end.
    end: Place,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Lines that are not delivered.
    pub lines: u64,
    /// Bytes of all segments.
    pub bytes: u64,
}

/// Why there is no spool.
#[derive(Debug, thiserror::Error)]
#[error("the spool {}: {source}; it needs a directory that this user can write to", .directory.display())]
pub struct Error {
    directory: PathBuf,
    source: io::Error,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    segment: u64,
    offset: u64,
}

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    most_bytes: u64,
    segment_bytes: u64,
    segments: VecDeque<Segment>,
    /// Of the last segment.
    writer: File,
    read: Place,
    /// Of the segment that is read.
    reader: Option<(u64, File)>,
    position: File,
    mark: Option<Vec<u8>>,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    /// Lines beyond the position.
    lines: u64,
}

impl Spool {
    /// Opens the directory, or makes it, with what an earlier agent left there. Everything is read once.
    pub fn open(directory: &Path, most_bytes: u64) -> Result<Self, Error> {
        let tally = Tally::default();
        let inner = Inner::open(directory, most_bytes, &tally)
            .map_err(|source| Error { directory: directory.to_owned(), source })?;
        Ok(Self { inner: Mutex::new(inner), more: Condvar::new(), tally })
    }

    /// Takes lines, and a mark with the last of them: all of them are on disk when this returns, or counted as lost.
    pub fn append(&self, lines: &[Kept], mark: Option<&[u8]>) {
        let mut inner = self.inner();
        match inner.append(lines, mark, &self.tally) {
            Ok(()) => add(&self.tally.accepted, lines.len() as u64),
            Err(_) => add(&self.tally.lost_disk, lines.len() as u64),
        }
        drop(inner);
        self.more.notify_all();
    }

    /// The last mark found or written.
    pub fn mark(&self) -> Option<Vec<u8>> {
        self.inner().mark.clone()
    }

    /// Waits until a line is there, for so long at most; returns how much there is.
    pub fn wait(&self, timeout: Duration) -> Waiting {
        let inner = self.inner();
        let is_empty = |inner: &mut Inner| inner.waiting().lines == 0;
        let waited = self.more.wait_timeout_while(inner, timeout, is_empty);
        waited.map_or_else(|poison| poison.into_inner().0, |(inner, _)| inner).waiting()
    }

    /// How much there is.
    pub fn waiting(&self) -> Waiting {
        self.inner().waiting()
    }

    /// The oldest lines, with at most so many bytes, but one line at least. They stay until they are `done`.
    pub fn take(&self, most_bytes: usize, most_lines: usize) -> Option<Batch> {
        self.inner().take(most_bytes, most_lines, &self.tally)
    }

    /// Those lines are delivered, or will never be.
    pub fn done(&self, batch: &Batch) {
        self.inner().done(batch);
    }

    /// Each step leaves it whole, so a thread that died left nothing half done.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn open(directory: &Path, most_bytes: u64, tally: &Tally) -> io::Result<Self> {
        if !directory.is_dir() {
            fs::create_dir_all(directory)?;
        }
        let mut numbers: Vec<u64> = fs::read_dir(directory)?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(ENDING)?.parse().ok())
            .collect();
        numbers.sort_unstable();
        let position =
            options().read(true).write(true).create(true).truncate(false).open(directory.join("position"))?;
        let mut read = saved(&position).unwrap_or_default();
        let mut mark = None;
        let mut segments = VecDeque::new();
        for (at, &number) in numbers.iter().enumerate() {
            let path = directory.join(name(number));
            if number < read.segment {
                // It was delivered; only its end was not seen to.
                fs::remove_file(path)?;
                continue;
            }
            let bytes = fs::read(&path)?;
            let from = if number == read.segment { read.offset } else { 0 };
            let found = Found::of(&bytes, from);
            mark = found.mark.or(mark);
            let is_last = at + 1 == numbers.len();
            if found.end < bytes.len() as u64 {
                if is_last {
                    OpenOptions::new().write(true).open(&path)?.set_len(found.end)?;
                } else {
                    add(&tally.lost_damaged, 1);
                }
            }
            let bytes = if is_last { found.end } else { bytes.len() as u64 };
            segments.push_back(Segment { number, bytes, lines: found.lines });
        }
        let first = segments.front().map_or(read.segment.max(1), |segment| segment.number);
        if read.segment < first {
            read = Place { segment: first, offset: 0 };
        }
        if segments.is_empty() {
            segments.push_back(Segment { number: first, bytes: 0, lines: 0 });
        }
        let last = segments.back().map_or(first, |segment| segment.number);
        // A position beyond the end belongs to a segment that is gone.
        if let Some(segment) = segments.iter().find(|segment| segment.number == read.segment) {
            read.offset = read.offset.min(segment.bytes);
        }
        let writer = options().append(true).create(true).open(directory.join(name(last)))?;
        Ok(Self {
            directory: directory.to_owned(),
            most_bytes,
            segment_bytes: (most_bytes / SEGMENTS).max(MIN_SEGMENT_BYTES),
            segments,
            writer,
            read,
            reader: None,
            position,
            mark,
            buffer: Vec::new(),
        })
    }

    fn append(&mut self, lines: &[Kept], mark: Option<&[u8]>, tally: &Tally) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let kind = if mark.is_some() { JOINED } else { LINE };
        for line in lines {
            record(&mut buffer, kind, |out| line.encode_raw(out));
        }
        if let Some(mark) = mark {
            record(&mut buffer, MARK, |out| out.extend_from_slice(mark));
        }
        let written = self.write(&buffer, lines.len() as u64, tally);
        buffer.shrink_to(MOST_KEPT_BUFFER);
        self.buffer = buffer;
        if written.is_ok()
            && let Some(mark) = mark
        {
            self.mark = Some(mark.to_vec());
        }
        written
    }

    fn write(&mut self, bytes: &[u8], lines: u64, tally: &Tally) -> io::Result<()> {
        if self.segments.back().is_some_and(|last| last.bytes >= self.segment_bytes) {
            self.roll()?;
        }
        while self.waiting().bytes + bytes.len() as u64 > self.most_bytes && self.waiting().lines > 0 {
            self.give_up_oldest(tally)?;
        }
        let Some(last) = self.segments.back_mut() else { return Err(io::Error::other("no segment")) };
        if let Err(error) = self.writer.write_all(bytes) {
            // What was written of it would stand in the way of what comes next.
            let _ = self.writer.set_len(last.bytes);
            return Err(error);
        }
        last.bytes += bytes.len() as u64;
        last.lines += lines;
        Ok(())
    }

    fn roll(&mut self) -> io::Result<()> {
        let number = self.segments.back().map_or(1, |last| last.number + 1);
        self.writer = options().append(true).create(true).open(self.directory.join(name(number)))?;
        self.segments.push_back(Segment { number, bytes: 0, lines: 0 });
        Ok(())
    }

    fn give_up_oldest(&mut self, tally: &Tally) -> io::Result<()> {
        if self.segments.len() == 1 {
            self.roll()?;
        }
        let Some(oldest) = self.segments.pop_front() else { return Ok(()) };
        add(&tally.lost_full, oldest.lines);
        let next = self.segments.front().map_or(oldest.number + 1, |segment| segment.number);
        if self.read.segment < next {
            self.read = Place { segment: next, offset: 0 };
            self.save();
        }
        fs::remove_file(self.directory.join(name(oldest.number)))
    }

    fn waiting(&self) -> Waiting {
        let mut waiting = Waiting::default();
        for segment in &self.segments {
            waiting.lines += segment.lines;
            waiting.bytes += segment.bytes;
        }
        waiting
    }

    fn take(&mut self, most_bytes: usize, most_lines: usize, tally: &Tally) -> Option<Batch> {
        loop {
            let at = self.segments.iter().position(|segment| segment.number == self.read.segment)?;
            let segment = *self.segments.get(at)?;
            let is_last = at + 1 == self.segments.len();
            let found = self.read_lines(segment, most_bytes, most_lines).unwrap_or_default();
            if !found.lines.is_empty() {
                return Some(found);
            }
            // What is left of it cannot be read, or there is no more.
            add(&tally.lost_damaged, segment.lines);
            if let Some(segment) = self.segments.get_mut(at) {
                segment.lines = 0;
            }
            if is_last {
                self.read.offset = segment.bytes;
                return None;
            }
            self.pass(at + 1);
        }
    }

    fn read_lines(&mut self, segment: Segment, most_bytes: usize, most_lines: usize) -> io::Result<Batch> {
        if self.reader.as_ref().is_none_or(|(number, _)| *number != segment.number) {
            self.reader = Some((segment.number, File::open(self.directory.join(name(segment.number)))?));
        }
        let Some((_, file)) = &self.reader else { return Ok(Batch::default()) };
        let left = segment.bytes.saturating_sub(self.read.offset);
        let mut want = left.min(most_bytes as u64 + HEAD as u64);
        loop {
            let mut bytes = vec![0; want as usize];
            file.read_exact_at(&mut bytes, self.read.offset)?;
            let mut batch = Batch { lines: Vec::new(), end: self.read };
            let mut rest = bytes.as_slice();
            while let Some((kind, content, after)) = next(rest) {
                if batch.lines.len() == most_lines {
                    break;
                }
                batch.end.offset += (rest.len() - after.len()) as u64;
                rest = after;
                if matches!(kind, LINE | JOINED)
                    && let Ok(line) = Kept::decode(content)
                {
                    batch.lines.push(line);
                }
            }
            // The first record is longer than what was read.
            if batch.end == self.read && want < left {
                want = left.min(want * 4);
                continue;
            }
            return Ok(batch);
        }
    }

    fn done(&mut self, batch: &Batch) {
        if batch.end <= self.read {
            return;
        }
        self.read = batch.end;
        let Some(at) = self.segments.iter().position(|segment| segment.number == self.read.segment) else {
            return;
        };
        let is_last = at + 1 == self.segments.len();
        if let Some(segment) = self.segments.get_mut(at) {
            segment.lines = segment.lines.saturating_sub(batch.lines.len() as u64);
            if !is_last && self.read.offset >= segment.bytes {
                return self.pass(at + 1);
            }
        }
        self.save();
    }

    /// Goes on with the segment at this place; those before it are delivered.
    fn pass(&mut self, at: usize) {
        let Some(number) = self.segments.get(at).map(|segment| segment.number) else { return };
        self.read = Place { segment: number, offset: 0 };
        self.reader = None;
        self.save();
        for segment in self.segments.drain(..at) {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_file(self.directory.join(name(segment.number)));
        }
    }

    /// If that fails, lines are sent once more after a restart: the same lines with the same time.
    fn save(&self) {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.read.segment.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.read.offset.to_le_bytes());
        let sum = checksum(&bytes[..16]);
        bytes[16..].copy_from_slice(&sum.to_le_bytes());
        let _ = self.position.write_all_at(&bytes, 0);
    }
}

/// What is in a segment.
#[derive(Default)]
struct Found {
    /// Whole records end here.
    end: u64,
    /// Lines at or after the position.
    lines: u64,
    mark: Option<Vec<u8>>,
}

impl Found {
    fn of(bytes: &[u8], from: u64) -> Self {
        let mut found = Self::default();
        let (mut at, mut joined) = (0, 0);
        let mut rest = bytes;
        while let Some((kind, content, after)) = next(rest) {
            let lines = u64::from(at >= from);
            at += (rest.len() - after.len()) as u64;
            rest = after;
            match kind {
                LINE => found.lines += lines,
                JOINED => {
                    joined += lines;
                    continue;
                }
                MARK => {
                    found.mark = Some(content.to_vec());
                    found.lines += std::mem::take(&mut joined);
                }
                _ => {}
            }
            found.end = at;
        }
        found
    }
}

fn record(out: &mut Vec<u8>, kind: u8, content: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(&[0; HEAD]);
    out.push(kind);
    content(out);
    let body = out.get(begin + HEAD..).unwrap_or_default();
    let (len, sum) = (body.len() as u32, checksum(body));
    let head = out.iter_mut().skip(begin).take(HEAD);
    let bytes = len.to_le_bytes().into_iter().chain(sum.to_le_bytes());
    head.zip(bytes).for_each(|(to, byte)| *to = byte);
}

/// The first record: kind, content, what follows; `None` when there is none that is whole.
fn next(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let (&kind, content) = body.split_first()?;
    (checksum(body) == u32::from_le_bytes(*sum)).then_some((kind, content, rest))
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn saved(position: &File) -> Option<Place> {
    let mut bytes = [0; 20];
    position.read_exact_at(&mut bytes, 0).ok()?;
    let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let sum = u32::from_le_bytes(bytes.get(16..)?.try_into().ok()?);
    (checksum(bytes.get(..16)?) == sum).then_some(Place { segment: word(0)?, offset: word(8)? })
}

fn name(number: u64) -> String {
    format!("{number:016}{ENDING}")
}

/// What is in it is for nobody else.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

const ENDING: &str = ".spool";
/// Length and checksum.
const HEAD: usize = 8;
const LINE: u8 = 1;
const MARK: u8 = 2;
/// A line that counts with the mark behind it.
const JOINED: u8 = 3;
/// The oldest of so many goes when the spool is full.
const SEGMENTS: u64 = 16;
const MIN_SEGMENT_BYTES: u64 = 16 << 10;
const MOST_KEPT_BUFFER: usize = 1 << 20;

#[cfg(test)]
mod tests;
