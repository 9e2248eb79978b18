//! The command line of the lab.

use std::ffi::OsString;
use std::path::Path;

use c10k_collector::CollectorArgs;
use c10k_kernel::process;
use c10k_plan::say::color::Color;
use c10k_plan::say::printer::{Printer, streams};
use c10k_plan::say::slip::helped;
use c10k_record::Exit;
use c10k_record::control::Build;
use c10k_server::ServerArgs;
use c10k_swarm::SwarmArgs;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::command::climb::ClimbArgs;
use crate::command::compare::CompareArgs;
use crate::command::doctor::DoctorArgs;
use crate::command::find::FindArgs;
use crate::command::help::shaped;
use crate::command::list::{CleanArgs, ListArgs};
use crate::command::merge::MergeArgs;
use crate::command::pages::{CompletionsArgs, LINKS, ManArgs};
use crate::command::profile::ProfileCommand;
use crate::command::report::ReportArgs;
use crate::command::run::RunCommand;
use crate::command::serve::ServeArgs;
use crate::command::sweep::SweepArgs;
use crate::command::tune::TuneArgs;
use crate::command::walls::WallsArgs;

/// What it is, in a line.
const ABOUT: &str = "How many connections can this box hold, what stops it, what does each cost?";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "c10k-lab", version, about = ABOUT)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Carry out one run in a network namespace of its own and write its record.
    Run(Box<RunCommand>),
    /// List, show, compare, apply and roll back profiles.
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Show a record again, or two side by side.
    Report(ReportArgs),
    /// Runs, or groups of runs, against a reference: how large each difference is, and whether it is real.
    ///
    /// First what differs beside the figures: plan, settings, host, program. A difference of single runs is never called
    /// real: `c10k-lab compare A1 A2 A3 A4 A5 A6 -- B1 B2 B3 B4 B5 B6` judges groups, from six runs in each on. Make
    /// them in turns (A B B A …): where all runs of A come first, a machine that drifts looks the same as a difference.
    Compare(CompareArgs),
    /// Before any load: the walls of this host in the order in which they are met, and how much machine it takes.
    ///
    /// It foresees runs with both ends on this machine and a server of the lab's own. Of a server on another machine it
    /// knows nothing: run it there too, for each end has its own walls. Of a server that runs here already, `c10k-lab run
    /// --server-port` and `c10k-swarm` say what its process bounds.
    Doctor(DoctorArgs),
    /// From one wall to the next: run, name the wall, lift just that one, run again, until the machine is what is left.
    Climb(ClimbArgs),
    /// The most at which the verdicts hold under a workload, by growing and bisecting on one running server: connections,
    /// or with --vary messages or exchanges a second on --target connections.
    ///
    /// Connections are added and closed from one size to the next, or the rate is another; at each try the workload goes on
    /// for --hold, and its verdicts are judged on that try alone. A rate holds only where what was due was done as well. The
    /// record is one of the least at which a verdict broke.
    Find(Box<FindArgs>),
    /// An experiment in a file: one setting changed at a time, enough runs in turn, and what that proves.
    ///
    /// Each run is one of `c10k-lab run`. A sweep that was interrupted is gone on with when it is started again.
    Sweep(SweepArgs),
    /// Be the server's box of runs whose clients stand on other machines: a server, its profile, and a control port.
    ///
    /// It serves run after run until Ctrl-C, one at a time; then the server ends in good order and all settings are put
    /// back. `c10k-lab run --topology remote --control ADDRESS:PORT` on the other machine begins one. What is asked for and
    /// answered at the control port is in docs/control.md; it has no TLS, and leaves that to a tunnel.
    Serve(Box<ServeArgs>),
    /// From a goal and this host to a profile in which each line has its proof: sweeps of what the walls and the workload
    /// name, of which only what helped is kept.
    ///
    /// It begins as an ordinary program would: one descriptor table at each end, one source address, the limits of the shell,
    /// and the profile stock. A tuning that was interrupted is gone on with when it is started again.
    Tune(Box<TuneArgs>),
    /// The field guide to everything that stops a box from holding one more connection.
    Walls(WallsArgs),
    /// The runs, climbs, sweeps and tunings in a folder, newest first, a line each: where it is and what came of it.
    List(ListArgs),
    /// Delete the runs, climbs, sweeps and tunings in a folder, but for the newest.
    ///
    /// Only what one of them has made is deleted: a folder with any other file in it stays, and so does one that is
    /// being written.
    Clean(CleanArgs),
    /// What several swarms did as shards of one run, as one record with one verdict.
    ///
    /// Counts are added, and latencies by their histograms. The results have to be of one run, one plan and one build; the
    /// sum is held against the server's own count where that is there. DIR/merged is a run's folder then.
    Merge(Box<MergeArgs>),
    /// Print the JSON Schema of record.json.
    Schema,
    /// Print completions for a shell: `c10k-lab completions bash > ~/.local/share/bash-completion/completions/c10k-lab`.
    Completions(CompletionsArgs),
    /// Write man pages of all commands into a folder.
    Man(ManArgs),
    /// Be a server, as c10k-server.
    Server(Box<ServerArgs>),
    /// Be a swarm, as c10k-swarm.
    Swarm(Box<SwarmArgs>),
    /// Watch a process that holds connections, and the kernel below it, from outside, as c10k-collector.
    Collector(CollectorArgs),
}

impl Command {
    /// Whether it is to hear that a process which was killed has left settings in force: all but those that tell it
    /// themselves or put it back, and a run that another command of the lab carries out.
    fn is_told_of_what_is_left_over(&self) -> bool {
        match self {
            Self::Server(_) | Self::Swarm(_) | Self::Collector(_) | Self::Serve(_) => false,
            Self::Profile(command) => match command {
                ProfileCommand::List { .. } | ProfileCommand::Show { .. } | ProfileCommand::Diff { .. } => {
                    true
                }
                ProfileCommand::Apply { .. }
                | ProfileCommand::Rollback { .. }
                | ProfileCommand::Status { .. } => false,
            },
            Self::Find(_) => !crate::isolate::steward::is_stewarded(),
            Self::Run(args) => args.run.stage.is_none() && !crate::isolate::steward::is_stewarded(),
            Self::Report(_)
            | Self::Compare(_)
            | Self::List(_)
            | Self::Clean(_)
            | Self::Doctor(_)
            | Self::Climb(_)
            | Self::Merge(_)
            | Self::Schema
            | Self::Sweep(_)
            | Self::Tune(_)
            | Self::Walls(_) => true,
            // A shell runs these each time it starts.
            Self::Completions(_) | Self::Man(_) => false,
        }
    }
}

/// Carries out one command line, program name first, and says with which exit code the process should end. Called by
/// the name of a link, such as `c10k-server`, it is that program.
#[must_use]
pub fn main_of(args: impl IntoIterator<Item = OsString>) -> Exit {
    Build::is_of("c10k-lab");
    let args: Vec<OsString> = args.into_iter().collect();
    let link = args
        .first()
        .and_then(|path| Path::new(path).file_name())
        .and_then(|name| LINKS.iter().find(|(link, _)| name == *link));
    let mut command = shaped(Cli::command());
    if let Some((link, name)) = link
        && let Some(program) = command.find_subcommand(name)
    {
        // Usage and errors have the name that was typed.
        let mut program = program
            .clone()
            .name(*link)
            .display_name(*link)
            .bin_name(*link)
            .version(env!("CARGO_PKG_VERSION"));
        let parsed = program.try_get_matches_from_mut(&args);
        let matches = parsed.unwrap_or_else(|error| helped(error, &program, &args).exit());
        return match *name {
            "server" => of_matches(&matches).map_or_else(|error| error.exit(), c10k_server::main_with),
            "swarm" => {
                of_matches(&matches).map_or_else(|error| error.exit(), |args| c10k_swarm::main_with(&args))
            }
            _ => of_matches(&matches).map_or_else(|error| error.exit(), |args| collect(&args)),
        };
    }
    let parsed = command.clone().try_get_matches_from(&args);
    let matches = parsed.unwrap_or_else(|error| helped(error, &command, &args).exit());
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => main_with(cli),
        Err(error) => error.format(&mut command).exit(),
    }
}

fn collect(args: &CollectorArgs) -> Exit {
    let (mut out, mut people) = streams();
    c10k_collector::run(args, &mut out, &mut people)
}

/// The flags of a program.
fn of_matches<A: clap::Args>(matches: &clap::ArgMatches) -> Result<A, clap::Error> {
    A::from_arg_matches(matches)
}

/// Carries out one command.
fn main_with(cli: Cli) -> Exit {
    if cli.command.is_told_of_what_is_left_over() {
        // Before anything else: in a namespace of its own a command no longer sees it.
        crate::command::settings::tell_left_over(&mut Printer::new(Color::Auto));
    }
    let with = |color: Color, run: &dyn Fn(&mut Printer) -> Exit| {
        let mut printer = Printer::new(color);
        let exit = run(&mut printer);
        printer.exit_of(exit)
    };
    match cli.command {
        Command::Run(args) => with(args.run.color, &|printer| crate::command::run::run(&args, printer)),
        Command::Find(args) => with(args.color(), &|printer| crate::command::find::run(&args, printer)),
        Command::Profile(command) => {
            with(Color::Auto, &|printer| crate::command::profile::run(&command, printer))
        }
        Command::Report(args) => with(args.color, &|printer| crate::command::report::report(&args, printer)),
        Command::Compare(args) => {
            with(args.color, &|printer| crate::command::compare::compare(&args, printer))
        }
        Command::Doctor(args) => with(args.color, &|printer| crate::command::doctor::run(&args, printer)),
        Command::Climb(args) => with(args.color, &|printer| crate::command::climb::run(&args, printer)),
        Command::Merge(args) => with(args.color, &|printer| crate::command::merge::run(&args, printer)),
        Command::Sweep(args) => with(args.color, &|printer| crate::command::sweep::run(&args, printer)),
        Command::Serve(args) => with(Color::Auto, &|printer| crate::command::serve::run(&args, printer)),
        Command::Tune(args) => with(args.color, &|printer| crate::command::tune::run(&args, printer)),
        Command::Walls(args) => with(Color::Auto, &|printer| crate::command::walls::run(&args, printer)),
        Command::List(args) => with(Color::Auto, &|printer| crate::command::list::list(&args, printer)),
        Command::Clean(args) => with(Color::Auto, &|printer| crate::command::list::clean(&args, printer)),
        Command::Completions(args) => with(Color::Never, &|printer| {
            crate::command::pages::completions(&args, shaped(Cli::command()), printer)
        }),
        Command::Man(args) => {
            with(Color::Never, &|printer| crate::command::pages::man(&args, &shaped(Cli::command()), printer))
        }
        Command::Schema => with(Color::Never, &|printer| {
            printer.data(c10k_report::RECORD_SCHEMA);
            Exit::Done
        }),
        Command::Server(args) => {
            is_called("c10k-server");
            c10k_server::main_with(*args)
        }
        Command::Swarm(args) => {
            is_called("c10k-swarm");
            c10k_swarm::main_with(&args)
        }
        Command::Collector(args) => collect(&args),
    }
}

/// Gives this process the name by which ps(1) and records show it, where the lab has started it through /proc: it would be
/// named `exe`, or by a number.
fn is_called(program: &str) {
    let name = process::name_of(std::process::id());
    if !name.is_ok_and(|name| name.starts_with("c10k-")) {
        // A process that keeps its name does the same.
        let _ = process::set_name(program);
    }
}
