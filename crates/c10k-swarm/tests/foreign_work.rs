//! Workloads against raw echo servers of other makers: messages, beats, and connections that come and go.

mod common;
mod foreign_servers;

use c10k_record::{PhaseKind, Worked};
use common::{Ended, expect_few_unsent, run};
use foreign_servers::Foreign;

const COUNT: u64 = 30;

/// Runs a workload for a second against a server.
#[track_caller]
fn work(server: &Foreign, arguments: &[&str]) -> Ended {
    let at = server.at();
    let all = ["--server", &at, "--target", "30", "--hold", "1s", "--workers", "1", "--in-flight", "16"];
    run(&[&all, arguments].concat())
}

#[track_caller]
fn worked(ended: &Ended, kind: PhaseKind) -> &Worked {
    let [worked] = &ended.record.work[..] else { panic!("{:?}\n{}", ended.record.work, ended.stderr) };
    assert_eq!((worked.kind, worked.messages_wrong), (kind, 0), "{worked:?}");
    worked
}

/// Messages, beats and exchanges.
#[track_caller]
fn expect_all_three(server: &Foreign) {
    let ended = work(server, &["--workload", "echo", "--messages", "5/s", "--payload", "8..2KiB"]);
    ended.expect_code(0).expect_counts(COUNT, COUNT).expect_failed(&[]);
    let echo = worked(&ended, PhaseKind::Echo);
    expect_few_unsent(echo, 5 * COUNT);

    let ended = work(server, &["--beat", "200ms"]);
    ended.expect_code(0).expect_counts(COUNT, COUNT).expect_failed(&[]);
    let beats = worked(&ended, PhaseKind::Hold);
    assert!(beats.messages_answered >= 4 * COUNT, "{beats:?}");
    assert_eq!(beats.messages_answered, beats.messages_sent, "{beats:?}");

    for close in ["client", "rst"] {
        let ended = work(server, &["--workload", "churn", "--churn", "50/s", "--churn-close", close]);
        let churn = worked(&ended, PhaseKind::Churn).churn.as_ref().expect("what came and went");
        assert!((40..=50).contains(&churn.closed), "{close}: {churn:?}");
        assert_eq!((churn.reopened, churn.failed), (churn.closed, 0), "{close}: {churn:?}");
        ended.expect_code(0).expect_counts(COUNT + churn.closed, COUNT).expect_failed(&[]);
    }
}

#[test]
fn a_server_in_python_does_all_three() {
    if let Some(server) = Foreign::python_echo(1024) {
        expect_all_three(&server);
    }
}

#[test]
fn a_server_in_node_does_all_three() {
    if let Some(server) = Foreign::node_echo() {
        expect_all_three(&server);
    }
}

#[test]
fn a_server_that_forks_for_every_connection_does_all_three() {
    if let Some(server) = Foreign::socat(256) {
        expect_all_three(&server);
    }
}
