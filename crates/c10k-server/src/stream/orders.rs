//! Any order of what may happen to a connection, against a model of what its peer must see.
//!
//! One connection over a pair of sockets with little room; everything is done by the test, one thing at a time: the
//! peer sends or takes some bytes, or closes; the server hears events, gives turns, looks at the clock, looks for
//! stalled outputs, ends. Whatever the order is: what was said arrives whole and in its order, nothing is kept beyond
//! its bound, and an end that was decided is counted under its name.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use c10k_kernel::bell::Bell;
use c10k_record::ServerReport;
use c10k_wire::conformance::{first, sample_request, write_frame};
use c10k_wire::raw::Answer;
use c10k_wire::ws::{Limits, ServerEnd, ServerPolicy};
use mio::{Events, Poll, Token};
use proptest::prelude::*;
use socket2::SockRef;

mod pushed;

use super::*;
use crate::speech::{Raw, WebSocket, WsSettings};

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The peer sends up to so many bytes more of what it has to say.
    Send(usize),
    /// The peer takes up to so many bytes.
    Take(usize),
    /// The server serves what epoll names.
    Serve,
    /// The server gives unread input its turn.
    Leftovers,
    /// So much time passes, and the server looks at its deadlines.
    Clock(Duration),
    /// The server looks for outputs that do not move, a minute later.
    Stalled,
    /// The peer has said its last.
    Shut,
    /// The server comes to its end.
    Drain,
}

const PING_EVERY: Duration = Duration::from_millis(10);
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// A turn as short as this is over after a few reads.
const SHORT_TURN_BYTES: usize = 3000;
/// What the socket keeps for a peer that takes nothing: the kernel's least.
const ROOM_BYTES: usize = 4608;

fn step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![1_usize..40, 40_usize..2000, 2000_usize..9000];
    prop_oneof![
        8 => bytes.clone().prop_map(Step::Send),
        3 => bytes.prop_map(Step::Take),
        8 => Just(Step::Serve),
        6 => Just(Step::Leftovers),
        6 => Just(Step::Clock(PING_EVERY)),
        1 => Just(Step::Clock(3 * MESSAGE_TIMEOUT)),
        2 => Just(Step::Stalled),
        1 => Just(Step::Shut),
        1 => Just(Step::Drain),
    ]
}

/// What the peer says and must hear.
trait Model {
    /// All that it has to say.
    fn says(&self) -> Vec<u8>;

    /// Checks all that it has heard so far, of a peer that has sent so much. `whole` when all must have come.
    fn check(&self, sent: usize, heard: &[u8], whole: bool) -> Result<(), String>;
}

/// Raw bytes come back as they were.
struct Bytes(Vec<u8>);

impl Bytes {
    fn some(count: usize) -> Self {
        Self((0..count).map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8).collect())
    }
}

impl Model for Bytes {
    fn says(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn check(&self, sent: usize, heard: &[u8], whole: bool) -> Result<(), String> {
        if heard.len() > sent || heard != &self.0[..heard.len()] {
            return Err(format!("{} bytes came back of {sent}, and others than were sent", heard.len()));
        }
        if whole && heard.len() < sent {
            return Err(format!("{} bytes came back of {sent}", heard.len()));
        }
        Ok(())
    }
}

/// Messages come back in their order, with pings between them and a Close at the end. After the last one the peer
/// breaks a rule, so that the server has to end it.
struct Messages {
    sizes: Vec<usize>,
    echoes: bool,
}

/// A frame with an opcode that there is not (RFC 6455, 5.2).
const RESERVED_OPCODE: u8 = 0x83;

impl Messages {
    fn payload(number: usize, size: usize) -> Vec<u8> {
        (0..size).map(|at| (at * 31 + number * 7) as u8).collect()
    }
}

impl Model for Messages {
    fn says(&self) -> Vec<u8> {
        let mut says = sample_request();
        for (number, &size) in self.sizes.iter().enumerate() {
            let payload = Self::payload(number, size);
            write_frame(first::BINARY, true, &payload, &mut says);
        }
        write_frame(RESERVED_OPCODE, true, b"bad", &mut says);
        says
    }

    fn check(&self, sent: usize, heard: &[u8], whole: bool) -> Result<(), String> {
        let head_bytes = sample_request().len();
        let Some(at) = heard.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if whole && sent >= head_bytes { Err("no response".to_owned()) } else { Ok(()) };
        };
        if !heard.starts_with(b"HTTP/1.1 101 ") {
            return Ok(());
        }
        let (mut rest, mut echoed, mut closed) = (&heard[at + 4..], 0, false);
        while let Some((first_byte, payload, after)) = whole_frame(rest) {
            if closed {
                return Err(format!("a frame {first_byte:#x} after the Close"));
            }
            match first_byte {
                first::BINARY => {
                    let size = *self.sizes.get(echoed).ok_or("more messages than were sent")?;
                    if !self.echoes || payload != Self::payload(echoed, size) {
                        return Err(format!("message {echoed} is not what was sent"));
                    }
                    echoed += 1;
                }
                0x89 if payload.is_empty() => {}
                0x88 => closed = true,
                other => {
                    return Err(format!("a frame that nobody sent: {other:#x}, {} bytes", payload.len()));
                }
            }
            rest = after;
        }
        let mut upto = head_bytes;
        let arrived = self.sizes.iter().take_while(|&&size| {
            upto += frame_bytes(size);
            upto <= sent
        });
        if whole && self.echoes && !closed && echoed < arrived.count() {
            return Err(format!("{echoed} messages came back of those that were whole"));
        }
        Ok(())
    }
}

/// A masked frame around so many bytes.
fn frame_bytes(size: usize) -> usize {
    let length = if size < 126 { 2 } else { 4 };
    length + 4 + size
}

/// The first frame of these bytes, unmasked, and what is behind it.
fn whole_frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&first_byte, &length) = (bytes.first()?, bytes.get(1)?);
    let (head, size) = match length {
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(head..head + size)?;
    Some((first_byte, payload, &bytes[head + size..]))
}

/// A server of one connection, and its peer.
struct Pair<S: Speech, M: Model> {
    poll: Poll,
    connections: ServedConnections<S>,
    counters: Arc<Counters>,
    key: Key,
    model: M,
    peer: UnixStream,
    unsaid: VecDeque<u8>,
    sent: usize,
    heard: Vec<u8>,
    /// Bytes that were seen to wait, by their place in all that the server says: they must come just so.
    promised: Vec<Option<u8>>,
    /// How far the server's clock is ahead of the machine's.
    ahead: Duration,
    peer_has_shut: bool,
}

impl<S: Speech, M: Model> Pair<S, M> {
    fn new(speech: S, model: M) -> Self {
        Self::with(speech, model, None)
    }

    fn with(speech: S, model: M, pushes: Option<Pushes>) -> Self {
        let (socket, peer) = UnixStream::pair().expect("a pair of sockets");
        SockRef::from(&socket).set_send_buffer_size(ROOM_BYTES).expect("less room");
        socket.set_nonblocking(true).expect("non-blocking");
        peer.set_nonblocking(true).expect("non-blocking");
        let poll = Poll::new().expect("epoll");
        let bell = Bell::new().expect("a bell");
        let mut reserve = Reserve::of(bell.number(), Token(usize::MAX));
        let counters = Arc::new(Counters::default());
        let mut connections = ServedConnections::new(speech, 4096, Arc::clone(&counters), pushes);
        connections.turn_bytes = SHORT_TURN_BYTES;
        let socket = OwnedFd::from(socket);
        let slot = socket.as_raw_fd().cast_unsigned();
        connections.admit(poll.registry(), socket, &mut reserve).expect("admitted");
        let key = connections.table.key_in(slot).expect("it is in the table");
        let unsaid = model.says().into();
        Self {
            poll,
            connections,
            counters,
            key,
            model,
            peer,
            unsaid,
            sent: 0,
            heard: Vec::new(),
            promised: Vec::new(),
            ahead: Duration::ZERO,
            peer_has_shut: false,
        }
    }

    fn is_open(&self) -> bool {
        self.connections.table.socket(self.key).is_some()
    }

    fn report(&self) -> ServerReport {
        let mut report = ServerReport::default();
        self.counters.add_to(&mut report);
        report
    }

    /// Bytes of the frame that the connection is in the middle of.
    fn rest_of_frame(&self) -> usize {
        let rest = self.connections.pushes.as_ref().and_then(|pushes| pushes.rests.get(&self.key.slot()));
        rest.map_or(0, |rest| rest.frame.bytes() - rest.sent)
    }

    /// The name of the end that is decided, if one is.
    fn decided(&self) -> Option<String> {
        let ending = self.connections.ends.get(&self.key.slot())?;
        Some(name_of(ending.end()))
    }

    fn take(&mut self, step: Step) {
        let registry = self.poll.registry().try_clone().expect("the registry");
        match step {
            Step::Send(most) => self.send(most),
            Step::Take(most) => self.hear(most),
            Step::Serve => self.serve(),
            Step::Leftovers => self.connections.serve_leftovers(&registry),
            Step::Clock(time) => {
                self.ahead += time;
                self.connections.look_at_deadlines(&registry, Instant::now() + self.ahead);
            }
            Step::Stalled => self.connections.close_stalled(Instant::now() + MINUTE, MINUTE),
            Step::Shut => {
                self.peer_has_shut = true;
                let _ = self.peer.shutdown(std::net::Shutdown::Write);
            }
            Step::Drain => self.connections.drain(&registry),
        }
    }

    fn send(&mut self, most: usize) {
        if self.peer_has_shut {
            return;
        }
        let bytes: Vec<u8> = self.unsaid.iter().copied().take(most).collect();
        // EPIPE and ECONNRESET: the server has closed it.
        let sent = self.peer.write(&bytes).unwrap_or(0);
        self.unsaid.drain(..sent);
        self.sent += sent;
    }

    fn hear(&mut self, most: usize) {
        let mut buffer = vec![0; most];
        if let Ok(count) = self.peer.read(&mut buffer) {
            self.heard.extend(&buffer[..count]);
        }
    }

    fn serve(&mut self) {
        let mut events = Events::with_capacity(8);
        match self.poll.poll(&mut events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            result => result.expect("epoll"),
        }
        for event in &events {
            if event.token() == token(self.key) {
                self.connections.serve(self.poll.registry(), self.key, Behind::of(event));
            }
        }
    }

    /// Takes the step and checks what must be so after any.
    fn step(&mut self, step: Step) -> Result<(), String> {
        let (was_open, decided, heard) = (self.is_open(), self.decided(), self.heard.len());
        self.take(step);
        let waits = self.connections.pending.of(self.key.slot()).map(|pending| pending.rest().len());
        if waits.is_some() != (self.is_open() && self.connections.table.has(self.key, Flag::Pending)) {
            return Err(format!("{waits:?} bytes wait, and the table does not say so"));
        }
        if waits == Some(0) || waits > Some(BUFFER_BYTES + 2 * 9000 + 256) {
            return Err(format!("{waits:?} bytes wait"));
        }
        self.keep_promises(heard)?;
        let is_leftover = self.connections.table.has(self.key, Flag::Leftover);
        let in_list = self.connections.leftovers.iter().filter(|key| **key == self.key).count();
        if is_leftover && in_list != 1 {
            return Err(format!("unread input is {in_list} times in the list"));
        }
        let report = self.report();
        let ended = report.closed + report.drained + report.failed.values().sum::<u64>();
        if ended != u64::from(!self.is_open()) || report.accepted != 1 {
            return Err(format!("{ended} ends are counted, open: {}", self.is_open()));
        }
        let is_counted = |name: &String| match name.as_str() {
            "closed" => report.closed == 1 || report.drained == 1,
            name => report.failed.contains_key(name),
        };
        if let Some(name) = decided.filter(|name| was_open && !self.is_open() && !is_counted(name)) {
            return Err(format!("decided: {name}, counted: {report:?}"));
        }
        if self.heard.len() == heard {
            return Ok(());
        }
        self.model.check(self.sent, &self.heard, false)
    }

    /// What waited is what is sent, at its place; nothing takes its place or comes before it.
    fn keep_promises(&mut self, heard_before: usize) -> Result<(), String> {
        let new = self.heard.iter().enumerate().skip(heard_before);
        for (at, byte) in new {
            if self.promised.get(at).copied().flatten().is_some_and(|promised| promised != *byte) {
                return Err(format!("byte {at} is another than the one that waited for its place"));
            }
        }
        // A frame that is pushed and has begun goes out before.
        let from = self.report().bytes_out as usize + self.rest_of_frame();
        if let Some(pending) = self.connections.pending.of(self.key.slot()) {
            for (at, byte) in pending.rest().iter().enumerate() {
                let place = from + at;
                self.promised.resize(self.promised.len().max(place + 1), None);
                if self.promised[place].replace(*byte).is_some_and(|before| before != *byte) {
                    return Err(format!("byte {place} waits, and another waited for its place before"));
                }
            }
        }
        Ok(())
    }

    /// Lets everything go its way, and checks that all that was said has come.
    fn settle(&mut self) -> Result<(), String> {
        let mut quiet_rounds = 0;
        while quiet_rounds < 3 {
            let before = self.heard.len();
            for step in [Step::Serve, Step::Leftovers, Step::Take(64 << 10)] {
                self.step(step)?;
            }
            quiet_rounds = if self.heard.len() > before { 0 } else { quiet_rounds + 1 };
        }
        if self.is_open() && self.connections.pending.of(self.key.slot()).is_some() {
            return Err("output waits although the peer takes it".to_owned());
        }
        let is_blocked = self.connections.table.has(self.key, Flag::Blocked);
        if is_blocked || self.rest_of_frame() > 0 {
            return Err(format!(
                "{} bytes of a frame wait although the peer takes them",
                self.rest_of_frame()
            ));
        }
        self.model.check(
            self.sent,
            &self.heard,
            self.is_open() && !self.connections.table.has(self.key, Flag::Shut),
        )
    }
}

fn name_of(end: &EndedAs) -> String {
    match end {
        EndedAs::Named(name) => name.clone().into_owned(),
        _ => "closed".to_owned(),
    }
}

fn web_socket(answer: Answer) -> WebSocket {
    let settings = WsSettings {
        end: ServerEnd::new(Limits::default(), ServerPolicy::default()),
        handshake_timeout: Some(MESSAGE_TIMEOUT),
        message_timeout: Some(MESSAGE_TIMEOUT),
        ping_every: Some(PING_EVERY),
    };
    WebSocket::new(Arc::new(settings), answer, None)
}

fn goes_well<S: Speech, M: Model>(mut pair: Pair<S, M>, steps: &[Step]) -> Result<(), TestCaseError> {
    for (number, step) in steps.iter().enumerate() {
        pair.step(*step).map_err(|error| TestCaseError::fail(format!("step {number}, {step:?}: {error}")))?;
    }
    pair.settle().map_err(|error| TestCaseError::fail(format!("at the end: {error}")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn bytes_come_back_whole_in_any_order_of_events(steps in prop::collection::vec(step(), 1..80)) {
        goes_well(Pair::new(Raw { answer: Answer::Echo, pushes: None }, Bytes::some(60_000)), &steps)?;
    }

    #[test]
    fn messages_come_back_whole_in_any_order_of_events(
        sizes in prop::collection::vec(prop_oneof![3 => 0_usize..60, 1 => 100_usize..9000], 1..60),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        goes_well(Pair::new(web_socket(Answer::Echo), Messages { sizes, echoes: true }), &steps)?;
    }

    #[test]
    fn a_server_that_discards_pings_in_order_in_any_order_of_events(
        sizes in prop::collection::vec(0_usize..2000, 1..60),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        goes_well(Pair::new(web_socket(Answer::Discard), Messages { sizes, echoes: false }), &steps)?;
    }
}
