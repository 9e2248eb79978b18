//! A climb over the box: run until the wall, give the settings of its remedy, run again.

use c10k_ceiling::{Lift, Lifted, Lifts, Useless, diagnose};
use c10k_record::{Ceiling, Remedy};

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

impl Lift for Scenario {
    /// By all that the remedy says and the box does not have yet.
    fn lift(&mut self, wall: &str, remedy: &Remedy, useless: &Useless<'_>) -> Option<Lifted> {
        let mut settings = remedy.settings.clone();
        settings.retain(|one| {
            !useless.has(&one.key, &one.value) && self.settings.set(wall, &one.key, &one.value)
        });
        (!settings.is_empty()).then(|| Lifted { settings, how: String::new() })
    }
}

/// From wall to wall, by the rules of the lab's climb.
pub(crate) fn climb(scenario: &Scenario) -> Climb {
    let mut climb = Climb {
        top: scenario.clone(),
        steps: Vec::new(),
        wrong: None,
        last: None,
        held: 0,
        is_endless: false,
    };
    let mut lifts = Lifts::default();
    for _ in 0..MOST_STEPS {
        let scenario = climb.top.clone();
        let sim = Sim::run(&scenario);
        let found = findings(&sim);
        climb.held = found.connections.held;
        climb.last = diagnose(&found, None);
        let Some(ceiling) = &climb.last else { return climb };
        climb.steps.push((ceiling.wall.clone(), climb.held));
        climb.wrong = climb.wrong.or(only_what_bit(&sim, ceiling, Allowed::default()).err());
        let (wall, remedy) = (ceiling.wall.clone(), ceiling.remedy.clone());
        let lifted = remedy.and_then(|remedy| lifts.lift(&wall, climb.held, &remedy, &mut climb.top));
        if lifted.is_none() {
            return climb;
        }
    }
    climb.is_endless = true;
    climb
}
