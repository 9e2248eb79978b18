//! A run whose writer was killed: what its samples tell beyond its record.

use c10k_record::{Outcome, Record, RunState, Sample};

/// Takes the counts of a record that was never finished from the last of its samples, which were written to the end.
/// Any other record stays as it is.
pub fn fill_from_samples(record: &mut Record, samples: &[Sample]) {
    let is_of_the_swarm = |row: &&Sample| row.attempted.is_some();
    let Some(last) = samples.iter().rfind(is_of_the_swarm) else { return };
    let c = &mut record.connections;
    if record.state != RunState::Unfinished || last.attempted < Some(c.attempted) {
        return;
    }
    c.attempted = last.attempted.unwrap_or(c.attempted);
    c.established = last.established.unwrap_or(c.established);
    // A server that stands still is silent in the last rows: what it said before still holds.
    c.accepted = samples.iter().rev().find_map(|row| row.accepted).or(c.accepted);
    if record.plan.as_ref().is_none_or(|plan| plan.load.probe) {
        c.verified = last.verified.or(c.verified);
    }
    c.open = last.open.or(c.open);
    c.failed.clear();
    // Under which names is written at the end of a run only.
    c.add_failed(Outcome::not_recorded(), last.failed.unwrap_or(0));
    let connects = samples.iter().filter_map(|row| row.connects_per_second).reduce(f64::max);
    let rate = &mut record.rate.connects_per_second;
    rate.peak = rate.peak.or(connects);
    let time_wait = samples.iter().filter_map(|row| row.time_wait).max();
    record.time_wait.peak = record.time_wait.peak.max(time_wait);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn an_unfinished_record_tells_what_its_samples_tell_and_a_finished_one_is_left_alone() {
        let mut record = fixtures::unfinished();
        fill_from_samples(&mut record, &fixtures::samples());
        let c = &record.connections;
        assert_eq!((c.attempted, c.established, c.accepted), (120_000, 120_000, Some(120_000)));
        assert_eq!((c.verified, c.open, c.held), (Some(116_000), Some(118_000), 0));
        assert_eq!(record.rate.connects_per_second.peak, Some(29_500.5));
        let mut held = fixtures::held();
        fill_from_samples(&mut held, &fixtures::samples());
        assert_eq!(held, fixtures::held());
    }

    #[test]
    fn what_a_silent_server_said_before_is_told() {
        let mut record = fixtures::unfinished();
        let said = Sample { attempted: Some(40_000), accepted: Some(39_000), ..Sample::default() };
        let silent = Sample { attempted: Some(50_000), accepted: None, ..Sample::default() };
        fill_from_samples(&mut record, &[said, silent]);
        assert_eq!((record.connections.attempted, record.connections.accepted), (50_000, Some(39_000)));
        assert_eq!(record.connections.ghosts, None, "the two are of different moments");
    }

    #[test]
    fn what_the_samples_do_not_know_stays_unknown_and_what_was_lost_has_no_name() {
        let mut record = fixtures::unfinished();
        let row = Sample { attempted: Some(40_000), failed: Some(7), ..Sample::default() };
        fill_from_samples(&mut record, &[row, Sample::default()]);
        let c = &record.connections;
        assert_eq!((c.attempted, c.established, c.accepted, c.open), (40_000, 30_000, None, None));
        assert_eq!(c.failed, [(Outcome::not_recorded(), 7)].into());
    }
}
