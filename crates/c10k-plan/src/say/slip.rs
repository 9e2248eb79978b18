//! What the parser of the command line says of a slip, with tips that help.

use std::ffi::OsString;

use c10k_record::nearest;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

/// The error without the tip that takes a flag for a value, and with the command or the flag that was meant.
pub fn helped(mut error: Error, command: &Command, args: &[OsString]) -> Error {
    if let Some(ContextValue::StyledStrs(mut tips)) = error.remove(ContextKind::Suggested) {
        tips.retain(|tip| !tip.to_string().contains("as a value"));
        if !tips.is_empty() {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
        }
    }
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            if let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand)
                && let Some(meant) = nearest(typed, command.get_subcommands().map(Command::get_name))
            {
                let meant = ContextValue::Strings(vec![meant.to_owned()]);
                error.insert(ContextKind::SuggestedSubcommand, meant);
            }
        }
        ErrorKind::UnknownArgument => {
            let named = args.iter().skip(1).filter_map(|word| word.to_str());
            let own = named.filter_map(|word| command.find_subcommand(word)).next().unwrap_or(command);
            if let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidArg)
                && let Some(meant) = only_one_that_begins_so(own, typed)
            {
                error.insert(ContextKind::SuggestedArg, ContextValue::String(meant));
                // It is that of the flag that was taken for the meant one.
                error.remove(ContextKind::Usage);
            }
        }
        _ => {}
    }
    error
}

fn only_one_that_begins_so(command: &Command, typed: &str) -> Option<String> {
    let beginning = typed.strip_prefix("--").filter(|word| word.len() > 1)?;
    let flags = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(|arg| arg.get_long());
    let mut begun = flags.filter(|flag| flag.starts_with(beginning));
    let meant = begun.next()?;
    begun.next().is_none().then(|| format!("--{meant}"))
}
