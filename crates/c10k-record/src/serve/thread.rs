//! The thread that serves: one poll(2) over the listener and a few clients.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::conversation::{Conversation, HEAD_BYTES};
use super::listening::{ListenError, Listening};
use super::request::Routes;

/// How long a request may take from its first byte, or from the connect, until its answer is taken.
const REQUEST: Duration = Duration::from_secs(5);
/// How long a client that asks nothing may stay: longer than the usual time between two scrapes.
const IDLE: Duration = Duration::from_secs(150);
/// The same of one that keeps its place, and so has something to say every few seconds.
const KEPT: Duration = Duration::from_secs(15);
/// How long a client that was refused is listened to: a close with unread input is a reset, which would take the answer
/// from it.
const LAST: Duration = Duration::from_secs(1);
/// Until accept(2) is tried again where no descriptor was free.
const AGAIN: Duration = Duration::from_millis(100);
/// Descriptors that are held for clients who come when there is no other.
const SPARES: usize = 2;
/// Reads and writes for one client before the others have their turn.
const TURN: usize = 16;

/// Starts the thread and returns once it listens. `open` is called in it: a thread with a descriptor table of its own
/// takes nothing of the others'.
///
/// # Errors
/// Those of `open`; EAGAIN where no thread may be started.
pub fn start<R: Routes + Send + 'static>(
    what: &'static str,
    open: impl FnOnce() -> Result<Listening, ListenError> + Send + 'static,
    routes: R,
) -> Result<SocketAddr, ListenError> {
    let (opened, has_opened) = sync_channel(1);
    let spawned =
        std::thread::Builder::new().name("http".to_owned()).stack_size(R::STACK_BYTES).spawn(move || {
            let listening = open().and_then(|listening| match listening.socket.set_nonblocking(true) {
                Ok(()) => Ok(listening),
                Err(error) => Err(listening.refused(error)),
            });
            match listening {
                Ok(listening) => {
                    // The one who waits for this is there: it waits without an end.
                    let _ = opened.send(Ok(listening.address()));
                    Server::new(listening.socket, routes).serve();
                }
                Err(error) => drop(opened.send(Err(error))),
            }
        });
    let no_thread = |source| ListenError::Thread { what, source };
    spawned.map_err(no_thread)?;
    has_opened.recv().unwrap_or_else(|_| Err(no_thread(ErrorKind::BrokenPipe.into())))
}

struct Server<R> {
    listener: TcpListener,
    routes: R,
    clients: Vec<Client>,
    spares: Vec<File>,
    /// No descriptor was free.
    accept_again_at: Option<Instant>,
}

struct Client {
    stream: TcpStream,
    conversation: Conversation,
    /// Since when it asks nothing, where it does not.
    idle_since: Instant,
    until: Instant,
    /// The last answer is said; what still comes is read and forgotten.
    is_ending: bool,
}

impl<R: Routes> Server<R> {
    fn new(listener: TcpListener, routes: R) -> Self {
        let mut server =
            Self { listener, routes, clients: Vec::new(), spares: Vec::new(), accept_again_at: None };
        server.take_spares();
        server
    }

    /// Without an end, but where poll(2) itself fails.
    fn serve(mut self) {
        while let Ok((clients, listener)) = self.wait() {
            self.go_on(&clients, listener);
            self.take_spares();
        }
    }

    /// Waits until something can be done: for which clients, and whether for the listener.
    fn wait(&mut self) -> Result<(Vec<bool>, bool), Errno> {
        let now = Instant::now();
        self.accept_again_at = self.accept_again_at.filter(|at| *at > now);
        let ends = self.clients.iter().map(|client| client.until);
        let next = ends.chain(self.accept_again_at).min();
        let timeout = next.map_or(PollTimeout::NONE, |next| {
            // Rounded up: a deadline is over when it is looked at.
            let left = next.saturating_duration_since(now) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let mut watched: Vec<PollFd<'_>> = self.clients.iter().map(Client::watched).collect();
        if self.accept_again_at.is_none() {
            watched.push(PollFd::new(self.listener.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut watched, timeout) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok((vec![false; self.clients.len()], false)),
            Err(error) => return Err(error),
        }
        let mut ready: Vec<bool> = watched.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        let listener = ready.len() > self.clients.len() && ready.pop() == Some(true);
        Ok((ready, listener))
    }

    fn go_on(&mut self, ready: &[bool], listener: bool) {
        let now = Instant::now();
        let mut ready = ready.iter();
        let routes = &self.routes;
        routes.is_saying(true);
        self.clients.retain_mut(|client| {
            let is_ready = ready.next() == Some(&true);
            let stays = !is_ready || client.go_on(routes, now);
            stays && client.until > now
        });
        if listener {
            self.accept(now);
        }
        self.routes.is_saying(self.clients.iter().any(|client| !client.conversation.to_say().is_empty()));
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..TURN {
            let (stream, peer) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if is_for_want_of_a_descriptor(&error) => {
                    if self.spares.pop().is_some() {
                        continue;
                    }
                    self.accept_again_at = Some(now + AGAIN);
                    return;
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return,
                    // accept(2) also passes on what was pending on the new socket.
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => continue,
                    _ => {
                        self.accept_again_at = Some(now + AGAIN);
                        return;
                    }
                },
            };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            if !self.makes_room() {
                continue;
            }
            let mut client = Client {
                stream,
                conversation: Conversation::new(peer.ip()),
                idle_since: now,
                until: now + REQUEST,
                is_ending: false,
            };
            // Its request may be here already.
            if client.go_on(&self.routes, now) {
                self.clients.push(client);
            }
        }
    }

    /// Of those who ask nothing the one that has done so for the longest time gives its place to one who comes, else the
    /// one whose request began first; false where all keep theirs.
    fn makes_room(&mut self) -> bool {
        if self.clients.len() < R::MOST_CLIENTS {
            return true;
        }
        let places = self.clients.iter().enumerate();
        let of_use = |client: &Client| match client.conversation.is_idle() {
            true => (false, client.idle_since),
            false => (true, client.until),
        };
        let least = places
            .filter(|(_, client)| !client.conversation.keeps_place())
            .min_by_key(|(_, client)| of_use(client));
        least.map(|(place, _)| place).map(|place| self.clients.swap_remove(place)).is_some()
    }

    fn take_spares(&mut self) {
        while self.spares.len() < SPARES {
            let Ok(spare) = File::open("/dev/null") else { return };
            self.spares.push(spare);
        }
    }
}

impl Client {
    fn watched(&self) -> PollFd<'_> {
        let says = !self.conversation.to_say().is_empty();
        PollFd::new(self.stream.as_fd(), if says { PollFlags::POLLOUT } else { PollFlags::POLLIN })
    }

    /// Says and hears what can be; false when it is over.
    fn go_on(&mut self, routes: &impl Routes, now: Instant) -> bool {
        let mut bytes = [0; HEAD_BYTES];
        for _ in 0..TURN {
            let done = if self.conversation.to_say().is_empty() {
                self.stream.read(&mut bytes).inspect(|&count| self.heard(&bytes[..count], routes, now))
            } else {
                self.stream.write(self.conversation.to_say()).inspect(|&count| self.said(count, routes, now))
            };
            match done {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn heard(&mut self, bytes: &[u8], routes: &impl Routes, now: Instant) {
        if self.is_ending || bytes.is_empty() {
            return;
        }
        if self.conversation.is_idle() {
            self.until = now + REQUEST;
        }
        self.conversation.hear(bytes, routes);
    }

    fn said(&mut self, count: usize, routes: &impl Routes, now: Instant) {
        self.conversation.said(count, routes);
        if self.conversation.is_over() {
            // A client that is gone has nothing more to read.
            let _ = self.stream.shutdown(Shutdown::Write);
            (self.is_ending, self.until) = (true, now + LAST);
        } else if self.conversation.is_idle() {
            self.idle_since = now;
            self.until = now + if self.conversation.keeps_place() { KEPT } else { IDLE };
        }
    }
}

fn is_for_want_of_a_descriptor(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;

    use super::super::request::{Answer, Request};
    use super::*;

    /// Those of the routes below.
    const MOST_CLIENTS: usize = 8;

    /// Longer than anything takes on a busy machine, and shorter than what ends by itself.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn serve() -> SocketAddr {
        let routes = |request: &Request<'_>| {
            let answer = Answer::words("x".repeat(100_000));
            if request.path == "/kept" { answer.keeping_its_place() } else { answer }
        };
        start("metrics", || Listening::open("0".parse().expect("an address"), "metrics"), routes)
            .expect("it serves")
    }

    fn client(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream
    }

    /// Asks, and reads the whole answer of a connection that stays.
    fn ask(stream: &mut TcpStream) -> String {
        ask_for("/", stream)
    }

    fn ask_for(path: &str, stream: &mut TcpStream) -> String {
        write!(stream, "GET {path} HTTP/1.1\r\n\r\n").expect("asked");
        let mut reader = io::BufReader::new(stream);
        let (mut head, mut body) = (String::new(), vec![0; 100_000]);
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).expect("a line") > 0, "{head}");
        }
        reader.read_exact(&mut body).expect("the body");
        head
    }

    #[test]
    fn one_connection_serves_many_looks() {
        let mut stream = client(serve());
        for _ in 0..3 {
            assert!(ask(&mut stream).starts_with("HTTP/1.1 200 OK\r\n"));
        }
    }

    /// Whether it gets no answer any more.
    fn is_gone(mut stream: TcpStream) -> bool {
        // A connection that was ended may take this still.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
        !matches!(stream.read(&mut [0]), Ok(1))
    }

    #[test]
    fn where_all_places_are_taken_the_one_that_asked_nothing_for_the_longest_time_gives_its_own() {
        let address = serve();
        let mut idle: Vec<TcpStream> = (1..MOST_CLIENTS).map(|_| client(address)).collect();
        for stream in &mut idle {
            ask(stream);
        }
        let mut new = client(address);
        let mut comes = client(address);
        ask(&mut comes);
        ask(&mut new);
        assert!(is_gone(idle.remove(0)), "it was idle for the longest time");
        for stream in &mut idle {
            ask(stream);
        }
    }

    #[test]
    fn one_that_keeps_its_place_gives_it_to_nobody() {
        let address = serve();
        let mut kept: Vec<TcpStream> = (0..MOST_CLIENTS).map(|_| client(address)).collect();
        for stream in &mut kept {
            ask_for("/kept", stream);
        }
        assert!((0..2 * MOST_CLIENTS).all(|_| is_gone(client(address))), "there is no place for more");
        for stream in &mut kept {
            ask(stream);
        }
        kept.pop();
        ask(&mut client(address));
    }

    #[test]
    fn clients_that_say_nothing_take_no_ones_place() {
        let address = serve();
        let silent: Vec<TcpStream> = (0..3 * MOST_CLIENTS).map(|_| client(address)).collect();
        let halves: Vec<TcpStream> = (0..3 * MOST_CLIENTS)
            .map(|_| {
                let mut half = client(address);
                half.write_all(b"GET / HT").expect("said");
                half
            })
            .collect();
        assert!(ask(&mut client(address)).starts_with("HTTP/1.1 200 OK\r\n"));
        drop((silent, halves));
    }

    #[test]
    fn one_that_reads_nothing_and_asks_on_keeps_nobody_waiting() {
        let address = serve();
        let mut deaf = client(address);
        deaf.set_nonblocking(true).expect("set");
        // Until neither side takes anything more.
        let asked = (0..100_000).take_while(|_| deaf.write(b"GET / HTTP/1.1\r\n\r\n").is_ok()).count();
        assert!(asked > 0);
        assert!(ask(&mut client(address)).starts_with("HTTP/1.1 200 OK\r\n"));
    }

    #[test]
    fn one_that_is_refused_reads_why_whatever_else_it_sends() {
        let mut stream = client(serve());
        stream.write_all(&b"garbage\r\n".repeat(5000)).expect("sent");
        let mut said = String::new();
        stream.read_to_string(&mut said).expect("an end in good order");
        assert!(said.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{said}");
    }
}
