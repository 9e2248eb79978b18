//! Lines on stdin and JSON lines on stdout.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use c10k_record::{GrowthStop, PhaseName, RunState, SwarmEvent};
use common::server::{Behaviour, Server};
use common::{PROGRAM, Swarm, expect_few_unsent, limited};
use nix::fcntl::{FcntlArg, fcntl};

fn grown(server: &Server, arguments: &[&str], count: u64) -> Swarm {
    let mut swarm = Swarm::commanded(&[&["--server", &server.at()], arguments].concat());
    swarm.command(&format!("grow {count}"));
    swarm.wait_for("all of them", |counts| counts.verified == count);
    swarm
}

#[test]
fn events_tell_the_whole_way() {
    let server = Server::echo();
    let swarm = Swarm::start(&["--server", &server.at(), "--target", "100", "--hold", "700ms"]);
    let (mut phases, mut ticks) = (Vec::new(), 0);
    let record = loop {
        match swarm.next() {
            SwarmEvent::Phase { phase, .. } => phases.push(phase),
            SwarmEvent::Tick { counts, .. } => {
                ticks += 1;
                // Nobody is lost from sight at any moment.
                assert!(counts.established >= counts.verified && counts.attempted >= counts.established);
                assert!(counts.open <= counts.attempted, "{counts:?}");
            }
            SwarmEvent::Done { record } => break record,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(phases, [PhaseName::Ramp, PhaseName::Hold, PhaseName::Verify, PhaseName::Close]);
    assert!(ticks >= 2, "{ticks}");
    assert_eq!((record.connections.held, record.broken_identity()), (100, None));
}

#[test]
fn a_rate_in_a_command_stands_above_the_plan_for_its_time() {
    let server = Server::echo();
    let work = ["--workload", "echo", "--messages", "1/s", "--hold", "1s", "--workers", "1"];
    let mut swarm = grown(&server, &[&["--target", "20"], &work[..]].concat(), 20);
    // Of one on each connection none waits for the answer to another.
    for (command, intended, most) in [("work echo 200/s", 200, 2), ("work echo", 20, 0)] {
        swarm.command(command);
        let worked = loop {
            if let SwarmEvent::Worked { worked } = swarm.next() {
                break worked;
            }
        };
        assert!(expect_few_unsent(&worked, intended) <= most, "{command}: {worked:?}");
    }
    swarm.command("stop");
    swarm.wait_for_end().expect_code(0).expect_failed(&[]);
}

#[test]
fn a_commanded_swarm_does_what_it_is_told_and_nothing_else() {
    let server = Server::echo();
    let mut swarm = grown(&server, &["--target", "200"], 100);
    let c = swarm.verify();
    assert_eq!((c.target, c.verified, c.held, c.failed_total()), (100, Some(100), 100, 0));
    swarm.command("shrink 30");
    swarm.wait_for("fewer", |counts| counts.open == 70);
    swarm.command("dance");
    swarm.command_bytes(b"\xff\xfe grow\n");
    swarm.command("");
    swarm.command("grow 20");
    swarm.wait_for("more", |counts| counts.open == 90 && counts.in_flight == 0);
    let c = swarm.verify();
    assert_eq!((c.target, c.attempted, c.held, c.released), (90, 120, 90, 30));
    swarm.command("stop");
    let ended = swarm.wait_for_end();
    ended.expect_code(0).expect_counts(120, 90).expect_failed(&[]);
    assert_eq!((ended.record.connections.released, ended.record.state), (30, RunState::Complete));
    assert_eq!(ended.stderr.matches("warning: ").count(), 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("'dance' is not a command"), "{}", ended.stderr);
}

#[test]
fn what_is_lost_after_the_last_verification_is_not_held() {
    let server = Server::echo();
    let mut swarm = grown(&server, &["--target", "100"], 100);
    assert_eq!(swarm.verify().held, 100);
    server.die();
    swarm.wait_for("the end of all", |counts| counts.open == 0);
    swarm.command("stop");
    swarm.wait_for_end().expect_code(1).expect_counts(100, 0).expect_failed(&[("ECONNRESET", 100)]);
}

#[test]
fn what_is_lost_between_two_verifications_is_counted_once() {
    let server = Server::echo();
    let mut swarm = grown(&server, &["--target", "100"], 100);
    assert_eq!(swarm.verify().held, 100);
    server.die();
    // Whether the resets or the command come first, the sums are the same.
    let c = swarm.verify();
    assert_eq!((c.held, c.failed_total(), c.attempted), (0, 100, 100), "{c:?}");
    swarm.command("stop");
    swarm.wait_for_end().expect_code(1).expect_counts(100, 0);
}

#[test]
fn what_is_released_after_a_verification_is_not_held() {
    let server = Server::echo();
    for arguments in [&["--target", "100"][..], &["--target", "100", "--no-probe"]] {
        let mut swarm = Swarm::commanded(&[&["--server", &server.at()], arguments].concat());
        swarm.command("grow 100");
        swarm.wait_for("all of them", |counts| counts.open == 100 && counts.in_flight == 0);
        assert_eq!(swarm.verify().held, 100);
        swarm.command("shrink 40");
        swarm.wait_for("fewer", |counts| counts.open == 60);
        assert_eq!(swarm.verify().held, 60);
        swarm.command("shrink 10");
        swarm.command("stop");
        let ended = swarm.wait_for_end();
        ended.expect_code(0);
        let c = &ended.record.connections;
        assert_eq!((c.target, c.held, c.released), (50, 50, 50), "{c:?}");
    }
}

#[test]
fn a_frozen_server_fails_those_that_an_earlier_verification_proved() {
    let server = Server::echo();
    let mut swarm = grown(&server, &["--target", "1000", "--probe-timeout", "1s"], 1000);
    assert_eq!(swarm.verify().held, 1000);
    server.freeze();
    let c = swarm.verify();
    assert_eq!((c.held, c.failed_total()), (0, 1000), "{c:?}");
    swarm.command("stop");
    swarm.wait_for_end().expect_code(1).expect_counts(1000, 0);
}

#[test]
fn growth_goes_on_after_it_had_stopped() {
    let server = Server::echo();
    let mut swarm = grown(&server, &["--target", "2000"], 50);
    let address = server.die().to_string();
    swarm.command("grow 1000");
    let stopped = swarm.verify();
    assert!(stopped.attempted > 300 && stopped.attempted < 1050, "{stopped:?}");
    let _server = Server::start_at(&address, Behaviour::Echo);
    swarm.command("grow 70");
    swarm.wait_for("growth again", |counts| counts.verified == 50 + 70);
    let c = swarm.verify();
    assert_eq!((c.held, c.target), (70, 50 + 1000 + 70), "{c:?}");
    swarm.command("stop");
    swarm.wait_for_end().expect_code(1).expect_counts(120, 70);
}

#[test]
fn growth_one_by_one_goes_past_full_tables() {
    let server = Server::echo();
    let arguments = ["--commanded", "--server", &server.at(), "--target", "40", "--workers", "1"];
    let mut swarm = Swarm::start_by(limited(64), &arguments);
    // Every table is once exactly full when the next ramp begins.
    for _ in 0..130 {
        swarm.command("grow 1");
    }
    swarm.wait_for("all of them", |counts| counts.verified == 130);
    assert_eq!(swarm.verify().held, 130);
    swarm.command("stop");
    swarm.wait_for_end().expect_code(0).expect_counts(130, 130);
}

#[test]
fn a_shrink_beyond_all_leaves_none() {
    let server = Server::echo();
    let mut swarm = grown(&server, &["--target", "50"], 50);
    swarm.command("shrink 1M");
    swarm.wait_for("none", |counts| counts.open == 0);
    swarm.command("grow 10");
    swarm.wait_for("some again", |counts| counts.open == 10);
    swarm.command("stop");
    let ended = swarm.wait_for_end();
    ended.expect_code(0).expect_counts(60, 10);
    assert_eq!((ended.record.connections.target, ended.record.connections.released), (10, 50));
}

#[test]
fn a_growth_that_no_box_can_number_is_refused_and_nothing_else() {
    let server = Server::echo();
    let mut swarm = grown(&server, &["--target", "50"], 50);
    swarm.command("grow 18446744073709551615");
    swarm.command("stop");
    let ended = swarm.wait_for_end();
    ended.expect_code(0).expect_counts(50, 50);
    assert!(ended.stderr.contains("more than one box can number"), "{}", ended.stderr);
}

#[test]
fn growth_beyond_the_sources_is_counted_and_named() {
    let server = Server::echo();
    let arguments = ["--target", "20", "--ips", "127.77.2.1", "--ports", "40000-40019"];
    let mut swarm = Swarm::commanded(&[&["--server", &server.at()], &arguments[..]].concat());
    swarm.command("grow 40");
    swarm.wait_for_phase(PhaseName::Hold);
    swarm.command("stop");
    let ended = swarm.wait_for_end();
    // What was never tried is in no count, and under no errno.
    ended.expect_code(1).expect_failed(&[]);
    let c = &ended.record.connections;
    assert!(c.held <= 20 && c.held == c.attempted, "{c:?}");
    assert_eq!(ended.record.growth_stopped, Some(GrowthStop::NoPorts));
    assert_eq!(ended.ports_used_up().planned, 20);
    ended.expect_ports_wall();
}

/// Grows to 100 of 150 tuples, releases them and grows again.
fn grow_shrink_grow(close: &str) -> common::Ended {
    let server = Server::echo();
    let ports = ["--ips", "127.77.2.2", "--ports", "40100-40249"];
    let mut swarm = grown(&server, &[&ports[..], &["--target", "100", "--close", close]].concat(), 100);
    swarm.command("shrink 100");
    swarm.wait_for("none", |counts| counts.open == 0);
    swarm.command("grow 100");
    swarm.wait_for("all of them again", |counts| counts.open == 100 && counts.in_flight == 0);
    assert_eq!(swarm.verify().held, 100);
    swarm.command("stop");
    swarm.wait_for_end()
}

#[test]
fn tuples_of_connections_that_were_reset_are_used_again() {
    let ended = grow_shrink_grow("rst");
    ended.expect_code(0).expect_counts(200, 100).expect_failed(&[]);
    assert_eq!((ended.record.growth_stopped, ended.wall()), (None, None));
}

#[test]
fn tuples_in_time_wait_are_used_again_as_soon_as_the_kernel_does() {
    let read = |key| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{key}")).unwrap();
    if read("tcp_tw_reuse").trim() == "0" || read("tcp_timestamps").trim() == "0" {
        eprintln!("SKIPPED: no tuple in TIME_WAIT is used again here");
        return;
    }
    let ended = grow_shrink_grow("fin");
    ended.expect_code(0).expect_counts(200, 100).expect_failed(&[]);
    assert_eq!((ended.record.growth_stopped, ended.wall()), (None, None));
}

#[test]
fn a_stop_in_the_ramp_overtakes_what_waits() {
    let server = Server::echo();
    let mut swarm = Swarm::commanded(&["--server", &server.at(), "--target", "10k", "--rate", "100/s"]);
    swarm.command("grow 5000");
    swarm.wait_for("some connections", |counts| counts.verified >= 10);
    swarm.command("grow 1000");
    swarm.command("stop");
    let ended = swarm.wait_for_end();
    ended.expect_code(1);
    let c = &ended.record.connections;
    assert!(c.held == c.attempted && c.attempted < 1000, "{c:?}");
    assert_eq!(c.target, 5000, "the growth behind the stop was not begun");
}

#[test]
fn asked_how_it_stands_it_says_so_at_once_in_whatever_phase_it_is() {
    let server = Server::echo();
    let mut swarm = Swarm::commanded(&["--server", &server.at(), "--target", "10k", "--rate", "100/s"]);
    let now = |swarm: &mut Swarm| {
        swarm.command("now");
        loop {
            if let SwarmEvent::Now { phase, counts, .. } = swarm.next() {
                return (phase, counts);
            }
        }
    };
    assert_eq!(now(&mut swarm).1.attempted, 0);
    swarm.command("grow 5000");
    swarm.wait_for("some connections", |counts| counts.verified >= 10);
    let mut last = 0;
    for _ in 0..20 {
        let (phase, counts) = now(&mut swarm);
        assert_eq!(phase, PhaseName::Ramp, "it waits for no other command");
        assert!(counts.verified >= last.max(10), "{counts:?}");
        last = counts.verified;
    }
    swarm.command("stop");
    swarm.wait_for_end();
}

#[test]
fn a_stop_before_anything_was_begun_ends_with_nothing() {
    let server = Server::echo();
    let mut swarm = Swarm::commanded(&["--server", &server.at(), "--target", "10"]);
    swarm.command("stop");
    let ended = swarm.wait_for_end();
    assert_eq!(ended.record.broken_identity(), None);
    assert_eq!(ended.record.connections.attempted, 0);
    // Nothing was measured, so the verdict on the echo does not hold.
    ended.expect_code(1);
    assert_eq!(server.accepted(), 0);
}

#[test]
fn commands_work_in_an_ordinary_hold_too() {
    let server = Server::echo();
    let mut swarm = Swarm::start(&["--server", &server.at(), "--target", "50", "--hold", "1h"]);
    swarm.wait_for_phase(PhaseName::Hold);
    assert_eq!(swarm.verify().held, 50);
    swarm.command("grow 10");
    swarm.wait_for("more", |counts| counts.verified == 60);
    swarm.command("stop");
    swarm.wait_for_end().expect_code(0).expect_counts(60, 60);
}

#[test]
fn a_swarm_whose_events_nobody_reads_goes_on_to_its_end_and_says_that_its_last_word_is_lost() {
    let server = Server::echo();
    let (_reader, mut writer) = std::io::pipe().unwrap();
    let room = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    writer.write_all(&vec![b' '; room as usize]).unwrap();
    let mut child = Command::new(PROGRAM)
        .args(["--no-apply", "--events", "--target", "50", "--hold", "1s", "--server", &server.at()])
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4), "{stderr}");
    assert!(stderr.contains("error: the output cannot be written: its reader reads no more"), "{stderr}");
}

#[test]
fn a_reader_that_is_slow_gets_the_whole_record() {
    let server = Server::echo();
    let (mut reader, writer) = std::io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let mut child = Command::new(PROGRAM)
        .args(["--no-apply", "--events", "--close", "rst", "--server", &server.at()])
        .args(["--target", "50", "--hold", "1s"])
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut heard, mut piece) = (Vec::new(), [0; 512]);
    loop {
        let length = reader.read(&mut piece).unwrap();
        if length == 0 {
            break;
        }
        heard.extend_from_slice(&piece[..length]);
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_ne!(child.wait().unwrap().code(), Some(4), "something of it was lost");
    let last = heard.strip_suffix(b"\n").unwrap().rsplit(|byte| *byte == b'\n').next().unwrap();
    let SwarmEvent::Done { record } = serde_json::from_slice(last).unwrap() else {
        panic!("{}", String::from_utf8_lossy(last))
    };
    assert_eq!(record.connections.held, 50);
}
