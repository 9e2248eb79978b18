//! Processes of a server that ended while they were watched.

use serde::{Deserialize, Serialize};

use super::{Member, Serving};

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndedProcess {
    /// Its pid.
    pub pid: u32,
    /// Its name, as the kernel kept it.
    pub name: Option<String>,
    /// When it was found to have ended, seconds since the collector began.
    pub at_seconds: f64,
    /// Connections that it held at the last search which found it with some; `None` where none did.
    pub connections: Option<u64>,
}

impl Serving {
    /// A search may come between the end and this look, and finds nothing of one that has ended.
    pub(super) fn note_those_that_ended(&mut self, at_seconds: f64) {
        for member in self.members.iter().filter(|one| one.watched.is_gone() && one.has_worked) {
            let pid = member.watched.pid();
            if self.ended.iter().any(|ended| ended.pid == pid) {
                continue;
            }
            let (name, connections) = (member.name.clone(), member.last_held);
            self.ended.push(EndedProcess { pid, name, at_seconds, connections });
        }
    }

    /// Its processes that ended while they were watched, in the order in which that was seen.
    pub(crate) fn ended(&self) -> &[EndedProcess] {
        &self.ended
    }

    /// The last one stays: that it is gone is asked later.
    pub(super) fn drop_those_that_ended(&mut self) {
        let first = self.first;
        let is_kept = |one: &Member| !one.watched.is_gone() || Some(one.watched.pid()) == first;
        let ended = self.members.iter().filter(|one| !is_kept(one) && one.has_worked);
        self.ended_seconds += ended.map(|one| one.last_seconds).sum::<f64>();
        self.members.retain(is_kept);
    }
}
