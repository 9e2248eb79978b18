//! The state of one connection.

use super::handshake::Handshake;
use super::partial::Partial;
use super::{CloseCode, Output};

/// So much is kept of what a peer said at the end: a head and the beginning of a page.
const MOST_WORDS_BYTES: usize = 2048;

/// One connection as the wire sees it: eight bytes, and nothing on the heap while it is open and idle.
///
/// Which end it is and what it may bring is not in here but in the [`ServerEnd`](super::ServerEnd) or
/// [`ClientEnd`](super::ClientEnd) that made it and that all its input goes to.
#[derive(Debug, Default)]
pub struct Connection {
    /// `None`: open, between two messages.
    pub(crate) held: Option<Box<Held>>,
}

const _: () = assert!(size_of::<Connection>() <= 8, "every byte here is paid for by every connection");
const _: () = assert!(size_of::<Held>() <= 160, "a crowd of handshakes has one each");

/// All that is not "open, between two messages".
#[derive(Debug)]
pub(crate) enum Held {
    /// The handshake is not over.
    Handshake(Handshake),
    /// Something is not whole, or this end has sent its Close frame.
    Frames(Partial),
    /// Over, and what the peer said at its end: what comes is ignored.
    Ended(Box<[u8]>),
}

impl Connection {
    pub(crate) fn handshaking(handshake: Handshake) -> Self {
        Self { held: Some(Box::new(Held::Handshake(handshake))) }
    }

    /// Whether the handshake is not over.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        matches!(self.held.as_deref(), Some(Held::Handshake(_)))
    }

    /// Whether messages may be sent: the handshake is over and no Close frame has gone out.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self.held.as_deref() {
            None => true,
            Some(Held::Frames(partial)) => !partial.is_closing,
            Some(Held::Handshake(_) | Held::Ended(_)) => false,
        }
    }

    /// Whether this end has sent a Close frame and the peer has not answered it.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        matches!(self.held.as_deref(), Some(Held::Frames(partial)) if partial.is_closing)
    }

    /// Whether it is over: what still comes is ignored.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.held.as_deref(), Some(Held::Ended(_)))
    }

    /// Whether it is open and between two messages: the state in which nothing is lost by ending it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.held.is_none()
    }

    /// Whether it is open and a frame or a message has begun that is not whole: what a deadline is for.
    #[must_use]
    pub fn is_within(&self) -> bool {
        matches!(self.held.as_deref(), Some(Held::Frames(partial)) if !partial.is_closing)
    }

    /// Bytes on the heap for this connection; 0 while it is open and idle.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let Some(held) = self.held.as_deref() else { return 0 };
        size_of::<Held>()
            + match held {
                Held::Handshake(handshake) => handshake.heap_bytes(),
                Held::Frames(partial) => partial.heap_bytes(),
                Held::Ended(said) => said.len(),
            }
    }

    /// Begins to close: writes a Close frame with a reason of up to 123 bytes, after which nothing but Pongs goes
    /// out and messages are dropped, until the peer's own Close frame ends it. Waiting for that is the caller's.
    /// False, and nothing written, when it was not open.
    pub fn close(&mut self, code: CloseCode, reason: &str, out: &mut Output<'_>) -> bool {
        if !self.is_open() {
            return false;
        }
        out.close(Some(code), reason);
        let held = self.held.get_or_insert_with(|| Box::new(Held::Frames(Partial::default())));
        if let Held::Frames(partial) = &mut **held {
            partial.is_closing = true;
        }
        true
    }

    /// What the peer said when it ended, in however many pieces that came: the reason in its Close frame, or the
    /// beginning of a response that did not open the connection. Empty where it said nothing.
    #[must_use]
    pub fn last_words(&self) -> &[u8] {
        match self.held.as_deref() {
            Some(Held::Ended(said)) => said,
            _ => &[],
        }
    }

    pub(crate) fn end(&mut self, said: &[u8]) {
        self.held = Some(Box::new(Held::Ended(said[..said.len().min(MOST_WORDS_BYTES)].into())));
    }
}
