//! What came of a workload: counts and latencies, a worker's own or all together.

use c10k_record::LatencyHistogram;

use super::{Pushed, Unsent};

/// What was said and answered since this was last taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Talked {
    /// Messages that should have been sent by now; those of a closed loop are none.
    pub(crate) intended: u64,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) not_sent_in_time: u64,
    /// Of these, those that are not sent at all.
    pub(crate) never_sent: u64,
    pub(crate) wrong: u64,
    /// From the intended start to the end of the answer.
    pub(crate) response: LatencyHistogram,
    /// From the actual start.
    pub(crate) service: LatencyHistogram,
    /// By how much the swarm itself began late.
    pub(crate) lateness: LatencyHistogram,
    /// Responses of beats beside a workload.
    pub(crate) beats: Option<Box<LatencyHistogram>>,
    /// What the server pushed.
    pub(crate) pushed: Option<Box<Pushed>>,
    pub(crate) churned: Churned,
}

/// What came and went since this was last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Churned {
    /// Connections closed on purpose.
    pub(crate) closed: u64,
    /// Those begun in their place that were verified.
    pub(crate) reopened: u64,
    /// Those that were lost before.
    pub(crate) failed: u64,
    pub(crate) waits_for_a_port: u64,
}

impl Churned {
    pub(crate) fn add(&mut self, other: Self) {
        self.closed += other.closed;
        self.reopened += other.reopened;
        self.failed += other.failed;
        self.waits_for_a_port += other.waits_for_a_port;
    }
}

impl Talked {
    /// What was answered. Of an exchange the first echo of the new connection is the message.
    pub(crate) fn messages(&self) -> u64 {
        self.answered + self.churned.reopened
    }

    /// Whether there is nothing to tell.
    pub(crate) fn is_empty(&self) -> bool {
        let counts = [self.intended, self.sent, self.answered, self.not_sent_in_time, self.wrong];
        let is_silent = self.beats.is_none() && self.churned == Churned::default() && self.pushed.is_none();
        counts.iter().all(|count| *count == 0) && is_silent
    }

    /// Forgets all of it.
    pub(crate) fn clear(&mut self) {
        (self.intended, self.sent, self.answered, self.wrong) = (0, 0, 0, 0);
        (self.not_sent_in_time, self.never_sent) = (0, 0);
        self.response.clear();
        self.service.clear();
        self.lateness.clear();
        self.churned = Churned::default();
        self.beats = None;
        self.pushed = None;
    }

    /// These were due and are not sent: their answers would have come no earlier than now.
    pub(crate) fn give_up(&mut self, unsent: Unsent, now_us: u64) {
        self.not_sent_in_time += unsent.count;
        self.never_sent += unsent.count;
        unsent.ages(now_us).for_each(|(age_us, count)| self.response.record_many_us(age_us, count));
    }

    /// The same of those that the swarm did not come to: it is late by as much.
    pub(crate) fn give_up_as_late(&mut self, unsent: Unsent, now_us: u64) {
        self.give_up(unsent, now_us);
        unsent.ages(now_us).for_each(|(age_us, count)| self.lateness.record_many_us(age_us, count));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.intended += other.intended;
        self.sent += other.sent;
        self.answered += other.answered;
        self.not_sent_in_time += other.not_sent_in_time;
        self.never_sent += other.never_sent;
        self.wrong += other.wrong;
        self.response.add(&other.response);
        self.service.add(&other.service);
        self.lateness.add(&other.lateness);
        if let Some(pushed) = &other.pushed {
            self.pushed.get_or_insert_default().add(pushed);
        }
        self.churned.add(other.churned);
        if let Some(beats) = &other.beats {
            self.beats.get_or_insert_default().add(beats);
        }
    }
}
