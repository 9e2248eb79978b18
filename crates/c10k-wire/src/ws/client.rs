//! The end that asks.

use super::connection::{Connection, Held};
use super::handshake::{self, Handshake, HandshakeFault};
use super::reader::Reader;
use super::{ClientRequest, Ended, Limits, Masks, Message, Output, Received, Role};

/// What the connections of one worker of a client have in common.
#[derive(Clone, Debug)]
pub struct ClientEnd {
    limits: Limits,
    request: ClientRequest,
    masks: Masks,
}

impl ClientEnd {
    /// A client that opens its connections with this request.
    #[must_use]
    pub fn new(limits: Limits, request: ClientRequest) -> Self {
        Self { limits, request, masks: Masks::new() }
    }

    /// A connection of its own: appends its request, to be sent as soon as the socket is writable.
    #[must_use]
    pub fn connect(&self, out: &mut Vec<u8>) -> Connection {
        Connection::handshaking(Handshake::expecting(self.request.write(out)))
    }

    /// A connection whose request was written by somebody else.
    #[cfg(any(test, feature = "conformance"))]
    pub(crate) fn expecting(&self, accept: &[u8]) -> Connection {
        Connection::handshaking(Handshake::expecting(std::array::from_fn(|at| accept[at])))
    }

    /// Serves what has arrived: the response, and frames, which may come in the same read. As
    /// [`ServerEnd::receive`](super::ServerEnd::receive), but that what is written is masked.
    #[inline]
    pub fn receive(
        &mut self,
        connection: &mut Connection,
        mut input: &mut [u8],
        out: &mut Vec<u8>,
        on_message: impl FnMut(&mut Message<'_>, &mut Output<'_>),
    ) -> Received {
        let mut received = Received::default();
        if let Some(Held::Handshake(handshake)) = connection.held.as_deref_mut() {
            match self.handshake(handshake, input) {
                Ok(None) => return received,
                Ok(Some(consumed)) => {
                    connection.held = None;
                    received.opened = true;
                    input = &mut input[consumed..];
                }
                Err(fault) => {
                    let kept = handshake.take_bytes();
                    connection.end(if kept.is_empty() { input } else { &kept });
                    received.end = Some(Ended::Failed(fault));
                    return received;
                }
            }
        }
        let out = Output::new(out, Some(&mut self.masks));
        Reader { role: Role::Client, limits: &self.limits, out, on_message, received }.read(connection, input)
    }

    /// Where to write messages, probes and Pings.
    #[must_use]
    pub fn output<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Output<'a> {
        Output::new(out, Some(&mut self.masks))
    }

    /// Says how much of `input` belonged to the response that opened the connection.
    fn handshake(&self, handshake: &mut Handshake, input: &[u8]) -> Result<Option<usize>, HandshakeFault> {
        let accept = handshake.accept();
        let check_first = handshake::check_status_line;
        let Some((head, consumed)) = handshake.gather(Role::Client, &self.limits, input, check_first)? else {
            return Ok(None);
        };
        handshake::check_response(head, &accept, self.request.protocols())?;
        Ok(Some(consumed))
    }
}
