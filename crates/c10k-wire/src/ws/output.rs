//! Frames on their way out.

use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::frame::{self, LONGEST_CONTROL_BYTES, LONGEST_HEADER_BYTES};
use super::{CloseCode, Kind, Masks, mask};
use crate::raw::{ProbeId, Probes};

/// Where an endpoint writes its frames: whole ones, appended to the caller's shared buffer, masked if it is the
/// client's. Got from [`ServerEnd::output`](super::ServerEnd::output) or
/// [`ClientEnd::output`](super::ClientEnd::output).
#[derive(Debug)]
pub struct Output<'a> {
    bytes: &'a mut Vec<u8>,
    masks: Option<&'a mut Masks>,
}

impl<'a> Output<'a> {
    pub(crate) fn new(bytes: &'a mut Vec<u8>, masks: Option<&'a mut Masks>) -> Self {
        Self { bytes, masks }
    }

    /// Writes a message in one frame.
    #[inline]
    pub fn message(&mut self, kind: Kind, payload: &[u8]) {
        self.frame(opcode_of(kind), payload);
    }

    /// Writes a Ping of up to 125 bytes, which the peer sends back in a Pong.
    pub fn ping<const N: usize>(&mut self, payload: &[u8; N]) {
        const { assert!(N <= LONGEST_CONTROL_BYTES, "a control frame has at most 125 bytes") };
        self.frame(OpCode::Control(Control::Ping), payload);
    }

    /// Writes a probe as one binary message.
    pub fn probe(&mut self, probes: &Probes, id: ProbeId) {
        self.filled(Kind::Binary, usize::from(probes.size()), |payload| {
            probes.fill(id, payload);
        });
    }

    /// Writes a message of `size` bytes in one frame; `fill` writes its payload over zeros, where it lies.
    #[inline]
    pub fn filled(&mut self, kind: Kind, size: usize, fill: impl FnOnce(&mut [u8])) {
        let mask = self.masks.as_mut().map(|masks| masks.fresh());
        frame::write_header(opcode_of(kind), size, mask, self.bytes);
        let start = self.bytes.len();
        self.bytes.resize(start + size, 0);
        let payload = &mut self.bytes[start..];
        fill(payload);
        if let Some(mask) = mask {
            mask::apply(payload, mask, 0);
        }
    }

    pub(crate) fn pong(&mut self, payload: &[u8]) {
        self.frame(OpCode::Control(Control::Pong), payload);
    }

    /// Writes a Close frame; as much of the reason as fits it.
    pub(crate) fn close(&mut self, code: Option<CloseCode>, reason: &str) {
        let mut payload = [0; LONGEST_CONTROL_BYTES];
        let mut size = 0;
        if let Some(code) = code {
            let reason = &reason.as_bytes()[..reason.floor_char_boundary(LONGEST_CONTROL_BYTES - 2)];
            size = 2 + reason.len();
            payload[..2].copy_from_slice(&code.get().to_be_bytes());
            payload[2..size].copy_from_slice(reason);
        }
        self.frame(OpCode::Control(Control::Close), &payload[..size]);
    }

    #[inline]
    fn frame(&mut self, opcode: OpCode, payload: &[u8]) {
        let mask = self.masks.as_mut().map(|masks| masks.fresh());
        self.bytes.reserve(LONGEST_HEADER_BYTES + payload.len());
        frame::write_header(opcode, payload.len(), mask, self.bytes);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        if let Some(mask) = mask {
            mask::apply(&mut self.bytes[start..], mask, 0);
        }
    }
}

/// Appends the header of a server's binary message of so many bytes, which are sent behind it from where they are.
pub fn begin_binary(payload_bytes: usize, out: &mut Vec<u8>) {
    frame::write_header(OpCode::Data(Data::Binary), payload_bytes, None, out);
}

fn opcode_of(kind: Kind) -> OpCode {
    OpCode::Data(match kind {
        Kind::Text => Data::Text,
        Kind::Binary => Data::Binary,
    })
}
