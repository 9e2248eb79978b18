//! Comparisons of made-up runs.

use c10k_record::{Record, RunState};

use super::{Against, Group, How, Wanted};
use crate::fixtures;

/// Runs in turns with another group's: `offset` 0 or 1.
fn group(name: &str, offset: usize, rates: &[f64]) -> Group {
    let run = |(number, rate): (usize, &f64)| -> Record {
        let mut run = fixtures::held();
        let minute = number * 2 + (number + offset) % 2;
        run.run_id = format!("20260102T03{minute:02}05Z-{name}");
        run.started_at = format!("2026-01-02T03:{minute:02}:05Z");
        run.rate.connects_per_second.mean = Some(*rate);
        run.rate.connects_per_second.without_pauses = Some(*rate);
        run
    };
    Group { name: name.to_owned(), runs: rates.iter().enumerate().map(run).collect() }
}

fn wanted(names: &[&str]) -> Vec<Wanted> {
    names.iter().map(|name| name.parse().expect("a metric")).collect()
}

fn how(reference: usize, names: &[&str], by_pairs: bool) -> How {
    How { reference, wanted: wanted(names), control: None, same: None, by_pairs }
}

const SLOW: [f64; 6] = [38_000.0, 38_400.0, 38_200.0, 38_900.0, 37_800.0, 38_300.0];

fn faster() -> Vec<f64> {
    SLOW.iter().map(|rate| rate * 1.1).collect()
}

#[test]
fn single_runs_stand_side_by_side_and_nothing_is_claimed() {
    let groups = [
        Group { name: "A".to_owned(), runs: vec![fixtures::held()] },
        Group { name: "B".to_owned(), runs: vec![fixtures::short()] },
    ];
    let names =
        ["held", "connects_per_second", "server_kernel_bytes", "echo_p95", "server_us_per_connection"];
    let text = Against::of(&groups, &how(0, &names, false)).text();
    insta::assert_snapshot!(text, @r"
    A: 20260102T030405Z-tuned-raw-hold held 100,000 of 100,000
    B: 20260102T040405Z-stock-raw-hold held 59,980 of 100,000, wall:
      ports-exhausted
    not the same: profile (A tuned, B stock)
    not the same: fs.file-max (A 2466177 (not applied), B not set)
    not the same: net.core.somaxconn (A 65535, B not set)

    B against A                         A          B  B ÷ A
      held                        100,000     59,980  0.600
      connects_per_second       38,412 /s  38,412 /s  1.000
      server_kernel_bytes         4,012 B    unknown      –
      echo_p95                     1.9 ms     1.9 ms  1.000
      server_us_per_connection     8.6 µs     8.6 µs  1.000

    one run each: no claim. 6 runs of each or more, made in turns, can prove a
      difference: `c10k-lab compare A… -- B…`
    ");
}

#[test]
fn groups_in_turns_are_judged_and_real_differences_stand_first() {
    let groups = [group("A", 0, &SLOW), group("B", 1, &faster())];
    let names = ["held", "connects_per_second"];
    let text = Against::of(&groups, &how(0, &names, false)).text();
    insta::assert_snapshot!(text, @r"
    A: 6 runs from 20260102T030005Z-A on, held 100,000
    B: 6 runs from 20260102T030105Z-B on, held 100,000

    B against A                    A          B  B ÷ A
      connects_per_second  38,250 /s  42,075 /s  1.100
        1.10× faster, 1.09–1.11, 6 runs against 6
      held                   100,000    100,000  1.000
        no difference: the same in each run

    2 metrics judged, 1 differs; by chance alone, up to 1 in 20 would seem to
    ");
    let pairs = Against::of(&groups, &how(0, &names, true));
    assert!(pairs.text().contains("faster, 1.10–1.10, 6 of 6 pairs"), "{}", pairs.text());
}

#[test]
fn a_run_that_broke_is_left_out_by_its_name_and_its_pair_with_it() {
    let mut groups = [group("A", 0, &SLOW), group("B", 1, &faster())];
    groups[1].runs[2].state = RunState::Broken;
    groups[1].runs[2].ended_because = Some("the server was killed".to_owned());
    let against = Against::of(&groups, &how(0, &["connects_per_second"], true));
    let text = against.text();
    assert!(text.contains("left out of B: 20260102T030505Z-B broke: the server was killed"), "{text}");
    assert!(text.contains("5 pairs: no claim under 6"), "{text}");
    let json = against.json();
    assert_eq!(json["groups"][1]["runs"][2]["counted"], false);
    assert_eq!(json["comparisons"][0]["runs"], serde_json::json!([5, 5]));
}

#[test]
fn groups_that_were_made_one_after_the_other_are_said_to_be() {
    let early = group("A", 0, &SLOW);
    let mut late = group("B", 1, &faster());
    for run in &mut late.runs {
        run.started_at = run.started_at.replace("T03:", "T04:");
    }
    let groups = [early, late];
    let told = |reference: usize| Against::of(&groups, &how(reference, &["held"], false)).text();
    for text in [told(0), told(1)] {
        assert!(text.contains("all runs of A began before those of B"), "{text}");
    }
    let turns = [group("A", 0, &SLOW), group("B", 1, &faster())];
    let text = Against::of(&turns, &how(0, &["held"], false)).text();
    assert!(!text.contains("began before"), "{text}");
}

#[test]
fn where_the_control_moved_nothing_is_proven() {
    let mut groups = [group("A", 0, &SLOW), group("B", 1, &faster())];
    let with_control = |groups: &[Group]| {
        let control = wanted(&["server_kernel_bytes"]).pop();
        Against::of(groups, &How { control, ..how(0, &["connects_per_second"], true) }).text()
    };
    let text = with_control(&groups);
    assert!(text.contains("6 of 6 pairs") && text.contains("  server_kernel_bytes"), "{text}");
    for run in &mut groups[1].runs {
        run.memory_per_connection.server_kernel_bytes = Some(4_500.0);
    }
    let text = with_control(&groups);
    let words = "unproven: the machine drifted (server_kernel_bytes moved by 1.12×)";
    assert!(text.contains(words) && !text.contains("faster"), "{text}");
    assert!(text.contains("as much"), "of the control itself it is said: {text}");
}

#[test]
fn where_the_same_setting_differs_from_itself_nothing_is_proven() {
    let told = |same: &[f64]| {
        let groups = [group("A", 0, &SLOW), group("B", 1, same), group("C", 1, &faster())];
        Against::of(&groups, &How { same: Some(1), ..how(0, &["connects_per_second"], true) }).text()
    };
    let steady = told(&[38_100.0, 38_300.0, 38_250.0, 38_800.0, 37_900.0, 38_200.0]);
    assert!(steady.contains("    the same setting: 0.9974–1.0026 in 6 pairs, median 0.9994; "), "{steady}");
    assert!(steady.contains("1.10× faster, 1.10–1.10, 6 of 6 pairs"), "{steady}");
    let restless = told(&SLOW.map(|rate| rate * 1.05));
    assert!(restless.contains("unproven: A against itself differs by 1.05×"), "{restless}");
}

#[test]
fn what_a_side_does_not_know_is_unknown_and_no_ratio() {
    let mut groups = [group("A", 0, &SLOW), group("B", 1, &faster())];
    for run in &mut groups[0].runs {
        run.cpu.server_us_per_connection = None;
    }
    let text = Against::of(&groups, &how(0, &["server_us_per_connection"], false)).text();
    assert!(text.contains("unknown") && text.contains("not measured in A"), "{text}");
    assert!(!text.contains("NaN"), "{text}");
}

#[test]
fn by_default_all_is_compared_that_a_run_knows_and_no_line_is_longer_than_a_terminal() {
    let third = group("C", 0, &SLOW);
    let groups = [group("A", 0, &SLOW), group("B", 1, &faster()), third];
    let against = Against::of(&groups, &how(1, &[], false));
    let text = against.text();
    for name in
        ["held", "client_user_bytes", "server_us_per_connection", "echo_p99", "A against B", "C against B"]
    {
        assert!(text.contains(name), "no {name} in {text}");
    }
    assert!(!text.contains("stalls") && !text.contains("failed"), "what no run has seen: {text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let csv = against.csv().expect("made");
    let rows: Vec<&str> = csv.lines().collect();
    assert!(rows[0].starts_with("reference,other,metric,unit,better,runs_a,"), "{}", rows[0]);
    assert!(rows.iter().any(|row| row.starts_with("B,C,held,,more,6,6,")), "{csv}");
}

#[test]
fn a_name_that_is_no_metric_is_answered_with_the_nearest() {
    let error = "server_kernel_byte".parse::<Wanted>().expect_err("no metric");
    assert_eq!(error.to_string(), "there is no metric 'server_kernel_byte'");
    assert_eq!(error.hint(), "did you mean server_kernel_bytes?");
    let far = "xyzzy".parse::<Wanted>().expect_err("no metric");
    assert!(far.hint().contains("echo_p95"), "{}", far.hint());
    let of_phase: Wanted = "evening.echo_p99".parse().expect("a metric of a phase");
    assert_eq!(of_phase.to_string(), "evening.echo_p99");
}
