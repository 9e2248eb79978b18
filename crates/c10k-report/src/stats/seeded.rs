//! Numbers that look random and are the same for the same seed. By hand, since a crate's generator may change its numbers with
//! a version, and a record's order of runs must stay what its seed says.

/// A sequence of numbers that a seed determines: SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
/// Generators, 2014). A seed that is kept in a record gives the same numbers in every version of the program.
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// The sequence of that seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// A number below `bound`, each with the same chance (to one in 2⁶⁴ ÷ `bound`); 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // The high half of the product (Lemire: Fast Random Integer Generation in an Interval, 2019).
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
impl Seeded {
    /// Above 0 and below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Of the normal distribution with mean 0 and deviation 1 (Box and Muller, 1958).
    pub(crate) fn gauss(&mut self) -> f64 {
        let (radius, turn) = (self.unit(), self.unit());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_numbers_that_its_authors_publish() {
        // The reference implementation, splitmix64.c (Vigna, 2015), from the seed 1234567.
        let mut numbers = Seeded::new(1_234_567);
        let first: Vec<u64> = (0..5).map(|_| numbers.bits()).collect();
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821
            ]
        );
    }

    #[test]
    fn every_number_below_the_bound_comes_about_as_often() {
        let mut numbers = Seeded::new(1);
        let mut times = [0_u32; 6];
        for _ in 0..6000 {
            times[numbers.below(6)] += 1;
        }
        assert!(times.iter().all(|times| (850..1150).contains(times)), "{times:?}");
        assert_eq!(numbers.below(0), 0);
    }
}
