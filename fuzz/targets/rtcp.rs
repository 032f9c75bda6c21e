//! An RTCP datagram, cut or whole: everything in it can be walked, and the walk ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidetone::Stamp;
use sidetone::rtp::rtcp::{Compound, Packet};
use sidetone::rtp::xr::Block;

fuzz_target!(|bytes: &[u8]| {
    let (cut, bytes) = bytes.split_first().map_or((0, bytes), |(cut, rest)| (u32::from(*cut) * 4, rest));
    let most = bytes.len() / 4 + 1;
    let mut packets = 0;
    for packet in Compound::new(bytes, cut).flatten() {
        packets += 1;
        assert!(packets <= most);
        match packet {
            Packet::Report(report) => assert!(report.blocks.count() <= 31),
            Packet::Description(description) => assert!(description.canonical_names().count() <= most),
            Packet::Goodbye(goodbye) => assert!(goodbye.sources().count() <= 31),
            Packet::Extended { blocks, .. } => {
                assert!(blocks.map(|block| walk(&block, most)).count() <= most)
            }
            other => assert!(!format!("{other:?}").is_empty()),
        }
    }
});

fn walk(block: &Block<'_>, most: usize) {
    match block {
        Block::Dlrr(answers) => assert!(answers.clone().count() <= most),
        Block::Voip(metrics) => {
            let report = metrics.report(Stamp(0), None);
            for ratio in [report.loss_ratio, report.discard_ratio].into_iter().flatten() {
                assert!((0.0..=1.0).contains(&ratio));
            }
            for mos in [metrics.mos_lq(), metrics.mos_cq()].into_iter().flatten() {
                assert!((1.0..=5.0).contains(&mos), "MOS {mos}");
            }
            let _ = (metrics.r_factor(), metrics.concealment(), metrics.adaptive());
        }
        other => assert!(!format!("{other:?}").is_empty()),
    }
}
