//! `c10k-lab compare`: real records, and copies of them with other figures.

mod common;

use std::path::{Path, PathBuf};

use common::{Ended, Lab, lab, run_lab};
use serde_json::{Value, json};

/// The record of one small run.
fn record() -> (Ended, Value) {
    let ended = run_lab(&["20", "--hold", "50ms", "--verdict", "echo_p95 <= 1h"]);
    ended.expect_held(20);
    let text = std::fs::read_to_string(ended.folder().join("record.json")).expect("the record");
    let record = serde_json::from_str(&text).expect("JSON");
    (ended, record)
}

/// Writes that record under another name, with another rate and time.
fn copy(record: &Value, folder: &Path, name: &str, minute: usize, rate: f64) -> PathBuf {
    let mut copy = record.clone();
    copy["run_id"] = json!(name);
    copy["started_at"] = json!(format!("2026-01-02T03:{minute:02}:00Z"));
    copy["rate"]["connects_per_second"] = json!({ "mean": rate, "without_pauses": rate, "peak": rate });
    let path = folder.join(format!("{name}.json"));
    std::fs::write(&path, copy.to_string()).expect("written");
    path
}

/// Six runs of A and six of B in turns; B is so many times as fast.
fn in_turns(record: &Value, folder: &Path, by: f64) -> (Vec<String>, Vec<String>) {
    let rates = [38_000.0, 38_400.0, 38_200.0, 38_900.0, 37_800.0, 38_300.0];
    let pairs = rates.iter().enumerate().map(|(number, rate)| {
        let (a, b) = if number.is_multiple_of(2) { (0, 1) } else { (1, 0) };
        let path = |name: &str, at: usize, rate: f64| {
            copy(record, folder, &format!("{name}{number}"), number * 2 + at, rate).display().to_string()
        };
        (path("a", a, *rate), path("b", b, rate * by))
    });
    pairs.unzip()
}

fn compare(before: &[&str], a: &[String], b: &[String]) -> Ended {
    let mut arguments = vec!["compare"];
    arguments.extend(before);
    arguments.extend(a.iter().map(String::as_str));
    arguments.push("--");
    arguments.extend(b.iter().map(String::as_str));
    lab(&arguments)
}

#[test]
fn two_runs_stand_side_by_side_and_nothing_is_claimed_of_them() {
    let (ended, record) = record();
    let whole = ended.folder().display().to_string();
    let other = copy(&record, ended.home(), "other", 1, 1.0e9).display().to_string();
    let compared = lab(&["compare", &whole, &other]);
    compared.expect_exit(0);
    assert!(compared.stdout.contains("one run each: no claim"), "{}", compared.stdout);
    assert!(compared.stdout.contains("connects_per_second"), "{}", compared.stdout);
    assert!(!compared.stdout.contains("faster"), "{}", compared.stdout);
    assert!(compared.stdout.lines().all(|line| line.chars().count() <= 80), "{}", compared.stdout);
    // The reference may be named first or by its flag, and stands first in the ratio.
    for arguments in [&["--reference", &other, &whole][..], &["--reference", &other, &whole, &other]] {
        let turned = lab(&[&["compare"], arguments].concat());
        turned.expect_exit(0);
        let head = turned.line(if arguments.len() == 3 { "B against A" } else { "A against B" });
        assert!(head.contains('÷'), "{head}");
    }
}

#[test]
fn groups_made_in_turns_are_judged_and_written_as_csv_and_json() {
    let (ended, record) = record();
    let (a, b) = in_turns(&record, ended.home(), 1.12);
    let csv = ended.home().join("answer.csv").display().to_string();
    let metrics = ["--metrics", "connects_per_second,held"];
    let judged = compare(&[&metrics[..], &["--csv", &csv]].concat(), &a, &b);
    judged.expect_exit(0);
    assert!(judged.stdout.contains("1.12× faster, 1.11–1.13"), "{}", judged.stdout);
    assert!(judged.stdout.contains("6 runs against 6"), "{}", judged.stdout);
    let rows = std::fs::read_to_string(&csv).expect("the file");
    assert!(rows.contains("A,B,connects_per_second,/s,more,6,6,") && rows.contains(",better,"), "{rows}");

    let pairs = compare(&[&metrics[..], &["--pairs", "--json"]].concat(), &a, &b);
    pairs.expect_exit(0);
    let document = pairs.document();
    let rate = &document["comparisons"][0];
    assert_eq!((&rate["metric"], &rate["found"]), (&json!("connects_per_second"), &json!("better")));
    assert_eq!(rate["words"], "1.12× faster, 1.12–1.12, 6 of 6 pairs");
    assert_eq!(document["comparisons"][1]["found"], "no-difference");
    assert_eq!(document["groups"][1]["runs"].as_array().map(Vec::len), Some(6));

    // Five pairs prove nothing, and neither does an effect of nothing.
    let five = compare(&["--pairs"], &a[..5], &b[..5]);
    assert!(five.stdout.contains("5 pairs: no claim under 6"), "{}", five.stdout);
    let (a, b) = in_turns(&record, ended.home(), 1.0);
    let same = compare(&["--metrics", "connects_per_second"], &a, &b);
    assert!(same.stdout.contains("no difference seen: would have seen "), "{}", same.stdout);
}

#[test]
fn a_run_that_broke_or_was_never_finished_is_left_out_by_name() {
    let (ended, record) = record();
    let (a, b) = in_turns(&record, ended.home(), 1.12);
    for (path, state) in [(&b[1], "broken"), (&b[4], "unfinished")] {
        let mut changed: Value =
            serde_json::from_str(&std::fs::read_to_string(path).expect("it")).expect("JSON");
        changed["state"] = json!(state);
        std::fs::write(path, changed.to_string()).expect("written");
    }
    let judged = compare(&["--pairs", "--metrics", "connects_per_second"], &a, &b);
    judged.expect_exit(0);
    for words in ["left out of B: b1 broke", "left out of B: b4 was never finished", "4 pairs: no claim"] {
        assert!(judged.stdout.contains(words), "no '{words}' in {}", judged.stdout);
    }
}

#[test]
fn an_older_record_is_compared_and_what_it_lacks_is_unknown() {
    let (ended, record) = record();
    let new = copy(&record, ended.home(), "new", 2, 40_000.0).display().to_string();
    let mut older = record;
    older["tool"]["version"] = json!("0.0.9");
    older["memory_per_connection"].as_object_mut().expect("an object").remove("connections");
    older["cpu"]["server_us_per_connection"] = Value::Null;
    let old = copy(&older, ended.home(), "old", 1, 40_000.0).display().to_string();
    let compared = lab(&["compare", "--metrics", "held,server_us_per_connection", &old, &new]);
    compared.expect_exit(0);
    assert!(compared.stdout.contains("not the same: version (A 0.0.9, B "), "{}", compared.stdout);
    let row = compared.line("  server_us_per_connection");
    assert!(row.contains("unknown"), "{row}");
    assert!(compared.line("  held").contains("20"), "{}", compared.stdout);
}

#[test]
fn what_cannot_be_compared_is_refused_with_what_mends_it() {
    let (ended, record) = record();
    let one = copy(&record, ended.home(), "one", 1, 1.0).display().to_string();
    let two = copy(&record, ended.home(), "two", 2, 1.0).display().to_string();
    let three = copy(&record, ended.home(), "three", 3, 1.0).display().to_string();
    let bad = Lab::new().with_file("bad.json", "{}");
    let not_a_record = bad.home().join("bad.json").display().to_string();
    let rows: [(&[&str], i32, &[&str]); 10] = [
        (&[&one], 2, &["one run is compared with nothing"]),
        (&[&one, "nowhere"], 2, &["'nowhere'", "c10k-lab list"]),
        (&[&one, &not_a_record], 2, &["bad.json", "is not a record"]),
        (&[&one, &one], 2, &["are one run, one"]),
        (
            &["--metrics", "echo_p96", &one, &two],
            2,
            &["there is no metric 'echo_p96'", "did you mean echo_p9"],
        ),
        (&["--pairs", &one, "--", &two, &three], 2, &["--pairs has 2 runs beside 1"]),
        (&[&one, "--", &two, "--json"], 2, &["'--json' stands after --"]),
        (&["--reference", &three, &one, "--", &two], 2, &["three.json' is in none of the groups"]),
        (
            &["--pairs", "--same", &one, &one, "--", &two],
            2,
            &["of --same is in no group beside the reference"],
        ),
        (&["--csv", "/nowhere/a.csv", &one, &two], 3, &["cannot write '/nowhere/a.csv'"]),
    ];
    // Two runs that began in one second in two folders have one name, and are two.
    let mut other = record;
    other["run_id"] = json!("one");
    other["rate"]["connects_per_second"] = json!({ "mean": 2.0, "without_pauses": 2.0, "peak": 2.0 });
    let same_name = ended.home().join("same-name.json");
    std::fs::write(&same_name, other.to_string()).expect("written");
    lab(&["compare", &one, &same_name.display().to_string()]).expect_exit(0);
    for (arguments, code, words) in rows {
        lab(&[&["compare"], arguments].concat()).expect_refused(code, words);
    }
}

#[test]
fn more_than_two_groups_are_each_held_against_the_reference() {
    let (ended, record) = record();
    let path =
        |name: &str, minute: usize| copy(&record, ended.home(), name, minute, 1000.0).display().to_string();
    let (one, two, three, four) = (path("one", 1), path("two", 2), path("three", 3), path("four", 4));
    let compared = lab(&["compare", "--metrics", "held", &one, &two, "--", &three, "--", &four]);
    compared.expect_exit(0);
    for head in ["B against A", "C against A"] {
        assert!(compared.stdout.contains(head), "{}", compared.stdout);
    }
    assert!(
        compared.line("A: ").contains("2 runs from one on") && compared.line("A: ").contains("the reference")
    );
}
