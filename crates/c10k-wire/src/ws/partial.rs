//! What is kept of a frame or a message that is not whole yet.

use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::frame::{Expected, Header, LONGEST_HEADER_BYTES};
use super::{Kind, Limits, Role, Violation, mask};

/// Kept from one input to the next; empty between messages.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    /// This end has sent its Close frame.
    pub(crate) is_closing: bool,
    head: [u8; LONGEST_HEADER_BYTES],
    head_size: u8,
    /// The frame whose payload is under way, and how much of that has come.
    frame: Option<(Header, usize)>,
    /// Payload of a control frame, which may stand between the frames of a message.
    control: Vec<u8>,
    message: Option<Assembly>,
}

/// What has become whole.
#[derive(Debug)]
pub(crate) enum Whole {
    Message(Kind, Vec<u8>),
    Control(Control, Vec<u8>),
}

/// A message whose last frame is not whole yet.
#[derive(Debug)]
struct Assembly {
    kind: Kind,
    bytes: Vec<u8>,
    /// How many of them are known to be UTF-8.
    valid: usize,
    frames: u32,
}

impl Partial {
    /// Whether there is nothing to keep.
    pub(crate) fn is_empty(&self) -> bool {
        !self.is_closing && self.head_size == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// Whether a message has begun, be it between two of its frames.
    pub(crate) fn is_within_message(&self) -> bool {
        self.message.is_some()
    }

    /// Bytes on the heap, this value itself not counted.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.control.capacity() + self.message.as_ref().map_or(0, |message| message.bytes.capacity())
    }

    /// Takes bytes from the front of `input`, which is not empty: up to the end of a header or of a frame.
    /// Says how many, and what they made whole.
    pub(crate) fn take(
        &mut self,
        role: Role,
        limits: &Limits,
        input: &mut [u8],
    ) -> Result<(usize, Option<Whole>), Violation> {
        let Some((header, got)) = self.frame else { return self.take_header(role, limits, input) };
        let count = input.len().min(header.length - got);
        let chunk = &mut input[..count];
        mask::apply(chunk, header.mask, got);
        match (&header.opcode, &mut self.message) {
            (OpCode::Data(_), Some(message)) => message.push(chunk, header, got, limits)?,
            _ => self.control.extend_from_slice(chunk),
        }
        self.frame = Some((header, got + count));
        Ok((count, self.finish()?))
    }

    #[inline(never)]
    fn take_header(
        &mut self,
        role: Role,
        limits: &Limits,
        input: &[u8],
    ) -> Result<(usize, Option<Whole>), Violation> {
        let kept = usize::from(self.head_size);
        let more = input.len().min(LONGEST_HEADER_BYTES - kept);
        self.head[kept..kept + more].copy_from_slice(&input[..more]);
        let begun = self.message.as_ref().map(|message| (message.bytes.len(), message.frames));
        let expected = Expected { role, limits, begun };
        let Some(header) = expected.parse(&self.head[..kept + more])? else {
            // A header of the longest kind is whole with all its bytes, so these were all of the input.
            self.head_size = (kept + more) as u8;
            return Ok((more, None));
        };
        self.head_size = 0;
        if let OpCode::Data(data) = header.opcode {
            let kind = if data == Data::Text { Kind::Text } else { Kind::Binary };
            let new = || Assembly { kind, bytes: Vec::new(), valid: 0, frames: 0 };
            self.message.get_or_insert_with(new).frames += 1;
        }
        self.frame = Some((header, 0));
        Ok((header.size - kept, self.finish()?))
    }

    /// Ends the frame under way if all of it is there.
    fn finish(&mut self) -> Result<Option<Whole>, Violation> {
        let Some((header, _)) = self.frame.take_if(|(header, got)| *got == header.length) else {
            return Ok(None);
        };
        match header.opcode {
            OpCode::Control(control) => Ok(Some(Whole::Control(control, std::mem::take(&mut self.control)))),
            OpCode::Data(_) if !header.is_final => Ok(None),
            OpCode::Data(_) => self.message.take().map(Assembly::finish).transpose(),
        }
    }
}

impl Assembly {
    /// Adds what has come of a frame of which `got` bytes were there before. Text fails at its first wrong byte.
    fn push(&mut self, chunk: &[u8], header: Header, got: usize, limits: &Limits) -> Result<(), Violation> {
        let needed = self.bytes.len() + chunk.len();
        if needed > self.bytes.capacity() {
            // Memory follows what has come, not what was announced, and doubles only up to what can still come.
            let most = if header.is_final {
                self.bytes.len() + header.length - got
            } else {
                limits.max_message_bytes as usize
            };
            let wanted = needed.max(most.min(2 * self.bytes.capacity()));
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(chunk);
        if self.kind == Kind::Text {
            self.valid += match std::str::from_utf8(&self.bytes[self.valid..]) {
                Ok(text) => text.len(),
                // A character that is not whole yet.
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                Err(_) => return Err(Violation::InvalidText),
            };
        }
        Ok(())
    }

    fn finish(self) -> Result<Whole, Violation> {
        if self.kind == Kind::Text && self.valid < self.bytes.len() {
            return Err(Violation::InvalidText);
        }
        Ok(Whole::Message(self.kind, self.bytes))
    }
}
