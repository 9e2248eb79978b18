//! The end that accepts.

use super::connection::{Connection, Held};
use super::handshake::Handshake;
use super::policy::{Answer, RequestLine, ServerPolicy};
use super::reader::Reader;
use super::{Ended, Limits, Message, Output, Received, Refusal, Role, Violation};

/// What all connections of a server have in common. One serves any number of workers.
#[derive(Clone, Debug, Default)]
pub struct ServerEnd {
    limits: Limits,
    policy: ServerPolicy,
}

impl ServerEnd {
    /// A server with these limits that lets in what `policy` lets in.
    #[must_use]
    pub fn new(limits: Limits, policy: ServerPolicy) -> Self {
        Self { limits, policy }
    }

    /// A connection that was just accepted: its request is yet to come.
    #[must_use]
    pub fn accept(&self) -> Connection {
        Connection::handshaking(Handshake::default())
    }

    /// Serves what has arrived: the request, and frames, which may come in the same read. `input` is unmasked
    /// where it lies; what is to be sent is appended to `out`, all of it whole frames or whole responses.
    ///
    /// What is written for one input is no longer than the input, one message and one Close frame (or the
    /// response to a handshake), as long as `on_message` writes no more than an echo: to bound what is kept for
    /// a peer that does not read, it is enough not to read from it.
    #[inline]
    pub fn receive(
        &self,
        connection: &mut Connection,
        mut input: &mut [u8],
        out: &mut Vec<u8>,
        on_message: impl FnMut(&mut Message<'_>, &mut Output<'_>),
    ) -> Received {
        let mut received = Received::default();
        if let Some(Held::Handshake(handshake)) = connection.held.as_deref_mut() {
            match self.handshake(handshake, input, out) {
                Ok(None) => return received,
                Ok(Some(consumed)) => {
                    connection.held = None;
                    received.opened = true;
                    input = &mut input[consumed..];
                }
                Err(end) => {
                    connection.end(&[]);
                    received.end = Some(end);
                    return received;
                }
            }
        }
        let out = Output::new(out, None);
        Reader { role: Role::Server, limits: &self.limits, out, on_message, received }.read(connection, input)
    }

    /// Where to write messages and Pings that answer nothing.
    #[must_use]
    pub fn output<'a>(&self, out: &'a mut Vec<u8>) -> Output<'a> {
        Output::new(out, None)
    }

    /// Gives up a handshake that took too long: writes 408 if any of a request has come, since a peer that said
    /// nothing has asked for no answer. `None` when the handshake was over before.
    pub fn give_up(&self, connection: &mut Connection, out: &mut Vec<u8>) -> Option<Ended> {
        let Some(Held::Handshake(handshake)) = connection.held.as_deref() else { return None };
        if handshake.has_begun() {
            Refusal::Late.write(out);
        }
        connection.end(&[]);
        Some(Ended::Refused(Refusal::Late))
    }

    /// Gives up a message that took too long: writes a Close frame that says so. `None`, and nothing written, when the
    /// connection is not [within](Connection::is_within) one.
    pub fn give_up_message(&self, connection: &mut Connection, out: &mut Vec<u8>) -> Option<Ended> {
        if !connection.is_within() {
            return None;
        }
        let violation = Violation::LateMessage;
        self.output(out).close(Some(violation.code()), &violation.to_string());
        connection.end(&[]);
        Some(Ended::Violated(violation))
    }

    /// Says how much of `input` belonged to the request that was accepted.
    fn handshake(
        &self,
        handshake: &mut Handshake,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, Ended> {
        let check_first = |line: &[u8]| RequestLine::parse(line).map(|_| false);
        let (head, consumed) = match handshake.gather(Role::Server, &self.limits, input, check_first) {
            Ok(None) => return Ok(None),
            Ok(Some(gathered)) => gathered,
            Err(refusal) => {
                refusal.write(out);
                return Err(Ended::Refused(refusal));
            }
        };
        match self.policy.answer(head, out) {
            Answer::Accepted => Ok(Some(consumed)),
            Answer::Healthy => Err(Ended::Healthy),
            Answer::Refused(refusal) => Err(Ended::Refused(refusal)),
        }
    }
}
