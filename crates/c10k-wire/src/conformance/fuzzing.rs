//! What fuzzing asks of both ends: any bytes, in any reads.

use super::{SAMPLE_ACCEPT, SentFrame, read_frames, responses, sample_request};
use crate::ws::{ClientEnd, ClientRequest, Connection, End, Limits, Received, Role, ServerEnd, Url, echo};

/// What a connection may keep beside what its limits allow: a box, and what a `Vec` rounds up to.
const OVERHEAD_BYTES: usize = 512;

/// What one end has made of an input.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    opened: bool,
    end: Option<End>,
    response: Vec<u8>,
    frames: Vec<SentFrame>,
}

/// Gives `data` to a server. Its first byte says how the rest is cut into reads and whether a handshake stands
/// in front of it, its second how narrow the limits are.
///
/// # Panics
/// When the server says something else to the same bytes in one read, keeps more than its limits allow, or
/// says what is not well-formed.
pub fn server(data: &[u8]) {
    let Some((input, cut, limits)) = split(data, &sample_request()) else { return };
    let run = |cut: usize| {
        let end = ServerEnd::new(limits, Default::default());
        drive(Role::Server, &limits, end.accept(), &input, cut, |connection, input, out| {
            end.receive(connection, input, out, echo)
        })
    };
    assert_eq!(run(cut), run(usize::MAX));
}

/// Gives `data` to a client, as [`server`].
///
/// # Panics
/// As [`server`].
pub fn client(data: &[u8]) {
    let url = Url::parse("ws://server.example.com/chat").expect("a URL");
    let request = ClientRequest::new(&url, &["a".to_owned(), "b".to_owned()], &[]).expect("a request");
    let response = responses(SAMPLE_ACCEPT).swap_remove(0).bytes;
    let Some((input, cut, limits)) = split(data, &response) else { return };
    let run = |cut: usize| {
        let mut end = ClientEnd::new(limits, request.clone());
        let connection = end.expecting(SAMPLE_ACCEPT.as_bytes());
        drive(Role::Client, &limits, connection, &input, cut, |connection, input, out| {
            end.receive(connection, input, out, echo)
        })
    };
    assert_eq!(run(cut), run(usize::MAX));
}

fn split(data: &[u8], opener: &[u8]) -> Option<(Vec<u8>, usize, Limits)> {
    let [how, narrow, rest @ ..] = data else { return None };
    let limits = match narrow % 3 {
        0 => Limits::default(),
        1 => Limits { max_frame_bytes: 200, max_message_bytes: 300, max_fragments: 4, ..Limits::default() },
        _ => Limits { max_handshake_bytes: 256, max_headers: 6, ..Limits::default() },
    };
    let opener = if how & 0x80 == 0 { opener } else { &[] };
    Some(([opener, rest].concat(), usize::from(how & 0x7f) + 1, limits))
}

fn drive(
    role: Role,
    limits: &Limits,
    mut connection: Connection,
    input: &[u8],
    cut: usize,
    mut receive: impl FnMut(&mut Connection, &mut [u8], &mut Vec<u8>) -> Received,
) -> Verdict {
    let most = limits.max_message_bytes.max(limits.max_handshake_bytes) as usize;
    let (mut opened, mut end, mut out) = (false, None, Vec::new());
    let mut pings = 0;
    for chunk in input.chunks(cut) {
        let before = out.len();
        let received = receive(&mut connection, &mut chunk.to_vec(), &mut out);
        assert!(end.is_none() || received == Received::default(), "something after the end");
        opened |= received.opened;
        end = end.or(received.end);
        pings += received.pings;
        let written = out.len() - before;
        // A client's frames are longer by their masks: at the worst, six bytes for two.
        let growth = if role == Role::Server { 1 } else { 3 };
        let allowed = growth * chunk.len() + most + 2 * OVERHEAD_BYTES;
        assert!(written <= allowed, "{written} bytes written for {}", chunk.len());
        let kept = connection.heap_bytes();
        let came = 2 * input.len();
        assert!(kept <= came.min(2 * most) + OVERHEAD_BYTES, "{kept} bytes kept");
        assert!(!connection.is_idle() || kept == 0, "{kept} bytes kept by an idle connection");
    }
    assert_eq!(connection.is_ended(), end.is_some());
    assert!(opened || connection.is_handshaking() || end.is_some());
    let head = if role == Role::Server && (opened || end.is_some()) {
        out.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| at + 4)
    } else {
        0
    };
    let frames = if opened { out.split_off(head) } else { Vec::new() };
    let mut frames = read_frames(&frames).expect("whole frames");
    assert!(frames.iter().all(|frame| frame.is_masked == (role == Role::Client)));
    // Of many Pings in one read not all are answered, which depends on the cut.
    if pings > 16 {
        frames.retain(|frame| frame.first != super::first::PONG);
    }
    Verdict { opened, end, response: out, frames }
}
