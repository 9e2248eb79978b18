//! One moment for the counts of both ends: both are asked at once how they stand, and a row has what they answer.
//!
//! Each end also says by itself how it stands, by a clock of its own. Counts of two clocks stand apart by whatever
//! happens between the two, thousands of connections in a ramp, and read like a queue that nobody has.

use std::time::{Duration, Instant};

use c10k_record::{LiveCounts, PhaseName, ServerReport};

/// How long a row waits for an answer. Who is stopped, or gone, keeps it back once and no longer.
const PATIENCE: Duration = Duration::from_millis(150);

/// What one end has said.
#[derive(Debug, Default)]
enum Answer<T> {
    /// Nothing is awaited.
    #[default]
    None,
    Awaited,
    /// It was asked for an earlier row and has not answered yet: it is not asked again before it does.
    Owed,
    Here(T),
}

impl<T> Answer<T> {
    fn came(&mut self, answer: T, is_open: bool) {
        *self = if is_open { Self::Here(answer) } else { Self::None };
    }

    /// What it has said; an answer that has not come is owed.
    fn take(&mut self) -> Option<T> {
        match std::mem::take(self) {
            Self::Here(answer) => Some(answer),
            Self::Awaited | Self::Owed => {
                *self = Self::Owed;
                None
            }
            Self::None => None,
        }
    }
}

/// How both ends stand at one moment, as far as they have said so.
#[derive(Debug, Default)]
pub(crate) struct Moment {
    asked_at: Option<Instant>,
    swarm: Answer<(PhaseName, LiveCounts)>,
    server: Answer<ServerReport>,
}

/// Both at one moment; `None` where an end did not answer.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) asked_at: Option<Instant>,
    pub(crate) swarm: Option<(PhaseName, LiveCounts)>,
    pub(crate) server: Option<ServerReport>,
}

impl Moment {
    /// Asks both ends, each by a function that says whether there is anybody to be asked. An end that owes an answer is
    /// not asked.
    pub(crate) fn ask(&mut self, now: Instant, swarm: impl FnOnce() -> bool, server: impl FnOnce() -> bool) {
        self.asked_at = Some(now);
        if matches!(self.swarm, Answer::None) && swarm() {
            self.swarm = Answer::Awaited;
        }
        if matches!(self.server, Answer::None) && server() {
            self.server = Answer::Awaited;
        }
    }

    pub(crate) fn swarm_says(&mut self, phase: PhaseName, counts: LiveCounts) {
        self.swarm.came((phase, counts), self.is_open());
    }

    pub(crate) fn server_says(&mut self, report: &ServerReport) {
        self.server.came(report.clone(), self.is_open());
    }

    /// Whether somebody was asked and the row is yet to be taken.
    pub(crate) fn is_open(&self) -> bool {
        self.asked_at.is_some()
    }

    /// Whether an open moment has all that it waits for.
    pub(crate) fn is_complete(&self, now: Instant) -> bool {
        let Some(asked_at) = self.asked_at else { return false };
        let waits = matches!(self.swarm, Answer::Awaited) || matches!(self.server, Answer::Awaited);
        !waits || now.duration_since(asked_at) >= PATIENCE
    }

    /// Ends it, with what was said.
    pub(crate) fn take(&mut self) -> Answers {
        Answers { asked_at: self.asked_at.take(), swarm: self.swarm.take(), server: self.server.take() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(established: u64) -> LiveCounts {
        LiveCounts { established, ..LiveCounts::default() }
    }

    fn report(accepted: u64) -> ServerReport {
        ServerReport { accepted, ..ServerReport::default() }
    }

    fn established_and_accepted(moment: &mut Moment) -> (Option<u64>, Option<u64>) {
        let answers = moment.take();
        (answers.swarm.map(|(_, counts)| counts.established), answers.server.map(|said| said.accepted))
    }

    #[test]
    fn a_row_has_what_both_ends_answer_to_one_question() {
        let (mut moment, now) = (Moment::default(), Instant::now());
        // What one of them says unasked is of another moment.
        moment.swarm_says(PhaseName::Ramp, counts(1));
        moment.server_says(&report(1));
        assert!(!moment.is_complete(now));
        assert_eq!(established_and_accepted(&mut moment), (None, None));
        moment.ask(now, || true, || true);
        moment.swarm_says(PhaseName::Ramp, counts(7000));
        assert!(moment.is_open() && !moment.is_complete(now), "the server has not answered");
        moment.server_says(&report(6990));
        assert!(moment.is_complete(now));
        assert_eq!(established_and_accepted(&mut moment), (Some(7000), Some(6990)));
        assert!(!moment.is_open());
    }

    #[test]
    fn an_end_that_does_not_answer_keeps_back_one_row_for_a_moment_and_is_not_asked_again_before_it_does() {
        let (mut moment, now) = (Moment::default(), Instant::now());
        moment.ask(now, || true, || true);
        moment.swarm_says(PhaseName::Hold, counts(5));
        assert!(!moment.is_complete(now + PATIENCE / 2) && moment.is_complete(now + PATIENCE));
        assert_eq!(established_and_accepted(&mut moment), (Some(5), None));
        moment.ask(now, || true, || panic!("it owes an answer"));
        moment.swarm_says(PhaseName::Hold, counts(6));
        assert!(moment.is_complete(now), "nobody waits for it any more");
        assert_eq!(established_and_accepted(&mut moment), (Some(6), None));
        // It goes on, and answers what it was asked long ago.
        moment.server_says(&report(3));
        let mut is_asked = false;
        moment.ask(now, || true, || std::mem::replace(&mut is_asked, true) | true);
        assert!(is_asked);
        moment.swarm_says(PhaseName::Hold, counts(7));
        moment.server_says(&report(8));
        assert_eq!(established_and_accepted(&mut moment), (Some(7), Some(8)));
    }

    #[test]
    fn who_is_not_there_is_not_waited_for() {
        let (mut moment, now) = (Moment::default(), Instant::now());
        moment.ask(now, || true, || false);
        assert!(!moment.is_complete(now));
        moment.swarm_says(PhaseName::Ramp, counts(2));
        assert!(moment.is_complete(now));
        assert_eq!(established_and_accepted(&mut moment), (Some(2), None));
        moment.ask(now, || false, || false);
        assert!(moment.is_complete(now));
    }
}
