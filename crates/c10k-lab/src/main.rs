//! `c10k-lab`: one command from plan to record.

use std::process::ExitCode;

use c10k_lab::Cli;
use clap::Parser;

fn main() -> ExitCode {
    c10k_lab::main_with(Cli::parse()).into()
}
