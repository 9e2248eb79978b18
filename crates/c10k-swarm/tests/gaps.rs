//! A swarm on its own that was stopped for a while says so, and judges no time that it measured meanwhile.

mod common;

use std::time::Duration;

use c10k_record::{GapOf, PhaseName};
use common::Swarm;
use common::server::Server;
use nix::sys::signal::Signal::{SIGCONT, SIGSTOP};

/// Longer than any scheduling.
const STOPPED: Duration = Duration::from_millis(2500);

#[test]
fn a_swarm_that_was_stopped_in_its_ramp_says_when_and_for_how_long() {
    let server = Server::echo();
    let flags = ["--target", "300", "--rate", "100/s", "--hold", "200ms"];
    let patience = ["--connect-timeout", "60s", "--probe-timeout", "60s"];
    let swarm = Swarm::start(&[&["--server", &server.at()][..], &flags, &patience].concat());
    swarm.wait_for("some connections", |counts| counts.verified >= 20);
    swarm.signal(SIGSTOP);
    std::thread::sleep(STOPPED);
    swarm.signal(SIGCONT);
    let ended = swarm.wait_for_end();
    ended.expect_code(0);
    let record = &ended.record;
    let [gap] = record.gaps[..] else { panic!("{:?}", record.gaps) };
    let lasted = Duration::from_millis(gap.to_ms - gap.from_ms);
    assert!(gap.process == GapOf::Swarm && lasted >= STOPPED - Duration::from_millis(200), "{gap:?}");
    let ramp = record.phases.iter().find(|times| times.phase == PhaseName::Ramp).expect("it connected");
    assert!(ramp.from_ms <= gap.from_ms && ramp.to_ms >= Some(gap.to_ms), "{ramp:?} {gap:?}");
    assert!(ended.warns("own-gap"), "{:?}", record.warnings);
    // Nothing of the defaults is about a time in the ramp, and no limit is blamed.
    assert!(!ended.warns("not-judged") && !ended.warns("syns-sent-again"), "{:?}", record.warnings);
    assert_eq!(record.met_on_the_way, []);
}

#[test]
fn a_swarm_that_runs_as_it_should_has_no_gap() {
    let server = Server::echo();
    let flags = ["--target", "300", "--hold", "1500ms"];
    let ended = Swarm::start(&[&["--server", &server.at()][..], &flags].concat()).wait_for_end();
    ended.expect_code(0);
    assert_eq!(ended.record.gaps, []);
    assert!(!ended.warns("own-gap"), "{:?}", ended.record.warnings);
}
