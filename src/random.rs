//! SplitMix64 (Steele, Lea, Flood 2014): small, fast, and the same numbers everywhere.

/// A seeded sequence of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of one `lane` of a seed; lanes are independent of each other.
    pub(crate) fn new(seed: u64, lane: u64) -> Self {
        let mut random = Self(seed);
        random.0 = random.next() ^ lane.wrapping_mul(LANE);
        random.next();
        random
    }

    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in 0..1.
    #[inline]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability; draws nothing when it is 0.
    #[inline]
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    /// A number in `low..=high`.
    #[inline]
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + ((u128::from(self.next()) * (u128::from(high - low) + 1)) >> 64) as u64
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const LANE: u64 = 0xd1b5_4a32_d192_ed03;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_even_and_the_same_seed_gives_the_same() {
        let mut one = Random::new(7, 0);
        let numbers: Vec<f64> = (0..10_000).map(|_| one.unit()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        let mean = numbers.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        assert!((Random::new(7, 0).unit() - numbers[0]).abs() < f64::EPSILON);
    }
}
