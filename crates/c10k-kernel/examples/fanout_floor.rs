//! The floor of a fan-out: what the kernel alone takes to carry one message to many connections.
//!
//!     fanout_floor CONNECTIONS [ROUNDS [BYTES [WRITERS]]]
//!
//! A bare loop of send(2) over all connections, divided among threads, and threads that read what comes and nothing
//! else: no frames, no checks, no slow readers, no histogram. What a server and a swarm take longer than this to the last
//! receiver is theirs to answer for. As many connections as a descriptor table takes have a table of their own, with both
//! ends, a thread that writes and one that reads; WRITERS write at a time, each going on where another has finished. Run
//! it in a network namespace of its own, as scripts/bench-fanout.sh does.
//! Prints one JSON line: for each round the time from the clock reading before the first write to the end of the last
//! loop, and to the last receipt, µs.

#![allow(clippy::print_stdout, reason = "a program that prints its result")]

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use c10k_kernel::{clock, descriptors, limits, socket};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Socket, Type};

const CONNECTIONS_PER_SOURCE: usize = 20_000;
/// A round that takes longer has lost something.
const PATIENCE: Duration = Duration::from_secs(60);

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What all threads share.
#[derive(Default)]
struct Shared {
    received_bytes: AtomicU64,
    last_receipt_us: AtomicU64,
    over: AtomicBool,
}

fn main() -> Done<()> {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<usize>());
    let mut next = |otherwise: usize| words.next().unwrap_or(Ok(otherwise));
    let (connections, rounds, bytes) = (next(10_000)?, next(5)?, next(96)?.max(1));
    let writers = next(2)?.max(1);
    let message = vec![0x5a; bytes];
    let shared = Shared::default();
    let results = thread::scope(|scope| {
        let results = (|| -> Done<Vec<(u64, u64)>> {
            let per_table = connections.div_ceil(writers).min(per_table()?);
            let (report, reports) = channel();
            let mut tables = Vec::new();
            for first in (0..connections).step_by(per_table) {
                let count = per_table.min(connections - first);
                let (go, turns) = channel();
                let (report, message, shared) = (report.clone(), &message, &shared);
                scope.spawn(move || table(count, message, shared, &turns, &report));
                // One after another: each has a listener of its own, and they make no room for each other.
                reports.recv()??;
                tables.push(go);
            }
            (1..=rounds as u64)
                .map(|round| {
                    let all = round * (connections * bytes) as u64;
                    one_round(&tables, writers, all, &shared, &reports)
                })
                .collect()
        })();
        shared.over.store(true, SeqCst);
        results
    })?;
    let list = |value: fn(&(u64, u64)) -> u64| {
        results.iter().map(|round| value(round).to_string()).collect::<Vec<_>>().join(",")
    };
    println!(
        "{{\"connections\":{connections},\"bytes\":{bytes},\"writers\":{writers},\
         \"written_us\":[{}],\"last_receiver_us\":[{}]}}",
        list(|round| round.0),
        list(|round| round.1)
    );
    Ok(())
}

/// µs from the clock reading before the first write to the end of the last loop, and to the last receipt.
fn one_round(
    tables: &[Sender<()>],
    writers: usize,
    all_bytes: u64,
    shared: &Shared,
    reports: &Receiver<io::Result<u64>>,
) -> Done<(u64, u64)> {
    let begun_us = clock::monotonic_us();
    let mut waiting = tables.iter();
    for table in waiting.by_ref().take(writers) {
        table.send(())?;
    }
    let mut written_us = begun_us;
    for _ in tables {
        written_us = written_us.max(reports.recv()??);
        if let Some(table) = waiting.next() {
            table.send(())?;
        }
    }
    while shared.received_bytes.load(SeqCst) < all_bytes {
        if clock::monotonic_us() > written_us + PATIENCE.as_micros() as u64 {
            return Err(format!("{} of {all_bytes} bytes came", shared.received_bytes.load(SeqCst)).into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_millis(200));
    Ok((written_us - begun_us, shared.last_receipt_us.load(SeqCst) - begun_us))
}

/// Connections that one table holds with both ends.
fn per_table() -> io::Result<usize> {
    let soft = limits::raise_nofile_soft_to_hard()?.soft.min(1_000_000) as usize;
    Ok((soft.saturating_sub(1000) / 2).max(1))
}

/// Holds some connections in a descriptor table of its own, and writes to all of them at each turn.
fn table(
    count: usize,
    message: &[u8],
    shared: &Shared,
    turns: &Receiver<()>,
    report: &Sender<io::Result<u64>>,
) {
    let made = descriptors::unshare_table().and_then(|()| pairs(count));
    let (near, far) = match made {
        Ok(ends) => ends,
        Err(error) => return drop(report.send(Err(error))),
    };
    thread::scope(|scope| {
        // A thread that is started here shares this table.
        let reading = scope.spawn(|| read_all(&far, shared));
        let _ = report.send(Ok(0));
        while let Ok(()) = turns.recv() {
            let _ = report.send(write_all(&near, message));
        }
        if let Ok(Err(error)) = reading.join() {
            let _ = report.send(Err(error));
        }
    });
}

/// Connections over the loopback device: the ends that accepted, and the others.
fn pairs(count: usize) -> io::Result<(Vec<OwnedFd>, Vec<OwnedFd>)> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    listener.listen(128)?;
    let address = listener.local_addr()?;
    let (mut near, mut far) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for number in 0..count {
        let source = Ipv4Addr::from(0x7f00_0002 + (number / CONNECTIONS_PER_SOURCE) as u32);
        let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket::set_bind_address_no_port(client.as_fd())?;
        client.bind(&SocketAddr::from((source, 0)).into())?;
        client.connect(&address)?;
        client.set_nonblocking(true)?;
        let (accepted, _) = listener.accept()?;
        accepted.set_nonblocking(true)?;
        accepted.set_tcp_nodelay(true)?;
        far.push(client.into());
        near.push(accepted.into());
    }
    Ok((near, far))
}

/// The bare loop; says when it was over, µs.
fn write_all(part: &[OwnedFd], message: &[u8]) -> io::Result<u64> {
    for connection in part {
        let sent = socket::send(connection.as_fd(), message)?;
        if sent < message.len() {
            return Err(io::Error::other(format!("{sent} of {} bytes found room", message.len())));
        }
    }
    Ok(clock::monotonic_us())
}

/// Reads what comes, counts its bytes, and notes when the last of them was read.
fn read_all(part: &[OwnedFd], shared: &Shared) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (at, connection) in part.iter().enumerate() {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(connection, EpollEvent::new(flags, at as u64))?;
    }
    let mut events = vec![EpollEvent::empty(); 512];
    let mut buffer = vec![0; 64 << 10];
    while !shared.over.load(SeqCst) {
        let ready = epoll.wait(&mut events, EpollTimeout::from(50_u8))?;
        for event in &events[..ready] {
            let count = socket::recv(part[event.data() as usize].as_fd(), &mut buffer)?;
            shared.last_receipt_us.fetch_max(clock::monotonic_us(), SeqCst);
            shared.received_bytes.fetch_add(count as u64, SeqCst);
        }
    }
    Ok(())
}
