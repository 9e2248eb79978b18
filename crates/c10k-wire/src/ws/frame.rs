//! Frame headers (RFC 6455 section 5.2): read and checked, and written.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::{Limits, Role, Violation};

/// The longest header, bytes: two, eight for the length, four for the mask.
pub(crate) const LONGEST_HEADER_BYTES: usize = 14;
/// The longest payload of a control frame, bytes (section 5.5).
pub(crate) const LONGEST_CONTROL_BYTES: usize = 125;

/// A header that keeps all the rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) is_final: bool,
    pub(crate) opcode: OpCode,
    /// Bytes of payload.
    pub(crate) length: usize,
    /// Zero for a frame that is not masked: applying it changes nothing.
    pub(crate) mask: [u8; 4],
    /// Bytes of the header itself.
    pub(crate) size: usize,
}

/// What of a connection decides whether a header is right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    /// Which end reads.
    pub(crate) role: Role,
    pub(crate) limits: &'a Limits,
    /// Bytes and frames of the message that has begun, if one has.
    pub(crate) begun: Option<(usize, u32)>,
}

impl Expected<'_> {
    /// Reads the header at the start of `bytes`; `None` when it is not whole yet.
    ///
    /// Rules are checked as soon as the byte that breaks them is there, those of a length with its last, and in the
    /// order of the bytes, so that the verdict does not depend on how a stream was cut into reads.
    // Where it is called for each frame the role is known and no message has begun: half of it falls away.
    #[inline(always)]
    pub(crate) fn parse(self, bytes: &[u8]) -> Result<Option<Header>, Violation> {
        let [first, rest @ ..] = bytes else { return Ok(None) };
        let opcode = self.check_first(*first)?;
        let [second, ..] = rest else { return Ok(None) };
        self.check_second(opcode, *second)?;
        if second & 0x7f < 126 {
            self.parse_short(opcode, *first, *second, bytes)
        } else {
            self.parse_long(opcode, *second, bytes)
        }
    }

    /// The header of a payload under 126 bytes: most there are, and a third of the instructions of an echo when
    /// left to the general case.
    #[inline(always)]
    fn parse_short(
        self,
        opcode: OpCode,
        first: u8,
        second: u8,
        bytes: &[u8],
    ) -> Result<Option<Header>, Violation> {
        let length = self.check_length(opcode, second & 0x7f, u64::from(second & 0x7f))?;
        let (mask, size) = match (self.role, bytes) {
            (Role::Client, _) => ([0; 4], 2),
            (Role::Server, &[_, _, a, b, c, d, ..]) => ([a, b, c, d], 6),
            (Role::Server, _) => return Ok(None),
        };
        Ok(Some(Header { is_final: first & 0x80 != 0, opcode, length, mask, size }))
    }

    #[inline(never)]
    fn parse_long(self, opcode: OpCode, second: u8, bytes: &[u8]) -> Result<Option<Header>, Violation> {
        // `FrameHeader` gives it only once the mask behind it is there.
        let length = match second & 0x7f {
            126 => bytes[2..].first_chunk().map(|length| u64::from(u16::from_be_bytes(*length))),
            _ => bytes[2..].first_chunk().map(|length| u64::from_be_bytes(*length)),
        };
        let Some(length) = length else { return Ok(None) };
        let length = self.check_length(opcode, second & 0x7f, length)?;
        let mut cursor = Cursor::new(bytes);
        // Its one error is a reserved opcode.
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Violation::ReservedOpcode)?;
        let Some((header, _)) = parsed else { return Ok(None) };
        let size = cursor.position() as usize;
        let mask = header.mask.unwrap_or_default();
        Ok(Some(Header { is_final: header.is_final, opcode, length, mask, size }))
    }

    #[inline(always)]
    fn check_first(self, first: u8) -> Result<OpCode, Violation> {
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBits);
        }
        let opcode = OpCode::from(first & 0x0f);
        match opcode {
            OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
                Err(Violation::ReservedOpcode)
            }
            OpCode::Control(_) if first & 0x80 == 0 => Err(Violation::FragmentedControl),
            OpCode::Data(Data::Continue) if self.begun.is_none() => Err(Violation::StrayContinuation),
            OpCode::Data(Data::Text | Data::Binary) if self.begun.is_some() => {
                Err(Violation::InterruptedMessage)
            }
            _ => Ok(opcode),
        }
    }

    #[inline(always)]
    fn check_second(self, opcode: OpCode, second: u8) -> Result<(), Violation> {
        match (self.role, second & 0x80 != 0) {
            (Role::Server, false) => return Err(Violation::Unmasked),
            (Role::Client, true) => return Err(Violation::Masked),
            _ => {}
        }
        if matches!(opcode, OpCode::Control(_)) && second & 0x7f > LONGEST_CONTROL_BYTES as u8 {
            return Err(Violation::LongControl);
        }
        Ok(())
    }

    /// Everything that could be allocated for this frame is decided on here.
    #[inline(always)]
    fn check_length(self, opcode: OpCode, marker: u8, length: u64) -> Result<usize, Violation> {
        let least = match marker {
            126 => 126,
            127 => 1 << 16,
            _ => 0,
        };
        if length < least {
            return Err(Violation::NonMinimalLength);
        }
        if length > i64::MAX as u64 {
            return Err(Violation::ImpossibleLength);
        }
        if matches!(opcode, OpCode::Control(_)) {
            return Ok(length as usize);
        }
        if length > u64::from(self.limits.max_frame_bytes) {
            return Err(Violation::FrameTooBig);
        }
        let (bytes, frames) = self.begun.unwrap_or((0, 0));
        if bytes as u64 + length > u64::from(self.limits.max_message_bytes) {
            return Err(Violation::MessageTooBig);
        }
        if frames >= self.limits.max_fragments {
            return Err(Violation::TooManyFragments);
        }
        Ok(length as usize)
    }
}

/// Appends the header of a final frame.
#[inline]
pub(crate) fn write_header(opcode: OpCode, length: usize, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    if length < 126 && mask.is_none() {
        return out.extend_from_slice(&[0x80 | u8::from(opcode), length as u8]);
    }
    write_long_header(opcode, length, mask, out);
}

#[inline(never)]
fn write_long_header(opcode: OpCode, length: usize, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let header = FrameHeader { opcode, mask, ..FrameHeader::default() };
    header.format(length as u64, out).expect("a Vec takes whatever is written to it");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_that_is_taken_is_what_tungstenite_reads(
            first: u8, second: u8, rest in prop::collection::vec(any::<u8>(), 0..16), is_server: bool, is_begun: bool,
        ) {
            let bytes = [&[first, second][..], &rest].concat();
            let limits = Limits { max_frame_bytes: u32::MAX, max_message_bytes: u32::MAX, ..Limits::default() };
            let role = if is_server { Role::Server } else { Role::Client };
            let expected = Expected { role, limits: &limits, begun: is_begun.then_some((0, 1)) };
            let mut cursor = Cursor::new(&bytes);
            let theirs = FrameHeader::parse(&mut cursor);
            match expected.parse(&bytes) {
                Err(_) => {}
                Ok(None) => prop_assert!(matches!(theirs, Ok(None))),
                Ok(Some(ours)) => {
                    let (theirs, length) = theirs.unwrap().unwrap();
                    prop_assert_eq!(ours.length as u64, length);
                    prop_assert_eq!(ours.size as u64, cursor.position());
                    prop_assert_eq!(ours.opcode, theirs.opcode);
                    prop_assert_eq!(ours.is_final, theirs.is_final);
                    prop_assert_eq!(ours.mask, theirs.mask.unwrap_or_default());
                    prop_assert_eq!(theirs.mask.is_some(), is_server);
                    prop_assert!(!theirs.rsv1 && !theirs.rsv2 && !theirs.rsv3);
                }
            }
        }
    }

    #[test]
    fn a_header_that_is_written_is_what_tungstenite_writes() {
        for length in [0, 1, 125, 126, 127, 65535, 65536, 1 << 20] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let opcode = OpCode::Data(Data::Text);
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                write_header(opcode, length, mask, &mut ours);
                let header = FrameHeader { opcode, mask, ..FrameHeader::default() };
                header.format(length as u64, &mut theirs).unwrap();
                assert_eq!(ours, theirs);
            }
        }
    }
}
