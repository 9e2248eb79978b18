//! A sweep's answer for people: a table that fits a terminal.

use std::path::Path;

use c10k_plan::experiment::file::Sweep;
use c10k_plan::experiment::measure::Measure;
use c10k_record::fold;
use c10k_report::stats::{Answer, Test};

use super::answer::Answers;
use super::read_back;

/// The page, the tables and the document, from the sweep's folder.
pub(super) const PAGE: &str = "sweep.html";

/// The answer in lines of `width` columns.
pub(super) fn told(sweep: &Sweep, answers: &Answers, folder: &Path, width: usize) -> String {
    let mut lines = fold(&format!("SWEEP {}: {}", sweep.name, sweep.title), width);
    for (what, text) in [("question", &sweep.question), ("believed", &sweep.believed)] {
        if !text.is_empty() {
            lines.extend(hanging(&format!("{what}: "), text, width));
        }
    }
    lines.push(String::new());
    for (measure, answer) in &answers.same {
        lines.extend(hanging(&format!("base against itself, {measure}: "), &answer.spread_words(), width));
    }
    for (at, arm) in sweep.arms.iter().enumerate().skip(1) {
        lines.push(String::new());
        lines.extend(fold(&arm.label(), width));
        for answered in answers.all.iter().filter(|all| all.arm == at) {
            lines.extend(row(answered.measure, &answered.answer, width));
        }
        let control = answers.controls.iter().find(|(arm, _)| *arm == at).zip(sweep.control);
        if let Some(((_, answer), measure)) = control
            && !sweep.metrics.contains(&measure)
        {
            lines.extend(hanging(&format!("  control, {measure}: "), &answer.words(), width));
        }
    }
    if !answers.predictions.is_empty() {
        lines.extend([String::new(), "expected".to_owned()]);
    }
    for predicted in &answers.predictions {
        let met = if predicted.is_met { "  met      " } else { "  NOT MET  " };
        let text = format!("{} ({})", predicted.text, sweep.arms[predicted.arm].label());
        lines.extend(hanging(met, &text, width));
    }
    lines.push(String::new());
    lines.extend(fold(&read_back::words(sweep), width));
    lines.push(format!("page: {}", folder.join(PAGE).display()));
    lines.join("\n")
}

/// A metric: base, side, and what that says; where nothing is left to chance the words say all of it.
fn row(measure: Measure, answer: &Answer, width: usize) -> Vec<String> {
    if answer.test == Test::Exact {
        return hanging(&format!("  {:<24} ", measure.to_string()), &answer.words(), width);
    }
    let [base, side] = answer.medians.map_or([None; 2], |medians| medians.map(Some));
    let before = format!(
        "  {:<24} {:>10} -> {:>10}  ",
        measure.to_string(),
        measure.written(base),
        measure.written(side)
    );
    hanging(&before, &answer.words(), width)
}

/// A text whose further lines begin below its own begin.
fn hanging(before: &str, text: &str, width: usize) -> Vec<String> {
    let column = before.chars().count();
    let room = width.saturating_sub(column);
    // Where little room is left the text stands on lines of its own.
    if room < 20 {
        let mut lines = vec![before.trim_end().to_owned()];
        lines.extend(
            fold(text, width.saturating_sub(4).max(20)).into_iter().map(|line| format!("    {line}")),
        );
        return lines;
    }
    let folded = fold(text, room);
    let lines = folded.iter().enumerate().map(|(at, line)| match at {
        0 => format!("{before}{line}"),
        _ => format!("{}{line}", " ".repeat(column)),
    });
    lines.map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_hangs_beside_what_it_belongs_to_or_stands_below_it() {
        assert_eq!(hanging("a: ", "one two", 30), ["a: one two"]);
        assert_eq!(
            hanging("before: ", "one two three four five six", 28),
            ["before: one two three four", "        five six"]
        );
        assert_eq!(
            hanging("a long begin of a line: ", "one two", 30),
            ["a long begin of a line:", "    one two"]
        );
    }
}
