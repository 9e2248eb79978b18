//! A shard's part of a plan.

use thiserror::Error;

use super::Shard;
use crate::{LoadPlan, PhaseKind, PhasePlan, Plan, Spread, Steps, WorkPlan};

/// Too few of something for each shard to have one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what} of {total} divided by {count} shards leaves shard {shard} nothing: expected at least {count}", count = .shard.count())]
pub struct CutError {
    /// What, as it is called on the command line.
    pub what: String,
    /// How many.
    pub total: u64,
    /// For whom nothing is left.
    pub shard: Shard,
}

impl CutError {
    /// What mends it.
    #[must_use]
    pub fn hint(&self) -> String {
        format!("a greater {}, or fewer shards: each of them has to have a part", self.what)
    }
}

impl Shard {
    /// Its part of a plan: of the target, the steps, the rates, what may be under way, and of each phase. What is said of
    /// one connection stays as it is, and so do times. Source addresses are left as they are, and nothing is judged: the
    /// verdicts are those of the whole.
    ///
    /// The parts of all shards add up to the whole: whole numbers exactly, rates of messages and exchanges, which may be
    /// fractions, as the connections are divided.
    ///
    /// # Errors
    /// [`CutError`] where there are fewer than shards of what every shard needs.
    pub fn cut(self, whole: &Plan) -> Result<Plan, CutError> {
        let mut part = whole.clone();
        part.target = self.target(whole.target, whole.load.steps);
        if part.target == 0 {
            let total = whole.load.steps.map_or(whole.target, |steps| steps.size);
            let what = if whole.load.steps.is_some() { "--steps" } else { "--target" };
            return Err(self.nothing(what, total));
        }
        let share = part.target as f64 / whole.target as f64;
        part.load = self.cut_load(&whole.load)?;
        part.work = self.cut_work(&whole.work, share)?;
        part.phases =
            whole.phases.iter().map(|phase| self.cut_phase(phase, share)).collect::<Result<_, _>>()?;
        part.verdicts = Vec::new();
        Ok(part)
    }

    /// Its part of a target; with steps of each of them.
    #[must_use]
    pub fn target(self, target: u64, steps: Option<Steps>) -> u64 {
        match steps {
            Some(Steps { size, count }) => self.part(size) * count,
            None => self.part(target),
        }
    }

    fn cut_load(self, whole: &LoadPlan) -> Result<LoadPlan, CutError> {
        let rate = |rate: f64| self.some_of("--rate", rate as u64).map(|rate| rate as f64);
        let steps = |steps: Steps| Steps { size: self.part(steps.size), ..steps };
        let seed = match whole.arrivals {
            // The same gaps everywhere would make all arrive at once.
            Spread::Poisson => Some(self.seed(whole.seed.unwrap_or(1))),
            Spread::Even | Spread::Burst => whole.seed,
        };
        Ok(LoadPlan {
            rate_per_second: whole.rate_per_second.map(rate).transpose()?,
            steps: whole.steps.map(steps),
            in_flight: self.some_of("--in-flight", whole.in_flight.into())? as u32,
            seed,
            ..whole.clone()
        })
    }

    fn cut_phase(self, whole: &PhasePlan, share: f64) -> Result<PhasePlan, CutError> {
        let rate = |rate: f64| match whole.kind {
            // Connects are begun at whole numbers a second.
            PhaseKind::Ramp => {
                let what = format!("rate of the phase '{}'", whole.name);
                self.some_of(&what, rate.ceil() as u64).map(|rate| rate as f64)
            }
            _ => Ok(rate * share),
        };
        Ok(PhasePlan {
            target: whole.target.map(|target| self.part(target)),
            rate_per_second: whole.rate_per_second.map(rate).transpose()?,
            work: self.cut_work(&whole.work, share)?,
            ..whole.clone()
        })
    }

    fn cut_work(self, whole: &WorkPlan, share: f64) -> Result<WorkPlan, CutError> {
        let in_flight = |count: u32| self.some_of("--in-flight-messages", count.into());
        Ok(WorkPlan {
            message_rate_per_second: whole.message_rate_per_second.map(|rate| rate * share),
            churn_per_second: whole.churn_per_second.map(|rate| rate * share),
            in_flight_messages: whole
                .in_flight_messages
                .map(in_flight)
                .transpose()?
                .map(|count| count as u32),
            ..whole.clone()
        })
    }

    fn some_of(self, what: &str, total: u64) -> Result<u64, CutError> {
        Some(self.part(total)).filter(|part| *part > 0).ok_or_else(|| self.nothing(what, total))
    }

    fn nothing(self, what: &str, total: u64) -> CutError {
        CutError { what: what.to_owned(), total, shard: self }
    }

    /// A seed of its own, which TOML has room for.
    fn seed(self, whole: u64) -> u64 {
        // The golden ratio of 64 bits: neighbours are far from each other.
        let apart = u64::from(self.index() - 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        whole.wrapping_add(apart) & i64::MAX as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{Protocol, SCHEMA_VERSION, ServerMode, ServerPlan, Topology, Workload};

    fn plan(target: u64) -> Plan {
        Plan {
            schema_version: SCHEMA_VERSION,
            profile: "stock".to_owned(),
            topology: Topology::Remote,
            protocol: Protocol::Raw,
            workload: Workload::Echo,
            target,
            verdicts: crate::default_conditions(true),
            server: ServerPlan {
                listen: vec!["127.0.0.1:9000".parse().expect("an address")],
                mode: ServerMode::Echo,
                workers: None,
                max_connections: None,
                foreign: true,
                control: None,
                reached_at: Vec::new(),
                ssh: None,
            },
            load: LoadPlan { in_flight: 100_000, ..LoadPlan::default() },
            work: WorkPlan::default(),
            phases: Vec::new(),
        }
    }

    fn parts(whole: &Plan, count: u32) -> Vec<Plan> {
        Shard::all_of(count).map(|shard| shard.cut(whole).expect("each has a part")).collect()
    }

    proptest! {
        #[test]
        fn the_parts_of_a_plan_add_up_to_it(
            count in 1..64_u32,
            target in 64..10_000_000_u64,
            rate in 64..1_000_000_u32,
            messages in 0.1..1e6_f64,
            in_flight in 64..1_000_000_u32,
        ) {
            let mut whole = plan(target);
            whole.load.rate_per_second = Some(rate.into());
            whole.load.in_flight = in_flight;
            whole.work.message_rate_per_second = Some(messages);
            let phase = PhasePlan {
                target: Some(target / 2),
                rate_per_second: Some(rate.into()),
                work: WorkPlan { in_flight_messages: Some(in_flight), ..WorkPlan::default() },
                ..PhasePlan::of(PhaseKind::Ramp)
            };
            let drain = PhasePlan { rate_per_second: Some(messages), ..PhasePlan::of(PhaseKind::Drain) };
            whole.phases = vec![phase, drain];
            let parts = parts(&whole, count);
            let sum = |of: &dyn Fn(&Plan) -> u64| parts.iter().map(of).sum::<u64>();
            prop_assert_eq!(sum(&|part| part.target), target);
            prop_assert_eq!(sum(&|part| part.load.in_flight.into()), u64::from(in_flight));
            prop_assert_eq!(sum(&|part| part.phases[0].target.unwrap_or(0)), target / 2);
            let under_way = |part: &Plan| part.phases[0].work.in_flight_messages.unwrap_or(0).into();
            prop_assert_eq!(sum(&under_way), u64::from(in_flight));
            for of in [
                |plan: &Plan| plan.load.rate_per_second,
                |plan: &Plan| plan.phases[0].rate_per_second,
            ] {
                let all: f64 = parts.iter().filter_map(of).sum();
                prop_assert_eq!(Some(all), of(&whole));
            }
            for of in [
                |plan: &Plan| plan.work.message_rate_per_second,
                |plan: &Plan| plan.phases[1].rate_per_second,
            ] {
                let all: f64 = parts.iter().filter_map(of).sum();
                prop_assert!((all - messages).abs() <= messages * 1e-9, "{} of {}", all, messages);
            }
            for part in &parts {
                prop_assert_eq!(part.check(), Ok(()));
            }
        }

        #[test]
        fn the_parts_of_steps_make_the_same_steps_together(
            count in 1..64_u32, size in 64..100_000_u64, steps in 1..20_u64,
        ) {
            let mut whole = plan(size * steps);
            whole.load.steps = Some(Steps { size, count: steps });
            let parts = parts(&whole, count);
            let sizes: u64 = parts.iter().filter_map(|part| part.load.steps).map(|steps| steps.size).sum();
            prop_assert_eq!(sizes, size);
            prop_assert_eq!(parts.iter().map(|part| part.target).sum::<u64>(), whole.target);
            for part in &parts {
                prop_assert_eq!(part.load.steps.map(|steps| steps.total()), Some(part.target));
            }
        }
    }

    #[test]
    fn what_is_said_of_one_connection_stays_as_it_is_and_nothing_is_judged() {
        let mut whole = plan(30);
        whole.work.messages_per_second = Some(2.0);
        whole.load.ips = Some("127.0.0.1-127.0.0.9".to_owned());
        for part in parts(&whole, 3) {
            assert_eq!((part.work.messages_per_second, &part.load.ips), (Some(2.0), &whole.load.ips));
            assert!(part.verdicts.is_empty());
        }
        let one = Shard::new(1, 1).expect("a shard").cut(&whole).expect("all of it");
        assert_eq!(one, Plan { verdicts: Vec::new(), ..whole });
    }

    #[test]
    fn random_gaps_are_others_at_each_shard_and_the_same_each_time() {
        let mut whole = plan(1000);
        whole.load.rate_per_second = Some(1000.0);
        whole.load.arrivals = Spread::Poisson;
        let seeds = |whole: &Plan| -> Vec<_> { parts(whole, 64).iter().map(|part| part.load.seed).collect() };
        assert_eq!(seeds(&whole), seeds(&whole));
        assert_eq!(seeds(&whole).into_iter().collect::<HashSet<_>>().len(), 64);
        assert!(parts(&whole, 64).iter().all(|part| part.to_toml().is_ok()), "TOML has room for each seed");
        whole.load.arrivals = Spread::Even;
        assert!(seeds(&whole).iter().all(Option::is_none));
    }

    #[test]
    fn what_does_not_suffice_for_all_shards_is_named() {
        type Change = fn(&mut Plan);
        let changes: [(&str, Change); 4] = [
            ("--target of 2 divided by 3 shards leaves shard 1/3 nothing", |plan| plan.target = 2),
            ("--steps of 2 divided by 3", |plan| {
                plan.load.steps = Some(Steps { size: 2, count: 500 });
                plan.target = 1000;
            }),
            ("--rate of 2 divided by 3", |plan| plan.load.rate_per_second = Some(2.0)),
            ("--in-flight of 2 divided by 3", |plan| plan.load.in_flight = 2),
        ];
        for (told, change) in changes {
            let mut whole = plan(1000);
            change(&mut whole);
            let error = Shard::new(1, 3).expect("a shard").cut(&whole).expect_err(told);
            assert!(error.to_string().starts_with(told), "{error}");
            assert!(error.to_string().ends_with("expected at least 3"), "{error}");
        }
    }
}
