//! The doctor's finding for people.

use std::fmt::Write as _;

use c10k_collector::EvidenceSource;
use c10k_record::{human_bytes, human_count};

use super::facts::Outside;
use super::{Finding, Machine, Row};

/// Where the text of a wall begins, columns.
const INDENT: usize = 16;

pub(super) fn page(finding: &Finding, outside: &Outside) -> String {
    let mut text = format!(
        "{} {} connections over {}, both ends on this machine, profile {}{}\n",
        human_count(finding.target),
        finding.protocol,
        finding.topology,
        finding.profile,
        if finding.plain { ", an ordinary program" } else { "" }
    );
    text.push_str("\nThe walls, in the order in which they bite\n");
    let mark = finding.walls.iter().any(|row| !row.in_this_plan);
    if mark {
        text.push_str("(* only for an ordinary program: one descriptor table, one source address)\n");
    }
    let _ = writeln!(text, "\n{:>13}   wall", "connections");
    let mut told = false;
    for row in &finding.walls {
        if !told && row.connections.is_some_and(|allowed| allowed >= finding.target) {
            let _ = writeln!(text, "{:>13}   ---- the target ----", human_count(finding.target));
            told = true;
        }
        text.push_str(&wall(row));
    }
    if !told {
        let _ = writeln!(
            text,
            "{:>13}   ---- the target, beyond all that bounds a number ----",
            human_count(finding.target)
        );
    }
    let _ = write!(text, "\nHow much machine that takes, both ends idle\n\n{}", machines(&finding.machines));
    if let Some(calibration) = &finding.calibration {
        let _ = writeln!(
            text,
            "\nCalibrated with {} connections: {} a second ± {} %{}",
            human_count(calibration.connections),
            human_count(calibration.connects_per_second),
            calibration.uncertainty_percent,
            calibration.measured_pair_bytes.map_or_else(String::new, |bytes| format!(
                ", {} B of kernel memory a pair measured",
                human_count(bytes)
            ))
        );
    }
    text.push_str(&sources(&finding.evidence));
    let _ = writeln!(text, "\n{}", verdict(finding, outside));
    text
}

/// What a diagnosis can look at here; of what it cannot, why.
fn sources(sources: &[EvidenceSource]) -> String {
    let mut text = "\nWhat a diagnosis can look at here, besides counters\n\n".to_owned();
    for EvidenceSource { name, tells, why_not } in sources {
        let _ = match why_not {
            None => writeln!(text, "  {name}: {tells}"),
            Some(why) => writeln!(text, "  {name}: not here ({why}): {tells}"),
        };
    }
    text
}

fn wall(row: &Row) -> String {
    let number = match (row.connections, row.rate_per_second) {
        (Some(connections), _) => human_count(connections),
        (None, Some(rate)) => format!("{}/s", human_count(rate)),
        (None, None) => "unknown".to_owned(),
    };
    let mark = if row.in_this_plan { ' ' } else { '*' };
    let about = match row.uncertainty_percent {
        0 => String::new(),
        percent => format!(" (± {percent} %)"),
    };
    let mut text = format!("{number:>13} {mark} {}: {}{about}\n", row.wall, row.title);
    let indent = " ".repeat(INDENT);
    let _ = writeln!(text, "{indent}now: {}", row.now);
    if let Some(passed_by) = &row.passed_by {
        let _ = writeln!(text, "{indent}passed here: {passed_by}");
    }
    let _ = writeln!(text, "{indent}lift: {}", row.lift.summary);
    for command in &row.lift.commands {
        let _ = writeln!(text, "{indent}  {command}");
    }
    text
}

fn machines(machines: &[Machine]) -> String {
    let head = [
        "connections",
        "server",
        "client",
        "both",
        "fits here",
        "tables",
        "source IPs",
        "by default",
        "ramp",
    ];
    let unknown = || "unknown".to_owned();
    let rows: Vec<[String; 9]> = machines
        .iter()
        .map(|machine| {
            [
                human_count(machine.connections),
                human_bytes(machine.server_bytes),
                human_bytes(machine.client_bytes),
                human_bytes(machine.both_ends_bytes),
                machine.fits_here.map_or_else(unknown, |fits| if fits { "yes" } else { "no" }.to_owned()),
                machine.tables_each_end.map_or_else(unknown, human_count),
                machine.source_addresses.map_or_else(unknown, human_count),
                human_count(machine.source_addresses_by_default),
                machine.ramp_seconds.map_or_else(unknown, |seconds| format!("{seconds:.1} s")),
            ]
        })
        .collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([head[column].len()]).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: &[String]| {
        let cells: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        format!("  {}\n", cells.join("  "))
    };
    let mut text = line(&head.map(str::to_owned));
    rows.iter().for_each(|row| text.push_str(&line(row)));
    text.push_str(
        "  (memory: RAM at each end; tables: descriptor tables at each end with the limit that stands;\n   \
         by default: source IPs with the kernel's own 28,232 ports)\n",
    );
    text
}

fn verdict(finding: &Finding, outside: &Outside) -> String {
    let Some(predicted) = &finding.predicted else {
        let plan = if finding.plain { "an ordinary program" } else { "this plan" };
        return format!("REACHABLE: nothing that bounds {plan} is below {}.", human_count(finding.target));
    };
    let row = finding.walls.iter().find(|row| row.in_this_plan && row.wall == predicted.wall);
    let lift =
        row.and_then(|row| row.lift.commands.first()).map_or_else(String::new, |line| format!("; {line}"));
    let who = if outside.root { "" } else { " (as this user)" };
    format!("SHORT: {} stops this{who} at {}{lift}", predicted.wall, human_count(predicted.connections))
}
