//! In which order connections were proven and lost, where the swarm does not say it itself.

use c10k_record::{LossOrder, PhaseName, Record};

/// How long after the first loss a connection may succeed that was under way then, of the time that the ramp took.
const UNDER_WAY: u64 = 50;
/// And at least, milliseconds.
const UNDER_WAY_MS: u64 = 20;
/// The same where the ramp was over then, milliseconds.
const AT_ONCE_MS: u64 = 2;

/// The order in the ramp; `None` where nothing was lost in it, or it cannot be told from when the first was lost and the
/// last proven.
pub(crate) fn order(record: &Record) -> Option<LossOrder> {
    let c = &record.connections;
    let lost: Vec<_> = record.failures.iter().filter(|row| row.phase == PhaseName::Ramp).collect();
    let (first_ms, count) =
        (lost.iter().map(|row| row.first_at_ms).min()?, lost.iter().map(|row| row.count).sum());
    // Its mean is over the time from the first connect to the last proof.
    let mean = record.rate.connects_per_second.mean.filter(|mean| *mean > 0.0)?;
    let last_proof_ms = (c.verified? as f64 / mean * 1e3) as u64;
    let ramp = record.phases.iter().find(|phase| phase.phase == PhaseName::Ramp)?;
    let after_proof_ms = ramp.to_ms?.checked_sub(ramp.from_ms)?.saturating_sub(last_proof_ms);
    if first_ms >= last_proof_ms {
        return Some(LossOrder {
            lost: count,
            lost_after_proof: count,
            after_proof_ms,
            ..LossOrder::default()
        });
    }
    // Some were under way when the first was lost. After that it went on for longer without a success, or was over at
    // once: errors by chance would have begun before.
    let (slack_ms, over_at_ms) =
        (UNDER_WAY_MS.max(last_proof_ms / UNDER_WAY), AT_ONCE_MS.max(last_proof_ms / 100));
    let apart_ms = last_proof_ms - first_ms;
    let goes_on = apart_ms <= slack_ms && after_proof_ms > slack_ms;
    let is_over = apart_ms <= over_at_ms && count >= c.verified? / 100;
    (goes_on || is_over).then_some(LossOrder {
        lost: count,
        lost_after_proof: count,
        after_proof_ms,
        ..LossOrder::default()
    })
}

#[cfg(test)]
mod tests {
    use c10k_record::{Failure, Outcome, PhaseTimes, Protocol, Tool, Topology, Workload};

    use super::*;

    /// So many verified until a moment, and so many lost from another on, in a ramp of that length.
    fn of(verified: u64, until_ms: u64, lost: u64, from_ms: u64, ramp_ms: u64) -> Option<LossOrder> {
        let tool = Tool { name: "c10k-lab".to_owned(), version: "0".to_owned() };
        let mut record =
            Record::begun(tool, "x".to_owned(), Topology::Loopback, Protocol::Raw, Workload::Hold);
        record.connections.verified = Some(verified);
        record.rate.connects_per_second.mean = Some(verified as f64 / until_ms as f64 * 1e3);
        record.phases = vec![PhaseTimes { phase: PhaseName::Ramp, from_ms: 0, to_ms: Some(ramp_ms) }];
        if lost > 0 {
            let outcome = Outcome::named("closed-by-server");
            record.failures =
                vec![Failure { phase: PhaseName::Ramp, outcome, count: lost, first_at_ms: from_ms }];
        }
        order(&record)
    }

    #[test]
    fn the_first_so_many_and_then_none_is_told_from_errors_among_successes() {
        assert!(of(510, 1_000, 390, 1_000, 1_800).is_some_and(LossOrder::is_a_cap));
        // A few were under way.
        assert!(of(510, 1_010, 390, 1_000, 1_800).is_some_and(LossOrder::is_a_cap));
        assert_eq!(of(510, 1_800, 390, 1_000, 1_800), None, "they go on succeeding");
        assert!(of(300, 104, 20, 103, 104).is_some_and(LossOrder::is_a_cap), "it was over at once");
        assert_eq!(of(510, 1_015, 390, 1_000, 1_016), None, "not so soon");
        assert_eq!(of(510, 1_000, 0, 0, 1_000), None);
    }
}
