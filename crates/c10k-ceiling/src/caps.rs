//! Whether the first so many connections succeeded and then none, while what is held lives: a cap, and no matter of a rate.

use c10k_record::{
    BegunOrder, Evidence, Failure, Listeners, LossOrder, Outcome, Outgoing, PhaseName, Side, human_count,
};

use crate::counter;
use crate::findings::{Findings, Lost, REFUSED, TAKEN_DOWN};
use crate::wall::seen;

/// A number of connections at which a server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cap {
    /// What came on top.
    pub(crate) lost: Lost,
    /// It waits in the accept queue; else it was turned away.
    pub(crate) waits: bool,
}

/// Outcomes of one that waits in a queue.
const WAITS: [&str; 4] = ["probe-timeout", "handshake-timeout", "not-accepted", "not-at-server"];

/// What a server answers to who comes too often.
const TOO_MANY_REQUESTS: &str = "handshake-status-429";

/// Whether the other end took a connection down, or refused it once TCP was open.
pub(crate) fn is_taken_down(name: &str) -> bool {
    TAKEN_DOWN.contains(&name)
        || name == "closed-in-handshake"
        || name.starts_with("close-")
        || name.starts_with("handshake-status-")
}

/// Connections that were proven though they were begun after the first that was lost.
const fn beside(begun: BegunOrder) -> u64 {
    begun.proven.saturating_sub(begun.before_lost)
}

impl Findings {
    /// The names under which the other end took connections down, of those that occur.
    pub(crate) fn names_taken_down(&self) -> Vec<&str> {
        let is_it = |name: &&str| is_taken_down(name) || *name == "corrupt" && self.was_told_why();
        self.connections.failed.keys().map(Outcome::name).filter(is_it).collect()
    }

    /// Whether a server that echoes to others said in words, in the place of an echo, that it turns most of these away.
    pub(crate) fn was_told_why(&self) -> bool {
        let told = self.evidence.words.iter().fold(0_u64, |sum, words| sum.saturating_add(words.count));
        let corrupt = self.lost(&["corrupt"]).map_or(0, |lost| lost.count);
        corrupt > 0 && told.saturating_mul(2) >= corrupt && self.held_lives()
    }

    /// Whether what is held was seen to live at the end: it was echoed to, or is at the server's end too.
    pub(crate) fn held_lives(&self) -> bool {
        self.connections.held > 0
            && (self.plan.probe || self.connections.at_server.is_some())
            && self.server_end.is_none()
    }

    /// Whether the first so many succeeded and then none; `None` where that is not known.
    pub(crate) fn then_none(&self) -> Option<bool> {
        self.evidence.order.map(|order| order.is_a_cap() || self.was_under_way(order))
    }

    /// Whether no more were proven after the first was lost than may have been under way then, while chance would hardly have
    /// put all that were lost so near to the end: not once in a thousand runs.
    fn was_under_way(&self, order: LossOrder) -> bool {
        const LEAST: u64 = 3;
        let in_ramp = self.failures.iter().filter(|row| row.phase == PhaseName::Ramp);
        let lost = in_ramp.fold(0_u64, |sum, row| sum.saturating_add(row.count));
        // Word of a refusal comes at once, and that of a wait late: then it is asked which were begun after the first that was
        // lost, and not which were proven after it.
        let at_once = self.lost_connecting(&[&self.names_taken_down()[..], &REFUSED].concat());
        let are_late = at_once.map_or(0, |lost| lost.count).saturating_mul(2) < lost;
        let (last, beside) = match order.begun.filter(|_| are_late) {
            Some(begun) => (self.connections.attempted.saturating_sub(begun.before_lost), beside(begun)),
            None => (lost.saturating_add(order.proven_after_loss), order.proven_after_loss),
        };
        // The last so many have all that were lost among them. Each falls there with this chance.
        let share = last as f64 / self.connections.attempted.max(1) as f64;
        let is_no_chance = lost as f64 * share.ln() <= 0.001_f64.ln();
        let were_under_way = self.plan.in_flight.is_some() && beside <= self.at_a_time();
        were_under_way && lost >= LEAST && is_no_chance
    }

    /// How many are under way at one time. Who begins by a clock has as many as begin until one is answered: a quarter of a
    /// second on a slow way.
    fn at_a_time(&self) -> u64 {
        self.plan.in_flight.unwrap_or(0).max(self.plan.rate_per_second.unwrap_or(0) / 4)
    }

    /// Whether somebody was served, though nobody may be held any more.
    pub(crate) fn was_served(&self) -> bool {
        let was_proven = self.connections.verified.is_some_and(|verified| verified > 0);
        self.held_lives() || was_proven && self.server_end.is_none()
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
        let is_a_cap = self.then_none() == Some(true) && !self.is_told_of_a_rate();
        let turned_away =
            self.lost_connecting(&taken_down).filter(|lost| is_a_cap && lost.count > self.lost_once_proven());
        if let Some(lost) = turned_away {
            return Some(Cap { lost, waits: false });
        }
        // A queue of a server that takes nobody for seconds.
        let waiting = self.lost_connecting(&WAITS).or_else(|| self.lost(&["not-accepted", "not-at-server"]));
        let unanswered = self.unanswered_connects();
        let lost = match (waiting, unanswered) {
            (Some(waiting), unanswered) => waiting.and(unanswered),
            (None, unanswered) => unanswered?,
        };
        // What the swarm found none of, the server on the same machine may have found none of as well.
        let is_everybodys = self.lost(&["ENFILE", "ENOSPC", "ENOMEM", "ENOBUFS"]).is_some();
        let held_back = is_everybodys || self.grew(counter::SERVER_THROTTLED).is_some();
        (self.accepted_stalled && !held_back && !self.waits_at_some_of_several())
            .then_some(Cap { lost, waits: true })
    }

    /// Connections that were proven and lost all the same before the hold: nobody turned them away.
    fn lost_once_proven(&self) -> u64 {
        // Without the phases nobody knows.
        if self.failures.is_empty() {
            return 0;
        }
        let c = &self.connections;
        let later = self.failures.iter().filter(|row| row.phase != PhaseName::Ramp);
        let later = later.fold(0_u64, |sum, row| sum.saturating_add(row.count));
        let gone = c.held.saturating_add(c.released).saturating_add(later);
        c.verified.unwrap_or(0).saturating_sub(gone)
    }

    /// Whether connections wait at some of several listeners, or the server went on taking others beside those that it left
    /// waiting: then it stands at no number, and one of its processes or listeners may.
    pub(crate) fn waits_at_some_of_several(&self) -> bool {
        let is_some_of = |seen: Listeners| seen.waited_at > 0 && seen.waited_at < seen.count;
        self.evidence.listeners.is_some_and(is_some_of) || self.goes_on_beside()
    }

    /// Whether more were taken that were begun after the first that was lost than were under way at one time.
    fn goes_on_beside(&self) -> bool {
        let Some((order, begun)) = self.evidence.order.and_then(|order| Some((order, order.begun?))) else {
            return false;
        };
        // A cap may have one that came late by chance among those on top of it, and not the half of them.
        beside(begun) > self.at_a_time()
            && begun.lost_behind.saturating_mul(2) < order.lost
            && !order.is_a_cap()
    }

    /// Whether most that the server turned away were told that they were too many for a time (HTTP 429, RFC 6585): that is a
    /// rate, and no number of connections.
    pub(crate) fn is_told_of_a_rate(&self) -> bool {
        let taken_down = self.names_taken_down();
        let count = |names: &[&str]| self.lost_connecting(names).map_or(0, |lost| lost.count);
        count(&[TOO_MANY_REQUESTS]).saturating_mul(2) > count(&taken_down)
    }

    /// Whether the server's own source ports to one place may have run out in the ramp, though some were free when they were
    /// counted: they may wait for a new connection, or belong to connections that were lost or released since.
    pub(crate) fn ports_may_have_been_used_up(&self) -> bool {
        let later = |row: &&Failure| matches!(row.phase, PhaseName::Hold | PhaseName::Verify);
        let lost_since =
            self.failures.iter().filter(later).fold(0_u64, |sum, row| sum.saturating_add(row.count));
        self.evidence.outgoing.as_ref().is_some_and(|outgoing| {
            let gone = lost_since.saturating_add(self.connections.released);
            let ports_in_use = outgoing.ports_in_use.saturating_add(gone);
            Outgoing { ports_in_use, ..outgoing.clone() }.may_have_been_used_up()
        })
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
            seen("order", Side::Swarm, Some(order.lost_in_a_row()), text)
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
