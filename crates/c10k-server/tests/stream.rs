//! `--workload stream`: what viewers get, whatever they do.

mod common;
mod push_support;
mod ws_support;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use c10k_wire::push::{Ask, PushKind};
use common::{PATIENCE, Server, expect_echo, reset, run};
use push_support::{BOTH, Viewer};

#[track_caller]
fn start(protocol: &str, more: &[&str]) -> Server {
    Server::start(&[&["--workload", "stream", "--protocol", protocol], more].concat())
}

fn open(server: &Server, protocol: &str) -> Viewer {
    Viewer::open(server, protocol, PushKind::Stream)
}

#[test]
fn a_stream_comes_whole_and_then_the_connection_echoes_again_and_plays_again() {
    for protocol in BOTH {
        let server = start(protocol, &["--bitrate", "800kbit/s", "--stream-duration", "300ms"]);
        let mut viewer = open(&server, protocol);
        viewer.expect_echo(100);
        for _ in 0..2 {
            viewer.begin();
            let headers = viewer.up_to_the_last();
            // 30,000 bytes in frames of a tenth of a second.
            assert_eq!((headers.len(), viewer.payload_bytes), (3, 30_000), "{protocol}");
            assert!(headers.windows(2).all(|two| two[0].server_us <= two[1].server_us));
            viewer.expect_echo(1000);
        }
        drop(viewer);
        assert_eq!(server.stop().report.failed.keys().filter(|name| *name != "close-1006").count(), 0);
    }
}

#[test]
fn frames_are_paced_and_not_sent_all_at_once() {
    for protocol in BOTH {
        let server = start(protocol, &["--bitrate", "800kbit/s", "--stream-duration", "1s"]);
        let mut viewer = open(&server, protocol);
        viewer.begin();
        let times: Vec<u64> = viewer.up_to_the_last().iter().map(|header| header.server_us).collect();
        // Frame n is due no earlier than n - 1 intervals behind the first, by the server's own clock.
        for (number, at_us) in times.iter().enumerate() {
            let earliest_us = (number as u64).saturating_sub(1) * 100_000;
            assert!(at_us - times[0] >= earliest_us, "{protocol}: frame {number} in {times:?}");
        }
        assert_eq!(times.len(), 10);
    }
}

#[test]
fn two_hundred_viewers_at_once_all_get_their_own_stream_whole() {
    for protocol in BOTH {
        let server =
            start(protocol, &["--bitrate", "100kbit/s", "--stream-duration", "1s", "--workers", "2"]);
        let mut viewers: Vec<Viewer> = (0..200).map(|_| open(&server, protocol)).collect();
        viewers.iter_mut().for_each(Viewer::begin);
        for viewer in &mut viewers {
            assert_eq!(viewer.up_to_the_last().len(), 10);
            assert_eq!(viewer.payload_bytes, 12_500);
        }
    }
}

#[test]
fn echoes_come_between_whole_frames() {
    for protocol in BOTH {
        let server = start(protocol, &["--bitrate", "8Mbit/s", "--stream-duration", "500ms"]);
        let mut viewer = open(&server, protocol);
        viewer.begin();
        // Over raw TCP what follows the line at once might be read with it, which is then no line that comes alone.
        viewer.next();
        let mut frames = 1;
        let echo = vec![0xee; 64];
        for round in 0..5 {
            viewer.say(&echo);
            let mut seen = false;
            while !seen {
                let mut first = [0; 1];
                viewer.stream.peek(&mut first).unwrap();
                let is_echo = match protocol {
                    "ws" => is_echo_message(&viewer),
                    _ => first[0] == 0xee,
                };
                if is_echo {
                    let head = if protocol == "ws" { 2 } else { 0 };
                    let mut back = vec![0; head + echo.len()];
                    (&viewer.stream).read_exact(&mut back).unwrap();
                    assert!(back[head..] == echo, "{protocol}: echo {round} was cut");
                    seen = true;
                } else {
                    assert!(!viewer.next().is_last, "{protocol}: echo {round} never came");
                    frames += 1;
                }
            }
        }
        let rest = viewer.up_to_the_last().len();
        assert!(frames + rest >= 30, "{frames} and {rest}");
        assert_eq!(viewer.payload_bytes, 500_000);
    }
}

/// Whether the next message has 64 bytes: frames of a stream are longer.
fn is_echo_message(viewer: &Viewer) -> bool {
    let mut head = [0; 2];
    while viewer.stream.peek(&mut head).unwrap() < 2 {}
    head == [0x82, 64]
}

#[test]
fn leave_ends_a_stream_with_a_last_frame_and_without_one_is_answered_too() {
    for protocol in BOTH {
        let server = start(protocol, &["--bitrate", "80kbit/s", "--stream-duration", "1000s"]);
        let mut viewer = open(&server, protocol);
        viewer.begin();
        viewer.next();
        // Asking again changes nothing.
        viewer.ask(Ask::Begin);
        viewer.next();
        viewer.ask(Ask::Leave);
        let last = *viewer.up_to_the_last().last().unwrap();
        assert_eq!((last.payload_bytes, last.is_last), (0, true));
        viewer.expect_echo(10);
        viewer = open(&server, protocol);
        viewer.ask(Ask::Leave);
        assert_eq!(viewer.up_to_the_last().len(), 1);
        viewer.expect_echo(10);
    }
}

#[test]
fn a_viewer_that_does_not_read_costs_the_server_nothing_and_gets_all_of_it_later() {
    for protocol in BOTH {
        let mut server = start(protocol, &["--bitrate", "400Mbit/s", "--stream-duration", "200ms"]);
        let mut slow: Vec<Viewer> = (0..20).map(|_| open(&server, protocol)).collect();
        let before = server.rss();
        slow.iter_mut().for_each(Viewer::begin);
        server.wait_for("they have no room", |report| report.back_pressured == 20);
        // 20 times 10 MB were due meanwhile.
        std::thread::sleep(Duration::from_millis(300));
        let grown = server.rss().saturating_sub(before);
        assert!(grown < 4 << 20, "{protocol}: {grown} B");
        for viewer in &mut slow {
            viewer.up_to_the_last();
            assert_eq!(viewer.payload_bytes, 10_000_000);
            viewer.expect_echo(100);
        }
        assert_eq!(server.wait_for("room", |report| report.back_pressured == 0).open, 20);
    }
}

#[test]
fn input_is_read_while_a_frame_waits_and_answered_behind_it() {
    for protocol in BOTH {
        let mut server = start(protocol, &["--bitrate", "400Mbit/s", "--stream-duration", "600ms"]);
        let mut viewer = open(&server, protocol);
        viewer.begin();
        server.wait_for("no room", |report| report.back_pressured == 1);
        let before = server.now().bytes_in;
        viewer.ask(Ask::Leave);
        server.wait_for("it is heard", |report| report.bytes_in > before);
        let last = *viewer.up_to_the_last().last().unwrap();
        assert_eq!(last.payload_bytes, 0, "{protocol}: it has left before the end");
        assert!(viewer.payload_bytes < 30_000_000);
        viewer.expect_echo(10);
    }
}

#[test]
fn a_viewer_that_takes_nothing_is_closed_as_stalled_and_one_that_takes_a_little_is_not() {
    let stalled = ["--bitrate", "400Mbit/s", "--stream-duration", "1000s", "--stall-timeout", "2s"];
    for protocol in BOTH {
        let mut server = start(protocol, &stalled);
        let (mut dead, mut slow) = (open(&server, protocol), open(&server, protocol));
        dead.begin();
        slow.begin();
        let begun = Instant::now();
        let report = loop {
            // The kernel opens its window when there is room for a good part of it.
            let mut buffer = vec![0; 1 << 20];
            slow.stream.read_exact(&mut buffer).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            let report = server.now();
            if report.failed.contains_key("stalled") {
                break report;
            }
            assert!(begun.elapsed() < PATIENCE, "{report:?}");
        };
        assert_eq!((report.failed.get("stalled"), report.open), (Some(&1), 1), "{protocol}: {report:?}");
    }
}

#[test]
fn viewers_that_vanish_in_the_middle_are_counted_and_leave_nothing() {
    for protocol in BOTH {
        let mut server = start(protocol, &["--bitrate", "100Mbit/s", "--stream-duration", "1000s"]);
        for round in 0..3 {
            let mut viewers: Vec<Viewer> = (0..30).map(|_| open(&server, protocol)).collect();
            viewers.iter_mut().for_each(Viewer::begin);
            viewers.iter_mut().step_by(2).for_each(|viewer| {
                viewer.next();
            });
            for (number, viewer) in viewers.into_iter().enumerate() {
                if number % 3 == 0 { drop(viewer) } else { reset(viewer.stream) }
            }
            let report = server.wait_for("all are gone", |report| report.open == 0);
            assert_eq!((report.accepted, report.back_pressured), (30 * (round + 1), 0), "{report:?}");
        }
        server.expect_idle("nobody views");
        let mut again = open(&server, protocol);
        again.begin();
        again.next();
    }
}

#[test]
fn at_the_servers_end_frames_that_have_begun_go_out_whole() {
    for protocol in BOTH {
        let mut server =
            start(protocol, &["--bitrate", "400Mbit/s", "--stream-duration", "1000s", "--drain", "20s"]);
        let (mut paced, mut slow) = (open(&server, protocol), open(&server, protocol));
        slow.begin();
        server.wait_for("no room", |report| report.back_pressured >= 1);
        paced.begin();
        let quick = std::thread::spawn(move || drained(&mut paced));
        server.signal(nix::sys::signal::Signal::SIGTERM);
        let slow = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            drained(&mut slow)
        });
        assert!(quick.join().unwrap() > 0 && slow.join().unwrap() > 0);
        let ended = server.wait_for_end();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert_eq!(
            (ended.report.drained, ended.report.failed.len()),
            (2, 0),
            "{protocol}: {:?}",
            ended.report
        );
    }
}

/// Reads whole frames up to the end of the connection, which it then closes in good order; how many.
fn drained(viewer: &mut Viewer) -> u32 {
    let mut frames = 0;
    loop {
        let mut head = [0; 2];
        match viewer.stream.peek(&mut head).unwrap() {
            0 => return frames,
            1 => continue,
            _ if head[0] == 0x88 => {
                let answer = ws_support::frame(0x88, &1001_u16.to_be_bytes());
                (&viewer.stream).write_all(&answer).unwrap();
                let mut rest = Vec::new();
                (&viewer.stream).read_to_end(&mut rest).unwrap();
                return frames;
            }
            _ => viewer.next(),
        };
        frames += 1;
    }
}

#[test]
fn without_the_workload_and_for_other_words_everything_is_echoed() {
    let server = Server::start(&[]);
    expect_echo(&server.connect(), b"play\n");
    let server = start("raw", &[]);
    for words in [&b"follow\n"[..], b"play", b"play\nmore", b"PLAY\n", b" play\n", b"\n"] {
        expect_echo(&server.connect(), words);
    }
    let server = start("ws", &[]);
    let client = ws_support::Client::open(server.address);
    client.expect_echo(b"play");
    client.send(0x81, b"play\n");
    assert_eq!(client.next().payload, b"play\n");
}

#[test]
fn flags_that_contradict_each_other_are_refused_with_exit_code_2() {
    for (flags, named) in [
        (&["--workload", "stream", "--mode", "hold"][..], "--mode hold"),
        (&["--bitrate", "1M"], "--bitrate"),
        (&["--workload", "fanout", "--stream-duration", "1s"], "--stream-duration"),
        (&["--workload", "stream", "--payload", "64"], "--payload"),
        (&["--workload", "echo"], "stream, fanout"),
        (&["--workload", "stream", "--bitrate", "fast"], "500kbit/s"),
    ] {
        let (code, stdout, stderr) = run(&[&["--listen", "127.0.0.1:0"], flags].concat());
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{flags:?}: {stderr}");
        assert!(stderr.contains(named), "{flags:?}: {stderr}");
    }
}
