//! `c10k-lab profile list`, `show` and `diff` by the real program.

mod common;

use common::{Lab, lab};

const SHIPPED: [&str; 3] = ["stock", "tuned", "diary"];

#[test]
fn the_shipped_profiles_are_listed_a_line_each() {
    let listed = lab(&["profile", "list"]);
    listed.expect_exit(0);
    for name in SHIPPED {
        let line = listed.stdout.lines().find(|line| line.starts_with(name));
        assert!(line.is_some_and(|line| line.len() > 20), "{name} has no summary in: {}", listed.stdout);
    }
    let document = lab(&["profile", "list", "--json"]).document();
    let names: Vec<&str> = document["profiles"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|profile| profile["name"].as_str())
        .collect();
    assert_eq!(names.len(), listed.stdout.lines().count());
    assert!(SHIPPED.iter().all(|name| names.contains(name)), "{names:?}");
}

#[test]
fn a_profile_that_is_shown_is_a_profile_that_can_be_run() {
    for name in SHIPPED {
        let shown = lab(&["profile", "show", name]);
        shown.expect_exit(0);
        let copy = Lab::new().with_file("copy.toml", &shown.stdout);
        let record =
            copy.run(&["--profile", "copy.toml", "--target", "10", "--hold", "50ms"]).expect_held(10);
        let original =
            common::run_lab(&["--profile", name, "--target", "10", "--hold", "50ms"]).expect_held(10);
        assert_eq!(record.profile.applied, original.profile.applied, "{name}");
    }
}

#[test]
fn what_extends_another_is_shown_whole() {
    let text =
        "name = \"mine\"\nsummary = \"s\"\nextends = \"tuned\"\n[sysctl]\n\"net.core.somaxconn\" = 777\n";
    let shown = Lab::new().with_file("mine.toml", text).command(&["profile", "show", "mine.toml"]).wait();
    shown.expect_exit(0);
    assert!(shown.stdout.contains("\"net.core.somaxconn\" = 777"), "{}", shown.stdout);
    assert!(shown.stdout.contains("net.ipv4.ip_local_port_range"), "{}", shown.stdout);
    assert!(!shown.stdout.contains("extends"), "{}", shown.stdout);
}

#[test]
fn a_comparison_says_what_stands_what_is_wanted_and_how_far_it_reaches() {
    let present = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("a setting of every host");
    let present = present.trim();
    let document = lab(&["profile", "diff", "tuned", "--json"]).document();
    let rows = document["settings"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["setting"] == "net.core.somaxconn").expect("a row");
    assert_eq!((&row["present"], &row["wanted"]), (&present.into(), &"16384".into()));
    assert_eq!(row["scope"], "namespace");
    let shown = lab(&["profile", "diff", "tuned"]);
    shown.expect_exit(0);
    let line = shown.stdout.lines().find(|line| line.starts_with("net.core.somaxconn")).expect("a line");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[1..4], [present, "16384", "namespace"], "{line}");
    assert_eq!(std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("still").trim(), present);
}

#[test]
fn a_profile_that_is_none_is_refused_by_all_of_them() {
    for command in ["show", "diff"] {
        lab(&["profile", command, "nosuch"]).expect_refused(2, &["`nosuch`", "c10k-lab profile list"]);
    }
}
