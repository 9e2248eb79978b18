//! What makes a connection, behind one boundary.
//!
//! Arrivals, probes and counting stand on this side of [`Maker`]; what a connection is made of stands on the
//! other. [`KernelSockets`] makes it of a kernel socket watched by epoll; an endpoint in user space can stand
//! here as well. Of descriptors this side knows only that a maker may be out of them ([`BeginError`]), which one
//! without any never is.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use c10k_kernel::epoll::{Epoll, Interest};
use c10k_kernel::socket::{self, Address};
use c10k_profile::SocketOptions;

use crate::sources::{PortChoice, Tuple};

/// How much of a connection stands right after it was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The connect is under way.
    UnderWay,
    /// The connect has completed.
    Completed,
}

/// Why a connection could not be begun.
#[derive(Debug)]
pub enum BeginError {
    /// This tuple is taken by somebody else; the connection may try another one.
    TupleTaken(io::Error),
    /// This worker can make no more, another one may: its own descriptor table is full (EMFILE).
    TableFull(io::Error),
    /// Nobody here can make more: no descriptor is left (ENFILE, or EMFILE where the table is shared).
    NoDescriptor(io::Error),
    /// Anything else.
    Failed(io::Error),
}

/// What has become ready.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// The token the connection was begun with.
    pub token: u64,
    /// Something can be read, or the peer has closed.
    pub readable: bool,
    /// Something can be written.
    pub writable: bool,
    /// A short read does not say that nothing is left: behind it stands the end, or what was sent after urgent data,
    /// and nothing reports it again.
    pub until_empty: bool,
    /// The connection has failed; the cause is in [`Maker::failure`].
    pub failed: bool,
}

/// What the swarm needs of whatever makes its connections. One maker belongs to one worker.
pub trait Maker {
    /// One connection.
    type Connection;

    /// Begins a connection over `tuple`.
    ///
    /// # Errors
    /// [`BeginError`] says whether another tuple, or another table, could do better.
    fn begin(&mut self, tuple: &Tuple) -> Result<(Self::Connection, Begun), BeginError>;

    /// Reports this connection's readiness under `token` from now on, once for each change: for reading, and
    /// when `writable`, for writing too.
    ///
    /// # Errors
    /// As epoll_ctl(2): ENOSPC when `fs.epoll.max_user_watches` is reached.
    fn watch(&mut self, connection: &Self::Connection, token: u64, writable: bool) -> io::Result<()>;

    /// Reports writability of a watched connection too.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    fn watch_writable(&mut self, connection: &Self::Connection, token: u64) -> io::Result<()>;

    /// Sends what fits.
    ///
    /// # Errors
    /// As send(2).
    fn send(&mut self, connection: &Self::Connection, bytes: &[u8]) -> io::Result<usize>;

    /// What is awaited will not be answered: its acknowledgement waits for nothing.
    fn will_not_answer(&mut self, connection: &Self::Connection);

    /// Receives what is there.
    ///
    /// # Errors
    /// As recv(2).
    fn receive(&mut self, connection: &Self::Connection, buffer: &mut [u8]) -> io::Result<usize>;

    /// The error that a failed connection holds.
    fn failure(&mut self, connection: &Self::Connection) -> Option<io::Error>;

    /// Sends what fits, and where that is all of it the end of the stream, at once.
    ///
    /// # Errors
    /// As send(2) and shutdown(2).
    fn send_last(&mut self, connection: &Self::Connection, bytes: &[u8]) -> io::Result<usize>;

    /// Ends a connection: in good order, or by RST.
    fn end(&mut self, connection: Self::Connection, reset: bool);

    /// Waits until something is ready, at most `timeout`, and appends it to `ready`. Arrivals are due to the
    /// microsecond: a maker that rounds the timeout up makes them late.
    ///
    /// # Errors
    /// As epoll_wait(2); EINTR is no error.
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()>;
}

/// The token of the bell, which no connection has.
const BELL: u64 = u64::MAX;
/// Most events of one wait.
const MOST_EVENTS: usize = 256;

/// Connections made of kernel sockets, watched by one epoll instance.
pub struct KernelSockets {
    epoll: Epoll,
    choice: PortChoice,
    options: Option<SocketOptions>,
    own_table: bool,
}

impl KernelSockets {
    /// A maker with its own epoll instance in the calling thread's descriptor table. The bell of this number
    /// (see [`c10k_kernel::bell`]) ends its wait. `own_table` says that no other worker has this table.
    ///
    /// # Errors
    /// As epoll_create1(2) and epoll_ctl(2).
    pub fn new(choice: PortChoice, options: SocketOptions, bell: RawFd, own_table: bool) -> io::Result<Self> {
        let epoll = Epoll::new(MOST_EVENTS)?;
        epoll.add(bell, BELL, Interest::Read)?;
        let options = (!options.sets_nothing()).then_some(options);
        Ok(Self { epoll, choice, options, own_table })
    }

    /// Binds the socket to the tuple's local end.
    fn fix_source(&self, socket: &OwnedFd, tuple: &Tuple) -> io::Result<()> {
        let socket = socket.as_fd();
        let bind_to = |port| socket::bind(socket, &Address::from(SocketAddr::new(tuple.source, port)));
        match self.choice {
            PortChoice::OnePortRange => {
                socket::set_bind_address_no_port(socket)?;
                socket::set_local_port_range(socket, tuple.port, tuple.port)?;
                bind_to(0)
            }
            PortChoice::Explicit => {
                socket::set_reuse_address(socket)?;
                bind_to(tuple.port)
            }
        }
    }
}

impl Maker for KernelSockets {
    type Connection = OwnedFd;

    fn begin(&mut self, tuple: &Tuple) -> Result<(OwnedFd, Begun), BeginError> {
        let server = Address::from(tuple.server);
        let socket = socket::stream_for(&server).map_err(|error| match error.raw_os_error() {
            Some(libc::EMFILE) if self.own_table => BeginError::TableFull(error),
            Some(libc::EMFILE | libc::ENFILE) => BeginError::NoDescriptor(error),
            _ => BeginError::Failed(error),
        })?;
        if let Some(options) = &self.options {
            options.set_on(socket.as_fd()).map_err(BeginError::Failed)?;
        }
        let taken = |error: io::Error, errno: i32| match error.raw_os_error() {
            Some(number) if number == errno => BeginError::TupleTaken(error),
            _ => BeginError::Failed(error),
        };
        // bind: EADDRINUSE is a port taken, EADDRNOTAVAIL an address that is not on this machine (bind(2)).
        self.fix_source(&socket, tuple).map_err(|error| taken(error, libc::EADDRINUSE))?;
        match socket::connect(socket.as_fd(), &server) {
            Ok(()) => Ok((socket, Begun::Completed)),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok((socket, Begun::UnderWay)),
            Err(error) => Err(taken(error, libc::EADDRNOTAVAIL)),
        }
    }

    fn watch(&mut self, connection: &OwnedFd, token: u64, writable: bool) -> io::Result<()> {
        let interest = if writable { Interest::ReadWrite } else { Interest::Read };
        self.epoll.add(connection.as_raw_fd(), token, interest)
    }

    fn watch_writable(&mut self, connection: &OwnedFd, token: u64) -> io::Result<()> {
        self.epoll.modify(connection.as_raw_fd(), token, Interest::ReadWrite)
    }

    fn send(&mut self, connection: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
        socket::send(connection.as_fd(), bytes)
    }

    fn will_not_answer(&mut self, connection: &OwnedFd) {
        // Where that cannot be had there is a timer.
        let _ = socket::acknowledge_at_once(connection.as_fd());
    }

    fn receive(&mut self, connection: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
        socket::recv(connection.as_fd(), buffer)
    }

    fn failure(&mut self, connection: &OwnedFd) -> Option<io::Error> {
        socket::take_error(connection.as_fd()).unwrap_or_else(Some)
    }

    fn send_last(&mut self, connection: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
        socket::send_last(connection.as_fd(), bytes)
    }

    fn end(&mut self, connection: OwnedFd, reset: bool) {
        if reset {
            // A failure here only means that the close is an ordinary one.
            let _ = socket::set_reset_on_close(connection.as_fd());
        }
        drop(connection);
    }

    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let events = self.epoll.wait(timeout)?;
        ready.extend(events.filter(|event| event.token != BELL).map(|event| Ready {
            token: event.token,
            readable: event.is_readable() || event.is_read_closed(),
            writable: event.is_writable(),
            until_empty: event.is_read_closed() || event.is_urgent(),
            failed: event.is_error(),
        }));
        Ok(())
    }
}
