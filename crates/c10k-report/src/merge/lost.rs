//! Shards that did not come to the end with the others: none of their connections is called held.

use c10k_record::{Failure, Outcome, PhaseName, Record};

use super::account::Account;
use super::set::Set;

/// Notes which shards the server's end has taken for lost, and moves what the shards held that are not counted to what
/// was given up, so that the counts still add up.
pub(crate) fn give_up(set: &mut Set, account: Option<&Account>) {
    for entry in &mut set.entries {
        entry.is_lost = account.is_some_and(|account| account.has_lost(entry.index()));
        if !entry.is_counted() {
            entry.result.record.iter_mut().for_each(|record| give_up_held(record));
        }
    }
}

fn give_up_held(record: &mut Record) {
    let count = std::mem::take(&mut record.connections.held);
    if count > 0 {
        let (phase, first_at_ms) = end_of(record);
        record.connections.add_failed(Outcome::aborted(), count);
        record.failures.push(Failure { phase, outcome: Outcome::aborted(), count, first_at_ms });
    }
}

/// Where a run ended, and when: with its close, else in the last phase that it came to.
fn end_of(record: &Record) -> (PhaseName, u64) {
    match record.phases.last() {
        Some(last) if last.phase == PhaseName::Close => (last.phase, last.from_ms),
        Some(last) => (last.phase, last.to_ms.unwrap_or(last.from_ms)),
        None => (PhaseName::Ramp, 0),
    }
}
