//! What each latency begins and ends with, and whose time it is.

use c10k_record::LatencySummary;

use super::super::*;
use super::bench::*;
use super::websocket::{asking_websocket, websockets};
use crate::shared::testing::TIMEOUT;

/// What calls take here: so much that no machine is slow enough to be taken for them.
const BEGIN: Duration = Duration::from_secs(10);
const SEND: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(30);

/// Asserts that the one value is these, and what a test takes on a busy machine.
#[track_caller]
fn expect(latency: LatencySummary, parts: &[Duration]) {
    let least: Duration = parts.iter().sum();
    let (least, most) = (least.as_micros() as u64 * 98 / 100, (least + MARGIN).as_micros() as u64);
    assert!(latency.max.is_some_and(|max| (least..most).contains(&max)), "{latency:?} is not {parts:?}");
    assert_eq!(latency.count, 1);
}

fn slow(world: &mut World) {
    (world.begin_takes, world.send_takes) = (BEGIN, SEND);
}

#[test]
fn where_the_connect_ends_the_first_echo_begins_and_the_send_is_part_of_the_echo_alone() {
    let at_once: fn(&mut World) = |_| {};
    let behind_the_connect: fn(&mut World) = |world| world.begins.push_back(Begin::UnderWay);
    for plan in [at_once, behind_the_connect] {
        let mut bench = Bench::new();
        bench.plan(slow);
        bench.plan(plan);
        bench.ramp(1);
        bench.shared.skip(ANSWER - SEND);
        bench.echo(1, 0);
        expect(bench.measured().connect.summary(), &[BEGIN]);
        expect(bench.measured().first_echo.summary(), &[ANSWER]);
        // The last proof is timed the same way.
        bench.stage(Task::Prove);
        bench.shared.skip(ANSWER - SEND);
        bench.echo(1, usize::from(PROBE_BYTES));
        expect(bench.measured().echo.summary(), &[ANSWER]);
    }
}

#[test]
fn what_a_turn_does_before_a_connect_is_looked_at_is_no_part_of_its_echo() {
    let mut bench = Bench::new();
    bench.plan(|world| {
        world.begins.extend([Begin::UnderWay, Begin::UnderWay]);
        world.sends.extend([Send::Blocks, Send::Blocks]);
    });
    bench.ramp(2);
    bench.shared.skip(ANSWER);
    bench.plan(slow);
    // Both have completed, and epoll has reported them together.
    bench.ready(1, |event| event.writable = true);
    expect(bench.measured().connect.summary(), &[ANSWER]);
    bench.ready(2, |event| event.writable = true);
    bench.echo(2, 0);
    expect(bench.measured().first_echo.summary(), &[SEND]);
}

#[test]
fn where_the_connect_ends_the_handshake_begins() {
    let mut bench = websockets(50);
    bench.plan(slow);
    bench.ramp(1);
    expect(bench.measured().connect.summary(), &[BEGIN]);
    let (mut bench, _, _, response) = asking_websocket();
    bench.plan(slow);
    bench.shared.skip(ANSWER);
    bench.arrive(1, &response);
    // The probe goes out behind it, and takes its own time.
    expect(bench.measured().handshake.summary(), &[ANSWER]);
}

#[test]
fn looking_for_a_tuple_is_the_swarms_own_time() {
    let mut bench = Bench::open_loop(1000.0);
    bench.plan(|world| {
        slow(world);
        world.begins.push_back(Begin::Taken);
    });
    bench.ramp(1);
    let measured = bench.measured();
    expect(measured.connect.summary(), &[BEGIN]);
    let from_intended = measured.from_intended.expect("an open loop");
    expect(from_intended.lateness.summary(), &[BEGIN]);
    expect(from_intended.connect_response.summary(), &[BEGIN, BEGIN]);
}

#[test]
fn a_closed_loop_intends_nothing_and_is_never_late() {
    let bench = Bench::verified(3);
    assert!(bench.measured().from_intended.is_none());
    assert!(bench.worker.connector.kept_latenesses() == 0);
}

#[test]
fn what_was_begun_late_and_lost_is_forgotten() {
    let mut bench = Bench::open_loop(1000.0);
    bench.plan(|world| {
        world.begins.push_back(Begin::UnderWay);
        world.sends.push_back(Send::Blocks);
    });
    bench.ramp(1);
    assert_eq!(bench.worker.connector.kept_latenesses(), 1);
    bench.reset(1);
    assert!(bench.worker.connector.kept_latenesses() == 0);
}

/// A server that stands still is met by all who arrive meanwhile: connects of an open loop wait for nobody.
#[test]
fn a_frozen_server_shows_in_the_service_of_all_who_arrive_meanwhile() {
    const ARRIVALS: u32 = 16;
    for takes_connects in [true, false] {
        let mut bench = Bench::open_loop(0.5);
        if !takes_connects {
            bench.plan(|world| {
                world.begins.extend((0..ARRIVALS).map(|_| Begin::UnderWay));
                world.sends.extend((0..ARRIVALS).map(|_| Send::Blocks));
            });
        }
        bench.shared.arrivals.grow(ARRIVALS.into(), bench.shared.now_us());
        bench.stage(Task::Connect);
        // For 32 s it says nothing.
        for _ in 1..ARRIVALS {
            bench.shared.skip(Duration::from_secs(2));
            bench.go_on();
        }
        bench.expect(&[("attempted", ARRIVALS.into()), ("in_flight", ARRIVALS.into())]);
        let measured = if takes_connects {
            (1..=ARRIVALS).for_each(|connection| bench.echo(connection, 0));
            bench.measured().first_echo.summary()
        } else {
            (1..=ARRIVALS).for_each(|connection| bench.ready(connection, |event| event.writable = true));
            bench.measured().connect.summary()
        };
        assert!(measured.p50 > Some(10_000_000) && measured.max > Some(25_000_000), "{measured:?}");
        let from_intended = bench.measured().from_intended.clone().expect("an open loop");
        let lateness = from_intended.lateness.summary();
        assert!(lateness.max < measured.p50 && lateness.count == u64::from(ARRIVALS), "{lateness:?}");
        assert_eq!(from_intended.connect_response.count(), u64::from(ARRIVALS));
    }
}

#[test]
fn a_connect_begun_late_has_its_whole_time() {
    let mut late = Bench::open_loop(1.0);
    late.plan(|world| {
        world.begins.push_back(Begin::UnderWay);
        world.sends.push_back(Send::Blocks);
    });
    late.shared.arrivals.grow(1, late.shared.now_us());
    // Nobody began it for ten times as long as a connect may take.
    late.shared.skip(10 * TIMEOUT);
    late.stage(Task::Connect);
    late.expire();
    late.expect(&[("attempted", 1), ("failed", 0), ("in_flight", 1)]);
    late.ready(1, |event| event.writable = true);
    let measured = late.measured();
    let from_intended = measured.from_intended.expect("an open loop");
    for late in [from_intended.lateness.summary(), from_intended.connect_response.summary()] {
        assert!(late.max >= Some(59_000_000) && late.count == 1, "{late:?}");
    }
    let connect = measured.connect.summary();
    assert!(connect.max < Some(30_000_000), "the swarm's lateness is not the server's: {connect:?}");
}

#[test]
fn times_survive_the_wrap_of_the_clock() {
    let mut bench = Bench::new();
    // The µs of a slot wrap after 71 minutes.
    let wrap = Duration::from_micros(u64::from(u32::MAX));
    bench.shared.skip(wrap - TIMEOUT / 2);
    bench.ramp(2);
    bench.shared.skip(TIMEOUT - MARGIN);
    bench.expire();
    bench.expect(&[("failed", 0), ("in_flight", 2)]);
    bench.echo(1, 0);
    let latency = bench.measured().first_echo.summary();
    let expected = 29_600_000..40_000_000;
    assert!(latency.max.is_some_and(|max| expected.contains(&max)), "{latency:?}");
    bench.shared.skip(MARGIN);
    bench.expire();
    bench.expect_losses(&[("probe-timeout", 1)]);
}
