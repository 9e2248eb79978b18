//! The rules of the house, held against its sources: CONTRIBUTING.md, "Tidy", tells them in words.
//!
//! Each rule is a function from the sources to its findings, with a test of its own on a made-up house. What stands
//! against a rule for a reason is in `exceptions.rs`, and an exception that nothing needs any more is a finding too.

mod circles;
mod exceptions;
mod lengths;
mod modules;
mod names;
mod output;
mod paths;
mod source;
mod unused;
mod words;

use exceptions::{EXCEPTIONS, Exception};
use source::House;

/// Something that a rule does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The rule's name, as in `exceptions.rs`.
    pub(crate) rule: &'static str,
    /// A file, or `file: item`.
    pub(crate) place: String,
    /// What is wrong there.
    pub(crate) what: String,
}

type Rule = fn(&House) -> Vec<Finding>;

/// Asserts that every finding has its exception, and every exception of the rule its finding.
#[track_caller]
fn expect_tidy(rule: Rule, names: &[&str]) {
    let findings = rule(&House::here());
    let excepted = |finding: &Finding| EXCEPTIONS.iter().any(|exception| allows(exception, finding));
    let wrong: Vec<String> = findings
        .iter()
        .filter(|finding| !excepted(finding))
        .map(|f| format!("{}: {}: {}", f.rule, f.place, f.what))
        .collect();
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
    let stale: Vec<String> = EXCEPTIONS
        .iter()
        .filter(|exception| names.contains(&exception.rule))
        .filter(|exception| !findings.iter().any(|finding| allows(exception, finding)))
        .map(|exception| format!("{}: {}", exception.rule, exception.place))
        .collect();
    assert!(stale.is_empty(), "exceptions that nothing needs:\n{}", stale.join("\n"));
}

fn allows(exception: &Exception, finding: &Finding) -> bool {
    exception.rule == finding.rule && exception.place == finding.place
}

#[test]
fn no_file_and_no_function_is_too_long() {
    expect_tidy(lengths::findings, &[lengths::FILE, lengths::FUNCTION]);
}

#[test]
fn no_crate_has_a_fifth_of_the_house() {
    expect_tidy(lengths::rooms, &[lengths::ROOM]);
}

#[test]
fn every_file_is_named_by_a_module() {
    expect_tidy(modules::findings, &[modules::RULE]);
}

#[test]
fn no_files_of_a_crate_use_each_other_in_a_circle() {
    expect_tidy(circles::findings, &[circles::RULE]);
}

#[test]
fn each_module_of_an_ordered_crate_uses_those_before_it() {
    expect_tidy(circles::out_of_order, &[circles::ORDER]);
}

#[test]
fn nothing_is_public_that_nobody_uses() {
    expect_tidy(unused::findings, &[unused::RULE]);
}

#[test]
fn only_printers_write_to_the_standard_streams() {
    expect_tidy(output::findings, &[output::RULE]);
}

#[test]
fn numbers_say_their_unit() {
    expect_tidy(names::findings, &[names::RULE]);
}

#[test]
fn documents_name_files_that_there_are() {
    expect_tidy(paths::findings, &[paths::RULE]);
}

#[test]
fn texts_use_the_words_of_the_list() {
    expect_tidy(words::findings, &[words::RULE]);
}

#[test]
fn every_exception_has_a_reason() {
    for exception in EXCEPTIONS {
        assert!(exception.reason.len() > 20, "{}: {}", exception.rule, exception.place);
    }
}
