//! A climb over the box: run until the wall, give the settings of its remedy, run again.

use std::collections::BTreeSet;

use c10k_ceiling::diagnose;
use c10k_record::Ceiling;

use crate::scenario::Scenario;
use crate::shown::findings;
use crate::sim::Sim;
use crate::truth::{Allowed, only_what_bit};

/// More steps than there are walls.
const MOST_STEPS: usize = 24;

/// How it went.
pub(crate) struct Climb {
    /// The box with all that was lifted.
    pub(crate) top: Scenario,
    /// The walls that were met, in their order, and what was held at each.
    pub(crate) steps: Vec<(String, u64)>,
    /// A wall that was named and not met.
    pub(crate) wrong: Option<String>,
    /// What the last run showed.
    pub(crate) last: Option<Ceiling>,
    pub(crate) held: u64,
    /// It was still going on when it had taken more steps than there are walls.
    pub(crate) is_endless: bool,
}

/// From wall to wall.
pub(crate) fn climb(scenario: &Scenario) -> Climb {
    let mut climb = Climb {
        top: scenario.clone(),
        steps: Vec::new(),
        wrong: None,
        last: None,
        held: 0,
        is_endless: false,
    };
    // Settings that were given and did not lift their wall.
    let mut given: BTreeSet<(String, String, String)> = BTreeSet::new();
    for _ in 0..MOST_STEPS {
        let scenario = climb.top.clone();
        let sim = Sim::run(&scenario);
        let found = findings(&sim);
        climb.held = found.connections.held;
        climb.last = diagnose(&found, None);
        let Some(ceiling) = &climb.last else { return climb };
        climb.steps.push((ceiling.wall.clone(), climb.held));
        climb.wrong = climb.wrong.or(only_what_bit(&sim, ceiling, Allowed::default()).err());
        let settings = ceiling.remedy.as_ref().map(|remedy| remedy.settings.clone()).unwrap_or_default();
        let mut lifted = false;
        for setting in settings {
            let is_new = given.insert((ceiling.wall.clone(), setting.key.clone(), setting.value.clone()));
            lifted |= is_new && climb.top.settings.set(&ceiling.wall, &setting.key, &setting.value);
        }
        if !lifted {
            return climb;
        }
    }
    climb.is_endless = true;
    climb
}
