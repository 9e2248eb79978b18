//! The server's ends of the swarm's connections, looked up by sock_diag.

use std::io;
use std::net::SocketAddr;

use c10k_collector::{AtServer, EndsSeen, PerEnd};
use c10k_kernel::census::{Servers, SockDiag};
use c10k_kernel::namespace::Beside;

/// What was seen of them.
#[derive(Default)]
pub(crate) struct ServerEnds {
    /// Nothing where sock_diag cannot be had in one of the ends' namespaces.
    pub(crate) at_server: Option<AtServer>,
    /// They were looked up when memory was looked at in the hold.
    pub(crate) was_asked: bool,
    /// What was seen then.
    pub(crate) in_hold: Option<EndsSeen>,
    /// After the last proof.
    pub(crate) at_end: Option<EndsSeen>,
}

impl ServerEnds {
    /// Begins before the first connect of the swarm. Each end stands in its place or, without one, here.
    pub(crate) fn begin(servers: &[SocketAddr], places: Places<'_>, swarm_pid: u32) -> Self {
        let begun = diag_in(*places.client()).and_then(|clients| {
            AtServer::begin(Servers::at(servers), clients, diag_in(places.server)?, swarm_pid)
        });
        Self { at_server: begun.ok(), ..Self::default() }
    }
}

/// The network namespaces of both ends; `None` for this one.
pub(crate) type Places<'a> = PerEnd<Option<&'a Beside>>;

/// Opens sock_diag in that network namespace, or here.
pub(crate) fn diag_in(place: Option<&Beside>) -> io::Result<SockDiag> {
    match place {
        Some(place) => place.inside(SockDiag::open).and_then(|opened| opened),
        None => SockDiag::open(),
    }
}
