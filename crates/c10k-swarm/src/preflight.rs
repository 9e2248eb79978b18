//! What is refused before anything is started: what this machine or this process is known not to hold.

use c10k_profile::InForce;
use c10k_record::{Exit, LoadPlan};

use crate::args::SwarmArgs;
use crate::crew::{Crew, descriptors_needed};
use crate::output::Output;
use crate::refusal::Refusal;
use crate::setup::{Setup, SetupError};
use crate::view::{host_snapshot, plan_view};

/// A target that this machine is known not to hold is refused before anything is started, and of one that is forced it
/// is said how much of it fits: workers are started for that many. A parent has refused or said that itself.
pub(crate) fn refuse_too_many(
    args: &SwarmArgs,
    setup: &Setup,
    load: &LoadPlan,
    target: u64,
    in_force: &InForce,
    output: &mut Output,
) -> Result<u64, Refusal> {
    let host = host_snapshot(in_force, setup, true);
    match c10k_ceiling::too_many(&host, &plan_view(setup, load, target)) {
        Some(found) if found.is_certain => {
            if args.parent.is_none() && !args.load.force {
                return Err(Refusal {
                    message: found.message(),
                    hint: Some(found.hint()),
                    exit: Exit::HostCannot,
                });
            }
            if args.parent.is_none() {
                output.warn(&format!(
                    "{}: workers are started for that many, and more when they are needed",
                    found.message()
                ));
            }
            Ok(found.wall.connections)
        }
        Some(found) => {
            if args.parent.is_none() {
                output.warn(&found.message());
            }
            Ok(target)
        }
        None => Ok(target),
    }
}

/// A descriptor limit with which nothing could be held is refused, as the server refuses it.
pub(crate) fn refuse_few_descriptors(in_force: &InForce) -> Result<(), Refusal> {
    let (soft, hard) = (in_force.nofile.soft, in_force.nofile.hard);
    let needed = descriptors_needed(soft);
    if soft < needed { Err(SetupError::Descriptors { needed, soft, hard }.into()) } else { Ok(()) }
}

/// A target that needs more workers than this process can have is refused. A parent has looked at its target itself, and
/// who forces it meets the wall.
pub(crate) fn refuse_too_many_workers(args: &SwarmArgs, crew: &Crew, target: u64) -> Result<(), Refusal> {
    let needed = crew.tables_for(target);
    let (most, fits) = crew.most_workers();
    if needed <= most || args.parent.is_some() || args.load.force {
        return Ok(());
    }
    Err(SetupError::Workers { target, needed, most, fits }.into())
}
