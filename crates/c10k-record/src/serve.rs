//! A small HTTP server on a thread of its own, by which a program tells how it stands while it works.
//!
//! # What it costs
//! Nothing until somebody asks: its one thread sleeps in poll(2), which needs neither an epoll instance nor a watch. It
//! never waits for one client: each has a time in which its request must be whole and its answer taken, a head has a
//! largest size, and where more clients come than there are places the one that has been of least use makes room.
//!
//! # What it survives
//! A client that is not let in is refused by its head; a body is read of those alone who are, up to a largest size. And
//! a full descriptor table: it holds spare descriptors, and gives one up for each client that it could not take
//! otherwise. It ends with its process, which does not wait for it.
//!
//! Heads are read by httparse; the rest is by hand, since it must answer when the descriptor table is full, which is when
//! it is asked.

mod conversation;
mod listening;
mod request;
mod thread;

pub use listening::{HttpAddress, ListenError, Listening};
pub use request::{Answer, Method, Request, Routes};
pub use thread::start;
