//! The last proof: whom to ask next, which of the probes that are under way take a place, and when nobody answers any
//! more.

use c10k_wire::Wheel;

use crate::walk::Walk;

/// A probe that has had no answer for so long takes no place any more: those that are answered have it. It is still
/// waited for.
const SILENT_US: u64 = 250_000;

/// Whom to ask next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The connection in this slot, if it waits for that.
    Slot(u32),
    /// Nobody before somebody answers, or this time.
    NotBefore(Option<u64>),
    /// All have been asked.
    Over,
}

/// The probes of one proof, in the order in which they were sent. All times are µs since the run's epoch.
#[derive(Debug, Default)]
pub(super) struct Prober {
    walk: Walk,
    under_way: u64,
    /// How many of them have had no answer for so long.
    silent: u64,
    /// When the last of those was sent.
    silent_up_to_us: u64,
    /// When each of the others is one of those.
    waiting: Wheel<u64>,
    /// When the last of those that were answered was sent.
    answered_up_to_us: u64,
    /// Silent ones, and those whose time was over, that were sent one after the other behind the last that was answered.
    silent_in_a_row: u64,
    overdue_in_a_row: u64,
}

impl Prober {
    /// A proof of a table of so many slots begins.
    pub(super) fn begin(slots: u32) -> Self {
        Self { walk: Walk::spread(slots), ..Self::default() }
    }

    /// Whom to ask next, where so many probes may take a place.
    pub(super) fn next(&mut self, places: u32) -> Next {
        if !self.walk.is_over() && !self.has_room(places.into()) {
            return Next::NotBefore(self.waiting.next(|_, _| true));
        }
        self.walk.next().map_or(Next::Over, Next::Slot)
    }

    /// Nobody else is asked.
    pub(super) fn give_up(&mut self) {
        self.walk.end();
    }

    /// Whether all have been asked.
    pub(super) fn is_over(&self) -> bool {
        self.walk.is_over()
    }

    /// Whether one more may be sent where so many may take a place. In a row of silent ones as many more are sent: what
    /// is to be learnt is whether anybody answers at all.
    fn has_room(&self, places: u64) -> bool {
        self.under_way - self.silent < places.max(self.silent_in_a_row)
    }

    /// One was sent; `is_awaited` as in [`Prober::look`].
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
        while let Some((_, at_us)) = self.waiting.due(now_us, matters) {
            let sent_us = at_us - SILENT_US;
            self.silent += 1;
            self.silent_up_to_us = self.silent_up_to_us.max(sent_us);
            self.silent_in_a_row += u64::from(sent_us > self.answered_up_to_us);
        }
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
    fn send(prober: &mut Prober, count: u64, now_us: u64) {
        (0..count).for_each(|token| prober.sent(token, now_us, |_, _| true));
    }

    #[test]
    fn a_silent_one_takes_no_place_and_is_still_under_way() {
        let mut prober = Prober::default();
        send(&mut prober, 2, 10);
        assert!(!prober.has_room(2) && prober.has_room(3));
        prober.walk = Walk::in_order(9);
        assert!(matches!(prober.next(2), Next::NotBefore(Some(1..=250_010))));
        assert_eq!(prober.next(3), Next::Slot(0));
        prober.look(9 + SILENT_US, |_, _| true);
        assert!(!prober.has_room(2));
        prober.look(10 + SILENT_US, |_, _| true);
        assert!(prober.has_room(1));
        // Whatever its end is, it is counted once.
        prober.ended(10);
        prober.answered(10);
        assert_eq!((prober.under_way, prober.silent), (0, 0));
    }

    #[test]
    fn one_that_was_answered_in_time_never_becomes_silent() {
        let mut prober = Prober::default();
        send(&mut prober, 2, 10);
        prober.answered(10);
        let (looked, answered) = (Cell::new(0), 0);
        prober.look(1_000_000, |token, sent_us| {
            looked.set(looked.get() + 1);
            assert_eq!(sent_us, 10);
            token != answered
        });
        assert_eq!((prober.under_way, prober.silent, looked.get()), (1, 1, 2));
    }

    #[test]
    fn while_nobody_answers_as_many_more_are_asked_as_were_silent() {
        let (mut prober, mut now_us, mut asked) = (Prober::default(), 1, Vec::new());
        while !prober.nobody_has_answered(1024) {
            let mut sent = 0;
            while prober.has_room(64) {
                send(&mut prober, 1, now_us);
                sent += 1;
            }
            asked.push(sent);
            now_us += SILENT_US;
            prober.look(now_us, |_, _| true);
        }
        assert_eq!(asked, [64, 64, 128, 256, 512]);
        prober.answered(1);
        assert!(!prober.nobody_has_answered(1), "somebody has");
    }

    #[test]
    fn only_those_sent_behind_the_last_that_was_answered_are_in_a_row() {
        let mut prober = Prober::default();
        for round in 1..=100 {
            send(&mut prober, 2, round);
            prober.answered(round);
        }
        send(&mut prober, 3, 101);
        // Nobody answers for a long time: those of the rounds were sent before one that was answered.
        prober.look(10 * SILENT_US, |token, sent_us| sent_us == 101 || token == 1);
        assert!(prober.nobody_has_answered(3) && !prober.nobody_has_answered(4));
        for sent_us in (1..=100).chain([101, 101, 101]) {
            prober.ended(sent_us);
            prober.is_overdue(sent_us);
        }
        assert!(prober.nobody_answers(3) && !prober.nobody_answers(4));
        assert_eq!((prober.under_way, prober.silent), (0, 0));
    }

    #[test]
    fn all_are_asked_once_and_then_nobody() {
        let mut prober = Prober::begin(3);
        let asked: Vec<Next> = (0..4).map(|_| prober.next(1)).collect();
        assert!(asked[..3].iter().all(|next| matches!(next, Next::Slot(0..3))), "{asked:?}");
        assert_eq!(asked[3], Next::Over);
        let mut prober = Prober::begin(3);
        prober.give_up();
        assert!(prober.next(1) == Next::Over && prober.is_over());
    }
}
