//! The run of a plain program, with which a climb begins, and the check at its end, which is as plain.

use std::path::Path;

use c10k_kernel::limits;
use c10k_plan::say::printer::Printer;
use c10k_profile::{NofileLimit, Profile, Source};
use c10k_record::{Exit, human_count};

use super::brake::Brake;
use super::document::{Check, Climb};
use super::{ClimbArgs, Refused};
use crate::rerun::{Came, Setup};

/// How long a connect and an echo may take. What is beyond a wall waits for so long in each step.
const PATIENCE: &str = "4s";
/// How long each step holds.
const HOLD: &str = "500ms";

/// The run of a plain program.
pub(super) fn plain(args: &ClimbArgs) -> Result<Setup, Refused> {
    let profile =
        Profile::load(&args.start).map_err(|error| (error.to_string(), error.hint(), Exit::BadText))?;
    let nofile = soft_limit(&profile);
    let mut setup = Setup { name: Some("step"), ..Setup::default() };
    match &profile.source {
        Source::File(_) => setup.takes_in = Some(profile),
        Source::Shipped("stock") => {}
        Source::Shipped(name) => setup.extends = Some((*name).to_owned()),
    }
    for end in [&mut setup.stage.server, &mut setup.stage.swarm] {
        end.one_table = true;
        end.nofile = nofile;
    }
    // It does not count its ports beforehand.
    setup.stage.swarm.flags.insert("--target".to_owned(), "1".to_owned());
    setup.stage.only_to_the_wall = true;
    setup.stage.keeps_a_reserve = true;
    let protocol = args.protocol.to_string();
    for (flag, value) in [
        ("--ips", "127.0.0.1"),
        ("--hold", HOLD),
        ("--connect-timeout", PATIENCE),
        ("--handshake-timeout", PATIENCE),
        ("--probe-timeout", PATIENCE),
        ("--protocol", &protocol),
        ("--close", "rst"),
    ] {
        setup.flags.insert(flag.to_owned(), value.to_owned());
    }
    Ok(setup)
}

/// The descriptor limit that a plain program has with this profile, where it may go no further: a server or swarm of
/// the lab's own goes up to the hard limit by itself.
fn soft_limit(profile: &Profile) -> Option<u64> {
    let limit = limits::nofile().ok()?;
    let soft = match profile.limits.nofile {
        None => limit.soft,
        Some(NofileLimit::AtLeast(wanted)) => wanted.max(limit.soft),
        Some(NofileLimit::Hard) => limit.hard,
    };
    Some(soft).filter(|soft| *soft < limit.hard)
}

/// A fresh start with the profile that was written, as plain as the climb was: of what was lifted it has what that
/// profile says, and what no profile carries.
pub(super) fn check(
    climb: &Climb,
    setup: &Setup,
    folder: &Path,
    brake: &mut Brake<'_>,
    printer: &mut Printer,
) -> Option<Check> {
    let target = climb.connections.held;
    printer.say(&format!("check: {} from a fresh start with climbed.toml", human_count(target)));
    let refused = |why: String, printer: &mut Printer| {
        printer.say(&format!("warning: the check came to nothing: {why}"));
    };
    let profile = match Profile::load(&climb.climbed.display().to_string()) {
        Ok(profile) => profile,
        Err(error) => {
            refused(error.to_string(), printer);
            return None;
        }
    };
    let place = folder.join("check");
    if let Err(error) = std::fs::create_dir(&place) {
        refused(format!("{}: {error}", place.display()), printer);
        return None;
    }
    let mut setup = Setup { target, ..setup.clone() };
    (setup.stage.only_to_the_wall, setup.stage.keeps_a_reserve) = (false, false);
    for end in [&mut setup.stage.server, &mut setup.stage.swarm] {
        end.nofile = soft_limit(&profile);
    }
    match setup.carry_out_with(&climb.climbed, &place, || brake.says_stop()) {
        // It says nothing of the profile how far it was when it was ended.
        _ if brake.came() => {
            printer.say(&format!("warning: the check was stopped by {}", brake.name()));
            None
        }
        Came::Record(record) => {
            if brake.was_low().is_some() {
                printer.say("warning: the check was ended for want of memory");
            }
            Some(Check { target, held: record.connections.held, folder: place })
        }
        Came::Nothing(why, _) => {
            refused(why, printer);
            None
        }
    }
}
