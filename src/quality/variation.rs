//! Distribution of the delay variation in 84 bytes (MEAS 1.6).
//!
//! Bucket bounds are the floats with two mantissa bits, so that a bucket's index is a shift of the number's own bits:
//!
//! ```text
//! 0 | .. 0.25 | 0.3125 | 0.375 | 0.4375 | 0.5 | 0.625 | ... | 224 | 256 ms and above
//! ```
//!
//! Resolution: a quantile lies in the bucket of the exact one, and a bucket is 14 to 25 % of its lower bound wide
//! (0.25 ms below 0.25 ms). Values of 256 ms and more count in the last bucket and read as 256 ms at most.

/// Histogram of the delay variation of a stream or a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variation {
    /// Zero; under 0.25 ms; four an octave. All are halved when one is full, so old packets weigh less.
    counts: [u16; BUCKETS],
}

impl Default for Variation {
    fn default() -> Self {
        Self { counts: [0; BUCKETS] }
    }
}

impl Variation {
    /// Takes the delay variation of one packet; anything that is not a positive number counts as none.
    #[inline]
    pub fn record(&mut self, x_ms: f64) {
        if let Some(count) = self.counts.get_mut(bucket(x_ms as f32)) {
            *count += 1;
            if *count == u16::MAX {
                self.halve();
            }
        }
    }

    /// Adds the packets of another histogram, such as those of a window to those of its stream.
    pub fn absorb(&mut self, other: &Self) {
        if self.counts.iter().zip(&other.counts).any(|(a, b)| u32::from(*a) + u32::from(*b) >= FULL) {
            self.halve();
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more).min(u16::MAX - 1);
        }
    }

    /// The variation that this share of the packets (0 to 1) does not exceed, ms; `None` without packets.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        let total: u32 = self.counts.iter().map(|&count| u32::from(count)).sum();
        if total == 0 {
            return None;
        }
        let rank = share.clamp(0.0, 1.0) * f64::from(total);
        let mut below = 0.0;
        for (index, &count) in self.counts.iter().enumerate() {
            let count = f64::from(count);
            if count > 0.0 && below + count >= rank {
                let (low, high) = (lower_bound_ms(index), lower_bound_ms(index + 1));
                // Bucket 0 holds exact zeros: nothing to interpolate.
                return Some(if index == 0 { 0.0 } else { low + (high - low) * (rank - below) / count });
            }
            below += count;
        }
        None
    }

    /// Draws it into the cache; the value means nothing.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        self.counts[1].into()
    }

    /// Rounds up, so that a bucket in use does not vanish.
    #[cold]
    fn halve(&mut self) {
        for count in &mut self.counts {
            *count = count.div_ceil(2);
        }
    }
}

#[inline]
fn bucket(x_ms: f32) -> usize {
    if x_ms > 0.0 {
        let quarter_octave = (x_ms.to_bits() >> MANTISSA_SHIFT) as usize;
        quarter_octave.clamp(ORIGIN - 1, ORIGIN + BUCKETS - 3) + 2 - ORIGIN
    } else {
        0
    }
}

fn lower_bound_ms(index: usize) -> f64 {
    match index {
        0 | 1 => 0.0,
        _ => f64::from(f32::from_bits(((index - 2 + ORIGIN) as u32) << MANTISSA_SHIFT)),
    }
}

const BUCKETS: usize = 42;
const FULL: u32 = u16::MAX as u32;
/// Keeps the exponent and the two leading mantissa bits of a positive `f32`.
const MANTISSA_SHIFT: u32 = 21;
/// Those bits of 0.25.
const ORIGIN: usize = (0.25_f32.to_bits() >> MANTISSA_SHIFT) as usize;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quality::vectors::assert_close;

    fn recorded(values: &[f64]) -> Variation {
        let mut variation = Variation::default();
        for &x in values {
            variation.record(x);
        }
        variation
    }

    /// The smallest value that at least this share of the sorted values does not exceed.
    fn exact(sorted: &[f64], share: f64) -> f64 {
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted[rank.clamp(1, sorted.len()) - 1]
    }

    #[test]
    fn buckets_are_four_an_octave_from_a_quarter_of_a_millisecond() {
        let bounds: Vec<f64> = (2..=7).map(lower_bound_ms).collect();
        assert_eq!(bounds, [0.25, 0.3125, 0.375, 0.4375, 0.5, 0.625]);
        assert_close(lower_bound_ms(BUCKETS - 1), 224.0, 0.0, "last bucket");
        assert_close(lower_bound_ms(BUCKETS), 256.0, 0.0, "end");
        for index in 2..BUCKETS {
            let low = lower_bound_ms(index) as f32;
            assert_eq!((bucket(low), bucket(low.next_down())), (index, index - 1));
        }
    }

    #[test]
    fn steady_pacing_is_exactly_zero() {
        assert_eq!(recorded(&[0.0; 1000]).quantile_ms(0.95), Some(0.0));
        assert_eq!(Variation::default().quantile_ms(0.95), None);
    }

    #[test]
    fn odd_numbers_stay_inside() {
        for x in [-1.0, f64::NAN, f64::INFINITY, 1e300, 1e-300, -0.0] {
            let value = recorded(&[x]).quantile_ms(1.0).unwrap();
            assert!((0.0..=512.0).contains(&value), "{x}: {value}");
        }
    }

    #[test]
    fn a_full_bucket_halves_all_and_the_quantile_stays() {
        let mut variation = Variation::default();
        for i in 0..1_000_000_u32 {
            variation.record(if i % 10 == 0 { 30.0 } else { 5.0 });
        }
        let p95 = variation.quantile_ms(0.95).unwrap();
        assert!((28.0..=32.0).contains(&p95), "{p95}");
        let p50 = variation.quantile_ms(0.5).unwrap();
        assert!((5.0..=6.0).contains(&p50), "{p50}");
    }

    #[test]
    fn windows_add_up_to_their_stream() {
        let (early, late) = ([1.0; 700], [9.0; 300]);
        let mut stream = recorded(&early);
        stream.absorb(&recorded(&late));
        assert_eq!(stream, recorded(&[&early[..], &late[..]].concat()));
        for _ in 0..1000 {
            stream.absorb(&recorded(&vec![9.0; 3000]));
        }
        assert!((8.0..=10.0).contains(&stream.quantile_ms(0.95).unwrap()));
    }

    #[test]
    fn it_is_small() {
        assert_eq!(size_of::<Variation>(), 84);
    }

    proptest! {
        /// forall values under 512 ms, shares: quantile_ms and the exact quantile lie in one bucket.
        #[test]
        fn error_is_under_one_bucket(
            mut values in prop::collection::vec(prop_oneof![Just(0.0), 0.0_f64..2.0, 0.0_f64..511.0], 1..400),
            share in 0.01_f64..1.0,
        ) {
            let measured = recorded(&values).quantile_ms(share).unwrap();
            values.sort_by(f64::total_cmp);
            let index = bucket(exact(&values, share) as f32);
            let (low, high) = (lower_bound_ms(index), lower_bound_ms(index + 1));
            prop_assert!((low..=high).contains(&measured), "{} not in {}..={}", measured, low, high);
        }
    }
}
