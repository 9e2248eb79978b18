//! What a connection gets: its own bytes, in order, whatever the others do.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use c10k_kernel::census::{PortSet, SockDiag, State, States};
use common::{Server, connect, expect_echo, finish_and_read, pattern, reset, send_until_blocked};
use nix::sys::signal::Signal;
use socket2::SockRef;

const MEGABYTE: usize = 1 << 20;

#[test]
fn bytes_come_back_and_every_connection_is_accounted_for() {
    let server = Server::start(&[]);
    let streams: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    for (at, stream) in streams.iter().enumerate() {
        expect_echo(stream, &pattern(64 + at));
    }
    let bytes: u64 = (0..50).map(|at| 64 + at).sum();
    streams.iter().for_each(|stream| assert_eq!(finish_and_read(stream), b""));
    let report = server.stop().report;
    assert_eq!((report.accepted, report.closed, report.peak), (50, 50, 50));
    assert_eq!((report.bytes_in, report.bytes_out), (bytes, bytes));
    assert!(report.failed.is_empty() && report.accept_errors.is_empty(), "{report:?}");
}

#[test]
fn a_connection_that_says_nothing_is_kept() {
    let mut server = Server::start(&["--stall-timeout", "100ms"]);
    let stream = server.connect();
    server.fresh_report();
    server.fresh_report();
    expect_echo(&stream, b"still here");
    server.expect_idle("one silent connection");
}

#[test]
fn what_was_sent_after_an_urgent_byte_comes_back_without_another_event() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    expect_echo(&stream, b"before");
    // While the server stands still all of it arrives; one event tells of it then.
    for round in 0..3 {
        server.signal(Signal::SIGSTOP);
        stream.write_all(b"abc").unwrap();
        assert_eq!(SockRef::from(&stream).send_out_of_band(b"!").unwrap(), 1);
        stream.write_all(b"defghi").unwrap();
        server.signal(Signal::SIGCONT);
        let mut back = [0; 9];
        stream.read_exact(&mut back).unwrap();
        // The urgent byte is not in the stream (tcp(7)).
        assert_eq!(&back, b"abcdefghi", "round {round}");
    }
    server.expect_idle("after urgent data");
}

#[test]
fn in_mode_hold_bytes_are_taken_and_nothing_comes_back() {
    let mut server = Server::start(&["--mode", "hold"]);
    let mut stream = server.connect();
    stream.write_all(&pattern(3 * MEGABYTE)).unwrap();
    let report = server.wait_for("all bytes", |report| report.bytes_in == 3 * MEGABYTE as u64);
    assert_eq!(report.bytes_out, 0);
    assert_eq!(finish_and_read(&stream), b"");
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    assert_eq!(server.stop().report.closed, 1);
}

#[test]
fn a_slow_reader_stops_being_read_from_and_costs_neither_memory_nor_processor_time() {
    let mut server = Server::start(&[]);
    let stream = server.connect();
    expect_echo(&stream, b"warm");
    let before = server.rss();
    let sent = send_until_blocked(&stream, &pattern(64 * MEGABYTE));
    let report = server.wait_for("back-pressure", |report| report.back_pressured == 1);
    assert!(sent < 64 * MEGABYTE, "the server took everything");
    assert!(report.bytes_in < 64 * MEGABYTE as u64, "{report:?}");
    let grown = server.rss().saturating_sub(before);
    assert!(grown < MEGABYTE as u64, "{grown} bytes more for one slow reader");
    server.expect_idle("a slow reader");
    expect_echo(&server.connect(), b"the others are served");
}

#[test]
fn a_slow_reader_that_wakes_up_gets_all_its_bytes_in_order() {
    let mut server = Server::start(&[]);
    let stream = server.connect();
    let bytes = pattern(24 * MEGABYTE);
    std::thread::scope(|scope| {
        scope.spawn(|| (&stream).write_all(&bytes).unwrap());
        server.wait_for("back-pressure", |report| report.back_pressured == 1);
        std::thread::sleep(Duration::from_millis(500));
        let mut back = vec![0; bytes.len()];
        (&stream).read_exact(&mut back).unwrap();
        assert!(back == bytes, "other bytes came back");
    });
    let report = server.wait_for("no back-pressure", |report| report.back_pressured == 0);
    assert_eq!(report.bytes_in, report.bytes_out);
    expect_echo(&stream, b"reading has resumed");
}

#[test]
fn a_peer_that_has_said_its_last_gets_what_it_is_owed_and_then_the_end() {
    let mut server = Server::start(&[]);
    let stream = server.connect();
    let bytes = pattern(64 * MEGABYTE);
    let sent = send_until_blocked(&stream, &bytes);
    server.wait_for("back-pressure", |report| report.back_pressured == 1);
    let back = finish_and_read(&stream);
    assert_eq!(back.len(), sent);
    assert!(back == bytes[..sent], "other bytes came back");
    let report = server.wait_for("the end", |report| report.open == 0);
    assert_eq!((report.closed, report.back_pressured), (1, 0));
    expect_no_close_wait(&server);
}

#[test]
fn data_and_end_in_one_go_are_echoed_and_closed() {
    let mut server = Server::start(&[]);
    for _ in 0..200 {
        let mut stream = server.connect();
        stream.write_all(b"all I say").unwrap();
        assert_eq!(finish_and_read(&stream), b"all I say");
    }
    let report = server.wait_for("the end of all", |report| report.accepted == 200 && report.open == 0);
    assert_eq!(report.closed, 200);
    expect_no_close_wait(&server);
}

/// Asserts that no end is left of which the peer has said its last and the server has not: the kernel would keep
/// it for as long as the server lives.
#[track_caller]
fn expect_no_close_wait(server: &Server) {
    let port = server.address.port();
    let mut diag = SockDiag::open().unwrap();
    assert!(!diag.listeners(port).unwrap().is_empty(), "not this server's sockets");
    let census = diag.census(States::ALL, &PortSet::of(&[port])).unwrap();
    assert_eq!(census.count(State::CloseWait), 0, "{census:?}");
}

#[test]
fn a_peer_whose_window_stays_shut_is_closed_and_counted() {
    let mut server = Server::start(&["--stall-timeout", "300ms"]);
    let (stuck, fine) = (server.connect(), server.connect());
    let sent = send_until_blocked(&stuck, &pattern(64 * MEGABYTE));
    let report = server.wait_for("the end of it", |report| report.failed.contains_key("stalled"));
    assert_eq!((report.failed["stalled"], report.open, report.back_pressured), (1, 1, 0));
    expect_echo(&fine, b"others stay");
    let mut rest = Vec::new();
    let end = (&stuck).read_to_end(&mut rest);
    assert!(end.is_err() || rest.len() < sent, "not an end by RST");
}

#[test]
fn one_byte_at_a_time_comes_back_right() {
    let server = Server::start(&[]);
    let stream = server.connect();
    let bytes = pattern(50_000);
    std::thread::scope(|scope| {
        scope.spawn(|| bytes.chunks(1).for_each(|byte| (&stream).write_all(byte).unwrap()));
        let mut back = vec![0; bytes.len()];
        (&stream).read_exact(&mut back).unwrap();
        assert!(back == bytes, "other bytes came back");
    });
}

#[test]
fn a_fire_hose_does_not_starve_the_others() {
    let server = Server::start(&["--workers", "1"]);
    let (hose, bytes, done) = (server.connect(), pattern(MEGABYTE), AtomicBool::new(false));
    let slow: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| while (&hose).write_all(&bytes).is_ok() && !done.load(Ordering::Relaxed) {});
        scope.spawn(|| {
            let mut back = vec![0; MEGABYTE];
            while (&hose).read(&mut back).is_ok_and(|count| count > 0) {}
        });
        // Each waits for as long as PATIENCE at most; a starved one would wait for ever.
        slow.iter().for_each(|stream| expect_echo(stream, b"my turn"));
        done.store(true, Ordering::Relaxed);
        hose.shutdown(Shutdown::Both).unwrap();
    });
}

#[test]
fn echo_goes_on_while_a_crowd_connects() {
    let mut server = Server::start(&[]);
    let talker = server.connect();
    let address = server.address;
    let crowd: Vec<TcpStream> = std::thread::scope(|scope| {
        let crowd = scope.spawn(|| (0..2000).map(|_| connect(address)).collect());
        while !crowd.is_finished() {
            expect_echo(&talker, b"in the middle of it");
        }
        crowd.join().unwrap()
    });
    let report = server.wait_for("the crowd", |report| report.open == 2001);
    assert_eq!(report.peak, 2001);
    drop(crowd);
}

#[test]
fn a_peer_that_is_gone_in_the_middle_of_its_output_is_closed_once() {
    let mut server = Server::start(&[]);
    let stream = server.connect();
    send_until_blocked(&stream, &pattern(64 * MEGABYTE));
    server.wait_for("back-pressure", |report| report.back_pressured == 1);
    reset(stream);
    let report = server.wait_for("the end of it", |report| report.open == 0);
    assert_eq!((report.failed.values().sum::<u64>(), report.closed, report.back_pressured), (1, 0, 0));
    expect_echo(&server.connect(), b"alive");
}

#[test]
fn resets_are_counted_one_by_one_and_leave_nothing_behind() {
    const RESETS: u64 = 5000;
    let mut server = Server::start(&[]);
    expect_echo(&server.connect(), b"warm");
    server.wait_for("rest", |report| report.closed == 1);
    let before = server.descriptors();
    for at in 0..RESETS {
        let stream = server.connect();
        if at % 2 == 0 {
            expect_echo(&stream, b"accepted");
        }
        reset(stream);
    }
    let report = server.wait_for("all resets", |report| report.accepted == RESETS + 1 && report.open == 0);
    assert_eq!(report.failed.get("ECONNRESET"), Some(&RESETS), "{report:?}");
    assert_eq!(server.descriptors(), before, "descriptors leak");
    let ended = server.stop();
    assert!(ended.stderr.lines().count() < 12, "a line for each reset? {}", ended.stderr);
}

#[test]
fn being_stopped_and_continued_in_the_middle_disturbs_nothing() {
    let server = Server::start(&[]);
    let stream = server.connect();
    for _ in 0..20 {
        server.signal(Signal::SIGSTOP);
        (&stream).write_all(b"meanwhile").unwrap();
        server.signal(Signal::SIGCONT);
        let mut back = [0; 9];
        (&stream).read_exact(&mut back).unwrap();
        assert_eq!(&back, b"meanwhile");
    }
}
