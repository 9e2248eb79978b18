//! A conductor whose workers are dead: what they held is counted once, and nothing waits for them.

use c10k_record::GrowthStop;

use super::*;
use crate::arrivals::Claim;
use crate::control::TableControl;
use crate::shared::testing::shared_of;

fn course(commanded: bool) -> Course {
    Course {
        target: 10,
        steps: None,
        rate_per_second: None,
        step_pause: c10k_record::Span::secs(0),
        hold: c10k_record::Span::secs(3600),
        commanded,
        turns: 1,
        probe: true,
        workload: c10k_record::Workload::Hold,
        work: c10k_record::WorkPlan::default(),
        phases: Vec::new(),
        is_shard: false,
        ports: Vec::new(),
    }
}

/// A worker that began nine connections, verified seven, released one, lost two, and died with its turn.
fn dead(control: &TableControl) {
    for (counter, count) in [
        (&control.attempted, 9),
        (&control.established, 8),
        (&control.verified, 7),
        (&control.open, 5),
        (&control.in_flight, 2),
        (&control.held, 5),
        (&control.failed, 2),
        (&control.released, 1),
    ] {
        counter.store(count, Relaxed);
    }
    control.turn(Turn::Connect).store(true, Relaxed);
}

fn with_conductor(commanded: bool, test: impl FnOnce(Conductor<'_>, &Arc<Shared>, &TableControl)) {
    let (shared, notes) = shared_of(None, 50, None);
    let control = Arc::new(TableControl::alone());
    let crew = Crew::of_one_dead(Arc::clone(&shared), Arc::clone(&control));
    let mut output = Output::new();
    let signals = Signals::default();
    let conductor = Conductor::new(Arc::clone(&shared), crew, course(commanded), notes, signals, &mut output);
    test(conductor, &shared, &control);
}

#[test]
fn what_a_dead_worker_held_is_lost_with_it_once() {
    with_conductor(true, |mut conductor, shared, control| {
        dead(control);
        shared.tally().add(PhaseName::Ramp, Loss::ConnectTimeout, 2, 0);
        for _ in 0..3 {
            conductor.count_lost_workers();
        }
        let (connections, _) = conductor.connections();
        assert_eq!((connections.attempted, connections.held, connections.released), (9, 0, 1));
        assert_eq!(connections.failed_total(), 8);
        let counts = shared.counts();
        assert_eq!((counts.open, counts.in_flight, counts.failed), (0, 0, 8));
    });
}

#[test]
fn a_ramp_whose_last_worker_died_with_its_turn_ends() {
    with_conductor(true, |mut conductor, shared, control| {
        // It had claimed all ten and gave one back when it died.
        shared.arrivals.grow(10, 0);
        assert_eq!(shared.arrivals.claim(32, 0), Claim::Some { first: 0, count: 10 });
        shared.arrivals.give_back(9, 1);
        shared.enter(Task::Connect);
        dead(control);
        assert!(!shared.arrivals.is_exhausted());
        conductor.count_lost_workers();
        assert_eq!(shared.growth_stop(), Some(GrowthStop::WorkersLost));
        let counts = shared.counts();
        assert!(shared.arrivals.is_exhausted() && counts.attempted >= shared.arrivals.taken());
        assert_eq!(counts.in_flight, 0);
    });
}

#[test]
fn a_swarm_without_workers_goes_its_whole_way_and_holds_nothing() {
    with_conductor(false, |conductor, _, _| {
        let finding = conductor.run();
        assert_eq!((finding.connections.attempted, finding.connections.held), (0, 0));
        assert!(finding.growth_stop.is_some() && finding.state == RunState::Complete);
    });
}

#[test]
fn commands_behind_a_stop_are_not_begun() {
    with_conductor(true, |mut conductor, shared, _| {
        for line in ["grow 5", "stop", "grow 7"] {
            conductor.on_note(Note::Line(line.to_owned()));
        }
        conductor.hold();
        assert!(conductor.told_to_stop);
        assert_eq!(shared.arrivals.taken(), 0);
        assert_eq!(conductor.target, 0, "a stop overtakes what waits");
    });
}

#[test]
fn the_errno_that_kept_a_worker_from_starting_stops_the_growth_under_its_own_name() {
    for (errno, why, name) in [
        (libc::EAGAIN, GrowthStop::NoThreads, "EAGAIN"),
        (libc::EMFILE, GrowthStop::NoDescriptors, "EMFILE"),
        (libc::ENFILE, GrowthStop::NoDescriptors, "ENFILE"),
        (libc::ENOMEM, GrowthStop::NoTables, "ENOMEM"),
    ] {
        with_conductor(true, |mut conductor, shared, _| {
            conductor.on_note(Note::StartFailed(io::Error::from_raw_os_error(errno)));
            let (found, evidence) = shared.why_growth_stopped().expect("it has stopped");
            assert_eq!((found, evidence.errno.as_ref().map(c10k_record::Outcome::name)), (why, Some(name)));
        });
    }
    with_conductor(true, |mut conductor, shared, _| {
        conductor.on_note(Note::StartFailed(io::Error::other("no system call said anything")));
        let (found, evidence) = shared.why_growth_stopped().expect("it has stopped");
        assert_eq!((found, evidence.errno), (GrowthStop::NoTables, None));
    });
}
