//! What came out of a comparison.

use super::asked::Asked;

/// What the values of one metric prove of a difference between A and B.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What was asked.
    pub asked: Asked,
    /// Values of A and of B; of pairs both are the number of pairs.
    pub runs: [usize; 2],
    /// The median of A's values and of B's, in the metric's unit; `None` where a side has none.
    pub medians: Option<[f64; 2]>,
    /// B ÷ A: the median of the ratios of pairs, of groups that of each of B's values to each of A's. `None` where a value is 0 or less
    /// and not equal to its partner, and where a side has no values.
    pub ratio: Option<Ratio>,
    /// What tells it from chance.
    pub test: Test,
    /// Of pairs: the run that came second ÷ the one that came first. Away from 1 the machine warms up or drifts; pairs in
    /// both orders even that out.
    pub order: Option<Ratio>,
    /// The change that would have been called real in nine of ten such experiments, by how much the values scatter: 0.03 for
    /// 3 %. `None` under six pairs, and where there is no ratio.
    pub would_have_seen_ratio: Option<f64>,
    /// The verdict.
    pub found: Found,
}

/// A ratio and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The median.
    pub median: f64,
    /// The lower end of its 95 % interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The least that was seen.
    pub least: f64,
    /// The most.
    pub most: f64,
}

/// What tells a difference from chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Test {
    /// Nothing: there are no values.
    None,
    /// Nothing is left to chance: it was asked for as a ceiling, and the values of each side are all equal.
    Exact,
    /// The sign test over pairs.
    Sign {
        /// Pairs in which B's value is the larger.
        up: usize,
        /// Pairs in which A's is.
        down: usize,
        /// Pairs without a difference.
        same: usize,
        /// How likely as large a majority is by chance.
        p: f64,
    },
    /// The Mann-Whitney U test over groups.
    MannWhitney {
        /// In how many of all pairs of a run of A and one of B the latter's value is larger; an equal pair counts ½.
        u: f64,
        /// How likely a U as far from its middle is by chance.
        p: f64,
    },
}

/// A verdict on a difference.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// B is better, and that is real.
    Better,
    /// B is worse, and that is real.
    Worse,
    /// There are enough runs, and no difference shows.
    NoDifference,
    /// There are too few runs to say.
    NoClaim,
    /// A difference, or the lack of one, that something else may have caused.
    Unproven(Vec<Doubt>),
}

/// Why a difference is not proven whatever its test says.
#[derive(Clone, Debug, PartialEq)]
pub enum Doubt {
    /// What must not change with the setting has changed.
    ControlMoved {
        /// The metric.
        control: String,
        /// B ÷ A.
        ratio: Option<f64>,
    },
    /// What must not change with the setting was measured in no run.
    ControlUnknown {
        /// The metric.
        control: String,
    },
    /// Pairs of the same setting differ.
    SameDiffered {
        /// The second ÷ the first.
        ratio: Option<f64>,
    },
    /// The same side ran first in every pair.
    OneOrder,
}

/// A control that moved by less than 1 % has not moved: the kernel's memory of a connection, for one, is a mean of slabs
/// that are never quite full.
const CONTROL_MAY_MOVE: f64 = 0.01;

impl Ratio {
    /// Whether 1, no difference, lies outside of the interval.
    #[must_use]
    pub fn leaves_one_out(&self) -> bool {
        self.low > 1.0 || self.high < 1.0
    }

    /// The same of A ÷ B.
    #[must_use]
    pub fn inverse(&self) -> Self {
        Self {
            median: 1.0 / self.median,
            low: 1.0 / self.high,
            high: 1.0 / self.low,
            least: 1.0 / self.most,
            most: 1.0 / self.least,
        }
    }
}

impl Answer {
    /// Whether there is a difference, and it is real.
    #[must_use]
    pub fn is_real(&self) -> bool {
        matches!(self.found, Found::Better | Found::Worse)
    }

    /// Of the answer on a control, a metric that the setting cannot change: why nothing else is proven either.
    #[must_use]
    pub fn doubt_as_control(&self, control: &str) -> Option<Doubt> {
        if self.medians.is_none() {
            return Some(Doubt::ControlUnknown { control: control.to_owned() });
        }
        let ratio = self.ratio.map(|ratio| ratio.median);
        let is_small = ratio.is_some_and(|ratio| (ratio - 1.0).abs() <= CONTROL_MAY_MOVE);
        (self.is_real() && !is_small).then(|| Doubt::ControlMoved { control: control.to_owned(), ratio })
    }

    /// Of the answer on pairs of one and the same setting: why nothing is proven on this machine.
    #[must_use]
    pub fn doubt_as_same(&self) -> Option<Doubt> {
        self.is_real().then(|| Doubt::SameDiffered { ratio: self.ratio.map(|ratio| ratio.median) })
    }

    /// The same answer where there are doubts: what it claims is then unproven. An answer that claims nothing stays.
    #[must_use]
    pub fn under(mut self, doubts: &[Doubt]) -> Self {
        let earlier = match &self.found {
            Found::Unproven(earlier) => earlier.clone(),
            Found::NoClaim => return self,
            Found::Better | Found::Worse | Found::NoDifference => Vec::new(),
        };
        if !doubts.is_empty() {
            self.found = Found::Unproven(earlier.into_iter().chain(doubts.iter().cloned()).collect());
        }
        self
    }
}
