//! `c10k-collector`: watches a process that holds connections, and the kernel below it, from outside.

use std::io;
use std::process::ExitCode;

use c10k_collector::{CollectorArgs, run};
use clap::Parser;

/// Watches a process that holds connections, and the kernel below it, from outside.
#[derive(Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    args: CollectorArgs,
}

fn main() -> ExitCode {
    let command = Command::parse();
    run(&command.args, &mut io::stdout(), &mut io::stderr()).into()
}
