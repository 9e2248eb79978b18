//! From what was seen to the finished record.

use c10k_plan::view::foreseen;
use c10k_record::{
    Connections, Outcome, PhaseName, ProcessInRun, RampRow, Record, RunEvidence, RunState, Warning, counter,
    human_count, judge,
};

use crate::collect::watch::Mark;
use crate::findings::{findings, loads, order};
use crate::host::limits::as_one;
use crate::lead::lab::Lab;
use crate::lead::page::{RAMP, page};
use crate::lead::sizes::Search;

impl Lab<'_> {
    /// Puts together what was seen and writes it; also says what a search has found.
    pub(crate) fn finish(mut self) -> (Record, Option<Search>) {
        self.take_over_the_swarms_word();
        self.course.note(&mut self.record);
        self.record.server = self.said.server.last.take();
        self.record.connections.accepted = self.accepted();
        self.confirm();
        self.settle_ghosts();
        self.costs();
        self.note_two_hosts();
        self.record.time_wait.peak = self.seen.watch.levels.highest(counter::TIME_WAIT);
        self.record.time_wait.at_end =
            self.seen.watch.last.as_ref().and_then(|seen| seen.network.sockets.time_wait);
        for unreadable in self.seen.watch.unreadable() {
            self.record.warnings.push(Warning::new("unreadable", unreadable));
        }
        self.count_ended_workers();
        self.name_the_end();
        self.record.gaps.extend(self.seen.gaps.take());
        self.record.gaps.sort_by_key(|gap| gap.from_ms);
        let mut conditions = self.plan.verdicts.clone();
        conditions.extend(self.course.search.as_ref().and_then(Search::of_last));
        self.record.verdicts = judge(&conditions, &self.record);
        self.record.note_compared();
        let ended = self.course.ended_in_words();
        self.record
            .warnings
            .extend(ended.map(|words| Warning::new("ended-early", format!("the run was {words}"))));
        let warned = self.record.verdict_warnings();
        self.record.warnings.extend(warned);
        let gaps = self.record.gap_warnings();
        self.record.warnings.extend(gaps);
        let aborted = self.record.state == RunState::Aborted;
        // With the ports that were really listened on.
        let plan = self.way.stage.as_told(self.record.plan.as_ref().unwrap_or(self.plan));
        let limits = as_one(&self.limits);
        let foreseen = foreseen(&plan, &limits, self.limits_there());
        let predicted = c10k_ceiling::first_above(&foreseen, None);
        let ahead = c10k_ceiling::first_above(&foreseen, Some(self.record.connections.held));
        self.record.evidence.drops = Some(self.seen.watch.drop_reasons());
        self.record.evidence.order = self.record.evidence.order.or_else(|| order(&self.record));
        let mut found = findings(
            &self.record,
            &plan,
            &limits,
            &self.seen.watch,
            Some(self.pair.capacity),
            self.broke.server_end(),
            aborted,
        );
        found.kept_free = self.way.kept_free;
        self.add_far_findings(&mut found);
        if self.course.search.is_some() {
            // What the processors did in the tries before is no part of the last.
            found.loads = loads(&self.seen.watch, &plan, self.course.tried_from_ms);
        }
        found.plan.passing_groups = self.way.stage.passing_groups();
        let record = &mut self.record;
        record.ceiling = c10k_ceiling::diagnose(&found, predicted);
        record.wall_ahead =
            ahead.filter(|_| record.ceiling.is_none() && !aborted && self.pair.server.is_ours());
        record.met_on_the_way = c10k_ceiling::met_on_the_way(&found, record.ceiling.as_ref());
        let unexplained =
            c10k_ceiling::syns_sent_again(&found, &record.met_on_the_way, record.ceiling.as_ref());
        record.warnings.extend(unexplained);
        record.notes.extend(c10k_ceiling::hold_cannot_show(&found.plan).filter(|_| !aborted));
        if record.host.as_ref().is_some_and(|host| host.root) {
            record.make_remedies_roots();
        }
        if let Some(broken) = self.record.broken_identity() {
            self.record.warnings.push(Warning::new("identity", broken));
        }
        self.write();
        (self.record, self.course.search)
    }

    /// How many the server reports that it had accepted; of one that has not said its last word it is not known.
    fn accepted(&mut self) -> Option<u64> {
        let last = self.record.server.as_ref().map(|server| server.accepted);
        // Another's never says anything.
        if !self.pair.server.is_ours() {
            return None;
        }
        if !self.said.server.is_done || self.broke.server_end().is_some() {
            let heard = last.map_or_else(
                || "it was never heard".to_owned(),
                |last| format!("it had accepted {last} when it was last heard"),
            );
            let text = format!("the server did not say its last word: {heard}");
            self.record.warnings.push(Warning::new("server-silent", text));
            return None;
        }
        // One that had paused in the hold takes what was queued when the close makes room: those were ghosts.
        let established = self.record.connections.established;
        let then = self.said.server.at_proof.as_ref();
        let paused = then.filter(|then| then.paused > 0 && then.accepted < established);
        paused.map(|then| then.accepted).or(last)
    }

    /// Established less accepted, where both are of one moment.
    fn settle_ghosts(&mut self) {
        let c = &mut self.record.connections;
        let (established, accepted) = (c.established, c.accepted);
        c.settle_ghosts();
        let why = if self.said.swarm.record_is_lost {
            c.ghosts = None;
            accepted
                .map(|_| "the swarm's counts are of its last tick, and the server's of its end".to_owned())
        } else {
            let more = accepted.filter(|accepted| *accepted > established);
            more.map(|accepted| {
                format!(
                    "the server accepted {}, and {} were established at the client: it was not the only one to connect, \
                     or it gave up connects that came through later",
                    human_count(accepted),
                    human_count(established)
                )
            })
        };
        let why = why.map(|why| Warning::new("ghosts-unknown", format!("ghosts are not known: {why}")));
        self.record.warnings.extend(why);
    }

    fn take_over_the_swarms_word(&mut self) {
        if let Some(said) = self.said.swarm.record.take() {
            // One that somebody else has stopped is no run that came to its end.
            let why = match said.state {
                RunState::Broken => said.ended_because.clone(),
                RunState::Aborted if !self.signals.came() => {
                    said.ended_because.as_ref().map(|why| format!("the swarm was {why}"))
                }
                _ => None,
            };
            self.broke.why = self.broke.why.take().or(why);
            // Of phases the swarm knows the target: what was asked for, without what was released again.
            let phases = !self.plan.phases.is_empty();
            let target = if phases { said.connections.target } else { self.record.connections.target };
            self.record.connections = Connections { target, ..said.connections };
            self.record.failures = said.failures;
            self.record.growth_stopped = said.growth_stopped;
            self.record.growth_evidence = said.growth_evidence;
            let RunEvidence { ages, order, words, .. } = said.evidence;
            self.record.evidence = RunEvidence { ages, order, words, ..self.record.evidence.clone() };
            self.record.rate = said.rate;
            self.said.swarm.cpu = Some(said.cpu);
            self.record.latency_us = said.latency_us;
            self.record.lateness_us = said.lateness_us;
            self.record.phases = said.phases;
            self.record.work = said.work;
            self.record.gaps = said.gaps;
            self.record.sources_gone = said.sources_gone;
            // What of the profile is not in force was listed when the place was made.
            let known = &self.record.warnings;
            // Where its connections lead is looked up here, and what was late is judged by what is known of both ends.
            let here =
                ["profile-not-applied", "held-unconfirmed", "own-gap", "not-judged", "syns-sent-again"];
            let is_told = |id: &str| here.contains(&id);
            let is_new = |w: &Warning| !is_told(&w.id) && !known.contains(w);
            let new: Vec<Warning> = said.warnings.into_iter().filter(is_new).collect();
            self.record.warnings.extend(new);
            return;
        }
        self.said.swarm.record_is_lost = true;
        // The swarm is gone without a last word: what it had is lost, and counted as such.
        let c = &mut self.record.connections;
        c.attempted = self.said.swarm.counts.attempted;
        c.established = self.said.swarm.counts.established;
        c.verified = self.plan.load.probe.then_some(self.said.swarm.counts.verified);
        (c.held, c.open) = (0, self.broke.is_stopped_early.then_some(self.said.swarm.counts.open));
        c.add_failed(Outcome::worker_lost(), self.said.swarm.counts.attempted);
        if self.said.swarm.counts.attempted > 0 {
            self.record.failures = vec![c10k_record::Failure {
                phase: self.said.swarm.phase.unwrap_or(PhaseName::Ramp),
                outcome: Outcome::worker_lost(),
                count: self.said.swarm.counts.attempted,
                first_at_ms: 0,
            }];
        }
    }

    /// The counts so far and what they cost, for the reader of the record of a run that never comes to its end.
    pub(crate) fn note_how_it_stands(&mut self) {
        let c = &mut self.record.connections;
        c.attempted = self.said.swarm.counts.attempted;
        c.established = self.said.swarm.counts.established;
        c.accepted =
            self.said.server.last.as_ref().filter(|_| self.pair.server.is_ours()).map(|said| said.accepted);
        c.verified = self.plan.load.probe.then_some(self.said.swarm.counts.verified);
        c.open = Some(self.said.swarm.counts.open);
        self.costs();
    }

    fn costs(&mut self) {
        let c = &self.record.connections;
        let seen = self.seen.ends.in_hold.as_ref().map(|seen| seen.accepted);
        self.record.cpu =
            self.seen.ramp_cpu.over(self.said.swarm.cpu.as_ref(), c.accepted.or(seen), c.attempted);
        let (Some(ready), Some(full)) = (&self.seen.ready, &self.seen.full) else { return };
        let of_two = self.cost_on_two_hosts(ready, full);
        if let (Some((both, server, client)), Some(two)) = (of_two, &mut self.record.two_hosts) {
            (two.server.memory_per_connection, two.client.memory_per_connection) = (server, client);
            self.record.memory_per_connection = both;
        } else {
            self.record.memory_per_connection = self.cost_of_memory(ready, full);
        }
        self.record.processes = self.processes(full);
    }

    /// The server's processes as they were in the hold.
    fn processes(&self, full: &Mark) -> Vec<ProcessInRun> {
        let by_its_word =
            self.said.server.last.as_ref().or(self.record.server.as_ref()).map(|said| said.peak);
        let told = |seen: ProcessInRun| match self.pair.server.is_ours() {
            true => ProcessInRun { listens: true, connections: by_its_word, ..seen },
            false => seen,
        };
        let seen = match self.pair.server.far() {
            Some(peer) => peer.processes(),
            None => {
                let here = full.seen.processes.iter();
                here.map(|process| process.in_run(full.memory.server.as_ref())).collect()
            }
        };
        seen.into_iter().map(told).collect()
    }

    fn name_the_end(&mut self) {
        if let Some(broken) = self.broke.why.take() {
            self.record.ended_because = Some(broken);
            return self.record.end(RunState::Broken);
        }
        if self.broke.server_end().is_some() {
            return self.record.end(RunState::Broken);
        }
        if self.broke.is_stopped_early && self.said.swarm.verified.is_none() {
            self.record.ended_because = Some(format!("stopped by {}", self.signals.name()));
            return self.record.end(RunState::Aborted);
        }
        self.record.ended_because = self.course.ended_in_words();
        self.record.end(RunState::Complete);
    }

    fn write(&mut self) {
        let ramp = &self.seen.watch.ramp;
        let page = page(&self.record, &self.seen.watch.samples, ramp, &[], self.folder.path());
        let written = self
            .folder
            .write_file(RAMP, RampRow::csv(ramp).as_bytes())
            .and_then(|()| self.folder.write_file("report.html", page.as_bytes()))
            .and_then(|()| self.folder.finish(&self.record));
        if let Err(error) = written {
            self.record.state = RunState::Broken;
            self.record.ended_because = Some(format!("the record could not be written: {error}"));
            self.printer
                .error(&error.to_string(), Some("make room on the disk; --json still prints the record"));
        }
    }
}
