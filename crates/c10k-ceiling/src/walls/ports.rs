//! Source ports: how many a source has to a destination, and who else holds them.

use c10k_record::{Evidence, GrowthStop, HostSnapshot, PortsInPlan, Remedy, Scope, Side, human_count};

use crate::counter;
use crate::findings::Findings;
use crate::plan_view::PlanView;
use crate::wall::{Bite, Forecast, Guide, Plant, Wall, no_way_back, remedy, seen};

pub(super) static WALLS: &[Wall] = &[
    Wall {
        name: "ports-exhausted",
        title: "no source port is left to this destination",
        side: Side::Swarm,
        process: "the swarm",
        hard: true,
        only_alone: false,
        outcomes: &["no-ports", "EADDRNOTAVAIL", "EADDRINUSE"],
        read_at: "/proc/sys/net/ipv4/ip_local_port_range",
        formula: "source addresses × ports of the window × destinations (server address and port)",
        not_there: "sockets in TIME_WAIT that hold the missing ports (time-wait-ports), reserved ports that \
                    would have sufficed (ports-reserved), a source that is not on this machine any more \
                    (source-address-gone)",
        scope: Scope::Namespace,
        any_command_lifts: true,
        guide: Guide {
            what_it_is: "A connection is (source address, source port, destination address, destination \
                         port), and must be the only one of its kind. With one source and one destination \
                         there are as many as there are ports: 28,232 by default, 64,512 at most without \
                         privilege.",
            what_you_see: "EADDRNOTAVAIL (cannot assign requested address) from connect() at a round number, \
                           most often 28,232; EADDRINUSE (address already in use) where the program binds \
                           its ports. Long before that, connects become slow: the kernel searches for a free \
                           port.",
            how_to_prove: "ss -tan state established | awk '{print $4, $5}': the connections of one source \
                           address to one destination equal the size of ip_local_port_range.",
            how_to_lift: "More source addresses (any of 127.0.0.0/8 towards loopback, no privilege needed), \
                          a wider range, more server ports or addresses. c10k-swarm takes more of \
                          127.0.0.0/8 by itself.",
            what_not_to_do: "Do not believe in 65,535 connections a server: the limit is for one source to \
                             one destination. Do not mix programs that bind ports explicitly with those that \
                             let the kernel choose: an explicit port is closed to the kernel's choice for \
                             every other source.",
            kernel_source: "net/ipv4/inet_hashtables.c: __inet_hash_connect; ip-sysctl.rst; ip(7): \
                            IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE",
        },
        plant: Plant::in_a_namespace(
            "a window of a few hundred ports, one source, one destination, and a swarm that is told to make \
             more.",
        ),
        predict: |host, plan| {
            let plan = &with_its_pool(plan);
            let reserved = plan.reserved(host) > 0 && target_fits_unreserved(host, plan);
            if reserved || pool_suffices(host, plan) {
                None
            } else {
                Some(Forecast::exact(capacity(host, plan)?, port_space(host, plan)?))
            }
        },
        diagnose: |findings| {
            let short = Short::of(findings)?;
            if short.waits(findings) || reserved_took_them(findings) {
                return None;
            }
            let mut evidence = short.evidence(findings);
            let (host, plan) = (&findings.host, &findings.plan);
            let needed = addresses_needed(plan, plan.ports_per_pair(host));
            if let Some(needed) = needed.filter(|needed| *needed > plan.sources) {
                let text = format!(
                    "source addresses needed for {}: {}; used: {}",
                    human_count(plan.target),
                    human_count(needed),
                    human_count(plan.sources)
                );
                evidence.push(seen("source addresses", Side::Swarm, Some(needed), text));
            }
            Bite::proven(evidence, short.at_ms)
        },
        met: no_way_back,
        lift: lift_ports,
    },
    Wall {
        name: "ports-reserved",
        title: "the ports that are left are reserved for others",
        side: Side::Swarm,
        process: "the swarm",
        hard: true,
        only_alone: false,
        outcomes: &["no-ports", "EADDRNOTAVAIL"],
        read_at: "/proc/sys/net/ipv4/ip_local_reserved_ports",
        formula: "source addresses × (ports of the window − reserved ones) × destinations",
        not_there: "a window that is too small even without the reservation (ports-exhausted)",
        scope: Scope::Namespace,
        any_command_lifts: true,
        guide: Guide {
            what_it_is: "Ports that the kernel never chooses by itself, so that a service which starts later \
                         finds its port free. Some distributions and container platforms reserve thousands, \
                         and nobody remembers.",
            what_you_see: "EADDRNOTAVAIL (cannot assign requested address) before the size of \
                           ip_local_port_range is reached.",
            how_to_prove: "sysctl net.ipv4.ip_local_reserved_ports names ports within ip_local_port_range, \
                           and without them there would have been enough.",
            how_to_lift: "Shorten the list, widen the range, use more source addresses, or bind the ports \
                          explicitly: an explicit bind is allowed.",
            what_not_to_do: "Do not empty the list on a machine that is not yours: somebody may rely on it.",
            kernel_source: "net/ipv4/inet_hashtables.c: inet_is_local_reserved_port in __inet_hash_connect; \
                            ip-sysctl.rst",
        },
        plant: Plant::in_a_namespace(
            "a window of a few hundred ports of which half are reserved, one source, and a swarm that needs \
             more than the rest.",
        ),
        predict: |host, plan| {
            let plan = &with_its_pool(plan);
            let reserved = plan.reserved(host);
            (reserved > 0 && target_fits_unreserved(host, plan)).then(|| {
                let now = format!(
                    "net.ipv4.ip_local_reserved_ports takes {} of them: {}",
                    human_count(reserved),
                    port_space(host, plan).unwrap_or_default()
                );
                Some(Forecast::exact(capacity(host, plan)?, now))
            })?
        },
        diagnose: |findings| {
            let short = Short::of(findings)?;
            if short.waits(findings) || !reserved_took_them(findings) {
                return None;
            }
            let mut evidence = short.evidence(findings);
            let text = "ports within the window that net.ipv4.ip_local_reserved_ports keeps; without it there \
                        would have been enough";
            let reserved = findings.plan.reserved(&findings.host);
            evidence.push(seen("net.ipv4.ip_local_reserved_ports", Side::Swarm, Some(reserved), text));
            Bite::proven(evidence, short.at_ms)
        },
        met: no_way_back,
        lift: |host, plan| {
            let mut settings = vec![("sysctl.net.ipv4.ip_local_reserved_ports", String::new())];
            let mut commands = vec!["sudo sysctl -w net.ipv4.ip_local_reserved_ports=".to_owned()];
            if let Some(ips) = plan.ips_for(more_addresses(plan, plan.ports_per_pair(host), 0)) {
                commands.push(plan.again_with(&[("--ips", &ips)]));
                settings.push(("--ips", ips));
            }
            let text = "Shorten the list of reserved ports (sysctl net.ipv4.ip_local_reserved_ports shows it), or \
                        use more source addresses.";
            remedy(Scope::Namespace, text, &settings, commands)
        },
    },
    Wall {
        name: "time-wait-ports",
        title: "TIME_WAIT holds the source ports of connections that are gone",
        side: Side::Swarm,
        process: "the swarm",
        hard: true,
        only_alone: false,
        outcomes: &["no-ports", "EADDRNOTAVAIL", "EADDRINUSE"],
        read_at: "/proc/net/sockstat, `tw`; ss -tan state time-wait",
        formula: "source addresses × ports of the window × destinations − sockets in TIME_WAIT towards the server, for \
                  60 s; where tcp_tw_reuse and tcp_timestamps let a port be used again, those of the last second alone",
        not_there: "open connections that take all ports by themselves (ports-exhausted)",
        scope: Scope::Namespace,
        any_command_lifts: true,
        guide: Guide {
            what_it_is: "The end that closes first keeps the connection's four numbers for 60 s (TIME_WAIT), \
                         so that late segments do no harm. When that is the client, each closed connection \
                         holds its port.",
            what_you_see: "EADDRNOTAVAIL (cannot assign requested address) in a wave of reconnects, gone \
                           after a minute.",
            how_to_prove: "sockstat `tw` plus the open connections equal the ports there are.",
            how_to_lift: "Wait 60 s, let the server close first, close by RST (--close rst), use more source \
                          addresses, or tcp_tw_reuse = 1, which gives a port out again after a second. Its \
                          default, 2, does so on loopback alone, and neither does anything where \
                          tcp_timestamps is 0, nor for a connection that was made without timestamps.",
            what_not_to_do: "tcp_fin_timeout does not shorten TIME_WAIT (it is FIN_WAIT_2's); tcp_tw_recycle \
                             is gone since Linux 4.12; lowering tcp_max_tw_buckets only hides it, at the \
                             price of connections that take old segments for their own.",
            kernel_source: "include/net/tcp.h: TCP_TIMEWAIT_LEN; net/ipv4/tcp_ipv4.c: tcp_twsk_unique",
        },
        plant: Plant::in_a_namespace(
            "a small window of ports, closed from the client's side a moment before the swarm begins, with \
             tcp_tw_reuse = 0.",
        ),
        predict: |host, plan| {
            let plan = &with_its_pool(plan);
            let waiting = host.time_wait.filter(|waiting| *waiting > 0)?;
            let left = capacity(host, plan)?.saturating_sub(waiting);
            if are_used_again(host, plan) || plan.pool.is_some() && left >= plan.target {
                return None;
            }
            let now = format!(
                "{}, less {} in TIME_WAIT ({}), each for up to 60 s",
                port_space(host, plan)?,
                human_count(waiting),
                why_kept(host)
            );
            Some(Forecast::exact(left, now))
        },
        diagnose: |findings| {
            let short = Short::of(findings)?;
            if !short.waits(findings) {
                return None;
            }
            let mut evidence = short.evidence(findings);
            let text = "sockets in TIME_WAIT (sockstat tw), each holding a port for 60 s";
            evidence.extend(findings.counter_evidence(counter::TIME_WAIT, Side::Swarm, text));
            let host = &findings.host;
            let waiting = host.time_wait.filter(|waiting| *waiting > 0);
            evidence.extend(waiting.map(|count| {
                let text = format!("of them towards the server before the run began ({})", why_kept(host));
                seen("TIME_WAIT", Side::Swarm, Some(count), text)
            }));
            Bite::proven(evidence, short.at_ms)
        },
        met: no_way_back,
        lift: |host, plan| {
            let mut settings = Vec::new();
            let mut commands = Vec::new();
            // More addresses help at once, whatever waits.
            let waiting = host.time_wait.unwrap_or(0);
            let ips = plan.ips_for(more_addresses(plan, plan.ports_per_pair(host), waiting));
            commands.extend(ips.map(|ips| plan.again_with(&[("--ips", &ips)])));
            if are_used_again(host, plan) {
                commands.insert(0, format!("sleep 1; {}", plan.again_with(&[])));
                let text = format!(
                    "Wait a second ({}: a port that has waited so long is used again), close by RST (--close rst), or \
                     add source addresses.",
                    why_kept(host)
                );
                return remedy(Scope::Namespace, text, &[], commands);
            }
            let mut text = "Wait 60 s, close by RST (--close rst), add source addresses, or let new connections use the \
                            ports again after a second"
                .to_owned();
            if host.timestamps == Some(0) {
                settings.push(("sysctl.net.ipv4.tcp_timestamps", "1".to_owned()));
                text.push_str(
                    " (tcp_tw_reuse, which does nothing without tcp_timestamps; what waits already was made without \
                     them and waits its 60 s)",
                );
            }
            if host.tw_reuse != Some(1) {
                settings.push(("sysctl.net.ipv4.tcp_tw_reuse", "1".to_owned()));
            }
            // Neither does anything without the other, so that they are one line.
            let both = settings
                .iter()
                .filter_map(|(key, value)| Some(format!("{}={value}", key.strip_prefix("sysctl.")?)));
            let both: Vec<String> = both.collect();
            if !both.is_empty() {
                commands.push(format!("sudo sysctl -w {}", both.join(" ")));
            }
            if commands.is_empty() {
                commands.push(format!("sleep 60; {}", plan.again_with(&[])));
            }
            text.push_str(". tcp_fin_timeout does not shorten TIME_WAIT.");
            remedy(Scope::Namespace, text, &settings, commands)
        },
    },
];

/// 1024–65535, the widest window that needs no privilege.
const WIDEST: u64 = 64_512;

/// Whether a new connection may take a port in TIME_WAIT that is a second old (net/ipv4/tcp_ipv4.c,
/// `tcp_twsk_unique`). Where a setting could not be read it is as the kernel sets it.
fn are_used_again(host: &HostSnapshot, plan: &PlanView) -> bool {
    let is_loopback = plan.both_ends_here && !plan.on_one_link;
    host.timestamps.unwrap_or(1) != 0
        && match host.tw_reuse.unwrap_or(2) {
            0 => false,
            2 => is_loopback,
            _ => true,
        }
}

fn why_kept(host: &HostSnapshot) -> String {
    let number = |value: Option<u64>| value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
    format!("tcp_tw_reuse = {}, tcp_timestamps = {}", number(host.tw_reuse), number(host.timestamps))
}

/// A plan whose swarm takes further source addresses by itself, with all that it can take.
fn with_its_pool(plan: &PlanView) -> PlanView {
    PlanView { sources: plan.sources.max(plan.pool.unwrap_or(0)), ..plan.clone() }
}

/// Whether ports bound nothing: the swarm takes as many source addresses as the target needs.
fn pool_suffices(host: &HostSnapshot, plan: &PlanView) -> bool {
    plan.pool.is_some() && capacity(host, plan).is_some_and(|capacity| capacity >= plan.target)
}

/// Sources × ports × destinations.
fn capacity(host: &HostSnapshot, plan: &PlanView) -> Option<u64> {
    Some(plan.ports_per_pair(host)?.saturating_mul(plan.sources).saturating_mul(plan.destinations))
}

/// The same in words.
fn port_space(host: &HostSnapshot, plan: &PlanView) -> Option<String> {
    let (low, high) = plan.source_ports.or(host.port_range)?;
    Some(format!(
        "{} source address{} × {} ports ({low}-{high}) × {} destination{} (server address and port)",
        human_count(plan.sources),
        if plan.sources == 1 { "" } else { "es" },
        human_count(plan.ports_per_pair(host)?),
        human_count(plan.destinations),
        if plan.destinations == 1 { "" } else { "s" }
    ))
}

/// A swarm that stopped growing because no tuple of its plan was left. It counts its tuples itself, so no errno says so;
/// what the kernel refused on the way is among them.
struct Short {
    /// How they stood; `None` in older records.
    ports: Option<PortsInPlan>,
    at_ms: Option<u64>,
}

impl Short {
    fn of(findings: &Findings) -> Option<Self> {
        let evidence = findings.growth_evidence.as_ref();
        let is_short = findings.growth_stopped == Some(GrowthStop::NoPorts);
        is_short.then(|| Self {
            ports: evidence.and_then(|evidence| evidence.ports),
            at_ms: evidence.map(|evidence| evidence.at_ms),
        })
    }

    /// How many of the tuples TIME_WAIT keeps: those that the swarm has closed itself, and of those that the kernel
    /// refused as many as waited before the run began.
    fn in_time_wait(&self, findings: &Findings) -> u64 {
        let Some(ports) = self.ports else { return 0 };
        // Those towards the server where they were counted, else all of the namespace.
        let all = || Some(findings.counter(counter::TIME_WAIT)?.before);
        let before = findings.host.time_wait.or_else(all).unwrap_or(0);
        ports.time_wait.saturating_add(ports.taken.min(before))
    }

    /// Whether it is TIME_WAIT, more than anything else, that keeps the tuples that are not in use. Where all of the plan
    /// are fewer than are wanted it must keep more than are in use, too: else they are too few whether it does or not.
    fn waits(&self, findings: &Findings) -> bool {
        let waiting = self.in_time_wait(findings);
        let Some(ports) = self.ports.filter(|_| waiting > 0) else { return false };
        let missing = ports.time_wait.saturating_add(ports.taken);
        let is_enough = ports.planned >= findings.connections.target.max(findings.plan.target);
        waiting.saturating_mul(2) >= missing && (is_enough || waiting >= ports.in_use)
    }

    fn evidence(&self, findings: &Findings) -> Vec<Evidence> {
        let (host, plan) = (&findings.host, &findings.plan);
        let space = port_space(host, plan).map_or_else(String::new, |space| format!(": {space}"));
        let of_swarm = |source, count, text: String| seen(source, Side::Swarm, count, text);
        let Some(ports) = self.ports else {
            let text = format!("the swarm found no source port of its plan left{space}");
            return vec![of_swarm("growth_stopped", findings.capacity, text)];
        };
        let (all, in_use) = (human_count(ports.planned), human_count(ports.in_use));
        let text = if ports.in_use == ports.planned {
            format!("the plan's {all} tuples are all in use{space}")
        } else {
            format!("of the plan's {all} tuples {in_use} are in use{space}")
        };
        let mut evidence = vec![of_swarm("source ports", Some(ports.in_use), text)];
        if ports.time_wait > 0 {
            let count = human_count(ports.time_wait);
            let text = format!(
                "{count} tuples that the swarm closed by FIN a minute ago or less: TIME_WAIT keeps them"
            );
            evidence.push(of_swarm("TIME_WAIT", Some(ports.time_wait), text));
        }
        if ports.taken > 0 {
            let errnos = if plan.explicit_ports { "EADDRINUSE or EADDRNOTAVAIL" } else { "EADDRNOTAVAIL" };
            let text = format!(
                "{} tuples that the kernel refused ({errnos}): a listener, another program, or a TIME_WAIT that is not \
                 the swarm's holds them",
                human_count(ports.taken)
            );
            evidence.push(of_swarm("ports taken", Some(ports.taken), text));
        }
        evidence
    }
}

/// Whether the target would fit if no port were reserved.
fn target_fits_unreserved(host: &HostSnapshot, plan: &PlanView) -> bool {
    let (Some(ports), Some(now)) = (plan.ports_per_pair(host), capacity(host, plan)) else { return false };
    let all = ports.saturating_add(plan.reserved(host));
    let without = all.saturating_mul(plan.sources).saturating_mul(plan.destinations);
    now < plan.target && without >= plan.target
}

/// Whether it was the reservation that made the ports too few.
fn reserved_took_them(findings: &Findings) -> bool {
    findings.plan.reserved(&findings.host) > 0 && target_fits_unreserved(&findings.host, &findings.plan)
}

/// Source addresses that `target` needs with that many ports each.
fn addresses_needed(plan: &PlanView, ports: Option<u64>) -> Option<u64> {
    let each = ports?.saturating_mul(plan.destinations);
    (each > 0).then(|| plan.target.div_ceil(each))
}

/// Source addresses for the target beside `waiting` tuples that are not to be had, more than there are: where the
/// arithmetic says that there are enough, somebody else holds some of them.
fn more_addresses(plan: &PlanView, ports: Option<u64>, waiting: u64) -> u64 {
    let all = PlanView { target: plan.target.saturating_add(waiting), ..plan.clone() };
    addresses_needed(&all, ports).unwrap_or(0).max(plan.sources.saturating_add(1))
}

fn lift_ports(host: &HostSnapshot, plan: &PlanView) -> Remedy {
    let ports = plan.ports_per_pair(host);
    let mut settings = Vec::new();
    let mut commands = Vec::new();
    let mut ways = Vec::new();
    if ports.is_some_and(|ports| ports > 0) && plan.destinations > 0 {
        let needed = more_addresses(plan, ports, 0);
        ways.push(format!("use {} source addresses", human_count(needed)));
        if let Some(ips) = plan.ips_for(needed) {
            let ports = plan.source_ports.filter(|window| Some(*window) != host.port_range);
            let ports = ports.map(|(first, last)| format!("{first}-{last}"));
            let mut changed = vec![("--ips", ips.as_str())];
            changed.extend(ports.as_deref().map(|ports| ("--ports", ports)));
            commands.push(plan.again_with(&changed));
            settings.push(("--ips", ips));
        }
    }
    // A few of the widest range may be reserved, or the server's own.
    let window = plan.source_ports.or(host.port_range);
    let is_widest = window.is_some_and(|(first, last)| first <= 1024 && last == u16::MAX);
    if !is_widest {
        let with_widest = addresses_needed(plan, Some(WIDEST));
        let addresses = with_widest.map_or_else(String::new, |needed| {
            let addresses = if needed == 1 { "address" } else { "addresses" };
            format!(", which leaves {} {addresses} needed", human_count(needed))
        });
        // A line that does not suffice by itself is none of several that each do.
        let suffices = with_widest.is_none_or(|needed| needed <= plan.sources);
        let is_a_way = suffices || commands.is_empty();
        // What is below 1024 already stays.
        let low = window.map_or(1024, |(first, _)| first.min(1024));
        ways.push(format!("widen the port range to {low}-65535{addresses}"));
        if plan.explicit_ports && plan.source_ports.is_some() {
            let ports = format!("{low}-65535");
            commands.extend(is_a_way.then(|| plan.again_with(&[("--ports", &ports)])));
            settings.push(("--ports", ports));
        } else {
            let range = format!("{low} 65535");
            let line = format!("sudo sysctl -w net.ipv4.ip_local_port_range=\"{range}\"");
            commands.extend(is_a_way.then_some(line));
            settings.push(("sysctl.net.ipv4.ip_local_port_range", range));
        }
    }
    ways.push("let the server listen on more ports or addresses".to_owned());
    if commands.is_empty() {
        // Which addresses there are to take is all that can be looked up.
        commands.push("ip -brief address show".to_owned());
    }
    let mut summary = ways.join(", or ");
    summary[..1].make_ascii_uppercase();
    summary.push('.');
    remedy(Scope::Namespace, summary, &settings, commands)
}
