//! The normal distribution, and how far Student's is outside of it.

use std::f64::consts::SQRT_2;

/// The chance that a value of the standard normal distribution is `z` or less.
pub(super) fn below(z: f64) -> f64 {
    0.5 * libm::erfc(-z / SQRT_2)
}

/// The `z` that a value is below with this chance; the chance is taken to be between 10⁻¹² and 1 − 10⁻¹².
pub(super) fn quantile(chance: f64) -> f64 {
    let chance = chance.clamp(1e-12, 1.0 - 1e-12);
    let (mut low, mut high) = (-8.0, 8.0);
    // 60 halvings of 16 leave less than 2⁻⁵⁶.
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if below(middle) < chance { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The 97.5 % quantile of Student's t with that many degrees of freedom: the expansion 26.7.5 in Abramowitz and Stegun,
/// Handbook of Mathematical Functions, 1964. Good to 0.01 from 4 degrees on; below it is too small.
pub(super) fn student(degrees: usize) -> f64 {
    let z = quantile(0.975);
    let v = degrees.max(1) as f64;
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + first / v + second / v.powi(2) + third / v.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_and_quantiles_are_those_of_the_tables() {
        // NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.1: the area below 1.00 is 0.84134, below 1.96 0.97500,
        // below 2.33 0.99010.
        for (z, chance) in [(0.0, 0.5), (1.0, 0.841_34), (1.96, 0.975_00), (2.33, 0.990_10), (-1.0, 0.158_66)]
        {
            assert!((below(z) - chance).abs() < 5e-6, "{z}: {}", below(z));
        }
        for chance in [0.001, 0.025, 0.5, 0.9, 0.975, 0.9999] {
            assert!((below(quantile(chance)) - chance).abs() < 1e-12, "{chance}");
        }
    }

    #[test]
    fn the_quantile_of_student_is_that_of_the_table() {
        // NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2, column 0.975.
        for (degrees, t) in [(4, 2.776), (5, 2.571), (8, 2.306), (11, 2.201), (20, 2.086), (100, 1.984)] {
            assert!((student(degrees) - t).abs() < 0.01, "{degrees}: {}", student(degrees));
        }
    }
}
