//! What came of a tuning, for people.

use std::path::Path;
use std::time::Duration;

use c10k_plan::flags::again;
use c10k_record::{Span, fold, human_count, shell};

use super::folder::{Check, Document};
use super::lift::Lift;

/// What came of the goal.
pub(super) fn headline(check: &Check) -> String {
    let (held, target) = (human_count(check.held), human_count(check.target));
    match (check.is_reached, check.broken.as_slice()) {
        (true, _) => format!("The goal is held: {held} of {target} from a fresh start, all verdicts hold."),
        (false, []) => format!("The goal is not held: {held} of {target} from a fresh start."),
        (false, broken) => {
            format!(
                "The goal is not held: {held} of {target} from a fresh start; broken: {}.",
                broken.join(", ")
            )
        }
    }
}

/// What is kept and no profile carries.
pub(super) fn beside_the_profile(document: &Document) -> Vec<Lift> {
    let lifts = document.outcome.lifts().into_iter();
    lifts.filter(|lift| lift.of_profile().is_none()).collect()
}

/// The command of a run with the profile.
pub(super) fn again_with(document: &Document, file: Option<&Path>, out: &Path) -> String {
    let mut plan = document.asked.plan.clone();
    plan.profile = out.display().to_string();
    for lift in beside_the_profile(document) {
        plan.load.ips = Some(lift.value);
    }
    if plan.phases.is_empty() {
        let mut words = again(&plan);
        words.extend(["--target".to_owned(), plan.target.to_string()]);
        return shell::line(&words);
    }
    let of_file = file.map_or_else(String::new, |path| shell::quoted(&path.display().to_string()));
    format!("c10k-lab run {of_file} --profile {}", shell::quoted(&plan.profile))
}

/// What came of it, for people.
pub(super) fn told(document: &Document, files: &[String], width: usize) -> String {
    let outcome = &document.outcome;
    let mut lines = Vec::new();
    if let Some(check) = &document.check {
        lines.extend(fold(&headline(check), width));
    }
    for kept in &outcome.kept {
        lines.push(format!("kept       {}", kept.lift.name()));
        lines.extend(
            fold(&kept.proof.line(), width.saturating_sub(11))
                .iter()
                .map(|line| format!("           {line}")),
        );
    }
    for (what, all) in [("of no use  ", &outcome.tried), ("not tried  ", &outcome.not_tried)] {
        for left in all {
            let text = format!("{}: {}", left.lift.name(), left.why);
            let folded = fold(&text, width.saturating_sub(11));
            let before = |at: usize| if at == 0 { what } else { "           " };
            lines.extend(folded.iter().enumerate().map(|(at, line)| format!("{}{line}", before(at))));
        }
    }
    lines.extend(files.iter().cloned());
    lines.join("\n")
}

/// Seconds as people say them.
pub(super) fn span(seconds: f64) -> String {
    Span(Duration::from_secs(seconds.max(0.0).round() as u64)).to_string()
}
