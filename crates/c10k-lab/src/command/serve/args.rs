//! The flags of `serve`: its own, and those of the server that it starts.

use std::ffi::OsString;
use std::path::PathBuf;

use c10k_plan::say::refusal::Refusal;
use c10k_record::control::{LEASE, lease};
use c10k_record::{HttpAddress, Span};
use c10k_server::{ServerArgs, StatsForm};
use clap::Args;

/// Where the control port is that is not told where: of this machine alone.
const CONTROL: &str = "127.0.0.1:9900";

/// `c10k-lab serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) own: OwnArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// What is no flag of the server.
#[derive(Clone, Debug, Args)]
pub(crate) struct OwnArgs {
    /// Where runs of another machine begin and end
    #[arg(
        help_heading = "Control", long, value_name = "ADDRESS:PORT", default_value = CONTROL,
        long_help = "Where runs of another machine begin and end: ADDRESS:PORT; a port alone is of 127.0.0.1, port 0 lets the \
            kernel choose. HTTP without TLS: where others can read the network, listen on 127.0.0.1 and let a tunnel \
            (ssh -L, WireGuard) lead there"
    )]
    pub(crate) control: HttpAddress,

    /// The token that clients have to know is in it
    #[arg(
        help_heading = "Control",
        long,
        value_name = "FILE",
        long_help = "A file whose first line is the token that every client has to know, 16 to 256 printable bytes [default: \
            the environment's C10K_TOKEN]. A control port that other machines can reach needs one"
    )]
    pub(crate) token_file: Option<PathBuf>,

    /// End a run when nothing was heard of its client for so long, 1s to 1h
    #[arg(hide_short_help = true, help_heading = "Control", long, value_name = "TIME", default_value_t = LEASE, value_parser = lease)]
    pub(crate) lease: Span,

    /// Where results of shards go [results]
    #[arg(
        help_heading = "Control",
        long,
        value_name = "DIR",
        long_help = "The folder in which a folder is made for each run of shards that meet here, with their results and the \
            server's account, for `c10k-lab merge` [default: results]"
    )]
    pub(crate) results: Option<PathBuf>,

    /// Print which build this is, as one JSON document, and end
    #[arg(hide_short_help = true, help_heading = "Control", long)]
    pub(crate) print_build: bool,
}

impl ServeArgs {
    /// What no single flag shows.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let refused = |flag: &str, why: &str, hint: &str| {
            Err(Refusal::text(format!("{flag} has no place here: {why}"), hint))
        };
        match (self.server.json, self.server.stats) {
            (true, _) => refused(
                "--json",
                "the accounts of runs are told at the control port",
                "leave it out; GET /snapshot at the control port shows what is seen now (docs/control.md)",
            ),
            (_, Some(StatsForm::Json)) => {
                refused("--stats json", "stdout is for --events", "--stats text tells people on stderr")
            }
            _ => Ok(()),
        }
    }
}

/// The words of the server's own command line, of those with which `serve` was started: all but its own flags, and those
/// that the one who starts a server adds.
pub(super) fn server_words(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let own = OwnArgs::augment_args(clap::Command::new("serve"));
    let own: Vec<(String, bool)> = own
        .get_arguments()
        .filter_map(|arg| Some((format!("--{}", arg.get_long()?), arg.get_action().takes_values())))
        .chain(["--events", "--no-apply"].map(|flag| (flag.to_owned(), false)))
        .collect();
    // Whether its value is the word behind it; nothing for a word that is none of these flags.
    let of_ours = |word: &OsString| {
        let text = word.to_string_lossy();
        let (flag, has_value) = text.split_once('=').map_or((&*text, false), |(flag, _)| (flag, true));
        let (_, takes_value) = own.iter().find(|(name, _)| name == flag)?;
        Some(*takes_value && !has_value)
    };
    let mut words = words.into_iter().skip_while(|word| word != "serve").skip(1);
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        match of_ours(&word) {
            Some(true) => drop(words.next()),
            Some(false) => {}
            None => kept.push(word),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn parse(words: &[&str]) -> Result<ServeArgs, clap::Error> {
        Line::try_parse_from([&["serve"], words].concat()).map(|line| line.args)
    }

    #[test]
    fn the_server_is_given_all_words_but_those_of_serve() {
        let words = "c10k-lab serve --listen 0.0.0.0:9000 --control=0.0.0.0:9900 --mode hold --token-file serve --events \
                     --workers=2 --lease 5s --no-apply --profile tuned";
        let words = words.split_whitespace().map(OsString::from);
        let kept = server_words(words).join(" ".as_ref());
        assert_eq!(kept, "--listen 0.0.0.0:9000 --mode hold --workers=2 --profile tuned");
    }

    #[test]
    fn a_lease_that_is_none_and_what_would_write_on_stdout_are_refused() {
        assert!(parse(&["--lease", "0s"]).is_err());
        let own = parse(&[]).expect("nothing is needed").own;
        assert_eq!((own.control, own.lease), (CONTROL.parse().expect("an address"), LEASE));
        for words in [&["--json"][..], &["--stats", "json"]] {
            let refusal = parse(words).expect("they parse").check().expect_err("they are refused");
            assert!(refusal.message.starts_with(words[0]), "{}", refusal.message);
        }
        assert!(parse(&["--stats", "text", "--events"]).expect("they parse").check().is_ok());
    }
}
