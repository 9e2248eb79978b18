//! `--workload stream` and `fanout`: what the swarm says of servers that push right, wrong or not at all.

mod common;

use std::time::Duration;

use c10k_record::{FannedOut, PhaseKind, Streamed, Worked};
use common::pusher::{Pusher, Pushes};
use common::server::{Behaviour, Server};
use common::{Ended, run, run_to_refusal};

/// Runs a workload of 20 connections against the server.
#[track_caller]
fn work(server: &str, workload: &str, hold: &str, more: &[&str]) -> Ended {
    let basic = ["--server", server, "--target", "20", "--workload", workload, "--hold", hold];
    run(&[&basic, more].concat())
}

#[track_caller]
fn worked(ended: &Ended, kind: PhaseKind) -> &Worked {
    let [worked] = &ended.record.work[..] else { panic!("{:?}\n{}", ended.record.work, ended.stderr) };
    assert_eq!((worked.kind, worked.messages_intended, worked.lateness_us), (kind, None, None));
    worked
}

#[track_caller]
fn streamed(ended: &Ended) -> &Streamed {
    worked(ended, PhaseKind::Stream).stream.as_ref().expect("what came of the streams")
}

#[track_caller]
fn fanned_out(ended: &Ended) -> &FannedOut {
    worked(ended, PhaseKind::Fanout).fanout.as_ref().expect("what came of the messages")
}

#[test]
fn streams_of_a_foreign_server_come_whole_and_their_connections_prove_themselves_behind_it() {
    let server = Pusher::start(Pushes::Frames(10));
    // 1,000 bytes each 20 ms: no bit rate above that could be played without a stall.
    let ended = work(&server.at(), "stream", "1s", &["--bitrate", "400kbit/s"]);
    ended.expect_code(0).expect_counts(20, 20);
    let seen = streamed(&ended);
    assert_eq!((seen.viewers, seen.whole, seen.wrong, seen.bytes), (20, 20, 0, 200_000), "{seen:?}");
    assert_eq!((seen.stalls, seen.stalled_viewers, seen.start_up_us.count), (0, 0, 20), "{seen:?}");
    assert!(seen.bits_per_second.is_some_and(|rate| rate > 0.0));
    assert_eq!(worked(&ended, PhaseKind::Stream).messages_answered, 200);
}

#[test]
fn a_pause_longer_than_the_reserve_is_a_stall_of_every_viewer() {
    let server = Pusher::start(Pushes::Pause(Duration::from_millis(2500)));
    let ended = work(&server.at(), "stream", "3s", &["--bitrate", "400kbit/s"]);
    ended.expect_code(0).expect_counts(20, 20);
    let seen = streamed(&ended);
    assert_eq!((seen.whole, seen.stalled_viewers, seen.stalls), (20, 20, 20), "{seen:?}");
    // 2,500 ms and 40 ms of frames, less the reserve of a second and what had been played: no less on a busy machine.
    assert!(seen.stall_us.p50.is_some_and(|us| us >= 1_400_000), "{seen:?}");
}

#[test]
fn bytes_out_of_order_and_bytes_that_are_wrong_lose_the_connection_as_corrupt() {
    for pushes in [Pushes::Reordered, Pushes::Flipped] {
        let server = Pusher::start(pushes);
        let ended = work(&server.at(), "stream", "500ms", &[]);
        ended.expect_code(1).expect_failed(&[("corrupt", 20)]);
        let seen = streamed(&ended);
        assert_eq!((seen.viewers, seen.whole, seen.wrong), (20, 0, 20), "{pushes:?}: {seen:?}");
        assert_eq!(ended.stderr.matches("what the server pushes is wrong").count(), 1, "{}", ended.stderr);
    }
}

#[test]
fn a_server_that_closes_in_the_middle_of_a_frame_loses_its_viewers() {
    let server = Pusher::start(Pushes::Closes);
    let ended = work(&server.at(), "stream", "1s", &[]);
    ended.expect_code(1).expect_failed(&[("short-echo", 20)]);
    let seen = streamed(&ended);
    assert_eq!((seen.viewers, seen.whole, seen.wrong), (20, 0, 0), "{seen:?}");
}

#[test]
fn a_server_that_sends_the_word_back_is_named_with_what_would_push() {
    for (workload, word) in [("stream", "play"), ("fanout", "follow")] {
        let server = Server::echo();
        let ended = work(&server.at(), workload, "300ms", &[]);
        ended.expect_code(1);
        let lost = ended.failed("does-not-push");
        assert!((1..=20).contains(&lost), "{:?}", ended.record.connections);
        let said = format!("the server sends '{word}' back: it does not push");
        assert_eq!(ended.stderr.matches(&said).count(), 1, "{}", ended.stderr);
        assert!(
            ended.stderr.contains(&format!("hint: `c10k-server --workload {workload}`")),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn a_server_that_says_nothing_has_no_whole_stream_and_loses_who_waits_for_its_last_word() {
    let server = Pusher::start(Pushes::Nothing);
    let ended = work(&server.at(), "stream", "200ms", &["--probe-timeout", "500ms"]);
    ended.expect_code(1).expect_failed(&[("probe-timeout", 20)]);
    let seen = streamed(&ended);
    assert_eq!((seen.viewers, seen.whole, seen.start_up_us.count), (20, 0, 0), "{seen:?}");
}

#[test]
fn messages_of_a_foreign_server_are_counted_from_when_all_follow() {
    let server = Pusher::start(Pushes::Messages(1000));
    let ended = work(&server.at(), "fanout", "1500ms", &[]);
    ended.expect_code(0).expect_counts(20, 20);
    let seen = fanned_out(&ended);
    // Each connection has a thread with a clock of its own there, so the numbers do not go together exactly.
    assert!(seen.receivers == 20 && seen.rounds >= 5, "{seen:?}");
    assert!(seen.receipt_us.count > 50 && seen.last_receiver_us.count == seen.rounds, "{seen:?}");
    assert!(worked(&ended, PhaseKind::Fanout).messages_answered >= seen.receipt_us.count);
}

#[test]
fn numbers_that_are_left_out_are_no_error_of_order() {
    let server = Pusher::start(Pushes::Gaps);
    let ended = work(&server.at(), "fanout", "1500ms", &[]);
    ended.expect_code(0).expect_counts(20, 20).expect_failed(&[]);
    assert_eq!(worked(&ended, PhaseKind::Fanout).messages_wrong, 0);
}

#[test]
fn a_server_that_drops_the_word_is_no_echo_to_begin_with() {
    let server = Server::start(Behaviour::Discard);
    let ended = work(&server.at(), "stream", "200ms", &["--probe-timeout", "500ms"]);
    ended.expect_code(1).expect_failed(&[("probe-timeout", 20)]);
    assert!(ended.record.work.iter().all(|worked| worked.messages_sent == 0), "{:?}", ended.record.work);
}

#[test]
fn flags_of_another_workload_are_refused() {
    for (flags, named) in [
        (["--workload", "fanout", "--bitrate", "1M"], "--bitrate"),
        (["--workload", "stream", "--fanout-every", "1s"], "--fanout-every"),
    ] {
        let (code, _, stderr) = run_to_refusal(&flags);
        assert!(code == Some(2) && stderr.contains(named), "{stderr}");
    }
}
