//! What a WebSocket connection costs with tungstenite's own socket, all of its buffers at their defaults: an echo
//! server of one thread, non-blocking, over epoll. It stands beside `c10k-server --protocol ws` in
//! `scripts/bench-ws.sh` and is good for nothing else.
//!
//! `stock_tungstenite ADDRESS:PORT` says `listening on …` and serves until it is killed.
#![allow(clippy::print_stdout, reason = "its one line says that it is ready")]

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};
use tungstenite::handshake::server::{NoCallback, ServerHandshake};
use tungstenite::handshake::{HandshakeError, MidHandshake};
use tungstenite::{Error, WebSocket};

const LISTENER: Token = Token(usize::MAX);

enum Connection {
    Shaking(MidHandshake<ServerHandshake<TcpStream, NoCallback>>),
    Open(WebSocket<TcpStream>),
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).and_then(|text| text.parse::<SocketAddr>().ok());
    let address = address.ok_or_else(|| io::Error::other("usage: stock_tungstenite ADDRESS:PORT"))?;
    c10k_kernel::limits::raise_nofile_soft_to_hard()?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(65_535)?;
    let mut listener = TcpListener::from_std(socket.into());
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on {}", listener.local_addr()?);
    let mut connections: HashMap<usize, Connection> = HashMap::new();
    let mut next = 0;
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() != LISTENER {
                let Token(number) = event.token();
                if let Some(connection) = connections.remove(&number).and_then(serve) {
                    connections.insert(number, connection);
                }
                continue;
            }
            while let Ok((mut stream, _)) = listener.accept() {
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, Token(next), interest)?;
                if let Some(connection) = shaken(tungstenite::accept(stream)) {
                    connections.insert(next, connection);
                }
                next += 1;
            }
        }
    }
}

/// Goes on with a handshake or echoes; `None` when the connection is over.
fn serve(connection: Connection) -> Option<Connection> {
    match connection {
        Connection::Shaking(handshake) => shaken(handshake.handshake()),
        Connection::Open(socket) => echo(socket),
    }
}

fn shaken(
    result: Result<WebSocket<TcpStream>, HandshakeError<ServerHandshake<TcpStream, NoCallback>>>,
) -> Option<Connection> {
    match result {
        // Frames may stand behind the request.
        Ok(socket) => echo(socket),
        Err(HandshakeError::Interrupted(handshake)) => Some(Connection::Shaking(handshake)),
        Err(HandshakeError::Failure(_)) => None,
    }
}

fn echo(mut socket: WebSocket<TcpStream>) -> Option<Connection> {
    loop {
        let result = match socket.read() {
            Ok(message) if message.is_text() || message.is_binary() => socket.send(message),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => {}
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                // What waits goes out as far as there is room; epoll tells when there is more.
                let _ = socket.flush();
                return Some(Connection::Open(socket));
            }
            Err(_) => return None,
        }
    }
}
