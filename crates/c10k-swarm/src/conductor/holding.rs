//! Holding: what is held works, as long as it is to, and commands are carried out meanwhile.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use c10k_record::{Command, SwarmEvent};

use super::{Conductor, DRAIN, LONGEST_CLOSE, Woken};
use crate::control::TableControl;
use crate::tasks::Task;

impl Conductor<'_> {
    pub(super) fn hold(&mut self) {
        if self.must_stop() {
            return;
        }
        if self.shared.counts().attempted > 0 {
            self.enter(Task::Ping);
            self.learn_where_they_lead();
        } else {
            self.shared.enter(Task::Ping);
        }
        let mut until = (!self.course.commanded).then(|| Instant::now() + self.course.hold.0);
        self.begin_own_work();
        while !self.must_stop() {
            // Nothing is left to hold: only a command could change that.
            let commanded = self.course.commanded;
            let next = self.work_until().or(until);
            match self.wait(next, false, move |c| !commanded && c.shared.counts().open == 0) {
                Woken::Command => {}
                Woken::TimeIsUp if commanded => {
                    self.end_work_as_told();
                    continue;
                }
                _ => break,
            }
            while !self.must_stop()
                && let Some(command) = self.next_command()
            {
                let begun = Instant::now();
                let is_growth = matches!(command, Command::Grow(_));
                self.obey(command);
                if is_growth && !self.is_working() {
                    until = until.map(|until| until + begun.elapsed());
                }
            }
        }
        self.end_work();
    }

    /// The next command that may be carried out now: a proof, or other work, waits for the end of this one.
    fn next_command(&mut self) -> Option<Command> {
        if self.commands.front().is_some_and(|command| self.has_to_wait(command)) {
            return None;
        }
        self.commands.pop_front()
    }

    pub(super) fn has_to_wait(&self, command: &Command) -> bool {
        match command {
            Command::Verify | Command::Work { .. } => self.is_working(),
            // What is closed on purpose is counted as one.
            Command::Shrink(_) => self.is_exchanging(),
            _ => false,
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Grow(more) if self.target.saturating_add(more) > u64::from(u32::MAX) => {
                self.output.warn(&format!("'grow {more}' is more than one box can number"));
            }
            Command::Grow(more) => {
                self.target += more;
                self.shared.arrivals.resume();
                self.shared.forget_growth_stop();
                self.ramp(more);
                self.hold_on();
            }
            Command::Shrink(fewer) => self.shrink(fewer),
            Command::Pace(rate) => self.shared.arrivals.pace(rate),
            Command::Verify => {
                self.end_work();
                self.verify();
                if !self.is_proven {
                    // Somebody wants the end.
                    return;
                }
                let (connections, _) = self.connections();
                let elapsed_ms = self.elapsed_ms();
                self.output.event(&SwarmEvent::Verified { elapsed_ms, connections });
                self.hold_on();
            }
            Command::Work { name, per_second } => self.work_as_told(&name, per_second),
            Command::Now => self.say_now(),
            Command::Stop => self.told_to_stop = true,
            Command::Abort => self.told_to_abort = true,
        }
    }

    pub(super) fn shrink(&mut self, fewer: u64) {
        let before = self.shared.sum(|table| &table.released);
        let mut left = fewer;
        let tables = self.shared.tables();
        for table in &tables {
            let share = left.min(table.open.load(Relaxed));
            table.release.fetch_add(share, Relaxed);
            left -= share;
        }
        TableControl::wake_all(&tables);
        let closing = u32::try_from(fewer - left).unwrap_or(u32::MAX);
        let until = Instant::now() + DRAIN + LONGEST_CLOSE * closing;
        let all = before + fewer - left;
        self.wait(Some(until), true, move |c| {
            c.shared.sum(|table| &table.released) >= all || c.shared.counts().open == 0
        });
        self.target = self.target.saturating_sub(self.shared.sum(|table| &table.released) - before);
    }
}
