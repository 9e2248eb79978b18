//! What is spoken over a connection, as state machines over bytes.
//!
//! This room knows the bytes of a probe and how an echo of it is checked, what a server pushes by itself, and
//! WebSocket (RFC 6455): handshake, frames, messages, closing, at the end that asks and at the end that answers. It refuses to know sockets,
//! threads and clocks: bytes and times come in, bytes and decisions go out, so every rule in here can be tested without
//! a network. How long a step may take, and how much may wait of what a peer does not read, are its caller's. What both
//! ends keep beside their tables is one here: a connection's name in its table ([`Key`]), its turn to be read
//! ([`ReadTurn`]), output that waits ([`PendingOutputs`]), and the wheel on which steps wait for their time ([`Wheel`]).

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod content;
mod http;
mod key;
mod pending;
pub mod push;
pub mod raw;
mod turn;
mod wheel;
pub mod ws;

pub use content::{Contents, MessageId};
pub use key::Key;
pub use pending::{Left, Pending, PendingOutputs};
pub use turn::{AfterRead, ReadTurn, TURN_BYTES};
pub use wheel::Wheel;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
