//! What repeated runs prove of a difference between two settings, A and B.
//!
//! Values go in, an [`Answer`] comes out: how large the difference is (a median and an interval), whether chance explains
//! it (a test), and, where nothing was seen, how large a difference would have been seen. Nothing here knows what
//! a run is, and nothing reads a clock or the system's randomness: the same values and the same seed give the same
//! answer.
//!
//! # What is called real
//!
//! - **Pairs** ([`paired`]): at least [`FEWEST_PAIRS`], an exact two-sided sign test with p ≤ 0.05, an interval that leaves
//!   1 out, and each side first in some of the pairs. Six pairs are real only if all six agree (p = 2 ÷ 2⁶ = 0.031).
//! - **Groups** ([`groups`]): at least [`FEWEST_PAIRS`] runs in each, a Mann-Whitney U test with p ≤ 0.05, and an
//!   interval that leaves 1 out.
//! - **Ceilings** ([`Asked::is_exact`]): all values of a side are equal, and those of the sides are not. Only of connections
//!   held or verified; losses, stalls and other counts differ from run to run, so that equal ones prove nothing yet.
//!
//! Three runs against three can prove nothing: the least p of a Mann-Whitney test is then 2 ÷ 20 = 0.10.
//!
//! # The interval
//!
//! Of **pairs** it is a percentile bootstrap: what the median would be if the pairs were drawn again from themselves, with the
//! ends that leave 2.5 % on each side. With few pairs that is too narrow; the ends are therefore taken further out
//! (Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 69(4), 2015, section 5.3). BCa
//! intervals are not used: their acceleration comes from a jackknife, which is not consistent for a median (Efron and
//! Tibshirani, An Introduction to the Bootstrap, 1993, section 11.6).
//!
//! Of **groups** it is the interval that belongs to the Mann-Whitney test, which needs no draws: all ratios of B to A that the
//! test does not reject.

mod answer;
mod asked;
mod bootstrap;
mod groups;
mod normal;
mod pairs;
mod power;
mod rank;
mod seeded;
mod sign;
#[cfg(test)]
mod simulated;
mod tabled;
#[cfg(test)]
mod told;
mod words;

pub use answer::{Answer, Doubt, Found, Ratio, Test};
pub use asked::{Asked, FEWEST_PAIRS, Wording};
pub use groups::groups;
pub use pairs::{Pair, PairSide, paired};
pub use seeded::Seeded;
pub use tabled::CSV_COLUMNS;
