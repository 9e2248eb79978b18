//! What is done in a plan, phase by phase, and whether there is time for it.

use c10k_record::{PhaseKind, Plan, Span, WorkPlan};

use crate::say::refusal::Refusal;

/// No answer comes sooner: messages a second that one connection, which has one in flight, can have at the very most.
const MOST_ON_ONE: f64 = 1e6;

/// What is done at one time.
pub(super) struct Work {
    /// Of the phase of this name; `None` where the plan names no phases.
    pub(super) phase: Option<String>,
    pub(super) kind: PhaseKind,
    /// As the plan says them, and above that the phase.
    pub(super) numbers: WorkPlan,
    /// Connections that are there.
    open: u64,
    long: Span,
}

impl Work {
    /// Of which phase it is, in words.
    pub(super) fn of_phase(&self) -> String {
        self.phase.as_ref().map_or_else(String::new, |name| format!(" in the phase '{name}'"))
    }

    /// Who says it, in words.
    fn whose(&self) -> String {
        self.phase.as_ref().map_or_else(|| "the plan".to_owned(), |name| format!("the phase '{name}'"))
    }
}

/// One after the other.
pub(super) fn all(plan: &Plan) -> Vec<Work> {
    if plan.phases.is_empty() {
        let numbers = plan.work.clone();
        let (open, long) = (plan.target, plan.load.hold);
        return vec![Work { phase: None, kind: plan.workload.into(), numbers, open, long }];
    }
    let mut open = 0;
    let of_phase = |phase: &c10k_record::PhasePlan| {
        open = match phase.kind {
            PhaseKind::Ramp => phase.target.unwrap_or(plan.target),
            PhaseKind::Drain => phase.target.unwrap_or(0),
            _ => open,
        };
        Work {
            phase: Some(phase.name.clone()),
            kind: phase.kind,
            numbers: plan.work.with(&phase.work),
            open,
            long: phase.duration.unwrap_or(plan.load.hold),
        }
    };
    plan.phases.iter().map(of_phase).collect()
}

/// Whether each work can send what it is to, on as many connections as are there and in its time.
pub(super) fn can_be_sent(plan: &Plan) -> Result<(), Refusal> {
    all(plan).iter().try_for_each(|work| too_fast(work).and_then(|()| too_slow(work)))
}

fn too_fast(work: &Work) -> Result<(), Refusal> {
    let WorkPlan { messages_per_second, message_rate_per_second, .. } = work.numbers;
    let most = MOST_ON_ONE * work.open as f64;
    let all = messages_per_second.map(|each| each * work.open as f64).or(message_rate_per_second);
    let Some(rate) = all.filter(|rate| work.kind == PhaseKind::Echo && *rate > most) else { return Ok(()) };
    Err(Refusal::text(
        format!(
            "{} sends {rate} messages a second on {} connections: each has one in flight, and no answer comes within a \
             microsecond",
            work.whose(),
            work.open
        ),
        "fewer messages, or --in-flight-messages for as many as the server answers",
    ))
}

fn too_slow(work: &Work) -> Result<(), Refusal> {
    let Span(long) = work.long;
    let Some(every) = work.numbers.fanout_every.filter(|Span(every)| *every > long) else { return Ok(()) };
    if work.kind != PhaseKind::Fanout {
        return Ok(());
    }
    Err(Refusal::text(
        format!(
            "{} lasts {}, and sends a message to all every {every}: none in its time",
            work.whose(),
            work.long
        ),
        "give it more time, or a shorter fanout_every",
    ))
}
