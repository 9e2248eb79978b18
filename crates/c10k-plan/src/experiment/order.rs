//! In which order the runs of a sweep are made, and how long they take.
//!
//! A machine drifts: it warms up, its memory fills, a neighbour comes. What runs first is always the colder one. So each
//! round has every side once, and the round after it the same sides the other way round (A B, B A); which way a couple
//! of rounds begins is drawn by the seed.

use c10k_record::{Plan, Spread};
use c10k_report::stats::Seeded;
use serde::{Deserialize, Serialize};

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// It warms the machine up and is thrown away.
    WarmUp,
    /// The base against itself.
    Same,
    /// A round of all sides.
    Pairs,
}

/// One run in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Which part of the sweep it belongs to.
    pub part: Part,
    /// From 0; within its part.
    pub round: u32,
    /// Its place in the round, from 0.
    pub place: u32,
    /// The side, 0 for the base. Of the base against itself 1 is the one that stands for the other side.
    pub side: usize,
}

impl Slot {
    /// The side whose plan it carries out.
    pub fn arm(&self) -> usize {
        if self.part == Part::Pairs { self.side } else { 0 }
    }
}

/// All runs in their order.
pub fn order(sides: usize, pairs: u32, same_pairs: u32, seed: u64) -> Vec<Slot> {
    let mut seeded = Seeded::new(seed);
    let mut slots = vec![Slot { part: Part::WarmUp, round: 0, place: 0, side: 0 }];
    slots.extend(rounds(Part::Same, 2, same_pairs, &mut seeded));
    slots.extend(rounds(Part::Pairs, sides, pairs, &mut seeded));
    slots
}

fn rounds(part: Part, sides: usize, count: u32, seeded: &mut Seeded) -> Vec<Slot> {
    let mut slots = Vec::new();
    let mut order: Vec<usize> = (0..sides).collect();
    for round in 0..count {
        if round % 2 == 0 {
            for at in (1..sides).rev() {
                order.swap(at, seeded.below(at + 1));
            }
        } else {
            order.reverse();
        }
        slots.extend((0..).zip(&order).map(|(place, side)| Slot { part, round, place, side: *side }));
    }
    slots
}

/// Connections a second that a machine is taken to make before the first run has shown it.
const CONNECTS_PER_SECOND: f64 = 20_000.0;
/// What a run takes beside its phases, seconds: to start two processes, to look around, to write its record.
const BESIDE_SECONDS: f64 = 1.0;

/// How long a run of this plan takes, as far as can be said before one, seconds.
pub fn run_seconds(plan: &Plan) -> f64 {
    let load = &plan.load;
    let rate = load.rate_per_second.filter(|_| load.arrivals != Spread::Burst);
    let rate = rate.map_or(CONNECTS_PER_SECOND, |rate| rate.min(CONNECTS_PER_SECOND));
    let all = plan.target as f64;
    let in_phases: f64 = match plan.phases.as_slice() {
        [] => load.hold.0.as_secs_f64(),
        phases => phases.iter().filter_map(|phase| phase.duration).map(|long| long.0.as_secs_f64()).sum(),
    };
    let pauses = load.steps.map_or(0, |steps| steps.count.saturating_sub(1));
    let pauses = pauses as f64 * load.step_pause.0.as_secs_f64();
    // They are made; to prove themselves at the end and to be closed takes as long again.
    BESIDE_SECONDS + all / rate + all / CONNECTS_PER_SECOND + in_phases + pauses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(slots: &[Slot], part: Part) -> Vec<Vec<usize>> {
        let mut rounds: Vec<Vec<usize>> = Vec::new();
        for slot in slots.iter().filter(|slot| slot.part == part) {
            if slot.place == 0 {
                rounds.push(Vec::new());
            }
            rounds.last_mut().expect("a round begins").push(slot.side);
        }
        rounds
    }

    #[test]
    fn every_second_round_goes_the_other_way_and_each_has_every_side() {
        for seed in 0..50 {
            let slots = order(3, 6, 4, seed);
            assert_eq!((slots.len(), slots[0].part), (1 + 8 + 18, Part::WarmUp));
            for (part, count) in [(Part::Same, 2), (Part::Pairs, 3)] {
                let rounds = sides(&slots, part);
                for couple in rounds.chunks(2) {
                    let turned: Vec<usize> = couple[1].iter().rev().copied().collect();
                    assert_eq!(couple[0], turned);
                    let mut all = turned;
                    all.sort_unstable();
                    assert_eq!(all, (0..count).collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn a_seed_gives_one_order_and_seeds_give_different_ones() {
        assert_eq!(order(2, 6, 2, 7), order(2, 6, 2, 7));
        let first: Vec<usize> = (0..20).map(|seed| sides(&order(2, 2, 1, seed), Part::Pairs)[0][0]).collect();
        assert!(first.contains(&0) && first.contains(&1), "{first:?}");
    }

    #[test]
    fn the_base_against_itself_is_the_base_alone() {
        let slots = order(2, 1, 3, 1);
        assert!(slots.iter().filter(|slot| slot.part != Part::Pairs).all(|slot| slot.arm() == 0));
        assert_eq!(sides(&slots, Part::Same).len(), 3);
    }

    #[test]
    fn a_run_takes_its_hold_its_pauses_and_its_connects() {
        let mut plan = crate::resolve::default_plan();
        plan.target = 10_000;
        plan.load.hold = c10k_record::Span::secs(4);
        let whole = run_seconds(&plan);
        assert!((5.5..6.5).contains(&whole), "{whole}");
        plan.load.rate_per_second = Some(1000.0);
        assert!((run_seconds(&plan) - whole - 9.5).abs() < 1e-9);
        plan.load.steps = Some("2500x4".parse().expect("steps"));
        assert!((run_seconds(&plan) - whole - 12.5).abs() < 1e-9, "three pauses of a second");
    }
}
