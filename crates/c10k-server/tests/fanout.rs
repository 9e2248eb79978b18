//! `--workload fanout`: what those who follow get, and when.

mod common;
mod push_support;
mod ws_support;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use c10k_wire::push::{Ask, PushKind};
use common::{PATIENCE, Server, expect_echo, reset, send_until_blocked};
use push_support::{BOTH, Viewer};

#[track_caller]
fn start(protocol: &str, more: &[&str]) -> Server {
    Server::start(&[&["--workload", "fanout", "--protocol", protocol], more].concat())
}

fn open(server: &Server, protocol: &str) -> Viewer {
    Viewer::open(server, protocol, PushKind::Fanout)
}

#[test]
fn every_follower_gets_every_message_with_one_number_and_one_time_for_all() {
    for protocol in BOTH {
        let server = start(protocol, &["--fanout-every", "100ms", "--payload", "32..2000", "--workers", "2"]);
        let mut followers: Vec<Viewer> = (0..300).map(|_| open(&server, protocol)).collect();
        followers.iter_mut().for_each(Viewer::begin);
        // A message that was under way when the last began to follow may have passed it.
        let newest = followers.iter_mut().map(|follower| follower.next().sequence).max().unwrap() + 1;
        let mut all = Vec::new();
        for follower in &mut followers {
            let mut mine = Vec::new();
            while mine.len() < 3 {
                let header = follower.next();
                if header.sequence >= newest {
                    mine.push((header.sequence, header.server_us, header.payload_bytes));
                }
            }
            all.push(mine);
        }
        let sequences: Vec<u64> = all[0].iter().map(|(sequence, ..)| *sequence).collect();
        assert_eq!(sequences, [newest, newest + 1, newest + 2], "{protocol}");
        assert!(all.iter().all(|mine| *mine == all[0]), "{protocol}: {all:?}");
        assert!(all[0].windows(2).all(|two| two[1].1 > two[0].1));
        assert!(followers.iter().all(|follower| follower.skipped == 0));
    }
}

#[test]
fn messages_come_to_all_tables_of_a_server() {
    let server = Server::start_limited(64, &["--workload", "fanout", "--fanout-every", "50ms"]);
    let mut followers: Vec<Viewer> = (0..150).map(|_| open(&server, "raw")).collect();
    followers.iter_mut().for_each(Viewer::begin);
    for follower in &mut followers {
        let first = follower.next().sequence;
        assert_eq!(follower.next().sequence, first + 1);
    }
}

#[test]
fn who_leaves_gets_a_last_frame_and_no_message_behind_it() {
    for protocol in BOTH {
        let server = start(protocol, &["--fanout-every", "20ms"]);
        let (mut leaves, mut stays) = (open(&server, protocol), open(&server, protocol));
        leaves.begin();
        stays.begin();
        stays.ask(Ask::Begin);
        leaves.next();
        leaves.ask(Ask::Leave);
        assert_eq!(leaves.up_to_the_last().last().map(|last| last.payload_bytes), Some(0));
        let before = stays.next().sequence;
        while stays.next().sequence < before + 5 {}
        // Nothing came between: the echo is the next thing that it reads.
        leaves.expect_echo(100);
        leaves.begin();
        assert!(leaves.next().sequence > before);
        assert_eq!(stays.skipped, 0, "asking twice is as good as once");
    }
}

#[test]
fn while_nobody_follows_no_message_is_made() {
    let mut server = start("raw", &["--fanout-every", "10ms"]);
    let follower = server.connect();
    server.wait_for("a second passes", |report| report.open == 1);
    server.expect_idle("nobody follows");
    let mut follower = Viewer::on(follower, "raw", PushKind::Fanout);
    follower.begin();
    assert_eq!(follower.next().sequence, 1);
    assert_eq!(follower.next().sequence, 2);
}

#[test]
fn followers_that_do_not_read_delay_nobody_cost_little_and_miss_what_is_not_kept() {
    for protocol in BOTH {
        let mut server = start(protocol, &["--fanout-every", "10ms", "--payload", "1MiB"]);
        let mut quick = open(&server, protocol);
        let mut slow: Vec<Viewer> = (0..10).map(|_| open(&server, protocol)).collect();
        quick.begin();
        quick.next();
        let before = server.rss();
        slow.iter_mut().for_each(Viewer::begin);
        server.wait_for("they have no room", |report| report.back_pressured >= 10);
        let first = quick.next().sequence;
        while quick.next().sequence < first + 20 {}
        let grown = server.rss().saturating_sub(before);
        assert!(grown < 16 << 20, "{protocol}: {grown} B for 10 that do not read");
        // Each goes on with whole messages, and with numbers that say what it has missed.
        for follower in &mut slow {
            let last = quick.next().sequence;
            while follower.next().sequence < last {}
            assert!(follower.skipped > 0, "{protocol}");
        }
    }
}

#[test]
fn a_follower_that_takes_nothing_is_closed_as_stalled() {
    for protocol in BOTH {
        let mut server =
            start(protocol, &["--fanout-every", "10ms", "--payload", "1MiB", "--stall-timeout", "1s"]);
        let mut dead = open(&server, protocol);
        dead.begin();
        let report = server.wait_for("it is given up", |report| report.open == 0);
        assert_eq!((report.failed.get("stalled"), report.back_pressured), (Some(&1), 0), "{report:?}");
    }
}

#[test]
fn echoes_that_wait_for_a_slow_follower_go_out_before_new_messages() {
    let mut server = start("raw", &["--fanout-every", "10ms", "--payload", "4096"]);
    let mut follower = open(&server, "raw");
    // Two megabytes of echo that nobody takes: the server stops to read.
    let echo = vec![0xee; 16 << 20];
    let sent = send_until_blocked(&follower.stream, &echo);
    assert!(server.now().back_pressured == 1 && sent < echo.len());
    let mut back = vec![0; sent];
    (&follower.stream).read_exact(&mut back).unwrap();
    assert!(back == echo[..sent]);
    follower.begin();
    follower.next();
    // The same while it follows: between whole messages.
    let begun = Instant::now();
    follower.stream.set_nonblocking(true).unwrap();
    let mut said = 0;
    while begun.elapsed() < Duration::from_millis(500) {
        said += (&follower.stream).write(&echo[..4096]).unwrap_or(0);
        std::thread::sleep(Duration::from_millis(1));
    }
    follower.stream.set_nonblocking(false).unwrap();
    let mut heard = 0;
    while heard < said {
        let mut first = [0; 1];
        follower.stream.peek(&mut first).unwrap();
        if first[0] == 0xee {
            let mut bytes = vec![0; said - heard];
            let count = follower.stream.peek(&mut bytes).unwrap();
            let of_echo = bytes[..count].iter().take_while(|byte| **byte == 0xee).count();
            (&follower.stream).read_exact(&mut bytes[..of_echo]).unwrap();
            heard += of_echo;
        } else {
            follower.next();
        }
    }
    assert!(heard == said && said > 0, "{heard} of {said}");
}

#[test]
fn followers_that_vanish_are_counted_and_followed_no_more() {
    for protocol in BOTH {
        let mut server = start(protocol, &["--fanout-every", "10ms", "--payload", "64KiB"]);
        let mut followers: Vec<Viewer> = (0..60).map(|_| open(&server, protocol)).collect();
        followers.iter_mut().for_each(Viewer::begin);
        server.wait_for("they follow", |report| report.bytes_out > 30 << 20);
        followers.into_iter().for_each(|follower| reset(follower.stream));
        let report = server.wait_for("all are gone", |report| report.open == 0);
        assert_eq!((report.accepted, report.back_pressured), (60, 0), "{report:?}");
        let before = server.now().bytes_out;
        server.expect_idle("nobody follows");
        assert_eq!(server.now().bytes_out, before);
    }
}

#[test]
fn at_the_servers_end_a_message_that_has_begun_goes_out_whole() {
    let mut server = start("raw", &["--fanout-every", "10ms", "--payload", "1MiB", "--drain", "20s"]);
    let mut slow = open(&server, "raw");
    slow.begin();
    server.wait_for("no room", |report| report.back_pressured == 1);
    server.signal(nix::sys::signal::Signal::SIGTERM);
    let mut frames = 0;
    let begun = Instant::now();
    while slow.stream.peek(&mut [0]).unwrap() > 0 {
        slow.next();
        frames += 1;
        assert!(begun.elapsed() < PATIENCE);
    }
    drop(slow);
    let ended = server.wait_for_end();
    assert!(frames > 0 && ended.status.code() == Some(0), "{}", ended.stderr);
    assert_eq!((ended.report.drained, ended.report.failed.len()), (1, 0), "{:?}", ended.report);
}

#[test]
fn a_server_that_does_not_fan_out_echoes_the_word() {
    expect_echo(&Server::start(&[]).connect(), b"follow\n");
    expect_echo(&start("raw", &[]).connect(), b"play\n");
}
