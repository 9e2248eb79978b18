//! WebSocket (RFC 6455) for both ends, over bytes.
//!
//! A worker has one [`ServerEnd`] or [`ClientEnd`], one buffer it reads into and one it writes from; a connection
//! is a [`Connection`] of eight bytes. What was read goes into `receive`, which unmasks it where it lies, hands
//! out whole messages, writes what is to be sent and says when it is over ([`Received::end`]). Only what is not
//! whole when the input ends is kept, within [`Limits`], and given back when it is.
//!
//! Extensions are never negotiated, permessage-deflate neither: the standard lets an endpoint leave any out.

mod client;
mod connection;
mod frame;
mod handshake;
mod mask;
mod names;
mod output;
mod partial;
mod policy;
mod probe;
mod reader;
mod refusal;
mod request;
mod server;
mod violation;

use std::borrow::Cow;

use crate::http::head::HeadLimits;

pub use crate::http::head::HeadFault;
pub use client::ClientEnd;
pub use connection::Connection;
pub use handshake::HandshakeFault;
pub use mask::{Masks, apply as apply_mask};
pub use output::{Output, begin_binary};
pub use policy::{BadPolicy, ServerPolicy};
pub use probe::check_probe;
pub use refusal::Refusal;
pub use request::{BadRequest, ClientRequest, Url};
pub use server::ServerEnd;
pub use violation::{CloseCode, Violation};

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The one that accepts; what it receives is masked.
    Server,
    /// The one that asks; what it sends is masked.
    Client,
}

/// What a peer may bring. Nothing is allocated for what goes beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Payload of one frame, bytes; a bigger one is answered with Close 1009.
    pub max_frame_bytes: u32,
    /// A message, all its frames together, bytes; a bigger one is answered with Close 1009.
    pub max_message_bytes: u32,
    /// Frames of one message, empty ones counted; more are answered with Close 1008.
    pub max_fragments: u32,
    /// The head of a handshake, its last empty line included, bytes.
    pub max_handshake_bytes: u32,
    /// Header lines of a handshake, at most 124.
    pub max_headers: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame_bytes: 1 << 20,
            max_message_bytes: 1 << 20,
            max_fragments: 1 << 16,
            max_handshake_bytes: 8 << 10,
            max_headers: 64,
        }
    }
}

/// The most header lines that the parser behind this takes.
const MOST_HEADERS: u16 = tungstenite::handshake::headers::MAX_HEADERS as u16;

impl Limits {
    /// Those of a head.
    fn head(&self) -> HeadLimits {
        HeadLimits { max_bytes: self.max_handshake_bytes, max_headers: self.max_headers.min(MOST_HEADERS) }
    }
}

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Valid UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// A whole message, unmasked, in the caller's buffer or in what was kept of it.
#[derive(Debug)]
pub struct Message<'a> {
    /// Its type.
    pub kind: Kind,
    /// Its bytes; valid UTF-8 when the type is text.
    pub payload: &'a mut [u8],
}

/// Sends a message back as it came: a server's answer in echo mode, for `receive`.
#[inline]
pub fn echo(message: &mut Message<'_>, out: &mut Output<'_>) {
    out.message(message.kind, message.payload);
}

/// Drops a message, for `receive`.
pub fn discard(_: &mut Message<'_>, _: &mut Output<'_>) {}

/// What some input has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Received {
    /// It completed the handshake.
    pub opened: bool,
    /// Messages handed out.
    pub messages: u32,
    /// Pings, each answered unless there were very many at once.
    pub pings: u32,
    /// Pongs, asked for or not.
    pub pongs: u32,
    /// Input completed something begun earlier. If the connection is still [within](Connection::is_within) something,
    /// it is a new one. Interleaved control frames do not count.
    pub finished: bool,
    /// Whether it is over. Once: what comes after it is ignored.
    pub end: Option<Ended>,
}

/// How a connection ended, as far as bytes tell. What was written to the output is still to be sent. Then a
/// server closes TCP at once, and a client waits for the server to do so (RFC 6455 section 7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Both ends have sent a Close frame; the code in the peer's, if it gave one.
    Closed(Option<CloseCode>),
    /// The peer broke a rule; a Close frame that says so was written unless one had gone out before.
    Violated(Violation),
    /// Server: the request was refused, and a response written that says why.
    Refused(Refusal),
    /// Server: a plain GET or HEAD of `/healthz`, answered with 200.
    Healthy,
    /// Client: the server's response is not the one that opens a connection.
    Failed(HandshakeFault),
}

impl Ended {
    /// The name it is counted under, such as `close-1009` or `handshake-status-429`. A close without a code is
    /// `close-1005` (RFC 6455 section 7.1.5).
    #[must_use]
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Self::Closed(code) => format!("close-{}", code.map_or(1005, CloseCode::get)).into(),
            Self::Violated(violation) => violation.name().into(),
            Self::Refused(refusal) => refusal.name().into(),
            Self::Healthy => "healthz".into(),
            Self::Failed(fault) => fault.name(),
        }
    }
}
