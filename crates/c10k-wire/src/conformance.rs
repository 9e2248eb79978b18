//! Conformance cases for both ends, as data: what a peer sends, and what an end must make of it.
//!
//! The groups are those that the Autobahn suite covers; each case is named and has its section of RFC 6455. The
//! same table is run over bytes in this crate's tests and over sockets at both ends. Cases are for the default
//! [`Limits`](crate::ws::Limits) and for an end that answers messages with an echo, or just notes them.

mod close;
mod framing;
pub mod fuzzing;
mod handshakes;
mod messages;

pub use handshakes::{Request, Response, SAMPLE_ACCEPT, requests, responses, sample_request};

use crate::ws::{Kind, Role, Violation};

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is about, with its section of RFC 6455.
    pub name: String,
    /// `None`: for both ends.
    pub only_to: Option<Role>,
    /// What the peer sends.
    pub sent: Vec<Sent>,
    /// What comes of it, in this order.
    pub seen: Vec<Seen>,
    /// What has become of the connection then.
    pub end: Ending,
}

/// A piece of what a peer sends.
#[derive(Clone, Debug)]
pub enum Sent {
    /// A frame with this first byte, its length in the shortest form, masked if it goes to a server.
    Frame(u8, Vec<u8>),
    /// A frame masked exactly if it must not be.
    WronglyMasked(u8, Vec<u8>),
    /// A frame with a stated length in the form of 126 (two bytes) or 127 (eight bytes), whatever follows.
    Stated(u8, u8, u64, Vec<u8>),
    /// The same frame many times.
    Times(u32, u8, Vec<u8>),
}

/// What an end makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A message is handed out, and by an echoing server sent back.
    Message(Kind, Vec<u8>),
    /// A Pong is sent.
    Pong(Vec<u8>),
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It stays open.
    Open,
    /// The peer's Close is answered with one of the same code.
    Closed(Option<u16>),
    /// It is failed with a Close of [`Violation::code`].
    Failed(Violation),
}

/// A frame that an end has sent, read without this crate's own means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentFrame {
    /// FIN, reserved bits and opcode.
    pub first: u8,
    /// Whether it came with a mask.
    pub is_masked: bool,
    /// Its payload, unmasked.
    pub payload: Vec<u8>,
}

/// All cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    [framing::cases(), messages::cases(), close::cases()].concat()
}

impl Case {
    /// Whether this end is meant.
    #[must_use]
    pub fn is_for(&self, role: Role) -> bool {
        self.only_to.is_none_or(|only| only == role)
    }

    /// The bytes that a peer of this end sends.
    #[must_use]
    pub fn bytes_to(&self, role: Role) -> Vec<u8> {
        let mut out = Vec::new();
        for sent in &self.sent {
            let is_masked = role == Role::Server;
            match sent {
                Sent::Frame(first, payload) => write_frame(*first, is_masked, payload, &mut out),
                Sent::WronglyMasked(first, payload) => write_frame(*first, !is_masked, payload, &mut out),
                Sent::Times(times, first, payload) => {
                    (0..*times).for_each(|_| write_frame(*first, is_masked, payload, &mut out));
                }
                Sent::Stated(first, form, length, payload) => {
                    out.extend([*first, form | u8::from(is_masked) << 7]);
                    let bytes = length.to_be_bytes();
                    out.extend_from_slice(if *form == 126 { &bytes[6..] } else { &bytes });
                    write_payload(is_masked, payload, &mut out);
                }
            }
        }
        out
    }

    fn new(name: impl Into<String>, sent: Vec<Sent>, seen: Vec<Seen>, end: Ending) -> Self {
        Self { name: name.into(), only_to: None, sent, seen, end }
    }

    /// A case whose only point is the rule that it breaks.
    fn fails(name: impl Into<String>, violation: Violation, sent: Vec<Sent>) -> Self {
        Self::new(name, sent, Vec::new(), Ending::Failed(violation))
    }

    fn only_to(mut self, role: Role) -> Self {
        self.only_to = Some(role);
        self
    }
}

/// Appends a frame with its length in the shortest form.
pub fn write_frame(first: u8, is_masked: bool, payload: &[u8], out: &mut Vec<u8>) {
    let mask_bit = u8::from(is_masked) << 7;
    match payload.len() {
        short @ 0..126 => out.extend([first, mask_bit | short as u8]),
        medium @ 126..0x1_0000 => {
            out.extend([first, mask_bit | 126]);
            out.extend((medium as u16).to_be_bytes());
        }
        long => {
            out.extend([first, mask_bit | 127]);
            out.extend((long as u64).to_be_bytes());
        }
    }
    write_payload(is_masked, payload, out);
}

/// Reads what an end has sent, which must be whole frames.
///
/// # Errors
/// Says what does not fit.
pub fn read_frames(mut bytes: &[u8]) -> Result<Vec<SentFrame>, String> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let mut take = |count: usize| {
            let taken = bytes.split_off(..count);
            taken.ok_or_else(|| format!("frame {} ends early", frames.len()))
        };
        let head = take(2)?;
        let length = match head[1] & 0x7f {
            126 => take(2)?.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)),
            127 => take(8)?.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)),
            short => usize::from(short),
        };
        let is_masked = head[1] & 0x80 != 0;
        let mask = if is_masked { take(4)? } else { &[0; 4] };
        let payload = take(length)?.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b).collect();
        frames.push(SentFrame { first: head[0], is_masked, payload });
    }
    Ok(frames)
}

fn write_payload(is_masked: bool, payload: &[u8], out: &mut Vec<u8>) {
    if is_masked {
        // Of the standard's own example (section 5.7); any other is as good.
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        out.extend(mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
    } else {
        out.extend_from_slice(payload);
    }
}

/// First bytes of frames: the opcode (section 5.2), with FIN or without.
pub mod first {
    /// Final frame of a text message.
    pub const TEXT: u8 = 0x81;
    /// Final frame of a binary message.
    pub const BINARY: u8 = 0x82;
    /// Last frame of a message.
    pub const LAST: u8 = 0x80;
    /// A frame in the middle of a message.
    pub const MORE: u8 = 0x00;
    /// First frame of a text message.
    pub const TEXT_BEGIN: u8 = 0x01;
    /// First frame of a binary message.
    pub const BINARY_BEGIN: u8 = 0x02;
    /// Close.
    pub const CLOSE: u8 = 0x88;
    /// Ping.
    pub const PING: u8 = 0x89;
    /// Pong.
    pub const PONG: u8 = 0x8a;
}

fn frame(first: u8, payload: impl AsRef<[u8]>) -> Sent {
    Sent::Frame(first, payload.as_ref().to_vec())
}

fn text(payload: impl AsRef<[u8]>) -> Seen {
    Seen::Message(Kind::Text, payload.as_ref().to_vec())
}

fn binary(payload: impl AsRef<[u8]>) -> Seen {
    Seen::Message(Kind::Binary, payload.as_ref().to_vec())
}

fn pong(payload: impl AsRef<[u8]>) -> Seen {
    Seen::Pong(payload.as_ref().to_vec())
}
