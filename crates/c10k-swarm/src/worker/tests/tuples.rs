//! The tuple of a connection comes back at each of its ends, and when the kernel lets go of it.

use c10k_record::{GrowthStop, PortsInPlan};

use super::bench::*;
use super::*;
use crate::maker::Ready;
use crate::tuples::{Hand, Supply, TIME_WAIT};

/// What the plan of a bench has.
const PLANNED: u32 = 20;

type Plan = fn(&mut World);
type End = fn(&mut Bench);

/// How many tuples could be had now.
fn left(bench: &mut Bench) -> usize {
    bench.worker.connector.settle_tuples(bench.shared.orders());
    let (mut hand, now_us) = (Hand::default(), bench.shared.now_us());
    if bench.shared.tuples.take(&mut hand, 2 * PLANNED, now_us) != Supply::Given {
        return 0;
    }
    let count = std::iter::from_fn(|| hand.next().inspect(|number| hand.is_free(*number))).count();
    bench.shared.tuples.take_back(&mut hand, now_us);
    count
}

/// Begins one connection and ends it, and gives how many tuples are left then and after TIME_WAIT, and whether its
/// socket, where it was made, was ended by RST.
fn after(mut bench: Bench, plan: Plan, end: End) -> (usize, usize, Option<bool>) {
    bench.plan(plan);
    bench.ramp(1);
    end(&mut bench);
    assert_eq!(bench.world.borrow().open, 0, "its socket stayed open");
    let at_once = left(&mut bench);
    bench.shared.skip(TIME_WAIT);
    let reset = bench.world.borrow().ended.first().map(|(_, reset)| *reset);
    (at_once, left(&mut bench), reset)
}

fn fail(bench: &mut Bench, errno: i32) {
    bench.plan(|world| world.failure = Some(errno));
    bench.ready(1, |event: &mut Ready| (event.writable, event.failed) = (true, true));
}

fn under_way(world: &mut World) {
    world.begins.push_back(Begin::UnderWay);
    world.sends.push_back(Send::Blocks);
}

fn time_out(bench: &mut Bench) {
    bench.shared.skip(TIMEOUT);
    bench.expire();
}

fn release(bench: &mut Bench) {
    bench.echo(1, 0);
    bench.worker.control.release.store(1, Relaxed);
    bench.go_on();
}

const ALL: usize = PLANNED as usize;

#[test]
fn where_the_peer_ended_it_or_it_never_was_its_tuple_is_free_at_once() {
    let ends: [(&str, Plan, End); 7] = [
        ("refused by connect", |w| w.begins.push_back(Begin::Fails(libc::ECONNREFUSED)), |_| {}),
        ("refused later", under_way, |bench| fail(bench, libc::ECONNREFUSED)),
        ("connect-timeout", under_way, time_out),
        ("a send that fails", |w| w.sends.push_back(Send::Fails(libc::EPIPE)), |_| {}),
        ("reset", |_| {}, |bench| bench.reset(1)),
        (
            "a read that fails",
            |w| w.receives.push_back(Receive::Fails(libc::ETIMEDOUT)),
            |bench| {
                bench.ready(1, |event| event.readable = true);
            },
        ),
        (
            "closed by the server",
            |w| w.receives.push_back(Receive::End),
            |bench| {
                bench.ready(1, |event| event.readable = true);
            },
        ),
    ];
    for (name, plan, end) in ends {
        let (at_once, later, _) = after(Bench::new(), plan, end);
        assert_eq!((at_once, later), (ALL, ALL), "{name}");
    }
}

#[test]
fn where_this_end_closes_first_its_tuple_comes_back_after_time_wait_or_at_once_by_rst() {
    let ends: [(&str, Plan, End); 5] = [
        ("released", |_| {}, release),
        ("probe-timeout", |_| {}, time_out),
        ("corrupt", |_| {}, |bench| bench.arrive(1, b"no echo")),
        ("not watched", |w| w.watch_fails = Some(libc::ENOSPC), |_| {}),
        (
            "cut",
            |_| {},
            |bench| {
                bench.shared.cut(Loss::Aborted);
                bench.go_on();
            },
        ),
    ];
    for (name, plan, end) in ends {
        assert_eq!(after(Bench::new(), plan, end), (ALL - 1, ALL, Some(false)), "{name} by FIN");
        let by_rst = Bench::but(|settings| settings.reset_on_close = true);
        assert_eq!(after(by_rst, plan, end), (ALL, ALL, Some(true)), "{name} by RST");
    }
}

#[test]
fn a_growth_behind_closes_by_rst_has_all_tuples_again() {
    let mut bench = Bench::but(|settings| settings.reset_on_close = true);
    for round in 1..=5_u32 {
        bench.ramp(15);
        (15 * (round - 1) + 1..=15 * round).for_each(|connection| bench.echo(connection, 0));
        bench.expect(&[("open", 15), ("failed", 0), ("tuples_skipped", 0)]);
        bench.worker.control.release.store(15, Relaxed);
        bench.go_on();
    }
    bench.expect(&[("attempted", 75), ("verified", 75), ("released", 75), ("open", 0)]);
    assert_eq!(bench.shared.growth_stop(), None);
}

#[test]
fn a_growth_behind_closes_by_fin_ends_with_what_waits_and_goes_on_after_time_wait() {
    let mut bench = Bench::new();
    bench.ramp(15);
    (1..=15).for_each(|connection| bench.echo(connection, 0));
    bench.worker.control.release.store(15, Relaxed);
    bench.go_on();
    bench.ramp(15);
    bench.expect(&[("attempted", 20), ("failed", 0), ("in_flight", 5)]);
    let (why, evidence) = bench.shared.why_growth_stopped().expect("it has stopped");
    assert_eq!(why, GrowthStop::NoPorts);
    assert_eq!(evidence.ports, Some(PortsInPlan { planned: 20, in_use: 5, time_wait: 15, taken: 0 }));
    bench.shared.skip(TIME_WAIT);
    bench.shared.arrivals.resume();
    bench.shared.forget_growth_stop();
    bench.ramp(15);
    bench.expect(&[("attempted", 35), ("failed", 0), ("in_flight", 20), ("tuples_skipped", 0)]);
    assert_eq!(bench.shared.growth_stop(), None);
}

#[test]
fn where_tuples_come_back_soon_the_growth_waits_for_them() {
    let mut bench = Bench::but(|settings| settings.time_wait = Duration::from_secs(1));
    bench.ramp(20);
    (1..=20).for_each(|connection| bench.echo(connection, 0));
    bench.worker.control.release.store(20, Relaxed);
    bench.go_on();
    bench.ramp(7);
    bench.expect(&[("attempted", 20), ("open", 0), ("failed", 0)]);
    assert!(bench.worker.timeout().is_some_and(|timeout| timeout <= Duration::from_secs(1)));
    assert_eq!(bench.shared.arrivals.taken(), 27, "the ramp waits for those that wait");
    bench.shared.skip(Duration::from_secs(1));
    bench.go_on();
    bench.expect(&[("attempted", 27), ("open", 7), ("failed", 0)]);
    assert_eq!(bench.shared.growth_stop(), None);
}

#[test]
fn a_failure_without_an_error_in_its_socket_is_none() {
    // Somebody has read the error before: the connection goes on, and its time says what became of it.
    let mut bench = Bench::new();
    bench.plan(under_way);
    bench.ramp(1);
    bench.ready(1, |event| event.failed = true);
    bench.expect(&[("failed", 0), ("in_flight", 1)]);
    time_out(&mut bench);
    bench.expect_losses(&[("connect-timeout", 1)]);
    // One that is up is read: that says it.
    let mut bench = Bench::verified(1);
    bench.ready(1, |event| event.failed = true);
    bench.expect(&[("failed", 0), ("open", 1)]);
    bench.plan(|world| world.receives.push_back(Receive::End));
    bench.ready(1, |event| event.failed = true);
    bench.expect_losses(&[("closed-by-server", 1)]);
}

#[test]
fn two_connections_that_are_open_together_never_have_the_same_probe() {
    let probe = |number: u32, tuple: u32| {
        let mut table: crate::table::Table<()> = crate::table::Table::new();
        let (index, _) = table.insert((), number, tuple, 0);
        table.get(index).identity()
    };
    // The numbers have wrapped, and one of the tuples is open since before that.
    assert_ne!(probe(5, 1), probe((5 + (1_u64 << 32)) as u32, 2));
    assert_ne!(probe(5, 1), probe(6, 1), "nor has the next one of the same tuple");
}

#[test]
fn the_sixty_five_thousandth_proof_is_no_first_proof() {
    let mut bench = Bench::verified(1);
    for _ in 0..u16::MAX {
        bench.shared.enter(Task::Prove);
        assert_ne!(bench.shared.round(), 0);
    }
    let sent = bench.world.borrow().sent[&1].len();
    bench.stage(Task::Prove);
    bench.echo(1, sent);
    bench.expect(&[("verified", 1), ("held", 1), ("established", 1), ("in_flight", 0)]);
}
