//! What stays the same through a run.

use std::time::Duration;

use c10k_profile::{InForce, Linger, SocketOptions};
use c10k_record::{CloseHow, LoadPlan, Spread};
use c10k_wire::raw::Probes;
use c10k_wire::ws::ClientRequest;

use crate::setup::Setup;

/// Echoes awaited at one time in the last proof, whatever --in-flight says.
const MOST_PROOFS: u32 = 128;
/// At least so many failures in a row before nothing is taken to succeed any more.
const LEAST_GIVE_UP: u64 = 256;
/// So many probes of the last proof in a row without an answer, from all over a worker's connections, and it asks the
/// others no more.
const GIVE_UP_PROVING: u64 = 1024;

/// What stays the same through a run.
#[derive(Clone, Debug)]
pub(crate) struct RunSettings {
    /// Connections that one worker may have under way.
    pub(crate) in_flight_per_turn: u32,
    /// Echoes that one worker may wait for in the last proof. Fewer than connects: the verdict is on the server's
    /// latency, and not on a queue that the swarm itself makes.
    pub(crate) proofs_per_turn: u32,
    pub(crate) open_loop: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) handshake_timeout: Duration,
    pub(crate) probe_timeout: Duration,
    /// Between two pings in the hold; `None` = nobody is pinged.
    pub(crate) ping_every: Option<Duration>,
    pub(crate) probes: Option<Probes>,
    /// WebSocket is spoken, with this request; `None` = bytes as they are.
    pub(crate) upgrade: Option<ClientRequest>,
    /// Whether the server is on this machine, and so has its CLOCK_MONOTONIC.
    pub(crate) has_one_clock: bool,
    pub(crate) reset_on_close: bool,
    /// How long the kernel keeps a tuple from a new connection after our FIN.
    pub(crate) time_wait: Duration,
    pub(crate) socket_options: SocketOptions,
    /// Bytes of messages come of this; it differs from run to run.
    pub(crate) seed: u64,
    /// What the sizes of messages are drawn from.
    pub(crate) drawn_from: u64,
    /// Times are met to the microsecond.
    pub(crate) is_timed: bool,
    /// For tests: so long after a job has begun the first worker stands still, for so long.
    pub(crate) freeze: Option<(Duration, Duration)>,
    /// So many failures in a row and nothing else mean that nothing succeeds any more.
    pub(crate) give_up_after: u64,
    /// So many probes of the last proof in a row that one worker has sent and nobody has answered mean the same for what
    /// it holds.
    pub(crate) give_up_proving_after: u64,
}

impl RunSettings {
    /// As the plan asks for it, on this host.
    pub(crate) fn of(
        load: &LoadPlan,
        setup: &Setup,
        in_force: &InForce,
        upgrade: Option<ClientRequest>,
    ) -> Self {
        // The seed only has to differ from run to run, so that bytes left over from another run are never taken
        // for an echo of this one.
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let seed = clock.as_nanos() as u64 ^ u64::from(std::process::id()) << 40;
        let turns = u32::try_from(setup.turns).unwrap_or(u32::MAX);
        let in_flight = match load.arrivals {
            // All that are wanted at one time.
            Spread::Burst => *LoadPlan::IN_FLIGHT.end(),
            Spread::Even | Spread::Poisson => load.in_flight,
        };
        Self {
            in_flight_per_turn: in_flight.div_ceil(turns).max(1),
            proofs_per_turn: load.in_flight.min(MOST_PROOFS).div_ceil(turns).max(1),
            open_loop: load.rate_per_second.is_some(),
            connect_timeout: load.connect_timeout.0,
            handshake_timeout: load.handshake_timeout.0,
            probe_timeout: load.probe_timeout.0,
            ping_every: load.ping_every.map(|every| every.0),
            probes: if load.probe { Probes::new(seed, load.probe_bytes) } else { None },
            upgrade,
            has_one_clock: setup.server_is_here,
            reset_on_close: load.close == CloseHow::Rst,
            time_wait: match in_force.profile.socket.linger {
                // Every close is a reset then (socket(7), SO_LINGER).
                Some(Linger::Reset | Linger::Secs(0)) => Duration::ZERO,
                _ => setup.time_wait,
            },
            socket_options: in_force.profile.socket,
            give_up_after: u64::from(in_flight).max(LEAST_GIVE_UP),
            give_up_proving_after: GIVE_UP_PROVING,
            seed,
            drawn_from: load.seed.unwrap_or(seed),
            is_timed: false,
            freeze: None,
        }
    }
}
