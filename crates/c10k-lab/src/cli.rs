//! The command line of the lab.

use std::path::PathBuf;

use c10k_record::{Exit, Protocol, Quantity, ServerMode, Topology};
use c10k_server::ServerArgs;
use c10k_swarm::{LoadArgs, SwarmArgs};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::command::climb::ClimbArgs;
use crate::command::doctor::DoctorArgs;
use crate::say::printer::Printer;
use crate::stage::Stage;
use crate::command::walls::WallsArgs;

/// How many connections can this box hold, what stops it, and what does each one cost?
#[derive(Debug, Parser)]
#[command(name = "c10k-lab", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Carry out one run in a network namespace of its own and write its record.
    Run(Box<RunArgs>),
    /// List, show, compare, apply and roll back profiles.
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Show a record again, or two side by side.
    Report(ReportArgs),
    /// Before any load: the walls of this host in the order in which they bite, and how much machine it takes.
    ///
    /// It foresees runs with both ends on this machine and a server of the lab's own. Of a server on another machine it
    /// knows nothing: run it there too, for each end has its own walls. Of a server that runs here already, `c10k-lab run
    /// --server-port` and `c10k-swarm` say what its process bounds.
    Doctor(DoctorArgs),
    /// From one wall to the next: run, name the wall, lift just that one, run again, until the machine is what is left.
    Climb(ClimbArgs),
    /// The field guide to everything that stops a box from holding one more connection.
    Walls(WallsArgs),
    /// Print the JSON Schema of record.json.
    Schema,
    /// Be a server, as c10k-server.
    Server(Box<ServerArgs>),
    /// Be a swarm, as c10k-swarm.
    Swarm(Box<SwarmArgs>),
}

impl Command {
    /// Whether it is to hear that a process which was killed has left settings in force: all but those that tell it
    /// themselves or put it back, and a run that another command of the lab carries out.
    fn is_told_of_what_is_left_over(&self) -> bool {
        match self {
            Self::Server(_) | Self::Swarm(_) => false,
            Self::Profile(command) => match command {
                ProfileCommand::List { .. } | ProfileCommand::Show { .. } | ProfileCommand::Diff { .. } => {
                    true
                }
                ProfileCommand::Apply { .. }
                | ProfileCommand::Rollback { .. }
                | ProfileCommand::Status { .. } => false,
            },
            Self::Run(args) => args.stage.is_none() && !crate::isolate::steward::is_stewarded(),
            Self::Report(_) | Self::Doctor(_) | Self::Climb(_) | Self::Walls(_) | Self::Schema => true,
        }
    }
}

/// `c10k-lab run`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RunArgs {
    /// A plan to repeat: the plan.toml of an earlier run. Flags change what they name.
    pub(crate) plan: Option<PathBuf>,
    /// A shipped profile (stock, tuned, diary, c1m) or the path of one [default: tuned; none on a server that runs
    /// already].
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
    /// Where the two ends stand [default: loopback].
    #[arg(long, value_name = "TOPOLOGY")]
    pub(crate) topology: Option<Topology>,
    /// What is spoken over TCP: raw, or ws (WebSocket) [default: raw].
    #[arg(long, value_name = "raw|ws")]
    pub(crate) protocol: Option<Protocol>,
    /// What the server does with bytes: echo, or hold (read and discard, with --no-probe) [default: echo].
    #[arg(long, value_name = "echo|hold")]
    pub(crate) mode: Option<ServerMode>,
    /// Workers of the server that accept at a time [default: one a core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) server_workers: Option<u32>,
    /// The most connections the server takes [default: as many as the host allows].
    #[arg(long, value_name = "N")]
    pub(crate) max_connections: Option<Quantity>,
    /// Watch the server with this process id instead of starting one: the run takes place where the lab is started,
    /// and nothing is set.
    #[arg(long, value_name = "PID", conflicts_with_all = ["topology", "mode", "server_workers", "max_connections"])]
    pub(crate) server_pid: Option<u32>,
    /// The same for the server that listens on this port.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..),
        conflicts_with_all = ["topology", "mode", "server_workers", "max_connections"])]
    pub(crate) server_port: Option<u16>,
    /// A verdict of the run, such as 'echo_p99 <= 20ms' or 'held >= 90%'; may be given several times. It is added to
    /// the defaults (held = target, failed <= 1%, echo_p95 <= 100ms, ghosts = 0) and replaces the one on the same
    /// metric.
    #[arg(long = "verdict", value_name = "EXPR")]
    pub(crate) verdicts: Vec<String>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// WebSocket: path and query to ask for [default: /].
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// WebSocket: a header of the request, 'Name: value'; may be given several times.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// WebSocket: offer this Sec-WebSocket-Protocol; may be given several times.
    #[arg(long = "subprotocol", value_name = "NAME")]
    pub(crate) subprotocols: Vec<String>,
    /// Where the folders of runs are made.
    #[arg(long, value_name = "FOLDER", default_value = "results")]
    pub(crate) results: PathBuf,
    /// Print the record as one JSON document on stdout at the end.
    #[arg(long)]
    pub(crate) json: bool,
    /// What stands in the way of the run, for `walls plant` and `climb`.
    #[arg(long, value_name = "JSON", hide = true, conflicts_with_all = ["server_pid", "server_port", "topology"])]
    pub(crate) stage: Option<Stage>,
    /// Colours on stderr.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

/// `c10k-lab profile`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// The shipped profiles, a line each.
    List {
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
    },
    /// One profile with all it extends, as TOML.
    Show {
        /// A shipped profile or the path of one.
        profile: String,
    },
    /// A profile beside this host: what stands, what it wants, how far it reaches, whether it can be set here.
    Diff {
        /// A shipped profile or the path of one.
        profile: String,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Set the sysctls of a profile where this command runs, until `profile rollback`: all of them or none, but for
    /// settings of the whole host, which are listed. What stood before is written to a journal first. Limits and
    /// socket options are set by server and swarm.
    Apply {
        /// A shipped profile or the path of one.
        profile: String,
        /// Raise the settings of the whole host too; they are never lowered.
        #[arg(long)]
        host_wide: bool,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Put back what `profile apply` has set, and what processes that died have left.
    Rollback {
        /// Put back also what somebody else has changed since.
        #[arg(long)]
        force: bool,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Which settings stand, who asked for them, and what stood before.
    Status {
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
    },
}

/// `c10k-lab report`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReportArgs {
    /// A run's folder, or a record.json.
    pub(crate) record: PathBuf,
    /// A second one, to compare.
    pub(crate) other: Option<PathBuf>,
    /// Print the record as JSON.
    #[arg(long, conflicts_with = "other")]
    pub(crate) json: bool,
    /// Write the page with plots to this file.
    #[arg(long, value_name = "FILE", conflicts_with = "other")]
    pub(crate) html: Option<PathBuf>,
    /// Colours.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

/// When to use colours. NO_COLOR (no-color.org) counts as `never` where `auto` is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Carries out one command line and says with which exit code the process should end.
#[must_use]
pub fn main_with(cli: Cli) -> Exit {
    if cli.command.is_told_of_what_is_left_over() {
        // Before anything else: in a namespace of its own a command no longer sees it.
        crate::command::settings::tell_left_over(&mut Printer::new(Color::Auto));
    }
    let with = |color: Color, run: &dyn Fn(&mut Printer) -> Exit| {
        let mut printer = Printer::new(color);
        let exit = run(&mut printer);
        printer.settle(exit)
    };
    match cli.command {
        Command::Run(args) => with(args.color, &|printer| crate::command::run::run(&args, printer)),
        Command::Profile(command) => {
            with(Color::Auto, &|printer| crate::command::profile::run(&command, printer))
        }
        Command::Report(args) => with(args.color, &|printer| crate::command::report::report(&args, printer)),
        Command::Doctor(args) => with(args.color, &|printer| crate::command::doctor::run(&args, printer)),
        Command::Climb(args) => with(args.color, &|printer| crate::command::climb::run(&args, printer)),
        Command::Walls(args) => with(Color::Auto, &|printer| crate::command::walls::run(&args, printer)),
        Command::Schema => with(Color::Never, &|printer| {
            printer.data(c10k_report::RECORD_SCHEMA);
            Exit::Done
        }),
        Command::Server(args) => c10k_server::main_with(*args),
        Command::Swarm(args) => c10k_swarm::main_with(&args),
    }
}
