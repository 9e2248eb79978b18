//! The smallest difference that would have been seen: an answer "none" is worth as much as this is small.
//!
//! The logarithms of the ratios are taken to scatter like a normal distribution with the deviation that they show. A
//! single value far outside makes the deviation, and so what is promised, larger: never smaller.

use super::asked::MOST_BY_CHANCE;
use super::normal;
use super::sign;

/// In how many of all such experiments it would have been seen.
const POWER: f64 = 0.9;

/// A rank test needs about 1 ÷ 0.955 as many normal values as one on means (Lehmann, Nonparametrics, 1975, section 2.4).
const OF_RANKS: f64 = 0.955;

/// The change of a ratio that the sign test over pairs with such logarithms would have called real in nine of ten
/// experiments; `None` where no number of agreeing pairs would do.
pub(super) fn of_pairs(logs: &[f64]) -> Option<f64> {
    let agree = sign::fewest_that_agree(logs.len(), MOST_BY_CHANCE)?;
    let one = sign::one_for(agree, logs.len(), POWER);
    Some((normal::quantile(one) * deviation(logs)).exp_m1())
}

/// The same of the Mann-Whitney test over groups.
pub(super) fn of_groups(a: &[f64], b: &[f64]) -> Option<f64> {
    let (m, n) = (a.len(), b.len());
    let degrees = (m + n).checked_sub(2).filter(|degrees| *degrees > 0)?;
    let squares = deviation(a).powi(2) * (m - 1) as f64 + deviation(b).powi(2) * (n - 1) as f64;
    let both = (squares / degrees as f64).sqrt();
    let z = normal::student(degrees) + normal::quantile(POWER);
    Some((z * both * (1.0 / m as f64 + 1.0 / n as f64).sqrt() / OF_RANKS.sqrt()).exp_m1())
}

/// The standard deviation, from n − 1; 0 for one value.
fn deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (count - 1.0).max(1.0)).sqrt()
}
