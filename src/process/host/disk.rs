//! Disks: how full file systems are, how busy devices.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use crate::process::files::Buffer;
use crate::process::lines;

/// How full a file system is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// Where it is mounted: the shortest of its places.
    pub mount: String,
    /// Bytes it has.
    pub size_bytes: u64,
    /// Bytes that are left for users other than root.
    pub available_bytes: u64,
    /// Files it can have; absent where there is no such number.
    pub files: Option<u64>,
    /// Of them, those that can still be made.
    pub files_free: Option<u64>,
}

/// What a disk has done.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// As in `/sys/block`.
    pub name: String,
    /// Bytes read from it.
    pub read_bytes: u64,
    /// Bytes written to it.
    pub written_bytes: u64,
    /// Time in which it had something to do.
    pub busy_seconds: f64,
}

/// Those on devices of this machine. What is on other hosts may not answer, and would hold up everything.
pub(super) fn filesystems(buffer: &mut Buffer) -> Vec<Filesystem> {
    let Ok(text) = buffer.read_path(Path::new("/proc/self/mountinfo"), MOST_BYTES) else { return Vec::new() };
    let mut filesystems = Vec::new();
    for mount in mounts(text) {
        // Not there: in another root. Not permitted: hidden.
        let Ok(stat) = statvfs(&mount) else { continue };
        let block = stat.f_frsize;
        if stat.f_blocks == 0 {
            continue;
        }
        let has_files = stat.f_files > 0;
        filesystems.push(Filesystem {
            mount: mount.to_string_lossy().into_owned(),
            size_bytes: stat.f_blocks.saturating_mul(block),
            available_bytes: stat.f_bavail.saturating_mul(block),
            files: has_files.then_some(stat.f_files),
            files_free: has_files.then_some(stat.f_favail),
        });
    }
    filesystems
}

/// One place of each file system, the shortest one.
fn mounts(text: &[u8]) -> Vec<PathBuf> {
    let mut found: Vec<(&[u8], PathBuf)> = Vec::new();
    for line in lines::rows(text) {
        let mut words = lines::words(line);
        let (Some(device), Some(point)) = (words.nth(2), words.nth(1)) else { continue };
        let mut words = words.skip_while(|word| *word != b"-").skip(1);
        let (Some(kind), Some(source)) = (words.next(), words.next()) else { continue };
        let on_device =
            source.starts_with(b"/dev/") && !FULL_BY_NATURE.contains(&kind) && !kind.starts_with(b"fuse");
        // The root of a container, and pools, whose source is a name.
        if !on_device && kind != b"zfs" && !(kind == b"overlay" && point == b"/") {
            continue;
        }
        let point = unescaped(point);
        let known = found.iter_mut().find(|(known, _)| *known == device);
        if let Some((_, known)) = known {
            if known.as_os_str().len() > point.as_os_str().len() {
                *known = point;
            }
        } else if found.len() < MOST_FILESYSTEMS {
            found.push((device, point));
        }
    }
    found.into_iter().map(|(_, point)| point).collect()
}

/// `\040` is a space.
fn unescaped(word: &[u8]) -> PathBuf {
    let text = String::from_utf8_lossy(word);
    let mut parts = text.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok());
        match byte {
            Some(byte) => path.push(char::from(byte)),
            None => path.push('\\'),
        }
        path.push_str(if byte.is_some() { part.get(3..).unwrap_or_default() } else { part });
    }
    path.into()
}

/// Whole disks that have done something.
pub(super) fn devices(buffer: &mut Buffer) -> Vec<Device> {
    // Parts of a disk are counted in it. Where nobody may look, nothing tells them apart.
    let Ok(entries) = fs::read_dir("/sys/block") else { return Vec::new() };
    let whole: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let Ok(text) = buffer.read_path(Path::new("/proc/diskstats"), MOST_BYTES) else { return Vec::new() };
    let all = lines::rows(text).filter_map(device).filter(|device| whole.contains(&device.name));
    all.take(MOST_DEVICES).collect()
}

/// `major minor name reads merged sectors_read ms writes merged sectors_written ms in_flight ms_busy ...`
fn device(line: &[u8]) -> Option<Device> {
    let mut words = lines::words(line);
    let name = std::str::from_utf8(words.nth(2)?).ok()?;
    let mut numbers = words.map(lines::number);
    let (reads, read) = (numbers.next()??, numbers.nth(1)??);
    let (writes, written) = (numbers.nth(1)??, numbers.nth(1)??);
    let busy_ms = numbers.nth(2)??;
    (reads + writes > 0 && !name.starts_with("loop") && !name.starts_with("ram")).then(|| Device {
        name: name.to_owned(),
        read_bytes: read.saturating_mul(SECTOR_BYTES),
        written_bytes: written.saturating_mul(SECTOR_BYTES),
        busy_seconds: busy_ms as f64 / 1000.0,
    })
}

/// Whatever the sectors of the disk are (Documentation/admin-guide/iostats).
const SECTOR_BYTES: u64 = 512;
const FULL_BY_NATURE: [&[u8]; 3] = [b"squashfs", b"iso9660", b"udf"];
const MOST_FILESYSTEMS: usize = 32;
const MOST_DEVICES: usize = 64;
const MOST_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_system_of_a_device_is_taken_once() {
        let text = b"22 27 0:21 / /proc rw - proc proc rw\n\
            27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            42 27 254:0 /run /run/netns rw shared:1 - ext4 /dev/vda rw\n\
            43 27 254:1 /x /srv/a\\040b rw - xfs /dev/vdb rw\n\
            44 27 254:1 / /srv rw master:3 - xfs /dev/vdb rw\n\
            45 27 7:0 / /snap/x ro - squashfs /dev/loop0 ro\n\
            46 27 0:50 / /mnt rw - nfs4 host:/ rw\n\
            47 27 0:51 / /other rw - overlay overlay rw\n";
        assert_eq!(mounts(text), [PathBuf::from("/"), PathBuf::from("/srv")]);
        assert_eq!(unescaped(b"/srv/a\\040b\\x"), PathBuf::from("/srv/a b\\x"));
    }

    #[test]
    fn a_line_of_diskstats_is_taken_apart() {
        let line = b" 254       0 vda 100 5 2000 40 50 6 800 70 0 123456 110 0 0 0 0 9 1";
        let expected = Device {
            name: "vda".into(),
            read_bytes: 1_024_000,
            written_bytes: 409_600,
            busy_seconds: 123.456,
        };
        assert_eq!(device(line), Some(expected));
        assert_eq!(device(b"   7       0 loop0 1 0 0 0 0 0 0 0 0 0 0"), None);
        assert_eq!(device(b" 254       1 vda1 0 0 0 0 0 0 0 0 0 0 0"), None, "nothing done");
    }
}
