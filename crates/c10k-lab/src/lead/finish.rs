//! From what was seen to the finished record.

use c10k_collector::HolderSeen;
use c10k_record::{
    Connections, Outcome, PhaseName, ProcessInRun, Record, RunState, Warning, counter, human_count, judge,
};

use crate::collect::watch::Mark;
use crate::findings::{findings, order};
use crate::lead::lab::Lab;
use crate::plan::view::plan_view;

impl Lab<'_> {
    /// Puts together what was seen and writes it.
    pub(crate) fn finish(mut self) -> Record {
        self.take_over_the_swarms_word();
        self.record.server = self.server_said.take();
        self.record.connections.accepted = self.accepted();
        self.confirm();
        self.settle_ghosts();
        self.costs();
        self.record.time_wait.peak = self.watch.levels.highest(counter::TIME_WAIT);
        self.record.time_wait.at_end = self.watch.last.as_ref().and_then(|seen| seen.sockets.time_wait);
        for unreadable in self.watch.unreadable() {
            self.record.warnings.push(Warning::new("unreadable", unreadable));
        }
        self.name_the_end();
        self.record.gaps.extend(self.gaps.take());
        self.record.gaps.sort_by_key(|gap| gap.from_ms);
        self.record.verdicts = judge(&self.plan.verdicts, &self.record);
        let gaps = self.record.gap_warnings();
        self.record.warnings.extend(gaps);
        let aborted = self.record.state == RunState::Aborted;
        // With the ports that were really listened on.
        let plan = self.stage.as_told(self.record.plan.as_ref().unwrap_or(self.plan));
        let predicted = c10k_ceiling::predicted_ceiling(&self.limits, &plan_view(&plan, &self.limits));
        self.record.evidence.order = self.record.evidence.order.or_else(|| order(&self.record));
        let mut found = findings(
            &self.record,
            &plan,
            &self.limits,
            &self.watch,
            Some(self.capacity),
            self.server_end,
            aborted,
        );
        found.kept_free = self.kept_free;
        found.plan.passing_groups = self.stage.passing_groups();
        let record = &mut self.record;
        record.ceiling = c10k_ceiling::diagnose(&found, predicted);
        record.met_on_the_way = c10k_ceiling::met_on_the_way(&found, record.ceiling.as_ref());
        let unexplained =
            c10k_ceiling::syns_sent_again(&found, &record.met_on_the_way, record.ceiling.as_ref());
        record.warnings.extend(unexplained);
        if record.host.as_ref().is_some_and(|host| host.root) {
            record.make_remedies_roots();
        }
        if let Some(broken) = self.record.broken_identity() {
            self.record.warnings.push(Warning::new("identity", broken));
        }
        self.write();
        self.record
    }

    /// The server's own word on how many it had accepted; of one that has not said its last word it is not known.
    fn accepted(&mut self) -> Option<u64> {
        let last = self.record.server.as_ref().map(|server| server.accepted);
        // Another's never says anything.
        if !self.server.is_ours() {
            return None;
        }
        if !self.server_is_done || self.server_end.is_some() {
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
        let then = self.server_at_proof.as_ref();
        let paused = then.filter(|then| then.paused > 0 && then.accepted < established);
        paused.map(|then| then.accepted).or(last)
    }

    /// Established less accepted, where both are of one moment.
    fn settle_ghosts(&mut self) {
        let c = &mut self.record.connections;
        let (established, accepted) = (c.established, c.accepted);
        c.settle_ghosts();
        let why = if self.swarm_record_is_lost {
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
        if let Some(said) = self.swarm_record.take() {
            // One that somebody else has stopped is no run that came to its end.
            let why = match said.state {
                RunState::Broken => said.ended_because.clone(),
                RunState::Aborted if !self.signals.came() => {
                    said.ended_because.as_ref().map(|why| format!("the swarm was {why}"))
                }
                _ => None,
            };
            self.broken = self.broken.take().or(why);
            let target = self.record.connections.target;
            self.record.connections = Connections { target, ..said.connections };
            self.record.failures = said.failures;
            self.record.growth_stopped = said.growth_stopped;
            self.record.growth_evidence = said.growth_evidence;
            (self.record.evidence.ages, self.record.evidence.order) =
                (said.evidence.ages, said.evidence.order);
            self.record.rate = said.rate;
            self.cpu_said = Some(said.cpu);
            self.record.latency_us = said.latency_us;
            self.record.lateness_us = said.lateness_us;
            self.record.phases = said.phases;
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
        self.swarm_record_is_lost = true;
        // The swarm is gone without a last word: what it had is lost, and counted as such.
        let c = &mut self.record.connections;
        c.attempted = self.counts.attempted;
        c.established = self.counts.established;
        c.verified = self.plan.load.probe.then_some(self.counts.verified);
        (c.held, c.open) = (0, self.is_stopped_early.then_some(self.counts.open));
        c.add_failed(Outcome::worker_lost(), self.counts.attempted);
        if self.counts.attempted > 0 {
            self.record.failures = vec![c10k_record::Failure {
                phase: self.phase.unwrap_or(PhaseName::Ramp),
                outcome: Outcome::worker_lost(),
                count: self.counts.attempted,
                first_at_ms: 0,
            }];
        }
    }

    /// The counts so far and what they cost, for whoever reads the record of a run that never comes to its end.
    pub(crate) fn note_how_it_stands(&mut self) {
        let c = &mut self.record.connections;
        c.attempted = self.counts.attempted;
        c.established = self.counts.established;
        c.accepted = self.server_said.as_ref().filter(|_| self.server.is_ours()).map(|said| said.accepted);
        c.verified = self.plan.load.probe.then_some(self.counts.verified);
        c.open = Some(self.counts.open);
        self.costs();
    }

    fn costs(&mut self) {
        let c = &self.record.connections;
        let seen = self.ends.in_hold.as_ref().map(|seen| seen.accepted);
        self.record.cpu = self.ramp_cpu.over(self.cpu_said.as_ref(), c.accepted.or(seen), c.attempted);
        let (Some(ready), Some(full)) = (&self.ready, &self.full) else { return };
        self.record.memory_per_connection = self.cost_of_memory(ready, full);
        self.record.processes = self.processes(full);
    }

    /// The server's processes as they were in the hold.
    fn processes(&self, full: &Mark) -> Vec<ProcessInRun> {
        let by_its_word = self.server_said.as_ref().or(self.record.server.as_ref()).map(|said| said.peak);
        let told = |process: &HolderSeen| {
            let memory = full.memory.server.as_ref().and_then(|memory| memory.of(process.pid));
            let is_ours = self.server.is_ours();
            ProcessInRun {
                pid: process.pid,
                name: process.name.clone(),
                listens: is_ours || process.listener.is_some(),
                counted: process.is_counted,
                connections: if is_ours { by_its_word } else { process.connections },
                estimated: process.estimated,
                rss_bytes: process.seen.rss_bytes,
                pss_bytes: memory.and_then(|memory| memory.pss_bytes),
                private_bytes: memory.and_then(|memory| memory.exact_anon_bytes.or(memory.anon_bytes)),
                descriptors: process.seen.descriptors.map(|seen| seen.open),
                nofile: process.seen.descriptors.and_then(|seen| seen.limit),
                threads: process.seen.threads,
                cpu_seconds: process.seen.cpu_seconds,
            }
        };
        full.seen.processes.iter().map(told).collect()
    }

    fn name_the_end(&mut self) {
        if let Some(broken) = self.broken.take() {
            self.record.ended_because = Some(broken);
            return self.record.end(RunState::Broken);
        }
        if self.server_end.is_some() {
            return self.record.end(RunState::Broken);
        }
        if self.is_stopped_early && self.verified.is_none() {
            self.record.ended_because = Some(format!("stopped by {}", self.signals.name()));
            return self.record.end(RunState::Aborted);
        }
        self.record.ended_because = None;
        self.record.end(RunState::Complete);
    }

    fn write(&mut self) {
        let page = c10k_report::html(&self.record, &self.watch.samples);
        let written = self
            .folder
            .write_file("report.html", page.as_bytes())
            .and_then(|()| self.folder.finish(&self.record));
        if let Err(error) = written {
            self.record.state = RunState::Broken;
            self.record.ended_because = Some(format!("the record could not be written: {error}"));
            self.printer
                .error(&error.to_string(), Some("make room on the disk; --json still prints the record"));
        }
    }
}
