//! Pairs: a run of A and one of B, close to each other in time.

use c10k_record::Better;

use super::answer::{Answer, Doubt, Found, Test};
use super::asked::{Asked, FEWEST_PAIRS, MOST_BY_CHANCE};
use super::{bootstrap, power, sign};

/// One of the two that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairSide {
    /// What B is compared with.
    A,
    /// What is asked about.
    B,
}

/// What a run of A and one of B, close to each other in time, measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// A's and B's.
    values: [f64; 2],
    first: PairSide,
}

impl Pair {
    /// A pair; `first` is the side that ran first.
    #[must_use]
    pub fn new(a: f64, b: f64, first: PairSide) -> Self {
        Self { values: [a, b], first }
    }

    /// A's value and B's.
    #[must_use]
    pub fn values(&self) -> [f64; 2] {
        self.values
    }

    /// ln(B ÷ A); `None` where that is no number.
    fn log(&self) -> Option<f64> {
        let [a, b] = self.values;
        if a == b {
            return Some(0.0);
        }
        (a > 0.0 && b > 0.0).then(|| (b / a).ln())
    }
}

/// What pairs prove. A pair with a value that is no finite number is left out.
#[must_use]
pub fn paired(pairs: &[Pair], asked: Asked) -> Answer {
    let pairs: Vec<Pair> =
        pairs.iter().copied().filter(|pair| pair.values.iter().all(|value| value.is_finite())).collect();
    let side = |side: usize| bootstrap::sorted(pairs.iter().map(|pair| pair.values[side]));
    let (a, b) = (side(0), side(1));
    let logs: Option<Vec<f64>> = pairs.iter().map(Pair::log).collect();
    let logs = logs.filter(|logs| !logs.is_empty()).map(bootstrap::sorted);
    let from_first =
        pairs.iter().map(|pair| pair.log().map(|log| if pair.first == PairSide::A { log } else { -log }));
    let order: Option<Vec<f64>> = from_first.collect();
    let is_enough = pairs.len() >= FEWEST_PAIRS;
    let mut answer = Answer {
        asked,
        runs: [pairs.len(); 2],
        medians: (!pairs.is_empty()).then(|| [bootstrap::median(&a), bootstrap::median(&b)]),
        ratio: logs.as_deref().map(|logs| bootstrap::of_ratios(logs, asked.seed)),
        test: test_of(&pairs),
        order: order
            .filter(|order| order.len() > 1)
            .map(|order| bootstrap::of_ratios(&bootstrap::sorted(order), asked.seed)),
        would_have_seen_ratio: logs.as_deref().filter(|_| is_enough).and_then(power::of_pairs),
        found: Found::NoClaim,
    };
    if let Some(found) = exact(&a, &b, asked) {
        (answer.test, answer.found) = (Test::Exact, found);
    } else if is_enough {
        answer.found = judged(&answer, &pairs);
    }
    answer
}

fn test_of(pairs: &[Pair]) -> Test {
    if pairs.is_empty() {
        return Test::None;
    }
    let count = |is_so: fn(&[f64; 2]) -> bool| pairs.iter().filter(|pair| is_so(&pair.values)).count();
    let (up, down) = (count(|[a, b]| b > a), count(|[a, b]| b < a));
    Test::Sign { up, down, same: pairs.len() - up - down, p: sign::chance(up, down) }
}

/// The verdict on enough pairs.
fn judged(answer: &Answer, pairs: &[Pair]) -> Found {
    let Test::Sign { up, down, same, p } = answer.test else { return Found::NoClaim };
    let is_clear = answer.ratio.map_or(2 * same < pairs.len(), |ratio| ratio.leaves_one_out());
    if p > MOST_BY_CHANCE || !is_clear {
        return Found::NoDifference;
    }
    if pairs.iter().all(|pair| pair.first == pairs[0].first) {
        return Found::Unproven(vec![Doubt::OneOrder]);
    }
    which(up > down, answer.asked)
}

/// The verdict on a ceiling, which is exact; `None` where it is not asked for as such, or its values differ within a side.
pub(super) fn exact(sorted_a: &[f64], sorted_b: &[f64], asked: Asked) -> Option<Found> {
    let one = |sorted: &[f64]| match (sorted.first(), sorted.last()) {
        (Some(least), Some(most)) if least == most => Some(*least),
        _ => None,
    };
    let (a, b) = (one(sorted_a)?, one(sorted_b)?);
    asked.is_exact.then(|| if a == b { Found::NoDifference } else { which(b > a, asked) })
}

/// Better or worse, where B's values are the larger or the smaller ones.
pub(super) fn which(is_larger: bool, asked: Asked) -> Found {
    if is_larger == (asked.better == Better::More) { Found::Better } else { Found::Worse }
}
