//! A sweep's runs and answers as CSV (RFC 4180): a row a run, and a row for each metric of each side.

use c10k_plan::experiment::file::Sweep;
use c10k_plan::experiment::order::Part;
use c10k_report::stats::CSV_COLUMNS;

use super::answer::Answers;
use super::state::State;

/// A row for each run. What was set by the sweep stands in `param.NAME`; empty is what the base plan has.
pub(super) fn runs(sweep: &Sweep, state: &State) -> String {
    let measures: Vec<String> = sweep.measures().iter().map(ToString::to_string).collect();
    let keys = sweep.keys();
    let mut header: Vec<String> =
        ["run", "part", "round", "place", "side"].map(str::to_owned).into_iter().collect();
    header.extend(keys.iter().map(|key| format!("param.{key}")));
    header.extend(measures.iter().cloned());
    header.extend(["wall_seconds", "started_at", "folder"].map(str::to_owned));
    let mut text = line(&header);
    for (at, (slot, done)) in state.done().enumerate() {
        let arm = &sweep.arms[slot.arm()];
        let part = match slot.part {
            Part::WarmUp => "warm-up",
            Part::Same => "same",
            Part::Pairs => "pairs",
        };
        let mut fields = vec![
            (at + 1).to_string(),
            part.to_owned(),
            slot.round.to_string(),
            slot.place.to_string(),
            arm.label(),
        ];
        fields.extend(keys.iter().map(|key| arm.value_of(key).unwrap_or_default().to_owned()));
        let value = |name: &String| done.values.get(name).copied().flatten();
        fields.extend(
            measures.iter().map(|name| value(name).map_or_else(String::new, |value| value.to_string())),
        );
        fields.push(format!("{:.3}", done.wall_seconds));
        fields.extend([done.started_at.clone(), done.folder.display().to_string()]);
        text.push_str(&line(&fields));
    }
    text
}

/// A row for each metric of each side.
pub(super) fn answers(sweep: &Sweep, answers: &Answers) -> String {
    let keys = sweep.keys();
    let mut header = vec!["side".to_owned()];
    header.extend(keys.iter().map(|key| format!("param.{key}")));
    header.push("metric".to_owned());
    header.extend(CSV_COLUMNS.map(str::to_owned));
    let mut text = line(&header);
    for answered in &answers.all {
        let arm = &sweep.arms[answered.arm];
        let mut fields = vec![arm.label()];
        fields.extend(keys.iter().map(|key| arm.value_of(key).unwrap_or_default().to_owned()));
        fields.push(answered.measure.to_string());
        fields.extend(answered.answer.csv_fields());
        text.push_str(&line(&fields));
    }
    text
}

fn line(fields: &[String]) -> String {
    let fields: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
    format!("{}\n", fields.join(","))
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_with_a_comma_or_a_quote_is_quoted() {
        let fields = ["a", "1, 2", "say \"x\""].map(str::to_owned);
        assert_eq!(line(&fields), "a,\"1, 2\",\"say \"\"x\"\"\"\n");
    }
}
