//! A run as CI systems see it: summaries, JUnit XML, and verdicts beside an earlier run.

mod common;

use std::path::Path;

use c10k_record::{Record, read_record};
use common::{Lab, lab, run_lab};
use serde_json::Value;

const BAD_TEXT: i32 = 2;
const HOST_CANNOT: i32 = 3;

/// The flags of a small run.
const SMALL: [&str; 4] = ["--target", "40", "--hold", "50ms"];

/// A run of 40 connections, in `before` of the lab's folder, with what is changed of its record.
fn with_baseline(change: impl Fn(&mut Record)) -> Lab {
    let ended = run_lab(&SMALL);
    ended.expect_exit(0);
    let mut record = read_record(&ended.folder()).expect("a record");
    change(&mut record);
    let lab = Lab::new();
    std::fs::create_dir(lab.home().join("before")).expect("a folder");
    lab.with_file("before/record.json", &serde_json::to_string(&record).expect("plain data"))
        .with_file("before/plan.toml", &record.plan.expect("a plan").to_toml().expect("TOML"))
}

/// A run beside it.
fn beside<'a>(regressions: &[&'a str]) -> Vec<&'a str> {
    let mut all = SMALL.to_vec();
    all.extend(["--verdict", "echo_p95 <= 1h", "--baseline", "before"]);
    for regression in regressions {
        all.extend(["--max-regression", regression]);
    }
    all
}

#[track_caller]
fn text(home: &Path, name: &str) -> String {
    std::fs::read_to_string(home.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn a_run_writes_its_summaries_and_its_verdicts_where_it_is_told() {
    let lab = Lab::new().with_file("page.md", "of an earlier step\n").with_file("short.json", "{}");
    let arguments = [
        &SMALL[..],
        &[
            "--verdict",
            "echo_p95 <= 1h",
            "--summary",
            "markdown",
            "page.md",
            "--summary",
            "json",
            "short.json",
        ],
        &["--junit", "junit.xml"],
    ]
    .concat();
    let ended = lab.run(&arguments);
    ended.expect_held(40);
    assert!(ended.stdout.starts_with("HELD 40 of 40 connections"), "stdout is as always: {}", ended.stdout);
    let page = text(ended.home(), "page.md");
    assert!(page.starts_with("of an earlier step\n### HELD 40 of 40 connections"), "{page}");
    assert!(page.contains("| held = target | holds | 40 |"), "{page}");
    let short: Value = serde_json::from_str(&text(ended.home(), "short.json")).expect("one document");
    assert_eq!((&short["result"], &short["connections"]["held"]), (&"done".into(), &40.into()));
    assert_eq!(short["folder"].as_str().map(Path::new), Some(ended.folder().as_path()));
    let junit = text(ended.home(), "junit.xml");
    assert!(junit.contains("<testsuite ") && junit.contains("name=\"held = target\""), "{junit}");
    assert!(junit.contains("tests=\"4\" failures=\"0\" errors=\"0\" skipped=\"0\""), "{junit}");
}

#[test]
fn a_run_that_fell_short_is_a_failure_in_each_of_them() {
    let arguments = [
        &SMALL[..],
        &["--max-connections", "10", "--probe-timeout", "300ms", "--connect-timeout", "300ms"],
        &["--summary", "json", "-", "--junit", "junit.xml"],
    ]
    .concat();
    let ended = run_lab(&arguments);
    ended.expect_exit(1);
    let short: Value = serde_json::from_str(&ended.stdout).expect("the summary alone is on stdout");
    assert_eq!(short["result"], "short");
    assert!(ended.stderr.contains("SHORT: "), "the words are on stderr: {}", ended.stderr);
    let junit = text(ended.home(), "junit.xml");
    assert!(junit.contains("<failure message=\"held = target does not hold; measured: "), "{junit}");
}

#[test]
fn a_record_is_summed_up_again_by_report() {
    let lab = with_baseline(|record| record.verdicts[0].passed = Some(false));
    let ended = lab.command(&["report", "before", "--junit", "-"]).wait();
    ended.expect_exit(0);
    assert!(
        ended.stdout.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites "),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("failures=\"1\""), "{}", ended.stdout);
    let ended = with_baseline(|_| {}).command(&["report", "before", "--summary", "markdown", "a.md"]).wait();
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "", "nothing else is shown");
    assert!(text(ended.home(), "a.md").starts_with("### HELD 40 of 40"), "{}", text(ended.home(), "a.md"));
}

#[test]
fn what_cannot_be_written_is_refused_before_the_run() {
    for (code, flags, words) in [
        (BAD_TEXT, &["--summary", "markdwn", "a.md"][..], "did you mean markdown?"),
        (BAD_TEXT, &["--summary", "html", "a.html"], "expected markdown or json"),
        (BAD_TEXT, &["--summary", "json", "-", "--json"], "two documents for stdout"),
        (BAD_TEXT, &["--summary", "json", "-", "--junit", "-"], "two documents for stdout"),
        (HOST_CANNOT, &["--junit", "nowhere/junit.xml"], "mkdir -p nowhere"),
        (HOST_CANNOT, &["--summary", "json", "."], "it is a folder"),
    ] {
        run_lab(&[&SMALL[..], flags].concat()).expect_refused(code, &[words]);
    }
    lab(&["report", "nothing", "--summary", "xml", "-"]).expect_exit(BAD_TEXT);
}

#[test]
fn a_file_that_cannot_be_written_in_the_end_is_told_and_breaks_the_run() {
    let arguments =
        [&SMALL[..], &["--verdict", "echo_p95 <= 1h", "--summary", "markdown", "/dev/full"]].concat();
    let ended = run_lab(&arguments);
    ended.expect_exit(4);
    assert!(ended.stderr.contains("cannot write '/dev/full'"), "{}", ended.stderr);
    assert_eq!(ended.record().connections.held, 40, "the record stands");
}

#[test]
fn a_run_that_is_no_worse_than_the_baseline_says_so_with_both_numbers() {
    let regressions = ["echo_p99 1000000%", "held 0%", "failed 0%", "warn: connects_per_second 99.9%"];
    let ended = with_baseline(|_| {}).run(&beside(&regressions));
    let record = ended.expect_held(40);
    let found: Vec<&str> = record.verdicts.iter().map(|verdict| verdict.expr.as_str()).collect();
    assert!(found.contains(&"held = target") && found.contains(&"held >= 40 - 0%"), "{found:?}");
    assert!(found.iter().any(|expr| expr.starts_with("echo_p99 <= ") && expr.ends_with("ms + 1000000%")));
    let baseline = record.baseline.expect("it was compared");
    assert_eq!(baseline.path, "before");
    assert_eq!(baseline.differences, [] as [String; 0], "it was the same in all");
    assert_eq!(baseline.compared.len(), 4);
    let held = baseline.compared.iter().find(|one| one.expr == "held >= 40 - 0%").expect("compared");
    assert_eq!((held.baseline, held.value, held.ratio), (40.0, Some(40.0), Some(1.0)));
    assert!(ended.told().contains("40, 1.00 × the baseline's 40"), "{}", ended.told());
    assert!(!record.warnings.iter().any(|warning| warning.id == "baseline-differs"), "{:?}", record.warnings);
}

#[test]
fn a_run_that_is_worse_by_more_than_was_said_fails_or_only_warns() {
    let faster = |record: &mut Record| {
        record.rate.connects_per_second.mean = Some(1e9);
        record.rate.connects_per_second.without_pauses = Some(1e9);
    };
    let ended = with_baseline(faster).run(&beside(&["connects_per_second 10%"]));
    ended.expect_exit(1);
    let record = ended.record();
    let broken: Vec<&str> =
        record.verdicts.iter().filter(|one| one.is_broken()).map(|one| one.expr.as_str()).collect();
    assert_eq!(broken, ["connects_per_second >= 1000000000/s - 10%"]);
    let ratio = record.baseline.expect("it").compared[0].ratio.expect("measured");
    assert!(ratio > 0.0 && ratio < 0.9, "{ratio}");
    let ended = with_baseline(faster).run(&beside(&["warn: connects_per_second 10%"]));
    ended.expect_exit(0);
    assert!(
        ended.told().starts_with("HELD 40 of 40 connections; 1 of 5 verdicts only warns"),
        "{}",
        ended.told()
    );
    assert!(ended.told().contains("the baseline's 1,000,000,000 /s, only warns"), "{}", ended.told());
}

#[test]
fn a_plan_repeats_what_was_asked_beside_a_baseline_without_it() {
    let ended = with_baseline(|_| {}).run(&beside(&["held 0%"]));
    ended.expect_exit(0);
    let plan = std::fs::read_to_string(ended.folder().join("plan.toml")).expect("a plan");
    assert!(plan.contains("held >= 40 - 0%") && !plan.contains("before"), "{plan}");
    let again = Lab::new().with_file("again.toml", &plan).run(&["again.toml"]);
    again.expect_exit(0);
    assert!(
        again.record().verdicts.iter().any(|verdict| verdict.expr == "held >= 40 - 0%" && verdict.holds())
    );
    let printed = with_baseline(|_| {}).run(&[&beside(&["held 0%"])[..], &["--print-plan"]].concat());
    let lines: Vec<&str> = printed.stdout.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.contains("held >= 40 - 0%")).expect("the verdict");
    assert_eq!(lines[at - 1], "# flag --max-regression");
}

#[test]
fn another_machine_or_profile_is_a_warning() {
    let ended = with_baseline(|record| {
        record.host.as_mut().expect("a host").kernel = Some("1.2.3".to_owned());
        record.plan.as_mut().expect("a plan").load.in_flight = 7;
    })
    .run(&beside(&["held 0%"]));
    ended.expect_exit(0);
    let record = ended.record();
    let warning =
        record.warnings.iter().find(|warning| warning.id == "baseline-differs").expect("it is told");
    for words in ["kernel: 1.2.3 in the baseline", "load.in_flight: 7 in the baseline, 512 here"] {
        assert!(warning.text.contains(words), "{}", warning.text);
    }
    assert!(ended.told().contains("not the same as in the baseline"), "{}", ended.told());
    assert_eq!(record.baseline.expect("it").differences.len(), 2);
}

#[test]
fn metrics_and_percentages_that_are_none_are_refused_before_the_run() {
    for (regression, words) in [
        ("ecoh_p99 10%", &["there is no metric 'ecoh_p99'", "did you mean echo_p99?"][..]),
        ("echo_p99", &["'echo_p99'", "METRIC PERCENT"]),
        ("echo_p99 ten%", &["'ten%' is not a percentage", "10%"]),
        ("held 120%", &["'120%' is not a percentage by which held may be worse"]),
    ] {
        // Nothing of the baseline has to be there for that.
        run_lab(&beside(&[regression])).expect_refused(BAD_TEXT, words);
    }
    run_lab(&[&SMALL[..], &["--baseline", "before"]].concat())
        .expect_refused(BAD_TEXT, &["--max-regression"]);
    run_lab(&[&SMALL[..], &["--max-regression", "held 1%"]].concat())
        .expect_refused(BAD_TEXT, &["--baseline"]);
}

#[test]
fn a_baseline_that_is_none_for_this_run_is_refused_with_what_differs() {
    run_lab(&beside(&["held 0%"])).expect_refused(BAD_TEXT, &["the baseline: ", "'before", "c10k-lab list"]);
    let lab = Lab::new().with_file("before", "{}");
    lab.run(&beside(&["held 0%"])).expect_refused(BAD_TEXT, &["the baseline: ", "is not a record"]);
    type Change = fn(&mut Record);
    let rows: [(Change, &[&str]); 4] = [
        (|record| record.state = c10k_record::RunState::Broken, &["did not come to its end: BROKEN"]),
        (|record| record.plan.as_mut().expect("one").target = 50, &["target: 50 in the baseline, 40 here"]),
        (
            |record| record.plan.as_mut().expect("one").protocol = c10k_record::Protocol::Ws,
            &["protocol: ws in the baseline, raw here", "c10k-lab run before"],
        ),
        (
            |record| record.plan.as_mut().expect("one").workload = c10k_record::Workload::Echo,
            &["workload: echo in the baseline, hold here"],
        ),
    ];
    for (change, words) in rows {
        with_baseline(change).run(&beside(&["held 0%"])).expect_refused(BAD_TEXT, words);
    }
    let unmeasured = with_baseline(|_| {}).run(&beside(&["handshake_p99 10%"]));
    unmeasured.expect_refused(BAD_TEXT, &["has measured nothing of handshake_p99"]);
    let no_phase = with_baseline(|_| {}).run(&beside(&["talk.held 10%"]));
    no_phase.expect_refused(BAD_TEXT, &["has measured nothing of talk.held"]);
}
