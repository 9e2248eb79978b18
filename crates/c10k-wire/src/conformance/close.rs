//! Closing: Autobahn's group 7.

use super::first::{BINARY, CLOSE, LAST, PING, TEXT, TEXT_BEGIN};
use super::{Case, Ending, frame, pong, text};
use crate::ws::Violation;

const VALID_CODES: [u16; 16] =
    [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
const INVALID_CODES: [u16; 13] = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("5.5.1 Close without a code", vec![frame(CLOSE, "")], vec![], Ending::Closed(None)),
        Case::new(
            "5.5.1 a message, then Close",
            vec![frame(TEXT, "Hello"), frame(CLOSE, close(1000, b""))],
            vec![text("Hello")],
            Ending::Closed(Some(1000)),
        ),
        Case::new(
            "5.5.1 Close with a reason",
            vec![frame(CLOSE, close(1000, "vertraglich ♥".as_bytes()))],
            vec![],
            Ending::Closed(Some(1000)),
        ),
        Case::new(
            "5.5.1 Close with a reason as long as may be",
            vec![frame(CLOSE, close(1001, &[b'*'; 123]))],
            vec![],
            Ending::Closed(Some(1001)),
        ),
        Case::fails(
            "5.5 Close with a reason longer than may be",
            Violation::LongControl,
            vec![frame(CLOSE, close(1000, &[b'*'; 124]))],
        ),
        Case::fails("5.5.1 Close with half a code", Violation::HalfCloseCode, vec![frame(CLOSE, [3])]),
        Case::fails(
            "5.5.1 Close with a reason that is not UTF-8",
            Violation::InvalidCloseReason,
            vec![frame(CLOSE, close(1000, b"\xce\xba\xed\xa0\x80"))],
        ),
        Case::fails(
            "5.5.1 Close with a reason that ends within a character",
            Violation::InvalidCloseReason,
            vec![frame(CLOSE, close(1000, b"\xe2\x82"))],
        ),
        Case::new(
            "5.5.1 what follows a Close is ignored",
            vec![
                frame(PING, "p"),
                frame(CLOSE, close(1000, b"")),
                frame(TEXT, "late"),
                frame(PING, "late"),
                frame(CLOSE, close(1001, b"")),
                frame(0xff, "late and wrong"),
            ],
            vec![pong("p")],
            Ending::Closed(Some(1000)),
        ),
        Case::new(
            "7.1.5 Close within a message: the message is lost",
            vec![frame(TEXT_BEGIN, "half"), frame(CLOSE, close(1001, b"")), frame(LAST, "other half")],
            vec![],
            Ending::Closed(Some(1001)),
        ),
        Case::new(
            "7.1.7 what follows a broken rule is ignored",
            vec![frame(BINARY | 0x10, "x"), frame(TEXT, "late"), frame(CLOSE, "")],
            vec![],
            Ending::Failed(Violation::ReservedBits),
        ),
    ];
    for code in VALID_CODES {
        cases.push(Case::new(
            format!("7.4.1 Close with code {code}"),
            vec![frame(CLOSE, close(code, b""))],
            vec![],
            Ending::Closed(Some(code)),
        ));
    }
    for code in INVALID_CODES {
        for reason in [&b""[..], b"reason"] {
            cases.push(Case::fails(
                format!("7.4.2 Close with code {code} and {} bytes of reason", reason.len()),
                Violation::InvalidCloseCode,
                vec![frame(CLOSE, close(code, reason))],
            ));
        }
    }
    cases
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason].concat()
}
