//! One end under test, and what it says.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use c10k_wire::conformance::{self, Seen, first};
use c10k_wire::ws::{
    ClientEnd, ClientRequest, Connection, Ended, Kind, Limits, Message, Output, Received, Role, ServerEnd,
    Url,
};

/// An end that echoes, with what it has said and handed out.
pub(crate) struct Peer {
    role: Role,
    server: ServerEnd,
    client: ClientEnd,
    pub(crate) connection: Connection,
    pub(crate) out: Vec<u8>,
    pub(crate) messages: Vec<Seen>,
    pub(crate) opened: bool,
    pub(crate) pings: u32,
    pub(crate) pongs: u32,
    pub(crate) end: Option<Ended>,
}

impl Peer {
    /// One before its handshake, and what opens it.
    pub(crate) fn handshaking(role: Role, limits: Limits) -> (Self, Vec<u8>) {
        let server = ServerEnd::new(limits, Default::default());
        let client = client_end(limits);
        let mut request = Vec::new();
        let (connection, opener) = match role {
            Role::Server => (server.accept(), conformance::sample_request()),
            Role::Client => {
                let connection = client.connect(&mut request);
                let responses = conformance::responses(&accept_of(&request));
                (connection, responses[0].bytes.clone())
            }
        };
        let peer = Self {
            role,
            server,
            client,
            connection,
            out: Vec::new(),
            messages: Vec::new(),
            opened: false,
            pings: 0,
            pongs: 0,
            end: None,
        };
        (peer, opener)
    }

    /// One whose handshake is over.
    pub(crate) fn open(role: Role, limits: Limits) -> Self {
        let (mut peer, opener) = Self::handshaking(role, limits);
        peer.receive(&opener);
        assert!(peer.opened && peer.connection.is_idle() && peer.connection.heap_bytes() == 0);
        peer.out.clear();
        peer
    }

    /// Gives it some input; says whether that ended it.
    pub(crate) fn receive(&mut self, input: &[u8]) -> Option<Ended> {
        let mut input = input.to_vec();
        let mut kept = Vec::new();
        let note = |message: &mut Message<'_>, out: &mut Output<'_>| {
            kept.push(Seen::Message(message.kind, message.payload.to_vec()));
            c10k_wire::ws::echo(message, out);
        };
        let (connection, out) = (&mut self.connection, &mut self.out);
        let was_handshaking = connection.is_handshaking();
        let received = match self.role {
            Role::Server => self.server.receive(connection, &mut input, out, note),
            Role::Client => self.client.receive(connection, &mut input, out, note),
        };
        if was_handshaking && self.role == Role::Server && received.opened {
            let head = out.windows(4).position(|window| window == b"\r\n\r\n").expect("a response");
            out.drain(..head + 4);
        }
        assert_eq!(received.messages as usize, kept.len());
        assert!(self.end.is_none() || received == Received::default(), "something after the end");
        self.messages.extend(kept);
        self.opened |= received.opened;
        self.pings += received.pings;
        self.pongs += received.pongs;
        self.end = self.end.or(received.end);
        received.end
    }

    pub(crate) fn close(&mut self, code: c10k_wire::ws::CloseCode, reason: &str) -> bool {
        let (connection, out) = (&mut self.connection, &mut self.out);
        match self.role {
            Role::Server => connection.close(code, reason, &mut self.server.output(out)),
            Role::Client => connection.close(code, reason, &mut self.client.output(out)),
        }
    }

    /// What it has said so far: messages and Pongs, then the code of its Close, if it has sent one. Anything
    /// that it should not say makes it panic.
    #[track_caller]
    pub(crate) fn seen(&self) -> (Vec<Seen>, Option<Option<u16>>) {
        let mut frames = conformance::read_frames(&self.out).expect("whole frames");
        assert!(frames.iter().all(|frame| frame.is_masked == (self.role == Role::Client)));
        let close = frames.pop_if(|frame| frame.first == first::CLOSE).map(|frame| {
            let (code, reason) = frame.payload.split_at_checked(2)?;
            std::str::from_utf8(reason).expect("words");
            Some(u16::from_be_bytes([code[0], code[1]]))
        });
        let seen = frames.into_iter().map(|frame| match frame.first {
            first::TEXT => Seen::Message(Kind::Text, frame.payload),
            first::BINARY => Seen::Message(Kind::Binary, frame.payload),
            first::PONG => Seen::Pong(frame.payload),
            other => panic!("an end says {other:#x}"),
        });
        (seen.collect(), close)
    }
}

/// A client that offers the subprotocols `a` and `b`.
pub(crate) fn client_end(limits: Limits) -> ClientEnd {
    let url = Url::parse("ws://server.example.com/chat").unwrap();
    let request = ClientRequest::new(&url, &["a".to_owned(), "b".to_owned()], &[]).unwrap();
    ClientEnd::new(limits, request)
}

/// What answers the key in a request.
pub(crate) fn accept_of(request: &[u8]) -> String {
    let text = std::str::from_utf8(request).unwrap();
    let key = text.split("Sec-WebSocket-Key: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    tungstenite::handshake::derive_accept_key(key.as_bytes())
}
