//! A server that stands on another host: `--control`. Its host answers by a control port, of `c10k-lab serve` or of
//! `c10k-collector --serve` beside a server that runs by itself.
//!
//! The run takes place where the lab is started. Of the profile it sets there what the clients' end needs; what the server's
//! end needs was set by the one who started that.

use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::Sender;
use std::time::Duration;

use c10k_kernel::namespace::{self, boot_id};
use c10k_plan::args::RunArgs;
use c10k_plan::contradictions::kinds;
use c10k_plan::say::refusal::Refusal;
use c10k_profile::put_in_force;
use c10k_record::control::{Begin, Begun, Build, Client, Hello, Token, path};
use c10k_record::{EndHost, Host, HostSnapshot, Plan, ServerMode, Span, TwoHosts, Warning, Workload};

use crate::isolate::place::Place;
use crate::processes::child::Heard;
use crate::processes::peer::{BegunThere, Peer, TRIES};
use crate::ssh::far::Tunnel;

/// The profile that changes nothing.
const NO_PROFILE: &str = "stock";
/// How long each answer may take before the run has begun, where --control-timeout says nothing.
const PATIENCE: Span = Span::secs(5);
/// How much longer than another answer that to the beginning of a run may take: the far end waits until its kernel has taken
/// back what earlier connections had.
const SETTLING: Duration = Duration::from_secs(10);
/// Clocks that are further apart are warned of.
const FAR_APART_NS: u64 = 1_000_000_000;

/// How a far end is reached.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) control: SocketAddr,
    pub(crate) token: Option<Token>,
    /// Another build there is no reason to refuse.
    pub(crate) any_build: bool,
    /// How long each answer may take before the run has begun.
    pub(crate) patience: Duration,
    /// Where its server is reached from here, where that is not where it says that it listens.
    pub(crate) servers: Vec<SocketAddr>,
}

impl Reached {
    /// What the arguments or a repeated plan say; `None` for a run that has no far end.
    pub(crate) fn of_run(args: &RunArgs, plan: &Plan) -> Result<Option<Self>, Refusal> {
        let Some(control) = plan.server.control else {
            return if plan.server.ssh.is_some() { Ok(None) } else { refuse_unused(args).map(|()| None) };
        };
        let token = Token::find(args.token_file.as_deref())?;
        let servers = plan.server.reached_at.clone();
        let patience = patience(args);
        Ok(Some(Self { control, token, any_build: args.any_build, patience, servers }))
    }

    /// A far end that was started over ssh.
    pub(crate) fn by_tunnel(tunnel: &Tunnel, args: &RunArgs) -> Self {
        let (control, token) = (tunnel.control(), Some(tunnel.token()));
        let patience = patience(args);
        Self { control, token, any_build: args.any_build, patience, servers: Vec::new() }
    }
}

/// A far end that has said who it is.
#[derive(Debug)]
pub(crate) struct Far {
    reached: Reached,
    client: Client,
    hello: Hello,
    pub(crate) listen: Vec<SocketAddr>,
    is_one_machine: bool,
    build: Build,
}

impl Far {
    /// Leaves the default profile out of the plan of such a run: what nobody asked for is not set on this machine.
    pub(crate) fn choose_profile(args: &RunArgs, plan: &mut Plan) {
        let is_far = plan.server.control.is_some() || plan.server.ssh.is_some();
        if is_far && args.profile.is_none() && args.plan.is_none() {
            NO_PROFILE.clone_into(&mut plan.profile);
        }
    }

    /// Asks who is there, and puts what it says of its server into the plan.
    pub(crate) fn reach(reached: Reached, args: &RunArgs, plan: &mut Plan) -> Result<Self, Refusal> {
        let mut client = Client::new(reached.control, reached.token.clone()).with_patience(reached.patience);
        let hello = client.hello()?;
        let build = Build::of_this();
        if !hello.build.is_like(&build) && !reached.any_build {
            return Err(Refusal::host(
                format!(
                    "the two ends are of different builds: {} at {}, {build} here",
                    hello.build, reached.control
                ),
                "use the same binary at both ends, or take the risk with --any-build",
            ));
        }
        let is_one_machine = hello.boot_id.is_some() && hello.boot_id == boot_id().ok();
        let listen = addresses(&hello, &reached, is_one_machine)?;
        adopt_server(&hello, args, plan)?;
        plan.server.listen.clone_from(&listen);
        Ok(Self { reached, client, hello, listen, is_one_machine, build })
    }

    /// Who it is, in a line.
    pub(crate) fn in_words(&self) -> String {
        let Hello { hostname, host, build, .. } = &self.hello;
        let listen: Vec<String> = self.listen.iter().map(ToString::to_string).collect();
        format!(
            "the server is on {} (Linux {}, {} processors, {build}), at {}",
            hostname.as_deref().unwrap_or("a host without a name"),
            host.kernel.as_deref().unwrap_or("unknown"),
            host.cpus,
            listen.join(", ")
        )
    }

    /// The place of the run: here, with the profile in force as far as it may be.
    pub(crate) fn place(&self, plan: &Plan) -> Result<Place, Refusal> {
        let in_force = put_in_force(&plan.profile, "c10k-lab", true).map_err(|error| Refusal {
            message: error.to_string(),
            hint: error.hint(),
            exit: error.exit(),
        })?;
        let mut warnings = in_force.warnings.clone();
        let there = self.hello.warnings.iter();
        warnings.extend(there.map(|it| Warning::new(&it.id, format!("at the server's host: {}", it.text))));
        if self.is_one_machine {
            let text = "both ends stand on one machine (one boot id): they share its memory and its processors, and the memory \
                        account divides the kernel's between them";
            warnings.push(Warning::new("one-machine", text));
        }
        if !self.hello.build.is_like(&self.build) {
            let text =
                format!("the ends are of different builds: {} there, {} here", self.hello.build, self.build);
            warnings.push(Warning::new("other-build", text));
        }
        Ok(Place {
            isolation: None,
            profile: in_force.in_run,
            warnings,
            far: None,
            neighbours: None,
            in_force: in_force.guard,
        })
    }

    /// The limits of this end with what the server's end bounds, as the walls look at both in one: what is lost here is
    /// judged by this host, and the server's queues and descriptors by its own.
    pub(crate) fn limits(&self, here: HostSnapshot) -> HostSnapshot {
        let there = &self.hello.host.limits;
        let mut limits = HostSnapshot {
            server_nofile: there.server_nofile,
            server_tables: there.server_tables,
            server_per_table: there.server_per_table,
            server_processes: there.server_processes,
            server_room: there.server_room,
            somaxconn: there.somaxconn,
            backlog: there.backlog,
            max_syn_backlog: there.max_syn_backlog,
            ..here
        };
        // Where the server's end alone tracks, its table is the one that fills.
        if limits.conntrack_max.is_none() {
            (limits.conntrack_max, limits.conntrack_entries) = (there.conntrack_max, there.conntrack_entries);
        }
        // It was measured with both ends in the group.
        limits.cgroup_connection_bytes = limits.cgroup_connection_bytes.filter(|_| self.is_one_machine);
        limits
    }

    /// The limits of the server's host, and whether that is this machine.
    pub(crate) fn limits_there(&self) -> (&HostSnapshot, bool) {
        (&self.hello.host.limits, self.is_one_machine)
    }

    /// Both hosts as they stand before the run.
    pub(crate) fn two_hosts(&self, here: Host) -> TwoHosts {
        let Hello { hostname, host, build, profile, server, .. } = &self.hello;
        TwoHosts {
            control: self.reached.control.to_string(),
            foreign: server.foreign,
            one_machine: self.is_one_machine,
            server: EndHost {
                name: hostname.clone(),
                host: Some(host.clone()),
                build: Some(build.to_string()),
                profile: profile.clone().unwrap_or_default(),
                ..EndHost::default()
            },
            client: EndHost {
                name: namespace::hostname(),
                host: Some(here),
                build: Some(self.build.to_string()),
                ..EndHost::default()
            },
            ..TwoHosts::default()
        }
    }

    /// Begins the run there; what the server says from now on is sent to `to`.
    pub(crate) fn begin(mut self, run_id: &str, plan: &Plan, to: Sender<Heard>) -> Result<Peer, Refusal> {
        let offset = self.client.offset(TRIES)?;
        let begin = Begin {
            run_id: run_id.to_owned(),
            build: self.build.clone(),
            client: format!(
                "c10k-lab on {}, process {}",
                namespace::hostname().unwrap_or_default(),
                std::process::id()
            ),
            any_build: self.reached.any_build,
            plan: plan.clone(),
        };
        self.client.set_patience(self.reached.patience + SETTLING);
        let begun: Begun = self.client.post(path::RUNS, &begin)?;
        Peer::start(
            BegunThere {
                client: self.client,
                run_id: begun.run_id,
                hello: self.hello,
                is_one_machine: self.is_one_machine,
                open_before: begun.open_before,
                offset,
            },
            to,
        )
    }
}

/// How long each answer may take before the run has begun.
fn patience(args: &RunArgs) -> Duration {
    args.control_timeout.unwrap_or(PATIENCE).0
}

/// Flags that would do nothing, as there is no far end.
fn refuse_unused(args: &RunArgs) -> Result<(), Refusal> {
    let given = [
        ("--token-file", args.token_file.is_some()),
        ("--control-timeout", args.control_timeout.is_some()),
        ("--any-build", args.any_build),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => Err(Refusal::text(
            format!("{flag} is of a server on another host, and this run has none"),
            format!("say where that is with --control ADDRESS:PORT or --ssh USER@HOST, or leave out {flag}"),
        )),
        None => Ok(()),
    }
}

/// Clocks that are far apart, in words for who reads the rows of both hosts beside each other.
pub(crate) fn clock_warning(offset_ns: i64) -> Option<Warning> {
    let seconds = offset_ns.unsigned_abs() as f64 / 1e9;
    let where_to = if offset_ns > 0 { "ahead of" } else { "behind" };
    (offset_ns.unsigned_abs() > FAR_APART_NS).then(|| {
        let text = format!(
            "the clock of the server's host is {seconds:.3} s {where_to} the one here: what was seen there is laid on the time here"
        );
        Warning::new("clock-offset", text)
    })
}

/// Where the swarm connects to.
fn addresses(hello: &Hello, reached: &Reached, is_one_machine: bool) -> Result<Vec<SocketAddr>, Refusal> {
    const HINT: &str = "say where it is reached from here with --server ADDRESS:PORT";
    if !reached.servers.is_empty() {
        return Ok(reached.servers.clone());
    }
    let control = reached.control.ip();
    let mut listen = Vec::new();
    for at in &hello.listen {
        let is_reached = match at.ip() {
            ip if ip.is_unspecified() && control.is_loopback() && !is_one_machine => {
                return Err(Refusal::host(
                    format!(
                        "the server listens on {at}, and its control port is reached by {control} alone, as through a tunnel"
                    ),
                    HINT,
                ));
            }
            ip if ip.is_unspecified() => control.is_ipv4() || ip.is_ipv6(),
            ip => !ip.is_loopback() || control.is_loopback(),
        };
        if is_reached {
            let ip: IpAddr = if at.ip().is_unspecified() { control } else { at.ip() };
            listen.push(SocketAddr::new(ip, at.port()));
        }
    }
    let Some(first) = listen.first().copied() else {
        let heard: Vec<String> = hello.listen.iter().map(ToString::to_string).collect();
        let at = if heard.is_empty() { "nowhere".to_owned() } else { format!("on {}", heard.join(", ")) };
        return Err(Refusal::host(
            format!("the server of {control} listens {at}, which is not reached from here"),
            HINT,
        ));
    };
    // A swarm speaks one family.
    listen.retain(|at| at.is_ipv4() == first.is_ipv4());
    Ok(listen)
}

/// Puts the server that is there into the plan, or says in what it is another than the plan's.
fn adopt_server(hello: &Hello, args: &RunArgs, plan: &mut Plan) -> Result<(), Refusal> {
    let server = &hello.server;
    if let Some(theirs) = server.protocol.filter(|theirs| *theirs != plan.protocol) {
        return Err(Refusal::text(
            format!("the server there speaks {theirs}, and this run {}", plan.protocol),
            format!("--protocol {theirs}, or start it there with --protocol {}", plan.protocol),
        ));
    }
    if let Some(theirs) = server.mode {
        if args.mode.is_some_and(|mode| mode != theirs) {
            let text = "the server there was started with another --mode than this run asks for";
            return Err(Refusal::text(text, "leave out --mode: it is the server's"));
        }
        plan.server.mode = theirs;
        if theirs == ServerMode::Hold && plan.load.probe {
            return Err(Refusal::text(
                "the server there discards bytes (--mode hold), so no probe would ever come back",
                "add --no-probe; nothing is verified then, and held means still open at the end",
            ));
        }
    }
    for pushed in [Workload::Stream, Workload::Fanout] {
        let is_asked = kinds(plan).iter().any(|kind| kind.workload() == Some(pushed));
        if is_asked && !server.foreign && server.pushes != Some(pushed) {
            return Err(Refusal::text(
                format!(
                    "the workload {pushed} is pushed by the server, and the one there was not started for it"
                ),
                format!("start it there with --workload {pushed}"),
            ));
        }
    }
    plan.server.foreign = server.foreign;
    plan.server.workers = server.workers;
    plan.server.max_connections = server.max_connections;
    Ok(())
}
