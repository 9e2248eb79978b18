//! `c10k-swarm`: the swarm on its own.

use std::process::ExitCode;

use c10k_record::control::Build;
use c10k_swarm::SwarmArgs;
use clap::Parser;

/// Hold many TCP connections to a server, prove each one, and count what became of them.
#[derive(Parser)]
#[command(name = "c10k-swarm", version, about)]
struct Cli {
    #[command(flatten)]
    args: SwarmArgs,
}

fn main() -> ExitCode {
    Build::is_of("c10k-swarm");
    c10k_swarm::main_with(&Cli::parse().args).into()
}
