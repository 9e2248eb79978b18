//! Messages while connections are held: at a rate, in a closed loop, beats; right ones, and every kind of wrong ones.

mod common;
mod ws_support;

use c10k_record::{PhaseKind, PhaseName, SwarmEvent, Worked};
use c10k_wire::conformance::first;
use common::server::{Behaviour, Server};
use common::{Ended, Swarm, expect_few_unsent, run, run_to_refusal};
use ws_support::{COUNT, Peer, against};

fn echo_until_close(peer: &Peer) {
    if peer.open() {
        peer.echo();
        peer.wait_for_end();
    }
}

/// A swarm whose connections talk for a moment.
fn echo(server: &str, arguments: &[&str]) -> Ended {
    let all = ["--server", server, "--target", "50", "--workload", "echo", "--hold", "1s"];
    run(&[&all, arguments].concat())
}

#[track_caller]
fn worked(ended: &Ended) -> &Worked {
    assert_eq!(ended.record.work.len(), 1, "{}", ended.stderr);
    &ended.record.work[0]
}

/// Asserts that so many were intended, and all that were sent were answered right.
#[track_caller]
fn expect_all_answered(worked: &Worked, intended: u64) {
    let never = expect_few_unsent(worked, intended);
    assert_eq!(worked.messages_sent, intended - never, "{worked:?}");
    assert!(worked.messages_not_sent_in_time >= never, "{worked:?}");
    let late = worked.lateness_us.as_ref().expect("an open loop");
    let counts = (worked.response_us.count, worked.service_us.count);
    assert_eq!(counts, (intended, intended - never), "what is never sent counts with its age: {worked:?}");
    assert!((intended - never..=intended).contains(&late.count), "{worked:?}");
    assert!(worked.response_us.max >= worked.service_us.max, "{worked:?}");
}

#[test]
fn at_a_rate_a_connection_each_has_its_messages() {
    let server = Server::echo();
    let ended = echo(&server.at(), &["--messages", "10/s", "--workers", "1"]);
    ended.expect_code(0).expect_counts(50, 50).expect_failed(&[]);
    let worked = worked(&ended);
    expect_all_answered(worked, 500);
    assert_eq!((worked.name.as_str(), worked.kind, worked.connections), ("echo", PhaseKind::Echo, 50));
    assert!(!worked.over_time.is_empty() && worked.to_ms >= worked.from_ms + 1000, "{worked:?}");
    assert!(ended.record.workload == c10k_record::Workload::Echo);
    assert!(ended.record.rate.messages_per_second.is_some_and(|rate| rate > 0.0));
}

#[test]
fn at_a_rate_in_all_sizes_are_drawn_from_their_range() {
    let server = Server::echo();
    let ended = echo(&server.at(), &["--message-rate", "400/s", "--payload", "8..2KiB", "--workers", "3"]);
    ended.expect_code(0).expect_counts(50, 50);
    let of = worked(&ended);
    // Each worker has its own part of the rate, and the border of the time falls between two of its messages.
    let intended = of.messages_intended.expect("an open loop");
    assert!((397..=403).contains(&intended), "{of:?}");
    expect_all_answered(of, intended);
}

#[test]
fn a_closed_loop_intends_no_times() {
    let server = Server::echo();
    let ended = echo(&server.at(), &["--in-flight-messages", "8", "--payload", "1KiB"]);
    ended.expect_code(0).expect_counts(50, 50);
    let worked = worked(&ended);
    assert!(worked.messages_intended.is_none() && worked.lateness_us.is_none(), "{worked:?}");
    assert!(worked.messages_answered > 50 && worked.messages_answered == worked.messages_sent, "{worked:?}");
    assert_eq!(worked.response_us, worked.service_us);
}

#[test]
fn messages_larger_than_any_buffer_come_back_whole() {
    let server = Server::echo();
    let big = ["--in-flight-messages", "3", "--payload", "700KiB..1MiB"];
    let ended = echo(&server.at(), &big);
    ended.expect_code(0).expect_counts(50, 50);
    assert!(worked(&ended).messages_answered > 0, "{}", ended.stderr);
    let work = ["--workload", "echo", "--hold", "1s"];
    let ended = against(echo_until_close, &[&work, &big[..]].concat());
    ended.expect_code(0).expect_counts(COUNT, COUNT);
    assert!(worked(&ended).messages_answered > 0, "{}", ended.stderr);
}

#[test]
fn websocket_has_its_messages_and_its_beats() {
    let ended = against(
        echo_until_close,
        &["--workload", "echo", "--hold", "1s", "--messages", "5/s", "--beat", "200ms", "--workers", "1"],
    );
    ended.expect_code(0).expect_counts(COUNT, COUNT);
    expect_all_answered(worked(&ended), 5 * COUNT);
}

#[test]
fn wrong_answers_are_each_counted_and_lost_under_their_name() {
    for (behaviour, name, wrong) in [
        (Behaviour::Wrong, "corrupt", true),
        (Behaviour::Twice, "corrupt", false),
        (Behaviour::Swapped, "corrupt", true),
        (Behaviour::Late, "probe-timeout", false),
        (Behaviour::Half, "probe-timeout", false),
        (Behaviour::Short, "short-echo", false),
        (Behaviour::EchoAndClose, "closed-by-server", false),
        (Behaviour::Reset, "ECONNRESET", false),
        (Behaviour::Silent, "probe-timeout", false),
    ] {
        let server = Server::echo();
        let swarm = Swarm::start(&[
            "--server",
            &server.at(),
            "--target",
            "20",
            // Twenty at once may be there, and lost, within the first millisecond.
            "--rate",
            "200",
            "--workload",
            "echo",
            "--messages",
            "2/s",
            "--hold",
            "2s",
            "--probe-timeout",
            "1500ms",
        ]);
        swarm.wait_for_phase(PhaseName::Hold);
        server.go(behaviour);
        let ended = swarm.wait_for_end();
        assert_eq!(ended.record.connections.held, 0, "{behaviour:?}: {:?}", ended.record.connections);
        let failures = &ended.record.failures;
        let lost: u64 = failures
            .iter()
            .filter(|row| row.outcome.name() == name && row.phase == PhaseName::Hold && row.first_at_ms > 0)
            .map(|row| row.count)
            .sum();
        assert!(lost >= 18, "{behaviour:?}: {failures:?}");
        let worked = worked(&ended);
        assert!(worked.messages_wrong >= 18 || !wrong, "{behaviour:?}: {worked:?}");
        assert_eq!(ended.record.broken_identity(), None);
    }
}

/// Echoes the first message, which proves the connection, and answers the others as `answer` says to the one before and to
/// this one.
fn answers_wrong(answer: fn(&Peer, &[u8], &[u8]) -> bool) -> impl Fn(&Peer) + Send + Sync + 'static {
    move |peer| {
        let Some(first) = peer.open().then(|| peer.next()).flatten() else { return };
        peer.send(first::BINARY, &first.payload);
        let mut before = first.payload;
        while let Some(frame) = peer.next() {
            if frame.first != first::BINARY || !answer(peer, &before, &frame.payload) {
                break;
            }
            before = frame.payload;
        }
        peer.wait_for_end();
    }
}

#[test]
fn wrong_answers_over_websocket_are_counted_and_lost_under_their_name_too() {
    type Answer = fn(&Peer, &[u8], &[u8]) -> bool;
    let table: [(&str, Answer, &str, bool); 6] = [
        ("late, with the next one", |_, _, _| true, "probe-timeout", false),
        ("the one before", |peer, before, _| peer.send(first::BINARY, before), "corrupt", true),
        ("half of it", |peer, _, own| peer.send(first::BINARY, &own[..own.len() / 2]), "corrupt", true),
        (
            "its halves exchanged",
            |peer, _, own| {
                let (one, two) = own.split_at(own.len() / 2);
                peer.send(first::BINARY, &[two, one].concat())
            },
            "corrupt",
            true,
        ),
        (
            "twice",
            |peer, _, own| peer.send(first::BINARY, own) && peer.send(first::BINARY, own),
            "corrupt",
            false,
        ),
        ("as a text", |peer, _, own| peer.send(first::TEXT, &vec![b'x'; own.len()]), "corrupt", true),
    ];
    for (what, answer, name, wrong) in table {
        let work = ["--workload", "echo", "--messages", "2/s", "--hold", "2s", "--probe-timeout", "1500ms"];
        let ended = against(answers_wrong(answer), &work);
        assert_eq!(ended.record.connections.held, 0, "{what}: {:?}", ended.record.connections);
        let failures = &ended.record.failures;
        let in_hold =
            failures.iter().filter(|row| row.outcome.name() == name && row.phase == PhaseName::Hold);
        let lost: u64 = in_hold.map(|row| row.count).sum();
        assert!(lost >= COUNT - 2, "{what}: {failures:?}");
        assert!(worked(&ended).messages_wrong >= COUNT - 2 || !wrong, "{what}: {:?}", worked(&ended));
        assert_eq!(ended.record.broken_identity(), None);
    }
}

#[test]
fn a_beat_that_fails_is_a_loss_with_its_time_and_without_a_workload() {
    let server = Server::echo();
    let target = [
        "--server",
        &server.at(),
        "--target",
        "40",
        "--hold",
        "2s",
        "--probe-timeout",
        "1500ms",
        "--workers",
        "1",
    ];
    let ended = run(&[&target[..], &["--beat", "200ms"]].concat());
    ended.expect_code(0).expect_counts(40, 40);
    let beats = worked(&ended);
    assert_eq!((beats.kind, beats.name.as_str()), (PhaseKind::Hold, "hold"));
    // The last of them is due when the time is over.
    let intended = beats.messages_intended.expect("an open loop");
    assert!((360..=400).contains(&intended), "{beats:?}");
    expect_all_answered(beats, intended);
    let swarm = Swarm::start(&[&target[..], &["--beat", "200ms"]].concat());
    swarm.wait_for_phase(PhaseName::Hold);
    server.go(Behaviour::Wrong);
    let ended = swarm.wait_for_end();
    ended.expect_code(1).expect_failed(&[("corrupt", 40)]);
    assert!(ended.record.failures.iter().all(|row| row.phase == PhaseName::Hold && row.first_at_ms > 0));
}

#[test]
fn connections_come_and_go_while_others_talk() {
    let server = Server::echo();
    let work = ["--workload", "echo", "--messages", "10/s", "--hold", "2s", "--beat", "500ms"];
    let mut swarm = Swarm::commanded(&[&["--server", &server.at(), "--target", "100"], &work[..]].concat());
    swarm.command("grow 30");
    swarm.wait_for("30 are there", |counts| counts.verified == 30 && counts.in_flight == 0);
    swarm.command("work echo");
    swarm.wait_for("messages", |counts| counts.messages > 60);
    swarm.command("grow 20");
    swarm.wait_for("50 are there", |counts| counts.open == 50);
    swarm.command("shrink 10");
    // Waits for the end of the work.
    swarm.command("verify");
    let worked = loop {
        match swarm.next() {
            SwarmEvent::Worked { worked } => break worked,
            SwarmEvent::Verified { .. } => panic!("proven within the work"),
            _ => {}
        }
    };
    assert!(worked.messages_answered > 30 * 20, "{worked:?}");
    assert_eq!((worked.messages_wrong, worked.connections), (0, 30), "{worked:?}");
    let held = loop {
        if let SwarmEvent::Verified { connections, .. } = swarm.next() {
            break connections.held;
        }
    };
    assert_eq!(held, 40);
    swarm.command("work tennis");
    swarm.command("stop");
    let ended = swarm.wait_for_end();
    ended.expect_code(0).expect_failed(&[]);
    assert!(ended.stderr.contains("'work tennis' names no work"), "{}", ended.stderr);
    assert!(ended.record.work.iter().any(|worked| worked.kind == PhaseKind::Echo), "{:?}", ended.record.work);
}

#[test]
fn a_run_that_is_stopped_while_it_works_says_what_it_did() {
    let server = Server::echo();
    let work = ["--workload", "echo", "--messages", "10/s", "--hold", "1h"];
    let swarm = Swarm::start(&[&["--server", &server.at(), "--target", "30"], &work[..]].concat());
    swarm.wait_for("messages", |counts| counts.messages > 200);
    swarm.signal(nix::sys::signal::Signal::SIGINT);
    let ended = swarm.wait_for_end();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    let worked = worked(&ended);
    assert!(worked.messages_answered > 100 && worked.to_ms > worked.from_ms, "{worked:?}");
    assert_eq!(ended.record.connections.open, Some(30), "{:?}", ended.record.connections);
    assert_eq!(ended.record.broken_identity(), None);
}

#[test]
fn a_server_that_dies_while_all_talk_is_counted_once() {
    let server = Server::echo();
    let work = ["--workload", "echo", "--in-flight-messages", "16", "--hold", "3s", "--beat", "200ms"];
    let swarm = Swarm::start(&[&["--server", &server.at(), "--target", "30"], &work[..]].concat());
    swarm.wait_for("messages", |counts| counts.messages > 200);
    server.die();
    let ended = swarm.wait_for_end();
    ended.expect_code(1).expect_failed(&[("ECONNRESET", 30)]);
    assert_eq!(ended.record.failures[0].phase, PhaseName::Hold);
    assert!(
        worked(&ended).messages_answered < worked(&ended).messages_sent,
        "what was in flight has no answer"
    );
}

#[test]
fn the_interval_log_has_each_time_under_the_name_of_its_phase() {
    let server = Server::echo();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latency.hlog");
    let log = ["--messages", "10/s", "--beat", "100ms", "--hlog", path.to_str().unwrap()];
    echo(&server.at(), &log).expect_code(0);
    let text = std::fs::read_to_string(&path).unwrap();
    for tag in ["echo.response", "echo.service", "echo.lateness", "echo.beat", "first_echo"] {
        assert!(text.lines().any(|line| line.starts_with(&format!("Tag={tag},"))), "{tag}: {text}");
    }
}

#[test]
fn what_contradicts_itself_is_refused_before_anything_is_begun() {
    for (arguments, said) in [
        (&["--workload", "echo", "--no-probe"][..], "--no-probe and --workload echo contradict"),
        (&["--beat", "1s", "--no-probe"], "--no-probe and --beat 1s contradict"),
        (&["--messages", "1/s"], "--workload echo"),
        (&["--workload", "echo", "--payload", "7"], "8 to 1MiB"),
        (&["--workload", "echo", "--beat", "1ms"], "beat = 1ms"),
        (&["--workload", "echo", "--messages", "0"], "not a rate"),
        (&["--workload", "talk"], "is not known"),
    ] {
        let (code, stdout, stderr) = run_to_refusal(arguments);
        assert!(code == Some(2) && stdout.is_empty() && stderr.contains(said), "{arguments:?}: {stderr}");
    }
}
