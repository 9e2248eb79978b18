//! The server as a program of its own: parse, serve, exit.

use std::process::ExitCode;

use c10k_record::control::Build;
use clap::Parser;

/// An epoll server that accepts, holds and echoes: how many connections can this box hold?
#[derive(Parser)]
#[command(name = "c10k-server", version)]
struct Cli {
    #[command(flatten)]
    args: c10k_server::ServerArgs,
}

fn main() -> ExitCode {
    Build::is_of("c10k-server");
    c10k_server::main_with(Cli::parse().args).into()
}
