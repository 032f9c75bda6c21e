//! Context switches of all threads of a process: the kernel tells them of each thread only.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::Dir;

use super::files::{self, Buffer, SMALL};
use super::lines;
use super::status::Status;

/// What was last seen of each thread, voluntary and involuntary ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Threads {
    last: BTreeMap<u64, [u64; 2]>,
}

impl Threads {
    /// What came since the last time, of these threads. One that started in between is counted from its start.
    pub(super) fn news(&mut self, now: BTreeMap<u64, [u64; 2]>) -> [u64; 2] {
        let mut news = [0_u64; 2];
        for (thread, counts) in &now {
            let before = self.last.get(thread).copied().unwrap_or_default();
            // Less than before: another thread under the same number.
            let before =
                if counts.iter().zip(before).any(|(now, before)| *now < before) { [0; 2] } else { before };
            for ((sum, now), before) in news.iter_mut().zip(counts).zip(before) {
                *sum = sum.saturating_add(now - before);
            }
        }
        self.last = now;
        news
    }
}

/// Of all threads of the process with this directory; none when there are too many of them.
pub(super) fn read(process: impl AsFd, buffer: &mut Buffer) -> io::Result<BTreeMap<u64, [u64; 2]>> {
    let tasks = files::directory(process, "task")?;
    let mut switches = BTreeMap::new();
    for entry in Dir::read_from(&tasks)?.filter_map(Result::ok) {
        let name = entry.file_name();
        let Some(thread) = lines::number(name.to_bytes()) else { continue };
        if switches.len() == MOST_THREADS {
            return Err(io::Error::other("it has too many threads"));
        }
        // It may have ended.
        let Ok(text) = buffer.read(&tasks, &format!("{thread}/status"), SMALL) else { continue };
        if let Some(counts) = Status::parse(text).switches() {
            switches.insert(thread, counts);
        }
    }
    Ok(switches)
}

/// Of one process.
const MOST_THREADS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(u64, [u64; 2])]) -> BTreeMap<u64, [u64; 2]> {
        pairs.iter().copied().collect()
    }

    #[test]
    fn threads_come_and_go_and_nothing_is_counted_twice() {
        let mut threads = Threads::default();
        assert_eq!(threads.news(counts(&[(1, [10, 1]), (2, [5, 0])])), [15, 1]);
        assert_eq!(threads.news(counts(&[(1, [11, 3])])), [1, 2], "the second one has ended");
        assert_eq!(
            threads.news(counts(&[(1, [11, 3]), (2, [2, 2])])),
            [2, 2],
            "its number was given to another"
        );
        assert_eq!(threads.news(counts(&[(1, [11, 3]), (2, [1, 9])])), [1, 9], "and again");
    }

    #[test]
    fn it_finds_its_own_threads() {
        let myself = files::directory(rustix::fs::CWD, "/proc/self").unwrap();
        let switches = read(&myself, &mut Buffer::default()).unwrap();
        assert!(switches.contains_key(&u64::from(std::process::id())));
    }
}
