//! What a run came to: the one answer of which exit code, headline and summary are made.

use crate::verdict::DEFAULT_HELD;
use crate::{Condition, Exit, Metric, Record, RunState, Verdict, human_count};

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunResult {
    /// It goes on, or its writer was killed.
    Unfinished,
    /// It was stopped before its end, and is not judged.
    Aborted,
    /// Something it stands on broke.
    Broken,
    /// It went its way and holds less than it was asked for.
    Short,
    /// It holds what it was asked for, and a verdict is broken.
    VerdictBroken,
    /// It holds what it was asked for, and every verdict holds.
    Done,
}

impl RunResult {
    /// With which code a program ends that carried out the run; `signal` is the one that stopped it, if any did.
    #[must_use]
    pub fn exit(self, signal: Option<i32>) -> Exit {
        match self {
            Self::Unfinished | Self::Broken => Exit::Broke,
            Self::Aborted => signal.map_or(Exit::Interrupted, Exit::of_signal),
            Self::Short | Self::VerdictBroken => Exit::Short,
            Self::Done => Exit::Done,
        }
    }
}

impl Record {
    /// What the run came to.
    ///
    /// It is short where held is below the target, unless it was asked for less by a verdict of its own on
    /// `held` that holds.
    #[must_use]
    pub fn result(&self) -> RunResult {
        match self.state {
            RunState::Unfinished => RunResult::Unfinished,
            RunState::Aborted => RunResult::Aborted,
            RunState::Broken => RunResult::Broken,
            RunState::Complete if !self.reached_its_target() && self.own_word_on_held().is_none() => {
                RunResult::Short
            }
            RunState::Complete if self.verdicts.iter().all(|verdict| verdict.holds() || verdict.warns()) => {
                RunResult::Done
            }
            RunState::Complete => RunResult::VerdictBroken,
        }
    }

    /// Whether the run reached its target with all verdicts passed.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.result() == RunResult::Done
    }

    /// Whether as many were held as were asked for. What a command released is no part of that any more: a swarm lowers
    /// its target with it.
    #[must_use]
    pub fn reached_its_target(&self) -> bool {
        self.connections.held >= self.connections.target
    }

    /// Of a run that somebody stopped before its end: who it was and how many were open then.
    #[must_use]
    pub fn stopped_in_words(&self) -> String {
        let why = self.ended_because.as_deref().unwrap_or_default();
        let (by, because) = match why.strip_prefix("stopped by ") {
            Some("SIGINT") => (" by Ctrl-C".to_owned(), String::new()),
            Some(who) => (format!(" by {who}"), String::new()),
            None if why.is_empty() => Default::default(),
            None => (String::new(), format!("; {why}")),
        };
        let with = self.connections.open.map(|open| format!(" with {} open", human_count(open)));
        format!("ABORTED{by}{}{because}", with.unwrap_or_default())
    }

    /// The verdict that asks for less than the target and holds.
    #[must_use]
    pub fn own_word_on_held(&self) -> Option<&Verdict> {
        // That no fewer are held than in another run says nothing of what was asked for.
        let is_on_held =
            |condition: Condition| condition.metric == Metric::Held && condition.beside().is_none();
        let is_its_own =
            |verdict: &&Verdict| verdict.expr != DEFAULT_HELD && verdict.condition().is_some_and(is_on_held);
        self.verdicts.iter().filter(is_its_own).find(|verdict| verdict.holds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge;
    use crate::record::sample_record;

    fn judged(held: u64, released: u64, verdicts: &[&str]) -> Record {
        let mut record = sample_record();
        record.state = RunState::Complete;
        record.connections.target = 10;
        record.connections.attempted = 10;
        (record.connections.held, record.connections.released) = (held, released);
        let conditions: Vec<Condition> =
            verdicts.iter().map(|text| text.parse().expect("a condition")).collect();
        record.verdicts = judge(&conditions, &record);
        record
    }

    #[test]
    fn a_run_that_is_short_of_its_target_never_ends_with_0_whatever_else_it_is_judged_by() {
        for verdicts in [&["failed <= 1%"][..], &["held = target"], &[], &["connects_per_second >= 0"]] {
            let record = judged(9, 0, verdicts);
            assert_eq!(record.result(), RunResult::Short, "{verdicts:?}");
            assert_eq!(record.result().exit(None), Exit::Short);
            assert!(!record.succeeded());
        }
        assert_eq!(judged(9, 0, &["held >= 95%"]).result(), RunResult::Short);
        assert_eq!(
            judged(9, 0, &["held >= 9 - 5%"]).result(),
            RunResult::Short,
            "no worse, and short as before"
        );
    }

    #[test]
    fn what_was_released_makes_up_for_nothing_that_is_not_held() {
        assert_eq!(judged(5, 10, &["failed <= 1%"]).result(), RunResult::Short);
        assert_eq!(judged(10, 10, &["failed <= 1%"]).result(), RunResult::Done);
    }

    #[test]
    fn a_plan_may_ask_for_less_than_its_target() {
        assert_eq!(judged(9, 0, &["held >= 90%"]).result(), RunResult::Done);
        assert_eq!(judged(10, 0, &["held = target", "echo_p95 <= 1s"]).result(), RunResult::VerdictBroken);
        assert_eq!(judged(9, 0, &["held >= 90%", "echo_p95 <= 1s"]).result(), RunResult::VerdictBroken);
    }

    #[test]
    fn a_run_that_was_stopped_says_by_whom_and_how_many_were_open() {
        let mut record = sample_record();
        record.state = RunState::Aborted;
        for (why, open, said) in [
            (Some("stopped by SIGINT"), Some(2_562_262), "ABORTED by Ctrl-C with 2,562,262 open"),
            (Some("stopped by SIGTERM"), Some(0), "ABORTED by SIGTERM with 0 open"),
            (Some("stopped by a command"), Some(3), "ABORTED by a command with 3 open"),
            (Some("the disk was full"), Some(3), "ABORTED with 3 open; the disk was full"),
            (None, None, "ABORTED"),
        ] {
            record.ended_because = why.map(str::to_owned);
            record.connections.open = open;
            assert_eq!(record.stopped_in_words(), said);
        }
    }

    #[test]
    fn what_did_not_come_to_its_end_ends_with_its_own_code() {
        let mut record = judged(10, 0, &["held = target"]);
        record.state = RunState::Broken;
        assert_eq!(record.result().exit(None), Exit::Broke);
        record.state = RunState::Aborted;
        assert_eq!(record.result().exit(Some(libc::SIGTERM)), Exit::Terminated);
        assert_eq!(record.result().exit(Some(libc::SIGINT)), Exit::Interrupted);
        record.state = RunState::Unfinished;
        assert_eq!(record.result().exit(None), Exit::Broke);
    }
}
