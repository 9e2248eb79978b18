//! A server that the lab did not start: `--server-pid`, `--server-port`. The run takes place where that server is,
//! nothing is set there, and what only a server of ours would say (accepted, ghosts) stays unknown. What can be seen of
//! it from outside is evidence.

use std::net::SocketAddr;

use c10k_collector::{
    FindError, find_listeners, find_server, limits_of_processes, ports_kept, reached_from_here,
    time_wait_towards,
};
use c10k_kernel::address::is_local;
use c10k_kernel::counters::ProcRoot;
use c10k_kernel::limits::{self, Resource};
use c10k_kernel::namespace::Beside;
use c10k_kernel::process::name_of;
use c10k_kernel::tables::TablesReader;
use c10k_plan::args::RunArgs;
use c10k_plan::file::{Origin, Written};
use c10k_plan::say::refusal::Refusal;
use c10k_profile::put_in_force;
use c10k_record::{HostSnapshot, LoadPlan, Plan, Topology, Warning, shell};
use c10k_swarm::ips::{IpList, PortWindow};

use crate::isolate::place::Place;

/// The profile that changes nothing.
const NO_PROFILE: &str = "stock";

/// A server that runs already.
#[derive(Debug)]
pub(crate) struct Foreign {
    /// Its process; `None` when the one that listens may not be seen.
    pub(crate) pid: Option<u32>,
    pub(crate) listen: Vec<SocketAddr>,
    name: Option<String>,
    hidden: Option<String>,
    /// Those that are likely to hold its connections.
    expected: Vec<u32>,
    /// A profile was asked for, by a flag or a plan.
    is_compared: bool,
    /// The network namespace in which it stands, where that is not this one.
    pub(crate) elsewhere: Option<Beside>,
}

impl Foreign {
    /// The server that the arguments or a repeated plan name, put into the plan; `None` when the lab is to start one.
    pub(crate) fn of_run(args: &RunArgs, plan: &mut Plan) -> Result<Option<Self>, Refusal> {
        let again = plan.server.listen.first().copied().filter(|_| plan.server.foreign);
        if again.is_none() && args.server_port.is_none() && args.server_pid.is_none() {
            return Ok(None);
        }
        if plan.topology != Topology::Loopback {
            return Err(Refusal::text(
                format!("a server that runs already cannot be put into the topology '{}'", plan.topology),
                "leave out --topology: the run takes place where the server is",
            ));
        }
        let found = match (args.server_pid, args.server_port, again) {
            (Some(pid), port, _) => Self::by_pid(pid, port)?,
            (None, Some(port), _) => Self::by_port(port)?,
            (None, None, Some(at)) => Self::by_address(at, args)?,
            (None, None, None) => return Ok(None),
        };
        plan.server.listen.clone_from(&found.listen);
        plan.server.foreign = true;
        Ok(Some(Self { is_compared: asks_for_a_profile(args), ..found }))
    }

    /// Leaves the default profile out of the plan of such a run: nothing is set where the server stands, so what a run
    /// is otherwise given by itself is no wish of anybody's.
    pub(crate) fn choose_profile(args: &RunArgs, plan: &mut Plan) {
        if (args.server_pid.is_some() || args.server_port.is_some()) && !asks_for_a_profile(args) {
            NO_PROFILE.clone_into(&mut plan.profile);
        }
    }

    /// What is known of such a run before its server is looked for, in a plan that is only printed.
    pub(crate) fn note_in(args: &RunArgs, written: &mut Written) {
        if let Some(port) = args.server_port {
            written.plan.server.listen = vec![SocketAddr::from(([127, 0, 0, 1], port))];
            written.plan.server.foreign = true;
            for key in ["server.listen", "server.foreign"] {
                written.origins.insert(key.to_owned(), Origin::Flag("--server-port".to_owned()));
            }
        }
    }

    /// That of a repeated plan. A listener on the same port here is none of a server that stood at an address
    /// elsewhere, and its process is another one each time.
    fn by_address(at: SocketAddr, args: &RunArgs) -> Result<Self, Refusal> {
        if at.ip().is_unspecified() || is_local(at.ip()).unwrap_or(true) {
            return Self::by_port(at.port());
        }
        let plan = args.plan.as_ref().map_or_else(String::new, |path| path.display().to_string());
        let plan = shell::quoted(&plan);
        Err(Refusal::host(
            format!(
                "the server of this plan stood on {at}, in another network namespace, and which process it is is not in the plan"
            ),
            format!(
                "c10k-lab run {plan} --server-pid PID, with the pid that it has now; --server-port {} for one that stands here",
                at.port()
            ),
        ))
    }

    fn by_port(port: u16) -> Result<Self, Refusal> {
        let found = find_server(&[port]).map_err(|error| refusal(&error))?;
        let hidden = found.what_is_hidden();
        Ok(Self { expected: found.expected, ..Self::new(found.pid, found.addresses, hidden) })
    }

    fn by_pid(pid: u32, port: Option<u16>) -> Result<Self, Refusal> {
        if let Some(namespace) = namespace_elsewhere(pid)? {
            return Self::elsewhere(pid, port, namespace);
        }
        let Some(port) = port else {
            let listen = find_listeners(pid).map_err(|error| refusal(&error))?;
            let ports: Vec<u16> = listen.iter().map(SocketAddr::port).collect();
            let expected = find_server(&ports).map_or_else(|_| vec![pid], |found| found.expected);
            return Ok(Self { expected, ..Self::new(Some(pid), listen, None) });
        };
        let found = find_server(&[port]).map_err(|error| refusal(&error))?;
        let is_one = |pids: &[u32]| pids.contains(&pid);
        let known =
            found.pid.is_none() || found.pid == Some(pid) || is_one(&found.others) || is_one(&found.expected);
        if !known {
            return Err(Refusal::host(
                format!(
                    "process {pid} does not listen on port {port}: {} does",
                    found.pid.unwrap_or_default()
                ),
                "leave out --server-pid, and the process is found by its port",
            ));
        }
        Ok(Self { expected: found.expected, ..Self::new(Some(pid), found.addresses, None) })
    }

    /// One that stands in another network namespace, as in a container.
    fn elsewhere(pid: u32, port: Option<u16>, namespace: Beside) -> Result<Self, Refusal> {
        let unreached = |error: &FindError| match error {
            FindError::CannotEnter { .. } | FindError::NoWay { .. } => Refusal::host(
                error.to_string(),
                format!("sudo nsenter --target {pid} --net c10k-lab run --server-pid {pid}"),
            ),
            error => refusal(error),
        };
        let listen = reached_from_here(&namespace, pid, port).map_err(|error| unreached(&error))?;
        let mut ports: Vec<u16> = listen.iter().map(SocketAddr::port).collect();
        ports.dedup();
        let found = namespace.inside(|| find_server(&ports)).ok().and_then(Result::ok);
        let expected = found.map_or_else(|| vec![pid], |found| found.expected);
        let new = Self::new(Some(pid), listen, None);
        Ok(Self { expected, elsewhere: Some(namespace), ..new })
    }

    /// Of the addresses, those of the first one's family: a swarm speaks one.
    fn new(pid: Option<u32>, mut listen: Vec<SocketAddr>, hidden: Option<String>) -> Self {
        if let Some(first) = listen.first().copied() {
            listen.retain(|address| address.is_ipv4() == first.is_ipv4());
        }
        Self {
            pid,
            listen,
            name: pid.and_then(|pid| name_of(pid).ok()),
            hidden,
            expected: Vec::from_iter(pid),
            is_compared: true,
            elsewhere: None,
        }
    }

    /// The place of the run: here, with nothing set and what differs from the profile listed.
    pub(crate) fn place(&self, plan: &Plan) -> Result<Place, Refusal> {
        let compared = put_in_force(&plan.profile, "c10k-lab", false).map_err(|error| Refusal {
            message: error.to_string(),
            hint: error.hint(),
            exit: error.exit(),
        })?;
        let mut warnings = vec![Warning::new("foreign-server", self.in_words())];
        warnings.extend(self.hidden.iter().map(|text| Warning::new("server-hidden", text.clone())));
        warnings.extend(compared.warnings);
        Ok(Place {
            isolation: None,
            profile: compared.in_run,
            warnings,
            far: None,
            neighbours: None,
            in_force: None,
        })
    }

    fn in_words(&self) -> String {
        let who = match (self.pid, &self.name) {
            (Some(pid), Some(name)) => format!("process {pid} ({name})"),
            (Some(pid), None) => format!("process {pid}"),
            (None, _) => "a process that may not be seen".to_owned(),
        };
        let listen: Vec<String> = self.listen.iter().map(ToString::to_string).collect();
        let others = self.expected.iter().filter(|pid| Some(**pid) != self.pid).count();
        let with = match others {
            0 => String::new(),
            1 => " with another that is likely to hold its connections".to_owned(),
            _ => format!(" with {others} others that are likely to hold its connections"),
        };
        let compared = match self.is_compared {
            true => "",
            false => "; no profile was asked for, so the settings here are compared with none (--profile)",
        };
        let place = self.elsewhere.as_ref().map_or("", |_| " in another network namespace");
        format!(
            "the server on {} is {who}{place}{with}, which the lab did not start: nothing is set here, and what it \
             accepted is not known{compared}",
            listen.join(", ")
        )
    }

    /// Its own limits in the place of those that a server of ours would have.
    pub(crate) fn limits(&self, load: &LoadPlan, limits: HostSnapshot) -> HostSnapshot {
        let window = load.ports.as_deref().and_then(|text| text.parse::<PortWindow>().ok());
        let window = window.map(|window| (window.first, window.last)).or(limits.port_range);
        let named = load.ips.as_deref().and_then(|text| text.parse::<IpList>().ok());
        // Without a list the swarm takes what addresses it needs.
        let sources = named.as_ref().map(IpList::addresses);
        let waiting = time_wait_towards(&c10k_swarm::ports_of(&self.listen)).zip(window);
        let limits = HostSnapshot {
            server_tables: false,
            server_per_table: None,
            backlog: None,
            time_wait: waiting.map(|(ends, window)| ports_kept(&ends, window, sources)),
            ..limits
        };
        if self.expected.len() > 1 {
            return limits_of_processes(&self.expected, limits);
        }
        let Some(pid) = self.expected.first().copied().or(self.pid) else {
            return HostSnapshot { server_nofile: None, ..limits };
        };
        let nofile = limits::of_process(pid, Resource::OpenFiles).ok();
        let tables = TablesReader::new(&ProcRoot::default(), pid).read().ok();
        let one = tables.as_ref().filter(|seen| seen.tables == 1);
        HostSnapshot {
            server_nofile: nofile.map(|limit| limit.soft),
            server_tables: tables.as_ref().is_some_and(|seen| seen.tables > 1),
            server_per_table: nofile.zip(one).map(|(limit, seen)| limit.soft.saturating_sub(seen.open)),
            ..limits
        }
    }
}

fn asks_for_a_profile(args: &RunArgs) -> bool {
    args.profile.is_some() || args.plan.is_some()
}

/// The network namespace of a process, where that is not this one.
fn namespace_elsewhere(pid: u32) -> Result<Option<Beside>, Refusal> {
    match ProcRoot::default().shares_network_namespace(pid) {
        Some(false) => {
            Beside::of_process(pid).map(Some).map_err(|error| refusal(&FindError::CannotEnter { pid, error }))
        }
        _ => Ok(None),
    }
}

fn refusal(error: &FindError) -> Refusal {
    let hint = match error {
        FindError::NobodyListens { .. } | FindError::NotListening { .. } => {
            "`ss -ltnp` shows who listens where"
        }
        FindError::NoSuchProcess { .. } => "`pgrep -a NAME` shows the processes of a program with their pids",
        FindError::Closed { .. } => {
            "name its port with --server-port too, or run the lab as the server's user"
        }
        FindError::CannotEnter { .. } | FindError::NoWay { .. } => {
            "run the lab as root where the server stands"
        }
        FindError::SockDiag(_) => "the kernel module tcp_diag may be missing: sudo modprobe tcp_diag",
    };
    Refusal::host(error.to_string(), hint)
}
