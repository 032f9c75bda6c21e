//! The mappings of a process: `/proc/PID/maps`.
//!
//! ```text
//! 55d0c8a00000-55d0c8a21000 rw-p 00000000 00:00 0                          [heap]
//! 7f1c2be00000-7f1c2be26000 r--p 00000000 fe:00 1835                       /usr/lib/x86_64-linux-gnu/libc.so.6
//! ```
//!
//! It is read once a walk and is old from then on: it says where to look, never what is there.

use std::io::{self, Read};

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// May be read.
    pub read: bool,
    /// May be written.
    pub write: bool,
    /// May be executed.
    pub execute: bool,
    /// Where in the file it starts, bytes.
    pub offset: u64,
    /// Number of the file; 0 = none.
    pub inode: u64,
    /// Path of the file, or what the kernel calls it; empty where there is neither.
    pub name: String,
}

/// All of them, by address.
#[derive(Clone, Debug, Default)]
pub struct Maps(Vec<Mapping>);

impl Maps {
    /// Reads and parses the file. More mappings than the kernel allows by default sixteen times over are an error.
    pub fn read(file: impl Read) -> io::Result<Self> {
        let mut text = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut text)?;
        if text.len() as u64 == MOST_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has too many mappings"));
        }
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    /// Lines that are none are left out.
    pub fn parse(text: &str) -> Self {
        let mut mappings: Vec<_> = text.lines().filter_map(Mapping::parse).collect();
        mappings.sort_by_key(|mapping| mapping.start);
        Self(mappings)
    }

    /// In order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.0.iter()
    }

    /// Whether there is none, as of a thread of the kernel.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one in which an address lies.
    pub fn at(&self, address: u64) -> Option<&Mapping> {
        let after = self.0.partition_point(|mapping| mapping.start <= address);
        self.0.get(after.checked_sub(1)?).filter(|mapping| address < mapping.end)
    }

    /// Whether an address can be read and written.
    pub fn is_writable(&self, address: u64) -> bool {
        self.at(address).is_some_and(|mapping| mapping.read && mapping.write)
    }

    /// How far one can read and write from an address on, over neighbours that touch; the address itself if not at all.
    pub fn writable_until(&self, address: u64) -> u64 {
        let mut end = address;
        let from = self.0.partition_point(|mapping| mapping.end <= address);
        for mapping in self.0.iter().skip(from) {
            if mapping.start > end || !mapping.read || !mapping.write {
                break;
            }
            end = mapping.end;
        }
        end
    }
}

impl Mapping {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(6, ' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
        let may = fields.next()?.as_bytes();
        let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        let name = fields.next().unwrap_or_default().trim_start().to_owned();
        let has = |at: usize, letter| may.get(at) == Some(&letter);
        let (read, write, execute) = (has(0, b'r'), has(1, b'w'), has(2, b'x'));
        (start < end).then_some(Self { start, end, read, write, execute, offset, inode, name })
    }

    /// Without a file; some have a name all the same (`[anon: glibc: malloc]`).
    pub fn is_anonymous(&self) -> bool {
        self.inode == 0 && (self.name.is_empty() || self.name.starts_with("[anon"))
    }

    /// The path of its file. It may have been replaced since.
    pub fn file(&self) -> Option<&str> {
        let path = self.name.strip_suffix(" (deleted)").unwrap_or(&self.name);
        (self.inode != 0 && path.starts_with('/')).then_some(path)
    }

    /// The last part of that path.
    pub fn file_name(&self) -> Option<&str> {
        self.file()?.rsplit('/').next()
    }
}

/// 65,530 mappings are the default limit of the kernel; a line is about 100 bytes.
const MOST_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
55d0c8a00000-55d0c8a21000 rw-p 00000000 00:00 0                          [heap]
55d0c8a21000-55d0c8a31000 rw-p 00000000 00:00 0
7f1c2be00000-7f1c2be26000 r--p 00000000 fe:00 1835                       /usr/lib/my libc.so.6 (deleted)
7f1c2be26000-7f1c2bf7b000 r-xp 00026000 fe:00 1835                       /usr/lib/my libc.so.6 (deleted)
7f1c2c000000-7f1c2c010000 rw-p 00000000 00:00 0                          [anon: glibc: malloc]
nonsense
";

    #[test]
    fn a_line_becomes_a_mapping() {
        let maps = Maps::parse(TEXT);
        assert_eq!(maps.iter().count(), 5);
        let heap = maps.at(0x55d0_c8a0_0000).unwrap();
        assert!(heap.read && heap.write && !heap.execute && heap.name == "[heap]" && !heap.is_anonymous());
        let code = maps.at(0x7f1c_2bf7_afff).unwrap();
        assert!(code.execute && code.offset == 0x26000 && code.inode == 1835);
        assert_eq!((code.file(), code.file_name()), (Some("/usr/lib/my libc.so.6"), Some("my libc.so.6")));
        assert!(maps.at(0x7f1c_2c00_0000).unwrap().is_anonymous());
        assert!(maps.at(0x55d0_c8a2_1000).unwrap().is_anonymous());
    }

    #[test]
    fn addresses_are_looked_up() {
        let maps = Maps::parse(TEXT);
        assert!(maps.at(0).is_none() && maps.at(u64::MAX).is_none() && maps.at(0x7f1c_2bf7_b000).is_none());
        assert!(maps.is_writable(0x55d0_c8a3_0fff) && !maps.is_writable(0x7f1c_2be0_0000));
        assert_eq!(maps.writable_until(0x55d0_c8a0_1000), 0x55d0_c8a3_1000);
        assert_eq!(maps.writable_until(0x55d0_c8a3_1000), 0x55d0_c8a3_1000);
        assert_eq!(maps.writable_until(0x7f1c_2be0_0000), 0x7f1c_2be0_0000);
        assert!(Maps::parse("").is_empty());
    }
}
