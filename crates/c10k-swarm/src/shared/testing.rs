//! What tests of workers and of the conductor share.

use std::net::IpAddr;
use std::sync::mpsc::{Receiver, channel};

use c10k_profile::SocketOptions;
use c10k_wire::raw::Probes;

use super::*;
use crate::ips::PortWindow;
use crate::sources::PortChoice;
use crate::tuples::TIME_WAIT;

/// How long a connect or an echo may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(40);

/// A run over twenty tuples.
pub(crate) fn shared_of(
    probes: Option<Probes>,
    in_flight_per_turn: u32,
    rate: Option<f64>,
) -> (Arc<Shared>, Receiver<Note>) {
    shared_but(probes, in_flight_per_turn, rate, |_| {})
}

/// The same, but for what `change` changes.
pub(crate) fn shared_but(
    probes: Option<Probes>,
    in_flight_per_turn: u32,
    rate: Option<f64>,
    change: impl FnOnce(&mut RunSettings),
) -> (Arc<Shared>, Receiver<Note>) {
    let mut settings = RunSettings {
        upgrade: None,
        give_up_proving_after: 1024,
        proofs_per_turn: 64,
        in_flight_per_turn,
        open_loop: rate.is_some(),
        connect_timeout: TIMEOUT,
        handshake_timeout: TIMEOUT,
        probe_timeout: TIMEOUT,
        ping_every: None,
        probes,
        reset_on_close: false,
        has_one_clock: true,
        time_wait: TIME_WAIT,
        socket_options: SocketOptions::default(),
        seed: 7,
        drawn_from: 7,
        is_timed: false,
        freeze: None,
        give_up_after: 256,
    };
    change(&mut settings);
    let source = IpAddr::from([127, 0, 0, 1]);
    let window = PortWindow { first: 1000, last: 1019 };
    let server = "127.0.0.1:9".parse().expect("an address");
    let plan = SourcePlan::new(vec![source], window, &[], &[server], PortChoice::OnePortRange);
    let (sender, notes) = channel();
    (Arc::new(Shared::new(settings, plan, Arrivals::new(rate), sender)), notes)
}
