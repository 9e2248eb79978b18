//! WebSocket servers that do right, each in its own way: all of their connections are held, and closed in good order.

mod common;
mod ws_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use c10k_wire::conformance::first;
use common::{Swarm, run, run_to_refusal};
use ws_support::{COUNT, WsServer, against, frame, response_to};

#[test]
fn a_server_that_echoes_holds_them_and_hears_a_close_from_each() {
    let ended = against(
        |peer| {
            let code = peer.open().then(|| peer.echo()).flatten();
            peer.expect(code == Some(1000), || format!("closed with {code:?}"));
        },
        &["--close", "fin"],
    );
    ended.expect_code(0).expect_counts(COUNT, COUNT).expect_failed(&[]);
    let latency = &ended.record.latency_us;
    assert_eq!(latency.handshake.as_ref().map(|handshake| handshake.count), Some(COUNT));
    assert_eq!((latency.connect.count, latency.first_echo.count, latency.echo.count), (COUNT, COUNT, COUNT));
    assert_eq!(ended.record.protocol.to_string(), "ws");
}

#[test]
fn closing_by_rst_says_no_word() {
    let ended = against(
        |peer| {
            let code = peer.open().then(|| peer.echo()).flatten();
            peer.expect(code.is_none(), || format!("a Close: {code:?}"));
        },
        &["--close", "rst"],
    );
    ended.expect_code(0).expect_counts(COUNT, COUNT).expect_failed(&[]);
}

#[test]
fn a_server_that_never_answers_the_close_does_not_make_held_connections_failed() {
    let ended = against(
        |peer| {
            peer.open();
            while let Some(message) = peer.next() {
                if message.first == first::BINARY {
                    peer.send(first::BINARY, &message.payload);
                }
            }
        },
        &["--close", "fin"],
    );
    ended.expect_code(0).expect_counts(COUNT, COUNT).expect_failed(&[]);
}

#[test]
fn a_handshake_may_take_longer_than_a_connect() {
    let ended = against(
        |peer| {
            let Some(request) = peer.request() else { return };
            std::thread::sleep(Duration::from_millis(2500));
            peer.write(&response_to(&request));
            peer.echo();
        },
        &["--connect-timeout", "2s"],
    );
    ended.expect_code(0).expect_counts(COUNT, COUNT).expect_failed(&[]);
}

#[test]
fn a_swarm_that_closes_leaves_the_end_of_tcp_to_its_server() {
    let ended = against(
        |peer| {
            let code = peer.open().then(|| peer.echo()).flatten();
            // Nothing comes behind its Close but, once this end has closed, its own end.
            peer.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let read = std::io::Read::read(&mut &peer.stream, &mut [0; 1]);
            let waits = read.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
            peer.expect(code == Some(1000) && waits, || format!("closed with {code:?}, then {read:?}"));
            peer.stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
            peer.shut();
        },
        &["--close", "fin"],
    );
    ended.expect_code(0).expect_counts(COUNT, COUNT).expect_failed(&[]);
}

#[test]
fn a_server_that_leaves_the_end_of_tcp_to_its_client_hears_a_close_on_each() {
    let ended = against(
        |peer| {
            let code = peer.open().then(|| peer.echo()).flatten();
            peer.expect(code == Some(1000), || format!("closed with {code:?}"));
            peer.wait_for_end();
        },
        &["--close", "fin", "--in-flight", "2"],
    );
    ended.expect_code(0).expect_counts(COUNT, COUNT).expect_failed(&[]);
}

#[test]
fn without_probes_a_server_may_say_what_it_likes() {
    let ended = against(
        |peer| {
            let Some(request) = peer.request() else { return };
            // In one segment with the response.
            peer.write(&[response_to(&request), frame(first::TEXT, b"welcome")].concat());
            peer.send(first::BINARY, &[7; 100_000]);
            peer.send(first::PING, b"are you there");
            let pong = peer.next();
            let right = pong
                .as_ref()
                .is_some_and(|pong| (pong.first, &pong.payload[..]) == (first::PONG, b"are you there"));
            peer.expect(right, || format!("{pong:?}"));
            let code = peer.echo();
            peer.expect(code == Some(1000), || format!("{code:?}"));
        },
        &["--no-probe", "--close", "fin", "--hold", "500ms"],
    );
    ended.expect_code(0).expect_failed(&[]);
    let c = &ended.record.connections;
    assert_eq!((c.verified, c.held), (None, COUNT));
    assert_eq!(ended.record.latency_us.handshake.as_ref().map(|handshake| handshake.count), Some(COUNT));
    assert_eq!(ended.record.latency_us.echo.count, 0);
}

#[test]
fn pings_in_the_hold_are_answered() {
    let ended = against(
        |peer| {
            peer.open();
            let Some(probe) = peer.next() else { return };
            peer.send(first::BINARY, &probe.payload);
            for n in 0..20_u8 {
                peer.send(first::PING, &[n]);
                let pong = peer.next();
                let right =
                    pong.as_ref().is_some_and(|pong| (pong.first, &pong.payload[..]) == (first::PONG, &[n]));
                peer.expect(right, || format!("{pong:?}"));
                std::thread::sleep(Duration::from_millis(20));
            }
            peer.echo();
        },
        &["--hold", "3s", "--probe-timeout", "30s"],
    );
    ended.expect_code(0).expect_counts(COUNT, COUNT).expect_failed(&[]);
}

#[test]
fn the_request_has_what_the_command_line_says() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let server = WsServer::start(move |_, peer| {
        let Some(request) = peer.request() else { return };
        let port = peer.stream.local_addr().unwrap().port();
        for line in [
            "GET /a/b?c=d HTTP/1.1\r\n".to_owned(),
            format!("\r\nHost: localhost:{port}\r\n"),
            "\r\nSec-WebSocket-Version: 13\r\n".to_owned(),
            "\r\nSec-WebSocket-Protocol: chat, superchat\r\n".to_owned(),
            "\r\nX-Token: one two\r\n".to_owned(),
            "\r\nOrigin: https://lab.example\r\n".to_owned(),
        ] {
            let found = request.to_lowercase().contains(&line.to_lowercase());
            peer.expect(found, || format!("no {line:?} in {request:?}"));
        }
        peer.expect(!request.to_lowercase().contains("extensions"), || request.clone());
        count.fetch_add(1, SeqCst);
        peer.write(&response_to(&request));
        peer.echo();
    });
    let url = format!("ws://localhost:{}/a/b?c=d", server.address.port());
    let ended = run(&[
        "--url",
        &url,
        "--server",
        &server.at(),
        "--target",
        "10",
        "--header",
        "X-Token: one two",
        "--header",
        "Origin: https://lab.example",
        "--subprotocol",
        "chat",
        "--subprotocol",
        "superchat",
    ]);
    ended.expect_code(0).expect_counts(10, 10);
    assert_eq!(seen.load(SeqCst), 10);
    server.finish();
}

#[test]
fn growing_shrinking_and_verifying_go_with_websocket_too() {
    let server = WsServer::start(|_, peer| {
        let code = peer.open().then(|| peer.echo()).flatten();
        peer.expect(code == Some(1000), || format!("closed with {code:?}"));
    });
    let mut swarm = Swarm::commanded(&["--url", &server.url(), "--target", "60", "--close", "fin"]);
    swarm.command("grow 60");
    swarm.wait_for("all are open", |counts| counts.verified == 60);
    swarm.command("shrink 25");
    swarm.wait_for("some are released", |counts| counts.open == 35);
    let connections = swarm.verify();
    assert_eq!((connections.held, connections.released), (35, 25), "{connections:?}");
    swarm.command("stop");
    let ended = swarm.wait_for_end();
    assert_eq!(ended.record.broken_identity(), None, "{:?}", ended.record.connections);
    assert!(ended.record.connections.failed.is_empty(), "{:?}", ended.record.connections);
    server.finish();
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    for arguments in [
        &["--url", "http://127.0.0.1/"][..],
        &["--url", "wss://127.0.0.1/"],
        &["--url", "ws://"],
        &["--url", "ws://127.0.0.1/#part"],
        &["--protocol", "ws", "--header", "no colon"],
        &["--protocol", "ws", "--header", "Sec-WebSocket-Key: mine"],
        &["--protocol", "ws", "--header", "X: a\r\nY: b"],
        &["--protocol", "ws", "--subprotocol", "a b"],
        &["--header", "X: y"],
        &["--protocol", "http"],
    ] {
        let (code, stdout, stderr) = run_to_refusal(&[&["--target", "1"], arguments].concat());
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}: {stderr}");
    }
}
