//! A worker over connections that are made of nothing: every partial step, every error, no socket, no clock.

use std::panic::{AssertUnwindSafe, catch_unwind};

use c10k_record::{GrowthStop, PortsInPlan};
use c10k_wire::raw::Probes;

use c10k_wire::TURN_BYTES;

use super::*;
use crate::arrivals::Claim;
use crate::maker::Ready;
use crate::shared::testing::TIMEOUT;
use crate::table::State;
use crate::tally::Loss;
use crate::tuples::{Hand, Supply};

mod bench;
mod expiry;
mod proofs;
mod silence;
mod stopped;
mod talk;
mod times;
mod together;
mod tuples;
mod websocket;

use bench::*;

#[test]
fn a_probe_sent_in_two_parts_and_echoed_in_two_parts_is_whole_at_every_offset() {
    let size = usize::from(PROBE_BYTES);
    for sent in 0..size {
        for got in 1..size {
            let mut bench = Bench::new();
            bench.plan(|world| world.sends.push_back(Send::Some(sent)));
            bench.ramp(1);
            assert!(bench.world.borrow().watched[&1].1, "the rest waits for room");
            bench.ready(1, |event| event.writable = true);
            let probe = bench.world.borrow().sent[&1].clone();
            assert_eq!(probe.len(), size);
            bench.arrive(1, &probe[..got]);
            bench.expect(&[("verified", 0), ("in_flight", 1)]);
            bench.arrive(1, &probe[got..]);
            bench.expect(&[("verified", 1), ("in_flight", 0), ("open", 1), ("failed", 0)]);
        }
    }
}

#[test]
fn a_probe_and_its_echo_byte_by_byte_are_whole() {
    let mut bench = Bench::new();
    bench.plan(|world| world.sends.extend((0..PROBE_BYTES).map(|_| Send::Some(1))));
    bench.ramp(1);
    for _ in 1..PROBE_BYTES {
        bench.ready(1, |event| event.writable = true);
    }
    let probe = bench.world.borrow().sent[&1].clone();
    for byte in probe {
        bench.expect(&[("verified", 0)]);
        bench.arrive(1, &[byte]);
    }
    bench.expect(&[("verified", 1), ("in_flight", 0)]);
}

#[test]
fn an_echo_of_what_was_not_yet_sent_is_corrupt() {
    let mut other = Bench::new();
    other.ramp(1);
    let probe = other.world.borrow().sent[&1].clone();
    let mut bench = Bench::new();
    bench.plan(|world| world.sends.push_back(Send::Some(5)));
    bench.ramp(1);
    bench.arrive(1, &probe);
    bench.expect_one_loss("corrupt");
}

#[test]
fn a_connect_under_way_is_established_when_it_can_write() {
    let mut bench = Bench::new();
    bench.plan(|world| {
        world.begins.push_back(Begin::UnderWay);
        world.sends.push_back(Send::Blocks);
    });
    bench.ramp(1);
    bench.expect(&[("attempted", 1), ("established", 0), ("open", 0), ("in_flight", 1)]);
    // A wake-up for reading alone says nothing of the connect.
    bench.ready(1, |event| event.readable = true);
    bench.expect(&[("established", 0)]);
    bench.ready(1, |event| event.writable = true);
    bench.expect(&[("established", 1), ("open", 1), ("in_flight", 1)]);
    bench.echo(1, 0);
    bench.expect(&[("verified", 1), ("in_flight", 0)]);
}

#[test]
fn an_error_at_any_step_is_one_loss() {
    type Plan = fn(&mut World);
    type Change = fn(&mut Ready);
    let steps: [(&str, Plan, Option<Change>); 8] = [
        ("ENETUNREACH", |w| w.begins.push_back(Begin::Fails(libc::ENETUNREACH)), None),
        (
            "ECONNREFUSED",
            |w| {
                w.begins.push_back(Begin::UnderWay);
                w.sends.push_back(Send::Fails(libc::ECONNREFUSED));
            },
            None,
        ),
        ("EPIPE", |w| w.sends.push_back(Send::Fails(libc::EPIPE)), None),
        ("ENOSPC", |w| w.watch_fails = Some(libc::ENOSPC), None),
        (
            "ETIMEDOUT",
            |w| {
                w.begins.push_back(Begin::UnderWay);
                w.sends.push_back(Send::Blocks);
                w.failure = Some(libc::ETIMEDOUT);
            },
            Some(|event| (event.writable, event.failed) = (true, true)),
        ),
        (
            "EPIPE",
            |w| w.sends.extend([Send::Some(3), Send::Fails(libc::EPIPE)]),
            Some(|event| event.writable = true),
        ),
        (
            "ECONNRESET",
            |w| w.receives.push_back(Receive::Fails(libc::ECONNRESET)),
            Some(|event| (event.readable, event.failed) = (true, true)),
        ),
        ("closed-by-server", |w| w.receives.push_back(Receive::End), Some(|event| event.readable = true)),
    ];
    for (name, plan, event) in steps {
        let mut bench = Bench::new();
        bench.plan(plan);
        bench.ramp(1);
        if let Some(event) = event {
            bench.ready(1, event);
        }
        bench.expect_one_loss(name);
    }
}

#[test]
fn an_end_behind_bytes_is_seen_with_them() {
    let mut bench = Bench::new();
    bench.ramp(1);
    let probe = bench.world.borrow().sent[&1].clone();
    bench.plan(|world| {
        world.receives.extend([Receive::Bytes(probe[..7].to_vec()), Receive::End]);
    });
    bench.ready(1, |event| (event.readable, event.until_empty) = (true, true));
    bench.expect_one_loss("short-echo");
}

#[test]
fn bytes_that_nobody_asked_for_are_corrupt() {
    let mut bench = Bench::verified(1);
    bench.shared.enter(Task::Ping);
    bench.arrive(1, b"?");
    bench.expect_losses(&[("corrupt", 1)]);
    bench.expect(&[("verified", 1), ("open", 0), ("in_flight", 0)]);
}

#[test]
fn a_tuple_that_is_taken_is_skipped_for_the_next() {
    let mut bench = Bench::new();
    bench.plan(|world| world.begins.extend([Begin::Taken, Begin::Taken, Begin::Taken]));
    bench.ramp(2);
    bench.expect(&[("attempted", 2), ("tuples_skipped", 3), ("failed", 0), ("open", 2)]);
    assert_eq!(bench.world.borrow().tuples, [1000, 1001, 1002, 1003, 1004]);
}

#[test]
fn when_no_tuple_is_left_growth_ends_and_no_errno_is_counted() {
    let mut bench = Bench::new();
    bench.plan(|world| world.begins.extend((0..18).map(|_| Begin::Taken)));
    bench.ramp(9);
    bench.expect(&[("attempted", 2), ("open", 2), ("failed", 0), ("tuples_skipped", 18)]);
    bench.expect_losses(&[]);
    let (why, evidence) = bench.shared.why_growth_stopped().expect("it has stopped");
    assert_eq!((why, evidence.errno), (GrowthStop::NoPorts, None));
    assert_eq!(evidence.ports, Some(PortsInPlan { planned: 20, in_use: 2, time_wait: 0, taken: 18 }));
    assert_eq!(bench.shared.arrivals.taken(), 2, "the ramp would wait for those for ever");
}

#[test]
fn a_full_table_hands_over_its_turn_and_its_claims() {
    let mut bench = Bench::with(Probes::new(7, PROBE_BYTES), 3);
    bench.ramp(10);
    bench.expect(&[("attempted", 3), ("open", 3), ("failed", 0)]);
    assert!(!bench.worker.control.turn(Turn::Connect).load(Relaxed));
    assert!(bench.was_noted(|note| matches!(note, Note::TurnFree(Turn::Connect))));
    assert_eq!(bench.shared.arrivals.taken(), 3);
    assert_eq!(bench.shared.arrivals.claim(32, 0), Claim::Some { first: 3, count: 7 });
    assert!(!bench.shared.pass_on(Turn::Connect), "a full table gets no turn");
}

#[test]
fn a_table_fuller_than_thought_loses_nothing() {
    let mut bench = Bench::new();
    bench.plan(|world| world.begins.extend([Begin::UnderWay, Begin::TableFull]));
    bench.ramp(2);
    bench.expect(&[("attempted", 1), ("failed", 0)]);
    assert!(bench.was_noted(|note| matches!(note, Note::TurnFree(Turn::Connect))));
    assert_eq!(bench.shared.growth_stop(), None);
    assert_eq!(bench.shared.arrivals.claim(32, 0), Claim::Some { first: 1, count: 1 });
    // Its tuple, too, waits for another.
    let mut hand = Hand::default();
    assert_eq!(bench.shared.tuples.take(&mut hand, 20, 0), Supply::Given);
    let left: Vec<u32> = std::iter::from_fn(|| hand.next()).collect();
    assert_eq!((left.len(), left.contains(&1)), (19, true), "{left:?}");
}

#[test]
fn a_table_without_room_for_one_and_a_host_without_descriptors_end_the_growth() {
    for (begin, name) in [(Begin::TableFull, "EMFILE"), (Begin::NoDescriptor, "ENFILE")] {
        let mut bench = Bench::new();
        bench.plan(|world| world.begins.push_back(begin));
        bench.ramp(9);
        bench.expect_one_loss(name);
        assert_eq!(bench.shared.growth_stop(), Some(GrowthStop::NoDescriptors));
    }
}

#[test]
fn an_event_for_a_connection_that_is_gone_touches_nobody() {
    let mut bench = Bench::verified(1);
    let (stale, _) = bench.world.borrow().watched[&1];
    bench.reset(1);
    bench.expect(&[("failed", 1), ("open", 0)]);
    // Its slot goes to another one.
    bench.ramp(1);
    bench.plan(|world| world.receives.push_back(Receive::End));
    bench.ready_token(stale, |event| {
        (event.readable, event.writable, event.until_empty, event.failed) = (true, true, true, true);
    });
    bench.expect(&[("failed", 1), ("open", 1), ("in_flight", 1)]);
    bench.plan(|world| world.receives.clear());
    bench.echo(2, 0);
    bench.expect(&[("verified", 2), ("open", 1)]);
}

#[test]
fn without_probes_what_is_open_is_held_and_a_greeting_is_dropped() {
    let mut bench = Bench::with(None, 100);
    bench.plan(|world| world.begins.extend([Begin::UnderWay, Begin::UnderWay]));
    bench.ramp(3);
    bench.expect(&[("established", 1), ("in_flight", 2)]);
    bench.ready(1, |event| event.writable = true);
    bench.arrive(1, b"220 welcome");
    // One completes only within the verification.
    bench.stage(Task::Prove);
    bench.expect(&[("held", 2), ("in_flight", 1)]);
    bench.ready(2, |event| event.writable = true);
    bench.go_on();
    bench.expect(&[("held", 3), ("in_flight", 0), ("failed", 0), ("verified", 0)]);
    bench.stage(Task::Prove);
    bench.expect(&[("held", 3)]);
    assert!(bench.world.borrow().sent.is_empty(), "nothing was sent");
}

#[test]
fn what_is_released_is_neither_held_nor_open() {
    let mut bench = Bench::verified(3);
    let size = usize::from(PROBE_BYTES);
    bench.stage(Task::Prove);
    (1..=3).for_each(|connection| bench.echo(connection, size));
    bench.shared.enter(Task::Ping);
    bench.worker.control.release.store(2, Relaxed);
    bench.go_on();
    bench.expect(&[("released", 2), ("held", 1), ("open", 1), ("failed", 0)]);
    bench.worker.control.release.store(9, Relaxed);
    bench.go_on();
    bench.expect(&[("released", 3), ("held", 0), ("open", 0)]);
}

#[test]
fn releasing_goes_on_where_it_ended_and_not_at_the_end_of_the_table() {
    let mut bench = Bench::verified(10);
    let release = |bench: &mut Bench, count: u64| {
        bench.worker.control.release.store(count, Relaxed);
        bench.go_on();
    };
    release(&mut bench, 3);
    bench.expect(&[("open", 7)]);
    assert_eq!(bench.worker.closer.next_to_release(), Some(6));
    bench.worker.closer.is_idle(6);
    // One of those that come is idle, the other is not.
    bench.ramp(2);
    bench.echo(12, 0);
    let free: Vec<u32> = (7..10).filter(|slot| bench.worker.table.peek(*slot).state == State::Free).collect();
    assert_eq!(free.len(), 1);
    release(&mut bench, 2);
    bench.expect(&[("open", 7), ("released", 5), ("in_flight", 1)]);
    // The one whose echo comes later is found too, and what is asked for above all is what there is.
    bench.echo(11, 0);
    release(&mut bench, 1);
    bench.expect(&[("open", 6), ("released", 6), ("in_flight", 0)]);
    release(&mut bench, 100);
    bench.expect(&[("open", 0), ("released", 12)]);
    assert_eq!(bench.worker.closer.next_to_release(), None);
}

#[test]
fn what_is_unproven_at_the_close_is_counted() {
    let mut bench = Bench::verified(2);
    let size = usize::from(PROBE_BYTES);
    bench.stage(Task::Prove);
    bench.echo(1, size);
    bench.stage(Task::Close);
    bench.expect(&[("held", 1), ("failed", 1)]);
    bench.expect_losses(&[("aborted", 1)]);
    assert!(bench.shared.everybody_done() && bench.world.borrow().open == 0);
}

#[test]
fn no_more_than_allowed_is_under_way() {
    let mut bench = Bench::new();
    bench.ramp(20);
    bench.expect(&[("in_flight", 20)]);
    let mut bench = Bench::limited_to(4);
    bench.ramp(10);
    bench.expect(&[("attempted", 4), ("in_flight", 4)]);
    bench.echo(1, 0);
    bench.go_on();
    bench.expect(&[("attempted", 5), ("in_flight", 4)]);
}

#[test]
fn a_server_that_floods_one_connection_takes_no_more_than_its_turn() {
    let mut bench = Bench::with(None, 100);
    bench.ramp(1);
    let a_turn = TURN_BYTES / BUFFER_BYTES;
    let flood = (0..2 * a_turn + 1).map(|_| Receive::Bytes(vec![b'x'; BUFFER_BYTES]));
    bench.plan(|world| world.receives.extend(flood));
    let left = |bench: &Bench| bench.world.borrow().receives.len();
    bench.ready(1, |event| event.readable = true);
    assert_eq!(left(&bench), a_turn + 1);
    bench.ready(1, |event| event.readable = true);
    assert_eq!(left(&bench), a_turn + 1, "a further edge is no further turn");
    for (rest, waits) in [(1, true), (0, false)] {
        bench.worker.read_leftovers(bench.shared.orders());
        assert_eq!((left(&bench), !bench.worker.leftovers.is_empty()), (rest, waits));
    }
    bench.plan(|world| world.receives.push_back(Receive::End));
    bench.ready(1, |event| event.readable = true);
    bench.expect_losses(&[("closed-by-server", 1)]);
}

#[test]
fn unread_input_of_a_connection_that_is_gone_is_nobody_elses() {
    let mut bench = Bench::with(None, 100);
    bench.ramp(1);
    let flood = (0..TURN_BYTES / BUFFER_BYTES).map(|_| Receive::Bytes(vec![b'x'; BUFFER_BYTES]));
    bench.plan(|world| world.receives.extend(flood));
    bench.ready(1, |event| event.readable = true);
    bench.reset(1);
    bench.ramp(1);
    bench.plan(|world| world.receives.push_back(Receive::End));
    bench.worker.read_leftovers(bench.shared.orders());
    bench.expect(&[("open", 1), ("failed", 1)]);
    bench.ready(2, |event| event.readable = true);
    bench.expect(&[("open", 0), ("failed", 2)]);
}

#[test]
fn a_worker_that_panics_leaves_exact_counts_and_its_claims_to_others() {
    let bench = Bench::new();
    bench.plan(|world| world.begins.extend([Begin::UnderWay, Begin::UnderWay, Begin::Panics]));
    bench.shared.arrivals.grow(10, 0);
    bench.shared.enter(Task::Connect);
    bench.shared.pass_on(Turn::Connect);
    let Bench { mut worker, shared, .. } = bench;
    let control = Arc::clone(&worker.control);
    let orders = shared.orders();
    let panicked = catch_unwind(AssertUnwindSafe(move || worker.work(orders)));
    assert!(panicked.is_err());
    // The third was begun by nobody else and never will be: it counts as attempted.
    assert_eq!(control.attempted.load(Relaxed), 3);
    assert_eq!((control.failed.load(Relaxed), control.in_flight.load(Relaxed)), (0, 3 - 1));
    assert_eq!(shared.arrivals.claim(32, 0), Claim::Some { first: 3, count: 7 });
}

#[test]
fn a_worker_without_connections_needs_no_turn_and_gives_one_on_that_comes_too_late() {
    for task in [Task::Prove, Task::Close, Task::Abort] {
        let mut bench = Bench::new();
        bench.shared.enter(task);
        bench.go_on();
        assert!(bench.shared.everybody_done(), "{task:?}");
        assert!(!bench.shared.pass_on(Turn::Walk), "nobody has anything to do in {task:?}");
        bench.worker.control.give_turn(Turn::Walk);
        bench.notes.try_iter().for_each(drop);
        bench.go_on();
        assert!(
            !bench.shared.has_turns(Turn::Walk)
                && bench.was_noted(|note| matches!(note, Note::TurnFree(Turn::Walk)))
        );
    }
}
