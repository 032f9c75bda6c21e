//! `2-lossy`: what was really dropped. The link between the caller and the tap logged each packet it threw away:
//! `time direction drop ssrc sequence source_port destination_port`, SSRC in hexadecimal.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sidetone::capture::file::Files;
use sidetone::capture::{Progress, Source};
use sidetone::limits::Limits;
use sidetone::rtp::header::Header;
use sidetone::wire::{Decoder, Transport};

use crate::streams::{Key, Numbers, hexadecimal};

/// Replaces the losses of `truth` by those of the log, where it speaks of them: in direction `ab`, before the
/// tap. A packet dropped before the first or after the last one that was captured is unknowable to any listener.
pub(crate) fn correct(truth: &mut BTreeMap<Key, Numbers>, capture: &Path, log: &str) {
    let mut dropped: BTreeMap<u32, BTreeSet<u16>> = BTreeMap::new();
    for line in log.lines() {
        let cells: Vec<&str> = line.split(' ').collect();
        if let [_, "ab", "drop", ssrc, sequence, _, _] = cells[..] {
            dropped.entry(hexadecimal(ssrc)).or_default().insert(sequence.parse().unwrap());
        }
    }
    assert_eq!(dropped.values().map(BTreeSet::len).sum::<usize>(), 105, "the log says so");
    let captured = captured(capture);
    let mut corrected = 0;
    for (key, numbers) in truth {
        let (Some(dropped), Some(captured)) = (dropped.get(&key.ssrc), captured.get(key)) else { continue };
        let (Some(&first), Some(&last)) = (captured.first(), captured.last()) else { continue };
        let missing: BTreeSet<u16> = (first..=last).filter(|sequence| !captured.contains(sequence)).collect();
        let knowable: BTreeSet<u16> = dropped.range(first..=last).copied().collect();
        assert_eq!(missing, knowable, "{key}: the log and the capture");
        numbers.expected = u64::from(last - first) + 1;
        numbers.lost = knowable.len() as u64;
        corrected += 1;
    }
    // Each stream before and behind the relay.
    assert_eq!(corrected, 18);
}

/// Sequence numbers of the RTP of a capture; none of these streams wraps.
fn captured(capture: &Path) -> BTreeMap<Key, BTreeSet<u16>> {
    let mut captured: BTreeMap<Key, BTreeSet<u16>> = BTreeMap::new();
    let mut decoder = Decoder::new(&Limits::default());
    let mut files = Files::open([capture]);
    let mut take = |frames: &[sidetone::wire::Frame<'_>]| {
        for frame in frames {
            let Ok(packet) = decoder.decode(frame) else { continue };
            if packet.transport != Transport::Udp {
                continue;
            }
            let Some(header) = Header::read(packet.payload, packet.cut) else { continue };
            let key = Key { ssrc: header.fixed.ssrc, source: packet.source, destination: packet.destination };
            captured.entry(key).or_default().insert(header.fixed.sequence);
        }
    };
    while files.poll(&mut take).unwrap() == Progress::More {}
    captured
}
