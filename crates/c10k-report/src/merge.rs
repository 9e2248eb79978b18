//! What several shards did, as one run with one verdict.

use std::path::Path;

use c10k_record::{Condition, Exit, Record, RunState, Warning, add_conditions, judge};

mod account;
mod clock;
mod costs;
mod fault;
mod latencies;
mod lost;
mod over_time;
mod part;
mod set;
mod shared;
mod sum;
#[cfg(test)]
mod tests;
mod work;

use clock::Times;
pub use fault::Fault;
use latencies::Pooled;
pub use over_time::OverTime;
use set::Set;
pub use set::Wanted;

/// A run put together, and how a command ends with it.
#[derive(Debug)]
pub struct Merged {
    /// The run.
    pub record: Record,
    /// Its rows and latencies over time.
    pub over_time: OverTime,
    /// How a command that shows it ends.
    pub exit: Exit,
}

/// Puts together what lies in a folder, and judges it; `asked` stands above the verdicts of the plan.
///
/// # Errors
/// Results that are not one run, each by its [`Fault`].
pub fn merged(folder: &Path, wanted: Wanted<'_>, asked: &[Condition]) -> Result<Merged, Fault> {
    let mut set = set::gather(folder, wanted)?;
    add_conditions(&mut set.plan.verdicts, asked);
    let account = account::read(folder, &set)?;
    lost::give_up(&mut set, account.as_ref());
    let pooled = Pooled::of(&set)?;
    let times = Times::of(&set);
    let together_ms = times.together_ms(&set)?;
    let mut record = sum::sum(&set, &times, &pooled, together_ms);
    let over_time = over_time::read(&set, &times, &part::parts(&set, &times));
    over_time::note_peak(&mut record, &over_time.samples);
    over_time::note_work(&mut record, &over_time.latencies);
    if let Some(account) = account {
        account.note(&mut record);
    }
    judge_it(&mut record, &set.plan.verdicts);
    let exit = exit_of(&record, &set);
    Ok(Merged { record, over_time, exit })
}

fn judge_it(record: &mut Record, conditions: &[Condition]) {
    record.verdicts = judge(conditions, record);
    let warned = record.verdict_warnings();
    record.warnings.extend(warned);
    // Each shard has told of its own gaps; which verdicts of the whole are not judged is told here.
    let known = |warning: &Warning| record.warnings.iter().any(|other| other.text.contains(&warning.text));
    let gaps: Vec<Warning> = record.gap_warnings().into_iter().filter(|warning| !known(warning)).collect();
    record.warnings.extend(gaps);
    let broken = record.broken_identity();
    record.warnings.extend(broken.map(|broken| Warning::new("identity", broken)));
}

/// A run that was stopped by a signal ends as that says; one that ended for all because a shard was lost is short.
fn exit_of(record: &Record, set: &Set) -> Exit {
    if record.state != RunState::Aborted {
        return record.result().exit(None);
    }
    let is_by = |exit: Exit| set.entries.iter().any(|entry| entry.result.end.exit_code == exit.code());
    [Exit::Interrupted, Exit::Terminated].into_iter().find(|exit| is_by(*exit)).unwrap_or(Exit::Short)
}
