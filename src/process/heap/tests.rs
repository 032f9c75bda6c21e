//! The walk over memory that tests make up: whole, torn and hostile.

use proptest::prelude::*;

use super::arena::{BINS, NEXT, STATE, SYSTEM_MEM, TOP};
use super::*;
use crate::process::elf;
use crate::process::memory::Residency;
use crate::process::pools::Roots;

/// Regions of memory, all of them writable.
#[derive(Clone, Debug, Default)]
struct Fake(Vec<(u64, Vec<u8>)>);

impl Fake {
    fn put(&mut self, address: u64, value: u64) {
        let region =
            self.0.iter_mut().find(|(start, bytes)| (*start..start + bytes.len() as u64).contains(&address));
        let (start, bytes) = region.unwrap();
        let at = (address - *start) as usize;
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
}

impl Memory for Fake {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        let found = self.0.iter().find_map(|(start, bytes)| {
            let at = usize::try_from(address.checked_sub(*start)?).ok()?;
            bytes.get(at..at.checked_add(into.len())?)
        });
        into.copy_from_slice(found.ok_or(Fault::Unmapped)?);
        Ok(())
    }

    fn residency(&self, _: u64, pages: &mut [Residency]) -> Result<(), Fault> {
        pages.fill(Residency::Present);
        Ok(())
    }

    fn maps(&self) -> Result<Maps, Fault> {
        let line = |(start, bytes): &(u64, Vec<u8>)| {
            let (end, name) = (start + bytes.len() as u64, if *start == HEAP { "[heap]" } else { "" });
            format!("{start:x}-{end:x} rw-p 00000000 00:00 0 {name}\n")
        };
        Ok(Maps::parse(&self.0.iter().map(line).collect::<String>()))
    }
}

const LIBC: u64 = 0x7f00_0000_0000;
const MAIN: u64 = LIBC + 0x100;
const HEAP: u64 = 0x5555_0000_0000;
const OTHER: u64 = 0x7f10_0000_0000;

/// How a heap is made up.
#[derive(Clone, Debug)]
struct Plan {
    /// Sizes in units of 16 bytes, and whether the chunk is in use.
    chunks: Vec<(u16, bool)>,
    /// sizeof(heap_info).
    header: u64,
    /// Links of fastbins are mangled.
    mangled: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    let chunks = prop::collection::vec((2..400_u16, any::<bool>()), 1..300);
    (chunks, prop::sample::select(vec![0x20, 0x30]), any::<bool>())
        .prop_map(|(chunks, header, mangled)| Plan { chunks, header, mangled })
}

/// Lays chunks out from `first` to `end`, the rest is the top; returns where that is. Two free ones never meet.
fn lay_out(memory: &mut Fake, plan: &Plan, first: u64, end: u64, mark: u64, expected: &mut Heap) -> u64 {
    let mut at = first;
    let (mut previous_used, mut previous_size) = (true, 0);
    for (units, used) in &plan.chunks {
        let (size, used) = (u64::from(*units) * 16, *used || !previous_used);
        if at + size + 64 > end {
            break;
        }
        memory.put(at, if previous_used { 0x6b6b } else { previous_size });
        memory.put(at + 8, size | u64::from(previous_used) | if used { mark } else { 0 });
        if used {
            expected.in_use += size;
        } else {
            expected.free += size;
        }
        at += size;
        (previous_used, previous_size) = (used, size);
    }
    // The top follows a chunk in use: a free one would be part of it.
    if !previous_used {
        expected.in_use += 32;
        memory.put(at, previous_size);
        memory.put(at + 8, 32 | mark);
        at += 32;
    }
    memory.put(at + 8, (end - at) | 1);
    expected.free += end - at;
    expected.top += end - at;
    at
}

fn arena(memory: &mut Fake, address: u64, top: u64, next: u64, system: u64) {
    memory.put(address + TOP as u64, top);
    for bin in 0..127 {
        let at = address + BINS as u64 + 16 * bin;
        memory.put(at, at - 16);
        memory.put(at + 8, at - 16);
    }
    memory.put(address + NEXT as u64, next);
    memory.put(address + SYSTEM_MEM as u64, system);
    memory.put(address + SYSTEM_MEM as u64 + 8, system);
}

/// A heap of two arenas, and what is in it.
fn build(plan: &Plan) -> (Fake, Heap) {
    let bytes = 256 << 10;
    let mut memory = Fake(vec![(LIBC, vec![0; 8192]), (HEAP, vec![0; bytes]), (OTHER, vec![0; bytes])]);
    let mut expected = Heap { arenas: 2, committed: 2 * bytes as u64, coverage: 1.0, ..Heap::default() };
    let top = lay_out(&mut memory, plan, HEAP, HEAP + bytes as u64, 0, &mut expected);
    let other = OTHER + plan.header;
    arena(&mut memory, MAIN, top, other, bytes as u64);
    let first = (other + STATE as u64).next_multiple_of(16);
    expected.in_use += first - OTHER;
    let top = lay_out(&mut memory, plan, first, OTHER + bytes as u64, 4, &mut expected);
    arena(&mut memory, other, top, MAIN, bytes as u64);
    memory.put(OTHER, other);
    memory.put(OTHER + 16, bytes as u64);
    // The chunks in use that are as small as that lie in a fastbin of the main arena.
    let mut link = 0;
    let mut at = HEAP;
    let word = |memory: &Fake, at| {
        let mut word = [0; 8];
        memory.read(at, &mut word).unwrap();
        u64::from_le_bytes(word)
    };
    while at < HEAP + bytes as u64 {
        let size = word(&memory, at + 8) & !7;
        let next = at + size;
        if size == 0x30 && next < HEAP + bytes as u64 && word(&memory, next + 8) & 1 == 1 {
            memory.put(at + 16, if plan.mangled { link ^ ((at + 16) >> 12) } else { link });
            link = at;
            expected.in_use -= 0x30;
            expected.free += 0x30;
            expected.fast += 0x30;
        }
        at = next;
    }
    memory.put(MAIN + 0x18, link);
    (memory, expected)
}

fn figures(memory: &Fake) -> Result<Heap, Failure> {
    let maps = memory.maps()?;
    let reading = Reading::of(memory);
    let globals = Globals { main_arena: MAIN, parameters: None, heap_start: Some(HEAP), tcache_count: 7 };
    let found = add_up(&reading, &maps, &globals);
    assert!(reading.bytes_read() < 1 << 30, "it read {} bytes", reading.bytes_read());
    found
}

proptest! {
    /// For all heaps: what is in use, free, at the top and in fastbins is what was laid out, to the byte.
    #[test]
    fn a_whole_heap_is_added_up_exactly(plan in plan()) {
        let (memory, expected) = build(&plan);
        let found = figures(&memory).unwrap();
        prop_assert_eq!(
            (found.arenas, found.committed, found.in_use, found.cached, found.free, found.top, found.fast),
            (expected.arenas, expected.committed, expected.in_use, 0, expected.free, expected.top, expected.fast)
        );
        prop_assert_eq!(found.in_use + found.cached + found.free, found.committed);
    }

    /// For all heaps and all damage: it ends, within bounds, with figures that add up or with none.
    #[test]
    fn damage_never_breaks_it(
        plan in plan(),
        damage in prop::collection::vec((0..3_usize, any::<prop::sample::Index>(), wild()), 1..20),
    ) {
        let (mut memory, _) = build(&plan);
        for (region, place, value) in damage {
            let (start, bytes) = &memory.0[region];
            let at = start + 8 * place.index(bytes.len() / 8) as u64;
            memory.put(at, value);
        }
        if let Ok(heap) = figures(&memory) {
            prop_assert!(heap.in_use + heap.cached + heap.free == heap.committed, "{:?}", heap);
        }
    }

    /// For all bytes: programs and pools that are none are no trouble.
    #[test]
    fn headers_that_lie_lead_nowhere(
        words in prop::collection::vec(wild(), 512),
        sane in any::<bool>(),
    ) {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        if sane {
            bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
            bytes[56..58].copy_from_slice(&4_u16.to_le_bytes());
            for (segment, kind) in [(0, 1_u32), (1, 2), (2, 1), (3, 2)] {
                bytes[64 + 56 * segment..68 + 56 * segment].copy_from_slice(&kind.to_le_bytes());
            }
        }
        let memory = Lying(Fake(vec![(LIBC, bytes)]));
        let maps = memory.maps().unwrap();
        for object in elf::objects(&memory, &maps).unwrap() {
            let _ = object.symbol(&memory, "malloc");
        }
        prop_assert!(Roots::find(&memory).and_then(|roots| roots.pools(&memory)).is_ok_and(|pools| pools.is_empty()));
        prop_assert!(walk(&memory).is_err());
    }
}

/// Values that mean something to a heap: small sizes, addresses, the largest.
fn wild() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..0x400_u64,
        Just(u64::MAX),
        any::<u64>(),
        (0..0x2000_u64).prop_map(|offset| LIBC + offset),
        (0..0x4_0000_u64).prop_map(|offset| HEAP + 16 * (offset / 16)),
        (0..0x4_0000_u64).prop_map(|offset| OTHER + 16 * (offset / 16)),
    ]
}

/// Memory that claims to be a library.
struct Lying(Fake);

impl Memory for Lying {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.0.read(address, into)
    }

    fn residency(&self, address: u64, pages: &mut [Residency]) -> Result<(), Fault> {
        self.0.residency(address, pages)
    }

    fn maps(&self) -> Result<Maps, Fault> {
        let end = LIBC + 4096;
        Ok(Maps::parse(&format!("{LIBC:x}-{end:x} rwxp 00000000 08:01 7 /usr/lib/libc.so.6\n")))
    }
}

#[test]
fn rings_that_do_not_end_end() {
    let plan = Plan { chunks: vec![(4, true); 10], header: 0x30, mangled: true };
    let (mut memory, _) = build(&plan);
    let other = OTHER + 0x30;
    memory.put(other + NEXT as u64, other);
    assert!(matches!(figures(&memory), Err(Failure::Incoherent("the arenas are no ring"))));
    let (mut memory, _) = build(&plan);
    memory.put(OTHER + 8, OTHER);
    assert!(matches!(figures(&memory), Err(Failure::Incoherent("the heaps of an arena do not end"))));
    let (mut memory, _) = build(&plan);
    memory.put(HEAP + 24, 0x31);
    memory.put(HEAP + 8, 0x31);
    memory.put(MAIN + 0x18, HEAP);
    memory.put(HEAP + 16, HEAP ^ ((HEAP + 16) >> 12));
    assert!(figures(&memory).is_err());
}

#[test]
fn a_heap_that_claims_to_be_endless_is_too_large() {
    let plan = Plan { chunks: vec![(4, true)], header: 0x30, mangled: true };
    let (mut memory, _) = build(&plan);
    // A top that reaches over all there is.
    memory.put(HEAP + 64 + 8, ((1_u64 << 46) - 64) | 1);
    let outcome = figures(&memory);
    assert!(outcome.is_err() || outcome.is_ok_and(|heap| heap.coverage <= 1.0));
}
