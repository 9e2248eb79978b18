//! The command line as it is shown: what `-h` has, in which groups, and examples.
//!
//! `-h` shows what most need, in a screen; `--help` has every flag with its default. A flag that no row names stands
//! under the heading it brings, or under Workload, and in `--help` alone.

use clap::{Arg, ArgAction, Command};

/// A flag: its id, its heading, and what `-h` says of it; nothing where it has it not.
type Row = (&'static str, &'static str, &'static str);

const LOAD: &str = "Load";
const HOLD: &str = "Hold";
const WORKLOAD: &str = "Workload";
const SERVER: &str = "Server";
const WEBSOCKET: &str = "WebSocket";
const OUTPUT: &str = "Output";

/// The order of the headings.
const HEADINGS: [&str; 6] = [LOAD, HOLD, WORKLOAD, SERVER, WEBSOCKET, OUTPUT];

/// Where Workload stands among them.
const WORKLOAD_PLACE: usize = 2;

/// The flags of `run`.
static RUN: &[Row] = &[
    ("plan", LOAD, "A plan to repeat, a run's folder, or a target: 100k"),
    ("target", LOAD, "Connections to hold: 5000, 100k, 1M [100k]"),
    ("rate", LOAD, "Connects a second [as fast as they succeed]"),
    ("steps", LOAD, "Grow in steps, such as 5000x4"),
    ("ips", LOAD, "Source addresses [of 127.0.0.0/8, as needed]"),
    ("profile", LOAD, "stock, tuned, diary, c1m or a file [tuned]"),
    ("topology", LOAD, "loopback, veth (two namespaces), remote [loopback]"),
    ("step_pause", LOAD, ""),
    ("ports", LOAD, ""),
    ("in_flight", LOAD, ""),
    ("workers", LOAD, ""),
    ("connect_timeout", LOAD, ""),
    ("close", LOAD, ""),
    ("force", LOAD, ""),
    ("hold", HOLD, "How long to hold them: 30s, 5m, 0s [10s]"),
    ("verdicts", HOLD, "Fail unless: 'echo_p99 <= 20ms'; repeatable"),
    ("baseline", HOLD, ""),
    ("max_regression", HOLD, ""),
    ("no_probe", HOLD, "For servers that do not echo"),
    ("probe_bytes", HOLD, ""),
    ("probe_timeout", HOLD, ""),
    ("workload", WORKLOAD, "While held: echo, churn, stream, fanout [hold]"),
    ("messages", WORKLOAD, "Of echo: messages a second and connection [1/s]"),
    ("protocol", SERVER, "raw, or ws (WebSocket) [raw]"),
    ("server_port", SERVER, "Test the server that listens on this port"),
    ("control", SERVER, "The control port of another host, which serves"),
    ("max_connections", SERVER, "The most that the server takes"),
    ("mode", SERVER, ""),
    ("server_workers", SERVER, ""),
    ("server_pid", SERVER, ""),
    ("ssh", SERVER, ""),
    ("push", SERVER, ""),
    ("ssh_args", SERVER, ""),
    ("token_file", SERVER, ""),
    ("control_timeout", SERVER, ""),
    ("any_build", SERVER, ""),
    ("server", SERVER, ""),
    ("path", WEBSOCKET, "Path and query to ask for [/]"),
    ("headers", WEBSOCKET, "A header, 'Name: value'; repeatable"),
    ("subprotocols", WEBSOCKET, ""),
    ("handshake_timeout", WEBSOCKET, ""),
    ("ping_every", WEBSOCKET, ""),
    ("results", OUTPUT, "Where the folders of runs are made"),
    ("quiet", OUTPUT, "The headline and the record's path alone"),
    ("full", OUTPUT, "All that was seen, not only what matters most"),
    ("tui", OUTPUT, "A full screen while it runs"),
    ("json", OUTPUT, "The record as one JSON document on stdout"),
    ("metrics", OUTPUT, ""),
    ("summary", OUTPUT, ""),
    ("junit", OUTPUT, ""),
    ("print_plan", OUTPUT, ""),
    ("color", OUTPUT, ""),
];

/// The flags of `find` beside those of `run`.
static FIND: &[Row] = &[
    ("vary", LOAD, "connections, message-rate or churn [connections]"),
    ("up_to", LOAD, "The most a second that is tried of a rate"),
    ("repeat", LOAD, "Searches, of which the ends give a range [1]"),
];

/// What the list of commands says of each.
static COMMANDS: &[(&str, &str)] = &[
    ("run", "Make and hold connections, and write a record of it"),
    ("climb", "From wall to wall: run, name the wall, lift it, run again"),
    ("find", "The most at which the verdicts hold: connections, or a rate"),
    ("sweep", "An experiment: one setting changed, enough runs, an answer"),
    ("tune", "From a goal to a profile in which each line has its proof"),
    ("doctor", "Before any load: which walls this host has, and where"),
    ("walls", "Explain a wall, an error or a number such as 28232"),
    ("serve", "Be the server's box of runs of other machines"),
    ("report", "Show a record again, or several side by side"),
    ("compare", "Runs, or groups of runs: what differs, and is it real?"),
    ("merge", "What several swarms did as shards of one run, as one record"),
    ("list", "The runs in results, newest first"),
    ("clean", "Delete old runs"),
    ("profile", "List, show, compare, apply and roll back profiles"),
    ("schema", "Print the JSON Schema of record.json"),
    ("completions", "Print completions for a shell"),
    ("man", "Write man pages"),
    ("server", "Be a server, as c10k-server"),
    ("swarm", "Be a swarm of clients, as c10k-swarm"),
    ("collector", "Watch a process from outside, as c10k-collector"),
];

/// Commands that the list has in one line: each program by itself, and what is made once.
const IN_ONE_LINE: [&str; 6] = ["server", "swarm", "collector", "schema", "completions", "man"];

/// The command that clap brings.
const HELP: (&str, &str) = ("help", "Print this, or the help of a command");

/// Examples by the command; the first ones are those of the whole.
static EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        "c10k-lab",
        &[
            ("c10k-lab doctor 100k", "what stands in the way"),
            ("c10k-lab run 100k", "hold 100,000 connections"),
            ("c10k-lab climb 100k", "wall by wall from an untuned start"),
            ("c10k-lab walls 28232", "where does a number come from?"),
            ("c10k-lab report latest", "the last run again"),
        ],
    ),
    (
        "run",
        &[
            ("c10k-lab run", "100,000, held for 10 s"),
            ("c10k-lab run 20k --hold 1m", "20,000 for a minute"),
            ("c10k-lab run --protocol ws --rate 5000/s", "WebSocket, paced"),
            ("c10k-lab run 5k --server-port 8080 --no-probe", "a server that runs already"),
            ("c10k-lab run --verdict 'echo_p99 <= 20ms'", "exit code 1 when it is slower"),
        ],
    ),
    (
        "climb",
        &[
            ("c10k-lab climb 100k", "until 100,000 are held"),
            ("c10k-lab climb", "until memory is what is left"),
        ],
    ),
    (
        "find",
        &[
            ("c10k-lab find --workload echo --messages 1/s --target 20k", "how many may talk once a second"),
            ("c10k-lab find --workload stream --bitrate 500kbit/s --repeat 3", "three times, for a range"),
            ("c10k-lab find --workload echo --vary message-rate --target 1k", "how many messages a second"),
        ],
    ),
    (
        "sweep",
        &[
            ("c10k-lab sweep profiles/sweeps/port-range.toml", "one that ships"),
            ("c10k-lab sweep my.toml --check", "how long it would take"),
        ],
    ),
    (
        "tune",
        &[
            ("c10k-lab tune 20k --check", "how long it would take"),
            ("c10k-lab tune 20k --out my.toml", "a profile that holds 20,000"),
            ("c10k-lab tune 20k --export systemd nofile.conf", "with a drop-in beside it"),
        ],
    ),
    (
        "doctor",
        &[
            ("c10k-lab doctor 1M", "one million, as run would hold them"),
            ("c10k-lab doctor --plain --profile stock", "an ordinary program on this host as it is"),
        ],
    ),
    (
        "walls",
        &[
            ("c10k-lab walls ports-exhausted", "one wall"),
            ("c10k-lab walls connection refused", "what a program said"),
            ("c10k-lab walls stuck at 28,225", "a number at which it stops"),
        ],
    ),
    (
        "serve",
        &[
            ("c10k-lab serve --profile tuned", "control port on 127.0.0.1:9900, for a tunnel"),
            ("c10k-lab serve --listen :9000 --control 0.0.0.0:9900 --token-file F", "for other machines"),
        ],
    ),
    (
        "compare",
        &[
            ("c10k-lab compare RUN_A RUN_B", "side by side; a single run proves nothing"),
            ("c10k-lab compare --metrics held,echo_p95 A… -- B…", "two groups, from six runs on"),
        ],
    ),
    (
        "merge",
        &[
            ("c10k-lab merge results/evening", "the shards of one run"),
            ("c10k-lab merge DIR --verdict 'echo_p99 <= 20ms'", "judged by a verdict of its own"),
        ],
    ),
    (
        "report",
        &[
            ("c10k-lab report latest", "the newest run in results"),
            ("c10k-lab report latest --html run.html", "as a page with plots"),
            ("c10k-lab report A B C --html runs.html", "several, one over the other"),
        ],
    ),
];

/// The command line with its groups, its short texts and its examples.
pub(crate) fn shaped(mut command: Command) -> Command {
    for (order, (name, about)) in COMMANDS.iter().enumerate() {
        command = command.mut_subcommand(name, |sub| {
            let long = sub.get_long_about().or(sub.get_about()).cloned().unwrap_or_default();
            sub.about(*about).long_about(long).display_order(order)
        });
    }
    command = command.mut_subcommand("run", |run| grouped("run", &run, RUN).display_order(0));
    let of_find: Vec<Row> = RUN[..2].iter().chain(FIND).chain(&RUN[2..]).copied().collect();
    command = command.mut_subcommand("find", |find| grouped("find", &find, &of_find).display_order(1));
    // It is the server's, and refused there.
    command = command.mut_subcommand("serve", |serve| serve.mut_arg("json", |json| json.hide(true)));
    // A list of all commands is one screen of 24 lines: what all programs have is said in one of them.
    command = command.help_template(format!(
        "{{before-help}}{{about}}\n{{usage-heading}} {{usage}}\n\nCommands:\n{}\n\n\
         Options: -h, --help (with examples), -V, --version{{after-help}}",
        list_of_commands()
    ));
    for (name, examples) in EXAMPLES {
        command = match command.get_name() == *name {
            true => with_examples(command, examples),
            false => command.mut_subcommand(name, |sub| with_examples(sub, examples)),
        };
    }
    command
}

/// All commands: a line for each that people type often, and one for the others.
fn list_of_commands() -> String {
    let often = COMMANDS.iter().filter(|(name, _)| !IN_ONE_LINE.contains(name));
    let lines: Vec<String> =
        often.chain([&HELP]).map(|(name, about)| format!("  {name:<9}{about}")).collect();
    format!("{}\n  and {} (NAME --help)", lines.join("\n"), IN_ONE_LINE.join(", "))
}

/// The examples stand above everything else of `--help`.
fn with_examples(command: Command, examples: &[(&str, &str)]) -> Command {
    let width = examples.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
    let lines: Vec<String> =
        examples.iter().map(|(line, what)| format!("  {line:<width$}  {what}")).collect();
    command.before_long_help(format!("Examples:\n{}", lines.join("\n")))
}

/// A command whose flags stand under headings, in their order.
fn grouped(name: &'static str, command: &Command, rows: &[Row]) -> Command {
    let row_of = |arg: &Arg| rows.iter().position(|(id, _, _)| arg.get_id() == *id);
    let mut args: Vec<(usize, usize, Arg)> = command
        .get_arguments()
        .map(|arg| {
            let row = row_of(arg);
            let wanted = row.map_or(arg.get_help_heading().unwrap_or(WORKLOAD), |row| rows[row].1);
            let place = HEADINGS.iter().position(|known| *known == wanted).unwrap_or(WORKLOAD_PLACE);
            let heading = HEADINGS[place];
            let short = row.map_or("", |row| rows[row].2);
            let long = arg.get_long_help().or(arg.get_help()).cloned().unwrap_or_default();
            let arg = arg.clone().help_heading(heading).hide_short_help(short.is_empty());
            let arg = if short.is_empty() { arg } else { arg.help(short).long_help(long) };
            (place, row.unwrap_or(rows.len()), arg)
        })
        .collect();
    args.sort_by_key(|(place, row, _)| (*place, *row));
    let args = args.into_iter().enumerate().map(|(order, (_, _, arg))| arg.display_order(order));
    let about = command.get_about().cloned().unwrap_or_default();
    let long = command.get_long_about().cloned().unwrap_or_default();
    let mut fresh = Command::new(name).about(about).long_about(long).args(args);
    for group in command.get_groups() {
        fresh = fresh.group(group.clone());
    }
    let help = Arg::new("help").short('h').long("help").action(ArgAction::Help).help_heading(OUTPUT);
    let help = help.help("This screen; --help has every flag and examples").display_order(rows.len() * 2);
    fresh.disable_help_flag(true).arg(help)
}
