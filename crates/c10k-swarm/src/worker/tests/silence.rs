//! Connections that do not answer in the last proof, and those that do.

use super::bench::*;
use super::*;

const SILENT: Duration = Duration::from_millis(250);

/// Twenty verified connections in the last proof, of which three may be asked at a time.
fn asked(give_up_after: u64) -> Bench {
    let mut bench = Bench::but(|settings| {
        settings.proofs_per_turn = 3;
        settings.give_up_proving_after = give_up_after;
    });
    bench.ramp(20);
    (1..=20).for_each(|connection| bench.echo(connection, 0));
    bench.stage(Task::Prove);
    bench
}

impl Bench {
    /// Those that have been asked.
    fn asked(&self) -> Vec<u32> {
        let world = self.world.borrow();
        let twice = 2 * usize::from(PROBE_BYTES);
        world.sent.iter().filter(|(_, sent)| sent.len() == twice).map(|(&number, _)| number).collect()
    }

    /// Lets time pass in which those answer that `do_answer`; says who has been asked then.
    fn let_answer(&mut self, answered: &mut Vec<u32>, do_answer: impl Fn(u32) -> bool) -> Vec<u32> {
        for _ in 0..20 {
            let asked = self.asked();
            for number in asked.into_iter().filter(|number| do_answer(*number)) {
                if !answered.contains(&number) {
                    answered.push(number);
                    self.echo(number, usize::from(PROBE_BYTES));
                }
            }
            self.go_on();
        }
        self.shared.skip(SILENT);
        self.expire();
        self.go_on();
        self.asked()
    }
}

#[test]
fn the_silent_take_no_place_from_those_that_answer() {
    // The first ten are silent.
    let (mut bench, mut answered) = (asked(8), Vec::new());
    assert_eq!(bench.asked().len(), 3);
    for _ in 0..10 {
        bench.let_answer(&mut answered, |number| number > 10);
    }
    bench.expect(&[("held", 10), ("open", 20), ("in_flight", 10), ("failed", 0)]);
    assert!(!bench.shared.everybody_done(), "the silent have their time");
    bench.shared.skip(TIMEOUT);
    bench.expire();
    bench.go_on();
    bench.expect(&[("held", 10), ("open", 10), ("in_flight", 0)]);
    bench.expect_losses(&[("probe-timeout", 10)]);
    assert!(bench.shared.everybody_done());
}

#[test]
fn where_nobody_answers_the_turn_goes_on_and_after_their_time_no_more_are_asked() {
    let (mut bench, mut answered) = (asked(8), Vec::new());
    while bench.worker.control.turn(Turn::Walk).load(Relaxed) {
        bench.let_answer(&mut answered, |_| false);
    }
    assert!(bench.was_noted(|note| matches!(note, Note::TurnFree(Turn::Walk))));
    let asked = bench.asked().len();
    assert!((8..20).contains(&asked), "{asked}");
    assert!(!bench.shared.pass_on(Turn::Walk), "it does not come back");
    bench.expect(&[("failed", 0)]);
    bench.shared.skip(TIMEOUT);
    bench.expire();
    bench.go_on();
    bench.expect(&[("held", 0), ("open", 0), ("in_flight", 0)]);
    let rows = bench.shared.tally().failures();
    let lost: Vec<(&str, u64)> = rows.iter().map(|row| (row.outcome.name(), row.count)).collect();
    assert_eq!(lost, [("probe-timeout", asked as u64), ("unproven", 20 - asked as u64)]);
    assert!(bench.shared.everybody_done());
}

#[test]
fn a_server_that_was_away_for_a_while_is_asked_on() {
    let (mut bench, mut answered) = (asked(8), Vec::new());
    while bench.worker.control.turn(Turn::Walk).load(Relaxed) {
        bench.let_answer(&mut answered, |_| false);
    }
    assert!(bench.asked().len() < 20);
    for _ in 0..20 {
        bench.let_answer(&mut answered, |_| true);
    }
    bench.expect(&[("held", 20), ("failed", 0), ("in_flight", 0)]);
    assert!(bench.shared.everybody_done());
}
