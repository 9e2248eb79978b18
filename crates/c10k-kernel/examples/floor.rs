//! The floor: what the kernel alone costs. A server and a client that do nothing but connect, prove each
//! connection by one echo, and hold it.
//!
//!     floor CONNECTIONS [CLIENT_THREADS [PROBE_BYTES [ECHO_SECONDS [CHURN_SECONDS]]]]
//!
//! There is no table of connections, no timeout, no histogram and no outcome here: whatever a real server and
//! a real swarm cost more than this is theirs to answer for. What makes the lab's pair fast is done here too, so that
//! the ratio is one of own code: the server asks for SCHED_BATCH (sched(7)), so that a woken server does not push the
//! client aside, and the client sends its probe right behind the connect. Run it in a network namespace of its own, as
//! scripts/bench-ramp.sh does. Each thread has a descriptor table of its own, so no limit needs raising.
//! Prints one JSON line: connections a second from the first connect to the last echo, processor time a
//! connection at each end in µs (with what the kernel did in their name), user memory a connection in bytes. With
//! ECHO_SECONDS each client thread then has 64 messages of 1 KiB in flight for so long, going round over all that it
//! holds, CLIENT_THREADS of them at a time until each had its turn, and what came back in all that time is told as
//! messages a second; no byte of them is looked at. With CHURN_SECONDS each then closes its oldest connection by an RST and
//! begins another one in its place, over and over for so long, and those that were proven are told as cycles a second.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its result")]

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use c10k_kernel::bell::Bell;
use c10k_kernel::counters::ProcRoot;
use c10k_kernel::cpu::ProcessCpuReader;
use c10k_kernel::memory::ProcessMemoryReader;
use c10k_kernel::socket::Address;
use c10k_kernel::{descriptors, limits, process, socket};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Socket, Type};

const PORT: u16 = 9000;
const PORTS_PER_SOURCE: u32 = 60_000;
const IN_FLIGHT: usize = 256;
const MESSAGE_BYTES: usize = 1024;
const MESSAGES_IN_FLIGHT: usize = 64;
const ACCEPTORS: usize = 2;
const LISTENER: u64 = u64::MAX;
const BELL: u64 = u64::MAX - 1;

type Done = Result<(), Box<dyn Error + Send + Sync>>;

fn main() -> Done {
    let mut words = std::env::args().skip(1);
    let first =
        words.next().ok_or("usage: floor CONNECTIONS [CLIENT_THREADS [PROBE_BYTES [ECHO_SECONDS]]]")?;
    if first == "serve" {
        return serve(words.next().ok_or("how many?")?.parse()?);
    }
    let connections: usize = first.parse()?;
    let threads: usize = words.next().map_or(Ok(2), |word| word.parse())?;
    let probe: usize = words.next().map_or(Ok(64), |word| word.parse())?;
    let mut seconds = || words.next().map_or(Ok(0.0), |word| word.parse::<f64>());
    let work = [Turn::Echo(seconds()?), Turn::Churn(seconds()?)];
    let mut server = Command::new(std::env::current_exe()?)
        .args(["serve", &connections.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let outcome = measure(&mut server, connections, threads, probe.clamp(1, 4096), work);
    server.kill()?;
    server.wait()?;
    outcome
}

fn measure(
    server: &mut std::process::Child,
    connections: usize,
    threads: usize,
    probe: usize,
    work: [Turn; 2],
) -> Done {
    let mut ready = String::new();
    BufReader::new(server.stdout.take().ok_or("no pipe")?).read_line(&mut ready)?;
    let holders = Holders::start(connections, threads, probe)?;
    let before = [usage(server.id())?, usage(std::process::id())?];
    let begun = Instant::now();
    let done = holders.run(threads, Turn::Connect)?;
    let seconds = begun.elapsed().as_secs_f64();
    let after = [usage(server.id())?, usage(std::process::id())?];
    let each = |end: usize| (after[end].0 - before[end].0) * 1e6 / done as f64;
    // The holders work in turn, `threads` of them at a time, each for that long.
    let rate = |turn: Turn| -> Result<f64, Box<dyn Error + Send + Sync>> {
        let begun = Instant::now();
        Ok(if turn.is_none() {
            0.0
        } else {
            holders.run(threads, turn)? as f64 / begun.elapsed().as_secs_f64()
        })
    };
    let (echoed, cycles) = (rate(work[0])?, rate(work[1])?);
    let bytes = |end: usize| after[end].1.saturating_sub(before[end].1) as f64 / done as f64;
    println!(
        "{{\"connections\":{done},\"seconds\":{seconds:.3},\"connects_per_second\":{:.0},\
         \"server_us_per_connection\":{:.2},\"client_us_per_connection\":{:.2},\
         \"server_user_bytes\":{:.1},\"client_user_bytes\":{:.1},\
         \"messages_per_second\":{echoed:.0},\"cycles_per_second\":{cycles:.0}}}",
        done as f64 / seconds,
        each(0),
        each(1),
        bytes(0),
        bytes(1)
    );
    Ok(())
}

/// Processor time in seconds and RSS in bytes.
fn usage(pid: u32) -> io::Result<(f64, u64)> {
    let root = ProcRoot::default();
    let cpu = ProcessCpuReader::open(&root, pid).read()?.seconds();
    Ok((cpu, ProcessMemoryReader::open(&root, Some(pid)).read()?.rss_bytes.unwrap_or(0)))
}

/// Connections that one table holds.
fn per_table() -> io::Result<usize> {
    let soft = limits::raise_nofile_soft_to_hard()?.soft;
    Ok(if soft > 520_000 { 500_000 } else { (soft as usize).saturating_sub(1000).max(1) })
}

fn own_table(top: usize) -> io::Result<()> {
    descriptors::unshare_table()?;
    // A refusal only means that the table will grow by doubling.
    let _ = descriptors::grow_table_to(top as u32);
    Ok(())
}

// Server -----------------------------------------------------------------------------------------------

/// Shards take over from each other on one shared listener as they fill; a few accept at a time.
fn serve(connections: usize) -> Done {
    let per_table = per_table()?;
    // Threads that are started later inherit it. Where it may not be, the server is woken more often.
    let _ = process::wait_for_turn_when_woken();
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.set_reuse_address(true)?;
    listener.set_nonblocking(true)?;
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)).into())?;
    listener.listen(65_535)?;
    let listener: Arc<OwnedFd> = Arc::new(listener.into());
    let shards = connections / per_table + 3;
    let bells: Arc<Vec<Bell>> = Arc::new((0..shards).map(|_| Bell::new()).collect::<io::Result<_>>()?);
    let next = Arc::new(AtomicUsize::new(ACCEPTORS));
    let up = Arc::new(Barrier::new(shards + 1));
    for shard in 0..shards {
        let (listener, bells) = (Arc::clone(&listener), Arc::clone(&bells));
        let (next, up) = (Arc::clone(&next), Arc::clone(&up));
        std::thread::Builder::new().stack_size(256 << 10).spawn(move || {
            if let Err(error) = serve_shard(shard, per_table, &listener, &bells, &next, &up) {
                eprintln!("shard {shard}: {error}");
                std::process::abort();
            }
        })?;
    }
    up.wait();
    bells.iter().take(ACCEPTORS).for_each(Bell::ring);
    println!("ready");
    io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}

fn serve_shard(
    shard: usize,
    per_table: usize,
    listener: &OwnedFd,
    bells: &[Bell],
    next: &AtomicUsize,
    up: &Barrier,
) -> io::Result<()> {
    own_table(per_table)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let read = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
    epoll.add(&bells[shard], EpollEvent::new(read, BELL))?;
    up.wait();
    let mut events = vec![EpollEvent::empty(); 512];
    let mut buffer = vec![0_u8; 65_536];
    let mut held: Vec<Option<OwnedFd>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut accepting = false;
    loop {
        let ready = wait(&epoll, &mut events, None)?;
        for event in &events[..ready] {
            match event.data() {
                BELL => {
                    let level = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
                    epoll.add(listener, EpollEvent::new(level, LISTENER))?;
                    accepting = true;
                }
                LISTENER => {
                    for _ in 0..64 {
                        if !accepting {
                            break;
                        }
                        let Ok(connection) = socket::accept(listener.as_fd()) else { break };
                        let index = free.pop().unwrap_or(held.len());
                        epoll.add(&connection, EpollEvent::new(read, index as u64))?;
                        if index == held.len() {
                            held.push(None);
                        }
                        held[index] = Some(connection);
                        if held.len() == per_table && free.is_empty() {
                            accepting = false;
                            epoll.delete(listener)?;
                            if let Some(bell) = bells.get(next.fetch_add(1, Ordering::Relaxed)) {
                                bell.ring();
                            }
                        }
                    }
                }
                index => {
                    echo(&mut held[index as usize], &mut buffer);
                    if held[index as usize].is_none() {
                        free.push(index as usize);
                    }
                }
            }
        }
    }
}

fn echo(connection: &mut Option<OwnedFd>, buffer: &mut [u8]) {
    while let Some(open) = connection.as_ref() {
        match socket::recv(open.as_fd(), buffer) {
            Ok(length) if length > 0 => {
                let _ = socket::send(open.as_fd(), &buffer[..length]);
                if length < buffer.len() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            _ => *connection = None,
        }
    }
}

// Client -----------------------------------------------------------------------------------------------

/// What a holder does when it is its turn, and for how many seconds.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Connect,
    Echo(f64),
    Churn(f64),
}

impl Turn {
    fn is_none(self) -> bool {
        matches!(self, Self::Echo(0.0) | Self::Churn(0.0))
    }
}

/// Threads that hold as many connections as a table allows; a few of them connect at a time.
struct Holders {
    go: Vec<Sender<Turn>>,
    done: Receiver<io::Result<usize>>,
}

impl Holders {
    fn start(connections: usize, threads: usize, probe: usize) -> io::Result<Self> {
        let each = connections.div_ceil(threads.max(1)).min(per_table()?);
        let (report, done) = channel();
        let mut go = Vec::new();
        let up = Arc::new(Barrier::new(connections.div_ceil(each) + 1));
        for first in (0..connections).step_by(each) {
            let want = each.min(connections - first);
            let (sender, turn) = channel();
            let (report, up) = (report.clone(), Arc::clone(&up));
            std::thread::Builder::new().stack_size(256 << 10).spawn(move || {
                let holder = own_table(want + 64).and_then(|()| Holder::new(first as u32, want, probe));
                up.wait();
                let mut holder = match holder {
                    Ok(holder) => holder,
                    Err(error) => return drop(report.send(Err(error))),
                };
                // Holds until the process ends.
                while let Ok(turn) = turn.recv() {
                    let _ = report.send(match turn {
                        Turn::Connect => holder.connect_all(),
                        Turn::Echo(seconds) => holder.echo_some(Duration::from_secs_f64(seconds)),
                        Turn::Churn(seconds) => holder.churn(Duration::from_secs_f64(seconds)),
                    });
                }
            })?;
            go.push(sender);
        }
        up.wait();
        Ok(Self { go, done })
    }

    /// Gives each holder its turn, `threads` of them at a time. The sum of what they say: connections, messages, or cycles.
    fn run(&self, threads: usize, work: Turn) -> Result<usize, Box<dyn Error + Send + Sync>> {
        let mut held = 0;
        for turn in 0..self.go.len() + threads {
            if turn >= threads {
                if turn - threads >= self.go.len() {
                    break;
                }
                held += self.done.recv()??;
            }
            if let Some(go) = self.go.get(turn) {
                go.send(work)?;
            }
        }
        Ok(held)
    }
}

/// What one thread holds.
struct Holder {
    epoll: Epoll,
    events: Vec<EpollEvent>,
    held: Vec<OwnedFd>,
    /// Whether the probe of each is sent.
    probed: Vec<bool>,
    want: usize,
    probe: Vec<u8>,
    to: Address,
    first: u32,
    /// The number of the next connection, of which its source follows.
    next: u32,
}

impl Holder {
    fn new(first: u32, want: usize, probe: usize) -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            events: vec![EpollEvent::empty(); 256],
            held: Vec::with_capacity(want),
            probed: vec![false; want],
            want,
            probe: vec![0; probe],
            to: Address::from(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))),
            first,
            next: first,
        })
    }

    /// Begins a connection that is called `index`.
    fn begin(&mut self, index: usize) -> io::Result<OwnedFd> {
        let source = self.next / PORTS_PER_SOURCE;
        self.next += 1;
        let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + source);
        let connection = socket::stream_for(&self.to)?;
        socket::set_bind_address_no_port(connection.as_fd())?;
        socket::set_local_port_range(connection.as_fd(), 1024, 1024 + PORTS_PER_SOURCE as u16 + 500)?;
        socket::bind(connection.as_fd(), &Address::from(SocketAddr::from((from, 0))))?;
        match socket::connect(connection.as_fd(), &self.to) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let both = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        self.epoll.add(&connection, EpollEvent::new(both, index as u64))?;
        // On loopback the connection stands when connect(2) returns; elsewhere the event says when.
        self.probed[index] = socket::send(connection.as_fd(), &self.probe).is_ok();
        Ok(connection)
    }

    /// Waits for answers to probes; how many have come.
    fn prove(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = wait(&self.epoll, &mut self.events, Some(Duration::from_secs(5)))?;
        if ready == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing has come for 5 s"));
        }
        let mut proven = 0;
        for event in &self.events[..ready] {
            let index = event.data() as usize;
            if !self.probed[index] {
                self.probed[index] = true;
                socket::send(self.held[index].as_fd(), &self.probe)?;
            } else if event.events().contains(EpollFlags::EPOLLIN)
                && socket::recv(self.held[index].as_fd(), buffer).is_ok_and(|length| length > 0)
            {
                proven += 1;
            }
        }
        Ok(proven)
    }

    fn connect_all(&mut self) -> io::Result<usize> {
        let mut buffer = vec![0_u8; 4096];
        let mut proven = 0;
        while proven < self.want {
            while self.held.len() - proven < IN_FLIGHT && self.held.len() < self.want {
                let connection = self.begin(self.held.len())?;
                self.held.push(connection);
            }
            proven += self.prove(&mut buffer)?;
        }
        Ok(proven)
    }

    /// The oldest is closed by an RST and another one begun in its place, for so long; how many were proven.
    fn churn(&mut self, long: Duration) -> io::Result<usize> {
        // Sources of its own, behind those of all that are held.
        self.next = (1000 + self.first / 100) * PORTS_PER_SOURCE;
        let mut buffer = vec![0_u8; 4096];
        let (until, mut begun, mut proven) = (Instant::now() + long, 0, 0);
        loop {
            while begun - proven < IN_FLIGHT.min(self.want) && Instant::now() < until {
                let index = begun % self.want;
                socket::set_reset_on_close(self.held[index].as_fd())?;
                self.held[index] = self.begin(index)?;
                begun += 1;
            }
            if begun == proven {
                return Ok(proven);
            }
            proven += self.prove(&mut buffer)?;
        }
    }

    /// A closed loop for so long, over all that is held in turn; how many messages came back.
    fn echo_some(&mut self, long: Duration) -> io::Result<usize> {
        let (message, mut buffer) = (vec![0_u8; MESSAGE_BYTES], vec![0_u8; 4096]);
        let mut got = vec![0; self.held.len()];
        let mut turns = self.held.iter().cycle();
        let mut say = || turns.next().map_or(Ok(0), |next| socket::send(next.as_fd(), &message));
        let (until, mut echoed, mut in_flight) = (Instant::now() + long, 0, 0);
        while in_flight < MESSAGES_IN_FLIGHT.min(self.held.len()) {
            say()?;
            in_flight += 1;
        }
        while in_flight > 0 {
            let ready = wait(&self.epoll, &mut self.events, Some(Duration::from_secs(3)))?;
            if ready == 0 {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{in_flight} are not answered")));
            }
            let reads = |event: &&EpollEvent| event.events().contains(EpollFlags::EPOLLIN);
            for event in self.events[..ready].iter().filter(reads) {
                let index = event.data() as usize;
                while let Ok(length) = socket::recv(self.held[index].as_fd(), &mut buffer) {
                    got[index] += length;
                    if length < buffer.len() {
                        break;
                    }
                }
                // A turn may come again before the answer to the last: then there are two.
                while got[index] >= MESSAGE_BYTES {
                    got[index] -= MESSAGE_BYTES;
                    echoed += 1;
                    in_flight -= 1;
                    if Instant::now() < until {
                        say()?;
                        in_flight += 1;
                    }
                }
            }
        }
        Ok(echoed)
    }
}

fn wait(epoll: &Epoll, events: &mut [EpollEvent], longest: Option<Duration>) -> io::Result<usize> {
    let timeout =
        longest.map_or(EpollTimeout::NONE, |t| EpollTimeout::try_from(t).unwrap_or(EpollTimeout::MAX));
    match epoll.wait(events, timeout) {
        Err(nix::errno::Errno::EINTR) => Ok(0),
        other => Ok(other?),
    }
}
