//! The counts of a run, never mixed up: attempted ≥ established ≥ verified ≥ held.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Outcome, PhaseName};

/// How many connections there were, by what is known of them. What a process cannot know is `None`, never 0.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// How many were asked for.
    pub target: u64,
    /// Connections begun, whether they succeeded or not.
    pub attempted: u64,
    /// `connect()` has completed at the client.
    pub established: u64,
    /// The server has it in its table, as the server reports.
    pub accepted: Option<u64>,
    /// The server has echoed this connection's own probe; unknown when probes are switched off.
    pub verified: Option<u64>,
    /// Verified, and still verified at the end of the hold; without probes: still open at the end, and ESTABLISHED and
    /// accepted at the server's end too where that can be seen (`at_server`).
    pub held: u64,
    /// Of those open at the client at the end of the hold, how many the kernel had ESTABLISHED at the server's end and a
    /// process had accepted (sock_diag). `None` where that was not looked at, or cannot be seen from here.
    #[serde(default)]
    pub at_server: Option<u64>,
    /// Established at the client, never accepted by the server: as the server reports or, where it reports nothing, as
    /// the kernel shows the server's end.
    pub ghosts: Option<u64>,
    /// Closed in good order because a command (`shrink N`) asked for it.
    #[serde(default)]
    pub released: u64,
    /// Connections open when the run was stopped before its end, or when one that never came to it was last seen;
    /// `None` for a run that came to its end.
    #[serde(default)]
    pub open: Option<u64>,
    /// Connections that were lost, by errno or name; at the end attempted = held + released + Σ failed.
    pub failed: BTreeMap<Outcome, u64>,
}

impl Connections {
    /// Σ failed.
    #[must_use]
    pub fn failed_total(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Connections that were given up because somebody stopped the run.
    #[must_use]
    pub fn stopped_total(&self) -> u64 {
        self.failed.get(&Outcome::aborted()).copied().unwrap_or(0)
    }

    /// Adds `count` connections lost under `outcome`.
    pub fn add_failed(&mut self, outcome: Outcome, count: u64) {
        if count > 0 {
            *self.failed.entry(outcome).or_default() += count;
        }
    }

    /// Established at the client but never accepted, when the server's word is known. Of more that it has accepted than
    /// were established nobody can tell how many are ghosts. Where the server says nothing, what the kernel showed stays.
    pub fn settle_ghosts(&mut self) {
        if let Some(accepted) = self.accepted {
            self.ghosts = self.established.checked_sub(accepted);
        }
    }

    /// Whether more than the client's word stands behind what is held: an echo, the server's own count, or the kernel's
    /// at the server's end.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.verified.is_some() || self.accepted.is_some() || self.at_server.is_some()
    }

    /// What [`Connections::held`] may be called.
    #[must_use]
    pub fn word_for_held(&self) -> &'static str {
        if self.is_confirmed() || self.held == 0 { "held" } else { "open at the client" }
    }

    /// Takes in what the kernel had at the server's end before the close, `at_ms` after the first connect. Without
    /// probes, a connection that is absent there, or in the accept queue, is not held: it is lost under a name of its own.
    /// Returns these losses in detail.
    pub fn confirm(&mut self, seen: AtServerEnd, at_ms: u64) -> Vec<Failure> {
        self.at_server = Some(seen.accepted);
        let unverified = self.established - self.verified.unwrap_or(0).min(self.established);
        if self.verified.is_some() {
            // A connection that was echoed to was accepted. The others are closed by now, and nobody can tell of them.
            self.ghosts = (unverified == 0).then_some(0).or(self.ghosts);
            return Vec::new();
        }
        let closed = self.failed.get(&Outcome::closed_by_server()).copied().unwrap_or(0);
        let gone = self.established.saturating_sub(self.released + self.held);
        // Only what a process had accepted can be closed in good order.
        self.ghosts = (gone <= closed).then_some(seen.waiting + seen.absent);
        let lost = [(Outcome::not_at_server(), seen.absent), (Outcome::not_accepted(), seen.waiting)];
        let mut rows = Vec::new();
        for (outcome, count) in lost {
            let count = count.min(self.held);
            self.held -= count;
            self.add_failed(outcome.clone(), count);
            rows.push(Failure { phase: PhaseName::Verify, outcome, count, first_at_ms: at_ms });
        }
        rows.retain(|row| row.count > 0);
        rows
    }
}

/// Connections that are open at the client, by what the kernel has of them at the server's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AtServerEnd {
    /// ESTABLISHED, and accepted by a process.
    pub accepted: u64,
    /// ESTABLISHED, and in the accept queue.
    pub waiting: u64,
    /// Not ESTABLISHED: half open (SYN_RECV), or not there.
    pub absent: u64,
}

/// One row of the failures in detail: the same connections as in [`Connections::failed`], with their phase.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Where in the run it was lost.
    pub phase: PhaseName,
    /// Its errno or name.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
    /// Milliseconds after the first connect at which the first of them was lost.
    pub first_at_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(established: u64, held: u64) -> Connections {
        Connections { target: 500, attempted: 500, established, held, ..Connections::default() }
    }

    #[test]
    fn what_is_open_at_the_client_alone_is_not_held() {
        let mut connections = open(500, 500);
        let seen = AtServerEnd { accepted: 100, waiting: 10, absent: 390 };
        let rows = connections.confirm(seen, 7);
        assert_eq!(
            (connections.held, connections.at_server, connections.ghosts),
            (100, Some(100), Some(400))
        );
        assert_eq!(connections.attempted, connections.held + connections.failed_total());
        let told: Vec<_> = rows.iter().map(|row| (row.outcome.name(), row.count, row.first_at_ms)).collect();
        assert_eq!(told, [("not-at-server", 390, 7), ("not-accepted", 10, 7)]);
        assert_eq!((connections.word_for_held(), open(5, 5).word_for_held()), ("held", "open at the client"));
    }

    #[test]
    fn ghosts_are_known_only_where_all_others_were_accepted_for_sure() {
        let seen = AtServerEnd { accepted: 90, waiting: 10, absent: 0 };
        let ghosts = |lost: Option<Outcome>| {
            let mut connections = open(150, 100);
            connections.failed.extend(lost.map(|lost| (lost, 50)));
            connections.confirm(seen, 7);
            connections.ghosts
        };
        assert_eq!(ghosts(Some(Outcome::closed_by_server())), Some(10));
        assert_eq!(ghosts(Some(Outcome::errno(libc::ECONNRESET))), None, "a queue that goes resets too");
        let probed = |verified| {
            let mut connections = Connections { verified: Some(verified), ..open(150, verified) };
            assert!(connections.confirm(seen, 7).is_empty(), "what was echoed to is there");
            (connections.held, connections.ghosts)
        };
        assert_eq!((probed(150), probed(140)), ((150, Some(0)), (140, None)));
    }
}
