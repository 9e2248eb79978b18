//! What of a run is seen from outside of its two processes.

use std::net::SocketAddr;

use c10k_collector::{Abroad, Collector, CollectorConfig, LinkWatch, NetworkEnd, PerEnd};
use c10k_plan::say::refusal::Refusal;
use c10k_record::Exit;

use crate::collect::cpu::RampCpu;
use crate::collect::ends::ServerEnds;
use crate::collect::gaps::Gaps;
use crate::collect::source::FarSource;
use crate::collect::watch::{Mark, Watch};
use crate::isolate::place::Place;
use crate::processes::server::ServerSide;

/// What is watched, and what was seen.
pub(crate) struct Seen {
    pub(crate) watch: Watch,
    /// The server's ends of the connections.
    pub(crate) ends: ServerEnds,
    pub(crate) abroad: Abroad,
    /// When this process did not run.
    pub(crate) gaps: Gaps,
    pub(crate) ramp_cpu: RampCpu,
    /// Before the first connect.
    pub(crate) ready: Option<Mark>,
    /// In the hold.
    pub(crate) full: Option<Mark>,
    /// ESTABLISHED at the clients' end then.
    pub(crate) clients_established: Option<u64>,
}

impl Seen {
    /// Begins to watch both ends. The server listens on `listen`, and the swarm, of which `swarm_pid` is the process,
    /// connects `towards` there.
    pub(crate) fn begin(
        place: &mut Place,
        server: &ServerSide,
        swarm_pid: u32,
        (listen, towards): (&[SocketAddr], &[SocketAddr]),
        link: LinkWatch,
    ) -> Result<Self, Refusal> {
        let mut watch = watch(place, server, swarm_pid, listen)?;
        watch.link = link;
        let places = PerEnd { server: server.elsewhere(), client: Some(place.far.as_ref()) };
        // Those of another host are counted there.
        let ends = match server.far() {
            Some(_) => ServerEnds::default(),
            None => ServerEnds::begin(towards, places, swarm_pid),
        };
        Ok(Self {
            watch,
            ends,
            abroad: Abroad::begin(towards, places),
            gaps: Gaps::default(),
            ramp_cpu: RampCpu::default(),
            ready: None,
            full: None,
            clients_established: None,
        })
    }
}

fn watch(
    place: &mut Place,
    server: &ServerSide,
    swarm_pid: u32,
    listen: &[SocketAddr],
) -> Result<Watch, Refusal> {
    let ports: Vec<u16> = listen.iter().map(SocketAddr::port).collect();
    let elsewhere = server.elsewhere().and(server.pid());
    let clients = match &place.far {
        Some(far) => Some(NetworkEnd::of_clients(far, swarm_pid, &ports)),
        None => elsewhere.map(|_| NetworkEnd::of_clients_here(&ports)),
    };
    let config = CollectorConfig {
        server_pid: server.pid(),
        // A server of ours is one process.
        finds_holders: server.is_to_be_found_here(),
        swarm_pid: Some(swarm_pid),
        ports,
        namespace_of: elsewhere,
        ..CollectorConfig::default()
    };
    let mut collector = Collector::new(config).map_err(|error| Refusal {
        message: error.to_string(),
        hint: None,
        exit: Exit::Broke,
    })?;
    if let Some(clients) = clients {
        collector.watch_clients_end(clients);
    }
    let mut watch = Watch::new(collector, !server.is_ours());
    watch.far = server.far().map(FarSource::of);
    if let Some(neighbours) = place.neighbours.take() {
        watch.look_at_neighbours_by(neighbours);
    }
    Ok(watch)
}
