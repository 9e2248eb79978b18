//! The probes of the last proof that are under way: which of them take a place, and when nobody answers any more.

use super::Deadlines;

/// A probe that has had no answer for so long takes no place any more: those that are answered have it. It is still
/// waited for.
const SILENT_US: u64 = 250_000;

/// In the order in which they were sent. All times are µs since the run's epoch.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    under_way: u64,
    /// How many of them have had no answer for so long.
    silent: u64,
    /// When the last of those was sent.
    silent_up_to_us: u64,
    /// When each of the others is one of those.
    waiting: Deadlines,
    /// When the last of those that were answered was sent.
    answered_up_to_us: u64,
    /// Silent ones, and those whose time was over, that were sent one after the other behind the last that was answered.
    silent_in_a_row: u64,
    overdue_in_a_row: u64,
}

impl Proofs {
    /// Whether one more may be sent where so many may take a place. In a row of silent ones as many more are sent: what
    /// is to be learnt is whether anybody answers at all.
    pub(super) fn has_room(&self, places: u64) -> bool {
        self.under_way - self.silent < places.max(self.silent_in_a_row)
    }

    /// One was sent; `is_awaited` as in [`Proofs::look`].
    pub(super) fn sent(&mut self, token: u64, now_us: u64, is_awaited: impl Fn(u64, u64) -> bool) {
        self.under_way += 1;
        self.waiting.push(token, now_us + SILENT_US, |token, at_us| is_awaited(token, at_us - SILENT_US));
    }

    /// One that was sent at `sent_us` is not awaited any more.
    pub(super) fn ended(&mut self, sent_us: u64) {
        self.under_way -= 1;
        self.silent -= u64::from(sent_us <= self.silent_up_to_us);
    }

    /// One that was sent at `sent_us` was answered.
    pub(super) fn answered(&mut self, sent_us: u64) {
        self.ended(sent_us);
        self.answered_up_to_us = self.answered_up_to_us.max(sent_us);
        (self.silent_in_a_row, self.overdue_in_a_row) = (0, 0);
    }

    /// The time of one that was sent at `sent_us` is over. Where one that was sent behind it has been answered before, it
    /// says nothing of the others.
    pub(super) fn is_overdue(&mut self, sent_us: u64) {
        self.overdue_in_a_row += u64::from(sent_us > self.answered_up_to_us);
    }

    /// Looks which have become silent by `now_us`; `is_awaited` says of a token whether the probe that was sent on it
    /// then is still awaited.
    pub(super) fn look(&mut self, now_us: u64, is_awaited: impl Fn(u64, u64) -> bool) {
        let matters = |token, at_us: u64| is_awaited(token, at_us - SILENT_US);
        while self.waiting.next(matters).is_some_and(|at_us| {
            self.silent_up_to_us = if at_us <= now_us { at_us - SILENT_US } else { self.silent_up_to_us };
            at_us <= now_us
        }) {
            self.waiting.due(now_us);
            self.silent += 1;
            self.silent_in_a_row += u64::from(self.silent_up_to_us > self.answered_up_to_us);
        }
    }

    /// When the next one may become silent.
    pub(super) fn next_look_us(&mut self) -> Option<u64> {
        self.waiting.next(|_, _| true)
    }

    /// Whether so many in a row have had no answer yet.
    pub(super) fn nobody_has_answered(&self, many: u64) -> bool {
        self.silent_in_a_row >= many
    }

    /// Whether so many in a row had none in all their time.
    pub(super) fn nobody_answers(&self, many: u64) -> bool {
        self.overdue_in_a_row >= many
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Sends `count` at `now_us`.
    fn send(proofs: &mut Proofs, count: u64, now_us: u64) {
        (0..count).for_each(|token| proofs.sent(token, now_us, |_, _| true));
    }

    #[test]
    fn a_silent_one_takes_no_place_and_is_still_under_way() {
        let mut proofs = Proofs::default();
        send(&mut proofs, 2, 10);
        assert!(!proofs.has_room(2) && proofs.has_room(3));
        assert_eq!(proofs.next_look_us(), Some(10 + SILENT_US));
        proofs.look(9 + SILENT_US, |_, _| true);
        assert!(!proofs.has_room(2));
        proofs.look(10 + SILENT_US, |_, _| true);
        assert!(proofs.has_room(1));
        // Whatever its end is, it is counted once.
        proofs.ended(10);
        proofs.answered(10);
        assert_eq!((proofs.under_way, proofs.silent), (0, 0));
    }

    #[test]
    fn one_that_was_answered_in_time_never_becomes_silent() {
        let mut proofs = Proofs::default();
        send(&mut proofs, 2, 10);
        proofs.answered(10);
        let (looked, answered) = (Cell::new(0), 0);
        proofs.look(1_000_000, |token, sent_us| {
            looked.set(looked.get() + 1);
            assert_eq!(sent_us, 10);
            token != answered
        });
        assert_eq!((proofs.under_way, proofs.silent, looked.get()), (1, 1, 2));
    }

    #[test]
    fn while_nobody_answers_as_many_more_are_asked_as_were_silent() {
        let (mut proofs, mut now_us, mut asked) = (Proofs::default(), 1, Vec::new());
        while !proofs.nobody_has_answered(1024) {
            let mut sent = 0;
            while proofs.has_room(64) {
                send(&mut proofs, 1, now_us);
                sent += 1;
            }
            asked.push(sent);
            now_us += SILENT_US;
            proofs.look(now_us, |_, _| true);
        }
        assert_eq!(asked, [64, 64, 128, 256, 512]);
        proofs.answered(1);
        assert!(!proofs.nobody_has_answered(1), "somebody has");
    }

    #[test]
    fn only_those_sent_behind_the_last_that_was_answered_are_in_a_row() {
        let mut proofs = Proofs::default();
        for round in 1..=100 {
            send(&mut proofs, 2, round);
            proofs.answered(round);
        }
        send(&mut proofs, 3, 101);
        // Nobody answers for a long time: those of the rounds were sent before one that was answered.
        proofs.look(10 * SILENT_US, |token, sent_us| sent_us == 101 || token == 1);
        assert!(proofs.nobody_has_answered(3) && !proofs.nobody_has_answered(4));
        for sent_us in (1..=100).chain([101, 101, 101]) {
            proofs.ended(sent_us);
            proofs.is_overdue(sent_us);
        }
        assert!(proofs.nobody_answers(3) && !proofs.nobody_answers(4));
        assert_eq!((proofs.under_way, proofs.silent), (0, 0));
    }
}
