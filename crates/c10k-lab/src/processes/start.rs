//! Starting server and swarm as processes, and waiting until they are ready.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use c10k_kernel::namespace::Beside;
use c10k_plan::flags::{server_arguments, swarm_arguments};
use c10k_plan::say::refusal::Refusal;
use c10k_plan::stage::{NOBODY, Stage, Who};
use c10k_record::{Exit, HostSnapshot, Plan, ServerEvent, SwarmEvent};

use crate::host::describe;
use crate::processes::child::{Heard, Process, end_in_words};
use crate::processes::server::{Found, ServerSide};
use crate::signals::Signals;

/// How long a process may take to come up.
const START: Duration = Duration::from_secs(20);
/// The longest sleep between two looks at signals.
const NAP: Duration = Duration::from_millis(50);

/// The start of both ends, one after the other.
pub(crate) struct Starting<'a> {
    plan: &'a Plan,
    /// The plan as both are handed it.
    file: &'a Path,
    stage: &'a Stage,
    signals: &'a Signals,
    /// Takes what the processes say of their tables.
    limits: &'a mut HostSnapshot,
    sender: Sender<Heard>,
    /// What they say from now on.
    pub(crate) heard: Receiver<Heard>,
}

impl<'a> Starting<'a> {
    pub(crate) fn new(
        (plan, file): (&'a Plan, &'a Path),
        stage: &'a Stage,
        signals: &'a Signals,
        limits: &'a mut HostSnapshot,
    ) -> Self {
        let (sender, heard) = channel();
        Self { plan, file, stage, signals, limits, sender, heard }
    }

    /// The server and where it listens: the one that runs already, where the run begins now if that is another host, or a new
    /// one once it is ready.
    pub(crate) fn server(
        &mut self,
        found: Option<Found>,
        (isolated, run_id): (bool, &str),
    ) -> Result<(ServerSide, Vec<SocketAddr>), Refusal> {
        match found {
            Some(Found::Foreign(foreign)) => {
                let listen = foreign.listen.clone();
                return Ok((ServerSide::Foreign(foreign), listen));
            }
            Some(Found::Far(far)) => {
                let listen = far.listen.clone();
                let peer = far.begin(run_id, self.plan, self.sender.clone())?;
                return Ok((ServerSide::Far(Box::new(peer)), listen));
            }
            None => {}
        }
        let arguments = server_arguments(self.plan, self.file, isolated);
        let mut server = start_process(Who::Server, &arguments, None, self.stage, &self.sender)?;
        let most = self.plan.server.max_connections;
        let ready = await_server(&self.heard, &mut server, self.signals)?;
        describe::note_server(self.limits, &ready, most);
        let ServerEvent::Ready { listen, .. } = ready else { return Err(not_ready(Who::Server, None)) };
        Ok((ServerSide::Ours(server), listen))
    }

    /// A swarm that is ready, in `far` or here, and how many connections it can make.
    pub(crate) fn swarm(
        &mut self,
        towards: &[SocketAddr],
        hlog: &Path,
        far: Option<&Beside>,
    ) -> Result<(Process, u64), Refusal> {
        let arguments = swarm_arguments(self.file, towards, hlog);
        let mut swarm = start_process(Who::Swarm, &arguments, far, self.stage, &self.sender)?;
        let capacity = await_swarm(&self.heard, &mut swarm, self.limits, self.signals)?;
        Ok((swarm, capacity))
    }
}

fn start_process(
    who: Who,
    arguments: &[OsString],
    namespace: Option<&Beside>,
    stage: &Stage,
    sender: &Sender<Heard>,
) -> Result<Process, Refusal> {
    let end = stage.end(who);
    let mut arguments = arguments.to_vec();
    let no_plan = |error| Refusal::host(format!("cannot hand over the plan: {error}"), "");
    let kept = if end.uid.is_some() { Some(as_inherited(&mut arguments).map_err(no_plan)?) } else { None };
    for (flag, value) in &end.flags {
        let at = arguments.iter().position(|word| word == flag.as_str());
        match at.and_then(|at| arguments.get_mut(at + 1)) {
            Some(word) => *word = value.into(),
            None => arguments.extend([flag.into(), value.into()]),
        }
    }
    if end.one_table {
        arguments.push("--one-table".into());
    }
    if who == Who::Swarm && stage.watches_apart {
        arguments.extend(["--counted-as".into(), NOBODY.to_string().into()]);
    }
    let started = Process::start_with(end, who, &arguments, namespace, sender.clone());
    drop(kept);
    started.map_err(|error| {
        Refusal::host(
            format!("cannot start the {}: {error}", who.command()),
            "prlimit --nproc shows how many this user may have",
        )
    })
}

/// Names the plan by a descriptor that a child inherits: another user may not look into the run's folder. It must live
/// until the child is started.
fn as_inherited(arguments: &mut [OsString]) -> io::Result<Option<OwnedFd>> {
    let at = arguments.iter().position(|word| word == "--plan");
    let Some(path) = at.and_then(|at| arguments.get_mut(at + 1)) else { return Ok(None) };
    let inherited = nix::unistd::dup(File::open(&*path)?)?;
    *path = format!("/proc/self/fd/{}", inherited.as_raw_fd()).into();
    Ok(Some(inherited))
}

/// Waits for `ready`; a process that ends before it has said on stderr why. A signal ends the wait at once.
pub(crate) fn await_server(
    heard: &Receiver<Heard>,
    server: &mut Process,
    signals: &Signals,
) -> Result<ServerEvent, Refusal> {
    match await_ready(heard, server, Instant::now() + START, signals)? {
        Heard::Server(ready @ ServerEvent::Ready { .. }) => Ok(ready),
        _ => Err(not_ready(Who::Server, None)),
    }
}

fn await_swarm(
    heard: &Receiver<Heard>,
    swarm: &mut Process,
    limits: &mut HostSnapshot,
    signals: &Signals,
) -> Result<u64, Refusal> {
    // One deadline for the whole wait: the server's ticks come meanwhile.
    let until = Instant::now() + START;
    loop {
        match await_ready(heard, swarm, until, signals)? {
            Heard::Swarm(event) => {
                describe::note_swarm(limits, &event);
                return match *event {
                    SwarmEvent::Ready { capacity, .. } => Ok(capacity),
                    _ => Err(not_ready(Who::Swarm, None)),
                };
            }
            Heard::Server(_) => {}
            Heard::Ended(who) => return Err(not_ready(who, None)),
        }
    }
}

fn await_ready(
    heard: &Receiver<Heard>,
    process: &mut Process,
    until: Instant,
    signals: &Signals,
) -> Result<Heard, Refusal> {
    let first = loop {
        if signals.came() {
            return Err(Refusal {
                message: format!(
                    "stopped by {} before the {} was ready",
                    signals.name(),
                    process.who.command()
                ),
                hint: None,
                exit: signals.exit(),
            });
        }
        let left = until.saturating_duration_since(Instant::now());
        match heard.recv_timeout(left.min(NAP)) {
            Err(RecvTimeoutError::Timeout) if left > NAP => {}
            first => break first,
        }
    };
    match first {
        Ok(Heard::Ended(who)) if who != process.who => Err(Refusal {
            message: format!("the {} ended before the {} was ready", who.command(), process.who.command()),
            hint: None,
            exit: Exit::Broke,
        }),
        Ok(Heard::Ended(who)) => Err(not_ready(who, process.wait_or_kill(Duration::from_secs(1)))),
        Ok(heard) => Ok(heard),
        Err(_) => Err(not_ready(process.who, None)),
    }
}

/// A process that refuses to start says why on stderr, which is the lab's too, and its exit code is the lab's.
fn not_ready(who: Who, status: Option<ExitStatus>) -> Refusal {
    let exit = match status.and_then(|status| status.code()) {
        Some(2) => Some(Exit::BadText),
        Some(3) => Some(Exit::HostCannot),
        _ => None,
    };
    let message = match (exit, status) {
        (Some(_), _) => String::new(),
        (None, Some(status)) => format!("{} before it was ready", end_in_words(who, status)),
        (None, None) => format!("the {} was not ready in {} s", who.command(), START.as_secs()),
    };
    Refusal { message, hint: None, exit: exit.unwrap_or(Exit::Broke) }
}
