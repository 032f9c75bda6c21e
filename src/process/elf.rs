//! Programs and libraries as they lie in another process's memory: which symbols they offer.
//!
//! ```text
//! first page: ELF header, program headers -> PT_DYNAMIC -> hash table -> symbol -> name
//! ```
//!
//! Read from memory and not from the file: the file may have been replaced, or lie in another root. Everything found is a
//! claim: every count is bounded, every address is read only if it can be.

use std::collections::BTreeMap;

use super::maps::{Mapping, Maps};
use super::memory::{Fault, Memory};

/// A program or library that is mapped.
#[derive(Clone, Debug)]
pub struct Object {
    /// Path of the file.
    pub path: String,
    /// What is to be added to an address of the file for one of the process.
    bias: u64,
    /// Parts that are loaded: address in the file's own terms, offset in the file, bytes in the file.
    loads: Vec<Load>,
    strings: u64,
    symbols: u64,
    hash: Hash,
}

#[derive(Clone, Copy, Debug)]
struct Load {
    address: u64,
    offset: u64,
    file_bytes: u64,
    execute: bool,
}

#[derive(Clone, Copy, Debug)]
enum Hash {
    Gnu(u64),
    SysV(u64),
}

/// A symbol that an object defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Where it is in the process.
    pub address: u64,
    /// Where it is in the file; none where it is not of the file, as variables that start as 0.
    pub file_offset: Option<u64>,
    /// Bytes.
    pub size: u64,
}

/// All objects of a process, in the order of their addresses. Files that are only read as data are none.
pub fn objects(memory: &impl Memory, maps: &Maps) -> Result<Vec<Object>, Fault> {
    let mut first: BTreeMap<&str, (&Mapping, bool)> = BTreeMap::new();
    for mapping in maps.iter() {
        let Some(file) = mapping.file() else { continue };
        let known = first.entry(file).or_insert((mapping, false));
        known.1 |= mapping.execute;
    }
    let mut heads: Vec<_> = first.into_iter().filter(|(_, (head, runs))| *runs && head.offset == 0).collect();
    heads.sort_by_key(|(_, (head, _))| head.start);
    let mut found = Vec::new();
    for (path, (head, _)) in heads.into_iter().take(MOST_OBJECTS) {
        match Object::read(memory, maps, path, head) {
            Ok(object) => found.extend(object),
            Err(Fault::Unmapped) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(found)
}

/// Whether the program is one of 32 bits, or of the other byte order; its layout is another one then.
pub fn is_foreign(memory: &impl Memory, maps: &Maps) -> Result<bool, Fault> {
    let Some(head) = maps.iter().find(|mapping| mapping.offset == 0 && mapping.file().is_some()) else {
        return Ok(false);
    };
    let mut ident = [0; 6];
    match memory.read(head.start, &mut ident) {
        Ok(()) => Ok(ident.starts_with(MAGIC) && !ident.ends_with(&[CLASS_64, LITTLE_ENDIAN])),
        Err(Fault::Unmapped) => Ok(false),
        Err(fault) => Err(fault),
    }
}

impl Object {
    fn read(memory: &impl Memory, maps: &Maps, path: &str, head: &Mapping) -> Result<Option<Self>, Fault> {
        let mut header = [0; HEADER];
        if head.end - head.start < HEADER as u64 {
            return Ok(None);
        }
        memory.read(head.start, &mut header)?;
        if !header.starts_with(MAGIC) || header.get(4..6) != Some(&[CLASS_64, LITTLE_ENDIAN]) {
            return Ok(None);
        }
        let at = head.start.saturating_add(word(&header, 32));
        let count = usize::from(half(&header, 56)).min(MOST_SEGMENTS);
        let mut table = vec![0; count * SEGMENT];
        memory.read(at, &mut table)?;
        let mut loads = Vec::new();
        let mut dynamic = None;
        for segment in table.as_chunks::<SEGMENT>().0 {
            let (offset, address) = (word(segment, 8), word(segment, 16));
            match int(segment, 0) {
                PT_LOAD => {
                    let execute = int(segment, 4) & PF_X != 0;
                    loads.push(Load { address, offset, file_bytes: word(segment, 32), execute });
                }
                PT_DYNAMIC => dynamic = Some((address, word(segment, 40).min(MOST_DYNAMIC))),
                _ => {}
            }
        }
        let Some((address, size)) = dynamic else { return Ok(None) };
        let Some(base) = loads.iter().find(|load| load.offset < PAGE).map(|load| load.address & !(PAGE - 1))
        else {
            return Ok(None);
        };
        let bias = head.start.wrapping_sub(base);
        let mut entries = vec![0; size as usize & !(DYNAMIC - 1)];
        memory.read(bias.wrapping_add(address), &mut entries)?;
        let mut of_tag = BTreeMap::new();
        for entry in entries.as_chunks::<DYNAMIC>().0 {
            of_tag.entry(word(entry, 0)).or_insert(word(entry, 8));
        }
        // glibc writes the addresses of the process over those of the file; others leave them.
        let absolute = |value: u64| {
            let own = maps.at(value).is_some_and(|mapping| mapping.file() == Some(path));
            if own { value } else { value.wrapping_add(bias) }
        };
        let pointer = |tag| of_tag.get(&tag).map(|value| absolute(*value));
        let hash = pointer(DT_GNU_HASH).map(Hash::Gnu).or(pointer(DT_HASH).map(Hash::SysV));
        let (Some(hash), Some(strings), Some(symbols)) = (hash, pointer(DT_STRTAB), pointer(DT_SYMTAB))
        else {
            return Ok(None);
        };
        Ok(Some(Self { path: path.to_owned(), bias, loads, strings, symbols, hash }))
    }

    /// The last part of its path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// A symbol that it defines and offers to others.
    pub fn symbol(&self, memory: &impl Memory, name: &str) -> Result<Option<Symbol>, Fault> {
        let found = match self.hash {
            Hash::Gnu(table) => self.by_gnu_hash(memory, table, name),
            Hash::SysV(table) => self.by_sysv_hash(memory, table, name),
        };
        match found {
            Err(Fault::Unmapped) => Ok(None),
            found => found,
        }
    }

    /// Code that is mapped: addresses of the process, with the offset in the file at which it starts.
    pub fn code(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let code = self.loads.iter().filter(|load| load.execute);
        code.map(|load| (self.bias.wrapping_add(load.address), load.file_bytes, load.offset))
    }

    fn by_gnu_hash(&self, memory: &impl Memory, table: u64, name: &str) -> Result<Option<Symbol>, Fault> {
        let mut head = [0; 16];
        memory.read(table, &mut head)?;
        let (buckets, first, bloom) = (int(&head, 0), int(&head, 4), int(&head, 8));
        let wanted =
            name.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(byte.into()));
        let Some(bucket) = wanted.checked_rem(buckets) else { return Ok(None) };
        let at = table.wrapping_add(16 + u64::from(bloom) * 8);
        let chains = at.wrapping_add(u64::from(buckets) * 4);
        let mut index = read_int(memory, at.wrapping_add(u64::from(bucket) * 4))?;
        for _ in 0..MOST_IN_CHAIN {
            let Some(place) = index.checked_sub(first) else { break };
            let hash = read_int(memory, chains.wrapping_add(u64::from(place) * 4))?;
            if hash | 1 == wanted | 1
                && let Some(symbol) = self.named(memory, index, name)?
            {
                return Ok(Some(symbol));
            }
            if hash & 1 != 0 {
                break;
            }
            index = index.wrapping_add(1);
        }
        Ok(None)
    }

    fn by_sysv_hash(&self, memory: &impl Memory, table: u64, name: &str) -> Result<Option<Symbol>, Fault> {
        let wanted = name.bytes().fold(0_u32, |hash, byte| {
            let hash = (hash << 4).wrapping_add(byte.into());
            let high = hash & 0xf000_0000;
            (hash ^ (high >> 24)) & !high
        });
        let buckets = read_int(memory, table)?;
        let Some(bucket) = wanted.checked_rem(buckets) else { return Ok(None) };
        let mut index = read_int(memory, table.wrapping_add(8 + u64::from(bucket) * 4))?;
        let chains = table.wrapping_add(8 + u64::from(buckets) * 4);
        for _ in 0..MOST_IN_CHAIN {
            if index == 0 {
                break;
            }
            if let Some(symbol) = self.named(memory, index, name)? {
                return Ok(Some(symbol));
            }
            index = read_int(memory, chains.wrapping_add(u64::from(index) * 4))?;
        }
        Ok(None)
    }

    /// The symbol with that number, if it is defined and has that name.
    fn named(&self, memory: &impl Memory, index: u32, name: &str) -> Result<Option<Symbol>, Fault> {
        let mut entry = [0; SYMBOL];
        memory.read(self.symbols.wrapping_add(u64::from(index) * SYMBOL as u64), &mut entry)?;
        if half(&entry, 6) == 0 {
            return Ok(None);
        }
        let mut text = vec![0; name.len() + 1];
        memory.read(self.strings.wrapping_add(u64::from(int(&entry, 0))), &mut text)?;
        if text.strip_suffix(&[0]) != Some(name.as_bytes()) {
            return Ok(None);
        }
        let (value, size) = (word(&entry, 8), word(&entry, 16));
        let load =
            self.loads.iter().find(|load| (0..load.file_bytes).contains(&value.wrapping_sub(load.address)));
        let file_offset = load.and_then(|load| (value - load.address).checked_add(load.offset));
        Ok(Some(Symbol { address: self.bias.wrapping_add(value), file_offset, size }))
    }
}

fn read_int(memory: &impl Memory, address: u64) -> Result<u32, Fault> {
    let mut bytes = [0; 4];
    memory.read(address, &mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Words of a structure; 0 where it ends before.
pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u64::from_le_bytes(*word))
}

pub(super) fn int(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |int| u32::from_le_bytes(*int))
}

pub(super) fn half(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |half| u16::from_le_bytes(*half))
}

/// elf(5).
const MAGIC: &[u8] = b"\x7fELF";
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const HEADER: usize = 64;
const SEGMENT: usize = 56;
const DYNAMIC: usize = 16;
const SYMBOL: usize = 24;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PF_X: u32 = 1;
const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_GNU_HASH: u64 = 0x6fff_fef5;
/// Granularity of the addresses at which parts are loaded.
const PAGE: u64 = 4096;
/// More than any object has.
const MOST_SEGMENTS: usize = 64;
const MOST_DYNAMIC: u64 = 16 << 10;
const MOST_IN_CHAIN: u32 = 4096;
const MOST_OBJECTS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::memory::Remote;

    #[test]
    fn functions_of_the_own_c_library_are_found_where_they_are() {
        let own = Remote::open(std::process::id()).unwrap();
        let maps = own.maps().unwrap();
        let objects = objects(&own, &maps).unwrap();
        let Some(libc) = objects.iter().find(|object| object.name().starts_with("libc.so")) else { return };
        let malloc = libc.symbol(&own, "malloc").unwrap().unwrap();
        assert_eq!(malloc.address, libc::malloc as *const () as u64);
        assert!(malloc.size > 0 && malloc.file_offset.is_some());
        assert!(libc.symbol(&own, "no_such_function").unwrap().is_none());
        assert!(libc.code().any(|(start, bytes, _)| (start..start + bytes).contains(&malloc.address)));
        assert!(!is_foreign(&own, &maps).unwrap());
    }
}
