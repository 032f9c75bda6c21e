//! Where the functions of an allocator lie in their file, and the jumps into malloc that are none of a caller.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::image::Image;
use super::{below_its_root, failed};
use crate::process::Process;
use crate::process::elf::{self, Object, int};
use crate::process::maps::Maps;
use crate::process::memory::{Memory, Remote};
use crate::process::privileged::Missing;
use crate::process::probe::{self, Uprobes};

/// Offsets in a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    /// First instructions of malloc and its relatives.
    entries: BTreeSet<u64>,
    /// Jumps from within them into malloc.
    inner: BTreeSet<u64>,
}

/// An allocator, its places known to the kernel.
#[derive(Debug)]
pub(super) struct Allocator {
    /// Where a call is counted.
    pub(super) added: probe::Places,
    /// Where one is that was none of a caller.
    pub(super) taken_off: Option<probe::Places>,
}

/// Those of files that were looked at: few programs have a C library of their own.
#[derive(Debug, Default)]
pub(super) struct Cache(BTreeMap<(u64, u64), Arc<Allocator>>);

impl Cache {
    /// The allocator that a process uses.
    pub(super) fn of(&mut self, of: Process, uprobes: &Uprobes) -> Result<Arc<Allocator>, Missing> {
        let file = allocator(of)?;
        let data =
            fs::metadata(&file).map_err(|error| Missing::Failed(format!("{}: {error}", file.display())))?;
        let key = (data.dev(), data.ino());
        if self.0.len() >= MOST_FILES {
            self.0.clear();
        }
        if let Some(known) = self.0.get(&key) {
            return Ok(Arc::clone(known));
        }
        let image =
            Image::open(&file).map_err(|error| Missing::Failed(format!("{}: {error}", file.display())))?;
        let found = places(&image)?
            .ok_or_else(|| Missing::Unsupported(format!("{} offers no malloc", file.display())))?;
        let found = Arc::new(Allocator::name(&found, &file, uprobes).map_err(|error| failed(&error))?);
        self.0.insert(key, Arc::clone(&found));
        Ok(found)
    }
}

impl Allocator {
    fn name(places: &Places, file: &Path, uprobes: &Uprobes) -> io::Result<Self> {
        let inner = (!places.inner.is_empty()).then(|| uprobes.name(file, &places.inner));
        Ok(Self { added: uprobes.name(file, &places.entries)?, taken_off: inner.transpose()? })
    }
}

/// The file from which a process has its malloc. Without the right to look into it, the C library of this host is taken
/// for it: that of another one is another file, and nothing is counted then.
fn allocator(of: Process) -> Result<PathBuf, Missing> {
    let memory = match Remote::open(of.pid) {
        Ok(memory) => memory,
        Err(crate::process::memory::Fault::Denied) => {
            let usual = USUAL.iter().map(PathBuf::from).find(|path| path.exists());
            return usual.ok_or_else(|| Missing::Failed("the C library of this host was not found".into()));
        }
        Err(fault) => return Err(fault.into()),
    };
    let maps = memory.maps()?;
    let object = provider(&memory, &maps)?;
    let mapped =
        maps.iter().find(|mapping| mapping.file() == Some(&object.path)).map(|mapping| mapping.inode);
    let file = below_its_root(of, &object.path);
    // Another one under the same name is not the one that runs.
    match fs::metadata(&file) {
        Ok(data) if Some(data.ino()) == mapped => Ok(file),
        _ => Err(Missing::Failed(format!(
            "{} was replaced since the process was started: restart it",
            object.path
        ))),
    }
}

/// The first that offers malloc, the C library last (as in the walk of heaps).
fn provider(memory: &Remote, maps: &Maps) -> Result<Object, Missing> {
    let mut library = None;
    for object in elf::objects(memory, maps)? {
        if crate::process::heap::is_loader(object.name()) || object.symbol(memory, "malloc")?.is_none() {
            continue;
        }
        if object.symbol(memory, GLIBC)?.is_none() {
            return Ok(object);
        }
        library = Some(object);
    }
    library
        .ok_or_else(|| Missing::Unsupported("no library of it offers malloc: it is linked statically".into()))
}

fn places(image: &Image) -> Result<Option<Places>, crate::process::memory::Fault> {
    let Some(object) = elf::objects(image, &image.maps()?)?.into_iter().next() else { return Ok(None) };
    let mut found = Places::default();
    for name in FUNCTIONS {
        found.entries.extend(object.symbol(image, name)?.and_then(|symbol| symbol.file_offset));
    }
    let Some(malloc) = object.symbol(image, "malloc")? else { return Ok(None) };
    // What holds of glibc need not of others: a program that brings its own malloc jumps there from everywhere.
    if object.symbol(image, GLIBC)?.is_some() {
        for (start, bytes, offset) in object.code() {
            // malloc and its relatives are one source file, and stay together.
            let from = start.max(malloc.address.saturating_sub(NEAR));
            let to = start.saturating_add(bytes).min(malloc.address.saturating_add(NEAR));
            if from >= to {
                continue;
            }
            let mut code = vec![0; (to - from) as usize];
            image.read(from, &mut code)?;
            found.inner.extend(jumps(&code, from, malloc.address).map(|at| at - start + offset));
        }
    }
    Ok(Some(found))
}

/// Addresses of the instructions in `code` that call or jump to `target` directly. 32 bits have to fit, which they do not
/// by chance.
fn jumps(code: &[u8], start: u64, target: u64) -> impl Iterator<Item = u64> {
    let x86 = cfg!(target_arch = "x86_64");
    let step = if x86 { 1 } else { 4 };
    (0..code.len()).step_by(step).filter_map(move |at| {
        let here = code.get(at..)?;
        let address = start + at as u64;
        if x86 {
            // call rel32, jmp rel32; 0f 8x: jump on condition.
            let (length, relative) = match here {
                [0xe8 | 0xe9, rest @ ..] if rest.len() >= 4 => (5, int(rest, 0)),
                [0x0f, 0x80..=0x8f, rest @ ..] if rest.len() >= 4 => (6, int(rest, 0)),
                _ => return None,
            };
            let to = address.wrapping_add(length).wrapping_add_signed(i64::from(relative as i32));
            return (to == target).then_some(address);
        }
        // b, bl imm26.
        let word = int(here, 0);
        let words = i64::from((word << 6) as i32 >> 6);
        let to = address.wrapping_add_signed(4 * words);
        (word & 0x7c00_0000 == 0x1400_0000 && to == target).then_some(address)
    })
}

/// malloc and its relatives; not free. reallocarray goes through realloc.
const FUNCTIONS: [&str; 8] =
    ["malloc", "calloc", "realloc", "memalign", "aligned_alloc", "posix_memalign", "valloc", "pvalloc"];
const GLIBC: &str = "gnu_get_libc_version";
const NEAR: u64 = 64 << 10;
const MOST_FILES: usize = 64;
/// Where distributions have it.
const USUAL: [&str; 5] = [
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib/aarch64-linux-gnu/libc.so.6",
    "/lib64/libc.so.6",
    "/usr/lib/libc.so.6",
    "/lib/libc.so.6",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn direct_jumps_are_found_and_others_not() {
        let code = [
            0x90, 0xe8, 0xfb, 0x0f, 0, 0, 0xe9, 0xf5, 0x0f, 0, 0, 0x0f, 0x84, 0xef, 0x0f, 0, 0, 0xe8, 0, 0,
            0, 0,
        ];
        assert_eq!(jumps(&code, 0x1000, 0x2001).collect::<Vec<_>>(), [0x1001]);
        assert_eq!(jumps(&code, 0x1000, 0x2000).collect::<Vec<_>>(), [0x1006, 0x100b]);
    }

    #[test]
    fn the_own_c_library_has_its_places() {
        let maps = Remote::open(std::process::id()).unwrap().maps().unwrap();
        let Some(file) =
            maps.iter().filter_map(|mapping| mapping.file()).find(|file| file.ends_with("/libc.so.6"))
        else {
            return;
        };
        let places = places(&Image::open(file.as_ref()).unwrap()).unwrap().unwrap();
        assert!((6..=8).contains(&places.entries.len()), "{places:?}");
        assert!((1..=16).contains(&places.inner.len()), "{places:?}");
    }
}
