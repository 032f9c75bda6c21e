//! A capture file, pcap, pcapng or either compressed: the same frames and faults however the bytes trickle in.
#![no_main]

use std::io::{Cursor, Read};

use libfuzzer_sys::fuzz_target;
use sidetone::capture::file::Files;
use sidetone::capture::{Fault, Progress, Source};

fuzz_target!(|bytes: &[u8]| {
    let whole = frames(Cursor::new(bytes.to_vec()));
    if bytes.len() < 4_096 {
        let dripping = frames(Dripping(Cursor::new(bytes.to_vec())));
        assert_eq!(whole, dripping);
    }
});

type Told = (u64, u64, usize, Vec<Fault>);

/// Number of frames, a checksum over their times and contents, their bytes together, and the faults.
fn frames(bytes: impl Read + Send + 'static) -> Told {
    let mut files = Files::from_reader("fuzz", bytes);
    let (mut count, mut sum, mut total) = (0_u64, 0_u64, 0);
    loop {
        let progress = files.poll(&mut |batch| {
            assert!(!batch.is_empty());
            for frame in batch {
                count += 1;
                total += frame.bytes.len();
                let mixed = frame
                    .bytes
                    .iter()
                    .fold(frame.stamp.0, |sum, byte| sum.rotate_left(5).wrapping_add(u64::from(*byte)));
                sum = sum.rotate_left(7) ^ mixed ^ u64::from(frame.interface) << 32 ^ u64::from(frame.link.0);
            }
        });
        if progress.expect("a file in memory cannot break") == Progress::End {
            assert!(files.captures().len() + files.faults().len() > 0);
            return (count, sum, total, files.faults().to_vec());
        }
    }
}

/// Yields a byte at a time.
struct Dripping(Cursor<Vec<u8>>);

impl Read for Dripping {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(1);
        self.0.read(&mut buffer[..most])
    }
}
