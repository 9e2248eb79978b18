//! Connections that all end at one age: a limit on how long one may be silent, or may live.

use c10k_record::{AgeSpread, Evidence, LossAges, Scope, Side};

use crate::caps::is_taken_down;
use crate::counter;
use crate::findings::Findings;
use crate::wall::{Bite, Guide, Plant, Wall, no_forecast, no_way_back, remedy, seen};

/// So many losses at least are an age that they have in common.
const LEAST: u64 = 10;

pub(super) static WALLS: &[Wall] = &[Wall {
    name: "server-idle-limit",
    title: "the server ends every connection at the same age: a heartbeat or idle limit",
    side: Side::Server,
    process: "the server, or a proxy in front of it",
    hard: true,
    only_alone: false,
    outcomes: &["closed-by-server", "ECONNRESET", "close-1000", "close-1001", "close-1006", "close-1008"],
    read_at: "the server's configuration (keepalive_timeout, proxy_read_timeout, timeout client, timeout tunnel, \
              pingTimeout, idle_timeout), and that of each proxy before it",
    formula: "none: it ends connections however few there are",
    not_there: "losses of all ages (one event, or a cap); a server that ended (server-died)",
    scope: Scope::Process,
    any_command_lifts: true,
    guide: Guide {
        what_it_is: "The server, or a proxy before it, ends a connection on which nothing was said for some time, on \
                     which its heartbeat was not answered, or which is so old.",
        what_you_see: "Connections that were held are closed in good order, each at the same age: 60 s after its last \
                       byte, say. With a hold that is shorter nothing is seen of it.",
        how_to_prove: "The ages at which they were lost lie within a few percent of each other, while the moments do \
                       not. With a word more often than that (--ping-interval) they live, unless it is a limit on their \
                       whole life.",
        how_to_lift: "Say something more often than the limit, answer its heartbeat, or raise the limit.",
        what_not_to_do: "Do not look for a limit on the number: fewer connections end just so.",
        kernel_source: "the server's manual; RFC 6455 section 5.5.2",
    },
    plant: Plant::of_others("a server that closes a connection some seconds after its last byte."),
    predict: no_forecast,
    diagnose: |findings| {
        let ages = findings.evidence.ages.as_ref()?;
        let (since, spread) = one_age(ages)?;
        let names = findings.names_taken_down();
        let lost = findings.lost(&names)?;
        // Most of what was lost must be of that age, and an event is over at once.
        let is_most = spread.count.saturating_mul(10) >= lost.count.saturating_mul(9);
        if !is_most || findings.server_end.is_some() {
            return None;
        }
        if !is_no_event(ages, spread) && !may_be_an_age(findings, (ages, spread), lost.count) {
            return None;
        }
        let mut evidence = vec![age_evidence(since, spread)];
        evidence.extend(ages.at.as_ref().map(|at| {
            let text = format!(
                "nine in ten of them were lost within {:.1} s of each other",
                at.width_ms() as f64 / 1e3
            );
            seen("moments", Side::Swarm, Some(at.width_ms()), text)
        }));
        evidence.extend(findings.lost_evidence(&names));
        let is_orderly = !names.contains(&"ECONNRESET") && names.iter().all(|name| is_taken_down(name));
        match is_orderly && is_no_event(ages, spread) {
            true => Bite::proven(evidence, lost.first_at_ms),
            false => Bite::likely(evidence, lost.first_at_ms),
        }
    },
    met: no_way_back,
    lift: |_, plan| {
        let commands = if plan.websocket {
            vec![plan.again_with(&[("--ping-interval", "1s")])]
        } else {
            vec![plan.again_with(&[("--hold", "1s")])]
        };
        remedy(
            Scope::Process,
            "Look for that time in the configuration of the server and of each proxy before it (nginx: proxy_read_timeout; \
             HAProxy: timeout client, server, tunnel; Socket.IO: pingInterval + pingTimeout), and raise it there, or have \
             the clients say something more often than that. A shorter hold, or pings, tell whether it is that.",
            &[],
            commands,
        )
    },
}];

/// What the age is counted from that all have in common, and how it is spread.
fn one_age(ages: &LossAges) -> Option<(&'static str, &AgeSpread)> {
    let is_one = |spread: &&AgeSpread| spread.count >= LEAST && spread.is_one_age();
    let by_byte = ages.since_last_byte.as_ref().filter(is_one);
    let by_connect = ages.since_connect.as_ref().filter(is_one);
    match (by_byte, by_connect) {
        (Some(spread), Some(other)) if other.width_ms() < spread.width_ms() => {
            Some(("they were connected", other))
        }
        (Some(spread), _) => Some(("the last byte was sent on them", spread)),
        (None, spread) => spread.map(|spread| ("they were connected", spread)),
    }
}

/// Whether what was lost at one moment may have been so by its age, which all had: the server says nothing itself and lives
/// on, nobody of that age is held, and the kernel reset nobody for want of memory.
fn may_be_an_age(findings: &Findings, (ages, spread): (&LossAges, &AgeSpread), lost: u64) -> bool {
    findings.server.is_none()
        && findings.listener_lives()
        && findings.connections.held.saturating_mul(10) <= lost
        && findings.grew(counter::ABORT_ON_MEMORY).is_none()
        && !is_an_event(ages, spread)
}

/// Whether the moments lie so much closer together than the ages that one event ended them: those whose age is one end as
/// far apart as they began. Only the ends of both are known exactly.
fn is_an_event(ages: &LossAges, spread: &AgeSpread) -> bool {
    let range_ms = |spread: &AgeSpread| spread.max_ms.saturating_sub(spread.min_ms);
    ages.at.as_ref().is_some_and(|at| range_ms(at).saturating_mul(2) < range_ms(spread))
}

/// Whether the moments lie so far apart that the ages do not: one event would have made the ages differ.
fn is_no_event(ages: &LossAges, spread: &AgeSpread) -> bool {
    ages.at.as_ref().is_some_and(|at| at.width_ms() >= spread.width_ms().saturating_mul(4).max(500))
}

fn age_evidence(since: &str, spread: &AgeSpread) -> Evidence {
    let seconds = |ms: u64| ms as f64 / 1e3;
    let text = format!(
        "connections were lost {:.1} s after {since}, nine in ten of them between {:.1} and {:.1} s",
        seconds(spread.p50_ms),
        seconds(spread.p5_ms),
        seconds(spread.p95_ms)
    );
    seen("age", Side::Server, Some(spread.count), text)
}

/// What the ages say where they prove no limit: for people who look on.
pub(crate) fn ages_in_words(findings: &Findings) -> Option<String> {
    let ages = findings.evidence.ages.as_ref()?;
    let at = ages.at.as_ref().filter(|at| at.count >= LEAST)?;
    if at.is_one_age() {
        let text = "all of them within a moment: one event, or a limit on an age which all had reached at once (a server's \
                    heartbeat or idle limit, a restart behind a proxy)";
        return Some(text.to_owned());
    }
    one_age(ages).map(|(since, spread)| format!("each {:.1} s after {since}", spread.p50_ms as f64 / 1e3))
}
