//! Servers that are not ours: of other languages, with limits of their own, deaf, stopped.

#![allow(dead_code, reason = "every test file uses its own part of this vocabulary")]

mod several;

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

const ECHO: &str = r#"
import asyncio, os, sys

async def serve(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=int(sys.argv[1]))
    print(os.getpid(), server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"#;

const FULL: &str = r#"
import asyncio, os, sys

taken = 0

async def serve(reader, writer):
    global taken
    if taken < int(sys.argv[1]):
        taken += 1
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    print(os.getpid(), server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"#;

/// Takes so many, closes its listener, resets half of what it has and goes on echoing to the other half.
const CLOSED: &str = r#"
import os, selectors, socket, struct, sys

most = int(sys.argv[1])
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(1024)
print(os.getpid(), listener.getsockname()[1], flush=True)
poll = selectors.DefaultSelector()
taken = []
while len(taken) < most:
    peer, _ = listener.accept()
    taken.append(peer)
    peer.sendall(peer.recv(65536))
listener.close()
for peer in taken[most // 2:]:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
for peer in taken[:most // 2]:
    poll.register(peer, selectors.EVENT_READ)
while True:
    for key, _ in poll.select():
        if data := key.fileobj.recv(65536):
            key.fileobj.sendall(data)
        else:
            poll.unregister(key.fileobj)
            key.fileobj.close()
"#;

/// Takes so many and echoes once to each, closes all it has half a second later, and ends so many milliseconds after that:
/// what a process that is killed with much to close looks like from outside. A child of it that has nothing lives on where
/// a third argument asks for one.
const LINGERS: &str = r#"
import os, socket, sys, time

most, milliseconds, helped = map(int, sys.argv[1:4])
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(1024)
taken = []
if helped and os.fork() == 0:
    listener.close()
    os.close(1)
    time.sleep(30)
    os._exit(0)
print(os.getpid(), listener.getsockname()[1], flush=True)
while len(taken) < most:
    peer, _ = listener.accept()
    taken.append(peer)
    peer.sendall(peer.recv(65536))
time.sleep(0.5)
listener.close()
for peer in taken:
    peer.close()
time.sleep(milliseconds / 1000)
os._exit(0)
"#;

/// Echoes until it has no descriptor left, and dies of it. With a second argument it gets a connection from the kernel
/// when that has said something, at the latest after so many seconds (TCP_DEFER_ACCEPT, as Apache does).
const PLAIN: &str = r#"
import os, selectors, socket, sys

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
if len(sys.argv) > 2:
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, int(sys.argv[2]))
listener.listen(int(sys.argv[1]))
print(os.getpid(), listener.getsockname()[1], flush=True)
poll = selectors.DefaultSelector()
poll.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in poll.select():
        if key.fileobj is listener:
            peer, _ = listener.accept()
            poll.register(peer, selectors.EVENT_READ)
        elif data := key.fileobj.recv(65536):
            key.fileobj.sendall(data)
        else:
            poll.unregister(key.fileobj)
            key.fileobj.close()
"#;

/// Takes so many, and leaves the others in its accept queue.
const SATED: &str = r#"
import os, signal, socket, sys
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(1024)
print(os.getpid(), listener.getsockname()[1], flush=True)
taken = [listener.accept() for _ in range(int(sys.argv[1]))]
signal.pause()
"#;

const SLOW: &str = r#"
import os, socket, sys, time
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(1024)
print(os.getpid(), listener.getsockname()[1], flush=True)
taken = []
while True:
    taken.append(listener.accept())
    time.sleep(int(sys.argv[1]) / 1000)
"#;

/// An echo server of Node's own `net`.
const NODE_ECHO: &str = r#"
const server = require('node:net').createServer((peer) => {
  peer.on('error', () => {});
  peer.on('data', (bytes) => peer.write(bytes));
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () => {
  console.log(process.pid, server.address().port);
});
"#;

const DEAF: &str = r#"
import os, signal, socket, sys
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(int(sys.argv[1]))
print(os.getpid(), listener.getsockname()[1], flush=True)
signal.pause()
"#;

/// How long a server may take to listen; only a failure waits for it.
const START: Duration = Duration::from_secs(20);

/// A server that ends with its value.
pub(crate) struct Foreign {
    child: Child,
    /// The process that serves.
    pub(crate) pid: u32,
    pub(crate) port: u16,
    folder: Option<TempDir>,
}

impl Foreign {
    /// An asyncio echo server; `None`, said aloud, where there is no python3.
    pub(crate) fn python_echo(backlog: u32) -> Option<Self> {
        Self::python(ECHO, &[backlog], None)
    }

    /// The same with this many descriptors.
    pub(crate) fn python_echo_with(descriptors: u32, backlog: u32) -> Option<Self> {
        Self::python(ECHO, &[backlog], Some(descriptors))
    }

    /// An asyncio echo server that serves so many, and closes what comes on top.
    pub(crate) fn python_echo_that_takes(most: u32) -> Option<Self> {
        Self::python(FULL, &[most], None)
    }

    /// Takes so many, closes its listener, resets half of them and lives on with the rest.
    pub(crate) fn python_that_closes_its_listener_after(most: u32) -> Option<Self> {
        Self::python(CLOSED, &[most], None)
    }

    /// Takes so many, closes all half a second later, and ends so many milliseconds after that; with a child that has
    /// nothing and lives on where one is to help it.
    pub(crate) fn python_that_lingers(most: u32, milliseconds: u32, helped: bool) -> Option<Self> {
        Self::python(LINGERS, &[most, milliseconds, helped.into()], None)
    }

    /// Echoes with this many descriptors and dies when it needs one more.
    pub(crate) fn python_that_dies_of_its_limit(descriptors: u32) -> Option<Self> {
        Self::python(PLAIN, &[1024], Some(descriptors))
    }

    /// Hears of a connection when it has said something.
    pub(crate) fn deferred() -> Option<Self> {
        Self::python(PLAIN, &[1024, 30], None)
    }

    /// Takes so many, reads nothing, and leaves the others in its accept queue.
    pub(crate) fn python_that_takes_no_more_than(most: u32) -> Option<Self> {
        Self::python(SATED, &[most], None)
    }

    /// Accepts one after the other, so many milliseconds apart.
    pub(crate) fn slow(milliseconds: u32) -> Option<Self> {
        Self::python(SLOW, &[milliseconds], None)
    }

    /// Listens and never accepts.
    pub(crate) fn deaf(backlog: u32) -> Option<Self> {
        Self::python(DEAF, &[backlog], None)
    }

    fn python(program: &str, arguments: &[u32], descriptors: Option<u32>) -> Option<Self> {
        if !runs("python3", &["-c", "pass"]) {
            return skipped("python3");
        }
        let limit = descriptors
            .map_or("ulimit -S -n $(ulimit -H -n); ".to_owned(), |most| format!("ulimit -n {most}; "));
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{limit}exec python3 -c \"$0\" \"$@\""), program])
            .args(arguments.iter().map(u32::to_string))
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Some(Self::in_one_line(in_a_group(&mut command)))
    }

    /// One that says its pid and its port in its first line.
    fn in_one_line(mut child: Child) -> Self {
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let mut words = line.split_whitespace().map(|word| word.parse::<u32>().expect("a number"));
        let (pid, port) = (words.next().expect("a pid"), words.next().expect("a port"));
        Self { child, pid, port: u16::try_from(port).expect("a port"), folder: None }
    }

    /// An echo server in Node; `None`, said aloud, where there is no node.
    pub(crate) fn node_echo() -> Option<Self> {
        if !runs("node", &["-e", ""]) {
            return skipped("node");
        }
        let mut command = Command::new("node");
        command.args(["-e", NODE_ECHO]).stdout(Stdio::piped()).stderr(Stdio::null());
        Some(Self::in_one_line(in_a_group(&mut command)))
    }

    /// `socat`, which forks for every connection and echoes; `None`, said aloud, where it is not installed.
    pub(crate) fn socat(backlog: u32) -> Option<Self> {
        if !runs("socat", &["-V"]) {
            return skipped("socat");
        }
        let mut command = Command::new("socat");
        let listen = format!("TCP-LISTEN:0,bind=127.0.0.1,fork,backlog={backlog}");
        command.args(["-d", "-d", &listen, "PIPE"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = in_a_group(&mut command);
        let mut said = BufReader::new(child.stderr.take().expect("piped"));
        let mut port = None;
        while port.is_none() {
            let mut line = String::new();
            assert!(said.read_line(&mut line).expect("a line") > 0, "socat ended");
            if line.contains("listening on") {
                port = line.trim().rsplit(':').next().and_then(|text| text.parse().ok());
            }
        }
        // It goes on talking; somebody must listen, or it stands still.
        std::thread::spawn(move || said.read_to_end(&mut Vec::new()));
        Some(Self { pid: child.id(), child, port: port.expect("looked for"), folder: None })
    }

    /// `nginx` with one worker; `None`, said aloud, where it is not installed.
    pub(crate) fn nginx() -> Option<Self> {
        Self::nginx_with(1)
    }

    /// The same with so many workers.
    pub(crate) fn nginx_with(workers: u32) -> Option<Self> {
        if !runs("nginx", &["-v"]) {
            return skipped("nginx");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        std::fs::write(folder.path().join("nginx.conf"), nginx_conf(folder.path(), port, workers))
            .expect("written");
        let mut command = Command::new("nginx");
        command
            .args(["-p", &folder.path().display().to_string(), "-c", "nginx.conf", "-e", "error.log"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = in_a_group(&mut command);
        let until = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || std::fs::read_to_string(folder.path().join("error.log")).unwrap_or_default();
            assert!(child.try_wait().expect("our child").is_none(), "nginx ended: {}", log());
            assert!(Instant::now() < until, "nginx does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { pid: child.id(), child, port, folder: Some(folder) })
    }

    pub(crate) fn at(&self) -> String {
        SocketAddr::from(([127, 0, 0, 1], self.port)).to_string()
    }

    /// Stops it by SIGSTOP.
    pub(crate) fn stop(&self) {
        kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGSTOP).expect("our process");
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGCONT).expect("our process");
    }

    /// Kills it and waits for its end.
    pub(crate) fn kill(&mut self) {
        // It is the first of a group of its own, so that what it forked ends with it.
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.kill();
    }
}

fn in_a_group(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).process_group(0).spawn().expect("it ran a moment ago")
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
fn skipped(program: &str) -> Option<Foreign> {
    eprintln!("SKIPPED: {program} does not run here");
    None
}

/// A port that was free a moment ago: nginx takes no port 0.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

fn nginx_conf(folder: &Path, port: u16, workers: u32) -> String {
    let folder = folder.display();
    // The worker keeps the user of the test: the folder is that user's.
    let user = if nix::unistd::geteuid().is_root() { "user root;\n" } else { "" };
    format!(
        "{user}daemon off;\nworker_processes {workers};\npid {folder}/pid;\nevents {{ worker_connections 4096; }}\n\
         http {{\n access_log off;\n client_body_temp_path {folder}/body;\n proxy_temp_path {folder}/proxy;\n \
         fastcgi_temp_path {folder}/fastcgi;\n uwsgi_temp_path {folder}/uwsgi;\n scgi_temp_path {folder}/scgi;\n \
         server {{ listen 127.0.0.1:{port} backlog=1024; return 204; }}\n}}\n"
    )
}
