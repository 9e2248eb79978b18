//! Rows of samples.csv and the line that tells how a run stands: both of the same counts.

use std::time::{Duration, Instant};

use c10k_record::{Bytes, Live, Messages, PhaseName, Sample, Span, human_count, time_left, with_unit};

use crate::collect::watch::Counted;
use crate::lead::lab::Lab;

impl Lab<'_> {
    /// Asks both ends how they stand when a row is due, and takes it when they have answered.
    pub(crate) fn row_if_due(&mut self, now: Instant) {
        if !self.said.moment.is_open() && self.seen.watch.due_in(now).is_zero() {
            let (swarm, server) = (&mut self.pair.swarm, &mut self.pair.server);
            let (swarm_is_there, server_is_there) = (!self.pair.swarm_closed, !self.pair.server_closed);
            self.said.moment.ask(
                now,
                || swarm_is_there && swarm.tell("now"),
                // One on another host is looked at in any case, also where it says nothing itself.
                || server.tell("now") && server_is_there,
            );
        }
        if self.said.moment.is_complete(now) {
            self.row(false);
        }
    }

    /// How long until the swarm is asked for its counts beside the rows of samples.csv; `None` but in the ramp.
    pub(crate) fn due_in_ramp(&self, now: Instant) -> Option<Duration> {
        let is_ramp = self.said.swarm.phase == Some(PhaseName::Ramp) && !self.pair.swarm_closed;
        self.seen.watch.due_in_ramp(now).filter(|_| is_ramp && !self.said.moment.is_open())
    }

    /// Asks the swarm for its counts when a row of ramp.csv is due: its answer is that row.
    pub(crate) fn ramp_row_if_due(&mut self, now: Instant) {
        if self.due_in_ramp(now).is_some_and(|due| due.is_zero()) && self.pair.swarm.tell("now") {
            self.seen.watch.asked_in_ramp(now);
        }
    }

    /// A row of samples.csv, and the progress line. What both ends have answered to one question is its counts; an
    /// `important` one is taken where nothing moves, and has what they said last.
    pub(crate) fn row(&mut self, important: bool) {
        let answers = Some(self.said.moment.take()).filter(|_| !important).unwrap_or_default();
        let (phase, counts) = match answers.swarm {
            Some((phase, counts)) => (Some(phase), counts),
            None => (self.said.swarm.phase, self.said.swarm.counts),
        };
        let accepted = match answers.asked_at {
            Some(_) => answers.server,
            None => self.said.server.last.clone(),
        };
        let phase = phase.map(|phase| phase.to_string()).unwrap_or_default();
        let counted = Counted {
            at: answers.asked_at.unwrap_or_else(Instant::now),
            phase: &phase,
            phase_name: self.course.name(),
            counts: &counts,
            accepted: accepted.map(|said| said.accepted),
            lost: &self.said.swarm.lost,
        };
        let row = self.seen.watch.tick(&counted, self.said.server.last.as_ref());
        if self.broke.why.is_none()
            && let Err(error) = self.folder.append_sample(&row)
        {
            self.broke.why = Some(format!("the record could not be written on: {error}"));
        }
        self.publish();
        if important && self.said.swarm.phase.is_none() {
            return;
        }
        let live = self.live(&row);
        match self.printer.has_screen() {
            true => {
                let mut view = self.view(&row, live);
                self.printer.show(&mut view);
            }
            false => self.printer.progress(&live),
        }
    }

    /// The last line of how it stood.
    pub(crate) fn say_closed(&mut self) {
        let (Some(from), Some(row)) = (self.broke.closing_from, self.seen.watch.samples.last()) else {
            return;
        };
        let seconds = |ms: u64| with_unit(Some(ms as f64 / 1000.0), "s");
        let closing = in_phase(&self.seen.watch.samples, row);
        let connections = if from == 1 { "connection" } else { "connections" };
        let text = format!(
            "closed {} {connections} in {}; the run took {}",
            human_count(from),
            seconds(closing.as_millis() as u64),
            seconds(row.elapsed_ms)
        );
        self.printer.closing(&text);
    }

    /// How it stands, in the words of a line.
    fn live(&self, row: &Sample) -> Live<'static> {
        let since = in_phase(&self.seen.watch.samples, row);
        let target = self.plan.target;
        let up = if self.plan.load.probe { row.verified } else { row.established }.unwrap_or(0);
        let open = row.open.unwrap_or(0);
        let Span(hold) = self.plan.load.hold;
        let (phase, done, target, left) = match self.said.swarm.phase {
            None => ("start", 0, target, None),
            Some(PhaseName::Ramp) => ("ramp", up, target, time_left(up, target, since)),
            Some(PhaseName::Hold) => ("hold", open, target, Some(hold.saturating_sub(since))),
            Some(PhaseName::Verify) => ("verify", open, target, None),
            Some(PhaseName::Close) => {
                let from = self.broke.closing_from.unwrap_or(open);
                let gone = from.saturating_sub(open);
                ("close", gone, from, time_left(gone, from, since))
            }
        };
        let in_ramp = self.said.swarm.phase == Some(PhaseName::Ramp);
        // In the hold nothing is said yet but what was under way in the ramp.
        let is_proving = self.said.swarm.phase == Some(PhaseName::Verify);
        let proven = row.messages_per_second.filter(|rate| *rate > 0.0 && is_proving);
        let proof = proven.map(|per_second| Messages { per_second, ..Messages::default() });
        let work = self.said.swarm.work.as_ref().map(|work| Messages {
            kind: work.kind,
            per_second: work.messages_per_second,
            p50_us: work.p50_us,
            p99_us: work.p99_us,
        });
        Live {
            phase,
            done,
            target,
            connects_per_second: row.connects_per_second.filter(|_| in_ramp),
            messages: work.or(proof),
            bytes: self
                .bytes_each(row)
                .filter(|_| self.said.swarm.phase != Some(PhaseName::Close))
                .unwrap_or_default(),
            failed: row.failed.unwrap_or(0),
            elapsed: Duration::from_millis(row.elapsed_ms),
            left,
        }
    }

    /// By what memory has grown since the first row, for each connection that is open.
    fn bytes_each(&self, row: &Sample) -> Option<Bytes> {
        /// Of fewer the growth says what the processes began with.
        const ENOUGH: u64 = 500;
        let first = self.seen.watch.samples.first().filter(|_| row.open >= Some(ENOUGH))?;
        let each =
            |of: fn(&Sample) -> Option<u64>| of(row)?.saturating_sub(of(first)?).checked_div(row.open?);
        Some(Bytes {
            server_bytes: each(|row| row.server_rss_bytes),
            client_bytes: each(|row| row.swarm_rss_bytes),
            kernel_bytes: each(|row| row.slab_bytes),
        })
    }
}

/// How long the phase of the last row has gone on.
fn in_phase(rows: &[Sample], last: &Sample) -> Duration {
    let same = rows.iter().rev().take_while(|row| row.phase == last.phase).last();
    Duration::from_millis(last.elapsed_ms - same.map_or(last.elapsed_ms, |first| first.elapsed_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_that_comes_again_is_counted_from_its_last_begin() {
        let row =
            |elapsed_ms, phase: &str| Sample { elapsed_ms, phase: phase.to_owned(), ..Sample::default() };
        let rows = [row(0, "hold"), row(250, "ramp"), row(500, "hold"), row(750, "hold")];
        assert_eq!(in_phase(&rows, &rows[3]), Duration::from_millis(250));
        assert_eq!(in_phase(&rows[..2], &rows[1]), Duration::ZERO);
    }
}
