//! The swarm's own lateness.

use c10k_record::{Scope, Side};

use crate::wall::{Bite, Guide, Plant, Wall, more_time, no_forecast, no_way_back};

pub(super) static WALLS: &[Wall] = &[Wall {
    name: "swarm-late",
    title: "the swarm began connects or messages later than intended",
    side: Side::Swarm,
    process: "the swarm",
    hard: false,
    only_alone: true,
    outcomes: &[],
    read_at: "lateness_us of the record; the tag lateness in latency.hlog",
    formula: "a rate: connects a second that the swarm begins in time",
    not_there: "a service (connect, first echo) that is late by itself; any other wall that is proven",
    scope: Scope::Process,
    any_command_lifts: false,
    guide: Guide {
        what_it_is: "With --rate each connect has an intended start, and in an open loop or with a beat each message. The \
                     swarm got to its begins later than that, and \
                     a verdict broke by it: on the response, which counts from the intended start, on the rate, or on \
                     a time no longer than the swarm's own delay. It says nothing of the server.",
        what_you_see: "connect_response is far above connect, and lateness is about the difference; or lateness is as \
                       large as what was measured.",
        how_to_prove: "lateness_us in the record: it is taken before the socket is made, so no server has a part in \
                       it. top -H -p PID and /proc/PID/schedstat show whether the swarm's threads waited for a \
                       processor.",
        how_to_lift: "A slower --rate, or fewer messages (--messages, --message-rate); more processors for the swarm or a \
                      machine of its own; more --workers, up to one a processor.",
        what_not_to_do: "Do not report such times as the server's, and do not tune the server for them.",
        kernel_source: "kernel/sched/fair.c and kernel/time/hrtimer.c decide when a thread that waited runs again; \
                        epoll_pwait2(2), PR_SET_TIMERSLACK(2const)",
    },
    plant: Plant::in_a_namespace(
        "one worker with a rate that no worker makes, and a verdict that counts from the intended start.",
    ),
    predict: no_forecast,
    diagnose: |findings| {
        let mut evidence = findings.late_by_the_swarm();
        if !evidence.is_empty() {
            evidence.extend(findings.lateness_evidence());
        }
        Bite::proven(evidence, None)
    },
    met: no_way_back,
    lift: |_, plan| {
        more_time(plan, "Give the swarm more processors or a machine of its own", "connect more slowly")
    },
}];
