//! The last proof: who is held by it, and what keeps nobody from it.

use super::bench::*;
use super::*;

#[test]
fn an_error_in_the_last_proof_is_one_loss() {
    for (name, plan) in [
        ("EPIPE", (|w| w.sends.push_back(Send::Fails(libc::EPIPE))) as fn(&mut World)),
        ("ENOSPC", |w| {
            w.sends.push_back(Send::Blocks);
            w.watch_writable_fails = Some(libc::ENOSPC);
        }),
    ] {
        let mut bench = Bench::verified(1);
        bench.plan(plan);
        bench.stage(Task::Prove);
        bench.expect_one_loss(name);
        bench.go_on();
        assert!(bench.shared.everybody_done());
    }
}

#[test]
fn a_last_proof_that_finds_no_room_goes_out_later() {
    let mut bench = Bench::verified(1);
    bench.plan(|world| world.sends.extend([Send::Blocks, Send::Some(6)]));
    bench.stage(Task::Prove);
    bench.ready(1, |event| event.writable = true);
    bench.ready(1, |event| event.writable = true);
    bench.echo(1, usize::from(PROBE_BYTES));
    bench.expect(&[("held", 1), ("in_flight", 0), ("failed", 0)]);
    bench.go_on();
    assert!(bench.shared.everybody_done());
}

#[test]
fn an_echo_of_the_first_probe_is_no_last_proof() {
    let mut bench = Bench::verified(1);
    let first = bench.world.borrow().sent[&1].clone();
    bench.stage(Task::Prove);
    bench.arrive(1, &first);
    bench.expect_losses(&[("corrupt", 1)]);
    bench.expect(&[("held", 0), ("open", 0)]);
}

#[test]
fn held_is_what_the_present_round_has_proven() {
    let mut bench = Bench::verified(3);
    bench.stage(Task::Prove);
    let size = usize::from(PROBE_BYTES);
    (1..=3).for_each(|connection| bench.echo(connection, size));
    bench.go_on();
    bench.expect(&[("held", 3)]);
    // Lost in the hold that follows: not held any more.
    bench.shared.enter(Task::Ping);
    bench.reset(1);
    bench.expect(&[("held", 2), ("open", 2), ("failed", 1)]);
    // Lost in a second round before its turn came, and answered in it.
    bench.shared.enter(Task::Prove);
    bench.reset(2);
    bench.expect(&[("held", 1), ("failed", 2)]);
    bench.shared.pass_on(Turn::Walk);
    bench.go_on();
    bench.expect(&[("held", 0), ("in_flight", 1)]);
    bench.echo(3, 2 * size);
    bench.go_on();
    bench.expect(&[("held", 1), ("open", 1), ("failed", 2), ("in_flight", 0)]);
    assert!(bench.shared.everybody_done());
}

#[test]
fn a_cut_loses_all_that_the_present_round_has_not_proven() {
    let mut bench = Bench::verified(3);
    let size = usize::from(PROBE_BYTES);
    bench.stage(Task::Prove);
    (1..=3).for_each(|connection| bench.echo(connection, size));
    bench.stage(Task::Prove);
    bench.echo(2, 2 * size);
    bench.shared.cut(Loss::Unproven);
    bench.go_on();
    bench.expect(&[("held", 1), ("open", 1), ("failed", 2), ("in_flight", 0)]);
    bench.expect_losses(&[("unproven", 2)]);
    assert!(bench.shared.everybody_done());
}

#[test]
fn a_first_proof_behind_the_walk_of_the_verification_counts() {
    let mut bench = Bench::new();
    bench.ramp(1);
    bench.stage(Task::Prove);
    assert!(!bench.shared.everybody_done(), "its echo is still under way");
    bench.echo(1, 0);
    bench.go_on();
    bench.expect(&[("verified", 1), ("held", 1), ("in_flight", 0)]);
    assert!(bench.shared.everybody_done());
}

#[test]
fn a_ramp_that_is_stuck_keeps_nobody_from_the_last_proof() {
    let mut bench = Bench::limited_to(3);
    bench.ramp(3);
    (1..=3).for_each(|connection| bench.echo(connection, 0));
    bench.ramp(3);
    bench.expect(&[("verified", 3), ("in_flight", 3)]);
    bench.stage(Task::Prove);
    bench.expect(&[("in_flight", 6)]);
    (1..=3).for_each(|connection| bench.echo(connection, usize::from(PROBE_BYTES)));
    bench.shared.cut(Loss::Aborted);
    bench.go_on();
    bench.expect(&[("held", 3), ("failed", 3), ("in_flight", 0)]);
}
