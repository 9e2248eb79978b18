//! From what a program says to the walls that may be meant.
//!
//! A text is read as words. What is exact comes first: the kernel's own lines, and what programs say of their settings;
//! then an error by its name, its words or its number, whose meaning the call that failed and the program that says so
//! decide; then causes that are no limit; last what only sounds like an error.

mod counters;
mod errors;
mod kernel;
mod numbers;
mod others;
mod phrases;
mod rules;
mod text;

use crate::wall::Wall;
use crate::walls::{wall, walls};

use text::Text;

pub use errors::{SYMPTOMS, Symptom};
pub use numbers::{Fingerprint, Said, number_in, read_number};
pub use others::OtherCause;

/// What a text may mean.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The walls, the likeliest first.
    pub walls: Vec<&'static Wall>,
    /// Causes that are no limit of connections.
    pub others: Vec<&'static OtherCause>,
}

impl Reading {
    /// Whether nothing is known of the text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.walls.is_empty() && self.others.is_empty()
    }

    fn add(&mut self, names: &[&str]) {
        for name in names {
            let known = |have: &&Wall| have.name == *name;
            if let Some(wall) = wall(name).filter(|_| !self.walls.iter().any(known)) {
                self.walls.push(wall);
            }
            self.others.extend(others::other_cause(name));
        }
    }
}

/// What `said` may mean: an errno name, a name of ours, or the words of a program, such as
/// `dial tcp 10.0.0.1:80: i/o timeout`. Upper and lower case are the same.
#[must_use]
pub fn read_symptom(said: &str) -> Reading {
    let said = said.trim();
    let mut reading = Reading::default();
    let text = Text::of(said);
    match counters::counted(&text) {
        Some(counted) => {
            for one in counted {
                reading.add(meaning(&Text::of(one)));
            }
        }
        None => reading.add(meaning(&text)),
    }
    if reading.is_empty() && !said.is_empty() {
        // A name of ours.
        let is_own = |wall: &&Wall| wall.outcomes.iter().any(|outcome| outcome.eq_ignore_ascii_case(said));
        reading.walls.extend(walls().filter(is_own));
    }
    reading
}

fn meaning(text: &Text) -> &'static [&'static str] {
    let said = |phrases: &'static [phrases::Phrase]| {
        phrases.iter().find(|(pattern, _)| text.has(pattern)).map(|(_, answers)| *answers)
    };
    if errors::is_of_windows(text) {
        return &["not-linux"];
    }
    if text.has("^ connects failed $") {
        return rules::meaning("connects-failed", text);
    }
    let exact = kernel::counted(text).or_else(|| said(phrases::EXACT));
    let by_error = || errors::error_in(text).map(|error| rules::meaning(error, text));
    let loose = || errors::loose_error_in(text).map(|error| rules::meaning(error, text));
    exact.or_else(by_error).or_else(|| said(phrases::PLAIN)).or_else(loose).unwrap_or(&[])
}
