//! Reading another process's memory, without stopping or touching it: process_vm_readv(2).
//!
//! A page that is not there is better left alone: reading one that was swapped out would bring it back, reading one that
//! was never touched gives the process an empty page, and one whose faults are handled in user space may make the reader
//! wait for ever. `/proc/PID/pagemap` tells before ([`Memory::residency`]).
#![allow(unsafe_code, reason = "process_vm_readv has no safe interface")]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::maps::Maps;

/// Memory of a process, or of a test.
pub trait Memory {
    /// Fills `into` from an address on, or fails.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault>;

    /// Where the pages are, the first of them the one of `address`.
    fn residency(&self, address: u64, pages: &mut [Residency]) -> Result<(), Fault>;

    /// Its mappings now.
    fn maps(&self) -> Result<Maps, Fault>;
}

/// Where a page is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Residency {
    /// In memory.
    #[default]
    Present,
    /// Swapped out.
    Swapped,
    /// Nowhere: never touched, or given back.
    Absent,
}

/// Why memory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The process has ended.
    #[error("the process has ended")]
    Gone,
    /// It has no memory: a thread of the kernel, or a process that has ended and was not waited for.
    #[error("it has no memory of its own")]
    NoMemory,
    /// It takes CAP_SYS_PTRACE.
    #[error("no permission to read the process")]
    Denied,
    /// Nothing is mapped there.
    #[error("nothing is mapped there")]
    Unmapped,
    /// Something else.
    #[error("reading the process: {0}")]
    System(#[from] io::Error),
}

impl Fault {
    pub(crate) fn of(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ESRCH | libc::ENOENT) => Self::Gone,
            Some(libc::EPERM | libc::EACCES) => Self::Denied,
            Some(libc::EFAULT | libc::EIO) => Self::Unmapped,
            _ => Self::System(error),
        }
    }
}

/// Memory of the process with a pid. Who keeps it for longer must see to it that the pid still means the same process.
#[derive(Debug)]
pub struct Remote {
    pid: libc::pid_t,
    pagemap: File,
}

/// Bytes of a page of memory, as the kernel counts them here.
pub fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

impl Remote {
    /// Takes the right to trace that process: the same user and nothing that forbids it, or CAP_SYS_PTRACE.
    pub fn open(pid: u32) -> Result<Self, Fault> {
        let pagemap =
            File::open(format!("/proc/{pid}/pagemap")).map_err(|error| match error.raw_os_error() {
                Some(libc::ESRCH) if Path::new(&format!("/proc/{pid}/stat")).exists() => Fault::NoMemory,
                _ => Fault::of(error),
            })?;
        let pid = libc::pid_t::try_from(pid).map_err(|_| Fault::Gone)?;
        Ok(Self { pid, pagemap })
    }
}

impl Memory for Remote {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
        let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: into.len() };
        // SAFETY: `local` is one vector that describes exactly the bytes of `into`, which is borrowed for the call and may
        // be written; any bytes are valid u8. `remote` names memory of the other process: the kernel checks it and never
        // writes there, and here it is not dereferenced.
        let read = unsafe { libc::process_vm_readv(self.pid, &raw const local, 1, &raw const remote, 1, 0) };
        match usize::try_from(read) {
            Ok(read) if read == into.len() => Ok(()),
            Ok(_) => Err(Fault::Unmapped),
            Err(_) => Err(Fault::of(io::Error::last_os_error())),
        }
    }

    fn residency(&self, address: u64, pages: &mut [Residency]) -> Result<(), Fault> {
        let mut entries = vec![0; pages.len() * ENTRY];
        let at = (address / page_bytes()).checked_mul(ENTRY as u64).ok_or(Fault::Unmapped)?;
        self.pagemap.read_exact_at(&mut entries, at).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::Unmapped,
            _ => Fault::of(error),
        })?;
        let (entries, _) = entries.as_chunks::<ENTRY>();
        for (page, entry) in pages.iter_mut().zip(entries) {
            let entry = u64::from_ne_bytes(*entry);
            *page = match (entry & PRESENT != 0, entry & SWAPPED != 0) {
                (true, _) => Residency::Present,
                (false, true) => Residency::Swapped,
                (false, false) => Residency::Absent,
            };
        }
        Ok(())
    }

    fn maps(&self) -> Result<Maps, Fault> {
        let file = File::open(format!("/proc/{}/maps", self.pid)).map_err(Fault::of)?;
        Maps::read(file).map_err(Fault::of)
    }
}

/// Bytes of an entry of pagemap, and its bits (Documentation/admin-guide/mm/pagemap.rst).
const ENTRY: usize = 8;
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_is_there_and_says_what_is_not() {
        let own = Remote::open(std::process::id()).unwrap();
        let text = b"read me from outside".to_vec();
        let mut read = vec![0; text.len()];
        own.read(text.as_ptr() as u64, &mut read).unwrap();
        assert_eq!(read, text);
        assert!(matches!(own.read(0, &mut read), Err(Fault::Unmapped)));
        assert!(own.maps().unwrap().is_writable(text.as_ptr() as u64));
        let mut pages = [Residency::Absent];
        own.residency(text.as_ptr() as u64, &mut pages).unwrap();
        assert_eq!(pages, [Residency::Present]);
    }

    #[test]
    fn a_process_that_is_not_there_is_gone() {
        assert!(matches!(Remote::open(u32::MAX), Err(Fault::Gone)));
        assert!(matches!(Remote::open(4_194_305), Err(Fault::Gone)));
    }
}
