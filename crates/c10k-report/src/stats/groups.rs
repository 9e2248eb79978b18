//! Groups: runs of A and runs of B, in no pairs.

use super::answer::{Answer, Found, Ratio, Test};
use super::asked::{Asked, FEWEST_PAIRS, MOST_BY_CHANCE};
use super::pairs::{exact, which};
use super::{bootstrap, power, rank};

/// What two groups prove. Values that are no finite numbers are left out.
#[must_use]
pub fn groups(a: &[f64], b: &[f64], asked: Asked) -> Answer {
    let finite = |values: &[f64]| bootstrap::sorted(values.iter().copied().filter(|value| value.is_finite()));
    let (a, b) = (finite(a), finite(b));
    let has_both = !a.is_empty() && !b.is_empty();
    let is_enough = a.len().min(b.len()) >= FEWEST_PAIRS;
    let logs = |values: &[f64]| -> Option<Vec<f64>> {
        values.iter().map(|value| (*value > 0.0).then(|| value.ln())).collect()
    };
    let both = logs(&a).zip(logs(&b)).filter(|_| has_both);
    let (u, p) = rank::u_and_chance(&a, &b);
    let mut answer = Answer {
        asked,
        runs: [a.len(), b.len()],
        medians: has_both.then(|| [bootstrap::median(&a), bootstrap::median(&b)]),
        ratio: both.as_ref().map(|(a, b)| ratio_of(a, b)),
        test: if has_both { Test::MannWhitney { u, p } } else { Test::None },
        order: None,
        would_have_seen_ratio: both.filter(|_| is_enough).and_then(|(a, b)| power::of_groups(&a, &b)),
        found: Found::NoClaim,
    };
    if let Some(found) = exact(&a, &b, asked) {
        (answer.test, answer.found) = (Test::Exact, found);
    } else if is_enough {
        let is_clear = answer.ratio.is_none_or(|ratio| ratio.leaves_one_out());
        let middle = (a.len() * b.len()) as f64 / 2.0;
        answer.found =
            if p <= MOST_BY_CHANCE && is_clear { which(u > middle, asked) } else { Found::NoDifference };
    }
    answer
}

/// The median of all ratios of a value of B to one of A, from the logarithms of each, at least one in each, and the
/// interval of the ratios that the Mann-Whitney test does not reject: of all, as many lie beyond each end as the largest U
/// that is rare (Hodges and Lehmann, 1963; Hollander and Wolfe, Nonparametric Statistical Methods, 1999, sections 4.2 and
/// 4.3). Of groups too small for the test it is the whole range.
fn ratio_of(a: &[f64], b: &[f64]) -> Ratio {
    let logs = bootstrap::sorted(b.iter().flat_map(|b| a.iter().map(move |a| b - a)));
    let beyond = rank::critical(a.len(), b.len(), MOST_BY_CHANCE).map_or(0, |u| u + 1);
    let last = logs.len() - 1;
    let [low, high, least, most] = [beyond, last - beyond, 0, last].map(|at| logs[at].exp());
    Ratio { median: bootstrap::median(&logs).exp(), low, high, least, most }
}
