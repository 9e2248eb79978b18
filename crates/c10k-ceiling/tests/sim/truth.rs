//! What really happened in a run, against which names are held.

use c10k_record::Ceiling;

use crate::clock::MS;
use crate::settings::OWN_DESCRIPTORS;
use crate::sim::Sim;

/// Walls at which nothing is refused, or not by a limit.
pub(crate) const REFUSE_NOTHING: [&str; 7] =
    ["refused", "no-route", "cpu-server", "cpu-swarm", "cpu-host", "latency-verdict", "swarm-late"];
/// What only says that a verdict does not hold.
const VERDICTS: [&str; 2] = ["latency-verdict", "error-verdict"];

/// No wall is named at which nothing was refused and which nobody put there.
pub(crate) fn only_what_bit(sim: &Sim<'_>, ceiling: &Ceiling, put: &[&str]) -> Result<(), String> {
    for wall in &ceiling.walls {
        let name = wall.name.as_str();
        let is_so = put.contains(&name)
            || sim.refusals.contains_key(name)
            || fits_as_well(sim, name)
            || VERDICTS.contains(&name)
            || is_out_of_time(sim, name);
        if !is_so {
            return Err(format!("'{name}' is named and refused nothing"));
        }
    }
    Ok(())
}

/// Whether what this wall shows was there and may have had its part, though nothing was refused by it: nobody can tell
/// that from outside.
fn fits_as_well(sim: &Sim<'_>, wall: &str) -> bool {
    let settings = &sim.scenario.settings;
    match wall {
        // For a second the link carried all it can, and others were late meanwhile.
        "bandwidth" => {
            settings.link_bits_per_second.is_some_and(|most| sim.counted.link_busiest_bits * 10 >= most * 9)
        }
        // It held as many as it takes when it ended.
        "server-max-connections" => settings.max_connections.is_some_and(|most| sim.server.peak >= most),
        // Its table was full to the last when it met another limit.
        "nofile-server" | "nr-open" => {
            let each = settings.nofile(settings.server_nofile).saturating_sub(OWN_DESCRIPTORS);
            sim.server.paused > 0 && sim.server.peak >= each * sim.server.tables
        }
        // TCP saved memory, and answers were late, or connections reset for too many orphans, which has the same counter.
        "tcp-mem" => {
            let was_late = sim.swarm.echo_us.iter().any(|us| *us > 100 * MS);
            sim.counted.memory_pressures > 0 && (was_late || sim.counted.abort_on_memory > 0)
        }
        // The last entry was taken by the last that was tried.
        "conntrack" => settings.conntrack_max.is_some_and(|most| sim.counted.conntrack >= most),
        // It overflowed while the server was stopped, which nobody could ask any more when it had ended.
        "accept-queue" => sim.counted.listener_drops > 0 && sim.server.end.is_some(),
        // Its group is gone, and the machine was nearly full as well.
        "server-died" => sim.server.end.is_some(),
        _ => false,
    }
}

/// Whether that end, or the processor that both share, had hardly any time left in a phase.
fn is_out_of_time(sim: &Sim<'_>, wall: &str) -> bool {
    sim.loads.values().any(|[server, swarm, softirq, lasted]| {
        let used = match wall {
            "cpu-server" => *server,
            "cpu-swarm" => *swarm,
            "cpu-host" if sim.scenario.world.one_processor => server + swarm + softirq,
            _ => return false,
        };
        used * 100 >= lasted * 85
    })
}
