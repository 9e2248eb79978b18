//! How sure a median is: drawn again and again from the values themselves.

use super::answer::Ratio;
use super::normal;
use super::seeded::Seeded;

/// How often is drawn. What share of the draws lies beyond an end of the interval then differs from seed to seed by some
/// thousandths.
const DRAWS: usize = 4_000;

/// The median of values in ascending order; 0 for none.
pub(super) fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => 0.0,
        count => 0.5 * (sorted[(count - 1) / 2] + sorted[count / 2]),
    }
}

/// The values in ascending order.
pub(super) fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The median of ratios with its interval and range, from their logarithms in ascending order: at least one.
pub(super) fn of_ratios(logs: &[f64], seed: u64) -> Ratio {
    let mut seeded = Seeded::new(seed);
    let mut times = vec![0; logs.len()];
    let draws = sorted((0..DRAWS).map(|_| drawn_median(logs, &mut times, &mut seeded)));
    let [low, high] = ends(&draws, logs.len());
    let [least, most] = [logs[0], logs[logs.len() - 1]].map(f64::exp);
    Ratio { median: median(logs).exp(), low, high, least, most }
}

/// The median of as many values as there are, drawn from them with putting back. `times` has a place for each.
fn drawn_median(sorted: &[f64], times: &mut [usize], seeded: &mut Seeded) -> f64 {
    let count = sorted.len();
    times.fill(0);
    for _ in 0..count {
        times[seeded.below(count)] += 1;
    }
    let at = |place: usize| {
        let mut before = 0;
        let index = times.iter().position(|times| {
            before += times;
            before > place
        });
        sorted[index.unwrap_or(count - 1)]
    };
    0.5 * (at((count - 1) / 2) + at(count / 2))
}

/// The ends of the 95 % interval of draws in ascending order, as ratios.
///
/// A resample of n values scatters less than n values do, by √((n − 1) ÷ n), and has the tails of a normal distribution,
/// not Student's; each end is taken further out by both (Hesterberg 2015, section 5.3).
fn ends(draws: &[f64], count: usize) -> [f64; 2] {
    let degrees = count.saturating_sub(1).max(1);
    let z = (count as f64 / degrees as f64).sqrt() * normal::student(degrees);
    let outside = (normal::below(-z) * draws.len() as f64) as usize;
    [draws[outside], draws[draws.len() - 1 - outside]].map(f64::exp)
}
