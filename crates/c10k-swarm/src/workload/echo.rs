//! Messages that the server sends back: open loop at a rate, or closed loop with so many in flight.

use c10k_record::{Payload, WorkPlan};

use super::pace::Pace;
use super::{Connections, Due, Job, Share, Stands, Unsent};
use crate::walk::Walk;

/// In how many slots a quiet connection is looked for when one is answered: behind them it is that one's turn again.
const LOOKS: u32 = 8;

/// One worker's part.
#[derive(Debug)]
pub(crate) struct Echo {
    pacing: Pacing,
    payload: Payload,
    until_us: u64,
    /// With long strides over the table, again and again: each connection has its turn once a round.
    walk: Walk,
    /// State of the generator that draws sizes.
    random: u64,
}

#[derive(Clone, Copy, Debug)]
enum Pacing {
    /// So many a second on each connection.
    Each(f64, Pace),
    /// So many a second on all connections of all workers.
    All(f64, Pace),
    /// So many in flight on all connections of all workers, and of that this worker's part.
    Closed { in_flight: u64, own: u64, is_dry: bool },
}

impl Echo {
    pub(crate) fn new(job: &Job, share: &Share) -> Self {
        let plan = &job.plan;
        let (from_us, place) = (job.from_us, share.place());
        let pacing = match (plan.in_flight_messages, plan.message_rate_per_second) {
            (Some(count), _) => {
                let in_flight = u64::from(count);
                Pacing::Closed { in_flight, own: share.of_count(in_flight), is_dry: false }
            }
            (None, Some(all)) => Pacing::All(all, Pace::new(share.of_rate(all), from_us, place)),
            (None, None) => {
                let each = plan.messages_per_second.unwrap_or(WorkPlan::MESSAGES_PER_SECOND);
                Pacing::Each(each, Pace::new(each * share.own as f64, from_us, place))
            }
        };
        Self {
            pacing,
            payload: plan.payload.unwrap_or(WorkPlan::PAYLOAD),
            until_us: job.until_us,
            walk: Walk::default(),
            random: job.seed ^ share.before,
        }
    }

    pub(crate) fn has(&mut self, share: &Share, now_us: u64) {
        // Behind the end nothing is due of anybody.
        let now_us = now_us.min(self.until_us);
        match &mut self.pacing {
            Pacing::Each(each, pace) => pace.change(*each * share.own as f64, now_us),
            Pacing::All(all, pace) => pace.change(share.of_rate(*all), now_us),
            Pacing::Closed { in_flight, own, is_dry } => {
                (*own, *is_dry) = (share.of_count(*in_flight), false);
            }
        }
    }

    pub(crate) fn next(&mut self, now_us: u64, in_flight: u64, connections: &impl Connections) -> Due {
        match &mut self.pacing {
            Pacing::Each(_, pace) | Pacing::All(_, pace) => {
                let Some(intended_us) = pace.next_us().filter(|next_us| *next_us < self.until_us) else {
                    return Due::Nobody;
                };
                if intended_us > now_us {
                    return Due::NotBefore(intended_us);
                }
                let is_there = |stands| stands != Stands::Absent;
                match next_of(&mut self.walk, connections, connections.slots(), is_there) {
                    Some(slot) => {
                        pace.take();
                        Due::Say { slot, intended_us: Some(intended_us) }
                    }
                    // It stays due: another share says whether anybody is there.
                    None => Due::Nobody,
                }
            }
            Pacing::Closed { own, is_dry, .. } => {
                if in_flight >= *own || *is_dry || now_us >= self.until_us {
                    return Due::Nobody;
                }
                let is_quiet = |stands| stands == Stands::Quiet;
                match next_of(&mut self.walk, connections, connections.slots(), is_quiet) {
                    Some(slot) => Due::Say { slot, intended_us: None },
                    None => {
                        *is_dry = true;
                        Due::Nobody
                    }
                }
            }
        }
    }

    pub(crate) fn answered(
        &mut self,
        slot: u32,
        now_us: u64,
        in_flight: u64,
        connections: &impl Connections,
    ) -> Option<u32> {
        let Pacing::Closed { own, is_dry, .. } = &mut self.pacing else { return None };
        *is_dry = false;
        if in_flight >= *own || now_us >= self.until_us {
            return None;
        }
        let is_quiet = |stands| stands == Stands::Quiet;
        Some(next_of(&mut self.walk, connections, LOOKS, is_quiet).unwrap_or(slot))
    }

    /// Drawn evenly from the range.
    pub(crate) fn size(&mut self) -> u32 {
        let Payload { min_bytes, max_bytes } = self.payload;
        if min_bytes == max_bytes {
            return min_bytes;
        }
        // The generator of PCG's paper (O'Neill 2014): 64 bits of state, of which the upper half is drawn from.
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let range = u64::from(max_bytes - min_bytes) + 1;
        min_bytes + (((self.random >> 32) * range) >> 32) as u32
    }

    pub(crate) fn left(&self, now_us: u64) -> Option<Unsent> {
        match &self.pacing {
            Pacing::Each(_, pace) | Pacing::All(_, pace) => pace.left(self.until_us.min(now_us)),
            Pacing::Closed { .. } => None,
        }
    }
}

/// The next connection of the walk that stands as wanted, in so many slots at the most.
pub(super) fn next_of(
    walk: &mut Walk,
    connections: &impl Connections,
    most: u32,
    is_wanted: impl Fn(Stands) -> bool,
) -> Option<u32> {
    for _ in 0..most.min(connections.slots()) {
        let slot = walk.next().or_else(|| {
            *walk = Walk::spread(connections.slots());
            walk.next()
        })?;
        if is_wanted(connections.stands(slot)) {
            return Some(slot);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use c10k_record::{PhaseKind, WorkPlan};

    use super::*;

    struct Table(Vec<Stands>);

    impl Connections for Table {
        fn slots(&self) -> u32 {
            self.0.len() as u32
        }

        fn stands(&self, slot: u32) -> Stands {
            self.0[slot as usize]
        }
    }

    fn echo(plan: WorkPlan, own: u64) -> Echo {
        let job = Job {
            number: 1,
            name: "echo".to_owned(),
            kind: PhaseKind::Echo,
            plan,
            from_us: 0,
            until_us: 10_000_000,
            seed: 3,
        };
        Echo::new(&job, &Share { own, before: 0, all: own })
    }

    #[test]
    fn at_a_rate_a_connection_each_has_its_turn_once_a_period_and_they_are_evenly_spread() {
        let table = Table(vec![Stands::Quiet; 100]);
        let mut echo = echo(WorkPlan { messages_per_second: Some(2.0), ..WorkPlan::default() }, 100);
        let mut times = vec![Vec::new(); 100];
        let mut last = None;
        while let Due::Say { slot, intended_us } = echo.next(5_000_000, 0, &table) {
            let at_us = intended_us.expect("an open loop");
            assert!(last.is_none_or(|last| at_us - last == 5000), "{at_us} behind {last:?}");
            last = Some(at_us);
            times[slot as usize].push(at_us);
        }
        for of_slot in times {
            assert!(of_slot.windows(2).all(|two| two[1] - two[0] == 500_000), "{of_slot:?}");
            assert!((10..=11).contains(&of_slot.len()), "{of_slot:?}");
        }
        // Of the other five seconds, less the one that stood on their border.
        let left = Unsent { count: 999, first_us: 5_005_000, last_us: 9_995_000 };
        assert_eq!(echo.left(u64::MAX), Some(left));
        assert_eq!(echo.left(5_000_000), None, "of a phase that is stopped now none is due any more");
        assert_eq!(echo.next(5_000_000, 0, &table), Due::NotBefore(5_005_000));
    }

    #[test]
    fn a_busy_connection_keeps_its_turn_and_a_free_slot_has_none() {
        let table = Table(vec![Stands::Absent, Stands::Busy, Stands::Absent, Stands::Quiet]);
        let mut echo = echo(WorkPlan { message_rate_per_second: Some(1000.0), ..WorkPlan::default() }, 2);
        let mut turns = [0; 4];
        while let Due::Say { slot, .. } = echo.next(99_500, 0, &table) {
            turns[slot as usize] += 1;
        }
        assert_eq!(turns, [0, 50, 0, 50]);
    }

    #[test]
    fn a_closed_loop_has_so_many_in_flight_and_goes_on_with_others() {
        let mut table = Table(vec![Stands::Quiet; 10]);
        let mut echo = echo(WorkPlan { in_flight_messages: Some(3), ..WorkPlan::default() }, 10);
        let mut in_flight = 0;
        while let Due::Say { slot, intended_us } = echo.next(1, in_flight, &table) {
            assert_eq!(intended_us, None);
            table.0[slot as usize] = Stands::Busy;
            in_flight += 1;
        }
        assert_eq!(in_flight, 3);
        let answered = table.0.iter().position(|stands| *stands == Stands::Busy).expect("one") as u32;
        table.0[answered as usize] = Stands::Quiet;
        let next = echo.answered(answered, 2, 2, &table).expect("another one");
        assert_ne!(next, answered);
        assert_eq!(echo.answered(answered, 10_000_000, 2, &table), None, "the time is over");
    }

    #[test]
    fn where_all_are_in_flight_the_one_that_is_answered_goes_on() {
        let mut table = Table(vec![Stands::Quiet; 2]);
        let mut echo = echo(WorkPlan { in_flight_messages: Some(64), ..WorkPlan::default() }, 2);
        for in_flight in 0..2 {
            let Due::Say { slot, .. } = echo.next(1, in_flight, &table) else { panic!("{in_flight}") };
            table.0[slot as usize] = Stands::Busy;
        }
        assert_eq!(echo.next(1, 2, &table), Due::Nobody);
        table.0[1] = Stands::Quiet;
        assert_eq!(echo.answered(1, 1, 1, &table), Some(1));
    }

    #[test]
    fn sizes_are_drawn_from_the_whole_range() {
        let payload = Some(Payload { min_bytes: 32, max_bytes: 35 });
        let mut echo = echo(WorkPlan { payload, ..WorkPlan::default() }, 1);
        let mut drawn = [0; 4];
        (0..4000).for_each(|_| drawn[(echo.size() - 32) as usize] += 1);
        assert!(drawn.iter().all(|count| (800..1200).contains(count)), "{drawn:?}");
    }
}
