//! Whether an answer of a sweep can be believed: no difference where there is none, and the one that is planted where
//! there is one. `scripts/prove-sweeps.sh` does the same at full size.

#![allow(clippy::print_stderr, reason = "a skipped test says so, and figures are shown")]

mod common;

use std::time::Duration;

use c10k_record::Metric;
use c10k_report::stats::{Asked, Pair, PairSide, Seeded, paired};
use common::{Lab, namespaces_allowed};

/// As many pairs as a sweep has where its file says nothing.
const PAIRS: usize = 6;

/// How many of `count` sweeps of one setting against itself call a difference real, where their runs come from what was
/// recorded: each is a stretch of it, as it was in time, and every second pair is the other way round.
fn alarms(noise: &[f64], count: usize) -> usize {
    let mut seeded = Seeded::new(20);
    let metric = Metric::ConnectsPerSecond;
    let is_real = |number: usize| {
        let (begin, flip) = (seeded.below(noise.len()), seeded.below(2));
        let run = |at: usize| noise[(begin + at) % noise.len()];
        let pair = |at: usize| match (at + flip) % 2 {
            0 => Pair::new(run(2 * at), run(2 * at + 1), PairSide::A),
            _ => Pair::new(run(2 * at + 1), run(2 * at), PairSide::B),
        };
        let pairs: Vec<Pair> = (0..PAIRS).map(pair).collect();
        paired(&pairs, Asked::of(metric, number as u64)).is_real()
    };
    (0..count).map(is_real).filter(|is_real| *is_real).count()
}

/// Noise of a machine that also warms up: each run is a little faster than the one before.
fn drifting(seed: u64, drift: f64) -> Vec<f64> {
    let mut seeded = Seeded::new(seed);
    let scatter = |seeded: &mut Seeded| (0..4).map(|_| seeded.below(1000) as f64).sum::<f64>() / 4000.0 - 0.5;
    (0..400).map(|at| 40_000.0 * (1.0 + 0.2 * scatter(&mut seeded)) * (1.0 + drift * f64::from(at))).collect()
}

#[test]
fn runs_that_differ_by_chance_are_called_different_in_at_most_a_twentieth() {
    for (seed, drift) in [(1, 0.0), (2, 0.000_5)] {
        let found = alarms(&drifting(seed, drift), 120);
        assert!(found <= 6, "{found} of 120 with a drift of {drift} a run");
    }
}

#[test]
fn of_noise_that_was_recorded_at_most_a_twentieth_is_called_a_difference() {
    let Some(path) = std::env::var_os("C10K_NOISE") else {
        eprintln!(
            "SKIPPED noise that was recorded: scripts/prove-sweeps.sh records it and names it in C10K_NOISE"
        );
        return;
    };
    let text = std::fs::read_to_string(path).expect("recorded noise");
    let noise: Vec<f64> = text.lines().map(|line| line.parse().expect("a number")).collect();
    assert!(noise.len() > 2 * PAIRS, "{} runs are too few", noise.len());
    let found = alarms(&noise, 100);
    eprintln!("drawn from {} runs: {found} of 100 A/A sweeps call a difference real", noise.len());
    assert!(found <= 5, "{found} of 100");
}

/// The server burns two milliseconds for each connection: on no machine is that lost in noise.
const SLOWED: &str = r#"
title = "A slowdown that is planted"
metrics = ["connects_per_second"]
same_pairs = 1
control = "none"
seed = 3

[base]
profile = "stock"
target = 200
hold = "0s"

[vary]
server.burn = [2000000]

[[expect]]
that = "connects_per_second: slower"
"#;

#[test]
fn a_slowdown_that_is_planted_is_found() {
    if !namespaces_allowed("a slowdown") {
        return;
    }
    let lab = Lab::new().with_file("slowed.toml", SLOWED);
    let results = lab.home().join("results").display().to_string();
    let ended = lab
        .command(&["sweep", "slowed.toml", "--results", &results, "--json"])
        .wait_at_most(Duration::from_secs(600));
    ended.expect_exit(0);
    let document = ended.document();
    assert_eq!(document["answers"][0]["found"], "worse", "{document}");
    assert_eq!(document["answers"][0]["test"]["down"], 6, "{document}");
}
