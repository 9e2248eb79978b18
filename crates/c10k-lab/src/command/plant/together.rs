//! Two plants in one run: which can bite in one, in which order, and why the others cannot.

use c10k_ceiling::Wall;
use c10k_plan::stage::{EndLimits, Stage};
use c10k_record::Span;

use super::{Failed, Frame, PATIENCE, Planted};
use crate::rerun::Setup;

/// Where a plant stands, for what stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// Before the server: no connection comes about.
    Before,
    /// At the swarm, which begins no more.
    Swarm,
    /// At the server, which takes no more.
    Full,
    /// At the server, which is stopped or gone.
    Gone,
    /// On the way in: some arrive and some do not.
    Way,
    /// At either end, which is slow.
    Slow,
    /// In the answers: there are none.
    Mute,
    /// In a verdict alone.
    Verdict,
    /// Nowhere in the way: no connection is lost to it, and none is late.
    Aside,
}

/// Each wall with those that are named after it when both stand in one run. A connection that waits in vain counts from when
/// its wait began, so what makes it wait comes before what stops the swarm a little later. What cost its first connection
/// at a moment that is not known, as `threads` does, is named last.
static NAMED_BEFORE: [(&str, &[&str]); 17] = [
    ("nofile-swarm", AFTER_THE_SWARM),
    ("ports-exhausted", AFTER_THE_SWARM),
    ("ports-reserved", AFTER_THE_SWARM),
    ("time-wait-ports", AFTER_THE_SWARM),
    ("nofile-server", AFTER_FULL),
    ("server-max-connections", AFTER_FULL),
    (
        "accept-queue",
        &[
            "nofile-swarm",
            "ports-exhausted",
            "ports-reserved",
            "server-died",
            "conntrack",
            "bandwidth",
            "cgroup-memory",
            "threads",
        ],
    ),
    ("syn-queue", &["nofile-swarm", "conntrack", "threads"]),
    (
        "server-stopped-accepting",
        &["nofile-swarm", "ports-exhausted", "ports-reserved", "conntrack", "bandwidth", "threads"],
    ),
    (
        "conntrack",
        &["nofile-swarm", "ports-exhausted", "ports-reserved", "server-died", "bandwidth", "threads"],
    ),
    ("firewall-drop", &["nofile-swarm", "ports-exhausted", "ports-reserved", "threads"]),
    ("bandwidth", &["nofile-swarm", "ports-exhausted", "ports-reserved", "server-died", "threads"]),
    (
        "not-an-echo-server",
        &[
            "nofile-swarm",
            "ports-exhausted",
            "ports-reserved",
            "time-wait-ports",
            "accept-queue",
            "conntrack",
            "bandwidth",
            "threads",
        ],
    ),
    ("server-died", &["threads"]),
    ("threads", &["cpu-server", "cpu-swarm"]),
    ("latency-verdict", &["error-verdict", "swarm-late"]),
    ("error-verdict", &["swarm-late"]),
];

const AFTER_THE_SWARM: &[&str] = &["server-died", "cpu-server", "cpu-swarm"];
const AFTER_FULL: &[&str] = &[
    "nofile-swarm",
    "ports-exhausted",
    "ports-reserved",
    "time-wait-ports",
    "server-died",
    "conntrack",
    "bandwidth",
    "not-an-echo-server",
    "threads",
];

fn is_first(first: &Planted, then: &Planted) -> bool {
    NAMED_BEFORE.iter().any(|(wall, after)| *wall == first.wall && after.contains(&then.wall))
}

/// Puts two plants into the order in which they bite.
///
/// # Errors
/// Why they cannot be met in one run.
pub(super) fn sort(plants: &mut [(&'static Wall, &'static Planted)]) -> Result<(), Failed> {
    let [one, two] = plants else { return Ok(()) };
    if is_first(two.1, one.1) {
        std::mem::swap(one, two);
    } else if !is_first(one.1, two.1) {
        let (one, two) = (one.1, two.1);
        let why = why_not(one, two);
        let message = format!("{} and {} cannot be met in one run: {why}", one.wall, two.wall);
        let by_itself = format!("plant each by itself: c10k-lab walls plant {}", one.wall);
        return Err(Failed::text(message, by_itself));
    }
    Ok(())
}

/// What keeps one of them from biting, or from being told from the other.
fn why_not(one: &Planted, two: &Planted) -> String {
    use Stands::{Aside, Before, Full, Gone, Mute, Slow, Swarm, Verdict, Way};
    if one.wall == two.wall {
        return "it can be planted once".to_owned();
    }
    // The one that stands there, and the other.
    let at = |stands| match (one.stands == stands, two.stands == stands) {
        (true, _) => Some((one.wall, two.wall)),
        (_, true) => Some((two.wall, one.wall)),
        _ => None,
    };
    let named = |wall| match [one.wall, two.wall] {
        [first, other] if first == wall => Some(other),
        [other, last] if last == wall => Some(other),
        _ => None,
    };
    if let Some(other) = named("path-loss") {
        return format!(
            "path-loss takes a link between two namespaces, and {other} is planted over loopback"
        );
    }
    if let Some((aside, _)) = at(Aside) {
        return format!("no connection is lost to {aside}, so it is named only where none is lost at all");
    }
    if let Some(other) = named("source-address-gone") {
        return format!(
            "source-address-gone silences connections that are open, and what {other} does to them cannot be told from \
             that"
        );
    }
    if let Some((verdict, _)) = at(Verdict) {
        return format!("{verdict} is named only where no other wall is proven");
    }
    match (one.stands, two.stands) {
        (Before, Before) => {
            return "each keeps every connection from the server, and leaves the other none".to_owned();
        }
        (Swarm, Swarm) => {
            return "the swarm stops at the first that it meets, and never comes to the other".to_owned();
        }
        (Slow, Slow) => {
            return "the end that is slower keeps the other from being busy".to_owned();
        }
        (Full | Gone, Full | Gone) => {
            return "the server takes no more at the first that it meets, and never comes to the other"
                .to_owned();
        }
        _ => {}
    }
    if let Some((before, other)) = at(Before) {
        return format!("{before} lets no connection come about, and {other} is met only where some do");
    }
    if let Some((slow, other)) = at(Slow) {
        return format!(
            "{slow} is told by answers that are late, and {other} leaves connections without any or as late"
        );
    }
    if let Some(other) = named("time-wait-ports") {
        return format!(
            "time-wait-ports is told by open connections on all ports that TIME_WAIT leaves, and {other} lets fewer \
             come about"
        );
    }
    if let (Some((_, gone)), Some(_)) = (at(Mute), at(Gone)) {
        return format!(
            "a server that is dead or stopped ({gone}) cannot say that it had taken what it did not answer"
        );
    }
    if let Some(other) = named("cgroup-memory") {
        return format!("cgroup-memory takes hundreds of connections, and {other} lets fewer come about");
    }
    if let (Way, Full | Gone) | (Full | Gone, Way) = (one.stands, two.stands)
        && let Some((way, other)) = at(Way)
    {
        return format!("what is seen of {way} is then the doing of {other}");
    }
    String::new()
}

/// The run in which these plants stand.
pub(super) fn setup(plants: &[&'static Planted]) -> Setup {
    let target = plants.iter().map(|planted| planted.least).max().unwrap_or(1);
    let frame = Frame { target, is_shared: plants.len() > 1 };
    plants.iter().map(|planted| (planted.setup)(&frame)).reduce(both).unwrap_or_default()
}

/// What both want. Where they want different times, one that a plant has chosen stands above what all have; of two that
/// were chosen, a connect has the shorter one and an echo the longer one.
fn both(mut one: Setup, other: Setup) -> Setup {
    // Whole, so that what a setup and a stage come to have is not left out here.
    let Setup {
        target,
        name,
        extends,
        takes_in,
        flags,
        verdicts,
        sysctls,
        backlog,
        nofile_hard,
        stage:
            Stage {
                server,
                swarm,
                place,
                towards,
                noise,
                acts,
                only_to_the_wall,
                keeps_a_reserve,
                watches_apart,
                read_back,
                told_profile,
            },
        metrics,
    } = other;
    one.target = one.target.max(target);
    one.name = one.name.or(name);
    one.extends = one.extends.or(extends);
    one.takes_in = one.takes_in.or(takes_in);
    for (name, value) in flags {
        let stands = one.flags.get(&name).filter(|stands| **stands != PATIENCE);
        let wins = match (stands, name.as_str()) {
            (None, _) => true,
            (Some(_), _) if value == PATIENCE => false,
            (Some(stands), "--connect-timeout") => span(&value) < span(stands),
            (Some(stands), _) => span(&value) > span(stands),
        };
        if wins {
            one.flags.insert(name, value);
        }
    }
    let new = verdicts.into_iter().filter(|verdict| !one.verdicts.contains(verdict));
    one.verdicts.extend(new.collect::<Vec<_>>());
    one.sysctls.extend(sysctls);
    one.backlog = [one.backlog, backlog].into_iter().flatten().min();
    one.nofile_hard |= nofile_hard;
    one.metrics = one.metrics.or(metrics);
    let stage = &mut one.stage;
    for (end, more) in [(&mut stage.server, server), (&mut stage.swarm, swarm)] {
        add_limits(end, more);
    }
    stage.place.extend(place);
    stage.towards = stage.towards.or(towards);
    stage.noise.extend(noise);
    stage.acts.extend(acts);
    stage.only_to_the_wall |= only_to_the_wall;
    stage.keeps_a_reserve |= keeps_a_reserve;
    stage.watches_apart |= watches_apart;
    stage.read_back |= read_back;
    stage.told_profile = stage.told_profile.take().or(told_profile);
    one
}

fn add_limits(end: &mut EndLimits, more: EndLimits) {
    let EndLimits { one_table, nofile, more_threads, flags, uid, groups } = more;
    end.one_table |= one_table;
    end.nofile = end.nofile.or(nofile);
    end.more_threads = end.more_threads.or(more_threads);
    end.flags.extend(flags);
    end.uid = end.uid.or(uid);
    end.groups.extend(groups);
}

fn span(text: &str) -> Span {
    text.parse().unwrap_or(Span::secs(0))
}

#[cfg(test)]
mod tests {
    use super::super::{GROUPS, planted};
    use super::*;

    fn plant(name: &str) -> &'static Planted {
        planted(name).unwrap_or_else(|| panic!("{name} is not planted"))
    }

    #[test]
    fn of_every_two_plants_it_is_said_which_bites_first_or_why_they_cannot_bite_in_one_run() {
        let all: Vec<&Planted> = GROUPS.iter().copied().flatten().collect();
        for (at, one) in all.iter().enumerate() {
            for two in &all[at..] {
                let orders = [is_first(one, two), is_first(two, one)].iter().filter(|is| **is).count();
                let why = why_not(one, two);
                let is_told = if orders == 0 { why.len() > 20 } else { orders == 1 };
                assert!(is_told, "{} and {}: {orders} orders, '{why}'", one.wall, two.wall);
            }
        }
    }

    #[test]
    fn every_row_is_of_walls_that_are_planted_each_once() {
        for (at, (first, then)) in NAMED_BEFORE.iter().enumerate() {
            plant(first);
            assert!(NAMED_BEFORE[..at].iter().all(|(earlier, _)| earlier != first), "{first}");
            for (at, name) in then.iter().enumerate() {
                plant(name);
                assert!(!then[..at].contains(name), "{first}: {name}");
            }
        }
    }

    #[test]
    fn two_plants_in_one_run_keep_what_each_needs() {
        let run = setup(&[plant("ports-exhausted"), plant("server-died")]);
        assert_eq!(run.target, 600);
        assert!(run.sysctls.contains_key("net.ipv4.ip_local_port_range"));
        assert_eq!(run.stage.acts.len(), 1);
        assert_eq!(run.stage.swarm.flags["--target"], "1");
        let run = setup(&[plant("latency-verdict"), plant("error-verdict")]);
        assert_eq!(run.verdicts, ["echo_p95 <= 1h", "echo_p95 <= 1us"]);
    }

    #[test]
    fn a_time_that_a_plant_has_chosen_stands_above_what_all_have() {
        let flags = |one, two| setup(&[plant(one), plant(two)]).flags;
        let of_queue = flags("nofile-swarm", "accept-queue");
        assert_eq!(
            (of_queue["--connect-timeout"].as_str(), of_queue["--probe-timeout"].as_str()),
            ("600ms", PATIENCE)
        );
        for (one, two) in
            [("bandwidth", "server-stopped-accepting"), ("server-stopped-accepting", "bandwidth")]
        {
            let both = flags(one, two);
            assert_eq!(
                (both["--connect-timeout"].as_str(), both["--probe-timeout"].as_str()),
                ("600ms", "8s")
            );
        }
    }
}
