//! Serving: from the server that is started to its end.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};

use c10k_collector::far::{ControlPort, FarSetup};
use c10k_kernel::limits::{self, Resource};
use c10k_kernel::process::name_of;
use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_plan::stage::Who;
use c10k_profile::InForce;
use c10k_record::control::{Build, FarServer};
use c10k_record::{Exit, Protocol, ServerEvent, ServerMode, Workload, each_line};
use c10k_server::{PushWorkload, ServerArgs};
use serde_json::json;

use super::args::{ServeArgs, server_words};
use super::server::OurServer;
use crate::host::before::Beforehand;
use crate::host::describe;
use crate::processes::child::Process;
use crate::processes::start::await_server;
use crate::signals::Signals;

/// A server that is ready, and what it was started with.
pub(super) struct Serving<'a> {
    args: &'a ServeArgs,
    server: &'a ServerArgs,
    signals: &'a Signals,
    pid: u32,
    ready: ServerEvent,
    listen: Vec<SocketAddr>,
    ours: OurServer,
    profile: String,
}

impl<'a> Serving<'a> {
    /// Starts the server and waits until it is ready. The profile is in force already.
    pub(super) fn start(
        args: &'a ServeArgs,
        server: &'a ServerArgs,
        in_force: &InForce,
        signals: &'a Signals,
    ) -> Result<Self, Refusal> {
        let (sender, heard) = channel();
        let mut words = server_words(std::env::args_os());
        words.push("--no-apply".into());
        let started = Process::start(Who::Server, &words, None, sender);
        let mut process = started.map_err(|error| {
            Refusal::host(
                format!("cannot start the server: {error}"),
                "prlimit --nproc shows how many this user may have",
            )
        })?;
        let ready = await_server(&heard, &mut process, signals)?;
        let listen = match &ready {
            ServerEvent::Ready { listen, .. } => listen.clone(),
            _ => Vec::new(),
        };
        let pid = process.pid();
        let ours = OurServer::new(process, heard);
        Ok(Self { args, server, signals, pid, ready, listen, ours, profile: in_force.in_run.name.clone() })
    }

    /// What the far end is told of it.
    pub(super) fn setup(&self, in_force: &InForce, beforehand: Beforehand) -> FarSetup {
        let root = limits::euid() == 0;
        let (profile, ready, pid) = (in_force.profile.clone(), self.ready.clone(), self.pid);
        let asked = self.server.max_connections.map(|most| most.0);
        let limits = move || {
            let mut now = describe::snapshot(&profile, root);
            beforehand.clone().note(&mut now);
            describe::note_server(&mut now, &ready, asked);
            now.nproc = limits::of_process(pid, Resource::Processes).ok().map(|limit| limit.soft);
            now
        };
        FarSetup {
            host: describe::describe(limits(), root),
            limits: Box::new(limits),
            listen: self.listen.clone(),
            server: self.far_server(),
            elsewhere: None,
            profile: Some(in_force.in_run.clone()),
            warnings: in_force.warnings.clone(),
            lease: self.args.own.lease.0,
            word: Some(Box::new(self.ours.clone())),
            program: "c10k-lab",
        }
    }

    fn far_server(&self) -> FarServer {
        let (mode, backlog, max_connections) = match &self.ready {
            ServerEvent::Ready { mode, backlog, max_connections, .. } => {
                (*mode, Some(*backlog), *max_connections)
            }
            _ => (ServerMode::Echo, None, None),
        };
        let command = |word: OsString| word.to_string_lossy().into_owned();
        FarServer {
            foreign: false,
            pid: Some(self.pid),
            name: name_of(self.pid).ok(),
            workers: self.server.workers,
            protocol: Some(self.protocol()),
            mode: Some(mode),
            pushes: self.server.push.workload.map(|pushes| match pushes {
                PushWorkload::Stream => Workload::Stream,
                PushWorkload::Fanout => Workload::Fanout,
            }),
            backlog,
            max_connections,
            command: std::env::args_os().map(command).collect(),
        }
    }

    fn protocol(&self) -> Protocol {
        self.server.protocol.unwrap_or(Protocol::Raw)
    }

    /// Serves until somebody ends it or its server ends.
    pub(super) fn until_the_end(&self, port: &ControlPort, has_token: bool, printer: &mut Printer) -> Exit {
        let stop = match self.stop_line() {
            Ok(stop) => stop,
            Err(error) => {
                let hint = "`prlimit --nproc` shows how many threads this user may have";
                printer.error(&format!("cannot read stdin beside serving: {error}"), Some(hint));
                return Exit::HostCannot;
            }
        };
        self.tell(port.address(), has_token, printer);
        let is_stopped = |nap| {
            let stopped = match &stop {
                Some(stop) => stop.recv_timeout(nap).is_ok().then_some("stop on its stdin"),
                None => {
                    std::thread::sleep(nap);
                    None
                }
            };
            let by = stopped.or_else(|| self.signals.came().then(|| self.signals.in_words()))?;
            Some(format!("serve was ended by {by}"))
        };
        match port.serve_until(is_stopped, |line| printer.say(line)) {
            Some(ended) => {
                let hint = "no run is under way; what it said until then is above";
                printer.error(&ended.words, Some(hint));
                Exit::Broke
            }
            None if port.has_failed() => Exit::Broke,
            None => Exit::Done,
        }
    }

    /// Ends the server in good order.
    pub(super) fn stop(&self) {
        self.ours.stop(self.server.drain.0);
    }

    /// With `--events`, something comes at the line `stop` and at the end of stdin.
    fn stop_line(&self) -> io::Result<Option<Receiver<()>>> {
        if !self.server.events {
            return Ok(None);
        }
        let (sender, receiver) = channel();
        std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            each_line(io::stdin().lock(), |line| line.trim() != "stop");
            // Nobody receives it where it has ended already.
            let _ = sender.send(());
        })?;
        Ok(Some(receiver))
    }

    fn tell(&self, control: SocketAddr, has_token: bool, printer: &mut Printer) {
        let listen: Vec<String> = self.listen.iter().map(ToString::to_string).collect();
        let mode = self.server.mode.unwrap_or(ServerMode::Echo);
        let (protocol, profile) = (self.protocol(), &self.profile);
        printer.say(&format!("serving {} ({protocol}, {mode}), profile {profile}", listen.join(", ")));
        let place = if control.ip().is_unspecified() {
            format!("ADDRESS:{}", control.port())
        } else {
            control.to_string()
        };
        let token = if has_token { " --token-file FILE" } else { "" };
        printer.say(&format!("control: http://{control}, without TLS; a run of another machine:"));
        printer.say(&format!("  c10k-lab run --topology remote --control {place}{token}"));
        if self.server.events {
            let ready = json!({
                "event": "ready", "pid": std::process::id(), "server_pid": self.pid, "control": control,
                "listen": self.listen, "profile": profile, "build": Build::of_this(),
            });
            printer.data(&ready.to_string());
        }
    }
}
