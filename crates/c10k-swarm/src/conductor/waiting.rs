//! Waiting: what workers, commands, signals and the clock have to say meanwhile.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Instant;

use c10k_record::{Command, GrowthEvidence, GrowthStop, Outcome, PhaseName};

use super::{Conductor, Woken};
use crate::control::TableControl;
use crate::shared::Note;
use crate::tally::{Loss, Tally};
use crate::tasks::{Task, Turn};

impl Conductor<'_> {
    /// Connections of workers that ended on their own are counted once, as lost with them.
    pub(super) fn count_lost_workers(&mut self) {
        let (phase, at_ms) = (self.shared.orders().phase, self.elapsed_ms());
        let (mut connects, mut walks) = (0, 0);
        for control in self.crew.lost() {
            let attempted = control.attempted.load(Relaxed);
            let settled = control.failed.load(Relaxed) + control.released.load(Relaxed);
            let settled = settled + control.aborted.load(Relaxed);
            let lost = attempted.saturating_sub(settled);
            let mut of_it = Tally::default();
            of_it.add(phase, Loss::WorkerLost, lost, at_ms);
            self.shared.publish(&mut of_it, || {
                control.failed.fetch_add(lost, Relaxed);
                control.held.store(0, Relaxed);
                control.open.store(0, Relaxed);
                control.in_flight.store(0, Relaxed);
                control.connecting.store(0, Relaxed);
            });
            connects += usize::from(control.turn(Turn::Connect).swap(false, Relaxed));
            walks += usize::from(control.turn(Turn::Walk).swap(false, Relaxed));
        }
        for _ in 0..walks {
            self.shared.pass_on(Turn::Walk);
        }
        if connects > 0 {
            // What they had claimed is to be begun by others, who may sleep.
            TableControl::wake_all(&self.shared.tables());
        }
        for _ in 0..connects {
            let goes_on = self.shared.pass_on(Turn::Connect) || self.shared.has_turns(Turn::Connect);
            if !goes_on && self.shared.orders().has(Task::Connect) {
                self.shared.stop_growing(GrowthStop::WorkersLost, GrowthEvidence::default());
            }
        }
    }

    /// Handles notes, commands, signals and ticks until `done`, the time, a signal, or a command that is due.
    /// With `stopping`, signals and commands end nothing any more.
    pub(super) fn wait(
        &mut self,
        until: Option<Instant>,
        stopping: bool,
        done: impl Fn(&Self) -> bool,
    ) -> Woken {
        self.begin_to_wait();
        loop {
            if done(self) {
                return Woken::Done;
            }
            if !stopping && self.must_stop() {
                return Woken::Stop;
            }
            let holding = self.shared.orders().phase == PhaseName::Hold;
            let due =
                |c: &Command| holding && !self.has_to_wait(c) || matches!(c, Command::Stop | Command::Abort);
            if !stopping && self.commands.front().is_some_and(due) {
                if !holding {
                    self.told_to_stop = true;
                    self.told_to_abort |= self.commands.front() == Some(&Command::Abort);
                    return Woken::Stop;
                }
                return Woken::Command;
            }
            let now = Instant::now();
            if until.is_some_and(|until| until <= now) {
                return Woken::TimeIsUp;
            }
            self.tick_if_due(now);
            let longest = self.longest_nap();
            let nap = until.map_or(longest, |until| longest.min(until - now));
            let heard = self.notes.recv_timeout(nap);
            self.look_for_a_gap(nap);
            match heard {
                Ok(note) => self.on_note(note),
                Err(RecvTimeoutError::Timeout) => self.count_lost_workers(),
                Err(RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    pub(super) fn on_note(&mut self, note: Note) {
        match note {
            Note::LookAgain | Note::Started => {}
            Note::StartFailed(error) => self.no_worker(&error),
            Note::TurnFree(turn) => {
                if !self.shared.pass_on(turn) && turn == Turn::Connect {
                    self.add_table();
                }
            }
            Note::Line(line) => match line.parse::<Command>() {
                // An end overtakes what waits.
                Ok(end @ (Command::Stop | Command::Abort)) => self.commands.push_front(end),
                Ok(Command::Now) => self.say_now(),
                Ok(command) => self.commands.push_back(command),
                Err(error) => self.output.warn(&error),
            },
        }
    }

    /// A turn is free and all tables are full: one more table takes it, when there is more to connect.
    pub(super) fn add_table(&mut self) {
        if self.shared.arrivals.is_exhausted() || !self.shared.orders().has(Task::Connect) {
            return;
        }
        if !self.crew.may_grow() {
            return self.shared.stop_growing(GrowthStop::NoDescriptors, GrowthEvidence::default());
        }
        let mut deferred = Vec::new();
        let started = self.crew.start_one().and_then(|()| self.crew.await_start(&self.notes, &mut deferred));
        match started {
            Ok(()) if self.shared.pass_on(Turn::Connect) || self.shared.has_turns(Turn::Connect) => {}
            Ok(()) => self.shared.stop_growing(GrowthStop::NoTables, GrowthEvidence::default()),
            Err(error) => self.no_worker(&error),
        }
        deferred.into_iter().for_each(|note| self.on_note(note));
    }

    /// One more worker could not be started. Only the start of a thread says EAGAIN: epoll_create1(2) and unshare(2) say
    /// EMFILE, ENFILE or ENOMEM.
    fn no_worker(&self, error: &io::Error) {
        let why = match error.raw_os_error() {
            Some(libc::EAGAIN) => GrowthStop::NoThreads,
            Some(libc::EMFILE | libc::ENFILE) => GrowthStop::NoDescriptors,
            _ => GrowthStop::NoTables,
        };
        let errno = error.raw_os_error().map(Outcome::errno);
        self.shared.stop_growing(why, GrowthEvidence { errno, ..GrowthEvidence::default() });
    }
}
