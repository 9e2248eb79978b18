//! The server's ends of the swarm's connections, as the kernel has them: beside what the swarm says in the hold, and in
//! the place of an echo at its end.

use std::time::{Duration, Instant};

use c10k_collector::{EndsHere, EndsSeen, Patience, account_of_ends};
use c10k_record::{AtServerEnd, MemoryPerConnection, Warning, human_count};

use crate::collect::watch::Mark;
use crate::lead::lab::Lab;

/// Between two looks at a server that is still taking connections.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that prove themselves are looked up as well, at a server that is not ours, up to this many.
const MOST_PROVEN: u64 = 100_000;

impl Lab<'_> {
    /// Both sides' sockets as the kernel counts them, beside what the swarm says.
    pub(crate) fn compare_with_census(&mut self) {
        let established = self.seen.watch.established();
        let (server_side, client_side) = (established.server, *established.client());
        self.seen.clients_established = client_side;
        let open = self.said.swarm.counts.open;
        let shown = |seen: Option<u64>| seen.map_or_else(|| "an unknown number".to_owned(), human_count);
        if [server_side, client_side].into_iter().flatten().any(|seen| seen != open) {
            self.record.warnings.push(Warning::new(
                "census",
                format!(
                    "in the hold the swarm had {} connections open, sock_diag saw {} ESTABLISHED at the client and {} \
                     at the server",
                    human_count(open),
                    shown(client_side),
                    shown(server_side)
                ),
            ));
        }
        if self.looks_up_ends() {
            self.seen.ends.was_asked = true;
            self.seen.ends.in_hold = self.seen.ends.at_server.as_mut().and_then(|ends| ends.look(open));
        }
    }

    /// Looks up the server's ends before the close; a server that is still taking connections is waited for.
    pub(crate) fn look_up_ends(&mut self) {
        let mut patience = Patience::begin(Instant::now());
        while self.looks_up_ends() && !self.is_stopped() {
            let open = self.said.swarm.counts.open;
            let seen = self.seen.ends.at_server.as_mut().and_then(|ends| ends.look(open));
            let goes_on = seen.as_ref().is_some_and(|seen| patience.goes_on(seen, Instant::now()));
            self.seen.ends.at_end = seen;
            if self.plan.load.probe || !goes_on {
                return;
            }
            self.wait(Some(Instant::now() + PAUSE), |_| false);
        }
    }

    /// A connection that proves itself to a server of ours is known by its echo and by the server's word.
    fn looks_up_ends(&self) -> bool {
        !self.plan.load.probe || !self.pair.server.is_ours() && self.said.swarm.counts.open <= MOST_PROVEN
    }

    /// What a connection cost in memory, by those that were there when it was looked at, whether they lived on or not.
    /// What does not exist at the server's end costs nothing there, and where it is not known how many do, neither is
    /// what the kernel took for them. Of a run of one host.
    pub(crate) fn cost_of_memory(&self, ready: &Mark, full: &Mark) -> MemoryPerConnection {
        let opened = full.open.saturating_sub(ready.open);
        let of = |server| account_of_ends(&ready.memory, &full.memory, EndsHere { server, client: opened });
        match &self.seen.ends.in_hold {
            None if !self.seen.ends.was_asked => of(opened),
            // A connection that waits to be accepted is part of one.
            Some(seen) if seen.waiting * 100 <= seen.open => of(seen.accepted),
            _ => {
                let MemoryPerConnection { connections, client_user_bytes, .. } = of(0);
                MemoryPerConnection { connections, client_user_bytes, ..MemoryPerConnection::default() }
            }
        }
    }

    /// Takes what was seen into the record. Where the kernel's sockets cannot be seen a server of ours knows by itself
    /// how many it has accepted.
    pub(crate) fn confirm(&mut self) {
        let c = &self.record.connections;
        let by_its_word = || {
            let accepted = c.accepted.filter(|_| !self.plan.load.probe)?;
            let waiting = c.established.saturating_sub(accepted).min(c.held);
            Some(AtServerEnd { accepted: c.held - waiting, waiting, absent: 0 })
        };
        if self.broke.is_stopped_early || self.said.swarm.record_is_lost {
            return;
        }
        let seen = self.seen.ends.at_end.as_ref().map(EndsSeen::counts).or_else(by_its_word);
        let seen = seen.or_else(|| self.counted_by_far());
        if let Some(seen) = seen {
            self.record.confirm(seen, self.said.swarm.verified_at_ms);
        }
        let unconfirmed = self.record.unconfirmed();
        self.record.warnings.extend(unconfirmed);
    }
}
