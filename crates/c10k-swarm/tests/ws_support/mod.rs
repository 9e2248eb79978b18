//! A WebSocket server of the test's own with a thread for each connection, that does right or wrong as it is told.

#![allow(dead_code, reason = "every test file uses its own part of this vocabulary")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use c10k_wire::conformance::{self, SentFrame, first, write_frame};
use c10k_wire::ws::{ServerEnd, discard};
use nix::sys::socket::Backlog;

use crate::common::{Ended, PATIENCE, run};

/// Connections of a swarm that is [`against`] a server.
pub(crate) const COUNT: u64 = 40;

/// What a peer does with its connection, of which it gets the number in the order of accepting.
pub(crate) type Part = dyn Fn(usize, &Peer) + Send + Sync;

/// A running server.
pub(crate) struct WsServer {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<JoinHandle<()>>>>,
    faults: Arc<Mutex<Vec<String>>>,
}

impl WsServer {
    /// A server whose connections all go as `part` says.
    pub(crate) fn start(part: impl Fn(usize, &Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        nix::sys::socket::listen(&listener, Backlog::new(4096).unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let faults = Arc::new(Mutex::new(Vec::new()));
        let thread = {
            let (accepted, end, faults) = (Arc::clone(&accepted), Arc::clone(&end), Arc::clone(&faults));
            std::thread::spawn(move || {
                accept(&listener, &accepted, &end, &faults, &(Arc::new(part) as Arc<Part>))
            })
        };
        Self { address, accepted, end, thread: Some(thread), faults }
    }

    /// `HOST:PORT` as the swarm wants it.
    pub(crate) fn at(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    /// Ends it, and fails with what any of its connections found wrong.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        self.join();
        let faults = self.faults.lock().unwrap();
        assert!(faults.is_empty(), "{} connections found faults, the first: {}", faults.len(), faults[0]);
    }

    fn join(&mut self) {
        self.end.store(true, SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().into_iter().for_each(|part| part.join().unwrap());
        }
    }
}

impl Drop for WsServer {
    fn drop(&mut self) {
        self.join();
    }
}

/// A swarm of [`COUNT`] against a server whose every connection goes as `part` says.
#[track_caller]
pub(crate) fn against(part: impl Fn(&Peer) + Send + Sync + 'static, arguments: &[&str]) -> Ended {
    let server = WsServer::start(move |_, peer| part(peer));
    let ended = run(&[&["--url", &server.url(), "--target", "40"], arguments].concat());
    server.finish();
    ended
}

fn accept(
    listener: &TcpListener,
    accepted: &AtomicUsize,
    end: &AtomicBool,
    faults: &Arc<Mutex<Vec<String>>>,
    part: &Arc<Part>,
) -> Vec<JoinHandle<()>> {
    let mut parts = Vec::new();
    for stream in listener.incoming().map_while(Result::ok) {
        if end.load(SeqCst) {
            break;
        }
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let number = accepted.fetch_add(1, SeqCst);
        let (part, faults) = (Arc::clone(part), Arc::clone(faults));
        let run = move || {
            let peer = Peer { stream, faults };
            part(number, &peer);
        };
        parts.push(std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap());
    }
    parts
}

/// One connection of the server.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    faults: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    /// Notes what must not be; the test fails with it at its end.
    pub(crate) fn fault(&self, what: impl Into<String>) {
        self.faults.lock().unwrap().push(what.into());
    }

    pub(crate) fn expect(&self, is_right: bool, what: impl FnOnce() -> String) {
        if !is_right {
            self.fault(what());
        }
    }

    /// The request up to its empty line; `None` when the swarm has gone.
    pub(crate) fn request(&self) -> Option<String> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match (&self.stream).read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return None,
            }
        }
        Some(String::from_utf8(head).unwrap())
    }

    /// Sends bytes; whether they were taken.
    pub(crate) fn write(&self, bytes: &[u8]) -> bool {
        (&self.stream).write_all(bytes).is_ok()
    }

    /// Sends bytes in pieces of this size, one segment each.
    pub(crate) fn write_in_pieces(&self, bytes: &[u8], size: usize) -> bool {
        bytes.chunks(size).all(|piece| self.write(piece))
    }

    /// Sends a frame without a mask.
    pub(crate) fn send(&self, first: u8, payload: &[u8]) -> bool {
        self.write(&frame(first, payload))
    }

    /// Shakes hands; false when the swarm has gone.
    pub(crate) fn open(&self) -> bool {
        self.request().is_some_and(|request| self.write(&response_to(&request)))
    }

    /// The next frame; `None` at the end of the stream, however it comes.
    pub(crate) fn next(&self) -> Option<SentFrame> {
        let mut bytes = vec![0; 2];
        self.fill(&mut bytes)?;
        let long = match bytes[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        bytes.resize(2 + long, 0);
        self.fill(&mut bytes[2..])?;
        let length = match long {
            0 => usize::from(bytes[1] & 0x7f),
            _ => bytes[2..].iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)),
        };
        let head = bytes.len();
        bytes.resize(head + length + if bytes[1] & 0x80 != 0 { 4 } else { 0 }, 0);
        self.fill(&mut bytes[head..])?;
        let frame = conformance::read_frames(&bytes).unwrap().remove(0);
        self.expect(frame.is_masked, || format!("a frame of the swarm has no mask: {frame:?}"));
        Some(frame)
    }

    fn fill(&self, bytes: &mut [u8]) -> Option<()> {
        match (&self.stream).read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) => {
                let ended = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                self.expect(ended.contains(&error.kind()), || format!("no end: {error}"));
                None
            }
        }
    }

    /// Echoes messages and answers a Close; how it ended: with the code of the Close, or without one.
    pub(crate) fn echo(&self) -> Option<u16> {
        while let Some(frame) = self.next() {
            match frame.first {
                first::BINARY => drop(self.send(first::BINARY, &frame.payload)),
                first::CLOSE => {
                    self.send(first::CLOSE, &frame.payload);
                    let code =
                        frame.payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                    return Some(code);
                }
                other => self.fault(format!("a swarm says {other:#x}")),
            }
        }
        None
    }

    /// Reads to the end and drops what comes.
    pub(crate) fn wait_for_end(&self) {
        let mut buffer = [0; 4096];
        while matches!((&self.stream).read(&mut buffer), Ok(1..)) {}
    }

    /// Says no more, and waits for the end.
    pub(crate) fn shut(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        self.wait_for_end();
    }

    /// Closes hard when it is dropped.
    pub(crate) fn reset(&self) {
        c10k_kernel::socket::set_reset_on_close(self.stream.as_fd()).unwrap();
    }

    pub(crate) fn pause(&self) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A frame without a mask.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(first, false, payload, &mut bytes);
    bytes
}

/// The response that opens the connection.
pub(crate) fn response_to(request: &str) -> Vec<u8> {
    let (end, mut out) = (ServerEnd::default(), Vec::new());
    let mut connection = end.accept();
    let received = end.receive(&mut connection, &mut request.as_bytes().to_vec(), &mut out, discard);
    assert!(received.opened, "{request}");
    out
}

/// What answers the key in a request.
pub(crate) fn accept_of(request: &str) -> String {
    let response = String::from_utf8(response_to(request)).unwrap();
    let line = response.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Accept: "));
    line.unwrap_or_else(|| panic!("{response}")).to_owned()
}
