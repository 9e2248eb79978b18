//! Frames on their way in.

use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::connection::{Connection, Held};
use super::frame::{Expected, LONGEST_CONTROL_BYTES};
use super::partial::{Partial, Whole};
use super::{CloseCode, Ended, Kind, Limits, Message, Output, Received, Role, Violation, mask};

/// How many Pings of one input are answered each. Of more, the last is answered only, as RFC 6455 section 5.5.3
/// allows, so that a flood of Pings brings no flood of Pongs.
const PONGS_EACH: u32 = 16;

/// One input of a connection whose handshake is over.
pub(crate) struct Reader<'a, F> {
    pub(crate) role: Role,
    pub(crate) limits: &'a Limits,
    pub(crate) out: Output<'a>,
    pub(crate) on_message: F,
    pub(crate) received: Received,
}

/// The Ping that waits to see whether another comes.
#[derive(Default)]
struct LastPing(Option<(u8, [u8; LONGEST_CONTROL_BYTES])>);

/// What ends the reading.
enum Stop {
    Violation(Violation),
    /// Its code and its reason.
    Close(Option<CloseCode>, Box<[u8]>),
}

impl<F: FnMut(&mut Message<'_>, &mut Output<'_>)> Reader<'_, F> {
    /// Serves all of `input`.
    #[inline]
    pub(crate) fn read(mut self, connection: &mut Connection, input: &mut [u8]) -> Received {
        let mut last_ping = LastPing::default();
        let result = self.frames(connection, input, &mut last_ping);
        if let Some((size, payload)) = last_ping.0 {
            self.out.pong(&payload[..usize::from(size)]);
        }
        if let Err(stop) = result {
            self.stop(connection, &stop);
        }
        self.received
    }

    #[inline]
    fn frames(
        &mut self,
        connection: &mut Connection,
        mut input: &mut [u8],
        last_ping: &mut LastPing,
    ) -> Result<(), Stop> {
        while !input.is_empty() {
            let taken = match connection.held.as_deref_mut() {
                None => {
                    let taken = self.whole_frame(input, last_ping)?;
                    if taken == 0 {
                        connection.held = Some(Box::new(Held::Frames(Partial::default())));
                    }
                    taken
                }
                Some(Held::Frames(partial)) => {
                    let taken = self.part(partial, input, last_ping)?;
                    if partial.is_empty() {
                        connection.held = None;
                    }
                    taken
                }
                Some(Held::Handshake(_) | Held::Ended(_)) => return Ok(()),
            };
            input = &mut input[taken..];
        }
        Ok(())
    }

    /// Serves the frame at the start of `input` where it lies, if it is whole and so is its message. Says how
    /// many bytes that were; 0 when something has to be kept.
    #[inline]
    fn whole_frame(&mut self, input: &mut [u8], last_ping: &mut LastPing) -> Result<usize, Stop> {
        let expected = Expected { role: self.role, limits: self.limits, begun: None };
        let Some(header) = expected.parse(input)? else { return Ok(0) };
        if !header.is_final || input.len() - header.size < header.length {
            return Ok(0);
        }
        let size = header.size + header.length;
        let payload = &mut input[header.size..size];
        mask::apply(payload, header.mask, 0);
        match header.opcode {
            OpCode::Control(control) => self.control(control, payload, false, last_ping)?,
            OpCode::Data(data) => {
                let kind = if data == Data::Text { Kind::Text } else { Kind::Binary };
                if kind == Kind::Text && std::str::from_utf8(payload).is_err() {
                    return Err(Violation::InvalidText.into());
                }
                self.message(kind, payload);
            }
        }
        Ok(size)
    }

    /// Adds the start of `input` to what is kept. Says how many bytes that were.
    #[inline(never)]
    fn part(
        &mut self,
        partial: &mut Partial,
        input: &mut [u8],
        last_ping: &mut LastPing,
    ) -> Result<usize, Stop> {
        let (taken, whole) = partial.take(self.role, self.limits, input)?;
        self.received.finished |= whole.is_some() && !partial.is_within_message();
        match whole {
            None => {}
            Some(Whole::Control(control, payload)) => {
                self.control(control, &payload, partial.is_closing, last_ping)?;
            }
            // Whatever this end has to say of a message, it may not say it any more.
            Some(Whole::Message(..)) if partial.is_closing => {}
            Some(Whole::Message(kind, mut payload)) => self.message(kind, &mut payload),
        }
        Ok(taken)
    }

    #[inline]
    fn message(&mut self, kind: Kind, payload: &mut [u8]) {
        self.received.messages += 1;
        (self.on_message)(&mut Message { kind, payload }, &mut self.out);
    }

    #[inline(never)]
    fn control(
        &mut self,
        control: Control,
        payload: &[u8],
        is_closing: bool,
        last_ping: &mut LastPing,
    ) -> Result<(), Stop> {
        match control {
            Control::Pong => self.received.pongs += 1,
            Control::Ping => {
                self.received.pings += 1;
                if self.received.pings <= PONGS_EACH {
                    self.out.pong(payload);
                } else {
                    last_ping.keep(payload);
                }
            }
            _ => {
                let code = close_code(payload)?;
                if !is_closing {
                    self.out_close(last_ping, code);
                }
                return Err(Stop::Close(code, payload.get(2..).unwrap_or_default().into()));
            }
        }
        Ok(())
    }

    /// Answers a Close frame with its own code (section 5.5.1). An unanswered Ping needs no Pong then.
    fn out_close(&mut self, last_ping: &mut LastPing, code: Option<CloseCode>) {
        last_ping.0 = None;
        self.out.close(code, "");
    }

    #[cold]
    fn stop(&mut self, connection: &mut Connection, stop: &Stop) {
        let (end, said) = match stop {
            Stop::Close(code, reason) => (Ended::Closed(*code), &reason[..]),
            Stop::Violation(violation) => {
                if !connection.is_closing() {
                    self.out.close(Some(violation.code()), &violation.to_string());
                }
                (Ended::Violated(*violation), &[][..])
            }
        };
        connection.end(said);
        self.received.end = Some(end);
    }
}

impl LastPing {
    fn keep(&mut self, payload: &[u8]) {
        let (size, bytes) = self.0.get_or_insert((0, [0; LONGEST_CONTROL_BYTES]));
        *size = payload.len() as u8;
        bytes[..payload.len()].copy_from_slice(payload);
    }
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

/// What a Close frame says (section 5.5.1).
fn close_code(payload: &[u8]) -> Result<Option<CloseCode>, Violation> {
    match payload {
        [] => Ok(None),
        [_] => Err(Violation::HalfCloseCode),
        [high, low, reason @ ..] => {
            let code = CloseCode::new(u16::from_be_bytes([*high, *low]));
            let code = code.ok_or(Violation::InvalidCloseCode)?;
            std::str::from_utf8(reason).map_err(|_| Violation::InvalidCloseReason)?;
            Ok(Some(code))
        }
    }
}
