//! A client of what a server pushes, over raw TCP or WebSocket.

#![allow(dead_code, reason = "every test file uses its own part of this vocabulary")]

use std::io::{Read, Write};
use std::net::TcpStream;

use c10k_wire::conformance::first;
use c10k_wire::push::{Ask, Content, HEADER_BYTES, PushHeader, PushKind, PushReader};

use crate::common::{Server, expect_echo, pattern};
use crate::ws_support::Client;

/// Both protocols, by their flag.
pub(crate) const BOTH: [&str; 2] = ["raw", "ws"];

/// A connection to a server that pushes.
pub(crate) struct Viewer {
    pub(crate) stream: TcpStream,
    is_ws: bool,
    kind: PushKind,
    reader: PushReader,
    content: Content,
    pub(crate) payload_bytes: u64,
    pub(crate) skipped: u64,
}

impl Viewer {
    #[track_caller]
    pub(crate) fn open(server: &Server, protocol: &str, kind: PushKind) -> Self {
        Self::on(server.connect(), protocol, kind)
    }

    #[track_caller]
    pub(crate) fn on(stream: TcpStream, protocol: &str, kind: PushKind) -> Self {
        let is_ws = protocol == "ws";
        let stream = if is_ws { Client::on(stream).stream } else { stream };
        let (reader, content) = (PushReader::new(kind), Content::default());
        Self { stream, is_ws, kind, reader, content, payload_bytes: 0, skipped: 0 }
    }

    /// Asks, to get other frames than before.
    #[track_caller]
    pub(crate) fn begin(&mut self) {
        self.reader = PushReader::new(self.kind);
        self.payload_bytes = 0;
        self.ask(Ask::Begin);
    }

    #[track_caller]
    pub(crate) fn ask(&self, ask: Ask) {
        let word = ask.word(self.kind);
        if self.is_ws {
            Client { stream: self.stream.try_clone().unwrap() }.send(first::TEXT, word.as_bytes());
        } else {
            (&self.stream).write_all(format!("{word}\n").as_bytes()).unwrap();
        }
    }

    /// The next frame, checked byte for byte.
    #[track_caller]
    pub(crate) fn next(&mut self) -> PushHeader {
        let bytes = if self.is_ws { self.next_message() } else { self.next_raw() };
        let read = self.reader.read(&self.content, &bytes).expect("a right frame");
        assert_eq!(read.taken, bytes.len(), "a message is one frame");
        self.payload_bytes += read.payload_bytes as u64;
        self.skipped += read.skipped;
        read.whole.expect("a whole frame")
    }

    fn next_message(&mut self) -> Vec<u8> {
        let frame = Client { stream: self.stream.try_clone().unwrap() }.next();
        assert_eq!((frame.first, frame.is_masked), (first::BINARY, false), "{:?}", frame.payload.len());
        frame.payload
    }

    fn next_raw(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        (&self.stream).read_exact(&mut bytes).unwrap();
        let payload = u32::from_be_bytes(bytes[24..28].try_into().unwrap()) as usize;
        bytes.resize(HEADER_BYTES + payload, 0);
        (&self.stream).read_exact(&mut bytes[HEADER_BYTES..]).unwrap();
        bytes
    }

    /// The frames up to the last one.
    #[track_caller]
    pub(crate) fn up_to_the_last(&mut self) -> Vec<PushHeader> {
        let mut headers = Vec::new();
        while headers.last().is_none_or(|header: &PushHeader| !header.is_last) {
            headers.push(self.next());
        }
        assert!(self.reader.is_over());
        headers
    }

    /// Sends something and expects it back, where nothing is pushed.
    #[track_caller]
    pub(crate) fn expect_echo(&self, bytes: usize) {
        let bytes = pattern(bytes);
        if self.is_ws {
            Client { stream: self.stream.try_clone().unwrap() }.expect_echo(&bytes);
        } else {
            expect_echo(&self.stream, &bytes);
        }
    }

    /// Sends what is to be echoed.
    #[track_caller]
    pub(crate) fn say(&self, bytes: &[u8]) {
        if self.is_ws {
            Client { stream: self.stream.try_clone().unwrap() }.send(first::BINARY, bytes);
        } else {
            (&self.stream).write_all(bytes).unwrap();
        }
    }
}
