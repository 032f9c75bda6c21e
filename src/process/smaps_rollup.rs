//! `/proc/PID/smaps_rollup`, in bytes.
//!
//! ```text
//! Pss:                 208 kB
//! Private_Dirty:       112 kB
//! ```

use super::lines;
use super::privileged::MemoryMap;

/// Takes what is there; a line that is missing or odd spoils itself only.
pub fn parse(text: &[u8]) -> MemoryMap {
    let mut map = MemoryMap::default();
    let (mut private, mut shared) = (Sum::default(), Sum::default());
    for (key, value) in lines::keyed(text) {
        let bytes = lines::kilobytes(value);
        match key {
            b"Rss" => map.resident = bytes,
            b"Pss" => map.proportional = bytes,
            b"Private_Clean" | b"Private_Dirty" | b"Private_Hugetlb" => private.add(bytes),
            b"Shared_Clean" | b"Shared_Dirty" | b"Shared_Hugetlb" => shared.add(bytes),
            b"Anonymous" => map.anonymous = bytes,
            b"Swap" => map.swap = bytes,
            _ => {}
        }
    }
    MemoryMap { private: private.0, shared: shared.0, ..map }
}

/// Of what is there.
#[derive(Default)]
struct Sum(Option<u64>);

impl Sum {
    fn add(&mut self, bytes: Option<u64>) {
        if let Some(bytes) = bytes {
            self.0 = Some(self.0.unwrap_or(0).saturating_add(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux 6.18.
    const NEW: &[u8] = b"5609bcd67000-7ffd288f2000 ---p 00000000 00:00 0                          [rollup]
Rss:                1608 kB
Pss:                 208 kB
Pss_Dirty:           112 kB
Pss_Anon:            112 kB
Pss_File:             96 kB
Pss_Shmem:             0 kB
Shared_Clean:       1496 kB
Shared_Dirty:          4 kB
Private_Clean:         8 kB
Private_Dirty:       112 kB
Referenced:         1608 kB
Anonymous:           112 kB
LazyFree:              0 kB
AnonHugePages:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:    2048 kB
Swap:                 16 kB
SwapPss:               0 kB
Locked:                0 kB
";

    #[test]
    fn all_figures_are_bytes() {
        let kilobytes = |number: u64| Some(number * 1024);
        let expected = MemoryMap {
            resident: kilobytes(1608),
            proportional: kilobytes(208),
            private: kilobytes(8 + 112 + 2048),
            shared: kilobytes(1496 + 4),
            anonymous: kilobytes(112),
            swap: kilobytes(16),
        };
        assert_eq!(parse(NEW), expected);
    }

    #[test]
    fn what_is_missing_or_odd_is_absent() {
        assert_eq!(parse(b""), MemoryMap::default());
        let map =
            parse(b"Rss: many kB\nPss: 4 kB\nSwap:\n\xff\xfe: 4 kB\nAnonymous: 99999999999999999999 kB");
        assert_eq!(map, MemoryMap { proportional: Some(4096), ..MemoryMap::default() });
    }
}
