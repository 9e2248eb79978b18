//! Answers in their words, and when there is one.

use c10k_record::Metric;

use super::*;

fn asked(metric: &str) -> Asked {
    Asked::of(Metric::named(metric).expect("a metric"), 7)
}

/// Pairs in turns.
fn pairs(values: &[(f64, f64)]) -> Vec<Pair> {
    let side = |number: usize| if number.is_multiple_of(2) { PairSide::A } else { PairSide::B };
    values.iter().enumerate().map(|(number, (a, b))| Pair::new(*a, *b, side(number))).collect()
}

/// So many pairs whose ratios lie around this one.
fn around(ratio: f64, count: usize) -> Vec<Pair> {
    let values: Vec<(f64, f64)> = (0..count)
        .map(|number| (100.0, 100.0 * ratio * (1.0 + 0.002 * (number % 5) as f64 - 0.004)))
        .collect();
    pairs(&values)
}

#[test]
fn a_real_difference_is_told_with_its_interval_and_how_many_pairs_agree() {
    let rate = paired(&around(1.12, 12), asked("connects_per_second"));
    assert_eq!(rate.words(), "1.119× faster, 1.116–1.122, 12 of 12 pairs");
    assert_eq!(rate.found, Found::Better);
    let slower = paired(&around(1.12, 12), asked("echo_p95"));
    assert_eq!(
        (slower.words().as_str(), &slower.found),
        ("1.119× slower, 1.116–1.122, 12 of 12 pairs", &Found::Worse)
    );
    let quicker = paired(&around(0.8, 6), asked("echo_p95"));
    assert_eq!(quicker.words(), "1.25× faster, 1.25–1.26, 6 of 6 pairs");
    let bytes = paired(&around(0.9, 6), asked("server_kernel_bytes"));
    assert_eq!(bytes.words(), "0.899× as much, 0.896–0.904, 6 of 6 pairs: better");
    let small = paired(&around(1.006, 12), asked("connects_per_second"));
    assert!(small.words().starts_with("1.005× faster, 1.00"), "{}", small.words());
    let large = paired(&around(38_486.0, 6), asked("echo_p95"));
    assert_eq!(large.words(), "38,447× slower, 38,332–38,640, 6 of 6 pairs");
}

#[test]
fn under_six_pairs_nothing_is_called_real_however_large_it_is() {
    for count in 1..FEWEST_PAIRS {
        let answer = paired(&around(3.0, count), asked("connects_per_second"));
        assert_eq!(answer.found, Found::NoClaim, "{count}");
        assert_eq!(answer.would_have_seen_ratio, None);
    }
    assert_eq!(paired(&around(3.0, 3), asked("held")).words(), "3 pairs: no claim under 6");
    assert_eq!(paired(&around(3.0, 1), asked("held")).words(), "one run each: no claim");
    assert_eq!(paired(&[], asked("held")).words(), "not measured");
    let three = groups(&[1.0, 1.1, 1.2], &[9.0, 9.1, 9.2], asked("held"));
    assert_eq!(three.words(), "3 runs against 3: no claim under 6");
    assert_eq!(groups(&[1.0], &[2.0], asked("held")).words(), "one run each: no claim");
    assert_eq!(groups(&[], &[2.0], asked("held")).words(), "not measured in A");
    let many = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6];
    assert_eq!(groups(&many, &[9.0; 5], asked("held")).found, Found::NoClaim, "five on one side");
}

#[test]
fn five_of_six_and_nine_of_twelve_prove_nothing() {
    let mut six = around(1.2, 6);
    six[3] = Pair::new(100.0, 99.0, PairSide::B);
    let answer = paired(&six, asked("connects_per_second"));
    assert_eq!(answer.found, Found::NoDifference);
    assert!(answer.words().starts_with("no difference seen: would have seen "), "{}", answer.words());
    let mut twelve = around(1.2, 12);
    for against in [1, 5, 8] {
        twelve[against] = Pair::new(100.0, 90.0, PairSide::A);
    }
    assert_eq!(paired(&twelve, asked("connects_per_second")).found, Found::NoDifference);
    twelve[1] = Pair::new(100.0, 120.0, PairSide::B);
    let ten = paired(&twelve, asked("connects_per_second"));
    assert!(ten.words().ends_with("10 of 12 pairs"), "{}", ten.words());
}

#[test]
fn where_one_side_ran_first_in_every_pair_nothing_is_proven() {
    let pairs: Vec<Pair> = (0..12).map(|_| Pair::new(100.0, 120.0, PairSide::A)).collect();
    let answer = paired(&pairs, asked("connects_per_second"));
    assert_eq!(answer.words(), "unproven: the same side ran first in every pair");
    assert!(!answer.is_real());
    let order = answer.order.expect("pairs have an order");
    assert!((order.median - 1.2).abs() < 1e-12, "{order:?}");
}

#[test]
fn a_control_that_moved_and_a_setting_that_differs_from_itself_make_it_unproven() {
    let moved = paired(&around(1.05, 6), asked("server_kernel_bytes"));
    let doubt = moved.doubt_as_control("server_kernel_bytes").expect("it moved");
    let real = paired(&around(1.2, 6), asked("connects_per_second"));
    let under = real.clone().under(std::slice::from_ref(&doubt));
    assert_eq!(under.words(), "unproven: the machine drifted (server_kernel_bytes moved by 1.05×)");
    assert!(!under.is_real());
    let same = paired(&around(0.97, 6), asked("connects_per_second"));
    let both = under.under(&same.doubt_as_same().into_iter().collect::<Vec<_>>());
    assert!(both.words().ends_with("; A against itself differs by 0.97×"), "{}", both.words());
    assert_eq!(same.spread_words(), "0.966–0.974 in 6 pairs, median 0.969");
    // Less than 1 % is no move, none is none, and what claims nothing stays as it is.
    assert_eq!(paired(&around(1.009, 6), asked("server_kernel_bytes")).doubt_as_control("it"), None);
    assert_eq!(real.clone().under(&[]), real);
    let few = paired(&around(1.2, 2), asked("held"));
    assert_eq!(few.clone().under(&[doubt]), few);
}

#[test]
fn what_is_exact_needs_one_pair_and_no_test() {
    let exact = |metric: &str| Asked { is_exact: true, ..asked(metric) };
    let ports = paired(&pairs(&[(28_232.0, 56_464.0)]), exact("held"));
    assert_eq!(ports.words(), "28,232 → 56,464, 2.00×, one run each: better");
    assert_eq!((ports.test, ports.is_real()), (Test::Exact, true));
    let same = paired(&pairs(&[(28_232.0, 28_232.0), (28_232.0, 28_232.0)]), exact("held"));
    assert_eq!(same.words(), "no difference: 28,232 in each run");
    let loose = paired(&pairs(&[(28_232.0, 56_464.0), (28_230.0, 56_464.0)]), exact("held"));
    assert_eq!(loose.found, Found::NoClaim, "values that differ are measured ones");
}

#[test]
fn where_there_is_no_ratio_the_values_are_told() {
    let failed = paired(
        &pairs(&[(0.0, 5.0), (0.0, 7.0), (0.0, 4.0), (0.0, 9.0), (0.0, 5.0), (0.0, 5.0)]),
        asked("failed"),
    );
    assert_eq!(failed.ratio, None);
    assert_eq!(failed.words(), "0 → 5, 6 of 6 pairs: worse");
    let none = paired(&pairs(&[(0.0, 0.0); 6]), asked("failed"));
    assert_eq!(none.words(), "no difference: the same in each pair");
    let nan = paired(&pairs(&[(f64::NAN, 1.0), (1.0, f64::INFINITY)]), asked("held"));
    assert_eq!((nan.runs, nan.words().as_str()), ([0, 0], "not measured"));
}

#[test]
fn groups_are_told_with_their_runs() {
    let a: Vec<f64> = (0..6).map(|at| 100.0 + f64::from(at)).collect();
    let b: Vec<f64> = a.iter().map(|value| value * 1.2).collect();
    let answer = groups(&a, &b, asked("connects_per_second"));
    assert!(answer.words().starts_with("1.20× faster, 1.1"), "{}", answer.words());
    assert!(answer.words().ends_with(", 6 runs against 6"), "{}", answer.words());
    assert_eq!(answer.test, Test::MannWhitney { u: 36.0, p: 2.0 / 924.0 });
}

#[test]
fn the_same_values_and_seed_give_the_same_answer_and_every_column_a_field() {
    let pairs = around(1.12, 9);
    let answer = paired(&pairs, asked("connects_per_second"));
    assert_eq!(answer, paired(&pairs, asked("connects_per_second")));
    for answer in [answer, groups(&[1.0, 2.0], &[3.0], asked("held")), paired(&[], asked("held"))] {
        assert_eq!(answer.csv_fields().len(), CSV_COLUMNS.len());
        let json = answer.json();
        assert_eq!(json["words"], answer.words());
        assert_eq!(json["found"], answer.found.name());
    }
}
