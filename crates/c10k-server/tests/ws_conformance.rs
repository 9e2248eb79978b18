//! The conformance table against the real server, over TCP.

mod common;
mod ws_support;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use c10k_wire::conformance::{self, Case, Ending, Seen, SentFrame, first};
use c10k_wire::ws::{Kind, Role};
use common::{connect, finish_and_read};
use ws_support::{Client, frame, read_head, read_refusal, read_to_end, send_what_is_taken, start};

/// What stands behind all that a case sends, where the connection is to stay open.
const MARK: &[u8] = b"behind the case";

#[test]
fn every_case_of_the_table_is_answered_as_the_standard_asks_for() {
    let server = start(&[]);
    let bystander = Client::open(server.address);
    let mut named = BTreeMap::new();
    let mut closed = 0;
    let cases = conformance::cases().into_iter().filter(|case| case.is_for(Role::Server));
    let mut run = 0;
    for case in cases {
        let bytes = case.bytes_to(Role::Server);
        // Whole, in two segments, and the short ones byte by byte.
        let cuts = [bytes.len(), bytes.len() / 2 + 1, 1];
        let cuts = if bytes.len() < 160 { &cuts[..] } else { &cuts[..2] };
        for &cut in cuts {
            let what = format!("{}, in pieces of {cut}", case.name);
            let client = Client::open(server.address);
            check(&client, &case, &bytes, cut.max(1), &what);
            match case.end {
                Ending::Open => {
                    client.close();
                    closed += 1;
                }
                Ending::Closed(code) => match code.filter(|code| (1002..3000).contains(code)) {
                    Some(code) => *named.entry(format!("close-{code}")).or_default() += 1,
                    None => closed += 1,
                },
                Ending::Failed(violation) => *named.entry(violation.name().to_owned()).or_default() += 1,
            }
            run += 1;
        }
    }
    assert!(run > 800, "only {run} have run");
    bystander.expect_echo(b"undisturbed by all of them");
    bystander.close();
    let report = server.stop().report;
    assert_eq!(report.failed, named);
    assert_eq!((report.opened, report.closed, report.drained), (Some(run + 1), closed + 1, 0));
}

#[track_caller]
fn check(client: &Client, case: &Case, bytes: &[u8], cut: usize, what: &str) {
    for piece in bytes.chunks(cut) {
        if !send_what_is_taken(&client.stream, piece) {
            break;
        }
    }
    let mut frames = Vec::new();
    if case.end == Ending::Open {
        client.send(first::PING, MARK);
        loop {
            let frame = client.next();
            if frame.first == first::PONG && frame.payload == MARK {
                break;
            }
            frames.push(frame);
        }
    } else {
        let all = read_to_end(&client.stream);
        frames = conformance::read_frames(&all).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    let close = frames.pop_if(|frame| frame.first == first::CLOSE).map(|frame| code_of(&frame));
    let expected = match case.end {
        Ending::Open => None,
        Ending::Closed(code) => Some(code),
        Ending::Failed(violation) => Some(Some(violation.code().get())),
    };
    assert_eq!(close, expected, "{what}");
    assert!(frames.iter().all(|frame| !frame.is_masked), "{what}: a mask");
    let seen: Vec<Seen> = frames.into_iter().map(seen).collect();
    assert!(seen == case.seen, "{what}: {} frames and not {}", seen.len(), case.seen.len());
}

fn code_of(close: &SentFrame) -> Option<u16> {
    close.payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]))
}

fn seen(frame: SentFrame) -> Seen {
    match frame.first {
        first::TEXT => Seen::Message(Kind::Text, frame.payload),
        first::BINARY => Seen::Message(Kind::Binary, frame.payload),
        first::PONG => Seen::Pong(frame.payload),
        other => panic!("a server says {other:#x}"),
    }
}

#[test]
fn every_request_of_the_table_is_answered_with_its_status_and_counted_under_its_name() {
    let server = start(&[]);
    let bystander = Client::open(server.address);
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    let (mut opened, mut closed) = (1, 1);
    for case in conformance::requests() {
        let pieces = [case.bytes.len(), case.bytes.len() / 2 + 1, 1];
        let pieces = if case.bytes.len() < 1000 { &pieces[..] } else { &pieces[..2] };
        for &piece in pieces {
            let what = format!("{} in pieces of {piece}", case.name);
            let stream = connect(server.address);
            for part in case.bytes.chunks(piece) {
                if !send_what_is_taken(&stream, part) {
                    break;
                }
            }
            if case.status == 101 {
                let head = read_head(&stream);
                assert!(head.starts_with("HTTP/1.1 101 "), "{what}: {head}");
                assert!(!head.to_lowercase().contains("extensions"), "{what}: {head}");
                let client = Client { stream };
                client.expect_echo(b"open");
                client.close();
                opened += 1;
                closed += 1;
                continue;
            }
            let (status, text) = read_refusal(&stream);
            assert_eq!(status, case.status, "{what}: {text}");
            let lower = text.to_lowercase();
            assert!(lower.contains("\r\nconnection: close\r\n") || status == 426, "{what}: {text}");
            assert!(lower.contains("\r\ncontent-length: "), "{what}: {text}");
            if status == 426 {
                assert!(lower.contains("\r\nsec-websocket-version: 13\r\n"), "{what}: {text}");
                assert!(lower.contains("\r\nupgrade: websocket\r\n"), "{what}: {text}");
            }
            if status == 405 {
                assert!(lower.contains("\r\nallow: get\r\n"), "{what}: {text}");
            }
            if case.outcome == "healthz" {
                closed += 1;
            } else {
                *expected.entry(case.outcome.to_owned()).or_default() += 1;
            }
        }
    }
    bystander.expect_echo(b"undisturbed");
    bystander.close();
    let report = server.stop().report;
    assert_eq!(report.failed, expected);
    assert_eq!((report.opened, report.closed), (Some(opened), closed));
}

#[test]
fn frames_behind_the_request_are_served_wherever_the_segments_end() {
    let server = start(&[]);
    let request = conformance::sample_request();
    let all = [&request[..], &frame(first::TEXT, b"behind"), &frame(first::PING, b"me")].concat();
    for cut in 1..=all.len() {
        let mut stream = connect(server.address);
        stream.write_all(&all[..cut]).unwrap();
        if cut % 16 == 0 {
            // Now and then long enough for the server to see the first part alone.
            std::thread::sleep(Duration::from_millis(3));
        }
        stream.write_all(&all[cut..]).unwrap();
        assert!(read_head(&stream).starts_with("HTTP/1.1 101 "));
        let client = Client { stream };
        assert_eq!(client.next().payload, b"behind", "cut at {cut}");
        let pong = client.next();
        assert_eq!((pong.first, pong.payload), (first::PONG, b"me".to_vec()), "cut at {cut}");
        client.close();
    }
    assert!(server.stop().report.failed.is_empty());
}

#[test]
fn what_comes_behind_a_close_in_a_segment_of_its_own_does_not_take_the_answer_away() {
    let server = start(&[]);
    for _ in 0..200 {
        let client = Client::open(server.address);
        client.send(first::CLOSE, &1000_u16.to_be_bytes());
        for _ in 0..4 {
            send_what_is_taken(&client.stream, &frame(first::TEXT, b"late"));
        }
        let frames = conformance::read_frames(&read_to_end(&client.stream)).unwrap();
        assert_eq!(frames.len(), 1, "{frames:?}");
        assert_eq!(code_of(&frames[0]), Some(1000));
    }
    let report = server.stop().report;
    assert_eq!((report.closed, report.failed.len()), (200, 0), "{report:?}");
}

#[test]
fn paths_origins_and_subprotocols_are_those_of_the_command_line() {
    let server = start(&[
        "--path",
        "/chat",
        "--path",
        "/b",
        "--origin",
        "https://lab.example",
        "--subprotocol",
        "b",
        "--subprotocol",
        "a",
    ]);
    let ask = |path: &str, extra: &str| {
        let mut stream = connect(server.address);
        let request = String::from_utf8(conformance::sample_request()).unwrap();
        let request = request.replace("/chat", path).replacen("\r\n\r\n", &format!("\r\n{extra}\r\n"), 1);
        stream.write_all(request.as_bytes()).unwrap();
        let head = read_head(&stream).to_lowercase();
        drop(finish_and_read(&stream));
        head
    };
    assert!(ask("/chat", "").starts_with("http/1.1 101"));
    assert!(ask("/b?x=1", "Origin: https://lab.example\r\n").starts_with("http/1.1 101"));
    assert!(ask("/c", "").starts_with("http/1.1 404"));
    assert!(ask("/chat", "Origin: https://evil.example\r\n").starts_with("http/1.1 403"));
    let chosen = ask("/chat", "Sec-WebSocket-Protocol: x, a, b\r\n");
    assert!(chosen.contains("\r\nsec-websocket-protocol: a\r\n"), "{chosen}");
    let report = server.stop().report;
    assert_eq!(report.failed.get("handshake-path"), Some(&1), "{report:?}");
    assert_eq!(report.failed.get("handshake-origin"), Some(&1), "{report:?}");
}

#[test]
fn a_message_may_come_in_a_segment_for_every_byte_of_it() {
    let server = start(&[]);
    let client = Client::open(server.address);
    let message = common::pattern(70_000);
    let bytes = frame(first::BINARY, &message);
    for piece in bytes[..200].chunks(1).chain(bytes[200..].chunks(997)) {
        (&client.stream).write_all(piece).unwrap();
    }
    let back = client.next();
    assert!(back.payload == message);
    client.close();
    assert_eq!(server.stop().report.closed, 1);
}
