//! Processes that hold settings of this network namespace in a journal that cannot be seen from here: in another mount
//! namespace, with another `/run`, or another user's. Each holder has a name in the network namespace, which can.

use std::time::{Duration, Instant};

use c10k_kernel::namespace::{Mark, marks};

use super::here::Here;
use crate::journal::{Journal, Reading};

const PREFIX: &str = "c10k-lab/settings/";

/// How much of a program's name is told: the whole has room for 107 bytes.
const MOST_PROGRAM_BYTES: usize = 40;

/// For how long the name of a process may still be seen that has removed its journal and is about to end.
const ENDING: Duration = Duration::from_millis(500);

/// Sets the name of a process that holds settings; `None` where the kernel refuses it.
pub(crate) fn set_mark(token: &str, program: &str) -> Option<Mark> {
    let program: String =
        program.chars().take_while(|c| c.is_ascii() && !c.is_control()).take(MOST_PROGRAM_BYTES).collect();
    Mark::set(&format!("{PREFIX}{token}/{program}")).ok()
}

impl Here {
    /// Program and pid of each process that holds settings of this network namespace in a journal that cannot be seen from
    /// here. Empty where the names cannot be read.
    #[must_use]
    pub fn out_of_sight(&self) -> Vec<String> {
        let until = Instant::now() + ENDING;
        loop {
            let others = self.not_in_a_journal();
            if others.is_empty() || Instant::now() >= until {
                return others;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn not_in_a_journal(&self) -> Vec<String> {
        if !self.is_marked {
            return Vec::new();
        }
        let marks = marks(PREFIX).unwrap_or_default();
        if marks.is_empty() {
            return Vec::new();
        }
        let mut known = Vec::new();
        for path in self.own_journals().unwrap_or_default() {
            if let Ok(Reading::Ours(journal)) = Journal::read(&path, &self.spot) {
                known.extend(journal.locks());
            }
        }
        let others = marks.iter().filter_map(|mark| {
            let (token, program) = mark.split_once('/')?;
            let pid = token.split('-').next()?;
            (!known.iter().any(|lock| lock == token))
                .then(|| format!("{program} (pid {pid} where it was started)"))
        });
        others.collect()
    }
}
