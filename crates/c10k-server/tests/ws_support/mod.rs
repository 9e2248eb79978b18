//! A WebSocket client of the test's own, that can do everything wrong.

#![allow(dead_code, reason = "every test file uses its own part of this vocabulary")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use c10k_wire::conformance::{self, SentFrame, first, write_frame};

use crate::common::{Server, connect};

/// A WebSocket server on a port of its own.
#[track_caller]
pub(crate) fn start(arguments: &[&str]) -> Server {
    Server::start(&[&["--protocol", "ws"], arguments].concat())
}

/// A connection that is open in the protocol's sense.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    /// Connects and shakes hands.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::on(connect(address))
    }

    /// Shakes hands on a connection.
    #[track_caller]
    pub(crate) fn on(mut stream: TcpStream) -> Self {
        stream.write_all(&conformance::sample_request()).unwrap();
        let head = read_head(&stream);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains(conformance::SAMPLE_ACCEPT), "{head}");
        Self { stream }
    }

    /// Sends a frame with a mask.
    #[track_caller]
    pub(crate) fn send(&self, first: u8, payload: &[u8]) {
        (&self.stream).write_all(&frame(first, payload)).unwrap();
    }

    /// The next frame.
    #[track_caller]
    pub(crate) fn next(&self) -> SentFrame {
        read_frame(&self.stream).expect("a frame")
    }

    /// Sends a message and expects it back.
    #[track_caller]
    pub(crate) fn expect_echo(&self, payload: &[u8]) {
        self.send(first::BINARY, payload);
        let back = self.next();
        assert_eq!((back.first, back.payload.len()), (first::BINARY, payload.len()));
        assert!(back.payload == payload && !back.is_masked, "other bytes came back");
    }

    /// Expects a Close with this code and then the end of the stream.
    #[track_caller]
    pub(crate) fn expect_close(&self, code: u16) {
        let close = self.next();
        assert_eq!((close.first, close.payload.get(..2)), (first::CLOSE, Some(&code.to_be_bytes()[..])));
        self.expect_end();
    }

    /// Expects the end of the stream, in whatever way.
    #[track_caller]
    pub(crate) fn expect_end(&self) {
        let rest = read_to_end(&self.stream);
        assert!(rest.is_empty(), "more comes: {rest:?}");
    }

    /// Closes in good order.
    #[track_caller]
    pub(crate) fn close(self) {
        self.send(first::CLOSE, &1000_u16.to_be_bytes());
        self.expect_close(1000);
    }
}

/// A frame with a mask.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(first, true, payload, &mut bytes);
    bytes
}

/// What a server says up to the empty line, read byte by byte so that nothing behind it is taken.
#[track_caller]
pub(crate) fn read_head(mut stream: &TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut byte).unwrap_or_else(|error| panic!("{error} behind {}", lossy(&head)));
        assert!(count == 1, "the end came behind {}", lossy(&head));
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// All that comes until the stream ends. A peer that resets has ended it too.
#[track_caller]
pub(crate) fn read_to_end(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error} behind {bytes:?}"),
        _ => bytes,
    }
}

/// Sends what the peer still takes; whether that was all.
pub(crate) fn send_what_is_taken(mut stream: &TcpStream, bytes: &[u8]) -> bool {
    match stream.write_all(bytes) {
        Ok(()) => true,
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Reads one frame; `None` at the end of the stream.
#[track_caller]
pub(crate) fn read_frame(mut stream: &TcpStream) -> Option<SentFrame> {
    let mut bytes = vec![0; 2];
    if stream.read(&mut bytes[..1]).unwrap() == 0 {
        return None;
    }
    let mut more = |count: usize, bytes: &mut Vec<u8>| {
        let from = bytes.len() - count;
        stream.read_exact(&mut bytes[from..]).unwrap();
    };
    more(1, &mut bytes);
    let long = match bytes[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    bytes.resize(2 + long, 0);
    more(long, &mut bytes);
    let short = usize::from(bytes[1] & 0x7f);
    let length = bytes[2..].iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
    let length = if long == 0 { short } else { length } + if bytes[1] & 0x80 != 0 { 4 } else { 0 };
    let head = bytes.len();
    bytes.resize(head + length, 0);
    more(length, &mut bytes);
    Some(conformance::read_frames(&bytes).unwrap().remove(0))
}

/// The status and the whole of a response that ends with its connection.
#[track_caller]
pub(crate) fn read_refusal(stream: &TcpStream) -> (u16, String) {
    let text = lossy(&read_to_end(stream));
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|s| s.parse().ok());
    (status.unwrap_or_else(|| panic!("no status: '{text}'")), text)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
