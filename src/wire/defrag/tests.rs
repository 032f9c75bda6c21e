use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn defrag(fragments: usize, fragment_bytes: usize) -> Defrag {
    Defrag::new(&Limits { fragments, fragment_bytes, ..Limits::default() })
}

fn fragment(identification: u32, offset: usize, more: bool, bytes: &[u8]) -> Fragment<'_> {
    let (source, destination) = (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::new(192, 0, 2, 2).into());
    Fragment {
        id: DatagramId { source, destination, protocol: 17, identification, interface: 0 },
        ip: IpHeader { source, destination, protocol: 17, ip_id: Some(identification as u16), dscp: 0 },
        offset: offset as u16,
        more,
        bytes,
        layers: 2,
    }
}

/// The invariants of the bookkeeping.
fn check(defrag: &Defrag) {
    assert_eq!(defrag.datagrams.len(), defrag.by_age.len());
    assert_eq!(defrag.bytes, defrag.datagrams.values().map(Pending::charged).sum::<usize>());
    assert!(defrag.datagrams.len() <= defrag.max_datagrams && defrag.bytes <= defrag.max_bytes);
    for pending in defrag.datagrams.values() {
        assert!(pending.pieces.is_sorted_by(|a, b| a.end() <= b.offset));
        assert_eq!(pending.held, pending.pieces.iter().map(|piece| piece.bytes.len()).sum::<usize>());
    }
}

#[test]
fn the_first_bytes_win_over_overlapping_ones() {
    let mut defrag = defrag(8, 1 << 16);
    for (offset, more, bytes) in [(8, true, [1; 8].as_slice()), (0, true, &[2; 24]), (16, true, &[3; 16])] {
        assert_eq!(defrag.add(&fragment(1, offset, more, bytes), Stamp(0)).unwrap_err(), Skip::Fragment);
        check(&defrag);
    }
    let whole = defrag.add(&fragment(1, 24, false, &[4; 12]), Stamp(0)).unwrap();
    assert_eq!(whole.bytes, [[2; 8].as_slice(), &[1; 8], &[2; 8], &[3; 8], &[4; 4]].concat());
    check(&defrag);
}

#[test]
fn contradictions_are_refused_and_leave_the_rest_alone() {
    let mut defrag = defrag(8, 1 << 20);
    let refused = |defrag: &mut Defrag, offset, more, bytes: &[u8]| {
        assert_eq!(defrag.add(&fragment(1, offset, more, bytes), Stamp(0)).unwrap_err(), Skip::BadFragment);
        check(defrag);
    };
    refused(&mut defrag, 0, true, &[0; 7]);
    refused(&mut defrag, 0, true, &[]);
    refused(&mut defrag, 65_528, false, &[0; 8]);
    assert_eq!(defrag.pending(), 0);
    assert!(defrag.add(&fragment(1, 16, false, &[5; 8]), Stamp(0)).is_err());
    refused(&mut defrag, 24, true, &[0; 8]);
    refused(&mut defrag, 16, false, &[0; 16]);
    refused(&mut defrag, 8, false, &[0; 8]);
    assert_eq!(defrag.add(&fragment(1, 0, true, &[6; 16]), Stamp(0)).unwrap().bytes.len(), 24);
}

#[test]
fn the_largest_datagram_is_put_together_and_no_larger_one() {
    let mut defrag = defrag(8, 1 << 20);
    let bytes = vec![7; 65_528];
    assert!(defrag.add(&fragment(1, 0, true, &bytes), Stamp(0)).is_err());
    assert_eq!(defrag.add(&fragment(1, 65_528, false, &[7; 7]), Stamp(0)).unwrap().bytes.len(), 65_535);
}

#[test]
fn incomplete_datagrams_are_given_up_after_thirty_seconds() {
    let mut defrag = defrag(8, 1 << 16);
    assert!(defrag.add(&fragment(1, 0, true, &[0; 8]), Stamp(0)).is_err());
    defrag.expire(Stamp(30 * SECOND));
    assert_eq!((defrag.pending(), defrag.counters.timed_out), (1, 0));
    assert!(defrag.add(&fragment(1, 8, false, &[0; 8]), Stamp(30 * SECOND + 1)).is_err());
    assert_eq!((defrag.pending(), defrag.counters.timed_out), (1, 1));
    check(&defrag);
}

#[test]
fn a_late_copy_begins_nothing_but_a_reused_id_does() {
    let mut defrag = defrag(8, 1 << 16);
    assert!(defrag.add(&fragment(1, 0, true, &[0; 8]), Stamp(0)).is_err());
    assert!(defrag.add(&fragment(1, 8, false, &[1; 8]), Stamp(0)).is_ok());
    assert!(defrag.add(&fragment(1, 8, false, &[1; 8]), Stamp(1_000)).is_err());
    assert_eq!(defrag.pending(), 0);
    assert!(defrag.add(&fragment(1, 8, false, &[2; 8]), Stamp(SECOND)).is_err());
    assert_eq!(defrag.add(&fragment(1, 0, true, &[2; 8]), Stamp(SECOND)).unwrap().bytes, [2; 16]);
}

#[test]
fn a_flood_of_two_million_first_fragments_stays_inside_the_limits() {
    let mut defrag = defrag(64, 1 << 20);
    let bytes = [0; 64];
    for identification in 0..2_000_000 {
        assert!(defrag.add(&fragment(identification, 0, true, &bytes), Stamp(0)).is_err());
        assert!(defrag.datagrams.len() <= 64 && defrag.by_age.len() <= 64);
    }
    check(&defrag);
    assert_eq!(defrag.counters.evicted, 2_000_000 - 64);
    // The youngest are still there.
    assert!(defrag.add(&fragment(1_999_999, 64, false, &bytes), Stamp(0)).is_ok());
}

#[test]
fn bytes_are_bounded_and_the_oldest_goes_first() {
    let mut defrag = defrag(64, 4_096);
    let bytes = [0; 1_000];
    for identification in 0..4 {
        assert!(defrag.add(&fragment(identification, 0, true, &bytes), Stamp(0)).is_err());
        check(&defrag);
    }
    assert_eq!((defrag.pending(), defrag.counters.evicted), (3, 1));
    assert!(defrag.add(&fragment(1, 1_000, false, &[0; 8]), Stamp(0)).is_ok());
    assert!(defrag.add(&fragment(0, 1_000, false, &[0; 8]), Stamp(0)).is_err());
}

#[test]
fn pieces_of_one_datagram_are_bounded() {
    let mut defrag = defrag(4, 1 << 20);
    for piece in 0..4_000 {
        let _ = defrag.add(&fragment(1, piece * 16, true, &[0; 8]), Stamp(0));
    }
    check(&defrag);
    assert!(defrag.bytes <= PIECES_MAX * (8 + PIECE_OVERHEAD));
}

#[test]
fn without_room_nothing_is_held() {
    let mut defrag = defrag(0, 0);
    assert!(defrag.add(&fragment(1, 0, true, &[0; 8]), Stamp(0)).is_err());
    assert_eq!((defrag.pending(), defrag.counters.evicted), (0, 1));
}

proptest! {
    #[test]
    fn any_order_with_copies_yields_the_datagram_once(
        bytes in proptest::collection::vec(any::<u8>(), 9..3_000),
        cuts in proptest::collection::vec(1_usize..370, 1..20),
        order in any::<u64>(),
        copies in 1_usize..4,
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut * 8).filter(|cut| *cut < bytes.len()).collect();
        cuts.extend([0, 8, bytes.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut parts: Vec<(usize, usize)> = cuts.windows(2).map(|pair| (pair[0], pair[1])).collect();
        parts = std::iter::repeat_n(parts, copies).flatten().collect();
        let mut seed = order | 1;
        for index in (1..parts.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            parts.swap(index, (seed >> 33) as usize % (index + 1));
        }
        let mut defrag = defrag(4, 1 << 20);
        let mut wholes = Vec::new();
        for (from, to) in parts {
            let added = defrag.add(&fragment(9, from, to < bytes.len(), &bytes[from..to]), Stamp(0));
            wholes.extend(added.ok().map(|whole| whole.bytes));
            check(&defrag);
        }
        prop_assert_eq!(wholes, vec![bytes]);
        prop_assert_eq!(defrag.pending(), 0);
    }

    #[test]
    fn hostile_fragments_keep_the_books_right(
        fragments in proptest::collection::vec((0_u32..6, 0_usize..40, any::<bool>(), 0_usize..12, 0_u64..20), 0..200)
    ) {
        let mut defrag = defrag(4, 2_000);
        let mut now = 0;
        for (identification, offset, more, len, step) in fragments {
            now += step * SECOND / 4;
            let bytes = vec![identification as u8; len * 8];
            if let Ok(whole) = defrag.add(&fragment(identification, offset * 8, more, &bytes), Stamp(now)) {
                prop_assert!(whole.bytes.iter().all(|byte| *byte == identification as u8));
            }
            check(&defrag);
        }
    }
}
