//! What the collector asks sock_diag.

use std::fs;
use std::io;

use c10k_kernel::census::{Census, SockDiag, State, States};
use c10k_kernel::namespace::Beside;

use super::Collector;
use crate::per_end::PerEnd;

impl Collector {
    /// Counts the states of all sockets on the watched ports. Costs about 0.4 µs a socket on the whole host: for the
    /// ends of phases.
    ///
    /// # Errors
    /// As [`SockDiag::census`]; ENOTSUP where sock_diag is not at hand or would tell of another namespace.
    pub fn census(&mut self) -> io::Result<Census> {
        self.ends.server.census(States::ALL)
    }

    /// Counts the connections at the server's end of the watched ports: ESTABLISHED, and none of the clients' ends.
    ///
    /// # Errors
    /// As [`Collector::census`].
    pub fn connections(&mut self) -> io::Result<u64> {
        let Some((diag, ports)) = self.ends.server.diag_and_ports() else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let mut count = 0;
        diag.with_local_ports(States::of(&[State::Established]), ports, |_| count += 1)?;
        Ok(count)
    }

    /// ESTABLISHED sockets at the server's side and at the client's; either is `None` where it cannot be seen. The census
    /// is the one of the server's end.
    pub fn established(&mut self) -> (PerEnd<Option<u64>>, Option<Census>) {
        let here = self.census().ok();
        let client = match &mut self.ends.client {
            Some(end) => end.established(),
            None => here.as_ref().map(|census| census.client_side),
        };
        (PerEnd { server: here.as_ref().map(|census| census.server_side), client: Some(client) }, here)
    }

    /// The inodes of the listeners on the watched ports; `None` where they cannot be seen.
    pub(super) fn listener_inodes(&mut self) -> Option<Vec<u32>> {
        let listeners = self.ends.server.listeners()?.ok()?;
        let ports = self.ends.server.ports();
        let ours = listeners.iter().filter(|listener| ports.holds(listener.address.port()));
        Some(ours.map(|listener| listener.inode).collect())
    }

    /// sock_diag tells of the namespace in which it is opened: for a process in another one it is opened there.
    pub(super) fn open_diag(&mut self, namespace_of: Option<u32>) {
        const UNKNOWN: &str = "the listener's accept queue and the census of states";
        if !self.root.is_live() {
            return;
        }
        if let Some(pid) = namespace_of {
            match self.root.shares_network_namespace(pid) {
                Some(true) => {}
                Some(false) => {
                    let inside = Beside::of_process(pid).and_then(|beside| beside.inside(SockDiag::open));
                    match inside.and_then(|opened| opened) {
                        Ok(diag) => self.ends.server.ask_by(diag),
                        Err(error) => {
                            let source = format!("sock_diag in the network namespace of process {pid}");
                            self.unreadable.note(source, error.raw_os_error(), UNKNOWN);
                        }
                    }
                    return;
                }
                None => self.unreadable.note(
                    self.root.process_path(Some(pid), "ns/net").display().to_string(),
                    fs::read_link(self.root.living_path(Some(pid), "ns/net"))
                        .err()
                        .and_then(|error| error.raw_os_error()),
                    "whether the accept queue and the census are those of this process's network namespace",
                ),
            }
        }
        match SockDiag::open() {
            Ok(diag) => self.ends.server.ask_by(diag),
            Err(error) => self.unreadable.note("sock_diag", error.raw_os_error(), UNKNOWN),
        }
    }
}
