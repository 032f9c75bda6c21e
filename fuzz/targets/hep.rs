//! A HEP record of any version: what was read and is written again reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidetone::hep::{Kind, decode, encode};

fuzz_target!(|bytes: &[u8]| {
    let mut scratch = Vec::new();
    let Ok(record) = decode(bytes, &mut scratch) else { return };
    let mut written = Vec::new();
    encode(&record, &mut written);
    let mut other = Vec::new();
    let again = decode(&written, &mut other).expect("our own record");
    assert_eq!(
        (again.source, again.destination, again.protocol),
        (record.source, record.destination, record.protocol)
    );
    if !matches!(record.kind, Kind::Other(_)) {
        assert_eq!(again.kind, record.kind);
    }
    assert!(record.payload.starts_with(again.payload));
});
