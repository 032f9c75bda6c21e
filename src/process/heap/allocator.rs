//! Which allocator a process uses: who offers `malloc`.
//!
//! The loader takes the first definition that it finds, and that of the C library comes last. So if anything else but the
//! C library and the loader itself defines it (jemalloc, tcmalloc, mimalloc, a sanitizer, the program), that is the one.

use super::{Failure, Unsupported};
use crate::process::elf::{self, Object};
use crate::process::maps::Maps;
use crate::process::memory::Memory;

/// The glibc whose malloc is in use.
pub(super) fn find(memory: &impl Memory, maps: &Maps) -> Result<Object, Failure> {
    if maps.is_empty() {
        return Err(Unsupported::NoMemory.into());
    }
    if elf::is_foreign(memory, maps)? {
        return Err(Unsupported::Foreign.into());
    }
    let mut glibc = None;
    for object in elf::objects(memory, maps)? {
        if is_loader(object.name()) || object.symbol(memory, "malloc")?.is_none() {
            continue;
        }
        if object.symbol(memory, "gnu_get_libc_version")?.is_some() {
            glibc = Some(object);
        } else if object.path.contains("musl") {
            return Err(Unsupported::Musl(object.path).into());
        } else if object.symbol(memory, "__libc_start_main")?.is_some() {
            return Err(Unsupported::OtherLibrary(object.path).into());
        } else {
            return Err(Unsupported::OtherAllocator(object.name().to_owned()).into());
        }
    }
    glibc.ok_or_else(|| Unsupported::Static.into())
}

/// The loader of glibc: until 2.30 it offered a malloc for its own start. That of musl is the C library too.
pub(in crate::process) fn is_loader(name: &str) -> bool {
    name.starts_with("ld-linux") || name.starts_with("ld-2.") || name.starts_with("ld64.so")
}
