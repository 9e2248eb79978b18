//! From the command line to a resolved plan.

use std::net::{Ipv4Addr, SocketAddr};

use c10k_record::{
    Condition, DEFAULT_PORT, LoadPlan, Plan, Protocol, Quantity, SCHEMA_VERSION, ServerMode, ServerPlan,
    Topology, VerdictError, WorkPlan, Workload, add_conditions, default_conditions, drop_default_on_echoes,
};
use c10k_swarm::LoadArgs;
use c10k_swarm::ips::{AddressError, IpList, PortWindow};

use crate::args::RunArgs;
use crate::contradictions;
use crate::file::{KEYS, Origin, Origins, Written};
use crate::say::refusal::Refusal;
use crate::veth;

/// The plan of an ordinary run: 100,000 raw connections over loopback, tuned, held for 10 s.
pub fn default_plan() -> Plan {
    Plan {
        schema_version: SCHEMA_VERSION,
        profile: "tuned".to_owned(),
        topology: Topology::Loopback,
        protocol: Protocol::Raw,
        workload: Workload::Hold,
        target: 100_000,
        verdicts: Vec::new(),
        server: ServerPlan {
            listen: vec![([127, 0, 0, 1], DEFAULT_PORT).into()],
            mode: ServerMode::Echo,
            workers: None,
            max_connections: None,
            foreign: false,
            control: None,
            reached_at: Vec::new(),
            ssh: None,
        },
        load: LoadPlan::default(),
        work: WorkPlan::default(),
        phases: Vec::new(),
    }
}

const SEE_HELP: &str = "c10k-lab run --help shows every flag with an example";

/// The plan to begin with, and the load as its flags and a target without a flag ask for it.
fn begin_with(args: &RunArgs) -> Result<(Written, LoadArgs), Refusal> {
    let default = || Written { plan: default_plan(), origins: Origins::new() };
    let Some(path) = &args.plan else { return Ok((default(), args.load.clone())) };
    if !path.exists()
        && let Some(target) = path.to_str().and_then(|text| text.parse::<Quantity>().ok())
    {
        if args.load.target.is_some() {
            let message = format!("two targets: {target} and --target");
            return Err(Refusal::text(message, "give one of them"));
        }
        return Ok((default(), LoadArgs { target: Some(target), ..args.load.clone() }));
    }
    // A run's folder is as good as the plan in it.
    let file = if path.is_dir() { path.join("plan.toml") } else { path.clone() };
    Ok((Written::load(&file, default_plan())?, args.load.clone()))
}

/// The plan that these arguments ask for, every default filled in.
pub fn resolve(args: &RunArgs) -> Result<Plan, Refusal> {
    resolve_with_origins(args).map(|written| written.plan)
}

/// The same, and where each value of it comes from.
pub fn resolve_with_origins(args: &RunArgs) -> Result<Written, Refusal> {
    let (Written { mut plan, mut origins }, asked) = begin_with(args)?;
    let asked_target = asked.target;
    if plan.topology != Topology::Loopback && !origins.contains_key("server.listen") {
        move_to(plan.topology, &mut plan, origins.contains_key("load.ips"));
    }
    let (target, load) =
        asked.resolve(&plan.load, plan.target).map_err(|usage| Refusal::text(usage, SEE_HELP))?;
    plan.target = target;
    plan.load = load;
    if let Some(profile) = &args.profile {
        plan.profile.clone_from(profile);
    }
    if let Some(topology) = args.topology.filter(|topology| *topology != plan.topology) {
        move_to(topology, &mut plan, args.load.ips.is_some());
    }
    settle_far_end(args, &mut plan)?;
    settle_address(args, &mut plan, origins.contains_key("server.listen"))?;
    plan.protocol = args.protocol.unwrap_or(plan.protocol);
    plan.workload = args.work.workload(plan.workload);
    plan.work = args.work.resolve(&plan.work).map_err(|usage| Refusal::text(usage, SEE_HELP))?;
    ask_for(args, &mut plan)?;
    plan.server.mode = args.mode.unwrap_or(plan.server.mode);
    plan.server.workers = args.server_workers.or(plan.server.workers);
    plan.server.max_connections = match args.max_connections {
        Some(Quantity(0)) => {
            return Err(Refusal::text("--max-connections 0 takes nobody", "expected at least 1"));
        }
        Some(Quantity(most)) => Some(most),
        None => plan.server.max_connections,
    };
    plan.check().map_err(|text| Refusal::text(text, "c10k-lab run --help shows what each may be"))?;
    if plan.server.mode == ServerMode::Hold && plan.load.probe {
        return Err(Refusal::text(
            "--mode hold discards bytes, so no probe would ever come back",
            "add --no-probe; nothing is verified then, and held means still open at the end",
        ));
    }
    check_sources(&plan)?;
    plan.verdicts = conditions(std::mem::take(&mut plan.verdicts), &args.verdicts, plan.load.probe)?;
    let beside: &[Condition] = args.beside.as_ref().map_or(&[], |beside| &beside.conditions);
    add_conditions(&mut plan.verdicts, beside);
    contradictions::refuse(&plan)?;
    note_flags(args, &plan, &mut origins);
    if args.load.target.is_none()
        && let (Some(_), Some(word)) = (&asked_target, &args.plan)
    {
        origins.insert("target".to_owned(), Origin::Word(word.display().to_string()));
    }
    let flag = || Origin::Flag("--max-regression".to_owned());
    origins.extend(beside.iter().map(|condition| (condition.to_string(), flag())));
    Ok(Written { plan, origins })
}

/// What leads to a far end, and the topology of two hosts, go with each other.
fn settle_far_end(args: &RunArgs, plan: &mut Plan) -> Result<(), Refusal> {
    let asked = args.control.map(|control| format!("--control {control}"));
    let asked = asked.or_else(|| args.ssh.ssh.as_ref().map(|destination| format!("--ssh {destination}")));
    if let Some(asked) = &asked {
        if args.topology.is_some_and(|topology| topology != Topology::Remote) {
            return Err(Refusal::text(
                format!("{asked} asks another host, and --topology {} has both ends here", plan.topology),
                "use --topology remote with it, or leave out one of the two",
            ));
        }
        let planned = (plan.server.control, plan.server.ssh.take());
        (plan.server.control, plan.server.ssh) =
            (args.control, args.ssh.ssh.as_ref().map(ToString::to_string));
        // The way to the server of another far end leads not to this one's.
        if planned != (None, None) && planned != (plan.server.control, plan.server.ssh.clone()) {
            plan.server.reached_at.clear();
        }
    }
    if plan.topology != Topology::Remote && args.topology.is_some() {
        // A plan of two hosts that is repeated on one.
        (plan.server.control, plan.server.ssh) = (None, None);
        plan.server.reached_at.clear();
    }
    if plan.server.control.is_some() && plan.server.ssh.is_some() {
        return Err(Refusal::text(
            "the plan's [server] has both control and ssh, and each leads to another far end",
            "leave out one of the two",
        ));
    }
    if plan.server.ssh.is_none() && (args.ssh.push || !args.ssh.ssh_args.is_empty()) {
        return Err(Refusal::text(
            "--push and --ssh-arg are for a server that is started over ssh, and this run has none",
            "add --ssh USER@HOST",
        ));
    }
    let has_far_end = plan.server.control.is_some() || plan.server.ssh.is_some();
    if !has_far_end && plan.topology == Topology::Remote {
        return Err(Refusal::text(
            "--topology remote has its server on another host, and nothing says which",
            "add --control ADDRESS:PORT of `c10k-lab serve` there, or --ssh USER@HOST to have it started",
        ));
    }
    if has_far_end && plan.topology != Topology::Remote {
        if plan.server.control.is_some() {
            // The addresses beside a control port are that host's already.
            plan.topology = Topology::Remote;
        } else {
            move_to(Topology::Remote, plan, plan.load.ips.is_some());
        }
    }
    Ok(())
}

/// Where the server beside a control port is. Until the far end has said where it listens, that is taken for the same
/// host's, unless a file says it.
fn settle_address(args: &RunArgs, plan: &mut Plan, is_said: bool) -> Result<(), Refusal> {
    if !args.server.is_empty() {
        plan.server.reached_at.clone_from(&args.server);
    }
    match (plan.server.control, plan.server.reached_at.as_slice()) {
        (Some(_), [_, ..]) => plan.server.listen.clone_from(&plan.server.reached_at),
        (Some(control), []) if args.control.is_some() || !is_said => {
            plan.server.listen = vec![SocketAddr::new(control.ip(), DEFAULT_PORT)];
        }
        (None, [first, ..]) => {
            let key = if args.server.is_empty() { "server.reached_at" } else { "--server" };
            return Err(Refusal::text(
                format!("{key} {first} is for a server beside a control port, and this run has none"),
                "add --control ADDRESS:PORT of `c10k-lab serve` on the server's host, or leave it out",
            ));
        }
        _ => {}
    }
    Ok(())
}

/// Flags stand above whatever a file says.
fn note_flags(args: &RunArgs, plan: &Plan, origins: &mut Origins) {
    let given = KEYS.iter().filter(|key| (key.flag.1)(args));
    origins.extend(given.map(|key| (key.path.to_owned(), Origin::Flag(key.flag.0.to_owned()))));
    if args.load.steps.is_some() {
        origins.insert("target".to_owned(), Origin::Flag("--steps".to_owned()));
    }
    let asked = args.verdicts.iter().filter_map(|text| text.parse().ok());
    let of_flags: Vec<Condition> = asked.filter(|condition| plan.verdicts.contains(condition)).collect();
    let flag = || Origin::Flag("--verdict".to_owned());
    origins.extend(of_flags.iter().map(|condition| (condition.to_string(), flag())));
}

/// The defaults, what a plan changes of them, and what the command line changes of both.
fn conditions(mut of_plan: Vec<Condition>, flags: &[String], probe: bool) -> Result<Vec<Condition>, Refusal> {
    let asked: Vec<Condition> = flags
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()
        .map_err(|error: VerdictError| Refusal::text(error.to_string(), error.hint()))?;
    if !probe {
        drop_default_on_echoes(&mut of_plan);
    }
    let mut conditions = default_conditions(probe);
    add_conditions(&mut conditions, &of_plan);
    add_conditions(&mut conditions, &asked);
    Ok(conditions)
}

/// What the requests of WebSocket clients say.
fn ask_for(args: &RunArgs, plan: &mut Plan) -> Result<(), Refusal> {
    let load = &mut plan.load;
    load.path = args.path.clone().or(load.path.take());
    for (asked, planned) in [(&args.headers, &mut load.headers), (&args.subprotocols, &mut load.subprotocols)]
    {
        if !asked.is_empty() {
            planned.clone_from(asked);
        }
    }
    if let Some(path) = load.path.as_ref().filter(|path| !path.starts_with('/')) {
        return Err(Refusal::text(
            format!("the path '{path}' does not begin with /"),
            "for example --path /chat",
        ));
    }
    let asks = load.path.is_some() || !load.headers.is_empty() || !load.subprotocols.is_empty();
    if plan.protocol != Protocol::Ws && (asks || load.ping_every.is_some()) {
        return Err(Refusal::text(
            "--path, --header, --subprotocol and --ping-every are WebSocket's",
            "add --protocol ws",
        ));
    }
    Ok(())
}

/// Puts a plan of another topology onto this one: the addresses of the one are not to be had in the other. Ports
/// stay, and so do sources that were named for this run.
pub(crate) fn move_to(topology: Topology, plan: &mut Plan, sources_are_named: bool) {
    plan.topology = topology;
    let server = match topology {
        Topology::Veth => veth::SERVER,
        Topology::Loopback | Topology::Remote => Ipv4Addr::LOCALHOST,
    };
    for address in &mut plan.server.listen {
        *address = SocketAddr::new(server.into(), address.port());
    }
    plan.server.listen.sort_unstable();
    plan.server.listen.dedup();
    if !sources_are_named {
        plan.load.ips = None;
    }
}

/// Texts that name no sources are told before anything is made or started.
pub fn check_sources(plan: &Plan) -> Result<(), Refusal> {
    let server = plan.server.listen.first().ok_or_else(|| {
        Refusal::text("the plan's [server] listens nowhere", "for example listen = [\"127.0.0.1:9000\"]")
    })?;
    if let Some(text) = &plan.load.ips {
        let list: IpList = text.parse().map_err(|error: AddressError| {
            Refusal::text(error.to_string(), "for example --ips 127.0.0.1-127.0.0.8")
        })?;
        if let Some(other) = list.addresses().iter().find(|ip| ip.is_ipv4() != server.is_ipv4()) {
            return Err(Refusal::text(
                format!("the source {other} cannot reach {server}: one is IPv4, the other IPv6"),
                "give sources of the server's family with --ips",
            ));
        }
        if let Some(other) = list.addresses().iter().find(|ip| ip.is_unspecified() || ip.is_multicast()) {
            return Err(Refusal::text(
                format!("the source {other} is no address that one machine has"),
                "name unicast addresses, such as 127.0.0.1-127.0.0.8 or 192.168.1.200-230",
            ));
        }
    }
    if let Some(text) = &plan.load.ports {
        text.parse::<PortWindow>().map_err(|error| {
            Refusal::text(error.to_string(), "for example --ports 1024-65535, first and last port")
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use c10k_swarm::LoadArgs;

    use super::*;

    #[test]
    fn without_a_word_it_is_the_run_of_the_readme() {
        let plan = resolve(&RunArgs::default()).expect("the default");
        assert_eq!((plan.target, plan.profile.as_str()), (100_000, "tuned"));
        assert_eq!(plan.verdicts.len(), 3);
    }

    #[test]
    fn another_topology_takes_other_addresses_and_keeps_the_ports() {
        let args = RunArgs { topology: Some(Topology::Veth), ..RunArgs::default() };
        let plan = resolve(&args).expect("veth");
        assert_eq!(plan.server.listen, [([192, 168, 1, 10], 9000).into()]);
        let folder = tempfile::tempdir().expect("a folder");
        let named = LoadPlan { ips: Some("192.168.1.200".to_owned()), ..plan.load };
        let written = c10k_record::RunFolder::create(folder.path(), &Plan { load: named, ..plan });
        let path = written.expect("a plan is written").path().join("plan.toml");
        let again = |topology| {
            resolve(&RunArgs { plan: Some(path.clone()), topology, ..RunArgs::default() }).expect("a plan")
        };
        assert_eq!(again(None).load.ips.as_deref(), Some("192.168.1.200"));
        assert_eq!(again(Some(Topology::Veth)).server.listen, [([192, 168, 1, 10], 9000).into()]);
        let moved = again(Some(Topology::Loopback));
        assert_eq!((moved.load.ips, moved.server.listen), (None, vec![([127, 0, 0, 1], 9000).into()]));
    }

    #[test]
    fn a_server_that_discards_needs_a_swarm_without_probes() {
        let mut args = RunArgs { mode: Some(ServerMode::Hold), ..RunArgs::default() };
        assert_eq!(resolve(&args).expect_err("probes").exit, c10k_record::Exit::BadText);
        args.load = LoadArgs { no_probe: true, ..LoadArgs::default() };
        assert_eq!(resolve(&args).expect("no probes").verdicts.len(), 2);
    }

    #[test]
    fn what_only_a_websocket_asks_for_is_refused_without_it() {
        for change in [
            (|args| args.path = Some("/chat".to_owned())) as fn(&mut RunArgs),
            |args| args.headers.push("X: y".to_owned()),
            |args| args.subprotocols.push("chat".to_owned()),
            |args| args.load.ping_every = Some(c10k_record::Span::secs(1)),
        ] {
            let mut args = RunArgs::default();
            change(&mut args);
            assert_eq!(resolve(&args).expect_err("raw").exit, c10k_record::Exit::BadText, "{args:?}");
            args.protocol = Some(Protocol::Ws);
            assert!(resolve(&args).is_ok(), "{args:?}");
        }
        let args =
            RunArgs { path: Some("chat".to_owned()), protocol: Some(Protocol::Ws), ..RunArgs::default() };
        assert_eq!(resolve(&args).expect_err("no slash").exit, c10k_record::Exit::BadText);
    }

    #[test]
    fn a_verdict_that_cannot_be_read_is_refused_before_anything_runs() {
        let args = RunArgs { verdicts: vec!["speed > 3".to_owned()], ..RunArgs::default() };
        assert!(resolve(&args).expect_err("no such name").message.contains("speed > 3"));
    }
}
