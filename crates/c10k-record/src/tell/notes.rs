//! Warnings as a person reads them: each once, those that belong together in one line.

use crate::text::shell;
use crate::{Warning, human_count};

/// Of the same kind so many are told, and of the others only their number.
const MOST_OF_A_KIND: usize = 2;

/// The ids of warnings that have a line of their own here.
const NOT_ISOLATED: &str = "not-isolated";
const NOT_APPLIED: &str = "profile-not-applied";

/// What is to be said of these warnings, a line each: `note: ` or `warning: ` first.
/// `profile` is the name or the path of the run's profile.
#[must_use]
pub fn notes(warnings: &[Warning], profile: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let is_isolated = !warnings.iter().any(|warning| warning.id == NOT_ISOLATED);
    let unset = warnings.iter().filter(|warning| warning.id == NOT_APPLIED).count();
    let diff = format!("c10k-lab profile diff {}", shell::quoted(profile));
    if !is_isolated {
        let unset = if unset == 0 {
            "of the profile nothing is missing".to_owned()
        } else {
            format!("profile not applied ({}: {diff})", settings(unset))
        };
        lines.push(format!("note: no network namespace here; using 127.0.0.0/8, {unset}"));
    } else if unset == 1 {
        let only = warnings.iter().filter(|warning| warning.id == NOT_APPLIED);
        lines.extend(only.map(|warning| format!("warning: {}", warning.text)));
    } else if unset > 1 {
        lines.push(format!("note: {} of the profile are not in force ({diff})", settings(unset)));
    }
    let others: Vec<&Warning> = warnings
        .iter()
        .filter(|warning| ![NOT_ISOLATED, NOT_APPLIED].contains(&warning.id.as_str()))
        .collect();
    for (n, warning) in others.iter().enumerate() {
        let before = others[..n].iter().filter(|other| other.id == warning.id).count();
        if before < MOST_OF_A_KIND {
            lines.push(format!("warning: {}", warning.text));
        } else if before == MOST_OF_A_KIND {
            let all = others.iter().filter(|other| other.id == warning.id).count();
            let more = human_count((all - MOST_OF_A_KIND) as u64);
            lines.push(format!("warning: {more} more of the kind {}", warning.id));
        }
    }
    lines
}

fn settings(count: usize) -> String {
    let plural = if count == 1 { "setting" } else { "settings" };
    format!("{} {plural}", human_count(count as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unset(count: usize) -> Vec<Warning> {
        (0..count).map(|n| Warning::new(NOT_APPLIED, format!("key{n} was not set"))).collect()
    }

    #[test]
    fn where_no_namespace_may_be_made_one_note_is_enough() {
        let mut warnings = vec![Warning::new(NOT_ISOLATED, "no namespace: EPERM")];
        warnings.extend(unset(10));
        assert_eq!(
            notes(&warnings, "tuned"),
            [
                "note: no network namespace here; using 127.0.0.0/8, profile not applied (10 settings: c10k-lab profile diff tuned)"
            ]
        );
        assert!(notes(&warnings[..2], "tuned")[0].contains("(1 setting: "));
        assert!(notes(&warnings[..1], "tuned")[0].ends_with("of the profile nothing is missing"));
    }

    #[test]
    fn settings_that_are_not_in_force_are_one_note_and_a_single_one_is_named() {
        assert_eq!(notes(&unset(1), "tuned"), ["warning: key0 was not set"]);
        assert_eq!(
            notes(&unset(3), "tuned"),
            ["note: 3 settings of the profile are not in force (c10k-lab profile diff tuned)"]
        );
        assert!(notes(&[], "tuned").is_empty());
    }

    #[test]
    fn of_many_of_one_kind_two_are_told_and_the_others_counted() {
        let mut warnings: Vec<Warning> =
            (0..5).map(|n| Warning::new("unreadable", format!("file {n}"))).collect();
        warnings.push(Warning::new("own-gap", "stood still"));
        assert_eq!(
            notes(&warnings, "tuned"),
            [
                "warning: file 0",
                "warning: file 1",
                "warning: 3 more of the kind unreadable",
                "warning: stood still"
            ]
        );
    }
}
