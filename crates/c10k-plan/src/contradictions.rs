//! Plans that nobody can carry out: told before anything is made or started.

use c10k_record::{
    ChurnClose, Condition, Limit, PhaseKind, PhasePlan, Plan, Protocol, ServerMode, Span, WorkPlan, Workload,
    nearest,
};

use crate::say::refusal::Refusal;

mod sampled;
mod work;

pub(crate) use sampled::{has_intended_connects, has_intended_times};
use work::Work;

type Check = fn(&Plan) -> Result<(), Refusal>;

/// Refuses a plan that contradicts itself.
pub fn refuse(plan: &Plan) -> Result<(), Refusal> {
    let checks: [Check; 10] =
        [names, ways, in_time, keys, echoes, closers, work::can_be_sent, pushes, verdicts, sampled::refuse];
    checks.iter().try_for_each(|check| check(plan))
}

/// What is done in a plan, one after the other.
pub fn kinds(plan: &Plan) -> Vec<PhaseKind> {
    match plan.phases.as_slice() {
        [] => vec![plan.workload.into()],
        phases => phases.iter().map(|phase| phase.kind).collect(),
    }
}

fn names(plan: &Plan) -> Result<(), Refusal> {
    for (at, phase) in plan.phases.iter().enumerate() {
        let name = &phase.name;
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(fits) {
            return Err(Refusal::text(
                format!("the phase name '{name}' is none: expected letters, digits, _ and -"),
                "for example name = \"peak\"",
            ));
        }
        if plan.phases.iter().take(at).any(|other| other.name == *name) {
            return Err(Refusal::text(
                format!("two phases are called '{name}'"),
                "give each a name of its own: it stands in samples, record and verdicts",
            ));
        }
    }
    if !plan.phases.is_empty() && plan.load.steps.is_some() {
        return Err(Refusal::text(
            "phases and steps contradict each other: each says how the run grows",
            "leave out steps, or make each step a phase of the kind ramp",
        ));
    }
    if !plan.phases.is_empty() && plan.workload != Workload::Hold {
        return Err(Refusal::text(
            format!("the plan names its phases, and workload = {} beside them", plan.workload),
            format!("leave out the workload, or add a [[phase]] with kind = \"{}\"", plan.workload),
        ));
    }
    Ok(())
}

/// How many are open before and after each phase.
fn ways(plan: &Plan) -> Result<(), Refusal> {
    let mut open = 0;
    for phase in &plan.phases {
        let name = &phase.name;
        let wanted = match phase.kind {
            PhaseKind::Ramp => phase.target.unwrap_or(plan.target),
            PhaseKind::Drain => phase.target.unwrap_or(0),
            _ if open == 0 => {
                return Err(Refusal::text(
                    format!("the phase '{name}' begins with nobody connected"),
                    "put a [[phase]] with kind = \"ramp\" before it",
                ));
            }
            _ if phase.target.is_some() || phase.rate_per_second.is_some() => {
                return Err(Refusal::text(
                    format!("the phase '{name}' opens and closes nothing, and has a target or a rate"),
                    "those are of ramp and drain; echo has messages and message_rate",
                ));
            }
            _ => continue,
        };
        if wanted > plan.target {
            return Err(Refusal::text(
                format!("the phase '{name}' goes to {wanted}, above the plan's target {}", plan.target),
                format!("say target = {wanted} at the top: sources and limits are planned by it"),
            ));
        }
        let goes_the_other_way = if phase.kind == PhaseKind::Ramp { wanted <= open } else { wanted >= open };
        if goes_the_other_way {
            return Err(Refusal::text(
                format!("the {} '{name}' goes to {wanted}, and {open} are open before it", phase.kind),
                "a ramp goes up and a drain down",
            ));
        }
        open = wanted;
    }
    Ok(())
}

/// Whether a ramp or a drain can send what it is to send in its time.
fn in_time(plan: &Plan) -> Result<(), Refusal> {
    let mut open = 0;
    for phase in &plan.phases {
        let (wanted, rate) = match phase.kind {
            PhaseKind::Ramp => {
                (phase.target.unwrap_or(plan.target), phase.rate_per_second.or(plan.load.rate_per_second))
            }
            PhaseKind::Drain => (phase.target.unwrap_or(0), phase.rate_per_second),
            _ => continue,
        };
        let count = wanted.abs_diff(open);
        open = wanted;
        if phase.kind == PhaseKind::Ramp && phase.rate_per_second.is_some_and(|rate| rate.fract() != 0.0) {
            return Err(Refusal::text(
                format!("the rate of the phase '{}' is no whole number", phase.name),
                "connects a second, such as rate = \"2000/s\"",
            ));
        }
        let (Some(rate), Some(Span(long))) = (rate, phase.duration) else { continue };
        let seconds = count as f64 / rate;
        if seconds > long.as_secs_f64() {
            let (name, long) = (&phase.name, Span(long));
            return Err(Refusal::text(
                format!("the phase '{name}' lasts {long}, and {count} at {rate}/s take {seconds:.1} s"),
                "give it more time, a higher rate or fewer connections",
            ));
        }
    }
    Ok(())
}

/// Keys of `[work]` that nothing in the plan has a use for.
fn keys(plan: &Plan) -> Result<(), Refusal> {
    let all = kinds(plan);
    unused("the plan", &plan.work, &all)?;
    let own = |phase: &PhasePlan| unused(&format!("the phase '{}'", phase.name), &phase.work, &[phase.kind]);
    plan.phases.iter().try_for_each(own)
}

fn unused(whose: &str, work: &WorkPlan, kinds: &[PhaseKind]) -> Result<(), Refusal> {
    use PhaseKind::{Churn, Echo, Fanout, Stream};
    let keys: [(&str, bool, &[PhaseKind]); 8] = [
        ("messages", work.messages_per_second.is_some(), &[Echo]),
        ("message_rate", work.message_rate_per_second.is_some(), &[Echo]),
        ("in_flight_messages", work.in_flight_messages.is_some(), &[Echo]),
        ("payload", work.payload.is_some(), &[Echo, Fanout]),
        ("churn", work.churn_per_second.is_some(), &[Churn]),
        ("churn_close", work.churn_close.is_some(), &[Churn]),
        ("bitrate", work.bitrate.is_some(), &[Stream]),
        ("fanout_every", work.fanout_every.is_some(), &[Fanout]),
    ];
    let unused =
        keys.iter().find(|(_, given, users)| *given && !users.iter().any(|user| kinds.contains(user)));
    let Some((key, _, users)) = unused else { return Ok(()) };
    let [does, users] = [kinds, users].map(|kinds| {
        let names: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        names.join(", ")
    });
    Err(Refusal::text(
        format!("{key} belongs to the workload {users}, and {whose} does {does}"),
        format!("leave out {key}, or name a workload that has a use for it"),
    ))
}

/// What is proven by an echo needs a server that echoes, and a swarm that asks.
fn echoes(plan: &Plan) -> Result<(), Refusal> {
    let proven = |work: &Work| match work.kind {
        PhaseKind::Echo | PhaseKind::Churn => Some(format!("'{}'{}", work.kind, work.of_phase())),
        _ => work.numbers.beat.map(|_| format!("a beat{}", work.of_phase())),
    };
    let Some(what) = work::all(plan).iter().find_map(proven) else { return Ok(()) };
    let (message, hint) = if plan.server.mode == ServerMode::Hold {
        (
            format!("a server in mode hold discards bytes, and {what} lives by their echo"),
            "leave out --mode hold",
        )
    } else if plan.load.probe {
        return Ok(());
    } else {
        (
            format!("--no-probe and {what} contradict each other: its messages are proven by their echo"),
            "leave out --no-probe, or what needs echoes",
        )
    };
    Err(Refusal::text(message, hint))
}

/// Who is to close first has a word for it: a raw echo, of any server, has none that makes its server close.
fn closers(plan: &Plan) -> Result<(), Refusal> {
    let by_server =
        |work: &&Work| work.kind == PhaseKind::Churn && work.numbers.churn_close == Some(ChurnClose::Server);
    match work::all(plan).iter().find(by_server) {
        Some(work) if plan.protocol == Protocol::Raw => Err(Refusal::text(
            format!(
                "--churn-close server{} asks a server to close first, and a raw echo has no word for that",
                work.of_phase()
            ),
            "add --protocol ws, whose servers end TCP first, or say --churn-close client or rst",
        )),
        _ => Ok(()),
    }
}

/// One server pushes streams, or one message to all; not both.
fn pushes(plan: &Plan) -> Result<(), Refusal> {
    let kinds = kinds(plan);
    let both = kinds.contains(&PhaseKind::Stream) && kinds.contains(&PhaseKind::Fanout);
    let pushes = kinds.contains(&PhaseKind::Stream) || kinds.contains(&PhaseKind::Fanout);
    if both {
        return Err(Refusal::text(
            "the plan has phases of stream and of fanout, and a server serves one of them",
            "make two plans of it",
        ));
    }
    if let Err(why) = plan.pushed() {
        return Err(Refusal::text(why, "make two plans of it"));
    }
    if kinds.contains(&PhaseKind::Stream) && plan.work.bitrate.is_none() {
        let lacks = |phase: &&PhasePlan| phase.kind == PhaseKind::Stream && phase.work.bitrate.is_none();
        if plan.phases.is_empty() || plan.phases.iter().any(|phase| lacks(&phase)) {
            return Err(Refusal::text(
                "the stream has no bit rate",
                "for example --bitrate 500kbit/s, or bitrate = \"500kbit/s\" under [work]",
            ));
        }
    }
    if pushes && plan.server.mode == ServerMode::Hold {
        return Err(Refusal::text(
            "a server in mode hold discards what asks for it",
            "leave out --mode hold",
        ));
    }
    Ok(())
}

/// Verdicts on phases that are not there, and on what nothing in the plan measures.
fn verdicts(plan: &Plan) -> Result<(), Refusal> {
    let names: Vec<String> = match plan.phases.as_slice() {
        [] => vec![plan.workload.to_string()],
        phases => phases.iter().map(|phase| phase.name.clone()).collect(),
    };
    let all = kinds(plan);
    for condition in &plan.verdicts {
        let refused =
            |why: String, hint: String| Refusal::text(format!("the verdict `{condition}` {why}"), hint);
        let mut kinds = all.clone();
        if let Some(phase) = &condition.phase {
            if !names.contains(phase) {
                let hint = match nearest(phase, &names) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("the phases are {}", names.join(", ")),
                };
                return Err(refused(format!("is on a phase '{phase}' that the plan does not have"), hint));
            }
            if !condition.metric.is_known_by_phase() {
                let hint = format!("leave out the phase: {}", condition.metric);
                return Err(refused(format!("asks for {} of one phase", condition.metric), hint));
            }
            let own = plan.phases.iter().find(|own| own.name == *phase);
            kinds = vec![own.map_or_else(|| plan.workload.into(), |own| own.kind)];
        }
        measured(condition, &kinds).map_err(|(why, hint)| refused(why, hint))?;
    }
    Ok(())
}

fn measured(condition: &Condition, kinds: &[PhaseKind]) -> Result<(), (String, String)> {
    let of = condition.metric.workloads();
    if of.is_empty() || of.iter().any(|kind| kinds.contains(kind)) {
        let changes = kinds.iter().any(|kind| [PhaseKind::Ramp, PhaseKind::Drain].contains(kind));
        return match condition.limit {
            Limit::Target if condition.phase.is_some() && !changes => Err((
                "compares with the target of a phase that has none".to_owned(),
                "name the number".to_owned(),
            )),
            _ => Ok(()),
        };
    }
    let users: Vec<String> = of.iter().map(ToString::to_string).collect();
    let users = users.join(" or ");
    Err((format!("is on what only {users} measures"), format!("add the workload {users}, or leave it out")))
}

#[cfg(test)]
mod tests;
