//! What the control groups of processes take, are allowed and are denied: version 2, and the memory and cpu hierarchies
//! of version 1.
//!
//! ```text
//! /proc/PID/cgroup       0::/system.slice/kamailio.service
//! /proc/self/mountinfo   cgroup2 at /sys/fs/cgroup, root /
//!                        -> /sys/fs/cgroup/system.slice/kamailio.service/{memory.current,memory.max,memory.events,cpu.stat}
//! ```
//!
//! A group outside the namespace of the agent has a path with `..` and cannot be reached: absent.

use std::path::{Component, Path, PathBuf};

use super::files::{Buffer, SMALL};
use super::lines;

/// Where the hierarchies are mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    unified: Option<Mount>,
    memory: Option<Mount>,
    cpu: Option<Mount>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    /// Which of its groups is the top of what is mounted.
    root: String,
    point: PathBuf,
}

/// The groups of one process that tell something.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    unified: Option<PathBuf>,
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
}

/// Figures of one group, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cgroup {
    /// Memory it takes, with the pages of files that it brought in; bytes.
    pub memory_bytes: Option<u64>,
    /// Memory it may take at most, by itself or by what it lies in.
    pub memory_limit_bytes: Option<u64>,
    /// How often its memory ran into something, by [`EVENTS`].
    pub events: [Option<u64>; 3],
    /// Periods in which it ran, where its processor time is limited.
    pub periods: Option<u64>,
    /// Of them, those in which it had to stop.
    pub throttled_periods: Option<u64>,
    /// How long its threads had to wait for that.
    pub throttled_seconds: Option<f64>,
}

/// Kinds of [`Cgroup::events`]: reached its limit, found nothing left to give back, killed a process for it.
pub const EVENTS: [&str; 3] = ["max", "oom", "oom_kill"];

impl Mounts {
    /// Reads `/proc/self/mountinfo`.
    pub fn parse(text: &[u8]) -> Self {
        let mut mounts = Self::default();
        for line in lines::rows(text) {
            let mut words = lines::words(line);
            let (Some(root), Some(point)) = (words.nth(3), words.next()) else { continue };
            // Optional fields end with a hyphen; then type, source, options.
            let mut words = words.skip_while(|word| *word != b"-").skip(1);
            let (Some(kind), Some(options)) = (words.next(), words.nth(1)) else { continue };
            let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
            let mount = || Some(Mount { root: text(root), point: text(point).into() });
            let has = |name: &[u8]| options.split(|&byte| byte == b',').any(|option| option == name);
            match kind {
                b"cgroup2" if mounts.unified.is_none() => mounts.unified = mount(),
                b"cgroup" if has(b"memory") => mounts.memory = mount(),
                b"cgroup" if has(b"cpu") => mounts.cpu = mount(),
                _ => {}
            }
        }
        mounts
    }

    /// Where the groups of a process are, by its `/proc/PID/cgroup`.
    pub fn place(&self, cgroups: &[u8]) -> Place {
        let mut place = Place::default();
        for line in lines::rows(cgroups) {
            let mut parts = line.splitn(3, |&byte| byte == b':');
            let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let path = String::from_utf8_lossy(path);
            let has =
                |name: &[u8]| controllers.split(|&byte| byte == b',').any(|controller| controller == name);
            if controllers.is_empty() {
                place.unified = self.unified.as_ref().and_then(|mount| mount.resolve(&path, true));
            } else if has(b"memory") {
                place.memory = self.memory.as_ref().and_then(|mount| mount.resolve(&path, false));
            } else if has(b"cpu") {
                place.cpu = self.cpu.as_ref().and_then(|mount| mount.resolve(&path, false));
            }
        }
        place
    }
}

impl Mount {
    /// The directory of a group. The top of all of version 1 is the host itself, which is no group to tell of; that of
    /// version 2 has no figures.
    fn resolve(&self, path: &str, with_top: bool) -> Option<PathBuf> {
        let below = if self.root == "/" { path } else { path.strip_prefix(&self.root)? };
        let below = Path::new(below.trim_start_matches('/'));
        let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        let top = below.as_os_str().is_empty();
        (plain && (!top || with_top || self.root != "/")).then(|| self.point.join(below))
    }
}

impl Place {
    /// Reads what there is.
    pub(super) fn read(&self, mounts: &Mounts, buffer: &mut Buffer) -> Cgroup {
        let mut cgroup = Cgroup::default();
        if let Some((directory, mount)) = self.unified.as_ref().zip(mounts.unified.as_ref()) {
            let mut number = |directory: &Path, name: &str| number(directory, name, buffer);
            cgroup.memory_bytes = number(directory, "memory.current");
            cgroup.memory_limit_bytes =
                above(directory, mount).filter_map(|place| number(place, "memory.max")).min();
            if let Ok(text) = buffer.read_path(&directory.join("memory.events"), SMALL) {
                cgroup.events = EVENTS.map(|event| field(text, event.as_bytes()));
            }
            if let Ok(text) = buffer.read_path(&directory.join("cpu.stat"), SMALL) {
                cgroup.throttled(text, b"throttled_usec", 1e-6);
            }
        }
        if cgroup.memory_bytes.is_none()
            && let Some((directory, mount)) = self.memory.as_ref().zip(mounts.memory.as_ref())
        {
            let mut number = |directory: &Path, name: &str| number(directory, name, buffer);
            cgroup.memory_bytes = number(directory, "memory.usage_in_bytes");
            let limits = above(directory, mount).filter_map(|place| number(place, "memory.limit_in_bytes"));
            cgroup.memory_limit_bytes = limits.min().filter(|limit| *limit < NO_LIMIT);
            let max = number(directory, "memory.failcnt");
            let control = buffer.read_path(&directory.join("memory.oom_control"), SMALL);
            cgroup.events = [max, None, control.ok().and_then(|text| field(text, b"oom_kill"))];
        }
        if cgroup.periods.is_none()
            && let Some(directory) = &self.cpu
            && let Ok(text) = buffer.read_path(&directory.join("cpu.stat"), SMALL)
        {
            cgroup.throttled(text, b"throttled_time", 1e-9);
        }
        cgroup
    }
}

impl Cgroup {
    fn throttled(&mut self, text: &[u8], time: &[u8], seconds: f64) {
        self.periods = field(text, b"nr_periods");
        self.throttled_periods = field(text, b"nr_throttled");
        self.throttled_seconds = field(text, time).map(|units| units as f64 * seconds);
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A group and those it lies in, as far as they are mounted.
fn above<'p>(directory: &'p Path, mount: &'p Mount) -> impl Iterator<Item = &'p Path> {
    directory.ancestors().take_while(|place| place.starts_with(&mount.point))
}

/// A file of one number; `max` is none.
fn number(directory: &Path, name: &str, buffer: &mut Buffer) -> Option<u64> {
    lines::number(buffer.read_path(&directory.join(name), SMALL).ok()?.trim_ascii())
}

/// `key value` lines.
fn field(text: &[u8], key: &[u8]) -> Option<u64> {
    lines::rows(text).find_map(|line| {
        let mut words = lines::words(line);
        (words.next()? == key).then(|| lines::number(words.next()?))?
    })
}

/// What version 1 says where there is no limit is the largest number of pages.
const NO_LIMIT: u64 = 1 << 62;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn mounts(unified: &Path, memory: &Path) -> Mounts {
        let text = format!(
            "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - tmpfs tmpfs rw,mode=755\n\
             40 31 0:29 / {} rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 / {} rw,nosuid shared:9 - cgroup cgroup rw,memory\n\
             41 31 0:38 / {} rw shared:8 master:2 - cgroup2 cgroup2 rw,nsdelegate\n",
            memory.join("cpu").display(),
            memory.display(),
            unified.display()
        );
        Mounts::parse(text.as_bytes())
    }

    fn write(directory: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(directory).unwrap();
        for (name, text) in files {
            fs::write(directory.join(name), text).unwrap();
        }
    }

    #[test]
    fn a_group_of_version_2_is_read_and_the_narrowest_limit_counts() {
        let root = tempfile::tempdir().unwrap();
        let slice = root.path().join("system.slice");
        write(&slice, &[("memory.max", "4096\n")]);
        write(
            &slice.join("k.service"),
            &[
                ("memory.current", "2048\n"),
                ("memory.max", "max\n"),
                ("memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n"),
                ("cpu.stat", "usage_usec 900\nnr_periods 10\nnr_throttled 3\nthrottled_usec 2500000\n"),
            ],
        );
        let mounts = mounts(root.path(), Path::new("/nowhere"));
        let place = mounts.place(b"4:memory:/\n0::/system.slice/k.service\n");
        let expected = Cgroup {
            memory_bytes: Some(2048),
            memory_limit_bytes: Some(4096),
            events: [Some(7), Some(2), Some(1)],
            periods: Some(10),
            throttled_periods: Some(3),
            throttled_seconds: Some(2.5),
        };
        assert_eq!(place.read(&mounts, &mut Buffer::default()), expected);
    }

    #[test]
    fn a_group_of_version_1_is_read() {
        let root = tempfile::tempdir().unwrap();
        write(
            &root.path().join("k"),
            &[
                ("memory.usage_in_bytes", "2048\n"),
                ("memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory.failcnt", "5\n"),
                ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"),
            ],
        );
        write(
            &root.path().join("cpu/k"),
            &[("cpu.stat", "nr_periods 1\nnr_throttled 1\nthrottled_time 500000000\n")],
        );
        let mounts = mounts(Path::new("/nowhere"), root.path());
        let place = mounts.place(b"4:memory:/k\n2:cpu,cpuacct:/k\n0::/\n");
        let cgroup = place.read(&mounts, &mut Buffer::default());
        assert_eq!((cgroup.memory_bytes, cgroup.memory_limit_bytes), (Some(2048), None));
        assert_eq!(cgroup.events, [Some(5), None, Some(4)]);
        assert_eq!((cgroup.throttled_periods, cgroup.throttled_seconds), (Some(1), Some(0.5)));
    }

    #[test]
    fn what_lies_outside_the_namespace_is_not_reached() {
        let mounts = mounts(Path::new("/u"), Path::new("/m"));
        assert_eq!(mounts.place(b"0::/../other.scope\n4:memory:/\n"), Place::default());
        assert_eq!(mounts.place(b"0::/\n").unified, Some("/u".into()), "the top of a namespace has figures");
        let part = Mount { root: "/docker/a".into(), point: "/m".into() };
        assert_eq!(part.resolve("/docker/a/b", false), Some("/m/b".into()));
        assert_eq!(part.resolve("/docker/a", false), Some("/m/".into()));
        assert_eq!(part.resolve("/elsewhere", false), None);
    }
}
