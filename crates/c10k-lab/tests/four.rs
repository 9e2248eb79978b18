//! The document on stdout, the printed summary, record.json and report.html of one run are made from the same numbers.

mod common;

use std::collections::BTreeSet;

use c10k_record::Style;
use common::{Ended, run_lab};
use serde_json::Value;

/// The numbers in a text, as they are written: `1,234`, `0.25`.
fn numbers(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_digit() && ![',', '.'].contains(&c))
        .map(|word| word.trim_matches([',', '.']).to_owned())
        .filter(|word| word.contains(|c: char| c.is_ascii_digit()))
        .collect()
}

/// What a page says outside its tags.
fn without_tags(page: &str) -> String {
    let mut text = String::new();
    for part in page.split('<') {
        text.push(' ');
        text.push_str(part.split_once('>').map_or(part, |(_, text)| text));
    }
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
}

#[track_caller]
fn expect_one_story(ended: &Ended) {
    let record = ended.record();
    let file = std::fs::read_to_string(ended.folder().join("record.json")).expect("the record");
    assert_eq!(ended.document(), serde_json::from_str::<Value>(&file).expect("JSON"));
    // The headline, every count, verdict, cost, rate and latency: the printed text is that of the record.
    let summary = c10k_report::summary(&record, None, Style { width: 80, color: false });
    assert!(ended.stderr.contains(summary.trim_end()), "{}\nis not\n{summary}", ended.stderr);
    let page = std::fs::read_to_string(ended.folder().join("report.html")).expect("the page");
    let text = without_tags(&page);
    let (said, shown) = (numbers(&summary), numbers(&text));
    let missing: Vec<&String> = said.difference(&shown).collect();
    assert!(missing.is_empty() && said.len() > 20, "not on the page: {missing:?}");
    let headline = summary.lines().next().expect("a headline");
    assert!(text.contains(headline), "the page has another headline than '{headline}'");
    // And the summary has those of the record, not only some.
    let c = &record.connections;
    for count in [c.target, c.attempted, c.established, c.held, c.failed_total()] {
        assert!(said.contains(&c10k_record::human_count(count)), "{count}: {summary}");
    }
    for value in record.verdicts.iter().filter_map(|verdict| verdict.value) {
        let digits = format!("{value:.0}");
        let is_told = said.iter().any(|word| word.replace(',', "").starts_with(&digits));
        assert!(is_told || value < 1.0 || value.fract() >= 0.5, "{value}: {summary}");
    }
}

#[test]
fn what_is_printed_written_and_shown_of_a_run_that_holds_is_one_story() {
    let ended =
        run_lab(&["--target", "1234", "--hold", "300ms", "--json", "--full", "--verdict", "echo_p95 <= 1h"]);
    ended.expect_held(1234);
    expect_one_story(&ended);
}

#[test]
fn what_is_printed_written_and_shown_of_a_run_that_falls_short_is_one_story() {
    let short = ["--target", "321", "--max-connections", "123", "--hold", "300ms", "--json"];
    let ended =
        run_lab(&[&short[..], &["--connect-timeout", "1s", "--probe-timeout", "1s", "--full"]].concat());
    ended.expect_exit(1);
    expect_one_story(&ended);
}
