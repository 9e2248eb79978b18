//! What the wire costs, beside tungstenite's own socket: `cargo run --release -p c10k-wire --example wire_cost`
//! measures time. With a case and a count, such as `echo-ours 1000`, it does that many and says nothing, for
//! counting instructions (`scripts/bench-wire.sh`).

#![allow(clippy::print_stdout, reason = "this is a program, and what it measures is its output")]

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::time::Instant;

use c10k_wire::conformance;
use c10k_wire::ws::{self, ClientEnd, ClientRequest, Limits, ServerEnd, Url};
use tungstenite::WebSocket;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::protocol::{Role, WebSocketConfig};

const PAYLOAD: [u8; 32] = [b'x'; 32];

type Case = (&'static str, fn(u64));

const CASES: [Case; 9] = [
    ("echo-ours", echo_ours),
    ("echo-ours-16-at-once", |count| echo_ours_pipelined(count, 16)),
    ("echo-stock", |count| echo_stock(count, WebSocketConfig::default())),
    ("echo-stock-4k", |count| echo_stock(count, WebSocketConfig::default().read_buffer_size(4096))),
    ("handshake-ours", handshake_ours),
    ("handshake-stock", handshake_stock),
    ("handshake-both-ours", handshake_both),
    ("mask-1k-words", |count| mask_kib(count, |bytes, mask| ws::apply_mask(bytes, mask, 0))),
    ("mask-1k-bytes", |count| mask_kib(count, mask_byte_wise)),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(name) = args.first().filter(|name| !name.starts_with('-')) else { return time_all() };
    let count = args.get(1).and_then(|count| count.parse().ok()).unwrap_or(1);
    match CASES.iter().find(|(case, _)| case == name) {
        Some((_, run)) => run(count),
        None => println!("cases: {}", CASES.map(|(name, _)| name).join(" ")),
    }
}

/// The median and the range of nine runs, since other work on the machine only ever adds.
fn time_all() {
    let mut medians = Vec::new();
    for (name, run) in CASES {
        let count = calibrate(run);
        let mut runs: Vec<f64> = (0..9).map(|_| nanoseconds(run, count)).collect();
        runs.sort_by(f64::total_cmp);
        println!("{name:22} {:8.1} ns (of nine: {:.1} to {:.1})", runs[4], runs[0], runs[8]);
        medians.push((name, runs[4]));
    }
    let median = |wanted| medians.iter().find(|(name, _)| *name == wanted).map_or(f64::NAN, |(_, ns)| *ns);
    println!("echo, stock / ours     {:8.1}", median("echo-stock") / median("echo-ours"));
    println!("handshake, stock / ours{:8.1}", median("handshake-stock") / median("handshake-ours"));
    println!("byte-wise / word-wise  {:8.1}", median("mask-1k-bytes") / median("mask-1k-words"));
}

fn calibrate(run: fn(u64)) -> u64 {
    let mut count = 64;
    while nanoseconds(run, count) * (count as f64) < 2e7 {
        count *= 2;
    }
    count
}

fn nanoseconds(run: fn(u64), count: u64) -> f64 {
    let start = Instant::now();
    run(count);
    start.elapsed().as_nanos() as f64 / count as f64
}

fn frame() -> Vec<u8> {
    let mut frame = Vec::new();
    conformance::write_frame(conformance::first::BINARY, true, &PAYLOAD, &mut frame);
    frame
}

fn echo_ours(count: u64) {
    echo_ours_pipelined(count, 1);
}

/// Echoes through one shared buffer; `at_once` frames in a read.
fn echo_ours_pipelined(count: u64, at_once: usize) {
    let server = ServerEnd::default();
    let (mut connection, mut out) = (server.accept(), Vec::new());
    let opened = server.receive(&mut connection, &mut conformance::sample_request(), &mut out, ws::discard);
    assert!(opened.opened);
    let frames = frame().repeat(at_once);
    let mut buffer = vec![0; 64 << 10];
    let mut echoed = 0;
    for _ in 0..count.div_ceil(at_once as u64) {
        let input = &mut buffer[..frames.len()];
        input.copy_from_slice(black_box(&frames));
        out.clear();
        let received = server.receive(&mut connection, input, &mut out, ws::echo);
        echoed += u64::from(received.messages);
        black_box(&out);
    }
    assert!(echoed >= count && connection.is_idle());
}

fn echo_stock(count: u64, config: WebSocketConfig) {
    let stream = Memory { input: frame(), at: 0, out: Vec::new() };
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, Some(config));
    for _ in 0..count {
        let memory = socket.get_mut();
        memory.at = 0;
        memory.out.clear();
        black_box(&memory.input);
        let message = socket.read().expect("a message");
        socket.send(message).expect("room for an echo");
        black_box(&socket.get_ref().out);
    }
}

/// The server's part of a handshake, from request to response.
fn handshake_ours(count: u64) {
    let server = ServerEnd::default();
    let request = conformance::sample_request();
    let (mut buffer, mut out) = (request.clone(), Vec::new());
    for _ in 0..count {
        buffer.copy_from_slice(black_box(&request));
        out.clear();
        let mut connection = server.accept();
        let received = server.receive(&mut connection, &mut buffer, &mut out, ws::discard);
        assert!(received.opened);
        black_box(&out);
    }
}

/// The same by tungstenite's functions, as its own socket calls them.
fn handshake_stock(count: u64) {
    let request = conformance::sample_request();
    let mut out = Vec::new();
    for _ in 0..count {
        let (size, parsed) =
            Request::try_parse(black_box(&request)).expect("a request").expect("a whole one");
        assert_eq!(size, request.len());
        let response = create_response(&parsed).expect("one that is taken");
        out.clear();
        write_response(&mut out, &response).expect("a Vec takes whatever is written to it");
        black_box(&out);
    }
}

/// Both ends' parts: request, response, and what the client makes of it.
fn handshake_both(count: u64) {
    let url = Url::parse("ws://127.0.0.1:9000/").expect("a URL");
    let request = ClientRequest::new(&url, &[], &[]).expect("a request");
    let (server, mut client) = (ServerEnd::default(), ClientEnd::new(Limits::default(), request));
    let (mut request, mut response) = (Vec::new(), Vec::new());
    for _ in 0..count {
        request.clear();
        response.clear();
        let mut asking = client.connect(&mut request);
        let mut asked = server.accept();
        let received = server.receive(&mut asked, &mut request, &mut response, ws::discard);
        assert!(received.opened);
        request.clear();
        let received = client.receive(&mut asking, &mut response, &mut request, ws::discard);
        assert!(received.opened);
    }
}

fn mask_kib(count: u64, mask: fn(&mut [u8], [u8; 4])) {
    let mut bytes = vec![7; 1024];
    for n in 0..count {
        mask(black_box(&mut bytes), (n as u32).to_le_bytes());
    }
}

/// How one would write it first.
fn mask_byte_wise(bytes: &mut [u8], mask: [u8; 4]) {
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte ^= mask[at & 3];
    }
}

/// A stream that brings the same frame again and takes everything.
struct Memory {
    input: Vec<u8>,
    at: usize,
    out: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.input[self.at..];
        if rest.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
