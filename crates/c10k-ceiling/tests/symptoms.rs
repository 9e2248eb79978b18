//! What programs say, and what it is read as.

use c10k_ceiling::{SYMPTOMS, read_symptom};
use proptest::prelude::*;

/// What programs say when they meet a limit.
const LIMITS: &str = include_str!("said/limits.txt");
/// What is no limit of connections.
const OTHERS: &str = include_str!("said/others.txt");

/// The lines of a table: what is expected, and the text.
fn lines(table: &'static str) -> impl Iterator<Item = (Vec<&'static str>, &'static str)> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (expected, text) = line.split_once(" | ").unwrap_or((line.trim_end_matches([' ', '|']), ""));
        (expected.split(", ").filter(|name| *name != "-").collect(), text)
    })
}

/// What is wrong with the reading of each line of a table.
fn wrong(table: &'static str) -> Vec<String> {
    let judge = |(expected, text): (Vec<&str>, &'static str)| {
        let reading = read_symptom(text);
        let walls: Vec<&str> = reading.walls.iter().map(|wall| wall.name).collect();
        let others: Vec<String> = reading.others.iter().map(|other| format!("[{}]", other.name)).collect();
        let (causes, names): (Vec<&str>, Vec<&str>) = expected.iter().partition(|name| name.starts_with('['));
        let is_right = names.first() == walls.first().filter(|_| !names.is_empty())
            && names.iter().all(|name| walls.contains(name))
            && causes.iter().all(|cause| others.iter().any(|other| other == cause))
            && (!names.is_empty() || walls.is_empty())
            && (!expected.is_empty() || others.is_empty());
        (!is_right).then(|| format!("{expected:?} but {walls:?} {others:?}: {text}"))
    };
    lines(table).filter_map(judge).collect()
}

#[track_caller]
fn expect_right(table: &'static str) {
    let wrong = wrong(table);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), lines(table).count(), wrong.join("\n"));
}

#[test]
fn what_programs_say_at_a_limit_leads_to_its_wall() {
    assert!(lines(LIMITS).count() >= 120);
    expect_right(LIMITS);
}

#[test]
fn what_is_no_limit_of_connections_leads_to_no_wall() {
    assert!(lines(OTHERS).count() >= 20);
    expect_right(OTHERS);
}

#[test]
fn every_error_that_people_search_for_is_known_by_name_and_by_each_of_its_words() {
    for symptom in SYMPTOMS {
        // Alone it says nothing of a connection.
        if symptom.outcome == "EINVAL" {
            continue;
        }
        assert!(!read_symptom(symptom.outcome).is_empty(), "{}", symptom.outcome);
        for words in symptom.words {
            assert!(!read_symptom(&words.to_uppercase()).is_empty() || symptom.outcome == "EBUSY", "{words}");
        }
    }
}

#[test]
fn the_rules_hold_for_what_they_were_not_made_of() {
    expect_right(include_str!("said/later.txt"));
}

#[test]
fn what_the_kernel_counts_leads_to_the_wall_that_it_counts() {
    expect_right(include_str!("said/counters.txt"));
}

#[test]
fn the_rules_hold_for_what_people_report_of_other_programs() {
    expect_right(include_str!("said/field.txt"));
}

proptest! {
    #[test]
    fn no_text_is_too_odd_to_be_read(said in any::<String>(), at in 0_usize..SYMPTOMS.len()) {
        let _ = read_symptom(&said);
        // A name between other words is found: signs and line ends stand around it.
        let name = SYMPTOMS[at].outcome;
        if name != "EBUSY" && name != "EINVAL" {
            let text = format!("{}\n[{name}]", "x ".repeat(said.len()));
            prop_assert!(!read_symptom(&text).is_empty());
        }
    }
}
