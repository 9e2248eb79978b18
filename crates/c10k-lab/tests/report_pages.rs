//! The pages of `c10k-lab report --html`: of a run, of several, of a climb, of a search, and of what is damaged.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::fs;
use std::path::Path;

use common::{Ended, Lab, lab, namespaces_allowed};

#[track_caller]
fn page(arguments: &[&str]) -> (String, Ended) {
    let ended = Lab::new().command(&[&["report"], arguments, &["--html", "page.html"]].concat()).wait();
    ended.expect_exit(0);
    let text = fs::read_to_string(ended.home().join("page.html")).expect("a page");
    assert!(text.ends_with("</html>"), "{text}");
    (text, ended)
}

fn text_of(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_run_has_its_page_with_rows_of_the_ramp_and_of_the_log_and_others_lie_beside_it() {
    // A machine that is fast enough connects 1,500 between two rows of the ramp: at this rate there are rows on any.
    let ended = Lab::new().run(&["--target", "1500", "--rate", "3000/s", "--hold", "600ms"]);
    ended.expect_held(1500);
    let folder = ended.folder();
    let own = fs::read_to_string(folder.join("report.html")).expect("its page");
    for told in
        ["HELD 1,500 of 1,500", "in the ramp, row by row", "How latencies are spread", "href=\"samples.csv\""]
    {
        assert!(own.contains(told), "{told}");
    }
    let rows = c10k_report::read_ramp(&fs::read_to_string(folder.join("ramp.csv")).expect("ramp.csv"));
    assert!(!rows.is_empty() && rows.iter().all(|row| row.established <= 1500), "{rows:?}");
    assert!(rows.windows(2).all(|pair| pair[0].established <= pair[1].established), "{rows:?}");
    let path = text_of(&folder);
    let (elsewhere, _) = page(&[&path]);
    assert!(!elsewhere.contains("href=\"samples.csv\""), "nothing lies beside it");
    assert!(elsewhere.contains("<code>c10k-lab run "), "the line that repeats it");
    let (three, _) = page(&[&path, &path, &path]);
    for told in ["In what they differ", "Plan: no difference", "C: ", "One over the other"] {
        assert!(three.contains(told), "{told}");
    }
    let text = lab(&["report", &path, &path, &path]);
    text.expect_exit(0);
    assert_eq!(text.stdout.matches("B ÷ A").count(), 2, "{}", text.stdout);
}

#[test]
fn losses_stand_by_their_name_in_the_rows_and_on_the_page() {
    let flags = ["--target", "300", "--max-connections", "200", "--hold", "600ms", "--probe-timeout", "1s"];
    let ended = Lab::new().run(&flags);
    ended.expect_exit(1);
    let rows = ended.samples();
    let lost: Vec<&str> = rows.iter().map(|row| row.lost.as_str()).filter(|lost| !lost.is_empty()).collect();
    let names: Vec<String> =
        ended.record().connections.failed.keys().map(|outcome| outcome.name().to_owned()).collect();
    assert!(
        lost.last().is_some_and(|lost| names.iter().any(|name| lost.contains(&format!("{name}=")))),
        "{lost:?}"
    );
    let own = fs::read_to_string(ended.folder().join("report.html")).expect("its page");
    assert!(
        own.contains("Lost, by errno or name") && names.iter().all(|name| own.contains(name)),
        "{names:?}"
    );
}

#[test]
fn what_is_damaged_cut_or_of_another_version_has_a_page_that_says_so_and_what_is_no_record_a_line() {
    let ended = Lab::new().run(&["--target", "200", "--hold", "300ms"]);
    ended.expect_held(200);
    let folder = ended.folder();
    let text = fs::read_to_string(folder.join("record.json")).expect("the record");
    let samples = fs::read_to_string(folder.join("samples.csv")).expect("samples");
    fs::write(folder.join("samples.csv"), samples.replacen(",hold,", ",ho", 1)).expect("written");
    let (cut, said) = page(&[&text_of(&folder)]);
    assert!(
        cut.contains("samples.csv: line") && said.stderr.contains("samples.csv: line"),
        "{}",
        said.stderr
    );
    let damaged = [
        (text.replacen("\"schema_version\": 1", "\"schema_version\": 7", 1), "version 7"),
        (text.replacen("\"target\"", "\"aim\"", 1), "is missing"),
        (text.replacen("\"state\": \"complete\"", "\"state\": \"asleep\"", 1), "state cannot be read"),
    ];
    for (text, told) in damaged {
        let file = ended.home().join("damaged.json");
        fs::write(&file, text).expect("written");
        let (page, said) = page(&[&text_of(&file)]);
        assert!(page.contains(told) && said.stderr.contains("warning: "), "{told}: {}", said.stderr);
    }
    for no_record in ["", "{}", "[1]", "{\"k6\": true}"] {
        let file = ended.home().join("foreign.json");
        fs::write(&file, no_record).expect("written");
        let refused = lab(&["report", &text_of(&file), "--html", &text_of(&ended.home().join("none.html"))]);
        refused.expect_refused(2, &["foreign.json", "hint:"]);
    }
    assert!(!ended.home().join("none.html").exists());
}

#[test]
fn a_climb_and_a_search_have_pages_of_their_own() {
    if !namespaces_allowed("a climb") {
        return;
    }
    let ended = Lab::new()
        .with_nofile(400)
        .command(&["climb", "--json", "--start", "stock", "--target", "500"])
        .wait();
    let climb = ended.folder();
    let own = fs::read_to_string(climb.join("report.html")).expect("its page");
    let (again, _) = page(&[&text_of(&climb)]);
    assert_eq!(own, again);
    for told in ["CLIMBED to", "The staircase", "Check from a fresh start", "What to type next"] {
        assert!(own.contains(told), "{told}");
    }
    let flags = ["find", "--workload", "echo", "--messages", "5/s", "--verdict", "echo_p95 <= 100s"];
    let of_search = ["--max", "64", "--max-connections", "30", "--hold", "200ms", "--probe-timeout", "1s"];
    let ended = Lab::new().command(&[&flags[..], &of_search].concat()).wait();
    ended.expect_exit(0);
    let own = fs::read_to_string(ended.folder().join("report.html")).expect("its page");
    for told in ["The search", "Sizes in the order in which they were tried", "Messages a second: echo"] {
        assert!(own.contains(told), "{told}");
    }
}
