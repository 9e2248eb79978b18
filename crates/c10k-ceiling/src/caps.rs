//! Whether the first so many connections succeeded and then none, while what is held lives: a cap, and no matter of a rate.

use c10k_record::{Evidence, Outcome, Side, human_count};

use crate::counter;
use crate::findings::{Findings, Lost, NO_ANSWER, TAKEN_DOWN};
use crate::wall::seen;

/// A number of connections at which a server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cap {
    /// What came on top.
    pub(crate) lost: Lost,
    /// It waits in the accept queue; else it was turned away.
    pub(crate) waits: bool,
}

/// Outcomes of a connection that a rule on the way, or a host without a listener, refuses.
pub(crate) const REFUSED: [&str; 4] = ["ECONNREFUSED", "EHOSTUNREACH", "EPERM", "EACCES"];
/// Outcomes of one that waits in a queue.
const WAITS: [&str; 4] = ["probe-timeout", "handshake-timeout", "not-accepted", "not-at-server"];

/// Whether the other end took a connection down, or refused it once TCP was open.
pub(crate) fn is_taken_down(name: &str) -> bool {
    TAKEN_DOWN.contains(&name)
        || name == "closed-in-handshake"
        || name.starts_with("close-")
        || name.starts_with("handshake-status-")
}

impl Findings {
    /// The names under which the other end took connections down, of those that occur.
    pub(crate) fn names_taken_down(&self) -> Vec<&str> {
        self.connections.failed.keys().map(Outcome::name).filter(|name| is_taken_down(name)).collect()
    }

    /// Whether what is held was seen to live at the end: it was echoed to, or is at the server's end too.
    pub(crate) fn held_lives(&self) -> bool {
        self.connections.held > 0
            && (self.plan.probe || self.connections.at_server.is_some())
            && self.server_end.is_none()
    }

    /// Whether the first so many succeeded and then none; `None` where that is not known.
    pub(crate) fn then_none(&self) -> Option<bool> {
        self.evidence.order.map(|order| order.is_a_cap())
    }

    /// Whether anybody was seen to listen there at the last look.
    pub(crate) fn listener_lives(&self) -> bool {
        let by_process = self.server_process.as_ref().and_then(|process| process.listens);
        by_process.or(self.evidence.listeners.map(|listeners| listeners.count > 0)) == Some(true)
            && self.server_end.is_none()
    }

    /// A server that is not ours and stands at a number of connections: what it holds lives, and nobody more is taken.
    ///
    /// Against it: a process that is stopped or gone, a listener that is gone, somebody who was taken meanwhile.
    pub(crate) fn is_capped(&self) -> Option<Cap> {
        let process = self.server_process.as_ref();
        let is_hindered = process.is_some_and(|process| process.stopped || process.listens == Some(false));
        if self.server.is_some() || is_hindered || !self.held_lives() {
            return None;
        }
        let taken_down = self.names_taken_down();
        let turned_away = self.lost_connecting(&taken_down).filter(|_| self.then_none() == Some(true));
        if let Some(lost) = turned_away {
            return Some(Cap { lost, waits: false });
        }
        // A queue of a server that takes nobody for seconds.
        let waiting = self.lost_connecting(&WAITS).or_else(|| self.lost(&["not-accepted", "not-at-server"]));
        let unanswered = self.lost_connecting(&NO_ANSWER);
        let lost = match (waiting, unanswered) {
            (Some(waiting), unanswered) => waiting.and(unanswered),
            (None, unanswered) => unanswered?,
        };
        let held_back = self.grew(counter::SERVER_THROTTLED).is_some();
        (self.accepted_stalled && !held_back).then_some(Cap { lost, waits: true })
    }

    /// That what is held lives, and in which order the others were lost.
    pub(crate) fn cap_evidence(&self) -> Vec<Evidence> {
        let held = self.connections.held;
        let text = match self.plan.probe {
            true => "connections that the server still echoed to at the end",
            false => "connections that were still at the server's end",
        };
        let mut evidence = vec![seen("held", Side::Server, Some(held), text)];
        evidence.extend(self.evidence.order.map(|order| {
            let text = format!(
                "connections in a row were lost after the last one that succeeded, over {:.1} s; {} had succeeded after the \
                 first was lost",
                order.after_proof_ms as f64 / 1e3,
                human_count(order.proven_after_loss)
            );
            seen("order", Side::Swarm, Some(order.lost_after_proof), text)
        }));
        evidence.extend(self.listeners_evidence());
        if self.server_is_hidden() {
            let text = "its descriptors may not be read by this user: it may be that its descriptor table is full \
                        (nofile-server)";
            evidence.push(seen("not readable", Side::Server, None, text));
        }
        evidence
    }

    /// The listeners on the server's ports.
    pub(crate) fn listeners_evidence(&self) -> Option<Evidence> {
        let listeners = self.evidence.listeners.filter(|listeners| listeners.count > 0)?;
        let text = format!(
            "listening sockets on the server's ports: connections waited at {}, {} had a full queue, the longest {} of a \
             backlog of {}",
            listeners.waited_at, listeners.full, listeners.longest, listeners.least_backlog
        );
        Some(seen("listeners", Side::Server, Some(listeners.count), text))
    }
}
