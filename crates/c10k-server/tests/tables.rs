//! Descriptor tables: one process holds more connections than its descriptor limit, and a limit that is
//! reached costs neither the queue nor processor time.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use c10k_record::ServerEvent;
use common::{PATIENCE, PROGRAM, Server, connect, expect_echo, limited};

/// Whether a probe comes back within a moment; false = the connection waits in the listener's queue, or the
/// moment was too short.
fn is_served(mut stream: &TcpStream) -> bool {
    stream.write_all(b"?").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let served = match stream.read(&mut [0]) {
        Ok(count) => count == 1,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
        Err(error) => panic!("{error}"),
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    served
}

#[track_caller]
fn expect_answer(mut stream: &TcpStream, when: &str) {
    stream.read_exact(&mut [0]).unwrap_or_else(|error| panic!("{when}: {error}"));
}

#[test]
fn five_hundred_connections_fit_into_tables_of_sixty_four_descriptors() {
    let mut server = Server::start_limited(64, &["--workers", "2"]);
    let ServerEvent::Ready { own_tables, descriptors_per_table, max_connections, .. } = server.ready else {
        panic!("{:?}", server.ready)
    };
    if !own_tables {
        eprintln!("SKIPPED: this place forbids unshare(CLONE_FILES)");
        return;
    }
    assert_eq!((descriptors_per_table, max_connections), (64, None));
    let mut streams: Vec<TcpStream> = (0..500).map(|_| server.connect()).collect();
    streams.iter().for_each(|stream| expect_echo(stream, b"a table of my own"));
    let full = server.wait_for("all of them", |report| report.open == 500);
    assert!(full.tables >= 500 / 64, "{full:?}");
    assert!(full.accept_errors.is_empty() && full.failed.is_empty() && full.paused == 0, "{full:?}");

    // Older tables that have emptied are used again before new ones are started.
    for _ in 0..5 {
        streams.drain(..400);
        server.wait_for("room", |report| report.open == 100);
        streams.extend((0..400).map(|_| server.connect()));
        streams.iter().for_each(|stream| expect_echo(stream, b"again"));
    }
    let again = server.wait_for("all of them again", |report| report.open == 500);
    assert!(again.tables <= full.tables + 4, "{} tables, {} before", again.tables, full.tables);
    server.expect_idle("all tables in use");
    let report = server.stop().report;
    assert_eq!((report.accepted, report.closed, report.drained), (2500, 2000, 500));
    assert!(report.peak == 500 && report.failed.is_empty(), "{report:?}");
}

#[test]
fn one_table_that_is_full_pauses_and_goes_on_when_there_is_room() {
    let mut server = Server::start_limited(128, &["--one-table", "--workers", "2"]);
    let ServerEvent::Ready { own_tables: false, max_connections: Some(most), .. } = server.ready else {
        panic!("{:?}", server.ready)
    };
    let most = usize::try_from(most).unwrap();
    assert!((50..128).contains(&most), "{most}");
    let mut served: Vec<TcpStream> = (0..most).map(|_| server.connect()).collect();
    served.iter().for_each(|stream| expect_echo(stream, b"inside"));
    let waiting: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    assert!(waiting.iter().all(|stream| !is_served(stream)));
    let report = server.wait_for("a pause", |report| report.paused > 0);
    assert_eq!((report.open, report.peak), (most as u64, most as u64));
    server.expect_idle("full");
    served.iter().for_each(|stream| expect_echo(stream, b"still inside"));

    served.truncate(most - 20);
    waiting.iter().for_each(|stream| expect_answer(stream, "room for all"));
    let report = server.stop().report;
    assert!(report.failed.is_empty() && report.peak == most as u64, "{report:?}");
}

#[test]
fn never_more_connections_than_allowed_and_the_queue_is_kept() {
    let mut server = Server::start(&["--max-connections", "50", "--workers", "2"]);
    let mut served: Vec<TcpStream> = Vec::new();
    let mut waiting: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    let mut total = 0;
    while total < 200 {
        let give_up = Instant::now() + PATIENCE;
        let (inside, outside): (Vec<_>, Vec<_>) = loop {
            let split: (Vec<_>, Vec<_>) = waiting.drain(..).partition(is_served);
            if !split.0.is_empty() {
                break split;
            }
            assert!(Instant::now() < give_up, "{total} served, {} wait for ever", split.1.len());
            waiting = split.1;
        };
        total += inside.len();
        served.extend(inside);
        waiting = outside;
        assert!(served.len() <= 50, "{} at one time", served.len());
        served.clear();
    }
    let report = server.wait_for("the end of all", |report| report.accepted == 200 && report.open == 0);
    assert!(report.peak <= 50 && report.paused > 0, "{report:?}");
    server.expect_idle("after the crowd");
}

#[test]
fn a_full_server_on_a_hundred_ports_takes_all_that_wait_when_there_is_room() {
    const PORTS: usize = 100;
    let listen = vec!["127.0.0.1:0"; PORTS].join(",");
    let mut server =
        Server::start_on(&listen, Command::new(PROGRAM), &["--max-connections", "10", "--workers", "1"]);
    let mut served: Vec<TcpStream> = (0..10).map(|_| server.connect()).collect();
    served.iter().for_each(|stream| expect_echo(stream, b"inside"));
    // One waits at each port. They come while nothing may be accepted: their edges are gone when there is room.
    let ServerEvent::Ready { listen, .. } = &server.ready else { panic!("{:?}", server.ready) };
    assert_eq!(listen.len(), PORTS);
    let mut waiting: Vec<TcpStream> = listen.iter().map(|address| connect(*address)).collect();
    server.wait_for("a pause", |report| report.paused > 0);
    server.expect_idle("full, with a queue at each port");
    while !waiting.is_empty() {
        served.clear();
        let give_up = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < give_up, "{} wait for ever", waiting.len());
            let (inside, outside): (Vec<_>, Vec<_>) = waiting.drain(..).partition(is_served);
            waiting = outside;
            served.extend(inside);
            if !served.is_empty() {
                break;
            }
        }
    }
    let report = server.wait_for("all", |report| report.accepted == 10 + PORTS as u64);
    assert!(report.peak <= 10, "{report:?}");
}

#[test]
fn a_slot_that_frees_in_one_lane_goes_to_another_that_waits() {
    let mut server = Server::start(&["--max-connections", "1", "--workers", "2"]);
    let mut streams: Vec<TcpStream> = (0..40).map(|_| server.connect()).collect();
    server.wait_for("a pause", |report| report.paused > 0);
    for left in (0..40).rev() {
        let give_up = Instant::now() + PATIENCE;
        let at = loop {
            assert!(Instant::now() < give_up, "{left} wait for ever");
            if let Some(at) = streams.iter().position(is_served) {
                break at;
            }
        };
        streams.swap_remove(at);
    }
    assert_eq!(server.wait_for("all", |report| report.accepted == 40).peak, 1);
}

#[test]
fn running_out_of_descriptors_in_accept_loses_nobody_and_does_not_spin() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no prlimit to lower the limit of a running server");
        return;
    }
    let mut server = Server::start_limited(256, &["--workers", "1"]);
    let set_soft_limit = |limit: &str, pid: u32| {
        let arguments = ["--pid", &pid.to_string(), &format!("--nofile={limit}:256")];
        assert!(Command::new("prlimit").args(arguments).status().unwrap().success());
    };
    let served: Vec<TcpStream> = (0..40).map(|_| server.connect()).collect();
    served.iter().for_each(|stream| expect_echo(stream, b"inside"));
    set_soft_limit("40", server.pid());
    let waiting: Vec<TcpStream> = (0..10).map(|_| server.connect()).collect();
    let report = server.wait_for("EMFILE", |report| report.accept_errors.contains_key("EMFILE"));
    assert!(waiting.iter().all(|stream| !is_served(stream)));
    assert_eq!((report.open, report.paused), (40, 1), "{report:?}");
    server.expect_idle("out of descriptors");
    served.iter().for_each(|stream| expect_echo(stream, b"still inside"));

    // Nothing closes: the timer alone must bring the queue in.
    set_soft_limit("256", server.pid());
    waiting.iter().for_each(|stream| expect_answer(stream, "descriptors are there again"));
    let report = server.stop().report;
    assert_eq!((report.accepted, report.drained), (50, 50));
    assert!(report.failed.is_empty(), "{report:?}");
}

#[test]
fn a_table_too_small_for_what_is_asked_is_refused_before_anything_is_opened() {
    let mut command = limited(100);
    command.args(["--listen", "127.0.0.1:0", "--one-table", "--max-connections", "1k"]);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("soft 100, hard 100") && text.contains("RLIMIT_NOFILE"), "{text}");
    assert!(text.lines().last().unwrap().starts_with("hint: ") && text.contains("prlimit"), "{text}");
    assert!(!text.contains("listening"), "{text}");
}

#[test]
fn with_tables_of_their_own_the_limit_bounds_nothing() {
    let mut server = Server::start_limited(100, &["--max-connections", "300", "--workers", "2"]);
    let streams: Vec<TcpStream> = (0..310).map(|_| server.connect()).collect();
    let report = server.wait_for("a pause", |report| report.paused > 0);
    if report.tables == 2 {
        eprintln!("SKIPPED: this place forbids unshare(CLONE_FILES)");
        return;
    }
    assert_eq!(server.wait_for("all", |report| report.open == 300).peak, 300);
    let mut waiting: Vec<&TcpStream> = streams.iter().collect();
    let give_up = Instant::now() + PATIENCE;
    while waiting.len() > 10 && Instant::now() < give_up {
        waiting.retain(|stream| !is_served(stream));
    }
    assert_eq!(waiting.len(), 10);
}
