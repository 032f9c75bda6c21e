//! Counters in the kernel for each time that a place in a file's code is run: perf_event_open(2) with the uprobe PMU.
//!
//! The kernel puts a breakpoint there for the processes that are counted, in their own copy of the page, and counts in
//! itself. No program of ours runs in it, and nothing is told but a number.
#![allow(unsafe_code, reason = "perf_event_open has no safe interface")]

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The first 72 bytes of perf_event_attr (linux/perf_event.h): all that there was in its first versions.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint: u32,
    /// Of a uprobe: address of the path of the file.
    config1: u64,
    /// Of a uprobe: where in the file.
    config2: u64,
}

/// The kind of event that the kernel calls uprobe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uprobes(u32);

/// How often one thread runs over a place.
#[derive(Debug)]
pub struct Count(File);

impl Uprobes {
    /// Whether this kernel has them.
    pub fn find() -> io::Result<Self> {
        let text = fs::read_to_string(KIND)?;
        text.trim().parse().map(Self).map_err(io::Error::other)
    }

    /// Starts to count. It takes CAP_PERFMON; some kernels want CAP_SYS_ADMIN for this kind of event.
    ///
    /// Never inherited: for a thread or child that inherits the event the kernel reads the path again, and at the same
    /// address of the process that is counted (seen on Linux 6.18). There is none, and its clone and fork would fail.
    pub fn count(self, thread: u32, file: &Path, offset: u64) -> io::Result<Count> {
        let path = CString::new(file.as_os_str().as_bytes())?;
        let attributes = Attributes {
            kind: self.0,
            size: size_of::<Attributes>() as u32,
            config1: path.as_ptr() as u64,
            config2: offset,
            ..Attributes::default()
        };
        let thread = libc::pid_t::try_from(thread).map_err(io::Error::other)?;
        // SAFETY: `attributes` has the layout and size that it says, and lives through the call, as does `path`, which the
        // kernel copies. The other arguments are plain numbers: any processor, no group, closed on exec.
        let made = unsafe {
            libc::syscall(libc::SYS_perf_event_open, &raw const attributes, thread, -1, -1, CLOSE_ON_EXEC)
        };
        match i32::try_from(made) {
            // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
            Ok(descriptor) if descriptor >= 0 => Ok(Count(unsafe { File::from_raw_fd(descriptor) })),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Count {
    /// So far; it never falls.
    pub fn read(&self) -> io::Result<u64> {
        let mut count = [0; 8];
        (&self.0).read_exact(&mut count)?;
        Ok(u64::from_ne_bytes(count))
    }
}

const KIND: &str = "/sys/bus/event_source/devices/uprobe/type";
/// PERF_FLAG_FD_CLOEXEC.
const CLOSE_ON_EXEC: libc::c_ulong = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_as_large_as_the_kernel_takes_them() {
        assert_eq!(size_of::<Attributes>(), 72);
    }
}
