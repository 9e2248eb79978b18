//! The command line of the lab.

use c10k_record::Exit;
use c10k_server::ServerArgs;
use c10k_swarm::SwarmArgs;
use clap::{Parser, Subcommand};

use crate::command::climb::ClimbArgs;
use crate::command::doctor::DoctorArgs;
use crate::command::profile::ProfileCommand;
use crate::command::report::ReportArgs;
use crate::command::walls::WallsArgs;
use crate::plan::args::RunArgs;
use crate::say::color::Color;
use crate::say::printer::Printer;

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
