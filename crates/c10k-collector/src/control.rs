//! `--serve`: the far end of runs beside a server that somebody else started.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Instant;

use c10k_kernel::census::SockDiag;
use c10k_kernel::counters::ProcRoot;
use c10k_kernel::limits;
use c10k_kernel::namespace::Beside;
use c10k_kernel::process::name_of;
use c10k_record::control::{FarServer, LEASE, Token};
use c10k_record::{Exit, HostSnapshot, HttpAddress, Warning};

use crate::args::CollectorArgs;
use crate::far::{ControlPort, FarEnd, FarSetup, Meet, machine, results};
use crate::find::{FindError, find_listeners, find_server};
use crate::host::host_snapshot;
use crate::output::Printer;
use crate::stop::stop_or_say;

/// A server that runs already.
#[derive(Debug, Default)]
struct Server {
    pid: Option<u32>,
    /// As it listens; an address of all interfaces stays that.
    listen: Vec<SocketAddr>,
    /// It stands in another network namespace.
    elsewhere: Option<u32>,
    hidden: Option<String>,
}

/// Serves until a signal, `stop` or the end of its time comes, or the server ends.
pub(crate) fn serve(
    args: &CollectorArgs,
    address: HttpAddress,
    printer: &mut Printer<'_>,
) -> io::Result<Exit> {
    match begin(args, address, printer) {
        Ok((port, server)) => until_the_end(args, &port, &server, printer),
        Err(Refusal { error, hint, exit }) => {
            printer.say(&format!("error: {error}"));
            printer.say(&format!("hint: {hint}"));
            Ok(exit)
        }
    }
}

/// Why nothing is served.
struct Refusal {
    error: String,
    hint: String,
    exit: Exit,
}

impl Refusal {
    fn host(error: &impl ToString, hint: &str) -> Self {
        Self { error: error.to_string(), hint: hint.to_owned(), exit: Exit::HostCannot }
    }
}

fn begin(
    args: &CollectorArgs,
    address: HttpAddress,
    printer: &mut Printer<'_>,
) -> Result<(ControlPort, Server), Refusal> {
    let of_port = |error: c10k_record::ListenError| Refusal {
        error: error.to_string(),
        // The flag is another one here.
        hint: error.hint().replace("--control", "--serve"),
        exit: error.exit(),
    };
    // Before anything is served.
    let (results, note) =
        results(args.results.as_deref()).map_err(|(why, hint)| Refusal::host(&why, hint))?;
    note.iter().for_each(|note| printer.say(note));
    let listening = ControlPort::listen(address).map_err(of_port)?;
    let token = Token::for_port(listening.address(), args.token_file.as_deref());
    let token = token.map_err(|error| Refusal {
        error: error.to_string(),
        hint: error.hint(),
        exit: error.exit(),
    })?;
    let asks_for_a_token = token.is_some();
    let server = find(args).map_err(|error| {
        Refusal::host(
            &error,
            "`ss -ltnp` shows who listens where; a server in another namespace is found by --pid",
        )
    })?;
    let hidden = server.hidden.iter().map(|text| Warning::new("server-hidden", text.clone())).collect();
    // The limit of this process stands for that of the shell that started it, and is read before it is raised.
    let nofile_soft = limits::nofile().ok().map(|limit| limit.soft);
    let setup = FarSetup {
        host: machine(),
        limits: Box::new(move || HostSnapshot { nofile_soft, ..host_snapshot() }),
        listen: server.listen.clone(),
        server: FarServer {
            foreign: true,
            pid: server.pid,
            name: server.pid.and_then(|pid| name_of(pid).ok()),
            ..FarServer::default()
        },
        elsewhere: server.elsewhere,
        profile: None,
        warnings: hidden,
        lease: args.lease.unwrap_or(LEASE).0,
        word: None,
        program: "c10k-collector",
    };
    let far = FarEnd::begin_to_watch(setup).map_err(|error| {
        Refusal::host(&error, "`pgrep -a NAME` shows the processes of a program with their pids")
    })?;
    // Each shard that meets here has a connection. Where it cannot be raised some wait for a place.
    let _ = limits::raise_nofile_soft_to_hard();
    let meet = Box::new(Meet::new(results, &far));
    let port = ControlPort::serve(listening, token, far, Some(meet)).map_err(of_port)?;
    let token = if asks_for_a_token { ", with a token" } else { "" };
    printer.say(&format!("control: http://{}{token}, without TLS", port.address()));
    Ok((port, server))
}

fn until_the_end(
    args: &CollectorArgs,
    port: &ControlPort,
    server: &Server,
    printer: &mut Printer<'_>,
) -> io::Result<Exit> {
    let Some(stop) = stop_or_say(args.events, printer) else { return Ok(Exit::HostCannot) };
    let who = server.pid.map_or_else(
        || "a server whose process may not be seen".to_owned(),
        |pid| format!("process {pid} ({})", name_of(pid).unwrap_or_default()),
    );
    let listen: Vec<String> = server.listen.iter().map(ToString::to_string).collect();
    printer.say(&format!("beside {who} on {}", listen.join(", ")));
    server.hidden.iter().for_each(|hidden| printer.say(&format!("note: {hidden}")));
    printer.serving(server.pid, port.address(), &server.listen)?;
    let end = args.duration.map(|duration| Instant::now() + duration.0);
    let is_stopped = |nap| {
        let is_stopped = match stop.recv_timeout(nap) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
            Err(RecvTimeoutError::Timeout) => end.is_some_and(|end| Instant::now() >= end),
        };
        is_stopped.then(|| "the collector at the server was ended".to_owned())
    };
    let ended = port.serve_until(is_stopped, |line| printer.say(line));
    ended.iter().for_each(|ended| printer.say(&ended.words));
    Ok(match ended {
        _ if port.has_failed() => Exit::Broke,
        Some(_) => Exit::Short,
        None => Exit::Done,
    })
}

/// The process that was named, else the one that listens on the ports.
fn find(args: &CollectorArgs) -> Result<Server, FindError> {
    let Some(pid) = args.pid else {
        let found = find_server(&args.ports)?;
        let hidden = found.what_is_hidden();
        return Ok(Server { pid: found.pid, listen: as_they_listen(&args.ports)?, hidden, elsewhere: None });
    };
    let of_pid = || {
        let mut ports: Vec<u16> = find_listeners(pid)?.iter().map(SocketAddr::port).collect();
        ports.retain(|port| args.ports.is_empty() || args.ports.contains(port));
        match args.ports.first() {
            Some(port) if ports.is_empty() => Err(FindError::NobodyListens { port: *port }),
            _ => as_they_listen(&ports),
        }
    };
    let is_elsewhere = ProcRoot::default().shares_network_namespace(pid) == Some(false);
    let listen = if is_elsewhere {
        let inside = Beside::of_process(pid).and_then(|place| place.inside(of_pid));
        inside.map_err(|error| FindError::CannotEnter { pid, error })??
    } else {
        of_pid()?
    };
    Ok(Server { pid: Some(pid), listen, elsewhere: is_elsewhere.then_some(pid), hidden: None })
}

/// The listeners on these ports, each address once.
fn as_they_listen(ports: &[u16]) -> Result<Vec<SocketAddr>, FindError> {
    let mut diag = SockDiag::open()?;
    let mut all = Vec::new();
    for port in ports {
        all.extend(diag.listeners(*port)?.iter().map(|listener| listener.address));
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}
