//! WebSocket servers that refuse, are silent, do wrong, or close: each outcome under its own name, and every
//! connection counted once.

mod common;
mod ws_support;

use std::sync::Arc;
use std::time::Duration;

use c10k_record::PhaseName;
use c10k_wire::conformance::first;
use common::run;
use ws_support::{COUNT, Peer, WsServer, accept_of, against, frame, response_to};

#[test]
fn refusals_are_counted_by_their_status() {
    let ended = against(
        |peer| {
            peer.request();
            peer.write(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 9\r\nContent-Length: 3\r\n\r\nno\n");
            peer.shut();
        },
        &[],
    );
    ended.expect_code(1).expect_counts(0, 0).expect_failed(&[("handshake-status-429", COUNT)]);
    assert_eq!(ended.record.connections.established, COUNT);
}

#[test]
fn an_accept_that_answers_another_key_opens_nothing() {
    let ended = against(
        |peer| {
            let Some(request) = peer.request() else { return };
            let response = String::from_utf8(response_to(&request)).unwrap();
            let wrong = response.replace(&accept_of(&request), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
            peer.write(wrong.as_bytes());
            peer.wait_for_end();
        },
        &[],
    );
    ended.expect_code(1).expect_failed(&[("handshake-bad-accept", COUNT)]);
}

#[test]
fn an_upgrade_that_is_never_answered_has_a_deadline() {
    let ended = against(|peer| peer.wait_for_end(), &["--handshake-timeout", "800ms"]);
    ended.expect_code(1).expect_counts(0, 0).expect_failed(&[("handshake-timeout", COUNT)]);
    assert_eq!(ended.record.connections.established, COUNT);
}

#[test]
fn an_answer_of_one_byte_a_moment_has_the_same_deadline() {
    let ended = against(
        |peer| {
            let Some(request) = peer.request() else { return };
            for byte in response_to(&request) {
                if !peer.write(&[byte]) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            peer.fault("it waited for the last byte");
        },
        &["--handshake-timeout", "1s"],
    );
    ended.expect_code(1).expect_failed(&[("handshake-timeout", COUNT)]);
}

#[test]
fn a_server_that_goes_in_the_handshake_or_after_it_is_told_apart() {
    let ended = against(
        |peer| {
            peer.request();
        },
        &[],
    );
    ended.expect_code(1).expect_failed(&[("closed-in-handshake", COUNT)]);
    let ended = against(
        |peer| {
            peer.open();
            peer.next();
        },
        &[],
    );
    ended.expect_code(1).expect_failed(&[("close-1006", COUNT)]);
    let ended = against(
        |peer| {
            peer.open();
            peer.next();
            peer.reset();
        },
        &[],
    );
    ended.expect_code(1).expect_failed(&[("ECONNRESET", COUNT)]);
}

#[test]
fn a_server_that_finds_a_probe_too_big_is_counted_by_its_code() {
    let ended = against(
        |peer| {
            peer.open();
            peer.next();
            peer.send(first::CLOSE, &[&1009_u16.to_be_bytes()[..], b"too big"].concat());
            let answer = peer.next().map(|answer| (answer.first, answer.payload));
            let right = Some((first::CLOSE, 1009_u16.to_be_bytes().to_vec()));
            peer.expect(answer == right, || format!("{answer:?}"));
            peer.shut();
        },
        &[],
    );
    ended.expect_code(1).expect_counts(0, 0).expect_failed(&[("close-1009", COUNT)]);
}

#[test]
fn what_a_server_says_at_the_end_is_quoted_in_however_many_pieces_it_comes() {
    let pause = || std::thread::sleep(Duration::from_millis(40));
    let closes = move |peer: &Peer| {
        peer.open();
        peer.next();
        let close = frame(first::CLOSE, &[&1013_u16.to_be_bytes()[..], b"this room is full"].concat());
        for piece in close.chunks(9) {
            peer.write(piece);
            pause();
        }
        peer.wait_for_end();
    };
    let ended = against(closes, &[]);
    ended.expect_code(1).expect_failed(&[("close-1013", COUNT)]);
    assert_eq!(ended.said(), [("Close 1013: this room is full", COUNT)]);
    let refuses = move |peer: &Peer| {
        peer.request();
        for piece in ["HTTP/1.1 4", "29 Too Many Requests\r\nContent-Length: 8\r\n\r\nnot now\n"] {
            peer.write(piece.as_bytes());
            pause();
        }
        peer.shut();
    };
    let ended = against(refuses, &[]);
    ended.expect_code(1).expect_failed(&[("handshake-status-429", COUNT)]);
    assert_eq!(ended.said(), [("HTTP/1.1 429 Too Many Requests: not now", COUNT)]);
}

#[test]
fn what_stands_in_one_segment_with_a_close_counts_before_it() {
    let ended = against(
        |peer| {
            let Some(request) = peer.request() else { return };
            peer.write(&[response_to(&request), frame(first::CLOSE, &1013_u16.to_be_bytes())].concat());
            peer.wait_for_end();
        },
        &[],
    );
    ended.expect_code(1).expect_counts(0, 0).expect_failed(&[("close-1013", COUNT)]);
    let handshakes = |ended: &common::Ended| ended.record.latency_us.handshake.as_ref().map(|all| all.count);
    assert_eq!(handshakes(&ended), Some(COUNT), "they were opened");

    let ended = against(
        |peer| {
            peer.open();
            let Some(probe) = peer.next() else { return };
            let close = frame(first::CLOSE, &1000_u16.to_be_bytes());
            peer.write(&[frame(first::BINARY, &probe.payload), close].concat());
            peer.wait_for_end();
        },
        &[],
    );
    ended.expect_code(1).expect_counts(COUNT, 0).expect_failed(&[("close-1000", COUNT)]);
    assert_eq!((handshakes(&ended), ended.record.latency_us.first_echo.count), (Some(COUNT), COUNT));
}

#[test]
fn a_server_that_masks_breaks_a_rule() {
    let ended = against(
        |peer| {
            peer.open();
            let Some(probe) = peer.next() else { return };
            let mut masked = Vec::new();
            c10k_wire::conformance::write_frame(first::BINARY, true, &probe.payload, &mut masked);
            peer.write(&masked);
            let close = peer.next().and_then(|close| close.payload.get(..2).map(<[u8]>::to_vec));
            peer.expect(close == Some(1002_u16.to_be_bytes().to_vec()), || format!("{close:?}"));
        },
        &[],
    );
    ended.expect_code(1).expect_failed(&[("ws-masked", COUNT)]);
}

#[test]
fn an_echo_that_is_wrong_of_the_wrong_kind_or_doubled_is_corrupt() {
    let wrong: [fn(&Peer, &[u8]) -> bool; 5] = [
        |peer, probe| {
            let mut other = probe.to_vec();
            *other.last_mut().unwrap() ^= 1;
            peer.send(first::BINARY, &other)
        },
        |peer, probe| peer.send(first::BINARY, &probe[..probe.len() - 1]),
        |peer, probe| peer.send(first::BINARY, &[probe, b"x"].concat()),
        |peer, probe| peer.write(&frame(first::BINARY, probe).repeat(2)),
        |peer, _| peer.send(first::TEXT, b"hello"),
    ];
    for (n, wrong) in wrong.into_iter().enumerate() {
        let ended = against(
            move |peer| {
                peer.open();
                if let Some(probe) = peer.next() {
                    wrong(peer, &probe.payload);
                }
                peer.wait_for_end();
            },
            &["--probe-timeout", "10s"],
        );
        assert_eq!(ended.failed("corrupt"), COUNT, "way {n}: {:?}", ended.record.connections);
        ended.expect_code(1);
    }
}

#[test]
fn the_echo_of_another_connection_is_corrupt() {
    let kept = Arc::new(std::sync::Mutex::new(None::<Vec<u8>>));
    let server = WsServer::start(move |_, peer| {
        peer.open();
        let Some(probe) = peer.next() else { return };
        let first_one = kept.lock().unwrap().get_or_insert_with(|| probe.payload.clone()).clone();
        peer.send(first::BINARY, &first_one);
        if first_one == probe.payload {
            peer.echo();
        } else {
            peer.wait_for_end();
        }
    });
    let ended = run(&["--url", &server.url(), "--target", "40"]);
    ended.expect_code(1).expect_counts(1, 1).expect_failed(&[("corrupt", 39)]);
    server.finish();
}

#[test]
fn what_is_lost_in_the_hold_is_lost_under_its_name() {
    let server = WsServer::start(|number, peer| {
        peer.open();
        let Some(probe) = peer.next() else { return };
        peer.send(first::BINARY, &probe.payload);
        // Everybody is there by then.
        std::thread::sleep(Duration::from_secs(1));
        match number % 4 {
            0 => {
                peer.send(first::CLOSE, &1001_u16.to_be_bytes());
                peer.shut();
            }
            1 => {}
            2 => {
                peer.send(first::TEXT | 0x40, b"a reserved bit");
                peer.shut();
            }
            _ => {
                peer.echo();
            }
        }
    });
    let ended = run(&["--url", &server.url(), "--target", "40", "--hold", "3s"]);
    ended.expect_code(1).expect_counts(40, 10);
    let expected = [("close-1001", 10), ("close-1006", 10), ("ws-reserved-bits", 10)];
    for (name, count) in expected {
        assert_eq!(ended.failed(name), count, "{:?}", ended.record.connections);
    }
    assert!(
        ended.record.failures.iter().all(|failure| failure.phase == PhaseName::Hold),
        "{:?}",
        ended.record.failures
    );
    server.finish();
}

#[test]
fn a_server_of_every_fault_at_once_is_counted_to_the_last_connection() {
    let server = WsServer::start(|number, peer| match number % 8 {
        0 => {
            peer.request();
        }
        1 => {
            peer.request();
            peer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
            peer.shut();
        }
        2 => peer.wait_for_end(),
        3 => peer.reset(),
        4 => {
            peer.open();
            peer.send(first::CLOSE, &1013_u16.to_be_bytes());
            peer.shut();
        }
        5 => {
            peer.open();
            peer.next();
            peer.send(first::LAST, b"of nothing");
            peer.shut();
        }
        6 => {
            peer.open();
            peer.wait_for_end();
        }
        _ => {
            peer.open();
            peer.echo();
        }
    });
    let short = ["--handshake-timeout", "1s", "--probe-timeout", "1s"];
    let ended = run(&[&["--url", &server.url(), "--target", "160"], &short[..]].concat());
    ended.expect_code(1).expect_counts(20, 20);
    for name in [
        "closed-in-handshake",
        "handshake-status-503",
        "handshake-timeout",
        "ECONNRESET",
        "close-1013",
        "ws-stray-continuation",
        "probe-timeout",
    ] {
        assert_eq!(ended.failed(name), 20, "{name}: {:?}", ended.record.connections);
    }
    server.finish();
}
