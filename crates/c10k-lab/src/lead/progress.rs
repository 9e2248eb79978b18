//! Rows of samples.csv and the line that tells how a run stands: both of the same counts.

use std::time::Instant;

use c10k_record::{PhaseName, Sample, human_bytes, human_count};

use crate::collect::watch::Counted;
use crate::lead::lab::Lab;

impl Lab<'_> {
    /// Asks both ends how they stand when a row is due, and takes it when they have answered.
    pub(crate) fn row_if_due(&mut self, now: Instant) {
        if !self.moment.is_open() && self.watch.due_in(now).is_zero() {
            let (swarm, server) = (&mut self.swarm, &mut self.server);
            let (swarm_is_there, server_is_there) = (!self.swarm_closed, !self.server_closed);
            self.moment.ask(
                now,
                || swarm_is_there && swarm.tell("now"),
                || server_is_there && server.tell("now"),
            );
        }
        if self.moment.is_complete(now) {
            self.row(false);
        }
    }

    /// A row of samples.csv, and the progress line. What both ends have answered to one question is its counts; an
    /// `important` one is taken where nothing moves, and has what they said last.
    pub(crate) fn row(&mut self, important: bool) {
        let answers = Some(self.moment.take()).filter(|_| !important).unwrap_or_default();
        let (phase, counts) = match answers.swarm {
            Some((phase, counts)) => (Some(phase), counts),
            None => (self.phase, self.counts),
        };
        let accepted = match answers.asked_at {
            Some(_) => answers.server,
            None => self.server_said.clone(),
        };
        let phase = phase.map(|phase| phase.to_string()).unwrap_or_default();
        let counted = Counted {
            at: answers.asked_at.unwrap_or_else(Instant::now),
            phase: &phase,
            counts: &counts,
            accepted: accepted.map(|said| said.accepted),
        };
        let row = self.watch.tick(&counted, self.server_said.as_ref());
        if self.broken.is_none()
            && let Err(error) = self.folder.append_sample(&row)
        {
            self.broken = Some(format!("the record could not be written on: {error}"));
        }
        if important && self.phase.is_none() {
            return;
        }
        let closing = self.closing_line().filter(|_| self.phase == Some(PhaseName::Close));
        let line = closing.unwrap_or_else(|| self.progress_line(&row));
        self.printer.progress(&line, important);
    }

    fn progress_line(&self, row: &Sample) -> String {
        let rows = &self.watch.samples;
        let rate = row.connects_per_second.unwrap_or(0.0);
        let each = |of: fn(&Sample) -> Option<u64>| {
            let (first, last) = (of(rows.first()?)?, of(row)?);
            last.saturating_sub(first).checked_div(row.open?)
        };
        let cost = match (each(|row| row.server_rss_bytes), each(|row| row.slab_bytes)) {
            (Some(user), Some(kernel)) => {
                format!("  server {} + kernel {} a pair", human_bytes(user), human_bytes(kernel))
            }
            _ => String::new(),
        };
        let shown = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), human_count);
        format!(
            "{:<6} attempted {}  established {}  accepted {}  verified {} of {}  failed {}  {}/s{cost}",
            row.phase,
            shown(row.attempted),
            shown(row.established),
            shown(row.accepted),
            shown(row.verified),
            human_count(self.plan.target),
            shown(row.failed),
            human_count(rate as u64),
        )
    }
}
