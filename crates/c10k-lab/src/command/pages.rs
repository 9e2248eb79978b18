//! `c10k-lab completions` and `man`: what shells and man(1) want, from the command line itself.

use std::io;
use std::path::{Path, PathBuf};

use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_record::Exit;
use clap::{Args, Command};
use clap_complete::Shell;

/// Commands that are programs of their own by the name of a link.
pub(crate) const LINKS: [(&str, &str); 3] =
    [("c10k-server", "server"), ("c10k-swarm", "swarm"), ("c10k-collector", "collector")];

/// `c10k-lab completions`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// `c10k-lab man`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ManArgs {
    /// The folder to write them into; it is made where it is not there.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Prints completions.
pub(crate) fn completions(args: &CompletionsArgs, mut command: Command, printer: &mut Printer) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "c10k-lab", &mut text);
    printer.data(&String::from_utf8_lossy(&text));
    Exit::Done
}

/// Writes a page for each command, and for each program that is one by its link.
pub(crate) fn man(args: &ManArgs, command: &Command, printer: &mut Printer) -> Exit {
    match write_pages(&args.folder, command) {
        Ok(()) => {
            printer.say(&format!("man pages are in {0}: man -l {0}/c10k-lab.1", args.folder.display()));
            Exit::Done
        }
        Err(error) => {
            let otherwise = "name a folder that this user may write";
            Refusal::not_written(&args.folder, &error, otherwise).tell(printer)
        }
    }
}

/// What `-h` leaves out has no text in a page that is not told otherwise.
fn in_full(command: Command) -> Command {
    command.mut_args(|arg| arg.hide_short_help(false)).mut_subcommands(in_full)
}

fn write_pages(folder: &Path, command: &Command) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let command = &in_full(command.clone());
    clap_mangen::generate_to(command.clone(), folder)?;
    for (link, name) in LINKS {
        if let Some(sub) = command.find_subcommand(name) {
            let mut page = Vec::new();
            clap_mangen::Man::new(sub.clone().name(link).version(env!("CARGO_PKG_VERSION")))
                .render(&mut page)?;
            std::fs::write(folder.join(format!("{link}.1")), page)?;
        }
    }
    Ok(())
}
