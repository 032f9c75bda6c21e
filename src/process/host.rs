//! The host: processors, memory, load, pressure, disks, network, graphics processors. All of it can be read by anybody.
//!
//! ```text
//! /proc/{stat,meminfo,loadavg,diskstats}  /proc/pressure/*  /proc/self/{mountinfo,net/dev,net/snmp,net/snmp6}  statfs
//! ```

mod disk;
mod gpu;
mod net;

use std::path::Path;

use super::files::{Buffer, SMALL};
use super::lines;

pub use disk::{Device, Filesystem};
pub use gpu::{Gpu, Gpus};
pub use net::Interface;

/// What it is called, as the kernel has it; empty when it cannot be read.
pub fn name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// What the host has, and what it has done since it was started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// Processor time of all processors, by [`CPU_MODES`].
    pub cpu_seconds: Option<[f64; 8]>,
    /// Processors.
    pub cpus: Option<u64>,
    /// Memory by kind, bytes, as `/proc/meminfo` says it.
    pub memory: Vec<(&'static str, u64)>,
    /// Swap space, free and in all; bytes.
    pub swap: Vec<(&'static str, u64)>,
    /// Threads that ran or wanted to, averages over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    /// Time in which somebody, or everybody, had to wait for a resource.
    pub pressure: Vec<Pressure>,
    /// File systems.
    pub filesystems: Vec<Filesystem>,
    /// Disks.
    pub devices: Vec<Device>,
    /// Network interfaces.
    pub interfaces: Vec<Interface>,
    /// Datagrams that no socket got, by reason.
    pub udp_errors: Vec<(&'static str, u64)>,
    /// Graphics processors.
    pub gpus: Vec<Gpu>,
}

/// Modes of [`Host::cpu_seconds`]. Time of guests is part of `user` and `nice`.
pub const CPU_MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

/// One line of `/proc/pressure`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pressure {
    /// `cpu`, `memory`, `io`.
    pub resource: &'static str,
    /// `some`: at least one task waited; `full`: all of them did.
    pub kind: &'static str,
    /// For how long, since the host was started.
    pub seconds: f64,
}

/// The text of `/proc/stat`, taken apart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Stat {
    /// Clock ticks by mode.
    pub(super) ticks: Option<[u64; 8]>,
    pub(super) cpus: u64,
    /// Unix time.
    pub(super) booted_seconds: Option<u64>,
}

impl Stat {
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut stat = Self::default();
        for line in lines::rows(text) {
            let mut words = lines::words(line);
            match words.next() {
                Some(b"cpu") => {
                    let mut ticks = [0; 8];
                    for (to, word) in ticks.iter_mut().zip(words) {
                        *to = lines::number(word).unwrap_or(0);
                    }
                    stat.ticks = Some(ticks);
                }
                Some(b"btime") => stat.booted_seconds = words.next().and_then(lines::number),
                Some(name) if name.starts_with(b"cpu") => stat.cpus += 1,
                _ => {}
            }
        }
        stat
    }

    pub(super) fn read(buffer: &mut Buffer) -> Self {
        // It has a number for each interrupt there is.
        buffer.read_path(Path::new("/proc/stat"), 1 << 20).map(Self::parse).unwrap_or_default()
    }
}

impl Host {
    /// Reads all of it. `shows` says which network interfaces are wanted.
    pub(super) fn read(
        stat: &Stat,
        ticks_per_second: u64,
        shows: impl Fn(&str) -> bool,
        gpus: &Gpus,
        buffer: &mut Buffer,
    ) -> Self {
        let mut host = Self { cpus: Some(stat.cpus).filter(|cpus| *cpus > 0), ..Self::default() };
        host.cpu_seconds = stat.ticks.map(|ticks| ticks.map(|ticks| ticks as f64 / ticks_per_second as f64));
        if let Ok(text) = buffer.read_path(Path::new("/proc/meminfo"), SMALL) {
            host.memory = kilobytes(text, &MEMORY);
            host.swap = kilobytes(text, &SWAP);
        }
        if let Ok(text) = buffer.read_path(Path::new("/proc/loadavg"), SMALL) {
            host.load = load(text);
        }
        for resource in ["cpu", "memory", "io"] {
            // The kernel may be without, or started without.
            if let Ok(text) = buffer.read_path(&Path::new("/proc/pressure").join(resource), SMALL) {
                host.pressure.extend(pressure(resource, text));
            }
        }
        host.filesystems = disk::filesystems(buffer);
        host.devices = disk::devices(buffer);
        host.interfaces = net::interfaces(buffer, shows);
        host.udp_errors = net::udp_errors(buffer);
        host.gpus = gpus.read();
        host
    }
}

fn kilobytes(text: &[u8], wanted: &[(&[u8], &'static str)]) -> Vec<(&'static str, u64)> {
    let kind = |key: &[u8]| wanted.iter().find(|(name, _)| *name == key).map(|(_, kind)| *kind);
    lines::keyed(text).filter_map(|(key, value)| Some((kind(key)?, lines::kilobytes(value)?))).collect()
}

fn load(text: &[u8]) -> Option<[f64; 3]> {
    let mut words = lines::words(text).map(lines::decimal);
    Some([words.next()??, words.next()??, words.next()??])
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=4711`, microseconds.
fn pressure(resource: &'static str, text: &[u8]) -> Vec<Pressure> {
    let line = |line: &[u8]| {
        let mut words = lines::words(line);
        let kind = match words.next()? {
            b"some" => "some",
            b"full" => "full",
            _ => return None,
        };
        let total = words.find_map(|word| word.strip_prefix(b"total="))?;
        Some(Pressure { resource, kind, seconds: lines::number(total)? as f64 / 1e6 })
    };
    lines::rows(text).filter_map(line).collect()
}

const MEMORY: [(&[u8], &str); 7] = [
    (b"MemTotal", "total"),
    (b"MemFree", "free"),
    (b"MemAvailable", "available"),
    (b"Buffers", "buffers"),
    (b"Cached", "cached"),
    (b"Shmem", "shared"),
    (b"Dirty", "dirty"),
];
const SWAP: [(&[u8], &str); 2] = [(b"SwapTotal", "total"), (b"SwapFree", "free")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_and_boot_time_are_found() {
        let stat = Stat::parse(
            b"cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1 1 1\ncpu1 0 1 2 3\nintr 99 1 2\nbtime 1700000000\n",
        );
        assert_eq!(stat.ticks, Some([1, 2, 3, 4, 5, 6, 7, 8]));
        assert_eq!((stat.cpus, stat.booted_seconds), (2, Some(1_700_000_000)));
    }

    #[test]
    fn memory_load_and_pressure_are_read() {
        let text = b"MemTotal:       24683656 kB\nMemFree: 7 kB\nSwapTotal: 0 kB\nHugePages_Total: 0\n";
        assert_eq!(kilobytes(text, &MEMORY), [("total", 24_683_656 << 10), ("free", 7 << 10)]);
        assert_eq!(kilobytes(text, &SWAP), [("total", 0)]);
        assert_eq!(load(b"1.21 0.95 1.33 10/134 18389\n"), Some([1.21, 0.95, 1.33]));
        assert_eq!(load(b"1.21 0.95"), None);
        let found =
            pressure("io", b"some avg10=2.98 avg60=1.05 avg300=1.39 total=2500000\nfull avg10=0 total=x\n");
        assert_eq!(found, [Pressure { resource: "io", kind: "some", seconds: 2.5 }]);
    }

    #[test]
    fn this_host_has_all_of_it() {
        let mut buffer = Buffer::default();
        let stat = Stat::read(&mut buffer);
        let host = Host::read(&stat, procfs::ticks_per_second(), |_| true, &Gpus::none(), &mut buffer);
        assert!(
            host.cpus.is_some_and(|cpus| cpus > 0) && host.cpu_seconds.is_some_and(|modes| modes[0] > 0.0)
        );
        let of = |kind| host.memory.iter().find(|(name, _)| *name == kind).unwrap().1;
        assert!(of("total") > of("available") && of("available") > 1 << 20);
        assert!(host.load.is_some());
        assert!(host.interfaces.iter().any(|interface| interface.name == "lo"), "{:?}", host.interfaces);
        assert!(host.udp_errors.iter().any(|(reason, _)| *reason == "receive_buffer"));
        assert!(host.filesystems.iter().all(|fs| fs.available_bytes <= fs.size_bytes && fs.size_bytes > 0));
    }
}
