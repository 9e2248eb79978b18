//! Clients that break the rules, dawdle, flood or die: each is survived, counted under its own name, and costs no
//! other connection anything.

mod common;
mod ws_support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use c10k_wire::conformance::{self, first};
use common::{Server, connect, finish_and_read, reset, send_until_blocked};
use ws_support::{Client, frame, read_refusal, read_to_end, send_what_is_taken, start};

/// A server, and a client that must notice nothing.
struct Scene {
    server: Server,
    bystander: Client,
    rss: u64,
    descriptors: usize,
}

impl Scene {
    fn new(arguments: &[&str]) -> Self {
        let server = start(arguments);
        let bystander = Client::open(server.address);
        bystander.expect_echo(b"before");
        // The buffers of a worker are at their size, and what is allocated once is allocated.
        for _ in 0..4 {
            let client = Client::open(server.address);
            client.expect_echo(&[7; 200_000]);
            client.close();
        }
        let (rss, descriptors) = (server.rss(), server.descriptors());
        Self { server, bystander, rss, descriptors }
    }

    /// The bystander is served, descriptors and memory are back, the server is idle, and the ends are counted.
    #[track_caller]
    fn expect_nothing_left(mut self, failed: &[(&str, u64)]) {
        self.bystander.expect_echo(b"after");
        self.server.wait_for("all but the bystander gone", |report| report.open == 1);
        assert_eq!(self.server.descriptors(), self.descriptors, "descriptors are left");
        let rss = self.server.rss();
        assert!(rss < self.rss + (6 << 20), "memory is left: {} B before, {rss} B after", self.rss);
        self.server.expect_idle("after it");
        self.bystander.close();
        let report = self.server.stop().report;
        let expected: BTreeMap<String, u64> = failed.iter().map(|&(n, c)| (n.to_owned(), c)).collect();
        assert_eq!(report.failed, expected);
    }
}

#[test]
fn a_request_of_one_byte_at_a_time_is_cut_at_the_deadline_and_told_so() {
    let scene = Scene::new(&["--handshake-timeout", "1s"]);
    let begun = Instant::now();
    let slow: Vec<_> = (0..50).map(|_| connect(scene.server.address)).collect();
    let request = conformance::sample_request();
    for byte in &request {
        let all = slow.iter().all(|stream| send_what_is_taken(stream, &[*byte]));
        if !all || begun.elapsed() > Duration::from_secs(3) {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    for stream in &slow {
        let (status, text) = read_refusal(stream);
        assert_eq!(status, 408, "{text}");
    }
    assert!(begun.elapsed() >= Duration::from_secs(1), "before the deadline: {:?}", begun.elapsed());
    drop(slow);
    scene.expect_nothing_left(&[("handshake-timeout", 50)]);
}

#[test]
fn half_a_request_or_none_and_then_silence_is_cut_at_the_deadline() {
    let scene = Scene::new(&["--handshake-timeout", "1s"]);
    let request = conformance::sample_request();
    let mute: Vec<_> = (0..60).map(|_| connect(scene.server.address)).collect();
    for (n, mut stream) in mute.iter().enumerate() {
        stream.write_all(&request[..n % 3 * 40]).unwrap();
    }
    let opened_meanwhile = Client::open(scene.server.address);
    for (n, stream) in mute.iter().enumerate() {
        let answer = String::from_utf8(read_to_end(stream)).unwrap();
        assert_eq!(answer.starts_with("HTTP/1.1 408 "), n % 3 != 0, "{n}: {answer}");
    }
    opened_meanwhile.expect_echo(b"the deadline is not mine");
    opened_meanwhile.close();
    drop(mute);
    scene.expect_nothing_left(&[("handshake-timeout", 60)]);
}

#[test]
fn without_a_deadline_a_handshake_may_take_its_time() {
    let server = start(&["--handshake-timeout", "0s"]);
    let mut slow = connect(server.address);
    let request = conformance::sample_request();
    slow.write_all(&request[..60]).unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    slow.write_all(&request[60..]).unwrap();
    assert!(ws_support::read_head(&slow).starts_with("HTTP/1.1 101 "));
    let client = Client { stream: slow };
    client.expect_echo(b"late, but here");
    client.close();
    assert!(server.stop().report.failed.is_empty());
}

#[test]
fn a_hundred_kilobytes_of_headers_are_refused_before_they_are_kept() {
    let scene = Scene::new(&[]);
    let case =
        conformance::requests().into_iter().find(|case| case.name.ends_with(" a head of 100 KiB")).unwrap();
    for _ in 0..100 {
        let stream = connect(scene.server.address);
        send_what_is_taken(&stream, &case.bytes);
        let (status, text) = read_refusal(&stream);
        assert_eq!(status, 431, "{text}");
    }
    scene.expect_nothing_left(&[("handshake-too-long", 100)]);
}

#[test]
fn a_longer_head_may_be_allowed_and_a_shorter_one_asked_for() {
    let long = |bytes: usize| {
        let request = String::from_utf8(conformance::sample_request()).unwrap();
        request.replacen("\r\n\r\n", &format!("\r\nX-Long: {}\r\n\r\n", "x".repeat(bytes)), 1)
    };
    for (limit, taken, refused) in [("300", 20, 300), ("65536", 60_000, 66_000)] {
        let server = start(&["--max-handshake", limit]);
        let stream = connect(server.address);
        (&stream).write_all(long(taken).as_bytes()).unwrap();
        assert!(ws_support::read_head(&stream).starts_with("HTTP/1.1 101 "), "{limit}");
        let stream = connect(server.address);
        send_what_is_taken(&stream, long(refused).as_bytes());
        assert_eq!(read_refusal(&stream).0, 431, "{limit}");
    }
}

#[test]
fn garbage_that_goes_on_for_ever_is_cut() {
    let scene = Scene::new(&[]);
    let garbage = common::pattern(1 << 20);
    let begun = Instant::now();
    let stream = connect(scene.server.address);
    while send_what_is_taken(&stream, &garbage) {
        assert!(begun.elapsed() < Duration::from_secs(20), "it listens for ever");
    }
    drop(stream);
    scene.expect_nothing_left(&[("handshake-malformed", 1)]);
}

#[test]
fn a_length_of_two_to_the_63rd_is_refused_without_taking_memory() {
    let scene = Scene::new(&[]);
    let clients: Vec<_> = (0..200).map(|_| Client::open(scene.server.address)).collect();
    for (n, client) in clients.iter().enumerate() {
        let length = if n % 2 == 0 { 1_u64 << 63 } else { (1 << 63) - 1 };
        let mut bytes = vec![first::BINARY, 0xff];
        bytes.extend(length.to_be_bytes());
        bytes.extend([1, 2, 3, 4, 5]);
        (&client.stream).write_all(&bytes).unwrap();
    }
    for (n, client) in clients.iter().enumerate() {
        client.expect_close(if n % 2 == 0 { 1002 } else { 1009 });
    }
    drop(clients);
    scene.expect_nothing_left(&[("ws-frame-too-big", 100), ("ws-impossible-length", 100)]);
}

#[test]
fn messages_over_the_limits_of_the_command_line_are_closed_with_1009() {
    let server = start(&["--max-frame", "1000", "--max-message", "1500"]);
    let ask = |frames: &[(u8, usize)]| {
        let client = Client::open(server.address);
        for &(first, size) in frames {
            client.send(first, &vec![b'x'; size]);
        }
        client
    };
    let whole = ask(&[(first::BINARY_BEGIN, 1000), (first::LAST, 500)]);
    assert_eq!(whole.next().payload.len(), 1500);
    whole.close();
    ask(&[(first::BINARY, 1001)]).expect_close(1009);
    ask(&[(first::BINARY_BEGIN, 1000), (first::LAST, 501)]).expect_close(1009);
    let report = server.stop().report;
    assert_eq!(report.failed.get("ws-frame-too-big"), Some(&1), "{report:?}");
    assert_eq!(report.failed.get("ws-message-too-big"), Some(&1), "{report:?}");
}

#[test]
fn a_flood_of_empty_continuations_is_a_message_of_too_many_frames() {
    let scene = Scene::new(&[]);
    let client = Client::open(scene.server.address);
    let mut bytes = frame(first::BINARY_BEGIN, b"a");
    for _ in 0..200_000 {
        bytes.extend(frame(first::MORE, b""));
    }
    send_what_is_taken(&client.stream, &bytes);
    client.expect_close(1008);
    drop(client);
    scene.expect_nothing_left(&[("ws-too-many-fragments", 1)]);
}

#[test]
fn a_flood_of_pings_is_answered_up_to_the_last_and_never_out_of_order() {
    let scene = Scene::new(&[]);
    let client = Client::open(scene.server.address);
    let count = 100_000_u32;
    let pings: Vec<u8> = (0..count).flat_map(|n| frame(first::PING, &n.to_be_bytes())).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| (&client.stream).write_all(&pings).unwrap());
        let mut reader = std::io::BufReader::new(&client.stream);
        let mut next = 0;
        // Only the latest of several Pings needs an answer (RFC 6455 section 5.5.3).
        while next < count {
            let mut pong = [0; 6];
            reader.read_exact(&mut pong).unwrap();
            let number = u32::from_be_bytes([pong[2], pong[3], pong[4], pong[5]]);
            assert_eq!((pong[0], pong[1]), (first::PONG, 4));
            assert!((next..count).contains(&number), "{number} and not {next} or later");
            next = number + 1;
        }
    });
    client.close();
    scene.expect_nothing_left(&[]);
}

#[test]
fn peers_that_ping_and_never_read_cost_no_memory_and_no_turn_of_others() {
    let scene = Scene::new(&[]);
    let clients: Vec<_> = (0..4).map(|_| Client::open(scene.server.address)).collect();
    let pings = frame(first::PING, &[b'p'; 125]).repeat(1 << 17);
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| send_until_blocked(&client.stream, &pings));
        }
        for _ in 0..50 {
            let begun = Instant::now();
            scene.bystander.expect_echo(b"I read");
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?} for an echo", begun.elapsed());
        }
    });
    let rss = scene.server.rss();
    assert!(rss < scene.rss + (6 << 20), "{} B before, {rss} B with four that flood", scene.rss);
    clients.into_iter().for_each(|client| reset(client.stream));
    scene.expect_nothing_left(&[("ECONNRESET", 4)]);
}

#[test]
fn a_peer_that_never_reads_its_echoes_costs_no_more_than_a_message_and_is_given_up() {
    let mut scene = Scene::new(&["--stall-timeout", "2s"]);
    let clients: Vec<_> = (0..8).map(|_| Client::open(scene.server.address)).collect();
    let echoes = frame(first::BINARY, &[b'e'; 60_000]).repeat(800);
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| {
                let taken = send_until_blocked(&client.stream, &echoes);
                assert!(taken < echoes.len(), "nobody held it back");
            });
        }
        scene.bystander.expect_echo(b"I read");
    });
    let rss = scene.server.rss();
    assert!(rss < scene.rss + 8 * (2 << 20), "{} B before, {rss} B with eight that do not read", scene.rss);
    scene.server.wait_for("stalled", |report| report.failed.get("stalled") == Some(&8));
    drop(clients);
    scene.expect_nothing_left(&[("stalled", 8)]);
}

#[test]
fn a_peer_that_reads_again_gets_every_echo_in_order() {
    let server = start(&[]);
    let client = Client::open(server.address);
    let messages: Vec<Vec<u8>> = (0..200_u8).map(|n| vec![n; 50_000]).collect();
    let all: Vec<u8> = messages.iter().flat_map(|message| frame(first::BINARY, message)).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| (&client.stream).write_all(&all).unwrap());
        std::thread::sleep(Duration::from_millis(700));
        for message in &messages {
            assert!(client.next().payload == *message);
        }
    });
    client.close();
    assert!(server.stop().report.failed.is_empty());
}

#[test]
fn a_storm_of_closes_is_answered_every_time() {
    let scene = Scene::new(&[]);
    let clients: Vec<_> = (0..1000).map(|_| Client::open(scene.server.address)).collect();
    for client in &clients {
        client.send(first::CLOSE, &1000_u16.to_be_bytes());
    }
    clients.iter().for_each(|client| client.expect_close(1000));
    drop(clients);
    scene.expect_nothing_left(&[]);
}

#[test]
fn a_reset_in_every_state_is_counted_and_leaves_nothing() {
    let mut scene = Scene::new(&[]);
    let request = conformance::sample_request();
    const EACH: u64 = 50;
    for _ in 0..EACH {
        // Before a byte, in the middle of the request.
        reset(connect(scene.server.address));
        let half = connect(scene.server.address);
        (&half).write_all(&request[..50]).unwrap();
        reset(half);
        // Open, within a frame's head, within its payload, within a message, within a text's character.
        for bytes in [
            Vec::new(),
            frame(first::BINARY, &[1; 200])[..3].to_vec(),
            frame(first::BINARY, &[1; 200])[..100].to_vec(),
            frame(first::BINARY_BEGIN, &[1; 200]),
            frame(first::TEXT_BEGIN, b"\xf0\x9f"),
        ] {
            let client = Client::open(scene.server.address);
            (&client.stream).write_all(&bytes).unwrap();
            reset(client.stream);
        }
    }
    let report = scene.server.wait_for("all reset", |report| report.open == 1);
    // What the kernel has seen reset before it was accepted may not even be one.
    assert!(report.failed["ECONNRESET"] >= 5 * EACH, "{report:?}");
    scene.expect_nothing_left(&[("ECONNRESET", report.failed["ECONNRESET"])]);
}

#[test]
fn a_reset_under_an_answer_that_waits_leaves_nothing() {
    let mut scene = Scene::new(&[]);
    let clients: Vec<_> = (0..5).map(|_| Client::open(scene.server.address)).collect();
    let echoes = frame(first::BINARY, &[b'e'; 60_000]).repeat(400);
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| send_until_blocked(&client.stream, &echoes));
        }
    });
    scene.server.wait_for("back-pressure", |report| report.back_pressured == 5);
    clients.into_iter().for_each(|client| reset(client.stream));
    scene.expect_nothing_left(&[("ECONNRESET", 5)]);
}

#[test]
fn a_reset_after_a_broken_rule_is_still_the_broken_rule() {
    let scene = Scene::new(&[]);
    for _ in 0..50 {
        let client = Client::open(scene.server.address);
        client.send(first::TEXT | 0x40, b"x");
        let close = client.next();
        assert_eq!(close.first, first::CLOSE);
        reset(client.stream);
    }
    scene.expect_nothing_left(&[("ws-reserved-bits", 50)]);
}

#[test]
fn a_peer_that_ends_without_a_close_has_ended_abnormally() {
    let scene = Scene::new(&[]);
    let request = conformance::sample_request();
    for _ in 0..20 {
        drop(Client::open(scene.server.address));
        let half = Client::open(scene.server.address);
        (&half.stream).write_all(&frame(first::TEXT, b"half of it")[..8]).unwrap();
        drop(half);
        drop(connect(scene.server.address));
        let mut stream = connect(scene.server.address);
        stream.write_all(&request[..70]).unwrap();
        drop(stream);
    }
    scene.expect_nothing_left(&[("close-1006", 40), ("closed-in-handshake", 40)]);
}

#[test]
fn a_message_before_half_a_close_of_tcp_is_still_echoed() {
    let server = start(&[]);
    let client = Client::open(server.address);
    client.send(first::BINARY, b"my last");
    let rest = finish_and_read(&client.stream);
    assert_eq!(conformance::read_frames(&rest).unwrap()[0].payload, b"my last");
    assert_eq!(server.stop().report.failed.get("close-1006"), Some(&1));
}

#[test]
fn a_peer_that_broke_a_rule_and_does_not_go_is_cut_soon() {
    let scene = Scene::new(&[]);
    let begun = Instant::now();
    let rude: Vec<_> = (0..20).map(|_| Client::open(scene.server.address)).collect();
    for client in &rude {
        client.send(first::MORE, b"of nothing");
        client.expect_close(1002);
    }
    // They go on sending and never close.
    while rude.iter().any(|client| send_what_is_taken(&client.stream, &[0; 1000])) {
        assert!(begun.elapsed() < Duration::from_secs(20), "they are never cut");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(rude);
    scene.expect_nothing_left(&[("ws-stray-continuation", 20)]);
}

#[test]
fn what_stands_behind_a_close_frame_takes_it_from_nobody() {
    let scene = Scene::new(&[]);
    for bytes in [10, 5_000, 100_000, 1 << 20] {
        let client = Client::open(scene.server.address);
        let mut last = frame(first::CLOSE, &1000_u16.to_be_bytes());
        last.resize(last.len() + bytes, 0);
        (&client.stream).write_all(&last).unwrap();
        // A reset would be an error here.
        let rest = finish_and_read(&client.stream);
        let frames = conformance::read_frames(&rest).unwrap();
        let closed: Vec<_> = frames.iter().map(|frame| (frame.first, &frame.payload[..])).collect();
        assert_eq!(closed, [(first::CLOSE, &1000_u16.to_be_bytes()[..])], "{bytes} bytes behind it");
    }
    scene.expect_nothing_left(&[]);
}

#[test]
fn a_message_over_the_limit_in_many_pieces_reads_its_close_frame_and_no_reset() {
    let scene = Scene::new(&[]);
    // No more than are sent within the time for which it listens, on a busy machine too.
    for pieces in [17, 40, 100] {
        let client = Client::open(scene.server.address);
        (&client.stream).write_all(&frame(first::BINARY_BEGIN, &[b'x'; 65_536])).unwrap();
        for _ in 0..pieces {
            (&client.stream).write_all(&frame(first::MORE, &[b'x'; 65_536])).unwrap();
        }
        let rest = finish_and_read(&client.stream);
        let frames = conformance::read_frames(&rest).unwrap();
        assert_eq!((frames.len(), &frames[0].payload[..2]), (1, &1009_u16.to_be_bytes()[..]));
    }
    scene.expect_nothing_left(&[("ws-message-too-big", 3)]);
}

#[test]
fn a_peer_that_goes_on_for_ever_behind_its_end_is_heard_for_so_many_bytes() {
    let mut scene = Scene::new(&[]);
    let flood = vec![0; 1 << 20];
    let client = Client::open(scene.server.address);
    client.send(first::MORE, b"of nothing");
    while send_what_is_taken(&client.stream, &flood) {}
    let report = scene.server.wait_for("it is cut", |report| report.open == 1);
    assert!(report.bytes_in < 70 << 20, "{report:?}");
    drop(client);
    scene.expect_nothing_left(&[("ws-stray-continuation", 1)]);
}

#[test]
fn a_refused_peer_that_shuts_its_side_is_closed_at_once() {
    let mut server = start(&[]);
    let stream = connect(server.address);
    send_what_is_taken(&stream, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(read_refusal(&stream).0, 426);
    stream.shutdown(Shutdown::Both).unwrap();
    let report = server.wait_for("it is gone", |report| report.open == 0 && report.accepted == 1);
    assert_eq!(report.failed.get("handshake-no-upgrade"), Some(&1), "{report:?}");
}
