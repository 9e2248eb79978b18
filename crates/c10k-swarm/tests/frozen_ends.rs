//! The truth of latency, by an analytic answer: messages are intended evenly over a time T, and an end stands still for S
//! of it. Then the share of responses above x is (S − x) / T, whichever end it was; and whose fault it was is told.

mod common;
mod foreign_servers;

use std::time::{Duration, Instant};

use c10k_record::{PhaseName, Worked};
use common::server::Server;
use common::{Ended, Swarm, expect_few_unsent, run};
use foreign_servers::Foreign;

const RUN: Duration = Duration::from_secs(4);
const FROZEN: Duration = Duration::from_millis(1200);

/// Connections, and messages on each: one at a time while an end stands still, and a dozen, of which all but the first wait
/// for the answers before them. They are few, so that what has gathered is answered in no time.
const LOADS: [(&str, &str); 2] = [("200", "0.5/s"), ("10", "10/s")];

fn arguments<'a>(server: &'a str, (connections, rate): (&'a str, &'a str)) -> Vec<&'a str> {
    let of_run = ["--server", server, "--target", connections, "--workers", "1", "--hold", "4s"];
    [&of_run[..], &["--workload", "echo", "--messages", rate]].concat()
}

/// How much longer an end may stand still than it was to: stopping and waking take a time of their own on a busy machine.
const MORE: Duration = Duration::from_millis(500);

/// Asserts the curve in the responses to an end that stood still for so long or a little more: how long it was the longest
/// response says.
#[track_caller]
fn expect_curve(ended: &Ended, stood: Duration) -> &Worked {
    let worked = &ended.record.work[0];
    let response = &worked.response_us;
    expect_few_unsent(worked, 400);
    let stood_us = response.max.unwrap() as f64;
    assert!(stood_us >= 0.98 * FROZEN.as_micros() as f64, "{worked:?}");
    assert!(stood_us <= (stood + MORE).as_micros() as f64, "{stood:?}: {worked:?}");
    for (share, found) in [(0.10, response.p90), (0.05, response.p95), (0.01, response.p99)] {
        let expected = stood_us - share * RUN.as_micros() as f64;
        let found = found.unwrap() as f64;
        // A bucket of the histogram is one part in 64 at the most.
        assert!(
            (found - expected).abs() <= expected / 64.0 + 0.02 * stood_us,
            "{share}: {found} for {expected}\n{worked:?}"
        );
    }
    assert!(response.p50.unwrap() < FROZEN.as_micros() as u64 / 4, "{worked:?}");
    worked
}

#[test]
fn a_server_that_stands_still_is_seen_by_all_that_were_to_be_answered_meanwhile() {
    let Some(server) = Foreign::python_echo(1024) else { return };
    let at = server.at();
    for load in LOADS {
        let swarm = Swarm::start(&arguments(&at, load));
        swarm.wait_for_phase(PhaseName::Hold);
        std::thread::sleep(Duration::from_secs(1));
        let stopped = Instant::now();
        server.stop();
        std::thread::sleep(FROZEN);
        server.go_on();
        let stood = stopped.elapsed();
        let ended = swarm.wait_for_end();
        let worked = expect_curve(&ended, stood);
        let late_us = worked.lateness_us.as_ref().unwrap().p90.unwrap();
        assert!(late_us < FROZEN.as_micros() as u64 / 4, "{load:?}: it is not the swarm's: {worked:?}");
        assert!(!ended.warns("swarm-late"), "{load:?}: {:?}", ended.record.warnings);
    }
}

#[test]
fn what_waits_for_longer_than_is_kept_is_never_sent_and_counts_with_its_age() {
    let server = Server::echo();
    let at = server.at();
    let of_run = ["--server", &at, "--target", "2", "--workers", "1", "--hold", "3s", "--workload", "echo"];
    let swarm = Swarm::start(&[&of_run[..], &["--messages", "2000/s"]].concat());
    swarm.wait_for("messages", |counts| counts.messages > 200);
    server.freeze();
    // Of 4,000 that fall due on each connection 1,024 are kept.
    std::thread::sleep(Duration::from_millis(2000));
    server.thaw();
    let ended = swarm.wait_for_end();
    let worked = &ended.record.work[0];
    let (intended, response) = (worked.messages_intended.unwrap(), &worked.response_us);
    assert!(worked.messages_never_sent > 2000, "{worked:?}");
    assert!(worked.messages_not_sent_in_time >= worked.messages_never_sent, "{worked:?}");
    assert_eq!(worked.messages_answered, worked.messages_sent, "{worked:?}");
    assert_eq!((worked.messages_sent + worked.messages_never_sent, response.count), (intended, intended));
    // (S − x) / T: two seconds of three, so half of all took half a second or more, though most of those were not sent.
    assert!(response.p50 >= Some(400_000) && response.p90 >= Some(1_600_000), "{worked:?}");
    assert!(!ended.warns("swarm-late"), "it is not the swarm's: {:?}", ended.record.warnings);
    let said = format!("not sent in time ({} never)", c10k_record::human_count(worked.messages_never_sent));
    let told = c10k_record::worked(worked).join(" ");
    assert!(told.contains(&said), "{said}: {told}");
    assert_eq!(ended.record.connections.held, 2, "{}", ended.stderr);
}

#[test]
fn a_swarm_that_stands_still_is_seen_as_well_and_called_its_own() {
    let server = Server::echo();
    let at = server.at();
    let long = format!("1s,{}ms", FROZEN.as_millis());
    for load in LOADS {
        let ended = run(&[&arguments(&at, load)[..], &["--freeze-worker", &long]].concat());
        let worked = expect_curve(&ended, FROZEN);
        let late = worked.lateness_us.as_ref().unwrap();
        // One connection after the other: how late each was sent, whatever waited on the answer before it.
        assert!(
            late.p90.unwrap() as f64 >= 0.9 * worked.response_us.p90.unwrap() as f64,
            "{load:?}: {worked:?}"
        );
        let service_us = worked.service_us.p90.unwrap();
        assert!(
            service_us < FROZEN.as_micros() as u64 / 4,
            "{load:?}: the server did not stand still: {worked:?}"
        );
        assert!(ended.warns("swarm-late"), "{load:?}: {:?}", ended.record.warnings);
    }
}
