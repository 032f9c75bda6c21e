//! Reading the small files of /proc: one buffer for all, no file larger than it may be.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat};

/// A buffer that is used again and again.
#[derive(Debug, Default)]
pub(super) struct Buffer(Vec<u8>);

impl Buffer {
    /// The content of a file below a directory. What is larger than `most` bytes is cut there.
    pub(super) fn read(&mut self, directory: impl AsFd, name: &str, most: u64) -> io::Result<&[u8]> {
        let file = File::from(openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
        self.0.clear();
        file.take(most).read_to_end(&mut self.0)?;
        Ok(&self.0)
    }

    /// The same of a file by its path.
    pub(super) fn read_path(&mut self, path: &Path, most: u64) -> io::Result<&[u8]> {
        self.read(rustix::fs::CWD, &path.to_string_lossy(), most)
    }
}

/// A directory to read below. A process that ends takes its directory with it: reading says ESRCH then, and the same pid
/// of a later process is not meant by it.
pub(super) fn directory(below: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(below, name, flags, Mode::empty())?)
}

/// More than any file of one process has.
pub(super) const SMALL: u64 = 64 << 10;
