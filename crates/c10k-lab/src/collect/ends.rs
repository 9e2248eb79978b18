//! The server's ends of the swarm's connections, looked up by sock_diag.

use std::net::SocketAddr;

use c10k_collector::{AtServer, EndsSeen};
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
    /// Begins before the first connect of the swarm, which stands in `far` or, without that, here.
    pub(crate) fn begin(servers: &[SocketAddr], far: Option<&Beside>, swarm_pid: u32) -> Self {
        let clients = match far {
            Some(far) => far.inside(SockDiag::open).and_then(|opened| opened),
            None => SockDiag::open(),
        };
        let begun = clients
            .and_then(|clients| AtServer::begin(Servers::at(servers), clients, SockDiag::open()?, swarm_pid));
        Self { at_server: begun.ok(), ..Self::default() }
    }
}
