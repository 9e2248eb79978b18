//! `c10k-lab profile list|show|diff`; the others, which change settings, are in `settings`.

use c10k_plan::say::printer::Printer;
use c10k_profile::{Live, Profile, Settable, diff};
use c10k_record::Exit;
use serde_json::json;

use crate::command::settings;
use clap::Subcommand;

/// `c10k-lab profile`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// The shipped profiles, a line each.
    List {
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
    },
    /// One profile with all it extends, as TOML, with the reason for each value.
    Show {
        /// A shipped profile or the path of one.
        profile: String,
    },
    /// A profile beside this host: what stands, what it wants, how far it reaches, whether it can be set here.
    Diff {
        /// A shipped profile or the path of one.
        profile: String,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Set the sysctls of a profile where this command runs, until `profile rollback`: all of them or none, but for
    /// settings of the whole host, which are listed. What stood before is written to a journal first. Limits and
    /// socket options are set by server and swarm.
    Apply {
        /// A shipped profile or the path of one.
        profile: String,
        /// Raise the settings of the whole host too; they are never lowered.
        #[arg(long)]
        host_wide: bool,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Put back what `profile apply` has set, and what processes that died have left.
    Rollback {
        /// Put back also what somebody else has changed since.
        #[arg(long)]
        force: bool,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Which settings stand, who asked for them, and what stood before.
    Status {
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
    },
}

/// Carries out one of them.
pub(crate) fn run(command: &ProfileCommand, printer: &mut Printer) -> Exit {
    match command {
        ProfileCommand::List { json } => list(*json, printer),
        ProfileCommand::Show { profile } => with(profile, printer, |profile, printer| {
            printer.data(&profile.to_toml_with_reasons());
            Exit::Done
        }),
        ProfileCommand::Diff { profile, json } => {
            with(profile, printer, |profile, printer| compare(profile, *json, printer))
        }
        ProfileCommand::Apply { profile, host_wide, json } => {
            with(profile, printer, |profile, printer| settings::apply(profile, *host_wide, *json, printer))
        }
        ProfileCommand::Rollback { force, json } => settings::roll_back(*force, *json, printer),
        ProfileCommand::Status { json } => settings::status(*json, printer),
    }
}

fn with(name: &str, printer: &mut Printer, then: impl FnOnce(&Profile, &mut Printer) -> Exit) -> Exit {
    match Profile::load(name) {
        Ok(profile) => then(&profile, printer),
        Err(error) => {
            printer.error(&error.to_string(), Some(&error.hint()));
            Exit::BadText
        }
    }
}

fn list(as_json: bool, printer: &mut Printer) -> Exit {
    let mut rows = Vec::new();
    for (name, _) in Profile::shipped() {
        match Profile::load(name) {
            Ok(profile) => rows.push((profile.name, profile.summary)),
            Err(error) => {
                printer.error(&error.to_string(), None);
                return Exit::Broke;
            }
        }
    }
    if as_json {
        let rows: Vec<_> =
            rows.iter().map(|(name, summary)| json!({"name": name, "summary": summary})).collect();
        printer.data(&json!({ "profiles": rows }).to_string());
    } else {
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, summary) in &rows {
            printer.data(&format!("{name:<width$}  {summary}"));
        }
    }
    Exit::Done
}

fn compare(profile: &Profile, as_json: bool, printer: &mut Printer) -> Exit {
    let live = match Live::here(profile) {
        Ok(live) => live,
        Err(error) => {
            printer.error(&format!("cannot read this host's settings: {error}"), Some("mount /proc"));
            return Exit::HostCannot;
        }
    };
    let rows: Vec<[String; 5]> = diff(profile, &live)
        .into_iter()
        .map(|row| {
            let can = match row.settable {
                Settable::AlreadySo => "already so".to_owned(),
                Settable::Yes => "yes".to_owned(),
                Settable::No { why, command } => match command {
                    Some(command) => format!("no: {why}; {command}"),
                    None => format!("no: {why}"),
                },
            };
            let scope = match row.scope {
                c10k_kernel::sysctl::Scope::Process => "this process",
                c10k_kernel::sysctl::Scope::Namespace => "namespace",
                c10k_kernel::sysctl::Scope::Host => "whole host",
            };
            let present = row.present.unwrap_or_else(|| "-".to_owned());
            [row.setting, present, row.wanted, scope.to_owned(), can]
        })
        .collect();
    if as_json {
        let rows: Vec<_> = rows
            .iter()
            .map(|[setting, present, wanted, scope, can]| {
                let present = (present != "-").then_some(present);
                json!({"setting": setting, "present": present, "wanted": wanted, "scope": scope, "can_be_set": can})
            })
            .collect();
        printer.data(&json!({ "profile": profile.name, "settings": rows }).to_string());
        return Exit::Done;
    }
    if rows.is_empty() {
        printer.data(&format!("{} changes nothing", profile.name));
        return Exit::Done;
    }
    let head = ["setting", "present", "wanted", "scope", "can be set here"].map(str::to_owned);
    let widths: Vec<usize> = (0..4)
        .map(|column| rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for row in [&head].into_iter().chain(&rows) {
        let cells: Vec<String> =
            row.iter().take(4).zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        printer.data(&format!("{}  {}", cells.join("  "), row[4]));
    }
    Exit::Done
}
