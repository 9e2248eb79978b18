//! Verdicts on what the plan never measures: they would fail behind the run, whatever came of it.

use c10k_record::{Condition, LatencyKind, Metric, PhaseKind, Plan, Protocol, Spread};

use super::work::{self, Work};
use crate::say::refusal::Refusal;

pub(super) fn refuse(plan: &Plan) -> Result<(), Refusal> {
    for condition in &plan.verdicts {
        if let Some((why, hint)) = never_measured(condition, plan) {
            let message = format!("the verdict `{condition}` {why}");
            return Err(Refusal::text(message, format!("{hint}, or leave it out")));
        }
    }
    Ok(())
}

fn never_measured(condition: &Condition, plan: &Plan) -> Option<(&'static str, &'static str)> {
    let Metric::Latency(kind, _) = condition.metric else { return None };
    let all = work::all(plan);
    // A plan that names no phases has one, which is called as its workload.
    let is_meant = |work: &&Work| work.phase.is_none() || work.phase == condition.phase;
    let mut meant = all.iter().filter(is_meant);
    match kind {
        LatencyKind::Handshake if plan.protocol == Protocol::Raw => {
            Some(("is on the handshake of WebSocket, and the plan is raw", "add --protocol ws"))
        }
        LatencyKind::Lateness if !has_intended_times(plan) => Some((
            "is on how late the swarm begins, and nothing has an intended time",
            "add --rate, or a workload in an open loop",
        )),
        LatencyKind::Echo if condition.phase.is_some() && meant.all(is_silent) => {
            Some(("is on echoes of a phase in which nothing is said", "add --beat"))
        }
        _ => None,
    }
}

/// Whether anything that the swarm does has an intended time, and so can be late.
pub(crate) fn has_intended_times(plan: &Plan) -> bool {
    has_intended_connects(plan) || work::all(plan).iter().any(has_intended_messages)
}

fn has_intended_connects(plan: &Plan) -> bool {
    let of_phases = plan.phases.iter().any(|phase| phase.rate_per_second.is_some());
    plan.load.rate_per_second.is_some() || plan.load.arrivals != Spread::Even || of_phases
}

fn has_intended_messages(work: &Work) -> bool {
    let is_open_loop = match work.kind {
        PhaseKind::Echo => work.numbers.in_flight_messages.is_none(),
        PhaseKind::Churn => true,
        _ => false,
    };
    is_open_loop || work.numbers.beat.is_some()
}

/// What is held in silence.
fn is_silent(work: &Work) -> bool {
    work.kind == PhaseKind::Hold && work.numbers.beat.is_none()
}
