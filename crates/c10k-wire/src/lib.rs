//! What is spoken over a connection, as state machines over bytes.
//!
//! This room knows the bytes of a probe and how an echo of it is checked, at the end that asks and at the end
//! that answers. It refuses to know sockets, threads and clocks: bytes come in, bytes and decisions go out,
//! so every rule in here can be tested without a network.

pub mod raw;
