//! Talking over connections that are made of nothing.

use std::sync::Arc;

use c10k_record::{ChurnClose, PhaseKind, Span, WorkPlan};

use super::*;
use crate::workload::{Job, Talked};

const SECOND: Duration = Duration::from_secs(1);

impl Bench {
    /// Has its connections do this from now on, for so long.
    fn work(&mut self, kind: PhaseKind, plan: WorkPlan, long: Duration) {
        let from_us = self.shared.now_us();
        let beat = plan.beat.is_some();
        self.shared.set_job(Arc::new(Job {
            number: 1,
            name: "test".to_owned(),
            kind,
            plan,
            from_us,
            until_us: from_us + long.as_micros() as u64,
            seed: 1,
        }));
        let mut orders = self.shared.orders().only(Task::Ping);
        if kind != PhaseKind::Hold {
            orders = orders.with(Task::Work);
        }
        if beat {
            orders = orders.with(Task::Beat);
        }
        self.shared.order(orders);
        self.go_on();
    }

    fn rest(&mut self) -> Talked {
        self.shared.order(self.shared.orders().without(Task::Work).without(Task::Beat));
        self.go_on();
        self.shared.talked().clone()
    }
}

fn one_each_second() -> WorkPlan {
    WorkPlan { messages_per_second: Some(1.0), ..WorkPlan::default() }
}

#[test]
fn a_message_is_timed_from_when_it_was_intended_and_lateness_is_the_swarm_s_own() {
    let mut bench = Bench::verified(1);
    let before = bench.world.borrow().sent[&1].len();
    bench.work(PhaseKind::Echo, one_each_second(), 60 * SECOND);
    bench.expect(&[("in_flight", 1), ("open", 1)]);
    // The answer takes 2.5 s: two more are due meanwhile, and wait for it.
    bench.shared.skip(SECOND * 5 / 2);
    bench.go_on();
    let first = bench.world.borrow().sent[&1].len();
    bench.echo(1, before);
    bench.expect(&[("in_flight", 1)]);
    let second = bench.world.borrow().sent[&1].len();
    assert_eq!((first - before, second - first), (64, 64));
    bench.echo(1, first);
    bench.echo(1, second);
    bench.expect(&[("in_flight", 0), ("failed", 0)]);
    let talked = bench.rest();
    assert_eq!((talked.intended, talked.sent, talked.answered), (3, 3, 3));
    let response = talked.response.summary();
    assert!(response.max.is_some_and(|us| us.abs_diff(2_500_000) < 100_000), "{response:?}");
    assert!(response.p50.is_some_and(|us| us.abs_diff(1_500_000) < 100_000), "{response:?}");
    assert!(
        talked.lateness.summary().max.is_some_and(|us| us < 100_000),
        "it could not have sent them before"
    );
    // The first of those that waited was half a second late, the second more than one. What was planned behind the stop
    // was never intended.
    assert_eq!(talked.not_sent_in_time, 1);
    assert!(bench.shared.everybody_has_worked(1));
}

#[test]
fn what_the_swarm_was_late_with_before_it_is_late_with_again() {
    let mut bench = Bench::verified(1);
    let mut from = bench.world.borrow().sent[&1].len();
    bench.work(PhaseKind::Echo, one_each_second(), 60 * SECOND);
    bench.echo(1, from);
    // The worker itself does nothing for 3.5 s; answers come at once.
    bench.shared.skip(SECOND * 7 / 2);
    bench.go_on();
    for _ in 0..3 {
        from += 64;
        bench.echo(1, from);
    }
    let talked = bench.rest();
    assert_eq!((talked.sent, talked.answered), (4, 4));
    assert_eq!(talked.lateness.count_from(400_000), 3, "{:?}", talked.lateness.summary());
    assert_eq!(talked.lateness.count_from(2_300_000), 1);
    assert_eq!(talked.service.count_from(100_000), 0);
}

#[test]
fn a_message_that_goes_out_in_parts_and_comes_back_in_parts_is_whole() {
    let mut bench = Bench::verified(1);
    let from = bench.world.borrow().sent[&1].len();
    bench.plan(|world| world.sends.extend([Send::Some(10), Send::Blocks, Send::Some(9)]));
    bench.work(PhaseKind::Echo, one_each_second(), SECOND);
    bench.ready(1, |event| event.writable = true);
    bench.ready(1, |event| event.writable = true);
    bench.ready(1, |event| event.writable = true);
    let message = bench.world.borrow().sent[&1][from..].to_vec();
    assert_eq!(message.len(), 64);
    bench.arrive(1, &message[..1]);
    bench.arrive(1, &message[1..63]);
    bench.expect(&[("in_flight", 1)]);
    bench.arrive(1, &message[63..]);
    bench.expect(&[("in_flight", 0), ("open", 1), ("failed", 0)]);
}

#[test]
fn wrong_half_and_missing_answers_are_losses_and_what_waited_is_not_sent_in_time() {
    type Answer = fn(&mut Bench, &[u8]);
    let answers: [(&str, Answer); 4] = [
        ("corrupt", |bench, message| bench.arrive(1, &message[1..])),
        ("corrupt", |bench, message| bench.arrive(1, &[message, b"!"].concat())),
        ("short-echo", |bench, message| {
            bench.arrive(1, &message[..20]);
            bench.plan(|world| world.receives.push_back(Receive::End));
            bench.ready(1, |event| event.readable = true);
        }),
        ("probe-timeout", |bench, _| {
            bench.shared.skip(TIMEOUT);
            bench.expire();
        }),
    ];
    for (name, answer) in answers {
        let mut bench = Bench::verified(1);
        let from = bench.world.borrow().sent[&1].len();
        bench.work(PhaseKind::Echo, one_each_second(), 60 * SECOND);
        bench.shared.skip(SECOND * 5 / 2);
        bench.go_on();
        let message = bench.world.borrow().sent[&1][from..].to_vec();
        answer(&mut bench, &message);
        bench.expect(&[("failed", 1), ("open", 0), ("in_flight", 0)]);
        bench.expect_losses(&[(name, 1)]);
        let talked = bench.rest();
        assert_eq!((talked.sent, talked.answered), (1, 0), "{name}");
        assert_eq!(talked.wrong, u64::from(name == "corrupt"));
        assert!(talked.not_sent_in_time >= 2, "{name}: {talked:?}");
        assert!(bench.shared.everybody_has_worked(1));
    }
}

#[test]
fn beats_go_round_and_pass_by_those_that_talk() {
    let mut bench = Bench::verified(4);
    let plan = WorkPlan { beat: Some(Span(SECOND)), ..WorkPlan::default() };
    bench.work(PhaseKind::Hold, plan, 60 * SECOND);
    let from = bench.world.borrow().sent[&1].len();
    for quarter in 1..=8 {
        bench.shared.skip(SECOND / 4);
        bench.go_on();
        let connection = (quarter - 1) % 4 + 1;
        let sent = bench.world.borrow().sent[&connection].len();
        // The fourth answers none of its first, so it has no second.
        match (connection, quarter) {
            (4, 4) => {}
            (4, _) => assert_eq!(sent, from + usize::from(PROBE_BYTES)),
            _ => bench.echo(connection, sent - usize::from(PROBE_BYTES)),
        }
    }
    bench.expect(&[("open", 4), ("in_flight", 1), ("failed", 0)]);
    bench.shared.skip(TIMEOUT);
    bench.expire();
    bench.expect_losses(&[("probe-timeout", 1)]);
    let talked = bench.rest();
    assert_eq!((talked.sent, talked.answered), (7, 6));
}

#[test]
fn what_talks_when_the_proof_begins_is_proven_by_its_answer() {
    let mut bench = Bench::verified(1);
    let from = bench.world.borrow().sent[&1].len();
    bench.work(PhaseKind::Echo, one_each_second(), SECOND);
    bench.stage(Task::Prove);
    assert!(!bench.shared.everybody_done());
    bench.echo(1, from);
    bench.go_on();
    bench.expect(&[("held", 1), ("in_flight", 0)]);
    assert!(bench.shared.everybody_done());
}

#[test]
fn what_was_proven_and_talks_since_stays_proven() {
    let mut bench = Bench::verified(2);
    let from = bench.world.borrow().sent[&1].len();
    bench.stage(Task::Prove);
    (1..=2).for_each(|connection| bench.echo(connection, from));
    bench.expect(&[("held", 2)]);
    let from = bench.world.borrow().sent[&1].len();
    bench.work(PhaseKind::Echo, one_each_second(), SECOND);
    bench.expect(&[("held", 1), ("in_flight", 1)]);
    bench.shared.skip(SECOND);
    bench.go_on();
    (1..=2).for_each(|connection| bench.echo(connection, from));
    bench.expect(&[("held", 2), ("in_flight", 0)]);
    bench.rest();
    bench.stage(Task::Close);
    bench.expect(&[("held", 2), ("failed", 0)]);
}

#[test]
fn one_that_is_exchanged_is_released_and_another_comes_in_its_place() {
    for close in [ChurnClose::Rst, ChurnClose::Client] {
        let mut bench = Bench::verified(2);
        let plan = WorkPlan { churn_per_second: Some(1.0), churn_close: Some(close), ..WorkPlan::default() };
        bench.work(PhaseKind::Churn, plan, 2 * SECOND);
        bench.expect(&[("attempted", 3), ("released", 1), ("open", 2), ("in_flight", 1)]);
        assert_eq!(bench.world.borrow().ended, [(1, close == ChurnClose::Rst)]);
        assert!(!bench.shared.everybody_has_worked(1));
        bench.shared.order(bench.shared.orders().without(Task::Work));
        bench.go_on();
        assert!(!bench.shared.everybody_has_worked(1), "the new one is to prove itself");
        bench.echo(3, 0);
        let talked = bench.rest();
        assert_eq!((talked.churned.closed, talked.churned.reopened, talked.churned.failed), (1, 1, 0));
        assert!(bench.shared.everybody_has_worked(1));
    }
}

#[test]
fn what_a_job_leaves_under_way_is_lost_when_another_begins() {
    let mut bench = Bench::verified(1);
    bench.work(PhaseKind::Stream, WorkPlan::default(), SECOND);
    bench.expect(&[("in_flight", 1), ("open", 1)]);
    let until_us = bench.shared.now_us() + 1_000_000;
    let next = |job: Arc<Job>| Job { number: 2, kind: PhaseKind::Echo, until_us, ..(*job).clone() };
    let job = bench.shared.job().map(next).expect("the first");
    bench.shared.set_job(Arc::new(job));
    bench.shared.order(bench.shared.orders().only(Task::Ping).with(Task::Work).with(Task::Beat));
    bench.go_on();
    bench.expect(&[("in_flight", 0), ("open", 0), ("failed", 1)]);
}
