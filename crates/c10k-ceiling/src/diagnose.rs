//! Which wall it was, from what was seen.

use c10k_record::{
    Ceiling, Degree, Evidence, Failure, GrowthStop, PhaseName, Predicted, Remedy, Scope, Side, WallFound,
    human_count,
};

use crate::counter;
use crate::findings::{Findings, NO_ANSWER, REFUSED};
use crate::wall::{Bite, Wall, remedy, seen};
use crate::walls::{COST_NO_CONNECTION, settle_threads, walls};

/// The name of a ceiling whose wall is not proven.
pub const UNKNOWN: &str = "unknown";

/// Names the walls that kept a run from its target or broke one of its verdicts, in the order in which they first
/// cost a connection. One that waited in vain was cost when it began to wait, where the plan says how long it did.
///
/// `None` when the target was reached with every verdict passed, and when the run was aborted: who stops a run early
/// learns nothing of the box. Broken verdicts are named only where nothing harder is proven. Where nothing is proven
/// the wall is [`UNKNOWN`], its evidence is what was seen and its remedy where to look next.
///
/// # A run that holds all
/// It can only have been late: what costs connections without making any wait is not looked at, and the ceiling is
/// soft whatever the wall, since no connection was stopped. How many fewer the verdict would bear is not known, so
/// [`Ceiling::connections`] is what was held. With every verdict passed too, only what costs no connection and makes
/// none wait can have been met on the way: the limit on TIME_WAIT.
#[must_use]
pub fn diagnose(findings: &Findings, predicted: Option<Predicted>) -> Option<Ceiling> {
    if findings.aborted {
        return None;
    }
    let findings = &with_what_follows(findings);
    let connections = &findings.connections;
    let (is_short, is_unharmed) = (findings.is_short(), findings.is_unharmed());
    // Without probes a ghost is held like any other, and no loss.
    let ghosts = connections.ghosts.is_some_and(|ghosts| ghosts > 0);
    let lost = is_short || ghosts || connections.failed_total_saturating() > 0;
    let is_late = !findings.too_late().is_empty();
    let can_be = |wall: &Wall| {
        if is_unharmed {
            COST_NO_CONNECTION.contains(&wall.name)
        } else {
            lost || is_late && makes_wait(wall)
        }
    };
    let mut bites: Vec<(&Wall, Bite)> = walls()
        .filter(|wall| can_be(wall))
        .filter_map(|wall| Some((wall, (wall.diagnose)(findings)?)))
        .collect();
    if bites.is_empty() && is_unharmed {
        return None;
    }
    if bites.iter().any(|(wall, _)| !wall.only_alone) {
        bites.retain(|(wall, _)| !wall.only_alone);
    }
    // Stable: walls that bit at the same or at an unknown time stay in the order of the table.
    bites.sort_by_key(|(_, bite)| bite.first_at_ms.unwrap_or(u64::MAX));
    let walls: Vec<WallFound> = bites.into_iter().map(|(wall, bite)| found(wall, bite, findings)).collect();
    let held = connections.held;
    let off_by = predicted.as_ref().and_then(|predicted| {
        let bit = walls.iter().any(|wall| wall.name == predicted.wall);
        bit.then(|| held.cast_signed().saturating_sub(predicted.connections.cast_signed()))
    });
    Some(match walls.first() {
        Some(first) => Ceiling {
            connections: held,
            wall: first.name.clone(),
            hard: first.hard && is_short,
            evidence: first.evidence.clone(),
            degree: first.degree,
            remedy: first.remedy.clone(),
            walls,
            predicted,
            off_by,
        },
        None => Ceiling {
            connections: held,
            wall: UNKNOWN.to_owned(),
            walls,
            hard: false,
            evidence: what_was_seen(findings),
            degree: Some(Degree::Unknown),
            remedy: Some(where_to_look(findings)),
            predicted,
            off_by,
        },
    })
}

/// The findings with what follows from others of them.
pub(crate) fn with_what_follows(findings: &Findings) -> Findings {
    let mut settled = findings.clone();
    settle_threads(&mut settled);
    settled.plan.wanted_rate = findings.wanted_rate();
    settled.plan.late_while_held = findings.is_late_while_held_alone();
    let in_ramp = |row: &Failure| row.phase == PhaseName::Ramp;
    let all_later = !findings.failures.is_empty() && !findings.failures.iter().any(in_ramp);
    settled.plan.succeeded_among_losses =
        if all_later { Some(false) } else { findings.then_none().map(|then_none| !then_none) };
    settled
}

/// Whether a wall shows itself by connections that wait, and so, before it costs any, by a verdict that breaks.
fn makes_wait(wall: &Wall) -> bool {
    !wall.hard
        || wall.outcomes.iter().any(|outcome| NO_ANSWER.contains(outcome) || *outcome == "probe-timeout")
}

fn found(wall: &Wall, bite: Bite, findings: &Findings) -> WallFound {
    let mut remedy = (wall.lift)(findings.host_of(wall.side), &findings.plan);
    // What is only likely is to be proven before anything is changed for it.
    if bite.degree == Degree::Likely && !remedy.summary.starts_with(PROVE) {
        remedy.summary = format!("{PROVE} {} Then: {}", wall.guide.how_to_prove, remedy.summary);
    }
    WallFound {
        name: wall.name.to_owned(),
        title: wall.title.to_owned(),
        side: wall.side,
        hard: wall.hard,
        evidence: findings.told_of_hosts(bite.evidence),
        degree: Some(bite.degree),
        remedy: Some(remedy),
    }
}

/// How the remedy of what is only likely begins.
const PROVE: &str = "First prove it:";

/// The facts as they are, none of them a cause.
fn what_was_seen(findings: &Findings) -> Vec<Evidence> {
    let c = &findings.connections;
    let lost = c.failed_total_saturating();
    let counts = format!(
        "held {} of {}: {} attempted, {} established, {} lost",
        human_count(c.held),
        human_count(c.target),
        human_count(c.attempted),
        human_count(c.established),
        human_count(lost)
    );
    let mut evidence = vec![seen("connections", Side::Swarm, Some(c.held), counts)];
    evidence.extend(findings.growth_stopped.map(|why| {
        let text = format!("the swarm tried no more after {}: {why}", human_count(c.attempted));
        seen("growth_stopped", Side::Swarm, Some(c.attempted), text)
    }));
    let names: Vec<&str> = c.failed.keys().map(c10k_record::Outcome::name).collect();
    evidence.extend(findings.lost_evidence(&names));
    if let Some(process) = findings.server_process.as_ref().filter(|_| findings.server_end.is_none()) {
        let text = match process.listens {
            Some(false) => format!("its listener is gone, process {} lives", process.pid),
            _ => format!("process {} lives", process.pid),
        };
        evidence.push(seen("process", Side::Server, None, text));
    }
    evidence.extend(findings.listeners_evidence());
    evidence.extend(crate::walls::ages_in_words(findings).map(|text| seen("age", Side::Server, None, text)));
    evidence.extend(findings.evidence.silent.map(|silent| {
        let text = format!("of {} sampled connections have data that is not acknowledged", silent.sampled);
        seen("TCP_INFO unacked", Side::Swarm, Some(silent.unacked), text)
    }));
    if findings.server_is_hidden() {
        let text = "the server's process may not be seen by this user: whether it is stopped, busy or out of descriptors \
                    is not known";
        evidence.push(seen("not readable", Side::Server, None, text));
    }
    evidence.extend(findings.all_drop_evidence());
    for (name, change) in &findings.counters {
        if change.growth() > 0 {
            let text = format!("moved, from {} to {}", human_count(change.before), human_count(change.after));
            evidence.extend(findings.counter_evidence(name, Side::Host, &text));
        }
    }
    for verdict in findings.verdicts.iter().filter(|verdict| verdict.is_broken()) {
        let nothing = if verdict.value.is_none() { ": nothing was measured for it" } else { "" };
        let text = format!("verdict `{}` does not hold{nothing}", verdict.expr);
        evidence.push(seen("verdict", Side::Swarm, None, text));
    }
    evidence
}

fn where_to_look(findings: &Findings) -> Remedy {
    let mut places: Vec<&str> = Vec::new();
    let mut commands: Vec<&str> = Vec::new();
    let mut look = |place, command| {
        places.push(place);
        commands.extend(Some(command).filter(|command: &&str| !command.is_empty()));
    };
    if findings.lost(&NO_ANSWER).is_some() {
        without_an_answer(findings, &mut look);
    }
    let silenced = |row: &Failure| {
        row.phase != PhaseName::Ramp && ["probe-timeout", "unproven"].contains(&row.outcome.name())
    };
    let is_on_the_way = findings.evidence.silent.is_some_and(|silent| silent.unacked > 0);
    if findings.failures.iter().any(silenced) && !is_on_the_way {
        look(
            "whether the server, which had answered before and no longer did, is stopped (state T) or blocked (D)",
            "ps -eo pid,state,wchan:24,comm | awk '$2 ~ /[TD]/'",
        );
    }
    // Who has had an echo knows that it is one.
    let never_echoed = findings.connections.verified.is_none_or(|verified| verified == 0);
    if findings.lost_connecting(&["probe-timeout"]).is_some() && never_echoed {
        look("whether the server sends back what it gets; if it does not, run the swarm with --no-probe", "");
    }
    if findings.lost(&["not-at-server"]).is_some() {
        look(
            "the server's end of what is open at the client: in SYN_RECV there the kernel waits until the client has said \
             something (TCP_DEFER_ACCEPT, as Apache sets it; a run with probes says something), or its accept queue had \
             no room",
            "ss -tan state syn-recv",
        );
    }
    if findings.lost(&["not-accepted"]).is_some() {
        look(
            "why the server does not take what waits in its accept queue (Recv-Q): a limit of its own, or it is busy",
            "ss -ltn",
        );
    }
    let lives = findings.server_end.is_none().then_some(findings.server_process.as_ref()).flatten();
    if lives.is_some_and(|process| process.listens == Some(false)) {
        look("why the server, which lives, has closed its listener", "ss -ltnp");
    }
    beside_the_counters(findings, &mut look);
    let unmeasured = |verdict: &c10k_record::Verdict| verdict.is_broken() && verdict.value.is_none();
    if !findings.plan.probe && findings.verdicts.iter().any(unmeasured) {
        look("whether the run measures what its verdict is about: without probes there are no echoes", "");
    }
    if findings.lost(&["worker-lost"]).is_some() {
        look("what the swarm said on stderr when its workers ended", "");
    }
    if findings.growth_stopped == Some(GrowthStop::NoTables) {
        look("the descriptors and the memory that a further worker needs", "ulimit -a");
    }
    if findings.lost(&["EADDRNOTAVAIL", "EADDRINUSE"]).is_some() {
        look("whether the source addresses are on this machine", "ip addr");
        look(
            "who else holds ports",
            "ss -tan state all | awk '{print $4}' | sort | uniq -c | sort -rn | head",
        );
    }
    memory_of_sockets(findings, &mut look);
    look("the kernel's log", "sudo dmesg -T | tail -n 30");
    let first = no_websocket(findings).unwrap_or_default();
    let summary = format!("{first}Nothing that was seen proves a wall. Look next at: {}.", places.join("; "));
    remedy(Scope::Host, summary, &[], commands.into_iter().map(str::to_owned).collect())
}

/// Who may have dropped SYNs or their answers.
fn without_an_answer(findings: &Findings, look: &mut impl FnMut(&'static str, &'static str)) {
    if !findings.plan.both_ends_here {
        look("the listener's counters on the server's machine", "nstat -az TcpExtListenOverflows");
    }
    look("the accept queue (Recv-Q above Send-Q is an overflow)", "ss -ltn");
    if findings.grew(counter::LISTENER_DROPS).is_some() {
        look(
            "a filter on the listener's socket: it dropped packets itself (d of skmem), and its queue was not seen \
             full",
            "ss -ltnm",
        );
    }
    if findings.grew(counter::LINK_DROPPED).is_some() {
        look(
            "the queue before the link, which dropped packets in bursts shorter than a second",
            "tc -s qdisc show",
        );
    }
    look("firewall rules on the way", "sudo nft list ruleset");
    if findings.may_hide_a_filter() {
        look(
            "a run while no other program of this host has packets dropped: filters dropped as many as were lost, and whose \
             they were is not known",
            "",
        );
    }
}

/// Who refused memory to sockets.
fn memory_of_sockets(findings: &Findings, look: &mut impl FnMut(&'static str, &'static str)) {
    if findings.grew(counter::ABORT_ON_MEMORY).is_some() || findings.lost(&["ENOBUFS", "ENOMEM"]).is_some() {
        look("TCP memory and orphans", "cat /proc/net/sockstat /proc/sys/net/ipv4/tcp_mem");
    }
    if findings.lost(&["ENOBUFS", "ENOMEM"]).is_some() {
        look(
            "the memory group that the swarm is in (memory.max, memory.events)",
            "cat \"/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/memory.events\"",
        );
    }
}

/// What an answer to the handshake says that is none of a WebSocket server.
fn no_websocket(findings: &Findings) -> Option<String> {
    let never = findings.connections.verified.is_none_or(|verified| verified == 0);
    let names = findings.names_taken_down();
    let status = names.iter().find_map(|name| name.strip_prefix("handshake-status-"))?;
    let is_another_page = status.starts_with(['2', '3']) || ["404", "405"].contains(&status);
    (never && is_another_page)
        .then(|| format!("The server answered HTTP {status}, not 101: no WebSocket at this path? "))
}

/// What the age of the losses, TCP and the listeners say to somebody who looks on.
fn beside_the_counters(findings: &Findings, look: &mut impl FnMut(&'static str, &'static str)) {
    let closed = findings.lost_later(&findings.names_taken_down()).is_some();
    let refused = findings.names_taken_down().iter().any(|name| name.starts_with("handshake-status-"));
    if findings.is_told_of_a_rate() {
        look(
            "how many a second or a minute the server lets in, of all or of one address: it answered 429 (too many requests); \
             run again at a lower rate",
            "",
        );
    } else if refused {
        look(
            "the server's log of the requests that it refused, and, if it is a proxy, what is behind it",
            "",
        );
    }
    match crate::walls::ages_in_words(findings) {
        Some(_) if closed => look(
            "the server's log at that moment: a heartbeat or idle limit, of its own or of a proxy before it, or one event",
            "",
        ),
        _ if !findings.names_taken_down().is_empty() => {
            look("the server's own log and limits: it closed connections that it had taken", "");
        }
        _ => {}
    }
    let waits = findings.evidence.listeners.is_some_and(|listeners| listeners.waited_at > 0);
    if waits {
        look(
            "why connections wait in the server's accept queue: it takes them slowly, one after the other, or one of its \
             listeners is emptied by nobody",
            "ss -ltn",
        );
    }
    let never_answered = findings.lost_connecting(&["probe-timeout", "handshake-timeout"]).is_some();
    if never_answered && !waits && findings.held_lives() && findings.listener_lives() {
        look(
            "what is behind the server: it takes connections that are never answered while others are, as a proxy does whose \
             upstream, or a server whose pool of workers, stands at a limit",
            "",
        );
    }
    if findings.ports_may_have_been_used_up() {
        look(
            "the source ports of the server's own connections: with those in TIME_WAIT, and those of connections that were \
             lost before they were counted, all of its range were in use; run again a minute later, with a shorter hold",
            "ss -tan state time-wait | wc -l",
        );
    }
    if findings.lost_connecting(&REFUSED[..1]).is_some() && findings.held_lives() {
        look(
            "who refuses while others are held: a rule that counts connections (reject), or a server that closes its listener \
             when it is full",
            "sudo nft list ruleset",
        );
    }
    if findings.evidence.silent.is_some_and(|silent| silent.unacked > 0) {
        look(
            "the way to the server: what was sent is not acknowledged (unacked, backoff), which its kernel would do even if \
             its process were stopped",
            "ss -tino state established | grep -B 1 unacked | head -n 20",
        );
    }
    let unanswered = findings.unanswered_connects().is_some();
    if unanswered && findings.plan.on_one_link | !findings.plan.both_ends_here {
        look(
            "whether the server's machine has a route back to each source (rp_filter drops what has none)",
            "nstat -az TcpExtIPReversePathFilter",
        );
    }
}

/// Sums that a hand-made record cannot make overflow.
trait FailedTotal {
    fn failed_total_saturating(&self) -> u64;
}

impl FailedTotal for c10k_record::Connections {
    fn failed_total_saturating(&self) -> u64 {
        self.failed.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}
