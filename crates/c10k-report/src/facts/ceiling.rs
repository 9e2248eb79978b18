//! The wall, its proof and what lifts it.

use c10k_record::{Ceiling, Degree, Evidence, Record, Remedy, Side, Tone, Verdict, count, human_count};

use super::{Row, Section, cells, left, line, right};

pub(super) fn section(record: &Record) -> Option<Section> {
    let ceiling = record.ceiling.as_ref()?;
    let mut rows = Vec::new();
    let c = &record.connections;
    if record.reached_its_target() && record.verdicts.iter().any(Verdict::is_broken) {
        let held = human_count(c.held);
        rows.push(line(format!("All are held, and a verdict broke: the ceiling lies at or below {held}.")));
    }
    if ceiling.walls.is_empty() {
        let text = format!("{}: no wall is proven; what was seen:", ceiling.wall);
        rows.push(Row::Text(Tone::Bad, text));
        rows.extend(ceiling.evidence.iter().map(evidence));
        rows.extend(ceiling.remedy.iter().flat_map(remedy));
    }
    for wall in &ceiling.walls {
        let unharmed = !record.verdicts.iter().any(Verdict::is_broken);
        let kind = match wall.hard {
            true => "hard",
            false if unharmed => "met on the way, without a connection lost",
            false => "soft: a verdict broke",
        };
        let likely = if wall.degree == Some(Degree::Likely) { "likely: " } else { "" };
        let text = format!("{likely}{} — {} ({}, {kind})", wall.name, wall.title, end(wall.side));
        rows.push(Row::Text(Tone::Bad, text));
        rows.extend(wall.evidence.iter().map(evidence));
        rows.extend(wall.remedy.iter().flat_map(remedy));
    }
    rows.extend(record.evidence.words.iter().map(|words| line(format!("The server {words}"))));
    rows.push(line(predicted(ceiling, c.target)));
    Some(Section::new("Ceiling", rows))
}

pub(super) fn end(side: Side) -> &'static str {
    match side {
        Side::Swarm => "at the swarm",
        Side::Server => "at the server",
        Side::Host => "of the host",
    }
}

pub(super) fn evidence(evidence: &Evidence) -> Row {
    let value = match (evidence.before, evidence.after) {
        (Some(before), Some(after)) => format!("{} → {}", human_count(before), human_count(after)),
        (None, None) => String::new(),
        (before, after) => count(after.or(before)),
    };
    cells(vec![left(&evidence.source), right(value), left(&evidence.text)])
}

pub(super) fn remedy(remedy: &Remedy) -> Vec<Row> {
    let mut rows = vec![line(format!("What lifts it: {}", remedy.summary))];
    rows.extend(remedy.commands.iter().cloned().map(Row::Command));
    rows
}

fn predicted(ceiling: &Ceiling, target: u64) -> String {
    let met = |wall: &str| ceiling.walls.iter().any(|found| found.name == wall);
    match &ceiling.predicted {
        None => "Nothing was predicted.".to_owned(),
        Some(predicted) if !predicted.is_near(target) && !met(&predicted.wall) => {
            "No wall was predicted that this run could have met.".to_owned()
        }
        Some(predicted) if !met(&predicted.wall) => format!(
            "Predicted: {} by {}, which was not met; held: {}.",
            human_count(predicted.connections),
            predicted.wall,
            human_count(ceiling.connections)
        ),
        Some(predicted) => {
            let (foreseen, held) = (predicted.connections, ceiling.connections);
            format!(
                "Predicted: {} by {}; held: {}, {} {}.",
                human_count(foreseen),
                predicted.wall,
                human_count(held),
                human_count(foreseen.abs_diff(held)),
                if held > foreseen { "more" } else { "fewer" }
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use c10k_record::{ServerWords, Style};

    use crate::fixtures;
    use crate::terminal::summary;

    #[test]
    fn what_the_server_said_stands_beside_the_wall_and_is_no_markup() {
        let mut record = fixtures::short();
        let said = |text: &str, count| ServerWords { text: text.to_owned(), count };
        record.evidence.words = vec![said("Close 1013: <b>full</b>", 412), said("bye", 1)];
        let text = summary(&record, None, Style::default());
        let lines = "  The server said on 412 connections: Close 1013: <b>full</b>\n  The server said on 1 connection: bye";
        assert!(text.contains(lines), "{text}");
        let page = fixtures::page(&record);
        assert!(page.contains("Close 1013: &lt;b&gt;full&lt;/b&gt;") && !page.contains("<b>full"), "{page}");
    }
}
