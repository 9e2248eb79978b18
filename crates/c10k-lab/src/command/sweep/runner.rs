//! The runs of a sweep, one after the other, each written down before the next begins.

use std::path::Path;
use std::time::Instant;

use c10k_plan::experiment::arm::Arm;
use c10k_plan::experiment::file::Sweep;
use c10k_plan::experiment::order::{Part, Slot, run_seconds};
use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_record::{Exit, Record, Span};

use super::folder::Folder;
use super::one_run::{By, Ended, carry_out};
use super::state::{Broken, Done, HostSeen, now};
use crate::command::plant::left::Maker;
use crate::signals::Signals;

/// So often a run is begun that comes to nothing.
const ATTEMPTS: usize = 2;

/// Carries a sweep out.
pub(super) struct Runner<'a> {
    pub(super) sweep: &'a Sweep,
    pub(super) folder: Folder,
    pub(super) signals: &'a Signals,
    pub(super) maker: Maker,
}

impl Runner<'_> {
    /// Has each side that sets something on this host tried once, with one connection: what cannot be set is told before
    /// the first run.
    pub(super) fn try_settings(&self, printer: &mut Printer) -> Result<(), Refusal> {
        for arm in self.sweep.arms.iter().filter(|arm| arm.is_the_hosts()) {
            printer.say(&format!("trying whether this host sets {}", arm.label()));
            let ended = try_in(&self.folder.arm(arm), arm, &self.maker, self.signals)?;
            match ended {
                Ended::Whole(_) => {}
                Ended::Stopped => return Err(stopped(self.signals)),
                Ended::Broke { why, by: By::Disk } => return Err(no_room_for_a_trial(arm, &why)),
                Ended::Broke { why, .. } => {
                    let message = format!("{} cannot be set on this host: {why}", arm.label());
                    let hint = "take that value out, or run the sweep where it can be set";
                    return Err(Refusal::host(message, hint));
                }
            }
        }
        Ok(())
    }

    /// Makes all runs that are missing.
    pub(super) fn run(&mut self, printer: &mut Printer) -> Result<(), Refusal> {
        let all = self.folder.state.order.len();
        while self.folder.state.runs.len() < all {
            if self.signals.came() {
                return Err(stopped(self.signals));
            }
            if let Some(changed) = HostSeen::now().changed_since(&self.folder.state.host) {
                let message = format!("the host has changed since the first run: {changed}");
                return Err(Refusal::host(message, "nothing is lost; begin the sweep anew on this host"));
            }
            let at = self.folder.state.runs.len();
            let slot = self.folder.state.order[at];
            let done = self.one(at, slot, printer)?;
            let line = self.line(at, &slot, &done);
            self.folder.state.runs.push(done);
            if self.folder.state.is_done() {
                self.folder.state.ended_at = Some(now());
            }
            self.write()?;
            printer.say(&format!("{line}{}", self.rest()));
        }
        Ok(())
    }

    fn one(&mut self, at: usize, slot: Slot, printer: &mut Printer) -> Result<Done, Refusal> {
        let arm = &self.sweep.arms[slot.arm()];
        let plan = self.folder.arm(arm).join("plan.toml");
        for attempt in 1..=ATTEMPTS {
            let results = self.folder.run(at).map_err(|error| disk(&error))?;
            let (started_at, begun) = (now(), Instant::now());
            let (why, by) = match carry_out(arm, &plan, &results, &self.maker, self.signals) {
                Ended::Whole(record) => {
                    let wall_seconds = begun.elapsed().as_secs_f64();
                    let below = results.strip_prefix(&self.folder.path).unwrap_or(&results);
                    let folder = below.join(&record.run_id);
                    return Ok(self.done(&record, started_at, wall_seconds, folder));
                }
                Ended::Stopped => return Err(stopped(self.signals)),
                Ended::Broke { why, by } => (why, by),
            };
            self.folder.state.broken.push(Broken { at, why: why.clone() });
            self.write()?;
            let is_last = attempt == ATTEMPTS || by != By::Chance;
            let told =
                format!("run {} of {} ({}) broke: {why}", at + 1, self.folder.state.order.len(), arm.label());
            if is_last {
                return Err(Refusal { message: told, hint: None, exit: by.exit() });
            }
            printer.say(&format!("warning: {told}; once more"));
        }
        Err(Refusal { message: "no attempt was made".to_owned(), hint: None, exit: Exit::Broke })
    }

    fn done(
        &self,
        record: &Record,
        started_at: String,
        wall_seconds: f64,
        folder: std::path::PathBuf,
    ) -> Done {
        let values =
            self.sweep.measures().into_iter().map(|measure| (measure.to_string(), measure.of(record)));
        let applied = record.profile.applied.iter();
        let applied = applied.map(|setting| (setting.key.clone(), setting.after.clone())).collect();
        Done { started_at, wall_seconds, folder, values: values.collect(), applied }
    }

    fn write(&self) -> Result<(), Refusal> {
        self.folder.state.write(&self.folder.path).map_err(|error| disk(&error))
    }

    /// A run in a line.
    fn line(&self, at: usize, slot: &Slot, done: &Done) -> String {
        let part = match slot.part {
            Part::WarmUp => "warm-up, thrown away".to_owned(),
            Part::Same => format!("base against base {} of {}", slot.round + 1, self.sweep.same_pairs),
            Part::Pairs => format!("round {} of {}", slot.round + 1, self.sweep.pairs),
        };
        let values = self.sweep.metrics.iter().map(|measure| {
            let name = measure.to_string();
            format!("{name} {}", measure.written(done.values.get(&name).copied().flatten()))
        });
        format!(
            "run {} of {} ({part}) {}: {}",
            at + 1,
            self.folder.state.order.len(),
            self.sweep.arms[slot.arm()].label(),
            values.collect::<Vec<_>>().join(", ")
        )
    }

    /// How long the rest takes.
    fn rest(&self) -> String {
        let seconds = self.seconds_left();
        if self.folder.state.is_done() { String::new() } else { format!("; {}", until(seconds)) }
    }

    /// How long the runs that are missing take, seconds: by those of the same side that were made, and where there are none
    /// by its plan, and by how far the runs of other sides were from theirs.
    pub(super) fn seconds_left(&self) -> f64 {
        let state = &self.folder.state;
        let planned = |slot: &Slot| run_seconds(&self.sweep.arms[slot.arm()].plan);
        let of = |arm: Option<usize>| {
            let of_these = state.done().filter(|(slot, _)| arm.is_none_or(|arm| slot.arm() == arm));
            let took = of_these.map(|(slot, done)| (done.wall_seconds, planned(slot)));
            took.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
        };
        let longer = |(took, planned): (f64, f64)| (planned > 0.0).then_some(took / planned);
        let all = longer(of(None)).unwrap_or(1.0);
        let left = state.order[state.runs.len()..].iter();
        left.map(|slot| planned(slot) * longer(of(Some(slot.arm()))).unwrap_or(all)).sum()
    }

    /// What is about to be done, and how long it takes.
    pub(super) fn announce(&self, printer: &mut Printer) {
        let (sweep, state) = (self.sweep, &self.folder.state);
        if self.folder.is_resumed {
            printer.say(&format!(
                "going on with {}: {} of {} runs are done",
                self.folder.path.display(),
                state.runs.len(),
                state.order.len()
            ));
        }
        let sides = sweep.arms.len() - 1;
        printer.say(&format!(
            "{}: {} {} against the base in {} {}, the base against itself in {}, a warm-up; {} runs, seed {}",
            sweep.name,
            sides,
            if sides == 1 { "side" } else { "sides" },
            sweep.pairs,
            if sweep.pairs == 1 { "round" } else { "rounds" },
            sweep.same_pairs,
            state.order.len(),
            state.seed
        ));
        printer.say(&format!("estimated: {}", until(self.seconds_left())));
    }
}

/// How long a sweep of this file takes, as far as can be said before, seconds.
pub(super) fn sweep_seconds(sweep: &Sweep) -> f64 {
    let of = |at: usize| run_seconds(&sweep.arms[at].plan);
    let trials = sweep.arms.iter().filter(|arm| arm.is_the_hosts()).count() as f64 * 2.5;
    let rounds: f64 = (0..sweep.arms.len()).map(of).sum::<f64>() * f64::from(sweep.pairs);
    trials + of(0) * f64::from(1 + 2 * sweep.same_pairs) + rounds
}

/// `2m10s left, until about 16:12 UTC`.
fn until(seconds: f64) -> String {
    let span = std::time::Duration::from_secs(seconds.max(0.0).round() as u64);
    let end = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_secs(span.as_secs() as i64));
    let end = end.map_or_else(|_| "?".to_owned(), |end| end.strftime("%H:%M UTC").to_string());
    format!("{} left, until about {end}", Span(span))
}

/// One connection with what a side sets, in a folder that holds its profile.
pub(super) fn try_in(folder: &Path, arm: &Arm, maker: &Maker, signals: &Signals) -> Result<Ended, Refusal> {
    let (plan, results) = (folder.join("trial.toml"), folder.join("trial"));
    let text = arm.trial().map_err(|error| Refusal::text(error, ""))?;
    std::fs::write(&plan, text).map_err(|error| {
        Refusal::host(format!("{}: {error}", plan.display()), "look at the room on the disk")
    })?;
    let ended = carry_out(arm, &plan, &results, maker, signals);
    for result in [std::fs::remove_file(&plan), std::fs::remove_dir_all(&results)] {
        // What stays is in nobody's way.
        let _ = result;
    }
    Ok(ended)
}

/// A trial that says nothing of its side.
pub(super) fn no_room_for_a_trial(arm: &Arm, why: &str) -> Refusal {
    let message = format!("whether this host sets {} cannot be tried: {why}", arm.label());
    Refusal { message, hint: Some("make room on the disk".to_owned()), exit: Exit::Broke }
}

pub(super) fn stopped(signals: &Signals) -> Refusal {
    Refusal { message: format!("stopped by {}", signals.in_words()), hint: None, exit: signals.exit() }
}

fn disk(error: &std::io::Error) -> Refusal {
    let message = format!("how far the sweep has come can no longer be written: {error}");
    Refusal { message, hint: None, exit: Exit::Broke }
}
