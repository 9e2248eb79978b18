//! Framing, lengths, reserved bits, opcodes, masking, Pings and Pongs.

use super::first::{BINARY, BINARY_BEGIN, CLOSE, LAST, PING, PONG, TEXT, TEXT_BEGIN};
use super::{Case, Ending, Sent, binary, frame, pong, text};
use crate::ws::{Role, Violation};

/// The default limits of a frame and a message, bytes.
const MOST: u64 = 1 << 20;

pub(super) fn cases() -> Vec<Case> {
    [sizes(), lengths(), reserved(), masking(), pings()].concat()
}

/// Autobahn's group 1.
fn sizes() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in [0, 1, 15, 16, 17, 125, 126, 127, 128, 4096, 65535, 65536, 65537, MOST as usize] {
        let payload = vec![b'*'; size];
        let name = format!("5.2 text of {size} bytes");
        cases.push(Case::new(name, vec![frame(TEXT, &payload)], vec![text(&payload)], Ending::Open));
        let payload = vec![0xfe; size];
        let name = format!("5.2 binary of {size} bytes");
        cases.push(Case::new(name, vec![frame(BINARY, &payload)], vec![binary(&payload)], Ending::Open));
    }
    cases.push(Case::new(
        "5.7 messages one behind the other",
        vec![frame(TEXT, "Hello"), frame(BINARY, [0, 1]), frame(TEXT, ""), frame(TEXT, "again")],
        vec![text("Hello"), binary([0, 1]), text(""), text("again")],
        Ending::Open,
    ));
    cases
}

/// Lengths that must be refused on sight: no payload follows.
fn lengths() -> Vec<Case> {
    let stated = |form, length| vec![Sent::Stated(BINARY, form, length, Vec::new())];
    let mut cases = Vec::new();
    for (form, length) in [(126, 0), (126, 1), (126, 125), (127, 0), (127, 125), (127, 126), (127, 65535)] {
        let name = format!("5.2 length {length} in the form of {form}");
        cases.push(Case::fails(name, Violation::NonMinimalLength, stated(form, length)));
    }
    for length in [1 << 63, u64::MAX] {
        let name = format!("5.2 length {length}, whose highest bit is set");
        cases.push(Case::fails(name, Violation::ImpossibleLength, stated(127, length)));
    }
    for length in [MOST + 1, 1 << 31, 1 << 32, (1 << 32) + 5, 1 << 62, (1 << 63) - 1] {
        let name = format!("10.4 length {length}, over the limit");
        cases.push(Case::fails(name, Violation::FrameTooBig, stated(127, length)));
    }
    for (form, length) in [(126, 126), (127, 1 << 62), (126, 5)] {
        let sent = vec![Sent::Stated(PING, form, length, Vec::new())];
        cases.push(Case::fails(
            format!("5.5 Ping of {length} bytes in the form of {form}"),
            Violation::LongControl,
            sent,
        ));
    }
    cases
}

/// Autobahn's groups 3 and 4.
fn reserved() -> Vec<Case> {
    let mut cases = Vec::new();
    for bits in 1..8_u8 {
        for (first, what) in [(TEXT, "text"), (BINARY_BEGIN, "binary"), (CLOSE, "Close"), (PING, "Ping")] {
            let sent = vec![frame(TEXT, "before"), frame(first | bits << 4, "x"), frame(TEXT, "after")];
            cases.push(Case::new(
                format!("5.2 {what} with reserved bits {bits:03b}"),
                sent,
                vec![text("before")],
                Ending::Failed(Violation::ReservedBits),
            ));
        }
    }
    cases.push(Case::fails(
        "5.2 a reserved bit within a message",
        Violation::ReservedBits,
        vec![frame(TEXT_BEGIN, "a"), frame(LAST | 0x40, "b")],
    ));
    for opcode in (3..8).chain(11..16_u8) {
        for fin in [0, 0x80] {
            for payload in ["", "abc"] {
                cases.push(Case::new(
                    format!("5.2 opcode {opcode}, FIN {}, {} bytes", fin >> 7, payload.len()),
                    vec![frame(PING, "p"), frame(opcode | fin, payload), frame(PING, "after")],
                    vec![pong("p")],
                    Ending::Failed(Violation::ReservedOpcode),
                ));
            }
        }
    }
    cases
}

fn masking() -> Vec<Case> {
    let mut cases = Vec::new();
    for (first, what) in [(TEXT, "text"), (BINARY, "binary"), (PING, "Ping"), (CLOSE, "Close")] {
        for payload in ["", "ab"] {
            let sent = || vec![Sent::WronglyMasked(first, payload.into())];
            let size = payload.len();
            cases.push(
                Case::fails(format!("5.1 {what} of {size} without a mask"), Violation::Unmasked, sent())
                    .only_to(Role::Server),
            );
            cases.push(
                Case::fails(format!("5.1 {what} of {size} with a mask"), Violation::Masked, sent())
                    .only_to(Role::Client),
            );
        }
    }
    cases
}

/// Autobahn's group 2.
fn pings() -> Vec<Case> {
    let whole = (0..125).collect::<Vec<u8>>();
    let mut cases = Vec::new();
    for payload in [&b""[..], b"Hello", &[0, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0, 0xff], &whole] {
        cases.push(Case::new(
            format!("5.5.3 Ping of {} bytes", payload.len()),
            vec![frame(PING, payload)],
            vec![pong(payload)],
            Ending::Open,
        ));
    }
    cases.push(Case::fails("5.5 Ping of 126 bytes", Violation::LongControl, vec![frame(PING, [0xfe; 126])]));
    cases.push(Case::fails("5.5 Pong of 126 bytes", Violation::LongControl, vec![frame(PONG, [0xfe; 126])]));
    for (first, what) in [(PING, "Ping"), (PONG, "Pong"), (CLOSE, "Close")] {
        cases.push(Case::fails(
            format!("5.5 {what} that is not final"),
            Violation::FragmentedControl,
            vec![frame(first & 0x7f, ""), frame(LAST, "")],
        ));
    }
    cases.push(Case::new(
        "5.5.3 Pongs that nobody asked for are no reason for anything",
        vec![frame(PONG, ""), frame(PONG, "unasked"), frame(PING, "a"), frame(PONG, [0xff; 125])],
        vec![pong("a")],
        Ending::Open,
    ));
    cases.push(Case::new(
        "5.5.3 ten Pings, ten Pongs in their order",
        (0..10).map(|n| frame(PING, [n])).collect(),
        (0..10).map(|n| pong([n])).collect(),
        Ending::Open,
    ));
    cases
}
