//! The way from wall to wall: what is lifted after each, what is taken back, and what is not tried again.

use c10k_record::{Remedy, Setting};
use serde::Serialize;

/// What a run is set up by, so that a climb can lift its walls one by one.
pub trait Lift: Clone {
    /// Lifts that wall by what of its remedy may be done here and is not `useless`; `None` where nothing of it may, or all
    /// has been done.
    fn lift(&mut self, wall: &str, remedy: &Remedy, useless: &Useless<'_>) -> Option<Lifted>;
}

/// So many values of one setting are tried for a wall that stays where it was. A remedy may say more the second time: the
/// first value was what was known to be needed, and not all that is.
const MOST_VALUES: usize = 3;

/// Settings that were given for a wall and did not lift it.
#[derive(Debug)]
pub struct Useless<'a>(Vec<&'a Setting>);

impl Useless<'_> {
    /// Whether this value of that setting is not to be tried (again).
    #[must_use]
    pub fn has(&self, key: &str, value: &str) -> bool {
        let values = self.0.iter().filter(|setting| setting.key == key);
        values.clone().count() >= MOST_VALUES || values.clone().any(|setting| setting.value == value)
    }
}

/// What lifted a wall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lifted {
    /// The settings that it was.
    pub settings: Vec<Setting>,
    /// The same for people.
    pub how: String,
}

impl Lifted {
    /// One setting, and how it is said.
    #[must_use]
    pub fn by(key: &str, value: &str, how: &str) -> Self {
        let settings = vec![Setting { key: key.to_owned(), value: value.to_owned() }];
        Self { settings, how: how.to_owned() }
    }
}

/// What has been lifted in a climb, and what was of no use.
#[derive(Debug)]
pub struct Lifts<S> {
    done: Vec<Done<S>>,
    /// Walls with the settings that did not lift them, each once.
    useless: Vec<(String, Setting)>,
    taken_back: Option<Done<S>>,
}

#[derive(Debug)]
struct Done<S> {
    wall: String,
    held: u64,
    remedy: Remedy,
    settings: Vec<Setting>,
    /// The setup before it.
    before: S,
}

impl<S> Default for Lifts<S> {
    fn default() -> Self {
        Self { done: Vec::new(), useless: Vec::new(), taken_back: None }
    }
}

impl<S: Lift> Lifts<S> {
    /// Lifts just that wall, met with so many held, in the next run; `None` where that cannot be, may not, or was tried
    /// in vain.
    pub fn lift(&mut self, wall: &str, held: u64, remedy: &Remedy, setup: &mut S) -> Option<Lifted> {
        // Lifted before, and no further than then. What did nothing is not kept.
        if self.done.last().is_some_and(|last| last.wall == wall && last.held >= held) {
            self.take_back(setup);
        }
        for done in self.done.iter().filter(|done| done.wall == wall && done.held >= held) {
            note(&mut self.useless, done);
        }
        let before = setup.clone();
        let useless = self.useless.iter().filter(|(of, _)| of == wall).map(|(_, setting)| setting);
        let lifted = setup.lift(wall, remedy, &Useless(useless.collect()))?;
        let settings = lifted.settings.clone();
        self.done.push(Done { wall: wall.to_owned(), held, remedy: remedy.clone(), settings, before });
        Some(lifted)
    }

    /// The setup is as it was before what was lifted last, and that is not tried again; says which wall it was for.
    pub fn take_back(&mut self, setup: &mut S) -> Option<String> {
        let last = self.done.pop()?;
        *setup = last.before.clone();
        note(&mut self.useless, &last);
        let wall = last.wall.clone();
        self.taken_back = Some(last);
        Some(wall)
    }

    /// Another way to lift what was taken back.
    pub fn another(&mut self, setup: &mut S) -> Option<Lifted> {
        let last = self.taken_back.take()?;
        self.lift(&last.wall, last.held, &last.remedy, setup)
    }

    /// Whether a lift of this wall was tried in vain.
    #[must_use]
    pub fn were_tried(&self, wall: &str) -> bool {
        self.useless.iter().any(|(of, _)| of == wall)
    }
}

fn note<S>(useless: &mut Vec<(String, Setting)>, done: &Done<S>) {
    for setting in &done.settings {
        let one = (done.wall.clone(), setting.clone());
        if !useless.contains(&one) {
            useless.push(one);
        }
    }
}

#[cfg(test)]
mod tests {
    use c10k_record::Scope;

    use super::*;

    /// Two numbers, of which a remedy may say what they are to be.
    type Numbers = std::collections::BTreeMap<String, String>;

    impl Lift for Numbers {
        fn lift(&mut self, _: &str, remedy: &Remedy, useless: &Useless<'_>) -> Option<Lifted> {
            let setting = remedy.settings.iter().find(|one| !useless.has(&one.key, &one.value))?;
            self.insert(setting.key.clone(), setting.value.clone());
            Some(Lifted::by(&setting.key, &setting.value, ""))
        }
    }

    fn remedy(settings: &[(&str, u64)]) -> Remedy {
        let setting =
            |(key, value): &(&str, u64)| Setting { key: (*key).to_owned(), value: value.to_string() };
        let settings = settings.iter().map(setting).collect();
        Remedy { summary: String::new(), settings, commands: Vec::new(), scope: Scope::Process }
    }

    /// The value that is given for a wall that stays where it was.
    fn given(lifts: &mut Lifts<Numbers>, numbers: &mut Numbers, settings: &[(&str, u64)]) -> Option<String> {
        lifts.lift("a-wall", 100, &remedy(settings), numbers).map(|lifted| lifted.settings[0].value.clone())
    }

    #[test]
    fn a_value_that_was_too_small_is_followed_by_a_greater_one_and_not_for_ever() {
        let (mut lifts, mut numbers) = (Lifts::default(), Numbers::default());
        for value in [206, 412, 824] {
            let lifted = given(&mut lifts, &mut numbers, &[("a", value)]);
            assert_eq!((lifted, numbers["a"].clone()), (Some(value.to_string()), value.to_string()));
        }
        assert_eq!(given(&mut lifts, &mut numbers, &[("a", 1648)]), None);
        assert!(
            numbers.is_empty() && lifts.were_tried("a-wall"),
            "what did nothing is not kept: {numbers:?}"
        );
    }

    #[test]
    fn the_same_value_is_not_tried_twice_and_another_setting_is_tried_instead() {
        let (mut lifts, mut numbers) = (Lifts::default(), Numbers::default());
        let both = [("a", 1), ("b", 2)];
        assert_eq!(given(&mut lifts, &mut numbers, &both).as_deref(), Some("1"));
        assert_eq!(given(&mut lifts, &mut numbers, &both).as_deref(), Some("2"));
        assert_eq!(given(&mut lifts, &mut numbers, &both), None);
    }
}
