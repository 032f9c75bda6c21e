//! Counters in the kernel for each time that places in a file's code are run: uprobes, counted by perf_event_open(2).
//!
//! ```text
//! p:sidetone_4711/at_1 /usr/lib/libc.so.6:0x98930  ->  tracefs/uprobe_events        places get a name, several the same
//! p:sidetone_4711/at_1 /usr/lib/libc.so.6:0x99120  ->
//! tracefs/events/sidetone_4711/at_1/id             ->  perf_event_open, inherited   one thread and all it starts
//! ```
//!
//! The kernel puts a breakpoint there for the processes that are counted, in their own copy of the page, and counts in
//! itself. No program of ours runs in it, and nothing is told but a number.
//!
//! There is a shorter way, the perf PMU `uprobe`, which needs no tracefs. It is of no use here: it takes CAP_SYS_ADMIN, and
//! an event of it that is inherited reads the path of the file anew, from the memory of the process that forks; there is
//! none, and its fork and clone fail (seen on Linux 6.18).
#![allow(unsafe_code, reason = "perf_event_open has no safe interface")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags, openat};

/// The first 72 bytes of perf_event_attr (linux/perf_event.h): all that there was in its first versions.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    /// Of a tracepoint: its number.
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint: u32,
    config1: u64,
    config2: u64,
}

/// The kernel's list of named places, open.
#[derive(Debug)]
pub struct Uprobes(Arc<List>);

#[derive(Debug)]
struct List {
    /// `uprobe_events`: a line each. Who has it open may write to it, whatever rights are left.
    places: File,
    /// The directory `events`.
    events: OwnedFd,
}

/// Places that have a name; they are taken off the list when this is dropped.
#[derive(Debug)]
pub struct Places {
    list: Arc<List>,
    name: String,
    /// Of the event.
    id: u64,
}

/// How often a thread, and all threads and processes that it has started since, run over them.
#[derive(Debug)]
pub struct Count(File);

/// An event that counts nothing and is not inherited: it keeps what a thread's children inherit apart from one another.
///
/// When the kernel changes from one process to another whose events were all inherited alike, it exchanges the two lists
/// of events rather than to stop and start each. A uprobe goes by the process that an event was made for, though: when the
/// first of the two ends, the other one's breakpoints are taken out with it, and it counts no more (seen on Linux 6.18: 2 to
/// 17 % of the calls of 20 children that ran at once). Lists that are not all inherited are not exchanged.
#[derive(Debug)]
pub struct Apart(#[expect(dead_code, reason = "it is what the kernel does while it is open")] File);

impl Uprobes {
    /// Opens the list. It takes the rights over those files, at this moment: root's, or CAP_DAC_OVERRIDE.
    ///
    /// Places that an agent left there when it was killed are taken off.
    pub fn open() -> io::Result<Self> {
        let tracefs = mounted(&fs::read_to_string("/proc/self/mounts")?).ok_or_else(|| {
            io::Error::other("tracefs is not mounted: mount -t tracefs tracefs /sys/kernel/tracing")
        })?;
        let at = |path: &Path| {
            let place = path.display().to_string();
            move |error| refused(&place, &error, "CAP_DAC_OVERRIDE at the start")
        };
        let file = tracefs.join("uprobe_events");
        let listed = fs::read_to_string(&file).map_err(at(&file))?;
        let places = File::options().append(true).open(&file).map_err(at(&file))?;
        let events = tracefs.join("events");
        let events = File::open(&events).map_err(at(&events))?.into();
        let list = List { places, events };
        let runs = |number: &str| Path::new("/proc").join(number).exists();
        for name in left_over(&listed, runs) {
            // Those that somebody counts, in a container whose processes are not seen here, are busy and stay.
            let _ = list.write(&format!("-:{name}"));
        }
        Ok(Self(Arc::new(list)))
    }

    /// Gives a name to places in a file's code. Several under one cost no more than one, when processes take turns.
    pub fn name(&self, file: &Path, offsets: &BTreeSet<u64>) -> io::Result<Places> {
        let path = file.to_str().filter(|path| !path.contains(|c: char| c.is_whitespace() || c == ':'));
        let path = path.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{}: the kernel's list takes no such path", file.display()),
            )
        })?;
        let number = NAMED.fetch_add(1, Ordering::Relaxed);
        let name = format!("{GROUP}{}/at_{number}", std::process::id());
        let mut places = Places { list: Arc::clone(&self.0), name, id: 0 };
        for offset in offsets {
            self.0.write(&format!("p:{} {path}:{offset:#x}", places.name))?;
        }
        places.id = places.read_id()?;
        Ok(places)
    }
}

impl List {
    /// The kernel takes a whole line or none.
    fn write(&self, line: &str) -> io::Result<()> {
        (&self.places).write_all(line.as_bytes())
    }
}

impl Places {
    /// Starts to count. It takes CAP_PERFMON.
    pub fn count(&self, thread: u32) -> io::Result<Count> {
        open(TRACEPOINT, self.id, INHERIT, thread).map(Count)
    }

    fn read_id(&self) -> io::Result<u64> {
        let id = format!("{}/id", self.name);
        let file = openat(self.list.events.as_fd(), &id, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let file = file.map_err(|error| {
            refused(&format!("events/{id} of tracefs"), &error.into(), "CAP_DAC_READ_SEARCH")
        })?;
        let mut text = String::new();
        File::from(file).read_to_string(&mut text)?;
        text.trim().parse().map_err(io::Error::other)
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        // Left on the list it costs nothing, and the next agent takes it off.
        let _ = self.list.write(&format!("-:{}", self.name));
    }
}

impl Apart {
    /// For the processes and threads that this one starts, as long as this is kept. It takes CAP_PERFMON.
    pub fn keep(thread: u32) -> io::Result<Self> {
        open(SOFTWARE, DUMMY, 0, thread).map(Self)
    }
}

impl Count {
    /// So far; it never falls, and does not end with the thread.
    pub fn read(&self) -> io::Result<u64> {
        let mut count = [0; 8];
        (&self.0).read_exact(&mut count)?;
        Ok(u64::from_ne_bytes(count))
    }
}

fn open(kind: u32, config: u64, flags: u64, thread: u32) -> io::Result<File> {
    let size = size_of::<Attributes>() as u32;
    let attributes = Attributes { kind, size, config, flags, ..Attributes::default() };
    let thread = libc::pid_t::try_from(thread).map_err(io::Error::other)?;
    // SAFETY: `attributes` has the layout and size that it says, and lives through the call. The other arguments are plain
    // numbers: any processor, no group, closed on exec.
    let made = unsafe {
        libc::syscall(libc::SYS_perf_event_open, &raw const attributes, thread, -1, -1, CLOSE_ON_EXEC)
    };
    match i32::try_from(made) {
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { File::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What could not be opened, and which right it may want.
fn refused(place: &str, error: &io::Error, right: &str) -> io::Error {
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    let hint = if denied { format!("; it takes {right} (drop-in perfmon.conf)") } else { String::new() };
    io::Error::other(format!("{place}: {error}{hint}"))
}

/// Where `/proc/self/mounts` has the first tracefs.
fn mounted(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (_, at, kind) = (words.next()?, words.next()?, words.next()?);
        (kind == "tracefs").then(|| at.into())
    })
}

/// Names in `uprobe_events` that were given by a process that has ended.
fn left_over(listed: &str, runs: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(move |line| {
        let name = line.split_once(':')?.1.split(' ').next()?;
        let process = name.strip_prefix(GROUP)?.split('/').next()?;
        (!runs(process)).then_some(name)
    })
}

/// In all lists that this process has open: the kernel has one.
static NAMED: AtomicU64 = AtomicU64::new(0);

/// All names are below this and the process that gave them.
const GROUP: &str = "sidetone_";
/// PERF_TYPE_TRACEPOINT.
const TRACEPOINT: u32 = 2;
/// PERF_TYPE_SOFTWARE.
const SOFTWARE: u32 = 1;
/// PERF_COUNT_SW_DUMMY.
const DUMMY: u64 = 9;
/// Of `flags`: threads and processes that are started later count with it.
const INHERIT: u64 = 1 << 1;
/// PERF_FLAG_FD_CLOEXEC.
const CLOSE_ON_EXEC: libc::c_ulong = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_as_large_as_the_kernel_takes_them() {
        assert_eq!(size_of::<Attributes>(), 72);
    }

    #[test]
    fn tracefs_is_found_where_it_is_mounted() {
        let mounts = "sysfs /sys sysfs rw 0 0\ntracefs /sys/kernel/tracing tracefs rw,nosuid 0 0\n";
        assert_eq!(mounted(mounts), Some("/sys/kernel/tracing".into()));
        assert_eq!(mounted("sysfs /sys sysfs rw 0 0\n"), None);
    }

    #[test]
    fn names_of_others_are_left_alone() {
        let listed = "p:sidetone_7/at_0 /lib/libc.so.6:0x98930\np:sidetone_8/at_0 /lib/libc.so.6:0x98930\n\
            p:probe_libc/malloc /lib/libc.so.6:0x98930\n";
        assert_eq!(left_over(listed, |process| process == "8").collect::<Vec<_>>(), ["sidetone_7/at_0"]);
    }
}
