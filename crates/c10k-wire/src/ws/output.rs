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
        let mask = self.masks.as_mut().map(|masks| masks.fresh());
        let size = usize::from(probes.size());
        frame::write_header(OpCode::Data(Data::Binary), size, mask, self.bytes);
        let start = self.bytes.len();
        self.bytes.resize(start + size, 0);
        let payload = probes.fill(id, &mut self.bytes[start..]);
        mask::apply(payload, mask.unwrap_or_default(), 0);
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

fn opcode_of(kind: Kind) -> OpCode {
    OpCode::Data(match kind {
        Kind::Text => Data::Text,
        Kind::Binary => Data::Binary,
    })
}
