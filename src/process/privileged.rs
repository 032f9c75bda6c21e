//! What takes a right over another process, asked of whoever has it (DESIGN 10).
//!
//! ```text
//! Poller -- memory_map(process) --> Own       the agent itself: its own figures only, once it has given up its rights
//!                               \-> a second process that keeps CAP_SYS_PTRACE or CAP_PERFMON and nothing else
//! ```
//!
//! Landlock denies every look that the kernel counts as tracing (ptrace(2), "ptrace access mode checking") at processes
//! outside its domain, whatever their user: so the agent, once locked in, has none of these figures of others.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::{fmt, io};

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Dir, readlinkat};
use serde::{Deserialize, Deserializer, Serialize};

use super::files::{Buffer, SMALL};
use super::heap::Heap;
use super::stat::Stat;
use super::{Process, files, lines, smaps_rollup};

/// Figures of one process that the kernel gives only to those who might trace it, or count its events.
///
/// Each answer is about that very process: a pid that now belongs to another one is [`Missing::Gone`].
pub trait Privileged: fmt::Debug + Send {
    /// `/proc/PID/smaps_rollup`. The kernel walks all page tables for it: about 1 ms a GB.
    fn memory_map(&mut self, of: Process) -> Result<MemoryMap, Missing>;

    /// `/proc/PID/exe`: the file that it runs.
    fn executable(&mut self, of: Process) -> Result<PathBuf, Missing>;

    /// File descriptors that are open, where `stat` of `/proc/PID/fd` does not tell (Linux before 6.2).
    fn open_fds(&mut self, of: Process) -> Result<u64, Missing>;

    /// Inodes of its sockets, added to `inodes` in any order.
    fn sockets(&mut self, of: Process, inodes: &mut Vec<u64>) -> Result<(), Missing>;

    /// One walk of its heap (MEAS 9.4).
    fn heap(&mut self, _of: Process) -> Result<Heap, Missing> {
        Err(Missing::Right(Right::Ptrace))
    }

    /// Pools that the program keeps by itself (MEAS 9.5); none is no error.
    fn pools(&mut self, _of: Process) -> Result<Vec<Pool>, Missing> {
        Err(Missing::Right(Right::Ptrace))
    }

    /// Calls into the allocator since the first time it was asked, of all threads (DESIGN 6).
    fn allocations(&mut self, _of: Process) -> Result<u64, Missing> {
        Err(Missing::Right(Right::Perfmon))
    }

    /// It has ended, or is no longer wanted: what was kept for it can go.
    fn forget(&mut self, _of: Process) {}
}

/// Why a figure is absent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Missing {
    /// The process has ended.
    #[error("the process has ended")]
    Gone,
    /// It takes a right that nobody here has.
    #[error("{0}")]
    Right(Right),
    /// It cannot be measured of this process, whatever the rights: another allocator, another machine.
    #[error("{0}")]
    Unsupported(String),
    /// It did not work this time.
    #[error("{0}")]
    Failed(String),
}

/// A right, and how to give it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error, Serialize, Deserialize,
)]
pub enum Right {
    /// To look into other processes.
    #[error("it takes CAP_SYS_PTRACE")]
    Ptrace,
    /// To count events of other processes.
    #[error("it takes CAP_PERFMON")]
    Perfmon,
}

impl Right {
    /// What Linux calls it.
    pub fn capability(self) -> &'static str {
        match self {
            Self::Ptrace => "CAP_SYS_PTRACE",
            Self::Perfmon => "CAP_PERFMON",
        }
    }

    /// What to do to give it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Ptrace => {
                "install systemd/sidetone.service.d/ptrace.conf, or give CAP_SYS_PTRACE to the program that is started"
            }
            Self::Perfmon => {
                "install systemd/sidetone.service.d/perfmon.conf, or give CAP_PERFMON, CAP_DAC_READ_SEARCH and CAP_DAC_OVERRIDE to the program that is started"
            }
        }
    }
}

/// What `/proc/PID/smaps_rollup` tells, bytes. A line that the kernel does not have is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryMap {
    /// Resident.
    pub resident: Option<u64>,
    /// Its share: each page divided by the number of processes that map it.
    pub proportional: Option<u64>,
    /// Mapped by nobody else, clean and dirty.
    pub private: Option<u64>,
    /// Mapped by others too, clean and dirty.
    pub shared: Option<u64>,
    /// Anonymous.
    pub anonymous: Option<u64>,
    /// Swapped out.
    pub swap: Option<u64>,
}

/// A pool of memory that a program keeps by itself, bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// `kamailio_shm`, `kamailio_pkg`; the value of the label `source`.
    pub source: &'static str,
    /// The same for all who share it; pools with the same one are counted once a group.
    pub shared_by: Option<u64>,
    /// Size of the whole pool.
    pub size: u64,
    /// Handed out.
    pub used: u64,
    /// Handed out, with what the allocator needs around it.
    pub real_used: u64,
    /// Free pieces.
    pub fragments: Option<u64>,
}

/// A pool as it is told by another process.
#[derive(Deserialize)]
struct ToldPool {
    source: String,
    shared_by: Option<u64>,
    size: u64,
    used: u64,
    real_used: u64,
    fragments: Option<u64>,
}

impl<'d> Deserialize<'d> for Pool {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<Self, D::Error> {
        let ToldPool { source, shared_by, size, used, real_used, fragments } = ToldPool::deserialize(from)?;
        let source = ["kamailio_shm", "kamailio_pkg"].into_iter().find(|known| *known == source);
        let source = source.ok_or_else(|| serde::de::Error::custom("there is no such pool"))?;
        Ok(Self { source, shared_by, size, used, real_used, fragments })
    }
}

/// The agent with no right but its own: after [`sandbox::enter`](crate::sandbox::enter) it sees itself only.
#[derive(Debug, Default)]
pub struct Own {
    buffer: Buffer,
}

impl Privileged for Own {
    fn memory_map(&mut self, of: Process) -> Result<MemoryMap, Missing> {
        let directory = enter(of, &mut self.buffer)?;
        let text = self.buffer.read(&directory, "smaps_rollup", SMALL).map_err(missing)?;
        Ok(smaps_rollup::parse(text))
    }

    fn executable(&mut self, of: Process) -> Result<PathBuf, Missing> {
        let directory = enter(of, &mut self.buffer)?;
        let target = readlinkat(&directory, "exe", Vec::new()).map_err(missing)?;
        Ok(PathBuf::from(OsStr::from_bytes(target.to_bytes())))
    }

    fn open_fds(&mut self, of: Process) -> Result<u64, Missing> {
        let directory = enter(of, &mut self.buffer)?;
        let fds = files::directory(&directory, "fd").map_err(missing)?;
        let entries = Dir::new(fds).map_err(missing)?;
        // "." and ".." are no descriptors.
        Ok(entries.filter_map(Result::ok).count().saturating_sub(2) as u64)
    }

    fn sockets(&mut self, of: Process, inodes: &mut Vec<u64>) -> Result<(), Missing> {
        let directory = enter(of, &mut self.buffer)?;
        let fds = files::directory(&directory, "fd").map_err(missing)?;
        let mut target = Vec::new();
        for entry in Dir::read_from(&fds).map_err(missing)?.filter_map(Result::ok) {
            let Ok(link) = readlinkat(&fds, entry.file_name(), target) else {
                target = Vec::new();
                continue;
            };
            inodes.extend(inode(link.to_bytes()));
            target = link.into_bytes();
        }
        Ok(())
    }
}

/// `socket:[4711]`
fn inode(link: &[u8]) -> Option<u64> {
    lines::number(link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?)
}

/// The directory of that very process.
pub(super) fn enter(of: Process, buffer: &mut Buffer) -> Result<OwnedFd, Missing> {
    let directory = files::directory(CWD, &format!("/proc/{}", of.pid)).map_err(missing)?;
    let stat = Stat::parse(buffer.read(&directory, "stat", SMALL).map_err(missing)?);
    match stat {
        Some(stat) if stat.started_ticks == of.started_ticks => Ok(directory),
        _ => Err(Missing::Gone),
    }
}

pub(super) fn missing(error: impl Into<io::Error>) -> Missing {
    let error = error.into();
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => Missing::Gone,
        Some(libc::EACCES | libc::EPERM) => Missing::Right(Right::Ptrace),
        _ => Missing::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    fn myself() -> Process {
        let text = std::fs::read("/proc/self/stat").unwrap();
        let started_ticks = Stat::parse(&text).unwrap().started_ticks;
        Process { pid: std::process::id(), started_ticks }
    }

    #[test]
    fn it_knows_itself() {
        let mut own = Own::default();
        let map = own.memory_map(myself()).unwrap();
        assert!(map.resident >= map.proportional && map.proportional > Some(1 << 16), "{map:?}");
        assert_eq!(own.executable(myself()).unwrap(), std::env::current_exe().unwrap());
        assert!(own.open_fds(myself()).unwrap() >= 3);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        let mut inodes = Vec::new();
        own.sockets(myself(), &mut inodes).unwrap();
        assert!(inodes.contains(&inode(link.as_os_str().as_bytes()).unwrap()));
        assert_eq!(own.heap(myself()), Err(Missing::Right(Right::Ptrace)));
    }

    #[test]
    fn another_process_under_the_same_pid_is_not_meant() {
        let Process { pid, started_ticks } = myself();
        let other = Process { pid, started_ticks: started_ticks + 1 };
        assert_eq!(Own::default().memory_map(other), Err(Missing::Gone));
    }
}
