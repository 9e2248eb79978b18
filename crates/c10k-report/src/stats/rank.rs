//! The Mann-Whitney U test: if nothing differs, each order of all the values has the same chance.

use super::normal;

/// Up to so many values the chance is counted out; beyond, the normal distribution is close.
const MOST_COUNTED: usize = 64;

/// U, and how likely one as far from its middle is by chance, two-sided (Mann and Whitney, 1947). U counts the pairs of a
/// value of A and one of B in which the latter is larger; an equal pair counts ½.
///
/// The chance is exact up to 64 values, equal values included: of all ways to deal the present ranks to the groups, the
/// share with a U as small, or as large, whichever is less, times two, at most 1. Beyond that it is taken from the normal
/// distribution, with the corrections for continuity and for equal values (Lehmann, Nonparametrics, 1975, sections 1.3
/// and 1.4). It is 1 where a group is empty.
pub(super) fn u_and_chance(a: &[f64], b: &[f64]) -> (f64, f64) {
    let doubled = doubled_ranks(a, b);
    let of_b: usize = doubled[a.len()..].iter().sum();
    let u = (of_b - b.len() * (b.len() + 1)) as f64 / 2.0;
    let chance = if a.is_empty() || b.is_empty() {
        1.0
    } else if doubled.len() <= MOST_COUNTED {
        counted(&doubled, b.len(), of_b)
    } else {
        approximated(&doubled, a.len(), b.len(), u)
    };
    (u, chance)
}

/// Twice the rank of each value among all, so that the mean rank of equal values is a whole number.
fn doubled_ranks(a: &[f64], b: &[f64]) -> Vec<usize> {
    let all: Vec<f64> = a.iter().chain(b).copied().collect();
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by(|one, other| all[*one].total_cmp(&all[*other]));
    let mut ranks = vec![0; all.len()];
    let mut before = 0;
    for equal in order.chunk_by(|one, other| all[*one] == all[*other]) {
        // (first + last) ÷ 2, doubled.
        equal.iter().for_each(|at| ranks[*at] = 2 * before + 1 + equal.len());
        before += equal.len();
    }
    ranks
}

/// In how many ways `count` of the ranks can be dealt, by their sum. A number of ways is exact up to 2⁵³.
fn ways(doubled: &[usize], count: usize) -> Vec<f64> {
    let most: usize = doubled.iter().sum();
    let mut ways = vec![vec![0.0_f64; most + 1]; count + 1];
    ways[0][0] = 1.0;
    let mut reached = 0;
    for (index, rank) in doubled.iter().enumerate() {
        for taken in (1..=count.min(index + 1)).rev() {
            let (fewer, same) = ways.split_at_mut(taken);
            let (fewer, same) = (&fewer[taken - 1], &mut same[0]);
            for sum in 0..=reached {
                same[sum + rank] += fewer[sum];
            }
        }
        reached += rank;
    }
    ways.pop().unwrap_or_default()
}

fn counted(doubled: &[usize], count: usize, seen: usize) -> f64 {
    let ways = ways(doubled, count);
    let sum = |ways: &[f64]| ways.iter().sum::<f64>();
    (2.0 * sum(&ways[..=seen]).min(sum(&ways[seen..])) / sum(&ways)).min(1.0)
}

/// The largest U of groups of that size, none of their values equal, whose chance is at most `most`, and so how many of
/// all ratios lie beyond each end of the interval that the test does not reject. `None` where no U is so rare.
pub(super) fn critical(count_a: usize, count_b: usize, most: f64) -> Option<usize> {
    let all = count_a + count_b;
    if all > MOST_COUNTED {
        let (m, n) = (count_a as f64, count_b as f64);
        let deviation = (m * n * (all as f64 + 1.0) / 12.0).sqrt();
        let u = m * n / 2.0 - 0.5 - normal::quantile(1.0 - most / 2.0) * deviation;
        return (u >= 0.0).then_some(u as usize);
    }
    let doubled: Vec<usize> = (1..=all).map(|rank| 2 * rank).collect();
    let ways = ways(&doubled, count_b);
    let limit = most / 2.0 * ways.iter().sum::<f64>();
    // The least sum of ranks is that of U = 0; a U more is 2 more.
    let mut so_far = 0.0;
    let rare = ways[count_b * (count_b + 1)..].iter().step_by(2).take_while(|here| {
        so_far += *here;
        so_far <= limit
    });
    rare.count().checked_sub(1)
}

fn approximated(doubled: &[usize], count_a: usize, count_b: usize, u: f64) -> f64 {
    let (m, n) = (count_a as f64, count_b as f64);
    let all = m + n;
    let mut sorted = doubled.to_vec();
    sorted.sort_unstable();
    let equal: f64 = sorted
        .chunk_by(|one, other| one == other)
        .map(|run| (run.len() as f64).powi(3) - run.len() as f64)
        .sum();
    let variance = m * n / 12.0 * (all + 1.0 - equal / (all * (all - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let distance = ((u - m * n / 2.0).abs() - 0.5).max(0.0);
    (2.0 * normal::below(-distance / variance.sqrt())).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chance(a: &[f64], b: &[f64]) -> f64 {
        u_and_chance(a, b).1
    }

    /// Two groups without equal values whose U is `u`.
    fn with_u(count_a: usize, count_b: usize, u: usize) -> (Vec<f64>, Vec<f64>) {
        // B's values are 0, 1, 2 … in the gaps between A's: one that is above k of A's adds k.
        let a: Vec<f64> = (0..count_a).map(|at| at as f64).collect();
        let (whole, rest) = (u / count_a, u % count_a);
        let b = (0..count_b).map(|at| {
            let above = match at {
                at if at < whole => count_a,
                at if at == whole => rest,
                _ => 0,
            };
            above as f64 - 0.5 + at as f64 * 1e-3
        });
        (a, b.collect())
    }

    #[test]
    fn the_smallest_u_that_counts_is_that_of_the_published_tables() {
        // Critical values for α = 0.05, two-sided (after Mann and Whitney, 1947, and Auble, 1953).
        for (count_a, count_b, critical) in [
            (4, 4, 0),
            (5, 5, 2),
            (5, 6, 3),
            (6, 6, 5),
            (6, 7, 6),
            (7, 7, 8),
            (8, 8, 13),
            (9, 9, 17),
            (6, 10, 11),
            (10, 10, 23),
            (12, 12, 37),
            (12, 20, 69),
            (15, 15, 64),
            (20, 20, 127),
        ] {
            let at = |u: usize| {
                let (a, b) = with_u(count_a, count_b, u);
                let (is, chance) = u_and_chance(&a, &b);
                assert_eq!(is, u as f64, "{count_a}, {count_b}");
                chance
            };
            assert!(at(critical) <= 0.05, "{count_a}, {count_b}: {}", at(critical));
            assert!(at(critical + 1) > 0.05, "{count_a}, {count_b}: {}", at(critical + 1));
            assert_eq!(super::critical(count_a, count_b, 0.05), Some(critical), "{count_a}, {count_b}");
        }
        assert_eq!(super::critical(3, 3, 0.05), None);
        // Three against three: 2 ÷ 20.
        let (a, b) = with_u(3, 3, 0);
        assert!((chance(&a, &b) - 0.1).abs() < 1e-12);
    }

    #[test]
    fn an_example_of_a_textbook_has_its_chance() {
        // Hollander and Wolfe, Nonparametric Statistical Methods, 1999, table 4.1; exact, two-sided: 0.2544.
        let term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
        let weeks = [1.15, 0.88, 0.90, 0.74, 1.21];
        let (u, chance) = u_and_chance(&weeks, &term);
        assert_eq!(u, 35.0);
        assert!((chance - 0.2544).abs() < 5e-5, "{chance}");
    }

    #[test]
    fn equal_values_are_dealt_in_all_ways_too() {
        // Against a second way to count: each choice of places, by its bits.
        let mut seeded = super::super::seeded::Seeded::new(3);
        for _ in 0..40 {
            let all: Vec<f64> = (0..9).map(|_| seeded.below(4) as f64).collect();
            let (a, b) = all.split_at(4 + seeded.below(2));
            let u_of = |of_b: &dyn Fn(usize) -> bool| -> f64 {
                let mut u = 0.0;
                for one in (0..9).filter(|at| !of_b(*at)) {
                    for other in (0..9).filter(|at| of_b(*at)) {
                        u += match all[other].total_cmp(&all[one]) {
                            std::cmp::Ordering::Greater => 1.0,
                            std::cmp::Ordering::Equal => 0.5,
                            std::cmp::Ordering::Less => 0.0,
                        };
                    }
                }
                u
            };
            let seen = u_of(&|at| at >= a.len());
            let (mut low, mut high, mut ways) = (0, 0, 0);
            for bits in (0_u32..1 << 9).filter(|bits| bits.count_ones() as usize == b.len()) {
                let u = u_of(&|at| bits >> at & 1 == 1);
                ways += 1;
                low += u32::from(u <= seen);
                high += u32::from(u >= seen);
            }
            let expected = (2.0 * f64::from(low.min(high)) / f64::from(ways)).min(1.0);
            let (u, chance) = u_and_chance(a, b);
            assert_eq!(u, seen);
            assert!((chance - expected).abs() < 1e-12, "{a:?} {b:?}: {chance} {expected}");
        }
    }

    #[test]
    fn chances_are_those_of_scipy() {
        // scipy 1.17.1: scipy.stats.permutation_test over all ways (n_resamples=inf) with the statistic of mannwhitneyu.
        for (a, b, u, p) in [
            (
                &[1.0, 2.0, 2.0, 3.0, 3.0, 5.0][..],
                &[3.0, 4.0, 5.0, 5.0, 6.0, 7.0][..],
                32.0,
                0.028_138_528_138_528_14,
            ),
            (
                &[20.0, 20.0, 21.0, 22.0, 22.0],
                &[20.0, 22.0, 23.0, 23.0, 23.0],
                20.0,
                0.142_857_142_857_142_85,
            ),
            (
                &[1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 9.0],
                &[2.0, 3.0, 3.0, 4.0, 4.0],
                26.5,
                0.166_666_666_666_666_66,
            ),
        ] {
            let (is, chance) = u_and_chance(a, b);
            assert_eq!(is, u);
            assert!((chance - p).abs() < 1e-12, "{a:?} {b:?}: {chance}");
        }
        // scipy.stats.mannwhitneyu(b, a, method='asymptotic'), with equal values.
        let a: Vec<f64> = (0..40).map(|at| f64::from(at * 37 % 101 / 10)).collect();
        let b: Vec<f64> = (0..36).map(|at| f64::from(at * 53 % 97 / 10 + 2)).collect();
        let (u, chance) = u_and_chance(&a, &b);
        assert_eq!(u, 898.5);
        assert!((chance - 0.062_876_301_132_424_2).abs() < 1e-9, "{chance}");
    }

    #[test]
    fn beyond_what_is_counted_the_approximation_is_close_to_the_exact_chance() {
        for shift in [0.0, 2.5, 6.5, 9.5] {
            let a: Vec<f64> = (0..30).map(f64::from).collect();
            let b: Vec<f64> = (0..30).map(|at| f64::from(at) + shift + 0.01).collect();
            let exact = chance(&a, &b);
            let near = approximated(&doubled_ranks(&a, &b), 30, 30, u_and_chance(&a, &b).0);
            assert!((exact - near).abs() < 0.005, "{shift}: {exact} {near}");
        }
        // So is the U that is rare: that of 32 against 32 is counted, and 33 against 33 is not.
        let at =
            |count: usize| critical(count, count, 0.05).expect("one is rare") as f64 / (count * count) as f64;
        assert!((at(32) - at(33)).abs() < 0.005, "{} {}", at(32), at(33));
        let (many, same) = (vec![1.0; 40], vec![1.0; 40]);
        assert_eq!(chance(&many, &same), 1.0, "all equal");
        assert_eq!(chance(&[], &[1.0]), 1.0);
    }
}
