//! The conformance table against the real swarm, over TCP: a connection for each case.

mod common;
mod ws_support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use c10k_wire::conformance::{self, Case, Ending, Response, Seen, Sent, first, write_frame};
use c10k_wire::ws::{Role, Violation};
use common::{Ended, run};
use ws_support::{Peer, WsServer, accept_of};

/// What stands behind all that a case sends, where the connection is to stay open.
const MARK: &[u8] = b"behind the case";

#[test]
fn every_case_of_the_table_is_taken_as_the_standard_asks_for() {
    let cases: Vec<Case> =
        conformance::cases().into_iter().filter(|case| case.is_for(Role::Client)).collect();
    let expected = |cases: &[Case]| {
        let mut failed = BTreeMap::<String, u64>::new();
        let mut held = 0;
        for case in cases {
            match case.end {
                Ending::Open => held += 1,
                Ending::Closed(code) => {
                    *failed.entry(format!("close-{}", code.unwrap_or(1005))).or_default() += 1;
                }
                Ending::Failed(violation) => *failed.entry(violation.name().to_owned()).or_default() += 1,
            }
        }
        (held, failed)
    };
    assert!(cases.len() > 300, "only {}", cases.len());
    let short: Vec<Case> =
        cases.iter().filter(|case| case.bytes_to(Role::Client).len() < 160).cloned().collect();
    for (cases, piece) in [(cases, usize::MAX), (short, 1)] {
        let (held, failed) = expected(&cases);
        let target = cases.len();
        let cases = Arc::new(cases);
        let of_server = Arc::clone(&cases);
        let server = WsServer::start(move |number, peer| play(peer, &of_server[number], piece));
        let ended = run(&[
            "--protocol",
            "ws",
            "--server",
            &server.at(),
            "--target",
            &target.to_string(),
            "--no-probe",
            "--hold",
            "3s",
            "--close",
            "fin",
            "--in-flight",
            "64",
        ]);
        expect(&ended, held, &failed);
        server.finish();
    }
}

#[track_caller]
fn expect(ended: &Ended, held: u64, failed: &BTreeMap<String, u64>) {
    ended.expect_code(1);
    let c = &ended.record.connections;
    let found: BTreeMap<String, u64> =
        c.failed.iter().map(|(name, count)| (name.name().to_owned(), *count)).collect();
    assert_eq!(found, *failed, "{}", ended.stderr);
    assert_eq!((c.held, c.verified), (held, None), "{c:?}");
}

/// Sends a case and checks what the swarm says to it.
fn play(peer: &Peer, case: &Case, piece: usize) {
    if !peer.open() {
        return peer.fault("no request");
    }
    peer.write_in_pieces(&case.bytes_to(Role::Client), piece);
    if case.end == Ending::Open {
        peer.send(first::PING, MARK);
    }
    let mut pongs = Vec::new();
    let mut close = None;
    while let Some(frame) = peer.next() {
        match frame.first {
            first::PONG if frame.payload == MARK => {}
            first::PONG => pongs.push(frame.payload),
            first::CLOSE => {
                close = Some(frame.payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]])));
                // The swarm's own, at its end.
                if case.end == Ending::Open {
                    peer.send(first::CLOSE, &frame.payload);
                }
                break;
            }
            other => peer.fault(format!("{}: the swarm says {other:#x}", case.name)),
        }
    }
    let expected = match case.end {
        Ending::Open => Some(1000),
        Ending::Closed(code) => code,
        Ending::Failed(violation) => Some(violation.code().get()),
    };
    peer.expect(close == Some(expected), || format!("{}: {close:?}, expected {expected:?}", case.name));
    let wanted = case.seen.iter().filter_map(|seen| match seen {
        Seen::Pong(payload) => Some(payload.clone()),
        Seen::Message(..) => None,
    });
    let wanted: Vec<Vec<u8>> = wanted.collect();
    peer.expect(pongs == wanted, || format!("{}: other Pongs: {pongs:?}", case.name));
    peer.shut();
}

#[test]
fn every_response_of_the_table_is_judged_and_counted_under_its_name() {
    let responses = conformance::responses("");
    for piece in [usize::MAX, 1] {
        let server = WsServer::start(move |number, peer| {
            let Some(request) = peer.request() else { return peer.fault("no request") };
            let mut responses: Vec<Response> = conformance::responses(&accept_of(&request));
            let case = responses.swap_remove(number);
            peer.write_in_pieces(&case.bytes, piece);
            if case.outcome.is_empty() {
                let close = peer.echo();
                peer.expect(close == Some(1000), || format!("{}: closed with {close:?}", case.name));
            } else {
                let more = peer.next();
                peer.expect(more.is_none(), || format!("{}: {more:?}", case.name));
            }
        });
        let ended = run(&[
            "--url",
            &server.url(),
            "--target",
            &responses.len().to_string(),
            "--subprotocol",
            "a",
            "--subprotocol",
            "b",
            "--close",
            "fin",
            "--hold",
            "1s",
            "--handshake-timeout",
            "10s",
        ]);
        let mut failed = BTreeMap::<String, u64>::new();
        for case in responses.iter().filter(|case| !case.outcome.is_empty()) {
            *failed.entry(case.outcome.to_owned()).or_default() += 1;
        }
        let good = responses.iter().filter(|case| case.outcome.is_empty()).count() as u64;
        ended.expect_code(1).expect_counts(good, good);
        let found: BTreeMap<String, u64> =
            ended.record.connections.failed.iter().map(|(n, c)| (n.name().to_owned(), *c)).collect();
        assert_eq!(found, failed, "{}", ended.stderr);
        assert_eq!(ended.record.latency_us.handshake.as_ref().map(|summary| summary.count), Some(good));
        server.finish();
    }
}

/// A swarm hands out no messages, but it knows the bytes of its probe: so a probe takes the place of each message.
#[test]
fn a_probe_is_an_echo_in_every_shape_that_a_message_has_in_the_table_and_none_with_one_byte_changed() {
    let mut shapes = BTreeSet::new();
    let cases = conformance::cases().into_iter().filter(|case| case.is_for(Role::Client));
    let cases: Vec<Case> =
        cases.filter(|case| shape(case).is_some_and(|shape| shapes.insert(shape))).collect();
    assert!(cases.len() > 10, "only {} shapes", cases.len());
    let target = cases.len() as u64;
    for is_right in [true, false] {
        let cases = cases.clone();
        let server = WsServer::start(move |number, peer| {
            peer.open();
            while let Some(frame) = peer.next() {
                match frame.first {
                    first::BINARY => {
                        let mut echo = frame.payload;
                        let at = number % echo.len();
                        echo[at] ^= u8::from(!is_right);
                        peer.write(&carrying(&cases[number], &echo));
                    }
                    first::CLOSE => drop(peer.send(first::CLOSE, &frame.payload)),
                    _ => {}
                }
            }
        });
        let ended = run(&["--url", &server.url(), "--target", &target.to_string(), "--close", "fin"]);
        if is_right {
            ended.expect_code(0).expect_counts(target, target).expect_failed(&[]);
        } else {
            ended.expect_code(1).expect_counts(0, 0).expect_failed(&[("corrupt", target)]);
        }
        server.finish();
    }
}

/// The frames of a case whose only message is taken: their first bytes, and which of them have a payload.
fn shape(case: &Case) -> Option<Vec<(u8, bool)>> {
    let messages = case.seen.iter().filter(|seen| matches!(seen, Seen::Message(..))).count();
    let frames = case.sent.iter().map(|sent| match sent {
        Sent::Frame(first, payload) => Some((*first, !payload.is_empty())),
        _ => None,
    });
    let frames: Vec<(u8, bool)> = frames.collect::<Option<_>>()?;
    let has_carrier = frames.iter().any(|&(first, has_payload)| is_data(first) && has_payload);
    (case.end == Ending::Open && messages == 1 && has_carrier).then_some(frames)
}

/// The frames of a case with a probe as its message.
fn carrying(case: &Case, probe: &[u8]) -> Vec<u8> {
    let frames = shape(case).expect("a case of one message");
    let carriers = frames.iter().filter(|&&(first, has_payload)| is_data(first) && has_payload).count();
    let (mut out, mut carried) = (Vec::new(), 0);
    for (first, has_payload) in frames {
        let part = if has_payload && is_data(first) {
            carried += 1;
            &probe[(carried - 1) * probe.len() / carriers..carried * probe.len() / carriers]
        } else {
            &[]
        };
        // Text becomes binary, and a continuation stays one.
        write_frame(first + u8::from(first & 0x0f == 1), false, part, &mut out);
    }
    out
}

fn is_data(first: u8) -> bool {
    first & 0x0f < 8
}

#[test]
fn an_echo_cut_at_every_place_is_an_echo() {
    // The response of the handshake, then the echo, each cut in two; what stands in one segment with the end of
    // the other too.
    const CUTS: usize = 2 + 64;
    let server = WsServer::start(|number, peer| {
        if !peer.open() {
            return peer.fault("no request");
        }
        while let Some(probe) = peer.next() {
            if probe.first == first::CLOSE {
                peer.send(first::CLOSE, &probe.payload);
                return;
            }
            let mut bytes = Vec::new();
            if number % 2 == 1 {
                // Fragments and a Ping within.
                let half = probe.payload.len() / 2;
                bytes.extend(ws_support::frame(first::BINARY_BEGIN, &probe.payload[..half]));
                bytes.extend(ws_support::frame(first::PING, b"within"));
                bytes.extend(ws_support::frame(first::MORE, b""));
                bytes.extend(ws_support::frame(first::LAST, &probe.payload[half..]));
            } else {
                bytes.extend(ws_support::frame(first::BINARY, &probe.payload));
            }
            let (head, tail) = bytes.split_at((number / 2 + 1).min(bytes.len()));
            peer.write(head);
            peer.pause();
            peer.write(tail);
            if number % 2 == 1 {
                let pong = peer.next();
                let right = pong.as_ref().is_some_and(|pong| pong.payload == b"within");
                peer.expect(right, || format!("no Pong but {pong:?}"));
            }
        }
        peer.fault("no Close");
    });
    let target = 2 * (CUTS + 20);
    let ended = run(&["--url", &server.url(), "--target", &target.to_string(), "--close", "fin"]);
    ended.expect_code(0).expect_counts(target as u64, target as u64).expect_failed(&[]);
    server.finish();
}

#[test]
fn every_violation_has_its_outcome_in_the_record() {
    let cases = conformance::cases();
    for violation in Violation::ALL {
        let some = |role| cases.iter().any(|case| case.is_for(role) && case.end == Ending::Failed(violation));
        let by_bytes = violation != Violation::LateMessage;
        let expected =
            (by_bytes && violation != Violation::Unmasked, by_bytes && violation != Violation::Masked);
        assert_eq!((some(Role::Client), some(Role::Server)), expected, "{violation}");
    }
}
