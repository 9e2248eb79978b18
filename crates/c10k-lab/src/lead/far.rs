//! A server on another host in the course of a run: its marks, its account, and what of it was not known.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use c10k_ceiling::{FarFindings, Findings};
use c10k_collector::far::Moment;
use c10k_collector::{EndsHere, Levels, Observation, account_of_ends};
use c10k_record::{
    AtServerEnd, ClockAt, ClockLook, EndHost, HostSnapshot, MemoryPerConnection, Warning, human_count,
};

use crate::collect::watch::Mark;
use crate::lead::lab::Lab;
use crate::processes::far::clock_warning;
use crate::processes::peer::Known;

/// So long a look at the far end is waited for, where what it shows belongs to this moment.
const MOMENT: Duration = Duration::from_millis(500);

impl Lab<'_> {
    /// Looks beside the rows, at both hosts where they are two.
    pub(crate) fn look_at_both(&mut self) -> Observation {
        if let Some(peer) = self.pair.server.far() {
            peer.refresh(MOMENT);
        }
        self.seen.watch.look()
    }

    /// Has the far end look closer; it is not waited for.
    pub(crate) fn mark_far(&self, moment: Moment) {
        let before = self.seen.ready.as_ref().map_or(0, |ready| ready.open);
        if let Some(peer) = self.pair.server.far() {
            peer.mark(moment, self.said.swarm.counts.open.saturating_sub(before));
        }
    }

    /// Waits for what it has seen.
    pub(crate) fn await_far_mark(&self, moment: Moment) {
        if let Some(peer) = self.pair.server.far() {
            peer.await_mark(moment);
        }
    }

    /// Has the clocks compared in the middle of the run.
    pub(crate) fn compare_far_clock(&self) {
        if let Some(peer) = self.pair.server.far() {
            peer.compare_clocks(ClockAt::Middle);
        }
    }

    /// What the far end can see of lost connections beside its counters, after the last proof.
    pub(crate) fn look_from_far(&mut self) {
        self.mark_far(Moment::Proof);
        self.await_far_mark(Moment::Proof);
        let Some(peer) = self.pair.server.far() else { return };
        let known = peer.sight.known();
        let Some(marked) = known.marks.get(&Moment::Proof).filter(|_| self.said.swarm.counts.failed > 0)
        else {
            return;
        };
        let (seen, evidence) = (&marked.evidence, &mut self.record.evidence);
        evidence.listeners = seen.listeners;
        (evidence.rules, evidence.outgoing) = (seen.rules, seen.outgoing.clone());
    }

    /// Says once that the far end is lost.
    pub(crate) fn note_far_end(&mut self) {
        let Some(peer) = self.pair.server.far() else { return };
        if self.broke.is_far_end_told {
            return;
        }
        let lost = peer.sight.known().lost.clone();
        if let Some(lost) = lost {
            self.broke.is_far_end_told = true;
            self.printer.say(&format!(
                "warning: the server's host is lost: {}; the run goes on, and what is of that host is not known any more",
                lost.why
            ));
        }
    }

    /// The limits of the server's host, where that is another one, and whether it is this machine all the same.
    pub(crate) fn limits_there(&self) -> Option<(&HostSnapshot, bool)> {
        self.pair.server.far().map(|peer| (peer.limits(), peer.is_one_machine))
    }

    /// What a connection cost at both ends, and at the server's and the clients' each by itself; `None` of a run of one host.
    pub(crate) fn cost_on_two_hosts(
        &self,
        ready: &Mark,
        full: &Mark,
    ) -> Option<(MemoryPerConnection, MemoryPerConnection, MemoryPerConnection)> {
        let peer = self.pair.server.far()?;
        let of_server = peer.sight.known().marks.get(&Moment::Hold).and_then(|marked| marked.memory.clone());
        let of_server = of_server.unwrap_or_default();
        let opened = full.open.saturating_sub(ready.open);
        let server = if peer.is_one_machine { opened } else { 0 };
        let of_clients = account_of_ends(&ready.memory, &full.memory, EndsHere { server, client: opened });
        let both = MemoryPerConnection::of_two_hosts(&of_server, &of_clients, peer.is_one_machine);
        Some((both, of_server.of_one_end(true), of_clients.of_one_end(false)))
    }

    /// The server's ends as the far end counts them, for a server that says nothing itself: they are the swarm's where nobody
    /// else was connected.
    pub(crate) fn counted_by_far(&self) -> Option<AtServerEnd> {
        let peer = self.pair.server.far().filter(|peer| !peer.speaks() && peer.open_before == Some(0))?;
        if self.plan.load.probe {
            return None;
        }
        let known = peer.sight.known();
        let marked = known.marks.get(&Moment::Proof)?;
        let held = self.record.connections.held;
        let there = marked.established?.min(held);
        let waiting = marked.not_accepted?.min(there);
        Some(AtServerEnd { accepted: there - waiting, waiting, absent: held - there })
    }

    /// What the walls need to know of the server's host.
    pub(crate) fn add_far_findings(&self, found: &mut Findings) {
        let (Some(peer), Some(far)) = (self.pair.server.far(), &self.seen.watch.far) else { return };
        let known = peer.sight.known();
        if let Some(ended) = &known.ended {
            found.plan.server_cpu_quota.clone_from(&ended.server_cpu_quota);
            found.accepted_stalled |= ended.accepted_stalled;
        }
        if !peer.speaks() {
            found.plan.server_nofile_hard = peer.limits().nofile_hard;
        }
        found.far = Some(FarFindings { host: peer.limits().clone(), counters: far.changes() });
    }

    /// Puts both hosts into the record, with what was not known of the server's.
    pub(crate) fn note_two_hosts(&mut self) {
        let (Some(peer), Some(mut two)) = (self.pair.server.far(), self.record.two_hosts.take()) else {
            return;
        };
        let known = peer.sight.known();
        let ms = |at: Instant| self.seen.watch.ms_at(at);
        (two.looks, two.looks_missed) = (known.looks, known.missed);
        two.lost_at_ms = known.lost.as_ref().map(|lost| ms(lost.at));
        two.lost_because = known.lost.as_ref().map(|lost| lost.why.clone());
        two.client.profile.clone_from(&self.record.profile);
        two.client.unreadable = self.seen.watch.unreadable();
        two.client.established = self.seen.clients_established;
        two.server.established = known.marks.get(&Moment::Hold).and_then(|marked| marked.established);
        if let Some(ended) = &known.ended {
            two.server.host = Some(ended.host.clone());
            two.server.unreadable.clone_from(&ended.unreadable);
        }
        if let Some(far) = &self.seen.watch.far {
            let (there, here) = far.levels();
            note_levels(&mut two.server, there);
            note_levels(&mut two.client, here);
        }
        let clock = known.clock.iter().map(|seen| ClockLook {
            at: seen.part,
            at_ms: ms(seen.at),
            offset_ns: seen.offset.map(|offset| offset.offset_ns),
            round_trip_ns: seen.offset.map(|offset| offset.round_trip_ns),
            tries: seen.tries,
        });
        self.record.clock = clock.collect();
        self.record.warnings.extend(warnings(&known, &two.control, ms));
        let is_unended = known.ended.is_none() && known.lost.is_none();
        if let Some(why) = &two.lost_because {
            let at = human_count(two.lost_at_ms.unwrap_or(0));
            let text = format!("the server's host was lost {at} ms into the run: {why}");
            self.broke.why.get_or_insert(text);
        } else if is_unended && !self.signals.came() {
            let text =
                format!("the control port {} did not give the account of the run in time", two.control);
            self.broke.why.get_or_insert(text);
        }
        self.record.two_hosts = Some(two);
    }
}

fn note_levels(end: &mut EndHost, levels: &Levels) {
    let changes = levels.changes();
    let grown = changes.iter().map(|(name, change)| (name.clone(), change.growth()));
    end.counters = grown.collect::<BTreeMap<_, _>>();
    end.lowest_memory_available_bytes = levels.lowest_memory_available_bytes();
}

/// What the reader should know of the far end's clock and of its silences.
fn warnings(known: &Known, control: &str, ms: impl Fn(Instant) -> u64) -> Vec<Warning> {
    let seconds = |at: Instant| ms(at) as f64 / 1e3;
    let first = known.clock.first().and_then(|seen| seen.offset);
    let mut warnings: Vec<Warning> =
        first.and_then(|offset| clock_warning(offset.offset_ns)).into_iter().collect();
    warnings.extend(known.jumps.iter().map(|(at, by)| {
        let further = by.unsigned_abs() as f64 / 1e9;
        let where_to = if *by > 0 { "ahead of" } else { "behind" };
        let text = format!(
            "one of the two clocks was set {:.1} s into the run: that of the server's host is {further:.3} s further \
             {where_to} the one here than it was",
            seconds(*at)
        );
        Warning::new("clock-jumped", text)
    }));
    warnings.extend(known.silences.iter().map(|silence| {
        let text = format!(
            "the control port {control} gave no answer from {:.1} s to {:.1} s into the run: {}; what is of the server's \
             host is not known for that time",
            seconds(silence.from),
            seconds(silence.to),
            silence.why
        );
        Warning::new("far-end-silent", text)
    }));
    warnings
}
