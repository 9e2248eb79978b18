//! Several tasks at the same time: each goes on by itself.

use super::bench::*;
use super::*;

/// So many verified connections of a worker that may connect four at a time, and prove three.
fn verified(count: u32) -> Bench {
    let mut bench = Bench::but(|settings| (settings.in_flight_per_turn, settings.proofs_per_turn) = (4, 3));
    for connection in 1..=count {
        bench.ramp(1);
        bench.echo(connection, 0);
    }
    bench.expect(&[("verified", count.into()), ("in_flight", 0)]);
    bench
}

impl Bench {
    /// What each task has under way: connecting, proving.
    fn under_way(&self) -> (u64, u64) {
        let ledger = &self.worker.ledger;
        (ledger.under_way(Task::Connect), ledger.under_way(Task::Prove))
    }

    /// Has this done beside what is done.
    fn also(&mut self, task: Task) {
        self.shared.order(self.shared.orders().with(task));
        self.give_turns();
        self.go_on();
    }
}

#[test]
fn connections_are_begun_while_others_prove_themselves_and_neither_takes_the_other_s_place() {
    let mut bench = verified(6);
    bench.stage(Task::Prove);
    assert_eq!(bench.under_way(), (0, 3));
    bench.shared.arrivals.grow(9, bench.shared.now_us());
    bench.also(Task::Connect);
    assert_eq!(bench.under_way(), (4, 3), "the proof goes on where it was");
    // One that comes while others prove themselves is proven by its first probe.
    bench.echo(7, 0);
    bench.go_on();
    assert_eq!(bench.under_way(), (4, 3));
    bench.expect(&[("verified", 7), ("held", 1), ("attempted", 11)]);
    let second = usize::from(PROBE_BYTES);
    let asked = |bench: &Bench| {
        let world = bench.world.borrow();
        (1..=6).filter(|number| world.sent[number].len() == 2 * second).collect::<Vec<u32>>()
    };
    let mut answered = Vec::new();
    while answered.len() < 6 {
        for number in
            asked(&bench).into_iter().filter(|number| !answered.contains(number)).collect::<Vec<_>>()
        {
            bench.echo(number, second);
            answered.push(number);
        }
        bench.go_on();
    }
    // The proof is over although connects are under way.
    assert!(bench.shared.everybody_done());
    assert_eq!(bench.under_way(), (4, 0));
    bench.expect(&[("held", 7), ("failed", 0)]);
}

#[test]
fn a_proof_that_nobody_answers_keeps_nobody_from_connecting() {
    let mut bench = verified(6);
    bench.stage(Task::Prove);
    bench.shared.arrivals.grow(5, bench.shared.now_us());
    bench.also(Task::Connect);
    for connection in 7..=11 {
        bench.echo(connection, 0);
        bench.go_on();
    }
    bench.expect(&[("verified", 11), ("held", 5), ("in_flight", 3)]);
    bench.shared.skip(TIMEOUT);
    bench.expire();
    bench.go_on();
    bench.expect_losses(&[("probe-timeout", 3)]);
}

#[test]
fn a_full_table_gives_its_turn_to_connect_back_and_goes_on_proving() {
    let mut bench = Bench::with(Probes::new(7, PROBE_BYTES), 3);
    bench.ramp(3);
    (1..=3).for_each(|connection| bench.echo(connection, 0));
    bench.stage(Task::Prove);
    bench.shared.arrivals.grow(5, bench.shared.now_us());
    bench.also(Task::Connect);
    assert!(!bench.shared.has_turns(Turn::Connect));
    (1..=3).for_each(|connection| bench.echo(connection, usize::from(PROBE_BYTES)));
    bench.go_on();
    bench.expect(&[("held", 3), ("attempted", 3)]);
    assert!(bench.shared.everybody_done());
}

#[test]
fn the_worker_sleeps_until_the_first_of_its_tasks_can_go_on() {
    let mut bench = Bench::open_loop(10.0);
    bench.ramp(2);
    bench.echo(1, 0);
    let arrival = bench.worker.timeout().expect("the next is due in a tenth of a second");
    bench.worker.wait_until(bench.shared.now_us() + 1000);
    let sooner = bench.worker.timeout().expect("something is waited for");
    assert!(sooner < arrival && sooner <= Duration::from_millis(1), "{sooner:?}, {arrival:?}");
    bench.worker.wait_until(bench.shared.now_us() + 900_000);
    assert!(bench.worker.timeout() <= Some(sooner));
}

#[test]
fn answers_to_a_proof_that_was_begun_anew_take_no_place_from_the_present_one() {
    let mut bench = verified(12);
    bench.stage(Task::Prove);
    let asked: Vec<u32> = {
        let world = bench.world.borrow();
        (1..=12).filter(|number| world.sent[number].len() == 2 * usize::from(PROBE_BYTES)).collect()
    };
    assert_eq!(asked.len(), 3);
    bench.stage(Task::Prove);
    assert_eq!(bench.under_way(), (0, 6), "three more have been asked");
    for number in asked {
        bench.echo(number, usize::from(PROBE_BYTES));
        bench.go_on();
    }
    assert_eq!(bench.under_way(), (0, 3), "those of the present one");
    bench.expect(&[("held", 3), ("failed", 0)]);
}
