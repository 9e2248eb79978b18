//! `c10k-lab`: one command from plan to record.

use std::process::ExitCode;

fn main() -> ExitCode {
    c10k_lab::main_of(std::env::args_os()).into()
}
