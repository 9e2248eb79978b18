//! The sign test: if nothing differs, each pair is a toss of a coin.

/// The chance that of so many pairs, tossed like coins, at least as large a majority agrees, either way: exact, two-sided.
/// Pairs without a difference are left out by the caller. 1 for no pairs.
///
/// p = 2 × P(X ≤ the minority), X binomial with ½, and at most 1 (Conover, Practical Nonparametric Statistics, section
/// 3.4).
pub(super) fn chance(up: usize, down: usize) -> f64 {
    let all = up + down;
    (2.0 * at_most(up.min(down), all, 0.5)).min(1.0)
}

/// The fewest of `all` pairs that have to agree for p ≤ `most`; `None` where not even all of them do.
pub(super) fn fewest_that_agree(all: usize, most: f64) -> Option<usize> {
    (all / 2 + 1..=all).find(|agree| chance(*agree, all - agree) <= most)
}

/// The chance that of `all` tosses, each of which succeeds with `one`, at most `most` do.
fn at_most(most: usize, all: usize, one: f64) -> f64 {
    // Terms by their logarithm: ½ⁿ is 0 in an f64 from n = 1,075 on.
    let (ln_one, ln_other) = (one.ln(), (1.0 - one).ln());
    let mut ln_ways = 0.0;
    let mut sum = 0.0;
    for hits in 0..=most.min(all) {
        if hits > 0 {
            ln_ways += ((all - hits + 1) as f64 / hits as f64).ln();
        }
        sum += (ln_ways + hits as f64 * ln_one + (all - hits) as f64 * ln_other).exp();
    }
    sum.min(1.0)
}

/// How often a pair has to go one way for at least `agree` of `all` to do so with the chance `power`.
pub(super) fn one_for(agree: usize, all: usize, power: f64) -> f64 {
    let (mut low, mut high) = (0.5, 1.0 - 1e-12);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        // At least `agree` go this way: at most `all − agree` go the other.
        if at_most(all - agree, all, 1.0 - middle) < power { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_is_that_of_the_binomial_distribution() {
        // Legs of ten deer, eight of which are longer behind: Zar, Biostatistical Analysis, 1999, example 24.10: 0.10938.
        // The others are 2 × (1 + n + n(n−1)/2 + …) ÷ 2ⁿ, counted by hand, and the same in scipy.stats.binomtest.
        for (up, down, p) in [
            (8, 2, 0.109_375),
            (3, 0, 0.25),
            (5, 0, 0.0625),
            (6, 0, 0.031_25),
            (12, 0, 2.0 / 4096.0),
            (10, 2, 158.0 / 4096.0),
            (9, 3, 598.0 / 4096.0),
            (5, 5, 1.0),
            (0, 0, 1.0),
        ] {
            assert!((chance(up, down) - p).abs() < 1e-12, "{up}, {down}: {}", chance(up, down));
            assert!((chance(down, up) - p).abs() < 1e-12, "either way: {up}, {down}");
        }
        // Where ½ⁿ is too small for a number: all of 2,000 agree, or half of them.
        assert!(chance(2000, 0) < 1e-300 && (chance(1000, 1000) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn so_many_have_to_agree_as_tables_of_critical_values_say() {
        // Critical values of the sign test, two-sided 0.05, as the fewer of the two signs may have at most: n = 6 to 8: 0;
        // 9 to 11: 1; 12 to 14: 2; 15 and 16: 3; 17 to 19: 4; 20 to 22: 5; 25: 7 (Dixon and Mood, The Statistical Sign
        // Test, JASA 41, 1946).
        let most_against = [
            (6, 0),
            (7, 0),
            (8, 0),
            (9, 1),
            (10, 1),
            (11, 1),
            (12, 2),
            (13, 2),
            (14, 2),
            (15, 3),
            (16, 3),
            (17, 4),
            (18, 4),
            (19, 4),
            (20, 5),
            (21, 5),
            (22, 5),
            (23, 6),
            (24, 6),
            (25, 7),
        ];
        for (all, against) in most_against {
            assert_eq!(fewest_that_agree(all, 0.05), Some(all - against), "{all}");
        }
        for all in 0..6 {
            assert_eq!(fewest_that_agree(all, 0.05), None, "{all} can prove nothing");
        }
    }

    #[test]
    fn the_share_that_power_takes_gives_that_power() {
        for (agree, all) in [(6, 6), (10, 12), (15, 20)] {
            let one = one_for(agree, all, 0.9);
            let power = at_most(all - agree, all, 1.0 - one);
            assert!((power - 0.9).abs() < 1e-9, "{agree} of {all}: {one} {power}");
        }
    }
}
