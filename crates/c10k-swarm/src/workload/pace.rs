//! Times at which messages are intended, evenly one behind the other.

use super::Unsent;

/// Times are whole µs: the nearest ones.
const HALF_US: f64 = 0.5;

/// A stream of intended times. They do not depend on when anybody asks for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    per_second: f64,
    /// The next one, µs since the run's epoch.
    next_us: f64,
    /// Those that were due when there were none a second any more, and were not taken.
    owed: Option<Unsent>,
}

impl Pace {
    /// So many a second from `from_us` on, the first at this part of the way to the second.
    pub(crate) fn new(per_second: f64, from_us: u64, place: f64) -> Self {
        let gap_us = if per_second > 0.0 { 1e6 / per_second } else { 0.0 };
        Self { per_second, next_us: from_us as f64 + place * gap_us, owed: None }
    }

    /// When the next one is intended; `None` where nothing ever is.
    pub(crate) fn next_us(&self) -> Option<u64> {
        let own = || (self.per_second > 0.0).then_some((self.next_us + HALF_US) as u64);
        self.owed.map(|owed| owed.first_us).or_else(own)
    }

    /// The next one is taken.
    pub(crate) fn take(&mut self) {
        match &mut self.owed {
            None => self.next_us += 1e6 / self.per_second,
            Some(Unsent { count: ..=1, .. }) => self.owed = None,
            Some(owed) => {
                owed.count -= 1;
                owed.first_us += (owed.last_us - owed.first_us) / owed.count;
            }
        }
    }

    /// From `now_us` on there are so many a second. What was due before stays due when it was.
    pub(crate) fn change(&mut self, per_second: f64, now_us: u64) {
        if (per_second - self.per_second).abs() <= f64::EPSILON {
            return;
        }
        let ahead_us = self.next_us - now_us as f64;
        if self.per_second <= 0.0 {
            *self = Self { owed: self.owed, ..Self::new(per_second, now_us, 0.5) };
            return;
        }
        if per_second <= 0.0 {
            self.owed = self.left(now_us);
        }
        if ahead_us > 0.0 && per_second > 0.0 {
            self.next_us = now_us as f64 + ahead_us * self.per_second / per_second;
        }
        self.per_second = per_second;
    }

    /// Those that are intended before `until_us` and were not taken.
    pub(crate) fn left(&self, until_us: u64) -> Option<Unsent> {
        let own = self.own_left(until_us);
        match (self.owed, own) {
            (Some(owed), Some(own)) => Some(Unsent {
                count: owed.count + own.count,
                first_us: owed.first_us.min(own.first_us),
                last_us: owed.last_us.max(own.last_us),
            }),
            (owed, own) => owed.or(own),
        }
    }

    fn own_left(&self, until_us: u64) -> Option<Unsent> {
        let time_us = until_us as f64 - HALF_US - self.next_us;
        if self.per_second <= 0.0 || time_us <= 0.0 {
            return None;
        }
        let count = (time_us * self.per_second / 1e6).ceil() as u64;
        let last_us = self.next_us + count.saturating_sub(1) as f64 * 1e6 / self.per_second;
        let nearest = |at_us: f64| (at_us + HALF_US) as u64;
        Some(Unsent { count, first_us: nearest(self.next_us), last_us: nearest(last_us) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(pace: &mut Pace, count: usize) -> Vec<u64> {
        (0..count)
            .map(|_| {
                let at_us = pace.next_us().expect("there is one");
                pace.take();
                at_us
            })
            .collect()
    }

    #[test]
    fn times_are_evenly_spaced_and_do_not_depend_on_who_asks() {
        let mut pace = Pace::new(1000.0, 5000, 0.5);
        assert_eq!(times(&mut pace, 4), [5500, 6500, 7500, 8500]);
        assert_eq!(pace.left(12_500), Some(Unsent { count: 3, first_us: 9500, last_us: 11_500 }));
        assert_eq!(pace.left(12_501).map(|left| (left.count, left.last_us)), Some((4, 12_500)));
        assert_eq!(pace.left(9000), None);
    }

    #[test]
    fn over_an_hour_no_message_is_lost_to_rounding() {
        let mut pace = Pace::new(333_333.0, 0, 0.0);
        let hour_us = 3_600_000_000;
        pace.next_us = hour_us as f64;
        let last_us = times(&mut pace, 333_333).last().map(|at| at - hour_us);
        assert!(last_us.is_some_and(|last_us| (999_995..=999_998).contains(&last_us)), "{last_us:?}");
    }

    #[test]
    fn another_rate_holds_from_when_it_is_changed() {
        let mut pace = Pace::new(1000.0, 0, 1.0);
        pace.change(500.0, 500);
        assert_eq!(times(&mut pace, 2), [1500, 3500], "half of the way was left");
        let mut late = Pace::new(1000.0, 0, 0.0);
        late.change(500.0, 10_000);
        assert_eq!(late.next_us(), Some(0), "what was due stays due");
    }

    #[test]
    fn what_is_due_is_owed_also_where_there_are_none_a_second_any_more() {
        let mut pace = Pace::new(1000.0, 0, 0.0);
        assert_eq!(times(&mut pace, 6), [0, 1000, 2000, 3000, 4000, 5000]);
        pace.change(0.0, 10_000);
        let owed = Unsent { count: 4, first_us: 6000, last_us: 9000 };
        assert_eq!(pace.left(20_000), Some(owed), "nothing more falls due");
        assert_eq!(times(&mut pace, 1), [6000]);
        pace.change(1000.0, 20_000);
        let all = Unsent { count: 3 + 2, first_us: 7000, last_us: 21_500 };
        assert_eq!(pace.left(22_000), Some(all));
        assert_eq!(times(&mut pace, 5), [7000, 8000, 9000, 20_500, 21_500]);
        pace.change(0.0, 22_000);
        assert_eq!((pace.next_us(), pace.left(30_000)), (None, None), "all was taken");
        let mut never = Pace::new(0.0, 0, 0.0);
        never.change(0.0, 5000);
        assert_eq!((never.next_us(), never.left(9000)), (None, None));
    }

    #[test]
    fn one_that_falls_on_the_end_is_not_before_it_however_it_is_rounded() {
        for per_second in [3_u32, 7, 150, 333, 46_000] {
            for from_us in [0, 12_345, 3_600_000_001] {
                let mut pace = Pace::new(f64::from(per_second), from_us, 0.0);
                let until_us = from_us + 1_000_000;
                assert_eq!(pace.left(until_us).map(|left| left.count), Some(u64::from(per_second)));
                let mut taken = 0;
                while pace.next_us().is_some_and(|next_us| next_us < until_us) {
                    pace.take();
                    taken += 1;
                }
                assert_eq!((taken, pace.left(until_us)), (per_second, None));
            }
        }
    }
}
