//! A library on disk, as if it were loaded at its own addresses.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use crate::process::elf::{half, int, word};
use crate::process::maps::Maps;
use crate::process::memory::{Fault, Memory, Residency};

/// Its bytes and which of them go where.
#[derive(Debug)]
pub(super) struct Image {
    bytes: Vec<u8>,
    /// Address, offset in the file, bytes.
    loads: Vec<(u64, u64, u64)>,
    maps: Maps,
}

impl Image {
    /// No library is larger than [`MOST_BYTES`].
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if fs::metadata(path)?.len() > MOST_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let bytes = fs::read(path)?;
        let table = word(&bytes, 32) as usize;
        let mut loads = Vec::new();
        let mut text = String::new();
        for nth in 0..usize::from(half(&bytes, 56)).min(64) {
            let Some(segment) = bytes.get(table.saturating_add(56 * nth)..) else { break };
            if int(segment, 0) == 1 {
                let (offset, address, size) = (word(segment, 8), word(segment, 16), word(segment, 32));
                loads.push((address, offset, size));
                let end = address.saturating_add(size);
                // As the kernel would show it; what is executable makes a library of it.
                let _ = writeln!(text, "{address:x}-{end:x} r-xp {offset:08x} 00:00 1 /image");
            }
        }
        Ok(Self { bytes, loads, maps: Maps::parse(&text) })
    }
}

impl Memory for Image {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        let found = self.loads.iter().find_map(|(start, offset, size)| {
            let within = address.checked_sub(*start)?;
            let end = within.checked_add(into.len() as u64).filter(|end| end <= size)?;
            self.bytes.get(offset.checked_add(within)? as usize..offset.checked_add(end)? as usize)
        });
        into.copy_from_slice(found.ok_or(Fault::Unmapped)?);
        Ok(())
    }

    fn residency(&self, _: u64, pages: &mut [Residency]) -> Result<(), Fault> {
        pages.fill(Residency::Present);
        Ok(())
    }

    fn maps(&self) -> Result<Maps, Fault> {
        Ok(self.maps.clone())
    }
}

const MOST_BYTES: u64 = 64 << 20;
