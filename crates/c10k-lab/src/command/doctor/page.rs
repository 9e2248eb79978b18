//! The doctor's finding for people: the answer first, then what is near.

use c10k_collector::EvidenceSource;
use c10k_record::{Hanging, fold, fold_command, human_bytes, human_count};

use super::facts::Outside;
use super::{Finding, Machine, Row};

/// Where the text of a wall begins, columns.
const INDENT: usize = 16;
/// Walls from so many times the target on are left out.
const NEAR: u64 = 3;

/// The page; `all` has every wall and every source of evidence, however far.
pub(super) fn page(finding: &Finding, outside: &Outside, all: bool, width: usize) -> String {
    let mut page = Page { lines: Vec::new(), width };
    page.answer(finding, outside);
    page.walls(finding, all);
    page.lines.push(String::new());
    page.lines.push("How much machine that takes, both ends idle".to_owned());
    page.lines.push(String::new());
    page.machines(&finding.machines);
    page.calibration(finding);
    page.sources(&finding.evidence, all);
    page.lines.join("\n")
}

struct Page {
    lines: Vec<String>,
    width: usize,
}

impl Page {
    fn text(&mut self, column: usize, before: &str, text: &str) {
        self.lines.extend(Hanging { column, width: self.width }.lines(before, text));
    }

    fn command(&mut self, column: usize, command: &str) {
        let room = Hanging { column, width: self.width }.room();
        self.lines.extend(fold_command(command, room).iter().map(|part| format!("{:column$}{part}", "")));
    }

    fn answer(&mut self, finding: &Finding, outside: &Outside) {
        let target = human_count(finding.target);
        let plan = if finding.plain { "an ordinary program" } else { "this plan" };
        let row = finding.predicted.as_ref().and_then(|predicted| {
            finding.walls.iter().find(|row| row.in_this_plan && row.wall == predicted.wall)
        });
        let answer = match &finding.predicted {
            None => {
                let is_ahead = |row: &&Row| row.in_this_plan && row.connections.is_some();
                let next = finding.walls.iter().find(is_ahead).map_or_else(String::new, |row| {
                    let at = row.connections.map_or_else(String::new, human_count);
                    format!(" The first lies at {at}: {}.", row.wall)
                });
                format!("REACHABLE: nothing that bounds {plan} is below {target}.{next}")
            }
            Some(predicted) => {
                let who = if outside.root { "" } else { " (as this user)" };
                let at = human_count(predicted.connections);
                format!("SHORT: {} stops {plan}{who} at {at} of {target}.", predicted.wall)
            }
        };
        self.lines.extend(fold(&answer, self.width));
        if let Some(row) = row {
            self.text(8, "  lift", &row.lift.summary);
            row.lift.commands.iter().for_each(|command| self.command(8, command));
        }
        let about = format!(
            "{target} {} connections over {}, both ends on this machine, profile {}{}",
            finding.protocol,
            finding.topology,
            finding.profile,
            if finding.plain { ", an ordinary program" } else { "" }
        );
        self.text(8, "  asked", &about);
    }

    fn walls(&mut self, finding: &Finding, all: bool) {
        let bound = finding.target.saturating_mul(NEAR);
        // What bounds a rate is near wherever it lies: the ramp meets it.
        let is_near = |row: &&Row| all || row.connections.is_none_or(|connections| connections < bound);
        let near: Vec<&Row> = finding.walls.iter().filter(is_near).collect();
        let far = finding.walls.len() - near.len();
        let heading = match far {
            0 => "The walls, in the order in which they are met".to_owned(),
            far => format!(
                "The walls below {}, in the order in which they are met (--all for {far} more)",
                human_count(bound)
            ),
        };
        self.lines.push(String::new());
        if near.is_empty() {
            let none = format!("No wall lies below {} (--all for the {far} beyond).", human_count(bound));
            return self.lines.extend(fold(&none, self.width));
        }
        self.lines.extend(fold(&heading, self.width));
        if near.iter().any(|row| !row.in_this_plan) {
            let mark = "(* only for an ordinary program: one descriptor table, one source address)";
            self.lines.extend(fold(mark, self.width));
        }
        self.lines.push(String::new());
        self.lines.push(format!("{:>13}   wall", "connections"));
        let mut told = false;
        for row in near {
            if !told && row.connections.is_some_and(|allowed| allowed >= finding.target) {
                self.lines.push(format!("{:>13}   ---- the target ----", human_count(finding.target)));
                told = true;
            }
            self.wall(row, finding.target);
        }
        if !told {
            let beyond = if far == 0 { ", beyond all that bounds a number" } else { "" };
            self.lines.push(format!("{:>13}   ---- the target{beyond} ----", human_count(finding.target)));
        }
    }

    fn wall(&mut self, row: &Row, target: u64) {
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
        let title = format!("{}: {}{about}", row.wall, row.title);
        self.text(INDENT, &format!("{number:>13} {mark}"), &title);
        self.text(INDENT, "", &format!("now: {}", row.now));
        if let Some(passed_by) = &row.passed_by {
            // What is passed needs no lift.
            return self.text(INDENT, "", &format!("passed here: {passed_by}"));
        }
        self.text(INDENT, "", &format!("lift: {}", row.lift.summary));
        if row.connections.is_none_or(|connections| connections < target) {
            row.lift.commands.iter().for_each(|command| self.command(INDENT + 2, command));
        }
    }

    fn machines(&mut self, machines: &[Machine]) {
        let head = ["connections", "server", "client", "both", "fits", "tables", "sources", "ramp"];
        let unknown = || "unknown".to_owned();
        let rows: Vec<[String; 8]> = machines
            .iter()
            .map(|machine| {
                let sources = machine.source_addresses.map_or_else(unknown, human_count);
                [
                    human_count(machine.connections),
                    human_bytes(machine.server_bytes),
                    human_bytes(machine.client_bytes),
                    human_bytes(machine.both_ends_bytes),
                    machine.fits_here.map_or_else(unknown, |fits| if fits { "yes" } else { "no" }.to_owned()),
                    machine.tables_each_end.map_or_else(unknown, human_count),
                    format!("{sources} ({})", human_count(machine.source_addresses_by_default)),
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
            format!("  {}", cells.join("  "))
        };
        self.lines.push(line(&head.map(str::to_owned)));
        self.lines.extend(rows.iter().map(|row| line(row)));
        let legend = "(memory: RAM at each end; fits: into this machine; tables: descriptor tables at each end with \
                      the limit that stands; sources: addresses, and with the kernel's own 28,232 ports)";
        self.text(2, "", legend);
    }

    fn calibration(&mut self, finding: &Finding) {
        let Some(calibration) = &finding.calibration else { return };
        let text = format!(
            "Calibrated with {} connections: {} a second ± {} %{}",
            human_count(calibration.connections),
            human_count(calibration.connects_per_second),
            calibration.uncertainty_percent,
            calibration.measured_pair_bytes.map_or_else(String::new, |bytes| format!(
                ", {} B of kernel memory a pair measured",
                human_count(bytes)
            ))
        );
        self.lines.push(String::new());
        self.lines.extend(fold(&text, self.width));
    }

    /// What a diagnosis cannot look at here, and why; with `all` what it can, too.
    fn sources(&mut self, sources: &[EvidenceSource], all: bool) {
        let shown: Vec<&EvidenceSource> =
            sources.iter().filter(|source| all || source.why_not.is_some()).collect();
        if shown.is_empty() {
            return;
        }
        let heading = if all {
            "What a diagnosis can look at here, besides counters"
        } else {
            "What a diagnosis cannot look at here (--all lists what it can, too)"
        };
        self.lines.push(String::new());
        self.lines.extend(fold(heading, self.width));
        self.lines.push(String::new());
        for EvidenceSource { name, tells, why_not } in shown {
            let text = match why_not {
                None => format!("{name}: {tells}"),
                Some(why) => format!("{name}: not here ({why}): {tells}"),
            };
            let lines = fold(&text, self.width.saturating_sub(4));
            let lines = lines
                .iter()
                .enumerate()
                .map(|(n, line)| format!("{:1$}{line}", "", if n == 0 { 2 } else { 4 }));
            self.lines.extend(lines);
        }
    }
}
