//! What is spoken on a worker's connections: the wire's state machines behind one boundary.
//!
//! [`ServedConnections`](crate::stream::ServedConnections) knows sockets and does not know what is spoken; a [`Speech`] knows
//! what is spoken and no sockets. It has one output for all connections of its worker.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use c10k_wire::push::{Ask, PushKind};
use c10k_wire::raw::Answer;
use c10k_wire::ws::{self, CloseCode, ServerEnd};

use crate::counters::EndedAs;

/// An output that has grown beyond this is given back after use.
const KEPT_OUTPUT_BYTES: usize = 64 << 10;

/// What some input has come to.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) reply: Reply,
    /// It completed the handshake.
    pub(crate) opened: bool,
    /// It completed what was under way before: what is under way now has begun since.
    pub(crate) finished: bool,
    /// The connection is over once the reply is sent.
    pub(crate) over: Option<Over>,
    /// What was asked for, in this order, of what the server pushes.
    pub(crate) asks: Vec<Ask>,
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reply {
    #[default]
    Nothing,
    /// The input as it came.
    Input,
    /// What [`Speech::output`] has.
    Output,
}

/// How a connection ends by the protocol's word.
#[derive(Debug)]
pub(crate) struct Over {
    pub(crate) end: EndedAs,
    /// The peer may still be sending: closing at once would answer that with RST and lose the reply.
    pub(crate) linger: bool,
}

/// One protocol, at the end that accepts.
pub(crate) trait Speech {
    /// What is kept of each connection.
    type State: Default;

    /// A connection was accepted.
    fn begin(&mut self) -> Self::State;

    /// Bytes have arrived.
    fn hear(&mut self, state: &mut Self::State, input: &mut [u8]) -> Heard;

    /// What is to be sent of [`Reply::Output`].
    fn output(&self) -> &[u8] {
        &[]
    }

    /// Writes what stands before a message of so many bytes that is pushed.
    fn begin_frame(&self, _bytes: usize, _out: &mut Vec<u8>) {}

    /// The output has been sent or kept elsewhere.
    fn forget_output(&mut self) {}

    /// Bytes that a connection keeps beside its state.
    fn kept_bytes(&self, _state: &Self::State) -> usize {
        0
    }

    /// The peer has closed its direction.
    fn end_of_input(&self, state: &Self::State) -> EndedAs;

    /// How long a handshake may take; `None` = there is none.
    fn handshake_timeout(&self) -> Option<Duration> {
        None
    }

    /// Whether the handshake is not over.
    fn is_handshaking(&self, _state: &Self::State) -> bool {
        false
    }

    /// The handshake took too long; `None` when it was over before.
    fn give_up(&mut self, _state: &mut Self::State) -> Option<Heard> {
        None
    }

    /// How long a message may take from its first byte to its last; `None` = for ever.
    fn message_timeout(&self) -> Option<Duration> {
        None
    }

    /// Whether a message has begun and is not whole.
    fn is_within_message(&self, _state: &Self::State) -> bool {
        false
    }

    /// The message took too long; `None` when there is none.
    fn give_up_message(&mut self, _state: &mut Self::State) -> Option<Heard> {
        None
    }

    /// Between two pings; `None` = nobody is pinged.
    fn ping_every(&self) -> Option<Duration> {
        None
    }

    /// Writes a ping; false when none may be sent now.
    fn ping(&mut self, _state: &Self::State) -> bool {
        false
    }

    /// The server ends: writes what the protocol says then; false when it says nothing, or has said it.
    fn say_goodbye(&mut self, _state: &mut Self::State) -> bool {
        false
    }

    /// Whether the goodbye was said and the peer's is awaited.
    fn awaits_goodbye(&self, _state: &Self::State) -> bool {
        false
    }
}

/// Bytes as they are.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) answer: Answer,
    /// What is pushed to who asks; `None` = nobody is heard to ask.
    pub(crate) pushes: Option<PushKind>,
}

impl Speech for Raw {
    type State = ();

    fn begin(&mut self) {}

    /// A line that asks is one that comes alone, or with others that do: bytes have no other beginning and end than those
    /// of a read.
    fn hear(&mut self, (): &mut (), input: &mut [u8]) -> Heard {
        if let Some(asks) = self.pushes.and_then(|kind| lines_that_ask(kind, input)) {
            return Heard { asks, ..Heard::default() };
        }
        let reply = match self.answer {
            Answer::Echo => Reply::Input,
            Answer::Discard => Reply::Nothing,
        };
        Heard { reply, ..Heard::default() }
    }

    fn end_of_input(&self, (): &()) -> EndedAs {
        EndedAs::Closed
    }
}

/// What all workers of a WebSocket server share.
#[derive(Debug)]
pub(crate) struct WsSettings {
    pub(crate) end: ServerEnd,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) message_timeout: Option<Duration>,
    pub(crate) ping_every: Option<Duration>,
}

/// What some input asks for; `None` when anything of it is no line that asks.
fn lines_that_ask(kind: PushKind, input: &[u8]) -> Option<Vec<Ask>> {
    let lines = input.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
    lines.map(|line| Ask::of(kind, line.strip_suffix(b"\r").unwrap_or(line))).collect()
}

/// WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket {
    settings: Arc<WsSettings>,
    answer: Answer,
    /// What is pushed to who asks; `None` = nobody is heard to ask.
    pushes: Option<PushKind>,
    output: Vec<u8>,
}

impl WebSocket {
    pub(crate) fn new(settings: Arc<WsSettings>, answer: Answer, pushes: Option<PushKind>) -> Self {
        Self { settings, answer, pushes, output: Vec::new() }
    }

    fn reply(&self) -> Reply {
        if self.output.is_empty() { Reply::Nothing } else { Reply::Output }
    }
}

impl Speech for WebSocket {
    type State = ws::Connection;

    fn begin(&mut self) -> ws::Connection {
        self.settings.end.accept()
    }

    fn hear(&mut self, state: &mut ws::Connection, input: &mut [u8]) -> Heard {
        let end = &self.settings.end;
        let mut asks = Vec::new();
        let received = match (self.answer, self.pushes) {
            (Answer::Echo, None) => end.receive(state, input, &mut self.output, ws::echo),
            (Answer::Discard, _) => end.receive(state, input, &mut self.output, ws::discard),
            (Answer::Echo, Some(kind)) => end.receive(state, input, &mut self.output, |message, out| {
                match Ask::of(kind, message.payload).filter(|_| message.kind == ws::Kind::Text) {
                    Some(ask) => asks.push(ask),
                    None => ws::echo(message, out),
                }
            }),
        };
        let (opened, finished) = (received.opened, received.finished);
        Heard { reply: self.reply(), opened, finished, over: received.end.map(over), asks }
    }

    fn output(&self) -> &[u8] {
        &self.output
    }

    fn forget_output(&mut self) {
        self.output.clear();
        if self.output.capacity() > KEPT_OUTPUT_BYTES {
            self.output.shrink_to(KEPT_OUTPUT_BYTES);
        }
    }

    fn begin_frame(&self, bytes: usize, out: &mut Vec<u8>) {
        ws::begin_binary(bytes, out);
    }

    fn kept_bytes(&self, state: &ws::Connection) -> usize {
        state.heap_bytes()
    }

    /// The end of TCP without a Close frame is an abnormal closure (RFC 6455 section 7.1.5).
    fn end_of_input(&self, state: &ws::Connection) -> EndedAs {
        let name = if state.is_handshaking() { "closed-in-handshake" } else { "close-1006" };
        EndedAs::Named(Cow::Borrowed(name))
    }

    fn handshake_timeout(&self) -> Option<Duration> {
        self.settings.handshake_timeout
    }

    fn is_handshaking(&self, state: &ws::Connection) -> bool {
        state.is_handshaking()
    }

    fn give_up(&mut self, state: &mut ws::Connection) -> Option<Heard> {
        let settings = Arc::clone(&self.settings);
        let end = settings.end.give_up(state, &mut self.output)?;
        Some(Heard { reply: self.reply(), over: Some(over(end)), ..Heard::default() })
    }

    fn message_timeout(&self) -> Option<Duration> {
        self.settings.message_timeout
    }

    fn is_within_message(&self, state: &ws::Connection) -> bool {
        state.is_within()
    }

    fn give_up_message(&mut self, state: &mut ws::Connection) -> Option<Heard> {
        let end = self.settings.end.give_up_message(state, &mut self.output)?;
        Some(Heard { reply: self.reply(), over: Some(over(end)), ..Heard::default() })
    }

    fn ping_every(&self) -> Option<Duration> {
        self.settings.ping_every
    }

    fn ping(&mut self, state: &ws::Connection) -> bool {
        if state.is_open() {
            self.settings.end.output(&mut self.output).ping(b"");
        }
        state.is_open()
    }

    fn say_goodbye(&mut self, state: &mut ws::Connection) -> bool {
        let Some(going_away) = CloseCode::new(1001) else { return false };
        state.close(going_away, "the server ends", &mut self.settings.end.output(&mut self.output))
    }

    fn awaits_goodbye(&self, state: &ws::Connection) -> bool {
        state.is_closing()
    }
}

/// A closing handshake, and a question that was answered, are ends in good order. After anything else the peer
/// may be in the middle of saying more.
fn over(end: ws::Ended) -> Over {
    let good = match end {
        ws::Ended::Closed(code) => !code.is_some_and(|code| (1002..3000).contains(&code.get())),
        ws::Ended::Healthy => true,
        ws::Ended::Violated(_) | ws::Ended::Refused(_) | ws::Ended::Failed(_) => false,
    };
    let linger = !matches!(end, ws::Ended::Closed(_));
    Over { end: if good { EndedAs::Closed } else { EndedAs::Named(end.name()) }, linger }
}
