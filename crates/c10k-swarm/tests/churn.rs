//! Connections that come and go while others are held: each counted once, whichever end closes first, and TIME_WAIT where it
//! belongs.

mod common;
mod foreign_servers;
mod ws_support;

use c10k_record::{Churned, PhaseKind, Workload};
use common::server::{Behaviour, Server};
use common::{Ended, Swarm, run, run_to_refusal};
use foreign_servers::Foreign;
use ws_support::{COUNT, Peer, against};

const ALL: [&str; 8] = ["--workload", "churn", "--churn", "100/s", "--hold", "2s", "--workers", "1"];

#[track_caller]
fn churned(ended: &Ended) -> &Churned {
    assert_eq!(ended.record.work.len(), 1, "{}", ended.stderr);
    assert_eq!((ended.record.work[0].kind, ended.record.workload), (PhaseKind::Churn, Workload::Churn));
    ended.record.work[0].churn.as_ref().expect("what came and went")
}

/// Asserts that about 200 were exchanged, all of them in order, and that as many are held as before.
#[track_caller]
fn expect_all_exchanged(ended: &Ended, held: u64) -> &Churned {
    let churn = churned(ended);
    // On a busy machine the last of them come to be due when the time is over.
    assert!((180..=200).contains(&churn.closed), "{churn:?}");
    ended.expect_code(0).expect_counts(held + churn.closed, held).expect_failed(&[]);
    let c = &ended.record.connections;
    assert_eq!((c.attempted, c.released, c.target), (held + churn.closed, churn.closed, held), "{c:?}");
    assert_eq!((churn.reopened, churn.failed, churn.waits_for_a_port), (churn.closed, 0, 0), "{churn:?}");
    let made = (churn.latency_us.connect.count, churn.latency_us.first_echo.count);
    assert_eq!(made, (churn.closed, churn.closed), "{churn:?}");
    assert_eq!(ended.record.latency_us.connect.count, held, "those of the ramp are told apart");
    churn
}

#[test]
fn who_closes_first_keeps_time_wait() {
    let server = Server::echo();
    let of_raw = |close: &str| {
        run(&[&["--server", &server.at(), "--target", "40", "--churn-close", close], &ALL[..]].concat())
    };
    let ended = of_raw("rst");
    let churn = expect_all_exchanged(&ended, 40);
    assert_eq!((churn.time_wait_client_peak, churn.time_wait_server_peak), (Some(0), Some(0)), "{churn:?}");
    let ended = of_raw("client");
    let churn = expect_all_exchanged(&ended, 40);
    assert!(churn.time_wait_client_peak.is_some_and(|peak| peak >= 40), "{churn:?}");
    assert_eq!(churn.time_wait_server_peak, Some(0), "{churn:?}");
    assert!(ended.stderr.contains("cycles/s; "), "{}", ended.stderr);
}

#[test]
fn a_websocket_server_closes_first_where_it_is_to() {
    let part = |peer: &Peer| {
        if peer.open() {
            // It ends TCP right behind its own Close, as servers do.
            peer.echo();
        }
    };
    let ended = against(part, &[&["--churn-close", "server"], &ALL[..]].concat());
    let churn = expect_all_exchanged(&ended, COUNT);
    let (client, server) = (churn.time_wait_client_peak.unwrap(), churn.time_wait_server_peak.unwrap());
    assert!(server >= 40 && client <= server / 4, "{churn:?}");
    let ended = against(part, &[&["--churn-close", "client"], &ALL[..]].concat());
    let churn = expect_all_exchanged(&ended, COUNT);
    let (client, server) = (churn.time_wait_client_peak.unwrap(), churn.time_wait_server_peak.unwrap());
    // Where both say the end at the same time both have it.
    assert!(client >= 40 && server <= client / 2, "{churn:?}");
}

#[test]
fn a_server_of_another_language_is_left_and_met_again() {
    let Some(server) = Foreign::python_echo(1024) else { return };
    let ended = run(&[&["--server", &server.at(), "--target", "30", "--beat", "500ms"], &ALL[..]].concat());
    let churn = churned(&ended);
    ended.expect_code(0).expect_counts(30 + churn.closed, 30);
    assert!(churn.reopened >= 180, "{churn:?}");
}

#[test]
fn where_no_port_is_free_a_new_connection_waits_for_one() {
    let server = Server::echo();
    // Fifty tuples: forty are held, and what is closed keeps its own for a second.
    let few = ["--target", "40", "--ips", "127.0.0.77", "--ports", "41000-41049", "--churn-close", "client"];
    let ended = run(&[&["--server", &server.at()], &few[..], &ALL[..]].concat());
    let churn = churned(&ended);
    assert!(churn.waits_for_a_port > 0 && churn.failed == 0, "{churn:?}");
    assert_eq!(churn.closed, ended.record.connections.released, "{churn:?}");
    assert_eq!(ended.record.connections.held + churn.closed, 40 + churn.reopened, "{churn:?}");
    assert_eq!(ended.record.broken_identity(), None);
}

#[test]
fn reconnects_that_fail_are_counted_as_that() {
    let server = Server::echo();
    let swarm = Swarm::start(&[&["--server", &server.at(), "--target", "40"], &ALL[..]].concat());
    swarm.wait_for("exchanges", |counts| counts.released >= 20);
    server.go(Behaviour::Reset);
    let ended = swarm.wait_for_end();
    let churn = churned(&ended);
    assert!(churn.failed > 0 && churn.reopened >= 18, "{churn:?}");
    assert_eq!(churn.closed, churn.reopened + churn.failed, "{churn:?}");
    assert_eq!(ended.record.broken_identity(), None);
}

#[test]
fn reconnects_to_a_server_that_stands_still_are_counted_when_their_time_is_over() {
    // Eight wait in its queue, where their probes have a second; for the others no SYN is answered.
    let server = Server::echo_with_backlog(8);
    let times = ["--connect-timeout", "5s", "--probe-timeout", "1s", "--churn-close", "rst"];
    let swarm = Swarm::start(&[&["--server", &server.at(), "--target", "60"], &times[..], &ALL[..]].concat());
    swarm.wait_for("exchanges", |counts| counts.released >= 10);
    server.freeze();
    let ended = swarm.wait_for_end();
    server.thaw();
    let churn = churned(&ended);
    assert_eq!(churn.closed, churn.reopened + churn.failed, "{churn:?}");
    assert!(churn.failed >= 30, "{churn:?}");
    assert!(ended.failed("connect-timeout") > 0, "{:?}", ended.record.connections);
    assert_eq!(ended.record.broken_identity(), None);
}

#[test]
fn a_server_that_has_no_word_for_it_is_not_asked_to_close_first() {
    let (code, _, stderr) = run_to_refusal(&["--workload", "churn", "--churn-close", "server"]);
    assert!(code == Some(2) && stderr.contains("expected --protocol ws"), "{stderr}");
    let (code, _, stderr) = run_to_refusal(&["--workload", "churn", "--no-probe"]);
    assert!(code == Some(2) && stderr.contains("--no-probe and --workload churn contradict"), "{stderr}");
}
