//! The server of a run at the far end of an ssh connection.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use c10k_kernel::process::own_executable;
use c10k_plan::say::refusal::Refusal;
use c10k_plan::ssh::{Destination, SshArgs};
use c10k_record::control::{Build, Client, Token};
use serde::Deserialize;

use crate::signals::Signals;
use crate::ssh::connection::{Connection, Kept, stop_if_asked};
use crate::ssh::trouble;
use crate::ssh::words::{MARK, look, serve, take_program};

/// The longest that the far server may take to be ready: it applies a profile first.
const START: Duration = Duration::from_secs(30);
/// The longest that it may take to end: it drains, and puts its settings back.
const END: Duration = Duration::from_secs(20);
/// The longest sleep between two looks at signals.
const NAP: Duration = Duration::from_millis(50);
/// Bytes of a token before they are written as hexadecimal digits.
const TOKEN_BYTES: usize = 24;

/// A far server that is ready.
#[derive(Debug)]
pub(crate) struct Tunnel {
    // The server first: it is to end in order while its connection stands.
    serving: Kept,
    connection: Connection,
    control: SocketAddr,
    token: Token,
    host: String,
}

impl Tunnel {
    /// Connects, copies the program where that is asked for, starts the server with these words on the address that ssh
    /// has reached and on `port`, and forwards its control port.
    ///
    /// # Errors
    /// One for each thing that can go wrong, exit code 3; a signal's where one came meanwhile.
    pub(crate) fn open(
        args: &SshArgs,
        destination: &Destination,
        (port, words): (u16, &[String]),
        signals: &Signals,
    ) -> Result<Self, Refusal> {
        let host = destination.to_string();
        let mut connection = Connection::open(args, destination, signals)?;
        let answer = connection.ask(&look(), signals)?;
        let seen = Seen::read(&answer.stdout).ok_or_else(|| {
            let said = if answer.stderr.trim().is_empty() { &answer.stdout } else { &answer.stderr };
            Refusal::host(
                format!("no shell on {host} answers as expected, but '{}'", said.trim()),
                "the user there needs a login shell, and a system with uname(1)",
            )
        })?;
        let program = match args.push {
            true => push(&mut connection, &seen, &host, signals)?,
            false => match seen.programs.first() {
                Some(found) => found.path.clone(),
                None => return Err(trouble::no_program(&host)),
            },
        };
        let no_token = |error: &dyn std::fmt::Display| {
            Refusal::host(format!("no token can be made of /dev/urandom: {error}"), "ls -l /dev/urandom")
        };
        let secret = new_secret().map_err(|error| no_token(&error))?;
        let token = Token::parse(secret.as_bytes(), "/dev/urandom").map_err(|error| no_token(&error))?;
        let mut given = vec!["--listen".to_owned(), SocketAddr::new(seen.address, port).to_string()];
        given.extend(["--control", "127.0.0.1:0", "--events"].map(str::to_owned));
        given.extend_from_slice(words);
        let mut serving = connection.start(&serve(&program, &given))?;
        let ready = await_ready(&mut serving, &mut connection, &secret, (&host, &program), signals)?;
        let control = connection.forward(ready.control, signals)?;
        // ssh forwards here what its far end may refuse to pass on, which only a connection shows.
        Client::new(control, Some(token.clone()))
            .hello()
            .map_err(|error| connection.refused_to_forward().unwrap_or_else(|| error.into()))?;
        Ok(Self { serving, connection, control, token, host })
    }

    /// Where its control port is reached from here.
    pub(crate) fn control(&self) -> SocketAddr {
        self.control
    }

    /// What the control port asks for.
    pub(crate) fn token(&self) -> Token {
        self.token.clone()
    }

    /// Ends it in order, and says what was not in order.
    pub(crate) fn close(mut self) -> Option<String> {
        drop(self.serving.child().stdin.take());
        let host = &self.host;
        match self.serving.wait(END) {
            Some(status) if status.success() => None,
            Some(_) if !self.connection.stands() => Some(self.connection.gone().message),
            Some(status) => {
                let said = self.connection.said();
                let last = said.lines().rev().find(|line| line.starts_with("error: ")).unwrap_or_default();
                let code = status.code().map_or_else(|| "a signal".to_owned(), |code| code.to_string());
                Some(format!("the server on {host} ended with exit code {code} {last}").trim_end().to_owned())
            }
            None => Some(format!("the server on {host} had not ended {} s after the run", END.as_secs())),
        }
    }
}

/// A program that was found at the far end.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    path: String,
    /// Nothing where it does not say.
    build: Option<Build>,
}

/// What the far end is.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// `uname -s -m`.
    system: String,
    /// That of it which ssh has reached.
    address: IpAddr,
    /// The one on its PATH first.
    programs: Vec<Program>,
}

impl Seen {
    /// Reads the marked lines; a login shell may have printed others.
    fn read(stdout: &str) -> Option<Self> {
        let (mut system, mut address, mut programs) = (None, None, Vec::<Program>::new());
        for line in stdout.lines().filter_map(|line| line.trim_end().strip_prefix(MARK)) {
            match line.trim_start().split_once(' ') {
                Some(("system", name)) => system = Some(name.to_owned()),
                // The client's address and port, the server's address and port (ssh(1), SSH_CONNECTION).
                Some(("connection", ends)) => address = ends.split(' ').nth(2).and_then(|ip| ip.parse().ok()),
                Some(("program", path)) => programs.push(Program { path: path.to_owned(), build: None }),
                Some(("build", said)) => {
                    if let Some(program) = programs.last_mut() {
                        program.build = serde_json::from_str(said).ok();
                    }
                }
                _ => {}
            }
        }
        Some(Self { system: system?, address: address?, programs })
    }
}

/// The path of a program at the far end that is this one, copied there unless it is there already.
fn push(connection: &mut Connection, seen: &Seen, host: &str, signals: &Signals) -> Result<String, Refusal> {
    let ours = nix::sys::utsname::uname().map_or_else(
        |_| String::new(),
        |it| format!("{} {}", it.sysname().to_string_lossy(), it.machine().to_string_lossy()),
    );
    if ours != seen.system {
        return Err(trouble::of_another_kind(host, &seen.system, &ours));
    }
    let build = Build::of_this();
    let is_same = |of: &Build| !build.hash.is_empty() && of.hash == build.hash;
    if let Some(same) = seen.programs.iter().find(|program| program.build.as_ref().is_some_and(is_same)) {
        return Ok(same.path.clone());
    }
    let own = own_executable();
    let unread =
        |error: io::Error| Refusal::host(format!("this program's own file cannot be read: {error}"), "");
    let file = File::open(&own).map_err(unread)?;
    let bytes = file.metadata().map_err(unread)?.len();
    let answer = connection.give(&take_program(bytes), file, signals)?;
    let copied =
        answer.stdout.lines().find_map(|line| line.strip_prefix(MARK)?.trim().strip_prefix("copied "));
    match copied {
        Some(path) if answer.status.success() => Ok(path.to_owned()),
        _ => Err(trouble::not_copied(host, &answer.stderr)),
    }
}

/// The text of a token that nobody can guess.
fn new_secret() -> io::Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What the far server says once it is up.
#[derive(Debug, Deserialize)]
struct Ready {
    control: SocketAddr,
}

/// Hands the token over and waits for `ready`.
fn await_ready(
    serving: &mut Kept,
    connection: &mut Connection,
    secret: &str,
    (host, program): (&str, &str),
    signals: &Signals,
) -> Result<Ready, Refusal> {
    let child = serving.child();
    // Where nobody reads it any more the server has ended, and has said why.
    let _ = child.stdin.as_mut().map(|stdin| writeln!(stdin, "{secret}").and_then(|()| stdin.flush()));
    let lines = child.stdout.take().map_or_else(|| Ok(channel().1), heard).map_err(|error| {
        Refusal::host(
            format!("no thread can be started: {error}"),
            "prlimit --nproc shows how many this user may have",
        )
    })?;
    let until = Instant::now() + START;
    loop {
        match lines.recv_timeout(NAP) {
            Ok(line) => {
                if let Some(ready) = ready_of(&line) {
                    return Ok(ready);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            // It has closed its stdout: it has ended, or the connection has.
            Err(RecvTimeoutError::Disconnected) => {
                let status = serving.wait(Duration::from_secs(2));
                if !connection.stands() {
                    return Err(connection.gone());
                }
                let code = status.and_then(|status| status.code());
                return Err(trouble::not_serving(host, program, code, &connection.said()));
            }
        }
        stop_if_asked(signals)?;
        if Instant::now() >= until {
            return Err(Refusal::host(
                format!("{program} on {host} was not ready within {} s", START.as_secs()),
                format!("run `{program} serve` on {host} by hand to see what it waits for"),
            ));
        }
    }
}

/// A `ready` line of the server.
fn ready_of(line: &str) -> Option<Ready> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    (event.get("event")? == "ready").then(|| serde_json::from_value(event).ok())?
}

/// The lines that the server writes, read by a thread so that it never has to wait. Nobody takes them after `ready`.
fn heard(stdout: std::process::ChildStdout) -> io::Result<Receiver<String>> {
    let (to, lines) = channel();
    std::thread::Builder::new().name("hear-far".to_owned()).spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = to.send(line);
        }
    })?;
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_login_shell_prints_by_itself_is_no_answer() {
        let build = Build { version: "1.2.3".to_owned(), hash: "00ff".to_owned(), ..Build::default() };
        let json = serde_json::to_string(&build).expect("plain data");
        let stdout = format!(
            "Welcome!\nc10k-far: system Linux x86_64\r\nc10k-far: connection 10.0.0.2 5022 10.0.0.1 22\nprogram /y\n\
             c10k-far: program /usr/bin/c10k-lab\nc10k-far: build \nc10k-far: program /root/a b\nc10k-far: build {json}\n"
        );
        let seen = Seen::read(&stdout).expect("an answer");
        assert_eq!(seen.system, "Linux x86_64");
        assert_eq!(seen.address, "10.0.0.1".parse::<IpAddr>().expect("an address"));
        let of = |path: &str, build| Program { path: path.to_owned(), build };
        assert_eq!(seen.programs, [of("/usr/bin/c10k-lab", None), of("/root/a b", Some(build))]);
        for none in ["", "This account is currently not available.\n", "c10k-far: system Linux x86_64\n"] {
            assert_eq!(Seen::read(none), None);
        }
    }

    #[test]
    fn a_token_is_long_and_another_one_each_time() {
        let one = new_secret().expect("random bytes");
        assert!(one.len() == 2 * TOKEN_BYTES && one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
        assert_ne!(one, new_secret().expect("random bytes"));
    }

    #[test]
    fn ready_is_told_by_its_event_alone() {
        let ready = ready_of(r#"{"event":"ready","control":"127.0.0.1:4711","listen":["10.0.0.1:9000"]}"#);
        assert_eq!(ready.expect("ready").control.port(), 4711);
        for other in [r#"{"event":"tick","control":"127.0.0.1:1"}"#, "ready", r#"{"event":"ready"}"#] {
            assert!(ready_of(other).is_none(), "{other}");
        }
    }
}
