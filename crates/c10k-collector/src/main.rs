//! `c10k-collector`: watches a process that holds connections, and the kernel below it, from outside.

use std::io;
use std::process::ExitCode;

use c10k_collector::{CollectorArgs, run};
use c10k_record::control::Build;
use clap::Parser;

/// Watches a process that holds connections, and the kernel below it, from outside.
#[derive(Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    args: CollectorArgs,
}

fn main() -> ExitCode {
    Build::is_of("c10k-collector");
    let command = Command::parse();
    run(&command.args, &mut io::stdout(), &mut io::stderr()).into()
}
