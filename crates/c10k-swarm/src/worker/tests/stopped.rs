//! A run that is stopped before its end.

use c10k_record::PhaseName;

use super::bench::*;
use crate::shared::testing::TIMEOUT;
use crate::tasks::{Task, Turn};

/// Of every state one or two: 1 and 2 are proven, 3 proves itself again, 4 is idle, 5 waits for its first echo, 6 connects.
fn one_of_every_state() -> Bench {
    let mut bench = Bench::verified(3);
    let size = usize::from(PROBE_BYTES);
    bench.stage(Task::Prove);
    (1..=2).for_each(|connection| bench.echo(connection, size));
    bench.ramp(2);
    bench.echo(4, 0);
    bench.plan(|world| {
        world.begins.push_back(Begin::UnderWay);
        world.sends.push_back(Send::Blocks);
    });
    bench.ramp(1);
    bench.expect(&[("attempted", 6), ("established", 5), ("open", 5), ("held", 2), ("in_flight", 3)]);
    bench
}

#[test]
fn a_run_that_is_stopped_gives_up_every_connection_once_whatever_it_was_doing() {
    for (all_are_proven, held) in [(false, 0), (true, 2)] {
        let mut bench = one_of_every_state();
        bench.shared.abort(PhaseName::Hold, all_are_proven);
        bench.shared.pass_on(Turn::Walk);
        bench.go_on();
        bench.expect(&[("held", held), ("open", 0), ("in_flight", 0), ("failed", 0), ("closed", held)]);
        bench.expect(&[("aborted", 6 - held)]);
        bench.expect_losses(&[("aborted", 6 - held)]);
        assert!(bench.shared.tally().failures().iter().all(|row| row.phase == PhaseName::Hold));
        assert!(bench.shared.everybody_done() && bench.world.borrow().open == 0);
    }
}

#[test]
fn what_a_server_says_or_leaves_unsaid_while_a_run_is_stopped_counts_no_more() {
    let mut bench = one_of_every_state();
    // Without the turn nothing is closed yet.
    bench.shared.abort(PhaseName::Ramp, false);
    bench.plan(|world| world.failure = Some(libc::ECONNRESET));
    bench.ready(3, |event| event.failed = true);
    bench.shared.skip(TIMEOUT * 2);
    bench.go_on();
    bench.expect(&[("open", 5), ("failed", 0)]);
    bench.shared.pass_on(Turn::Walk);
    bench.go_on();
    bench.expect_losses(&[("aborted", 6)]);
}
