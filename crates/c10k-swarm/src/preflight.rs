//! What is refused before anything is started: what this machine or this process is known not to hold.

use c10k_profile::InForce;
use c10k_record::{ChurnClose, Exit, LoadPlan, PhaseKind, PhasePlan, Protocol, WorkPlan, Workload};

use crate::args::SwarmArgs;
use crate::crew::Crew;
use crate::makers::descriptors_needed;
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
    let foreseen = c10k_ceiling::predict(&host, &plan_view(setup, load, target));
    match c10k_ceiling::too_many(&foreseen, target) {
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

/// What is done in a run: by the workload, or by each phase with what it says above the plan.
pub(crate) fn all_works(phases: &[PhasePlan], workload: Workload, work: &WorkPlan) -> Vec<PhasePlan> {
    let own = PhasePlan { work: work.clone(), ..PhasePlan::of(workload.into()) };
    let of_phase = |phase: &PhasePlan| PhasePlan { work: work.with(&phase.work), ..phase.clone() };
    if phases.is_empty() { vec![own] } else { phases.iter().map(of_phase).collect() }
}

/// A work in words; that of a phase with its name, where it is not called what it does.
fn named(what: &str, work: &PhasePlan) -> String {
    let is_own = work.name == work.kind.to_string();
    if is_own { what.to_owned() } else { format!("{what} in the phase '{}'", work.name) }
}

/// Messages and beats are checked by their echo.
pub(crate) fn refuse_unproven(work: &PhasePlan, load: &LoadPlan) -> Result<(), String> {
    let what = match (work.kind, work.work.beat) {
        (PhaseKind::Echo | PhaseKind::Churn, _) => format!("--workload {}", work.kind),
        (_, Some(beat)) => format!("--beat {beat}"),
        _ => return Ok(()),
    };
    if load.probe {
        return Ok(());
    }
    Err(format!(
        "--no-probe and {} contradict each other: its messages are proven by their echo, expected a server that echoes",
        named(&what, work)
    ))
}

/// Who closes first has a word for it.
pub(crate) fn refuse_nobody_closes(work: &PhasePlan, protocol: Protocol) -> Result<(), String> {
    let by_server = work.kind == PhaseKind::Churn && work.work.churn_close == Some(ChurnClose::Server);
    if !by_server || protocol == Protocol::Ws {
        return Ok(());
    }
    Err(format!(
        "{} asks a server to close first, and a raw echo has no word for that: expected --protocol ws, whose servers end \
         TCP first, or --churn-close client or rst",
        named("--churn-close server", work)
    ))
}

/// A plan that names its phases says all that is done.
pub(crate) fn refuse_two_ways(
    phases: &[PhasePlan],
    workload: Workload,
    load: &LoadPlan,
) -> Result<(), String> {
    let other = match (workload, load.steps) {
        (Workload::Hold, None) => return Ok(()),
        (Workload::Hold, Some(steps)) => format!("--steps {steps}"),
        (workload, _) => format!("--workload {workload}"),
    };
    if phases.is_empty() {
        return Ok(());
    }
    Err(format!("{other} and the phases of the plan contradict each other: expected one of them"))
}
