//! `c10k-lab walls`: the field guide to everything that stops a box from holding one more connection.

mod number;
mod paragraph;

use std::fmt::Write as _;

use c10k_ceiling::{
    MYTHS, Myth, Need, PlanView, Reading, SYMPTOMS, Wall, myth, number_in, read_symptom, surest, wall, walls,
};
use c10k_kernel::limits;
use c10k_plan::say::printer::Printer;
use c10k_plan::say::words::side_name;
use c10k_record::{DEFAULT_PORT, Degree, Exit, HostSnapshot, Remedy, Scope, human_count, nearest};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::command::doctor::facts::line;
use crate::command::plant::PlantArgs;
use crate::command::sweep::experiments::{experiments_on, others};
use crate::host::before::Beforehand;
use paragraph::{paragraph, title};

/// `c10k-lab walls`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct WallsArgs {
    #[command(subcommand)]
    command: Option<WallsCommand>,
    /// A wall to explain (ports-exhausted), what a program said (EMFILE, i/o timeout), or a number at which connections
    /// stop (28232) [default: list all].
    #[arg(value_name = "WALL|ERROR|NUMBER")]
    name: Vec<String>,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum WallsCommand {
    /// Reproduce a wall at small scale in a private namespace, and show prediction, diagnosis and lift.
    Plant(PlantArgs),
    /// Popular settings that do nothing for the number of connections, or harm, each with a run that shows it.
    Myths {
        /// One of them, such as somaxconn [default: all].
        name: Option<String>,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
    },
}

/// Carries it out.
pub(crate) fn run(args: &WallsArgs, printer: &mut Printer) -> Exit {
    match &args.command {
        Some(WallsCommand::Plant(plant)) => crate::command::plant::run(plant, printer),
        Some(WallsCommand::Myths { name, json }) => show_myths(name.as_deref(), *json, printer),
        None if args.name.is_empty() => list(args.json, printer),
        None => explain(&args.name.join(" "), args.json, printer),
    }
}

fn list(as_json: bool, printer: &mut Printer) -> Exit {
    if as_json {
        let rows: Vec<Value> = walls().map(summary).collect();
        printer.data(&json!({ "walls": rows }).to_string());
        return Exit::Done;
    }
    let name_width = walls().map(|wall| wall.name.len()).max().unwrap_or(0);
    for wall in walls() {
        let plantable = match &wall.plant {
            plant if plant.plantable => "plantable",
            plant if plant.needs.contains(&Need::OwnHost) => "host-wide",
            _ => "replayed",
        };
        let side = side_name(wall.side);
        printer.data(&format!("{:<name_width$}  {side:<6}  {plantable:<9}  {}", wall.name, wall.title));
    }
    printer.say("hint: `c10k-lab walls NAME` explains one, `c10k-lab walls \"i/o timeout\"` finds those behind an error");
    Exit::Done
}

fn explain(name: &str, as_json: bool, printer: &mut Printer) -> Exit {
    if let Some(wall) = wall(name) {
        let host = this_host();
        printer.data(&if as_json { page_json(wall, &host).to_string() } else { page(wall, &host) });
        return Exit::Done;
    }
    let reading = read_symptom(name);
    if reading.is_empty() {
        return match number_in(name) {
            Some(said) => number::explain((name, &said), &this_host(), as_json, printer),
            None => unknown(name, printer),
        };
    }
    printer.data(&if as_json {
        symptom_json(name, &reading).to_string()
    } else {
        symptom_page(name, &reading)
    });
    Exit::Done
}

/// Nothing is known by that name: perhaps another one was meant.
fn unknown(name: &str, printer: &mut Printer) -> Exit {
    let hint = match nearest_wall(name) {
        Some(near) => format!("did you mean {near}?"),
        None => "name the errno or the call, as \"accept: Too many open files\"; see `nstat -az` and the server's \
                 log, or `c10k-lab walls` for all walls"
            .to_owned(),
    };
    printer
        .error(&format!("'{name}' is neither a wall nor an error that one is known to cause"), Some(&hint));
    Exit::BadText
}

/// The wall that was meant: by a slip of the finger, or by a part of its name.
pub(crate) fn nearest_wall(name: &str) -> Option<&'static str> {
    let names = || walls().map(|wall| wall.name);
    let typed = name.trim().to_lowercase().replace([' ', '_'], "-");
    let part = || names().find(|known| typed.len() >= 4 && known.contains(typed.as_str()));
    nearest(&typed, names()).or_else(part)
}

fn symptom_json(name: &str, reading: &Reading) -> Value {
    let host = this_host();
    let rows: Vec<Value> = reading.walls.iter().map(|wall| page_json(wall, &host)).collect();
    let others: Vec<Value> = reading
        .others
        .iter()
        .map(|other| json!({ "name": other.name, "title": other.title, "look": other.look }))
        .collect();
    json!({ "symptom": name, "walls": rows, "others": others })
}

fn show_myths(name: Option<&str>, as_json: bool, printer: &mut Printer) -> Exit {
    let chosen: Vec<&Myth> = match name {
        None => MYTHS.iter().collect(),
        Some(name) => match myth(name) {
            Some(myth) => vec![myth],
            None => {
                let known = || MYTHS.iter().map(|myth| myth.name);
                let hint = match nearest(name, known()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => "`c10k-lab walls myths` lists them".to_owned(),
                };
                printer.error(&format!("'{name}' is not a myth of this guide"), Some(&hint));
                return Exit::BadText;
            }
        },
    };
    if as_json {
        let rows: Vec<Value> = chosen
            .iter()
            .map(|myth| {
                json!({
                    "name": myth.name, "claim": myth.claim, "truth": myth.truth, "run": myth.run,
                    "shows": myth.shows, "source": myth.source, "measure": experiments_on(myth.name),
                })
            })
            .collect();
        printer.data(&json!({ "myths": rows }).to_string());
        return Exit::Done;
    }
    let mut pages: Vec<String> = chosen.iter().map(|myth| myth_page(myth)).collect();
    if name.is_none() {
        pages.push(format!("other questions that an experiment answers:\n{}\n", others().join("\n")));
    }
    printer.data(&pages.join("\n"));
    Exit::Done
}

/// A wall as the list has it.
fn summary(wall: &Wall) -> Value {
    json!({
        "name": wall.name,
        "title": wall.title,
        "side": side_name(wall.side),
        "plantable": wall.plant.plantable,
        "needs": wall.plant.needs.iter().map(|need| need.name()).collect::<Vec<_>>(),
    })
}

/// A wall with all that the guide says of it.
fn page_json(wall: &Wall, host: &HostSnapshot) -> Value {
    let mut page = summary(wall);
    let more = json!({
        "process": wall.process,
        "hard": wall.hard,
        "surest": surest(wall),
        "outcomes": wall.outcomes,
        "read_at": wall.read_at,
        "formula": wall.formula,
        "not_there": wall.not_there,
        "scope": scope_name(wall.scope),
        "what_it_is": wall.guide.what_it_is,
        "what_you_see": wall.guide.what_you_see,
        "how_to_prove": wall.guide.how_to_prove,
        "how_to_lift": wall.guide.how_to_lift,
        "what_not_to_do": wall.guide.what_not_to_do,
        "kernel_source": wall.guide.kernel_source,
        "plant": wall.plant.how,
        "remedy": example(wall, host),
    });
    if let (Value::Object(page), Value::Object(more)) = (&mut page, more) {
        page.extend(more);
    }
    page
}

/// The limits that stand here: what lifts a wall must not lower one of them.
fn this_host() -> HostSnapshot {
    let mut host = c10k_collector::host_snapshot();
    crate::host::describe::complete(&mut host);
    Beforehand::look().note(&mut host);
    (host.server_nofile, host.swarm_nofile) = (host.nofile_soft, host.nofile_soft);
    host
}

/// 100,000 connections of ordinary programs over loopback, from one source to one server.
fn example_plan(host: &HostSnapshot) -> PlanView {
    PlanView {
        target: 100_000,
        sources: 1,
        destinations: 1,
        both_ends_here: true,
        source_ports: host.port_range,
        probe: true,
        server_ports: vec![DEFAULT_PORT],
        ..PlanView::default()
    }
}

/// What would lift it for them on this host.
fn example(wall: &Wall, host: &HostSnapshot) -> Remedy {
    let mut remedy = (wall.lift)(host, &example_plan(host));
    let root = limits::euid() == 0;
    remedy.commands.iter_mut().for_each(|command| *command = line(root, command));
    remedy
}

fn page(wall: &Wall, host: &HostSnapshot) -> String {
    let mut text = title(wall.name, wall.title);
    let hard = match surest(wall) {
        _ if !wall.hard => "a verdict breaks first",
        Degree::Proven => "an errno or a counter names it",
        _ => "likely at the most from one run: a second one proves it",
    };
    let side = format!("{} ({}); {hard}", side_name(wall.side), wall.process);
    let outcomes = wall.outcomes.join(", ");
    let guide = &wall.guide;
    let plant = if wall.plant.plantable {
        let needs: Vec<&str> = wall.plant.needs.iter().map(|need| need.name()).collect();
        format!("{} (needs: {})", wall.plant.how, needs.join(", "))
    } else {
        format!("not here: {}", wall.plant.how)
    };
    for (label, said) in [
        ("side", side.as_str()),
        ("what it is", guide.what_it_is),
        ("what you see", guide.what_you_see),
        ("counted as", &outcomes),
        ("how to prove", guide.how_to_prove),
        ("must be absent", wall.not_there),
        ("limit read at", wall.read_at),
        ("it allows", wall.formula),
        ("how to lift", guide.how_to_lift),
        ("remedy reaches", scope_words(wall.scope)),
        ("do not", guide.what_not_to_do),
        ("plant", &plant),
        ("source", guide.kernel_source),
    ] {
        if !said.is_empty() {
            text.push_str(&paragraph(label, said));
        }
    }
    let plan = example_plan(host);
    let here = match (wall.predict)(host, &plan) {
        Some(forecast) if forecast.connections >= plan.target => {
            format!(
                "here it allows {} already ({}); for more",
                human_count(forecast.connections),
                forecast.now
            )
        }
        Some(forecast) => format!("here it allows {} ({})", human_count(forecast.connections), forecast.now),
        None => "here".to_owned(),
    };
    let _ = writeln!(text, "\n  for 100,000 connections from one source, {here}:");
    for command in example(wall, host).commands {
        let _ = writeln!(text, "    {command}");
    }
    text
}

/// The walls behind a text, the likeliest first, and what is no limit of connections.
fn symptom_page(name: &str, reading: &Reading) -> String {
    let errno = SYMPTOMS.iter().find(|symptom| symptom.outcome.eq_ignore_ascii_case(name));
    let words = errno.map_or_else(String::new, |symptom| format!(" ({})", symptom.words[0]));
    let mut text = format!("{name}{words} ");
    match reading.walls[..] {
        [] => text.push_str("is no limit of connections.\n"),
        [wall] => {
            let or =
                if reading.others.is_empty() { "" } else { ", and what stands below it, which is no limit" };
            let _ = writeln!(text, "is what {} looks like{or}.\n\n{}", wall.name, page(wall, &this_host()));
        }
        _ => {
            let count = reading.walls.len();
            let _ =
                writeln!(text, "may be one of {count} walls, the likeliest first. What tells them apart:");
            for wall in &reading.walls {
                let _ = write!(text, "\n{}", title(wall.name, wall.title));
                text.push_str(&paragraph("what you see", wall.guide.what_you_see));
                text.push_str(&paragraph("how to prove", wall.guide.how_to_prove));
                text.push_str(&paragraph("must be absent", wall.not_there));
            }
        }
    }
    for other in &reading.others {
        let _ = write!(text, "\n{}", title(other.name, other.title));
        text.push_str(&paragraph("look at", other.look));
    }
    text
}

fn myth_page(myth: &Myth) -> String {
    let mut text = format!("{}: \"{}\"\n", myth.name, myth.claim);
    text.push_str(&paragraph("truth", myth.truth));
    text.push_str(&paragraph("it shows", myth.shows));
    text.push_str(&paragraph("source", myth.source));
    // Not folded: it is there to be pasted.
    let _ = writeln!(text, "  try it:\n{}", myth.run);
    let commands = experiments_on(myth.name);
    if !commands.is_empty() {
        let _ = writeln!(text, "  measure it:\n{}", commands.join("\n"));
    }
    text
}

fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Process => "process",
        Scope::Namespace => "namespace",
        Scope::Host => "host",
    }
}

fn scope_words(scope: Scope) -> &'static str {
    match scope {
        Scope::Process => "this process and its children",
        Scope::Namespace => "this network namespace",
        Scope::Host => "the whole host",
    }
}

#[cfg(test)]
mod tests {
    use super::paragraph::{INDENT, WIDTH};
    use super::*;

    #[test]
    fn every_page_says_everything_and_fits_its_width() {
        for wall in walls() {
            let page = page(wall, &this_host());
            for label in ["what it is", "what you see", "how to prove", "how to lift", "do not", "source"] {
                assert!(page.contains(&format!("\n  {label} ")), "{page}");
            }
            let pasted = |line: &&str| {
                line.starts_with("    ") && !line.starts_with(&" ".repeat(INDENT))
                    || line.starts_with("  for 100,000")
            };
            let too_wide = page.lines().find(|line| !pasted(line) && line.chars().count() > WIDTH);
            assert_eq!(too_wide, None, "{page}");
            assert!(!example(wall, &this_host()).commands.is_empty(), "{}", wall.name);
        }
    }
}
