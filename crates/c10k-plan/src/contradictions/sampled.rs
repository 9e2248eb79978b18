//! Verdicts on what the plan never measures: they would fail behind the run, whatever came of it.

use c10k_record::{Condition, LatencyKind, Metric, PhaseKind, Plan, Protocol};

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
            "add --rate, or --workload echo in an open loop, or --beat to a hold",
        )),
        LatencyKind::ConnectResponse if !has_intended_connects(plan) => {
            Some(("is on connects from their intended time, and they have none", "add --rate"))
        }
        LatencyKind::Echo if condition.phase.is_some() && meant.all(is_silent) => {
            Some(("is on echoes of a phase in which nothing is said", "add --beat"))
        }
        _ => None,
    }
}

/// Whether anything that the swarm does has an intended time, and so can be late: connects at a rate, messages of an echo
/// in an open loop, beats of a hold.
pub(crate) fn has_intended_times(plan: &Plan) -> bool {
    has_intended_connects(plan) || work::all(plan).iter().any(has_intended_messages)
}

/// Whether connects have one. A phase's own rate is kept without any.
pub(crate) fn has_intended_connects(plan: &Plan) -> bool {
    plan.load.rate_per_second.is_some()
}

fn has_intended_messages(work: &Work) -> bool {
    match work.kind {
        PhaseKind::Echo => work.numbers.in_flight_messages.is_none(),
        PhaseKind::Hold => work.numbers.beat.is_some(),
        _ => false,
    }
}

/// What is held in silence.
fn is_silent(work: &Work) -> bool {
    work.kind == PhaseKind::Hold && work.numbers.beat.is_none()
}
