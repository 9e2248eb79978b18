//! A small server in a thread of the test that does right or wrong as it is told.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use nix::sys::socket::{Backlog, MsgFlags, send, setsockopt, sockopt};

/// What it does with what arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Sends it back.
    Echo,
    /// Reads and drops it.
    Discard,
    /// Never reads.
    Silent,
    /// Sends it back with its two halves exchanged.
    Swapped,
    /// Sends the first half of it back, and nothing more.
    Half,
    /// Sends it back with the next one.
    Late,
    /// Sends it back in two halves, with an urgent byte between them.
    EchoUrgent,
    /// Sends it back with the last bit flipped.
    Wrong,
    /// Sends back all but the last byte and closes.
    Short,
    /// Sends everything back twice.
    Twice,
    /// Sends it back and closes at once.
    EchoAndClose,
    /// Says something right after accepting and closes.
    GreetAndClose,
    /// Says something right after accepting, then reads and drops.
    GreetAndDiscard,
    /// Closes by RST as soon as something arrives.
    Reset,
}

#[derive(Default)]
struct Control {
    /// Nothing is accepted, read or written.
    frozen: AtomicBool,
    /// It has seen that it is frozen.
    stands: AtomicBool,
    /// Answer no connection from now on with what it said.
    wrong: AtomicBool,
    /// Behave otherwise from now on.
    other: Mutex<Option<Behaviour>>,
    /// Answer none of the first so many connections from now on.
    deaf_to: AtomicUsize,
    end: AtomicBool,
    accepted: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
}

/// A running server; it ends with the value, all its connections by RST.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A server on a port of the kernel's choice.
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        Self::start_at("127.0.0.1:0", behaviour)
    }

    pub(crate) fn echo() -> Self {
        Self::start(Behaviour::Echo)
    }

    /// A server whose listener and connections have a tiny receive buffer.
    pub(crate) fn echo_with_tiny_window() -> Self {
        let server = bind("127.0.0.1:0");
        setsockopt(&server, sockopt::RcvBuf, &2304).unwrap();
        Self::run(server, Behaviour::Echo)
    }

    /// A server whose accept queue takes no more than so many.
    pub(crate) fn echo_with_backlog(backlog: i32) -> Self {
        let server = bind("127.0.0.1:0");
        nix::sys::socket::listen(&server, Backlog::new(backlog).unwrap()).unwrap();
        Self::run(server, Behaviour::Echo)
    }

    pub(crate) fn start_at(address: &str, behaviour: Behaviour) -> Self {
        Self::run(bind(address), behaviour)
    }

    fn run(listener: std::net::TcpListener, behaviour: Behaviour) -> Self {
        let address = listener.local_addr().unwrap();
        let control = Arc::new(Control { most: AtomicUsize::new(usize::MAX), ..Control::default() });
        let seen = Arc::clone(&control);
        let thread = std::thread::spawn(move || serve(TcpListener::from_std(listener), behaviour, &seen));
        Self { address, control, thread: Some(thread) }
    }

    /// Accepts `most` connections and leaves the others in the queue.
    pub(crate) fn accepting_only(self, most: usize) -> Self {
        self.control.most.store(most, SeqCst);
        self
    }

    /// `HOST:PORT` as the swarm wants it.
    pub(crate) fn at(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn accepted(&self) -> usize {
        self.control.accepted.load(SeqCst)
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.control.open.load(SeqCst)
    }

    pub(crate) fn freeze(&self) {
        self.control.stands.store(false, SeqCst);
        self.control.frozen.store(true, SeqCst);
        while !self.control.stands.load(SeqCst) {
            std::thread::sleep(TURN);
        }
    }

    pub(crate) fn thaw(&self) {
        self.control.frozen.store(false, SeqCst);
    }

    /// From now on it answers with wrong bytes.
    pub(crate) fn go_wrong(&self) {
        self.control.wrong.store(true, SeqCst);
    }

    /// From now on it does something else.
    pub(crate) fn go(&self, behaviour: Behaviour) {
        *self.control.other.lock().unwrap() = Some(behaviour);
    }

    /// From now on it answers none of the first `count` connections that it has taken.
    pub(crate) fn go_deaf_to_first(&self, count: usize) {
        self.control.deaf_to.store(count, SeqCst);
    }

    /// Dies as a killed process does: its listener is gone and every connection reset.
    pub(crate) fn die(mut self) -> SocketAddr {
        self.end();
        self.address
    }

    fn end(&mut self) {
        self.control.end.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// A listener that nobody accepts from, with this backlog.
pub(crate) fn deaf(backlog: i32) -> std::net::TcpListener {
    let listener = bind("127.0.0.1:0");
    nix::sys::socket::listen(&listener, Backlog::new(backlog).unwrap()).unwrap();
    listener
}

const TURN: Duration = Duration::from_millis(10);
const LISTENER: Token = Token(usize::MAX);

fn bind(address: &str) -> std::net::TcpListener {
    let listener = std::net::TcpListener::bind(address).unwrap();
    // std's own backlog of 128 would make a burst of connects wait for SYN retransmits.
    nix::sys::socket::listen(&listener, Backlog::new(4096).unwrap()).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

struct Connection {
    stream: TcpStream,
    /// What could not be written yet.
    pending: Vec<u8>,
    /// What is sent back later.
    kept: Vec<u8>,
    close_after: bool,
}

fn serve(mut listener: TcpListener, behaviour: Behaviour, control: &Control) {
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).unwrap();
    let mut events = Events::with_capacity(256);
    let mut connections: HashMap<usize, Connection> = HashMap::new();
    let mut buffer = vec![0; 64 * 1024];
    while !control.end.load(SeqCst) {
        if control.frozen.load(SeqCst) {
            control.stands.store(true, SeqCst);
            std::thread::sleep(TURN);
            continue;
        }
        control.stands.store(false, SeqCst);
        match poll.poll(&mut events, Some(TURN)) {
            // epoll_wait(2) is interrupted by any stop of the process, and never restarted.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled.unwrap(),
        }
        while control.accepted.load(SeqCst) < control.most.load(SeqCst)
            && let Ok((mut stream, _)) = listener.accept()
        {
            let number = control.accepted.fetch_add(1, SeqCst);
            let interest = Interest::READABLE | Interest::WRITABLE;
            if matches!(behaviour, Behaviour::GreetAndClose | Behaviour::GreetAndDiscard) {
                let _ = stream.write(b"220 welcome\r\n");
            }
            poll.registry().register(&mut stream, Token(number), interest).unwrap();
            if behaviour != Behaviour::GreetAndClose {
                connections.insert(
                    number,
                    Connection { stream, pending: Vec::new(), kept: Vec::new(), close_after: false },
                );
            }
        }
        for event in &events {
            let Token(number) = event.token();
            let Some(connection) = connections.get_mut(&number) else { continue };
            let behaviour = control.other.lock().unwrap().unwrap_or(behaviour);
            let behaviour = match (control.wrong.load(SeqCst), number < control.deaf_to.load(SeqCst)) {
                (_, true) => Behaviour::Silent,
                (true, false) => Behaviour::Wrong,
                (false, false) => behaviour,
            };
            if !treat(connection, behaviour, &mut buffer) {
                connections.remove(&number);
            }
        }
        control.open.store(connections.len(), SeqCst);
    }
    for connection in connections.values() {
        c10k_kernel::socket::set_reset_on_close(connection.stream.as_fd()).unwrap();
    }
}

/// Reads and writes what is possible; whether the connection lives on.
fn treat(connection: &mut Connection, behaviour: Behaviour, buffer: &mut [u8]) -> bool {
    if behaviour == Behaviour::Silent {
        return true;
    }
    loop {
        let length = match connection.stream.read(buffer) {
            Ok(0) => return false,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return false,
        };
        let bytes = &mut buffer[..length];
        match behaviour {
            Behaviour::Echo => connection.pending.extend_from_slice(bytes),
            Behaviour::EchoUrgent => {
                let (first, second) = bytes.split_at(length / 2);
                connection.stream.write_all(first).unwrap();
                send(connection.stream.as_raw_fd(), b"!", MsgFlags::MSG_OOB).unwrap();
                connection.stream.write_all(second).unwrap();
            }
            Behaviour::Swapped => {
                let (first, second) = bytes.split_at(length / 2);
                connection.pending.extend_from_slice(second);
                connection.pending.extend_from_slice(first);
            }
            Behaviour::Half => connection.pending.extend_from_slice(&bytes[..length / 2]),
            Behaviour::Late => {
                let last = std::mem::replace(&mut connection.kept, bytes.to_vec());
                connection.pending.extend_from_slice(&last);
            }
            Behaviour::Twice => {
                connection.pending.extend_from_slice(bytes);
                connection.pending.extend_from_slice(bytes);
            }
            Behaviour::Wrong => {
                bytes[length - 1] ^= 1;
                connection.pending.extend_from_slice(bytes);
            }
            Behaviour::Short | Behaviour::EchoAndClose => {
                let kept = if behaviour == Behaviour::Short { length - 1 } else { length };
                connection.pending.extend_from_slice(&bytes[..kept]);
                connection.close_after = true;
            }
            Behaviour::Reset => {
                c10k_kernel::socket::set_reset_on_close(connection.stream.as_fd()).unwrap();
                return false;
            }
            Behaviour::Discard
            | Behaviour::Silent
            | Behaviour::GreetAndClose
            | Behaviour::GreetAndDiscard => {}
        }
    }
    while !connection.pending.is_empty() {
        match connection.stream.write(&connection.pending) {
            Ok(written) => drop(connection.pending.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
    }
    !connection.close_after
}
