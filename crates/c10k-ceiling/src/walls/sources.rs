//! The source addresses themselves: whether they are still there.

use c10k_record::{Evidence, Scope, Side, human_count};

use crate::findings::Findings;
use crate::wall::{Bite, Guide, Plant, Wall, no_forecast, no_way_back, remedy, seen};

/// Outcomes of connections whose source was taken away after they were made: what the server answers has no way any more.
const SILENCED: [&str; 4] = ["probe-timeout", "unproven", "connect-timeout", "ETIMEDOUT"];

pub(super) static WALLS: &[Wall] = &[Wall {
    name: "source-address-gone",
    title: "a source address was taken from this machine while the run went on",
    side: Side::Swarm,
    process: "the swarm",
    hard: true,
    only_alone: false,
    outcomes: &["EADDRNOTAVAIL"],
    read_at: "ip -brief address show, in the swarm's network namespace",
    formula: "none: nobody knows beforehand that an address goes",
    not_there: "an address that was never there (the swarm refuses it at its start); all addresses still there, and ports \
                used up (ports-exhausted)",
    scope: Scope::Namespace,
    any_command_lifts: false,
    guide: Guide {
        what_it_is: "A connection is bound to its source address. Where somebody takes the address from its device, no \
                     new connection can be bound to it, and those that are open get no more answers: the packets to \
                     them have nowhere to go. The kernel does not close them.",
        what_you_see: "EADDRNOTAVAIL (cannot assign requested address) from bind() in the middle of a ramp, for one of \
                       several sources, with ports to spare; what was open from it is silent until it times out.",
        how_to_prove: "ip -brief address show does not list the address any more, and bind() to it with port 0 says \
                       EADDRNOTAVAIL; ip monitor address shows who comes and goes.",
        how_to_lift: "Put the address back, and keep it there: a static address instead of a lease (valid_lft forever), \
                      and no manager (NetworkManager, systemd-networkd, keepalived, a script) that takes away what it \
                      does not know.",
        what_not_to_do: "Do not add addresses or widen the port range: EADDRNOTAVAIL is the same errno, and no port was \
                         short. Do not turn on net.ipv4.ip_nonlocal_bind: it lets the program bind what then gets no \
                         answers.",
        kernel_source: "net/ipv4/af_inet.c: __inet_bind; net/ipv4/devinet.c: inet_del_ifa; ip(7)",
    },
    plant: Plant::in_a_namespace(
        "two source addresses, of which the second is taken from lo in the middle of the ramp.",
    ),
    predict: no_forecast,
    diagnose: |findings| {
        let lost = findings.lost(&["EADDRNOTAVAIL"])?;
        let gone = gone(findings)?;
        let mut evidence = findings.lost_evidence(&["EADDRNOTAVAIL"]);
        evidence.push(gone);
        if let Some(capacity) = findings.capacity.filter(|all| *all > findings.connections.attempted) {
            let text = format!(
                "tuples in the plan, of which {} were tried: no port was short",
                human_count(findings.connections.attempted)
            );
            evidence.push(seen("source ports", Side::Swarm, Some(capacity), text));
        }
        evidence.extend(findings.lost_evidence(&SILENCED));
        Bite::proven(evidence, lost.first_at_ms)
    },
    met: no_way_back,
    lift: |_, plan| {
        let text = "Put the address back, find out who took it away (a lease that ended, a manager of the network, a \
                    script), and give it to its device for good.";
        let look = "ip -brief address show".to_owned();
        remedy(Scope::Namespace, text, &[], vec![look, plan.again_with(&[])])
    },
}];

/// The addresses that were there at the start and are on no device any more.
fn gone(findings: &Findings) -> Option<Evidence> {
    const TOLD: usize = 4;
    let gone = findings.sources_gone.as_ref().filter(|gone| !gone.is_empty())?;
    let some: Vec<String> = gone.iter().take(TOLD).map(ToString::to_string).collect();
    let more = if gone.len() > TOLD { " …" } else { "" };
    let text = format!(
        "of {} source addresses that were there, on no device any more: {}{more}",
        human_count(findings.plan.sources),
        some.join(", ")
    );
    Some(seen("source addresses", Side::Swarm, Some(gone.len() as u64), text))
}
