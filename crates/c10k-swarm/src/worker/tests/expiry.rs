//! What takes too long is lost at its time and not before, and its deadline takes no more room than it needs.

use super::bench::*;
use super::*;

#[test]
fn a_connect_and_a_probe_expire_at_their_time_and_not_before() {
    for (under_way, name) in [(true, "connect-timeout"), (false, "probe-timeout")] {
        let mut bench = Bench::new();
        if under_way {
            bench.plan(|world| {
                world.begins.push_back(Begin::UnderWay);
                world.sends.push_back(Send::Blocks);
            });
        }
        bench.ramp(1);
        bench.shared.skip(TIMEOUT - MARGIN);
        bench.expire();
        bench.expect(&[("failed", 0), ("in_flight", 1)]);
        bench.shared.skip(MARGIN);
        bench.expire();
        bench.expect_one_loss(name);
        bench.expire();
        bench.expect_one_loss(name);
    }
}

#[test]
fn an_old_probe_at_the_front_keeps_no_new_one_from_expiring() {
    let mut bench = Bench::new();
    bench.ramp(2);
    // The second is proven while the first still waits, so that its entry stays behind it.
    bench.echo(2, 0);
    bench.echo(1, 0);
    bench.stage(Task::Prove);
    bench.shared.skip(TIMEOUT);
    bench.expire();
    bench.expect_losses(&[("probe-timeout", 2)]);
    bench.expect(&[("open", 0), ("in_flight", 0), ("held", 0)]);
}

#[test]
fn one_silent_connection_keeps_no_memory_of_those_that_came_after_it() {
    let mut bench = Bench::but(|settings| settings.reset_on_close = true);
    bench.ramp(1);
    for connection in 2..20_000 {
        bench.ramp(1);
        bench.echo(connection, 0);
        bench.worker.control.release.store(1, Relaxed);
        bench.go_on();
        bench.expire();
        // What the world remembers would be most of the work.
        bench.plan(|world| {
            world.tuples.clear();
            world.sent.clear();
            world.watched.clear();
            world.ended.clear();
        });
    }
    bench.expect(&[("open", 1), ("in_flight", 1), ("failed", 0), ("released", 19_998)]);
    assert!(bench.worker.waits.capacity() <= 4096, "{}", bench.worker.waits.capacity());
    bench.shared.skip(TIMEOUT);
    bench.expire();
    bench.expect_losses(&[("probe-timeout", 1)]);
}

#[test]
fn a_deadline_that_has_passed_does_not_spin_the_next_task() {
    let mut bench = Bench::verified(1);
    bench.shared.arrivals.pause_until(bench.shared.now_us() + 1_000_000);
    bench.ramp(1);
    assert!(bench.worker.timeout().is_some(), "it waits for the end of the pause");
    bench.stage(Task::Ping);
    assert_eq!(bench.worker.timeout(), None, "nothing is to be waited for but events");
}
