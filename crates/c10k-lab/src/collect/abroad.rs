//! What is looked at beside the counters when connections are lost or silent: from the swarm's end and from the server's.

use std::net::SocketAddr;
use std::time::Duration;

use c10k_collector::{answers, firewall_rules, listeners_on, outgoing_of_listeners, silent_sample};
use c10k_kernel::census::SockDiag;
use c10k_kernel::namespace::Beside;
use c10k_record::{RunEvidence, SilentSample};

/// So long may a new connection take to be answered, where others are silent.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks at them.
pub(crate) struct Abroad {
    servers: Vec<SocketAddr>,
    /// The swarm's namespace, where it is not this one.
    far: Option<Beside>,
    clients: Option<SockDiag>,
}

impl Abroad {
    /// Begins; the swarm stands in `far` or, without that, here.
    pub(crate) fn begin(servers: &[SocketAddr], far: Option<&Beside>) -> Self {
        let clients = match far {
            Some(far) => far.inside(SockDiag::open).and_then(|opened| opened),
            None => SockDiag::open(),
        };
        let far = far.and_then(|far| far.try_clone().ok());
        Self { servers: servers.to_vec(), far, clients: clients.ok() }
    }

    /// What TCP knows of the swarm's ends, of which `open` are open, so long after they began to say something that
    /// nobody answers.
    pub(crate) fn silent(&mut self, open: u64, after: Duration) -> Option<SilentSample> {
        let mut seen = silent_sample(self.clients.as_mut()?, &self.servers, open, after)?;
        if let Some(first) = self.servers.first().copied().filter(|_| seen.unacked > 0) {
            let tried = || answers(first, PATIENCE);
            seen.new_connects = match &self.far {
                Some(far) => far.inside(tried).ok(),
                None => Some(tried()),
            };
        }
        Some(seen)
    }

    /// Looks at the server's end, where connections were lost; at a server's own connections only where it is not ours.
    pub(crate) fn servers_end(&self, is_foreign: bool, evidence: &mut RunEvidence) {
        let mut ports: Vec<u16> = self.servers.iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        evidence.listeners = listeners_on(&ports);
        evidence.rules = firewall_rules();
        evidence.outgoing = is_foreign.then(|| outgoing_of_listeners(&ports)).flatten();
    }
}
