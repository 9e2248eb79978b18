//! Fragmentation, text, limits.

use super::first::{BINARY, BINARY_BEGIN, LAST, MORE, PING, PONG, TEXT, TEXT_BEGIN};
use super::{Case, Ending, Sent, binary, frame, pong, text};
use crate::ws::Violation;

/// Valid UTF-8: one to four bytes, the first and last of each length, noncharacters.
const VALID: &[&[u8]] = &[
    b"Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
    b"\x00",
    b"\x7f",
    b"\xc2\x80",
    b"\xdf\xbf",
    b"\xe0\xa0\x80",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
    b"\xef\xbf\xbe",
    b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80",
    b"\xf0\x9f\xbf\xbf",
    b"\xf4\x8f\xbf\xbf",
];

/// Not UTF-8: stray and missing continuations, overlong forms, surrogates, beyond U+10FFFF, bytes that never occur.
const INVALID: &[&[u8]] = &[
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
    b"\x80",
    b"\xbf",
    b"\x80\xbf\x80\xbf",
    b"\xc0 \xc1 ",
    b"\xe0 \xef ",
    b"\xf0 \xf7 ",
    b"\xc3",
    b"\xe0\x80",
    b"\xe2\x82",
    b"\xf0\x80\x80",
    b"\xf0\x9f\x98",
    b"\xfe",
    b"\xff",
    b"\xfe\xfe\xff\xff",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xed\xad\xbf",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf4\x90\x80\x80",
    b"\xf7\xbf\xbf\xbf",
    b"\xc3\x28",
    b"a\xe2\x28\xa1",
    b"a\xf0\x9f\x28\x80",
];

pub(super) fn cases() -> Vec<Case> {
    [fragments(), utf8(), limits()].concat()
}

/// Autobahn's group 5.
fn fragments() -> Vec<Case> {
    let stray = Violation::StrayContinuation;
    let interrupted = Violation::InterruptedMessage;
    vec![
        Case::new(
            "5.4 text in two frames",
            vec![frame(TEXT_BEGIN, "fragment1"), frame(LAST, "fragment2")],
            vec![text("fragment1fragment2")],
            Ending::Open,
        ),
        Case::new(
            "5.4 binary in three frames, then text",
            vec![frame(BINARY_BEGIN, [1]), frame(MORE, [2]), frame(LAST, [3]), frame(TEXT, "x")],
            vec![binary([1, 2, 3]), text("x")],
            Ending::Open,
        ),
        Case::new(
            "5.4 a Ping between two frames is answered before the message is whole",
            vec![frame(TEXT_BEGIN, "a"), frame(PING, "ping"), frame(LAST, "b")],
            vec![pong("ping"), text("ab")],
            Ending::Open,
        ),
        Case::new(
            "5.4 Pings and Pongs between many frames",
            vec![
                frame(TEXT_BEGIN, "a"),
                frame(MORE, "b"),
                frame(PING, "1"),
                frame(MORE, ""),
                frame(PONG, "?"),
                frame(MORE, "c"),
                frame(PING, "2"),
                frame(LAST, "d"),
            ],
            vec![pong("1"), pong("2"), text("abcd")],
            Ending::Open,
        ),
        Case::new(
            "5.4 a message of empty frames only",
            vec![frame(TEXT_BEGIN, ""), frame(MORE, ""), frame(LAST, ""), frame(BINARY, "")],
            vec![text(""), binary("")],
            Ending::Open,
        ),
        Case::new(
            "5.4 an empty frame at the beginning and at the end",
            vec![frame(BINARY_BEGIN, ""), frame(MORE, "middle"), frame(LAST, "")],
            vec![binary("middle")],
            Ending::Open,
        ),
        Case::fails("5.4 the last of nothing", stray, vec![frame(LAST, "x"), frame(TEXT, "y")]),
        Case::fails("5.4 the middle of nothing", stray, vec![frame(MORE, "x"), frame(TEXT, "y")]),
        Case::new(
            "5.4 a continuation after a whole message",
            vec![frame(TEXT, "whole"), frame(LAST, "more")],
            vec![text("whole")],
            Ending::Failed(stray),
        ),
        Case::new(
            "5.4 a continuation after a message in frames",
            vec![frame(TEXT_BEGIN, "a"), frame(LAST, "b"), frame(LAST, "c")],
            vec![text("ab")],
            Ending::Failed(stray),
        ),
        Case::fails(
            "5.4 text within text",
            interrupted,
            vec![frame(TEXT_BEGIN, "a"), frame(TEXT, "b"), frame(LAST, "c")],
        ),
        Case::fails(
            "5.4 binary begins within text",
            interrupted,
            vec![frame(TEXT_BEGIN, "a"), frame(BINARY_BEGIN, "b")],
        ),
        Case::new(
            "5.4 text within text, behind an answered Ping",
            vec![frame(TEXT_BEGIN, "a"), frame(PING, "p"), frame(TEXT_BEGIN, "b")],
            vec![pong("p")],
            Ending::Failed(interrupted),
        ),
    ]
}

/// Autobahn's group 6.
fn utf8() -> Vec<Case> {
    let mut cases = Vec::new();
    for (n, bytes) in VALID.iter().enumerate() {
        let name = format!("8.1 valid text {n}");
        cases.push(Case::new(&name, vec![frame(TEXT, bytes)], vec![text(bytes)], Ending::Open));
        let name = format!("8.1 valid text {n} in frames of one byte");
        cases.push(Case::new(name, in_bytes(bytes), vec![text(bytes)], Ending::Open));
    }
    for (n, bytes) in INVALID.iter().enumerate() {
        let (fault, name) = (Violation::InvalidText, format!("8.1 invalid text {n}"));
        cases.push(Case::fails(&name, fault, vec![frame(TEXT, bytes)]));
        cases.push(Case::fails(format!("{name} in frames of one byte"), fault, in_bytes(bytes)));
        let name = format!("5.6 binary needs not be text {n}");
        cases.push(Case::new(name, vec![frame(BINARY, bytes)], vec![binary(bytes)], Ending::Open));
    }
    cases.push(Case::fails(
        "8.1 text fails at its first wrong byte, within a frame that never ends",
        Violation::InvalidText,
        vec![Sent::Stated(TEXT, 126, 1000, b"\xce\xba\xf4\x90".to_vec())],
    ));
    cases.push(Case::fails(
        "8.1 text fails in its first frame, whatever would follow",
        Violation::InvalidText,
        vec![frame(TEXT_BEGIN, b"\xce\xba\xed\xa0")],
    ));
    cases.push(Case::fails(
        "8.1 a character that is cut off by the end of the message",
        Violation::InvalidText,
        vec![frame(TEXT_BEGIN, "abc"), frame(MORE, b"\xf0\x9f"), frame(LAST, "")],
    ));
    cases.push(Case::new(
        "8.1 a character over three frames, with a Ping within",
        vec![
            frame(TEXT_BEGIN, b"\xf0\x9f"),
            frame(PING, b"\xff"),
            frame(MORE, b"\x98"),
            frame(LAST, b"\x80"),
        ],
        vec![pong(b"\xff"), text("😀")],
        Ending::Open,
    ));
    cases
}

/// Autobahn's groups 9 and 10, as far as they are rules and not speed.
fn limits() -> Vec<Case> {
    let half = vec![b'h'; 1 << 19];
    let most = 1 << 16;
    vec![
        Case::new(
            "10.4 a message of exactly the limit in two frames",
            vec![frame(BINARY_BEGIN, &half), frame(LAST, &half)],
            vec![binary([&half[..], &half].concat())],
            Ending::Open,
        ),
        Case::fails(
            "10.4 frames that are a message over the limit together",
            Violation::MessageTooBig,
            vec![frame(TEXT_BEGIN, &half), frame(MORE, &half[1..]), Sent::Stated(LAST, 126, 126, Vec::new())],
        ),
        Case::new(
            "10.4 as many frames as a message may have",
            vec![frame(BINARY_BEGIN, "a"), Sent::Times(most - 2, MORE, Vec::new()), frame(LAST, "b")],
            vec![binary("ab")],
            Ending::Open,
        ),
        Case::fails(
            "10.4 more frames than a message may have, all but one of them empty",
            Violation::TooManyFragments,
            vec![frame(BINARY_BEGIN, "a"), Sent::Times(most, MORE, Vec::new())],
        ),
    ]
}

/// A text message in frames of one byte.
fn in_bytes(bytes: &[u8]) -> Vec<Sent> {
    let last = bytes.len() - 1;
    let first = |at| if at == 0 { TEXT_BEGIN } else { MORE };
    let fin = |at| if at == last { LAST } else { 0 };
    bytes.iter().enumerate().map(|(at, &byte)| frame(first(at) | fin(at), [byte])).collect()
}
