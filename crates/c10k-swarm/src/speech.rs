//! What is spoken on a worker's connections, behind one boundary.
//!
//! The worker knows when something is to be said and how long an answer may take; a [`Speech`] knows the bytes.
//! It keeps nothing of a connection but its [`Speech::State`].

use std::borrow::Cow;

use c10k_wire::raw::{Echo, ProbeId, Probes};
use c10k_wire::ws::{self, ClientEnd, CloseCode, Kind, check_probe};

use crate::said::{message_words, words};
use crate::tally::Loss;

/// The echo that a connection waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Awaited {
    pub(crate) id: ProbeId,
    /// Bytes of it that have come and were right.
    pub(crate) got: u16,
    /// Whether the whole probe has gone out: an echo before that is none of ours.
    pub(crate) is_out: bool,
}

/// What some input has come to.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The handshake is complete.
    pub(crate) opened: bool,
    pub(crate) echo: Progress,
    /// The connection is over.
    pub(crate) lost: Option<Loss>,
}

/// How far an echo has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Progress {
    #[default]
    Same,
    /// So many bytes of it are there.
    Partial(u16),
    Whole,
}

/// What a server says on a connection that talks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    pub(crate) bytes: &'a [u8],
    /// These are one whole message, and not a stretch of a stream of bytes.
    pub(crate) is_message: bool,
    /// They are of the type that a probe is of.
    pub(crate) is_binary: bool,
}

/// One protocol, at the end that asks.
pub(crate) trait Speech {
    /// What is kept of each connection.
    type State: Default;

    /// The connect has completed: writes what opens the protocol; `None` when nothing does.
    fn begin_handshake(&mut self, out: &mut Vec<u8>) -> Option<Self::State>;

    /// Writes a probe.
    fn probe(&mut self, id: ProbeId, out: &mut Vec<u8>);

    /// Bytes have arrived; what is to be said at once is appended to `out`.
    fn hear(
        &mut self,
        state: &mut Self::State,
        awaited: Option<Awaited>,
        input: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Heard;

    /// Writes a message of `size` bytes; `fill` writes its bytes over zeros.
    fn message(&mut self, kind: Kind, size: usize, fill: impl FnOnce(&mut [u8]), out: &mut Vec<u8>);

    /// Writes a word by which the server is asked for something.
    fn ask(&mut self, word: &str, out: &mut Vec<u8>);

    /// Bytes have arrived on a connection that talks: each piece of what the server says goes to `to`. What is to be
    /// said at once is appended to `out`. Gives the loss when the connection is over.
    fn listen(
        &mut self,
        state: &mut Self::State,
        input: &mut [u8],
        out: &mut Vec<u8>,
        to: impl FnMut(Piece<'_>),
    ) -> Option<Loss>;

    /// Bytes that a connection keeps beside its state.
    fn kept_bytes(&self, _state: &Self::State) -> usize {
        0
    }

    /// Writes a ping; false when none may be sent now.
    fn ping(&mut self, _state: &Self::State, _out: &mut Vec<u8>) -> bool {
        false
    }

    /// Writes what ends the protocol in good order; false when there is nothing to say.
    fn goodbye(&mut self, state: &mut Self::State, out: &mut Vec<u8>) -> bool;

    /// What the server has said in words on a connection that is lost like this after its last `input`.
    fn words(&self, state: &Self::State, loss: &Loss, input: &[u8]) -> Option<String>;

    /// What the end of the server's bytes means; `within` is whether an echo has begun to come.
    fn end_of_input(&self, state: &Self::State, within: bool) -> Loss;
}

/// Bytes as they are. Without probes nothing is said, and what a server says is dropped.
#[derive(Debug)]
pub(crate) struct Raw {
    probes: Option<Probes>,
    scratch: Box<[u8]>,
}

impl Raw {
    pub(crate) fn new(probes: Option<Probes>) -> Self {
        Self { probes, scratch: scratch(probes) }
    }
}

fn scratch(probes: Option<Probes>) -> Box<[u8]> {
    vec![0; probes.map_or(0, |probes| usize::from(probes.size()))].into_boxed_slice()
}

impl Speech for Raw {
    type State = ();

    fn begin_handshake(&mut self, _out: &mut Vec<u8>) -> Option<()> {
        None
    }

    fn probe(&mut self, id: ProbeId, out: &mut Vec<u8>) {
        let Some(probes) = self.probes else { return };
        let before = out.len();
        out.resize(before + usize::from(probes.size()), 0);
        probes.fill(id, &mut out[before..]);
    }

    fn hear(&mut self, (): &mut (), awaited: Option<Awaited>, input: &mut [u8], _: &mut Vec<u8>) -> Heard {
        let Some(probes) = self.probes else { return Heard::default() };
        let corrupt = || Heard { lost: Some(Loss::Corrupt), ..Heard::default() };
        let Some(awaited) = awaited else { return corrupt() };
        match probes.check(awaited.id, awaited.got, input, &mut self.scratch) {
            Echo::Partial(got) => Heard { echo: Progress::Partial(got), ..Heard::default() },
            Echo::Whole if awaited.is_out => Heard { echo: Progress::Whole, ..Heard::default() },
            Echo::Whole | Echo::Corrupt(_) => corrupt(),
        }
    }

    fn message(&mut self, _kind: Kind, size: usize, fill: impl FnOnce(&mut [u8]), out: &mut Vec<u8>) {
        let before = out.len();
        out.resize(before + size, 0);
        fill(&mut out[before..]);
    }

    fn ask(&mut self, word: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(word.as_bytes());
        out.push(b'\n');
    }

    fn listen(
        &mut self,
        (): &mut (),
        input: &mut [u8],
        _out: &mut Vec<u8>,
        mut to: impl FnMut(Piece<'_>),
    ) -> Option<Loss> {
        to(Piece { bytes: input, is_message: false, is_binary: true });
        None
    }

    fn goodbye(&mut self, (): &mut (), _out: &mut Vec<u8>) -> bool {
        false
    }

    /// What is no echo; where none is awaited, all of it.
    fn words(&self, (): &(), loss: &Loss, input: &[u8]) -> Option<String> {
        if self.probes.is_none() || *loss == Loss::Corrupt { words(input) } else { None }
    }

    fn end_of_input(&self, (): &(), within: bool) -> Loss {
        if within { Loss::ShortEcho } else { Loss::ClosedByServer }
    }
}

/// WebSocket: a probe is one binary message, and its echo another.
#[derive(Debug)]
pub(crate) struct WebSocket {
    end: ClientEnd,
    probes: Option<Probes>,
    scratch: Box<[u8]>,
}

impl WebSocket {
    pub(crate) fn new(end: ClientEnd, probes: Option<Probes>) -> Self {
        Self { end, probes, scratch: scratch(probes) }
    }
}

impl Speech for WebSocket {
    type State = ws::Connection;

    fn begin_handshake(&mut self, out: &mut Vec<u8>) -> Option<ws::Connection> {
        Some(self.end.connect(out))
    }

    fn probe(&mut self, id: ProbeId, out: &mut Vec<u8>) {
        if let Some(probes) = &self.probes {
            self.end.output(out).probe(probes, id);
        }
    }

    fn hear(
        &mut self,
        state: &mut ws::Connection,
        awaited: Option<Awaited>,
        input: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Heard {
        let Self { end, probes, scratch } = self;
        let (mut echoed, mut corrupt) = (false, false);
        let received = end.receive(state, input, out, |message, _| {
            let Some(probes) = probes else { return };
            let right = awaited.is_some_and(|awaited| {
                awaited.is_out && !echoed && check_probe(probes, awaited.id, message, scratch)
            });
            echoed |= right;
            corrupt |= !right;
        });
        let lost = if corrupt { Some(Loss::Corrupt) } else { received.end.map(loss_of) };
        let echo = if echoed { Progress::Whole } else { Progress::Same };
        Heard { opened: received.opened, echo, lost }
    }

    fn message(&mut self, kind: Kind, size: usize, fill: impl FnOnce(&mut [u8]), out: &mut Vec<u8>) {
        self.end.output(out).filled(kind, size, fill);
    }

    fn ask(&mut self, word: &str, out: &mut Vec<u8>) {
        self.end.output(out).filled(Kind::Text, word.len(), |bytes| bytes.copy_from_slice(word.as_bytes()));
    }

    fn listen(
        &mut self,
        state: &mut ws::Connection,
        input: &mut [u8],
        out: &mut Vec<u8>,
        mut to: impl FnMut(Piece<'_>),
    ) -> Option<Loss> {
        let received = self.end.receive(state, input, out, |message, _| {
            to(Piece { bytes: message.payload, is_message: true, is_binary: message.kind == Kind::Binary });
        });
        received.end.map(loss_of)
    }

    fn kept_bytes(&self, state: &ws::Connection) -> usize {
        state.heap_bytes()
    }

    fn ping(&mut self, state: &ws::Connection, out: &mut Vec<u8>) -> bool {
        if state.is_open() {
            self.end.output(out).ping(b"");
        }
        state.is_open()
    }

    fn goodbye(&mut self, state: &mut ws::Connection, out: &mut Vec<u8>) -> bool {
        let Some(normal) = CloseCode::new(1000) else { return false };
        state.close(normal, "", &mut self.end.output(out))
    }

    fn words(&self, state: &ws::Connection, loss: &Loss, input: &[u8]) -> Option<String> {
        match loss {
            Loss::Corrupt => message_words(input),
            Loss::Named(name) => {
                let said = words(state.last_words())?;
                let code = name.strip_prefix("close-");
                Some(code.map_or_else(|| said.clone(), |code| format!("Close {code}: {said}")))
            }
            _ => None,
        }
    }

    /// The end of TCP without a Close frame is an abnormal closure (RFC 6455 section 7.1.5).
    fn end_of_input(&self, state: &ws::Connection, _within: bool) -> Loss {
        let name = if state.is_handshaking() { "closed-in-handshake" } else { "close-1006" };
        Loss::Named(Cow::Borrowed(name))
    }
}

fn loss_of(end: ws::Ended) -> Loss {
    Loss::Named(end.name())
}
